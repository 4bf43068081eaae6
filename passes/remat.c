/* remat.c: fits the training step into --memory-limit at little recomputation; without a limit, only zeros around values
 * are written again, which costs next to nothing. A round plans a trial copy of the
 * graph, lets remat_choose.c pick values to compute again, and rewrites the graph; rounds end when the plan fits. Ways
 * of different steps are tried. All decisions depend on the graph and the limit alone. Requires a graph that is ready
 * for fuse; leaves it so. */
#include "passes/remat.h"

#include <inttypes.h>

enum {
    MOST_ROUNDS = 200,
    PATIENCE = 8,   /* rounds without a better plan */
    MOST_GROWTH = 4, /* nodes, by those of the graph as it came */
    BOLD = 0, ALL = 1 /* steps */
};

typedef struct need {
    int64_t state, constants, fixed, per_row; /* bytes */
    int64_t total;
} need;

typedef struct session {
    ir_module *m;
    ir_graph *g;
    const passes_options *o;
    const passes_memory *memory;
    need first, least, now;
    bool fits;
    size_t count;      /* values computed again */
    double operations; /* that this takes */
    text list;
    const char *always; /* what is computed again whatever the limit is, as lines of the report */
} session;

static int64_t count_state(const ir_module *m)
{
    int64_t bytes = 0;
    for (size_t i = 0; i < m->variable_count; i++) {
        const ir_type *t = &m->variable[i].type;
        bytes += ir_type_elements_at(t, 1) * (int64_t)ir_dtype_size(t->dtype);
    }
    return bytes;
}

/* A copy of g in memory of its own, with kernels and places. NULL after an error. */
static ir_graph *plan_trial(const session *s, arena *a, need *out, diag *d)
{
    const ir_graph *g = s->g;
    ir_module m = *s->m;
    m.arena = a;
    m.constants = NULL;
    m.constants_size = 0;
    ir_graph *t = ir_graph_new(a, g->name, s->m);
    ir_value *map = arena_array(a, ir_value, g->count + 1);
    for (size_t v = 0; v < g->count; v++) map[v] = ir_graph_copy_node(t, g, (ir_value)v, map);
    for (size_t i = 0; i < g->output_count; i++) ir_graph_add_output(t, g->output[i].name, g->output[i].value);
    for (size_t i = 0; i < g->update_count; i++) ir_graph_add_update(t, g->update[i].variable, g->update[i].value);
    t->order = arena_copy(a, g->order, g->order_count * sizeof *g->order);
    t->order_count = t->order_capacity = g->order_count;
    if (!pass_fuse(&m, t, s->o, d) || !pass_plan_memory(&m, t, s->o, d)) return NULL;
    *out = (need){count_state(&m), (int64_t)m.constants_size, t->fixed_bytes, t->batch_bytes, 0};
    const int64_t fixed = out->state + out->constants + out->fixed, most = INT64_MAX / 2;
    const int64_t rows = s->memory->rows;
    out->total = out->per_row > (most - fixed) / rows ? most : fixed + out->per_row * rows;
    return t;
}

static void note_chosen(session *s, const remat *r)
{
    for (size_t i = 0; i < r->root_count; i++) {
        const ir_value v = r->root[i];
        if (r->again_at[v] == REMAT_NEVER) continue;
        const ir_node *n = &s->g->node[v];
        s->count++;
        s->operations += r->leaves[v].operations;
        const char *layer = s->m->origin_count > 0 ? s->m->origin[n->origin].layer : NULL;
        text_add(&s->list, "  %s of %s: %" PRId64 " bytes per row, %.3g operations\n", ir_op_name(n->op),
                 layer && *layer ? layer : "the graph", r->value[v].row_bytes, r->leaves[v].operations);
    }
}

/* How far a round aims. Bold ones aim at the limit; the others at a part of the peak less, whatever the limit is: what
 * they reach in the end is the least for every limit. */
static int64_t find_aim(const session *s, const need *now, int64_t peak, int step)
{
    const int64_t fixed = now->total - now->per_row * s->memory->rows;
    const int64_t over = now->per_row - base_max(s->memory->limit - fixed, 0) / s->memory->rows;
    return step == BOLD ? peak - over : peak - peak / step;
}

/* False when nothing is left to choose. */
static bool take_round(session *s, const ir_graph *trial, const need *now, int step, arena *scratch)
{
    remat *r = remat_look(s->g, trial, s->memory->rows, scratch);
    int64_t at_peak;
    const int64_t peak = remat_simulate(r, &at_peak);
    if (remat_choose(r, find_aim(s, now, peak, step)) == 0) return false;
    note_chosen(s, r);
    remat_rewrite(r, s->g);
    ir_graph_sweep(s->g);
    return true;
}

static bool refuse(const session *s, diag *d)
{
    const need *n = &s->least;
    return diag_error(d, NULL,
                      "--memory-limit: expected at least %" PRId64 " bytes for batches of %" PRId64
                      " in %s (weights and state %" PRId64 ", constants %" PRId64 ", values %" PRId64 " and %" PRId64 " per row), found %" PRId64
                      "; a smaller batch would need less",
                      n->total, s->memory->rows, s->g->name, n->state, n->constants, n->fixed, n->per_row,
                      s->memory->limit);
}

