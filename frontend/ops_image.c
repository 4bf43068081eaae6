/* ops_image.c: keras.ops.image. */
#include "frontend/layers.h"
#include "frontend/ops.h"

#include <math.h>
#include <string.h>

static bool is_image(const ir_type *t) { return t->rank == 3 || t->rank == 4; }

/* Images with channels in last place; *out_first is the axis of the rows. */
static bool find_images(op_use *u, const char *name, ir_value *out, bool *channels_first)
{
    if (!op_find_tensor(u, name, out) || !op_find_channels_first(u, channels_first)) return false;
    const ir_type t = op_type(u, *out);
    if (!is_image(&t)) return op_fail_shape(u, "an image or a batch of images", &t);
    if (*channels_first) *out = op_move_axis(u, *out, t.rank - 3, t.rank - 1);
    const ir_type last = op_type(u, *out);
    for (int i = last.rank - 3; i < last.rank; i++) {
        if (last.dim[i].batch) return op_fail_shape(u, "images of a fixed size", &t);
    }
    return true;
}

static bool finish_images(op_use *u, ir_value x, bool channels_first, fe_value *out)
{
    if (x == IR_NONE) return false;
    const int rank = op_type(u, x).rank;
    return op_finish(u, channels_first ? op_move_axis(u, x, rank - 1, rank - 3) : x, out);
}

/* ---- sizes ------------------------------------------------------------------------------- */

bool op_build_resize(op_use *u, fe_value *out)
{
    fe_resize s = {0};
    ir_value x;
    const char *name, *mode;
    int which = 0;
    if (!op_find_tensor(u, "images", &x) || !op_find_sizes(u, "size", 2, 0, s.size)) return false;
    if (!op_find_text(u, "interpolation", &name) || !op_find_text(u, "fill_mode", &mode)) return false;
    if (!op_find_bool(u, "antialias", false, &s.antialias) ||
        !op_find_bool(u, "crop_to_aspect_ratio", false, &s.crop) ||
        !op_find_bool(u, "pad_to_aspect_ratio", false, &s.pad) ||
        !op_find_number_or(u, "fill_value", 0, &s.fill) || !op_find_channels_first(u, &s.channels_first))
        return false;
    if (name[0] == '\0') name = "bilinear";
    while (fe_interpolation_names[which] && strcmp(fe_interpolation_names[which], name) != 0) which++;
    if (!fe_interpolation_names[which]) return op_error(u, "the interpolation \"%s\" is not supported", name);
    if (s.crop && s.pad) return op_error(u, "expected cropping or padding, found both");
    s.interpolation = (fe_interpolation)which;
    return op_finish(u, fe_resize_build(u->l, u->l->layer, &s, x), out);
}

/* The edges of one axis: two of low, high and target size are given. */
static bool find_edges(op_use *u, const char *low_name, const char *high_name, const char *target_name,
                       int64_t size, int sign, int64_t edge[2])
{
    int64_t target;
    if (!op_find_int(u, low_name, -1, &edge[0]) || !op_find_int(u, high_name, -1, &edge[1]) ||
        !op_find_int(u, target_name, -1, &target))
        return false;
    if (op_find(u, target_name)) {
        const int64_t all = sign * (target - size);
        if (!op_find(u, low_name)) edge[0] = all - (op_find(u, high_name) ? edge[1] : 0);
        if (!op_find(u, high_name)) edge[1] = all - edge[0];
    }
    if (edge[0] < 0 || edge[1] < 0 || edge[0] > INT32_MAX || edge[1] > INT32_MAX)
        return op_error(u, "expected two of \"%s\", \"%s\" and \"%s\" that fit the image", low_name,
                        high_name, target_name);
    return true;
}

