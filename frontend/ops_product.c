/* ops_product.c: products of vectors, matrices and tensors of keras.ops. */
#include "frontend/ops.h"

#include <string.h>

static ir_value add_dim(op_use *u, ir_value x, bool first)
{
    ir_type t = op_type(u, x);
    ir_dim dim[IR_MAX_RANK];
    for (int i = 0; i < t.rank; i++) dim[i + first] = t.dim[i];
    dim[first ? 0 : t.rank] = ir_fixed(1);
    return ir_build_reshape(u->l->g, x, t.rank + 1, dim);
}

/* The batch dims in front brought to one shape; false when they do not fit. */
static bool align_batches(op_use *u, ir_value *a, ir_value *b)
{
    ir_type ta = op_type(u, *a), tb = op_type(u, *b), all;
    ir_type batch_a = ta, batch_b = tb;
    batch_a.rank -= 2;
    batch_b.rank -= 2;
    if (!ir_broadcast_shapes(&batch_a, &batch_b, &all)) return false;
    ir_type target = all;
    target.rank = all.rank + 2;
    target.dim[all.rank] = ta.dim[ta.rank - 2];
    target.dim[all.rank + 1] = ta.dim[ta.rank - 1];
    *a = ir_build_broadcast_to(u->l->g, *a, &target);
    target.dim[all.rank] = tb.dim[tb.rank - 2];
    target.dim[all.rank + 1] = tb.dim[tb.rank - 1];
    *b = ir_build_broadcast_to(u->l->g, *b, &target);
    return true;
}

static bool fail_matmul(op_use *u, ir_value a, ir_value b)
{
    return op_error(u, "expected matrices that fit, found %s and %s",
                    fe_shape_show(u->l->fe, ir_type_of(u->l->g, a)),
                    fe_shape_show(u->l->fe, ir_type_of(u->l->g, b)));
}

/* The last dim of a with the second last of b; a b of rank 2 serves every batch. */
static bool build_product(op_use *u, ir_value a, ir_value b, ir_value *out)
{
    ir_type ta = op_type(u, a), tb = op_type(u, b);
    if (!ir_dim_equal(ta.dim[ta.rank - 1], tb.dim[tb.rank - 2])) return fail_matmul(u, a, b);
    if (ta.dim[ta.rank - 1].batch) return op_error(u, "products over the batch are not supported");
    ir_type result = ta;
    result.dim[ta.rank - 1] = tb.dim[tb.rank - 1];
    if (!op_check_type(u, &result)) return false;
    if (tb.rank == 2) {
        *out = ir_build_dot(u->l->g, a, b);
        return true;
    }
    if (!align_batches(u, &a, &b)) return fail_matmul(u, a, b);
    const ir_type aligned = op_type(u, a);
    if (!op_check_type(u, &aligned)) return false;
    int rank = op_type(u, a).rank;
    ir_dot dot = {.batch_count = rank - 2, .contracting_count = 1};
    for (int i = 0; i < rank - 2; i++) dot.lhs_batch[i] = dot.rhs_batch[i] = i;
    dot.lhs_contracting[0] = rank - 1;
    dot.rhs_contracting[0] = rank - 2;
    *out = ir_build_dot_general(u->l->g, a, b, &dot);
    return true;
}

bool op_build_matmul(op_use *u, fe_value *out)
{
    ir_value a, b, product = IR_NONE;
    if (!op_find_tensor(u, "x1", &a) || !op_find_tensor(u, "x2", &b)) return false;
    ir_type ta = op_type(u, a), tb = op_type(u, b);
    if (ta.rank < 1 || tb.rank < 1) return fail_matmul(u, a, b);
    const bool is_wide = ta.dtype == DTYPE_i8 && tb.dtype == DTYPE_i8 && ta.rank > 1 && tb.rank > 1;
    const ir_dtype dtype = is_wide ? DTYPE_i32 : fe_result_type(ta.dtype, tb.dtype);
    a = ir_build_convert(u->l->g, a, dtype);
    b = ir_build_convert(u->l->g, b, dtype);
    if (ta.rank == 1) a = add_dim(u, a, true);
    if (tb.rank == 1) b = add_dim(u, b, false);
    if (!build_product(u, a, b, &product)) return false;
    ir_type t = op_type(u, product);
    ir_dim dim[IR_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < t.rank; i++) {
        bool added = (i == t.rank - 2 && ta.rank == 1) || (i == t.rank - 1 && tb.rank == 1);
        if (!added) dim[rank++] = t.dim[i];
    }
    if (rank < t.rank) product = ir_build_reshape(u->l->g, product, rank, dim);
    return op_finish(u, product, out);
}

