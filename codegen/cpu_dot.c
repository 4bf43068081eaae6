/* cpu_dot.c: matrix products and convolutions as packed panels and register tiles (Goto and van de Geijn, "Anatomy
 * of High-Performance Matrix Multiplication", 2008). A task packs its own block of both operands, so a product is one
 * dispatch without a barrier; the blocks depend on shapes only. The register tile is a helper function that all
 * products of a module share; its results go through a tile in scratch memory to the epilogue, which is the
 * element emitter on the roots with the product's own elements bound. */
#include "codegen/depthwise.h"
#include "codegen/winograd.h"

#include <string.h>

/* Panels are counted in cells of 4 bytes: an f32 or a pair of bf16 at positions of k next to each other, where the target
 * adds up the products of pairs. ROW_STRIDE: cells between the rows of a panel that is kept row by row: room for WHOLE_K
 * of them and a vector, an odd number of cache lines, so that rows do not fall on the same sets. */
enum { BLOCK_M = 144, BLOCK_N = 256, BLOCK_K = 320, WHOLE_K = 512, ROW_STRIDE = 528, FLOATS_PER_LINE = 16 };

/* Left operands are read where they lie when their runs along k are at least SHORTEST_RUN cells, unless rows are a
 * multiple of SAME_SET cells apart: those fall on the same cache sets. */
enum { SHORTEST_RUN = 16, SAME_SET = 512 };

/* A product whose right operand lies in panels already: rows of a task at least, and operations, about 10 us. */
enum { PANEL_ROWS = 14, PANEL_WORK = 1 << 20 };

typedef struct blocking {
    const contraction *x;
    ir_dim size[ROLE_COUNT];
    int64_t mc, nc, kc;   /* rows, columns, positions of a block */
    int64_t cells;        /* that kc positions take at most */
    bool pairs;           /* of bf16 in a cell */
    bool one_pass;        /* kc covers all of k */
    role rows;            /* whose linear positions the tasks are counted in */
    int64_t grain, times;
    bool flat;            /* out is linear along m: no division per row */
    cg_value begin[ROLE_COUNT], end[ROLE_COUNT], split;
    int64_t run;            /* left panels are addresses of runs of so many positions; 0: elements */
    int64_t stride, a_room; /* of the left panels in cells; stride 0: cell by cell */
    cg_value a, b, tile, zeros, tile_fn;
    int rest;        /* rows of the last tile when that is known to be cut, else 0 */
    cg_value rest_fn;
} blocking;

static int64_t round_up(int64_t x, int64_t to) { return base_ceil_div(x, to) * to; }

/* Size of a block along a role: about `most`; a known whole is cut into equal parts. */
static int64_t block_of(ir_dim size, int64_t most, int64_t unit)
{
    if (size.batch) return round_up(most, unit);
    int64_t whole = base_max(size.count, 1), parts = base_ceil_div(whole, most + most / 4);
    return round_up(base_ceil_div(whole, parts), unit);
}

static int64_t blocks_of(const blocking *q, role r)
{
    const int64_t block[ROLE_COUNT] = {1, q->mc, q->nc, 1};
    return base_max(base_ceil_div(q->size[r].count, block[r]), 1);
}

/* Decides whether the left operand is read where it lies, and cuts blocks of k into whole runs. */
static void choose_run(const cg *c, blocking *q)
{
    const contraction *x = q->x;
    const int64_t per_cell = q->pairs ? 2 : 1;
    if (x->splits || !x->count[ROLE_K] || !cg_pack_has_rows(c, x, &x->lhs)) return;
    if (cg_type(c, x->lhs.value)->dtype != (q->pairs ? DTYPE_bf16 : DTYPE_f32)) return;
    const ir_dim inner = x->size[ROLE_K][x->count[ROLE_K] - 1];
    const bool one_run = x->count[ROLE_K] == 1;
    if (inner.batch || inner.count < SHORTEST_RUN * per_cell) return;
    if (one_run && inner.count % (SAME_SET * per_cell) == 0) return;
    const int64_t parts = base_ceil_div(inner.count, q->kc);
    if (inner.count % per_cell != 0 || (!one_run && inner.count % (parts * per_cell) != 0)) return;
    if (parts > 1)
        q->run = one_run ? q->kc : inner.count / parts;
    else
        q->run = inner.count;
    q->kc = q->one_pass || one_run ? q->kc : q->kc / q->run * q->run;
}

