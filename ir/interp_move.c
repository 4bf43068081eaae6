/* interp_move.c: operations that put operand elements elsewhere. Each finds, for an index of
 * the result, the operand and the index there that the element comes from. */
#include "ir/interp.h"

/* Where an element comes from: `operand` is one of the node's, `index` an index into it. */
typedef struct move_source {
    int operand;
    int64_t index[IR_MAX_RANK];
} move_source;

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static void move_broadcast_in_dim(const interp *c, const int64_t *at, move_source *out)
{
    const ir_type *from = &c->in[0].type;
    int64_t dimensions[IR_MAX_RANK];
    interp_attr_fill(c->node, ATTR_dimensions, from->rank, 0, dimensions);
    for (int i = 0; i < from->rank; i++) {
        out->index[i] = from->dim[i].count == 1 ? 0 : at[dimensions[i]];
    }
}

static void move_transpose(const interp *c, const int64_t *at, move_source *out)
{
    int64_t dimensions[IR_MAX_RANK];
    interp_attr_fill(c->node, ATTR_dimensions, c->out->type.rank, 0, dimensions);
    for (int i = 0; i < c->out->type.rank; i++) {
        out->index[dimensions[i]] = at[i];
    }
}

static void move_slice(const interp *c, const int64_t *at, move_source *out)
{
    const int rank = c->out->type.rank;
    int64_t start[IR_MAX_RANK], strides[IR_MAX_RANK];
    interp_attr_fill(c->node, ATTR_start, rank, 0, start);
    interp_attr_fill(c->node, ATTR_strides, rank, 1, strides);
    for (int i = 0; i < rank; i++) {
        out->index[i] = start[i] + at[i] * strides[i];
    }
}

static void move_reverse(const interp *c, const int64_t *at, move_source *out)
{
    int count = 0;
    const int64_t *dimensions = ir_attr_ints(c->node, ATTR_dimensions, &count);
    for (int i = 0; i < c->out->type.rank; i++) {
        out->index[i] = at[i];
    }
    for (int i = 0; i < count; i++) {
        const int64_t d = dimensions[i];
        out->index[d] = c->out->type.dim[d].count - 1 - at[d];
    }
}

static void move_pad(const interp *c, const int64_t *at, move_source *out)
{
    const int rank = c->out->type.rank;
    int64_t low[IR_MAX_RANK], interior[IR_MAX_RANK];
    interp_attr_fill(c->node, ATTR_low, rank, 0, low);
    interp_attr_fill(c->node, ATTR_interior, rank, 0, interior);
    for (int i = 0; i < rank; i++) {
        const int64_t place = at[i] - low[i];
        out->index[i] = place / (interior[i] + 1);
        if (place < 0 || place % (interior[i] + 1) != 0 ||
            out->index[i] >= c->in[0].type.dim[i].count) {
            out->operand = 1;
            return;
        }
    }
}

static void move_concatenate(const interp *c, const int64_t *at, move_source *out)
{
    const int64_t dimension = ir_attr_int(c->node, ATTR_dimension, 0);
    for (int i = 0; i < c->out->type.rank; i++) {
        out->index[i] = at[i];
    }
    while (out->index[dimension] >= c->in[out->operand].type.dim[dimension].count) {
        out->index[dimension] -= c->in[out->operand].type.dim[dimension].count;
        out->operand++;
    }
}

/* Start index of dim `i`, from scalar operand first + i, clamped so that `size` elements fit.
 */
static int64_t dynamic_start(const interp *c, int first, int i, int64_t size)
{
    const int64_t start = (int64_t)interp_load(&c->in[first + i], 0).u;
    return clamp(start, 0, c->in[0].type.dim[i].count - size);
}

static void move_dynamic_slice(const interp *c, const int64_t *at, move_source *out)
{
    for (int i = 0; i < c->out->type.rank; i++) {
        out->index[i] = dynamic_start(c, 1, i, c->out->type.dim[i].count) + at[i];
    }
}

