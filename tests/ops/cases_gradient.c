/* cases_gradient.c: the outputs that a case's graph is compared by: the result, and the gradients of the
 * sum of its squares. */
#include "ops/cases.h"
#include "passes/passes.h"

#include <string.h>

static const char *const grad_rule[OP_COUNT] = {
#define OP(name, class, in, shape, attrs, grad, ...) [OP_##name] = #grad,
#include "ir/ops.def"
};

bool ops_has_gradient(ir_op op)
{
    return strcmp(grad_rule[op], "zero") != 0 && strcmp(grad_rule[op], "none") != 0;
}

void ops_case_add_outputs(ir_graph *g, const ops_case *c, const ir_value *in, ir_value y)
{
    static const int64_t all[IR_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    const ir_type type = *ir_type_of(g, y);
    ir_value wanted[OPS_MAX_IN], gradient[OPS_MAX_IN];
    int count = 0;
    ir_graph_add_output(g, c->name, y);
    for (int i = 0; i < ops_case_in_count(c); i++) {
        if (ir_type_of(g, in[i])->dtype == DTYPE_f32) wanted[count++] = in[i];
    }
    if (c->no_gradient || !ops_has_gradient(c->op) || count == 0) return;
    if (type.dtype != DTYPE_f32 || ir_type_elements_at(&type, 1) == 0) return;
    const ir_value square = ir_build_binary(g, OP_multiply, y, y);
    passes_gradient(g, ir_build_reduce(g, "add", square, type.rank, all, false), count, wanted, gradient);
    for (int i = 0; i < count; i++) {
        const char *name = arena_printf(g->arena, "%s_gradient_%d", c->name, i);
        if (gradient[i] != IR_NONE) ir_graph_add_output(g, name, gradient[i]);
    }
}
