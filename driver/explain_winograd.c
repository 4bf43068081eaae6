/* explain_winograd.c: `compile --explain winograd`: the convolutions of every graph, and how each is done. */
#include "explain.h"

#include <string.h>

static const char *name_layer(const ir_graph *g, const ir_node *n)
{
    const ir_module *m = g->module;
    return n->origin > 0 && (size_t)n->origin < m->origin_count ? m->origin[n->origin].layer : "the model";
}

/* What a convolution of these layouts is (passes/gradient_contract.c). */
static const char *name_kind(const ir_node *n)
{
    if (strcmp(ir_attr_text(n, ATTR_out_layout), ir_attr_text(n, ATTR_lhs_layout)) != 0) return "gradient of the kernel";
    return ir_attr_int(n, ATTR_window_reversal, 0) ? "gradient of the image" : "result";
}

void explain_winograd(FILE *to, const ir_module *m)
{
    for (size_t i = 0; i < m->graph_count; i++) {
        const ir_graph *g = m->graph[i];
        for (size_t v = 0; v < g->count; v++) {
            const ir_node *n = &g->node[v];
            if (n->op != OP_convolution) continue;
            const int step = (int)ir_attr_int(n, ATTR_winograd, 0);
            fprintf(to, "%s: %s: %s: ", g->name, name_layer(g, n), name_kind(n));
            if (step)
                fprintf(to, "Winograd F(%dx%d, 3x3)\n", step, step);
            else
                fprintf(to, "direct\n");
        }
    }
}
