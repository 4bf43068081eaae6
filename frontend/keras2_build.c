/* keras2_build.c: functions of TensorFlow that are not one operation of keras.ops but a few, or that take
 * their arguments in another form. Arguments are already under the names of keras.ops. */
#include "frontend/keras2.h"
#include "frontend/ops.h"
#include "frontend/train.h"

#include <string.h>

/* ---- calling keras.ops --------------------------------------------------------------------------------- */

enum { MOST_BUILT = 8 };

/* format has one %s. */
static bool fail(fe_lower *l, const char *format, const char *name)
{
    return fe_layer_error(l->fe, l->layer, format, name);
}

static bool call_op(fe_lower *l, const char *name, const fe_args *args, fe_value *out)
{
    const fe_op *op = fe_op_find(name);
    const fe_value config = {.kind = FE_DICT};
    if (!op) return fail(l, "this function is not supported: it needs keras.ops' %s", name);
    return fe_op_call(l, op, args, &config, out);
}

bool tf_op_build(fe_lower *l, const char *op, int count, const tf_arg *arg, fe_value *out)
{
    const char *key[MOST_BUILT];
    fe_value item[MOST_BUILT];
    bug_if(count > MOST_BUILT, "too many arguments");
    for (int i = 0; i < count; i++) {
        key[i] = arg[i].name;
        item[i] = arg[i].value;
    }
    const fe_args args = {.arg = {.kind = FE_LIST},
                          .kwarg = {.kind = FE_DICT, .count = count, .item = item, .key = key}};
    return call_op(l, op, &args, out);
}

static fe_value make_number(double x) { return (fe_value){.kind = FE_NUMBER, .number = x, .is_float = true}; }

static bool build1(fe_lower *l, const char *op, fe_value x, fe_value *out)
{
    const tf_arg arg = {"x", x};
    return tf_op_build(l, op, 1, &arg, out);
}

static bool build2(fe_lower *l, const char *op, fe_value a, fe_value b, fe_value *out)
{
    const tf_arg arg[] = {{"x1", a}, {"x2", b}};
    return tf_op_build(l, op, 2, arg, out);
}

/* The argument, which must be there. */
static bool get(fe_lower *l, const fe_args *args, const char *name, fe_value *out)
{
    const fe_value *v = fe_args_find(args, -1, name);
    *out = v ? *v : (fe_value){.kind = FE_NULL};
    return v || fail(l, "expected an argument for \"%s\" of keras.ops", name);
}

static bool get_tensor(fe_lower *l, const fe_args *args, const char *name, fe_value *out)
{
    return get(l, args, name, out) &&
           (out->kind == FE_TENSOR || fail(l, "expected a tensor as \"%s\" of keras.ops", name));
}

static bool is_set(const fe_args *args, const char *name)
{
    const fe_value *v = fe_args_find(args, -1, name);
    return v && v->number != 0;
}

/* The axis, from 0, of a dim of fixed size. */
static bool get_axis(fe_lower *l, const fe_args *args, const fe_value *x, int64_t *out_axis,
                     int64_t *out_size)
{
    const ir_type *t = ir_type_of(l->g, x->tensor.value);
    fe_value axis;
    if (!get(l, args, "axis", &axis)) return false;
    if (axis.kind != FE_NUMBER || axis.is_float || axis.integer < -t->rank || axis.integer >= t->rank)
        return fail(l, "expected an axis of %s", fe_shape_show(l->fe, t));
    *out_axis = axis.integer < 0 ? axis.integer + t->rank : axis.integer;
    *out_size = t->dim[*out_axis].count;
    return !t->dim[*out_axis].batch ||
           fail(l, "taking the batch of %s apart is not supported", fe_shape_show(l->fe, t));
}

bool tf_build_plain(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    return call_op(l, s->op, args, out);
}

/* Of an operation with several results. */
bool tf_build_first(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value all;
    if (!call_op(l, s->op, args, &all)) return false;
    *out = all.kind == FE_LIST && all.count > 0 ? all.item[0] : all;
    return true;
}

