/* values_regression.c: values per sample of losses and metrics that compare numbers: errors, hinges,
 * overlaps. */
#include "frontend/train.h"

static ir_value op2(fe_values *v, ir_op op, ir_value a, ir_value b)
{
    return ir_build_binary(v->g, op, a, b);
}
static ir_value op1(fe_values *v, ir_op op, ir_value a) { return ir_build_unary(v->g, op, a); }
static ir_value scalar(fe_values *v, ir_op op, ir_value a, double b)
{
    return ir_build_binary_scalar(v->g, op, a, b);
}
static ir_value error(fe_values *v) { return op2(v, OP_subtract, v->p, v->y); }
static double setting(const fe_values *v, const char *key) { return ir_record_number(v->settings, key, 0); }

static ir_value at_least(fe_values *v, ir_value x, double least)
{
    ir_value low = ir_build_scalar(v->g, DTYPE_f32, least);
    return ir_build_select(v->g, ir_build_compare(v->g, "GE", x, low), x, low);
}

ir_value fe_values_squared_error(fe_values *v) { return fe_math_square(v->g, error(v)); }

ir_value fe_values_mean_squared_error(fe_values *v)
{
    return fe_math_mean(v->g, fe_values_squared_error(v), -1, false);
}

ir_value fe_values_mean_absolute_error(fe_values *v)
{
    return fe_math_mean(v->g, op1(v, OP_abs, error(v)), -1, false);
}

ir_value fe_values_mean_absolute_percentage_error(fe_values *v)
{
    ir_value size = at_least(v, op1(v, OP_abs, v->y), fe_epsilon);
    ir_value share = op1(v, OP_abs, op2(v, OP_divide, error(v), size));
    return scalar(v, OP_multiply, fe_math_mean(v->g, share, -1, false), 100);
}

static ir_value log_of(fe_values *v, ir_value x)
{
    return op1(v, OP_log, scalar(v, OP_add, at_least(v, x, fe_epsilon), 1));
}

ir_value fe_values_mean_squared_logarithmic_error(fe_values *v)
{
    ir_value difference = op2(v, OP_subtract, log_of(v, v->p), log_of(v, v->y));
    return fe_math_mean(v->g, fe_math_square(v->g, difference), -1, false);
}

ir_value fe_values_cosine(fe_values *v)
{
    int axis = (int)ir_record_number(v->settings, "axis", -1);
    ir_value p = fe_math_normalize(v->g, v->p, axis), y = fe_math_normalize(v->g, v->y, axis);
    return fe_math_reduce(v->g, "add", op2(v, OP_multiply, y, p), axis, false);
}

ir_value fe_values_negative_cosine(fe_values *v) { return op1(v, OP_negate, fe_values_cosine(v)); }

ir_value fe_values_huber(fe_values *v)
{
    double delta = setting(v, "delta");
    ir_value e = error(v), size = op1(v, OP_abs, e);
    ir_value square = scalar(v, OP_multiply, fe_math_square(v->g, e), 0.5);
    ir_value line = scalar(v, OP_subtract, scalar(v, OP_multiply, size, delta), 0.5 * delta * delta);
    return fe_math_mean(v->g, ir_build_select(v->g, fe_math_compare(v->g, "LE", size, delta), square, line),
                        -1, false);
}

ir_value fe_values_log_cosh(fe_values *v)
{
    ir_value e = error(v);
    ir_value soft = fe_math_softplus(v->g, scalar(v, OP_multiply, e, -2));
    ir_value value = scalar(v, OP_subtract, op2(v, OP_add, e, soft), 0.69314718055994531);
    return fe_math_mean(v->g, value, -1, false);
}

/* ---- hinges ----------------------------------------------------------------------------------------- */

