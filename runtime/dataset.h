/* dataset.h: the arrays of an .npz file as rows for the program's ports, checked and in the ports' types. */
#ifndef RT_DATASET_H
#define RT_DATASET_H

#include "rt.h"

typedef enum dataset_use { DATASET_INPUTS, DATASET_ALL } dataset_use; /* predict needs x only */

typedef struct dataset_column {
    char *data; /* NULL: this port is not used */
    uint64_t row_bytes;  /* of a ragged input: of a value */
    const int64_t *ends; /* ragged: per row, the number of the value behind its last one, in `data`; else NULL */
    int64_t first;       /* ragged: the number of the first row's first value */
} dataset_column;

typedef struct dataset {
    int64_t rows;
    dataset_column *column; /* one per port of the program, in its order */
} dataset;

/* False after a message that names the array, what was expected and what was found. */
bool dataset_read(dataset *d, rt *r, const char *path, dataset_use use);
/* Random inputs and targets in the ports' types and ranges, the same on every run; sample weights are ones.
 */
bool dataset_make(dataset *d, rt *r, int64_t rows, dataset_use use);
/* The most values that `rows` rows of a ragged column can have together; 0 after a message. */
bool dataset_most_values(rt *r, const dataset *d, uint64_t port, int64_t rows, int64_t *out_values);
/* The rows from `first` on, without a copy. */
bool dataset_slice(const dataset *d, rt *r, int64_t first, int64_t rows, dataset *out_part);

/* Multiplies weights by class into the sample weights: "0:1.0,1:2.5"; classes that are not named weigh 1. */
bool dataset_weigh_classes(dataset *d, rt *r, const char *weights);

#endif
