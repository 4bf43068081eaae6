/* capi.c: models of the C interface: made, described, ended; their variables. */
#include "capi.h"
#include "ragged.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const step_names[CAPI_STEPS] = {"predict", "eval_step", "train_step",
                                                   "metrics", "gradients", "apply_gradients"};

uint32_t tfcc_api_version(void) { return TFCC_API_VERSION; }

/* ---- errors ------------------------------------------------------------------------------------------- */

tfcc_result capi_refuse(tfcc_model *m, tfcc_result result, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(m->said, sizeof m->said, format, args);
    va_end(args);
    return result;
}

tfcc_result capi_begin(tfcc_model *m)
{
    if (!m || m->state != CAPI_READY) return TFCC_MISUSE;
    m->r.status = 0;
    m->said[0] = 0;
    m->floating = pool_mode_enter();
    return TFCC_OK;
}

tfcc_result capi_end(tfcc_model *m, bool ok)
{
    pool_mode_leave(m->floating);
    if (ok) return TFCC_OK;
    return m->r.status == RT_EXIT_FAILED ? TFCC_FAILED : TFCC_INVALID;
}

const char *tfcc_error(const tfcc_model *m)
{
    if (!m) return "there is no model";
    if (m->state == CAPI_DEAD) return "the model was destroyed";
    return m->said;
}

/* ---- making and ending ----------------------------------------------------------------------------------
 */

static void *system_allocate(void *context, size_t size, size_t alignment)
{
    void *memory = NULL;
    (void)context;
    return posix_memalign(&memory, alignment, size) == 0 ? memory : NULL;
}

static void system_release(void *context, void *memory, size_t size)
{
    (void)context, (void)size;
    free(memory);
}

static tfcc_result check_options(tfcc_model *m, const tfcc_program *program, const tfcc_options *o)
{
    if (o->struct_size != sizeof *o)
        return capi_refuse(m, TFCC_MISUSE,
                           "tfcc_options: expected %zu bytes, found %u: made with another tfcc.h", sizeof *o,
                           (unsigned)o->struct_size);
    if (!program || program->abi != TFCC_ABI)
        return capi_refuse(m, TFCC_MISUSE, "expected a program for runtime %u, found %s", (unsigned)TFCC_ABI,
                           program ? "another" : "none");
    if (o->threads < 0 || o->threads > 1024)
        return capi_refuse(m, TFCC_INVALID, "threads: expected 0 to 1024, found %d", (int)o->threads);
    if (o->rows < 0 || o->rows > INT32_MAX)
        return capi_refuse(m, TFCC_INVALID, "rows: expected 0 to 2^31 - 1, found %lld", (long long)o->rows);
    if (program->rows > 0 && o->rows > program->rows)
        return capi_refuse(m, TFCC_INVALID, "rows: expected at most %u, found %lld: the model keeps states for so many rows",
                           (unsigned)program->rows, (long long)o->rows);
    if (o->executor && (!o->executor->run || o->executor->workers < 1 || o->executor->workers > 1024))
        return capi_refuse(m, TFCC_INVALID, "executor: expected a function and 1 to 1024 workers");
    return TFCC_OK;
}

static bool open_model(tfcc_model *m, const tfcc_program *program, const tfcc_options *o)
{
    m->r.program = program;
    const model_options open = {.threads = o->threads,
                                .executor = o->executor ? &m->executor : NULL,
                                .seed = o->seed,
                                .rows = o->rows > 0 ? o->rows : 1,
                                .graph = step_names,
                                .graph_count = CAPI_STEPS};
    m->ports = rt_alloc_many(&m->r, program->port_count, sizeof *m->ports, "a model");
    m->ends = rt_alloc_many(&m->r, program->ragged_count, sizeof *m->ends, "a model");
    return m->ports && m->ends && model_open(&m->model, &m->r, &open);
}

