/* activations.c: Keras's activation functions by name, and the activation layers that may stand in their
 * place
 * (`activation=LeakyReLU(0.1)`). The formulas give TensorFlow's gradients also where a branch meets another:
 * select rather than maximum, and no overflow in the branch that is not taken. */
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

typedef struct activation {
    const char *name;
    ir_value (*build)(fe_lower *l, const ir_record *r, ir_value x);
    const char *fields; /* numbers that it reads; each between spaces */
} activation;

static ir_value add(fe_lower *l, ir_value x, double b) { return ir_build_binary_scalar(l->g, OP_add, x, b); }
static ir_value scale(fe_lower *l, ir_value x, double b)
{
    return ir_build_binary_scalar(l->g, OP_multiply, x, b);
}
static ir_value number(fe_lower *l, ir_value like, double v)
{
    return ir_build_scalar(l->g, fe_type(l, like).dtype, v);
}

static ir_value compare(fe_lower *l, const char *direction, ir_value x, double b)
{
    return ir_build_compare(l->g, direction, x, number(l, x, b));
}

static ir_value choose(fe_lower *l, ir_value condition, ir_value a, ir_value b)
{
    return ir_build_select(l->g, condition, a, b);
}

/* tf.clip_by_value: the gradient passes at the borders too. */
static ir_value clip(fe_lower *l, ir_value x, double low, double high)
{
    const ir_value below = choose(l, compare(l, "GT", x, high), number(l, x, high), x);
    return choose(l, compare(l, "LT", x, low), number(l, x, low), below);
}

static ir_value build_relu6(fe_lower *l, const ir_record *r, ir_value x)
{
    (void)r;
    const ir_value low = choose(l, compare(l, "LT", x, 6), x, number(l, x, 6));
    return choose(l, compare(l, "GT", x, 0), low, number(l, x, 0));
}

static ir_value leaky(fe_lower *l, ir_value x, double slope)
{
    return choose(l, compare(l, "GT", x, 0), x, scale(l, x, slope));
}

static ir_value build_relu(fe_lower *l, const ir_record *r, ir_value x)
{
    const double slope = ir_record_number(r, "negative_slope", 0),
                 most = ir_record_number(r, "max_value", INFINITY);
    const double threshold = ir_record_number(r, "threshold", 0);
    if (slope != 0 && most == INFINITY && threshold == 0) return leaky(l, x, slope);
    ir_value y;
    if (threshold != 0)
        y = choose(l, compare(l, "GT", x, threshold), x, number(l, x, 0));
    else if (most == 6)
        y = build_relu6(l, r, x);
    else
        y = fe_relu_build(l, x);
    if (most != INFINITY && !(most == 6 && threshold == 0)) y = clip(l, y, 0, most);
    if (slope == 0) return y;
    const ir_value mirrored = ir_build_unary(l->g, OP_negate, x);
    const ir_value negative = fe_relu_build(l, threshold == 0 ? mirrored : add(l, mirrored, threshold));
    return ir_build_binary(l->g, OP_subtract, y, scale(l, negative, slope));
}

static ir_value build_leaky_relu(fe_lower *l, const ir_record *r, ir_value x)
{
    return leaky(l, x, ir_record_number(r, "negative_slope", ir_record_number(r, "alpha", 0.2)));
}

/* A LeakyReLU layer has another default slope than the function. */
static ir_value build_leaky_re_lu(fe_lower *l, const ir_record *r, ir_value x)
{
    return leaky(l, x, ir_record_number(r, "negative_slope", ir_record_number(r, "alpha", 0.3)));
}

/* expm1 where x is not positive, 0 elsewhere. */
static ir_value negative_expm1(fe_lower *l, ir_value x, ir_value positive)
{
    return ir_build_unary(l->g, OP_exponential_minus_one, choose(l, positive, number(l, x, 0), x));
}

static ir_value build_elu(fe_lower *l, const ir_record *r, ir_value x)
{
    const double alpha = ir_record_number(r, "alpha", 1);
    const ir_value positive = compare(l, "GT", x, 0);
    const ir_value negative = negative_expm1(l, x, positive);
    return choose(l, positive, x, alpha == 1 ? negative : scale(l, negative, alpha));
}

