/* nest_attention_back.c: the gradient of attention. A task is one point of the batch (or several): for each block of keys it
 * goes through the blocks of query rows and computes the probabilities p again from the rows' largest scores and sums.
 * With D the product of each row's result and gradient,
 *   dv += p^T dy,   ds = p (dy v^T - D) scale,   dk += ds^T q,   dq += ds k.
 * p and ds lie as panels of keys [rows][nr]: as they come out of the tiles, as the right operand of dv^T = dy^T p and
 * dk^T = q^T ds, and, in runs of nr, as the left operand of dq. All sums have one order. */
#include "codegen/attention.h"

typedef struct backward {
    attend a;
    attend_matrix result, gradient, result_gradient[3];
    cg_value top_at, total_at;                        /* memory: per row of all points */
    cg_value inverse_at, dot_at;                      /* scratch, per row of the point: 1 / total, D */
    cg_value keys_at, values_at, key_rows_at;         /* panels: of keys, of values, of the keys' columns */
    cg_value query_columns_at, gradient_columns_at;   /* left panels [rows][mr] */
    cg_value p_at, ds_at;                             /* panels of keys [rows of the block][nr] */
    cg_value dq_at;                                   /* tiles: strips of rows x panels of columns */
    cg_value dk_at, dv_at;                            /* tiles: strips of columns x panels of keys */
    cg_value query_table, gradient_table, ds_table;
    attend_tiles column_tile, value_column_tile;      /* of strips of columns */
    int64_t width_panels, panels, column_room;
    cg_value sure;            /* i1: hidden keys count nothing; NULL: there are no such */
    cg_value key, key_panels; /* of the block of keys */
    cg_value first, count;    /* rows of the block of rows */
} backward;

static int64_t floats_of(const backward *b, int64_t rows, int64_t keys)
{
    const attend *a = &b->a;
    return 2 * rows * keys + keys * (3 * a->width + 2 * a->value_width) + rows * (a->width + a->value_width);
}

/* Blocks that fit the second cache together with all that belongs to them. */
static void choose(const cg *c, backward *b)
{
    enum { MOST = 128, LEAST = 32 };
    attend *a = &b->a;
    int64_t size = MOST;
    while (size > LEAST && floats_of(b, size, size) * (int64_t)sizeof(float) > c->target->l2) size -= LEAST;
    a->row_block = attend_block(a->rows, size, a->mr);
    a->key_block = attend_block(a->keys, size, a->nr);
    b->width_panels = base_ceil_div(a->width, a->nr);
    b->panels = a->key_block / a->nr;
    /* A sweep of packing fills all panels at once: what its last vector writes past one must not be the next one's. */
    b->column_room = a->row_block * a->mr + (a->mr % c->lanes ? c->lanes : 0);
}

static int64_t strips(int64_t columns, int64_t mr) { return base_ceil_div(columns, mr); }

static void reserve(cg *c, backward *b)
{
    const attend *a = &b->a;
    const int64_t slack = c->lanes * (a->nr + 1), size = (int64_t)sizeof(float), address = (int64_t)sizeof(void *);
    const int64_t block = a->row_block * a->key_block, tile = a->mr * a->nr;
    b->inverse_at = cg_scratch(c, size * a->rows);
    b->dot_at = cg_scratch(c, size * a->rows);
    b->keys_at = cg_scratch(c, size * (a->key_block * a->width + slack));
    b->values_at = cg_scratch(c, size * (a->key_block * a->value_width + slack));
    b->key_rows_at = cg_scratch(c, size * (a->key_block * b->width_panels * a->nr + slack));
    b->query_columns_at = cg_scratch(c, size * (strips(a->width, a->mr) * b->column_room + slack));
    b->gradient_columns_at = cg_scratch(c, size * (strips(a->value_width, a->mr) * b->column_room + slack));
    b->p_at = cg_scratch(c, size * block);
    b->ds_at = cg_scratch(c, size * block);
    b->dq_at = cg_scratch(c, size * strips(a->rows, a->mr) * b->width_panels * tile);
    b->dk_at = cg_scratch(c, size * strips(a->width, a->mr) * b->panels * tile);
    b->dv_at = cg_scratch(c, size * strips(a->value_width, a->mr) * b->panels * tile);
    b->query_table = cg_scratch(c, address * a->mr);
    b->gradient_table = cg_scratch(c, address * a->mr);
    b->ds_table = cg_scratch(c, address * a->row_block * b->panels);
}