/* ---- products over chosen axes ----------------------------------------------------------- */

/* Both operands as floating numbers; *out_dtype is what the result is converted to. */
static bool find_factors(op_use *u, ir_value *a, ir_value *b, ir_dtype *out_dtype)
{
    if (!op_find_tensor(u, "x1", a) || !op_find_tensor(u, "x2", b)) return false;
    *out_dtype = fe_result_type(op_type(u, *a).dtype, op_type(u, *b).dtype);
    *a = ir_build_convert(u->l->g, *a, op_real(*out_dtype));
    *b = ir_build_convert(u->l->g, *b, op_real(*out_dtype));
    return true;
}

static bool finish_product(op_use *u, ir_value y, ir_dtype dtype, fe_value *out)
{
    return y != IR_NONE && op_finish(u, op_convert(u, y, dtype), out);
}

/* NumPy's dot (word "dot": the last axis with the last but one) and inner (the last with the last). */
bool op_build_dot(op_use *u, fe_value *out)
{
    ir_value a, b;
    ir_dtype dtype;
    if (!find_factors(u, &a, &b, &dtype)) return false;
    const int ra = op_type(u, a).rank, rb = op_type(u, b).rank;
    if (ra == 0 || rb == 0) return finish_product(u, op_map2(u, OP_multiply, a, b), dtype, out);
    const int64_t a_axis = ra - 1, b_axis = strcmp(u->op->word, "dot") == 0 && rb > 1 ? rb - 2 : rb - 1;
    return finish_product(u, op_contract(u, a, b, 1, &a_axis, &b_axis), dtype, out);
}

static bool flatten_factors(op_use *u, ir_value *a, ir_value *b)
{
    const ir_type ta = op_type(u, *a), tb = op_type(u, *b);
    if (!op_check_type(u, &ta) || !op_check_type(u, &tb)) return false;
    *a = op_flatten(u, *a);
    *b = op_flatten(u, *b);
    return true;
}

bool op_build_vdot(op_use *u, fe_value *out)
{
    ir_value a, b;
    ir_dtype dtype;
    if (!find_factors(u, &a, &b, &dtype) || !flatten_factors(u, &a, &b)) return false;
    return finish_product(u, op_contract(u, a, b, 1, (int64_t[]){0}, (int64_t[]){0}), dtype, out);
}

bool op_build_outer(op_use *u, fe_value *out)
{
    ir_value a, b;
    if (!op_find_tensor(u, "x1", &a) || !op_find_tensor(u, "x2", &b) || !flatten_factors(u, &a, &b))
        return false;
    const ir_dtype dtype = fe_result_type(op_type(u, a).dtype, op_type(u, b).dtype);
    a = ir_build_convert(u->l->g, a, dtype);
    b = ir_build_convert(u->l->g, b, dtype);
    const ir_type row = op_type(u, b), column = op_type(u, a);
    const ir_type t = ir_type_make(row.dtype, 2, (ir_dim[]){column.dim[0], row.dim[0]});
    if (!op_check_type(u, &t)) return false;
    return op_finish(u, op_map2(u, OP_multiply, op_insert_dim(u, a, 1), b), out);
}

bool op_build_tensordot(op_use *u, fe_value *out)
{
    ir_value a, b;
    ir_dtype dtype;
    int64_t axis[2][IR_MAX_RANK];
    int count[2] = {2, 2};
    if (!find_factors(u, &a, &b, &dtype)) return false;
    const int rank[2] = {op_type(u, a).rank, op_type(u, b).rank};
    const fe_value *v = op_find(u, "axes");
    if (v && v->kind == FE_LIST && v->count == 2) {
        for (int k = 0; k < 2; k++) {
            const fe_value pair = {
                .kind = FE_DICT, .count = 1, .item = &v->item[k], .key = (const char *[]){"axes"}};
            const fe_args none = {.arg = {.kind = FE_LIST}, .kwarg = {.kind = FE_DICT}};
            op_use part = *u;
            part.args = &none;
            part.config = &pair;
            if (!op_find_ints(&part, "axes", &count[k], axis[k])) return false;
        }
    } else {
        int64_t n;
        if (!op_find_int(u, "axes", 2, &n)) return false;
        if (n < 0 || n > rank[0] || n > rank[1])
            return op_error(u, "expected axes of both tensors, found %lld", (long long)n);
        count[0] = count[1] = (int)n;
        for (int i = 0; i < n; i++) axis[0][i] = rank[0] - n + i, axis[1][i] = i;
    }
    if (count[0] != count[1] || count[0] < 0)
        return op_error(u, "expected as many axes of one tensor as of the other");
    if (!op_resolve_axes(u, rank[0], count[0], axis[0]) || !op_resolve_axes(u, rank[1], count[1], axis[1]))
        return false;
    return finish_product(u, op_contract(u, a, b, count[0], axis[0], axis[1]), dtype, out);
}

