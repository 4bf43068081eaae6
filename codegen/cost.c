/* cost.c: estimates of a kernel's operations and memory traffic, for profiles only. */
#include "codegen/plan.h"

static void add(ir_dim d, int64_t each, int64_t *fixed, int64_t *batch)
{
    *(d.batch ? batch : fixed) += d.count * each;
}

static ir_dim elements_of(const ir_type *t)
{
    ir_dim all = ir_fixed(0);
    if (t->rank < 0 || !ir_type_elements(t, &all)) return ir_fixed(0);
    return all;
}

ir_dim codegen_products(const ir_graph *g, const ir_node *n)
{
    ir_dim all = ir_fixed(1);
    if (n->op == OP_dot_general) {
        int count;
        const int64_t *dims = ir_attr_ints(n, ATTR_lhs_contracting, &count);
        for (int i = 0; i < count; i++) {
            ir_dim d = g->node[n->in[0]].type.dim[dims[i]];
            all = (ir_dim){all.count * d.count, all.batch | d.batch};
        }
        return all;
    }
    const ir_type *kernel = &g->node[n->in[1]].type;
    const char *layout = ir_attr_text(n, ATTR_rhs_layout);
    for (int d = 0; d < kernel->rank && layout[d]; d++) {
        if (layout[d] == 'o') continue;
        all = (ir_dim){all.count * kernel->dim[d].count, all.batch | kernel->dim[d].batch};
    }
    return all;
}

/* Products of attention for every pair of row and key; a causal mask hides about half of them. */
static void add_attention(const ir_graph *g, const ir_node *n, cg_run *run)
{
    const ir_attention a = ir_attention_of(g, n);
    const int64_t width = a.query.dim[a.query.rank - 1].count, values = a.value.dim[a.value.rank - 1].count;
    const int64_t each = n->op == OP_attention ? width + values : 3 * width + 2 * values;
    add(elements_of(&g->node[n->in[ATTENTION_BIAS]].type), a.causal ? each : 2 * each, &run->flops, &run->batch_flops);
}

void cg_run_estimate(const cg_body *b, cg_run *run)
{
    const ir_graph *g = b->graph;
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *n = &g->node[v];
        ir_dim all = elements_of(&n->type);
        switch (ir_op_class(n->op)) {
        case CLASS_MAP:
            add(all, 1, &run->flops, &run->batch_flops);
            break;
        case CLASS_REDUCE:
            add(elements_of(&g->node[n->in[0]].type), 1, &run->flops, &run->batch_flops);
            break;
        case CLASS_CONTRACT: {
            ir_dim k = codegen_products(g, n);
            int64_t parts = ir_attr_int(n, ATTR_splits, 1); /* each adds its share of the products */
            add((ir_dim){all.count / parts, all.batch | k.batch}, 2 * k.count, &run->flops, &run->batch_flops);
            break;
        }
        case CLASS_SOURCE:
            if (n->op == OP_parameter) {
                add(all, (int64_t)ir_dtype_size(n->type.dtype), &run->bytes, &run->batch_bytes);
            }
            break;
        case CLASS_NEST:
            if (n->op == OP_attention || n->op == OP_attention_back) add_attention(g, n, run);
            break;
        case CLASS_MOVE:
        case CLASS_VIEW:
        case CLASS_TUPLE:
            break;
        }
    }
    for (int r = 0; r < b->root_count; r++) {
        const ir_type *t = &g->node[b->root[r]].type;
        add(elements_of(t), (int64_t)ir_dtype_size(t->dtype), &run->bytes, &run->batch_bytes);
    }
}
