/* element.c: the elements of a value at an index. A value comes from where its binding says; computed values
 * ask their operation's rule (cpu_rules.c), which asks for its operands' elements. What was emitted is kept
 * per value and index, so a value that is used twice is emitted once. */
#include "codegen/cg_rules.h"

#include <string.h>

/* ---- memo ----------------------------------------------------------------------------------- */

typedef struct memo_entry {
    ir_value v;
    int32_t older; /* next older entry of v, + 1; 0: none */
    size_t serial; /* ascending, also across clears: marks stay meaningful */
    cg_index index;
    cg_value value;
} memo_entry;

struct cg_memo {
    memo_entry *entry;
    size_t count, capacity, serial;
    int32_t *newest; /* per value, + 1; 0: none */
};

static cg_memo *memo_of(cg *c)
{
    if (!c->memo) {
        c->memo = arena_new(&c->scratch, cg_memo);
        c->memo->newest = arena_array(&c->scratch, int32_t, c->body->graph->count);
    }
    return c->memo;
}

size_t cg_memo_mark(const cg *c) { return c->memo ? c->memo->serial : 0; }

void cg_memo_release(cg *c, size_t mark)
{
    cg_memo *m = c->memo;
    while (m && m->count && m->entry[m->count - 1].serial > mark) {
        const memo_entry *e = &m->entry[--m->count];
        m->newest[e->v] = e->older;
    }
}

void cg_memo_clear(cg *c) { cg_memo_release(c, 0); }

static bool equal_index(const cg_index *x, const cg_index *y)
{
    if (x->lanes != y->lanes || x->mask != y->mask) return false;
    for (int d = 0; d < x->rank; d++) {
        if (!cg_coord_equal(&x->at[d], &y->at[d])) return false;
    }
    return true;
}

static cg_value find_memo(cg *c, ir_value v, const cg_index *index)
{
    const cg_memo *m = memo_of(c);
    for (int32_t i = m->newest[v]; i; i = m->entry[i - 1].older) {
        if (equal_index(&m->entry[i - 1].index, index)) return m->entry[i - 1].value;
    }
    return NULL;
}

static void add_memo(cg *c, ir_value v, const cg_index *index, cg_value value)
{
    cg_memo *m = memo_of(c);
    memo_entry e = {.v = v, .older = m->newest[v], .serial = ++m->serial, .index = *index, .value = value};
    arena_push(&c->scratch, m->entry, m->count, m->capacity, e);
    m->newest[v] = (int32_t)m->count;
}

/* ---- bindings ------------------------------------------------------------------------------- */

static void bind(cg *c, ir_value v, cg_binding b)
{
    if (!c->binding) c->binding = arena_array(&c->scratch, cg_binding, c->body->graph->count);
    c->binding[v] = b;
    cg_memo_clear(c);
}

void cg_bind_result(cg *c, ir_value v, cg_value scalar)
{
    c->binding[v] = (cg_binding){.source = CG_VALUE, .address = scalar};
}

void cg_bind_value(cg *c, ir_value v, cg_value lanes_or_scalar)
{
    bind(c, v, (cg_binding){.source = CG_VALUE, .address = lanes_or_scalar});
}

void cg_bind_memory(cg *c, ir_value v, cg_value address, bool read_only)
{
    bind(c, v, (cg_binding){.source = CG_MEMORY, .read_only = read_only, .address = address});
}

void cg_unbind(cg *c, ir_value v) { bind(c, v, (cg_binding){.source = CG_COMPUTED}); }

/* ---- memory --------------------------------------------------------------------------------- */

typedef struct access {
    LLVMTypeRef element; /* in memory */
    int align, lanes;
    cg_value address; /* of the array */
    cg_coord at;      /* position */
    cg_value mask;
    bool read_only;
} access;

static access describe_access(cg *c, ir_value v, cg_value address, const cg_index *index)
{
    const ir_type *t = cg_type(c, v);
    access a = {.element = cg_memory_type(c, t->dtype), .align = (int)ir_dtype_size(t->dtype)};
    a.lanes = index->lanes;
    a.address = address;
    a.at = cg_index_linear(c, t, index);
    a.mask = index->mask;
    return a;
}

