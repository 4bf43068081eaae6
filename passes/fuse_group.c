/* fuse_group.c: groups, the leaves of their chains, and dependence between them. Every value in memory that
 * is computed starts as a group of its own; merging keeps the graph of groups free of cycles. */
#include "passes/fuse.h"

#include <stdlib.h>

int fuse_add_group(fuse *f, ir_kernel_kind kind, ir_value main, ir_value root)
{
    fuse_group k = {.kind = kind, .main = main};
    arena_push(f->scratch, k.root, k.root_count, k.root_capacity, root);
    arena_push(f->scratch, f->groups, f->group_count, f->group_capacity, k);
    f->group[root] = (int)f->group_count - 1;
    return f->group[root];
}

static ir_kernel_kind kind_of_root(const ir_node *n)
{
    switch (ir_op_class(n->op)) {
    case CLASS_REDUCE:
        return KERNEL_reduce;
    case CLASS_CONTRACT:
        return n->op == OP_convolution ? KERNEL_convolution : KERNEL_dot;
    case CLASS_NEST:
        return KERNEL_nest;
    default:
        return KERNEL_loop;
    }
}

void fuse_form_groups(fuse *f)
{
    const ir_graph *g = f->g;
    for (ir_value v = 0; v < (ir_value)g->count; v++) {
        const ir_node *n = &g->node[v];
        if (!f->live[v] || !f->memory[v] || fuse_is_source_memory(n)) continue;
        if (passes_is_view(n) && f->memory[n->in[0]]) continue;
        const ir_kernel_kind kind = kind_of_root(n);
        const bool has_main = kind != KERNEL_loop && kind != KERNEL_reduce;
        fuse_add_group(f, kind, has_main ? v : IR_NONE, v);
    }
}

ir_value fuse_group_item(const fuse_group *k, size_t index)
{
    if (index < k->root_count) return k->root[index];
    if (index > k->root_count || k->main == IR_NONE) return IR_NONE;
    for (size_t i = 0; i < k->root_count; i++)
        if (k->root[i] == k->main) return IR_NONE;
    return k->main;
}

static int compare_values(const void *a, const void *b)
{
    const ir_value x = *(const ir_value *)a, y = *(const ir_value *)b;
    return (x > y) - (x < y);
}

void fuse_sort_values(ir_value *value, size_t count)
{
    if (count > 0) qsort(value, count, sizeof *value, compare_values);
}

/* ---- leaves --------------------------------------------------------------------------------------- */

static void push_value(fuse *f, ir_value v, bool aligned)
{
    if (f->stamp[aligned][v] == f->walk) return;
    f->stamp[aligned][v] = f->walk;
    arena_push(f->scratch, f->stack, f->stack_count, f->stack_capacity, v * 2 + aligned);
}

static void push_operands(fuse *f, const ir_node *n, bool aligned)
{
    if (n->op == OP_dimension_size) return;
    for (int i = 0; i < n->in_count; i++) push_value(f, n->in[i], aligned && ir_op_class(n->op) == CLASS_MAP);
}

/* A concatenation in parts is stored as its operands are computed. */
static void push_root_operands(fuse *f, const ir_node *n)
{
    if (!ir_concatenate_part(f->g, n)) {
        push_operands(f, n, true);
        return;
    }
    for (int i = 0; i < n->in_count; i++) push_value(f, n->in[i], true);
}

static void add_leaf(fuse *f, fuse_leaves *to, ir_value v, bool aligned)
{
    for (size_t i = 0; i < to->count; i++) {
        if (to->leaf[i].value != v) continue;
        to->leaf[i].aligned = to->leaf[i].aligned || aligned;
        to->leaf[i].moved = to->leaf[i].moved || !aligned;
        return;
    }
    const fuse_leaf leaf = {v, fuse_base(f->g, v), aligned, !aligned};
    arena_push(f->scratch, to->leaf, to->count, to->capacity, leaf);
}

