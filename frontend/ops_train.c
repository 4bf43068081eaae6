/* ops_train.c: normalizations, attention and losses of keras.ops.nn. */
#include "frontend/layers.h"
#include "frontend/ops.h"
#include "frontend/train.h"

#include <math.h>
#include <string.h>

/* ---- normalization ----------------------------------------------------------------------- */

/* v along one axis of x, or of a shape that stretches to x. */
static bool stretch(op_use *u, ir_value *v, const ir_type *x, int64_t axis)
{
    const ir_type t = op_type(u, *v);
    ir_type all;
    *v = ir_build_convert(u->l->g, *v, x->dtype);
    if (t.rank == 1 && ir_dim_equal(t.dim[0], x->dim[axis]))
        *v = ir_build_broadcast_in_dim(u->l->g, *v, x, &axis);
    else if (!ir_broadcast_shapes(x, &t, &all) || !ir_type_same_shape(&all, x))
        return op_fail_shape(u, "a vector along the axis", &t);
    return true;
}

bool op_build_batch_norm(op_use *u, fe_value *out)
{
    ir_value x, mean, variance, offset, scale;
    double epsilon;
    int64_t axis;
    if (!op_find_real(u, "x", &x) || !op_find_tensor(u, "mean", &mean) ||
        !op_find_tensor(u, "variance", &variance))
        return false;
    if (!op_find_tensor_or_none(u, "offset", &offset) || !op_find_tensor_or_none(u, "scale", &scale))
        return false;
    const ir_type t = op_type(u, x);
    if (!op_find_number_or(u, "epsilon", 1e-3, &epsilon) || !op_find_axis(u, "axis", t.rank, -1, &axis))
        return false;
    if (!stretch(u, &mean, &t, axis) || !stretch(u, &variance, &t, axis)) return false;
    ir_value factor = op_map1(u, OP_rsqrt, op_map_number(u, OP_add, variance, epsilon));
    if (scale != IR_NONE) {
        if (!stretch(u, &scale, &t, axis)) return false;
        factor = op_map2(u, OP_multiply, factor, scale);
    }
    ir_value y = op_map2(u, OP_multiply, op_map2(u, OP_subtract, x, mean), factor);
    if (offset != IR_NONE) {
        if (!stretch(u, &offset, &t, axis)) return false;
        y = op_map2(u, OP_add, y, offset);
    }
    return op_finish(u, y, out);
}

/* A weight over the normalized axes (its dims in their order), or one that stretches to x. */
static bool spread_weight(op_use *u, const op_reduction *r, const ir_type *x, ir_value *v)
{
    ir_type t = op_type(u, *v), all;
    *v = ir_build_convert(u->l->g, *v, x->dtype);
    bool fits = t.rank == r->count;
    for (int i = 0; fits && i < t.rank; i++) fits = ir_dim_equal(t.dim[i], x->dim[r->axis[i]]);
    if (fits)
        *v = ir_build_broadcast_in_dim(u->l->g, *v, x, r->axis);
    else if (!ir_broadcast_shapes(x, &t, &all) || !ir_type_same_shape(&all, x))
        return op_fail_shape(u, "a weight over the axes", &t);
    return true;
}

static bool find_axes(op_use *u, op_reduction *r, double *epsilon)
{
    if (!op_find_reduction(u, "x", "axis", r) || !op_find_number_or(u, "epsilon", 1e-7, epsilon))
        return false;
    if (!op_find(u, "axis")) r->count = 1, r->axis[0] = op_type(u, r->x).rank - 1;
    if (op_type(u, r->x).rank < 1) return op_error(u, "expected a tensor with dimensions");
    r->keep_dims = true;
    return true;
}

/* In 32 bits at least. LayerNorm; with word "rms", RMSNorm. */
bool op_build_layer_norm(op_use *u, fe_value *out)
{
    op_reduction r;
    double epsilon;
    bool rms_scaling;
    ir_value gamma, beta = IR_NONE;
    const bool rms = strcmp(u->op->word, "rms") == 0;
    if (!find_axes(u, &r, &epsilon) || !op_find_tensor_or_none(u, rms ? "scale" : "gamma", &gamma))
        return false;
    if (!rms && !op_find_tensor_or_none(u, "beta", &beta)) return false;
    if (!op_find_bool(u, "rms_scaling", false, &rms_scaling)) return false;
    const ir_dtype own = op_type(u, r.x).dtype;
    ir_graph *g = u->l->g;
    ir_value x = ir_build_convert(g, r.x, own == DTYPE_f64 ? own : DTYPE_f32), off = x;
    const ir_type t = op_type(u, x);
    if (!rms) off = op_map2(u, OP_subtract, x, ir_build_mean(g, x, r.count, r.axis, true));
    ir_value square = ir_build_mean(g, op_map2(u, OP_multiply, off, off), r.count, r.axis, true);
    ir_value factor = op_map1(u, OP_rsqrt, op_map_number(u, OP_add, square, epsilon));
    ir_value y = op_map2(u, OP_multiply, rms_scaling ? x : off, factor);
    if (gamma != IR_NONE) {
        if (!spread_weight(u, &r, &t, &gamma)) return false;
        y = op_map2(u, OP_multiply, y, gamma);
    }
    if (beta != IR_NONE && !rms_scaling) {
        if (!spread_weight(u, &r, &t, &beta)) return false;
        y = op_map2(u, OP_add, y, beta);
    }
    return op_finish(u, ir_build_convert(g, y, own), out);
}

