/* ops_index.c: operations of keras.ops that pick elements by their index or put them there. */
#include "frontend/ops.h"

#include <string.h>

typedef struct indexing {
    op_use *u;
    ir_value value;
    ir_type type;
    int from; /* next dim of x */
    int64_t start[IR_MAX_RANK], limit[IR_MAX_RANK], stride[IR_MAX_RANK];
    ir_value dynamic[IR_MAX_RANK]; /* the one index taken, IR_NONE where it is known */
    bool reversed[IR_MAX_RANK];    /* a negative step: the dim is reversed first */
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

/* The element, or the row of the batch, at an index of the model. */
static bool take_row(indexing *x, ir_value at)
{
    x->dynamic[x->from] = at;
    x->start[x->from] = 0;
    x->limit[x->from] = -1;
    x->stride[x->from++] = 1;
    return true;
}

static bool take_index(indexing *x, const fe_value *key)
{
    ir_dim dim = x->type.dim[x->from];
    int64_t index = key->integer;
    const ir_value at = ir_build_scalar(x->u->l->g, DTYPE_i32, (double)index);
    if (dim.batch) return take_row(x, op_index_wrap(x->u, at, x->value, x->from));
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

/* An integer that is only known when the model runs. */
static bool take_dynamic(indexing *x, ir_value at)
{
    return take_row(x, op_index_wrap(x->u, ir_build_convert(x->u->l->g, at, DTYPE_i32), x->value, x->from));
}

static bool take_key(indexing *x, const fe_value *key, int left)
{
    int64_t index;
    int count;
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
    if (key->kind == FE_TENSOR && op_type(x->u, key->tensor.value).rank == 0) {
        if (!op_constant_ints(x->u, key->tensor.value, 1, &count, &index))
            return take_dynamic(x, key->tensor.value);
        const fe_value number = fe_value_int(index);
        return take_index(x, &number);
    }
    return op_error(x->u, "indexing by tensors or lists fails in TensorFlow: keras.ops.take picks by them");
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
    for (int i = 0; i < x->type.rank; i++) {
        if (x->dynamic[i] != IR_NONE) value = op_insert_dim(x->u, op_take(x->u, value, x->dynamic[i], i), i);
    }
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
    indexing x = {.u = u, .value = value, .type = op_type(u, value)};
    for (int i = 0; i < IR_MAX_RANK; i++) x.dynamic[i] = IR_NONE;
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
