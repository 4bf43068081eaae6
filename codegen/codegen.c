/* codegen.c: every kernel of every graph once, then the tables that say when each runs. The kernels are spread
 * over modules that are built one after another and become machine code side by side; which kernel is in which
 * module depends on the kernels alone. */
#include "codegen/jobs.h"
#include "codegen/plan.h"

#include <stdio.h>
#include <string.h>

static void emit_kind(cg *c, ir_kernel_kind kind)
{
    switch (kind) {
    case KERNEL_loop:
        cg_kernel_loop(c);
        return;
    case KERNEL_row:
        cg_kernel_row(c);
        return;
    case KERNEL_reduce:
        cg_kernel_reduce(c);
        return;
    case KERNEL_dot:
        cg_kernel_dot(c);
        return;
    case KERNEL_convolution:
        cg_kernel_convolution(c);
        return;
    case KERNEL_nest:
        cg_kernel_nest(c);
        return;
    }
    bug("no such kind of kernel: %d", (int)kind);
}

typedef struct compilation {
    arena arena;
    cg_platform platform;
    cg_plan plan;
    map kernels; /* by key */
    map helpers; /* by name: the function that defines it */
    size_t part_count;
    cg *part;       /* modules: those of the kernels, and last that of the program's tables */
    int64_t *work;  /* per module: instructions */
    size_t *order;  /* modules, the largest first */
    codegen_kind kind;
    const char **path; /* per module */
} compilation;

/* ---- which kernels there are ---------------------------------------------------------------- */

char *cg_kernel_describe(arena *a, const ir_graph *g, const ir_kernel *k)
{
    const ir_node *n = &g->node[k->main != IR_NONE ? k->main : k->root[0]];
    const char *layer = g->module && n->origin ? g->module->origin[n->origin].layer : NULL;
    text type = {0};
    ir_type_print(&n->type, &type);
    const char *kind = k->kind == KERNEL_nest ? ir_op_name(n->op) : ir_kernel_kind_name(k->kind);
    char *name = arena_printf(a, "%s: %s %s", layer ? layer : g->name, kind, type.data);
    text_done(&type);
    return name;
}

static cg_kernel *find_kernel(compilation *c, const cg_body *b)
{
    cg_kernel *k = map_find(&c->kernels, b->key);
    if (k) return k;
    k = arena_new(&c->arena, cg_kernel);
    k->name = arena_printf(&c->arena, "k%zu_%s", c->kernels.count, ir_kernel_kind_name(b->kind));
    k->body = b;
    map_set(&c->kernels, b->key, k);
    return k;
}

/* forward: of g's values, or NULL (see plan.h). */
static bool collect_kernels(compilation *c, const ir_graph *g, const bool *forward, diag *d, const cg_run **out_run)
{
    const bool *memory = cg_memory_map(&c->arena, g);
    bool ok = true;
    cg_run *all = arena_array(&c->arena, cg_run, g->kernel_count + 1);
    *out_run = all;
    for (size_t i = 0; i < g->kernel_count; i++) {
        const ir_kernel *k = &g->kernel[i];
        cg_run *run = &all[i];
        run->name = cg_kernel_describe(&c->arena, g, k);
        if (k->main != IR_NONE && g->node[k->main].op == OP_scan) {
            run->scan = &g->node[k->main];
            const ir_graph *body = ir_attr_find(run->scan, ATTR_body)->graph;
            bool *inner = forward ? arena_array(&c->arena, bool, body->count + 1) : NULL;
            for (size_t v = 0; inner && v < body->count; v++) inner[v] = forward[k->main];
            ok = collect_kernels(c, body, inner, d, &run->inner) && ok;
            continue;
        }
        cg_body *b = arena_new(&c->arena, cg_body);
        if (!cg_body_build(&c->arena, g, memory, k, d, b)) {
            ok = false;
            continue;
        }
        run->kernel = find_kernel(c, b);
        run->arg = b->arg;
        run->arg_count = b->arg_count;
        run->unit = b->unit;
        cg_run_estimate(b, run);
        if (forward) cg_run_watch(&c->arena, g, k, forward, run);
    }
    return ok;
}

/* ---- modules -------------------------------------------------------------------------------- */

/* The target as the kernel's own tiles have it. */
static const cg_target *target_of(cg *c, const cg_body *b)
{
    cg_tiles tiles;
    if (b->main == IR_NONE || !cg_tiles_find(&b->graph->node[b->main], &tiles) || !tiles.mr) return c->target;
    cg_target *t = arena_new(&c->scratch, cg_target);
    *t = *c->target;
    t->mr = (int)tiles.mr;
    t->nr = (int)tiles.nr;
    return t;
}

void cg_kernel_build(cg *c, cg_kernel *k)
{
    const cg_target *all = c->target;
    c->target = target_of(c, k->body);
    c->body = k->body;
    c->kernel = k;
    c->memo = NULL;
    c->binding = NULL;
    c->choice = NULL;
    emit_kind(c, k->body->kind);
    bug_if(k->launch_count == 0, "%s wrote no function", k->name);
    for (int i = 0; i < k->launch_count; i++) cg_verify(c, k->launch[i].fn);
    c->body = NULL;
    c->memo = NULL;
    c->binding = NULL;
    c->target = all;
    arena_done(&c->scratch);
}

