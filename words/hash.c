/* hash.c: FarmHash's 64-bit fingerprint (published as frozen: its values never change) and SipHash-2-4, as TensorFlow
 * uses them for hash buckets; and the quick hash of vocabularies. */
#include "words/words.h"

#include <string.h>

static const uint64_t k0 = 0xc3a5c85c97cb3127u, k1 = 0xb492b66fbe98f273u, k2 = 0x9ae16a3b2f90404fu;

/* Both hashes are defined on little-endian words. */
static uint64_t load(const uint8_t *p, int bytes)
{
    uint64_t word = 0;
    for (int i = 0; i < bytes; i++) word |= (uint64_t)p[i] << (8 * i);
    return word;
}
static uint64_t load64(const uint8_t *p) { return load(p, 8); }
static uint64_t load32(const uint8_t *p) { return load(p, 4); }
static uint64_t rotate_right(uint64_t x, int by) { return x >> by | x << (64 - by); }
static uint64_t fold(uint64_t x) { return x ^ x >> 47; }

/* ---- fingerprint ------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t a, uint64_t b, uint64_t by)
{
    const uint64_t first = fold((a ^ b) * by);
    return fold((b ^ first) * by) * by;
}

static uint64_t hash_short(const uint8_t *s, size_t length)
{
    const uint64_t by = k2 + length * 2;
    if (length >= 8) {
        const uint64_t a = load64(s) + k2, b = load64(s + length - 8);
        return mix(rotate_right(b, 37) * by + a, (rotate_right(a, 25) + b) * by, by);
    }
    if (length >= 4) return mix(length + (load32(s) << 3), load32(s + length - 4), by);
    if (length == 0) return k2;
    const uint32_t y = s[0] + ((uint32_t)s[length >> 1] << 8), z = (uint32_t)length + ((uint32_t)s[length - 1] << 2);
    return fold(y * k2 ^ z * k0) * k2;
}

static uint64_t hash_to_32(const uint8_t *s, size_t length)
{
    const uint64_t by = k2 + length * 2, a = load64(s) * k1, b = load64(s + 8), c = load64(s + length - 8) * by,
                   d = load64(s + length - 16) * k2;
    return mix(rotate_right(a + b, 43) + rotate_right(c, 30) + d, a + rotate_right(b + k2, 18) + c, by);
}

static uint64_t hash_to_64(const uint8_t *s, size_t length)
{
    const uint64_t by = k2 + length * 2, a = load64(s) * k2, b = load64(s + 8), c = load64(s + length - 8) * by,
                   d = load64(s + length - 16) * k2;
    const uint64_t y = rotate_right(a + b, 43) + rotate_right(c, 30) + d,
                   z = mix(y, a + rotate_right(b + k2, 18) + c, by);
    const uint64_t e = load64(s + 16) * by, f = load64(s + 24), g = (y + load64(s + length - 32)) * by,
                   h = (z + load64(s + length - 24)) * by;
    return mix(rotate_right(e + f, 43) + rotate_right(g, 30) + h, e + rotate_right(f + a, 18) + g, by);
}

typedef struct pair {
    uint64_t a, b;
} pair;

static pair absorb_32(const uint8_t *s, uint64_t a, uint64_t b)
{
    const uint64_t w = load64(s), x = load64(s + 8), y = load64(s + 16), z = load64(s + 24), start = a + w;
    b = rotate_right(b + start + z, 21);
    a = start + x + y;
    return (pair){a + z, b + rotate_right(a, 44) + start};
}

typedef struct state {
    uint64_t x, y, z;
    pair v, w;
} state;

/* 64 bytes. factor: k1 but for the last block, whose carries are weighted by 9. */
static void absorb_64(state *t, const uint8_t *s, uint64_t factor, uint64_t weight)
{
    t->x = rotate_right(t->x + t->y + t->v.a + load64(s + 8), 37) * factor;
    t->y = rotate_right(t->y + t->v.b + load64(s + 48), 42) * factor;
    t->x ^= t->w.b * weight;
    t->y += t->v.a * weight + load64(s + 40);
    t->z = rotate_right(t->z + t->w.a, 33) * factor;
    t->v = absorb_32(s, t->v.b * factor, t->x + t->w.a);
    t->w = absorb_32(s + 32, t->z + t->w.b, t->y + load64(s + 16));
    const uint64_t x = t->x;
    t->x = t->z;
    t->z = x;
}

uint64_t words_fingerprint(const void *bytes, size_t length)
{
    const uint8_t *s = bytes;
    const uint64_t seed = 81;
    if (length <= 16) return hash_short(s, length);
    if (length <= 32) return hash_to_32(s, length);
    if (length <= 64) return hash_to_64(s, length);
    state t = {.x = seed * k2 + load64(s), .y = seed * k1 + 113};
    t.z = fold(t.y * k2 + 113) * k2;
    const uint8_t *end = s + (length - 1) / 64 * 64;
    for (; s != end; s += 64) absorb_64(&t, s, k1, 1);
    const size_t rest = (length - 1) & 63;
    const uint64_t factor = k1 + ((t.z & 255) << 1);
    t.w.a += rest;
    t.v.a += t.w.a;
    t.w.a += t.v.a;
    absorb_64(&t, end + rest - 63, factor, 9);
    return mix(mix(t.v.a, t.w.a, factor) + fold(t.y) * k0 + t.z, mix(t.v.b, t.w.b, factor) + t.x, factor);
}

/* ---- SipHash-2-4 ------------------------------------------------------------------------------ */

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate_right(v[1], 64 - 13) ^ v[0];
    v[3] = rotate_right(v[3], 64 - 16) ^ v[2];
    v[0] = rotate_right(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotate_right(v[1], 64 - 17) ^ v[2];
    v[3] = rotate_right(v[3], 64 - 21) ^ v[0];
    v[2] = rotate_right(v[2], 32);
}

static void sip_absorb(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    sip_round(v);
    v[0] ^= word;
}

uint64_t words_siphash(const uint64_t key[2], const void *bytes, size_t length)
{
    const uint8_t *s = bytes;
    uint64_t v[4] = {key[0] ^ 0x736f6d6570736575u, key[1] ^ 0x646f72616e646f6du, key[0] ^ 0x6c7967656e657261u,
                     key[1] ^ 0x7465646279746573u};
    size_t at = 0;
    for (; at + 8 <= length; at += 8) sip_absorb(v, load64(s + at));
    sip_absorb(v, load(s + at, (int)(length - at)) | (uint64_t)length << 56);
    v[2] ^= 255;
    for (int i = 0; i < 4; i++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- of vocabularies -------------------------------------------------------------------------- */

static uint64_t scatter_bits(uint64_t x)
{
    x = (x ^ x >> 33) * 0xff51afd7ed558ccdu;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53u;
    return x ^ x >> 33;
}

uint64_t words_hash_begin(uint64_t seed) { return 0xcbf29ce484222325u ^ scatter_bits(seed + 1); }

uint64_t words_hash_end(uint64_t hash)
{
    const uint64_t mixed = scatter_bits(hash);
    return mixed ? mixed : 1;
}

uint64_t words_hash_integer(uint64_t seed, int64_t key)
{
    return words_hash_end((uint64_t)key * 0x9e3779b97f4a7c15u ^ words_hash_begin(seed));
}
