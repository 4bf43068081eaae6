/* ir_text_test.c: what prints reads back to the same bits; what is wrong is refused where it
 * stands. */
#include "ir/ir.h"
#include "test.h"

static ir_module *parse(arena *a, const char *source, size_t length, diag *d)
{
    *d = (diag){.arena = a, .file = "t.tir"};
    return ir_module_parse(a, source, length, d);
}

/* Prints a constant of one element, parses that, and compares the bytes. */
static void check_element(ir_dtype dtype, uint64_t bits)
{
    arena a = {0};
    ir_module *m = ir_module_new(&a, "m");
    ir_graph *g = ir_module_add_graph(m, "g");
    const ir_value made = ir_build_constant(g, ir_type_scalar(dtype), &bits);
    text t = {0};
    diag d;
    ir_module_print(m, &t);
    const ir_module *again = parse(&a, text_get(&t), t.length, &d);
    TEST_CHECK(again, "%s%s", text_get(&t), d.count ? d.message[0] : "");
    if (again) {
        const ir_attr *data = ir_attr_find(ir_node_of(again->graph[0], made), ATTR_data);
        TEST_CHECK(memcmp(data->data.bytes, &bits, ir_dtype_size(dtype)) == 0,
                   "%s: other bits than %llx", text_get(&t), (unsigned long long)bits);
    }
    text_done(&t);
    arena_done(&a);
}

static void test_elements(void)
{
    static const uint64_t f32[] = {0,          0x80000000, 1,          0x007fffff,
                                   0x3f800001, 0x3dcccccd, 0x7f7fffff, 0x7f800000,
                                   0xff800000, 0x7fc00000, 0xffc00000, 0x7f800001};
    static const uint64_t f64[] = {0x8000000000000000, 1,
                                   0x3fb999999999999a, 0x7fefffffffffffff,
                                   0x7ff0000000000000, 0x7ff8000000000000,
                                   0xfff8000000000001};
    for (size_t i = 0; i < countof(f32); i++) check_element(DTYPE_f32, f32[i]);
    for (size_t i = 0; i < countof(f64); i++) check_element(DTYPE_f64, f64[i]);
    for (uint64_t bits = 0; bits < 65536; bits += 97) {
        check_element(DTYPE_f16, bits);
        check_element(DTYPE_bf16, bits);
    }
    for (uint64_t seed = 1, i = 0; i < 500; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        check_element((ir_dtype)(DTYPE_i8 + i % (DTYPE_COUNT - 1)), seed);
    }
    check_element(DTYPE_i1, 1);
    check_element(DTYPE_i64, (uint64_t)INT64_MIN);
    check_element(DTYPE_u64, UINT64_MAX);
}

typedef struct refusal {
    const char *source, *want;
} refusal;

static const refusal refusals[] = {
    {"graph g {\n  %0 = parameter {index=0} : f32[2]\n  %1 = add %0, %2\n}",
     "t.tir:3:16: no value %2 before this"},
    {"graph g {\n  %0 = foo\n}", "t.tir:2:8: no operation \"foo\""},
    {"graph g {\n  %0 = constant {data=[1, x]} : i32[2]\n}",
     "t.tir:2:27: expected a number (i32), found \"x\""},
    {"graph g { %0 = constant {data=[300]} : u8[1] }", "expected a number (u8), found \"300\""},
    {"graph g { %0 = constant {data=\"0x123\"} : i32[2] }", "pairs of hex digits"},
    {"graph g { %0 = constant {data=1} : i32[2]", "expected a node, a result or \"}\""},
    {"graph g { %0 = constant {data=[1", "expected \"]\", found the end"},
    {"graph g { %0 = constant {data=1} : i32[N,N] }", "N twice"},
    {"graph g { %0 = constant {data=1} : i32[99999999999,99999999999] }", "too many elements"},
    {"graph g { %0 = constant {data=1} : i32[-1] }", "-1 is out of range"},
    {"graph g { %0 = constant {data=1} : i32[1,1,1,1,1,1,1,1,1] }", "more than 8 dimensions"},
    {"graph g { %0 = constant {data=1} : i32[] @7 }", "no such origin"},
    {"graph g { %0 = constant {data=1} : i32[] %0 = negate %0 }", "two values %0"},
    {"graph g { %0 = constant {data=1} : i32[] %1 = negate %0 : f32[] }",
     "negate: its type is i32[]"},
    {"graph g { %0 = constant {data=1} : i32[] update @v = %0 }", "no variable @v"},
    {"graph g { %0 = constant {data=1} : i32[] loss %0 }", "the loss is no floating-point scalar"},
    {"graph g { } graph g { }", "two graphs g"},
    {"variable @v : f32[N]", "cannot have the batch size"},
    {"variable @v : f32[2] {data=[1]}", "not of the variable's size"},
    {"variable @v : f32[2] {colour=1}", "no field \"colour\""},
    {"variable @v : f32[] variable @v : f32[]", "two variables @v"},
    {"variable @v : f32[] {path=\"\\q\"}", "bad escape"},
    {"variable @v : f32[] {path=\"open", "found \"\"open\""},
    {"origin @2 \"\" \"\"", "expected @1"},
    {"port z \"a\" : f32[N]", "expected x, y or sample_weight"},
    {"port x \"a\" : f32[N] graph g { %0 = parameter {index=1} : f32[N] }", "no port 1"},
    {"port x \"a\" : f32[N] graph g { %0 = parameter {index=0} : f32[N,2] }",
     "not of the type of port 0"},
    {"variable @v : f32[] graph g { %0 = constant {data=1} : i32[] %1 = while %0 {condition=graph "
     "c { "
     "%0 = parameter {index=0} : i32[] %1 = compare %0, %0 {direction=LT} output r = %1 }, "
     "body=graph b { "
     "%v = variable {index=0} : f32[] %0 = parameter {index=0} : i32[] output i = %0 }} }",
     "a body cannot read variables"},
    {"graph g { %0 = constant {data=1} : f32[N] kernels { 0 loop roots() reads(%0) } }",
     "kernel 0 has no roots"},
    {"graph g { %0 = parameter {index=0} : f32[N] %1 = abs %0 %2 = abs %1 kernels { 0 loop "
     "roots(%2) reads(%1) } }",
     "kernel 0 reads it before it is in memory"},
    {"graph g { %0 = parameter {index=0} : f32[N,2] places fixed 8 batch 4 { place %0 batch 0 } }",
     "does not lie within its place"},
    {"graph g { %0 = parameter {index=0} : f32[N,2] places fixed 8 batch 4 { place %0 nowhere 0 } "
     "}",
     "expected a space"},
    {"\x01", "t.tir:1:1: expected module"},
};

