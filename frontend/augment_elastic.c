/* augment_elastic.c: RandomElasticTransform. Keras shifts pixels by blurred noise whose strength is drawn for
 * a batch. Because it does not know the batch's size when it draws the noise, it makes one image, the first,
 * and gives it to all. */
#include "frontend/augment.h"

#include <string.h>

static double least_size(const augment *a)
{
    return (double)base_min(a->type.dim[1].count, a->type.dim[2].count);
}

/* Half of the longest bell there can be, in pixels. */
static int64_t longest_reach(const augment *a, const augment_state *s)
{
    return 3 * (int64_t)(least_size(a) * 0.05 * s->factor[1][1]);
}

static bool is_idle(const augment_state *s) { return s->factor[0][1] == 0 || s->factor[1][1] == 0; }

/* A bell over -reach .. reach that ends where 6 * (int)sigma | 1 numbers are full. */
static ir_value build_bell(augment *a, int64_t reach, ir_value sigma)
{
    op_use *u = &a->u;
    const ir_dim dim = ir_fixed(2 * reach + 1);
    const ir_type t = ir_type_make(DTYPE_f32, 1, &dim);
    const ir_value at = op_map_number(u, OP_subtract, ir_build_iota(a->l->g, t, 0), (double)reach);
    const ir_value edge = op_map_number(u, OP_multiply, op_map1(u, OP_floor, sigma), 3);
    const ir_value far = op_map2(u, OP_divide, at, ir_build_broadcast_to(a->l->g, sigma, &t));
    ir_value bell = op_map1(u, OP_exponential, op_map_number(u, OP_multiply, fe_square(a->l, far), -0.5));
    const ir_value out =
        op_compare(u, "GT", op_map1(u, OP_abs, at), ir_build_broadcast_to(a->l->g, edge, &t));
    bell = op_choose(u, out, op_number(u, bell, 0), bell);
    return op_map2(u, OP_divide, bell,
                   ir_build_broadcast_to(a->l->g, op_reduce(u, "add", bell, 0, true), &t));
}

/* Noise [1, rows, columns] times sigma, blurred. */
static ir_value build_shift(augment *a, const augment_state *s, ir_value seed, ir_value sigma)
{
    op_use *u = &a->u;
    const int64_t reach = longest_reach(a, s), size = 2 * reach + 1;
    const ir_dim dim[] = {ir_fixed(1), a->type.dim[1], a->type.dim[2], ir_fixed(1)};
    const ir_dim window[] = {ir_fixed(size), ir_fixed(size), ir_fixed(1), ir_fixed(1)};
    const fe_conv c = {.spatial = 2,
                       .groups = 1,
                       .kernel = {size, size},
                       .strides = {1, 1},
                       .dilation = {1, 1},
                       .padding = FE_PADDING_same};
    const ir_type t = ir_type_make(DTYPE_f32, 4, dim);
    const ir_value noise =
        augment_multiply(a, ir_build_random_normal(a->l->g, seed, t), ir_build_broadcast_to(a->l->g, sigma, &t));
    const ir_value bell = build_bell(a, reach, sigma);
    ir_value kernel = augment_multiply(a, op_insert_dim(u, bell, 1), op_insert_dim(u, bell, 0));
    return fe_conv_depthwise_build(a->l, a->layer, &c, noise, ir_build_reshape(a->l->g, kernel, 4, window));
}

/* draw[0]: which images are changed; draw[1]: the strength; draw[2]: the seed of the noise. */
bool augment_draw_elastic(augment *a, const augment_state *s, ir_value *draw)
{
    if (is_idle(s)) return true;
    if (strcmp(s->fill_mode, "mirror") == 0 && !a->l->discard)
        return op_error(
            &a->u,
            "training with fill mode \"mirror\" is not supported: Keras refuses it; \"reflect\" is near");
    if (a->type.dtype != DTYPE_f32) return op_fail_shape(&a->u, "images of float32", &a->type);
    if (!augment_draw_invert(a, s, draw)) return false;
    draw[1] = augment_uniform(a, ir_type_scalar(DTYPE_f32), s->factor[1][0], s->factor[1][1]);
    draw[2] = augment_seed(a);
    return true;
}

/* ---- sampling ---------------------------------------------------------------------------- */

/* A whole coordinate within the image, as i32; *inside only for fill mode "constant". */
static ir_value fold(augment *a, const char *mode, ir_value at, int64_t size, ir_value *inside)
{
    op_use *u = &a->u;
    const ir_value last = op_fill(u, at, (double)(size - 1)), zero = op_fill(u, at, 0);
    const ir_value turn = op_fill(u, at, (double)(2 * size));
    *inside = op_map2(u, OP_and, op_compare(u, "GE", at, zero), op_compare(u, "LE", at, last));
    if (strcmp(mode, "wrap") == 0) return op_floor_mod(u, at, op_fill(u, at, (double)size));
    if (strcmp(mode, "reflect") == 0) {
        const ir_value rest = op_floor_mod(u, op_map1(u, OP_abs, at), turn);
        const ir_value over = op_compare(u, "GT", rest, last);
        const ir_value back = op_map_number(u, OP_subtract, augment_subtract(a, turn, rest), 1);
        at = op_choose(u, over, back, rest);
    }
    return op_map2(u, OP_maximum, op_map2(u, OP_minimum, at, last), zero);
}

