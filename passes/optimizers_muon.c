/* optimizers_muon.c: Muon: the momentum of a matrix is made nearly orthogonal by Newton-Schulz iterations before
 * it moves the weight; other weights, listed in the setting "adam", are trained as Adam does. Formulas and
 * their rounding order are those of keras.optimizers. */
#include "passes/optimizer.h"

static ir_value transpose(ir_graph *g, ir_value x)
{
    static const int64_t swapped[] = {1, 0};
    return ir_build_transpose(g, x, swapped);
}

/* x as if its singular values were all about 1. */
static ir_value orthogonalize(optimizer_step *t, ir_value x)
{
    ir_graph *g = t->g;
    const ir_type *type = ir_type_of(g, x);
    const bool is_tall = type->dim[0].count > type->dim[1].count;
    if (is_tall) x = transpose(g, x);
    x = opt_div(g, x, opt_plus(g, opt_sqrt(g, opt_sum(g, opt_square(g, x))), 1e-7));
    for (int i = 0; i < (int)optimizer_number(t, "ns_steps"); i++) {
        ir_value a = ir_build_dot(g, x, transpose(g, x));
        ir_value b = opt_scale(g, a, optimizer_number(t, "muon_b"));
        b = opt_add(g, b, ir_build_dot(g, opt_scale(g, a, optimizer_number(t, "muon_c")), a));
        x = opt_add(g, opt_scale(g, x, optimizer_number(t, "muon_a")), ir_build_dot(g, b, x));
    }
    return is_tall ? transpose(g, x) : x;
}

static ir_value update_matrix(optimizer_step *t)
{
    ir_graph *g = t->g;
    const ir_type type = *ir_type_of(g, t->value);
    const double momentum = optimizer_number(t, "momentum"), rate = optimizer_number(t, "rms_rate");
    ir_value m = optimizer_slot(t, "momentum");
    m = opt_add(g, m, opt_add(g, t->gradient, opt_scale(g, m, momentum - 1)));
    optimizer_slot_assign(t, "momentum", m);
    const bool nesterov = optimizer_number(t, "nesterov") != 0;
    ir_value direction = nesterov ? opt_add(g, t->gradient, opt_scale(g, m, momentum)) : m;
    ir_value change = opt_mul(g, orthogonalize(t, direction), t->rate);
    if (rate != 0) {
        const int64_t most = type.dim[0].count > type.dim[1].count ? type.dim[0].count : type.dim[1].count;
        ir_value root = opt_sqrt(g, optimizer_scalar(t, (double)most));
        change = opt_scale(g, opt_mul(g, change, root), rate);
    }
    return opt_sub(g, t->value, change);
}

static ir_value power(optimizer_step *t, const char *key)
{
    return ir_build_binary(t->g, OP_power, optimizer_scalar(t, optimizer_number(t, key)), t->step);
}

static ir_value update_as_adam(optimizer_step *t)
{
    ir_graph *g = t->g;
    ir_value m = opt_approach(g, optimizer_slot(t, "momentum"), t->gradient, optimizer_number(t, "adam_beta_1"));
    ir_value v = opt_approach(g, optimizer_slot(t, "velocity"), opt_square(g, t->gradient),
                              optimizer_number(t, "adam_beta_2"));
    optimizer_slot_assign(t, "momentum", m);
    optimizer_slot_assign(t, "velocity", v);
    ir_value rate = opt_scale(g, t->rate, optimizer_number(t, "adam_lr_ratio"));
    ir_value root = opt_sqrt(g, opt_from(g, 1, power(t, "adam_beta_2")));
    ir_value alpha = opt_div(g, opt_mul(g, rate, root), opt_from(g, 1, power(t, "adam_beta_1")));
    ir_value below = opt_plus(g, opt_sqrt(g, v), optimizer_number(t, "epsilon"));
    return opt_sub(g, t->value, opt_div(g, opt_mul(g, m, alpha), below));
}

ir_value optimizer_update_muon(optimizer_step *t)
{
    const bool as_adam = optimizer_lists(t->record, "adam", (size_t)t->variable);
    return as_adam ? update_as_adam(t) : update_matrix(t);
}
