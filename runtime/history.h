/* history.h: what a fit reports: the numbers of each epoch and the loss of each batch. */
#ifndef RT_HISTORY_H
#define RT_HISTORY_H

#include "log.h"
#include "rt.h"

typedef struct history {
    rt *r;
    const log_key *key; /* Keras's names, in Keras's order */
    uint64_t keys;
    uint64_t values; /* numbers of an epoch */
    double *value;   /* of epoch after epoch */
    uint64_t epochs, capacity;
    double *batch_loss;
    uint64_t batches, batch_capacity;
} history;

/* Keeps `key`. */
void history_init(history *h, rt *r, const log_key *key, uint64_t keys);
/* Memory for the batches of one more epoch: history_add_batch then allocates nothing. */
bool history_reserve(history *h, uint64_t batches);
void history_add_batch(history *h, double loss);
bool history_add_epoch(history *h, const double *value);

/* Keras's History.history as JSON, and "batch_loss". */
bool history_write(const history *h, const char *path);
/* The epochs so far as Keras's CSVLogger writes them; replaces the file. */
bool history_write_csv(const history *h, const char *path);

#endif
