/* keras2_random.c: functions of TensorFlow that draw random numbers. TensorFlow draws them from generators of its own;
 * here each call has one of this program, which --seed sets off. */
#include "frontend/keras2.h"
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

/* format has one %s. */
static bool fail(fe_lower *l, const char *format, const char *name)
{
    return fe_layer_error(l->fe, l->layer, format, name);
}

static double get_number(const fe_args *args, const char *name, double otherwise)
{
    const fe_value *v = fe_args_find(args, -1, name);
    return v && v->kind == FE_NUMBER ? v->number : otherwise;
}

static fe_seed get_seed(const fe_args *args)
{
    const fe_value *v = fe_args_find(args, -1, "seed");
    return (fe_seed){.has_seed = v && v->kind == FE_NUMBER, .seed = v ? v->integer : 0};
}

static bool get_drawn(fe_lower *l, const fe_args *args, ir_type *out_type, ir_value *out_state)
{
    const fe_value *dtype = fe_args_find(args, -1, "dtype");
    const fe_seed seed = get_seed(args);
    *out_type = ir_type_scalar(DTYPE_f32);
    if (dtype && (dtype->kind != FE_TEXT || !ir_dtype_find_keras(dtype->text, &out_type->dtype) ||
                  !ir_dtype_is_float(out_type->dtype)))
        return fail(l, "expected the name of a floating type as \"%s\"", "dtype");
    if (!tf_shape_get(l, args, out_type) || !fe_size_check(l, l->layer, out_type)) return false;
    *out_state = fe_seed_draw(l, l->layer, "seed_generator", seed.has_seed, seed.seed);
    return *out_state != IR_NONE;
}

static bool finish(fe_lower *l, ir_value x, double scale, double offset, fe_value *out)
{
    if (scale != 1) x = ir_build_binary_scalar(l->g, OP_multiply, x, scale);
    if (offset != 0) x = ir_build_binary_scalar(l->g, OP_add, x, offset);
    *out = fe_value_tensor(x, IR_NONE);
    return true;
}

bool tf_build_random_normal(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    ir_type t;
    ir_value state;
    (void)s;
    return get_drawn(l, args, &t, &state) &&
           finish(l, ir_build_random_normal(l->g, state, t), get_number(args, "stddev", 1), get_number(args, "mean", 0),
                  out);
}

bool tf_build_random_uniform(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    ir_type t;
    ir_value state;
    const double low = get_number(args, "minval", 0), high = get_number(args, "maxval", 1);
    (void)s;
    return get_drawn(l, args, &t, &state) && finish(l, ir_build_random_uniform(l->g, state, t), high - low, low, out);
}

/* Normal numbers within two deviations, by the inverse of their distribution. */
bool tf_build_random_truncated(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    ir_type t;
    ir_value state;
    (void)s;
    if (!get_drawn(l, args, &t, &state)) return false;
    const double edge = erf(sqrt(2));
    const ir_value u = ir_build_random_between(l->g, state, t, -edge, edge);
    return finish(l, ir_build_unary(l->g, OP_erf_inv, u), sqrt(2) * get_number(args, "stddev", 1),
                  get_number(args, "mean", 0), out);
}

/* The function drops whether a model trains or not. */
bool tf_build_random_dropout(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    const fe_value *x = fe_args_find(args, -1, "x");
    const double rate = get_number(args, "rate", -1);
    const fe_seed seed = get_seed(args);
    (void)s;
    if (!x || x->kind != FE_TENSOR || !(rate >= 0 && rate < 1))
        return fail(l, "expected a tensor and a rate of at least 0 and below 1%s", "");
    ir_type noise = fe_type(l, x->tensor.value);
    if (fe_args_find(args, -1, "shape")) {
        ir_type both;
        const ir_type t = noise;
        if (!tf_shape_get(l, args, &noise)) return false;
        if (!ir_broadcast_shapes(&t, &noise, &both) || !ir_type_same_shape(&both, &t))
            return fail(l, "expected a noise_shape that stretches to %s", fe_shape_show(l->fe, &t));
    }
    const ir_value y = fe_dropout_build(l, x->tensor.value, rate, &noise, &seed);
    *out = fe_value_tensor(y, IR_NONE);
    return y != IR_NONE;
}
