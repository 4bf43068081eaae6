/* batches.h: a data set as a sequence of batches. Opened before the steps that run over them. Without shuffling a batch points into the data set; with
 * it, its rows are gathered into buffers made once. */
#ifndef RT_BATCHES_H
#define RT_BATCHES_H

#include "dataset.h"
#include "model.h"

typedef struct batches {
    model *m;
    const dataset *data;
    int64_t size;   /* rows of a full batch */
    int64_t at;     /* next row */
    int64_t *order; /* shuffled rows, or NULL */
    char **buffer;  /* per port */
    void **ports;   /* of the current batch, for step_run; what a ragged input's rows need is in the model */
} batches;

bool batches_open(batches *b, model *m, const dataset *data, int64_t size, bool shuffle);
int64_t batches_count(const batches *b); /* per pass over the data */
/* Begins a pass; `number` and `seed` decide its order. */
void batches_start(batches *b, int64_t seed, int64_t number);
/* Makes the next batch, the last one may be smaller. Returns its rows, 0 at the end. */
int64_t batches_next(batches *b);

#endif
