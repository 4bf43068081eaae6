/* ops_build.c: small graphs that the operations of keras.ops are made of, and the checks before them. */
#include "frontend/layers.h"
#include "frontend/ops.h"

#include <string.h>

/* ---- results and checks ------------------------------------------------------------------ */

bool op_finish(op_use *u, ir_value value, fe_value *out)
{
    (void)u;
    if (value == IR_NONE) return false;
    *out = fe_value_tensor(value, IR_NONE);
    return true;
}

bool op_finish_list(op_use *u, int count, const ir_value *value, fe_value *out)
{
    *out = (fe_value){.kind = FE_LIST, .count = count};
    out->item = arena_array(u->l->fe->arena, fe_value, (size_t)count + 1);
    for (int i = 0; i < count; i++) {
        if (value[i] == IR_NONE) return false;
        out->item[i] = fe_value_tensor(value[i], IR_NONE);
    }
    return true;
}

ir_type op_type(op_use *u, ir_value x) { return *ir_type_of(u->l->g, x); }

bool op_fail_shape(op_use *u, const char *what, const ir_type *found)
{
    return op_error(u, "expected %s, found %s", what, fe_shape_show(u->l->fe, found));
}

bool op_check_fixed(op_use *u, const ir_type *t, int64_t axis, const char *doing)
{
    return !t->dim[axis].batch || op_error(u, "%s the batch is not supported", doing);
}

bool op_check_type(op_use *u, const ir_type *t)
{
    if (t->rank > IR_MAX_RANK) return op_error(u, "expected a result of at most %d dimensions", IR_MAX_RANK);
    int batches = 0;
    for (int i = 0; i < t->rank; i++) {
        batches += t->dim[i].batch != 0;
        if (t->dim[i].count < 1) return op_error(u, "expected a result with elements, found none");
    }
    if (batches > 1) return op_error(u, "a result with the batch in two dimensions is not supported");
    return fe_size_check(u->l, u->l->layer, t);
}

bool op_check_broadcast(op_use *u, ir_value a, ir_value b)
{
    ir_type type;
    if (!ir_broadcast_shapes(ir_type_of(u->l->g, a), ir_type_of(u->l->g, b), &type)) {
        return op_error(u, "expected inputs whose shapes fit, found %s and %s",
                        fe_shape_show(u->l->fe, ir_type_of(u->l->g, a)),
                        fe_shape_show(u->l->fe, ir_type_of(u->l->g, b)));
    }
    return op_check_type(u, &type);
}

/* ---- elementwise ------------------------------------------------------------------------- */

ir_value op_map1(op_use *u, ir_op op, ir_value a) { return ir_build_unary(u->l->g, op, a); }
ir_value op_map2(op_use *u, ir_op op, ir_value a, ir_value b) { return ir_build_binary(u->l->g, op, a, b); }

ir_value op_map_number(op_use *u, ir_op op, ir_value a, double b)
{
    return ir_build_binary_scalar(u->l->g, op, a, b);
}

ir_value op_compare(op_use *u, const char *direction, ir_value a, ir_value b)
{
    return ir_build_compare(u->l->g, direction, a, b);
}

ir_value op_number(op_use *u, ir_value like, double number)
{
    return ir_build_scalar(u->l->g, op_type(u, like).dtype, number);
}

ir_value op_compare_number(op_use *u, const char *direction, ir_value a, double b)
{
    return op_compare(u, direction, a, op_number(u, a, b));
}

ir_value op_choose(op_use *u, ir_value condition, ir_value a, ir_value b)
{
    return ir_build_select(u->l->g, condition, a, b);
}

ir_value op_fill(op_use *u, ir_value like, double number)
{
    return ir_build_fill(u->l->g, op_type(u, like), number);
}

ir_value op_truth(op_use *u, ir_value x)
{
    return op_type(u, x).dtype == DTYPE_i1 ? x : op_compare_number(u, "NE", x, 0);
}

