/* gradient_ragged.c: rules of the operations on ragged rows. */
#include "passes/gradient.h"

static ir_value build_ragged(grad_ctx *c, ir_op op, ir_value x, ir_value ends, ir_dim first)
{
    const ir_value in[] = {x, ends};
    ir_type type = adj_type(c, x);
    type.dim[0] = first;
    return ir_build(c->g, op, 2, in, 0, NULL, &type);
}

void grad_ragged_sum(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    (void)v;
    adj_add(c, n->in[0], build_ragged(c, OP_ragged_spread, dy, n->in[1], adj_type(c, n->in[0]).dim[0]));
}

void grad_ragged_spread(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    (void)v;
    const ir_type x = adj_type(c, n->in[0]);
    if (x.dtype != DTYPE_f32 && x.dtype != DTYPE_f64) {
        adj_refuse(c, n, "rows of 16-bit numbers");
        return;
    }
    adj_add(c, n->in[0], build_ragged(c, OP_ragged_sum, dy, n->in[1], x.dim[0]));
}

/* As TensorFlow: values that are equally large share it. */
void grad_ragged_max(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    const ir_type x = adj_type(c, n->in[0]);
    const ir_dim values = x.dim[0], rows = n->type.dim[0];
    const ir_value ends = n->in[1], largest = build_ragged(c, OP_ragged_spread, v, ends, values);
    const ir_value chosen =
        ir_build_convert(c->g, ir_build_compare(c->g, "EQ", n->in[0], largest), x.dtype);
    const ir_value share = adj_div(c, dy, build_ragged(c, OP_ragged_sum, chosen, ends, rows));
    const ir_value spread = build_ragged(c, OP_ragged_spread, share, ends, values);
    const ir_value zero = ir_build_fill(c->g, x, 0);
    const ir_value is_largest = ir_build_compare(c->g, "EQ", n->in[0], largest);
    adj_add(c, n->in[0], ir_build_select(c->g, is_largest, spread, zero));
}

void grad_ragged_permute(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    (void)v;
    const ir_value in[] = {dy, n->in[2], n->in[1]};
    adj_add(c, n->in[0], ir_build(c->g, OP_ragged_permute, 3, in, 0, NULL, NULL));
}
