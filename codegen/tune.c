/* tune.c: see tune.h and docs/tuning.md. What is measured is measured once per distinct kernel, with most work first, and
 * kept; whether a kernel's choice comes from the file or was measured just now makes no difference for the output. */
#include "codegen/jobs.h"
#include "codegen/tune.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct tuning {
    arena *arena;
    cg_platform platform;
    const codegen_options *options;
    const codegen_tune_options *tune;
    const char *machine;
    map kernels; /* by key: tune_kernel */
    tune_kernel **order; /* those with most work first */
    tune_cache cache;
    double end; /* of measuring */
} tuning;

/* What code and times depend on; behind the bar what times alone depend on. */
static const char *describe_machine(const tuning *t)
{
    const cg_platform *p = &t->platform;
    long cache[3] = {sysconf(_SC_LEVEL1_DCACHE_SIZE), sysconf(_SC_LEVEL2_CACHE_SIZE), sysconf(_SC_LEVEL3_CACHE_SIZE)};
    for (size_t i = 0; i < countof(cache); i++) cache[i] = base_max(cache[i], 0) >> 10;
    return arena_printf(t->arena, "tfcc " TFCC_VERSION ", %s, %s (%s), features %016" PRIx64 ", -O%d | %d threads, caches %ld %ld %ld KiB",
                        p->triple, p->cpu, p->target->name, tune_cache_id(p->features), p->level, t->options->threads,
                        cache[0], cache[1], cache[2]);
}

/* ---- which kernels there are ---------------------------------------------------------------- */

static const tune_choice none = {0};

/* The text of a kernel without what is chosen here. */
static const char *plain_key(tuning *t, const cg_body *b)
{
    ir_graph g = *b->graph;
    cg_body plain = *b;
    g.node = arena_copy(t->arena, g.node, g.count * sizeof *g.node);
    g.node[b->main] = tune_apply(t->arena, &g.node[b->main], &none);
    plain.graph = &g;
    return cg_body_key(t->arena, &plain);
}

/* By the first place it stands in, for a line of the file. */
static const char *name_kernel(tuning *t, const ir_graph *g, const ir_kernel *of)
{
    char *name = cg_kernel_describe(t->arena, g, of);
    for (char *at = name; *at; at++) {
        if ((unsigned char)*at < ' ') *at = ' ';
    }
    return name;
}

static tune_kernel *add_kernel(tuning *t, const ir_graph *g, const ir_kernel *of, const cg_body *b)
{
    const char *key = plain_key(t, b);
    tune_kernel *k = map_find(&t->kernels, key);
    if (k) return k;
    const ir_node *n = &g->node[of->main];
    k = arena_new(t->arena, tune_kernel);
    *k = (tune_kernel){.body = *b, .key = key, .name = name_kernel(t, g, of), .planned = {.winograd = (int)ir_attr_int(n, ATTR_winograd, 0)}};
    k->steps = n->op == OP_convolution ? t->tune->winograd(g, n, t->tune->context, k->step) : 1;
    text id = {0};
    text_add(&id, "%s%lld rows", key, (long long)t->tune->rows);
    for (int i = 0; i < k->steps; i++) text_add(&id, " %d", k->step[i]);
    k->id = tune_cache_id(text_get(&id));
    text_done(&id);
    k->chosen = k->planned;
    map_set(&t->kernels, key, k);
    return k;
}

static bool collect(tuning *t, ir_graph *g, int64_t turns, diag *d)
{
    const bool *memory = cg_memory_map(t->arena, g);
    for (size_t i = 0; i < g->kernel_count; i++) {
        const ir_kernel *of = &g->kernel[i];
        const ir_node *n = of->main != IR_NONE ? &g->node[of->main] : NULL;
        if (n && n->op == OP_scan) {
            const int64_t length = base_max(ir_attr_int(n, ATTR_length, 1), 1);
            if (!collect(t, ir_attr_find(n, ATTR_body)->graph, base_min(turns * base_min(length, 1 << 20), 1 << 20), d)) return false;
        }
        if (of->kind != KERNEL_dot && of->kind != KERNEL_convolution) continue;
        cg_body b;
        cg_run run = {0};
        if (!cg_body_build(t->arena, g, memory, of, d, &b)) return false;
        cg_run_estimate(&b, &run);
        tune_kernel *k = add_kernel(t, g, of, &b);
        const struct tune_use use = {g, of->main};
        arena_push(t->arena, k->use, k->use_count, k->use_capacity, use);
        const double work = (double)k->work + (double)turns * ((double)run.flops + (double)run.batch_flops * (double)t->tune->rows);
        k->work = work < 0x1p62 ? (int64_t)work : INT64_C(1) << 62;
    }
    return true;
}

