/* optimizer.h: shared by the passes that turn gradients into updates (gradient_pipeline.c, optimizer*.c).
 *
 * The optimizer's variables are made in Keras's order, because a weights file numbers them: iteration,
 * learning rate, averages, gradient accumulators, then the slots of optimizers.def. Paths are Keras's:
 * "adam/dense_kernel_momentum". A record "multi_optimizer" has parts "optimizer_0", "optimizer_1", ... that own
 * the variables in their lists "variables"; every other record is its own only part and owns all. */
#ifndef TFCC_PASSES_OPTIMIZER_H
#define TFCC_PASSES_OPTIMIZER_H

#include "passes/passes_private.h"

typedef struct optimizer_state {
    ir_module *m;
    ir_graph *g;
    const ir_record *record; /* of this part */
    const char *name;        /* prefix of variable paths */
    const char *h5_copy;     /* several parts: where a weights file has this part's variables again; else NULL */
    ir_value iteration;      /* i64[]: batches before this one */
    ir_value updates; /* i64[]: updates before this one; less than iteration when gradients are accumulated */
    ir_value due;     /* i1[]: gradients are applied now; IR_NONE: at every step */
    int64_t steps;    /* batches per update, 0: no accumulation */
    bool has_schedule;
    ir_value rate;      /* f32[] */
    ir_value u_product; /* nadam's, after this step; IR_NONE: not built yet */
    int u_weights; /* that had the product */
} optimizer_state;

size_t optimizer_part_count(const ir_module *m); /* 0: the module is not trained */
const ir_record *optimizer_part(const ir_module *m, size_t part);
/* Makes the variables of the part unless they exist. Parts are begun in order, so that their variables are. */
void optimizer_state_init(optimizer_state *s, ir_module *m, ir_graph *g, size_t part);
bool optimizer_slots_make(optimizer_state *s); /* called by it, in optimizer.c; false: an unknown optimizer */

bool optimizer_owns(const optimizer_state *s, size_t variable); /* it is trained, and by this part */
bool optimizer_lists(const ir_record *r, const char *key, size_t variable); /* the list `key` of r holds it */
/* "prefix/dense_kernel_suffix" */
const char *optimizer_path(const optimizer_state *s, int weight, const char *suffix);
int optimizer_variable_find(const ir_module *m, const char *path); /* -1: none */
/* Finds the variable or adds it, next in the weights file; all its elements start as `initial`. */
int optimizer_variable_get(optimizer_state *s, const char *path, ir_type type, double initial);
/* Adds the optimizer's next variable; not `stored`: no weights file holds it. */
int optimizer_variable_make(ir_module *m, const char *path, ir_type type, double initial, bool stored);
/* The variable's value at this point: an update that is already there, or the variable itself. */
ir_value optimizer_value(ir_graph *g, int variable);
/* Makes `value` the variable's next value at steps that are due; at others it keeps what it has. */
void optimizer_assign(optimizer_state *s, int variable, ir_value value);

/* One weight being updated; all values in the weight's dtype. */
typedef struct optimizer_step {
    optimizer_state *s;
    ir_graph *g;
    const ir_record *record;
    int variable;
    ir_value gradient, value;
    ir_value rate, step; /* step: this update's number, from 1 */
    ir_value index; /* IR_NONE: of all rows; else gradient, value and slots are rows of the weight: which, */
    ir_value row;   /* and the same where a row is written, -1 where another position stands for it */
} optimizer_step;

/* What a gradient of zero does to a weight and its slots (a column of optimizers.def). */
typedef enum optimizer_rows {
    ROWS_none, /* the rule looks at the weight as a whole */
    ROWS_lazy, /* it changes them; the rule is elementwise and may be left out by option */
    ROWS_kept  /* nothing, unless there is momentum */
} optimizer_rows;
optimizer_rows optimizer_rows_rule(const ir_record *r); /* in optimizer.c */
bool optimizer_is_lazy(const ir_module *m);

/* optimizer_rows.c: when the gradient is rows added to zeros and the optimizer may leave others alone, t becomes the update of
 * these rows: sets gradient, value, index and row. Slots are then taken and assigned by rows. */
