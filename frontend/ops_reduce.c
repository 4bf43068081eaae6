/* ops_reduce.c: reductions of keras.ops. */
#include "frontend/layers.h"
#include "frontend/ops.h"
#include "frontend/train.h"

#include <float.h>
#include <math.h>
#include <string.h>

static bool is_word(op_use *u, const char *word) { return strcmp(u->op->word, word) == 0; }

static ir_value reduce(op_use *u, const char *kind, const op_reduction *r, ir_value x)
{
    return ir_build_reduce(u->l->g, kind, x, r->count, r->axis, r->keep_dims);
}

static ir_value mean(op_use *u, const op_reduction *r, ir_value x, bool keep_dims)
{
    return ir_build_mean(u->l->g, x, r->count, r->axis, keep_dims);
}

static bool build_initial(op_use *u, const char *kind, ir_value *y)
{
    ir_value initial;
    if (!op_find_tensor_or_none(u, "initial", &initial)) return false;
    if (initial == IR_NONE) return true;
    initial = op_convert(u, initial, op_type(u, *y).dtype);
    if (!op_check_broadcast(u, *y, initial)) return false;
    ir_op op = strcmp(kind, "maximum") == 0 ? OP_maximum : strcmp(kind, "minimum") == 0 ? OP_minimum : OP_and;
    *y = op_map2(u, strcmp(kind, "or") == 0 ? OP_or : op, *y, initial);
    return true;
}

bool op_build_reduce(op_use *u, fe_value *out)
{
    op_reduction r;
    ir_dtype dtype;
    if (!op_find_reduction(u, "x", "axis", &r)) return false;
    const char *kind = u->op->word;
    const ir_dtype own = op_type(u, r.x).dtype;
    if (is_word(u, "add") || is_word(u, "multiply")) {
        if (!op_find_dtype(u, "dtype", op_sum_dtype(own), &dtype)) return false;
        r.x = op_convert(u, r.x, dtype);
    } else if (is_word(u, "or") || is_word(u, "and")) {
        r.x = op_truth(u, r.x);
    } else if (own == DTYPE_i1) {
        kind = is_word(u, "maximum") ? "or" : "and";
    }
    ir_value y = reduce(u, kind, &r, r.x);
    return build_initial(u, kind, &y) && op_finish(u, y, out);
}

bool op_build_count_nonzero(op_use *u, fe_value *out)
{
    op_reduction r;
    if (!op_find_reduction(u, "x", "axis", &r)) return false;
    return op_finish(u, reduce(u, "add", &r, ir_build_convert(u->l->g, op_truth(u, r.x), DTYPE_i32)), out);
}

bool op_build_ptp(op_use *u, fe_value *out)
{
    op_reduction r;
    if (!op_find_reduction(u, "x", "axis", &r)) return false;
    return op_finish(u, op_map2(u, OP_subtract, reduce(u, "maximum", &r, r.x), reduce(u, "minimum", &r, r.x)),
                     out);
}

/* ---- means ------------------------------------------------------------------------------- */

static ir_value build_variance(op_use *u, const op_reduction *r, ir_value x)
{
    ir_value off = op_map2(u, OP_subtract, x, mean(u, r, x, true));
    return mean(u, r, op_map2(u, OP_multiply, off, off), r->keep_dims);
}

/* 16-bit numbers are averaged in 32 bits. */
bool op_build_mean(op_use *u, fe_value *out)
{
    op_reduction r;
    if (!op_find_reduction(u, "x", "axis", &r)) return false;
    const ir_dtype dtype = op_real(op_type(u, r.x).dtype), wide = dtype == DTYPE_f64 ? dtype : DTYPE_f32;
    ir_value x = ir_build_convert(u->l->g, r.x, wide), y;
    y = is_word(u, "mean") ? mean(u, &r, x, r.keep_dims) : build_variance(u, &r, x);
    if (is_word(u, "deviation")) y = op_map1(u, OP_sqrt, y);
    return op_finish(u, ir_build_convert(u->l->g, y, dtype), out);
}

bool op_build_moments(op_use *u, fe_value *out)
{
    op_reduction r;
    if (!op_find_reduction(u, "x", "axes", &r)) return false;
    const ir_dtype dtype = op_real(op_type(u, r.x).dtype), wide = dtype == DTYPE_f64 ? dtype : DTYPE_f32;
    ir_value x = ir_build_convert(u->l->g, r.x, wide);
    ir_value y[2] = {mean(u, &r, x, r.keep_dims), build_variance(u, &r, x)};
    for (int i = 0; i < 2; i++) y[i] = ir_build_convert(u->l->g, y[i], dtype);
    return op_finish_list(u, 2, y, out);
}

