/* compile.c: frontend, passes, code generation and linking, one after another. */
#include "compile.h"
#include "library.h"
#include "explain.h"
#include "link.h"
#include "tune.h"
#include "base/text.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "passes/passes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OK = 0, WRONG_INPUT = 1, MACHINE_FAILED = 2 };

typedef enum explain_topic {
    EXPLAIN_NOTHING,
    EXPLAIN_PRECISION,
    EXPLAIN_LAYOUT,
    EXPLAIN_WINOGRAD,
    EXPLAIN_MEMORY,
    EXPLAIN_TUNE,
    EXPLAIN_COUNT
} explain_topic;

static const char *const explain_topics[EXPLAIN_COUNT] = {
    [EXPLAIN_NOTHING] = "", [EXPLAIN_PRECISION] = "precision", [EXPLAIN_LAYOUT] = "layout",
    [EXPLAIN_WINOGRAD] = "winograd", [EXPLAIN_MEMORY] = "memory", [EXPLAIN_TUNE] = "tune",
};

typedef struct compilation {
    arena arena;
    diag diag;
    const options *options;
    explain_topic explain;
    frontend_model *model;
    library library; /* of --emit lib */
    tune tune;       /* what was asked for, then what was found */
} compilation;

typedef enum emit_kind { EMIT_EXE, EMIT_LIB, EMIT_OBJ, EMIT_IR, EMIT_LLVM, EMIT_ASM, EMIT_COUNT } emit_kind;

static const struct {
    const char *name;
    codegen_kind codegen; /* what codegen writes for it; not used by ir */
} emits[EMIT_COUNT] = {
    [EMIT_EXE] = {"exe", CODEGEN_OBJECT}, [EMIT_LIB] = {"lib", CODEGEN_OBJECT},
    [EMIT_OBJ] = {"obj", CODEGEN_OBJECT}, [EMIT_IR] = {"ir", CODEGEN_LLVM},
    [EMIT_LLVM] = {"llvm", CODEGEN_LLVM}, [EMIT_ASM] = {"asm", CODEGEN_ASSEMBLY},
};

static void begin(compilation *c, const options *o)
{
    *c = (compilation){.options = o};
    c->diag = (diag){.arena = &c->arena, .file = o->model};
}

/* Prints the diagnostics and gives the exit status. */
static int finish(compilation *c, bool ok)
{
    int status = ok ? OK : c->diag.machine_failed ? MACHINE_FAILED : WRONG_INPUT;
    diag_print(&c->diag, stderr);
    arena_done(&c->arena);
    return status;
}

static bool read_model(compilation *c)
{
    const options *o = c->options;
    if (!o->model) {
        fprintf(stderr, "tfcc: expected a model, found none\n");
        return false;
    }
    const frontend_options f = {.compile_config = o->compile_config, .optimizer = o->optimizer, .loss = o->loss,
                                .gradient_transforms = o->gradient_transforms, .gradient_aggregator = o->gradient_aggregator,
                                .lazy_embeddings = o->lazy_embeddings,
                                .metrics = o->metrics, .library = c->library.name != NULL, .predict_only = o->predict_only, .policy = o->policy,
                                .loss_scale = o->loss_scale, .dim = o->dim};
    double start = base_seconds();
    c->model = frontend_read(&c->arena, o->model, &f, &c->diag);
    if (o->time_passes) fprintf(stderr, "%8.2f ms  frontend\n", 1e3 * (base_seconds() - start));
    return c->model && !diag_has_errors(&c->diag);
}

/* Replaces the archive's own weights by the file of --weights. */
static bool read_weights(compilation *c)
{
    const char *path = c->options->weights;
    if (!path) return true;
    text t = {0};
    bool ok = text_read_file(&t, path, (size_t)1 << 34);
    if (ok && (t.length < 8 || memcmp(t.data, "\211HDF\r\n\032\n", 8) != 0)) {
        text_done(&t);
        c->diag.file = path;
        return diag_error(&c->diag, NULL, "expected an HDF5 weights file, found something else");
    }
    if (!ok) {
        c->diag.file = path;
        diag_error(&c->diag, NULL, "cannot read: %s", strerror(errno));
    } else {
        c->model->weights = arena_copy(&c->arena, t.data, t.length);
        c->model->weights_size = t.length;
    }
    text_done(&t);
    return ok;
}