static ir_value build_selu(fe_lower *l, const ir_record *r, ir_value x)
{
    const double alpha = 1.6732632423543772848170429916717, factor = 1.0507009873554804934193349852946;
    (void)r;
    const ir_value positive = compare(l, "GE", x, 0);
    return choose(l, positive, scale(l, x, factor), scale(l, negative_expm1(l, x, positive), alpha * factor));
}

static ir_value build_celu(fe_lower *l, const ir_record *r, ir_value x)
{
    const double alpha = ir_record_number(r, "alpha", 1);
    const ir_value zero = number(l, x, 0);
    const ir_value positive = choose(l, compare(l, "GE", x, 0), x, zero);
    const ir_value low = scale(l, choose(l, compare(l, "LE", x, 0), x, zero), 1 / alpha);
    const ir_value negative = scale(l, ir_build_unary(l->g, OP_exponential_minus_one, low), alpha);
    return ir_build_binary(l->g, OP_add, positive, negative);
}

static ir_value build_gelu(fe_lower *l, const ir_record *r, ir_value x)
{
    const ir_value half = scale(l, x, 0.5);
    ir_value gate;
    if (ir_record_number(r, "approximate", 0) != 0) {
        const ir_value cube = ir_build_binary(l->g, OP_multiply, x, fe_square(l, x));
        const ir_value inner = ir_build_binary(l->g, OP_add, x, scale(l, cube, 0.044715));
        gate = ir_build_unary(l->g, OP_tanh, scale(l, inner, 0.79788456080286535588));
    } else {
        gate = ir_build_unary(l->g, OP_erf, scale(l, x, 0.70710678118654752440));
    }
    return ir_build_binary(l->g, OP_multiply, half, add(l, gate, 1));
}

static ir_value build_sigmoid(fe_lower *l, const ir_record *r, ir_value x)
{
    (void)r;
    const ir_value y = ir_build_unary(l->g, OP_logistic, x);
    fe_logits_set(l, y, x);
    return y;
}

static ir_value build_tanh(fe_lower *l, const ir_record *r, ir_value x)
{
    (void)r;
    return ir_build_unary(l->g, OP_tanh, x);
}

static ir_value build_exponential(fe_lower *l, const ir_record *r, ir_value x)
{
    (void)r;
    return ir_build_unary(l->g, OP_exponential, x);
}

static ir_value build_linear(fe_lower *l, const ir_record *r, ir_value x)
{
    (void)l, (void)r;
    return x;
}

/* log(1 + e^x), which is x itself to the last bit from some x on. */
static ir_value build_softplus(fe_lower *l, const ir_record *r, ir_value x)
{
    const ir_dtype t = fe_type(l, x).dtype;
    const double large = t == DTYPE_f16 ? 10 : t == DTYPE_f64 ? 40 : 20;
    (void)r;
    const ir_value is_large = compare(l, "GT", x, large);
    const ir_value e = ir_build_unary(l->g, OP_exponential, choose(l, is_large, number(l, x, large), x));
    return choose(l, is_large, x, ir_build_unary(l->g, OP_log_plus_one, e));
}

static ir_value build_log_sigmoid(fe_lower *l, const ir_record *r, ir_value x)
{
    const ir_value y = build_softplus(l, r, ir_build_unary(l->g, OP_negate, x));
    return ir_build_unary(l->g, OP_negate, y);
}

static ir_value build_softsign(fe_lower *l, const ir_record *r, ir_value x)
{
    (void)r;
    return ir_build_binary(l->g, OP_divide, x, add(l, ir_build_unary(l->g, OP_abs, x), 1));
}

static ir_value build_silu(fe_lower *l, const ir_record *r, ir_value x)
{
    return ir_build_binary(l->g, OP_multiply, x, build_sigmoid(l, r, x));
}

