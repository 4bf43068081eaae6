/* philox.c: the random words of TensorFlow's stateless operations (Philox4x32-10). The pair of
 * 64-bit seed words is taken as the stateless op gets it: Keras reduces both mod 2^31 - 2
 * before, and so does the frontend, in the graph. */
#include "ir/ir.h"

typedef struct philox_block {
    uint32_t word[4];
} philox_block;

enum { PHILOX_ROUNDS = 10 };

/* counter is four words, lowest first. */
static philox_block make_block(philox_block counter, uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)counter.word[0] * 0xd2511f53u;
        const uint64_t p1 = (uint64_t)counter.word[2] * 0xcd9e8d57u;
        counter = (philox_block){{(uint32_t)(p1 >> 32) ^ counter.word[1] ^ key0, (uint32_t)p1,
                                  (uint32_t)(p0 >> 32) ^ counter.word[3] ^ key1, (uint32_t)p0}};
        key0 += 0x9e3779b9u;
        key1 += 0xbb67ae85u;
    }
    return counter;
}

uint32_t ir_philox_word(int64_t seed, int64_t counter, uint64_t index)
{
    const uint64_t s0 = (uint64_t)seed, s1 = (uint64_t)counter;
    const philox_block seeds = {
        {(uint32_t)s0, (uint32_t)(s0 >> 32), (uint32_t)s1, (uint32_t)(s1 >> 32)}};
    const philox_block mixed = make_block(seeds, 0x3ec8f720u, 0x02461e29u);
    const uint64_t group =
        index / 4; /* below 2^62: the two high words of the counter never change */
    const philox_block at = {
        {(uint32_t)group, (uint32_t)(group >> 32), mixed.word[2], mixed.word[3]}};
    return make_block(at, mixed.word[0], mixed.word[1]).word[index % 4];
}
