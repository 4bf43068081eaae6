/* reduce.c: reductions over any dims. Where the innermost dim is reduced, a task walks rows with several
 * vector accumulators. Where it is kept, vectors run along it and whole rows are added up one after another, so that
 * memory is read in order, in short chunks of rows, so that sums of many rows lose no precision: in registers, or, when a
 * row has too many columns, in scratch memory. */
#include "codegen/reduce.h"

typedef struct reduction {
    const ir_type *full;
    int kept_count, kept[IR_MAX_RANK];
    int reduced_count, reduced[IR_MAX_RANK];
    int64_t splits;
    bool has_splits;
    int first, fold_count; /* roots */
    cg_fold *fold;
    int64_t bytes, work; /* per element */
} reduction;

cg_fold cg_fold_of(const cg *c, ir_value root)
{
    const ir_node *n = cg_node(c, root);
    cg_fold f = {
        .kind = ir_attr_text(n, ATTR_kind), .operand = n->in[0], .type = cg_type(c, n->in[0])->dtype};
    bool narrow = f.type == DTYPE_f16 || f.type == DTYPE_bf16;
    f.sum_type = narrow ? DTYPE_f32 : f.type;
    return f;
}

cg_value cg_fold_start(cg *c, const cg_fold *f, int lanes)
{
    return cg_combine_start(c, f->kind, f->sum_type, lanes);
}

cg_value cg_fold_add(cg *c, const cg_fold *f, cg_value sum, cg_value element)
{
    if (f->sum_type != f->type) element = cg_widen(c, f->type, element);
    return cg_combine_part(c, f->kind, f->sum_type, sum, element);
}

cg_value cg_fold_finish(cg *c, const cg_fold *f, int count, int stride, cg_value *sum)
{
    for (int step = 1; step < count; step *= 2) {
        for (int i = 0; i + step < count; i += 2 * step) {
            sum[i * stride] = cg_combine(c, f->kind, f->sum_type, sum[i * stride], sum[(i + step) * stride]);
        }
    }
    cg_value one = cg_combine_lanes(c, f->kind, f->sum_type, sum[0]);
    return f->sum_type != f->type ? cg_narrow(c, f->type, one) : one;
}

static reduction describe(cg *c, int first, int roots)
{
    const cg_body *b = c->body;
    const ir_node *n = cg_node(c, b->root[first]);
    reduction x = {.full = cg_type(c, n->in[0]), .splits = ir_attr_int(n, ATTR_splits, 1)};
    x.has_splits = ir_attr_find(n, ATTR_splits) != NULL;
    int count;
    const int64_t *dims = ir_attr_ints(n, ATTR_dimensions, &count);
    bool reduced[IR_MAX_RANK] = {false};
    for (int i = 0; i < count; i++) reduced[dims[i]] = true;
    for (int d = 0; d < x.full->rank; d++) {
        if (reduced[d])
            x.reduced[x.reduced_count++] = d;
        else
            x.kept[x.kept_count++] = d;
    }
    x.first = first;
    x.fold_count = roots;
    x.fold = arena_array(&c->scratch, cg_fold, (size_t)roots);
    for (int r = 0; r < roots; r++) x.fold[r] = cg_fold_of(c, b->root[first + r]);
    cg_body_cost(b, &x.bytes, &x.work);
    return x;
}

/* Part `part` of `splits` parts of 0 .. total - 1; inner borders are multiples of `align`. */
static void split_range(cg *c, cg_value total, int64_t splits, cg_value part, int64_t align,
                        cg_value *out_begin, cg_value *out_end)
{
    cg_value count = cg_i64(c, splits), mask = cg_i64(c, -align), next = cg_add(c, part, cg_i64(c, 1));
    *out_begin = cg_and(c, cg_div(c, cg_mul(c, part, total), count), mask);
    cg_value end = cg_and(c, cg_div(c, cg_mul(c, next, total), count), mask);
    *out_end = cg_select(c, cg_icmp(c, LLVMIntEQ, next, count), total, end);
}

