/* philox.c: see philox.h. */
#include "philox.h"

#include <math.h>
#include <string.h>

enum { ROUNDS = 10 };

static void encrypt(const uint32_t key[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1], c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t a = (uint64_t)0xd2511f53u * c0, b = (uint64_t)0xcd9e8d57u * c2;
        uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c0 = n0;
        c1 = (uint32_t)b;
        c2 = n2;
        c3 = (uint32_t)a;
        k0 += 0x9e3779b9u;
        k1 += 0xbb67ae85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

philox philox_of_seed(int64_t seed)
{
    static const uint32_t scramble[2] = {0x3ec8f720u, 0x02461e29u};
    const int64_t modulus = INT32_MAX - 1;
    int64_t reduced = seed % modulus;
    if (reduced < 0) reduced += modulus;
    const uint32_t counter[4] = {(uint32_t)reduced, 0, 0, 0};
    uint32_t mix[4];
    encrypt(scramble, counter, mix);
    return (philox){.key = {mix[0], mix[1]}, .counter = {0, 0, mix[2], mix[3]}};
}

void philox_block(const philox *p, uint64_t index, uint32_t out_word[4])
{
    uint64_t low = (p->counter[0] | (uint64_t)p->counter[1] << 32) + index;
    uint64_t high = p->counter[2] | (uint64_t)p->counter[3] << 32;
    high += low < index;
    const uint32_t counter[4] = {(uint32_t)low, (uint32_t)(low >> 32), (uint32_t)high,
                                 (uint32_t)(high >> 32)};
    encrypt(p->key, counter, out_word);
}

static float uniform_of(uint32_t word)
{
    uint32_t bits = (word & 0x7fffffu) | 0x3f800000u;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value - 1.0f;
}

/* Box-Muller. */
static void normal_of(const uint32_t word[2], float out[2])
{
    float u = uniform_of(word[0]);
    if (u < 1.0e-7f) u = 1.0e-7f;
    float angle = (float)(2 * 3.14159265358979323846 * (double)uniform_of(word[1]));
    float radius = sqrtf(-2.0f * logf(u));
    out[0] = sinf(angle) * radius;
    out[1] = cosf(angle) * radius;
}

static void uniform_group(const philox *p, uint64_t group, float out[4])
{
    uint32_t word[4];
    philox_block(p, group, word);
    for (int i = 0; i < 4; i++) out[i] = uniform_of(word[i]);
}

static void normal_group(const philox *p, uint64_t group, float out[4])
{
    uint32_t word[4];
    philox_block(p, group, word);
    normal_of(word, out);
    normal_of(word + 2, out + 2);
}

/* A group of 4 has 256 blocks of the stream to itself, draws pairs and keeps what lies within two deviations.
 */
static void truncated_group(const philox *p, uint64_t group, float out[4])
{
    int made = 0;
    for (uint64_t block = group * 256; made < 4; block++) {
        uint32_t word[4];
        philox_block(p, block, word);
        for (int half = 0; half < 4; half += 2) {
            float pair[2];
            normal_of(word + half, pair);
            for (int i = 0; i < 2; i++) {
                if (made < 4 && fabsf(pair[i]) < 2.0f) out[made++] = pair[i];
            }
        }
    }
}

typedef void (*make_group)(const philox *p, uint64_t group, float out[4]);

static void fill(const philox *p, uint64_t first, uint64_t count, float *out, make_group make)
{
    for (uint64_t done = 0; done < count; done += 4) {
        float group[4];
        make(p, (first + done) / 4, group);
        uint64_t n = count - done < 4 ? count - done : 4;
        memcpy(out + done, group, (size_t)n * sizeof *out);
    }
}

void philox_uniform(const philox *p, uint64_t first, uint64_t count, float *out)
{
    fill(p, first, count, out, uniform_group);
}

void philox_normal(const philox *p, uint64_t first, uint64_t count, float *out)
{
    fill(p, first, count, out, normal_group);
}

void philox_truncated_normal(const philox *p, uint64_t first, uint64_t count, float *out)
{
    fill(p, first, count, out, truncated_group);
}

uint64_t philox_mix(uint64_t number)
{
    uint64_t z = number + 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
