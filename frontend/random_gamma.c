/* random_gamma.c: TensorFlow's stateless gamma numbers and Keras's beta numbers as IR. A number is found by
 * rejection: each try takes a normal and a uniform number, all in double precision, from blocks of the
 * generator that are its own, two numbers a block. Nineteen of twenty tries or more are taken; after the last
 * one here the number is kept as it is, which happens once in 10^13. */
#include "frontend/fe.h"

enum { TRIES = 10, BLOCKS = 12, WORDS_OF_ONE = 1024 };

typedef struct gamma {
    ir_graph *g;
    ir_type one;                     /* f64[N] */
    ir_value normal[2], unit[2];     /* f64[N, BLOCKS]: what each block holds, read as either */
    ir_value next;                   /* block, i32[N] */
    ir_value normals, units;         /* how many numbers are left of the last block of each kind */
    ir_value held_normal, held_unit; /* the one left */
} gamma;

static ir_value fill(const gamma *s, ir_dtype dtype, double x)
{
    return ir_build_fill(s->g, ir_type_with_dtype(s->one, dtype), x);
}

static ir_value map2(const gamma *s, ir_op op, ir_value a, ir_value b)
{
    return ir_build_binary(s->g, op, a, b);
}
static ir_value map_number(const gamma *s, ir_op op, ir_value a, double b)
{
    return ir_build_binary_scalar(s->g, op, a, b);
}
static ir_value less(const gamma *s, ir_value a, ir_value b) { return ir_build_compare(s->g, "LT", a, b); }
static ir_value choose(const gamma *s, ir_value condition, ir_value a, ir_value b)
{
    return ir_build_select(s->g, condition, a, b);
}

/* Two words as a number in [0, 1): the lower 20 bits of the first, then the second. */
static ir_value build_unit(ir_graph *g, ir_value high, ir_value low)
{
    ir_value bits = ir_build_convert(g, ir_build_binary_scalar(g, OP_and, high, (double)0xfffff), DTYPE_u64);
    bits = ir_build_binary_scalar(g, OP_or, bits, (double)(1023 << 20));
    bits = ir_build_binary_scalar(g, OP_shift_left, bits, 32);
    bits = ir_build_binary(g, OP_or, bits, ir_build_convert(g, low, DTYPE_u64));
    const ir_type type = ir_type_with_dtype(*ir_type_of(g, bits), DTYPE_f64);
    return ir_build_binary_scalar(g, OP_subtract, ir_build(g, OP_bitcast_convert, 1, &bits, 0, NULL, &type),
                                  1);
}

static void read_blocks(gamma *s, fe_lower *l, ir_value seed)
{
    ir_graph *g = s->g;
    const ir_dim all[] = {s->one.dim[0], ir_fixed(WORDS_OF_ONE)},
                 few[] = {s->one.dim[0], ir_fixed(BLOCKS), ir_fixed(4)};
    ir_value words = ir_build_random_words(l->g, seed, ir_type_make(DTYPE_u32, 2, all)), word[4];
    words = ir_build_reshape(g, ir_build_slice_dim(g, words, 1, 0, 4 * BLOCKS), 3, few);
    for (int i = 0; i < 4; i++)
        word[i] = ir_build_reshape(g, ir_build_slice_dim(g, words, 2, i, i + 1), 2, few);
    for (int i = 0; i < 2; i++) s->unit[i] = build_unit(g, word[2 * i], word[2 * i + 1]);
    ir_value radius = ir_build_binary_scalar(g, OP_maximum, s->unit[0], 1.0e-7);
    radius = ir_build_binary_scalar(g, OP_multiply, ir_build_unary(g, OP_log, radius), -2);
    radius = ir_build_unary(g, OP_sqrt, radius);
    const ir_value angle = ir_build_binary_scalar(g, OP_multiply, s->unit[1], 6.283185307179586);
    s->normal[0] = ir_build_binary(g, OP_multiply, ir_build_unary(g, OP_sine, angle), radius);
    s->normal[1] = ir_build_binary(g, OP_multiply, ir_build_unary(g, OP_cosine, angle), radius);
}

/* Row i of table [N, BLOCKS] at next[i]. */
static ir_value read_block(const gamma *s, ir_value table)
{
    const ir_type t = ir_type_with_dtype(*ir_type_of(s->g, table), DTYPE_i32);
    const ir_type masked = *ir_type_of(s->g, table);
    const int64_t first = 0, block = 1;
    const ir_value at = ir_build_broadcast_in_dim(s->g, s->next, &t, &first);
    const ir_value here = ir_build_compare(s->g, "EQ", at, ir_build_iota(s->g, t, 1));
    return ir_build_reduce(s->g, "add", ir_build_select(s->g, here, table, ir_build_fill(s->g, masked, 0)), 1,
                           &block, false);
}

