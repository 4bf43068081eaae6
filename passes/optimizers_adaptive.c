/* optimizers_adaptive.c: update rules of the Adam family, with bias correction, and Adafactor. Epsilon is
 * outside the square root. Formulas and their rounding order are those of keras.optimizers. */
#include "passes/optimizer.h"

/* beta ^ step */
static ir_value raise_beta(optimizer_step *t, const char *key)
{
    return ir_build_binary(t->g, OP_power, optimizer_scalar(t, optimizer_number(t, key)), t->step);
}

/* Both running means; the first is of the gradient, the second of its square. */
static void update_moments(optimizer_step *t, ir_value *out_m, ir_value *out_v)
{
    ir_graph *g = t->g;
    *out_m = opt_approach(g, optimizer_slot(t, "momentum"), t->gradient, optimizer_number(t, "beta_1"));
    *out_v = opt_approach(g, optimizer_slot(t, "velocity"), opt_square(g, t->gradient),
                          optimizer_number(t, "beta_2"));
    optimizer_slot_assign(t, "momentum", *out_m);
    optimizer_slot_assign(t, "velocity", *out_v);
}

ir_value optimizer_update_adam(optimizer_step *t)
{
    ir_graph *g = t->g;
    ir_value m, v;
    update_moments(t, &m, &v);
    ir_value root = opt_sqrt(g, opt_from(g, 1, raise_beta(t, "beta_2")));
    ir_value alpha = opt_div(g, opt_mul(g, t->rate, root), opt_from(g, 1, raise_beta(t, "beta_1")));
    if (optimizer_number(t, "amsgrad") != 0) {
        v = ir_build_binary(g, OP_maximum, optimizer_slot(t, "velocity_hat"), v);
        optimizer_slot_assign(t, "velocity_hat", v);
    }
    ir_value below = opt_plus(g, opt_sqrt(g, v), optimizer_number(t, "epsilon"));
    return opt_sub(g, t->value, opt_div(g, opt_mul(g, m, alpha), below));
}

ir_value optimizer_update_adamax(optimizer_step *t)
{
    ir_graph *g = t->g;
    ir_value m = opt_approach(g, optimizer_slot(t, "momentum"), t->gradient, optimizer_number(t, "beta_1"));
    ir_value decayed = opt_scale(g, optimizer_slot(t, "norm"), optimizer_number(t, "beta_2"));
    ir_value u = ir_build_binary(g, OP_maximum, decayed, ir_build_unary(g, OP_abs, t->gradient));
    optimizer_slot_assign(t, "momentum", m);
    optimizer_slot_assign(t, "norm", u);
    ir_value below =
        opt_mul(g, opt_from(g, 1, raise_beta(t, "beta_1")), opt_plus(g, u, optimizer_number(t, "epsilon")));
    return opt_sub(g, t->value, opt_div(g, opt_mul(g, t->rate, m), below));
}

/* beta_1 (1 - 0.5 * 0.96 ^ step): Nadam's warming up of the momentum. The legacy one counts part of a step. */
static ir_value warm_momentum(optimizer_step *t, ir_value step)
{
    ir_graph *g = t->g;
    const double pace = optimizer_number(t, "schedule_decay");
    if (pace != 0) step = opt_scale(g, step, pace);
    ir_value decay = ir_build_binary(g, OP_power, optimizer_scalar(t, 0.96), step);
    return opt_scale(g, opt_from(g, 1, opt_scale(g, decay, 0.5)), optimizer_number(t, "beta_1"));
}

/* The product of the momenta so far, this step's included; all weights share it. Keras 2 means that too, but its test of
 * whether the step's factor is in the product compares the step with a number of TensorFlow's second tracing, all weights and
 * those before: each weight but one of a late step multiplies by it once more. */
