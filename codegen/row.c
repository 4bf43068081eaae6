/* row.c: kernels that work row by row: sums over a row's columns, scalars made of them, and elements that use
 * both, as in softmax and layer normalization. A row is done in passes over its columns: a root belongs to
 * the first pass in which all that it needs is there. What an earlier pass stored is read back from memory,
 * except in rows so short that they stay in registers. A pass asks for what the next one reads first, be it of the next row:
 * passes that compute and passes that wait for memory would take turns otherwise. */
#include "codegen/cg_rules.h"
#include "codegen/reduce.h"

typedef struct row {
    const ir_type *full;
    int rows;   /* how many leading dims are rows */
    ir_row_part *kind; /* per root */
    int *pass;
    int passes;
    cg_fold *fold; /* per root */
    bool short_rows;
    int now; /* the pass being written */
    int unroll;
    int fold_count; /* folds of this pass */
    const cg_value *at;
    int *first_read; /* per value in memory of the full shape: 1 + the first pass that reads it at its own index; 0: none */
} row;

enum { PREFETCH = 2, MOST_AHEAD = 256 << 10 }; /* the latter: bytes of a row that stay in the caches */

/* Arrays that v, which pass `pass` computes, reads at its own index. */
static void note_reads(const cg *c, row *x, ir_value v, int pass)
{
    const ir_node *n = cg_node(c, v);
    for (int r = 0; r < c->body->root_count; r++)
        if (c->body->root[r] == v) return;
    if (c->binding[v].source == CG_MEMORY) {
        const bool own = ir_type_same_shape(&n->type, x->full) && ir_dtype_size(n->type.dtype) == sizeof(float);
        if (own && (!x->first_read[v] || x->first_read[v] > pass + 1)) x->first_read[v] = pass + 1;
    } else if (ir_op_class(n->op) == CLASS_MAP) {
        for (int i = 0; i < n->in_count; i++) note_reads(c, x, n->in[i], pass);
    }
}

static void find_first_reads(cg *c, row *x)
{
    x->first_read = arena_array(&c->scratch, int, c->body->graph->count);
    const ir_dim columns = x->full->dim[x->full->rank - 1];
    const bool is_long = !columns.batch && columns.count % (CG_LINE_BYTES / 4) == 0 && columns.count * 4 <= MOST_AHEAD;
    if (x->passes < 2 || x->full->rank - x->rows != 1 || !is_long) return;
    for (int r = 0; r < c->body->root_count; r++) {
        const ir_node *n = cg_node(c, c->body->root[r]);
        for (int i = 0; i < n->in_count && x->kind[r] != ROW_PART_scalar; i++) note_reads(c, x, n->in[i], x->pass[r]);
    }
}

/* What the next pass, or the first one of the next row, reads first at these columns. */
static void prefetch_ahead(cg *c, const row *x, const cg_index *at)
{
    const int next = (x->now + 1) % x->passes;
    for (ir_value v = 0; v < (ir_value)c->body->graph->count && at->lanes == c->lanes; v++) {
        if (x->first_read[v] != next + 1) continue;
        cg_value place = cg_index_linear(c, x->full, at).base;
        if (next == 0) place = cg_add(c, place, cg_dim(c, x->full->dim[x->full->rank - 1])); /* of the next row */
        cg_prefetch(c, cg_memory_type(c, cg_type(c, v)->dtype), c->binding[v].address, place, PREFETCH);
    }
}

/* The elements of one vector of columns: roots of the full shape are stored after all are computed, for one
 * may be an update in place of what another reads. */
static void pass_step(cg *c, const cg_index *at, int turn, cg_value *value, void *context)
{
    const row *x = context;
    const cg_body *b = c->body;
    cg_value *sum = value + turn * x->fold_count;
    cg_value *lanes = arena_array(&c->scratch, cg_value, (size_t)b->root_count);
    prefetch_ahead(c, x, at);
    for (int r = 0, k = 0; r < b->root_count; r++) {
        if (x->pass[r] != x->now || x->kind[r] == ROW_PART_scalar) continue;
        if (x->kind[r] == ROW_PART_full) {
            lanes[r] = cg_element(c, b->root[r], at);
        } else {
            sum[k] = cg_fold_add(c, &x->fold[r], sum[k], cg_element(c, x->fold[r].operand, at));
            k++;
        }
    }
    for (int r = 0; r < b->root_count; r++) {
        if (x->pass[r] == x->now && x->kind[r] == ROW_PART_full) cg_root_store(c, r, at, lanes[r]);
    }
}

/* The row's place in a value with one element a row; behind the rows it may have dims of size 1. */
static cg_index scalar_index(cg *c, const row *x, ir_value v)
{
    const int rank = cg_type(c, v)->rank;
    cg_value at[IR_MAX_RANK];
    for (int d = 0; d < rank; d++) at[d] = d < x->rows ? x->at[d] : cg_i64(c, 0);
    return cg_index_make(1, rank, at);
}

