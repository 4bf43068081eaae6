/* layers_attend.c: Attention (dot product or sum of tanh) and AdditiveAttention, which have no projections.
 */
#include "frontend/layers.h"

#include <string.h>

typedef struct attend_state {
    bool use_scale, concat, additive;
    double dropout;
    fe_seed seed;
} attend_state;

static bool read_common(fe_config *c, attend_state *s)
{
    const json_at at = fe_key(c, "dropout");
    bool ok = fe_config_bool_or(c, "use_scale", s->additive, &s->use_scale);
    ok = fe_config_number_or(c, "dropout", 0, &s->dropout) && ok;
    if (ok && !(s->dropout >= 0 && s->dropout <= 1))
        ok = fe_error(c->fe, &at, "expected a number in 0 .. 1, found %g", s->dropout);
    ok = fe_seed_read(c, &s->seed) && ok;
    fe_config_ignore(c, "causal");
    return fe_config_done(c) && ok;
}

bool fe_read_attention(fe *f, fe_layer *layer, fe_config *c)
{
    static const char *const modes[] = {"dot", "concat", NULL};
    attend_state *s = arena_new(f->arena, attend_state);
    int mode = 0;
    layer->state = s;
    if (!fe_config_choice(c, "score_mode", modes, &mode)) return false;
    s->concat = mode == 1;
    return read_common(c, s);
}

bool fe_read_additive_attention(fe *f, fe_layer *layer, fe_config *c)
{
    attend_state *s = arena_new(f->arena, attend_state);
    layer->state = s;
    s->additive = true;
    return read_common(c, s);
}

/* ---- calls ------------------------------------------------------------------------------- */

/* [..., rows, width] and [..., columns, width] added to [..., rows, columns, width]. */
static ir_value add_pairs(fe_lower *l, ir_value query, ir_value key)
{
    const ir_type q = fe_type(l, query), k = fe_type(l, key);
    const int rank = q.rank;
    ir_type t = q;
    int64_t at_query[IR_MAX_RANK], at_key[IR_MAX_RANK];
    t.rank = rank + 1;
    t.dim[rank - 1] = k.dim[rank - 2];
    t.dim[rank] = q.dim[rank - 1];
    for (int d = 0; d < rank; d++) {
        at_query[d] = d < rank - 1 ? d : rank;
        at_key[d] = d < rank - 2 ? d : d + 1;
    }
    return ir_build_binary(l->g, OP_add, ir_build_broadcast_in_dim(l->g, query, &t, at_query),
                           ir_build_broadcast_in_dim(l->g, key, &t, at_key));
}

static ir_value get_scalar(fe_lower *l, fe_layer *layer, const char *name)
{
    const fe_weight_config ones = {.initializer = ir_record_new(l->fe->arena, "ones")};
    return fe_layer_weight(l, layer, name, &ones, (fe_shape){.rank = 0});
}

static ir_value sum_pairs(fe_lower *l, fe_layer *layer, ir_value query, ir_value key)
{
    const attend_state *s = layer->state;
    ir_graph *g = l->g;
    ir_value pairs = add_pairs(l, query, key);
    const int64_t last = fe_type(l, pairs).rank - 1, width = fe_type(l, query).dim[last - 1].count;
    if (s->additive) {
        const fe_weight_config glorot = {.initializer = ir_record_new(l->fe->arena, "glorot_uniform")};
        pairs = ir_build_unary(g, OP_tanh, pairs);
        if (s->use_scale) {
            const ir_value scale = fe_layer_weight(l, layer, "scale", &glorot, (fe_shape){1, {width}});
            if (scale == IR_NONE) return IR_NONE;
            pairs = ir_build_binary(g, OP_multiply, pairs, scale);
        }
        return ir_build_reduce(g, "add", pairs, 1, &last, false);
    }
    if (s->use_scale) {
        const ir_value scale = get_scalar(l, layer, "scale");
        if (scale == IR_NONE) return IR_NONE;
        pairs = ir_build_binary(g, OP_multiply, pairs, scale);
    }
    const ir_value weight = get_scalar(l, layer, "concat_score_weight");
    if (weight == IR_NONE) return IR_NONE;
    const ir_value sum = ir_build_reduce(g, "add", ir_build_unary(g, OP_tanh, pairs), 1, &last, false);
    return ir_build_binary(g, OP_multiply, sum, weight);
}

/* Products over the last dim (`of_steps`: over the last of a with the step dim of b) with all leading dims as
 * batch. */
static ir_value multiply(fe_lower *l, ir_value a, ir_value b, bool of_steps)
{
    ir_dot dot = {.contracting_count = 1};
    const int rank = fe_type(l, a).rank;
    for (int d = 0; d < rank - 2; d++) dot.lhs_batch[d] = dot.rhs_batch[d] = d;
    dot.batch_count = rank - 2;
    dot.lhs_contracting[0] = rank - 1;
    dot.rhs_contracting[0] = of_steps ? rank - 2 : rank - 1;
    return ir_build_dot_general(l->g, a, b, &dot);
}

static ir_value build_scores(fe_lower *l, fe_layer *layer, ir_value query, ir_value key)
{
    const attend_state *s = layer->state;
    if (s->additive || s->concat) return sum_pairs(l, layer, query, key);
    const ir_value scores = multiply(l, query, key, false);
    if (!s->use_scale) return scores;
    const ir_value scale = get_scalar(l, layer, "scale");
    return scale == IR_NONE ? IR_NONE : ir_build_binary(l->g, OP_multiply, scores, scale);
}

typedef struct attend_inputs {
    fe_tensor query, value, key;
    bool causal, return_scores;
} attend_inputs;

