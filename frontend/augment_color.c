/* augment_color.c: augmentation of colours, each pixel or small neighbourhoods by themselves. */
#include "frontend/augment.h"

#include <math.h>

static const double bytes[2] = {0, 255}, unit[2] = {0, 1};

static double whole(const augment_state *s) { return s->range[1] - s->range[0]; }

static bool draw_factor(augment *a, const augment_state *s, ir_value *draw)
{
    draw[0] = augment_uniform_rows(a, s->factor[0][0], s->factor[0][1]);
    return true;
}

/* ---- brightness, contrast ---------------------------------------------------------------- */

bool augment_draw_brightness(augment *a, const augment_state *s, ir_value *draw)
{
    return draw_factor(a, s, draw);
}

bool augment_apply_brightness(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                              ir_value *out)
{
    const ir_value delta = op_map_number(&a->u, OP_multiply, draw[0], whole(s));
    *out = augment_clip(a, augment_add(a, x, augment_spread(a, delta, x)), s->range[0], s->range[1]);
    return true;
}

bool augment_draw_contrast(augment *a, const augment_state *s, ir_value *draw)
{
    const ir_type rows = augment_rows(a, a->type.dtype);
    draw[0] = augment_uniform(a, rows, 1 - s->factor[0][0], 1 + s->factor[0][1]);
    return true;
}

bool augment_apply_contrast(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                            ir_value *out)
{
    const int64_t plane[] = {1, 2};
    const ir_value mean = fe_spread(a->l, ir_build_mean(a->l->g, x, 2, plane, false), a->type, 2, plane);
    const ir_value away = augment_multiply(a, augment_subtract(a, x, mean), augment_spread(a, draw[0], x));
    *out = augment_clip(a, augment_add(a, away, mean), s->range[0], s->range[1]);
    return true;
}

/* ---- colour ------------------------------------------------------------------------------ */

static ir_value widen_gray(augment *a, ir_value gray)
{
    return ir_build_broadcast_to(a->l->g, gray, &a->type);
}

bool augment_draw_degeneration(augment *a, const augment_state *s, ir_value *draw)
{
    return draw_factor(a, s, draw);
}

bool augment_apply_degeneration(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                                ir_value *out)
{
    const ir_value gray = augment_grayscale(a, x);
    if (gray == IR_NONE) return false;
    *out = augment_clip(a, augment_blend(a, x, widen_gray(a, gray), draw[0]), s->range[0], s->range[1]);
    return true;
}

bool augment_draw_grayscale(augment *a, const augment_state *s, ir_value *draw)
{
    draw[0] = op_compare_number(&a->u, "LT", augment_uniform_rows(a, 0, 1), s->factor[0][0]);
    return true;
}

bool augment_apply_grayscale(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                             ir_value *out)
{
    (void)s;
    const ir_value gray = augment_grayscale(a, x);
    if (gray == IR_NONE) return false;
    *out = augment_choose(a, draw[0], widen_gray(a, gray), x);
    return true;
}

/* Hue (0) or saturation (1) of x becomes `channel`. */
static ir_value put_channel(augment *a, ir_value hsv, int which, ir_value channel)
{
    ir_value part[3];
    for (int i = 0; i < 3; i++) part[i] = i == which ? channel : op_slice_dim(&a->u, hsv, 3, i, i + 1);
    return ir_build_concatenate(a->l->g, 3, part, 3);
}

bool augment_draw_saturation(augment *a, const augment_state *s, ir_value *draw)
{
    if (!draw_factor(a, s, draw)) return false;
    ir_value rest = op_map2(&a->u, OP_subtract, op_fill(&a->u, draw[0], 1), draw[0]);
    rest = op_map_number(&a->u, OP_add, rest, 1e-7);
    draw[0] = op_map2(&a->u, OP_divide, draw[0], rest);
    return true;
}

bool augment_apply_saturation(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                              ir_value *out)
{
    if (!augment_colours_check(a)) return false;
    const ir_value hsv = op_rgb_to_hsv(&a->u, x);
    ir_value channel = op_slice_dim(&a->u, hsv, 3, 1, 2);
    channel = augment_multiply(a, channel, augment_spread(a, draw[0], channel));
    channel = augment_clip(a, channel, s->range[0], s->range[1]);
    *out = op_hsv_to_rgb(&a->u, put_channel(a, hsv, 1, channel));
    return true;
}

/* -1 or 1. */
static ir_value draw_sign(augment *a, ir_type shape)
{
    const ir_value u = augment_uniform(a, shape, 0, 1);
    return op_choose(&a->u, op_compare_number(&a->u, "GT", u, 0.5), op_fill(&a->u, u, -1),
                     op_fill(&a->u, u, 1));
}

