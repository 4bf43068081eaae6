/* nest_attention.c: attention. A task is a block of query rows of one point of the batch (or several whole points): it goes
 * through the keys block by block and keeps, per row, the largest score so far and the sum of exp(score - largest); when
 * the largest grows, what was summed so far is scaled down. A causal mask ends the keys at a strip's last row; should a
 * row then have no score far above the mask's number, the block is done again with all keys. */
#include "codegen/attention.h"

#include <float.h>

typedef struct forward {
    attend a;
    attend_matrix result, top, total;
    cg_value keys_at, values_at, scores_at, sums_at, tops_at, totals_at; /* scratch */
    cg_value query_table, score_table;
    int64_t value_panels;
    cg_value first, count;    /* rows of this block */
    cg_value limit;           /* keys that the block looks at */
    cg_value causal;          /* i64, 1: strips end at their last row; NULL: never */
    cg_value key, key_panels; /* of this block of keys */
} forward;

static void choose(const cg *c, forward *f)
{
    enum { ROWS = 192, KEYS = 256 };
    attend *a = &f->a;
    const int64_t half = c->target->l2 / 2 / (int64_t)sizeof(float) / (a->width + a->value_width);
    a->row_block = attend_block(a->rows, ROWS, a->mr);
    a->key_block = attend_block(a->keys, base_max(a->nr, base_min(KEYS, half) / 5 * 4), a->nr);
    f->value_panels = base_ceil_div(a->value_width, a->nr);
}

static void reserve(cg *c, forward *f)
{
    const attend *a = &f->a;
    const int64_t slack = c->lanes * (a->nr + 1), size = (int64_t)sizeof(float), panels = a->key_block / a->nr;
    f->keys_at = cg_scratch(c, size * (a->key_block * a->width + slack));
    f->values_at = cg_scratch(c, size * (a->key_block * f->value_panels * a->nr + slack));
    f->scores_at = cg_scratch(c, size * a->key_block * a->mr);
    f->sums_at = cg_scratch(c, size * a->row_block * f->value_panels * a->nr);
    f->tops_at = cg_scratch(c, size * a->row_block);
    f->totals_at = cg_scratch(c, size * a->row_block);
    f->query_table = cg_scratch(c, (int64_t)sizeof(void *) * a->mr);
    f->score_table = cg_scratch(c, (int64_t)sizeof(void *) * panels * a->mr);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, panels * a->mr), 1, 0, NULL);
    cg_store(c, attend_at(c, f->scores_at, cg_mul(c, l.i, cg_i64(c, a->nr))), cg_at(c, c->ptr, f->score_table, l.i), 8);
    cg_loop_end(c, &l, NULL);
}

/* Where vector `u` of a panel's scores of one row lies, whose scores begin at `place`; *out_key: its first key. */
static cg_value row_scores_at(cg *c, const forward *f, cg_value place, cg_value panel, int u, cg_value *out_key)
{
    const attend *a = &f->a;
    const cg_value lane = cg_i64(c, u * c->lanes);
    *out_key = cg_add(c, f->key, cg_add(c, cg_mul(c, panel, cg_i64(c, a->nr)), lane));
    return attend_at(c, place, cg_add(c, cg_mul(c, panel, cg_i64(c, a->mr * a->nr)), lane));
}

/* Scores of row `row` of the strip, in place; returns their maximum. */
static cg_value write_scores(cg *c, forward *f, cg_value row, cg_value place)
{
    const attend *a = &f->a;
    const LLVMTypeRef vector = cg_vector(c->f32, c->lanes);
    cg_value top[8];
    const int vectors = (int)a->nr / c->lanes;
    for (int u = 0; u < vectors; u++) top[u] = cg_fill(c, vector, -FLT_MAX);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), f->key_panels, 1, vectors, top);
    for (int u = 0; u < vectors; u++) {
        cg_value key;
        const cg_value at = row_scores_at(c, f, place, l.i, u, &key);
        const attend_lanes lanes = attend_lanes_at(c, a, row, key);
        const cg_value x = attend_score(c, a, &lanes, attend_shown(c, a, &lanes), cg_load(c, vector, at, 4));
        cg_store(c, x, at, 4);
        top[u] = attend_larger(c, x, top[u]);
    }
    cg_loop_end(c, &l, top);
    for (int u = 1; u < vectors; u++) top[0] = attend_larger(c, top[0], top[u]);
    return cg_combine_lanes(c, "maximum", DTYPE_f32, top[0]);
}

