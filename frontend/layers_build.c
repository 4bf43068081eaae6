/* layers_build.c: small graphs that several layer families are made of. Reductions drop their dims and
 * fe_spread puts them back with one broadcast_in_dim, so no reshape of size-1 dims stands between a reduction
 * and its uses. */
#include "frontend/layers.h"

#include <string.h>

static ir_value get_weight(fe_lower *l, fe_layer *layer, const fe_weight_spec *spec)
{
    ir_type t = {.dtype = DTYPE_f32, .rank = spec->rank};
    for (int i = 0; i < spec->rank; i++) t.dim[i] = ir_fixed(spec->shape[i]);
    return fe_size_check(l, layer, &t) ? fe_weight_get(l, layer, spec) : IR_NONE;
}

ir_value fe_layer_weight(fe_lower *l, fe_layer *layer, const char *name, const fe_weight_config *c,
                         fe_shape shape)
{
    const fe_weight_spec spec = {.name = name,
                                 .rank = shape.rank,
                                 .shape = shape.dim,
                                 .initializer = c->initializer,
                                 .regularizer = c->regularizer,
                                 .constraint = c->constraint,
                                 .trainable = true};
    return get_weight(l, layer, &spec);
}

ir_value fe_layer_weight_kept(fe_lower *l, fe_layer *layer, const char *name, const fe_weight_config *c,
                              fe_shape shape, bool trainable)
{
    const fe_weight_spec spec = {.name = name,
                                 .rank = shape.rank,
                                 .shape = shape.dim,
                                 .initializer = c->initializer,
                                 .regularizer = c->regularizer,
                                 .constraint = c->constraint,
                                 .trainable = trainable,
                                 .keep_dtype = true};
    return get_weight(l, layer, &spec);
}

bool fe_finish(fe_lower *l, ir_value value, ir_value mask, fe_value *out)
{
    (void)l;
    if (value == IR_NONE) return false;
    *out = fe_value_tensor(value, mask);
    return true;
}

bool fe_activation_finish(fe_lower *l, fe_layer *layer, const ir_record *activation, ir_value y, fe_value *out)
{
    fe_tensor x = {y, IR_NONE};
    if (y == IR_NONE) return false;
    if (layer->child_count > 0)
        return fe_call_tensor(l, layer->child[0], x, &x) && fe_finish(l, x.value, IR_NONE, out);
    return fe_finish(l, fe_activation_build(l, activation, y), IR_NONE, out);
}

ir_value fe_bias_add(fe_lower *l, ir_value x, ir_value bias, int axis)
{
    const ir_type shape = fe_type(l, x);
    const int64_t at = axis;
    return ir_build_binary(l->g, OP_add, x, ir_build_broadcast_in_dim(l->g, bias, &shape, &at));
}

ir_value fe_spread(fe_lower *l, ir_value reduced, ir_type shape, int count, const int64_t *dims)
{
    int64_t kept[IR_MAX_RANK];
    int kept_count = 0, next = 0;
    for (int d = 0; d < shape.rank; d++) {
        if (next < count && dims[next] == d)
            next++;
        else
            kept[kept_count++] = d;
    }
    shape.dtype = fe_type(l, reduced).dtype;
    return ir_build_broadcast_in_dim(l->g, reduced, &shape, kept);
}

ir_value fe_insert_dim(fe_lower *l, ir_value x, int at)
{
    const ir_type t = fe_type(l, x);
    ir_dim dim[IR_MAX_RANK];
    bug_if(t.rank >= IR_MAX_RANK, "a new dim in a value that has all it can have");
    for (int d = 0; d < t.rank + 1; d++) dim[d] = d == at ? ir_fixed(1) : t.dim[d < at ? d : d - 1];
    return ir_build_reshape(l->g, x, t.rank + 1, dim);
}

ir_value fe_softmax_build(fe_lower *l, ir_value x, int count, const int64_t *dims)
{
    ir_graph *g = l->g;
    const ir_dtype own = fe_type(l, x).dtype;
    if (ir_dtype_size(own) < ir_dtype_size(DTYPE_f32)) x = ir_build_convert(g, x, DTYPE_f32); /* rounded once, as TensorFlow's */
    const ir_type shape = fe_type(l, x);
    const ir_value top =
        ir_build_unary(g, OP_stop_gradient, ir_build_reduce(g, "maximum", x, count, dims, false));
    const ir_value e = ir_build_unary(
        g, OP_exponential, ir_build_binary(g, OP_subtract, x, fe_spread(l, top, shape, count, dims)));
    const ir_value sum = ir_build_reduce(g, "add", e, count, dims, false);
    return ir_build_convert(g, ir_build_binary(g, OP_divide, e, fe_spread(l, sum, shape, count, dims)), own);
}

/* Not maximum(x, 0): the gradient at 0 must be 0, as TensorFlow's. */
ir_value fe_relu_build(fe_lower *l, ir_value x)
{
    const ir_value zero = ir_build_scalar(l->g, fe_type(l, x).dtype, 0);
    return ir_build_select(l->g, ir_build_compare(l->g, "LE", x, zero), zero, x);
}

ir_value fe_square(fe_lower *l, ir_value x) { return ir_build_binary(l->g, OP_multiply, x, x); }

