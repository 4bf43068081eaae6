/* nest_window.c: windows that slide over an operand. Vectors run along the innermost dim where it is no
 * window dim (channels last); the loops over a window are clipped at the borders, so padding costs nothing.
 */
#include "codegen/cg_rules.h"
#include "codegen/reduce.h"

#include <string.h>

/* One dim of the window. */
typedef struct slide {
    int64_t window, stride, low, base_dilation, dilation;
    ir_dim size; /* of the operand */
    bool plain;  /* window of 1, passed through */
    bool clips;  /* some window position may lie outside, or between elements */
} slide;

typedef struct windows {
    const ir_type *in, *out; /* what the windows cover; one element per window */
    slide dim[IR_MAX_RANK];
    cg_fold fold;
    bool vectors;             /* the innermost dim is plain */
    cg_value at[IR_MAX_RANK]; /* of the window being written */
} windows;

static int64_t entry(const ir_node *n, ir_attr_name name, int d, int64_t otherwise)
{
    int count;
    const int64_t *item = ir_attr_ints(n, name, &count);
    return item ? item[d] : otherwise;
}

static windows describe(cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    windows w = {.in = cg_type(c, n->in[0]), .out = &n->type, .fold = cg_fold_of(c, c->body->main)};
    if (n->op == OP_select_and_scatter) w.out = cg_type(c, n->in[1]);
    for (int d = 0; d < w.in->rank; d++) {
        slide *s = &w.dim[d];
        s->window = entry(n, ATTR_window_dimensions, d, 1);
        s->stride = entry(n, ATTR_window_strides, d, 1);
        s->low = entry(n, ATTR_padding_low, d, 0);
        s->base_dilation = entry(n, ATTR_base_dilation, d, 1);
        s->dilation = entry(n, ATTR_window_dilation, d, 1);
        s->size = w.in->dim[d];
        const int64_t high = entry(n, ATTR_padding_high, d, 0);
        s->clips = s->low > 0 || high > 0 || s->base_dilation > 1;
        s->plain = s->window == 1 && s->stride == 1 && !s->low && !high && s->base_dilation == 1;
    }
    w.vectors = w.in->rank > 0 && w.dim[w.in->rank - 1].plain;
    return w;
}

/* What to do at one element under the window: its coordinates and the number of its place in the window. */
typedef void window_step(cg *c, const windows *w, const cg_value *at, cg_value place, cg_value *value,
                         void *context);

typedef struct visit {
    window_step *step;
    void *context;
    int count; /* carried values */
    cg_value *value;
} visit;

static void visit_dim(cg *c, const windows *w, int d, cg_value *at, cg_value place, const visit *v);

/* Window position k of dim d. */
static void visit_position(cg *c, const windows *w, int d, cg_value k, cg_value *at, cg_value place,
                           const visit *v)
{
    const slide *s = &w->dim[d];
    cg_value start = cg_sub(c, cg_mul(c, w->at[d], cg_i64(c, s->stride)), cg_i64(c, s->low));
    cg_value position = cg_add(c, start, cg_mul(c, k, cg_i64(c, s->dilation)));
    place = cg_add(c, cg_mul(c, place, cg_i64(c, s->window)), k);
    if (s->base_dilation == 1) {
        at[d] = position;
        visit_dim(c, w, d + 1, at, place, v);
        return;
    }
    cg_value pitch = cg_i64(c, s->base_dilation), quotient = LLVMBuildSDiv(c->b, position, pitch, "");
    cg_value exact = cg_icmp(c, LLVMIntEQ, cg_mul(c, quotient, pitch), position);
    cg_value inside = cg_icmp(c, LLVMIntULT, quotient, cg_dim(c, s->size));
    cg_branch br;
    cg_if_begin(c, &br, cg_and(c, exact, inside), v->count, v->value);
    at[d] = quotient;
    visit_dim(c, w, d + 1, at, place, v);
    cg_if_end(c, &br, v->value);
}

/* The positions from *out_from to *out_to - 1 lie inside the operand. */
static void clip(cg *c, const windows *w, int d, cg_value *out_from, cg_value *out_to)
{
    const slide *s = &w->dim[d];
    cg_value zero = cg_i64(c, 0), window = cg_i64(c, s->window), up = cg_i64(c, s->dilation - 1);
    cg_value start = cg_sub(c, cg_mul(c, w->at[d], cg_i64(c, s->stride)), cg_i64(c, s->low));
    cg_value before = cg_add(c, cg_sub(c, zero, start), up);
    cg_value behind = cg_add(c, cg_sub(c, cg_dim(c, s->size), start), up), step = cg_i64(c, s->dilation);
    if (s->dilation > 1) {
        before = LLVMBuildSDiv(c->b, before, step, "");
        behind = LLVMBuildSDiv(c->b, behind, step, "");
    }
    *out_from = cg_max(c, before, zero);
    *out_to = cg_min(c, behind, window);
}

