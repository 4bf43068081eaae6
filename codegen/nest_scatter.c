/* nest_scatter.c: scatter as StableHLO defines it. Every task owns a range of the first scattered dim of the
 * result: it copies the operand's part of that range, then goes through all indices in order and takes the
 * updates that fall into it. So no two tasks write the same element, and sums have one order. */
#include "codegen/cg_rules.h"

#include <string.h>

typedef struct scatter {
    const ir_node *node;
    const ir_type *out, *indices, *updates;
    int window_count, inserted_count, batching_count, mapped_count;
    const int64_t *window, *inserted, *operand_batching, *indices_batching, *mapped;
    int vector_dim;
    int place_count, place[IR_MAX_RANK]; /* dims of updates that say which index */
    int of_window[IR_MAX_RANK];          /* per dim of the result: dim of updates that runs in it, or -1 */
    cg_value low, high;                  /* range of the task in dim mapped[0] */
    cg_value start[IR_MAX_RANK];
} scatter;

static bool is_among(const int64_t *list, int count, int64_t x)
{
    for (int i = 0; i < count; i++) {
        if (list[i] == x) return true;
    }
    return false;
}

static scatter describe(cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    int count;
    scatter s = {
        .node = n, .out = &n->type, .indices = cg_type(c, n->in[1]), .updates = cg_type(c, n->in[2])};
    s.window = ir_attr_ints(n, ATTR_update_window_dims, &s.window_count);
    s.inserted = ir_attr_ints(n, ATTR_inserted_window_dims, &s.inserted_count);
    s.operand_batching = ir_attr_ints(n, ATTR_operand_batching_dims, &s.batching_count);
    s.indices_batching = ir_attr_ints(n, ATTR_indices_batching_dims, &count);
    s.mapped = ir_attr_ints(n, ATTR_scatter_dims, &s.mapped_count);
    s.vector_dim = (int)ir_attr_int(n, ATTR_index_vector_dim, s.indices->rank);
    for (int d = 0; d < s.updates->rank; d++) {
        if (!is_among(s.window, s.window_count, d)) s.place[s.place_count++] = d;
    }
    for (int d = 0, k = 0; d < s.out->rank; d++) {
        bool absent =
            is_among(s.inserted, s.inserted_count, d) || is_among(s.operand_batching, s.batching_count, d);
        s.of_window[d] = absent ? -1 : (int)s.window[k++];
    }
    return s;
}

static void copy_operand(cg *c, const cg_index *at, int turn, cg_value *value, void *context)
{
    const scatter *s = context;
    (void)turn, (void)value;
    cg_value lanes = cg_element(c, s->node->in[0], at);
    cg_root_store(c, 0, at, lanes);
}

/* One vector of a window. at: index in updates. */
static void apply_update(cg *c, const cg_index *at, int turn, cg_value *value, void *context)
{
    const scatter *s = context;
    const ir_value root = c->body->root[0];
    const char *kind = ir_attr_text(s->node, ATTR_kind);
    (void)turn, (void)value;
    cg_index x = {.rank = s->out->rank, .lanes = at->lanes};
    for (int d = 0; d < s->out->rank; d++) {
        x.at[d] = s->of_window[d] < 0 ? cg_coord_uniform(cg_i64(c, 0)) : at->at[s->of_window[d]];
        if (s->start[d]) x.at[d] = cg_coord_add(c, &x.at[d], s->start[d]);
    }
    cg_value update = cg_element(c, s->node->in[2], at);
    if (strcmp(kind, "replace") != 0) {
        cg_memo_clear(c);
        cg_bind_memory(c, root, c->arg[cg_body_root_arg(c->body, 0)], false);
        update = cg_combine(c, kind, s->out->dtype, cg_element(c, root, &x), update);
        cg_unbind(c, root);
    }
    cg_root_store(c, 0, &x, update);
}

