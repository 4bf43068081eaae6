/* cpu_tile.c: the register tile, helper functions that all products of a program share. */
#include "codegen/contraction.h"

/* One cell of k: a broadcast from each row times nr / lanes vectors. */
static void tile_step(cg *c, bool pairs, int rows, const cg_value *row, cg_value b, cg_value *acc)
{
    int lanes = c->lanes, vectors = c->target->nr / lanes;
    cg_value column[8];
    for (int j = 0; j < vectors; j++) {
        column[j] = cg_load(c, cg_vector(c->f32, lanes), cg_at(c, c->f32, b, cg_i64(c, j * lanes)), 4);
    }
    for (int i = 0; i < rows; i++) {
        cg_value x = cg_splat(c, cg_load(c, c->f32, row[i], pairs ? 2 : 4), lanes);
        for (int j = 0; j < vectors; j++) {
            cg_value *sum = &acc[i * vectors + j];
            *sum = pairs ? cg_dot_pairs(c, x, column[j], *sum) : cg_fma(c, x, column[j], *sum);
        }
    }
}

/* Accumulators at the start: zero, or the tile's elements when it accumulates. */
static void begin_tile(cg *c, cg_value tile, cg_value accumulate, int count, cg_value *acc)
{
    LLVMTypeRef vector = cg_vector(c->f32, c->lanes);
    for (int i = 0; i < count; i++) acc[i] = LLVMConstNull(vector);
    cg_branch more;
    cg_if_begin(c, &more, cg_icmp(c, LLVMIntNE, accumulate, cg_i64(c, 0)), count, acc);
    for (int i = 0; i < count; i++) {
        acc[i] = cg_load(c, vector, cg_at(c, c->f32, tile, cg_i64(c, i * c->lanes)), 4);
    }
    cg_if_end(c, &more, acc);
}

cg_value cg_tile(cg *c, const tile_form *f, int rows)
{
    const char *name = arena_printf(&c->scratch, "tile_%lld_%lld_%lld%s_%d", (long long)f->row, (long long)f->position,
                                    (long long)f->column, f->pairs ? "_pairs" : "", rows);
    cg_value found = cg_helper_find(c, name);
    if (found) return found;
    if (f->pairs && c->target->blocks) return cg_tile_blocks(c, name, f, rows);
    int lanes = c->lanes, count = rows * c->target->nr / lanes;
    LLVMTypeRef param[] = {c->ptr, c->ptr, c->i64, c->ptr, c->i64};
    cg_helper h = cg_helper_begin(c, name, c->none, 5, param);
    cg_value a = LLVMGetParam(h.fn, 0), b = LLVMGetParam(h.fn, 1), tile = LLVMGetParam(h.fn, 3);
    cg_value acc[CG_CARRIED], at[32];
    begin_tile(c, tile, LLVMGetParam(h.fn, 4), count, acc);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), LLVMGetParam(h.fn, 2), 1, count, acc);
    cg_value row = cg_at(c, c->f32, a, cg_mul(c, l.i, cg_i64(c, f->position)));
    for (int i = 0; i < rows; i++) at[i] = cg_at(c, c->f32, row, cg_i64(c, i * f->row));
    tile_step(c, f->pairs, rows, at, cg_at(c, c->f32, b, cg_mul(c, l.i, cg_i64(c, f->column))), acc);
    cg_loop_end(c, &l, acc);
    for (int i = 0; i < count; i++) cg_store(c, acc[i], cg_at(c, c->f32, tile, cg_i64(c, i * lanes)), 4);
    LLVMBuildRetVoid(c->b);
    cg_helper_end(c, &h);
    return h.fn;
}

cg_value cg_tile_positions(cg *c, int rows)
{
    const tile_form form = {.row = 1, .position = c->target->mr, .column = c->target->nr};
    return cg_tile(c, &form, rows);
}

cg_value cg_tile_pointers(cg *c, int64_t column, bool pairs, int rows)
{
    const char *name = arena_printf(&c->scratch, "tile_pointers_%lld%s_%d", (long long)column, pairs ? "_pairs" : "", rows);
    cg_value found = cg_helper_find(c, name);
    if (found) return found;
    if (pairs && c->target->blocks) return cg_tile_blocks_pointers(c, name, rows);
    int lanes = c->lanes, mr = c->target->mr, count = rows * c->target->nr / lanes;
    LLVMTypeRef param[] = {c->ptr, c->ptr, c->i64, c->ptr, c->i64, c->i64};
    cg_helper h = cg_helper_begin(c, name, c->none, 6, param);
    cg_value table = LLVMGetParam(h.fn, 0), b = LLVMGetParam(h.fn, 1), k = LLVMGetParam(h.fn, 2);
    cg_value tile = LLVMGetParam(h.fn, 3), acc[CG_CARRIED], row[32];
    begin_tile(c, tile, LLVMGetParam(h.fn, 4), count, acc);
    cg_loop runs, l;
    cg_loop_begin(c, &runs, cg_i64(c, 0), LLVMGetParam(h.fn, 5), 1, count, acc);
    for (int i = 0; i < rows; i++) {
        cg_value at = cg_add(c, cg_mul(c, runs.i, cg_i64(c, mr)), cg_i64(c, i));
        row[i] = cg_load(c, c->ptr, cg_at(c, c->ptr, table, at), 8);
    }
    cg_loop_begin(c, &l, cg_i64(c, 0), k, 1, count, acc);
    cg_value at[32], cell = cg_mul(c, cg_add(c, cg_mul(c, runs.i, k), l.i), cg_i64(c, column));
    for (int i = 0; i < rows; i++) at[i] = cg_at(c, c->f32, row[i], l.i);
    tile_step(c, pairs, rows, at, cg_at(c, c->f32, b, cell), acc);
    cg_loop_end(c, &l, acc);
    cg_loop_end(c, &runs, acc);
    for (int i = 0; i < count; i++) cg_store(c, acc[i], cg_at(c, c->f32, tile, cg_i64(c, i * lanes)), 4);
    LLVMBuildRetVoid(c->b);
    cg_helper_end(c, &h);
    return h.fn;
}
