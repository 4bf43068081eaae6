/* cases_winograd.c: convolutions with attribute `winograd`, against the interpreter, which multiplies as always. Odd and
 * even images, padding or none, channels that are no multiple of a vector, several blocks of everything. */
#include "ops/cases.h"

#define WINDOW(step, low, high, reversal, lhs, rhs, out, ...) \
    ATTRS(INTS(window_strides, 1, 1), INTS(padding_low, low), INTS(padding_high, high), INTS(base_dilation, 1, 1), \
          INTS(window_dilation, 1, 1), INT(window_reversal, reversal), WORD(lhs_layout, lhs), WORD(rhs_layout, rhs), \
          WORD(out_layout, out), INT(feature_group_count, 1), INT(batch_group_count, 1), INT(winograd, step) __VA_ARGS__)
#define PAIR(a, b) a, b

static const int64_t ones[] = {1, 1};
#define SAME(attr) {.name = ATTR_##attr, .ints = {2, ones}}
#define BUILT(step, lhs, rhs, out, ...) \
    SAME(window_strides), SAME(padding_low), SAME(padding_high), SAME(base_dilation), SAME(window_dilation), \
        INT(window_reversal, 0), WORD(lhs_layout, lhs), WORD(rhs_layout, rhs), WORD(out_layout, out), \
        INT(feature_group_count, 1), INT(batch_group_count, 1), INT(winograd, step) __VA_ARGS__

/* A computed image, and an epilogue with a bias and a sum. */
static ir_value build_fused(ir_graph *g, const ir_value *in, int step)
{
    static const int64_t last[] = {3};
    const ir_value x[] = {ir_build_unary(g, OP_negate, in[0]), in[1]};
    const ir_attr attr[] = {BUILT(step, "b01f", "01io", "b01f", )};
    const ir_value y = ir_build(g, OP_convolution, 2, x, countof(attr), attr, NULL);
    const ir_value bias = ir_build_broadcast_in_dim(g, in[2], ir_type_of(g, y), last);
    const ir_value sum = ir_build_binary(g, OP_add, ir_build_binary(g, OP_add, y, bias), in[3]);
    return ir_build_binary_scalar(g, OP_maximum, sum, 0);
}
static ir_value build_fused_2(ir_graph *g, const ir_value *in) { return build_fused(g, in, 2); }
static ir_value build_fused_4(ir_graph *g, const ir_value *in) { return build_fused(g, in, 4); }

/* Partial sums over tiles: which terms a part has is up to the code, only their sum is compared. */
static ir_value build_parts(ir_graph *g, const ir_value *in, int step)
{
    const int64_t first = 0;
    const ir_attr attr[] = {INT(splits, 5), BUILT(step, "f01b", "i01o", "01bf", )};
    return ir_build_reduce(g, "add", ir_build(g, OP_convolution, 2, in, countof(attr), attr, NULL), 1, &first, false);
}
static ir_value build_parts_2(ir_graph *g, const ir_value *in) { return build_parts(g, in, 2); }
static ir_value build_parts_4(ir_graph *g, const ir_value *in) { return build_parts(g, in, 4); }

