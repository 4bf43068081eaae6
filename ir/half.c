/* half.c: f16 and bf16 to f32 and back, round to nearest even. Neither has a C type, so both
 * travel as their 16 bits. */
#include "ir/ir.h"

#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* value / 2^shift, to nearest, ties to even. */
static uint32_t shift_right_rounded(uint32_t value, int shift)
{
    const uint32_t kept = value >> shift;
    const uint32_t lost = value & ((1u << shift) - 1);
    const uint32_t half = 1u << (shift - 1);
    return kept + (lost > half || (lost == half && (kept & 1u)));
}

float ir_f16_to_f32(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000u) << 16;
    const uint32_t exponent = (bits >> 10) & 0x1fu;
    const uint32_t fraction = bits & 0x3ffu;
    if (exponent == 0x1fu) return float_of(sign | 0x7f800000u | fraction << 13);
    if (exponent > 0) return float_of(sign | (exponent + 112u) << 23 | fraction << 13);
    const float small = (float)fraction * 0x1p-24f; /* zero or subnormal: exact */
    return sign ? -small : small;
}

uint16_t ir_f32_to_f16(float value)
{
    const uint32_t bits = bits_of(value);
    const uint32_t sign = (bits >> 16) & 0x8000u;
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | ((magnitude >> 13) & 0x1ffu));
    if (magnitude >= 0x47800000u) /* 65536 and more */
        return (uint16_t)(sign | 0x7c00u);
    if (magnitude >=
        0x38800000u) /* normal; rounding up may carry into the exponent, up to infinity */
        return (uint16_t)(sign | shift_right_rounded(magnitude - (112u << 23), 13));
    const int exponent = (int)(magnitude >> 23);
    if (exponent < 102) /* below half of the smallest subnormal */
        return (uint16_t)sign;
    return (uint16_t)(sign |
                      shift_right_rounded((magnitude & 0x7fffffu) | 0x800000u, 126 - exponent));
}

float ir_bf16_to_f32(uint16_t bits)
{
    return float_of((uint32_t)bits << 16);
}

uint16_t ir_f32_to_bf16(float value)
{
    const uint32_t bits = bits_of(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)shift_right_rounded(bits, 16);
}