static bool write_text(compilation *c, const text *t, const char *path)
{
    if (text_write_file(t, path)) return true;
    c->diag.file = path;
    return diag_failed(&c->diag, NULL, "cannot write: %s", strerror(errno));
}

/* OUT: FILE FILE, with spaces escaped as Make wants it. */
static bool write_dependencies(compilation *c)
{
    const options *o = c->options;
    if (!o->depend && !o->depend_file) return true;
    text t = {0};
    text_add(&t, "%s:", c->library.file ? c->library.file : o->output);
    for (size_t i = 0; i < c->model->dependency_count; i++) {
        text_put(&t, " ", 1);
        for (const char *p = c->model->dependency[i]; *p; p++) {
            if (*p == ' ' || *p == '#') text_put(&t, "\\", 1);
            if (*p == '$') text_put(&t, "$", 1);
            text_put(&t, p, 1);
        }
    }
    if (o->weights) text_add(&t, " %s", o->weights);
    text_put(&t, "\n", 1);
    const char *path = o->depend_file ? o->depend_file : arena_printf(&c->arena, "%s.d", o->output);
    bool ok = write_text(c, &t, path);
    text_done(&t);
    return ok;
}

static bool write_ir(compilation *c)
{
    text t = {0};
    ir_module_print(c->model->module, &t);
    bool ok = write_text(c, &t, c->options->output);
    text_done(&t);
    return ok;
}

static int count_ports(const ir_module *m, ir_port_kind kind)
{
    int count = 0;
    for (size_t i = 0; i < m->port_count; i++) count += m->port[i].kind == kind;
    return count;
}

static bool link_objects(compilation *c, emit_kind kind, const codegen_objects *made)
{
    const options *o = c->options;
    const library *l = &c->library;
    const link_shared_options shared = {.cc = o->cc, .output = l->file, .symbol = l->symbol, .predict_only = o->predict_only};
    const link_inputs in = {made->count, made->path, ir_module_has_op(c->model->module, OP_custom_call)};
    if (kind == EMIT_EXE) return link_executable(&c->arena, o->cc, &in, o->output, &c->diag);
    return library_write_header(&c->arena, l, c->model->module, o->predict_only, &c->diag) &&
           (l->shared ? link_shared(&c->arena, &shared, &in, &c->diag)
                      : link_library(&c->arena, &in, l->file, &c->diag));
}

static bool write_linked(compilation *c, emit_kind kind, const codegen_options *g)
{
    const options *o = c->options;
    codegen_objects objects;
    const char *folder = link_temporary(&c->arena, o->output, ".objects");
    if (mkdir(folder, 0700) != 0) return diag_failed(&c->diag, o->output, "cannot write: %s", strerror(errno));
    /* Libraries keep the names of their members. */
    const char *name = kind == EMIT_LIB ? c->library.name : "model";
    const char *stem = arena_printf(&c->arena, "%s/%s", folder, name);
    if (!codegen_write_objects(c->model->module, g, &c->arena, stem, &objects, &c->diag)) {
        rmdir(folder);
        return false;
    }
    double start = base_seconds();
    bool ok = link_objects(c, kind, &objects);
    if (o->time_passes) fprintf(stderr, "%8.2f ms  link\n", 1e3 * (base_seconds() - start));
    codegen_remove_objects(&objects);
    rmdir(folder);
    return ok;
}

/* Who links the output must know what else it needs. */
static bool note_libraries(compilation *c, emit_kind kind)
{
    if ((kind != EMIT_LIB && kind != EMIT_OBJ) || c->library.shared || !ir_module_has_op(c->model->module, OP_custom_call)) return true;
    const char *words = link_linalg_words(&c->arena, &c->diag);
    if (!words) return false;
    fprintf(stderr, "%s: note: programs with it are linked with %s\n", c->options->output,
            kind == EMIT_LIB ? strchr(words, ' ') + 1 : words);
    return true;
}

