/* initializers.h: first values of variables, as Keras's initializers make them on TensorFlow. */
#ifndef RT_INITIALIZERS_H
#define RT_INITIALIZERS_H

#include "pool.h"

/* Makes the values of variable number `number` at `out`. `seed` is the program run's seed, for initializers
 * without their own. False after a message. */
bool initializer_run(rt *r, pool *p, uint64_t number, int64_t seed, void *out);

/* Q of the QR decomposition of the rows x columns matrix a (row-major, rows >= columns), with the diagonal of
 * R positive, in place. `work`: rows * columns doubles. */
void orthogonal_make(float *a, uint64_t rows, uint64_t columns, double *work);

#endif
