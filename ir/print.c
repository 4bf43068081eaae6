/* print.c: the text form of graphs and modules (grammar: docs/ir.md). Prints broken graphs too,
 * because the verifier shows them. */
#include "ir/graph.h"

#include <string.h>

enum { LIST_LIMIT = 64 }; /* longer data prints as hex */

typedef struct printer {
    text *to;
    const ir_module *module; /* may be NULL */
    int indent;
} printer;

static void print_statements(printer *p, const ir_graph *g);

static void begin_line(printer *p) { text_add(p->to, "%*s", 2 * p->indent, ""); }

static void print_name(printer *p, const char *name)
{
    if (ir_is_identifier(name))
        text_add(p->to, "%s", name);
    else
        text_add_quoted(p->to, name);
}

static void print_variable(printer *p, int64_t i)
{
    bool known = p->module && i >= 0 && (size_t)i < p->module->variable_count;
    if (known)
        text_add(p->to, "@%s", p->module->variable[i].name);
    else
        text_add(p->to, "%lld", (long long)i);
}

static void print_hex(printer *p, const void *bytes, size_t size)
{
    static const char digit[] = "0123456789abcdef";
    const unsigned char *byte = bytes;
    text_add(p->to, "\"0x");
    for (size_t i = 0; i < size; i++) {
        const char pair[2] = {digit[byte[i] >> 4], digit[byte[i] & 15]};
        text_put(p->to, pair, 2);
    }
    text_add(p->to, "\"");
}

static void print_data(printer *p, ir_dtype dtype, const void *bytes, size_t size)
{
    size_t one = ir_dtype_size(dtype);
    if (size / one > LIST_LIMIT) {
        print_hex(p, bytes, size);
        return;
    }
    text_add(p->to, "[");
    for (size_t i = 0; i < size / one; i++) {
        if (i) text_add(p->to, ", ");
        ir_element_print(dtype, (const char *)bytes + i * one, p->to);
    }
    text_add(p->to, "]");
}

/* ---- records -------------------------------------------------------------------------------- */

static void print_record(printer *p, const ir_record *r);

static void print_field(printer *p, const ir_field *f)
{
    print_name(p, f->key);
    text_add(p->to, "=");
    switch (f->kind) {
    case FIELD_NUMBER: ir_double_print(f->number, p->to); break;
    case FIELD_NUMBERS:
        text_add(p->to, "[");
        for (int i = 0; i < f->count; i++) {
            if (i) text_add(p->to, ", ");
            ir_double_print(f->numbers[i], p->to);
        }
        text_add(p->to, "]");
        break;
    case FIELD_TEXT: text_add_quoted(p->to, f->text); break;
    case FIELD_RECORD: print_record(p, f->record); break;
    }
}

static void print_record(printer *p, const ir_record *r)
{
    print_name(p, r->name);
    text_add(p->to, " {");
    for (size_t i = 0; i < r->count; i++) {
        if (i) text_add(p->to, ", ");
        print_field(p, &r->field[i]);
    }
    text_add(p->to, "}");
}

/* ---- nodes ---------------------------------------------------------------------------------- */

static void print_body(printer *p, const ir_graph *body)
{
    text_add(p->to, "graph ");
    print_name(p, body->name);
    text_add(p->to, " {\n");
    p->indent++;
    print_statements(p, body);
    p->indent--;
    begin_line(p);
    text_add(p->to, "}");
}

static void print_attr(printer *p, const ir_node *n, const ir_attr *a)
{
    text_add(p->to, "%s=", ir_attr_name_text(a->name));
    switch (ir_attr_kind_of(a->name)) {
    case ATTR_INT:
        if (n->op == OP_variable)
            print_variable(p, a->i);
        else
            text_add(p->to, "%lld", (long long)a->i);
        break;
    case ATTR_INTS:
        text_add(p->to, "[");
        for (int i = 0; i < a->ints.count; i++) {
            text_add(p->to, i ? ", %lld" : "%lld", (long long)a->ints.item[i]);
        }
        text_add(p->to, "]");
        break;
    case ATTR_FLOAT: ir_double_print(a->f, p->to); break;
    case ATTR_TEXT: print_name(p, a->text); break;
    case ATTR_DATA:
        if (a->data.size == ir_dtype_size(n->type.dtype))
            ir_element_print(n->type.dtype, a->data.bytes, p->to);
        else
            print_data(p, n->type.dtype, a->data.bytes, a->data.size);
        break;
    case ATTR_GRAPH: print_body(p, a->graph); break;
    }
}

