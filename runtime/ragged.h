/* ragged.h: ragged inputs of a running model: the slabs that grow with their values, and what is made of each batch's
 * rows for the kernels (sparse/ragged.h). */
#ifndef RT_RAGGED_H
#define RT_RAGGED_H

#include "model.h"
#include "sparse/ragged.h"

struct model_ragged {
    int64_t rows, values; /* room: the largest batch */
    int64_t *ends;        /* of the batch: filled in before ragged_begin */
    ragged_rows sorted;
    char *slab;
};

bool ragged_open(model *m); /* part of model_open */
/* Room for batches of so many rows and values of ragged input k: what was there is lost. */
bool ragged_reserve(model *m, uint64_t k, int64_t rows, int64_t values);
/* `ends` of n rows have been filled in: the other parts follow, and their ports. */
void ragged_begin(model *m, uint64_t k, int64_t n, void **ports);
/* The number of the port that takes the values of ragged input k. */
uint64_t ragged_port(const tfcc_program *p, uint64_t k);
/* Rows or values that N is of shapes with this `ragged`, in the current batch of n rows. */
int64_t ragged_count(const model *m, uint32_t ragged, int64_t n);

#endif
