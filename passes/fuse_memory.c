/* fuse_memory.c: which values are in memory and which are recomputed where they are needed. A value is kept
 * when somebody needs it as an array, or when recomputing it costs more than writing and reading it. The
 * bounds below count simple operations per element and depend on nothing but the graph. */
#include "passes/fuse.h"

enum {
    COST_SHARED = 5,   /* more than this, and several users: kept */
    COST_SINGLE = 8,   /* the same where all users could read the one array that it is computed from instead */
    COST_IMAGE = 32,   /* the same where convolutions of every channel by itself read it, which memory bounds, */
    TAPS_IMAGE = 9,    /* with so many taps at most: they ask for an element more than once */
    COST_REPEATED = 4, /* the same for what a broadcast repeats */
    COST_CHOSEN = 3,   /* the same for operands of concatenate and pad */
    COST_CHAIN = 160   /* longer chains are cut anyhow: they would need too many registers */
};

ir_value fuse_base(const ir_graph *g, ir_value v)
{
    while (passes_is_view(&g->node[v])) v = g->node[v].in[0];
    return v;
}

bool fuse_is_source_memory(const ir_node *n)
{
    return n->op == OP_parameter || n->op == OP_variable || (n->op == OP_constant && !passes_is_splat(n));
}

static int cost_of_op(const ir_node *n)
{
    switch (n->op) {
    case OP_rng_philox:
        return 24;
    case OP_divide:
    case OP_remainder:
    case OP_sqrt:
    case OP_rsqrt:
        return 3;
    case OP_gather:
    case OP_dynamic_update_slice:
        return 3;
    case OP_constant:
    case OP_broadcast_in_dim:
    case OP_reshape:
        return 0;
    default:
        return ir_op_precision(n->op) == PRECISION_WIDEN ? 8 : 1;
    }
}

/* Bias, mask and factors of an attention: computed block by block, never kept for it. */
static bool is_attention_chain(const ir_node *n, int slot)
{
    return (n->op == OP_attention || n->op == OP_attention_back) && slot >= ATTENTION_BIAS && slot <= ATTENTION_KEEP;
}

/* n convolves every channel by itself, or is the gradient of such a kernel: its image is not packed. */
static bool is_channelwise(const ir_graph *g, const ir_node *n)
{
    const ir_type *image = ir_type_of(g, n->in[0]);
    const int last = image->rank - 1;
    if (n->op != OP_convolution || image->dtype != DTYPE_f32 || image->dim[last].batch) return false;
    if (ir_attr_text(n, ATTR_out_layout)[n->type.rank - 1 - (ir_attr_find(n, ATTR_splits) != NULL)] != 'f') return false;
    const int64_t channels = image->dim[last].count;
    const bool forward = ir_attr_text(n, ATTR_lhs_layout)[last] == 'f';
    const int64_t groups = ir_attr_int(n, forward ? ATTR_feature_group_count : ATTR_batch_group_count, 1);
    const int64_t kernel = ir_type_elements_at(forward ? ir_type_of(g, n->in[1]) : &n->type, 1);
    const int64_t taps = kernel / ir_attr_int(n, ATTR_splits, 1) / base_max(channels, 1);
    return groups == channels && n->type.dim[n->type.rank - 1].count == channels && taps <= TAPS_IMAGE;
}

/* What user n asks of its operand number `slot`. */
static int demand_of_operand(const ir_graph *g, const ir_node *n, int slot)
{
    ir_unit many, few;
    switch (ir_op_class(n->op)) {
    case CLASS_CONTRACT:
        return slot == 0 && is_channelwise(g, n) ? DEMAND_IMAGE : DEMAND_OPERAND;
    case CLASS_NEST:
        return is_attention_chain(n, slot) || (slot == 0 && ir_scatters_rows(g, n)) ? 0 : DEMAND_MEMORY;
    case CLASS_SOURCE:
        return DEMAND_REPEAT;
    case CLASS_MAP:
    case CLASS_REDUCE:
    case CLASS_VIEW:
    case CLASS_TUPLE:
        return 0;
    case CLASS_MOVE:
        break;
    }
    switch (n->op) {
    case OP_broadcast_in_dim:
        return passes_elements(&n->type, &many) != passes_elements(ir_type_of(g, n->in[0]), &few) ||
                       many != few
                   ? DEMAND_REPEAT
                   : 0;
    case OP_gather:
        return slot == 0 ? DEMAND_MEMORY : DEMAND_REPEAT;
    case OP_dynamic_slice:
        return slot == 0 ? 0 : DEMAND_REPEAT;
    case OP_dynamic_update_slice:
        return slot > 1 ? DEMAND_REPEAT : DEMAND_CHEAP;
    case OP_concatenate:
    case OP_pad:
        return DEMAND_CHEAP;
    default:
        return 0;
    }
}

