/* augment_mix.c: augmentation that covers parts of images or mixes images of a batch. */
#include "frontend/augment.h"

/* ---- boxes ------------------------------------------------------------------------------- */

/* Where a box of ratio[N] of `size` starts and ends, [N] each. */
static void draw_bounds(augment *a, ir_value ratio, int64_t size, ir_value bound[2])
{
    const ir_type rows = augment_rows(a, a->type.dtype);
    const ir_value length = op_map_number(&a->u, OP_multiply, ratio, (double)size);
    const ir_value rest = augment_subtract(a, op_fill(&a->u, length, (double)size), length);
    bound[0] = augment_multiply(a, augment_uniform(a, rows, 0, 1), rest);
    bound[1] = augment_add(a, bound[0], length);
}

/* i1 over the images: column in x, row in y. */
static ir_value cover_box(augment *a, const ir_value x[2], const ir_value y[2])
{
    const ir_value *bound[] = {y, x};
    ir_value inside = IR_NONE;
    for (int i = 0; i < 2; i++) {
        const ir_value at = ir_build_iota(a->l->g, a->type, 1 + i);
        const ir_value here =
            op_map2(&a->u, OP_and, op_compare(&a->u, "GE", at, augment_spread(a, bound[i][0], at)),
                    op_compare(&a->u, "LT", at, augment_spread(a, bound[i][1], at)));
        inside = i == 0 ? here : op_map2(&a->u, OP_and, inside, here);
    }
    return inside;
}

/* ---- RandomErasing ----------------------------------------------------------------------- */

bool augment_read_fill(fe_config *c, augment_state *s)
{
    const json_at at = fe_key(c, "fill_value");
    const cJSON *j = fe_config_item(c, "fill_value");
    if (!s->has_factor[1]) {
        s->factor[1][0] = 0.02;
        s->factor[1][1] = 0.33;
    }
    if (!j) return true;
    s->fill_count = cJSON_IsArray(j) ? 3 : 1;
    const cJSON *item = cJSON_IsArray(j) ? j->child : j;
    bool ok = s->fill_count == 1 || cJSON_GetArraySize(j) == 3;
    for (int i = 0; ok && i < s->fill_count; i++, item = item->next) {
        ok = cJSON_IsNumber(item);
        if (ok) s->fill_value[i] = item->valuedouble;
    }
    return ok ||
           fe_error(c->fe, &at, "expected a number or a list of three, found %s", fe_json_show(c->fe, j));
}

static bool build_fill(augment *a, const augment_state *s, ir_value *out)
{
    static const int64_t to_last[] = {0, 2, 3, 1};
    const ir_type t = a->type;
    ir_value fill;
    if (s->fill_count == 0) {
        ir_type shape = ir_type_with_dtype(t, DTYPE_f32);
        const ir_dim first[] = {t.dim[0], t.dim[3], t.dim[1], t.dim[2]};
        if (s->channels_first) shape = ir_type_make(DTYPE_f32, 4, first);
        fill = ir_build_random_normal(a->l->g, augment_seed(a), shape);
        if (s->channels_first) fill = ir_build_transpose(a->l->g, fill, to_last);
        fill = op_map_number(&a->u, OP_multiply, ir_build_convert(a->l->g, fill, t.dtype), s->range[1]);
    } else if (s->fill_count == 1) {
        fill = ir_build_fill(a->l->g, t, s->fill_value[0]);
    } else {
        const float number[] = {(float)s->fill_value[0], (float)s->fill_value[1], (float)s->fill_value[2]};
        const ir_dim three = ir_fixed(3);
        if (s->channels_first)
            return op_error(
                &a->u,
                "three fill values with channels first are not supported: Keras takes them for columns");
        if (!augment_colours_check(a)) return false;
        fill = ir_build_constant(a->l->g, ir_type_make(DTYPE_f32, 1, &three), number);
        fill = ir_build_broadcast_to(a->l->g, ir_build_convert(a->l->g, fill, t.dtype), &t);
    }
    *out = augment_clip(a, fill, s->range[0], s->range[1]);
    return true;
}

bool augment_draw_erasing(augment *a, const augment_state *s, ir_value *draw)
{
    const ir_dim dim[] = {a->type.dim[0], ir_fixed(2)};
    ir_value ratio =
        augment_uniform(a, ir_type_make(a->type.dtype, 2, dim), s->factor[1][0], s->factor[1][1]);
    ir_value bound[2][2];
    ratio = op_map1(&a->u, OP_sqrt, ratio);
    for (int i = 0; i < 2; i++) {
        const ir_value own = op_drop_dim(&a->u, op_slice_dim(&a->u, ratio, 1, i, i + 1), 1);
        draw_bounds(a, own, a->type.dim[2 - i].count, bound[i]);
    }
    draw[1] = cover_box(a, bound[0], bound[1]);
    return augment_draw_invert(a, s, draw) && build_fill(a, s, &draw[2]);
}

