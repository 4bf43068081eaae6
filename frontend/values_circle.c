/* values_circle.c: Circle loss: every row of a batch against all others. A batch by batch array would not fit the memory
 * plan, so a loop goes over the rows. It has no gradient of its own: a second loop adds up what the predictions' gradient
 * is, and the loss gets a part that is zero and has this gradient. */
#include "frontend/recurrent.h"
#include "frontend/train.h"

#include <math.h>

enum { STATES = 2 }; /* the number of the row, and what the loop makes */

typedef struct circle {
    rnn_loop loop;
    ir_graph *g;           /* the body */
    double gamma, margin;
    bool others;           /* a row is not compared with itself */
    ir_value number, made; /* states, in the body */
    ir_value p, labels;    /* in the body */
    ir_value hit, row;     /* i1[N]: which row this turn is about; f32[D]: its prediction */
    ir_value similar;      /* f32[N]: its products with all rows */
    ir_value loss;         /* f32[] */
    ir_value slope;        /* f32[N]: of the loss by `similar` */
} circle;

/* Rows of one kind: of the same class or of others. */
typedef struct side {
    ir_value among;  /* i1[N] */
    ir_value weight; /* f32[N] */
    ir_value rest;   /* f32[N]: what the weight is multiplied by */
    ir_value top, sum; /* f32[]: log of the sum of exponentials = log(sum) + top */
    ir_value share;  /* f32[N]: of each in the sum */
} side;

static ir_value op2(const circle *c, ir_op op, ir_value a, ir_value b) { return ir_build_binary(c->g, op, a, b); }
static ir_value scaled(const circle *c, ir_value a, double b)
{
    return ir_build_binary_scalar(c->g, OP_multiply, a, b);
}
static ir_value scalar(const circle *c, double x) { return ir_build_scalar(c->g, DTYPE_f32, x); }

/* Along the rows, f32[N,D]. */
static ir_value across(const circle *c, ir_value x)
{
    return fe_math_spread(c->g, x, ir_type_of(c->g, c->p));
}

/* f32[D] for each row. */
static ir_value down(const circle *c, ir_value x)
{
    const int64_t last = 1;
    return ir_build_broadcast_in_dim(c->g, x, ir_type_of(c->g, c->p), &last);
}

static void begin_turn(circle *c, fe_values *v, ir_type made)
{
    const ir_record *s = v->settings;
    rnn_loop *p = &c->loop;
    c->gamma = ir_record_number(s, "gamma", 80);
    c->margin = ir_record_number(s, "margin", 0.4);
    c->others = ir_record_number(s, "remove_diagonal", 1) != 0;
    rnn_loop_begin(p, v->l, 1, IR_NONE);
    p->by_rows = true;
    c->g = p->body;
    c->number = rnn_loop_state(p, ir_build_scalar(v->l->g, DTYPE_i32, 0));
    c->made = rnn_loop_state(p, ir_build_fill(v->l->g, made, 0));
    rnn_loop_open(p);
    c->p = rnn_loop_bring(p, v->p);
    c->labels = rnn_loop_bring(p, v->y);
}

static ir_value end_turn(circle *c, ir_value made)
{
    ir_graph_add_output(c->g, "number", ir_build_binary_scalar(c->g, OP_add, c->number, 1));
    ir_graph_add_output(c->g, "made", made);
    rnn_loop_close(&c->loop);
    ir_graph *outer = c->loop.outer;
    return ir_build_unary(outer, OP_stop_gradient, ir_build_get(outer, rnn_loop_end(&c->loop, false), 1));
}

/* factor * max(weight, 0) * rest, and its sum of exponentials. */
static void weigh_side(const circle *c, side *s, ir_value weight, double factor, ir_value rest)
{
    ir_graph *g = c->g;
    s->weight = op2(c, OP_maximum, ir_build_select(g, s->among, weight, scalar(c, 0)), scalar(c, 0));
    s->rest = rest;
    const ir_value x = scaled(c, op2(c, OP_multiply, s->weight, rest), factor);
    const ir_value low = ir_build_select(g, s->among, x, scalar(c, -INFINITY));
    const ir_value any = fe_math_reduce(g, "or", s->among, 0, false);
    s->top = ir_build_select(g, any, fe_math_reduce(g, "maximum", low, 0, false), scalar(c, 0));
    const ir_value part = ir_build_unary(g, OP_exponential, op2(c, OP_subtract, x, fe_math_spread(g, s->top, ir_type_of(g, x))));
    const ir_value own = ir_build_select(g, s->among, part, scalar(c, 0));
    s->sum = fe_math_reduce(g, "add", own, 0, false);
    s->share = fe_math_divide_no_nan(g, own, fe_math_spread(g, s->sum, ir_type_of(g, x)));
}

/* The slope of factor * weight * rest: rest falls by 1 where the distance grows by 1, the weight changes by `change`. */
static ir_value slope_of(const circle *c, const side *s, ir_value weight, double factor, double change)
{
    const ir_value grows = op2(c, OP_and, s->among, fe_math_compare(c->g, "GE", weight, 0));
    const ir_value by_weight = ir_build_select(c->g, grows, scaled(c, s->rest, change), scalar(c, 0));
    return op2(c, OP_multiply, s->share, scaled(c, op2(c, OP_subtract, by_weight, s->weight), factor));
}

