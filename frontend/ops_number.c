/* ops_number.c: operations of keras.ops from number theory and numerics: common divisors, neighbours of
 * floats, Bessel's function, correlation, partitions. */
#include "frontend/ops.h"

#include <math.h>
#include <string.h>

/* ---- divisors ---------------------------------------------------------------------------- */

/* Euclid's algorithm, as many steps as the worst pair of numbers of this size takes. */
static ir_value build_divisor(op_use *u, ir_value a, ir_value b)
{
    const int steps = (int)(ir_dtype_size(op_type(u, a).dtype) * 8 * 3 / 2);
    ir_value zero = op_number(u, a, 0), one = op_number(u, a, 1);
    for (int i = 0; i < steps; i++) {
        ir_value more = op_compare(u, "NE", b, zero);
        ir_value rest = op_map2(u, OP_remainder, a, op_choose(u, more, b, one));
        a = op_choose(u, more, b, a);
        b = op_choose(u, more, rest, zero);
    }
    return a;
}

static bool find_whole(op_use *u, ir_value *a, ir_value *b)
{
    if (!op_find_strong_pair(u, "x1", "x2", false, a, b)) return false;
    const ir_dtype_class class = ir_dtype_class_of(op_type(u, *a).dtype);
    if (class != DTYPE_SIGNED && class != DTYPE_UNSIGNED) return op_error(u, "expected integers");
    if (class == DTYPE_SIGNED) {
        *a = op_map1(u, OP_abs, *a);
        *b = op_map1(u, OP_abs, *b);
    }
    ir_type all;
    bug_if(!ir_broadcast_shapes(ir_type_of(u->l->g, *a), ir_type_of(u->l->g, *b), &all),
           "shapes that were checked");
    *a = ir_build_broadcast_to(u->l->g, *a, &all);
    *b = ir_build_broadcast_to(u->l->g, *b, &all);
    return true;
}

bool op_build_gcd(op_use *u, fe_value *out)
{
    ir_value a, b;
    return find_whole(u, &a, &b) && op_finish(u, build_divisor(u, a, b), out);
}

bool op_build_lcm(op_use *u, fe_value *out)
{
    ir_value a, b;
    if (!find_whole(u, &a, &b)) return false;
    ir_value divisor = build_divisor(u, a, b), none = op_compare_number(u, "EQ", divisor, 0);
    ir_value part = op_map2(u, OP_divide, b, op_choose(u, none, op_number(u, a, 1), divisor));
    return op_finish(u, op_choose(u, none, op_number(u, a, 0), op_map2(u, OP_multiply, a, part)), out);
}

/* ---- neighbours of floats ---------------------------------------------------------------- */

/* Keras takes the step in 64 bits and rounds it to the result's dtype: only 64-bit numbers move. */
bool op_build_nextafter(op_use *u, fe_value *out)
{
    ir_value a, b;
    if (!op_find_strong_pair(u, "x1", "x2", true, &a, &b)) return false;
    const ir_type ta = op_type(u, a), tb = op_type(u, b);
    const ir_dtype dtype = ta.dtype;
    ir_type both;
    if (!ir_broadcast_shapes(&ta, &tb, &both)) return false;
    a = ir_build_broadcast_to(u->l->g, a, &both);
    b = ir_build_broadcast_to(u->l->g, b, &both);
    ir_value same = op_compare(u, "EQ", a, b), lost = op_map2(u, OP_or, op_is_nan(u, a), op_is_nan(u, b)),
             next = a;
    if (dtype == DTYPE_f64) {
        const ir_type bits = ir_type_with_dtype(op_type(u, a), DTYPE_i64), floats = op_type(u, a);
        ir_value word = ir_build(u->l->g, OP_bitcast_convert, 1, &a, 0, NULL, &bits);
        ir_value grows = op_compare(u, "EQ", op_compare(u, "GT", b, a), op_compare_number(u, "GT", a, 0));
        ir_value step = op_choose(u, grows, op_number(u, word, 1), op_number(u, word, -1));
        word = op_map2(u, OP_add, word, step);
        next = ir_build(u->l->g, OP_bitcast_convert, 1, &word, 0, NULL, &floats);
        ir_value up = op_compare_number(u, "GT", b, 0);
        ir_value least = op_choose(u, up, op_number(u, a, 0x1p-1074), op_number(u, a, -0x1p-1074));
        next = op_choose(u, op_compare_number(u, "EQ", a, 0), least, next);
    }
    next = op_choose(u, same, b, next);
    return op_finish(u, op_map1(u, OP_stop_gradient, op_choose(u, lost, op_number(u, next, NAN), next)), out);
}

/* ---- Bessel's function ------------------------------------------------------------------- */

