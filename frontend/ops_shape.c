/* ops_shape.c: operations of keras.ops that move elements without changing them. */
#include "frontend/ops.h"

#include <string.h>

static bool fail_shape(op_use *u, const char *what, const ir_type *found)
{
    return op_error(u, "expected %s, found %s", what, fe_shape_show(u->l->fe, found));
}

/* -1 is what is left: with a batch in x it must take the batch, since no given size can. */
static bool resolve_shape(op_use *u, const ir_type *t, int count, const int64_t *size, ir_dim *dim)
{
    ir_dim elements;
    int64_t known = 1;
    int open = -1;
    if (!ir_type_elements(t, &elements)) return fail_shape(u, "a tensor with one batch dimension", t);
    for (int i = 0; i < count; i++) {
        if (size[i] < -1 || size[i] > elements.count)
            return op_error(u, "size %lld does not fit %s", (long long)size[i], fe_shape_show(u->l->fe, t));
        if (size[i] == -1 && open >= 0) return op_error(u, "expected at most one size of -1");
        if (size[i] == -1)
            open = i;
        else if (size[i] > 0 && known > elements.count / size[i])
            return fail_shape(u, "a shape with as many elements", t);
        else
            known *= size[i];
        dim[i] = ir_fixed(size[i]);
    }
    if (known == 0 || elements.count % known != 0) return fail_shape(u, "a shape with as many elements", t);
    if (open >= 0)
        dim[open] = (ir_dim){elements.count / known, elements.batch};
    else if (elements.batch || known != elements.count)
        return fail_shape(u, "a shape with as many elements", t);
    return true;
}

bool op_build_reshape(op_use *u, fe_value *out)
{
    ir_value x;
    int count;
    int64_t size[IR_MAX_RANK];
    ir_dim dim[IR_MAX_RANK];
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "newshape", &count, size)) return false;
    if (count < 0) return op_error(u, "expected a list of sizes as \"newshape\"");
    ir_type t = op_type(u, x);
    /* A first size of -1 with another open one is the batch itself. */
    if (count > 0 && size[0] == -1 && t.rank > 0 && t.dim[0].batch) {
        bool other = false;
        for (int i = 1; i < count; i++) other = other || size[i] == -1;
        if (other) {
            ir_type row = t;
            row.dim[0] = ir_fixed(t.dim[0].count);
            dim[0] = ir_batch(1);
            if (!resolve_shape(u, &row, count - 1, size + 1, dim + 1)) return false;
            return op_finish(u, ir_build_reshape(u->l->g, x, count, dim), out);
        }
    }
    if (!resolve_shape(u, &t, count, size, dim)) return false;
    return op_finish(u, ir_build_reshape(u->l->g, x, count, dim), out);
}

bool op_build_transpose(op_use *u, fe_value *out)
{
    ir_value x;
    int count;
    int64_t axis[IR_MAX_RANK];
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "axes", &count, axis)) return false;
    int rank = op_type(u, x).rank;
    if (count < 0) {
        for (int i = 0; i < rank; i++) axis[i] = rank - 1 - i;
    } else if (count != rank) {
        return op_error(u, "expected %d axes, found %d", rank, count);
    }
    if (!op_resolve_axes(u, rank, rank, axis)) return false;
    return op_finish(u, ir_build_transpose(u->l->g, x, axis), out);
}

bool op_build_swapaxes(op_use *u, fe_value *out)
{
    ir_value x;
    int first, second;
    int64_t axis[IR_MAX_RANK], order[IR_MAX_RANK];
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "axis1", &first, axis)) return false;
    if (!op_find_ints(u, "axis2", &second, axis + 1)) return false;
    int rank = op_type(u, x).rank;
    if (first != 1 || second != 1) return op_error(u, "expected one integer as \"axis1\" and \"axis2\"");
    if (!op_resolve_axes(u, rank, 1, axis) || !op_resolve_axes(u, rank, 1, axis + 1)) return false;
    for (int i = 0; i < rank; i++) order[i] = i == axis[0] ? axis[1] : i == axis[1] ? axis[0] : i;
    return op_finish(u, ir_build_transpose(u->l->g, x, order), out);
}

