/* gradient.c: reverse-mode differentiation by a table of rules. Requires g->loss and a graph without kernels;
 * appends nodes and fills g->gradient; forward nodes stay as they are. Each made node has the origin of the
 * forward node it belongs to, so profiles name the layer.
 *
 * Ties and borders follow TensorFlow, since the conformance is to Keras on TensorFlow: maximum and minimum
 * give ties to the first operand, a maximum over dims shares among its ties, a maximum over windows gives all
 * to the first. A variable that the loss does not depend on has no gradient, and so no update, as in Keras.
 */
#include "passes/gradient.h"
#include "passes/optimizer.h"

#include <string.h>

typedef void (*grad_rule)(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy);

static const grad_rule grad_rules[OP_COUNT] = {
#define OP(name, class, in, shape, attrs, grad, ...) [OP_##name] = grad_##grad,
#include "ir/ops.def"
};

/* ---- for rules ------------------------------------------------------------------------------------------
 */

bool adj_wants(const grad_ctx *c, const ir_node *n, int i) { return c->wanted[n->in[i]]; }

ir_type adj_type(const grad_ctx *c, ir_value v) { return c->g->node[v].type; }

static void add_to(grad_ctx *c, ir_value *sum, const ir_type *type, ir_value gradient)
{
    bug_if(!ir_type_equal(type, ir_type_of(c->g, gradient)), "the gradient of a value has another type");
    *sum = *sum == IR_NONE ? gradient : adj_plus(c, *sum, gradient);
}

void adj_add(grad_ctx *c, ir_value to, ir_value gradient)
{
    if (!c->wanted[to]) return;
    const ir_type type = adj_type(c, to);
    add_to(c, &c->adjoint[to], &type, gradient);
}

void adj_refuse(grad_ctx *c, const ir_node *n, const char *why)
{
    bug_if(!c->diag, "%s: %s", ir_op_name(n->op), why);
    const ir_module *m = c->g->module;
    const char *layer = m && m->origin_count > 0 ? m->origin[n->origin].layer : NULL;
    if (c->good)
        diag_error(c->diag, layer && *layer ? layer : NULL,
                   "expected operations with a gradient, found %s: %s", ir_op_name(n->op), why);
    c->good = false;
}

ir_value adj_mul(grad_ctx *c, ir_value a, ir_value b) { return ir_build_binary(c->g, OP_multiply, a, b); }
ir_value adj_div(grad_ctx *c, ir_value a, ir_value b) { return ir_build_binary(c->g, OP_divide, a, b); }
ir_value adj_plus(grad_ctx *c, ir_value a, ir_value b) { return ir_build_binary(c->g, OP_add, a, b); }
ir_value adj_scale(grad_ctx *c, ir_value a, double b)
{
    return ir_build_binary_scalar(c->g, OP_multiply, a, b);
}
ir_value adj_offset(grad_ctx *c, ir_value a, double b) { return ir_build_binary_scalar(c->g, OP_add, a, b); }
ir_value adj_unary(grad_ctx *c, ir_op op, ir_value a) { return ir_build_unary(c->g, op, a); }
ir_value adj_negate(grad_ctx *c, ir_value a) { return adj_unary(c, OP_negate, a); }
ir_value adj_zeros(grad_ctx *c, const ir_type *type) { return ir_build_fill(c->g, *type, 0); }

/* ---- rules that are not about arithmetic
 * -------------------------------------------------------------------- */

/* No gradient flows: the result does not change with the operands, or only in steps. */
void grad_zero(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    (void)c, (void)v, (void)n, (void)dy;
}

void grad_none(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    (void)v, (void)dy;
    adj_refuse(c, n, "it has none");
}

void grad_get(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    const ir_value tuple = n->in[0];
    const int count = c->g->node[tuple].type.element_count;
    if (!c->element_adjoint[tuple]) {
        c->element_adjoint[tuple] = arena_array(c->scratch, ir_value, (size_t)count + 1);
        for (int i = 0; i < count; i++) c->element_adjoint[tuple][i] = IR_NONE;
    }
    const ir_type type = adj_type(c, v);
    add_to(c, &c->element_adjoint[tuple][ir_attr_int(n, ATTR_index, 0)], &type, dy);
}

/* Sorting again with the positions as first operand takes the gradients back to where the elements were. */
void grad_sort(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    (void)dy;
    ir_graph *g = c->g;
    const int64_t dimension = ir_attr_int(n, ATTR_dimension, 0);
    const ir_type position_type = ir_type_with_dtype(adj_type(c, n->in[0]), DTYPE_i32);
    const ir_value key[] = {n->in[0], ir_build_iota(g, position_type, (int)dimension)};
    const ir_value sorted = ir_build(g, OP_sort, 2, key, n->attr_count, n->attr, NULL);
    const ir_attr back = {.name = ATTR_dimension, .i = dimension};
    for (int i = 0; i < n->in_count; i++) {
        const ir_value de = c->element_adjoint[v][i];
        if (de == IR_NONE || !adj_wants(c, n, i)) continue;
        const ir_value pair[] = {ir_build_get(g, sorted, 1), de};
        adj_add(c, n->in[i], ir_build_get(g, ir_build(g, OP_sort, 2, pair, 1, &back, NULL), 1));
    }
}

/* ---- the walk
 * ------------------------------------------------------------------------------------------------- */

