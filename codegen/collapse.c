/* collapse.c: drops dims of size 1 and merges adjacent dims of a body wherever no operation tells them apart.
 * Both are questions of equality: dims that must be treated alike are united into classes, operations that
 * need a dim of its own mark its class, and what is not marked goes. A `seam` is the border between a kept
 * dim and the kept dim before it; marked seams stay. */
#include "codegen/collapse.h"

int collapse_find(collapse *k, int x)
{
    while (k->up[x] != x) x = k->up[x] = k->up[k->up[x]];
    return x;
}

static void unite(collapse *k, int x, int y)
{
    x = collapse_find(k, x);
    y = collapse_find(k, y);
    k->mark[x] |= k->mark[y];
    k->up[y] = x;
}

static void mark(collapse *k, ir_value v, int d) { k->mark[collapse_find(k, k->first[v] + d)] = true; }
static const ir_type *type_of(const collapse *k, ir_value v) { return &k->g->node[v].type; }

/* All dims of an operation and its operands. */
static void mark_all(collapse *k, ir_value v, const ir_node *n)
{
    for (int d = 0; d < n->type.rank; d++) mark(k, v, d);
    for (int i = 0; i < n->in_count; i++) {
        for (int d = 0; d < type_of(k, n->in[i])->rank; d++) mark(k, n->in[i], d);
    }
}

static bool is_unit(ir_dim d) { return d.count == 1 && !d.batch; }

/* ---- what an operation does to a dim -------------------------------------------------------- */

static bool is_nonzero(const ir_node *n, ir_attr_name name, int d, int64_t neutral)
{
    int count;
    const int64_t *item = ir_attr_ints(n, name, &count);
    return item && item[d] != neutral;
}

/* MOVE ops whose operands and result have one rank: is dim d of them more than passed through? */
static bool is_touched(const collapse *k, const ir_node *n, int d)
{
    const ir_type *in = type_of(k, n->in[0]);
    switch ((int)n->op) {
    case OP_slice:
        return is_nonzero(n, ATTR_start, d, 0) || is_nonzero(n, ATTR_strides, d, 1) ||
               !ir_dim_equal(in->dim[d], n->type.dim[d]);
    case OP_pad:
        return is_nonzero(n, ATTR_low, d, 0) || is_nonzero(n, ATTR_high, d, 0) ||
               is_nonzero(n, ATTR_interior, d, 0);
    case OP_reverse:
        return ir_attr_lists(n, ATTR_dimensions, d);
    case OP_concatenate:
        return ir_attr_int(n, ATTR_dimension, 0) == d;
    case OP_dynamic_slice:
        return !ir_dim_equal(in->dim[d], n->type.dim[d]);
    case OP_dynamic_update_slice:
        return !ir_dim_equal(in->dim[d], type_of(k, n->in[1])->dim[d]);
    default:
        return false;
    }
}

/* How many operands have the result's rank and dims, apart from touched ones. */
static int alike_count(const ir_node *n)
{
    switch ((int)n->op) {
    case OP_slice:
    case OP_pad:
    case OP_reverse:
    case OP_dynamic_slice:
        return 1;
    case OP_dynamic_update_slice:
        return 2;
    case OP_concatenate:
        return n->in_count;
    default:
        return ir_op_class(n->op) == CLASS_MAP ? n->in_count : 0;
    }
}

static bool is_reduced(const ir_node *n, int d)
{
    return n->op == OP_arg_reduce ? ir_attr_int(n, ATTR_dimension, 0) == d : ir_attr_lists(n, ATTR_dimensions, d);
}

static int splits_dims(const ir_node *n) { return ir_attr_find(n, ATTR_splits) != NULL; }

/* Ops that are left as they are: nothing is known about their dims here. */
bool collapse_is_rigid(const ir_node *n)
{
    switch (ir_op_class(n->op)) {
    case CLASS_CONTRACT:
    case CLASS_NEST:
    case CLASS_TUPLE:
        return true;
    case CLASS_MOVE:
        return n->op == OP_gather;
    case CLASS_MAP:
    case CLASS_SOURCE:
    case CLASS_VIEW:
    case CLASS_REDUCE:
        break;
    }
    return false;
}

/* ---- first round: which dims of size 1 are kept --------------------------------------------- */

