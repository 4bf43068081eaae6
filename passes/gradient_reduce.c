/* gradient_reduce.c: rules of reductions, running reductions and windows. */
#include "passes/gradient.h"

#include <string.h>

#define RULE(name) void grad_##name(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)

/* ---- reduce
 * ------------------------------------------------------------------------------------------------ */

/* The result of a reduce, or something of its shape, at every element that went into it. */
static ir_value spread(grad_ctx *c, const ir_node *n, ir_value x)
{
    const ir_type from = adj_type(c, n->in[0]);
    int count, kept = 0, next = 0;
    const int64_t *reduced = ir_attr_ints(n, ATTR_dimensions, &count);
    int64_t dimension[IR_MAX_RANK];
    for (int i = 0; i < from.rank; i++) {
        if (next < count && reduced[next] == i)
            next++;
        else
            dimension[kept++] = i;
    }
    return ir_build_broadcast_in_dim(c->g, x, &from, dimension);
}

/* Ties share the gradient equally, as TensorFlow's reduce_max has it. */
static void reduce_extreme(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    int count;
    const int64_t *reduced = ir_attr_ints(n, ATTR_dimensions, &count);
    const ir_dtype dtype = n->type.dtype;
    const ir_value chosen =
        ir_build_convert(c->g, ir_build_compare(c->g, "EQ", spread(c, n, v), n->in[0]), dtype);
    const ir_value ties = ir_build_reduce(c->g, "add", chosen, count, reduced, false);
    adj_add(c, n->in[0], adj_mul(c, adj_div(c, chosen, spread(c, n, ties)), spread(c, n, dy)));
}

/* d product / d x is the product of the others: of those before times those after, which holds for zeros too.
 */
static void reduce_product(grad_ctx *c, const ir_node *n, ir_value dy)
{
    const ir_type from = adj_type(c, n->in[0]);
    int count, at = 0;
    const int64_t *reduced = ir_attr_ints(n, ATTR_dimensions, &count);
    int64_t order[IR_MAX_RANK], inverse[IR_MAX_RANK];
    bool is_reduced[IR_MAX_RANK] = {false};
    for (int i = 0; i < count; i++) is_reduced[reduced[i]] = true;
    for (int i = 0; i < from.rank; i++)
        if (!is_reduced[i]) order[at++] = i;
    const int kept = at;
    for (int i = 0; i < count; i++) order[at++] = reduced[i];
    for (int i = 0; i < from.rank; i++) inverse[order[i]] = i;
    ir_value x = ir_build_transpose(c->g, n->in[0], order);
    const ir_type last = adj_type(c, x);
    ir_type merged = last;
    merged.rank = kept + 1;
    merged.dim[kept] = ir_fixed(1);
    for (int i = kept; i < last.rank; i++) {
        merged.dim[kept].count *= last.dim[i].count;
        merged.dim[kept].batch |= last.dim[i].batch;
    }
    x = ir_build_reshape(c->g, x, merged.rank, merged.dim);
    const ir_value before = ir_build_cumulative(c->g, "multiply", x, kept, false, true);
    const ir_value after = ir_build_cumulative(c->g, "multiply", x, kept, true, true);
    ir_value others = ir_build_reshape(c->g, adj_mul(c, before, after), last.rank, last.dim);
    others = ir_build_transpose(c->g, others, inverse);
    adj_add(c, n->in[0], adj_mul(c, spread(c, n, dy), others));
}

RULE(reduce)
{
    const char *kind = ir_attr_text(n, ATTR_kind);
    if (ir_attr_find(n, ATTR_splits))
        adj_refuse(c, n, "it was split before it was differentiated");
    else if (strcmp(kind, "add") == 0)
        adj_add(c, n->in[0], spread(c, n, dy));
    else if (strcmp(kind, "multiply") == 0)
        reduce_product(c, n, dy);
    else
        reduce_extreme(c, v, n, dy);
}

/* ---- cumulative
 * ---------------------------------------------------------------------------------------------- */

