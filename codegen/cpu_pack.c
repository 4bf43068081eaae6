/* cpu_pack.c: operands of a matrix product into panels of `width` rows, cell after cell or row after row. Three
 * ways, by how the operand lies in memory: along k (vectors of k, copied, or transposed in registers), along the
 * rows (vectors of rows), or one element at a time. Stores may write past what they are to write: the next one
 * overwrites that, and cg_dot_blocked leaves room behind the last panel. */
#include "codegen/contraction.h"

enum { MOST_LANES = 16, MOST_WIDTH = CG_TILE_COLUMNS };

typedef struct packing {
    const pack *p;
    contraction_point point; /* batch coordinates are set */
    bool flat;               /* rows are linear: no division */
    cg_value first;          /* first row of the panel */
    cg_value panel;          /* address */
    int rows;                /* of the panel, from `first` on, that are written together */
} packing;

/* The row at offset r of the panel, the last one for those past the end. */
static cg_value row_at(cg *c, const packing *k, int r)
{
    cg_value row = cg_add(c, k->first, cg_i64(c, r));
    return cg_min(c, row, cg_sub(c, k->p->limit, cg_i64(c, 1)));
}

/* log2(lanes) rounds of exchanges of blocks (Eklundh). */
void cg_transpose(cg *c, int lanes, cg_value *v)
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

static cg_value cell_address(cg *c, const packing *k, cg_value cell, int row)
{
    const pack *p = k->p;
    cg_value at = p->stride ? cg_add(c, cell, cg_i64(c, row * p->stride))
                            : cg_add(c, cg_mul(c, cell, cg_i64(c, p->width)), cg_i64(c, row));
    return cg_at(c, c->f32, k->panel, at);
}

/* Positions in a cell. */
static int cell_size(const pack *p) { return p->pairs ? 2 : 1; }

static cg_value cells_of_run(cg *c, bool pairs, cg_value length)
{
    return pairs ? cg_div(c, cg_add(c, length, cg_i64(c, 1)), cg_i64(c, 2)) : length;
}

/* Of the innermost dim of k. */
static cg_value run_size(cg *c, const contraction *x)
{
    int count = x->count[ROLE_K];
    return count ? cg_max(c, cg_dim(c, x->size[ROLE_K][count - 1]), cg_i64(c, 1)) : cg_i64(c, 1);
}

cg_value cg_pack_cells(cg *c, const contraction *x, bool pairs, cg_value k, cg_value length)
{
    if (!pairs || x->count[ROLE_K] < 2) return cells_of_run(c, pairs, length);
    cg_value inner = run_size(c, x), begun = cg_min(c, cg_sub(c, inner, cg_rem(c, k, inner)), length);
    cg_value rest = cg_sub(c, length, begun), whole = cg_mul(c, cg_div(c, rest, inner), cells_of_run(c, pairs, inner));
    cg_value last = cells_of_run(c, pairs, cg_rem(c, rest, inner));
    return cg_add(c, cells_of_run(c, pairs, begun), cg_add(c, whole, last));
}

/* ---- runs: positions along the innermost dim of k --------------------------------------------------------- */

/* A run being written: `length` positions along the innermost dim of k from `coordinate` on become the cells of the panel
 * from `cell` on. */
typedef struct pack_run {
    cg_loop loop;
    cg_value cell, done, length, inner; /* done: positions of earlier runs */
    cg_value coordinate[IR_MAX_RANK], carried[IR_MAX_RANK + 2];
} pack_run;

static void run_begin(cg *c, const packing *k, pack_run *r)
{
    const contraction *x = k->p->x;
    int count = x->count[ROLE_K];
    contraction_point start = {.lanes = 1};
    contraction_point_set(c, x, &start, ROLE_K, k->p->k, false);
    for (int d = 0; d < count; d++) r->carried[d] = start.at[ROLE_K][d].base;
    r->carried[count] = cg_i64(c, 0);
    r->inner = run_size(c, x);
    r->carried[count + k->p->pairs] = cg_i64(c, 0);
    cg_value skipped = count ? r->carried[count - 1] : cg_i64(c, 0);
    cg_value all = cg_add(c, k->p->length, cg_add(c, skipped, cg_sub(c, r->inner, cg_i64(c, 1))));
    cg_loop_begin(c, &r->loop, cg_i64(c, 0), cg_div(c, all, r->inner), 1, count + 1 + k->p->pairs, r->carried);
    for (int d = 0; d < count; d++) r->coordinate[d] = r->carried[d];
    r->cell = r->carried[count + k->p->pairs];
    r->done = r->carried[count];
    cg_value left = cg_sub(c, k->p->length, r->done);
    r->length = cg_min(c, count ? cg_sub(c, r->inner, r->coordinate[count - 1]) : r->inner, left);
}

