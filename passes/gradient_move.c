/* gradient_move.c: rules of what moves elements: the gradient of a move is the move back, with the gradients
 * of elements that were read several times added. */
#include "passes/gradient.h"

#include <string.h>

#define RULE(name) void grad_##name(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
#define UNUSED (void)v

static ir_value reshape_to(grad_ctx *c, ir_value x, const ir_type *type)
{
    return ir_build_reshape(c->g, x, type->rank, type->dim);
}

RULE(reshape)
{
    UNUSED;
    const ir_type type = adj_type(c, n->in[0]);
    adj_add(c, n->in[0], reshape_to(c, dy, &type));
}

RULE(transpose)
{
    UNUSED;
    int count;
    int64_t inverse[IR_MAX_RANK];
    const int64_t *dimension = ir_attr_ints(n, ATTR_dimensions, &count);
    for (int i = 0; i < count; i++) inverse[dimension[i]] = i;
    adj_add(c, n->in[0], ir_build_transpose(c->g, dy, inverse));
}

/* The sum over the dims that were made or stretched; then the dims that are left, in the operand's order. */
RULE(broadcast_in_dim)
{
    UNUSED;
    const ir_type from = adj_type(c, n->in[0]);
    int64_t reduced[IR_MAX_RANK], order[IR_MAX_RANK];
    int count, reduced_count = 0, kept_count = 0;
    const int64_t *dimension = ir_attr_ints(n, ATTR_dimensions, &count);
    int source[IR_MAX_RANK];
    for (int i = 0; i < n->type.rank; i++) source[i] = -1;
    for (int i = 0; i < count; i++)
        if (ir_dim_equal(from.dim[i], n->type.dim[dimension[i]])) source[dimension[i]] = i;
    int place[IR_MAX_RANK];
    for (int i = 0; i < n->type.rank; i++) {
        if (source[i] < 0)
            reduced[reduced_count++] = i;
        else
            place[source[i]] = kept_count++;
    }
    int at = 0;
    bool ordered = true;
    for (int i = 0; i < count; i++) {
        if (!ir_dim_equal(from.dim[i], n->type.dim[dimension[i]])) continue;
        ordered = ordered && place[i] == at;
        order[at++] = place[i];
    }
    ir_value sum = ir_build_reduce(c->g, "add", dy, reduced_count, reduced, false);
    if (!ordered) sum = ir_build_transpose(c->g, sum, order);
    adj_add(c, n->in[0], reshape_to(c, sum, &from));
}

RULE(slice)
{
    UNUSED;
    const ir_type from = adj_type(c, n->in[0]);
    const int64_t *start = ir_attr_ints(n, ATTR_start, NULL), *stride = ir_attr_ints(n, ATTR_strides, NULL);
    int64_t high[IR_MAX_RANK], interior[IR_MAX_RANK];
    for (int i = 0; i < from.rank; i++) {
        const int64_t count = n->type.dim[i].count;
        interior[i] = stride[i] - 1;
        high[i] = n->type.dim[i].batch
                      ? 0
                      : from.dim[i].count - start[i] - (count == 0 ? 0 : (count - 1) * stride[i] + 1);
    }
    adj_add(c, n->in[0], ir_build_pad(c->g, dy, ir_build_scalar(c->g, from.dtype, 0), start, high, interior));
}

RULE(reverse)
{
    UNUSED;
    int count;
    const int64_t *dimension = ir_attr_ints(n, ATTR_dimensions, &count);
    adj_add(c, n->in[0], ir_build_reverse(c->g, dy, count, dimension));
}

/* Padding by the negative amounts takes the edges off; a slice with strides then skips what was put between.
 */
static ir_value take_unpadded(grad_ctx *c, const ir_node *n, ir_value dy)
{
    const int64_t *low = ir_attr_ints(n, ATTR_low, NULL), *high = ir_attr_ints(n, ATTR_high, NULL);
    const int64_t *interior = ir_attr_ints(n, ATTR_interior, NULL);
    int64_t less_low[IR_MAX_RANK], less_high[IR_MAX_RANK], zero[IR_MAX_RANK] = {0}, all[IR_MAX_RANK],
                                                           stride[IR_MAX_RANK];
    bool edges = false, between = false;
    const ir_type dy_type = adj_type(c, dy);
    for (int i = 0; i < n->type.rank; i++) {
        less_low[i] = -low[i];
        less_high[i] = -high[i];
        all[i] = dy_type.dim[i].batch ? -1 : dy_type.dim[i].count - low[i] - high[i];
        stride[i] = interior[i] + 1;
        edges = edges || low[i] != 0 || high[i] != 0;
        between = between || interior[i] != 0;
    }
    if (edges)
        dy = ir_build_pad(c->g, dy, ir_build_scalar(c->g, n->type.dtype, 0), less_low, less_high, zero);
    return between ? ir_build_slice(c->g, dy, zero, all, stride) : dy;
}

