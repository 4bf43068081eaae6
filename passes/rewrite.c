/* rewrite.c: the front-to-back rewriting that simplify, cse and split share. */
#include "passes/passes_private.h"

void rewrite_begin(rewrite *r, ir_graph *g, arena *scratch)
{
    r->from = g;
    r->to = ir_graph_new(g->arena, g->name, g->module);
    r->map = arena_array(scratch, ir_value, g->count + 1);
    for (size_t i = 0; i < g->count; i++) r->map[i] = IR_NONE;
}

ir_value rewrite_copy(rewrite *r, ir_value v)
{
    r->to->origin = r->from->node[v].origin;
    r->map[v] = ir_graph_copy_node(r->to, r->from, v, r->map);
    return r->map[v];
}

void rewrite_end(rewrite *r)
{
    ir_graph *g = r->from;
    const ir_graph *to = r->to;
    g->node = to->node;
    g->count = to->count;
    g->capacity = to->capacity;
    for (size_t i = 0; i < g->output_count; i++) g->output[i].value = r->map[g->output[i].value];
    for (size_t i = 0; i < g->update_count; i++) g->update[i].value = r->map[g->update[i].value];
    for (size_t i = 0; i < g->gradient_count; i++)
        if (g->gradient[i].value != IR_NONE) g->gradient[i].value = r->map[g->gradient[i].value];
    if (g->loss != IR_NONE) g->loss = r->map[g->loss];
    for (size_t i = 0; i < g->order_count; i++)
        g->order[i] = (ir_order){r->map[g->order[i].value], r->map[g->order[i].after]};
}

void rewrite_where(ir_graph *g, bool (*wants)(const ir_graph *g, const ir_node *n),
                   ir_value (*build)(rewrite *r, const ir_node *n, arena *scratch))
{
    arena scratch = {0};
    rewrite r;
    rewrite_begin(&r, g, &scratch);
    for (ir_value v = 0; v < (ir_value)g->count; v++) {
        const ir_node n = g->node[v];
        if (!wants(g, &n)) {
            rewrite_copy(&r, v);
            continue;
        }
        r.to->origin = n.origin;
        r.map[v] = build(&r, &n, &scratch);
    }
    rewrite_end(&r);
    arena_done(&scratch);
}

bool passes_is_splat(const ir_node *n)
{
    if (n->op != OP_constant) return false;
    const ir_attr *data = ir_attr_find(n, ATTR_data);
    return data && data->data.size == ir_dtype_size(n->type.dtype);
}

bool passes_is_view(const ir_node *n)
{
    return ir_op_class(n->op) == CLASS_VIEW || ir_op_class(n->op) == CLASS_TUPLE;
}

int64_t passes_elements(const ir_type *t, ir_unit *out_batch)
{
    ir_dim elements;
    *out_batch = UNIT_one;
    if (!ir_type_elements(t, &elements)) return INT64_MAX;
    *out_batch = (ir_unit)elements.batch;
    return elements.count;
}
