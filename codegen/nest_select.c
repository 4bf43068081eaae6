/* nest_select.c: select_and_scatter, the gradient of max pooling. Windows that tile the operand are written in
 * one pass: each element is its window's source or zero, and the epilogue is applied to it. Windows that
 * overlap start from zeros and add. */
#include "codegen/cg_rules.h"
#include "codegen/window.h"

#include <string.h>

typedef struct selection {
    int lanes;
    const char *kind;
    cg_value winner, source; /* place of the best element in its window, lane by lane; what it gets */
} selection;

/* value: best element so far, its place (-1: none yet). */
static void choose_element(cg *c, const cg_windows *w, const cg_value *at, cg_value place, cg_value *value,
                           void *context)
{
    const selection *s = context;
    cg_index x = cg_window_index(c, w->in, at, s->lanes, 0);
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

static cg_value is_winner(cg *c, const selection *s, cg_value place)
{
    return cg_icmp(c, LLVMIntEQ, s->winner, LLVMBuildTrunc(c->b, place, c->i32, ""));
}

static void add_to_winner(cg *c, const cg_windows *w, const cg_value *at, cg_value place, cg_value *value,
                          void *context)
{
    const selection *s = context;
    const ir_value root = c->body->root[0];
    const ir_dtype t = cg_type(c, root)->dtype;
    (void)value;
    cg_index x = cg_window_index(c, w->in, at, s->lanes, 0);
    cg_value mine = is_winner(c, s, place);
    cg_memo_clear(c);
    cg_value old = cg_element(c, root, &x);
    cg_value sum = cg_select(c, mine, cg_combine(c, "add", t, old, s->source), old);
    cg_root_store(c, 0, &x, sum);
}

static void store_element(cg *c, const cg_windows *w, const cg_value *at, cg_value place, cg_value *value,
                          void *context)
{
    const selection *s = context;
    (void)value;
    cg_index x = cg_window_index(c, w->in, at, s->lanes, 0);
    cg_value mine = is_winner(c, s, place), zero = LLVMConstNull(LLVMTypeOf(s->source));
    cg_main_store(c, &x, cg_select(c, mine, s->source, zero));
}

/* Finds the winner of the windows at w->at, whose last coordinate is `position`, and runs `step` on them. */
static void select_block(cg *c, cg_windows *w, cg_value position, int lanes, cg_window_step *step)
{
    const ir_node *n = cg_node(c, c->body->main);
    selection s = {.lanes = lanes, .kind = ir_attr_text(n, ATTR_kind)};
    LLVMTypeRef places = cg_vector(c->i32, lanes);
    w->at[w->in->rank - 1] = position;
    cg_value best[] = {cg_number(c, w->fold.type, 0, lanes), LLVMConstAllOnes(places)};
    cg_visit find = {.step = choose_element, .context = &s, .count = 2, .value = best};
    cg_window_visit(c, w, &find);
    cg_index x = cg_window_index(c, w->out, w->at, lanes, 0);
    s.winner = best[1];
    s.source = cg_element(c, n->in[1], &x);
    cg_visit write = {.step = step, .context = &s};
    cg_window_visit(c, w, &write);
}

static void scatter_block(cg *c, cg_value position, int lanes, int width, void *context)
{
    (void)width;
    select_block(c, context, position, lanes, add_to_winner);
}

static void tile_block(cg *c, cg_value position, int lanes, int width, void *context)
{
    (void)width;
    select_block(c, context, position, lanes, store_element);
}

/* The windows from dim `first` on, at w->at of the dims before. */
static void walk_windows(cg *c, cg_windows *w, int first, cg_block_step *step)
{
    const int last = w->in->rank - 1;
    int loops = 0;
    cg_loop loop[IR_MAX_RANK];
    for (int d = first; d < last + !w->vectors; d++) {
        cg_loop_begin(c, &loop[loops], cg_i64(c, 0), cg_dim(c, w->out->dim[d]), 1, 0, NULL);
        w->at[d] = loop[loops++].i;
    }
    if (w->vectors) {
        cg_blocks_emit(c, cg_i64(c, 0), cg_dim(c, w->out->dim[last]), 1, step, w);
    } else {
        step(c, w->at[last], 1, 1, w);
    }
    while (loops) cg_loop_end(c, &loop[--loops], NULL);
}

/* ---- overlapping windows -------------------------------------------------------------------- */

static void store_zero(cg *c, const cg_index *at, int turn, cg_value *value, void *context)
{
    (void)turn, (void)value, (void)context;
    cg_value zero = cg_number(c, cg_type(c, c->body->root[0])->dtype, 0, at->lanes);
    cg_root_store(c, 0, at, zero);
}

/* A task does whole leading indices, the plain dims before the first window dim: windows of one overlap. */
static void emit_adding(cg *c, cg_windows *w, int leading)
{
    int dims[IR_MAX_RANK];
    bug_if(c->body->root_count != 1 || c->body->root[0] != c->body->main,
           "select_and_scatter of overlapping windows with an epilogue");
    for (int d = 0; d < w->in->rank; d++) dims[d] = d;
    const ir_dim rows = cg_dims_product(w->in, leading, dims);
    cg_kernel_begin(c);
    cg_value begin, end;
    cg_task_rows(c, rows, 1, 1, &begin, &end, NULL);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    cg_index_split(c, w->in, 0, leading, l.i, w->at);
    cg_walk zero = {.shape = w->in, .count = w->in->rank - leading};
    cg_walk_size(c, &zero);
    for (int d = 0; d < leading; d++) zero.at[d] = w->at[d];
    for (int i = 0; i < zero.count; i++) zero.dim[i] = leading + i;
    cg_walk_emit(c, &zero, store_zero, NULL);
    cg_bind_memory(c, c->body->main, c->arg[cg_body_root_arg(c->body, 0)], false);
    walk_windows(c, w, leading, scatter_block);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, 1, 1);
}

