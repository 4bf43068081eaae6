/* cpu_rules.c: the cpu column of ops.def. A MAP rule computes one step on scalars or vectors in register
 * form; 16-bit floats reach it as f32. */
#include "codegen/cg_rules.h"

#include <string.h>

static bool is_float(const cg_step *s) { return ir_dtype_is_float(s->from); }
static bool is_signed(const cg_step *s) { return ir_dtype_class_of(s->from) == DTYPE_SIGNED; }
static LLVMTypeRef type_of(const cg_step *s) { return LLVMTypeOf(s->in[0]); }
static cg_value zero(const cg_step *s) { return LLVMConstNull(type_of(s)); }

/* ---- functions of floats -------------------------------------------------------------------- */

#define INTRINSIC(name, symbol)                                                                              \
    static cg_value map_##name(cg *c, const cg_step *s)                                                      \
    {                                                                                                        \
        cg_value x = s->in[0];                                                                               \
        return cg_intrinsic(c, symbol, 1, &x);                                                               \
    }
INTRINSIC(floor, "llvm.floor")
INTRINSIC(ceil, "llvm.ceil")
INTRINSIC(round_nearest_even, "llvm.roundeven")
INTRINSIC(sqrt, "llvm.sqrt")

#define MATH(name, function)                                                                                 \
    static cg_value map_##name(cg *c, const cg_step *s) { return cg_math_##function(c, s->in[0]); }
MATH(exponential_minus_one, expm1)
MATH(log, log)
MATH(log_plus_one, log1p)
MATH(logistic, logistic)
MATH(tanh, tanh)
MATH(sine, sin)
MATH(cosine, cos)
MATH(tan, tan)
MATH(erf, erf)
MATH(erf_inv, erf_inv)
MATH(digamma, digamma)
MATH(trigamma, trigamma)

/* x minus its maximum along some dims. */
static bool is_below_maximum(const cg *c, const ir_node *n)
{
    int count = 0, reduced = 0;
    const ir_node *spread = cg_node(c, n->in[1]), *top = spread->op == OP_broadcast_in_dim ? cg_node(c, spread->in[0]) : NULL;
    if (!top || top->op != OP_reduce || top->in[0] != n->in[0] || strcmp(ir_attr_text(top, ATTR_kind), "maximum") != 0) return false;
    const int64_t *to = ir_attr_ints(spread, ATTR_dimensions, &count), *gone = ir_attr_ints(top, ATTR_dimensions, &reduced);
    for (int i = 0; i < count; i++) {
        if (i && to[i] <= to[i - 1]) return false;
        for (int k = 0; k < reduced; k++) {
            if (gone[k] == to[i]) return false;
        }
    }
    return count + reduced == n->type.rank;
}

/* Numbers that are never above 0. */
static bool is_falling(const cg *c, ir_value v)
{
    const ir_node *n = cg_node(c, v), *of = n->in_count ? cg_node(c, n->in[0]) : NULL;
    if (n->op == OP_subtract) return is_below_maximum(c, n);
    return n->op == OP_negate && (of->op == OP_abs || (of->op == OP_multiply && of->in[0] == of->in[1]));
}

static cg_value map_exponential(cg *c, const cg_step *s)
{
    return is_falling(c, s->node->in[0]) ? cg_math_exp_falling(c, s->in[0]) : cg_math_exp(c, s->in[0]);
}

