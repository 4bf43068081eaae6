/* values_entropy.c: values per sample of the crossentropies and divergences. Predictions that are a softmax
 * or sigmoid are replaced by their logits, as Keras does on TensorFlow. */
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
static double setting(const fe_values *v, const char *key) { return ir_record_number(v->settings, key, 0); }
static int get_axis(const fe_values *v) { return (int)ir_record_number(v->settings, "axis", -1); }

/* The logits of p, or IR_NONE when p holds probabilities. */
static ir_value find_logits(const fe_values *v)
{
    return v->logits != IR_NONE ? v->logits : setting(v, "from_logits") != 0 ? v->p : IR_NONE;
}

static ir_value clip(fe_values *v, ir_value x) { return fe_math_clip(v->g, x, fe_epsilon, 1 - fe_epsilon); }

/* y (1 - smoothing) + smoothing * share */
static ir_value smooth(fe_values *v, double share)
{
    double amount = setting(v, "label_smoothing");
    return amount == 0 ? v->y : scalar(v, OP_add, scalar(v, OP_multiply, v->y, 1 - amount), amount * share);
}

static double class_share(const fe_values *v)
{
    const ir_type *t = ir_type_of(v->g, v->p);
    return 1.0 / (double)t->dim[t->rank - 1].count;
}

/* max(x, 0) - x y + log(1 + exp(-|x|)) */
static ir_value binary_from_logits(fe_values *v, ir_value x, ir_value y)
{
    ir_value soft = fe_math_softplus(v->g, x);
    return op2(v, OP_subtract, soft, op2(v, OP_multiply, x, y));
}

static ir_value binary(fe_values *v, ir_value logits, ir_value p, ir_value y)
{
    if (logits != IR_NONE) return binary_from_logits(v, logits, y);
    ir_value x = clip(v, p), rest = fe_math_from(v->g, 1, x);
    if (v->l->fe->keras2) { /* it clips and adds */
        x = scalar(v, OP_add, x, fe_epsilon);
        rest = scalar(v, OP_add, rest, fe_epsilon);
    }
    ir_value ones = op2(v, OP_multiply, y, op1(v, OP_log, x));
    ir_value zeros = op2(v, OP_multiply, fe_math_from(v->g, 1, y), op1(v, OP_log, rest));
    return op1(v, OP_negate, op2(v, OP_add, ones, zeros));
}

ir_value fe_values_binary_crossentropy(fe_values *v)
{
    return fe_math_mean(v->g, binary(v, find_logits(v), v->p, smooth(v, 0.5)), get_axis(v), false);
}

/* a y + b (1 - y) */
static ir_value choose_by_label(fe_values *v, ir_value y, ir_value a, ir_value b)
{
    return op2(v, OP_add, op2(v, OP_multiply, y, a), op2(v, OP_multiply, fe_math_from(v->g, 1, y), b));
}

static ir_value power(fe_values *v, ir_value x, double exponent)
{
    return exponent == 2 ? fe_math_square(v->g, x) : scalar(v, OP_power, x, exponent);
}

ir_value fe_values_binary_focal_crossentropy(fe_values *v)
{
    ir_value y = smooth(v, 0.5), p = v->p, logits = v->logits;
    if (setting(v, "from_logits") != 0) {
        logits = v->p;
        p = op1(v, OP_logistic, v->p);
    }
    ir_value right = choose_by_label(v, y, p, fe_math_from(v->g, 1, p));
    ir_value value = op2(v, OP_multiply, power(v, fe_math_from(v->g, 1, right), setting(v, "gamma")),
                         binary(v, logits, p, y));
    if (setting(v, "apply_class_balancing") != 0) {
        double alpha = setting(v, "alpha");
        ir_value weight = scalar(v, OP_add, scalar(v, OP_multiply, y, 2 * alpha - 1), 1 - alpha);
        value = op2(v, OP_multiply, weight, value);
    }
    return fe_math_mean(v->g, value, get_axis(v), false);
}

static ir_value normalize_sum(fe_values *v, ir_value p, int axis)
{
    return op2(v, OP_divide, p, fe_math_reduce(v->g, "add", p, axis, true));
}

/* As TensorFlow does it, the gradient of the logits is softmax - y also where y does not add up to 1. */
static ir_value categorical_from_logits(fe_values *v, ir_value logits, ir_value y, int axis)
{
    ir_graph *g = v->g;
    ir_value most = op1(v, OP_stop_gradient, fe_math_reduce(g, "maximum", logits, axis, true));
    ir_value shifted = op2(v, OP_subtract, logits, most);
    ir_value sum = fe_math_reduce(g, "add", op1(v, OP_exponential, shifted), axis, false);
    ir_value log = op1(v, OP_log, sum), all = fe_math_reduce(g, "add", y, axis, false);
    ir_value rest = op2(v, OP_multiply, scalar(v, OP_subtract, all, 1), op1(v, OP_stop_gradient, log));
    ir_value hit = fe_math_reduce(g, "add", op2(v, OP_multiply, y, shifted), axis, false);
    return op2(v, OP_subtract, op2(v, OP_add, log, rest), hit);
}

