/* augment_histogram.c: AutoContrast, Equalization and ContrastLimitedAdaptiveHistogramEqualization. */
#include "frontend/augment.h"

#include <math.h>

static const double bytes[2] = {0, 255};

/* ---- AutoContrast ------------------------------------------------------------------------ */

/* The extremes are taken over axes 1 and 2 as the layer was given the images, channels first or not. A flat
 * channel stays as it was. */
bool augment_apply_auto_contrast(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                                 ir_value *out)
{
    static const int64_t plane[] = {1, 2}, channels_first[] = {1, 3};
    const int64_t *axes = s->channels_first ? channels_first : plane;
    op_use *u = &a->u;
    (void)draw;
    const ir_value given = x;
    x = augment_range(a, x, s->range, bytes);
    const ir_value low = ir_build_reduce(a->l->g, "minimum", x, 2, axes, false);
    const ir_value high = ir_build_reduce(a->l->g, "maximum", x, 2, axes, false);
    const ir_value flat = op_compare(u, "EQ", low, high);
    const ir_value width = op_choose(u, flat, op_number(u, low, 1), augment_subtract(a, high, low));
    const ir_value scale = op_map2(u, OP_divide, op_fill(u, width, 255), width);
    const ir_value offset = augment_multiply(a, op_map1(u, OP_negate, low), scale);
    ir_value y = augment_multiply(a, x, fe_spread(a->l, scale, a->type, 2, axes));
    y = augment_clip(a, augment_add(a, y, fe_spread(a->l, offset, a->type, 2, axes)), 0, 255);
    y = augment_range(a, y, bytes, s->range);
    *out = op_choose(u, fe_spread(a->l, flat, a->type, 2, axes), given, y);
    return true;
}

/* ---- Equalization ------------------------------------------------------------------------ */

bool augment_read_bins(fe_config *c, augment_state *s)
{
    const json_at at = fe_key(c, "bins");
    if (!fe_size_read(c, "bins", 256, &s->count)) return false;
    return s->count <= 1 << 16 || fe_error(c->fe, &at, "expected at most %d bins", 1 << 16);
}

/* How many values [N, rows, columns] in 0 .. 255 fall in each of `bins`, i32 [bins]. */
static ir_value count_values(augment *a, ir_value x, int64_t bins)
{
    op_use *u = &a->u;
    x = op_map_number(u, OP_divide, op_map_number(u, OP_multiply, x, (double)(bins - 1)), 255);
    ir_value index = ir_build_convert(a->l->g, x, DTYPE_i32);
    index = op_flatten(u, augment_clip(a, index, 0, (double)(bins - 1)));
    const ir_dim dim = ir_fixed(bins);
    const ir_value none = ir_build_fill(a->l->g, ir_type_make(DTYPE_i32, 1, &dim), 0);
    return op_scatter(u, "add", none, op_insert_dim(u, index, 1), op_fill(u, index, 1));
}

static ir_value scale_values(augment *a, ir_value x, const double from[2], const double to[2])
{
    const double scale = (to[1] - to[0]) / (from[1] - from[0]);
    return op_map_number(&a->u, OP_add, op_map_number(&a->u, OP_multiply, x, scale), to[0] - from[0] * scale);
}

/* One channel [N, rows, columns]: all images of a batch share a histogram. */
static ir_value equalize(augment *a, const augment_state *s, ir_value x)
{
    op_use *u = &a->u;
    x = scale_values(a, x, s->range, bytes);
    const ir_value count = count_values(a, x, s->count);
    const ir_value used = op_reduce(
        u, "add", ir_build_convert(a->l->g, op_compare_number(u, "NE", count, 0), DTYPE_i32), 0, false);
    const ir_value sum = ir_build_cumulative(a->l->g, "add", count, 0, false, false);
    const ir_value reached =
        op_choose(u, op_compare_number(u, "NE", sum, 0), sum, op_number(u, sum, INT32_MAX));
    const ir_value least = op_reduce(u, "minimum", reached, 0, true);
    const ir_value above =
        augment_subtract(a, sum, ir_build_broadcast_to(a->l->g, least, ir_type_of(a->l->g, sum)));
    ir_value below = augment_subtract(a, op_slice_dim(u, sum, 0, s->count - 1, s->count), least);
    below = op_choose(u, op_compare_number(u, "EQ", below, 0), op_number(u, below, 1), below);
    ir_value table = ir_build_convert(a->l->g, op_map_number(u, OP_multiply, above, 255), DTYPE_f32);
    table = op_map2(u, OP_divide, table, ir_build_convert(a->l->g, below, DTYPE_f32));
    table = augment_clip(a, op_map1(u, OP_round_nearest_even, table), 0, 255);
    ir_value index =
        op_map_number(u, OP_multiply, op_map_number(u, OP_divide, x, 255), (double)(s->count - 1));
    index = ir_build_convert(a->l->g, augment_clip(a, index, 0, (double)(s->count - 1)), DTYPE_i32);
    ir_value y = ir_build_convert(a->l->g, op_take(u, table, index, 0), a->type.dtype);
    y = op_choose(u, op_compare_number(u, "LE", used, 1), x, y);
    return scale_values(a, y, bytes, s->range);
}

