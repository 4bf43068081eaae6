/* augment_affine.c: rotation, translation, zoom, shear and perspective of images: the numbers of their
 * projections. */
#include "frontend/augment.h"

#include <math.h>

/* One number an image, the same for all. */
static ir_value fill_rows(augment *a, double number)
{
    return ir_build_fill(a->l->g, augment_rows(a, DTYPE_f32), number);
}

static double rows_of(const augment *a) { return (double)a->type.dim[1].count; }
static double columns_of(const augment *a) { return (double)a->type.dim[2].count; }

/* ---- rotation ---------------------------------------------------------------------------- */

bool augment_draw_rotation(augment *a, const augment_state *s, ir_value *draw)
{
    const ir_value degrees = augment_uniform_rows(a, s->factor[0][0] * 360, s->factor[0][1] * 360);
    draw[0] = op_map_number(&a->u, OP_multiply, degrees, 3.14159265358979323846 / 180);
    return true;
}

/* centre - centre_x * first - centre_y * second. */
static ir_value shift_centre(augment *a, double centre, ir_value first, ir_value second)
{
    ir_value shift = augment_subtract(a, fill_rows(a, centre),
                                      op_map_number(&a->u, OP_multiply, first, 0.5 * (columns_of(a) - 1)));
    return augment_subtract(a, shift, op_map_number(&a->u, OP_multiply, second, 0.5 * (rows_of(a) - 1)));
}

bool augment_apply_rotation(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                            ir_value *out)
{
    const ir_value cosine = op_map1(&a->u, OP_cosine, draw[0]), sine = op_map1(&a->u, OP_sine, draw[0]);
    const ir_value minus = op_map1(&a->u, OP_negate, sine);
    const augment_projection p = {
        .a = {cosine, minus, shift_centre(a, 0.5 * (columns_of(a) - 1), cosine, minus)},
        .b = {sine, cosine, shift_centre(a, 0.5 * (rows_of(a) - 1), sine, cosine)},
        .c = {IR_NONE, IR_NONE}};
    return augment_project(a, s, x, &p, out);
}

/* ---- translation, zoom ------------------------------------------------------------------- */

bool augment_draw_translation(augment *a, const augment_state *s, ir_value *draw)
{
    for (int i = 0; i < 2; i++) {
        draw[i] = augment_uniform_rows(a, s->factor[i][0], s->factor[i][1]);
        draw[i] = op_map_number(&a->u, OP_multiply, draw[i], (double)a->type.dim[1 + i].count);
    }
    return true;
}

bool augment_apply_translation(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                               ir_value *out)
{
    const augment_projection p = {.a = {fill_rows(a, 1), IR_NONE, op_map1(&a->u, OP_negate, draw[1])},
                                  .b = {IR_NONE, fill_rows(a, 1), op_map1(&a->u, OP_negate, draw[0])},
                                  .c = {IR_NONE, IR_NONE}};
    return augment_project(a, s, x, &p, out);
}

bool augment_draw_zoom(augment *a, const augment_state *s, ir_value *draw)
{
    draw[0] = augment_uniform_rows(a, 1 + s->factor[0][0], 1 + s->factor[0][1]);
    draw[1] = draw[0];
    if (s->has_factor[1]) draw[1] = augment_uniform_rows(a, 1 + s->factor[1][0], 1 + s->factor[1][1]);
    return true;
}

bool augment_apply_zoom(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out)
{
    ir_value offset[2];
    for (int i = 0; i < 2; i++) {
        const ir_value rest = augment_subtract(a, fill_rows(a, 1), draw[i]);
        offset[i] = op_map_number(&a->u, OP_multiply, rest, (double)(a->type.dim[1 + i].count - 1) / 2);
    }
    const augment_projection p = {
        .a = {draw[1], IR_NONE, offset[1]}, .b = {IR_NONE, draw[0], offset[0]}, .c = {IR_NONE, IR_NONE}};
    return augment_project(a, s, x, &p, out);
}

/* ---- shear ------------------------------------------------------------------------------- */

