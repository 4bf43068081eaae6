/* npy.c: see npy.h. The head is a Python dict in text: {'descr': '<f4', 'fortran_order': False, 'shape': (3,
 * 4), } */
#include "npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    char kind;
    uint8_t size;
    uint8_t dtype;
} types[] = {
    {'b', 1, TFCC_I1},  {'i', 1, TFCC_I8},  {'i', 2, TFCC_I16}, {'i', 4, TFCC_I32},
    {'i', 8, TFCC_I64}, {'u', 1, TFCC_U8},  {'u', 2, TFCC_U16}, {'u', 4, TFCC_U32},
    {'u', 8, TFCC_U64}, {'f', 2, TFCC_F16}, {'f', 4, TFCC_F32}, {'f', 8, TFCC_F64},
};

/* What is left of the dict's text. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_space(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n' || *c->at == '\t')) c->at++;
}

static bool take(cursor *c, char wanted)
{
    skip_space(c);
    if (c->at >= c->end || *c->at != wanted) return false;
    c->at++;
    return true;
}

static bool take_word(cursor *c, const char *word)
{
    skip_space(c);
    size_t length = strlen(word);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) return false;
    c->at += length;
    return true;
}

/* A quoted string without escapes, into text of `room` bytes. */
static bool take_string(cursor *c, char *text, size_t room)
{
    skip_space(c);
    if (c->at >= c->end || (*c->at != '\'' && *c->at != '"')) return false;
    char quote = *c->at++;
    size_t n = 0;
    while (c->at < c->end && *c->at != quote && n + 1 < room) text[n++] = *c->at++;
    text[n] = 0;
    return take(c, quote);
}

static bool take_whole(cursor *c, int64_t *out_number)
{
    skip_space(c);
    int64_t number = 0;
    const char *start = c->at;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        if (number > (INT64_MAX - 9) / 10) return false;
        number = number * 10 + (*c->at - '0');
    }
    *out_number = number;
    return c->at > start;
}

static bool take_shape(cursor *c, npz_array *a, uint32_t *out_rank)
{
    uint32_t rank = 0;
    if (!take(c, '(')) return false;
    while (!take(c, ')')) {
        int64_t dim;
        if (!take_whole(c, &dim)) return false;
        if (rank < NPZ_MOST_DIMS) a->dim[rank] = dim;
        rank++;
        if (!take(c, ',') && !(c->at < c->end && *c->at == ')')) return false;
    }
    *out_rank = rank;
    return true;
}

typedef struct dict {
    char descr[32];
    bool has_descr, has_order, has_shape, fortran;
    uint32_t rank;
} dict;

static bool take_value(cursor *c, const char *key, dict *d, npz_array *a)
{
    if (strcmp(key, "descr") == 0) {
        d->has_descr = take_string(c, d->descr, sizeof d->descr);
        return d->has_descr;
    }
    if (strcmp(key, "fortran_order") == 0) {
        d->fortran = take_word(c, "True");
        d->has_order = d->fortran || take_word(c, "False");
        return d->has_order;
    }
    if (strcmp(key, "shape") != 0) return false;
    d->has_shape = take_shape(c, a, &d->rank);
    return d->has_shape;
}

static bool take_dict(cursor *c, dict *d, npz_array *a)
{
    if (!take(c, '{')) return false;
    while (!take(c, '}')) {
        char key[32];
        if (!take_string(c, key, sizeof key) || !take(c, ':') || !take_value(c, key, d, a)) return false;
        if (!take(c, ',') && !(c->at < c->end && *c->at == '}')) return false;
    }
    return d->has_descr && d->has_order && d->has_shape;
}

/* "<f4" and its like, "<U8" and "|S8". */
static bool find_type(const char *descr, npz_array *a, npy_head *head)
{
    const uint16_t one = 1;
    char own = *(const uint8_t *)&one ? '<' : '>';
    char order = *descr && strchr("<>|=", *descr) ? *descr++ : '=';
    if (!*descr) return false;
    char *end;
    long size = strtol(descr + 1, &end, 10);
    if (*end || size < 0 || size > INT32_MAX) return false;
    head->swapped = size > 1 && (order == '<' || order == '>') && order != own;
    if (*descr == 'S' || *descr == 'U') {
        a->dtype = TFCC_STR;
        head->text = *descr;
        head->item = (uint64_t)size * (*descr == 'U' ? 4 : 1);
        return true;
    }
    for (size_t i = 0; i < RT_COUNT(types); i++) {
        if (types[i].kind != *descr || types[i].size != size) continue;
        a->dtype = types[i].dtype;
        head->item = types[i].size;
        return true;
    }
    return false;
}