/* How many cells so many positions take at most, wherever they begin. */
static int64_t cells_of(const blocking *q, int64_t positions)
{
    const contraction *x = q->x;
    if (!q->pairs) return positions;
    if (x->count[ROLE_K] < 2) return base_ceil_div(positions, 2);
    const ir_dim inner = x->size[ROLE_K][x->count[ROLE_K] - 1];
    if (inner.batch) return positions;
    const int64_t runs = inner.count % 2 == 0 && !x->splits ? 0 : positions / base_max(inner.count, 1) + 2;
    return base_min(positions, base_ceil_div(positions + runs, 2));
}

static void choose_positions(blocking *q)
{
    const ir_dim k = q->size[ROLE_K];
    q->one_pass = !k.batch && cells_of(q, k.count) <= WHOLE_K;
    q->kc = q->pairs && cells_of(q, 2 * BLOCK_K) <= WHOLE_K ? 2 * BLOCK_K : BLOCK_K;
    if (q->one_pass) q->kc = base_max(k.count, 1);
    q->cells = cells_of(q, q->kc);
}

/* Panels that lie in memory cost a task nothing, so tasks may be as small as their dispatch allows. */
static void choose_panel_blocks(const cg *c, blocking *q)
{
    const cg_target *t = c->target;
    const int64_t k = base_max(q->size[ROLE_K].count, 1), rows = round_up(PANEL_ROWS, t->mr);
    bug_if(q->x->panels % t->nr, "panels of %lld columns for tiles of %d", (long long)q->x->panels, t->nr);
    q->nc = block_of(q->size[ROLE_N], base_max(PANEL_WORK / (2 * k * rows), 4 * t->nr), t->nr);
    q->mc = base_min(q->mc, base_max(rows, PANEL_WORK / (2 * k * q->nc) / t->mr * t->mr));
}

static void choose(const cg *c, blocking *q)
{
    const cg_target *t = c->target;
    for (int r = 0; r < ROLE_COUNT; r++) q->size[r] = contraction_size(q->x, (role)r);
    q->mc = block_of(q->size[ROLE_M], BLOCK_M, t->mr);
    q->nc = block_of(q->size[ROLE_N], BLOCK_N, t->nr);
    ir_dim k = q->size[ROLE_K];
    if (q->x->panels) choose_panel_blocks(c, q);
    choose_positions(q);
    q->rows = ROLE_M;
    if (q->size[ROLE_B].batch) q->rows = ROLE_B;
    if (q->size[ROLE_N].batch) q->rows = ROLE_N;
    q->times = base_max(q->x->splits, 1);
    for (int r = ROLE_B; r <= ROLE_N; r++) {
        if (r != (int)q->rows) q->times *= blocks_of(q, (role)r);
    }
    q->grain = q->rows == ROLE_M ? q->mc : q->rows == ROLE_N ? q->nc : 1;
    if (q->rows == ROLE_B) {
        int64_t work = 2 * base_min(q->mc, q->size[ROLE_M].count) * q->nc * (k.batch ? BLOCK_K : k.count);
        q->grain = base_max(1, (1 << 20) / base_max(work, 1));
    }
    q->flat = contraction_is_linear(c, q->x, &q->x->out, ROLE_M);
    choose_run(c, q);
    q->stride = cg_pack_is_along_k(q->x, &q->x->lhs) && !q->run ? ROW_STRIDE : 0;
    /* A sweep fills all panels at once: what its last vector writes past one must not be the next one's. */
    q->a_room = q->stride ? t->mr * q->stride : t->mr * q->cells + (t->mr % c->lanes ? FLOATS_PER_LINE : 0);
    if (q->run) q->a_room = t->mr * base_ceil_div(q->kc, q->run) * (int64_t)(sizeof(void *) / sizeof(float));
}

/* The block of this task: ranges of b, m, n, and of k for its partial sum. */
static void find_block(cg *c, blocking *q)
{
    cg_value part, k = cg_dim(c, q->size[ROLE_K]);
    const int64_t block[ROLE_COUNT] = {1, q->mc, q->nc, 1};
    cg_task_rows(c, q->size[q->rows], q->grain, q->times, &q->begin[q->rows], &q->end[q->rows], &part);
    for (int r = ROLE_B; r <= ROLE_N; r++) {
        if (r == (int)q->rows) continue;
        cg_value count = cg_i64(c, blocks_of(q, (role)r));
        q->begin[r] = cg_mul(c, cg_rem(c, part, count), cg_i64(c, block[r]));
        q->end[r] = cg_min(c, cg_add(c, q->begin[r], cg_i64(c, block[r])), cg_dim(c, q->size[r]));
        part = cg_div(c, part, count);
    }
    q->split = part;
    int64_t splits = base_max(q->x->splits, 1);
    cg_value next = cg_add(c, part, cg_i64(c, 1));
    q->begin[ROLE_K] = splits == 1 ? cg_i64(c, 0) : cg_div(c, cg_mul(c, part, k), cg_i64(c, splits));
    q->end[ROLE_K] = splits == 1 ? k : cg_div(c, cg_mul(c, next, k), cg_i64(c, splits));
}

