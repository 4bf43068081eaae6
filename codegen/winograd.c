/* winograd.c: what both kinds share, see winograd.h. */
#include "codegen/winograd.h"

const winograd_matrix winograd_image = {4, 4, {1, 0, -1, 0, 0, 1, 1, 0, 0, -1, 1, 0, 0, 1, 0, -1}};
const winograd_matrix winograd_kernel = {4, 3, {1, 0, 0, .5, .5, .5, .5, -.5, .5, 0, 0, 1}};
const winograd_matrix winograd_result = {2, 4, {1, 1, 1, 0, 0, 1, -1, -1}};
const winograd_matrix winograd_result_gradient = {4, 2, {1, 0, 1, 1, 1, -1, 0, -1}};
const winograd_matrix winograd_kernel_gradient = {3, 4, {1, .5, .5, 0, 0, .5, -.5, 0, 0, .5, .5, 1}};

/* ---- transforms --------------------------------------------------------------------------------------- */

/* Row `row` of m times in[0], in[step], ..: positive factors first, so that no term has to be negated. */
static cg_value combine(cg *c, const winograd_matrix *m, int row, const cg_value *in, int step)
{
    cg_value sum = NULL;
    for (int i = 0; i < 2 * m->columns; i++) {
        const double f = m->item[row * m->columns + i % m->columns];
        cg_value x = in[i % m->columns * step];
        if (f == 0 || (f > 0) != (i < m->columns)) continue;
        if (!sum)
            sum = f == 1 ? x : cg_fmul(c, x, cg_fill(c, LLVMTypeOf(x), f));
        else if (f == 1)
            sum = cg_fadd(c, sum, x);
        else if (f == -1)
            sum = cg_fsub(c, sum, x);
        else
            sum = cg_fma(c, x, cg_fill(c, LLVMTypeOf(x), f), sum);
    }
    return sum;
}

void winograd_transform(cg *c, const winograd_matrix *m, const cg_value *in, cg_value *out)
{
    cg_value half[WINOGRAD_PLACES];
    for (int r = 0; r < m->rows; r++) {
        for (int j = 0; j < m->columns; j++) half[r * m->columns + j] = combine(c, m, r, in + j, m->columns);
    }
    for (int r = 0; r < m->rows; r++) {
        for (int j = 0; j < m->rows; j++) out[r * m->rows + j] = combine(c, m, j, half + r * m->columns, 1);
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
    p->address = cg_scratch(c, 4 * WINOGRAD_PLACES * p->rows * p->columns);
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
    for (int i = 0; i < WINOGRAD_PLACES; i++) {
        out[i] = cg_load(c, cg_vector(c->f32, c->lanes), cg_at(c, c->f32, base, cg_i64(c, i * p->rows * p->columns)), 4);
    }
}
