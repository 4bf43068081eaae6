/* layers_activation.c: layers that are an activation function. */
#include "frontend/layers.h"

#include <math.h>

typedef struct softmax_state {
    int count;
    int64_t axes[FE_MAX_AXES];
} softmax_state;

typedef struct prelu_state {
    fe_weight_config alpha;
    int shared_count;
    int64_t shared[FE_MAX_AXES];
} prelu_state;

static bool call_activation(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 0, IR_MAX_RANK, &x)) return false;
    return fe_activation_finish(l, layer, layer->state, x.value, out);
}

bool fe_read_activation(fe *f, fe_layer *layer, fe_config *c)
{
    const ir_record *r = NULL;
    (void)f;
    if (!fe_activation_or_layer_read(c, layer, &r)) return false;
    layer->state = (void *)(uintptr_t)r;
    return fe_config_done(c);
}

bool fe_call_activation(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return call_activation(l, layer, args, out);
}

/* A number that is not negative. */
static bool read_slope(fe_config *c, const char *key, double otherwise, ir_record *r)
{
    const json_at at = fe_key(c, key);
    double v = otherwise;
    if (!fe_config_number_or(c, key, otherwise, &v)) return false;
    if (!(v >= 0)) return fe_error(c->fe, &at, "expected a number that is not negative, found %g", v);
    ir_record_add_number(c->fe->arena, r, key, v);
    return true;
}

bool fe_read_relu(fe *f, fe_layer *layer, fe_config *c)
{
    ir_record *r = ir_record_new(f->arena, "relu");
    layer->state = r;
    if (!read_slope(c, "negative_slope", 0, r) || !read_slope(c, "threshold", 0, r)) return false;
    if (fe_config_has(c, "max_value") && !read_slope(c, "max_value", INFINITY, r)) return false;
    return fe_config_done(c);
}

bool fe_call_relu(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return call_activation(l, layer, args, out);
}

bool fe_read_leaky_relu(fe *f, fe_layer *layer, fe_config *c)
{
    ir_record *r = ir_record_new(f->arena, "leaky_relu");
    layer->state = r;
    if (!read_slope(c, fe_config_has(c, "alpha") ? "alpha" : "negative_slope", 0.3, r)) return false;
    return fe_config_done(c);
}

bool fe_call_leaky_relu(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return call_activation(l, layer, args, out);
}

bool fe_read_elu(fe *f, fe_layer *layer, fe_config *c)
{
    ir_record *r = ir_record_new(f->arena, "elu");
    double alpha = 1;
    layer->state = r;
    if (!fe_config_number_or(c, "alpha", 1, &alpha)) return false;
    ir_record_add_number(f->arena, r, "alpha", alpha);
    return fe_config_done(c);
}

bool fe_call_elu(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return call_activation(l, layer, args, out);
}

bool fe_read_prelu(fe *f, fe_layer *layer, fe_config *c)
{
    prelu_state *s = arena_new(f->arena, prelu_state);
    layer->state = s;
    if (!fe_weight_config_read(c, "alpha", "zeros", &s->alpha)) return false;
    if (fe_config_has(c, "shared_axes") && !fe_axes_read(c, "shared_axes", &s->shared_count, s->shared))
        return false;
    return fe_config_done(c);
}