static void run_end(cg *c, const packing *k, pack_run *r)
{
    const contraction *x = k->p->x;
    int count = x->count[ROLE_K];
    for (int d = 0; d < count; d++) r->carried[d] = r->coordinate[d];
    if (count) r->carried[count - 1] = cg_sub(c, r->inner, cg_i64(c, 1));
    contraction_next(c, x, ROLE_K, r->carried);
    r->carried[count] = cg_add(c, r->done, r->length);
    if (k->p->pairs) r->carried[count + 1] = cg_add(c, r->cell, cells_of_run(c, true, r->length));
    cg_loop_end(c, &r->loop, r->carried);
}

/* The k coordinates of the point: those of the run, `offset` further along. */
static void set_k(cg *c, const packing *k, const pack_run *r, cg_value offset, contraction_point *p)
{
    int last = k->p->x->count[ROLE_K] - 1;
    for (int d = 0; d <= last; d++) {
        cg_value base = d == last ? cg_add(c, r->coordinate[d], offset) : r->coordinate[d];
        p->at[ROLE_K][d] = (cg_coord){.base = base, .align = 1};
    }
}

/* ---- along k ------------------------------------------------------------------------------------------------ */

static ir_dtype side_dtype(const cg *c, const contraction_side *s) { return cg_type(c, s->value)->dtype; }

/* True when the addresses of rows are sums of a share of the row and one of the position. */
static bool has_row_addresses(const cg *c, const contraction_side *s)
{
    bool dilated = false;
    for (int d = 0; d < s->rank; d++) dilated |= s->dim[d].dilation > 1;
    return !dilated && c->binding[s->value].source == CG_MEMORY;
}

/* What the rows of the panel add to coordinates and addresses, whatever the position. */
static void find_shares(cg *c, const packing *k, contraction_share *share)
{
    for (int r = 0; r < k->rows; r++) {
        contraction_point p = k->point;
        contraction_point_set(c, k->p->x, &p, k->p->role, row_at(c, k, r), k->flat);
        share[r] = contraction_share_of(c, k->p->side, &p, false);
    }
}

/* Where the rows lie at the start of a run; rows outside the image (padding) point to zeros. */
static void find_rows(cg *c, const packing *k, const pack_run *run, const contraction_share *share, cg_value *row)
{
    contraction_point p = k->point;
    set_k(c, k, run, cg_i64(c, 0), &p);
    contraction_share here = contraction_share_of(c, k->p->side, &p, true);
    LLVMTypeRef element = cg_memory_type(c, side_dtype(c, k->p->side));
    cg_value base = cg_at(c, element, c->binding[k->p->side->value].address, here.linear);
    for (int r = 0; r < k->rows; r++) {
        row[r] = cg_at(c, element, base, share[r].linear);
        cg_value inside = contraction_is_inside(c, k->p->side, &share[r], &here);
        if (inside) row[r] = cg_select(c, inside, row[r], k->p->zeros);
    }
}

/* Row r, computed, at lanes consecutive positions from `offset` of the run; lanes past `left` are not read. */
static cg_value compute_row(cg *c, packing *k, const pack_run *run, int r, cg_value offset, cg_value left)
{
    const contraction *x = k->p->x;
    contraction_point p = k->point;
    contraction_point_set(c, x, &p, k->p->role, row_at(c, k, r), k->flat);
    set_k(c, k, run, offset, &p);
    p.at[ROLE_K][x->count[ROLE_K] - 1].step = 1;
    if (!k->p->pairs) return contraction_element(c, k->p->side, &p, left);
    cg_value v = contraction_stored(c, k->p->side, &p, left);
    return left ? cg_select(c, cg_mask_first(c, c->lanes, left), v, LLVMConstNull(LLVMTypeOf(v))) : v;
}

