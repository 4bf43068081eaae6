/* interp_map.c: elementwise operations, one function of cells each. Floats are computed in
 * double and rounded once to the result's dtype; integers are 64-bit and wrap when stored. */
#include "ir/interp.h"

#include <math.h>
#include <string.h>

typedef struct map_step {
    const ir_node *node;
    ir_dtype from, to; /* dtype of the last operand and of the result */
    interp_cell x[3];
} map_step;

static const double PI = 3.14159265358979323846;

static bool is_signed(const map_step *s)
{
    return ir_dtype_class_of(s->from) == DTYPE_SIGNED;
}

static int bits_of(ir_dtype t)
{
    return t == DTYPE_i1 ? 1 : (int)ir_dtype_size(t) * 8;
}

/* The bits of the dtype alone, without the sign's extension. */
static uint64_t plain_bits(ir_dtype t, interp_cell x)
{
    return x.u & (UINT64_MAX >> (64 - bits_of(t)));
}

/* ---- operations on floats only ------------------------------------------------------------ */

static double logistic(double x)
{
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

/* Newton's method on erf (on erfc near 1, where erf has lost the digits), from a start good to
 * 1e-3. */
static double erf_inverse(double x)
{
    const double a = fabs(x);
    if (!(a < 1)) return a == 1 ? copysign(INFINITY, x) : NAN;
    const double l = log1p(-a * a), b = 2 / (PI * 0.147) + l / 2;
    double y = sqrt(sqrt(b * b - l / 0.147) - b);
    for (int i = 0; i < 4; i++) {
        const double excess = a < 0.5 ? erf(y) - a : (1 - a) - erfc(y);
        y -= excess * exp(y * y) * sqrt(PI) / 2;
    }
    return copysign(y, x);
}

/* Poles at 0, -1, -2 ... give NaN. */
static double digamma(double x)
{
    double sum = 0;
    if (x <= 0 && x == floor(x)) return NAN;
    if (x < 0) return digamma(1 - x) - PI / tan(PI * x);
    for (; x < 10; x++) {
        sum -= 1 / x;
    }
    const double r = 1 / (x * x); /* the asymptotic series: Bernoulli numbers over 2k */
    return sum + log(x) - 0.5 / x -
           r * (1.0 / 12 -
                r * (1.0 / 120 - r * (1.0 / 252 - r * (1.0 / 240 - r * (1.0 / 132)))));
}

/* Poles at 0, -1, -2 ... give infinity. */
static double trigamma(double x)
{
    double sum = 0;
    if (x <= 0 && x == floor(x)) return INFINITY;
    if (x < 0) return pow(PI / sin(PI * x), 2) - trigamma(1 - x);
    for (; x < 10; x++) {
        sum += 1 / (x * x);
    }
    const double r = 1 / (x * x); /* the asymptotic series: Bernoulli numbers */
    return sum + 1 / x + r / 2 + r / x * (1.0 / 6 - r * (1.0 / 30 - r * (1.0 / 42 - r * (1.0 / 30 - r * (5.0 / 66)))));
}

static double nearest_even(double x)
{
    const double down = floor(x), rest = x - down;
    if (!isfinite(x) || rest == 0) return x;
    const bool up = rest > 0.5 || (rest == 0.5 && fmod(down, 2) != 0);
    return copysign(up ? down + 1 : down, x);
}

#define FLOAT_1(name, expression)                                                              \
    static interp_cell map_##name(const map_step *s)                                           \
    {                                                                                          \
        const double x = s->x[0].f;                                                            \
        bug_if(!ir_dtype_is_float(s->from), "%s of integers", ir_op_name(s->node->op));        \
        return interp_float(expression);                                                       \
    }
FLOAT_1(floor, floor(x))
FLOAT_1(ceil, ceil(x))
FLOAT_1(round_nearest_even, nearest_even(x))
FLOAT_1(exponential, exp(x))
FLOAT_1(exponential_minus_one, expm1(x))
FLOAT_1(log, log(x))
FLOAT_1(log_plus_one, log1p(x))
FLOAT_1(logistic, logistic(x))
FLOAT_1(tanh, tanh(x))
FLOAT_1(sqrt, sqrt(x))
FLOAT_1(rsqrt, 1 / sqrt(x))
FLOAT_1(cbrt, cbrt(x))
FLOAT_1(sine, sin(x))
FLOAT_1(cosine, cos(x))
FLOAT_1(tan, tan(x))
FLOAT_1(asin, asin(x))
FLOAT_1(acos, acos(x))
FLOAT_1(atan, atan(x))
FLOAT_1(sinh, sinh(x))
FLOAT_1(cosh, cosh(x))
FLOAT_1(asinh, asinh(x))
FLOAT_1(acosh, acosh(x))
FLOAT_1(atanh, atanh(x))
FLOAT_1(erf, erf(x))
FLOAT_1(erf_inv, erf_inverse(x))
FLOAT_1(lgamma, lgamma(x))
FLOAT_1(digamma, digamma(x))
FLOAT_1(trigamma, trigamma(x))

static interp_cell map_atan2(const map_step *s)
{
    bug_if(!ir_dtype_is_float(s->from), "atan2 of integers");
    return interp_float(atan2(s->x[0].f, s->x[1].f));
}

/* ---- operations on all numbers ------------------------------------------------------------ */

static interp_cell map_abs(const map_step *s)
{
    if (ir_dtype_is_float(s->from)) return interp_float(fabs(s->x[0].f));
    return (interp_cell){.u = is_signed(s) && (int64_t)s->x[0].u < 0 ? 0 - s->x[0].u
                                                                     : s->x[0].u};
}

static interp_cell map_negate(const map_step *s)
{
    if (ir_dtype_is_float(s->from)) return interp_float(-s->x[0].f);
    return (interp_cell){.u = 0 - s->x[0].u};
}

static interp_cell map_sign(const map_step *s)
{
    const double f = s->x[0].f;
    const int64_t i = (int64_t)s->x[0].u;
    if (ir_dtype_is_float(s->from)) return interp_float(f > 0 ? 1 : f < 0 ? -1 : f);
    return interp_int(is_signed(s) && i < 0 ? -1 : i != 0);
}

static interp_cell map_is_finite(const map_step *s)
{
    return interp_int(!ir_dtype_is_float(s->from) || isfinite(s->x[0].f));
}

static interp_cell map_copy(const map_step *s)
{
    return s->x[0];
}

static interp_cell map_stop_gradient(const map_step *s)
{
    return s->x[0];
}

static interp_cell map_convert(const map_step *s)
{
    return interp_convert(s->x[0], s->from, s->to);
}

static interp_cell map_bitcast_convert(const map_step *s)
{
    uint64_t bytes = 0;
    ir_array from = {.type = ir_type_scalar(s->from), .data = &bytes};
    const ir_array to = {.type = ir_type_scalar(s->to), .data = &bytes};
    bug_if(ir_dtype_size(s->from) != ir_dtype_size(s->to),
           "bitcast_convert between different sizes");
    interp_store(&from, 0, s->x[0]);
    return interp_load(&to, 0);
}

#define ARITHMETIC(name, operator)                                                             \
    static interp_cell map_##name(const map_step *s)                                           \
    {                                                                                          \
        if (ir_dtype_is_float(s->from)) return interp_float(s->x[0].f operator s->x[1].f);     \
        return (interp_cell){.u = s->x[0].u operator s->x[1].u };                              \
    }
ARITHMETIC(add, +)
ARITHMETIC(subtract, -)
ARITHMETIC(multiply, *)

static interp_cell map_divide(const map_step *s)
{
    const interp_cell a = s->x[0], b = s->x[1];
    if (ir_dtype_is_float(s->from)) return interp_float(a.f / b.f);
    if (b.u == 0) return interp_int(-1);
    if (!is_signed(s)) return (interp_cell){.u = a.u / b.u};
    if ((int64_t)b.u == -1) return (interp_cell){.u = 0 - a.u};
    return interp_int((int64_t)a.u / (int64_t)b.u);
}

static interp_cell map_remainder(const map_step *s)
{
    const interp_cell a = s->x[0], b = s->x[1];
    if (ir_dtype_is_float(s->from)) return interp_float(fmod(a.f, b.f));
    if (b.u == 0) return a;
    if (!is_signed(s)) return (interp_cell){.u = a.u % b.u};
    if ((int64_t)b.u == -1) return interp_int(0);
    return interp_int((int64_t)a.u % (int64_t)b.u);
}

/* Integers to a negative power are 1 / x^n, truncated: 0 but for 1 and -1. */
static interp_cell map_power(const map_step *s)
{
    uint64_t base = s->x[0].u, exponent = s->x[1].u, product = 1;
    if (ir_dtype_is_float(s->from)) return interp_float(pow(s->x[0].f, s->x[1].f));
    if (is_signed(s) && (int64_t)exponent < 0) {
        if (base != 1 && (int64_t)base != -1) return interp_int(0);
        exponent &= 1;
    }
    for (; exponent > 0; exponent >>= 1) {
        if (exponent & 1) product *= base;
        base *= base;
    }
    return (interp_cell){.u = product};
}

static interp_cell map_maximum(const map_step *s)
{
    return interp_combine_get("maximum")(s->from, s->x[0], s->x[1]);
}

static interp_cell map_minimum(const map_step *s)
{
    return interp_combine_get("minimum")(s->from, s->x[0], s->x[1]);
}

/* ---- bits and decisions ------------------------------------------------------------------- */

static interp_cell map_not(const map_step *s)
{
    return (interp_cell){.u = s->from == DTYPE_i1 ? !s->x[0].u : ~s->x[0].u};
}

static interp_cell map_and(const map_step *s)
{
    return (interp_cell){.u = s->x[0].u & s->x[1].u};
}

static interp_cell map_or(const map_step *s)
{
    return (interp_cell){.u = s->x[0].u | s->x[1].u};
}

static interp_cell map_xor(const map_step *s)
{
    return (interp_cell){.u = s->x[0].u ^ s->x[1].u};
}

/* Shifts by the width or more (also by negative amounts) shift all bits out. */
static interp_cell map_shift_left(const map_step *s)
{
    const uint64_t by = s->x[1].u;
    return (interp_cell){.u = by < (uint64_t)bits_of(s->from) ? s->x[0].u << by : 0};
}

static interp_cell map_shift_right_logical(const map_step *s)
{
    const uint64_t by = s->x[1].u;
    return (interp_cell){
        .u = by < (uint64_t)bits_of(s->from) ? plain_bits(s->from, s->x[0]) >> by : 0};
}

static interp_cell map_shift_right_arithmetic(const map_step *s)
{
    const int bits = bits_of(s->from);
    const int by = s->x[1].u < (uint64_t)bits ? (int)s->x[1].u : bits - 1;
    const uint64_t plain = plain_bits(s->from, s->x[0]);
    const bool negative = (plain >> (bits - 1)) & 1;
    const uint64_t sign = negative && by > 0 ? UINT64_MAX << (bits - by) : 0;
    return (interp_cell){.u = plain >> by | sign};
}

static interp_cell map_compare(const map_step *s)
{
    const char *direction = ir_attr_text(s->node, ATTR_direction);
    const bool less = interp_less(s->from, s->x[0], s->x[1]),
               more = interp_less(s->from, s->x[1], s->x[0]);
    const bool equal =
        ir_dtype_is_float(s->from) ? s->x[0].f == s->x[1].f : s->x[0].u == s->x[1].u;
    const struct {
        const char *name;
        bool holds;
    } table[] = {
        {"EQ", equal},         {"NE", !equal}, {"LT", less},
        {"LE", less || equal}, {"GT", more},   {"GE", more || equal},
    };
    for (size_t i = 0; i < countof(table); i++) {
        if (strcmp(table[i].name, direction) == 0) return interp_int(table[i].holds);
    }
    bug("compare has no direction \"%s\"", direction);
}

static interp_cell map_select(const map_step *s)
{
    return s->x[0].u ? s->x[1] : s->x[2];
}

/* ---- the table ---------------------------------------------------------------------------- */

#define ROW_SOURCE(name)
#define ROW_MAP(name) [OP_##name] = map_##name,
#define ROW_MOVE(name)
#define ROW_VIEW(name)
#define ROW_REDUCE(name)
#define ROW_CONTRACT(name)
#define ROW_NEST(name)
#define ROW_TUPLE(name)
static interp_cell (*const map_rules[OP_COUNT])(const map_step *) = {
#define OP(name, class, ...) ROW_##class(name)
#include "ir/ops.def"
};

void interp_run_map(const interp *c)
{
    const int operands = c->node->in_count;
    const int64_t count = ir_array_count(c->out);
    map_step s = {
        .node = c->node, .from = c->in[operands - 1].type.dtype, .to = c->out->type.dtype};
    for (int64_t i = 0; i < count; i++) {
        for (int k = 0; k < operands; k++) {
            s.x[k] = interp_load(&c->in[k], i);
        }
        interp_store(c->out, i, map_rules[c->node->op](&s));
    }
}
