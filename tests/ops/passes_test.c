/* passes_test.c: what the pipeline leaves of a graph computes the same, by the interpreter, for
 * every case and, where there is one, its gradient. Kernels and places only have to be legal.
 */
#include "ops/cases.h"
#include "passes/passes.h"
#include "test.h"

#include <math.h>

typedef struct setup {
    const ops_case *c;
    ir_graph *g;
    int in_count;
    ir_value in[OPS_MAX_IN];
    ir_array ports[OPS_MAX_IN], variables[OPS_MAX_IN];
} setup;

static void build(setup *s, arena *a)
{
    s->g = ir_module_add_graph(ir_module_new(a, "ops"), "predict");
    s->in_count = ops_case_in_count(s->c);
    const ir_value y = ops_case_build(s->g, s->c, false, s->in);
    for (int i = 0; i < s->in_count; i++) {
        const ir_node *node = ir_node_of(s->g, s->in[i]);
        ir_array *to = node->op == OP_parameter ? s->ports : s->variables;
        to += ir_attr_int(node, ATTR_index, 0);
        *to = ops_case_fill(s->c, i, a, ops_case_rows(s->c), false, true);
    }
    ops_case_add_outputs(s->g, s->c, s->in, y);
}

static double tolerance_of(ir_dtype t)
{
    switch (t) {
    case DTYPE_f16:
        return 2e-3;
    case DTYPE_bf16:
        return 1.6e-2;
    case DTYPE_f32:
        return 2e-6;
    case DTYPE_f64:
        return 1e-13;
    default:
        return 0;
    }
}

static void compare(const setup *s, size_t output, int level, const ir_array *got, const ir_array *want)
{
    double largest = 1e-3;
    for (int64_t i = 0; i < ir_array_count(want); i++) {
        const double size = fabs(ir_array_get(want, i));
        if (isfinite(size)) largest = fmax(largest, size);
    }
    TEST_CHECK(ir_type_equal(&got->type, &want->type), "%s: output %zu has changed its type", s->c->name,
               output);
    for (int64_t i = 0; i < ir_array_count(want); i++) {
        const double a = ir_array_get(got, i), b = ir_array_get(want, i);
        const bool same =
            a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tolerance_of(want->type.dtype) * largest;
        TEST_CHECK(same, "%s, -O%d, output %zu: element %lld is %.9g after the passes, %.9g before",
                   s->c->name, level, output, (long long)i, a, b);
        if (!same) return;
    }
}

static void check_case(const ops_case *c, int level)
{
    arena a = {0};
    setup s = {.c = c};
    diag d = {.arena = &a};
    build(&s, &a);
    const passes_options options = {.level = level, .verify = 2, .columns = 16};
    const size_t outputs = s.g->output_count;
    ir_array want[1 + OPS_MAX_IN], got[1 + OPS_MAX_IN];
    ir_interpret(s.g, &a, ops_case_rows(c), s.ports, s.variables, want);
    const bool done = passes_run(s.g->module, &options, &d);
    diag_print(&d, stdout);
    TEST_CHECK(done && s.g->output_count == outputs, "%s, -O%d: the passes failed", c->name, level);
    if (done) ir_interpret(s.g, &a, ops_case_rows(c), s.ports, s.variables, got);
    for (size_t i = 0; done && i < outputs; i++) {
        compare(&s, i, level, &got[i], &want[i]);
    }
    arena_done(&a);
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < ops_case_count(); i++) {
        const ops_case *c = ops_case_at(i);
        if (argc > 1 && strcmp(argv[1], c->name) != 0) continue;
        check_case(c, 0);
        check_case(c, 2);
    }
    return test_report();
}
