/* ops_gather.c: operations of keras.ops that pick elements by tensors of indices, and put values or blocks
 * into tensors. */
#include "frontend/ops.h"

#include <string.h>

/* ---- picking by tensors ------------------------------------------------------------------ */

/* Indices into dim `axis` of x as i32, negative ones counted from the end. */
static bool find_indices(op_use *u, ir_value indices, ir_value x, int64_t axis, ir_value *out)
{
    const ir_dtype dtype = op_type(u, indices).dtype;
    if (ir_dtype_is_float(dtype) || dtype == DTYPE_i1) return op_error(u, "expected integers as indices");
    if (op_type(u, x).dim[axis].count > INT32_MAX) return op_error(u, "expected a smaller tensor to index");
    *out = op_index_wrap(u, ir_build_convert(u->l->g, indices, DTYPE_i32), x, axis);
    return true;
}

bool op_build_take(op_use *u, fe_value *out)
{
    ir_value x, indices;
    int count;
    int64_t axis[IR_MAX_RANK] = {0};
    if (!op_find_tensor(u, "x", &x) || !op_find_tensor(u, "indices", &indices)) return false;
    if (!op_find_ints(u, "axis", &count, axis)) return false;
    const ir_type t = op_type(u, x);
    if (count < 0 && !op_check_type(u, &t)) return false;
    if (count < 0) x = op_flatten(u, x);
    const ir_type row = op_type(u, x);
    if (count > 1 || !op_resolve_axes(u, row.rank, 1, axis))
        return count > 1 ? op_error(u, "expected one axis") : false;
    if (!find_indices(u, indices, x, axis[0], &indices)) return false;
    return op_finish(u, op_take(u, x, indices, axis[0]), out);
}

bool op_build_take_along_axis(op_use *u, fe_value *out)
{
    ir_value x, indices;
    int count;
    int64_t axis[IR_MAX_RANK] = {0};
    if (!op_find_tensor(u, "x", &x) || !op_find_tensor(u, "indices", &indices)) return false;
    if (!op_find_ints(u, "axis", &count, axis)) return false;
    const ir_type given = op_type(u, x);
    if (count < 0 && !op_check_type(u, &given)) return false;
    if (count < 0) x = op_flatten(u, x);
    ir_type t = op_type(u, x), n = op_type(u, indices), all;
    if (t.rank != n.rank) return op_fail_shape(u, "indices of the rank of the tensor", &n);
    if (!op_resolve_axes(u, t.rank, 1, axis) || !op_check_fixed(u, &t, axis[0], "picking from")) return false;
    const ir_dim size = t.dim[axis[0]], picks = n.dim[axis[0]];
    t.dim[axis[0]] = n.dim[axis[0]] = ir_fixed(1);
    if (!ir_broadcast_shapes(&t, &n, &all)) return op_fail_shape(u, "indices that fit the tensor", &n);
    if (!find_indices(u, indices, x, axis[0], &indices)) return false;
    all.dim[axis[0]] = picks;
    if (!op_check_type(u, &all)) return false;
    indices = ir_build_broadcast_to(u->l->g, indices, &all);
    all.dim[axis[0]] = size;
    if (!op_check_type(u, &all)) return false;
    return op_finish(u, op_take_along(u, ir_build_broadcast_to(u->l->g, x, &all), indices, axis[0]), out);
}

/* ---- putting ----------------------------------------------------------------------------- */

static bool check_scatter(op_use *u, const ir_type *x, const ir_type *indices, const ir_type *updates)
{
    const int rows = indices->rank - 1;
    bool fits = rows >= 0 && !indices->dim[rows].batch && indices->dim[rows].count <= x->rank &&
                !ir_dtype_is_float(indices->dtype);
    const int width = fits ? (int)indices->dim[rows].count : 0;
    fits = fits && updates->rank == rows + x->rank - width;
    for (int i = 0; fits && i < updates->rank; i++)
        fits = ir_dim_equal(updates->dim[i], i < rows ? indices->dim[i] : x->dim[width + i - rows]);
    for (int i = 0; fits && i < width; i++) fits = !x->dim[i].batch;
    if (fits) return true;
    return op_error(u, "expected index vectors and values that fit %s, found %s and %s",
                    fe_shape_show(u->l->fe, x), fe_shape_show(u->l->fe, indices),
                    fe_shape_show(u->l->fe, updates));
}

bool op_build_scatter(op_use *u, fe_value *out)
{
    ir_value indices, values;
    int count;
    int64_t size[IR_MAX_RANK];
    if (!op_find_tensor(u, "indices", &indices) || !op_find_tensor(u, "values", &values)) return false;
    if (!op_find_ints(u, "shape", &count, size)) return false;
    if (count < 1) return op_error(u, "expected a list of sizes as \"shape\"");
    ir_type t = {.dtype = op_type(u, values).dtype, .rank = count};
    for (int i = 0; i < count; i++) t.dim[i] = ir_fixed(size[i]);
    const ir_type ti = op_type(u, indices), tv = op_type(u, values);
    if (!op_check_type(u, &t) || !check_scatter(u, &t, &ti, &tv)) return false;
    return op_finish(u, op_scatter(u, "add", ir_build_fill(u->l->g, t, 0), indices, values), out);
}

