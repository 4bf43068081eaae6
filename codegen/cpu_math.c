/* cpu_math.c: elementary functions on f32 lanes by range reduction and polynomials, so that they stay inside
 * the loops they occur in. Errors are against the correctly rounded result; infinities, zeros and NaN follow
 * C's Annex F. f64 calls libm lane by lane. */
#include "codegen/cg_rules.h"

#include <math.h>

static LLVMTypeRef type_of(cg_value x) { return LLVMTypeOf(x); }
static bool is_f32(const cg *c, cg_value x)
{
    LLVMTypeRef t = type_of(x);
    return (LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t) : t) == c->f32;
}
static cg_value number(cg *c, cg_value like, double x) { return cg_fill(c, type_of(like), x); }
static LLVMTypeRef bits_type(cg *c, cg_value x) { return cg_vector(c->i32, cg_lanes_of(x)); }
static cg_value to_bits(cg *c, cg_value x) { return LLVMBuildBitCast(c->b, x, bits_type(c, x), ""); }
static cg_value from_bits(cg *c, cg_value x)
{
    return LLVMBuildBitCast(c->b, x, cg_vector(c->f32, cg_lanes_of(x)), "");
}
static cg_value unary(cg *c, const char *intrinsic, cg_value x) { return cg_intrinsic(c, intrinsic, 1, &x); }
static cg_value copysign_of(cg *c, cg_value magnitude, cg_value sign)
{
    cg_value arg[] = {magnitude, sign};
    return cg_intrinsic(c, "llvm.copysign", 2, arg);
}

/* coefficient[0] x^(count-1) + ... + coefficient[count-1] */
static cg_value polynomial(cg *c, cg_value x, int count, const double *coefficient)
{
    cg_value p = number(c, x, coefficient[0]);
    for (int i = 1; i < count; i++) p = cg_fma(c, p, x, number(c, x, coefficient[i]));
    return p;
}

/* ---- exponentials --------------------------------------------------------------------------- */

/* The bound where x is below or above it; NaN stays. */
static cg_value at_least(cg *c, cg_value x, double bound)
{
    cg_value low = number(c, x, bound);
    return cg_select(c, cg_fcmp(c, LLVMRealOGT, low, x), low, x);
}

static cg_value at_most(cg *c, cg_value x, double bound)
{
    cg_value high = number(c, x, bound);
    return cg_select(c, cg_fcmp(c, LLVMRealOLT, high, x), high, x);
}

static cg_value clamp(cg *c, cg_value x, double low, double high) { return at_most(c, at_least(c, x, low), high); }

/* x = n ln 2 + r with |r| <= ln 2 / 2: gives e^r - 1 (0.3 ulp and its rounding), and in *out_n the number n + bias in the
 * low bits of integer lanes. Adding 1.5 * 2^23 rounds to the nearest integer and leaves it there: no conversion that NaN
 * could break. */
static cg_value reduce_exp(cg *c, cg_value x, int bias, cg_value *out_n)
{
    static const double tail[] = {1.38825164316856e-3, 8.366547130459086e-3, 4.166720071215283e-2, 1.6666543424277894e-1,
                                  4.999999814961832e-1};
    const double magic = 12582912.0 + bias;
    cg_value t = cg_fma(c, x, number(c, x, 1.44269504088896341), number(c, x, magic));
    cg_value n = cg_fsub(c, t, number(c, x, magic));
    cg_value r = cg_fma(c, n, number(c, x, -0.693359375), x);
    r = cg_fma(c, n, number(c, x, 2.12194440e-4), r);
    *out_n = to_bits(c, t);
    return cg_fma(c, polynomial(c, r, countof(tail), tail), cg_fmul(c, r, r), r);
}

/* The number whose exponent field is the low bits of n: 2^(n - 127); 0 gives 0. What lies above them drops out. */
static cg_value with_exponent(cg *c, cg_value n)
{
    return from_bits(c, LLVMBuildShl(c->b, n, cg_fill(c, type_of(n), 23), ""));
}

/* By two factors, so that results below the normal range and infinity come out right. */
cg_value cg_math_exp(cg *c, cg_value x) /* 1 ulp */
{
    if (!is_f32(c, x)) return cg_libm(c, "exp", 1, &x);
    cg_value n, part = reduce_exp(c, clamp(c, x, -104, 89), 2 * 127, &n);
    cg_value half = LLVMBuildLShr(c->b, n, cg_fill(c, type_of(n), 1), "");
    cg_value scale = with_exponent(c, half), rest = with_exponent(c, cg_sub(c, n, half));
    return cg_fmul(c, cg_fma(c, scale, part, scale), rest);
}

