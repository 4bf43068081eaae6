/* layers_conv.c: Conv1D .. 3D, their transposes, depthwise and separable convolutions. Channel order is a
 * matter of the layout attributes, never of a transpose. A 1x1 convolution over channels in last place is a
 * matrix product. */
#include "frontend/layers.h"

#include <string.h>

typedef struct conv_state {
    fe_conv window;
    int64_t filters, multiplier; /* multiplier: of depthwise and separable, else 0 */
    bool use_bias;
    const ir_record *activation;
    fe_weight_config weight, pointwise, bias;
    fe_lora lora;
} conv_state;

/* ---- reading ----------------------------------------------------------------------------- */

static bool is_large(const int64_t *sizes, int count)
{
    for (int i = 0; i < count; i++) {
        if (sizes[i] > 1) return true;
    }
    return false;
}

static bool read_window(fe_config *c, conv_state *s, bool causal)
{
    static const char *const paddings[] = {"valid", "same", "causal", NULL};
    const json_at at = fe_key(c, "padding"), kernel_at = fe_key(c, "kernel_size");
    int choice = 0;
    bool ok = true;
    if (!fe_config_has(c, "kernel_size"))
        ok = fe_error(c->fe, &kernel_at, "expected the size of the kernel, found none");
    ok = fe_sizes_read(c, "kernel_size", s->window.spatial, 1, 1, s->window.kernel) && ok;
    ok = fe_sizes_read(c, "strides", s->window.spatial, 1, 1, s->window.strides) && ok;
    ok = fe_sizes_read(c, "dilation_rate", s->window.spatial, 1, 1, s->window.dilation) && ok;
    ok = fe_config_choice(c, "padding", paddings, &choice) && ok;
    ok = fe_channels_first_read(c, &s->window.channels_first) && ok;
    s->window.padding = choice == 0 ? FE_PADDING_valid : choice == 1 ? FE_PADDING_same : FE_PADDING_causal;
    if (ok && s->window.padding == FE_PADDING_causal && !causal) {
        return fe_error(c->fe, &at, "expected \"valid\" or \"same\", found \"causal\"");
    }
    return ok;
}

static bool read_rest(fe_config *c, fe_layer *layer, conv_state *s)
{
    bool ok = fe_activation_or_layer_read(c, layer, &s->activation);
    ok = fe_config_bool_or(c, "use_bias", true, &s->use_bias) && ok;
    ok = fe_weight_config_read(c, "bias", "zeros", &s->bias) && ok;
    return fe_config_done(c) && ok;
}

static bool check_dilation(fe_config *c, const conv_state *s)
{
    const json_at at = fe_key(c, "dilation_rate");
    if (!is_large(s->window.strides, s->window.spatial) || !is_large(s->window.dilation, s->window.spatial))
        return true;
    return fe_error(c->fe, &at, "expected 1 where strides are larger than 1, found more");
}

static conv_state *make_state(fe *f, fe_layer *layer)
{
    conv_state *s = arena_new(f->arena, conv_state);
    layer->state = s;
    s->window.spatial = fe_spatial_rank(layer);
    s->window.groups = 1;
    return s;
}

bool fe_read_conv(fe *f, fe_layer *layer, fe_config *c)
{
    conv_state *s = make_state(f, layer);
    const json_at at = fe_key(c, "groups");
    bool ok = fe_size_read(c, "filters", 0, &s->filters);
    ok = read_window(c, s, s->window.spatial == 1) && ok;
    ok = fe_size_read(c, "groups", 1, &s->window.groups) && ok;
    ok = fe_weight_config_read(c, "kernel", "glorot_uniform", &s->weight) && ok;
    ok = ok && fe_lora_read(c, &s->weight, true, &s->lora);
    if (ok && s->filters % s->window.groups != 0) {
        ok = fe_error(f, &at, "expected a divisor of the %lld filters, found %lld", (long long)s->filters,
                      (long long)s->window.groups);
    }
    ok = ok && check_dilation(c, s);
    return read_rest(c, layer, s) && ok;
}

bool fe_read_conv_transpose(fe *f, fe_layer *layer, fe_config *c)
{
    conv_state *s = make_state(f, layer);
    const json_at at = fe_key(c, "output_padding");
    bool ok = fe_size_read(c, "filters", 0, &s->filters);
    ok = read_window(c, s, false) && ok;
    s->window.has_output_padding = fe_config_has(c, "output_padding");
    ok = fe_sizes_read(c, "output_padding", s->window.spatial, 0, 0, s->window.output_padding) && ok;
    ok = fe_weight_config_read(c, "kernel", "glorot_uniform", &s->weight) && ok;
    for (int i = 0; ok && i < s->window.spatial; i++) {
        if (s->window.has_output_padding && s->window.output_padding[i] >= s->window.strides[i]) {
            ok = fe_error(f, &at, "expected less than the stride %lld, found %lld",
                          (long long)s->window.strides[i], (long long)s->window.output_padding[i]);
        }
    }
    fe_config_ignore(c, "groups");
    ok = ok && check_dilation(c, s);
    return read_rest(c, layer, s) && ok;
}

