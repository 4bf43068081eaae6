/* nest_sort.c: stable sort of lines along one dim. Every element of the first operand becomes a word whose
 * upper half orders as the element does and whose lower half is its position; so comparing words compares
 * elements, equal ones keep their order, and the sorted words say where each operand's elements come from.
 * The words of a line are merged in scratch memory, in runs of 1, 2, 4 .. . */
#include "codegen/cg_rules.h"

typedef struct sorter {
    const ir_node *node;
    const ir_type *key; /* type of the first operand */
    int dim;
    int64_t length;
    bool descending;
    LLVMTypeRef half, word;
    cg_value a, b;            /* the words, and room for as many; one more each, read and not used */
    cg_value at[IR_MAX_RANK]; /* the line's coordinates; at[dim] is free */
    cg_value *result;         /* address per element of the tuple */
} sorter;

static cg_index index_at(const sorter *s, cg_value position)
{
    cg_value at[IR_MAX_RANK];
    for (int d = 0; d < s->key->rank; d++) at[d] = d == s->dim ? position : s->at[d];
    return cg_index_make(1, s->key->rank, at);
}

/* ---- words ------------------------------------------------------------------------------- */

static cg_value flip(cg *c, cg_value bits, cg_value mask) { return LLVMBuildXor(c->b, bits, mask, ""); }

static cg_value sign_of(LLVMTypeRef type)
{
    return LLVMConstInt(type, 1ull << (LLVMGetIntTypeWidth(type) - 1), 0);
}

/* IEEE bits order as unsigned numbers do when negative ones are turned over and the others get the top bit.
 * The two zeros are equal, and NaN stands last whatever the direction. */
static cg_value order_float(cg *c, const sorter *s, cg_value x)
{
    const LLVMTypeRef type = LLVMTypeOf(x), bits_type = type == c->f64 ? c->i64 : c->i32;
    const cg_value zero = LLVMConstNull(type), ones = LLVMConstAllOnes(bits_type);
    const cg_value top = LLVMConstInt(bits_type, LLVMGetIntTypeWidth(bits_type) - 1, 0);
    const cg_value nan = cg_fcmp(c, LLVMRealUNO, x, x);
    x = cg_select(c, cg_fcmp(c, LLVMRealOEQ, x, zero), zero, x);
    cg_value bits = LLVMBuildBitCast(c->b, x, bits_type, "");
    const cg_value negative = LLVMBuildAShr(c->b, bits, top, "");
    bits = flip(c, bits, cg_or(c, negative, sign_of(bits_type)));
    if (s->descending) bits = flip(c, bits, ones);
    return cg_select(c, nan, ones, bits);
}

static cg_value order_integer(cg *c, const sorter *s, cg_value x)
{
    const LLVMTypeRef type = LLVMTypeOf(x);
    if (ir_dtype_class_of(s->key->dtype) == DTYPE_SIGNED) x = flip(c, x, sign_of(type));
    return s->descending ? flip(c, x, LLVMConstAllOnes(type)) : x;
}

static cg_value make_word(cg *c, const sorter *s, cg_value position)
{
    const ir_dtype t = s->key->dtype;
    const cg_index at = index_at(s, position);
    cg_value x = cg_element(c, s->node->in[0], &at);
    x = ir_dtype_is_float(t) ? order_float(c, s, cg_widen(c, t, x)) : order_integer(c, s, x);
    const cg_value shift = LLVMConstInt(s->word, LLVMGetIntTypeWidth(s->half), 0);
    x = LLVMBuildShl(c->b, LLVMBuildZExtOrBitCast(c->b, x, s->word, ""), shift, "");
    return cg_or(c, x, LLVMBuildZExtOrBitCast(c->b, position, s->word, ""));
}

static cg_value load_word(cg *c, const sorter *s, cg_value from, cg_value position)
{
    return cg_load(c, s->word, cg_at(c, s->word, from, position), 8);
}

static void store_word(cg *c, const sorter *s, cg_value to, cg_value position, cg_value word)
{
    cg_store(c, word, cg_at(c, s->word, to, position), 8);
}

/* ---- merging ----------------------------------------------------------------------------- */

/* Runs from[bound[0] .. bound[1]) and from[bound[1] .. bound[2]) become one in `to`; no branch depends on the
 * elements. */
static void merge_runs(cg *c, const sorter *s, cg_value from, cg_value to, const cg_value bound[3])
{
    cg_loop l;
    cg_value next[2] = {bound[0], bound[1]};
    cg_loop_begin(c, &l, bound[0], bound[2], 1, 2, next);
    const cg_value left = load_word(c, s, from, next[0]), right = load_word(c, s, from, next[1]);
    const cg_value spent = cg_icmp(c, LLVMIntEQ, next[0], bound[1]);
    const cg_value more = cg_icmp(c, LLVMIntSLT, next[1], bound[2]);
    const cg_value less = cg_icmp(c, LLVMIntULT, right, left);
    const cg_value take = cg_or(c, spent, cg_and(c, more, less));
    store_word(c, s, to, l.i, cg_select(c, take, right, left));
    next[1] = cg_add(c, next[1], LLVMBuildZExt(c->b, take, c->i64, ""));
    next[0] = cg_sub(c, cg_add(c, cg_add(c, l.i, cg_i64(c, 1)), bound[1]), next[1]);
    cg_loop_end(c, &l, next);
}