ir_value op_is_nan(op_use *u, ir_value x)
{
    if (!ir_dtype_is_float(op_type(u, x).dtype))
        return ir_build_fill(u->l->g, ir_type_with_dtype(op_type(u, x), DTYPE_i1), 0);
    return op_compare(u, "NE", x, x);
}

ir_value op_floor_mod(op_use *u, ir_value a, ir_value b)
{
    ir_value rest = op_map2(u, OP_remainder, a, b);
    if (ir_dtype_class_of(op_type(u, a).dtype) == DTYPE_UNSIGNED) return rest;
    ir_value other =
        op_map2(u, OP_xor, op_compare_number(u, "LT", rest, 0), op_compare_number(u, "LT", b, 0));
    ir_value adjust = op_map2(u, OP_and, other, op_compare_number(u, "NE", rest, 0));
    return op_choose(u, adjust, op_map2(u, OP_add, rest, b), rest);
}

ir_value op_convert(op_use *u, ir_value x, ir_dtype dtype)
{
    const bool whole = ir_dtype_is_float(op_type(u, x).dtype) && !ir_dtype_is_float(dtype) && dtype != DTYPE_i1;
    if (whole && dtype == DTYPE_u32) x = ir_build_convert(u->l->g, x, DTYPE_i64);
    if (whole && ir_dtype_size(dtype) < 4) x = ir_build_convert(u->l->g, x, DTYPE_i32);
    return dtype == DTYPE_i1 ? op_truth(u, x) : ir_build_convert(u->l->g, x, dtype);
}

/* ---- shapes ------------------------------------------------------------------------------ */

ir_value op_flatten(op_use *u, ir_value x)
{
    const ir_type t = op_type(u, x);
    ir_dim all;
    bug_if(!ir_type_elements(&t, &all), "a type that was not checked");
    return ir_build_reshape(u->l->g, x, 1, &all);
}

ir_value op_move_axis(op_use *u, ir_value x, int64_t from, int64_t to)
{
    const int rank = op_type(u, x).rank;
    int64_t order[IR_MAX_RANK];
    for (int64_t i = 0, next = 0; i < rank; i++) {
        if (next == from) next++;
        order[i] = i == to ? from : next++;
    }
    return ir_build_transpose(u->l->g, x, order);
}

ir_value op_insert_dim(op_use *u, ir_value x, int64_t at) { return fe_insert_dim(u->l, x, (int)at); }

ir_value op_drop_dim(op_use *u, ir_value x, int64_t at)
{
    ir_type t = op_type(u, x);
    for (int64_t i = at; i + 1 < t.rank; i++) t.dim[i] = t.dim[i + 1];
    return ir_build_reshape(u->l->g, x, t.rank - 1, t.dim);
}

ir_value op_slice_dim(op_use *u, ir_value x, int64_t dim, int64_t start, int64_t limit)
{
    return ir_build_slice_dim(u->l->g, x, (int)dim, start, limit);
}

ir_value op_reduce(op_use *u, const char *kind, ir_value x, int64_t axis, bool keep_dims)
{
    return ir_build_reduce(u->l->g, kind, x, 1, &axis, keep_dims);
}

/* ---- constants --------------------------------------------------------------------------- */

ir_value op_iota(op_use *u, ir_dtype dtype, const ir_type *shape, int64_t dim)
{
    return ir_build_iota(u->l->g, ir_type_with_dtype(*shape, dtype), (int)dim);
}

ir_value op_constant_i32(op_use *u, int64_t count, const int32_t *number)
{
    const ir_dim dim = ir_fixed(count);
    return ir_build_constant(u->l->g, ir_type_make(DTYPE_i32, 1, &dim), number);
}

/* ---- indexing ---------------------------------------------------------------------------- */

static ir_attr make_ints(ir_attr_name name, int count, const int64_t *item)
{
    return (ir_attr){.name = name, .ints = {count, item}};
}

static ir_attr make_int(ir_attr_name name, int64_t i) { return (ir_attr){.name = name, .i = i}; }

