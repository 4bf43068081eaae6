/* nest_ragged.c: operations on ragged rows: calls of functions of the runtime (sparse/ragged.h), a task for a range of rows. */
#include "codegen/cg_rules.h"

void cg_nest_ragged(cg *c)
{
    enum { TASKS = 16, ROWS_A_TASK = 4, VALUES_A_TASK = 256 };
    const ir_node *n = cg_node(c, c->body->main);
    const ir_type *index = cg_type(c, n->in[1]);
    const ir_dim rows = index->dim[0];
    const bool permute = n->op == OP_ragged_permute;
    const int64_t some = permute ? VALUES_A_TASK : ROWS_A_TASK;
    const int64_t grain = rows.batch ? some : (rows.count + TASKS - 1) / TASKS;
    const char *symbol = arena_printf(c->arena, "tfcc_%s", ir_op_name(n->op));
    LLVMTypeRef param[] = {c->ptr, c->ptr, c->ptr, c->i64, c->i64, c->i64, c->i64};
    LLVMTypeRef type = LLVMFunctionType(c->none, param, 7, 0);
    int64_t width = 1;
    for (int i = 1; i < n->type.rank; i++) width *= n->type.dim[i].count;
    cg_kernel_begin(c);
    cg_value fn = LLVMGetNamedFunction(c->module, symbol), arg[7];
    if (!fn) fn = LLVMAddFunction(c->module, symbol, type);
    for (int i = 0; i < 2; i++) arg[i] = c->binding[n->in[i]].address;
    arg[2] = c->arg[cg_body_root_arg(c->body, 0)];
    cg_task_rows(c, rows, base_max(grain, 1), 1, &arg[3], &arg[4], NULL);
    arg[5] = cg_i64(c, width);
    arg[6] = cg_i64(c, (int64_t)ir_dtype_size(n->type.dtype));
    LLVMBuildCall2(c->b, type, fn, arg, 7, "");
    cg_kernel_end(c, rows, base_max(grain, 1), 1);
}
