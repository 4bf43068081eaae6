/* simplify_move.c: rules of sources, moves, reductions and contractions. */
#include "passes/simplify.h"

#include <string.h>

/* ---- sources
 * ------------------------------------------------------------------------------------------------ */

/* A constant of equal elements is the broadcast of one. */
ir_value simplify_constant(simplify *s, const ir_node *n)
{
    const ir_attr *data = ir_attr_find(n, ATTR_data);
    const size_t size = ir_dtype_size(n->type.dtype);
    const char *bytes = data->data.bytes;
    if (n->type.rank == 0 || data->data.size < size) return IR_NONE;
    for (size_t i = size; i < data->data.size; i += size)
        if (memcmp(bytes, bytes + i, size) != 0) return IR_NONE;
    const ir_value one = ir_build_constant(s->g, ir_type_scalar(n->type.dtype), bytes);
    return ir_build_broadcast_to(s->g, one, &n->type);
}

/* N can be read off any input; asking an input keeps no intermediate value alive. */
ir_value simplify_dimension_size(simplify *s, const ir_node *n)
{
    const ir_dim dim = ir_type_of(s->g, n->in[0])->dim[ir_attr_int(n, ATTR_dimension, 0)];
    if (!dim.batch) {
        const int64_t count = dim.count;
        return ir_build_constant(s->g, ir_type_scalar(DTYPE_i64), &count);
    }
    if (s->g->node[n->in[0]].op == OP_parameter) return IR_NONE;
    for (ir_value v = 0; v < (ir_value)s->g->count; v++) {
        const ir_type *t = ir_type_of(s->g, v);
        if (s->g->node[v].op != OP_parameter || t->rank == 0 || t->dim[0].batch != dim.batch || t->dim[0].count != 1)
            continue;
        const ir_value size = ir_build_dimension_size(s->g, v, 0);
        if (dim.count == 1) return size;
        const ir_value count = ir_build_constant(s->g, ir_type_scalar(DTYPE_i64), &dim.count);
        return ir_build_binary(s->g, OP_multiply, size, count);
    }
    return IR_NONE;
}

/* ---- moves
 * --------------------------------------------------------------------------------------------------- */

/* Moving the copies of a scalar about leaves copies of it. */
ir_value simplify_move_of_scalar(simplify *s, const ir_node *n)
{
    const ir_value scalar = simplify_scalar_of(s->g, n->in[0]);
    return scalar == IR_NONE || n->type.rank == 0 ? IR_NONE : ir_build_broadcast_to(s->g, scalar, &n->type);
}

static bool same_elements(const ir_type *a, const ir_type *b)
{
    ir_unit p, q;
    return passes_elements(a, &p) == passes_elements(b, &q) && p == q;
}

/* Shapes that differ only in dims of 1: gives per dim of `to` the dim of `from` that it is, or -1. */
static bool match_units(const ir_type *from, const ir_type *to, int *out_dim)
{
    int i = 0, j = 0;
    while (i < from->rank || j < to->rank) {
        if (i < from->rank && j < to->rank && ir_dim_equal(from->dim[i], to->dim[j])) {
            out_dim[j++] = i++;
        } else if (j < to->rank && ir_dim_equal(to->dim[j], ir_fixed(1))) {
            out_dim[j++] = -1;
        } else if (i < from->rank && ir_dim_equal(from->dim[i], ir_fixed(1))) {
            i++;
        } else {
            return false;
        }
    }
    return true;
}

/* Dims of 1 that a reshape inserts before a broadcast do nothing. */
static ir_value broadcast_of_reshape(simplify *s, const ir_node *n, const ir_node *in)
{
    const ir_type *from = ir_type_of(s->g, in->in[0]);
    const int64_t *dimension = ir_attr_ints(n, ATTR_dimensions, NULL);
    int64_t composed[IR_MAX_RANK];
    int dim[IR_MAX_RANK], found = 0;
    if (!match_units(from, &in->type, dim)) return IR_NONE;
    for (int j = 0; j < in->type.rank; j++)
        if (dim[j] >= 0) composed[found++] = dimension[j];
    return found == from->rank ? ir_build_broadcast_in_dim(s->g, in->in[0], &n->type, composed) : IR_NONE;
}

/* The operand of a map of reshaped values, in the shape from which they are reshaped; IR_NONE: it has no such form. */
static ir_value unshape(simplify *s, ir_value v, const ir_type *shape)
{
    const ir_node in = s->g->node[v];
    if (in.op == OP_reshape)
        return ir_type_same_shape(ir_type_of(s->g, in.in[0]), shape) ? in.in[0] : IR_NONE;
    int64_t composed[IR_MAX_RANK];
    int dim[IR_MAX_RANK], count;
    if (in.op != OP_broadcast_in_dim || !match_units(shape, &in.type, dim)) return IR_NONE;
    const int64_t *dimension = ir_attr_ints(&in, ATTR_dimensions, &count);
    for (int i = 0; i < count; i++) {
        if (dim[dimension[i]] < 0) return IR_NONE;
        composed[i] = dim[dimension[i]];
    }
    const ir_type type = ir_type_with_dtype(*shape, in.type.dtype);
    return ir_build_broadcast_in_dim(s->g, in.in[0], &type, composed);
}

