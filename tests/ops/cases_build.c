/* cases_build.c: cases that need more than one operation, or operands that are no arrays. */
#include "ops/cases.h"

#include <math.h>

static ir_value build_first(ir_graph *g, const ir_value *in)
{
    (void)g;
    return in[0];
}

static ir_value build_constant(ir_graph *g, const ir_value *in)
{
    static const float elements[] = {1, -2.5F, 3, 0, 0.125F, 1e9F};
    (void)in;
    return ir_build_constant(g, ops_type_read("f32[2,3]", false), elements);
}

static ir_value build_splat(ir_graph *g, const ir_value *in)
{
    static const int32_t element = -7;
    const ir_attr data = {.name = ATTR_data, .data = {sizeof element, &element}};
    const ir_type type = ops_type_read("i32[N,2]", false);
    (void)in;
    return ir_build(g, OP_constant, 0, NULL, 1, &data, &type);
}

/* e to the power of x less the maxima of its rows, which are spread along its rows, or across them. */
static ir_value build_below(ir_graph *g, const ir_value *in, int64_t along)
{
    static const int64_t columns[] = {1};
    const ir_value top = ir_build_reduce(g, "maximum", in[0], 1, columns, false);
    const ir_value spread = ir_build_broadcast_in_dim(g, top, ir_type_of(g, in[0]), &along);
    return ir_build_unary(g, OP_exponential, ir_build_binary(g, OP_subtract, in[0], spread));
}

static ir_value build_below_maximum(ir_graph *g, const ir_value *in) { return build_below(g, in, 0); }
static ir_value build_below_other(ir_graph *g, const ir_value *in) { return build_below(g, in, 1); }

/* A product and what tiles add to it: a row for all rows, or an array as large as the result. */
static ir_value build_dot_and(ir_graph *g, const ir_value *in)
{
    const ir_value y = ir_build_dot(g, in[0], in[1]);
    const ir_type *t = ir_type_of(g, y);
    const int skipped = t->rank - ir_type_of(g, in[2])->rank;
    const int64_t to[] = {skipped, skipped + 1};
    return ir_build_binary(g, OP_add, skipped ? ir_build_broadcast_in_dim(g, in[2], t, to) : in[2], y);
}

/* The sum over steps and rows of products, of arrays in which a step's rows lie together. */
static ir_value over_steps(ir_graph *g, const ir_value *in, bool other, int splits)
{
    static const int64_t turned[] = {1, 0, 2}, as_is[] = {0, 1, 2}, first[] = {0};
    const int64_t left[] = {0, 1}, right[] = {other, !other};
    const ir_value a = ir_build_unary(g, OP_tanh, ir_build_transpose(g, in[0], turned));
    const ir_value b = ir_build_unary(g, OP_tanh, ir_build_transpose(g, in[1], other ? as_is : turned)), both[] = {a, b};
    const ir_attr attr[] = {NO_INTS(lhs_batch), NO_INTS(rhs_batch), {.name = ATTR_lhs_contracting, .ints = {2, left}},
                            {.name = ATTR_rhs_contracting, .ints = {2, right}}, INT(splits, splits)};
    const ir_value y = ir_build(g, OP_dot_general, 2, both, (int)countof(attr) - !splits, attr, NULL);
    return splits ? ir_build_reduce(g, "add", y, 1, first, false) : y;
}

static ir_value build_over_steps(ir_graph *g, const ir_value *in) { return over_steps(g, in, false, 0); }
static ir_value build_over_steps_in_parts(ir_graph *g, const ir_value *in) { return over_steps(g, in, false, 3); }
static ir_value build_over_rows(ir_graph *g, const ir_value *in) { return over_steps(g, in, true, 0); }

