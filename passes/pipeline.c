/* pipeline.c: runs the rows of passes.def over every graph of a module, verifying, printing and timing
 * between them as the options ask. */
#include "passes/passes_private.h"

#include <string.h>
#include <time.h>

typedef struct pass_row {
    const char *name;
    int from;
    const char *does;
    bool (*run)(ir_module *m, ir_graph *g, const passes_options *o, diag *d);
} pass_row;

static const pass_row pass_rows[] = {
#define PASS(name, from, does) {#name, from, does, pass_##name},
#include "passes/passes.def"
};

static const pass_row *find_row(const char *name, size_t length)
{
    for (size_t i = 0; i < countof(pass_rows); i++)
        if (strlen(pass_rows[i].name) == length && memcmp(pass_rows[i].name, name, length) == 0)
            return &pass_rows[i];
    return NULL;
}

bool passes_is_known(const char *name) { return find_row(name, strlen(name)) != NULL; }

void passes_list(FILE *to)
{
    for (size_t i = 0; i < countof(pass_rows); i++)
        fprintf(to, "%-18s O%d  %s\n", pass_rows[i].name, pass_rows[i].from, pass_rows[i].does);
}

/* parse(print(m)) must print as m does. */
static void check_round_trip(const ir_module *m, const char *after)
{
    text first = {0}, second = {0};
    arena a = {0};
    diag d = {.arena = &a, .file = after};
    ir_module_print(m, &first);
    const ir_module *again = ir_module_parse(&a, text_get(&first), first.length, &d);
    if (!again) {
        diag_print(&d, stderr);
        bug("after %s: the printed module does not parse", after);
    }
    ir_module_print(again, &second);
    bug_if(strcmp(text_get(&first), text_get(&second)) != 0,
           "after %s: the module changes when it is printed and parsed:\n%s\nand then:\n%s", after,
           text_get(&first), text_get(&second));
    text_done(&first);
    text_done(&second);
    arena_done(&a);
}

static bool is_asked_for(const char *option, const char *name)
{
    return option && (strcmp(option, "all") == 0 || strcmp(option, name) == 0);
}

static bool run_row(const pass_row *p, ir_module *m, const passes_options *o, diag *d)
{
    FILE *log = o->log ? o->log : stderr;
    const clock_t start = clock();
    bool good = true;
    for (size_t i = 0; i < m->graph_count; i++) good = p->run(m, m->graph[i], o, d) && good;
    if (o->time)
        fprintf(log, "%-18s %8.2f ms\n", p->name, 1000.0 * (double)(clock() - start) / CLOCKS_PER_SEC);
    if (!good) return false;
    for (size_t i = 0; i < m->graph_count && o->verify > 0; i++) ir_graph_verify(m->graph[i], p->name);
    if (o->verify > 1) check_round_trip(m, p->name);
    if (is_asked_for(o->print_after, p->name)) {
        text t = {0};
        ir_module_print(m, &t);
        fprintf(log, "# after %s\n%s", p->name, text_get(&t));
        text_done(&t);
    }
    return true;
}

/* A pass that is named does all it can, whatever the level. */
static bool run_only(ir_module *m, const passes_options *o, diag *d)
{
    passes_options all = *o;
    all.level = 2;
    for (const char *at = o->only; *at;) {
        const size_t length = strcspn(at, ",");
        const pass_row *p = find_row(at, length);
        if (!p) return diag_error(d, NULL, "expected a pass, found \"%.*s\"", (int)length, at);
        if (!run_row(p, m, &all, d)) return false;
        at += length;
        if (*at == ',') at++;
    }
    return true;
}

bool passes_run(ir_module *m, const passes_options *options, diag *d)
{
    for (size_t i = 0; i < m->graph_count && options->verify > 0; i++)
        ir_graph_verify(m->graph[i], "the frontend");
    if (options->only) return run_only(m, options, d);
    for (size_t i = 0; i < countof(pass_rows); i++) {
        const pass_row *p = &pass_rows[i];
        if (p->from <= options->level && !run_row(p, m, options, d)) return false;
        if (options->stop_after && strcmp(options->stop_after, p->name) == 0) break;
    }
    return !diag_has_errors(d);
}
