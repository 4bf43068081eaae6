/* step.c: see step.h. */
#include "step.h"

#include "convert.h"
#include "ragged.h"
#include "words/words.h"

#include <string.h>

struct step_launch {
    tfcc_kernel run;
    void **arg;
    int64_t n, tasks;
    bool here;                     /* too little work to share out */
    const tfcc_launch *loop;       /* runs those after it in turns; else NULL */
    uint64_t moving, moving_count; /* loop: of its launches, in step.moving */
};

/* Work that takes less than about this long alone is not worth waking others for. */
static const double share_from_ns = 15000, flops_per_ns = 20, bytes_per_ns = 10;

static void *resolve(const step *s, const tfcc_place *place, int64_t n)
{
    model *m = s->m;
    switch ((enum tfcc_space)place->space) {
    case TFCC_FIXED:
        return m->fixed_slab + place->offset;
    case TFCC_BATCH:
        return m->batch_slab + place->offset * (uint64_t)n;
    case TFCC_VARIABLE:
        return m->variable[place->offset];
    case TFCC_INPUT:
        return s->ports ? s->ports[place->offset] : NULL;
    case TFCC_OUTPUT:
        return s->output[place->offset];
    case TFCC_CONSTANT:
        return (void *)(uintptr_t)((const char *)m->program->constants + place->offset);
    case TFCC_RAGGED:
        break;
    }
    const model_ragged *ragged = &m->ragged[place->space - TFCC_RAGGED];
    return ragged->slab + place->offset * (uint64_t)ragged->sorted.values;
}

/* n: what the launch counts, rows or values. */
static int64_t count_tasks(const tfcc_launch *l, int64_t n)
{
    int64_t rows = l->rows * (l->rows_batch ? n : 1);
    return (rows + l->grain - 1) / l->grain * l->times;
}

static void bind_argument(step *s, const tfcc_place *place, int64_t n, void **slot, uint64_t *moving)
{
    if (place->space == TFCC_INPUT) {
        s->input[s->input_count++] = (struct step_input){.slot = slot, .port = place->offset};
        return;
    }
    *slot = resolve(s, place, n);
    if (place->step == 0) return;
    int64_t stride = place->step * (place->step_batch == 1 ? n : 1);
    s->moving[(*moving)++] = (struct step_moving){.slot = slot, .start = *slot, .step = stride};
}

/* Makes all addresses for n rows; the inputs' are set at each run. */
static void bind(step *s, int64_t n)
{
    void **to = s->address;
    uint64_t moving = 0;
    step_launch *loop = NULL;
    s->n = n;
    s->input_count = 0;
    for (uint64_t i = 0; i < s->graph->launch_count; i++) {
        const tfcc_launch *l = &s->graph->launch[i];
        const int64_t count = ragged_count(s->m, l->ragged, n);
        double flops = (double)l->flops + (double)l->batch_flops * (double)count;
        double bytes = (double)l->bytes + (double)l->batch_bytes * (double)count;
        s->launch[i] = (step_launch){.run = l->run,
                                     .arg = to,
                                     .n = count,
                                     .tasks = count_tasks(l, count),
                                     .here = flops / flops_per_ns + bytes / bytes_per_ns < share_from_ns,
                                     .moving = moving};
        if (l->loop_launches > 0) {
            loop = &s->launch[i];
            loop->loop = l;
        }
        for (uint32_t k = 0; k < l->arg_count; k++, to++) bind_argument(s, &l->arg[k], n, to, &moving);
        if (loop) loop->moving_count = moving - loop->moving;
    }
}

bool step_open(step *s, model *m, const char *graph)
{
    rt *r = m->r;
    *s = (step){.m = m, .graph = rt_find_graph(r, graph)};
    if (!s->graph) return rt_wrong(r, "the model was compiled without a loss: it can only predict");
    uint64_t arguments = 0, inputs = 0, moving = 0;
    for (uint64_t i = 0; i < s->graph->launch_count; i++) {
        const tfcc_launch *l = &s->graph->launch[i];
        arguments += l->arg_count;
        for (uint32_t k = 0; k < l->arg_count; k++) {
            inputs += l->arg[k].space == TFCC_INPUT;
            moving += l->arg[k].step != 0;
        }
    }
    s->launch = rt_alloc_many(r, s->graph->launch_count, sizeof *s->launch, "the step's table");
    s->address = rt_alloc_many(r, arguments, sizeof *s->address, "the step's table");
    s->input = rt_alloc_many(r, inputs, sizeof *s->input, "the step's table");
    s->moving = rt_alloc_many(r, moving, sizeof *s->moving, "the step's table");
    s->output = rt_alloc_many(r, s->graph->output_count, sizeof *s->output, "the step's table");
    if (!s->launch || !s->address || !s->input || !s->moving || !s->output) return false;
    for (uint64_t i = 0; i < s->graph->output_count; i++) {
        const tfcc_shape *shape = &s->graph->output[i].shape;
        const int64_t most = shape->ragged > 0 ? m->ragged[shape->ragged - 1].values : m->rows;
        s->output[i] = rt_alloc(r, rt_shape_bytes(shape, most), "the step's results");
        if (!s->output[i]) return false;
    }
    return true;
}

