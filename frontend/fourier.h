/* fourier.h: private to frontend/. Discrete Fourier transforms as graphs of matrix products: a length is split into
 * factors of at most 64 (Cooley and Tukey), whose transforms are products with small constant matrices; long prime
 * factors become convolutions of a length that is a power of two (Bluestein). Gradients, batches, threads and targets
 * are then those of products: no library, no call, and no memory beyond the plan. */
#ifndef TFCC_FRONTEND_FOURIER_H
#define TFCC_FRONTEND_FOURIER_H

#include "frontend/ops.h"

/* z: [..., parts, n], parts 1 (real numbers) or 2 (real and imaginary); result [..., 2, n]. The exponent's sign is -1,
 * with `inverse` +1; nothing is scaled. n is a fixed number. */
ir_value fe_dft_build(fe_lower *l, ir_value z, bool inverse);
/* Of real numbers [..., n]: the n / 2 + 1 first, [..., 2, n / 2 + 1]. */
ir_value fe_dft_real_build(fe_lower *l, ir_value x);
/* n real numbers from the first n / 2 + 1 of their transform, [..., 2, n / 2 + 1] -> [..., n]; scaled by 1 / n. */
ir_value fe_dft_real_inverse_build(fe_lower *l, ir_value z, int64_t n);

typedef struct fe_stft {
    int64_t length, stride, size; /* of the window, between frames, of the transform */
    const double *window;         /* `length` numbers; NULL: ones */
    bool center;
} fe_stft;
/* x [..., samples] -> [..., frames, 2, size / 2 + 1]. IR_NONE when the samples do not make one frame. */
ir_value fe_stft_build(fe_lower *l, const fe_stft *s, ir_value x);
/* TensorFlow's periodic windows "hann" and "hamming": NULL when it is neither. In the arena. */
double *fe_window_make(fe_lower *l, const char *name, int64_t length);

#endif
