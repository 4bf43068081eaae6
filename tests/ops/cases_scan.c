/* cases_scan.c: scans as recurrent layers make them. Results are not known beforehand: they are compared. */
#include "ops/cases.h"

typedef struct loop {
    ir_graph *g, *body;
    ir_value in[16];
    int count, carried;
} loop;

static loop begin(ir_graph *g) { return (loop){.g = g, .body = ir_graph_new(g->arena, "step", g->module)}; }

static ir_value add(loop *p, ir_value outer, bool sliced)
{
    const ir_type t = *ir_type_of(p->g, outer);
    const ir_type inside = sliced ? ir_type_make(t.dtype, t.rank - 1, t.dim + 1) : t;
    const ir_attr attr = INT(index, p->count);
    p->in[p->count++] = outer;
    return ir_build(p->body, OP_parameter, 0, NULL, 1, &attr, &inside);
}

static ir_value finish(loop *p, bool reverse)
{
    const int64_t length = ir_type_of(p->g, p->in[p->carried])->dim[0].count;
    const ir_attr attr[] = {{.name = ATTR_body, .graph = p->body},
                            INT(length, length),
                            INT(carried, p->carried),
                            INT(reverse, reverse)};
    return ir_build(p->g, OP_scan, p->count, p->in, 4, attr, NULL);
}

static ir_value time_first(ir_graph *g, ir_value x)
{
    static const int64_t order[] = {1, 0, 2, 3};
    return ir_build_transpose(g, x, order);
}

static ir_value gate(loop *p, ir_op op, ir_value z, int at)
{
    const int64_t size = ir_type_of(p->body, z)->dim[1].count / 4;
    return ir_build_unary(p->body, op, ir_build_slice_dim(p->body, z, 1, at * size, (at + 1) * size));
}

/* All outputs and the last carry in one value. */
static ir_value join(ir_graph *g, ir_value all, ir_value last)
{
    const ir_type t = *ir_type_of(g, last);
    const ir_dim dim[3] = {t.dim[0], ir_fixed(1), t.dim[1]};
    return ir_build_binary(g, OP_add, time_first(g, all), ir_build_reshape(g, last, 3, dim));
}

/* in: h [N,2], c [N,2], x [N,T,8], weights [2,8], mask [N,T] (0 or 1). */
static ir_value build_lstm(ir_graph *g, const ir_value *in, bool reverse)
{
    loop p = begin(g);
    const ir_value h = add(&p, in[0], false), carry = add(&p, in[1], false);
    p.carried = 2;
    const ir_value x = add(&p, time_first(g, in[2]), true), w = add(&p, in[3], false);
    const ir_value on =
        ir_build_compare(g, "GT", in[4], ir_build_scalar(g, ir_type_of(g, in[4])->dtype, 0.5));
    const ir_value mask = add(&p, time_first(g, on), true);
    ir_graph *b = p.body;
    const ir_value z = ir_build_binary(b, OP_add, x, ir_build_dot(b, h, w));
    const ir_value i = gate(&p, OP_logistic, z, 0), f = gate(&p, OP_logistic, z, 1),
                   o = gate(&p, OP_logistic, z, 3);
    const ir_value taken = ir_build_binary(b, OP_multiply, i, gate(&p, OP_tanh, z, 2));
    ir_value c = ir_build_binary(b, OP_add, ir_build_binary(b, OP_multiply, f, carry), taken);
    ir_value y = ir_build_binary(b, OP_multiply, o, ir_build_unary(b, OP_tanh, c));
    const int64_t rows = 0;
    const ir_value wide = ir_build_broadcast_in_dim(b, mask, ir_type_of(b, y), &rows);
    c = ir_build_select(b, wide, c, carry);
    y = ir_build_select(b, wide, y, h);
    ir_graph_add_output(b, "h", y);
    ir_graph_add_output(b, "c", c);
    ir_graph_add_output(b, "y", y);
    const ir_value tuple = finish(&p, reverse);
    return join(g, ir_build_get(g, tuple, 2), ir_build_get(g, tuple, 1));
}

