/* blocking.h: how a matrix product is cut into tasks and blocks (cpu_dot_blocks.c); cpu_dot.c runs them. */
#ifndef TFCC_BLOCKING_H
#define TFCC_BLOCKING_H

#include "codegen/contraction.h"
#include "codegen/row_sums.h"

enum { FLOATS_PER_LINE = CG_LINE_BYTES / 4 };

enum { SMALL_TILES = 3 };

typedef struct blocking {
    const contraction *x;
    ir_dim size[ROLE_COUNT];
    int64_t mc, nc, kc;   /* rows, columns, positions of a block */
    cg_tiles most;        /* what blocks are cut by; the register tile is the target's */
    int64_t task_rows;    /* of a task; with few threads and many rows more, up to most_rows, and some tasks have none */
    int64_t most_rows;
    int64_t task_columns; /* nc or a part of it */
    int64_t wide_rows;    /* with more rows than this, one of the tasks that share a block of columns does it all */
    int64_t whole_k;      /* cells that are not cut into blocks */
    int64_t cells;        /* that kc positions take at most */
    bool pairs;           /* of bf16 in a cell */
    bool one_pass;        /* kc covers all of k */
    role rows;            /* whose linear positions the tasks are counted in */
    int64_t grain, times;
    bool flat;            /* out is linear along m: no division per row */
    bool direct;          /* tiles are written where the results belong, rows `distance` elements apart */
    ir_value adds;        /* what tiles then add to their sums, an array in memory; IR_NONE: nothing */
    bool adds_rows;       /* it is as large as the result; else one row for all */
    cg_value begin[ROLE_COUNT], end[ROLE_COUNT], split;
    int64_t run;            /* left panels are addresses of runs of so many positions; 0: elements */
    int64_t run_step;       /* floats from one position of a run to the next */
    bool ahead;             /* rows are read in place, one after another: each tile asks for a share of those of the next ones */
    int64_t b_room;         /* from one right panel to the next, in cells */
    bool copies;            /* a left panel with a stride may be copied by a tile of the one before; then there are two */
    int64_t copy_step;      /* floats from one row of what is copied to the next */
    bool reads_a;           /* the left operand is read where it lies, along m */
    bool in_place;          /* both operands are read where they lie, along m and n */
    int64_t stride, a_room; /* of the left panels in cells; stride 0: cell by cell. Else each is packed before its row of tiles */
    cg_value a, b, tile, zeros, distance, addend; /* addend: address of `adds`, or NULL */
    int small_count, small[SMALL_TILES]; /* rows of the tiles for the last rows, ascending */
    int rest_columns;                    /* of the last tile when that is known to be cut, else 0 */
    cg_value tile_fn[1 + SMALL_TILES][2]; /* of all rows or small[i - 1], all columns or the rest */
    bool fills_a, fills_b;                /* first tiles of a row or a column write panels, see cpu_tile_fill.c */
    cg_value fill_fn[4];                  /* those that fill a (1), b (2) or both */
    row_sums sums;                        /* over rows, that tasks take; then they have the rows of a part each */
    cg_value copy_fn;                     /* the tile that copies a panel; by `streams`, too */
    cg_value streams, stream_fn[2];       /* i1 (NULL: never): results go past the caches, and the tiles that do it */
} blocking;

/* Decides everything that is known at compile time, by shapes only; q->x and q->pairs are set. */
void blocking_choose(const cg *c, blocking *q);
/* Blocks along a role that is no task's rows. */
int64_t blocking_count(const blocking *q, role r);

/* cpu_dot_tasks.c: sets begin, end and split: ranges of b, m, n of this task, and of k for its partial sum. */
void blocking_find_task(cg *c, blocking *q);

/* cpu_dot_tiles.c: the tiles for whole and cut rows and columns. */
void blocking_find_tiles(cg *c, blocking *q);
/* Results go past the caches in whole lines of memory, from tiles or from their epilogue. */
void blocking_choose_stream(cg *c, blocking *q);
/* Calls the tile for so many rows and columns, of which there may be more than a tile has. */
void blocking_call_tile(cg *c, const blocking *q, cg_value rows, cg_value columns, cg_value *arg);

/* cpu_dot_copy.c: left panels that tiles copy. i1: a tile of the row of tiles from row m on, of a block of rows up to `end`,
 * copies the panel behind it. */
cg_value blocking_copies_next(cg *c, const blocking *q, cg_value m, cg_value end);
/* If the tile from column n on is the one that copies rows m .. m + mr - 1, which a packs, to panel number `panel`, calls it,
 * as blocking_fill_begin does; copied: what blocking_copies_next said. */
bool blocking_copy_begin(cg *c, const blocking *q, cg_value copied, const pack *a, cg_value m, cg_value n, cg_value panel,
                         cg_value *arg, cg_branch *out_copies);

/* cpu_dot_packs.c: how columns of the task are packed at positions k .. k + length - 1, and rows m .. end - 1. */
pack blocking_columns(cg *c, const blocking *q, cg_value batch, cg_value k, cg_value length);
pack blocking_rows(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value end, cg_value k, cg_value length);
/* Positions of the task's block that begins at k. */
cg_value blocking_length(cg *c, const blocking *q, cg_value k);
/* The share that tile j of a row of tiles has in asking for the rows of the next one, from row m on: where it begins, and
 * bytes for each cell. */
void blocking_find_ahead(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value j, cg_value *out_from, cg_value *out_step);
/* While the tile from row m on and number j of its row, of a block of rows up to `end`, is done: asks for its share of what is
 * packed next, so that packing does not wait for memory. copied: i1, its row copies the next one (NULL: no row does). */
void blocking_prefetch_next(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value end, cg_value k, cg_value j,
                            cg_value copied);

/* cpu_dot_fill.c: the first tiles of a row or a column of tiles write panels (see cpu_tile_fill.c). Chooses those tiles. */
void blocking_find_fills(cg *c, blocking *q);
/* Packs what first tiles do not; `others`: rows of the other operand there are, and which the first tile needs at least. */
void blocking_pack_rest(cg *c, pack p, bool fills, cg_value others, int64_t least);
/* If the tile at m, n is the first to use its panels, packs of which are a and b, calls the one that fills them, in place of
 * the usual one with such arguments. Leaves out_fills in its other branch; false when it has begun none. */
bool blocking_fill_begin(cg *c, const blocking *q, const pack *a, const pack *b, cg_value m, cg_value n, cg_value *arg,
                         cg_branch *out_fills);

/* cpu_dot_ahead.c: asks for what is read and written when a tile is done. number: of its first result; distance: from
 * row to row. */
void blocking_prefetch_results(cg *c, const blocking *q, cg_value number, cg_value distance);

/* cpu_dot_finish.c: the epilogue of the tile whose first row and column are m and n, and its rows. */
cg_value blocking_rows_of_tile(cg *c, const blocking *q, cg_value m);
void blocking_finish(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value n, cg_value tile);

static inline int64_t round_up(int64_t x, int64_t to) { return base_ceil_div(x, to) * to; }

#endif