cg_value cg_math_exp_falling(cg *c, cg_value x) /* 1 ulp */
{
    if (!is_f32(c, x)) return cg_math_exp(c, x);
    cg_value n, part = reduce_exp(c, at_least(c, x, -88), 127, &n), scale = with_exponent(c, n);
    return cg_fma(c, scale, part, scale);
}

cg_value cg_math_expm1(cg *c, cg_value x) /* 2 ulp */
{
    if (!is_f32(c, x)) return cg_libm(c, "expm1", 1, &x);
    cg_value n, part = reduce_exp(c, clamp(c, x, -80, 89), 127 - 1, &n), half = with_exponent(c, n);
    cg_value value = cg_fma(c, half, part, cg_fsub(c, half, number(c, x, 0.5)));
    return copysign_of(c, cg_fadd(c, value, value), x); /* keeps -0 */
}

/* 1 / (1 + e^-x), where the 1 is added to the smaller of two parts. */
cg_value cg_math_logistic(cg *c, cg_value x) /* 2 ulp */
{
    cg_value one = number(c, x, 1), n;
    if (!is_f32(c, x)) return cg_fdiv(c, one, cg_fadd(c, one, cg_math_exp(c, LLVMBuildFNeg(c->b, x, ""))));
    cg_value part = reduce_exp(c, LLVMBuildFNeg(c->b, clamp(c, x, -88, 87), ""), 127, &n), scale = with_exponent(c, n);
    return cg_fdiv(c, one, cg_fadd(c, scale, cg_fma(c, scale, part, one)));
}

/* e^-2|x| - 1 and e^-2|x| + 1, each rounded by itself, are exact enough for all x: no second polynomial near 0. */
cg_value cg_math_tanh(cg *c, cg_value x) /* 2 ulp */
{
    if (!is_f32(c, x)) return cg_libm(c, "tanh", 1, &x);
    cg_value one = number(c, x, 1), a = at_most(c, unary(c, "llvm.fabs", x), 10), n;
    cg_value part = reduce_exp(c, LLVMBuildFNeg(c->b, cg_fadd(c, a, a), ""), 127, &n), scale = with_exponent(c, n);
    cg_value up = cg_fma(c, LLVMBuildFNeg(c->b, scale, ""), part, cg_fsub(c, one, scale));
    return copysign_of(c, cg_fdiv(c, up, cg_fma(c, scale, part, cg_fadd(c, one, scale))), x);
}

/* ---- logarithms ----------------------------------------------------------------------------- */

/* x > 0 as m * 2^e with m in sqrt(1/2) .. sqrt(2); gives m - 1 and e. */
static cg_value split_log(cg *c, cg_value x, cg_value *out_exponent)
{
    LLVMTypeRef t = bits_type(c, x), f = type_of(x);
    cg_value tiny = cg_fcmp(c, LLVMRealOLT, x, number(c, x, 1.17549435082228751e-38));
    cg_value u = to_bits(c, cg_select(c, tiny, cg_fmul(c, x, number(c, x, 8388608.0)), x));
    cg_value e = cg_sub(c, LLVMBuildLShr(c->b, u, cg_fill(c, t, 23), ""), cg_fill(c, t, 126));
    cg_value exponent = LLVMBuildSIToFP(c->b, e, f, "");
    exponent = cg_select(c, tiny, cg_fsub(c, exponent, number(c, x, 23)), exponent);
    cg_value m = from_bits(c, cg_or(c, cg_and(c, u, cg_fill(c, t, 0x7fffff)), cg_fill(c, t, 0x3f000000)));
    cg_value low = cg_fcmp(c, LLVMRealOLT, m, number(c, x, 0.707106781186547524));
    *out_exponent = cg_select(c, low, cg_fsub(c, exponent, number(c, x, 1)), exponent);
    return cg_fsub(c, cg_select(c, low, cg_fadd(c, m, m), m), number(c, x, 1));
}

