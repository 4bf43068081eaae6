/* optimizers_momentum.c: update rules that divide by nothing, or by a running square of the gradient without
 * bias correction. Formulas and their rounding order are those of keras.optimizers. */
#include "passes/optimizer.h"

/* m = momentum m - rate g; the weight gains m, or with Nesterov momentum m - rate g. */
ir_value optimizer_update_sgd(optimizer_step *t)
{
    ir_graph *g = t->g;
    double momentum = optimizer_number(t, "momentum");
    ir_value change = opt_mul(g, t->gradient, t->rate);
    if (momentum == 0) return opt_sub(g, t->value, change);
    ir_value m = opt_sub(g, opt_scale(g, optimizer_slot(t, "momentum"), momentum), change);
    optimizer_slot_assign(t, "momentum", m);
    if (optimizer_number(t, "nesterov") != 0) m = opt_sub(g, opt_scale(g, m, momentum), change);
    return opt_add(g, t->value, m);
}

/* Epsilon is inside the square root, but for two old optimizers of Keras 2. */
static ir_value build_root(optimizer_step *t, ir_value x)
{
    double epsilon = optimizer_number(t, "epsilon");
    if (optimizer_number(t, "epsilon_outside") != 0) return opt_plus(t->g, opt_sqrt(t->g, x), epsilon);
    return opt_sqrt(t->g, opt_plus(t->g, x, epsilon));
}

ir_value optimizer_update_rm_sprop(optimizer_step *t)
{
    ir_graph *g = t->g;
    double rho = optimizer_number(t, "rho"), momentum = optimizer_number(t, "momentum");
    ir_value v = opt_mix(g, optimizer_slot(t, "velocity"), opt_square(g, t->gradient), rho);
    optimizer_slot_assign(t, "velocity", v);
    ir_value below = v;
    if (optimizer_number(t, "centered") != 0) {
        ir_value mean = opt_mix(g, optimizer_slot(t, "average_gradient"), t->gradient, rho);
        optimizer_slot_assign(t, "average_gradient", mean);
        below = opt_sub(g, v, opt_square(g, mean));
    }
    ir_value change = opt_div(g, opt_mul(g, t->rate, t->gradient), build_root(t, below));
    if (momentum > 0) {
        change = opt_add(g, opt_scale(g, optimizer_slot(t, "momentum"), momentum), change);
        optimizer_slot_assign(t, "momentum", change);
    }
    return opt_sub(g, t->value, change);
}

ir_value optimizer_update_adagrad(optimizer_step *t)
{
    ir_graph *g = t->g;
    ir_value sum = opt_add(g, optimizer_slot(t, "accumulator"), opt_square(g, t->gradient));
    optimizer_slot_assign(t, "accumulator", sum);
    return opt_sub(g, t->value, opt_div(g, opt_mul(g, t->rate, t->gradient), build_root(t, sum)));
}

ir_value optimizer_update_adadelta(optimizer_step *t)
{
    ir_graph *g = t->g;
    double rho = optimizer_number(t, "rho"), epsilon = optimizer_number(t, "epsilon");
    ir_value squares = opt_mix(g, optimizer_slot(t, "accumulated_grad"), opt_square(g, t->gradient), rho);
    optimizer_slot_assign(t, "accumulated_grad", squares);
    ir_value changes = optimizer_slot(t, "accumulated_delta_var");
    ir_value above = opt_mul(g, opt_sqrt(g, opt_plus(g, changes, epsilon)), t->gradient);
    ir_value change =
        ir_build_unary(g, OP_negate, opt_div(g, above, opt_sqrt(g, opt_plus(g, squares, epsilon))));
    optimizer_slot_assign(t, "accumulated_delta_var", opt_mix(g, changes, opt_square(g, change), rho));
    return opt_add(g, t->value, opt_mul(g, t->rate, change));
}

static ir_value raise(ir_graph *g, ir_value x, double power)
{
    return power == 0.5 ? opt_sqrt(g, x) : ir_build_binary_scalar(g, OP_power, x, power);
}

ir_value optimizer_update_ftrl(optimizer_step *t)
{
    ir_graph *g = t->g;
    double power = -optimizer_number(t, "learning_rate_power"),
           l1 = optimizer_number(t, "l1_regularization_strength");
    double l2 = optimizer_number(t, "l2_regularization_strength"), beta = optimizer_number(t, "beta");
    double shrinkage = optimizer_number(t, "l2_shrinkage_regularization_strength");
    ir_value sum = optimizer_slot(t, "accumulator");
    ir_value new_sum = opt_add(g, sum, opt_square(g, t->gradient));
    ir_value gradient =
        shrinkage == 0 ? t->gradient : opt_add(g, t->gradient, opt_scale(g, t->value, 2 * shrinkage));
    ir_value new_root = raise(g, new_sum, power);
    ir_value sigma = opt_div(g, opt_sub(g, new_root, raise(g, sum, power)), t->rate);
    ir_value linear = opt_sub(g, gradient, opt_mul(g, sigma, t->value));
    linear = opt_add(g, optimizer_slot(t, "linear"), linear);
    ir_value penalty = opt_plus(g, opt_over(g, beta, opt_scale(g, t->rate, 2)), l2);
    ir_value quadratic = opt_add(g, opt_div(g, new_root, t->rate), opt_scale(g, penalty, 2));
    ir_value clipped = ir_build_binary_scalar(g, OP_maximum, linear, -l1);
    clipped = ir_build_binary_scalar(g, OP_minimum, clipped, l1);
    optimizer_slot_assign(t, "linear", linear);
    optimizer_slot_assign(t, "accumulator", new_sum);
    return opt_div(g, opt_sub(g, clipped, linear), quadratic);
}

/* Only the sign of the mixed momentum moves the weight. */
ir_value optimizer_update_lion(optimizer_step *t)
{
    ir_graph *g = t->g;
    double beta_1 = optimizer_number(t, "beta_1"), beta_2 = optimizer_number(t, "beta_2");
    ir_value m = optimizer_slot(t, "momentum");
    ir_value direction = ir_build_unary(g, OP_sign, opt_mix(g, m, t->gradient, beta_1));
    optimizer_slot_assign(t, "momentum", opt_mix(g, m, t->gradient, beta_2));
    return opt_sub(g, t->value, opt_mul(g, t->rate, direction));
}
