/* pool.c: see pool.h. The state of a round is one word, epoch | claims | next claim, so that a worker late
 * from an earlier round finds nothing to claim. Workers spin for a moment, since a step's launches follow
 * each other within microseconds, then sleep. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { FIELD_BITS = 20, MOST_CLAIMS = (1 << FIELD_BITS) - 1, SPINS = 8000, MOST_THREADS = 1024, CLAIMS_A_THREAD = 64 };

struct pool {
    _Alignas(64) _Atomic uint64_t round; /* epoch << 40 | claims << 20 | next */
    _Alignas(64) _Atomic int64_t finished;
    _Alignas(64) _Atomic int sleeping;
    _Atomic bool stop;
    /* Written between rounds only. */
    _Alignas(64) pool_task run;
    const void *context;
    int64_t count, per_claim;
    int threads;
    char *scratch; /* the calling thread's, then the workers' */
    uint64_t scratch_each;
    const tfcc_executor *executor; /* NULL: threads of its own */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct worker *worker;
};

typedef struct worker {
    pool *pool;
    char *scratch;
    pthread_t thread;
} worker;

/* Tells the processor that this is a spin loop. */
static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Numbers too small for normal form become zero, as in the frameworks compared with: they cost a hundred
 * times as much and mean nothing in training. */
uint64_t pool_mode_enter(void)
{
    uint64_t mode = 0;
#if defined(__x86_64__)
    mode = __builtin_ia32_stmxcsr();
#elif defined(__aarch64__)
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
#endif
#if defined(__x86_64__)
    pool_mode_leave(mode | 0x8040u);
#else
    pool_mode_leave(mode | (uint64_t)1 << 24);
#endif
    return mode;
}

void pool_mode_leave(uint64_t mode)
{
#if defined(__x86_64__)
    __builtin_ia32_ldmxcsr((unsigned)mode);
#elif defined(__aarch64__)
    __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
    (void)mode;
#endif
}

static bool has_claims(uint64_t round) { return (round & MOST_CLAIMS) < (round >> FIELD_BITS & MOST_CLAIMS); }

/* Claims and runs a few tasks; false when none are left. */
static bool run_claim(pool *p, void *scratch)
{
    uint64_t round = atomic_load(&p->round);
    do {
        if (!has_claims(round)) return false;
    } while (!atomic_compare_exchange_weak(&p->round, &round, round + 1));
    int64_t first = (int64_t)(round & MOST_CLAIMS) * p->per_claim, end = first + p->per_claim;
    if (end > p->count) end = p->count;
    for (int64_t task = first; task < end; task++) p->run(p->context, task, scratch);
    atomic_fetch_add(&p->finished, end - first);
    return true;
}

/* The order - count oneself as asleep, look for work, wait - and its mirror in pool_run leave no gap for a
 * lost wake-up. */
static void sleep_until_work(pool *p)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleeping, 1);
    while (!has_claims(atomic_load(&p->round)) && !atomic_load(&p->stop))
        pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleeping, 1);
    pthread_mutex_unlock(&p->lock);
}

static void *work(void *context)
{
    worker *w = context;
    pool_mode_enter();
    while (!atomic_load(&w->pool->stop)) {
        int spins = 0;
        while (!run_claim(w->pool, w->scratch)) {
            relax();
            if (++spins < SPINS) continue;
            sleep_until_work(w->pool);
            if (atomic_load(&w->pool->stop)) return NULL;
            spins = 0;
        }
    }
    return NULL;
}

static void wake_sleepers(pool *p)
{
    if (atomic_load(&p->sleeping) == 0) return;
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
}

int pool_default_threads(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    int count = CPU_COUNT(&set);
    return count < 1 ? 1 : count > MOST_THREADS ? MOST_THREADS : count;
}

static pool *make_pool(rt *r, int threads, uint64_t scratch_bytes)
{
    uint64_t each = scratch_bytes / 64 * 64 + 128;
    pool *p = rt_alloc(r, sizeof *p, "threads");
    worker *w = rt_alloc_many(r, (uint64_t)threads, sizeof *w, "threads");
    char *scratch = rt_alloc_many(r, (uint64_t)threads, each, "the threads' scratch memory");
    if (!p || !w || !scratch) return NULL;
    p->threads = 1;
    p->scratch = scratch;
    p->scratch_each = each;
    p->worker = w;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pool_mode_enter();
    return p;
}

/* Tells kernels how many threads there are. */
static void mark_scratch(pool *p)
{
    for (int i = 0; i < p->threads; i++) *(int64_t *)(void *)(p->scratch + (uint64_t)i * p->scratch_each) = p->threads;
}

pool *pool_open(rt *r, int threads, uint64_t scratch_bytes)
{
    pool *p = make_pool(r, threads, scratch_bytes);
    for (int i = 1; p && i < threads; i++) {
        worker *w = &p->worker[i];
        *w = (worker){.pool = p, .scratch = p->scratch + (uint64_t)i * p->scratch_each};
        if (pthread_create(&w->thread, NULL, work, w) != 0) break; /* fewer threads do the same work */
        p->threads++;
    }
    if (p) mark_scratch(p);
    return p;
}

pool *pool_open_executor(rt *r, const tfcc_executor *executor, uint64_t scratch_bytes)
{
    pool *p = make_pool(r, executor->workers, scratch_bytes);
    if (!p) return NULL;
    p->executor = executor;
    p->threads = executor->workers;
    mark_scratch(p);
    return p;
}

void pool_close(pool *p)
{
    if (!p) return;
    atomic_store(&p->stop, true);
    pthread_mutex_lock(&p->lock);
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (int i = 1; !p->executor && i < p->threads; i++) pthread_join(p->worker[i].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
}

int pool_threads(const pool *p) { return p->threads; }

void pool_run_here(pool *p, pool_task run, const void *context, int64_t count)
{
    for (int64_t task = 0; task < count; task++) run(context, task, p->scratch);
}

/* A worker on one of the caller's threads. */
static void work_for_caller(void *argument, int32_t number)
{
    pool *p = argument;
    if (number < 0 || number >= p->threads) return;
    uint64_t mode = pool_mode_enter();
    while (run_claim(p, p->scratch + (uint64_t)number * p->scratch_each)) continue;
    pool_mode_leave(mode);
}

void pool_run(pool *p, pool_task run, const void *context, int64_t count)
{
    if (p->threads == 1 || count <= 1) {
        pool_run_here(p, run, context, count);
        return;
    }
    p->run = run;
    p->context = context;
    p->count = count;
    p->per_claim = count / ((int64_t)p->threads * CLAIMS_A_THREAD) + 1;
    if (count / p->per_claim >= MOST_CLAIMS) p->per_claim = count / MOST_CLAIMS + 1;
    int64_t claims = (count + p->per_claim - 1) / p->per_claim;
    atomic_store(&p->finished, 0);
    uint64_t epoch = (atomic_load(&p->round) >> 2 * FIELD_BITS) + 1;
    atomic_store(&p->round, epoch << 2 * FIELD_BITS | (uint64_t)claims << FIELD_BITS);
    if (p->executor)
        p->executor->run(p->executor->context, work_for_caller, p, p->threads);
    else
        wake_sleepers(p);
    while (run_claim(p, p->scratch)) continue;
    for (int spins = 0; atomic_load(&p->finished) < count; spins++) {
        if (spins < SPINS)
            relax();
        else
            sched_yield();
    }
}