ir_value fe_normalize_build(fe_lower *l, ir_value x, int count, const int64_t *dims, double epsilon)
{
    ir_graph *g = l->g;
    const ir_value sum = ir_build_reduce(g, "add", fe_square(l, x), count, dims, false);
    ir_value inverse;
    if (l->fe->keras2) /* TensorFlow's l2_normalize, which has a gradient at 0 */
        inverse = ir_build_unary(g, OP_rsqrt, ir_build_binary_scalar(g, OP_maximum, sum, 1e-12));
    else /* the sum is kept from 0, where the gradient of rsqrt is not 0 * dy as TensorFlow has it */
        inverse = ir_build_binary_scalar(
            g, OP_minimum,
            ir_build_unary(g, OP_rsqrt, ir_build_binary_scalar(g, OP_maximum, sum, epsilon * epsilon / 4)),
            1.0 / epsilon);
    return ir_build_binary(g, OP_multiply, x, fe_spread(l, inverse, fe_type(l, x), count, dims));
}

ir_value fe_transpose_to(fe_lower *l, ir_value x, const int64_t *permutation)
{
    const int rank = fe_type(l, x).rank;
    for (int d = 0; d < rank; d++) {
        if (permutation[d] != d) return ir_build_transpose(l->g, x, permutation);
    }
    return x;
}

static int64_t letter_at(const char *letters, char c)
{
    const char *found = strchr(letters, c);
    return found == NULL ? -1 : found - letters;
}

/* Sums the letters away that stand in this operand only; the rest is written to out_letters. */
static ir_value sum_lone_letters(fe_lower *l, ir_value x, const char *letters, const char *others,
                                 char *out_letters)
{
    int64_t dims[IR_MAX_RANK];
    int count = 0;
    size_t kept = 0;
    for (int d = 0; letters[d] != '\0'; d++) {
        if (strchr(others, letters[d]) == NULL)
            dims[count++] = d;
        else
            out_letters[kept++] = letters[d];
    }
    out_letters[kept] = '\0';
    return count == 0 ? x : ir_build_reduce(l->g, "add", x, count, dims, false);
}

ir_value fe_einsum_build(fe_lower *l, const char *a_letters, const char *b_letters, const char *out_letters,
                         const ir_value operand[2])
{
    char a[IR_MAX_RANK + 1], b[IR_MAX_RANK + 1], made[2 * IR_MAX_RANK + 1], others[2 * IR_MAX_RANK + 1];
    strcat(strcpy(others, b_letters), out_letters);
    const ir_value x = sum_lone_letters(l, operand[0], a_letters, others, a);
    strcat(strcpy(others, a_letters), out_letters);
    const ir_value y = sum_lone_letters(l, operand[1], b_letters, others, b);
    ir_dot dot = {0};
    size_t count = 0;
    for (const char *c = a; *c != '\0'; c++) {
        if (strchr(b, *c) == NULL) continue;
        const bool batch = strchr(out_letters, *c) != NULL;
        int64_t *lhs = batch ? dot.lhs_batch : dot.lhs_contracting,
                *rhs = batch ? dot.rhs_batch : dot.rhs_contracting;
        int *n = batch ? &dot.batch_count : &dot.contracting_count;
        lhs[*n] = letter_at(a, *c), rhs[*n] = letter_at(b, *c);
        (*n)++;
        if (batch) made[count++] = *c;
    }
    for (const char *c = a; *c != '\0'; c++) {
        if (strchr(b, *c) == NULL) made[count++] = *c;
    }
    for (const char *c = b; *c != '\0'; c++) {
        if (strchr(a, *c) == NULL) made[count++] = *c;
    }
    made[count] = '\0';
    int64_t permutation[IR_MAX_RANK];
    for (int d = 0; out_letters[d] != '\0'; d++) permutation[d] = letter_at(made, out_letters[d]);
    return fe_transpose_to(l, ir_build_dot_general(l->g, x, y, &dot), permutation);
}

ir_value fe_causal_mask_build(fe_lower *l, ir_dim rows, ir_dim columns, int64_t window)
{
    ir_graph *g = l->g;
    const ir_type t = ir_type_make(DTYPE_i32, 2, (ir_dim[]){rows, columns});
    const ir_value row = ir_build_iota(g, t, 0), column = ir_build_iota(g, t, 1);
    if (window == 0) return ir_build_compare(g, "GE", row, column);
    const ir_value distance = ir_build_unary(g, OP_abs, ir_build_binary(g, OP_subtract, row, column));
    return ir_build_compare(g, "LT", distance, ir_build_scalar(g, DTYPE_i32, (double)window));
}

ir_value fe_dropout_build(fe_lower *l, ir_value x, double rate, const ir_type *noise, const fe_seed *seed)
{
    ir_graph *g = l->g;
    const ir_type t = fe_type(l, x);
    if (rate == 0) return x;
    if (rate == 1) return ir_build_fill(g, t, 0);
    const ir_value state = fe_seed_draw(l, l->layer, "seed_generator", seed->has_seed, seed->seed);
    if (state == IR_NONE) return IR_NONE;
    const ir_value u = ir_build_random_uniform(l->g, state, ir_type_with_dtype(noise == NULL ? t : *noise, t.dtype));
    const ir_value keep = ir_build_compare(g, "GE", u, ir_build_scalar(g, t.dtype, rate));
    const ir_value scaled = ir_build_binary_scalar(g, OP_multiply, x, 1 / (1 - rate));
    return ir_build_select(g, keep, scaled, ir_build_scalar(g, t.dtype, 0));
}