/* Row r in lanes consecutive cells from position `offset` of the run; positions past `left` are not read, and zero in a
 * pair. */
static cg_value read_row(cg *c, packing *k, const pack_run *run, const cg_value *row, int r, cg_value offset, cg_value left)
{
    const int lanes = c->lanes, count = lanes * cell_size(k->p);
    LLVMTypeRef cells = cg_vector(c->f32, lanes);
    if (row) {
        const ir_dtype t = side_dtype(c, k->p->side);
        const int align = (int)ir_dtype_size(t);
        LLVMTypeRef vector = cg_vector(cg_memory_type(c, t), count);
        cg_value at = cg_at(c, cg_memory_type(c, t), row[r], offset);
        cg_value v = left ? cg_load_masked(c, vector, at, align, cg_mask_first(c, count, left))
                          : cg_load(c, vector, at, align);
        return k->p->pairs ? LLVMBuildBitCast(c->b, v, cells, "") : cg_widen(c, t, cg_from_memory(c, t, v));
    }
    cg_value v = compute_row(c, k, run, r, offset, left);
    if (!k->p->pairs) return v;
    cg_value behind = left ? cg_sub(c, left, cg_i64(c, lanes)) : NULL;
    cg_value next = compute_row(c, k, run, r, cg_add(c, offset, cg_i64(c, lanes)), behind);
    int lane[2 * MOST_LANES];
    for (int i = 0; i < count; i++) lane[i] = i;
    return LLVMBuildBitCast(c->b, cg_shuffle(c, v, next, count, lane), cells, "");
}

/* Rows r .. r + lanes - 1 in lanes consecutive cells. */
static void pack_block(cg *c, packing *k, const pack_run *run, const cg_value *row, int r, cg_value offset, cg_value left)
{
    int lanes = c->lanes;
    cg_value v[MOST_LANES], cell = cg_add(c, run->cell, cg_div(c, offset, cg_i64(c, cell_size(k->p))));
    for (int i = 0; i < lanes; i++) {
        if (r + i >= k->rows) {
            v[i] = LLVMGetUndef(cg_vector(c->f32, lanes));
            continue;
        }
        v[i] = read_row(c, k, run, row, r + i, offset, left);
        if (k->p->stride) cg_store(c, v[i], cell_address(c, k, cell, r + i), 4);
    }
    if (k->p->stride) return;
    cg_transpose(c, lanes, v);
    for (int i = 0; i < lanes; i++) {
        cg_store(c, v[i], cell_address(c, k, cg_add(c, cell, cg_i64(c, i)), r), 4);
    }
}

/* Each run in vectors of cells: whole ones first, then the rest. */
static void pack_along_k(cg *c, packing *k)
{
    pack_run run;
    cg_value row[MOST_WIDTH];
    contraction_share share[MOST_WIDTH];
    const int lanes = c->lanes, step = lanes * cell_size(k->p);
    bool addressed = has_row_addresses(c, k->p->side);
    ir_dim inner = k->p->x->size[ROLE_K][k->p->x->count[ROLE_K] - 1];
    if (addressed) find_shares(c, k, share);
    run_begin(c, k, &run);
    if (addressed) find_rows(c, k, &run, share, row);
    cg_value whole = cg_sub(c, run.length, cg_rem(c, run.length, cg_i64(c, step)));
    for (int tail = 0; tail < 2; tail++) {
        cg_loop l;
        if (!tail && !inner.batch && inner.count < step) continue;
        cg_loop_begin(c, &l, tail ? whole : cg_i64(c, 0), tail ? run.length : whole, step, 0, NULL);
        cg_value left = tail ? cg_sub(c, run.length, l.i) : NULL;
        for (int r = 0; r < k->rows; r += lanes) pack_block(c, k, &run, addressed ? row : NULL, r, l.i, left);
        cg_loop_end(c, &l, NULL);
    }
    run_end(c, k, &run);
}

/* The addresses of the rows of each run. */
static void pack_pointers(cg *c, packing *k)
{
    pack_run run;
    cg_value row[MOST_WIDTH];
    contraction_share share[MOST_WIDTH];
    find_shares(c, k, share);
    run_begin(c, k, &run);
    find_rows(c, k, &run, share, row);
    cg_value table = cg_at(c, c->ptr, k->panel, cg_mul(c, run.loop.i, cg_i64(c, k->p->width)));
    for (int r = 0; r < k->p->width; r++) cg_store(c, row[r], cg_at(c, c->ptr, table, cg_i64(c, r)), 8);
    run_end(c, k, &run);
}

