/* frontend.c: the order of things: read the file, read the model, lower its graphs. */
#include "frontend/archive.h"
#include "frontend/h5.h"
#include "frontend/keras2.h"
#include "frontend/saved.h"

#include <errno.h>
#include <string.h>

enum { MOST_JSON_BYTES = 64 << 20 };

/* ---- graphs
 * -----------------------------------------------------------------------------------------------------------
 */

typedef struct lowering {
    fe *fe;
    fe_model *model;
    fe_layer *top;
    fe_train *train; /* NULL: forward only */
    bool discard;    /* graphs are thrown away: only their variables count */
    bool own_losses; /* layers add losses when they train */
} lowering;

static bool lower_graph(lowering *job, const char *name, bool training)
{
    fe *f = job->fe;
    fe_model *m = job->model;
    fe_lower l = {.fe = f, .g = ir_module_add_graph(f->module, name), .training = training, .discard = job->discard};
    fe_tensor *in = arena_array(f->arena, fe_tensor, m->input_count + 1);
    fe_tensor *out = arena_array(f->arena, fe_tensor, m->output_count + 1);
    for (size_t i = 0; i < m->input_count; i++) {
        in[i] = (fe_tensor){fe_input_value(l.g, m->input[i]->state), IR_NONE};
    }
    fe_value result;
    if (!fe_model_call(&l, m, m->input_count, in, &result)) return false;
    int count = fe_value_tensors(&result, (int)m->output_count, out);
    if (count != (int)m->output_count) {
        return fe_layer_error(f, job->top, "expected one tensor an output, found %d for %zu", count,
                              m->output_count);
    }
    if (strcmp(name, "predict") == 0) {
        for (int i = 0; i < count; i++) ir_graph_add_output(l.g, m->output_name[i], out[i].value);
    }
    if (!job->train && !training) return true;
    fe_model_penalties(&l, m);
    if (!job->train) {
        job->own_losses = l.loss_count > 0;
        return true;
    }
    l.g->origin = 0;
    return fe_train_lower(&l, job->train, m, out);
}

/* Finds all variables with graphs that are thrown away, and puts them in order. */
static bool discover_variables(lowering *job)
{
    ir_module *module = job->fe->module;
    job->discard = true;
    bool ok = lower_graph(job, "predict", false) && lower_graph(job, "train_step", true);
    job->discard = false;
    module->graph_count = 0;
    if (!ok || diag_has_errors(job->fe->diag)) return false;
    fe_model_order_variables(job->fe, job->model);
    return true;
}

/* ---- training
 * ----------------------------------------------------------------------------------------------------------
 */

static void add_dependency(fe *f, frontend_model *result, const char *path)
{
    const char **list = arena_array(f->arena, const char *, result->dependency_count + 1);
    for (size_t i = 0; i < result->dependency_count; i++) list[i] = result->dependency[i];
    list[result->dependency_count++] = arena_strdup(f->arena, path);
    result->dependency = list;
}

static bool read_text(fe *f, const char *path, text *out)
{
    if (text_read_file(out, path, MOST_JSON_BYTES)) return true;
    const char *file = f->diag->file;
    f->diag->file = path;
    if (errno == EFBIG)
        diag_error(f->diag, NULL, "expected at most %d bytes of JSON", MOST_JSON_BYTES);
    else
        diag_error(f->diag, NULL, "cannot be read: %s", strerror(errno));
    f->diag->file = file;
    return false;
}

/* The compile configuration: --compile-config's file, or the model's own. Messages name the file it is from.
 */
static bool read_training(lowering *job, const cJSON *root, frontend_model *result)
{
    fe *f = job->fe;
    const char *path = f->options->compile_config, *file = f->diag->file;
    const json_at own_at = {.key = "compile_config"};
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(root, own_at.key);
    const json_at *at = &own_at;
    text t = {0};
    if (path) {
        if (!read_text(f, path, &t)) return false;
        add_dependency(f, result, path);
        config = fe_json_parse(f, path, text_get(&t), t.length);
        text_done(&t);
        if (!config) return false;
        f->diag->file = path;
        const cJSON *inner = cJSON_GetObjectItemCaseSensitive(config, own_at.key);
        if (inner)
            config = inner;
        else
            at = NULL;
    }
    bool ok = fe_train_read(f, job->model, cJSON_IsNull(config) ? NULL : config, at, job->own_losses, &job->train);
    f->diag->file = file;
    if (ok) fe_saved_make(f, root, job->train ? config : NULL, job->train != NULL, result);
    return ok;
}

