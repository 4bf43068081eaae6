/* ops_linalg.c: decompositions of matrices in keras.ops, and what is made of them. A matrix that cannot be decomposed
 * gives NaN where TensorFlow stops with an error. */
#include "frontend/ops.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* A float32 or float64 tensor of matrices of a fixed size. */
static bool find_matrices(op_use *u, const char *name, bool square, ir_value *out)
{
    enum { LARGEST = 1 << 13 };
    if (!op_find_tensor(u, name, out)) return false;
    const ir_type t = op_type(u, *out);
    if (t.dtype != DTYPE_f32 && t.dtype != DTYPE_f64) return op_fail_shape(u, "float32 or float64", &t);
    if (t.rank < 2) return op_fail_shape(u, "matrices", &t);
    for (int i = t.rank - 2; i < t.rank; i++) {
        if (t.dim[i].batch) return op_fail_shape(u, "matrices without the batch among their rows and columns", &t);
        if (t.dim[i].count > LARGEST) return op_fail_shape(u, "smaller matrices", &t);
    }
    if (square && t.dim[t.rank - 1].count != t.dim[t.rank - 2].count)
        return op_fail_shape(u, "square matrices", &t);
    return op_check_type(u, &t);
}

static ir_value call(op_use *u, ir_call target, ir_value a)
{
    return ir_build_call(u->l->g, (ir_call_sizes){.call = target}, &a);
}

static ir_value part(op_use *u, ir_value tuple, int i) { return ir_build_get(u->l->g, tuple, i); }

static ir_value flip(op_use *u, ir_value x)
{
    const int rank = op_type(u, x).rank;
    return op_move_axis(u, x, rank - 1, rank - 2);
}

/* a b over the last two dims, the others one by one. */
static ir_value product(op_use *u, ir_value a, ir_value b)
{
    ir_dot dot = {.contracting_count = 1};
    const int rank = op_type(u, a).rank;
    dot.batch_count = rank - 2;
    for (int i = 0; i < rank - 2; i++) dot.lhs_batch[i] = dot.rhs_batch[i] = i;
    dot.lhs_contracting[0] = rank - 1;
    dot.rhs_contracting[0] = rank - 2;
    return ir_build_dot_general(u->l->g, a, b, &dot);
}

static ir_value identity_like(op_use *u, ir_value a)
{
    const ir_type t = op_type(u, a);
    ir_value same = op_compare(u, "EQ", op_iota(u, DTYPE_i32, &t, t.rank - 2), op_iota(u, DTYPE_i32, &t, t.rank - 1));
    return ir_build_convert(u->l->g, same, t.dtype);
}

/* ---- one factor or a number -------------------------------------------------------------- */

bool op_build_cholesky(op_use *u, fe_value *out)
{
    ir_value a;
    bool upper;
    if (!find_matrices(u, "x", true, &a) || !op_find_bool(u, "upper", false, &upper)) return false;
    ir_value l = part(u, call(u, CALL_cholesky, a), 0);
    return op_finish(u, upper ? flip(u, l) : l, out);
}

/* Of the matrix whose factor is given. */
bool op_build_cholesky_inverse(op_use *u, fe_value *out)
{
    ir_value a;
    bool upper;
    if (!find_matrices(u, "x", true, &a) || !op_find_bool(u, "upper", false, &upper)) return false;
    const ir_value in[] = {a, identity_like(u, a)};
    const ir_call_sizes s = {.call = CALL_triangular_solve, .lower = !upper};
    ir_value inverse = part(u, ir_build_call(u->l->g, s, in), 0), turned = flip(u, inverse);
    return op_finish(u, upper ? product(u, inverse, turned) : product(u, turned, inverse), out);
}

bool op_build_determinant(op_use *u, fe_value *out)
{
    ir_value a;
    return find_matrices(u, "x", true, &a) && op_finish(u, part(u, call(u, CALL_determinant, a), 0), out);
}

bool op_build_log_determinant(op_use *u, fe_value *out)
{
    ir_value a;
    if (!find_matrices(u, "x", true, &a)) return false;
    ir_value both = call(u, CALL_log_determinant, a);
    const ir_value result[] = {part(u, both, 0), part(u, both, 1)};
    return op_finish_list(u, 2, result, out);
}

/* Of a positive definite matrix: twice the sum of the logarithms of its factor's diagonal. */
bool op_build_logdet(op_use *u, fe_value *out)
{
    ir_value a;
    if (!find_matrices(u, "x", true, &a)) return false;
    ir_value l = part(u, call(u, CALL_cholesky, a), 0), unit = identity_like(u, a);
    const int rank = op_type(u, l).rank;
    ir_value diagonal = op_reduce(u, "add", op_map2(u, OP_multiply, l, unit), rank - 1, false);
    ir_value sum = op_reduce(u, "add", op_map1(u, OP_log, diagonal), rank - 2, false);
    return op_finish(u, op_map_number(u, OP_multiply, sum, 2), out);
}

