/* metrics.c: metrics by name or object, their accumulators, and the kinds that are a mean over samples. */
#include "frontend/train.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

ir_value fe_values_none(fe_values *v)
{
    (void)v;
    bug("a metric without values per sample");
}

static const fe_metric_class classes[] = {
#define METRIC(class, labels, kind, build, detail, fields)                                                   \
    {#class,                                                                                                 \
     LABELS_##labels,                                                                                        \
     fields,                                                                                                 \
     detail,                                                                                                 \
     fe_values_##build,                                                                                      \
     fe_metric_check_##kind,                                                                                 \
     fe_metric_update_##kind,                                                                                \
     fe_metric_result_##kind, NULL},
#define REFUSED(class, reason) {.name = #class, .refusal = reason},
#include "frontend/metrics.def"
};

static const struct {
    const char *name, *class;
} aliases[] = {
    {"bce", "BinaryCrossentropy"},
    {"BCE", "BinaryCrossentropy"},
    {"mse", "MeanSquaredError"},
    {"MSE", "MeanSquaredError"},
    {"mae", "MeanAbsoluteError"},
    {"MAE", "MeanAbsoluteError"},
    {"mape", "MeanAbsolutePercentageError"},
    {"MAPE", "MeanAbsolutePercentageError"},
    {"msle", "MeanSquaredLogarithmicError"},
    {"MSLE", "MeanSquaredLogarithmicError"},
    {"cosine_proximity", "CosineSimilarity"},
};

/* ---- reading ---------------------------------------------------------------------------------------- */

static const fe_metric_class *find_class(fe *f, const char *name)
{
    for (size_t i = 0; i < countof(aliases); i++) {
        if (strcmp(aliases[i].name, name) == 0) name = aliases[i].class;
    }
    for (size_t i = 0; i < countof(classes); i++) {
        if (strcmp(classes[i].name, name) == 0 || strcmp(fe_snake_case(f, classes[i].name), name) == 0)
            return &classes[i];
    }
    return NULL;
}

/* A loss or accuracy function given itself: the mean of its values. */
static const fe_metric_class *wrap_function(fe *f, const char *name)
{
    const fe_loss_class *loss = fe_loss_class_find(name, true);
    if (loss == NULL || loss->refusal != NULL || loss->labels == LABELS_sequence ||
        loss->labels == LABELS_group)
        return find_class(f, name);
    fe_metric_class *class = arena_new(f->arena, fe_metric_class);
    *class = (fe_metric_class){.name = loss->function,
                               .labels = loss->labels,
                               .fields = loss->fields,
                               .detail = "",
                               .build = loss->build,
                               .check = fe_metric_check_mean,
                               .update = fe_metric_update_mean,
                               .result = fe_metric_result_mean};
    return class;
}

static bool report_unknown(fe *f, const fe_named *named)
{
    const char *known[countof(classes)];
    for (size_t i = 0; i < countof(classes); i++)
        known[i] = named->is_text ? fe_snake_case(f, classes[i].name) : classes[i].name;
    const char *near = fe_nearest(named->name, countof(known), known);
    if (near != NULL)
        return fe_error(f, named->at, "unknown metric \"%s\"; did you mean \"%s\"?", named->name, near);
    return fe_error(f, named->at, "expected a metric of Keras, found \"%s\"", named->name);
}

static bool is_generic(const char *name)
{
    char lower[16];
    snprintf(lower, sizeof lower, "%.15s", name);
    for (char *c = lower; *c != '\0'; c++) *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    return strcmp(lower, "accuracy") == 0 || strcmp(lower, "acc") == 0;
}

/* Settings without a default that a class needs. */
static bool check_needed(fe *f, const fe_metric *metric)
{
    static const char *const needed[] = {"num_classes", "target_class_ids", "specificity",
                                         "sensitivity", "recall",           "precision"};
    for (size_t i = 0; i < countof(needed); i++) {
        const char *word = strstr(metric->class->fields, arena_printf(f->arena, ":%s[", needed[i]));
        if (word != NULL && ir_record_find(metric->settings, needed[i]) == NULL &&
            !(strcmp(metric->class->detail, "binary") == 0))
            return fe_error(f, metric->at, "expected field \"%s\", found nothing", needed[i]);
    }
    return true;
}

static bool choose_class(fe *f, const fe_named *named, const fe_metric_class **out)
{
    if (!named->is_text && !named->is_function && strcmp(named->name, "MeanMetricWrapper") == 0) {
        const json_at at = {.up = named->config_at, .key = "fn"};
        fe_named fn;
        if (!fe_named_read(f, cJSON_GetObjectItemCaseSensitive(named->config, "fn"), &at, &fn)) return false;
        *out = wrap_function(f, fn.name);
        return *out != NULL || report_unknown(f, &fn);
    }
    *out = named->is_function ? wrap_function(f, named->name) : find_class(f, named->name);
    if (*out == NULL && named->is_text && f->keras2) *out = wrap_function(f, named->name);
    if (*out == NULL) return report_unknown(f, named);
    if ((*out)->refusal == NULL) return true;
    return fe_error(f, named->at, "metric %s: %s", (*out)->name, (*out)->refusal);
}

/* The name that Keras 2 gives a metric by the name of its class; Keras 3 takes the text as it is. */
static const char *name_class(fe *f, const char *class)
{
    if (strcmp(class, "KLDivergence") == 0) return "kullback_leibler_divergence";
    return strcmp(class, "LogCoshError") == 0 ? "logcosh" : fe_snake_case(f, class);
}

bool fe_metric_read(fe *f, const cJSON *j, const json_at *at, fe_metric *out)
{
    fe_named named;
    if (!fe_named_read(f, j, at, &named)) return false;
    *out = (fe_metric){.at = named.at, .name = named.is_function ? fe_snake_case(f, named.name) : named.name};
    if (named.is_text && is_generic(named.name)) return true;
    if (!choose_class(f, &named, &out->class)) return false;
    if (f->keras2 && named.is_text && strcmp(named.name, out->class->name) == 0) out->name = name_class(f, named.name);
    ir_record *r = ir_record_new(f->arena, fe_snake_case(f, out->class->name));
    fe_config c;
    fe_config_init(&c, f, named.config, named.at, "config");
    fe_config_ignore(&c, "fn");
    const char *dtype = NULL;
    bool good = fe_config_text_or(&c, "dtype", NULL, &dtype);
    if (dtype != NULL) ir_record_add_text(f->arena, r, "dtype", dtype);
    if (!named.is_text && !named.is_function)
        good = fe_config_text_or(&c, "name", fe_snake_case(f, named.name), &out->name) && good;
    good = fe_fields_read(&c, out->class->fields, r) && good;
    if (cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(c.object, "class_aggregation")))
        ir_record_add_text(f->arena, r, "class_aggregation", "none");
    out->settings = r;
    return fe_config_done(&c) && good && check_needed(f, out);
}

