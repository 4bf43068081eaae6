/* cases_ragged.c: rows of different lengths: 2, 0, 3 and 1 of six values. */
#include "ops/cases.h"

#include <float.h>

static ir_value build_index(ir_graph *g, int64_t count, const int64_t *item)
{
    const ir_dim dim = ir_fixed(count);
    return ir_build_constant(g, ir_type_make(DTYPE_i64, 1, &dim), item);
}

static ir_value build_rows(ir_graph *g, ir_op op, ir_value x, int64_t first)
{
    const ir_value in[] = {x, build_index(g, 4, (const int64_t[]){2, 2, 5, 6})};
    ir_type type = *ir_type_of(g, x);
    type.dim[0] = ir_fixed(first);
    return ir_build(g, op, 2, in, 0, NULL, &type);
}

static ir_value build_sum(ir_graph *g, const ir_value *in) { return build_rows(g, OP_ragged_sum, in[0], 4); }
static ir_value build_max(ir_graph *g, const ir_value *in) { return build_rows(g, OP_ragged_max, in[0], 4); }
static ir_value build_spread(ir_graph *g, const ir_value *in) { return build_rows(g, OP_ragged_spread, in[0], 6); }
static ir_value build_full_max(ir_graph *g, const ir_value *in)
{
    const ir_value all[] = {in[0], build_index(g, 2, (const int64_t[]){2, 6})};
    const ir_type type = ops_type_read("f32[2,2]", ir_type_of(g, in[0])->dtype == DTYPE_f64);
    return ir_build(g, OP_ragged_max, 2, all, 0, NULL, &type);
}

static ir_value build_permute(ir_graph *g, const ir_value *in)
{
    const ir_value all[] = {in[0], build_index(g, 4, (const int64_t[]){2, 0, 3, 1}),
                            build_index(g, 4, (const int64_t[]){1, 3, 0, 2})};
    return ir_build(g, OP_ragged_permute, 3, all, 0, NULL, NULL);
}

static const ops_case cases[] = {
    {.name = "ragged_sum", .op = OP_ragged_sum, .build = build_sum,
     .in = {{"f32[6,2]", -1, 1, VALUES(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)}},
     .expect = EXPECT(4, 6, 0, 0, 21, 24, 11, 12)},
    {.name = "ragged_max", .op = OP_ragged_max, .build = build_full_max,
     .in = {{"f32[6,2]", -1, 1, VALUES(1, 2, -3, 4, 5, 6, 7, -8, 9, 0, -11, 12)}}, .expect = EXPECT(1, 4, 9, 12)},
    {.name = "ragged_max_of_nothing", .op = OP_ragged_max, .build = build_max, .no_gradient = true,
     .in = {{"f32[6,2]", -1, 1, VALUES(1, 2, -3, 4, 5, 6, 7, -8, 9, 0, -11, 12)}},
     .expect = EXPECT(1, 4, -FLT_MAX, -FLT_MAX, 9, 6, -11, 12)},
    {.name = "ragged_spread", .op = OP_ragged_spread, .build = build_spread,
     .in = {{"f32[4,2]", -1, 1, VALUES(1, 2, 3, 4, 5, 6, 7, 8)}},
     .expect = EXPECT(1, 2, 1, 2, 5, 6, 5, 6, 5, 6, 7, 8)},
    {.name = "ragged_permute", .op = OP_ragged_permute, .build = build_permute,
     .in = {{"f32[4,2]", -1, 1, VALUES(1, 2, 3, 4, 5, 6, 7, 8)}},
     .expect = EXPECT(5, 6, 1, 2, 7, 8, 3, 4)},
};

const ops_list ops_cases_ragged = {countof(cases), cases};
