/* cpu_direct.c: contractions some vectors of results at a time, straight from the operands: depthwise convolutions, narrow
 * products, products of few rows, and types other than f32. Rows are b x m, columns are n; in a grouped convolution columns are
 * all features, b x n, so that a depthwise one runs along the channels. */
#include "codegen/contraction.h"

enum { MOST_VECTORS = 16 }; /* of results that are summed at a time */

typedef struct direct {
    const contraction *x;
    bool grouped;          /* columns are b x n */
    ir_dim rows, columns;
    int lanes;
    cg_value split, k, length;
} direct;

static void set_row(cg *c, const direct *q, contraction_point *p, cg_value row)
{
    if (q->grouped) {
        contraction_point_set(c, q->x, p, ROLE_M, row, false);
        return;
    }
    cg_value m = cg_dim(c, contraction_size(q->x, ROLE_M));
    contraction_point_set(c, q->x, p, ROLE_B, cg_div(c, row, m), false);
    contraction_point_set(c, q->x, p, ROLE_M, cg_rem(c, row, m), false);
}

static void set_columns(cg *c, const direct *q, contraction_point *p, cg_value column)
{
    const contraction *x = q->x;
    if (!q->grouped) {
        contraction_point_run(c, x, p, ROLE_N, column, p->lanes, false);
        return;
    }
    int64_t part = x->size[ROLE_N][0].count;
    if (part == 1) {
        p->at[ROLE_N][0] = (cg_coord){.base = cg_i64(c, 0), .align = 1};
        p->at[ROLE_B][0] = (cg_coord){.base = column, .step = p->lanes > 1, .align = 1};
        return;
    }
    cg_value all = cg_add(c, cg_splat(c, column, p->lanes), cg_iota(c, c->i64, p->lanes, 1));
    cg_value size = cg_splat(c, cg_i64(c, part), p->lanes), n = cg_rem(c, all, size), b = cg_div(c, all, size);
    bool one = p->lanes == 1;
    p->at[ROLE_N][0] = (cg_coord){.base = one ? n : cg_lane(c, n, 0), .align = 1, .lanes = one ? NULL : n};
    p->at[ROLE_B][0] = (cg_coord){.base = one ? b : cg_lane(c, b, 0), .align = 1, .lanes = one ? NULL : b};
}

/* 16-bit floats are summed in f32 and rounded once. */
static ir_dtype sum_type(ir_dtype t) { return t == DTYPE_f16 || t == DTYPE_bf16 ? DTYPE_f32 : t; }

static cg_value multiply_add(cg *c, ir_dtype t, cg_value a, cg_value b, cg_value sum)
{
    if (ir_dtype_is_float(t)) return cg_fma(c, a, b, sum);
    if (t == DTYPE_i1) return cg_or(c, cg_and(c, a, b), sum);
    return cg_add(c, cg_mul(c, a, b), sum);
}

/* The sums of `vectors` vectors of results at points p, into out_sum. */
static void sum_products(cg *c, const direct *q, contraction_point *p, int vectors, cg_value left, cg_value *out_sum)
{
    const contraction *x = q->x;
    ir_dtype t = sum_type(cg_type(c, x->main)->dtype);
    int count = x->count[ROLE_K];
    contraction_point start = {.lanes = 1};
    contraction_point_set(c, x, &start, ROLE_K, q->k, false);
    cg_value carried[IR_MAX_RANK + MOST_VECTORS];
    for (int d = 0; d < count; d++) carried[d] = start.at[ROLE_K][d].base;
    for (int i = 0; i < vectors; i++) carried[count + i] = cg_number(c, t, 0, p->lanes);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), q->length, 1, count + vectors, carried);
    for (int i = 0; i < vectors; i++) {
        for (int d = 0; d < count; d++) p[i].at[ROLE_K][d] = (cg_coord){.base = carried[d], .align = 1};
        cg_value a = contraction_element(c, &x->lhs, &p[i], left), b = contraction_element(c, &x->rhs, &p[i], left);
        out_sum[i] = multiply_add(c, t, a, b, carried[count + i]);
    }
    for (int i = 0; i < vectors; i++) carried[count + i] = out_sum[i];
    contraction_next(c, x, ROLE_K, carried);
    cg_loop_end(c, &l, carried);
    for (int i = 0; i < vectors; i++) out_sum[i] = carried[count + i];
}