tfcc_result tfcc_create(const tfcc_program *program, const tfcc_options *options, tfcc_model **out)
{
    const tfcc_options usual = TFCC_OPTIONS;
    const tfcc_allocator system = {system_allocate, system_release, NULL};
    if (!out) return TFCC_MISUSE;
    *out = NULL;
    const tfcc_options *o = options ? options : &usual;
    const bool given = o->struct_size == sizeof *o && o->allocator;
    if (given && (!o->allocator->allocate || !o->allocator->release)) return TFCC_MISUSE;
    const tfcc_allocator *from = given ? o->allocator : &system;
    tfcc_model *m = from->allocate(from->context, sizeof *m, 64);
    if (!m) return TFCC_FAILED;
    *m = (struct tfcc_model){.state = CAPI_FAILED, .allocator = *from};
    *out = m;
    tfcc_result result = check_options(m, program, o);
    if (result != TFCC_OK) return result;
    m->debug = o->debug != 0;
    if (o->executor) m->executor = *o->executor;
    m->r = (rt){.name = program->name, .said = m->said, .said_room = sizeof m->said};
    if (given) m->r.allocator = &m->allocator;
    m->floating = pool_mode_enter();
    bool ok = open_model(m, program, o);
    result = capi_end(m, ok);
    m->state = ok ? CAPI_READY : CAPI_FAILED;
    return result;
}

void tfcc_destroy(tfcc_model *m)
{
    if (!m || m->state == CAPI_DEAD) return;
    model_close(&m->model);
    rt_done(&m->r);
    m->state = CAPI_DEAD;
    if (!m->debug) m->allocator.release(m->allocator.context, m, sizeof *m);
}

/* ---- what a model is made of ------------------------------------------------------------------------------
 */

static bool is_kind(const tfcc_variable *v, tfcc_kind kind)
{
    if (kind == TFCC_GRADIENTS) return v->role == TFCC_GRADIENT;
    return kind == TFCC_VARIABLES && v->role != TFCC_GRADIENT && v->role != TFCC_METRIC;
}

static const tfcc_graph *output_graph(const tfcc_model *m, tfcc_kind kind)
{
    if (kind == TFCC_OUTPUTS) return rt_find_graph(&m->r, "predict");
    return kind == TFCC_METRICS ? rt_find_graph(&m->r, "metrics") : NULL;
}

static int port_kind(tfcc_kind kind)
{
    switch (kind) {
    case TFCC_INPUTS:
        return TFCC_PORT_X;
    case TFCC_TARGETS:
        return TFCC_PORT_Y;
    case TFCC_SAMPLE_WEIGHTS:
        return TFCC_PORT_SAMPLE_WEIGHT;
    case TFCC_OUTPUTS:
    case TFCC_VARIABLES:
    case TFCC_GRADIENTS:
    case TFCC_METRICS:
        break;
    }
    return -1;
}

static void describe(tfcc_description *d, const char *name, const tfcc_shape *s)
{
    *d = (tfcc_description){.name = name,
                            .type = (tfcc_type)s->dtype,
                            .rank = (int32_t)s->rank,
                            .bytes = (size_t)rt_shape_bytes(s, 1)};
    for (uint32_t i = 0; i < s->rank && i < 8; i++) d->dim[i] = s->batch >> i & 1 ? -s->dim[i] : s->dim[i];
}

/* Arrays that callers give: of a ragged input its values and, next, where its rows end. */
static bool is_given(const tfcc_port *port, uint32_t kind)
{
    return port->kind == kind || (kind == TFCC_PORT_X && port->kind == TFCC_PORT_MADE && port->part == TFCC_ENDS);
}