/* Addresses of ds, strip by strip, as runs along the keys. */
static void fill_ds_table(cg *c, backward *b)
{
    const attend *a = &b->a;
    cg_loop s, j, i;
    cg_loop_begin(c, &s, cg_i64(c, 0), cg_i64(c, a->row_block / a->mr), 1, 0, NULL);
    cg_loop_begin(c, &j, cg_i64(c, 0), cg_i64(c, b->panels), 1, 0, NULL);
    cg_loop_begin(c, &i, cg_i64(c, 0), cg_i64(c, a->mr), 1, 0, NULL);
    const cg_value row = cg_add(c, cg_mul(c, s.i, cg_i64(c, a->mr)), i.i);
    const cg_value at = cg_add(c, cg_mul(c, j.i, cg_i64(c, a->row_block * a->nr)), cg_mul(c, row, cg_i64(c, a->nr)));
    const cg_value tile = cg_add(c, cg_mul(c, s.i, cg_i64(c, b->panels)), j.i);
    const cg_value number = cg_add(c, cg_mul(c, tile, cg_i64(c, a->mr)), i.i);
    cg_store(c, attend_at(c, b->ds_at, at), cg_at(c, c->ptr, b->ds_table, number), 8);
    cg_loop_end(c, &i, NULL);
    cg_loop_end(c, &j, NULL);
    cg_loop_end(c, &s, NULL);
}

/* ---- per row ----------------------------------------------------------------------------------------------------- */

static cg_value dot_of_row(cg *c, backward *b, cg_value row)
{
    const int64_t width = b->a.value_width, whole = width / c->lanes * c->lanes;
    const LLVMTypeRef vector = cg_vector(c->f32, c->lanes);
    cg_value sum = cg_fill(c, vector, 0);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, whole), c->lanes, 1, &sum);
    const cg_value y = cg_load(c, vector, attend_address(c, &b->result, row, l.i), 4);
    sum = cg_fma(c, y, cg_load(c, vector, attend_address(c, &b->gradient, row, l.i), 4), sum);
    cg_loop_end(c, &l, &sum);
    if (whole < width) {
        const cg_value some = cg_mask_first(c, c->lanes, cg_i64(c, width - whole)), at = cg_i64(c, whole);
        const cg_value last = cg_load_masked(c, vector, attend_address(c, &b->result, row, at), 4, some);
        sum = cg_fma(c, last, cg_load_masked(c, vector, attend_address(c, &b->gradient, row, at), 4, some), sum);
    }
    return cg_combine_lanes(c, "add", DTYPE_f32, sum);
}

static cg_value row_number(cg *c, const backward *b, cg_value row)
{
    return cg_add(c, cg_mul(c, b->a.batch, cg_i64(c, b->a.rows)), row);
}

/* 1 / total and D of all rows, and whether every row is sure of its hidden keys. */
static void prepare_rows(cg *c, backward *b)
{
    cg_loop l;
    cg_value sure = LLVMConstInt(c->i1, 1, 0);
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, b->a.rows), 1, 1, &sure);
    const cg_value number = row_number(c, b, l.i), total = cg_load(c, c->f32, attend_at(c, b->total_at, number), 4);
    cg_store(c, cg_fdiv(c, cg_fill(c, c->f32, 1), total), attend_at(c, b->inverse_at, l.i), 4);
    cg_store(c, dot_of_row(c, b, l.i), attend_at(c, b->dot_at, l.i), 4);
    sure = cg_and(c, sure, attend_is_sure(c, &b->a, cg_load(c, c->f32, attend_at(c, b->top_at, number), 4)));
    cg_loop_end(c, &l, &sure);
    b->sure = b->a.of.causal ? sure : NULL;
}