/* Index of a result: the part, then the kept coordinates. */
static cg_index result_index(const reduction *x, int lanes, const cg_value *at, cg_value part)
{
    cg_value out[IR_MAX_RANK];
    int rank = 0;
    if (x->has_splits) out[rank++] = part;
    for (int i = 0; i < x->kept_count; i++) out[rank++] = at[x->kept[i]];
    return cg_index_make(lanes, rank, out);
}

static int64_t constant_size(const reduction *x, int count, const int *dim)
{
    ir_dim d = cg_dims_product(x->full, count, dim);
    return d.batch ? INT64_C(1) << 20 : d.count; /* a guess at large batches: then one row is a task */
}

/* ---- the innermost dim is reduced ----------------------------------------------------------- */

static void fold_step(cg *c, const cg_index *at, int turn, cg_value *value, void *context)
{
    const reduction *x = context;
    cg_value *sum = value + turn * x->fold_count;
    for (int k = 0; k < x->fold_count; k++) {
        sum[k] = cg_fold_add(c, &x->fold[k], sum[k], cg_element(c, x->fold[k].operand, at));
    }
}

static void reduce_row(cg *c, reduction *x, const cg_value *at, cg_value part)
{
    cg_walk w = {.shape = x->full, .count = x->reduced_count};
    cg_value value[CG_CARRIED];
    cg_walk_size(c, &w);
    w.unroll = 4;
    while (w.unroll > 1 && w.unroll * x->fold_count > c->target->registers / 2) w.unroll /= 2;
    if (w.compact) w.unroll = 1;
    for (int i = 0; i < x->reduced_count; i++) w.dim[i] = x->reduced[i];
    for (int i = 0; i < x->kept_count; i++) w.at[x->kept[i]] = at[x->kept[i]];
    if (x->splits > 1) {
        const bool flat = x->reduced_count == 1;
        const int outer = flat ? 1 : x->reduced_count - 1;
        cg_value total = cg_dim(c, cg_dims_product(x->full, outer, x->reduced));
        split_range(c, total, x->splits, part, flat ? CG_ALIGN : 1, &w.begin, &w.end);
    }
    w.value_count = w.unroll * x->fold_count;
    bug_if(w.value_count > CG_CARRIED, "%d accumulators", w.value_count);
    for (int i = 0; i < w.value_count; i++) value[i] = cg_fold_start(c, &x->fold[i % x->fold_count], w.lanes);
    w.value = value;
    cg_walk_emit(c, &w, fold_step, x);
    cg_index out = result_index(x, 1, at, part);
    for (int k = 0; k < x->fold_count; k++) {
        cg_value sum = cg_fold_finish(c, &x->fold[k], w.unroll, x->fold_count, value + k);
        cg_root_store(c, x->first + k, &out, sum);
    }
}

static void reduce_rows(cg *c, reduction *x)
{
    const ir_dim rows = cg_dims_product(x->full, x->kept_count, x->kept);
    int64_t size = base_ceil_div(constant_size(x, x->reduced_count, x->reduced), x->splits);
    int64_t grain = cg_grain(x->bytes * size, x->work * size);
    cg_value begin, end, part, at[IR_MAX_RANK];
    cg_task_rows(c, rows, grain, x->splits, &begin, &end, &part);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    cg_value linear = l.i;
    for (int i = x->kept_count - 1; i >= 0; i--) {
        cg_value dim = cg_dim(c, x->full->dim[x->kept[i]]),
                 quotient = i ? cg_div(c, linear, dim) : cg_i64(c, 0);
        at[x->kept[i]] = cg_sub(c, linear, cg_mul(c, quotient, dim));
        linear = quotient;
    }
    reduce_row(c, x, at, part);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, x->splits);
}

/* ---- the innermost dim is kept -------------------------------------------------------------- */

enum { CHUNK = 64, PIECE = 512, LONG_PIECE = 2048 }; /* the latter where the parts of a sum are tasks enough */

typedef struct columns {
    reduction *x;
    int last; /* the dim that the lanes run along */
    cg_value at[IR_MAX_RANK], part;
    cg_value begin, end; /* rows of the chunk: linear in the reduced dims */
    bool first;          /* nothing was stored before */
    cg_value sums;       /* scratch: float sums[folds][room], or NULL: the sums of a row are in registers */
    int64_t room;
    bool cut;            /* the columns are a piece of a row's */
    cg_value left, row;  /* first column; row that is being added to the sums in scratch memory */
} columns;