/* A wide panel that is transposed is done in groups of as many rows as a vector has lanes: more rows at a time would only
 * keep more addresses alive. */
static void pack_groups_along_k(cg *c, packing *k)
{
    int lanes = c->lanes;
    if (k->p->stride || k->p->width <= lanes || k->p->width % lanes != 0) {
        pack_along_k(c, k);
        return;
    }
    packing group = *k;
    group.rows = lanes;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, k->p->width), lanes, 0, NULL);
    group.first = cg_add(c, k->first, l.i);
    group.panel = cg_at(c, c->f32, k->panel, l.i);
    pack_along_k(c, &group);
    cg_loop_end(c, &l, NULL);
}

/* ---- cell by cell --------------------------------------------------------------------------------------------- */

/* The loop over a run's cells: whole ones, then (`half`) that of the last position of an odd run. */
static void cells_begin(cg *c, const packing *k, const pack_run *run, bool half, cg_loop *l)
{
    cg_value whole = cg_div(c, run->length, cg_i64(c, cell_size(k->p)));
    cg_value begin = half ? whole : cg_i64(c, 0), end = half ? cells_of_run(c, k->p->pairs, run->length) : whole;
    cg_loop_begin(c, l, begin, end, 1, 0, NULL);
}

/* No run is odd. */
static bool is_even(const pack *p)
{
    const contraction *x = p->x;
    const int count = x->count[ROLE_K];
    return !p->pairs || (count && !x->splits && !x->size[ROLE_K][count - 1].batch && x->size[ROLE_K][count - 1].count % 2 == 0);
}

/* The elements of the point's rows in cell `cell` of the run; rows past `left` (NULL: none) are not read. */
static cg_value read_cell(cg *c, const packing *k, const pack_run *run, cg_value cell, bool half, contraction_point *p,
                          cg_value left)
{
    cg_value position = cg_mul(c, cell, cg_i64(c, cell_size(k->p)));
    set_k(c, k, run, position, p);
    if (!k->p->pairs) return contraction_element(c, k->p->side, p, left);
    cg_value low = contraction_stored(c, k->p->side, p, left);
    if (half) return cg_pair(c, low, LLVMConstNull(LLVMTypeOf(low)));
    set_k(c, k, run, cg_add(c, position, cg_i64(c, 1)), p);
    return cg_pair(c, low, contraction_stored(c, k->p->side, p, left));
}

/* One cell a turn; rows in vectors of `lanes` (1: element by element), those past the limit left out when it is `cut`. */
static void pack_by_position(cg *c, packing *k, int lanes, bool cut)
{
    const contraction *x = k->p->x;
    int groups = (int)base_ceil_div(k->p->width, lanes);
    contraction_point point[MOST_WIDTH];
    for (int g = 0; g < groups; g++) {
        point[g] = k->point;
        point[g].lanes = lanes;
        if (lanes == 1) {
            contraction_point_set(c, x, &point[g], k->p->role, row_at(c, k, g), k->flat);
        } else {
            contraction_point_run(c, x, &point[g], k->p->role, cg_add(c, k->first, cg_i64(c, g * lanes)),
                                  k->p->width % lanes ? 1 : lanes, k->flat);
        }
    }
    pack_run run;
    run_begin(c, k, &run);
    for (int half = 0; half < (is_even(k->p) ? 1 : 2); half++) {
        cg_loop l;
        cells_begin(c, k, &run, half, &l);
        for (int g = 0; g < groups; g++) {
            cg_value left = cut ? cg_sub(c, k->p->limit, cg_add(c, k->first, cg_i64(c, g * lanes))) : NULL;
            cg_value v = read_cell(c, k, &run, l.i, half, &point[g], left);
            cg_store(c, v, cell_address(c, k, cg_add(c, run.cell, l.i), g * lanes), 4);
        }
        cg_loop_end(c, &l, NULL);
    }
    run_end(c, k, &run);
}

/* The first panels, cell by cell, all panels of a cell in turn: memory is read in order. Vectors of rows must not
 * straddle dims: for one dim of rows only. */
