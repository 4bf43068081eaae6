/* columns.c: see columns.h. */
#include "columns.h"

#include "convert.h"
#include "sparse_data.h"

#include <string.h>

static bool refuse_shape(rt *r, const char *path, const tfcc_port *port, const npz_array *a)
{
    return rt_wrong(r, "%s: array \"%s\": expected shape %s, found %s", path, a->name,
                    rt_shape_show(r, port->shape.rank, port->shape.dim, port->shape.batch),
                    rt_shape_show(r, a->rank, a->dim, 0));
}

/* True when the array's dims are the port's, where either side may have one trailing 1 more. */
static bool dims_match(const tfcc_port *port, const npz_array *a)
{
    uint32_t want = port->shape.rank, have = a->rank;
    if (have == want + 1 && a->dim[have - 1] == 1)
        have--;
    else if (want == have + 1 && have > 0 && port->shape.dim[want - 1] == 1)
        want--;
    if (have != want) return false;
    for (uint32_t i = 1; i < want; i++) {
        if (a->dim[i] != port->shape.dim[i]) return false;
    }
    return have > 0;
}

/* Sample weights may be one number per row where the port takes one per step. */
static bool is_one_per_row(const npz_array *a) { return a->rank == 1 || (a->rank == 2 && a->dim[1] == 1); }

static bool check_classes(rt *r, const char *path, const tfcc_port *port, const npz_array *a,
                          const void *data)
{
    if (port->classes <= 0) return true;
    uint64_t row = rt_shape_row_elements(&port->shape);
    for (uint64_t i = 0; i < a->count; i++) {
        double value = convert_get(data, port->shape.dtype, i);
        if (value >= 0 && value < (double)port->classes) continue;
        if (port->has_ignored && value == (double)port->ignored) continue;
        return rt_wrong(r, "%s: array \"%s\": expected class numbers from 0 to %lld, found %.17g in row %llu",
                        path, a->name, (long long)port->classes - 1, value, (unsigned long long)(i / row));
    }
    return true;
}

/* Repeats each row's one weight over the row. */
static void spread_rows(char *to, const char *from, uint64_t rows, uint64_t row, size_t size)
{
    for (uint64_t i = 0; i < rows; i++, from += size) {
        for (uint64_t k = 0; k < row; k++, to += size) memcpy(to, from, size);
    }
}

static bool convert_column(rt *r, const char *path, const tfcc_port *port, const npz_array *a, char *to)
{
    uint64_t misfit = convert_elements(to, port->shape.dtype, a->data, a->dtype, a->count);
    if (misfit == UINT64_MAX) return true;
    return rt_wrong(r, "%s: array \"%s\": expected whole numbers that fit %s, found %.17g", path, a->name,
                    rt_dtype_name(port->shape.dtype), convert_get(a->data, a->dtype, misfit));
}

/* True when only the last dim is narrower than that of a port that may be filled up. */
static bool is_narrow(const tfcc_port *port, const npz_array *a)
{
    uint32_t last = port->shape.rank - 1;
    if (!port->padded || a->rank != port->shape.rank || last == 0) return false;
    for (uint32_t i = 1; i < last; i++) {
        if (a->dim[i] != port->shape.dim[i]) return false;
    }
    return a->dim[last] > 0 && a->dim[last] < port->shape.dim[last];
}

/* Copies rows of the last dim into wider ones that are zero. */
static void widen_rows(char *to, const char *from, uint64_t count, size_t narrow, size_t wide)
{
    for (uint64_t i = 0; i < count; i++, to += wide, from += narrow) memcpy(to, from, narrow);
}

/* Class indices where the port takes a row of flags for each. */
static bool is_indexed(const tfcc_port *port, const npz_array *a)
{
    const uint32_t want = port->shape.rank - 1;
    const bool extra = a->rank == want + 1 && a->dim[want] == 1;
    if (!port->indexed || (a->rank != want && !extra)) return false;
    for (uint32_t i = 1; i < want; i++) {
        if (a->dim[i] != port->shape.dim[i]) return false;
    }
    return true;
}