bool op_build_expand_dims(op_use *u, fe_value *out)
{
    ir_value x;
    int count;
    int64_t axis[IR_MAX_RANK];
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "axis", &count, axis)) return false;
    ir_type t = op_type(u, x);
    if (count < 1) return op_error(u, "expected an integer as \"axis\"");
    if (t.rank + count > IR_MAX_RANK)
        return op_error(u, "expected a result of at most %d dimensions", IR_MAX_RANK);
    if (!op_resolve_axes(u, t.rank + count, count, axis)) return false;
    ir_dim dim[IR_MAX_RANK];
    for (int i = 0, from = 0; i < t.rank + count; i++) {
        bool added = false;
        for (int k = 0; k < count; k++) added = added || axis[k] == i;
        dim[i] = added ? ir_fixed(1) : t.dim[from];
        from += !added;
    }
    return op_finish(u, ir_build_reshape(u->l->g, x, t.rank + count, dim), out);
}

bool op_build_squeeze(op_use *u, fe_value *out)
{
    ir_value x;
    int count, rank = 0;
    int64_t axis[IR_MAX_RANK];
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "axis", &count, axis)) return false;
    ir_type t = op_type(u, x);
    if (count >= 0 && !op_resolve_axes(u, t.rank, count, axis)) return false;
    ir_dim dim[IR_MAX_RANK];
    for (int i = 0; i < t.rank; i++) {
        bool single = ir_dim_equal(t.dim[i], ir_fixed(1)), named = count < 0 && single;
        for (int k = 0; k < count; k++) named = named || axis[k] == i;
        if (named && !single) return fail_shape(u, "a dimension of 1 to squeeze", &t);
        if (!named) dim[rank++] = t.dim[i];
    }
    return op_finish(u, ir_build_reshape(u->l->g, x, rank, dim), out);
}

static bool find_tensors(op_use *u, int *out_count, ir_value **out)
{
    const fe_value *v = op_find(u, u->op->parameters);
    int count = v ? fe_value_tensors(v, 0, NULL) : 0;
    if (count < 1 || v->kind != FE_LIST || count != v->count)
        return op_error(u, "expected a list of tensors");
    fe_tensor *tensor = arena_array(u->l->fe->arena, fe_tensor, (size_t)count);
    *out = arena_array(u->l->fe->arena, ir_value, (size_t)count);
    fe_value_tensors(v, count, tensor);
    ir_dtype dtype = op_type(u, tensor[0].value).dtype;
    for (int i = 1; i < count; i++) dtype = fe_result_type(dtype, op_type(u, tensor[i].value).dtype);
    for (int i = 0; i < count; i++) (*out)[i] = ir_build_convert(u->l->g, tensor[i].value, dtype);
    *out_count = count;
    return true;
}

static bool check_concatenation(op_use *u, int count, const ir_value *x, int64_t axis)
{
    const ir_type first = op_type(u, x[0]);
    for (int i = 0; i < count; i++) {
        const ir_type t = op_type(u, x[i]);
        bool fits = t.rank == first.rank;
        for (int k = 0; fits && k < t.rank; k++)
            fits = k == axis ? !t.dim[k].batch : ir_dim_equal(t.dim[k], first.dim[k]);
        if (!fits) {
            return op_error(
                u,
                "expected inputs that differ only along axis %lld, which is not the batch, found %s and %s",
                (long long)axis, fe_shape_show(u->l->fe, &first), fe_shape_show(u->l->fe, &t));
        }
    }
    return true;
}