/* Scores become exp(score - top); returns their sum, and leaves their products with the factors. */
static cg_value write_weights(cg *c, forward *f, cg_value row, cg_value place, cg_value top)
{
    const attend *a = &f->a;
    const LLVMTypeRef vector = cg_vector(c->f32, c->lanes);
    const int vectors = (int)a->nr / c->lanes;
    cg_value sum[8];
    top = cg_splat(c, top, c->lanes);
    for (int u = 0; u < vectors; u++) sum[u] = cg_fill(c, vector, 0);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), f->key_panels, 1, vectors, sum);
    for (int u = 0; u < vectors; u++) {
        cg_value key;
        const cg_value at = row_scores_at(c, f, place, l.i, u, &key);
        cg_value p = cg_math_exp_falling(c, cg_fsub(c, cg_load(c, vector, at, 4), top));
        sum[u] = cg_fadd(c, sum[u], p);
        if (a->has_keep) {
            const attend_lanes lanes = attend_lanes_at(c, a, row, key);
            p = attend_keep(c, a, &lanes, p);
        }
        cg_store(c, p, at, 4);
    }
    cg_loop_end(c, &l, sum);
    for (int u = 1; u < vectors; u++) sum[0] = cg_fadd(c, sum[0], sum[u]);
    return cg_combine_lanes(c, "add", DTYPE_f32, sum[0]);
}

/* Row `i` of the strip's sums so far, times `by`. */
static void scale_sums(cg *c, forward *f, cg_value strip_sums, cg_value i, cg_value by)
{
    const attend *a = &f->a;
    const LLVMTypeRef vector = cg_vector(c->f32, c->lanes);
    cg_loop l;
    by = cg_splat(c, by, c->lanes);
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, f->value_panels), 1, 0, NULL);
    for (int64_t u = 0; u < a->nr; u += c->lanes) {
        const cg_value row = cg_add(c, cg_mul(c, l.i, cg_i64(c, a->mr * a->nr)), cg_mul(c, i, cg_i64(c, a->nr)));
        const cg_value at = attend_at(c, strip_sums, cg_add(c, row, cg_i64(c, u)));
        cg_store(c, cg_fmul(c, cg_load(c, vector, at, 4), by), at, 4);
    }
    cg_loop_end(c, &l, NULL);
}

/* The softmax step of all rows of a strip. */
static void weigh_strip(cg *c, forward *f, cg_value strip, cg_value left, cg_value strip_sums)
{
    const attend *a = &f->a;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_min(c, left, cg_i64(c, a->mr)), 1, 0, NULL);
    const cg_value i = cg_add(c, strip, l.i), row = cg_add(c, f->first, i);
    const cg_value place = attend_at(c, f->scores_at, cg_mul(c, l.i, cg_i64(c, a->nr)));
    const cg_value top_at = attend_at(c, f->tops_at, i), total_at = attend_at(c, f->totals_at, i);
    const cg_value old = cg_load(c, c->f32, top_at, 4);
    const cg_value top = attend_larger(c, old, write_scores(c, f, row, place));
    const cg_value sum = write_weights(c, f, row, place, top);
    const cg_value shrink = cg_math_exp_falling(c, cg_fsub(c, old, top));
    const cg_value total = cg_fadd(c, cg_fmul(c, cg_load(c, c->f32, total_at, 4), shrink), sum);
    cg_store(c, top, top_at, 4);
    cg_store(c, total, total_at, 4);
    cg_branch grew;
    const cg_value some = cg_icmp(c, LLVMIntSGT, f->key, cg_i64(c, 0));
    cg_if_begin(c, &grew, cg_and(c, some, cg_fcmp(c, LLVMRealONE, shrink, cg_fill(c, c->f32, 1))), 0, NULL);
    scale_sums(c, f, strip_sums, l.i, shrink);
    cg_if_end(c, &grew, NULL);
    cg_loop_end(c, &l, NULL);
}

