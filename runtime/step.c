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
    uint64_t arg_count;            /* loop: of all its launches, from `arg` on */
    int64_t block_rows;            /* loop: blocks of so many rows go through all turns, each by itself; 0: turn after turn */
};

/* Blocks of rows that go through a loop one without the other: at most so many for each thread; so many rows at least, fewer
 * where each thread has one block and what is read for all rows stays near it; arguments of all launches, which have a copy on
 * the stack. A tile of products takes as long as one of SHORT_TILE rows even if it has fewer. */
enum { BLOCKS_A_THREAD = 4, LEAST_ROWS = 8, LEAST_ROWS_NEAR = 4, NEAR_BYTES = 1 << 19, MOST_BLOCK_ARGUMENTS = 256, SHORT_TILE = 4 };

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
    s->row[slot - s->address] = place->row;
    if (place->space == TFCC_INPUT) {
        s->input[s->input_count++] = (struct step_input){.slot = slot, .port = place->offset};
        return;
    }
    *slot = resolve(s, place, n);
    if (place->step == 0) return;
    int64_t stride = place->step * (place->step_batch == 1 ? n : 1);
    s->moving[(*moving)++] = (struct step_moving){.slot = slot, .start = *slot, .step = stride};
}

static int64_t count_turns(const step *s, const tfcc_launch *loop)
{
    if (loop->loop_ragged > 0) return s->m->ragged[loop->loop_ragged - 1].sorted.longest;
    return loop->loop_count * (loop->loop_batch ? s->n : 1);
}

static double estimate_ns(const tfcc_launch *l, int64_t n)
{
    const double flops = (double)l->flops + (double)l->batch_flops * (double)n;
    const double bytes = (double)l->bytes + (double)l->batch_bytes * (double)n;
    return flops / flops_per_ns + bytes / bytes_per_ns;
}

/* What a block of rows takes, in rows. */
static int64_t block_cost(int64_t rows, int64_t tile)
{
    const int64_t rest = rows % tile;
    return rows - rest + (rest == 0 ? 0 : rest < SHORT_TILE ? SHORT_TILE : rest);
}

/* Decides how a loop runs whose launches are bound. Few rows are better shared out turn by turn, by columns. The steps of
 * ragged rows need many blocks, for the first ones have the longest rows. */
