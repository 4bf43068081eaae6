/* ir_shape_test.c: every shape rule on good and bad operands, through the text form. */
#include "ir/ir.h"
#include "test.h"

typedef struct shape_case {
    const char *operands; /* types, one blank apart: %0, %1, ... */
    const char *node;
    const char *want; /* the result's type, or part of the problem's text */
} shape_case;

#define DOT(lb, rb, lc, rc)                                                                        \
    "dot_general %0, %1 {lhs_batch=" lb ", rhs_batch=" rb ", lhs_contracting=" lc                  \
    ", rhs_contracting=" rc
#define CONV(strides, low, high, base, window, lhs, rhs, out, groups)                              \
    "convolution %0, %1 {window_strides=" strides ", padding_low=" low ", padding_high=" high      \
    ", base_dilation=" base ", window_dilation=" window ", window_reversal=0, lhs_layout=\"" lhs   \
    "\", rhs_layout=\"" rhs "\", out_layout=\"" out "\", " groups
#define CONV1(lhs, rhs, out, groups) CONV("[1]", "[0]", "[0]", "[1]", "[1]", lhs, rhs, out, groups)
#define GROUPS(f, b) "feature_group_count=" f ", batch_group_count=" b "}"
#define GATHER(offset, collapsed, ob, ib, map, vector, sizes)                                      \
    "gather %0, %1 {offset_dims=" offset ", collapsed_slice_dims=" collapsed                       \
    ", operand_batching_dims=" ob ", indices_batching_dims=" ib ", start_index_map=" map           \
    ", index_vector_dim=" vector ", sizes=" sizes "}"
#define SCATTER(kind, window, inserted, ob, ib, map, vector)                                       \
    "scatter %0, %1, %2 {kind=" kind ", update_window_dims=" window                                \
    ", inserted_window_dims=" inserted ", operand_batching_dims=" ob ", indices_batching_dims=" ib \
    ", scatter_dims=" map ", index_vector_dim=" vector "}"
#define WINDOW(kind, window, strides, low, high)                                                   \
    "{kind=" kind ", window_dimensions=" window ", window_strides=" strides ", padding_low=" low   \
    ", padding_high=" high
#define BODY(result)                                                                               \
    "body=graph b { %s = parameter {index=0} : f32[4] %x = parameter {index=1} : f32[2] %r = add " \
    "%s, %s " result "}"

