/* cpu_dot.c: matrix products and convolutions as packed panels and register tiles (Goto and van de Geijn, "Anatomy
 * of High-Performance Matrix Multiplication", 2008). A task packs its own block of both operands, where it can in the tiles
 * that first use a panel (cpu_dot_fill.c), so a product is one dispatch without a barrier; what is summed together depends
 * on shapes only. The register tile is a helper function that all products of a program share. It writes results where they
 * belong when they lie there row by row and nothing else is to be done; else they go through a tile in scratch memory to the
 * epilogue, which is the element emitter on the roots with the product's own elements bound. */
#include "codegen/blocking.h"
#include "codegen/depthwise.h"
#include "codegen/winograd.h"

/* Rows are few up to this part of a tile's, where the right operand lies along n or k. */
enum { FEW_ROWS_PART = 4, FEW_ROWS_PART_K = 2 };

/* Number of the result's element at a point, row by row. */
static cg_value number_of(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value n)
{
    contraction_point p = {.lanes = 1};
    contraction_point_set(c, q->x, &p, ROLE_B, batch, false);
    contraction_point_set(c, q->x, &p, ROLE_M, m, true);
    contraction_point_set(c, q->x, &p, ROLE_N, n, true);
    const cg_index index = contraction_out_index(c, q->x, &p, q->split);
    cg_value number = cg_i64(c, 0);
    for (int d = 0; d < index.rank; d++) {
        number = cg_add(c, cg_mul(c, number, cg_dim(c, cg_type(c, q->x->main)->dim[d])), index.at[d].base);
    }
    return number;
}

/* Where tiles are written: where the results belong unless `staged` (NULL: always), then in scratch memory, and nothing is
 * added to them. */
typedef struct target_tile {
    cg_value address, distance, staged, addend;
} target_tile;

/* Of the tile whose first row and column are m and n, in column j of tiles. */
static target_tile find_tile(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value n, cg_value j)
{
    cg_value i = cg_div(c, cg_sub(c, m, q->begin[ROLE_M]), cg_i64(c, c->target->mr));
    const int64_t size = c->target->mr * c->target->nr;
    target_tile t = {0};
    if (q->direct) {
        cg_value first = number_of(c, q, batch, m, n);
        t.address = cg_at(c, c->f32, c->arg[cg_body_root_arg(c->body, 0)], first);
        t.distance = q->distance;
        if (q->addend) t.addend = cg_at(c, c->f32, q->addend, q->adds_rows ? first : n);
        if (!q->tile) return t;
        i = cg_i64(c, 0);
        t.staged = cg_icmp(c, LLVMIntSLT, cg_sub(c, q->end[ROLE_M], m), cg_i64(c, c->target->mr));
        if (q->addend) t.addend = cg_select(c, t.staged, LLVMConstNull(c->ptr), t.addend);
        t.distance = cg_select(c, t.staged, cg_i64(c, c->target->nr), q->distance);
    }
    cg_value number = q->one_pass ? cg_i64(c, 0) : cg_add(c, cg_mul(c, i, cg_i64(c, q->nc / c->target->nr)), j);
    cg_value staged = cg_at(c, c->f32, q->tile, cg_mul(c, number, cg_i64(c, size)));
    t.address = q->direct ? cg_select(c, t.staged, staged, t.address) : staged;
    return t;
}

/* The panel of columns from n on, number j of the block, at position k. */
static cg_value panel_at(cg *c, const blocking *q, cg_value n, cg_value j, cg_value k)
{
    const contraction *x = q->x;
    if (!x->panels) return cg_at(c, c->f32, q->b, cg_mul(c, j, cg_i64(c, q->b_room)));
    cg_value width = cg_i64(c, x->panels), before = cg_mul(c, cg_div(c, n, width), cg_dim(c, q->size[ROLE_K]));
    cg_value at = cg_add(c, cg_mul(c, cg_add(c, before, k), width), cg_rem(c, n, width));
    return cg_at(c, c->f32, c->binding[x->rhs.value].address, at);
}

/* Asks for what the tile at m, n writes last, and its epilogue reads; where tiles add to their results, for what the next tile
 * begins with. */