static void keep_broadcast(collapse *k, ir_value v, const ir_node *n)
{
    int count;
    const int64_t *to = ir_attr_ints(n, ATTR_dimensions, &count);
    for (int d = 0; d < count; d++) {
        bool both = is_unit(type_of(k, n->in[0])->dim[d]) && is_unit(n->type.dim[to[d]]);
        if (both) unite(k, k->first[n->in[0]] + d, k->first[v] + (int)to[d]);
    }
}

static void keep_reduce(collapse *k, ir_value v, const ir_node *n)
{
    int out = splits_dims(n);
    if (out) mark(k, v, 0);
    for (int d = 0; d < type_of(k, n->in[0])->rank; d++) {
        if (is_reduced(n, d)) {
            mark(k, n->in[0], d);
        } else {
            unite(k, k->first[n->in[0]] + d, k->first[v] + out++);
        }
    }
}

static void keep_node(collapse *k, ir_value v)
{
    const ir_node *n = &k->g->node[v];
    if (collapse_is_rigid(n)) {
        mark_all(k, v, n);
        return;
    }
    if (n->op == OP_broadcast_in_dim) keep_broadcast(k, v, n);
    if (ir_op_class(n->op) == CLASS_REDUCE) keep_reduce(k, v, n);
    if (n->op == OP_iota && n->type.rank) mark(k, v, (int)ir_attr_int(n, ATTR_dimension, 0));
    if (n->op == OP_rng_philox && type_of(k, n->in[0])->rank) mark(k, n->in[0], 0);
    if (n->op == OP_transpose) {
        int count;
        const int64_t *from = ir_attr_ints(n, ATTR_dimensions, &count);
        for (int d = 0; d < count; d++) unite(k, k->first[n->in[0]] + (int)from[d], k->first[v] + d);
    }
    for (int i = 0; i < alike_count(n); i++) {
        for (int d = 0; d < n->type.rank; d++) {
            if (is_touched(k, n, d)) {
                mark(k, n->in[i], d);
                mark(k, v, d);
            } else {
                unite(k, k->first[n->in[i]] + d, k->first[v] + d);
            }
        }
    }
}

/* ---- second round: which seams are kept ----------------------------------------------------- */

static bool is_kept(const collapse *k, ir_value v, int d) { return !k->drop[k->first[v] + d]; }

static int next_kept(const collapse *k, ir_value v, int d)
{
    do {
        d++;
    } while (d < type_of(k, v)->rank && !is_kept(k, v, d));
    return d;
}

static void cut_around(collapse *k, ir_value v, int d)
{
    mark(k, v, d);
    int next = next_kept(k, v, d);
    if (next < type_of(k, v)->rank) mark(k, v, next);
}

/* x and y are two values with the same elements in another arrangement: dim d of y goes to to[d] of x, or -1.
 * A seam of either that is none in the other stays; the others are the same seam. */
static void seams_by_map(collapse *k, ir_value x, ir_value y, const int *to)
{
    bool met[IR_MAX_RANK] = {false};
    int from[IR_MAX_RANK];
    for (int d = 0; d < IR_MAX_RANK; d++) from[d] = -1;
    for (int d = 0; d < type_of(k, y)->rank; d++) {
        if (is_kept(k, y, d) && to[d] >= 0) from[to[d]] = d;
    }
    const int rank = type_of(k, y)->rank;
    for (int d = next_kept(k, y, -1), next; (next = next_kept(k, y, d)) < rank; d = next) {
        if (to[d] < 0 && to[next] < 0) continue;
        bool together = to[d] >= 0 && to[next] >= 0 && next_kept(k, x, to[d]) == to[next];
        if (together) {
            unite(k, k->first[y] + next, k->first[x] + to[next]);
            met[to[next]] = true;
        } else {
            mark(k, y, next);
        }
    }
    const int x_rank = type_of(k, x)->rank;
    for (int d = next_kept(k, x, -1), next; (next = next_kept(k, x, d)) < x_rank; d = next) {
        if (!met[next] && (from[d] >= 0 || from[next] >= 0)) mark(k, x, next);
    }
}

