/* nest_window.c: windows that slide over an operand. Vectors run along the innermost dim where it is no
 * window dim (channels last); the loops over a window are clipped at the borders, so padding costs nothing.
 */
#include "codegen/cg_rules.h"
#include "codegen/window.h"

static int64_t entry(const ir_node *n, ir_attr_name name, int d, int64_t otherwise)
{
    int count;
    const int64_t *item = ir_attr_ints(n, name, &count);
    return item ? item[d] : otherwise;
}

cg_windows cg_windows_describe(cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    cg_windows w = {.in = cg_type(c, n->in[0]), .out = &n->type, .fold = cg_fold_of(c, c->body->main)};
    if (n->op == OP_select_and_scatter) w.out = cg_type(c, n->in[1]);
    for (int d = 0; d < w.in->rank; d++) {
        cg_slide *s = &w.dim[d];
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

static void visit_dim(cg *c, const cg_windows *w, int d, cg_value *at, cg_value place, const cg_visit *v);

/* Window position k of dim d. */
static void visit_position(cg *c, const cg_windows *w, int d, cg_value k, cg_value *at, cg_value place,
                           const cg_visit *v)
{
    const cg_slide *s = &w->dim[d];
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
static void clip(cg *c, const cg_windows *w, int d, cg_value *out_from, cg_value *out_to)
{
    const cg_slide *s = &w->dim[d];
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

static void visit_dim(cg *c, const cg_windows *w, int d, cg_value *at, cg_value place, const cg_visit *v)
{
    enum { UNROLLED = 3 };
    if (d == w->in->rank) {
        v->step(c, w, at, place, v->value, v->context);
        return;
    }
    const cg_slide *s = &w->dim[d];
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

void cg_window_visit(cg *c, const cg_windows *w, const cg_visit *v)
{
    cg_value at[IR_MAX_RANK];
    visit_dim(c, w, 0, at, cg_i64(c, 0), v);
}

static int64_t window_size(const cg_windows *w)
{
    int64_t size = 1;
    for (int d = 0; d < w->in->rank; d++) size *= w->dim[d].window;
    return size;
}

cg_index cg_window_index(cg *c, const ir_type *t, const cg_value *at, int lanes, int j)
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
    cg_windows *w;
    int lanes, width;
} block;

static void fold_element(cg *c, const cg_windows *w, const cg_value *at, cg_value place, cg_value *value,
                         void *context)
{
    const block *b = context;
    (void)place;
    for (int j = 0; j < b->width; j++) {
        cg_index x = cg_window_index(c, w->in, at, b->lanes, j);
        value[j] = cg_fold_add(c, &w->fold, value[j], cg_element(c, w->fold.operand, &x));
    }
}

static void reduce_block(cg *c, cg_value position, int lanes, int width, void *context)
{
    cg_windows *w = context;
    cg_value sum[16];
    block b = {.w = w, .lanes = lanes, .width = width};
    for (int j = 0; j < width; j++) sum[j] = cg_fold_start(c, &w->fold, lanes);
    w->at[w->in->rank - 1] = position;
    cg_visit v = {.step = fold_element, .context = &b, .count = width, .value = sum};
    cg_window_visit(c, w, &v);
    for (int j = 0; j < width; j++) {
        cg_index x = cg_window_index(c, w->out, w->at, lanes, j);
        bool narrow = w->fold.sum_type != w->fold.type;
        cg_main_store(c, &x, narrow ? cg_narrow(c, w->fold.type, sum[j]) : sum[j]);
    }
}

void cg_nest_reduce_window(cg *c)
{
    cg_windows w = cg_windows_describe(c);
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