bool op_build_normalize(op_use *u, fe_value *out)
{
    op_reduction r;
    double epsilon, order;
    if (!find_axes(u, &r, &epsilon) || !op_find_number_or(u, "order", 2, &order)) return false;
    if (!(order >= 1) || !(epsilon > 0))
        return op_error(u, "expected an order of 1 or more and a positive epsilon");
    ir_graph *g = u->l->g;
    ir_value x = ir_build_convert(g, r.x, op_real(op_type(u, r.x).dtype));
    if (order == 2) return op_finish(u, fe_normalize_build(u->l, x, r.count, r.axis, epsilon), out);
    ir_value size = op_map1(u, OP_abs, x);
    if (order != 1) size = op_map_number(u, OP_power, size, order);
    ir_value norm = ir_build_reduce(g, "add", size, r.count, r.axis, true);
    if (order != 1) norm = op_map_number(u, OP_power, norm, 1 / order);
    return op_finish(u, op_map2(u, OP_divide, x, op_map_number(u, OP_maximum, norm, epsilon)), out);
}

/* ---- attention --------------------------------------------------------------------------- */

typedef struct attention {
    ir_value query, key, value, bias, mask; /* [N, steps, heads, width] */
    double scale;
    bool causal;
} attention;

static bool find_attention(op_use *u, attention *a)
{
    double cap;
    if (!op_find_real(u, "query", &a->query) || !op_find_real(u, "key", &a->key) ||
        !op_find_real(u, "value", &a->value))
        return false;
    if (!op_find_tensor_or_none(u, "bias", &a->bias) || !op_find_tensor_or_none(u, "mask", &a->mask))
        return false;
    if (!op_find_bool(u, "is_causal", false, &a->causal) ||
        !op_find_number_or(u, "attn_logits_soft_cap", 0, &cap))
        return false;
    const ir_type q = op_type(u, a->query), k = op_type(u, a->key), v = op_type(u, a->value);
    bool fits = q.rank == 4 && k.rank == 4 && v.rank == 4 && ir_dim_equal(q.dim[0], k.dim[0]) &&
                ir_dim_equal(q.dim[3], k.dim[3]) && !q.dim[3].batch && !q.dim[2].batch && !k.dim[2].batch;
    for (int i = 0; fits && i < 3; i++) fits = ir_dim_equal(k.dim[i], v.dim[i]);
    fits = fits && q.dim[2].count % k.dim[2].count == 0;
    if (!fits) return op_fail_shape(u, "query, key and value [batch, steps, heads, width] that fit", &q);
    const ir_dtype dtype = fe_result_type(fe_result_type(q.dtype, k.dtype), v.dtype);
    a->query = ir_build_convert(u->l->g, a->query, dtype);
    a->key = ir_build_convert(u->l->g, a->key, dtype);
    a->value = ir_build_convert(u->l->g, a->value, dtype);
    const ir_type scores = ir_type_make(dtype, 4, (ir_dim[]){q.dim[0], q.dim[2], q.dim[1], k.dim[1]});
    return op_find_number_or(u, "scale", 1 / sqrt((double)q.dim[3].count), &a->scale) &&
           op_check_type(u, &scores);
}

/* Each head of keys and values serves a group of queries. */
static ir_value repeat_heads(op_use *u, ir_value x, int64_t heads)
{
    const ir_type t = op_type(u, x);
    const int64_t groups = heads / t.dim[2].count, at[] = {0, 1, 2, 4};
    if (groups == 1) return x;
    const ir_type wide =
        ir_type_make(t.dtype, 5, (ir_dim[]){t.dim[0], t.dim[1], t.dim[2], ir_fixed(groups), t.dim[3]});
    const ir_dim dim[] = {t.dim[0], t.dim[1], ir_fixed(heads), t.dim[3]};
    return ir_build_reshape(u->l->g, ir_build_broadcast_in_dim(u->l->g, x, &wide, at), 4, dim);
}