static void sort_kernels(tuning *t)
{
    t->order = arena_array(t->arena, tune_kernel *, t->kernels.count + 1);
    for (size_t i = 0; i < t->kernels.count; i++) {
        tune_kernel *k = t->kernels.entry[i].value;
        size_t at = i;
        for (; at > 0 && t->order[at - 1]->work < k->work; at--) t->order[at] = t->order[at - 1];
        t->order[at] = k;
    }
}

/* ---- measuring ------------------------------------------------------------------------------ */

/* A choice is as good as the planned one unless it is faster by this much. */
static const double margin = 0.97;

static bool is_open(const tune_kernel *k) { return k->chosen_us == 0 && !k->trouble; }

/* Measures the choices; out_best: the fastest, out_seconds[0] that of the first. */
static bool measure(tuning *t, tune_kernel *k, tune_code *code, int count, double *out_seconds, int *out_best)
{
    const bool ok = tune_code_measure(code, k, t->tune->rows, t->options->threads, out_seconds);
    *out_best = 0;
    for (int i = 1; ok && i < count; i++) {
        if (out_seconds[i] < out_seconds[*out_best]) *out_best = i;
    }
    tune_code_free(code);
    return ok;
}

static bool measure_now(tuning *t, tune_kernel *k, int count, const tune_choice *choice, double *out_seconds, int *out_best)
{
    tune_code *code = tune_code_build(&t->platform, k, count, choice);
    tune_code_emit(code);
    return measure(t, k, code, count, out_seconds, out_best);
}

/* From the best of the first choices on to better neighbours; what is best is compared with the planned one once more. */
static void refine(tuning *t, tune_kernel *k, const tune_choice *first, double *seconds, int best)
{
    enum { STEPS = 3 };
    tune_choice at = first[best], choice[TUNE_CANDIDATES];
    double was = INFINITY, ratio = seconds[best] / seconds[0];
    for (int i = 0; i < STEPS && ratio < margin && ratio < was * margin; i++) {
        was = ratio;
        const int count = tune_candidates(&t->platform, k, &at, choice);
        if (!measure_now(t, k, count, choice, seconds, &best)) return;
        ratio = seconds[best] / seconds[0];
        at = choice[best];
    }
    const tune_choice both[] = {k->planned, at};
    if (ratio < margin && !measure_now(t, k, 2, both, seconds, &best)) return;
    const bool wins = ratio < margin && seconds[1] < margin * seconds[0];
    k->chosen = wins ? at : k->planned;
    k->planned_us = 1e6 * seconds[0];
    k->chosen_us = wins ? 1e6 * seconds[1] : k->planned_us;
}

static void emit_code(void *context, size_t i)
{
    tune_code **code = context;
    tune_code_emit(code[i]);
}

/* Kernels order[from] .. that are open, as many as there are threads to make their code; returns where it stopped. */
static size_t measure_some(tuning *t, size_t from)
{
    enum { MOST = 8 };
    tune_kernel *kernel[MOST];
    tune_code *code[MOST];
    tune_choice choice[MOST][TUNE_CANDIDATES];
    int count[MOST];
    size_t taken = 0;
    for (; from < t->kernels.count && taken < (size_t)base_min(t->options->threads, MOST); from++) {
        tune_kernel *k = t->order[from];
        if (!is_open(k)) continue;
        count[taken] = tune_candidates(&t->platform, k, &k->planned, choice[taken]);
        code[taken] = tune_code_build(&t->platform, k, count[taken], choice[taken]);
        kernel[taken++] = k;
    }
    cg_jobs_run(t->options->threads, taken, emit_code, code);
    for (size_t i = 0; i < taken; i++) {
        double seconds[TUNE_CANDIDATES];
        int best;
        if (base_seconds() > t->end)
            tune_code_free(code[i]);
        else if (measure(t, kernel[i], code[i], count[i], seconds, &best))
            refine(t, kernel[i], choice[i], seconds, best);
    }
    return from;
}

static size_t count_open(const tuning *t)
{
    size_t count = 0;
    for (size_t i = 0; i < t->kernels.count; i++) count += is_open(t->order[i]);
    return count;
}