/* Labels of the whole batch that are all 0 or 1 become -1 or 1. */
static ir_value convert_binary(fe_values *v)
{
    static const int64_t dims[IR_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    ir_value is_bit = ir_build_binary(v->g, OP_or, fe_math_compare(v->g, "EQ", v->y, 0),
                                      fe_math_compare(v->g, "EQ", v->y, 1));
    ir_value binary = ir_build_reduce(v->g, "and", is_bit, ir_type_of(v->g, is_bit)->rank, dims, false);
    ir_value signs = scalar(v, OP_subtract, scalar(v, OP_multiply, v->y, 2), 1);
    return ir_build_select(v->g, binary, signs, v->y);
}

static ir_value hinge(fe_values *v)
{
    return at_least(v, fe_math_from(v->g, 1, op2(v, OP_multiply, convert_binary(v), v->p)), 0);
}

ir_value fe_values_hinge(fe_values *v) { return fe_math_mean(v->g, hinge(v), -1, false); }

ir_value fe_values_squared_hinge(fe_values *v)
{
    return fe_math_mean(v->g, fe_math_square(v->g, hinge(v)), -1, false);
}

ir_value fe_values_categorical_hinge(fe_values *v)
{
    ir_value right = fe_math_reduce(v->g, "add", op2(v, OP_multiply, v->y, v->p), -1, false);
    ir_value others = op2(v, OP_multiply, fe_math_from(v->g, 1, v->y), v->p);
    ir_value wrong = fe_math_reduce(v->g, "maximum", others, -1, false);
    return at_least(v, scalar(v, OP_add, op2(v, OP_subtract, wrong, right), 1), 0);
}

/* ---- overlaps --------------------------------------------------------------------------------------- */

/* The sum over the axes of the settings, or over everything. */
static ir_value sum_axes(fe_values *v, ir_value x)
{
    const ir_field *axis = ir_record_find(v->settings, "axis");
    if (axis == NULL) return fe_math_sum_all(v->g, x);
    int64_t axes[IR_MAX_RANK];
    bool chosen[IR_MAX_RANK] = {false};
    int count = 0, rank = ir_type_of(v->g, x)->rank;
    for (int i = 0; i < axis->count; i++) chosen[fe_math_axis(ir_type_of(v->g, x), axis->numbers[i])] = true;
    for (int i = 0; i < rank; i++) {
        if (chosen[i]) axes[count++] = i;
    }
    return count == 0 ? x : ir_build_reduce(v->g, "add", x, count, axes, false);
}

ir_value fe_values_dice(fe_values *v)
{
    ir_value both = scalar(v, OP_multiply, sum_axes(v, op2(v, OP_multiply, v->y, v->p)), 2);
    ir_value all = scalar(v, OP_add, op2(v, OP_add, sum_axes(v, v->y), sum_axes(v, v->p)), fe_epsilon);
    return fe_math_from(v->g, 1, op2(v, OP_divide, both, all));
}

ir_value fe_values_tversky(fe_values *v)
{
    ir_value both = sum_axes(v, op2(v, OP_multiply, v->y, v->p));
    ir_value missed = sum_axes(v, op2(v, OP_multiply, fe_math_from(v->g, 1, v->p), v->y));
    ir_value extra = sum_axes(v, op2(v, OP_multiply, v->p, fe_math_from(v->g, 1, v->y)));
    ir_value all = op2(v, OP_add, both, scalar(v, OP_multiply, missed, setting(v, "alpha")));
    all = op2(v, OP_add, all, scalar(v, OP_multiply, extra, setting(v, "beta")));
    return fe_math_from(v->g, 1, op2(v, OP_divide, both, scalar(v, OP_add, all, fe_epsilon)));
}

/* ---- correlations (metrics) ------------------------------------------------------------------------- */

static ir_value center(fe_values *v, ir_value x, int axis, ir_value *out_mean)
{
    *out_mean = fe_math_mean(v->g, x, axis, true);
    return op2(v, OP_subtract, x, *out_mean);
}

/* Variance of x around its mean, which is not 0 only by rounding when x is centered. */
static ir_value variance(fe_values *v, ir_value x, int axis)
{
    ir_value mean;
    return fe_math_mean(v->g, fe_math_square(v->g, center(v, x, axis, &mean)), axis, true);
}

ir_value fe_values_pearson_correlation(fe_values *v)
{
    int axis = (int)ir_record_number(v->settings, "axis", -1);
    ir_value mean, y = center(v, v->y, axis, &mean), p = center(v, v->p, axis, &mean);
    y = op2(v, OP_divide, y, op1(v, OP_sqrt, variance(v, y, axis)));
    p = op2(v, OP_divide, p, op1(v, OP_sqrt, variance(v, p, axis)));
    return fe_math_mean(v->g, op2(v, OP_multiply, y, p), axis, false);
}

/* Keras centers both factors of the covariance on the predictions' mean. */
ir_value fe_values_concordance_correlation(fe_values *v)
{
    int axis = (int)ir_record_number(v->settings, "axis", -1);
    ir_value y_mean, p_mean, y = center(v, v->y, axis, &y_mean), p = center(v, v->p, axis, &p_mean);
    ir_value covariance = op2(v, OP_multiply, op2(v, OP_subtract, v->y, p_mean), p);
    ir_value norm = op2(v, OP_add, variance(v, y, axis), variance(v, v->p, axis));
    norm = op2(v, OP_add, norm, fe_math_square(v->g, op2(v, OP_subtract, y_mean, p_mean)));
    ir_value share =
        op2(v, OP_divide, scalar(v, OP_multiply, covariance, 2), scalar(v, OP_add, norm, fe_epsilon));
    return fe_math_mean(v->g, share, axis, false);
}
