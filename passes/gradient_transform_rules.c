/* gradient_transform_rules.c: the rules of ir/gradient_transforms.def: formulas and their rounding order are Optax's. */
#include "passes/gradient_transforms.h"

static ir_value number(const transform *t, double x) { return ir_build_scalar(t->g, ir_type_of(t->g, t->x)->dtype, x); }

static ir_value most(const transform *t, ir_value a, double b) { return ir_build_binary_scalar(t->g, OP_maximum, a, b); }

/* decay * old + (1 - decay) * new */
static ir_value move_average(transform *t, const char *slot, double initial, ir_value new, double decay)
{
    ir_graph *g = t->g;
    ir_value old = transform_state(t, slot, initial);
    ir_value average = opt_add(g, opt_scale(g, new, 1 - decay), opt_scale(g, old, decay));
    transform_state_assign(t, slot, average);
    return average;
}

/* x / (1 - decay ^ count) */
static ir_value unbias(transform *t, ir_value x, double decay, ir_value count)
{
    ir_value power = ir_build_binary(t->g, OP_power, number(t, decay), count);
    return opt_div(t->g, x, opt_from(t->g, 1, power));
}

static ir_value find_norm(const transform *t, ir_value x) { return opt_sqrt(t->g, opt_sum(t->g, opt_square(t->g, x))); }

static ir_value find_rms(const transform *t, ir_value x) { return opt_sqrt(t->g, opt_mean(t->g, opt_square(t->g, x))); }

/* ---- without state ----------------------------------------------------------------------------------- */

ir_value transform_identity(transform *t) { return t->x; }

ir_value transform_set_to_zero(transform *t) { return ir_build_fill(t->g, *ir_type_of(t->g, t->x), 0); }

ir_value transform_sign(transform *t) { return ir_build_unary(t->g, OP_sign, t->x); }

ir_value transform_scale(transform *t) { return opt_scale(t->g, t->x, transform_number(t, "step_size")); }

ir_value transform_zero_nans(transform *t)
{
    ir_value same = ir_build_compare(t->g, "EQ", t->x, t->x);
    return ir_build_select(t->g, same, t->x, number(t, 0));
}

ir_value transform_clip_value(transform *t)
{
    const double limit = transform_number(t, "max_delta");
    return ir_build_binary_scalar(t->g, OP_minimum, most(t, t->x, -limit), limit);
}

/* x, or (x / norm) * limit where the norm reaches the limit. */
static ir_value clip_by(transform *t, ir_value norm, double limit)
{
    ir_value below = ir_build_compare(t->g, "LT", norm, number(t, limit));
    return ir_build_select(t->g, below, t->x, opt_scale(t->g, opt_div(t->g, t->x, norm), limit));
}

ir_value transform_clip_norm(transform *t)
{
    return clip_by(t, find_norm(t, t->x), transform_number(t, "max_norm"));
}

ir_value transform_clip_global_norm(transform *t)
{
    ir_value norm = ir_build_convert(t->g, t->norm, ir_type_of(t->g, t->x)->dtype);
    return clip_by(t, norm, transform_number(t, "max_norm"));
}

ir_value transform_clip_block_rms(transform *t)
{
    ir_value share = ir_build_binary_scalar(t->g, OP_divide, find_rms(t, t->x), transform_number(t, "threshold"));
    return opt_div(t->g, t->x, most(t, share, 1));
}

/* The norm of each unit, which is the last dim of matrices and convolution kernels, broadcast to x's shape. */
static ir_value find_unit_norms(const transform *t, ir_value x)
{
    const ir_type type = *ir_type_of(t->g, x);
    int wide = 0;
    for (int i = 0; i < type.rank; i++) wide += type.dim[i].count != 1;
    int64_t dims[IR_MAX_RANK];
    const int count = wide <= 1 ? type.rank : type.rank <= 3 ? 1 : type.rank - 1;
    for (int i = 0; i < count; i++) dims[i] = i;
    ir_value squares = opt_square(t->g, x);
    if (count > 0) squares = ir_build_reduce(t->g, "add", squares, count, dims, true);
    return ir_build_broadcast_to(t->g, opt_sqrt(t->g, squares), &type);
}

ir_value transform_adaptive_clip(transform *t)
{
    ir_graph *g = t->g;
    ir_value norm = find_unit_norms(t, t->x);
    ir_value limit = most(t, find_unit_norms(t, t->value), transform_number(t, "eps"));
    limit = opt_scale(g, limit, transform_number(t, "clipping"));
    ir_value clipped = opt_mul(g, t->x, opt_div(g, limit, most(t, norm, 1e-6)));
    return ir_build_select(g, ir_build_compare(g, "LT", norm, limit), t->x, clipped);
}

ir_value transform_centralize(transform *t)
{
    static const int64_t dims[IR_MAX_RANK] = {1, 2, 3, 4, 5, 6, 7};
    const int rank = ir_type_of(t->g, t->x)->rank;
    return rank < 2 ? t->x : opt_sub(t->g, t->x, ir_build_mean(t->g, t->x, rank - 1, dims, true));
}