static cg_value load_one(cg *c, const access *a, cg_value position)
{
    cg_value v = cg_load(c, a->element, cg_at(c, a->element, a->address, position), a->align);
    if (a->read_only) cg_mark_read_only(c, v);
    return v;
}

static cg_value reverse_lanes(cg *c, cg_value v)
{
    int lane[64], lanes = cg_lanes_of(v);
    for (int i = 0; i < lanes; i++) lane[i] = lanes - 1 - i;
    return cg_shuffle(c, v, LLVMGetPoison(LLVMTypeOf(v)), lanes, lane);
}

static cg_value load_contiguous(cg *c, const access *a)
{
    const bool back = a->at.step < 0;
    cg_value first = back ? cg_add(c, a->at.base, cg_i64(c, 1 - a->lanes)) : a->at.base;
    cg_value address = cg_at(c, a->element, a->address, first), v;
    LLVMTypeRef type = cg_vector(a->element, a->lanes);
    if (a->mask) {
        v = cg_load_masked(c, type, address, a->align, back ? reverse_lanes(c, a->mask) : a->mask);
    } else {
        v = cg_load(c, type, address, a->align);
    }
    if (a->read_only) cg_mark_read_only(c, v);
    return back ? reverse_lanes(c, v) : v;
}

/* Lane by lane at a constant stride: cheaper than a gather. */
static cg_value load_strided(cg *c, const access *a)
{
    cg_value all = LLVMGetPoison(cg_vector(a->element, a->lanes));
    for (int lane = 0; lane < a->lanes; lane++) {
        cg_value position = cg_add(c, a->at.base, cg_i64(c, lane * a->at.step));
        all = cg_set_lane(c, all, lane, load_one(c, a, position));
    }
    return all;
}

static cg_value load_elements(cg *c, ir_value v, const cg_index *index)
{
    const cg_binding *b = &c->binding[v];
    access a = describe_access(c, v, b->address, index);
    a.read_only = b->read_only;
    cg_value out;
    if (cg_coord_is_uniform(&a.at)) {
        out = load_one(c, &a, a.at.base);
    } else if (!a.at.lanes && (a.at.step == 1 || a.at.step == -1)) {
        out = load_contiguous(c, &a);
    } else if (!a.at.lanes && !a.mask) {
        out = load_strided(c, &a);
    } else {
        out = cg_gather(c, a.element, a.address, cg_coord_lanes(c, &a.at, a.lanes), a.mask);
        if (a.read_only) cg_mark_read_only(c, out);
    }
    return cg_from_memory(c, cg_type(c, v)->dtype, out);
}

void cg_element_store(cg *c, ir_value v, cg_value address, const cg_index *index, cg_value lanes)
{
    access a = describe_access(c, v, address, index);
    cg_value out = cg_to_memory(c, cg_type(c, v)->dtype, cg_splat(c, lanes, index->lanes));
    if (a.lanes == 1) {
        cg_store(c, out, cg_at(c, a.element, address, a.at.base), a.align);
    } else if (!a.at.lanes && a.at.step == 1) {
        cg_value at = cg_at(c, a.element, address, a.at.base);
        if (a.mask) {
            cg_store_masked(c, out, at, a.align, a.mask);
        } else {
            cg_store(c, out, at, a.align);
        }
    } else if (a.mask) {
        cg_scatter(c, out, address, cg_coord_lanes(c, &a.at, a.lanes), a.mask);
    } else {
        const bool even = !a.at.lanes;
        cg_value position = even ? a.at.base : cg_coord_lanes(c, &a.at, a.lanes);
        for (int lane = 0; lane < a.lanes; lane++) {
            cg_value at = even ? cg_add(c, position, cg_i64(c, lane * a.at.step)) : cg_lane(c, position, lane);
            cg_store(c, cg_lane(c, out, lane), cg_at(c, a.element, address, at), a.align);
        }
    }
}

