/* collapse_rewrite.c: gives the nodes of a body the dims that collapse.c decided on. */
#include "codegen/collapse.h"

#include <string.h>

static const ir_type *type_of(const collapse *k, ir_value v) { return &k->g->node[v].type; }
static bool is_kept(const collapse *k, ir_value v, int d) { return !k->drop[k->first[v] + d]; }
static ir_dim times(ir_dim a, ir_dim b) { return (ir_dim){a.count * b.count, a.batch | b.batch}; }

int collapse_group_of(collapse *k, ir_value v, int d)
{
    int group = -1;
    for (int i = 0; i <= d; i++) {
        if (is_kept(k, v, i) && (group < 0 || k->mark[collapse_find(k, k->first[v] + i)])) group++;
    }
    return group;
}

static ir_type merged_type(collapse *k, ir_value v)
{
    const ir_type *t = type_of(k, v);
    ir_type out = ir_type_make(t->dtype, 0, NULL);
    if (t->rank < 0) return *t;
    for (int d = 0; d < t->rank; d++) {
        int group = collapse_group_of(k, v, d);
        if (!is_kept(k, v, d)) continue;
        if (group == out.rank) out.dim[out.rank++] = ir_fixed(1);
        out.dim[group] = times(out.dim[group], t->dim[d]);
    }
    return out;
}

/* Lists of dims: of the operand (reduce), of operand and result (broadcast, transpose). */
static int rewrite_dims(collapse *k, ir_value v, const ir_node *n, const ir_attr *old, int64_t *out)
{
    int count = 0, last = -1;
    ir_value u = n->in[0];
    for (int i = 0; i < old->ints.count; i++) {
        int d = (int)old->ints.item[i];
        int of = n->op == OP_broadcast_in_dim ? i : d;                             /* dim of the operand */
        int at = n->op == OP_broadcast_in_dim ? d : n->op == OP_transpose ? i : d; /* what orders the list */
        bool moves = n->op == OP_transpose;
        if (!is_kept(k, u, of)) continue;
        int group = moves ? collapse_group_of(k, v, at) : collapse_group_of(k, u, of);
        if (group == last) continue;
        last = group;
        out[count++] = moves                          ? collapse_group_of(k, u, of)
                       : n->op == OP_broadcast_in_dim ? collapse_group_of(k, v, at)
                                                      : group;
    }
    return count;
}

/* One entry per dim (slice, pad): merged dims are untouched and get the neutral entry of their first dim. */
static int rewrite_per_dim(collapse *k, ir_value v, const ir_attr *old, int64_t *out)
{
    int count = 0;
    for (int d = 0; d < old->ints.count; d++) {
        if (is_kept(k, v, d) && collapse_group_of(k, v, d) == count) out[count++] = old->ints.item[d];
    }
    return count;
}

static ir_attr rewrite_attr(collapse *k, ir_value v, const ir_node *n, const ir_attr *old)
{
    ir_attr attr = *old;
    int64_t *out = arena_array(k->a, int64_t, IR_MAX_RANK);
    if (collapse_is_rigid(n)) return attr;
    if (old->name == ATTR_dimension && (n->op == OP_iota || n->op == OP_concatenate)) {
        attr.i = collapse_group_of(k, v, (int)old->i);
    } else if (old->name == ATTR_dimension && n->op == OP_arg_reduce) {
        attr.i = collapse_group_of(k, n->in[0], (int)old->i);
    } else if (old->name == ATTR_dimensions) {
        attr.ints.count = rewrite_dims(k, v, n, old, out);
        attr.ints.item = out;
    } else if (ir_attr_kind_of(old->name) == ATTR_INTS) {
        attr.ints.count = rewrite_per_dim(k, v, old, out);
        attr.ints.item = out;
    }
    return attr;
}

/* dynamic_slice and dynamic_update_slice have one start operand a dim; only the kept ones stay. */
static void rewrite_starts(collapse *k, ir_value v, ir_node *n)
{
    if (n->op != OP_dynamic_slice && n->op != OP_dynamic_update_slice) return;
    int starts = n->op == OP_dynamic_slice ? 1 : 2, count = 0;
    ir_value *in = arena_array(k->a, ir_value, (size_t)n->in_count);
    for (int i = 0; i < starts; i++) in[i] = n->in[i];
    for (int d = 0; d < n->type.rank; d++) {
        if (is_kept(k, v, d) && collapse_group_of(k, v, d) == count) in[starts + count++] = n->in[starts + d];
    }
    n->in = in;
    n->in_count = starts + count;
}

void collapse_rewrite(collapse *k)
{
    size_t count = k->g->count;
    ir_node *out = arena_array(k->a, ir_node, count);
    for (ir_value v = 0; v < (ir_value)count; v++) {
        const ir_node *n = &k->g->node[v];
        ir_attr *attr = arena_array(k->a, ir_attr, (size_t)n->attr_count);
        for (int i = 0; i < n->attr_count; i++) attr[i] = rewrite_attr(k, v, n, &n->attr[i]);
        out[v] = *n;
        out[v].attr = attr;
        rewrite_starts(k, v, &out[v]);
        out[v].type = merged_type(k, v);
    }
    memcpy(k->g->node, out, count * sizeof(*out));
}
