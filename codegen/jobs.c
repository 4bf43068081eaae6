/* jobs.c: see jobs.h. The calling thread works too, so threads that cannot be started are only missed. */
#include "codegen/jobs.h"

#include <pthread.h>
#include <stdatomic.h>

enum { MOST_THREADS = 64 };

typedef struct batch {
    cg_job *job;
    void *context;
    size_t count;
    atomic_size_t next;
} batch;

static void *work(void *argument)
{
    batch *b = argument;
    for (size_t i; (i = atomic_fetch_add(&b->next, 1)) < b->count;) b->job(b->context, i);
    return NULL;
}

void cg_jobs_run(int threads, size_t count, cg_job *job, void *context)
{
    batch b = {.job = job, .context = context, .count = count};
    pthread_t thread[MOST_THREADS];
    int started = 0, wanted = base_min(threads, MOST_THREADS);
    if ((size_t)base_max(wanted, 1) > count) wanted = (int)count;
    while (started + 1 < wanted && pthread_create(&thread[started], NULL, work, &b) == 0) started++;
    work(&b);
    for (int i = 0; i < started; i++) pthread_join(thread[i], NULL);
}