static int64_t choose_block_rows(const step *s, const step_launch *head)
{
    const tfcc_launch *l = head->loop;
    const int64_t threads = pool_threads(s->m->pool);
    double turn = 0;
    int64_t near = 0, best = INT64_MAX, chosen = 0;
    for (uint32_t i = 1; i <= l->loop_launches; i++) {
        turn += estimate_ns(l + i, s->n);
        near += l[i].bytes;
    }
    if (l->loop_rows == 0 || head->arg_count > MOST_BLOCK_ARGUMENTS || threads == 1) return 0;
    if (turn * (double)count_turns(s, l) < share_from_ns) return 0;
    for (int64_t each = l->loop_ragged ? BLOCKS_A_THREAD : 1; each <= BLOCKS_A_THREAD; each++) {
        const int64_t blocks = threads * each, rows = (s->n + blocks - 1) / blocks, cost = each * block_cost(rows, l->loop_rows);
        if (rows < (each == 1 && near <= NEAR_BYTES ? LEAST_ROWS_NEAR : LEAST_ROWS) || cost > best) continue;
        best = cost;
        chosen = rows;
    }
    return chosen;
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
        s->launch[i] = (step_launch){.run = l->run,
                                     .arg = to,
                                     .n = count,
                                     .tasks = count_tasks(l, count),
                                     .here = estimate_ns(l, count) < share_from_ns,
                                     .moving = moving};
        if (l->loop_launches > 0) {
            loop = &s->launch[i];
            loop->loop = l;
        }
        for (uint32_t k = 0; k < l->arg_count; k++, to++) bind_argument(s, &l->arg[k], n, to, &moving);
        if (loop) {
            loop->moving_count = moving - loop->moving;
            loop->arg_count = (uint64_t)(to - loop->arg);
        }
        if (loop && l == loop->loop + loop->loop->loop_launches) {
            loop->block_rows = choose_block_rows(s, loop);
            loop = NULL;
        }
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
    s->row = rt_alloc_many(r, arguments, sizeof *s->row, "the step's table");
    s->input = rt_alloc_many(r, inputs, sizeof *s->input, "the step's table");
    s->moving = rt_alloc_many(r, moving, sizeof *s->moving, "the step's table");
    s->output = rt_alloc_many(r, s->graph->output_count, sizeof *s->output, "the step's table");
    if (!s->launch || !s->address || !s->row || !s->input || !s->moving || !s->output) return false;
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
    rt_free(r, s->row);
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

/* One turn of a loop: its places are `at` steps further on. */
typedef struct loop_turn {
    int64_t at, rows;
} loop_turn;

/* That of ragged rows has the rows that are longer than its number. */
static loop_turn find_turn(const step *s, const tfcc_launch *loop, int64_t number, int64_t count)
{
    if (loop->loop_reverse) number = count - 1 - number;
    if (loop->loop_ragged == 0) return (loop_turn){number, s->n};
    const int64_t *first = s->m->ragged[loop->loop_ragged - 1].sorted.first + number;
    return (loop_turn){first[0], first[1] - first[0]};
}

typedef struct block_run {
    const step *s;
    const step_launch *head;
} block_run;

/* One block of rows through all turns of a loop, at addresses of its own. */
static void run_block(const void *context, int64_t task, void *scratch)
{
    const step *s = ((const block_run *)context)->s;
    const step_launch *head = ((const block_run *)context)->head;
    const tfcc_launch *loop = head->loop;
    const int64_t first = task * head->block_rows, turns = count_turns(s, loop), *row = s->row + (head->arg - s->address);
    void *arg[MOST_BLOCK_ARGUMENTS];
    for (uint64_t i = 0; i < head->arg_count; i++) arg[i] = (char *)head->arg[i] + first * row[i];
    for (int64_t k = 0; k < turns; k++) {
        const loop_turn turn = find_turn(s, loop, k, turns);
        const int64_t left = turn.rows - first, n = left < head->block_rows ? left : head->block_rows;
        if (n <= 0) continue;
        for (uint64_t i = head->moving; i < head->moving + head->moving_count; i++) {
            const struct step_moving *m = &s->moving[i];
            arg[m->slot - head->arg] = m->start + turn.at * m->step + first * row[m->slot - head->arg];
        }
        for (uint32_t i = 1; i <= loop->loop_launches; i++) {
            const int64_t tasks = count_tasks(loop + i, n);
            for (int64_t t = 0; t < tasks; t++) head[i].run(arg + (head[i].arg - head->arg), n, t, scratch);
        }
    }
}

/* The launches after `head`, which is a loop, turn after turn. */
static void run_turns(const step *s, step_launch *head)
{
    const tfcc_launch *loop = head->loop;
    const int64_t count = count_turns(s, loop);
    for (int64_t k = 0; k < count; k++) {
        const loop_turn turn = find_turn(s, loop, k, count);
        for (uint64_t i = head->moving; i < head->moving + head->moving_count; i++) {
            *s->moving[i].slot = s->moving[i].start + turn.at * s->moving[i].step;
        }
        for (uint32_t i = 1; i <= loop->loop_launches; i++) {
            if (loop->loop_ragged > 0) {
                head[i].n = turn.rows;
                head[i].tasks = count_tasks(loop + i, turn.rows);
            }
            run_launch(s, head + i);
        }
    }
}

/* Who watches or times launches sees all rows of one at a time. */
static void run_loop(const step *s, step_launch *head)
{
    if (head->block_rows == 0 || s->watch || s->seconds) {
        run_turns(s, head);
        return;
    }
    const block_run run = {s, head};
    pool_run(s->m->pool, run_block, &run, (s->n + head->block_rows - 1) / head->block_rows);
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
