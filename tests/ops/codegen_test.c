/* codegen_test.c: compiled kernels against the reference interpreter, for every case. The cases
 * of a list become one module with an output per case, so that the back end and the linker run
 * once a list; each list runs in a process of its own, and when that one dies its cases run
 * alone, to name the culprit. `codegen_test NAME` runs one case. */
#include "codegen/codegen.h"
#include "ops/cases.h"
#include "passes/passes.h"
#include "tfcc_rt.h"
#include "test.h"

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LEVELS = 2, FEW = 64, GUARD = 256, POISON = 0xfb };
static const int64_t row_counts[] = {0, 1, 2, 3, 37, 1000};
static const int levels[LEVELS] = {2, 0};

/* One case: its place in the compiled module, and a graph of its own for the interpreter. */
typedef struct test_case {
    const ops_case *c;
    int in_count;
    ir_value in[OPS_MAX_IN]; /* in the compiled module's graph */
    size_t first_output;     /* there: the case has as many as `alone` */
    ir_graph *alone;
    ir_value alone_in[OPS_MAX_IN];
} test_case;

typedef struct trial {
    arena arena;
    size_t count;
    test_case *item;
    ir_module *module;
    ir_graph *graph;
    const tfcc_program *program;
    int level;
    bool refused;  /* by the diagnostic about `while`, the one operation that may be */
    bool *is_port; /* per case and operand */
    int *number;   /* of the port or variable */
} trial;

/* ---- building ----------------------------------------------------------------------------- */

static void add_case(trial *t, size_t i, const ops_case *c)
{
    test_case *x = &t->item[i];
    *x = (test_case){.c = c, .in_count = ops_case_in_count(c)};
    x->first_output = t->graph->output_count;
    const ir_value y = ops_case_build(t->graph, c, false, x->in);
    ops_case_add_outputs(t->graph, c, x->in, y);
    for (int k = 0; k < x->in_count; k++) {
        const ir_node *node = ir_node_of(t->graph, x->in[k]);
        t->is_port[i * OPS_MAX_IN + (size_t)k] = node->op == OP_parameter;
        t->number[i * OPS_MAX_IN + (size_t)k] = (int)ir_attr_int(node, ATTR_index, 0);
    }
    x->alone = ir_module_add_graph(ir_module_new(&t->arena, c->name), "predict");
    const ir_value alone_y = ops_case_build(x->alone, c, false, x->alone_in);
    ops_case_add_outputs(x->alone, c, x->alone_in, alone_y);
}

static void build_module(trial *t, const ops_list *list)
{
    t->count = list->count;
    t->item = arena_array(&t->arena, test_case, list->count);
    t->is_port = arena_array(&t->arena, bool, list->count *OPS_MAX_IN);
    t->number = arena_array(&t->arena, int, list->count *OPS_MAX_IN);
    t->module = ir_module_new(&t->arena, "ops");
    t->graph = ir_module_add_graph(t->module, "predict");
    for (size_t i = 0; i < list->count; i++) {
        add_case(t, i, &list->item[i]);
    }
}

/* Compiles, links and loads the module. The files are gone before it returns. */
static bool load_module(trial *t)
{
    diag d = {.arena = &t->arena};
    const codegen_options codegen = {.cpu = "native", .level = t->level, .threads = 1, .summary = ""};
    codegen_family target;
    if (!codegen_describe(&codegen, &t->arena, &target, &d)) return false;
    const passes_options passes = {.level = t->level, .verify = 1, .columns = target.columns};
    const char *base = arena_printf(&t->arena, "./codegen_test_%ld", (long)getpid());
    const char *object = arena_printf(&t->arena, "%s.o", base);
    const char *library = arena_printf(&t->arena, "%s.so", base);
    const char *link = arena_printf(&t->arena, "cc -shared -o %s %s -lm", library, object);
    bool done =
        passes_run(t->module, &passes, &d) && codegen_write(t->module, &codegen, CODEGEN_OBJECT, object, &d);
    diag_print(&d, stdout);
    t->refused = !done && d.count > 0 && strstr(d.message[0], "operation while is not supported");
    done = done && system(link) == 0;
    void *handle = done ? dlopen(library, RTLD_NOW) : NULL;
    if (done && !handle) printf("%s\n", dlerror());
    union {
        void *address;
        const tfcc_program *(*get)(void);
    } entry = {handle ? dlsym(handle, "tfcc_get_program") : NULL};
    remove(object);
    remove(library);
    if (!entry.address) return false;
    t->program = entry.get();
    return true;
}

