/* fourier.c: see fourier.h. */
#include "frontend/fourier.h"
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

enum { FACTOR = 64, DIRECT = 128 };

typedef struct dft {
    fe_lower *l;
    ir_dtype dtype;
    int sign;
} dft;

/* ---- constants --------------------------------------------------------------------------- */

static ir_value build_table(const dft *d, int rank, const int64_t *size, const double *number)
{
    ir_type t = {.dtype = d->dtype, .rank = rank};
    int64_t count = 1;
    for (int i = 0; i < rank; i++) {
        t.dim[i] = ir_fixed(size[i]);
        count *= size[i];
    }
    ir_array array = {t, arena_alloc_many(d->l->fe->arena, (size_t)count, ir_dtype_size(d->dtype))};
    for (int64_t i = 0; i < count; i++) ir_array_set(&array, i, number[i]);
    return ir_build_constant(d->l->g, t, array.data);
}

static double *numbers(const dft *d, int64_t count) { return arena_array(d->l->fe->arena, double, (size_t)count); }

/* exp(sign 2 pi i turn / n). */
static void find_root(const dft *d, int64_t turn, int64_t n, double out[2])
{
    turn %= n;
    out[0] = 4 * turn == n || 4 * turn == 3 * n ? 0 : cos(2 * pi * (double)turn / (double)n);
    out[1] = 2 * turn == n || turn == 0 ? 0 : d->sign * sin(2 * pi * (double)turn / (double)n);
}

/* z times complex numbers; from the dim before `pair` (from `pair` itself when `before` is 1) the dims of z are
 * before, 2 and after; `factor` holds before * after pairs. */
static ir_value multiply(const dft *d, ir_value z, int pair, int64_t before, int64_t after, const double *factor)
{
    const int64_t count = before * after, size[] = {before, 2, after};
    double *same = numbers(d, 2 * count), *other = numbers(d, 2 * count);
    for (int64_t b = 0; b < before; b++) {
        for (int64_t a = 0; a < after; a++) {
            const double *f = factor + 2 * (b * after + a);
            for (int p = 0; p < 2; p++) {
                const int64_t at = (b * 2 + p) * after + a;
                same[at] = f[0];
                other[at] = p == 0 ? -f[1] : f[1];
            }
        }
    }
    const int skip = before == 1 ? 1 : 0;
    ir_graph *g = d->l->g;
    ir_value direct = build_table(d, 3 - skip, size + skip, same), cross = build_table(d, 3 - skip, size + skip, other);
    ir_value swapped = ir_build_reverse(g, z, 1, (int64_t[]){pair});
    return ir_build_binary(g, OP_add, ir_build_binary(g, OP_multiply, z, direct),
                           ir_build_binary(g, OP_multiply, swapped, cross));
}

/* ---- the transform of rows [rows, parts, n] ---------------------------------------------- */

static ir_value transform(const dft *d, ir_value z);

/* z: [rows, parts, n, others]: sums over parts and n -> [rows, others, 2, n]. */
static ir_value multiply_matrix(const dft *d, ir_value z)
{
    const ir_type t = fe_type(d->l, z);
    const int64_t parts = t.dim[1].count, n = t.dim[2].count, size[] = {parts, n, 2, n};
    double *w = numbers(d, parts * n * 2 * n), root[2];
    for (int64_t j = 0; j < n; j++) {
        for (int64_t k = 0; k < n; k++) {
            find_root(d, j * k, n, root);
            for (int64_t p = 0; p < parts; p++) {
                w[((p * n + j) * 2 + 0) * n + k] = p == 0 ? root[0] : -root[1];
                w[((p * n + j) * 2 + 1) * n + k] = p == 0 ? root[1] : root[0];
            }
        }
    }
    const ir_dot dot = {.contracting_count = 2, .lhs_contracting = {1, 2}, .rhs_contracting = {0, 1}};
    return ir_build_dot_general(d->l->g, z, build_table(d, 4, size, w), &dot);
}

/* The largest divisor of n that is at most FACTOR and not far above the square root; 1 when there is none. */
static int64_t find_factor(int64_t n)
{
    for (int64_t f = FACTOR; f > 1; f--) {
        if (n % f == 0 && f * f <= 2 * n) return f;
    }
    return 1;
}

