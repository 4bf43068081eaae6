/* gradient.h: private to gradient*.c. A rule adds to the gradients of a node's operands what the gradient dy
 * of its result makes of them. Every `grad` entry of ir/ops.def names a rule. */
#ifndef TFCC_GRADIENT_H
#define TFCC_GRADIENT_H

#include "passes/passes_private.h"

typedef struct grad_ctx {
    ir_graph *g;
    arena *scratch;
    diag *diag;                 /* may be NULL: then what has no gradient is a bug of the caller */
    bool *wanted;               /* per node of the forward graph: depends on what is differentiated for */
    ir_value *adjoint;          /* per such node: gradient so far, or IR_NONE */
    ir_value **element_adjoint; /* per such node that is a tuple: of each element */
    bool good;
} grad_ctx;

#define OP(name, class, in, shape, attrs, grad, ...)                                                         \
    void grad_##grad(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy);
#include "ir/ops.def"

/* For rules. adj_wants: whether operand i needs a gradient; others must not be computed in vain. */
bool adj_wants(const grad_ctx *c, const ir_node *n, int i);
void adj_add(grad_ctx *c, ir_value to, ir_value gradient);
void adj_refuse(grad_ctx *c, const ir_node *n, const char *why);
/* gradient_join.c: a finished gradient in a form that is cheaper, or itself. */
ir_value gradient_join_pads(grad_ctx *c, ir_value sum);
ir_type adj_type(const grad_ctx *c, ir_value v); /* a copy: building moves the nodes */

/* Arithmetic in the order it is read; scalars take the operand's dtype. */
ir_value adj_mul(grad_ctx *c, ir_value a, ir_value b);
ir_value adj_div(grad_ctx *c, ir_value a, ir_value b);
ir_value adj_plus(grad_ctx *c, ir_value a, ir_value b);
ir_value adj_scale(grad_ctx *c, ir_value a, double b);
ir_value adj_offset(grad_ctx *c, ir_value a, double b);
ir_value adj_negate(grad_ctx *c, ir_value a);
ir_value adj_unary(grad_ctx *c, ir_op op, ir_value a);
ir_value adj_zeros(grad_ctx *c, const ir_type *type);

#endif
