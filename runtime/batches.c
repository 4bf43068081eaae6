/* batches.c: see batches.h. */
#include "batches.h"

#include "philox.h"

#include <string.h>

bool batches_open(batches *b, model *m, const dataset *data, int64_t size, bool shuffle)
{
    uint64_t count = m->program->port_count;
    *b = (batches){.m = m, .data = data, .size = size < data->rows ? size : data->rows};
    b->ports = rt_alloc_many(m->r, count, sizeof *b->ports, "batches");
    if (!b->ports || !shuffle) return b->ports != NULL;
    b->order = rt_alloc_many(m->r, (uint64_t)data->rows, sizeof *b->order, "the order of rows");
    b->buffer = rt_alloc_many(m->r, count, sizeof *b->buffer, "batches");
    if (!b->order || !b->buffer) return false;
    for (uint64_t i = 0; i < count; i++) {
        if (!data->column[i].data) continue;
        b->buffer[i] = rt_alloc_many(m->r, (uint64_t)b->size, data->column[i].row_bytes, "a batch");
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

int64_t batches_next(batches *b)
{
    int64_t left = b->data->rows - b->at, rows = left < b->size ? left : b->size;
    if (rows <= 0) return 0;
    for (uint64_t i = 0; i < b->m->program->port_count; i++) {
        const dataset_column *c = &b->data->column[i];
        if (!c->data) continue;
        if (b->order)
            gather_column(b, i, rows);
        else
            b->ports[i] = c->data + (uint64_t)b->at * c->row_bytes;
    }
    b->at += rows;
    return rows;
}