static ir_value build_lstm_forward(ir_graph *g, const ir_value *in) { return build_lstm(g, in, false); }
static ir_value build_lstm_reverse(ir_graph *g, const ir_value *in) { return build_lstm(g, in, true); }

/* in: h [N,2], x [N,T,2], weights [2,2], bias [2]. The bias comes in at each step, the weights twice. */
static ir_value build_simple(ir_graph *g, const ir_value *in)
{
    loop p = begin(g);
    const ir_value h = add(&p, in[0], false);
    p.carried = 1;
    const ir_value x = add(&p, time_first(g, in[1]), true), w = add(&p, in[2], false),
                   bias = add(&p, in[3], false);
    ir_graph *b = p.body;
    ir_value y = ir_build_binary(b, OP_add, ir_build_dot(b, x, w), ir_build_dot(b, h, w));
    y = ir_build_unary(b, OP_tanh, ir_build_binary(b, OP_add, y, bias));
    ir_graph_add_output(b, "h", y);
    const ir_value twice = ir_build_binary(b, OP_multiply, y, h);
    ir_graph_add_output(b, "y", twice);
    const ir_value tuple = finish(&p, false);
    return join(g, ir_build_get(g, tuple, 1), ir_build_get(g, tuple, 0));
}

/* in: h [N,2], x [N,T,2], factor [2]: the gradient of a constant that is no product is carried; a state that
 * passes. */
static ir_value build_passing(ir_graph *g, const ir_value *in)
{
    loop p = begin(g);
    const ir_value h = add(&p, in[0], false), still = add(&p, in[0], false);
    p.carried = 2;
    const ir_value x = add(&p, time_first(g, in[1]), true), factor = add(&p, in[2], false);
    ir_graph *b = p.body;
    const int64_t column = 1;
    const ir_value wide = ir_build_broadcast_in_dim(b, factor, ir_type_of(b, x), &column);
    const ir_value scaled =
        ir_build_select(b, ir_build_compare(b, "GT", x, h), ir_build_binary(b, OP_multiply, x, wide), h);
    ir_graph_add_output(b, "h", ir_build_binary(b, OP_multiply, scaled, ir_build_unary(b, OP_cosine, still)));
    ir_graph_add_output(b, "still", still);
    ir_graph_add_output(b, "before", h);
    const ir_value tuple = finish(&p, false);
    const ir_value last = ir_build_binary(g, OP_add, ir_build_get(g, tuple, 0), ir_build_get(g, tuple, 1));
    return join(g, ir_build_get(g, tuple, 2), last);
}

/* in: x [N,2]: each step puts the sums up to its row into that row. */
static ir_value build_by_rows(ir_graph *g, const ir_value *in)
{
    loop p = begin(g);
    const ir_type t = *ir_type_of(g, in[0]), rows = ir_type_make(DTYPE_i32, 1, t.dim);
    const ir_value number = add(&p, ir_build_scalar(g, DTYPE_i32, 0), false),
                   made = add(&p, ir_build_fill(g, t, 0), false);
    p.carried = 2;
    const ir_value x = add(&p, in[0], false);
    ir_graph *b = p.body;
    const int64_t row = 0;
    const ir_value all = ir_build_iota(b, rows, 0), here = ir_build_broadcast_in_dim(b, number, &rows, NULL);
    const ir_value till = ir_build_broadcast_in_dim(b, ir_build_compare(b, "LE", all, here), &t, &row);
    const ir_value sum = ir_build_reduce(b, "add", ir_build_select(b, till, x, ir_build_scalar(b, DTYPE_f32, 0)), 1, &row, true);
    const ir_value hit = ir_build_broadcast_in_dim(b, ir_build_compare(b, "EQ", all, here), &t, &row);
    ir_graph_add_output(b, "number", ir_build_binary_scalar(b, OP_add, number, 1));
    ir_graph_add_output(b, "made", ir_build_select(b, hit, ir_build_broadcast_to(b, sum, &t), made));
    const ir_attr attr[] = {{.name = ATTR_body, .graph = b}, INT(length, 1), INT(carried, 2), INT(by_rows, 1)};
    return ir_build_get(g, ir_build(g, OP_scan, p.count, p.in, 4, attr, NULL), 1);
}

