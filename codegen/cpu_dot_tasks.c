/* cpu_dot_tasks.c: which rows, columns and positions of a matrix product a task does. */
#include "codegen/blocking.h"

enum { TASKS_A_THREAD = 4 };

/* With many rows, one task takes all columns of the block, and those that share it with few rows have none. */
static void widen_columns(cg *c, blocking *q)
{
    cg_value begin = q->begin[ROLE_N], all = cg_min(c, cg_add(c, begin, cg_i64(c, q->nc)), cg_dim(c, q->size[ROLE_N]));
    cg_value first = cg_icmp(c, LLVMIntEQ, cg_rem(c, begin, cg_i64(c, q->nc)), cg_i64(c, 0));
    cg_value many = cg_icmp(c, LLVMIntSGT, cg_dim(c, q->size[ROLE_M]), cg_i64(c, q->wide_rows));
    q->end[ROLE_N] = cg_select(c, many, cg_select(c, first, all, begin), q->end[ROLE_N]);
}

static cg_value ceil_div(cg *c, cg_value x, cg_value y) { return cg_div(c, cg_add(c, x, cg_sub(c, y, cg_i64(c, 1))), y); }

/* How many tasks do all tiles of rows, of `blocks` that there are: a few for each thread, and as many for one as for the other. */
static cg_value count_row_tasks(cg *c, const blocking *q, cg_value tiles, cg_value blocks)
{
    const int64_t mr = c->target->mr, columns = base_ceil_div(base_max(q->size[ROLE_N].count, 1), q->nc);
    cg_value others = cg_i64(c, blocking_count(q, ROLE_B) * columns * base_max(q->x->splits, 1));
    cg_value threads = cg_threads(c), one = cg_i64(c, 1);
    cg_value wanted = cg_max(c, cg_div(c, cg_mul(c, threads, cg_i64(c, TASKS_A_THREAD)), others), one);
    cg_value share = cg_min(c, ceil_div(c, tiles, wanted), cg_i64(c, q->most_rows / mr));
    cg_value tasks = ceil_div(c, tiles, cg_max(c, share, cg_i64(c, q->task_rows / mr)));
    cg_value more = cg_mul(c, ceil_div(c, tasks, threads), threads), fewer = cg_mul(c, cg_div(c, blocks, threads), threads);
    cg_value even = cg_select(c, cg_icmp(c, LLVMIntSLE, more, blocks), more, fewer);
    cg_value is_even = cg_icmp(c, LLVMIntEQ, cg_rem(c, others, threads), cg_i64(c, 0));
    is_even = LLVMBuildOr(c->b, is_even, cg_icmp(c, LLVMIntSLT, even, one), "");
    return cg_select(c, is_even, tasks, even);
}

/* Tasks share what right panels cost: some do more rows than a block has, and those between them none. No sum depends on it. */
static void lengthen_rows(cg *c, blocking *q)
{
    cg_value rows = cg_dim(c, q->size[ROLE_M]), mr = cg_i64(c, c->target->mr);
    cg_value tiles = ceil_div(c, rows, mr), block = cg_i64(c, q->task_rows), blocks = ceil_div(c, rows, block);
    cg_value tasks = count_row_tasks(c, q, tiles, blocks), share = cg_mul(c, ceil_div(c, tiles, tasks), mr);
    cg_value number = cg_mul(c, cg_div(c, q->begin[ROLE_M], block), tasks), task = cg_div(c, number, blocks);
    cg_value before = cg_sub(c, cg_add(c, number, blocks), tasks); /* that of the block before, and one more */
    cg_value first = cg_icmp(c, LLVMIntSLE, cg_div(c, before, blocks), task);
    q->begin[ROLE_M] = cg_min(c, cg_mul(c, task, share), rows);
    q->end[ROLE_M] = cg_min(c, cg_select(c, first, cg_add(c, q->begin[ROLE_M], share), q->begin[ROLE_M]), rows);
}

void blocking_find_task(cg *c, blocking *q)
{
    cg_value part, k = cg_dim(c, q->size[ROLE_K]);
    const int64_t block[ROLE_COUNT] = {1, q->task_rows, q->task_columns, 1};
    if (q->sums.count) {
        cg_task_rows(c, ir_fixed(q->sums.parts), 1, q->times, &q->sums.part, &(cg_value){NULL}, &part);
        row_sums_range(c, &q->sums, cg_dim(c, q->size[ROLE_M]), c->target->mr, &q->begin[ROLE_M], &q->end[ROLE_M]);
    } else {
        cg_task_rows(c, q->size[q->rows], q->grain, q->times, &q->begin[q->rows], &q->end[q->rows], &part);
        if (q->most_rows > q->task_rows) lengthen_rows(c, q);
    }
    for (int r = ROLE_B; r <= ROLE_N; r++) {
        if (r == (int)q->rows) continue;
        cg_value count = cg_i64(c, blocking_count(q, (role)r));
        q->begin[r] = cg_mul(c, cg_rem(c, part, count), cg_i64(c, block[r]));
        q->end[r] = cg_min(c, cg_add(c, q->begin[r], cg_i64(c, block[r])), cg_dim(c, q->size[r]));
        if (r == ROLE_N && q->task_columns < q->nc) widen_columns(c, q);
        part = cg_div(c, part, count);
    }
    q->split = part;
    const int64_t splits = base_max(q->x->splits, 1);
    cg_value next = cg_add(c, part, cg_i64(c, 1)), unit = cg_i64(c, base_max(q->run, 1)), units = cg_div(c, k, unit);
    q->begin[ROLE_K] = splits == 1 ? cg_i64(c, 0) : cg_mul(c, cg_div(c, cg_mul(c, part, units), cg_i64(c, splits)), unit);
    q->end[ROLE_K] = splits == 1 ? k : cg_mul(c, cg_div(c, cg_mul(c, next, units), cg_i64(c, splits)), unit);
}
