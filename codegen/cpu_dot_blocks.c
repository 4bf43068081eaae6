/* cpu_dot_blocks.c: the sizes of a matrix product's blocks and tasks, see blocking.h. */
#include "codegen/blocking.h"
#include "codegen/winograd.h"

/* Panels are counted in cells of 4 bytes: an f32 or a pair of bf16 at positions of k next to each other, where the target
 * adds up the products of pairs. LARGE_K: with a second cache of LARGE bytes at least, where it holds no more of the left
 * operand than a panel. WHOLE_K: so many are not cut into blocks. */
enum { BLOCK_M = 144, BLOCK_N = 256, BLOCK_K = 320, LARGE_K = 456, WHOLE_K = 512, LARGE = 1 << 20 };

/* Rows that are the batch alone are often one block: then columns are cut into COLUMN_TASKS, of LEAST_COLUMNS and COLUMN_WORK
 * operations at least (N counts as BATCH), as long as there are so few rows that whole blocks of columns would be fewer than
 * WIDE_TASKS tasks. */
enum { COLUMN_TASKS = 4, LEAST_COLUMNS = 64, COLUMN_WORK = 1 << 19, WIDE_TASKS = 12 };

/* The batch when a choice needs a number. */
enum { BATCH = 32 };

/* A task does at most MOST_BLOCKS blocks of rows with the right panels it has packed. Results that tiles add to block by block
 * of positions are to stay in the cache, unless they are fewer than LEAST_BLOCKS. */
enum { MOST_BLOCKS = 8, LEAST_BLOCKS = 3 };

/* Left operands are read where they lie when their runs along k have at least SHORTEST_RUN positions, SHORTEST_PAIRS of bf16,
 * unless rows are a multiple of SAME_SET cells apart: those fall on the same cache set. Positions may be FARTHEST floats apart. */
enum { SHORTEST_RUN = 8, SHORTEST_PAIRS = 32, SAME_SET = 1024, FARTHEST = 64 };

/* Operands that lie along m and n are read where they lie when positions next to each other are less than one of the ways of
 * the first cache apart: else all fall on few of its sets; half of that for right ones of sums so long that the left rows of a
 * tile fill it. Many come from the second cache even so, for which tiles with fewer multiply-adds of vectors at a position than
 * LEAST_SUMS would wait, as they would for copying a vector on the way. */
enum { WAYS = 8, LEAST_SUMS = 16 };

/* A product whose right operand lies in panels already: rows of a task at least, and operations, about 4 us. */
enum { PANEL_ROWS = 14, PANEL_WORK = 7 << 16 };

static cg_tiles usual_blocks(const cg_target *t) { return (cg_tiles){t->mr, t->nr, BLOCK_M, BLOCK_N, BLOCK_K}; }

cg_tiles cg_tiles_usual(const cg_target *t, int winograd, const ir_node *n)
{
    if (winograd) return winograd_tiles_usual(t, winograd, n);
    if (ir_attr_find(n, ATTR_panels)) return (cg_tiles){t->mr, t->nr, round_up(base_max(PANEL_ROWS, 16), t->mr), 4 * t->nr, BLOCK_K};
    return usual_blocks(t);
}

/* Size of a block along a role: about `most`; a known whole is cut into equal parts. */
static int64_t block_of(ir_dim size, int64_t most, int64_t unit)
{
    if (size.batch) return round_up(most, unit);
    int64_t whole = base_max(size.count, 1), parts = base_ceil_div(whole, most + most / 4);
    return round_up(base_ceil_div(whole, parts), unit);
}

int64_t blocking_count(const blocking *q, role r)
{
    const int64_t block[ROLE_COUNT] = {1, q->task_rows, q->task_columns, 1};
    return base_max(base_ceil_div(q->size[r].count, block[r]), 1);
}

