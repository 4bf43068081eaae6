/* train_math.c: the small formulas that losses and metrics share. Branches are selects, so that gradients at
 * the borders are TensorFlow's. */
#include "frontend/train.h"

#include <float.h>

const double fe_epsilon = 1e-7;

int fe_math_axis(const ir_type *t, double axis) { return axis < 0 ? (int)axis + t->rank : (int)axis; }

ir_value fe_math_reduce(ir_graph *g, const char *kind, ir_value x, int axis, bool keep)
{
    const int64_t dim = fe_math_axis(ir_type_of(g, x), axis);
    return ir_build_reduce(g, kind, x, 1, &dim, keep);
}

ir_value fe_math_mean(ir_graph *g, ir_value x, int axis, bool keep)
{
    const int64_t dim = fe_math_axis(ir_type_of(g, x), axis);
    return ir_build_mean(g, x, 1, &dim, keep);
}

static const int64_t dims[IR_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};

ir_value fe_math_sum_all(ir_graph *g, ir_value x)
{
    int rank = ir_type_of(g, x)->rank;
    return rank == 0 ? x : ir_build_reduce(g, "add", x, rank, dims, false);
}

ir_value fe_math_count(ir_graph *g, ir_value x)
{
    ir_type t = *ir_type_of(g, x);
    double fixed = 1;
    ir_value n = IR_NONE;
    for (int i = 0; i < t.rank; i++) {
        if (t.dim[i].batch)
            n = ir_build_convert(g, ir_build_dimension_size(g, x, i), DTYPE_f32);
        else
            fixed *= (double)t.dim[i].count;
    }
    if (n == IR_NONE) return ir_build_scalar(g, DTYPE_f32, fixed);
    return fixed == 1 ? n : ir_build_binary_scalar(g, OP_multiply, n, fixed);
}

ir_value fe_math_square(ir_graph *g, ir_value x) { return ir_build_binary(g, OP_multiply, x, x); }

ir_value fe_math_compare(ir_graph *g, const char *direction, ir_value x, double number)
{
    return ir_build_compare(g, direction, x, ir_build_scalar(g, ir_type_of(g, x)->dtype, number));
}

ir_value fe_math_position(ir_graph *g, const char *kind, ir_value x, int axis)
{
    ir_type t = *ir_type_of(g, x);
    if (ir_dtype_is_float(t.dtype)) {
        const bool wide = t.dtype == DTYPE_f64;
        x = ir_build_convert(g, x, wide ? DTYPE_f64 : DTYPE_f32);
        t.dtype = wide ? DTYPE_i64 : DTYPE_i32;
        ir_value bits = ir_build(g, OP_bitcast_convert, 1, &x, 0, NULL, &t);
        ir_value negative_zero = fe_math_compare(g, "EQ", bits, wide ? (double)INT64_MIN : INT32_MIN);
        ir_value below = ir_build_scalar(g, wide ? DTYPE_f64 : DTYPE_f32, wide ? -DBL_MIN : -FLT_MIN);
        x = ir_build_select(g, negative_zero, below, x);
    }
    return ir_build_arg_reduce(g, kind, x, fe_math_axis(&t, axis));
}

ir_value fe_math_clip(ir_graph *g, ir_value x, double low, double high)
{
    ir_value least = ir_build_scalar(g, ir_type_of(g, x)->dtype, low);
    ir_value most = ir_build_scalar(g, ir_type_of(g, x)->dtype, high);
    ir_value below = ir_build_select(g, ir_build_compare(g, "GT", x, most), most, x);
    return ir_build_select(g, ir_build_compare(g, "LT", below, least), least, below);
}

ir_value fe_math_divide_no_nan(ir_graph *g, ir_value a, ir_value b)
{
    ir_value none = fe_math_compare(g, "EQ", b, 0);
    ir_value safe = ir_build_select(g, none, ir_build_scalar(g, ir_type_of(g, b)->dtype, 1), b);
    ir_value quotient = ir_build_binary(g, OP_divide, a, safe);
    return ir_build_select(g, none, ir_build_scalar(g, ir_type_of(g, b)->dtype, 0), quotient);
}