const fuse_leaves *fuse_leaves_of(fuse *f, ir_value root)
{
    fuse_leaves *to = &f->leaves[root];
    if (to->known) return to;
    to->known = true;
    to->count = 0;
    f->walk++;
    f->stack_count = 0;
    push_root_operands(f, &f->g->node[root]);
    while (f->stack_count > 0) {
        const ir_value item = f->stack[--f->stack_count], v = item / 2;
        const bool aligned = item % 2;
        if (f->memory[v])
            add_leaf(f, to, v, aligned);
        else
            push_operands(f, &f->g->node[v], aligned);
    }
    return to;
}

bool fuse_reads_aligned(fuse *f, int reader, int writer)
{
    const fuse_group *k = &f->groups[reader];
    ir_value item;
    for (size_t i = 0; (item = fuse_group_item(k, i)) != IR_NONE; i++) {
        const fuse_leaves *l = fuse_leaves_of(f, item);
        for (size_t j = 0; j < l->count; j++)
            if (f->group[l->leaf[j].base] == writer &&
                (l->leaf[j].moved || l->leaf[j].value != l->leaf[j].base))
                return false;
    }
    return true;
}

int fuse_awaited_group(const fuse *f, ir_value item)
{
    const ir_value after = f->waits_for[item];
    return after == IR_NONE ? -1 : f->group[fuse_base(f->g, after)];
}

/* ---- dependence ------------------------------------------------------------------------------------ */

static void push_group(fuse *f, int group, int from)
{
    if (group < 0 || group == from || f->group_stamp[group] == f->search) return;
    f->group_stamp[group] = f->search;
    arena_push(f->scratch, f->pending, f->pending_count, f->pending_capacity, group);
}

static void push_needs(fuse *f, int group, int except)
{
    const fuse_group *k = &f->groups[group];
    ir_value item;
    for (size_t i = 0; (item = fuse_group_item(k, i)) != IR_NONE; i++) {
        const fuse_leaves *l = fuse_leaves_of(f, item);
        for (size_t j = 0; j < l->count; j++)
            if (f->group[l->leaf[j].base] != except) push_group(f, f->group[l->leaf[j].base], group);
        const int awaited = fuse_awaited_group(f, item);
        if (awaited != except) push_group(f, awaited, group);
    }
    for (size_t i = 0; i < k->after_count; i++)
        if (k->after[i] != except) push_group(f, k->after[i], group);
}

bool fuse_depends(fuse *f, int from, int to, bool through)
{
    if (f->group_stamp_count < f->group_count) {
        f->group_stamp_count = f->group_count;
        f->group_stamp = arena_array(f->scratch, int, f->group_count);
        f->search = 0;
    }
    f->search++;
    f->pending_count = 0;
    push_needs(f, from, through ? to : -1);
    while (f->pending_count > 0) {
        const int group = f->pending[--f->pending_count];
        if (group == to) return true;
        push_needs(f, group, -1);
    }
    return false;
}

/* What counts an open number is a kernel of its own where there are several such numbers. */
static bool counts_alone(const fuse *f, const fuse_group *k)
{
    return k->root_count > 0 && fuse_is_foreign_size(f, &f->g->node[k->root[0]]);
}

bool fuse_can_merge(fuse *f, int a, int b)
{
    if (counts_alone(f, &f->groups[a]) || counts_alone(f, &f->groups[b])) return false;
    return !fuse_depends(f, a, b, true) && !fuse_depends(f, b, a, true);
}

void fuse_merge(fuse *f, int into, int gone)
{
    fuse_group *to = &f->groups[into], *from = &f->groups[gone];
    for (size_t i = 0; i < from->root_count; i++) {
        arena_push(f->scratch, to->root, to->root_count, to->root_capacity, from->root[i]);
        f->group[from->root[i]] = into;
    }
    from->gone = true;
    from->root_count = 0;
}
