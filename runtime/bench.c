/* bench.c: times of whole steps on data made once. */
#include "profile.h"
#include "session.h"
#include "verbs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { MOST_SAMPLES = 1 << 20, LEAST_STEPS = 3 };

typedef struct timing {
    double *seconds; /* sorted at the end */
    uint64_t steps;
    double first; /* process start to the end of the first step */
} timing;

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(step *s, batches *b, double seconds, timing *t, profile *p)
{
    int64_t n = batches_next(b);
    step_run(s, n, b->ports);
    t->first = rt_seconds() - s->m->r->started;
    double start = rt_seconds(), before = start;
    while (t->steps < MOST_SAMPLES && (t->steps < LEAST_STEPS || before - start < seconds)) {
        step_run(s, n, b->ports);
        double now = rt_seconds();
        t->seconds[t->steps++] = now - before;
        if (p) profile_take(p, s);
        before = now;
    }
    qsort(t->seconds, (size_t)t->steps, sizeof *t->seconds, compare);
}

static double peak_megabytes(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static void print_json(const timing *t, const model *m, const char *mode)
{
    double median = t->seconds[t->steps / 2];
    printf("{\"mode\": \"%s\", \"batch_size\": %lld, \"threads\": %d, \"steps\": %llu, "
           "\"step_ms\": {\"min\": %.6g, \"median\": %.6g, \"max\": %.6g}, \"examples_per_second\": %.6g, "
           "\"first_step_ms\": %.6g, \"peak_rss_mb\": %.6g}\n",
           mode, (long long)m->rows, pool_threads(m->pool), (unsigned long long)t->steps, t->seconds[0] * 1e3,
           median * 1e3, t->seconds[t->steps - 1] * 1e3, (double)m->rows / median, t->first * 1e3,
           peak_megabytes());
}

static void print_plain(const timing *t, const model *m, const char *mode)
{
    double median = t->seconds[t->steps / 2];
    uint64_t variables = 0;
    for (uint64_t i = 0; i < m->program->variable_count; i++) variables += model_variable_bytes(m, i);
    printf("%s, batches of %lld, %d threads, %llu steps\n", mode, (long long)m->rows, pool_threads(m->pool),
           (unsigned long long)t->steps);
    printf("step:    min %.3f ms, median %.3f ms, max %.3f ms; %.1f examples/s\n", t->seconds[0] * 1e3,
           median * 1e3, t->seconds[t->steps - 1] * 1e3, (double)m->rows / median);
    printf("start:   %.1f ms from the process's start to the end of the first step\n", t->first * 1e3);
    printf("memory:  %.1f MB at most; weights and states %.1f MB, values %.1f MB + %.3f MB per row\n",
           peak_megabytes(), (double)variables / 1e6, (double)m->fixed_bytes / 1e6,
           (double)m->batch_bytes / 1e6);
}

static bool bench(model *m, const dataset *data, const options *o, const char *mode)
{
    step s;
    batches b;
    profile p;
    timing t = {.seconds = rt_alloc_many(m->r, MOST_SAMPLES, sizeof *t.seconds, "the times")};
    if (!t.seconds || !batches_open(&b, m, data, o->batch_size, false)) return false;
    if (!step_open(&s, m, strcmp(mode, "train") == 0 ? "train_step" : "predict")) return false;
    batches_start(&b, 0, 0);
    if (o->profile_kernels && !profile_open(&p, &s)) return false;
    measure(&s, &b, o->seconds, &t, o->profile_kernels ? &p : NULL);
    if (o->json)
        print_json(&t, m, mode);
    else
        print_plain(&t, m, mode);
    if (o->profile_kernels) profile_print(&p, &s, o->json ? stderr : stdout);
    return true;
}

bool verb_bench(rt *r, const options *o)
{
    dataset data;
    model m;
    const char *mode = o->mode ? o->mode : rt_find_graph(r, "train_step") ? "train" : "infer";
    bool train = strcmp(mode, "train") == 0;
    if (!train && strcmp(mode, "infer") != 0)
        return rt_wrong(r, "--mode: expected train or infer, found \"%s\"", mode);
    if (train && !rt_find_graph(r, "train_step")) {
        return rt_wrong(r, "the model was compiled without a loss: it can only predict");
    }
    const char *graph = train ? "train_step" : "predict";
    bool ok = session_model_open(&m, r, o, o->batch_size, 1, &graph) &&
              dataset_make(&data, r, o->batch_size, train ? DATASET_ALL : DATASET_INPUTS) &&
              bench(&m, &data, o, mode);
    model_close(&m);
    return ok;
}