ir_value fe_math_from(ir_graph *g, double a, ir_value x)
{
    return ir_build_binary(g, OP_subtract, ir_build_scalar(g, ir_type_of(g, x)->dtype, a), x);
}

/* max(x, 0) + log(1 + exp(-|x|)) */
ir_value fe_math_softplus(ir_graph *g, ir_value x)
{
    ir_value zero = ir_build_scalar(g, ir_type_of(g, x)->dtype, 0);
    ir_value positive = ir_build_compare(g, "GE", x, zero);
    ir_value mirrored = ir_build_select(g, positive, ir_build_unary(g, OP_negate, x), x);
    ir_value rest = ir_build_unary(g, OP_log_plus_one, ir_build_unary(g, OP_exponential, mirrored));
    return ir_build_binary(g, OP_add, ir_build_select(g, positive, x, zero), rest);
}

static ir_value subtract_max(ir_graph *g, ir_value x, int axis, ir_value *out_max)
{
    *out_max = ir_build_unary(g, OP_stop_gradient, fe_math_reduce(g, "maximum", x, axis, true));
    return ir_build_binary(g, OP_subtract, x, *out_max);
}

ir_value fe_math_log_softmax(ir_graph *g, ir_value x, int axis)
{
    ir_value max;
    ir_value shifted = subtract_max(g, x, axis, &max);
    ir_value sum = fe_math_reduce(g, "add", ir_build_unary(g, OP_exponential, shifted), axis, true);
    return ir_build_binary(g, OP_subtract, shifted, ir_build_unary(g, OP_log, sum));
}

ir_value fe_math_log_sum_exp(ir_graph *g, ir_value x, int axis)
{
    ir_value max;
    ir_value shifted = subtract_max(g, x, axis, &max);
    ir_value sum = fe_math_reduce(g, "add", ir_build_unary(g, OP_exponential, shifted), axis, true);
    ir_value kept = ir_build_binary(g, OP_add, ir_build_unary(g, OP_log, sum), max);
    ir_type t = *ir_type_of(g, kept);
    for (int i = fe_math_axis(&t, axis); i + 1 < t.rank; i++) t.dim[i] = t.dim[i + 1];
    return ir_build_reshape(g, kept, t.rank - 1, t.dim);
}

ir_value fe_math_normalize(ir_graph *g, ir_value x, int axis)
{
    ir_value norm = ir_build_unary(g, OP_sqrt, fe_math_reduce(g, "add", fe_math_square(g, x), axis, true));
    ir_value least = ir_build_scalar(g, ir_type_of(g, x)->dtype, fe_epsilon);
    norm = ir_build_select(g, ir_build_compare(g, "GE", norm, least), norm, least);
    return ir_build_binary(g, OP_divide, x, norm);
}

ir_value fe_math_spread(ir_graph *g, ir_value x, const ir_type *shape)
{
    ir_type type = ir_type_with_dtype(*shape, ir_type_of(g, x)->dtype);
    return ir_build_broadcast_in_dim(g, x, &type, dims);
}

ir_value fe_math_one_hot(ir_graph *g, ir_value indices, int64_t classes)
{
    ir_type t = *ir_type_of(g, indices);
    t.dim[t.rank++] = ir_fixed(classes);
    ir_value all = ir_build_iota(g, t, t.rank - 1);
    return fe_math_flag(g, ir_build_compare(g, "EQ", fe_math_spread(g, indices, &t), all));
}

ir_value fe_math_flatten(ir_graph *g, ir_value x)
{
    ir_dim all;
    bug_if(!ir_type_elements(ir_type_of(g, x), &all), "uncountable elements");
    return ir_build_reshape(g, x, 1, &all);
}

ir_value fe_math_flag(ir_graph *g, ir_value condition) { return ir_build_convert(g, condition, DTYPE_f32); }