/* Weights of one row go along the only axis. */
bool op_build_average(op_use *u, fe_value *out)
{
    op_reduction r;
    ir_value weights;
    if (!op_find_reduction(u, "x", "axis", &r) || !op_find_tensor_or_none(u, "weights", &weights))
        return false;
    ir_dtype dtype = op_type(u, r.x).dtype;
    if (weights != IR_NONE) dtype = fe_result_type(dtype, op_type(u, weights).dtype);
    dtype = op_real(dtype);
    ir_value x = ir_build_convert(u->l->g, r.x, dtype);
    if (weights == IR_NONE) return op_finish(u, mean(u, &r, x, false), out);
    weights = ir_build_convert(u->l->g, weights, dtype);
    const ir_type t = op_type(u, x), w = op_type(u, weights);
    ir_type shape = t;
    if (w.rank != t.rank) {
        if (w.rank != 1 || r.count != 1 || !ir_dim_equal(w.dim[0], t.dim[r.axis[0]]))
            return op_fail_shape(u, "weights along the axis", &w);
        weights = ir_build_broadcast_in_dim(u->l->g, weights, &shape, r.axis);
    } else if (!ir_type_same_shape(&t, &w)) {
        return op_fail_shape(u, "weights of the shape of the tensor", &w);
    }
    ir_value sum = reduce(u, "add", &r, op_map2(u, OP_multiply, x, weights));
    return op_finish(u, op_map2(u, OP_divide, sum, reduce(u, "add", &r, weights)), out);
}

/* ---- logarithms of sums, norms ----------------------------------------------------------- */

bool op_build_logsumexp(op_use *u, fe_value *out)
{
    op_reduction r;
    if (!op_find_reduction(u, "x", "axis", &r)) return false;
    ir_graph *g = u->l->g;
    ir_value x = ir_build_convert(g, r.x, op_real(op_type(u, r.x).dtype));
    ir_value top = ir_build_reduce(g, "maximum", x, r.count, r.axis, true);
    ir_value finite = op_map1(u, OP_is_finite, top);
    top = op_map1(u, OP_stop_gradient, op_choose(u, finite, top, op_number(u, top, 0)));
    ir_value sum = reduce(u, "add", &r, op_map1(u, OP_exponential, op_map2(u, OP_subtract, x, top)));
    const ir_type t = op_type(u, sum);
    top = ir_build_reshape(g, top, t.rank, t.dim);
    return op_finish(u, op_map2(u, OP_add, op_map1(u, OP_log, sum), top), out);
}

static ir_value build_vector_norm(op_use *u, const op_reduction *r, ir_value x, double order)
{
    ir_value size = op_map1(u, OP_abs, x);
    if (order == 2) return op_map1(u, OP_sqrt, reduce(u, "add", r, op_map2(u, OP_multiply, x, x)));
    if (isinf(order)) return reduce(u, order > 0 ? "maximum" : "minimum", r, size);
    if (order == 0)
        return reduce(u, "add", r, ir_build_convert(u->l->g, op_truth(u, x), op_type(u, x).dtype));
    if (order == 1) return reduce(u, "add", r, size);
    return op_map_number(u, OP_power, reduce(u, "add", r, op_map_number(u, OP_power, size, order)),
                         1 / order);
}

/* Sums of absolute values along one axis of a matrix, then the largest or smallest along the other. */
static ir_value build_matrix_norm(op_use *u, ir_value x, const int64_t axis[2], double order, bool keep_dims)
{
    const bool rows = !isinf(order);
    const int64_t summed = rows ? axis[0] : axis[1], kept = rows ? axis[1] : axis[0];
    x = op_reduce(u, "add", op_map1(u, OP_abs, x), summed, true);
    x = op_reduce(u, order > 0 ? "maximum" : "minimum", x, kept, true);
    if (keep_dims) return x;
    x = op_drop_dim(u, x, summed > kept ? summed : kept);
    return op_drop_dim(u, x, summed > kept ? kept : summed);
}

