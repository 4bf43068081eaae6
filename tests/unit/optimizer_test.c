/* optimizer_test.c: four steps of every optimizer by the interpreter, against the numbers that Keras gives;
 * schedules and constraints likewise. The gradient is 0.5 w + 0.25. */
#include "ir/ir.h"
#include "passes/optimizer.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>

/* "key=number key=number" */
static void add_fields(arena *a, ir_record *r, const char *fields)
{
    while (*fields) {
        const size_t key = strcspn(fields, "=");
        char *end;
        ir_record_add_number(a, r, arena_strndup(a, fields, key), strtod(fields + key + 1, &end));
        fields = end + (*end == ' ');
    }
}

static bool is_near(double got, double want) { return fabs(got - want) <= 2e-5 + 2e-5 * fabs(want); }

typedef struct fixture {
    arena a;
    ir_module *m;
    ir_graph *g;
    ir_array variable[8];
} fixture;

static const float start[4] = {1, -2, 0.5F, 3};

/* A module with one weight of 2 x 2, its gradient listed in train_step. */
static void begin(fixture *f, const char *optimizer, const char *fields, const ir_record *constraint)
{
    *f = (fixture){.m = NULL};
    f->m = ir_module_new(&f->a, "m");
    ir_record *r = ir_record_new(&f->a, optimizer);
    add_fields(&f->a, r, fields);
    f->m->optimizer = r;
    const ir_dim dim[2] = {ir_fixed(2), ir_fixed(2)};
    const ir_variable v = {.name = "kernel",
                           .path = "dense/kernel",
                           .type = ir_type_make(DTYPE_f32, 2, dim),
                           .trainable = true,
                           .data = start,
                           .constraint = constraint};
    ir_module_add_variable(f->m, v);
    f->g = ir_module_add_graph(f->m, "train_step");
    const ir_value w = ir_build_variable(f->g, 0);
    const ir_value half = ir_build_binary_scalar(f->g, OP_multiply, w, 0.5);
    const ir_binding b = {0, ir_build_binary_scalar(f->g, OP_add, half, 0.25)};
    arena_push(&f->a, f->g->gradient, f->g->gradient_count, f->g->gradient_capacity, b);
}

/* The runtime's part: memory for the variables, filled as their records say. */
static void start_variables(fixture *f)
{
    for (size_t i = 0; i < f->m->variable_count && i < countof(f->variable); i++) {
        const ir_variable *v = &f->m->variable[i];
        f->variable[i].type = v->type;
        const int64_t count = ir_array_count(&f->variable[i]);
        f->variable[i].data = arena_alloc_many(&f->a, (size_t)count, ir_dtype_size(v->type.dtype));
        for (int64_t k = 0; k < count; k++) {
            const double value = v->data ? start[k] : ir_record_number(v->initializer, "value", 0);
            ir_array_set(&f->variable[i], k, value);
        }
    }
}

static bool run_passes(fixture *f)
{
    diag d = {.arena = &f->a};
    const passes_options options = {.only = "gradient_pipeline,optimizer", .verify = 1};
    return passes_run(f->m, &options, &d);
}

/* ---- optimizers ------------------------------------------------------------------------------ */

static const struct {
    const char *name, *fields;
    size_t variables; /* of the optimizer */
    double want[4];   /* the weight after four steps */
} optimizers[] = {
    {"sgd", "learning_rate=0.1", 2, {0.7217594, -1.721759, 0.3145062, 2.350772}},
    {"sgd", "learning_rate=0.1 momentum=0.9 nesterov=1", 3, {0.2112267, -1.211227, -0.02584885, 1.159529}},
    {"sgd", "learning_rate=0.1 clipnorm=0.5", 2, {0.9287932, -1.928793, 0.4525287, 2.833851}},
    {"sgd", "learning_rate=0.1 clipvalue=0.4", 2, {0.8399999, -1.84, 0.34, 2.84}},
    {"sgd", "learning_rate=0.1 global_clipnorm=0.7", 2, {0.9003103, -1.900311, 0.4335402, 2.767391}},
    {"sgd", "learning_rate=0.1 weight_decay=0.2", 2, {0.6580706, -1.586085, 0.2840446, 2.154175}},
    {"sgd", "learning_rate=0.1 gradient_accumulation_steps=2", 3, {0.85375, -1.85375, 0.4025, 2.65875}},
    {"sgd",
     "learning_rate=0.1 use_ema=1 ema_momentum=0.5 ema_overwrite_frequency=2",
     3,
     {0.8042758, -1.804276, 0.3695171, 2.54331}},
    {"rm_sprop",
     "learning_rate=0.01 rho=0.8 momentum=0.5 epsilon=1e-7 centered=1",
     5,
     {0.8677334, -1.867733, 0.3684786, 2.866915}},
    {"adam",
     "learning_rate=0.1 beta_1=0.9 beta_2=0.999 epsilon=1e-7 amsgrad=1",
     5,
     {0.6022031, -1.602203, 0.1039438, 2.600765}},
    {"adam_w",
     "learning_rate=0.1 beta_1=0.9 beta_2=0.999 epsilon=1e-7 weight_decay=0.05",
     4,
     {0.585477, -1.565782, 0.09712727, 2.544334}},
    {"adamax",
     "learning_rate=0.1 beta_1=0.9 beta_2=0.999 epsilon=1e-7",
     4,
     {0.6206241, -1.620624, 0.1309732, 2.608582}},
    {"nadam",
     "learning_rate=0.1 beta_1=0.9 beta_2=0.999 epsilon=1e-7",
     5,
     {0.6857413, -1.685741, 0.1917187, 2.679436}},
    {"adagrad",
     "learning_rate=0.1 initial_accumulator_value=0.1 epsilon=1e-7",
     3,
     {0.7442009, -1.744201, 0.2623814, 2.728132}},
    {"adadelta", "learning_rate=1 rho=0.95 epsilon=1e-7", 4, {0.9942602, -1.99426, 0.4942627, 2.994257}},
    {"ftrl",
     "learning_rate=0.1 learning_rate_power=-0.4 initial_accumulator_value=0.1 "
     "l1_regularization_strength=0.01 l2_regularization_strength=0.02 "
     "l2_shrinkage_regularization_strength=0.03 beta=0.1",
     4,
     {0.2668478, -0.7871557, 0.0003009164, 1.807743}},
    {"lion", "learning_rate=0.01 beta_1=0.9 beta_2=0.99", 3, {0.96, -1.96, 0.46, 2.96}},
    {"lamb",
     "learning_rate=0.1 beta_1=0.9 beta_2=0.999 epsilon=1e-7",
     4,
     {0.3329835, -1.332983, -0.1588137, 2.327303}},
    {"adafactor",
     "learning_rate=0.1 beta_2_decay=-0.8 epsilon_1=1e-30 epsilon_2=0.001 "
     "clip_threshold=1 relative_step=1",
     5,
     {0.05996373, -1.512438, 0.1053324, 2.341117}},
};

