/* losses.c: losses by name or object, and their reduction over samples with masks and sample weights. */
#include "frontend/train.h"

#include <string.h>

static const fe_loss_class classes[] = {
#define LOSS(function, class, labels, build, fields)                                                         \
    {#function, #class, LABELS_##labels, fields, fe_values_##build, NULL},
#define REFUSED(function, class, reason) {#function, #class, LABELS_any, "", NULL, reason},
#include "frontend/losses.def"
};

static const struct {
    const char *name, *function;
} aliases[] = {
    {"bce", "binary_crossentropy"},
    {"BCE", "binary_crossentropy"},
    {"kld", "kl_divergence"},
    {"KLD", "kl_divergence"},
    {"kullback_leibler_divergence", "kl_divergence"},
    {"mae", "mean_absolute_error"},
    {"MAE", "mean_absolute_error"},
    {"mse", "mean_squared_error"},
    {"MSE", "mean_squared_error"},
    {"mape", "mean_absolute_percentage_error"},
    {"MAPE", "mean_absolute_percentage_error"},
    {"msle", "mean_squared_logarithmic_error"},
    {"MSLE", "mean_squared_logarithmic_error"},
    {"logcosh", "log_cosh"},
};

const fe_loss_class *fe_loss_class_find(const char *name, bool function_only)
{
    for (size_t i = 0; i < countof(aliases); i++) {
        if (strcmp(aliases[i].name, name) == 0) name = aliases[i].function;
    }
    for (size_t i = 0; i < countof(classes); i++) {
        if (strcmp(classes[i].function, name) == 0 || (!function_only && strcmp(classes[i].class, name) == 0))
            return &classes[i];
    }
    return NULL;
}

static bool report_unknown(fe *f, const fe_named *named)
{
    const char *known[2 * countof(classes)];
    for (size_t i = 0; i < countof(classes); i++) {
        known[2 * i] = classes[i].function;
        known[2 * i + 1] = classes[i].class;
    }
    const char *near = fe_nearest(named->name, countof(known), known);
    if (near != NULL)
        return fe_error(f, named->at, "unknown loss \"%s\"; did you mean \"%s\"?", named->name, near);
    return fe_error(f, named->at, "expected a loss of Keras, found \"%s\"", named->name);
}

static bool read_reduction(fe_config *c, fe_reduction *out)
{
    static const char *const names[] = {"sum_over_batch_size",     "auto", "mean", "sum",
                                        "mean_with_sample_weight", "none", NULL};
    static const fe_reduction reductions[] = {REDUCTION_mean, REDUCTION_mean,          REDUCTION_mean,
                                              REDUCTION_sum,  REDUCTION_weighted_mean, REDUCTION_none};
    int choice;
    bool is_null = cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(c->object, "reduction"));
    if (!fe_config_choice(c, "reduction", names, &choice)) return false;
    *out = is_null ? REDUCTION_none : reductions[choice];
    return true;
}

static bool is_generic(const char *name)
{
    return strcmp(name, "crossentropy") == 0 || strcmp(name, "ce") == 0;
}

bool fe_loss_read(fe *f, const cJSON *j, const json_at *at, fe_loss *out)
{
    fe_named named;
    if (!fe_named_read(f, j, at, &named)) return false;
    *out = (fe_loss){.reduction = REDUCTION_mean, .weight = 1, .at = named.at};
    if (named.is_text && is_generic(named.name)) return true;
    out->class = fe_loss_class_find(named.name, false);
    if (out->class == NULL) return report_unknown(f, &named);
    if (out->class->refusal != NULL)
        return fe_error(f, at, "loss %s: %s", out->class->class, out->class->refusal);
    ir_record *r = ir_record_new(f->arena, out->class->function);
    fe_config c;
    fe_config_init(&c, f, named.config, named.at, "config");
    fe_config_ignore(&c, "name dtype fn");
    bool good = read_reduction(&c, &out->reduction);
    good = fe_fields_read(&c, out->class->fields, r) && good;
    out->settings = r;
    return fe_config_done(&c) && good;
}

