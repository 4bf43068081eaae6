/* nest_scatter_rows.c: a scatter of whole rows onto one number (ir_scatters_rows), with an epilogue. A task owns a block of
 * the result's rows, which it sums up in scratch memory: it goes through all indices, some of them at a time, lists those that
 * fall into its block, and adds their rows, in the order of the indices. So the whole result is never in memory, and sums have
 * the order that they have in nest_scatter.c. */
#include "codegen/cg_rules.h"

/* INDICES: looked through at a time; AHEAD: updates whose rows are asked for before they are added; L2_PART: of the second cache
 * that a block takes; TASKS: at least. */
enum { INDICES = 2048, AHEAD = 3, L2_PART = 4, TASKS = 16 };

typedef struct scatter_rows {
    const ir_node *node;
    ir_dtype index;
    int64_t columns, rows;   /* elements of a row; rows of a block */
    cg_value low, high;      /* rows of the task */
    cg_value sums, list;     /* of the block, row by row; numbers of updates (i64) */
    cg_value count, indices, updates;
} scatter_rows;

static void fill_block(cg *c, const scatter_rows *s)
{
    const cg_value zero = cg_i64(c, 0);
    cg_value at[IR_MAX_RANK];
    for (int d = 0; d < s->node->type.rank; d++) at[d] = zero;
    const cg_index first = cg_index_make(1, s->node->type.rank, at);
    const cg_value start = cg_splat(c, cg_element(c, s->node->in[0], &first), c->lanes);
    cg_loop l;
    cg_loop_begin(c, &l, zero, cg_mul(c, cg_sub(c, s->high, s->low), cg_i64(c, s->columns)), c->lanes, 0, NULL);
    cg_store(c, start, cg_at(c, c->f32, s->sums, l.i), 4);
    cg_loop_end(c, &l, NULL);
}

/* Appends the numbers of the lanes in `inside` (i1 each), of which the first one is `from`, to the list of `count`. */
static void append(cg *c, const scatter_rows *s, cg_value inside, cg_value from, cg_value *count)
{
    LLVMTypeRef word = LLVMIntTypeInContext(c->context, (unsigned)c->lanes);
    cg_value bits = LLVMBuildZExt(c->b, LLVMBuildBitCast(c->b, inside, word, ""), c->i64, "");
    cg_value found = cg_intrinsic(c, "llvm.ctpop", 1, (cg_value[]){bits}), carried[] = {bits};
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), found, 1, 1, carried);
    cg_value lane = cg_intrinsic(c, "llvm.cttz", 2, (cg_value[]){carried[0], LLVMConstNull(c->i1)});
    cg_store(c, cg_add(c, from, lane), cg_at(c, c->i64, s->list, cg_add(c, *count, l.i)), 8);
    carried[0] = cg_and(c, carried[0], cg_sub(c, carried[0], cg_i64(c, 1)));
    cg_loop_end(c, &l, carried);
    *count = cg_add(c, *count, found);
}

/* Lists the updates from .. end - 1 whose row is in the block; returns how many. */
static cg_value list_updates(cg *c, const scatter_rows *s, cg_value from, cg_value end)
{
    const int lanes = c->lanes, bytes = (int)ir_dtype_size(s->index);
    LLVMTypeRef element = cg_memory_type(c, s->index);
    cg_value low = cg_splat(c, LLVMBuildTrunc(c->b, s->low, element, ""), lanes), count[] = {cg_i64(c, 0)};
    cg_value rows = cg_splat(c, LLVMBuildTrunc(c->b, cg_sub(c, s->high, s->low), element, ""), lanes);
    cg_loop l;
    cg_loop_begin(c, &l, from, end, lanes, 1, count);
    cg_value given = cg_mask_first(c, lanes, cg_sub(c, end, l.i));
    cg_value row = cg_load_masked(c, cg_vector(element, lanes), cg_at(c, element, s->indices, l.i), bytes, given);
    cg_value inside = cg_and(c, given, cg_icmp(c, LLVMIntULT, cg_sub(c, row, low), rows));
    append(c, s, inside, l.i, count);
    cg_loop_end(c, &l, count);
    return count[0];
}

typedef struct row_add {
    const char *kind;
    cg_value from, to; /* addresses of an update's row and of the row it is added to */
} row_add;

static void add_vector(cg *c, cg_value position, int lanes, int turn, cg_value *value, void *context)
{
    const row_add *r = context;
    LLVMTypeRef vector = cg_vector(c->f32, lanes);
    cg_value to = cg_at(c, c->f32, r->to, position);
    cg_value update = cg_load(c, vector, cg_at(c, c->f32, r->from, position), 4);
    (void)turn, (void)value;
    cg_store(c, cg_combine(c, r->kind, DTYPE_f32, cg_load(c, vector, to, 4), update), to, 4);
}

