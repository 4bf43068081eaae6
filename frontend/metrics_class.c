/* metrics_class.c: metrics over classes or outputs: F scores, intersection over union, R2. */
#include "frontend/train.h"

#include <math.h>
#include <string.h>

static ir_value binary(fe_metric_call *c, ir_op op, ir_value a, ir_value b)
{
    return ir_build_binary(c->g, op, a, b);
}

static ir_value scalar(fe_metric_call *c, ir_op op, ir_value a, double b)
{
    return ir_build_binary_scalar(c->g, op, a, b);
}

/* ---- F scores --------------------------------------------------------------------------------------- */

static bool check_matrix(fe *f, const fe_metric *metric, const ir_type *p)
{
    if (p->rank != 2 || p->dim[1].batch)
        return fe_metric_error(f, metric, "expected an output [batch, size], found %s", fe_shape_show(f, p));
    return true;
}

bool fe_metric_check_fbeta(fe *f, const fe_metric *metric, const ir_type *p)
{
    const char *average = ir_record_text(metric->settings, "average", NULL);
    if (average != NULL && strcmp(average, "micro") != 0 && strcmp(average, "macro") != 0 && strcmp(average, "weighted") != 0)
        return fe_metric_error(f, metric, "expected an average micro, macro or weighted, found \"%s\"",
                               average);
    return check_matrix(f, metric, p);
}

static bool is_micro(const fe_metric_call *c)
{
    return strcmp(ir_record_text(c->settings, "average", ""), "micro") == 0;
}

static void add_weighted(fe_metric_call *c, const char *part, ir_value x)
{
    ir_type t = *ir_type_of(c->g, x);
    if (c->weight != IR_NONE) x = binary(c, OP_multiply, x, fe_math_spread(c->g, c->weight, &t));
    fe_metric_add(c, part, is_micro(c) ? fe_math_sum_all(c->g, x) : fe_math_reduce(c->g, "add", x, 0, false));
}

bool fe_metric_update_fbeta(fe_metric_call *c)
{
    ir_graph *g = c->g;
    ir_value y = c->values.y, p = c->values.p, hit;
    const ir_field *threshold = ir_record_find(c->settings, "threshold");
    if (threshold != NULL) {
        hit = fe_math_compare(g, "GT", p, threshold->number);
    } else {
        ir_value most = fe_math_reduce(g, "maximum", p, -1, true);
        ir_value visible = fe_math_compare(g, "GT", ir_build_unary(g, OP_abs, p), 1e-9);
        hit = binary(c, OP_and, ir_build_compare(g, "GE", p, most), visible);
    }
    hit = fe_math_flag(g, hit);
    add_weighted(c, "true_positives", binary(c, OP_multiply, hit, y));
    add_weighted(c, "false_positives", binary(c, OP_multiply, hit, fe_math_from(g, 1, y)));
    add_weighted(c, "false_negatives", binary(c, OP_multiply, fe_math_from(g, 1, hit), y));
    add_weighted(c, "intermediate_weights", y);
    return true;
}

ir_value fe_metric_result_fbeta(fe_metric_call *c)
{
    ir_graph *g = c->g;
    ir_type t = is_micro(c) ? ir_type_scalar(DTYPE_f32) : ir_type_make(DTYPE_f32, 1, &c->metric->p.dim[1]);
    double beta = ir_record_number(c->settings, "beta", 1);
    ir_value tp = fe_metric_state(c, "true_positives", t);
    ir_value found = binary(c, OP_add, tp, fe_metric_state(c, "false_positives", t));
    ir_value wanted = binary(c, OP_add, tp, fe_metric_state(c, "false_negatives", t));
    ir_value precision = binary(c, OP_divide, tp, scalar(c, OP_add, found, fe_epsilon));
    ir_value recall = binary(c, OP_divide, tp, scalar(c, OP_add, wanted, fe_epsilon));
    ir_value below = binary(c, OP_add, scalar(c, OP_multiply, precision, beta * beta), recall);
    ir_value score =
        binary(c, OP_divide, binary(c, OP_multiply, precision, recall), scalar(c, OP_add, below, fe_epsilon));
    score = scalar(c, OP_multiply, score, 1 + beta * beta);
    const char *average = ir_record_text(c->settings, "average", NULL);
    if (is_micro(c) || average == NULL) return score;
    if (strcmp(average, "macro") == 0)
        return fe_math_mean(g, score, 0, false);
    ir_value weights = fe_metric_state(c, "intermediate_weights", t);
    ir_value share =
        binary(c, OP_divide, weights, scalar(c, OP_add, fe_math_sum_all(g, weights), fe_epsilon));
    return fe_math_sum_all(g, binary(c, OP_multiply, score, share));
}

