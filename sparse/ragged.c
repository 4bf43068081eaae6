/* ragged.c: see ragged.h. */
#include "sparse/ragged.h"

#include <float.h>
#include <stdbool.h>
#include <string.h>

static int64_t start_of(const int64_t *ends, int64_t row) { return row > 0 ? ends[row - 1] : 0; }

/* to[width] = reduction of from[count][width]. */
#define REDUCTION(name, type, first, step)                                                                   \
    static void name(type *restrict to, const type *restrict from, int64_t count, int64_t width)             \
    {                                                                                                        \
        for (int64_t k = 0; k < width; k++) to[k] = (first);                                                 \
        for (int64_t i = 0; i < count; i++, from += width)                                                   \
            for (int64_t k = 0; k < width; k++) to[k] = (step);                                              \
    }
REDUCTION(sum_f32, float, 0, to[k] + from[k])
REDUCTION(sum_f64, double, 0, to[k] + from[k])
REDUCTION(max_f32, float, -FLT_MAX, from[k] > to[k] || from[k] != from[k] ? from[k] : to[k])
REDUCTION(max_f64, double, -DBL_MAX, from[k] > to[k] || from[k] != from[k] ? from[k] : to[k])

#define REDUCE(name, f32, f64)                                                                               \
    void name(const void *x, const void *ends, void *out, int64_t begin, int64_t end, int64_t width,        \
              int64_t size)                                                                                  \
    {                                                                                                        \
        for (int64_t i = begin; i < end; i++) {                                                              \
            const int64_t start = start_of(ends, i), count = ((const int64_t *)ends)[i] - start;             \
            if (size == (int64_t)sizeof(double))                                                             \
                f64((double *)out + i * width, (const double *)x + start * width, count, width);             \
            else                                                                                             \
                f32((float *)out + i * width, (const float *)x + start * width, count, width);               \
        }                                                                                                    \
    }
REDUCE(tfcc_ragged_sum, sum_f32, sum_f64)
REDUCE(tfcc_ragged_max, max_f32, max_f64)

void tfcc_ragged_spread(const void *x, const void *ends, void *out, int64_t begin, int64_t end, int64_t width,
                        int64_t size)
{
    const int64_t bytes = width * size;
    for (int64_t i = begin; i < end; i++) {
        for (int64_t k = start_of(ends, i); k < ((const int64_t *)ends)[i]; k++)
            memcpy((char *)out + k * bytes, (const char *)x + i * bytes, (size_t)bytes);
    }
}

void tfcc_ragged_permute(const void *x, const void *index, void *out, int64_t begin, int64_t end, int64_t width,
                         int64_t size)
{
    const int64_t bytes = width * size;
    for (int64_t i = begin; i < end; i++)
        memcpy((char *)out + i * bytes, (const char *)x + ((const int64_t *)index)[i] * bytes, (size_t)bytes);
}

/* Rows by falling length, by counting: first[t] is made the number of rows longer than t, then the place of the next. */
static void sort_rows(ragged_rows *r, const int64_t *ends)
{
    int64_t *longer = r->first, total = 0;
    memset(longer, 0, (size_t)(r->longest + 1) * sizeof *longer);
    for (int64_t i = 0; i < r->rows; i++) longer[ends[i] - start_of(ends, i)]++;
    for (int64_t t = r->longest; t >= 0; t--) {
        const int64_t count = longer[t];
        longer[t] = total;
        total += count;
    }
    for (int64_t i = 0; i < r->rows; i++) {
        r->rank[i] = longer[ends[i] - start_of(ends, i)]++;
        r->order[r->rank[i]] = i;
    }
}

static void count_steps(ragged_rows *r, const int64_t *ends)
{
    int64_t at = 0, alive = r->rows;
    for (int64_t t = 0; t < r->longest; t++) {
        while (alive > 0) {
            const int64_t row = r->order[alive - 1];
            if (ends[row] - start_of(ends, row) > t) break;
            alive--;
        }
        r->first[t] = at;
        at += alive;
    }
    r->first[r->longest] = at;
}

static void place_values(const ragged_rows *r, const int64_t *ends, bool back, int64_t *pack, int64_t *unpack)
{
    for (int64_t i = 0; i < r->rows; i++) {
        const int64_t start = start_of(ends, i);
        for (int64_t k = start; k < ends[i]; k++) {
            const int64_t to = r->first[back ? ends[i] - 1 - k : k - start] + r->rank[i];
            if (pack) pack[k] = to;
            if (unpack) unpack[to] = k;
        }
    }
}

void tfcc_ragged_sort(ragged_rows *r, const int64_t *ends, int64_t rows)
{
    r->rows = rows;
    r->values = rows > 0 ? ends[rows - 1] : 0;
    r->longest = 0;
    for (int64_t i = 0; i < rows; i++) {
        const int64_t length = ends[i] - start_of(ends, i);
        if (length > r->longest) r->longest = length;
    }
    sort_rows(r, ends);
    count_steps(r, ends);
    if (r->pack || r->unpack) place_values(r, ends, false, r->pack, r->unpack);
    if (r->pack_back || r->unpack_back) place_values(r, ends, true, r->pack_back, r->unpack_back);
}