/* n = first * rest: transforms of the columns, twiddle factors, transforms of the rows. */
static ir_value split(const dft *d, ir_value z, int64_t first)
{
    ir_graph *g = d->l->g;
    const ir_type t = fe_type(d->l, z);
    const int64_t n = t.dim[2].count, rest = n / first;
    const ir_dim apart[] = {t.dim[0], t.dim[1], ir_fixed(first), ir_fixed(rest)};
    ir_value y = multiply_matrix(d, ir_build_reshape(g, z, 4, apart)); /* [rows, rest, 2, first] */
    double *twiddle = numbers(d, 2 * n);
    for (int64_t j = 0; j < rest; j++) {
        for (int64_t k = 0; k < first; k++) find_root(d, j * k, n, twiddle + 2 * (j * first + k));
    }
    y = multiply(d, y, 2, rest, first, twiddle);
    y = ir_build_transpose(g, y, (int64_t[]){0, 3, 2, 1});
    const ir_dim rows = {t.dim[0].count * first, t.dim[0].batch};
    y = transform(d, ir_build_reshape(g, y, 3, (ir_dim[]){rows, ir_fixed(2), ir_fixed(rest)}));
    y = ir_build_reshape(g, y, 4, (ir_dim[]){t.dim[0], ir_fixed(first), ir_fixed(2), ir_fixed(rest)});
    y = ir_build_transpose(g, y, (int64_t[]){0, 2, 3, 1});
    return ir_build_reshape(g, y, 3, (ir_dim[]){t.dim[0], ir_fixed(2), ir_fixed(n)});
}

/* In place, of n = 2^k complex numbers `step` apart, with room for as many. */
static void transform_numbers(double *z, double *room, int64_t n, int64_t step)
{
    if (n == 1) return;
    transform_numbers(room, z, n / 2, 2 * step);
    transform_numbers(room + 2 * step, z + 2 * step, n / 2, 2 * step);
    for (int64_t k = 0; k < n / 2; k++) {
        const double angle = -2 * pi * (double)k / (double)n, c = cos(angle), s = sin(angle);
        const double *even = room + 4 * step * k, *odd = even + 2 * step;
        const double re = c * odd[0] - s * odd[1], im = c * odd[1] + s * odd[0];
        double *low = z + 2 * step * k, *high = low + step * n;
        low[0] = even[0] + re;
        low[1] = even[1] + im;
        high[0] = even[0] - re;
        high[1] = even[1] - im;
    }
}

/* The transform of the conjugate chirp, laid around 0 in a row of m. */
static double *make_filter(const dft *d, int64_t n, int64_t m)
{
    double *z = numbers(d, 2 * m), *room = numbers(d, 2 * m), root[2];
    for (int64_t j = 0; j < n; j++) {
        find_root(d, j * j % (2 * n), 2 * n, root);
        const int64_t place[] = {j, j == 0 ? 0 : m - j};
        for (int i = 0; i < 2; i++) {
            z[2 * place[i]] = root[0] / (double)m;
            z[2 * place[i] + 1] = -root[1] / (double)m;
        }
    }
    memcpy(room, z, (size_t)m * 2 * sizeof *z);
    transform_numbers(z, room, m, 1);
    return z;
}

static ir_value convolve(const dft *d, ir_value z)
{
    ir_graph *g = d->l->g;
    const ir_type t = fe_type(d->l, z);
    const int64_t n = t.dim[2].count;
    int64_t m = 1;
    while (m < 2 * n - 1) m *= 2;
    double *chirp = numbers(d, 2 * n);
    for (int64_t j = 0; j < n; j++) find_root(d, j * j % (2 * n), 2 * n, chirp + 2 * j);
    ir_value zero = ir_build_scalar(g, d->dtype, 0);
    if (t.dim[1].count == 1)
        z = ir_build_pad(g, z, zero, (int64_t[]){0, 0, 0}, (int64_t[]){0, 1, 0}, NULL);
    z = multiply(d, z, 1, 1, n, chirp);
    z = ir_build_pad(g, z, zero, (int64_t[]){0, 0, 0}, (int64_t[]){0, 0, m - n}, NULL);
    const dft forward = {d->l, d->dtype, -1}, backward = {d->l, d->dtype, 1};
    z = multiply(d, transform(&forward, z), 1, 1, m, make_filter(d, n, m));
    z = ir_build_slice_dim(g, transform(&backward, z), 2, 0, n);
    return multiply(d, z, 1, 1, n, chirp);
}

static ir_value transform(const dft *d, ir_value z)
{
    const int64_t n = fe_type(d->l, z).dim[2].count, factor = n > FACTOR ? find_factor(n) : 1;
    if (factor > 1) return split(d, z, factor);
    return n <= DIRECT ? multiply_matrix(d, z) : convolve(d, z);
}

/* ---- any leading dims -------------------------------------------------------------------- */

ir_value fe_dft_build(fe_lower *l, ir_value z, bool inverse)
{
    ir_type t = fe_type(l, z), leading = t;
    const dft d = {l, t.dtype, inverse ? 1 : -1};
    ir_dim rows;
    leading.rank -= 2;
    bug_if(!ir_type_elements(&leading, &rows), "rows that cannot be counted");
    const ir_dim n = t.dim[t.rank - 1];
    z = ir_build_reshape(l->g, z, 3, (ir_dim[]){rows, t.dim[t.rank - 2], n});
    t.dim[t.rank - 2] = ir_fixed(2);
    return ir_build_reshape(l->g, transform(&d, z), t.rank, t.dim);
}

