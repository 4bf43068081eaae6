/* softmax.c: finds softmax where it is written in its parts. */
#include "passes/passes_private.h"

#include <string.h>

/* v repeats what the reduction `kind` makes of x over some dims: these as a bit set, or 0. */
static unsigned spread_dims(const ir_graph *g, ir_value v, const char *kind, ir_value x)
{
    const ir_node *spread = &g->node[v];
    int count, reduced;
    if (spread->op != OP_broadcast_in_dim) return 0;
    const int64_t *to = ir_attr_ints(spread, ATTR_dimensions, &count);
    const ir_node *n = &g->node[spread->in[0]];
    const bool whole = count == spread->type.rank;
    while (n->op == OP_stop_gradient || (whole && n->op == OP_reshape)) n = &g->node[n->in[0]];
    if (n->op != OP_reduce || n->in[0] != x || strcmp(ir_attr_text(n, ATTR_kind), kind) != 0) return 0;
    unsigned dims = 0;
    const int64_t *dim = ir_attr_ints(n, ATTR_dimensions, &reduced);
    for (int i = 0; i < reduced; i++) dims |= 1u << dim[i];
    if (!whole && count + reduced != spread->type.rank) return 0;
    for (int i = 0, d = 0; i < count; i++, d++) {
        while (!whole && dims >> d & 1) d++;
        if (to[i] != d) return 0;
        const bool one = ir_dim_equal(ir_type_of(g, spread->in[0])->dim[i], ir_fixed(1));
        if (whole && (dims >> d & 1) && !one) return 0;
    }
    return dims;
}

ir_value passes_softmax_of(const ir_graph *g, ir_value v, unsigned *out_dims)
{
    const ir_node *n = &g->node[v];
    if (n->op != OP_divide) return IR_NONE;
    const ir_node *e = &g->node[n->in[0]];
    const unsigned dims = spread_dims(g, n->in[1], "add", n->in[0]);
    if (e->op != OP_exponential || dims == 0) return IR_NONE;
    const ir_node *shifted = &g->node[e->in[0]];
    if (shifted->op != OP_subtract || spread_dims(g, shifted->in[1], "maximum", shifted->in[0]) != dims) return IR_NONE;
    *out_dims = dims;
    return shifted->in[0];
}
