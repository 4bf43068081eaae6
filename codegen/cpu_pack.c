/* cpu_pack.c: operands of a matrix product into panels. A panel holds `width` rows; position k of the sum is
 * `width` floats. Three ways, by how the operand lies in memory: along k (vectors of k, transposed in registers), along
 * the rows (vectors of rows), or one element at a time. Stores may write past a position's floats: the next
 * position overwrites that, and cg_dot_blocked leaves room behind the last panel. */
#include "codegen/contraction.h"

enum { MOST_LANES = 16, MOST_WIDTH = 32 };

typedef struct packing {
    const pack *p;
    contraction_point point; /* batch coordinates are set */
    bool flat;               /* rows are linear: no division */
    cg_value first;          /* first row of the panel */
    cg_value panel;          /* address */
} packing;

/* The row at offset r of the panel, the last one for those past the end. */
static cg_value row_at(cg *c, const packing *k, int r)
{
    cg_value row = cg_add(c, k->first, cg_i64(c, r));
    return cg_min(c, row, cg_sub(c, k->p->limit, cg_i64(c, 1)));
}

/* Exchanges lanes and vectors: v[i] lane j becomes v[j] lane i; log2(lanes) rounds of exchanges of blocks (Eklundh). */
static void transpose(cg *c, int lanes, cg_value *v)
{
    for (int block = lanes / 2; block >= 1; block /= 2) {
        int low[MOST_LANES], high[MOST_LANES];
        for (int l = 0; l < lanes; l++) {
            low[l] = l & block ? lanes + l - block : l;
            high[l] = l & block ? lanes + l : l + block;
        }
        for (int i = 0; i < lanes; i++) {
            if (i & block) continue;
            cg_value a = v[i], b = v[i + block];
            v[i] = cg_shuffle(c, a, b, lanes, low);
            v[i + block] = cg_shuffle(c, a, b, lanes, high);
        }
    }
}

static cg_value position_address(cg *c, const packing *k, cg_value position, int row)
{
    cg_value at = cg_add(c, cg_mul(c, position, cg_i64(c, k->p->width)), cg_i64(c, row));
    return cg_at(c, c->f32, k->panel, at);
}

/* Rows r .. r + lanes - 1 at lanes consecutive positions from `position`, whose k coordinates start at `coordinate`;
 * lanes past `left` positions are not read. */
static void pack_block(cg *c, packing *k, int r, cg_value position, const cg_value *coordinate, cg_value left)
{
    const contraction *x = k->p->x;
    int lanes = c->lanes, last = x->count[ROLE_K] - 1;
    cg_value v[MOST_LANES];
    for (int i = 0; i < lanes; i++) {
        if (r + i >= k->p->width) {
            v[i] = LLVMGetUndef(cg_vector(c->f32, lanes));
            continue;
        }
        contraction_point p = k->point;
        contraction_point_set(c, x, &p, k->p->role, row_at(c, k, r + i), k->flat);
        for (int d = 0; d <= last; d++) p.at[ROLE_K][d] = (cg_coord){.base = coordinate[d], .align = 1};
        p.at[ROLE_K][last].step = 1;
        v[i] = contraction_element(c, k->p->side, &p, left);
    }
    transpose(c, lanes, v);
    for (int i = 0; i < lanes; i++) {
        cg_store(c, v[i], position_address(c, k, cg_add(c, position, cg_i64(c, i)), r), 4);
    }
}