static void seams_broadcast(collapse *k, ir_value v, const ir_node *n)
{
    int count, goes[IR_MAX_RANK];
    const int64_t *to = ir_attr_ints(n, ATTR_dimensions, &count);
    for (int d = 0; d < count; d++) {
        bool expanded = is_unit(type_of(k, n->in[0])->dim[d]) && !is_unit(n->type.dim[to[d]]);
        goes[d] = expanded || !is_kept(k, v, (int)to[d]) ? -1 : (int)to[d];
    }
    for (int d = 0; d < count; d++) {
        if (goes[d] < 0 && is_kept(k, n->in[0], d)) cut_around(k, n->in[0], d);
    }
    seams_by_map(k, v, n->in[0], goes);
}

static void seams_reduce(collapse *k, ir_value v, const ir_node *n)
{
    int goes[IR_MAX_RANK], out = splits_dims(n);
    if (out) cut_around(k, v, 0);
    for (int d = 0; d < type_of(k, n->in[0])->rank; d++) goes[d] = is_reduced(n, d) ? -1 : out++;
    if (n->op == OP_arg_reduce) cut_around(k, n->in[0], (int)ir_attr_int(n, ATTR_dimension, 0));
    seams_by_map(k, v, n->in[0], goes);
}

static ir_dim times(ir_dim a, ir_dim b) { return (ir_dim){a.count * b.count, a.batch | b.batch}; }

/* reshape: where a prefix of both shapes has equal size, the seams are one. */
static void seams_reshape(collapse *k, ir_value v, const ir_node *n)
{
    ir_value u = n->in[0];
    const ir_type *x = &n->type, *y = type_of(k, u);
    int i = next_kept(k, v, -1), j = next_kept(k, u, -1);
    ir_dim a = ir_fixed(1), b = ir_fixed(1);
    while (i < x->rank && j < y->rank) {
        a = times(a, x->dim[i]);
        b = times(b, y->dim[j]);
        i = next_kept(k, v, i);
        j = next_kept(k, u, j);
        while (!ir_dim_equal(a, b) && (i < x->rank || j < y->rank)) {
            bool left = a.batch == b.batch ? a.count < b.count : !a.batch;
            left = i >= x->rank ? false : j >= y->rank ? true : left;
            if (left) {
                a = times(a, x->dim[i]);
                i = next_kept(k, v, i);
            } else {
                b = times(b, y->dim[j]);
                j = next_kept(k, u, j);
            }
        }
        if (ir_dim_equal(a, b) && i < x->rank && j < y->rank) unite(k, k->first[v] + i, k->first[u] + j);
    }
}

static void seams_alike(collapse *k, ir_value v, const ir_node *n)
{
    int same[IR_MAX_RANK];
    for (int d = 0; d < IR_MAX_RANK; d++) same[d] = d;
    for (int i = 0; i < alike_count(n); i++) {
        seams_by_map(k, v, n->in[i], same);
        for (int d = 0; d < n->type.rank; d++) {
            if (!is_touched(k, n, d)) continue;
            cut_around(k, v, d);
            cut_around(k, n->in[i], d);
        }
    }
}

static void seams_node(collapse *k, ir_value v)
{
    const ir_node *n = &k->g->node[v];
    if (collapse_is_rigid(n)) {
        mark_all(k, v, n);
        return;
    }
    if (n->op == OP_broadcast_in_dim) seams_broadcast(k, v, n);
    if (ir_op_class(n->op) == CLASS_REDUCE) seams_reduce(k, v, n);
    if (n->op == OP_iota && n->type.rank) cut_around(k, v, (int)ir_attr_int(n, ATTR_dimension, 0));
    if (n->op == OP_reshape) seams_reshape(k, v, n);
    if (n->op == OP_transpose) {
        int count, goes[IR_MAX_RANK];
        const int64_t *from = ir_attr_ints(n, ATTR_dimensions, &count);
        for (int d = 0; d < count; d++) goes[from[d]] = d;
        seams_by_map(k, v, n->in[0], goes);
    }
    seams_alike(k, v, n);
    bool batch = false;
    for (int d = 0; d < n->type.rank; d++) {
        /* N * N has no type */
        if (n->type.dim[d].batch && batch) mark(k, v, d);
        batch |= n->type.dim[d].batch;
    }
}

/* ---- the kernel's own wishes ---------------------------------------------------------------- */

