/* nest_moments.c: the sums of a matrix's columns and of the squares around their means, in one pass over memory. A block of
 * rows is read twice, the second time from the nearest cache: its sums, then the squares around its own means. Blocks are
 * merged by Chan, Golub and LeVeque's formula ("Algorithms for computing the sample variance", 1983), which loses no more
 * than two passes over everything do. */
#include "codegen/cg_rules.h"

typedef struct moments {
    int root;
    ir_value x;
    ir_dtype type;
    cg_value sum, squares; /* scratch: float [columns], of all blocks before this one */
    cg_value block;        /* the same: sums of this block */
    cg_value begin, end;   /* rows of the block, */
    cg_value rows, weight; /* f32: their number; before * rows / (before + rows), where `before` is that of earlier rows */
    cg_value before;
    cg_value row;          /* that is being added */
    cg_value part;
} moments;

static cg_value *at_row(cg *c, const moments *m, cg_value row, cg_value position, int lanes, int width, cg_value *out)
{
    for (int j = 0; j < width; j++) {
        cg_value at[] = {row, cg_add(c, position, cg_i64(c, (int64_t)j * lanes))};
        cg_index index = cg_index_make(lanes, 2, at);
        cg_index_run(&index, 1, lanes);
        out[j] = cg_widen(c, m->type, cg_element(c, m->x, &index));
    }
    return out;
}

static cg_value place(cg *c, cg_value array, cg_value position, int lanes, int j)
{
    return cg_at(c, c->f32, array, cg_add(c, position, cg_i64(c, (int64_t)j * lanes)));
}

static cg_value held(cg *c, cg_value array, cg_value position, int lanes, int j)
{
    return cg_load(c, cg_vector(c->f32, lanes), place(c, array, position, lanes, j), 4);
}

static void clear_step(cg *c, cg_value position, int lanes, int width, void *context)
{
    const moments *m = context;
    const cg_value array[] = {m->sum, m->squares};
    for (int i = 0; i < 2 * width; i++) {
        cg_store(c, cg_number(c, DTYPE_f32, 0, lanes), place(c, array[i % 2], position, lanes, i / 2), 4);
    }
}

static void first_step(cg *c, cg_value position, int lanes, int width, void *context)
{
    const moments *m = context;
    cg_value x[CG_CARRIED];
    at_row(c, m, m->begin, position, lanes, width, x);
    for (int j = 0; j < width; j++) cg_store(c, x[j], place(c, m->block, position, lanes, j), 4);
}

static void add_step(cg *c, cg_value position, int lanes, int width, void *context)
{
    const moments *m = context;
    cg_value x[CG_CARRIED];
    at_row(c, m, m->row, position, lanes, width, x);
    for (int j = 0; j < width; j++) {
        cg_value sum = cg_fadd(c, held(c, m->block, position, lanes, j), x[j]);
        cg_store(c, sum, place(c, m->block, position, lanes, j), 4);
    }
}

static cg_value over(cg *c, cg_value a, cg_value count, int lanes) { return cg_fdiv(c, a, cg_splat(c, count, lanes)); }

/* Squares around the block's means, and the merge. */
static void merge_step(cg *c, cg_value position, int lanes, int width, void *context)
{
    const moments *m = context;
    cg_value mean[CG_CARRIED], squares[CG_CARRIED], x[CG_CARRIED];
    for (int j = 0; j < width; j++) {
        mean[j] = over(c, held(c, m->block, position, lanes, j), m->rows, lanes);
        squares[j] = cg_number(c, DTYPE_f32, 0, lanes);
    }
    cg_loop l;
    cg_loop_begin(c, &l, m->begin, m->end, 1, width, squares);
    at_row(c, m, l.i, position, lanes, width, x);
    for (int j = 0; j < width; j++) {
        cg_value d = cg_fsub(c, x[j], mean[j]);
        squares[j] = cg_fma(c, d, d, squares[j]);
    }
    cg_loop_end(c, &l, squares);
    cg_value earlier = cg_combine(c, "maximum", DTYPE_f32, m->before, cg_number(c, DTYPE_f32, 1, 1));
    for (int j = 0; j < width; j++) {
        cg_value sum = held(c, m->sum, position, lanes, j), all = held(c, m->squares, position, lanes, j);
        cg_value apart = cg_fsub(c, mean[j], over(c, sum, earlier, lanes));
        cg_value between = cg_fmul(c, cg_fmul(c, apart, apart), cg_splat(c, m->weight, lanes));
        all = cg_fadd(c, all, cg_fadd(c, squares[j], between));
        cg_store(c, all, place(c, m->squares, position, lanes, j), 4);
        sum = cg_fadd(c, sum, held(c, m->block, position, lanes, j));
        cg_store(c, sum, place(c, m->sum, position, lanes, j), 4);
    }
}

