/* sparse_data.h: sparse matrices of a data set: several arrays of an .npz file become rows of records (sparse/sparse.h).
 *
 * Of an input "name" they are x.name.indices [entries, 2], .values and .shape (TensorFlow's layout); .data, .indices, .indptr
 * and .shape (rows compressed); or .data, .row, .col and .shape: without "name" for the only input, and without "x." as
 * scipy.sparse.save_npz writes them. */
#ifndef RT_SPARSE_DATA_H
#define RT_SPARSE_DATA_H

#include "dataset.h"
#include "npz.h"

typedef enum sparse_member {
    SPARSE_indices, SPARSE_values, SPARSE_shape, SPARSE_data, SPARSE_indptr, SPARSE_row, SPARSE_col, SPARSE_format,
    SPARSE_MEMBERS
} sparse_member;

typedef struct sparse_parts {
    npz_array *member[SPARSE_MEMBERS]; /* NULL: absent */
} sparse_parts;

/* True when the key is a member of the port's matrix. */
bool sparse_key(const tfcc_program *p, const tfcc_port *port, const char *key, sparse_member *out_member);
bool sparse_has_parts(const sparse_parts *s);
/* Rows of the matrix, and its records as a column. False after a message. */
bool sparse_read(rt *r, const char *path, const char *key, const tfcc_port *port, const sparse_parts *s, int64_t *out_rows,
                 dataset_column *out_column);
/* The records of a dense matrix of the port's width; a is given back. */
bool sparse_read_dense(rt *r, const char *path, const tfcc_port *port, npz_array *a, dataset_column *out_column);
/* Rows with a few entries each, for synthetic data. */
bool sparse_make(rt *r, const tfcc_port *port, int64_t rows, dataset_column *out_column);

#endif
