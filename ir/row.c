/* row.c: see ir_row_passes in ir.h. */
#include "ir/ir.h"

static int larger(int a, int b) { return a > b ? a : b; }

static ir_row_part part_of(const ir_graph *g, const ir_type *full, ir_value root)
{
    if (ir_op_class(g->node[root].op) == CLASS_REDUCE) return ROW_PART_fold;
    return ir_type_same_shape(&g->node[root].type, full) ? ROW_PART_full : ROW_PART_scalar;
}

static int find_root(int count, const ir_value *root, ir_value v)
{
    for (int r = 0; r < count; r++) {
        if (root[r] == v) return r;
    }
    return -1;
}

int ir_row_passes(const ir_graph *g, const ir_type *full, int count, const ir_value *root, const bool *outside,
                  arena *scratch, ir_row_part *out_part, int *out_pass)
{
    const ir_value end = root[count - 1] + 1;
    int *level = arena_array(scratch, int, (size_t)end); /* first pass that can read a value at its own index */
    int *moved = arena_array(scratch, int, (size_t)end); /* ... at another index of the row */
    int passes = 0;
    for (ir_value v = 0; v < end; v++) {
        const ir_node *n = &g->node[v];
        if (outside && outside[v]) continue;
        for (int i = 0; i < n->in_count; i++) {
            level[v] = larger(level[v], level[n->in[i]]);
            moved[v] = larger(moved[v], moved[n->in[i]]);
        }
        const ir_class class = ir_op_class(n->op);
        if (class == CLASS_MOVE || class == CLASS_VIEW) level[v] = moved[v];
        const int r = find_root(count, root, v);
        if (r < 0) continue;
        out_part[r] = part_of(g, full, v);
        out_pass[r] = level[v];
        if (out_part[r] != ROW_PART_scalar) passes = larger(passes, level[v] + 1);
        if (out_part[r] == ROW_PART_fold) level[v] = moved[v] = level[v] + 1;
        if (out_part[r] == ROW_PART_full) moved[v] = larger(moved[v], level[v] + 1);
    }
    return passes;
}
