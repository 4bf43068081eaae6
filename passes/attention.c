/* attention.c: softmax(scale * q.k^T + bias, hidden by a mask) . v, however it is written, becomes one `attention`, whose
 * matrix of scores is never in memory; nor is it in the gradient, which follows from the node's rule. What is looked for
 * is the structure alone: a product, its softmax over one dim, a product over that dim. Between the products may stand
 * factors, sums with values that no weight is trained by, selections against a number, and, on the probabilities,
 * factors such as dropout's. Bias, mask and factors stay chains that the kernel computes where it needs them.
 *
 * Not matched, and so in memory as ever: probabilities that somebody else reads, several query or key dims, 16-bit and
 * 64-bit floats, a bias that is trained. */
#include "passes/passes_private.h"

#include <string.h>

enum {
    MOST_WIDTH = 1024, /* of keys and values: panels of so many columns fit the cache */
    MOST_STEPS = 256   /* of a search */
};

/* Scores hidden by no more than this may still count in the softmax. */
static const double far_below = -1000;

typedef struct side {
    ir_value value;
    int64_t batch[IR_MAX_RANK], free, contracting;
} side;

/* A dot_general of matrices: one free and one contracted dim on each side. */
typedef struct product {
    int batch_count;
    side side[2];
} product;

/* scores = mask ? scale * (factor * product) + bias : fill, dim by dim as dims `permutation` of the product. */
typedef struct scores {
    ir_value dot; /* of the old graph */
    int64_t permutation[IR_MAX_RANK];
    double scale, fill;
    ir_value factor, bias, mask; /* of the new graph, in the shape of the scores (factor: a scalar); or IR_NONE */
} scores;

typedef struct matcher {
    rewrite r;
    const int *uses;
    const bool *trained; /* per old value: depends on what is differentiated for */
    int steps;           /* of this search, so far */
} matcher;

static const ir_node *node_of(const matcher *m, ir_value v) { return &m->r.from->node[v]; }

/* Products of 16 bits are done in float32, and their results rounded. */
static bool is_narrow(ir_dtype t) { return t == DTYPE_f16 || t == DTYPE_bf16; }

static bool read_product(const matcher *m, ir_value v, product *p)
{
    const ir_node *n = node_of(m, v);
    const ir_dtype dtype = n->type.dtype;
    if (n->op != OP_dot_general || ir_attr_find(n, ATTR_splits) || (dtype != DTYPE_f32 && !is_narrow(dtype))) return false;
    static const ir_attr_name batch[] = {ATTR_lhs_batch, ATTR_rhs_batch};
    static const ir_attr_name contracting[] = {ATTR_lhs_contracting, ATTR_rhs_contracting};
    for (int i = 0; i < 2; i++) {
        side *s = &p->side[i];
        int count;
        const int rank = node_of(m, n->in[i])->type.rank;
        const int64_t *b = ir_attr_ints(n, batch[i], &p->batch_count), *k = ir_attr_ints(n, contracting[i], &count);
        if (count != 1 || rank != p->batch_count + 2 || node_of(m, n->in[i])->type.dtype != dtype) return false;
        s->value = n->in[i];
        s->contracting = k[0];
        s->free = (int64_t)rank * (rank - 1) / 2 - k[0];
        for (int d = 0; d < p->batch_count; d++) s->free -= s->batch[d] = b[d];
    }
    return true;
}

/* Goes through transposes: dim i of the given value is dim permutation[i] of what is returned. */
static ir_value strip_transposes(const matcher *m, ir_value v, int64_t *permutation)
{
    for (int d = 0; d < IR_MAX_RANK; d++) permutation[d] = d;
    for (const ir_node *n = node_of(m, v); n->op == OP_transpose; n = node_of(m, v)) {
        const int64_t *dims = ir_attr_ints(n, ATTR_dimensions, NULL);
        for (int d = 0; d < n->type.rank; d++) permutation[d] = dims[permutation[d]];
        v = n->in[0];
    }
    return v;
}

static ir_value mapped(const matcher *m, ir_value v) { return m->r.map[v]; }

