/* convert.c: see convert.h. Any conversion goes through a block of doubles, or of int64 where both ends are
 * integers, so that 13 types need 13 loads and 13 stores. */
#include "convert.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 1024 };

static float half_to_float(uint16_t h)
{
    uint32_t exponent = h >> 10 & 31, fraction = h & 1023;
    float value;
    if (exponent == 31)
        value = fraction ? NAN : INFINITY;
    else if (exponent == 0)
        value = (float)fraction * 0x1p-24f;
    else
        value = ldexpf((float)(fraction | 1024), (int)exponent - 25);
    return h >> 15 ? -value : value;
}

static uint16_t half_from_double(double value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double size = fabs(value);
    if (isnan(value)) return sign | 0x7e00;
    if (size >= 65520) return sign | 0x7c00;
    if (size < 0x1p-14) return sign | (uint16_t)nearbyint(size * 0x1p24);
    int exponent;
    double fraction =
        nearbyint(frexp(size, &exponent) * 2048); /* 1024 .. 2048; 2048 carries into the exponent */
    return sign | (uint16_t)(((exponent + 14) << 10) + ((int)fraction - 1024));
}

static float bfloat_to_float(uint16_t b)
{
    uint32_t bits = (uint32_t)b << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Rounds to nearest even by way of float; the double rounding is that of every framework. */
static uint16_t bfloat_from_double(double value)
{
    float narrow = (float)value;
    uint32_t bits;
    memcpy(&bits, &narrow, sizeof bits);
    if (isnan(value)) return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* The types that C has, and their names; half, bfloat and bool are apart. */
#define PLAIN_TYPES(ROW)                                                                                     \
    ROW(TFCC_I8, int8_t, -128., 127.)                                                                        \
    ROW(TFCC_I16, int16_t, -32768., 32767.)                                                                  \
    ROW(TFCC_I32, int32_t, -2147483648., 2147483647.)                                                        \
    ROW(TFCC_I64, int64_t, -0x1p63, 0x1.fffffffffffffp62)                                                    \
    ROW(TFCC_U8, uint8_t, 0., 255.)                                                                          \
    ROW(TFCC_U16, uint16_t, 0., 65535.)                                                                      \
    ROW(TFCC_U32, uint32_t, 0., 4294967295.)                                                                 \
    ROW(TFCC_U64, uint64_t, 0., 0x1.fffffffffffffp63)                                                        \
    ROW(TFCC_F32, float, 0., 0.)                                                                             \
    ROW(TFCC_F64, double, 0., 0.)

static void load_doubles(double *wide, const void *from, uint32_t dtype, size_t count)
{
    switch ((tfcc_dtype)dtype) {
#define ROW(name, type, low, high)                                                                           \
    case name: {                                                                                             \
        const type *p = from;                                                                                \
        for (size_t i = 0; i < count; i++) wide[i] = (double)p[i];                                           \
        return;                                                                                              \
    }
        PLAIN_TYPES(ROW)
#undef ROW
    case TFCC_STR: /* no number */
    case TFCC_ROW:
        for (size_t i = 0; i < count; i++) wide[i] = 0;
        return;
    case TFCC_I1:
        for (size_t i = 0; i < count; i++) wide[i] = ((const uint8_t *)from)[i] != 0;
        return;
    case TFCC_F16:
        for (size_t i = 0; i < count; i++) wide[i] = (double)half_to_float(((const uint16_t *)from)[i]);
        return;
    case TFCC_BF16:
        for (size_t i = 0; i < count; i++) wide[i] = (double)bfloat_to_float(((const uint16_t *)from)[i]);
        return;
    }
}

static void store_doubles(void *to, uint32_t dtype, const double *wide, size_t count)
{
    switch ((tfcc_dtype)dtype) {
#define ROW(name, type, low, high)                                                                           \
    case name: {                                                                                             \
        type *p = to;                                                                                        \
        for (size_t i = 0; i < count; i++) p[i] = (type)wide[i];                                             \
        return;                                                                                              \
    }
        PLAIN_TYPES(ROW)
#undef ROW
    case TFCC_STR:
    case TFCC_ROW:
        memset(to, 0, count * sizeof(uint64_t));
        return;
    case TFCC_I1:
        for (size_t i = 0; i < count; i++) ((uint8_t *)to)[i] = wide[i] != 0;
        return;
    case TFCC_F16:
        for (size_t i = 0; i < count; i++) ((uint16_t *)to)[i] = half_from_double(wide[i]);
        return;
    case TFCC_BF16:
        for (size_t i = 0; i < count; i++) ((uint16_t *)to)[i] = bfloat_from_double(wide[i]);
        return;
    }
}

/* The first of `count` numbers that an integer type cannot hold, or count. Conversion of such a one would be
 * undefined. */
static size_t find_misfit(const double *wide, uint32_t dtype, size_t count)
{
    double low = 0, high = 0;
    switch ((tfcc_dtype)dtype) {
#define ROW(name, type, least, most)                                                                         \
    case name:                                                                                               \
        low = least;                                                                                         \
        high = most;                                                                                         \
        break;
        PLAIN_TYPES(ROW)
#undef ROW
    case TFCC_I1:
    case TFCC_STR:
    case TFCC_ROW:
    case TFCC_F16:
    case TFCC_BF16:
        break;
    }
    if (high == 0) return count; /* float or bool: all fit */
    for (size_t i = 0; i < count; i++) {
        if (!(wide[i] >= low && wide[i] <= high) || wide[i] != floor(wide[i])) return i;
    }
    return count;
}

/* 64-bit integers do not pass through doubles unharmed. */
static bool convert_wide(void *to, uint32_t to_dtype, const void *from, uint32_t from_dtype, uint64_t count,
                         uint64_t *out_misfit)
{
    bool is_signed = from_dtype == TFCC_I64;
    if (!(is_signed && to_dtype == TFCC_U64) && !(from_dtype == TFCC_U64 && to_dtype == TFCC_I64))
        return false;
    memcpy(to, from, (size_t)count * 8);
    *out_misfit = UINT64_MAX;
    const int64_t *value = to;
    for (uint64_t i = 0; i < count; i++) {
        if (value[i] >= 0) continue;
        *out_misfit = i;
        break;
    }
    return true;
}

uint64_t convert_elements(void *to, uint32_t to_dtype, const void *from, uint32_t from_dtype, uint64_t count)
{
    size_t to_size = rt_dtype_size(to_dtype), from_size = rt_dtype_size(from_dtype);
    uint64_t misfit = UINT64_MAX;
    if (to_dtype == from_dtype) {
        if (count > 0) memcpy(to, from, (size_t)count * to_size);
        return UINT64_MAX;
    }
    if (convert_wide(to, to_dtype, from, from_dtype, count, &misfit)) return misfit;
    for (uint64_t done = 0; done < count; done += BLOCK) {
        double wide[BLOCK];
        size_t n = count - done < BLOCK ? (size_t)(count - done) : BLOCK;
        load_doubles(wide, (const char *)from + done * from_size, from_dtype, n);
        misfit = find_misfit(wide, to_dtype, n);
        if (misfit < n) return done + misfit;
        store_doubles((char *)to + done * to_size, to_dtype, wide, n);
    }
    return UINT64_MAX;
}

double convert_get(const void *elements, uint32_t dtype, uint64_t index)
{
    double value = 0;
    load_doubles(&value, (const char *)elements + index * rt_dtype_size(dtype), dtype, 1);
    return value;
}

void convert_fill(void *elements, uint32_t dtype, uint64_t count, double value)
{
    size_t size = rt_dtype_size(dtype);
    char *to = elements;
    if (count == 0) return;
    store_doubles(to, dtype, &value, 1);
    for (uint64_t done = 1; done < count;) {
        uint64_t n = done < count - done ? done : count - done;
        memcpy(to + done * size, to, (size_t)(n * size));
        done += n;
    }
}

void convert_swap_bytes(void *elements, uint64_t count, size_t size)
{
    uint8_t *p = elements;
    for (uint64_t i = 0; i < count; i++, p += size) {
        for (size_t a = 0, b = size - 1; a < b; a++, b--) {
            uint8_t byte = p[a];
            p[a] = p[b];
            p[b] = byte;
        }
    }
}