ir_value fe_dft_real_build(fe_lower *l, ir_value x)
{
    const int rank = fe_type(l, x).rank;
    const int64_t n = fe_type(l, x).dim[rank - 1].count;
    ir_value z = fe_dft_build(l, fe_insert_dim(l, x, rank - 1), false);
    return ir_build_slice_dim(l->g, z, rank, 0, n / 2 + 1);
}

/* Each number but the first and, of an even row, the last stands for its conjugate too. */
ir_value fe_dft_real_inverse_build(fe_lower *l, ir_value z, int64_t n)
{
    const ir_type t = fe_type(l, z);
    const dft d = {l, t.dtype, 1};
    const int64_t bins = n / 2 + 1;
    double *weight = numbers(&d, 2 * bins);
    for (int64_t k = 0; k < bins; k++) {
        const bool single = k == 0 || 2 * k == n;
        weight[k] = (single ? 1.0 : 2.0) / (double)n;
        weight[bins + k] = single ? 0.0 : weight[k];
    }
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0};
    high[t.rank - 1] = n - bins;
    z = ir_build_binary(l->g, OP_multiply, z, build_table(&d, 2, (int64_t[]){2, bins}, weight));
    z = ir_build_pad(l->g, z, ir_build_scalar(l->g, t.dtype, 0), low, high, NULL);
    z = ir_build_slice_dim(l->g, fe_dft_build(l, z, true), t.rank - 2, 0, 1);
    ir_type result = t;
    result.rank--;
    result.dim[result.rank - 1] = ir_fixed(n);
    return ir_build_reshape(l->g, z, result.rank, result.dim);
}

/* ---- short-time transforms --------------------------------------------------------------- */

double *fe_window_make(fe_lower *l, const char *name, int64_t length)
{
    const double high = strcmp(name, "hann") == 0 ? 0.5 : 0.54;
    if (high > 0.5 && strcmp(name, "hamming") != 0) return NULL;
    double *w = arena_array(l->fe->arena, double, (size_t)length);
    const double period = (double)(length % 2 == 0 ? length : length - 1);
    for (int64_t i = 0; i < length; i++)
        w[i] = length == 1 ? 1 : high - (1 - high) * cos(2 * pi * (double)i / period);
    return w;
}

/* Position of each element of a frame; with `half` the samples are mirrored that far beyond both ends. */
static ir_value build_positions(fe_lower *l, int64_t frames, const fe_stft *s, int64_t half, int64_t samples)
{
    ir_graph *g = l->g;
    const ir_type grid = ir_type_make(DTYPE_i32, 2, (ir_dim[]){ir_fixed(frames), ir_fixed(s->size)});
    ir_value start = ir_build_binary_scalar(g, OP_multiply, ir_build_iota(g, grid, 0), (double)s->stride);
    ir_value at = ir_build_binary(g, OP_add, start, ir_build_iota(g, grid, 1));
    if (half == 0) return at;
    const double last = (double)(samples - 1);
    at = ir_build_unary(g, OP_abs, ir_build_binary_scalar(g, OP_add, at, -(double)half));
    at = ir_build_unary(g, OP_abs, ir_build_binary_scalar(g, OP_add, at, -last));
    return ir_build_binary(g, OP_subtract, ir_build_scalar(g, DTYPE_i32, last), at);
}

ir_value fe_stft_build(fe_lower *l, const fe_stft *s, ir_value x)
{
    const ir_type t = fe_type(l, x);
    const int last = t.rank - 1;
    const int64_t samples = t.dim[last].count, half = s->center ? s->size / 2 : 0;
    const int64_t frames = samples + 2 * half < s->size ? 0 : (samples + 2 * half - s->size) / s->stride + 1;
    if (frames < 1 || half >= samples || samples > INT32_MAX / 2 || s->size > INT32_MAX / 2) {
        fe_layer_error(l->fe, l->layer, "expected more samples than half the transform, at least %lld, found %s",
                       (long long)(s->center ? half + 1 : s->size), fe_shape_show(l->fe, &t));
        return IR_NONE;
    }
    op_use u = {.l = l};
    ir_value frame = op_take(&u, x, build_positions(l, frames, s, half, samples), last);
    if (frame == IR_NONE) return IR_NONE;
    if (s->window) {
        const dft d = {l, t.dtype, -1};
        double *window = numbers(&d, s->size);
        memcpy(window + (s->size - s->length) / 2, s->window, (size_t)s->length * sizeof *window);
        frame = ir_build_binary(l->g, OP_multiply, frame, build_table(&d, 1, &s->size, window));
    }
    return fe_dft_real_build(l, frame);
}
