/* machine.c: what this machine can do at most, as JSON: float32 multiply-adds from registers and the triad
 * a[i] = b[i] + s * c[i] (STREAM, McCalpin) over arrays far larger than the caches, for 1..THREADS threads.
 * usage: machine THREADS */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#if defined __AVX512F__
enum { LANES = 16 };
#elif defined __AVX__
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vector __attribute__((vector_size(LANES * 4)));
enum { SUMS = 12, STEPS = 1 << 22, ROUNDS = 15 };
static const size_t elements = 1u << 25; /* 128 MiB an array */

typedef struct work {
    double (*run)(struct work *);
    float *a, *b, *c;
    size_t count;
    float sink;
} work;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Twelve sums: enough that latency times issue rate of every processor we know is covered. Returns flops. */
static double multiply_add(work *w)
{
    vector s[SUMS], x, y;
    for (int l = 0; l < LANES; l++) x[l] = 1.0f - 1e-6f * (float)l, y[l] = 1e-7f;
    for (int i = 0; i < SUMS; i++) s[i] = y * (float)i;
    for (int step = 0; step < STEPS; step++) {
        for (int i = 0; i < SUMS; i++) s[i] = s[i] * x + y;
        __asm__ volatile("" : "+x"(x));
    }
    for (int i = 1; i < SUMS; i++) s[0] += s[i];
    w->sink = s[0][0];
    return 2.0 * SUMS * LANES * STEPS;
}

/* Returns bytes. */
static double triad(work *w)
{
    float *restrict a = w->a;
    for (size_t i = 0; i < w->count; i++) a[i] = w->b[i] + 0.5f * w->c[i];
    return 12.0 * (double)w->count;
}

static void *start(void *p)
{
    work *w = p;
    w->run(w);
    return NULL;
}

/* The best rate of several rounds on `threads` threads, units per nanosecond. */
static double rate(int threads, double (*run)(work *), float *arrays)
{
    double best = 0;
    work w[threads];
    pthread_t thread[threads];
    const size_t part = elements / (size_t)threads;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < threads; i++) {
            float *at = arrays + part * (size_t)i;
            w[i] = (work){run, at, at + elements, at + 2 * elements, part, 0};
        }
        const double begin = seconds();
        for (int i = 1; i < threads; i++) pthread_create(&thread[i], NULL, start, &w[i]);
        const double done = w[0].run(&w[0]);
        for (int i = 1; i < threads; i++) pthread_join(thread[i], NULL);
        const double r = done * threads / (seconds() - begin) * 1e-9;
        if (r > best) best = r;
    }
    return best;
}

int main(int argc, char **argv)
{
    const int most = argc > 1 ? atoi(argv[1]) : 1;
    float *arrays = malloc(3 * elements * sizeof *arrays);
    if (!arrays || most < 1) return 2;
    for (size_t i = 0; i < 3 * elements; i++) arrays[i] = 1.0f;
    printf("{");
    for (int t = 1; t <= most; t++) {
        printf("%s\"%d\": {\"gflops\": %.1f, ", t > 1 ? ", " : "", t, rate(t, multiply_add, arrays));
        printf("\"gbs\": %.1f}", rate(t, triad, arrays));
    }
    printf("}\n");
    free(arrays);
    return 0;
}
