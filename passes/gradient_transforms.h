/* gradient_transforms.h: the user's transforms of gradients (ir/gradient_transforms.def), between aggregation and
 * the optimizer.
 *
 * The optimizer's record holds them as "gradient_transforms": records "0", "1", ..., in order, named after their
 * row, with their settings and the list "variables" of what they are applied to. State of a transform is variables
 * of its own, "gradient_transforms/vars/N" in a weights file. A row `model` has a graph "gradient_transform_K_V" for
 * each variable V, in which value %0 reads the variable, %1 stands for its gradient, and the output is the new
 * gradient; these graphs leave the module here. */
#ifndef TFCC_PASSES_GRADIENT_TRANSFORMS_H
#define TFCC_PASSES_GRADIENT_TRANSFORMS_H

#include "passes/optimizer.h"

typedef struct transform {
    optimizer_state *s;
    ir_graph *g;
    const ir_record *r;
    int number;      /* of the transform, from 0 */
    int variable;    /* whose gradient x is */
    ir_value x;
    ir_value value;  /* the variable's, before the step */
    ir_value norm;   /* f32[]: of all gradients of the transform */
} transform;

/* A row's rule: the new gradient. */
typedef ir_value (*transform_rule)(transform *t);
#define TRANSFORM(name, rule, settings, does) ir_value transform_##rule(transform *t);
#include "ir/gradient_transforms.def"

double transform_number(const transform *t, const char *key);
/* The state `slot` of the variable, of its type, or, as "count", of the transform: how many updates there were, this
 * one included, in x's dtype. Every element starts as `initial`. */
ir_value transform_state(transform *t, const char *slot, double initial);
void transform_state_assign(transform *t, const char *slot, ir_value value);
ir_value transform_count(transform *t);

/* Applies all transforms to the gradients that part `s` owns. */
void gradient_transforms_apply(optimizer_state *s);
/* The graphs of models are used up. */
void gradient_transforms_end(ir_module *m);

#endif
