/* cases_call.c: decompositions of matrices. Known elements are those of small matrices by hand; the others are compared,
 * by products of the factors where their signs are free. */
#include "ops/cases.h"

static ir_value flip(ir_graph *g, ir_value a) { return ir_build_transpose(g, a, (int64_t[]){0, 2, 1}); }

static ir_value product(ir_graph *g, ir_value a, ir_value b)
{
    const ir_dot dot = {.batch_count = 1, .contracting_count = 1, .lhs_batch = {0}, .rhs_batch = {0},
                        .lhs_contracting = {2}, .rhs_contracting = {1}};
    return ir_build_dot_general(g, a, b, &dot);
}

/* a + s on the diagonal. */
static ir_value shift(ir_graph *g, ir_value a, double s)
{
    const ir_type t = *ir_type_of(g, a), whole = ir_type_with_dtype(t, DTYPE_i32);
    ir_value same = ir_build_compare(g, "EQ", ir_build_iota(g, whole, 1), ir_build_iota(g, whole, 2));
    return ir_build_select(g, same, ir_build_binary_scalar(g, OP_add, a, s), a);
}

static ir_value positive(ir_graph *g, ir_value a) { return shift(g, product(g, a, flip(g, a)), 1); }

static ir_value call(ir_graph *g, ir_call_sizes s, ir_value a, ir_value b)
{
    const ir_value in[] = {a, b};
    return ir_build_call(g, s, in);
}

static ir_value cholesky(ir_graph *g, const ir_value *in)
{
    return ir_build_get(g, call(g, (ir_call_sizes){.call = CALL_cholesky}, positive(g, in[0]), IR_NONE), 0);
}

static ir_value lu(ir_graph *g, const ir_value *in)
{
    return ir_build_get(g, call(g, (ir_call_sizes){.call = CALL_lu}, shift(g, in[0], 5), IR_NONE), 0);
}

static ir_value determinant(ir_graph *g, const ir_value *in)
{
    return ir_build_get(g, call(g, (ir_call_sizes){.call = CALL_determinant}, shift(g, in[0], 3), IR_NONE), 0);
}

static ir_value log_determinant(ir_graph *g, const ir_value *in)
{
    return ir_build_get(g, call(g, (ir_call_sizes){.call = CALL_log_determinant}, shift(g, in[0], -3), IR_NONE), 1);
}

static ir_value solve(ir_graph *g, const ir_value *in)
{
    return ir_build_get(g, call(g, (ir_call_sizes){.call = CALL_solve}, shift(g, in[0], 4), in[1]), 0);
}

static ir_value solve_turned(ir_graph *g, const ir_value *in)
{
    return ir_build_get(g, call(g, (ir_call_sizes){.call = CALL_solve, .transpose = true}, shift(g, in[0], 4), in[1]), 0);
}

static ir_value triangular(ir_graph *g, const ir_value *in, bool lower, bool transpose)
{
    const ir_call_sizes s = {.call = CALL_triangular_solve, .lower = lower, .transpose = transpose};
    return ir_build_get(g, call(g, s, shift(g, in[0], 3), in[1]), 0);
}

static ir_value triangular_lower(ir_graph *g, const ir_value *in) { return triangular(g, in, true, false); }
static ir_value triangular_upper(ir_graph *g, const ir_value *in) { return triangular(g, in, false, false); }
static ir_value triangular_turned(ir_graph *g, const ir_value *in) { return triangular(g, in, true, true); }

static ir_value qr(ir_graph *g, const ir_value *in)
{
    ir_value both = call(g, (ir_call_sizes){.call = CALL_qr}, in[0], IR_NONE);
    return ir_build_concatenate(g, 2, (ir_value[]){ir_build_get(g, both, 0), flip(g, ir_build_get(g, both, 1))}, 1);
}

static ir_value qr_complete(ir_graph *g, const ir_value *in)
{
    ir_value both = call(g, (ir_call_sizes){.call = CALL_qr, .full = true}, in[0], IR_NONE);
    return ir_build_concatenate(g, 2, (ir_value[]){ir_build_get(g, both, 0), ir_build_get(g, both, 1)}, 2);
}

/* U diag(s) V with other numbers in place of s: free of signs. */
static ir_value svd_product(ir_graph *g, const ir_value *in, bool full)
{
    ir_value all = call(g, (ir_call_sizes){.call = CALL_svd, .full = full}, in[0], IR_NONE), s = ir_build_get(g, all, 1);
    const ir_type *t = ir_type_of(g, s);
    const ir_dim dim[] = {t->dim[0], ir_fixed(1), t->dim[1]};
    ir_value u = ir_build_get(g, all, 0), v = ir_build_get(g, all, 2);
    s = ir_build_reshape(g, ir_build_binary(g, OP_multiply, s, s), 3, dim);
    return product(g, ir_build_binary(g, OP_multiply, u, ir_build_broadcast_to(g, s, ir_type_of(g, u))), v);
}

static ir_value svd(ir_graph *g, const ir_value *in) { return svd_product(g, in, false); }

static ir_value svd_full(ir_graph *g, const ir_value *in)
{
    ir_value all = call(g, (ir_call_sizes){.call = CALL_svd, .full = true}, in[0], IR_NONE), u = ir_build_get(g, all, 0);
    return product(g, u, flip(g, u));
}