static void store_scalar(cg *c, const row *x, int r, cg_value scalar)
{
    const cg_body *b = c->body;
    cg_index at = scalar_index(c, x, b->root[r]);
    cg_root_store(c, r, &at, scalar);
    cg_bind_result(c, b->root[r], scalar);
}

static void emit_scalars(cg *c, row *x)
{
    const cg_body *b = c->body;
    for (int r = 0; r < b->root_count; r++) {
        if (x->kind[r] != ROW_PART_scalar || x->pass[r] != x->now) continue;
        cg_index at = scalar_index(c, x, b->root[r]);
        store_scalar(c, x, r, cg_element(c, b->root[r], &at));
    }
}

static void emit_pass(cg *c, row *x, cg_walk w)
{
    const cg_body *b = c->body;
    cg_value value[CG_CARRIED];
    int fold[CG_CARRIED];
    x->fold_count = 0;
    for (int r = 0; r < b->root_count; r++) {
        if (x->kind[r] == ROW_PART_fold && x->pass[r] == x->now) fold[x->fold_count++] = r;
        bug_if(x->fold_count == CG_CARRIED, "%d sums of a row", b->root_count);
        const bool read_back = x->kind[r] == ROW_PART_full && x->pass[r] < x->now && !x->short_rows;
        if (read_back) cg_bind_memory(c, b->root[r], c->arg[cg_body_root_arg(b, r)], false);
    }
    while (w.unroll > 1 && w.unroll * x->fold_count > c->target->registers / 2) w.unroll /= 2;
    w.value_count = w.unroll * x->fold_count;
    for (int i = 0; i < w.value_count; i++) {
        value[i] = cg_fold_start(c, &x->fold[fold[i % x->fold_count]], w.lanes);
    }
    w.value = value;
    cg_walk_emit(c, &w, pass_step, x);
    for (int k = 0; k < x->fold_count; k++) {
        const int r = fold[k];
        store_scalar(c, x, r, cg_fold_finish(c, &x->fold[r], w.unroll, x->fold_count, value + k));
    }
}

static void emit_row(cg *c, row *x, cg_value number)
{
    cg_walk w = {.shape = x->full, .count = x->full->rank - x->rows};
    cg_value at[IR_MAX_RANK];
    cg_index_split(c, x->full, 0, x->rows, number, at);
    cg_walk_size(c, &w);
    w.unroll = w.compact ? 1 : 4;
    for (int d = 0; d < x->rows; d++) w.at[d] = at[d];
    for (int i = 0; i < w.count; i++) w.dim[i] = x->rows + i;
    const ir_dim columns = x->full->dim[x->full->rank - 1];
    x->short_rows = w.count == 1 && !columns.batch && columns.count / w.lanes <= 4 && !w.compact;
    x->at = at;
    for (int r = 0; r < c->body->root_count; r++) cg_unbind(c, c->body->root[r]);
    for (x->now = 0; x->now <= x->passes; x->now++) {
        emit_scalars(c, x);
        if (x->now < x->passes) emit_pass(c, x, w);
    }
}

void cg_kernel_row(cg *c)
{
    const cg_body *b = c->body;
    row x = {.full = cg_type(c, b->full)};
    x.rows = x.full->rank - b->columns;
    x.kind = arena_array(&c->scratch, ir_row_part, (size_t)b->root_count);
    x.pass = arena_array(&c->scratch, int, (size_t)b->root_count);
    x.fold = arena_array(&c->scratch, cg_fold, (size_t)b->root_count);
    x.passes = ir_row_passes(b->graph, x.full, b->root_count, b->root, NULL, &c->scratch, x.kind, x.pass);
    for (int r = 0; r < b->root_count; r++) {
        if (x.kind[r] == ROW_PART_fold) x.fold[r] = cg_fold_of(c, b->root[r]);
    }
    int dims[IR_MAX_RANK];
    for (int d = 0; d < x.full->rank; d++) dims[d] = d;
    const ir_dim rows = cg_dims_product(x.full, x.rows, dims);
    const ir_dim columns = cg_dims_product(x.full, b->columns, dims + x.rows);
    int64_t bytes, work, size = columns.batch ? 65536 : columns.count;
    cg_body_cost(b, &bytes, &work);
    const int64_t grain = cg_grain(bytes * size, work * size);
    cg_value begin, end;
    cg_kernel_begin(c);
    find_first_reads(c, &x);
    cg_task_rows(c, rows, grain, 1, &begin, &end, NULL);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    emit_row(c, &x, l.i);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, 1);
}