static void visit_dim(cg *c, const windows *w, int d, cg_value *at, cg_value place, const visit *v)
{
    enum { UNROLLED = 3 };
    if (d == w->in->rank) {
        v->step(c, w, at, place, v->value, v->context);
        return;
    }
    const slide *s = &w->dim[d];
    if (s->plain) {
        at[d] = w->at[d];
        visit_dim(c, w, d + 1, at, place, v);
        return;
    }
    if (!s->clips && s->window <= UNROLLED) {
        for (int64_t k = 0; k < s->window; k++) visit_position(c, w, d, cg_i64(c, k), at, place, v);
        return;
    }
    cg_value from = cg_i64(c, 0), to = cg_i64(c, s->window);
    if (s->clips && s->base_dilation == 1) clip(c, w, d, &from, &to);
    cg_loop l;
    cg_loop_begin(c, &l, from, to, 1, v->count, v->value);
    visit_position(c, w, d, l.i, at, place, v);
    cg_loop_end(c, &l, v->value);
}

static void visit_window(cg *c, const windows *w, const visit *v)
{
    cg_value at[IR_MAX_RANK];
    visit_dim(c, w, 0, at, cg_i64(c, 0), v);
}

static int64_t window_size(const windows *w)
{
    int64_t size = 1;
    for (int d = 0; d < w->in->rank; d++) size *= w->dim[d].window;
    return size;
}

/* Index of vector number j from coordinates whose last one is the vectors' first. */
static cg_index vector_at(cg *c, const ir_type *t, const cg_value *at, int lanes, int j)
{
    cg_value copy[IR_MAX_RANK];
    for (int d = 0; d < t->rank; d++) copy[d] = at[d];
    if (j) copy[t->rank - 1] = cg_add(c, copy[t->rank - 1], cg_i64(c, (int64_t)j * lanes));
    cg_index x = cg_index_make(lanes, t->rank, copy);
    if (lanes > 1) cg_index_run(&x, t->rank - 1, lanes);
    return x;
}

/* ---- reduce_window -------------------------------------------------------------------------- */

typedef struct block {
    windows *w;
    int lanes, width;
} block;

static void fold_element(cg *c, const windows *w, const cg_value *at, cg_value place, cg_value *value,
                         void *context)
{
    const block *b = context;
    (void)place;
    for (int j = 0; j < b->width; j++) {
        cg_index x = vector_at(c, w->in, at, b->lanes, j);
        value[j] = cg_fold_add(c, &w->fold, value[j], cg_element(c, w->fold.operand, &x));
    }
}

/* Stores the element of each root at an index, with the operation's own element bound. */
static void store_roots(cg *c, const cg_index *at, cg_value element)
{
    const cg_body *b = c->body;
    cg_bind_value(c, b->main, element);
    for (int r = 0; r < b->root_count; r++) {
        cg_element_store(c, b->root[r], c->arg[cg_body_root_arg(b, r)], at, cg_element(c, b->root[r], at));
    }
    cg_unbind(c, b->main);
}

static void reduce_block(cg *c, cg_value position, int lanes, int width, void *context)
{
    windows *w = context;
    cg_value sum[16];
    block b = {.w = w, .lanes = lanes, .width = width};
    for (int j = 0; j < width; j++) sum[j] = cg_fold_start(c, &w->fold, lanes);
    w->at[w->in->rank - 1] = position;
    visit v = {.step = fold_element, .context = &b, .count = width, .value = sum};
    visit_window(c, w, &v);
    for (int j = 0; j < width; j++) {
        cg_index x = vector_at(c, w->out, w->at, lanes, j);
        bool narrow = w->fold.sum_type != w->fold.type;
        store_roots(c, &x, narrow ? cg_narrow(c, w->fold.type, sum[j]) : sum[j]);
    }
}

void cg_nest_reduce_window(cg *c)
{
    windows w = describe(c);
    const int last = w.out->rank - 1;
    int dims[IR_MAX_RANK];
    for (int d = 0; d < w.out->rank; d++) dims[d] = d;
    bug_if(last < 0, "a window of rank 0");
    const ir_dim rows = cg_dims_product(w.out, last, dims), columns = w.out->dim[last];
    const int64_t size = columns.batch ? 1024 : columns.count;
    const int64_t grain = cg_grain(size * 8, size * window_size(&w));
    cg_kernel_begin(c);
    cg_value begin, end;
    cg_task_rows(c, rows, grain, 1, &begin, &end, NULL);
    cg_loop l, each;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    cg_index_split(c, w.out, 0, last, l.i, w.at);
    if (w.vectors) {
        cg_blocks_emit(c, cg_i64(c, 0), cg_dim(c, columns), 4, reduce_block, &w);
    } else {
        cg_loop_begin(c, &each, cg_i64(c, 0), cg_dim(c, columns), 1, 0, NULL);
        reduce_block(c, each.i, 1, 1, &w);
        cg_loop_end(c, &each, NULL);
    }
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, 1);
}

/* ---- select_and_scatter --------------------------------------------------------------------- */

typedef struct selection {
    int lanes;
    const char *kind;
    cg_value winner, source; /* place of the best element in its window, lane by lane; what it gets */
} selection;

