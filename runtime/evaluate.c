/* evaluate.c: loss and metrics on a data set. */
#include "number.h"
#include "session.h"
#include "verbs.h"

#include <stdio.h>

static void print_json(const session_log *l)
{
    char text[NUMBER_ROOM];
    printf("{");
    for (uint64_t i = 0; i < l->count; i++) {
        const log_key *key = &l->key[i];
        printf("%s\"%s\": %s", i > 0 ? ", " : "", key->name, key->is_list ? "[" : "");
        for (uint64_t k = 0; k < key->size; k++)
            printf("%s%s", k > 0 ? ", " : "", number_show(l->value[key->first + k], text));
        printf("%s", key->is_list ? "]" : "");
    }
    printf("}\n");
}

static void print_plain(const session_log *l)
{
    for (uint64_t i = 0; i < l->count; i++) {
        const log_key *key = &l->key[i];
        printf("%s%s:", i > 0 ? " - " : "", key->name);
        for (uint64_t k = 0; k < key->size; k++) printf(" %.6g", l->value[key->first + k]);
    }
    printf("\n");
}

static bool evaluate(model *m, const dataset *data, const options *o)
{
    step eval;
    session_log log;
    batches b;
    if (!step_open(&eval, m, "eval_step") || !session_log_open(&log, m)) return false;
    if (!batches_open(&b, m, data, o->batch_size, false)) return false;
    session_evaluate(&eval, &b, &log);
    if (m->r->status) return false;
    if (o->json)
        print_json(&log);
    else
        print_plain(&log);
    return true;
}

bool verb_evaluate(rt *r, const options *o)
{
    static const char *const graphs[] = {"eval_step", "metrics"};
    dataset data;
    model m;
    if (!rt_find_graph(r, "eval_step"))
        return rt_wrong(r, "the model was compiled without a loss: it can only predict");
    if (!options_require(r, o->data, "--data") || !dataset_read(&data, r, o->data, DATASET_ALL)) return false;
    bool ok = session_model_open(&m, r, o, data.rows, (int)RT_COUNT(graphs), graphs) && evaluate(&m, &data, o);
    model_close(&m);
    return ok;
}