static ir_value build_mish(fe_lower *l, const ir_record *r, ir_value x)
{
    return ir_build_binary(l->g, OP_multiply, x, build_tanh(l, r, build_softplus(l, r, x)));
}

/* Keras 2's is steeper. */
static ir_value build_hard_sigmoid(fe_lower *l, const ir_record *r, ir_value x)
{
    if (l->fe->keras2) return clip(l, add(l, scale(l, x, 0.2), 0.5), 0, 1);
    return ir_build_binary_scalar(l->g, OP_divide, build_relu6(l, r, add(l, x, 3)), 6);
}

static ir_value build_hard_silu(fe_lower *l, const ir_record *r, ir_value x)
{
    return ir_build_binary(l->g, OP_multiply, x, build_hard_sigmoid(l, r, x));
}

static ir_value build_hard_tanh(fe_lower *l, const ir_record *r, ir_value x)
{
    (void)r;
    return clip(l, x, -1, 1);
}

static ir_value build_tanh_shrink(fe_lower *l, const ir_record *r, ir_value x)
{
    return ir_build_binary(l->g, OP_subtract, x, build_tanh(l, r, x));
}

static ir_value build_soft_shrink(fe_lower *l, const ir_record *r, ir_value x)
{
    const double t = ir_record_number(r, "threshold", 0.5);
    const ir_value low = choose(l, compare(l, "LT", x, -t), add(l, x, t), number(l, x, 0));
    return choose(l, compare(l, "GT", x, t), add(l, x, -t), low);
}

static ir_value build_hard_shrink(fe_lower *l, const ir_record *r, ir_value x)
{
    const ir_value size = ir_build_unary(l->g, OP_abs, x);
    return choose(l, compare(l, "GT", size, ir_record_number(r, "threshold", 0.5)), x, number(l, x, 0));
}

static ir_value build_threshold(fe_lower *l, const ir_record *r, ir_value x)
{
    const ir_value otherwise = number(l, x, ir_record_number(r, "default_value", 0));
    return choose(l, compare(l, "GT", x, ir_record_number(r, "threshold", 0)), x, otherwise);
}

static ir_value build_squareplus(fe_lower *l, const ir_record *r, ir_value x)
{
    const ir_value root = ir_build_unary(l->g, OP_sqrt, add(l, fe_square(l, x), ir_record_number(r, "b", 4)));
    return scale(l, ir_build_binary(l->g, OP_add, x, root), 0.5);
}

static ir_value build_sparse_plus(fe_lower *l, const ir_record *r, ir_value x)
{
    (void)r;
    const ir_value middle = scale(l, fe_square(l, add(l, x, 1)), 0.25);
    const ir_value high = choose(l, compare(l, "LT", x, 1), middle, x);
    return choose(l, compare(l, "LE", x, -1), number(l, x, 0), high);
}

static ir_value build_sparse_sigmoid(fe_lower *l, const ir_record *r, ir_value x)
{
    (void)r;
    const ir_value high = choose(l, compare(l, "GE", x, 1), number(l, x, 1), scale(l, add(l, x, 1), 0.5));
    return choose(l, compare(l, "LE", x, -1), number(l, x, 0), high);
}

/* The axis of a record, checked against x; -1 after a diagnostic. */
static int64_t resolve_axis(fe_lower *l, const ir_record *r, ir_value x)
{
    int64_t axis = (int64_t)ir_record_number(r, "axis", -1);
    return fe_axes_resolve(l, l->layer, fe_type(l, x).rank, 0, 1, &axis) ? axis : -1;
}

static ir_value build_softmax(fe_lower *l, const ir_record *r, ir_value x)
{
    const int64_t axis = resolve_axis(l, r, x);
    if (axis < 0) return IR_NONE;
    const ir_value y = fe_softmax_build(l, x, 1, &axis);
    fe_logits_set(l, y, x);
    return y;
}

