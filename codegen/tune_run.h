/* tune_run.h: one kernel run again and again by several threads that claim its tasks, as in the program. What counts is the
 * processor time of each task, the least of all rounds; from these follows how long the threads take together. So other
 * processes, which take the processor away for a while, disturb little, and what the threads take from each other counts. */
#ifndef TFCC_TUNE_RUN_H
#define TFCC_TUNE_RUN_H

#include "codegen/cg.h"
#include "tfcc_rt.h"

typedef struct tune_run {
    int count; /* launches, one after another */
    struct {
        tfcc_kernel run;
        int64_t tasks;
        double *least; /* per task: seconds, INFINITY before the first round */
    } launch[CG_LAUNCHES];
} tune_run;

typedef struct tune_work {
    void *const *arg;
    void *const *scratch; /* per thread */
    int64_t n;
    int threads;
} tune_work;

typedef struct tune_crew tune_crew;
tune_crew *tune_crew_open(const tune_work *work); /* NULL: threads cannot be started */
void tune_crew_run(tune_crew *c, const tune_run *run); /* a round */
void tune_crew_close(tune_crew *c); /* takes NULL */

/* Seconds that so many threads need. */
double tune_run_seconds(const tune_run *run, int threads);

#endif