ir_value transform_add_decayed_weights(transform *t)
{
    return opt_add(t->g, t->x, opt_scale(t->g, t->value, transform_number(t, "weight_decay")));
}

ir_value transform_normalize_by_norm(transform *t)
{
    ir_value norm = opt_plus(t->g, t->norm, transform_number(t, "eps"));
    norm = ir_build_binary_scalar(t->g, OP_divide, norm, transform_number(t, "scale_factor"));
    return opt_div(t->g, t->x, ir_build_convert(t->g, norm, ir_type_of(t->g, t->x)->dtype));
}

ir_value transform_scale_by_param_norm(transform *t)
{
    return opt_mul(t->g, t->x, most(t, find_norm(t, t->value), transform_number(t, "min_scale")));
}

ir_value transform_scale_by_param_rms(transform *t)
{
    return opt_mul(t->g, t->x, most(t, find_rms(t, t->value), transform_number(t, "min_scale")));
}

ir_value transform_scale_by_trust_ratio(transform *t)
{
    ir_graph *g = t->g;
    const double least = transform_number(t, "min_norm");
    ir_value w = most(t, find_norm(t, t->value), least), u = most(t, find_norm(t, t->x), least);
    ir_value zero = number(t, 0);
    ir_value none = ir_build_binary(g, OP_or, ir_build_compare(g, "EQ", w, zero), ir_build_compare(g, "EQ", u, zero));
    ir_value ratio = opt_scale(g, w, transform_number(t, "trust_coefficient"));
    ratio = opt_div(g, ratio, opt_plus(g, u, transform_number(t, "eps")));
    return opt_mul(g, t->x, ir_build_select(g, none, number(t, 1), ratio));
}

/* ---- with state -------------------------------------------------------------------------------------- */

/* The noise of a step and variable is a function of the seed, the step's number and the variable's place alone. */
ir_value transform_add_noise(transform *t)
{
    ir_graph *g = t->g;
    ir_value count = transform_count(t);
    ir_value power = ir_build_binary_scalar(g, OP_power, count, transform_number(t, "gamma"));
    ir_value deviation = opt_sqrt(g, opt_over(g, transform_number(t, "eta"), power));
    const int64_t first = (int64_t)transform_number(t, "seed") + ((int64_t)t->variable << 31);
    const ir_dim one = ir_fixed(1);
    const ir_type type = ir_type_make(DTYPE_i64, 1, &one);
    const ir_value step = ir_build_reshape(g, ir_build_convert(g, count, DTYPE_i64), 1, &one);
    const ir_value part[2] = {ir_build_constant(g, type, &first), step};
    ir_value noise = ir_build_random_normal(g, ir_build_concatenate(g, 2, part, 0),
                                            ir_type_with_dtype(*ir_type_of(g, t->x), DTYPE_f32));
    noise = ir_build_convert(g, noise, ir_type_of(g, t->x)->dtype);
    return opt_add(g, t->x, opt_mul(g, noise, deviation));
}

ir_value transform_ema(transform *t)
{
    const double decay = transform_number(t, "decay");
    ir_value average = move_average(t, "ema", 0, t->x, decay);
    return transform_number(t, "debias") != 0 ? unbias(t, average, decay, transform_count(t)) : average;
}

ir_value transform_trace(transform *t)
{
    ir_graph *g = t->g;
    const double decay = transform_number(t, "decay");
    ir_value sum = opt_add(g, t->x, opt_scale(g, transform_state(t, "trace", 0), decay));
    transform_state_assign(t, "trace", sum);
    return transform_number(t, "nesterov") != 0 ? opt_add(g, t->x, opt_scale(g, sum, decay)) : sum;
}

/* Both moments without their bias. */
static void find_moments(transform *t, ir_value *out_m, ir_value *out_v)
{
    const double b1 = transform_number(t, "b1"), b2 = transform_number(t, "b2");
    ir_value count = transform_count(t), mu = move_average(t, "mu", 0, t->x, b1);
    ir_value nu = move_average(t, "nu", 0, opt_square(t->g, t->x), b2);
    *out_v = unbias(t, nu, b2, count);
    if (transform_number(t, "nesterov") == 0) {
        *out_m = unbias(t, mu, b1, count);
        return;
    }
    ir_value ahead = unbias(t, mu, b1, opt_plus(t->g, count, 1)), now = unbias(t, t->x, b1, count);
    *out_m = opt_add(t->g, opt_scale(t->g, ahead, b1), opt_scale(t->g, now, 1 - b1));
}

/* m / (sqrt(v + eps_root) + eps) */
static ir_value divide_by_root(transform *t, ir_value m, ir_value v)
{
    ir_value root = opt_sqrt(t->g, opt_plus(t->g, v, transform_number(t, "eps_root")));
    return opt_div(t->g, m, opt_plus(t->g, root, transform_number(t, "eps")));
}