static void store_step(cg *c, cg_value position, int lanes, int width, void *context)
{
    const moments *m = context;
    for (int i = 0; i < MOMENTS_COUNT * width; i++) {
        const int what = i % MOMENTS_COUNT, j = i / MOMENTS_COUNT;
        cg_value at[] = {m->part, cg_i64(c, what), cg_add(c, position, cg_i64(c, (int64_t)j * lanes))};
        cg_index index = cg_index_make(lanes, 3, at);
        cg_index_run(&index, 2, lanes);
        cg_value v = what == MOMENTS_ROWS ? m->rows : held(c, what == MOMENTS_SUM ? m->sum : m->squares, position, lanes, j);
        cg_root_store(c, m->root, &index, cg_splat(c, v, lanes));
    }
}

static cg_value count_of(cg *c, cg_value rows) { return LLVMBuildSIToFP(c->b, rows, c->f32, ""); }

void cg_nest_moments(cg *c)
{
    bug_if(c->body->root[0] != c->body->main, "moments with an epilogue");
    cg_kernel_begin(c);
    cg_moments_write(c, 0);
}

void cg_moments_write(cg *c, int root)
{
    const ir_node *n = cg_node(c, c->body->root[root]);
    const ir_type *t = cg_type(c, n->in[0]);
    const int64_t splits = ir_attr_int(n, ATTR_splits, 1), columns = t->dim[1].count, size = 4 * columns;
    const int64_t block = base_max(4, c->target->l1 / 2 / base_max(1, columns * (int64_t)ir_dtype_size(t->dtype)));
    const int width = c->target->registers / 4, narrow = 4;
    moments m = {.root = root, .x = n->in[0], .type = t->dtype};
    cg_value zero = cg_i64(c, 0), end_column = cg_i64(c, columns), all = cg_dim(c, t->dim[0]), parts = cg_i64(c, splits);
    cg_task_rows(c, ir_fixed(splits), 1, 1, &m.part, &(cg_value){NULL}, NULL);
    cg_value from = cg_div(c, cg_mul(c, m.part, all), parts);
    cg_value to = cg_div(c, cg_mul(c, cg_add(c, m.part, cg_i64(c, 1)), all), parts);
    m.sum = cg_scratch(c, size);
    m.squares = cg_scratch(c, size);
    m.block = cg_scratch(c, size);
    cg_blocks_emit(c, zero, end_column, narrow, clear_step, &m);
    cg_loop blocks, rows;
    cg_loop_begin(c, &blocks, from, to, block, 0, NULL);
    m.begin = blocks.i;
    m.end = cg_min(c, cg_add(c, blocks.i, cg_i64(c, block)), to);
    m.before = count_of(c, cg_sub(c, m.begin, from));
    m.rows = count_of(c, cg_sub(c, m.end, m.begin));
    m.weight = cg_fdiv(c, cg_fmul(c, m.before, m.rows), cg_fadd(c, m.before, m.rows));
    cg_blocks_emit(c, zero, end_column, narrow, first_step, &m);
    cg_loop_begin(c, &rows, cg_add(c, m.begin, cg_i64(c, 1)), m.end, 1, 0, NULL);
    m.row = rows.i;
    cg_blocks_emit(c, zero, end_column, narrow, add_step, &m);
    cg_loop_end(c, &rows, NULL);
    cg_blocks_emit(c, zero, end_column, width, merge_step, &m);
    cg_loop_end(c, &blocks, NULL);
    m.rows = count_of(c, cg_sub(c, to, from));
    cg_blocks_emit(c, zero, end_column, narrow, store_step, &m);
    cg_kernel_end(c, ir_fixed(splits), 1, 1);
}