/* The first image at whole coordinates [rows, columns], with its channels. */
static ir_value read_pixels(augment *a, const augment_state *s, ir_value x, const ir_value at[2])
{
    op_use *u = &a->u;
    ir_value inside[2], place[2];
    for (int i = 0; i < 2; i++) place[i] = fold(a, s->fill_mode, at[i], a->type.dim[1 + i].count, &inside[i]);
    const ir_dim flat[] = {ir_fixed(a->type.dim[1].count * a->type.dim[2].count), a->type.dim[3]};
    const ir_value index =
        augment_add(a, op_map_number(u, OP_multiply, place[0], (double)a->type.dim[2].count), place[1]);
    ir_value y = ir_build_take_rows(a->l->g, ir_build_reshape(a->l->g, x, 2, flat), index);
    if (strcmp(s->fill_mode, "constant") != 0) return y;
    const ir_type all = ir_type_with_dtype(op_type(u, y), DTYPE_i1);
    const ir_value valid =
        ir_build_broadcast_in_dim(a->l->g, op_map2(u, OP_and, inside[0], inside[1]), &all, (int64_t[]){0, 1});
    return op_choose(u, valid, y, op_number(u, y, s->fill_value[0]));
}

static ir_value widen(augment *a, ir_value weight, ir_value x)
{
    const ir_type all = op_type(&a->u, x);
    return ir_build_broadcast_in_dim(a->l->g, weight, &all, (int64_t[]){0, 1});
}

/* at: f32 [rows, columns]. */
static ir_value sample(augment *a, const augment_state *s, ir_value x, const ir_value at[2])
{
    op_use *u = &a->u;
    ir_value place[2][2], weight[2][2], sum = IR_NONE;
    for (int i = 0; i < 2; i++) {
        const ir_value low = op_map1(u, s->bilinear ? OP_floor : OP_round_nearest_even, at[i]);
        place[i][0] = ir_build_convert(a->l->g, low, DTYPE_i32);
        place[i][1] = op_map_number(u, OP_add, place[i][0], 1);
        weight[i][1] = augment_subtract(a, at[i], low);
        weight[i][0] = augment_subtract(a, op_fill(u, weight[i][1], 1), weight[i][1]);
    }
    if (!s->bilinear) return read_pixels(a, s, x, (ir_value[]){place[0][0], place[1][0]});
    for (int k = 0; k < 4; k++) {
        const ir_value y = read_pixels(a, s, x, (ir_value[]){place[0][k / 2], place[1][k % 2]});
        const ir_value part =
            augment_multiply(a, widen(a, augment_multiply(a, weight[0][k / 2], weight[1][k % 2]), y), y);
        sum = sum == IR_NONE ? part : augment_add(a, sum, part);
    }
    return sum;
}

bool augment_apply_elastic(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                           ir_value *out)
{
    enum { LONGEST = 200 };
    op_use *u = &a->u;
    const ir_dim *dim = a->type.dim, plane[] = {dim[1], dim[2]};
    *out = x;
    if (is_idle(s)) return true;
    if (longest_reach(a, s) > LONGEST) return op_fail_shape(u, "smaller images", &a->type);
    const double most = (double)base_max(dim[1].count, dim[2].count);
    const ir_value alpha = op_map_number(u, OP_multiply, op_map_number(u, OP_multiply, draw[1], 0.1), most);
    const ir_value sigma =
        op_map_number(u, OP_multiply, op_map_number(u, OP_multiply, draw[1], 0.05), least_size(a));
    const ir_type grid = ir_type_make(DTYPE_f32, 2, plane);
    ir_value at[2];
    for (int i = 1; i >= 0; i--) {
        ir_value shift = build_shift(a, s, draw[2], sigma);
        if (shift == IR_NONE) return false;
        shift = ir_build_reshape(a->l->g, shift, 2, plane);
        at[i] = augment_add(a, ir_build_iota(a->l->g, grid, i),
                            augment_multiply(a, ir_build_broadcast_to(a->l->g, alpha, &grid), shift));
    }
    const int64_t sizes[] = {1, dim[1].count, dim[2].count, dim[3].count};
    const ir_value zero = ir_build_scalar(a->l->g, DTYPE_i32, 0);
    const ir_attr attr = {.name = ATTR_sizes, .ints = {4, sizes}};
    const ir_value first =
        ir_build(a->l->g, OP_dynamic_slice, 5, (ir_value[]){x, zero, zero, zero, zero}, 1, &attr, NULL);
    const ir_value y =
        ir_build_broadcast_in_dim(a->l->g, sample(a, s, first, at), &a->type, (int64_t[]){1, 2, 3});
    *out = augment_clip(a, augment_choose(a, draw[0], y, x), s->range[0], s->range[1]);
    return true;
}
