/* model.c: see model.h. */
#include "model.h"

#include "convert.h"
#include "initializers.h"
#include "ragged.h"
#include "weights.h"

#include <stdio.h>
#include <string.h>

uint64_t model_variable_bytes(const model *m, uint64_t number)
{
    return rt_shape_bytes(&m->program->variable[number].shape, 1);
}

static bool allocate_variables(model *m)
{
    uint64_t count = m->program->variable_count;
    m->variable = rt_alloc_many(m->r, count, sizeof *m->variable, "the model's weights");
    for (uint64_t i = 0; m->variable && i < count; i++) {
        m->variable[i] = rt_alloc(m->r, model_variable_bytes(m, i), "the model's weights");
        if (!m->variable[i]) return false;
    }
    return m->variable != NULL;
}

static bool allocate_slabs(model *m)
{
    char what[64];
    snprintf(what, sizeof what, "a batch of %lld rows", (long long)m->rows);
    m->fixed_slab = rt_alloc(m->r, m->fixed_bytes, "the model's values");
    m->batch_slab = rt_alloc_many(m->r, (uint64_t)m->rows, m->batch_bytes, what);
    return m->fixed_slab && m->batch_slab;
}

static bool measure_slabs(model *m, const model_options *o)
{
    const uint64_t ragged = m->program->ragged_count;
    m->ragged_bytes = rt_alloc_many(m->r, ragged, sizeof *m->ragged_bytes, "ragged inputs");
    if (!m->ragged_bytes) return false;
    for (int i = 0; i < o->graph_count; i++) {
        const tfcc_graph *g = rt_find_graph(m->r, o->graph[i]);
        if (!g) continue;
        if (g->fixed_bytes > m->fixed_bytes) m->fixed_bytes = g->fixed_bytes;
        if (g->batch_bytes > m->batch_bytes) m->batch_bytes = g->batch_bytes;
        for (uint64_t k = 0; k < ragged; k++) {
            if (g->ragged_bytes[k] > m->ragged_bytes[k]) m->ragged_bytes[k] = g->ragged_bytes[k];
        }
    }
    return true;
}

bool model_grow(model *m, int64_t rows)
{
    rt_free(m->r, m->fixed_slab);
    rt_free(m->r, m->batch_slab);
    m->rows = rows;
    return allocate_slabs(m);
}

/* First values; weights that a file is going to give are left alone. */
static bool initialize(model *m, int64_t seed, bool has_weights)
{
    for (uint64_t i = 0; i < m->program->variable_count; i++) {
        const tfcc_variable *v = &m->program->variable[i];
        if (has_weights && v->role == TFCC_WEIGHT && v->h5) continue;
        if (v->data)
            memcpy(m->variable[i], v->data, (size_t)model_variable_bytes(m, i));
        else if (!initializer_run(m->r, m->pool, i, seed, m->variable[i]))
            return false;
    }
    return true;
}

bool model_open(model *m, rt *r, const model_options *o)
{
    const tfcc_program *p = r->program;
    *m = (model){.r = r, .program = p, .rows = o->rows};
    m->pool = o->executor ? pool_open_executor(r, o->executor, p->scratch_bytes)
                          : pool_open(r, o->threads > 0 ? o->threads : pool_default_threads(), p->scratch_bytes);
    if (!m->pool || !measure_slabs(m, o) || !allocate_variables(m) || !allocate_slabs(m) || !ragged_open(m)) return false;
    if (!initialize(m, o->seed, o->weights || p->weights)) return false;
    if (o->weights) return weights_read_file(m, o->weights);
    return !p->weights || weights_read_image(m, "the embedded weights", p->weights, p->weights_bytes);
}

void model_close(model *m)
{
    pool_close(m->pool);
    m->pool = NULL;
}

void model_reset_metrics(model *m)
{
    for (uint64_t i = 0; i < m->program->variable_count; i++) {
        if (m->program->variable[i].role != TFCC_METRIC) continue;
        memset(m->variable[i], 0, (size_t)model_variable_bytes(m, i));
    }
}

/* Keras calls the average of variable "dense/kernel" "<optimizer>/dense_kernel_average". */
static bool is_average_of(const char *average, const char *path)
{
    const char *last = strrchr(average, '/');
    const char *p = last ? last + 1 : average;
    for (; *path; p++, path++) {
        if (*p != (*path == '/' ? '_' : *path)) return false;
    }
    return strcmp(p, "_average") == 0;
}

/* The number of variable k's average: of several of one name, they stand in the same order as their
 * variables. */
static int64_t find_average(const model *m, uint64_t k)
{
    const tfcc_variable *v = m->program->variable;
    uint64_t skip = 0;
    for (uint64_t i = 0; i < k; i++) {
        skip += v[i].role == TFCC_WEIGHT && v[i].trainable && strcmp(v[i].path, v[k].path) == 0;
    }
    for (uint64_t i = 0; i < m->program->variable_count; i++) {
        if (v[i].role != TFCC_OPTIMIZER || !is_average_of(v[i].path, v[k].path)) continue;
        if (skip-- == 0) return (int64_t)i;
    }
    return -1;
}

void model_overwrite_with_averages(model *m)
{
    const tfcc_variable *v = m->program->variable;
    for (uint64_t i = 0; i < m->program->variable_count; i++) {
        if (v[i].role != TFCC_WEIGHT || !v[i].trainable) continue;
        int64_t average = find_average(m, i);
        if (average < 0) continue;
        if (rt_shape_elements(&v[average].shape, 1) != rt_shape_elements(&v[i].shape, 1)) continue;
        convert_elements(m->variable[i], v[i].shape.dtype, m->variable[average], v[average].shape.dtype,
                         rt_shape_elements(&v[i].shape, 1));
    }
}
