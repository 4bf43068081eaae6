/* schedules.c: learning rates as functions of the number of batches so far: keras.optimizers.schedules. */
#include "passes/optimizer.h"

#include <math.h>
#include <string.h>

static const double pi = 3.14159265358979323846;

typedef struct schedule {
    ir_graph *g;
    const ir_record *r;
    ir_value iteration; /* i64[] */
    ir_value step;      /* f32[] */
} schedule;

static double number(const schedule *s, const char *key) { return ir_record_number(s->r, key, 0); }

static ir_value scalar(const schedule *s, double x) { return ir_build_scalar(s->g, DTYPE_f32, x); }

static ir_value step_over(const schedule *s, const char *key)
{
    return ir_build_binary_scalar(s->g, OP_divide, s->step, number(s, key));
}

/* Steps in units of decay_steps, whole ones only for a staircase. */
static ir_value find_stage(const schedule *s)
{
    ir_value p = step_over(s, "decay_steps");
    return number(s, "staircase") != 0 ? ir_build_unary(s->g, OP_floor, p) : p;
}

static ir_value build_exponential_decay(const schedule *s)
{
    ir_value factor = ir_build_binary(s->g, OP_power, scalar(s, number(s, "decay_rate")), find_stage(s));
    return opt_scale(s->g, factor, number(s, "initial_learning_rate"));
}

static ir_value build_inverse_time_decay(const schedule *s)
{
    ir_value below = opt_plus(s->g, opt_scale(s->g, find_stage(s), number(s, "decay_rate")), 1);
    return opt_over(s->g, number(s, "initial_learning_rate"), below);
}

/* values[i] up to and with boundaries[i]. */
static ir_value build_piecewise_constant_decay(const schedule *s)
{
    const ir_field *boundaries = ir_record_find(s->r, "boundaries"), *values = ir_record_find(s->r, "values");
    bug_if(boundaries == NULL || values == NULL || values->count != boundaries->count + 1,
           "piecewise without values");
    ir_value rate = scalar(s, values->numbers[values->count - 1]);
    for (int i = boundaries->count - 1; i >= 0; i--) {
        ir_value limit = ir_build_scalar(s->g, DTYPE_i64, trunc(boundaries->numbers[i]));
        ir_value before = ir_build_compare(s->g, "LE", s->iteration, limit);
        rate = ir_build_select(s->g, before, scalar(s, values->numbers[i]), rate);
    }
    return rate;
}

static ir_value build_polynomial_decay(const schedule *s)
{
    ir_graph *g = s->g;
    double steps = number(s, "decay_steps"), end = number(s, "end_learning_rate");
    ir_value p;
    if (number(s, "cycle") != 0) {
        ir_value first = ir_build_compare(g, "EQ", s->step, scalar(s, 0));
        ir_value cycles = ir_build_unary(g, OP_ceil, step_over(s, "decay_steps"));
        p = opt_div(g, s->step, opt_scale(g, ir_build_select(g, first, scalar(s, 1), cycles), steps));
    } else {
        p = ir_build_binary_scalar(g, OP_divide, ir_build_binary_scalar(g, OP_minimum, s->step, steps),
                                   steps);
    }
    ir_value power = ir_build_binary_scalar(g, OP_power, opt_from(g, 1, p), number(s, "power"));
    return opt_plus(g, opt_scale(g, power, (float)number(s, "initial_learning_rate") - (float)end), end);
}

/* from * ((1 - alpha) * (1 + cos(pi fraction)) / 2 * factor + alpha) */
static ir_value follow_cosine(const schedule *s, double from, ir_value fraction, ir_value factor)
{
    ir_graph *g = s->g;
    double alpha = number(s, "alpha");
    ir_value wave = opt_plus(g, ir_build_unary(g, OP_cosine, opt_scale(g, fraction, pi)), 1);
    wave = factor == IR_NONE ? opt_scale(g, wave, 0.5) : opt_mul(g, opt_scale(g, factor, 0.5), wave);
    return opt_scale(g, opt_plus(g, opt_scale(g, wave, 1 - alpha), alpha), from);
}

static ir_value build_cosine_decay(const schedule *s)
{
    ir_graph *g = s->g;
    double from = number(s, "initial_learning_rate"), steps = number(s, "decay_steps");
    double warmup = number(s, "warmup_steps"), target = number(s, "warmup_target");
    if (ir_record_find(s->r, "warmup_target") == NULL) {
        ir_value step = ir_build_binary_scalar(g, OP_minimum, s->step, steps);
        return follow_cosine(s, from, ir_build_binary_scalar(g, OP_divide, step, steps), IR_NONE);
    }
    ir_value step = ir_build_binary_scalar(g, OP_minimum, s->step, steps + warmup);
    ir_value after = ir_build_binary_scalar(g, OP_divide, opt_plus(g, step, -warmup), steps);
    ir_value decayed = follow_cosine(s, target, after, IR_NONE);
    if (warmup <= 0) return decayed;
    ir_value part = ir_build_binary_scalar(g, OP_divide, step, warmup);
    ir_value rising = opt_plus(g, opt_scale(g, part, (float)target - (float)from), from);
    ir_value early = ir_build_compare(g, "LT", step, scalar(s, warmup));
    return ir_build_select(g, early, rising, decayed);
}

/* Each restart's period is t_mul times the one before, and its height m_mul times. */
static ir_value build_cosine_decay_restarts(const schedule *s)
{
    ir_graph *g = s->g;
    double t_mul = number(s, "t_mul"), m_mul = number(s, "m_mul");
    ir_value fraction = step_over(s, "first_decay_steps"), restart;
    if (t_mul == 1) {
        restart = ir_build_unary(g, OP_floor, fraction);
        fraction = opt_sub(g, fraction, restart);
    } else {
        ir_value grown = opt_from(g, 1, opt_scale(g, fraction, 1.0f - (float)t_mul));
        ir_value power = ir_build_binary(g, OP_divide, ir_build_unary(g, OP_log, grown),
                                         ir_build_unary(g, OP_log, scalar(s, t_mul)));
        restart = ir_build_unary(g, OP_floor, power);
        ir_value length = ir_build_binary(g, OP_power, scalar(s, t_mul), restart);
        ir_value start = ir_build_binary_scalar(g, OP_divide, opt_from(g, 1, length), 1.0f - (float)t_mul);
        fraction = opt_div(g, opt_sub(g, fraction, start), length);
    }
    ir_value height = ir_build_binary(g, OP_power, scalar(s, m_mul), restart);
    return follow_cosine(s, number(s, "initial_learning_rate"), fraction, height);
}

static const struct {
    const char *name;
    ir_value (*build)(const schedule *s);
} schedules[] = {
    {"exponential_decay", build_exponential_decay},
    {"inverse_time_decay", build_inverse_time_decay},
    {"piecewise_constant_decay", build_piecewise_constant_decay},
    {"polynomial_decay", build_polynomial_decay},
    {"cosine_decay", build_cosine_decay},
    {"cosine_decay_restarts", build_cosine_decay_restarts},
};

ir_value schedule_build(ir_graph *g, const ir_record *record, ir_value iteration)
{
    schedule s = {
        .g = g, .r = record, .iteration = iteration, .step = ir_build_convert(g, iteration, DTYPE_f32)};
    for (size_t i = 0; i < countof(schedules); i++) {
        if (strcmp(schedules[i].name, record->name) == 0) return schedules[i].build(&s);
    }
    bug("unknown schedule %s", record->name);
}