static bool measure_all(tuning *t, diag *d)
{
    const size_t open = count_open(t), known = t->cache.entry_count;
    if (open == 0 || t->tune->seconds <= 0) return true;
    if (!t->platform.runs_here) {
        return diag_error(d, NULL, "--tune: expected a processor that is this machine's (--mcpu native), or a --tune-cache with what was "
                          "measured on such ones, found %s for %s, and %zu of %zu products not in %s", t->platform.cpu,
                          t->platform.triple, open, t->kernels.count, t->tune->cache);
    }
    t->end = base_seconds() + t->tune->seconds;
    for (size_t i = 0; i < t->kernels.count && base_seconds() < t->end;) i = measure_some(t, i);
    for (size_t i = 0; i < t->kernels.count; i++) {
        const tune_kernel *k = t->order[i];
        if (k->chosen_us == 0 || k->cached) continue;
        const tune_entry e = {.kernel = k->id, .choice = k->chosen, .planned_us = k->planned_us, .chosen_us = k->chosen_us, .name = k->name};
        tune_cache_add(&t->cache, t->machine, &e);
    }
    return t->cache.entry_count == known || tune_cache_write(&t->cache, known, d);
}

/* ---- the whole ------------------------------------------------------------------------------ */

static void look_up(tuning *t)
{
    for (size_t i = 0; i < t->kernels.count; i++) {
        tune_kernel *k = t->order[i];
        const tune_entry *e = tune_cache_find(&t->cache, t->machine, t->platform.runs_here, k->id);
        if (!e) continue;
        if (!tune_is_valid(&t->platform, k, &e->choice)) {
            fprintf(stderr, "%s:%d: warning: expected a choice that a %s has, found another one; the line is ignored\n",
                    t->tune->cache, e->line, k->name);
            continue;
        }
        k->chosen = e->choice;
        k->planned_us = e->planned_us;
        k->chosen_us = e->chosen_us;
        k->cached = true;
    }
}

static const char *print_choice(tuning *t, const tune_kernel *k, const tune_choice *choice)
{
    const ir_node *n = &k->body.graph->node[k->body.main];
    const cg_tiles usual = cg_tiles_usual(t->platform.target, choice->winograd, n), *s = choice->tiled ? &choice->tiles : &usual;
    if (choice->tiled && !s->mr) return "element by element";
    if (!choice->tiled && ir_attr_find(n, ATTR_panels)) return "tile and blocks for a right operand in panels";
    const char *winograd = choice->winograd ? arena_printf(t->arena, "Winograd %d, ", choice->winograd) : "";
    return arena_printf(t->arena, "%stile %lldx%lld, block %lld,%lld,%lld", winograd, (long long)s->mr, (long long)s->nr,
                        (long long)s->m, (long long)s->n, (long long)s->k);
}

/* Writes the choices into the nodes. */
static void apply(tuning *t, codegen_tune_report *out)
{
    *out = (codegen_tune_report){.item = arena_array(t->arena, codegen_tuned, t->kernels.count + 1), .missing = count_open(t),
                                 .machine = arena_printf(t->arena, "machine %016" PRIx64 " %s", tune_cache_id(t->machine), t->machine)};
    for (size_t i = 0; i < t->kernels.count; i++) {
        const tune_kernel *k = t->order[i];
        out->item[out->count++] = (codegen_tuned){
            .id = arena_printf(t->arena, "%016" PRIx64, k->id), .name = k->name, .planned = print_choice(t, k, &k->planned), .chosen = print_choice(t, k, &k->chosen), .trouble = k->trouble,
            .planned_us = k->planned_us, .chosen_us = k->chosen_us, .uses = k->use_count};
        if (tune_equal(&k->planned, &k->chosen)) continue;
        for (size_t u = 0; u < k->use_count; u++) {
            ir_graph *g = k->use[u].graph;
            g->node[k->use[u].main] = tune_apply(g->arena, &g->node[k->use[u].main], &k->chosen);
        }
    }
}

bool codegen_tune(ir_module *m, const codegen_options *options, const codegen_tune_options *tune, arena *a,
                  codegen_tune_report *out, diag *d)
{
    tuning t = {.arena = a, .options = options, .tune = tune, .kernels = {.arena = a}};
    if (!cg_platform_open(&t.platform, a, options, d) || !tune_cache_read(&t.cache, a, tune->cache, true, d)) return false;
    t.machine = describe_machine(&t);
    for (size_t i = 0; i < m->graph_count; i++) {
        if (!collect(&t, m->graph[i], 1, d)) return false;
    }
    sort_kernels(&t);
    look_up(&t);
    if (!measure_all(&t, d)) return false;
    apply(&t, out);
    return true;
}
