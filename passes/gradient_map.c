/* gradient_map.c: rules of the elementwise operations. Where TensorFlow computes a derivative from the result
 * instead of the operand, so does the rule: nothing is recomputed and the rounding is the same. */
#include "passes/gradient.h"

#include <math.h>
#include <string.h>

#define RULE(name) void grad_##name(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
#define UNUSED (void)v

static ir_value square(grad_ctx *c, ir_value x) { return adj_mul(c, x, x); }
static ir_value one_minus(grad_ctx *c, ir_value x) { return adj_offset(c, adj_negate(c, x), 1); }

/* x, and as in TensorFlow 0 where dy is 0, even if the slope there is infinite. */
static ir_value where_nonzero(grad_ctx *c, ir_value dy, ir_value x)
{
    const ir_type type = adj_type(c, dy);
    const ir_value none = ir_build_compare(c->g, "EQ", dy, adj_zeros(c, &type));
    return ir_build_select(c->g, none, dy, x);
}

/* dy / sqrt(x * x * sign + offset): the derivative shape of the inverse functions. */
static ir_value over_root(grad_ctx *c, ir_value dy, ir_value x, double sign, double offset)
{
    const ir_value inside = adj_offset(c, sign < 0 ? adj_negate(c, square(c, x)) : square(c, x), offset);
    return adj_div(c, dy, adj_unary(c, OP_sqrt, inside));
}

RULE(abs)
{
    UNUSED;
    adj_add(c, n->in[0], adj_mul(c, dy, adj_unary(c, OP_sign, n->in[0])));
}
RULE(negate)
{
    UNUSED;
    adj_add(c, n->in[0], adj_negate(c, dy));
}
RULE(copy)
{
    UNUSED;
    adj_add(c, n->in[0], dy);
}
RULE(exponential) { adj_add(c, n->in[0], adj_mul(c, dy, v)); }
RULE(exponential_minus_one)
{
    UNUSED;
    adj_add(c, n->in[0], adj_mul(c, dy, adj_unary(c, OP_exponential, n->in[0])));
}
RULE(log)
{
    UNUSED;
    adj_add(c, n->in[0], adj_div(c, dy, n->in[0]));
}
RULE(log_plus_one)
{
    UNUSED;
    adj_add(c, n->in[0], adj_div(c, dy, adj_offset(c, n->in[0], 1)));
}
RULE(logistic) { adj_add(c, n->in[0], adj_mul(c, adj_mul(c, dy, v), one_minus(c, v))); }
RULE(tanh) { adj_add(c, n->in[0], adj_mul(c, dy, one_minus(c, square(c, v)))); }
RULE(sqrt) { adj_add(c, n->in[0], where_nonzero(c, dy, adj_div(c, adj_scale(c, dy, 0.5), v))); }
RULE(rsqrt) { adj_add(c, n->in[0], where_nonzero(c, dy, adj_mul(c, adj_scale(c, dy, -0.5), adj_mul(c, square(c, v), v)))); }
RULE(cbrt) { adj_add(c, n->in[0], adj_div(c, dy, adj_scale(c, square(c, v), 3))); }
RULE(sine)
{
    UNUSED;
    adj_add(c, n->in[0], adj_mul(c, dy, adj_unary(c, OP_cosine, n->in[0])));
}
RULE(cosine)
{
    UNUSED;
    adj_add(c, n->in[0], adj_negate(c, adj_mul(c, dy, adj_unary(c, OP_sine, n->in[0]))));
}
RULE(tan) { adj_add(c, n->in[0], adj_mul(c, dy, adj_offset(c, square(c, v), 1))); }
RULE(asin)
{
    UNUSED;
    adj_add(c, n->in[0], over_root(c, dy, n->in[0], -1, 1));
}
RULE(acos)
{
    UNUSED;
    adj_add(c, n->in[0], adj_negate(c, over_root(c, dy, n->in[0], -1, 1)));
}
RULE(atan)
{
    UNUSED;
    adj_add(c, n->in[0], adj_div(c, dy, adj_offset(c, square(c, n->in[0]), 1)));
}
RULE(sinh)
{
    UNUSED;
    adj_add(c, n->in[0], adj_mul(c, dy, adj_unary(c, OP_cosh, n->in[0])));
}
RULE(cosh)
{
    UNUSED;
    adj_add(c, n->in[0], adj_mul(c, dy, adj_unary(c, OP_sinh, n->in[0])));
}
RULE(asinh) { adj_add(c, n->in[0], adj_div(c, dy, adj_unary(c, OP_cosh, v))); }
RULE(acosh) { adj_add(c, n->in[0], adj_div(c, dy, adj_unary(c, OP_sinh, v))); }
RULE(atanh)
{
    UNUSED;
    adj_add(c, n->in[0], adj_div(c, dy, one_minus(c, square(c, n->in[0]))));
}