/* The number of things of a kind; the one at `index` goes to *out unless that is NULL. */
static size_t visit(const tfcc_model *m, tfcc_kind kind, size_t index, tfcc_description *out)
{
    const tfcc_program *p = m->r.program;
    const tfcc_graph *g = output_graph(m, kind);
    size_t count = 0;
    for (uint64_t i = 0; g && i < g->output_count; i++) {
        if (count++ == index && out) describe(out, g->output[i].name, &g->output[i].shape);
    }
    for (uint64_t i = 0; i < p->port_count; i++) {
        if (port_kind(kind) < 0 || !is_given(&p->port[i], (uint32_t)port_kind(kind))) continue;
        if (count++ == index && out) describe(out, p->port[i].name, &p->port[i].shape);
    }
    for (uint64_t i = 0; i < p->variable_count; i++) {
        const tfcc_variable *v = &p->variable[i];
        if (!is_kind(v, kind) || count++ != index || !out) continue;
        describe(out, v->path, &v->shape);
        out->trainable = (int32_t)v->trainable;
        out->role = v->role == TFCC_SEED        ? TFCC_ROLE_SEED
                    : v->role == TFCC_OPTIMIZER ? TFCC_ROLE_OPTIMIZER
                                                : TFCC_ROLE_WEIGHT;
    }
    return count;
}

size_t tfcc_count(const tfcc_model *m, tfcc_kind kind)
{
    return m && m->state == CAPI_READY ? visit(m, kind, 0, NULL) : 0;
}

tfcc_result tfcc_describe(tfcc_model *m, tfcc_kind kind, size_t index, tfcc_description *out)
{
    tfcc_result result = capi_begin(m);
    if (result != TFCC_OK) return result;
    size_t count = visit(m, kind, index, out);
    return capi_end(m, (out && index < count) ||
                           rt_wrong(&m->r, "expected an index below %zu, found %zu", count, index));
}

/* ---- variables --------------------------------------------------------------------------------------------
 */

int64_t capi_variable_find(tfcc_model *m, const char *path, bool gradient)
{
    const tfcc_program *p = m->r.program;
    const char *other = NULL;
    for (uint64_t i = 0; path && i < p->variable_count; i++) {
        if (!is_kind(&p->variable[i], gradient ? TFCC_GRADIENTS : TFCC_VARIABLES)) continue;
        if (strcmp(p->variable[i].path, path) == 0) return (int64_t)i;
        if (!other) other = p->variable[i].path;
    }
    rt_wrong(&m->r, "expected the path of a %s, as \"%s\", found \"%s\"", gradient ? "gradient" : "variable",
             other ? other : "(there is none)", path ? path : "(null)");
    return -1;
}

bool capi_variable_copy(tfcc_model *m, const char *path, bool gradient, void *to, const void *from,
                        size_t bytes)
{
    int64_t number = capi_variable_find(m, path, gradient);
    if (number < 0) return false;
    uint64_t size = model_variable_bytes(&m->model, (uint64_t)number);
    if (bytes != size || !(to || from)) {
        return rt_wrong(&m->r, "\"%s\": expected %llu bytes (%s%s), found %zu", path,
                        (unsigned long long)size, rt_dtype_name(m->r.program->variable[number].shape.dtype),
                        rt_shape_show(&m->r, m->r.program->variable[number].shape.rank,
                                      m->r.program->variable[number].shape.dim, 0),
                        to || from ? bytes : (size_t)0);
    }
    void *own = m->model.variable[number];
    memcpy(to ? to : own, to ? own : from, bytes);
    return true;
}

tfcc_result tfcc_variable_get(tfcc_model *m, const char *path, void *to, size_t bytes)
{
    tfcc_result result = capi_begin(m);
    if (result != TFCC_OK) return result;
    return capi_end(m, capi_variable_copy(m, path, false, to, NULL, bytes));
}

tfcc_result tfcc_variable_set(tfcc_model *m, const char *path, const void *from, size_t bytes)
{
    tfcc_result result = capi_begin(m);
    if (result != TFCC_OK) return result;
    return capi_end(m, capi_variable_copy(m, path, false, NULL, from, bytes));
}

/* ---- running
 * ------------------------------------------------------------------------------------------------ */