bool fe_metric_error(fe *f, const fe_metric *metric, const char *format, ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return fe_error(f, metric->at, "metric \"%s\": %s", metric->name, message);
}

bool fe_metric_resolve(fe *f, fe_metric *metric, const ir_type *p, fe_labels labels)
{
    if (p->rank < 1)
        return fe_metric_error(f, metric, "expected an output with a batch dim, found %s",
                               fe_shape_show(f, p));
    if (metric->class == NULL) {
        bool binary = !p->dim[p->rank - 1].batch && p->dim[p->rank - 1].count == 1;
        const char *name = binary                    ? "BinaryAccuracy"
                           : labels == LABELS_sparse ? "SparseCategoricalAccuracy"
                                                     : "CategoricalAccuracy";
        metric->class = find_class(f, name);
        metric->settings = ir_record_new(f->arena, fe_snake_case(f, name));
    }
    metric->p = *p;
    return metric->class->check(f, metric, p);
}

/* ---- accumulators ----------------------------------------------------------------------------------- */

static int find_variable(const ir_module *m, const char *path)
{
    for (size_t i = 0; i < m->variable_count; i++) {
        if (m->variable[i].role == ROLE_metric && strcmp(m->variable[i].path, path) == 0) return (int)i;
    }
    return -1;
}

static const char *make_identifier(arena *a, const char *path)
{
    char *name = arena_strdup(a, path);
    for (char *c = name; *c != '\0'; c++) {
        bool good = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!good) *c = '_';
    }
    return name;
}

static int get_variable(fe_metric_call *c, const char *part, ir_type type)
{
    ir_module *m = c->fe->module;
    arena *a = c->fe->arena;
    const char *path = arena_printf(a, "metrics/%s/%s", c->metric->key, part);
    int variable = find_variable(m, path);
    if (variable >= 0) return variable;
    ir_variable v = {.name = make_identifier(a, path),
                     .path = path,
                     .type = type,
                     .role = ROLE_metric,
                     .initializer = ir_record_new(a, "zeros")};
    return ir_module_add_variable(m, v);
}

ir_value fe_metric_state(fe_metric_call *c, const char *part, ir_type type)
{
    int variable = get_variable(c, part, type);
    return c->l != NULL ? fe_variable_read(c->l, variable) : ir_build_variable(c->g, variable);
}

void fe_metric_add(fe_metric_call *c, const char *part, ir_value delta)
{
    int variable = get_variable(c, part, *ir_type_of(c->g, delta));
    fe_variable_assign(c->l, variable,
                       ir_build_binary(c->g, OP_add, fe_variable_read(c->l, variable), delta));
}

/* ---- means ------------------------------------------------------------------------------------------ */