/* Returns which of the two places the words lie in at the end. */
static cg_value merge_line(cg *c, const sorter *s)
{
    enum { FROM, TO, WIDTH, STATES };
    int64_t passes = 0;
    while (((int64_t)1 << passes) < s->length) passes++;
    const cg_value length = cg_i64(c, s->length);
    cg_loop pass, run;
    cg_value state[STATES] = {s->a, s->b, cg_i64(c, 1)};
    cg_loop_begin(c, &pass, cg_i64(c, 0), cg_i64(c, passes), 1, STATES, state);
    const cg_value width = state[WIDTH], both = cg_add(c, width, width);
    const cg_value runs = cg_div(c, cg_add(c, length, cg_sub(c, both, cg_i64(c, 1))), both);
    cg_loop_begin(c, &run, cg_i64(c, 0), runs, 1, 0, NULL);
    const cg_value start = cg_mul(c, run.i, both);
    const cg_value bound[] = {start, cg_min(c, cg_add(c, start, width), length),
                              cg_min(c, cg_add(c, start, both), length)};
    merge_runs(c, s, state[FROM], state[TO], bound);
    cg_loop_end(c, &run, NULL);
    cg_value after[STATES] = {state[TO], state[FROM], both};
    cg_loop_end(c, &pass, after);
    return after[FROM];
}

/* ---- lines ------------------------------------------------------------------------------- */

static void emit_line(cg *c, const sorter *s)
{
    cg_loop l;
    const cg_value length = cg_i64(c, s->length);
    cg_loop_begin(c, &l, cg_i64(c, 0), length, 1, 0, NULL);
    store_word(c, s, s->a, l.i, make_word(c, s, l.i));
    cg_loop_end(c, &l, NULL);
    const cg_value sorted = merge_line(c, s);
    cg_loop_begin(c, &l, cg_i64(c, 0), length, 1, 0, NULL);
    const cg_value low = LLVMBuildTrunc(c->b, load_word(c, s, sorted, l.i), s->half, "");
    const cg_index to = index_at(s, l.i);
    const cg_index from = index_at(s, LLVMBuildZExtOrBitCast(c->b, low, c->i64, ""));
    for (int e = 0; e < s->node->in_count; e++) {
        const ir_value in = s->node->in[e];
        cg_element_store(c, in, s->result[e], &to, cg_element(c, in, &from));
    }
    cg_loop_end(c, &l, NULL);
}

/* The elements of the tuple lie one after another, each a multiple of 64 bytes (times N when they grow with
 * N). */
static void find_results(cg *c, sorter *s)
{
    ir_dim skipped = ir_fixed(0);
    s->result = arena_array(&c->scratch, cg_value, (size_t)s->node->in_count);
    for (int e = 0; e < s->node->in_count; e++) {
        const ir_type *t = cg_type(c, s->node->in[e]);
        ir_dim all = ir_fixed(0);
        bug_if(!ir_type_elements(t, &all), "a sort whose elements cannot be counted");
        skipped.batch = all.batch;
        s->result[e] = cg_at(c, c->i8, c->arg[cg_body_root_arg(c->body, 0)], cg_dim(c, skipped));
        skipped.count += (all.count * (int64_t)ir_dtype_size(t->dtype) + 63) / 64 * 64;
    }
}

static sorter describe(cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    sorter s = {.node = n, .key = cg_type(c, n->in[0])};
    s.dim = (int)ir_attr_int(n, ATTR_dimension, 0);
    s.length = s.key->dim[s.dim].count;
    s.descending = ir_attr_int(n, ATTR_descending, 0) != 0;
    const bool wide = ir_dtype_size(s.key->dtype) > 4;
    s.half = wide ? c->i64 : c->i32;
    s.word = LLVMIntTypeInContext(c->context, wide ? 128 : 64);
    bug_if(s.key->dim[s.dim].batch || s.length > INT32_MAX, "a sort that body.c should have refused");
    return s;
}

/* Lines of one task: the more elements and levels of merging, the fewer. */
static int64_t choose_grain(const cg *c, const sorter *s)
{
    enum { WORK = 8 }; /* simple operations per element and level */
    int64_t bytes = 0, levels = 1;
    while (((int64_t)1 << levels) < s->length) levels++;
    for (int e = 0; e < s->node->in_count; e++)
        bytes += 2 * (int64_t)ir_dtype_size(cg_type(c, s->node->in[e])->dtype);
    return cg_grain(bytes * s->length, WORK * levels * s->length);
}

void cg_nest_sort(cg *c)
{
    sorter s = describe(c);
    const int64_t word_bytes = (int64_t)LLVMGetIntTypeWidth(s.word) / 8, grain = choose_grain(c, &s);
    int other[IR_MAX_RANK];
    ir_type lines = ir_type_make(DTYPE_i64, 0, NULL);
    for (int d = 0; d < s.key->rank; d++) {
        if (d == s.dim) continue;
        other[lines.rank] = d;
        lines.dim[lines.rank++] = s.key->dim[d];
    }
    const ir_dim rows = cg_dims_product(s.key, lines.rank, other);
    cg_kernel_begin(c);
    cg_value begin, end, place[IR_MAX_RANK];
    s.a = cg_scratch(c, (s.length + 1) * word_bytes);
    s.b = cg_scratch(c, (s.length + 1) * word_bytes);
    find_results(c, &s);
    cg_task_rows(c, rows, grain, 1, &begin, &end, NULL);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    cg_index_split(c, &lines, 0, lines.rank, l.i, place);
    for (int i = 0; i < lines.rank; i++) s.at[other[i]] = place[i];
    emit_line(c, &s);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, 1);
}
