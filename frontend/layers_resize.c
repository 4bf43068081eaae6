/* layers_resize.c: images of another size, as products with constant matrices along rows and columns whose
 * weights are TensorFlow's: each result pixel lies at the middle of its share of the source. */
#include "frontend/layers.h"

#include <float.h>
#include <math.h>
#include <string.h>

const char *const fe_interpolation_names[] = {"nearest", "bilinear", "bicubic", "lanczos3", "lanczos5",
                                              "gaussian", "mitchellcubic", "area", NULL};

enum { MOST_WEIGHTS = 1 << 24 };

/* ---- weights ----------------------------------------------------------------------------- */

typedef struct resize_axis {
    int64_t small, large; /* elements before and after */
    float *weight;        /* [large, small] */
} resize_axis;

static void weigh_linear(const resize_axis *a)
{
    const float scale = (float)a->small / (float)a->large;
    for (int64_t y = 0; y < a->large; y++) {
        const float at = ((float)y + 0.5f) * scale - 0.5f;
        const float low = floorf(at), part = at - low;
        const int64_t below = base_max((int64_t)low, 0), above = base_min((int64_t)ceilf(at), a->small - 1);
        a->weight[y * a->small + below] += 1 - part;
        a->weight[y * a->small + above] += part;
    }
}

/* Keys's cubic at distances 0 .. 1 and 1 .. 2. */
static float near_cubic(float x) { return ((1.5f * x - 2.5f) * x) * x + 1; }
static float far_cubic(float x) { return ((-0.5f * x + 2.5f) * x - 4) * x + 2; }

static float near_mitchell(float x) { return ((7.0f / 6 * x - 2) * x) * x + 8.0f / 9; }
static float far_mitchell(float x) { return ((-7.0f / 18 * x + 2) * x - 10.0f / 3) * x + 16.0f / 9; }

/* Distances are rounded to 1/1024, and weights beyond the edge go to the others. */
static void weigh_cubic(const resize_axis *a)
{
    const float scale = (float)a->small / (float)a->large;
    for (int64_t y = 0; y < a->large; y++) {
        const float at = ((float)y + 0.5f) * scale - 0.5f, low = floorf(at);
        const float part = (float)lrintf((at - low) * 1024) / 1024;
        const float weight[4] = {far_cubic(1 + part), near_cubic(part), near_cubic(1 - part),
                                 far_cubic(2 - part)};
        float sum = 0;
        for (int k = 0; k < 4; k++) {
            const int64_t source = (int64_t)low - 1 + k;
            if (source >= 0 && source < a->small) sum += weight[k];
        }
        for (int k = 0; k < 4; k++) {
            const int64_t source = (int64_t)low - 1 + k;
            if (source < 0 || source >= a->small) continue;
            a->weight[y * a->small + source] = fabsf(sum) >= 1000 * FLT_MIN ? weight[k] / sum : weight[k];
        }
    }
}

static float kernel_at(fe_interpolation interpolation, float x)
{
    const float pi = 3.14159265358979f;
    x = fabsf(x);
    if (interpolation == FE_INTERPOLATION_bilinear) return x < 1 ? 1 - x : 0;
    if (interpolation == FE_INTERPOLATION_bicubic) return x >= 2 ? 0 : x >= 1 ? far_cubic(x) : near_cubic(x);
    if (interpolation == FE_INTERPOLATION_gaussian) return x < 1.5f ? expf(-2 * x * x) : 0;
    if (interpolation == FE_INTERPOLATION_mitchellcubic)
        return x >= 2 ? 0 : x >= 1 ? far_mitchell(x) : near_mitchell(x);
    const float radius = interpolation == FE_INTERPOLATION_lanczos3 ? 3 : 5;
    if (x > radius) return 0;
    return x <= 1e-3f ? 1 : radius * sinf(pi * x) * sinf(pi * x / radius) / (pi * pi * x * x);
}

