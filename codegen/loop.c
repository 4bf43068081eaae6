/* loop.c: kernels whose roots are independent elements over one shape. */
#include "codegen/cg.h"

/* All roots are computed before any is stored: a root may be an update in place of what another one reads. */
static void store_roots(cg *c, const cg_index *at, int turn, cg_value *value, void *context)
{
    (void)turn, (void)value, (void)context;
    const cg_body *b = c->body;
    cg_value *lanes = arena_array(&c->scratch, cg_value, (size_t)b->root_count);
    for (int r = 0; r < b->root_count; r++) lanes[r] = cg_element(c, b->root[r], at);
    for (int r = 0; r < b->root_count; r++) {
        cg_element_store(c, b->root[r], c->arg[cg_body_root_arg(b, r)], at, lanes[r]);
    }
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

/* Several dims: the tasks are blocks of rows, and pieces of long rows when there are few. */
static void emit_rows(cg *c, cg_walk *w, int64_t grain)
{
    const int last = w->shape->rank - 1;
    int outer[IR_MAX_RANK];
    for (int d = 0; d < last; d++) outer[d] = d;
    const ir_dim rows = cg_dims_product(w->shape, last, outer), columns = w->shape->dim[last];
    int64_t times = 1, piece = base_ceil_div(grain, CG_ALIGN) * CG_ALIGN;
    if (!columns.batch && columns.count > 2 * piece) times = base_ceil_div(columns.count, piece);
    grain = columns.batch ? 1 : base_max(1, grain / base_max(1, columns.count));
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
    cg_walk_emit(c, w, store_roots, NULL);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, times);
}

void cg_kernel_loop(cg *c)
{
    cg_walk w = {.shape = cg_type(c, c->body->root[0])};
    int64_t bytes, work;
    cg_body_cost(c->body, &bytes, &work);
    cg_walk_size(c, &w);
    cg_kernel_begin(c);
    if (w.shape->rank == 0) {
        cg_walk_emit(c, &w, store_roots, NULL);
        cg_kernel_end(c, ir_fixed(1), 1, 1);
    } else if (w.shape->rank == 1) {
        emit_flat(c, &w, cg_grain(bytes, work));
    } else {
        emit_rows(c, &w, cg_grain(bytes, work));
    }
}