bool optimizer_rows_begin(optimizer_step *t);
bool optimizer_rows_in(const ir_graph *g, ir_value gradient); /* it is rows added to zeros */
/* What of v is not finite where v is not: the rows alone, when v is rows added to zeros. */
ir_value optimizer_rows_entries(const ir_graph *g, ir_value v);
ir_value optimizer_sum_squares(optimizer_state *s, int variable, ir_value gradient);
bool optimizer_rows_updated(const ir_graph *g, const ir_binding *update); /* in place, by rows */
ir_value optimizer_rows_take(optimizer_step *t, int variable);
void optimizer_rows_assign(optimizer_step *t, int variable, ir_value rows);

ir_value optimizer_slot(optimizer_step *t, const char *suffix);
void optimizer_slot_assign(optimizer_step *t, const char *suffix, ir_value value);
double optimizer_number(const optimizer_step *t, const char *key); /* 0 when absent */
/* A scalar setting or the running step in the weight's dtype. */
ir_value optimizer_scalar(optimizer_step *t, double number);

/* A row of optimizers.def: the weight's new value; slots are assigned on the way. */
typedef ir_value (*optimizer_update)(optimizer_step *t);
#define OPTIMIZER(name, update, prepare, rows, slots) ir_value optimizer_update_##update(optimizer_step *t);
#include "passes/optimizers.def"

/* loss_scale.c: the loss to differentiate; the true gradients from those of that loss; and around all that the optimizer
 * updates: what is updated so far (NULL without a dynamic scale), and then nothing is where a gradient was not finite. */
ir_value loss_scale_apply(ir_module *m, ir_graph *g, ir_value loss);
void loss_scale_check(ir_module *m, ir_graph *g);  /* the dynamic scale, once for all parts */
void loss_scale_remove(optimizer_state *s);        /* a part's fixed one */
ir_value loss_scale_finite(const ir_module *m, ir_graph *g); /* i1[]: gradients are; IR_NONE: nothing asks */
ir_value *loss_scale_begin_updates(const ir_module *m, const ir_graph *g);
void loss_scale_end_updates(const ir_module *m, ir_graph *g, const ir_value *before);
/* f32[]: the learning rate of a schedule (schedules.c). */
ir_value schedule_build(ir_graph *g, const ir_record *schedule, ir_value iteration);
/* w under a constraint that was checked (constraints.c). */
bool constraint_check(const ir_variable *v, diag *d);
ir_value constraint_build(ir_graph *g, const ir_record *constraint, ir_value w);

/* Short names for what formulas are made of; scalars are broadcast. */
static inline ir_value opt_add(ir_graph *g, ir_value a, ir_value b)
{
    return ir_build_binary(g, OP_add, a, b);
}
static inline ir_value opt_sub(ir_graph *g, ir_value a, ir_value b)
{
    return ir_build_binary(g, OP_subtract, a, b);
}
static inline ir_value opt_mul(ir_graph *g, ir_value a, ir_value b)
{
    return ir_build_binary(g, OP_multiply, a, b);
}
static inline ir_value opt_div(ir_graph *g, ir_value a, ir_value b)
{
    return ir_build_binary(g, OP_divide, a, b);
}
static inline ir_value opt_scale(ir_graph *g, ir_value a, double b)
{
    return ir_build_binary_scalar(g, OP_multiply, a, b);
}
static inline ir_value opt_plus(ir_graph *g, ir_value a, double b)
{
    return ir_build_binary_scalar(g, OP_add, a, b);
}
static inline ir_value opt_square(ir_graph *g, ir_value a) { return ir_build_binary(g, OP_multiply, a, a); }
static inline ir_value opt_sqrt(ir_graph *g, ir_value a) { return ir_build_unary(g, OP_sqrt, a); }
ir_value opt_from(ir_graph *g, double a, ir_value b); /* a - b */
ir_value opt_over(ir_graph *g, double a, ir_value b); /* a / b */
/* old * rate + new * (1 - rate) */
ir_value opt_mix(ir_graph *g, ir_value old, ir_value new, double rate);
/* old + (new - old) * (1 - rate): the same, rounded as Keras's Adam family does it */
ir_value opt_approach(ir_graph *g, ir_value old, ir_value new, double rate);
ir_value opt_sum(ir_graph *g, ir_value x);  /* of all elements */
ir_value opt_mean(ir_graph *g, ir_value x); /* of all elements */

#endif
