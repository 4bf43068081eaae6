/* ops_make.c: operations of keras.ops that make tensors: filled ones, ranges, grids, one-hot rows, segments.
 */
#include "frontend/ops.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- filled ------------------------------------------------------------------------------ */

/* `word`: the number, "nan" where the operand's own value does not matter; "" for the parameter. */
bool op_build_fill_like(op_use *u, fe_value *out)
{
    ir_value x, value;
    ir_dtype dtype;
    if (!op_find_tensor(u, "x", &x) || !op_find_dtype(u, "dtype", op_type(u, x).dtype, &dtype)) return false;
    const ir_type t = ir_type_with_dtype(op_type(u, x), dtype);
    if (u->op->word[0]) return op_finish(u, ir_build_fill(u->l->g, t, u->op->word[0] - '0'), out);
    if (!op_find_tensor(u, "fill_value", &value)) return false;
    if (!op_check_broadcast(u, x, value)) return false;
    if (op_type(u, value).rank > t.rank) return op_fail_shape(u, "a value that stretches to the tensor", &t);
    return op_finish(u, ir_build_broadcast_to(u->l->g, op_convert(u, value, dtype), &t), out);
}

bool op_build_full(op_use *u, fe_value *out)
{
    ir_value value;
    ir_dtype dtype;
    int count;
    int64_t size[IR_MAX_RANK];
    if (!op_find_tensor(u, "fill_value", &value) || !op_find_ints(u, "shape", &count, size)) return false;
    if (!op_find_dtype(u, "dtype", op_type(u, value).dtype, &dtype)) return false;
    if (count < 0) return op_error(u, "expected a list of sizes as \"shape\"");
    ir_type t = {.dtype = dtype, .rank = count}, both;
    for (int i = 0; i < count; i++) t.dim[i] = ir_fixed(size[i]);
    const ir_type own = op_type(u, value);
    if (!op_check_type(u, &t)) return false;
    if (!ir_broadcast_shapes(&own, &t, &both) || !ir_type_same_shape(&both, &t))
        return op_fail_shape(u, "a value that stretches to the shape", &own);
    return op_finish(u, ir_build_broadcast_to(u->l->g, op_convert(u, value, dtype), &t), out);
}

bool op_build_size(op_use *u, fe_value *out)
{
    ir_value x;
    ir_dim all;
    if (!op_find_tensor(u, "x", &x)) return false;
    const ir_type t = op_type(u, x);
    if (strcmp(u->op->word, "rank") == 0)
        return op_finish(u, ir_build_scalar(u->l->g, DTYPE_i32, t.rank), out);
    if (!op_check_type(u, &t) || !ir_type_elements(&t, &all)) return false;
    ir_value size = ir_build_scalar(u->l->g, DTYPE_i64, (double)all.count);
    for (int i = 0; i < t.rank; i++) {
        if (!t.dim[i].batch) continue;
        size = op_map_number(u, OP_multiply, ir_build_dimension_size(u->l->g, x, i),
                             (double)(all.count / t.dim[i].count));
    }
    return op_finish(u, ir_build_convert(u->l->g, size, DTYPE_i32), out);
}

/* ---- ranges and grids -------------------------------------------------------------------- */

