/* cases_pairs.c: products of bf16 operands whose results stay f32, so that a product that is left out or counted twice
 * shows: operands along every role, runs of odd length, blocks of k, padding, operands computed on the way. */
#include "ops/cases.h"

static ir_value rounded(ir_graph *g, ir_value x)
{
    return ir_build_convert(g, ir_build_convert(g, x, DTYPE_bf16), DTYPE_f32);
}

/* Exact but for its rounding, which an approximation could turn the other way; not 0 at 0. */
static ir_value wave(ir_graph *g, ir_value x)
{
    return rounded(g, ir_build_binary_scalar(g, OP_add, ir_build_unary(g, OP_abs, x), 1));
}

/* Operands that are computed where the kernel reads them, never 0 where they end. */
static ir_value computed(ir_graph *g, const ir_value *in) { return ir_build_dot(g, wave(g, in[0]), rounded(g, in[1])); }

static ir_value computed_turned(ir_graph *g, const ir_value *in)
{
    const ir_dot dot = {.contracting_count = 1, .lhs_contracting = {1}, .rhs_contracting = {1}};
    return ir_build_dot_general(g, wave(g, in[0]), wave(g, in[1]), &dot);
}

static ir_value computed_over_batch(ir_graph *g, const ir_value *in)
{
    const ir_dot dot = {.contracting_count = 1, .lhs_contracting = {0}, .rhs_contracting = {0}};
    return ir_build_dot_general(g, wave(g, in[0]), wave(g, in[1]), &dot);
}

#define TWO(a, b) .in = {{a, -2, 2, 0, NULL}, {b, -2, 2, 0, NULL}}, .widen = true
#define DOT(name_, lhs, rhs, ...)                                                                                       \
    {.name = name_, .op = OP_dot_general, TWO(lhs, rhs), .attrs = ATTRS(NO_INTS(lhs_batch), NO_INTS(rhs_batch), __VA_ARGS__)}
#define CHAIN(name_, lhs, rhs, build_)                                                                                  \
    {.name = name_, .op = OP_dot_general, .in = {{lhs, -2, 2, 0, NULL}, {rhs, -2, 2, 0, NULL}}, .build = build_}
#define SAME(stride, low, high, base)                                                                                   \
    INTS(window_strides, stride, stride), INTS(padding_low, low, low), INTS(padding_high, high, high),                  \
        INTS(base_dilation, base, base), INTS(window_dilation, 1, 1)
#define IMAGE(name_, image, kernel, ...)                                                                                \
    {.name = name_, .op = OP_convolution, TWO(image, kernel),                                                           \
     .attrs = ATTRS(__VA_ARGS__, INT(window_reversal, 0), WORD(lhs_layout, "b01f"), WORD(rhs_layout, "01io"),           \
         WORD(out_layout, "b01f"), INT(feature_group_count, 1), INT(batch_group_count, 1))}