/* Asks for the row of entry i of the list, or of the last one. */
static void ask_for_row(cg *c, const scatter_rows *s, cg_value i, cg_value count)
{
    enum { LINES = 16 };
    cg_value last = cg_min(c, i, cg_sub(c, count, cg_i64(c, 1)));
    cg_value number = cg_load(c, c->i64, cg_at(c, c->i64, s->list, last), 8), first = cg_mul(c, number, cg_i64(c, s->columns));
    for (int64_t at = 0; at < base_min(s->columns, LINES * CG_LINE_BYTES / 4); at += CG_LINE_BYTES / 4) {
        cg_prefetch(c, c->f32, s->updates, cg_add(c, first, cg_i64(c, at)), 1);
    }
}

static void add_listed(cg *c, const scatter_rows *s, cg_value count)
{
    LLVMTypeRef element = cg_memory_type(c, s->index);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), count, 1, 0, NULL);
    ask_for_row(c, s, cg_add(c, l.i, cg_i64(c, AHEAD)), count);
    cg_value number = cg_load(c, c->i64, cg_at(c, c->i64, s->list, l.i), 8), columns = cg_i64(c, s->columns);
    cg_value row = cg_load(c, element, cg_at(c, element, s->indices, number), (int)ir_dtype_size(s->index));
    row = cg_sub(c, LLVMBuildIntCast2(c->b, row, c->i64, 0, ""), s->low);
    row_add r = {.kind = ir_attr_text(s->node, ATTR_kind), .from = cg_at(c, c->f32, s->updates, cg_mul(c, number, columns)),
                 .to = cg_at(c, c->f32, s->sums, cg_mul(c, row, columns))};
    const cg_span span = {.begin = cg_i64(c, 0), .end = columns, .extent = s->columns, .lanes = c->lanes, .unroll = 1};
    cg_span_emit(c, &span, add_vector, &r);
    cg_loop_end(c, &l, NULL);
}

static void add_updates(cg *c, const scatter_rows *s)
{
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), s->count, INDICES, 0, NULL);
    cg_value end = cg_min(c, cg_add(c, l.i, cg_i64(c, INDICES)), s->count);
    add_listed(c, s, list_updates(c, s, l.i, end));
    cg_loop_end(c, &l, NULL);
}

static void finish_vector(cg *c, const cg_index *at, int turn, cg_value *value, void *context)
{
    const scatter_rows *s = context;
    (void)turn, (void)value;
    cg_value before = cg_mul(c, s->low, cg_i64(c, s->columns));
    cg_value number = cg_sub(c, cg_index_linear(c, &s->node->type, at).base, before);
    cg_main_store(c, at, cg_load(c, cg_vector(c->f32, at->lanes), cg_at(c, c->f32, s->sums, number), 4));
}

static void finish_block(cg *c, scatter_rows *s)
{
    const ir_type *out = &s->node->type;
    cg_walk w = {.shape = out, .count = out->rank};
    const cg_value outer = cg_i64(c, s->columns / out->dim[out->rank - 1].count);
    cg_walk_size(c, &w);
    for (int d = 0; d < out->rank; d++) w.dim[d] = d;
    w.begin = cg_mul(c, s->low, outer);
    w.end = cg_mul(c, s->high, outer);
    cg_walk_emit(c, &w, finish_vector, s);
}

void cg_scatter_rows(cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    const ir_type *indices = cg_type(c, n->in[1]);
    scatter_rows s = {.node = n, .index = indices->dtype, .columns = 1};
    for (int d = 1; d < n->type.rank; d++) s.columns *= n->type.dim[d].count;
    const int64_t rows = n->type.dim[0].count;
    s.rows = base_max(1, base_min(c->target->l2 / L2_PART / (4 * s.columns), base_ceil_div(rows, TASKS)));
    cg_kernel_begin(c);
    cg_task_rows(c, n->type.dim[0], s.rows, 1, &s.low, &s.high, NULL);
    s.sums = cg_scratch(c, 4 * (s.rows * s.columns + c->lanes));
    s.list = cg_scratch(c, 8 * INDICES);
    s.count = cg_elements(c, indices, 0, indices->rank);
    s.indices = c->binding[n->in[1]].address;
    s.updates = c->binding[n->in[2]].address;
    fill_block(c, &s);
    add_updates(c, &s);
    finish_block(c, &s);
    cg_kernel_end(c, n->type.dim[0], s.rows, 1);
}
