/* ops_fourier.c: Fourier transforms of keras.ops. Complex tensors are pairs of real ones. */
#include "frontend/fourier.h"

#include <string.h>

enum { LARGEST = 1 << 22 };

static bool check_rows(op_use *u, ir_value x, int least)
{
    const ir_type t = op_type(u, x);
    if (t.rank < least) return op_fail_shape(u, "a tensor with more dimensions", &t);
    if (t.dtype != DTYPE_f32 && t.dtype != DTYPE_f64) return op_error(u, "expected float32 or float64");
    if (t.rank == IR_MAX_RANK) return op_error(u, "expected at most %d dimensions", IR_MAX_RANK - 1);
    for (int i = t.rank - least; i < t.rank; i++) {
        if (!op_check_fixed(u, &t, i, "transforming along")) return false;
        if (t.dim[i].count > LARGEST) return op_fail_shape(u, "a shorter tensor", &t);
    }
    return op_check_type(u, &t);
}

/* The pair of tensors "x" as one: [..., 2, n]. */
static bool find_complex(op_use *u, int least, ir_value *out)
{
    const fe_value *v = op_find(u, "x");
    ir_value part[2];
    if (!v || v->kind != FE_LIST || v->count != 2)
        return op_error(u, "expected a pair of tensors, real and imaginary parts");
    for (int i = 0; i < 2; i++) {
        if (!op_value_tensor(u, &v->item[i], "x", &part[i]) || !check_rows(u, part[i], least)) return false;
    }
    const ir_type t = op_type(u, part[0]), other = op_type(u, part[1]);
    if (!ir_type_equal(&t, &other)) return op_fail_shape(u, "two tensors of one type", &other);
    for (int i = 0; i < 2; i++) part[i] = op_insert_dim(u, part[i], t.rank - 1);
    *out = ir_build_concatenate(u->l->g, 2, part, t.rank - 1);
    return true;
}

static ir_value pick_part(op_use *u, ir_value z, int part)
{
    const int at = op_type(u, z).rank - 2;
    return op_drop_dim(u, op_slice_dim(u, z, at, part, part + 1), at);
}

static bool finish_complex(op_use *u, ir_value z, fe_value *out)
{
    const ir_value part[] = {pick_part(u, z, 0), pick_part(u, z, 1)};
    return op_finish_list(u, 2, part, out);
}

bool op_build_fft(op_use *u, fe_value *out)
{
    ir_value z;
    return find_complex(u, 1, &z) && finish_complex(u, fe_dft_build(u->l, z, false), out);
}

/* FFT2 and, with word "inverse", IFFT2: the last dim, then the one before it. */
bool op_build_fft2(op_use *u, fe_value *out)
{
    ir_value z;
    const bool inverse = strcmp(u->op->word, "inverse") == 0;
    if (!find_complex(u, 2, &z)) return false;
    const ir_type t = op_type(u, z); /* [..., rows, 2, columns] */
    const int rank = t.rank;
    z = fe_dft_build(u->l, z, inverse);
    z = op_move_axis(u, z, rank - 1, rank - 3);
    z = op_move_axis(u, z, rank - 1, rank - 2); /* [..., columns, 2, rows] */
    z = fe_dft_build(u->l, z, inverse);
    if (inverse)
        z = op_map_number(u, OP_divide, z, (double)t.dim[rank - 1].count * (double)t.dim[rank - 3].count);
    const int at = rank - 2;
    ir_value part[2];
    for (int i = 0; i < 2; i++) {
        part[i] = op_drop_dim(u, op_slice_dim(u, z, at, i, i + 1), at);
        part[i] = op_move_axis(u, part[i], rank - 3, rank - 2);
    }
    return op_finish_list(u, 2, part, out);
}