/* `vectors` vectors of results from a column on, at the row of p. */
static void write_columns(cg *c, const direct *q, const contraction_point *p, int vectors, cg_value column, cg_value left)
{
    contraction_point at[MOST_VECTORS];
    cg_value sum[MOST_VECTORS];
    for (int i = 0; i < vectors; i++) {
        at[i] = *p;
        set_columns(c, q, &at[i], cg_add(c, column, cg_i64(c, (int64_t)i * p->lanes)));
    }
    sum_products(c, q, at, vectors, left, sum);
    for (int i = 0; i < vectors; i++) {
        cg_index index = contraction_out_index(c, q->x, &at[i], q->split);
        if (left) index.mask = cg_mask_first(c, p->lanes, left);
        cg_main_store(c, &index, cg_narrow(c, cg_type(c, q->x->main)->dtype, sum[i]));
    }
}

static void write_row(cg *c, const direct *q, cg_value row)
{
    contraction_point p = {.lanes = q->lanes};
    contraction_point_set(c, q->x, &p, ROLE_B, cg_i64(c, 0), false);
    set_row(c, q, &p, row);
    cg_value columns = cg_dim(c, q->columns);
    cg_value whole = cg_sub(c, columns, cg_rem(c, columns, cg_i64(c, q->lanes)));
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), whole, q->lanes, 0, NULL);
    write_columns(c, q, &p, 1, l.i, NULL);
    cg_loop_end(c, &l, NULL);
    if (q->lanes == 1 || (!q->columns.batch && q->columns.count % q->lanes == 0)) return;
    cg_loop_begin(c, &l, whole, columns, q->lanes, 0, NULL);
    write_columns(c, q, &p, 1, l.i, cg_sub(c, columns, l.i));
    cg_loop_end(c, &l, NULL);
}

int cg_rows_vectors(const cg *c)
{
    int vectors = 1;
    while (2 * vectors <= base_min(c->target->mr * c->target->nr / c->lanes, MOST_VECTORS)) vectors *= 2;
    return vectors;
}

void cg_dot_rows(cg *c, const contraction *x, int vectors, const cg_value *begin, const cg_value *end)
{
    const direct q = {.x = x, .columns = contraction_size(x, ROLE_N), .lanes = c->lanes, .k = begin[ROLE_K],
                      .length = cg_sub(c, end[ROLE_K], begin[ROLE_K])};
    contraction_point p = {.lanes = c->lanes};
    cg_loop rows, columns;
    contraction_point_set(c, x, &p, ROLE_B, begin[ROLE_B], false);
    cg_loop_begin(c, &rows, begin[ROLE_M], end[ROLE_M], 1, 0, NULL);
    contraction_point_set(c, x, &p, ROLE_M, rows.i, false);
    cg_loop_begin(c, &columns, begin[ROLE_N], end[ROLE_N], (int64_t)vectors * c->lanes, 0, NULL);
    write_columns(c, &q, &p, vectors, columns.i, NULL);
    cg_loop_end(c, &columns, NULL);
    cg_loop_end(c, &rows, NULL);
}

/* The results at a row of as many columns as a vector has lanes, of which those from `limit` on are any numbers. Every column
 * has a vector of sums, of positions that are equal modulo the lanes; in the end those are exchanged and added up as a tree. */
