/* fuse_scatter.c: a scatter of rows onto one number (the gradient of a table) that only one loop reads, element by element,
 * becomes one kernel with it: the rows are summed up block by block, and the whole array is never in memory. */
#include "passes/fuse.h"

bool fuse_is_loop(const fuse *f, const fuse_group *k)
{
    return k->kind == KERNEL_loop || (k->main != IR_NONE && ir_scatters_rows(f->g, &f->g->node[k->main]));
}

static bool reads(fuse *f, const fuse_group *k, ir_value base)
{
    ir_value item;
    for (size_t i = 0; (item = fuse_group_item(k, i)) != IR_NONE; i++) {
        const fuse_leaves *l = fuse_leaves_of(f, item);
        for (size_t j = 0; j < l->count; j++)
            if (l->leaf[j].base == base) return true;
    }
    return false;
}

/* The one group that reads v; -1: none, or several. */
static int find_reader(fuse *f, ir_value v)
{
    int found = -1;
    for (int i = 0; i < (int)f->group_count; i++) {
        if (f->groups[i].gone || i == f->group[v] || !reads(f, &f->groups[i], v)) continue;
        if (found >= 0) return -1;
        found = i;
    }
    return found;
}

static bool can_join(fuse *f, int loop, int scatter)
{
    const fuse_group *k = &f->groups[loop];
    const ir_value main = f->groups[scatter].main;
    if (k->kind != KERNEL_loop || !fuse_reads_aligned(f, loop, scatter) || !fuse_can_merge(f, loop, scatter)) return false;
    for (size_t i = 0; i < k->root_count; i++)
        if (!ir_type_same_shape(ir_type_of(f->g, k->root[i]), ir_type_of(f->g, main))) return false;
    return true;
}

void fuse_join_scatters(fuse *f)
{
    for (int i = 0; i < (int)f->group_count; i++) {
        const fuse_group *k = &f->groups[i];
        if (k->gone || k->kind != KERNEL_nest || f->required[k->main] || !ir_scatters_rows(f->g, &f->g->node[k->main])) continue;
        const int loop = find_reader(f, k->main);
        if (loop >= 0 && can_join(f, loop, i)) fuse_merge(f, i, loop);
    }
}
