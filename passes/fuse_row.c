/* fuse_row.c: softmax, layer normalization and their like: reduces over the trailing dims and maps around
 * them become one kernel that does a row at a time, while the row is in the cache. A group joins when all it
 * exchanges with the others lies at the same row. */
#include "passes/fuse.h"

enum {
    ROW_COLUMNS = 16384, /* elements of a row, at most: several such rows fit the cache */
    ROW_COUNT = 64,      /* rows, at least, when their number is fixed: each is a task */
    ROW_ROOTS = 12
};

typedef struct rows {
    ir_type full; /* rows x columns */
    int columns;  /* trailing dims */
} rows;

/* Where a chain reads a value, seen from the row that is being computed. */
typedef enum row_at { ROW_FULL, ROW_SCALAR, ROW_ELSEWHERE } row_at;

static bool is_row_shape(const rows *r, const ir_type *t)
{
    const int lead = r->full.rank - r->columns;
    if (t->rank < lead || t->rank > r->full.rank) return false;
    for (int i = 0; i < t->rank; i++)
        if (!ir_dim_equal(t->dim[i], i < lead ? r->full.dim[i] : ir_fixed(1))) return false;
    return true;
}

static bool has_row_elements(const rows *r, const ir_type *t)
{
    ir_type lead = r->full;
    ir_dim a, b;
    lead.rank -= r->columns;
    return t->rank >= 0 && ir_type_elements(t, &a) && ir_type_elements(&lead, &b) && ir_dim_equal(a, b);
}

/* The rows that reduce v has: false when it is not over the trailing dims or does not suit a row kernel. */
static bool find_rows(const ir_graph *g, ir_value v, rows *out)
{
    const ir_node *n = &g->node[v];
    int count;
    if (n->op != OP_reduce || ir_attr_find(n, ATTR_splits)) return false;
    const int64_t *dimension = ir_attr_ints(n, ATTR_dimensions, &count);
    const ir_type *t = ir_type_of(g, n->in[0]);
    int64_t columns = 1, lead = 1;
    bool batch = false;
    for (int i = 0; i < t->rank - count; i++) {
        lead = base_min(lead * t->dim[i].count, INT32_MAX);
        batch = batch || t->dim[i].batch;
    }
    for (int i = 0; i < count; i++) {
        const ir_dim dim = t->dim[t->rank - count + i];
        if (dimension[i] != t->rank - count + i || dim.batch) return false;
        columns = base_min(columns * dim.count, INT32_MAX);
    }
    *out = (rows){*t, count};
    return count > 0 && columns > 1 && columns <= ROW_COLUMNS && (batch || lead >= ROW_COUNT);
}

static bool reduces_same(const ir_graph *g, const ir_node *n, const rows *r)
{
    int count;
    const int64_t *dimension = ir_attr_ints(n, ATTR_dimensions, &count);
    if (n->op != OP_reduce || ir_attr_find(n, ATTR_splits) || count != r->columns) return false;
    for (int i = 0; i < count; i++)
        if (dimension[i] != r->full.rank - count + i) return false;
    return ir_type_same_shape(ir_type_of(g, n->in[0]), &r->full);
}

/* How a row kernel would treat root v: false when it cannot. */
static bool find_root_place(const ir_graph *g, const rows *r, ir_value v, row_at *out_at)
{
    const ir_node *n = &g->node[v];
    *out_at = ROW_FULL;
    if (reduces_same(g, n, r)) return true;
    if (ir_op_class(n->op) != CLASS_MAP) return false;
    if (ir_type_same_shape(&n->type, &r->full)) return true;
    *out_at = ROW_SCALAR;
    return is_row_shape(r, &n->type);
}

static row_at follow_broadcast(const ir_graph *g, const rows *r, const ir_node *n, row_at at)
{
    const ir_type *t = ir_type_of(g, n->in[0]);
    int count;
    const int64_t *dimension = ir_attr_ints(n, ATTR_dimensions, &count);
    for (int i = 0; i < count; i++)
        if (dimension[i] != i) return ROW_ELSEWHERE;
    if (at == ROW_SCALAR) return has_row_elements(r, t) ? ROW_SCALAR : ROW_ELSEWHERE;
    if (ir_type_same_shape(t, &n->type)) return ROW_FULL;
    return is_row_shape(r, t) ? ROW_SCALAR : ROW_ELSEWHERE;
}

static row_at follow(const ir_graph *g, const rows *r, const ir_node *n, row_at at)
{
    if (at == ROW_ELSEWHERE || ir_op_class(n->op) == CLASS_MAP || n->op == OP_reduce) return at;
    if (n->op == OP_broadcast_in_dim) return follow_broadcast(g, r, n, at);
    return n->op == OP_reshape && at == ROW_SCALAR ? ROW_SCALAR : ROW_ELSEWHERE;
}

