/* values_ctc.c: connectionist temporal classification: minus the log of the probability that the predictions
 * [N,T,C], read along T with repeats and blanks dropped, spell the labels [N,L].
 *
 * States are blank, label 1, blank, label 2, ... blank; log probabilities of the states move one step of T at
 * a time. Labels that do not fit into the steps cost what they cost in TensorFlow; its gradient of them, which also
 * starts in other states, is no derivative of that and not repeated. */
#include "frontend/train.h"

static const double impossible = -1e30;
static const double unlikely = -706.893623549172; /* log 1e-307: what it costs in TensorFlow to end in another state */

typedef struct ctc {
    ir_graph *g;
    int64_t states;
    ir_value labels;   /* i32[N,S]: the class of every state */
    ir_value can_skip; /* i1[N,S]: the state may be reached from two states before */
    ir_value floor;    /* f32[N,2] impossible */
} ctc;

/* x of [N,S] moved `by` states up, impossible at the start. */
static ir_value shift(ctc *c, ir_value x, int64_t by)
{
    ir_value from_start = ir_build_slice_dim(c->g, x, 1, 0, c->states - by);
    ir_value in[2] = {ir_build_slice_dim(c->g, c->floor, 1, 0, by), from_start};
    return ir_build_concatenate(c->g, 2, in, 1);
}

static void prepare(ctc *c, ir_value y, int64_t blank_class)
{
    ir_graph *g = c->g;
    ir_type t = *ir_type_of(g, y);
    int64_t steps = t.dim[1].count;
    c->states = 2 * steps + 1;
    const int64_t low[] = {0, 1}, high[] = {0, 1}, interior[] = {0, 1}, skip[] = {0, 2}, zero[] = {0, 0};
    ir_value blank = ir_build_scalar(g, DTYPE_i32, (double)blank_class);
    c->labels = ir_build_pad(g, y, blank, low, high, interior);
    ir_value front = ir_build_slice_dim(g, c->labels, 1, 0, c->states - 2);
    ir_value before = ir_build_pad(g, front, blank, skip, zero, zero);
    ir_value differs = ir_build_compare(g, "NE", c->labels, before);
    ir_value is_label = ir_build_pad(g, ir_build_fill(g, ir_type_with_dtype(t, DTYPE_i1), 1), ir_build_scalar(g, DTYPE_i1, 0),
                                     low, high, interior);
    c->can_skip = ir_build_binary(g, OP_and, differs, is_label);
    ir_type two = ir_type_with_dtype(t, DTYPE_f32);
    two.dim[1] = ir_fixed(2);
    c->floor = ir_build_fill(g, two, impossible);
}

/* f32[N,T,S]: the log probability of every state's class at every step. */
static ir_value emissions(ctc *c, ir_value p)
{
    int64_t classes = ir_type_of(c->g, p)->dim[2].count;
    ir_value logs = fe_math_log_softmax(c->g, p, 2);
    ir_dot dot = {.batch_count = 1, .contracting_count = 1, .lhs_contracting = {2}, .rhs_contracting = {2}};
    return ir_build_dot_general(c->g, logs, fe_math_one_hot(c->g, c->labels, classes), &dot);
}

/* log(exp a + exp b + exp c), finite for impossible ones. */
static ir_value log_add(ir_graph *g, ir_value a, ir_value b, ir_value c)
{
    const ir_value in[3] = {a, b, c};
    ir_value max = ir_build_binary(g, OP_maximum, ir_build_binary(g, OP_maximum, a, b), c), sum = IR_NONE;
    max = ir_build_unary(g, OP_stop_gradient, max);
    for (int i = 0; i < 3; i++) {
        ir_value part = ir_build_unary(g, OP_exponential, ir_build_binary(g, OP_subtract, in[i], max));
        sum = sum == IR_NONE ? part : ir_build_binary(g, OP_add, sum, part);
    }
    return ir_build_binary(g, OP_add, ir_build_unary(g, OP_log, sum), max);
}

static ir_value slice_step(ctc *c, ir_value all, int64_t step)
{
    ir_type t = *ir_type_of(c->g, all);
    const ir_dim dim[2] = {t.dim[0], t.dim[2]};
    return ir_build_reshape(c->g, ir_build_slice_dim(c->g, all, 1, step, step + 1), 2, dim);
}

/* i1[N,S]: the last two states of each row's own labels. */
static ir_value find_ends(ctc *c, ir_value label_length)
{
    ir_graph *g = c->g;
    ir_value last = ir_build_binary_scalar(g, OP_multiply, label_length, 2);
    ir_type t = *ir_type_of(g, c->labels);
    ir_value state = ir_build_iota(g, t, 1);
    ir_value behind = ir_build_binary(g, OP_subtract, fe_math_spread(g, last, &t), state);
    ir_value near = fe_math_compare(g, "LE", behind, 1);
    return ir_build_binary(g, OP_and, near, fe_math_compare(g, "GE", behind, 0));
}

ir_value fe_ctc_build(ir_graph *g, const fe_ctc *in)
{
    ctc c = {.g = g};
    prepare(&c, in->labels, in->blank);
    ir_value all = emissions(&c, in->logits), nothing = ir_build_scalar(g, DTYPE_f32, impossible);
    ir_value start = fe_math_compare(g, "LE", ir_build_iota(g, *ir_type_of(g, c.labels), 1), 1);
    ir_value alpha = ir_build_select(g, start, slice_step(&c, all, 0), nothing);
    int64_t steps = ir_type_of(g, all)->dim[1].count;
    for (int64_t t = 1; t < steps; t++) {
        ir_value skipped = ir_build_select(g, c.can_skip, shift(&c, alpha, 2), nothing);
        ir_value next = ir_build_binary(g, OP_add, log_add(g, alpha, shift(&c, alpha, 1), skipped),
                                        slice_step(&c, all, t));
        if (in->logit_length != IR_NONE) {
            ir_value within = fe_math_compare(g, "GT", in->logit_length, (double)t);
            ir_type shape = ir_type_with_dtype(*ir_type_of(g, next), DTYPE_i1);
            next = ir_build_select(g, fe_math_spread(g, within, &shape), next, alpha);
        }
        alpha = next;
    }
    ir_value elsewhere = ir_build_binary_scalar(g, OP_add, alpha, unlikely);
    ir_value ends = ir_build_select(g, find_ends(&c, in->label_length), alpha, elsewhere);
    return ir_build_unary(g, OP_negate, fe_math_log_sum_exp(g, ends, 1));
}

/* Labels are filled up with 0, which is the blank. */
ir_value fe_values_ctc(fe_values *v)
{
    ir_graph *g = v->g;
    ir_value used = ir_build_convert(g, fe_math_compare(g, "NE", v->y, 0), DTYPE_i32);
    const fe_ctc ctc_call = {.labels = v->y,
                             .logits = v->p,
                             .logit_length = IR_NONE,
                             .label_length = fe_math_reduce(g, "add", used, 1, false)};
    return fe_ctc_build(g, &ctc_call);
}
