/* fuse_merge.c: groups that gain by being one kernel: a contraction and the maps of its result, reduces of
 * the same elements, loops of which one feeds the other. */
#include "passes/fuse.h"

#include <string.h>

enum {
    MERGE_ROOTS = 16,    /* roots of one loop: more would spill */
    MERGE_LOOK_BACK = 16 /* how many earlier groups are tried as partners without a data edge */
};

/* ---- epilogues -------------------------------------------------------------------------------------- */

/* A contraction may store partial sums where its result goes, so its epilogue must not also read what it
 * overwrites: an update that reads its own variable stays a loop. */
static bool updates_what_it_reads(fuse *f, ir_value root)
{
    const ir_graph *g = f->g;
    const fuse_leaves *l = fuse_leaves_of(f, root);
    for (size_t i = 0; i < g->update_count; i++) {
        if (fuse_base(g, g->update[i].value) != root) continue;
        for (size_t j = 0; j < l->count; j++) {
            const ir_node *n = &g->node[l->leaf[j].base];
            if (n->op == OP_variable && ir_attr_int(n, ATTR_index, -1) == g->update[i].variable) return true;
        }
    }
    return false;
}

static bool can_take_epilogue(const fuse *f, int group, ir_value root)
{
    if (group < 0) return false;
    const fuse_group *k = &f->groups[group];
    return k->main != IR_NONE && ir_takes_epilogue(f->g, &f->g->node[k->main]) &&
           ir_type_same_shape(ir_type_of(f->g, k->main), ir_type_of(f->g, root));
}

/* Of the contractions and windows that root is a map of, the last one: the others are then in memory before it. */
static int find_main(fuse *f, int own, ir_value root)
{
    const fuse_leaves *l = fuse_leaves_of(f, root);
    int best = -1;
    for (size_t i = 0; i < l->count; i++) {
        const int group = f->group[l->leaf[i].base];
        if (!l->leaf[i].aligned || !can_take_epilogue(f, group, root)) continue;
        if (best >= 0 && f->groups[group].main <= f->groups[best].main) continue;
        if (fuse_reads_aligned(f, own, group) && fuse_can_merge(f, own, group)) best = group;
    }
    return best;
}

void fuse_join_epilogues(fuse *f)
{
    for (size_t i = 0; i < f->group_count; i++) {
        const fuse_group *k = &f->groups[i];
        if (k->gone || k->kind != KERNEL_loop || k->root_count != 1) continue;
        const ir_value root = k->root[0];
        if (ir_op_class(f->g->node[root].op) != CLASS_MAP || updates_what_it_reads(f, root)) continue;
        const int into = find_main(f, (int)i, root);
        if (into >= 0) fuse_merge(f, into, (int)i);
    }
}

/* ---- reduces ------------------------------------------------------------------------------------------ */

static bool share_a_leaf(fuse *f, ir_value a, ir_value b)
{
    const fuse_leaves *x = fuse_leaves_of(f, a), *y = fuse_leaves_of(f, b);
    for (size_t i = 0; i < x->count; i++)
        for (size_t j = 0; j < y->count; j++)
            if (x->leaf[i].base == y->leaf[j].base) return true;
    return false;
}

static bool reduce_alike(fuse *f, ir_value a, ir_value b)
{
    const ir_node *x = &f->g->node[a], *y = &f->g->node[b];
    int count, other;
    if (x->op != OP_reduce || y->op != OP_reduce) return false;
    const int64_t *p = ir_attr_ints(x, ATTR_dimensions, &count),
                  *q = ir_attr_ints(y, ATTR_dimensions, &other);
    return count == other && memcmp(p, q, (size_t)count * sizeof *p) == 0 &&
           ir_attr_int(x, ATTR_splits, 0) == ir_attr_int(y, ATTR_splits, 0) &&
           ir_type_same_shape(ir_type_of(f->g, x->in[0]), ir_type_of(f->g, y->in[0])) &&
           share_a_leaf(f, a, b);
}

static bool are_independent(fuse *f, int a, int b)
{
    return !fuse_depends(f, a, b, false) && !fuse_depends(f, b, a, false);
}