static bool count_elements(npz_array *a)
{
    uint64_t count = 1;
    bool empty = false;
    for (uint32_t i = 0; i < a->rank; i++) {
        empty |= a->dim[i] == 0;
        if (a->dim[i] > 0) count = rt_multiply(count, (uint64_t)a->dim[i]);
    }
    a->count = empty ? 0 : count;
    return count < UINT64_MAX / 16;
}

/* Where the dict's text lies. */
static bool find_text(const uint8_t *bytes, uint64_t size, cursor *c, uint64_t *out_head)
{
    static const uint8_t magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y'};
    if (size < 12 || memcmp(bytes, magic, sizeof magic) != 0 || bytes[6] < 1 || bytes[6] > 3) return false;
    uint64_t start = bytes[6] == 1 ? 10 : 12, length = bytes[8] | (uint64_t)bytes[9] << 8;
    if (bytes[6] > 1) length |= (uint64_t)bytes[10] << 16 | (uint64_t)bytes[11] << 24;
    if (length > size - start) return false;
    *c = (cursor){(const char *)bytes + start, (const char *)bytes + start + length};
    *out_head = start + length;
    return true;
}

bool npy_read_head(rt *r, const char *where, const uint8_t *bytes, uint64_t size, npz_array *a,
                   npy_head *out_head)
{
    cursor c;
    dict d = {0};
    uint64_t head;
    if (!find_text(bytes, size, &c, &head) || !take_dict(&c, &d, a)) {
        if (d.rank == 0 && !d.has_descr && !d.has_shape)
            return rt_wrong(r, "%s: not a readable .npy array", where);
        return rt_wrong(r, "%s: expected an array of numbers, found a head that does not describe one",
                        where);
    }
    npy_head found = {.bytes = head, .fortran = d.fortran};
    if (!find_type(d.descr, a, &found)) {
        return rt_wrong(r, "%s: expected integers, floats, booleans or strings, found type \"%s\"%s", where, d.descr,
                        strchr(d.descr, 'O') ? ": Python objects, which are stored as a program (a pickle); save an "
                                               "array of strings with dtype=str"
                                             : "");
    }
    if (d.rank > NPZ_MOST_DIMS) {
        return rt_wrong(r, "%s: expected at most %d dimensions, found %u", where, (int)NPZ_MOST_DIMS,
                        (unsigned)d.rank);
    }
    a->rank = d.rank;
    if (!count_elements(a) || rt_multiply(a->count, found.item) != size - head) {
        return rt_wrong(r, "%s: expected data for shape %s of %s, found %llu bytes", where,
                        rt_shape_show(r, a->rank, a->dim, 0), rt_dtype_name(a->dtype),
                        (unsigned long long)(size - head));
    }
    *out_head = found;
    return true;
}

static const char *type_name(const npz_array *a, char *text)
{
    const uint16_t one = 1;
    char own = *(const uint8_t *)&one ? '<' : '>';
    if (a->dtype == TFCC_STR) sprintf(text, "|S%llu", (unsigned long long)a->item);
    for (size_t i = 0; i < RT_COUNT(types); i++) {
        if (types[i].dtype != a->dtype) continue;
        sprintf(text, "%c%c%d", types[i].size == 1 ? '|' : own, types[i].kind, (int)types[i].size);
    }
    return text;
}

size_t npy_make_head(const npz_array *a, char *text)
{
    char type[32] = "", shape[256] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < a->rank; i++) {
        used += (size_t)sprintf(shape + used, i > 0 ? ", %lld" : "%lld", (long long)a->dim[i]);
    }
    if (a->rank == 1) sprintf(shape + used, ",");
    size_t length =
        10 + (size_t)sprintf(text + 10, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                             type_name(a, type), shape);
    size_t whole = (length + 1 + 63) / 64 * 64;
    memset(text + length, ' ', whole - length);
    text[whole - 1] = '\n';
    memcpy(text, "\x93NUMPY\x01\x00", 8);
    text[8] = (char)((whole - 10) & 255);
    text[9] = (char)((whole - 10) >> 8);
    return whole;
}