static cg_value sum_along_k(cg *c, const direct *q, const contraction_point *row, cg_value column, cg_value limit)
{
    const int lanes = c->lanes;
    cg_value sum[MOST_VECTORS], end = cg_add(c, q->k, q->length);
    contraction_point at[MOST_VECTORS];
    for (int i = 0; i < lanes; i++) {
        cg_value n = cg_min(c, cg_add(c, column, cg_i64(c, i)), cg_sub(c, limit, cg_i64(c, 1)));
        at[i] = *row;
        contraction_point_set(c, q->x, &at[i], ROLE_N, n, false);
        sum[i] = cg_number(c, DTYPE_f32, 0, lanes);
    }
    cg_value whole = cg_sub(c, end, cg_rem(c, q->length, cg_i64(c, lanes)));
    for (int tail = 0; tail < 2; tail++) {
        cg_loop l;
        cg_loop_begin(c, &l, tail ? whole : q->k, tail ? end : whole, lanes, lanes, sum);
        cg_value left = tail ? cg_sub(c, end, l.i) : NULL, a = NULL;
        for (int i = 0; i < lanes; i++) {
            contraction_point_run(c, q->x, &at[i], ROLE_K, l.i, 1, false);
            if (i == 0) a = contraction_element(c, &q->x->lhs, &at[i], left);
            sum[i] = cg_fma(c, a, contraction_element(c, &q->x->rhs, &at[i], left), sum[i]);
        }
        cg_loop_end(c, &l, sum);
    }
    cg_transpose(c, lanes, sum);
    for (int half = lanes / 2; half >= 1; half /= 2) {
        for (int i = 0; i < half; i++) sum[i] = cg_fadd(c, sum[i], sum[i + half]);
    }
    return sum[0];
}

void cg_dot_rows_along_k(cg *c, const contraction *x, const cg_value *begin, const cg_value *end)
{
    const direct q = {.x = x, .k = begin[ROLE_K], .length = cg_sub(c, end[ROLE_K], begin[ROLE_K])};
    const int lanes = c->lanes;
    contraction_point p = {.lanes = lanes};
    cg_loop rows, columns;
    contraction_point_set(c, x, &p, ROLE_B, begin[ROLE_B], false);
    cg_loop_begin(c, &columns, begin[ROLE_N], end[ROLE_N], lanes, 0, NULL);
    cg_loop_begin(c, &rows, begin[ROLE_M], end[ROLE_M], 1, 0, NULL);
    contraction_point_set(c, x, &p, ROLE_M, rows.i, false);
    cg_value sum = sum_along_k(c, &q, &p, columns.i, end[ROLE_N]);
    contraction_point_run(c, x, &p, ROLE_N, columns.i, lanes, false);
    cg_index index = contraction_out_index(c, x, &p, NULL);
    index.mask = cg_mask_first(c, lanes, cg_sub(c, end[ROLE_N], columns.i));
    cg_main_store(c, &index, cg_narrow(c, cg_type(c, x->main)->dtype, sum));
    cg_loop_end(c, &rows, NULL);
    cg_loop_end(c, &columns, NULL);
}

static ir_dim times(ir_dim a, ir_dim b) { return (ir_dim){a.count * b.count, a.batch | b.batch}; }

static int lanes_for(const cg *c, const direct *q)
{
    const contraction *x = q->x;
    size_t bytes = ir_dtype_size(cg_type(c, x->main)->dtype);
    int lanes = bytes > 4 ? c->lanes / 2 : c->lanes;
    while (lanes > 1 && !q->columns.batch && q->columns.count < lanes) lanes /= 2;
    return lanes;
}

void cg_dot_direct(cg *c, const contraction *given)
{
    contraction x = *given;
    if (contraction_size(&x, ROLE_M).count == 1 && contraction_size(&x, ROLE_N).batch) contraction_swap(&x);
    direct q = {.x = &x};
    ir_dim b = contraction_size(&x, ROLE_B), m = contraction_size(&x, ROLE_M), n = contraction_size(&x, ROLE_N);
    ir_dim k = contraction_size(&x, ROLE_K);
    q.grouped = cg_node(c, x.main)->op == OP_convolution && x.count[ROLE_B] == 1;
    q.rows = q.grouped ? m : times(b, m);
    q.columns = q.grouped ? times(b, n) : n;
    q.lanes = lanes_for(c, &q);
    int64_t splits = base_max(x.splits, 1), work = q.columns.count * (k.batch ? 1024 : k.count);
    int64_t grain = cg_grain(0, 2 * work);
    cg_kernel_begin(c);
    cg_value begin, end, size = cg_dim(c, k);
    cg_task_rows(c, q.rows, grain, splits, &begin, &end, &q.split);
    cg_value next = cg_add(c, q.split, cg_i64(c, 1)), parts = cg_i64(c, splits);
    q.k = cg_div(c, cg_mul(c, q.split, size), parts);
    q.length = cg_sub(c, cg_div(c, cg_mul(c, next, size), parts), q.k);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    write_row(c, &q, l.i);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, q.rows, grain, splits);
}