static ir_value singular_values(ir_graph *g, const ir_value *in)
{
    return ir_build_get(g, call(g, (ir_call_sizes){.call = CALL_singular_values}, in[0], IR_NONE), 0);
}

static ir_value eigh(ir_graph *g, const ir_value *in)
{
    ir_value both = call(g, (ir_call_sizes){.call = CALL_eigh}, positive(g, in[0]), IR_NONE);
    ir_value w = ir_build_get(g, both, 0), v = ir_build_get(g, both, 1);
    const ir_type *t = ir_type_of(g, w);
    const ir_dim dim[] = {t->dim[0], ir_fixed(1), t->dim[1]};
    w = ir_build_reshape(g, ir_build_binary(g, OP_multiply, w, w), 3, dim);
    return product(g, ir_build_binary(g, OP_multiply, v, ir_build_broadcast_to(g, w, ir_type_of(g, v))), flip(g, v));
}

#define ONE(type) .in = {{type, -1, 1, 0, NULL}}
#define TWO(a, b) .in = {{a, -1, 1, 0, NULL}, {b, -1, 1, 0, NULL}}

static const ops_case cases[] = {
    {.name = "call_known", .op = OP_custom_call, .n = 1,
     .in = {{"f32[N,2,2]", -1, 1, VALUES(4, 99, 2, 10)}},
     .attrs = ATTRS(WORD(target, "cholesky")), .no_gradient = true, .expect = EXPECT(2, 0, 1, 3)},
    {.name = "call_known_determinant", .op = OP_custom_call, .n = 2,
     .in = {{"f32[N,2,2]", -1, 1, VALUES(1, 2, 3, 4, 0, 2, 1, 5)}},
     .attrs = ATTRS(WORD(target, "determinant")), .no_gradient = true, .expect = EXPECT(-2, -2)},
    {.name = "call_rows", .op = OP_custom_call, .n = 1,
     .in = {{"f32[N,3,3]", -1, 1, VALUES(0, 2, 1, 0, 0, 4, 8, 1, 1)}},
     .attrs = ATTRS(WORD(target, "lu")), .get = 1, .no_gradient = true, .expect = EXPECT(2, 0, 1)},
    {.name = "call_known_solve", .op = OP_custom_call, .n = 1,
     .in = {{"f32[N,2,2]", -1, 1, VALUES(2, 0, 1, 4)}, {"f32[N,2,1]", -1, 1, VALUES(2, 9)}},
     .attrs = ATTRS(WORD(target, "solve")), .no_gradient = true, .expect = EXPECT(1, 2)},
    {.name = "call_singular", .op = OP_custom_call, .n = 1,
     .in = {{"f32[N,2,3]", -1, 1, VALUES(3, 0, 0, 0, 0, -5)}},
     .attrs = ATTRS(WORD(target, "singular_values")), .no_gradient = true, .expect = EXPECT(5, 3)},
    {.name = "call_cholesky", .op = OP_custom_call, ONE("f32[N,4,4]"), .build = cholesky},
    {.name = "call_lu", .op = OP_custom_call, ONE("f32[N,4,4]"), .build = lu},
    {.name = "call_determinant", .op = OP_custom_call, ONE("f32[N,3,3]"), .build = determinant},
    {.name = "call_log_determinant", .op = OP_custom_call, ONE("f32[N,3,3]"), .build = log_determinant},
    {.name = "call_solve", .op = OP_custom_call, TWO("f32[N,3,3]", "f32[N,3,2]"), .build = solve},
    {.name = "call_solve_turned", .op = OP_custom_call, TWO("f32[N,3,3]", "f32[N,3,2]"), .build = solve_turned},
    {.name = "call_triangular_lower", .op = OP_custom_call, TWO("f32[N,3,3]", "f32[N,3,2]"), .build = triangular_lower},
    {.name = "call_triangular_upper", .op = OP_custom_call, TWO("f32[N,3,3]", "f32[N,3,2]"), .build = triangular_upper},
    {.name = "call_triangular_turned", .op = OP_custom_call, TWO("f32[N,3,3]", "f32[N,3,2]"), .build = triangular_turned},
    {.name = "call_qr_deep", .op = OP_custom_call, ONE("f32[N,4,3]"), .build = qr},
    {.name = "call_qr_wide", .op = OP_custom_call, ONE("f32[N,3,3]"), .build = qr},
    {.name = "call_qr_complete", .op = OP_custom_call, ONE("f32[N,4,3]"), .build = qr_complete, .no_gradient = true},
    {.name = "call_svd_deep", .op = OP_custom_call, ONE("f32[N,4,3]"), .build = svd},
    {.name = "call_svd_wide", .op = OP_custom_call, ONE("f32[N,2,4]"), .build = svd},
    {.name = "call_svd_square", .op = OP_custom_call, ONE("f32[N,3,3]"), .build = svd},
    {.name = "call_svd_full", .op = OP_custom_call, ONE("f32[N,3,2]"), .build = svd_full, .no_gradient = true},
    {.name = "call_singular_values", .op = OP_custom_call, ONE("f32[N,3,4]"), .build = singular_values},
    {.name = "call_eigh", .op = OP_custom_call, ONE("f32[N,4,4]"), .build = eigh},
};

const ops_list ops_cases_call = {sizeof cases / sizeof *cases, cases};
