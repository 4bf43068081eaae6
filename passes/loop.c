/* loop.c: makes scans ready for fuse. Each gets a body of its own, simplified as the graph around it was, and
 * its states start in memory that nobody else reads (`copy`), because the loop changes them there. What its products
 * multiply by in every step is packed once (panels.c). Requires a
 * graph without kernels; leaves dead nodes in bodies only. */
#include "passes/passes_private.h"

#include <string.h>

static ir_graph *copy_body(ir_graph *g, const ir_graph *body, arena *scratch)
{
    ir_graph *copy = ir_graph_new(g->arena, body->name, g->module);
    ir_value *map = arena_array(scratch, ir_value, body->count + 1);
    for (size_t v = 0; v < body->count; v++) {
        copy->origin = body->node[v].origin;
        map[v] = ir_graph_copy_node(copy, body, (ir_value)v, map);
    }
    for (size_t i = 0; i < body->output_count; i++)
        ir_graph_add_output(copy, body->output[i].name, map[body->output[i].value]);
    return copy;
}

static bool has_loop(const ir_graph *body)
{
    for (size_t v = 0; v < body->count; v++)
        if (body->node[v].op == OP_scan || body->node[v].op == OP_while) return true;
    return false;
}

static bool simplify_body(ir_module *m, ir_graph *body, const passes_options *o, diag *d)
{
    bool good = true;
    if (o->level > 0) good = pass_simplify(m, body, o, d) && pass_cse(m, body, o, d);
    good = good && pass_sweep(m, body, o, d);
    if (o->level > 0) good = good && pass_split(m, body, o, d);
    return good;
}

static ir_graph *prepare_body(ir_module *m, ir_graph *g, const ir_node *n, const passes_options *o, diag *d)
{
    arena scratch = {0};
    ir_graph *body = copy_body(g, ir_attr_find(n, ATTR_body)->graph, &scratch);
    arena_done(&scratch);
    if (has_loop(body)) {
        const char *layer = m->origin_count > 0 ? m->origin[n->origin].layer : NULL;
        diag_error(d, layer && *layer ? layer : NULL, "a loop inside a loop is not supported");
        return NULL;
    }
    return simplify_body(m, body, o, d) ? body : NULL;
}

static bool rebuild_scan(rewrite *r, ir_module *m, ir_value v, const passes_options *o, diag *d,
                         arena *scratch)
{
    const ir_node n = r->from->node[v];
    const int carried = (int)ir_attr_int(&n, ATTR_carried, 0);
    ir_graph *body = prepare_body(m, r->from, &n, o, d);
    if (!body) return false;
    ir_attr *attr = arena_array(scratch, ir_attr, (size_t)n.attr_count + 1);
    ir_value *in = arena_array(scratch, ir_value, (size_t)n.in_count + body->count + 2);
    r->to->origin = n.origin;
    for (int i = 0; i < n.attr_count; i++) {
        attr[i] = n.attr[i];
        if (attr[i].name == ATTR_body) attr[i].graph = body;
    }
    for (int i = 0; i < n.in_count; i++) {
        in[i] = r->map[n.in[i]];
        if (i < carried) in[i] = ir_build_unary(r->to, OP_copy, in[i]);
    }
    int count = n.in_count;
    if (o->columns > 0) count += passes_hoist_panels(r, &n, body, o->columns, scratch, in + n.in_count);
    if (ir_scan_unit(&n) && count > n.in_count) in[count++] = in[n.in_count - 1]; /* `ends` is the last one */
    r->to->origin = n.origin;
    r->map[v] = ir_build(r->to, OP_scan, count, in, n.attr_count, attr, NULL);
    return true;
}

bool pass_loop(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    arena scratch = {0};
    rewrite r;
    bool good = true;
    rewrite_begin(&r, g, &scratch);
    for (size_t i = 0; i < g->count && good; i++) {
        if (g->node[i].op == OP_scan)
            good = rebuild_scan(&r, m, (ir_value)i, o, d, &scratch);
        else
            rewrite_copy(&r, (ir_value)i);
    }
    if (good) rewrite_end(&r);
    arena_done(&scratch);
    return good;
}