bool augment_apply_equalization(augment *a, const augment_state *s, ir_value x, const ir_value *draw,
                                ir_value *out)
{
    enum { MOST = 64 };
    const int64_t channels = a->type.dim[3].count;
    ir_value part[MOST];
    (void)draw;
    if (channels > MOST) return op_fail_shape(&a->u, "images of at most 64 channels", &a->type);
    for (int64_t i = 0; i < channels; i++) {
        const ir_value one = op_drop_dim(&a->u, op_slice_dim(&a->u, x, 3, i, i + 1), 3);
        part[i] = op_insert_dim(&a->u, equalize(a, s, one), 3);
    }
    *out = ir_build_concatenate(a->l->g, (int)channels, part, 3);
    return true;
}

/* ---- tiles ------------------------------------------------------------------------------- */

bool augment_read_tiles(fe_config *c, augment_state *s)
{
    return fe_config_number_or(c, "clip_limit", 4, &s->amount) &&
           fe_sizes_read(c, "tile_grid_size", 2, 1, 8, s->size);
}

/* Rows (i 0) or columns of the image are mirrored at the end to make the tiles whole. */
static bool pad_tiles(augment *a, const int64_t tile[2], const int64_t count[2], ir_value *x)
{
    for (int i = 0; i < 2; i++) {
        const int64_t axis = 1 + i, size = a->type.dim[axis].count, more = tile[i] * count[i] - size;
        if (more > size)
            return op_fail_shape(&a->u, "images of at least half the size of the grid of tiles", &a->type);
        if (more == 0) continue;
        const ir_value part[] = {
            *x, ir_build_reverse(a->l->g, op_slice_dim(&a->u, *x, axis, size - more, size), 1, &axis)};
        *x = ir_build_concatenate(a->l->g, 2, part, (int)axis);
    }
    return true;
}

/* The histograms of the tiles, [N, tiles down, tiles across, channels, 256]; IR_NONE after a diagnostic. */
static ir_value count_tiles(augment *a, const int64_t tile[2], const int64_t count[2], ir_value x)
{
    static const int64_t order[] = {0, 1, 3, 5, 2, 4};
    const ir_dim n = a->type.dim[0], channels = a->type.dim[3];
    const ir_dim cut[] = {
        n, ir_fixed(count[0]), ir_fixed(tile[0]), ir_fixed(count[1]), ir_fixed(tile[1]), channels};
    const ir_dim all[] = {n,        ir_fixed(count[0]),          ir_fixed(count[1]),
                          channels, ir_fixed(tile[0] * tile[1]), ir_fixed(256)};
    const ir_type t = ir_type_make(DTYPE_i32, 6, all);
    const int64_t pixels = 4, kept[] = {0, 1, 2, 3, 4};
    if (!fe_size_check(a->l, a->layer, &t)) return IR_NONE;
    x = augment_clip(a, ir_build_convert(a->l->g, x, DTYPE_i32), 0, 255);
    x = ir_build_reshape(a->l->g, ir_build_transpose(a->l->g, ir_build_reshape(a->l->g, x, 6, cut), order), 5,
                         all);
    const ir_value hit = op_compare(&a->u, "EQ", ir_build_broadcast_in_dim(a->l->g, x, &t, kept),
                                    ir_build_iota(a->l->g, t, 5));
    return ir_build_reduce(a->l->g, "add", ir_build_convert(a->l->g, hit, DTYPE_f32), 1, &pixels, false);
}

/* What stands above the limit is spread over all bins; then running sums in 0 .. 255. */
static ir_value map_tiles(augment *a, ir_value count, double limit, double pixels)
{
    op_use *u = &a->u;
    const ir_type t = op_type(u, count);
    if (limit > 0) {
        const ir_value clipped = augment_clip(a, count, 0, limit);
        ir_value more = op_reduce(u, "add", augment_subtract(a, count, clipped), 4, true);
        more = op_map_number(u, OP_divide, more, 256);
        count = augment_add(a, clipped, ir_build_broadcast_to(a->l->g, more, &t));
    }
    const ir_value sum = ir_build_cumulative(a->l->g, "add", count, 4, false, false);
    const ir_value least = op_reduce(u, "minimum", sum, 4, true);
    const ir_value above = op_map_number(
        u, OP_multiply, augment_subtract(a, sum, ir_build_broadcast_to(a->l->g, least, &t)), 255);
    ir_value below = augment_subtract(a, op_fill(u, least, pixels), least);
    below = op_choose(u, op_compare_number(u, "EQ", below, 0), op_number(u, below, 1), below);
    return augment_clip(a, op_map2(u, OP_divide, above, ir_build_broadcast_to(a->l->g, below, &t)), 0, 255);
}

/* Along one axis: which two tiles (with an edge of one around the grid) a pixel lies between, and how far. */
typedef struct between {
    ir_value tile[2], far;
} between;