cg_value cg_math_log(cg *c, cg_value x) /* 1 ulp */
{
    static const double tail[] = {7.0376836292E-2,  -1.1514610310E-1, 1.1676998740E-1,
                                  -1.2420140846E-1, 1.4249322787E-1,  -1.6668057665E-1,
                                  2.0000714765E-1,  -2.4999993993E-1, 3.3333331174E-1};
    if (!is_f32(c, x)) return cg_libm(c, "log", 1, &x);
    cg_value e, m = split_log(c, x, &e), z = cg_fmul(c, m, m);
    cg_value p = cg_fmul(c, cg_fmul(c, polynomial(c, m, countof(tail), tail), m), z);
    p = cg_fma(c, e, number(c, x, -2.12194440e-4), p);
    p = cg_fma(c, z, number(c, x, -0.5), p);
    p = cg_fma(c, e, number(c, x, 0.693359375), cg_fadd(c, m, p));
    p = cg_select(c, cg_fcmp(c, LLVMRealOEQ, x, number(c, x, HUGE_VAL)), x, p);
    p = cg_select(c, cg_fcmp(c, LLVMRealOEQ, x, number(c, x, 0)), number(c, x, -HUGE_VAL), p);
    return cg_select(c, cg_fcmp(c, LLVMRealUGE, x, number(c, x, 0)),
                     cg_select(c, cg_fcmp(c, LLVMRealUNO, x, x), x, p), number(c, x, NAN));
}

/* The error of 1 + x is made good by the factor x / ((1 + x) - 1). */
cg_value cg_math_log1p(cg *c, cg_value x) /* 3 ulp */
{
    if (!is_f32(c, x)) return cg_libm(c, "log1p", 1, &x);
    cg_value one = number(c, x, 1), u = cg_fadd(c, x, one), d = cg_fsub(c, u, one);
    cg_value value = cg_fmul(c, cg_math_log(c, u), cg_fdiv(c, x, d));
    cg_value same =
        cg_or(c, cg_fcmp(c, LLVMRealOEQ, u, one), cg_fcmp(c, LLVMRealOEQ, x, number(c, x, HUGE_VAL)));
    return cg_select(c, same, x, value);
}

/* ---- error function ------------------------------------------------------------------------- */

/* 1 - e^-w, w = -log(1 - erf |x|) / |x| as a polynomial in |x|: what is left of it where erf ends at 1 are small errors. */
cg_value cg_math_erf(cg *c, cg_value x) /* 4 ulp */
{
    static const double fall[] = {4.070219994178648e-5,     -3.8095753552015076e-4, 1.2516210735925848e-3,
                                  2.0589575337485598e-4,    -1.932184854937379e-2,  1.0281445877572322e-1,
                                  6.36616489403725e-1,      1.1283792073584773};
    if (!is_f32(c, x)) return cg_libm(c, "erf", 1, &x);
    cg_value one = number(c, x, 1), a = at_most(c, unary(c, "llvm.fabs", x), 3.95), n;
    cg_value w = cg_fmul(c, polynomial(c, a, countof(fall), fall), a);
    cg_value part = reduce_exp(c, LLVMBuildFNeg(c->b, w, ""), 127, &n), scale = with_exponent(c, n);
    return copysign_of(c, cg_fma(c, LLVMBuildFNeg(c->b, scale, ""), part, cg_fsub(c, one, scale)), x);
}