/* IR_NONE when v, which nobody else reads, is no softmax over dim `axis`; else what it is the softmax of. */
static ir_value softmax_of(const matcher *m, ir_value v, int axis)
{
    unsigned dims;
    const ir_value x = m->uses[v] == 1 ? passes_softmax_of(m->r.from, v, &dims) : IR_NONE;
    return x != IR_NONE && dims == 1u << axis ? x : IR_NONE;
}

/* ---- scores -------------------------------------------------------------------------------------------------- */

static bool is_scalar(const ir_type *t)
{
    ir_unit batch;
    return passes_elements(t, &batch) == 1 && !batch;
}

/* The number that v repeats everywhere: of the new graph, rank 0; IR_NONE when it is not one number. */
static ir_value find_factor(matcher *m, ir_value v)
{
    const ir_node *n = node_of(m, v);
    while (n->op == OP_broadcast_in_dim && !is_scalar(&n->type)) v = n->in[0], n = node_of(m, v);
    return is_scalar(&n->type) ? ir_build_reshape(m->r.to, mapped(m, v), 0, NULL) : IR_NONE;
}

static bool parse_scores(matcher *m, ir_value v, scores *s);

static bool add_bias(matcher *m, scores *s, ir_value bias)
{
    if (s->mask != IR_NONE) return false;
    s->bias = s->bias == IR_NONE ? bias : ir_build_binary(m->r.to, OP_add, s->bias, bias);
    return true;
}

static bool parse_sum(matcher *m, const ir_node *n, scores *s)
{
    for (int i = 0; i < 2; i++) {
        const ir_value other = n->in[1 - i];
        if ((n->op == OP_subtract && i == 1) || m->trained[other] || !parse_scores(m, n->in[i], s)) continue;
        const ir_value bias = mapped(m, other);
        return add_bias(m, s, n->op == OP_add ? bias : ir_build_unary(m->r.to, OP_negate, bias));
    }
    return false;
}

static bool scale_scores(matcher *m, scores *s, double by)
{
    s->scale *= by;
    s->fill *= by;
    if (s->bias != IR_NONE) s->bias = ir_build_binary_scalar(m->r.to, OP_multiply, s->bias, by);
    return true;
}

static bool parse_factor(matcher *m, const ir_node *n, scores *s)
{
    double by;
    for (int i = 0; i < 2; i++) {
        const ir_value other = n->in[1 - i];
        if (n->op == OP_divide && i == 1) return false;
        if (ir_is_filled(m->r.from, other, &by)) {
            return (n->op == OP_multiply || by != 0) && parse_scores(m, n->in[i], s) &&
                   scale_scores(m, s, n->op == OP_divide ? 1 / by : by);
        }
        const ir_value factor = n->op == OP_multiply ? find_factor(m, other) : IR_NONE;
        if (factor == IR_NONE) continue;
        if (!parse_scores(m, n->in[i], s) || s->bias != IR_NONE || s->mask != IR_NONE) return false;
        s->factor = s->factor == IR_NONE ? factor : ir_build_binary(m->r.to, OP_multiply, s->factor, factor);
        return true;
    }
    return false;
}

static bool add_mask(matcher *m, scores *s, ir_value mask, double fill)
{
    if (s->mask != IR_NONE && s->fill != fill) return false;
    s->mask = s->mask == IR_NONE ? mask : ir_build_binary(m->r.to, OP_and, s->mask, mask);
    s->fill = fill;
    return true;
}

/* select(c, x, x +- number): x plus a bias that c chooses. */
static bool parse_shifted(matcher *m, const ir_node *n, scores *s)
{
    double by;
    const ir_node *shifted = node_of(m, n->in[2]);
    if ((shifted->op != OP_add && shifted->op != OP_subtract) || shifted->in[0] != n->in[1]) return false;
    if (!ir_is_filled(m->r.from, shifted->in[1], &by) || !parse_scores(m, n->in[1], s)) return false;
    ir_graph *g = m->r.to;
    const ir_value zero = ir_build_scalar(g, DTYPE_f32, 0);
    const ir_value other = ir_build_scalar(g, DTYPE_f32, shifted->op == OP_add ? by : -by);
    return add_bias(m, s, ir_build_select(g, mapped(m, n->in[0]), zero, other));
}