/* ---- intersection over union ------------------------------------------------------------------------ */

static bool is_kind(const fe_metric *metric, const char *detail)
{
    return strcmp(metric->class->detail, detail) == 0;
}

static bool has_sparse_labels(const fe_metric *metric)
{
    return !is_kind(metric, "one_hot") && ir_record_number(metric->settings, "sparse_y_true", 1) != 0;
}

static bool has_sparse_predictions(const fe_metric *metric)
{
    return is_kind(metric, "binary") || ir_record_number(metric->settings, "sparse_y_pred", 1) != 0;
}

static int64_t get_classes(const fe_metric *metric)
{
    return is_kind(metric, "binary") ? 2 : (int64_t)ir_record_number(metric->settings, "num_classes", 2);
}

bool fe_metric_check_iou(fe *f, const fe_metric *metric, const ir_type *p)
{
    const ir_field *ids = ir_record_find(metric->settings, "target_class_ids");
    for (int i = 0; ids != NULL && i < ids->count; i++) {
        if (ids->numbers[i] >= (double)get_classes(metric))
            return fe_metric_error(f, metric, "expected target_class_ids below %lld, found %g",
                                   (long long)get_classes(metric), ids->numbers[i]);
    }
    if (!has_sparse_predictions(metric) && p->rank < 2)
        return fe_metric_error(f, metric, "expected an output [batch, ..., classes], found %s",
                               fe_shape_show(f, p));
    return fe_values_check(f, metric->settings, p, metric->at);
}

/* i32[M]: the class of every element, or of every element beside `axis`. */
static ir_value to_classes(fe_metric_call *c, ir_value x, bool sparse)
{
    if (!sparse) x = fe_math_position(c->g, "maximum", x, (int)ir_record_number(c->settings, "axis", -1));
    return fe_math_flatten(c->g, ir_build_convert(c->g, x, DTYPE_i32));
}

static bool has_integer_state(const fe_metric_call *c)
{
    return strncmp(ir_record_text(c->settings, "dtype", "int"), "float", 5) != 0;
}

/* f32[M] of ones, or the sample weights, cut to whole numbers as Keras does for an integer metric. */
static bool find_weights(fe_metric_call *c, ir_value classes, ir_value *out)
{
    ir_graph *g = c->g;
    ir_type t = ir_type_with_dtype(*ir_type_of(g, classes), DTYPE_f32);
    *out = ir_build_fill(g, t, 1);
    if (c->weight == IR_NONE) return true;
    ir_value weight = fe_math_flatten(g, c->weight);
    if (!ir_type_same_shape(ir_type_of(g, weight), &t))
        return fe_metric_error(c->fe, c->metric, "expected a sample weight for every label %s, found %s",
                               fe_shape_show(c->fe, &t), fe_shape_show(c->fe, ir_type_of(g, c->weight)));
    if (has_integer_state(c)) weight = ir_build_convert(g, ir_build_convert(g, weight, DTYPE_i32), DTYPE_f32);
    *out = weight;
    return true;
}

