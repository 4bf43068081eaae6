/* ragged.c: see ragged.h. */
#include "ragged.h"

static bool is_per_value(uint32_t part) { return part >= TFCC_PACK; }

static void **part_of(model_ragged *x, uint32_t part)
{
    void **const parts[TFCC_PARTS] = {
        [TFCC_ENDS] = (void **)&x->ends,
        [TFCC_ORDER] = (void **)&x->sorted.order,
        [TFCC_RANK] = (void **)&x->sorted.rank,
        [TFCC_PACK] = (void **)&x->sorted.pack,
        [TFCC_UNPACK] = (void **)&x->sorted.unpack,
        [TFCC_PACK_BACK] = (void **)&x->sorted.pack_back,
        [TFCC_UNPACK_BACK] = (void **)&x->sorted.unpack_back,
    };
    return part < TFCC_PARTS ? parts[part] : NULL;
}

bool ragged_open(model *m)
{
    m->ragged = rt_alloc_many(m->r, m->program->ragged_count, sizeof *m->ragged, "ragged inputs");
    for (uint64_t k = 0; m->ragged && k < m->program->ragged_count; k++) {
        if (!ragged_reserve(m, k, 0, 0)) return false;
    }
    return m->ragged != NULL;
}

static bool replace(rt *r, void **block, int64_t count, uint64_t size)
{
    rt_free(r, *block);
    *block = rt_alloc_many(r, (uint64_t)count, size, "a batch of ragged rows");
    return *block != NULL;
}

bool ragged_reserve(model *m, uint64_t k, int64_t rows, int64_t values)
{
    model_ragged *x = &m->ragged[k];
    const uint64_t bytes = m->ragged_bytes ? m->ragged_bytes[k] : 0, index = sizeof(int64_t);
    if (x->slab && rows <= x->rows && values <= x->values) return true;
    if (rows < x->rows) rows = x->rows;
    if (values < x->values) values = x->values;
    if (!replace(m->r, (void **)&x->slab, values, bytes) || !replace(m->r, (void **)&x->ends, rows, index) ||
        !replace(m->r, (void **)&x->sorted.first, values + 1, index) ||
        !replace(m->r, (void **)&x->sorted.order, rows, index) || !replace(m->r, (void **)&x->sorted.rank, rows, index))
        return false;
    for (uint64_t i = 0; i < m->program->port_count; i++) {
        const tfcc_port *port = &m->program->port[i];
        if (port->ragged != k + 1 || !is_per_value(port->part)) continue;
        if (!replace(m->r, part_of(x, port->part), values, index)) return false;
    }
    x->rows = rows;
    x->values = values;
    return true;
}

void ragged_begin(model *m, uint64_t k, int64_t n, void **ports)
{
    model_ragged *x = &m->ragged[k];
    tfcc_ragged_sort(&x->sorted, x->ends, n);
    for (uint64_t i = 0; i < m->program->port_count; i++) {
        const tfcc_port *port = &m->program->port[i];
        if (port->ragged == k + 1 && port->part != TFCC_VALUES) ports[i] = *part_of(x, port->part);
    }
}

uint64_t ragged_port(const tfcc_program *p, uint64_t k)
{
    uint64_t i = 0;
    while (i < p->port_count && (p->port[i].ragged != k + 1 || p->port[i].part != TFCC_VALUES)) i++;
    return i;
}

int64_t ragged_count(const model *m, uint32_t ragged, int64_t n)
{
    return ragged > 0 ? m->ragged[ragged - 1].sorted.values : n;
}
