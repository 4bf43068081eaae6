/* contraction.h: a dot_general or convolution as one sum of products over four roles of dimensions:
 *
 *   out[p, b, m, n] = sum over k of lhs(b, m, k) * rhs(b, n, k)
 *
 * b: batch dims and groups, m: of lhs only, n: of rhs only, k: summed; p: partial sums (`splits`). Every
 * coordinate of an operand or of the result is a sum of role coordinates times constants, so matrix products,
 * convolutions, their gradients, dilation, padding and groups differ only in these tables. */
#ifndef TFCC_CONTRACTION_H
#define TFCC_CONTRACTION_H

#include "codegen/cg.h"

typedef enum role { ROLE_B, ROLE_M, ROLE_N, ROLE_K, ROLE_COUNT } role;

/* coordinate of one dim of lhs, rhs or out = offset + sum of factor * coordinate(role, dim) */
typedef struct contraction_term {
    role role;
    int dim;
    int64_t factor;
} contraction_term;

typedef struct contraction_dim {
    int count;
    contraction_term term[3];
    int64_t offset;
    int64_t dilation; /* above 1: only multiples are elements, at coordinate / dilation; else zero */
    bool checked;     /* coordinates may lie outside: such elements are zero */
    bool merged;      /* always at its offset: the next dim runs on through it */
    bool partial;     /* its coordinates do not run through all of it, though they look like it */
} contraction_dim;

typedef struct contraction_side {
    ir_value value;
    int rank;
    contraction_dim dim[IR_MAX_RANK];
} contraction_side;

typedef struct contraction {
    ir_value main;
    int count[ROLE_COUNT];               /* dims of each role, the last one innermost */
    ir_dim size[ROLE_COUNT][IR_MAX_RANK];
    contraction_side lhs, rhs, out;      /* out: without the dim of partial sums */
    int64_t splits;                      /* 0: none */
    int64_t panels;                      /* columns of a panel of rhs, which then has no dims here; 0: none */
} contraction;

/* The contraction of c->body->main. */
void contraction_build(const cg *c, contraction *out);
/* A convolution of a dilated image: results whose spatial coordinates are equal modulo the dilation meet the same part of
 * the kernel and no zero in between. There are so many such phases (1: no dilation). */
int contraction_phases(const contraction *x);
/* Keeps the results of one phase (0 .. phases - 1), as a contraction without dilation; maybe one without terms. */
void contraction_keep_phase(contraction *x, int phase);
/* Exchanges the operands and with them the roles m and n. */
void contraction_swap(contraction *x);
/* Makes the dims of roles m, n, k innermost along which operands and result are contiguous, and the batch of
 * N rows outermost: nothing is ever divided by N. */
void contraction_order(contraction *x);
/* Drops dims of one coordinate, and makes one of two dims of role k, the inner one rows, that lie so in both operands. Where an
 * image without padding and a kernel lie in memory, makes one dim of role k of the
 * columns of a window and their channels: what is read is then one run. */
void contraction_merge(const cg *c, contraction *x);
/* Product of the dims of a role. */
ir_dim contraction_size(const contraction *x, role r);
/* The dim of role r that the last dim of a side runs along with factor 1; -1: none, or not unchecked. */
int contraction_contiguous(const contraction_side *s, role r);
/* True when coordinates of all dims of role r but the last may be 0 and the last one linear: the side's value is read
 * or written row-major along r and nothing in its chain tells these dims apart. */
bool contraction_is_linear(const cg *c, const contraction *x, const contraction_side *s, role r);

/* A point in role coordinates. */
typedef struct contraction_point {
    int lanes;
    cg_coord at[ROLE_COUNT][IR_MAX_RANK];
} contraction_point;

/* Sets the coordinates of role r to those of linear position `linear`; with `flat`, (0, .., 0, linear). */
void contraction_point_set(cg *c, const contraction *x, contraction_point *p, role r, cg_value linear, bool flat);
/* The same for lanes linear, linear + 1, ..; `align`: linear is a multiple of it. Affine when one dim covers all
 * lanes, else a vector of coordinates. */
void contraction_point_run(cg *c, const contraction *x, contraction_point *p, role r, cg_value linear, int64_t align,
                           bool flat);
