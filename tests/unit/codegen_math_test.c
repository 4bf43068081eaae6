/* codegen_math_test.c: the elementary functions of kernels against libm in float64, over numbers of all sizes: the errors
 * that codegen/cpu_math.c states, and what becomes of infinities, zeros and NaN. Flushing numbers below the normal range to
 * zero, as programs do, is allowed. */
#include "codegen_run.h"

#include <float.h>

static double logistic(double x) { return 1 / (1 + exp(-x)); }

/* Numbers from low to high are compared; `ulp` is what is stated. near: nothing is promised beyond. */
static const struct function {
    const char *name;
    double (*exact)(double);
    double ulp, low, high;
    bool near;
} functions[] = {
    {"exponential", exp, 1.01, -HUGE_VAL, 88.72, false},
    {"exponential_minus_one", expm1, 2, -HUGE_VAL, 88.72, false},
    {"logistic", logistic, 2, -HUGE_VAL, HUGE_VAL, false},
    {"tanh", tanh, 2, -HUGE_VAL, HUGE_VAL, false},
    {"log", log, 1, 0, HUGE_VAL, false},
    {"log_plus_one", log1p, 3, -1, HUGE_VAL, false},
    {"erf", erf, 4, -HUGE_VAL, HUGE_VAL, false},
    {"sine", sin, 2, -1e9, 1e9, true},
    {"cosine", cos, 2, -1e9, 1e9, true},
    {"tan", tan, 4, -1e9, 1e9, true},
};

enum { BATCH = 1 << 15, STEP = 4099, SPECIAL = 8, TEXT = 4096 };
static const float special[SPECIAL] = {NAN, INFINITY, -INFINITY, 0, -0.0f, FLT_MAX, -FLT_MAX, 1};

static double ulps(float got, double want)
{
    int exponent;
    if (fabs(want) < FLT_MIN) return fabs((double)got) <= FLT_MIN ? 0 : HUGE_VAL;
    frexp(fabs(want), &exponent);
    return fabs((double)got - want) / ldexp(1, exponent - FLT_MANT_DIG);
}

static void check_special(const struct function *f, const char *cpu, const float *x, const float *y)
{
    for (int i = 0; i < SPECIAL; i++) {
        const float want = (float)f->exact((double)x[i]);
        if (f->near && isfinite(x[i]) && fabs((double)x[i]) > f->high) continue;
        const bool tiny = want == 0 && x[i] != 0 && fabs((double)y[i]) < FLT_MIN;
        const bool same = isnan(want) ? isnan(y[i]) : !isinf(want) && want != 0 ? true : tiny || y[i] == want;
        const bool zero = want == 0 && x[i] == 0 && !signbit(x[i]) != !signbit(y[i]);
        TEST_CHECK(same && !zero, "%s on %s: %g gives %g, not %g", f->name, cpu, (double)x[i], (double)y[i], (double)want);
    }
}

static void check_batch(const struct function *f, const char *cpu, const float *x, const float *y)
{
    double worst = 0;
    int where = 0;
    for (int i = SPECIAL; i < BATCH; i++) {
        if (isnan(x[i]) || (double)x[i] < f->low || (double)x[i] > f->high || fabs((double)x[i]) < FLT_MIN) continue;
        const double error = isinf(x[i]) ? 0 : ulps(y[i], f->exact((double)x[i]));
        if (!(error <= worst)) worst = error, where = i;
    }
    TEST_CHECK(worst <= f->ulp, "%s on %s: %.3f ulp at %.9g", f->name, cpu, worst, (double)x[where]);
    check_special(f, cpu, x, y);
}

static void run(const tfcc_program *p, const char *cpu, float *x, float *const *y)
{
    arena a = {0};
    const ir_type t = {.dtype = DTYPE_f32, .rank = 1, .dim = {ir_fixed(BATCH)}};
    ir_array port = {.type = t, .data = x}, output[countof(functions)];
    for (size_t i = 0; i < countof(functions); i++) output[i] = (ir_array){.type = t, .data = y[i]};
    const tfcc_graph *g = &p->graph[0];
    const codegen_memory memory = {.port = &port, .output = output, .fixed = codegen_block(&a, g->fixed_bytes),
                                   .batch = codegen_block(&a, g->batch_bytes * BATCH),
                                   .scratch = codegen_block(&a, p->scratch_bytes)};
    for (uint64_t i = 0; i < g->launch_count; i++) codegen_launch(&memory, p, &g->launch[i], BATCH);
    for (size_t i = 0; i < countof(functions); i++) check_batch(&functions[i], cpu, x, y[i]);
    arena_done(&a);
}

static void check(const char *cpu)
{
    arena a = {0};
    char *source = arena_alloc(&a, TEXT);
    float *x = arena_array(&a, float, BATCH), *y[countof(functions)];
    const tfcc_program *program = NULL;
    int at = snprintf(source, TEXT, "port x \"x\" : f32[N]\ngraph predict {\n  %%x = parameter {index=0} : f32[N]\n");
    for (size_t i = 0; i < countof(functions); i++) {
        y[i] = arena_array(&a, float, BATCH);
        at += snprintf(source + at, TEXT - (size_t)at, "  %%y%d = %s %%x\n  output \"%s\" = %%y%d\n", (int)i, functions[i].name,
                       functions[i].name, (int)i);
    }
    snprintf(source + at, TEXT - (size_t)at, "}\n");
    const codegen_case c = {"elementary functions", source, 0};
    void *handle = codegen_load(&a, &c, NULL, cpu, &program);
    uint32_t bits = 0;
    for (uint64_t done = 0; handle && done < UINT64_C(1) << 32; done += (uint64_t)STEP * (BATCH - SPECIAL)) {
        memcpy(x, special, sizeof special);
        for (int i = SPECIAL; i < BATCH; i++, bits += STEP) memcpy(&x[i], &bits, sizeof bits);
        run(program, cpu, x, y);
    }
    if (handle) dlclose(handle);
    arena_done(&a);
}

int main(void)
{
    check("native");
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) check("haswell");
#endif
    return test_report();
}