/* The model anew with --policy float32, planned; NULL when it cannot be. */
static const ir_module *plan_in_float32(compilation *c, const passes_options *p)
{
    const options *o = c->options;
    const frontend_options f = {.compile_config = o->compile_config, .optimizer = o->optimizer, .loss = o->loss,
                                .metrics = o->metrics, .policy = "float32", .loss_scale = "none", .dim = o->dim};
    diag silent = {.arena = &c->arena};
    passes_options unlimited = *p;
    unlimited.memory = NULL;
    const frontend_model *model = frontend_read(&c->arena, o->model, &f, &silent);
    return model && passes_run(model->module, &unlimited, &silent) ? model->module : NULL;
}

static bool explain_precisions(compilation *c, const passes_options *p)
{
    const codegen_options g = {.cpu = c->options->cpu, .triple = c->options->triple};
    codegen_family target;
    if (!codegen_describe(&g, &c->arena, &target, &c->diag)) return false;
    explain_precision(stdout, c->model, plan_in_float32(c, p), &target);
    return true;
}

static bool explain(compilation *c, const passes_options *p)
{
    switch (c->explain) {
    case EXPLAIN_LAYOUT: explain_layout(stdout, c->model->module); return true;
    case EXPLAIN_WINOGRAD: explain_winograd(stdout, c->model->module); return true;
    case EXPLAIN_TUNE: explain_tune(stdout, &c->tune.report, c->tune.cache); return true;
    case EXPLAIN_PRECISION: return explain_precisions(c, p);
    case EXPLAIN_MEMORY: {
        const text *said = p->memory->report;
        fputs(said->length > 0 ? text_get(said) : "no training step whose memory the batch alone decides\n", stdout);
        return true;
    }
    default: return true;
    }
}

/* What is compiled for, and how. */
static codegen_options target_of(const options *o)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return (codegen_options){.cpu = o->cpu, .triple = o->triple, .level = o->level, .threads = cores > 0 ? (int)cores : 1,
                             .time = o->time_passes};
}

static bool tune_code(compilation *c, const passes_options *p)
{
    const options *o = c->options;
    const codegen_options g = target_of(o);
    if (!c->tune.cache) return true;
    const double start = base_seconds();
    c->tune.when = p->level >= 2 ? p->winograd : PASSES_WINOGRAD_OFF;
    const bool ok = tune_module(&c->arena, &c->tune, c->model->module, &g, &c->diag);
    if (o->time_passes) fprintf(stderr, "%8.2f ms  tune\n", 1e3 * (base_seconds() - start));
    if (ok && c->tune.report.missing && c->tune.seconds > 0) {
        fprintf(stderr, "%s: note: --tune: %zu of %zu products were not reached within %g seconds and stay as they are; the next time "
                "goes on with them\n", o->output, c->tune.report.missing, c->tune.report.count, c->tune.seconds);
    }
    return ok;
}

/* Code generation and linking. */
static bool write_code(compilation *c, emit_kind kind)
{
    const options *o = c->options;
    const ir_module *m = c->model->module;
    const ir_graph *predict = ir_module_find_graph(m, "predict");
    codegen_options g = target_of(o);
    g.prefix = c->library.name;
    if (kind != EMIT_LIB) g.summary = c->model->summary;
    if (!o->predict_only) {
        g.config = c->model->config;
        g.metadata = c->model->metadata;
    }
    g.weights = c->model->weights;
    g.weights_size = c->model->weights_size;
    g.single_input = count_ports(m, PORT_x) == 1;
    g.single_output = predict && predict->output_count == 1;
    if (!note_libraries(c, kind)) return false;
    if (kind == EMIT_EXE || kind == EMIT_LIB) return write_linked(c, kind, &g);
    return codegen_write(m, &g, emits[kind].codegen, o->output, &c->diag);
}

