/* gradient_scan.c: the rule of scan; gradient_scan.h says how it goes. The forward node is changed in place:
 * its body gets more outputs behind those it has, so what reads it stays as it is. */
#include "passes/gradient_scan.h"

#include <string.h>

int scan_grad_operand(const scan_grad *s, ir_value v)
{
    for (int i = 0; i < s->n->in_count; i++)
        if (s->param[i] == v) return i;
    return -1;
}

/* ---- the work graph
 * --------------------------------------------------------------------------------------------- */

static ir_value build_parameter(ir_graph *g, int64_t index, const ir_type *type)
{
    const ir_attr attr = {.name = ATTR_index, .i = index};
    return ir_build(g, OP_parameter, 0, NULL, 1, &attr, type);
}

static void copy_forward(scan_grad *s, const ir_graph *body)
{
    arena *a = s->c->scratch;
    ir_value *map = arena_array(a, ir_value, body->count + 1);
    s->work = ir_graph_new(s->c->g->arena, body->name, body->module);
    s->work->module = s->c->g->module;
    for (size_t v = 0; v < body->count; v++) {
        const ir_node *n = &body->node[v];
        const int64_t i = n->op == OP_parameter ? ir_attr_int(n, ATTR_index, 0) : -1;
        if (i >= 0 && s->param[i] != IR_NONE) {
            map[v] = s->param[i];
            continue;
        }
        s->work->origin = n->origin;
        map[v] = ir_graph_copy_node(s->work, body, (ir_value)v, map);
        if (i < 0) continue;
        s->param[i] = map[v];
        s->sliced[i] = i >= s->carried && ir_scan_is_sliced(s->n, ir_type_of(s->c->g, s->n->in[i]), &n->type);
    }
    s->forward = (ir_value)s->work->count;
    for (int k = 0; k < s->outputs; k++) s->output[k] = map[body->output[k].value];
}