bool op_build_norm(op_use *u, fe_value *out)
{
    op_reduction r;
    int count;
    int64_t axis[IR_MAX_RANK];
    double order = 2;
    const fe_value *v = op_find(u, "ord");
    if (!op_find_reduction(u, "x", "axis", &r) || !op_find_ints(u, "axis", &count, axis)) return false;
    const bool plain = !v || (v->kind == FE_TEXT && strcmp(v->text, "fro") == 0 && r.count == 2);
    const bool nuclear = v && v->kind == FE_TEXT && strcmp(v->text, "nuc") == 0;
    if (!plain && !nuclear && v->kind == FE_TEXT) return op_error(u, "the norm \"%s\" is not supported", v->text);
    if (!plain && !nuclear && !op_find_number(u, "ord", &order)) return false;
    ir_value x = ir_build_convert(u->l->g, r.x, op_real(op_type(u, r.x).dtype));
    if (plain || r.count == 1) return op_finish(u, build_vector_norm(u, &r, x, order), out);
    if (r.count != 2 || !(fabs(order) == 1 || fabs(order) == 2 || isinf(order)))
        return op_error(u, "expected a norm of vectors, or of order 1, 2 or infinite of matrices, found order %g", order);
    if (count < 0) axis[0] = 0, axis[1] = 1;
    if (!op_resolve_axes(u, op_type(u, x).rank, 2, axis)) return false;
    if (fabs(order) == 2) {
        const char *kind = nuclear ? "add" : order > 0 ? "maximum" : "minimum";
        return op_finish(u, op_spectral_norm(u, x, axis, kind, r.keep_dims), out);
    }
    return op_finish(u, build_matrix_norm(u, x, axis, order, r.keep_dims), out);
}

/* ---- positions --------------------------------------------------------------------------- */

/* TensorFlow's own functions say equal_zeros. */
static bool build_position(op_use *u, const char *kind, ir_value x, ir_value *out)
{
    int count;
    int64_t axis[IR_MAX_RANK] = {0};
    bool keep_dims, equal_zeros;
    if (!op_find_ints(u, "axis", &count, axis) || !op_find_bool(u, "keepdims", false, &keep_dims) ||
        !op_find_bool(u, "equal_zeros", false, &equal_zeros))
        return false;
    const ir_type t = op_type(u, x);
    if (count > 1) return op_error(u, "expected one axis");
    if (count < 0 && !op_check_type(u, &t)) return false;
    if (count < 0) x = op_flatten(u, x);
    if (!op_resolve_axes(u, op_type(u, x).rank, 1, axis)) return false;
    if (op_type(u, x).dtype == DTYPE_i1) x = ir_build_convert(u->l->g, x, DTYPE_i32);
    ir_value y = equal_zeros ? ir_build_arg_reduce(u->l->g, kind, x, (int)axis[0])
                             : fe_math_position(u->l->g, kind, x, (int)axis[0]);
    ir_type kept = t;
    for (int i = 0; i < kept.rank; i++) {
        if (count < 0 || i == axis[0]) kept.dim[i] = ir_fixed(1);
    }
    *out = keep_dims ? ir_build_reshape(u->l->g, y, kept.rank, kept.dim) : y;
    return true;
}

bool op_build_position(op_use *u, fe_value *out)
{
    ir_value x, y;
    return op_find_tensor(u, "x", &x) && build_position(u, u->op->word, x, &y) && op_finish(u, y, out);
}

/* ---- without NaN ------------------------------------------------------------------------- */

bool op_build_nan_position(op_use *u, fe_value *out)
{
    op_reduction r;
    ir_value y;
    if (!op_find_reduction(u, "x", "axis", &r)) return false;
    ir_value nan = op_is_nan(u, r.x), x = r.x;
    if (ir_dtype_is_float(op_type(u, x).dtype))
        x = op_choose(u, nan, op_number(u, x, is_word(u, "maximum") ? -INFINITY : INFINITY), x);
    if (!build_position(u, u->op->word, x, &y)) return false;
    return op_finish(u, op_choose(u, reduce(u, "and", &r, nan), op_number(u, y, -1), y), out);
}

static ir_value build_nan_mean(op_use *u, const op_reduction *r, ir_value x, ir_value nan, bool keep_dims)
{
    op_reduction kept = *r;
    kept.keep_dims = keep_dims;
    ir_value count = ir_build_convert(u->l->g, op_map1(u, OP_not, nan), op_type(u, x).dtype);
    ir_value sum = reduce(u, "add", &kept, op_choose(u, nan, op_number(u, x, 0), x));
    return op_map2(u, OP_divide, sum, reduce(u, "add", &kept, count));
}

static ir_value build_nan_extreme(op_use *u, const op_reduction *r, ir_value nan)
{
    ir_value none = op_number(u, r->x, is_word(u, "maximum") ? -INFINITY : INFINITY);
    ir_value y = reduce(u, u->op->word, r, op_choose(u, nan, none, r->x));
    return op_choose(u, reduce(u, "and", r, nan), op_number(u, y, NAN), y);
}