static void test_refusals(void)
{
    for (size_t i = 0; i < countof(refusals); i++) {
        arena a = {0};
        diag d;
        const ir_module *m = parse(&a, refusals[i].source, strlen(refusals[i].source), &d);
        TEST_CHECK(!m && d.count && strstr(d.message[0], refusals[i].want),
                   "%s\n  found: %s\n  want: %s", refusals[i].source,
                   d.count ? d.message[0] : "nothing", refusals[i].want);
        arena_done(&a);
    }
}

/* Text that nests without end is refused before the stack is. */
static void test_depth(void)
{
    text t = {0};
    arena a = {0};
    diag d;
    text_add(&t, "optimizer ");
    for (int i = 0; i < 100000; i++) text_add(&t, "a {a=");
    TEST_CHECK(!parse(&a, text_get(&t), t.length, &d) && strstr(d.message[0], "more than 16 deep"),
               "records");
    text_clear(&t);
    text_add(&t, "graph g {");
    for (int i = 0; i < 100000; i++) text_add(&t, "%%0 = while {body=graph b {");
    TEST_CHECK(!parse(&a, text_get(&t), t.length, &d) && strstr(d.message[0], "more than 16 deep"),
               "bodies");
    text_done(&t);
    arena_done(&a);
}

/* Every prefix of a good module is parsed or refused. */
static void test_prefixes(void)
{
    static const char source[] = "module \"m\" origin @1 \"$.a\" \"Dense \\\"d\\\"\\n\" port x "
                                 "\"x\" : f32[N,2] {classes=3, ignored=-1} "
                                 "variable @v : f32[2] {role=weight, trainable=1, path=\"p\", "
                                 "initializer=u {seed=1, a=[1, 2e-3]}, data=[1, nan]} "
                                 "optimizer sgd {rate=0.1} constants \"0x0011\" graph g { %0 = "
                                 "parameter {index=0} : f32[N,2] @1 "
                                 "%1 = sort %0 {dimension=1} : (f32[N,2]) %2 = get %1 {index=0} : "
                                 "f32[N,2] output \"y\" = %2 "
                                 "kernels { 0 nest roots(%1) main %1 columns 0 reads(%0) } places "
                                 "fixed 16 batch 64 { place %0 input 0 } }";
    for (size_t n = 0; n < sizeof source; n++) {
        arena a = {0};
        diag d;
        const ir_module *m = parse(&a, source, n, &d);
        TEST_CHECK(m || d.count, "neither a module nor an error at %zu", n);
        if (n == sizeof source - 1) TEST_CHECK(m, "%s", d.count ? d.message[0] : "");
        arena_done(&a);
    }
}

int main(void)
{
    test_elements();
    test_refusals();
    test_depth();
    test_prefixes();
    return test_report();
}