/* in: c [N,U], x [N,T,U]. What a step keeps lies side by side and is stored in parts while the state changes in place. */
static ir_value build_parts(ir_graph *g, const ir_value *in)
{
    loop p = begin(g);
    const ir_value c = add(&p, in[0], false);
    p.carried = 1;
    ir_graph *b = p.body;
    const ir_value x = add(&p, time_first(g, in[1]), true), a = ir_build_unary(b, OP_tanh, x);
    const ir_value d = ir_build_unary(b, OP_logistic, c), e = ir_build_binary(b, OP_multiply, a, d);
    const ir_value kept[] = {a, e, c, d};
    ir_graph_add_output(b, "c", ir_build_binary(b, OP_add, c, e));
    ir_graph_add_output(b, "kept", ir_build_concatenate(b, 4, kept, 1));
    return time_first(g, ir_build_get(g, finish(&p, false), 1));
}

#define LSTM_OPERANDS                                                                                        \
    {                                                                                                        \
        {"f32[N,2]", -1, 1, 0, NULL}, {"f32[N,2]", -1, 1, 0, NULL}, {"f32[N,4,8]", -1, 1, 0, NULL},          \
            {"f32[2,8]", -1, 1, 0, NULL},                                                                    \
        {                                                                                                    \
            "f32[N,4]", -1, 2, 0, NULL                                                                       \
        }                                                                                                    \
    }

static const ops_case cases[] = {
    {.name = "scan_lstm", .op = OP_scan, .n = 3, .build = build_lstm_forward, .in = LSTM_OPERANDS},
    {.name = "scan_lstm_reverse", .op = OP_scan, .n = 3, .build = build_lstm_reverse, .in = LSTM_OPERANDS},
    {.name = "scan_lstm_wide",
     .op = OP_scan,
     .n = 17,
     .build = build_lstm_forward,
     .in = {{"f32[N,20]", -1, 1, 0, NULL},
            {"f32[N,20]", -1, 1, 0, NULL},
            {"f32[N,3,80]", -1, 1, 0, NULL},
            {"f32[20,80]", -1, 1, 0, NULL},
            {"f32[N,3]", -1, 2, 0, NULL}},
     .no_gradient = true},
    {.name = "scan_parts",
     .op = OP_scan,
     .n = 3,
     .build = build_parts,
     .in = {{"f32[N,20]", -1, 1, 0, NULL}, {"f32[N,4,20]", -1, 1, 0, NULL}},
     .no_gradient = true},
    {.name = "scan_simple",
     .op = OP_scan,
     .n = 3,
     .build = build_simple,
     .in = {{"f32[N,2]", -1, 1, 0, NULL},
            {"f32[N,5,2]", -1, 1, 0, NULL},
            {"f32[2,2]", -1, 1, 0, NULL},
            {"f32[2]", -1, 1, 0, NULL}}},
    {.name = "scan_by_rows",
     .op = OP_scan,
     .n = 3,
     .build = build_by_rows,
     .in = {{"f32[N,2]", -1, 1, 6, (const double[]){1, 2, 3, 4, 5, 6}}},
     .no_gradient = true,
     .expect_count = 6,
     .expect = (const double[]){1, 2, 4, 6, 9, 12}},
    {.name = "scan_passing",
     .op = OP_scan,
     .n = 3,
     .build = build_passing,
     .in = {{"f32[N,2]", -1, 1, 0, NULL}, {"f32[N,5,2]", -1, 1, 0, NULL}, {"f32[2]", -1, 1, 0, NULL}}},
};

const ops_list ops_cases_scan = {countof(cases), cases};