bool fe_read_depthwise_conv(fe *f, fe_layer *layer, fe_config *c)
{
    conv_state *s = make_state(f, layer);
    bool ok = fe_size_read(c, "depth_multiplier", 1, &s->multiplier);
    ok = read_window(c, s, false) && ok;
    ok = fe_weight_config_read(c, "depthwise", "glorot_uniform", &s->weight) && ok;
    fe_config_ignore(c, "groups kernel_initializer kernel_regularizer kernel_constraint");
    return read_rest(c, layer, s) && ok;
}

bool fe_read_separable_conv(fe *f, fe_layer *layer, fe_config *c)
{
    conv_state *s = make_state(f, layer);
    bool ok = fe_size_read(c, "filters", 0, &s->filters);
    ok = fe_size_read(c, "depth_multiplier", 1, &s->multiplier) && ok;
    ok = read_window(c, s, f->keras2 && s->window.spatial == 1) && ok;
    ok = fe_weight_config_read(c, "depthwise", "glorot_uniform", &s->weight) && ok;
    ok = fe_weight_config_read(c, "pointwise", "glorot_uniform", &s->pointwise) && ok;
    fe_config_ignore(c, "groups kernel_initializer kernel_regularizer kernel_constraint");
    return read_rest(c, layer, s) && ok;
}

/* ---- geometry ---------------------------------------------------------------------------- */

static int channel_axis(const fe_conv *s) { return s->channels_first ? 1 : s->spatial + 1; }
static int spatial_axis(const fe_conv *s, int i) { return i + (s->channels_first ? 2 : 1); }
static int64_t reach(const fe_conv *s, int i) { return (s->kernel[i] - 1) * s->dilation[i] + 1; }

static void set_layouts(const fe_conv *s, ir_window *w, const char *const rhs[3])
{
    static const char *const layouts[2][3] = {{"b0f", "b01f", "b012f"}, {"bf0", "bf01", "bf012"}};
    w->lhs_layout = w->out_layout = layouts[s->channels_first][s->spatial - 1];
    w->rhs_layout = rhs[s->spatial - 1];
}

static ir_window make_window(const fe_conv *s)
{
    static const char *const rhs[3] = {"0io", "01io", "012io"};
    ir_window w = {.spatial = s->spatial, .feature_groups = 1, .batch_groups = 1};
    for (int i = 0; i < s->spatial; i++) {
        w.strides[i] = s->strides[i];
        w.base_dilation[i] = 1;
        w.window_dilation[i] = s->dilation[i];
    }
    set_layouts(s, &w, rhs);
    return w;
}

/* Fills in the padding and checks the result's size. */
static bool place_window(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_type t, int64_t filters,
                         ir_window *w)
{
    for (int i = 0; i < s->spatial; i++) {
        int64_t size = 0, result;
        if (!fe_dim_get(l, layer, &t, spatial_axis(s, i), &size)) return false;
        w->low[i] = w->high[i] = 0;
        if (s->padding == FE_PADDING_same) {
            result = base_ceil_div(size, s->strides[i]);
            const int64_t total = base_max((result - 1) * s->strides[i] + reach(s, i) - size, 0);
            w->low[i] = total / 2;
            w->high[i] = total - w->low[i];
        } else {
            if (s->padding == FE_PADDING_causal) w->low[i] = reach(s, i) - 1;
            if (size + w->low[i] < reach(s, i)) {
                return fe_layer_error(l->fe, layer,
                                      "expected an input that the kernel fits in (%lld wide), found %s",
                                      (long long)reach(s, i), fe_shape_show(l->fe, &t));
            }
            result = (size + w->low[i] - reach(s, i)) / s->strides[i] + 1;
        }
        t.dim[spatial_axis(s, i)] = ir_fixed(result);
    }
    t.dim[channel_axis(s)] = ir_fixed(filters);
    return fe_size_check(l, layer, &t);
}

static bool get_input(fe_lower *l, fe_layer *layer, const fe_args *args, const conv_state *s,
                      int64_t *out_channels, ir_value *out)
{
    const int rank = s->window.spatial + 2;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, rank, rank, &x)) return false;
    const ir_type t = fe_type(l, x.value);
    *out = ir_build_convert(l->g, x.value, layer->compute_dtype);
    if (!fe_size_check(l, layer, &t)) return false;
    return fe_dim_get(l, layer, &t, channel_axis(&s->window), out_channels);
}