static void pack_sweep(cg *c, packing *k, cg_value panels)
{
    const pack *p = k->p;
    int lanes = c->lanes;
    cg_value base = k->panel;
    pack_run run;
    run_begin(c, k, &run);
    for (int half = 0; half < (is_even(p) ? 1 : 2); half++) {
        cg_loop l, m;
        cells_begin(c, k, &run, half, &l);
        cg_loop_begin(c, &m, cg_i64(c, 0), panels, 1, 0, NULL);
        k->panel = cg_at(c, c->f32, base, cg_mul(c, m.i, cg_i64(c, p->room)));
        for (int r = 0; r < p->width; r += lanes) {
            contraction_point point = k->point;
            cg_value first = cg_add(c, p->row, cg_add(c, cg_mul(c, m.i, cg_i64(c, p->width)), cg_i64(c, r)));
            contraction_point_run(c, p->x, &point, p->role, first, 1, k->flat);
            cg_store(c, read_cell(c, k, &run, l.i, half, &point, NULL), cell_address(c, k, cg_add(c, run.cell, l.i), r), 4);
        }
        cg_loop_end(c, &m, NULL);
        cg_loop_end(c, &l, NULL);
    }
    run_end(c, k, &run);
    k->panel = base;
}

/* Vectors of rows may read rows past the panel only where they are inside. */
static void pack_along_rows(cg *c, packing *k)
{
    cg_branch whole;
    int lanes = c->lanes;
    int64_t reach = base_ceil_div(k->p->width, lanes) * lanes;
    cg_value fits = cg_icmp(c, LLVMIntSLE, cg_add(c, k->first, cg_i64(c, reach)), k->p->limit);
    cg_if_begin(c, &whole, fits, 0, NULL);
    pack_by_position(c, k, lanes, false);
    cg_if_other(c, &whole, NULL);
    pack_by_position(c, k, 1, false);
    cg_if_end(c, &whole, NULL);
}

/* The panels that a sweep may write: those whose vectors of rows all lie inside. */
static cg_value count_swept(cg *c, const pack *p)
{
    int64_t reach = base_ceil_div(p->width, c->lanes) * c->lanes;
    cg_value width = cg_i64(c, p->width), rows = cg_sub(c, p->row_end, p->row);
    cg_value inside = cg_add(c, cg_sub(c, cg_sub(c, p->limit, p->row), cg_i64(c, reach)), width);
    cg_value most = cg_div(c, cg_max(c, inside, cg_i64(c, 0)), width);
    return cg_min(c, most, cg_div(c, cg_add(c, rows, cg_sub(c, width, cg_i64(c, 1))), width));
}

bool cg_pack_is_along_k(const contraction *x, const contraction_side *side)
{
    int d = contraction_contiguous(side, ROLE_K);
    return d >= 0 && d == x->count[ROLE_K] - 1;
}

bool cg_pack_has_rows(const cg *c, const contraction *x, const contraction_side *side)
{
    return cg_pack_is_along_k(x, side) && has_row_addresses(c, side);
}

bool cg_pack_is_unchecked(const cg *c, const contraction_side *side)
{
    for (int d = 0; d < side->rank; d++)
        if (side->dim[d].checked) return false;
    return has_row_addresses(c, side) && side_dtype(c, side) == DTYPE_f32;
}

bool cg_pack_is_even(const cg *c, const contraction *x, const contraction_side *side, role r)
{
    const int rows = contraction_contiguous(side, r);
    if (!cg_pack_is_unchecked(c, side) || rows < 0 || rows != x->count[r] - 1) return false;
    return contraction_is_linear(c, x, side, r) && contraction_is_linear(c, x, side, ROLE_K);
}

cg_value cg_pack_source(cg *c, const pack *p, cg_value row, cg_value *out_step)
{
    contraction_point point = {.lanes = 1};
    contraction_point_set(c, p->x, &point, ROLE_B, p->batch, false);
    contraction_point_set(c, p->x, &point, p->role, row, true);
    contraction_point_set(c, p->x, &point, ROLE_K, cg_i64(c, 1), true);
    *out_step = contraction_share_of(c, p->side, &point, true).linear;
    cg_value others = contraction_share_of(c, p->side, &point, false).linear;
    cg_value at = cg_add(c, others, cg_mul(c, p->k, *out_step));
    return cg_at(c, c->f32, c->binding[p->side->value].address, at);
}