/* Values that one loop nest walks together must keep their shapes alike. */
static void unite_values(collapse *k, ir_value x, ir_value y)
{
    if (!ir_type_same_shape(type_of(k, x), type_of(k, y))) return;
    for (int d = 0; d < type_of(k, x)->rank; d++) unite(k, k->first[x] + d, k->first[y] + d);
}

static bool is_reduce(const collapse *k, ir_value v) { return ir_op_class(k->g->node[v].op) == CLASS_REDUCE; }

/* A loop goes over the parts of what it concatenates as over its other roots. */
static void unite_parts(collapse *k, const cg_body *b)
{
    for (int r = 0; r < b->root_count; r++) {
        const ir_node *n = &k->g->node[b->root[r]];
        if (b->kind != KERNEL_loop || !ir_concatenate_part(k->g, n)) continue;
        for (int i = 0; i < n->in_count; i++) {
            for (int s = 0; s < b->root_count; s++) {
                const ir_node *other = &k->g->node[b->root[s]];
                unite_values(k, n->in[i], ir_concatenate_part(k->g, other) ? other->in[0] : b->root[s]);
            }
        }
    }
}

static void unite_roots(collapse *k, const cg_body *b)
{
    unite_parts(k, b);
    for (int r = 0; r < b->root_count; r++) {
        for (int s = r + 1; s < b->root_count; s++) {
            unite_values(k, b->root[r], b->root[s]);
            if (is_reduce(k, b->root[r]) && is_reduce(k, b->root[s])) {
                unite_values(k, k->g->node[b->root[r]].in[0], k->g->node[b->root[s]].in[0]);
            }
        }
    }
    if (b->kind != KERNEL_row) return;
    const int rows = type_of(k, b->full)->rank - b->columns;
    for (int r = 0; r < b->root_count; r++) {
        const ir_value v = b->root[r];
        if (ir_type_same_shape(type_of(k, v), type_of(k, b->full))) {
            unite_values(k, v, b->full);
        } else {
            /* row scalars, perhaps with columns of 1 */
            for (int d = 0; d < rows && d < type_of(k, v)->rank; d++) {
                unite(k, k->first[v] + d, k->first[b->full] + d);
            }
        }
    }
}

/* The border between rows and columns. */
static void cut_columns(collapse *k, const cg_body *b)
{
    if (b->kind != KERNEL_row) return;
    int d = next_kept(k, b->full, type_of(k, b->full)->rank - b->columns - 1);
    if (d < type_of(k, b->full)->rank) mark(k, b->full, d);
}

static void reset(collapse *k, int dims)
{
    for (int i = 0; i < dims; i++) {
        k->up[i] = i;
        k->mark[i] = false;
    }
}

void cg_body_collapse(arena *a, cg_body *b)
{
    ir_graph *g = (ir_graph *)(uintptr_t)b->graph; /* the body's own, just made */
    const ir_value count = (ir_value)g->count;
    collapse k = {.a = a, .g = g, .first = arena_array(a, int, g->count)};
    int dims = 0;
    for (ir_value v = 0; v < count; v++) {
        k.first[v] = dims;
        dims += g->node[v].type.rank > 0 ? g->node[v].type.rank : 0;
    }
    k.up = arena_array(a, int, (size_t)dims + 1);
    k.mark = arena_array(a, bool, (size_t)dims + 1);
    k.drop = arena_array(a, bool, (size_t)dims + 1);
    reset(&k, dims);
    unite_roots(&k, b);
    for (ir_value v = 0; v < count; v++) keep_node(&k, v);
    for (ir_value v = 0; v < count; v++) {
        for (int d = 0; d < g->node[v].type.rank; d++) {
            k.drop[k.first[v] + d] =
                is_unit(g->node[v].type.dim[d]) && !k.mark[collapse_find(&k, k.first[v] + d)];
        }
    }
    reset(&k, dims);
    unite_roots(&k, b);
    for (ir_value v = 0; v < count; v++) seams_node(&k, v);
    cut_columns(&k, b);
    if (b->kind == KERNEL_row) {
        const int rank = g->node[b->full].type.rank, rows = rank - b->columns;
        int before = rows ? collapse_group_of(&k, b->full, rows - 1) : -1;
        b->columns = collapse_group_of(&k, b->full, rank - 1) - before;
    }
    collapse_rewrite(&k);
}
