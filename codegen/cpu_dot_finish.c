/* cpu_dot_finish.c: the epilogue of a matrix product, tile by tile: the element emitter on the roots, with the product's own
 * elements, which lie in a tile in scratch memory, bound. */
#include "codegen/blocking.h"

/* The index of the results at row m of the tile, from column n on. */
static cg_index index_at(cg *c, const blocking *q, contraction_point *p, cg_value n)
{
    contraction_point_run(c, q->x, p, ROLE_N, n, c->lanes, false);
    return contraction_out_index(c, q->x, p, q->split);
}

/* Roots at one row of the tile, from column n on; cut: columns past end[ROLE_N] are left out. */
static void finish_row(cg *c, const blocking *q, contraction_point *p, cg_value row, cg_value n, bool cut)
{
    const int columns = cut && q->rest_columns ? q->rest_columns : c->target->nr, roots = c->body->root_count;
    const bool masked = cut && (!q->rest_columns || q->size[ROLE_N].count % c->lanes != 0);
    cg_result *result = arena_array(&c->scratch, cg_result, (size_t)(CG_TILE_VECTORS * roots));
    int count = 0;
    for (int j = 0; j * c->lanes < columns; j++, count += roots) {
        cg_value column = cg_add(c, n, cg_i64(c, j * c->lanes));
        cg_index index = index_at(c, q, p, column);
        if (masked) index.mask = cg_mask_first(c, c->lanes, cg_sub(c, q->end[ROLE_N], column));
        cg_value sum = cg_load(c, cg_vector(c->f32, c->lanes), cg_at(c, c->f32, row, cg_i64(c, j * c->lanes)), 4);
        cg_main_results(c, &index, cg_narrow(c, cg_type(c, q->x->main)->dtype, sum), result + count);
    }
    cg_results_store(c, count, result);
}

static cg_value rows_of_tile(cg *c, const blocking *q, cg_value m)
{
    return cg_min(c, cg_i64(c, c->target->mr), cg_sub(c, q->end[ROLE_M], m));
}

void blocking_finish(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value n, cg_value tile)
{
    contraction_point p = {.lanes = c->lanes};
    contraction_point_set(c, q->x, &p, ROLE_B, batch, false);
    int64_t nr = c->target->nr;
    bool even = !q->size[ROLE_N].batch && q->size[ROLE_N].count % nr == 0;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), rows_of_tile(c, q, m), 1, 0, NULL);
    contraction_point_set(c, q->x, &p, ROLE_M, cg_add(c, m, l.i), q->flat);
    cg_value row = cg_at(c, c->f32, tile, cg_mul(c, l.i, cg_i64(c, nr)));
    if (even) {
        finish_row(c, q, &p, row, n, false);
    } else {
        cg_branch whole;
        cg_if_begin(c, &whole, cg_icmp(c, LLVMIntSLE, cg_add(c, n, cg_i64(c, nr)), q->end[ROLE_N]), 0, NULL);
        finish_row(c, q, &p, row, n, false);
        cg_if_other(c, &whole, NULL);
        finish_row(c, q, &p, row, n, true);
        cg_if_end(c, &whole, NULL);
    }
    cg_loop_end(c, &l, NULL);
}
