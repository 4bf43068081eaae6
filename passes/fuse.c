/* fuse.c: forms kernels. Requires a swept graph without kernels; leaves kernels in an order in which every
 * one runs after those that write what it reads, and may add `copy` nodes. The promises to codegen are in
 * docs/design.md, "What fuse promises to codegen".
 *
 * In steps: every output and update gets a value of its own; fuse_memory.c chooses what is in memory; each
 * such value is a group; groups merge (fuse_row.c, fuse_merge.c); updates find their place (fuse_update.c);
 * what is left is ordered. A wish for in-place updates never overrides correctness: a copy is always right.
 */
#include "passes/fuse.h"

/* ---- outputs and updates ------------------------------------------------------------------------------ */

/* v, or a copy of it when its bytes already belong to somebody else: a source, or an earlier claim. */
static ir_value claim_value(ir_graph *g, bool *claimed, ir_value v)
{
    const ir_value base = fuse_base(g, v);
    const ir_node *n = &g->node[base];
    if (!fuse_is_source_memory(n) && n->type.rank >= 0 && !claimed[base]) {
        claimed[base] = true;
        return v;
    }
    g->origin = g->node[v].origin;
    return ir_build_unary(g, OP_copy, v);
}

static bool is_own_variable(const ir_graph *g, const ir_binding *u)
{
    const ir_node *n = &g->node[u->value];
    return n->op == OP_variable && ir_attr_int(n, ATTR_index, -1) == u->variable;
}

static void claim_results(ir_graph *g, arena *scratch)
{
    bool *claimed = arena_array(scratch, bool, g->count + 1);
    size_t kept = 0;
    for (size_t i = 0; i < g->update_count; i++)
        if (!is_own_variable(g, &g->update[i])) g->update[kept++] = g->update[i];
    g->update_count = kept;
    for (size_t i = 0; i < g->update_count; i++)
        g->update[i].value = claim_value(g, claimed, g->update[i].value);
    for (size_t i = 0; i < g->output_count; i++)
        g->output[i].value = claim_value(g, claimed, g->output[i].value);
}

/* ---- order ----------------------------------------------------------------------------------------------
 */

/* A kernel whose needs are met waits with this key; the lowest runs first. Updates run as soon as they can:
 * that ends the life of their gradient. The rest keeps the order of the graph. */
typedef struct ready_item {
    int64_t key;
    int group;
} ready_item;

typedef struct order {
    fuse *f;
    int *missing; /* per group: needs not yet run */
    int **user;   /* per group: who needs it */
    size_t *user_count, *user_capacity;
    ready_item *heap;
    size_t heap_count;
} order;

static void push_ready(order *o, int group)
{
    const fuse_group *k = &o->f->groups[group];
    ready_item item = {0, group};
    for (size_t i = 0; i < k->root_count; i++) item.key = base_max(item.key, k->root[i]);
    if (k->writes_variable) item.key -= INT32_MAX;
    size_t at = o->heap_count++;
    for (; at > 0 && o->heap[(at - 1) / 2].key > item.key; at = (at - 1) / 2)
        o->heap[at] = o->heap[(at - 1) / 2];
    o->heap[at] = item;
}

static int pop_ready(order *o)
{
    const int group = o->heap[0].group;
    const ready_item last = o->heap[--o->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = at * 2 + 1;
        if (child + 1 < o->heap_count && o->heap[child + 1].key < o->heap[child].key) child++;
        if (child >= o->heap_count || o->heap[child].key >= last.key) break;
        o->heap[at] = o->heap[child];
        at = child;
    }
    o->heap[at] = last;
    return group;
}

static void add_need(order *o, int group, int need)
{
    if (need < 0 || need == group) return;
    o->missing[group]++;
    arena_push(o->f->scratch, o->user[need], o->user_count[need], o->user_capacity[need], group);
}

static void add_needs(order *o, int group)
{
    const fuse_group *k = &o->f->groups[group];
    ir_value item;
    for (size_t i = 0; (item = fuse_group_item(k, i)) != IR_NONE; i++) {
        const fuse_leaves *l = fuse_leaves_of(o->f, item);
        for (size_t j = 0; j < l->count; j++) add_need(o, group, o->f->group[l->leaf[j].base]);
        add_need(o, group, fuse_awaited_group(o->f, item));
    }
    for (size_t i = 0; i < k->after_count; i++) add_need(o, group, k->after[i]);
}

/* ---- kernels
 * ------------------------------------------------------------------------------------------------ */

static void write_reads(fuse *f, int group, ir_kernel *out)
{
    size_t count = 0, capacity = 0;
    ir_value *read = NULL, item;
    for (size_t i = 0; (item = fuse_group_item(&f->groups[group], i)) != IR_NONE; i++) {
        const fuse_leaves *l = fuse_leaves_of(f, item);
        for (size_t j = 0; j < l->count; j++)
            if (f->group[l->leaf[j].base] != group)
                arena_push(f->scratch, read, count, capacity, l->leaf[j].value);
    }
    fuse_sort_values(read, count);
    out->read = arena_array(f->g->arena, ir_value, count + 1);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || read[i] != read[i - 1]) out->read[out->read_count++] = read[i];
}

