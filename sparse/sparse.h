/* sparse.h: sparse matrices in a running model. A batch of rows is N elements of type `row`, each the address of a record
 * with the row's non-zero entries, so nothing but the data set knows how many there are, and rows are shuffled and split
 * among threads as any others. The compiler's interpreter and compiled kernels call the same functions. */
#ifndef TFCC_SPARSE_H
#define TFCC_SPARSE_H

#include <stdint.h>

/* `count` columns in ascending order, each once, then as many f32 values. Address 0 is a row of zeros. */
typedef struct sparse_row {
    uint32_t count;
    uint32_t column[];
} sparse_row;

static inline const float *sparse_values(const sparse_row *r) { return (const float *)(const void *)(r->column + r->count); }
static inline uint64_t sparse_row_bytes(uint64_t count) { return sizeof(sparse_row) + count * 8; }

/* Part [begin, end) of a result. n: rows of the batch; width: columns of `dense` (of `out` in sparse_dense). rows: addresses of
 * records, or, with stride > 0, the records themselves, so many 4-byte words apart. */
typedef void (*sparse_call)(const void *rows, const void *dense, void *out, int64_t begin, int64_t end, int64_t n,
                            int64_t width, int64_t stride);
/* out[n, width] = rows x dense[columns, width]: rows [begin, end). */
void tfcc_sparse_dot(const void *rows, const void *dense, void *out, int64_t begin, int64_t end, int64_t n,
                     int64_t width, int64_t stride);
/* out[columns, width] = transposed rows x dense[n, width]: columns [begin, end). Terms are added in the order of the rows. */
void tfcc_sparse_dot_back(const void *rows, const void *dense, void *out, int64_t begin, int64_t end, int64_t n,
                          int64_t width, int64_t stride);
/* out[n, width] = the rows, dense: rows [begin, end). */
void tfcc_sparse_dense(const void *rows, const void *dense, void *out, int64_t begin, int64_t end, int64_t n,
                       int64_t width, int64_t stride);

/* Records of the rows [begin, end), each of `width` words: of i64 indices[n, (width - 1) / 2], those of 0 .. columns - 1, either 1
 * for each that is there or how often it is. */
void tfcc_sparse_encode_multi_hot(const void *indices, const void *none, void *out, int64_t begin, int64_t end, int64_t n,
                                  int64_t width, int64_t columns);
void tfcc_sparse_encode_count(const void *indices, const void *none, void *out, int64_t begin, int64_t end, int64_t n,
                              int64_t width, int64_t columns);

#endif
