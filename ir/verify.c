/* verify.c: what must hold of every graph, at every stage. */
#include "ir/graph.h"

#include <string.h>

enum { DEPTH_LIMIT = 16 }; /* of bodies in bodies */

typedef struct checker {
    const ir_graph *g;
    text *to;
    size_t problems;
    int depth;
} checker;

static void complain(checker *c, ir_value v, const char *format, ...) BASE_PRINTF(3, 4);
static void complain(checker *c, ir_value v, const char *format, ...)
{
    text_add(c->to, "graph %s: ", c->g->name);
    if (v >= 0 && (size_t)v < c->g->count)
        text_add(c->to, "%%%d %s: ", (int)v, ir_op_name(c->g->node[v].op));
    va_list args;
    va_start(args, format);
    text_add_args(c->to, format, args);
    va_end(args);
    text_add(c->to, "\n");
    c->problems++;
}

static bool is_value(const checker *c, ir_value v) { return v >= 0 && (size_t)v < c->g->count; }

/* ---- nodes ---------------------------------------------------------------------------------- */

static void check_graph(checker *c);

static void check_bodies(checker *c, ir_value v)
{
    const ir_node *n = &c->g->node[v];
    for (int i = 0; i < n->attr_count; i++) {
        if (ir_attr_kind_of(n->attr[i].name) != ATTR_GRAPH) continue;
        if (c->depth == DEPTH_LIMIT) {
            complain(c, v, "bodies more than %d deep", (int)DEPTH_LIMIT);
            return;
        }
        checker body = {.g = n->attr[i].graph, .to = c->to, .depth = c->depth + 1};
        check_graph(&body);
        c->problems += body.problems;
    }
}

/* Parameters of a body are its node's operands, and all it reads; the shape rule compares the
 * types. */
static void check_source(checker *c, ir_value v)
{
    const ir_node *n = &c->g->node[v];
    const ir_module *m = c->g->module;
    if (c->depth > 0) {
        if (n->op == OP_variable) complain(c, v, "a body cannot read variables");
        return;
    }
    if (n->op != OP_parameter || !m || m->port_count == 0 || ir_graph_is_body(c->g)) return;
    int64_t i = ir_attr_int(n, ATTR_index, -1);
    if (i < 0 || (size_t)i >= m->port_count)
        complain(c, v, "no port %lld", (long long)i);
    else if (!ir_type_equal(&m->port[i].type, &n->type))
        complain(c, v, "not of the type of port %lld", (long long)i);
}

static bool check_operand_order(checker *c, ir_value v)
{
    const ir_node *n = &c->g->node[v];
    for (int i = 0; i < n->in_count; i++) {
        if (n->in[i] >= 0 && n->in[i] < v) continue;
        complain(c, v, "operand %d, %%%d, is not before it", i, (int)n->in[i]);
        return false;
    }
    for (int i = 1; i < n->attr_count; i++) {
        if (n->attr[i - 1].name >= n->attr[i].name) complain(c, v, "attributes are not in order");
    }
    return true;
}

static void check_node(checker *c, ir_value v)
{
    const ir_node *n = &c->g->node[v];
    if (!check_operand_order(c, v)) return;
    ir_type type;
    const char *problem;
    check_bodies(c, v);
    if (!ir_infer(c->g, n->op, n->in_count, n->in, n->attr_count, n->attr, &n->type, &type,
                  &problem)) {
        complain(c, v, "%s", problem);
    } else if (!ir_type_equal(&type, &n->type)) {
        text t = {0};
        ir_type_print(&type, &t);
        complain(c, v, "its rule gives %s", text_get(&t));
        text_done(&t);
    }
    check_source(c, v);
    const ir_module *m = c->g->module;
    if (n->origin < 0 || (m && (size_t)n->origin >= m->origin_count))
        complain(c, v, "no origin %d", (int)n->origin);
}

/* ---- results -------------------------------------------------------------------------------- */

