/* cpu_dot_tiles.c: which register tiles a matrix product needs, and the call of the one that has the rows and columns left. */
#include "codegen/blocking.h"

/* Tiles of pointers have no registers to spare: vectors of two widths would keep every address longer. They do more columns
 * than are left, where nothing lies behind these, so that the last vector is one. */
static int widen_rest(const cg *c, const blocking *q, int columns)
{
    int last = 1;
    if (!q->run || q->direct || columns % c->lanes == 0) return columns;
    while (last < columns % c->lanes) last *= 2;
    columns += last - columns % c->lanes;
    return columns < c->target->nr ? columns : 0;
}

static cg_value tile_of(cg *c, const blocking *q, int rows, int columns, bool streams)
{
    const int64_t mr = c->target->mr, nr = c->target->nr;
    tile_form form = {.row = q->stride ? q->stride : 1, .position = q->run ? q->run_step : q->stride ? 1 : mr,
                      .column = q->x->panels ? q->x->panels : nr, .pairs = q->pairs, .pointers = q->run > 0,
                      .apart = q->direct, .adds = q->addend != NULL, .ahead = q->ahead, .strides = q->reads_a, .columns = widen_rest(c, q, columns), .streams = streams};
    if (form.strides) form.position = form.column = 0;
    return cg_tile(c, &form, rows);
}

/* The last rows of a known number need one tile more; where rows are the batch alone, as in steps of a scan, several sizes
 * pay. */
static void choose_small_tiles(const cg *c, blocking *q)
{
    const ir_dim m = q->size[ROLE_M];
    const int mr = c->target->mr, known = m.batch ? 0 : (int)(m.count % mr);
    if (known) q->small[q->small_count++] = known;
    if (!m.batch || (m.count > 1 && !q->x->panels)) return;
    for (int rows = 2; rows < mr && q->small_count < SMALL_TILES; rows *= 2) q->small[q->small_count++] = rows;
}

void blocking_choose_stream(cg *c, blocking *q)
{
    const contraction *x = q->x;
    const ir_dim inner = x->count[ROLE_N] ? x->size[ROLE_N][x->count[ROLE_N] - 1] : ir_fixed(1);
    if (c->target->nr % FLOATS_PER_LINE != 0 || inner.batch || inner.count % FLOATS_PER_LINE != 0 || x->panels) return;
    c->past_caches = cg_past_caches(c);
    if (!q->direct || !q->one_pass || !q->size[ROLE_M].batch) return;
    q->streams = c->past_caches;
    if (!q->streams) return;
    if (!q->rest_columns || q->size[ROLE_N].count >= c->target->nr) q->stream_fn[0] = tile_of(c, q, c->target->mr, 0, true);
    if (q->rest_columns) q->stream_fn[1] = tile_of(c, q, c->target->mr, q->rest_columns, true);
}

static cg_value copying_tile(cg *c, const blocking *q)
{
    const tile_form form = {.row = q->stride, .position = 1, .column = q->x->panels ? q->x->panels : c->target->nr,
                            .apart = q->direct, .adds = q->addend != NULL, .copies = true};
    return cg_tile(c, &form, c->target->mr);
}

void blocking_find_tiles(cg *c, blocking *q)
{
    const int nr = c->target->nr, unit = q->pairs ? c->lanes : cg_tile_unit(c);
    choose_small_tiles(c, q);
    if (!q->size[ROLE_N].batch && !(q->pairs && c->target->blocks)) q->rest_columns = (int)round_up(q->size[ROLE_N].count % nr, unit);
    if (q->rest_columns == nr) q->rest_columns = 0;
    if (q->copies) q->copy_fn = copying_tile(c, q);
    for (int i = 0; i <= q->small_count; i++) {
        const int rows = i ? q->small[i - 1] : c->target->mr;
        if (!q->rest_columns || q->size[ROLE_N].count >= nr) q->tile_fn[i][0] = tile_of(c, q, rows, 0, false);
        if (q->rest_columns) q->tile_fn[i][1] = tile_of(c, q, rows, q->rest_columns, false);
    }
}

/* Calls the function for so many rows, the first small one that has them or the whole one; `cut`: for the rest of the
 * columns. */
static void call_tile_of(cg *c, const blocking *q, cg_value rows, bool cut, cg_value *arg)
{
    const int count = 5 + (q->run > 0) + 2 * q->ahead + 2 * q->reads_a + q->direct + 2 * (q->addend != NULL);
    cg_branch few[SMALL_TILES];
    for (int i = 0; i < q->small_count; i++) {
        cg_if_begin(c, &few[i], cg_icmp(c, LLVMIntSLE, rows, cg_i64(c, q->small[i])), 0, NULL);
        cg_helper_call(c, q->tile_fn[1 + i][cut], count, arg);
        cg_if_other(c, &few[i], NULL);
    }
    cg_branch past;
    if (q->streams) {
        cg_value whole = cg_icmp(c, LLVMIntSGE, rows, cg_i64(c, c->target->mr));
        cg_if_begin(c, &past, cg_and(c, q->streams, whole), 0, NULL);
        cg_helper_call(c, q->stream_fn[cut], count, arg);
        cg_if_other(c, &past, NULL);
    }
    cg_helper_call(c, q->tile_fn[0][cut], count, arg);
    if (q->streams) cg_if_end(c, &past, NULL);
    for (int i = q->small_count - 1; i >= 0; i--) cg_if_end(c, &few[i], NULL);
}

void blocking_call_tile(cg *c, const blocking *q, cg_value rows, cg_value columns, cg_value *arg)
{
    const bool one = q->size[ROLE_N].count < c->target->nr;
    if (!q->rest_columns || one) {
        call_tile_of(c, q, rows, q->rest_columns && one, arg);
        return;
    }
    cg_branch whole;
    cg_if_begin(c, &whole, cg_icmp(c, LLVMIntSGE, columns, cg_i64(c, c->target->nr)), 0, NULL);
    call_tile_of(c, q, rows, false, arg);
    cg_if_other(c, &whole, NULL);
    call_tile_of(c, q, rows, true, arg);
    cg_if_end(c, &whole, NULL);
}