static ir_type matrix_type(const fe_metric_call *c)
{
    const ir_dim dims[2] = {ir_fixed(get_classes(c->metric)), ir_fixed(get_classes(c->metric))};
    return ir_type_make(has_integer_state(c) ? DTYPE_i64 : DTYPE_f32, 2, dims);
}

bool fe_metric_update_iou(fe_metric_call *c)
{
    ir_graph *g = c->g;
    const fe_metric *metric = c->metric;
    int64_t count = get_classes(metric);
    ir_value p = c->values.p, weight;
    if (is_kind(metric, "binary"))
        p = fe_math_flag(g, fe_math_compare(g, "GE", p, ir_record_number(c->settings, "threshold", 0.5)));
    ir_value y = to_classes(c, c->values.y, has_sparse_labels(metric));
    p = to_classes(c, p, has_sparse_predictions(metric));
    if (!ir_type_same_shape(ir_type_of(g, y), ir_type_of(g, p)))
        return fe_metric_error(c->fe, metric, "expected as many labels as predictions, found %s and %s",
                               fe_shape_show(c->fe, ir_type_of(g, y)),
                               fe_shape_show(c->fe, ir_type_of(g, p)));
    if (!find_weights(c, y, &weight)) return false;
    const ir_field *ignored = ir_record_find(c->settings, "ignore_class");
    if (ignored != NULL)
        weight =
            binary(c, OP_multiply, weight, fe_math_flag(g, fe_math_compare(g, "NE", y, ignored->number)));
    ir_value rows = fe_math_one_hot(g, y, count), columns = fe_math_one_hot(g, p, count);
    ir_type wide = *ir_type_of(g, rows);
    rows = binary(c, OP_multiply, rows, fe_math_spread(g, weight, &wide));
    ir_dot dot = {.contracting_count = 1, .lhs_contracting = {0}, .rhs_contracting = {0}};
    ir_value matrix = ir_build_dot_general(g, rows, columns, &dot);
    fe_metric_add(c, "total_confusion_matrix", ir_build_convert(g, matrix, matrix_type(c).dtype));
    return true;
}

/* f32[classes]: how often a class is a target. */
static ir_value find_targets(fe_metric_call *c, int64_t classes)
{
    const ir_field *ids = ir_record_find(c->settings, "target_class_ids");
    float *numbers = arena_array(c->g->arena, float, (size_t)classes);
    for (int64_t i = 0; i < classes; i++) numbers[i] = ids == NULL;
    for (int i = 0; ids != NULL && i < ids->count; i++) numbers[(size_t)ids->numbers[i]] += 1;
    const ir_dim dim = ir_fixed(classes);
    return ir_build_constant(c->g, ir_type_make(DTYPE_f32, 1, &dim), numbers);
}

ir_value fe_metric_result_iou(fe_metric_call *c)
{
    ir_graph *g = c->g;
    int64_t classes = get_classes(c->metric);
    ir_value matrix =
        ir_build_convert(g, fe_metric_state(c, "total_confusion_matrix", matrix_type(c)), DTYPE_f32);
    ir_type t = *ir_type_of(g, matrix), integers = ir_type_with_dtype(t, DTYPE_i32);
    ir_value diagonal =
        ir_build_compare(g, "EQ", ir_build_iota(g, integers, 0), ir_build_iota(g, integers, 1));
    ir_value zero = ir_build_scalar(g, DTYPE_f32, 0);
    ir_value both = fe_math_reduce(g, "add", ir_build_select(g, diagonal, matrix, zero), 1, false);
    ir_value either = binary(c, OP_add, fe_math_reduce(g, "add", matrix, 0, false),
                             fe_math_reduce(g, "add", matrix, 1, false));
    either = binary(c, OP_subtract, either, both);
    ir_value targets = find_targets(c, classes);
    ir_value valid = binary(c, OP_multiply, targets, fe_math_flag(g, fe_math_compare(g, "GT", either, 1e-9)));
    ir_value iou =
        binary(c, OP_multiply, valid, binary(c, OP_divide, both, scalar(c, OP_add, either, fe_epsilon)));
    return binary(c, OP_divide, fe_math_sum_all(g, iou),
                  scalar(c, OP_add, fe_math_sum_all(g, valid), fe_epsilon));
}

