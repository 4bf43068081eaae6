/* codegen.c: every kernel of every graph once, then the tables that say when each runs. */
#include "codegen/plan.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

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

static cg_kernel *emit_kernel(cg *c, const cg_body *b, size_t number)
{
    cg_kernel *k = arena_new(c->arena, cg_kernel);
    k->name = arena_printf(c->arena, "k%zu_%s", number, ir_kernel_kind_name(b->kind));
    c->body = b;
    c->kernel = k;
    c->memo = NULL;
    c->binding = NULL;
    c->choice = NULL;
    emit_kind(c, b->kind);
    bug_if(k->launch_count == 0, "%s wrote no function", k->name);
    for (int i = 0; i < k->launch_count; i++) cg_verify(c, k->launch[i].fn);
    c->body = NULL;
    c->memo = NULL;
    c->binding = NULL;
    arena_done(&c->scratch);
    return k;
}

/* `Dense "dense_1": dot` */
static const char *describe(arena *a, const ir_graph *g, const ir_kernel *k)
{
    const ir_node *n = &g->node[k->main != IR_NONE ? k->main : k->root[0]];
    const char *layer = g->module && n->origin ? g->module->origin[n->origin].layer : NULL;
    return arena_printf(a, "%s: %s", layer ? layer : g->name, ir_kernel_kind_name(k->kind));
}

static bool emit_graph(cg *c, cg_plan *p, map *kernels, const ir_graph *g, diag *d, const cg_run **out_run)
{
    const bool *memory = cg_memory_map(c->arena, g);
    bool ok = true;
    cg_run *all = arena_array(c->arena, cg_run, g->kernel_count + 1);
    *out_run = all;
    for (size_t i = 0; i < g->kernel_count; i++) {
        const ir_kernel *k = &g->kernel[i];
        cg_run *run = &all[i];
        if (k->main != IR_NONE && g->node[k->main].op == OP_scan) {
            run->scan = &g->node[k->main];
            run->name = describe(c->arena, g, k);
            ok = emit_graph(c, p, kernels, ir_attr_find(run->scan, ATTR_body)->graph, d, &run->inner) && ok;
            continue;
        }
        cg_body *b = arena_new(c->arena, cg_body);
        if (!cg_body_build(c->arena, g, memory, k, d, b)) {
            ok = false;
            continue;
        }
        cg_kernel *kernel = map_find(kernels, b->key);
        if (!kernel) {
            kernel = emit_kernel(c, b, kernels->count);
            map_set(kernels, b->key, kernel);
            p->scratch = base_max(p->scratch, kernel->scratch);
        }
        run->kernel = kernel;
        run->arg = b->arg;
        run->arg_count = b->arg_count;
        run->name = describe(c->arena, g, k);
        cg_run_estimate(b, run);
    }
    return ok;
}

bool codegen_write(const ir_module *m, const codegen_options *options, codegen_kind kind, const char *path,
                   diag *d)
{
    arena a = {0};
    cg c = {.arena = &a};
    map kernels = {.arena = &a};
    cg_plan p = {.module = m, .options = options, .run = arena_array(&a, const cg_run *, m->graph_count)};
    double start = now();
    bool ok = cg_open(&c, options, d);
    for (size_t i = 0; ok && i < m->graph_count; i++) ok = emit_graph(&c, &p, &kernels, m->graph[i], d, &p.run[i]);
    double built = now();
    if (ok) cg_program_emit(&c, &p);
    if (ok) ok = cg_write(&c, kind, path, d);
    if (options->time) {
        fprintf(stderr, "codegen: %zu kernels, %.1f ms build, %.1f ms emit\n", kernels.count, built - start,
                now() - built);
    }
    cg_close(&c);
    arena_done(&a);
    return ok;
}
