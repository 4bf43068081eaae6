/* capi_ragged.c: the part of the C interface that takes ragged rows: values, and the number of values before each row's end. */
#include "capi.h"
#include "ragged.h"

#include <string.h>

static bool set_values(tfcc_model *m, uint64_t number, int64_t rows, const tfcc_view *view)
{
    const tfcc_port *port = &m->r.program->port[number];
    const uint64_t each = rt_shape_bytes(&port->shape, 1);
    if ((!view->data && view->bytes > 0) || view->bytes % each != 0)
        return rt_wrong(&m->r, "\"%s\": expected values of %llu bytes each, found %zu", port->name,
                        (unsigned long long)each, view->data ? view->bytes : (size_t)0);
    if ((uintptr_t)view->data % rt_dtype_size(port->shape.dtype) != 0)
        return rt_wrong(&m->r, "\"%s\": expected an address aligned to its elements", port->name);
    const int64_t values = (int64_t)(view->bytes / each);
    if (port->kind == TFCC_PORT_Y && values != m->ends[port->ragged - 1][rows - 1])
        return rt_wrong(&m->r, "\"%s\": expected a target for each value of the output's rows, %lld, found %lld", port->name,
                        (long long)m->ends[port->ragged - 1][rows - 1], (long long)values);
    m->ports[number] = (void *)(uintptr_t)view->data;
    return capi_classes_check(m, port, values, view->data);
}

/* view: behind that of the values. */
static bool set_ends(tfcc_model *m, uint64_t number, int64_t rows, const tfcc_view *view)
{
    const tfcc_program *p = m->r.program;
    const tfcc_port *port = &p->port[number];
    const uint64_t k = port->ragged - 1, values_port = ragged_port(p, k);
    const uint32_t like = p->port[values_port].like;
    const int64_t *ends = view->data;
    const int64_t values = (int64_t)(view[-1].bytes / rt_shape_bytes(&p->port[values_port].shape, 1));
    if (!ends || view->bytes != (uint64_t)rows * sizeof *ends || (uintptr_t)ends % sizeof *ends != 0)
        return rt_wrong(&m->r, "\"%s\": expected %lld aligned int64, found %zu bytes", port->name, (long long)rows,
                        ends ? view->bytes : (size_t)0);
    for (int64_t i = 0; i < rows; i++) {
        if (ends[i] < (i > 0 ? ends[i - 1] : 0))
            return rt_wrong(&m->r, "\"%s\": expected numbers that never decrease, found %lld at %lld", port->name,
                            (long long)ends[i], (long long)i);
    }
    if (ends[rows - 1] != values)
        return rt_wrong(&m->r, "\"%s\": expected the last to be the number of values, %lld, found %lld", port->name,
                        (long long)values, (long long)ends[rows - 1]);
    if (like > 0 && memcmp(m->ends[like - 1], ends, (size_t)rows * sizeof *ends) != 0)
        return rt_wrong(&m->r, "\"%s\": expected those of the input that the model combines it with", port->name);
    m->ends[k] = ends;
    return true;
}

bool capi_ragged_set(tfcc_model *m, uint64_t number, int64_t rows, const tfcc_view *view)
{
    const bool is_values = m->r.program->port[number].part == TFCC_VALUES;
    return is_values ? set_values(m, number, rows, view) : set_ends(m, number, rows, view);
}

bool capi_rows_take(tfcc_model *m, int64_t first, int64_t rows)
{
    for (uint64_t k = 0; k < m->r.program->ragged_count; k++) {
        const int64_t *ends = m->ends[k] + first, start = first > 0 ? ends[-1] : 0, values = ends[rows - 1] - start;
        const model_ragged *x = &m->model.ragged[k];
        if (rows > x->rows || values > x->values) capi_steps_close(m);
        if (!ragged_reserve(&m->model, k, rows, values)) return false;
        for (int64_t i = 0; i < rows; i++) x->ends[i] = ends[i] - start;
        ragged_begin(&m->model, k, rows, m->ports);
    }
    return true;
}