static bool read_indexed(rt *r, const char *path, const tfcc_port *port, npz_array *a, dataset_column *out_column)
{
    const size_t size = rt_dtype_size(port->shape.dtype);
    const uint64_t classes = (uint64_t)port->shape.dim[port->shape.rank - 1];
    char *rows = rt_alloc_many(r, rt_multiply(a->count, classes), size, "a column of the data");
    if (!rows) return false;
    convert_fill(rows, port->shape.dtype, rt_multiply(a->count, classes), 0);
    for (uint64_t i = 0; i < a->count; i++) {
        const double class = convert_get(a->data, a->dtype, i);
        if (!(class >= 0 && class < (double)classes) || class != (double)(uint64_t) class)
            return rt_wrong(r, "%s: array \"%s\": expected class numbers from 0 to %llu, found %.17g", path, a->name,
                            (unsigned long long)classes - 1, class);
        convert_fill(rows + (i * classes + (uint64_t) class) * size, port->shape.dtype, 1, 1);
    }
    rt_free(r, a->block);
    *out_column = (dataset_column){.data = rows, .row_bytes = rt_shape_row_elements(&port->shape) * size};
    return true;
}

bool column_read(rt *r, const char *path, const tfcc_port *port, npz_array *a, dataset_column *out_column)
{
    uint64_t row = rt_shape_row_elements(&port->shape);
    size_t size = rt_dtype_size(port->shape.dtype);
    bool same = dims_match(port, a);
    if (!same && is_indexed(port, a)) return read_indexed(r, path, port, a, out_column);
    bool narrow = !same && is_narrow(port, a);
    bool spread = !same && port->kind == TFCC_PORT_SAMPLE_WEIGHT && is_one_per_row(a);
    if (port->shape.dtype == TFCC_ROW) return sparse_read_dense(r, path, port, a, out_column);
    if ((a->dtype == TFCC_STR) != (port->shape.dtype == TFCC_STR))
        return rt_wrong(r, "%s: array \"%s\": expected %s, found %s", path, a->name,
                        a->dtype == TFCC_STR ? "numbers" : "strings (NumPy's dtype U or S)", rt_dtype_name(a->dtype));
    if (!same && !spread && !narrow) return refuse_shape(r, path, port, a);
    char *data = a->data;
    if (a->dtype != port->shape.dtype) {
        data = rt_alloc_many(r, a->count, size, "a column of the data");
        if (!data || !convert_column(r, path, port, a, data)) return false;
        rt_free(r, a->block);
        a->block = data;
    }
    if (!check_classes(r, path, port, a, data)) return false;
    if (spread) {
        char *wide = rt_alloc_many(r, a->count * size, row, "sample weights");
        if (!wide) return false;
        spread_rows(wide, data, a->count, row, size);
        rt_free(r, a->block);
        data = wide;
    }
    if (narrow) {
        uint64_t from = (uint64_t)a->dim[a->rank - 1], to = (uint64_t)port->shape.dim[a->rank - 1];
        char *wide = rt_alloc_many(r, rt_multiply(a->count / from, to), size, "a column of the data");
        if (!wide) return false;
        widen_rows(wide, data, a->count / from, from * size, to * size);
        rt_free(r, a->block);
        data = wide;
    }
    *out_column = (dataset_column){.data = data, .row_bytes = row * size};
    return true;
}

bool column_fill_ones(rt *r, const tfcc_port *port, int64_t rows, dataset_column *out_column)
{
    uint64_t row = rt_shape_row_elements(&port->shape), count = rt_multiply(row, (uint64_t)rows);
    size_t size = rt_dtype_size(port->shape.dtype);
    char *data = rt_alloc_many(r, count, size, "sample weights");
    if (!data) return false;
    convert_fill(data, port->shape.dtype, count, 1);
    *out_column = (dataset_column){.data = data, .row_bytes = row * size};
    return true;
}
