/* simplify.h: private to simplify*.c. A rule looks at node n (a copy) of s->g, whose operands are simplified,
 * and returns a value that equals it in every bit, or IR_NONE. What a rule must keep:
 *   - the type; NaN, infinities and the sign of zero: x + 0.0 is not x, 0.0 * x is not 0.0
 *   - the order of floating-point operations: no reassociation, no a / b as a * (1 / b) unless that is exact
 *   - progress: fewer nodes, or a form that no other rule turns back */
#ifndef TFCC_SIMPLIFY_H
#define TFCC_SIMPLIFY_H

#include "passes/passes_private.h"

typedef struct simplify {
    ir_graph *g;
    arena *scratch;
} simplify;

typedef ir_value (*simplify_rule)(simplify *s, const ir_node *n);

/* Every element is this one number, with its sign when it is zero. */
bool simplify_is_number(const ir_graph *g, ir_value v, double number);
/* The scalar that v repeats; IR_NONE when v is no such broadcast. */
ir_value simplify_scalar_of(const ir_graph *g, ir_value v);
int64_t simplify_fixed_elements(const ir_type *t); /* INT64_MAX when the batch is in it */

/* simplify_arith.c */
ir_value simplify_fold(simplify *s, const ir_node *n);
ir_value simplify_hoist(simplify *s, const ir_node *n);
ir_value simplify_add(simplify *s, const ir_node *n);
ir_value simplify_subtract(simplify *s, const ir_node *n);
ir_value simplify_multiply(simplify *s, const ir_node *n);
ir_value simplify_divide(simplify *s, const ir_node *n);
ir_value simplify_power(simplify *s, const ir_node *n);
ir_value simplify_twice(simplify *s, const ir_node *n);
ir_value simplify_same(simplify *s, const ir_node *n);
ir_value simplify_select(simplify *s, const ir_node *n);
ir_value simplify_convert(simplify *s, const ir_node *n);
ir_value simplify_operand(simplify *s, const ir_node *n);

/* simplify_move.c */
ir_value simplify_constant(simplify *s, const ir_node *n);
ir_value simplify_dimension_size(simplify *s, const ir_node *n);
ir_value simplify_map_of_reshape(simplify *s, const ir_node *n);
ir_value simplify_move_of_scalar(simplify *s, const ir_node *n);
ir_value simplify_broadcast(simplify *s, const ir_node *n);
ir_value simplify_reshape(simplify *s, const ir_node *n);
ir_value simplify_transpose(simplify *s, const ir_node *n);
ir_value simplify_whole(simplify *s, const ir_node *n);
ir_value simplify_concatenate(simplify *s, const ir_node *n);
ir_value simplify_reduce(simplify *s, const ir_node *n);
ir_value simplify_dot(simplify *s, const ir_node *n);
ir_value simplify_convolution(simplify *s, const ir_node *n);
ir_value simplify_attention_back(simplify *s, const ir_node *n);

#endif