static void move_dynamic_update_slice(const interp *c, const int64_t *at, move_source *out)
{
    const ir_type *update = &c->in[1].type;
    out->operand = 1;
    for (int i = 0; i < c->out->type.rank; i++) {
        out->index[i] = at[i] - dynamic_start(c, 2, i, update->dim[i].count);
        if (out->index[i] < 0 || out->index[i] >= update->dim[i].count) out->operand = 0;
    }
    for (int i = 0; out->operand == 0 && i < c->out->type.rank; i++) {
        out->index[i] = at[i];
    }
}

static bool is_among(const int64_t *item, int count, int64_t value)
{
    for (int i = 0; i < count; i++) {
        if (item[i] == value) return true;
    }
    return false;
}

/* The start of the slice addressed by the result's dims that are no offset dims: `where` is an
 * index into the indices operand with the component dim left out. */
static void gather_start(const interp *c, const int64_t *where, int64_t *out_start)
{
    const ir_type *type = &c->in[1].type, *operand = &c->in[0].type;
    const int64_t vector = ir_attr_int(c->node, ATTR_index_vector_dim, type->rank);
    int mapped = 0, batching = 0, size_count = 0;
    const int64_t *addressed = ir_attr_ints(c->node, ATTR_start_index_map, &mapped);
    const int64_t *from = ir_attr_ints(c->node, ATTR_operand_batching_dims, &batching);
    const int64_t *at = ir_attr_ints(c->node, ATTR_indices_batching_dims, &batching);
    const int64_t *sizes = ir_attr_ints(c->node, ATTR_sizes, &size_count);
    int64_t index[IR_MAX_RANK + 1] = {0};
    for (int i = 0, k = 0; i < type->rank; i++) {
        if (i != vector) index[i] = where[k++];
    }
    for (int i = 0; i < mapped; i++) {
        const int64_t d = addressed[i];
        const int64_t size = sizes[d] < 0 ? operand->dim[d].count : sizes[d];
        index[vector] = i;
        out_start[d] = clamp((int64_t)interp_load(&c->in[1], interp_offset(type, index)).u, 0,
                             operand->dim[d].count - size);
    }
    for (int i = 0; i < batching; i++) {
        out_start[from[i]] = index[at[i]];
    }
}

static void move_gather(const interp *c, const int64_t *at, move_source *out)
{
    int offsets = 0, collapsed = 0, batching = 0;
    const int64_t *offset = ir_attr_ints(c->node, ATTR_offset_dims, &offsets);
    const int64_t *collapse = ir_attr_ints(c->node, ATTR_collapsed_slice_dims, &collapsed);
    const int64_t *batch = ir_attr_ints(c->node, ATTR_operand_batching_dims, &batching);
    int64_t where[IR_MAX_RANK] = {0}, inside[IR_MAX_RANK] = {0};
    for (int i = 0, w = 0, k = 0; i < c->out->type.rank; i++) {
        if (is_among(offset, offsets, i))
            inside[k++] = at[i];
        else
            where[w++] = at[i];
    }
    gather_start(c, where, out->index);
    for (int i = 0, k = 0; i < c->in[0].type.rank; i++) {
        if (!is_among(collapse, collapsed, i) && !is_among(batch, batching, i))
            out->index[i] += inside[k++];
    }
}

#define ROW_SOURCE(name)
#define ROW_MAP(name)
#define ROW_MOVE(name) [OP_##name] = move_##name,
#define ROW_VIEW(name)
#define ROW_REDUCE(name)
#define ROW_CONTRACT(name)
#define ROW_NEST(name)
#define ROW_TUPLE(name)
static void (*const move_rules[OP_COUNT])(const interp *, const int64_t *, move_source *) = {
#define OP(name, class, ...) ROW_##class(name)
#include "ir/ops.def"
};

void interp_run_move(const interp *c)
{
    int64_t at[IR_MAX_RANK] = {0};
    if (!interp_has_elements(&c->out->type)) return;
    do {
        move_source from = {0};
        move_rules[c->node->op](c, at, &from);
        const ir_array *x = &c->in[from.operand];
        interp_store(c->out, interp_offset(&c->out->type, at),
                     interp_load(x, interp_offset(&x->type, from.index)));
    } while (interp_next(&c->out->type, at));
}