void cg_pack(cg *c, const pack *p)
{
    packing k = {.p = p, .point = {.lanes = c->lanes}, .panel = p->address, .rows = p->width};
    k.flat = contraction_is_linear(c, p->x, p->side, p->role);
    contraction_point_set(c, p->x, &k.point, ROLE_B, p->batch, false);
    int rows = contraction_contiguous(p->side, p->role), count = p->x->count[p->role];
    const bool along_k = cg_pack_is_along_k(p->x, p->side), along_rows = rows >= 0 && rows == count - 1;
    cg_value from = p->row;
    if (!p->pointers && !along_k && along_rows && count == 1) {
        cg_value swept = count_swept(c, p);
        pack_sweep(c, &k, swept);
        from = cg_add(c, p->row, cg_mul(c, swept, cg_i64(c, p->width)));
    }
    cg_loop panels;
    cg_loop_begin(c, &panels, from, p->row_end, p->width, 0, NULL);
    k.first = panels.i;
    cg_value number = cg_div(c, cg_sub(c, panels.i, p->row), cg_i64(c, p->width));
    k.panel = cg_at(c, c->f32, p->address, cg_mul(c, number, cg_i64(c, p->room)));
    if (p->pointers)
        pack_pointers(c, &k);
    else if (along_k)
        pack_groups_along_k(c, &k);
    else if (along_rows && count > 1)
        pack_along_rows(c, &k);
    else if (along_rows && count == 1 && has_row_addresses(c, p->side))
        pack_by_position(c, &k, c->lanes, true);
    else
        pack_by_position(c, &k, 1, false);
    cg_loop_end(c, &panels, NULL);
}

/* ---- ahead ---------------------------------------------------------------------------------------------------- */

/* Asks for the line of the element at position `at` of one role and `line` of the other. */
static void prefetch_line(cg *c, const pack *p, role outer, cg_value at, role inner, cg_value line)
{
    contraction_point point = {.lanes = 1};
    contraction_point_set(c, p->x, &point, ROLE_B, p->batch, false);
    contraction_point_set(c, p->x, &point, outer, at, contraction_is_linear(c, p->x, p->side, outer));
    contraction_point_set(c, p->x, &point, inner, line, true);
    const contraction_share of_k = contraction_share_of(c, p->side, &point, true);
    const contraction_share others = contraction_share_of(c, p->side, &point, false);
    LLVMTypeRef element = cg_memory_type(c, side_dtype(c, p->side));
    cg_prefetch(c, element, c->binding[p->side->value].address, cg_add(c, of_k.linear, others.linear), 2);
}

void cg_pack_prefetch(cg *c, const pack *p, cg_value index, cg_value count)
{
    const bool along_k = cg_pack_is_along_k(p->x, p->side);
    const role inner = along_k ? ROLE_K : p->role, outer = along_k ? p->role : ROLE_K;
    const int rows = contraction_contiguous(p->side, inner);
    if (!has_row_addresses(c, p->side) || rows < 0 || rows != p->x->count[inner] - 1) return;
    if (!contraction_is_linear(c, p->x, p->side, inner)) return;
    const int64_t line = CG_LINE_BYTES / (int64_t)ir_dtype_size(side_dtype(c, p->side));
    cg_value k_end = cg_add(c, p->k, p->length), begin = along_k ? p->row : p->k, end = along_k ? p->row_end : k_end;
    cg_value size = cg_max(c, cg_sub(c, end, begin), cg_i64(c, 0)), next = cg_add(c, index, cg_i64(c, 1));
    cg_loop l, m;
    cg_loop_begin(c, &l, cg_add(c, begin, cg_div(c, cg_mul(c, size, index), count)),
                  cg_add(c, begin, cg_div(c, cg_mul(c, size, next), count)), 1, 0, NULL);
    cg_loop_begin(c, &m, along_k ? p->k : p->row, along_k ? k_end : p->row_end, line, 0, NULL);
    prefetch_line(c, p, outer, l.i, inner, m.i);
    cg_loop_end(c, &m, NULL);
    cg_loop_end(c, &l, NULL);
}
