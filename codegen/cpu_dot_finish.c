/* cpu_dot_finish.c: the epilogue of a matrix product, tile by tile: the element emitter on the roots, with the product's own
 * elements, which lie in a tile in scratch memory, bound; and sums over rows of what it computes. */
#include "codegen/blocking.h"

#include <string.h>

/* The part of the tile that is finished: of whole columns or of what is left of them. */
typedef struct finish {
    const blocking *q;
    contraction_point point;
    cg_value m, n, tile;
    bool cut;
    int vectors;
} finish;

/* The index of the results at row m of the tile, from column n on. */
static cg_index index_at(cg *c, finish *f, cg_value n)
{
    contraction_point_run(c, f->q->x, &f->point, ROLE_N, n, c->lanes, false);
    return contraction_out_index(c, f->q->x, &f->point, f->q->split);
}

static cg_value column_of(cg *c, const finish *f, int j) { return cg_add(c, f->n, cg_i64(c, (int64_t)j * c->lanes)); }

/* The roots at row i of the tile, from vector j of its columns on; cut: columns past end[ROLE_N] are left out. */
static void find_results(cg *c, finish *f, cg_value i, int j, cg_result *out)
{
    const blocking *q = f->q;
    const bool masked = f->cut && (!q->rest_columns || q->size[ROLE_N].count % c->lanes != 0);
    const cg_value row = cg_at(c, c->f32, f->tile, cg_mul(c, i, cg_i64(c, c->target->nr))), column = column_of(c, f, j);
    cg_index index = index_at(c, f, column);
    if (masked) index.mask = cg_mask_first(c, c->lanes, cg_sub(c, q->end[ROLE_N], column));
    cg_value sum = cg_load(c, cg_vector(c->f32, c->lanes), cg_at(c, c->f32, row, cg_i64(c, (int64_t)j * c->lanes)), 4);
    cg_main_results(c, &index, cg_narrow(c, cg_type(c, q->x->main)->dtype, sum), out);
}

static void set_row(cg *c, finish *f, cg_value i)
{
    contraction_point_set(c, f->q->x, &f->point, ROLE_M, cg_add(c, f->m, i), f->q->flat);
}

/* Row i of the tile; sum: what its columns have added up to before, f->q->sums.values for each vector. */
static void finish_row(cg *c, finish *f, cg_value i, cg_value *sum)
{
    const row_sums *s = &f->q->sums;
    const int results = cg_body_results(c->body);
    cg_result *result = arena_array(&c->scratch, cg_result, (size_t)(CG_TILE_VECTORS * results));
    cg_result *all = arena_array(&c->scratch, cg_result, (size_t)c->body->root_count);
    set_row(c, f, i);
    for (int j = 0; j < f->vectors; j++) {
        find_results(c, f, i, j, all);
        memcpy(result + (int64_t)j * results, all, (size_t)results * sizeof *all);
        if (s->count) row_sums_add(c, s, all, sum + (int64_t)j * s->values);
    }
    cg_results_store(c, f->vectors * results, result);
}

static void finish_rows(cg *c, finish *f)
{
    const row_sums *s = &f->q->sums;
    const cg_value zero = cg_i64(c, 0), rows = blocking_rows_of_tile(c, f->q, f->m);
    cg_value sum[CG_TILE_VECTORS * ROW_SUMS_VALUES];
    cg_result *all = arena_array(&c->scratch, cg_result, (size_t)c->body->root_count);
    if (s->count) set_row(c, f, zero);
    for (int j = 0; j < f->vectors && s->count; j++) {
        find_results(c, f, zero, j, all);
        row_sums_start(c, s, all, sum + (int64_t)j * s->values);
    }
    cg_loop l;
    cg_loop_begin(c, &l, zero, rows, 1, f->vectors * s->values, sum);
    finish_row(c, f, l.i, sum);
    cg_loop_end(c, &l, sum);
    if (!s->count) return;
    for (int j = 0; j < f->vectors; j++) row_sums_merge(c, s, column_of(c, f, j), rows, sum + (int64_t)j * s->values);
}

cg_value blocking_rows_of_tile(cg *c, const blocking *q, cg_value m)
{
    return cg_min(c, cg_i64(c, c->target->mr), cg_sub(c, q->end[ROLE_M], m));
}

void blocking_finish(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value n, cg_value tile)
{
    const int64_t nr = c->target->nr;
    finish whole = {.q = q, .point = {.lanes = c->lanes}, .m = m, .n = n, .tile = tile, .vectors = (int)base_ceil_div(nr, c->lanes)};
    contraction_point_set(c, q->x, &whole.point, ROLE_B, batch, false);
    if (!q->size[ROLE_N].batch && q->size[ROLE_N].count % nr == 0) {
        finish_rows(c, &whole);
        return;
    }
    finish cut = whole;
    cut.cut = true;
    if (q->rest_columns) cut.vectors = (int)base_ceil_div(q->rest_columns, c->lanes);
    cg_branch br;
    cg_if_begin(c, &br, cg_icmp(c, LLVMIntSLE, cg_add(c, n, cg_i64(c, nr)), q->end[ROLE_N]), 0, NULL);
    finish_rows(c, &whole);
    cg_if_other(c, &br, NULL);
    finish_rows(c, &cut);
    cg_if_end(c, &br, NULL);
}