/* Coordinates of row `row`. */
static void set_row(cg *c, const columns *k, cg_value row, cg_value *at)
{
    const reduction *x = k->x;
    for (int d = 0; d < x->full->rank; d++) at[d] = k->at[d];
    for (int i = x->reduced_count - 1; i >= 0; i--) {
        cg_value dim = cg_dim(c, x->full->dim[x->reduced[i]]), quotient = i ? cg_div(c, row, dim) : cg_i64(c, 0);
        at[x->reduced[i]] = cg_sub(c, row, cg_mul(c, quotient, dim));
        row = quotient;
    }
}

static cg_index vector_index(cg *c, const columns *k, cg_value *at, cg_value position, int lanes, int j)
{
    at[k->last] = cg_add(c, position, cg_i64(c, (int64_t)j * lanes));
    cg_index index = cg_index_make(lanes, k->x->full->rank, at);
    cg_index_run(&index, k->last, lanes);
    return index;
}

/* Elements of row `row` at `width` vectors from `position` on, added to sum[]. */
static void add_row(cg *c, const columns *k, cg_value row, cg_value position, int lanes, int width, cg_value *sum)
{
    const reduction *x = k->x;
    cg_value at[IR_MAX_RANK];
    set_row(c, k, row, at);
    for (int j = 0; j < width; j++) {
        const cg_index index = vector_index(c, k, at, position, lanes, j);
        for (int f = 0; f < x->fold_count; f++) {
            cg_value *to = &sum[j * x->fold_count + f];
            *to = cg_fold_add(c, &x->fold[f], *to, cg_element(c, x->fold[f].operand, &index));
        }
    }
}

static void store_sums(cg *c, columns *k, cg_value position, int lanes, int width, cg_value *sum)
{
    const reduction *x = k->x;
    for (int j = 0; j < width; j++) {
        cg_value at[IR_MAX_RANK];
        for (int d = 0; d < x->full->rank; d++) at[d] = k->at[d];
        at[k->last] = cg_add(c, position, cg_i64(c, (int64_t)j * lanes));
        cg_index out = result_index(x, lanes, at, k->part);
        cg_index_run(&out, out.rank - 1, lanes);
        for (int f = 0; f < x->fold_count; f++) {
            const int number = x->first + f;
            const ir_value root = c->body->root[number];
            cg_value all = sum[j * x->fold_count + f];
            const cg_fold *fold = &x->fold[f];
            if (!k->first) {
                cg_bind_memory(c, root, c->arg[cg_body_root_arg(c->body, number)], false);
                all = cg_fold_add(c, fold, all, cg_element(c, root, &out));
                cg_unbind(c, root);
            }
            if (fold->sum_type != fold->type) all = cg_narrow(c, fold->type, all);
            cg_root_store(c, number, &out, all);
        }
    }
}

/* Sums of the chunk's rows in `width` vectors; few sums are kept several times over to hide the latency of
 * the additions. */
static void emit_block(cg *c, columns *k, cg_value position, int lanes, int width)
{
    const reduction *x = k->x;
    const int count = width * x->fold_count, copies = count <= 2 ? 4 : count <= 4 ? 2 : 1;
    cg_value sum[CG_CARRIED];
    for (int i = 0; i < copies * count; i++) sum[i] = cg_fold_start(c, &x->fold[i % x->fold_count], lanes);
    cg_value rows = cg_sub(c, k->end, k->begin);
    cg_value middle = cg_add(c, k->begin, cg_and(c, rows, cg_i64(c, -copies)));
    cg_loop l;
    cg_loop_begin(c, &l, k->begin, middle, copies, copies * count, sum);
    for (int u = 0; u < copies; u++) {
        add_row(c, k, cg_add(c, l.i, cg_i64(c, u)), position, lanes, width, sum + u * count);
    }
    cg_loop_end(c, &l, sum);
    if (copies > 1) {
        cg_loop_begin(c, &l, middle, k->end, 1, count, sum);
        add_row(c, k, l.i, position, lanes, width, sum);
        cg_loop_end(c, &l, sum);
    }
    for (int i = 0; i < copies * count; i++) {
        const cg_fold *f = &x->fold[i % x->fold_count];
        if (i >= count) sum[i % count] = cg_combine(c, f->kind, f->sum_type, sum[i % count], sum[i]);
    }
    store_sums(c, k, position, lanes, width, sum);
}

