/* nest_call.c: custom_call: a call of the library per matrix. Operands that lie in memory are passed as they lie, others
 * are written to scratch memory first. */
#include "codegen/cg_rules.h"

enum { MOST_ARGUMENTS = 6, ALIGNMENTS = 4 };

typedef struct caller {
    const ir_node *node;
    ir_call_sizes sizes;
    ir_dtype dtype;
    LLVMTypeRef type;    /* of the called function */
    cg_value fn;
    cg_value argument;   /* memory for the addresses */
    cg_value scratch;
    cg_value copy[2];    /* per operand: where it is written to, or NULL */
    cg_value result[MOST_ARGUMENTS];
} caller;

/* Elements of one matrix. */
static int64_t matrix_size(const ir_type *whole, const ir_type *leading)
{
    int64_t size = 1;
    for (int d = leading->rank; d < whole->rank; d++) size *= whole->dim[d].count;
    return size;
}

static cg_value matrix_at(cg *c, cg_value address, ir_dtype dtype, int64_t size, cg_value number)
{
    const int64_t bytes = size * (int64_t)ir_dtype_size(dtype);
    return cg_at(c, c->i8, address, cg_mul(c, number, cg_i64(c, bytes)));
}

static void copy_matrix(cg *c, ir_value v, cg_value to, cg_value number, int64_t size)
{
    const ir_type *t = cg_type(c, v);
    const LLVMTypeRef element = cg_memory_type(c, t->dtype);
    cg_loop l;
    cg_value at[IR_MAX_RANK];
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, size), 1, 0, NULL);
    cg_index_split(c, t, 0, t->rank, cg_add(c, cg_mul(c, number, cg_i64(c, size)), l.i), at);
    const cg_index index = cg_index_make(1, t->rank, at);
    const cg_value x = cg_to_memory(c, t->dtype, cg_element(c, v, &index));
    cg_store(c, x, cg_at(c, element, to, l.i), (int)ir_dtype_size(t->dtype));
    cg_loop_end(c, &l, NULL);
}

/* The elements of the tuple lie one after another, as those of a sort. */
static void find_results(cg *c, caller *x)
{
    ir_dim skipped = ir_fixed(0);
    for (int e = 0; e < x->node->type.element_count; e++) {
        const ir_type *t = &x->node->type.element[e];
        ir_dim all = ir_fixed(0);
        bug_if(!ir_type_elements(t, &all), "a call whose results cannot be counted");
        skipped.batch = all.batch;
        x->result[e] = cg_at(c, c->i8, c->arg[cg_body_root_arg(c->body, 0)], cg_dim(c, skipped));
        skipped.count += (all.count * (int64_t)ir_dtype_size(t->dtype) + 63) / 64 * 64;
    }
}

static void emit_matrix(cg *c, const caller *x, const ir_type *leading, cg_value number)
{
    int count = 0;
    const ir_node *n = x->node;
    for (int i = 0; i < n->in_count; i++) {
        const int64_t size = matrix_size(cg_type(c, n->in[i]), leading);
        cg_value at = x->copy[i];
        if (at)
            copy_matrix(c, n->in[i], at, number, size);
        else
            at = matrix_at(c, c->binding[n->in[i]].address, x->dtype, size, number);
        cg_store(c, at, cg_at(c, c->ptr, x->argument, cg_i64(c, count++)), 8);
    }
    for (int e = 0; e < n->type.element_count; e++) {
        const ir_type *t = &n->type.element[e];
        const cg_value at = matrix_at(c, x->result[e], t->dtype, matrix_size(t, leading), number);
        cg_store(c, at, cg_at(c, c->ptr, x->argument, cg_i64(c, count++)), 8);
    }
    const int64_t flags = x->sizes.lower | x->sizes.transpose << 1 | x->sizes.full << 2;
    cg_value arg[] = {x->argument, cg_i64(c, x->sizes.m), cg_i64(c, x->sizes.n),
                      cg_i64(c, x->sizes.k), cg_i64(c, flags), x->scratch};
    LLVMBuildCall2(c->b, x->type, x->fn, arg, (unsigned)countof(arg), "");
}

static void declare(cg *c, caller *x)
{
    const char *suffix = x->dtype == DTYPE_f64 ? "f64" : "f32";
    const char *name = arena_printf(&c->scratch, "tfcc_linalg_%s_%s", ir_call_name(x->sizes.call), suffix);
    LLVMTypeRef param[] = {c->ptr, c->i64, c->i64, c->i64, c->i64, c->ptr};
    x->type = LLVMFunctionType(c->none, param, (unsigned)countof(param), 0);
    x->fn = LLVMGetNamedFunction(c->module, name);
    if (!x->fn) x->fn = LLVMAddFunction(c->module, name, x->type);
}

void cg_nest_custom_call(cg *c)
{
    caller x = {.node = cg_node(c, c->body->main)};
    const ir_type *a = cg_type(c, x.node->in[0]);
    ir_type leading = *a;
    leading.rank -= 2;
    x.sizes = ir_call_sizes_of(c->body->graph, x.node);
    x.dtype = a->dtype;
    const int64_t element = (int64_t)ir_dtype_size(x.dtype);
    const int64_t least = base_min(x.sizes.m, x.sizes.n), work = x.sizes.m * x.sizes.n * (least + x.sizes.k);
    const int64_t grain = cg_grain(x.sizes.m * x.sizes.n * element, 4 * work);
    int all[IR_MAX_RANK] = {0};
    for (int d = 0; d < leading.rank; d++) all[d] = d;
    const ir_dim rows = cg_dims_product(a, leading.rank, all);
    cg_kernel_begin(c);
    declare(c, &x);
    x.argument = cg_scratch(c, MOST_ARGUMENTS * 8);
    x.scratch = cg_scratch(c, ir_call_scratch(&x.sizes) * element + ALIGNMENTS * CG_ALIGN);
    for (int i = 0; i < x.node->in_count; i++) {
        const ir_value in = x.node->in[i];
        if (c->binding[in].source == CG_MEMORY) continue;
        x.copy[i] = cg_scratch(c, matrix_size(cg_type(c, in), &leading) * element);
    }
    find_results(c, &x);
    cg_value begin, end;
    cg_task_rows(c, rows, grain, 1, &begin, &end, NULL);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    emit_matrix(c, &x, &leading, l.i);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, 1);
}