static bool mask_scores(op_use *u, const attention *a, ir_value *scores)
{
    const ir_type t = op_type(u, *scores);
    ir_value keep = IR_NONE;
    if (a->mask != IR_NONE) {
        keep = op_truth(u, a->mask);
        if (!op_check_broadcast(u, *scores, keep) || op_type(u, keep).rank > 4) return false;
    }
    if (a->causal) {
        ir_value causal = fe_causal_mask_build(u->l, t.dim[2], t.dim[3], 0);
        if (keep != IR_NONE && !op_check_broadcast(u, keep, causal)) return false;
        keep = keep == IR_NONE ? causal : op_map2(u, OP_and, keep, causal);
    }
    if (keep != IR_NONE)
        *scores =
            op_choose(u, keep, *scores, op_number(u, *scores, t.dtype == DTYPE_f16 ? -45850 : -2.372671e38));
    return true;
}

bool op_build_attention(op_use *u, fe_value *out)
{
    attention a;
    if (!find_attention(u, &a)) return false;
    fe_lower *l = u->l;
    const ir_dtype dtype = op_type(u, a.key).dtype;
    const int64_t heads = op_type(u, a.query).dim[2].count, last = 3;
    const ir_value pair[] = {a.query, repeat_heads(u, a.key, heads)};
    ir_value scores = ir_build_convert(l->g, fe_einsum_build(l, "btnh", "bsnh", "bnts", pair),
                                       dtype == DTYPE_f64 ? dtype : DTYPE_f32);
    scores = op_map_number(u, OP_multiply, scores, a.scale);
    if (a.bias != IR_NONE) {
        const ir_value bias = ir_build_convert(l->g, a.bias, op_type(u, scores).dtype);
        if (!op_check_broadcast(u, scores, bias) || op_type(u, bias).rank > 4) return false;
        scores = op_map2(u, OP_add, scores, bias);
    }
    if (!mask_scores(u, &a, &scores)) return false;
    const ir_value probability = ir_build_convert(l->g, fe_softmax_build(l, scores, 1, &last), dtype);
    const ir_value mixed[] = {probability, repeat_heads(u, a.value, heads)};
    return op_finish(u, fe_einsum_build(l, "bnts", "bsnh", "btnh", mixed), out);
}

/* ---- losses ------------------------------------------------------------------------------ */

static ir_value clip(op_use *u, ir_value x) { return fe_math_clip(u->l->g, x, fe_epsilon, 1 - fe_epsilon); }

/* Predictions, and their logits: given as such, or known to be behind a softmax or sigmoid. */
static bool find_output(op_use *u, ir_value *out, ir_value *out_logits)
{
    bool from_logits;
    if (!op_find_tensor(u, "output", out) || !op_find_bool(u, "from_logits", false, &from_logits))
        return false;
    *out_logits = fe_logits_find(u->l, *out);
    if (*out_logits == IR_NONE && from_logits) *out_logits = *out;
    *out = ir_build_convert(u->l->g, *out, op_real(op_type(u, *out).dtype));
    return true;
}

static bool find_target(op_use *u, ir_value like, ir_value *out)
{
    if (!op_find_tensor(u, "target", out)) return false;
    const ir_type t = op_type(u, *out), want = op_type(u, like);
    *out = ir_build_convert(u->l->g, *out, want.dtype);
    return ir_type_same_shape(&t, &want) || op_fail_shape(u, "a target of the shape of the output", &t);
}

bool op_build_binary_crossentropy(op_use *u, fe_value *out)
{
    ir_value p, logits, y, value;
    if (!find_output(u, &p, &logits) || !find_target(u, p, &y)) return false;
    if (logits != IR_NONE) {
        value =
            op_map2(u, OP_subtract, fe_math_softplus(u->l->g, logits), op_map2(u, OP_multiply, logits, y));
    } else {
        p = clip(u, p);
        ir_value ones = op_map2(u, OP_multiply, y, op_map1(u, OP_log, p));
        ir_value zeros = op_map2(u, OP_multiply, fe_math_from(u->l->g, 1, y),
                                 op_map1(u, OP_log, fe_math_from(u->l->g, 1, p)));
        value = op_map1(u, OP_negate, op_map2(u, OP_add, ones, zeros));
    }
    return op_finish(u, value, out);
}