/* Instructions of the functions behind `last` (NULL: of all). */
static int64_t count_instructions(const cg *c, cg_value last)
{
    int64_t count = 0;
    cg_value fn = last ? LLVMGetNextFunction(last) : LLVMGetFirstFunction(c->module);
    for (; fn; fn = LLVMGetNextFunction(fn)) {
        for (LLVMBasicBlockRef b = LLVMGetFirstBasicBlock(fn); b; b = LLVMGetNextBasicBlock(b)) {
            for (cg_value i = LLVMGetFirstInstruction(b); i; i = LLVMGetNextInstruction(i)) count++;
        }
    }
    return count;
}

/* Each kernel goes to the module that has the least to do so far. */
static void build_kernels(compilation *c, size_t modules)
{
    for (size_t i = 0; i < c->kernels.count; i++) {
        cg_kernel *k = c->kernels.entry[i].value;
        size_t best = 0;
        for (size_t p = 1; p < modules; p++) {
            if (c->work[p] < c->work[best]) best = p;
        }
        cg_value last = LLVMGetLastFunction(c->part[best].module);
        cg_kernel_build(&c->part[best], k);
        c->work[best] += count_instructions(&c->part[best], last);
        c->plan.scratch = base_max(c->plan.scratch, k->scratch);
    }
}

static void sort_parts(compilation *c)
{
    for (size_t i = 0; i < c->part_count; i++) {
        size_t at = i;
        for (; at > 0 && c->work[c->order[at - 1]] < c->work[i]; at--) c->order[at] = c->order[at - 1];
        c->order[at] = i;
    }
}

/* One module for all, or `modules` for the kernels and one for the program. */
static void build_parts(compilation *c, size_t modules)
{
    const bool alone = modules == 0;
    c->part_count = modules + 1;
    c->part = arena_array(&c->arena, cg, c->part_count);
    c->work = arena_array(&c->arena, int64_t, c->part_count);
    c->order = arena_array(&c->arena, size_t, c->part_count);
    c->path = arena_array(&c->arena, const char *, c->part_count);
    for (size_t i = 0; i < c->part_count; i++) cg_open(&c->part[i], &c->platform, alone ? NULL : &c->helpers);
    build_kernels(c, alone ? 1 : modules);
    cg_program_emit(&c->part[modules], &c->plan);
    sort_parts(c);
}

static void write_part(void *context, size_t i)
{
    compilation *c = context;
    const size_t part = c->order[i];
    cg_write(&c->part[part], c->kind, c->path[part]);
    cg_release(&c->part[part]); /* the largest modules are written first: their memory serves the rest */
}

static bool report_problems(const compilation *c, diag *d)
{
    bool ok = true;
    for (size_t i = 0; i < c->part_count; i++) {
        if (c->part[i].problem) ok = diag_failed(d, NULL, "%s", c->part[i].problem);
    }
    return ok;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static bool begin(compilation *c, const ir_module *m, const codegen_options *options, diag *d)
{
    *c = (compilation){.plan = {.module = m, .options = options}};
    c->kernels.arena = c->helpers.arena = &c->arena;
    c->plan.run = arena_array(&c->arena, const cg_run *, m->graph_count);
    if (!cg_platform_open(&c->platform, &c->arena, options, d)) return false;
    bool ok = true;
    for (size_t i = 0; i < m->graph_count; i++)
        ok = collect_kernels(c, m->graph[i], cg_watch_begin(&c->arena, m->graph[i]), d, &c->plan.run[i]) && ok;
    return ok;
}

static void finish(compilation *c)
{
    for (size_t i = 0; i < c->part_count; i++) cg_close(&c->part[i]);
    arena_done(&c->arena);
}

static bool write_parts(compilation *c, double start, diag *d)
{
    const double built = base_seconds();
    cg_jobs_run(c->plan.options->threads, c->part_count, write_part, c);
    if (c->plan.options->time) {
        fprintf(stderr, "codegen: %zu kernels, %zu modules, %.1f ms build, %.1f ms emit\n", c->kernels.count,
                c->part_count, 1e3 * (built - start), 1e3 * (base_seconds() - built));
    }
    return report_problems(c, d);
}

bool codegen_write(const ir_module *m, const codegen_options *options, codegen_kind kind, const char *path,
                   diag *d)
{
    const double start = base_seconds();
    compilation c;
    bool ok = begin(&c, m, options, d);
    if (ok) {
        c.kind = kind;
        build_parts(&c, 0);
        c.path[0] = path;
        ok = write_parts(&c, start, d);
    }
    finish(&c);
    return ok;
}

bool codegen_write_objects(const ir_module *m, const codegen_options *options, arena *a, const char *stem,
                           codegen_objects *out, diag *d)
{
    enum { KERNELS = 6, MODULES = 32 }; /* kernels of a module, about; modules, at most */
    const double start = base_seconds();
    compilation c;
    *out = (codegen_objects){0};
    bool ok = begin(&c, m, options, d);
    if (ok) {
        build_parts(&c, base_min(c.kernels.count / KERNELS + 1, (size_t)MODULES));
        out->path = arena_array(a, char *, c.part_count);
        for (; out->count < c.part_count; out->count++) {
            c.path[out->count] = out->path[out->count] = arena_printf(a, "%s.%zu.o", stem, out->count);
        }
        ok = write_parts(&c, start, d);
    }
    if (!ok) codegen_remove_objects(out);
    finish(&c);
    return ok;
}

void codegen_remove_objects(const codegen_objects *objects)
{
    for (size_t i = 0; i < objects->count; i++) remove(objects->path[i]);
}