void capi_steps_close(tfcc_model *m)
{
    for (int i = 0; i < CAPI_STEPS; i++) {
        if (m->open[i]) step_close(&m->step[i]);
        m->open[i] = false;
    }
}

static bool make_room(tfcc_model *m, int64_t n)
{
    if (n <= m->model.rows) return true;
    capi_steps_close(m);
    return model_grow(&m->model, n);
}

step *capi_step_get(tfcc_model *m, capi_step which, int64_t n)
{
    if (!make_room(m, n)) {
        m->state = CAPI_FAILED;
        return NULL;
    }
    if (!m->open[which] && !step_open(&m->step[which], &m->model, step_names[which])) return NULL;
    m->open[which] = true;
    return &m->step[which];
}

bool capi_classes_check(tfcc_model *m, const tfcc_port *port, int64_t rows, const void *data)
{
    const uint64_t count = rt_shape_elements(&port->shape, rows);
    for (uint64_t i = 0; port->shape.dtype == TFCC_I32 && port->classes > 0 && i < count; i++) {
        const int64_t class = ((const int32_t *)data)[i];
        if ((class >= 0 && class < port->classes) || (port->has_ignored && class == port->ignored)) continue;
        return rt_wrong(&m->r, "\"%s\": expected class indices of 0 to %lld, found %lld at element %llu",
                        port->name, (long long)port->classes - 1, (long long)class, (unsigned long long)i);
    }
    return true;
}

/* Addresses of words and of sparse rows, and what is in the rows. */
static bool check_records(tfcc_model *m, const tfcc_port *port, int64_t rows, const void *data)
{
    const bool is_sparse = port->shape.dtype == TFCC_ROW;
    const uint64_t count = is_sparse || port->shape.dtype == TFCC_STR ? rt_shape_elements(&port->shape, rows) : 0;
    for (uint64_t i = 0; i < count; i++) {
        const uint32_t *record = ((const uint32_t *const *)data)[i];
        if ((uintptr_t)record % sizeof *record != 0)
            return rt_wrong(&m->r, "\"%s\": %s %llu: expected an address aligned to 4 bytes", port->name,
                            is_sparse ? "row" : "element", (unsigned long long)i);
        if (!is_sparse || !record) continue;
        if (record[0] > port->classes)
            return rt_wrong(&m->r, "\"%s\": row %llu: expected at most %lld entries, found %lu", port->name,
                            (unsigned long long)i, (long long)port->classes, (unsigned long)record[0]);
        for (uint32_t k = 1; k <= record[0]; k++) {
            if (record[k] < port->classes && (k == 1 || record[k] > record[k - 1])) continue;
            return rt_wrong(&m->r, "\"%s\": row %llu: expected columns of 0 to %lld, ascending, found %lu", port->name,
                            (unsigned long long)i, (long long)port->classes - 1, (unsigned long)record[k]);
        }
    }
    return true;
}

static float *get_ones(tfcc_model *m, uint64_t count)
{
    if (count <= m->ones_count) return m->ones;
    rt_free(&m->r, m->ones);
    m->ones_count = 0;
    m->ones = rt_alloc_many(&m->r, count, sizeof *m->ones, "sample weights");
    if (!m->ones) return NULL;
    for (uint64_t i = 0; i < count; i++) m->ones[i] = 1;
    m->ones_count = count;
    return m->ones;
}

