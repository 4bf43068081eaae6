/* attention.h: what the kernels of attention and of its gradient share. A kernel goes through blocks of query rows x keys
 * (FlashAttention: Dao et al., 2022), whose products are the register tiles of all products:
 *
 *   strip: mr query rows, the left operand of a tile, read where they lie (a table of addresses)
 *   panel: nr keys or columns, the right operand, packed; results lie as tiles [mr][nr]
 *
 * Scores of a strip are tiles side by side, one per panel of keys; as the left operand of the next product they are runs
 * of nr floats. Blocks depend on shapes only. */
#ifndef TFCC_ATTENTION_H
#define TFCC_ATTENTION_H

#include "codegen/cg_rules.h"
#include "codegen/contraction.h"

/* An operand or a result as one matrix of rows per point of the batch; the last dim of its memory is its columns. */
typedef struct attend_matrix {
    ir_value value;      /* of operands */
    ir_type type;        /* in memory */
    const int64_t *dims; /* batch, rows, columns; NULL: in this order */
    cg_value address;
    cg_value base, stride; /* in floats, of this point of the batch: set by attend_point */
} attend_matrix;

/* Register tiles: [1][] for the last strip, [][1] for the last panel of keys (NULL: none is cut). */
typedef struct attend_tiles {
    cg_value fn[2][2];
} attend_tiles;

typedef struct attend {
    const ir_node *node;
    ir_attention of;
    int batches; /* dims */
    int64_t rows, keys, width, value_width, mr, nr;
    bool has_bias, has_mask, has_keep;
    attend_matrix query, key, value;
    int64_t row_block, key_block; /* multiples of mr and nr */
    cg_value batch, at[IR_MAX_RANK]; /* the point of the batch: linear, and per dim */
    attend_tiles tile;               /* of strips of query rows */
} attend;

static inline int64_t attend_round_up(int64_t x, int64_t to) { return base_ceil_div(x, to) * to; }

/* The node and its operands; blocks are the kernel's to choose. */
attend attend_of(cg *c);
/* About `most` along a whole, in equal parts, as a multiple of unit. */
int64_t attend_block(int64_t whole, int64_t most, int64_t unit);
/* An operand; dims as in the node. Kernels have begun. */
attend_matrix attend_operand(cg *c, ir_attention_in in, const attend *a, const int64_t *dims);
/* Element number `element` of the tuple that the kernel writes. */
attend_matrix attend_result(cg *c, const attend *a, int element, const int64_t *dims);
/* Task: points begin .. end - 1 of the batch. */
ir_dim attend_points(const attend *a);
/* Sets the point of the batch, and with it base and stride of `count` matrices. */
void attend_point(cg *c, attend *a, cg_value batch, int count, attend_matrix *const *matrix);
/* Address of element [row][column]. */
cg_value attend_address(cg *c, const attend_matrix *m, cg_value row, cg_value column);

/* Packs rows row .. row + count - 1 of m. As columns of panels: every position is a column of m (panels of rows), or, with
 * `turned`, a row of m (panels of columns). Panels are `width` wide and `room` floats apart. */
typedef struct attend_pack {
    const attend_matrix *matrix;
    bool turned;
    int64_t width, room;
    cg_value row, count, address;
} attend_pack;
void attend_pack_run(cg *c, const attend *a, const attend_pack *p);

/* The tiles of strips of `rows` rows in all: read where they lie (`pointers`), or panels a[k][mr]. */
attend_tiles attend_tiles_of(cg *c, const attend *a, int64_t rows, bool pointers);
/* Calls the tile of `left` rows, of which mr at most are done. cut (i1 or NULL): right of it is the last panel of keys. */
void attend_tile(cg *c, const attend *a, const attend_tiles *tiles, cg_value left, cg_value cut, int count, cg_value *arg);
/* i1: the panel from `key` on ends behind the last key; NULL: none does. */
cg_value attend_is_cut(cg *c, const attend *a, cg_value key);

/* tile (+)= rows of weights times a right panel of columns [keys][nr], from `key` on. The weights are a table of addresses
 * of runs of nr keys, `panels` of them. */
typedef struct attend_sum {
    cg_value table, right, tile, more, key, panels;
} attend_sum;
void attend_sum_run(cg *c, const attend *a, const attend_sum *s, cg_value left);
/* Stores addresses of rows row .. row + mr - 1 of m, the last one for those past its end, in table[mr]. */
void attend_fill_table(cg *c, const attend *a, const attend_matrix *m, cg_value row, cg_value table);

/* Row `row` of m becomes row number `place` of tiles (strips x panels of columns), times `by` unless that is NULL. */
void attend_store_row(cg *c, const attend *a, const attend_matrix *m, cg_value row, int64_t width, cg_value tiles_at,
                      cg_value place, cg_value by);

/* One vector of scores. */
typedef struct attend_lanes {
    cg_index index;
    cg_value inside; /* <W x i1>: lanes that are keys, or NULL: all */
} attend_lanes;
attend_lanes attend_lanes_at(cg *c, const attend *a, cg_value row, cg_value key);
/* <W x i1>: lanes that the mask shows; NULL: all. */
cg_value attend_shown(cg *c, const attend *a, const attend_lanes *at);
/* The score of a product; -inf at lanes that are no keys. */
cg_value attend_score(cg *c, const attend *a, const attend_lanes *at, cg_value shown, cg_value product);
/* x times the factors of the probabilities. */
cg_value attend_keep(cg *c, const attend *a, const attend_lanes *at, cg_value x);

/* Panels of keys, from key `first` on, that rows up to `last` may see when the mask is causal, `panels` at most. */
cg_value attend_seen(cg *c, const attend *a, cg_value first, cg_value last, cg_value panels);
/* i1: the row's largest score says that keys hidden by a causal mask count nothing. */
cg_value attend_is_sure(cg *c, const attend *a, cg_value top);
cg_value attend_larger(cg *c, cg_value a, cg_value b);
/* Address of tile element: floats from `base`. */
static inline cg_value attend_at(cg *c, cg_value base, cg_value index) { return cg_at(c, c->f32, base, index); }

void cg_attention_back(cg *c); /* nest_attention_back.c */

#endif