/* ---- running ------------------------------------------------------------------------------ */

typedef struct memory {
    char *fixed, *batch;
    void **variable, **port, **output;
} memory;

/* Memory that starts out as garbage, with a guard behind it. */
static void *make_block(arena *a, size_t size)
{
    char *block = arena_alloc(a, size + GUARD + 64);
    block += 64 - (uintptr_t)block % 64;
    memset(block, POISON, size + GUARD);
    return block;
}

static bool is_guard_whole(const void *block, size_t size)
{
    const unsigned char *guard = (const unsigned char *)block + size;
    for (int i = 0; i < GUARD; i++) {
        if (guard[i] != POISON) return false;
    }
    return true;
}

static void *address_of(const trial *t, const memory *m, tfcc_place p, int64_t n)
{
    switch ((tfcc_space)p.space) {
    case TFCC_FIXED:
        return m->fixed + p.offset;
    case TFCC_BATCH:
        return m->batch + p.offset * (uint64_t)n;
    case TFCC_VARIABLE:
        return m->variable[p.offset];
    case TFCC_INPUT:
        return m->port[p.offset];
    case TFCC_OUTPUT:
        return m->output[p.offset];
    case TFCC_CONSTANT:
        return (char *)(uintptr_t)t->program->constants + p.offset;
    case TFCC_RAGGED:
        break;
    }
    bug("no such space: %u", p.space);
}

/* Which part of a launch runs. */
typedef struct part {
    int64_t n;           /* all rows */
    int64_t first, rows; /* those that it is run for */
    int64_t turn;        /* of the loop that the launch is in, else 0 */
} part;

/* Tasks run in descending order for odd n: their order must not matter. */
static void run_launch(const trial *t, const memory *m, const tfcc_launch *l, part p, void *scratch)
{
    const int64_t n = p.rows, rows = l->rows * (l->rows_batch ? n : 1);
    const int64_t tasks = (rows + l->grain - 1) / l->grain * l->times;
    void *arg[64];
    bug_if(l->arg_count > countof(arg), "%s has %u arguments", l->name, l->arg_count);
    for (uint32_t i = 0; i < l->arg_count; i++) {
        const int64_t step = l->arg[i].step * (l->arg[i].step_batch ? p.n : 1);
        arg[i] = (char *)address_of(t, m, l->arg[i], p.n) + p.turn * step + p.first * l->arg[i].row;
    }
    for (int64_t i = 0; i < tasks; i++) {
        l->run(arg, n, n % 2 ? tasks - 1 - i : i, scratch);
    }
}

static size_t bytes_at(const ir_type *type, int64_t n)
{
    return (size_t)ir_type_elements_at(type, n) * ir_dtype_size(type->dtype);
}

static double tolerance_of(ir_dtype t)
{
    switch (t) {
    case DTYPE_f16:
        return 2e-3;
    case DTYPE_bf16:
        return 1.6e-2;
    case DTYPE_f32:
        return 2e-6;
    case DTYPE_f64:
        return 1e-12;
    default:
        return 0;
    }
}

static bool is_close(double got, double want, double allowed)
{
    if (isnan(want)) return isnan(got);
    if (isinf(want) || isinf(got)) return got == want;
    return fabs(got - want) <= allowed;
}

/* How many elements of the operands a result is made of, about: the error of a sum grows with its
 * terms, however small they leave it. */
static double count_terms(const test_case *x, int64_t n)
{
    double read = 1, least = 1e18;
    for (int i = 0; i < x->in_count; i++) {
        read += (double)ir_type_elements_at(ir_type_of(x->alone, x->alone_in[i]), n);
    }
    for (size_t i = 0; i < x->alone->output_count; i++) {
        const ir_type *type = ir_type_of(x->alone, x->alone->output[i].value);
        least = fmin(least, (double)ir_type_elements_at(type, n));
    }
    return read / fmax(least, 1);
}

/* With terms = 0 elements are compared one by one, else each with the largest in mind and with the number of
 * terms in a sum. At most one element an output is shown. */
static void compare(const char *label, double terms, const ir_array *got, const ir_array *want)
{
    const double tolerance = tolerance_of(want->type.dtype);
    double largest = sqrt(terms);
    for (int64_t i = 0; i < ir_array_count(want); i++) {
        const double size = fabs(ir_array_get(want, i));
        if (isfinite(size)) largest = fmax(largest, size);
    }
    for (int64_t i = 0; i < ir_array_count(want); i++) {
        const double a = ir_array_get(got, i), b = ir_array_get(want, i);
        if (is_close(a, b, tolerance * (terms > 0 ? 3 * largest : fmax(fabs(b), 1e-3)))) continue;
        TEST_CHECK(false, "%s: element %lld of %lld is %.9g, not %.9g", label, (long long)i,
                   (long long)ir_array_count(want), a, b);
        return;
    }
    TEST_CHECK(true, "equal");
}

