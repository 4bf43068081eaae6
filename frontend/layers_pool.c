/* layers_pool.c: max and average pooling, local and global. */
#include "frontend/layers.h"

#include <string.h>

static fe_pool *make_state(fe *f, fe_layer *layer)
{
    fe_pool *s = arena_new(f->arena, fe_pool);
    layer->state = s;
    s->spatial = fe_spatial_rank(layer);
    s->maximum = strstr(layer->class->name, "Max") != NULL;
    return s;
}

bool fe_read_pool(fe *f, fe_layer *layer, fe_config *c)
{
    static const char *const paddings[] = {"valid", "same", NULL};
    fe_pool *s = make_state(f, layer);
    int padding = 0;
    if (!fe_sizes_read(c, "pool_size", s->spatial, 1, 2, s->size)) return false;
    memcpy(s->strides, s->size, sizeof s->strides);
    if (fe_config_has(c, "strides") && !fe_sizes_read(c, "strides", s->spatial, 1, 1, s->strides))
        return false;
    if (!fe_config_choice(c, "padding", paddings, &padding) || !fe_channels_first_read(c, &s->channels_first))
        return false;
    s->same = padding == 1;
    return fe_config_done(c);
}

bool fe_read_global_pool(fe *f, fe_layer *layer, fe_config *c)
{
    fe_pool *s = make_state(f, layer);
    return fe_channels_first_read(c, &s->channels_first) &&
           fe_config_bool_or(c, "keepdims", false, &s->keep_dims) && fe_config_done(c);
}

/* One entry per dim of the operand. */
typedef struct window {
    int64_t size[IR_MAX_RANK], strides[IR_MAX_RANK], low[IR_MAX_RANK], high[IR_MAX_RANK];
} window;

static bool place_window(fe_lower *l, fe_layer *layer, const fe_pool *s, const ir_type *t, window *w)
{
    for (int d = 0; d < t->rank; d++) {
        w->size[d] = w->strides[d] = 1;
        w->low[d] = w->high[d] = 0;
    }
    for (int i = 0; i < s->spatial; i++) {
        const int d = i + (s->channels_first ? 2 : 1);
        int64_t size = 0;
        if (!fe_dim_get(l, layer, t, d, &size)) return false;
        w->size[d] = s->size[i];
        w->strides[d] = s->strides[i];
        if (s->same && size > INT32_MAX)
            return fe_layer_error(l->fe, layer, "expected a smaller image, found %lld", (long long)size);
        if (s->same) {
            const int64_t result = base_ceil_div(size, s->strides[i]);
            const int64_t total = base_max((result - 1) * s->strides[i] + s->size[i] - size, 0);
            w->low[d] = total / 2;
            w->high[d] = total - w->low[d];
        } else if (size < s->size[i]) {
            return fe_layer_error(l->fe, layer,
                                  "expected an input that the pool fits in (%lld wide), found %s",
                                  (long long)s->size[i], fe_shape_show(l->fe, t));
        }
    }
    return true;
}

/* How many elements of the input each window along dim d covers, as a vector. */
static ir_value count_covered(fe_lower *l, const window *w, int d, int64_t size, int64_t results)
{
    const ir_type t = ir_type_make(DTYPE_f32, 1, (ir_dim[]){ir_fixed(results)});
    float *count = arena_array(l->fe->arena, float, (size_t)results);
    for (int64_t i = 0; i < results; i++) {
        const int64_t start = i * w->strides[d] - w->low[d];
        count[i] = (float)(base_min(start + w->size[d], size) - base_max(start, 0));
    }
    return ir_build_constant(l->g, t, count);
}

/* Sums divided by the number of elements summed: padding does not count. */
static ir_value divide_by_counts(fe_lower *l, ir_value sum, const ir_type *in, const window *w)
{
    const ir_type t = fe_type(l, sum);
    double whole = 1;
    ir_value counts = IR_NONE;
    for (int64_t d = 0; d < t.rank; d++) {
        if (w->low[d] == 0 && w->high[d] == 0) {
            whole *= (double)w->size[d];
            continue;
        }
        ir_value along = count_covered(l, w, (int)d, in->dim[d].count, t.dim[d].count);
        along = ir_build_broadcast_in_dim(l->g, ir_build_convert(l->g, along, t.dtype), &t, &d);
        counts = counts == IR_NONE ? along : ir_build_binary(l->g, OP_multiply, counts, along);
    }
    if (counts == IR_NONE) return ir_build_binary_scalar(l->g, OP_divide, sum, whole);
    if (whole != 1) counts = ir_build_binary_scalar(l->g, OP_multiply, counts, whole);
    return ir_build_binary(l->g, OP_divide, sum, counts);
}

ir_value fe_pool_build(fe_lower *l, fe_layer *layer, const fe_pool *s, ir_value x)
{
    window w;
    const ir_type t = fe_type(l, x);
    if (!place_window(l, layer, s, &t, &w)) return IR_NONE;
    const char *kind = s->maximum ? "maximum" : "add";
    ir_value y = ir_build_reduce_window(l->g, kind, x, w.size, w.strides, w.low, w.high, NULL, NULL);
    return s->maximum ? y : divide_by_counts(l, y, &t, &w);
}

bool fe_call_pool(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const fe_pool *s = layer->state;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, s->spatial + 2, s->spatial + 2, &x)) return false;
    return fe_finish(l, fe_pool_build(l, layer, s, x.value), IR_NONE, out);
}