static bool lower_training(lowering *job)
{
    if (!lower_graph(job, "eval_step", false) || !lower_graph(job, "train_step", true) ||
        !fe_train_metrics(job->fe, job->train, job->model))
        return false;
    if (!job->fe->options->library) return true;
    if (!lower_graph(job, "gradients", true)) return false;
    ir_module_add_graph(job->fe->module, "apply_gradients"); /* filled by pass gradient */
    return true;
}

/* ---- the whole
 * -----------------------------------------------------------------------------------------------------------
 */

static fe_layer *read_top(fe *f, const cJSON *root)
{
    f->keras2 = fe_keras2_is_model(root);
    fe_layer *top = fe_layer_read(f, root, NULL, NULL, "");
    if (top && !top->model) {
        fe_error(f, NULL, "expected a model (Functional or Sequential), found %s", fe_json_show(f, root));
        return NULL;
    }
    return top;
}

static bool lower_all(lowering *job, const cJSON *root, frontend_model *result)
{
    fe *f = job->fe;
    if (!fe_inputs_add(f, job->top, root) || !discover_variables(job)) return false;
    if (!lower_graph(job, "predict", false)) return false;
    result->summary = fe_summary(f, job->model);
    result->dot = fe_dot(f, job->model);
    fe_precision_list(f, job->model, result);
    if (f->options->predict_only) {
        fe_saved_make(f, root, NULL, false, result);
        return true;
    }
    return read_training(job, root, result) && (!job->train || lower_training(job));
}

static frontend_model *read_model(fe *f, const char *name, const char *source, size_t length)
{
    frontend_model *result = arena_new(f->arena, frontend_model);
    cJSON *root = fe_json_parse(f, name, source, length);
    if (root) fe_keras2_lists_wrap(f, root);
    if (!root) return NULL;
    fe_h5_training_adapt(f, root);
    f->module = ir_module_new(f->arena, "model");
    f->refused_policy.arena = f->arena;
    f->files.arena = f->arena;
    if (!fe_policy_check(f)) return NULL;
    lowering job = {.fe = f, .top = read_top(f, root)};
    if (!job.top || diag_has_errors(f->diag)) {
        if (!diag_has_errors(f->diag)) bug("a model was refused without a message");
        return NULL;
    }
    job.model = job.top->model;
    f->module->name = job.model->name;
    bool ok = lower_all(&job, root, result);
    if (!ok && !diag_has_errors(f->diag)) bug("a model was refused without a message");
    if (!ok || diag_has_errors(f->diag)) return NULL;
    result->module = f->module;
    return result;
}

frontend_model *frontend_read_text(arena *a, const char *name, const char *source, size_t length,
                                   const frontend_options *options, diag *d)
{
    fe f = {.arena = a, .diag = d, .options = options};
    return read_model(&f, name, source, length);
}

frontend_model *frontend_read(arena *a, const char *path, const frontend_options *options, diag *d)
{
    fe f = {.arena = a, .diag = d, .options = options};
    fe_archive archive = {0};
    text t = {0};
    frontend_model *result = NULL;
    if (!d->file) d->file = path;
    if (fe_archive_is(path)) {
        if (!fe_archive_read(&f, path, &archive)) return NULL;
        f.archive = path;
        result = read_model(&f, arena_printf(a, "%s/config.json", path), archive.config, archive.config_size);
    } else if (fe_h5_is(path)) {
        if (!fe_h5_read(&f, path, &archive)) return NULL;
        result = read_model(&f, path, archive.config, archive.config_size);
    } else if (read_text(&f, path, &t)) {
        result = read_model(&f, path, text_get(&t), t.length);
    }
    text_done(&t);
    if (!result) return NULL;
    result->weights = archive.weights;
    result->weights_size = archive.weights_size;
    add_dependency(&f, result, path);
    for (size_t i = 0; i < f.files.count; i++) add_dependency(&f, result, f.files.entry[i].key);
    return result;
}
