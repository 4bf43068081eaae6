/* explain_layout.c: `compile --explain layout`: which sparse matrices are read as they are, which had to be made dense and for
 * whom, what ragged rows stay ragged for, and which tables are updated by rows. */
#include "explain.h"

#include <string.h>

static const char *name_layer(const ir_graph *g, ir_value v)
{
    const ir_module *m = g->module;
    const ir_origin_id origin = g->node[v].origin;
    return origin > 0 && (size_t)origin < m->origin_count ? m->origin[origin].layer : "the model";
}

/* `graph: "port": `, or the layer that made the rows. */
static void print_rows(FILE *to, const ir_graph *g, ir_value rows)
{
    const ir_node *n = ir_node_of(g, rows);
    if (n->op == OP_parameter)
        fprintf(to, "%s: \"%s\": ", g->name, g->module->port[ir_attr_int(n, ATTR_index, 0)].name);
    else
        fprintf(to, "%s: %s: ", g->name, name_layer(g, rows));
}

/* The layers that read v. */
static void list_readers(FILE *to, const ir_graph *g, ir_value v)
{
    const char *last = "";
    for (size_t i = 0; i < g->count; i++) {
        for (int k = 0; k < g->node[i].in_count; k++) {
            const char *layer = name_layer(g, (ir_value)i);
            if (g->node[i].in[k] != v || strcmp(layer, last) == 0) continue;
            fprintf(to, "%s%s (%s)", *last ? ", " : "", layer, ir_op_name(g->node[i].op));
            last = layer;
        }
    }
    for (size_t i = 0; i < g->output_count; i++) {
        if (g->output[i].value == v) fprintf(to, "%soutput \"%s\"", *last ? ", " : "", g->output[i].name);
    }
}

static void explain_graph(FILE *to, const ir_graph *g)
{
    for (size_t i = 0; i < g->count; i++) {
        const ir_value v = (ir_value)i;
        const ir_node *n = ir_node_of(g, v);
        const bool is_back = n->op == OP_sparse_dot_back;
        if (is_back || n->op == OP_sparse_dot) {
            print_rows(to, g, n->in[0]);
            fprintf(to, "%s from its entries, %s\n", is_back ? "gradient or sum over rows" : "product", name_layer(g, v));
        } else if (n->op == OP_sparse_dense) {
            print_rows(to, g, n->in[0]);
            fprintf(to, "made dense, read by ");
            list_readers(to, g, v);
            fprintf(to, "\n");
        }
    }
}

/* The layers that work on the values of a ragged input: none makes it dense. */
static void explain_ragged(FILE *to, const ir_graph *g, const ir_port *port)
{
    const char *last = "", *mark = "";
    fprintf(to, "%s: \"%s\": stays ragged, its values are read by ", g->name, port->name);
    for (size_t i = 0; i < g->count; i++) {
        const char *layer = name_layer(g, (ir_value)i);
        bool reads = false;
        for (int k = 0; k < g->node[i].in_count; k++) {
            const ir_type *t = ir_type_of(g, g->node[i].in[k]);
            reads = reads || (t->rank > 0 && t->dim[0].batch == port->type.dim[0].batch);
        }
        if (!reads || strcmp(layer, last) == 0) continue;
        fprintf(to, "%s%s%s", mark, layer, g->node[i].op == OP_scan ? " (step by step, over the rows that are long enough)" : "");
        mark = ", ";
        last = layer;
    }
    fprintf(to, "\n");
}

static void explain_all_ragged(FILE *to, const ir_module *m, const ir_graph *g)
{
    for (size_t i = 0; i < m->port_count; i++) {
        if (m->port[i].kind == PORT_x && m->port[i].ragged > 0) explain_ragged(to, g, &m->port[i]);
    }
}

void explain_layout(FILE *to, const ir_module *m)
{
    static const char suffix[] = "_row_marks";
    const bool is_lazy = m->optimizer && ir_record_number(m->optimizer, "lazy_embeddings", 0) != 0;
    const char *how = is_lazy ? ", lazily" : "";
    for (size_t i = 0; i < m->graph_count; i++) {
        explain_graph(to, m->graph[i]);
        if (strcmp(m->graph[i]->name, "metrics") != 0) explain_all_ragged(to, m, m->graph[i]);
    }
    for (size_t i = 0; i < m->variable_count; i++) {
        const char *name = m->variable[i].name;
        const size_t length = strlen(name), tail = sizeof suffix - 1;
        if (length > tail && strcmp(name + length - tail, suffix) == 0)
            fprintf(to, "train_step: table \"%.*s\": updated by the rows that a batch names%s\n", (int)(length - tail), name, how);
    }
}
