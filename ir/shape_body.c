/* shape_body.c: shape rules of operations with several results or with graphs as attributes. */
#include "ir/graph.h"
#include "ir/shape.h"

/* The type of parameter `index` of a body; NULL when the body does not use it. */
static const ir_type *find_parameter(const ir_graph *body, int index)
{
    for (size_t v = 0; v < body->count; v++) {
        const ir_node *n = &body->node[v];
        if (n->op == OP_parameter && ir_attr_int(n, ATTR_index, -1) == index) return &n->type;
    }
    return NULL;
}

static bool check_parameter_count(shape_call *c, const ir_graph *body, const char *what)
{
    for (size_t v = 0; v < body->count; v++) {
        const ir_node *n = &body->node[v];
        if (n->op == OP_parameter && ir_attr_int(n, ATTR_index, -1) >= c->n.in_count) {
            return shape_problem(c, "the %s has more parameters than there are operands", what);
        }
    }
    return true;
}

static bool check_parameter(shape_call *c, const ir_graph *body, int i, const char *what)
{
    const ir_type *t = find_parameter(body, i);
    if (!t || ir_type_equal(t, shape_in(c, i))) return true;
    return shape_problem(c, "parameter %d of the %s: expected %s, found %s", i, what,
                         shape_show(c, shape_in(c, i)), shape_show(c, t));
}

static bool read_body(shape_call *c, ir_attr_name name, size_t outputs, const ir_graph **out_body)
{
    const ir_graph *body = ir_attr_find(&c->n, name)->graph;
    if (!body) return shape_problem(c, "%s: no graph", ir_attr_name_text(name));
    if (body->output_count < outputs) {
        return shape_problem(c, "the %s: expected %zu outputs, found %zu", ir_attr_name_text(name),
                             outputs, body->output_count);
    }
    for (size_t i = 0; i < body->output_count; i++) {
        ir_value v = body->output[i].value;
        if (v < 0 || (size_t)v >= body->count) return shape_problem(c, "an output is no value");
    }
    *out_body = body;
    return check_parameter_count(c, body, ir_attr_name_text(name));
}

static bool check_output(shape_call *c, const ir_graph *body, int i)
{
    const ir_type *t = ir_type_of(body, body->output[i].value);
    if (ir_type_equal(t, shape_in(c, i))) return true;
    return shape_problem(c, "output %d of the body: expected %s, found %s", i,
                         shape_show(c, shape_in(c, i)), shape_show(c, t));
}

static void set_tuple(shape_call *c, int count, const ir_type *element)
{
    c->n.type = ir_type_tuple(c->g->arena, count, element);
}

static bool check_while(shape_call *c)
{
    const ir_graph *condition, *body;
    if (!read_body(c, ATTR_condition, 1, &condition) ||
        !read_body(c, ATTR_body, (size_t)c->n.in_count, &body)) {
        return false;
    }
    const ir_type truth = ir_type_scalar(DTYPE_i1);
    if (condition->output_count != 1 ||
        !ir_type_equal(ir_type_of(condition, condition->output[0].value), &truth)) {
        return shape_problem(c, "the condition: expected one output i1[]");
    }
    if (body->output_count != (size_t)c->n.in_count) {
        return shape_problem(c, "the body: expected %d outputs, found %zu", c->n.in_count,
                             body->output_count);
    }
    for (int i = 0; i < c->n.in_count; i++) {
        if (!check_parameter(c, condition, i, "condition") ||
            !check_parameter(c, body, i, "body") || !check_output(c, body, i)) {
            return false;
        }
    }
    return true;
}

static bool check_sort(shape_call *c)
{
    const ir_type *x = shape_in(c, 0);
    for (int i = 1; i < c->n.in_count; i++) {
        if (!ir_type_same_shape(x, shape_in(c, i))) {
            return shape_problem(c, "expected operands of one shape, found %s and %s",
                                 shape_show(c, x), shape_show(c, shape_in(c, i)));
        }
    }
    return shape_need_range(c, "dimension", ir_attr_int(&c->n, ATTR_dimension, -1), 0, x->rank);
}

bool shape_rule_tuple(shape_call *c)
{
    if (c->n.in_count < 1) return shape_problem(c, "expected operands");
    if (!(c->n.op == OP_while ? check_while(c) : check_sort(c))) return false;
    ir_type *element = arena_array(c->g->arena, ir_type, (size_t)c->n.in_count);
    for (int i = 0; i < c->n.in_count; i++) element[i] = *shape_in(c, i);
    set_tuple(c, c->n.in_count, element);
    return true;
}

uint8_t ir_scan_unit(const ir_node *scan)
{
    const int64_t ragged = ir_attr_int(scan, ATTR_ragged, 0);
    return ragged > 0 && ragged <= IR_MAX_RAGGED ? (uint8_t)(UNIT_values + ragged - 1) : 0;
}