static ir_value build_log_softmax(fe_lower *l, const ir_record *r, ir_value x)
{
    ir_graph *g = l->g;
    const int64_t axis = resolve_axis(l, r, x);
    if (axis < 0) return IR_NONE;
    const ir_type shape = fe_type(l, x);
    const ir_value top =
        ir_build_unary(g, OP_stop_gradient, ir_build_reduce(g, "maximum", x, 1, &axis, false));
    const ir_value shifted = ir_build_binary(g, OP_subtract, x, fe_spread(l, top, shape, 1, &axis));
    const ir_value sum =
        ir_build_reduce(g, "add", ir_build_unary(g, OP_exponential, shifted), 1, &axis, false);
    return ir_build_binary(g, OP_subtract, shifted,
                           fe_spread(l, ir_build_unary(g, OP_log, sum), shape, 1, &axis));
}

static ir_value build_glu(fe_lower *l, const ir_record *r, ir_value x)
{
    const int64_t axis = resolve_axis(l, r, x);
    const ir_type t = fe_type(l, x);
    int64_t size = 0;
    if (axis < 0 || !fe_dim_get(l, l->layer, &t, (int)axis, &size)) return IR_NONE;
    if (size % 2 != 0) {
        fe_layer_error(l->fe, l->layer, "expected an even size of axis %d for glu, found %s", (int)axis,
                       fe_shape_show(l->fe, &t));
        return IR_NONE;
    }
    const ir_value a = ir_build_slice_dim(l->g, x, (int)axis, 0, size / 2);
    const ir_value b = ir_build_slice_dim(l->g, x, (int)axis, size / 2, size);
    return ir_build_binary(l->g, OP_multiply, a, ir_build_unary(l->g, OP_logistic, b));
}

static ir_value build_sparsemax(fe_lower *l, const ir_record *r, ir_value x)
{
    ir_graph *g = l->g;
    const int64_t axis = resolve_axis(l, r, x);
    if (axis < 0) return IR_NONE;
    const ir_type t = fe_type(l, x);
    const ir_attr by[] = {{.name = ATTR_dimension, .i = axis}, {.name = ATTR_descending, .i = 1}};
    const ir_value sorted = ir_build_get(g, ir_build(g, OP_sort, 1, &x, 2, by, NULL), 0);
    const ir_value sums = ir_build_cumulative(g, "add", sorted, (int)axis, false, false);
    const ir_value rank = add(l, ir_build_iota(g, t, (int)axis), 1);
    const ir_value mean = ir_build_binary(g, OP_divide, add(l, sums, -1), rank);
    const ir_value support =
        ir_build_compare(g, "GT", ir_build_binary(g, OP_subtract, sorted, mean), number(l, x, 0));
    const ir_value k = ir_build_reduce(g, "add", ir_build_convert(g, support, t.dtype), 1, &axis, false);
    const ir_value chosen = choose(l, support, sums, number(l, x, 0));
    const ir_value total = add(l, ir_build_reduce(g, "add", chosen, 1, &axis, false), -1);
    const ir_value tau = ir_build_binary(g, OP_divide, total, k);
    return fe_relu_build(l, ir_build_binary(g, OP_subtract, x, fe_spread(l, tau, t, 1, &axis)));
}

static const activation activations[] = {
    {"celu",           build_celu,           " alpha "},
    {"elu",            build_elu,            " alpha "},
    {"exponential",    build_exponential,    " "},
    {"gelu",           build_gelu,           " approximate "},
    {"glu",            build_glu,            " axis "},
    {"hard_shrink",    build_hard_shrink,    " threshold "},
    {"hard_sigmoid",   build_hard_sigmoid,   " "},
    {"hard_silu",      build_hard_silu,      " "},
    {"hard_swish",     build_hard_silu,      " "},
    {"hard_tanh",      build_hard_tanh,      " "},
    {"leaky_re_lu",    build_leaky_re_lu,    " negative_slope alpha "},
    {"leaky_relu",     build_leaky_relu,     " negative_slope alpha "},
    {"linear",         build_linear,         " "},
    {"log_sigmoid",    build_log_sigmoid,    " "},
    {"log_softmax",    build_log_softmax,    " axis "},
    {"mish",           build_mish,           " "},
    {"re_lu",          build_relu,           " negative_slope max_value threshold "},
    {"relu",           build_relu,           " negative_slope max_value threshold "},
    {"relu6",          build_relu6,          " "},
    {"selu",           build_selu,           " "},
    {"sigmoid",        build_sigmoid,        " "},
    {"silu",           build_silu,           " "},
    {"soft_shrink",    build_soft_shrink,    " threshold "},
    {"softmax",        build_softmax,        " axis "},
    {"softplus",       build_softplus,       " "},
    {"softsign",       build_softsign,       " "},
    {"sparse_plus",    build_sparse_plus,    " "},
    {"sparse_sigmoid", build_sparse_sigmoid, " "},
    {"sparsemax",      build_sparsemax,      " axis "},
    {"squareplus",     build_squareplus,     " b "},
    {"swish",          build_silu,           " "},
    {"tanh",           build_tanh,           " "},
    {"tanh_shrink",    build_tanh_shrink,    " "},
    {"threshold",      build_threshold,      " threshold default_value "},
};