/* A loss of Keras without its mean: the function behind the last point of the name. */
bool tf_build_loss(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    static const char *const numbers[] = {"gamma", "from_logits", "axis"};
    const fe_loss_class *class = fe_loss_class_find(strrchr(s->name, '.') + 1, true);
    const fe_value *alpha = fe_args_find(args, -1, "alpha");
    op_use u = {.l = l, .op = fe_op_find(s->op), .args = args, .config = &(fe_value){.kind = FE_DICT}};
    fe_values v = {.l = l, .g = l->g, .logits = IR_NONE, .mask = IR_NONE};
    ir_record *r = ir_record_new(l->fe->arena, "loss");
    bug_if(!class, "tf_symbols.def names a loss that is unknown: %s", s->name);
    if (!op_find_pair(&u, "target", "output", true, &v.y, &v.p)) return false;
    ir_type t = *ir_type_of(l->g, v.y);
    if (!ir_type_same_shape(&t, ir_type_of(l->g, v.p)))
        return fe_layer_error(l->fe, l->layer, "expected targets of the predictions' shape, found %s",
                              fe_shape_show(l->fe, &t));
    if (alpha && alpha->kind == FE_NUMBER) ir_record_add_numbers(l->fe->arena, r, "alpha", 1, &alpha->number);
    if (!fe_args_find(args, -1, "gamma")) ir_record_add_number(l->fe->arena, r, "gamma", 2);
    for (size_t i = 0; i < countof(numbers); i++) {
        const fe_value *number = fe_args_find(args, -1, numbers[i]);
        if (number) ir_record_add_number(l->fe->arena, r, numbers[i], number->number);
    }
    v.settings = r;
    v.y = ir_build_convert(l->g, v.y, DTYPE_f32);
    v.p = ir_build_convert(l->g, v.p, DTYPE_f32);
    if (!fe_values_check(l->fe, r, ir_type_of(l->g, v.p), l->layer->at)) return false;
    *out = fe_value_tensor(class->build(&v), IR_NONE);
    return true;
}

/* Both kinds in one function, whose strides are 1 when they are not given. */
bool tf_build_pool(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x, size, kind;
    const fe_value *strides = fe_args_find(args, -1, "strides"), *padding = fe_args_find(args, -1, "padding");
    const fe_value valid = {.kind = FE_TEXT, .text = "valid"};
    if (!get_tensor(l, args, "inputs", &x) || !get(l, args, "pool_size", &size) || !get(l, args, "pooling_type", &kind))
        return false;
    const bool mean = kind.kind == FE_TEXT && strcmp(kind.text, "avg") == 0;
    const tf_arg arg[] = {{"inputs", x},
                          {"pool_size", size},
                          {"strides", strides ? *strides : fe_value_int(1)},
                          {"padding", padding ? *padding : valid}};
    return tf_op_build(l, mean ? "AveragePool" : s->op, 4, arg, out);
}

bool tf_build_same(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    (void)s;
    return get_tensor(l, args, "x", out);
}

bool tf_build_cast_or_same(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    return fe_args_find(args, -1, "dtype") ? call_op(l, s->op, args, out) : tf_build_same(l, s, args, out);
}

/* ---- arithmetic ---------------------------------------------------------------------------------------- */

/* 0 where b is 0, and no gradient either. */
bool tf_build_divide_no_nan(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value a, b, zero, one, quotient, condition;
    (void)s;
    if (!get(l, args, "x1", &a) || !get(l, args, "x2", &b)) return false;
    if (!build2(l, "Equal", b, make_number(0), &condition)) return false;
    const tf_arg safe[] = {{"condition", condition}, {"x1", make_number(1)}, {"x2", b}};
    if (!tf_op_build(l, "Where", 3, safe, &one) || !build2(l, "TrueDivide", a, one, &quotient)) return false;
    const tf_arg chosen[] = {{"condition", condition}, {"x1", make_number(0)}, {"x2", quotient}};
    if (!tf_op_build(l, "Where", 3, chosen, &zero)) return false;
    *out = zero;
    return true;
}

/* 0 where b is 0, whatever a is. */
bool tf_build_multiply_no_nan(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value a, b, product, condition;
    (void)s;
    if (!get(l, args, "x1", &a) || !get(l, args, "x2", &b)) return false;
    if (!build2(l, "Equal", b, make_number(0), &condition) || !build2(l, "Multiply", a, b, &product))
        return false;
    const tf_arg chosen[] = {{"condition", condition}, {"x1", make_number(0)}, {"x2", product}};
    return tf_op_build(l, "Where", 3, chosen, out);
}

bool tf_build_squared_difference(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value difference;
    return call_op(l, s->op, args, &difference) && build1(l, "Square", difference, out);
}

bool tf_build_add_n(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value list, sum;
    if (!get(l, args, "xs", &list)) return false;
    if (list.kind == FE_TENSOR) {
        *out = list;
        return true;
    }
    if (list.kind != FE_LIST || list.count == 0)
        return fail(l, "expected a list of tensors as \"%s\"", "inputs");
    sum = list.item[0];
    for (int i = 1; i < list.count; i++) {
        if (!build2(l, s->op, sum, list.item[i], &sum)) return false;
    }
    *out = sum;
    return true;
}

