/* ops_binary.c: elementwise operations of keras.ops on two and three operands. */
#include "frontend/ops.h"

#include <math.h>
#include <string.h>

bool op_build_arithmetic(op_use *u, fe_value *out)
{
    ir_value a, b;
    const bool found = u->op->op == OP_atan2
                           ? op_find_strong_pair(u, "x1", "x2", true, &a, &b)
                           : op_find_pair(u, "x1", "x2", strcmp(u->op->word, "real") == 0, &a, &b);
    if (!found) return false;
    if (op_type(u, a).dtype == DTYPE_i1) {
        ir_op op = u->op->op == OP_multiply || u->op->op == OP_minimum ? OP_and : OP_or;
        if (u->op->op == OP_subtract || u->op->op == OP_power)
            return op_error(u, "expected numbers, found bools");
        return op_finish(u, op_map2(u, op, a, b), out);
    }
    return op_finish(u, op_map2(u, u->op->op, a, b), out);
}

bool op_build_compare(op_use *u, fe_value *out)
{
    ir_value a, b;
    return op_find_strong_pair(u, "x1", "x2", false, &a, &b) &&
           op_finish(u, op_compare(u, u->op->word, a, b), out);
}

bool op_build_logical(op_use *u, fe_value *out)
{
    ir_value a, b;
    if (!op_find_strong_pair(u, "x1", "x2", false, &a, &b)) return false;
    return op_finish(u, op_map2(u, u->op->op, op_truth(u, a), op_truth(u, b)), out);
}

/* A shift by less than 0 is one by 0, by more than all bits one by all but the last. */
static ir_value clamp_shift(op_use *u, ir_value by)
{
    const double most = (double)ir_dtype_size(op_type(u, by).dtype) * 8 - 1;
    return op_map_number(u, OP_minimum, op_map_number(u, OP_maximum, by, 0), most);
}

bool op_build_bitwise(op_use *u, fe_value *out)
{
    ir_value a, b;
    if (!op_find_pair(u, "x", "y", false, &a, &b)) return false;
    const ir_dtype dtype = op_type(u, a).dtype;
    ir_op op = u->op->op;
    if (ir_dtype_is_float(dtype)) return op_error(u, "expected integers, found floating numbers");
    if (op == OP_shift_right_arithmetic && ir_dtype_class_of(dtype) == DTYPE_UNSIGNED)
        op = OP_shift_right_logical;
    if (op == OP_shift_left || op == OP_shift_right_logical || op == OP_shift_right_arithmetic)
        b = clamp_shift(u, b);
    return op_finish(u, op_map2(u, op, a, b), out);
}

/* ---- functions of two numbers ------------------------------------------------------------ */

typedef struct function {
    const char *name;
    bool real, strong; /* strong: Python numbers are tensors */
    ir_dtype of_i64;   /* what Keras computes 64-bit integers in */
    ir_value (*build)(op_use *u, ir_value a, ir_value b);
} function;

static bool is_float(op_use *u, ir_value x) { return ir_dtype_is_float(op_type(u, x).dtype); }
static bool is_unsigned(op_use *u, ir_value x)
{
    return ir_dtype_class_of(op_type(u, x).dtype) == DTYPE_UNSIGNED;
}

static ir_value build_floor_divide(op_use *u, ir_value a, ir_value b)
{
    if (is_float(u, a)) return op_map1(u, OP_floor, op_map2(u, OP_divide, a, b));
    ir_value quotient = op_map2(u, OP_divide, a, b);
    if (is_unsigned(u, a)) return quotient;
    ir_value rest = op_map2(u, OP_remainder, a, b);
    ir_value other =
        op_map2(u, OP_xor, op_compare_number(u, "LT", rest, 0), op_compare_number(u, "LT", b, 0));
    ir_value adjust = op_map2(u, OP_and, other, op_compare_number(u, "NE", rest, 0));
    return op_choose(u, adjust, op_map_number(u, OP_subtract, quotient, 1), quotient);
}

static ir_value build_fmod(op_use *u, ir_value a, ir_value b) { return op_map2(u, OP_remainder, a, b); }

/* a / b, and 0 where b is 0; neither the value nor the gradient divides by 0. */
static ir_value build_divide_no_nan(op_use *u, ir_value a, ir_value b)
{
    ir_value is_zero = op_compare_number(u, "EQ", b, 0);
    ir_value quotient = op_map2(u, OP_divide, a, op_choose(u, is_zero, op_number(u, b, 1), b));
    return op_choose(u, is_zero, op_number(u, b, 0), quotient);
}

