/* codegen_run.h: compiles the graphs of a module text to a shared library, runs a graph's launches serially,
 * and compares outputs and updated variables with the interpreter. */
#ifndef CODEGEN_RUN_H
#define CODEGEN_RUN_H

#include "codegen/codegen.h"
#include "passes/passes.h"
#include "test.h"
#include "tfcc_rt.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

enum { CODEGEN_SKIP = 77 };

typedef struct codegen_case {
    const char *name, *text;
    double tolerance; /* relative to the largest element; 0: 1e-6 */
} codegen_case;

typedef struct codegen_memory {
    char *fixed, *batch, *scratch;
    ir_array *port, *variable, *output;
} codegen_memory;

static inline uint32_t codegen_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Floats around 0, integers 0 .. 6, bools. */
static inline ir_array codegen_fill(arena *a, const ir_type *t, int64_t n, uint32_t *state)
{
    ir_array x = {.type = *t};
    for (int d = 0; d < t->rank; d++)
        x.type.dim[d] = ir_fixed(t->dim[d].batch ? t->dim[d].count * n : t->dim[d].count);
    int64_t count = ir_array_count(&x);
    x.data = arena_alloc(a, (size_t)count * ir_dtype_size(t->dtype) + 64);
    for (int64_t i = 0; i < count; i++) {
        double r = codegen_random(state) / 16777216.0;
        bool real = ir_dtype_is_float(t->dtype);
        ir_array_set(&x, i, real ? r * 4 - 2 : t->dtype == DTYPE_i1 ? r > 0.5 : floor(r * 7));
    }
    return x;
}

static inline ir_array codegen_copy(arena *a, const ir_array *x)
{
    ir_array y = *x;
    size_t bytes = (size_t)ir_array_count(x) * ir_dtype_size(x->type.dtype);
    y.data = arena_alloc(a, bytes + 64);
    memcpy(y.data, x->data, bytes);
    return y;
}

static inline void *codegen_address(const codegen_memory *m, const tfcc_program *p, const tfcc_place *at,
                                    int64_t n)
{
    switch (at->space) {
    case TFCC_FIXED:
        return m->fixed + at->offset;
    case TFCC_BATCH:
        return m->batch + at->offset * (uint64_t)n;
    case TFCC_VARIABLE:
        return m->variable[at->offset].data;
    case TFCC_INPUT:
        return m->port[at->offset].data;
    case TFCC_OUTPUT:
        return m->output[at->offset].data;
    case TFCC_CONSTANT:
        return (char *)(uintptr_t)p->constants + at->offset;
    default:
        abort();
    }
}

/* Tasks in reverse order: they must not depend on each other. */
static inline void codegen_launch(const codegen_memory *m, const tfcc_program *p, const tfcc_launch *l,
                                  int64_t n)
{
    void **arg = calloc(l->arg_count + 1, sizeof *arg);
    for (uint32_t i = 0; i < l->arg_count; i++) arg[i] = codegen_address(m, p, &l->arg[i], n);
    int64_t rows = l->rows * (l->rows_batch ? n : 1), tasks = (rows + l->grain - 1) / l->grain * l->times;
    for (int64_t task = tasks - 1; task >= 0; task--) {
        memset(m->scratch, 0x7f, p->scratch_bytes); /* what a kernel has not written is no number */
        l->run(arg, n, task, m->scratch);
    }
    free(arg);
}

static inline void *codegen_block(arena *a, uint64_t size)
{
    char *p = arena_alloc(a, size + 128);
    memset(p, 0x7f, size + 128);
    return p + (64 - (uintptr_t)p % 64);
}

static inline void codegen_compare(const codegen_case *t, const char *what, int64_t n, const ir_array *got,
                                   const ir_array *want)
{
    double tolerance = t->tolerance > 0 ? t->tolerance : 1e-6, largest = 1e-30, worst = 0;
    int64_t where = -1, count = ir_array_count(want);
    for (int64_t i = 0; i < count; i++) {
        double w = ir_array_get(want, i);
        if (isfinite(w)) largest = fmax(largest, fabs(w));
    }
    for (int64_t i = 0; i < count; i++) {
        double g = ir_array_get(got, i), w = ir_array_get(want, i);
        if (g == w || (isnan(g) && isnan(w))) continue;
        double error = isfinite(g) && isfinite(w) ? fabs(g - w) / fmax(fabs(w), 1e-3 * largest) : HUGE_VAL;
        if (error > worst) worst = error, where = i;
    }
    TEST_CHECK(worst <= tolerance, "%s, N=%d, %s[%d]: got %.9g, want %.9g (error %.2g)", t->name, (int)n,
               what, (int)where, ir_array_get(got, where < 0 ? 0 : where),
               ir_array_get(want, where < 0 ? 0 : where), worst);
}

