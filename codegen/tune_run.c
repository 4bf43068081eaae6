/* tune_run.c: see tune_run.h. */
#include "codegen/tune_run.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

struct tune_crew {
    tune_work work;
    const tune_run *run; /* NULL: the end */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_barrier_t all;
    uint64_t turn; /* counts rounds, under `lock` */
    _Atomic(int64_t) next[CG_LAUNCHES];
    int started;
    pthread_t *thread;
    struct crew_member {
        tune_crew *crew;
        int number;
    } *member;
};

static double used(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void run_share(tune_crew *c, int number, const tune_run *run)
{
    for (int l = 0; l < run->count; l++) {
        pthread_barrier_wait(&c->all);
        for (int64_t task; (task = atomic_fetch_add(&c->next[l], 1)) < run->launch[l].tasks;) {
            const double start = used();
            run->launch[l].run(c->work.arg, c->work.n, task, c->work.scratch[number]);
            double *least = &run->launch[l].least[task];
            *least = fmin(*least, used() - start);
        }
    }
    pthread_barrier_wait(&c->all);
}

static void *serve(void *argument)
{
    const struct crew_member *m = argument;
    tune_crew *c = m->crew;
    for (uint64_t done = 0;;) {
        pthread_mutex_lock(&c->lock);
        while (c->turn == done) pthread_cond_wait(&c->wake, &c->lock);
        done = c->turn;
        const tune_run *run = c->run;
        pthread_mutex_unlock(&c->lock);
        if (!run) return NULL;
        run_share(c, m->number, run);
    }
}

static void begin_turn(tune_crew *c, const tune_run *run)
{
    pthread_mutex_lock(&c->lock);
    c->run = run;
    for (int l = 0; l < CG_LAUNCHES; l++) atomic_store(&c->next[l], 0);
    c->turn++;
    pthread_cond_broadcast(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

tune_crew *tune_crew_open(const tune_work *work)
{
    tune_crew *c = calloc(1, sizeof *c);
    const size_t threads = (size_t)work->threads;
    if (!c) return NULL;
    c->work = *work;
    c->thread = calloc(threads, sizeof *c->thread);
    c->member = calloc(threads, sizeof *c->member);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    pthread_barrier_init(&c->all, NULL, (unsigned)threads);
    bool ok = c->thread && c->member;
    while (ok && c->started + 1 < work->threads) {
        const int number = c->started + 1;
        c->member[number] = (struct crew_member){c, number};
        ok = pthread_create(&c->thread[number], NULL, serve, &c->member[number]) == 0;
        c->started += ok;
    }
    if (ok) return c;
    tune_crew_close(c);
    return NULL;
}

void tune_crew_run(tune_crew *c, const tune_run *run)
{
    begin_turn(c, run);
    run_share(c, 0, run);
}

void tune_crew_close(tune_crew *c)
{
    if (!c) return;
    begin_turn(c, NULL);
    for (int i = 1; i <= c->started; i++) pthread_join(c->thread[i], NULL);
    pthread_barrier_destroy(&c->all);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    free(c->thread);
    free(c->member);
    free(c);
}

double tune_run_seconds(const tune_run *run, int threads)
{
    enum { MOST = 256 };
    double total = 0;
    threads = (int)base_min(threads, MOST);
    for (int l = 0; l < run->count; l++) {
        double busy[MOST] = {0}, end = 0;
        for (int64_t task = 0; task < run->launch[l].tasks; task++) {
            int first = 0;
            for (int i = 1; i < threads; i++) first = busy[i] < busy[first] ? i : first;
            busy[first] += run->launch[l].least[task];
            end = fmax(end, busy[first]);
        }
        total += end;
    }
    return total;
}