/* Advances the carried coordinates of a role by one position: coordinate[] has count[r] values. */
void contraction_next(cg *c, const contraction *x, role r, cg_value *coordinate);

/* Elements of a side's value at a point in register form, zero outside. `left` (i64 or NULL): only so many lanes are read. */
cg_value contraction_stored(cg *c, const contraction_side *s, const contraction_point *p, cg_value left);
/* The same with 16-bit floats as f32. */
cg_value contraction_element(cg *c, const contraction_side *s, const contraction_point *p, cg_value left);
/* Asks for the line of the element at a point, which need not exist, in the cache of a level. */
void contraction_prefetch(cg *c, const contraction_side *s, const contraction_point *p, int level);
/* The share that the terms of role k (or all others and the offset) have in a side's coordinates and in the row-major
 * number of its element: the two shares add up to the whole. For sides without dilation. */
typedef struct contraction_share {
    cg_value coordinate[IR_MAX_RANK], linear;
} contraction_share;
contraction_share contraction_share_of(cg *c, const contraction_side *s, const contraction_point *p, bool of_k);
/* i1: the shares' point is an element; NULL when every point is. */
cg_value contraction_is_inside(cg *c, const contraction_side *s, const contraction_share *a, const contraction_share *b);
/* The index of the result at a point, with the leading partial-sum coordinate when there is one. */
cg_index contraction_out_index(cg *c, const contraction *x, const contraction_point *p, cg_value split);

/* The nests. */
/* cpu_dot.c: packed panels and register tiles; f32 and shorter. True when it has taken the sums over rows, too. */
bool cg_dot_blocked(cg *c, const contraction *x);
void cg_dot_direct(cg *c, const contraction *x);  /* cpu_direct.c: a vector of results at a time; any type */
/* cpu_direct.c: a block of results without panels, for few rows: ranges by role, columns in multiples of `vectors` vectors, at
 * most cg_rows_vectors. */
void cg_dot_rows(cg *c, const contraction *x, int vectors, const cg_value *begin, const cg_value *end);
int cg_rows_vectors(const cg *c);
/* The same where both operands lie along k, which is one dim, as columns are. */
void cg_dot_rows_along_k(cg *c, const contraction *x, const cg_value *begin, const cg_value *end);

/* cpu_tile.c: the register tile, a function that is written when it is first asked for:
 *   void tile(ptr a, ptr b, i64 k, ptr tile, i64 accumulate)   tile[rows][nr] (+)= the sum over k of a(i, k) * b(k)[nr]
 * Cell (i, k) of a lies at i * row + k * position, b's vectors of k at k * column; for cells and pairs see struct pack. With
 * `pointers` a is [runs][mr] addresses of k cells each, `position` apart, b [runs * k][nr], and i64 runs is an argument more.
 * With `columns` (a multiple of cg_tile_unit) only so many are done; with `ahead` two arguments more are an address and bytes
 * (i64): at each cell memory so much further on is asked for; with `strides` two more (i64) stand for `position` and `column`:
 * operands lie in memory, and what comes a little later is asked for; with `apart` the tile's rows lie so many elements apart as
 * one more says (i64). With `adds` two more are an array (NULL: none) that is added to the sums, and how many elements its rows
 * lie apart (i64; 0: one row for all). With `copies` three more are an address, elements (i64) and another address: on its way the
 * tile copies a left panel of mr rows of k elements, from rows so many elements apart to rows `row` apart; k is a multiple of the
 * lanes, which are mr at least. All six are for targets that do not do `pairs` in blocks. */
typedef struct tile_form {
    int64_t row, position, column;
    bool pairs, pointers, apart, ahead, strides, adds;
    bool copies;
    bool streams; /* results are written past the caches: lines of memory are whole in each row */
    int columns; /* 0: nr */
} tile_form;
enum { TILE_ARGUMENTS = 16 };
cg_value cg_tile(cg *c, const tile_form *f, int rows);
/* Columns come in multiples of so many. */
int cg_tile_unit(const cg *c);
/* The columns of a tile as vectors, the widest first. */
typedef struct tile_shape {
    int rows, vectors, columns;
    int lanes[CG_TILE_VECTORS], first[CG_TILE_VECTORS];
} tile_shape;
tile_shape cg_tile_shape(const cg *c, int rows, int columns);
/* Accumulators at the start (zero, or the tile's elements when it accumulates), what is added to them, unless it is NULL, and
 * where they go at the end. distance NULL: nr. */