/* Giles's approximation in w = -log(1 - x^2); in f64 two steps of Newton's method follow. */
cg_value cg_math_erf_inv(cg *c, cg_value x) /* 8 ulp */
{
    static const double centre[] = {2.81022636e-08,  3.43273939e-07, -3.5233877e-06,
                                    -4.39150654e-06, 0.00021858087,  -0.00125372503,
                                    -0.00417768164,  0.246640727,    1.50140941};
    static const double tail[] = {-0.000200214257, 0.000100950558, 0.00134934322,
                                  -0.00367342844,  0.00573950773,  -0.0076224613,
                                  0.00943887047,   1.00167406,     2.83297682};
    cg_value one = number(c, x, 1), zero = number(c, x, 0);
    cg_value w = LLVMBuildFNeg(c->b, cg_math_log1p(c, LLVMBuildFNeg(c->b, cg_fmul(c, x, x), "")), "");
    cg_value low = polynomial(c, cg_fsub(c, w, number(c, x, 2.5)), countof(centre), centre);
    cg_value high = cg_fsub(c, unary(c, "llvm.sqrt", w), number(c, x, 3));
    high = polynomial(c, high, countof(tail), tail);
    cg_value y = cg_fmul(c, cg_select(c, cg_fcmp(c, LLVMRealOLT, w, number(c, x, 5)), low, high), x);
    for (int i = 0; i < 2 && !is_f32(c, x); i++) {
        cg_value slope = cg_fmul(c, cg_math_exp(c, cg_fmul(c, y, y)), number(c, x, 0.88622692545275801));
        y = cg_fsub(c, y, cg_fmul(c, cg_fsub(c, cg_math_erf(c, y), x), slope));
    }
    cg_value a = unary(c, "llvm.fabs", x);
    y = cg_select(c, cg_fcmp(c, LLVMRealOEQ, a, one), copysign_of(c, number(c, x, HUGE_VAL), x), y);
    y = cg_select(c, cg_fcmp(c, LLVMRealOGT, a, one), number(c, x, NAN), y);
    return cg_select(c, cg_fcmp(c, LLVMRealOEQ, x, zero), x, y);
}

/* ---- trigonometry --------------------------------------------------------------------------- */

/* x = n pi/2 + r, by doubles and a pi of 106 bits; gives r in f32 and n mod 4 as integer lanes. */
static cg_value reduce_angle(cg *c, cg_value x, cg_value *out_quadrant)
{
    LLVMTypeRef wide = cg_vector(c->f64, cg_lanes_of(x)), whole = cg_vector(c->i64, cg_lanes_of(x));
    const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
    cg_value d = LLVMBuildFPExt(c->b, x, wide, "");
    cg_value t = cg_fadd(c, cg_fmul(c, d, cg_fill(c, wide, 0.63661977236758134308)), cg_fill(c, wide, magic));
    cg_value n = cg_fsub(c, t, cg_fill(c, wide, magic));
    cg_value r = cg_fma(c, n, cg_fill(c, wide, -1.57079632679489655800), d);
    r = cg_fma(c, n, cg_fill(c, wide, -6.12323399573676603587e-17), r);
    cg_value low = LLVMBuildTrunc(c->b, LLVMBuildBitCast(c->b, t, whole, ""), bits_type(c, x), "");
    *out_quadrant = cg_and(c, low, cg_fill(c, bits_type(c, x), 3));
    return LLVMBuildFPTrunc(c->b, r, type_of(x), "");
}

static cg_value sine_of(cg *c, cg_value r)
{
    static const double p[] = {-1.9515295891E-4, 8.3321608736E-3, -1.6666654611E-1};
    cg_value z = cg_fmul(c, r, r);
    return cg_fmul(c, cg_fma(c, polynomial(c, z, countof(p), p), z, number(c, r, 1)), r); /* keeps -0 */
}

static cg_value cosine_of(cg *c, cg_value r)
{
    static const double p[] = {2.443315711809948E-5, -1.388731625493765E-3, 4.166664568298827E-2};
    cg_value z = cg_fmul(c, r, r), half = cg_fma(c, z, number(c, r, -0.5), number(c, r, 1));
    return cg_fma(c, cg_fmul(c, polynomial(c, z, countof(p), p), z), z, half);
}

/* sin of an angle of `quadrant` quarter turns and r. */
static cg_value sine_in(cg *c, cg_value quadrant, cg_value r)
{
    LLVMTypeRef t = type_of(quadrant);
    cg_value odd = cg_icmp(c, LLVMIntNE, cg_and(c, quadrant, cg_fill(c, t, 1)), LLVMConstNull(t));
    cg_value flip = cg_icmp(c, LLVMIntNE, cg_and(c, quadrant, cg_fill(c, t, 2)), LLVMConstNull(t));
    cg_value y = cg_select(c, odd, cosine_of(c, r), sine_of(c, r));
    return cg_select(c, flip, LLVMBuildFNeg(c->b, y, ""), y);
}

cg_value cg_math_sin(cg *c, cg_value x) /* 2 ulp while |x| < 1e9 */
{
    if (!is_f32(c, x)) return cg_libm(c, "sin", 1, &x);
    cg_value quadrant, r = reduce_angle(c, x, &quadrant);
    return sine_in(c, quadrant, r);
}

