/* build.c: how nodes are made: the general builder, sources, and elementwise operations. */
#include "ir/graph.h"

#include <string.h>

/* ---- any node ------------------------------------------------------------------------------- */

static ir_attr copy_attr(arena *a, ir_attr attr)
{
    switch (ir_attr_kind_of(attr.name)) {
    case ATTR_INTS:
        attr.ints.item =
            arena_copy(a, attr.ints.item, (size_t)attr.ints.count * sizeof *attr.ints.item);
        break;
    case ATTR_TEXT: attr.text = arena_strdup(a, attr.text); break;
    case ATTR_DATA: attr.data.bytes = arena_copy(a, attr.data.bytes, attr.data.size); break;
    case ATTR_INT:
    case ATTR_FLOAT:
    case ATTR_GRAPH: break;
    }
    return attr;
}

static ir_attr *copy_attrs(arena *a, int count, const ir_attr *attr)
{
    ir_attr *copy = arena_array(a, ir_attr, (size_t)count);
    for (int i = 0; i < count; i++) {
        int k = i;
        for (; k > 0 && copy[k - 1].name > attr[i].name; k--) copy[k] = copy[k - 1];
        copy[k] = copy_attr(a, attr[i]);
    }
    return copy;
}

ir_value ir_graph_append(ir_graph *g, ir_op op, int in_count, const ir_value *in, int attr_count,
                         const ir_attr *attr, const ir_type *type)
{
    bug_if(g->count >= INT32_MAX, "graph %s is too large", g->name);
    ir_node n = {.op = op, .in_count = in_count, .attr_count = attr_count};
    n.in = arena_copy(g->arena, in, (size_t)in_count * sizeof *in);
    n.attr = copy_attrs(g->arena, attr_count, attr);
    n.type = *type;
    n.origin = g->origin;
    arena_push(g->arena, g->node, g->count, g->capacity, n);
    return (ir_value)g->count - 1;
}

BASE_NORETURN static void refuse(const ir_graph *g, ir_op op, int in_count, const ir_value *in,
                                 const char *problem)
{
    text t = {0};
    for (int i = 0; i < in_count; i++) {
        text_add(&t, "%s", i ? ", " : "");
        if (in[i] >= 0 && (size_t)in[i] < g->count)
            ir_type_print(ir_type_of(g, in[i]), &t);
        else
            text_add(&t, "no value");
    }
    const ir_module *m = g->module;
    bool known = m && g->origin > 0 && (size_t)g->origin < m->origin_count;
    bug("graph %s: %s(%s): %s%s%s", g->name, ir_op_name(op), text_get(&t), problem,
        known ? ", for " : "", known ? m->origin[g->origin].layer : "");
}

ir_value ir_build(ir_graph *g, ir_op op, int in_count, const ir_value *in, int attr_count,
                  const ir_attr *attr, const ir_type *given)
{
    ir_type type;
    const char *problem;
    if (!ir_infer(g, op, in_count, in, attr_count, attr, given, &type, &problem)) {
        refuse(g, op, in_count, in, problem);
    }
    return ir_graph_append(g, op, in_count, in, attr_count, attr, &type);
}

/* ---- copies of nodes ------------------------------------------------------------------------ */

static ir_graph *clone_body(ir_graph *to, const ir_graph *from)
{
    ir_graph *g = ir_graph_new(to->arena, from->name, to->module);
    ir_value *map = arena_array(to->arena, ir_value, from->count);
    for (size_t v = 0; v < from->count; v++) map[v] = ir_graph_copy_node(g, from, (ir_value)v, map);
    for (size_t i = 0; i < from->output_count; i++) {
        ir_graph_add_output(g, from->output[i].name, map[from->output[i].value]);
    }
    return g;
}

ir_value ir_graph_copy_node(ir_graph *g, const ir_graph *from, ir_value v, const ir_value *map)
{
    const ir_node n = from->node[v];
    ir_value *in = arena_array(g->arena, ir_value, (size_t)n.in_count);
    for (int i = 0; i < n.in_count; i++) in[i] = map[n.in[i]];
    ir_attr *attr = arena_copy(g->arena, n.attr, (size_t)n.attr_count * sizeof *attr);
    for (int i = 0; i < n.attr_count && from->arena != g->arena; i++) {
        if (ir_attr_kind_of(attr[i].name) == ATTR_GRAPH)
            attr[i].graph = clone_body(g, attr[i].graph);
    }
    ir_value made = ir_build(g, n.op, n.in_count, in, n.attr_count, attr, &n.type);
    if (from->module == g->module) g->node[made].origin = n.origin;
    return made;
}

/* ---- sources -------------------------------------------------------------------------------- */

static ir_value build_index(ir_graph *g, ir_op op, int index, const ir_type *type)
{
    const ir_attr attr = ir_attr_of_int(ATTR_index, index);
    return ir_build(g, op, 0, NULL, 1, &attr, type);
}

ir_value ir_build_parameter(ir_graph *g, int port)
{
    bug_if(!g->module || port < 0 || (size_t)port >= g->module->port_count, "no port %d", port);
    return build_index(g, OP_parameter, port, &g->module->port[port].type);
}

ir_value ir_build_variable(ir_graph *g, int variable)
{
    bug_if(!g->module || variable < 0 || (size_t)variable >= g->module->variable_count,
           "no variable %d", variable);
    return build_index(g, OP_variable, variable, &g->module->variable[variable].type);
}

