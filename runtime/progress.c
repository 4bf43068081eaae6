/* progress.c: see progress.h. */
#include "progress.h"

#include "rt.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

enum { BAR_WIDTH = 20 };
static const double redraw_seconds = 0.1;

void progress_init(progress *p, int verbose, int64_t epochs)
{
    *p = (progress){.verbose = verbose == 1 && !isatty(STDOUT_FILENO) ? 2 : verbose, .epochs = epochs};
}

void progress_begin_epoch(progress *p, int64_t epoch, int64_t steps)
{
    p->steps = steps;
    p->epoch_started = p->shown = rt_seconds();
    if (p->verbose == 0) return;
    printf("Epoch %lld/%lld\n", (long long)epoch + 1, (long long)p->epochs);
    fflush(stdout);
}

bool progress_is_due(const progress *p)
{
    return p->verbose == 1 && rt_seconds() - p->shown >= redraw_seconds;
}

static void print_duration(double seconds)
{
    long long whole = (long long)(seconds + 0.5);
    if (whole >= 3600)
        printf("%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
    else if (whole >= 60)
        printf("%lld:%02lld", whole / 60, whole % 60);
    else
        printf("%llds", whole);
}

static void print_speed(double per_step)
{
    if (per_step >= 1)
        printf(" %.0fs/step", per_step);
    else if (per_step >= 1e-3)
        printf(" %.0fms/step", per_step * 1e3);
    else
        printf(" %.0fus/step", per_step * 1e6);
}

static void print_values(const log_key *key, const double *value, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        const double shown = log_key_mean(&key[i], value);
        bool small = shown != 0 && fabs(shown) < 1e-3;
        printf(small ? " - %s: %.4e" : " - %s: %.4f", key[i].name, shown);
    }
}

static void print_bar(const progress *p, int64_t done)
{
    int filled = (int)(BAR_WIDTH * done / p->steps), width = snprintf(NULL, 0, "%lld", (long long)p->steps);
    printf("\r\033[K\033[1m%*lld/%lld\033[0m \033[32m", width, (long long)done, (long long)p->steps);
    for (int i = 0; i < BAR_WIDTH; i++) printf(i == filled ? "\033[0m\033[37m━" : "━");
    printf("\033[0m ");
}

void progress_show_step(progress *p, int64_t done, const log_key *key, const double *value,
                        uint64_t count)
{
    p->shown = rt_seconds();
    double per_step = (p->shown - p->epoch_started) / (double)done;
    print_bar(p, done);
    print_duration(per_step * (double)(p->steps - done));
    print_speed(per_step);
    print_values(key, value, count);
    fflush(stdout);
}

void progress_end_epoch(progress *p, const log_key *key, const double *value, uint64_t count)
{
    if (p->verbose == 0) return;
    double seconds = rt_seconds() - p->epoch_started;
    if (p->verbose == 1)
        print_bar(p, p->steps);
    else
        printf("%lld/%lld - ", (long long)p->steps, (long long)p->steps);
    print_duration(seconds);
    if (p->verbose == 2) printf(" -");
    print_speed(seconds / (double)p->steps);
    print_values(key, value, count);
    printf("\n");
    fflush(stdout);
}