/* PadImages and, with word "crop", CropImages. */
bool op_build_image_edges(op_use *u, fe_value *out)
{
    ir_value x;
    bool channels_first;
    int64_t edge[2][2], low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0};
    const bool crop = strcmp(u->op->word, "crop") == 0;
    if (!op_find_tensor(u, "images", &x) || !op_find_channels_first(u, &channels_first)) return false;
    ir_type t = op_type(u, x);
    if (!is_image(&t)) return op_fail_shape(u, "an image or a batch of images", &t);
    const int first = t.rank - 3 + channels_first, sign = crop ? -1 : 1;
    if (t.dim[first].batch || t.dim[first + 1].batch) return op_fail_shape(u, "images of a fixed size", &t);
    if (!find_edges(u, crop ? "top_cropping" : "top_padding", crop ? "bottom_cropping" : "bottom_padding",
                    "target_height", t.dim[first].count, sign, edge[0]) ||
        !find_edges(u, crop ? "left_cropping" : "left_padding", crop ? "right_cropping" : "right_padding",
                    "target_width", t.dim[first + 1].count, sign, edge[1]))
        return false;
    for (int i = 0; i < 2; i++) {
        low[first + i] = sign * edge[i][0];
        high[first + i] = sign * edge[i][1];
        t.dim[first + i].count += low[first + i] + high[first + i];
    }
    if (!op_check_type(u, &t)) return false;
    return op_finish(u, ir_build_pad(u->l->g, x, op_number(u, x, 0), low, high, NULL), out);
}

/* ---- colours ----------------------------------------------------------------------------- */

bool op_build_grayscale(op_use *u, fe_value *out)
{
    static const float weight[] = {0.2989f, 0.5870f, 0.1140f};
    ir_value x;
    bool channels_first;
    if (!find_images(u, "images", &x, &channels_first)) return false;
    const ir_type t = op_type(u, x);
    const int last = t.rank - 1;
    if (t.dim[last].count == 1) return finish_images(u, x, channels_first, out);
    if (t.dim[last].count != 3) return op_fail_shape(u, "one or three channels", &t);
    ir_value real = ir_build_convert(u->l->g, x, op_real(t.dtype));
    ir_value y = fe_matrix_apply(u->l, real, last, 1, weight);
    return finish_images(u, ir_build_convert(u->l->g, y, t.dtype), channels_first, out);
}

static ir_value channel(op_use *u, ir_value x, int64_t i)
{
    return op_slice_dim(u, x, op_type(u, x).rank - 1, i, i + 1);
}

static bool find_colours(op_use *u, ir_value *x, bool *channels_first)
{
    if (!find_images(u, "images", x, channels_first)) return false;
    const ir_type t = op_type(u, *x);
    return (t.dim[t.rank - 1].count == 3 && ir_dtype_is_float(t.dtype)) ||
           op_fail_shape(u, "floating images of three channels", &t);
}

static ir_value divide_or_zero(op_use *u, ir_value a, ir_value b)
{
    ir_value none = op_compare_number(u, "EQ", b, 0);
    ir_value y = op_map2(u, OP_divide, a, op_choose(u, none, op_number(u, b, 1), b));
    return op_choose(u, none, op_number(u, y, 0), y);
}

ir_value op_rgb_to_hsv(op_use *u, ir_value x)
{
    ir_value r = channel(u, x, 0), g = channel(u, x, 1), b = channel(u, x, 2);
    ir_value most = op_map2(u, OP_maximum, r, op_map2(u, OP_maximum, g, b));
    ir_value least = op_map2(u, OP_minimum, r, op_map2(u, OP_minimum, g, b));
    ir_value range = op_map2(u, OP_subtract, most, least);
    ir_value red = divide_or_zero(u, op_map2(u, OP_subtract, g, b), range);
    ir_value green = op_map_number(u, OP_add, divide_or_zero(u, op_map2(u, OP_subtract, b, r), range), 2);
    ir_value blue = op_map_number(u, OP_add, divide_or_zero(u, op_map2(u, OP_subtract, r, g), range), 4);
    ir_value hue = op_choose(u, op_compare(u, "EQ", g, most), green, blue);
    hue = op_map_number(u, OP_divide, op_choose(u, op_compare(u, "EQ", r, most), red, hue), 6);
    hue = op_choose(u, op_compare_number(u, "LT", hue, 0), op_map_number(u, OP_add, hue, 1), hue);
    hue = op_choose(u, op_compare_number(u, "GT", range, 0), hue, op_number(u, hue, 0));
    const ir_value part[] = {hue, divide_or_zero(u, range, most), most};
    return ir_build_concatenate(u->l->g, 3, part, op_type(u, x).rank - 1);
}

