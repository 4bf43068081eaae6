/* remat_rewrite.c: the graph anew, with a second node for each value that is computed again, just before the first late
 * kernel that needs it. Three kinds of users are told apart:
 *   early kernels, and all else that is in memory   take the first node
 *   late kernels      take the second node where there is one; what they compute inside is doubled if it differs
 *   second nodes      the same, and what they compute inside is always theirs alone: shared with early kernels it would
 *                     rather be kept in memory
 * An order with the kernel before keeps fuse from computing second nodes with the first ones. */
#include "passes/remat.h"

typedef enum place { LATE, AGAIN, PLACES } place;

typedef struct twin {
    const remat *r;
    rewrite w;              /* w.map: the first nodes */
    ir_value *made[PLACES]; /* per value: the node for such users; IR_NONE: not asked for yet */
    ir_value *stack;        /* value * PLACES + place */
    size_t count, capacity;
    ir_value *wanted;       /* the same */
    size_t wanted_count, wanted_capacity;
} twin;

static bool is_again(const twin *t, ir_value v) { return t->r->value[v].memory && t->r->again_at[v] != REMAT_NEVER; }

static void want(twin *t, ir_value v, place p)
{
    if (t->r->value[v].memory && !is_again(t, v)) return;
    if (is_again(t, v)) p = AGAIN;
    if (t->made[p][v] != IR_NONE) return;
    t->made[p][v] = 0; /* on its way */
    arena_push(t->r->scratch, t->stack, t->count, t->capacity, v * PLACES + (ir_value)p);
    arena_push(t->r->scratch, t->wanted, t->wanted_count, t->wanted_capacity, v * PLACES + (ir_value)p);
}

static void want_operands(twin *t, ir_value v, place p)
{
    const ir_node *n = &t->r->g->node[v];
    for (int i = 0; i < n->in_count && n->op != OP_dimension_size; i++) want(t, n->in[i], p);
}

static ir_value find_made(const twin *t, ir_value v, place p)
{
    if (is_again(t, v)) return t->made[AGAIN][v];
    return t->r->value[v].memory ? t->w.map[v] : t->made[p][v];
}

/* v on the operands that users at p take; the first node when that is the same. */
static ir_value make(twin *t, ir_value v, place p)
{
    const ir_node *n = &t->r->g->node[v];
    ir_value *in = arena_array(t->r->scratch, ir_value, (size_t)n->in_count + 1);
    bool same = p == LATE && t->w.map[v] != IR_NONE;
    for (int i = 0; i < n->in_count; i++) {
        in[i] = n->op == OP_dimension_size ? t->w.map[n->in[i]] : find_made(t, n->in[i], p);
        same = same && in[i] == t->w.map[n->in[i]];
    }
    if (same) return t->w.map[v];
    const ir_value made = ir_build(t->w.to, n->op, n->in_count, in, n->attr_count, n->attr, &n->type);
    t->w.to->node[made].origin = n->origin;
    return made;
}

static ir_value make_late(twin *t, ir_value v)
{
    t->wanted_count = 0;
    want_operands(t, v, LATE);
    while (t->count > 0) {
        const ir_value item = t->stack[--t->count];
        want_operands(t, item / PLACES, (place)(item % PLACES));
    }
    fuse_sort_values(t->wanted, t->wanted_count);
    for (size_t i = 0; i < t->wanted_count; i++) {
        const ir_value item = t->wanted[i];
        const place p = (place)(item % PLACES);
        t->made[p][item / PLACES] = make(t, item / PLACES, p);
    }
    return make(t, v, LATE);
}

/* What is computed again waits for the kernel before the first that needs it. */
static void add_orders(const twin *t, ir_graph *g)
{
    const remat *r = t->r;
    for (size_t i = 0; i < r->root_count; i++) {
        const ir_value v = r->root[i];
        if (r->again_at[v] == REMAT_NEVER || t->made[AGAIN][v] == IR_NONE) continue;
        int k = r->again_at[v] - 1;
        while (k > 0 && r->kernel_root[k] == IR_NONE) k--;
        if (k < 0 || r->kernel_root[k] == IR_NONE) continue;
        const ir_order order = {t->made[AGAIN][v], t->w.map[r->kernel_root[k]]};
        arena_push(g->arena, g->order, g->order_count, g->order_capacity, order);
    }
}

void remat_rewrite(const remat *r, ir_graph *g)
{
    twin t = {.r = r};
    rewrite_begin(&t.w, g, r->scratch);
    for (int p = 0; p < PLACES; p++) {
        t.made[p] = arena_array(r->scratch, ir_value, g->count + 1);
        for (size_t v = 0; v < g->count; v++) t.made[p][v] = IR_NONE;
    }
    for (ir_value v = 0; v < (ir_value)g->count; v++) {
        if (r->value[v].written > r->peak)
            t.w.map[v] = make_late(&t, v);
        else
            rewrite_copy(&t.w, v);
    }
    rewrite_end(&t.w);
    add_orders(&t, g);
}