bool op_build_concatenate(op_use *u, fe_value *out)
{
    int count = 0, axes;
    ir_value *x = NULL;
    int64_t axis[IR_MAX_RANK] = {0};
    if (!find_tensors(u, &count, &x) || !op_find_ints(u, "axis", &axes, axis)) return false;
    bool stack = strcmp(u->op->word, "stack") == 0;
    int rank = op_type(u, x[0]).rank + stack;
    if (axes > 1 || rank > IR_MAX_RANK)
        return op_error(u, "expected one axis, and at most %d dimensions", IR_MAX_RANK);
    if (!op_resolve_axes(u, rank, 1, axis)) return false;
    for (int i = 0; stack && i < count; i++) {
        ir_type t = op_type(u, x[i]);
        ir_dim dim[IR_MAX_RANK];
        if (t.rank + 1 != rank) return fail_shape(u, "inputs of one rank", &t);
        for (int k = 0; k < rank; k++) dim[k] = k == axis[0] ? ir_fixed(1) : t.dim[k - (k > axis[0])];
        x[i] = ir_build_reshape(u->l->g, x[i], rank, dim);
    }
    if (!check_concatenation(u, count, x, axis[0])) return false;
    return op_finish(u, ir_build_concatenate(u->l->g, count, x, (int)axis[0]), out);
}

bool op_build_flip(op_use *u, fe_value *out)
{
    ir_value x;
    int count;
    int64_t axis[IR_MAX_RANK];
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "axis", &count, axis)) return false;
    const ir_type t = op_type(u, x);
    if (count < 0) {
        count = t.rank;
        for (int i = 0; i < count; i++) axis[i] = i;
    }
    if (!op_resolve_axes(u, t.rank, count, axis)) return false;
    for (int i = 0; i < count; i++) {
        if (t.dim[axis[i]].batch) return op_error(u, "flipping the batch is not supported");
    }
    return op_finish(u, ir_build_reverse(u->l->g, x, count, axis), out);
}

/* ---- indexing
 * ------------------------------------------------------------------------------------------------------- */

typedef struct indexing {
    op_use *u;
    ir_type type;
    int from; /* next dim of x */
    int64_t start[IR_MAX_RANK], limit[IR_MAX_RANK], stride[IR_MAX_RANK];
    bool reversed[IR_MAX_RANK]; /* a negative step: the dim is reversed first */
    int rank;
    ir_dim dim[IR_MAX_RANK]; /* of the result */
} indexing;

static bool put_dim(indexing *x, ir_dim dim)
{
    if (x->rank == IR_MAX_RANK)
        return op_error(x->u, "expected a result of at most %d dimensions", IR_MAX_RANK);
    x->dim[x->rank++] = dim;
    return true;
}

static bool take_whole(indexing *x)
{
    x->start[x->from] = 0;
    x->limit[x->from] = -1;
    x->stride[x->from] = 1;
    return put_dim(x, x->type.dim[x->from++]);
}

static bool take_index(indexing *x, const fe_value *key)
{
    ir_dim dim = x->type.dim[x->from];
    int64_t index = key->integer;
    if (dim.batch) return op_error(x->u, "picking one row of the batch is not supported");
    if (index < -dim.count || index >= dim.count) {
        return op_error(x->u, "expected an index below %lld, found %lld", (long long)dim.count,
                        (long long)index);
    }
    if (index < 0) index += dim.count;
    x->start[x->from] = index;
    x->limit[x->from] = index + 1;
    x->stride[x->from++] = 1;
    return true;
}

static bool read_bound(indexing *x, const fe_value *v, int64_t otherwise, int64_t *out)
{
    *out = otherwise;
    if (v->kind == FE_NULL) return true;
    if (v->kind != FE_NUMBER || v->is_float) return op_error(x->u, "expected integers in a slice");
    *out = v->integer;
    return true;
}

/* As Python brings a bound into 0 .. count (forward) or -1 .. count - 1 (backward). */
static int64_t clamp_bound(int64_t bound, int64_t count, bool backward)
{
    if (bound < 0) bound = bound < -count ? -1 : bound + count;
    if (bound < 0) return backward ? -1 : 0;
    return bound >= count ? (backward ? count - 1 : count) : bound;
}