/* Loads the start of one window; the predicate tells whether it lies inside, and in the task's range. */
static cg_value load_start(cg *c, scatter *s, const cg_value *place)
{
    cg_value inside = LLVMConstInt(c->i1, 1, 0), at[IR_MAX_RANK + 1] = {0};
    for (int i = 0, k = 0; i < s->place_count; i++) {
        if (k == s->vector_dim) k++;
        at[k++] = place[i];
    }
    for (int d = 0; d < s->out->rank; d++) s->start[d] = NULL;
    for (int i = 0; i < s->mapped_count; i++) {
        const int64_t d = s->mapped[i];
        if (s->vector_dim < s->indices->rank) at[s->vector_dim] = cg_i64(c, i);
        cg_index x = cg_index_make(1, s->indices->rank, at);
        bool is_signed = ir_dtype_class_of(s->indices->dtype) == DTYPE_SIGNED;
        s->start[d] = LLVMBuildIntCast2(c->b, cg_element(c, s->node->in[1], &x), c->i64, is_signed, "");
        cg_value size = s->of_window[d] < 0 ? cg_i64(c, 1) : cg_dim(c, s->updates->dim[s->of_window[d]]);
        cg_value last = cg_sub(c, cg_dim(c, s->out->dim[d]), size);
        inside = cg_and(c, inside, cg_icmp(c, LLVMIntULE, s->start[d], last));
        if (i == 0 && s->low) {
            inside = cg_and(c, inside, cg_icmp(c, LLVMIntSGE, s->start[d], s->low));
            inside = cg_and(c, inside, cg_icmp(c, LLVMIntSLT, s->start[d], s->high));
        }
    }
    for (int i = 0; i < s->batching_count; i++) s->start[s->operand_batching[i]] = at[s->indices_batching[i]];
    return inside;
}

/* The operand is a variable that is written in place. */
static bool is_in_place(const cg *c, const scatter *s)
{
    const ir_node *n = cg_node(c, s->node->in[0]);
    return n->op == OP_parameter && c->body->arg_shared[ir_attr_int(n, ATTR_index, 0)];
}

static void copy_range(cg *c, scatter *s)
{
    if (is_in_place(c, s)) return;
    cg_walk w = {.shape = s->out};
    cg_walk_size(c, &w);
    cg_loop l;
    const int first = s->low ? (int)s->mapped[0] : -1;
    if (s->low) {
        cg_loop_begin(c, &l, s->low, s->high, 1, 0, NULL);
        w.at[first] = l.i;
    }
    for (int d = 0; d < s->out->rank; d++) {
        if (d != first) w.dim[w.count++] = d;
    }
    cg_walk_emit(c, &w, copy_operand, s);
    if (s->low) cg_loop_end(c, &l, NULL);
}

void cg_nest_scatter(cg *c)
{
    enum { TASKS = 16, ROWS = 64 };
    if (c->body->root_count != 1 || c->body->root[0] != c->body->main) {
        cg_scatter_rows(c);
        return;
    }
    scatter s = describe(c);
    const int64_t d = s.mapped_count ? s.mapped[0] : 0;
    const bool parts = s.mapped_count && s.of_window[d] < 0 && !s.out->dim[d].batch;
    const ir_dim rows = parts ? s.out->dim[d] : ir_fixed(1);
    const int64_t grain = parts ? base_max(ROWS, base_ceil_div(rows.count, TASKS)) : 1;
    cg_kernel_begin(c);
    if (parts) cg_task_rows(c, rows, grain, 1, &s.low, &s.high, NULL);
    copy_range(c, &s);
    cg_loop l;
    cg_branch br;
    cg_value place[IR_MAX_RANK];
    ir_type places = ir_type_make(DTYPE_i64, 0, NULL);
    for (int i = 0; i < s.place_count; i++) places.dim[places.rank++] = s.updates->dim[s.place[i]];
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_elements(c, &places, 0, places.rank), 1, 0, NULL);
    cg_index_split(c, &places, 0, places.rank, l.i, place);
    cg_if_begin(c, &br, load_start(c, &s, place), 0, NULL);
    cg_walk w = {.shape = s.updates, .count = s.window_count};
    cg_walk_size(c, &w);
    w.unroll = 1;
    for (int i = 0; i < s.window_count; i++) w.dim[i] = (int)s.window[i];
    for (int i = 0; i < s.place_count; i++) w.at[s.place[i]] = place[i];
    cg_walk_emit(c, &w, apply_update, &s);
    cg_if_end(c, &br, NULL);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, 1);
}