ir_value transform_scale_by_adam(transform *t)
{
    ir_value m, v;
    find_moments(t, &m, &v);
    return divide_by_root(t, m, v);
}

ir_value transform_scale_by_amsgrad(transform *t)
{
    ir_value m, v;
    find_moments(t, &m, &v);
    v = ir_build_binary(t->g, OP_maximum, transform_state(t, "nu_max", 0), v);
    transform_state_assign(t, "nu_max", v);
    return divide_by_root(t, m, v);
}

ir_value transform_scale_by_adamax(transform *t)
{
    ir_graph *g = t->g;
    const double b1 = transform_number(t, "b1");
    ir_value mu = move_average(t, "mu", 0, t->x, b1);
    ir_value size = opt_plus(g, ir_build_unary(g, OP_abs, t->x), transform_number(t, "eps"));
    ir_value decayed = opt_scale(g, transform_state(t, "nu", 0), transform_number(t, "b2"));
    ir_value nu = ir_build_binary(g, OP_maximum, size, decayed);
    transform_state_assign(t, "nu", nu);
    return opt_div(g, unbias(t, mu, b1, transform_count(t)), nu);
}

ir_value transform_scale_by_belief(transform *t)
{
    ir_graph *g = t->g;
    const double b1 = transform_number(t, "b1"), b2 = transform_number(t, "b2");
    ir_value count = transform_count(t), mu = move_average(t, "mu", 0, t->x, b1);
    ir_value surprise = opt_square(g, opt_sub(g, t->x, mu));
    ir_value old = transform_state(t, "nu", 0);
    ir_value nu = opt_add(g, opt_scale(g, surprise, 1 - b2), opt_scale(g, old, b2));
    nu = opt_plus(g, nu, transform_number(t, "eps_root"));
    transform_state_assign(t, "nu", nu);
    ir_value root = opt_sqrt(g, unbias(t, nu, b2, count));
    return opt_div(g, unbias(t, mu, b1, count), opt_plus(g, root, transform_number(t, "eps")));
}

ir_value transform_scale_by_rms(transform *t)
{
    ir_graph *g = t->g;
    const double eps = transform_number(t, "eps");
    ir_value nu = move_average(t, "nu", transform_number(t, "initial_scale"), opt_square(g, t->x),
                               transform_number(t, "decay"));
    if (transform_number(t, "eps_in_sqrt") == 0) return opt_div(g, t->x, opt_plus(g, opt_sqrt(g, nu), eps));
    return opt_mul(g, ir_build_unary(g, OP_rsqrt, opt_plus(g, nu, eps)), t->x);
}

ir_value transform_scale_by_stddev(transform *t)
{
    ir_graph *g = t->g;
    const double decay = transform_number(t, "decay");
    ir_value mu = move_average(t, "mu", 0, t->x, decay);
    ir_value nu = move_average(t, "nu", transform_number(t, "initial_scale"), opt_square(g, t->x), decay);
    ir_value variance = opt_plus(g, opt_sub(g, nu, opt_square(g, mu)), transform_number(t, "eps"));
    return opt_mul(g, ir_build_unary(g, OP_rsqrt, variance), t->x);
}

ir_value transform_scale_by_rss(transform *t)
{
    ir_graph *g = t->g;
    ir_value old = transform_state(t, "sum_of_squares", transform_number(t, "initial_accumulator_value"));
    ir_value sum = opt_add(g, opt_square(g, t->x), old);
    transform_state_assign(t, "sum_of_squares", sum);
    ir_value inverse = ir_build_unary(g, OP_rsqrt, opt_plus(g, sum, transform_number(t, "eps")));
    ir_value some = ir_build_compare(g, "GT", sum, number(t, 0));
    return opt_mul(g, ir_build_select(g, some, inverse, number(t, 0)), t->x);
}

ir_value transform_scale_by_adadelta(transform *t)
{
    ir_graph *g = t->g;
    const double rho = transform_number(t, "rho"), eps = transform_number(t, "eps");
    ir_value squares = move_average(t, "e_g", 0, opt_square(g, t->x), rho), changes = transform_state(t, "e_x", 0);
    ir_value share = opt_div(g, opt_sqrt(g, opt_plus(g, changes, eps)), opt_sqrt(g, opt_plus(g, squares, eps)));
    ir_value out = opt_mul(g, share, t->x);
    move_average(t, "e_x", 0, opt_square(g, out), rho);
    return out;
}

ir_value transform_scale_by_lion(transform *t)
{
    ir_graph *g = t->g;
    const double b1 = transform_number(t, "b1");
    ir_value mixed = opt_add(g, opt_scale(g, t->x, 1 - b1), opt_scale(g, transform_state(t, "mu", 0), b1));
    move_average(t, "mu", 0, t->x, transform_number(t, "b2"));
    return ir_build_unary(g, OP_sign, mixed);
}
