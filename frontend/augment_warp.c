/* augment_warp.c: augmentation that moves pixels: flips, crops, and projections as TensorFlow's
 * ImageProjectiveTransform computes them. */
#include "frontend/augment.h"

#include <string.h>

/* ---- flip, crop -------------------------------------------------------------------------- */

bool augment_read_flip(fe_config *c, augment_state *s)
{
    static const char *const modes[] = {"horizontal_and_vertical", "horizontal", "vertical", NULL};
    int which = 0;
    if (!fe_config_choice(c, "mode", modes, &which)) return false;
    s->flip[0] = which != 1;
    s->flip[1] = which != 2;
    return true;
}

bool augment_draw_flip(augment *a, const augment_state *s, ir_value *draw)
{
    (void)s;
    draw[0] = op_compare_number(&a->u, "LE", augment_uniform_rows(a, 0, 1), 0.5);
    return true;
}

bool augment_apply_flip(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out)
{
    for (int i = 1; i >= 0; i--) {
        const int64_t axis = 1 + i;
        if (s->flip[i]) x = augment_choose(a, draw[0], ir_build_reverse(a->l->g, x, 1, &axis), x);
    }
    *out = x;
    return true;
}

/* Where the crop starts: drawn when the image is larger in both directions, else in the middle. */
static bool is_crop_drawn(const augment *a, const augment_state *s)
{
    return a->type.dim[1].count > s->size[0] && a->type.dim[2].count > s->size[1];
}

bool augment_draw_crop(augment *a, const augment_state *s, ir_value *draw)
{
    for (int i = 0; i < 2 && is_crop_drawn(a, s); i++) {
        const double starts = (double)(a->type.dim[1 + i].count - s->size[i] + 1);
        draw[i] = augment_uniform(a, ir_type_scalar(DTYPE_f32), 0, starts);
        draw[i] = ir_build_convert(a->l->g, draw[i], DTYPE_i32);
    }
    return true;
}

bool augment_apply_crop(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out)
{
    const int64_t size[] = {a->type.dim[1].count, a->type.dim[2].count};
    if (is_crop_drawn(a, s)) {
        const ir_value zero = ir_build_scalar(a->l->g, DTYPE_i32, 0);
        const int64_t sizes[] = {-1, s->size[0], s->size[1], a->type.dim[3].count};
        const ir_value in[] = {x, zero, draw[0], draw[1], zero};
        const ir_attr attr = {.name = ATTR_sizes, .ints = {4, sizes}};
        *out = ir_build(a->l->g, OP_dynamic_slice, 5, in, 1, &attr, NULL);
        return true;
    }
    const fe_resize resize = {.size = {s->size[0], s->size[1]}, .interpolation = FE_INTERPOLATION_bilinear};
    for (int i = 0; i < 2; i++) {
        const int64_t keep = (int64_t)((double)(size[1 - i] * s->size[i]) / (double)s->size[1 - i]);
        const int64_t start = (size[i] - base_max(base_min(size[i], keep), 1)) / 2;
        x = ir_build_slice_dim(a->l->g, x, 1 + i, start, base_min(size[i], start + s->size[i]));
    }
    *out = fe_resize_build(a->l, a->layer, &resize, x);
    return *out != IR_NONE;
}

/* ---- projections ------------------------------------------------------------------------- */

