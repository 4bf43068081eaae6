/* element.c: elements as text. Finite floats print as the shortest decimal that reads back to the
 * same bits; a NaN other than the usual one prints its bits in hex. */
#include "ir/graph.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef union element {
    int8_t i8;
    int16_t i16;
    int32_t i32;
    int64_t i64;
    uint8_t u8;
    uint16_t u16;
    uint32_t u32;
    uint64_t u64;
    float f32;
    double f64;
} element;

static const uint64_t usual_nan[DTYPE_COUNT] = {[DTYPE_f16] = 0x7e00,
                                                [DTYPE_bf16] = 0x7fc0,
                                                [DTYPE_f32] = 0x7fc00000,
                                                [DTYPE_f64] = 0x7ff8000000000000};

static void print_single(float value, text *to)
{
    char word[32];
    int digits = 5;
    do {
        snprintf(word, sizeof word, "%.*g", ++digits, (double)value);
    } while (digits < 9 && strtof(word, NULL) != value);
    text_add(to, "%s", word);
}

void ir_double_print(double value, text *to)
{
    char word[32];
    int digits = 14;
    if (isnan(value)) {
        text_add(to, "nan");
        return;
    }
    do {
        snprintf(word, sizeof word, "%.*g", ++digits, value);
    } while (digits < 17 && strtod(word, NULL) != value);
    text_add(to, "%s", word);
}

static void print_nan(ir_dtype dtype, uint64_t bits, text *to)
{
    if (bits == usual_nan[dtype])
        text_add(to, "nan");
    else
        text_add(to, "0x%" PRIx64, bits);
}

void ir_element_print(ir_dtype dtype, const void *bytes, text *to)
{
    element e = {.u64 = 0};
    memcpy(&e, bytes, ir_dtype_size(dtype));
    const uint64_t bits = e.u64;
    float single = 0;
    switch (dtype) {
    case DTYPE_i8: text_add(to, "%d", e.i8); return;
    case DTYPE_i16: text_add(to, "%d", e.i16); return;
    case DTYPE_i32: text_add(to, "%" PRId32, e.i32); return;
    case DTYPE_i64: text_add(to, "%" PRId64, e.i64); return;
    case DTYPE_i1:
    case DTYPE_u8:
    case DTYPE_u16:
    case DTYPE_u32:
    case DTYPE_str:
    case DTYPE_row:
    case DTYPE_u64: text_add(to, "%" PRIu64, bits); return;
    case DTYPE_f64:
        if (isnan(e.f64))
            print_nan(dtype, bits, to);
        else
            ir_double_print(e.f64, to);
        return;
    case DTYPE_f16: single = ir_f16_to_f32(e.u16); break;
    case DTYPE_bf16: single = ir_bf16_to_f32(e.u16); break;
    case DTYPE_f32: single = e.f32; break;
    case DTYPE_COUNT: bug("no element type");
    }
    if (isnan(single))
        print_nan(dtype, bits, to);
    else
        print_single(single, to);
}

static bool read_float(ir_dtype dtype, const char *word, element *e)
{
    char *end;
    double value = strtod(word, &end);
    float single = strtof(word, NULL);
    if (end == word || *end) return false;
    if (isnan(value)) {
        e->u64 = usual_nan[dtype];
        return strcmp(word, "nan") == 0;
    }
    if (dtype == DTYPE_f64)
        e->f64 = value;
    else if (dtype == DTYPE_f32)
        e->f32 = single;
    else
        e->u16 = dtype == DTYPE_f16 ? ir_f32_to_f16(single) : ir_f32_to_bf16(single);
    return true;
}

static bool read_bits(ir_dtype dtype, const char *word, element *e)
{
    char *end;
    int width = 8 * (int)ir_dtype_size(dtype);
    e->u64 = strtoull(word, &end, 16);
    return errno == 0 && *end == 0 && (width == 64 || e->u64 >> width == 0) &&
           (dtype != DTYPE_i1 || e->u64 < 2);
}

static bool read_signed(ir_dtype dtype, const char *word, element *e)
{
    char *end;
    int width = 8 * (int)ir_dtype_size(dtype);
    int64_t most = INT64_MAX >> (64 - width);
    e->i64 = strtoll(word, &end, 10);
    return errno == 0 && end != word && *end == 0 && e->i64 <= most && e->i64 >= -most - 1;
}

static bool read_unsigned(ir_dtype dtype, const char *word, element *e)
{
    char *end;
    int width = dtype == DTYPE_i1 ? 1 : 8 * (int)ir_dtype_size(dtype);
    e->u64 = strtoull(word, &end, 10);
    return *word != '-' && errno == 0 && end != word && *end == 0 &&
           (width == 64 || e->u64 >> width == 0);
}

bool ir_element_read(ir_dtype dtype, const char *word, void *bytes)
{
    element e = {.u64 = 0};
    bool ok = false;
    errno = 0;
    if (word[0] == '0' && (word[1] == 'x' || word[1] == 'X')) {
        ok = read_bits(dtype, word, &e);
    } else {
        switch (ir_dtype_class_of(dtype)) {
        case DTYPE_FLOAT: ok = read_float(dtype, word, &e); break;
        case DTYPE_SIGNED: ok = read_signed(dtype, word, &e); break;
        case DTYPE_BOOL:
        case DTYPE_TEXT:
        case DTYPE_UNSIGNED: ok = read_unsigned(dtype, word, &e); break;
        }
    }
    if (ok) memcpy(bytes, &e, ir_dtype_size(dtype));
    return ok;
}