static ir_value build_hypot(op_use *u, ir_value a, ir_value b)
{
    a = op_map1(u, OP_abs, a);
    b = op_map1(u, OP_abs, b);
    ir_value most = op_map2(u, OP_maximum, a, b),
             ratio = build_divide_no_nan(u, op_map2(u, OP_minimum, a, b), most);
    ir_value sum = op_map_number(u, OP_add, op_map2(u, OP_multiply, ratio, ratio), 1);
    return op_map2(u, OP_multiply, most, op_map1(u, OP_sqrt, sum));
}

static ir_value build_log_add(op_use *u, ir_value a, ir_value b, double base)
{
    ir_value delta = op_map2(u, OP_subtract, a, b);
    ir_value small = op_map_number(u, OP_multiply, op_map1(u, OP_abs, delta), -base);
    small = op_map1(u, OP_log_plus_one, op_map1(u, OP_exponential, small));
    if (base != 1) small = op_map_number(u, OP_divide, small, base);
    ir_value sum = op_map2(u, OP_add, op_map2(u, OP_maximum, a, b), small);
    return op_choose(u, op_is_nan(u, delta), op_map2(u, OP_add, a, b), sum);
}

static ir_value build_logaddexp(op_use *u, ir_value a, ir_value b) { return build_log_add(u, a, b, 1); }
static ir_value build_logaddexp2(op_use *u, ir_value a, ir_value b) { return build_log_add(u, a, b, log(2)); }

static ir_value choose_number(op_use *u, ir_value a, ir_value b, ir_op op)
{
    if (!is_float(u, a)) return op_map2(u, op, a, b);
    ir_value extreme = op_choose(u, op_is_nan(u, b), a, op_map2(u, op, a, b));
    return op_choose(u, op_is_nan(u, a), b, extreme);
}

static ir_value build_fmax(op_use *u, ir_value a, ir_value b) { return choose_number(u, a, b, OP_maximum); }
static ir_value build_fmin(op_use *u, ir_value a, ir_value b) { return choose_number(u, a, b, OP_minimum); }

static ir_value build_heaviside(op_use *u, ir_value a, ir_value b)
{
    ir_value high = op_choose(u, op_compare_number(u, "GT", a, 0), op_number(u, a, 1), b);
    return op_choose(u, op_compare_number(u, "LT", a, 0), op_number(u, a, 0), high);
}

static ir_value build_ldexp(op_use *u, ir_value a, ir_value b)
{
    ir_value product = op_map2(u, OP_multiply, a, op_map2(u, OP_power, op_number(u, b, 2), b));
    ir_value infinite = op_compare_number(u, "EQ", op_map1(u, OP_abs, a), INFINITY);
    return op_choose(u, op_map2(u, OP_or, infinite, op_compare_number(u, "EQ", a, 0)), a, product);
}

static const function functions[] = {
    {"FloorDivide", false, false, DTYPE_i64, build_floor_divide},
    {"Mod", false, true, DTYPE_i64, op_floor_mod},
    {"Fmod", false, true, DTYPE_i64, build_fmod},
    {"DivideNoNan", true, false, DTYPE_f32, build_divide_no_nan},
    {"Hypot", true, true, DTYPE_f64, build_hypot},
    {"Logaddexp", true, true, DTYPE_f32, build_logaddexp},
    {"Logaddexp2", true, true, DTYPE_f32, build_logaddexp2},
    {"Fmax", false, false, DTYPE_i64, build_fmax},
    {"Fmin", false, false, DTYPE_i64, build_fmin},
    {"Heaviside", true, true, DTYPE_f64, build_heaviside},
    {"Ldexp", true, true, DTYPE_f32, build_ldexp},
};