/* Gradients only of random elements: known ones sit on kinks and poles. */
static void check_outputs(trial *t, size_t i, const memory *m, int64_t n, arena *a)
{
    const test_case *x = &t->item[i];
    const bool random = n != ops_case_rows(x->c);
    ir_array ports[OPS_MAX_IN], variables[OPS_MAX_IN], want[1 + OPS_MAX_IN];
    for (int k = 0; k < x->in_count; k++) {
        const ir_node *node = ir_node_of(x->alone, x->alone_in[k]);
        const size_t slot = i * OPS_MAX_IN + (size_t)k;
        ir_array *to = node->op == OP_parameter ? ports : variables;
        to += ir_attr_int(node, ATTR_index, 0);
        *to = ops_case_fill(x->c, k, a, n, false, random);
        const void *bytes = t->is_port[slot] ? m->port[t->number[slot]] : m->variable[t->number[slot]];
        memcpy(to->data, bytes, bytes_at(&to->type, 0));
    }
    ir_interpret(x->alone, a, n, ports, variables, want);
    for (size_t k = 0; k < (random ? x->alone->output_count : 1); k++) {
        const tfcc_output *o = &t->program->graph[0].output[x->first_output + k];
        const ir_array got = {.type = want[k].type, .data = address_of(t, m, o->place, n)};
        const char *label =
            arena_printf(a, "%s, -O%d, N = %lld", x->alone->output[k].name, t->level, (long long)n);
        const bool one_by_one = k == 0 && ir_op_class(x->c->op) == CLASS_MAP;
        if (o->place.space == TFCC_OUTPUT)
            TEST_CHECK(is_guard_whole(got.data, bytes_at(&got.type, 0)), "%s writes beyond its end", label);
        compare(label, one_by_one ? 0 : count_terms(x, n), &got, &want[k]);
    }
}

static void fill_memory(trial *t, memory *m, int64_t n, arena *a)
{
    const tfcc_graph *g = &t->program->graph[0];
    m->fixed = make_block(a, g->fixed_bytes);
    m->batch = make_block(a, g->batch_bytes * (size_t)n);
    m->variable = arena_array(a, void *, t->module->variable_count + 1);
    m->port = arena_array(a, void *, t->module->port_count + 1);
    m->output = arena_array(a, void *, t->graph->output_count);
    for (size_t i = 0; i < t->count; i++) {
        const test_case *x = &t->item[i];
        for (size_t k = 0; k < x->alone->output_count; k++) {
            const ir_type *type = ir_type_of(x->alone, x->alone->output[k].value);
            m->output[x->first_output + k] = make_block(a, bytes_at(type, n));
        }
        for (int k = 0; k < x->in_count; k++) {
            const size_t slot = i * OPS_MAX_IN + (size_t)k;
            const ir_array made = ops_case_fill(x->c, k, a, n, false, n != ops_case_rows(x->c));
            const size_t bytes = bytes_at(&made.type, 0);
            void **to = t->is_port[slot] ? m->port : m->variable;
            to[t->number[slot]] = make_block(a, bytes);
            memcpy(to[t->number[slot]], made.data, bytes);
        }
    }
}

/* Elements per row that a case reads and writes; the interpreter is too slow for many rows of
 * large ones. */
static bool is_large(const test_case *x)
{
    int64_t elements = 0;
    for (int k = 0; k < x->in_count; k++) {
        elements += ir_type_elements_at(ir_type_of(x->alone, x->alone_in[k]), 1);
    }
    return elements > FEW;
}

/* Rows [first, first + rows) through all turns of a loop. */
static void run_turns(const trial *t, const memory *m, const tfcc_launch *loop, part p, void *scratch)
{
    const int64_t count = loop->loop_count * (loop->loop_batch ? p.n : 1);
    for (int64_t k = 0; k < count; k++) {
        p.turn = loop->loop_reverse ? count - 1 - k : k;
        for (uint32_t j = 1; j <= loop->loop_launches; j++) run_launch(t, m, loop + j, p, scratch);
    }
}

