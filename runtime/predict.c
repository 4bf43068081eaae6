/* predict.c: the model's outputs for a data set, as an .npz file. */
#include "convert.h"
#include "npz.h"
#include "session.h"
#include "verbs.h"

#include <string.h>

/* The array of output `index`: its rows one after another. bfloat16, which NumPy lacks, becomes float32. */
static bool make_array(rt *r, const tfcc_output *o, int64_t rows, npz_array *a)
{
    const tfcc_shape *s = &o->shape;
    if (s->rank == 0 || s->batch != 1) {
        return rt_wrong(r, "output \"%s\": expected one result per row, found shape %s", o->name,
                        rt_shape_show(r, s->rank, s->dim, s->batch));
    }
    *a = (npz_array){.rank = s->rank, .dtype = s->dtype == TFCC_BF16 ? TFCC_F32 : s->dtype};
    a->name = r->program->single_output ? rt_printf(r, "y") : rt_printf(r, "y.%s", o->name);
    memcpy(a->dim, s->dim, sizeof a->dim);
    a->dim[0] = rt_multiply((uint64_t)s->dim[0], (uint64_t)rows) > INT64_MAX ? INT64_MAX : s->dim[0] * rows;
    a->count = rt_shape_elements(s, rows);
    a->data = rt_alloc_many(r, a->count, rt_dtype_size(a->dtype), "the predictions");
    return a->name && a->data;
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
    uint64_t count = s.graph->output_count;
    npz_array *array = rt_alloc_many(m->r, count, sizeof *array, "the predictions");
    if (!array) return false;
    for (uint64_t i = 0; i < count; i++) {
        if (!make_array(m->r, &s.graph->output[i], data->rows, &array[i])) return false;
    }
    batches_start(&b, 0, 0);
    for (int64_t n = batches_next(&b); n > 0; n = batches_next(&b)) {
        if (!step_run(&s, n, b.ports)) return false;
        for (uint64_t i = 0; i < count; i++) add_rows(&s, i, b.at - n, n, &array[i]);
    }
    return npz_write(m->r, o->output, array, count);
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
