/* cpu_dot_copy.c: left panels that a tile copies. A tile that sums stores nothing and reads little, so the last one of a row of
 * tiles copies the panel of the next row, where packing it before would wait for memory; panels lie in two places in turn. */
#include "codegen/blocking.h"

cg_value blocking_copies_next(cg *c, const blocking *q, cg_value m, cg_value end)
{
    cg_value behind = cg_add(c, m, cg_i64(c, 2 * c->target->mr)), columns = cg_sub(c, q->end[ROLE_N], q->begin[ROLE_N]);
    cg_value copies = cg_and(c, cg_icmp(c, LLVMIntSLE, behind, end), cg_icmp(c, LLVMIntSGE, columns, cg_i64(c, c->target->nr)));
    /* Tiles that fill right panels do not copy. */
    return q->fills_b ? cg_and(c, copies, cg_icmp(c, LLVMIntNE, m, q->begin[ROLE_M])) : copies;
}

bool blocking_copy_begin(cg *c, const blocking *q, cg_value copied, const pack *a, cg_value m, cg_value n, cg_value panel,
                         cg_value *arg, cg_branch *out_copies)
{
    if (!q->copies) return false;
    const int64_t nr = c->target->nr;
    cg_value left = cg_sub(c, q->end[ROLE_N], n), step, all[TILE_ARGUMENTS];
    cg_value last = cg_and(c, cg_icmp(c, LLVMIntSGE, left, cg_i64(c, nr)), cg_icmp(c, LLVMIntSLT, left, cg_i64(c, 2 * nr)));
    int count = 5 + q->direct + 2 * (q->addend != NULL);
    for (int i = 0; i < count; i++) all[i] = arg[i];
    all[count++] = cg_pack_source(c, a, m, &step);
    all[count++] = cg_i64(c, q->copy_step);
    all[count++] = cg_at(c, c->f32, q->a, cg_mul(c, panel, cg_i64(c, q->a_room)));
    cg_if_begin(c, out_copies, cg_and(c, copied, last), 0, NULL);
    cg_helper_call(c, q->copy_fn, count, all);
    cg_if_other(c, out_copies, NULL);
    return true;
}