static bool finish(fe_lower *l, fe_layer *layer, const conv_state *s, ir_value y, fe_value *out)
{
    if (y == IR_NONE) return false;
    if (s->use_bias) {
        const int axis = channel_axis(&s->window);
        const int64_t filters = fe_type(l, y).dim[axis].count;
        const ir_value bias = fe_layer_weight(l, layer, "bias", &s->bias, (fe_shape){1, {filters}});
        if (bias == IR_NONE) return false;
        y = fe_bias_add(l, y, bias, axis);
    }
    return fe_activation_finish(l, layer, s->activation, y, out);
}

static fe_shape shape_kernel(const fe_conv *s, int64_t a, int64_t b)
{
    fe_shape shape = {.rank = s->spatial + 2};
    for (int i = 0; i < s->spatial; i++) shape.dim[i] = s->kernel[i];
    shape.dim[s->spatial] = a;
    shape.dim[s->spatial + 1] = b;
    return shape;
}

/* ---- products ---------------------------------------------------------------------------- */

/* kernel: [..., channels, filters] over one element, applied to each position. */
static ir_value apply_pointwise(fe_lower *l, const fe_conv *s, ir_value x, ir_value kernel)
{
    const ir_type k = fe_type(l, kernel);
    if (!s->channels_first) {
        return ir_build_dot(l->g, x, ir_build_reshape(l->g, kernel, 2, &k.dim[k.rank - 2]));
    }
    ir_window w = make_window(s);
    for (int i = 0; i < s->spatial; i++) w.strides[i] = w.window_dilation[i] = 1;
    return ir_build_convolution(l->g, x, kernel, &w);
}

bool fe_conv_check(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_value x, int64_t filters)
{
    ir_window w = make_window(s);
    return place_window(l, layer, s, fe_type(l, x), filters, &w);
}

ir_value fe_conv_pointwise_build(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_value x, ir_value kernel)
{
    ir_type t = fe_type(l, x);
    t.dim[channel_axis(s)] = fe_type(l, kernel).dim[s->spatial + 1];
    return fe_size_check(l, layer, &t) ? apply_pointwise(l, s, x, kernel) : IR_NONE;
}

ir_value fe_conv_build(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_value x, ir_value kernel)
{
    const int64_t filters = fe_type(l, kernel).dim[s->spatial + 1].count;
    ir_window w = make_window(s);
    w.feature_groups = s->groups;
    if (!place_window(l, layer, s, fe_type(l, x), filters, &w)) return IR_NONE;
    const bool pointwise =
        s->groups == 1 && !is_large(s->kernel, s->spatial) && !is_large(s->strides, s->spatial);
    return pointwise ? apply_pointwise(l, s, x, kernel) : ir_build_convolution(l->g, x, kernel, &w);
}

ir_value fe_conv_depthwise_build(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_value x, ir_value kernel)
{
    ir_type k = fe_type(l, kernel);
    const int64_t channels = k.dim[s->spatial].count, filters = channels * k.dim[s->spatial + 1].count;
    ir_window w = make_window(s);
    if (!place_window(l, layer, s, fe_type(l, x), filters, &w)) return IR_NONE;
    k.dim[s->spatial] = ir_fixed(1);
    k.dim[s->spatial + 1] = ir_fixed(filters);
    w.feature_groups = channels;
    return ir_build_convolution(l->g, x, ir_build_reshape(l->g, kernel, k.rank, k.dim), &w);
}

/* The gradient of a convolution with respect to its input, from `size` to the size TensorFlow makes of it. */
static bool place_transpose(fe_lower *l, fe_layer *layer, const fe_conv *s, int i, int64_t size,
                            int64_t *out_size, ir_window *w)
{
    const int64_t k = reach(s, i), stride = s->strides[i], extra = s->output_padding[i];
    int64_t result, skipped = 0;
    if (s->padding == FE_PADDING_same) {
        result = s->has_output_padding ? (size - 1) * stride + k % 2 + extra : size * stride;
        if (base_ceil_div(result, stride) != size) {
            return fe_layer_error(
                l->fe, layer, "expected an output_padding that fits the kernel and the strides, found %lld",
                (long long)extra);
        }
        skipped = base_max((size - 1) * stride + k - result, 0) / 2;
    } else {
        result = (size - 1) * stride + k + (s->has_output_padding ? extra : base_max(k, stride) - k);
    }
    w->strides[i] = 1;
    w->base_dilation[i] = stride;
    w->low[i] = k - 1 - skipped;
    w->high[i] = result + k - 2 - (size - 1) * stride - w->low[i];
    *out_size = result;
    return true;
}