static void prefetch_results(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value n, cg_value last)
{
    if (q->direct && !q->one_pass) {
        cg_value next = cg_add(c, n, cg_i64(c, c->target->nr)), whole = cg_icmp(c, LLVMIntSGE, next, q->end[ROLE_N]);
        cg_value below = cg_add(c, m, cg_i64(c, c->target->mr));
        below = cg_select(c, cg_icmp(c, LLVMIntSLT, below, q->end[ROLE_M]), below, q->begin[ROLE_M]);
        m = cg_select(c, whole, below, m);
        n = cg_select(c, whole, q->begin[ROLE_N], next);
        blocking_prefetch_results(c, q, number_of(c, q, batch, m, n), q->distance);
        return;
    }
    cg_branch finishes;
    cg_if_begin(c, &finishes, last, 0, NULL);
    blocking_prefetch_results(c, q, number_of(c, q, batch, m, n), q->distance);
    cg_if_end(c, &finishes, NULL);
}

/* Which of the left panels there are is number `number` of the block. */
static cg_value row_panel(cg *c, const blocking *q, cg_value number)
{
    if (q->copies) return cg_rem(c, number, cg_i64(c, 2));
    return q->stride ? cg_i64(c, 0) : number;
}

static cg_value panel_of_rows(cg *c, const blocking *q, cg_value i)
{
    return cg_at(c, c->f32, q->a, cg_mul(c, i, cg_i64(c, q->a_room)));
}

/* Packs the rows of the row of tiles from m on into panel i, unless they are copied already (i1, where tiles copy). */
static void pack_row(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value end, cg_value k, cg_value length, cg_value i,
                     cg_value copied)
{
    cg_branch missing;
    pack rows = blocking_rows(c, q, batch, m, cg_min(c, cg_add(c, m, cg_i64(c, c->target->mr)), end), k, length);
    rows.address = panel_of_rows(c, q, i);
    if (q->copies) cg_if_begin(c, &missing, cg_icmp(c, LLVMIntEQ, copied, LLVMConstNull(c->i1)), 0, NULL);
    blocking_pack_rest(c, rows, false, NULL, 0);
    if (q->copies) cg_if_end(c, &missing, NULL);
}

/* All tiles of rows m .. end - 1, for positions k .. k + length - 1: row by row, the order in which results lie. */
static void run_tiles(cg *c, blocking *q, cg_value batch, cg_value m, cg_value end, cg_value k, cg_value length)
{
    int64_t mr = c->target->mr, nr = c->target->nr;
    cg_value more = LLVMBuildZExt(c->b, cg_icmp(c, LLVMIntSGT, k, q->begin[ROLE_K]), c->i64, "");
    cg_value last = cg_icmp(c, LLVMIntSGE, cg_add(c, k, cg_i64(c, q->kc)), q->end[ROLE_K]);
    cg_value runs = NULL, positions = q->run ? cg_min(c, length, cg_i64(c, q->run)) : length;
    if (q->run) runs = cg_div(c, cg_add(c, length, cg_i64(c, q->run - 1)), cg_i64(c, q->run));
    cg_value cells = cg_pack_cells(c, q->x, q->pairs, k, positions);
    cg_loop columns, rows;
    cg_value copied = LLVMConstNull(c->i1), copies = NULL;
    cg_loop_begin(c, &rows, m, end, mr, q->copies, &copied);
    cg_value number = cg_div(c, cg_sub(c, rows.i, m), cg_i64(c, mr)), i = row_panel(c, q, number);
    if (q->copies) copies = blocking_copies_next(c, q, rows.i, end);
    if (q->stride) pack_row(c, q, batch, rows.i, end, k, length, i, copied);
    cg_loop_begin(c, &columns, q->begin[ROLE_N], q->end[ROLE_N], nr, 0, NULL);
    cg_value j = cg_div(c, cg_sub(c, columns.i, q->begin[ROLE_N]), cg_i64(c, nr));
    const target_tile tile = find_tile(c, q, batch, rows.i, columns.i, j);
    const pack a = blocking_rows(c, q, batch, m, end, k, length), b = blocking_columns(c, q, batch, k, length);
    cg_value arg[TILE_ARGUMENTS] = {NULL, NULL, cells, tile.address, more};
    int count = 5;
    if (q->run) arg[count++] = runs;
    if (q->ahead) blocking_find_ahead(c, q, batch, cg_add(c, rows.i, cg_i64(c, mr)), j, &arg[count], &arg[count + 1]);
    count += 2 * q->ahead;
    arg[0] = q->reads_a ? cg_pack_source(c, &a, rows.i, &arg[count++]) : panel_of_rows(c, q, i);
    arg[1] = q->in_place ? cg_pack_source(c, &b, columns.i, &arg[count++]) : panel_at(c, q, columns.i, j, k);
    if (q->reads_a && !q->in_place) arg[count++] = cg_i64(c, nr);
    if (q->direct) arg[count++] = tile.distance;
    if (q->addend) {
        arg[count++] = tile.addend;
        arg[count] = q->adds_rows ? q->distance : cg_i64(c, 0);
    }
    blocking_prefetch_next(c, q, batch, rows.i, end, k, j, copies);
    if (!q->streams) prefetch_results(c, q, batch, rows.i, columns.i, last);
    cg_branch fills, copying;
    cg_value below = cg_add(c, rows.i, cg_i64(c, mr)), next = row_panel(c, q, cg_add(c, number, cg_i64(c, 1)));
    const bool may_copy = blocking_copy_begin(c, q, copies, &a, below, columns.i, next, arg, &copying);
    const bool may_fill = blocking_fill_begin(c, q, &a, &b, rows.i, columns.i, arg, &fills);
    blocking_call_tile(c, q, cg_sub(c, q->end[ROLE_M], rows.i), cg_sub(c, q->end[ROLE_N], columns.i), arg);
    if (may_fill) cg_if_end(c, &fills, NULL);
    if (may_copy) cg_if_end(c, &copying, NULL);
    if (q->tile) {
        cg_branch done;
        cg_if_begin(c, &done, tile.staged ? cg_and(c, last, tile.staged) : last, 0, NULL);
        blocking_finish(c, q, batch, rows.i, columns.i, tile.address);
        cg_if_end(c, &done, NULL);
    }
    cg_loop_end(c, &columns, NULL);
    if (q->sums.count) {
        cg_branch done;
        cg_if_begin(c, &done, last, 0, NULL);
        row_sums_advance(c, &q->sums, blocking_rows_of_tile(c, q, rows.i));
        cg_if_end(c, &done, NULL);
    }
    cg_loop_end(c, &rows, &copies);
}

