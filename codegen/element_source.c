/* element_source.c: SOURCE ops: elements made from indices and attributes only. */
#include "codegen/cg_rules.h"

#include <string.h>

/* A splat: the bytes of its one element become an integer constant of the same bits. */
cg_value cg_read_constant(cg *c, ir_value v, const cg_index *index)
{
    (void)index;
    const ir_node *n = cg_node(c, v);
    const ir_attr *data = ir_attr_find(n, ATTR_data);
    const size_t size = ir_dtype_size(n->type.dtype);
    const unsigned char *byte = data->data.bytes;
    bug_if(data->data.size < size, "a constant of %zu bytes", data->data.size);
    uint64_t bits = 0;
    uint16_t b2;
    uint32_t b4;
    switch (size) {
    case 1:
        bits = *byte;
        break;
    case 2:
        memcpy(&b2, byte, 2);
        bits = b2;
        break;
    case 4:
        memcpy(&b4, byte, 4);
        bits = b4;
        break;
    default:
        memcpy(&bits, byte, 8);
        break;
    }
    LLVMTypeRef type = cg_register_type(c, n->type.dtype);
    if (n->type.dtype == DTYPE_i1) return LLVMConstInt(c->i1, bits != 0, 0);
    cg_value whole = LLVMConstInt(LLVMIntTypeInContext(c->context, (unsigned)size * 8), bits, 0);
    return LLVMConstBitCast(whole, type);
}

/* Indices fit in 32 bits signed wherever they are element values of 32 bits or fewer. */
static cg_value convert_index(cg *c, ir_dtype t, cg_value at)
{
    int lanes = cg_lanes_of(at);
    LLVMTypeRef type = cg_vector(cg_register_type(c, t), lanes);
    if (t == DTYPE_i1) return cg_icmp(c, LLVMIntNE, at, LLVMConstNull(LLVMTypeOf(at)));
    if (!ir_dtype_is_float(t)) return LLVMBuildIntCast2(c->b, at, type, 1, "");
    cg_value narrow = LLVMBuildTrunc(c->b, at, cg_vector(c->i32, lanes), "");
    if (t == DTYPE_f64) return LLVMBuildSIToFP(c->b, at, type, "");
    return cg_narrow(c, t, LLVMBuildSIToFP(c->b, narrow, cg_vector(c->f32, lanes), ""));
}

cg_value cg_read_iota(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    const cg_coord *at = &index->at[ir_attr_int(n, ATTR_dimension, 0)];
    cg_value position = cg_coord_is_uniform(at) ? at->base : cg_coord_lanes(c, at, index->lanes);
    return convert_index(c, n->type.dtype, position);
}

cg_value cg_read_dimension_size(cg *c, ir_value v, const cg_index *index)
{
    (void)index;
    return cg_dim(c, ir_batch(ir_attr_int(cg_node(c, v), ATTR_dimension, 1)));
}

/* ---- random words: Philox4x32-10 ------------------------------------------------------------ */

typedef struct philox {
    cg_value word[4], key[2]; /* i32, scalars or vectors */
} philox;

/* Low and high half of the product of 32-bit lanes and a constant. */
static void multiply_wide(cg *c, cg_value x, uint32_t by, cg_value *out_low, cg_value *out_high)
{
    int lanes = cg_lanes_of(x);
    LLVMTypeRef wide = cg_vector(c->i64, lanes), narrow = cg_vector(c->i32, lanes);
    cg_value p = cg_mul(c, LLVMBuildZExt(c->b, x, wide, ""), cg_i64(c, by));
    *out_low = LLVMBuildTrunc(c->b, p, narrow, "");
    *out_high =
        LLVMBuildTrunc(c->b, LLVMBuildLShr(c->b, p, cg_splat(c, cg_i64(c, 32), lanes), ""), narrow, "");
}

static cg_value exclusive_or(cg *c, cg_value a, cg_value b, cg_value d)
{
    int lanes = cg_lanes_of(a);
    cg_value x = LLVMBuildXor(c->b, a, cg_splat(c, b, lanes), "");
    return LLVMBuildXor(c->b, x, cg_splat(c, d, lanes), "");
}

