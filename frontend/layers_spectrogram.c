/* layers_spectrogram.c: MelSpectrogram and STFTSpectrogram. Their constants are computed in 32 bits, as Keras
 * does. */
#include "frontend/fourier.h"
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

enum { LONGEST = 1 << 20 };
static const double pi = 3.14159265358979323846;

static ir_value constant_f32(fe_lower *l, ir_dtype dtype, int64_t rows, int64_t columns, const float *number)
{
    const ir_type t = ir_type_make(DTYPE_f32, 2, (ir_dim[]){ir_fixed(rows), ir_fixed(columns)});
    return ir_build_convert(l->g, ir_build_constant(l->g, t, number), dtype);
}

static ir_value scale(fe_lower *l, ir_value x, double by)
{
    return ir_build_binary_scalar(l->g, OP_multiply, x, by);
}
static ir_value at_least(fe_lower *l, ir_value x, double least)
{
    return ir_build_binary_scalar(l->g, OP_maximum, x, least);
}

/* ---- MelSpectrogram ---------------------------------------------------------------------- */

typedef struct mel {
    fe_stft stft;
    int64_t rate, bins;
    double low, high, top, exponent, least, reference;
    bool decibel;
} mel;

static bool read_window(fe_config *c, const char **out)
{
    static const char *const windows[] = {"hann", "hamming", NULL};
    int which = 0;
    if (!fe_config_choice(c, "window", windows, &which)) return false;
    *out = windows[which];
    return true;
}

typedef struct mel_state {
    mel mel;
    const char *window;
} mel_state;

bool fe_read_mel_spectrogram(fe *f, fe_layer *layer, fe_config *c)
{
    mel_state *s = arena_new(f->arena, mel_state);
    mel *m = &s->mel;
    const json_at at = fe_key(c, "fft_length");
    layer->state = s;
    m->stft.center = true;
    if (!fe_size_read(c, "fft_length", 2048, &m->stft.size) ||
        !fe_size_read(c, "sequence_stride", 512, &m->stft.stride) ||
        !fe_size_read(c, "sequence_length", m->stft.size, &m->stft.length) || !read_window(c, &s->window) ||
        !fe_size_read(c, "sampling_rate", 16000, &m->rate) ||
        !fe_size_read(c, "num_mel_bins", 128, &m->bins) || !fe_config_number_or(c, "min_freq", 20, &m->low) ||
        !fe_config_number_or(c, "max_freq", (double)(m->rate / 2), &m->high) ||
        !fe_config_bool_or(c, "power_to_db", true, &m->decibel) ||
        !fe_config_number_or(c, "top_db", 80, &m->top) ||
        !fe_config_number_or(c, "mag_exp", 2, &m->exponent) ||
        !fe_config_number_or(c, "min_power", 1e-10, &m->least) ||
        !fe_config_number_or(c, "ref_power", 1, &m->reference))
        return false;
    if (m->stft.size < m->stft.length)
        return fe_error(f, &at, "expected at least sequence_length, %lld, found %lld",
                        (long long)m->stft.length, (long long)m->stft.size);
    if (m->stft.size > LONGEST || m->bins > LONGEST / 64) return fe_error(f, &at, "expected smaller sizes");
    return fe_config_done(c);
}

static float mel_of(float hertz) { return 1127.0f * logf(1.0f + hertz / 700.0f); }

static float step_of(float from, float to, int64_t count, int64_t i)
{
    return i == count - 1 && count > 1 ? to
                                       : from + (count > 1 ? (to - from) / (float)(count - 1) : 0) * (float)i;
}

/* Triangles over the mel scale, [lines, bins]; the first line belongs to none. */
static ir_value build_triangles(fe_lower *l, const mel *m, int64_t lines, ir_dtype dtype)
{
    float *weight = arena_array(l->fe->arena, float, (size_t)(lines * m->bins));
    const float low = mel_of((float)m->low), high = mel_of((float)m->high), most = (float)m->rate / 2.0f;
    for (int64_t line = 1; line < lines; line++) {
        const float here = mel_of(step_of(0, most, lines, line));
        for (int64_t b = 0; b < m->bins; b++) {
            const float left = step_of(low, high, m->bins + 2, b),
                        mid = step_of(low, high, m->bins + 2, b + 1),
                        right = step_of(low, high, m->bins + 2, b + 2);
            const float up = (here - left) / (mid - left), down = (right - here) / (right - mid);
            weight[line * m->bins + b] = fmaxf(0, fminf(up, down));
        }
    }
    return constant_f32(l, dtype, lines, m->bins, weight);
}