bool op_build_function2(op_use *u, fe_value *out)
{
    const function *f = functions;
    ir_value a, b;
    while (strcmp(f->name, u->op->name) != 0) {
        f++;
        bug_if(f == functions + countof(functions), "no function %s", u->op->name);
    }
    if (!(f->strong ? op_find_strong_pair : op_find_pair)(u, "x1", "x2", false, &a, &b)) return false;
    const ir_dtype given = op_type(u, a).dtype, dtype = given == DTYPE_i64 ? f->of_i64 : op_real(given);
    if (f->real) {
        a = ir_build_convert(u->l->g, a, dtype);
        b = ir_build_convert(u->l->g, b, dtype);
    }
    const bool is_bool = op_type(u, a).dtype == DTYPE_i1;
    if (is_bool) {
        a = ir_build_convert(u->l->g, a, DTYPE_i32);
        b = ir_build_convert(u->l->g, b, DTYPE_i32);
    }
    ir_value y = f->build(u, a, b);
    const bool stays = u->op->name[0] == 'F' && u->op->name[1] == 'm' && strcmp(u->op->name, "Fmod") != 0;
    return op_finish(u, is_bool && stays ? op_truth(u, y) : y, out);
}

/* ---- closeness, membership, bins --------------------------------------------------------- */

bool op_build_isclose(op_use *u, fe_value *out)
{
    ir_value a, b;
    double relative, absolute;
    bool equal_nan;
    if (!op_find_strong_pair(u, "x1", "x2", false, &a, &b) || !op_find_number_or(u, "rtol", 1e-5, &relative) ||
        !op_find_number_or(u, "atol", 1e-8, &absolute) || !op_find_bool(u, "equal_nan", false, &equal_nan))
        return false;
    ir_value close;
    if (is_float(u, a)) {
        ir_value bound = op_map_number(u, OP_multiply, op_map1(u, OP_abs, b), relative);
        close = op_compare(u, "LE", op_map1(u, OP_abs, op_map2(u, OP_subtract, a, b)),
                           op_map_number(u, OP_add, bound, absolute));
        if (equal_nan) close = op_map2(u, OP_or, close, op_map2(u, OP_and, op_is_nan(u, a), op_is_nan(u, b)));
    } else {
        close = op_compare(u, "EQ", a, b);
    }
    if (strcmp(u->op->word, "all") == 0) {
        int64_t axis[IR_MAX_RANK];
        const int rank = op_type(u, close).rank;
        for (int i = 0; i < rank; i++) axis[i] = i;
        close = ir_build_reduce(u->l->g, "and", close, rank, axis, false);
    }
    return op_finish(u, close, out);
}

/* a compared with each element of the row b: [..., b's size]. */
static bool compare_with_row(op_use *u, const char *direction, ir_value a, ir_value b, ir_value *out)
{
    ir_type t = op_type(u, a);
    const ir_type row = op_type(u, b);
    if (row.rank != 1 || row.dim[0].batch) return op_fail_shape(u, "one row of a fixed size", &row);
    if (t.rank == IR_MAX_RANK) return op_fail_shape(u, "a tensor with fewer dimensions", &t);
    t.dim[t.rank] = row.dim[0];
    t.rank++;
    if (!op_check_type(u, &t)) return false;
    *out = op_compare(u, direction, op_insert_dim(u, a, t.rank - 1), b);
    return true;
}

bool op_build_isin(op_use *u, fe_value *out)
{
    ir_value a, b, equal;
    bool invert;
    if (!op_find_tensor(u, "x1", &a) || !op_find_tensor(u, "x2", &b) ||
        !op_find_bool(u, "invert", false, &invert))
        return false;
    const ir_dtype dtype = fe_result_type(op_type(u, a).dtype, op_type(u, b).dtype);
    const ir_type t = op_type(u, b);
    if (!op_check_type(u, &t)) return false;
    a = ir_build_convert(u->l->g, a, dtype);
    b = op_flatten(u, ir_build_convert(u->l->g, b, dtype));
    if (!compare_with_row(u, "EQ", a, b, &equal)) return false;
    equal = op_reduce(u, "or", equal, op_type(u, equal).rank - 1, false);
    return op_finish(u, invert ? op_map1(u, OP_not, equal) : equal, out);
}

static ir_value count_true(op_use *u, ir_value flags)
{
    return op_reduce(u, "add", ir_build_convert(u->l->g, flags, DTYPE_i32), op_type(u, flags).rank - 1,
                     false);
}

