/* loop.c: kernels whose roots are independent elements over one shape. */
#include "codegen/cg_rules.h"

/* The root's operands when it is a concatenation in parts: each is computed at the index and stored in its part. */
static int part_count(const cg *c, int r)
{
    const ir_node *n = cg_node(c, c->body->root[r]);
    return ir_concatenate_part(c->body->graph, n) ? n->in_count : 0;
}

static const ir_type *loop_shape(const cg *c)
{
    const ir_type *part = ir_concatenate_part(c->body->graph, cg_node(c, c->body->root[0]));
    return part ? part : cg_type(c, c->body->root[0]);
}

static void store_parts(cg *c, int r, const cg_index *at, cg_value *lanes)
{
    const ir_node *n = cg_node(c, c->body->root[r]);
    const int last = n->type.rank - 1;
    for (int i = 0; i < n->in_count; i++) {
        cg_index index = *at;
        index.at[last] = cg_coord_add(c, &at->at[last], cg_i64(c, i * cg_type(c, n->in[i])->dim[last].count));
        cg_root_store(c, r, &index, lanes[i]);
    }
}

/* All roots are computed before any is stored: a root may be an update in place of what another one reads. */
static void store_roots(cg *c, const cg_index *at, int turn, cg_value *value, void *context)
{
    (void)turn, (void)value, (void)context;
    const cg_body *b = c->body;
    cg_value **lanes = arena_array(&c->scratch, cg_value *, (size_t)b->root_count);
    for (int r = 0; r < b->root_count; r++) {
        const int parts = part_count(c, r);
        lanes[r] = arena_array(&c->scratch, cg_value, (size_t)parts + 1);
        if (!parts) lanes[r][0] = cg_element(c, b->root[r], at);
        for (int i = 0; i < parts; i++) lanes[r][i] = cg_element(c, cg_node(c, b->root[r])->in[i], at);
    }
    cg_result *whole = arena_array(&c->scratch, cg_result, (size_t)b->root_count);
    int count = 0;
    for (int r = 0; r < b->root_count; r++) {
        if (part_count(c, r))
            store_parts(c, r, at, lanes[r]);
        else
            whole[count++] = (cg_result){r, *at, lanes[r][0]};
    }
    cg_results_store(c, count, whole);
}

/* One dim: the tasks are pieces of it. */
static void emit_flat(cg *c, cg_walk *w, int64_t grain)
{
    const ir_dim rows = w->shape->dim[0];
    grain = base_ceil_div(grain, CG_ALIGN) * CG_ALIGN;
    if (rows.batch || rows.count > grain) {
        cg_task_rows(c, rows, grain, 1, &w->begin, &w->end, NULL);
    }
    w->count = 1;
    cg_walk_emit(c, w, store_roots, NULL);
    cg_kernel_end(c, rows, grain, 1);
}

/* ---- segments ------------------------------------------------------------------------------- */

/* Where concatenations and paddings along the innermost dim change operands, the dim is cut: inside a segment
 * it is known which operand all elements come from, and vectors need no masks. */
enum { SEGMENTS = 64 };
typedef struct segments {
    int count; /* of borders, the last is the end of the dim */
    int64_t border[SEGMENTS];
    bool *cuts; /* per value: it is one of those operations, read at the roots' own index only */
} segments;

static bool add_border(segments *s, int64_t at)
{
    int i = 0;
    while (i < s->count && s->border[i] < at) i++;
    if (i < s->count && s->border[i] == at) return true;
    if (s->count == SEGMENTS) return false;
    for (int k = s->count++; k > i; k--) s->border[k] = s->border[k - 1];
    s->border[i] = at;
    return true;
}

/* The positions along the last dim where v's operands meet. */
static bool add_borders(const cg *c, ir_value v, segments *s)
{
    const ir_node *n = cg_node(c, v);
    const int last = n->type.rank - 1;
    int64_t at = 0;
    int count;
    if (n->op == OP_pad) {
        at = ir_attr_ints(n, ATTR_low, &count)[last];
        int64_t end = at + cg_type(c, n->in[0])->dim[last].count;
        return (at <= 0 || add_border(s, at)) && (end >= n->type.dim[last].count || add_border(s, end));
    }
    for (int i = 0; i < n->in_count - 1; i++) {
        at += cg_type(c, n->in[i])->dim[last].count;
        if (!add_border(s, at)) return false;
    }
    return true;
}

/* Is v a concatenation or padding along its last dim, of constant sizes? */
static bool is_cut(const cg *c, ir_value v)
{
    const ir_node *n = cg_node(c, v);
    const int last = n->type.rank - 1;
    int count;
    if (last < 0 || n->type.dim[last].batch) return false;
    if (n->op == OP_concatenate) return ir_attr_int(n, ATTR_dimension, 0) == last;
    if (n->op != OP_pad || ir_attr_ints(n, ATTR_interior, &count)[last]) return false;
    return ir_attr_ints(n, ATTR_low, &count)[last] > 0 || ir_attr_ints(n, ATTR_high, &count)[last] > 0;
}