bool fe_call_prelu(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const prelu_state *s = layer->state;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 2, IR_MAX_RANK, &x)) return false;
    const ir_type t = fe_type(l, x.value);
    int64_t shared[FE_MAX_AXES];
    /* They count from one among the axes of alpha, so those from the end start at 0: that is the last one. */
    for (int i = 0; i < s->shared_count; i++) {
        const int64_t axis = s->shared[i], from_end = axis + t.rank - 1;
        shared[i] = axis > 0 ? axis : from_end > 0 ? from_end : 0;
    }
    if (!fe_axes_resolve(l, layer, t.rank, 1, s->shared_count, shared)) return false;
    fe_shape shape = {.rank = t.rank - 1};
    for (int d = 1, next = 0; d < t.rank; d++) {
        if (next < s->shared_count && shared[next] == d)
            shape.dim[d - 1] = 1, next++;
        else if (!fe_dim_get(l, layer, &t, d, &shape.dim[d - 1]))
            return false;
    }
    const ir_value alpha = fe_layer_weight(l, layer, "alpha", &s->alpha, shape);
    if (alpha == IR_NONE) return false;
    const ir_value mirrored = fe_relu_build(l, ir_build_unary(l->g, OP_negate, x.value));
    const ir_value negative =
        ir_build_binary(l->g, OP_multiply, mirrored, ir_build_unary(l->g, OP_negate, alpha));
    return fe_finish(l, ir_build_binary(l->g, OP_add, fe_relu_build(l, x.value), negative), IR_NONE, out);
}

bool fe_read_softmax(fe *f, fe_layer *layer, fe_config *c)
{
    softmax_state *s = arena_new(f->arena, softmax_state);
    layer->state = s;
    return fe_axes_read(c, "axis", &s->count, s->axes) && fe_config_done(c);
}

/* The mask as i1 of x's shape, or IR_NONE in *out when there is none. */
static bool find_softmax_mask(fe_lower *l, fe_layer *layer, const fe_args *args, fe_tensor x, ir_value *out)
{
    fe_tensor given;
    if (!fe_tensor_find(l, layer, args, 1, "mask", &given)) return false;
    ir_value mask = given.value != IR_NONE ? given.value : x.mask;
    *out = mask;
    if (mask == IR_NONE) return true;
    const ir_type shape = fe_type(l, x.value);
    ir_type m = fe_type(l, mask), both;
    if (m.rank > shape.rank || !ir_broadcast_shapes(&shape, &m, &both) ||
        !ir_type_same_shape(&both, &shape)) {
        return fe_layer_error(l->fe, layer, "expected a mask that fits %s, found %s",
                              fe_shape_show(l->fe, &shape), fe_shape_show(l->fe, &m));
    }
    if (m.dtype != DTYPE_i1) mask = ir_build_compare(l->g, "GT", mask, ir_build_scalar(l->g, m.dtype, 0.5));
    *out = ir_build_broadcast_to(l->g, mask, &shape);
    return true;
}

bool fe_call_softmax(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const softmax_state *s = layer->state;
    fe_tensor x;
    int64_t axes[FE_MAX_AXES];
    ir_value mask;
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK, &x)) return false;
    const ir_type t = fe_type(l, x.value);
    for (int i = 0; i < s->count; i++) axes[i] = s->axes[i];
    if (!fe_axes_resolve(l, layer, t.rank, 0, s->count, axes)) return false;
    if (!find_softmax_mask(l, layer, args, x, &mask)) return false;
    ir_value y = x.value;
    if (!ir_dtype_is_float(t.dtype)) y = ir_build_convert(l->g, y, layer->compute_dtype);
    const ir_dtype dtype = fe_type(l, y).dtype;
    const ir_value low = ir_build_scalar(l->g, dtype, dtype == DTYPE_f16 ? -3e4 : -1e9);
    const bool adds =
        l->fe->keras2; /* Keras 2 adds to hidden values, and leaves their shares as they come out */
    if (mask != IR_NONE && adds)
        y = ir_build_binary(l->g, OP_add, y,
                            ir_build_select(l->g, mask, ir_build_scalar(l->g, dtype, 0), low));
    else if (mask != IR_NONE)
        y = ir_build_select(l->g, mask, y, low);
    const ir_value logits = y;
    y = fe_softmax_build(l, y, s->count, axes);
    if (mask == IR_NONE && s->count == 1) fe_logits_set(l, y, logits);
    if (mask != IR_NONE && !adds) y = ir_build_select(l->g, mask, y, ir_build_scalar(l->g, dtype, 0));
    return fe_finish(l, y, IR_NONE, out);
}