static between find_between(augment *a, const ir_type *grid, int axis, int64_t tile, int64_t count)
{
    const int64_t size = tile * count;
    int32_t *place[2] = {arena_array(a->l->fe->arena, int32_t, (size_t)size),
                         arena_array(a->l->fe->arena, int32_t, (size_t)size)};
    float *far = arena_array(a->l->fe->arena, float, (size_t)size);
    const ir_dim dim = ir_fixed(size);
    const int64_t at[] = {axis};
    for (int64_t i = 0; i < size; i++) {
        const float where = ((float)i - (float)tile / 2) / (float)tile + 1, whole = floorf(where);
        far[i] = where - whole;
        for (int k = 0; k < 2; k++)
            place[k][i] = (int32_t)base_min(base_max((int64_t)whole + k, 0), count + 1);
    }
    between b;
    for (int k = 0; k < 2; k++)
        b.tile[k] = ir_build_broadcast_in_dim(a->l->g, op_constant_i32(&a->u, size, place[k]), grid, at);
    const ir_type real = ir_type_with_dtype(*grid, DTYPE_f32);
    b.far = ir_build_broadcast_in_dim(
        a->l->g, ir_build_constant(a->l->g, ir_type_make(DTYPE_f32, 1, &dim), far), &real, at);
    return b;
}

/* near + far * (b - a) as Keras writes it: a (1 - far) + b far. */
static ir_value mix(augment *a, ir_value first, ir_value second, ir_value far)
{
    const ir_value rest = augment_subtract(a, op_fill(&a->u, far, 1), far);
    return augment_add(a, augment_multiply(a, first, rest), augment_multiply(a, second, far));
}

/* Each pixel through the maps of the four tiles around it. table: [N, down + 2, across + 2, channels, 256].
 */
static ir_value apply_tiles(augment *a, ir_value x, ir_value table, const int64_t tile[2],
                            const int64_t count[2])
{
    op_use *u = &a->u;
    const ir_type t = ir_type_with_dtype(op_type(u, x), DTYPE_i32);
    const int64_t channels = t.dim[3].count, across = channels * 256, down = across * (count[1] + 2);
    const ir_dim flat[] = {t.dim[0], ir_fixed(down * (count[0] + 2))};
    const ir_dim pixels[] = {t.dim[0], ir_fixed(t.dim[1].count * t.dim[2].count * channels)};
    const between row = find_between(a, &t, 1, tile[0], count[0]),
                  column = find_between(a, &t, 2, tile[1], count[1]);
    ir_value base = ir_build_convert(a->l->g, augment_clip(a, x, 0, 255), DTYPE_i32), line[2];
    base = augment_add(a, base, op_map_number(u, OP_multiply, ir_build_iota(a->l->g, t, 3), 256));
    table = ir_build_reshape(a->l->g, table, 2, flat);
    for (int i = 0; i < 2; i++) {
        ir_value corner[2];
        for (int k = 0; k < 2; k++) {
            ir_value index = augment_add(a, base, op_map_number(u, OP_multiply, row.tile[i], (double)down));
            index = augment_add(a, index, op_map_number(u, OP_multiply, column.tile[k], (double)across));
            const ir_value picked = augment_pick(a, table, ir_build_reshape(a->l->g, index, 2, pixels));
            corner[k] = ir_build_reshape(a->l->g, picked, 4, t.dim);
        }
        line[i] = mix(a, corner[0], corner[1], column.far);
    }
    return mix(a, line[0], line[1], row.far);
}

bool augment_apply_tiles(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out)
{
    const int64_t *count = s->size, rows = a->type.dim[1].count, columns = a->type.dim[2].count;
    const int64_t tile[] = {(rows + count[0] - 1) / count[0], (columns + count[1] - 1) / count[1]};
    const double pixels = (double)(tile[0] * tile[1]);
    (void)draw;
    if (count[0] > 1 << 12 || count[1] > 1 << 12) return op_fail_shape(&a->u, "fewer tiles", &a->type);
    x = ir_build_convert(a->l->g, augment_range(a, x, s->range, bytes), DTYPE_f32);
    if (!pad_tiles(a, tile, count, &x)) return false;
    ir_value table = count_tiles(a, tile, count, x);
    if (table == IR_NONE) return false;
    table = map_tiles(a, table, s->amount * pixels / 256, pixels);
    for (int axis = 1; axis <= 2; axis++) {
        const int64_t last = count[axis - 1];
        const ir_value part[] = {op_slice_dim(&a->u, table, axis, 0, 1), table,
                                 op_slice_dim(&a->u, table, axis, last - 1, last)};
        table = ir_build_concatenate(a->l->g, 3, part, axis);
    }
    x = apply_tiles(a, x, table, tile, count);
    x = op_slice_dim(&a->u, op_slice_dim(&a->u, x, 1, 0, rows), 2, 0, columns);
    *out = augment_range(a, x, bytes, s->range);
    return true;
}
