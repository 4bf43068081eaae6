/* fit.c: training: epochs of batches, validation, history, saving. */
#include "history.h"
#include "loss_scale.h"
#include "progress.h"
#include "session.h"
#include "verbs.h"
#include "weights.h"

#include <math.h>
#include <string.h>

typedef struct fit {
    rt *r;
    const options *o;
    model model;
    dataset data, validation; /* validation.rows 0: none */
    batches batches, validation_batches;
    step train, eval;
    int64_t loss; /* the training step's output */
    loss_scale scale;
    session_log log;
    history history;
    progress progress;
    double *value; /* of one epoch, keys as in history */
    int64_t steps, passes;
} fit;

static bool split_data(fit *f)
{
    dataset all = f->data;
    int64_t rows = (int64_t)floor((double)all.rows * (1 - f->o->validation_split));
    if (rows == 0 || rows == all.rows) {
        return rt_wrong(f->r,
                        "--validation-split: expected rows on both sides of the split, found %lld and %lld",
                        (long long)rows, (long long)(all.rows - rows));
    }
    return dataset_slice(&all, f->r, 0, rows, &f->data) &&
           dataset_slice(&all, f->r, rows, all.rows - rows, &f->validation);
}

static bool read_data(fit *f)
{
    const options *o = f->o;
    if (!options_require(f->r, o->data, "--data") || !dataset_read(&f->data, f->r, o->data, DATASET_ALL))
        return false;
    if (o->validation_data) {
        if (!dataset_read(&f->validation, f->r, o->validation_data, DATASET_ALL)) return false;
    } else if (o->validation_split > 0 && !split_data(f)) {
        return false;
    }
    return !o->class_weight || dataset_weigh_classes(&f->data, f->r, o->class_weight);
}

static bool open_model(fit *f)
{
    static const char *const graphs[] = {"train_step", "eval_step", "metrics"};
    int64_t rows = f->data.rows > f->validation.rows ? f->data.rows : f->validation.rows;
    return session_model_open(&f->model, f->r, f->o, rows, (int)RT_COUNT(graphs), graphs);
}

/* Keys of the history: those of the log, then the same with val_. */
static bool open_history(fit *f)
{
    uint64_t logged = f->log.count, keys = f->validation.rows > 0 ? 2 * logged : logged;
    log_key *key = rt_alloc_many(f->r, keys, sizeof *key, "the history");
    f->value = rt_alloc_many(f->r, 2 * f->log.values, sizeof *f->value, "the history");
    if (!key || !f->value) return false;
    for (uint64_t i = 0; i < keys; i++) {
        key[i] = f->log.key[i % logged];
        if (i < logged) continue;
        key[i].first += f->log.values;
        key[i].name = rt_printf(f->r, "val_%s", key[i].name);
        if (!key[i].name) return false;
    }
    history_init(&f->history, f->r, key, keys);
    return true;
}

static bool open_all(fit *f)
{
    const options *o = f->o;
    if (!open_model(f) || !step_open(&f->train, &f->model, "train_step")) return false;
    if (!session_find_loss(&f->train, &f->loss) || !session_log_open(&f->log, &f->model) || !open_history(f))
        return false;
    if (!batches_open(&f->batches, &f->model, &f->data, o->batch_size, !o->no_shuffle)) return false;
    if (f->validation.rows > 0) {
        if (!step_open(&f->eval, &f->model, "eval_step")) return false;
        if (!batches_open(&f->validation_batches, &f->model, &f->validation, o->batch_size, false))
            return false;
    }
    if (!loss_scale_open(&f->scale, &f->train)) return false;
    f->steps = o->steps_per_epoch > 0 ? o->steps_per_epoch : batches_count(&f->batches);
    progress_init(&f->progress, (int)o->verbose, o->epochs);
    return true;
}

/* The next batch; begins a new pass over the data when the last one is used up. */
static int64_t next_batch(fit *f)
{
    int64_t n = batches_next(&f->batches);
    if (n > 0) return n;
    batches_start(&f->batches, f->o->seed, f->passes++);
    return batches_next(&f->batches);
}

/* One epoch's steps; false when a signal or a fault ended it. */
static bool run_steps(fit *f)
{
    if (f->o->steps_per_epoch == 0) batches_start(&f->batches, f->o->seed, f->passes++);
    for (int64_t i = 0; i < f->steps; i++) {
        if (session_signal()) return false;
        int64_t n = next_batch(f);
        if (!step_run(&f->train, n, f->batches.ports)) return false;
        loss_scale_look(&f->scale, f->batches.ports);
        history_add_batch(&f->history, step_scalar(&f->train, (uint64_t)f->loss));
        if (!progress_is_due(&f->progress) || i + 1 == f->steps) continue;
        session_log_read(&f->log);
        progress_show_step(&f->progress, i + 1, f->log.key, f->log.value, f->log.count);
    }
    return true;
}

static bool run_epoch(fit *f, int64_t epoch)
{
    if (!history_reserve(&f->history, (uint64_t)f->steps)) return false;
    model_reset_metrics(&f->model);
    progress_begin_epoch(&f->progress, epoch, f->steps);
    if (!run_steps(f)) return !f->r->status;
    session_log_read(&f->log);
    size_t bytes = (size_t)f->log.values * sizeof *f->value;
    memcpy(f->value, f->log.value, bytes);
    if (f->validation.rows > 0) {
        session_evaluate(&f->eval, &f->validation_batches, &f->log);
        if (session_signal() || f->r->status) return !f->r->status;
        memcpy(f->value + f->log.values, f->log.value, bytes);
    }
    progress_end_epoch(&f->progress, f->history.key, f->value, f->history.keys);
    if (!history_add_epoch(&f->history, f->value)) return false;
    return !f->o->csv_log || history_write_csv(&f->history, f->o->csv_log);
}

static bool train(fit *f)
{
    f->batches.at = f->data.rows;
    for (int64_t epoch = 0; epoch < f->o->epochs && !session_signal(); epoch++) {
        if (!run_epoch(f, epoch)) return false;
    }
    /* An interrupted run keeps the weights as they are, so that it can be gone on with. */
    if (f->r->program->use_ema && !session_signal()) model_overwrite_with_averages(&f->model);
    if (f->o->save && !weights_write(&f->model, f->o->save)) return false;
    return !f->o->history || history_write(&f->history, f->o->history);
}

bool verb_fit(rt *r, const options *o)
{
    fit f = {.r = r, .o = o};
    if (!rt_find_graph(r, "train_step"))
        return rt_wrong(r, "the model was compiled without a loss: it can only predict");
    if (!weights_check_name(r, o->save) || !session_check_output(r, o->save) || !session_check_output(r, o->history)) return false;
    if (!session_check_output(r, o->csv_log) || !read_data(&f)) return false;
    session_catch_signals();
    bool ok = open_all(&f) && train(&f);
    model_close(&f.model);
    if (ok && session_signal()) r->status = 128 + session_signal();
    return ok;
}