/* Linspace and, with word "log", Logspace. */
bool op_build_linspace(op_use *u, fe_value *out)
{
    ir_value start, stop;
    ir_dtype dtype;
    int64_t num, axis;
    bool endpoint, step;
    double base;
    if (!op_find_pair(u, "start", "stop", true, &start, &stop) || !op_find_int(u, "num", 50, &num))
        return false;
    if (!op_find_bool(u, "endpoint", true, &endpoint) || !op_find_bool(u, "retstep", false, &step))
        return false;
    if (!op_find_dtype(u, "dtype", op_type(u, start).dtype, &dtype)) return false;
    if (!op_find_number_or(u, "base", 10, &base)) return false;
    const bool geometric = strcmp(u->op->word, "geometric") == 0;
    ir_value sign = IR_NONE;
    if (geometric) {
        sign = op_map1(u, OP_sign, start);
        start = op_map_number(u, OP_multiply, op_map1(u, OP_log, op_map1(u, OP_abs, start)), 1 / log(10));
        stop = op_map_number(u, OP_multiply, op_map1(u, OP_log, op_map1(u, OP_abs, stop)), 1 / log(10));
    }
    const ir_value span = op_map2(u, OP_subtract, stop, start);
    ir_type t = op_type(u, span), one = t;
    if (num < 1 || num > INT32_MAX || t.rank == IR_MAX_RANK)
        return op_error(u, "expected a smaller positive \"num\"");
    if (!op_find_axis(u, "axis", t.rank + 1, 0, &axis)) return false;
    one.rank = ++t.rank;
    for (int64_t i = t.rank - 1; i > axis; i--) one.dim[i] = t.dim[i] = t.dim[i - 1];
    t.dim[axis] = ir_fixed(num);
    one.dim[axis] = ir_fixed(1);
    if (!op_check_type(u, &t)) return false;
    const double parts = (double)(endpoint ? base_max(num - 1, 1) : num);
    ir_value index = op_iota(u, DTYPE_i32, &t, axis);
    ir_value share = op_map_number(u, OP_divide, ir_build_convert(u->l->g, index, t.dtype), parts);
    const ir_type whole = op_type(u, span);
    ir_value from =
        ir_build_reshape(u->l->g, ir_build_broadcast_to(u->l->g, start, &whole), one.rank, one.dim);
    ir_value y = op_map2(u, OP_multiply, share, ir_build_reshape(u->l->g, span, one.rank, one.dim));
    y = op_map2(u, OP_add, y, from);
    if (geometric || strcmp(u->op->word, "log") == 0) y = op_map2(u, OP_power, op_number(u, y, base), y);
    if (geometric) {
        sign = ir_build_reshape(u->l->g, ir_build_broadcast_to(u->l->g, sign, &whole), one.rank, one.dim);
        y = op_map2(u, OP_multiply, y, sign);
    }
    if (!ir_dtype_is_float(dtype)) y = op_map1(u, OP_floor, y);
    const ir_value result[] = {ir_build_convert(u->l->g, y, dtype), op_map_number(u, OP_divide, span, parts)};
    return step ? op_finish_list(u, 2, result, out) : op_finish(u, result[0], out);
}

bool op_build_meshgrid(op_use *u, fe_value *out)
{
    const char *indexing;
    const int count = u->args->arg.count;
    ir_value x[IR_MAX_RANK];
    ir_type t = {.rank = count};
    if (count < 1 || count > IR_MAX_RANK) return op_error(u, "expected 1 .. %d rows", IR_MAX_RANK);
    if (!op_find_text(u, "indexing", &indexing)) return false;
    const bool turned = strcmp(indexing, "ij") != 0 && count > 1;
    int64_t at[IR_MAX_RANK];
    for (int i = 0; i < count; i++) {
        if (!op_value_tensor(u, &u->args->arg.item[i], "x", &x[i])) return false;
        const ir_type row = op_type(u, x[i]);
        if (row.rank > 1) return op_fail_shape(u, "one row", &row);
        if (row.rank == 0) x[i] = op_insert_dim(u, x[i], 0);
        at[i] = turned && i < 2 ? 1 - i : i;
        t.dim[at[i]] = op_type(u, x[i]).dim[0];
    }
    if (!op_check_type(u, &t)) return false;
    for (int i = 0; i < count; i++) x[i] = ir_build_broadcast_in_dim(u->l->g, x[i], &t, &at[i]);
    return op_finish_list(u, count, x, out);
}

/* Coordinates of flat indices. Keras takes the sizes from the last on only for one row of indices. */
bool op_build_unravel_index(op_use *u, fe_value *out)
{
    ir_value x, y[IR_MAX_RANK];
    int count;
    int64_t size[IR_MAX_RANK];
    if (!op_find_tensor(u, "indices", &x) || !op_find_ints(u, "shape", &count, size)) return false;
    if (count < 1 || ir_dtype_is_float(op_type(u, x).dtype))
        return op_error(u, "expected integers and a shape");
    const bool row = op_type(u, x).rank == 1;
    for (int i = 0; i < count; i++) {
        const int64_t n = size[row ? count - 1 - i : i];
        if (n < 1) return op_error(u, "expected positive sizes, found %lld", (long long)n);
        ir_value divisor = op_number(u, x, (double)n), rest = op_floor_mod(u, x, divisor);
        y[count - 1 - i] = rest;
        x = op_map2(u, OP_divide, op_map2(u, OP_subtract, x, rest), divisor);
    }
    return op_finish_list(u, count, y, out);
}

