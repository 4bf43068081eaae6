/* capi_train.c: the part of the C interface that trains and evaluates. */
#include "capi.h"
#include "convert.h"
#include "ragged.h"

#include <string.h>

/* Steps that only programs with a loss have. */
static tfcc_result begin_training(tfcc_model *m, const char *graph)
{
    tfcc_result result = capi_begin(m);
    if (result != TFCC_OK) return result;
    if (rt_find_graph(&m->r, graph)) return TFCC_OK;
    capi_end(m, true);
    return capi_refuse(m, TFCC_UNSUPPORTED, "the model was compiled without a loss%s",
                       strcmp(graph, "gradients") == 0 ? ", or not as a library" : "");
}

static bool set_batch(tfcc_model *m, const tfcc_batch *b)
{
    if (!b || b->struct_size != sizeof *b)
        return rt_wrong(&m->r, "tfcc_batch: expected %zu bytes, found %zu: made with another tfcc.h", sizeof *b,
                        b ? (size_t)b->struct_size : (size_t)0);
    return capi_ports_set(m, TFCC_PORT_X, b->rows, b->input, b->inputs) &&
           capi_ports_set(m, TFCC_PORT_Y, b->rows, b->target, b->targets) &&
           capi_ports_set(m, TFCC_PORT_SAMPLE_WEIGHT, b->rows, b->sample_weight, b->sample_weights);
}

static bool run(tfcc_model *m, capi_step which, int64_t rows, double *loss)
{
    step *s = capi_step_get(m, which, rows);
    if (!s || !step_run(s, rows, m->ports)) return false;
    int64_t output = step_find_output(s, "loss");
    if (loss && output >= 0) *loss = step_scalar(s, (uint64_t)output);
    return true;
}

static tfcc_result run_batch(tfcc_model *m, capi_step which, const char *graph, const tfcc_batch *b, double *loss)
{
    tfcc_result result = begin_training(m, graph);
    if (result != TFCC_OK) return result;
    return capi_end(m, set_batch(m, b) && capi_rows_take(m, 0, b->rows) && run(m, which, b->rows, loss));
}

tfcc_result tfcc_train_step(tfcc_model *m, const tfcc_batch *batch, double *loss)
{
    return run_batch(m, CAPI_train_step, "train_step", batch, loss);
}

tfcc_result tfcc_gradients(tfcc_model *m, const tfcc_batch *batch, double *loss)
{
    return run_batch(m, CAPI_gradients, "gradients", batch, loss);
}

tfcc_result tfcc_apply_gradients(tfcc_model *m)
{
    tfcc_result result = begin_training(m, "apply_gradients");
    return result != TFCC_OK ? result : capi_end(m, run(m, CAPI_apply_gradients, 1, NULL));
}

tfcc_result tfcc_minimize(tfcc_model *m, const tfcc_batch *batch, double *loss)
{
    tfcc_result result = tfcc_gradients(m, batch, loss);
    return result != TFCC_OK ? result : tfcc_apply_gradients(m);
}

/* ---- metrics -------------------------------------------------------------------------------------------- */

/* Exchanges the accumulators with what was kept of them. */
static bool keep_metrics(tfcc_model *m, bool restore)
{
    const tfcc_program *p = m->r.program;
    uint64_t used = 0;
    for (int pass = m->kept ? 1 : 0; pass < 2; pass++, used = 0) {
        for (uint64_t i = 0; i < p->variable_count; i++) {
            if (p->variable[i].role != TFCC_METRIC) continue;
            const uint64_t bytes = model_variable_bytes(&m->model, i);
            if (pass == 1 && restore) memcpy(m->model.variable[i], m->kept + used, (size_t)bytes);
            if (pass == 1 && !restore) memcpy(m->kept + used, m->model.variable[i], (size_t)bytes);
            used += bytes;
        }
        if (pass == 0 && !(m->kept = rt_alloc(&m->r, used, "metrics"))) return false;
    }
    return true;
}

tfcc_result tfcc_loss(tfcc_model *m, const tfcc_batch *batch, double *loss)
{
    tfcc_result result = begin_training(m, "eval_step");
    if (result != TFCC_OK) return result;
    bool ok = set_batch(m, batch) && capi_rows_take(m, 0, batch->rows) && keep_metrics(m, false) && run(m, CAPI_eval_step, batch->rows, loss);
    return capi_end(m, ok && keep_metrics(m, true));
}

tfcc_result tfcc_metrics_reset(tfcc_model *m)
{
    tfcc_result result = begin_training(m, "metrics");
    if (result != TFCC_OK) return result;
    model_reset_metrics(&m->model);
    return capi_end(m, true);
}

static bool read_metrics(tfcc_model *m, double *values, size_t count)
{
    step *s = capi_step_get(m, CAPI_metrics, 1);
    if (!s) return false;
    if (!values || count != s->graph->output_count)
        return rt_wrong(&m->r, "expected room for %llu metrics, found %zu", (unsigned long long)s->graph->output_count,
                        values ? count : (size_t)0);
    step_run(s, 1, NULL);
    for (size_t i = 0; i < count; i++) values[i] = step_scalar(s, i);
    return true;
}