/* Products of one row and `panels` panels of keys become p (times the factors) and ds. */
static void weigh_row(cg *c, backward *b, cg_value i, cg_value panels)
{
    const attend *a = &b->a;
    const LLVMTypeRef vector = cg_vector(c->f32, c->lanes);
    const cg_value row = cg_add(c, b->first, i), scale = cg_fill(c, vector, a->of.scale), zero = cg_fill(c, vector, 0);
    const cg_value top = cg_splat(c, cg_load(c, c->f32, attend_at(c, b->top_at, row_number(c, b, row)), 4), c->lanes);
    const cg_value inverse = cg_splat(c, cg_load(c, c->f32, attend_at(c, b->inverse_at, row), 4), c->lanes);
    const cg_value dot = cg_splat(c, cg_load(c, c->f32, attend_at(c, b->dot_at, row), 4), c->lanes);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), panels, 1, 0, NULL);
    const cg_value place = cg_add(c, cg_mul(c, l.i, cg_i64(c, a->row_block * a->nr)), cg_mul(c, i, cg_i64(c, a->nr)));
    for (int64_t u = 0; u < a->nr; u += c->lanes) {
        const cg_value at = cg_add(c, place, cg_i64(c, u));
        const cg_value p_at = attend_at(c, b->p_at, at), ds_at = attend_at(c, b->ds_at, at);
        const cg_value key = cg_add(c, b->key, cg_add(c, cg_mul(c, l.i, cg_i64(c, a->nr)), cg_i64(c, u)));
        const attend_lanes lanes = attend_lanes_at(c, a, row, key);
        const cg_value shown = attend_shown(c, a, &lanes);
        const cg_value x = attend_score(c, a, &lanes, shown, cg_load(c, vector, p_at, 4));
        cg_value p = cg_fmul(c, cg_math_exp_falling(c, cg_fsub(c, x, top)), inverse);
        const cg_value dp = attend_keep(c, a, &lanes, cg_load(c, vector, ds_at, 4));
        cg_value ds = cg_fmul(c, cg_fmul(c, p, cg_fsub(c, dp, dot)), scale);
        p = attend_keep(c, a, &lanes, p);
        if (shown) ds = cg_select(c, shown, ds, zero);
        if (lanes.inside) p = cg_select(c, lanes.inside, p, zero);
        if (lanes.inside) ds = cg_select(c, lanes.inside, ds, zero);
        cg_store(c, p, p_at, 4);
        cg_store(c, ds, ds_at, 4);
    }
    cg_loop_end(c, &l, NULL);
}

/* ---- strips of rows ---------------------------------------------------------------------------------------------- */

static void multiply_strip(cg *c, backward *b, cg_value strip, cg_value left, cg_value panels)
{
    const attend *a = &b->a;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), panels, 1, 0, NULL);
    const cg_value place = cg_add(c, cg_mul(c, l.i, cg_i64(c, a->row_block * a->nr)), cg_mul(c, strip, cg_i64(c, a->nr)));
    cg_value scores[] = {b->query_table, attend_at(c, b->keys_at, cg_mul(c, l.i, cg_i64(c, a->width * a->nr))),
                         cg_i64(c, a->width), attend_at(c, b->p_at, place), cg_i64(c, 0), cg_i64(c, 1)};
    const cg_value cut = attend_is_cut(c, a, cg_add(c, b->key, cg_mul(c, l.i, cg_i64(c, a->nr))));
    attend_tile(c, a, &a->tile, left, cut, 6, scores);
    cg_value dp[] = {b->gradient_table, attend_at(c, b->values_at, cg_mul(c, l.i, cg_i64(c, a->value_width * a->nr))),
                     cg_i64(c, a->value_width), attend_at(c, b->ds_at, place), cg_i64(c, 0), cg_i64(c, 1)};
    attend_tile(c, a, &a->tile, left, cut, 6, dp);
    cg_loop_end(c, &l, NULL);
}

/* dq of the strip += ds k */
static void add_to_queries(cg *c, backward *b, cg_value strip, cg_value left, cg_value panels)
{
    const attend *a = &b->a;
    const cg_value more = LLVMBuildZExt(c->b, cg_icmp(c, LLVMIntSGT, b->key, cg_i64(c, 0)), c->i64, "");
    const cg_value table = cg_at(c, c->ptr, b->ds_table, cg_mul(c, strip, cg_i64(c, b->panels)));
    const cg_value row = cg_mul(c, cg_add(c, b->first, strip), cg_i64(c, b->width_panels * a->nr));
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, b->width_panels), 1, 0, NULL);
    const attend_sum sum = {.table = table, .key = b->key, .panels = panels, .more = more,
                            .right = attend_at(c, b->key_rows_at, cg_mul(c, l.i, cg_i64(c, a->key_block * a->nr))),
                            .tile = attend_at(c, b->dq_at, cg_add(c, row, cg_mul(c, l.i, cg_i64(c, a->mr * a->nr))))};
    attend_sum_run(c, a, &sum, left);
    cg_loop_end(c, &l, NULL);
}