void fuse_merge_reduces(fuse *f)
{
    int recent[MERGE_LOOK_BACK];
    size_t count = 0;
    for (int i = 0; i < (int)f->group_count; i++) {
        if (f->groups[i].gone || f->groups[i].kind != KERNEL_reduce) continue;
        bool merged = false;
        for (size_t j = 0; j < count && j < MERGE_LOOK_BACK && !merged; j++) {
            const int other = recent[j];
            if (f->groups[other].root_count < MERGE_ROOTS &&
                reduce_alike(f, f->groups[other].root[0], f->groups[i].root[0]) &&
                are_independent(f, other, i)) {
                fuse_merge(f, other, i);
                merged = true;
            }
        }
        if (!merged) recent[count++ % MERGE_LOOK_BACK] = i;
    }
}

/* ---- loops ----------------------------------------------------------------------------------------------
 */

/* Per value: the roots whose chains read it, in any group. */
typedef struct reader_list {
    ir_value *item;
    size_t count, capacity;
} reader_list;

static reader_list *list_readers(fuse *f)
{
    reader_list *lists = arena_array(f->scratch, reader_list, f->capacity);
    for (size_t i = 0; i < f->group_count; i++) {
        ir_value item;
        if (f->groups[i].gone) continue;
        for (size_t j = 0; (item = fuse_group_item(&f->groups[i], j)) != IR_NONE; j++) {
            const fuse_leaves *l = fuse_leaves_of(f, item);
            for (size_t p = 0; p < l->count; p++) {
                reader_list *list = &lists[l->leaf[p].base];
                arena_push(f->scratch, list->item, list->count, list->capacity, item);
            }
        }
    }
    return lists;
}

/* What a group writes that is read by a third one besides `a` and `b`. */
static bool feeds_others(const fuse *f, const reader_list *readers, int from, int a, int b)
{
    const fuse_group *k = &f->groups[from];
    for (size_t i = 0; i < k->root_count; i++) {
        const reader_list *list = &readers[k->root[i]];
        for (size_t j = 0; j < list->count; j++)
            if (f->group[list->item[j]] != a && f->group[list->item[j]] != b) return true;
    }
    return false;
}

static bool has_update(const fuse *f, int group)
{
    const ir_graph *g = f->g;
    for (size_t i = 0; i < g->update_count; i++)
        if (f->group[fuse_base(g, g->update[i].value)] == group) return true;
    return false;
}

/* An update in place must run after all that read the variable. Something that others wait for must not be in
 * its kernel: those others may be readers of the variable. */
static bool delays_update(const fuse *f, const reader_list *readers, int a, int b)
{
    return (has_update(f, a) && feeds_others(f, readers, b, a, b)) ||
           (has_update(f, b) && feeds_others(f, readers, a, a, b));
}

/* The shape that a loop with this root goes over. */
static const ir_type *loop_shape(const fuse *f, ir_value root)
{
    const ir_type *part = ir_concatenate_part(f->g, &f->g->node[root]);
    return part ? part : ir_type_of(f->g, root);
}

static bool can_join_loops(fuse *f, int a, int b)
{
    const fuse_group *x = &f->groups[a], *y = &f->groups[b];
    if (a == b || x->gone || y->gone || x->kind != KERNEL_loop || y->kind != KERNEL_loop) return false;
    if (x->root_count + y->root_count > MERGE_ROOTS) return false;
    return ir_type_same_shape(loop_shape(f, x->root[0]), loop_shape(f, y->root[0])) &&
           fuse_reads_aligned(f, a, b) && fuse_reads_aligned(f, b, a) && fuse_can_merge(f, a, b);
}

/* The loop that feeds group `to` and can join it, or -1. */
static int find_feeder(fuse *f, const reader_list *readers, int to)
{
    for (size_t i = 0; i < f->groups[to].root_count; i++) {
        const fuse_leaves *l = fuse_leaves_of(f, f->groups[to].root[i]);
        for (size_t j = 0; j < l->count; j++) {
            const int from = f->group[l->leaf[j].base];
            if (from >= 0 && can_join_loops(f, from, to) && !delays_update(f, readers, from, to)) return from;
        }
    }
    return -1;
}

/* A kernel for each scalar would cost a launch each, so scalars join whether they feed each other or not. */
static void merge_scalars(fuse *f)
{
    int recent[MERGE_LOOK_BACK];
    size_t count = 0;
    for (int i = 0; i < (int)f->group_count; i++) {
        const fuse_group *k = &f->groups[i];
        if (k->gone || k->kind != KERNEL_loop || ir_type_of(f->g, k->root[0])->rank != 0) continue;
        bool merged = false;
        for (size_t j = 0; j < count && j < MERGE_LOOK_BACK && !merged; j++) {
            merged = can_join_loops(f, recent[j], i);
            if (merged) fuse_merge(f, recent[j], i);
        }
        if (!merged) recent[count++ % MERGE_LOOK_BACK] = i;
    }
}

