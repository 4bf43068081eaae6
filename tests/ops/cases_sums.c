/* cases_sums.c: sums over rows that kernels of contractions take on their way: moments of the result y, and sums of a map of
 * it (an epilogue that reads another array) and of its products. All of them are added to y. */
#include "ops/cases.h"

enum { PARTS = 3 };

static ir_value whole_sum(ir_graph *g, ir_value x, int splits)
{
    const int rank = ir_type_of(g, x)->rank;
    const int64_t first[] = {0, 1, 2, 3, 4};
    const ir_attr attr[] = {
        {.name = ATTR_dimensions, .ints = {rank - 1, first}}, WORD(kind, "add"), INT(splits, splits)};
    return ir_build_reduce(g, "add", ir_build(g, OP_reduce, 1, &x, 3, attr, NULL), 1, first, false);
}

static ir_value part_of(ir_graph *g, ir_value parts, int what)
{
    const ir_type *t = ir_type_of(g, parts);
    const ir_dim shape[] = {t->dim[0], t->dim[2]};
    return ir_build_reshape(g, ir_build_slice_dim(g, parts, 1, what, what + 1), 2, shape);
}

static ir_value over_parts(ir_graph *g, ir_value x) { return ir_build_reduce(g, "add", x, 1, (const int64_t[]){0}, false); }

/* Mean and variance of all rows of y. */
static ir_value spread_of(ir_graph *g, ir_value y, ir_value *out_rows)
{
    const ir_type *t = ir_type_of(g, y);
    ir_dim rows = ir_fixed(1);
    for (int d = 0; d < t->rank - 1; d++) rows = (ir_dim){rows.count * t->dim[d].count, rows.batch | t->dim[d].batch};
    const ir_dim shape[] = {rows, t->dim[t->rank - 1]};
    const ir_value parts = ir_build_moments(g, ir_build_reshape(g, y, 2, shape), PARTS);
    const ir_value count = part_of(g, parts, MOMENTS_ROWS), sum = part_of(g, parts, MOMENTS_SUM);
    *out_rows = ir_build_binary_scalar(g, OP_maximum, over_parts(g, count), 1);
    const ir_value mean = ir_build_binary(g, OP_divide, over_parts(g, sum), *out_rows);
    const ir_value own = ir_build_binary(g, OP_divide, sum, ir_build_binary_scalar(g, OP_maximum, count, 1));
    const ir_value apart = ir_build_binary(g, OP_subtract, own, mean);
    const ir_value between = ir_build_binary(g, OP_multiply, count, ir_build_binary(g, OP_multiply, apart, apart));
    const ir_value squares = ir_build_binary(g, OP_add, part_of(g, parts, MOMENTS_SQUARES), between);
    return ir_build_binary(g, OP_add, mean, ir_build_binary(g, OP_divide, over_parts(g, squares), *out_rows));
}

static ir_value add_sums(ir_graph *g, ir_value y, ir_value other)
{
    ir_value rows;
    const ir_value spread = spread_of(g, y, &rows);
    const ir_value positive = ir_build_compare(g, "GT", other, ir_build_binary_scalar(g, OP_multiply, other, 0));
    const ir_value z = ir_build_select(g, positive, y, ir_build_binary_scalar(g, OP_multiply, other, 0));
    const ir_value one = whole_sum(g, z, PARTS), two = whole_sum(g, ir_build_binary(g, OP_multiply, z, other), PARTS);
    const ir_value sums = ir_build_binary(g, OP_divide, ir_build_binary(g, OP_add, one, two), rows);
    return ir_build_binary(g, OP_add, z, ir_build_binary(g, OP_add, spread, sums));
}

static ir_value build_dot(ir_graph *g, const ir_value *in) { return add_sums(g, ir_build_dot(g, in[0], in[1]), in[2]); }

static ir_value convolve(ir_graph *g, const ir_value *in, int64_t stride, int64_t dilation, int64_t groups)
{
    const ir_window w = {.spatial = 2, .strides = {stride, stride}, .low = {1, 1}, .high = {1, 1},
                         .base_dilation = {dilation, dilation}, .window_dilation = {1, 1}, .lhs_layout = "b01f",
                         .rhs_layout = "01io", .out_layout = "b01f", .feature_groups = groups, .batch_groups = 1};
    return add_sums(g, ir_build_convolution(g, in[0], in[1], &w), in[2]);
}

static ir_value build_convolution(ir_graph *g, const ir_value *in) { return convolve(g, in, 2, 1, 1); }

static ir_value build_dilated(ir_graph *g, const ir_value *in) { return convolve(g, in, 1, 2, 1); }

static ir_value build_channelwise(ir_graph *g, const ir_value *in) { return convolve(g, in, 1, 1, 35); }

static ir_value build_channelwise_dilated(ir_graph *g, const ir_value *in) { return convolve(g, in, 1, 2, 16); }

static ir_value build_grouped(ir_graph *g, const ir_value *in) { return convolve(g, in, 1, 1, 2); }

#define SUMS(what, how, x, kernel, y)                                                                                \
    {.name = "sums_" what, .no_gradient = true, .op = OP_moments, .build = how,                                      \
     .in = {{x, -1, 1, 0, NULL}, {kernel, -1, 2, 0, NULL}, {y, -2, 2, 0, NULL}}}

static const ops_case cases[] = {
    SUMS("dot", build_dot, "f32[N,5,24]", "f32[24,64]", "f32[N,5,64]"),
    SUMS("dot_cut", build_dot, "f32[N,3,7,20]", "f32[20,83]", "f32[N,3,7,83]"),
    SUMS("dot_narrow", build_dot, "f32[N,7,20]", "f32[20,5]", "f32[N,7,5]"),
    SUMS("dot_long", build_dot, "f32[N,2,1100]", "f32[1100,40]", "f32[N,2,40]"),
    SUMS("dot_fixed", build_dot, "f32[517,33]", "f32[33,16]", "f32[517,16]"),
    SUMS("dot_columns", build_dot, "f32[N,3,16]", "f32[16,700]", "f32[N,3,700]"),
    SUMS("dot_rows", build_dot, "f32[N,16]", "f32[16,40]", "f32[N,40]"),
    SUMS("convolution", build_convolution, "f32[N,9,8,5]", "f32[3,3,5,20]", "f32[N,5,4,20]"),
    SUMS("dilated", build_dilated, "f32[N,4,5,6]", "f32[3,3,6,20]", "f32[N,7,9,20]"),
    SUMS("grouped", build_grouped, "f32[N,4,5,6]", "f32[3,3,3,20]", "f32[N,4,5,20]"),
    SUMS("channelwise", build_channelwise, "f32[N,9,21,35]", "f32[3,3,1,35]", "f32[N,9,21,35]"),
    SUMS("channelwise_dilated", build_channelwise_dilated, "f32[N,4,5,16]", "f32[3,3,1,16]", "f32[N,7,9,16]"),
};

const ops_list ops_cases_sums = {countof(cases), cases};