RULE(erf)
{
    UNUSED;
    const ir_value bell = adj_unary(c, OP_exponential, adj_negate(c, square(c, n->in[0])));
    adj_add(c, n->in[0], adj_mul(c, dy, adj_scale(c, bell, 2 / sqrt(acos(-1)))));
}

RULE(erf_inv)
{
    const ir_value bell = adj_unary(c, OP_exponential, square(c, v));
    adj_add(c, n->in[0], adj_mul(c, dy, adj_scale(c, bell, sqrt(acos(-1)) / 2)));
}

RULE(lgamma)
{
    UNUSED;
    adj_add(c, n->in[0], adj_mul(c, dy, adj_unary(c, OP_digamma, n->in[0])));
}

RULE(digamma)
{
    UNUSED;
    adj_add(c, n->in[0], adj_mul(c, dy, adj_unary(c, OP_trigamma, n->in[0])));
}

RULE(convert)
{
    UNUSED;
    const ir_dtype from = c->g->node[n->in[0]].type.dtype;
    if (adj_wants(c, n, 0)) adj_add(c, n->in[0], ir_build_convert(c->g, dy, from));
}

/* ---- two operands
 * ------------------------------------------------------------------------------------------ */

RULE(add)
{
    UNUSED;
    adj_add(c, n->in[0], dy);
    adj_add(c, n->in[1], dy);
}

RULE(subtract)
{
    UNUSED;
    adj_add(c, n->in[0], dy);
    if (adj_wants(c, n, 1)) adj_add(c, n->in[1], adj_negate(c, dy));
}

RULE(multiply)
{
    UNUSED;
    if (adj_wants(c, n, 0)) adj_add(c, n->in[0], adj_mul(c, dy, n->in[1]));
    if (adj_wants(c, n, 1)) adj_add(c, n->in[1], adj_mul(c, dy, n->in[0]));
}

/* As TensorFlow: y (dy - sum(y dy)), which needs the probabilities alone; the shift by the maximum changes nothing. */
static ir_value softmax_gradient(grad_ctx *c, ir_value y, ir_value dy, unsigned dims)
{
    const ir_type type = adj_type(c, y);
    int64_t dim[IR_MAX_RANK];
    int count = 0;
    for (int d = 0; d < type.rank; d++)
        if (dims >> d & 1) dim[count++] = d;
    const ir_value sum = ir_build_reduce(c->g, "add", adj_mul(c, y, dy), count, dim, true);
    return adj_mul(c, y, ir_build_binary(c->g, OP_subtract, dy, sum));
}

RULE(divide)
{
    unsigned dims;
    const ir_value x = passes_softmax_of(c->g, v, &dims);
    if (x != IR_NONE) {
        adj_add(c, x, softmax_gradient(c, v, dy, dims));
        return;
    }
    const ir_value a = n->in[0], b = n->in[1];
    if (adj_wants(c, n, 0)) adj_add(c, a, adj_div(c, dy, b));
    if (adj_wants(c, n, 1)) adj_add(c, b, adj_mul(c, dy, adj_div(c, adj_div(c, adj_negate(c, a), b), b)));
}

/* a = quotient * b + remainder with a whole quotient, so d remainder / d b is minus the quotient. */
RULE(remainder)
{
    adj_add(c, n->in[0], dy);
    if (!adj_wants(c, n, 1)) return;
    const ir_value multiple = ir_build_binary(c->g, OP_subtract, n->in[0], v);
    const ir_value quotient = adj_unary(c, OP_round_nearest_even, adj_div(c, multiple, n->in[1]));
    adj_add(c, n->in[1], adj_negate(c, adj_mul(c, dy, quotient)));
}

