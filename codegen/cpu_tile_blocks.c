/* cpu_tile_blocks.c: the register tile of pairs for processors that multiply 2 rows by 2 columns, 4 positions each, in one
 * instruction (target->blocks). Panels are those of all products of pairs; two cells of k make a turn. A register holds
 * the sums of 2 x 2 results; rows of results are put together at the end. */
#include "codegen/contraction.h"

enum { MOST_ROWS = CG_TILE_ROWS, LANES = 4, BLOCK = 2 };

typedef struct blocks {
    int rows, pairs, columns; /* of results; registers along the rows and the columns */
    bool apart;               /* rows lie one after another along k, each cell beside the next; else cell by cell */
    cg_value row[MOST_ROWS];  /* addresses of the rows' cells of this turn; when not `apart`, of the first of 4 rows each */
    cg_value b;               /* address of the columns' cells of this turn */
    int64_t step, column;     /* cells from one position to the next: of the rows, of the columns */
} blocks;

static cg_value merge(cg *c, cg_value x, cg_value y, const int lane[LANES]) { return cg_shuffle(c, x, y, LANES, lane); }

/* Cells of 4 rows or columns at two positions as two operands, each 2 of them with both cells. */
static cg_value zip(cg *c, cg_value first, cg_value second, int high)
{
    static const int lane[2][LANES] = {{0, 4, 1, 5}, {2, 6, 3, 7}};
    return merge(c, first, second, lane[high]);
}

/* Rows of results from registers of blocks, and back. */
static cg_value half(cg *c, cg_value x, cg_value y, int high)
{
    static const int lane[2][LANES] = {{0, 1, 4, 5}, {2, 3, 6, 7}};
    return merge(c, x, y, lane[high]);
}

static cg_value load(cg *c, cg_value address, int64_t cell)
{
    return cg_load(c, cg_vector(c->f32, LANES), cg_at(c, c->f32, address, cg_i64(c, cell)), 2);
}

/* Rows 2 * i and 2 * i + 1, the last one again when there are no more. */
static cg_value left_operand(cg *c, const blocks *t, int i, bool whole)
{
    const int lower = BLOCK * i, upper = base_min(lower + 1, t->rows - 1);
    if (!t->apart) {
        cg_value first = load(c, t->row[lower / LANES], 0);
        cg_value second = whole ? load(c, t->row[lower / LANES], t->step) : LLVMConstNull(LLVMTypeOf(first));
        return zip(c, first, second, i % BLOCK);
    }
    cg_value v[BLOCK];
    for (int r = 0; r < BLOCK; r++) {
        LLVMTypeRef type = whole ? cg_vector(c->f32, 2) : c->f32;
        v[r] = cg_load(c, type, t->row[r ? upper : lower], 2);
    }
    static const int both[LANES] = {0, 1, 2, 3};
    if (whole) return merge(c, v[0], v[1], both);
    cg_value zero = LLVMConstNull(cg_vector(c->f32, LANES));
    return cg_set_lane(c, cg_set_lane(c, zero, 0, v[0]), 2, v[1]);
}

/* Two cells of k, or the last one and zeros. */
static void blocks_step(cg *c, const blocks *t, bool whole, cg_value *acc)
{
    cg_value left[MOST_ROWS];
    for (int i = 0; i < t->pairs; i++) left[i] = left_operand(c, t, i, whole);
    for (int j = 0; j < t->columns; j += BLOCK) {
        cg_value first = load(c, t->b, j * BLOCK);
        cg_value second = whole ? load(c, t->b, t->column + j * BLOCK) : LLVMConstNull(LLVMTypeOf(first));
        for (int h = 0; h < BLOCK; h++) {
            cg_value right = zip(c, first, second, h);
            for (int i = 0; i < t->pairs; i++) {
                cg_value *sum = &acc[i * t->columns + j + h];
                *sum = cg_dot_pairs(c, left[i], right, *sum);
            }
        }
        /* No code: keeps the loads of the next columns behind these products, for which registers just suffice. */
        LLVMBuildFence(c->b, LLVMAtomicOrderingAcquireRelease, 1, "");
    }
}

static cg_value place(cg *c, cg_value tile, int row, int column)
{
    return cg_at(c, c->f32, tile, cg_i64(c, (int64_t)row * c->target->nr + column));
}

/* Registers at the start: zero, or the tile's elements when it accumulates. */
static void blocks_begin(cg *c, const blocks *t, cg_value tile, cg_value accumulate, cg_value *acc)
{
    const int count = t->pairs * t->columns;
    LLVMTypeRef vector = cg_vector(c->f32, LANES);
    for (int i = 0; i < count; i++) acc[i] = LLVMConstNull(vector);
    cg_branch more;
    cg_if_begin(c, &more, cg_icmp(c, LLVMIntNE, accumulate, cg_i64(c, 0)), count, acc);
    for (int i = 0; i < count; i += BLOCK) {
        const int row = i / t->columns * BLOCK, column = i % t->columns * BLOCK, next = base_min(row + 1, t->rows - 1);
        cg_value upper = cg_load(c, vector, place(c, tile, row, column), 4);
        cg_value lower = cg_load(c, vector, place(c, tile, next, column), 4);
        for (int h = 0; h < BLOCK; h++) acc[i + h] = half(c, upper, lower, h);
    }
    cg_if_end(c, &more, acc);
}