/* Every element of a times all of b: dims of a and b in turn, merged. */
bool op_build_kron(op_use *u, fe_value *out)
{
    ir_value a, b;
    if (!op_find_tensor(u, "x1", &a) || !op_find_tensor(u, "x2", &b)) return false;
    const ir_dtype dtype = fe_result_type(op_type(u, a).dtype, op_type(u, b).dtype);
    a = ir_build_convert(u->l->g, a, dtype);
    b = ir_build_convert(u->l->g, b, dtype);
    while (op_type(u, a).rank < op_type(u, b).rank) a = op_insert_dim(u, a, 0);
    while (op_type(u, b).rank < op_type(u, a).rank) b = op_insert_dim(u, b, 0);
    const ir_type ta = op_type(u, a), tb = op_type(u, b);
    ir_type wide = {.dtype = dtype, .rank = 2 * ta.rank}, merged = {.dtype = dtype, .rank = ta.rank};
    int64_t at_a[IR_MAX_RANK], at_b[IR_MAX_RANK];
    if (wide.rank > IR_MAX_RANK) return op_fail_shape(u, "tensors of rank 4 at most", &ta);
    for (int i = 0; i < ta.rank; i++) {
        if (ta.dim[i].batch && tb.dim[i].batch)
            return op_error(u, "a product of two batches is not supported");
        wide.dim[2 * i] = ta.dim[i];
        wide.dim[2 * i + 1] = tb.dim[i];
        at_a[i] = 2 * i;
        at_b[i] = 2 * i + 1;
    }
    if (!op_check_type(u, &wide)) return false;
    for (int i = 0; i < ta.rank; i++)
        merged.dim[i] = (ir_dim){ta.dim[i].count * tb.dim[i].count, ta.dim[i].batch | tb.dim[i].batch};
    ir_value y = op_map2(u, OP_multiply, ir_build_broadcast_in_dim(u->l->g, a, &wide, at_a),
                         ir_build_broadcast_in_dim(u->l->g, b, &wide, at_b));
    return op_finish(u, ir_build_reshape(u->l->g, y, merged.rank, merged.dim), out);
}

/* ---- cross products and distances -------------------------------------------------------- */

static ir_value component(op_use *u, ir_value x, int64_t i)
{
    const int last = op_type(u, x).rank - 1;
    if (i >= op_type(u, x).dim[last].count) return IR_NONE;
    return op_slice_dim(u, x, last, i, i + 1);
}

/* a[i] b[k] - a[k] b[i]; a component that a vector of two lacks is 0. */
static ir_value minor(op_use *u, ir_value a, ir_value b, int64_t i, int64_t k)
{
    const ir_value ai = component(u, a, i), ak = component(u, a, k), bi = component(u, b, i),
                   bk = component(u, b, k);
    ir_value plus = ai != IR_NONE && bk != IR_NONE ? op_map2(u, OP_multiply, ai, bk) : IR_NONE;
    ir_value minus = ak != IR_NONE && bi != IR_NONE ? op_map2(u, OP_multiply, ak, bi) : IR_NONE;
    if (minus == IR_NONE) return plus;
    if (plus == IR_NONE) return op_map1(u, OP_negate, minus);
    return op_map2(u, OP_subtract, plus, minus);
}

