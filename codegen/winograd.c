/* winograd.c: what both kinds share, see winograd.h. */
#include "codegen/winograd.h"

#include <math.h>
#include <string.h>

/* The polynomials are taken at 0, +-1 and infinity, or at 0, +-3/4, +-3/2 and infinity: for the larger tile these
 * points leave a sixth of the rounding error that 0, +-1, +-2 do (Barabasz et al., "Error analysis and improving the
 * accuracy of Winograd convolution for deep neural networks", 2020). */
static const winograd_form forms[] = {
    {.step = 2, .tile = 4, .places = 16,
     .image = {4, 4, {1, 0, -1, 0, 0, 1, 1, 0, 0, -1, 1, 0, 0, -1, 0, 1}},
     .kernel = {4, 3, {1, 0, 0, .5, .5, .5, .5, -.5, .5, 0, 0, 1}},
     .result = {2, 4, {1, 1, 1, 0, 0, 1, -1, 1}}},
    {.step = 4, .tile = 6, .places = 36,
     .image = {6, 6, {1.265625, 0, -2.8125, 0, 1, 0,
                      0, -1.6875, -2.25, 0.75, 1, 0,
                      0, 1.6875, -2.25, -0.75, 1, 0,
                      0, -0.84375, -0.5625, 1.5, 1, 0,
                      0, 0.84375, -0.5625, -1.5, 1, 0,
                      0, 1.265625, 0, -2.8125, 0, 1}},
     .kernel = {6, 3, {64.0 / 81, 0, 0,
                      -128.0 / 243, -32.0 / 81, -8.0 / 27,
                      -128.0 / 243, 32.0 / 81, -8.0 / 27,
                      32.0 / 243, 16.0 / 81, 8.0 / 27,
                      32.0 / 243, -16.0 / 81, 8.0 / 27,
                      0, 0, 1}},
     .result = {4, 6, {1, 1, 1, 1, 1, 0,
                      0, 0.75, -0.75, 1.5, -1.5, 0,
                      0, 0.5625, 0.5625, 2.25, 2.25, 0,
                      0, 0.421875, -0.421875, 3.375, -3.375, 1}}}};

const winograd_form *winograd_form_of(const ir_node *n)
{
    const int64_t step = ir_attr_int(n, ATTR_winograd, 0);
    for (size_t i = 0; i < countof(forms); i++) {
        if (forms[i].step == step) return &forms[i];
    }
    bug("no tiles of %lld results", (long long)step);
}

bool winograd_is_taps(const ir_node *n) { return strcmp(ir_attr_text(n, ATTR_lhs_layout), "b01f") == 0; }

/* Taps: products and transformed operands fill two to three MiB, of which those of one place are in use at a time. */
cg_tiles winograd_tiles_usual(const cg_target *t, int step, const ir_node *n)
{
    enum { PLACES = 2400, RESULTS = 128, CHANNELS = 64 };       /* of all tiles of a block of taps */
    enum { OF_CHANNELS = 128, OF_RESULTS = 128, OF_TILES = 64 }; /* of a block of weights */
    const int64_t places = (step + WINOGRAD_KERNEL - 1) * (step + WINOGRAD_KERNEL - 1);
    if (winograd_is_taps(n)) return (cg_tiles){t->mr, t->nr, PLACES / places, RESULTS, CHANNELS};
    return (cg_tiles){t->mr, t->nr, OF_CHANNELS, OF_RESULTS, OF_TILES};
}

cg_tiles winograd_tiles(const cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    cg_tiles tiles = winograd_tiles_usual(c->target, winograd_form_of(n)->step, n);
    cg_tiles_find(n, &tiles);
    return tiles;
}

/* ---- transforms --------------------------------------------------------------------------------------- */

winograd_matrix winograd_transposed(const winograd_matrix *m)
{
    winograd_matrix t = {.rows = m->columns, .columns = m->rows};
    for (int i = 0; i < m->rows * m->columns; i++) t.item[i % m->columns * m->rows + i / m->columns] = m->item[i];
    return t;
}

/* The sum of factor[i] * x[i], positive factors first, so that no term has to be negated; NULL when there is none. */
static cg_value add_up(cg *c, int count, const double *factor, const cg_value *x)
{
    cg_value sum = NULL;
    for (int i = 0; i < 2 * count; i++) {
        const double f = factor[i % count];
        cg_value v = x[i % count];
        if (f == 0 || (f > 0) != (i < count)) continue;
        if (!sum)
            sum = f == 1 ? v : cg_fmul(c, v, cg_fill(c, LLVMTypeOf(v), f));
        else if (f == 1)
            sum = cg_fadd(c, sum, v);
        else if (f == -1)
            sum = cg_fsub(c, sum, v);
        else
            sum = cg_fma(c, v, cg_fill(c, LLVMTypeOf(v), f), sum);
    }
    return sum;
}