/* Rows m .. end - 1 of the task: packs them and runs their tiles. */
static void run_rows(cg *c, blocking *q, cg_value batch, cg_value m, cg_value end, cg_value k, cg_value length)
{
    const pack a = blocking_rows(c, q, batch, m, end, k, length);
    if (!q->reads_a && !q->stride) blocking_pack_rest(c, a, q->fills_a, cg_sub(c, q->end[ROLE_N], q->begin[ROLE_N]), c->target->nr);
    run_tiles(c, q, batch, m, end, k, length);
}

static void run_block(cg *c, blocking *q, cg_value batch)
{
    cg_value end = cg_max(c, q->end[ROLE_K], cg_add(c, q->begin[ROLE_K], cg_i64(c, 1)));
    cg_loop l, m;
    cg_loop_begin(c, &l, q->begin[ROLE_K], end, q->kc, 0, NULL);
    cg_value length = blocking_length(c, q, l.i);
    if (!q->x->panels && !q->in_place) {
        const pack b = blocking_columns(c, q, batch, l.i, length);
        blocking_pack_rest(c, b, q->fills_b, cg_sub(c, q->end[ROLE_M], q->begin[ROLE_M]), c->target->mr);
    }
    if ((q->most_rows == q->mc && !q->sums.count) || q->stride) {
        run_rows(c, q, batch, q->begin[ROLE_M], q->end[ROLE_M], l.i, length);
    } else {
        cg_loop_begin(c, &m, q->begin[ROLE_M], q->end[ROLE_M], q->mc, 0, NULL);
        run_rows(c, q, batch, m.i, cg_min(c, cg_add(c, m.i, cg_i64(c, q->mc)), q->end[ROLE_M]), l.i, length);
        cg_loop_end(c, &m, NULL);
    }
    cg_loop_end(c, &l, NULL);
}