/* A map of values with dims of 1 inserted or dropped is the map of those values, then with the dims: chains that
 * keep dims and chains that do not meet in one form. */
ir_value simplify_map_of_reshape(simplify *s, const ir_node *n)
{
    ir_value in[3];
    int dim[IR_MAX_RANK];
    const ir_type *found = NULL;
    if (ir_op_class(n->op) != CLASS_MAP || n->op == OP_copy || n->in_count > (int)countof(in)) return IR_NONE;
    for (int i = 0; i < n->in_count && !found; i++) {
        const ir_node *x = &s->g->node[n->in[i]];
        if (x->op == OP_reshape && match_units(ir_type_of(s->g, x->in[0]), &x->type, dim))
            found = ir_type_of(s->g, x->in[0]);
    }
    if (!found) return IR_NONE;
    const ir_type shape = *found, type = ir_type_with_dtype(shape, n->type.dtype);
    for (int i = 0; i < n->in_count; i++)
        if ((in[i] = unshape(s, n->in[i], &shape)) == IR_NONE) return IR_NONE;
    const ir_value plain = ir_build(s->g, n->op, n->in_count, in, n->attr_count, n->attr, &type);
    return ir_build_reshape(s->g, plain, n->type.rank, n->type.dim);
}

/* A broadcast that repeats nothing and keeps the order is a reshape. */
ir_value simplify_broadcast(simplify *s, const ir_node *n)
{
    const ir_node in = s->g->node[n->in[0]];
    int count;
    const int64_t *dimension = ir_attr_ints(n, ATTR_dimensions, &count);
    bool ascending = true;
    for (int i = 1; i < count; i++) ascending = ascending && dimension[i] > dimension[i - 1];
    if (ascending && ir_type_same_shape(&in.type, &n->type)) return n->in[0];
    if (in.op == OP_broadcast_in_dim) {
        int64_t composed[IR_MAX_RANK];
        const int64_t *inner = ir_attr_ints(&in, ATTR_dimensions, &count);
        for (int i = 0; i < count; i++) composed[i] = dimension[inner[i]];
        return ir_build_broadcast_in_dim(s->g, in.in[0], &n->type, composed);
    }
    const ir_value direct = in.op == OP_reshape ? broadcast_of_reshape(s, n, &in) : IR_NONE;
    if (direct != IR_NONE) return direct;
    if (in.type.rank == 0 || !ascending || !same_elements(&in.type, &n->type)) return IR_NONE;
    return ir_build_reshape(s->g, n->in[0], n->type.rank, n->type.dim);
}

ir_value simplify_reshape(simplify *s, const ir_node *n)
{
    const ir_node in = s->g->node[n->in[0]];
    if (ir_type_same_shape(&in.type, &n->type)) return n->in[0];
    return in.op == OP_reshape ? ir_build_reshape(s->g, in.in[0], n->type.rank, n->type.dim) : IR_NONE;
}

/* The dims with more than one element keep their order: the bytes stay where they are. */
static bool keeps_order(const ir_type *from, const int64_t *permutation)
{
    int64_t last = -1;
    for (int i = 0; i < from->rank; i++) {
        if (ir_dim_equal(from->dim[permutation[i]], ir_fixed(1))) continue;
        if (permutation[i] < last) return false;
        last = permutation[i];
    }
    return true;
}

ir_value simplify_transpose(simplify *s, const ir_node *n)
{
    const ir_node in = s->g->node[n->in[0]];
    const int64_t *permutation = ir_attr_ints(n, ATTR_dimensions, NULL);
    if (keeps_order(&in.type, permutation))
        return ir_build_reshape(s->g, n->in[0], n->type.rank, n->type.dim);
    if (in.op != OP_transpose) return IR_NONE;
    const int64_t *inner = ir_attr_ints(&in, ATTR_dimensions, NULL);
    int64_t composed[IR_MAX_RANK];
    for (int i = 0; i < n->type.rank; i++) composed[i] = inner[permutation[i]];
    return ir_build_transpose(s->g, in.in[0], composed);
}

static bool all_are(const ir_node *n, ir_attr_name name, int64_t number)
{
    int count;
    const int64_t *item = ir_attr_ints(n, name, &count);
    for (int i = 0; i < count; i++)
        if (item[i] != number) return false;
    return true;
}

