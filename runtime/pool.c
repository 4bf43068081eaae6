/* pool.c: see pool.h. The tasks of a round are cut into one queue for each thread, the same for equal counts, so that what
 * a thread wrote in one launch is near it in the next; who has finished his own takes from the others'. A queue is one
 * word, epoch | claims | next claim, so that a worker late from an earlier round finds nothing to claim, and beside it
 * what a claim needs: one line of memory tells a worker all. Workers spin for a moment, since a step's launches follow
 * each other within microseconds, then sleep. */
#define _GNU_SOURCE /* sched_getaffinity */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { FIELD_BITS = 20, MOST_CLAIMS = (1 << FIELD_BITS) - 1, SPINS = 8000, MOST_THREADS = 1024, MOST_QUEUES = 16, CLAIMS_A_THREAD = 64 };

typedef struct queue {
    _Alignas(64) _Atomic uint64_t word; /* epoch << 40 | end << 20 | next */
    /* Written between rounds only, before the word. */
    pool_task run;
    const void *context;
    int64_t count, per_claim; /* of the round's tasks */
} queue;

struct pool {
    queue queue[MOST_QUEUES]; /* of thread i: i % queues */
    _Alignas(64) _Atomic int64_t finished;
    _Alignas(64) _Atomic int sleeping;
    _Atomic bool stop;
    int threads, queues;
    char *scratch; /* the calling thread's, then the workers' */
    uint64_t scratch_each;
    const tfcc_executor *executor; /* NULL: threads of its own */
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct worker *worker;
};

typedef struct worker {
    pool *pool;
    int number;
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

static uint64_t epoch_of(uint64_t word) { return word >> 2 * FIELD_BITS; }

/* Claims and runs tasks of one queue until it has none; returns how many. */
static int64_t drain_queue(queue *q, void *scratch)
{
    int64_t done = 0;
    uint64_t word = atomic_load(&q->word);
    while ((word & MOST_CLAIMS) < (word >> FIELD_BITS & MOST_CLAIMS)) {
        if (!atomic_compare_exchange_weak(&q->word, &word, word + 1)) continue;
        int64_t first = (int64_t)(word & MOST_CLAIMS) * q->per_claim, end = first + q->per_claim;
        if (end > q->count) end = q->count;
        for (int64_t task = first; task < end; task++) q->run(q->context, task, scratch);
        done += end - first;
        word = atomic_load(&q->word);
    }
    return done;
}

/* All there is left to do of this round, the thread's own first. A round with a claim unfinished is not over, so what is
 * counted is of one round. */
static void drain(pool *p, int number)
{
    void *scratch = p->scratch + (uint64_t)number * p->scratch_each;
    int64_t done = 0;
    for (int i = 0; i < p->queues; i++) done += drain_queue(&p->queue[(number + i) % p->queues], scratch);
    if (done > 0) atomic_fetch_add(&p->finished, done);
}

/* The order - count oneself as asleep, look for a round, wait - and its mirror in pool_run leave no gap for a
 * lost wake-up. */
static void sleep_until_work(pool *p, const queue *own, uint64_t seen)
{
    pthread_mutex_lock(&p->lock);
    atomic_fetch_add(&p->sleeping, 1);
    while (epoch_of(atomic_load(&own->word)) == seen && !atomic_load(&p->stop)) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleeping, 1);
    pthread_mutex_unlock(&p->lock);
}

static void *work(void *context)
{
    const worker *w = context;
    pool *p = w->pool;
    const queue *own = &p->queue[w->number % p->queues];
    uint64_t seen = 0;
    pool_mode_enter();
    for (int spins = 0; !atomic_load(&p->stop); spins++) {
        const uint64_t epoch = epoch_of(atomic_load(&own->word));
        if (epoch != seen) {
            seen = epoch;
            drain(p, w->number);
            spins = 0;
        } else if (spins < SPINS) {
            relax();
        } else {
            sleep_until_work(p, own, seen);
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
    p->queues = threads < MOST_QUEUES ? threads : MOST_QUEUES;
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
        *w = (worker){.pool = p, .number = i};
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
    drain(p, number);
    pool_mode_leave(mode);
}

/* A new round for all queues; each gets an equal share of the claims. */
static void publish(pool *p, pool_task run, const void *context, int64_t count)
{
    int64_t per_claim = count / ((int64_t)p->threads * CLAIMS_A_THREAD) + 1;
    if (count / per_claim >= MOST_CLAIMS) per_claim = count / MOST_CLAIMS + 1;
    const uint64_t claims = (uint64_t)((count + per_claim - 1) / per_claim), queues = (uint64_t)p->queues;
    const uint64_t epoch = epoch_of(atomic_load(&p->queue[0].word)) + 1;
    atomic_store_explicit(&p->finished, 0, memory_order_relaxed);
    for (uint64_t i = queues; i-- > 0;) {
        queue *q = &p->queue[i];
        q->run = run;
        q->context = context;
        q->count = count;
        q->per_claim = per_claim;
        const uint64_t word = epoch << 2 * FIELD_BITS | claims * (i + 1) / queues << FIELD_BITS | claims * i / queues;
        atomic_store_explicit(&q->word, word, memory_order_release);
    }
    atomic_thread_fence(memory_order_seq_cst);
}

void pool_run(pool *p, pool_task run, const void *context, int64_t count)
{
    if (p->threads == 1 || count <= 1) {
        pool_run_here(p, run, context, count);
        return;
    }
    publish(p, run, context, count);
    if (p->executor)
        p->executor->run(p->executor->context, work_for_caller, p, p->threads);
    else
        wake_sleepers(p);
    drain(p, 0);
    for (int spins = 0; atomic_load(&p->finished) < count; spins++) {
        if (spins < SPINS)
            relax();
        else
            sched_yield();
    }
}