bool op_build_inverse(op_use *u, fe_value *out)
{
    ir_value a;
    if (!find_matrices(u, "x", true, &a)) return false;
    const ir_value in[] = {a, identity_like(u, a)};
    return op_finish(u, part(u, ir_build_call(u->l->g, (ir_call_sizes){.call = CALL_solve}, in), 0), out);
}

/* ---- systems of equations ---------------------------------------------------------------- */

/* Solve and, with word "triangular", SolveTriangular: b is [..., n] or [..., n, k]. */
bool op_build_solve(op_use *u, fe_value *out)
{
    ir_value in[2];
    ir_call_sizes s = {.call = strcmp(u->op->word, "triangular") == 0 ? CALL_triangular_solve : CALL_solve};
    if (!find_matrices(u, "a", true, &in[0]) || !op_find_tensor(u, "b", &in[1]) ||
        !op_find_bool(u, "lower", false, &s.lower))
        return false;
    const ir_type a = op_type(u, in[0]);
    const bool single = op_type(u, in[1]).rank == a.rank - 1;
    if (single) in[1] = op_insert_dim(u, in[1], a.rank - 1);
    const ir_type b = op_type(u, in[1]);
    bool fits = b.rank == a.rank && b.dtype == a.dtype && !b.dim[b.rank - 1].batch;
    for (int i = 0; fits && i < a.rank - 1; i++) fits = ir_dim_equal(a.dim[i], b.dim[i]);
    if (!fits) return op_fail_shape(u, "a right side that fits the matrices", &b);
    ir_value x = part(u, ir_build_call(u->l->g, s, in), 0);
    return op_finish(u, single ? op_drop_dim(u, x, a.rank - 1) : x, out);
}

/* ---- factors ----------------------------------------------------------------------------- */

bool op_build_lu_factor(op_use *u, fe_value *out)
{
    ir_value a, order;
    if (!find_matrices(u, "x", true, &a)) return false;
    ir_value both = call(u, CALL_lu, a), rows = part(u, both, 1);
    op_sort(u, rows, op_type(u, rows).rank - 1, false, &order);
    const ir_value result[] = {part(u, both, 0), order};
    return op_finish_list(u, 2, result, out);
}

bool op_build_qr(op_use *u, fe_value *out)
{
    ir_value a;
    const char *mode;
    if (!find_matrices(u, "x", false, &a) || !op_find_text(u, "mode", &mode)) return false;
    const ir_call_sizes s = {.call = CALL_qr, .full = strcmp(mode, "complete") == 0};
    ir_value both = ir_build_call(u->l->g, s, &a);
    const ir_value result[] = {part(u, both, 0), part(u, both, 1)};
    return op_finish_list(u, 2, result, out);
}

bool op_build_svd(op_use *u, fe_value *out)
{
    ir_value a;
    bool full, vectors;
    if (!find_matrices(u, "x", false, &a) || !op_find_bool(u, "full_matrices", true, &full) ||
        !op_find_bool(u, "compute_uv", true, &vectors))
        return false;
    if (!vectors) return op_finish(u, part(u, call(u, CALL_singular_values, a), 0), out);
    ir_value all = ir_build_call(u->l->g, (ir_call_sizes){.call = CALL_svd, .full = full}, &a);
    const ir_value result[] = {part(u, all, 0), part(u, all, 1), part(u, all, 2)};
    return op_finish_list(u, 3, result, out);
}

bool op_build_eigh(op_use *u, fe_value *out)
{
    ir_value a;
    if (!find_matrices(u, "x", true, &a)) return false;
    ir_value both = call(u, CALL_eigh, a);
    const ir_value result[] = {part(u, both, 0), part(u, both, 1)};
    return op_finish_list(u, 2, result, out);
}

/* ---- made of singular values ------------------------------------------------------------- */

static double epsilon(op_use *u, ir_value x) { return op_type(u, x).dtype == DTYPE_f64 ? DBL_EPSILON : FLT_EPSILON; }

static double longer_side(op_use *u, ir_value a)
{
    const ir_type t = op_type(u, a);
    return (double)base_max(t.dim[t.rank - 1].count, t.dim[t.rank - 2].count);
}