static void blocks_end(cg *c, const blocks *t, cg_value tile, const cg_value *acc)
{
    for (int i = 0; i < t->pairs * t->columns; i += BLOCK) {
        for (int h = 0; h < BLOCK; h++) {
            const int row = i / t->columns * BLOCK + h;
            if (row < t->rows) cg_store(c, half(c, acc[i], acc[i + 1], h), place(c, tile, row, i % t->columns * BLOCK), 4);
        }
    }
}

/* Cells 0 .. k - 1 of rows at `row`, columns from b on. */
static void blocks_run(cg *c, blocks *t, const cg_value *row, cg_value b, cg_value k, cg_value *acc)
{
    cg_value whole = cg_sub(c, k, cg_rem(c, k, cg_i64(c, BLOCK)));
    for (int tail = 0; tail < 2; tail++) {
        cg_loop l;
        cg_loop_begin(c, &l, tail ? whole : cg_i64(c, 0), tail ? k : whole, BLOCK, t->pairs * t->columns, acc);
        cg_value cell = cg_mul(c, l.i, cg_i64(c, t->step));
        for (int i = 0; i < t->rows; i++) t->row[i] = row[i] ? cg_at(c, c->f32, row[i], cell) : NULL;
        t->b = cg_at(c, c->f32, b, cg_mul(c, l.i, cg_i64(c, t->column)));
        blocks_step(c, t, tail == 0, acc);
        cg_loop_end(c, &l, acc);
    }
}

static blocks blocks_of(const cg *c, const tile_form *f, int rows)
{
    const int pairs = (int)base_ceil_div(rows, BLOCK), columns = c->target->nr / BLOCK;
    return (blocks){.rows = rows, .pairs = pairs, .columns = columns, .apart = f->position == 1, .step = f->position,
                    .column = f->column};
}

cg_value cg_tile_blocks(cg *c, const char *name, const tile_form *f, int rows)
{
    LLVMTypeRef param[] = {c->ptr, c->ptr, c->i64, c->ptr, c->i64};
    cg_helper h = cg_helper_begin(c, name, c->none, 5, param);
    cg_value a = LLVMGetParam(h.fn, 0), tile = LLVMGetParam(h.fn, 3), acc[CG_CARRIED], row[MOST_ROWS] = {0};
    blocks t = blocks_of(c, f, rows);
    blocks_begin(c, &t, tile, LLVMGetParam(h.fn, 4), acc);
    for (int i = 0; i < rows; i++) {
        if (t.apart) row[i] = cg_at(c, c->f32, a, cg_i64(c, i * f->row));
        if (!t.apart && i * LANES < rows) row[i] = cg_at(c, c->f32, a, cg_i64(c, i * LANES * f->row));
    }
    blocks_run(c, &t, row, LLVMGetParam(h.fn, 1), LLVMGetParam(h.fn, 2), acc);
    blocks_end(c, &t, tile, acc);
    LLVMBuildRetVoid(c->b);
    cg_helper_end(c, &h);
    return h.fn;
}

cg_value cg_tile_blocks_pointers(cg *c, const char *name, int rows)
{
    LLVMTypeRef param[] = {c->ptr, c->ptr, c->i64, c->ptr, c->i64, c->i64};
    cg_helper h = cg_helper_begin(c, name, c->none, 6, param);
    cg_value table = LLVMGetParam(h.fn, 0), k = LLVMGetParam(h.fn, 2), tile = LLVMGetParam(h.fn, 3);
    cg_value acc[CG_CARRIED], row[MOST_ROWS];
    blocks t = blocks_of(c, &(tile_form){.position = 1, .column = c->target->nr}, rows);
    blocks_begin(c, &t, tile, LLVMGetParam(h.fn, 4), acc);
    cg_loop runs;
    cg_loop_begin(c, &runs, cg_i64(c, 0), LLVMGetParam(h.fn, 5), 1, t.pairs * t.columns, acc);
    cg_value first = cg_mul(c, runs.i, cg_i64(c, c->target->mr));
    for (int i = 0; i < rows; i++) {
        row[i] = cg_load(c, c->ptr, cg_at(c, c->ptr, table, cg_add(c, first, cg_i64(c, i))), 8);
    }
    cg_value b = cg_at(c, c->f32, LLVMGetParam(h.fn, 1), cg_mul(c, cg_mul(c, runs.i, k), cg_i64(c, c->target->nr)));
    blocks_run(c, &t, row, b, k, acc);
    cg_loop_end(c, &runs, acc);
    blocks_end(c, &t, tile, acc);
    LLVMBuildRetVoid(c->b);
    cg_helper_end(c, &h);
    return h.fn;
}