bool op_build_cross(op_use *u, fe_value *out)
{
    ir_value a, b;
    int64_t axis, at[3];
    static const char *const names[] = {"axisa", "axisb", "axisc"};
    if (!op_find_tensor(u, "x1", &a) || !op_find_tensor(u, "x2", &b)) return false;
    const ir_dtype dtype = fe_result_type(op_type(u, a).dtype, op_type(u, b).dtype);
    if (!op_find_int(u, "axis", INT64_MAX, &axis)) return false;
    for (int i = 0; i < 3; i++) {
        const int rank = i == 0   ? op_type(u, a).rank
                         : i == 1 ? op_type(u, b).rank
                                  : (int)base_max(op_type(u, a).rank, op_type(u, b).rank);
        if (!op_find_int(u, names[i], -1, &at[i])) return false;
        if (axis != INT64_MAX) at[i] = axis;
        if (!op_resolve_axes(u, rank, 1, &at[i])) return false;
    }
    a = op_move_axis(u, ir_build_convert(u->l->g, a, dtype), at[0], op_type(u, a).rank - 1);
    b = op_move_axis(u, ir_build_convert(u->l->g, b, dtype), at[1], op_type(u, b).rank - 1);
    const ir_type ta = op_type(u, a), tb = op_type(u, b);
    const ir_dim da = ta.dim[ta.rank - 1], db = tb.dim[tb.rank - 1];
    if (da.batch || db.batch || da.count < 2 || da.count > 3 || db.count < 2 || db.count > 3)
        return op_fail_shape(u, "vectors of two or three numbers", da.count < 2 || da.count > 3 ? &ta : &tb);
    ir_type rows_a = ta, rows_b = tb;
    rows_a.dim[ta.rank - 1] = rows_b.dim[tb.rank - 1] = ir_fixed(1);
    if (!ir_broadcast_shapes(&rows_a, &rows_b, &rows_a) || !op_check_type(u, &rows_a))
        return op_fail_shape(u, "vectors whose shapes fit", &tb);
    const int last = rows_a.rank - 1;
    ir_value part[3] = {IR_NONE, IR_NONE, minor(u, a, b, 0, 1)};
    if (da.count == 2 && db.count == 2) return op_finish(u, op_drop_dim(u, part[2], last), out);
    part[0] = minor(u, a, b, 1, 2);
    part[1] = minor(u, a, b, 2, 0);
    return op_finish(u, op_move_axis(u, ir_build_concatenate(u->l->g, 3, part, last), last, at[2]), out);
}

/* Euclidean distances between the rows of both. */
bool op_build_cdist(op_use *u, fe_value *out)
{
    ir_value a, b;
    if (!op_find_tensor(u, "x", &a) || !op_find_tensor(u, "y", &b)) return false;
    const ir_type ta = op_type(u, a), tb = op_type(u, b);
    const ir_dtype dtype = op_real(fe_result_type(ta.dtype, tb.dtype));
    if (ta.rank < 2 || tb.rank < 2 || ta.rank >= IR_MAX_RANK || tb.rank >= IR_MAX_RANK ||
        !ir_dim_equal(ta.dim[ta.rank - 1], tb.dim[tb.rank - 1]))
        return fail_matmul(u, a, b);
    a = op_insert_dim(u, ir_build_convert(u->l->g, a, dtype), ta.rank - 1);
    b = op_insert_dim(u, ir_build_convert(u->l->g, b, dtype), tb.rank - 2);
    if (!op_check_broadcast(u, a, b)) return false;
    ir_value off = op_map2(u, OP_subtract, a, b);
    ir_value sum = op_reduce(u, "add", op_map2(u, OP_multiply, off, off), op_type(u, off).rank - 1, false);
    return op_finish(u, op_map1(u, OP_sqrt, sum), out);
}

/* Correlations between the rows of a matrix. */
bool op_build_corrcoef(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_real(u, "x", &x)) return false;
    const ir_type t = op_type(u, x);
    const int64_t one = 1;
    if (t.rank != 2 || t.dim[1].batch || t.dim[0].batch)
        return op_fail_shape(u, "a matrix of a fixed size", &t);
    x = op_map2(u, OP_subtract, x, ir_build_mean(u->l->g, x, 1, &one, true));
    ir_value covariance = op_contract(u, x, x, 1, &one, &one);
    ir_value spread = op_map1(u, OP_sqrt, op_reduce(u, "add", op_map2(u, OP_multiply, x, x), 1, false));
    ir_value scale = op_map2(u, OP_multiply, op_insert_dim(u, spread, 1), spread);
    ir_value y = op_map2(u, OP_divide, covariance, scale);
    y = op_choose(u, op_compare_number(u, "GT", y, 1), op_number(u, y, 1), y);
    return op_finish(u, op_choose(u, op_compare_number(u, "LT", y, -1), op_number(u, y, -1), y), out);
}