/* The last dim cut or filled up with 0. */
static ir_value fit_row(op_use *u, ir_value x, int64_t size)
{
    const ir_type t = op_type(u, x);
    const int last = t.rank - 1;
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0};
    if (t.dim[last].count >= size) return op_slice_dim(u, x, last, 0, size);
    high[last] = size - t.dim[last].count;
    return ir_build_pad(u->l->g, x, op_number(u, x, 0), low, high, NULL);
}

static bool find_length(op_use *u, const char *name, int64_t otherwise, int64_t *out)
{
    if (!op_find_int(u, name, otherwise, out)) return false;
    return (*out >= 1 && *out <= LARGEST) || op_error(u, "expected \"%s\" in 1 .. %d", name, LARGEST);
}

bool op_build_rfft(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t n;
    if (!op_find_tensor(u, "x", &x) || !check_rows(u, x, 1)) return false;
    if (!find_length(u, "fft_length", op_type(u, x).dim[op_type(u, x).rank - 1].count, &n)) return false;
    return finish_complex(u, fe_dft_real_build(u->l, fit_row(u, x, n)), out);
}

bool op_build_irfft(op_use *u, fe_value *out)
{
    ir_value z;
    int64_t n;
    if (!find_complex(u, 1, &z)) return false;
    if (!find_length(u, "fft_length", 2 * (op_type(u, z).dim[op_type(u, z).rank - 1].count - 1), &n)) return false;
    return op_finish(u, fe_dft_real_inverse_build(u->l, fit_row(u, z, n / 2 + 1), n), out);
}

/* ---- short-time transforms --------------------------------------------------------------- */

/* "hann", "hamming", null or `length` numbers. */
static bool find_window(op_use *u, int64_t length, const double **out)
{
    const fe_value *v = op_find(u, "window");
    *out = NULL;
    if (v && v->kind == FE_TEXT) {
        *out = fe_window_make(u->l, v->text, length);
        return *out || op_error(u, "expected \"hann\" or \"hamming\" as \"window\", found \"%s\"", v->text);
    }
    if (!v) {
        for (int i = 0; u->config->kind == FE_DICT && i < u->config->count; i++) {
            if (strcmp(u->config->key[i], "window") == 0) return true;
        }
        *out = fe_window_make(u->l, "hann", length);
        return true;
    }
    ir_value x;
    if (!op_value_tensor(u, v, "window", &x)) return false;
    const ir_node *n = ir_node_of(u->l->g, x);
    const ir_attr *data = ir_attr_find(n, ATTR_data);
    if (n->op != OP_constant || n->type.rank != 1 || n->type.dim[0].count != length)
        return op_error(u, "expected %lld numbers as \"window\"", (long long)length);
    const ir_array array = {n->type, arena_copy(u->l->fe->arena, data->data.bytes, data->data.size)};
    const bool splat = data->data.size == ir_dtype_size(n->type.dtype);
    double *window = arena_array(u->l->fe->arena, double, (size_t)length);
    for (int64_t i = 0; i < length; i++) window[i] = ir_array_get(&array, splat ? 0 : i);
    *out = window;
    return true;
}

static bool find_stft(op_use *u, fe_stft *s)
{
    if (!find_length(u, "sequence_length", 0, &s->length) || !find_length(u, "sequence_stride", 0, &s->stride) ||
        !find_length(u, "fft_length", 0, &s->size) || !op_find_bool(u, "center", true, &s->center))
        return false;
    if (s->size < s->length)
        return op_error(u, "expected \"fft_length\" of at least \"sequence_length\" %lld, found %lld",
                        (long long)s->length, (long long)s->size);
    return find_window(u, s->length, &s->window);
}

bool op_build_stft(op_use *u, fe_value *out)
{
    ir_value x;
    fe_stft s = {0};
    if (!op_find_tensor(u, "x", &x) || !check_rows(u, x, 1) || !find_stft(u, &s)) return false;
    if (op_type(u, x).rank + 2 > IR_MAX_RANK) return op_error(u, "expected fewer dimensions");
    ir_value z = fe_stft_build(u->l, &s, x);
    return z != IR_NONE && finish_complex(u, z, out);
}