/* Elements of the left operand in memory between neighbouring positions of the last dim of a role; 0: not known. */
static int64_t distance_along(const cg *c, const contraction *x, role r)
{
    const ir_type *t = cg_type(c, x->lhs.value);
    int64_t distance = 0, size = 1;
    for (int d = x->lhs.rank - 1; d >= 0; d--) {
        for (int i = 0; i < x->lhs.dim[d].count; i++) {
            const contraction_term *term = &x->lhs.dim[d].term[i];
            if (term->role == r && term->dim == x->count[r] - 1) distance += term->factor * size;
        }
        size = t->dim[d].batch ? 0 : size * t->dim[d].count;
    }
    return distance;
}

/* Rows in short pieces along memory, as those of a kernel's gradient with few channels, are not packed: they are read along the
 * last dim of k, at a distance. Blocks of k are whole runs. */
static void choose_distant_run(const cg *c, blocking *q)
{
    const contraction *x = q->x;
    const int rows = contraction_contiguous(&x->lhs, ROLE_M), last = x->count[ROLE_K] - 1;
    if (q->pairs || last < 0 || x->count[ROLE_M] < 2 || rows != x->count[ROLE_M] - 1 || !cg_pack_is_unchecked(c, &x->lhs)) return;
    const ir_dim inner = x->size[ROLE_K][last];
    const int64_t distance = distance_along(c, x, ROLE_K);
    if (x->size[ROLE_M][rows].count % c->lanes == 0 || distance <= 0 || distance > FARTHEST) return;
    if (inner.batch || inner.count < SHORTEST_RUN || inner.count > 2 * q->kc) return;
    q->run = inner.count;
    q->run_step = distance;
    q->kc = base_max(q->kc / q->run, 1) * q->run;
    q->cells = q->kc;
}

/* Decides whether the left operand is read where it lies, and cuts blocks of k into whole runs. */
static void choose_run(const cg *c, blocking *q)
{
    const contraction *x = q->x;
    const int64_t per_cell = q->pairs ? 2 : 1;
    q->run_step = 1;
    if (!q->one_pass) choose_distant_run(c, q);
    if (q->run || x->splits || !x->count[ROLE_K] || !cg_pack_has_rows(c, x, &x->lhs)) return;
    if (cg_type(c, x->lhs.value)->dtype != (q->pairs ? DTYPE_bf16 : DTYPE_f32)) return;
    const ir_dim inner = x->size[ROLE_K][x->count[ROLE_K] - 1];
    const bool one_run = x->count[ROLE_K] == 1;
    if (inner.batch || inner.count < (q->pairs ? SHORTEST_PAIRS : SHORTEST_RUN)) return;
    const int64_t distance = distance_along(c, x, ROLE_M);
    if (distance && distance % (SAME_SET * per_cell) == 0) return;
    const int64_t parts = base_ceil_div(inner.count, q->kc);
    if (inner.count % per_cell != 0 || (!one_run && inner.count % (parts * per_cell) != 0)) return;
    if (parts > 1)
        q->run = one_run ? q->kc : inner.count / parts;
    else
        q->run = inner.count;
    q->kc = q->one_pass || one_run ? q->kc : q->kc / q->run * q->run;
}

/* True when tiles may read an operand where it lies, in vectors along m or n. */
static bool lies_near(const cg *c, const blocking *q, const contraction_side *s, role r)
{
    const contraction *x = q->x;
    int dims = 0;
    for (int d = 0; d < s->rank; d++) dims += !s->dim[d].merged;
    if (x->count[ROLE_B] || x->count[r] != 1 || dims != x->count[ROLE_K] + 1 || !cg_pack_is_even(c, x, s, r)) return false;
    const ir_dim distance = cg_type(c, s->value)->dim[s->rank - 1], k = q->size[ROLE_K];
    const bool is_long = r == ROLE_N && k.count * (k.batch ? BATCH : 1) > q->kc;
    return !distance.batch && 4 * distance.count < c->target->l1 / (is_long ? 2 * WAYS : WAYS);
}

static bool is_in_place(const cg *c, const blocking *q)
{
    if (q->pairs || q->x->panels || !q->direct || q->size[ROLE_M].batch) return false;
    if (c->target->mr * c->target->nr < LEAST_SUMS * c->lanes) return false;
    return lies_near(c, q, &q->x->lhs, ROLE_M) && lies_near(c, q, &q->x->rhs, ROLE_N);
}