/* As TensorFlow: the logarithm of what is not positive counts as 0. */
RULE(power)
{
    const ir_value a = n->in[0], b = n->in[1];
    if (adj_wants(c, n, 0)) {
        const ir_value lower = ir_build_binary(c->g, OP_power, a, adj_offset(c, b, -1));
        adj_add(c, a, adj_mul(c, adj_mul(c, dy, b), lower));
    }
    if (adj_wants(c, n, 1)) {
        const ir_type type = adj_type(c, a);
        const ir_value zero = adj_zeros(c, &type), positive = ir_build_compare(c->g, "GT", a, zero);
        const ir_value safe = ir_build_select(c->g, positive, a, ir_build_fill(c->g, type, 1));
        const ir_value logarithm = ir_build_select(c->g, positive, adj_unary(c, OP_log, safe), zero);
        adj_add(c, b, adj_mul(c, adj_mul(c, dy, v), logarithm));
    }
}

RULE(atan2)
{
    UNUSED;
    const ir_value y = n->in[0], x = n->in[1];
    const ir_value inverse = adj_div(c, dy, adj_plus(c, square(c, x), square(c, y)));
    adj_add(c, y, adj_mul(c, x, inverse));
    if (adj_wants(c, n, 1)) adj_add(c, x, adj_negate(c, adj_mul(c, y, inverse)));
}

static void choose(grad_ctx *c, const ir_node *n, const char *direction, ir_value dy)
{
    const ir_value first = ir_build_compare(c->g, direction, n->in[0], n->in[1]);
    const ir_type type = adj_type(c, dy);
    const ir_value zero = adj_zeros(c, &type);
    if (adj_wants(c, n, 0)) adj_add(c, n->in[0], ir_build_select(c->g, first, dy, zero));
    if (adj_wants(c, n, 1)) adj_add(c, n->in[1], ir_build_select(c->g, first, zero, dy));
}

RULE(maximum)
{
    UNUSED;
    choose(c, n, "GE", dy);
}
RULE(minimum)
{
    UNUSED;
    choose(c, n, "LE", dy);
}

/* y = select(x <= 0, 0, x): then y <= 0 exactly where x <= 0, so that x need not be kept for the backward pass. */
static ir_value find_condition(grad_ctx *c, ir_value v, const ir_node *n)
{
    const ir_node test = c->g->node[n->in[0]];
    const bool rectifies = test.op == OP_compare && strcmp(ir_attr_text(&test, ATTR_direction), "LE") == 0 &&
                           test.in[0] == n->in[2] && ir_is_filled_with(c->g, test.in[1], 0) &&
                           ir_is_filled_with(c->g, n->in[1], 0);
    return rectifies ? ir_build_compare(c->g, "LE", v, test.in[1]) : n->in[0];
}

/* TensorFlow multiplies what comes into a ReLU by 0 or 1: infinity becomes NaN where the ReLU is off. With float16 that
 * decides which steps a loss scale skips. */
static bool is_relu_of_f16(const ir_graph *g, ir_value condition, const ir_node *n)
{
    return n->type.dtype == DTYPE_f16 && condition != n->in[0] && ir_is_filled_with(g, n->in[1], 0);
}

RULE(select)
{
    const ir_value condition = find_condition(c, v, n);
    const ir_type type = adj_type(c, dy);
    if (is_relu_of_f16(c->g, condition, n)) {
        const ir_value on = ir_build_convert(c->g, ir_build_unary(c->g, OP_not, condition), type.dtype);
        if (adj_wants(c, n, 2)) adj_add(c, n->in[2], ir_build_binary(c->g, OP_multiply, dy, on));
        return;
    }
    const ir_value zero = adj_zeros(c, &type);
    if (adj_wants(c, n, 1)) adj_add(c, n->in[1], ir_build_select(c->g, condition, dy, zero));
    if (adj_wants(c, n, 2)) adj_add(c, n->in[2], ir_build_select(c->g, condition, zero, dy));
}
