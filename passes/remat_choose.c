/* remat_choose.c: which values to compute again. Greedy: the one that frees most bytes for longest per operation that
 * it costs comes first, and is taken when, by the simulation, it lowers the peak and raises no other place above it; in
 * the end those that turn out not to be needed are let go, the dearest first. Equal scores keep the graph's order. */
#include "passes/remat.h"

#include <stdlib.h>

typedef struct candidate {
    ir_value value;
    double score, work;
} candidate;

static int compare_scores(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->score != y->score) return x->score < y->score ? 1 : -1;
    return (x->value > y->value) - (x->value < y->value);
}

static int compare_work(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->work != y->work) return x->work < y->work ? 1 : -1;
    return (x->value > y->value) - (x->value < y->value);
}

/* All that v is computed from is in memory as long as v is now. */
static bool needs_nothing_longer(const remat *r, ir_value v, const remat_leaves *l)
{
    for (size_t i = 0; i < l->count; i++) {
        const remat_value *leaf = &r->value[l->value[i]];
        if (leaf->written >= 0 && leaf->last < r->value[v].last) return false;
    }
    return true;
}

/* Memory now: a byte a row for so many kernels, per operation. */
static size_t find_candidates(remat *r, bool pads, candidate *out)
{
    size_t count = 0;
    for (size_t i = 0; i < r->root_count; i++) {
        const ir_value v = r->root[i];
        const remat_value *value = &r->value[v];
        if (value->row_bytes == 0 || value->pinned || value->read_at_peak) continue;
        if (value->written >= r->peak || value->first_late == REMAT_NEVER) continue;
        const remat_leaves *l = remat_leaves_of(r, v);
        if (l->bad || (pads && (r->g->node[v].op != OP_pad || !needs_nothing_longer(r, v, l)))) continue;
        const double freed = (double)value->row_bytes * (value->first_late - value->last_early);
        out[count++] = (candidate){v, freed / l->work, l->work};
    }
    return count;
}

/* Leaves the accepted ones at the front of c. */
static size_t accept(remat *r, candidate *c, size_t count, int64_t row_bytes, int64_t *most)
{
    size_t taken = 0;
    int64_t at_peak, then;
    *most = remat_simulate(r, &at_peak);
    for (size_t i = 0; i < count && *most > row_bytes; i++) {
        r->chosen[c[i].value] = true;
        const int64_t now = remat_simulate(r, &then);
        if (now < *most || (now == *most && at_peak == *most && then < at_peak)) {
            *most = now;
            at_peak = then;
            c[taken++] = c[i];
        } else {
            r->chosen[c[i].value] = false;
        }
    }
    return taken;
}

size_t remat_choose(remat *r, int64_t row_bytes)
{
    candidate *c = arena_array(r->scratch, candidate, r->root_count + 1);
    const size_t count = find_candidates(r, false, c);
    int64_t most, at_peak;
    if (count > 0) qsort(c, count, sizeof *c, compare_scores);
    const size_t taken = accept(r, c, count, row_bytes, &most);
    size_t kept = taken;
    if (taken > 0) qsort(c, taken, sizeof *c, compare_work);
    for (size_t i = 0; i < taken; i++) {
        r->chosen[c[i].value] = false;
        if (remat_simulate(r, &at_peak) <= base_max(row_bytes, most))
            kept--;
        else
            r->chosen[c[i].value] = true;
    }
    remat_simulate(r, &at_peak);
    return kept;
}

size_t remat_choose_pads(remat *r)
{
    candidate *c = arena_array(r->scratch, candidate, r->root_count + 1);
    const size_t count = find_candidates(r, true, c);
    int64_t most;
    if (count > 0) qsort(c, count, sizeof *c, compare_scores);
    const size_t taken = accept(r, c, count, 0, &most);
    remat_simulate(r, &most);
    return taken;
}

bool remat_has_pads(const ir_graph *g)
{
    bool again = false;
    arena scratch = {0};
    bool *seen = arena_array(&scratch, bool, g->count + 1);
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *n = &g->node[v];
        for (int i = 0; i < n->in_count && !passes_is_view(n) && n->op != OP_dimension_size; i++) {
            const ir_value in = fuse_base(g, n->in[i]);
            again = again || (seen[in] && g->node[in].op == OP_pad);
            seen[in] = true;
        }
    }
    arena_done(&scratch);
    return again;
}
