/* ops_shape.c: operations of keras.ops that give elements another shape, join tensors and split them. */
#include "frontend/ops.h"

#include <string.h>

/* -1 is what is left: with a batch in x it must take the batch, since no given size can. */
static bool resolve_shape(op_use *u, const ir_type *t, int count, const int64_t *size, ir_dim *dim)
{
    ir_dim elements;
    int64_t known = 1;
    int open = -1;
    if (!ir_type_elements(t, &elements)) return op_fail_shape(u, "a tensor with one batch dimension", t);
    for (int i = 0; i < count; i++) {
        if (size[i] < -1 || size[i] > elements.count)
            return op_error(u, "size %lld does not fit %s", (long long)size[i], fe_shape_show(u->l->fe, t));
        if (size[i] == -1 && open >= 0) return op_error(u, "expected at most one size of -1");
        if (size[i] == -1)
            open = i;
        else if (size[i] > 0 && known > elements.count / size[i])
            return op_fail_shape(u, "a shape with as many elements", t);
        else
            known *= size[i];
        dim[i] = ir_fixed(size[i]);
    }
    if (known == 0 || elements.count % known != 0)
        return op_fail_shape(u, "a shape with as many elements", t);
    if (open >= 0)
        dim[open] = (ir_dim){elements.count / known, elements.batch};
    else if (elements.batch || known != elements.count)
        return op_fail_shape(u, "a shape with as many elements", t);
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
        if (named && !single) return op_fail_shape(u, "a dimension of 1 to squeeze", &t);
        if (!named) dim[rank++] = t.dim[i];
    }
    return op_finish(u, ir_build_reshape(u->l->g, x, rank, dim), out);
}

bool op_build_ravel(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_tensor(u, "x", &x)) return false;
    const ir_type t = op_type(u, x);
    return op_check_type(u, &t) && op_finish(u, op_flatten(u, x), out);
}

bool op_build_moveaxis(op_use *u, fe_value *out)
{
    ir_value x;
    int count, places;
    int64_t from[IR_MAX_RANK], to[IR_MAX_RANK], order[IR_MAX_RANK];
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "source", &count, from)) return false;
    if (!op_find_ints(u, "destination", &places, to)) return false;
    const int rank = op_type(u, x).rank;
    if (count < 1 || count != places) return op_error(u, "expected as many sources as destinations");
    if (!op_resolve_axes(u, rank, count, from) || !op_resolve_axes(u, rank, count, to)) return false;
    for (int i = 0; i < rank; i++) order[i] = -1;
    for (int i = 0; i < count; i++) order[to[i]] = from[i];
    for (int i = 0, next = 0; i < rank; i++) {
        if (order[i] >= 0) continue;
        for (bool moved = true; moved; next += moved) {
            moved = false;
            for (int k = 0; k < count; k++) moved = moved || from[k] == next;
        }
        order[i] = next++;
    }
    return op_finish(u, ir_build_transpose(u->l->g, x, order), out);
}

/* A size of -1 or null stands for the tensor's own. */
bool op_build_broadcast_to(op_use *u, fe_value *out)
{
    ir_value x;
    int count;
    int64_t size[IR_MAX_RANK];
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "shape", &count, size)) return false;
    const ir_type own = op_type(u, x);
    ir_type t = {.dtype = own.dtype, .rank = count}, both;
    for (int i = 0; i < count; i++) {
        const int at = i - (count - own.rank);
        t.dim[i] = size[i] == -1 && at >= 0 ? own.dim[at] : ir_fixed(size[i]);
    }
    if (count < 0 || !op_check_type(u, &t)) return count < 0 ? op_error(u, "expected a shape") : false;
    if (!ir_broadcast_shapes(&own, &t, &both) || !ir_type_same_shape(&both, &t))
        return op_fail_shape(u, "a tensor that stretches to the shape", &own);
    return op_finish(u, ir_build_broadcast_to(u->l->g, x, &t), out);
}

/* ---- joining ----------------------------------------------------------------------------- */

/* Tensors may differ along the axis; along the batch either all or none go. */
static bool check_concatenation(op_use *u, int count, const ir_value *x, int64_t axis)
{
    const ir_type first = op_type(u, x[0]);
    ir_type sum = first;
    sum.dim[axis].count = 0;
    for (int i = 0; i < count; i++) {
        const ir_type t = op_type(u, x[i]);
        bool fits = t.rank == first.rank;
        for (int k = 0; fits && k < t.rank; k++) {
            fits = k == axis ? t.dim[k].batch == first.dim[k].batch : ir_dim_equal(t.dim[k], first.dim[k]);
        }
        if (!fits) {
            return op_error(u, "expected inputs that differ only along axis %lld, found %s and %s",
                            (long long)axis, fe_shape_show(u->l->fe, &first), fe_shape_show(u->l->fe, &t));
        }
        sum.dim[axis].count += t.dim[axis].count;
    }
    return op_check_type(u, &sum);
}

static bool finish_concatenation(op_use *u, int count, const ir_value *x, int64_t axis, fe_value *out)
{
    if (!op_resolve_axes(u, op_type(u, x[0]).rank, 1, &axis)) return false;
    if (!check_concatenation(u, count, x, axis)) return false;
    return op_finish(u, ir_build_concatenate(u->l->g, count, x, (int)axis), out);
}

