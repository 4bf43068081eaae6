/* dataset.h: the arrays of an .npz file as rows for the program's ports, checked and in the ports' types. */
#ifndef RT_DATASET_H
#define RT_DATASET_H

#include "rt.h"

typedef enum dataset_use { DATASET_INPUTS, DATASET_ALL } dataset_use; /* predict needs x only */

typedef struct dataset_column {
    char *data; /* NULL: this port is not used */
    uint64_t row_bytes;
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
/* The rows from `first` on, without a copy. */
bool dataset_slice(const dataset *d, rt *r, int64_t first, int64_t rows, dataset *out_part);

/* Multiplies weights by class into the sample weights: "0:1.0,1:2.5"; classes that are not named weigh 1. */
bool dataset_weigh_classes(dataset *d, rt *r, const char *weights);

#endif