static ir_value to_decibel(fe_lower *l, const mel *m, ir_value x)
{
    static const int64_t all[IR_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    const double factor = 10 / log(10), reference = 10 * log10(fmax(fabs(m->reference), m->least));
    ir_value y = scale(l, ir_build_unary(l->g, OP_log, at_least(l, x, m->least)), factor);
    y = ir_build_binary_scalar(l->g, OP_subtract, y, reference);
    ir_value most = ir_build_reduce(l->g, "maximum", y, fe_type(l, y).rank, all, false);
    return ir_build_binary(l->g, OP_maximum, y, ir_build_binary_scalar(l->g, OP_subtract, most, m->top));
}

bool fe_call_mel_spectrogram(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const mel_state *s = layer->state;
    mel m = s->mel;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK - 2, &x)) return false;
    const ir_dtype dtype = layer->compute_dtype == DTYPE_f64 ? DTYPE_f64 : DTYPE_f32;
    m.stft.window = fe_window_make(l, s->window, m.stft.length);
    ir_value audio = ir_build_convert(l->g, x.value, dtype);
    const ir_type t = fe_type(l, audio);
    int64_t samples;
    if (!fe_dim_get(l, layer, &t, t.rank - 1, &samples)) return false;
    ir_value z = fe_stft_build(l, &m.stft, audio);
    if (z == IR_NONE) return false;
    const int pair = fe_type(l, z).rank - 2;
    const int64_t lines = m.stft.size / 2 + 1, parts[] = {pair};
    ir_value power = ir_build_reduce(l->g, "add", fe_square(l, z), 1, parts, false);
    power = ir_build_unary(l->g, OP_sqrt, power);
    power = ir_build_binary_scalar(l->g, OP_power, power, m.exponent);
    ir_value y = ir_build_dot(l->g, power, build_triangles(l, &m, lines, dtype));
    if (m.decibel) y = to_decibel(l, &m, y);
    const int rank = fe_type(l, y).rank;
    int64_t order[IR_MAX_RANK];
    for (int i = 0; i < rank; i++) order[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    y = ir_build_transpose(l->g, y, order);
    return fe_finish(l, ir_build_convert(l->g, y, layer->compute_dtype), IR_NONE, out);
}

/* ---- STFTSpectrogram --------------------------------------------------------------------- */

typedef enum stft_mode {
    MODE_log,
    MODE_magnitude,
    MODE_psd,
    MODE_real,
    MODE_imag,
    MODE_angle,
    MODE_stft
} stft_mode;
static const char *const modes[] = {"log", "magnitude", "psd", "real", "imag", "angle", "stft", NULL};
static const char *const scalings[] = {"density", "spectrum", NULL};

typedef struct spectrogram {
    int mode, scaling; /* scaling 2: none */
    int64_t length, step, size;
    float *window; /* NULL: none */
    bool same, expand, channels_first;
} spectrogram;

/* Windows that are sums of cosines, as scipy.signal.windows has them. */
static const struct {
    const char *name;
    int count;
    double part[5];
} cosine_windows[] = {
    {"boxcar", 1, {1}},
    {"hann", 2, {0.5, 0.5}},
    {"hamming", 2, {0.54, 0.46}},
    {"blackman", 3, {0.42, 0.5, 0.08}},
    {"nuttall", 4, {0.3635819, 0.4891775, 0.1365995, 0.0106411}},
    {"blackmanharris", 4, {0.35875, 0.48829, 0.14128, 0.01168}},
    {"flattop", 5, {0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368}},
};

static bool make_window(fe *f, const json_at *at, const char *name, bool periodic, spectrogram *s)
{
    size_t which = 0;
    while (which < countof(cosine_windows) && strcmp(cosine_windows[which].name, name) != 0) which++;
    if (which == countof(cosine_windows))
        return fe_error(f, at, "the window \"%s\" is not supported: give its numbers as a list", name);
    s->window = arena_array(f->arena, float, (size_t)s->length);
    const double last = (double)(periodic ? s->length : s->length - 1);
    for (int64_t i = 0; i < s->length; i++) {
        double sum = 0;
        for (int k = 0; k < cosine_windows[which].count; k++)
            sum += cosine_windows[which].part[k] *
                   cos(k * (2 * pi * (double)i / base_max(1, (int64_t)last) - pi));
        s->window[i] = s->length == 1 ? 1 : (float)sum;
    }
    return true;
}