/* ---- windows that tile the operand ---------------------------------------------------------- */

/* Elements of the operand: dims before `fixed` are at `at`, the others within from .. to - 1. */
typedef struct gap {
    const cg_windows *w;
    cg_value at[IR_MAX_RANK], from[IR_MAX_RANK], to[IR_MAX_RANK];
} gap;

static void fill_block(cg *c, cg_value position, int lanes, int width, void *context)
{
    gap *g = context;
    const ir_value main = c->body->main;
    g->at[g->w->in->rank - 1] = position;
    for (int j = 0; j < width; j++) {
        cg_index x = cg_window_index(c, g->w->in, g->at, lanes, j);
        cg_main_store(c, &x, cg_number(c, cg_type(c, main)->dtype, 0, lanes));
    }
}

static void fill_gap(cg *c, gap *g, int first)
{
    const int last = g->w->in->rank - 1;
    int loops = 0;
    cg_loop loop[IR_MAX_RANK];
    for (int d = first; d < last; d++) {
        cg_loop_begin(c, &loop[loops], g->from[d], g->to[d], 1, 0, NULL);
        g->at[d] = loop[loops++].i;
    }
    if (g->w->vectors) {
        cg_blocks_emit(c, g->from[last], g->to[last], 1, fill_block, g);
    } else {
        cg_loop_begin(c, &loop[loops++], g->from[last], g->to[last], 1, 0, NULL);
        fill_block(c, loop[loops - 1].i, 1, 1, g);
    }
    while (loops) cg_loop_end(c, &loop[--loops], NULL);
}

/* The elements behind the last window of dim d; of the dims between `first` and d only what windows cover, so
 * that every element is stored once. */
static void fill_behind(cg *c, const cg_windows *w, int first, int d, int64_t covered_row)
{
    const cg_slide *s = &w->dim[d];
    const int64_t covered = w->out->dim[d].count * s->stride;
    if (s->plain || covered == s->size.count) return;
    gap g = {.w = w};
    for (int i = 0; i < w->in->rank; i++) {
        const cg_slide *slide = &w->dim[i];
        g.at[i] = w->at[i];
        g.from[i] = cg_i64(c, 0);
        g.to[i] = i < d && !slide->plain ? cg_i64(c, w->out->dim[i].count * slide->stride) : cg_dim(c, slide->size);
    }
    if (covered_row >= 0 && covered_row < d) {
        g.from[covered_row] = cg_mul(c, w->at[covered_row], cg_i64(c, w->dim[covered_row].stride));
        g.to[covered_row] = cg_add(c, g.from[covered_row], cg_i64(c, w->dim[covered_row].stride));
    }
    g.from[d] = cg_i64(c, covered);
    fill_gap(c, &g, first);
}

/* A row is one index of the leading dims and, when there are vectors besides, one row of windows. */
static void emit_tiling(cg *c, cg_windows *w, int leading)
{
    const int last = w->in->rank - 1, row = leading < last ? leading : -1, rowed = row < 0 ? leading : leading + 1;
    int dims[IR_MAX_RANK];
    for (int d = 0; d < w->in->rank; d++) dims[d] = d;
    const ir_dim rows = cg_dims_product(w->out, rowed, dims);
    int64_t bytes, work, columns = 1;
    for (int d = leading; d <= last; d++) columns *= d < rowed ? w->dim[d].stride : w->dim[d].size.count;
    cg_body_cost(c->body, &bytes, &work);
    const int64_t grain = cg_grain(bytes * columns, work * columns);
    cg_kernel_begin(c);
    cg_value begin, end;
    cg_task_rows(c, rows, grain, 1, &begin, &end, NULL);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    cg_index_split(c, w->out, 0, rowed, l.i, w->at);
    walk_windows(c, w, rowed, tile_block);
    for (int d = rowed; d <= last; d++) fill_behind(c, w, leading, d, row);
    if (row >= 0 && w->out->dim[row].count * w->dim[row].stride != w->dim[row].size.count) {
        cg_branch br;
        cg_if_begin(c, &br, cg_icmp(c, LLVMIntEQ, w->at[row], cg_i64(c, w->out->dim[row].count - 1)), 0, NULL);
        fill_behind(c, w, leading, row, -1);
        cg_if_end(c, &br, NULL);
    }
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, 1);
}

void cg_nest_select_and_scatter(cg *c)
{
    cg_windows w = cg_windows_describe(c);
    int leading = 0;
    while (leading < w.in->rank - 1 && w.dim[leading].plain) leading++;
    if (ir_windows_tile(c->body->graph, cg_node(c, c->body->main)))
        emit_tiling(c, &w, leading);
    else
        emit_adding(c, &w, leading);
}