static void run_strips(cg *c, backward *b)
{
    const attend *a = &b->a;
    cg_loop l, r;
    cg_loop_begin(c, &l, cg_i64(c, 0), b->count, a->mr, 0, NULL);
    const cg_value left = cg_sub(c, b->count, l.i), row = cg_add(c, b->first, l.i);
    const cg_value rows = cg_min(c, left, cg_i64(c, a->mr));
    cg_value panels = b->key_panels;
    if (b->sure) {
        const cg_value last = cg_sub(c, cg_add(c, row, rows), cg_i64(c, 1));
        panels = cg_select(c, b->sure, attend_seen(c, a, b->key, last, panels), panels);
    }
    cg_branch some;
    cg_if_begin(c, &some, cg_icmp(c, LLVMIntSGT, panels, cg_i64(c, 0)), 0, NULL);
    attend_fill_table(c, a, &a->query, row, b->query_table);
    attend_fill_table(c, a, &b->gradient, row, b->gradient_table);
    multiply_strip(c, b, l.i, left, panels);
    cg_loop_begin(c, &r, l.i, cg_add(c, l.i, rows), 1, 0, NULL);
    weigh_row(c, b, r.i, panels);
    cg_loop_end(c, &r, NULL);
    add_to_queries(c, b, l.i, left, panels);
    cg_if_end(c, &some, NULL);
    cg_loop_end(c, &l, NULL);
}

/* ---- strips of columns ------------------------------------------------------------------------------------------- */

/* tiles[strip of columns][panel of keys] (+)= columns^T panel, over the rows of the block from `start` on. */
static void add_columns(cg *c, backward *b, int64_t columns, const attend_tiles *tiles, cg_value left_at, cg_value right_at,
                        cg_value tiles_at, cg_value panel, cg_value start, cg_value more)
{
    const attend *a = &b->a;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, strips(columns, a->mr)), 1, 0, NULL);
    const cg_value left = cg_add(c, cg_mul(c, l.i, cg_i64(c, b->column_room)), cg_mul(c, start, cg_i64(c, a->mr)));
    const cg_value right = cg_mul(c, cg_add(c, cg_mul(c, panel, cg_i64(c, a->row_block)), start), cg_i64(c, a->nr));
    const cg_value to = cg_mul(c, cg_add(c, cg_mul(c, l.i, cg_i64(c, b->panels)), panel), cg_i64(c, a->mr * a->nr));
    cg_value arg[] = {attend_at(c, left_at, left), attend_at(c, right_at, right), cg_sub(c, b->count, start),
                      attend_at(c, tiles_at, to), more};
    const cg_value cut = attend_is_cut(c, a, cg_add(c, b->key, cg_mul(c, panel, cg_i64(c, a->nr))));
    attend_tile(c, a, tiles, cg_sub(c, cg_i64(c, columns), cg_mul(c, l.i, cg_i64(c, a->mr))), cut, 5, arg);
    cg_loop_end(c, &l, NULL);
}

/* dk and dv of the block of keys += those of the block of rows; `more`: it is not the first. */
static void add_to_keys(cg *c, backward *b, cg_value more)
{
    const attend *a = &b->a;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), b->key_panels, 1, 0, NULL);
    cg_value start = cg_i64(c, 0);
    if (b->sure) { /* the first strip that sees a key of the panel */
        const cg_value key = cg_add(c, b->key, cg_mul(c, l.i, cg_i64(c, a->nr)));
        const cg_value ahead = cg_max(c, cg_sub(c, key, b->first), cg_i64(c, 0)), unit = cg_i64(c, a->mr);
        const cg_value seen = cg_mul(c, cg_div(c, ahead, unit), unit);
        const cg_value none = cg_icmp(c, LLVMIntSGE, ahead, b->count);
        start = cg_select(c, b->sure, cg_select(c, none, b->count, seen), start);
    }
    add_columns(c, b, a->value_width, &b->value_column_tile, b->gradient_columns_at, b->p_at, b->dv_at, l.i, start, more);
    add_columns(c, b, a->width, &b->column_tile, b->query_columns_at, b->ds_at, b->dk_at, l.i, start, more);
    cg_loop_end(c, &l, NULL);
}

