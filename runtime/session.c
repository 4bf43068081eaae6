/* session.c: see session.h. */
#include "session.h"

#include "convert.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static volatile sig_atomic_t caught; /* a handler can reach nothing else */

static void remember(int number) { caught = number; }

void session_catch_signals(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = remember;
    action.sa_flags = SA_RESTART | (int)SA_RESETHAND;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

int session_signal(void) { return caught; }

bool session_model_open(model *m, rt *r, const options *o, int64_t rows, int graph_count, const char *const *graph)
{
    const model_options open = {.threads = (int)o->threads,
                                .seed = o->seed,
                                .rows = rows < o->batch_size ? rows : o->batch_size,
                                .weights = o->weights,
                                .graph = graph,
                                .graph_count = graph_count};
    return model_open(m, r, &open);
}

bool session_log_open(session_log *l, model *m)
{
    *l = (session_log){.count = 0};
    if (!step_open(&l->step, m, "metrics")) return false;
    const tfcc_output *output = l->step.graph->output;
    l->count = l->step.graph->output_count;
    l->key = rt_alloc_many(m->r, l->count, sizeof *l->key, "the log");
    if (!l->key) return false;
    for (uint64_t i = 0; i < l->count; i++) {
        const uint64_t size = rt_shape_elements(&output[i].shape, 1);
        l->key[i] = (log_key){
            .name = output[i].name, .first = l->values, .size = size, .is_list = output[i].shape.rank > 0};
        l->values += size;
    }
    l->value = rt_alloc_many(m->r, l->values, sizeof *l->value, "the log");
    return l->value != NULL;
}

void session_log_read(session_log *l)
{
    step_run(&l->step, 1, NULL);
    for (uint64_t i = 0; i < l->count; i++) {
        const void *from = step_output(&l->step, i);
        const uint32_t dtype = l->step.graph->output[i].shape.dtype;
        for (uint64_t k = 0; k < l->key[i].size; k++)
            l->value[l->key[i].first + k] = convert_get(from, dtype, k);
    }
}

bool session_find_loss(const step *s, int64_t *out_output)
{
    *out_output = step_find_output(s, "loss");
    return *out_output >= 0 || rt_failed(s->m->r, "graph %s has no output \"loss\"", s->graph->name);
}

void session_evaluate(step *eval, batches *b, session_log *l)
{
    model_reset_metrics(eval->m);
    batches_start(b, 0, 0);
    for (int64_t n = batches_next(b); n > 0 && !caught; n = batches_next(b)) {
        if (!step_run(eval, n, b->ports)) return;
    }
    session_log_read(l);
}

bool session_check_output(rt *r, const char *path)
{
    struct stat s;
    if (!path) return true;
    const char *slash = strrchr(path, '/');
    char *folder =
        !slash ? rt_printf(r, ".") : rt_printf(r, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    if (!folder) return false;
    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode))
        return rt_wrong(r, "%s: cannot write: it is a directory", path);
    bool special = stat(path, &s) == 0 && !S_ISREG(s.st_mode);
    if (access(special ? path : folder, W_OK) == 0) return true;
    return rt_failed(r, "%s: cannot write: %s", path, strerror(errno));
}
