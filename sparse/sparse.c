/* sparse.c: see sparse.h. */
#include "sparse/sparse.h"

#include <string.h>

static const sparse_row *row_at(const void *rows, int64_t i, int64_t stride)
{
    if (stride > 0) return (const sparse_row *)(const void *)((const uint32_t *)rows + i * stride);
    return (const sparse_row *)(uintptr_t)((const uint64_t *)rows)[i];
}

static void add_scaled(float *restrict to, const float *restrict from, float scale, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] += scale * from[i];
}

void tfcc_sparse_dot(const void *rows, const void *dense, void *out, int64_t begin, int64_t end, int64_t n,
                     int64_t width, int64_t stride)
{
    (void)n;
    for (int64_t i = begin; i < end; i++) {
        const sparse_row *r = row_at(rows, i, stride);
        float *to = (float *)out + i * width;
        memset(to, 0, (size_t)width * sizeof *to);
        for (uint32_t k = 0; r && k < r->count; k++)
            add_scaled(to, (const float *)dense + r->column[k] * width, sparse_values(r)[k], width);
    }
}

/* The first entry of r in column `from` or later. */
static uint32_t find_entry(const sparse_row *r, int64_t from)
{
    uint32_t low = 0, high = r->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (r->column[middle] < from)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void tfcc_sparse_dot_back(const void *rows, const void *dense, void *out, int64_t begin, int64_t end, int64_t n,
                          int64_t width, int64_t stride)
{
    float *to = out;
    memset(to + begin * width, 0, (size_t)((end - begin) * width) * sizeof *to);
    for (int64_t i = 0; i < n; i++) {
        const sparse_row *r = row_at(rows, i, stride);
        if (!r) continue;
        for (uint32_t k = find_entry(r, begin); k < r->count && r->column[k] < end; k++)
            add_scaled(to + r->column[k] * width, (const float *)dense + i * width, sparse_values(r)[k], width);
    }
}

void tfcc_sparse_dense(const void *rows, const void *dense, void *out, int64_t begin, int64_t end, int64_t n,
                       int64_t width, int64_t stride)
{
    (void)dense, (void)n;
    for (int64_t i = begin; i < end; i++) {
        const sparse_row *r = row_at(rows, i, stride);
        float *to = (float *)out + i * width;
        memset(to, 0, (size_t)width * sizeof *to);
        for (uint32_t k = 0; r && k < r->count; k++) to[r->column[k]] = sparse_values(r)[k];
    }
}

/* Puts `column` in its place among the first *count columns, which ascend, unless it is there; its place. */
static uint32_t insert_column(uint32_t *column, float *value, uint32_t *count, uint32_t new)
{
    uint32_t at = *count;
    while (at > 0 && column[at - 1] > new) at--;
    if (at > 0 && column[at - 1] == new) return at - 1;
    memmove(column + at + 1, column + at, (*count - at) * sizeof *column);
    memmove(value + at + 1, value + at, (*count - at) * sizeof *value);
    column[at] = new;
    value[at] = 0;
    ++*count;
    return at;
}

static void encode(const void *indices, void *out, int64_t begin, int64_t end, int64_t width, int64_t columns, int counts)
{
    const int64_t most = (width - 1) / 2;
    for (int64_t i = begin; i < end; i++) {
        const int64_t *index = (const int64_t *)indices + i * most;
        uint32_t *to = (uint32_t *)out + i * width, *column = to + 1, count = 0;
        float *value = (float *)(void *)(column + most); /* moved to behind the columns when all are known */
        for (int64_t k = 0; k < most; k++) {
            if (index[k] < 0 || index[k] >= columns) continue;
            float *own = &value[insert_column(column, value, &count, (uint32_t)index[k])];
            *own = counts ? *own + 1 : 1;
        }
        to[0] = count;
        memmove(column + count, value, count * sizeof *value);
    }
}

void tfcc_sparse_encode_multi_hot(const void *indices, const void *none, void *out, int64_t begin, int64_t end, int64_t n,
                                  int64_t width, int64_t columns)
{
    (void)none, (void)n;
    encode(indices, out, begin, end, width, columns, 0);
}

void tfcc_sparse_encode_count(const void *indices, const void *none, void *out, int64_t begin, int64_t end, int64_t n,
                              int64_t width, int64_t columns)
{
    (void)none, (void)n;
    encode(indices, out, begin, end, width, columns, 1);
}
