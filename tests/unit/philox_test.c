/* philox_test.c: random words against TensorFlow's (tests/reference/philox.py prints the
 * tables). */
#include "ir/ir.h"
#include "test.h"

#include <inttypes.h>

static const struct {
    int64_t seed, counter;
    uint32_t word[9];
} streams[] = {
    {0,
     0,
     {0xe79b028e, 0xa0da5e89, 0x4de6687a, 0xabe2a952, 0x2131bd46, 0x5bef67f0, 0xcbe772b0,
      0x8319355c, 0xf7ecb4e7}},
    {1,
     2,
     {0x41ec0a2c, 0x679894f1, 0xebff843e, 0x16148793, 0xa2d093, 0xf1531dc5, 0x3f8db05b,
      0x2308573e, 0x60383cab}},
    {-1,
     5,
     {0x9f48d579, 0x81eed01a, 0xa6c1ea52, 0x1b57389f, 0xd2767473, 0x9bb4171c, 0xe1f25d62,
      0x1c891e9d, 0x5f66d58b}},
    {2147483646,
     2147483648,
     {0x837559bb, 0xb93255d6, 0x11e5cb90, 0xfe9a4fe3, 0x489f8f79, 0x6b02e5d8, 0xf8c35993,
      0xc6916686, 0xd77098c8}},
    {1234567890123,
     -9876543210,
     {0x2fd5569f, 0x15530b78, 0x202180bd, 0xc7a1bd71, 0x861b48e0, 0xa1aede3a, 0x3a186e97,
      0xf9a7543e, 0x28f70aa8}},
};

/* Of the stream of (7, 8). */
static const struct {
    uint64_t index;
    uint32_t word;
} far[] = {{1023, 0x85ca331d}, {4096, 0xe5235ed6}, {999999, 0x2a13c17e}, {3000000, 0x22215d03}};

int main(void)
{
    for (size_t i = 0; i < countof(streams); i++) {
        for (size_t k = 0; k < countof(streams[i].word); k++) {
            const uint32_t got = ir_philox_word(streams[i].seed, streams[i].counter, k);
            TEST_CHECK(got == streams[i].word[k],
                       "(%" PRId64 ", %" PRId64 ") word %zu: %#x, not %#x", streams[i].seed,
                       streams[i].counter, k, got, streams[i].word[k]);
        }
    }
    for (size_t i = 0; i < countof(far); i++) {
        const uint32_t got = ir_philox_word(7, 8, far[i].index);
        TEST_CHECK(got == far[i].word, "(7, 8) word %" PRIu64 ": %#x, not %#x", far[i].index,
                   got, far[i].word);
    }
    return test_report();
}