bool op_build_vander(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t n;
    bool increasing;
    if (!op_find_tensor(u, "x", &x) || !op_find_bool(u, "increasing", false, &increasing)) return false;
    const ir_type row = op_type(u, x);
    if (row.rank != 1) return op_fail_shape(u, "one row", &row);
    if (!op_find_int(u, "N", row.dim[0].batch ? -1 : row.dim[0].count, &n)) return false;
    if (n < 1) return op_error(u, "expected a positive \"N\", found %lld", (long long)n);
    const ir_type t = ir_type_make(op_real(row.dtype), 2, (ir_dim[]){row.dim[0], ir_fixed(n)});
    if (!op_check_type(u, &t)) return false;
    ir_value power = op_iota(u, t.dtype, &t, 1);
    if (!increasing) power = op_map2(u, OP_subtract, op_number(u, power, (double)n - 1), power);
    ir_value base = op_insert_dim(u, ir_build_convert(u->l->g, x, t.dtype), 1);
    return op_finish(u, ir_build_convert(u->l->g, op_map2(u, OP_power, base, power), row.dtype), out);
}

/* ---- classes ----------------------------------------------------------------------------- */

static bool build_one_hot(op_use *u, ir_value x, ir_value *out)
{
    int64_t classes, axis;
    ir_dtype dtype;
    bool sparse;
    if (!op_find_int(u, "num_classes", -1, &classes) || !op_find_bool(u, "sparse", false, &sparse))
        return false;
    if (!op_find_dtype(u, "dtype", DTYPE_f32, &dtype)) return false;
    ir_type t = op_type(u, x);
    if (sparse) return op_error(u, "sparse tensors are not supported");
    if (classes < 1 || t.rank == IR_MAX_RANK)
        return op_error(u, "expected a number of classes, found %lld", (long long)classes);
    if (!op_find_axis(u, "axis", t.rank + 1, -1, &axis)) return false;
    t.rank++;
    for (int64_t i = t.rank - 1; i > axis; i--) t.dim[i] = t.dim[i - 1];
    t.dim[axis] = ir_fixed(classes);
    if (!op_check_type(u, &t)) return false;
    x = op_insert_dim(u, ir_build_convert(u->l->g, x, DTYPE_i64), axis);
    ir_value hit = op_compare(u, "EQ", op_iota(u, DTYPE_i64, &t, axis), x);
    *out = ir_build_convert(u->l->g, hit, dtype);
    return true;
}

bool op_build_one_hot(op_use *u, fe_value *out)
{
    ir_value x, y;
    return op_find_tensor(u, "x", &x) && build_one_hot(u, x, &y) && op_finish(u, y, out);
}

bool op_build_multi_hot(op_use *u, fe_value *out)
{
    ir_value x, y;
    if (!op_find_tensor(u, "inputs", &x) || !build_one_hot(u, x, &y)) return false;
    const char *kind = op_type(u, y).dtype == DTYPE_i1 ? "or" : "maximum";
    return op_finish(u, op_reduce(u, kind, y, op_type(u, x).rank > 1 ? 1 : 0, false), out);
}

/* ---- segments ---------------------------------------------------------------------------- */

static double neutral(ir_dtype dtype, bool maximum)
{
    if (ir_dtype_is_float(dtype)) {
        const double most = dtype == DTYPE_f16    ? 65504
                            : dtype == DTYPE_f64  ? DBL_MAX
                            : dtype == DTYPE_bf16 ? 3.3895313892515355e38
                                                  : FLT_MAX;
        return maximum ? -most : most;
    }
    const int bits = 8 * (int)ir_dtype_size(dtype);
    const bool is_signed = ir_dtype_class_of(dtype) == DTYPE_SIGNED;
    if (maximum) return is_signed ? -ldexp(1, bits - 1) : 0;
    return bits == 64 ? ldexp(1, is_signed ? 62 : 63) : ldexp(1, is_signed ? bits - 1 : bits) - 1;
}