static bool check_axis(fe *f, double axis, const ir_type *p, const json_at *at)
{
    if (axis >= -p->rank && axis < p->rank) return true;
    return fe_error(f, at, "expected an axis of %s, found %g", fe_shape_show(f, p), axis);
}

bool fe_values_check(fe *f, const ir_record *settings, const ir_type *p, const json_at *at)
{
    if (p->rank < 1)
        return fe_error(f, at, "expected an output with a batch dim, found %s", fe_shape_show(f, p));
    const ir_field *axis = ir_record_find(settings, "axis"), *alpha = ir_record_find(settings, "alpha");
    const ir_dim last = p->dim[p->rank - 1];
    if (alpha != NULL && alpha->kind == FIELD_NUMBERS &&
        (alpha->count < 1 || (alpha->count > 1 && (last.batch || alpha->count != last.count))))
        return fe_error(f, at, "expected a number or one for each class of %s as alpha, found %d", fe_shape_show(f, p),
                        alpha->count);
    if (axis == NULL) return true;
    if (axis->kind == FIELD_NUMBER) return check_axis(f, axis->number, p, at);
    for (int i = 0; i < axis->count; i++) {
        if (!check_axis(f, axis->numbers[i], p, at)) return false;
    }
    return true;
}

enum { CTC_MOST_STEPS = 1024 };

static bool check_labels(fe *f, const fe_loss *loss, const ir_type *p)
{
    if (loss->class->labels == LABELS_sequence) {
        if (p->rank != 3 || p->dim[1].batch || p->dim[2].batch || p->dim[1].count > CTC_MOST_STEPS ||
            p->dim[1].count < 1)
            return fe_error(f, loss->at,
                            "expected an output [batch, steps, classes] of at most %d steps, found %s",
                            CTC_MOST_STEPS, fe_shape_show(f, p));
        return true;
    }
    if (loss->class->labels == LABELS_group && (p->rank != 2 || p->dim[1].batch))
        return fe_error(f, loss->at, "expected an output [batch, numbers], found %s", fe_shape_show(f, p));
    if (loss->class->labels != LABELS_sparse) return true;
    double axis = ir_record_number(loss->settings, "axis", -1);
    if (p->rank < 2 || p->dim[p->rank - 1].batch)
        return fe_error(f, loss->at, "expected an output [batch, ..., classes], found %s",
                        fe_shape_show(f, p));
    if (axis != -1 && axis != p->rank - 1)
        return fe_error(f, loss->at, "expected the classes in the last axis, found axis %g", axis);
    return true;
}

bool fe_loss_resolve(fe *f, fe_loss *loss, const ir_type *p)
{
    if (loss->class == NULL) {
        if (p->rank < 1 || p->dim[p->rank - 1].batch)
            return fe_error(f, loss->at, "expected an output [batch, ..., classes], found %s", fe_shape_show(f, p));
        loss->by_data = p->dim[p->rank - 1].count != 1;
        static const char *const functions[] = {"binary_crossentropy", "categorical_crossentropy"};
        loss->class = fe_loss_class_find(functions[loss->by_data], true);
        ir_record *r = ir_record_new(f->arena, loss->class->function);
        ir_record_add_number(f->arena, r, "axis", -1);
        loss->settings = r;
    }
    return fe_values_check(f, loss->settings, p, loss->at) && check_labels(f, loss, p);
}

/* The weights that a mask stands for: valid samples share the weight of all of them when the loss is a mean. Where none
 * is valid, Keras 2's mean is no number. */
static ir_value weigh_mask(fe_lower *l, ir_value mask, bool mean)
{
    ir_graph *g = l->g;
    ir_value flags = fe_math_flag(g, mask);
    if (!mean) return flags;
    if (l->fe->keras2) {
        ir_value share = ir_build_binary(g, OP_divide, fe_math_count(g, mask), fe_math_sum_all(g, flags));
        return ir_build_binary(g, OP_multiply, flags, ir_build_broadcast_to(g, share, ir_type_of(g, flags)));
    }
    ir_value share = fe_math_divide_no_nan(g, fe_math_count(g, mask), fe_math_sum_all(g, flags));
    return ir_build_select(g, mask, share, ir_build_scalar(g, DTYPE_f32, 0));
}