/* Tiles of strips of columns x panels of keys go to the rows of m, lanes x lanes at a time. */
static void store_keys(cg *c, backward *b, const attend_matrix *m, int64_t columns, cg_value tiles_at)
{
    const attend *a = &b->a;
    const LLVMTypeRef vector = cg_vector(c->f32, c->lanes);
    const cg_value mr = cg_i64(c, a->mr), nr = cg_i64(c, a->nr);
    cg_loop k, d;
    cg_value v[64];
    const cg_value keys = cg_min(c, cg_mul(c, b->key_panels, nr), cg_sub(c, cg_i64(c, a->keys), b->key));
    cg_loop_begin(c, &k, cg_i64(c, 0), keys, c->lanes, 0, NULL);
    const cg_value panel = cg_div(c, k.i, nr), inner = cg_rem(c, k.i, nr);
    cg_loop_begin(c, &d, cg_i64(c, 0), cg_i64(c, columns), c->lanes, 0, NULL);
    for (int i = 0; i < c->lanes; i++) {
        const cg_value column = cg_min(c, cg_add(c, d.i, cg_i64(c, i)), cg_i64(c, columns - 1));
        const cg_value tile = cg_add(c, cg_mul(c, cg_div(c, column, mr), cg_i64(c, b->panels)), panel);
        const cg_value row = cg_add(c, cg_mul(c, tile, mr), cg_rem(c, column, mr));
        v[i] = cg_load(c, vector, attend_at(c, tiles_at, cg_add(c, cg_mul(c, row, nr), inner)), 4);
    }
    cg_transpose(c, c->lanes, v);
    const cg_value some = columns % c->lanes ? cg_mask_first(c, c->lanes, cg_sub(c, cg_i64(c, columns), d.i)) : NULL;
    for (int i = 0; i < c->lanes; i++) {
        const cg_value key = cg_add(c, b->key, cg_add(c, k.i, cg_i64(c, i)));
        cg_branch inside;
        if (a->keys % a->nr) cg_if_begin(c, &inside, cg_icmp(c, LLVMIntSLT, key, cg_i64(c, a->keys)), 0, NULL);
        if (some)
            cg_store_masked(c, v[i], attend_address(c, m, key, d.i), 4, some);
        else
            cg_store(c, v[i], attend_address(c, m, key, d.i), 4);
        if (a->keys % a->nr) cg_if_end(c, &inside, NULL);
    }
    cg_loop_end(c, &d, NULL);
    cg_loop_end(c, &k, NULL);
}

static void store_queries(cg *c, backward *b)
{
    const attend *a = &b->a;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, a->rows), 1, 0, NULL);
    attend_store_row(c, a, &b->result_gradient[0], l.i, a->width, b->dq_at, l.i, NULL);
    cg_loop_end(c, &l, NULL);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------ */

static void pack_keys(cg *c, backward *b, cg_value count)
{
    const attend *a = &b->a;
    const int64_t nr = a->nr, room = a->key_block * nr;
    const attend_pack keys = {.matrix = &a->key, .width = nr, .room = a->width * nr, .row = b->key, .count = count,
                              .address = b->keys_at};
    const attend_pack values = {.matrix = &a->value, .width = nr, .room = a->value_width * nr, .row = b->key, .count = count,
                                .address = b->values_at};
    const attend_pack columns = {.matrix = &a->key, .turned = true, .width = nr, .room = room, .row = b->key, .count = count,
                                 .address = b->key_rows_at};
    attend_pack_run(c, a, &keys);
    attend_pack_run(c, a, &values);
    attend_pack_run(c, a, &columns);
}

static void pack_rows(cg *c, backward *b)
{
    const attend *a = &b->a;
    const attend_pack queries = {.matrix = &a->query, .turned = true, .width = a->mr, .room = b->column_room, .row = b->first,
                                 .count = b->count, .address = b->query_columns_at};
    const attend_pack gradients = {.matrix = &b->gradient, .turned = true, .width = a->mr, .room = b->column_room,
                                   .row = b->first, .count = b->count, .address = b->gradient_columns_at};
    attend_pack_run(c, a, &queries);
    attend_pack_run(c, a, &gradients);
}