bool op_build_crossentropy(op_use *u, fe_value *out)
{
    ir_value p, logits, y;
    int64_t axis;
    if (!find_output(u, &p, &logits) || !find_target(u, p, &y)) return false;
    if (!op_find_axis(u, "axis", op_type(u, p).rank, -1, &axis)) return false;
    ir_value logs = logits != IR_NONE ? fe_math_log_softmax(u->l->g, logits, (int)axis) : IR_NONE;
    if (logs == IR_NONE)
        logs = op_map1(u, OP_log, clip(u, op_map2(u, OP_divide, p, op_reduce(u, "add", p, axis, true))));
    ir_value sum = op_reduce(u, "add", op_map2(u, OP_multiply, y, logs), axis, false);
    return op_finish(u, op_map1(u, OP_negate, sum), out);
}

bool op_build_sparse_crossentropy(op_use *u, fe_value *out)
{
    ir_value p, logits, y;
    if (!find_output(u, &p, &logits) || !op_find_tensor(u, "target", &y)) return false;
    const ir_type t = op_type(u, p);
    const int last = t.rank - 1;
    if (t.rank < 1 || t.dim[last].batch) return op_fail_shape(u, "an output with fixed classes", &t);
    const ir_type given = op_type(u, y);
    if (given.rank == t.rank && ir_dim_equal(given.dim[last], ir_fixed(1))) y = op_drop_dim(u, y, last);
    ir_type rows = t;
    rows.rank = last;
    const ir_type labels = op_type(u, y);
    if (!ir_type_same_shape(&rows, &labels)) return op_fail_shape(u, "one class number a row", &labels);
    y = op_insert_dim(u, ir_build_convert(u->l->g, y, DTYPE_i32), last);
    if (logits == IR_NONE) logits = op_map1(u, OP_log, clip(u, p));
    ir_value logs = fe_math_log_softmax(u->l->g, logits, last);
    ir_value hit = op_compare(u, "EQ", op_iota(u, DTYPE_i32, &t, last), y);
    ir_value picked = op_reduce(u, "add", op_choose(u, hit, logs, op_number(u, logs, 0)), last, false);
    return op_finish(u, op_map1(u, OP_negate, picked), out);
}

bool op_build_psnr(op_use *u, fe_value *out)
{
    ir_value a, b;
    double most;
    if (!op_find_pair(u, "x1", "x2", true, &a, &b) || !op_find_number(u, "max_val", &most)) return false;
    ir_value off = op_map2(u, OP_subtract, a, b);
    const int rank = op_type(u, off).rank;
    int64_t axis[IR_MAX_RANK];
    for (int i = 0; i < rank; i++) axis[i] = i;
    ir_value error = ir_build_mean(u->l->g, op_map2(u, OP_multiply, off, off), rank, axis, false);
    ir_value y = op_map_number(u, OP_multiply, op_map1(u, OP_log, error), -10 / log(10));
    return op_finish(u, op_map_number(u, OP_add, y, 20 * log10(most)), out);
}

static bool find_lengths(op_use *u, const char *name, const ir_type *rows, ir_value *out)
{
    if (!op_find_tensor(u, name, out)) return false;
    const ir_type t = op_type(u, *out);
    *out = ir_build_convert(u->l->g, *out, DTYPE_i32);
    return (t.rank == 1 && ir_dim_equal(t.dim[0], rows->dim[0])) || op_fail_shape(u, "one length a row", &t);
}

bool op_build_ctc_loss(op_use *u, fe_value *out)
{
    fe_ctc c = {0};
    if (!op_find_tensor(u, "target", &c.labels) || !op_find_tensor(u, "output", &c.logits)) return false;
    if (!op_find_int(u, "mask_index", 0, &c.blank)) return false;
    const ir_type y = op_type(u, c.labels), p = op_type(u, c.logits);
    if (y.rank != 2 || p.rank != 3 || !ir_dim_equal(y.dim[0], p.dim[0]) || y.dim[1].batch || p.dim[1].batch ||
        p.dim[2].batch || p.dim[1].count > 1 << 12 || y.dim[1].count < 1 || y.dim[1].count > 1 << 12)
        return op_fail_shape(u, "labels [batch, length] of an output [batch, steps, classes]", &y);
    if (c.blank < 0) c.blank += p.dim[2].count;
    if (c.blank < 0 || c.blank >= p.dim[2].count) return op_error(u, "expected a class as \"mask_index\"");
    if (!find_lengths(u, "target_length", &y, &c.label_length)) return false;
    if (!find_lengths(u, "output_length", &y, &c.logit_length)) return false;
    c.labels = ir_build_convert(u->l->g, c.labels, DTYPE_i32);
    c.logits = ir_build_convert(u->l->g, c.logits, DTYPE_f32);
    return op_finish(u, ir_build_convert(u->l->g, fe_ctc_build(u->l->g, &c), op_real(p.dtype)), out);
}
