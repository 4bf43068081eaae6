/* ragged.h: rows of different lengths in a running model. The values of a batch's rows lie one after another; `ends` has
 * per row the number of values before its end. The compiler's interpreter and compiled kernels call the same functions. */
#ifndef TFCC_RAGGED_H
#define TFCC_RAGGED_H

#include <stdint.h>

/* Part [begin, end) of the rows (ragged_permute: of the result's elements). width: numbers of a value; size: bytes of a
 * number; sums and maxima are of f32 or f64. */
typedef void (*ragged_call)(const void *x, const void *index, void *out, int64_t begin, int64_t end, int64_t width,
                            int64_t size);
void tfcc_ragged_sum(const void *x, const void *ends, void *out, int64_t begin, int64_t end, int64_t width, int64_t size);
void tfcc_ragged_max(const void *x, const void *ends, void *out, int64_t begin, int64_t end, int64_t width, int64_t size);
void tfcc_ragged_spread(const void *x, const void *ends, void *out, int64_t begin, int64_t end, int64_t width,
                        int64_t size);
void tfcc_ragged_permute(const void *x, const void *index, void *out, int64_t begin, int64_t end, int64_t width,
                         int64_t size);

/* What is needed of a batch's rows, by `ends`. Recurrent layers take the rows by falling length, so that step t runs over
 * the first alive[t] of them; the values in this order, step by step, are the packed ones. */
typedef struct ragged_rows {
    int64_t rows, values, longest;
    int64_t *first;  /* [longest + 1]: packed values before step t; alive[t] = first[t + 1] - first[t] */
    int64_t *order;  /* [rows]: the row at each place of the order by length; rows of one length stay in their order */
    int64_t *rank;   /* [rows]: its inverse */
    int64_t *pack;   /* [values]: where each value is among the packed ones */
    int64_t *unpack; /* [values]: its inverse */
    int64_t *pack_back, *unpack_back; /* the same with each row read from its end */
} ragged_rows;
/* Fills what is not NULL, with room for it, from ends; `first` (room for values + 1), order and rank are needed. */
void tfcc_ragged_sort(ragged_rows *r, const int64_t *ends, int64_t rows);

#endif