static void test_optimizers(void)
{
    for (size_t i = 0; i < countof(optimizers); i++) {
        fixture f;
        begin(&f, optimizers[i].name, optimizers[i].fields, NULL);
        TEST_CHECK(run_passes(&f), "%s: the passes failed", optimizers[i].name);
        TEST_CHECK(f.m->variable_count == optimizers[i].variables + 1,
                   "%s: expected %zu variables, found %zu", optimizers[i].name, optimizers[i].variables,
                   f.m->variable_count - 1);
        start_variables(&f);
        for (int step = 0; step < 4; step++) ir_interpret(f.g, &f.a, 1, NULL, f.variable, NULL);
        for (int k = 0; k < 4; k++) {
            const double got = ir_array_get(&f.variable[0], k);
            TEST_CHECK(is_near(got, optimizers[i].want[k]), "%s {%s}: element %d: expected %g, found %g",
                       optimizers[i].name, optimizers[i].fields, k, optimizers[i].want[k], got);
        }
        arena_done(&f.a);
    }
}

static void check_place(const ir_module *m, size_t i, const char *path, const char *h5)
{
    TEST_EQUAL_TEXT(m->variable[i].path, path);
    TEST_EQUAL_TEXT(m->variable[i].h5, h5);
}

/* The order in which Keras numbers the variables in a weights file. */
static void test_order(void)
{
    fixture f;
    begin(&f, "adam", "learning_rate=0.1 amsgrad=1 use_ema=1 gradient_accumulation_steps=2", NULL);
    TEST_CHECK(run_passes(&f), "the passes failed");
    static const char *const paths[] = {"adam/iteration",
                                        "adam/learning_rate",
                                        "adam/dense_kernel_average",
                                        "adam/dense_kernel_gradient_accumulator",
                                        "adam/dense_kernel_momentum",
                                        "adam/dense_kernel_velocity",
                                        "adam/dense_kernel_velocity_hat"};
    TEST_CHECK(f.m->variable_count == countof(paths) + 1, "found %zu variables", f.m->variable_count);
    for (size_t i = 0; i < countof(paths) && i + 1 < f.m->variable_count; i++)
        check_place(f.m, i + 1, paths[i], arena_printf(&f.a, "optimizer/vars/%zu", i));
    arena_done(&f.a);
}

/* ---- schedules ------------------------------------------------------------------------------- */