static void print_node(printer *p, const ir_graph *g, size_t v)
{
    const ir_node *n = &g->node[v];
    begin_line(p);
    text_add(p->to, "%%%zu = %s", v, ir_op_name(n->op));
    for (int i = 0; i < n->in_count; i++) text_add(p->to, i ? ", %%%d" : " %%%d", (int)n->in[i]);
    for (int i = 0; i < n->attr_count; i++) {
        text_add(p->to, i ? ", " : " {");
        print_attr(p, n, &n->attr[i]);
    }
    text_add(p->to, n->attr_count ? "} : " : " : ");
    ir_type_print(&n->type, p->to);
    if (n->origin) text_add(p->to, " @%d", (int)n->origin);
    text_add(p->to, "\n");
}

/* ---- kernels and places --------------------------------------------------------------------- */

static void print_values(printer *p, const char *what, int count, const ir_value *v)
{
    text_add(p->to, " %s(", what);
    for (int i = 0; i < count; i++) text_add(p->to, i ? ", %%%d" : "%%%d", (int)v[i]);
    text_add(p->to, ")");
}

static void print_kernels(printer *p, const ir_graph *g)
{
    if (!g->kernel_count) return;
    begin_line(p);
    text_add(p->to, "kernels {\n");
    p->indent++;
    for (size_t i = 0; i < g->kernel_count; i++) {
        const ir_kernel *k = &g->kernel[i];
        begin_line(p);
        text_add(p->to, "%zu %s", i, ir_kernel_kind_name(k->kind));
        print_values(p, "roots", k->root_count, k->root);
        if (k->main != IR_NONE) text_add(p->to, " main %%%d", (int)k->main);
        if (k->columns) text_add(p->to, " columns %d", k->columns);
        print_values(p, "reads", k->read_count, k->read);
        text_add(p->to, "\n");
    }
    p->indent--;
    begin_line(p);
    text_add(p->to, "}\n");
}

static void print_places(printer *p, const ir_graph *g)
{
    if (!g->place) return;
    begin_line(p);
    text_add(p->to, "places fixed %lld batch %lld", (long long)g->fixed_bytes, (long long)g->batch_bytes);
    for (int i = 0; i < IR_MAX_RAGGED; i++)
        if (g->ragged_bytes[i]) text_add(p->to, " V%d %lld", i, (long long)g->ragged_bytes[i]);
    text_add(p->to, " {\n");
    p->indent++;
    for (size_t v = 0; v < g->count; v++) {
        const ir_place *place = &g->place[v];
        if (place->space == SPACE_none) continue;
        begin_line(p);
        text_add(p->to, "place %%%zu %s %lld", v, ir_space_name(place->space), (long long)place->offset);
        text_add(p->to, place->ragged ? " V%d\n" : "\n", place->ragged - 1);
    }
    p->indent--;
    begin_line(p);
    text_add(p->to, "}\n");
}

/* ---- graphs --------------------------------------------------------------------------------- */

static void print_bindings(printer *p, const char *what, const ir_binding *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        begin_line(p);
        text_add(p->to, "%s ", what);
        print_variable(p, b[i].variable);
        if (b[i].value == IR_NONE)
            text_add(p->to, " = none\n");
        else
            text_add(p->to, " = %%%d\n", (int)b[i].value);
    }
}

static void print_statements(printer *p, const ir_graph *g)
{
    for (size_t v = 0; v < g->count; v++) print_node(p, g, v);
    for (size_t i = 0; i < g->output_count; i++) {
        begin_line(p);
        text_add(p->to, "output ");
        text_add_quoted(p->to, g->output[i].name);
        text_add(p->to, " = %%%d\n", (int)g->output[i].value);
    }
    print_bindings(p, "update", g->update, g->update_count);
    if (g->loss != IR_NONE) {
        begin_line(p);
        text_add(p->to, "loss %%%d\n", (int)g->loss);
    }
    print_bindings(p, "gradient", g->gradient, g->gradient_count);
    for (size_t i = 0; i < g->order_count; i++) {
        begin_line(p);
        text_add(p->to, "order %%%d after %%%d\n", (int)g->order[i].value, (int)g->order[i].after);
    }
    print_kernels(p, g);
    print_places(p, g);
}

