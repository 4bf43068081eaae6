/* random.c: TensorFlow's stateless random numbers as IR, word for word. */
#include "ir/ir.h"

static ir_value build_words(ir_graph *g, ir_value seed, int rank, const ir_dim *dim)
{
    /* Keras brings both halves of the seed into TensorFlow's int32 by a floored remainder. */
    const double modulus = 2147483646.0;
    seed = ir_build_binary_scalar(g, OP_remainder, seed, modulus);
    seed = ir_build_binary_scalar(g, OP_add, seed, modulus);
    seed = ir_build_binary_scalar(g, OP_remainder, seed, modulus);
    ir_type type = ir_type_make(DTYPE_u32, rank, dim);
    return ir_build(g, OP_rng_philox, 1, &seed, 0, NULL, &type);
}

/* The lower bits of a word (23 for f32) as the mantissa of a number in [1, 2), less 1. */
static ir_value build_unit(ir_graph *g, ir_value words, ir_dtype dtype)
{
    const bool wide = dtype == DTYPE_f32, half = dtype == DTYPE_f16;
    const double mantissa = wide ? 0x7fffff : half ? 0x3ff : 0x7f;
    const double one = wide ? 0x3f800000 : half ? 0x3c00 : 0x3f80;
    bug_if(!wide && !half && dtype != DTYPE_bf16, "random numbers of a type without a rule");
    const ir_type type = ir_type_with_dtype(*ir_type_of(g, words), dtype);
    ir_value bits = ir_build_binary_scalar(g, OP_and, words, mantissa);
    bits = ir_build_convert(g, ir_build_binary_scalar(g, OP_or, bits, one), wide ? DTYPE_u32 : DTYPE_u16);
    ir_value x = ir_build(g, OP_bitcast_convert, 1, &bits, 0, NULL, &type);
    return ir_build_binary_scalar(g, OP_subtract, x, 1.0);
}

ir_value ir_build_random_words(ir_graph *g, ir_value seed, ir_type shape)
{
    return build_words(g, seed, shape.rank, shape.dim);
}

ir_value ir_build_random_uniform(ir_graph *g, ir_value seed, ir_type shape)
{
    return build_unit(g, build_words(g, seed, shape.rank, shape.dim), DTYPE_f32);
}

ir_value ir_build_random_between(ir_graph *g, ir_value seed, ir_type shape, double low, double high)
{
    const float from = (float)low, width = (float)high - from;
    const ir_value unit = build_unit(g, build_words(g, seed, shape.rank, shape.dim), shape.dtype);
    return ir_build_binary_scalar(g, OP_add, ir_build_binary_scalar(g, OP_multiply, unit, width), from);
}

/* Box-Muller on pairs of words: pair p gives elements 2p (sine) and 2p + 1 (cosine). An odd number of
 * elements is the first half of twice as many, because the pairs of a batch cannot be cut otherwise. */
ir_value ir_build_random_normal(ir_graph *g, ir_value seed, ir_type shape)
{
    ir_dim elements;
    bug_if(!ir_type_elements(&shape, &elements), "random numbers of a shape without a size");
    bool even = elements.count % 2 == 0;
    const ir_dim pairs = {even ? elements.count / 2 : elements.count, elements.batch};
    const ir_dim two[2] = {pairs, ir_fixed(2)};
    ir_value u = build_unit(g, build_words(g, seed, 2, two), DTYPE_f32);
    ir_value first = ir_build_slice_dim(g, u, 1, 0, 1), second = ir_build_slice_dim(g, u, 1, 1, 2);
    first = ir_build_binary(g, OP_maximum, first, ir_build_fill(g, *ir_type_of(g, first), 1.0e-7));
    ir_value r = ir_build_binary_scalar(g, OP_multiply, ir_build_unary(g, OP_log, first), -2.0);
    r = ir_build_unary(g, OP_sqrt, r);
    ir_value angle = ir_build_binary_scalar(g, OP_multiply, second, 6.283185307179586);
    const ir_value part[2] = {ir_build_binary(g, OP_multiply, ir_build_unary(g, OP_sine, angle), r),
                              ir_build_binary(g, OP_multiply, ir_build_unary(g, OP_cosine, angle), r)};
    ir_value x = ir_build_concatenate(g, 2, part, 1);
    if (!even) {
        const ir_dim halves[2] = {ir_fixed(2), elements};
        x = ir_build_slice_dim(g, ir_build_reshape(g, x, 2, halves), 0, 0, 1);
    }
    return ir_build_reshape(g, x, shape.rank, shape.dim);
}