static void multiply_queries(cg *c, forward *f, cg_value row, cg_value left)
{
    const attend *a = &f->a;
    cg_loop l;
    attend_fill_table(c, a, &a->query, row, f->query_table);
    cg_loop_begin(c, &l, cg_i64(c, 0), f->key_panels, 1, 0, NULL);
    cg_value arg[] = {f->query_table, attend_at(c, f->keys_at, cg_mul(c, l.i, cg_i64(c, a->width * a->nr))),
                      cg_i64(c, a->width), attend_at(c, f->scores_at, cg_mul(c, l.i, cg_i64(c, a->mr * a->nr))),
                      cg_i64(c, 0), cg_i64(c, 1)};
    const cg_value key = cg_add(c, f->key, cg_mul(c, l.i, cg_i64(c, a->nr)));
    attend_tile(c, a, &a->tile, left, attend_is_cut(c, a, key), 6, arg);
    cg_loop_end(c, &l, NULL);
}

static void multiply_values(cg *c, forward *f, cg_value left, cg_value strip_sums)
{
    const attend *a = &f->a;
    const cg_value more = LLVMBuildZExt(c->b, cg_icmp(c, LLVMIntSGT, f->key, cg_i64(c, 0)), c->i64, "");
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, f->value_panels), 1, 0, NULL);
    const attend_sum sum = {.table = f->score_table, .key = f->key, .panels = f->key_panels, .more = more,
                            .right = attend_at(c, f->values_at, cg_mul(c, l.i, cg_i64(c, a->key_block * a->nr))),
                            .tile = attend_at(c, strip_sums, cg_mul(c, l.i, cg_i64(c, a->mr * a->nr)))};
    attend_sum_run(c, a, &sum, left);
    cg_loop_end(c, &l, NULL);
}

/* All strips of the block of rows with the block of keys. */
static void run_strips(cg *c, forward *f, cg_value panels)
{
    const attend *a = &f->a;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), f->count, a->mr, 0, NULL);
    const cg_value left = cg_sub(c, f->count, l.i), row = cg_add(c, f->first, l.i);
    const cg_value sums = attend_at(c, f->sums_at, cg_mul(c, l.i, cg_i64(c, f->value_panels * a->nr)));
    f->key_panels = panels;
    if (f->causal) {
        const cg_value last = cg_sub(c, cg_add(c, row, cg_min(c, left, cg_i64(c, a->mr))), cg_i64(c, 1));
        const cg_value seen = attend_seen(c, a, f->key, last, panels);
        f->key_panels = cg_select(c, cg_icmp(c, LLVMIntNE, f->causal, cg_i64(c, 0)), seen, panels);
    }
    cg_branch some;
    cg_if_begin(c, &some, cg_icmp(c, LLVMIntSGT, f->key_panels, cg_i64(c, 0)), 0, NULL);
    multiply_queries(c, f, row, left);
    weigh_strip(c, f, l.i, left, sums);
    multiply_values(c, f, left, sums);
    cg_if_end(c, &some, NULL);
    cg_loop_end(c, &l, NULL);
}

static void run_keys(cg *c, forward *f)
{
    const attend *a = &f->a;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), f->count, 1, 0, NULL);
    cg_store(c, cg_fill(c, c->f32, -FLT_MAX), attend_at(c, f->tops_at, l.i), 4);
    cg_store(c, cg_fill(c, c->f32, 0), attend_at(c, f->totals_at, l.i), 4);
    cg_loop_end(c, &l, NULL);
    cg_loop_begin(c, &l, cg_i64(c, 0), f->limit, a->key_block, 0, NULL);
    f->key = l.i;
    const cg_value count = cg_min(c, cg_i64(c, a->key_block), cg_sub(c, cg_i64(c, a->keys), l.i));
    const attend_pack keys = {.matrix = &a->key, .width = a->nr, .room = a->width * a->nr, .row = l.i, .count = count,
                              .address = f->keys_at};
    const attend_pack values = {.matrix = &a->value, .turned = true, .width = a->nr, .room = a->key_block * a->nr,
                                .row = l.i, .count = count, .address = f->values_at};
    attend_pack_run(c, a, &keys);
    attend_pack_run(c, a, &values);
    run_strips(c, f, cg_div(c, cg_add(c, count, cg_i64(c, a->nr - 1)), cg_i64(c, a->nr)));
    cg_loop_end(c, &l, NULL);
}