bool op_build_rgb_to_hsv(op_use *u, fe_value *out)
{
    ir_value x;
    bool channels_first;
    return find_colours(u, &x, &channels_first) && finish_images(u, op_rgb_to_hsv(u, x), channels_first, out);
}

/* Each colour is a tent over the hue, clipped to 0 .. 1. TensorFlow has no gradient of it. */
ir_value op_hsv_to_rgb(op_use *u, ir_value x)
{
    static const double centre[] = {3, 2, 4}, slope[] = {1, -1, -1}, offset[] = {-1, 2, 2};
    ir_value part[3];
    ir_value hue = op_map_number(u, OP_multiply, channel(u, x, 0), 6), s = channel(u, x, 1),
             v = channel(u, x, 2);
    for (int i = 0; i < 3; i++) {
        ir_value tent = op_map1(u, OP_abs, op_map_number(u, OP_subtract, hue, centre[i]));
        tent = op_map_number(u, OP_add, op_map_number(u, OP_multiply, tent, slope[i]), offset[i]);
        tent = op_map_number(u, OP_minimum, op_map_number(u, OP_maximum, tent, 0), 1);
        ir_value pale = op_map2(u, OP_subtract, op_number(u, s, 1), s);
        part[i] = op_map2(u, OP_multiply, op_map2(u, OP_add, pale, op_map2(u, OP_multiply, s, tent)), v);
    }
    return op_map1(u, OP_stop_gradient, ir_build_concatenate(u->l->g, 3, part, op_type(u, x).rank - 1));
}

bool op_build_hsv_to_rgb(op_use *u, fe_value *out)
{
    ir_value x;
    bool channels_first;
    return find_colours(u, &x, &channels_first) && finish_images(u, op_hsv_to_rgb(u, x), channels_first, out);
}

/* ---- neighbourhoods ---------------------------------------------------------------------- */

/* Convolves every channel of x [N, rows, columns, channels] with one kernel. */
static ir_value filter(op_use *u, ir_value x, int64_t rows, int64_t columns, const float *kernel,
                       fe_padding padding)
{
    const ir_type t = op_type(u, x);
    const fe_conv c = {.spatial = 2,
                       .groups = 1,
                       .kernel = {rows, columns},
                       .strides = {1, 1},
                       .dilation = {1, 1},
                       .padding = padding};
    const ir_dim dim[] = {ir_fixed(rows), ir_fixed(columns)};
    const ir_type shape = ir_type_make(DTYPE_f32, 4, (ir_dim[]){dim[0], dim[1], t.dim[3], ir_fixed(1)});
    ir_value k = ir_build_constant(u->l->g, ir_type_make(DTYPE_f32, 2, dim), kernel);
    k = ir_build_broadcast_in_dim(u->l->g, k, &shape, (int64_t[]){0, 1});
    return fe_conv_depthwise_build(u->l, u->l->layer, &c, x, ir_build_convert(u->l->g, k, t.dtype));
}

/* A bell of `size` numbers that add up to 1. */
static void fill_bell(int64_t size, double sigma, float *bell)
{
    double sum = 0;
    for (int64_t i = 0; i < size; i++) {
        const double at = ((double)i - (double)(size - 1) / 2) / sigma;
        sum += exp(-0.5 * at * at);
    }
    for (int64_t i = 0; i < size; i++) {
        const double at = ((double)i - (double)(size - 1) / 2) / sigma;
        bell[i] = (float)(exp(-0.5 * at * at) / sum);
    }
}

static bool make_bells(op_use *u, const int64_t size[2], const double sigma[2], float **out)
{
    enum { MOST = 256 };
    float bell[2][MOST];
    for (int i = 0; i < 2; i++) {
        if (size[i] < 1 || size[i] > MOST || !(sigma[i] > 0))
            return op_error(u, "expected a kernel of 1 .. %d", MOST);
        fill_bell(size[i], sigma[i], bell[i]);
    }
    *out = arena_array(u->l->fe->arena, float, (size_t)(size[0] * size[1]));
    for (int64_t i = 0; i < size[0] * size[1]; i++) (*out)[i] = bell[0][i / size[1]] * bell[1][i % size[1]];
    return true;
}