static void block_step(cg *c, cg_value position, int lanes, int width, void *context)
{
    emit_block(c, context, position, lanes, width);
}

/* ---- sums of a chunk in scratch memory ---- */

static cg_value sum_address(cg *c, const columns *k, cg_value position, int lanes, int j, int fold)
{
    cg_value at = cg_add(c, cg_sub(c, position, k->left), cg_i64(c, fold * k->room + (int64_t)j * lanes));
    return cg_at(c, c->f32, k->sums, at);
}

static void load_sums(cg *c, const columns *k, cg_value position, int lanes, int width, cg_value *sum)
{
    const int folds = k->x->fold_count;
    for (int i = 0; i < width * folds; i++) {
        sum[i] = cg_load(c, cg_vector(c->f32, lanes), sum_address(c, k, position, lanes, i / folds, i % folds), 4);
    }
}

static void start_step(cg *c, cg_value position, int lanes, int width, void *context)
{
    const columns *k = context;
    const int folds = k->x->fold_count;
    for (int i = 0; i < width * folds; i++) {
        cg_value start = cg_fold_start(c, &k->x->fold[i % folds], lanes);
        cg_store(c, start, sum_address(c, k, position, lanes, i / folds, i % folds), 4);
    }
}

/* Pieces of rows are too short for processors to fetch ahead by themselves. */
static void prefetch_next_row(cg *c, const columns *k, cg_value position, int lanes, int width)
{
    enum { PREFETCH = 2 };
    cg_value at[IR_MAX_RANK];
    set_row(c, k, cg_add(c, k->row, cg_i64(c, 1)), at);
    for (int j = 0; j < width && lanes == c->lanes; j++) {
        const cg_index index = vector_index(c, k, at, position, lanes, j);
        cg_element_prefetch(c, k->x->fold[0].operand, &index, PREFETCH);
    }
}

static void row_step(cg *c, cg_value position, int lanes, int width, void *context)
{
    const columns *k = context;
    const int folds = k->x->fold_count;
    cg_value sum[CG_CARRIED];
    if (k->cut) prefetch_next_row(c, k, position, lanes, width);
    load_sums(c, k, position, lanes, width, sum);
    add_row(c, k, k->row, position, lanes, width, sum);
    for (int i = 0; i < width * folds; i++) {
        cg_store(c, sum[i], sum_address(c, k, position, lanes, i / folds, i % folds), 4);
    }
}

static void finish_step(cg *c, cg_value position, int lanes, int width, void *context)
{
    cg_value sum[CG_CARRIED];
    load_sums(c, context, position, lanes, width, sum);
    store_sums(c, context, position, lanes, width, sum);
}

/* ---- chunks ---- */

/* Columns whose sums registers hold; the others are for what is computed from the elements. */
static int most_vectors(const cg *c, const reduction *x) { return c->target->registers * 3 / 4 / x->fold_count; }

/* Sums of whole rows do not fit the registers, but scratch memory. */
static bool is_wide(const cg *c, const reduction *x, int64_t columns_of_task)
{
    for (int f = 0; f < x->fold_count; f++)
        if (x->fold[f].sum_type != DTYPE_f32) return false;
    return columns_of_task / c->lanes > most_vectors(c, x);
}

/* The chunk's rows in columns [begin, end). */
static void emit_columns(cg *c, columns *k, cg_value begin, cg_value end)
{
    enum { WIDE_VECTORS = 4 };
    if (!k->sums) {
        cg_blocks_emit(c, begin, end, (int)base_max(1, most_vectors(c, k->x)), block_step, k);
        return;
    }
    cg_loop l;
    k->left = begin;
    cg_blocks_emit(c, begin, end, WIDE_VECTORS, start_step, k);
    cg_loop_begin(c, &l, k->begin, k->end, 1, 0, NULL);
    k->row = l.i;
    cg_blocks_emit(c, begin, end, WIDE_VECTORS, row_step, k);
    cg_loop_end(c, &l, NULL);
    cg_blocks_emit(c, begin, end, WIDE_VECTORS, finish_step, k);
}