/* Empty lists, as K.switch writes them, add nothing. */
bool tf_build_concat(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value list, axis;
    if (!get(l, args, "xs", &list) || !get(l, args, "axis", &axis)) return false;
    if (list.kind != FE_LIST) return call_op(l, s->op, args, out);
    fe_value kept = {.kind = FE_LIST, .item = arena_array(l->fe->arena, fe_value, (size_t)list.count + 1)};
    for (int i = 0; i < list.count; i++) {
        if (list.item[i].kind != FE_LIST || list.item[i].count > 0) kept.item[kept.count++] = list.item[i];
    }
    const tf_arg arg[] = {{"xs", kept}, {"axis", axis}};
    return tf_op_build(l, s->op, 2, arg, out);
}

/* Horner's rule; the first coefficient is that of the highest power. */
bool tf_build_polyval(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value list, x, sum;
    (void)s;
    if (!get(l, args, "coeffs", &list) || !get(l, args, "x", &x)) return false;
    if (list.kind != FE_LIST || list.count == 0)
        return fail(l, "expected a list of coefficients as \"%s\"", "coeffs");
    sum = list.item[0];
    for (int i = 1; i < list.count; i++) {
        if (!build2(l, "Multiply", sum, x, &sum) || !build2(l, "Add", sum, list.item[i], &sum)) return false;
    }
    *out = sum;
    return true;
}

bool tf_build_silu(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x, beta, scaled, gate;
    (void)s;
    if (!get_tensor(l, args, "x", &x) || !get(l, args, "beta", &beta)) return false;
    if (!build2(l, "Multiply", x, beta, &scaled) || !build1(l, "Sigmoid", scaled, &gate)) return false;
    return build2(l, "Multiply", x, gate, out);
}

/* keras.ops has no such operations. */
bool tf_build_gamma(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x;
    const ir_op op = strcmp(s->name, "math.digamma") == 0 ? OP_digamma : OP_lgamma;
    if (!get_tensor(l, args, "x", &x)) return false;
    if (!ir_dtype_is_float(ir_type_of(l->g, x.tensor.value)->dtype))
        return fe_layer_error(l->fe, l->layer, "expected a tensor of floating type");
    *out = fe_value_tensor(ir_build_unary(l->g, op, x.tensor.value), IR_NONE);
    return true;
}

/* Sum of squares over the axes. */
static bool build_energy(fe_lower *l, const fe_args *args, bool keep, fe_value *out)
{
    fe_value x, square;
    const fe_value *axis = fe_args_find(args, -1, "axis");
    if (!get_tensor(l, args, "x", &x) || !build1(l, "Square", x, &square)) return false;
    const tf_arg arg[] = {
        {"x", square}, {"keepdims", fe_value_bool(keep)}, {"axis", axis ? *axis : (fe_value){.kind = FE_NULL}}};
    return tf_op_build(l, "Sum", 3, arg, out);
}

bool tf_build_l2_normalize(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x, epsilon, energy, inverse;
    if (!get_tensor(l, args, "x", &x) || !get(l, args, "epsilon", &epsilon) ||
        !build_energy(l, args, true, &energy))
        return false;
    if (!build2(l, "Maximum", energy, epsilon, &energy) || !build1(l, s->op, energy, &inverse)) return false;
    return build2(l, "Multiply", x, inverse, out);
}

bool tf_build_norm(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    const fe_value *order = fe_args_find(args, -1, "ord");
    bool euclidean = !order || (order->kind == FE_TEXT && strcmp(order->text, "euclidean") == 0) ||
                     (order->kind == FE_NUMBER && order->number == 2);
    fe_value energy;
    if (!euclidean) return fail(l, "only the euclidean norm is supported as \"%s\"", "ord");
    return build_energy(l, args, is_set(args, "keepdims"), &energy) && build1(l, s->op, energy, out);
}

static bool swap_last(fe_lower *l, fe_value *x)
{
    const tf_arg arg[] = {{"x", *x}, {"axis1", fe_value_int(-1)}, {"axis2", fe_value_int(-2)}};
    return tf_op_build(l, "Swapaxes", 3, arg, x);
}

bool tf_build_matmul(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value a, b;
    if (!get(l, args, "x1", &a) || !get(l, args, "x2", &b)) return false;
    if (is_set(args, "transpose_a") && !swap_last(l, &a)) return false;
    if (is_set(args, "transpose_b") && !swap_last(l, &b)) return false;
    return build2(l, s->op, a, b, out);
}

bool tf_build_bias_add(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x, bias;
    const fe_value *format = fe_args_find(args, -1, "data_format");
    if (!get_tensor(l, args, "x1", &x) || !get(l, args, "x2", &bias)) return false;
    if (format && format->kind == FE_TEXT && strncmp(format->text, "NC", 2) == 0)
        return fail(l, "channels first is not supported as \"%s\"", "data_format");
    return build2(l, s->op, x, bias, out);
}

/* ---- parts
 * ------------------------------------------------------------------------------------------------- */