typedef struct row_check {
    fuse *f;
    const rows *rows;
    int a, b;  /* the groups that would become one */
    int *seen; /* per value and row_at: the last walk that was there */
} row_check;

static void push_at(row_check *c, ir_value v, row_at at)
{
    fuse *f = c->f;
    if (c->seen[v * 3 + (ir_value)at] == f->walk) return;
    c->seen[v * 3 + (ir_value)at] = f->walk;
    arena_push(f->scratch, f->stack, f->stack_count, f->stack_capacity, v * 4 + (ir_value)at);
}

static bool leaf_fits(const row_check *c, ir_value v, row_at at)
{
    const fuse *f = c->f;
    const ir_value base = fuse_base(f->g, v);
    const int group = f->group[base];
    if (group < 0 || (group != c->a && group != c->b)) return true;
    if (at == ROW_FULL) return v == base && ir_type_same_shape(ir_type_of(f->g, v), &c->rows->full);
    return at == ROW_SCALAR && has_row_elements(c->rows, ir_type_of(f->g, base));
}

static bool root_fits(row_check *c, ir_value root)
{
    fuse *f = c->f;
    row_at at;
    if (!find_root_place(f->g, c->rows, root, &at)) return false;
    f->stack_count = 0;
    f->walk++;
    bool fits = true;
    const ir_node *n = &f->g->node[root];
    for (int i = 0; i < n->in_count; i++) push_at(c, n->in[i], at);
    while (f->stack_count > 0) {
        const ir_value item = f->stack[--f->stack_count], v = item / 4;
        const row_at here = (row_at)(item % 4);
        if (f->memory[v]) {
            fits = fits && leaf_fits(c, v, here);
            continue;
        }
        n = &f->g->node[v];
        if (n->op == OP_dimension_size) continue;
        for (int i = 0; i < n->in_count; i++) push_at(c, n->in[i], follow(f->g, c->rows, n, here));
    }
    return fits;
}

static bool group_fits(row_check *c, int group)
{
    const fuse_group *k = &c->f->groups[group];
    for (size_t i = 0; i < k->root_count; i++)
        if (!root_fits(c, k->root[i])) return false;
    return true;
}

static bool can_join_row(fuse *f, const rows *r, int row, int other, int *seen)
{
    const fuse_group *k = &f->groups[other];
    if (other == row || k->gone || (k->kind != KERNEL_loop && k->kind != KERNEL_reduce)) return false;
    if (f->groups[row].root_count + k->root_count > ROW_ROOTS) return false;
    row_check c = {f, r, row, other, seen};
    return group_fits(&c, other) && group_fits(&c, row) && fuse_can_merge(f, row, other);
}

/* Whether group `reader` reads something that `row` writes. */
static bool reads_from(fuse *f, int reader, int row)
{
    const fuse_group *k = &f->groups[reader];
    for (size_t i = 0; i < k->root_count; i++) {
        const fuse_leaves *l = fuse_leaves_of(f, k->root[i]);
        for (size_t j = 0; j < l->count; j++)
            if (f->group[l->leaf[j].base] == row) return true;
    }
    return false;
}

/* Groups are numbered in graph order: what reads the row comes after its seed, what feeds it before. */
static bool grow_row(fuse *f, const rows *r, int row, int *seen)
{
    for (int i = row + 1; i < (int)f->group_count; i++) {
        if (f->groups[i].gone || !reads_from(f, i, row) || !can_join_row(f, r, row, i, seen)) continue;
        fuse_merge(f, row, i);
        return true;
    }
    for (size_t i = 0; i < f->groups[row].root_count; i++) {
        const fuse_leaves *l = fuse_leaves_of(f, f->groups[row].root[i]);
        for (size_t j = 0; j < l->count; j++) {
            const int feeder = f->group[l->leaf[j].base];
            if (feeder < 0 || !can_join_row(f, r, row, feeder, seen)) continue;
            fuse_merge(f, row, feeder);
            return true;
        }
    }
    return false;
}

void fuse_form_rows(fuse *f)
{
    int *seen = arena_array(f->scratch, int, f->capacity * 3);
    for (int i = 0; i < (int)f->group_count; i++) {
        fuse_group *k = &f->groups[i];
        rows r;
        if (k->gone || k->kind != KERNEL_reduce || !find_rows(f->g, k->root[0], &r)) continue;
        bool grew = false;
        while (grow_row(f, &r, i, seen)) grew = true;
        if (!grew) continue;
        f->groups[i].kind = KERNEL_row;
        f->groups[i].columns = r.columns;
    }
}
