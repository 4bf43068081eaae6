/* profile.h: the times of a step's kernels, and a table of them beside their arithmetic and memory traffic. */
#ifndef RT_PROFILE_H
#define RT_PROFILE_H

#include "step.h"

#include <stdio.h>

typedef struct profile {
    double *least; /* seconds, per launch, over the steps taken */
} profile;

/* Makes the step time its launches from now on. */
bool profile_open(profile *p, step *s);
/* After a run: takes its times in. */
void profile_take(profile *p, step *s);
/* Writes the table, slowest first: least time, share of the sum, GFLOP/s and GB/s by the compiler's estimates of
 * operations and bytes (caches may serve more than memory could), and the layer and kind. */
void profile_print(const profile *p, const step *s, FILE *to);

#endif