static bool is_in_parts(const cg *c, ir_value v)
{
    for (int r = 0; r < c->body->root_count; r++) {
        if (c->body->root[r] == v) return part_count(c, r) > 0;
    }
    return false;
}

static segments find_segments(cg *c)
{
    const cg_body *b = c->body;
    const ir_type *t = loop_shape(c);
    segments s = {.cuts = arena_array(&c->scratch, bool, b->graph->count)};
    bool *moved = arena_array(&c->scratch, bool, b->graph->count);
    for (ir_value v = (ir_value)b->graph->count - 1; v >= 0; v--) {
        const ir_node *n = cg_node(c, v);
        const bool parts = is_in_parts(c, v), aligned = parts || ir_op_class(n->op) == CLASS_MAP;
        for (int i = 0; i < n->in_count; i++) moved[n->in[i]] |= !aligned || moved[v];
        s.cuts[v] = !moved[v] && !parts && t->rank > 0 && is_cut(c, v);
    }
    for (ir_value v = 0; v < (ir_value)b->graph->count; v++) {
        if (s.cuts[v] && !add_borders(c, v, &s)) return (segments){0};
    }
    if (s.count && !add_border(&s, t->dim[t->rank - 1].count)) s.count = 0;
    return s;
}

/* Which operand of v covers position `at` of the last dim: 1 + its number. */
static int choose_operand(const cg *c, ir_value v, int64_t at)
{
    const ir_node *n = cg_node(c, v);
    const int last = n->type.rank - 1;
    int count;
    if (n->op == OP_pad) {
        at -= ir_attr_ints(n, ATTR_low, &count)[last];
        return at < 0 || at >= cg_type(c, n->in[0])->dim[last].count ? 2 : 1;
    }
    int i = 0;
    for (; i < n->in_count - 1 && at >= cg_type(c, n->in[i])->dim[last].count; i++) {
        at -= cg_type(c, n->in[i])->dim[last].count;
    }
    return 1 + i;
}

static void walk_segments(cg *c, cg_walk *w, const segments *s)
{
    const size_t values = c->body->graph->count;
    if (s->count == 0) {
        cg_walk_emit(c, w, store_roots, NULL);
        return;
    }
    int64_t from = 0;
    for (int i = 0; i < s->count; i++) {
        int *choice = arena_array(&c->scratch, int, values);
        for (ir_value v = 0; v < (ir_value)values; v++)
            choice[v] = s->cuts[v] ? choose_operand(c, v, from) : 0;
        c->choice = choice;
        w->begin = cg_i64(c, from);
        w->end = cg_i64(c, s->border[i]);
        w->unaligned = from % CG_ALIGN != 0;
        cg_memo_clear(c);
        cg_walk_emit(c, w, store_roots, NULL);
        from = s->border[i];
    }
    c->choice = NULL;
}

/* The most rows of a task that are a power of two: batches are multiples of one more often than not, so that all tasks of a
 * step of a scan, which are few, are as long. */
static int64_t even_rows(int64_t most)
{
    int64_t rows = 1;
    while (2 * rows <= most) rows *= 2;
    return rows;
}

/* Several dims: the tasks are blocks of rows, and pieces of long rows when there are few. */
static void emit_rows(cg *c, cg_walk *w, int64_t grain)
{
    const int last = w->shape->rank - 1;
    int outer[IR_MAX_RANK];
    for (int d = 0; d < last; d++) outer[d] = d;
    const ir_dim rows = cg_dims_product(w->shape, last, outer), columns = w->shape->dim[last];
    int64_t times = 1, piece = base_ceil_div(grain, CG_ALIGN) * CG_ALIGN;
    const segments s = find_segments(c);
    if (!s.count && !columns.batch && columns.count > 2 * piece) times = base_ceil_div(columns.count, piece);
    grain = columns.batch ? 1 : even_rows(grain / base_max(1, columns.count));
    cg_value begin, end, part, at[IR_MAX_RANK];
    cg_task_rows(c, rows, grain, times, &begin, &end, &part);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    cg_index_split(c, w->shape, 0, last, l.i, at);
    for (int d = 0; d < last; d++) w->at[d] = at[d];
    w->count = 1;
    w->dim[0] = last;
    if (times > 1) {
        w->begin = cg_mul(c, part, cg_i64(c, piece));
        w->end = cg_min(c, cg_add(c, w->begin, cg_i64(c, piece)), cg_i64(c, columns.count));
    }
    walk_segments(c, w, &s);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, times);
}

void cg_kernel_loop(cg *c)
{
    cg_walk w = {.shape = loop_shape(c)};
    int64_t bytes, work;
    cg_body_cost(c->body, &bytes, &work);
    cg_walk_size(c, &w);
    cg_kernel_begin(c);
    c->past_caches = cg_past_caches(c);
    if (w.shape->rank == 0) {
        cg_walk_emit(c, &w, store_roots, NULL);
        cg_kernel_end(c, ir_fixed(1), 1, 1);
    } else if (w.shape->rank == 1) {
        emit_flat(c, &w, cg_grain(bytes, work));
    } else {
        emit_rows(c, &w, cg_grain(bytes, work));
    }
}
