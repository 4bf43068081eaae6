/* codegen_kernels_test.c: every kind of kernel against the interpreter, at several batch sizes. */
#include "codegen_run.h"

#define F32 "port x \"x\" : f32[N,20]\n"

static const codegen_case cases[] = {
    {"chain",
     F32 "variable @b : f32[20] {path=\"b\"}\ngraph predict {\n"
         "  %x = parameter {index=0} : f32[N,20]\n  %b = variable {index=0} : f32[20]\n"
         "  %w = broadcast_in_dim %b {dimensions=[1]} : f32[N,20]\n  %s = add %x, %w\n  %t = tanh %s\n"
         "  %m = multiply %t, %s\n  output \"y\" = %m\n}\n",
     0},
    {"scalars",
     "port x \"x\" : f32[N,3]\nvariable @i : i64[] {path=\"i\"}\nvariable @r : f32[] {path=\"r\"}\n"
     "variable @v : f32[100] {path=\"v\"}\ngraph predict {\n  %i = variable {index=0} : i64[]\n"
     "  %one = constant {data=[1]} : i64[]\n  %j = add %i, %one\n  %f = convert %j : f32[]\n"
     "  %r = variable {index=1} : f32[]\n  %p = power %r, %f\n  %v = variable {index=2} : f32[100]\n"
     "  %w = broadcast_in_dim %r {dimensions=[]} : f32[100]\n  %u = multiply %v, %w\n  %n = subtract %v, %u\n"
     "  output \"p\" = %p\n  update @i = %j\n  update @v = %n\n}\n",
     1e-5},
    {"softmax",
     F32 "graph predict {\n  %x = parameter {index=0} : f32[N,20]\n"
         "  %m = reduce %x {kind=maximum, dimensions=[1]}\n  %mw = broadcast_in_dim %m {dimensions=[0]} : "
         "f32[N,20]\n"
         "  %d = subtract %x, %mw\n  %e = exponential %d\n  %s = reduce %e {kind=add, dimensions=[1]}\n"
         "  %sw = broadcast_in_dim %s {dimensions=[0]} : f32[N,20]\n  %y = divide %e, %sw\n  output \"y\" = "
         "%y\n}\n",
     0},
    {"wide softmax",
     "port x \"x\" : f32[N,1003]\ngraph predict {\n  %x = parameter {index=0} : f32[N,1003]\n"
     "  %m = reduce %x {kind=maximum, dimensions=[1]}\n  %mw = broadcast_in_dim %m {dimensions=[0]} : "
     "f32[N,1003]\n"
     "  %d = subtract %x, %mw\n  %e = exponential %d\n  %s = reduce %e {kind=add, dimensions=[1]}\n"
     "  %sw = broadcast_in_dim %s {dimensions=[0]} : f32[N,1003]\n  %y = divide %e, %sw\n"
     "  output \"y\" = %y\n}\n",
     2e-6},
    {"sums",
     "port x \"x\" : f32[N,6,7,24]\ngraph predict {\n  %x = parameter {index=0} : f32[N,6,7,24]\n"
     "  %a = reduce %x {kind=add, dimensions=[0, 1, 2]}\n  %q = multiply %x, %x\n"
     "  %b = reduce %q {kind=add, dimensions=[0, 1, 2]}\n  %c = reduce %x {kind=add, dimensions=[1, 3]}\n"
     "  %d = reduce %x {kind=maximum, dimensions=[0, 1, 2, 3]}\n  %e = reduce %x {kind=minimum, "
     "dimensions=[3]}\n"
     "  %f = reduce %x {kind=multiply, dimensions=[2]}\n  %g = reduce %x {kind=add, dimensions=[1, 2]}\n"
     "  output \"a\" = %a\n  output \"b\" = %b\n  output \"c\" = %c\n  output \"d\" = %d\n  output \"e\" = "
     "%e\n"
     "  output \"f\" = %f\n  output \"g\" = %g\n}\n",
     1e-4},
    {"layer norm",
     "port x \"x\" : f32[N,9,37]\nvariable @g : f32[37] {path=\"g\"}\ngraph predict {\n"
     "  %x = parameter {index=0} : f32[N,9,37]\n  %g = variable {index=0} : f32[37]\n"
     "  %s = reduce %x {kind=add, dimensions=[2]}\n  %c = constant {data=[0.027027028]} : f32[N,9]\n"
     "  %m = multiply %s, %c\n  %mw = broadcast_in_dim %m {dimensions=[0, 1]} : f32[N,9,37]\n"
     "  %d = subtract %x, %mw\n  %q = multiply %d, %d\n  %v = reduce %q {kind=add, dimensions=[2]}\n"
     "  %u = multiply %v, %c\n  %r = rsqrt %u\n  %rw = broadcast_in_dim %r {dimensions=[0, 1]} : "
     "f32[N,9,37]\n"
     "  %n = multiply %d, %rw\n  %gw = broadcast_in_dim %g {dimensions=[2]} : f32[N,9,37]\n"
     "  %y = multiply %n, %gw\n  output \"y\" = %y\n}\n",
     1e-5},
    {"moves",
     "port x \"x\" : f32[N,6,10]\nport x \"k\" : i32[N,4]\nvariable @t : f32[7,10] {path=\"t\"}\n"
     "variable @s : i64[] {path=\"s\"}\ngraph predict {\n  %x = parameter {index=0} : f32[N,6,10]\n"
     "  %k = parameter {index=1} : i32[N,4]\n  %t = variable {index=0} : f32[7,10]\n  %s = variable "
     "{index=1} : i64[]\n"
     "  %a = transpose %x {dimensions=[0, 2, 1]}\n  %b = slice %x {start=[0, 1, 2], limit=[-1, 6, 9], "
     "strides=[1, 2, 3]}\n"
     "  %c = reverse %x {dimensions=[1, 2]}\n  %z = constant {data=[0.5]} : f32[]\n"
     "  %d = pad %x, %z {low=[0, 1, 3], high=[0, 2, -1], interior=[0, 0, 1]}\n  %n = negate %x\n"
     "  %e = concatenate %x, %n, %c {dimension=2}\n  %f = concatenate %n, %x {dimension=1}\n"
     "  %g = gather %t, %k {offset_dims=[2], collapsed_slice_dims=[0], operand_batching_dims=[], "
     "indices_batching_dims=[], start_index_map=[0], index_vector_dim=2, sizes=[1, 10]}\n"
     "  %h = dynamic_slice %t, %s, %s {sizes=[3, 10]}\n  %nt = negate %t\n"
     "  %sl = slice %nt {start=[0, 0], limit=[2, 10], strides=[1, 1]}\n"
     "  %i = dynamic_update_slice %t, %sl, %s, %s\n  %r = reshape %n : f32[N,60]\n  %rr = tanh %r\n"
     "  %j = reshape %c : f32[N,15,4]\n  %jj = abs %j\n"
     "  output \"a\" = %a\n  output \"b\" = %b\n  output \"c\" = %c\n  output \"d\" = %d\n  output \"e\" = "
     "%e\n"
     "  output \"f\" = %f\n  output \"g\" = %g\n  output \"h\" = %h\n  output \"i\" = %i\n  output \"rr\" = "
     "%rr\n"
     "  output \"jj\" = %jj\n}\n",
     0},
    {"image computed by its convolution",
     "port x \"x\" : f32[N,9,13,20]\nport x \"kernel\" : f32[3,3,1,20]\nport x \"scale\" : f32[20]\n"
     "graph predict {\n  %x = parameter {index=0} : f32[N,9,13,20]\n  %kernel = parameter {index=1} : f32[3,3,1,20]\n"
     "  %scale = parameter {index=2} : f32[20]\n  %s = broadcast_in_dim %scale {dimensions=[3]} : f32[N,9,13,20]\n"
     "  %p = multiply %x, %s\n  %a = add %p, %s\n  %m = abs %a\n  %k = abs %kernel\n"
     "  %y = convolution %m, %k {window_strides=[2, 1], padding_low=[1, 1], padding_high=[1, 1], base_dilation=[1, 1], "
     "window_dilation=[1, 1], window_reversal=0, lhs_layout=b01f, rhs_layout=\"01io\", out_layout=b01f, "
     "feature_group_count=20, batch_group_count=1}\n  output \"y\" = %y\n}\n",
     0},
    {"integers",
     "port x \"x\" : i32[N,13]\nport x \"u\" : u8[N,13]\nport x \"f\" : f64[N,13]\nport x \"b\" : i1[N,13]\n"
     "graph predict {\n  %x = parameter {index=0} : i32[N,13]\n  %u = parameter {index=1} : u8[N,13]\n"
     "  %f = parameter {index=2} : f64[N,13]\n  %b = parameter {index=3} : i1[N,13]\n  %ux = convert %u : "
     "i32[N,13]\n"
     "  %d = divide %x, %ux\n  %r = remainder %x, %ux\n  %p = power %x, %ux\n  %c = compare %x, %ux "
     "{direction=LT}\n"
     "  %o = or %c, %b\n  %s = select %o, %d, %p\n  %e = exponential %f\n  %ei = convert %e : u8[N,13]\n"
     "  %a = arg_reduce %f {kind=maximum, dimension=1}\n  %an = reduce %o {kind=and, dimensions=[1]}\n"
     "  %cs = cumulative %x {kind=add, dimension=1}\n  %it = iota {dimension=1} : i32[N,13]\n  %sh = "
     "shift_left %it, %x\n"
     "  %sm = reduce %f {kind=add, dimensions=[0]}\n  %nt = not %o\n"
     "  output \"d\" = %d\n  output \"r\" = %r\n  output \"s\" = %s\n  output \"e\" = %e\n  output \"ei\" = "
     "%ei\n"
     "  output \"a\" = %a\n  output \"an\" = %an\n  output \"cs\" = %cs\n  output \"sh\" = %sh\n  output "
     "\"sm\" = %sm\n"
     "  output \"nt\" = %nt\n}\n",
     0},
    {"windows",
     "port x \"x\" : f32[N,9,8,20]\nport x \"s\" : f32[N,5,4,20]\nport x \"c\" : f32[N,3,11]\ngraph predict "
     "{\n"
     "  %x = parameter {index=0} : f32[N,9,8,20]\n  %s = parameter {index=1} : f32[N,5,4,20]\n"
     "  %c = parameter {index=2} : f32[N,3,11]\n"
     "  %a = reduce_window %x {kind=maximum, window_dimensions=[1, 3, 2, 1], window_strides=[1, 2, 2, 1], "
     "padding_low=[0, 1, 0, 0], padding_high=[0, 1, 0, 0], base_dilation=[1, 1, 1, 1], window_dilation=[1, "
     "1, 1, 1]}\n"
     "  %b = reduce_window %x {kind=add, window_dimensions=[1, 2, 2, 1], window_strides=[1, 1, 1, 1], "
     "padding_low=[0, 1, 1, 0], padding_high=[0, 1, 2, 0], base_dilation=[1, 2, 1, 1], window_dilation=[1, "
     "1, 2, 1]}\n"
     "  %d = reduce_window %c {kind=add, window_dimensions=[1, 1, 3], window_strides=[1, 1, 2], "
     "padding_low=[0, 0, 1], "
     "padding_high=[0, 0, 1], base_dilation=[1, 1, 1], window_dilation=[1, 1, 1]}\n"
     "  %e = select_and_scatter %x, %s {kind=maximum, window_dimensions=[1, 3, 2, 1], window_strides=[1, 2, "
     "2, 1], "
     "padding_low=[0, 1, 0, 0], padding_high=[0, 1, 0, 0]}\n"
     "  %f = cumulative %c {kind=add, dimension=1, reverse=1, exclusive=1}\n"
     "  output \"a\" = %a\n  output \"b\" = %b\n  output \"d\" = %d\n  output \"e\" = %e\n  output \"f\" = "
     "%f\n}\n",
     1e-5},
    /* windows side by side: what no window covers, either layout, epilogues */
    {"tiles",
     "port x \"x\" : f32[N,9,7,20]\nport x \"s\" : f32[N,4,2,20]\nport x \"c\" : f32[N,3,11]\n"
     "port x \"t\" : f32[N,3,5]\ngraph predict {\n"
     "  %x = parameter {index=0} : f32[N,9,7,20]\n  %s = parameter {index=1} : f32[N,4,2,20]\n"
     "  %c = parameter {index=2} : f32[N,3,11]\n  %t = parameter {index=3} : f32[N,3,5]\n"
     "  %a = select_and_scatter %x, %s {kind=maximum, window_dimensions=[1, 2, 3, 1], window_strides=[1, 2, 3, "
     "1], padding_low=[0, 0, 0, 0], padding_high=[0, 0, 0, 0]}\n"
     "  %az = exponential %x\n  %ay = subtract %a, %az\n"
     "  %b = select_and_scatter %c, %t {kind=minimum, window_dimensions=[1, 1, 2], window_strides=[1, 1, 2], "
     "padding_low=[0, 0, 0], padding_high=[0, 0, 0]}\n  %by = multiply %b, %c\n"
     "  %d = reduce_window %x {kind=maximum, window_dimensions=[1, 2, 3, 1], window_strides=[1, 2, 3, 1], "
     "padding_low=[0, 0, 0, 0], padding_high=[0, 0, 0, 0], base_dilation=[1, 1, 1, 1], window_dilation=[1, 1, "
     "1, 1]}\n  %dy = add %d, %s\n"
     "  output \"a\" = %ay\n  output \"b\" = %b\n  output \"by\" = %by\n  output \"d\" = %dy\n}\n",
     1e-5},
    {"scatter",
     "port x \"k\" : i32[N,4]\nport x \"u\" : f32[N,4,10]\nvariable @t : f32[7,10] {path=\"t\"}\n"
     "graph predict {\n  %k = parameter {index=0} : i32[N,4]\n  %u = parameter {index=1} : f32[N,4,10]\n"
     "  %t = variable {index=0} : f32[7,10]\n  %y = scatter %t, %k, %u {kind=add, update_window_dims=[2], "
     "inserted_window_dims=[0], operand_batching_dims=[], indices_batching_dims=[], scatter_dims=[0], "
     "index_vector_dim=2}\n  output \"y\" = %y\n}\n",
     1e-5},
    /* at N=67 a product of 25.7 MB, which is written past the caches */
    {"large product",
     "port x \"x\" : f32[N,1000,4]\nvariable @w : f32[4,96] {path=\"w\"}\ngraph predict {\n"
     "  %x = parameter {index=0} : f32[N,1000,4]\n  %w = variable {index=0} : f32[4,96]\n"
     "  %y = dot_general %x, %w {lhs_batch=[], rhs_batch=[], lhs_contracting=[2], rhs_contracting=[0]}\n"
     "  %m = reduce %y {kind=maximum, dimensions=[1]}\n  %s = reduce %y {kind=minimum, dimensions=[2]}\n"
     "  output \"m\" = %m\n  output \"s\" = %s\n}\n",
     1e-5},
    {"large product with an epilogue",
     "port x \"x\" : f32[N,1000,4]\nvariable @w : f32[4,112] {path=\"w\"}\ngraph predict {\n"
     "  %x = parameter {index=0} : f32[N,1000,4]\n  %w = variable {index=0} : f32[4,112]\n"
     "  %y = dot_general %x, %w {lhs_batch=[], rhs_batch=[], lhs_contracting=[2], rhs_contracting=[0]}\n"
     "  %z = logistic %y\n  %m = reduce %z {kind=maximum, dimensions=[1]}\n"
     "  %s = reduce %z {kind=minimum, dimensions=[2]}\n  output \"m\" = %m\n  output \"s\" = %s\n}\n",
     1e-5},
    /* windows without padding, whose columns and channels are one run of memory */
    {"convolutions of few channels",
     "port x \"x\" : f32[N,20,3]\nport x \"i\" : f32[N,15,17,3]\nvariable @w : f32[7,3,24] {path=\"w\"}\n"
     "variable @k : f32[5,7,3,40] {path=\"k\"}\ngraph predict {\n  %x = parameter {index=0} : f32[N,20,3]\n"
     "  %i = parameter {index=1} : f32[N,15,17,3]\n  %w = variable {index=0} : f32[7,3,24]\n"
     "  %k = variable {index=1} : f32[5,7,3,40]\n"
     "  %a = convolution %x, %w {window_strides=[1], padding_low=[0], padding_high=[0], base_dilation=[1], "
     "window_dilation=[1], window_reversal=0, lhs_layout=b0f, rhs_layout=\"0io\", out_layout=b0f, "
     "feature_group_count=1, batch_group_count=1}\n"
     "  %b = convolution %i, %k {window_strides=[2, 2], padding_low=[1, -1], padding_high=[1, 0], base_dilation=[1, 1], "
     "window_dilation=[1, 1], window_reversal=0, lhs_layout=b01f, rhs_layout=\"01io\", out_layout=b01f, "
     "feature_group_count=1, batch_group_count=1}\n  output \"a\" = %a\n  output \"b\" = %b\n}\n",
     2e-4},
    /* their kernels' gradients, whose rows are read along lines of the image, in partial sums of whole lines and without */
    {"gradients of kernels of few channels",
     "port x \"i\" : f32[N,23,37,3]\nport x \"g\" : f32[N,10,17,40]\ngraph predict {\n"
     "  %i = parameter {index=0} : f32[N,23,37,3]\n  %g = parameter {index=1} : f32[N,10,17,40]\n"
     "  %a = convolution %i, %g {window_strides=[1, 1], padding_low=[0, 0], padding_high=[0, 0], base_dilation=[1, 1], "
     "window_dilation=[2, 2], window_reversal=0, lhs_layout=f01b, rhs_layout=i01o, out_layout=\"01bf\", "
     "feature_group_count=1, batch_group_count=1}\n"
     "  %b = convolution %i, %g {window_strides=[1, 1], padding_low=[0, 0], padding_high=[0, 0], base_dilation=[1, 1], "
     "window_dilation=[2, 2], window_reversal=0, lhs_layout=f01b, rhs_layout=i01o, out_layout=\"01bf\", "
     "feature_group_count=1, batch_group_count=1, splits=16}\n  %s = reduce %b {kind=add, dimensions=[0]}\n"
     "  output \"a\" = %a\n  output \"s\" = %s\n}\n",
     2e-3},
    {"kernels of one position",
     "port x \"i\" : f32[N,9,11,40]\nport x \"g\" : f32[N,5,6,24]\nvariable @k : f32[1,1,40,24] {path=\"k\"}\n"
     "graph predict {\n  %i = parameter {index=0} : f32[N,9,11,40]\n  %g = parameter {index=1} : f32[N,5,6,24]\n"
     "  %k = variable {index=0} : f32[1,1,40,24]\n"
     "  %a = convolution %i, %k {window_strides=[2, 2], padding_low=[0, 0], padding_high=[0, 0], base_dilation=[1, 1], "
     "window_dilation=[1, 1], window_reversal=0, lhs_layout=b01f, rhs_layout=\"01io\", out_layout=b01f, "
     "feature_group_count=1, batch_group_count=1}\n"
     "  %b = convolution %i, %g {window_strides=[1, 1], padding_low=[0, 0], padding_high=[0, 0], base_dilation=[1, 1], "
     "window_dilation=[2, 2], window_reversal=0, lhs_layout=f01b, rhs_layout=i01o, out_layout=\"01bf\", "
     "feature_group_count=1, batch_group_count=1, splits=16}\n"
     "  %c = convolution %i, %k {window_strides=[1, 1], padding_low=[-2, 0], padding_high=[0, -1], base_dilation=[1, 1], "
     "window_dilation=[1, 1], window_reversal=0, lhs_layout=b01f, rhs_layout=\"01io\", out_layout=b01f, "
     "feature_group_count=1, batch_group_count=1}\n"
     "  %s = reduce %b {kind=add, dimensions=[0]}\n"
     "  output \"a\" = %a\n  output \"s\" = %s\n  output \"c\" = %c\n}\n",
     2e-3},
    /* row scalars that keep a column of 1 */
    {"kept dims",
     F32 "graph predict {\n  %x = parameter {index=0} : f32[N,20]\n"
         "  %e = exponential %x\n  %s = reduce %e {kind=add, dimensions=[1]}\n  %k = reshape %s : f32[N,1]\n"
         "  %l = log %k\n  %w = broadcast_in_dim %l {dimensions=[0, 1]} : f32[N,20]\n  %d = subtract %x, %w\n"
         "  %t = reduce %d {kind=add, dimensions=[1]}\n  output \"l\" = %l\n  output \"d\" = %d\n  output "
         "\"t\" = %t\n}\n",
     1e-5},
    {"random words",
     "port x \"x\" : f32[N,3]\nvariable @s : i64[2] {path=\"s\"}\ngraph predict {\n"
     "  %s = variable {index=0} : i64[2]\n  %w = rng_philox %s : u32[N,37]\n  %z = rng_philox %s : u32[41]\n"
     "  output \"w\" = %w\n  output \"z\" = %z\n}\n",
     0},
    {"halves",
     "port x \"x\" : f16[N,19]\nport x \"b\" : bf16[N,19]\ngraph predict {\n"
     "  %x = parameter {index=0} : f16[N,19]\n  %b = parameter {index=1} : bf16[N,19]\n  %t = tanh %x\n"
     "  %a = add %t, %x\n  %m = multiply %b, %b\n  %c = convert %m : f16[N,19]\n  %s = add %c, %a\n"
     "  %r = reduce %b {kind=add, dimensions=[1]}\n"
     "  output \"s\" = %s\n  output \"m\" = %m\n  output \"r\" = %r\n}\n",
     8e-3},
};

