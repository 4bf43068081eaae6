/* cpu_dot_packs.c: what of the operands a block packs, and what is asked for while tiles are done, so that it is near when it is
 * packed or read. */
#include "codegen/blocking.h"

pack blocking_columns(cg *c, const blocking *q, cg_value batch, cg_value k, cg_value length)
{
    return (pack){.x = q->x, .side = &q->x->rhs, .role = ROLE_N, .width = c->target->nr, .row = q->begin[ROLE_N],
                  .row_end = q->end[ROLE_N], .limit = cg_dim(c, q->size[ROLE_N]), .k = k, .length = length, .address = q->b,
                  .room = q->b_room, .pairs = q->pairs, .batch = batch, .zeros = q->zeros};
}

pack blocking_rows(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value end, cg_value k, cg_value length)
{
    return (pack){.x = q->x, .side = &q->x->lhs, .role = ROLE_M, .width = c->target->mr, .row = m, .row_end = end,
                  .limit = cg_dim(c, q->size[ROLE_M]), .k = k, .length = length, .address = q->a, .room = q->a_room,
                  .stride = q->stride, .pointers = q->run > 0, .pairs = q->pairs, .batch = batch, .zeros = q->zeros};
}

cg_value blocking_length(cg *c, const blocking *q, cg_value k)
{
    return cg_max(c, cg_i64(c, 0), cg_min(c, cg_i64(c, q->kc), cg_sub(c, q->end[ROLE_K], k)));
}

/* Of the tiles in a row. */
static cg_value count_columns(cg *c, const blocking *q)
{
    const int64_t nr = c->target->nr;
    if (q->task_columns == q->nc) return cg_i64(c, q->nc / nr);
    cg_value columns = cg_sub(c, q->end[ROLE_N], q->begin[ROLE_N]);
    return cg_div(c, cg_add(c, columns, cg_i64(c, nr - 1)), cg_i64(c, nr));
}

void blocking_find_ahead(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value j, cg_value *out_from, cg_value *out_step)
{
    cg_value columns = count_columns(c, q), all = cg_i64(c, 4 * c->target->mr);
    cg_value step = cg_div(c, cg_add(c, all, cg_sub(c, columns, cg_i64(c, 1))), columns);
    contraction_point p = {.lanes = 1};
    contraction_point_set(c, q->x, &p, ROLE_B, batch, false);
    contraction_point_set(c, q->x, &p, ROLE_M, m, true);
    contraction_point_set(c, q->x, &p, ROLE_K, cg_i64(c, 0), true);
    const contraction_share row = contraction_share_of(c, &q->x->lhs, &p, false);
    LLVMTypeRef element = cg_memory_type(c, cg_type(c, q->x->lhs.value)->dtype);
    cg_value from = cg_at(c, element, c->binding[q->x->lhs.value].address, row.linear);
    *out_from = cg_at(c, c->i8, from, cg_mul(c, cg_mul(c, j, cg_i64(c, q->cells)), step));
    *out_step = step;
}

/* The rows of the next row of tiles, which may be the first one at the next positions. */
static void prefetch_rows(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value k, cg_value j)
{
    cg_value mr = cg_i64(c, c->target->mr), next = cg_add(c, m, mr), last = cg_icmp(c, LLVMIntSGE, next, q->end[ROLE_M]);
    cg_value begin = cg_select(c, last, q->begin[ROLE_M], next), end = cg_min(c, cg_add(c, begin, mr), q->end[ROLE_M]);
    cg_value at = cg_select(c, last, cg_add(c, k, cg_i64(c, q->kc)), k);
    const pack a = blocking_rows(c, q, batch, begin, end, at, blocking_length(c, q, at));
    cg_pack_prefetch(c, &a, j, count_columns(c, q));
}

void blocking_prefetch_next(cg *c, const blocking *q, cg_value batch, cg_value m, cg_value end, cg_value k, cg_value j,
                            cg_value copied)
{
    if (q->x->panels || q->ahead || q->reads_a) return;
    cg_value mr = cg_i64(c, c->target->mr), columns = count_columns(c, q), rows = cg_i64(c, q->mc / c->target->mr);
    cg_value from = cg_max(c, cg_sub(c, end, cg_i64(c, q->mc)), q->begin[ROLE_M]), i = cg_div(c, cg_sub(c, m, from), mr);
    cg_value number = cg_add(c, cg_mul(c, i, columns), j), count = cg_mul(c, columns, rows);
    cg_branch packs;
    if (copied) cg_if_begin(c, &packs, cg_icmp(c, LLVMIntEQ, copied, LLVMConstNull(c->i1)), 0, NULL);
    if (q->stride) prefetch_rows(c, q, batch, m, k, j);
    if (copied) cg_if_end(c, &packs, NULL);
    if (!q->stride && q->most_rows > q->mc) {
        cg_value behind = cg_min(c, cg_add(c, end, cg_i64(c, q->mc)), q->end[ROLE_M]);
        const pack a = blocking_rows(c, q, batch, end, behind, k, blocking_length(c, q, k));
        cg_pack_prefetch(c, &a, number, count);
    }
    if (q->one_pass) return;
    cg_branch last;
    cg_value next = cg_add(c, k, cg_i64(c, q->kc)), length = blocking_length(c, q, next);
    cg_value ends = cg_and(c, cg_icmp(c, LLVMIntEQ, end, q->end[ROLE_M]), cg_icmp(c, LLVMIntSGE, m, from));
    cg_if_begin(c, &last, ends, 0, NULL);
    const pack b = blocking_columns(c, q, batch, next, length);
    cg_pack_prefetch(c, &b, number, count);
    if (!q->stride) {
        cg_value block = cg_min(c, cg_add(c, q->begin[ROLE_M], cg_i64(c, q->mc)), q->end[ROLE_M]);
        const pack a = blocking_rows(c, q, batch, q->begin[ROLE_M], block, next, length);
        cg_pack_prefetch(c, &a, number, count);
    }
    cg_if_end(c, &last, NULL);
}