static bool set_port(tfcc_model *m, uint64_t number, int64_t rows, const tfcc_view *view)
{
    const tfcc_port *port = &m->r.program->port[number];
    const uint64_t bytes = rt_shape_bytes(&port->shape, rows);
    if (port->kind == TFCC_PORT_SAMPLE_WEIGHT && (!view || !view->data)) {
        m->ports[number] = NULL; /* set when all are known: the ones may move */
        return get_ones(m, rt_shape_elements(&port->shape, rows)) != NULL;
    }
    if (!view->data || view->bytes != bytes) {
        return rt_wrong(&m->r, "\"%s\": expected %llu bytes (%lld rows of %s%s), found %zu", port->name,
                        (unsigned long long)bytes, (long long)rows, rt_dtype_name(port->shape.dtype),
                        rt_shape_show(&m->r, port->shape.rank, port->shape.dim, port->shape.batch),
                        view->data ? view->bytes : (size_t)0);
    }
    if ((uintptr_t)view->data % rt_dtype_size(port->shape.dtype) != 0)
        return rt_wrong(&m->r, "\"%s\": expected an address aligned to its elements", port->name);
    m->ports[number] = (void *)(uintptr_t)view->data;
    return capi_classes_check(m, port, rows, view->data) && check_records(m, port, rows, view->data);
}

bool capi_ports_set(tfcc_model *m, uint32_t kind, int64_t rows, const tfcc_view *view, size_t count)
{
    static const char *const kinds[] = {"inputs", "targets", "sample weights"};
    const tfcc_program *p = m->r.program;
    size_t expected = 0;
    if (rows < 1 || rows > INT32_MAX)
        return rt_wrong(&m->r, "rows: expected 1 to 2^31 - 1, found %lld", (long long)rows);
    for (uint64_t i = 0; i < p->port_count; i++) expected += is_given(&p->port[i], kind);
    const bool absent = kind == TFCC_PORT_SAMPLE_WEIGHT && !view;
    if (!absent && (count != expected || (expected > 0 && !view)))
        return rt_wrong(&m->r, "expected %zu %s, found %zu", expected, kinds[kind], view ? count : (size_t)0);
    for (uint64_t i = 0, k = 0; i < p->port_count; i++) {
        const tfcc_port *port = &p->port[i];
        if (!is_given(port, kind)) continue;
        if (port->ragged == 0 && !set_port(m, i, rows, absent ? NULL : &view[k++])) return false;
        if (port->ragged > 0 && !capi_ragged_set(m, i, rows, &view[k++])) return false;
    }
    for (uint64_t i = 0; i < p->port_count; i++) {
        if (p->port[i].kind == TFCC_PORT_SAMPLE_WEIGHT && kind == TFCC_PORT_SAMPLE_WEIGHT && !m->ports[i])
            m->ports[i] = m->ones;
    }
    return true;
}

static bool predict(tfcc_model *m, int64_t rows, const tfcc_span *output, size_t outputs)
{
    step *s = capi_rows_take(m, 0, rows) ? capi_step_get(m, CAPI_predict, rows) : NULL;
    if (!s) return false;
    if (outputs != s->graph->output_count || !output)
        return rt_wrong(&m->r, "expected %llu outputs, found %zu", (unsigned long long)s->graph->output_count,
                        output ? outputs : (size_t)0);
    for (size_t i = 0; i < outputs; i++) {
        const tfcc_output *o = &s->graph->output[i];
        const uint64_t bytes = rt_shape_bytes(&o->shape, ragged_count(&m->model, o->shape.ragged, rows));
        if ((!output[i].data && bytes > 0) || output[i].bytes != bytes)
            return rt_wrong(&m->r, "\"%s\": expected room for %llu bytes, found %zu", o->name,
                            (unsigned long long)bytes, output[i].data ? output[i].bytes : (size_t)0);
    }
    if (!step_run(s, rows, m->ports)) return false;
    for (size_t i = 0; i < outputs; i++) {
        if (output[i].bytes > 0) memcpy(output[i].data, step_output(s, i), output[i].bytes);
    }
    return true;
}

tfcc_result tfcc_predict(tfcc_model *m, int64_t rows, const tfcc_view *input, size_t inputs,
                         const tfcc_span *output, size_t outputs)
{
    tfcc_result result = capi_begin(m);
    if (result != TFCC_OK) return result;
    return capi_end(m,
                    capi_ports_set(m, TFCC_PORT_X, rows, input, inputs) && predict(m, rows, output, outputs));
}