/* Forward: what depends on the values asked for, through operations that have a gradient. */
static void mark_wanted(grad_ctx *c, ir_value last, int count, const ir_value *of)
{
    for (int i = 0; i < count; i++) c->wanted[of[i]] = true;
    for (ir_value v = 0; v <= last; v++) {
        const ir_node *n = &c->g->node[v];
        const bool flows = n->type.rank < 0 || ir_dtype_is_float(n->type.dtype);
        if (!flows || grad_rules[n->op] == grad_zero) continue;
        for (int i = 0; i < n->in_count; i++) c->wanted[v] = c->wanted[v] || c->wanted[n->in[i]];
    }
}

static void walk_back(grad_ctx *c, ir_value last)
{
    for (ir_value v = last; v >= 0 && c->good; v--) {
        const ir_node n = c->g->node[v]; /* a copy: building moves the nodes */
        if (!c->wanted[v] || (c->adjoint[v] == IR_NONE && !c->element_adjoint[v])) continue;
        c->g->origin = n.origin;
        if (c->adjoint[v] != IR_NONE) c->adjoint[v] = gradient_join_pads(c, c->adjoint[v]);
        grad_rules[n.op](c, v, &n, c->adjoint[v]);
    }
}

bool gradient_build(ir_graph *g, ir_value loss, int count, const ir_value *of, ir_value *out_gradient,
                    diag *d)
{
    arena scratch = {0};
    const size_t size = (size_t)loss + 1;
    size_t reach = size;
    for (int i = 0; i < count; i++) reach = (size_t)base_max((int64_t)reach, of[i] + 1);
    grad_ctx c = {.g = g,
                  .scratch = &scratch,
                  .diag = d,
                  .good = true,
                  .wanted = arena_array(&scratch, bool, reach),
                  .adjoint = arena_array(&scratch, ir_value, reach),
                  .element_adjoint = arena_array(&scratch, ir_value *, reach)};
    const ir_origin_id origin = g->origin;
    for (size_t i = 0; i < reach; i++) c.adjoint[i] = IR_NONE;
    mark_wanted(&c, loss, count, of);
    if (c.wanted[loss]) c.adjoint[loss] = ir_build_fill(g, adj_type(&c, loss), 1);
    walk_back(&c, loss);
    for (int i = 0; i < count; i++) out_gradient[i] = c.adjoint[of[i]];
    g->origin = origin;
    arena_done(&scratch);
    return c.good;
}

void passes_gradient(ir_graph *g, ir_value loss, int count, const ir_value *of, ir_value *out_gradient)
{
    gradient_build(g, loss, count, of, out_gradient, NULL);
}

/* ---- the pass
 * ---------------------------------------------------------------------------------------------------- */

/* The trained variable that n reads, or, with stop_gradient, sets (SpectralNormalization's kernel); -1: none. */
static int find_trained(const ir_module *m, const ir_node *n)
{
    const bool stands = n->op == OP_variable || n->op == OP_stop_gradient;
    const int variable = stands && ir_dtype_is_float(n->type.dtype) ? (int)ir_attr_int(n, ATTR_index, -1) : -1;
    return variable >= 0 && m->variable[variable].trainable ? variable : -1;
}

/* Several nodes may stand for one variable: its gradient is the sum. */
static void add_binding(ir_graph *g, int variable, ir_value gradient)
{
    for (size_t i = 0; i < g->gradient_count; i++) {
        ir_binding *b = &g->gradient[i];
        if (b->variable != variable) continue;
        b->value = ir_build_binary(g, OP_add, b->value, gradient);
        return;
    }
    const ir_binding b = {variable, gradient};
    arena_push(g->arena, g->gradient, g->gradient_count, g->gradient_capacity, b);
}

/* Graph `gradients` leaves its gradients in variables, from which graph `apply_gradients` takes them. */
static void keep_gradients(ir_module *m, ir_graph *g)
{
    ir_graph *apply = ir_module_find_graph(m, "apply_gradients");
    for (size_t i = 0; i < g->gradient_count; i++) {
        const ir_binding *b = &g->gradient[i];
        const ir_variable w = m->variable[b->variable];
        const ir_variable v = {.name = arena_printf(m->arena, "%s_gradient", w.name),
                               .path = w.path,
                               .type = w.type,
                               .role = ROLE_gradient,
                               .initializer = ir_record_new(m->arena, "zeros")};
        const int kept = ir_module_add_variable(m, v);
        ir_graph_add_update(g, kept, ir_build_convert(g, b->value, w.type.dtype));
        const ir_binding taken = {b->variable, ir_build_variable(apply, kept)};
        arena_push(apply->arena, apply->gradient, apply->gradient_count, apply->gradient_capacity, taken);
    }
    g->gradient_count = 0;
}

bool pass_gradient(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)o;
    if (g->loss == IR_NONE || !m->optimizer) return true;
    arena scratch = {0};
    const size_t most = g->count;
    ir_value *of = arena_array(&scratch, ir_value, most), *gradient = arena_array(&scratch, ir_value, most);
    int *variable = arena_array(&scratch, int, most), count = 0;
    for (ir_value v = 0; v < (ir_value)g->count; v++) {
        variable[count] = find_trained(m, &g->node[v]);
        if (variable[count] >= 0) of[count++] = v;
    }
    const bool good = gradient_build(g, loss_scale_apply(m, g, g->loss), count, of, gradient, d);
    for (int i = 0; good && i < count; i++)
        if (gradient[i] != IR_NONE) add_binding(g, variable[i], gradient[i]);
    if (good && strcmp(g->name, "gradients") == 0) keep_gradients(m, g);
    arena_done(&scratch);
    return good;
}