/* A kernel around each result pixel, as wide as its share of the source when `antialias`. */
static void weigh_kernel(const resize_axis *a, fe_interpolation interpolation, bool antialias)
{
    static const float radii[] = {0, 1, 2, 3, 5, 1.5f, 2};
    const float inverse = 1 / ((float)a->large / (float)a->small);
    const float width = antialias ? fmaxf(inverse, 1) : 1, radius = radii[interpolation] * width;
    for (int64_t y = 0; y < a->large; y++) {
        const float at = ((float)y + 0.5f) * inverse;
        if (at < 0 || at > (float)a->small) continue;
        int64_t start = (int64_t)ceilf(at - radius - 0.5f), end = (int64_t)floorf(at + radius - 0.5f);
        start = base_min(base_max(start, 0), a->small - 1);
        end = base_min(base_max(end, 0), a->small - 1);
        float sum = 0;
        for (int64_t k = start; k <= end; k++) {
            a->weight[y * a->small + k] = kernel_at(interpolation, ((float)k + 0.5f - at) / width);
            sum += a->weight[y * a->small + k];
        }
        for (int64_t k = start; k <= end && fabsf(sum) >= 1000 * FLT_MIN; k++)
            a->weight[y * a->small + k] /= sum;
    }
}

static void weigh_nearest(const resize_axis *a)
{
    const float scale = (float)a->small / (float)a->large;
    for (int64_t y = 0; y < a->large; y++) {
        const int64_t source = (int64_t)floorf(((float)y + 0.5f) * scale);
        a->weight[y * a->small + base_max(base_min(source, a->small - 1), 0)] = 1;
    }
}

/* The mean over the share of the source, in which the elements at its ends count in part. */
static void weigh_area(const resize_axis *a)
{
    const float scale = (float)a->small / (float)a->large;
    for (int64_t y = 0; y < a->large; y++) {
        const float low = (float)y * scale, high = (float)(y + 1) * scale;
        for (int64_t k = (int64_t)floorf(low); k < (int64_t)ceilf(high); k++) {
            const float start = fmaxf(low, (float)k), end = fminf(high, (float)(k + 1));
            a->weight[y * a->small + base_max(base_min(k, a->small - 1), 0)] += (end - start) / scale;
        }
    }
}

ir_value fe_matrix_apply(fe_lower *l, ir_value x, int axis, int64_t large, const float *matrix)
{
    const ir_type t = fe_type(l, x);
    const ir_dim dim[] = {ir_fixed(large), t.dim[axis]};
    const ir_value m = ir_build_constant(l->g, ir_type_make(DTYPE_f32, 2, dim), matrix);
    const ir_dot dot = {.contracting_count = 1, .lhs_contracting = {axis}, .rhs_contracting = {1}};
    const ir_value y = ir_build_dot_general(l->g, x, ir_build_convert(l->g, m, t.dtype), &dot);
    int64_t order[IR_MAX_RANK];
    for (int d = 0; d < t.rank; d++) order[d] = d == axis ? t.rank - 1 : d < axis ? d : d - 1;
    return ir_build_transpose(l->g, y, order);
}

static ir_value resize_axis_to(fe_lower *l, const fe_resize *s, ir_value x, int axis, int64_t large)
{
    resize_axis a = {.small = fe_type(l, x).dim[axis].count, .large = large};
    if (a.small == large) return x;
    a.weight = arena_array(l->fe->arena, float, (size_t)(a.small * large));
    if (s->interpolation == FE_INTERPOLATION_nearest)
        weigh_nearest(&a);
    else if (s->interpolation == FE_INTERPOLATION_area)
        weigh_area(&a);
    else if (s->antialias || s->interpolation > FE_INTERPOLATION_bicubic)
        weigh_kernel(&a, s->interpolation, s->antialias);
    else if (s->interpolation == FE_INTERPOLATION_bilinear)
        weigh_linear(&a);
    else
        weigh_cubic(&a);
    return fe_matrix_apply(l, x, axis, large, a.weight);
}

/* ---- aspect ratios ----------------------------------------------------------------------- */

