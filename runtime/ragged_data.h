/* ragged_data.h: ragged rows of a data set: x.name.values, the rows' values one after another, and x.name.row_splits, where
 * each row begins and the last one ends (tf.RaggedTensor's); without "name" for the only input; y. for labels. */
#ifndef RT_RAGGED_DATA_H
#define RT_RAGGED_DATA_H

#include "dataset.h"
#include "npz.h"

typedef enum ragged_member { RAGGED_values, RAGGED_row_splits, RAGGED_MEMBERS } ragged_member;

typedef struct ragged_parts {
    npz_array *member[RAGGED_MEMBERS]; /* NULL: absent */
} ragged_parts;

/* True when the key is a member of the port's rows: of "x." or "y." (kind), the name unless it is_plain, and the member. */
bool ragged_key(const tfcc_port *port, const char *kind, bool is_plain, const char *key, ragged_member *out_member);
/* The number of rows, and their values as a column. False after a message. */
bool ragged_read(rt *r, const char *path, const char *key, const tfcc_port *port, const ragged_parts *parts,
                 int64_t *out_rows, dataset_column *out_column);
/* Rows of different lengths for synthetic data; the values are not filled in. */
bool ragged_make(rt *r, const tfcc_port *port, int64_t rows, dataset_column *out_column);

#endif
