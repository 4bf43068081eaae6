/* orthogonal.c: modified Gram-Schmidt in double precision: of all QR decompositions it gives the one whose R
 * has a positive diagonal, which is what Keras's orthogonal initializer makes of any other by signs. */
#include "initializers.h"

#include <math.h>

enum { LANES = 8 };

/* In LANES partial sums, so that it is one fixed order and still vectorizes. */
static double multiply_add_up(const double *a, const double *b, uint64_t count)
{
    double sum[LANES] = {0};
    uint64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        for (int k = 0; k < LANES; k++) sum[k] += a[i + (uint64_t)k] * b[i + (uint64_t)k];
    }
    for (; i < count; i++) sum[0] += a[i] * b[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

void orthogonal_make(float *a, uint64_t rows, uint64_t columns, double *work)
{
    for (uint64_t c = 0; c < columns; c++) {
        for (uint64_t i = 0; i < rows; i++) work[c * rows + i] = (double)a[i * columns + c];
    }
    for (uint64_t c = 0; c < columns; c++) {
        double *column = work + c * rows;
        double scale = 1 / sqrt(multiply_add_up(column, column, rows));
        for (uint64_t i = 0; i < rows; i++) column[i] *= scale;
        for (uint64_t k = c + 1; k < columns; k++) {
            double *later = work + k * rows;
            double part = multiply_add_up(column, later, rows);
            for (uint64_t i = 0; i < rows; i++) later[i] -= part * column[i];
        }
    }
    for (uint64_t c = 0; c < columns; c++) {
        for (uint64_t i = 0; i < rows; i++) a[i * columns + c] = (float)work[c * rows + i];
    }
}