/* The first block of rows that sees a key of this block; none does when there are more keys than rows: then the last. */
static cg_value find_start(cg *c, const backward *b)
{
    const attend *a = &b->a;
    const cg_value zero = cg_i64(c, 0), unit = cg_i64(c, a->row_block);
    if (!b->sure) return zero;
    const cg_value block = cg_div(c, cg_min(c, b->key, cg_i64(c, a->rows - 1)), unit);
    return cg_select(c, b->sure, cg_mul(c, block, unit), zero);
}

static void run_point(cg *c, backward *b)
{
    const attend *a = &b->a;
    cg_loop k, r;
    prepare_rows(c, b);
    cg_loop_begin(c, &k, cg_i64(c, 0), cg_i64(c, a->keys), a->key_block, 0, NULL);
    b->key = k.i;
    const cg_value count = cg_min(c, cg_i64(c, a->key_block), cg_sub(c, cg_i64(c, a->keys), k.i));
    b->key_panels = cg_div(c, cg_add(c, count, cg_i64(c, a->nr - 1)), cg_i64(c, a->nr));
    pack_keys(c, b, count);
    const cg_value start = find_start(c, b);
    cg_loop_begin(c, &r, start, cg_i64(c, a->rows), a->row_block, 0, NULL);
    b->first = r.i;
    b->count = cg_min(c, cg_i64(c, a->row_block), cg_sub(c, cg_i64(c, a->rows), r.i));
    pack_rows(c, b);
    run_strips(c, b);
    add_to_keys(c, b, LLVMBuildZExt(c->b, cg_icmp(c, LLVMIntSGT, r.i, start), c->i64, ""));
    cg_loop_end(c, &r, NULL);
    store_keys(c, b, &b->result_gradient[1], a->width, b->dk_at);
    store_keys(c, b, &b->result_gradient[2], a->value_width, b->dv_at);
    cg_loop_end(c, &k, NULL);
    store_queries(c, b);
}

static void find_memory(cg *c, backward *b)
{
    attend *a = &b->a;
    a->query = attend_operand(c, ATTENTION_QUERY, a, a->of.query_dims);
    a->key = attend_operand(c, ATTENTION_KEY, a, a->of.key_dims);
    a->value = attend_operand(c, ATTENTION_VALUE, a, a->of.value_dims);
    b->result = attend_operand(c, ATTENTION_RESULT, a, NULL);
    b->gradient = attend_operand(c, ATTENTION_GRADIENT, a, a->of.result_dims);
    b->top_at = attend_operand(c, ATTENTION_TOP, a, NULL).address;
    b->total_at = attend_operand(c, ATTENTION_TOTAL, a, NULL).address;
    const int64_t *dims[] = {a->of.query_dims, a->of.key_dims, a->of.value_dims};
    for (int i = 0; i < 3; i++) b->result_gradient[i] = attend_result(c, a, i, dims[i]);
}

static void find_tiles(cg *c, backward *b)
{
    attend *a = &b->a;
    a->tile = attend_tiles_of(c, a, a->rows, true);
    b->column_tile = attend_tiles_of(c, a, a->width, false);
    b->value_column_tile = attend_tiles_of(c, a, a->value_width, false);
}

void cg_attention_back(cg *c)
{
    enum { WORK = 1 << 20 };
    backward b = {.a = attend_of(c)};
    attend *a = &b.a;
    choose(c, &b);
    cg_kernel_begin(c);
    find_tiles(c, &b);
    find_memory(c, &b);
    reserve(c, &b);
    fill_ds_table(c, &b);
    const ir_dim points = attend_points(a);
    const int64_t work = 2 * a->rows * a->keys * (3 * a->width + 2 * a->value_width);
    const int64_t grain = base_max(1, WORK / base_max(work, 1));
    cg_value begin, end;
    cg_task_rows(c, points, grain, 1, &begin, &end, NULL);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    attend_matrix *const matrix[] = {&a->query, &a->key, &a->value, &b.result, &b.gradient, &b.result_gradient[0],
                                     &b.result_gradient[1], &b.result_gradient[2]};
    attend_point(c, a, l.i, (int)countof(matrix), matrix);
    run_point(c, &b);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, points, grain, 1);
}
