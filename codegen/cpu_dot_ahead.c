/* cpu_dot_ahead.c: what the results of a tile are written over, and what their epilogue reads, is asked for before the
 * tile is computed, so that nothing waits for memory afterwards: processors do not see it coming, since the rows of a tile
 * lie apart. */
#include "codegen/blocking.h"

/* Is an array numbered as the results are, as far as its size tells? Else asking for it does no harm. */
static bool is_alike(const cg *c, const blocking *q, const ir_type *t)
{
    ir_dim all, result;
    if (t->rank == 0 || !ir_type_elements(t, &all) || !ir_type_elements(cg_type(c, q->x->main), &result)) return false;
    return all.count == result.count && all.batch == result.batch;
}

/* Rows of a tile are equally far from each other, and each is one piece of memory. */
static bool has_rows(const cg *c, const blocking *q)
{
    const contraction *x = q->x;
    return q->flat && x->count[ROLE_N] && contraction_is_linear(c, x, &x->out, ROLE_N) &&
           contraction_contiguous(&x->out, ROLE_N) == x->count[ROLE_N] - 1;
}

static void ask(cg *c, ir_dtype t, cg_value address, cg_value first)
{
    const int64_t size = (int64_t)ir_dtype_size(t), columns = c->target->nr;
    for (int64_t at = 0; at < columns; at += CG_LINE_BYTES / size)
        cg_prefetch(c, cg_memory_type(c, t), address, cg_add(c, first, cg_i64(c, at)), 1);
}

void blocking_prefetch_results(cg *c, const blocking *q, cg_value number, cg_value distance)
{
    const cg_body *b = c->body;
    if (!has_rows(c, q)) return;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, c->target->mr), 1, 0, NULL);
    const cg_value first = cg_add(c, number, cg_mul(c, l.i, distance));
    for (ir_value v = 0; v < (ir_value)b->graph->count; v++) {
        const ir_type *t = cg_type(c, v);
        if (c->binding[v].source == CG_MEMORY && is_alike(c, q, t)) ask(c, t->dtype, c->binding[v].address, first);
    }
    cg_branch cached;
    if (c->past_caches) cg_if_begin(c, &cached, cg_icmp(c, LLVMIntEQ, c->past_caches, LLVMConstNull(c->i1)), 0, NULL);
    for (int r = 0; r < b->root_count; r++) {
        const ir_type *t = cg_type(c, b->root[r]);
        if (is_alike(c, q, t)) ask(c, t->dtype, c->arg[cg_body_root_arg(b, r)], first);
    }
    if (c->past_caches) cg_if_end(c, &cached, NULL);
    cg_loop_end(c, &l, NULL);
}
