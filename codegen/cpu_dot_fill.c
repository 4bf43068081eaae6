/* cpu_dot_fill.c: which panels of a product's block are packed before, and which by the first tiles that use them: operands
 * that lie along their rows, as far as the tiles are whole. */
#include "codegen/blocking.h"

enum { FILLS_A = 1, FILLS_B = 2 }; /* bits of a number of blocking.fill_fn */

void blocking_find_fills(cg *c, blocking *q)
{
    for (int i = FILLS_A; i <= (FILLS_A | FILLS_B); i++) {
        const bool a = i & FILLS_A, b = i & FILLS_B;
        if (a > q->fills_a || b > q->fills_b) continue;
        const tile_fill form = {.a = a, .b = b, .pointers = q->run > 0, .apart = q->direct, .adds = q->addend != NULL, .row = q->stride ? q->stride : 1,
                                .position = q->run ? q->run_step : q->stride ? 1 : c->target->mr};
        q->fill_fn[i] = cg_tile_fill(c, &form);
    }
}

/* How many rows of a pack the first tiles write: whole panels. */
static cg_value count_filled(cg *c, const pack *p, cg_value others, int64_t least)
{
    cg_value rows = cg_sub(c, p->row_end, p->row), whole = cg_sub(c, rows, cg_rem(c, rows, cg_i64(c, p->width)));
    return cg_select(c, cg_icmp(c, LLVMIntSGE, others, cg_i64(c, least)), whole, cg_i64(c, 0));
}

void blocking_pack_rest(cg *c, pack p, bool fills, cg_value others, int64_t least)
{
    if (fills) {
        cg_value filled = count_filled(c, &p, others, least);
        p.row = cg_add(c, p.row, filled);
        p.address = cg_at(c, c->f32, p.address, cg_mul(c, cg_div(c, filled, cg_i64(c, p.width)), cg_i64(c, p.room)));
    }
    cg_branch some;
    cg_if_begin(c, &some, cg_icmp(c, LLVMIntSGT, p.length, cg_i64(c, 0)), 0, NULL);
    cg_pack(c, &p);
    cg_if_end(c, &some, NULL);
}

typedef struct first_tile {
    const pack *a, *b;
    cg_value m, n, *arg;
} first_tile;

static void call_fill(cg *c, const blocking *q, const first_tile *t, int fills)
{
    cg_value all[FILL_ARGUMENTS];
    for (int i = 0; i < FILL_ARGUMENTS; i++) all[i] = i <= FILL_ACCUMULATE ? t->arg[i] : cg_i64(c, 0);
    const int distance = FILL_RUNS + (q->run > 0) + 2 * q->ahead;
    all[FILL_ADDEND] = q->addend ? t->arg[distance + 1] : LLVMConstNull(c->ptr);
    if (q->addend) all[FILL_ADDEND_DISTANCE] = t->arg[distance + 2];
    if (q->run) all[FILL_RUNS] = t->arg[FILL_RUNS];
    if (q->direct) all[FILL_DISTANCE] = t->arg[distance];
    all[FILL_A_PANEL] = all[FILL_A];
    all[FILL_B_PANEL] = all[FILL_B];
    if (fills & FILLS_A) all[FILL_A] = cg_pack_source(c, t->a, t->m, &all[FILL_A_STEP]);
    if (fills & FILLS_B) all[FILL_B] = cg_pack_source(c, t->b, t->n, &all[FILL_B_STEP]);
    cg_helper_call(c, q->fill_fn[fills], FILL_ARGUMENTS, all);
}

/* a, b: i1, what the tile fills; one of them at least is true. */
static void call_one_fill(cg *c, const blocking *q, const first_tile *t, cg_value a, cg_value b)
{
    if (!q->fills_a || !q->fills_b) {
        call_fill(c, q, t, q->fills_a ? FILLS_A : FILLS_B);
        return;
    }
    cg_branch both, one;
    cg_if_begin(c, &both, cg_and(c, a, b), 0, NULL);
    call_fill(c, q, t, FILLS_A | FILLS_B);
    cg_if_other(c, &both, NULL);
    cg_if_begin(c, &one, a, 0, NULL);
    call_fill(c, q, t, FILLS_A);
    cg_if_other(c, &one, NULL);
    call_fill(c, q, t, FILLS_B);
    cg_if_end(c, &one, NULL);
    cg_if_end(c, &both, NULL);
}

bool blocking_fill_begin(cg *c, const blocking *q, const pack *a, const pack *b, cg_value m, cg_value n, cg_value *arg,
                         cg_branch *out_fills)
{
    if (!q->fills_a && !q->fills_b) return false;
    const first_tile t = {.a = a, .b = b, .m = m, .n = n, .arg = arg};
    cg_value rows = cg_sub(c, q->end[ROLE_M], m), columns = cg_sub(c, q->end[ROLE_N], n), none = LLVMConstNull(c->i1);
    cg_value whole = cg_and(c, cg_icmp(c, LLVMIntSGE, rows, cg_i64(c, c->target->mr)),
                            cg_icmp(c, LLVMIntSGE, columns, cg_i64(c, c->target->nr)));
    cg_value first_column = cg_icmp(c, LLVMIntEQ, n, q->begin[ROLE_N]), first_row = cg_icmp(c, LLVMIntEQ, m, q->begin[ROLE_M]);
    cg_value fills_a = q->fills_a ? cg_and(c, whole, first_column) : none;
    cg_value fills_b = q->fills_b ? cg_and(c, whole, first_row) : none;
    cg_if_begin(c, out_fills, cg_or(c, fills_a, fills_b), 0, NULL);
    call_one_fill(c, q, &t, fills_a, fills_b);
    cg_if_other(c, out_fills, NULL);
    return true;
}