bool op_build_nan_reduce(op_use *u, fe_value *out)
{
    op_reduction r;
    if (!op_find_reduction(u, "x", "axis", &r)) return false;
    const bool sum = is_word(u, "add") || is_word(u, "multiply");
    const ir_dtype own = op_type(u, r.x).dtype;
    if (!ir_dtype_is_float(own) && (is_word(u, "maximum") || is_word(u, "minimum")))
        return op_build_reduce(u, out);
    r.x = ir_build_convert(u->l->g, r.x, sum ? op_sum_dtype(own) : op_real(own));
    ir_value nan = op_is_nan(u, r.x), y;
    if (sum) {
        y = reduce(u, u->op->word, &r, op_choose(u, nan, op_number(u, r.x, is_word(u, "add") ? 0 : 1), r.x));
    } else if (is_word(u, "maximum") || is_word(u, "minimum")) {
        y = build_nan_extreme(u, &r, nan);
    } else if (is_word(u, "mean")) {
        y = build_nan_mean(u, &r, r.x, nan, r.keep_dims);
    } else {
        ir_value off = op_map2(u, OP_subtract, r.x, build_nan_mean(u, &r, r.x, nan, true));
        y = build_nan_mean(u, &r, op_map2(u, OP_multiply, off, off), nan, r.keep_dims);
        if (is_word(u, "deviation")) y = op_map1(u, OP_sqrt, y);
    }
    return op_finish(u, y, out);
}

/* ---- running ----------------------------------------------------------------------------- */

bool op_build_cumulative(op_use *u, fe_value *out)
{
    ir_value x;
    ir_dtype dtype;
    int count;
    int64_t axis[IR_MAX_RANK] = {0};
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "axis", &count, axis)) return false;
    if (!op_find_dtype(u, "dtype", op_type(u, x).dtype, &dtype)) return false;
    const bool sum = strstr(u->op->name, "sum") != NULL;
    if (strncmp(u->op->name, "Nan", 3) == 0)
        x = op_choose(u, op_is_nan(u, x), op_number(u, x, sum ? 0 : 1), x);
    x = ir_build_convert(u->l->g, x, dtype == DTYPE_i1 ? DTYPE_i32 : dtype);
    const ir_type t = op_type(u, x);
    if (count > 1) return op_error(u, "expected one axis");
    if (count < 0 && !op_check_type(u, &t)) return false;
    if (count < 0) x = op_flatten(u, x);
    const ir_type flat = op_type(u, x);
    if (!op_resolve_axes(u, flat.rank, 1, axis) || !op_check_fixed(u, &flat, axis[0], "running along"))
        return false;
    return op_finish(u, ir_build_cumulative(u->l->g, u->op->word, x, (int)axis[0], false, false), out);
}

/* Zeros in the shape of y without an axis: what a sum of nothing is. */
static ir_value build_empty_sum(op_use *u, ir_value y, int64_t axis)
{
    const ir_type t = op_type(u, op_reduce(u, "add", y, axis, false));
    return ir_build_broadcast_to(u->l->g, ir_build_scalar(u->l->g, t.dtype, 0), &t);
}

bool op_build_trapezoid(op_use *u, fe_value *out)
{
    ir_value y, x;
    double dx;
    int64_t axis;
    if (!op_find_real(u, "y", &y) || !op_find_tensor_or_none(u, "x", &x)) return false;
    if (!op_find_number_or(u, "dx", 1, &dx)) return false;
    if (!op_find_axis(u, "axis", op_type(u, y).rank, -1, &axis)) return false;
    const ir_type t = op_type(u, y);
    if (!op_check_fixed(u, &t, axis, "integrating along")) return false;
    const int64_t n = t.dim[axis].count;
    if (n < 2) return op_finish(u, build_empty_sum(u, y, axis), out);
    ir_value heights = op_map2(u, OP_add, op_slice_dim(u, y, axis, 1, n), op_slice_dim(u, y, axis, 0, n - 1));
    heights = op_map_number(u, OP_multiply, heights, 0.5);
    if (x != IR_NONE) {
        const ir_type tx = op_type(u, x);
        const int at = tx.rank == 1 ? 0 : (int)axis;
        x = ir_build_convert(u->l->g, x, t.dtype);
        if ((tx.rank != 1 && tx.rank != t.rank) || !ir_dim_equal(tx.dim[at], t.dim[axis]))
            return op_fail_shape(u, "points that fit the heights", &tx);
        x = op_map2(u, OP_subtract, op_slice_dim(u, x, at, 1, n), op_slice_dim(u, x, at, 0, n - 1));
        const ir_type shape = op_type(u, heights);
        if (tx.rank == 1) x = ir_build_broadcast_in_dim(u->l->g, x, &shape, &axis);
        heights = op_map2(u, OP_multiply, heights, x);
    } else {
        heights = op_map_number(u, OP_multiply, heights, dx);
    }
    return op_finish(u, op_reduce(u, "add", heights, axis, false), out);
}