/* Rows r and r + 1 differ in signs only: they are the sum and the difference of two parts. */
static bool is_pair(const winograd_matrix *m, int r)
{
    int same = 0, turned = 0;
    for (int j = 0; r + 1 < m->rows && j < m->columns; j++) {
        const double x = m->item[r * m->columns + j], y = m->item[(r + 1) * m->columns + j];
        if (fabs(x) != fabs(y)) return false;
        same += x != 0 && x == y;
        turned += x != 0 && x == -y;
    }
    return same > 0 && turned > 0;
}

/* m times in[0], in[from], ..; to out[0], out[to], .. Columns that differ in signs only share sums as rows do. */
static void apply(cg *c, const winograd_matrix *m, const cg_value *in, int from, cg_value *out, int to)
{
    const winograd_matrix turned = winograd_transposed(m);
    cg_value sum[6] = {NULL}, difference[6] = {NULL}, part[6];
    for (int j = 0; j < m->columns; j++) {
        if (!is_pair(&turned, j)) continue;
        sum[j] = cg_fadd(c, in[j * from], in[(j + 1) * from]);
        difference[j] = cg_fsub(c, in[j * from], in[(j + 1) * from]);
        j++;
    }
    for (int r = 0; r < m->rows; r++) {
        const double *row = &m->item[r * m->columns];
        const bool pair = is_pair(m, r);
        double same[6] = {0}, other[6] = {0};
        for (int j = 0; j < m->columns; j++) {
            part[j] = sum[j] ? (row[j] == row[j + 1] ? sum[j] : difference[j]) : in[j * from];
            *(pair && row[j] != row[j + m->columns] ? &other[j] : &same[j]) = row[j];
            if (!sum[j]) continue;
            part[j + 1] = part[j];
            j++;
        }
        cg_value x = add_up(c, m->columns, same, part), y = pair ? add_up(c, m->columns, other, part) : NULL;
        out[r * to] = y ? cg_fadd(c, x, y) : x;
        if (pair) out[++r * to] = cg_fsub(c, x, y);
    }
}

void winograd_transform(cg *c, const winograd_matrix *m, const cg_value *in, cg_value *out)
{
    cg_value half[WINOGRAD_MOST];
    for (int j = 0; j < m->columns; j++) apply(c, m, in + j, m->columns, half + j, m->columns);
    for (int r = 0; r < m->rows; r++) apply(c, m, half + r * m->columns, 1, out + r * m->rows, 1);
}

void winograd_transform_store(cg *c, const winograd_matrix *m, const cg_value *in, cg_value to, int64_t distance)
{
    cg_value half[WINOGRAD_MOST], row[WINOGRAD_MOST];
    for (int j = 0; j < m->columns; j++) apply(c, m, in + j, m->columns, half + j, m->columns);
    for (int r = 0; r < m->rows; r++) {
        apply(c, m, half + r * m->columns, 1, row, 1);
        for (int j = 0; j < m->rows; j++) cg_store(c, row[j], cg_at(c, c->f32, to, cg_i64(c, (r * m->rows + j) * distance)), 4);
    }
}

/* ---- windows ------------------------------------------------------------------------------------------ */

static int64_t size_of(const cg *c, const winograd_window *w, int d) { return cg_type(c, w->image)->dim[d].count; }

void winograd_window_begin(cg *c, winograd_window *w, ir_value image, int size)
{
    *w = (winograd_window){.image = image, .size = size, .addressed = c->binding[image].source == CG_MEMORY};
    if (!w->addressed) return;
    const int64_t count = winograd_round_up(size_of(c, w, 3) + c->lanes, 16);
    w->zeros = cg_scratch(c, 4 * count);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, count), c->lanes, 0, NULL);
    cg_store(c, LLVMConstNull(cg_vector(c->f32, c->lanes)), cg_at(c, c->f32, w->zeros, l.i), 4);
    cg_loop_end(c, &l, NULL);
}

cg_value winograd_window_fits(cg *c, const winograd_window *w, const cg_value at[3])
{
    cg_value ok = NULL;
    for (int d = 1; d < 3; d++) {
        cg_value last = cg_i64(c, size_of(c, w, d) - w->size);
        cg_value low = cg_icmp(c, LLVMIntSGE, at[d], cg_i64(c, 0)), high = cg_icmp(c, LLVMIntSLE, at[d], last);
        ok = ok ? cg_and(c, ok, cg_and(c, low, high)) : cg_and(c, low, high);
    }
    return ok;
}

/* i1: line or column at[d] + i exists. */
static cg_value is_inside(cg *c, const winograd_window *w, int d, int i)
{
    return cg_icmp(c, LLVMIntULT, cg_add(c, w->at[d], cg_i64(c, i)), cg_i64(c, size_of(c, w, d)));
}