/* The left operand alone, of a product with one column of tiles: nothing would use its panels again. */
static bool reads_left(const cg *c, const blocking *q)
{
    const ir_dim m = q->size[ROLE_M], n = q->size[ROLE_N];
    if (q->pairs || q->x->panels || m.batch || n.batch || n.count >= c->target->nr) return false;
    if (c->target->mr * c->target->nr < LEAST_SUMS * c->lanes) return false;
    return lies_near(c, q, &q->x->lhs, ROLE_M);
}

/* Whole rows lie one after another. */
static bool reads_in_order(const cg *c, const blocking *q)
{
    const contraction *x = q->x;
    if (!q->run || !q->one_pass || x->count[ROLE_K] != 1 || (q->pairs && c->target->blocks)) return false;
    return contraction_is_linear(c, x, &x->lhs, ROLE_M) && distance_along(c, x, ROLE_M) == q->run;
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

/* Of a row of a panel that is kept row by row: room for `cells` of them and a vector, an odd number of cache lines, so that
 * rows do not fall on the same sets. */
static int64_t row_stride(int64_t cells) { return (base_ceil_div(cells, FLOATS_PER_LINE) | 1) * FLOATS_PER_LINE; }

/* The left operand lies along k: a block keeps a panel of it, or none. */
static bool keeps_panel(const blocking *q) { return cg_pack_is_along_k(q->x, &q->x->lhs); }

/* About `most` positions, so that blocks of k are equally long: a short one would read and write its results for little. */
static int64_t even_positions(int64_t k, int64_t most)
{
    const int64_t blocks = base_max(1, base_ceil_div(k, most + most / 8));
    return round_up(base_ceil_div(k, blocks), FLOATS_PER_LINE);
}

static void choose_positions(const cg *c, blocking *q, bool tiled)
{
    const ir_dim k = q->size[ROLE_K];
    q->whole_k = q->most.k * WHOLE_K / BLOCK_K;
    if (!tiled && c->target->l2 >= LARGE && keeps_panel(q)) q->most.k = LARGE_K;
    q->one_pass = !k.batch && cells_of(q, k.count) <= q->whole_k;
    q->kc = q->pairs && cells_of(q, 2 * q->most.k) <= q->whole_k ? 2 * q->most.k : q->most.k;
    if (q->one_pass)
        q->kc = base_max(k.count, 1);
    else if (!k.batch)
        q->kc = even_positions(base_ceil_div(k.count, base_max(q->x->splits, 1)), q->kc);
    q->cells = cells_of(q, q->kc);
}

/* Panels that lie in memory cost a task nothing, so tasks may be as small as their dispatch allows. */
static void choose_panel_blocks(const cg *c, blocking *q)
{
    const cg_target *t = c->target;
    const int64_t k = base_max(q->size[ROLE_K].count, 1), rows = round_up(PANEL_ROWS, t->mr);
    q->nc = block_of(q->size[ROLE_N], base_max(PANEL_WORK / (2 * k * rows), t->nr), t->nr);
    q->mc = base_min(q->mc, base_max(rows, PANEL_WORK / (2 * k * q->nc) / t->mr * t->mr));
}

/* What is added to the results, if it is an array in memory, as large as these or their columns: n is the root. */
static bool find_addend(const cg *c, blocking *q, const ir_node *n)
{
    const ir_type *out = &n->type;
    if (n->op != OP_add || out->dtype != DTYPE_f32 || !q->one_pass || n->in[0] == n->in[1]) return false;
    q->adds = n->in[n->in[0] == q->x->main];
    if (n->in[0] != q->x->main && n->in[1] != q->x->main) return false;
    const ir_node *a = cg_node(c, q->adds);
    q->adds_rows = a->op == OP_parameter && ir_type_same_shape(&a->type, out);
    if (a->op != OP_broadcast_in_dim) return q->adds_rows;
    int count;
    const int64_t *to = ir_attr_ints(a, ATTR_dimensions, &count);
    ir_dim columns = ir_fixed(1);
    q->adds = a->in[0];
    for (int d = 0; d < count; d++) {
        if (to[d] != out->rank - count + d || !ir_dim_equal(cg_type(c, q->adds)->dim[d], out->dim[to[d]])) return false;
        columns.count *= out->dim[to[d]].count;
        columns.batch |= out->dim[to[d]].batch;
    }
    return cg_node(c, q->adds)->op == OP_parameter && ir_dim_equal(columns, q->size[ROLE_N]);
}

/* Results are written by tiles, which may add something to them: there is no other epilogue, and they are row-major along m
 * and n. */
static bool is_direct(const cg *c, blocking *q)
{
    const contraction *x = q->x;
    const cg_body *b = c->body;
    q->adds = IR_NONE;
    if (b->root_count != 1 || cg_type(c, x->main)->dtype != DTYPE_f32) return false;
    if ((q->pairs && c->target->blocks) || !q->flat || !contraction_is_linear(c, x, &x->out, ROLE_N)) return false;
    if (contraction_contiguous(&x->out, ROLE_N) != x->count[ROLE_N] - 1 || !x->count[ROLE_N]) return false;
    const int unit = q->pairs ? c->lanes : cg_tile_unit(c);
    if (q->size[ROLE_N].batch || q->size[ROLE_N].count % unit != 0) return false;
    if (b->root[0] == x->main || find_addend(c, q, cg_node(c, b->root[0]))) return true;
    q->adds = IR_NONE;
    return false;
}

/* The rows that a task does at most with one right operand. */
static int64_t choose_most_rows(const cg *c, const blocking *q)
{
    if (q->rows != ROLE_M || q->x->panels || q->reads_a) return q->mc;
    const int64_t l2 = c->target->l2, room = l2 >= LARGE && !keeps_panel(q) ? l2 / 2 : l2;
    const int64_t cached = q->one_pass ? MOST_BLOCKS * q->mc : room / (4 * q->nc) / c->target->mr * c->target->mr;
    return base_min(base_max(cached, LEAST_BLOCKS * q->mc), MOST_BLOCKS * q->mc);
}

static void choose_tasks(const cg *c, blocking *q)
{
    const ir_dim k = q->size[ROLE_K];
    q->rows = ROLE_M;
    if (q->size[ROLE_B].batch) q->rows = ROLE_B;
    if (q->size[ROLE_N].batch) q->rows = ROLE_N;
    q->task_rows = q->mc;
    q->most_rows = choose_most_rows(c, q);
    q->times = base_max(q->x->splits, 1);
    for (int r = ROLE_B; r <= ROLE_N; r++) {
        if (r != (int)q->rows) q->times *= blocking_count(q, (role)r);
    }
    q->grain = q->rows == ROLE_M ? q->task_rows : q->rows == ROLE_N ? q->nc : 1;
    if (q->rows == ROLE_B) {
        int64_t work = 2 * base_min(q->mc, q->size[ROLE_M].count) * q->nc * (k.batch ? q->most.k : k.count);
        q->grain = base_max(1, (1 << 20) / base_max(work, 1));
    }
}

static bool has_batch_rows(const blocking *q)
{
    const ir_dim m = q->size[ROLE_M], b = q->size[ROLE_B];
    return m.batch && m.count == 1 && !q->size[ROLE_N].batch && !q->size[ROLE_K].batch && !b.batch && b.count == 1;
}

/* Rows that are the batch alone, of few columns, which cost little to pack: blocks of COLUMN_WORK operations. */
static void choose_short_blocks(const cg *c, blocking *q)
{
    const ir_dim n = q->size[ROLE_N], k = q->size[ROLE_K];
    if (!has_batch_rows(q) || n.count > LEAST_COLUMNS || q->x->panels) return;
    const int64_t rows = COLUMN_WORK / (2 * base_max(k.count, 1) * base_max(n.count, 1));
    q->mc = base_min(q->mc, round_up(base_max(rows, 2 * c->target->mr), c->target->mr));
}

/* A multiple of COLUMN_TASKS of tasks: others would leave some threads without one. */
static void choose_columns(const cg *c, blocking *q, bool tiled)
{
    q->task_columns = q->nc;
    if (tiled || q->x->panels || !has_batch_rows(q)) return;
    const int64_t n = base_max(q->size[ROLE_N].count, 1), k = base_max(q->size[ROLE_K].count, 1);
    const int64_t tasks = round_up(base_ceil_div(n, q->most.n), COLUMN_TASKS);
    const int64_t least = base_max(LEAST_COLUMNS, COLUMN_WORK / (2 * BATCH * k));
    const int64_t columns = round_up(base_max(least, base_ceil_div(n, tasks)), c->target->nr);
    if (columns >= q->nc) return;
    const int64_t parts = base_max(1, base_min((q->most.n + q->most.n / 4) / columns, base_ceil_div(n, columns)));
    q->task_columns = columns;
    q->nc = parts * columns;
    q->wide_rows = q->mc * (base_ceil_div(WIDE_TASKS, base_ceil_div(n, q->nc)) - 1);
}

/* Rows of whole vectors lie in memory, so that a tile may copy one vector at each of its positions. */
static bool copies_rows(const cg *c, const blocking *q)
{
    const contraction *x = q->x;
    const ir_dim k = q->size[ROLE_K];
    if (!q->stride || q->pairs || x->splits > 1 || x->count[ROLE_K] != 1 || !cg_pack_is_unchecked(c, &x->lhs)) return false;
    if (!contraction_is_linear(c, x, &x->lhs, ROLE_M) || !contraction_is_linear(c, x, &x->lhs, ROLE_K)) return false;
    if (c->target->mr * c->target->nr < LEAST_SUMS * c->lanes) return false;
    return !k.batch && k.count % c->lanes == 0 && q->kc % c->lanes == 0 && c->target->mr <= c->lanes;
}

void blocking_choose(const cg *c, blocking *q)
{
    const cg_target *t = c->target;
    for (int r = 0; r < ROLE_COUNT; r++) q->size[r] = contraction_size(q->x, (role)r);
    q->most = usual_blocks(t);
    const bool tiled = cg_tiles_find(cg_node(c, q->x->main), &q->most);
    q->nc = block_of(q->size[ROLE_N], q->most.n, t->nr);
    q->mc = block_of(q->size[ROLE_M], q->most.m + base_max(q->most.n - q->nc, 0), t->mr);
    bug_if(q->x->panels % t->nr, "panels of %lld columns for tiles of %d", (long long)q->x->panels, t->nr);
    if (q->x->panels && !tiled) choose_panel_blocks(c, q);
    if (!tiled) choose_short_blocks(c, q);
    choose_columns(c, q, tiled);
    choose_positions(c, q, tiled);
    q->flat = contraction_is_linear(c, q->x, &q->x->out, ROLE_M);
    q->direct = is_direct(c, q);
    q->in_place = is_in_place(c, q);
    q->reads_a = q->in_place || reads_left(c, q);
    choose_tasks(c, q);
    choose_run(c, q);
    q->ahead = reads_in_order(c, q);
    q->stride = cg_pack_is_along_k(q->x, &q->x->lhs) && !q->run ? row_stride(base_max(q->whole_k, q->cells) + c->lanes) : 0;
    /* A sweep fills all panels at once: what its last vector writes past one must not be the next one's. */
    q->copies = copies_rows(c, q);
    q->copy_step = q->copies ? distance_along(c, q->x, ROLE_M) : 0;
    q->a_room = q->stride ? t->mr * q->stride : t->mr * q->cells + (t->mr % c->lanes ? FLOATS_PER_LINE : 0);
    if (q->run) q->a_room = t->mr * base_ceil_div(q->kc, q->run) * (int64_t)(sizeof(void *) / sizeof(float));
    /* Panels must not all begin on one cache set. */
    q->b_room = t->nr * (q->cells + 1);
    q->fills_a = !q->pairs && !q->stride && !q->run && !q->reads_a && cg_pack_is_even(c, q->x, &q->x->lhs, ROLE_M);
    q->fills_b = !q->pairs && !q->x->panels && !q->reads_a && cg_pack_is_even(c, q->x, &q->x->rhs, ROLE_N);
}
