/* ops_unary.c: elementwise operations of keras.ops on one operand. */
#include "frontend/ops.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

/* The operand's own dtype; bools stay as they are where the operation has no meaning for them. */
bool op_build_same(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_tensor(u, u->op->parameters, &x)) return false;
    if (op_type(u, x).dtype == DTYPE_i1) return op_finish(u, x, out);
    return op_finish(u, op_map1(u, u->op->op, x), out);
}

bool op_build_real(op_use *u, fe_value *out)
{
    ir_value x;
    return op_find_real(u, "x", &x) && op_finish(u, op_map1(u, u->op->op, x), out);
}

/* The operand itself: for Copy, and for real numbers the real part and the conjugate. */
bool op_build_identity(op_use *u, fe_value *out)
{
    ir_value x;
    return op_find_tensor(u, "x", &x) && op_finish(u, x, out);
}

/* ---- functions of a real number ---------------------------------------------------------- */

typedef struct function {
    const char *name;
    ir_value (*build)(op_use *u, ir_value x);
} function;

static ir_value scale(op_use *u, ir_value x, double by) { return op_map_number(u, OP_multiply, x, by); }

static ir_value build_log2(op_use *u, ir_value x) { return scale(u, op_map1(u, OP_log, x), 1 / log(2)); }
static ir_value build_log10(op_use *u, ir_value x) { return scale(u, op_map1(u, OP_log, x), 1 / log(10)); }
static ir_value build_exp2(op_use *u, ir_value x) { return op_map1(u, OP_exponential, scale(u, x, log(2))); }
static ir_value build_deg2rad(op_use *u, ir_value x) { return scale(u, x, pi / 180); }
static ir_value build_rad2deg(op_use *u, ir_value x) { return scale(u, x, 180 / pi); }

static ir_value build_reciprocal(op_use *u, ir_value x) { return op_map2(u, OP_divide, op_fill(u, x, 1), x); }

static ir_value build_erfc(op_use *u, ir_value x)
{
    return op_map2(u, OP_subtract, op_number(u, x, 1), op_map1(u, OP_erf, x));
}

/* The gradient at 0 is no number, as in Keras. */
static ir_value build_sinc(op_use *u, ir_value x)
{
    ir_value angle = scale(u, x, pi), wave = op_map2(u, OP_divide, op_map1(u, OP_sine, angle), angle);
    return op_choose(u, op_compare_number(u, "EQ", x, 0), op_number(u, x, 1), wave);
}

static ir_value build_angle(op_use *u, ir_value x)
{
    return op_choose(u, op_compare_number(u, "LT", x, 0), op_number(u, x, pi), op_number(u, x, 0));
}

static ir_value build_isinf(op_use *u, ir_value x)
{
    return op_compare_number(u, "EQ", op_map1(u, OP_abs, x), INFINITY);
}

static ir_value build_isnan(op_use *u, ir_value x) { return op_is_nan(u, x); }
static ir_value build_isposinf(op_use *u, ir_value x) { return op_compare_number(u, "EQ", x, INFINITY); }
static ir_value build_isneginf(op_use *u, ir_value x) { return op_compare_number(u, "EQ", x, -INFINITY); }

static const function functions[] = {
    {"Log2", build_log2},         {"Log10", build_log10},     {"Exp2", build_exp2},
    {"Deg2rad", build_deg2rad},   {"Rad2deg", build_rad2deg}, {"Reciprocal", build_reciprocal},
    {"Erfc", build_erfc},         {"Sinc", build_sinc},       {"Angle", build_angle},
    {"Isinf", build_isinf},       {"Isnan", build_isnan},     {"Isposinf", build_isposinf},
    {"Isneginf", build_isneginf},
};

bool op_build_function(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_real(u, "x", &x)) return false;
    for (size_t i = 0; i < countof(functions); i++) {
        if (strcmp(functions[i].name, u->op->name) == 0) return op_finish(u, functions[i].build(u, x), out);
    }
    bug("no function %s", u->op->name);
}

/* ---- those with dtypes of their own ------------------------------------------------------ */

bool op_build_fabs(op_use *u, fe_value *out)
{
    ir_value x;
    return op_find_real(u, "x", &x) && op_finish(u, op_map1(u, OP_abs, x), out);
}

