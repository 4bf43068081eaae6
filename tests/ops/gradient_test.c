/* gradient_test.c: gradients of passes_gradient against central differences through the
 * interpreter, in f64, for every operation that has a gradient. Elements are random, so that
 * none sits on a kink. */
#include "ops/cases.h"
#include "passes/passes.h"
#include "test.h"

#include <math.h>

static const double STEP = 1e-5, TOLERANCE = 2e-6;
enum { MOST_ELEMENTS = 200 }; /* of an operand: each costs two runs */

typedef struct attempt {
    const ops_case *c;
    arena arena;
    ir_graph *g;
    int in_count;
    ir_value in[OPS_MAX_IN];
    ir_array ports[OPS_MAX_IN], variables[OPS_MAX_IN];
    ir_array *operand[OPS_MAX_IN];
    ir_array out[1 + OPS_MAX_IN]; /* the loss, then a gradient per operand that has one */
    int gradient_output[OPS_MAX_IN];
} attempt;

/* The sum of all elements of y, each with a weight of its own. */
static ir_value build_loss(ir_graph *g, ir_value y)
{
    const ir_type type = *ir_type_of(g, y);
    int64_t dimensions[IR_MAX_RANK];
    ir_value sum = y;
    for (int i = 0; i < type.rank; i++) {
        const ir_value place =
            ir_build_binary_scalar(g, OP_multiply, ir_build_iota(g, type, i), 1.3 + 0.2 * i);
        const ir_value weight = ir_build_unary(g, OP_cosine, ir_build_binary_scalar(g, OP_add, place, 0.4));
        sum = ir_build_binary(g, OP_multiply, sum, weight);
        dimensions[i] = i;
    }
    return ir_build_reduce(g, "add", sum, type.rank, dimensions, false);
}

static void fill_operands(attempt *t)
{
    for (int i = 0; i < t->in_count; i++) {
        const ir_node *node = ir_node_of(t->g, t->in[i]);
        ir_array *to = node->op == OP_parameter ? t->ports : t->variables;
        t->operand[i] = &to[ir_attr_int(node, ATTR_index, 0)];
        *t->operand[i] = ops_case_fill(t->c, i, &t->arena, ops_case_rows(t->c), true, true);
    }
}

/* A result without elements has no gradient worth the trouble; many elements take too long. */
static bool is_small(const attempt *t, const ir_type *result)
{
    for (int i = 0; i < t->in_count; i++) {
        if (ir_array_count(t->operand[i]) > MOST_ELEMENTS) return false;
    }
    return result->dtype == DTYPE_f64 && ir_type_elements_at(result, 1) > 0;
}

static double run_loss(attempt *t)
{
    arena scratch = {0};
    ir_interpret(t->g, &scratch, ops_case_rows(t->c), t->ports, t->variables, t->out);
    const double loss = ir_array_get(&t->out[0], 0);
    arena_done(&scratch);
    return loss;
}

/* Checks d loss / d element of operand i, one by one. */
static void check_operand(attempt *t, int i, const ir_array *gradient)
{
    ir_array *x = t->operand[i];
    for (int64_t k = 0; k < ir_array_count(x); k++) {
        const double held = ir_array_get(x, k);
        ir_array_set(x, k, held + STEP);
        const double above = run_loss(t);
        ir_array_set(x, k, held - STEP);
        const double below = run_loss(t);
        ir_array_set(x, k, held);
        const double want = (above - below) / (2 * STEP), got = gradient ? ir_array_get(gradient, k) : 0;
        TEST_CHECK(fabs(got - want) <= TOLERANCE * (1 + fabs(want)),
                   "%s: gradient of operand %d, element %lld: %.9g, by differences %.9g", t->c->name, i,
                   (long long)k, got, want);
    }
}

/* True when the case could be checked. */
static bool check_case(const ops_case *c)
{
    attempt t = {.c = c, .in_count = ops_case_in_count(c)};
    ir_value gradient[OPS_MAX_IN], wanted[OPS_MAX_IN];
    int which[OPS_MAX_IN], count = 0, outputs = 1;
    t.g = ir_module_add_graph(ir_module_new(&t.arena, "ops"), "train_step");
    const ir_value y = ops_case_build(t.g, c, true, t.in);
    fill_operands(&t);
    for (int i = 0; i < t.in_count; i++) {
        if (ir_type_of(t.g, t.in[i])->dtype != DTYPE_f64) continue;
        which[count] = i;
        wanted[count++] = t.in[i];
    }
    const bool possible = count > 0 && is_small(&t, ir_type_of(t.g, y));
    if (possible) {
        const ir_value loss = build_loss(t.g, y);
        passes_gradient(t.g, loss, count, wanted, gradient);
        ir_graph_add_output(t.g, "loss", loss);
        for (int i = 0; i < count; i++) {
            t.gradient_output[i] = gradient[i] == IR_NONE ? 0 : outputs++;
            if (gradient[i] != IR_NONE) ir_graph_add_output(t.g, c->in[which[i]].type, gradient[i]);
        }
        ir_graph_verify(t.g, c->name);
        ir_array result[1 + OPS_MAX_IN];
        ir_interpret(t.g, &t.arena, ops_case_rows(c), t.ports, t.variables, result);
        t.g->output_count = 1;
        for (int i = 0; i < count; i++) {
            check_operand(&t, which[i], t.gradient_output[i] > 0 ? &result[t.gradient_output[i]] : NULL);
        }
    }
    arena_done(&t.arena);
    return possible;
}

int main(int argc, char **argv)
{
    bool checked[OP_COUNT] = {false};
    for (size_t i = 0; i < ops_case_count(); i++) {
        const ops_case *c = ops_case_at(i);
        if (c->no_gradient || !ops_has_gradient(c->op) || (argc > 1 && strcmp(argv[1], c->name) != 0))
            continue;
        if (check_case(c)) checked[c->op] = true;
    }
    for (int op = 0; argc < 2 && op < OP_COUNT; op++) {
        TEST_CHECK(checked[op] || !ops_has_gradient((ir_op)op), "%s has no case with a gradient",
                   ir_op_name((ir_op)op));
    }
    return test_report();
}