/* ---- R2 --------------------------------------------------------------------------------------------- */

bool fe_metric_check_r2(fe *f, const fe_metric *metric, const ir_type *p)
{
    const char *kind = ir_record_text(metric->settings, "class_aggregation", "none");
    if (strcmp(kind, "none") != 0 && strcmp(kind, "uniform_average") != 0 &&
        strcmp(kind, "variance_weighted_average") != 0)
        return fe_metric_error(f, metric,
                               "expected uniform_average or variance_weighted_average, found \"%s\"", kind);
    return check_matrix(f, metric, p);
}

bool fe_metric_update_r2(fe_metric_call *c)
{
    ir_graph *g = c->g;
    ir_value y = c->values.y;
    ir_type t = *ir_type_of(g, y);
    ir_value weight = c->weight == IR_NONE ? ir_build_fill(g, t, 1) : fe_math_spread(g, c->weight, &t);
    ir_value weighted = binary(c, OP_multiply, y, weight);
    ir_value residual = fe_math_square(g, binary(c, OP_subtract, y, c->values.p));
    fe_metric_add(c, "sum", fe_math_reduce(g, "add", weighted, 0, false));
    fe_metric_add(c, "squared_sum", fe_math_reduce(g, "add", binary(c, OP_multiply, y, weighted), 0, false));
    fe_metric_add(c, "residual",
                  fe_math_reduce(g, "add", binary(c, OP_multiply, residual, weight), 0, false));
    fe_metric_add(c, "count", fe_math_reduce(g, "add", weight, 0, false));
    fe_metric_add(c, "num_samples", fe_math_count(g, y));
    return true;
}

/* The score for the number of regressors, unless there are too few samples. */
static ir_value adjust(fe_metric_call *c, ir_value score)
{
    double regressors = ir_record_number(c->settings, "num_regressors", 0);
    if (regressors == 0) return score;
    ir_graph *g = c->g;
    ir_value n = scalar(c, OP_subtract, fe_metric_state(c, "num_samples", ir_type_scalar(DTYPE_f32)), 1);
    ir_value left = binary(c, OP_multiply, fe_math_from(g, 1, score), n);
    ir_value adjusted = fe_math_from(g, 1, binary(c, OP_divide, left, scalar(c, OP_subtract, n, regressors)));
    return ir_build_select(g, fe_math_compare(g, "GT", n, regressors), adjusted, score);
}

ir_value fe_metric_result_r2(fe_metric_call *c)
{
    ir_graph *g = c->g;
    ir_type t = ir_type_make(DTYPE_f32, 1, &c->metric->p.dim[1]);
    ir_value sum = fe_metric_state(c, "sum", t),
             mean = binary(c, OP_divide, sum, fe_metric_state(c, "count", t));
    ir_value total =
        binary(c, OP_subtract, fe_metric_state(c, "squared_sum", t), binary(c, OP_multiply, sum, mean));
    ir_value share = binary(c, OP_divide, fe_metric_state(c, "residual", t), total);
    ir_value raw = fe_math_from(g, 1, share),
             infinite = fe_math_compare(g, "EQ", ir_build_unary(g, OP_abs, share), (double)INFINITY);
    raw = ir_build_select(g, infinite, ir_build_scalar(g, DTYPE_f32, 0), raw);
    const char *kind = ir_record_text(c->settings, "class_aggregation", "uniform_average");
    if (strcmp(kind, "none") == 0) return adjust(c, raw);
    if (strcmp(kind, "variance_weighted_average") != 0) return adjust(c, fe_math_mean(g, raw, 0, false));
    ir_value weighted = fe_math_sum_all(g, binary(c, OP_multiply, total, raw));
    return adjust(c, binary(c, OP_divide, weighted, fe_math_sum_all(g, total)));
}