static bool merge_masks(fe_lower *l, const fe_loss *loss, const fe_values *v, ir_value mask, ir_value *out)
{
    if (mask == IR_NONE || v->mask == IR_NONE) {
        *out = mask == IR_NONE ? v->mask : mask;
        return true;
    }
    if (!ir_type_same_shape(ir_type_of(l->g, mask), ir_type_of(l->g, v->mask)))
        return fe_error(l->fe, loss->at, "expected a mask of shape %s, found %s",
                        fe_shape_show(l->fe, ir_type_of(l->g, v->mask)),
                        fe_shape_show(l->fe, ir_type_of(l->g, mask)));
    *out = ir_build_binary(l->g, OP_and, mask, v->mask);
    return true;
}

/* never_empty: the divisor counts rows, of which a batch has some. */
static ir_value divide_sum(ir_graph *g, bool never_empty, ir_value sum, ir_value divisor)
{
    if (divisor == IR_NONE) return sum;
    return never_empty ? ir_build_binary(g, OP_divide, sum, divisor) : fe_math_divide_no_nan(g, sum, divisor);
}

/* As Keras multiplies losses with their mask: a last dim of size 1 that the mask lacks goes, else they are broadcast. */
static bool align_mask(fe_lower *l, const fe_loss *loss, const fe_values *v, ir_value mask, ir_value *values, ir_value *weight)
{
    ir_type t = *ir_type_of(l->g, *values), both;
    const ir_type m = *ir_type_of(l->g, mask), found = t;
    const ir_dim one = ir_fixed(1);
    if (ir_type_same_shape(&t, &m)) return true;
    if (t.rank == m.rank + 1 && m.rank > 1 && ir_dim_equal(t.dim[t.rank - 1], one)) {
        t.rank--;
        *values = ir_build_reshape(l->g, *values, t.rank, t.dim);
        if (*weight != IR_NONE) *weight = ir_build_reshape(l->g, *weight, t.rank, t.dim);
    }
    if (v->add_gradient == NULL && t.rank == m.rank && ir_broadcast_shapes(&t, &m, &both)) return true;
    return fe_error(l->fe, loss->at, "expected a mask of the losses' shape %s, found %s", fe_shape_show(l->fe, &found),
                    fe_shape_show(l->fe, &m));
}

bool fe_loss_reduce(fe_lower *l, const fe_loss *loss, const fe_values *v, ir_value values, ir_value mask,
                    ir_value weight, ir_value *out)
{
    ir_graph *g = l->g;
    bool mean = loss->reduction == REDUCTION_mean;
    if (!merge_masks(l, loss, v, mask, &mask)) return false;
    if (mask != IR_NONE) {
        if (!align_mask(l, loss, v, mask, &values, &weight)) return false;
        ir_value by_mask = weigh_mask(l, mask, mean);
        weight = weight == IR_NONE ? by_mask : ir_build_binary(g, OP_multiply, weight, by_mask);
    }
    if (weight != IR_NONE) values = ir_build_binary(g, OP_multiply, values, weight);
    if (ir_type_of(g, values)->rank > 0 && loss->reduction == REDUCTION_none)
        return fe_error(l->fe, loss->at, "expected a reduction of the loss to one number, found none");
    ir_value divisor = IR_NONE;
    if (mean && ir_type_of(g, values)->rank > 0) divisor = fe_math_count(g, values);
    if (loss->reduction == REDUCTION_weighted_mean && ir_type_of(g, values)->rank > 0)
        divisor = weight == IR_NONE ? fe_math_count(g, values) : fe_math_sum_all(g, weight);
    const bool never_empty = mean && (divisor == IR_NONE || ir_type_of(g, values)->dim[0].batch < UNIT_values);
    *out = divide_sum(g, never_empty, fe_math_sum_all(g, values), divisor);
    if (v->add_gradient != NULL && l->training) {
        const ir_type *t = ir_type_of(g, values);
        ir_value share = weight == IR_NONE ? ir_build_fill(g, *t, 1) : weight;
        if (divisor != IR_NONE) divisor = fe_math_spread(g, divisor, t);
        *out = v->add_gradient(v, *out, divide_sum(g, never_empty, share, divisor));
    }
    return true;
}
