/* fuse_sums.c: sums over all rows of a contraction's result, or of maps of it, join its kernel: they cost it arithmetic, where
 * a kernel of their own reads what is larger than the caches. Normalizations over batches have two such sums forward
 * (moments) and two backward. */
#include "passes/fuse.h"

enum {
    SUMS_MOST = 3,         /* of a kernel */
    SUMS_LEAST_COLUMNS = 4 /* fewer are no product of panels */
};

/* Its kernel takes sums as it goes: results lie row by row, and their last dim is the right operand's or a convolution's channels. */
static bool may_sum_rows(const ir_graph *g, const ir_node *n)
{
    int count;
    if (n->type.dtype != DTYPE_f32 || n->type.rank < 2 || !ir_takes_epilogue(g, n)) return false;
    const ir_dim columns = n->type.dim[n->type.rank - 1];
    if (columns.batch || columns.count < SUMS_LEAST_COLUMNS) return false;
    if (n->op == OP_dot_general) {
        ir_attr_ints(n, ATTR_lhs_batch, &count);
        if (count > 0 || ir_attr_find(n, ATTR_panels)) return false;
        ir_attr_ints(n, ATTR_rhs_contracting, &count);
        return ir_type_of(g, n->in[1])->rank == count + 1;
    }
    if (n->op != OP_convolution || ir_attr_find(n, ATTR_winograd)) return false;
    return ir_attr_text(n, ATTR_out_layout)[n->type.rank - 1] == 'f';
}

static int sums_of(const fuse *f, int group)
{
    int count = 0;
    ir_value operand;
    for (size_t i = 0; i < f->groups[group].root_count; i++) {
        const ir_value root = f->groups[group].root[i];
        count += root != f->groups[group].main && ir_sums_rows(f->g, root, &operand);
    }
    return count;
}

/* What is summed is a map, row by row, of what group `writer` computes. */
static bool sums_what_it_writes(fuse *f, ir_value root, int writer)
{
    const ir_graph *g = f->g;
    ir_value operand;
    if (!ir_sums_rows(g, root, &operand)) return false;
    if (!ir_type_same_shape(ir_type_of(g, operand), ir_type_of(g, f->groups[writer].main))) return false;
    if (f->memory[operand]) return f->group[operand] == writer;
    const fuse_leaves *l = fuse_leaves_of(f, operand);
    for (size_t i = 0; i < l->count; i++)
        if (f->group[l->leaf[i].base] == writer && (l->leaf[i].moved || l->leaf[i].value != l->leaf[i].base)) return false;
    return true;
}

/* The last contraction that all roots of group `own` sum the rows of, or -1. */
static int find_summed(fuse *f, int own)
{
    int best = -1;
    const fuse_group *k = &f->groups[own];
    const fuse_leaves *l = fuse_leaves_of(f, k->root[0]);
    for (size_t i = 0; i < l->count; i++) {
        const int group = f->group[l->leaf[i].base];
        if (group < 0 || f->groups[group].main == IR_NONE || !may_sum_rows(f->g, &f->g->node[f->groups[group].main])) continue;
        if (best >= 0 && f->groups[group].main <= f->groups[best].main) continue;
        bool all = sums_of(f, group) + (int)k->root_count <= SUMS_MOST;
        for (size_t r = 0; r < k->root_count && all; r++) all = sums_what_it_writes(f, k->root[r], group);
        if (all && fuse_can_merge(f, own, group)) best = group;
    }
    return best;
}

void fuse_join_sums(fuse *f)
{
    for (size_t i = 0; i < f->group_count; i++) {
        const fuse_group *k = &f->groups[i];
        ir_value operand;
        if (k->gone || k->root_count == 0 || !ir_sums_rows(f->g, k->root[0], &operand)) continue;
        if (k->kind != KERNEL_reduce && k->main != k->root[0]) continue;
        const int into = find_summed(f, (int)i);
        if (into >= 0) fuse_merge(f, into, (int)i);
    }
}