static ir_value get_product(optimizer_step *t)
{
    optimizer_state *s = t->s;
    ir_graph *g = t->g;
    const bool keras2 = ir_record_number(s->record, "keras2", 0) != 0 && optimizer_number(t, "schedule_decay") == 0;
    const ir_value before = s->u_product;
    if (before != IR_NONE && !keras2) return before;
    int product = optimizer_variable_find(s->m, arena_printf(s->m->arena, "%s/variable", s->name));
    bug_if(product < 0, "no product of momenta");
    ir_value step = ir_build_convert(g, ir_build_binary_scalar(g, OP_add, s->updates, 1), DTYPE_f32);
    const double pace = optimizer_number(t, "schedule_decay");
    if (pace != 0) step = opt_scale(g, step, pace);
    ir_value decay = ir_build_binary(g, OP_power, ir_build_scalar(g, DTYPE_f32, 0.96), step);
    ir_value factor = opt_from(g, 1, opt_scale(g, decay, 0.5));
    const ir_value old = before == IR_NONE ? ir_build_variable(g, product) : before;
    s->u_product = opt_mul(g, opt_scale(g, old, optimizer_number(t, "beta_1")), factor);
    if (keras2) {
        int64_t weights = s->u_weights++ - 1;
        for (size_t i = 0; i < s->m->variable_count; i++) weights += optimizer_owns(s, i);
        const ir_value own = ir_build_scalar(g, ir_type_of(g, s->updates)->dtype, (double)weights);
        s->u_product = ir_build_select(g, ir_build_compare(g, "EQ", s->updates, own), old, s->u_product);
    }
    optimizer_assign(s, product, s->u_product);
    return s->u_product;
}

ir_value optimizer_update_nadam(optimizer_step *t)
{
    ir_graph *g = t->g;
    ir_value u = warm_momentum(t, t->step), u_next = warm_momentum(t, opt_plus(g, t->step, 1));
    ir_value product = ir_build_convert(g, get_product(t), ir_type_of(g, t->value)->dtype);
    ir_value m, v;
    update_moments(t, &m, &v);
    ir_value ahead = opt_div(g, opt_mul(g, u_next, m), opt_from(g, 1, opt_mul(g, product, u_next)));
    ir_value now = opt_div(g, opt_mul(g, opt_from(g, 1, u), t->gradient), opt_from(g, 1, product));
    ir_value v_hat = opt_div(g, v, opt_from(g, 1, raise_beta(t, "beta_2")));
    ir_value below = opt_plus(g, opt_sqrt(g, v_hat), optimizer_number(t, "epsilon"));
    return opt_sub(g, t->value, opt_div(g, opt_mul(g, opt_add(g, ahead, now), t->rate), below));
}

/* a / b where both norms are positive, else 1. */
static ir_value trust_ratio(ir_graph *g, ir_value a, ir_value b)
{
    ir_value zero = ir_build_scalar(g, ir_type_of(g, a)->dtype, 0), one = opt_plus(g, zero, 1);
    ir_value inner = ir_build_select(g, ir_build_compare(g, "GT", b, zero), opt_div(g, a, b), one);
    return ir_build_select(g, ir_build_compare(g, "GT", a, zero), inner, one);
}

ir_value optimizer_update_lamb(optimizer_step *t)
{
    ir_graph *g = t->g;
    ir_value m, v;
    update_moments(t, &m, &v);
    ir_value m_hat = opt_div(g, m, opt_from(g, 1, raise_beta(t, "beta_1")));
    ir_value v_hat = opt_div(g, v, opt_from(g, 1, raise_beta(t, "beta_2")));
    ir_value update = opt_div(g, m_hat, opt_plus(g, opt_sqrt(g, v_hat), optimizer_number(t, "epsilon")));
    ir_value w_norm = opt_sqrt(g, opt_sum(g, opt_square(g, t->value)));
    ir_value u_norm = opt_sqrt(g, opt_sum(g, opt_square(g, update)));
    ir_value rate = opt_mul(g, trust_ratio(g, w_norm, u_norm), t->rate);
    return opt_sub(g, t->value, opt_mul(g, rate, update));
}

/* The averages take the place of a schedule. The momentum slot starts as the weight was before any decay.
 * x_old is made of the momentum after this step: Keras on TensorFlow reads the slot after the assignment. */