RULE(cumulative)
{
    const char *kind = ir_attr_text(n, ATTR_kind);
    const int dimension = (int)ir_attr_int(n, ATTR_dimension, 0);
    const bool reverse = ir_attr_int(n, ATTR_reverse, 0) != 0,
               exclusive = ir_attr_int(n, ATTR_exclusive, 0) != 0;
    if (strcmp(kind, "add") == 0) {
        adj_add(c, n->in[0], ir_build_cumulative(c->g, "add", dy, dimension, !reverse, exclusive));
    } else if (strcmp(kind, "multiply") == 0) {
        const ir_value sum =
            ir_build_cumulative(c->g, "add", adj_mul(c, v, dy), dimension, !reverse, exclusive);
        /* As TensorFlow has it: 0 for an element that is 0. */
        const ir_type type = adj_type(c, n->in[0]);
        const ir_value zero = adj_zeros(c, &type), none = ir_build_compare(c->g, "EQ", n->in[0], zero);
        const ir_value divisor = ir_build_select(c->g, none, ir_build_fill(c->g, type, 1), n->in[0]);
        adj_add(c, n->in[0], ir_build_select(c->g, none, zero, adj_div(c, sum, divisor)));
    } else {
        adj_refuse(c, n, "running maxima and minima have none");
    }
}

/* ---- windows
 * --------------------------------------------------------------------------------------------------- */

/* A sum over windows goes back as the sum over all windows that hold an element: windows over the gradient,
 * spread by the strides and padded such that each input position has one. */
static void window_sum(grad_ctx *c, const ir_node *n, ir_value dy)
{
    const ir_type from = adj_type(c, n->in[0]);
    const int64_t *window = ir_attr_ints(n, ATTR_window_dimensions, NULL),
                  *stride = ir_attr_ints(n, ATTR_window_strides, NULL);
    const int64_t *base = ir_attr_ints(n, ATTR_base_dilation, NULL),
                  *dilation = ir_attr_ints(n, ATTR_window_dilation, NULL);
    const int64_t *low = ir_attr_ints(n, ATTR_padding_low, NULL);
    int64_t back_low[IR_MAX_RANK], back_high[IR_MAX_RANK];
    for (int i = 0; i < from.rank; i++) {
        const int64_t reach = (window[i] - 1) * dilation[i] + 1;
        const int64_t in = (from.dim[i].count - 1) * base[i] + 1,
                      out = (n->type.dim[i].count - 1) * stride[i] + 1;
        back_low[i] = from.dim[i].batch ? 0 : reach - 1 - low[i];
        back_high[i] = from.dim[i].batch ? 0 : in - out - back_low[i] + reach - 1;
    }
    adj_add(c, n->in[0],
            ir_build_reduce_window(c->g, "add", dy, window, base, back_low, back_high, stride, dilation));
}

static bool all_ones(const ir_node *n, ir_attr_name name)
{
    int count;
    const int64_t *item = ir_attr_ints(n, name, &count);
    for (int i = 0; i < count; i++)
        if (item[i] != 1) return false;
    return true;
}

static void window_extreme(grad_ctx *c, const ir_node *n, ir_value dy)
{
    if (!all_ones(n, ATTR_base_dilation) || !all_ones(n, ATTR_window_dilation)) {
        adj_refuse(c, n, "dilated windows have none for maximum and minimum");
        return;
    }
    adj_add(c, n->in[0],
            ir_build_select_and_scatter(
                c->g, ir_attr_text(n, ATTR_kind), n->in[0], dy, ir_attr_ints(n, ATTR_window_dimensions, NULL),
                ir_attr_ints(n, ATTR_window_strides, NULL), ir_attr_ints(n, ATTR_padding_low, NULL),
                ir_attr_ints(n, ATTR_padding_high, NULL)));
}

RULE(reduce_window)
{
    (void)v;
    const char *kind = ir_attr_text(n, ATTR_kind);
    if (strcmp(kind, "add") == 0)
        window_sum(c, n, dy);
    else if (strcmp(kind, "multiply") == 0)
        adj_refuse(c, n, "products over windows have none");
    else
        window_extreme(c, n, dy);
}
