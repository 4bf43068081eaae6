/* profile.c: see profile.h. */
#include "profile.h"

#include <math.h>
#include <stdlib.h>

typedef struct line {
    const tfcc_launch *launch;
    double seconds;
    double runs; /* per step: turns of the loop around it */
} line;

bool profile_open(profile *p, step *s)
{
    p->least = rt_alloc_many(s->m->r, s->graph->launch_count, sizeof *p->least, "the kernels' times");
    if (!p->least || !step_time(s)) return false;
    for (uint64_t i = 0; i < s->graph->launch_count; i++) p->least[i] = INFINITY;
    return true;
}

void profile_take(profile *p, step *s)
{
    for (uint64_t i = 0; i < s->graph->launch_count; i++) {
        p->least[i] = fmin(p->least[i], s->seconds[i]);
        s->seconds[i] = 0;
    }
}

static int compare(const void *a, const void *b)
{
    double x = ((const line *)a)->seconds, y = ((const line *)b)->seconds;
    return (x < y) - (x > y);
}

/* Loops run nothing themselves and have no line. */
static uint64_t collect(const profile *p, const step *s, line *out)
{
    uint64_t count = 0, inside = 0;
    double turns = 1;
    for (uint64_t i = 0; i < s->graph->launch_count; i++) {
        const tfcc_launch *l = &s->graph->launch[i];
        if (inside == 0) turns = 1;
        if (l->loop_launches > 0) {
            inside = l->loop_launches;
            turns = (double)l->loop_count * (l->loop_batch ? (double)s->n : 1);
            continue;
        }
        if (inside > 0) inside--;
        out[count++] = (line){l, p->least[i], turns};
    }
    return count;
}

void profile_print(const profile *p, const step *s, FILE *to)
{
    line *lines = rt_alloc_many(s->m->r, s->graph->launch_count, sizeof *lines, "the kernels' times");
    if (!lines) return;
    uint64_t count = collect(p, s, lines);
    qsort(lines, (size_t)count, sizeof *lines, compare);
    double sum = 0, n = (double)s->n;
    for (uint64_t i = 0; i < count; i++) sum += lines[i].seconds;
    fprintf(to, "%9s %6s %6s %8s %8s  kernel (%llu of them, %.3f ms together)\n", "us", "share", "runs", "GFLOP/s",
            "GB/s", (unsigned long long)count, sum * 1e3);
    for (uint64_t i = 0; i < count; i++) {
        const line *k = &lines[i];
        double flops = ((double)k->launch->flops + (double)k->launch->batch_flops * n) * k->runs;
        double bytes = ((double)k->launch->bytes + (double)k->launch->batch_bytes * n) * k->runs;
        fprintf(to, "%9.1f %5.1f%% %6.0f %8.1f %8.1f  %s\n", k->seconds * 1e6, 100 * k->seconds / sum, k->runs,
                flops / k->seconds * 1e-9, bytes / k->seconds * 1e-9, k->launch->name);
    }
}