static void check_bindings(checker *c, const char *what, const ir_binding *b, size_t count)
{
    const ir_module *m = c->g->module;
    arena *a = c->g->arena;
    bool *seen = arena_array(a, bool, m ? m->variable_count : 0);
    for (size_t i = 0; i < count; i++) {
        int k = b[i].variable;
        if (!m || k < 0 || (size_t)k >= m->variable_count) {
            complain(c, IR_NONE, "%s of variable %d, which there is not", what, k);
            continue;
        }
        if (seen[k]) complain(c, IR_NONE, "two of %s @%s", what, m->variable[k].name);
        seen[k] = true;
        if (b[i].value == IR_NONE && strcmp(what, "gradient") == 0) continue;
        if (!is_value(c, b[i].value))
            complain(c, IR_NONE, "%s @%s is no value", what, m->variable[k].name);
        else if (!ir_type_equal(ir_type_of(c->g, b[i].value), &m->variable[k].type))
            complain(c, b[i].value, "%s @%s is of another type", what, m->variable[k].name);
    }
}

static void check_results(checker *c)
{
    const ir_graph *g = c->g;
    for (size_t i = 0; i < g->output_count; i++) {
        if (!is_value(c, g->output[i].value))
            complain(c, IR_NONE, "output %s is no value", g->output[i].name);
        else if (ir_type_of(g, g->output[i].value)->rank < 0)
            complain(c, g->output[i].value, "output %s is a tuple", g->output[i].name);
    }
    check_bindings(c, "update", g->update, g->update_count);
    check_bindings(c, "gradient", g->gradient, g->gradient_count);
    for (size_t i = 0; i < g->order_count; i++)
        if (!is_value(c, g->order[i].value) || !is_value(c, g->order[i].after))
            complain(c, IR_NONE, "an order of no value");
    if (g->loss == IR_NONE) return;
    if (!is_value(c, g->loss))
        complain(c, IR_NONE, "the loss is no value");
    else if (ir_type_of(g, g->loss)->rank != 0 || !ir_dtype_is_float(ir_type_of(g, g->loss)->dtype))
        complain(c, g->loss, "the loss is no floating-point scalar");
}

/* ---- kernels and places --------------------------------------------------------------------- */

static bool check_values(checker *c, size_t kernel, const char *what, int count, const ir_value *v)
{
    for (int i = 0; i < count; i++) {
        if (!is_value(c, v[i])) {
            complain(c, IR_NONE, "kernel %zu: %s %d is no value", kernel, what, i);
            return false;
        }
        if (i > 0 && v[i] <= v[i - 1])
            complain(c, v[i], "kernel %zu: %s not ascending", kernel, what);
    }
    return true;
}

/* In memory: what holds data of its own, roots of the kernels so far (`written`), and views of
 * these. */
static bool is_in_memory(const ir_graph *g, ir_value v, const bool *written)
{
    for (;;) {
        const ir_node *n = &g->node[v];
        if (written[v] || n->op == OP_parameter || n->op == OP_variable || n->op == OP_constant)
            return true;
        if (n->op != OP_reshape && n->op != OP_get) return false;
        v = n->in[0];
    }
}

/* Roots besides the main value are maps of it, element by element. */
static void check_epilogue(checker *c, size_t kernel, const ir_kernel *k)
{
    const ir_graph *g = c->g;
    for (int r = 0; r < k->root_count; r++) {
        ir_value root = k->root[r];
        if (root == k->main) continue;
        if (k->kind == KERNEL_dot || k->kind == KERNEL_convolution) ir_sums_rows(g, root, &root);
        const bool takes = ir_takes_epilogue(g, &g->node[k->main]) || ir_scatters_rows(g, &g->node[k->main]);
        if (!takes ||
            !ir_type_same_shape(ir_type_of(g, k->main), ir_type_of(g, root))) {
            complain(c, root, "kernel %zu: no epilogue of its main value", kernel);
        }
    }
}