static const struct {
    const char *name, *fields;
    double want[5]; /* at steps 0 to 4 */
} schedules[] = {
    {"exponential_decay",
     "initial_learning_rate=0.1 decay_steps=2 decay_rate=0.5",
     {0.1, 0.07071068, 0.05, 0.03535534, 0.025}},
    {"inverse_time_decay",
     "initial_learning_rate=0.1 decay_steps=2 decay_rate=0.5 staircase=1",
     {0.1, 0.1, 0.06666667, 0.06666667, 0.05}},
    {"polynomial_decay",
     "initial_learning_rate=0.1 decay_steps=2 end_learning_rate=0.01 power=1.5 "
     "cycle=1",
     {0.1, 0.0418198, 0.01, 0.02125, 0.01}},
    {"polynomial_decay",
     "initial_learning_rate=0.1 decay_steps=3 end_learning_rate=0.01 power=2",
     {0.1, 0.05, 0.02, 0.01, 0.01}},
    {"cosine_decay", "initial_learning_rate=0.1 decay_steps=3 alpha=0.1", {0.1, 0.0775, 0.0325, 0.01, 0.01}},
    {"cosine_decay",
     "initial_learning_rate=0.01 decay_steps=3 alpha=0.1 warmup_target=0.1 "
     "warmup_steps=2",
     {0.01, 0.055, 0.1, 0.0775, 0.0325}},
    {"cosine_decay_restarts",
     "initial_learning_rate=0.1 first_decay_steps=2 t_mul=1.5 m_mul=0.5 "
     "alpha=0.1",
     {0.1, 0.055, 0.055, 0.04375, 0.02125}},
    {"cosine_decay_restarts",
     "initial_learning_rate=0.1 first_decay_steps=2 t_mul=1 m_mul=0.5",
     {0.1, 0.05, 0.05, 0.025, 0.025}},
};

static void check_schedule(arena *a, const ir_record *schedule, const double *want)
{
    ir_module *m = ir_module_new(a, "m");
    const ir_variable v = {.name = "iteration", .path = "iteration", .type = ir_type_scalar(DTYPE_i64)};
    ir_graph *g = ir_module_add_graph(m, "g");
    const ir_value iteration = ir_build_variable(g, ir_module_add_variable(m, v));
    ir_graph_add_output(g, "rate", schedule_build(g, schedule, iteration));
    for (int64_t step = 0; step < 5; step++) {
        ir_array variable = {.type = v.type, .data = &step}, rate;
        ir_interpret(g, a, 1, NULL, &variable, &rate);
        TEST_CHECK(is_near(ir_array_get(&rate, 0), want[step]), "%s: step %d: expected %g, found %g",
                   schedule->name, (int)step, want[step], ir_array_get(&rate, 0));
    }
}

static void test_schedules(void)
{
    static const double boundaries[] = {1, 3}, values[] = {0.2, 0.05, 0.01},
                        want[] = {0.2, 0.2, 0.05, 0.05, 0.01};
    arena a = {0};
    for (size_t i = 0; i < countof(schedules); i++) {
        ir_record *r = ir_record_new(&a, schedules[i].name);
        add_fields(&a, r, schedules[i].fields);
        check_schedule(&a, r, schedules[i].want);
    }
    ir_record *r = ir_record_new(&a, "piecewise_constant_decay");
    ir_record_add_numbers(&a, r, "boundaries", countof(boundaries), boundaries);
    ir_record_add_numbers(&a, r, "values", countof(values), values);
    check_schedule(&a, r, want);
    arena_done(&a);
}

/* ---- constraints ----------------------------------------------------------------------------- */

static const struct {
    const char *name, *fields;
    double want[4]; /* of the weight as it starts */
} constraints[] = {
    {"max_norm", "max_value=1.5", {0.9999999, -0.8320503, 0.4999999, 1.248075}},
    {"max_norm", "max_value=1.5 axis=1", {0.6708204, -1.341641, 0.2465985, 1.479591}},
    {"max_norm", "max_value=1.5 axis=-1", {0.6708204, -1.341641, 0.2465985, 1.479591}},
    {"non_neg", "", {1, 0, 0.5, 3}},
    {"unit_norm", "axis=0", {0.8944271, -0.5547002, 0.4472135, 0.8320503}},
    {"min_max_norm", "min_value=1.3 max_value=2 rate=0.5", {1.081378, -1.5547, 0.5406888, 2.33205}},
};

static void test_constraints(void)
{
    for (size_t i = 0; i < countof(constraints); i++) {
        arena a = {0};
        ir_record *r = ir_record_new(&a, constraints[i].name);
        add_fields(&a, r, constraints[i].fields);
        fixture f;
        begin(&f, "sgd", "learning_rate=0", r);
        TEST_CHECK(run_passes(&f), "%s: the passes failed", constraints[i].name);
        start_variables(&f);
        ir_interpret(f.g, &f.a, 1, NULL, f.variable, NULL);
        for (int k = 0; k < 4; k++) {
            const double got = ir_array_get(&f.variable[0], k);
            TEST_CHECK(is_near(got, constraints[i].want[k]), "%s: element %d: expected %g, found %g",
                       constraints[i].name, k, constraints[i].want[k], got);
        }
        arena_done(&f.a);
        arena_done(&a);
    }
}

/* An axis that the weight has not is the user's mistake. */
static void test_refusal(void)
{
    arena a = {0};
    ir_record *r = ir_record_new(&a, "unit_norm");
    ir_record_add_number(&a, r, "axis", 2);
    fixture f;
    begin(&f, "sgd", "learning_rate=0.1", r);
    TEST_CHECK(!run_passes(&f), "axis 2 of a matrix was accepted");
    arena_done(&f.a);
    arena_done(&a);
}

int main(void)
{
    test_optimizers();
    test_order();
    test_schedules();
    test_constraints();
    test_refusal();
    return test_report();
}
