/* plan_test.c: planned kernels against plain interpretation, for every case and a gradient of it. The kernels
 * are run by the interpreter through simulated slabs (plan_run.h), so this finds what passes get wrong about
 * order, memory and in-place updates without a code generator. */
#include "ops/cases.h"
#include "ops/plan_run.h"
#include "passes/passes.h"
#include "test.h"

#include <math.h>

static const int64_t row_counts[] = {1, 3, 37};

typedef struct attempt {
    arena arena;
    ir_module *module[2]; /* as built; through the passes */
    ir_graph *graph[2];
    ir_value in[OPS_MAX_IN];
    int in_count;
} attempt;

static void build_graphs(attempt *t, const ops_case *c)
{
    t->in_count = ops_case_in_count(c);
    for (int i = 0; i < 2; i++) {
        t->module[i] = ir_module_new(&t->arena, c->name);
        t->graph[i] = ir_module_add_graph(t->module[i], "predict");
        const ir_value y = ops_case_build(t->graph[i], c, false, t->in);
        ops_case_add_outputs(t->graph[i], c, t->in, y);
    }
}

static bool is_close(double a, double b)
{
    return a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= 1e-4 * (1 + fabs(a) + fabs(b));
}

static void check_rows(attempt *t, const ops_case *c, int64_t n)
{
    ir_array ports[OPS_MAX_IN], variables[2][OPS_MAX_IN];
    const size_t count = t->graph[0]->output_count;
    ir_array *want = arena_array(&t->arena, ir_array, count), *got = arena_array(&t->arena, ir_array, count);
    for (int i = 0; i < t->in_count; i++) {
        const ir_node *node = ir_node_of(t->graph[0], t->in[i]);
        const int64_t index = ir_attr_int(node, ATTR_index, 0);
        const ir_array x = ops_case_fill(c, i, &t->arena, n, false, true);
        if (node->op == OP_parameter)
            ports[index] = x;
        else
            variables[0][index] = variables[1][index] = x;
    }
    ir_interpret(t->graph[0], &t->arena, n, ports, variables[0], want);
    const int problems = plan_interpret(t->graph[1], &t->arena, n, ports, variables[1], got);
    TEST_CHECK(problems == 0, "%s: %d problems in the plan", c->name, problems);
    for (size_t i = 0; i < count; i++) {
        for (int64_t k = 0; k < ir_array_count(&want[i]); k++) {
            const double a = ir_array_get(&want[i], k), b = ir_array_get(&got[i], k);
            TEST_CHECK(is_close(a, b), "%s, %lld rows, output %zu, element %lld: %g, planned %g", c->name,
                       (long long)n, i, (long long)k, a, b);
        }
    }
}

static void check_case(const ops_case *c, int level)
{
    attempt t = {0};
    diag d = {.arena = &t.arena};
    const passes_options options = {.level = level, .verify = 2, .columns = 16};
    build_graphs(&t, c);
    const bool good = passes_run(t.module[1], &options, &d);
    TEST_CHECK(good, "%s: refused", c->name);
    diag_print(&d, stdout);
    for (size_t i = 0; good && i < countof(row_counts); i++) {
        check_rows(&t, c, row_counts[i]);
    }
    arena_done(&t.arena);
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