void ir_graph_print(const ir_graph *g, text *to)
{
    printer p = {.to = to, .module = g->module};
    print_body(&p, g);
    text_add(to, "\n");
}

/* ---- modules -------------------------------------------------------------------------------- */

static void print_text(printer *p, const char *key, const char *value)
{
    if (!value) return;
    text_add(p->to, ", %s=", key);
    text_add_quoted(p->to, value);
}

static void print_setting(printer *p, const char *key, const ir_record *r)
{
    if (!r) return;
    text_add(p->to, ", %s=", key);
    print_record(p, r);
}

static void print_variable_line(printer *p, const ir_variable *v)
{
    text_add(p->to, "variable @%s : ", v->name);
    ir_type_print(&v->type, p->to);
    text_add(p->to, " {role=%s", ir_role_name(v->role));
    if (v->trainable) text_add(p->to, ", trainable=1");
    print_text(p, "path", v->path);
    print_text(p, "h5", v->h5);
    print_text(p, "h5_copy", v->h5_copy);
    print_setting(p, "initializer", v->initializer);
    print_setting(p, "constraint", v->constraint);
    print_setting(p, "lora", v->lora);
    if (v->data) {
        text_add(p->to, ", data=");
        print_data(p, v->type.dtype, v->data,
                   (size_t)ir_type_elements_at(&v->type, 1) * ir_dtype_size(v->type.dtype));
    }
    text_add(p->to, "}\n");
}

static void print_port(printer *p, const ir_port *port)
{
    static const char *const kinds[] = {"x", "y", "sample_weight", "made"};
    text_add(p->to, "port %s ", kinds[port->kind]);
    text_add_quoted(p->to, port->name);
    text_add(p->to, " : ");
    ir_type_print(&port->type, p->to);
    const char *open = " {";
    if (port->classes) {
        text_add(p->to, "%sclasses=%lld", open, (long long)port->classes);
        open = ", ";
    }
    if (port->has_ignored) {
        text_add(p->to, "%signored=%lld", open, (long long)port->ignored);
        open = ", ";
    }
    if (port->padded) {
        text_add(p->to, "%spadded=1", open);
        open = ", ";
    }
    if (port->indexed) {
        text_add(p->to, "%sindexed=1", open);
        open = ", ";
    }
    if (port->ragged) text_add(p->to, "%sragged=%d %d", open, port->ragged, (int)port->part);
    if (port->like) text_add(p->to, ", like=%d", port->like);
    bool opened = port->classes || port->has_ignored || port->padded || port->indexed || port->ragged;
    text_add(p->to, opened ? "}\n" : "\n");
}

void ir_module_print(const ir_module *m, text *to)
{
    printer p = {.to = to, .module = m};
    text_add(to, "module ");
    text_add_quoted(to, m->name);
    text_add(to, "\n");
    for (size_t i = 1; i < m->origin_count; i++) {
        text_add(to, "origin @%zu ", i);
        text_add_quoted(to, m->origin[i].path);
        text_add(to, " ");
        text_add_quoted(to, m->origin[i].layer);
        text_add(to, "\n");
    }
    for (size_t i = 0; i < m->port_count; i++) print_port(&p, &m->port[i]);
    for (size_t i = 0; i < m->variable_count; i++) print_variable_line(&p, &m->variable[i]);
    if (m->optimizer) {
        text_add(to, "optimizer ");
        print_record(&p, m->optimizer);
        text_add(to, "\n");
    }
    if (m->constants_size) {
        text_add(to, "constants ");
        print_hex(&p, m->constants, m->constants_size);
        text_add(to, "\n");
    }
    for (size_t i = 0; i < m->graph_count; i++) {
        text_add(to, "\n");
        ir_graph_print(m->graph[i], to);
    }
}