/* Slices of everything, reversed dims of one element, padding by nothing. */
ir_value simplify_whole(simplify *s, const ir_node *n)
{
    const ir_type *from = ir_type_of(s->g, n->in[0]);
    if (n->op == OP_reverse) {
        int count;
        const int64_t *dimension = ir_attr_ints(n, ATTR_dimensions, &count);
        for (int i = 0; i < count; i++)
            if (!ir_dim_equal(from->dim[dimension[i]], ir_fixed(1))) return IR_NONE;
        return n->in[0];
    }
    if (!ir_type_same_shape(from, &n->type)) return IR_NONE;
    if (n->op == OP_slice) return n->in[0];
    return all_are(n, ATTR_low, 0) && all_are(n, ATTR_high, 0) && all_are(n, ATTR_interior, 0) ? n->in[0]
                                                                                               : IR_NONE;
}

ir_value simplify_concatenate(simplify *s, const ir_node *n)
{
    const int dimension = (int)ir_attr_int(n, ATTR_dimension, 0);
    ir_value *in = arena_array(s->scratch, ir_value, (size_t)n->in_count);
    int count = 0;
    for (int i = 0; i < n->in_count; i++)
        if (ir_type_of(s->g, n->in[i])->dim[dimension].count != 0) in[count++] = n->in[i];
    if (count == 1) return in[0];
    if (count == n->in_count || count == 0) return IR_NONE;
    return ir_build_concatenate(s->g, count, in, dimension);
}

/* ---- reductions
 * ------------------------------------------------------------------------------------------------ */

ir_value simplify_reduce(simplify *s, const ir_node *n)
{
    if (ir_attr_find(n, ATTR_splits) || !same_elements(ir_type_of(s->g, n->in[0]), &n->type)) return IR_NONE;
    return ir_build_reshape(s->g, n->in[0], n->type.rank, n->type.dim);
}

/* ---- contractions
 * ------------------------------------------------------------------------------------------------ */

typedef struct dot_side {
    ir_attr_name batch, contracting;
    int batch_count, contracting_count;
    int64_t batch_dim[IR_MAX_RANK], contracting_dim[IR_MAX_RANK];
} dot_side;

/* Reads a side; with a permutation, the dims are named as those of what is transposed. False when the free
 * dims would then come out in another order. */
