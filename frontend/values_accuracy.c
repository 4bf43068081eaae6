/* values_accuracy.c: 1 where a prediction is right, 0 where it is wrong. */
#include "frontend/train.h"

static ir_value equal(fe_values *v, ir_value a, ir_value b)
{
    return fe_math_flag(v->g, ir_build_compare(v->g, "EQ", a, b));
}

static ir_value best(fe_values *v, ir_value x) { return fe_math_position(v->g, "maximum", x, -1); }

ir_value fe_values_accuracy(fe_values *v) { return equal(v, v->y, v->p); }

ir_value fe_values_binary_accuracy(fe_values *v)
{
    double threshold = ir_record_number(v->settings, "threshold", 0.5);
    return equal(v, v->y, fe_math_flag(v->g, fe_math_compare(v->g, "GT", v->p, threshold)));
}

ir_value fe_values_categorical_accuracy(fe_values *v) { return equal(v, best(v, v->y), best(v, v->p)); }

/* A last dim of 1 that is left of [N,1] labels is dropped. */
ir_value fe_values_sparse_categorical_accuracy(fe_values *v)
{
    ir_value value = equal(v, v->y, best(v, v->p));
    ir_type t = *ir_type_of(v->g, value);
    if (t.rank > 1 && !t.dim[t.rank - 1].batch && t.dim[t.rank - 1].count == 1)
        return ir_build_reshape(v->g, value, t.rank - 1, t.dim);
    return value;
}

/* Fewer than k predictions are larger than the label's, which is finite. */
static ir_value in_top_k(fe_values *v, ir_value labels)
{
    ir_graph *g = v->g;
    ir_type t = *ir_type_of(g, v->p), integers = ir_type_with_dtype(t, DTYPE_i32);
    ir_value all = ir_build_iota(g, integers, t.rank - 1);
    ir_value hit = ir_build_compare(g, "EQ", fe_math_spread(g, labels, &integers), all);
    ir_value own = ir_build_select(g, hit, v->p, ir_build_scalar(g, DTYPE_f32, 0));
    ir_value mine = fe_math_reduce(g, "add", own, -1, false);
    ir_value larger = fe_math_flag(g, ir_build_compare(g, "GT", v->p, fe_math_spread(g, mine, &t)));
    ir_value rank = fe_math_reduce(g, "add", larger, -1, false);
    ir_value high = fe_math_compare(g, "LT", rank, ir_record_number(v->settings, "k", 5));
    return fe_math_flag(g, ir_build_binary(g, OP_and, high, ir_build_unary(g, OP_is_finite, mine)));
}

ir_value fe_values_top_k_categorical_accuracy(fe_values *v) { return in_top_k(v, best(v, v->y)); }

ir_value fe_values_sparse_top_k_categorical_accuracy(fe_values *v) { return in_top_k(v, v->y); }