/* One coordinate of where the pixels of an image of `size` lie, [N, rows, columns], brought into it. */
static ir_value fold_reflected(augment *a, ir_value at, int64_t size)
{
    op_use *u = &a->u;
    const double twice = 2.0 * (double)size;
    /* Below 0: full turns up, then mirrored. */
    ir_value turns = op_map_number(u, OP_divide, op_map1(u, OP_negate, at), twice);
    turns = op_map1(u, OP_floor, turns);
    const ir_value up = augment_add(a, op_map_number(u, OP_multiply, turns, twice), at);
    const ir_value far = op_compare_number(u, "LT", up, -(double)size);
    const ir_value mirrored = op_map_number(u, OP_subtract, op_map1(u, OP_negate, up), 1);
    const ir_value low = op_choose(u, far, op_map_number(u, OP_add, up, twice), mirrored);
    turns = op_map1(u, OP_floor, op_map_number(u, OP_divide, at, twice));
    const ir_value down = augment_subtract(a, at, op_map_number(u, OP_multiply, turns, twice));
    ir_value high = op_map2(u, OP_subtract, op_fill(u, down, twice), down);
    high = op_map_number(u, OP_subtract, high, 1);
    high = op_choose(u, op_compare_number(u, "GE", down, (double)size), high, down);
    high = op_choose(u, op_compare_number(u, "GT", at, (double)(size - 1)), high, at);
    return op_choose(u, op_compare_number(u, "LT", at, 0), low, high);
}

static ir_value fold_wrapped(augment *a, ir_value at, int64_t size)
{
    op_use *u = &a->u;
    const double last = (double)(size - 1);
    ir_value turns = op_map_number(u, OP_divide, op_map1(u, OP_negate, at), last);
    turns = op_map_number(u, OP_add, op_map1(u, OP_floor, turns), 1);
    const ir_value low = augment_add(a, at, op_map_number(u, OP_multiply, turns, (double)size));
    turns = op_map1(u, OP_floor, op_map_number(u, OP_divide, at, last));
    ir_value high = augment_subtract(a, at, op_map_number(u, OP_multiply, turns, (double)size));
    high = op_choose(u, op_compare_number(u, "GT", at, last), high, at);
    return op_choose(u, op_compare_number(u, "LT", at, 0), low, high);
}

static ir_value fold(augment *a, const char *mode, ir_value at, int64_t size)
{
    if (strcmp(mode, "constant") == 0) return at;
    if (size > 1 && strcmp(mode, "reflect") == 0) at = fold_reflected(a, at, size);
    if (size > 1 && strcmp(mode, "wrap") == 0) at = fold_wrapped(a, at, size);
    return augment_clip(a, at, 0, (double)(size - 1));
}

/* The pixels at whole coordinates (f32), [N, rows, columns, channels]; `fill` outside of the image. */
static ir_value read_pixels(augment *a, ir_value x, ir_value row, ir_value column, double fill)
{
    op_use *u = &a->u;
    const ir_dim *dim = a->type.dim;
    const int64_t size[] = {dim[1].count, dim[2].count};
    const ir_value at[] = {row, column};
    ir_value inside = IR_NONE, place[2];
    for (int i = 0; i < 2; i++) {
        const ir_value here = op_map2(u, OP_and, op_compare_number(u, "GE", at[i], 0),
                                      op_compare_number(u, "LT", at[i], (double)size[i]));
        inside = i == 0 ? here : op_map2(u, OP_and, inside, here);
        place[i] = ir_build_convert(a->l->g, augment_clip(a, at[i], 0, (double)(size[i] - 1)), DTYPE_i32);
    }
    ir_value index = augment_add(a, op_map_number(u, OP_multiply, place[0], (double)size[1]), place[1]);
    const ir_dim flat[] = {dim[0], ir_fixed(size[0] * size[1]), dim[3]};
    index = ir_build_reshape(a->l->g, index, 2, flat);
    ir_value y = augment_pick(a, ir_build_reshape(a->l->g, x, 3, flat), index);
    y = ir_build_reshape(a->l->g, y, 4, dim);
    const ir_type all = ir_type_with_dtype(op_type(u, y), DTYPE_i1);
    inside = ir_build_broadcast_in_dim(a->l->g, inside, &all, (int64_t[]){0, 1, 2});
    return op_choose(u, inside, y, op_number(u, y, fill));
}

/* Half away from zero. */
static ir_value round_away(augment *a, ir_value x)
{
    op_use *u = &a->u;
    const ir_value whole = op_map1(u, OP_floor, x), rest = augment_subtract(a, x, whole);
    const ir_value up = op_choose(u, op_compare_number(u, "LT", x, 0), op_compare_number(u, "GT", rest, 0.5),
                                  op_compare_number(u, "GE", rest, 0.5));
    return op_choose(u, up, op_map_number(u, OP_add, whole, 1), whole);
}

