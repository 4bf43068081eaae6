/* shape_attention.c: the rules of attention and its gradient, and how their nodes are read. */
#include "ir/shape.h"

ir_type ir_type_transposed(const ir_type *t, const int64_t *permutation)
{
    ir_type out = *t;
    for (int d = 0; d < t->rank; d++) out.dim[d] = t->dim[permutation[d]];
    return out;
}

ir_attention ir_attention_of(const ir_graph *g, const ir_node *n)
{
    ir_attention a = {.scale = ir_attr_find(n, ATTR_scale)->f,
                      .fill = ir_attr_find(n, ATTR_fill)->f,
                      .causal = ir_attr_int(n, ATTR_causal, 0) != 0,
                      .query_dims = ir_attr_ints(n, ATTR_query_dims, &(int){0}),
                      .key_dims = ir_attr_ints(n, ATTR_key_dims, &(int){0}),
                      .value_dims = ir_attr_ints(n, ATTR_value_dims, &(int){0})};
    if (n->op == OP_attention_back) a.result_dims = ir_attr_ints(n, ATTR_result_dims, &(int){0});
    a.query = ir_type_transposed(ir_type_of(g, n->in[ATTENTION_QUERY]), a.query_dims);
    a.key = ir_type_transposed(ir_type_of(g, n->in[ATTENTION_KEY]), a.key_dims);
    a.value = ir_type_transposed(ir_type_of(g, n->in[ATTENTION_VALUE]), a.value_dims);
    return a;
}

/* Operand i as its dims attribute orders it: floats of at least two dims, the last one last. */
static bool read_matrix(shape_call *c, int i, ir_attr_name name, ir_type *out)
{
    const ir_type *t = shape_in(c, i);
    const int64_t *dims;
    unsigned set;
    if (t->rank < 2 || (t->dtype != DTYPE_f32 && t->dtype != DTYPE_f64))
        return shape_problem(c, "operand %d: expected matrices of f32 or f64, found %s", i, shape_show(c, t));
    if (!shape_read_ints(c, name, t->rank, &dims) || !shape_read_dims(c, name, t->rank, SHAPE_ANY_ORDER, &set))
        return false;
    if (dims[t->rank - 1] != t->rank - 1)
        return shape_problem(c, "%s: expected the last dim last", ir_attr_name_text(name));
    *out = ir_type_transposed(t, dims);
    for (int d = t->rank - 2; d < t->rank; d++) {
        if (out->dim[d].batch || out->dim[d].count < 1)
            return shape_problem(c, "operand %d: expected rows and columns of fixed size, found %s", i, shape_show(c, t));
    }
    return true;
}

static bool need_shape(shape_call *c, int i, ir_dtype dtype, ir_type shape)
{
    shape.dtype = dtype;
    const ir_type *t = shape_in(c, i);
    return ir_type_equal(t, &shape) ||
           shape_problem(c, "operand %d: expected %s, found %s", i, shape_show(c, &shape), shape_show(c, t));
}

static bool check_operands(shape_call *c, ir_type *out_result, ir_type *out_row)
{
    ir_type q, k, v;
    if (!read_matrix(c, ATTENTION_QUERY, ATTR_query_dims, &q) || !read_matrix(c, ATTENTION_KEY, ATTR_key_dims, &k) ||
        !read_matrix(c, ATTENTION_VALUE, ATTR_value_dims, &v))
        return false;
    const int rows = q.rank - 2, columns = q.rank - 1;
    bool fits = q.rank == k.rank && q.rank == v.rank && q.dtype == k.dtype && q.dtype == v.dtype;
    for (int d = 0; fits && d < rows; d++) fits = ir_dim_equal(q.dim[d], k.dim[d]) && ir_dim_equal(q.dim[d], v.dim[d]);
    fits = fits && ir_dim_equal(q.dim[columns], k.dim[columns]) && ir_dim_equal(k.dim[rows], v.dim[rows]);
    if (!fits)
        return shape_problem(c, "query %s, key %s and value %s do not fit", shape_show(c, &q), shape_show(c, &k),
                             shape_show(c, &v));
    ir_type scores = q;
    scores.dim[columns] = k.dim[rows];
    *out_result = *out_row = q;
    out_result->dim[columns] = v.dim[columns];
    out_row->rank--;
    return need_shape(c, ATTENTION_BIAS, q.dtype, scores) && need_shape(c, ATTENTION_MASK, DTYPE_i1, scores) &&
           need_shape(c, ATTENTION_KEEP, q.dtype, scores);
}

bool shape_rule_attention(shape_call *c)
{
    ir_type result[3];
    if (!check_operands(c, &result[0], &result[1])) return false;
    result[2] = result[1];
    c->n.type = ir_type_tuple(c->g->arena, 3, result);
    return true;
}

bool shape_rule_attention_back(shape_call *c)
{
    ir_type result, row, gradient;
    if (!check_operands(c, &result, &row) || !read_matrix(c, ATTENTION_GRADIENT, ATTR_result_dims, &gradient)) return false;
    if (!need_shape(c, ATTENTION_RESULT, result.dtype, result) || !need_shape(c, ATTENTION_TOP, row.dtype, row) ||
        !need_shape(c, ATTENTION_TOTAL, row.dtype, row))
        return false;
    if (!ir_type_equal(&gradient, &result))
        return shape_problem(c, "a gradient %s does not fit the result %s", shape_show(c, &gradient),
                             shape_show(c, &result));
    const ir_type of[] = {*shape_in(c, ATTENTION_QUERY), *shape_in(c, ATTENTION_KEY), *shape_in(c, ATTENTION_VALUE)};
    c->n.type = ir_type_tuple(c->g->arena, 3, of);
    return true;
}