static const shape_case cases[] = {
    /* given */
    {"", "constant {data=1.5} : f32[N,3]", "f32[N,3]"},
    {"", "constant {data=[1, 2]} : i32[2]", "i32[2]"},
    {"", "constant {data=[1, 2]} : i32[3]", "expected 3 elements of data"},
    {"", "constant {data=[1, 2]} : i32[2*N]", "only a splat"},
    {"", "constant {data=[]} : i32[0,5]", "i32[0,5]"},
    {"", "constant : i32[2]", "attribute data is missing"},
    {"", "constant {data=1, index=0} : i32[2]", "constant has no attribute index"},
    {"", "constant {data=1, data=1} : i32[2]", "occurs twice"},
    {"", "iota {dimension=1} : i32[N,3]", "i32[N,3]"},
    {"", "iota {dimension=2} : i32[N,3]", "dimension: expected 0 to 1, found 2"},
    {"", "iota {dimension=0} : i32[]", "none is possible"},
    {"", "variable {index=0} : f32[2]", "index"},
    {"i64[2]", "rng_philox %0 : u32[N,4]", "u32[N,4]"},
    {"i64[2]", "rng_philox %0 : f32[N,4]", "gives u32"},
    {"i32[2]", "rng_philox %0 : u32[N,4]", "expected a state"},
    {"f32[N,2]", "convert %0 : i8[N,2]", "i8[N,2]"},
    {"f32[N,2]", "convert %0 : i8[2,N]", "changes the shape"},
    {"f32[N,2]", "convert %0", "expected a stated type"},
    {"f32[2]", "bitcast_convert %0 : u32[2]", "u32[2]"},
    {"f32[2]", "bitcast_convert %0 : u16[2]", "differ in size"},
    /* same, predicate, select, dimension_size */
    {"f32[N,2]", "exponential %0", "f32[N,2]"},
    {"i32[N,2]", "exponential %0", "expected floating point"},
    {"f32[2] f32[2]", "add %0, %1", "f32[2]"},
    {"f32[2] f32[N]", "add %0, %1", "operands of one type"},
    {"f32[2] f16[2]", "add %0, %1", "operands of one type"},
    {"f32[2]", "add %0", "expected 2 operands, found 1"},
    {"f32[2] f32[2]", "and %0, %1", "integers or i1"},
    {"u8[2] u8[2]", "shift_left %0, %1", "u8[2]"},
    {"i1[2] i1[2]", "shift_left %0, %1", "expected integers"},
    {"f32[N,2]", "reverse %0 {dimensions=[1]}", "f32[N,2]"},
    {"f32[N,2]", "reverse %0 {dimensions=[1, 1]}", "occurs twice"},
    {"f32[N,2]", "cumulative %0 {kind=add, dimension=1, reverse=1}", "f32[N,2]"},
    {"f32[N,2]", "cumulative %0 {kind=or, dimension=1}", "kind: expected one of"},
    {"f32[N,2] f32[N,2]", "compare %0, %1 {direction=LE}", "i1[N,2]"},
    {"f32[N,2] f32[N,2]", "compare %0, %1 {direction=LESS}", "direction: expected one of"},
    {"f32[N]", "is_finite %0", "i1[N]"},
    {"i1[N] f32[N] f32[N]", "select %0, %1, %2", "f32[N]"},
    {"i1[] f32[N] f32[N]", "select %0, %1, %2", "expected a condition"},
    {"f32[N,2]", "dimension_size %0 {dimension=0}", "i64[]"},
    {"f32[N,2]", "dimension_size %0 {dimension=-1}", "expected 0 to 1, found -1"},
    /* broadcast, reshape, transpose */
    {"f32[3,1]", "broadcast_in_dim %0 {dimensions=[1, 2]} : f32[N,3,5]", "f32[N,3,5]"},
    {"f32[3,1]", "broadcast_in_dim %0 {dimensions=[2, 1]} : f32[N,5,3]", "ascending"},
    {"f32[3,1]", "broadcast_in_dim %0 {dimensions=[0, 1]} : f32[N,5]", "does not broadcast"},
    {"f32[3]", "broadcast_in_dim %0 {dimensions=[0]} : i32[3]", "cannot change"},
    {"f32[3]", "broadcast_in_dim %0 {dimensions=[]} : f32[3]", "expected 1 numbers, found 0"},
    {"f32[N,3]", "reshape %0 : f32[3*N]", "f32[3*N]"},
    {"f32[N,6]", "reshape %0 : f32[2*N,3]", "f32[2*N,3]"},
    {"f32[N,3]", "reshape %0 : f32[3]", "is not as many elements"},
    {"f32[N,3,2]", "transpose %0 {dimensions=[1, 2, 0]}", "f32[3,2,N]"},
    {"f32[N,3,2]", "transpose %0 {dimensions=[1, 2]}", "expected 3 numbers"},
    /* slice, pad, concatenate */
    {"f32[N,9]", "slice %0 {start=[0, 1], limit=[-1, 8], strides=[1, 3]}", "f32[N,3]"},
    {"f32[N,9]", "slice %0 {start=[0, 1], limit=[2, 8], strides=[1, 3]}", "is the batch"},
    {"f32[9]", "slice %0 {start=[1], limit=[10], strides=[1]}", "not within 9"},
    {"f32[9]", "slice %0 {start=[1], limit=[2], strides=[0]}", "not within 9"},
    {"f32[N,3] f32[]", "pad %0, %1 {low=[0, 1], high=[0, -2], interior=[0, 2]}", "f32[N,6]"},
    {"f32[N,3] f32[]", "pad %0, %1 {low=[1, 0], high=[0, 0], interior=[0, 0]}", "cannot be padded"},
    {"f32[3] f32[]", "pad %0, %1 {low=[-2], high=[-2], interior=[0]}", "less than nothing"},
    {"f32[3] f32[1]", "pad %0, %1 {low=[0], high=[0], interior=[0]}", "expected a scalar"},
    {"f32[3] f32[]", "pad %0, %1 {low=[99999999999999999], high=[0], interior=[0]}",
     "out of range"},
    {"f32[N,3] f32[N,4]", "concatenate %0, %1 {dimension=1}", "f32[N,7]"},
    {"f32[N,3] f32[2*N,3]", "concatenate %0, %1 {dimension=0}", "f32[3*N,3]"},
    {"f32[N,3] f32[2,3]", "concatenate %0, %1 {dimension=0}", "do not fit"},
    {"f32[N,3] f32[N,3]", "concatenate %0, %1 {dimension=2}", "expected 0 to 1"},
    {"", "concatenate {dimension=2}", "expected operands"},
    /* dynamic slices */
    {"f32[N,5] i32[] i32[]", "dynamic_slice %0, %1, %2 {sizes=[-1, 2]}", "f32[N,2]"},
    {"f32[N,5] i32[] i32[]", "dynamic_slice %0, %1, %2 {sizes=[1, 2]}", "f32[1,2]"},
    {"f32[N,5] i32[] i32[]", "dynamic_slice %0, %1, %2 {sizes=[-1, 6]}", "which has 5"},
    {"f32[N,5] i32[]", "dynamic_slice %0, %1 {sizes=[-1, 2]}", "expected 3 operands"},
    {"f32[5] f32[]", "dynamic_slice %0, %1 {sizes=[2]}", "integer scalar"},
    {"f32[9,5] f32[1,5] i32[] i32[]", "dynamic_update_slice %0, %1, %2, %3", "f32[9,5]"},
    {"f32[9,5] f32[1,6] i32[] i32[]", "dynamic_update_slice %0, %1, %2, %3", "does not lie within"},
    /* gather, scatter */
    {"f32[10,4] i32[N,7]", GATHER("[2]", "[0]", "[]", "[]", "[0]", "2", "[1, 4]"), "f32[N,7,4]"},
    {"f32[N,9,4] i32[N,7]", GATHER("[2]", "[1]", "[0]", "[0]", "[1]", "2", "[1, 1, 4]"),
     "f32[N,7,4]"},
    {"f32[N,4] i32[5,1]", GATHER("[0]", "[1]", "[]", "[]", "[1]", "1", "[-1, 1]"), "f32[N,5]"},
    {"f32[10,4] f32[N,7]", GATHER("[2]", "[0]", "[]", "[]", "[0]", "2", "[1, 4]"),
     "expected integers"},
    {"f32[10,4] i32[N,7]", GATHER("[2]", "[0]", "[]", "[]", "[0]", "2", "[2, 4]"),
     "expected 1 for dimension 0"},
    {"f32[10,4] i32[N,7]", GATHER("[2]", "[0]", "[]", "[]", "[0, 1]", "2", "[1, 4]"),
     "start_index_map"},
    {"f32[10,4] i32[N,7]", GATHER("[]", "[0]", "[]", "[]", "[0]", "2", "[1, 4]"),
     "do not make up rank 2"},
    {"f32[10,4] i32[N,7]", GATHER("[2]", "[0]", "[]", "[]", "[0]", "3", "[1, 4]"),
     "index_vector_dim"},
    {"f32[8,4] i32[9,7]", GATHER("[2]", "[]", "[0]", "[0]", "[1]", "2", "[1, 4]"), "differ"},
    {"f32[10,4] i32[N,7] f32[N,7,4]", SCATTER("add", "[2]", "[0]", "[]", "[]", "[0]", "2"),
     "f32[10,4]"},
    {"f32[10,4] i32[N,7] f32[N,7,5]", SCATTER("add", "[2]", "[0]", "[]", "[]", "[0]", "2"),
     "does not fit into"},
    {"f32[10,4] i32[N,7] f32[N,4]", SCATTER("add", "[2]", "[0]", "[]", "[]", "[0]", "2"),
     "expected updates of rank 3"},
    {"f32[10,4] i32[N,7] f32[N,7,4]", SCATTER("or", "[2]", "[0]", "[]", "[]", "[0]", "2"), "kind"},
    {"f32[N,4] i32[N] f32[N]", SCATTER("replace", "[]", "[1]", "[0]", "[0]", "[1]", "1"),
     "f32[N,4]"},
    /* reductions */
    {"f32[N,3,4]", "reduce %0 {dimensions=[0, 2], kind=add}", "f32[3]"},
    {"f32[N,3,4]", "reduce %0 {dimensions=[0, 2], kind=add, splits=8}", "f32[8,3]"},
    {"f32[N,3,4]", "reduce %0 {dimensions=[2, 0], kind=add}", "ascending"},
    {"f32[N,3,4]", "reduce %0 {dimensions=[3], kind=add}", "expected 0 to 2"},
    {"f32[N,3,4]", "reduce %0 {dimensions=[0], kind=or}", "kind or of f32"},
    {"f32[3]", "reduce %0 {dimensions=[0], kind=add, splits=0}", "splits"},
    {"f32[12*N,3]", "moments %0 {splits=16}", "f32[16,3,3]"},
    {"f32[N,2,3]", "moments %0 {splits=16}", "expected a matrix"},
    {"f64[N,3]", "moments %0 {splits=16}", "expected a matrix"},
    {"f32[N,3]", "arg_reduce %0 {dimension=1, kind=maximum}", "i32[N]"},
    {"f32[N,3]", "arg_reduce %0 {dimension=1, kind=add}", "kind: expected one of"},
    /* dot_general */
    {"f32[N,4] f32[4,3]", DOT("[]", "[]", "[1]", "[0]") "}", "f32[N,3]"},
    {"f32[N,4] f32[N,3]", DOT("[]", "[]", "[0]", "[0]") ", splits=4}", "f32[4,4,3]"},
    {"f32[N,2,5,4] f32[N,2,6,4]", DOT("[0, 1]", "[0, 1]", "[3]", "[3]") "}", "f32[N,2,5,6]"},
    {"f32[N,4] f32[N,4]", DOT("[]", "[]", "[1]", "[1]") "}", "as a factor twice"},
    {"f32[N,4] f32[3,4]", DOT("[]", "[]", "[1]", "[0]") "}", "differ"},
    {"f32[N,4] f32[N,4]", DOT("[0]", "[0]", "[0]", "[0]") "}", "both a batch and a contracting"},
    {"f32[N,4] f16[4,3]", DOT("[]", "[]", "[1]", "[0]") "}", "one element type"},
    {"f32[N,4] f32[4,3]", DOT("[]", "[]", "[1]", "[0, 1]") "}", "expected 1 numbers"},
    /* convolution */
    {"f32[N,28,28,3] f32[3,3,3,8]",
     CONV("[2, 1]", "[0, 1]", "[0, 1]", "[1, 1]", "[1, 2]", "b01f", "01io", "b01f",
          GROUPS("1", "1")),
     "f32[N,13,26,8]"},
    {"f32[N,5,4] f32[3,1,8]", CONV1("b0f", "0io", "b0f", GROUPS("4", "1")), "f32[N,3,8]"},
    {"f32[N,5,4] f32[3,4,8]",
     CONV("[1]", "[2]", "[2]", "[2]", "[1]", "b0f", "0io", "bf0", GROUPS("1", "1")), "f32[N,8,11]"},
    {"f32[N,5,4] f32[N,3,8]", CONV1("f0b", "i0o", "f0b", GROUPS("1", "1")), "f32[8,3,4]"},
    {"f32[N,5,4] f32[N,3,4]", CONV1("f0b", "i0o", "0bf", GROUPS("1", "4")), "f32[3,1,4]"},
    {"f32[N,5,4] f32[3,2,8]", CONV1("b0f", "0io", "b0f", GROUPS("1", "1")), "do not fit"},
    {"f32[N,5,4] f32[3,4,8]", CONV1("b0f", "0io", "b00", GROUPS("1", "1")), "out_layout"},
    {"f32[N,5,4] f32[3,4,8]", CONV1("b0f", "0io", "b/f", GROUPS("1", "1")), "out_layout"},
    {"f32[N,5,4] f32[3,4,8]", CONV1("0bf", "0io", "b0f", GROUPS("1", "1")), "is the batch"},
    {"f32[N,5,4] f32[3,4,8]",
     CONV("[0]", "[0]", "[0]", "[1]", "[1]", "b0f", "0io", "b0f", GROUPS("1", "1")), "less than 1"},
    {"f32[N,5,4] f32[3,4,8]", CONV1("b0f", "0io", "b0f", GROUPS("0", "1")), "feature groups"},
    {"f32[N,5,4] f32[3,4]", CONV1("b0f", "0io", "b0f", GROUPS("1", "1")), "of one rank"},
    {"f32[N,2,4] f32[3,4,8]", CONV1("b0f", "0io", "b0f", GROUPS("1", "1")), "f32[N,0,8]"},
    /* windows */
    {"f32[N,7,3]",
     "reduce_window %0 " WINDOW(
         "add", "[1, 3, 1]", "[1, 2, 1]", "[0, 1, 0]",
         "[0, 1, 0]") ", base_dilation=[1, 1, 1], window_dilation=[1, 1, 1]}",
     "f32[N,4,3]"},
    {"f32[N,7]",
     "reduce_window %0 " WINDOW("add", "[2, 3]", "[1, 2]", "[0, 1]",
                                "[0, 1]") ", base_dilation=[1, 1], window_dilation=[1, 1]}",
     "cannot slide over the batch"},
    {"f32[7]",
     "reduce_window %0 " WINDOW("and", "[2]", "[1]", "[0]",
                                "[0]") ", base_dilation=[1], window_dilation=[1]}",
     "kind"},
    {"f32[7]",
     "reduce_window %0 " WINDOW("add", "[2]", "[1]", "[0]",
                                "[0]") ", base_dilation=[70368744177664], window_dilation=[1]}",
     "dimension out of range"},
    {"f32[N,8] f32[N,4]",
     "select_and_scatter %0, %1 " WINDOW("maximum", "[1, 2]", "[1, 2]", "[0, 0]", "[0, 0]") "}",
     "f32[N,8]"},
    {"f32[N,8] f32[N,5]",
     "select_and_scatter %0, %1 " WINDOW("maximum", "[1, 2]", "[1, 2]", "[0, 0]", "[0, 0]") "}",
     "expected a source f32[N,4]"},
    /* tuples and bodies */
    {"f32[N,8] i32[N,8]", "sort %0, %1 {dimension=1, descending=1}", "(f32[N,8], i32[N,8])"},
    {"f32[N,8] i32[N]", "sort %0, %1 {dimension=1}", "one shape"},
    {"f32[N,8]", "sort %0 {dimension=2}", "dimension"},
    {"f32[4]", "get %0 {index=0}", "expected a tuple"},
    {"f32[4] f32[7,2]",
     "scan %0, %1 {" BODY("output n = %r output y = %x") ", length=7, carried=1}",
     "(f32[4], f32[7,2])"},
    {"f32[4] f32[2]", "scan %0, %1 {" BODY("output n = %r output y = %x") ", length=7, carried=1}",
     "(f32[4], f32[7,2])"},
    {"f32[4] f32[6,2]", "scan %0, %1 {" BODY("output n = %r") ", length=7, carried=1}",
     "operand 1: expected f32[7,2] or f32[2]"},
    {"f32[4] f32[7,2]", "scan %0, %1 {" BODY("output n = %x") ", length=7, carried=1}",
     "output 0 of the body"},
    {"f32[5] f32[7,2]", "scan %0, %1 {" BODY("output n = %r") ", length=7, carried=1}",
     "parameter 0 of the body"},
    {"f32[4] f32[7,2]", "scan %0, %1 {" BODY("") ", length=7, carried=1}",
     "expected 1 outputs, found 0"},
    {"f32[4]", "scan %0 {" BODY("output n = %r") ", length=7, carried=1}", "more parameters than"},
    {"f32[4] f32[7,2]", "scan %0, %1 {" BODY("output n = %r") ", length=7, carried=3}", "carried"},
    {"i32[]",
     "while %0 {condition=graph c { %i = parameter {index=0} : i32[] %n = constant {data=9} : "
     "i32[] %r = compare %i, %n {direction=LT} output r = %r}"
     ", body=graph b { %i = parameter {index=0} : i32[] %r = add %i, %i output i = %r}}",
     "(i32[])"},
    {"i32[]",
     "while %0 {condition=graph c { %i = parameter {index=0} : i32[] output r = %i}"
     ", body=graph b { %i = parameter {index=0} : i32[] output i = %i}}",
     "expected one output i1[]"},
};