static ir_value build_data(ir_graph *g, ir_type type, const void *bytes, size_t size)
{
    const ir_attr attr = {.name = ATTR_data, .data = {size, bytes}};
    return ir_build(g, OP_constant, 0, NULL, 1, &attr, &type);
}

ir_value ir_build_constant(ir_graph *g, ir_type type, const void *bytes)
{
    return build_data(g, type, bytes,
                      (size_t)ir_type_elements_at(&type, 1) * ir_dtype_size(type.dtype));
}

ir_value ir_build_scalar(ir_graph *g, ir_dtype dtype, double value)
{
    uint64_t bytes = 0;
    ir_array one = {ir_type_scalar(dtype), &bytes};
    ir_array_set(&one, 0, value);
    return build_data(g, one.type, &bytes, ir_dtype_size(dtype));
}

ir_value ir_build_fill(ir_graph *g, ir_type type, double value)
{
    return ir_build_broadcast_to(g, ir_build_scalar(g, type.dtype, value), &type);
}

ir_value ir_build_iota(ir_graph *g, ir_type type, int dimension)
{
    const ir_attr attr = ir_attr_of_int(ATTR_dimension, dimension);
    return ir_build(g, OP_iota, 0, NULL, 1, &attr, &type);
}

ir_value ir_build_dimension_size(ir_graph *g, ir_value x, int dimension)
{
    const ir_attr attr = ir_attr_of_int(ATTR_dimension, dimension);
    return ir_build(g, OP_dimension_size, 1, &x, 1, &attr, NULL);
}

/* ---- broadcasts and elementwise ------------------------------------------------------------- */

static bool broadcast_dim(ir_dim a, ir_dim b, ir_dim *out)
{
    const ir_dim one = ir_fixed(1);
    *out = ir_dim_equal(a, one) ? b : a;
    return ir_dim_equal(a, b) || ir_dim_equal(a, one) || ir_dim_equal(b, one);
}

bool ir_broadcast_shapes(const ir_type *a, const ir_type *b, ir_type *out_type)
{
    const ir_type *large = a->rank >= b->rank ? a : b, *small = large == a ? b : a;
    if (small->rank < 0) return false;
    ir_type t = ir_type_with_dtype(*large, a->dtype);
    int shift = large->rank - small->rank;
    for (int i = 0; i < small->rank; i++) {
        if (!broadcast_dim(small->dim[i], large->dim[i + shift], &t.dim[i + shift])) return false;
    }
    *out_type = t;
    return true;
}

ir_value ir_build_broadcast_in_dim(ir_graph *g, ir_value x, const ir_type *shape,
                                   const int64_t *dimensions)
{
    const ir_type *t = ir_type_of(g, x);
    const ir_type to = ir_type_with_dtype(*shape, t->dtype);
    const ir_attr attr = ir_attr_of_ints(ATTR_dimensions, t->rank, dimensions);
    return ir_build(g, OP_broadcast_in_dim, 1, &x, 1, &attr, &to);
}

ir_value ir_build_broadcast_to(ir_graph *g, ir_value x, const ir_type *shape)
{
    const ir_type *t = ir_type_of(g, x);
    if (ir_type_same_shape(t, shape)) return x;
    int64_t dimensions[IR_MAX_RANK];
    for (int i = 0; i < t->rank; i++) dimensions[i] = i + shape->rank - t->rank;
    return ir_build_broadcast_in_dim(g, x, shape, dimensions);
}

ir_value ir_build_unary(ir_graph *g, ir_op op, ir_value x)
{
    return ir_build(g, op, 1, &x, 0, NULL, NULL);
}

/* Brings `count` values to their common shape. */
static void broadcast_all(ir_graph *g, ir_op op, int count, ir_value *v)
{
    ir_type shape = *ir_type_of(g, v[0]);
    for (int i = 1; i < count; i++) {
        if (!ir_broadcast_shapes(&shape, ir_type_of(g, v[i]), &shape)) {
            refuse(g, op, count, v, "the shapes do not broadcast");
        }
    }
    for (int i = 0; i < count; i++) v[i] = ir_build_broadcast_to(g, v[i], &shape);
}

ir_value ir_build_binary(ir_graph *g, ir_op op, ir_value a, ir_value b)
{
    ir_value in[2] = {a, b};
    broadcast_all(g, op, 2, in);
    return ir_build(g, op, 2, in, 0, NULL, NULL);
}

ir_value ir_build_binary_scalar(ir_graph *g, ir_op op, ir_value a, double b)
{
    return ir_build_binary(g, op, a, ir_build_scalar(g, ir_type_of(g, a)->dtype, b));
}

ir_value ir_build_compare(ir_graph *g, const char *direction, ir_value a, ir_value b)
{
    ir_value in[2] = {a, b};
    const ir_attr attr = ir_attr_of_text(ATTR_direction, direction);
    broadcast_all(g, OP_compare, 2, in);
    return ir_build(g, OP_compare, 2, in, 1, &attr, NULL);
}

ir_value ir_build_select(ir_graph *g, ir_value condition, ir_value a, ir_value b)
{
    ir_value in[3] = {condition, a, b};
    broadcast_all(g, OP_select, 3, in);
    return ir_build(g, OP_select, 3, in, 0, NULL, NULL);
}

ir_value ir_build_convert(ir_graph *g, ir_value x, ir_dtype dtype)
{
    const ir_type to = ir_type_with_dtype(*ir_type_of(g, x), dtype);
    return ir_type_of(g, x)->dtype == dtype ? x : ir_build(g, OP_convert, 1, &x, 0, NULL, &to);
}
