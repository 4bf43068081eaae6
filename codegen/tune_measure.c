/* tune_measure.c: choices as machine code in this process, run on as many threads as the program will have, see tune.h.
 * The code is what codegen would write; only buffers are made up: the planned sizes, numbers between 1/4 and 1. */
#define _DEFAULT_SOURCE /* madvise */
#include "codegen/tune.h"
#include "codegen/tune_run.h"

#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct tune_code {
    arena arena, *keep; /* keep: what is said of the kernel */
    cg cg;
    text object;
    int count;
    cg_body body[TUNE_CANDIDATES];
    ir_graph graph[TUNE_CANDIDATES];
    cg_kernel kernel[TUNE_CANDIDATES];
    const char *symbol[TUNE_CANDIDATES][CG_LAUNCHES];
    bool same[TUNE_CANDIDATES]; /* as an earlier one */
};

/* ---- code ----------------------------------------------------------------------------------- */

/* The functions of a kernel, without their names. */
static char *print_functions(const cg_kernel *k)
{
    text t = {0};
    for (int i = 0; i < k->launch_count; i++) {
        const cg_launch *l = &k->launch[i];
        char *ir = LLVMPrintValueToString(l->fn);
        const char *body = strchr(ir, '{');
        text_add(&t, "%lld %d %lld %lld %s", (long long)l->rows.count, (int)l->rows.batch, (long long)l->grain,
                 (long long)l->times, body ? body : "");
        LLVMDisposeMessage(ir);
    }
    return t.data;
}

static void build_one(tune_code *c, const tune_kernel *k, int i, const tune_choice *choice)
{
    c->graph[i] = *k->body.graph;
    c->graph[i].node = arena_copy(&c->arena, k->body.graph->node, k->body.graph->count * sizeof *c->graph[i].node);
    c->graph[i].node[k->body.main] = tune_apply(&c->arena, &k->body.graph->node[k->body.main], choice);
    c->body[i] = k->body;
    c->body[i].graph = &c->graph[i];
    c->kernel[i] = (cg_kernel){.name = arena_printf(&c->arena, "choice%d", i), .body = &c->body[i]};
    cg_kernel_build(&c->cg, &c->kernel[i]);
    for (int l = 0; l < c->kernel[i].launch_count; l++) {
        size_t length;
        const char *name = LLVMGetValueName2(c->kernel[i].launch[l].fn, &length);
        LLVMSetLinkage(c->kernel[i].launch[l].fn, LLVMExternalLinkage); /* it is called from here */
        c->symbol[i][l] = arena_strndup(&c->arena, name, length);
    }
}

tune_code *tune_code_build(const cg_platform *p, const tune_kernel *k, int count, const tune_choice *choice)
{
    tune_code *c = calloc(1, sizeof *c);
    char *printed[TUNE_CANDIDATES] = {NULL};
    if (!c) base_fatal("out of memory");
    cg_open(&c->cg, p, NULL);
    c->cg.arena = &c->arena;
    c->keep = p->arena;
    c->count = count;
    for (int i = 0; i < count; i++) {
        build_one(c, k, i, &choice[i]);
        printed[i] = print_functions(&c->kernel[i]);
        for (int j = 0; j < i && !c->same[i]; j++) c->same[i] = strcmp(printed[i], printed[j]) == 0;
        for (int l = 0; c->same[i] && l < c->kernel[i].launch_count; l++) LLVMDeleteFunction(c->kernel[i].launch[l].fn);
    }
    for (int i = 0; i < count; i++) free(printed[i]);
    return c;
}

void tune_code_emit(tune_code *c)
{
    cg_write_object(&c->cg, &c->object);
    cg_release(&c->cg);
}

void tune_code_free(tune_code *c)
{
    cg_close(&c->cg);
    text_done(&c->object);
    arena_done(&c->arena);
    free(c);
}

/* ---- buffers -------------------------------------------------------------------------------- */

typedef struct buffers {
    void **arg, **scratch;
    char *memory;
    size_t size;
} buffers;