/* All rows of one set of columns, chunk by chunk; later chunks add to what the first one stored. */
static void reduce_chunks(cg *c, columns *k, cg_value begin, cg_value end, cg_value from, cg_value to)
{
    cg_value first = cg_min(c, cg_add(c, from, cg_i64(c, CHUNK)), to);
    int64_t low, high;
    k->first = true;
    k->begin = from;
    k->end = first;
    emit_columns(c, k, begin, end);
    if (cg_is_i64(from, &low) && cg_is_i64(to, &high) && high - low <= CHUNK) return;
    k->first = false;
    cg_loop l;
    cg_loop_begin(c, &l, first, to, CHUNK, 0, NULL);
    k->begin = l.i;
    k->end = cg_min(c, cg_add(c, l.i, cg_i64(c, CHUNK)), to);
    emit_columns(c, k, begin, end);
    cg_loop_end(c, &l, NULL);
}

static void reduce_columns(cg *c, reduction *x)
{
    columns k = {.x = x, .last = x->full->rank - 1};
    const ir_dim rows = cg_dims_product(x->full, x->kept_count - 1, x->kept), width = x->full->dim[k.last];
    const int64_t piece_size = x->splits > 1 ? LONG_PIECE : PIECE;
    k.cut = !width.batch && width.count > 2 * piece_size;
    const int64_t pieces = k.cut ? base_ceil_div(width.count, piece_size) : 1, times = pieces * x->splits;
    const int64_t columns_of_task = k.cut ? piece_size : width.batch ? PIECE : width.count;
    int64_t size = base_ceil_div(constant_size(x, x->reduced_count, x->reduced), x->splits) * columns_of_task;
    const int64_t grain = cg_grain(x->bytes * size, x->work * size);
    cg_value begin, end, part, from = cg_i64(c, 0),
                               to = cg_dim(c, cg_dims_product(x->full, x->reduced_count, x->reduced));
    cg_task_rows(c, rows, grain, times, &begin, &end, &part);
    cg_value piece = cg_rem(c, part, cg_i64(c, pieces));
    k.part = cg_div(c, part, cg_i64(c, pieces));
    if (x->splits > 1) split_range(c, to, x->splits, k.part, 1, &from, &to);
    cg_value left = k.cut ? cg_mul(c, piece, cg_i64(c, piece_size)) : cg_i64(c, 0), right = cg_dim(c, width);
    if (k.cut) right = cg_min(c, cg_add(c, left, cg_i64(c, piece_size)), right);
    k.room = base_ceil_div(columns_of_task, c->lanes) * c->lanes;
    if (!width.batch && is_wide(c, x, columns_of_task)) k.sums = cg_scratch(c, 4 * k.room * x->fold_count);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    cg_value linear = l.i;
    for (int i = x->kept_count - 2; i >= 0; i--) {
        cg_value dim = cg_dim(c, x->full->dim[x->kept[i]]),
                 quotient = i ? cg_div(c, linear, dim) : cg_i64(c, 0);
        k.at[x->kept[i]] = cg_sub(c, linear, cg_mul(c, quotient, dim));
        linear = quotient;
    }
    reduce_chunks(c, &k, left, right, from, to);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, times);
}

void cg_reduce_write(cg *c, int first, int count)
{
    reduction x = describe(c, first, count);
    const bool kept_last = x.kept_count && x.kept[x.kept_count - 1] == x.full->rank - 1;
    if (kept_last) {
        reduce_columns(c, &x);
    } else {
        reduce_rows(c, &x);
    }
}

void cg_kernel_reduce(cg *c)
{
    if (cg_node(c, c->body->root[0])->op == OP_arg_reduce) {
        cg_arg_reduce(c);
        return;
    }
    cg_kernel_begin(c);
    cg_reduce_write(c, 0, c->body->root_count);
}