/* How many bounds are not above x. */
bool op_build_digitize(op_use *u, fe_value *out)
{
    ir_value x, bins, above;
    if (!op_find_tensor(u, "x", &x) || !op_find_tensor(u, "bins", &bins)) return false;
    const ir_dtype dtype = op_type(u, x).dtype;
    if (dtype != DTYPE_f64) x = ir_build_convert(u->l->g, x, DTYPE_f32);
    bins = ir_build_convert(u->l->g, bins, op_type(u, x).dtype);
    return compare_with_row(u, "GE", x, bins, &above) && op_finish(u, count_true(u, above), out);
}

bool op_build_search_sorted(op_use *u, fe_value *out)
{
    ir_value row, x, before;
    const char *side;
    if (!op_find_tensor(u, "sorted_sequence", &row) || !op_find_tensor(u, "values", &x)) return false;
    if (!op_find_text(u, "side", &side)) return false;
    const ir_dtype dtype = fe_result_type(op_type(u, row).dtype, op_type(u, x).dtype);
    row = ir_build_convert(u->l->g, row, dtype);
    x = ir_build_convert(u->l->g, x, dtype);
    if (!compare_with_row(u, strcmp(side, "right") == 0 ? "GE" : "GT", x, row, &before)) return false;
    return op_finish(u, count_true(u, before), out);
}

/* ---- choices ----------------------------------------------------------------------------- */

static bool choose_checked(op_use *u, ir_value condition, ir_value a, ir_value b, ir_value *out)
{
    ir_type all = op_type(u, a), other = op_type(u, b), test = op_type(u, condition);
    if (!ir_broadcast_shapes(&all, &other, &all) || !ir_broadcast_shapes(&all, &test, &all)) {
        return op_error(u, "expected inputs whose shapes fit, found %s and %s",
                        fe_shape_show(u->l->fe, &test), fe_shape_show(u->l->fe, &all));
    }
    if (!op_check_type(u, &all)) return false;
    *out = op_choose(u, op_truth(u, condition), a, b);
    return true;
}

bool op_build_where(op_use *u, fe_value *out)
{
    ir_value condition, a, b, y;
    if (!op_find_tensor(u, "condition", &condition)) return false;
    if (!op_find(u, "x1") || !op_find(u, "x2"))
        return op_error(u, "expected \"x1\" and \"x2\": without them the result has no fixed shape");
    if (!op_find_pair(u, "x1", "x2", false, &a, &b)) return false;
    return choose_checked(u, condition, a, b, &y) && op_finish(u, y, out);
}

/* The choice of the first condition that holds. */
bool op_build_select(op_use *u, fe_value *out)
{
    int conditions, choices;
    ir_value *condition, *choice, y;
    if (!op_find_list(u, "condlist", &conditions, &condition) ||
        !op_find_list(u, "choicelist", &choices, &choice))
        return false;
    if (conditions != choices) return op_error(u, "expected as many choices as conditions");
    const ir_dtype dtype = op_type(u, choice[0]).dtype;
    y = ir_build_scalar(u->l->g, dtype, 0);
    if (op_find(u, "default")) {
        if (!op_find_tensor(u, "default", &y)) return false;
        y = ir_build_convert(u->l->g, y, dtype);
    }
    for (int i = conditions - 1; i >= 0; i--) {
        if (!choose_checked(u, condition[i], choice[i], y, &y)) return false;
    }
    return op_finish(u, y, out);
}

static bool find_bound(op_use *u, const char *name, ir_dtype dtype, ir_value *out)
{
    if (!op_find_tensor_or_none(u, name, out)) return false;
    if (*out != IR_NONE) *out = ir_build_convert(u->l->g, *out, dtype);
    return true;
}

/* The gradient passes at the borders too. */
bool op_build_clip(op_use *u, fe_value *out)
{
    ir_value x, low, high;
    if (!op_find_tensor(u, "x", &x)) return false;
    if (op_type(u, x).dtype == DTYPE_i1) x = ir_build_convert(u->l->g, x, DTYPE_i32);
    const ir_dtype dtype = op_type(u, x).dtype;
    if (!find_bound(u, "x_min", dtype, &low) || !find_bound(u, "x_max", dtype, &high)) return false;
    if (high != IR_NONE) {
        if (!op_check_broadcast(u, x, high)) return false;
        x = op_choose(u, op_compare(u, "GT", x, high), high, x);
    }
    if (low != IR_NONE) {
        if (!op_check_broadcast(u, x, low)) return false;
        x = op_choose(u, op_compare(u, "LT", x, low), low, x);
    }
    return op_finish(u, x, out);
}