static ir_value sum_all(grad_ctx *c, ir_value x)
{
    static const int64_t all[IR_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    return ir_build_reduce(c->g, "add", x, adj_type(c, x).rank, all, false);
}

RULE(pad)
{
    UNUSED;
    const ir_value inside = take_unpadded(c, n, dy);
    adj_add(c, n->in[0], inside);
    if (adj_wants(c, n, 1))
        adj_add(c, n->in[1], ir_build_binary(c->g, OP_subtract, sum_all(c, dy), sum_all(c, inside)));
}

RULE(concatenate)
{
    UNUSED;
    const int dimension = (int)ir_attr_int(n, ATTR_dimension, 0);
    int64_t at = 0;
    for (int i = 0; i < n->in_count; i++) {
        const ir_dim part = c->g->node[n->in[i]].type.dim[dimension];
        if (part.batch) { /* the other operands are empty */
            adj_add(c, n->in[i], dy);
            continue;
        }
        if (adj_wants(c, n, i))
            adj_add(c, n->in[i], ir_build_slice_dim(c->g, dy, dimension, at, at + part.count));
        at += part.count;
    }
}

static ir_value update_slice(grad_ctx *c, const ir_node *n, ir_value into, ir_value update, int first_index)
{
    ir_value in[IR_MAX_RANK + 2] = {into, update};
    const int rank = n->in_count - first_index;
    memcpy(&in[2], &n->in[first_index], (size_t)rank * sizeof *in);
    return ir_build(c->g, OP_dynamic_update_slice, rank + 2, in, 0, NULL, NULL);
}

RULE(dynamic_slice)
{
    UNUSED;
    const ir_type from = adj_type(c, n->in[0]);
    if (adj_wants(c, n, 0)) adj_add(c, n->in[0], update_slice(c, n, adj_zeros(c, &from), dy, 1));
}

RULE(dynamic_update_slice)
{
    UNUSED;
    const ir_type part = adj_type(c, n->in[1]);
    if (adj_wants(c, n, 0)) adj_add(c, n->in[0], update_slice(c, n, dy, adj_zeros(c, &part), 2));
    if (!adj_wants(c, n, 1)) return;
    ir_value in[IR_MAX_RANK + 1] = {dy};
    int64_t sizes[IR_MAX_RANK];
    memcpy(&in[1], &n->in[2], (size_t)part.rank * sizeof *in);
    for (int i = 0; i < part.rank; i++) sizes[i] = part.dim[i].batch ? -1 : part.dim[i].count;
    const ir_attr attr = {.name = ATTR_sizes, .ints = {part.rank, sizes}};
    adj_add(c, n->in[1], ir_build(c->g, OP_dynamic_slice, part.rank + 1, in, 1, &attr, NULL));
}

/* ---- gather and scatter
 * ------------------------------------------------------------------------------------ */

static ir_attr rename_attr(const ir_node *n, ir_attr_name from, ir_attr_name to)
{
    ir_attr a = *ir_attr_find(n, from);
    a.name = to;
    return a;
}

static ir_value scatter_back(grad_ctx *c, const ir_node *n, ir_value into, ir_value dy)
{
    const ir_value in[] = {into, n->in[1], dy};
    const ir_attr attr[] = {
        {.name = ATTR_kind, .text = "add"},
        rename_attr(n, ATTR_offset_dims, ATTR_update_window_dims),
        rename_attr(n, ATTR_collapsed_slice_dims, ATTR_inserted_window_dims),
        *ir_attr_find(n, ATTR_operand_batching_dims),
        *ir_attr_find(n, ATTR_indices_batching_dims),
        rename_attr(n, ATTR_start_index_map, ATTR_scatter_dims),
        *ir_attr_find(n, ATTR_index_vector_dim),
    };
    return ir_build(c->g, OP_scatter, 3, in, (int)countof(attr), attr, NULL);
}

RULE(gather)
{
    UNUSED;
    const ir_type from = adj_type(c, n->in[0]);
    if (adj_wants(c, n, 0)) adj_add(c, n->in[0], scatter_back(c, n, adj_zeros(c, &from), dy));
}

/* What scatter wrote from each element of its updates. */
static ir_value gather_back(grad_ctx *c, const ir_node *n, ir_value dy)
{
    const ir_type whole = adj_type(c, n->in[0]), updates = adj_type(c, n->in[2]);
    int window_count, window = 0;
    const int64_t *windows = ir_attr_ints(n, ATTR_update_window_dims, &window_count);
    int64_t sizes[IR_MAX_RANK];
    for (int i = 0; i < whole.rank; i++) {
        const bool single =
            ir_attr_lists(n, ATTR_inserted_window_dims, i) || ir_attr_lists(n, ATTR_operand_batching_dims, i);
        const ir_dim dim = single ? ir_fixed(1) : updates.dim[windows[window]];
        if (!single) window++;
        sizes[i] = dim.batch ? -1 : dim.count;
    }
    const ir_value in[] = {dy, n->in[1]};
    const ir_attr attr[] = {
        rename_attr(n, ATTR_update_window_dims, ATTR_offset_dims),
        rename_attr(n, ATTR_inserted_window_dims, ATTR_collapsed_slice_dims),
        *ir_attr_find(n, ATTR_operand_batching_dims),
        *ir_attr_find(n, ATTR_indices_batching_dims),
        rename_attr(n, ATTR_scatter_dims, ATTR_start_index_map),
        *ir_attr_find(n, ATTR_index_vector_dim),
        {.name = ATTR_sizes, .ints = {whole.rank, sizes}},
    };
    return ir_build(c->g, OP_gather, 2, in, (int)countof(attr), attr, NULL);
}

/* As TensorFlow: the operand and each update that are the largest (smallest) share the gradient alike. */
static void share_back(grad_ctx *c, const ir_node *n, ir_value y, ir_value dy)
{
    const ir_type whole = adj_type(c, n->in[0]);
    ir_attr attr[8];
    bug_if(n->attr_count > (int)countof(attr), "too many attributes of scatter");
    for (int i = 0; i < n->attr_count; i++) {
        attr[i] = n->attr[i];
        if (attr[i].name == ATTR_kind) attr[i].text = "add";
    }
    const ir_value first = ir_build_convert(c->g, ir_build_compare(c->g, "EQ", n->in[0], y), whole.dtype);
    const ir_value wins = ir_build_compare(c->g, "EQ", n->in[2], gather_back(c, n, y));
    const ir_value others = ir_build_convert(c->g, wins, whole.dtype);
    const ir_value in[] = {adj_zeros(c, &whole), n->in[1], others};
    const ir_value winners = ir_build(c->g, OP_scatter, 3, in, n->attr_count, attr, NULL);
    const ir_value share = adj_div(c, dy, adj_plus(c, first, winners));
    if (adj_wants(c, n, 0)) adj_add(c, n->in[0], adj_mul(c, share, first));
    if (adj_wants(c, n, 2)) adj_add(c, n->in[2], adj_mul(c, gather_back(c, n, share), others));
}

RULE(scatter)
{
    UNUSED;
    const char *kind = ir_attr_text(n, ATTR_kind);
    const bool adds = strcmp(kind, "add") == 0;
    if (strcmp(kind, "maximum") == 0 || strcmp(kind, "minimum") == 0) {
        share_back(c, n, v, dy);
        return;
    }
    if (strcmp(kind, "multiply") == 0) {
        adj_refuse(c, n,
                   "the gradient of a scatter of products is not supported; multiply by ones into which the factors are put");
        return;
    }
    if (adj_wants(c, n, 2)) adj_add(c, n->in[2], gather_back(c, n, dy));
    if (!adj_wants(c, n, 0)) return;
    if (adds) {
        adj_add(c, n->in[0], dy);
        return;
    }
    const ir_type updates = adj_type(c, n->in[2]);
    const ir_value in[] = {dy, n->in[1], adj_zeros(c, &updates)};
    adj_add(c, n->in[0], ir_build(c->g, OP_scatter, 3, in, n->attr_count, n->attr, NULL));
}