/* i1 [segments, rows, ...]: which rows belong to which segment. */
static ir_value mark_rows(op_use *u, ir_value ids, ir_type t, int64_t segments)
{
    const int64_t at[] = {1};
    for (int i = t.rank; i > 0; i--) t.dim[i] = t.dim[i - 1];
    t.rank++;
    t.dim[0] = ir_fixed(segments);
    const ir_type numbers = ir_type_with_dtype(t, op_type(u, ids).dtype);
    ids = ir_build_broadcast_in_dim(u->l->g, ids, &numbers, at);
    return op_compare(u, "EQ", op_iota(u, numbers.dtype, &t, 0), ids);
}

bool op_build_segment(op_use *u, fe_value *out)
{
    ir_value x, ids;
    int64_t segments;
    const char *kind = u->op->word;
    if (!op_find_tensor(u, "data", &x) || !op_find_tensor(u, "segment_ids", &ids)) return false;
    if (!op_find_int(u, "num_segments", -1, &segments)) return false;
    if (segments < 1)
        return op_error(u, "expected \"num_segments\": without it the result has no fixed shape");
    ir_type t = op_type(u, x), n = op_type(u, ids), result = t;
    if (t.rank < 1 || t.rank == IR_MAX_RANK || n.rank != 1 || !ir_dim_equal(n.dim[0], t.dim[0]) ||
        ir_dtype_is_float(n.dtype))
        return op_fail_shape(u, "one segment number a row", &n);
    result.dim[0] = ir_fixed(segments);
    if (!op_check_type(u, &result)) return false;
    if (strcmp(kind, "add") == 0) {
        ir_value zeros = ir_build_fill(u->l->g, result, 0);
        return op_finish(u, op_scatter(u, kind, zeros, op_insert_dim(u, ids, 1), x), out);
    }
    ir_type wide = t;
    wide.dim[0].count *= segments;
    if (!op_check_type(u, &wide)) return false;
    const double none = kind[0] == 'm' && kind[1] == 'u' ? 1 : neutral(t.dtype, strcmp(kind, "maximum") == 0);
    ir_value marked = op_choose(u, mark_rows(u, ids, t, segments), x, op_number(u, x, none));
    return op_finish(u, op_reduce(u, kind, marked, 1, false), out);
}

/* ---- sequences --------------------------------------------------------------------------- */

/* Overlapping pieces of the last dim. */
bool op_build_extract_sequences(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t length, stride;
    if (!op_find_tensor(u, "x", &x) || !op_find_int(u, "sequence_length", 0, &length)) return false;
    if (!op_find_int(u, "sequence_stride", 0, &stride)) return false;
    const ir_type t = op_type(u, x);
    if (t.rank < 1 || t.rank == IR_MAX_RANK || t.dim[t.rank - 1].batch)
        return op_fail_shape(u, "sequences", &t);
    const int64_t size = t.dim[t.rank - 1].count;
    if (length < 1 || stride < 1 || length > size)
        return op_fail_shape(u, "sequences at least as long as a piece", &t);
    const int64_t pieces = (size - length) / stride + 1;
    ir_type result = t;
    result.dim[result.rank++] = ir_fixed(length);
    result.dim[t.rank - 1] = ir_fixed(pieces);
    if (size > INT32_MAX || !op_check_type(u, &result)) return false;
    const ir_type grid = ir_type_make(DTYPE_i32, 2, (ir_dim[]){ir_fixed(pieces), ir_fixed(length)});
    ir_value start = op_map_number(u, OP_multiply, op_iota(u, DTYPE_i32, &grid, 0), (double)stride);
    return op_finish(u, op_take(u, x, op_map2(u, OP_add, start, op_iota(u, DTYPE_i32, &grid, 1)), t.rank - 1),
                     out);
}