ir_value op_index_wrap(op_use *u, ir_value indices, ir_value x, int64_t axis)
{
    ir_graph *g = u->l->g;
    const ir_dim size = op_type(u, x).dim[axis];
    const ir_type t = op_type(u, indices);
    const ir_value count = size.batch ? ir_build_convert(g, ir_build_dimension_size(g, x, (int)axis), DTYPE_i32)
                                      : ir_build_scalar(g, DTYPE_i32, (double)size.count);
    const ir_value from_end = op_map2(u, OP_add, indices, ir_build_broadcast_to(g, count, &t));
    return op_choose(u, op_compare_number(u, "LT", indices, 0), from_end, indices);
}

ir_value op_take(op_use *u, ir_value x, ir_value indices, int64_t axis)
{
    const ir_type t = op_type(u, x), n = op_type(u, indices);
    int64_t offset[IR_MAX_RANK], sizes[IR_MAX_RANK];
    ir_type result = {.dtype = t.dtype, .rank = t.rank - 1 + n.rank};
    if (result.rank > IR_MAX_RANK) return op_check_type(u, &result), IR_NONE;
    for (int i = 0; i < n.rank; i++) result.dim[axis + i] = n.dim[i];
    for (int i = 0, k = 0; i < t.rank; i++) {
        sizes[i] = i == axis ? 1 : t.dim[i].batch ? -1 : t.dim[i].count;
        if (i == axis) continue;
        offset[k] = i < axis ? i : i - 1 + n.rank;
        result.dim[offset[k++]] = t.dim[i];
    }
    if (!op_check_type(u, &result)) return IR_NONE;
    const ir_value in[] = {x, indices};
    const ir_attr attr[] = {make_ints(ATTR_offset_dims, t.rank - 1, offset),
                            make_ints(ATTR_collapsed_slice_dims, 1, &axis),
                            make_ints(ATTR_operand_batching_dims, 0, offset),
                            make_ints(ATTR_indices_batching_dims, 0, offset),
                            make_ints(ATTR_start_index_map, 1, &axis),
                            make_int(ATTR_index_vector_dim, n.rank),
                            make_ints(ATTR_sizes, t.rank, sizes)};
    return ir_build(u->l->g, OP_gather, 2, in, (int)countof(attr), attr, NULL);
}

ir_value op_take_along(op_use *u, ir_value x, ir_value indices, int64_t axis)
{
    const int rank = op_type(u, x).rank;
    int64_t other[IR_MAX_RANK], sizes[IR_MAX_RANK];
    for (int i = 0, k = 0; i < rank; i++) {
        sizes[i] = 1;
        if (i != axis) other[k++] = i;
    }
    const ir_value in[] = {x, indices};
    const ir_attr attr[] = {make_ints(ATTR_offset_dims, 0, other),
                            make_ints(ATTR_collapsed_slice_dims, 1, &axis),
                            make_ints(ATTR_operand_batching_dims, rank - 1, other),
                            make_ints(ATTR_indices_batching_dims, rank - 1, other),
                            make_ints(ATTR_start_index_map, 1, &axis),
                            make_int(ATTR_index_vector_dim, rank),
                            make_ints(ATTR_sizes, rank, sizes)};
    return ir_build(u->l->g, OP_gather, 2, in, (int)countof(attr), attr, NULL);
}

ir_value op_gather_nd(op_use *u, ir_value x, ir_value indices, int shared)
{
    const ir_type t = op_type(u, x), n = op_type(u, indices);
    const int rows = n.rank - 1, width = (int)n.dim[rows].count;
    int64_t number[IR_MAX_RANK], offset[IR_MAX_RANK], sizes[IR_MAX_RANK];
    for (int i = 0; i < IR_MAX_RANK; i++) number[i] = i;
    for (int i = 0; i < t.rank; i++) {
        sizes[i] = i < shared + width ? 1 : t.dim[i].batch ? -1 : t.dim[i].count;
        if (i >= shared + width) offset[i - shared - width] = rows + i - shared - width;
    }
    const ir_value in[] = {x, indices};
    const ir_attr attr[] = {make_ints(ATTR_offset_dims, t.rank - shared - width, offset),
                            make_ints(ATTR_collapsed_slice_dims, width, number + shared),
                            make_ints(ATTR_operand_batching_dims, shared, number),
                            make_ints(ATTR_indices_batching_dims, shared, number),
                            make_ints(ATTR_start_index_map, width, number + shared),
                            make_int(ATTR_index_vector_dim, rows),
                            make_ints(ATTR_sizes, t.rank, sizes)};
    return ir_build(u->l->g, OP_gather, 2, in, (int)countof(attr), attr, NULL);
}

