/* predict.c: the model's outputs for a data set, as an .npz file. */
#include "convert.h"
#include "npz.h"
#include "ragged.h"
#include "session.h"
#include "verbs.h"

#include <string.h>

/* The array of an output: its rows (of ragged ones: their values) one after another. bfloat16, which NumPy lacks, becomes
 * float32. */
static bool make_array(rt *r, const tfcc_output *o, int64_t rows, npz_array *a)
{
    const tfcc_shape *s = &o->shape;
    if (s->rank == 0 || s->batch != 1) {
        return rt_wrong(r, "output \"%s\": expected one result per row, found shape %s", o->name,
                        rt_shape_show(r, s->rank, s->dim, s->batch));
    }
    *a = (npz_array){.rank = s->rank, .dtype = s->dtype == TFCC_BF16 ? TFCC_F32 : s->dtype};
    const char *tail = s->ragged > 0 ? ".values" : "";
    a->name = r->program->single_output ? rt_printf(r, "y%s", tail) : rt_printf(r, "y.%s%s", o->name, tail);
    memcpy(a->dim, s->dim, sizeof a->dim);
    a->dim[0] = rt_multiply((uint64_t)s->dim[0], (uint64_t)rows) > INT64_MAX ? INT64_MAX : s->dim[0] * rows;
    a->count = rt_shape_elements(s, rows);
    a->data = rt_alloc_many(r, a->count, rt_dtype_size(a->dtype), "the predictions");
    return a->name && a->data;
}

/* The row splits of a ragged output are those of the input that it has come from. */
static bool make_splits(rt *r, const tfcc_output *o, const dataset *data, npz_array *a)
{
    const dataset_column *c = &data->column[ragged_port(r->program, o->shape.ragged - 1)];
    const uint64_t count = (uint64_t)data->rows + 1;
    int64_t *splits = rt_alloc_many(r, count, sizeof *splits, "the predictions");
    *a = (npz_array){.rank = 1, .dtype = TFCC_I64, .dim = {data->rows + 1}, .count = count, .data = splits};
    a->name = r->program->single_output ? rt_printf(r, "y.row_splits") : rt_printf(r, "y.%s.row_splits", o->name);
    for (int64_t i = 0; splits && i < data->rows; i++) splits[i + 1] = c->ends[i] - c->first;
    return a->name && splits;
}

static void add_rows(const step *s, uint64_t index, int64_t first, int64_t n, npz_array *a)
{
    const tfcc_shape *shape = &s->graph->output[index].shape;
    uint64_t row = rt_shape_elements(shape, 1);
    char *to = (char *)a->data + (uint64_t)first * row * rt_dtype_size(a->dtype);
    convert_elements(to, a->dtype, step_output(s, index), shape->dtype, (uint64_t)n * row);
}

static bool predict(model *m, const dataset *data, const options *o)
{
    step s;
    batches b;
    if (!batches_open(&b, m, data, o->batch_size, false) || !step_open(&s, m, "predict")) return false;
    uint64_t count = s.graph->output_count, arrays = count;
    npz_array *array = rt_alloc_many(m->r, 2 * count, sizeof *array, "the predictions");
    int64_t *at = rt_alloc_many(m->r, count, sizeof *at, "the predictions");
    if (!array || !at) return false;
    for (uint64_t i = 0; i < count; i++) {
        const tfcc_output *result = &s.graph->output[i];
        const uint32_t ragged = result->shape.ragged;
        const dataset_column *c = ragged > 0 ? &data->column[ragged_port(m->program, ragged - 1)] : NULL;
        if (c && !make_splits(m->r, result, data, &array[arrays++])) return false;
        if (!make_array(m->r, result, c ? c->ends[data->rows - 1] - c->first : data->rows, &array[i])) return false;
    }
    batches_start(&b, 0, 0);
    for (int64_t n = batches_next(&b); n > 0; n = batches_next(&b)) {
        if (!step_run(&s, n, b.ports)) return false;
        for (uint64_t i = 0; i < count; i++) {
            const int64_t rows = ragged_count(m, s.graph->output[i].shape.ragged, n);
            add_rows(&s, i, at[i], rows, &array[i]);
            at[i] += rows;
        }
    }
    return npz_write(m->r, o->output, array, arrays);
}

bool verb_predict(rt *r, const options *o)
{
    static const char *const graphs[] = {"predict"};
    dataset data;
    model m;
    if (!options_require(r, o->data, "--data") || !options_require(r, o->output, "--output")) return false;
    if (!session_check_output(r, o->output) || !dataset_read(&data, r, o->data, DATASET_INPUTS)) return false;
    bool ok = session_model_open(&m, r, o, data.rows, (int)RT_COUNT(graphs), graphs) && predict(&m, &data, o);
    model_close(&m);
    return ok;
}