static int64_t count_elements(const ir_type *t, int from)
{
    int64_t count = 1;
    for (int d = from; d < t->rank; d++) count = base_min(count * t->dim[d].count, INT32_MAX);
    return count;
}

/* v, all whose users are known, is part of a chain when it is as large as the scores: smaller values may be kept. */
static bool is_chained(const fuse *f, ir_value v)
{
    const ir_node *n = &f->g->node[v];
    const ir_class class = ir_op_class(n->op);
    const bool computed = class == CLASS_MAP || class == CLASS_MOVE || class == CLASS_VIEW || class == CLASS_SOURCE;
    return f->scores[v] > 0 && !f->outside[v] && computed && !fuse_is_source_memory(n) &&
           n->type.rank >= 0 && count_elements(&n->type, 0) >= f->scores[v];
}

/* An operand of v is needed for scores of so many elements (rows x keys), or by somebody else. */
static void note_chain(fuse *f, ir_value v, int slot)
{
    const ir_node *n = &f->g->node[v];
    const ir_value in = n->in[slot];
    const ir_type *t = ir_type_of(f->g, in);
    const int64_t size = is_attention_chain(n, slot) ? count_elements(t, t->rank - 2) : f->chained[v] ? f->scores[v] : 0;
    if (size == 0) f->outside[in] = true;
    if (size > 0 && (f->scores[in] == 0 || size < f->scores[in])) f->scores[in] = size;
}

/* Back to front: who uses a value, and how. dimension_size reads only a shape. */
static void note_uses(fuse *f)
{
    const ir_graph *g = f->g;
    for (size_t i = 0; i < g->output_count; i++) {
        f->live[g->output[i].value] = true;
        f->uses[g->output[i].value]++;
        f->required[fuse_base(g, g->output[i].value)] = true;
        f->outside[g->output[i].value] = true;
    }
    for (size_t i = 0; i < g->update_count; i++) {
        f->live[g->update[i].value] = true;
        f->uses[g->update[i].value]++;
        f->required[fuse_base(g, g->update[i].value)] = true;
        f->outside[g->update[i].value] = true;
    }
    for (ir_value v = (ir_value)g->count - 1; v >= 0; v--) {
        const ir_node *n = &g->node[v];
        if (!f->live[v] || n->op == OP_dimension_size) continue;
        f->chained[v] = is_chained(f, v);
        for (int i = 0; i < n->in_count; i++) {
            const bool view = passes_is_view(n);
            f->live[n->in[i]] = true;
            note_chain(f, v, i);
            f->uses[n->in[i]] += view ? f->uses[v] : 1;
            f->demand[n->in[i]] |= view ? f->demand[v] : demand_of_operand(g, n, i);
            if (f->uses[n->in[i]] > 1000) f->uses[n->in[i]] = 1000;
        }
    }
}

static ir_value find_carried(const fuse *f, const ir_node *n)
{
    if (ir_op_class(n->op) != CLASS_MAP) return IR_NONE;
    for (int i = 0; i < n->in_count; i++) {
        const ir_value in = n->in[i], carried = f->carries[in];
        if (carried != IR_NONE && f->uses[in] == 1 && (carried == in || !f->memory[in]) &&
            ir_type_same_shape(&n->type, ir_type_of(f->g, in)))
            return carried;
    }
    return IR_NONE;
}

int fuse_chain_cost(const fuse *f, ir_value v)
{
    const ir_node *n = &f->g->node[v];
    int cost = cost_of_op(n);
    if (n->op == OP_dimension_size) return cost;
    for (int i = 0; i < n->in_count && cost < 10 * COST_CHAIN; i++) cost += f->cost[n->in[i]];
    return cost;
}

/* A 16-bit float as f32, or a view of it: one instruction, and half the bytes to read, so it is never kept for its own
 * sake. */