static bool parse_select(matcher *m, const ir_node *n, scores *s)
{
    double fill;
    if (ir_is_filled(m->r.from, n->in[2], &fill))
        return parse_scores(m, n->in[1], s) && add_mask(m, s, mapped(m, n->in[0]), fill);
    if (!ir_is_filled(m->r.from, n->in[1], &fill)) return parse_shifted(m, n, s);
    return parse_scores(m, n->in[2], s) &&
           add_mask(m, s, ir_build_unary(m->r.to, OP_not, mapped(m, n->in[0])), fill);
}

/* What v is as scores of a product. What a failure leaves in the new graph is dead. */
static bool parse_scores(matcher *m, ir_value v, scores *s)
{
    const ir_node *n = node_of(m, v);
    const bool is_product = n->op == OP_dot_general || n->op == OP_transpose;
    if (m->steps++ > MOST_STEPS || (n->type.dtype != DTYPE_f32 && !(is_narrow(n->type.dtype) && is_product))) return false;
    switch (n->op) {
    case OP_dot_general:
    case OP_transpose:
        *s = (scores){.scale = 1, .fill = 0, .factor = IR_NONE, .bias = IR_NONE, .mask = IR_NONE};
        s->dot = strip_transposes(m, v, s->permutation);
        return node_of(m, s->dot)->op == OP_dot_general;
    case OP_convert:
        return parse_scores(m, n->in[0], s);
    case OP_add:
    case OP_subtract:
        return parse_sum(m, n, s);
    case OP_multiply:
    case OP_divide:
        return parse_factor(m, n, s);
    case OP_select:
        return parse_select(m, n, s);
    default:
        return false;
    }
}

/* ---- factors of the probabilities ------------------------------------------------------------------------------ */

static ir_value join_factor(matcher *m, ir_value keep, ir_value by)
{
    by = ir_build_convert(m->r.to, by, DTYPE_f32);
    return keep == IR_NONE ? by : ir_build_binary(m->r.to, OP_multiply, keep, by);
}

/* Follows products and selections against 0 down to a softmax over dim `axis`; *keep becomes their product. Returns what
 * it is the softmax of, or IR_NONE. */
static ir_value find_softmax(matcher *m, ir_value v, int axis, ir_value *keep)
{
    ir_graph *g = m->r.to;
    const ir_node *n = node_of(m, v);
    const ir_value x = softmax_of(m, v, axis);
    double fill;
    if (x != IR_NONE || m->uses[v] != 1 || m->steps++ > MOST_STEPS) return x;
    if (n->op == OP_convert && node_of(m, n->in[0])->type.dtype == DTYPE_f32) return find_softmax(m, n->in[0], axis, keep);
    if (n->op == OP_select && ir_is_filled(m->r.from, n->in[2], &fill) && fill == 0) {
        const ir_value one = ir_build_scalar(g, DTYPE_f32, 1), zero = ir_build_scalar(g, DTYPE_f32, 0);
        const ir_value below = find_softmax(m, n->in[1], axis, keep);
        *keep = join_factor(m, *keep, ir_build_select(g, mapped(m, n->in[0]), one, zero));
        return below;
    }
    for (int i = 0; i < 2 && n->op == OP_multiply; i++) {
        if (m->trained[n->in[1 - i]]) continue;
        const ir_value below = find_softmax(m, n->in[i], axis, keep);
        if (below == IR_NONE) continue;
        *keep = join_factor(m, *keep, mapped(m, n->in[1 - i]));
        return below;
    }
    return IR_NONE;
}

/* ---- masks that let no row see later ones ------------------------------------------------------------------------ */

/* v counts along dim `dim` and no other. */
static bool counts_along(const ir_graph *g, ir_value v, int64_t dim)
{
    const ir_node *n = &g->node[v];
    int count;
    if (n->op == OP_iota) return ir_attr_int(n, ATTR_dimension, -1) == dim;
    if (n->op == OP_convert) return counts_along(g, n->in[0], dim);
    if (n->op != OP_broadcast_in_dim) return false;
    const int64_t *to = ir_attr_ints(n, ATTR_dimensions, &count);
    for (int i = 0; i < count; i++)
        if (to[i] == dim)
            return ir_dim_equal(ir_type_of(g, n->in[0])->dim[i], n->type.dim[dim]) && counts_along(g, n->in[0], i);
    return false;
}

