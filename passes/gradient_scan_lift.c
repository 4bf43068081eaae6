/* gradient_scan_lift.c: the gradient of a scan's constant as a few large products over all steps at once. */
#include "passes/gradient_scan.h"

#include <string.h>

static bool is_sum(const ir_node *n)
{
    return n->op == OP_reduce && strcmp(ir_attr_text(n, ATTR_kind), "add") == 0 &&
           !ir_attr_find(n, ATTR_splits);
}

/* Has a value for each step that can be had outside. */
static bool can_stack(const scan_grad *s, ir_value v)
{
    const ir_node *n = &s->work->node[v];
    if (!scan_grad_has_stack(s, v)) return false;
    if (v >= s->forward) return true;
    if (n->op == OP_parameter) {
        const int i = scan_grad_operand(s, v);
        return i < s->carried || s->sliced[i];
    }
    return ir_op_class(n->op) != CLASS_SOURCE;
}

/* The stack of a step's rows has the rows of all steps along one dim: only sums over it are sums over steps. */
static bool sums_rows(const scan_grad *s, const ir_node *n)
{
    return !ir_scan_unit(s->n) || n->type.rank == 0 || !n->type.dim[0].batch;
}

bool scan_grad_can_lift(const scan_grad *s, ir_value v)
{
    const ir_node *n = &s->work->node[v];
    if (v < s->forward) return false;
    switch (n->op) {
    case OP_add:
        return scan_grad_can_lift(s, n->in[0]) && scan_grad_can_lift(s, n->in[1]);
    case OP_transpose:
    case OP_reshape:
        return scan_grad_can_lift(s, n->in[0]);
    case OP_dot_general:
        return can_stack(s, n->in[0]) && can_stack(s, n->in[1]) && n->type.rank < IR_MAX_RANK && sums_rows(s, n);
    case OP_reduce:
        return is_sum(n) && can_stack(s, n->in[0]) && sums_rows(s, n);
    default:
        return false;
    }
}

static void mark_stacked(scan_grad *s, ir_value v)
{
    if (v >= s->forward) {
        s->stacked[v] = s->inside[v] = true;
        return;
    }
    const int operand = scan_grad_operand(s, v);
    s->residual[v] = operand < s->carried;
}

void scan_grad_mark_lifted(scan_grad *s, ir_value v)
{
    const ir_node *n = &s->work->node[v];
    const bool leaf = n->op == OP_dot_general || n->op == OP_reduce;
    for (int i = 0; i < n->in_count; i++) {
        if (leaf)
            mark_stacked(s, n->in[i]);
        else
            scan_grad_mark_lifted(s, n->in[i]);
    }
}

/* ---- building
 * ------------------------------------------------------------------------------------------------------- */

static ir_value merge_first_dims(ir_graph *g, ir_value x)
{
    ir_type t = *ir_type_of(g, x);
    ir_dim dim[IR_MAX_RANK];
    for (int i = 1; i < t.rank; i++) dim[i - 1] = t.dim[i];
    dim[0].count *= t.dim[0].count;
    return ir_build_reshape(g, x, t.rank - 1, dim);
}

static void read_dims(const ir_node *n, ir_attr_name name, int64_t *out, int *out_count)
{
    const int64_t *item = ir_attr_ints(n, name, out_count);
    for (int i = 0; i < *out_count; i++) out[i] = item[i];
}

/* One step's product summed over all steps: the steps are one more contracted dim, or part of the rows. */
static ir_value lift_dot(const scan_grad *s, const ir_node *n)
{
    ir_graph *g = s->c->g;
    ir_dot dot = {0};
    ir_value in[2] = {scan_grad_stack(s, n->in[0]), scan_grad_stack(s, n->in[1])};
    read_dims(n, ATTR_lhs_batch, dot.lhs_batch, &dot.batch_count);
    read_dims(n, ATTR_rhs_batch, dot.rhs_batch, &dot.batch_count);
    read_dims(n, ATTR_lhs_contracting, dot.lhs_contracting, &dot.contracting_count);
    read_dims(n, ATTR_rhs_contracting, dot.rhs_contracting, &dot.contracting_count);
    if (ir_scan_unit(s->n)) return ir_build_dot_general(g, in[0], in[1], &dot);
    if (dot.batch_count == 0 && dot.contracting_count == 1 && dot.lhs_contracting[0] == 0 &&
        dot.rhs_contracting[0] == 0) {
        in[0] = merge_first_dims(g, in[0]);
        in[1] = merge_first_dims(g, in[1]);
        return ir_build_dot_general(g, in[0], in[1], &dot);
    }
    for (int i = 0; i < dot.batch_count; i++) dot.lhs_batch[i]++, dot.rhs_batch[i]++;
    for (int i = 0; i < dot.contracting_count; i++) dot.lhs_contracting[i]++, dot.rhs_contracting[i]++;
    dot.lhs_contracting[dot.contracting_count] = dot.rhs_contracting[dot.contracting_count] = 0;
    dot.contracting_count++;
    return ir_build_dot_general(g, in[0], in[1], &dot);
}

static ir_value lift_reduce(const scan_grad *s, const ir_node *n)
{
    int64_t dims[IR_MAX_RANK] = {0};
    int count;
    const int64_t *item = ir_attr_ints(n, ATTR_dimensions, &count);
    if (ir_scan_unit(s->n)) return ir_build_reduce(s->c->g, "add", scan_grad_stack(s, n->in[0]), count, item, false);
    for (int i = 0; i < count; i++) dims[i + 1] = item[i] + 1;
    return ir_build_reduce(s->c->g, "add", scan_grad_stack(s, n->in[0]), count + 1, dims, false);
}

ir_value scan_grad_build_lifted(const scan_grad *s, ir_value v)
{
    const ir_node *n = &s->work->node[v];
    ir_graph *g = s->c->g;
    if (n->op == OP_dot_general) return lift_dot(s, n);
    if (n->op == OP_reduce) return lift_reduce(s, n);
    ir_value in[2] = {IR_NONE, IR_NONE};
    for (int i = 0; i < n->in_count; i++) in[i] = scan_grad_build_lifted(s, n->in[i]);
    return ir_build(g, n->op, n->in_count, in, n->attr_count, n->attr, n->op == OP_reshape ? &n->type : NULL);
}