bool op_build_gaussian_blur(op_use *u, fe_value *out)
{
    ir_value x;
    bool channels_first;
    int64_t size[2];
    double sigma[2] = {1, 1};
    float *kernel;
    const fe_value *v = op_find(u, "sigma");
    if (!find_images(u, "images", &x, &channels_first) || !op_find_sizes(u, "kernel_size", 2, 3, size))
        return false;
    for (int i = 0; v && i < 2; i++) {
        const fe_value *item = v->kind == FE_LIST && v->count == 2 ? &v->item[i] : v;
        if (item->kind != FE_NUMBER) return op_error(u, "expected one number or two as \"sigma\"");
        sigma[i] = item->number;
    }
    /* Keras lays the first size and sigma along the columns and gives the kernel the shape of the sizes. */
    const int64_t turned_size[] = {size[1], size[0]};
    const double turned[] = {sigma[1], sigma[0]};
    if (!make_bells(u, turned_size, turned, &kernel)) return false;
    const bool single = op_type(u, x).rank == 3;
    if (single) x = op_insert_dim(u, x, 0);
    x = ir_build_convert(u->l->g, x, op_real(op_type(u, x).dtype));
    x = filter(u, x, size[0], size[1], kernel, FE_PADDING_same);
    if (single && x != IR_NONE) x = op_drop_dim(u, x, 0);
    return finish_images(u, x, channels_first, out);
}

/* The differences along rows and columns, in a new last dim; the image is mirrored at its edges. */
bool op_build_sobel_edges(op_use *u, fe_value *out)
{
    static const float down[] = {-1, -2, -1, 0, 0, 0, 1, 2, 1}, right[] = {-1, 0, 1, -2, 0, 2, -1, 0, 1};
    ir_value x, edge[2];
    bool channels_first;
    if (!find_images(u, "images", &x, &channels_first)) return false;
    if (op_type(u, x).rank != 4) return op_error(u, "expected a batch of images");
    x = ir_build_convert(u->l->g, x, op_real(op_type(u, x).dtype));
    for (int64_t axis = 1; axis <= 2; axis++) {
        const ir_type t = op_type(u, x);
        const int64_t size = t.dim[axis].count;
        if (size < 2) return op_fail_shape(u, "larger images", &t);
        const ir_value part[] = {op_slice_dim(u, x, axis, 1, 2), x,
                                 op_slice_dim(u, x, axis, size - 2, size - 1)};
        x = ir_build_concatenate(u->l->g, 3, part, (int)axis);
    }
    for (int i = 0; i < 2; i++) {
        edge[i] = filter(u, x, 3, 3, i == 0 ? down : right, FE_PADDING_valid);
        if (edge[i] == IR_NONE) return false;
        if (channels_first) edge[i] = op_move_axis(u, edge[i], 3, 1);
        edge[i] = op_insert_dim(u, edge[i], 4);
    }
    return op_finish(u, ir_build_concatenate(u->l->g, 2, edge, 4), out);
}