/* Roots at one row of the tile, `vectors` vectors of columns from n; masked: columns past end[ROLE_N] are left out. */
static void finish_row(cg *c, blocking *q, contraction_point *p, cg_value row, cg_value n, bool masked)
{
    for (int j = 0; j < c->target->nr / c->lanes; j++) {
        cg_value column = cg_add(c, n, cg_i64(c, j * c->lanes));
        cg_value at = cg_at(c, c->f32, row, cg_i64(c, j * c->lanes));
        contraction_point_run(c, q->x, p, ROLE_N, column, c->lanes, false);
        cg_index index = contraction_out_index(c, q->x, p, q->split);
        if (masked) index.mask = cg_mask_first(c, c->lanes, cg_sub(c, q->end[ROLE_N], column));
        cg_value sum = cg_load(c, cg_vector(c->f32, c->lanes), at, 4);
        cg_main_store(c, &index, cg_narrow(c, cg_type(c, q->x->main)->dtype, sum));
    }
}

/* The epilogue of the tile whose first row and column are m and n. */
static void finish_tile(cg *c, blocking *q, cg_value batch, cg_value m, cg_value n, cg_value tile)
{
    contraction_point p = {.lanes = c->lanes};
    contraction_point_set(c, q->x, &p, ROLE_B, batch, false);
    int64_t nr = c->target->nr;
    bool even = !q->size[ROLE_N].batch && q->size[ROLE_N].count % nr == 0;
    cg_value rows = cg_min(c, cg_i64(c, c->target->mr), cg_sub(c, q->end[ROLE_M], m));
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), rows, 1, 0, NULL);
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

static void call_tile(cg *c, const blocking *q, cg_value left, cg_value *arg)
{
    const int count = q->run ? 6 : 5;
    if (!q->rest) {
        cg_helper_call(c, q->tile_fn, count, arg);
        return;
    }
    cg_branch whole;
    cg_if_begin(c, &whole, cg_icmp(c, LLVMIntSGE, left, cg_i64(c, c->target->mr)), 0, NULL);
    cg_helper_call(c, q->tile_fn, count, arg);
    cg_if_other(c, &whole, NULL);
    cg_helper_call(c, q->rest_fn, count, arg);
    cg_if_end(c, &whole, NULL);
}

/* The panel of columns from n on, number j of the block, at position k. */
static cg_value panel_at(cg *c, const blocking *q, cg_value n, cg_value j, cg_value k)
{
    const contraction *x = q->x;
    if (!x->panels) return cg_at(c, c->f32, q->b, cg_mul(c, j, cg_i64(c, q->cells * c->target->nr)));
    cg_value width = cg_i64(c, x->panels), before = cg_mul(c, cg_div(c, n, width), cg_dim(c, q->size[ROLE_K]));
    cg_value at = cg_add(c, cg_mul(c, cg_add(c, before, k), width), cg_rem(c, n, width));
    return cg_at(c, c->f32, c->binding[x->rhs.value].address, at);
}

/* All tiles of the block, for positions k .. k + length - 1. */
static void run_tiles(cg *c, blocking *q, cg_value batch, cg_value k, cg_value length)
{
    int64_t mr = c->target->mr, nr = c->target->nr, panels = q->mc / mr;
    cg_value more = LLVMBuildZExt(c->b, cg_icmp(c, LLVMIntSGT, k, q->begin[ROLE_K]), c->i64, "");
    cg_value last = cg_icmp(c, LLVMIntSGE, cg_add(c, k, cg_i64(c, q->kc)), q->end[ROLE_K]);
    cg_loop columns, rows;
    cg_loop_begin(c, &columns, q->begin[ROLE_N], q->end[ROLE_N], nr, 0, NULL);
    cg_value j = cg_div(c, cg_sub(c, columns.i, q->begin[ROLE_N]), cg_i64(c, nr));
    cg_loop_begin(c, &rows, q->begin[ROLE_M], q->end[ROLE_M], mr, 0, NULL);
    cg_value i = cg_div(c, cg_sub(c, rows.i, q->begin[ROLE_M]), cg_i64(c, mr));
    cg_value number = q->one_pass ? cg_i64(c, 0) : cg_add(c, cg_mul(c, j, cg_i64(c, panels)), i);
    cg_value tile = cg_at(c, c->f32, q->tile, cg_mul(c, number, cg_i64(c, mr * nr)));
    cg_value runs = NULL, positions = q->run ? cg_min(c, length, cg_i64(c, q->run)) : length;
    if (q->run) runs = cg_div(c, cg_add(c, length, cg_i64(c, q->run - 1)), cg_i64(c, q->run));
    cg_value cells = cg_pack_cells(c, q->x, q->pairs, k, positions);
    cg_value arg[] = {cg_at(c, c->f32, q->a, cg_mul(c, i, cg_i64(c, q->a_room))),
                      panel_at(c, q, columns.i, j, k), cells, tile, more, runs};
    call_tile(c, q, cg_sub(c, q->end[ROLE_M], rows.i), arg);
    cg_branch done;
    cg_if_begin(c, &done, last, 0, NULL);
    finish_tile(c, q, batch, rows.i, columns.i, tile);
    cg_if_end(c, &done, NULL);
    cg_loop_end(c, &rows, NULL);
    cg_loop_end(c, &columns, NULL);
}