static const ir_type *type_of_argument(const cg_body *b, int arg)
{
    const int root = arg - (b->arg_count - b->root_count);
    if (root >= 0) return &b->graph->node[b->root[root]].type;
    for (size_t v = 0; v < b->graph->count; v++) {
        const ir_node *n = &b->graph->node[v];
        if (n->op == OP_parameter && ir_attr_int(n, ATTR_index, 0) == arg) return &n->type;
    }
    bug("argument %d of a kernel is no value", arg);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Floats from 1/4 to 1, flags, and zeros for integers, which are indices and seeds. */
static void fill(ir_dtype t, void *memory, int64_t count)
{
    uint64_t state = 88172645463325252u;
    for (int64_t i = 0; i < count; i++) {
        const uint64_t r = next_random(&state);
        if (t == DTYPE_f32) ((float *)memory)[i] = 0.25f + 0.75f * (float)(r >> 40) * 0x1p-24f;
        if (t == DTYPE_f64) ((double *)memory)[i] = 0.25 + 0.75 * (double)(r >> 40) * 0x1p-24;
        if (t == DTYPE_f16) ((uint16_t *)memory)[i] = (uint16_t)(0x3400 + (r >> 40) % 0x800);
        if (t == DTYPE_bf16) ((uint16_t *)memory)[i] = (uint16_t)(0x3e80 + (r >> 40) % 0x100);
        if (t == DTYPE_i1) ((uint8_t *)memory)[i] = r >> 40 & 1;
    }
}

/* Bytes of an argument with room behind it, or -1: too many. */
static int64_t size_of(const ir_type *t, int64_t rows)
{
    enum { ROOM = 1 << 12 };
    double bytes = (double)ir_dtype_size(t->dtype);
    for (int d = 0; d < t->rank; d++) bytes *= (double)t->dim[d].count * (t->dim[d].batch ? (double)rows : 1);
    return bytes > 0x1p46 ? -1 : ((int64_t)bytes / ROOM + 2) * ROOM;
}

static bool buffers_make(buffers *b, tune_code *c, tune_kernel *k, int64_t rows, int threads)
{
    int64_t scratch = 0, all = 0;
    const int64_t room = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 2;
    for (int i = 0; i < c->count; i++) scratch = base_max(scratch, c->kernel[i].scratch);
    scratch = (scratch / 4096 + 2) * 4096;
    bool fits = true;
    for (int i = 0; i < k->body.arg_count; i++) {
        const int64_t size = size_of(type_of_argument(&k->body, i), rows);
        fits = fits && size >= 0 && size <= room;
        if (fits) all += size;
    }
    all += scratch * threads;
    if (!fits || all > room) {
        k->trouble = "its arrays do not fit into half of the memory";
        return false;
    }
    *b = (buffers){.size = (size_t)all};
    b->memory = mmap(NULL, b->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (b->memory == MAP_FAILED) {
        k->trouble = "there is no memory for its arrays";
        return false;
    }
    madvise(b->memory, b->size, MADV_HUGEPAGE);
    b->arg = arena_array(&c->arena, void *, (size_t)k->body.arg_count + 1);
    b->scratch = arena_array(&c->arena, void *, (size_t)threads);
    char *at = b->memory;
    for (int i = 0; i < k->body.arg_count; i++) {
        const ir_type *t = type_of_argument(&k->body, i);
        b->arg[i] = at;
        fill(t->dtype, at, ir_type_elements_at(t, rows));
        at += size_of(t, rows);
    }
    for (int i = 0; i < threads; i++, at += scratch) {
        b->scratch[i] = at;
        *(int64_t *)b->scratch[i] = threads;
    }
    return true;
}

/* ---- measuring ------------------------------------------------------------------------------ */

static bool has_words(const tune_kernel *k)
{
    for (int i = 0; i < k->body.arg_count; i++) {
        const ir_dtype t = type_of_argument(&k->body, i)->dtype;
        if (t == DTYPE_str || t == DTYPE_row) return true;
    }
    return false;
}

static bool take_error(tune_code *c, tune_kernel *k, LLVMErrorRef error)
{
    if (!error) return true;
    char *message = LLVMGetErrorMessage(error);
    k->trouble = arena_strdup(c->keep, message);
    LLVMDisposeErrorMessage(message);
    return false;
}

static bool load(tune_code *c, tune_kernel *k, LLVMOrcLLJITRef jit)
{
    LLVMOrcDefinitionGeneratorRef process = NULL;
    LLVMOrcJITDylibRef all = LLVMOrcLLJITGetMainJITDylib(jit);
    if (!take_error(c, k, LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(&process, 0, NULL, NULL))) return false;
    LLVMOrcJITDylibAddGenerator(all, process);
    LLVMMemoryBufferRef object =
        LLVMCreateMemoryBufferWithMemoryRangeCopy(text_get(&c->object), c->object.length, "choices");
    return take_error(c, k, LLVMOrcLLJITAddObjectFile(jit, all, object));
}

static bool find_launches(tune_code *c, tune_kernel *k, LLVMOrcLLJITRef jit, int i, int64_t rows, tune_run *out)
{
    const cg_kernel *kernel = &c->kernel[i];
    out->count = kernel->launch_count;
    for (int l = 0; l < kernel->launch_count; l++) {
        const cg_launch *from = &kernel->launch[l];
        LLVMOrcExecutorAddress address = 0;
        if (!take_error(c, k, LLVMOrcLLJITLookup(jit, &address, c->symbol[i][l]))) return false;
        const uintptr_t word = (uintptr_t)address;
        memcpy(&out->launch[l].run, &word, sizeof word);
        const int64_t tasks = base_ceil_div(from->rows.count * (from->rows.batch ? rows : 1), from->grain) * from->times;
        out->launch[l].tasks = tasks;
        out->launch[l].least = arena_array(&c->arena, double, (size_t)tasks);
        for (int64_t task = 0; task < tasks; task++) out->launch[l].least[task] = INFINITY;
    }
    return true;
}

/* Round after round; those that are far behind the best are given up, but for the first. The first round, which finds its
 * memory untouched and its caches cold, counts like the others: it is never the least. */
static void run_rounds(tune_crew *crew, int count, const tune_run *run, int threads, double *seconds)
{
    enum { ROUNDS = 12, LEAST_ROUNDS = 4 };
    const double most = 1, far = 1.25, start = base_seconds();
    double best = INFINITY;
    for (int i = 0; i < count; i++) seconds[i] = INFINITY;
    for (int round = 0; round < ROUNDS && (round < LEAST_ROUNDS || base_seconds() - start < most); round++) {
        for (int i = 0; i < count; i++) {
            if (!run[i].count || (i > 0 && round > 1 && seconds[i] > far * best)) continue;
            tune_crew_run(crew, &run[i]);
            seconds[i] = tune_run_seconds(&run[i], threads);
        }
        for (int i = 0; i < count; i++) best = fmin(best, seconds[i]);
    }
}

static bool measure(tune_code *c, tune_kernel *k, int64_t rows, int threads, LLVMOrcLLJITRef jit, double *out_seconds)
{
    tune_run run[TUNE_CANDIDATES] = {0};
    buffers b = {0};
    bool ok = load(c, k, jit);
    for (int i = 0; ok && i < c->count; i++) ok = c->same[i] || find_launches(c, k, jit, i, rows, &run[i]);
    if (!ok || !buffers_make(&b, c, k, rows, threads)) return false;
    const tune_work work = {b.arg, b.scratch, rows, threads};
    tune_crew *crew = tune_crew_open(&work);
    if (crew) run_rounds(crew, c->count, run, threads, out_seconds);
    if (!crew) k->trouble = "there are no threads for it";
    tune_crew_close(crew);
    munmap(b.memory, b.size);
    return crew != NULL;
}

bool tune_code_measure(tune_code *c, tune_kernel *k, int64_t rows, int threads, double *out_seconds)
{
    LLVMOrcLLJITRef jit = NULL;
    if (c->cg.problem) k->trouble = "LLVM cannot write its code";
    if (has_words(k)) k->trouble = "it reads strings or sparse rows";
    if (k->trouble || !take_error(c, k, LLVMOrcCreateLLJIT(&jit, NULL))) return false;
    const bool ok = measure(c, k, rows, threads, jit, out_seconds);
    take_error(c, k, LLVMOrcDisposeLLJIT(jit));
    return ok;
}