bool ir_scan_is_sliced(const ir_node *scan, const ir_type *operand, const ir_type *parameter)
{
    const uint8_t unit = ir_scan_unit(scan);
    if (unit) return operand->rank > 0 && operand->dim[0].batch == unit;
    return parameter->rank < operand->rank;
}

static ir_value behind_views(const ir_graph *g, ir_value v)
{
    while (g->node[v].op == OP_reshape) v = g->node[v].in[0];
    return v;
}

bool ir_scan_slices(const ir_graph *around, const ir_node *scan, ir_value v)
{
    const ir_graph *body = ir_attr_find(scan, ATTR_body)->graph;
    v = behind_views(body, v);
    const int64_t carried = ir_attr_int(scan, ATTR_carried, 0), index = ir_attr_int(&body->node[v], ATTR_index, 0);
    if (body->node[v].op == OP_parameter)
        return index >= carried && ir_scan_is_sliced(scan, ir_type_of(around, scan->in[index]), &body->node[v].type);
    for (size_t i = (size_t)carried; i < body->output_count; i++)
        if (behind_views(body, body->output[i].value) == v) return true;
    return false;
}

/* [length] + t; over ragged rows [V,...] of [N,...]: a step has the rows that are long enough. */
bool ir_scan_stack_type(const ir_node *scan, const ir_type *t, ir_type *out)
{
    const uint8_t unit = ir_scan_unit(scan);
    if (unit) {
        *out = *t;
        if (t->rank < 1 || !ir_dim_equal(t->dim[0], ir_batch(1))) return false;
        out->dim[0].batch = unit;
        return true;
    }
    if (t->rank < 0 || t->rank == IR_MAX_RANK) return false;
    *out = (ir_type){.dtype = t->dtype, .rank = t->rank + 1};
    out->dim[0] = ir_fixed(ir_attr_int(scan, ATTR_length, 0));
    for (int i = 0; i < t->rank; i++) out->dim[i + 1] = t->dim[i];
    return true;
}

static bool stack_type(shape_call *c, const ir_type *t, ir_type *out)
{
    return ir_scan_stack_type(&c->n, t, out) || shape_problem(c, "cannot stack %s by step", shape_show(c, t));
}

/* An operand after the carried ones is a constant of the body or has one slice per step. */
static bool check_step_operand(shape_call *c, const ir_graph *body, int i)
{
    const ir_type *t = find_parameter(body, i);
    ir_type stacked;
    if (!t || ir_type_equal(t, shape_in(c, i))) return true;
    if (!stack_type(c, t, &stacked)) return false;
    if (ir_type_equal(&stacked, shape_in(c, i))) return true;
    return shape_problem(c, "operand %d: expected %s or %s, found %s", i, shape_show(c, &stacked),
                         shape_show(c, t), shape_show(c, shape_in(c, i)));
}

bool shape_rule_scan(shape_call *c)
{
    int64_t length = ir_attr_int(&c->n, ATTR_length, -1),
            carried = ir_attr_int(&c->n, ATTR_carried, -1);
    const ir_graph *body;
    if (length < 0)
        return shape_problem(c, "length: expected at least 0, found %lld", (long long)length);
    const bool by_rows = ir_attr_int(&c->n, ATTR_by_rows, 0) != 0;
    if (!shape_need_range(c, "carried", carried, 0, (int64_t)c->n.in_count + 1) ||
        !read_body(c, ATTR_body, (size_t)carried, &body)) {
        return false;
    }
    if (by_rows && ((int64_t)body->output_count > carried || ir_attr_int(&c->n, ATTR_reverse, 0) != 0))
        return shape_problem(c, "a scan by rows stacks nothing and is not reversed");
    for (int i = 0; i < c->n.in_count; i++) {
        bool ok = i < carried || by_rows ? check_parameter(c, body, i, "body") && (i >= carried || check_output(c, body, i))
                                         : check_step_operand(c, body, i);
        if (!ok) return false;
    }
    ir_type *element = arena_array(c->g->arena, ir_type, body->output_count);
    for (size_t i = 0; i < body->output_count; i++) {
        const ir_type *t = ir_type_of(body, body->output[i].value);
        if ((int64_t)i < carried)
            element[i] = *t;
        else if (!stack_type(c, t, &element[i]))
            return false;
    }
    set_tuple(c, (int)body->output_count, element);
    return true;
}

bool shape_rule_get(shape_call *c)
{
    const ir_type *t = shape_in(c, 0);
    int64_t i = ir_attr_int(&c->n, ATTR_index, -1);
    if (t->rank >= 0) return shape_problem(c, "expected a tuple, found %s", shape_show(c, t));
    if (!shape_need_range(c, "index", i, 0, t->element_count)) return false;
    c->n.type = t->element[i];
    return true;
}
