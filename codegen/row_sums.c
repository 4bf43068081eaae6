/* row_sums.c: see row_sums.h. Squares are summed around the block's first row, which is no farther from the block's mean
 * than its rows spread, and then moved to the mean; blocks are merged as in nest_moments.c. */
#include "codegen/row_sums.h"

#include "codegen/cg_rules.h"
#include "codegen/reduce.h"

static int root_of(const cg *c, int k) { return cg_body_results(c->body) + k; }

static bool is_moments(const cg *c, int k) { return cg_node(c, c->body->root[root_of(c, k)])->op == OP_moments; }

row_sums row_sums_describe(const cg *c)
{
    row_sums s = {.count = c->body->sum_count};
    bug_if(s.count > ROW_SUMS_MOST, "%d sums of rows", s.count);
    for (int k = 0; k < s.count; k++) {
        s.values += is_moments(c, k) ? 3 : 1;
        s.parts = ir_attr_int(cg_node(c, c->body->root[root_of(c, k)]), ATTR_splits, 1);
    }
    return s;
}

void row_sums_range(cg *c, const row_sums *s, cg_value all, int64_t unit, cg_value *out_begin, cg_value *out_end)
{
    cg_value parts = cg_i64(c, s->parts), size = cg_i64(c, unit);
    cg_value blocks = cg_div(c, cg_add(c, all, cg_i64(c, unit - 1)), size), next = cg_add(c, s->part, cg_i64(c, 1));
    *out_begin = cg_min(c, cg_mul(c, cg_div(c, cg_mul(c, s->part, blocks), parts), size), all);
    *out_end = cg_min(c, cg_mul(c, cg_div(c, cg_mul(c, next, blocks), parts), size), all);
}

static cg_value clear(cg *c, const row_sums *s)
{
    cg_value array = cg_scratch(c, 4 * s->room);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, s->room), c->lanes, 0, NULL);
    cg_store(c, LLVMConstNull(cg_vector(c->f32, c->lanes)), cg_at(c, c->f32, array, l.i), 4);
    cg_loop_end(c, &l, NULL);
    return array;
}

void row_sums_begin(cg *c, row_sums *s, int64_t columns)
{
    s->room = base_ceil_div(columns, c->lanes) * c->lanes;
    for (int k = 0; k < s->count; k++) {
        s->sum[k] = clear(c, s);
        if (is_moments(c, k)) s->squares[k] = clear(c, s);
    }
    s->before = cg_scratch(c, 4);
    cg_store(c, cg_number(c, DTYPE_f32, 0, 1), s->before, 4);
}

void row_sums_start(cg *c, const row_sums *s, const cg_result *result, cg_value *value)
{
    for (int k = 0; k < s->count; k++) {
        const cg_result *r = &result[root_of(c, k)];
        if (is_moments(c, k)) *value++ = cg_splat(c, r->lanes, r->index.lanes);
        for (int i = is_moments(c, k) ? 2 : 1; i > 0; i--) *value++ = cg_number(c, DTYPE_f32, 0, r->index.lanes);
    }
}

void row_sums_add(cg *c, const row_sums *s, const cg_result *result, cg_value *value)
{
    for (int k = 0; k < s->count; k++) {
        const cg_result *r = &result[root_of(c, k)];
        cg_value x = cg_splat(c, r->lanes, r->index.lanes);
        if (is_moments(c, k)) {
            const cg_value first = *value++;
            x = cg_fsub(c, x, first);
            value[1] = cg_fma(c, x, x, value[1]);
            *value = cg_fadd(c, *value, x);
            value += 2;
        } else {
            *value = cg_fadd(c, *value, x);
            value++;
        }
    }
}

static cg_value held(cg *c, cg_value address, int lanes) { return cg_load(c, cg_vector(c->f32, lanes), address, 4); }

