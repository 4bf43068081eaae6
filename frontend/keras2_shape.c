/* keras2_shape.c: tf.shape, and sizes that a model computes from it. */
#include "frontend/keras2.h"
#include "frontend/layers.h"

#include <string.h>

bool tf_build_shape(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    const fe_value *v = fe_args_find(args, -1, "x");
    ir_value size[IR_MAX_RANK];
    const ir_dim one = ir_fixed(1);
    (void)s;
    if (!v || v->kind != FE_TENSOR) return fe_layer_error(l->fe, l->layer, "expected a tensor as \"x\" of keras.ops");
    const fe_value x = *v;
    const ir_type t = fe_type(l, x.tensor.value);
    if (t.rank == 0)
        return fe_layer_error(l->fe, l->layer, "the shape of a scalar is not supported: %s", fe_shape_show(l->fe, &t));
    for (int i = 0; i < t.rank; i++) {
        size[i] = t.dim[i].batch
                      ? ir_build_convert(l->g, ir_build_dimension_size(l->g, x.tensor.value, i), DTYPE_i32)
                      : ir_build_scalar(l->g, DTYPE_i32, (double)t.dim[i].count);
        size[i] = ir_build_reshape(l->g, size[i], 1, &one);
    }
    *out = fe_value_tensor(t.rank == 1 ? size[0] : ir_build_concatenate(l->g, t.rank, size, 0), IR_NONE);
    return true;
}

static bool find_constant(const ir_node *n, int64_t index, ir_dim *out)
{
    const ir_attr *data = ir_attr_find(n, ATTR_data);
    const size_t width = ir_dtype_size(n->type.dtype);
    if (!data || ir_dtype_is_float(n->type.dtype) || (size_t)(index + 1) * width > data->data.size)
        return false;
    const ir_array array = {n->type, (void *)data->data.bytes};
    *out = ir_fixed((int64_t)ir_array_get(&array, index));
    return true;
}

static bool find_size(const ir_graph *g, ir_value v, int64_t index, int depth, ir_dim *out);

static bool find_product(const ir_graph *g, const ir_node *n, int64_t index, int depth, ir_dim *out)
{
    ir_dim a, b;
    if (!find_size(g, n->in[0], index, depth, &a) || !find_size(g, n->in[1], index, depth, &b)) return false;
    if ((a.batch && b.batch) || a.count > INT32_MAX || b.count > INT32_MAX || a.count < 0 || b.count < 0)
        return false;
    *out = (ir_dim){a.count * b.count, a.batch | b.batch};
    return true;
}

/* Arithmetic on sizes: K.switch and the like compare shapes. */
static bool find_result(const ir_node *n, ir_dim a, ir_dim b, ir_dim *out)
{
    const bool adds = n->op == OP_add || n->op == OP_subtract;
    if (a.count == 0 || b.count == 0) a.batch = b.batch = a.count == 0 ? b.batch : a.batch;
    if (a.batch != b.batch || (a.batch && !adds && n->op != OP_compare && n->op != OP_maximum && n->op != OP_minimum))
        return false;
    if (a.count > INT32_MAX || b.count > INT32_MAX || a.count < INT32_MIN || b.count < INT32_MIN) return false;
    *out = (ir_dim){0, a.batch};
    const bool divides = (n->op == OP_divide || n->op == OP_remainder) && b.count != 0;
    const int64_t sign = (a.count > b.count) - (a.count < b.count);
    if (n->op == OP_compare) {
        const char *way = ir_attr_text(n, ATTR_direction);
        const bool less = way[0] == 'L', more = way[0] == 'G', equal = way[1] == 'E' || strcmp(way, "EQ") == 0;
        const bool holds = (sign == 0 && equal) || (sign < 0 && less) || (sign > 0 && more);
        *out = ir_fixed(strcmp(way, "NE") == 0 ? sign != 0 : holds);
        return true;
    }
    if (adds) out->count = n->op == OP_add ? a.count + b.count : a.count - b.count;
    else if (n->op == OP_maximum) out->count = sign > 0 ? a.count : b.count;
    else if (n->op == OP_minimum) out->count = sign < 0 ? a.count : b.count;
    else if (n->op == OP_and) out->count = a.count & b.count;
    else if (n->op == OP_or) out->count = a.count | b.count;
    else if (n->op == OP_xor) out->count = a.count ^ b.count;
    else if (divides) out->count = n->op == OP_divide ? a.count / b.count : a.count % b.count;
    else return false;
    if (out->count == 0) out->batch = false;
    return true;
}

static bool find_arithmetic(const ir_graph *g, const ir_node *n, int64_t index, int depth, ir_dim *out)
{
    ir_dim a, b;
    return find_size(g, n->in[0], index, depth, &a) && find_size(g, n->in[1], index, depth, &b) &&
           find_result(n, a, b, out);
}

static bool find_chosen(const ir_graph *g, const ir_node *n, int64_t index, int depth, ir_dim *out)
{
    ir_dim condition;
    return find_size(g, n->in[0], index, depth, &condition) && !condition.batch &&
           find_size(g, n->in[condition.count != 0 ? 1 : 2], index, depth, out);
}

static bool find_joined(const ir_graph *g, const ir_node *n, int64_t index, int depth, ir_dim *out)
{
    for (int i = 0; i < n->in_count; i++) {
        const ir_type *t = &g->node[n->in[i]].type;
        if (t->rank != 1 || t->dim[0].batch) return false;
        if (index < t->dim[0].count) return find_size(g, n->in[i], index, depth, out);
        index -= t->dim[0].count;
    }
    return false;
}

static bool find_sliced(const ir_graph *g, const ir_node *n, int64_t index, int depth, ir_dim *out)
{
    int count = 0;
    const int64_t *start = ir_attr_ints(n, ATTR_start, &count),
                  *stride = ir_attr_ints(n, ATTR_strides, &count);
    if (!start || n->type.rank != 1) return false;
    return find_size(g, n->in[0], start[0] + index * (stride ? stride[0] : 1), depth, out);
}

/* Through what tf.shape, indexing and multiplication make: vectors and scalars only. */
static bool find_size(const ir_graph *g, ir_value v, int64_t index, int depth, ir_dim *out)
{
    const ir_node *n = &g->node[v];
    if (depth == 0 || n->type.rank > 1) return false;
    switch (n->op) {
    case OP_constant:
        return find_constant(n, index, out);
    case OP_dimension_size:
        *out = g->node[n->in[0]].type.dim[ir_attr_int(n, ATTR_dimension, 0)];
        return true;
    case OP_convert:
    case OP_reshape:
        return find_size(g, n->in[0], index, depth - 1, out);
    case OP_broadcast_in_dim:
        return find_size(g, n->in[0], ir_type_of(g, n->in[0])->rank == 0 ? 0 : index, depth - 1, out);
    case OP_multiply:
        return find_product(g, n, index, depth - 1, out);
    case OP_add:
    case OP_subtract:
    case OP_maximum:
    case OP_minimum:
    case OP_and:
    case OP_or:
    case OP_xor:
    case OP_divide:
    case OP_remainder:
    case OP_compare:
        return find_arithmetic(g, n, index, depth - 1, out);
    case OP_select:
        return find_chosen(g, n, index, depth - 1, out);
    case OP_concatenate:
        return find_joined(g, n, index, depth - 1, out);
    case OP_slice:
        return find_sliced(g, n, index, depth - 1, out);
    default:
        return false;
    }
}

bool tf_size_find(fe_lower *l, ir_value v, int64_t index, ir_dim *out)
{
    return find_size(l->g, v, index, 32, out);
}
