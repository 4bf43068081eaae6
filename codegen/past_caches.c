/* past_caches.c: results that are larger than caches are written past them: what they would displace is of more use, and
 * their lines need not be read first. Only whole lines of memory pay, and only where they are not in the caches already,
 * as they are when a result lies over an operand. */
#include "codegen/cg_rules.h"

enum { LARGE_BYTES = 24 << 20 };

static bool has_whole_lines(const cg *c, int root)
{
    const ir_type *t = cg_type(c, c->body->root[root]);
    if (t->dtype != DTYPE_f32 || t->rank < 1) return false;
    const ir_dim row = t->dim[t->rank - 1];
    return t->rank == 1 || (!row.batch && row.count % (CG_LINE_BYTES / 4) == 0);
}

static bool may_be_large(const cg *c, int root)
{
    ir_dim all;
    return ir_type_elements(cg_type(c, c->body->root[root]), &all) && (all.batch || all.count >= LARGE_BYTES / 4);
}

cg_value cg_past_caches(cg *c)
{
    const cg_body *b = c->body;
    cg_value pays = NULL;
    for (int i = 0; i < b->arg_count - b->root_count; i++)
        if (b->arg_shared[i]) return NULL;
    for (int r = 0; r < cg_body_results(b); r++) {
        if (!has_whole_lines(c, r) || !may_be_large(c, r)) return NULL;
        const ir_type *t = cg_type(c, b->root[r]);
        cg_value large = cg_icmp(c, LLVMIntSGE, cg_elements(c, t, 0, t->rank), cg_i64(c, LARGE_BYTES / 4));
        cg_value address = LLVMBuildPtrToInt(c->b, c->arg[cg_body_root_arg(b, r)], c->i64, "");
        cg_value whole = cg_icmp(c, LLVMIntEQ, cg_rem(c, address, cg_i64(c, CG_LINE_BYTES)), cg_i64(c, 0));
        pays = pays ? cg_and(c, pays, large) : large;
        pays = cg_and(c, pays, whole);
    }
    return pays;
}

static bool is_whole_vector(const cg *c, const cg_result *r)
{
    const cg_coord *last = &r->index.at[r->index.rank - 1];
    return r->index.lanes == c->lanes && !r->index.mask && !last->lanes && last->step == 1;
}

void cg_results_store(cg *c, int count, const cg_result *result)
{
    bool whole = c->past_caches != NULL;
    for (int i = 0; i < count && whole; i++) whole = is_whole_vector(c, &result[i]);
    if (!whole) {
        for (int i = 0; i < count; i++) cg_root_store(c, result[i].root, &result[i].index, result[i].lanes);
        return;
    }
    cg_branch past;
    cg_if_begin(c, &past, c->past_caches, 0, NULL);
    for (int i = 0; i < count; i++) {
        const int r = result[i].root;
        cg_coord at = cg_index_linear(c, cg_type(c, c->body->root[r]), &result[i].index);
        cg_value address = cg_at(c, c->f32, c->arg[cg_body_root_arg(c->body, r)], at.base);
        cg_store_past_caches(c, cg_splat(c, result[i].lanes, c->lanes), address);
    }
    cg_if_other(c, &past, NULL);
    for (int i = 0; i < count; i++) cg_root_store(c, result[i].root, &result[i].index, result[i].lanes);
    cg_if_end(c, &past, NULL);
}
