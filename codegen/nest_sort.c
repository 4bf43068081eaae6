/* nest_sort.c: sort along one dim. Each line of the keys is sorted by itself: a bottom-up merge sort of the
 * elements' numbers in scratch memory, then every operand is written in that order. Stable; NaN stands last. */
#include "codegen/cg_rules.h"

typedef struct sorter {
    const ir_node *node;
    const ir_type *type; /* of the keys */
    int dim;
    int64_t length;
    bool descending;
    cg_value at[IR_MAX_RANK]; /* the line's coordinates */
} sorter;

static cg_index index_at(const sorter *s, cg_value i)
{
    cg_value at[IR_MAX_RANK];
    for (int d = 0; d < s->type->rank; d++) at[d] = d == s->dim ? i : s->at[d];
    return cg_index_make(1, s->type->rank, at);
}

static cg_value load_number(cg *c, cg_value numbers, cg_value i)
{
    cg_value number = cg_load(c, c->i32, cg_at(c, c->i32, numbers, i), 4);
    return LLVMBuildZExt(c->b, number, c->i64, "");
}

static void store_number(cg *c, cg_value numbers, cg_value i, cg_value number)
{
    cg_store(c, LLVMBuildTrunc(c->b, number, c->i32, ""), cg_at(c, c->i32, numbers, i), 4);
}

/* True when key b must stand before key a. */
static cg_value emit_before(cg *c, const sorter *s, cg_value a, cg_value b)
{
    const ir_dtype t = s->type->dtype;
    if (!ir_dtype_is_float(t)) {
        const bool is_signed = ir_dtype_class_of(t) == DTYPE_SIGNED;
        const LLVMIntPredicate less = is_signed ? LLVMIntSLT : LLVMIntULT, more = is_signed ? LLVMIntSGT : LLVMIntUGT;
        return cg_icmp(c, s->descending ? more : less, b, a);
    }
    a = cg_widen(c, t, a);
    b = cg_widen(c, t, b);
    cg_value last = cg_and(c, cg_fcmp(c, LLVMRealUNO, a, a), cg_fcmp(c, LLVMRealORD, b, b));
    return cg_or(c, last, cg_fcmp(c, s->descending ? LLVMRealOGT : LLVMRealOLT, b, a));
}

/* Merges neighbouring runs of `width` numbers of `from` into runs of twice that in `to`. */
static void emit_merge(cg *c, const sorter *s, cg_value width, cg_value from, cg_value to)
{
    const ir_value keys = s->node->in[0];
    cg_value length = cg_i64(c, s->length), most = cg_i64(c, s->length - 1), one = cg_i64(c, 1);
    cg_value two = cg_mul(c, width, cg_i64(c, 2)), next[2] = {cg_i64(c, 0), cg_i64(c, 0)};
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), length, 1, 2, next);
    cg_value start = cg_sub(c, l.i, cg_rem(c, l.i, two)), fresh = cg_icmp(c, LLVMIntEQ, start, l.i);
    cg_value a_end = cg_min(c, cg_add(c, start, width), length), b_end = cg_min(c, cg_add(c, start, two), length);
    cg_value a = cg_select(c, fresh, start, next[0]), b = cg_select(c, fresh, a_end, next[1]);
    cg_value number_a = load_number(c, from, cg_min(c, a, most)), number_b = load_number(c, from, cg_min(c, b, most));
    cg_index index_a = index_at(s, number_a), index_b = index_at(s, number_b);
    cg_value before = emit_before(c, s, cg_element(c, keys, &index_a), cg_element(c, keys, &index_b));
    cg_value take_b = cg_or(c, cg_icmp(c, LLVMIntSGE, a, a_end), cg_and(c, cg_icmp(c, LLVMIntSLT, b, b_end), before));
    store_number(c, to, l.i, cg_select(c, take_b, number_b, number_a));
    next[0] = cg_select(c, take_b, a, cg_add(c, a, one));
    next[1] = cg_select(c, take_b, cg_add(c, b, one), b);
    cg_loop_end(c, &l, next);
}

/* Returns the address of the numbers of the line's elements in their new order. */
static cg_value emit_order(cg *c, const sorter *s, cg_value first, cg_value second)
{
    int passes = 0;
    while ((int64_t)1 << passes < s->length) passes++;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, s->length), 1, 0, NULL);
    store_number(c, first, l.i, l.i);
    cg_loop_end(c, &l, NULL);
    cg_value state[3] = {cg_i64(c, 1), first, second};
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, passes), 1, 3, state);
    emit_merge(c, s, state[0], state[1], state[2]);
    cg_value sorted = state[2];
    state[0] = cg_mul(c, state[0], cg_i64(c, 2));
    state[2] = state[1];
    state[1] = sorted;
    cg_loop_end(c, &l, state);
    return state[1];
}

/* Where element e of the tuple lies: behind the others, each a multiple of 64 bytes (a row's, where the
 * tuple grows with the batch). */
static cg_value place_element(cg *c, const sorter *s, int e)
{
    int64_t bytes = 0;
    ir_dim all;
    bool batch = false;
    for (int i = 0; i < s->node->in_count; i++) {
        const ir_type *t = cg_type(c, s->node->in[i]);
        bug_if(!ir_type_elements(t, &all), "a sort over two batches");
        batch = batch || all.batch;
        const int64_t size = all.count * (int64_t)ir_dtype_size(t->dtype);
        if (i < e) bytes += (size + 63) / 64 * 64;
    }
    cg_value skipped = cg_dim(c, (ir_dim){bytes, batch});
    return cg_at(c, c->i8, c->arg[cg_body_root_arg(c->body, 0)], skipped);
}

static void emit_line(cg *c, const sorter *s, cg_value first, cg_value second)
{
    cg_value order = emit_order(c, s, first, second);
    for (int e = 0; e < s->node->in_count; e++) {
        cg_value address = place_element(c, s, e);
        cg_loop l;
        cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, s->length), 1, 0, NULL);
        cg_index from = index_at(s, load_number(c, order, l.i)), to = index_at(s, l.i);
        cg_element_store(c, s->node->in[e], address, &to, cg_element(c, s->node->in[e], &from));
        cg_loop_end(c, &l, NULL);
    }
}

void cg_nest_sort(cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    sorter s = {.node = n, .type = cg_type(c, n->in[0]), .dim = (int)ir_attr_int(n, ATTR_dimension, 0)};
    s.length = s.type->dim[s.dim].count;
    s.descending = ir_attr_int(n, ATTR_descending, 0) != 0;
    int dims[IR_MAX_RANK], count = 0;
    for (int d = 0; d < s.type->rank; d++) {
        if (d != s.dim) dims[count++] = d;
    }
    const ir_dim rows = cg_dims_product(s.type, count, dims);
    const int64_t grain = base_max(4096 / base_max(s.length, 1), 1);
    cg_kernel_begin(c);
    cg_value first = cg_scratch(c, 4 * s.length), second = cg_scratch(c, 4 * s.length), begin, end;
    cg_task_rows(c, rows, grain, 1, &begin, &end, NULL);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    cg_value linear = l.i;
    for (int i = count - 1; i >= 0; i--) {
        cg_value dim = cg_dim(c, s.type->dim[dims[i]]), quotient = i ? cg_div(c, linear, dim) : cg_i64(c, 0);
        s.at[dims[i]] = cg_sub(c, linear, cg_mul(c, quotient, dim));
        linear = quotient;
    }
    emit_line(c, &s, first, second);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, 1);
}