static void write_source(const shape_case *c, text *to)
{
    text_add(to, "graph g {\n");
    int count = 0;
    for (const char *p = c->operands; *p;) {
        size_t length = strcspn(p, " ");
        text_add(to, "%%%d = parameter {index=%d} : %.*s\n", count, count, (int)length, p);
        p += length;
        p += *p == ' ';
        count++;
    }
    text_add(to, "%%r = %s\n}\n", c->node);
}

static void check_case(const shape_case *c)
{
    arena a = {0};
    diag d = {.arena = &a};
    text source = {0}, found = {0};
    write_source(c, &source);
    const ir_module *m = ir_module_parse(&a, text_get(&source), source.length, &d);
    if (m) {
        const ir_graph *g = m->graph[0];
        ir_type_print(ir_type_of(g, (ir_value)g->count - 1), &found);
        TEST_EQUAL_TEXT(text_get(&found), c->want);
    } else {
        TEST_CHECK(strstr(d.message[0], c->want), "%s\n  found: %s\n  want: %s", c->node,
                   d.message[0], c->want);
    }
    text_done(&source);
    text_done(&found);
    arena_done(&a);
}

static void check_rank_limit(void)
{
    const shape_case c = {"f32[1,1,1,1,1,2,3,4] f32[4,5]",
                          DOT("[]", "[]", "[7]", "[0]") ", splits=2}", "more than 8 dimensions"};
    check_case(&c);
}

int main(void)
{
    for (size_t i = 0; i < countof(cases); i++) check_case(&cases[i]);
    check_rank_limit();
    return test_report();
}
