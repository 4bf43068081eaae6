/* interp_call.c: custom_call in the interpreter. The functions are those of runtime/linalg/, as in compiled programs; a
 * program that links no such library cannot interpret these nodes. */
#include "ir/interp.h"

typedef void call_fn(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch);

#define CALL(name, ...) BASE_WEAK call_fn tfcc_linalg_##name##_f32, tfcc_linalg_##name##_f64;
#include "ir/calls.def"

static call_fn *const functions[CALL_COUNT][2] = {
#define CALL(name, ...) {tfcc_linalg_##name##_f32, tfcc_linalg_##name##_f64},
#include "ir/calls.def"
};

static void *advance(const ir_array *x, int64_t matrix, int64_t count)
{
    const int64_t size = ir_array_count(x) / count * (int64_t)ir_dtype_size(x->type.dtype);
    return (char *)x->data + matrix * size;
}

void interp_nest_custom_call(const interp *c)
{
    const ir_call_sizes s = ir_call_sizes_of(c->graph, c->node);
    const ir_array *result = c->out->data;
    const int results = c->out->type.element_count, ins = c->node->in_count;
    const ir_dtype dtype = c->in[0].type.dtype;
    call_fn *run = functions[s.call][dtype == DTYPE_f64];
    bug_if(!run, "this program has no library for %s", ir_call_name(s.call));
    const int64_t count = ir_array_count(&c->in[0]) / (s.m * s.n);
    const int64_t flags = s.lower | s.transpose << 1 | s.full << 2;
    const arena_mark mark = arena_save(c->arena);
    char *scratch = arena_alloc(c->arena, (size_t)ir_call_scratch(&s) * ir_dtype_size(dtype) + 6 * 64);
    scratch += 64 - (uintptr_t)scratch % 64;
    for (int64_t i = 0; i < count; i++) {
        void *arg[8];
        for (int a = 0; a < ins; a++) arg[a] = advance(&c->in[a], i, count);
        for (int r = 0; r < results; r++) arg[ins + r] = advance(&result[r], i, count);
        run(arg, s.m, s.n, s.k, flags, scratch);
    }
    arena_release(c->arena, mark);
}
