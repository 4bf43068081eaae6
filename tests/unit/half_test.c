/* half_test.c: f16 and bf16 conversions: every value there and back, and how values in between
 * are rounded. */
#include "ir/ir.h"
#include "test.h"

#include <math.h>

static void check_all(void)
{
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const uint16_t half = (uint16_t)bits;
        const float f = ir_f16_to_f32(half), b = ir_bf16_to_f32(half);
        const uint16_t f_back = ir_f32_to_f16(f), b_back = ir_f32_to_bf16(b);
        TEST_CHECK(isnan(f) ? isnan(ir_f16_to_f32(f_back)) : f_back == half,
                   "f16 %#x comes back as %#x", bits, (unsigned)f_back);
        TEST_CHECK(isnan(b) ? isnan(ir_bf16_to_f32(b_back)) : b_back == half,
                   "bf16 %#x comes back as %#x", bits, (unsigned)b_back);
    }
}

/* Between two neighbours of one sign: the middle goes to the even one, what is beside it to the
 * nearer one. */
static void check_middles(uint16_t (*narrow)(float), float (*widen)(uint16_t),
                          uint16_t infinity)
{
    for (uint16_t low = 0; low + 1 < infinity; low++) {
        const uint16_t high = (uint16_t)(low + 1);
        const float middle = (float)(((double)widen(low) + (double)widen(high)) / 2);
        const uint16_t even = low % 2 == 0 ? low : high;
        TEST_CHECK(narrow(middle) == even, "middle above %#x gives %#x", (unsigned)low,
                   (unsigned)narrow(middle));
        TEST_CHECK(narrow(nextafterf(middle, 0)) == low, "below the middle above %#x",
                   (unsigned)low);
        TEST_CHECK(narrow(nextafterf(middle, INFINITY)) == high, "over the middle above %#x",
                   (unsigned)low);
        TEST_CHECK(narrow(-middle) == (even | 0x8000), "negative middle below %#x",
                   (unsigned)low);
    }
}

int main(void)
{
    check_all();
    check_middles(ir_f32_to_f16, ir_f16_to_f32, 0x7c00);
    check_middles(ir_f32_to_bf16, ir_bf16_to_f32, 0x7f80);
    TEST_CHECK(ir_f32_to_f16(65519) == 0x7bff, "65519 is the largest f16");
    TEST_CHECK(ir_f32_to_f16(65520) == 0x7c00, "65520 is infinity");
    TEST_CHECK(ir_f32_to_f16(-1e9F) == 0xfc00, "-1e9 is -infinity");
    TEST_CHECK(ir_f32_to_bf16(3.4e38F) == 0x7f80, "3.4e38 is infinity");
    return test_report();
}