/* Dim d of t, which is not of size 1, in a reshape of t that only adds or drops dims of size 1; or -1. */
static int64_t dim_of_reshape(const ir_type *t, const ir_type *to, int64_t d)
{
    int at = 0;
    int64_t found = -1;
    for (int i = 0; i < t->rank; i++) {
        if (ir_dim_equal(t->dim[i], ir_fixed(1))) continue;
        while (at < to->rank && ir_dim_equal(to->dim[at], ir_fixed(1))) at++;
        if (at == to->rank || !ir_dim_equal(t->dim[i], to->dim[at])) return -1;
        if (i == d) found = at;
        at++;
    }
    return found;
}

/* v is false wherever its coordinate along `row` is less than the one along `column`. */
static bool hides_later(const ir_graph *g, ir_value v, int64_t row, int64_t column, int *steps)
{
    const ir_node *n = &g->node[v];
    const ir_type *t = n->in_count > 0 ? ir_type_of(g, n->in[0]) : NULL;
    if ((*steps)++ > MOST_STEPS || row < 0 || column < 0) return false;
    if (n->op == OP_and)
        return hides_later(g, n->in[0], row, column, steps) || hides_later(g, n->in[1], row, column, steps);
    if (n->op == OP_reshape)
        return hides_later(g, n->in[0], dim_of_reshape(&n->type, t, row), dim_of_reshape(&n->type, t, column), steps);
    if (n->op == OP_compare) {
        const char *way = ir_attr_text(n, ATTR_direction);
        const bool swapped = way[0] == 'L';
        return (way[0] == 'G' || swapped) && counts_along(g, n->in[swapped], row) &&
               counts_along(g, n->in[!swapped], column);
    }
    if (n->op != OP_broadcast_in_dim && n->op != OP_transpose) return false;
    int count;
    const int64_t *to = ir_attr_ints(n, ATTR_dimensions, &count);
    if (n->op == OP_transpose) return hides_later(g, n->in[0], to[row], to[column], steps);
    int64_t inner[2] = {-1, -1};
    for (int i = 0; i < count; i++) {
        if (to[i] == row && ir_dim_equal(t->dim[i], n->type.dim[row])) inner[0] = i;
        if (to[i] == column && ir_dim_equal(t->dim[i], n->type.dim[column])) inner[1] = i;
    }
    return hides_later(g, n->in[0], inner[0], inner[1], steps);
}

/* The same of a bias that is a number far below 0 there and 0 elsewhere; the number goes to *fill. */
static bool lowers_later(const ir_graph *g, ir_value v, int64_t row, int64_t column, int *steps, double *fill)
{
    const ir_node *n = &g->node[v];
    double low;
    if ((*steps)++ > MOST_STEPS) return false;
    if (n->op == OP_add)
        return lowers_later(g, n->in[0], row, column, steps, fill) || lowers_later(g, n->in[1], row, column, steps, fill);
    if (n->op != OP_select || !ir_is_filled_with(g, n->in[1], 0) || !ir_is_filled(g, n->in[2], &low) || low > far_below)
        return false;
    if (!hides_later(g, n->in[0], row, column, steps)) return false;
    *fill = low;
    return true;
}

/* ---- the node -------------------------------------------------------------------------------------------------- */

/* An operand of the new node and its dims in the order `dims`: transposes are looked through, and made where the columns
 * would not be last. */
static ir_value place_operand(matcher *m, ir_value v, int rank, int64_t *dims)
{
    int64_t through[IR_MAX_RANK];
    const ir_value base = strip_transposes(m, v, through);
    if (through[dims[rank - 1]] == rank - 1) {
        for (int d = 0; d < rank; d++) dims[d] = through[dims[d]];
        return mapped(m, base);
    }
    ir_value in = mapped(m, v);
    if (dims[rank - 1] == rank - 1) return in;
    in = ir_build_transpose(m->r.to, in, dims);
    for (int d = 0; d < rank; d++) dims[d] = d;
    return in;
}

