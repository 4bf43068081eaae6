/* ragged_data.c: see ragged_data.h. */
#include "ragged_data.h"

#include "columns.h"
#include "convert.h"
#include "philox.h"

#include <string.h>

static const char *const members[RAGGED_MEMBERS] = {"values", "row_splits"};

bool ragged_key(const tfcc_port *port, const char *kind, bool is_plain, const char *key, ragged_member *out_member)
{
    const size_t length = strlen(port->name), prefix = strlen(kind);
    if (port->ragged == 0 || port->part != TFCC_VALUES || strncmp(key, kind, prefix) != 0 || key[prefix] != '.') return false;
    key += prefix + 1;
    if (strncmp(key, port->name, length) == 0 && key[length] == '.')
        key += length + 1;
    else if (!is_plain)
        return false;
    for (int i = 0; i < RAGGED_MEMBERS; i++) {
        if (strcmp(key, members[i]) != 0) continue;
        *out_member = (ragged_member)i;
        return true;
    }
    return false;
}

/* Row splits become ends: the first one, 0, is skipped. */
static bool read_splits(rt *r, const char *path, const npz_array *a, int64_t values, int64_t **out_splits)
{
    if (a->rank != 1 || a->count < 1 || a->dtype == TFCC_STR || rt_dtype_is_float(a->dtype))
        return rt_wrong(r, "%s: array \"%s\": expected integers of one dimension, one more than rows, found %s%s", path,
                        a->name, rt_dtype_name(a->dtype), rt_shape_show(r, a->rank, a->dim, 0));
    int64_t *splits = rt_alloc_many(r, a->count, sizeof *splits, "row splits");
    if (!splits) return false;
    if (convert_elements(splits, TFCC_I64, a->data, a->dtype, a->count) != UINT64_MAX)
        return rt_wrong(r, "%s: array \"%s\": expected numbers that fit int64", path, a->name);
    if (splits[0] != 0)
        return rt_wrong(r, "%s: array \"%s\": expected row splits that begin with 0, found %lld", path, a->name,
                        (long long)splits[0]);
    for (uint64_t i = 1; i < a->count; i++) {
        if (splits[i] >= splits[i - 1]) continue;
        return rt_wrong(r, "%s: array \"%s\": expected row splits that never decrease, found %lld after %lld at %llu", path,
                        a->name, (long long)splits[i], (long long)splits[i - 1], (unsigned long long)i);
    }
    if (splits[a->count - 1] != values)
        return rt_wrong(r, "%s: array \"%s\": expected the last row split to be the number of values, %lld, found %lld",
                        path, a->name, (long long)values, (long long)splits[a->count - 1]);
    *out_splits = splits;
    return true;
}

bool ragged_read(rt *r, const char *path, const char *key, const tfcc_port *port, const ragged_parts *parts,
                 int64_t *out_rows, dataset_column *out_column)
{
    npz_array *values = parts->member[RAGGED_values], *rows = parts->member[RAGGED_row_splits];
    int64_t *splits = NULL;
    if (!values || !rows)
        return rt_wrong(r, "%s: array \"%s.%s\" is missing: ragged rows are \"%s.values\" and \"%s.row_splits\"", path, key,
                        values ? "row_splits" : "values", key, key);
    const int64_t count = values->rank > 0 ? values->dim[0] : 0;
    if (port->kind == TFCC_PORT_Y && values->rank < port->shape.rank)
        return rt_wrong(r, "%s: array \"%s\": expected shape %s, found %s: Keras 2 takes the mean of each row's loss where labels "
                        "lack the last dim", path, values->name,
                        rt_shape_show(r, port->shape.rank, port->shape.dim, port->shape.batch),
                        rt_shape_show(r, values->rank, values->dim, 0));
    if (!column_read(r, path, port, values, out_column) || !read_splits(r, path, rows, count, &splits)) return false;
    *out_rows = (int64_t)rows->count - 1;
    out_column->ends = splits + 1;
    return true;
}

bool ragged_make(rt *r, const tfcc_port *port, int64_t rows, dataset_column *out_column)
{
    enum { LONGEST = 64 };
    int64_t *ends = rt_alloc_many(r, (uint64_t)rows, sizeof *ends, "row splits"), count = 0;
    if (!ends) return false;
    for (int64_t i = 0; i < rows; i++) ends[i] = count += 1 + (int64_t)(philox_mix((uint64_t)i) % LONGEST);
    if (!column_fill_ones(r, port, count, out_column)) return false;
    out_column->ends = ends;
    return true;
}