bool op_build_extract_patches(op_use *u, fe_value *out)
{
    ir_value x;
    bool channels_first;
    fe_conv c = {.spatial = 2, .groups = 1};
    const char *padding;
    const fe_value *v = op_find(u, "size");
    if (v && v->kind == FE_LIST && v->count != 2) return op_error(u, "patches of volumes are not supported");
    if (!find_images(u, "images", &x, &channels_first) || !op_find_sizes(u, "size", 2, 0, c.kernel))
        return false;
    if (!op_find_sizes(u, "strides", 2, 0, c.strides) || !op_find_sizes(u, "dilation_rate", 2, 1, c.dilation))
        return false;
    if (!op_find_text(u, "padding", &padding)) return false;
    for (int i = 0; i < 2; i++) {
        if (c.strides[i] == 0) c.strides[i] = c.kernel[i];
        if (c.kernel[i] < 1 || c.dilation[i] < 1) return op_error(u, "expected positive sizes of patches");
    }
    c.padding = strcmp(padding, "same") == 0 ? FE_PADDING_same : FE_PADDING_valid;
    const bool single = op_type(u, x).rank == 3;
    if (single) x = op_insert_dim(u, x, 0);
    const int64_t channels = op_type(u, x).dim[3].count, all = c.kernel[0] * c.kernel[1];
    if (all > 1 << 20 || channels > (1 << 12) / all) return op_error(u, "expected smaller patches");
    const int64_t width = all * channels;
    float *one = arena_array(u->l->fe->arena, float, (size_t)(width * width));
    for (int64_t i = 0; i < width; i++) one[i * width + i] = 1;
    const ir_dim dim[] = {ir_fixed(c.kernel[0]), ir_fixed(c.kernel[1]), ir_fixed(channels), ir_fixed(width)};
    ir_value kernel = ir_build_constant(u->l->g, ir_type_make(DTYPE_f32, 4, dim), one);
    x = fe_conv_build(u->l, u->l->layer, &c, x, ir_build_convert(u->l->g, kernel, op_type(u, x).dtype));
    if (single && x != IR_NONE) x = op_drop_dim(u, x, 0);
    return finish_images(u, x, channels_first, out);
}

/* ---- similarity -------------------------------------------------------------------------- */

bool op_build_ssim(op_use *u, fe_value *out)
{
    ir_value x[2], mean[2], square[2], mixed;
    bool channels_first;
    double most, sigma, k1, k2;
    int64_t size;
    float *kernel;
    for (int i = 0; i < 2; i++) {
        if (!find_images(u, i == 0 ? "image1" : "image2", &x[i], &channels_first)) return false;
        if (op_type(u, x[i]).rank != 4) return op_error(u, "expected batches of images");
        x[i] = ir_build_convert(u->l->g, x[i], op_real(op_type(u, x[i]).dtype));
    }
    const ir_type a = op_type(u, x[0]), b = op_type(u, x[1]);
    if (!ir_type_equal(&a, &b)) return op_fail_shape(u, "images of one shape", &b);
    if (!op_find_number_or(u, "max_val", 1, &most) || !op_find_number_or(u, "filter_sigma", 1.5, &sigma) ||
        !op_find_number_or(u, "k1", 0.01, &k1) || !op_find_number_or(u, "k2", 0.03, &k2) ||
        !op_find_int(u, "filter_size", 11, &size))
        return false;
    if (!make_bells(u, (int64_t[]){size, size}, (double[]){sigma, sigma}, &kernel)) return false;
    for (int i = 0; i < 2; i++) {
        mean[i] = filter(u, x[i], size, size, kernel, FE_PADDING_valid);
        if (mean[i] == IR_NONE) return false;
        square[i] = filter(u, op_map2(u, OP_multiply, x[i], x[i]), size, size, kernel, FE_PADDING_valid);
        square[i] = op_map2(u, OP_subtract, square[i], op_map2(u, OP_multiply, mean[i], mean[i]));
    }
    const double c1 = k1 * most * k1 * most, c2 = k2 * most * k2 * most;
    ir_value product = op_map2(u, OP_multiply, mean[0], mean[1]);
    mixed = filter(u, op_map2(u, OP_multiply, x[0], x[1]), size, size, kernel, FE_PADDING_valid);
    mixed = op_map2(u, OP_subtract, mixed, product);
    ir_value above =
        op_map2(u, OP_multiply, op_map_number(u, OP_add, op_map_number(u, OP_multiply, product, 2), c1),
                op_map_number(u, OP_add, op_map_number(u, OP_multiply, mixed, 2), c2));
    ir_value means = op_map2(u, OP_add, op_map2(u, OP_multiply, mean[0], mean[0]),
                             op_map2(u, OP_multiply, mean[1], mean[1]));
    ir_value below = op_map2(u, OP_multiply, op_map_number(u, OP_add, means, c1),
                             op_map_number(u, OP_add, op_map2(u, OP_add, square[0], square[1]), c2));
    ir_value y = op_map2(u, OP_divide, above, below);
    return op_finish(u, ir_build_mean(u->l->g, y, 3, (int64_t[]){1, 2, 3}, false), out);
}