bool op_build_square(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_tensor(u, "x", &x)) return false;
    if (op_type(u, x).dtype == DTYPE_i1) x = ir_build_convert(u->l->g, x, DTYPE_i32);
    return op_finish(u, op_map2(u, OP_multiply, x, x), out);
}

bool op_build_trunc(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_tensor(u, "x", &x)) return false;
    if (ir_dtype_is_float(op_type(u, x).dtype)) {
        x = op_choose(u, op_compare_number(u, "LT", x, 0), op_map1(u, OP_ceil, x), op_map1(u, OP_floor, x));
    }
    return op_finish(u, x, out);
}

bool op_build_round(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t decimals;
    if (!op_find_tensor(u, "x", &x) || !op_find_int(u, "decimals", 0, &decimals)) return false;
    const ir_dtype dtype = op_type(u, x).dtype;
    if (decimals < -300 || decimals > 300) return op_error(u, "expected a small number of decimals");
    if (!ir_dtype_is_float(dtype) && decimals >= 0) return op_finish(u, x, out);
    const double factor = pow(10, (double)decimals);
    x = ir_build_convert(u->l->g, x, op_real(dtype));
    if (decimals != 0) x = scale(u, x, factor);
    x = op_map1(u, OP_round_nearest_even, x);
    if (decimals != 0) x = op_map_number(u, OP_divide, x, factor);
    return op_finish(u, ir_build_convert(u->l->g, x, dtype), out);
}

bool op_build_signbit(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_tensor(u, "x", &x)) return false;
    ir_type t = op_type(u, x);
    if (t.dtype == DTYPE_i1) return op_finish(u, op_fill(u, x, 0), out);
    if (ir_dtype_is_float(t.dtype)) {
        t.dtype = DTYPE_i32;
        x = ir_build_convert(u->l->g, x, DTYPE_f32);
        x = ir_build(u->l->g, OP_bitcast_convert, 1, &x, 0, NULL, &t);
    }
    return op_finish(u, op_compare_number(u, "LT", x, 0), out);
}

static double largest(ir_dtype dtype)
{
    if (dtype == DTYPE_f64) return DBL_MAX;
    return dtype == DTYPE_f16 ? 65504 : dtype == DTYPE_bf16 ? 3.3895313892515355e38 : FLT_MAX;
}

bool op_build_nan_to_num(op_use *u, fe_value *out)
{
    ir_value x;
    double nan, high, low;
    if (!op_find_tensor(u, "x", &x)) return false;
    const ir_dtype dtype = op_type(u, x).dtype;
    if (!ir_dtype_is_float(dtype)) return op_finish(u, x, out);
    if (!op_find_number_or(u, "nan", 0, &nan) || !op_find_number_or(u, "posinf", largest(dtype), &high) ||
        !op_find_number_or(u, "neginf", -largest(dtype), &low))
        return false;
    x = op_choose(u, op_is_nan(u, x), op_number(u, x, nan), x);
    x = op_choose(u, op_compare_number(u, "EQ", x, INFINITY), op_number(u, x, high), x);
    return op_finish(u, op_choose(u, op_compare_number(u, "EQ", x, -INFINITY), op_number(u, x, low), x), out);
}

bool op_build_not(op_use *u, fe_value *out)
{
    ir_value x;
    return op_find_tensor(u, "x", &x) && op_finish(u, op_map1(u, OP_not, op_truth(u, x)), out);
}

bool op_build_invert(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_tensor(u, "x", &x)) return false;
    if (ir_dtype_is_float(op_type(u, x).dtype))
        return op_error(u, "expected integers, found floating numbers");
    return op_finish(u, op_map1(u, OP_not, x), out);
}

bool op_build_is_real(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_tensor(u, "x", &x)) return false;
    return op_finish(u, ir_build_fill(u->l->g, ir_type_with_dtype(op_type(u, x), DTYPE_i1), 1), out);
}

/* ---- dtypes ------------------------------------------------------------------------------ */

static void find_range(ir_dtype dtype, double *low, double *high)
{
    const int bits = 8 * (int)ir_dtype_size(dtype);
    const bool is_signed = ir_dtype_class_of(dtype) == DTYPE_SIGNED;
    *high = ldexp(1, is_signed ? bits - 1 : bits) - 1;
    *low = is_signed ? -ldexp(1, bits - 1) : 0;
}

