/* linalg.c: the decompositions of linalg.h with LAPACKE, for float and double. A row-major matrix is the transposed one
 * in the column-major order of LAPACK: where that is no matter it is passed as it lies. */
#include "linalg.h"

#include <lapacke.h>
#include <math.h>
#include <string.h>

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

static void *take(char **scratch, int64_t bytes)
{
    void *at = *scratch;
    *scratch += (bytes + 63) / 64 * 64;
    return at;
}

#define REAL float
#define CALL(name) tfcc_linalg_##name##_f32
#define STATIC(name) name##_f32
#define LAPACK(name) LAPACKE_s##name##_work
#include "linalg_real.h"
#undef REAL
#undef CALL
#undef STATIC
#undef LAPACK

#define REAL double
#define CALL(name) tfcc_linalg_##name##_f64
#define STATIC(name) name##_f64
#define LAPACK(name) LAPACKE_d##name##_work
#include "linalg_real.h"