/* Means over the dims from `first` on. */
static ir_value mean_rest(ir_graph *g, ir_value x, int first)
{
    int64_t dims[IR_MAX_RANK];
    int count = 0;
    for (int i = first; i < ir_type_of(g, x)->rank; i++) dims[count++] = i;
    return count == 0 ? x : ir_build_mean(g, x, count, dims, false);
}

void fe_metric_add_mean(fe_metric_call *c, ir_value values, ir_value weight)
{
    ir_graph *g = c->g;
    ir_value count;
    if (weight != IR_NONE) {
        values = mean_rest(g, values, ir_type_of(g, weight)->rank);
        values = ir_build_binary(g, OP_multiply, values, weight);
        count = fe_math_sum_all(g, mean_rest(g, weight, 1));
    }
    values = mean_rest(g, values, 1);
    if (weight == IR_NONE) count = fe_math_count(g, values);
    fe_metric_add(c, "total", fe_math_sum_all(g, values));
    fe_metric_add(c, "count", count);
}

bool fe_metric_check_mean(fe *f, const fe_metric *metric, const ir_type *p)
{
    if (metric->class->labels == LABELS_sparse && (p->rank < 2 || p->dim[p->rank - 1].batch))
        return fe_metric_error(f, metric, "expected an output [batch, ..., classes], found %s",
                               fe_shape_show(f, p));
    if (metric->class->labels == LABELS_sparse && ir_record_number(metric->settings, "axis", -1) != -1 &&
        ir_record_number(metric->settings, "axis", -1) != p->rank - 1)
        return fe_metric_error(f, metric, "expected the classes in the last axis");
    return fe_values_check(f, metric->settings, p, metric->at);
}

/* weight (or none) and mask: the mask's dims are the first of the values', or the values have a last dim of 1
 * less. */
static bool merge_mask(fe_metric_call *c, ir_value mask, ir_value *weight, const ir_type *values)
{
    ir_graph *g = c->g;
    if (mask == IR_NONE) return true;
    const ir_type *t = ir_type_of(g, mask), *w = *weight == IR_NONE ? t : ir_type_of(g, *weight);
    bool fits = t->rank <= values->rank && w->rank <= values->rank;
    for (int i = 0; fits && i < t->rank; i++) fits = ir_dim_equal(t->dim[i], values->dim[i]);
    if (!fits)
        return fe_metric_error(c->fe, c->metric, "expected a mask of shape %s, found %s",
                               fe_shape_show(c->fe, values), fe_shape_show(c->fe, t));
    ir_value flags = fe_math_flag(g, mask);
    if (*weight == IR_NONE) {
        *weight = flags;
        return true;
    }
    ir_type wide = ir_type_of(g, *weight)->rank >= ir_type_of(g, flags)->rank ? *ir_type_of(g, *weight)
                                                                              : *ir_type_of(g, flags);
    *weight =
        ir_build_binary(g, OP_multiply, fe_math_spread(g, *weight, &wide), fe_math_spread(g, flags, &wide));
    return true;
}

bool fe_metric_update_mean(fe_metric_call *c)
{
    ir_value values = c->metric->class->build(&c->values);
    ir_type type = *ir_type_of(c->g, values);
    ir_value weight = c->weight;
    if (type.rank == 0)
        weight = IR_NONE;
    else if (!merge_mask(c, c->p_mask, &weight, &type))
        return false;
    const bool own_mask = c->fe->keras2 || weight != IR_NONE; /* Keras 3 forgets it where there are no weights */
    if (own_mask && !merge_mask(c, c->values.mask, &weight, &type)) return false;
    bool fits = weight == IR_NONE || ir_type_of(c->g, weight)->rank <= type.rank;
    for (int i = 0; fits && weight != IR_NONE && i < ir_type_of(c->g, weight)->rank; i++)
        fits = ir_dim_equal(ir_type_of(c->g, weight)->dim[i], type.dim[i]);
    if (!fits)
        return fe_metric_error(c->fe, c->metric, "expected sample weights of shape %s, found %s",
                               fe_shape_show(c->fe, &type), fe_shape_show(c->fe, ir_type_of(c->g, weight)));
    fe_metric_add_mean(c, values, weight);
    return true;
}

ir_value fe_metric_result_mean(fe_metric_call *c)
{
    ir_type scalar = ir_type_scalar(DTYPE_f32);
    return fe_math_divide_no_nan(c->g, fe_metric_state(c, "total", scalar),
                                 fe_metric_state(c, "count", scalar));
}

bool fe_metric_check_root(fe *f, const fe_metric *metric, const ir_type *p)
{
    return fe_metric_check_mean(f, metric, p);
}

/* The root of the mean over all elements; masks do not count. */
bool fe_metric_update_root(fe_metric_call *c)
{
    c->p_mask = IR_NONE;
    return fe_metric_update_mean(c);
}

ir_value fe_metric_result_root(fe_metric_call *c)
{
    return ir_build_unary(c->g, OP_sqrt, fe_metric_result_mean(c));
}