static ir_value widen(augment *a, ir_value weight, ir_value x)
{
    const ir_type all = op_type(&a->u, x);
    weight = ir_build_convert(a->l->g, weight, all.dtype);
    return ir_build_broadcast_in_dim(a->l->g, weight, &all, (int64_t[]){0, 1, 2});
}

/* x: f32. */
static ir_value interpolate(augment *a, ir_value x, ir_value row, ir_value column, double fill)
{
    op_use *u = &a->u;
    const ir_value top = op_map1(u, OP_floor, row), left = op_map1(u, OP_floor, column);
    const ir_value bottom = op_map_number(u, OP_add, top, 1), right = op_map_number(u, OP_add, left, 1);
    const ir_value rows[] = {top, bottom};
    ir_value line[2];
    for (int i = 0; i < 2; i++) {
        const ir_value first = read_pixels(a, x, rows[i], left, fill);
        const ir_value second = read_pixels(a, x, rows[i], right, fill);
        line[i] = augment_add(a, augment_multiply(a, widen(a, augment_subtract(a, right, column), x), first),
                              augment_multiply(a, widen(a, augment_subtract(a, column, left), x), second));
    }
    return augment_add(a, augment_multiply(a, widen(a, augment_subtract(a, bottom, row), x), line[0]),
                       augment_multiply(a, widen(a, augment_subtract(a, row, top), x), line[1]));
}

/* One of the three sums of a projection, [N, rows, columns]. */
static ir_value project_sum(augment *a, const ir_type *grid, const ir_value part[2], ir_value last)
{
    const int64_t first[] = {0};
    ir_value sum = IR_NONE;
    for (int i = 0; i < 2; i++) {
        if (part[i] == IR_NONE) continue;
        ir_value term = ir_build_broadcast_in_dim(a->l->g, part[i], grid, first);
        term = augment_multiply(a, term, ir_build_iota(a->l->g, *grid, 2 - i));
        sum = sum == IR_NONE ? term : augment_add(a, sum, term);
    }
    return augment_add(a, sum, ir_build_broadcast_in_dim(a->l->g, last, grid, first));
}

bool augment_project(augment *a, const augment_state *s, ir_value x, const augment_projection *p,
                     ir_value *out)
{
    op_use *u = &a->u;
    const ir_type grid = ir_type_make(DTYPE_f32, 3, a->type.dim);
    ir_value at[2] = {project_sum(a, &grid, p->a, p->a[2]), project_sum(a, &grid, p->b, p->b[2])},
             flat = IR_NONE;
    if (a->l->training && !augment_untrained_check(a, x)) return false;
    if (p->c[0] != IR_NONE) {
        const ir_value below =
            project_sum(a, &grid, p->c, ir_build_fill(a->l->g, augment_rows(a, DTYPE_f32), 1));
        flat = op_compare_number(u, "EQ", below, 0);
        const ir_value safe = op_choose(u, flat, op_number(u, below, 1), below);
        for (int i = 0; i < 2; i++) at[i] = op_map2(u, OP_divide, at[i], safe);
    }
    for (int i = 0; i < 2; i++) at[i] = fold(a, s->fill_mode, at[i], a->type.dim[2 - i].count);
    x = ir_build_convert(a->l->g, x, DTYPE_f32);
    const double fill = s->fill_value[0];
    ir_value y = s->bilinear ? interpolate(a, x, at[1], at[0], fill)
                             : read_pixels(a, x, round_away(a, at[1]), round_away(a, at[0]), fill);
    if (flat != IR_NONE) {
        const ir_type all = ir_type_with_dtype(op_type(u, y), DTYPE_i1);
        flat = ir_build_broadcast_in_dim(a->l->g, flat, &all, (int64_t[]){0, 1, 2});
        y = op_choose(u, flat, op_number(u, y, fill), y);
    }
    *out = ir_build_convert(a->l->g, y, a->type.dtype);
    return true;
}