tfcc_result tfcc_metrics_get(tfcc_model *m, double *values, size_t count)
{
    tfcc_result result = begin_training(m, "metrics");
    return result != TFCC_OK ? result : capi_end(m, read_metrics(m, values, count));
}

/* The arrays of the call from the row behind the batch on. */
static void advance_ports(tfcc_model *m, int64_t rows)
{
    const tfcc_program *p = m->r.program;
    for (uint64_t i = 0; i < p->port_count; i++) {
        const tfcc_port *port = &p->port[i];
        if (!m->ports[i] || m->ports[i] == m->ones || port->kind == TFCC_PORT_MADE) continue;
        m->ports[i] = (char *)m->ports[i] + rt_shape_bytes(&port->shape, ragged_count(&m->model, port->ragged, rows));
    }
}

static bool evaluate(tfcc_model *m, const tfcc_batch *data, int64_t batch_rows, double *values, size_t count)
{
    if (batch_rows < 1) return rt_wrong(&m->r, "batch_rows: expected at least 1, found %lld", (long long)batch_rows);
    if (!set_batch(m, data)) return false;
    if (batch_rows > data->rows) batch_rows = data->rows;
    model_reset_metrics(&m->model);
    for (int64_t first = 0; first < data->rows; first += batch_rows) {
        int64_t rows = data->rows - first < batch_rows ? data->rows - first : batch_rows;
        step *s = capi_rows_take(m, first, rows) ? capi_step_get(m, CAPI_eval_step, batch_rows) : NULL;
        if (!s || !step_run(s, rows, m->ports)) return false;
        advance_ports(m, rows);
    }
    return read_metrics(m, values, count);
}

tfcc_result tfcc_evaluate(tfcc_model *m, const tfcc_batch *data, int64_t batch_rows, double *values, size_t count)
{
    tfcc_result result = begin_training(m, "eval_step");
    return result != TFCC_OK ? result : capi_end(m, evaluate(m, data, batch_rows, values, count));
}

/* ---- gradients and the optimizer ------------------------------------------------------------------------- */

tfcc_result tfcc_gradient_get(tfcc_model *m, const char *path, void *to, size_t bytes)
{
    tfcc_result result = begin_training(m, "gradients");
    return result != TFCC_OK ? result : capi_end(m, capi_variable_copy(m, path, true, to, NULL, bytes));
}

tfcc_result tfcc_gradient_set(tfcc_model *m, const char *path, const void *from, size_t bytes)
{
    tfcc_result result = begin_training(m, "gradients");
    return result != TFCC_OK ? result : capi_end(m, capi_variable_copy(m, path, true, NULL, from, bytes));
}

/* The optimizer's variable "<name>/learning_rate"; -1 when it has none. */
static int64_t find_rate(const tfcc_model *m)
{
    static const char tail[] = "/learning_rate";
    const tfcc_program *p = m->r.program;
    for (uint64_t i = 0; i < p->variable_count; i++) {
        const size_t length = strlen(p->variable[i].path);
        if (p->variable[i].role != TFCC_OPTIMIZER || length < sizeof tail) continue;
        if (strcmp(p->variable[i].path + length + 1 - sizeof tail, tail) == 0) return (int64_t)i;
    }
    return -1;
}

static tfcc_result access_rate(tfcc_model *m, double *read, double written)
{
    tfcc_result result = begin_training(m, "train_step");
    if (result != TFCC_OK) return result;
    int64_t rate = find_rate(m);
    if (rate < 0) {
        capi_end(m, true);
        return capi_refuse(m, TFCC_UNSUPPORTED,
                           "the optimizer's learning rate is a schedule or fixed: it has no variable");
    }
    const uint32_t dtype = m->r.program->variable[rate].shape.dtype;
    if (read)
        *read = convert_get(m->model.variable[rate], dtype, 0);
    else
        convert_elements(m->model.variable[rate], dtype, &written, TFCC_F64, 1);
    return capi_end(m, true);
}

tfcc_result tfcc_learning_rate_get(tfcc_model *m, double *rate)
{
    return rate ? access_rate(m, rate, 0) : TFCC_MISUSE;
}

tfcc_result tfcc_learning_rate_set(tfcc_model *m, double rate) { return access_rate(m, NULL, rate); }

tfcc_result tfcc_use_averages(tfcc_model *m)
{
    tfcc_result result = begin_training(m, "train_step");
    if (result != TFCC_OK) return result;
    if (m->r.program->use_ema) model_overwrite_with_averages(&m->model);
    capi_end(m, true);
    if (m->r.program->use_ema) return TFCC_OK;
    return capi_refuse(m, TFCC_UNSUPPORTED, "the optimizer keeps no averages: it was compiled without use_ema");
}
