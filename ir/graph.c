/* graph.c: modules, graphs, and the operations on whole graphs. */
#include "ir/graph.h"
#include "base/map.h"

#include <string.h>

/* ---- modules -------------------------------------------------------------------------------- */

ir_module *ir_module_new(arena *a, const char *name)
{
    ir_module *m = arena_new(a, ir_module);
    m->arena = a;
    m->name = arena_strdup(a, name);
    m->variable_names = arena_new(a, map);
    m->variable_names->arena = a;
    ir_module_add_origin(m, "", "");
    return m;
}

ir_graph *ir_module_add_graph(ir_module *m, const char *name)
{
    ir_graph *g = ir_graph_new(m->arena, name, m);
    arena_push(m->arena, m->graph, m->graph_count, m->graph_capacity, g);
    return g;
}

ir_graph *ir_module_find_graph(const ir_module *m, const char *name)
{
    for (size_t i = 0; i < m->graph_count; i++) {
        if (strcmp(m->graph[i]->name, name) == 0) return m->graph[i];
    }
    return NULL;
}

static bool has_op(const ir_graph *g, ir_op op)
{
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *n = &g->node[v];
        if (n->op == op) return true;
        for (int i = 0; i < n->attr_count; i++) {
            if (ir_attr_kind_of(n->attr[i].name) == ATTR_GRAPH && has_op(n->attr[i].graph, op)) return true;
        }
    }
    return false;
}