ir_value fe_values_categorical_crossentropy(fe_values *v)
{
    int axis = get_axis(v);
    ir_value y = smooth(v, class_share(v)), logits = find_logits(v);
    if (logits != IR_NONE) return categorical_from_logits(v, logits, y, axis);
    ir_value logs = op1(v, OP_log, clip(v, normalize_sum(v, v->p, axis)));
    return op1(v, OP_negate, fe_math_reduce(v->g, "add", op2(v, OP_multiply, y, logs), axis, false));
}

/* The setting: a number, or one for each class of the last axis. */
static ir_value get_alpha(fe_values *v)
{
    const ir_field *alpha = ir_record_find(v->settings, "alpha");
    if (alpha == NULL) return ir_build_scalar(v->g, DTYPE_f32, 0.25);
    float *numbers = arena_array(v->g->arena, float, (size_t)alpha->count);
    for (int i = 0; i < alpha->count; i++) numbers[i] = (float)alpha->numbers[i];
    const ir_dim dim = ir_fixed(alpha->count);
    return ir_build_constant(v->g, ir_type_make(DTYPE_f32, alpha->count > 1, &dim), numbers);
}

ir_value fe_values_categorical_focal_crossentropy(fe_values *v)
{
    int axis = get_axis(v);
    ir_value y = smooth(v, class_share(v)), p = v->p;
    if (setting(v, "from_logits") != 0) p = op1(v, OP_exponential, fe_math_log_softmax(v->g, p, axis));
    p = clip(v, normalize_sum(v, p, axis));
    ir_value cross = op1(v, OP_negate, op2(v, OP_multiply, y, op1(v, OP_log, p)));
    ir_value factor = power(v, fe_math_from(v->g, 1, p), setting(v, "gamma"));
    ir_value value = op2(v, OP_multiply, op2(v, OP_multiply, factor, get_alpha(v)), cross);
    return fe_math_reduce(v->g, "add", value, axis, false);
}

/* x at the class of the label, for each sample. */
static ir_value pick_class(fe_values *v, ir_value x, ir_value labels)
{
    ir_type t = *ir_type_of(v->g, x), integers = ir_type_with_dtype(t, DTYPE_i32);
    ir_value all = ir_build_iota(v->g, integers, t.rank - 1);
    ir_value hit = ir_build_compare(v->g, "EQ", fe_math_spread(v->g, labels, &integers), all);
    return fe_math_reduce(v->g, "add", ir_build_select(v->g, hit, x, ir_build_scalar(v->g, DTYPE_f32, 0)), -1,
                          false);
}

ir_value fe_values_sparse_categorical_crossentropy(fe_values *v)
{
    ir_value labels = v->y, logits = find_logits(v), valid = IR_NONE;
    const ir_field *ignored = ir_record_find(v->settings, "ignore_class");
    if (logits == IR_NONE) logits = op1(v, OP_log, clip(v, v->p));
    if (ignored != NULL) {
        valid = fe_math_compare(v->g, "NE", labels, ignored->number);
        labels = ir_build_select(v->g, valid, labels, ir_build_scalar(v->g, DTYPE_i32, 0));
    }
    ir_value value = op1(v, OP_negate, pick_class(v, fe_math_log_softmax(v->g, logits, -1), labels));
    if (valid != IR_NONE) {
        value = ir_build_select(v->g, valid, value, ir_build_scalar(v->g, DTYPE_f32, 0));
        v->mask = valid;
    }
    return value;
}

/* (1 - p ^ q) / q */
ir_value fe_values_generalized_crossentropy(fe_values *v)
{
    double q = setting(v, "q");
    ir_value p = pick_class(v, v->p, v->y);
    return scalar(v, OP_divide, fe_math_from(v->g, 1, scalar(v, OP_power, p, q)), q);
}

ir_value fe_values_kl_divergence(fe_values *v)
{
    ir_value y = fe_math_clip(v->g, v->y, fe_epsilon, 1), p = fe_math_clip(v->g, v->p, fe_epsilon, 1);
    ir_value value = op2(v, OP_multiply, y, op1(v, OP_log, op2(v, OP_divide, y, p)));
    return fe_math_reduce(v->g, "add", value, -1, false);
}

ir_value fe_values_poisson(fe_values *v)
{
    ir_value logs = op1(v, OP_log, scalar(v, OP_add, v->p, fe_epsilon));
    return fe_math_mean(v->g, op2(v, OP_subtract, v->p, op2(v, OP_multiply, v->y, logs)), -1, false);
}