bool step_time(step *s)
{
    s->seconds = rt_alloc_many(s->m->r, s->graph->launch_count, sizeof *s->seconds, "the kernels' times");
    return s->seconds;
}

void step_close(step *s)
{
    rt *r = s->m->r;
    for (uint64_t i = 0; s->output && i < s->graph->output_count; i++) rt_free(r, s->output[i]);
    rt_free(r, s->output);
    rt_free(r, s->moving);
    rt_free(r, s->input);
    rt_free(r, s->address);
    rt_free(r, s->launch);
    *s = (step){.m = NULL};
}

static void run_task(const void *context, int64_t task, void *scratch)
{
    const step_launch *l = context;
    l->run(l->arg, l->n, task, scratch);
}

static void run_launch(const step *s, const step_launch *l)
{
    double start = s->seconds ? rt_seconds() : 0;
    if (l->here)
        pool_run_here(s->m->pool, run_task, l, l->tasks);
    else
        pool_run(s->m->pool, run_task, l, l->tasks);
    if (s->seconds) s->seconds[l - s->launch] += rt_seconds() - start;
    if (s->watch) s->watch(s->watch_context, &s->graph->launch[l - s->launch], l->arg);
}

/* The same over the steps of ragged rows: turn t has the rows that are longer than t. */
static void run_ragged_loop(const step *s, step_launch *head)
{
    const tfcc_launch *loop = head->loop;
    const ragged_rows *rows = &s->m->ragged[loop->loop_ragged - 1].sorted;
    const tfcc_launch *own = &s->graph->launch[head - s->launch];
    for (int64_t k = 0; k < rows->longest; k++) {
        const int64_t turn = loop->loop_reverse ? rows->longest - 1 - k : k, first = rows->first[turn];
        for (uint64_t i = head->moving; i < head->moving + head->moving_count; i++) {
            *s->moving[i].slot = s->moving[i].start + first * s->moving[i].step;
        }
        for (uint32_t i = 1; i <= loop->loop_launches; i++) {
            head[i].n = rows->first[turn + 1] - first;
            head[i].tasks = count_tasks(&own[i], head[i].n);
            run_launch(s, head + i);
        }
    }
}

/* The launches after `head`, which is a loop, in turns. */
static void run_loop(const step *s, step_launch *head)
{
    const tfcc_launch *loop = head->loop;
    if (loop->loop_ragged > 0) {
        run_ragged_loop(s, head);
        return;
    }
    const int64_t count = loop->loop_count * (loop->loop_batch ? s->n : 1);
    for (int64_t k = 0; k < count; k++) {
        int64_t turn = loop->loop_reverse ? count - 1 - k : k;
        for (uint64_t i = head->moving; i < head->moving + head->moving_count; i++) {
            *s->moving[i].slot = s->moving[i].start + turn * s->moving[i].step;
        }
        for (uint32_t i = 1; i <= loop->loop_launches; i++) run_launch(s, head + i);
    }
}

bool step_run(step *s, int64_t n, void *const *ports)
{
    s->ports = ports;
    if (s->n != n || s->m->program->ragged_count > 0) bind(s, n);
    for (uint64_t i = 0; i < s->input_count; i++) *s->input[i].slot = ports[s->input[i].port];
    for (uint64_t i = 0; i < s->graph->launch_count; i++) {
        step_launch *l = &s->launch[i];
        if (!l->loop) {
            run_launch(s, l);
            continue;
        }
        run_loop(s, l);
        i += l->loop->loop_launches;
    }
    const char *fault = words_fault_find();
    if (!fault) return true;
    rt_wrong(s->m->r, "%s", fault);
    words_fault_clear();
    return false;
}

const void *step_output(const step *s, uint64_t index)
{
    return resolve(s, &s->graph->output[index].place, s->n);
}

double step_scalar(const step *s, uint64_t index)
{
    return convert_get(step_output(s, index), s->graph->output[index].shape.dtype, 0);
}

int64_t step_find_output(const step *s, const char *name)
{
    for (uint64_t i = 0; i < s->graph->output_count; i++) {
        if (strcmp(s->graph->output[i].name, name) == 0) return (int64_t)i;
    }
    return -1;
}