bool ir_module_has_op(const ir_module *m, ir_op op)
{
    for (size_t i = 0; i < m->graph_count; i++) {
        if (has_op(m->graph[i], op)) return true;
    }
    return false;
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool ir_is_identifier(const char *name)
{
    if (!is_letter(*name)) return false;
    while (is_letter(*name) || is_digit(*name)) name++;
    return *name == 0;
}

static char *make_identifier(arena *a, const char *name)
{
    char *id = arena_printf(a, is_letter(*name) ? "%s" : "v%s", name);
    for (char *c = id; *c; c++) {
        if (!is_letter(*c) && !is_digit(*c)) *c = '_';
    }
    return id;
}

/* Each name in use maps to the last suffix tried for it, so that a thousand equal names stay cheap.
 */
static const char *make_unique(ir_module *m, const char *name)
{
    uint32_t *last = map_find(m->variable_names, name);
    const char *unique = name;
    while (last && map_has(m->variable_names, unique)) {
        unique = arena_printf(m->arena, "%s_%u", name, ++*last);
    }
    map_set(m->variable_names, unique, arena_new(m->arena, uint32_t));
    return unique;
}

int ir_module_add_variable(ir_module *m, ir_variable v)
{
    v.name = make_unique(m, make_identifier(m->arena, v.name));
    arena_push(m->arena, m->variable, m->variable_count, m->variable_capacity, v);
    return (int)m->variable_count - 1;
}

int ir_module_add_port(ir_module *m, ir_port p)
{
    arena_push(m->arena, m->port, m->port_count, m->port_capacity, p);
    if (p.ragged > m->ragged_count) m->ragged_count = p.ragged;
    return (int)m->port_count - 1;
}

ir_origin_id ir_module_add_origin(ir_module *m, const char *path, const char *layer)
{
    ir_origin o = {arena_strdup(m->arena, path), arena_strdup(m->arena, layer)};
    arena_push(m->arena, m->origin, m->origin_count, m->origin_capacity, o);
    return (ir_origin_id)m->origin_count - 1;
}

/* ---- graphs --------------------------------------------------------------------------------- */

ir_graph *ir_graph_new(arena *a, const char *name, ir_module *m)
{
    ir_graph *g = arena_new(a, ir_graph);
    g->name = arena_strdup(a, name);
    g->arena = a;
    g->module = m;
    g->loss = IR_NONE;
    return g;
}

void ir_graph_add_output(ir_graph *g, const char *name, ir_value v)
{
    ir_output o = {arena_strdup(g->arena, name), v};
    arena_push(g->arena, g->output, g->output_count, g->output_capacity, o);
}

void ir_graph_add_update(ir_graph *g, int variable, ir_value v)
{
    for (size_t i = 0; i < g->update_count; i++) {
        if (g->update[i].variable == variable) {
            g->update[i].value = v;
            return;
        }
    }
    ir_binding b = {variable, v};
    arena_push(g->arena, g->update, g->update_count, g->update_capacity, b);
}

void ir_graph_add_gradient(ir_graph *g, int variable, ir_value v)
{
    ir_binding b = {variable, v};
    arena_push(g->arena, g->gradient, g->gradient_count, g->gradient_capacity, b);
}

bool ir_graph_is_body(const ir_graph *g)
{
    if (!g->module) return true;
    for (size_t i = 0; i < g->module->graph_count; i++) {
        if (g->module->graph[i] == g) return false;
    }
    return true;
}

/* ---- attributes ----------------------------------------------------------------------------- */

const ir_attr *ir_attr_find(const ir_node *n, ir_attr_name name)
{
    for (int i = 0; i < n->attr_count; i++) {
        if (n->attr[i].name == name) return &n->attr[i];
    }
    return NULL;
}

int64_t ir_attr_int(const ir_node *n, ir_attr_name name, int64_t otherwise)
{
    const ir_attr *a = ir_attr_find(n, name);
    return a ? a->i : otherwise;
}

const int64_t *ir_attr_ints(const ir_node *n, ir_attr_name name, int *out_count)
{
    const ir_attr *a = ir_attr_find(n, name);
    if (out_count) *out_count = a ? a->ints.count : 0;
    return a ? a->ints.item : NULL;
}

bool ir_attr_lists(const ir_node *n, ir_attr_name name, int64_t item)
{
    const ir_attr *a = ir_attr_find(n, name);
    for (int i = 0; a && i < a->ints.count; i++)
        if (a->ints.item[i] == item) return true;
    return false;
}

const char *ir_attr_text(const ir_node *n, ir_attr_name name)
{
    const ir_attr *a = ir_attr_find(n, name);
    return a ? a->text : "";
}

bool ir_windows_tile(const ir_graph *g, const ir_node *n)
{
    const ir_type *in = ir_type_of(g, n->in[0]);
    const int64_t *size = ir_attr_ints(n, ATTR_window_dimensions, NULL);
    const int64_t *stride = ir_attr_ints(n, ATTR_window_strides, NULL);
    const int64_t *low = ir_attr_ints(n, ATTR_padding_low, NULL), *high = ir_attr_ints(n, ATTR_padding_high, NULL);
    for (int d = 0; d < in->rank; d++) {
        if (size[d] != stride[d] || low[d] != 0 || high[d] != 0) return false;
        if (size[d] != 1 && (in->dim[d].batch || in->dim[d].count < size[d])) return false;
    }
    return in->rank > 0;
}

const ir_type *ir_concatenate_part(const ir_graph *g, const ir_node *n)
{
    enum { LEAST_RUN = 16, MOST_PARTS = 8 };
    if (n->op != OP_concatenate || n->in_count < 2 || n->in_count > MOST_PARTS) return NULL;
    const ir_type *part = ir_type_of(g, n->in[0]);
    const int last = part->rank - 1;
    if (ir_attr_int(n, ATTR_dimension, 0) != last || part->dim[last].count < LEAST_RUN) return NULL;
    for (int i = 1; i < n->in_count; i++)
        if (!ir_type_same_shape(part, ir_type_of(g, n->in[i]))) return NULL;
    return part;
}

/* Updates are whole rows of the result, one after another. */
static bool has_whole_rows(const ir_type *out, const ir_type *indices, const ir_type *updates, const int64_t *window)
{
    enum { LEAST_ROW = 32, MOST_ROW = 8192 };
    int64_t row = 1;
    for (int d = 0; d < out->rank; d++)
        if (out->dim[d].batch || (d && (window[d - 1] != indices->rank + d - 1 ||
                                        !ir_dim_equal(out->dim[d], updates->dim[window[d - 1]]))))
            return false;
    for (int d = 1; d < out->rank; d++) row = base_min(row, MOST_ROW) * base_min(out->dim[d].count, MOST_ROW);
    return row >= LEAST_ROW && row <= MOST_ROW;
}

bool ir_scatters_rows(const ir_graph *g, const ir_node *n)
{
    if (n->op != OP_scatter || n->type.dtype != DTYPE_f32 || n->type.rank < 2 || !ir_is_filled(g, n->in[0], &(double){0})) return false;
    const ir_type *indices = ir_type_of(g, n->in[1]), *updates = ir_type_of(g, n->in[2]);
    int windows, inserted, mapped, batching;
    const int64_t *window = ir_attr_ints(n, ATTR_update_window_dims, &windows);
    const int64_t *absent = ir_attr_ints(n, ATTR_inserted_window_dims, &inserted);
    const int64_t *to = ir_attr_ints(n, ATTR_scatter_dims, &mapped);
    ir_attr_ints(n, ATTR_operand_batching_dims, &batching);
    if (strcmp(ir_attr_text(n, ATTR_kind), "replace") == 0 || batching || mapped != 1 || to[0] || inserted != 1 || absent[0]) return false;
    if (ir_attr_int(n, ATTR_index_vector_dim, indices->rank) != indices->rank || windows != n->type.rank - 1) return false;
    return ir_dtype_size(indices->dtype) >= 4 && has_whole_rows(&n->type, indices, updates, window);
}

bool ir_takes_epilogue(const ir_graph *g, const ir_node *n)
{
    if (ir_op_class(n->op) == CLASS_CONTRACT) return !ir_attr_find(n, ATTR_splits);
    return n->op == OP_reduce_window || (n->op == OP_select_and_scatter && ir_windows_tile(g, n));
}

bool ir_sums_rows(const ir_graph *g, ir_value v, ir_value *out_operand)
{
    const ir_node *n = &g->node[v];
    int count, splits = (int)ir_attr_int(n, ATTR_splits, 0);
    if ((n->op != OP_reduce && n->op != OP_moments) || splits < 1 || n->type.dtype != DTYPE_f32) return false;
    ir_value x = n->in[0];
    while (n->op == OP_moments && g->node[x].op == OP_reshape) x = g->node[x].in[0];
    const ir_type *t = ir_type_of(g, x);
    *out_operand = x;
    if (t->dtype != DTYPE_f32 || t->rank < 2 || !ir_dim_equal(t->dim[t->rank - 1], n->type.dim[n->type.rank - 1])) return false;
    if (n->op == OP_moments) return true;
    const int64_t *dims = ir_attr_ints(n, ATTR_dimensions, &count);
    if (strcmp(ir_attr_text(n, ATTR_kind), "add") != 0 || count != t->rank - 1) return false;
    for (int i = 0; i < count; i++)
        if (dims[i] != i) return false;
    return true;
}

/* ---- whole graphs --------------------------------------------------------------------------- */

static void mark(bool *live, ir_value v)
{
    if (v >= 0) live[v] = true;
}

bool *ir_graph_live(const ir_graph *g, arena *a)
{
    bool *live = arena_array(a, bool, g->count);
    for (size_t i = 0; i < g->output_count; i++) mark(live, g->output[i].value);
    for (size_t i = 0; i < g->update_count; i++) mark(live, g->update[i].value);
    for (size_t i = 0; i < g->gradient_count; i++) mark(live, g->gradient[i].value);
    mark(live, g->loss);
    for (size_t v = g->count; v-- > 0;) {
        const ir_node *n = &g->node[v];
        for (int i = 0; live[v] && i < n->in_count; i++) live[n->in[i]] = true;
    }
    return live;
}

static void rename_roots(ir_graph *g, const ir_value *renamed)
{
    for (size_t i = 0; i < g->output_count; i++) g->output[i].value = renamed[g->output[i].value];
    for (size_t i = 0; i < g->update_count; i++) g->update[i].value = renamed[g->update[i].value];
    for (size_t i = 0; i < g->gradient_count; i++) {
        if (g->gradient[i].value >= 0) g->gradient[i].value = renamed[g->gradient[i].value];
    }
    if (g->loss >= 0) g->loss = renamed[g->loss];
    size_t kept = 0;
    for (size_t i = 0; i < g->order_count; i++) {
        const ir_order order = {renamed[g->order[i].value], renamed[g->order[i].after]};
        if (order.value >= 0 && order.after >= 0) g->order[kept++] = order;
    }
    g->order_count = kept;
}

void ir_graph_sweep(ir_graph *g)
{
    bug_if(g->kernel_count || g->place, "sweep of graph %s after its kernels were made", g->name);
    bool *live = ir_graph_live(g, g->arena);
    ir_value *renamed = arena_array(g->arena, ir_value, g->count);
    size_t kept = 0;
    for (size_t v = 0; v < g->count; v++) {
        renamed[v] = live[v] ? (ir_value)kept : IR_NONE;
        if (!live[v]) continue;
        ir_node n = g->node[v];
        ir_value *in = arena_array(g->arena, ir_value, (size_t)n.in_count);
        for (int i = 0; i < n.in_count; i++) in[i] = renamed[n.in[i]];
        n.in = in;
        g->node[kept++] = n;
    }
    g->count = kept;
    rename_roots(g, renamed);
}

static void replace_operands(ir_graph *g, ir_node *n, ir_value from, ir_value to)
{
    for (int i = 0; i < n->in_count; i++) {
        if (n->in[i] != from) continue;
        ir_value *in = arena_copy(g->arena, n->in, (size_t)n->in_count * sizeof *in);
        for (int k = i; k < n->in_count; k++) {
            if (in[k] == from) in[k] = to;
        }
        n->in = in;
        return;
    }
}

static void replace_bindings(ir_binding *b, size_t count, ir_value from, ir_value to)
{
    for (size_t i = 0; i < count; i++) {
        if (b[i].value == from) b[i].value = to;
    }
}

void ir_replace_uses(ir_graph *g, ir_value from, ir_value to)
{
    for (size_t v = 0; v < g->count; v++) {
        if ((ir_value)v != to) replace_operands(g, &g->node[v], from, to);
    }
    for (size_t i = 0; i < g->output_count; i++) {
        if (g->output[i].value == from) g->output[i].value = to;
    }
    replace_bindings(g->update, g->update_count, from, to);
    replace_bindings(g->gradient, g->gradient_count, from, to);
    if (g->loss == from) g->loss = to;
}

/* ---- constants ------------------------------------------------------------------------------ */

/* A constant is filled when all its elements have the same bytes. */
static bool read_filled(const ir_node *n, double *out_number)
{
    const ir_attr *a = ir_attr_find(n, ATTR_data);
    size_t size = ir_dtype_size(n->type.dtype);
    const char *bytes = a->data.bytes;
    for (size_t i = size; i < a->data.size; i += size) {
        if (memcmp(bytes, bytes + i, size) != 0) return false;
    }
    if (a->data.size < size) return false;
    char element[8] = {0};
    memcpy(element, bytes, size);
    uint64_t aligned;
    memcpy(&aligned, element, sizeof aligned);
    const ir_array one = {ir_type_scalar(n->type.dtype), &aligned};
    *out_number = ir_array_get(&one, 0);
    return true;
}

bool ir_is_filled(const ir_graph *g, ir_value v, double *out_number)
{
    const ir_node *n = ir_node_of(g, v);
    while (n->op == OP_broadcast_in_dim || n->op == OP_reshape) n = ir_node_of(g, n->in[0]);
    return n->op == OP_constant && read_filled(n, out_number);
}

bool ir_is_filled_with(const ir_graph *g, ir_value v, double number)
{
    double found;
    return ir_is_filled(g, v, &found) && found == number;
}