/* value: the first row; the sum and the squares of what all rows differ from it by. */
static void merge_moments(cg *c, const row_sums *s, cg_value at_sum, cg_value at_squares, cg_value rows, const cg_value *value)
{
    const int lanes = cg_lanes_of(value[0]);
    const cg_value one = cg_number(c, DTYPE_f32, 1, 1), before = cg_load(c, c->f32, s->before, 4);
    cg_value earlier = cg_fdiv(c, one, cg_combine(c, "maximum", DTYPE_f32, before, one));
    cg_value weight = cg_fdiv(c, cg_fmul(c, before, rows), cg_fadd(c, before, rows));
    cg_value count = cg_splat(c, rows, lanes), part = cg_splat(c, cg_fdiv(c, one, rows), lanes);
    cg_value shift = cg_fmul(c, value[1], part), sum = held(c, at_sum, lanes);
    cg_value squares = cg_fsub(c, value[2], cg_fmul(c, shift, value[1]));
    cg_value apart = cg_fsub(c, cg_fadd(c, value[0], shift), cg_fmul(c, sum, cg_splat(c, earlier, lanes)));
    squares = cg_fma(c, cg_fmul(c, apart, apart), cg_splat(c, weight, lanes), squares);
    cg_store(c, cg_fadd(c, held(c, at_squares, lanes), squares), at_squares, 4);
    cg_store(c, cg_fadd(c, sum, cg_fma(c, value[0], count, value[1])), at_sum, 4);
}

static cg_value count_of(cg *c, cg_value rows) { return LLVMBuildSIToFP(c->b, rows, c->f32, ""); }

void row_sums_merge(cg *c, const row_sums *s, cg_value column, cg_value rows, const cg_value *value)
{
    if (s->count == 0) return;
    const cg_value at = cg_sub(c, column, s->first), count = count_of(c, rows);
    for (int k = 0; k < s->count; k++) {
        cg_value sum = cg_at(c, c->f32, s->sum[k], at);
        if (is_moments(c, k)) {
            merge_moments(c, s, sum, cg_at(c, c->f32, s->squares[k], at), count, value);
            value += 3;
        } else {
            cg_store(c, cg_fadd(c, held(c, sum, cg_lanes_of(*value)), *value), sum, 4);
            value++;
        }
    }
}

void row_sums_advance(cg *c, const row_sums *s, cg_value rows)
{
    cg_store(c, cg_fadd(c, cg_load(c, c->f32, s->before, 4), count_of(c, rows)), s->before, 4);
}

static void store_at(cg *c, int root, const row_sums *s, int what, cg_value position, cg_value v, int lanes)
{
    cg_value at[3] = {s->part};
    int rank = 1;
    if (what >= 0) at[rank++] = cg_i64(c, what);
    at[rank++] = position;
    cg_index index = cg_index_make(lanes, rank, at);
    cg_index_run(&index, rank - 1, lanes);
    cg_root_store(c, root, &index, cg_splat(c, v, lanes));
}

static void store_step(cg *c, cg_value position, int lanes, int width, void *context)
{
    const row_sums *s = context;
    const cg_value rows = cg_load(c, c->f32, s->before, 4);
    for (int j = 0; j < width; j++) {
        cg_value column = cg_add(c, position, cg_i64(c, (int64_t)j * lanes)), at = cg_sub(c, column, s->first);
        for (int k = 0; k < s->count; k++) {
            const int root = root_of(c, k);
            const cg_value sum = held(c, cg_at(c, c->f32, s->sum[k], at), lanes);
            store_at(c, root, s, is_moments(c, k) ? MOMENTS_SUM : -1, column, sum, lanes);
            if (!is_moments(c, k)) continue;
            store_at(c, root, s, MOMENTS_ROWS, column, rows, lanes);
            store_at(c, root, s, MOMENTS_SQUARES, column, held(c, cg_at(c, c->f32, s->squares[k], at), lanes), lanes);
        }
    }
}

void row_sums_store(cg *c, row_sums *s, cg_value end) { cg_blocks_emit(c, s->first, end, 1, store_step, s); }

void row_sums_afterwards(cg *c)
{
    for (int k = 0; k < c->body->sum_count; k++) {
        cg_kernel_begin(c);
        for (int r = 0; r < cg_body_results(c->body); r++)
            cg_bind_memory(c, c->body->root[r], c->arg[cg_body_root_arg(c->body, r)], false);
        if (is_moments(c, k))
            cg_moments_write(c, root_of(c, k));
        else
            cg_reduce_write(c, root_of(c, k), 1);
    }
}