void winograd_window_set(cg *c, winograd_window *w, const cg_value at[3], bool known)
{
    for (int d = 0; d < 3; d++) w->at[d] = at[d];
    w->known = known;
    const int64_t width = size_of(c, w, 2), channels = size_of(c, w, 3);
    cg_value first = NULL;
    if (w->addressed) {
        cg_value line = cg_add(c, cg_mul(c, at[0], cg_i64(c, size_of(c, w, 1))), at[1]);
        first = cg_add(c, cg_mul(c, line, cg_i64(c, width)), at[2]);
        first = cg_at(c, c->f32, c->binding[w->image].address, cg_mul(c, first, cg_i64(c, channels)));
    }
    for (int p = 0; p < w->size * w->size; p++) {
        const int i = p / w->size, j = p % w->size;
        cg_value inside = known ? NULL : cg_and(c, is_inside(c, w, 1, i), is_inside(c, w, 2, j));
        w->pixel[p] = inside;
        if (!w->addressed) continue;
        cg_value here = cg_at(c, c->f32, first, cg_i64(c, (i * width + j) * channels));
        w->pixel[p] = known ? here : cg_select(c, inside, here, w->zeros);
    }
}

/* A pixel of a computed image. */
static cg_value compute_pixel(cg *c, const winograd_window *w, int p, cg_value channel, cg_value left)
{
    cg_value inside = w->pixel[p], at[4] = {w->at[0], NULL, NULL, channel};
    for (int d = 1; d < 3; d++) {
        at[d] = cg_add(c, w->at[d], cg_i64(c, d == 1 ? p / w->size : p % w->size));
        if (inside) at[d] = cg_select(c, inside, at[d], cg_i64(c, 0));
    }
    cg_index index = cg_index_make(c->lanes, 4, at);
    cg_index_run(&index, 3, 1);
    if (left) index.mask = cg_mask_first(c, c->lanes, left);
    cg_value v = cg_element(c, w->image, &index);
    return inside ? cg_select(c, inside, v, LLVMConstNull(LLVMTypeOf(v))) : v;
}

void winograd_window_read(cg *c, const winograd_window *w, cg_value channel, cg_value left, cg_value *out)
{
    LLVMTypeRef vector = cg_vector(c->f32, c->lanes);
    for (int p = 0; p < w->size * w->size; p++) {
        if (!w->addressed) {
            out[p] = compute_pixel(c, w, p, channel, left);
            continue;
        }
        cg_value at = cg_at(c, c->f32, w->pixel[p], channel);
        out[p] = left ? cg_load_masked(c, vector, at, 4, cg_mask_first(c, c->lanes, left)) : cg_load(c, vector, at, 4);
    }
}

void winograd_tile_split(cg *c, const int64_t tiles[2], cg_value linear, cg_value out[3])
{
    cg_value columns = cg_i64(c, tiles[1]), lines = cg_i64(c, tiles[0]), rest = cg_div(c, linear, columns);
    out[2] = cg_rem(c, linear, columns);
    out[1] = cg_rem(c, rest, lines);
    out[0] = cg_div(c, rest, lines);
}

void winograd_vectors(cg *c, cg_value begin, cg_value end, int64_t size, winograd_step *step, void *context)
{
    const bool even = size % c->lanes == 0;
    cg_value lanes = cg_i64(c, c->lanes), size_value = cg_i64(c, size);
    cg_value inside = even ? end : cg_min(c, end, cg_i64(c, size - size % c->lanes));
    cg_loop l;
    cg_loop_begin(c, &l, begin, inside, c->lanes, 0, NULL);
    step(c, l.i, NULL, context);
    cg_loop_end(c, &l, NULL);
    if (even) return;
    cg_value from = cg_add(c, begin, cg_mul(c, lanes, cg_div(c, cg_max(c, cg_sub(c, inside, begin), cg_i64(c, 0)), lanes)));
    cg_loop_begin(c, &l, from, end, c->lanes, 0, NULL);
    step(c, l.i, cg_max(c, cg_sub(c, size_value, l.i), cg_i64(c, 0)), context);
    cg_loop_end(c, &l, NULL);
}

/* ---- products ----------------------------------------------------------------------------------------- */

void winograd_products_begin(cg *c, winograd_products *p)
{
    p->address = cg_scratch(c, 4 * p->places * p->rows * p->columns);
}

cg_value winograd_products_tile(cg *c, const winograd_products *p, cg_value place, cg_value m, cg_value n)
{
    const int64_t mr = c->target->mr, nr = c->target->nr;
    cg_value at = cg_mul(c, place, cg_i64(c, p->rows * p->columns));
    at = cg_add(c, at, cg_mul(c, cg_div(c, n, cg_i64(c, nr)), cg_i64(c, p->rows * nr)));
    at = cg_add(c, at, cg_mul(c, cg_div(c, m, cg_i64(c, mr)), cg_i64(c, mr * nr)));
    return cg_at(c, c->f32, p->address, at);
}

void winograd_products_load(cg *c, const winograd_products *p, cg_value m, cg_value n, cg_value *out)
{
    const int64_t nr = c->target->nr;
    cg_value inner = cg_add(c, cg_mul(c, cg_rem(c, m, cg_i64(c, c->target->mr)), cg_i64(c, nr)), cg_rem(c, n, cg_i64(c, nr)));
    cg_value base = cg_at(c, c->f32, winograd_products_tile(c, p, cg_i64(c, 0), m, n), inner);
    for (int i = 0; i < p->places; i++) {
        out[i] = cg_load(c, cg_vector(c->f32, c->lanes), cg_at(c, c->f32, base, cg_i64(c, i * p->rows * p->columns)), 4);
    }
}