static void run_block(cg *c, blocking *q, cg_value batch)
{
    const contraction *x = q->x;
    cg_value zero = cg_i64(c, 0);
    cg_value end = cg_max(c, q->end[ROLE_K], cg_add(c, q->begin[ROLE_K], cg_i64(c, 1)));
    cg_loop l;
    cg_loop_begin(c, &l, q->begin[ROLE_K], end, q->kc, 0, NULL);
    cg_value length = cg_max(c, zero, cg_min(c, cg_i64(c, q->kc), cg_sub(c, q->end[ROLE_K], l.i)));
    pack p = {.x = x, .side = &x->rhs, .role = ROLE_N, .width = c->target->nr, .row = q->begin[ROLE_N],
              .row_end = q->end[ROLE_N], .limit = cg_dim(c, q->size[ROLE_N]), .k = l.i, .length = length,
              .address = q->b, .room = q->cells * c->target->nr, .pairs = q->pairs, .batch = batch, .zeros = q->zeros};
    cg_branch some;
    cg_if_begin(c, &some, cg_icmp(c, LLVMIntSGT, length, zero), 0, NULL);
    if (!x->panels) cg_pack(c, &p);
    pack a = {.x = x, .side = &x->lhs, .role = ROLE_M, .width = c->target->mr, .row = q->begin[ROLE_M],
              .row_end = q->end[ROLE_M], .limit = cg_dim(c, q->size[ROLE_M]), .k = l.i, .length = length,
              .address = q->a, .room = q->a_room, .stride = q->stride, .pointers = q->run > 0, .pairs = q->pairs, .batch = batch, .zeros = q->zeros};
    cg_pack(c, &a);
    cg_if_end(c, &some, NULL);
    run_tiles(c, q, batch, l.i, length);
    cg_loop_end(c, &l, NULL);
}

static cg_value tile_of(cg *c, const blocking *q, int rows)
{
    const int64_t mr = c->target->mr, nr = c->target->nr;
    const int64_t column = q->x->panels ? q->x->panels : nr;
    if (q->run) return cg_tile_pointers(c, column, q->pairs, rows);
    const tile_form form = {
        .row = q->stride ? q->stride : 1, .position = q->stride ? 1 : mr, .column = column, .pairs = q->pairs};
    return cg_tile(c, &form, rows);
}

/* `count` zeros in scratch memory, for rows of an image that are padding. */
static cg_value make_zeros(cg *c, int64_t count)
{
    cg_value zeros = cg_scratch(c, 4 * round_up(count, FLOATS_PER_LINE));
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, round_up(count, FLOATS_PER_LINE)), c->lanes, 0, NULL);
    cg_store(c, LLVMConstNull(cg_vector(c->f32, c->lanes)), cg_at(c, c->f32, zeros, l.i), 4);
    cg_loop_end(c, &l, NULL);
    return zeros;
}

static bool has_padding(const contraction *x)
{
    for (int d = 0; d < x->lhs.rank; d++) {
        if (x->lhs.dim[d].checked) return true;
    }
    for (int d = 0; d < x->rhs.rank; d++) {
        if (x->rhs.dim[d].checked) return true;
    }
    return false;
}

/* Vectors of rows must not straddle dims of role m: when they would and the other operand's do not, that one
 * becomes the left operand. */
static bool is_better_swapped(const cg *c, const contraction *x)
{
    int m = contraction_contiguous(&x->lhs, ROLE_M), n = contraction_contiguous(&x->rhs, ROLE_N);
    if (m < 0 || x->count[ROLE_M] < 2 || contraction_contiguous(&x->lhs, ROLE_K) >= 0) return false;
    ir_dim inner = x->size[ROLE_M][m];
    return n >= 0 && x->count[ROLE_N] == 1 && !inner.batch && inner.count % c->lanes == 0;
}