bool augment_draw_shear(augment *a, const augment_state *s, ir_value *draw)
{
    const ir_type rows = augment_rows(a, a->type.dtype);
    const ir_value u = augment_uniform(a, rows, 0, 1);
    const ir_value sign =
        op_choose(&a->u, op_compare_number(&a->u, "GT", u, 0.5), op_fill(&a->u, u, -1), op_fill(&a->u, u, 1));
    for (int i = 1; i >= 0; i--) {
        draw[i] = augment_multiply(a, augment_uniform(a, rows, s->factor[i][0], s->factor[i][1]), sign);
        draw[i] = ir_build_convert(a->l->g, draw[i], DTYPE_f32);
    }
    return true;
}

bool augment_apply_shear(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out)
{
    const augment_projection p = {.a = {fill_rows(a, 1), draw[0], fill_rows(a, 0)},
                                  .b = {draw[1], fill_rows(a, 1), fill_rows(a, 0)},
                                  .c = {IR_NONE, IR_NONE}};
    return augment_project(a, s, x, &p, out);
}

/* ---- perspective ------------------------------------------------------------------------- */

bool augment_read_perspective(fe_config *c, augment_state *s)
{
    const json_at at = fe_key(c, "scale");
    if (!fe_config_number_or(c, "scale", 1, &s->amount)) return false;
    return (s->amount >= 0 && s->amount <= 1) ||
           fe_error(c->fe, &at, "expected a number in 0 .. 1, found %g", s->amount);
}

/* The corners of the images, [N, 4, 2]. */
static ir_value build_corners(augment *a, ir_dtype dtype)
{
    const float right = (float)(columns_of(a) - 1), below = (float)(rows_of(a) - 1);
    const float corner[] = {0, 0, right, 0, 0, below, right, below};
    const ir_dim dim[] = {a->type.dim[0], ir_fixed(4), ir_fixed(2)};
    const ir_type t = ir_type_make(dtype, 3, dim);
    const ir_value start = ir_build_constant(a->l->g, ir_type_make(DTYPE_f32, 2, dim + 1), corner);
    return ir_build_broadcast_in_dim(a->l->g, ir_build_convert(a->l->g, start, dtype), &t, (int64_t[]){1, 2});
}

/* draw[0]: which images are changed; draw[1]: their corners' new places [N, 4, 2]. */
bool augment_draw_perspective(augment *a, const augment_state *s, ir_value *draw)
{
    const ir_value start = build_corners(a, a->type.dtype);
    if (!augment_draw_invert(a, s, draw)) return false;
    const ir_value factor = augment_uniform(a, op_type(&a->u, start), -0.5 * s->amount, 0.5 * s->amount);
    draw[1] = augment_add(a, start, augment_multiply(a, start, factor));
    draw[1] = ir_build_convert(a->l->g, draw[1], DTYPE_f32);
    return true;
}

/* Corner i, coordinate j as [N, 1]. */
static ir_value take_corner(augment *a, ir_value corners, int i, int j)
{
    const ir_value row = op_slice_dim(&a->u, corners, 1, i, i + 1);
    return op_drop_dim(&a->u, op_slice_dim(&a->u, row, 2, j, j + 1), 2);
}

/* The system [N, 8, 9] (right side last) whose solution takes the new corners to the old ones. */
static ir_value build_system(augment *a, ir_value from, ir_value corners)
{
    const ir_dim dim[] = {a->type.dim[0], ir_fixed(1)};
    const ir_type one = ir_type_make(DTYPE_f32, 2, dim);
    const ir_value zero = ir_build_fill(a->l->g, one, 0), unit = ir_build_fill(a->l->g, one, 1);
    ir_value row[8];
    for (int i = 0; i < 8; i++) {
        const int corner = i / 2, axis = i % 2;
        const ir_value old = take_corner(a, from, corner, axis), less = op_map1(&a->u, OP_negate, old);
        const ir_value x = take_corner(a, corners, corner, 0), y = take_corner(a, corners, corner, 1);
        ir_value cell[9];
        for (int j = 0; j < 6; j++) cell[j] = j / 3 != axis ? zero : j % 3 == 0 ? x : j % 3 == 1 ? y : unit;
        cell[6] = augment_multiply(a, less, x);
        cell[7] = augment_multiply(a, less, y);
        cell[8] = old;
        row[i] = op_insert_dim(&a->u, ir_build_concatenate(a->l->g, 9, cell, 1), 1);
    }
    return ir_build_concatenate(a->l->g, 8, row, 1);
}

