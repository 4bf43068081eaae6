/* nest_words.c: operations on strings: calls of functions of the runtime (words/), a task for a range of elements. */
#include "codegen/cg_rules.h"
#include "words/words.h"

/* All dims, but for tokens the last, which is a row's. */
static ir_dim units_of(const ir_node *n)
{
    int dims[IR_MAX_RANK], count = 0;
    for (int d = 0; d < n->type.rank - (n->op == OP_tokens); d++) dims[count++] = d;
    return cg_dims_product(&n->type, count, dims);
}

static cg_value declare(cg *c, const char *symbol, LLVMTypeRef type)
{
    cg_value fn = LLVMGetNamedFunction(c->module, symbol);
    return fn ? fn : LLVMAddFunction(c->module, symbol, type);
}

/* The address of the elements of operand i; NULL when there is none. */
static cg_value address_of(cg *c, const ir_node *n, int i)
{
    if (i >= n->in_count) return LLVMConstNull(c->ptr);
    const cg_binding *b = &c->binding[n->in[i]];
    bug_if(b->source != CG_MEMORY, "an operand of %s is not in memory", ir_op_name(n->op));
    return b->address;
}

void cg_nest_words(cg *c)
{
    enum { STRINGS_A_TASK = 256 };
    const ir_node *n = cg_node(c, c->body->main);
    const words_kind kind = cg_type(c, n->in[0])->dtype == DTYPE_str ? WORDS_TEXT : WORDS_INTEGER;
    const ir_dim units = units_of(n);
    const char *symbol;
    bug_if(!words_find(ir_op_name(n->op), kind, &symbol), "no function for %s", ir_op_name(n->op));
    LLVMTypeRef param[] = {c->ptr, c->ptr, c->ptr, c->ptr, c->i64, c->i64};
    LLVMTypeRef type = LLVMFunctionType(c->none, param, 6, 0);
    cg_kernel_begin(c);
    cg_value arg[6];
    for (int i = 0; i < 3; i++) arg[i] = address_of(c, n, i);
    arg[3] = c->arg[cg_body_root_arg(c->body, 0)];
    cg_task_rows(c, units, STRINGS_A_TASK, 1, &arg[4], &arg[5], NULL);
    LLVMBuildCall2(c->b, type, declare(c, symbol, type), arg, 6, "");
    cg_kernel_end(c, units, STRINGS_A_TASK, 1);
}
