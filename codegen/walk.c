/* walk.c: loops over some dims of a shape. */
#include "codegen/cg.h"

typedef struct vector_turn {
    const cg_walk *walk;
    const cg_value *at; /* coordinates of all dims but the last walked */
    cg_walk_step *step;
    void *context;
} vector_turn;

ir_dim cg_dims_product(const ir_type *t, int count, const int *dim)
{
    ir_dim all = ir_fixed(1);
    for (int i = 0; i < count; i++) {
        all.count *= t->dim[dim[i]].count;
        all.batch |= t->dim[dim[i]].batch;
    }
    return all;
}

static void emit_turn(cg *c, cg_value position, int lanes, int number, cg_value *value, void *context)
{
    const vector_turn *t = context;
    const int last = t->walk->dim[t->walk->count - 1];
    cg_index x = cg_index_make(lanes, t->walk->shape->rank, t->at);
    x.at[last].base = position;
    cg_index_run(&x, last, t->walk->unaligned ? 1 : lanes);
    t->step(c, &x, number, value, t->context);
}

/* The innermost dim, at fixed coordinates of the others. */
static void walk_last(cg *c, const cg_walk *w, const cg_value *at, cg_value begin, cg_value end,
                      cg_walk_step *step, void *context)
{
    const ir_dim d = w->shape->dim[w->dim[w->count - 1]];
    vector_turn t = {.walk = w, .at = at, .step = step, .context = context};
    cg_span s = {.begin = begin, .end = end, .extent = -1, .lanes = w->lanes, .unroll = w->unroll};
    int64_t from, to;
    if (!begin) s.begin = cg_i64(c, 0);
    if (!end) s.end = cg_dim(c, d);
    if (cg_is_i64(s.begin, &from) && cg_is_i64(s.end, &to)) s.extent = to - from;
    s.compact = w->compact;
    s.count = w->value_count;
    s.value = w->value;
    cg_span_emit(c, &s, emit_turn, &t);
}

void cg_walk_emit(cg *c, const cg_walk *w, cg_walk_step *step, void *context)
{
    cg_value at[IR_MAX_RANK];
    for (int d = 0; d < w->shape->rank; d++) at[d] = w->at[d] ? w->at[d] : cg_i64(c, 0);
    if (w->count == 0) {
        cg_index x = cg_index_make(1, w->shape->rank, at);
        step(c, &x, 0, w->value, context);
        return;
    }
    if (w->count == 1) {
        walk_last(c, w, at, w->begin, w->end, step, context);
        return;
    }
    cg_loop l;
    cg_value begin = w->begin ? w->begin : cg_i64(c, 0);
    cg_value end = w->end ? w->end : cg_dim(c, cg_dims_product(w->shape, w->count - 1, w->dim));
    cg_loop_begin(c, &l, begin, end, 1, w->value_count, w->value);
    cg_value linear = l.i;
    for (int i = w->count - 2; i > 0; i--) {
        cg_value size = cg_dim(c, w->shape->dim[w->dim[i]]), quotient = cg_div(c, linear, size);
        at[w->dim[i]] = cg_sub(c, linear, cg_mul(c, quotient, size));
        linear = quotient;
    }
    at[w->dim[0]] = linear;
    walk_last(c, w, at, NULL, NULL, step, context);
    cg_loop_end(c, &l, w->value);
}

static int64_t cost_of(const ir_node *n)
{
    enum { WIDE = 16, RANDOM = 40, DIVISION = 4 };
    if (n->op == OP_rng_philox) return RANDOM;
    if (ir_op_class(n->op) == CLASS_SOURCE || ir_op_class(n->op) == CLASS_VIEW) return 0;
    if (n->op == OP_divide || n->op == OP_sqrt || n->op == OP_rsqrt || n->op == OP_remainder) return DIVISION;
    return ir_op_class(n->op) == CLASS_MAP && ir_op_precision(n->op) == PRECISION_WIDEN ? WIDE : 1;
}

void cg_walk_size(const cg *c, cg_walk *w)
{
    enum { SMALL = 8, LARGE = 150 };
    int64_t work = 0;
    for (size_t v = 0; v < c->body->graph->count; v++) work += cost_of(&c->body->graph->node[v]);
    w->lanes = c->lanes;
    w->unroll = work <= SMALL ? 2 : 1;
    w->compact = work > LARGE;
}

void cg_body_cost(const cg_body *b, int64_t *out_bytes, int64_t *out_work)
{
    *out_bytes = *out_work = 0;
    for (size_t v = 0; v < b->graph->count; v++) {
        const ir_node *n = &b->graph->node[v];
        if (n->op == OP_parameter && n->type.rank > 0) *out_bytes += (int64_t)ir_dtype_size(n->type.dtype);
        *out_work += cost_of(n);
    }
    for (int r = 0; r < b->root_count; r++) {
        const ir_type *t = &b->graph->node[b->root[r]].type;
        const ir_node *n = &b->graph->node[b->root[r]];
        const bool parts = b->kind == KERNEL_loop && ir_concatenate_part(b->graph, n);
        if (t->rank >= 0) *out_bytes += (int64_t)ir_dtype_size(t->dtype) * (parts ? n->in_count : 1);
    }
}

typedef struct narrow {
    cg_block_step *step;
    void *context;
} narrow;

static void narrow_step(cg *c, cg_value position, int lanes, int turn, cg_value *value, void *context)
{
    const narrow *x = context;
    (void)turn, (void)value;
    x->step(c, position, lanes, 1, x->context);
}

void cg_blocks_emit(cg *c, cg_value begin, cg_value end, int width, cg_block_step *step, void *context)
{
    const int lanes = c->lanes;
    int64_t from, to, extent = -1;
    if (cg_is_i64(begin, &from) && cg_is_i64(end, &to)) extent = to - from;
    if (extent >= 0 && extent / lanes < width) width = extent < lanes ? 1 : (int)(extent / lanes);
    const int64_t block = (int64_t)width * lanes;
    cg_value middle = begin;
    if (extent < 0 || extent / block > 1) {
        cg_value blocks = cg_div(c, cg_sub(c, end, begin), cg_i64(c, block));
        cg_loop l;
        middle = cg_add(c, begin, cg_mul(c, blocks, cg_i64(c, block)));
        cg_loop_begin(c, &l, begin, middle, block, 0, NULL);
        step(c, l.i, lanes, width, context);
        cg_loop_end(c, &l, NULL);
    } else if (extent / block == 1) {
        step(c, begin, lanes, width, context);
        middle = cg_add(c, begin, cg_i64(c, block));
    }
    if (extent >= 0 && extent % block / lanes > 0) {
        const int rest = (int)(extent % block / lanes);
        step(c, middle, lanes, rest, context);
        middle = cg_add(c, middle, cg_i64(c, (int64_t)rest * lanes));
    }
    narrow x = {.step = step, .context = context};
    cg_span s = {
        .begin = middle, .end = end, .extent = extent < 0 ? -1 : extent % lanes, .lanes = lanes, .unroll = 1};
    cg_span_emit(c, &s, narrow_step, &x);
}