void cg_root_store(cg *c, int r, const cg_index *index, cg_value lanes)
{
    cg_element_store(c, c->body->root[r], c->arg[cg_body_root_arg(c->body, r)], index, lanes);
}

void cg_main_results(cg *c, const cg_index *index, cg_value lanes, cg_result *out_result)
{
    const cg_body *b = c->body;
    cg_bind_value(c, b->main, lanes);
    for (int r = 0; r < b->root_count; r++) {
        ir_value v = b->root[r];
        if (r >= cg_body_results(b)) ir_sums_rows(b->graph, v, &v);
        out_result[r] = (cg_result){r, *index, cg_element(c, v, index)};
    }
    cg_unbind(c, b->main);
}

void cg_main_store(cg *c, const cg_index *index, cg_value lanes)
{
    const int count = c->body->root_count;
    cg_result *result = arena_array(&c->scratch, cg_result, (size_t)count);
    cg_main_results(c, index, lanes, result);
    for (int r = 0; r < cg_body_results(c->body); r++) cg_root_store(c, r, index, result[r].lanes);
}

/* ---- elements ------------------------------------------------------------------------------- */

static bool is_uniform(const cg_index *x)
{
    for (int d = 0; d < x->rank; d++) {
        if (!cg_coord_is_uniform(&x->at[d])) return false;
    }
    return true;
}

static cg_value compute_map(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    cg_step s = {.node = n, .to = n->type.dtype, .lanes = index->lanes};
    bug_if(n->in_count > (int)countof(s.in), "%s has %d operands", ir_op_name(n->op), n->in_count);
    s.from = cg_type(c, n->in[n->op == OP_select])->dtype;
    for (int i = 0; i < n->in_count; i++) s.in[i] = cg_element(c, n->in[i], index);
    return cg_map_emit(c, &s);
}

static cg_value compute_element(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    const cg_rule *rule = cg_rule_of(n->op);
    if (c->binding[v].source == CG_MEMORY) return load_elements(c, v, index);
    if (rule->map) return compute_map(c, v, index);
    bug_if(!rule->read, "%s inside a chain", ir_op_name(n->op));
    return rule->read(c, v, index);
}

cg_value cg_element_uniform(cg *c, ir_value v, const cg_index *index)
{
    cg_index x = *index;
    bug_if(x.rank != cg_type(c, v)->rank, "%s: index of rank %d for rank %d", ir_op_name(cg_node(c, v)->op),
           x.rank, cg_type(c, v)->rank);
    if (c->binding[v].source == CG_VALUE) return c->binding[v].address;
    if (is_uniform(&x)) {
        x.lanes = 1;
        x.mask = NULL;
    }
    cg_value value = find_memo(c, v, &x);
    if (value) return value;
    value = compute_element(c, v, &x);
    add_memo(c, v, &x, value);
    return value;
}

cg_value cg_element(cg *c, ir_value v, const cg_index *index)
{
    return cg_splat(c, cg_element_uniform(c, v, index), index->lanes);
}

cg_value cg_read_memory(cg *c, ir_value v, const cg_index *index)
{
    (void)index;
    bug("%s of the body is bound to no memory", ir_op_name(cg_node(c, v)->op));
}

static void prefetch_value(cg *c, ir_value v, const cg_index *index, int level, bool *done)
{
    const ir_node *n = cg_node(c, v);
    if (done[v]) return;
    done[v] = true;
    if (c->binding[v].source == CG_MEMORY) {
        const cg_coord at = cg_index_linear(c, &n->type, index);
        if (at.step) cg_prefetch(c, cg_memory_type(c, n->type.dtype), c->binding[v].address, at.base, level);
        return;
    }
    if (c->binding[v].source != CG_COMPUTED || ir_op_class(n->op) != CLASS_MAP) return;
    for (int i = 0; i < n->in_count; i++) prefetch_value(c, n->in[i], index, level, done);
}

void cg_element_prefetch(cg *c, ir_value v, const cg_index *index, int level)
{
    prefetch_value(c, v, index, level, arena_array(&c->scratch, bool, c->body->graph->count));
}
