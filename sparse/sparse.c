/* sparse.c: see sparse.h. */
#include "sparse/sparse.h"

#include <string.h>

static const sparse_row *row_at(const void *rows, int64_t i)
{
    return (const sparse_row *)(uintptr_t)((const uint64_t *)rows)[i];
}

static void add_scaled(float *restrict to, const float *restrict from, float scale, int64_t count)
{
    for (int64_t i = 0; i < count; i++) to[i] += scale * from[i];
}

void tfcc_sparse_dot(const void *rows, const void *dense, void *out, int64_t begin, int64_t end, int64_t n,
                     int64_t width)
{
    (void)n;
    for (int64_t i = begin; i < end; i++) {
        const sparse_row *r = row_at(rows, i);
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
                          int64_t width)
{
    float *to = out;
    memset(to + begin * width, 0, (size_t)((end - begin) * width) * sizeof *to);
    for (int64_t i = 0; i < n; i++) {
        const sparse_row *r = row_at(rows, i);
        if (!r) continue;
        for (uint32_t k = find_entry(r, begin); k < r->count && r->column[k] < end; k++)
            add_scaled(to + r->column[k] * width, (const float *)dense + i * width, sparse_values(r)[k], width);
    }
}

void tfcc_sparse_dense(const void *rows, const void *dense, void *out, int64_t begin, int64_t end, int64_t n,
                       int64_t width)
{
    (void)dense, (void)n;
    for (int64_t i = begin; i < end; i++) {
        const sparse_row *r = row_at(rows, i);
        float *to = (float *)out + i * width;
        memset(to, 0, (size_t)width * sizeof *to);
        for (uint32_t k = 0; r && k < r->count; k++) to[r->column[k]] = sparse_values(r)[k];
    }
}
