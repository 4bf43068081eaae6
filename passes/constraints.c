/* constraints.c: what a weight is made to satisfy after every update: keras.constraints. */
#include "passes/optimizer.h"

#include <string.h>

static const double epsilon = 1e-7; /* keras.config.epsilon() */

/* Axis i of the constraint; none is given: 0. */
static double get_axis(const ir_record *r, int i)
{
    const ir_field *axis = ir_record_find(r, "axis");
    return axis == NULL ? 0 : axis->kind == FIELD_NUMBERS ? axis->numbers[i] : axis->number;
}

static int count_axes(const ir_record *r)
{
    const ir_field *axis = ir_record_find(r, "axis");
    return axis != NULL && axis->kind == FIELD_NUMBERS ? axis->count : 1;
}

/* The norm along the constraint's axes, of w's rank. */
static ir_value find_norm(ir_graph *g, const ir_record *r, ir_value w)
{
    int rank = ir_type_of(g, w)->rank, count = 0;
    int64_t axes[IR_MAX_RANK];
    bool chosen[IR_MAX_RANK] = {false};
    for (int i = 0; i < count_axes(r); i++) {
        int axis = (int)get_axis(r, i);
        chosen[axis < 0 ? axis + rank : axis] = true;
    }
    for (int i = 0; i < rank; i++) {
        if (chosen[i]) axes[count++] = i;
    }
    return opt_sqrt(g, ir_build_reduce(g, "add", opt_square(g, w), count, axes, true));
}

static ir_value clip(ir_graph *g, ir_value x, double low, double high)
{
    return ir_build_binary_scalar(g, OP_minimum, ir_build_binary_scalar(g, OP_maximum, x, low), high);
}

/* w with its norm brought to `desired`. */
static ir_value rescale(ir_graph *g, ir_value w, ir_value norm, ir_value desired)
{
    return opt_mul(g, w, opt_div(g, desired, opt_plus(g, norm, epsilon)));
}

static ir_value build_max_norm(ir_graph *g, const ir_record *r, ir_value w)
{
    ir_value norm = find_norm(g, r, w);
    return rescale(g, w, norm, clip(g, norm, 0, ir_record_number(r, "max_value", 2)));
}

static ir_value build_non_neg(ir_graph *g, const ir_record *r, ir_value w)
{
    (void)r;
    return ir_build_binary_scalar(g, OP_maximum, w, 0);
}

static ir_value build_unit_norm(ir_graph *g, const ir_record *r, ir_value w)
{
    return opt_div(g, w, opt_plus(g, find_norm(g, r, w), epsilon));
}

static ir_value build_min_max_norm(ir_graph *g, const ir_record *r, ir_value w)
{
    double rate = ir_record_number(r, "rate", 1);
    ir_value norm = find_norm(g, r, w);
    ir_value inside = clip(g, norm, ir_record_number(r, "min_value", 0), ir_record_number(r, "max_value", 1));
    return rescale(g, w, norm, opt_add(g, opt_scale(g, inside, rate), opt_scale(g, norm, 1 - rate)));
}

static const struct {
    const char *name;
    ir_value (*build)(ir_graph *g, const ir_record *r, ir_value w);
} constraints[] = {
    {"max_norm", build_max_norm},
    {"non_neg", build_non_neg},
    {"unit_norm", build_unit_norm},
    {"min_max_norm", build_min_max_norm},
};

bool constraint_check(const ir_variable *v, diag *d)
{
    const ir_record *r = v->constraint;
    if (strcmp(r->name, "non_neg") == 0) return true;
    for (int i = 0; i < count_axes(r); i++) {
        double axis = get_axis(r, i);
        if (!(axis >= -v->type.rank && axis < v->type.rank))
            return diag_error(d, v->path, "expected axes of constraint %s in -%d .. %d, found %g", r->name,
                              v->type.rank, v->type.rank - 1, axis);
    }
    return true;
}

ir_value constraint_build(ir_graph *g, const ir_record *record, ir_value w)
{
    for (size_t i = 0; i < countof(constraints); i++) {
        if (strcmp(constraints[i].name, record->name) == 0) return constraints[i].build(g, record, w);
    }
    bug("unknown constraint %s", record->name);
}