static const ops_case cases[] = {
    {.name = "winograd_same", .op = OP_convolution,
     .in = {{"f32[N,6,8,16]", -2, 2, 0, NULL}, {"f32[3,3,16,32]", -2, 2, 0, NULL}},
     .attrs = WINDOW(2, PAIR(1, 1), PAIR(1, 1), 0, "b01f", "01io", "b01f", )},
    {.name = "winograd_valid_odd", .op = OP_convolution,
     .in = {{"f32[N,5,9,19]", -2, 2, 0, NULL}, {"f32[3,3,19,45]", -2, 2, 0, NULL}},
     .attrs = WINDOW(2, PAIR(0, 0), PAIR(0, 0), 0, "b01f", "01io", "b01f", )},
    {.name = "winograd_uneven_padding", .op = OP_convolution,
     .in = {{"f32[N,1,4,3]", -2, 2, 0, NULL}, {"f32[3,3,3,5]", -2, 2, 0, NULL}},
     .attrs = WINDOW(2, PAIR(2, 0), PAIR(2, 3), 0, "b01f", "01io", "b01f", )},
    {.name = "winograd_image", .op = OP_convolution,
     .in = {{"f32[N,7,4,37]", -2, 2, 0, NULL}, {"f32[3,3,20,37]", -2, 2, 0, NULL}},
     .attrs = WINDOW(2, PAIR(1, 1), PAIR(1, 1), 1, "b01f", "01oi", "b01f", )},
    {.name = "winograd_blocks", .op = OP_convolution, .no_gradient = true,
     .in = {{"f32[N,2,3,140]", -2, 2, 0, NULL}, {"f32[3,3,140,139]", -2, 2, 0, NULL}},
     .attrs = WINDOW(2, PAIR(1, 1), PAIR(1, 1), 0, "b01f", "01io", "b01f", )},
    {.name = "winograd_blocks_image", .op = OP_convolution, .no_gradient = true,
     .in = {{"f32[N,2,1,150]", -2, 2, 0, NULL}, {"f32[3,3,132,150]", -2, 2, 0, NULL}},
     .attrs = WINDOW(2, PAIR(1, 1), PAIR(1, 1), 1, "b01f", "01oi", "b01f", )},
    {.name = "winograd_kernel", .op = OP_convolution, .no_gradient = true,
     .in = {{"f32[N,6,5,20]", -2, 2, 0, NULL}, {"f32[N,6,5,37]", -2, 2, 0, NULL}},
     .attrs = WINDOW(2, PAIR(1, 1), PAIR(1, 1), 0, "f01b", "i01o", "01bf", )},
    {.name = "winograd_kernel_valid", .op = OP_convolution, .no_gradient = true,
     .in = {{"f32[N,12,9,33]", -2, 2, 0, NULL}, {"f32[N,10,7,32]", -2, 2, 0, NULL}},
     .attrs = WINDOW(2, PAIR(0, 0), PAIR(0, 0), 0, "f01b", "i01o", "01bf", )},
    {.name = "winograd_kernel_blocks", .op = OP_convolution, .no_gradient = true,
     .in = {{"f32[N,2,3,130]", -2, 2, 0, NULL}, {"f32[N,2,3,141]", -2, 2, 0, NULL}},
     .attrs = WINDOW(2, PAIR(1, 1), PAIR(1, 1), 0, "f01b", "i01o", "01bf", )},
    {.name = "winograd_parts", .op = OP_convolution, .no_gradient = true, .build = build_parts_2,
     .in = {{"f32[N,6,7,16]", -2, 2, 0, NULL}, {"f32[N,6,7,40]", -2, 2, 0, NULL}}},
    {.name = "winograd_fused", .op = OP_convolution, .build = build_fused_2, .no_gradient = true,
     .in = {{"f32[N,5,6,18]", -2, 2, 0, NULL},
            {"f32[3,3,18,35]", -2, 2, 0, NULL},
            {"f32[35]", -2, 2, 0, NULL},
            {"f32[N,5,6,35]", -2, 2, 0, NULL}}},
    {.name = "winograd_four_same", .op = OP_convolution,
     .in = {{"f32[N,7,8,19]", -2, 2, 0, NULL}, {"f32[3,3,19,34]", -2, 2, 0, NULL}},
     .attrs = WINDOW(4, PAIR(1, 1), PAIR(1, 1), 0, "b01f", "01io", "b01f", )},
    {.name = "winograd_four_valid", .op = OP_convolution,
     .in = {{"f32[N,6,11,16]", -2, 2, 0, NULL}, {"f32[3,3,16,45]", -2, 2, 0, NULL}},
     .attrs = WINDOW(4, PAIR(0, 0), PAIR(0, 0), 0, "b01f", "01io", "b01f", )},
    {.name = "winograd_four_image", .op = OP_convolution,
     .in = {{"f32[N,5,4,37]", -2, 2, 0, NULL}, {"f32[3,3,20,37]", -2, 2, 0, NULL}},
     .attrs = WINDOW(4, PAIR(1, 2), PAIR(1, 0), 1, "b01f", "01oi", "b01f", )},
    {.name = "winograd_four_blocks", .op = OP_convolution, .no_gradient = true,
     .in = {{"f32[N,5,2,70]", -2, 2, 0, NULL}, {"f32[3,3,70,139]", -2, 2, 0, NULL}},
     .attrs = WINDOW(4, PAIR(1, 1), PAIR(1, 1), 0, "b01f", "01io", "b01f", )},
    {.name = "winograd_four_kernel", .op = OP_convolution, .no_gradient = true,
     .in = {{"f32[N,6,5,20]", -2, 2, 0, NULL}, {"f32[N,6,5,37]", -2, 2, 0, NULL}},
     .attrs = WINDOW(4, PAIR(1, 1), PAIR(1, 1), 0, "f01b", "i01o", "01bf", )},
    {.name = "winograd_four_kernel_blocks", .op = OP_convolution, .no_gradient = true,
     .in = {{"f32[N,5,6,130]", -2, 2, 0, NULL}, {"f32[N,3,4,141]", -2, 2, 0, NULL}},
     .attrs = WINDOW(4, PAIR(0, 0), PAIR(0, 0), 0, "f01b", "i01o", "01bf", )},
    {.name = "winograd_four_parts", .op = OP_convolution, .no_gradient = true, .build = build_parts_4,
     .in = {{"f32[N,6,7,16]", -2, 2, 0, NULL}, {"f32[N,6,7,40]", -2, 2, 0, NULL}}},
    {.name = "winograd_four_fused", .op = OP_convolution, .build = build_fused_4, .no_gradient = true,
     .in = {{"f32[N,5,6,18]", -2, 2, 0, NULL},
            {"f32[3,3,18,35]", -2, 2, 0, NULL},
            {"f32[35]", -2, 2, 0, NULL},
            {"f32[N,5,6,35]", -2, 2, 0, NULL}}},
};

const ops_list ops_cases_winograd = {countof(cases), cases};
