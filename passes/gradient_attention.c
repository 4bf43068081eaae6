/* gradient_attention.c: the rule of attention. The gradient computes the probabilities again, block by block, from the
 * largest score and the sum of each row. */
#include "passes/gradient.h"

/* An operand that was widened from 16 bits is widened again when the gradient is there: until then it is kept in 16. */
static ir_value widen_again(ir_graph *g, ir_value v, ir_value gradient)
{
    const ir_node *n = ir_node_of(g, v);
    const ir_dtype to = n->type.dtype;
    const ir_value narrow = n->op == OP_convert ? n->in[0] : IR_NONE;
    const ir_dtype from = narrow == IR_NONE ? to : ir_type_of(g, narrow)->dtype;
    if (!ir_dtype_is_float(from) || ir_dtype_size(from) >= ir_dtype_size(to)) return v;
    const ir_value again = ir_build_convert(g, ir_build_unary(g, OP_copy, narrow), to);
    const ir_order order = {again, gradient};
    arena_push(g->arena, g->order, g->order_count, g->order_capacity, order);
    return again;
}

void grad_attention(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    (void)dy;
    ir_graph *g = c->g;
    const ir_value gradient = c->element_adjoint[v][0];
    if (adj_wants(c, n, ATTENTION_BIAS) || adj_wants(c, n, ATTENTION_KEEP)) {
        adj_refuse(c, n, "its bias and its factors have none");
        return;
    }
    if (gradient == IR_NONE) return;
    ir_value in[ATTENTION_GRADIENT + 1];
    for (int i = 0; i < n->in_count; i++) in[i] = n->in[i];
    for (int i = ATTENTION_QUERY; i <= ATTENTION_VALUE; i++) in[i] = widen_again(g, in[i], gradient);
    for (int i = 0; i < 3; i++) in[ATTENTION_RESULT + i] = ir_build_get(g, v, i);
    in[ATTENTION_GRADIENT] = gradient;
    ir_attr attr[8];
    int64_t same[IR_MAX_RANK];
    for (int i = 0; i < n->attr_count; i++) attr[i] = n->attr[i];
    for (int d = 0; d < IR_MAX_RANK; d++) same[d] = d;
    attr[n->attr_count] = (ir_attr){.name = ATTR_result_dims, .ints = {ir_type_of(g, gradient)->rank, same}};
    const ir_value all = ir_build(g, OP_attention_back, (int)countof(in), in, n->attr_count + 1, attr, NULL);
    for (int i = ATTENTION_QUERY; i <= ATTENTION_VALUE; i++)
        if (adj_wants(c, n, i)) adj_add(c, n->in[i], ir_build_get(g, all, i));
}