static bool read_winograd(const char *word, passes_winograd *out)
{
    static const char *const words[] = {"auto", "2x2", "on", "off"};
    for (size_t i = 0; i < countof(words); i++) {
        if (strcmp(word, words[i]) != 0) continue;
        *out = (passes_winograd)i;
        return true;
    }
    fprintf(stderr, "tfcc: --winograd: expected auto, 2x2, on or off, found \"%s\"\n", word);
    return false;
}

static bool read_topic(const char *word, explain_topic *out)
{
    *out = EXPLAIN_NOTHING;
    if (!word) return true;
    for (int i = EXPLAIN_NOTHING + 1; i < EXPLAIN_COUNT; i++) {
        if (strcmp(word, explain_topics[i]) == 0) *out = (explain_topic)i;
    }
    if (*out != EXPLAIN_NOTHING) return true;
    fprintf(stderr, "tfcc: --explain: expected");
    for (int i = EXPLAIN_NOTHING + 1; i < EXPLAIN_COUNT; i++) {
        fprintf(stderr, "%s%s", i == 1 ? " " : i == EXPLAIN_COUNT - 1 ? " or " : ", ", explain_topics[i]);
    }
    fprintf(stderr, ", found \"%s\"\n", word);
    return false;
}

static bool check_options(const options *o, explain_topic topic, emit_kind *out_kind)
{
    if (!o->output) {
        fprintf(stderr, "tfcc: compile: expected -o FILE, found none\n");
        return false;
    }
    if (topic == EXPLAIN_TUNE && !o->tune && !o->tune_cache) {
        fprintf(stderr, "tfcc: --explain tune: expected --tune or --tune-cache, found neither\n");
        return false;
    }
    const char *const passes[] = {o->stop_after, o->print_after};
    for (size_t i = 0; i < countof(passes); i++) {
        if (!passes[i] || strcmp(passes[i], "all") == 0 || passes_is_known(passes[i])) continue;
        fprintf(stderr, "tfcc: expected a pass (see --list-passes), found \"%s\"\n", passes[i]);
        return false;
    }
    for (int k = 0; k < EMIT_COUNT; k++) {
        if (strcmp(o->emit, emits[k].name) != 0) continue;
        *out_kind = (emit_kind)k;
        if (o->shared && k != EMIT_LIB) {
            fprintf(stderr, "tfcc: --shared: expected --emit lib, found --emit %s\n", o->emit);
            return false;
        }
        if (o->stop_after && k != EMIT_IR) {
            fprintf(stderr, "tfcc: --stop-after: expected --emit ir, found --emit %s\n", o->emit);
            return false;
        }
        return true;
    }
    fprintf(stderr, "tfcc: --emit: expected exe, lib, obj, ir, llvm or asm, found \"%s\"\n", o->emit);
    return false;
}

static int list(const char *kind)
{
    static const char *const classes[] = {"map", "source", "move", "view", "reduce", "contract", "nest", "tuple"};
    if (strcmp(kind, "passes") == 0) {
        passes_list(stdout);
    } else if (strcmp(kind, "primitives") == 0) {
        for (int op = 0; op < OP_COUNT; op++)
            printf("%-24s %s\n", ir_op_name((ir_op)op), classes[ir_op_class((ir_op)op)]);
    } else {
        bool known = frontend_list(kind, stdout);
        bug_if(!known, "--list-%s lists nothing", kind);
    }
    return OK;
}