bool augment_draw_hue(augment *a, const augment_state *s, ir_value *draw)
{
    const ir_value sign = draw_sign(a, augment_rows(a, DTYPE_f32));
    if (!draw_factor(a, s, draw)) return false;
    draw[0] = op_map_number(&a->u, OP_multiply, augment_multiply(a, sign, draw[0]), 0.5);
    return true;
}

bool augment_apply_hue(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out)
{
    if (!augment_colours_check(a)) return false;
    const ir_value hsv = op_rgb_to_hsv(&a->u, augment_range(a, x, s->range, unit));
    ir_value hue = op_slice_dim(&a->u, hsv, 3, 0, 1);
    hue = augment_add(a, hue, augment_spread(a, draw[0], hue));
    hue = op_choose(&a->u, op_compare_number(&a->u, "GT", hue, 1), op_map_number(&a->u, OP_subtract, hue, 1),
                    hue);
    hue = op_choose(&a->u, op_compare_number(&a->u, "LT", hue, 0), op_map_number(&a->u, OP_add, hue, 1), hue);
    x = augment_clip(a, op_hsv_to_rgb(&a->u, put_channel(a, hsv, 0, hue)), 0, 1);
    *out = augment_range(a, x, unit, s->range);
    return true;
}

/* ---- invert, posterize, solarize ----------------------------------------------------------- */

bool augment_draw_invert(augment *a, const augment_state *s, ir_value *draw)
{
    const ir_value likely = augment_uniform_rows(a, s->factor[0][0], s->factor[0][1]);
    draw[0] = op_compare(&a->u, "LT", augment_uniform_rows(a, 0, 1), likely);
    return true;
}

bool augment_apply_invert(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out)
{
    *out = augment_choose(a, draw[0], augment_subtract(a, op_fill(&a->u, x, s->range[1]), x), x);
    return true;
}

/* How many of the lower bits are dropped. TensorFlow draws 64 bits a number, the lower word first. */
bool augment_draw_posterization(augment *a, const augment_state *s, ir_value *draw)
{
    const double low = s->factor[0][0], high = s->factor[0][1];
    const ir_dim dim[] = {a->type.dim[0], ir_fixed(2)};
    if (low == high) {
        draw[0] = ir_build_fill(a->l->g, augment_rows(a, DTYPE_i32), 8 - low);
        return true;
    }
    const ir_value words = ir_build_random_words(a->l->g, augment_seed(a), ir_type_make(DTYPE_u32, 2, dim));
    ir_value half[2];
    for (int i = 0; i < 2; i++) {
        half[i] = op_drop_dim(&a->u, op_slice_dim(&a->u, words, 1, i, i + 1), 1);
        half[i] = ir_build_convert(a->l->g, half[i], DTYPE_u64);
    }
    const ir_value number = op_map2(&a->u, OP_or, half[0], op_map_number(&a->u, OP_shift_left, half[1], 32));
    const ir_value rest = op_map_number(&a->u, OP_remainder, number, high - low);
    const ir_value shift = op_map_number(&a->u, OP_add, ir_build_convert(a->l->g, rest, DTYPE_i32), low);
    draw[0] = op_map2(&a->u, OP_subtract, op_fill(&a->u, shift, 8), shift);
    return true;
}

bool augment_apply_posterization(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                                 ir_value *out)
{
    x = ir_build_convert(a->l->g, augment_range(a, x, s->range, bytes), DTYPE_u8);
    x = ir_build_convert(a->l->g, x, DTYPE_i32);
    const ir_value shift = augment_spread(a, draw[0], x);
    x = op_map2(&a->u, OP_shift_left, op_map2(&a->u, OP_shift_right_logical, x, shift), shift);
    *out = augment_range(a, ir_build_convert(a->l->g, x, a->type.dtype), bytes, s->range);
    return true;
}

bool augment_draw_solarization(augment *a, const augment_state *s, ir_value *draw)
{
    const ir_type rows = augment_rows(a, a->type.dtype);
    for (int i = 0; i < 2; i++) draw[i] = augment_uniform(a, rows, s->factor[i][0], s->factor[i][1] * 255);
    return true;
}

bool augment_apply_solarization(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                                ir_value *out)
{
    x = augment_range(a, x, s->range, bytes);
    x = augment_clip(a, augment_add(a, x, augment_spread(a, draw[0], x)), 0, 255);
    const ir_value below = op_compare(&a->u, "LT", x, augment_spread(a, draw[1], x));
    x = op_choose(&a->u, below, x, augment_subtract(a, op_fill(&a->u, x, 255), x));
    *out = augment_range(a, x, bytes, s->range);
    return true;
}

