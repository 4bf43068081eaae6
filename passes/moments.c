/* moments.c: the sum of long columns and the sum of squares of what is left when something is subtracted from them, as
 * normalizations over batches compute mean and variance, from one pass over memory instead of two. For parts p of the
 * rows, with n(p) rows, mean(p) and squares S(p) around it, and for any m,
 *     sum((x - m)^2) = sum over p of S(p) + n(p) (mean(p) - m)^2
 * so it does not matter what m is; near the mean, as accurate as the sum itself. The criterion looks at shapes only. */
#include "passes/passes_private.h"

#include <string.h>

enum {
    MOMENTS_SPLITS = 16,
    MOMENTS_BATCH = 64,        /* rows that N is taken for */
    MOMENTS_LENGTH = 4096,     /* rows, at least */
    MOMENTS_WORK = 1 << 18,    /* elements, at least */
    MOMENTS_MOST_COLUMNS = 4096
};

static bool sums_columns(const ir_graph *g, ir_value v)
{
    const ir_node *n = &g->node[v];
    int count;
    if (n->op != OP_reduce || n->type.dtype != DTYPE_f32 || n->type.rank != 1 || n->type.dim[0].batch) return false;
    if (strcmp(ir_attr_text(n, ATTR_kind), "add") != 0 || ir_attr_find(n, ATTR_splits)) return false;
    const int64_t *dims = ir_attr_ints(n, ATTR_dimensions, &count);
    for (int i = 0; i < count; i++)
        if (dims[i] != i) return false;
    const int64_t all = ir_type_elements_at(ir_type_of(g, n->in[0]), MOMENTS_BATCH), columns = n->type.dim[0].count;
    return columns > 0 && columns <= MOMENTS_MOST_COLUMNS && all >= MOMENTS_WORK && all / columns >= MOMENTS_LENGTH;
}

/* What is subtracted from x in v = (x - m) * (x - m), one number a column; or IR_NONE. */
static ir_value find_center(const ir_graph *g, ir_value v, ir_value *out_x)
{
    const ir_node *n = &g->node[v];
    if (n->op != OP_multiply || n->in[0] != n->in[1]) return IR_NONE;
    n = &g->node[n->in[0]];
    if (n->op != OP_subtract) return IR_NONE;
    *out_x = n->in[0];
    const ir_node *spread = &g->node[n->in[1]];
    int count;
    if (spread->op != OP_broadcast_in_dim) return IR_NONE;
    const int64_t *to = ir_attr_ints(spread, ATTR_dimensions, &count);
    if (count < 1 || to[count - 1] != spread->type.rank - 1) return IR_NONE;
    const ir_type *from = ir_type_of(g, spread->in[0]);
    const int64_t columns = spread->type.dim[spread->type.rank - 1].count;
    if (ir_type_elements_at(from, MOMENTS_BATCH) != columns || from->dim[count - 1].count != columns) return IR_NONE;
    return spread->in[0];
}

/* first, per value: 1 + the reduce whose pass over x gives both sums; 0: none. */
static void find_pairs(const ir_graph *g, ir_value *first)
{
    for (ir_value v = 0; v < (ir_value)g->count; v++) {
        ir_value x;
        if (!sums_columns(g, v) || find_center(g, g->node[v].in[0], &x) == IR_NONE) continue;
        for (ir_value s = x + 1; s < v; s++) {
            if (g->node[s].op != OP_reduce || g->node[s].in[0] != x || !sums_columns(g, s)) continue;
            first[v] = first[s] = s + 1;
            break;
        }
    }
}

static ir_value build_moments(rewrite *r, ir_value x)
{
    const ir_node *n = &r->from->node[x];
    const bool narrow = n->op == OP_convert && ir_dtype_is_float(ir_type_of(r->from, n->in[0])->dtype) &&
                        ir_dtype_size(ir_type_of(r->from, n->in[0])->dtype) < 4;
    ir_dim rows = ir_fixed(1);
    for (int d = 0; d < n->type.rank - 1; d++) {
        rows.count *= n->type.dim[d].count;
        rows.batch |= n->type.dim[d].batch;
    }
    const ir_dim shape[] = {rows, n->type.dim[n->type.rank - 1]};
    return ir_build_moments(r->to, ir_build_reshape(r->to, r->map[narrow ? n->in[0] : x], 2, shape), MOMENTS_SPLITS);
}

static ir_value part_of(ir_graph *g, ir_value parts, int what) { return ir_build_slice_dim(g, parts, 1, what, what + 1); }

static ir_value add_parts(ir_graph *g, ir_value v)
{
    return ir_build_reduce(g, "add", v, 2, (const int64_t[]){0, 1}, false);
}

/* The squares around m, from those around the means of the parts. */
static ir_value shift_squares(ir_graph *g, ir_value parts, ir_value m)
{
    const ir_value rows = part_of(g, parts, MOMENTS_ROWS), squares = part_of(g, parts, MOMENTS_SQUARES);
    const ir_value some = ir_build_binary_scalar(g, OP_maximum, rows, 1);
    const ir_value mean = ir_build_binary(g, OP_divide, part_of(g, parts, MOMENTS_SUM), some);
    const ir_type type = *ir_type_of(g, mean);
    const int64_t last = 2;
    const ir_value column = ir_build_reshape(g, m, 1, &type.dim[last]);
    const ir_value apart = ir_build_binary(g, OP_subtract, mean, ir_build_broadcast_in_dim(g, column, &type, &last));
    const ir_value between = ir_build_binary(g, OP_multiply, rows, ir_build_binary(g, OP_multiply, apart, apart));
    return add_parts(g, ir_build_binary(g, OP_add, squares, between));
}

bool pass_moments(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)m, (void)o, (void)d;
    arena scratch = {0};
    ir_value *first = arena_array(&scratch, ir_value, g->count + 1), *parts = arena_array(&scratch, ir_value, g->count + 1);
    find_pairs(g, first);
    rewrite r;
    rewrite_begin(&r, g, &scratch);
    for (ir_value v = 0; v < (ir_value)g->count; v++) {
        const ir_node n = g->node[v];
        if (!first[v]) {
            rewrite_copy(&r, v);
            continue;
        }
        r.to->origin = n.origin;
        if (first[v] == v + 1) {
            parts[v] = build_moments(&r, n.in[0]);
            r.map[v] = add_parts(r.to, part_of(r.to, parts[v], MOMENTS_SUM));
        } else {
            ir_value x;
            const ir_value center = find_center(g, n.in[0], &x);
            r.map[v] = shift_squares(r.to, parts[first[v] - 1], r.map[center]);
        }
    }
    rewrite_end(&r);
    arena_done(&scratch);
    return true;
}