bool op_build_scatter_update(op_use *u, fe_value *out)
{
    ir_value x, indices, updates;
    const char *reduction;
    if (!op_find_tensor(u, "inputs", &x) || !op_find_tensor(u, "indices", &indices)) return false;
    if (!op_find_tensor(u, "updates", &updates) || !op_find_text(u, "reduction", &reduction)) return false;
    static const char *const kinds[][2] = {
        {"", "replace"}, {"add", "add"}, {"max", "maximum"}, {"min", "minimum"}, {"mul", "multiply"}};
    const char *kind = NULL;
    for (size_t i = 0; i < countof(kinds); i++) {
        if (strcmp(kinds[i][0], reduction) == 0) kind = kinds[i][1];
    }
    if (!kind) return op_error(u, "expected add, max, min or mul as \"reduction\", found \"%s\"", reduction);
    const ir_type t = op_type(u, x), ti = op_type(u, indices);
    updates = ir_build_convert(u->l->g, updates, t.dtype);
    const ir_type tu = op_type(u, updates);
    if (!check_scatter(u, &t, &ti, &tu)) return false;
    return op_finish(u, op_scatter(u, kind, x, indices, updates), out);
}

/* ---- blocks ------------------------------------------------------------------------------ */

typedef struct block_start {
    bool known;
    int64_t number[IR_MAX_RANK];
    ir_value index[IR_MAX_RANK];
} block_start;

static bool find_start(op_use *u, int rank, block_start *s)
{
    const fe_value *v = op_find(u, "start_indices");
    int count = -1;
    s->known = true;
    for (int i = 0; v && v->kind == FE_LIST && i < v->count; i++) {
        int one = 0;
        int64_t number;
        if (v->item[i].kind == FE_TENSOR && !op_constant_ints(u, v->item[i].tensor.value, 1, &one, &number))
            s->known = false;
    }
    if (v && v->kind == FE_TENSOR)
        s->known = op_constant_ints(u, v->tensor.value, IR_MAX_RANK, &count, s->number);
    if (s->known) {
        if (!op_find_ints(u, "start_indices", &count, s->number)) return false;
        if (count != rank) return op_error(u, "expected %d start indices", rank);
        for (int i = 0; i < rank; i++)
            s->index[i] = ir_build_scalar(u->l->g, DTYPE_i32, (double)s->number[i]);
        return true;
    }
    if (v->kind == FE_LIST && v->count != rank) return op_error(u, "expected %d start indices", rank);
    if (v->kind == FE_TENSOR) {
        const ir_type t = op_type(u, v->tensor.value);
        if (t.rank != 1 || !ir_dim_equal(t.dim[0], ir_fixed(rank)) || ir_dtype_is_float(t.dtype))
            return op_fail_shape(u, "one start index a dimension", &t);
    }
    for (int i = 0; i < rank; i++) {
        ir_value at;
        if (v->kind == FE_TENSOR)
            at = op_drop_dim(u, op_slice_dim(u, v->tensor.value, 0, i, i + 1), 0);
        else if (!op_value_tensor(u, &v->item[i], "start_indices", &at))
            return false;
        if (op_type(u, at).rank != 0 || ir_dtype_is_float(op_type(u, at).dtype))
            return op_error(u, "expected integers as \"start_indices\"");
        s->index[i] = ir_build_convert(u->l->g, at, DTYPE_i32);
    }
    return true;
}

/* A size of -1 or null is all that is left. */
bool op_build_slice(op_use *u, fe_value *out)
{
    ir_value x;
    int count;
    int64_t size[IR_MAX_RANK], limit[IR_MAX_RANK];
    block_start s = {0};
    if (!op_find_tensor(u, "inputs", &x) || !op_find_ints(u, "shape", &count, size)) return false;
    const ir_type t = op_type(u, x);
    if (count != t.rank) return op_error(u, "expected %d sizes as \"shape\"", t.rank);
    if (!find_start(u, t.rank, &s)) return false;
    for (int i = 0; i < t.rank; i++) {
        const int64_t whole = t.dim[i].count, start = s.known ? s.number[i] : 0;
        if (t.dim[i].batch) {
            if (size[i] != -1 || start != 0) return op_error(u, "slicing the batch is not supported");
            limit[i] = -1;
            continue;
        }
        if (size[i] == -1) size[i] = whole - start;
        if (size[i] < 1 || start < 0 || start > whole - size[i])
            return op_fail_shape(u, "a slice within the tensor", &t);
        limit[i] = start + size[i];
    }
    if (s.known) return op_finish(u, ir_build_slice(u->l->g, x, s.number, limit, NULL), out);
    ir_value in[1 + IR_MAX_RANK] = {x};
    for (int i = 0; i < t.rank; i++) in[i + 1] = s.index[i];
    const ir_attr attr = {.name = ATTR_sizes, .ints = {t.rank, size}};
    return op_finish(u, ir_build(u->l->g, OP_dynamic_slice, t.rank + 1, in, 1, &attr, NULL), out);
}

bool op_build_slice_update(op_use *u, fe_value *out)
{
    ir_value x, updates;
    block_start s = {0};
    if (!op_find_tensor(u, "inputs", &x) || !op_find_tensor(u, "updates", &updates)) return false;
    const ir_type t = op_type(u, x);
    updates = ir_build_convert(u->l->g, updates, t.dtype);
    const ir_type part = op_type(u, updates);
    bool fits = part.rank == t.rank;
    for (int i = 0; fits && i < t.rank; i++)
        fits = t.dim[i].batch ? ir_dim_equal(part.dim[i], t.dim[i])
                              : !part.dim[i].batch && part.dim[i].count <= t.dim[i].count;
    if (!fits) return op_fail_shape(u, "updates that lie within the tensor", &part);
    if (!find_start(u, t.rank, &s)) return false;
    ir_value in[2 + IR_MAX_RANK] = {x, updates};
    for (int i = 0; i < t.rank; i++) in[i + 2] = s.index[i];
    return op_finish(u, ir_build(u->l->g, OP_dynamic_update_slice, t.rank + 2, in, 0, NULL, NULL), out);
}
