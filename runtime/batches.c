/* batches.c: see batches.h. */
#include "batches.h"

#include "philox.h"
#include "ragged.h"

#include <string.h>

static bool reserve_ragged(const batches *b)
{
    for (uint64_t k = 0; k < b->m->program->ragged_count; k++) {
        int64_t values;
        if (!dataset_most_values(b->m->r, b->data, ragged_port(b->m->program, k), b->size, &values) ||
            !ragged_reserve(b->m, k, b->size, values))
            return false;
    }
    return true;
}

bool batches_open(batches *b, model *m, const dataset *data, int64_t size, bool shuffle)
{
    uint64_t count = m->program->port_count;
    *b = (batches){.m = m, .data = data, .size = size < data->rows ? size : data->rows};
    b->ports = rt_alloc_many(m->r, count, sizeof *b->ports, "batches");
    if (!b->ports || !reserve_ragged(b)) return false;
    if (!shuffle) return true;
    b->order = rt_alloc_many(m->r, (uint64_t)data->rows, sizeof *b->order, "the order of rows");
    b->buffer = rt_alloc_many(m->r, count, sizeof *b->buffer, "batches");
    if (!b->order || !b->buffer) return false;
    for (uint64_t i = 0; i < count; i++) {
        const tfcc_port *port = &m->program->port[i];
        if (!data->column[i].data) continue;
        const int64_t most = data->column[i].ends ? m->ragged[port->ragged - 1].values : b->size;
        b->buffer[i] = rt_alloc_many(m->r, (uint64_t)most, data->column[i].row_bytes, "a batch");
        if (!b->buffer[i]) return false;
    }
    return true;
}

int64_t batches_count(const batches *b) { return (b->data->rows + b->size - 1) / b->size; }

void batches_start(batches *b, int64_t seed, int64_t number)
{
    b->at = 0;
    if (!b->order) return;
    uint64_t state = philox_mix(philox_mix((uint64_t)seed) + (uint64_t)number);
    for (int64_t i = 0; i < b->data->rows; i++) b->order[i] = i;
    for (int64_t i = b->data->rows - 1; i > 0; i--) {
        int64_t k = (int64_t)(philox_mix(state + (uint64_t)i) % (uint64_t)(i + 1));
        int64_t row = b->order[i];
        b->order[i] = b->order[k];
        b->order[k] = row;
    }
}

typedef struct gather {
    const dataset_column *column;
    char *to;
    const int64_t *row;
    int64_t rows, per_task;
} gather;

static void gather_rows(const void *context, int64_t task, void *scratch)
{
    const gather *g = context;
    int64_t first = task * g->per_task, end = first + g->per_task;
    (void)scratch;
    if (end > g->rows) end = g->rows;
    uint64_t bytes = g->column->row_bytes;
    for (int64_t i = first; i < end; i++) {
        memcpy(g->to + (uint64_t)i * bytes, g->column->data + (uint64_t)g->row[i] * bytes, (size_t)bytes);
    }
}

enum { TASK_BYTES = 1 << 16 };

static void gather_column(batches *b, uint64_t port, int64_t rows)
{
    gather g = {
        .column = &b->data->column[port], .to = b->buffer[port], .row = b->order + b->at, .rows = rows};
    g.per_task = TASK_BYTES / (int64_t)(g.column->row_bytes + 1) + 1;
    pool_run(b->m->pool, gather_rows, &g, (rows + g.per_task - 1) / g.per_task);
    b->ports[port] = b->buffer[port];
}

/* The values of the batch's rows one after another: in the data set, or in the port's buffer. */
static void take_values(batches *b, uint64_t port, int64_t rows)
{
    const dataset_column *c = &b->data->column[port];
    const char *from = c->data;
    uint64_t at = 0;
    b->ports[port] = (void *)(uintptr_t)(from + (uint64_t)(b->at > 0 ? c->ends[b->at - 1] : c->first) * c->row_bytes);
    if (!b->order) return;
    for (int64_t i = 0; i < rows; i++) {
        const int64_t row = b->order[b->at + i], start = row > 0 ? c->ends[row - 1] : c->first;
        const uint64_t bytes = (uint64_t)(c->ends[row] - start) * c->row_bytes;
        if (bytes > 0) memcpy(b->buffer[port] + at, from + (uint64_t)start * c->row_bytes, (size_t)bytes);
        at += bytes;
    }
    b->ports[port] = b->buffer[port];
}

/* The rows of ragged input k, and the values of it and of labels that have its rows. */
static void take_ragged(batches *b, uint64_t k, int64_t rows)
{
    const tfcc_program *p = b->m->program;
    const dataset_column *c = &b->data->column[ragged_port(p, k)];
    int64_t *ends = b->m->ragged[k].ends, at = 0;
    for (int64_t i = 0; i < rows; i++) {
        const int64_t row = b->order ? b->order[b->at + i] : b->at + i, start = row > 0 ? c->ends[row - 1] : c->first;
        ends[i] = at += c->ends[row] - start;
    }
    for (uint64_t i = 0; i < p->port_count; i++) {
        const bool is_of_k = p->port[i].ragged == k + 1 && p->port[i].part == TFCC_VALUES;
        if (is_of_k && b->data->column[i].data) take_values(b, i, rows);
    }
    ragged_begin(b->m, k, rows, b->ports);
}

int64_t batches_next(batches *b)
{
    int64_t left = b->data->rows - b->at, rows = left < b->size ? left : b->size;
    if (rows <= 0) return 0;
    for (uint64_t i = 0; i < b->m->program->port_count; i++) {
        const dataset_column *c = &b->data->column[i];
        if (!c->data || c->ends) continue;
        if (b->order)
            gather_column(b, i, rows);
        else
            b->ports[i] = c->data + (uint64_t)b->at * c->row_bytes;
    }
    for (uint64_t k = 0; k < b->m->program->ragged_count; k++) take_ragged(b, k, rows);
    b->at += rows;
    return rows;
}