static bool take_slice(indexing *x, const fe_value *key)
{
    const int64_t count = x->type.dim[x->from].count;
    int64_t step, start, stop;
    if (!read_bound(x, &key->item[2], 1, &step)) return false;
    bool open = key->item[0].kind == FE_NULL || (key->item[0].kind == FE_NUMBER && key->item[0].integer == 0);
    if (step == 1 && open && key->item[1].kind == FE_NULL) return take_whole(x);
    if (x->type.dim[x->from].batch) return op_error(x->u, "slicing the batch is not supported");
    if (step == 0 || step <= -INT32_MAX || step >= INT32_MAX)
        return op_error(x->u, "expected a slice with a step other than 0");
    bool backward = step < 0;
    if (!read_bound(x, &key->item[0], backward ? count - 1 : 0, &start)) return false;
    if (!read_bound(x, &key->item[1], backward ? -count - 1 : count, &stop)) return false;
    start = clamp_bound(start, count, backward);
    stop = clamp_bound(stop, count, backward);
    if (backward) {
        start = count - 1 - start;
        stop = count - 1 - stop;
        step = -step;
    }
    if (start >= stop) return op_error(x->u, "expected a slice with elements, found none");
    x->reversed[x->from] = backward;
    x->start[x->from] = start;
    x->limit[x->from] = stop;
    x->stride[x->from++] = step;
    return put_dim(x, ir_fixed(base_ceil_div(stop - start, step)));
}

static bool take_key(indexing *x, const fe_value *key, int left)
{
    if (key->kind == FE_NULL) return put_dim(x, ir_fixed(1));
    if (key->kind == FE_ELLIPSIS) {
        while (x->from < x->type.rank - left) {
            if (!take_whole(x)) return false;
        }
        return true;
    }
    if (x->from >= x->type.rank) return op_error(x->u, "expected at most %d indices", x->type.rank);
    if (key->kind == FE_NUMBER && !key->is_float) return take_index(x, key);
    if (key->kind == FE_SLICE) return take_slice(x, key);
    return op_error(x->u, "indexing by tensors or lists is not supported");
}

static ir_value build_indexing(indexing *x, ir_value value)
{
    ir_graph *g = x->u->l->g;
    int64_t dims[IR_MAX_RANK];
    int count = 0;
    for (int i = 0; i < x->type.rank; i++) {
        if (x->reversed[i]) dims[count++] = i;
    }
    if (count > 0) value = ir_build_reverse(g, value, count, dims);
    value = ir_build_slice(g, value, x->start, x->limit, x->stride);
    return ir_build_reshape(g, value, x->rank, x->dim);
}

bool op_build_get_item(op_use *u, fe_value *out)
{
    ir_value value;
    if (!op_find_tensor(u, "x", &value)) return false;
    const fe_value *key = u->args->arg.count > 1 ? &u->args->arg.item[1] : op_find(u, "key");
    if (!key) return op_error(u, "expected \"key\"");
    bool many = key->kind == FE_LIST;
    int count = many ? key->count : 1, taken = 0, ellipses = 0;
    indexing x = {.u = u, .type = op_type(u, value)};
    for (int i = 0; i < count; i++) {
        const fe_value *k = many ? &key->item[i] : key;
        taken += k->kind != FE_NULL && k->kind != FE_ELLIPSIS;
        ellipses += k->kind == FE_ELLIPSIS;
    }
    if (ellipses > 1) return op_error(u, "expected at most one ellipsis");
    for (int i = 0; i < count; i++) {
        const fe_value *k = many ? &key->item[i] : key;
        taken -= k->kind != FE_NULL && k->kind != FE_ELLIPSIS;
        if (!take_key(&x, k, taken)) return false;
    }
    while (x.from < x.type.rank) {
        if (!take_whole(&x)) return false;
    }
    return op_finish(u, build_indexing(&x, value), out);
}