bool op_build_concatenate(op_use *u, fe_value *out)
{
    int count = 0;
    ir_value *x = NULL;
    int64_t axis;
    if (!op_find_list(u, u->op->parameters, &count, &x) || !op_find_int(u, "axis", 0, &axis)) return false;
    if (strcmp(u->op->word, "stack") == 0) {
        const int rank = op_type(u, x[0]).rank + 1;
        if (rank > IR_MAX_RANK) return op_error(u, "expected at most %d dimensions", IR_MAX_RANK - 1);
        if (!op_resolve_axes(u, rank, 1, &axis)) return false;
        for (int i = 0; i < count; i++) {
            const ir_type t = op_type(u, x[i]);
            if (t.rank + 1 != rank) return op_fail_shape(u, "inputs of one rank", &t);
            x[i] = op_insert_dim(u, x[i], axis);
        }
    }
    return finish_concatenation(u, count, x, axis, out);
}

/* Vstack, Hstack, Dstack: `word` is the axis; tensors get the dims that they lack for it. */
bool op_build_stack_along(op_use *u, fe_value *out)
{
    int count = 0;
    ir_value *x = NULL;
    if (!op_find_list(u, "xs", &count, &x)) return false;
    const int axis = u->op->word[0] - '0', least = axis == 1 ? 1 : axis == 0 ? 2 : 3;
    bool rows = false;
    for (int i = 0; i < count; i++) {
        if (op_type(u, x[i]).rank == 0) x[i] = op_insert_dim(u, x[i], 0);
        rows = rows || op_type(u, x[i]).rank == 1;
        if (op_type(u, x[i]).rank < least && op_type(u, x[i]).rank < 2) x[i] = op_insert_dim(u, x[i], 0);
        if (op_type(u, x[i]).rank < least) x[i] = op_insert_dim(u, x[i], 2);
    }
    return finish_concatenation(u, count, x, axis == 1 && rows ? 0 : axis, out);
}

bool op_build_append(op_use *u, fe_value *out)
{
    int count;
    int64_t axis[IR_MAX_RANK];
    ir_value x[2];
    if (!op_find_tensor(u, "x1", &x[0]) || !op_find_tensor(u, "x2", &x[1])) return false;
    if (!op_find_ints(u, "axis", &count, axis)) return false;
    const ir_dtype dtype = fe_result_type(op_type(u, x[0]).dtype, op_type(u, x[1]).dtype);
    for (int i = 0; i < 2; i++) {
        const ir_type t = op_type(u, x[i]);
        if (!op_check_type(u, &t)) return false;
        x[i] = ir_build_convert(u->l->g, x[i], dtype);
        if (count < 0) x[i] = op_flatten(u, x[i]);
    }
    if (op_type(u, x[0]).rank != op_type(u, x[1]).rank) return op_error(u, "expected tensors of one rank");
    return finish_concatenation(u, 2, x, count < 0 ? 0 : axis[0], out);
}

/* ---- splitting --------------------------------------------------------------------------- */

static bool split_at(op_use *u, ir_value x, int64_t axis, int count, const int64_t *at, fe_value *out)
{
    const int64_t size = op_type(u, x).dim[axis].count;
    ir_value *part = arena_array(u->l->fe->arena, ir_value, (size_t)count + 1);
    for (int i = 0; i <= count; i++) {
        const int64_t start = i == 0 ? 0 : at[i - 1], limit = i == count ? size : at[i];
        if (start < 0 || limit > size || start >= limit)
            return op_error(u, "expected parts with elements of %lld, found %lld .. %lld", (long long)size,
                            (long long)start, (long long)limit);
        part[i] = op_slice_dim(u, x, axis, start, limit);
    }
    return op_finish_list(u, count + 1, part, out);
}

/* `word`: the axis, or "" for the parameter; "uneven": the first parts take what is left over. */
bool op_build_split(op_use *u, fe_value *out)
{
    ir_value x;
    int count;
    int64_t axis, *at;
    const bool uneven = strcmp(u->op->word, "uneven") == 0;
    if (!op_find_tensor(u, "x", &x) || !op_find_int_list(u, "indices_or_sections", &count, &at)) return false;
    const ir_type t = op_type(u, x);
    if (uneven || u->op->word[0] == '\0') {
        if (!op_find_int(u, "axis", 0, &axis)) return false;
    } else {
        axis = u->op->word[0] - '0';
        if (axis == 1 && t.rank == 1) axis = 0;
    }
    if (!op_resolve_axes(u, t.rank, 1, &axis) || !op_check_fixed(u, &t, axis, "splitting")) return false;
    const fe_value *v = op_find(u, "indices_or_sections");
    if (v && v->kind != FE_NUMBER) return split_at(u, x, axis, count, at, out);
    const int64_t size = t.dim[axis].count, parts = count == 1 ? at[0] : 0;
    if (parts < 1 || parts > size || (!uneven && size % parts != 0))
        return op_error(u, "expected a number of parts that divides %lld, found %lld", (long long)size,
                        (long long)parts);
    at = arena_array(u->l->fe->arena, int64_t, (size_t)parts);
    for (int64_t i = 0; i + 1 < parts; i++) at[i] = (i + 1) * (size / parts) + base_min(i + 1, size % parts);
    return split_at(u, x, axis, (int)parts - 1, at, out);
}

bool op_build_unstack(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t axis;
    if (!op_find_tensor(u, "x", &x) || !op_find_axis(u, "axis", op_type(u, x).rank, 0, &axis)) return false;
    const ir_type t = op_type(u, x);
    if (!op_check_fixed(u, &t, axis, "splitting")) return false;
    if (t.dim[axis].count > 1 << 16) return op_fail_shape(u, "fewer parts", &t);
    const int count = (int)t.dim[axis].count;
    ir_value *part = arena_array(u->l->fe->arena, ir_value, (size_t)count);
    for (int i = 0; i < count; i++) part[i] = op_drop_dim(u, op_slice_dim(u, x, axis, i, i + 1), axis);
    return op_finish_list(u, count, part, out);
}
