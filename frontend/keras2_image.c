/* keras2_image.c: functions of TensorFlow on images: cropped, padded or resized to fit, and convolutions the other way
 * round, whose result has a given size. */
#include "frontend/keras2.h"
#include "frontend/layers.h"
#include "frontend/ops.h"

#include <math.h>
#include <string.h>

/* format has one %s. */
static bool fail(fe_lower *l, const char *format, const char *name)
{
    return fe_layer_error(l->fe, l->layer, format, name);
}

static const fe_value *find(const fe_args *args, const char *name) { return fe_args_find(args, -1, name); }

/* ---- fitting -------------------------------------------------------------------------------------------- */

typedef struct image {
    ir_value x;
    ir_type type;
    int first;          /* dim of the rows */
    int64_t size[2];    /* rows, columns */
    int64_t target[2];  /* of the result, where there are such arguments */
} image;

static bool get_image(fe_lower *l, const fe_args *args, image *m)
{
    static const char *const names[] = {"target_height", "target_width"};
    const fe_value *x = find(args, "image");
    if (!x || x->kind != FE_TENSOR) return fail(l, "expected a tensor as \"%s\"", "image");
    m->x = x->tensor.value;
    m->type = fe_type(l, m->x);
    m->first = m->type.rank - 3;
    if (m->first != 0 && m->first != 1)
        return fail(l, "expected an image or a batch of images, found %s", fe_shape_show(l->fe, &m->type));
    for (int i = 0; i < 2; i++) {
        const fe_value *v = find(args, names[i]);
        if (!fe_dim_get(l, l->layer, &m->type, m->first + i, &m->size[i])) return false;
        if (!v) continue;
        m->target[i] = v->kind == FE_NUMBER ? v->integer : 0;
        if (m->target[i] < 1 || m->target[i] > 1 << 24)
            return fail(l, "expected a known size as \"%s\"", names[i]);
    }
    return true;
}

/* [low, high) of what is padded or, with negative numbers, cut at both ends. */
static ir_value move_edges(fe_lower *l, const image *m, ir_value x, const int64_t low[2])
{
    ir_type t = fe_type(l, x);
    int64_t before[IR_MAX_RANK] = {0}, after[IR_MAX_RANK] = {0};
    for (int i = 0; i < 2; i++) {
        const int d = m->first + i;
        before[d] = low[i];
        after[d] = m->target[i] - t.dim[d].count - low[i];
        t.dim[d] = ir_fixed(m->target[i]);
    }
    if (!fe_size_check(l, l->layer, &t)) return IR_NONE;
    return ir_build_pad(l->g, x, ir_build_scalar(l->g, t.dtype, 0), before, after, NULL);
}

static bool finish(ir_value value, fe_value *out)
{
    *out = fe_value_tensor(value, IR_NONE);
    return value != IR_NONE;
}

bool tf_build_central_crop(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    image m = {0};
    int64_t low[2];
    const fe_value *fraction = find(args, "central_fraction");
    (void)s;
    if (!get_image(l, args, &m)) return false;
    if (!fraction || fraction->kind != FE_NUMBER || !(fraction->number > 0 && fraction->number <= 1))
        return fail(l, "expected a number above 0 and up to 1 as \"%s\"", "central_fraction");
    for (int i = 0; i < 2; i++) {
        const double size = (double)m.size[i];
        low[i] = -(int64_t)((size - size * fraction->number) / 2);
        m.target[i] = m.size[i] + 2 * low[i];
    }
    return finish(move_edges(l, &m, m.x, low), out);
}

bool tf_build_crop_or_pad(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    image m = {0};
    int64_t low[2];
    (void)s;
    if (!get_image(l, args, &m)) return false;
    for (int i = 0; i < 2; i++) low[i] = (m.target[i] - m.size[i]) / 2;
    return finish(move_edges(l, &m, m.x, low), out);
}

bool tf_build_resize_with_pad(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    image m = {0};
    int64_t low[2];
    float ratio = 0;
    const fe_value *method = find(args, "method"), *antialias = find(args, "antialias");
    fe_resize resize = {.interpolation = FE_INTERPOLATION_bilinear, .antialias = antialias && antialias->number != 0};
    (void)s;
    if (!get_image(l, args, &m)) return false;
    int which = method && method->kind == FE_TEXT ? 0 : FE_INTERPOLATION_bilinear;
    while (method && method->kind == FE_TEXT && fe_interpolation_names[which] &&
           strcmp(fe_interpolation_names[which], method->text) != 0)
        which++;
    if (!fe_interpolation_names[which] || (method && method->kind != FE_TEXT))
        return fail(l, "expected the name of an interpolation as \"%s\"", "method");
    resize.interpolation = (fe_interpolation)which;
    for (int i = 0; i < 2; i++) ratio = fmaxf(ratio, (float)m.size[i] / (float)m.target[i]);
    for (int i = 0; i < 2; i++) {
        const float size = (float)m.size[i] / ratio;
        resize.size[i] = (int64_t)floorf(size);
        low[i] = base_max((int64_t)floorf(((float)m.target[i] - size) / 2), 0);
        if (resize.size[i] < 1)
            return fail(l, "expected a size that leaves something of %s", fe_shape_show(l->fe, &m.type));
    }
    const ir_value resized = fe_resize_build(l, l->layer, &resize, m.x);
    return finish(resized == IR_NONE ? IR_NONE : move_edges(l, &m, resized, low), out);
}