#define LIBM(name, count)                                                                                    \
    static cg_value map_##name(cg *c, const cg_step *s)                                                      \
    {                                                                                                        \
        cg_value in[3] = {s->in[0], s->in[1], s->in[2]};                                                     \
        return cg_libm(c, #name, count, in);                                                                 \
    }
LIBM(cbrt, 1)
LIBM(asin, 1)
LIBM(acos, 1)
LIBM(atan, 1)
LIBM(sinh, 1)
LIBM(cosh, 1)
LIBM(asinh, 1)
LIBM(acosh, 1)
LIBM(atanh, 1)
LIBM(lgamma, 1)
LIBM(atan2, 2)

static cg_value map_rsqrt(cg *c, const cg_step *s)
{
    return cg_fdiv(c, cg_fill(c, type_of(s), 1), map_sqrt(c, s));
}

static cg_value map_is_finite(cg *c, const cg_step *s)
{
    if (!is_float(s)) return cg_splat(c, LLVMConstInt(c->i1, 1, 0), s->lanes);
    cg_value x = s->in[0];
    /* x - x is 0 for finite x only, NaN for the others */
    return cg_fcmp(c, LLVMRealOEQ, LLVMBuildFSub(c->b, x, x, ""), zero(s));
}

/* ---- numbers of any kind -------------------------------------------------------------------- */

static cg_value map_negate(cg *c, const cg_step *s)
{
    return is_float(s) ? LLVMBuildFNeg(c->b, s->in[0], "") : LLVMBuildNeg(c->b, s->in[0], "");
}

static cg_value map_abs(cg *c, const cg_step *s)
{
    cg_value x = s->in[0];
    if (is_float(s)) return cg_intrinsic(c, "llvm.fabs", 1, &x);
    if (!is_signed(s)) return x;
    return cg_select(c, cg_icmp(c, LLVMIntSLT, x, zero(s)), map_negate(c, s), x);
}

static cg_value map_sign(cg *c, const cg_step *s)
{
    cg_value x = s->in[0], one = cg_fill(c, type_of(s), 1);
    if (is_float(s)) {
        cg_value below = cg_select(c, cg_fcmp(c, LLVMRealOLT, x, zero(s)), cg_fill(c, type_of(s), -1), x);
        return cg_select(c, cg_fcmp(c, LLVMRealOGT, x, zero(s)), one, below);
    }
    cg_value some = cg_select(c, cg_icmp(c, LLVMIntNE, x, zero(s)), one, zero(s));
    if (!is_signed(s)) return some;
    return cg_select(c, cg_icmp(c, LLVMIntSLT, x, zero(s)), LLVMConstAllOnes(type_of(s)), some);
}

static cg_value map_copy(cg *c, const cg_step *s)
{
    (void)c;
    return s->in[0];
}

static cg_value map_add(cg *c, const cg_step *s)
{
    if (is_float(s)) return cg_fadd(c, s->in[0], s->in[1]);
    return s->from == DTYPE_i1 ? cg_or(c, s->in[0], s->in[1]) : cg_add(c, s->in[0], s->in[1]);
}

static cg_value map_subtract(cg *c, const cg_step *s)
{
    return is_float(s) ? cg_fsub(c, s->in[0], s->in[1]) : cg_sub(c, s->in[0], s->in[1]);
}

static cg_value map_multiply(cg *c, const cg_step *s)
{
    return is_float(s) ? cg_fmul(c, s->in[0], s->in[1]) : cg_mul(c, s->in[0], s->in[1]);
}

/* Divisors that the processor traps on, and LLVM forbids, are replaced before and mended after. */
static cg_value safe_divisor(cg *c, const cg_step *s, cg_value *out_none, cg_value *out_minus)
{
    cg_value b = s->in[1], one = cg_fill(c, type_of(s), 1);
    *out_none = cg_icmp(c, LLVMIntEQ, b, zero(s));
    *out_minus = cg_icmp(c, LLVMIntEQ, b, LLVMConstAllOnes(type_of(s)));
    b = cg_select(c, *out_none, one, b);
    return is_signed(s) ? cg_select(c, *out_minus, one, b) : b;
}

static cg_value map_divide(cg *c, const cg_step *s)
{
    if (is_float(s)) return cg_fdiv(c, s->in[0], s->in[1]);
    cg_value none, minus, b = safe_divisor(c, s, &none, &minus);
    cg_value q = is_signed(s) ? LLVMBuildSDiv(c->b, s->in[0], b, "") : LLVMBuildUDiv(c->b, s->in[0], b, "");
    if (is_signed(s)) q = cg_select(c, minus, map_negate(c, s), q);
    return cg_select(c, none, LLVMConstAllOnes(type_of(s)), q);
}

static cg_value map_remainder(cg *c, const cg_step *s)
{
    cg_value in[] = {s->in[0], s->in[1]};
    if (is_float(s)) return cg_libm(c, "fmod", 2, in);
    cg_value none, minus, b = safe_divisor(c, s, &none, &minus);
    cg_value r = is_signed(s) ? LLVMBuildSRem(c->b, in[0], b, "") : LLVMBuildURem(c->b, in[0], b, "");
    if (is_signed(s)) r = cg_select(c, minus, zero(s), r);
    return cg_select(c, none, in[0], r);
}

/* Integers by repeated squaring; a negative power of 1 or -1 is itself one, of others 0. */
static cg_value power_of_integers(cg *c, const cg_step *s)
{
    LLVMTypeRef t = type_of(s);
    cg_value one = cg_fill(c, t, 1), minus = LLVMConstAllOnes(t), base = s->in[0], e = s->in[1],
             product = one;
    cg_value negative = is_signed(s) ? cg_icmp(c, LLVMIntSLT, e, zero(s)) : NULL;
    if (negative) e = cg_select(c, negative, cg_and(c, e, one), e);
    for (size_t bit = 0; bit < ir_dtype_size(s->from) * 8; bit++) {
        cg_value odd = cg_icmp(c, LLVMIntNE, cg_and(c, e, one), zero(s));
        product = cg_select(c, odd, cg_mul(c, product, base), product);
        base = cg_mul(c, base, base);
        e = LLVMBuildLShr(c->b, e, one, "");
    }
    if (!negative) return product;
    cg_value unit = cg_or(c, cg_icmp(c, LLVMIntEQ, s->in[0], one), cg_icmp(c, LLVMIntEQ, s->in[0], minus));
    return cg_select(c, cg_and(c, negative, LLVMBuildNot(c->b, unit, "")), zero(s), product);
}

static cg_value map_power(cg *c, const cg_step *s)
{
    cg_value in[] = {s->in[0], s->in[1]};
    return is_float(s) ? cg_libm(c, "pow", 2, in) : power_of_integers(c, s);
}

static cg_value map_maximum(cg *c, const cg_step *s)
{
    return cg_combine(c, "maximum", s->from, s->in[0], s->in[1]);
}
static cg_value map_minimum(cg *c, const cg_step *s)
{
    return cg_combine(c, "minimum", s->from, s->in[0], s->in[1]);
}

/* ---- bits ----------------------------------------------------------------------------------- */

static cg_value map_not(cg *c, const cg_step *s) { return LLVMBuildNot(c->b, s->in[0], ""); }
static cg_value map_and(cg *c, const cg_step *s) { return cg_and(c, s->in[0], s->in[1]); }
static cg_value map_or(cg *c, const cg_step *s) { return cg_or(c, s->in[0], s->in[1]); }
static cg_value map_xor(cg *c, const cg_step *s) { return LLVMBuildXor(c->b, s->in[0], s->in[1], ""); }

/* LLVM leaves shifts by the width or more open; here they shift all bits out. */
static cg_value shift(cg *c, const cg_step *s,
                      cg_value (*build)(LLVMBuilderRef, cg_value, cg_value, const char *), bool keep_sign)
{
    const double width = s->from == DTYPE_i1 ? 1 : (double)ir_dtype_size(s->from) * 8;
    cg_value last = cg_fill(c, type_of(s), width - 1), by = s->in[1];
    cg_value inside = cg_icmp(c, LLVMIntULE, by, last);
    cg_value out = build(c->b, s->in[0], cg_select(c, inside, by, last), "");
    return keep_sign ? out : cg_select(c, inside, out, zero(s));
}

static cg_value map_shift_left(cg *c, const cg_step *s) { return shift(c, s, LLVMBuildShl, false); }
static cg_value map_shift_right_logical(cg *c, const cg_step *s) { return shift(c, s, LLVMBuildLShr, false); }
static cg_value map_shift_right_arithmetic(cg *c, const cg_step *s)
{
    return shift(c, s, LLVMBuildAShr, true);
}

/* ---- decisions and conversions -------------------------------------------------------------- */

static cg_value map_compare(cg *c, const cg_step *s)
{
    static const struct {
        const char *name;
        LLVMRealPredicate real;
        LLVMIntPredicate with_sign, plain;
    } table[] = {
        {"EQ", LLVMRealOEQ, LLVMIntEQ, LLVMIntEQ},   {"NE", LLVMRealUNE, LLVMIntNE, LLVMIntNE},
        {"LT", LLVMRealOLT, LLVMIntSLT, LLVMIntULT}, {"LE", LLVMRealOLE, LLVMIntSLE, LLVMIntULE},
        {"GT", LLVMRealOGT, LLVMIntSGT, LLVMIntUGT}, {"GE", LLVMRealOGE, LLVMIntSGE, LLVMIntUGE},
    };
    const char *direction = ir_attr_text(s->node, ATTR_direction);
    for (size_t i = 0; i < countof(table); i++) {
        if (strcmp(table[i].name, direction) != 0) continue;
        if (is_float(s)) return cg_fcmp(c, table[i].real, s->in[0], s->in[1]);
        return cg_icmp(c, is_signed(s) ? table[i].with_sign : table[i].plain, s->in[0], s->in[1]);
    }
    bug("compare has no direction \"%s\"", direction);
}

static cg_value map_select(cg *c, const cg_step *s) { return cg_select(c, s->in[0], s->in[1], s->in[2]); }

/* Float to integer: toward zero, out of range to the nearest bound, NaN to 0. */
static cg_value float_to_integer(cg *c, const cg_step *s, LLVMTypeRef type)
{
    const char *name = ir_dtype_class_of(s->to) == DTYPE_SIGNED ? "llvm.fptosi.sat" : "llvm.fptoui.sat";
    LLVMTypeRef overload[] = {type, type_of(s)};
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    cg_value fn = LLVMGetIntrinsicDeclaration(c->module, id, overload, 2), x = s->in[0];
    return LLVMBuildCall2(c->b, LLVMIntrinsicGetType(c->context, id, overload, 2), fn, &x, 1, "");
}

static cg_value float_to_float(cg *c, const cg_step *s)
{
    cg_value x = cg_widen(c, s->from, s->in[0]);
    if (s->to == DTYPE_f64) return LLVMBuildFPExt(c->b, x, cg_vector(c->f64, s->lanes), "");
    if (s->from == DTYPE_f64) x = LLVMBuildFPTrunc(c->b, x, cg_vector(c->f32, s->lanes), "");
    return cg_narrow(c, s->to, x);
}

static cg_value integer_to_float(cg *c, const cg_step *s)
{
    LLVMTypeRef type = cg_vector(s->to == DTYPE_f64 ? c->f64 : c->f32, s->lanes);
    cg_value y =
        is_signed(s) ? LLVMBuildSIToFP(c->b, s->in[0], type, "") : LLVMBuildUIToFP(c->b, s->in[0], type, "");
    return cg_narrow(c, s->to, y);
}

static cg_value map_convert(cg *c, const cg_step *s)
{
    LLVMTypeRef type = cg_vector(cg_register_type(c, s->to), s->lanes);
    if (s->from == s->to) return s->in[0];
    if (ir_dtype_is_float(s->to)) return is_float(s) ? float_to_float(c, s) : integer_to_float(c, s);
    if (!is_float(s) && s->to == DTYPE_i1) return cg_icmp(c, LLVMIntNE, s->in[0], zero(s));
    if (!is_float(s)) return LLVMBuildIntCast2(c->b, s->in[0], type, is_signed(s), "");
    cg_step wide = *s;
    wide.in[0] = cg_widen(c, s->from, s->in[0]);
    if (s->to == DTYPE_i1) return cg_fcmp(c, LLVMRealUNE, wide.in[0], zero(&wide));
    return float_to_integer(c, &wide, type);
}

static cg_value map_bitcast_convert(cg *c, const cg_step *s)
{
    cg_value x = cg_to_memory(c, s->from, s->in[0]);
    LLVMTypeRef type = cg_vector(cg_memory_type(c, s->to), s->lanes);
    return cg_from_memory(c, s->to, LLVMBuildBitCast(c->b, x, type, ""));
}

/* ---- the table ------------------------------------------------------------------------------ */

#define CPU_SOURCE(f)                                                                                        \
    {                                                                                                        \
        .read = cg_read_##f                                                                                  \
    }
#define CPU_MAP(f)                                                                                           \
    {                                                                                                        \
        .map = map_##f                                                                                       \
    }
#define CPU_MOVE(f)                                                                                          \
    {                                                                                                        \
        .read = cg_read_##f                                                                                  \
    }
#define CPU_VIEW(f)                                                                                          \
    {                                                                                                        \
        .read = cg_read_##f                                                                                  \
    }
#define CPU_REDUCE(f)                                                                                        \
    {                                                                                                        \
        0                                                                                                    \
    } /* kernels of their own kinds: reduce.c, row.c, cpu_dot.c */
#define CPU_CONTRACT(f)                                                                                      \
    {                                                                                                        \
        0                                                                                                    \
    }
#define CPU_NEST(f)                                                                                          \
    {                                                                                                        \
        .nest = NEST_##f                                                                                     \
    }
#define NEST_reduce_window cg_nest_reduce_window
#define NEST_select_and_scatter cg_nest_select_and_scatter
#define NEST_cumulative cg_nest_cumulative
#define NEST_moments cg_nest_moments
#define NEST_scatter cg_nest_scatter
#define NEST_sort cg_nest_sort
#define NEST_words cg_nest_words
#define NEST_custom_call cg_nest_custom_call
#define NEST_sparse cg_nest_sparse
#define NEST_attention cg_nest_attention
#define NEST_ragged cg_nest_ragged
#define NEST_while NULL /* body.c refuses it by name */
#define NEST_scan NULL  /* launches of its own: program.c */
#define CPU_TUPLE(f)                                                                                         \
    {                                                                                                        \
        0                                                                                                    \
    }
static const cg_rule rules[OP_COUNT] = {
#define OP(name, class, in, shape, attrs, grad, prec, cpu) [OP_##name] = CPU_##class(cpu),
#include "ir/ops.def"
};

const cg_rule *cg_rule_of(ir_op op) { return &rules[op]; }

/* True for ops that move bits and do no arithmetic: 16-bit floats stay as they are. */
static bool keeps_bits(const cg_rule *rule)
{
    return rule->map == map_copy || rule->map == map_select || rule->map == map_convert ||
           rule->map == map_bitcast_convert;
}

/* True for ops of one rounding: a processor with arithmetic on f16 gives what f32 rounded to f16 gives, whose 24 bits are
 * enough for that (twice 11 and 2 more). */
static bool rounds_once(const cg_rule *rule)
{
    return rule->map == map_add || rule->map == map_subtract || rule->map == map_multiply || rule->map == map_divide ||
           rule->map == map_negate || rule->map == map_abs || rule->map == map_compare;
}

cg_value cg_map_emit(cg *c, const cg_step *s)
{
    const cg_rule *rule = cg_rule_of(s->node->op);
    const bool narrow = s->from == DTYPE_f16 || s->from == DTYPE_bf16;
    const bool native = s->from == DTYPE_f16 && c->target->math && rounds_once(rule);
    if (!narrow || native || keeps_bits(rule)) return rule->map(c, s);
    cg_step wide = *s;
    wide.from = DTYPE_f32;
    for (int i = 0; i < s->node->in_count; i++) wide.in[i] = cg_widen(c, s->from, s->in[i]);
    if (s->to == s->from) wide.to = DTYPE_f32;
    cg_value out = rule->map(c, &wide);
    return s->to == s->from ? cg_narrow(c, s->to, out) : out;
}
