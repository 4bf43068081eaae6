/* columns.h: one array becomes one port's column. */
#ifndef RT_COLUMNS_H
#define RT_COLUMNS_H

#include "dataset.h"
#include "npz.h"

/* Converts array a to the port's type and shape. The array's memory is given back or taken over. `path` is
 * for messages. */
bool column_read(rt *r, const char *path, const tfcc_port *port, npz_array *a, dataset_column *out_column);
/* A column of ones: the sample weights nobody gave. */
bool column_fill_ones(rt *r, const tfcc_port *port, int64_t rows, dataset_column *out_column);

#endif
