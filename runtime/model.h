/* model.h: the running model: its variables in memory, and what steps share. */
#ifndef RT_MODEL_H
#define RT_MODEL_H

#include "pool.h"

typedef struct model_ragged model_ragged;

typedef struct model {
    rt *r;
    const tfcc_program *program;
    pool *pool;
    void **variable;                   /* address of each variable of the program */
    int64_t rows;                      /* the largest batch that the slabs are for */
    char *fixed_slab, *batch_slab;     /* used by one graph at a time */
    uint64_t fixed_bytes, batch_bytes; /* bytes of the slabs; of the second, per row */
    uint64_t *ragged_bytes;            /* per ragged input: bytes of its slab per value */
    model_ragged *ragged;              /* per ragged input */
} model;

typedef struct model_options {
    int threads;              /* 0: one per processor */
    const tfcc_executor *executor; /* the caller's threads, or NULL */
    int64_t seed;             /* for what has no seed of its own */
    int64_t rows;             /* the largest batch */
    const char *weights;      /* file, or NULL */
    const char *const *graph; /* names of the graphs that will run */
    int graph_count;
} model_options;

/* Allocates everything and gives the variables their first values: initializer or data, then the weights
 * embedded in the program, then the weights file. */
bool model_open(model *m, rt *r, const model_options *o);
void model_close(model *m);
/* Memory for batches of up to `rows` rows; what was open for steps must be opened again. */
bool model_grow(model *m, int64_t rows);

void model_reset_metrics(model *m); /* to zero, as at the start of every epoch */
/* The end of a fit with moving averages: copies them over the weights that have one. */
void model_overwrite_with_averages(model *m);

uint64_t model_variable_bytes(const model *m, uint64_t number);

#endif