static void check_kernels(checker *c)
{
    const ir_graph *g = c->g;
    bool *written = arena_array(g->arena, bool, g->count);
    for (size_t i = 0; i < g->kernel_count; i++) {
        const ir_kernel *k = &g->kernel[i];
        if (!check_values(c, i, "root", k->root_count, k->root) ||
            !check_values(c, i, "read", k->read_count, k->read)) {
            return;
        }
        if (k->root_count == 0) complain(c, IR_NONE, "kernel %zu has no roots", i);
        for (int r = 0; r < k->root_count; r++) {
            if (written[k->root[r]])
                complain(c, k->root[r], "kernel %zu writes what another one writes", i);
            written[k->root[r]] = true;
        }
        for (int r = 0; r < k->read_count; r++) {
            if (!is_in_memory(g, k->read[r], written)) {
                complain(c, k->read[r], "kernel %zu reads it before it is in memory", i);
            }
        }
        bool alone = k->kind == KERNEL_loop || k->kind == KERNEL_row || k->kind == KERNEL_reduce;
        if (!alone && !is_value(c, k->main))
            complain(c, IR_NONE, "kernel %zu has no main value", i);
        else if (!alone)
            check_epilogue(c, i, k);
        if (alone && k->main != IR_NONE) complain(c, k->main, "kernel %zu has a main value", i);
    }
}

static bool is_place(const checker *c, ir_value v)
{
    const ir_graph *g = c->g;
    const ir_place *p = &g->place[v];
    ir_dim elements = ir_fixed(0);
    ir_type_elements(&g->node[v].type, &elements);
    int64_t bytes = elements.count * (int64_t)ir_dtype_size(g->node[v].type.dtype), at = p->offset;
    if (at < 0) return false;
    switch (p->space) {
    case SPACE_none: return true;
    case SPACE_fixed:
        return !elements.batch && at <= g->fixed_bytes && bytes <= g->fixed_bytes - at;
    case SPACE_batch: {
        if (p->ragged < 0 || p->ragged > IR_MAX_RAGGED) return false;
        const int64_t size = p->ragged > 0 ? g->ragged_bytes[p->ragged - 1] : g->batch_bytes;
        return at <= size && bytes <= size - at;
    }
    case SPACE_variable: return g->module && (size_t)at < g->module->variable_count;
    case SPACE_input: return g->module && (size_t)at < g->module->port_count;
    case SPACE_output: return (size_t)at < g->output_count;
    case SPACE_constant:
        return g->module && (size_t)at <= g->module->constants_size &&
               (size_t)bytes <= g->module->constants_size - (size_t)at;
    }
    return false;
}

static void check_places(checker *c)
{
    for (size_t v = 0; c->g->place && v < c->g->count; v++) {
        if (is_place(c, (ir_value)v)) continue;
        complain(c, (ir_value)v, "does not lie within its place, %s %lld",
                 ir_space_name(c->g->place[v].space), (long long)c->g->place[v].offset);
    }
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void check_graph(checker *c)
{
    for (size_t v = 0; v < c->g->count; v++) check_node(c, (ir_value)v);
    check_results(c);
    check_kernels(c);
    check_places(c);
}

bool ir_graph_check(const ir_graph *g, text *out_problems)
{
    checker c = {.g = g, .to = out_problems};
    arena_mark mark = arena_save(g->arena);
    check_graph(&c);
    arena_release(g->arena, mark);
    return c.problems == 0;
}

void ir_graph_verify(const ir_graph *g, const char *after_pass)
{
    text problems = {0};
    bool ok = ir_graph_check(g, &problems);
    if (!ok) {
        text print = {0};
        ir_graph_print(g, &print);
        fprintf(stderr, "%s%s", text_get(&print), text_get(&problems));
        text_done(&print);
        text_done(&problems);
        bug("graph %s is broken after %s", g->name, after_pass);
    }
    text_done(&problems);
}