static void write_kernel(fuse *f, int group)
{
    ir_graph *g = f->g;
    const fuse_group *k = &f->groups[group];
    ir_kernel out = {
        .kind = k->kind, .main = k->main, .columns = k->columns, .root_count = (int)k->root_count};
    out.root = arena_copy(g->arena, k->root, k->root_count * sizeof *k->root);
    fuse_sort_values(out.root, k->root_count);
    write_reads(f, group, &out);
    arena_push(g->arena, g->kernel, g->kernel_count, g->kernel_capacity, out);
}

static void write_kernels(fuse *f)
{
    const size_t n = f->group_count;
    order o = {.f = f,
               .missing = arena_array(f->scratch, int, n + 1),
               .user = arena_array(f->scratch, int *, n + 1),
               .user_count = arena_array(f->scratch, size_t, n + 1),
               .user_capacity = arena_array(f->scratch, size_t, n + 1),
               .heap = arena_array(f->scratch, ready_item, n + 1)};
    size_t live = 0;
    for (size_t i = 0; i < n; i++) {
        if (f->groups[i].gone) continue;
        live++;
        add_needs(&o, (int)i);
    }
    for (size_t i = 0; i < n; i++)
        if (!f->groups[i].gone && o.missing[i] == 0) push_ready(&o, (int)i);
    while (o.heap_count > 0) {
        const int group = pop_ready(&o);
        write_kernel(f, group);
        for (size_t i = 0; i < o.user_count[group]; i++)
            if (--o.missing[o.user[group][i]] == 0) push_ready(&o, o.user[group][i]);
    }
    bug_if(f->g->kernel_count != live, "graph %s: %zu of %zu kernels need each other", f->g->name,
           live - f->g->kernel_count, live);
}

static void allocate_tables(fuse *f)
{
    f->live = arena_array(f->scratch, bool, f->capacity);
    f->memory = arena_array(f->scratch, bool, f->capacity);
    f->required = arena_array(f->scratch, bool, f->capacity);
    f->uses = arena_array(f->scratch, int, f->capacity);
    f->demand = arena_array(f->scratch, int, f->capacity);
    f->outside = arena_array(f->scratch, bool, f->capacity);
    f->scores = arena_array(f->scratch, int64_t, f->capacity);
    f->chained = arena_array(f->scratch, bool, f->capacity);
    f->cost = arena_array(f->scratch, int, f->capacity);
    f->array = arena_array(f->scratch, ir_value, f->capacity);
    f->carries = arena_array(f->scratch, ir_value, f->capacity);
    f->group = arena_array(f->scratch, int, f->capacity);
    f->leaves = arena_array(f->scratch, fuse_leaves, f->capacity);
    f->stamp[0] = arena_array(f->scratch, int, f->capacity);
    f->stamp[1] = arena_array(f->scratch, int, f->capacity);
    f->waits_for = arena_array(f->scratch, ir_value, f->capacity);
    for (size_t i = 0; i < f->capacity; i++) {
        f->array[i] = IR_NONE;
        f->group[i] = -1;
        f->waits_for[i] = IR_NONE;
    }
    for (size_t i = 0; i < f->g->order_count; i++) f->waits_for[f->g->order[i].value] = f->g->order[i].after;
}

static void fuse_graph(ir_graph *g, bool is_body, int carried, const passes_options *o)
{
    arena scratch = {0};
    claim_results(g, &scratch);
    fuse f = {.g = g, .is_body = is_body, .carried = carried, .scratch = &scratch};
    f.capacity = g->count + g->update_count + (size_t)carried + 1;
    allocate_tables(&f);
    fuse_choose_memory(&f);
    fuse_form_groups(&f);
    if (o->level > 0) {
        fuse_join_epilogues(&f);
        fuse_form_rows(&f);
        fuse_merge_reduces(&f);
        if (o->level > 1) fuse_join_sums(&f);
        fuse_merge_loops(&f);
        fuse_join_scatters(&f);
        fuse_drop_inner_roots(&f);
    }
    fuse_place_updates(&f);
    write_kernels(&f);
    arena_done(&scratch);
}

/* The body of a scan has kernels of its own; pass_loop has made it belong to this scan alone. */
bool pass_fuse(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)m, (void)d;
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *n = &g->node[v];
        if (n->op != OP_scan) continue;
        fuse_graph(ir_attr_find(n, ATTR_body)->graph, true, (int)ir_attr_int(n, ATTR_carried, 0), o);
    }
    fuse_graph(g, false, 0, o);
    return true;
}