static inline void codegen_run_graph(const codegen_case *t, const tfcc_program *p, size_t which,
                                     const ir_graph *original, int64_t n)
{
    arena a = {0};
    uint32_t state = 1;
    const ir_module *m = original->module;
    codegen_memory memory = {.port = arena_array(&a, ir_array, m->port_count + 1)};
    memory.variable = arena_array(&a, ir_array, p->variable_count + 1);
    memory.output = arena_array(&a, ir_array, original->output_count + 1);
    ir_array *variable = arena_array(&a, ir_array, m->variable_count + 1);
    ir_array *want = arena_array(&a, ir_array, original->output_count + 1);
    for (size_t i = 0; i < m->port_count; i++) memory.port[i] = codegen_fill(&a, &m->port[i].type, n, &state);
    for (size_t i = 0; i < m->variable_count; i++) {
        variable[i] = codegen_fill(&a, &m->variable[i].type, n, &state);
        memory.variable[i] = codegen_copy(&a, &variable[i]);
    }
    ir_interpret(original, &a, n, memory.port, variable, want);
    for (size_t i = 0; i < original->output_count; i++) memory.output[i] = codegen_copy(&a, &want[i]);
    for (size_t i = 0; i < original->output_count; i++) {
        memset(memory.output[i].data, 0x7f,
               (size_t)ir_array_count(&want[i]) * ir_dtype_size(want[i].type.dtype));
    }
    const tfcc_graph *g = &p->graph[which];
    memory.fixed = codegen_block(&a, g->fixed_bytes);
    memory.batch = codegen_block(&a, g->batch_bytes * (uint64_t)n);
    memory.scratch = codegen_block(&a, p->scratch_bytes);
    for (uint64_t i = 0; i < g->launch_count; i++) codegen_launch(&memory, p, &g->launch[i], n);
    for (size_t i = 0; i < original->output_count; i++) {
        codegen_compare(t, original->output[i].name, n, &memory.output[i], &want[i]);
    }
    for (size_t i = 0; i < m->variable_count; i++) {
        codegen_compare(t, m->variable[i].name, n, &memory.variable[i], &variable[i]);
    }
    arena_done(&a);
}

static inline ir_module *codegen_parse(arena *a, const codegen_case *t)
{
    diag d = {.arena = a, .file = t->name};
    ir_module *m = ir_module_parse(a, t->text, strlen(t->text), &d);
    diag_print(&d, stdout);
    TEST_CHECK(m != NULL, "%s does not parse", t->name);
    return m;
}

/* Compiles a case by the passes `only` (NULL: the whole pipeline) and loads it; NULL: it failed, and that was counted. */
static inline void *codegen_load(arena *a, const codegen_case *t, const char *only, const char *cpu,
                                 const tfcc_program **out_program)
{
    char object[64], library[64], command[256];
    diag d = {.arena = a, .file = t->name};
    ir_module *m = codegen_parse(a, t);
    if (!m) return NULL;
    const passes_options po = {.level = 2, .verify = 1, .only = only};
    const codegen_options co = {.cpu = cpu, .level = 2, .threads = 1, .summary = ""};
    snprintf(object, sizeof object, "codegen_%d.o", (int)getpid());
    snprintf(library, sizeof library, "./codegen_%d.so", (int)getpid());
    snprintf(command, sizeof command, "cc -shared -o %s %s -lm", library, object);
    bool good = passes_run(m, &po, &d) && codegen_write(m, &co, CODEGEN_OBJECT, object, &d);
    diag_print(&d, stdout);
    TEST_CHECK(good, "%s is not compiled", t->name);
    void *handle = good && system(command) == 0 ? dlopen(library, RTLD_NOW | RTLD_LOCAL) : NULL;
    TEST_CHECK(handle != NULL, "%s: %s", t->name, good ? dlerror() : "");
    const tfcc_program *(*get)(void) = NULL;
    if (handle) *(void **)&get = dlsym(handle, "tfcc_get_program");
    if (get) *out_program = get();
    remove(object);
    remove(library);
    return get ? handle : NULL;
}

/* Runs all graphs of a case, planned by `only` (NULL: the whole pipeline), with batches of so many rows. */
static inline void codegen_check_sizes(const codegen_case *t, const char *only, const char *cpu, const int64_t *sizes,
                                       size_t size_count)
{
    arena a = {0};
    const tfcc_program *program = NULL;
    ir_module *original = codegen_parse(&a, t);
    void *handle = original ? codegen_load(&a, t, only, cpu, &program) : NULL;
    for (size_t i = 0; handle && i < original->graph_count; i++) {
        for (size_t k = 0; k < size_count; k++)
            codegen_run_graph(t, program, i, original->graph[i], sizes[k]);
    }
    if (handle) dlclose(handle);
    arena_done(&a);
}

static inline void codegen_check(const codegen_case *t, const char *only, const char *cpu)
{
    static const int64_t sizes[] = {1, 5, 67};
    codegen_check_sizes(t, only, cpu, sizes, countof(sizes));
}

#endif