static const activation *find_activation(const char *name)
{
    for (size_t i = 0; i < countof(activations); i++) {
        if (strcmp(activations[i].name, name) == 0) return &activations[i];
    }
    return NULL;
}

bool fe_activation_is_known(const char *name) { return find_activation(name) != NULL; }

/* A layer in the place of an activation brings fields of its own. */
static bool is_known_field(fe *f, const activation *a, const char *key)
{
    const char *spaced = arena_printf(f->arena, " %s ", key);
    return strstr(a->fields, spaced) != NULL || strstr(" name trainable dtype ", spaced) != NULL;
}

bool fe_activation_check(fe *f, const ir_record *r, const json_at *at)
{
    const activation *a = find_activation(r->name);
    if (a == NULL) {
        const char *known[countof(activations)];
        for (size_t i = 0; i < countof(activations); i++) known[i] = activations[i].name;
        const char *near = fe_nearest(r->name, countof(activations), known);
        if (near == NULL) return fe_error(f, at, "expected the name of an activation, found \"%s\"", r->name);
        return fe_error(f, at, "expected the name of an activation, found \"%s\": did you mean \"%s\"",
                        r->name, near);
    }
    for (size_t i = 0; i < r->count; i++) {
        const ir_field *field = &r->field[i];
        if (!is_known_field(f, a, field->key)) {
            return fe_error(f, at, "expected fields of activation \"%s\", found \"%s\"", r->name, field->key);
        }
        if (strstr(a->fields, field->key) != NULL && field->kind != FIELD_NUMBER) {
            return fe_error(f, at, "expected a number as \"%s\" of activation \"%s\"", field->key, r->name);
        }
    }
    if (strcmp(r->name, "threshold") == 0 &&
        (!ir_record_find(r, "threshold") || !ir_record_find(r, "default_value"))) {
        return fe_error(
            f, at, "expected activation \"threshold\" with its threshold and default_value, found neither");
    }
    const double axis = ir_record_number(r, "axis", -1), alpha = ir_record_number(r, "alpha", 1);
    if (axis != floor(axis) || fabs(axis) > IR_MAX_RANK)
        return fe_error(f, at, "expected an axis, found %g", axis);
    if (!isfinite(alpha) || (a->build == build_celu && alpha == 0)) {
        return fe_error(f, at, "expected an alpha that is not 0, found %g", alpha);
    }
    return true;
}

ir_value fe_activation_build(fe_lower *l, const ir_record *r, ir_value x)
{
    if (r == NULL) return x;
    const activation *a = find_activation(r->name);
    bug_if(a == NULL, "unchecked activation \"%s\"", r->name);
    if (x != IR_NONE && !ir_dtype_is_float(fe_type(l, x).dtype) && a->build != build_linear &&
        a->build != build_relu)
        x = ir_build_convert(l->g, x, l->layer->compute_dtype);
    return x == IR_NONE ? IR_NONE : a->build(l, r, x);
}

const char *fe_activation_at(size_t i) { return i < countof(activations) ? activations[i].name : NULL; }
