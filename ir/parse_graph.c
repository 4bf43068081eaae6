/* parse_graph.c: reading graphs: nodes, results, kernels and places. */
#include "base/map.h"
#include "ir/graph.h"
#include "ir/parse.h"

#include <string.h>

typedef struct scope {
    parser *p;
    ir_graph *g;
    map values; /* %name to its node's number + 1 */
} scope;

bool parse_variable(parser *p, int *out_variable)
{
    int64_t i = 0;
    if (p->lex.token.kind != LEX_at) {
        if (!parse_int_within(p, 0, INT32_MAX, &i)) return false;
        *out_variable = (int)i;
        return true;
    }
    const char *name = lex_copy(p->arena, &p->lex.token);
    for (size_t k = 0; k < p->module->variable_count; k++) {
        if (strcmp(p->module->variable[k].name, name) != 0) continue;
        lex_next(&p->lex);
        *out_variable = (int)k;
        return true;
    }
    return parse_error(p, "no variable @%s", name);
}

static bool parse_value(scope *s, ir_value *out_value)
{
    parser *p = s->p;
    if (p->lex.token.kind != LEX_value) return parse_error(p, "expected a value, as %%0");
    const char *name = lex_copy(p->arena, &p->lex.token);
    const char *entry = map_find(&s->values, name);
    if (!entry) return parse_error(p, "no value %%%s before this", name);
    lex_next(&p->lex);
    ir_value v = IR_NONE;
    memcpy(&v, entry, sizeof v);
    *out_value = v;
    return true;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

typedef struct node_text {
    lexer op_at, data_at; /* data is read when the type is known */
    bool has_data, has_type;
    ir_op op;
    ir_value *in;
    size_t in_count, in_capacity;
    ir_attr *attr;
    size_t attr_count, attr_capacity;
    ir_type type;
    int64_t origin;
} node_text;

static bool parse_ints(parser *p, ir_attr *attr)
{
    int64_t *item = NULL;
    size_t count = 0, capacity = 0;
    if (!parse_mark(p, '[')) return false;
    while (!parse_accept(p, ']')) {
        int64_t i = 0;
        if (count && !parse_mark(p, ',')) return false;
        if (!parse_int(p, &i)) return false;
        arena_push(p->arena, item, count, capacity, i);
    }
    attr->ints.count = (int)count;
    attr->ints.item = item;
    return true;
}

static bool parse_index(parser *p, ir_attr *attr)
{
    int variable = 0;
    if (p->lex.token.kind != LEX_at) return parse_int(p, &attr->i);
    if (!parse_variable(p, &variable)) return false;
    attr->i = variable;
    return true;
}

static bool parse_body(parser *p, ir_attr *attr)
{
    const char *name = NULL;
    if (p->depth == PARSE_DEPTH_LIMIT)
        return parse_error(p, "bodies more than %d deep", (int)PARSE_DEPTH_LIMIT);
    if (!parse_word(p, "graph") || !parse_name(p, &name)) return false;
    attr->graph = ir_graph_new(p->arena, name, p->module);
    p->depth++;
    bool ok = parse_graph(p, attr->graph);
    p->depth--;
    return ok;
}

static bool find_attr(parser *p, ir_attr_name *out_name)
{
    for (int i = 0; i < ATTR_COUNT; i++) {
        if (!lex_is_word(&p->lex, ir_attr_name_text((ir_attr_name)i))) continue;
        *out_name = (ir_attr_name)i;
        lex_next(&p->lex);
        return true;
    }
    return parse_error(p, "expected the name of an attribute");
}

static bool parse_attr(parser *p, node_text *n)
{
    ir_attr a = {0};
    bool ok = false;
    if (!find_attr(p, &a.name) || !parse_mark(p, '=')) return false;
    switch (ir_attr_kind_of(a.name)) {
    case ATTR_INT: ok = parse_index(p, &a); break;
    case ATTR_INTS: ok = parse_ints(p, &a); break;
    case ATTR_FLOAT: ok = parse_double(p, &a.f); break;
    case ATTR_TEXT: ok = parse_name(p, &a.text); break;
    case ATTR_DATA:
        n->data_at = p->lex;
        n->has_data = true;
        ok = parse_skip_data(p);
        break;
    case ATTR_GRAPH: ok = parse_body(p, &a); break;
    }
    if (ok) arena_push(p->arena, n->attr, n->attr_count, n->attr_capacity, a);
    return ok;
}

static bool parse_attrs(parser *p, node_text *n)
{
    if (!parse_accept(p, '{')) return true;
    while (!parse_accept(p, '}')) {
        if (n->attr_count && !parse_mark(p, ',')) return false;
        if (!parse_attr(p, n)) return false;
    }
    return true;
}

/* Reads the data again, now as elements of the node's type. */
static bool finish_data(parser *p, node_text *n)
{
    if (!n->has_data) return true;
    if (!n->has_type) return parse_error_at(p, &n->op_at, "expected a stated type");
    const lexer after = p->lex;
    for (size_t i = 0; i < n->attr_count; i++) {
        ir_attr *a = &n->attr[i];
        if (ir_attr_kind_of(a->name) != ATTR_DATA) continue;
        p->lex = n->data_at;
        if (!parse_data(p, n->type.dtype, &a->data.bytes, &a->data.size)) return false;
    }
    p->lex = after;
    return true;
}

static bool parse_tail(parser *p, node_text *n)
{
    n->has_type = parse_accept(p, ':');
    if (n->has_type && !parse_type(p, &n->type)) return false;
    if (p->lex.token.kind != LEX_at) return true;
    lexer number = p->lex;
    number.token.kind = LEX_number;
    const lexer here = p->lex;
    p->lex = number;
    if (!parse_int_within(p, 0, INT32_MAX, &n->origin)) return false;
    if ((size_t)n->origin >= p->module->origin_count)
        return parse_error_at(p, &here, "no such origin");
    return true;
}

static bool parse_operands(scope *s, node_text *n)
{
    parser *p = s->p;
    while (p->lex.token.kind == LEX_value) {
        ir_value v = IR_NONE;
        lexer ahead = p->lex;
        lex_next(&ahead);
        if (lex_is_mark(&ahead, '='))
            return n->in_count == 0 || parse_error(p, "expected an operand");
        if (!parse_value(s, &v)) return false;
        arena_push(p->arena, n->in, n->in_count, n->in_capacity, v);
        if (!parse_accept(p, ',')) return true;
    }
    return n->in_count == 0 || parse_error(p, "expected an operand");
}

static bool append_node(scope *s, node_text *n, ir_value *out_value)
{
    parser *p = s->p;
    ir_type type;
    const char *problem;
    int in_count = (int)n->in_count, attr_count = (int)n->attr_count;
    if (!ir_infer(s->g, n->op, in_count, n->in, attr_count, n->attr, n->has_type ? &n->type : NULL,
                  &type, &problem)) {
        return parse_error_at(p, &n->op_at, "%s: %s", ir_op_name(n->op), problem);
    }
    if (n->has_type && !ir_type_equal(&type, &n->type)) {
        text t = {0};
        ir_type_print(&type, &t);
        parse_error_at(p, &n->op_at, "%s: its type is %s", ir_op_name(n->op), text_get(&t));
        text_done(&t);
        return false;
    }
    *out_value = ir_graph_append(s->g, n->op, in_count, n->in, attr_count, n->attr, &type);
    s->g->node[*out_value].origin = (ir_origin_id)n->origin;
    return true;
}

static bool parse_node(scope *s)
{
    parser *p = s->p;
    const char *name = lex_copy(p->arena, &p->lex.token), *op;
    if (map_has(&s->values, name)) return parse_error(p, "two values %%%s", name);
    lex_next(&p->lex);
    node_text n = {0};
    if (!parse_mark(p, '=')) return false;
    n.op_at = p->lex;
    if (!parse_name(p, &op)) return false;
    if (!ir_op_find(op, &n.op)) return parse_error_at(p, &n.op_at, "no operation \"%s\"", op);
    if (!parse_operands(s, &n) || !parse_attrs(p, &n) || !parse_tail(p, &n) || !finish_data(p, &n))
        return false;
    ir_value v = IR_NONE;
    if (!append_node(s, &n, &v)) return false;
    map_set(&s->values, name, arena_copy(p->arena, &v, sizeof v));
    return true;
}

/* ---- results -------------------------------------------------------------------------------- */

static bool parse_output(scope *s)
{
    const char *name = NULL;
    ir_value v = IR_NONE;
    if (!parse_name(s->p, &name) || !parse_mark(s->p, '=') || !parse_value(s, &v)) return false;
    ir_graph_add_output(s->g, name, v);
    return true;
}

static bool parse_update(scope *s)
{
    const lexer here = s->p->lex;
    int variable = 0;
    ir_value v = IR_NONE;
    if (!parse_variable(s->p, &variable) || !parse_mark(s->p, '=') || !parse_value(s, &v))
        return false;
    size_t count = s->g->update_count;
    ir_graph_add_update(s->g, variable, v);
    return s->g->update_count > count || parse_error_at(s->p, &here, "two updates of one variable");
}

static bool parse_gradient(scope *s)
{
    int variable = 0;
    ir_value v = IR_NONE;
    if (!parse_variable(s->p, &variable) || !parse_mark(s->p, '=')) return false;
    if (lex_is_word(&s->p->lex, "none"))
        lex_next(&s->p->lex);
    else if (!parse_value(s, &v))
        return false;
    ir_graph_add_gradient(s->g, variable, v);
    return true;
}

static bool parse_order(scope *s)
{
    ir_order order = {IR_NONE, IR_NONE};
    if (!parse_value(s, &order.value) || !parse_word(s->p, "after") || !parse_value(s, &order.after)) return false;
    arena_push(s->g->arena, s->g->order, s->g->order_count, s->g->order_capacity, order);
    return true;
}

static bool parse_loss(scope *s) { return parse_value(s, &s->g->loss); }

/* ---- kernels and places --------------------------------------------------------------------- */

static bool parse_values(scope *s, const char *what, int *out_count, ir_value **out_values)
{
    parser *p = s->p;
    ir_value *value = NULL;
    size_t count = 0, capacity = 0;
    if (!parse_word(p, what) || !parse_mark(p, '(')) return false;
    while (!parse_accept(p, ')')) {
        ir_value v = IR_NONE;
        if (count && !parse_mark(p, ',')) return false;
        if (!parse_value(s, &v)) return false;
        arena_push(p->arena, value, count, capacity, v);
    }
    *out_count = (int)count;
    *out_values = value;
    return true;
}

static bool parse_kernel(scope *s)
{
    parser *p = s->p;
    ir_kernel k = {.main = IR_NONE};
    int64_t number = 0, columns = 0;
    int kind = KERNEL_loop;
    if (!parse_int_within(p, 0, INT32_MAX, &number)) return false;
    while (kind <= KERNEL_nest && !lex_is_word(&p->lex, ir_kernel_kind_name((ir_kernel_kind)kind)))
        kind++;
    if (kind > KERNEL_nest) return parse_error(p, "expected a kind of kernel");
    lex_next(&p->lex);
    k.kind = (ir_kernel_kind)kind;
    if (!parse_values(s, "roots", &k.root_count, &k.root)) return false;
    if (lex_is_word(&p->lex, "main")) {
        lex_next(&p->lex);
        if (!parse_value(s, &k.main)) return false;
    }
    if (lex_is_word(&p->lex, "columns")) {
        lex_next(&p->lex);
        if (!parse_int_within(p, 0, IR_MAX_RANK, &columns)) return false;
    }
    k.columns = (int)columns;
    if (!parse_values(s, "reads", &k.read_count, &k.read)) return false;
    arena_push(s->g->arena, s->g->kernel, s->g->kernel_count, s->g->kernel_capacity, k);
    return true;
}

static bool parse_kernels(scope *s)
{
    if (!parse_mark(s->p, '{')) return false;
    while (!parse_accept(s->p, '}')) {
        if (!parse_kernel(s)) return false;
    }
    return true;
}

static bool parse_place(scope *s)
{
    parser *p = s->p;
    ir_value v = IR_NONE;
    int64_t offset = 0;
    int space = SPACE_none;
    if (!parse_word(p, "place") || !parse_value(s, &v)) return false;
    while (space <= SPACE_constant && !lex_is_word(&p->lex, ir_space_name((ir_space)space)))
        space++;
    if (space > SPACE_constant) return parse_error(p, "expected a space, as batch");
    lex_next(&p->lex);
    if (!parse_int_within(p, 0, INT64_MAX, &offset)) return false;
    uint8_t unit = UNIT_rows;
    if (space == SPACE_batch) parse_unit(p, &unit);
    s->g->place[v] = (ir_place){(ir_space)space, offset, unit >= UNIT_values ? 1 + unit - UNIT_values : 0};
    return true;
}

static bool parse_places(scope *s)
{
    parser *p = s->p;
    ir_graph *g = s->g;
    if (g->place) return parse_error(p, "places twice");
    if (!parse_word(p, "fixed") || !parse_int_within(p, 0, INT64_MAX, &g->fixed_bytes) ||
        !parse_word(p, "batch") || !parse_int_within(p, 0, INT64_MAX, &g->batch_bytes)) {
        return false;
    }
    for (uint8_t unit = UNIT_rows; parse_unit(p, &unit) && unit >= UNIT_values;)
        if (!parse_int_within(p, 0, INT64_MAX, &g->ragged_bytes[unit - UNIT_values])) return false;
    if (!parse_mark(p, '{')) return false;
    g->place = arena_array(g->arena, ir_place, g->count);
    while (!parse_accept(p, '}')) {
        if (!parse_place(s)) return false;
    }
    return true;
}

/* ---- graphs --------------------------------------------------------------------------------- */

typedef struct statement {
    const char *word;
    bool (*parse)(scope *s);
} statement;

static const statement statements[] = {
    {"output", parse_output},     {"update", parse_update},   {"loss", parse_loss},
    {"gradient", parse_gradient}, {"kernels", parse_kernels}, {"places", parse_places},
    {"order", parse_order},
};

static bool parse_statement(scope *s)
{
    parser *p = s->p;
    if (p->lex.token.kind == LEX_value) {
        if (s->g->place) return parse_error(p, "a node after the places");
        return parse_node(s);
    }
    for (size_t i = 0; i < countof(statements); i++) {
        if (!lex_is_word(&p->lex, statements[i].word)) continue;
        lex_next(&p->lex);
        return statements[i].parse(s);
    }
    return parse_error(p, "expected a node, a result or \"}\"");
}

bool parse_graph(parser *p, ir_graph *g)
{
    scope s = {.p = p, .g = g, .values = {.arena = p->arena}};
    if (!parse_mark(p, '{')) return false;
    while (!parse_accept(p, '}')) {
        if (!parse_statement(&s)) return false;
    }
    return true;
}
