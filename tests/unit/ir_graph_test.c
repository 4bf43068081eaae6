/* ir_graph_test.c: tables, modules, records, and the operations on whole graphs. */
#include "ir/ir.h"
#include "test.h"

static ir_graph *parse(arena *a, const char *source)
{
    diag d = {.arena = a};
    ir_module *m = ir_module_parse(a, source, strlen(source), &d);
    TEST_CHECK(m != NULL, "%s", d.count ? d.message[0] : "no graph");
    return m ? m->graph[0] : NULL;
}

static void check_print(const ir_graph *g, const char *want)
{
    text t = {0};
    ir_graph_print(g, &t);
    TEST_EQUAL_TEXT(text_get(&t), want);
    text_done(&t);
}

static void test_tables(void)
{
    bool required = false;
    for (int i = 0; i < OP_COUNT; i++) {
        ir_op op;
        TEST_CHECK(ir_op_find(ir_op_name((ir_op)i), &op) && op == (ir_op)i, "op %d", i);
    }
    for (int i = 0; i < DTYPE_COUNT; i++) {
        ir_dtype t;
        TEST_CHECK(ir_dtype_find(ir_dtype_name((ir_dtype)i), &t) && t == (ir_dtype)i, "dtype %d",
                   i);
        TEST_CHECK(ir_dtype_find_keras(ir_dtype_keras_name((ir_dtype)i), &t) && t == (ir_dtype)i,
                   "dtype %d", i);
    }
    TEST_CHECK(ir_op_has_attr(OP_reduce, ATTR_kind, &required) && required, "kind of reduce");
    TEST_CHECK(ir_op_has_attr(OP_reduce, ATTR_splits, &required) && !required, "splits of reduce");
    TEST_CHECK(!ir_op_has_attr(OP_reduce, ATTR_dimension, NULL), "dimension of reduce");
    TEST_CHECK(ir_op_class(OP_reshape) == CLASS_VIEW && ir_op_arity(OP_concatenate) == -1,
               "columns");
}

static void test_types(void)
{
    const ir_dim dims[] = {ir_batch(2), ir_fixed(3)}, twice[] = {ir_batch(1), ir_batch(1)};
    const ir_dim large[] = {ir_fixed(INT64_MAX / 2), ir_fixed(3)};
    const ir_type t = ir_type_make(DTYPE_f32, 2, dims), square = ir_type_make(DTYPE_f32, 2, twice);
    const ir_type huge = ir_type_make(DTYPE_f32, 2, large);
    ir_dim n;
    TEST_CHECK(ir_type_elements(&t, &n) && n.count == 6 && n.batch, "elements");
    TEST_CHECK(ir_type_elements_at(&t, 5) == 30, "elements at 5");
    TEST_CHECK(!ir_type_elements(&square, &n) && !ir_type_elements(&huge, &n), "N twice, overflow");
}

static void test_names(void)
{
    arena a = {0};
    ir_module *m = ir_module_new(&a, "m");
    static const char *const given[] = {"k", "k", "k_1", "k", "dense/kernel:0", "9"};
    static const char *const want[] = {"k", "k_1", "k_1_1", "k_2", "dense_kernel_0", "v9"};
    for (size_t i = 0; i < countof(given); i++) {
        ir_module_add_variable(m, (ir_variable){.name = given[i]});
        TEST_EQUAL_TEXT(m->variable[i].name, want[i]);
    }
    arena_done(&a);
}

static void test_records(void)
{
    arena a = {0};
    ir_record *r = ir_record_new(&a, "adam"), *inner = ir_record_new(&a, "schedule");
    ir_record_add_number(&a, r, "rate", 0.5);
    ir_record_add_text(&a, r, "mode", "min");
    ir_record_add_record(&a, r, "inner", inner);
    TEST_CHECK(ir_record_number(r, "rate", 0) == 0.5 && ir_record_number(r, "mode", 7) == 7,
               "numbers");
    TEST_EQUAL_TEXT(ir_record_text(r, "mode", ""), "min");
    TEST_CHECK(ir_record_record(r, "inner") == inner && !ir_record_find(r, "none"), "records");
    arena_done(&a);
}