/* The image that the kernel is laid on, with the window's edges; false after a diagnostic. */
static bool place_transposes(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_type t, int64_t filters,
                             ir_window *w)
{
    for (int i = 0; i < s->spatial; i++) {
        const int axis = spatial_axis(s, i);
        int64_t size = 0, result = 0;
        if (!fe_dim_get(l, layer, &t, axis, &size)) return false;
        if (size > (int64_t)1 << 32)
            return fe_layer_error(l->fe, layer, "expected a smaller image, found %lld", (long long)size);
        if (!place_transpose(l, layer, s, i, size, &result, w)) return false;
        t.dim[axis] = ir_fixed(result);
    }
    t.dim[channel_axis(s)] = ir_fixed(filters);
    return fe_size_check(l, layer, &t);
}

ir_value fe_conv_transpose_build(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_value x, ir_value kernel)
{
    static const char *const rhs[3] = {"0oi", "01oi", "012oi"};
    ir_window w = make_window(s);
    set_layouts(s, &w, rhs);
    w.reversal = true;
    if (!place_transposes(l, layer, s, fe_type(l, x), fe_type(l, kernel).dim[s->spatial].count, &w))
        return IR_NONE;
    return ir_build_convolution(l->g, x, kernel, &w);
}

/* ---- calls ------------------------------------------------------------------------------- */

bool fe_call_conv(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const conv_state *s = layer->state;
    const fe_conv *c = &s->window;
    ir_value x;
    int64_t channels = 0;
    if (!get_input(l, layer, args, s, &channels, &x)) return false;
    if (channels % c->groups != 0) {
        return fe_layer_error(l->fe, layer, "expected channels that the %lld groups divide, found %lld",
                              (long long)c->groups, (long long)channels);
    }
    if (!fe_conv_check(l, layer, c, x, s->filters)) return false;
    const fe_shape shape = shape_kernel(c, channels / c->groups, s->filters);
    ir_value kernel = fe_layer_weight(l, layer, "kernel", &s->weight, shape);
    if (kernel == IR_NONE) return false;
    if (s->use_bias && fe_layer_weight(l, layer, "bias", &s->bias, (fe_shape){1, {s->filters}}) == IR_NONE) return false;
    kernel = fe_lora_add(l, layer, &s->lora, "kernel", &s->weight, kernel);
    if (kernel == IR_NONE) return false;
    return finish(l, layer, s, fe_conv_build(l, layer, c, x, kernel), out);
}

/* One filter or more for each channel. */
static ir_value apply_depthwise(fe_lower *l, fe_layer *layer, const conv_state *s, ir_value x,
                                const char *name)
{
    const fe_conv *c = &s->window;
    const int64_t channels = fe_type(l, x).dim[channel_axis(c)].count;
    if (channels > INT32_MAX || !fe_conv_check(l, layer, c, x, channels * s->multiplier)) return IR_NONE;
    const fe_shape shape = shape_kernel(c, channels, s->multiplier);
    const ir_value kernel = fe_layer_weight(l, layer, name, &s->weight, shape);
    return kernel == IR_NONE ? IR_NONE : fe_conv_depthwise_build(l, layer, c, x, kernel);
}

bool fe_call_depthwise_conv(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const conv_state *s = layer->state;
    ir_value x;
    int64_t channels = 0;
    if (!get_input(l, layer, args, s, &channels, &x)) return false;
    return finish(l, layer, s, apply_depthwise(l, layer, s, x, "kernel"), out);
}

bool fe_call_separable_conv(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const conv_state *s = layer->state;
    const fe_conv *c = &s->window;
    ir_value x;
    int64_t channels = 0;
    if (!get_input(l, layer, args, s, &channels, &x)) return false;
    x = apply_depthwise(l, layer, s, x, "depthwise_kernel");
    if (x == IR_NONE) return false;
    ir_type t = fe_type(l, x);
    fe_shape shape = {.rank = c->spatial + 2};
    for (int i = 0; i < c->spatial; i++) shape.dim[i] = 1;
    shape.dim[c->spatial] = channels * s->multiplier;
    shape.dim[c->spatial + 1] = s->filters;
    t.dim[channel_axis(c)] = ir_fixed(s->filters);
    if (!fe_size_check(l, layer, &t)) return false;
    const ir_value kernel = fe_layer_weight(l, layer, "pointwise_kernel", &s->pointwise, shape);
    if (kernel == IR_NONE) return false;
    return finish(l, layer, s, apply_pointwise(l, c, x, kernel), out);
}

bool fe_call_conv_transpose(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const conv_state *s = layer->state;
    const fe_conv *c = &s->window;
    ir_value x;
    int64_t channels = 0;
    ir_window w = make_window(c);
    if (!get_input(l, layer, args, s, &channels, &x)) return false;
    if (!place_transposes(l, layer, c, fe_type(l, x), s->filters, &w)) return false;
    const ir_value kernel =
        fe_layer_weight(l, layer, "kernel", &s->weight, shape_kernel(c, s->filters, channels));
    if (kernel == IR_NONE) return false;
    return finish(l, layer, s, fe_conv_transpose_build(l, layer, c, x, kernel), out);
}