/* bf16 converted to f32 is as good as bf16. */
static ir_value before_widening(const cg *c, ir_value v)
{
    const ir_node *n = cg_node(c, v);
    const bool widens = n->op == OP_convert && n->type.dtype == DTYPE_f32 && cg_type(c, n->in[0])->dtype == DTYPE_bf16;
    return widens ? n->in[0] : v;
}

/* Decides whether the products are those of pairs, and then takes the operands as bf16. */
static bool take_pairs(const cg *c, contraction *x)
{
    const ir_value a = before_widening(c, x->lhs.value), b = before_widening(c, x->rhs.value);
    if (!*c->target->pairs || cg_type(c, a)->dtype != DTYPE_bf16 || cg_type(c, b)->dtype != DTYPE_bf16) return false;
    x->lhs.value = a;
    x->rhs.value = b;
    return true;
}

void cg_dot_blocked(cg *c, const contraction *given)
{
    contraction x = *given;
    if (!x.panels && is_better_swapped(c, &x)) contraction_swap(&x);
    contraction_order(&x);
    cg_kernel_begin(c);
    blocking q = {.x = &x, .pairs = take_pairs(c, &x)};
    choose(c, &q);
    int64_t mr = c->target->mr, nr = c->target->nr, slack = c->lanes * (nr + 1);
    q.a = cg_scratch(c, 4 * round_up(q.mc / mr * q.a_room + slack, FLOATS_PER_LINE));
    if (!x.panels) q.b = cg_scratch(c, 4 * round_up(q.nc * q.cells + slack, FLOATS_PER_LINE));
    q.tile = cg_scratch(c, 4 * round_up(q.one_pass ? mr * nr : q.mc * q.nc, FLOATS_PER_LINE));
    q.tile_fn = tile_of(c, &q, (int)mr);
    q.rest = q.size[ROLE_M].batch ? 0 : (int)(q.size[ROLE_M].count % mr);
    if (q.rest) q.rest_fn = tile_of(c, &q, q.rest);
    if (has_padding(&x)) q.zeros = make_zeros(c, q.kc + c->lanes);
    find_block(c, &q);
    cg_loop batches;
    cg_loop_begin(c, &batches, q.begin[ROLE_B], q.end[ROLE_B], 1, 0, NULL);
    run_block(c, &q, batches.i);
    cg_loop_end(c, &batches, NULL);
    cg_kernel_end(c, q.size[q.rows], q.grain, q.times);
}

/* Panels pay when the tile is filled to some extent; narrow and integer products go element by element. */
static bool is_blocked(const cg *c, const contraction *x)
{
    ir_dtype t = cg_type(c, x->main)->dtype;
    if (!ir_dtype_is_float(t) || t == DTYPE_f64) return false;
    if (x->panels) return true;
    ir_dim m = contraction_size(x, ROLE_M), n = contraction_size(x, ROLE_N), k = contraction_size(x, ROLE_K);
    if (!m.batch && m.count * 4 < c->target->mr) return n.batch || n.count >= 2 * c->target->nr;
    if (!n.batch && n.count * 8 < c->target->nr) return !k.batch && k.count >= 64 && n.count > 2;
    return true;
}

static void write_contraction(cg *c, const contraction *x)
{
    if (is_blocked(c, x))
        cg_dot_blocked(c, x);
    else
        cg_dot_direct(c, x);
}

void cg_kernel_dot(cg *c)
{
    contraction x;
    contraction_build(c, &x);
    write_contraction(c, &x);
}

void cg_kernel_convolution(cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    if (ir_attr_find(n, ATTR_winograd)) {
        if (strcmp(ir_attr_text(n, ATTR_lhs_layout), "b01f") == 0)
            cg_winograd_taps(c);
        else
            cg_winograd_weights(c);
        return;
    }
    contraction x;
    contraction_build(c, &x);
    const int phases = contraction_phases(&x);
    if (cg_depthwise_is_taps(c, &x)) {
        cg_depthwise_taps(c, &x);
    } else if (cg_depthwise_is_weights(c, &x)) {
        cg_depthwise_weights(c, &x);
    } else if (phases == 1 || phases > CG_LAUNCHES) {
        write_contraction(c, &x);
    } else {
        for (int i = 0; i < phases; i++) {
            contraction one = x;
            contraction_keep_phase(&one, i);
            write_contraction(c, &one);
        }
    }
}