/* A value in the shape of the scores of the old graph as [batch, rows, keys], and a number where there is none. */
static ir_value place_chain(matcher *m, ir_value v, const ir_type *shape, const int64_t *order, ir_dtype dtype,
                            double otherwise)
{
    ir_graph *g = m->r.to;
    if (v == IR_NONE) return ir_build_fill(g, ir_type_with_dtype(*shape, dtype), otherwise);
    for (int d = 0; d < shape->rank; d++)
        if (order[d] != d) return ir_build_transpose(g, v, order);
    return v;
}

typedef struct found {
    ir_value product;
    product first, second;
    int weights, query; /* which side of the second product the probabilities are, of the first the query is */
    scores scores;
    ir_value keep;
    int64_t order[IR_MAX_RANK]; /* dims of the scores: batch dims as in the second product, rows, keys */
} found;

static bool is_whole(ir_dim d, int64_t most) { return !d.batch && d.count >= 1 && d.count <= most; }

/* Dims batch, rows, columns of a side of a product whose batch dims come in the order of `batch`. */
static void order_side(const side *s, int batch_count, const int64_t *batch, int64_t rows, int64_t columns, int64_t *out)
{
    for (int d = 0; d < batch_count; d++) out[d] = s->batch[batch ? batch[d] : d];
    out[batch_count] = rows;
    out[batch_count + 1] = columns;
}

static ir_value build_attention(matcher *m, const found *x)
{
    const int batches = x->second.batch_count, rank = batches + 2;
    const side *q = &x->first.side[x->query], *k = &x->first.side[1 - x->query], *v = &x->second.side[1 - x->weights];
    int64_t batch[IR_MAX_RANK], dims[3][IR_MAX_RANK];
    for (int d = 0; d < batches; d++) batch[d] = x->scores.permutation[x->order[d]];
    order_side(q, batches, batch, q->free, q->contracting, dims[0]);
    order_side(k, batches, batch, k->free, k->contracting, dims[1]);
    order_side(v, batches, NULL, v->contracting, v->free, dims[2]);
    ir_graph *g = m->r.to;
    ir_value in[6] = {place_operand(m, q->value, rank, dims[0]), place_operand(m, k->value, rank, dims[1]),
                      place_operand(m, v->value, rank, dims[2])};
    for (int i = 0; i < 3; i++) in[i] = ir_build_convert(g, in[i], DTYPE_f32);
    if (x->scores.factor != IR_NONE) in[0] = ir_build_binary(g, OP_multiply, in[0], x->scores.factor);
    ir_type shape = ir_type_transposed(ir_type_of(g, in[0]), dims[0]);
    shape.dim[rank - 1] = ir_type_of(g, in[1])->dim[dims[1][rank - 2]];
    in[3] = place_chain(m, x->scores.bias, &shape, x->order, DTYPE_f32, 0);
    in[4] = place_chain(m, x->scores.mask, &shape, x->order, DTYPE_i1, 1);
    in[5] = place_chain(m, x->keep, &shape, x->order, DTYPE_f32, 1);
    double fill = x->scores.fill;
    m->steps = 0;
    bool causal = x->scores.mask != IR_NONE && fill <= far_below && hides_later(g, in[4], rank - 2, rank - 1, &m->steps);
    if (x->scores.mask == IR_NONE) causal = lowers_later(g, in[3], rank - 2, rank - 1, &m->steps, &fill);
    const ir_attr attr[] = {{.name = ATTR_query_dims, .ints = {rank, dims[0]}},
                            {.name = ATTR_key_dims, .ints = {rank, dims[1]}},
                            {.name = ATTR_value_dims, .ints = {rank, dims[2]}},
                            {.name = ATTR_scale, .f = x->scores.scale},
                            {.name = ATTR_fill, .f = fill},
                            {.name = ATTR_causal, .i = causal}};
    const ir_value got = ir_build_get(g, ir_build(g, OP_attention, 6, in, (int)countof(attr), attr, NULL), 0);
    const ir_value y = ir_build_convert(g, got, node_of(m, x->product)->type.dtype);
    if (x->weights == 0) return y;
    int64_t turned[IR_MAX_RANK];
    for (int d = 0; d < rank; d++) turned[d] = d < batches ? d : d == batches ? rank - 1 : batches;
    return ir_build_transpose(g, y, turned);
}