static void mix(cg *c, philox *p)
{
    enum { ROUNDS = 10 };
    int lanes = cg_lanes_of(p->word[0]);
    for (int i = 1; i < 4; i++) p->word[i] = cg_splat(c, p->word[i], lanes);
    for (int round = 0; round < ROUNDS; round++) {
        cg_value low0, high0, low1, high1;
        multiply_wide(c, p->word[0], 0xd2511f53u, &low0, &high0);
        multiply_wide(c, p->word[2], 0xcd9e8d57u, &low1, &high1);
        p->word[0] = exclusive_or(c, high1, p->word[1], p->key[0]);
        p->word[2] = exclusive_or(c, high0, p->word[3], p->key[1]);
        p->word[1] = low1;
        p->word[3] = low0;
        p->key[0] = cg_add(c, p->key[0], cg_i32(c, 0x9e3779b9u));
        p->key[1] = cg_add(c, p->key[1], cg_i32(c, 0xbb67ae85u));
    }
}

static cg_value low_half(cg *c, cg_value x)
{
    return LLVMBuildTrunc(c->b, x, cg_vector(c->i32, cg_lanes_of(x)), "");
}

static cg_value high_half(cg *c, cg_value x)
{
    return low_half(c, LLVMBuildLShr(c->b, x, cg_splat(c, cg_i64(c, 32), cg_lanes_of(x)), ""));
}

/* The generator of a seed pair, before the counter is put in. */
static philox seed_generator(cg *c, ir_value seeds)
{
    cg_index at = {.rank = 1, .lanes = 1};
    cg_value word[2];
    for (int i = 0; i < 2; i++) {
        at.at[0] = cg_coord_uniform(cg_i64(c, i));
        word[i] = cg_element(c, seeds, &at);
    }
    philox p = {
        .word = {low_half(c, word[0]), high_half(c, word[0]), low_half(c, word[1]), high_half(c, word[1])},
        .key = {cg_i32(c, 0x3ec8f720u), cg_i32(c, 0x02461e29u)}};
    mix(c, &p);
    return (philox){.word = {NULL, NULL, p.word[2], p.word[3]}, .key = {p.word[0], p.word[1]}};
}

/* Puts the words of W / 4 whole groups in stream order. */
static cg_value interleave(cg *c, const philox *p, int lanes)
{
    int lane[64], part = lanes / 4;
    cg_value pair[2];
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2 * part; k++) lane[k] = k;
        if (part == 1) {
            pair[i] = LLVMGetPoison(cg_vector(c->i32, 2));
            for (int k = 0; k < 2; k++) pair[i] = cg_set_lane(c, pair[i], k, p->word[2 * i + k]);
        } else {
            pair[i] = cg_shuffle(c, p->word[2 * i], p->word[2 * i + 1], 2 * part, lane);
        }
    }
    for (int k = 0; k < lanes; k++) lane[k] = k % 4 * part + k / 4;
    return cg_shuffle(c, pair[0], pair[1], lanes, lane);
}

cg_value cg_read_rng_philox(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    cg_coord at = cg_index_linear(c, &n->type, index);
    philox p = seed_generator(c, n->in[0]);
    const int lanes = index->lanes;
    bool groups = !at.lanes && at.step == 1 && at.align % 4 == 0 && lanes % 4 == 0;
    bool uniform = cg_coord_is_uniform(&at);
    cg_value position = uniform ? at.base : cg_coord_lanes(c, &at, lanes),
             group = cg_div(c, position, cg_i64(c, 4));
    if (groups) {
        int part = lanes / 4;
        cg_value first = cg_div(c, at.base, cg_i64(c, 4));
        group = part == 1 ? first : cg_add(c, cg_splat(c, first, part), cg_iota(c, c->i64, part, 1));
    }
    p.word[0] = low_half(c, group);
    p.word[1] = high_half(c, group);
    mix(c, &p);
    if (groups) return interleave(c, &p, lanes);
    cg_value place = cg_rem(c, position, cg_i64(c, 4)), out = p.word[3];
    for (int i = 2; i >= 0; i--)
        out = cg_select(c, cg_icmp(c, LLVMIntEQ, place, cg_i64(c, i)), p.word[i], out);
    return out;
}