ir_value op_scatter(op_use *u, const char *kind, ir_value x, ir_value indices, ir_value updates)
{
    const int rows = op_type(u, indices).rank - 1, rank = op_type(u, x).rank;
    const int width = (int)op_type(u, indices).dim[rows].count;
    int64_t window[IR_MAX_RANK], indexed[IR_MAX_RANK];
    for (int i = 0; i < rank - width; i++) window[i] = rows + i;
    for (int i = 0; i < width; i++) indexed[i] = i;
    const ir_value in[] = {x, indices, updates};
    const ir_attr attr[] = {{.name = ATTR_kind, .text = kind},
                            make_ints(ATTR_update_window_dims, rank - width, window),
                            make_ints(ATTR_inserted_window_dims, width, indexed),
                            make_ints(ATTR_operand_batching_dims, 0, window),
                            make_ints(ATTR_indices_batching_dims, 0, window),
                            make_ints(ATTR_scatter_dims, width, indexed),
                            make_int(ATTR_index_vector_dim, rows)};
    return ir_build(u->l->g, OP_scatter, 3, in, (int)countof(attr), attr, NULL);
}

ir_value op_sort(op_use *u, ir_value x, int64_t axis, bool descending, ir_value *out_order)
{
    const ir_type t = op_type(u, x);
    const ir_attr attr[] = {make_int(ATTR_dimension, axis), make_int(ATTR_descending, 1)};
    ir_value in[2] = {x, IR_NONE};
    if (out_order) in[1] = op_iota(u, DTYPE_i32, &t, axis);
    ir_value sorted = ir_build(u->l->g, OP_sort, out_order ? 2 : 1, in, descending ? 2 : 1, attr, NULL);
    if (out_order) *out_order = ir_build_get(u->l->g, sorted, 1);
    return ir_build_get(u->l->g, sorted, 0);
}

/* ---- products ---------------------------------------------------------------------------- */

ir_value op_contract(op_use *u, ir_value a, ir_value b, int count, const int64_t *a_axis,
                     const int64_t *b_axis)
{
    const ir_type ta = op_type(u, a), tb = op_type(u, b);
    ir_dot dot = {.contracting_count = count};
    ir_type result = {.dtype = ta.dtype};
    bool used[2][IR_MAX_RANK] = {{false}};
    for (int i = 0; i < count; i++) {
        dot.lhs_contracting[i] = a_axis[i];
        dot.rhs_contracting[i] = b_axis[i];
        used[0][a_axis[i]] = used[1][b_axis[i]] = true;
        if (!ir_dim_equal(ta.dim[a_axis[i]], tb.dim[b_axis[i]])) {
            op_error(u, "expected axes of one size to sum over, found %s and %s",
                     fe_shape_show(u->l->fe, &ta), fe_shape_show(u->l->fe, &tb));
            return IR_NONE;
        }
    }
    if (ta.rank + tb.rank - 2 * count > IR_MAX_RANK) {
        op_error(u, "expected a result of at most %d dimensions", IR_MAX_RANK);
        return IR_NONE;
    }
    for (int i = 0; i < ta.rank; i++) {
        if (!used[0][i]) result.dim[result.rank++] = ta.dim[i];
    }
    for (int i = 0; i < tb.rank; i++) {
        if (!used[1][i]) result.dim[result.rank++] = tb.dim[i];
    }
    return op_check_type(u, &result) ? ir_build_dot_general(u->l->g, a, b, &dot) : IR_NONE;
}