/* value: best element so far, its place (-1: none yet). */
static void choose_element(cg *c, const windows *w, const cg_value *at, cg_value place, cg_value *value,
                           void *context)
{
    const selection *s = context;
    cg_index x = vector_at(c, w->in, at, s->lanes, 0);
    cg_value next = cg_element(c, w->fold.operand, &x), better;
    const bool largest = strcmp(s->kind, "maximum") == 0;
    if (ir_dtype_is_float(w->fold.type)) {
        cg_value a = cg_widen(c, w->fold.type, next), b = cg_widen(c, w->fold.type, value[0]);
        better = cg_fcmp(c, largest ? LLVMRealOGT : LLVMRealOLT, a, b);
    } else {
        better = cg_icmp(c, LLVMIntNE, cg_combine(c, s->kind, w->fold.type, value[0], next), value[0]);
    }
    better = cg_or(c, better, cg_icmp(c, LLVMIntSLT, value[1], LLVMConstNull(LLVMTypeOf(value[1]))));
    value[0] = cg_select(c, better, next, value[0]);
    value[1] = cg_select(c, better, LLVMBuildTrunc(c->b, place, c->i32, ""), value[1]);
}

static void add_to_winner(cg *c, const windows *w, const cg_value *at, cg_value place, cg_value *value,
                          void *context)
{
    const selection *s = context;
    const ir_value root = c->body->root[0];
    const ir_dtype t = cg_type(c, root)->dtype;
    (void)value;
    cg_index x = vector_at(c, w->in, at, s->lanes, 0);
    cg_value mine = cg_icmp(c, LLVMIntEQ, s->winner, LLVMBuildTrunc(c->b, place, c->i32, ""));
    cg_memo_clear(c);
    cg_value old = cg_element(c, root, &x);
    cg_value sum = cg_select(c, mine, cg_combine(c, "add", t, old, s->source), old);
    cg_element_store(c, root, c->arg[cg_body_root_arg(c->body, 0)], &x, sum);
}

static void scatter_block(cg *c, cg_value position, int lanes, int width, void *context)
{
    windows *w = context;
    const ir_node *n = cg_node(c, c->body->main);
    selection s = {.lanes = lanes, .kind = ir_attr_text(n, ATTR_kind)};
    LLVMTypeRef places = cg_vector(c->i32, lanes);
    (void)width;
    w->at[w->in->rank - 1] = position;
    cg_value best[] = {cg_number(c, w->fold.type, 0, lanes), LLVMConstAllOnes(places)};
    visit find = {.step = choose_element, .context = &s, .count = 2, .value = best};
    visit_window(c, w, &find);
    cg_index x = vector_at(c, w->out, w->at, lanes, 0);
    s.winner = best[1];
    s.source = cg_element(c, n->in[1], &x);
    visit add = {.step = add_to_winner, .context = &s};
    visit_window(c, w, &add);
}

static void store_zero(cg *c, const cg_index *at, int turn, cg_value *value, void *context)
{
    (void)turn, (void)value, (void)context;
    const ir_value root = c->body->root[0];
    cg_value zero = cg_number(c, cg_type(c, root)->dtype, 0, at->lanes);
    cg_element_store(c, root, c->arg[cg_body_root_arg(c->body, 0)], at, zero);
}

/* A task does whole leading indices, the plain dims before the first window dim: windows of one overlap. */
void cg_nest_select_and_scatter(cg *c)
{
    windows w = describe(c);
    bug_if(c->body->root_count != 1 || c->body->root[0] != c->body->main,
           "select_and_scatter with an epilogue");
    int leading = 0, dims[IR_MAX_RANK], last = w.in->rank - 1, loops = 0;
    while (leading < last && w.dim[leading].plain) leading++;
    for (int d = 0; d < w.in->rank; d++) dims[d] = d;
    const ir_dim rows = cg_dims_product(w.in, leading, dims);
    cg_kernel_begin(c);
    cg_value begin, end;
    cg_task_rows(c, rows, 1, 1, &begin, &end, NULL);
    cg_loop l, loop[IR_MAX_RANK];
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    cg_index_split(c, w.in, 0, leading, l.i, w.at);
    cg_walk zero = {.shape = w.in, .count = w.in->rank - leading};
    cg_walk_size(c, &zero);
    for (int d = 0; d < leading; d++) zero.at[d] = w.at[d];
    for (int i = 0; i < zero.count; i++) zero.dim[i] = leading + i;
    cg_walk_emit(c, &zero, store_zero, NULL);
    cg_bind_memory(c, c->body->main, c->arg[cg_body_root_arg(c->body, 0)], false);
    for (int d = leading; d < last + !w.vectors; d++) {
        cg_loop_begin(c, &loop[loops], cg_i64(c, 0), cg_dim(c, w.out->dim[d]), 1, 0, NULL);
        w.at[d] = loop[loops++].i;
    }
    if (w.vectors) {
        cg_blocks_emit(c, cg_i64(c, 0), cg_dim(c, w.out->dim[last]), 1, scatter_block, &w);
    } else {
        scatter_block(c, w.at[last], 1, 1, &w);
    }
    while (loops) cg_loop_end(c, &loop[--loops], NULL);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, 1, 1);
}
