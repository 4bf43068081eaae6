/* nest_sparse.c: products of sparse rows: calls of functions of the runtime (sparse/), a task for a range of rows of the
 * result. */
#include "codegen/cg_rules.h"

void cg_nest_sparse(cg *c)
{
    enum { ROWS_A_TASK = 64, TASKS = 16 };
    const ir_node *n = cg_node(c, c->body->main);
    const ir_dim rows = n->type.dim[0];
    const int64_t grain = rows.batch ? ROWS_A_TASK : (rows.count + TASKS - 1) / TASKS;
    const char *name = ir_op_name(n->op);
    if (n->op == OP_sparse_encode) name = arena_printf(c->arena, "%s_%s", name, ir_attr_text(n, ATTR_kind));
    const char *symbol = arena_printf(c->arena, "tfcc_%s", name);
    const ir_type *x = cg_type(c, n->in[0]);
    LLVMTypeRef param[] = {c->ptr, c->ptr, c->ptr, c->i64, c->i64, c->i64, c->i64, c->i64};
    LLVMTypeRef type = LLVMFunctionType(c->none, param, 8, 0);
    cg_kernel_begin(c);
    cg_value fn = LLVMGetNamedFunction(c->module, symbol), arg[8];
    if (!fn) fn = LLVMAddFunction(c->module, symbol, type);
    for (int i = 0; i < 2; i++) arg[i] = i < n->in_count ? c->binding[n->in[i]].address : LLVMConstNull(c->ptr);
    arg[2] = c->arg[cg_body_root_arg(c->body, 0)];
    cg_task_rows(c, rows, grain, 1, &arg[3], &arg[4], NULL);
    arg[5] = cg_dim(c, x->dim[0]);
    arg[6] = cg_dim(c, n->type.dim[1]);
    arg[7] = cg_i64(c, n->op == OP_sparse_encode ? ir_attr_int(n, ATTR_length, 0) : x->rank == 2 ? x->dim[1].count : 0);
    LLVMBuildCall2(c->b, type, fn, arg, 8, "");
    cg_kernel_end(c, rows, grain, 1);
}