cg_value cg_math_cos(cg *c, cg_value x) /* 2 ulp while |x| < 1e9 */
{
    if (!is_f32(c, x)) return cg_libm(c, "cos", 1, &x);
    cg_value quadrant, r = reduce_angle(c, x, &quadrant);
    return sine_in(c, cg_add(c, quadrant, cg_fill(c, type_of(quadrant), 1)), r);
}

cg_value cg_math_tan(cg *c, cg_value x) /* 4 ulp while |x| < 1e9 */
{
    if (!is_f32(c, x)) return cg_libm(c, "tan", 1, &x);
    cg_value quadrant, r = reduce_angle(c, x, &quadrant);
    cg_value next = cg_add(c, quadrant, cg_fill(c, type_of(quadrant), 1));
    return cg_fdiv(c, sine_in(c, quadrant, r), sine_in(c, next, r));
}

/* ---- digamma, trigamma ---------------------------------------------------------------------- */

/* Where the asymptotic series of x holds: reflected to x > 0, then moved above 10 by the recurrence. */
typedef struct raised {
    cg_value y, terms, negative; /* terms: the sum of the recurrence's 1 / y^power */
} raised;

static raised raise_above_ten(cg *c, cg_value x, int power)
{
    cg_value one = number(c, x, 1), zero = number(c, x, 0);
    raised r = {.negative = cg_fcmp(c, LLVMRealOLT, x, zero), .terms = zero};
    r.y = cg_select(c, r.negative, cg_fsub(c, one, x), x);
    for (int i = 0; i < 10; i++) {
        cg_value low = cg_fcmp(c, LLVMRealOLT, r.y, number(c, x, 10));
        cg_value below = power == 1 ? r.y : cg_fmul(c, r.y, r.y);
        r.terms = cg_select(c, low, cg_fadd(c, r.terms, cg_fdiv(c, one, below)), r.terms);
        r.y = cg_select(c, low, cg_fadd(c, r.y, one), r.y);
    }
    return r;
}

cg_value cg_math_digamma(cg *c, cg_value x) /* poles give NaN */
{
    static const double series[] = {1.0 / 132, -1.0 / 240, 1.0 / 252, -1.0 / 120, 1.0 / 12};
    const double pi = 3.14159265358979323846;
    const raised s = raise_above_ten(c, x, 1);
    cg_value one = number(c, x, 1), zero = number(c, x, 0);
    cg_value r = cg_fdiv(c, one, cg_fmul(c, s.y, s.y));
    cg_value tail = cg_fmul(c, r, polynomial(c, r, countof(series), series));
    cg_value value = cg_fsub(c, cg_math_log(c, s.y), cg_fdiv(c, number(c, x, 0.5), s.y));
    value = cg_fsub(c, cg_fsub(c, value, tail), s.terms);
    cg_value turn = cg_fsub(c, x, unary(c, "llvm.floor", x));
    cg_value mirrored = cg_fdiv(c, number(c, x, pi), cg_math_tan(c, cg_fmul(c, turn, number(c, x, pi))));
    value = cg_select(c, s.negative, cg_fsub(c, value, mirrored), value);
    cg_value pole = cg_and(c, cg_fcmp(c, LLVMRealOLE, x, zero), cg_fcmp(c, LLVMRealOEQ, turn, zero));
    return cg_select(c, pole, number(c, x, NAN), value);
}

cg_value cg_math_trigamma(cg *c, cg_value x) /* poles give infinity */
{
    static const double series[] = {5.0 / 66, -1.0 / 30, 1.0 / 42, -1.0 / 30, 1.0 / 6};
    const double pi = 3.14159265358979323846;
    const raised s = raise_above_ten(c, x, 2);
    cg_value inverse = cg_fdiv(c, number(c, x, 1), s.y), r = cg_fmul(c, inverse, inverse);
    cg_value tail = cg_fmul(c, cg_fmul(c, r, inverse), polynomial(c, r, countof(series), series));
    cg_value value = cg_fadd(c, s.terms, cg_fadd(c, cg_fma(c, r, number(c, x, 0.5), inverse), tail));
    cg_value turn = cg_fsub(c, x, unary(c, "llvm.floor", x));
    cg_value root = cg_fdiv(c, number(c, x, pi), cg_math_sin(c, cg_fmul(c, turn, number(c, x, pi))));
    return cg_select(c, s.negative, cg_fsub(c, cg_fmul(c, root, root), value), value);
}