/* What is taken of `size` (or made of it) for the ratio of target to other_target. */
static int64_t match_ratio(int64_t other, int64_t target, int64_t other_target)
{
    return (int64_t)((float)(other * target) / (float)other_target);
}

static ir_value crop_image(fe_lower *l, const fe_resize *s, ir_value x, int first)
{
    const ir_type t = fe_type(l, x);
    const int64_t rows = t.dim[first].count, columns = t.dim[first + 1].count;
    const int64_t keep[2] = {base_max(base_min(rows, match_ratio(columns, s->size[0], s->size[1])), 1),
                             base_max(base_min(columns, match_ratio(rows, s->size[1], s->size[0])), 1)};
    for (int i = 0; i < 2; i++) {
        const int64_t start = (t.dim[first + i].count - keep[i]) / 2;
        x = ir_build_slice_dim(l->g, x, first + i, start, start + keep[i]);
    }
    return x;
}

static ir_value pad_image(fe_lower *l, const fe_resize *s, ir_value x, int first)
{
    const ir_type t = fe_type(l, x);
    const int64_t rows = t.dim[first].count, columns = t.dim[first + 1].count;
    const int64_t wide[2] = {base_max(rows, match_ratio(columns, s->size[0], s->size[1])),
                             base_max(columns, match_ratio(rows, s->size[1], s->size[0]))};
    int64_t edge[IR_MAX_RANK] = {0};
    ir_type padded = t;
    for (int i = 0; i < 2; i++) {
        edge[first + i] = (wide[i] - t.dim[first + i].count) / 2;
        padded.dim[first + i].count += 2 * edge[first + i];
    }
    if (!fe_size_check(l, l->layer, &padded)) return IR_NONE;
    return ir_build_pad(l->g, x, ir_build_scalar(l->g, t.dtype, s->fill), edge, edge, NULL);
}

/* ---- images ------------------------------------------------------------------------------ */

static bool check_image(fe_lower *l, fe_layer *layer, const fe_resize *s, ir_value x, int *out_first)
{
    ir_type t = fe_type(l, x);
    if (t.rank != 3 && t.rank != 4) {
        return fe_layer_error(l->fe, layer, "expected an image or a batch of images, found %s",
                              fe_shape_show(l->fe, &t));
    }
    const int first = t.rank - 3 + s->channels_first;
    for (int i = 0; i < 2; i++) {
        int64_t size = 0;
        if (!fe_dim_get(l, layer, &t, first + i, &size)) return false;
        if (s->size[i] < 1 || s->size[i] > INT32_MAX || size > INT32_MAX ||
            size * s->size[i] > MOST_WEIGHTS) {
            return fe_layer_error(l->fe, layer, "expected a smaller image to resize to %lld, found %s",
                                  (long long)s->size[i], fe_shape_show(l->fe, &t));
        }
        t.dim[first + i] = ir_fixed(base_max(s->size[i], size));
    }
    *out_first = first;
    return fe_size_check(l, layer, &t);
}

ir_value fe_resize_build(fe_lower *l, fe_layer *layer, const fe_resize *s, ir_value x)
{
    int first = 0;
    if (!check_image(l, layer, s, x, &first)) return IR_NONE;
    if (s->crop) x = crop_image(l, s, x, first);
    if (s->pad) x = pad_image(l, s, x, first);
    if (x == IR_NONE || (s->pad && !check_image(l, layer, s, x, &first))) return IR_NONE;
    const ir_type t = fe_type(l, x);
    if (t.dim[first].count == s->size[0] && t.dim[first + 1].count == s->size[1]) return x;
    ir_value y = ir_build_convert(l->g, x, t.dtype == DTYPE_f64 ? t.dtype : DTYPE_f32);
    for (int i = 0; i < 2; i++) y = resize_axis_to(l, s, y, first + i, s->size[i]);
    return s->interpolation == FE_INTERPOLATION_nearest ? ir_build_convert(l->g, y, t.dtype) : y;
}