void cg_tile_begin(cg *c, const tile_shape *s, cg_value tile, cg_value distance, cg_value accumulate, cg_value *acc);
void cg_tile_add(cg *c, const tile_shape *s, cg_value addend, cg_value distance, cg_value *acc);
void cg_tile_end(cg *c, const tile_shape *s, bool streams, cg_value tile, cg_value distance, const cg_value *acc);
/* cpu_tile_fill.c: whole tiles of f32 that read an operand, or both, where it lies along rows, and write its panel for the
 * tiles after them. */
typedef struct tile_fill {
    bool a, b;             /* what is filled */
    bool pointers, apart, adds; /* as in tile_form, as are the next two: of an `a` that is not filled */
    int64_t row, position;
} tile_fill;
/* What such a tile is called with, all of these: those of a tile; from one position to the next of what is filled, in
 * elements; the panels. */
typedef enum tile_fill_argument {
    FILL_A, FILL_B, FILL_K, FILL_TILE, FILL_ACCUMULATE, FILL_RUNS, FILL_DISTANCE, FILL_ADDEND,
    FILL_ADDEND_DISTANCE, FILL_A_STEP, FILL_A_PANEL, FILL_B_STEP, FILL_B_PANEL, FILL_ARGUMENTS
} tile_fill_argument;
cg_value cg_tile_fill(cg *c, const tile_fill *f);
/* cpu_tile_blocks.c: the same of pairs for targets that have `blocks`: writes them. */
cg_value cg_tile_blocks(cg *c, const char *name, const tile_form *f, int rows);
cg_value cg_tile_blocks_pointers(cg *c, const char *name, int rows);

/* Packs rows row .. row_end - 1 of a role (m of lhs, n of rhs) x positions k .. k + length - 1 of role k into panels of
 * `width` rows, panel after panel. A panel is [cells][width], or, with a `stride`, [width][stride]: then the rows lie
 * as they lie in memory, and packing is copying. A cell is an f32 at one position, or with `pairs` two bf16 at positions
 * next to each other: runs along the innermost dim of k start a cell, and an odd one ends in half a cell and a zero.
 * Rows past `limit` (all rows of the role) are any numbers. `room`: cells between panels; zeros: address of as many
 * zeros as a run along k is long. With `pointers` nothing is copied: a panel is [runs][width] addresses, of where each
 * row's elements of each run along k lie. */
typedef struct pack {
    const contraction *x;
    const contraction_side *side;
    role role;
    int width;
    int64_t stride, room;
    bool pointers, pairs;
    cg_value row, row_end, limit, k, length, address;
    cg_value batch; /* linear position in role b */
    cg_value zeros;
} pack;
/* True when the side is read along k: only then may a stride be given, and it pays. */
bool cg_pack_is_along_k(const contraction *x, const contraction_side *side);
/* True when the side lies in memory along k, so that its rows can be read where they are. */
bool cg_pack_has_rows(const cg *c, const contraction *x, const contraction_side *side);
/* The cells that positions k .. k + length - 1 take (i64). */
cg_value cg_pack_cells(cg *c, const contraction *x, bool pairs, cg_value k, cg_value length);
void cg_pack(cg *c, const pack *p); /* cpu_pack.c */
/* True when the side lies in memory, and every row and position has an element there. */
bool cg_pack_is_unchecked(const cg *c, const contraction_side *side);
/* True when the side lies in memory along its rows, and its positions equally far apart: tiles can read it there. */
bool cg_pack_is_even(const cg *c, const contraction *x, const contraction_side *side, role r);
/* Where such a side's row `row` lies at the first position, and elements from one position to the next. */
cg_value cg_pack_source(cg *c, const pack *p, cg_value row, cg_value *out_step);
/* Asks for part `index` of `count` of the memory that packing will read, as far as it lies there row by row. */
void cg_pack_prefetch(cg *c, const pack *p, cg_value index, cg_value count);
/* Exchanges lanes and vectors: v[i] lane j becomes v[j] lane i. */
void cg_transpose(cg *c, int lanes, cg_value *v);

#endif
