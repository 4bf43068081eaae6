/* build_loop.c: builders of reductions, contractions and windows. */
#include "ir/graph.h"

#include <string.h>

/* ---- reductions ----------------------------------------------------------------------------- */

/* The type of x with the given dims made 1. */
static ir_type keep_dims_type(const ir_type *x, int count, const int64_t *dimensions)
{
    ir_type t = *x;
    for (int i = 0; i < count; i++) t.dim[dimensions[i]] = ir_fixed(1);
    return t;
}

ir_value ir_build_reduce(ir_graph *g, const char *kind, ir_value x, int count,
                         const int64_t *dimensions, bool keep_dims)
{
    if (count == 0) return x;
    bug_if(count > IR_MAX_RANK, "reduce over %d dimensions", count);
    int64_t sorted[IR_MAX_RANK];
    for (int i = 0; i < count; i++) {
        int k = i;
        for (; k > 0 && sorted[k - 1] > dimensions[i]; k--) sorted[k] = sorted[k - 1];
        sorted[k] = dimensions[i];
    }
    const ir_attr attr[] = {ir_attr_of_text(ATTR_kind, kind),
                            ir_attr_of_ints(ATTR_dimensions, count, sorted)};
    ir_value y = ir_build(g, OP_reduce, 1, &x, 2, attr, NULL);
    if (!keep_dims) return y;
    const ir_type kept = keep_dims_type(ir_type_of(g, x), count, dimensions);
    return ir_build_reshape(g, y, kept.rank, kept.dim);
}

/* 1 / (fixed * size of the batch dim), computed in at least 32 bits: 16 bits cannot hold large
 * counts. */
static ir_value build_inverse_count(ir_graph *g, ir_value x, int batch_dim, int64_t fixed)
{
    ir_dtype dtype = ir_type_of(g, x)->dtype;
    if (batch_dim < 0) return ir_build_scalar(g, dtype, 1.0 / (double)fixed);
    ir_dtype wide = dtype == DTYPE_f64 ? DTYPE_f64 : DTYPE_f32;
    ir_value n = ir_build_convert(g, ir_build_dimension_size(g, x, batch_dim), wide);
    if (fixed != 1) n = ir_build_binary_scalar(g, OP_multiply, n, (double)fixed);
    ir_value inverse = ir_build_binary(g, OP_divide, ir_build_scalar(g, wide, 1.0), n);
    return ir_build_convert(g, inverse, dtype);
}

ir_value ir_build_mean(ir_graph *g, ir_value x, int count, const int64_t *dimensions,
                       bool keep_dims)
{
    const ir_type *t = ir_type_of(g, x);
    int64_t fixed = 1;
    int batch_dim = -1;
    for (int i = 0; i < count; i++) {
        bug_if(dimensions[i] < 0 || dimensions[i] >= t->rank, "mean over dimension %d",
               (int)dimensions[i]);
        if (t->dim[dimensions[i]].batch)
            batch_dim = (int)dimensions[i];
        else
            fixed *= t->dim[dimensions[i]].count;
    }
    if (fixed == 1 && batch_dim < 0)
        return ir_build_reduce(g, "add", x, count, dimensions, keep_dims);
    ir_value sum = ir_build_reduce(g, "add", x, count, dimensions, keep_dims);
    return ir_build_binary(g, OP_multiply, sum, build_inverse_count(g, x, batch_dim, fixed));
}

ir_value ir_build_arg_reduce(ir_graph *g, const char *kind, ir_value x, int dimension)
{
    const ir_attr attr[] = {ir_attr_of_text(ATTR_kind, kind),
                            ir_attr_of_int(ATTR_dimension, dimension)};
    return ir_build(g, OP_arg_reduce, 1, &x, 2, attr, NULL);
}

ir_value ir_build_moments(ir_graph *g, ir_value x, int64_t splits)
{
    const ir_attr attr = {.name = ATTR_splits, .i = splits};
    return ir_build(g, OP_moments, 1, &x, 1, &attr, NULL);
}

ir_value ir_build_cumulative(ir_graph *g, const char *kind, ir_value x, int dimension, bool reverse,
                             bool exclusive)
{
    ir_attr attr[4] = {ir_attr_of_text(ATTR_kind, kind), ir_attr_of_int(ATTR_dimension, dimension)};
    int count = 2;
    if (reverse) attr[count++] = ir_attr_of_int(ATTR_reverse, 1);
    if (exclusive) attr[count++] = ir_attr_of_int(ATTR_exclusive, 1);
    return ir_build(g, OP_cumulative, 1, &x, count, attr, NULL);
}

/* ---- contractions --------------------------------------------------------------------------- */

ir_value ir_build_dot_general(ir_graph *g, ir_value a, ir_value b, const ir_dot *dot)
{
    const ir_value in[] = {a, b};
    const ir_attr attr[] = {
        ir_attr_of_ints(ATTR_lhs_batch, dot->batch_count, dot->lhs_batch),
        ir_attr_of_ints(ATTR_rhs_batch, dot->batch_count, dot->rhs_batch),
        ir_attr_of_ints(ATTR_lhs_contracting, dot->contracting_count, dot->lhs_contracting),
        ir_attr_of_ints(ATTR_rhs_contracting, dot->contracting_count, dot->rhs_contracting),
    };
    return ir_build(g, OP_dot_general, 2, in, (int)countof(attr), attr, NULL);
}