static void report(const session *s, const need *now)
{
    text *to = s->memory->report;
    if (!to) return;
    text_add(to, "memory of %s for batches of %" PRId64 ": %" PRId64 " bytes (weights and state %" PRId64
             ", constants %" PRId64 ", values %" PRId64 " and %" PRId64 " per row)\n",
             s->g->name, s->memory->rows, now->total, now->state, now->constants, now->fixed, now->per_row);
    if (*s->always) text_add(to, "computed again whatever the limit is:\n%s", s->always);
    if (s->count == 0) return;
    text_add(to, "without limit: %" PRId64 " bytes (values %" PRId64 " and %" PRId64 " per row)\n", s->first.total,
             s->first.fixed, s->first.per_row);
    text_add(to, "computed again: %zu values, %.3g operations a step\n%s", s->count, s->operations, text_get(&s->list));
}

/* Rounds from the graph as it came. Sets out_fits; false after an error. */
static bool try_steps(session *s, int step, bool *out_fits, diag *d)
{
    const size_t most_nodes = s->g->count * MOST_GROWTH;
    int64_t best = INT64_MAX;
    bool good = true, more = true;
    *out_fits = false;
    for (int round = 0, idle = 0; good && more; round++) {
        arena scratch = {0};
        const ir_graph *trial = plan_trial(s, &scratch, &s->now, d);
        good = trial != NULL;
        if (good && round == 0 && step == BOLD) s->first = s->least = s->now;
        if (good && step != BOLD && s->now.total < s->least.total) s->least = s->now;
        idle = s->now.total < best ? 0 : idle + 1;
        best = base_min(best, s->now.total);
        *out_fits = good && (s->memory->limit == 0 || s->now.total <= s->memory->limit);
        more = good && !*out_fits && round < MOST_ROUNDS && idle < PATIENCE && s->g->count < most_nodes &&
               take_round(s, trial, &s->now, step, &scratch);
        arena_done(&scratch);
    }
    return good;
}

/* What rounds change of a graph. */
static ir_graph keep_graph(const ir_graph *g)
{
    ir_graph kept = *g;
    kept.output = arena_copy(g->arena, g->output, g->output_count * sizeof *g->output);
    kept.update = arena_copy(g->arena, g->update, g->update_count * sizeof *g->update);
    kept.gradient = arena_copy(g->arena, g->gradient, g->gradient_count * sizeof *g->gradient);
    kept.order = arena_copy(g->arena, g->order, g->order_count * sizeof *g->order);
    kept.output_capacity = kept.output_count;
    kept.update_capacity = kept.update_count;
    kept.gradient_capacity = kept.gradient_count;
    kept.order_capacity = kept.order_count;
    return kept;
}

/* Of the ways that fit, the one of fewest operations; the first when none does. */
static bool fit(session *s, diag *d)
{
    static const int steps[] = {BOLD, 32, 8, ALL};
    const session start = *s;
    const ir_graph before = keep_graph(s->g);
    session best = {0};
    ir_graph best_graph = before;
    for (size_t i = 0; i < countof(steps) && (!best.fits || (best.count > 0 && steps[i] != ALL)); i++) {
        bool fits;
        const need first = s->first, least = s->least;
        *s = start;
        *s->g = keep_graph(&before);
        s->first = first;
        s->least = least;
        if (!try_steps(s, steps[i], &fits, d)) {
            text_done(&s->list);
            text_done(&best.list);
            return false;
        }
        s->fits = fits;
        if (fits && (!best.fits || s->operations < best.operations)) {
            text_done(&best.list);
            best = *s;
            best_graph = *s->g;
        } else {
            text_done(&s->list);
        }
    }
    if (!best.fits) return refuse(s, d);
    *s->g = best_graph;
    report(&best, &best.now);
    text_done(&best.list);
    return true;
}

/* One round that needs no limit. Leaves lines about it in out_list. */
static bool pad_again(ir_module *m, ir_graph *g, const passes_options *o, text *out_list, diag *d)
{
    enum { ROWS = 32 };
    if (o->level < 2 || m->ragged_count > 0 || !remat_has_pads(g)) return true;
    arena scratch = {0};
    const passes_memory memory = {.rows = o->memory ? o->memory->rows : ROWS};
    session s = {.m = m, .g = g, .o = o, .memory = &memory};
    const ir_graph *trial = plan_trial(&s, &scratch, &s.now, d);
    if (trial) {
        remat *r = remat_look(g, trial, memory.rows, &scratch);
        if (remat_choose_pads(r) > 0) {
            note_chosen(&s, r);
            remat_rewrite(r, g);
            ir_graph_sweep(g);
        }
    }
    arena_done(&scratch);
    *out_list = s.list;
    return trial != NULL;
}

bool pass_remat(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    if (g->loss == IR_NONE) return true;
    if (m->ragged_count > 0 && o->memory)
        return o->memory->limit == 0 ||
               diag_error(d, NULL, "--memory-limit: expected inputs as large as the batch says, found ragged ones");
    text list = {0};
    bool good = pad_again(m, g, o, &list, d);
    session s = {.m = m, .g = g, .o = o, .memory = o->memory, .always = text_get(&list)};
    good = good && (!o->memory || fit(&s, d));
    text_done(&list);
    return good;
}