static bool read_own_window(fe *f, fe_config *c, bool periodic, spectrogram *s)
{
    const json_at at = fe_key(c, "window");
    const cJSON *j = fe_config_item(c, "window");
    if (!j) return true;
    if (cJSON_IsString(j)) return make_window(f, &at, j->valuestring, periodic, s);
    if (!cJSON_IsArray(j) || cJSON_GetArraySize(j) != s->length)
        return fe_error(f, &at, "expected a name, null or %lld numbers, found %s", (long long)s->length,
                        fe_json_show(f, j));
    s->window = arena_array(f->arena, float, (size_t)s->length);
    int64_t i = 0;
    for (const cJSON *item = j->child; item; item = item->next) s->window[i++] = (float)item->valuedouble;
    return true;
}

bool fe_read_stft_spectrogram(fe *f, fe_layer *layer, fe_config *c)
{
    static const char *const paddings[] = {"valid", "same", NULL};
    spectrogram *s = arena_new(f->arena, spectrogram);
    const json_at at = fe_key(c, "fft_length");
    bool periodic;
    int padding = 0;
    layer->state = s;
    if (!fe_config_choice(c, "mode", modes, &s->mode) || !fe_size_read(c, "frame_length", 256, &s->length))
        return false;
    int64_t size = 1;
    while (size < s->length) size *= 2;
    if (!fe_size_read(c, "frame_step", base_max(1, s->length / 2), &s->step) ||
        !fe_size_read(c, "fft_length", size, &s->size))
        return false;
    if (s->size < s->length || s->size > LONGEST || s->length * s->size > (int64_t)1 << 28)
        return fe_error(f, &at, "expected a size of at least frame_length and below %d, found %lld", LONGEST,
                        (long long)s->size);
    if (!fe_config_bool_or(c, "periodic", false, &periodic) || !read_own_window(f, c, periodic, s))
        return false;
    const bool scaled = fe_config_has(c, "scaling");
    if (!fe_config_choice(c, "scaling", scalings, &s->scaling) ||
        !fe_config_choice(c, "padding", paddings, &padding) ||
        !fe_config_bool_or(c, "expand_dims", false, &s->expand) ||
        !fe_channels_first_read(c, &s->channels_first))
        return false;
    if (!scaled) s->scaling = 2;
    s->same = padding == 1;
    return fe_config_done(c);
}

/* What Keras's initializer STFT gives, [length, 1, lines]. */
static const void *make_kernel(fe *f, const spectrogram *s, bool imaginary)
{
    const int64_t lines = s->size / 2 + 1, whole = (lines - 1) * 2;
    float *kernel = arena_array(f->arena, float, (size_t)(s->length * lines)), divisor = 1;
    double sum = 0;
    for (int64_t i = 0; s->window && i < s->length; i++)
        sum += s->scaling == 0 ? (double)s->window[i] * s->window[i] : fabs((double)s->window[i]);
    if (s->window && s->scaling < 2) divisor = (float)(s->scaling == 0 ? sqrt(sum) : sum);
    for (int64_t t = 0; t < s->length; t++) {
        for (int64_t k = 0; k < lines; k++) {
            const float angle = -2.0f * (float)t * ((float)k / (float)whole) * (float)pi;
            const float value = (float)(imaginary ? sin((double)angle) : cos((double)angle));
            kernel[t * lines + k] = s->window ? value * s->window[t] / divisor : value;
        }
    }
    return kernel;
}

/* x [N * channels, samples, 1] -> [N * channels, frames, lines]. */
static ir_value convolve(fe_lower *l, fe_layer *layer, ir_value x, bool imaginary)
{
    const spectrogram *s = layer->state;
    const char *name = imaginary ? "imag_kernel" : "real_kernel";
    const int64_t lines = s->size / 2 + 1, shape[] = {s->length, 1, lines};
    const bool first = fe_weight_variable(layer, name) < 0;
    const fe_weight_spec spec = {.name = name, .rank = 3, .shape = shape, .trainable = true};
    ir_value kernel = fe_weight_get(l, layer, &spec);
    if (kernel == IR_NONE) return IR_NONE;
    ir_variable *v = &l->fe->module->variable[fe_weight_variable(layer, name)];
    if (first && v->type.dtype == DTYPE_f32) v->data = make_kernel(l->fe, s, imaginary);
    const fe_conv c = {.spatial = 1,
                       .groups = 1,
                       .kernel = {s->length},
                       .strides = {s->step},
                       .dilation = {1},
                       .padding = s->same ? FE_PADDING_same : FE_PADDING_valid};
    return fe_conv_build(l, layer, &c, x, kernel);
}

