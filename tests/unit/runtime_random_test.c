/* runtime_random_test.c: initializers against numbers that Keras on TensorFlow made (seeds as in the table).
 */
#include "initializers.h"
#include "test.h"

#include <math.h>

static const tfcc_setting seed_7[] = {{.key = "seed", .number = 7}};
static const tfcc_setting seed_big[] = {{.key = "seed", .text = "1099511627779"}};
static const tfcc_setting seed_negative[] = {{.key = "seed", .number = -5}};
static const tfcc_setting normal_3[] = {
    {.key = "seed", .number = 3}, {.key = "mean", .number = 1}, {.key = "stddev", .number = 2}};
static const tfcc_setting seed_9[] = {{.key = "seed", .number = 9}};
static const tfcc_setting seed_1[] = {{.key = "seed", .number = 1}};
static const tfcc_setting value_3[] = {{.key = "value", .number = 0.3}};
static const tfcc_setting gain_2[] = {{.key = "gain", .number = 2}};

enum { COMPARED = 3 };
static const struct {
    tfcc_variable variable;
    float want[COMPARED]; /* the first elements */
} cases[] = {
#define CASE(name, settings, count, shape_rank, d0, d1, ...)                                                 \
    {                                                                                                        \
        {.path = name,                                                                                       \
         .initializer = name,                                                                                \
         .setting = settings,                                                                                \
         .setting_count = count,                                                                             \
         .shape = {.dtype = TFCC_F32, .rank = shape_rank, .dim = {d0, d1}}},                                 \
            __VA_ARGS__                                                                                      \
    }
    CASE("truncated_normal", seed_7, 1, 2, 64, 11, {-0.0337086394f, -0.0179346278f, -0.093979083f}),
    CASE("truncated_normal", seed_big, 1, 2, 64, 2, {0.0137632666f, -0.0255899783f, 0.0617930107f}),
    CASE("random_uniform", seed_negative, 1, 2, 4, 4, {-0.0280411839f, 0.00277700275f, 0.0134700276f}),
    CASE("random_normal", normal_3, 3, 2, 5, 7, {-0.34316957f, 4.35210085f, -0.888490915f}),
    CASE("orthogonal", seed_9, 1, 2, 12, 33, {-0.106185079f, -0.257264555f, 0.0427560471f}),
    CASE("orthogonal", seed_9, 1, 2, 33, 12, {-0.106185079f, -0.0777884647f, -0.160157442f}),
    CASE("glorot_uniform", seed_1, 1, 2, 30, 20, {0.262224317f, -0.0277265012f, 0.0694838166f}),
    CASE("he_normal", seed_7, 1, 2, 64, 65, {-0.135487214f, -0.0720857605f, -0.377735972f}),
    CASE("lecun_normal", seed_7, 1, 2, 64, 65, {-0.0958039314f, -0.0509723313f, -0.267099649f}),
    CASE("variance_scaling", seed_7, 1, 2, 6, 5, {-0.312894315f, -0.166474938f, -0.872343838f}),
    CASE("glorot_normal", seed_1, 1, 2, 30, 20, {0.0287964083f, -0.112096906f, 0.143513486f}),
    CASE("he_uniform", seed_7, 1, 2, 3, 5, {0.698844314f, 0.486999035f, -1.25078833f}),
    CASE("lecun_uniform", seed_1, 1, 2, 30, 20, {0.239376932f, -0.025310725f, 0.0634297431f}),
    CASE("zeros", NULL, 0, 2, 3, 2, {0, 0, 0}),
    CASE("ones", NULL, 0, 2, 3, 2, {1, 1, 1}),
    CASE("constant", value_3, 1, 2, 3, 2, {0.3f, 0.3f, 0.3f}),
    CASE("identity", gain_2, 1, 2, 2, 3, {2, 0, 0}),
#undef CASE
};

static void check_case(rt *r, pool *p, uint64_t i)
{
    const tfcc_variable *v = &cases[i].variable;
    float *got = rt_alloc(r, rt_shape_bytes(&v->shape, 1), "a variable");
    TEST_CHECK(initializer_run(r, p, i, 0, got), "%s: failed", v->path);
    for (int k = 0; k < COMPARED; k++) {
        TEST_CHECK(fabsf(got[k] - cases[i].want[k]) <= 3e-7f, "%s[%d]: %.9g, TensorFlow has %.9g", v->path, k,
                   (double)got[k], (double)cases[i].want[k]);
    }
}

/* The state of a seed generator: the seed and a counter. */
static void check_seed(void)
{
    static const tfcc_variable variable = {.path = "seed",
                                           .initializer = "seed",
                                           .setting = seed_7,
                                           .setting_count = 1,
                                           .shape = {.dtype = TFCC_I64, .rank = 1, .dim = {2}}};
    tfcc_program program = {.variable = &variable, .variable_count = 1};
    rt r;
    int64_t state[2] = {-1, -1};
    rt_init(&r, "test", &program);
    pool *p = pool_open(&r, 1, 0);
    TEST_CHECK(initializer_run(&r, p, 0, 4, state), "seed failed");
    TEST_CHECK(state[0] == 7 && state[1] == 0, "found the state %lld, %lld", (long long)state[0],
               (long long)state[1]);
    pool_close(p);
    rt_done(&r);
}

/* Without a seed of its own a variable's values come from the run's seed and its number. */
static void check_unseeded(void)
{
    static const tfcc_variable variables[2] = {
        {.path = "a", .initializer = "random_normal", .shape = {.dtype = TFCC_F32, .rank = 1, .dim = {8}}},
        {.path = "b", .initializer = "random_normal", .shape = {.dtype = TFCC_F32, .rank = 1, .dim = {8}}}};
    tfcc_program program = {.variable = variables, .variable_count = 2};
    rt r;
    float a[8], again[8], b[8], other[8];
    rt_init(&r, "test", &program);
    pool *p = pool_open(&r, 1, 0);
    bool made = initializer_run(&r, p, 0, 4, a) && initializer_run(&r, p, 0, 4, again) &&
                initializer_run(&r, p, 1, 4, b) && initializer_run(&r, p, 0, 5, other);
    TEST_CHECK(made, "random_normal failed");
    TEST_CHECK(memcmp(a, again, sizeof a) == 0, "one seed gave two results");
    TEST_CHECK(memcmp(a, b, sizeof a) != 0 && memcmp(a, other, sizeof a) != 0, "two seeds gave one result");
    pool_close(p);
    rt_done(&r);
}

int main(void)
{
    tfcc_variable variables[RT_COUNT(cases)];
    for (size_t i = 0; i < RT_COUNT(cases); i++) variables[i] = cases[i].variable;
    tfcc_program program = {.variable = variables, .variable_count = RT_COUNT(cases)};
    rt r;
    rt_init(&r, "test", &program);
    pool *p = pool_open(&r, 3, 0);
    for (uint64_t i = 0; i < RT_COUNT(cases); i++) check_case(&r, p, i);
    pool_close(p);
    rt_done(&r);
    check_seed();
    check_unseeded();
    return test_report();
}