static bool read_side(const ir_node *n, int rank, const int64_t *permutation, dot_side *d)
{
    static const int64_t identity[IR_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    const int64_t *batch = ir_attr_ints(n, d->batch, &d->batch_count);
    const int64_t *contracting = ir_attr_ints(n, d->contracting, &d->contracting_count);
    bool bound[IR_MAX_RANK] = {false};
    if (!permutation) permutation = identity;
    for (int i = 0; i < d->batch_count; i++) {
        bound[batch[i]] = true;
        d->batch_dim[i] = permutation[batch[i]];
    }
    for (int i = 0; i < d->contracting_count; i++) {
        bound[contracting[i]] = true;
        d->contracting_dim[i] = permutation[contracting[i]];
    }
    int64_t last = -1;
    for (int i = 0; i < rank; i++) {
        if (bound[i]) continue;
        if (permutation[i] < last) return false;
        last = permutation[i];
    }
    return true;
}

static void copy_side(const dot_side *d, int64_t *batch, int64_t *contracting)
{
    memcpy(batch, d->batch_dim, sizeof d->batch_dim);
    memcpy(contracting, d->contracting_dim, sizeof d->contracting_dim);
}

/* The transpose of operand `slot` goes into the dimension numbers. */
static ir_value absorb_transpose(simplify *s, const ir_node *n, int slot)
{
    const ir_node t = s->g->node[n->in[slot]];
    if (t.op != OP_transpose) return IR_NONE;
    const int64_t *permutation = ir_attr_ints(&t, ATTR_dimensions, NULL);
    dot_side l = {.batch = ATTR_lhs_batch, .contracting = ATTR_lhs_contracting};
    dot_side r = {.batch = ATTR_rhs_batch, .contracting = ATTR_rhs_contracting};
    ir_value in[] = {n->in[0], n->in[1]};
    in[slot] = t.in[0];
    if (!read_side(n, ir_type_of(s->g, in[0])->rank, slot == 0 ? permutation : NULL, &l) ||
        !read_side(n, ir_type_of(s->g, in[1])->rank, slot == 1 ? permutation : NULL, &r))
        return IR_NONE;
    ir_dot dot = {.batch_count = l.batch_count, .contracting_count = l.contracting_count};
    copy_side(&l, dot.lhs_batch, dot.lhs_contracting);
    copy_side(&r, dot.rhs_batch, dot.rhs_contracting);
    return ir_build_dot_general(s->g, in[0], in[1], &dot);
}

ir_value simplify_dot(simplify *s, const ir_node *n)
{
    if (ir_attr_find(n, ATTR_splits)) return IR_NONE;
    const ir_value better = absorb_transpose(s, n, 0);
    return better != IR_NONE ? better : absorb_transpose(s, n, 1);
}

static ir_value rebuild_convolution(simplify *s, const ir_node *n, const ir_value *in, const ir_attr *change,
                                    int count)
{
    ir_attr *attr = arena_copy(s->scratch, n->attr, (size_t)n->attr_count * sizeof *attr);
    for (int i = 0; i < n->attr_count; i++)
        for (int j = 0; j < count; j++)
            if (attr[i].name == change[j].name) attr[i] = change[j];
    return ir_build(s->g, OP_convolution, 2, in, n->attr_count, attr, NULL);
}

static ir_value absorb_into_layout(simplify *s, const ir_node *n, int slot, ir_attr_name name)
{
    const ir_node t = s->g->node[n->in[slot]];
    if (t.op != OP_transpose) return IR_NONE;
    const int64_t *permutation = ir_attr_ints(&t, ATTR_dimensions, NULL);
    const char *old = ir_attr_text(n, name);
    char *layout = arena_strdup(s->scratch, old);
    for (int i = 0; i < t.type.rank; i++) layout[permutation[i]] = old[i];
    ir_value in[] = {n->in[0], n->in[1]};
    in[slot] = t.in[0];
    const ir_attr change = {.name = name, .text = layout};
    return rebuild_convolution(s, n, in, &change, 1);
}

/* Zeros around the image in its spatial dims are what the convolution pads with itself. */
static ir_value absorb_padding(simplify *s, const ir_node *n)
{
    const ir_node pad = s->g->node[n->in[0]];
    if (pad.op != OP_pad || !simplify_is_number(s->g, pad.in[1], 0)) return IR_NONE;
    if (!all_are(&pad, ATTR_interior, 0) || !all_are(n, ATTR_base_dilation, 1)) return IR_NONE;
    const int64_t *low = ir_attr_ints(&pad, ATTR_low, NULL), *high = ir_attr_ints(&pad, ATTR_high, NULL);
    int count;
    const int64_t *old_low = ir_attr_ints(n, ATTR_padding_low, &count),
                  *old_high = ir_attr_ints(n, ATTR_padding_high, NULL);
    const char *layout = ir_attr_text(n, ATTR_lhs_layout);
    int64_t new_low[IR_MAX_RANK], new_high[IR_MAX_RANK];
    for (int i = 0; i < pad.type.rank; i++) {
        const int at = layout[i] - '0';
        const bool spatial = at >= 0 && at < count;
        if (low[i] < 0 || high[i] < 0 || (!spatial && (low[i] > 0 || high[i] > 0))) return IR_NONE;
        if (!spatial) continue;
        if (old_low[at] < 0 || old_high[at] < 0) return IR_NONE;
        new_low[at] = old_low[at] + low[i];
        new_high[at] = old_high[at] + high[i];
    }
    const ir_value in[] = {pad.in[0], n->in[1]};
    const ir_attr change[] = {{.name = ATTR_padding_low, .ints = {count, new_low}},
                              {.name = ATTR_padding_high, .ints = {count, new_high}}};
    return rebuild_convolution(s, n, in, change, (int)countof(change));
}

ir_value simplify_convolution(simplify *s, const ir_node *n)
{
    ir_value better = absorb_into_layout(s, n, 0, ATTR_lhs_layout);
    if (better == IR_NONE) better = absorb_into_layout(s, n, 1, ATTR_rhs_layout);
    return better != IR_NONE ? better : absorb_padding(s, n);
}

/* The transpose of the result's gradient goes into the dims attribute, when the last dim stays last. */
ir_value simplify_attention_back(simplify *s, const ir_node *n)
{
    const ir_node t = s->g->node[n->in[ATTENTION_GRADIENT]];
    if (t.op != OP_transpose) return IR_NONE;
    const int64_t *permutation = ir_attr_ints(&t, ATTR_dimensions, NULL);
    const int rank = t.type.rank;
    if (permutation[rank - 1] != rank - 1) return IR_NONE;
    ir_attr *attr = arena_copy(s->scratch, n->attr, (size_t)n->attr_count * sizeof *attr);
    ir_value *in = arena_copy(s->scratch, n->in, (size_t)n->in_count * sizeof *in);
    int64_t dims[IR_MAX_RANK];
    in[ATTENTION_GRADIENT] = t.in[0];
    for (int i = 0; i < n->attr_count; i++) {
        if (attr[i].name != ATTR_result_dims) continue;
        for (int d = 0; d < rank; d++) dims[d] = permutation[attr[i].ints.item[d]];
        attr[i].ints.item = dims;
    }
    return ir_build(s->g, n->op, n->in_count, in, n->attr_count, attr, NULL);
}
