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

/* Numbers in [0, 1) of `dtype`. f32: 23 bits of a word are the mantissa of a number in [1, 2), less 1. 16 bits: the same
 * with the lowest bits of a word. f64: 20 bits of a word and all of the next, along a last dim of 2. */
static ir_value build_unit(ir_graph *g, ir_value words, ir_dtype dtype)
{
    if (dtype == DTYPE_f64) {
        const ir_type pair = *ir_type_of(g, words);
        const int last = pair.rank - 1;
        ir_value high = ir_build_slice_dim(g, words, last, 0, 1), low = ir_build_slice_dim(g, words, last, 1, 2);
        high = ir_build_convert(g, ir_build_binary_scalar(g, OP_and, high, (double)0xfffff), DTYPE_f64);
        low = ir_build_binary_scalar(g, OP_multiply, ir_build_convert(g, low, DTYPE_f64), 0x1p-52);
        const ir_value sum =
            ir_build_binary(g, OP_add, ir_build_binary_scalar(g, OP_multiply, high, 0x1p-20), low);
        return ir_build_reshape(g, sum, last, pair.dim);
    }
    const int mantissa = dtype == DTYPE_f16 ? 10 : dtype == DTYPE_bf16 ? 7 : 23;
    ir_type type = ir_type_with_dtype(*ir_type_of(g, words), DTYPE_f32);
    ir_value bits = ir_build_binary_scalar(g, OP_and, words, (double)((1 << mantissa) - 1));
    if (mantissa < 23) bits = ir_build_binary_scalar(g, OP_multiply, bits, (double)(1 << (23 - mantissa)));
    bits = ir_build_binary_scalar(g, OP_or, bits, (double)0x3f800000);
    const ir_value x = ir_build(g, OP_bitcast_convert, 1, &bits, 0, NULL, &type);
    return ir_build_convert(g, ir_build_binary_scalar(g, OP_subtract, x, 1.0), dtype);
}

static ir_value draw_unit(ir_graph *g, ir_value seed, ir_type shape)
{
    const ir_dtype dtype = shape.dtype;
    if (dtype == DTYPE_f64) shape.dim[shape.rank++] = ir_fixed(2);
    return build_unit(g, build_words(g, seed, shape.rank, shape.dim), dtype);
}

ir_value ir_build_random_words(ir_graph *g, ir_value seed, ir_type shape)
{
    return build_words(g, seed, shape.rank, shape.dim);
}

ir_value ir_build_random_uniform(ir_graph *g, ir_value seed, ir_type shape)
{
    const ir_type whole = shape;
    ir_dim elements;
    if (shape.dtype == DTYPE_f64) { /* the pairs of words need a dim of their own */
        bug_if(!ir_type_elements(&shape, &elements), "random numbers of a shape without a size");
        shape = ir_type_make(DTYPE_f64, 1, &elements);
    }
    return ir_build_reshape(g, draw_unit(g, seed, shape), whole.rank, whole.dim);
}

ir_value ir_build_random_between(ir_graph *g, ir_value seed, ir_type shape, double low, double high)
{
    const float from = (float)low, width = (float)high - from;
    const ir_value unit = ir_build_random_uniform(g, seed, shape);
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
    const ir_dtype dtype = shape.dtype, wide = dtype == DTYPE_f64 ? DTYPE_f64 : DTYPE_f32;
    ir_value u = draw_unit(g, seed, ir_type_make(wide, 2, two));
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
    return ir_build_convert(g, ir_build_reshape(g, x, shape.rank, shape.dim), dtype);
}