ir_value ir_build_dot(ir_graph *g, ir_value a, ir_value b)
{
    const ir_dot dot = {.contracting_count = 1, .lhs_contracting = {ir_type_of(g, a)->rank - 1}};
    return ir_build_dot_general(g, a, b, &dot);
}

/* Zeros around an image are padding of the window: what the image is padded from, with that padding added to `w`; or x, as
 * when a window would see nothing but padding. */
static ir_value take_padding(const ir_graph *g, ir_value x, ir_value kernel, ir_window *w)
{
    const ir_node *n = &g->node[x];
    int count;
    if (n->op != OP_pad || !ir_is_filled_with(g, n->in[1], 0)) return x;
    const int64_t *low = ir_attr_ints(n, ATTR_low, &count), *high = ir_attr_ints(n, ATTR_high, &count);
    const int64_t *interior = ir_attr_ints(n, ATTR_interior, &count);
    ir_window wider = *w;
    for (int d = 0; d < count; d++) {
        const int s = w->lhs_layout[d] - '0';
        if (!low[d] && !high[d] && !interior[d]) continue;
        if (s < 0 || s >= w->spatial || low[d] < 0 || high[d] < 0 || interior[d] || w->base_dilation[s] != 1) return x;
        const int64_t size = ir_type_of(g, kernel)->dim[strchr(w->rhs_layout, '0' + s) - w->rhs_layout].count;
        wider.low[s] += low[d];
        wider.high[s] += high[d];
        if (base_max(wider.low[s], wider.high[s]) > (size - 1) * w->window_dilation[s]) return x;
    }
    *w = wider;
    return n->in[0];
}

ir_value ir_build_convolution(ir_graph *g, ir_value x, ir_value kernel, const ir_window *window)
{
    ir_window w = *window;
    const ir_value in[] = {take_padding(g, x, kernel, &w), kernel};
    const ir_attr attr[] = {
        ir_attr_of_ints(ATTR_window_strides, w.spatial, w.strides),
        ir_attr_of_ints(ATTR_padding_low, w.spatial, w.low),
        ir_attr_of_ints(ATTR_padding_high, w.spatial, w.high),
        ir_attr_of_ints(ATTR_base_dilation, w.spatial, w.base_dilation),
        ir_attr_of_ints(ATTR_window_dilation, w.spatial, w.window_dilation),
        ir_attr_of_int(ATTR_window_reversal, w.reversal),
        ir_attr_of_text(ATTR_lhs_layout, w.lhs_layout),
        ir_attr_of_text(ATTR_rhs_layout, w.rhs_layout),
        ir_attr_of_text(ATTR_out_layout, w.out_layout),
        ir_attr_of_int(ATTR_feature_group_count, w.feature_groups),
        ir_attr_of_int(ATTR_batch_group_count, w.batch_groups),
    };
    return ir_build(g, OP_convolution, 2, in, (int)countof(attr), attr, NULL);
}

/* ---- windows -------------------------------------------------------------------------------- */

ir_value ir_build_reduce_window(ir_graph *g, const char *kind, ir_value x,
                                const int64_t *dimensions, const int64_t *strides,
                                const int64_t *low, const int64_t *high,
                                const int64_t *base_dilation, const int64_t *window_dilation)
{
    static const int64_t ones[IR_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1};
    int rank = ir_type_of(g, x)->rank;
    const ir_attr attr[] = {
        ir_attr_of_text(ATTR_kind, kind),
        ir_attr_of_ints(ATTR_window_dimensions, rank, dimensions),
        ir_attr_of_ints(ATTR_window_strides, rank, strides),
        ir_attr_of_ints(ATTR_padding_low, rank, low),
        ir_attr_of_ints(ATTR_padding_high, rank, high),
        ir_attr_of_ints(ATTR_base_dilation, rank, base_dilation ? base_dilation : ones),
        ir_attr_of_ints(ATTR_window_dilation, rank, window_dilation ? window_dilation : ones),
    };
    return ir_build(g, OP_reduce_window, 1, &x, (int)countof(attr), attr, NULL);
}

ir_value ir_build_select_and_scatter(ir_graph *g, const char *kind, ir_value x, ir_value source,
                                     const int64_t *dimensions, const int64_t *strides,
                                     const int64_t *low, const int64_t *high)
{
    int rank = ir_type_of(g, x)->rank;
    const ir_value in[] = {x, source};
    const ir_attr attr[] = {
        ir_attr_of_text(ATTR_kind, kind),
        ir_attr_of_ints(ATTR_window_dimensions, rank, dimensions),
        ir_attr_of_ints(ATTR_window_strides, rank, strides),
        ir_attr_of_ints(ATTR_padding_low, rank, low),
        ir_attr_of_ints(ATTR_padding_high, rank, high),
    };
    return ir_build(g, OP_select_and_scatter, 2, in, (int)countof(attr), attr, NULL);
}
