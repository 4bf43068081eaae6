/* gradient_scan.h: private to gradient_scan*.c. The gradient of a scan is a scan the other way round. Its body is the
 * gradient of the body, found in a work graph: the body, a seed for each of its outputs, and what gradient_build adds.
 *
 * A forward value that the gradient needs is an operand of the step, is computed again where that is cheap, or is a
 * residual: one more output of the forward body, stacked by step. The gradient of a constant of the body is a sum over
 * steps; where its terms are products or sums, their operands are stacked and it is one product outside (a `lifted` one),
 * else it is carried. */
#ifndef TFCC_GRADIENT_SCAN_H
#define TFCC_GRADIENT_SCAN_H

#include "passes/gradient.h"

enum { SCAN_GRAD_PARTS = 8 };

typedef struct scan_grad {
    grad_ctx *c;
    ir_value v;         /* the scan */
    const ir_node *n;
    ir_graph *work;
    ir_value forward;   /* nodes of work that are the body's */
    int carried, outputs;
    bool reverse;
    ir_value *param;    /* per operand: its parameter in work, or IR_NONE */
    bool *sliced;       /* per operand: one slice a step */
    ir_value *output;   /* per output of the body: in work */
    ir_value *seed;     /* per output: the parameter that is its adjoint, or IR_NONE */
    ir_value *gradient; /* per operand: in work, or IR_NONE */
    bool *lifted;       /* per operand */
    /* per value of work */
    bool *inside;       /* the backward body needs it */
    bool *residual;
    int *residual_output; /* which output of the forward body, -1: none */
    int joined_count;   /* residuals that are the parts of one stacked array: see gradient_scan_join.c */
    ir_value joined[SCAN_GRAD_PARTS];
    int joined_output;
    bool *stacked;      /* the backward body stacks it */
    int *stack_output;  /* which of its outputs */
    ir_value *map;      /* value of the backward body */
    ir_value back;      /* the backward scan */
} scan_grad;

/* gradient_scan_lift.c */
bool scan_grad_has_stack(const scan_grad *s, ir_value v); /* the steps' values of v can be one array */
bool scan_grad_can_lift(const scan_grad *s, ir_value v);
void scan_grad_mark_lifted(scan_grad *s, ir_value v); /* its operands become residuals or stacks */
ir_value scan_grad_build_lifted(const scan_grad *s, ir_value v);

/* gradient_scan_join.c */
void scan_grad_join(scan_grad *s);                      /* finds the joined residuals */
int scan_grad_part(const scan_grad *s, ir_value v);     /* which of them v is, -1: none */
ir_value scan_grad_join_parts(const scan_grad *s, ir_graph *g, const ir_value *map);
ir_value scan_grad_take_part(ir_graph *g, ir_value joined, int part, int64_t columns);

/* The operand that parameter v of work stands for, -1: none. */
int scan_grad_operand(const scan_grad *s, ir_value v);
/* All steps of a value of work, in the graph around the scan. */
ir_value scan_grad_stack(const scan_grad *s, ir_value v);

#endif
