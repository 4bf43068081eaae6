/* interp_test.c: the reference interpreter against elements that NumPy and JAX computed, for
 * every operation. */
#include "ops/cases.h"
#include "test.h"

#include <math.h>

/* Relative to the larger of the number and 1: one rounding of the dtype, and a little for libm.
 */
static double tolerance_of(ir_dtype t)
{
    switch (t) {
    case DTYPE_f16:
        return 1e-3;
    case DTYPE_bf16:
        return 8e-3;
    case DTYPE_f32:
        return 3e-7;
    case DTYPE_f64:
        return 1e-12;
    default:
        return 0;
    }
}

static bool is_close(double got, double want, double tolerance)
{
    if (isnan(want)) return isnan(got);
    if (isinf(want) || isinf(got)) return got == want;
    return fabs(got - want) <= tolerance * fmax(fabs(want), 1e-3);
}

static void check_case(const ops_case *c)
{
    arena a = {0};
    ir_module *m = ir_module_new(&a, "ops");
    ir_graph *g = ir_module_add_graph(m, "predict");
    ir_value in[OPS_MAX_IN];
    ir_array ports[OPS_MAX_IN], variables[OPS_MAX_IN], got;
    const ir_value v = ops_case_build(g, c, false, in);
    for (int i = 0; i < ops_case_in_count(c); i++) {
        const ir_node *node = ir_node_of(g, in[i]);
        ir_array *to = node->op == OP_parameter ? ports : variables;
        to[ir_attr_int(node, ATTR_index, 0)] = ops_case_fill(c, i, &a, ops_case_rows(c), false, false);
    }
    ir_graph_add_output(g, "out", v);
    ir_graph_verify(g, c->name);
    ir_interpret(g, &a, ops_case_rows(c), ports, variables, &got);
    TEST_CHECK(ir_array_count(&got) == c->expect_count, "%s: %lld elements, not %d", c->name,
               (long long)ir_array_count(&got), c->expect_count);
    for (int i = 0; i < c->expect_count && i < ir_array_count(&got); i++) {
        const double element = ir_array_get(&got, i), want = c->expect[i];
        TEST_CHECK(is_close(element, want, tolerance_of(got.type.dtype)), "%s: element %d is %.9g, not %.9g",
                   c->name, i, element, want);
    }
    arena_done(&a);
}

int main(void)
{
    bool known[OP_COUNT] = {false};
    for (size_t i = 0; i < ops_case_count(); i++) {
        const ops_case *c = ops_case_at(i);
        if (!c->expect) continue;
        known[c->op] = true;
        check_case(c);
    }
    for (int op = 0; op < OP_COUNT; op++) {
        TEST_CHECK(known[op], "%s has no case with known elements", ir_op_name((ir_op)op));
    }
    return test_report();
}