/* SaturateCast: what integers cannot hold becomes their largest or smallest. */
bool op_build_cast(op_use *u, fe_value *out)
{
    ir_value x;
    ir_dtype dtype;
    double low, high;
    if (!op_find_tensor(u, "x", &x) || !op_find_dtype(u, "dtype", op_type(u, x).dtype, &dtype)) return false;
    if (strcmp(u->op->word, "saturate") == 0 && !ir_dtype_is_float(dtype) && dtype != DTYPE_i1) {
        find_range(dtype, &low, &high);
        if (op_type(u, x).dtype == DTYPE_i1) x = ir_build_convert(u->l->g, x, DTYPE_i32);
        double own_low = low, own_high = high;
        if (!ir_dtype_is_float(op_type(u, x).dtype)) find_range(op_type(u, x).dtype, &own_low, &own_high);
        if (own_low < low || ir_dtype_is_float(op_type(u, x).dtype)) x = op_map_number(u, OP_maximum, x, low);
        if (own_high > high || ir_dtype_is_float(op_type(u, x).dtype))
            x = op_map_number(u, OP_minimum, x, high);
    }
    if (strcmp(u->op->word, "saturate") == 0 && dtype == DTYPE_i1) x = op_compare_number(u, "GT", op_convert(u, x, DTYPE_f32), 0);
    return op_finish(u, op_convert(u, x, dtype), out);
}

bool op_build_view(op_use *u, fe_value *out)
{
    ir_value x;
    ir_dtype dtype;
    if (!op_find_tensor(u, "x", &x) || !op_find_dtype(u, "dtype", op_type(u, x).dtype, &dtype)) return false;
    const ir_type t = ir_type_with_dtype(op_type(u, x), dtype);
    if (ir_dtype_size(dtype) != ir_dtype_size(op_type(u, x).dtype))
        return op_error(u, "only views of elements of one size are supported");
    if (dtype == op_type(u, x).dtype) return op_finish(u, x, out);
    return op_finish(u, ir_build(u->l->g, OP_bitcast_convert, 1, &x, 0, NULL, &t), out);
}

/* ---- activations ------------------------------------------------------------------------- */

/* The settings of an activation, which stand among the arguments of a call or in the constructor's. */
static bool add_settings(op_use *u, const fe_value *dict, ir_record *r)
{
    for (int i = 0; dict->kind == FE_DICT && i < dict->count; i++) {
        const fe_value *v = &dict->item[i];
        const char *key = dict->key[i];
        if (strcmp(key, "x") == 0 || strcmp(key, "name") == 0 || strcmp(key, "dtype") == 0 || v->kind == FE_NULL)
            continue;
        if (v->kind != FE_NUMBER && v->kind != FE_BOOL) return op_error(u, "expected a number as \"%s\"", key);
        ir_record_add_number(u->l->fe->arena, r, key, v->number);
    }
    return true;
}

bool op_build_activation(op_use *u, fe_value *out)
{
    ir_value x;
    fe *f = u->l->fe;
    if (!op_find_tensor(u, "x", &x)) return false;
    const ir_dtype own = op_type(u, x).dtype;
    if (u->op->op == OP_maximum && !ir_dtype_is_float(own) && own != DTYPE_i1) { /* Relu and Relu6 stay whole numbers */
        x = op_map_number(u, OP_maximum, x, 0);
        return op_finish(u, strcmp(u->op->name, "Relu6") == 0 ? op_map_number(u, OP_minimum, x, 6) : x, out);
    }
    x = ir_build_convert(u->l->g, x, op_real(own));
    ir_record *r = ir_record_new(f->arena, fe_snake_case(f, u->op->name));
    if (u->op->word[0] && !op_find(u, u->op->word)) ir_record_add_number(f->arena, r, u->op->word, 1.0);
    if (!add_settings(u, &u->args->kwarg, r) || !add_settings(u, u->config, r)) return false;
    if (!fe_activation_check(f, r, u->l->layer->at)) return false;
    return op_finish(u, fe_activation_build(u->l, r, x), out);
}
