/* progress.h: what a fit shows while it runs, in Keras's form: a bar with running metrics on a terminal, a
 * line per epoch otherwise. */
#ifndef RT_PROGRESS_H
#define RT_PROGRESS_H

#include "log.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct progress {
    int verbose; /* 0 nothing, 1 bar, 2 a line per epoch */
    int64_t epochs, steps;
    double epoch_started, shown; /* seconds */
} progress;

/* verbose as on the command line; a bar needs a terminal. */
void progress_init(progress *p, int verbose, int64_t epochs);
void progress_begin_epoch(progress *p, int64_t epoch, int64_t steps);
/* True when the bar is due to be drawn again. */
bool progress_is_due(const progress *p);
void progress_show_step(progress *p, int64_t done, const log_key *key, const double *value,
                        uint64_t count);
void progress_end_epoch(progress *p, const log_key *key, const double *value, uint64_t count);

#endif
