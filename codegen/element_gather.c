/* element_gather.c: gather as StableHLO defines it; start indices are clamped so that every slice fits. */
#include "codegen/cg_rules.h"

typedef struct gather {
    const ir_node *node;
    const ir_type *operand, *indices;
    int offset_count, collapsed_count, batching_count, mapped_count;
    const int64_t *offset, *collapsed, *operand_batching, *indices_batching, *mapped, *sizes;
    int vector_dim;
} gather;

static gather describe(const cg *c, const ir_node *n)
{
    int count;
    gather g = {.node = n, .operand = cg_type(c, n->in[0]), .indices = cg_type(c, n->in[1])};
    g.offset = ir_attr_ints(n, ATTR_offset_dims, &g.offset_count);
    g.collapsed = ir_attr_ints(n, ATTR_collapsed_slice_dims, &g.collapsed_count);
    g.operand_batching = ir_attr_ints(n, ATTR_operand_batching_dims, &g.batching_count);
    g.indices_batching = ir_attr_ints(n, ATTR_indices_batching_dims, &count);
    g.mapped = ir_attr_ints(n, ATTR_start_index_map, &g.mapped_count);
    g.sizes = ir_attr_ints(n, ATTR_sizes, &count);
    g.vector_dim = (int)ir_attr_int(n, ATTR_index_vector_dim, g.indices->rank);
    return g;
}

static bool is_among(const int64_t *list, int count, int64_t x)
{
    for (int i = 0; i < count; i++) {
        if (list[i] == x) return true;
    }
    return false;
}

/* Component `i` of the start index, clamped. */
static cg_value read_start(cg *c, const gather *g, cg_index *at, int i)
{
    const int64_t d = g->mapped[i];
    if (g->vector_dim < g->indices->rank) at->at[g->vector_dim] = cg_coord_uniform(cg_i64(c, i));
    cg_value start = cg_element_uniform(c, g->node->in[1], at);
    bool is_signed = ir_dtype_class_of(g->indices->dtype) == DTYPE_SIGNED;
    start = LLVMBuildIntCast2(c->b, start, cg_vector(c->i64, cg_lanes_of(start)), is_signed, "");
    cg_value size = g->sizes[d] < 0 ? cg_dim(c, g->operand->dim[d]) : cg_i64(c, g->sizes[d]);
    cg_value last = cg_sub(c, cg_dim(c, g->operand->dim[d]), size);
    return cg_max(c, cg_min(c, start, last), cg_i64(c, 0));
}

cg_value cg_read_gather(cg *c, ir_value v, const cg_index *index)
{
    const gather g = describe(c, cg_node(c, v));
    cg_index x = {.rank = g.operand->rank, .lanes = index->lanes, .mask = index->mask};
    cg_index at = {.rank = g.indices->rank, .lanes = index->lanes, .mask = index->mask};
    int inside[IR_MAX_RANK], insides = 0, where = 0;
    for (int d = 0; d < g.node->type.rank; d++) {
        if (is_among(g.offset, g.offset_count, d)) {
            inside[insides++] = d;
        } else {
            if (where == g.vector_dim) where++;
            at.at[where++] = index->at[d];
        }
    }
    for (int d = 0, next = 0; d < g.operand->rank; d++) {
        bool absent =
            is_among(g.collapsed, g.collapsed_count, d) || is_among(g.operand_batching, g.batching_count, d);
        x.at[d] = absent ? cg_coord_uniform(cg_i64(c, 0)) : index->at[inside[next++]];
    }
    for (int i = 0; i < g.batching_count; i++) x.at[g.operand_batching[i]] = at.at[g.indices_batching[i]];
    for (int i = 0; i < g.mapped_count; i++) {
        x.at[g.mapped[i]] = cg_coord_add(c, &x.at[g.mapped[i]], read_start(c, &g, &at, i));
    }
    return cg_element_uniform(c, g.node->in[0], &x);
}