/* The next number of a kind where `taken`: the second of a new block, or the first of the last one. */
static ir_value take(gamma *s, ir_value taken, const ir_value table[2], ir_value *left, ir_value *held)
{
    const ir_value none = ir_build_compare(s->g, "EQ", *left, fill(s, DTYPE_i32, 0));
    const ir_value fresh = map2(s, OP_and, none, taken);
    const ir_value number = choose(s, none, read_block(s, table[1]), *held);
    *held = choose(s, fresh, read_block(s, table[0]), *held);
    const ir_value after = choose(s, none, fill(s, DTYPE_i32, 1), fill(s, DTYPE_i32, 0));
    *left = choose(s, taken, after, *left);
    s->next = map2(s, OP_add, s->next, ir_build_convert(s->g, fresh, DTYPE_i32));
    return number;
}

/* The result so far, and i1[N] where it is final. */
typedef struct attempt {
    ir_value result, done;
} attempt;

static void try_once(gamma *s, ir_value c, ir_value d, attempt *t)
{
    ir_graph *g = s->g;
    const ir_value one = fill(s, DTYPE_f64, 1), open = ir_build_unary(g, OP_not, t->done);
    const ir_value x = take(s, open, s->normal, &s->normals, &s->held_normal);
    ir_value v = map2(s, OP_add, one, map2(s, OP_multiply, c, x));
    const ir_value positive = ir_build_compare(g, "GT", v, fill(s, DTYPE_f64, 0));
    v = choose(s, positive, map2(s, OP_multiply, map2(s, OP_multiply, v, v), v), one);
    const ir_value tried = map2(s, OP_and, open, positive);
    const ir_value u = take(s, tried, s->unit, &s->units, &s->held_unit);
    const ir_value square = map2(s, OP_multiply, x, x);
    const ir_value squeeze = map_number(s, OP_multiply, map2(s, OP_multiply, square, square), 0.0331);
    const ir_value quick = less(s, u, map2(s, OP_subtract, one, squeeze));
    ir_value bound = map2(s, OP_add, map2(s, OP_subtract, one, v), ir_build_unary(g, OP_log, v));
    bound = map2(s, OP_add, map_number(s, OP_multiply, square, 0.5), map2(s, OP_multiply, d, bound));
    const ir_value good = map2(s, OP_or, quick, less(s, ir_build_unary(g, OP_log, u), bound));
    const ir_value found = map2(s, OP_and, tried, good);
    t->result = choose(s, found, map2(s, OP_multiply, d, v), t->result);
    t->done = map2(s, OP_or, t->done, found);
}

/* One number of shape alpha[N]; an alpha below 1 is raised by 1 and the number brought down by a power. */
static ir_value build_gamma(fe_lower *l, ir_value seed, ir_value alpha)
{
    gamma s = {.g = l->g, .one = ir_type_with_dtype(*ir_type_of(l->g, alpha), DTYPE_f64)};
    ir_graph *g = l->g;
    read_blocks(&s, l, seed);
    s.next = s.normals = s.units = fill(&s, DTYPE_i32, 0);
    s.held_normal = s.held_unit = fill(&s, DTYPE_f64, 0);
    alpha = ir_build_convert(g, alpha, DTYPE_f64);
    const ir_value small = less(&s, alpha, fill(&s, DTYPE_f64, 1));
    const ir_value shift = choose(&s, small, fill(&s, DTYPE_f64, 2.0 / 3), fill(&s, DTYPE_f64, -1.0 / 3));
    const ir_value d = map2(&s, OP_add, alpha, shift);
    const ir_value c = map2(&s, OP_divide, fill(&s, DTYPE_f64, 1.0 / 3), ir_build_unary(g, OP_sqrt, d));
    attempt t = {d, fill(&s, DTYPE_i1, 0)};
    for (int i = 0; i < TRIES; i++) try_once(&s, c, d, &t);
    const ir_value b = take(&s, fill(&s, DTYPE_i1, 1), s.unit, &s.units, &s.held_unit);
    const ir_value power = map2(&s, OP_power, b, map2(&s, OP_divide, fill(&s, DTYPE_f64, 1), alpha));
    ir_value result = choose(&s, small, map2(&s, OP_multiply, t.result, power), t.result);
    /* An alpha of 1 takes the first block's second number and no rejection. */
    const ir_value zero = fill(&s, DTYPE_i32, 0);
    s.next = zero;
    const ir_value unit = ir_build_unary(g, OP_negate, read_block(&s, s.unit[1]));
    const ir_value exponential = ir_build_unary(g, OP_negate, ir_build_unary(g, OP_log_plus_one, unit));
    result = choose(&s, ir_build_compare(g, "EQ", alpha, fill(&s, DTYPE_f64, 1)), exponential, result);
    return ir_build_binary_scalar(g, OP_maximum, ir_build_convert(g, result, DTYPE_f32), 1.17549435e-38);
}

ir_value fe_random_beta(fe_lower *l, ir_value seed, ir_value alpha)
{
    const int64_t twelve[] = {12, 12};
    const ir_type pair = *ir_type_of(l->g, seed);
    const ir_value other = ir_build_binary(l->g, OP_add, seed, ir_build_constant(l->g, pair, twelve));
    const ir_value a = build_gamma(l, seed, alpha), b = build_gamma(l, other, alpha);
    return ir_build_binary(l->g, OP_divide, a, ir_build_binary(l->g, OP_add, a, b));
}