/* i64, 1: some row of the block may count hidden keys after all. */
static cg_value find_unsure(cg *c, forward *f)
{
    cg_value any = cg_i64(c, 0);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), f->count, 1, 1, &any);
    const cg_value sure = attend_is_sure(c, &f->a, cg_load(c, c->f32, attend_at(c, f->tops_at, l.i), 4));
    any = cg_select(c, sure, any, cg_i64(c, 1));
    cg_loop_end(c, &l, &any);
    return any;
}

static void finish_rows(cg *c, forward *f)
{
    const attend *a = &f->a;
    cg_loop r;
    cg_loop_begin(c, &r, cg_i64(c, 0), f->count, 1, 0, NULL);
    const cg_value row = cg_add(c, f->first, r.i), total = cg_load(c, c->f32, attend_at(c, f->totals_at, r.i), 4);
    const cg_value inverse = cg_fdiv(c, cg_fill(c, c->f32, 1), total);
    attend_store_row(c, a, &f->result, row, a->value_width, f->sums_at, r.i, inverse);
    const cg_value at = cg_add(c, cg_mul(c, a->batch, cg_i64(c, a->rows)), row);
    cg_store(c, cg_load(c, c->f32, attend_at(c, f->tops_at, r.i), 4), attend_at(c, f->top.address, at), 4);
    cg_store(c, total, attend_at(c, f->total.address, at), 4);
    cg_loop_end(c, &r, NULL);
}

static void run_rows(cg *c, forward *f)
{
    const cg_value all = cg_i64(c, f->a.keys);
    f->limit = all;
    f->causal = NULL;
    if (!f->a.of.causal) {
        run_keys(c, f);
    } else {
        cg_loop l;
        cg_branch again;
        cg_value need = cg_i64(c, 1);
        cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, 2), 1, 1, &need);
        cg_if_begin(c, &again, cg_icmp(c, LLVMIntNE, need, cg_i64(c, 0)), 1, &need);
        f->causal = cg_sub(c, cg_i64(c, 1), l.i);
        const cg_value seen = cg_min(c, all, cg_add(c, f->first, f->count));
        f->limit = cg_select(c, cg_icmp(c, LLVMIntEQ, l.i, cg_i64(c, 0)), seen, all);
        run_keys(c, f);
        cg_value unsure = find_unsure(c, f);
        cg_if_end(c, &again, &unsure);
        cg_loop_end(c, &l, &unsure);
    }
    finish_rows(c, f);
}

static void run_forward(cg *c)
{
    enum { WORK = 1 << 20 };
    forward f = {.a = attend_of(c)};
    attend *a = &f.a;
    choose(c, &f);
    cg_kernel_begin(c);
    a->tile = attend_tiles_of(c, a, a->rows, true);
    a->query = attend_operand(c, ATTENTION_QUERY, a, a->of.query_dims);
    a->key = attend_operand(c, ATTENTION_KEY, a, a->of.key_dims);
    a->value = attend_operand(c, ATTENTION_VALUE, a, a->of.value_dims);
    f.result = attend_result(c, a, 0, NULL);
    f.top = attend_result(c, a, 1, NULL);
    f.total = attend_result(c, a, 2, NULL);
    reserve(c, &f);
    const ir_dim points = attend_points(a);
    const int64_t parts = base_ceil_div(a->rows, a->row_block);
    const int64_t work = 2 * a->rows * a->keys * (a->width + a->value_width);
    const int64_t grain = parts > 1 ? 1 : base_max(1, WORK / base_max(work, 1));
    cg_value begin, end, part;
    cg_task_rows(c, points, grain, parts, &begin, &end, &part);
    f.first = cg_mul(c, part, cg_i64(c, a->row_block));
    f.count = cg_min(c, cg_i64(c, a->row_block), cg_sub(c, cg_i64(c, a->rows), f.first));
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    attend_matrix *const matrix[] = {&a->query, &a->key, &a->value, &f.result};
    attend_point(c, a, l.i, (int)countof(matrix), matrix);
    run_rows(c, &f);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, points, grain, parts);
}

void cg_nest_attention(cg *c)
{
    if (cg_node(c, c->body->main)->op == OP_attention)
        run_forward(c);
    else
        cg_attention_back(c);
}