ir_value optimizer_update_schedule_free(optimizer_step *t)
{
    ir_graph *g = t->g;
    double beta_1 = optimizer_number(t, "beta_1"), beta_2 = optimizer_number(t, "beta_2");
    double warmup = optimizer_number(t, "warmup_steps");
    ir_value rate = t->rate;
    if (warmup > 0) {
        ir_value part = ir_build_binary_scalar(g, OP_divide, t->step, warmup);
        rate = opt_mul(g, rate, ir_build_binary_scalar(g, OP_minimum, part, 1));
    }
    ir_value first = ir_build_compare(g, "EQ", t->s->updates, ir_build_scalar(g, DTYPE_i64, 0));
    ir_value m_old =
        ir_build_select(g, first, optimizer_value(g, t->variable), optimizer_slot(t, "momentum"));
    ir_value v = opt_approach(g, optimizer_slot(t, "velocity"), opt_square(g, t->gradient), beta_2);
    ir_value root = opt_sqrt(g, opt_div(g, v, opt_from(g, 1, raise_beta(t, "beta_2"))));
    ir_value below = opt_plus(g, root, optimizer_number(t, "epsilon"));
    ir_value m = opt_sub(g, m_old, opt_div(g, opt_mul(g, rate, t->gradient), below));
    optimizer_slot_assign(t, "momentum", m);
    optimizer_slot_assign(t, "velocity", v);
    ir_value weight = opt_over(g, 1, t->step);
    ir_value x_old = opt_sub(g, t->value, opt_scale(g, m, 1 - beta_1));
    x_old = ir_build_binary_scalar(g, OP_divide, x_old, beta_1);
    ir_value x = opt_add(g, opt_mul(g, opt_from(g, 1, weight), x_old), opt_mul(g, weight, m));
    return opt_add(g, opt_scale(g, m, 1 - beta_1), opt_scale(g, x, beta_1));
}

/* ---- Adafactor -------------------------------------------------------------------------------------- */

static ir_value root_mean_square(ir_graph *g, ir_value x)
{
    return opt_sqrt(g, opt_mean(g, opt_square(g, x)));
}

/* old * rate + new * (1 - rate) with a computed rate. */
static ir_value mix_by(ir_graph *g, ir_value old, ir_value new, ir_value rate)
{
    return opt_add(g, opt_mul(g, rate, old), opt_mul(g, opt_from(g, 1, rate), new));
}

/* The outer product of row and column means over the mean of the rows, of the weight's shape. */
static ir_value factored_velocity(optimizer_step *t, ir_value squares, ir_value rate)
{
    ir_graph *g = t->g;
    ir_type type = *ir_type_of(g, squares);
    int rank = type.rank;
    const int64_t last = rank - 1, before = rank - 2;
    ir_value r = mix_by(g, optimizer_slot(t, "row"), ir_build_mean(g, squares, 1, &last, false), rate);
    ir_value c = mix_by(g, optimizer_slot(t, "column"), ir_build_mean(g, squares, 1, &before, false), rate);
    optimizer_slot_assign(t, "row", r);
    optimizer_slot_assign(t, "column", c);
    ir_value share = opt_div(g, r, ir_build_mean(g, r, 1, &before, true));
    int64_t rows[IR_MAX_RANK], columns[IR_MAX_RANK];
    for (int i = 0; i < rank - 1; i++) rows[i] = columns[i] = i;
    columns[rank - 2] = rank - 1;
    return opt_mul(g, ir_build_broadcast_in_dim(g, share, &type, rows),
                   ir_build_broadcast_in_dim(g, c, &type, columns));
}

ir_value optimizer_update_adafactor(optimizer_step *t)
{
    ir_graph *g = t->g;
    ir_value relative = opt_over(g, 1, opt_sqrt(g, t->step));
    ir_value rho = ir_build_binary(g, OP_minimum, t->rate, relative);
    ir_value scale = ir_build_binary_scalar(g, OP_maximum, root_mean_square(g, t->value),
                                            optimizer_number(t, "epsilon_2"));
    ir_value alpha = opt_mul(g, scale, rho);
    ir_value squares = opt_plus(g, opt_square(g, t->gradient), optimizer_number(t, "epsilon_1"));
    ir_value power = ir_build_binary_scalar(g, OP_power, t->step, optimizer_number(t, "beta_2_decay"));
    ir_value rate = opt_from(g, 1, power);
    ir_value v = ir_type_of(g, squares)->rank >= 2 ? factored_velocity(t, squares, rate)
                                                   : mix_by(g, optimizer_slot(t, "velocity"), squares, rate);
    optimizer_slot_assign(t, "velocity", v);
    ir_value u = opt_div(g, t->gradient, opt_sqrt(g, v));
    ir_value over =
        ir_build_binary_scalar(g, OP_divide, root_mean_square(g, u), optimizer_number(t, "clip_threshold"));
    u = opt_div(g, u, ir_build_binary_scalar(g, OP_maximum, over, 1));
    return opt_sub(g, t->value, opt_mul(g, alpha, u));
}