static bool is_free_widening(const fuse *f, ir_value v)
{
    const ir_node *n = &f->g->node[fuse_base(f->g, v)];
    if (n->op != OP_convert || n->type.dtype != DTYPE_f32) return false;
    const ir_dtype from = ir_type_of(f->g, n->in[0])->dtype;
    return from == DTYPE_f16 || from == DTYPE_bf16;
}

static int64_t bytes_of(const ir_type *t)
{
    enum { BATCH = 64 }; /* rows that N is taken for */
    return t->rank < 0 ? 0 : ir_type_elements_at(t, BATCH) * (int64_t)ir_dtype_size(t->dtype);
}

/* The array that a chain node reads, when it is cheap to compute from it. Operands that are smaller than the result, and
 * what is computed from no memory, are in the caches or in registers. */
static ir_value find_array(const fuse *f, const ir_node *n)
{
    ir_value array = IR_NONE;
    if (n->op == OP_dimension_size) return IR_NONE;
    if (ir_op_class(n->op) == CLASS_MAP && ir_op_precision(n->op) == PRECISION_WIDEN) return FUSE_ARRAYS;
    for (int i = 0; i < n->in_count; i++) {
        const ir_value in = n->in[i], own = f->memory[in] ? fuse_base(f->g, in) : f->array[in];
        if (own == IR_NONE || own == array || bytes_of(ir_type_of(f->g, in)) < bytes_of(&n->type)) continue;
        array = array == IR_NONE && own != FUSE_ARRAYS ? own : FUSE_ARRAYS;
    }
    return array;
}

/* Whether a chain node is kept. Its cost and what it carries are known. */
static bool is_worth_memory(const fuse *f, ir_value v)
{
    const int cost = f->cost[v], demand = f->demand[v];
    if (f->required[v] || (demand & DEMAND_MEMORY)) return true;
    if (f->chained[v]) return false;
    if (is_free_widening(f, v) && f->memory[f->g->node[fuse_base(f->g, v)].in[0]]) return false;
    if (demand & DEMAND_OPERAND) return true;
    const int most = f->array[v] < 0 ? COST_SHARED : demand & DEMAND_IMAGE ? COST_IMAGE : COST_SINGLE;
    if ((demand & DEMAND_IMAGE) && (f->array[v] < 0 || cost > COST_IMAGE)) return true;
    if (f->uses[v] > 1 && (cost > most || f->carries[v] != IR_NONE)) return true;
    if ((demand & DEMAND_REPEAT) && cost > COST_REPEATED) return true;
    if ((demand & DEMAND_CHEAP) && cost > COST_CHOSEN) return true;
    return cost > COST_CHAIN;
}

bool fuse_is_foreign_size(const fuse *f, const ir_node *n)
{
    return n->op == OP_dimension_size && f->g->module && f->g->module->ragged_count > 0;
}

static void choose_one(fuse *f, ir_value v)
{
    const ir_node *n = &f->g->node[v];
    const ir_class class = ir_op_class(n->op);
    f->carries[v] = IR_NONE;
    if (class == CLASS_CONTRACT || class == CLASS_NEST || class == CLASS_REDUCE || fuse_is_source_memory(n)) {
        f->memory[v] = true;
        f->cost[v] = 1;
        if (ir_takes_epilogue(f->g, n)) f->carries[v] = v;
        return;
    }
    if (passes_is_view(n) && f->memory[n->in[0]]) {
        f->memory[v] = true;
        f->cost[v] = 1;
        return;
    }
    f->carries[v] = find_carried(f, n);
    f->cost[v] = fuse_chain_cost(f, v);
    f->array[v] = find_array(f, n);
    if (!fuse_is_foreign_size(f, n) && !is_worth_memory(f, v)) return;
    const bool must = f->required[v] || (f->demand[v] & DEMAND_MEMORY);
    const bool narrow = !must && is_free_widening(f, v) && ir_op_class(f->g->node[n->in[0]].op) == CLASS_MAP;
    const ir_value kept = narrow ? n->in[0] : v; /* rather in 16 bits */
    f->memory[kept] = true;
    f->cost[kept] = f->cost[v] = 1;
    if (kept != v) f->array[v] = kept;
}

void fuse_choose_memory(fuse *f)
{
    note_uses(f);
    for (ir_value v = 0; v < (ir_value)f->g->count; v++)
        if (f->live[v]) choose_one(f, v);
}