/* Rows that are the batch alone: few, of which a tile is not filled, and so many that tasks take whole blocks of columns. The
 * operands of %g lie along their rows, those of %b along the sums. */
static void check_batch_rows(void)
{
    static const int64_t rows[] = {1, 3, 16, 23, 611};
    static const codegen_case t = {
        "rows of the batch",
        "port x \"x\" : f32[N,130]\nvariable @w : f32[130,760] {path=\"w\"}\ngraph predict {\n"
        "  %x = parameter {index=0} : f32[N,130]\n  %w = variable {index=0} : f32[130,760]\n"
        "  %y = dot_general %x, %w {lhs_batch=[], rhs_batch=[], lhs_contracting=[1], rhs_contracting=[0]}\n"
        "  %z = tanh %y\n"
        "  %g = dot_general %x, %z {lhs_batch=[], rhs_batch=[], lhs_contracting=[0], rhs_contracting=[0]}\n"
        "  %b = dot_general %z, %w {lhs_batch=[], rhs_batch=[], lhs_contracting=[1], rhs_contracting=[1]}\n"
        "  output \"y\" = %y\n  output \"g\" = %g\n  output \"b\" = %b\n}\n",
        5e-3};
    codegen_check_sizes(&t, NULL, "native", rows, countof(rows));
    codegen_check_sizes(&t, NULL, "x86-64-v3", rows, countof(rows));
}

int main(void)
{
    check_batch_rows();
    for (size_t i = 0; i < countof(cases); i++) {
        codegen_check(&cases[i], "sweep,fuse,plan_memory", "native");
        codegen_check(&cases[i], NULL, "x86-64-v3");
    }
    return test_report();
}