/* In the body of a scan: a state that group `a` computes is read by a group that needs what group `b` computes. As one
 * kernel they would have to write the state elsewhere first. */
static bool delays_state(fuse *f, const reader_list *readers, int a, int b)
{
    const ir_graph *g = f->g;
    for (ir_value v = 0; v < (ir_value)g->count; v++) {
        const int64_t state = g->node[v].op == OP_parameter ? ir_attr_int(&g->node[v], ATTR_index, 0) : f->carried;
        if (state >= f->carried || f->group[fuse_base(g, g->output[state].value)] != a) continue;
        for (size_t i = 0; i < readers[v].count; i++) {
            const int reader = f->group[readers[v].item[i]];
            if (reader >= 0 && reader != a && reader != b && fuse_depends(f, reader, b, false)) return true;
        }
    }
    return false;
}

/* The body of a scan runs many times over little: loops over one shape join, whatever they read. */
static void merge_in_step(fuse *f, const reader_list *readers)
{
    for (int i = 0; i < (int)f->group_count; i++) {
        for (int j = i + 1; j < (int)f->group_count; j++) {
            if (can_join_loops(f, i, j) && !delays_state(f, readers, i, j) && !delays_state(f, readers, j, i))
                fuse_merge(f, i, j);
        }
    }
}

void fuse_merge_loops(fuse *f)
{
    const reader_list *readers = list_readers(f);
    for (int i = 0; i < (int)f->group_count; i++) {
        int from;
        if (f->groups[i].gone || f->groups[i].kind != KERNEL_loop) continue;
        while ((from = find_feeder(f, readers, i)) >= 0) fuse_merge(f, i, from);
    }
    merge_scalars(f);
    if (f->is_body) merge_in_step(f, readers);
}

/* ---- roots that need no memory ----------------------------------------------------------------------------
 */

enum { READ_INSIDE = 1, READ_ELSEWHERE = 2 };

static void note_readers(fuse *f, int *readers)
{
    for (size_t i = 0; i < f->group_count; i++) {
        ir_value item;
        if (f->groups[i].gone) continue;
        for (size_t j = 0; (item = fuse_group_item(&f->groups[i], j)) != IR_NONE; j++) {
            const fuse_leaves *l = fuse_leaves_of(f, item);
            for (size_t p = 0; p < l->count; p++) {
                const fuse_leaf *leaf = &l->leaf[p];
                const bool aligned = !leaf->moved || f->groups[i].kind == KERNEL_row;
                const bool inside = f->group[leaf->base] == (int)i && aligned && leaf->value == leaf->base;
                readers[leaf->base] |= inside ? READ_INSIDE : READ_ELSEWHERE;
            }
        }
    }
}

/* In a row kernel, elements that cost little are computed again in each pass: their way to memory and back costs more. */
static bool can_drop(fuse *f, const fuse_group *k, ir_value root)
{
    enum { COST_AGAIN = 16 };
    if (k->kind != KERNEL_row) return k->kind == KERNEL_loop || k->main != IR_NONE;
    if (ir_op_class(f->g->node[root].op) != CLASS_MAP || fuse_chain_cost(f, root) > COST_AGAIN) return false;
    f->cost[root] = fuse_chain_cost(f, root);
    return true;
}

static void drop_roots(fuse *f, fuse_group *k, const int *readers)
{
    size_t kept = 0;
    fuse_sort_values(k->root, k->root_count);
    for (size_t i = 0; i < k->root_count; i++) {
        const ir_value root = k->root[i];
        if (!f->required[root] && readers[root] == READ_INSIDE && can_drop(f, k, root)) {
            f->memory[root] = false;
            f->group[root] = -1;
        } else {
            k->root[kept++] = root;
        }
    }
    k->root_count = kept;
    ir_value item;
    for (size_t i = 0; (item = fuse_group_item(k, i)) != IR_NONE; i++) f->leaves[item].known = false;
}

void fuse_drop_inner_roots(fuse *f)
{
    int *readers = arena_array(f->scratch, int, f->g->count);
    note_readers(f, readers);
    for (size_t i = 0; i < f->group_count; i++) {
        fuse_group *k = &f->groups[i];
        if (!k->gone) drop_roots(f, k, readers);
    }
}