/* Where the rows of a loop may go alone, the last ones go first. */
static void run_loop(const trial *t, const memory *m, const tfcc_launch *loop, int64_t n, void *scratch)
{
    const int64_t rows = n / 3 + 1;
    if (loop->loop_rows == 0) run_turns(t, m, loop, (part){n, 0, n, 0}, scratch);
    for (int64_t first = n / rows * rows; loop->loop_rows > 0 && first >= 0; first -= rows) {
        run_turns(t, m, loop, (part){n, first, base_min(rows, n - first), 0}, scratch);
    }
}

static void run_graph(const trial *t, const memory *m, const tfcc_graph *g, int64_t n, void *scratch)
{
    for (uint64_t i = 0; i < g->launch_count; i++) {
        const tfcc_launch *l = &g->launch[i];
        if (l->loop_launches == 0)
            run_launch(t, m, l, (part){n, 0, n, 0}, scratch);
        else
            run_loop(t, m, l, n, scratch);
        i += l->loop_launches;
    }
}

static void check_rows(trial *t, int64_t n)
{
    arena a = {0};
    memory m;
    const tfcc_graph *g = &t->program->graph[0];
    fill_memory(t, &m, n, &a);
    void *scratch = make_block(&a, t->program->scratch_bytes);
    *(int64_t *)scratch = 1 + n % 3;
    run_graph(t, &m, g, n, scratch);
    TEST_CHECK(is_guard_whole(scratch, t->program->scratch_bytes), "scratch memory overflows");
    TEST_CHECK(is_guard_whole(m.fixed, g->fixed_bytes), "the fixed slab overflows");
    TEST_CHECK(is_guard_whole(m.batch, g->batch_bytes * (size_t)n), "the batch slab overflows");
    for (size_t i = 0; i < t->count; i++) {
        const arena_mark mark = arena_save(&a);
        if (n <= FEW || !is_large(&t->item[i])) check_outputs(t, i, &m, n, &a);
        arena_release(&a, mark);
    }
    arena_done(&a);
}

typedef enum outcome { WELL, FAILED, REFUSED, NO_PROGRAM, DIED } outcome;

static outcome check_list(const ops_list *list, int level)
{
    trial t = {.level = level};
    build_module(&t, list);
    const bool loaded = load_module(&t);
    for (size_t i = 0; loaded && i < countof(row_counts); i++) {
        check_rows(&t, row_counts[i]);
    }
    arena_done(&t.arena);
    if (!loaded) return t.refused ? REFUSED : NO_PROGRAM;
    return test_failed > 0 ? FAILED : WELL;
}

/* ---- processes ---------------------------------------------------------------------------------- */

static outcome check_apart(const ops_list *list, int level)
{
    int status = 0;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        test_failed = 0;
        const outcome result = check_list(list, level);
        fflush(stdout);
        _exit((int)result);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) return DIED;
    return WIFEXITED(status) && WEXITSTATUS(status) < DIED ? (outcome)WEXITSTATUS(status) : DIED;
}

static const char *const outcome_name[] = {"well", "checks failed", "refused", "no program",
                                           "the process died"};

/* A refusal of `while` counts as well. */
static void check_all(const ops_list *list)
{
    for (int i = 0; i < LEVELS; i++) {
        const outcome whole = check_apart(list, levels[i]);
        const char *first = list->item[0].name;
        TEST_CHECK(whole != FAILED, "list of %s, -O%d: %s", first, levels[i], outcome_name[whole]);
        for (size_t k = 0; whole > FAILED && k < list->count; k++) {
            const ops_list one = {1, &list->item[k]};
            const outcome alone = check_apart(&one, levels[i]);
            TEST_CHECK(alone == WELL || alone == REFUSED, "%s alone, -O%d: %s", one.item->name, levels[i],
                       outcome_name[alone]);
        }
    }
}

int main(int argc, char **argv)
{
    static const ops_list *const lists[] = {&ops_cases_map,      &ops_cases_move, &ops_cases_loop,
                                            &ops_cases_contract, &ops_cases_nest, &ops_cases_build,
                                            &ops_cases_pairs,    &ops_cases_attention, &ops_cases_winograd, &ops_cases_sums};
    for (size_t i = 0; argc < 2 && i < countof(lists); i++) {
        check_all(lists[i]);
    }
    for (size_t i = 0; argc > 1 && i < ops_case_count(); i++) {
        const ops_list one = {1, ops_case_at(i)};
        if (strcmp(one.item->name, argv[1]) != 0) continue;
        for (int k = 0; k < LEVELS; k++) {
            TEST_CHECK(check_list(&one, levels[k]) == WELL, "%s, -O%d", one.item->name, levels[k]);
        }
    }
    return test_report();
}