/* V diag(1 / s) UT, without the singular values that are not above the limit. */
bool op_build_pinv(op_use *u, fe_value *out)
{
    ir_value a;
    double limit;
    if (!find_matrices(u, "x", false, &a) ||
        !op_find_number_or(u, "rcond", 10 * longer_side(u, a) * epsilon(u, a), &limit))
        return false;
    ir_value all = call(u, CALL_svd, a), s = part(u, all, 1);
    const int last = op_type(u, s).rank - 1;
    ir_value bound = op_map_number(u, OP_multiply, op_reduce(u, "maximum", s, last, true), limit);
    s = op_choose(u, op_compare(u, "GT", s, bound), s, op_number(u, s, INFINITY));
    ir_value v = op_map2(u, OP_divide, flip(u, part(u, all, 2)), op_insert_dim(u, s, last));
    return op_finish(u, product(u, v, flip(u, part(u, all, 0))), out);
}

bool op_build_matrix_rank(op_use *u, fe_value *out)
{
    ir_value a, bound;
    double limit;
    if (!find_matrices(u, "x", false, &a)) return false;
    ir_value s = part(u, call(u, CALL_singular_values, a), 0);
    const int last = op_type(u, s).rank - 1;
    if (op_find(u, "tol")) {
        if (!op_find_number(u, "tol", &limit)) return false;
        bound = op_number(u, s, limit);
    } else {
        bound = op_reduce(u, "maximum", s, last, true);
        bound = op_map_number(u, OP_multiply, bound, epsilon(u, a) * longer_side(u, a));
    }
    ir_value above = ir_build_convert(u->l->g, op_compare(u, "GT", s, bound), DTYPE_i32);
    return op_finish(u, op_reduce(u, "add", above, last, false), out);
}

/* The shortest of the best solutions; of one matrix, as in Keras. */
bool op_build_lstsq(op_use *u, fe_value *out)
{
    ir_value a, b;
    double limit;
    if (!find_matrices(u, "a", false, &a) || !op_find_tensor(u, "b", &b) ||
        !op_find_number_or(u, "rcond", longer_side(u, a) * epsilon(u, a), &limit))
        return false;
    if (limit < 0) limit = epsilon(u, a);
    const bool single = op_type(u, b).rank == 1;
    if (single) b = op_insert_dim(u, b, 1);
    const ir_type ta = op_type(u, a), tb = op_type(u, b);
    if (ta.rank != 2 || tb.rank != 2 || ta.dtype != tb.dtype || !ir_dim_equal(ta.dim[0], tb.dim[0]))
        return op_fail_shape(u, "one matrix and a right side that fits it", &tb);
    ir_value all = call(u, CALL_svd, a), s = part(u, all, 1);
    ir_value bound = op_map_number(u, OP_multiply, op_slice_dim(u, s, 0, 0, 1), limit);
    ir_value kept = op_compare(u, "GE", s, bound), one = op_number(u, s, 1);
    ir_value inverse = op_map2(u, OP_divide, one, op_choose(u, kept, s, one));
    inverse = op_choose(u, kept, inverse, op_number(u, s, 0));
    ir_value x = product(u, flip(u, part(u, all, 0)), b);
    x = product(u, flip(u, part(u, all, 2)), op_map2(u, OP_multiply, op_insert_dim(u, inverse, 1), x));
    return op_finish(u, single ? op_drop_dim(u, x, 1) : x, out);
}

/* Norms of matrices by their singular values: the sum, the largest (order 2) or the smallest (order -2). */
ir_value op_spectral_norm(op_use *u, ir_value x, const int64_t axis[2], const char *kind, bool keep_dims)
{
    const ir_type t = op_type(u, x);
    int64_t order[IR_MAX_RANK];
    ir_type kept = t;
    int count = 0;
    for (int i = 0; i < t.rank; i++) {
        if (i != axis[0] && i != axis[1]) order[count++] = i;
    }
    for (int i = 0; i < 2; i++) {
        if (!op_check_fixed(u, &t, axis[i], "a matrix norm along")) return IR_NONE;
        order[count++] = axis[i];
        kept.dim[axis[i]] = ir_fixed(1);
    }
    x = ir_build_convert(u->l->g, x, t.dtype == DTYPE_f64 ? DTYPE_f64 : DTYPE_f32);
    ir_value s = part(u, call(u, CALL_singular_values, ir_build_transpose(u->l->g, x, order)), 0);
    ir_value norm = op_reduce(u, kind, s, op_type(u, s).rank - 1, false);
    norm = ir_build_convert(u->l->g, norm, t.dtype);
    return keep_dims ? ir_build_reshape(u->l->g, norm, t.rank, kept.dim) : norm;
}