/* BYTES[@BATCH], BYTES with a suffix K, M or G of 1024. */
static bool read_memory_limit(const char *given, passes_memory *out)
{
    enum { MOST_ROWS = 1 << 30 };
    out->rows = 32;
    if (!given) return true;
    char *at;
    errno = 0;
    out->limit = *given >= '0' && *given <= '9' ? strtoll(given, &at, 10) : 0;
    const char *suffixes = "KMG", *suffix = out->limit > 0 && *at ? strchr(suffixes, *at) : NULL;
    for (const char *p = suffixes; suffix && p <= suffix; p++) out->limit = base_min(out->limit, INT64_MAX >> 10) << 10;
    if (suffix) at++;
    if (out->limit > 0 && *at == '@' && at[1] >= '1' && at[1] <= '9') out->rows = strtoll(at + 1, &at, 10);
    if (out->limit > 0 && errno == 0 && !*at && out->rows <= MOST_ROWS) return true;
    fprintf(stderr, "tfcc: --memory-limit: expected BYTES[@BATCH], as 512M or 2G@64, found \"%s\"\n", given);
    return false;
}

static int compile_with(const options *o, explain_topic topic, emit_kind kind, passes_winograd winograd,
                        const passes_memory *memory)
{
    compilation c;
    begin(&c, o);
    c.explain = topic;
    if (!tune_read(&c.arena, o, &c.tune)) return finish(&c, false);
    if (kind == EMIT_LIB) c.library = library_name(&c.arena, o->output, o->shared);
    const codegen_options g = {.cpu = o->cpu, .triple = o->triple};
    codegen_family target;
    if (!codegen_describe(&g, &c.arena, &target, &c.diag)) return finish(&c, false);
    if (!read_model(&c) || !read_weights(&c)) return finish(&c, false);
    const passes_options p = {.level = o->level, .verify = o->verify, .print_after = o->print_after,
                              .stop_after = o->stop_after, .time = o->time_passes, .winograd = winograd, .columns = target.columns,
                              .memory = memory->limit > 0 || memory->report ? memory : NULL};
    if (!passes_run(c.model->module, &p, &c.diag) || !tune_code(&c, &p)) return finish(&c, false);
    if (!explain(&c, &p)) return finish(&c, false);
    bool ok = kind == EMIT_IR ? write_ir(&c) : write_code(&c, kind);
    return finish(&c, ok && write_dependencies(&c));
}

int compile_model(const options *o)
{
    if (o->list) return list(o->list);
    emit_kind kind = EMIT_EXE;
    explain_topic topic;
    if (!read_topic(o->explain, &topic) || !check_options(o, topic, &kind)) return WRONG_INPUT;
    text report = {0};
    passes_memory memory = {0};
    passes_winograd winograd;
    if (!read_winograd(o->winograd, &winograd) || !read_memory_limit(o->memory_limit, &memory)) return WRONG_INPUT;
    if (topic == EXPLAIN_MEMORY) memory.report = &report;
    const int status = compile_with(o, topic, kind, winograd, &memory);
    text_done(&report);
    return status;
}

int check_model(const options *o)
{
    compilation c;
    begin(&c, o);
    return finish(&c, read_model(&c));
}

int summarize_model(const options *o)
{
    compilation c;
    begin(&c, o);
    if (!read_model(&c)) return finish(&c, false);
    fputs(c.model->summary, stdout);
    return finish(&c, true);
}

static bool ends_in(const char *s, const char *end)
{
    size_t a = strlen(s), b = strlen(end);
    return a >= b && strcmp(s + a - b, end) == 0;
}

int plot_model(const options *o)
{
    if (!o->output || (!ends_in(o->output, ".svg") && !ends_in(o->output, ".dot"))) {
        fprintf(stderr, "tfcc: plot: expected -o FILE.svg or FILE.dot, found %s\n", o->output ? o->output : "none");
        return WRONG_INPUT;
    }
    compilation c;
    begin(&c, o);
    if (!read_model(&c)) return finish(&c, false);
    text t = {0};
    text_add(&t, "%s", c.model->dot);
    bool svg = ends_in(o->output, ".svg");
    char *dot = svg ? link_temporary(&c.arena, o->output, ".dot") : arena_strdup(&c.arena, o->output);
    bool ok = write_text(&c, &t, dot);
    text_done(&t);
    if (ok && svg) {
        ok = link_run_dot(&c.arena, dot, o->output, &c.diag);
        remove(dot);
    }
    return finish(&c, ok);
}