/* Integers stand for 0 .. 1 of floating types. */
bool tf_build_image_dtype(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    const fe_value *x = find(args, "image"), *name = find(args, "dtype");
    ir_dtype to;
    (void)s;
    if (!x || x->kind != FE_TENSOR || !name || name->kind != FE_TEXT || !ir_dtype_find_keras(name->text, &to))
        return fail(l, "expected a tensor and the name of a type%s", "");
    const ir_dtype from = fe_type(l, x->tensor.value).dtype;
    if (!ir_dtype_is_float(to) && to != from) return fail(l, "only floating types are supported as \"%s\"", "dtype");
    ir_value y = ir_build_convert(l->g, x->tensor.value, to);
    const bool has_sign = from == DTYPE_i8 || from == DTYPE_i16 || from == DTYPE_i32 || from == DTYPE_i64;
    const double most = ldexp(1, 8 * (int)ir_dtype_size(from) - has_sign) - 1;
    if (!ir_dtype_is_float(from)) y = ir_build_binary_scalar(l->g, OP_multiply, y, 1 / most);
    *out = fe_value_tensor(y, IR_NONE);
    return true;
}

/* ---- convolutions the other way round ------------------------------------------------------------------- */

static bool get_numbers(fe_lower *l, const fe_args *args, const char *name, int count, int64_t *out)
{
    const fe_value *v = find(args, name);
    for (int i = 0; i < count; i++) {
        const bool listed = v && v->kind == FE_LIST && (v->count == count || v->count == 1);
        const fe_value *one = listed ? &v->item[v->count == 1 ? 0 : i] : v;
        if (one && (one->kind != FE_NUMBER || one->integer < 1 || one->integer > INT32_MAX))
            return fail(l, "expected positive integers as \"%s\"", name);
        out[i] = one ? one->integer : 1;
    }
    return true;
}

/* The padding of the forward convolution from `result` to `size`, and what the convolution back needs at the ends. */
static bool place_axis(ir_window *w, int i, int64_t size, int64_t result, int64_t kernel, int64_t stride, bool same)
{
    const int64_t reach = (kernel - 1) * w->window_dilation[i] + 1;
    const int64_t steps = same ? base_ceil_div(result, stride) : result < reach ? 0 : (result - reach) / stride + 1;
    const int64_t pad = same ? base_max((steps - 1) * stride + reach - result, 0) : 0;
    w->strides[i] = 1;
    w->base_dilation[i] = stride;
    w->low[i] = reach - 1 - pad / 2;
    w->high[i] = result - ((size - 1) * stride + 1) - w->low[i] + reach - 1;
    return steps == size;
}

bool tf_build_conv_back(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    static const char *const data[] = {"b0f", "b01f", "b012f"}, *const filter[] = {"0oi", "01oi", "012oi"};
    const fe_value *padding = find(args, "padding");
    ir_type shape = {.dtype = DTYPE_f32};
    int64_t strides[3];
    ir_value x, kernel;
    op_use u = {.l = l, .op = fe_op_find(s->op), .args = args, .config = &(fe_value){.kind = FE_DICT}};
    if (!op_find_tensor(&u, "x", &x) || !op_find_tensor(&u, "kernel", &kernel)) return false;
    const ir_type t = fe_type(l, x), k = fe_type(l, kernel);
    if (t.dtype != k.dtype)
        return fail(l, "expected filters of the input's type, as TensorFlow does, found %s", fe_shape_show(l->fe, &k));
    ir_window w = {.spatial = t.rank - 2, .feature_groups = 1, .batch_groups = 1, .reversal = true};
    if (w.spatial < 1 || w.spatial > 3 || k.rank != t.rank || t.dim[t.rank - 1].batch ||
        !ir_dim_equal(k.dim[k.rank - 1], t.dim[t.rank - 1]))
        return fail(l, "expected filters [..., output channels, input channels] that fit %s", fe_shape_show(l->fe, &t));
    if (!tf_shape_get(l, args, &shape) || !get_numbers(l, args, "strides", w.spatial, strides) ||
        !get_numbers(l, args, "dilations", w.spatial, w.window_dilation))
        return false;
    bool fits = shape.rank == t.rank && ir_dim_equal(shape.dim[t.rank - 1], k.dim[w.spatial]);
    const bool same = !padding || (padding->kind == FE_TEXT && strcmp(padding->text, "same") == 0);
    for (int i = 0; fits && i < w.spatial; i++)
        fits = !shape.dim[i + 1].batch && !t.dim[i + 1].batch && t.dim[i + 1].count <= 1 << 24 &&
               place_axis(&w, i, t.dim[i + 1].count, shape.dim[i + 1].count, k.dim[i].count, strides[i], same);
    if (!fits || !fe_size_check(l, l->layer, &shape))
        return !fits && fail(l, "expected an output_shape from which the convolution makes %s",
                             fe_shape_show(l->fe, &t));
    w.lhs_layout = w.out_layout = data[w.spatial - 1];
    w.rhs_layout = filter[w.spatial - 1];
    *out = fe_value_tensor(ir_build_convolution(l->g, x, kernel, &w), IR_NONE);
    return true;
}
