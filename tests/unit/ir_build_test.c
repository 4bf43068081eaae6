/* ir_build_test.c: the builders that do more than make one node. */
#include "ir/ir.h"
#include "test.h"

typedef struct fixture {
    arena arena;
    ir_module *m;
    ir_graph *g;
    ir_value image, row; /* f32[N,4,3] and f32[3] */
} fixture;

static void begin(fixture *f)
{
    *f = (fixture){0};
    f->m = ir_module_new(&f->arena, "m");
    const ir_dim image[] = {ir_batch(1), ir_fixed(4), ir_fixed(3)}, row[] = {ir_fixed(3)};
    ir_module_add_port(f->m, (ir_port){.name = "x", .type = ir_type_make(DTYPE_f32, 3, image)});
    ir_module_add_variable(f->m,
                           (ir_variable){.name = "row", .type = ir_type_make(DTYPE_f32, 1, row)});
    f->g = ir_module_add_graph(f->m, "predict");
    f->image = ir_build_parameter(f->g, 0);
    f->row = ir_build_variable(f->g, 0);
}

static void end(fixture *f)
{
    text problems = {0};
    TEST_CHECK(ir_graph_check(f->g, &problems), "%s", text_get(&problems));
    text_done(&problems);
    arena_done(&f->arena);
}

static void check_type(fixture *f, ir_value v, const char *want)
{
    text found = {0};
    ir_type_print(ir_type_of(f->g, v), &found);
    TEST_EQUAL_TEXT(text_get(&found), want);
    text_done(&found);
}

static void check_op(fixture *f, ir_value v, ir_op op)
{
    TEST_CHECK(f->g->node[v].op == op, "found %s, want %s", ir_op_name(f->g->node[v].op),
               ir_op_name(op));
}

static void test_broadcasts(void)
{
    fixture f;
    begin(&f);
    ir_value sum = ir_build_binary(f.g, OP_add, f.row, f.image);
    check_type(&f, sum, "f32[N,4,3]");
    check_op(&f, f.g->node[sum].in[0], OP_broadcast_in_dim);
    TEST_CHECK(f.g->node[sum].in[1] == f.image, "the larger operand is not taken as it is");
    check_type(&f, ir_build_binary_scalar(f.g, OP_multiply, f.image, 2), "f32[N,4,3]");
    ir_value less = ir_build_compare(f.g, "LT", f.image, f.row);
    check_type(&f, less, "i1[N,4,3]");
    check_type(&f, ir_build_select(f.g, less, f.row, ir_build_scalar(f.g, DTYPE_f32, 0)),
               "f32[N,4,3]");
    const ir_dim column[] = {ir_fixed(4), ir_fixed(1)};
    ir_value ones = ir_build_fill(f.g, ir_type_make(DTYPE_f32, 2, column), 1);
    check_type(&f, ir_build_binary(f.g, OP_subtract, ones, f.row), "f32[4,3]");
    ir_type both;
    const ir_dim four[] = {ir_fixed(4)};
    const ir_type t = ir_type_make(DTYPE_f32, 1, four);
    TEST_CHECK(!ir_broadcast_shapes(&t, ir_type_of(f.g, f.row), &both), "4 and 3 broadcast");
    TEST_CHECK(ir_build_convert(f.g, f.row, DTYPE_f32) == f.row,
               "convert to the same type is a node");
    check_type(&f, ir_build_convert(f.g, f.row, DTYPE_bf16), "bf16[3]");
    end(&f);
}

static void test_moves(void)
{
    fixture f;
    begin(&f);
    const int64_t whole[] = {0, 0, 0}, start[] = {0, 1, 0}, limit[] = {-1, 4, -1},
                  steps[] = {1, 2, 1}, ends[] = {-1, -1, -1};
    check_type(&f, ir_build_slice(f.g, f.image, start, limit, steps), "f32[N,2,3]");
    TEST_CHECK(ir_build_slice(f.g, f.image, whole, ends, NULL) == f.image,
               "a whole slice is a node");
    check_type(&f, ir_build_slice_dim(f.g, f.image, 2, 1, 2), "f32[N,4,1]");
    const int64_t swap[] = {0, 2, 1}, same[] = {0, 1, 2}, low[] = {0, 1, 0}, high[] = {0, 0, 2};
    ir_value swapped = ir_build_transpose(f.g, f.image, swap);
    check_type(&f, swapped, "f32[N,3,4]");
    TEST_CHECK(ir_build_transpose(f.g, f.image, same) == f.image,
               "a transpose to the same is a node");
    check_type(&f, ir_build_pad(f.g, f.image, ir_build_scalar(f.g, DTYPE_f32, 0), low, high, NULL),
               "f32[N,5,5]");
    const ir_dim flat[] = {ir_batch(1), ir_fixed(12)};
    check_type(&f, ir_build_reshape(f.g, f.image, 2, flat), "f32[N,12]");
    const ir_value two[] = {f.image, f.image};
    check_type(&f, ir_build_concatenate(f.g, 2, two, 0), "f32[2*N,4,3]");
    const ir_dim batch[] = {ir_batch(1), ir_fixed(2)};
    ir_value rows = ir_build_iota(f.g, ir_type_make(DTYPE_i32, 2, batch), 1);
    const ir_dim table[] = {ir_fixed(9), ir_fixed(5), ir_fixed(6)};
    ir_value filled = ir_build_fill(f.g, ir_type_make(DTYPE_f32, 3, table), 0);
    check_type(&f, ir_build_take_rows(f.g, filled, rows), "f32[N,2,5,6]");
    const int64_t dims[] = {1};
    check_type(&f, ir_build_reverse(f.g, f.image, 1, dims), "f32[N,4,3]");
    end(&f);
}