/* The same where tiles wait in scratch memory for the last block of k: one block of rows after another. */
static void run_row_blocks(cg *c, const blocking *q, cg_value batch)
{
    blocking one = *q;
    cg_loop l;
    cg_loop_begin(c, &l, q->begin[ROLE_M], q->end[ROLE_M], q->most_rows, 0, NULL);
    one.begin[ROLE_M] = l.i;
    one.end[ROLE_M] = cg_min(c, cg_add(c, l.i, cg_i64(c, q->most_rows)), q->end[ROLE_M]);
    run_block(c, &one, batch);
    cg_loop_end(c, &l, NULL);
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

/* Panels of the right operand cost more than the sums of a few rows: it may then be read where it lies. Rows must be the batch
 * alone. */
static bool may_have_few_rows(const blocking *q)
{
    const contraction *x = q->x;
    const ir_dim m = q->size[ROLE_M], n = q->size[ROLE_N], b = q->size[ROLE_B], k = q->size[ROLE_K];
    const bool plain = m.batch && m.count == 1 && !q->sums.count && !n.batch && !b.batch && b.count == 1 && !k.batch && !q->pairs;
    return plain && !x->panels && x->splits <= 1 && !has_padding(x);
}

/* How many vectors of columns such a product does at a time; 0: the right operand does not lie along n. */
static int choose_row_vectors(const cg *c, const blocking *q)
{
    const int64_t n = q->size[ROLE_N].count;
    if (contraction_contiguous(&q->x->rhs, ROLE_N) < 0) return 0;
    int vectors = cg_rows_vectors(c);
    while (vectors > 1 && (q->task_columns % (vectors * c->lanes) || n % (vectors * c->lanes))) vectors /= 2;
    return vectors > 1 ? vectors : 0;
}

/* True when such a product may be one of vectors along k. */
static bool sums_along_k(const cg *c, const blocking *q)
{
    const contraction *x = q->x;
    if (x->count[ROLE_K] != 1 || x->count[ROLE_N] != 1 || q->size[ROLE_K].count < 4 * c->lanes) return false;
    return cg_pack_has_rows(c, x, &x->lhs) && cg_pack_has_rows(c, x, &x->rhs);
}

/* The whole task, or what is left of it where rows are not so few. */
static void run_task(cg *c, blocking *q)
{
    const bool may = may_have_few_rows(q), along_k = may && sums_along_k(c, q);
    const int vectors = may && !along_k ? choose_row_vectors(c, q) : 0;
    cg_branch few, some;
    cg_loop batches;
    const bool columns = q->task_columns < q->nc, rows = q->most_rows > q->task_rows;
    if (columns || rows) {
        cg_value has_columns = cg_icmp(c, LLVMIntSLT, q->begin[ROLE_N], q->end[ROLE_N]);
        cg_value has_rows = cg_icmp(c, LLVMIntSLT, q->begin[ROLE_M], q->end[ROLE_M]);
        cg_if_begin(c, &some, cg_and(c, has_columns, has_rows), 0, NULL);
    }
    if (vectors || along_k) {
        const int64_t most = base_max(c->target->mr / (along_k ? FEW_ROWS_PART_K : FEW_ROWS_PART), 1);
        cg_if_begin(c, &few, cg_icmp(c, LLVMIntSLE, cg_dim(c, q->size[ROLE_M]), cg_i64(c, most)), 0, NULL);
        if (along_k)
            cg_dot_rows_along_k(c, q->x, q->begin, q->end);
        else
            cg_dot_rows(c, q->x, vectors, q->begin, q->end);
        cg_if_other(c, &few, NULL);
    }
    cg_loop_begin(c, &batches, q->begin[ROLE_B], q->end[ROLE_B], 1, 0, NULL);
    if (q->sums.count && !q->one_pass)
        run_row_blocks(c, q, batches.i);
    else
        run_block(c, q, batches.i);
    cg_loop_end(c, &batches, NULL);
    if (vectors || along_k) cg_if_end(c, &few, NULL);
    if (columns || rows) cg_if_end(c, &some, NULL);
}

/* Tasks may take sums over rows: rows are what tasks are counted in, and columns the last dim of results. */
static bool can_sum_rows(const cg *c, const blocking *q)
{
    const contraction *x = q->x;
    const ir_dim b = q->size[ROLE_B], n = q->size[ROLE_N];
    if (!c->body->sum_count || q->rows != ROLE_M || b.batch || b.count != 1 || n.batch || x->splits > 1 || x->panels) return false;
    return x->count[ROLE_N] == 1 && contraction_contiguous(&x->out, ROLE_N) == 0;
}

bool cg_dot_blocked(cg *c, const contraction *given)
{
    contraction x = *given;
    contraction_merge(c, &x);
    if (!x.panels && is_better_swapped(c, &x)) contraction_swap(&x);
    contraction_order(&x);
    cg_kernel_begin(c);
    blocking q = {.x = &x, .pairs = take_pairs(c, &x)};
    blocking_choose(c, &q);
    if (can_sum_rows(c, &q)) q.sums = row_sums_describe(c);
    int64_t mr = c->target->mr, nr = c->target->nr, slack = c->lanes * (nr + 1);
    if (!q.reads_a) q.a = cg_scratch(c, 4 * round_up((q.stride ? 1 + q.copies : q.mc / mr) * q.a_room + slack, FLOATS_PER_LINE));
    if (!x.panels && !q.in_place) q.b = cg_scratch(c, 4 * round_up(q.nc / nr * q.b_room + slack, FLOATS_PER_LINE));
    /* Written in place, only a last tile of an unknown number of rows needs memory. */
    const int64_t staged_rows = q.direct ? mr : q.most_rows;
    if (!q.direct || q.size[ROLE_M].batch) q.tile = cg_scratch(c, 4 * round_up(q.one_pass ? mr * nr : staged_rows * q.nc, FLOATS_PER_LINE));
    if (q.adds != IR_NONE) q.addend = c->binding[q.adds].address;
    blocking_find_tiles(c, &q);
    blocking_find_fills(c, &q);
    blocking_choose_stream(c, &q);
    if (has_padding(&x)) q.zeros = make_zeros(c, q.kc + c->lanes);
    blocking_find_task(c, &q);
    cg_value zero = cg_i64(c, 0);
    q.distance = cg_sub(c, number_of(c, &q, zero, cg_i64(c, 1), zero), number_of(c, &q, zero, zero, zero));
    q.sums.first = q.begin[ROLE_N];
    if (q.sums.count) row_sums_begin(c, &q.sums, q.nc);
    run_task(c, &q);
    if (q.sums.count) row_sums_store(c, &q.sums, q.end[ROLE_N]);
    if (q.sums.count)
        cg_kernel_end(c, ir_fixed(q.sums.parts), 1, q.times);
    else
        cg_kernel_end(c, q.size[q.rows], q.grain, q.times);
    return q.sums.count > 0;
}

/* Panels pay when the tile is filled to some extent; narrow and integer products go element by element. */
static bool is_blocked(const cg *c, const contraction *x)
{
    ir_dtype t = cg_type(c, x->main)->dtype;
    cg_tiles tiles;
    if (!ir_dtype_is_float(t) || t == DTYPE_f64) return false;
    if (x->panels) return true;
    if (cg_tiles_find(cg_node(c, x->main), &tiles)) return tiles.mr > 0;
    ir_dim m = contraction_size(x, ROLE_M), n = contraction_size(x, ROLE_N), k = contraction_size(x, ROLE_K);
    if (!m.batch && m.count * 4 < c->target->mr) return n.batch || n.count >= 2 * c->target->nr;
    if (!n.batch && n.count * 8 < c->target->nr) return !k.batch && k.count >= 64 && n.count > 2;
    return true;
}

/* True when it has written the sums over rows as well. */
static bool write_contraction(cg *c, const contraction *x)
{
    if (is_blocked(c, x)) return cg_dot_blocked(c, x);
    cg_dot_direct(c, x);
    return false;
}

void cg_kernel_dot(cg *c)
{
    contraction x;
    contraction_build(c, &x);
    if (!write_contraction(c, &x)) row_sums_afterwards(c);
}

static bool write_convolution(cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    if (ir_attr_find(n, ATTR_winograd)) {
        if (winograd_is_taps(n))
            cg_winograd_taps(c);
        else
            cg_winograd_weights(c);
        return false;
    }
    contraction x;
    contraction_build(c, &x);
    const int phases = contraction_phases(&x);
    if (cg_depthwise_is_taps(c, &x)) {
        cg_depthwise_taps(c, &x);
        return true;
    }
    if (cg_depthwise_is_weights(c, &x)) {
        cg_depthwise_weights(c, &x);
        return false;
    }
    if (phases == 1 || phases > CG_LAUNCHES) return write_contraction(c, &x);
    for (int i = 0; i < phases; i++) {
        contraction one = x;
        contraction_keep_phase(&one, i);
        write_contraction(c, &one);
    }
    return false;
}

void cg_kernel_convolution(cg *c)
{
    if (!write_convolution(c)) row_sums_afterwards(c);
}