/* ---- sharpen, blur ------------------------------------------------------------------------- */

static ir_value filter(augment *a, ir_value x, ir_value kernel, const int64_t size[2])
{
    const fe_conv c = {.spatial = 2,
                       .groups = 1,
                       .kernel = {size[0], size[1]},
                       .strides = {1, 1},
                       .dilation = {1, 1},
                       .padding = FE_PADDING_same};
    const ir_type shape = ir_type_make(
        a->type.dtype, 4, (ir_dim[]){ir_fixed(size[0]), ir_fixed(size[1]), a->type.dim[3], ir_fixed(1)});
    kernel = ir_build_broadcast_in_dim(a->l->g, ir_build_convert(a->l->g, kernel, a->type.dtype), &shape,
                                       (int64_t[]){0, 1});
    return fe_conv_depthwise_build(a->l, a->layer, &c, x, kernel);
}

bool augment_draw_sharpness(augment *a, const augment_state *s, ir_value *draw)
{
    if (!draw_factor(a, s, draw)) return false;
    const ir_value twice = op_map_number(&a->u, OP_multiply, draw[0], 2);
    draw[0] = op_map2(&a->u, OP_subtract, op_fill(&a->u, twice, 1), twice);
    return true;
}

bool augment_apply_sharpness(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                             ir_value *out)
{
    const float edge = 1 / 13.0f, middle = 5 / 13.0f;
    const float number[] = {edge, edge, edge, edge, middle, edge, edge, edge, edge};
    const ir_dim dim[] = {ir_fixed(3), ir_fixed(3)};
    const ir_value kernel = ir_build_constant(a->l->g, ir_type_make(DTYPE_f32, 2, dim), number);
    const ir_value smooth = filter(a, x, kernel, (int64_t[]){3, 3});
    if (smooth == IR_NONE) return false;
    *out = augment_clip(a, augment_blend(a, x, smooth, draw[0]), s->range[0], s->range[1]);
    return true;
}

bool augment_read_blur(fe_config *c, augment_state *s)
{
    const json_at at = fe_key(c, "kernel_size");
    if (!fe_sizes_read(c, "kernel_size", 2, 1, 3, s->size)) return false;
    return (s->size[0] % 2 == 1 && s->size[1] % 2 == 1) || fe_error(c->fe, &at, "expected odd sizes");
}

bool augment_draw_blur(augment *a, const augment_state *s, ir_value *draw)
{
    const ir_dim two = ir_fixed(2);
    if (!augment_draw_invert(a, s, draw)) return false;
    const ir_value sigma =
        augment_uniform(a, ir_type_make(a->type.dtype, 1, &two), s->factor[1][0], s->factor[1][1]);
    draw[1] = op_map_number(&a->u, OP_add, sigma, 1e-6);
    return true;
}

/* A bell of `size` numbers; sigma of no dims. */
static ir_value build_bell(augment *a, int64_t size, ir_value sigma)
{
    const ir_dim dim = ir_fixed(size);
    const ir_type t = ir_type_make(a->type.dtype, 1, &dim);
    ir_value at = op_map_number(&a->u, OP_subtract, op_iota(&a->u, t.dtype, &t, 0), (double)(size - 1) / 2);
    at = op_map2(&a->u, OP_divide, at, sigma);
    at = op_map1(&a->u, OP_exponential, op_map_number(&a->u, OP_multiply, fe_square(a->l, at), -0.5));
    return op_map2(&a->u, OP_divide, at, op_reduce(&a->u, "add", at, 0, true));
}

/* Keras multiplies the second bell by the first and gives the product the shape of the sizes. */
bool augment_apply_blur(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out)
{
    ir_value bell[2];
    for (int i = 0; i < 2; i++) {
        const ir_value sigma = op_drop_dim(&a->u, op_slice_dim(&a->u, draw[1], 0, i, i + 1), 0);
        bell[i] = build_bell(a, s->size[i], sigma);
    }
    const ir_dim dim[] = {ir_fixed(s->size[0]), ir_fixed(s->size[1])};
    ir_value kernel = augment_multiply(a, op_insert_dim(&a->u, bell[1], 1), op_insert_dim(&a->u, bell[0], 0));
    kernel = ir_build_reshape(a->l->g, kernel, 2, dim);
    const ir_value smooth = filter(a, x, kernel, s->size);
    if (smooth == IR_NONE) return false;
    *out = augment_clip(a, augment_choose(a, draw[0], smooth, x), s->range[0], s->range[1]);
    return true;
}
