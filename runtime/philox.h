/* philox.h: TensorFlow's stateless random streams on the CPU, reproduced value by value. */
#ifndef RT_PHILOX_H
#define RT_PHILOX_H

#include <stdint.h>

/* A stream: Philox4x32-10 under a key, from a 128-bit counter on. */
typedef struct philox {
    uint32_t key[2];
    uint32_t counter[4];
} philox;

/* The stream of Keras's seed pair {seed, 0}. */
philox philox_of_seed(int64_t seed);
/* The four words of block number `index` of the stream. */
void philox_block(const philox *p, uint64_t index, uint32_t out_word[4]);

/* Elements first .. first + count - 1 of the stream's float32 draws; `first` is a multiple of 4. */
void philox_uniform(const philox *p, uint64_t first, uint64_t count, float *out);
void philox_normal(const philox *p, uint64_t first, uint64_t count, float *out);
void philox_truncated_normal(const philox *p, uint64_t first, uint64_t count, float *out);

/* A well mixed word of a number (splitmix64): seeds derived from other numbers, shuffles. */
uint64_t philox_mix(uint64_t number);

#endif
