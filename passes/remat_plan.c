/* remat_plan.c: when the values of a planned trial are in memory, and when they would be if some were made again. */
#include "passes/remat.h"

#include <string.h>

enum {
    ALIGNMENT = 64,
    MOST_CHAIN = 512,    /* nodes of a chain that is computed again */
    WORK_OF_BYTE = 10    /* operations in the time that a byte takes to or from memory */
};

static int64_t count_row_bytes(const ir_type *t)
{
    int64_t sum = 0;
    ir_unit unit;
    for (int i = 0; t->rank < 0 && i < t->element_count; i++) sum += count_row_bytes(&t->element[i]);
    if (t->rank < 0) return sum;
    const int64_t elements = passes_elements(t, &unit);
    const int64_t bytes = elements * (int64_t)ir_dtype_size(t->dtype);
    return unit == UNIT_rows ? (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT : 0;
}

/* ---- the trial ------------------------------------------------------------------------------------------- */

static void note_roots(remat *r, const ir_graph *trial)
{
    for (int k = 0; k < r->kernel_count; k++) {
        const ir_kernel *kernel = &trial->kernel[k];
        r->kernel_root[k] = IR_NONE;
        for (int i = 0; i < kernel->root_count; i++) {
            const ir_value v = kernel->root[i];
            if (v >= (ir_value)r->g->count) continue; /* a copy that fuse has made */
            remat_value *value = &r->value[v];
            const ir_space space = trial->place[v].space;
            const bool block = space == SPACE_batch || (space == SPACE_none && trial->node[v].type.rank < 0);
            r->kernel_root[k] = v;
            value->memory = true;
            value->written = value->from = value->last = value->last_early = k;
            value->row_bytes = block ? count_row_bytes(&trial->node[v].type) : 0;
        }
    }
    for (ir_value v = 0; v < (ir_value)r->g->count; v++)
        if (r->value[v].written >= 0) r->root[r->root_count++] = v;
}

/* Reads, and of roots that begin where an operand ends, that their memory counts once. */
static void note_reads(remat *r, const ir_graph *trial)
{
    for (int k = 0; k < r->kernel_count; k++)
        for (int i = 0; i < trial->kernel[k].read_count; i++) {
            const ir_value base = fuse_base(trial, trial->kernel[k].read[i]);
            if (base < (ir_value)r->g->count) r->value[base].last = k;
        }
    for (size_t i = 0; i < r->root_count; i++) {
        remat_value *own = &r->value[r->root[i]];
        const ir_kernel *kernel = &trial->kernel[own->written];
        for (int j = 0; j < kernel->read_count && own->row_bytes > 0; j++) {
            const ir_value base = fuse_base(trial, kernel->read[j]);
            if (base >= (ir_value)r->g->count || r->value[base].row_bytes != own->row_bytes) continue;
            if (r->value[base].last == own->written && trial->place[base].offset == trial->place[r->root[i]].offset)
                own->from = own->written + 1;
        }
    }
}

static void note_reads_around_peak(remat *r, const ir_graph *trial)
{
    for (ir_value v = 0; v < (ir_value)r->g->count; v++) r->value[v].first_late = REMAT_NEVER;
    for (int k = r->kernel_count - 1; k >= 0; k--)
        for (int i = 0; i < trial->kernel[k].read_count; i++) {
            const ir_value base = fuse_base(trial, trial->kernel[k].read[i]);
            if (base >= (ir_value)r->g->count) continue;
            remat_value *v = &r->value[base];
            if (k > r->peak) v->first_late = k;
            if (k == r->peak) v->read_at_peak = true;
            if (k <= r->peak && k > v->last_early) v->last_early = k;
        }
}

static void add_span(int64_t *change, int from, int to, int64_t bytes)
{
    if (to < from) return;
    change[from] += bytes;
    change[to + 1] -= bytes;
}

static void find_peak(remat *r)
{
    int64_t *change = r->change, now = 0, most = -1;
    for (size_t i = 0; i < r->root_count; i++) {
        const remat_value *v = &r->value[r->root[i]];
        add_span(change, v->from, v->last, v->row_bytes);
    }
    for (int k = 0; k < r->kernel_count; k++) {
        now += change[k];
        if (now > most) r->peak = k;
        most = base_max(most, now);
    }
}

remat *remat_look(const ir_graph *g, const ir_graph *trial, int64_t rows, arena *scratch)
{
    remat *r = arena_new(scratch, remat);
    *r = (remat){.g = g, .scratch = scratch, .rows = rows, .kernel_count = (int)trial->kernel_count};
    r->kernel_root = arena_array(scratch, ir_value, trial->kernel_count + 1);
    r->value = arena_array(scratch, remat_value, g->count + 1);
    r->root = arena_array(scratch, ir_value, g->count + 1);
    r->leaves = arena_array(scratch, remat_leaves, g->count + 1);
    r->chosen = arena_array(scratch, bool, g->count + 1);
    r->again_at = arena_array(scratch, int, g->count + 1);
    r->until = arena_array(scratch, int, g->count + 1);
    r->seen = arena_array(scratch, ir_value, g->count + 1);
    r->change = arena_array(scratch, int64_t, trial->kernel_count + 2);
    for (size_t v = 0; v < g->count; v++) {
        r->value[v].written = -1;
        r->again_at[v] = REMAT_NEVER;
    }
    for (size_t v = 0; v < g->count; v++) r->value[v].memory = fuse_is_source_memory(&g->node[v]);
    note_roots(r, trial);
    note_reads(r, trial);
    find_peak(r);
    note_reads_around_peak(r, trial);
    for (size_t i = 0; i < g->output_count; i++) r->value[fuse_base(g, g->output[i].value)].pinned = true;
    for (size_t i = 0; i < g->update_count; i++) r->value[fuse_base(g, g->update[i].value)].pinned = true;
    return r;
}

/* ---- computing again --------------------------------------------------------------------------------------- */

/* All operations are functions of their operands, random words too; `copy` stands for memory of its own. */
static bool can_compute_again(const ir_node *n)
{
    if (n->type.rank < 0 || n->op == OP_copy) return false;
    switch (ir_op_class(n->op)) {
    case CLASS_MAP:
    case CLASS_MOVE:
    case CLASS_SOURCE:
    case CLASS_REDUCE:
    case CLASS_CONTRACT:
        return true;
    default:
        return n->op == OP_reduce_window;
    }
}

static double count_elements(const remat *r, const ir_type *t)
{
    return t->rank < 0 ? 0 : (double)ir_type_elements_at(t, r->rows);
}

static double count_bytes(const remat *r, ir_value v)
{
    const ir_type *t = ir_type_of(r->g, v);
    return count_elements(r, t) * (double)ir_dtype_size(t->dtype);
}

static double count_product(const int64_t *item, int count)
{
    double product = 1;
    for (int i = 0; i < count; i++) product *= (double)item[i];
    return product;
}

static double count_operations(const remat *r, const ir_node *n)
{
    const double own = count_elements(r, &n->type);
    int count;
    if (n->op == OP_dot_general) {
        const int64_t *dimension = ir_attr_ints(n, ATTR_lhs_contracting, &count);
        ir_type contracted = {.rank = count};
        for (int i = 0; i < count; i++) contracted.dim[i] = ir_type_of(r->g, n->in[0])->dim[dimension[i]];
        return 2 * own * count_elements(r, &contracted);
    }
    if (n->op == OP_convolution) {
        ir_type kernel = *ir_type_of(r->g, n->in[1]);
        const char *layout = ir_attr_text(n, ATTR_rhs_layout);
        kernel.dim[strchr(layout, 'o') - layout] = ir_fixed(1);
        return 2 * own * count_elements(r, &kernel);
    }
    if (n->op == OP_reduce_window) {
        const int64_t *size = ir_attr_ints(n, ATTR_window_dimensions, &count);
        return own * count_product(size, count);
    }
    if (ir_op_class(n->op) == CLASS_REDUCE) return count_elements(r, ir_type_of(r->g, n->in[0]));
    return n->op == OP_rng_philox ? 24 * own : own;
}

static void add_leaf(remat *r, remat_leaves *to, ir_value v)
{
    if (r->g->node[v].op == OP_copy) to->bad = true; /* a loop may have written over it */
    to->work += WORK_OF_BYTE * count_bytes(r, v);
    arena_push(r->scratch, to->value, to->count, to->capacity, v);
}

/* Walks the chain of root down to memory. */
static void walk_chain(remat *r, remat_leaves *to, ir_value root)
{
    ir_value *stack = NULL;
    size_t count = 0, capacity = 0, visited = 0;
    arena_push(r->scratch, stack, count, capacity, root);
    while (count > 0 && !to->bad) {
        const ir_value v = stack[--count];
        const ir_node *n = &r->g->node[v];
        to->bad = visited++ > MOST_CHAIN || (!can_compute_again(n) && !passes_is_view(n));
        to->operations += passes_is_view(n) ? 0 : count_operations(r, n);
        for (int i = 0; i < n->in_count && n->op != OP_dimension_size; i++) {
            const ir_value in = n->in[i];
            if (r->seen[in] == root + 1) continue;
            r->seen[in] = root + 1;
            if (r->value[in].memory)
                add_leaf(r, to, in);
            else
                arena_push(r->scratch, stack, count, capacity, in);
        }
    }
}

const remat_leaves *remat_leaves_of(remat *r, ir_value root)
{
    remat_leaves *to = &r->leaves[root];
    if (to->known) return to;
    to->known = true;
    to->work = WORK_OF_BYTE * count_bytes(r, root);
    walk_chain(r, to, root);
    to->work += to->operations;
    return to;
}

bool remat_is_remade(const remat *r, ir_value leaf)
{
    const remat_value *v = &r->value[leaf];
    if (r->chosen[leaf]) return true;
    const remat_leaves *l = &r->leaves[leaf];
    return v->written >= 0 && v->row_bytes > 0 && !v->pinned && v->last < r->peak && l->known && !l->bad &&
           ir_op_class(r->g->node[leaf].op) != CLASS_CONTRACT;
}

/* ---- what if ------------------------------------------------------------------------------------------------- */

/* again_at and until. Users come before what they use. */
static void find_times(remat *r)
{
    memset(r->until, 0, (r->g->count + 1) * sizeof *r->until);
    for (size_t i = 0; i < r->root_count; i++) r->again_at[r->root[i]] = REMAT_NEVER;
    for (size_t i = r->root_count; i-- > 0;) {
        const ir_value v = r->root[i];
        if (r->chosen[v]) r->again_at[v] = (int)base_min(r->again_at[v], r->value[v].first_late);
        if (r->again_at[v] == REMAT_NEVER) continue;
        const remat_leaves *l = remat_leaves_of(r, v);
        for (size_t j = 0; j < l->count; j++) {
            const ir_value leaf = l->value[j];
            if (r->value[leaf].written >= 0) remat_leaves_of(r, leaf);
            r->until[leaf] = (int)base_max(r->until[leaf], r->again_at[v]);
            if (remat_is_remade(r, leaf)) r->again_at[leaf] = (int)base_min(r->again_at[leaf], r->again_at[v]);
        }
    }
}

int64_t remat_simulate(remat *r, int64_t *at_peak)
{
    const int *until = r->until;
    int64_t *change = r->change, now = 0, most = 0;
    find_times(r);
    memset(change, 0, ((size_t)r->kernel_count + 2) * sizeof *change);
    for (size_t i = 0; i < r->root_count; i++) {
        const ir_value v = r->root[i];
        const remat_value *value = &r->value[v];
        const int last = (int)base_max(value->last, until[v]);
        if (r->again_at[v] == REMAT_NEVER) {
            add_span(change, value->from, last, value->row_bytes);
            continue;
        }
        add_span(change, value->from, value->last_early, value->row_bytes);
        add_span(change, r->again_at[v], last, value->row_bytes);
    }
    for (int k = 0; k < r->kernel_count; k++) {
        now += change[k];
        most = base_max(most, now);
        if (k == r->peak) *at_peak = now;
    }
    return most;
}