static const ops_case cases[] = {
    DOT("pairs_odd", "bf16[N,131]", "bf16[131,67]", INTS(lhs_contracting, 1), INTS(rhs_contracting, 0)),
    DOT("pairs_even", "bf16[N,130]", "bf16[130,300]", INTS(lhs_contracting, 1), INTS(rhs_contracting, 0)),
    DOT("pairs_turned", "bf16[N,131]", "bf16[67,131]", INTS(lhs_contracting, 1), INTS(rhs_contracting, 1)),
    DOT("pairs_turned_short", "bf16[N,9]", "bf16[40,9]", INTS(lhs_contracting, 1), INTS(rhs_contracting, 1)),
    DOT("pairs_over_batch", "bf16[N,70]", "bf16[N,33]", INTS(lhs_contracting, 0), INTS(rhs_contracting, 0)),
    DOT("pairs_deep", "bf16[N,1501]", "bf16[1501,33]", INTS(lhs_contracting, 1), INTS(rhs_contracting, 0)),
    DOT("pairs_deep_even", "bf16[N,2600]", "bf16[40,2600]", INTS(lhs_contracting, 1), INTS(rhs_contracting, 1)),
    DOT("pairs_same_sets", "bf16[N,1024]", "bf16[1024,33]", INTS(lhs_contracting, 1), INTS(rhs_contracting, 0)),
    DOT("pairs_two_odd", "bf16[N,4,15]", "bf16[4,15,40]", INTS(lhs_contracting, 1, 2), INTS(rhs_contracting, 0, 1)),
    DOT("pairs_two_deep", "bf16[N,301,5]", "bf16[301,5,40]", INTS(lhs_contracting, 1, 2), INTS(rhs_contracting, 0, 1)),
    DOT("pairs_two_crossed", "bf16[N,7,9]", "bf16[9,40,7]", INTS(lhs_contracting, 1, 2), INTS(rhs_contracting, 2, 0)),
    DOT("pairs_batch_and_steps", "bf16[N,5,40]", "bf16[N,5,35]", INTS(lhs_contracting, 0, 1), INTS(rhs_contracting, 0, 1)),
    DOT("pairs_tall", "bf16[61,160]", "bf16[61,40]", INTS(lhs_contracting, 0), INTS(rhs_contracting, 0)),
    {.name = "pairs_heads", .op = OP_dot_general, TWO("bf16[N,24,3,17]", "bf16[N,24,3,17]"),
     .attrs = ATTRS(INTS(lhs_batch, 0, 2), INTS(rhs_batch, 0, 2), INTS(lhs_contracting, 3), INTS(rhs_contracting, 3))},
    {.name = "pairs_splits", .no_gradient = true, .op = OP_dot_general, TWO("bf16[N,3,40]", "bf16[N,3,40]"),
     .attrs = ATTRS(NO_INTS(lhs_batch), NO_INTS(rhs_batch), INTS(lhs_contracting, 0, 1), INTS(rhs_contracting, 0, 1),
         INT(splits, 4))},
    {.name = "pairs_splits_fixed", .no_gradient = true, .op = OP_dot_general, TWO("bf16[205,48]", "bf16[205,40]"),
     .attrs = ATTRS(NO_INTS(lhs_batch), NO_INTS(rhs_batch), INTS(lhs_contracting, 0), INTS(rhs_contracting, 0), INT(splits, 3))},
    {.name = "pairs_splits_rows", .no_gradient = true, .op = OP_dot_general, TWO("bf16[30,9,21]", "bf16[40,9,21]"),
     .attrs = ATTRS(NO_INTS(lhs_batch), NO_INTS(rhs_batch), INTS(lhs_contracting, 1, 2), INTS(rhs_contracting, 1, 2),
         INT(splits, 5))},
    CHAIN("pairs_computed", "f32[N,45]", "f32[45,40]", computed),
    CHAIN("pairs_computed_turned", "f32[N,45]", "f32[40,45]", computed_turned),
    CHAIN("pairs_computed_over_batch", "f32[N,45]", "f32[N,40]", computed_over_batch),
    IMAGE("pairs_image", "bf16[N,13,11,7]", "bf16[3,3,7,19]", SAME(1, 1, 1, 1)),
    IMAGE("pairs_image_even", "bf16[N,6,7,40]", "bf16[3,3,40,35]", SAME(1, 1, 1, 1)),
    IMAGE("pairs_image_deep", "bf16[N,3,4,200]", "bf16[3,3,200,33]", SAME(1, 1, 1, 1)),
    IMAGE("pairs_image_stride", "bf16[N,13,11,3]", "bf16[5,3,3,40]", SAME(2, 2, 1, 1)),
    IMAGE("pairs_image_grey", "bf16[N,13,11,1]", "bf16[5,5,1,40]", SAME(1, 2, 2, 1)),
    IMAGE("pairs_image_phases", "bf16[N,5,6,20]", "bf16[3,3,20,40]", SAME(1, 2, 1, 2)),
    {.name = "pairs_image_kernel", .no_gradient = true, .op = OP_convolution, TWO("bf16[N,9,8,21]", "bf16[N,9,8,35]"),
     .attrs = ATTRS(SAME(1, 1, 1, 1), INT(window_reversal, 0), WORD(lhs_layout, "f01b"), WORD(rhs_layout, "i01o"),
         WORD(out_layout, "01bf"), INT(feature_group_count, 1), INT(batch_group_count, 1))},
    /* results and gradients in bf16 */
    {.name = "pairs_kept", .op = OP_dot_general, .in = {{"bf16[N,45]", -2, 2, 0, NULL}, {"bf16[45,67]", -2, 2, 0, NULL}},
     .attrs = ATTRS(NO_INTS(lhs_batch), NO_INTS(rhs_batch), INTS(lhs_contracting, 1), INTS(rhs_contracting, 0))},
    {.name = "pairs_kept_image", .op = OP_convolution,
     .in = {{"bf16[N,7,6,5]", -2, 2, 0, NULL}, {"bf16[3,3,5,33]", -2, 2, 0, NULL}},
     .attrs = ATTRS(SAME(2, 1, 1, 1), INT(window_reversal, 0), WORD(lhs_layout, "b01f"), WORD(rhs_layout, "01io"),
         WORD(out_layout, "b01f"), INT(feature_group_count, 1), INT(batch_group_count, 1))},
};

const ops_list ops_cases_pairs = {countof(cases), cases};