static void test_sweep(void)
{
    arena a = {0};
    ir_graph *g = parse(
        &a, "variable @v : f32[]\n graph g { %a = variable {index=0} : f32[] %dead = negate %a "
            "%b = abs %a %c = add %b, %b update @v = %b loss %c gradient @v = none }");
    ir_replace_uses(g, 2, 0);
    ir_graph_sweep(g);
    check_print(g, "graph g {\n  %0 = variable {index=@v} : f32[]\n  %1 = add %0, %0 : f32[]\n  "
                   "update @v = %0\n"
                   "  loss %1\n  gradient @v = none\n}\n");
    ir_graph_add_update(g, 0, 1);
    TEST_CHECK(g->update_count == 1 && g->update[0].value == 1, "an update is not replaced");
    arena_done(&a);
}

static void test_filled(void)
{
    arena a = {0};
    ir_graph *g = parse(&a, "graph g { %0 = constant {data=0.5} : f16[] %1 = broadcast_in_dim %0 "
                            "{dimensions=[]} : f16[N,3] "
                            "%2 = reshape %1 : f16[3*N] %3 = constant {data=[2, 2]} : i32[2] %4 = "
                            "constant {data=[2, 3]} : i32[2] "
                            "%5 = negate %3 }");
    double x = 0;
    TEST_CHECK(ir_is_filled(g, 2, &x) && x == 0.5 && ir_is_filled_with(g, 3, 2), "filled");
    TEST_CHECK(!ir_is_filled(g, 4, &x) && !ir_is_filled(g, 5, &x) && !ir_is_filled_with(g, 3, 3),
               "not filled");
    arena_done(&a);
}

/* A copy into another arena outlives the first one, bodies included. */
static void test_copy(void)
{
    arena a = {0}, b = {0};
    ir_graph *from =
        parse(&a, "graph g { %0 = parameter {index=0} : i32[] %1 = while %0 {condition=graph c { "
                  "%0 = parameter {index=0} : i32[] %1 = compare %0, %0 {direction=LT} output r = "
                  "%1 }, body=graph b { "
                  "%0 = parameter {index=0} : i32[] output i = %0 }} }");
    ir_graph *g = ir_graph_new(&b, "copy", NULL);
    ir_value renamed[2];
    for (ir_value v = 0; v < 2; v++) renamed[v] = ir_graph_copy_node(g, from, v, renamed);
    text t = {0};
    ir_graph_print(from, &t);
    TEST_CHECK(strncmp(text_get(&t), "graph g", 7) == 0, "print");
    arena_done(&a);
    text copy = {0};
    ir_graph_print(g, &copy);
    TEST_EQUAL_TEXT(text_get(&copy) + strlen("graph copy"), text_get(&t) + strlen("graph g"));
    text_done(&t);
    text_done(&copy);
    arena_done(&b);
}

static void test_check(void)
{
    arena a = {0};
    ir_graph *g = parse(&a, "variable @v : f32[2]\n graph g { %0 = variable {index=0} : f32[2] %1 "
                            "= negate %0 output r = %1 }");
    text problems = {0};
    g->node[1].type = ir_type_scalar(DTYPE_f32);
    ir_graph_add_update(g, 0, 1);
    ir_graph_add_update(g, 3, 1);
    g->loss = 9;
    TEST_CHECK(!ir_graph_check(g, &problems), "a broken graph passes");
    TEST_EQUAL_TEXT(text_get(&problems), "graph g: %1 negate: its rule gives f32[2]\n"
                                         "graph g: %1 negate: update @v is of another type\n"
                                         "graph g: update of variable 3, which there is not\n"
                                         "graph g: the loss is no value\n");
    text_clear(&problems);
    const ir_value in = 1;
    g->node[1].in = &in;
    TEST_CHECK(!ir_graph_check(g, &problems) &&
                   strstr(text_get(&problems), "operand 0, %1, is not before it"),
               "%s", text_get(&problems));
    text_done(&problems);
    arena_done(&a);
}

int main(void)
{
    test_tables();
    test_types();
    test_names();
    test_records();
    test_sweep();
    test_filled();
    test_copy();
    test_check();
    return test_report();
}