/* Runs along the innermost dim of k, each in vectors; whole vectors first, then the rest of the run. */
static void pack_along_k(cg *c, packing *k)
{
    const contraction *x = k->p->x;
    int count = x->count[ROLE_K], lanes = c->lanes;
    cg_value start[IR_MAX_RANK];
    contraction_point at = {.lanes = 1};
    contraction_point_set(c, x, &at, ROLE_K, k->p->k, false);
    for (int d = 0; d < count; d++) start[d] = at.at[ROLE_K][d].base;

    /* one turn a run: carried are the position after it and the coordinates of its start */
    cg_value inner = cg_max(c, cg_dim(c, x->size[ROLE_K][count - 1]), cg_i64(c, 1));
    cg_value head = cg_min(c, cg_sub(c, inner, start[count - 1]), k->p->length);
    cg_value later = cg_sub(c, k->p->length, head);
    cg_value runs = cg_add(c, cg_div(c, cg_add(c, later, cg_sub(c, inner, cg_i64(c, 1))), inner), cg_i64(c, 1));
    cg_value carried[IR_MAX_RANK + 1];
    carried[count] = cg_i64(c, 0);
    for (int d = 0; d < count; d++) carried[d] = start[d];
    cg_loop outer;
    cg_loop_begin(c, &outer, cg_i64(c, 0), runs, 1, count + 1, carried);
    cg_value position = carried[count], coordinate[IR_MAX_RANK];
    cg_value length = cg_min(c, cg_sub(c, inner, carried[count - 1]), cg_sub(c, k->p->length, position));
    for (int d = 0; d < count; d++) coordinate[d] = carried[d];
    for (int tail = 0; tail < 2; tail++) {
        cg_value whole = cg_sub(c, length, cg_rem(c, length, cg_i64(c, lanes)));
        cg_loop l;
        cg_loop_begin(c, &l, tail ? whole : cg_i64(c, 0), tail ? length : whole, lanes, 0, NULL);
        coordinate[count - 1] = cg_add(c, carried[count - 1], l.i);
        cg_value left = tail ? cg_sub(c, length, l.i) : NULL;
        for (int r = 0; r < k->p->width; r += lanes) pack_block(c, k, r, cg_add(c, position, l.i), coordinate, left);
        cg_loop_end(c, &l, NULL);
    }
    cg_value next[IR_MAX_RANK];
    for (int d = 0; d < count; d++) next[d] = carried[d];
    next[count - 1] = cg_sub(c, inner, cg_i64(c, 1));
    contraction_next(c, x, ROLE_K, next);
    for (int d = 0; d < count; d++) carried[d] = next[d];
    carried[count] = cg_add(c, position, length);
    cg_loop_end(c, &outer, carried);
}

/* One position a turn; rows in vectors of `lanes` (1: element by element). */
static void pack_by_position(cg *c, packing *k, int lanes)
{
    const contraction *x = k->p->x;
    int count = x->count[ROLE_K], groups = (int)base_ceil_div(k->p->width, lanes);
    contraction_point at = {.lanes = lanes}, point[MOST_WIDTH];
    for (int g = 0; g < groups; g++) {
        point[g] = k->point;
        point[g].lanes = lanes;
        if (lanes == 1)
            contraction_point_set(c, x, &point[g], k->p->role, row_at(c, k, g), k->flat);
        else
            contraction_point_run(c, x, &point[g], k->p->role, cg_add(c, k->first, cg_i64(c, g * lanes)),
                                  k->p->width % lanes ? 1 : lanes, k->flat);
    }
    contraction_point_set(c, x, &at, ROLE_K, k->p->k, false);
    cg_value carried[IR_MAX_RANK];
    for (int d = 0; d < count; d++) carried[d] = at.at[ROLE_K][d].base;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), k->p->length, 1, count, carried);
    for (int g = 0; g < groups; g++) {
        for (int d = 0; d < count; d++) point[g].at[ROLE_K][d] = (cg_coord){.base = carried[d], .align = 1};
        cg_value v = contraction_element(c, k->p->side, &point[g], NULL);
        cg_store(c, v, position_address(c, k, l.i, g * lanes), 4);
    }
    contraction_next(c, x, ROLE_K, carried);
    cg_loop_end(c, &l, carried);
}

/* Vectors of rows may read rows past the end only where a whole panel is inside. */
static void pack_along_rows(cg *c, packing *k)
{
    cg_branch whole;
    int lanes = c->lanes;
    int64_t reach = base_ceil_div(k->p->width, lanes) * lanes;
    cg_value fits = cg_icmp(c, LLVMIntSLE, cg_add(c, k->first, cg_i64(c, reach)), k->p->limit);
    cg_if_begin(c, &whole, fits, 0, NULL);
    pack_by_position(c, k, lanes);
    cg_if_other(c, &whole, NULL);
    pack_by_position(c, k, 1);
    cg_if_end(c, &whole, NULL);
}

void cg_pack(cg *c, const pack *p)
{
    packing k = {.p = p, .point = {.lanes = c->lanes}};
    k.flat = contraction_is_linear(c, p->x, p->side, p->role);
    contraction_point_set(c, p->x, &k.point, ROLE_B, p->batch, false);
    int along_k = contraction_contiguous(p->side, ROLE_K), last = p->x->count[ROLE_K] - 1;
    cg_loop panels;
    cg_loop_begin(c, &panels, p->row, p->row_end, p->width, 0, NULL);
    k.first = panels.i;
    cg_value number = cg_div(c, cg_sub(c, panels.i, p->row), cg_i64(c, p->width));
    k.panel = cg_at(c, c->f32, p->address, cg_mul(c, number, p->room));
    if (along_k >= 0 && along_k == last)
        pack_along_k(c, &k);
    else if (contraction_contiguous(p->side, p->role) == p->x->count[p->role] - 1 && p->x->count[p->role] > 0)
        pack_along_rows(c, &k);
    else
        pack_by_position(c, &k, 1);
    cg_loop_end(c, &panels, NULL);
}