bool augment_apply_erasing(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                           ir_value *out)
{
    (void)s;
    *out = augment_choose(a, draw[0], op_choose(&a->u, draw[1], draw[2], x), x);
    return true;
}

/* ---- permutations ------------------------------------------------------------------------ */

/* A pass of a radix sort along the batch: the order [N] that brings digits [N] in 0 .. 63 together, stable.
 */
static ir_value order_digits(augment *a, ir_value digit)
{
    enum { DIGITS = 64 };
    op_use *u = &a->u;
    const ir_dim dim[] = {a->type.dim[0], ir_fixed(DIGITS)};
    const ir_type t = ir_type_make(DTYPE_i32, 2, dim);
    const ir_value spread = ir_build_broadcast_in_dim(a->l->g, digit, &t, (int64_t[]){0});
    const ir_value hit =
        ir_build_convert(a->l->g, op_compare(u, "EQ", spread, ir_build_iota(a->l->g, t, 1)), DTYPE_i32);
    const ir_value before = ir_build_cumulative(a->l->g, "add", hit, 0, false, true);
    const ir_value start =
        ir_build_cumulative(a->l->g, "add", op_reduce(u, "add", hit, 0, false), 0, false, true);
    const ir_value place = augment_add(a, before, ir_build_broadcast_to(a->l->g, start, &t));
    const ir_value own = op_reduce(u, "add", augment_multiply(a, place, hit), 1, false);
    const ir_value index = ir_build_iota(a->l->g, augment_rows(a, DTYPE_i32), 0);
    return op_scatter(u, "replace", op_fill(u, index, 0), op_insert_dim(u, own, 1), index);
}

/* Keras's shuffle of 0 .. N - 1: the order of uniform numbers, which have 23 bits. */
static ir_value draw_order(augment *a)
{
    op_use *u = &a->u;
    const ir_value words = ir_build_random_words(a->l->g, augment_seed(a), augment_rows(a, DTYPE_u32));
    ir_value key = ir_build_convert(a->l->g, op_map_number(u, OP_and, words, 0x7fffff), DTYPE_i32),
             order = IR_NONE;
    for (int shift = 0; shift < 24; shift += 6) {
        ir_value digit = op_map_number(u, OP_and, op_map_number(u, OP_shift_right_logical, key, shift), 63);
        const ir_value pass = order_digits(a, digit);
        key = ir_build_take_rows(a->l->g, key, pass);
        order = order == IR_NONE ? pass : ir_build_take_rows(a->l->g, order, pass);
    }
    return order;
}

/* ---- MixUp, CutMix ----------------------------------------------------------------------- */

bool augment_read_alpha(fe_config *c, augment_state *s)
{
    const json_at at = fe_key(c, "alpha");
    if (!fe_config_number_or(c, "alpha", 0.2, &s->amount)) return false;
    return s->amount > 0 || fe_error(c->fe, &at, "expected a positive number, found %g", s->amount);
}

bool augment_draw_mix_up(augment *a, const augment_state *s, ir_value *draw)
{
    const ir_value alpha = ir_build_fill(a->l->g, augment_rows(a, DTYPE_f32), s->amount);
    draw[0] = draw_order(a);
    draw[1] = fe_random_beta(a->l, augment_seed(a), alpha);
    return true;
}

bool augment_apply_mix_up(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out)
{
    (void)s;
    const ir_value weight = augment_spread(a, draw[1], x);
    const ir_value rest = augment_subtract(a, op_fill(&a->u, weight, 1), weight);
    const ir_value other = ir_build_take_rows(a->l->g, x, draw[0]);
    *out = augment_add(a, augment_multiply(a, weight, x), augment_multiply(a, rest, other));
    return true;
}

bool augment_draw_cut_mix(augment *a, const augment_state *s, ir_value *draw)
{
    op_use *u = &a->u;
    const ir_type rows = augment_rows(a, a->type.dtype);
    ir_value alpha = augment_uniform(a, ir_type_scalar(rows.dtype), s->factor[0][0], s->factor[0][1]),
             bound[2][2];
    alpha = ir_build_broadcast_to(a->l->g, op_map_number(u, OP_add, alpha, 1e-6), &rows);
    const ir_value mix = fe_random_beta(a->l, augment_seed(a), ir_build_convert(a->l->g, alpha, DTYPE_f32));
    ir_value ratio = ir_build_convert(a->l->g, mix, rows.dtype);
    ratio = op_map1(u, OP_sqrt, augment_subtract(a, op_fill(u, ratio, 1), ratio));
    for (int i = 0; i < 2; i++) draw_bounds(a, ratio, a->type.dim[2 - i].count, bound[i]);
    draw[0] = cover_box(a, bound[0], bound[1]);
    draw[1] = draw_order(a);
    return true;
}

bool augment_apply_cut_mix(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                           ir_value *out)
{
    (void)s;
    *out = op_choose(&a->u, draw[0], ir_build_take_rows(a->l->g, x, draw[1]), x);
    return true;
}