/* Whether side `weights` of product v is a softmax of scores: fills in x. */
static bool match_side(matcher *m, int weights, found *x)
{
    int64_t through[IR_MAX_RANK];
    const side *s = &x->second.side[weights];
    const int batches = x->second.batch_count;
    x->weights = weights;
    x->keep = IR_NONE;
    m->steps = 0;
    ir_value p = strip_transposes(m, s->value, through);
    for (int d = 0; d < batches; d++) x->order[d] = through[s->batch[d]];
    x->order[batches] = through[s->free];
    x->order[batches + 1] = through[s->contracting];
    p = find_softmax(m, p, (int)x->order[batches + 1], &x->keep);
    if (p == IR_NONE || !parse_scores(m, p, &x->scores) || !read_product(m, x->scores.dot, &x->first)) return false;
    const int64_t rows = x->scores.permutation[x->order[batches]], keys = x->scores.permutation[x->order[batches + 1]];
    x->query = rows == batches ? 0 : 1;
    if (x->first.batch_count != batches || rows < batches || keys < batches) return false;
    const side *q = &x->first.side[x->query], *k = &x->first.side[1 - x->query], *v = &x->second.side[1 - weights];
    return is_whole(node_of(m, q->value)->type.dim[q->contracting], MOST_WIDTH) &&
           is_whole(node_of(m, v->value)->type.dim[v->free], MOST_WIDTH) &&
           is_whole(node_of(m, q->value)->type.dim[q->free], INT32_MAX) &&
           is_whole(node_of(m, k->value)->type.dim[k->free], INT32_MAX);
}

static ir_value match(matcher *m, ir_value v)
{
    found x = {.product = v};
    if (!read_product(m, v, &x.second)) return IR_NONE;
    for (int weights = 0; weights < 2; weights++)
        if (match_side(m, weights, &x)) return build_attention(m, &x);
    return IR_NONE;
}

/* ---- the pass ---------------------------------------------------------------------------------------------------- */

static int *count_uses(const ir_graph *g, arena *scratch)
{
    const bool *live = ir_graph_live(g, scratch);
    int *uses = arena_array(scratch, int, g->count + 1);
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *n = &g->node[v];
        for (int i = 0; live[v] && i < n->in_count; i++) uses[n->in[i]]++;
    }
    for (size_t i = 0; i < g->output_count; i++) uses[g->output[i].value]++;
    for (size_t i = 0; i < g->update_count; i++) uses[g->update[i].value]++;
    return uses;
}

/* What a training step may want the gradient of: floats made of trainable variables or of updates. */
static bool *find_trained(const ir_module *m, const ir_graph *g, arena *scratch)
{
    bool *trained = arena_array(scratch, bool, g->count + 1);
    if (g->loss == IR_NONE) return trained;
    for (size_t i = 0; i < g->update_count; i++)
        if (m->variable[g->update[i].variable].trainable) trained[g->update[i].value] = true;
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *n = &g->node[v];
        if (n->op == OP_variable) trained[v] = m->variable[ir_attr_int(n, ATTR_index, 0)].trainable;
        if (n->op == OP_stop_gradient || (n->type.rank >= 0 && !ir_dtype_is_float(n->type.dtype))) continue;
        for (int i = 0; i < n->in_count; i++) trained[v] = trained[v] || trained[n->in[i]];
    }
    return trained;
}

bool pass_attention(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)o, (void)d;
    bool any = false;
    for (size_t i = 0; i < g->count; i++) any = any || g->node[i].op == OP_exponential;
    if (!any) return true;
    arena scratch = {0};
    matcher x = {.uses = count_uses(g, &scratch), .trained = find_trained(m, g, &scratch)};
    rewrite_begin(&x.r, g, &scratch);
    for (size_t i = 0; i < g->count; i++) {
        rewrite_copy(&x.r, (ir_value)i);
        const ir_value better = g->node[i].op == OP_dot_general ? match(&x, (ir_value)i) : IR_NONE;
        if (better != IR_NONE) x.r.map[i] = better;
    }
    rewrite_end(&x.r);
    arena_done(&scratch);
    return true;
}
