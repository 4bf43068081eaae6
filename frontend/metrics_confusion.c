/* metrics_confusion.c: metrics made of true and false positives and negatives at one or many thresholds. */
#include "frontend/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct thresholds {
    int count;
    double *at;
    bool even;    /* i / (count - 1): the threshold below a prediction is found by arithmetic */
    bool widened; /* the first and the last lie just outside 0 .. 1 */
} thresholds;

/* Sums of weights, [thresholds, labels]; labels is 1 unless each counts for itself. */
typedef struct confusion {
    ir_value true_positives, false_positives, true_negatives, false_negatives;
} confusion;

/* ---- thresholds ------------------------------------------------------------------------------------- */

static bool is_even(const double *at, int count)
{
    for (int i = 0; i < count; i++) {
        double even = (double)i / (count - 1);
        if (fabs(at[i] - even) > fe_epsilon + 1e-5 * fabs(even)) return false;
    }
    return count >= 3;
}

static thresholds make_even(fe *f, int count, bool widened)
{
    thresholds t = {
        .count = count, .at = arena_array(f->arena, double, (size_t)count), .even = true, .widened = widened};
    for (int i = 0; i < count; i++) t.at[i] = (double)i / (count - 1);
    t.at[0] -= widened ? fe_epsilon : 0;
    t.at[count - 1] += widened ? fe_epsilon : 0;
    return t;
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static thresholds get_auc_thresholds(fe *f, const ir_record *settings)
{
    const ir_field *given = ir_record_find(settings, "thresholds");
    if (given == NULL) return make_even(f, (int)ir_record_number(settings, "num_thresholds", 200), true);
    int count = given->count + 2;
    thresholds t = {.count = count, .at = arena_array(f->arena, double, (size_t)count), .widened = true};
    for (int i = 0; i < given->count; i++) t.at[i + 1] = given->numbers[i];
    qsort(t.at + 1, (size_t)given->count, sizeof *t.at, compare_numbers);
    t.at[count - 1] = 1;
    t.even = is_even(t.at, count);
    t.at[0] = -fe_epsilon;
    t.at[count - 1] = 1 + fe_epsilon;
    return t;
}

static thresholds get_thresholds(fe *f, const fe_metric *metric)
{
    const ir_record *r = metric->settings;
    const char *detail = metric->class->detail;
    if (*detail == '\0') return get_auc_thresholds(f, r);
    if (ir_record_find(r, "num_thresholds") != NULL && ir_record_number(r, "num_thresholds", 0) > 1)
        return make_even(f, (int)ir_record_number(r, "num_thresholds", 0), false);
    const ir_field *given = ir_record_find(r, "thresholds");
    thresholds t = {.count = given != NULL ? given->count : 1};
    t.at = arena_array(f->arena, double, (size_t)t.count);
    t.at[0] = ir_record_find(r, "top_k") != NULL ? -1e10 : 0.5;
    for (int i = 0; given != NULL && i < t.count; i++) t.at[i] = given->numbers[i];
    t.even = given != NULL && is_even(t.at, t.count);
    return t;
}

/* ---- counting --------------------------------------------------------------------------------------- */

/* p where it is among the k largest of its row (the first of equals), else -1e10. */
static ir_value keep_top_k(ir_graph *g, ir_value p, double k)
{
    ir_type t = *ir_type_of(g, p), pairs = t;
    int last = t.rank - 1;
    pairs.dim[pairs.rank++] = t.dim[last];
    int64_t own[IR_MAX_RANK], other[IR_MAX_RANK];
    for (int i = 0; i < t.rank; i++) own[i] = other[i] = i;
    other[last] = t.rank;
    ir_value mine = ir_build_broadcast_in_dim(g, p, &pairs, own),
             others = ir_build_broadcast_in_dim(g, p, &pairs, other);
    ir_type integers = ir_type_with_dtype(pairs, DTYPE_i32);
    ir_value before =
        ir_build_compare(g, "LT", ir_build_iota(g, integers, t.rank), ir_build_iota(g, integers, last));
    ir_value tied = ir_build_binary(g, OP_and, ir_build_compare(g, "EQ", others, mine), before);
    ir_value ahead = ir_build_binary(g, OP_or, ir_build_compare(g, "GT", others, mine), tied);
    ir_value rank = fe_math_reduce(g, "add", fe_math_flag(g, ahead), -1, false);
    return ir_build_select(g, fe_math_compare(g, "LT", rank, k), p, ir_build_scalar(g, DTYPE_f32, -1e10));
}

/* [M,L]: all elements in one dim, but labels that count for themselves. */
static ir_value flatten(ir_graph *g, ir_value x, bool multi_label)
{
    if (multi_label) return x;
    ir_value flat = fe_math_flatten(g, x);
    const ir_dim dim[2] = {ir_type_of(g, flat)->dim[0], ir_fixed(1)};
    return ir_build_reshape(g, flat, 2, dim);
}

/* i1[M,T,L]: is prediction m above threshold t? */
static ir_value find_above(ir_graph *g, ir_value p, const thresholds *t, const ir_type *shape)
{
    static const int64_t rows[] = {0, 2}, middle[] = {1};
    ir_type wide = ir_type_with_dtype(*shape, DTYPE_f32);
    if (t->even) {
        ir_value clipped = fe_math_clip(g, p, 0, 1);
        ir_value bucket =
            ir_build_unary(g, OP_ceil, ir_build_binary_scalar(g, OP_multiply, clipped, t->count - 1));
        bucket = ir_build_binary_scalar(g, OP_subtract, bucket, 1);
        if (t->widened) bucket = ir_build_binary_scalar(g, OP_maximum, bucket, 0);
        return ir_build_compare(g, "GE", ir_build_broadcast_in_dim(g, bucket, &wide, rows),
                                ir_build_iota(g, wide, 1));
    }
    float *numbers = arena_array(g->arena, float, (size_t)t->count);
    for (int i = 0; i < t->count; i++) numbers[i] = (float)t->at[i];
    const ir_dim dim = ir_fixed(t->count);
    ir_value limits = ir_build_constant(g, ir_type_make(DTYPE_f32, 1, &dim), numbers);
    return ir_build_compare(g, "GT", ir_build_broadcast_in_dim(g, p, &wide, rows),
                            ir_build_broadcast_in_dim(g, limits, &wide, middle));
}

static ir_value count_above(ir_graph *g, ir_value above, ir_value weights)
{
    static const int64_t rows[] = {0, 2};
    ir_type wide = ir_type_with_dtype(*ir_type_of(g, above), DTYPE_f32);
    ir_value all = ir_build_broadcast_in_dim(g, weights, &wide, rows);
    return fe_math_reduce(g, "add", ir_build_select(g, above, all, ir_build_scalar(g, DTYPE_f32, 0)), 0,
                          false);
}

/* Of all rows together, repeated for every threshold. */
static ir_value total(ir_graph *g, ir_value weights, const ir_type *shape)
{
    static const int64_t labels[] = {1};
    return ir_build_broadcast_in_dim(g, fe_math_reduce(g, "add", weights, 0, false), shape, labels);
}

static ir_value multiply_weights(fe_metric_call *c, ir_value x, bool multi_label)
{
    ir_graph *g = c->g;
    ir_type t = *ir_type_of(g, x);
    if (c->weight != IR_NONE) x = ir_build_binary(g, OP_multiply, x, fe_math_spread(g, c->weight, &t));
    const ir_field *labels = ir_record_find(c->settings, "label_weights");
    if (labels == NULL || multi_label) return x;
    float *numbers = arena_array(g->arena, float, (size_t)labels->count);
    for (int i = 0; i < labels->count; i++) numbers[i] = (float)labels->numbers[i];
    const ir_dim dim = ir_fixed(labels->count);
    return ir_build_binary(g, OP_multiply, x,
                           ir_build_constant(g, ir_type_make(DTYPE_f32, 1, &dim), numbers));
}

static confusion count(fe_metric_call *c)
{
    ir_graph *g = c->g;
    thresholds t = get_thresholds(c->fe, c->metric);
    bool multi_label = ir_record_number(c->settings, "multi_label", 0) != 0;
    ir_value p = c->values.p, y = c->values.y;
    if (ir_record_number(c->settings, "from_logits", 0) != 0) p = ir_build_unary(g, OP_logistic, p);
    if (ir_record_find(c->settings, "top_k") != NULL)
        p = keep_top_k(g, p, ir_record_number(c->settings, "top_k", 1));
    const ir_field *class = ir_record_find(c->settings, "class_id");
    if (class != NULL) {
        int last = ir_type_of(g, p)->rank - 1;
        int64_t id = (int64_t) class->number;
        p = ir_build_slice_dim(g, p, last, id, id + 1);
        y = ir_build_slice_dim(g, y, last, id, id + 1);
    }
    y = fe_math_flag(g, fe_math_compare(g, "NE", y, 0));
    ir_value positive = flatten(g, multiply_weights(c, y, multi_label), multi_label);
    ir_value negative = flatten(g, multiply_weights(c, fe_math_from(g, 1, y), multi_label), multi_label);
    p = flatten(g, p, multi_label);
    ir_type flat = *ir_type_of(g, p);
    const ir_dim dims[3] = {flat.dim[0], ir_fixed(t.count), flat.dim[1]};
    ir_type wide = ir_type_make(DTYPE_f32, 3, dims), small = ir_type_make(DTYPE_f32, 2, dims + 1);
    ir_value above = find_above(g, p, &t, &wide);
    confusion out = {.true_positives = count_above(g, above, positive),
                     .false_positives = count_above(g, above, negative)};
    out.true_negatives = ir_build_binary(g, OP_subtract, total(g, negative, &small), out.false_positives);
    out.false_negatives = ir_build_binary(g, OP_subtract, total(g, positive, &small), out.true_positives);
    return out;
}

static void add_all(fe_metric_call *c)
{
    confusion all = count(c);
    fe_metric_add(c, "true_positives", all.true_positives);
    fe_metric_add(c, "false_positives", all.false_positives);
    fe_metric_add(c, "true_negatives", all.true_negatives);
    fe_metric_add(c, "false_negatives", all.false_negatives);
}

static ir_type state_type(fe_metric_call *c)
{
    bool multi_label = ir_record_number(c->settings, "multi_label", 0) != 0;
    const ir_dim dims[2] = {ir_fixed(get_thresholds(c->fe, c->metric).count),
                            multi_label ? c->metric->p.dim[1] : ir_fixed(1)};
    return ir_type_make(DTYPE_f32, 2, dims);
}

static ir_value state(fe_metric_call *c, const char *part) { return fe_metric_state(c, part, state_type(c)); }

/* state a / (state a + state b) */
static ir_value ratio(fe_metric_call *c, const char *a, const char *b)
{
    ir_value part = state(c, a);
    return fe_math_divide_no_nan(c->g, part, ir_build_binary(c->g, OP_add, part, state(c, b)));
}

static ir_value to_scalar(ir_graph *g, ir_value x) { return ir_build_reshape(g, x, 0, NULL); }

/* A number, or a list of one for each threshold. */
static ir_value to_result(ir_graph *g, ir_value x)
{
    const ir_dim count = ir_type_of(g, x)->dim[0];
    return count.count == 1 ? to_scalar(g, x) : ir_build_reshape(g, x, 1, &count);
}

/* ---- few thresholds --------------------------------------------------------------------------------- */

enum { MOST_THRESHOLDS = 100000 };

bool fe_metric_check_count(fe *f, const fe_metric *metric, const ir_type *p)
{
    const ir_field *given = ir_record_find(metric->settings, "thresholds"),
                   *class = ir_record_find(metric->settings, "class_id");
    const ir_dim last = p->dim[p->rank - 1];
    if (given != NULL && (given->count < 1 || given->count > MOST_THRESHOLDS))
        return fe_metric_error(f, metric, "expected 1 to %d thresholds, found %d", MOST_THRESHOLDS, given->count);
    if (class != NULL && (p->rank < 2 || last.batch || class->number >= (double)last.count))
        return fe_metric_error(f, metric,
                               "expected a class_id below the size of the last dim of %s, found %g",
                               fe_shape_show(f, p), class->number);
    if (ir_record_find(metric->settings, "top_k") != NULL &&
        (p->rank < 2 || p->rank >= IR_MAX_RANK || last.batch))
        return fe_metric_error(f, metric, "expected an output [batch, ..., classes], found %s",
                               fe_shape_show(f, p));
    return true;
}

bool fe_metric_update_count(fe_metric_call *c)
{
    const char *wanted = c->metric->class->detail;
    confusion all = count(c);
    const bool is_true = strncmp(wanted, "true", 4) == 0, is_positive = strstr(wanted, "positives") != NULL;
    ir_value hits = is_positive ? (is_true ? all.true_positives : all.false_positives)
                                : (is_true ? all.true_negatives : all.false_negatives);
    fe_metric_add(c, "accumulator", hits);
    return true;
}

ir_value fe_metric_result_count(fe_metric_call *c) { return to_result(c->g, state(c, "accumulator")); }

/* Precision and recall: true positives over those and the wrong ones that `detail` names. */
bool fe_metric_check_ratio(fe *f, const fe_metric *metric, const ir_type *p)
{
    return fe_metric_check_count(f, metric, p);
}

bool fe_metric_update_ratio(fe_metric_call *c)
{
    confusion all = count(c);
    const char *wrong = c->metric->class->detail;
    fe_metric_add(c, "true_positives", all.true_positives);
    fe_metric_add(c, wrong,
                  strcmp(wrong, "false_positives") == 0 ? all.false_positives : all.false_negatives);
    return true;
}

ir_value fe_metric_result_ratio(fe_metric_call *c)
{
    return to_result(c->g, ratio(c, "true_positives", c->metric->class->detail));
}

/* ---- many thresholds -------------------------------------------------------------------------------- */

bool fe_metric_check_operating_point(fe *f, const fe_metric *metric, const ir_type *p)
{
    return fe_metric_check_count(f, metric, p);
}

bool fe_metric_update_operating_point(fe_metric_call *c)
{
    add_all(c);
    return true;
}

/* The most of one rate where the other, named by `detail`, is at least the setting. */
ir_value fe_metric_result_operating_point(fe_metric_call *c)
{
    ir_graph *g = c->g;
    const char *detail = c->metric->class->detail;
    ir_value recall = ratio(c, "true_positives", "false_negatives"), held = recall, wanted = recall;
    if (strcmp(detail, "specificity") == 0)
        held = ratio(c, "true_negatives", "false_positives");
    else if (strcmp(detail, "sensitivity") == 0)
        wanted = ratio(c, "true_negatives", "false_positives");
    else if (strcmp(detail, "recall") == 0)
        wanted = ratio(c, "true_positives", "false_positives");
    else
        held = ratio(c, "true_positives", "false_positives");
    ir_value good = fe_math_compare(g, "GE", held, ir_record_number(c->settings, detail, 0));
    ir_value best = ir_build_select(g, good, wanted, ir_build_scalar(g, DTYPE_f32, 0));
    return to_scalar(g, fe_math_reduce(g, "maximum", best, 0, false));
}

bool fe_metric_check_auc(fe *f, const fe_metric *metric, const ir_type *p)
{
    static const char *const curves[] = {"ROC", "roc", "PR", "pr", "PRGAIN", "prgain"};
    static const char *const methods[] = {"interpolation", "Interpolation", "majoring",
                                          "Majoring",      "minoring",      "Minoring"};
    const char *curve = ir_record_text(metric->settings, "curve", "ROC");
    const char *method = ir_record_text(metric->settings, "summation_method", "interpolation");
    bool known_curve = false, known_method = false;
    for (size_t i = 0; i < countof(curves); i++) known_curve |= strcmp(curves[i], curve) == 0;
    for (size_t i = 0; i < countof(methods); i++) known_method |= strcmp(methods[i], method) == 0;
    if (!known_curve)
        return fe_metric_error(f, metric, "expected curve ROC, PR or PRGAIN, found \"%s\"", curve);
    if (!known_method)
        return fe_metric_error(f, metric, "expected interpolation, majoring or minoring, found \"%s\"",
                               method);
    bool multi_label = ir_record_number(metric->settings, "multi_label", 0) != 0;
    if (multi_label && (p->rank != 2 || p->dim[1].batch))
        return fe_metric_error(f, metric, "expected an output [batch, labels], found %s",
                               fe_shape_show(f, p));
    const ir_field *weights = ir_record_find(metric->settings, "label_weights");
    const ir_dim last = p->dim[p->rank - 1];
    if (weights != NULL && (weights->count < 1 || last.batch || weights->count != last.count))
        return fe_metric_error(f, metric, "expected a weight for each label of %s, found %d",
                               fe_shape_show(f, p), weights->count);
    return true;
}

bool fe_metric_update_auc(fe_metric_call *c)
{
    add_all(c);
    return true;
}

static ir_value binary(fe_metric_call *c, ir_op op, ir_value a, ir_value b)
{
    return ir_build_binary(c->g, op, a, b);
}

/* x without its last or first threshold. */
static ir_value head(fe_metric_call *c, ir_value x)
{
    return ir_build_slice_dim(c->g, x, 0, 0, ir_type_of(c->g, x)->dim[0].count - 1);
}

static ir_value tail(fe_metric_call *c, ir_value x)
{
    return ir_build_slice_dim(c->g, x, 0, 1, ir_type_of(c->g, x)->dim[0].count);
}

static ir_value drop(fe_metric_call *c, ir_value x) { return binary(c, OP_subtract, head(c, x), tail(c, x)); }

static ir_value not_negative(fe_metric_call *c, ir_value x)
{
    return ir_build_binary_scalar(c->g, OP_maximum, x, 0);
}

/* The integral of precision over recall, where true positives change linearly between thresholds. */
static ir_value interpolate_precision(fe_metric_call *c)
{
    ir_graph *g = c->g;
    ir_value tp = state(c, "true_positives"), all = binary(c, OP_add, tp, state(c, "false_positives"));
    ir_value dtp = drop(c, tp), slope = fe_math_divide_no_nan(g, dtp, not_negative(c, drop(c, all)));
    ir_value intercept = binary(c, OP_subtract, tail(c, tp), binary(c, OP_multiply, slope, tail(c, all)));
    ir_value both = binary(c, OP_and, fe_math_compare(g, "GT", head(c, all), 0),
                           fe_math_compare(g, "GT", tail(c, all), 0));
    ir_value share = fe_math_divide_no_nan(g, head(c, all), not_negative(c, tail(c, all)));
    share = ir_build_select(g, both, share, ir_build_scalar(g, DTYPE_f32, 1));
    ir_value area =
        binary(c, OP_add, dtp, binary(c, OP_multiply, intercept, ir_build_unary(g, OP_log, share)));
    ir_value positives = binary(c, OP_add, tail(c, tp), tail(c, state(c, "false_negatives")));
    return fe_math_divide_no_nan(g, binary(c, OP_multiply, slope, area), not_negative(c, positives));
}

/* 1 - scale * wrong / true positives, `otherwise` without any of these. */
static ir_value gain(fe_metric_call *c, ir_value scale, const char *wrong, double otherwise)
{
    ir_graph *g = c->g;
    ir_value tp = state(c, "true_positives"), share = fe_math_divide_no_nan(g, state(c, wrong), tp);
    ir_value value = fe_math_from(g, 1, binary(c, OP_multiply, scale, share));
    return ir_build_select(g, fe_math_compare(g, "EQ", tp, 0), ir_build_scalar(g, DTYPE_f32, otherwise),
                           value);
}

static void build_curve(fe_metric_call *c, char kind, bool with_gain, ir_value *x, ir_value *y)
{
    ir_value recall = ratio(c, "true_positives", "false_negatives");
    if (with_gain) {
        ir_value positives = binary(c, OP_add, state(c, "true_positives"), state(c, "false_negatives"));
        ir_value negatives = binary(c, OP_add, state(c, "true_negatives"), state(c, "false_positives"));
        ir_value scale = fe_math_divide_no_nan(c->g, positives, negatives);
        *x = not_negative(c, gain(c, scale, "false_negatives", 0));
        *y = gain(c, scale, "false_positives", 1);
    } else if (kind == 'p') {
        *x = recall;
        *y = ratio(c, "true_positives", "false_positives");
    } else {
        *x = ratio(c, "false_positives", "true_negatives");
        *y = recall;
    }
}

/* The mean over labels, or their weighted mean. */
static ir_value average_labels(fe_metric_call *c, ir_value areas)
{
    ir_graph *g = c->g;
    const ir_field *labels = ir_record_find(c->settings, "label_weights");
    if (ir_record_number(c->settings, "multi_label", 0) == 0) return to_scalar(g, areas);
    if (labels == NULL) return fe_math_mean(g, areas, 0, false);
    double sum = 0;
    float *numbers = arena_array(g->arena, float, (size_t)labels->count);
    for (int i = 0; i < labels->count; i++) {
        numbers[i] = (float)labels->numbers[i];
        sum += labels->numbers[i];
    }
    ir_value weights = ir_build_constant(g, *ir_type_of(g, areas), numbers);
    ir_value weighted = fe_math_sum_all(g, binary(c, OP_multiply, areas, weights));
    return fe_math_divide_no_nan(g, weighted, ir_build_scalar(g, DTYPE_f32, sum));
}

ir_value fe_metric_result_auc(fe_metric_call *c)
{
    const char *curve = ir_record_text(c->settings, "curve", "ROC");
    char method = (char)(ir_record_text(c->settings, "summation_method", "interpolation")[1] | 32);
    char kind = (char)(curve[0] | 32);
    bool with_gain = strlen(curve) > 3;
    ir_value terms, x, y;
    if (kind == 'p' && !with_gain && method == 'n') {
        terms = interpolate_precision(c);
    } else {
        build_curve(c, kind, with_gain, &x, &y);
        ir_op pick = method == 'i' ? OP_minimum : method == 'a' ? OP_maximum : OP_add;
        ir_value height = binary(c, pick, head(c, y), tail(c, y));
        if (pick == OP_add) height = ir_build_binary_scalar(c->g, OP_multiply, height, 0.5);
        terms = binary(c, OP_multiply, drop(c, x), height);
    }
    return average_labels(c, fe_math_reduce(c->g, "add", terms, 0, false));
}