static ir_value join_parts(fe_lower *l, const spectrogram *s, ir_value real, ir_value imaginary)
{
    ir_graph *g = l->g;
    if (s->mode == MODE_real) return real;
    if (s->mode == MODE_imag) return imaginary;
    if (s->mode == MODE_angle) return ir_build_binary(g, OP_atan2, imaginary, real);
    if (s->mode == MODE_stft) return ir_build_concatenate(g, 2, (ir_value[]){real, imaginary}, 3);
    ir_value power = ir_build_binary(g, OP_add, fe_square(l, real), fe_square(l, imaginary));
    if (s->mode == MODE_psd) {
        const int64_t lines = fe_type(l, power).dim[3].count;
        if (lines < 3) return power;
        ir_value inner = ir_build_slice_dim(g, power, 3, 1, lines - 1);
        ir_value zero = ir_build_scalar(g, fe_type(l, power).dtype, 0);
        inner = ir_build_pad(g, inner, zero, (int64_t[]){0, 0, 0, 1}, (int64_t[]){0, 0, 0, 1}, NULL);
        return ir_build_binary(g, OP_add, power, inner);
    }
    ir_value magnitude = ir_build_unary(g, OP_sqrt, at_least(l, power, 1e-7));
    return s->mode == MODE_magnitude ? magnitude : ir_build_unary(g, OP_log, at_least(l, magnitude, 1e-7));
}

/* y [N, channels, frames, lines] as the layer gives it. */
static ir_value arrange(fe_lower *l, const spectrogram *s, ir_value y)
{
    const ir_type t = fe_type(l, y);
    if (s->expand && s->channels_first) return y;
    if (s->expand) return ir_build_transpose(l->g, y, (int64_t[]){0, 2, 3, 1});
    const ir_dim all = ir_fixed(t.dim[1].count * t.dim[3].count);
    if (s->channels_first) {
        y = ir_build_transpose(l->g, y, (int64_t[]){0, 1, 3, 2});
        return ir_build_reshape(l->g, y, 3, (ir_dim[]){t.dim[0], all, t.dim[2]});
    }
    y = ir_build_transpose(l->g, y, (int64_t[]){0, 2, 1, 3});
    return ir_build_reshape(l->g, y, 3, (ir_dim[]){t.dim[0], t.dim[2], all});
}

bool fe_call_stft_spectrogram(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const spectrogram *s = layer->state;
    fe_tensor x;
    int64_t samples, channels;
    if (!fe_input_get(l, layer, args, 3, 3, &x)) return false;
    ir_value audio = ir_build_convert(l->g, x.value, layer->compute_dtype), part[2] = {IR_NONE, IR_NONE};
    if (!s->channels_first) audio = ir_build_transpose(l->g, audio, (int64_t[]){0, 2, 1});
    const ir_type t = fe_type(l, audio);
    if (!fe_dim_get(l, layer, &t, 1, &channels) || !fe_dim_get(l, layer, &t, 2, &samples)) return false;
    if (!s->same && samples < s->length)
        return fe_layer_error(l->fe, layer, "expected at least %lld samples, found %lld",
                              (long long)s->length, (long long)samples);
    const ir_dim rows = {t.dim[0].count * channels, t.dim[0].batch};
    audio = ir_build_reshape(l->g, audio, 3, (ir_dim[]){rows, t.dim[2], ir_fixed(1)});
    for (int i = 0; i < 2; i++) {
        if (s->mode == (i == 0 ? MODE_imag : MODE_real)) continue;
        part[i] = convolve(l, layer, audio, i == 1);
        if (part[i] == IR_NONE) return false;
        const ir_type p = fe_type(l, part[i]);
        part[i] = ir_build_reshape(l->g, part[i], 4, (ir_dim[]){t.dim[0], t.dim[1], p.dim[1], p.dim[2]});
    }
    return fe_finish(l, arrange(l, s, join_parts(l, s, part[0], part[1])), IR_NONE, out);
}
