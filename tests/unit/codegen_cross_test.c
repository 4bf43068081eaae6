/* codegen_cross_test.c: code for another processor, run by an emulator where one is installed. */
#include "codegen_run.h"

static const char module_text[] =
    "port x \"x\" : f32[N,5]\ngraph predict {\n  %x = parameter {index=0} : f32[N,5]\n  %e = exponential %x\n"
    "  %s = reduce %e {kind=add, dimensions=[1]}\n  %w = broadcast_in_dim %s {dimensions=[0]} : f32[N,5]\n"
    "  %y = divide %e, %w\n  output \"y\" = %y\n}\n";

/* Softmax of 3 rows of 5; exit status 0 when all is right. */
static const char driver_text[] =
    "#include \"tfcc_rt.h\"\n#include <math.h>\n#include <stdlib.h>\n"
    "int main(void)\n{\n    const tfcc_program *p = tfcc_get_program();\n    const tfcc_graph *g = "
    "p->graph;\n"
    "    float x[15], y[15];\n    char *fixed = calloc(1, g->fixed_bytes + 64), *batch = calloc(3, "
    "g->batch_bytes + 64);\n"
    "    void *scratch = aligned_alloc(64, (p->scratch_bytes + 127) / 64 * 64);\n"
    "    for (int i = 0; i < 15; i++) x[i] = 0.3f * (float)(i % 7) - 1;\n"
    "    for (uint64_t i = 0; i < g->launch_count; i++) {\n        const tfcc_launch *l = &g->launch[i];\n"
    "        void *arg[64];\n        for (uint32_t k = 0; k < l->arg_count; k++) {\n"
    "            const tfcc_place *at = &l->arg[k];\n"
    "            arg[k] = at->space == TFCC_INPUT ? (void *)x : at->space == TFCC_OUTPUT ? (void *)y\n"
    "                     : at->space == TFCC_FIXED ? fixed + at->offset : batch + 3 * at->offset;\n        "
    "}\n"
    "        int64_t rows = l->rows * (l->rows_batch ? 3 : 1);\n"
    "        for (int64_t t = 0; t < (rows + l->grain - 1) / l->grain * l->times; t++) l->run(arg, 3, t, "
    "scratch);\n    }\n"
    "    for (int r = 0; r < 3; r++) {\n        double sum = 0;\n"
    "        for (int i = 0; i < 5; i++) sum += exp(x[5 * r + i]);\n"
    "        for (int i = 0; i < 5; i++)\n            if (!(fabs(y[5 * r + i] - exp(x[5 * r + i]) / sum) < "
    "1e-6)) return 1;\n"
    "    }\n    return 0;\n}\n";

static bool has_tool(const char *name)
{
    char command[128];
    snprintf(command, sizeof command, "command -v %s >/dev/null 2>&1", name);
    return system(command) == 0;
}

static void check_aarch64(void)
{
    char command[1024]; /* tfcc_rt.h lies at a known place from this file */
    snprintf(
        command, sizeof command,
        "aarch64-linux-gnu-gcc -O1 -static -I %.*s/../../runtime/include codegen_cross.c codegen_cross.o "
        "-o codegen_cross.exe -lm",
        (int)(strrchr(__FILE__, '/') - __FILE__), __FILE__);
    arena a = {0};
    diag d = {.arena = &a};
    const codegen_case t = {"aarch64", module_text, 0};
    ir_module *m = codegen_parse(&a, &t);
    const passes_options po = {.level = 2, .verify = 1};
    const codegen_options co = {
        .cpu = "native", .triple = "aarch64-linux-gnu", .level = 2, .threads = 1, .summary = ""};
    bool good = m && passes_run(m, &po, &d) && codegen_write(m, &co, CODEGEN_OBJECT, "codegen_cross.o", &d);
    diag_print(&d, stdout);
    TEST_CHECK(good, "no object for aarch64");
    text driver = {0};
    text_add(&driver, "%s", driver_text);
    good = good && text_write_file(&driver, "codegen_cross.c");
    TEST_CHECK(good && system(command) == 0, "does not link");
    TEST_CHECK(good && system("qemu-aarch64 ./codegen_cross.exe") == 0, "wrong results on aarch64");
    remove("codegen_cross.c");
    remove("codegen_cross.o");
    remove("codegen_cross.exe");
    text_done(&driver);
    arena_done(&a);
}

int main(void)
{
    if (!has_tool("aarch64-linux-gnu-gcc") || !has_tool("qemu-aarch64")) return CODEGEN_SKIP;
    check_aarch64();
    return test_report();
}