static ir_value sum_all(ir_graph *g, ir_value x)
{
    static const int64_t all[IR_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    return ir_build_reduce(g, "add", x, ir_type_of(g, x)->rank, all, false);
}

/* The scalar whose gradient is that of the outputs under their adjoints. */
static ir_value build_loss(scan_grad *s)
{
    ir_graph *g = s->work;
    ir_value loss = IR_NONE;
    for (int k = 0; k < s->outputs; k++) {
        const ir_type type = *ir_type_of(g, s->output[k]);
        const bool reached = k < s->carried || s->c->element_adjoint[s->v][k] != IR_NONE;
        if (!reached || !ir_dtype_is_float(type.dtype)) continue;
        s->seed[k] = build_parameter(g, s->n->in_count + k, &type);
        ir_value part = sum_all(g, ir_build_binary(g, OP_multiply, s->output[k], s->seed[k]));
        if (loss != IR_NONE) part = ir_build_convert(g, part, ir_type_of(g, loss)->dtype);
        loss = loss == IR_NONE ? part : ir_build_binary(g, OP_add, loss, part);
    }
    return loss;
}

static bool differentiate(scan_grad *s)
{
    const int most = s->n->in_count;
    ir_value *of = arena_array(s->c->scratch, ir_value, (size_t)most + 1);
    ir_value *gradient = arena_array(s->c->scratch, ir_value, (size_t)most + 1);
    int *operand = arena_array(s->c->scratch, int, (size_t)most + 1), count = 0;
    const ir_value loss = build_loss(s);
    if (loss == IR_NONE) return false;
    for (int i = 0; i < most; i++) {
        if (s->param[i] == IR_NONE || !ir_dtype_is_float(ir_type_of(s->work, s->param[i])->dtype)) continue;
        if (i >= s->carried && !adj_wants(s->c, s->n, i)) continue;
        operand[count] = i;
        of[count++] = s->param[i];
    }
    if (!gradient_build(s->work, loss, count, of, gradient, s->c->diag)) {
        s->c->good = false;
        return false;
    }
    for (int i = 0; i < count; i++) s->gradient[operand[i]] = gradient[i];
    return true;
}

/* ---- what the backward body needs
 * --------------------------------------------------------------------------------- */

static bool is_constant(const scan_grad *s, ir_value v)
{
    double number;
    return ir_is_filled(s->work, v, &number);
}

bool scan_grad_has_stack(const scan_grad *s, ir_value v)
{
    ir_type stacked;
    return ir_scan_stack_type(s->n, ir_type_of(s->work, v), &stacked);
}

/* Cheaper to compute again than to store at every step, or not to be stored. */
static bool is_cheap(const scan_grad *s, ir_value v)
{
    const ir_node *n = &s->work->node[v];
    if (!scan_grad_has_stack(s, v)) return true;
    switch (ir_op_class(n->op)) {
    case CLASS_SOURCE:
        return n->op != OP_rng_philox;
    case CLASS_MOVE:
        return n->op != OP_gather;
    case CLASS_VIEW:
        return true;
    case CLASS_MAP:
        break;
    case CLASS_REDUCE:
    case CLASS_CONTRACT:
    case CLASS_NEST:
    case CLASS_TUPLE:
        return false;
    }
    if (is_constant(s, v)) return true;
    if (n->op == OP_negate || n->op == OP_not) return true;
    if (n->op != OP_add && n->op != OP_subtract && n->op != OP_multiply) return false;
    return is_constant(s, n->in[0]) || is_constant(s, n->in[1]);
}

static void mark_wanted(scan_grad *s)
{
    for (int i = 0; i < s->n->in_count; i++) {
        const ir_value g = s->gradient[i];
        if (g == IR_NONE) continue;
        const bool constant = i >= s->carried && !s->sliced[i];
        s->lifted[i] = constant && scan_grad_can_lift(s, g);
        if (s->lifted[i]) {
            scan_grad_mark_lifted(s, g);
            continue;
        }
        s->inside[g] = true;
        if (s->sliced[i]) s->stacked[g] = true;
    }
    for (ir_value v = (ir_value)s->work->count - 1; v >= 0; v--) {
        if (!s->inside[v]) continue;
        const ir_node *n = &s->work->node[v];
        const int operand = n->op == OP_parameter ? scan_grad_operand(s, v) : -1;
        if (n->op == OP_parameter) {
            s->residual[v] = s->residual[v] || (operand >= 0 && operand < s->carried);
        } else if (v < s->forward && (s->residual[v] || !is_cheap(s, v))) {
            s->residual[v] = true;
        } else {
            for (int i = 0; i < n->in_count; i++) s->inside[n->in[i]] = true;
        }
    }
}

/* ---- the forward scan with residuals
 * -------------------------------------------------------------------------------- */

static void extend_forward(scan_grad *s)
{
    ir_graph *g = s->c->g;
    arena *a = g->arena;
    ir_graph *body = ir_graph_new(a, s->work->name, s->work->module);
    const ir_graph *old = ir_attr_find(s->n, ATTR_body)->graph;
    ir_value *map = arena_array(s->c->scratch, ir_value, s->work->count + 1);
    ir_type *element = arena_array(a, ir_type, (size_t)s->outputs + (size_t)s->forward + 1);
    int count = 0;
    for (ir_value v = 0; v < s->forward; v++) {
        body->origin = s->work->node[v].origin;
        map[v] = ir_graph_copy_node(body, s->work, v, map);
    }
    for (; count < s->outputs; count++) {
        ir_graph_add_output(body, old->output[count].name, map[s->output[count]]);
        element[count] = s->n->type.element[count];
    }
    for (ir_value v = 0; v < s->forward; v++) {
        if (!s->residual[v] || scan_grad_part(s, v) >= 0) continue;
        ir_scan_stack_type(s->n, ir_type_of(s->work, v), &element[count]);
        s->residual_output[v] = count++;
        ir_graph_add_output(body, "residual", map[v]);
    }
    if (s->joined_count > 0) {
        const ir_value joined = scan_grad_join_parts(s, body, map);
        ir_scan_stack_type(s->n, ir_type_of(body, joined), &element[count]);
        s->joined_output = count++;
        ir_graph_add_output(body, "residual", joined);
    }
    ir_node *node = &g->node[s->v];
    ir_attr *attr = arena_copy(a, node->attr, (size_t)node->attr_count * sizeof *attr);
    for (int i = 0; i < node->attr_count; i++)
        if (attr[i].name == ATTR_body) attr[i].graph = body;
    node->attr = attr;
    node->type = ir_type_tuple(a, count, element);
}

static int64_t columns_of(const scan_grad *s, ir_value v)
{
    const ir_type *t = ir_type_of(s->work, v);
    return t->dim[t->rank - 1].count;
}

ir_value scan_grad_stack(const scan_grad *s, ir_value v)
{
    ir_graph *g = s->c->g;
    const int part = scan_grad_part(s, v);
    if (part >= 0) return scan_grad_take_part(g, ir_build_get(g, s->v, s->joined_output), part, columns_of(s, v));
    if (v >= s->forward) return ir_build_get(g, s->back, s->stack_output[v]);
    if (s->residual[v]) return ir_build_get(g, s->v, s->residual_output[v]);
    return s->n->in[scan_grad_operand(s, v)];
}

/* ---- the backward scan
 * ---------------------------------------------------------------------------------------------- */

typedef struct back_scan {
    ir_graph *body;
    ir_value *in;
    int in_count, carried;
} back_scan;

static ir_value add_operand(back_scan *b, ir_value outer, const ir_type *inside)
{
    b->in[b->in_count] = outer;
    return build_parameter(b->body, b->in_count++, inside);
}

static ir_value zeros_like(ir_graph *g, const ir_graph *from, ir_value v)
{
    return ir_build_fill(g, *ir_type_of(from, v), 0);
}

/* Carried: the adjoints of the float states, then the sums for constants that are not lifted. */
static void add_carried(scan_grad *s, back_scan *b, ir_value *out_sum)
{
    ir_graph *g = s->c->g;
    for (int k = 0; k < s->carried; k++) {
        if (s->seed[k] == IR_NONE) continue;
        const ir_value known = s->c->element_adjoint[s->v][k];
        const ir_value start = known != IR_NONE ? known : zeros_like(g, s->work, s->seed[k]);
        s->map[s->seed[k]] = add_operand(b, start, ir_type_of(s->work, s->seed[k]));
    }
    for (int i = s->carried; i < s->n->in_count; i++) {
        out_sum[i] = IR_NONE;
        if (s->gradient[i] == IR_NONE || s->sliced[i] || s->lifted[i]) continue;
        out_sum[i] = add_operand(b, zeros_like(g, s->work, s->param[i]), ir_type_of(s->work, s->param[i]));
    }
    b->carried = b->in_count;
}

static void add_inputs(scan_grad *s, back_scan *b)
{
    for (int k = s->carried; k < s->outputs; k++) {
        if (s->seed[k] == IR_NONE) continue;
        s->map[s->seed[k]] = add_operand(b, s->c->element_adjoint[s->v][k], ir_type_of(s->work, s->seed[k]));
    }
    ir_value joined = IR_NONE;
    if (s->joined_count > 0) {
        ir_type all = *ir_type_of(s->work, s->joined[0]);
        all.dim[all.rank - 1].count *= s->joined_count;
        joined = add_operand(b, ir_build_get(s->c->g, s->v, s->joined_output), &all);
    }
    for (ir_value v = 0; v < s->forward; v++) {
        if (!s->inside[v]) continue;
        const int part = scan_grad_part(s, v);
        if (part >= 0) {
            s->map[v] = scan_grad_take_part(b->body, joined, part, columns_of(s, v));
            continue;
        }
        const bool operand = s->work->node[v].op == OP_parameter && !s->residual[v];
        if (!operand && !s->residual[v]) continue;
        s->map[v] = add_operand(b, scan_grad_stack(s, v), ir_type_of(s->work, v));
    }
}

static void add_outputs(scan_grad *s, back_scan *b, const ir_value *sum)
{
    ir_graph *body = b->body;
    int count = 0;
    for (int k = 0; k < s->carried; k++) {
        if (s->seed[k] == IR_NONE) continue;
        const ir_value next =
            s->gradient[k] == IR_NONE ? zeros_like(body, s->work, s->seed[k]) : s->map[s->gradient[k]];
        ir_graph_add_output(body, "adjoint", next);
        count++;
    }
    for (int i = s->carried; i < s->n->in_count; i++) {
        if (sum[i] == IR_NONE) continue;
        ir_graph_add_output(body, "sum", ir_build_binary(body, OP_add, sum[i], s->map[s->gradient[i]]));
        count++;
    }
    for (ir_value v = 0; v < (ir_value)s->work->count; v++) {
        if (!s->stacked[v]) continue;
        s->stack_output[v] = count++;
        ir_graph_add_output(body, "step", s->map[v]);
    }
}

static void build_back(scan_grad *s)
{
    ir_graph *g = s->c->g;
    const size_t most = (size_t)s->n->in_count * 2 + (size_t)s->outputs + s->work->count + 1;
    back_scan b = {.body = ir_graph_new(g->arena, "back", g->module),
                   .in = arena_array(s->c->scratch, ir_value, most)};
    ir_value *sum = arena_array(s->c->scratch, ir_value, (size_t)s->n->in_count + 1);
    add_carried(s, &b, sum);
    add_inputs(s, &b);
    for (ir_value v = 0; v < (ir_value)s->work->count; v++) {
        if (!s->inside[v] || s->map[v] != IR_NONE) continue;
        b.body->origin = s->work->node[v].origin;
        s->map[v] = ir_graph_copy_node(b.body, s->work, v, s->map);
    }
    add_outputs(s, &b, sum);
    if (ir_scan_unit(s->n)) b.in[b.in_count++] = s->n->in[s->n->in_count - 1];
    const ir_attr attr[] = {{.name = ATTR_reverse, .i = 1},
                            {.name = ATTR_body, .graph = b.body},
                            {.name = ATTR_length, .i = ir_attr_int(s->n, ATTR_length, 0)},
                            {.name = ATTR_carried, .i = b.carried},
                            {.name = ATTR_ragged, .i = ir_attr_int(s->n, ATTR_ragged, 0)}};
    const int first = s->reverse ? 1 : 0, last = ir_scan_unit(s->n) ? 5 : 4;
    s->back = ir_build(g, OP_scan, b.in_count, b.in, last - first, attr + first, NULL);
    int element = 0;
    for (int k = 0; k < s->carried; k++)
        if (s->seed[k] != IR_NONE) adj_add(s->c, s->n->in[k], ir_build_get(g, s->back, element++));
    for (int i = s->carried; i < s->n->in_count; i++) {
        if (s->gradient[i] == IR_NONE) continue;
        const ir_value whole = s->lifted[i]   ? scan_grad_build_lifted(s, s->gradient[i])
                               : s->sliced[i] ? scan_grad_stack(s, s->gradient[i])
                                              : ir_build_get(g, s->back, element++);
        adj_add(s->c, s->n->in[i], whole);
    }
}

static ir_value *make_values(arena *a, size_t count)
{
    ir_value *list = arena_array(a, ir_value, count + 1);
    for (size_t i = 0; i < count; i++) list[i] = IR_NONE;
    return list;
}

void grad_scan(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    (void)dy;
    if (ir_attr_int(n, ATTR_by_rows, 0) != 0) {
        adj_refuse(c, n, "it has as many steps as the batch has rows");
        return;
    }
    arena *a = c->scratch;
    const ir_graph *body = ir_attr_find(n, ATTR_body)->graph;
    const size_t operands = (size_t)n->in_count, outputs = body->output_count;
    scan_grad s = {.c = c,
                   .v = v,
                   .n = n,
                   .carried = (int)ir_attr_int(n, ATTR_carried, 0),
                   .outputs = (int)outputs,
                   .reverse = ir_attr_int(n, ATTR_reverse, 0) != 0};
    s.param = make_values(a, operands);
    s.gradient = make_values(a, operands);
    s.sliced = arena_array(a, bool, operands + 1);
    s.lifted = arena_array(a, bool, operands + 1);
    s.output = make_values(a, outputs);
    s.seed = make_values(a, outputs);
    copy_forward(&s, body);
    if (!differentiate(&s)) return;
    const size_t count = s.work->count + 1;
    s.inside = arena_array(a, bool, count);
    s.residual = arena_array(a, bool, count);
    s.stacked = arena_array(a, bool, count);
    s.residual_output = arena_array(a, int, count);
    s.stack_output = arena_array(a, int, count);
    s.map = make_values(a, count);
    mark_wanted(&s);
    scan_grad_join(&s);
    extend_forward(&s);
    build_back(&s);
}