static bool find_flag(const fe_args *args, const char *name)
{
    const fe_value *v = fe_args_find(args, -1, name);
    return v != NULL && v->kind == FE_BOOL && v->number != 0;
}

static bool get_inputs(fe_lower *l, fe_layer *layer, const fe_args *args, attend_inputs *in)
{
    const attend_state *s = layer->state;
    fe_tensor *list;
    int count = 0;
    if (!fe_inputs_get(l, layer, args, 2, 3, &count, &list)) return false;
    for (int i = 0; i < count; i++)
        list[i].value = ir_build_convert(l->g, list[i].value, layer->compute_dtype);
    *in = (attend_inputs){list[0], list[1], list[count - 1], find_flag(args, "use_causal_mask"),
                          find_flag(args, "return_attention_scores")};
    const ir_type q = fe_type(l, in->query.value), v = fe_type(l, in->value.value),
                  k = fe_type(l, in->key.value);
    bool fits = q.rank >= 3 && q.rank < IR_MAX_RANK && v.rank == q.rank && k.rank == q.rank;
    for (int d = 0; fits && d < q.rank - 2; d++)
        fits = ir_dim_equal(q.dim[d], k.dim[d]) && ir_dim_equal(q.dim[d], v.dim[d]);
    fits = fits && ir_dim_equal(k.dim[q.rank - 2], v.dim[q.rank - 2]) &&
           ir_dim_equal(q.dim[q.rank - 1], k.dim[q.rank - 1]);
    fits = fits && !q.dim[q.rank - 1].batch;
    if (!fits) {
        return fe_layer_error(l->fe, layer,
                              "expected query, value and key that fit together, found %s, %s and %s",
                              fe_shape_show(l->fe, &q), fe_shape_show(l->fe, &v), fe_shape_show(l->fe, &k));
    }
    ir_type scores = q;
    scores.dim[q.rank - 1] = k.dim[q.rank - 2];
    if (s->additive || s->concat) scores.dim[scores.rank++] = q.dim[q.rank - 1];
    return fe_size_check(l, layer, &scores);
}

/* Hides what the value's mask and causality hide: scores less 1e9. */
static bool hide_scores(fe_lower *l, fe_layer *layer, const attend_inputs *in, ir_value *scores)
{
    ir_graph *g = l->g;
    const ir_type t = fe_type(l, *scores);
    ir_value keep = IR_NONE;
    if (in->value.mask != IR_NONE) {
        const ir_type m = fe_type(l, in->value.mask);
        if (m.rank != 2 || t.rank != 3 || !ir_dim_equal(m.dim[0], t.dim[0]) ||
            !ir_dim_equal(m.dim[1], t.dim[2])) {
            return fe_layer_error(l->fe, layer, "expected a mask of one bool a step, found %s",
                                  fe_shape_show(l->fe, &m));
        }
        const ir_type shape = ir_type_with_dtype(t, DTYPE_i1);
        keep = ir_build_broadcast_in_dim(g, in->value.mask, &shape, (int64_t[]){0, 2});
    }
    if (in->causal) {
        const ir_value causal = fe_causal_mask_build(l, t.dim[t.rank - 2], t.dim[t.rank - 1], 0);
        keep = keep == IR_NONE ? causal : ir_build_binary(g, OP_and, keep, causal);
    }
    if (keep == IR_NONE) return true;
    const double far = t.dtype == DTYPE_f16 ? 65504 : 1e9;
    *scores = ir_build_select(g, keep, *scores, ir_build_binary_scalar(g, OP_subtract, *scores, far));
    return true;
}

static ir_value zero_hidden_queries(fe_lower *l, ir_value y, ir_value mask)
{
    const ir_type t = fe_type(l, y), m = fe_type(l, mask);
    int64_t dims[IR_MAX_RANK];
    if (m.rank != t.rank - 1) return y;
    for (int d = 0; d < m.rank; d++) {
        if (!ir_dim_equal(m.dim[d], t.dim[d])) return y;
        dims[d] = d;
    }
    const ir_type shape = ir_type_with_dtype(t, DTYPE_i1);
    const ir_value keep = ir_build_broadcast_in_dim(l->g, mask, &shape, dims);
    return ir_build_select(l->g, keep, y, ir_build_scalar(l->g, t.dtype, 0));
}

static bool call_attend(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const attend_state *s = layer->state;
    attend_inputs in;
    if (!get_inputs(l, layer, args, &in)) return false;
    ir_value scores = build_scores(l, layer, in.query.value, in.key.value);
    if (scores == IR_NONE || !hide_scores(l, layer, &in, &scores)) return false;
    const int64_t last = fe_type(l, scores).rank - 1;
    ir_value weights = fe_softmax_build(l, scores, 1, &last);
    if (l->training) weights = fe_dropout_build(l, weights, s->dropout, NULL, &s->seed);
    if (weights == IR_NONE) return false;
    ir_value y = multiply(l, weights, in.value.value, true);
    if (in.query.mask != IR_NONE) y = zero_hidden_queries(l, y, in.query.mask);
    if (!in.return_scores) return fe_finish(l, y, in.query.mask, out);
    fe_value *item = arena_array(l->fe->arena, fe_value, 2);
    item[0] = fe_value_tensor(y, in.query.mask);
    item[1] = fe_value_tensor(weights, IR_NONE);
    *out = (fe_value){.kind = FE_LIST, .count = 2, .item = item};
    return true;
}

bool fe_call_attention(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return call_attend(l, layer, args, out);
}

bool fe_call_additive_attention(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return call_attend(l, layer, args, out);
}
