/* strings.c: see strings.h. */
#include "strings.h"

#include "words/words.h"

#include <stdio.h>
#include <string.h>

static uint32_t code_at(const uint8_t *p, bool swapped)
{
    uint32_t code;
    memcpy(&code, p, sizeof code);
    if (!swapped) return code;
    return code >> 24 | (code >> 8 & 0xff00) | (code << 8 & 0xff0000) | code << 24;
}

/* Bytes of the element without its trailing zeros. */
static uint64_t trim(const uint8_t *p, uint64_t size)
{
    while (size > 0 && p[size - 1] == 0) size--;
    return size;
}

static uint32_t encoded_size(uint32_t code) { return code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4; }

static bool is_code(uint32_t code) { return code < 0xd800 || (code > 0xdfff && code < 0x110000); }

static uint8_t *encode(uint8_t *to, uint32_t code)
{
    static const uint8_t first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    const uint32_t size = encoded_size(code);
    for (uint32_t i = size; i-- > 1; code >>= 6) to[i] = (uint8_t)(0x80 | (code & 63));
    to[0] = (uint8_t)(first[size] | code);
    return to + size;
}

/* UTF-8 bytes of an element; false when it holds what is no character. */
static bool measure(const uint8_t *p, const npy_head *head, uint64_t *out_size)
{
    uint64_t size = trim(p, head->item);
    *out_size = size;
    if (head->text == 'S') return true;
    *out_size = 0;
    for (uint64_t i = 0; i < size; i += 4) {
        const uint32_t code = code_at(p + i, head->swapped);
        if (!is_code(code)) return false;
        *out_size += encoded_size(code);
    }
    return true;
}

static void write_record(uint8_t *to, const uint8_t *p, const npy_head *head, uint32_t size)
{
    const uint64_t own = trim(p, head->item);
    if (head->text == 'S') {
        words_record_write(to, p, size);
        return;
    }
    memcpy(to, &size, sizeof size);
    to += WORDS_RECORD_HEAD;
    for (uint64_t i = 0; i < own; i += 4) to = encode(to, code_at(p + i, head->swapped));
}

bool strings_read(rt *r, const char *where, uint8_t *bytes, const npy_head *head, npz_array *a)
{
    const uint8_t *first = bytes + head->bytes;
    uint64_t pool_size = 0, size;
    for (uint64_t i = 0; i < a->count; i++) {
        if (!measure(first + i * head->item, head, &size))
            return rt_wrong(r, "%s: element %llu holds a number that is no Unicode character", where,
                            (unsigned long long)i);
        pool_size += size + (size > 0 ? WORDS_RECORD_HEAD : 0);
    }
    uint64_t *element = rt_alloc_many(r, a->count, sizeof *element, "an array of strings");
    uint8_t *to = rt_alloc(r, pool_size, "an array of strings");
    if (!element || !to) return false;
    for (uint64_t i = 0; i < a->count; i++) {
        measure(first + i * head->item, head, &size);
        if (size == 0) continue;
        write_record(to, first + i * head->item, head, (uint32_t)size);
        element[i] = (uint64_t)(uintptr_t)to;
        to += WORDS_RECORD_HEAD + size;
    }
    rt_free(r, bytes);
    a->data = a->block = element;
    return true;
}

bool strings_pack(rt *r, npz_array *a)
{
    const uint64_t *element = a->data;
    uint64_t width = 1;
    for (uint64_t i = 0; i < a->count; i++) {
        const uint32_t length = words_text_of(element[i]).length;
        if (length > width) width = length;
    }
    char *to = rt_alloc_many(r, a->count, width, "the strings to write");
    if (!to) return false;
    for (uint64_t i = 0; i < a->count; i++) {
        const words_text text = words_text_of(element[i]);
        if (text.length > 0) memcpy(to + i * width, text.bytes, text.length);
    }
    a->data = to;
    a->item = width;
    return true;
}

bool strings_make(rt *r, uint64_t count, void *elements)
{
    enum { WORDS = 1000, ROOM = 16 };
    uint64_t *element = elements;
    uint8_t *record = rt_alloc_many(r, WORDS, ROOM, "synthetic words");
    if (!record) return false;
    for (uint32_t i = 0; i < WORDS; i++) {
        char word[ROOM - WORDS_RECORD_HEAD];
        const int length = snprintf(word, sizeof word, "%u", (unsigned)i);
        words_record_write(record + i * ROOM, word, (uint32_t)length);
    }
    for (uint64_t i = 0; i < count; i++) element[i] = (uint64_t)(uintptr_t)(record + i * 7919 % WORDS * ROOM);
    return true;
}