/* What a frame is multiplied with: the window over the sum of the squares of those that overlap there. */
static ir_value build_inverse_window(op_use *u, const fe_stft *s, ir_dtype dtype)
{
    arena *a = u->l->fe->arena;
    double *window = arena_array(a, double, (size_t)s->size), *sum = arena_array(a, double, (size_t)s->stride);
    memcpy(window + (s->size - s->length) / 2, s->window, (size_t)s->length * sizeof *window);
    for (int64_t i = 0; i < s->size; i++) sum[i % s->stride] += window[i] * window[i];
    const ir_type t = ir_type_make(dtype, 1, (ir_dim[]){ir_fixed(s->size)});
    ir_array array = {t, arena_alloc_many(a, (size_t)s->size, ir_dtype_size(dtype))};
    for (int64_t i = 0; i < s->size; i++) ir_array_set(&array, i, window[i] / sum[i % s->stride]);
    return ir_build_constant(u->l->g, t, array.data);
}

/* x [..., frames, size]: frame f is added at f * stride. */
static ir_value add_frames(op_use *u, ir_value x, int64_t stride)
{
    ir_graph *g = u->l->g;
    const ir_type t = op_type(u, x);
    const int at = t.rank - 2;
    const int64_t frames = t.dim[at].count, size = t.dim[at + 1].count, pieces = base_ceil_div(size, stride);
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0};
    ir_type row = t;
    row.rank--;
    row.dim[at] = ir_fixed(frames * stride);
    x = fit_row(u, x, pieces * stride);
    ir_value sum = IR_NONE, zero = op_number(u, x, 0);
    for (int64_t p = 0; p < pieces; p++) {
        ir_value piece = op_slice_dim(u, x, at + 1, p * stride, (p + 1) * stride);
        low[at] = p * stride;
        high[at] = (pieces - 1 - p) * stride;
        piece = ir_build_pad(g, ir_build_reshape(g, piece, row.rank, row.dim), zero, low, high, NULL);
        sum = sum == IR_NONE ? piece : op_map2(u, OP_add, sum, piece);
    }
    return op_slice_dim(u, sum, at, 0, (frames - 1) * stride + size);
}

bool op_build_istft(op_use *u, fe_value *out)
{
    enum { PIECES = 1 << 12 };
    ir_value z;
    fe_stft s = {0};
    int64_t length;
    if (!find_complex(u, 2, &z) || !find_stft(u, &s) || !op_find_int(u, "length", -1, &length)) return false;
    const ir_type t = op_type(u, z); /* [..., frames, 2, bins] */
    if (t.dim[t.rank - 1].count != s.size / 2 + 1)
        return op_error(u, "expected %lld frequencies, found %lld", (long long)(s.size / 2 + 1),
                        (long long)t.dim[t.rank - 1].count);
    if (s.size / s.stride > PIECES) return op_error(u, "expected at most %d frames that overlap", PIECES);
    ir_type all = t;
    all.rank -= 2;
    all.dim[all.rank - 1].count *= 2 * s.stride + s.size;
    if (!op_check_type(u, &all)) return false;
    ir_value x = fe_dft_real_inverse_build(u->l, z, s.size);
    if (s.window) x = op_map2(u, OP_multiply, x, build_inverse_window(u, &s, t.dtype));
    x = add_frames(u, x, s.stride);
    const int last = op_type(u, x).rank - 1;
    const int64_t samples = op_type(u, x).dim[last].count, start = s.center ? s.size / 2 : 0;
    int64_t end = op_find(u, "length") ? start + length : samples - start;
    end = base_min(end, samples);
    if (end <= start) return op_error(u, "expected a result with elements, found none");
    return op_finish(u, op_slice_dim(u, x, last, start, end), out);
}