/* Rows of updates put onto a number, of which the loop is a map: a kernel that never has the sums in memory. */
static ir_value scatter_rows(ir_graph *g, const ir_value *in, const char *kind, double start)
{
    static const int64_t first[] = {0};
    const ir_type *to = ir_type_of(g, in[2]), *at = ir_type_of(g, in[0]);
    int64_t dims[IR_MAX_RANK];
    for (int d = 1; d < to->rank; d++) dims[d - 1] = at->rank + d - 1;
    const ir_value operand[] = {ir_build_fill(g, *to, start), in[0], in[1]};
    const ir_attr attr[] = {WORD(kind, kind), {.name = ATTR_update_window_dims, .ints = {to->rank - 1, dims}},
                            {.name = ATTR_inserted_window_dims, .ints = {1, first}}, NO_INTS(operand_batching_dims),
                            NO_INTS(indices_batching_dims), {.name = ATTR_scatter_dims, .ints = {1, first}},
                            INT(index_vector_dim, at->rank)};
    const ir_value sums = ir_build(g, OP_scatter, 3, operand, (int)countof(attr), attr, NULL);
    return ir_build_binary(g, OP_subtract, ir_build_binary(g, OP_multiply, sums, sums), in[2]);
}

static ir_value build_scatter_add(ir_graph *g, const ir_value *in) { return scatter_rows(g, in, "add", 0); }
static ir_value build_scatter_largest(ir_graph *g, const ir_value *in) { return scatter_rows(g, in, "maximum", 0.5); }

/* Rows in several passes, of which later ones read another array. */
static ir_value build_rows(ir_graph *g, const ir_value *in)
{
    static const int64_t columns[] = {1}, along = 0;
    const ir_value top = build_below_maximum(g, in), sum = ir_build_reduce(g, "add", top, 1, columns, false);
    const ir_value share = ir_build_binary(g, OP_divide, top, ir_build_broadcast_in_dim(g, sum, ir_type_of(g, top), &along));
    const ir_value product = ir_build_binary(g, OP_multiply, share, in[1]);
    const ir_value total = ir_build_reduce(g, "add", product, 1, columns, false);
    return ir_build_binary(g, OP_subtract, product, ir_build_broadcast_in_dim(g, total, ir_type_of(g, top), &along));
}

static ir_value build_get(ir_graph *g, const ir_value *in)
{
    const ir_attr dimension = INT(dimension, 1);
    return ir_build_get(g, ir_build(g, OP_sort, 2, in, 1, &dimension, NULL), 1);
}

static ir_value body_parameter(ir_graph *body, int index, ir_type type)
{
    const ir_attr attr = INT(index, index);
    return ir_build(body, OP_parameter, 0, NULL, 1, &attr, &type);
}

/* Three times: x becomes 1.5 x. */
static ir_value build_while(ir_graph *g, const ir_value *in)
{
    ir_graph *condition = ir_graph_new(g->arena, "condition", NULL);
    ir_graph *body = ir_graph_new(g->arena, "body", NULL);
    const ir_value seen = body_parameter(condition, 0, *ir_type_of(g, in[0]));
    const ir_value limit = ir_build_scalar(condition, DTYPE_i32, 3);
    ir_graph_add_output(condition, "go_on", ir_build_compare(condition, "LT", seen, limit));
    const ir_value i = body_parameter(body, 0, *ir_type_of(g, in[0]));
    const ir_value x = body_parameter(body, 1, *ir_type_of(g, in[1]));
    ir_graph_add_output(body, "i", ir_build_binary_scalar(body, OP_add, i, 1));
    ir_graph_add_output(body, "x", ir_build_binary_scalar(body, OP_multiply, x, 1.5));
    const ir_attr attr[] = {
        {.name = ATTR_condition, .graph = condition},
        {.name = ATTR_body, .graph = body},
    };
    return ir_build_get(g, ir_build(g, OP_while, 2, in, 2, attr, NULL), 1);
}

/* Operands: state [N,2], steps [N,3,2], a constant of the body [2]. state = state * constant + step; each
 * step gives 2 * state. */
static ir_value build_scan(ir_graph *g, const ir_value *in, bool reverse, int get)
{
    static const int64_t steps_first[] = {1, 0, 2};
    ir_graph *body = ir_graph_new(g->arena, "body", NULL);
    const ir_type *type = ir_type_of(g, in[0]);
    const ir_value state = body_parameter(body, 0, *type), step = body_parameter(body, 1, *type);
    const ir_value factor = body_parameter(body, 2, *ir_type_of(g, in[2]));
    const ir_value product = ir_build_binary(body, OP_multiply, state, factor);
    const ir_value next = ir_build_binary(body, OP_add, product, step);
    ir_graph_add_output(body, "state", next);
    ir_graph_add_output(body, "twice", ir_build_binary_scalar(body, OP_multiply, next, 2));
    const ir_value operand[] = {in[0], ir_build_transpose(g, in[1], steps_first), in[2]};
    const ir_attr attr[] = {
        {.name = ATTR_body, .graph = body}, INT(length, 3), INT(carried, 1), INT(reverse, reverse)};
    return ir_build_get(g, ir_build(g, OP_scan, 3, operand, 4, attr, NULL), get);
}