/* Exchanges row k of m [N, 8, 9] with the row below it whose column k is largest. */
static ir_value exchange_rows(augment *a, ir_value m, int k)
{
    op_use *u = &a->u;
    const ir_type t = op_type(u, m);
    ir_value column = op_drop_dim(u, op_slice_dim(u, op_slice_dim(u, m, 1, k, 8), 2, k, k + 1), 2);
    ir_value which = ir_build_arg_reduce(a->l->g, "maximum", op_map1(u, OP_abs, column), 1);
    which = op_map_number(u, OP_add, which, k);
    const ir_type places = ir_type_make(DTYPE_i32, 2, t.dim);
    const ir_value pivot = ir_build_broadcast_in_dim(a->l->g, which, &places, (int64_t[]){0});
    const ir_value own = ir_build_iota(a->l->g, places, 1);
    ir_value from = op_choose(u, op_compare(u, "EQ", own, pivot), op_fill(u, own, k), own);
    from = op_choose(u, op_compare_number(u, "EQ", own, k), pivot, from);
    return augment_pick(a, m, from);
}

/* Gauss's elimination with the largest pivot of a column, as a matrix library does it. */
static ir_value solve(augment *a, ir_value m)
{
    op_use *u = &a->u;
    const ir_type t = op_type(u, m);
    for (int k = 0; k < 8; k++) {
        m = exchange_rows(a, m, k);
        const ir_value row = op_slice_dim(u, m, 1, k, k + 1);
        const ir_value below =
            op_compare_number(u, "GT", ir_build_iota(a->l->g, ir_type_with_dtype(t, DTYPE_i32), 1), k);
        ir_value factor =
            op_map2(u, OP_divide, op_slice_dim(u, m, 2, k, k + 1), op_slice_dim(u, row, 2, k, k + 1));
        const ir_value less = augment_subtract(a, m,
                                               augment_multiply(a, ir_build_broadcast_to(a->l->g, factor, &t),
                                                                ir_build_broadcast_to(a->l->g, row, &t)));
        m = op_choose(u, below, less, m);
    }
    ir_value solution[8];
    for (int k = 7; k >= 0; k--) {
        const ir_value row = op_drop_dim(u, op_slice_dim(u, m, 1, k, k + 1), 1);
        ir_value sum = op_slice_dim(u, row, 1, 8, 9);
        for (int j = 7; j > k; j--)
            sum =
                augment_subtract(a, sum, augment_multiply(a, op_slice_dim(u, row, 1, j, j + 1), solution[j]));
        solution[k] = op_map2(u, OP_divide, sum, op_slice_dim(u, row, 1, k, k + 1));
    }
    return ir_build_concatenate(a->l->g, 8, solution, 1);
}

bool augment_project_corners(augment *a, const augment_state *s, ir_value x, ir_value from, ir_value to,
                             ir_value *out)
{
    const ir_value all = solve(a, build_system(a, from, to));
    ir_value number[8];
    for (int i = 0; i < 8; i++) number[i] = op_drop_dim(&a->u, op_slice_dim(&a->u, all, 1, i, i + 1), 1);
    const augment_projection p = {.a = {number[0], number[1], number[2]},
                                  .b = {number[3], number[4], number[5]},
                                  .c = {number[6], number[7]}};
    return augment_project(a, s, x, &p, out);
}

bool augment_apply_perspective(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                               ir_value *out)
{
    ir_value y;
    if (!augment_project_corners(a, s, x, build_corners(a, DTYPE_f32), draw[1], &y)) return false;
    *out = augment_choose(a, draw[0], y, x);
    return true;
}