/* The power series near 0, the asymptotic one beyond; each sees only arguments of its own. */
bool op_build_i0(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_tensor(u, "x", &x)) return false;
    const ir_dtype given = op_type(u, x).dtype, dtype = given == DTYPE_i64 ? DTYPE_f64 : op_real(given);
    const bool wide = dtype == DTYPE_f64;
    const double border = wide ? 25 : 12;
    x = op_map1(u, OP_abs, ir_build_convert(u->l->g, x, wide ? DTYPE_f64 : DTYPE_f32));
    ir_value near = op_map_number(u, OP_minimum, x, border), far = op_map_number(u, OP_maximum, x, border);
    ir_value one = op_number(u, x, 1), low = one, high = one;
    ir_value square = op_map_number(u, OP_multiply, op_map2(u, OP_multiply, near, near), 0.25);
    for (int k = wide ? 60 : 30; k > 0; k--)
        low = op_map2(u, OP_add, one,
                      op_map2(u, OP_multiply, low, op_map_number(u, OP_multiply, square, 1.0 / k / k)));
    for (int k = wide ? 25 : 9; k > 0; k--) {
        ir_value factor =
            op_map2(u, OP_divide, op_number(u, x, (2.0 * k - 1) * (2.0 * k - 1) / (8.0 * k)), far);
        high = op_map2(u, OP_add, one, op_map2(u, OP_multiply, high, factor));
    }
    ir_value root = op_map1(u, OP_sqrt, op_map_number(u, OP_multiply, far, 6.283185307179586));
    high = op_map2(u, OP_divide, op_map2(u, OP_multiply, op_map1(u, OP_exponential, far), high), root);
    ir_value y = op_choose(u, op_compare_number(u, "GT", x, border), high, low);
    return op_finish(u, ir_build_convert(u->l->g, y, dtype), out);
}

/* ---- rows -------------------------------------------------------------------------------- */

static bool find_row(op_use *u, const char *name, ir_value *out)
{
    if (!op_find_tensor(u, name, out)) return false;
    const ir_type t = op_type(u, *out);
    return (t.rank == 1 && !t.dim[0].batch && t.dim[0].count <= INT32_MAX / 4) ||
           op_fail_shape(u, "one row of a fixed size", &t);
}

/* Sums of products of b with the pieces of a, which zeros surround. */
bool op_build_correlate(op_use *u, fe_value *out)
{
    ir_value a, b;
    const char *mode;
    if (!find_row(u, "x1", &a) || !find_row(u, "x2", &b) || !op_find_text(u, "mode", &mode)) return false;
    ir_dtype dtype = fe_result_type(op_type(u, a).dtype, op_type(u, b).dtype);
    dtype = dtype == DTYPE_i64 ? DTYPE_f64 : op_real(dtype);
    a = ir_build_convert(u->l->g, a, dtype);
    b = ir_build_convert(u->l->g, b, dtype);
    const int64_t n = op_type(u, a).dim[0].count, m = op_type(u, b).dim[0].count, edge = m - 1;
    const bool valid = mode[0] == '\0' || strcmp(mode, "valid") == 0, same = strcmp(mode, "same") == 0;
    if (valid && n < m) return op_error(u, "expected a first row at least as long as the second");
    if (!valid) a = ir_build_pad(u->l->g, a, op_number(u, a, 0), &edge, &edge, NULL);
    const int64_t places = valid ? n - m + 1 : n + m - 1;
    const ir_type grid = ir_type_make(DTYPE_i32, 2, (ir_dim[]){ir_fixed(places), ir_fixed(m)});
    if (!op_check_type(u, &grid)) return false;
    ir_value at = op_map2(u, OP_add, op_iota(u, DTYPE_i32, &grid, 0), op_iota(u, DTYPE_i32, &grid, 1));
    ir_value pieces = op_take(u, a, at, 0);
    ir_value y = op_contract(u, pieces, b, 1, (int64_t[]){1}, (int64_t[]){0});
    if (same && y != IR_NONE) {
        const int64_t size = base_max(n, m), start = (places - size) / 2;
        y = op_slice_dim(u, y, 0, start, start + size);
    }
    return op_finish(u, y, out);
}

/* The positions of the kth + 1 least whole numbers in order, then of the others; the taken ones count as 0
 * then. */
bool op_build_argpartition(op_use *u, fe_value *out)
{
    ir_value x, order, rest;
    int64_t kth;
    if (!op_find_tensor(u, "x", &x) || !op_find_int(u, "kth", 0, &kth)) return false;
    if (op_type(u, x).rank != 1) return op_error(u, "Keras fails to run it on more than one row");
    if (!find_row(u, "x", &x)) return false;
    const int64_t n = op_type(u, x).dim[0].count;
    kth = base_max(0, base_min(kth, n - 1));
    x = ir_build_convert(u->l->g, x, DTYPE_i32);
    op_sort(u, op_map1(u, OP_negate, x), 0, true, &order);
    ir_value first = op_slice_dim(u, order, 0, 0, kth + 1);
    if (kth == n - 1) return op_finish(u, first, out);
    const ir_type grid = ir_type_make(DTYPE_i32, 2, (ir_dim[]){ir_fixed(kth + 1), ir_fixed(n)});
    ir_value spread = ir_build_broadcast_in_dim(u->l->g, first, &grid, (int64_t[]){0});
    ir_value taken =
        op_reduce(u, "or", op_compare(u, "EQ", spread, op_iota(u, DTYPE_i32, &grid, 1)), 0, false);
    op_sort(u, op_choose(u, taken, op_number(u, x, 0), x), 0, true, &rest);
    const ir_value part[] = {first, op_slice_dim(u, rest, 0, 0, n - kth - 1)};
    return op_finish(u, ir_build_concatenate(u->l->g, 2, part, 0), out);
}