/* The mean over the steps that the mask keeps. */
static ir_value masked_mean(fe_lower *l, const fe_pool *s, fe_tensor x)
{
    ir_graph *g = l->g;
    const ir_type t = fe_type(l, x.value);
    const int64_t steps = s->channels_first ? 2 : 1, at[2] = {0, steps}, second = 1;
    const ir_type m = ir_type_with_dtype(t, DTYPE_i1);
    const ir_value keep = ir_build_broadcast_in_dim(g, x.mask, &m, at);
    const ir_value zeroed = ir_build_select(g, keep, x.value, ir_build_scalar(g, t.dtype, 0));
    const ir_value sum = ir_build_reduce(g, "add", zeroed, 1, &steps, s->keep_dims);
    const ir_value count = ir_build_reduce(g, "add", ir_build_convert(g, x.mask, t.dtype), 1, &second, false);
    const ir_type shape = fe_type(l, sum);
    return ir_build_binary(g, OP_divide, sum, ir_build_broadcast_in_dim(g, count, &shape, (int64_t[]){0}));
}

bool fe_call_global_pool(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const fe_pool *s = layer->state;
    fe_tensor x, given;
    int64_t dims[3];
    if (!fe_input_get(l, layer, args, s->spatial + 2, s->spatial + 2, &x)) return false;
    if (!fe_tensor_find(l, layer, args, 1, "mask", &given)) return false;
    if (given.value != IR_NONE) x.mask = given.value;
    for (int i = 0; i < s->spatial; i++) dims[i] = i + (s->channels_first ? 2 : 1);
    if (s->maximum) {
        return fe_finish(l, ir_build_reduce(l->g, "maximum", x.value, s->spatial, dims, s->keep_dims),
                         IR_NONE, out);
    }
    if (s->spatial > 1 || x.mask == IR_NONE) {
        return fe_finish(l, ir_build_mean(l->g, x.value, s->spatial, dims, s->keep_dims), IR_NONE, out);
    }
    const ir_type t = fe_type(l, x.value), m = fe_type(l, x.mask);
    if (m.rank != 2 || m.dtype != DTYPE_i1 || !ir_dim_equal(m.dim[0], t.dim[0]) ||
        !ir_dim_equal(m.dim[1], t.dim[dims[0]])) {
        return fe_layer_error(l->fe, layer, "expected a mask of one bool a step, found %s for %s",
                              fe_shape_show(l->fe, &m), fe_shape_show(l->fe, &t));
    }
    return fe_finish(l, masked_mean(l, s, x), IR_NONE, out);
}

/* ---- adaptive ---------------------------------------------------------------------------- */

/* Window i of n over `size` elements. */
static void place_adaptive(int64_t i, int64_t n, int64_t size, int64_t *start, int64_t *limit)
{
    *start = i * size / n;
    *limit = base_ceil_div((i + 1) * size, n);
}

ir_value fe_pool_adaptive_build(fe_lower *l, fe_layer *layer, ir_value x, int axis, int64_t results,
                                bool maximum)
{
    const ir_type t = fe_type(l, x);
    int64_t size = 0, start, limit;
    if (!fe_dim_get(l, layer, &t, axis, &size)) return IR_NONE;
    if (results < 1 || results > 1 << 14 || size > 1 << 14) {
        fe_layer_error(l->fe, layer, "expected 1 .. %d results of as many elements, found %lld of %lld",
                       1 << 14, (long long)results, (long long)size);
        return IR_NONE;
    }
    if (!maximum) {
        float *share = arena_array(l->fe->arena, float, (size_t)(results * size));
        for (int64_t i = 0; i < results; i++) {
            place_adaptive(i, results, size, &start, &limit);
            for (int64_t k = start; k < limit; k++) share[i * size + k] = 1.0f / (float)(limit - start);
        }
        return fe_matrix_apply(l, x, axis, results, share);
    }
    ir_value *part = arena_array(l->fe->arena, ir_value, (size_t)results);
    const int64_t along = axis;
    for (int64_t i = 0; i < results; i++) {
        place_adaptive(i, results, size, &start, &limit);
        part[i] = ir_build_reduce(l->g, "maximum", ir_build_slice_dim(l->g, x, axis, start, limit), 1, &along,
                                  true);
    }
    return ir_build_concatenate(l->g, (int)results, part, axis);
}

bool fe_read_adaptive_pool(fe *f, fe_layer *layer, fe_config *c)
{
    fe_pool *s = make_state(f, layer);
    const json_at at = fe_key(c, "output_size");
    if (!fe_config_has(c, "output_size"))
        return fe_error(f, &at, "expected the size of the result, found none");
    return fe_sizes_read(c, "output_size", s->spatial, 1, 1, s->size) &&
           fe_channels_first_read(c, &s->channels_first) && fe_config_done(c);
}

bool fe_call_adaptive_pool(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const fe_pool *s = layer->state;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, s->spatial + 2, s->spatial + 2, &x)) return false;
    for (int i = 0; i < s->spatial && x.value != IR_NONE; i++) {
        const int axis = i + (s->channels_first ? 2 : 1);
        x.value = fe_pool_adaptive_build(l, layer, x.value, axis, s->size[i], s->maximum);
    }
    return fe_finish(l, x.value, IR_NONE, out);
}