/* c->loss and c->slope of this turn's row. */
static void compare_rows(circle *c)
{
    ir_graph *g = c->g;
    const ir_type rows = *ir_type_of(g, c->labels);
    c->hit = ir_build_compare(g, "EQ", ir_build_iota(g, rows, 0), fe_math_spread(g, c->number, &rows));
    c->row = fe_math_reduce(g, "add", ir_build_select(g, across(c, c->hit), c->p, scalar(c, 0)), 0, false);
    const ir_value none = ir_build_scalar(g, DTYPE_i32, 0);
    const ir_value label = fe_math_reduce(g, "add", ir_build_select(g, c->hit, c->labels, none), 0, false);
    c->similar = fe_math_reduce(g, "add", op2(c, OP_multiply, c->p, down(c, c->row)), 1, false);
    const ir_value apart = fe_math_from(g, 1, c->similar), away = op2(c, OP_maximum, apart, scalar(c, 0));
    const ir_value same = ir_build_compare(g, "EQ", c->labels, fe_math_spread(g, label, &rows));
    side near = {.among = same}, far = {.among = ir_build_unary(g, OP_not, same)};
    if (c->others) near.among = op2(c, OP_and, same, ir_build_unary(g, OP_not, c->hit));
    const ir_value near_weight = ir_build_binary_scalar(g, OP_add, away, c->margin);
    const ir_value far_weight = fe_math_from(g, 1 + c->margin, away);
    weigh_side(c, &near, near_weight, -c->gamma, fe_math_from(g, c->margin, away));
    weigh_side(c, &far, far_weight, c->gamma, fe_math_from(g, 1 - c->margin, away));
    const ir_value both = op2(c, OP_and, fe_math_compare(g, "GT", near.sum, 0), fe_math_compare(g, "GT", far.sum, 0));
    const ir_value logs = op2(c, OP_add, ir_build_unary(g, OP_log, near.sum), ir_build_unary(g, OP_log, far.sum));
    const ir_value x = ir_build_select(g, both, op2(c, OP_add, logs, op2(c, OP_add, near.top, far.top)), scalar(c, 0));
    c->loss = ir_build_select(g, both, fe_math_softplus(g, x), scalar(c, 0));
    const ir_value steep = ir_build_select(g, both, ir_build_unary(g, OP_logistic, x), scalar(c, 0));
    const ir_value sum = op2(c, OP_add, slope_of(c, &near, near_weight, -c->gamma, 1), slope_of(c, &far, far_weight, c->gamma, -1));
    const ir_value by_away = op2(c, OP_multiply, sum, fe_math_spread(g, steep, ir_type_of(g, sum)));
    c->slope = ir_build_select(g, fe_math_compare(g, "GE", apart, 0), ir_build_unary(g, OP_negate, by_away), scalar(c, 0));
}

/* loss + x - x, where x is the sum of p times its gradient. share: f32[N], what a unit of each value adds to the loss. */
static ir_value add_gradient(const fe_values *v, ir_value loss, ir_value share)
{
    circle c = {0};
    fe_values own = *v;
    begin_turn(&c, &own, *ir_type_of(v->g, v->p));
    const ir_value shares = rnn_loop_bring(&c.loop, share);
    compare_rows(&c);
    ir_graph *g = c.g;
    const ir_value mine = fe_math_reduce(g, "add", ir_build_select(g, c.hit, shares, scalar(&c, 0)), 0, false);
    const ir_value slope = op2(&c, OP_multiply, c.slope, fe_math_spread(g, mine, ir_type_of(g, c.slope)));
    const ir_value wide = across(&c, slope);
    const ir_value back = fe_math_reduce(g, "add", op2(&c, OP_multiply, wide, c.p), 0, false);
    const ir_value to_row = ir_build_select(g, across(&c, c.hit), down(&c, back), scalar(&c, 0));
    const ir_value to_all = op2(&c, OP_multiply, wide, down(&c, c.row));
    const ir_value gradient = end_turn(&c, op2(&c, OP_add, c.made, op2(&c, OP_add, to_all, to_row)));
    const ir_value x = fe_math_sum_all(v->g, ir_build_binary(v->g, OP_multiply, v->p, gradient));
    const ir_value zero = ir_build_binary(v->g, OP_subtract, x, ir_build_unary(v->g, OP_stop_gradient, x));
    return ir_build_binary(v->g, OP_add, loss, zero);
}

ir_value fe_values_circle(fe_values *v)
{
    circle c = {0};
    begin_turn(&c, v, ir_type_with_dtype(*ir_type_of(v->g, v->y), DTYPE_f32));
    compare_rows(&c);
    const ir_value spread = fe_math_spread(c.g, c.loss, ir_type_of(c.g, c.made));
    const ir_value values = end_turn(&c, ir_build_select(c.g, c.hit, spread, c.made));
    v->mask = fe_math_compare(v->g, "GT", values, 0);
    v->add_gradient = add_gradient;
    return values;
}