static ir_value build_scan_state(ir_graph *g, const ir_value *in)
{
    return build_scan(g, in, false, 0);
}

static ir_value build_scan_steps(ir_graph *g, const ir_value *in)
{
    return build_scan(g, in, false, 1);
}

static ir_value build_scan_reverse(ir_graph *g, const ir_value *in)
{
    return build_scan(g, in, true, 1);
}

#define SCAN_OPERANDS                                                                              \
    {{"f32[N,2]", -1, 1, VALUES(1, 2, 3, 4)},                                                      \
     {"f32[N,3,2]", -1, 1, VALUES(1, 1, 2, 2, 3, 3, 0, 1, 0, 1, 0, 1)},                            \
     {"f32[2]", 0.5, 1, VALUES(1, 2)}}

static const ops_case cases[] = {
    {.name = "parameter", .op = OP_parameter, .build = build_first,
     .in = {{"f32[N,3]", -1, 1, VALUES(1, 2, 3, 4, 5, 6)}},
     .expect = EXPECT(1, 2, 3, 4, 5, 6)},
    {.name = "variable", .op = OP_variable, .build = build_first,
     .in = {{"f32[3]", -1, 1, VALUES(1, 2, 3)}},
     .expect = EXPECT(1, 2, 3)},
    {.name = "constant", .op = OP_constant, .build = build_constant,
     .expect = EXPECT(1, -2.5, 3, 0, 0.125, 1e9)},
    {.name = "constant_splat", .op = OP_constant, .build = build_splat,
     .expect = EXPECT(-7, -7, -7, -7)},
    {.name = "exponential_below_maximum", .op = OP_exponential, .no_gradient = true, .build = build_below_maximum,
     .in = {{"f32[2,2]", -4, 4, VALUES(100, 98, -3, -120)}},
     .expect = EXPECT(1, 0.1353352832366127, 1, 1.5587e-51)},
    {.name = "exponential_below_other", .op = OP_exponential, .no_gradient = true, .build = build_below_other,
     .in = {{"f32[2,2]", -4, 4, VALUES(100, 98, -3, -120)}},
     .expect = EXPECT(1, INFINITY, 1.8506e-45, 1.4043e-51)},
    {.name = "dot_over_steps", .no_gradient = true, .op = OP_dot_general, .build = build_over_steps,
     .in = {{"f32[N,5,30]", -2, 2, 0, NULL}, {"f32[N,5,40]", -2, 2, 0, NULL}}},
    {.name = "dot_over_steps_in_parts", .no_gradient = true, .op = OP_dot_general, .build = build_over_steps_in_parts,
     .in = {{"f32[N,290,20]", -2, 2, 0, NULL}, {"f32[N,290,520]", -2, 2, 0, NULL}}},
    {.name = "dot_over_rows", .no_gradient = true, .op = OP_dot_general, .build = build_over_rows,
     .in = {{"f32[N,5,30]", -2, 2, 0, NULL}, {"f32[N,5,40]", -2, 2, 0, NULL}}},
    {.name = "dot_and_a_row", .no_gradient = true, .op = OP_dot_general, .build = build_dot_and,
     .in = {{"f32[N,9,24]", -2, 2, 0, NULL}, {"f32[24,76]", -2, 2, 0, NULL}, {"f32[76]", -2, 2, 0, NULL}}},
    {.name = "dot_and_a_row_deep", .no_gradient = true, .op = OP_dot_general, .build = build_dot_and,
     .in = {{"f32[N,7,600]", -2, 2, 0, NULL}, {"f32[600,36]", -2, 2, 0, NULL}, {"f32[36]", -2, 2, 0, NULL}}},
    {.name = "dot_and_two_dims", .no_gradient = true, .op = OP_dot_general, .build = build_dot_and,
     .in = {{"f32[N,5,24]", -2, 2, 0, NULL}, {"f32[24,3,8]", -2, 2, 0, NULL}, {"f32[3,8]", -2, 2, 0, NULL}}},
    {.name = "dot_and_rows", .no_gradient = true, .op = OP_dot_general, .build = build_dot_and,
     .in = {{"f32[N,9,40]", -2, 2, 0, NULL}, {"f32[40,64]", -2, 2, 0, NULL}, {"f32[N,9,64]", -2, 2, 0, NULL}}},
    {.name = "dot_and_fixed_rows", .no_gradient = true, .op = OP_dot_general, .build = build_dot_and,
     .in = {{"f32[31,20]", -2, 2, 0, NULL}, {"f32[20,300]", -2, 2, 0, NULL}, {"f32[31,300]", -2, 2, 0, NULL}}},
    {.name = "dot_and_long", .no_gradient = true, .op = OP_dot_general, .build = build_dot_and,
     .in = {{"f32[N,400,16]", -2, 2, 0, NULL}, {"f32[16,44]", -2, 2, 0, NULL}, {"f32[44]", -2, 2, 0, NULL}}},
    {.name = "dot_and_part_of_a_row", .no_gradient = true, .op = OP_dot_general, .build = build_dot_and,
     .in = {{"f32[N,24]", -2, 2, 0, NULL}, {"f32[24,3,8]", -2, 2, 0, NULL}, {"f32[8]", -2, 2, 0, NULL}}},
    {.name = "scatter_rows", .no_gradient = true, .op = OP_scatter, .build = build_scatter_add,
     .in = {{"i32[N,7]", -3, 310, 0, NULL}, {"f32[N,7,40]", -2, 2, 0, NULL}, {"f32[301,40]", -2, 2, 0, NULL}}},
    {.name = "scatter_rows_one", .no_gradient = true, .op = OP_scatter, .build = build_scatter_add,
     .in = {{"i64[2500]", 0, 2, 0, NULL}, {"f32[2500,65]", -2, 2, 0, NULL}, {"f32[3,65]", -2, 2, 0, NULL}}},
    {.name = "scatter_rows_largest", .no_gradient = true, .op = OP_scatter, .build = build_scatter_largest,
     .in = {{"i64[N]", 0, 20, 0, NULL}, {"f32[N,5,9]", -2, 2, 0, NULL}, {"f32[20,5,9]", -2, 2, 0, NULL}}},
    {.name = "reduce_passes", .op = OP_reduce, .no_gradient = true, .build = build_rows,
     .in = {{"f32[N,128]", -4, 4, 0, NULL}, {"f32[N,128]", -1, 1, 0, NULL}}},
    {.name = "reduce_passes_rest", .op = OP_reduce, .no_gradient = true, .build = build_rows,
     .in = {{"f32[N,89]", -4, 4, 0, NULL}, {"f32[N,89]", -1, 1, 0, NULL}}},
    {.name = "get", .op = OP_get, .build = build_get,
     .in = {{"f32[N,3]", -1, 1, VALUES(3, 1, 2, 1, 3, 2)},
            {"f32[N,3]", -1, 1, VALUES(4, 5, 6, 7, 8, 9)}},
     .expect = EXPECT(5, 6, 4, 7, 9, 8)},
    {.name = "while", .op = OP_while, .build = build_while,
     .in = {{"i32[]", 0, 0, VALUES(0)}, {"f32[4]", -1, 1, VALUES(8, -16, 1, 0)}},
     .expect = EXPECT(27, -54, 3.375, 0)},
    {.name = "scan_state", .op = OP_scan, .build = build_scan_state,
     .in = SCAN_OPERANDS,
     .expect = EXPECT(7, 27, 3, 39)},
    {.name = "scan_steps", .op = OP_scan, .build = build_scan_steps,
     .in = SCAN_OPERANDS,
     .expect = EXPECT(4, 10, 6, 18, 8, 24, 6, 38, 14, 54, 6, 78)},
    {.name = "scan_reverse", .op = OP_scan, .build = build_scan_reverse,
     .in = SCAN_OPERANDS,
     .expect = EXPECT(14, 66, 6, 78, 12, 32, 6, 38, 8, 14, 6, 18)},
};

const ops_list ops_cases_build = {countof(cases), cases};