/* x[..., start:limit] along an axis, or x[..., start] with a limit of -1. */
static bool build_part(fe_lower *l, fe_value x, int64_t axis, int64_t start, int64_t limit, fe_value *out)
{
    fe_value key[IR_MAX_RANK], part[3] = {fe_value_int(start), fe_value_int(limit), {.kind = FE_NULL}},
                               whole[3] = {{.kind = FE_NULL}};
    for (int64_t i = 0; i < axis; i++) key[i] = (fe_value){.kind = FE_SLICE, .count = 3, .item = whole};
    key[axis] = limit < 0 ? fe_value_int(start) : (fe_value){.kind = FE_SLICE, .count = 3, .item = part};
    const tf_arg arg[] = {{"x", x}, {"key", {.kind = FE_LIST, .count = (int)axis + 1, .item = key}}};
    return tf_op_build(l, "GetItem", 2, arg, out);
}

enum { MOST_PARTS = 4096 };

bool tf_build_unstack(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x;
    int64_t axis, size;
    (void)s;
    if (!get_tensor(l, args, "x", &x) || !get_axis(l, args, &x, &axis, &size)) return false;
    if (size > MOST_PARTS)
        return fail(l, "expected at most 4096 parts of %s",
                    fe_shape_show(l->fe, ir_type_of(l->g, x.tensor.value)));
    *out = (fe_value){
        .kind = FE_LIST, .count = (int)size, .item = arena_array(l->fe->arena, fe_value, (size_t)size + 1)};
    for (int64_t i = 0; i < size; i++) {
        if (!build_part(l, x, axis, i, -1, &out->item[i])) return false;
    }
    return true;
}

/* The sizes of the parts: equal ones, or as listed, where one may be -1. */
static bool get_parts(fe_lower *l, const fe_args *args, int64_t size, int *out_count, int64_t **out)
{
    fe_value splits;
    int64_t sum = 0, open = -1;
    if (!get(l, args, "num_or_size_splits", &splits)) return false;
    bool many = splits.kind == FE_LIST;
    int64_t count = many ? splits.count : splits.integer;
    bool fits = (many || (splits.kind == FE_NUMBER && !splits.is_float)) && count > 0 &&
                count <= MOST_PARTS && (many || size % count == 0);
    int64_t *part = arena_array(l->fe->arena, int64_t, fits ? (size_t)count : 1);
    for (int64_t i = 0; fits && i < count; i++) {
        fits = !many || (splits.item[i].kind == FE_NUMBER && !splits.item[i].is_float &&
                         splits.item[i].integer <= size);
        part[i] = many && fits ? splits.item[i].integer : size / count;
        if (part[i] < 0) {
            fits = fits && open < 0 && part[i] == -1;
            open = i;
        } else {
            sum += part[i];
        }
    }
    if (fits && open >= 0) part[open] = size - sum;
    fits = fits && (open >= 0 ? part[open] >= 0 : sum == size);
    *out_count = (int)count;
    *out = part;
    return fits || fail(l, "expected parts that make up the whole axis as \"%s\"", "num_or_size_splits");
}

bool tf_build_split(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x;
    int64_t axis, size, from = 0, *part;
    int count;
    (void)s;
    if (!get_tensor(l, args, "x", &x) || !get_axis(l, args, &x, &axis, &size) ||
        !get_parts(l, args, size, &count, &part))
        return false;
    *out = (fe_value){
        .kind = FE_LIST, .count = count, .item = arena_array(l->fe->arena, fe_value, (size_t)count)};
    for (int i = 0; i < count; from += part[i], i++) {
        if (!build_part(l, x, axis, from, from + part[i], &out->item[i])) return false;
    }
    return true;
}

/* keras.ops takes no value for the modes that need none. */
bool tf_build_pad(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x, width;
    const fe_value *mode = fe_args_find(args, -1, "mode"), *value = fe_args_find(args, -1, "constant_values");
    const fe_value none = {.kind = FE_NULL};
    if (!get_tensor(l, args, "x", &x) || !get(l, args, "pad_width", &width)) return false;
    bool constant = !mode || (mode->kind == FE_TEXT && strcmp(mode->text, "constant") == 0);
    const tf_arg arg[] = {{"x", x},
                          {"pad_width", width},
                          {"mode", mode ? *mode : none},
                          {"constant_values", constant && value ? *value : none}};
    return tf_op_build(l, s->op, 4, arg, out);
}

bool tf_build_batch_flatten(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x, size[2] = {fe_value_int(-1), fe_value_int(1)};
    if (!get_tensor(l, args, "x", &x)) return false;
    const ir_type *t = ir_type_of(l->g, x.tensor.value);
    for (int i = 1; i < t->rank; i++) size[1] = fe_value_int(size[1].integer * t->dim[i].count);
    const tf_arg arg[] = {{"x", x}, {"newshape", {.kind = FE_LIST, .count = 2, .item = size}}};
    return tf_op_build(l, s->op, 2, arg, out);
}