/* The mean over the batch and 4 rows of ones is one, whatever N: it is computed at run time. */
static void test_reductions(void)
{
    fixture f;
    begin(&f);
    const int64_t dims[] = {1, 0}, last[] = {2};
    check_type(&f, ir_build_reduce(f.g, "add", f.image, 2, dims, false), "f32[3]");
    check_type(&f, ir_build_reduce(f.g, "maximum", f.image, 1, last, true), "f32[N,4,1]");
    TEST_CHECK(ir_build_reduce(f.g, "add", f.image, 0, dims, true) == f.image,
               "a reduce over nothing is a node");
    check_type(&f, ir_build_mean(f.g, f.image, 1, last, false), "f32[N,4]");
    ir_value mean = ir_build_mean(f.g, f.image, 2, dims, true);
    check_type(&f, mean, "f32[1,1,3]");
    check_type(&f, ir_build_arg_reduce(f.g, "maximum", f.image, 2), "i32[N,4]");
    check_type(&f, ir_build_cumulative(f.g, "add", f.image, 1, true, false), "f32[N,4,3]");
    ir_graph_add_output(f.g, "mean", mean);
    float ones[60], row[3];
    for (int i = 0; i < 60; i++) ones[i] = 1;
    const ir_dim shape[] = {ir_fixed(5), ir_fixed(4), ir_fixed(3)};
    const ir_array x = {ir_type_make(DTYPE_f32, 3, shape), ones};
    ir_array variable = {*ir_type_of(f.g, f.row), row}, result;
    ir_interpret(f.g, &f.arena, 5, &x, &variable, &result);
    for (int i = 0; i < 3; i++)
        TEST_CHECK(ir_array_get(&result, i) == 1, "mean %g", ir_array_get(&result, i));
    end(&f);
}

static void test_contractions(void)
{
    fixture f;
    begin(&f);
    const ir_dim kernel[] = {ir_fixed(3), ir_fixed(8)},
                 filter[] = {ir_fixed(2), ir_fixed(3), ir_fixed(8)};
    check_type(
        &f, ir_build_dot(f.g, f.image, ir_build_fill(f.g, ir_type_make(DTYPE_f32, 2, kernel), 1)),
        "f32[N,4,8]");
    const ir_window w = {.spatial = 1,
                         .strides = {1},
                         .low = {1},
                         .base_dilation = {1},
                         .window_dilation = {1},
                         .lhs_layout = "b0f",
                         .rhs_layout = "0io",
                         .out_layout = "b0f",
                         .feature_groups = 1,
                         .batch_groups = 1};
    ir_value k = ir_build_fill(f.g, ir_type_make(DTYPE_f32, 3, filter), 1);
    check_type(&f, ir_build_convolution(f.g, f.image, k, &w), "f32[N,4,8]");
    const int64_t window[] = {1, 2, 1}, strides[] = {1, 2, 1}, none[] = {0, 0, 0};
    ir_value pooled =
        ir_build_reduce_window(f.g, "maximum", f.image, window, strides, none, none, NULL, NULL);
    check_type(&f, pooled, "f32[N,2,3]");
    check_type(
        &f,
        ir_build_select_and_scatter(f.g, "maximum", f.image, pooled, window, strides, none, none),
        "f32[N,4,3]");
    const ir_attr dimension = {.name = ATTR_dimension, .i = 1};
    ir_value sorted = ir_build(f.g, OP_sort, 1, &f.image, 1, &dimension, NULL);
    check_type(&f, ir_build_get(f.g, sorted, 0), "f32[N,4,3]");
    check_type(&f, ir_build_dimension_size(f.g, f.image, 0), "i64[]");
    end(&f);
}

int main(void)
{
    test_broadcasts();
    test_moves();
    test_reductions();
    test_contractions();
    return test_report();
}
