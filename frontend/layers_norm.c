/* layers_norm.c: batch, layer, group, RMS and unit normalization. Statistics are computed in float32 at
 * least, with the variance in a second pass around the mean, as TensorFlow does. */
#include "frontend/layers.h"

#include <string.h>

typedef struct norm_state {
    int axis_count;
    int64_t axes[FE_MAX_AXES];
    double epsilon, momentum;
    bool center, scale, rms_scaling;
    int64_t groups;
    fe_weight_config gamma, beta, moving_mean, moving_variance;
    fe_renorm renorm;
} norm_state;

/* ---- reading ----------------------------------------------------------------------------- */

static norm_state *make_state(fe *f, fe_layer *layer)
{
    norm_state *s = arena_new(f->arena, norm_state);
    layer->state = s;
    return s;
}

static bool read_common(fe_config *c, norm_state *s, double epsilon)
{
    const json_at at = fe_key(c, "epsilon");
    bool ok = fe_axes_read(c, "axis", &s->axis_count, s->axes);
    ok = fe_config_number_or(c, "epsilon", epsilon, &s->epsilon) && ok;
    if (ok && !(s->epsilon >= 0))
        ok = fe_error(c->fe, &at, "expected a number that is not negative, found %g", s->epsilon);
    return ok;
}

static bool read_affine(fe_config *c, norm_state *s)
{
    bool ok = fe_config_bool_or(c, "center", true, &s->center);
    ok = fe_config_bool_or(c, "scale", true, &s->scale) && ok;
    ok = fe_weight_config_read(c, "gamma", "ones", &s->gamma) && ok;
    return fe_weight_config_read(c, "beta", "zeros", &s->beta) && ok;
}

static bool check_one_axis(fe_config *c, const norm_state *s)
{
    const json_at at = fe_key(c, "axis");
    return s->axis_count == 1 || fe_error(c->fe, &at, "expected one axis, found %d", s->axis_count);
}

/* Keras 2 normalizes along several axes, too. `synchronized` takes the statistics of all workers together; a program is one. */
bool fe_read_batch_normalization(fe *f, fe_layer *layer, fe_config *c)
{
    norm_state *s = make_state(f, layer);
    bool ok = read_common(c, s, 1e-3) && (f->keras2 || check_one_axis(c, s));
    ok = read_affine(c, s) && ok;
    ok = fe_config_number_or(c, "momentum", 0.99, &s->momentum) && ok;
    ok = fe_weight_config_read(c, "moving_mean", "zeros", &s->moving_mean) && ok;
    ok = fe_weight_config_read(c, "moving_variance", "ones", &s->moving_variance) && ok;
    s->renorm = (fe_renorm){.epsilon = s->epsilon, .moving_momentum = s->momentum, .mean = s->moving_mean,
                            .variance = s->moving_variance};
    ok = fe_renorm_read(c, &s->renorm) && ok;
    if (ok && s->renorm.on) ok = check_one_axis(c, s);
    fe_config_ignore(c, "synchronized");
    return fe_config_done(c) && ok;
}

bool fe_read_layer_normalization(fe *f, fe_layer *layer, fe_config *c)
{
    norm_state *s = make_state(f, layer);
    bool ok = read_common(c, s, 1e-3);
    ok = read_affine(c, s) && ok;
    ok = fe_config_bool_or(c, "rms_scaling", false, &s->rms_scaling) && ok;
    return fe_config_done(c) && ok;
}

bool fe_read_group_normalization(fe *f, fe_layer *layer, fe_config *c)
{
    norm_state *s = make_state(f, layer);
    const json_at at = fe_key(c, "groups");
    bool ok = read_common(c, s, 1e-3) && check_one_axis(c, s);
    ok = read_affine(c, s) && ok;
    ok = fe_config_int_or(c, "groups", -1, 32, &s->groups) && ok;
    if (ok && s->groups == 0) ok = fe_error(f, &at, "expected a positive integer or -1, found 0");
    return fe_config_done(c) && ok;
}

bool fe_read_rms_normalization(fe *f, fe_layer *layer, fe_config *c)
{
    return read_common(c, make_state(f, layer), 1e-6) && fe_config_done(c);
}

bool fe_read_unit_normalization(fe *f, fe_layer *layer, fe_config *c)
{
    norm_state *s = make_state(f, layer);
    return fe_axes_read(c, "axis", &s->axis_count, s->axes) && fe_config_done(c);
}

/* ---- shared ------------------------------------------------------------------------------ */

static ir_dtype statistics_dtype(ir_dtype t) { return t == DTYPE_f64 ? DTYPE_f64 : DTYPE_f32; }

static fe_moments build_moments(fe_lower *l, ir_value x, int count, const int64_t *dims)
{
    ir_graph *g = l->g;
    const ir_value mean = ir_build_mean(g, x, count, dims, false);
    const ir_value fixed =
        fe_spread(l, ir_build_unary(g, OP_stop_gradient, mean), fe_type(l, x), count, dims);
    const ir_value distance = ir_build_binary(g, OP_subtract, x, fixed);
    return (fe_moments){mean, ir_build_mean(g, fe_square(l, distance), count, dims, false)};
}

static ir_value build_inverse(fe_lower *l, ir_value variance, double epsilon)
{
    return ir_build_unary(l->g, OP_rsqrt, ir_build_binary_scalar(l->g, OP_add, variance, epsilon));
}

static ir_value along(fe_lower *l, ir_value vector, ir_type shape, const int64_t *dims)
{
    shape.dtype = fe_type(l, vector).dtype;
    return ir_build_broadcast_in_dim(l->g, vector, &shape, dims);
}

/* gamma or beta in the dtype of the statistics. */
static ir_value get_affine(fe_lower *l, fe_layer *layer, const char *name, const fe_weight_config *c,
                           fe_shape shape, ir_dtype dtype)
{
    const ir_value w = fe_layer_weight_kept(l, layer, name, c, shape, true);
    return w == IR_NONE ? IR_NONE : ir_build_convert(l->g, w, dtype);
}

/* The sizes of the axes of t, which are resolved into out_axes. */
static bool measure_axes(fe_lower *l, fe_layer *layer, const ir_type *t, int64_t *out_axes,
                         fe_shape *out_shape)
{
    const norm_state *s = layer->state;
    memcpy(out_axes, s->axes, sizeof s->axes);
    if (!fe_axes_resolve(l, layer, t->rank, 1, s->axis_count, out_axes)) return false;
    out_shape->rank = s->axis_count;
    for (int i = 0; i < s->axis_count; i++) {
        if (!fe_dim_get(l, layer, t, (int)out_axes[i], &out_shape->dim[i])) return false;
    }
    return true;
}

/* ---- BatchNormalization ------------------------------------------------------------------ */

typedef struct batch_norm {
    ir_type type; /* of the input in statistics dtype */
    int axis_count;
    int64_t axes[FE_MAX_AXES];
    int count;
    int64_t dims[IR_MAX_RANK]; /* all but the axes */
    ir_value x, mask;
    fe_shape weight; /* of the weights: one dim, or for several axes as many as x has */
    bool fused;      /* as Keras 2 does images and volumes: without a mask, and with the unbiased variance kept */
} batch_norm;

/* Statistics of what the mask keeps; Keras adds its epsilon to the count. */
static fe_moments build_masked_moments(fe_lower *l, const batch_norm *b)
{
    const double fuzz = 1e-7;
    ir_graph *g = l->g;
    int64_t leading[IR_MAX_RANK];
    for (int d = 0; d < b->type.rank - 1; d++) leading[d] = d;
    const ir_type m = ir_type_with_dtype(b->type, DTYPE_i1);
    const ir_value keep = ir_build_broadcast_in_dim(g, b->mask, &m, leading);
    const ir_value zero = ir_build_scalar(g, b->type.dtype, 0);
    const ir_value kept = ir_build_select(g, keep, b->x, zero);
    ir_value count = ir_build_convert(g, keep, b->type.dtype);
    count = ir_build_reduce(g, "add", count, b->count, b->dims, false);
    count = ir_build_binary_scalar(g, OP_add, count, fuzz);
    const ir_value sum = ir_build_reduce(g, "add", kept, b->count, b->dims, false);
    const ir_value mean = ir_build_binary(g, OP_divide, sum, count);
    const ir_value centre = fe_spread(l, mean, b->type, b->count, b->dims);
    const ir_value distance = ir_build_select(g, keep, ir_build_binary(g, OP_subtract, b->x, centre), zero);
    const ir_value squares = ir_build_reduce(g, "add", fe_square(l, distance), b->count, b->dims, false);
    return (fe_moments){mean, ir_build_binary(g, OP_divide, squares, count)};
}

static void update_moving(fe_lower *l, fe_layer *layer, const char *name, ir_value old, ir_value batch)
{
    const norm_state *s = layer->state;
    const int variable = fe_weight_variable(layer, name);
    const ir_type t = l->fe->module->variable[variable].type;
    const ir_value kept = ir_build_binary_scalar(l->g, OP_multiply, old, s->momentum);
    const ir_value fresh = ir_build_binary_scalar(l->g, OP_multiply, batch, 1 - s->momentum);
    const ir_value next = ir_build_binary(l->g, OP_add, kept, fresh);
    const ir_value kept_shape = t.rank == fe_type(l, next).rank ? next : ir_build_reshape(l->g, next, t.rank, t.dim);
    fe_variable_assign(l, variable, ir_build_convert(l->g, kept_shape, layer->variable_dtype));
}

static bool is_fused(const fe_lower *l, const batch_norm *b)
{
    return l->fe->keras2 && (b->type.rank == 4 || b->type.rank == 5) && b->axis_count == 1 &&
           (b->axes[0] == 1 || b->axes[0] == b->type.rank - 1);
}

static ir_value build_unbiased(fe_lower *l, const batch_norm *b, ir_value variance)
{
    ir_graph *g = l->g;
    ir_value count = ir_build_scalar(g, b->type.dtype, 1);
    for (int i = 0; i < b->count; i++) {
        const ir_value size =
            ir_build_convert(g, ir_build_dimension_size(g, b->x, (int)b->dims[i]), b->type.dtype);
        count = ir_build_binary(g, OP_multiply, count, size);
    }
    const ir_value less =
        ir_build_binary_scalar(g, OP_maximum, ir_build_binary_scalar(g, OP_add, count, -1), 1);
    const ir_value factor = ir_build_binary(g, OP_divide, count, less);
    return ir_build_binary(g, OP_multiply, variance, factor);
}

/* A weight without the dims of size 1 that stand for other axes. */
static ir_value drop_ones(fe_lower *l, const batch_norm *b, ir_value weight)
{
    ir_dim dim[FE_MAX_AXES];
    if (weight == IR_NONE || b->axis_count == 1) return weight;
    for (int i = 0; i < b->axis_count; i++) dim[i] = b->type.dim[b->axes[i]];
    return ir_build_reshape(l->g, weight, b->axis_count, dim);
}

/* The statistics to normalize with; in training also the update of the moving ones. */
static bool get_moments(fe_lower *l, fe_layer *layer, const batch_norm *b, fe_moments *out, fe_moments *out_correction)
{
    const norm_state *s = layer->state;
    ir_value renorm_weight[3];
    *out_correction = (fe_moments){IR_NONE, IR_NONE};
    ir_value mean = fe_layer_weight_kept(l, layer, "moving_mean", &s->moving_mean, b->weight, false);
    ir_value variance = fe_layer_weight_kept(l, layer, "moving_variance", &s->moving_variance, b->weight, false);
    if (mean == IR_NONE || variance == IR_NONE) return false;
    mean = drop_ones(l, b, ir_build_convert(l->g, mean, b->type.dtype));
    variance = drop_ones(l, b, ir_build_convert(l->g, variance, b->type.dtype));
    *out = (fe_moments){mean, variance};
    if (s->renorm.on && !fe_renorm_weights_get(l, layer, &s->renorm, b->weight, b->type.dtype, renorm_weight))
        return false;
    if (!l->training || !layer->trainable) return true;
    *out = b->mask != IR_NONE ? build_masked_moments(l, b) : build_moments(l, b->x, b->count, b->dims);
    if (s->renorm.on) {
        *out_correction = fe_renorm_build(l, layer, &s->renorm, mean, out, renorm_weight);
        return true;
    }
    update_moving(l, layer, "moving_mean", mean, out->mean);
    const ir_value kept = b->fused ? build_unbiased(l, b, out->variance) : out->variance;
    update_moving(l, layer, "moving_variance", variance, kept);
    return true;
}

/* The dims that are reduced, and the shape of the weights. */
static void place_axes(batch_norm *b, const fe_shape *axes)
{
    b->axis_count = axes->rank;
    b->weight = axes->rank == 1 ? *axes : (fe_shape){.rank = b->type.rank};
    b->count = 0;
    for (int d = 0, i = 0; d < b->type.rank; d++) {
        const bool kept = i < b->axis_count && b->axes[i] == d;
        if (!kept) b->dims[b->count++] = d;
        if (axes->rank > 1) b->weight.dim[d] = kept ? axes->dim[i] : 1;
        i += kept;
    }
}

static bool prepare_batch_norm(fe_lower *l, fe_layer *layer, const fe_args *args, batch_norm *b)
{
    fe_tensor x;
    fe_shape axes;
    if (!fe_input_get(l, layer, args, 2, IR_MAX_RANK, &x)) return false;
    b->type = fe_type(l, x.value);
    if (!measure_axes(l, layer, &b->type, b->axes, &axes) || !fe_size_check(l, layer, &b->type)) return false;
    if (x.mask != IR_NONE) {
        const ir_type m = fe_type(l, x.mask);
        bool fits = m.rank == b->type.rank - 1;
        for (int d = 0; fits && d < m.rank; d++) fits = ir_dim_equal(m.dim[d], b->type.dim[d]);
        if (!fits) {
            return fe_layer_error(l->fe, layer, "expected a mask of all but the last dim of %s, found %s",
                                  fe_shape_show(l->fe, &b->type), fe_shape_show(l->fe, &m));
        }
    }
    b->type.dtype = statistics_dtype(b->type.dtype);
    place_axes(b, &axes);
    b->fused = is_fused(l, b) && !((const norm_state *)layer->state)->renorm.on;
    b->mask = b->fused ? IR_NONE : x.mask;
    b->x = ir_build_convert(l->g, x.value, b->type.dtype);
    return true;
}

bool fe_call_batch_normalization(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const norm_state *s = layer->state;
    ir_graph *g = l->g;
    batch_norm b;
    fe_moments m;
    ir_value gamma = IR_NONE, beta = IR_NONE;
    if (!prepare_batch_norm(l, layer, args, &b)) return false;
    if (s->scale) gamma = drop_ones(l, &b, get_affine(l, layer, "gamma", &s->gamma, b.weight, b.type.dtype));
    if (s->center) beta = drop_ones(l, &b, get_affine(l, layer, "beta", &s->beta, b.weight, b.type.dtype));
    if ((s->scale && gamma == IR_NONE) || (s->center && beta == IR_NONE)) return false;
    fe_moments r; /* how far the batch's statistics are from the long ones: shift and ratio */
    if (!get_moments(l, layer, &b, &m, &r)) return false;
    if (r.variance != IR_NONE) {
        const ir_value shift = gamma == IR_NONE ? r.mean : ir_build_binary(g, OP_multiply, r.mean, gamma);
        gamma = gamma == IR_NONE ? r.variance : ir_build_binary(g, OP_multiply, r.variance, gamma);
        beta = beta == IR_NONE ? shift : ir_build_binary(g, OP_add, shift, beta);
    }
    ir_value inverse = build_inverse(l, m.variance, s->epsilon);
    if (gamma != IR_NONE) inverse = ir_build_binary(g, OP_multiply, inverse, gamma);
    const ir_value scaled = ir_build_binary(g, OP_multiply, m.mean, inverse);
    const ir_value offset = beta != IR_NONE ? ir_build_binary(g, OP_subtract, beta, scaled)
                                            : ir_build_unary(g, OP_negate, scaled);
    const ir_value y = ir_build_binary(g, OP_multiply, b.x, along(l, inverse, b.type, b.axes));
    const ir_value z = ir_build_binary(g, OP_add, y, along(l, offset, b.type, b.axes));
    return fe_finish(l, ir_build_convert(g, z, layer->compute_dtype), IR_NONE, out);
}

/* ---- LayerNormalization ------------------------------------------------------------------ */

bool fe_call_layer_normalization(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const norm_state *s = layer->state;
    ir_graph *g = l->g;
    fe_tensor in;
    int64_t axes[FE_MAX_AXES];
    fe_shape shape;
    ir_value gamma = IR_NONE, beta = IR_NONE;
    if (!fe_input_get(l, layer, args, 2, IR_MAX_RANK, &in)) return false;
    ir_type t = fe_type(l, in.value);
    if (!measure_axes(l, layer, &t, axes, &shape)) return false;
    t.dtype = statistics_dtype(t.dtype);
    if (s->scale || s->rms_scaling) {
        gamma = get_affine(l, layer, "gamma", &s->gamma, shape, t.dtype);
        if (gamma == IR_NONE) return false;
    }
    if (s->center && !s->rms_scaling) {
        beta = get_affine(l, layer, "beta", &s->beta, shape, t.dtype);
        if (beta == IR_NONE) return false;
    }
    const ir_value x = ir_build_convert(g, in.value, t.dtype);
    const fe_moments m = build_moments(l, x, s->axis_count, axes);
    ir_value inverse = fe_spread(l, build_inverse(l, m.variance, s->epsilon), t, s->axis_count, axes);
    if (gamma != IR_NONE) inverse = ir_build_binary(g, OP_multiply, inverse, along(l, gamma, t, axes));
    ir_value y = ir_build_binary(g, OP_multiply, x, inverse);
    if (!s->rms_scaling) {
        const ir_value mean = fe_spread(l, m.mean, t, s->axis_count, axes);
        ir_value rest = ir_build_unary(g, OP_negate, ir_build_binary(g, OP_multiply, mean, inverse));
        if (beta != IR_NONE) rest = ir_build_binary(g, OP_add, rest, along(l, beta, t, axes));
        y = ir_build_binary(g, OP_add, y, rest);
    }
    return fe_finish(l, ir_build_convert(g, y, layer->compute_dtype), IR_NONE, out);
}

/* ---- GroupNormalization ------------------------------------------------------------------ */

static bool check_groups(fe_lower *l, fe_layer *layer, int64_t channels, int64_t *out_groups)
{
    const norm_state *s = layer->state;
    *out_groups = s->groups == -1 ? channels : s->groups;
    if (channels % *out_groups == 0) return true;
    return fe_layer_error(l->fe, layer, "expected groups that divide the %lld channels, found %lld",
                          (long long)channels, (long long)*out_groups);
}

/* A vector over the channels, seen as [groups, channels of a group], in the grouped shape. */
static ir_value along_groups(fe_lower *l, ir_value vector, ir_type grouped, int64_t axis)
{
    const ir_value split = ir_build_reshape(l->g, vector, 2, &grouped.dim[axis]);
    return along(l, split, grouped, (int64_t[]){axis, axis + 1});
}

bool fe_call_group_normalization(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const norm_state *s = layer->state;
    ir_graph *g = l->g;
    fe_tensor in;
    int64_t axes[FE_MAX_AXES], dims[IR_MAX_RANK], groups = 1;
    fe_shape shape;
    int count = 0;
    if (!fe_input_get(l, layer, args, 2, IR_MAX_RANK - 1, &in)) return false;
    const ir_type t = fe_type(l, in.value);
    if (!measure_axes(l, layer, &t, axes, &shape) || !check_groups(l, layer, shape.dim[0], &groups))
        return false;
    ir_type grouped = {.dtype = statistics_dtype(t.dtype), .rank = t.rank + 1};
    const int64_t axis = axes[0];
    for (int d = 0; d < grouped.rank; d++) {
        grouped.dim[d] = d == axis       ? ir_fixed(groups)
                         : d == axis + 1 ? ir_fixed(shape.dim[0] / groups)
                                         : t.dim[d < axis ? d : d - 1];
        if (d != 0 && d != axis) dims[count++] = d;
    }
    const ir_value split = ir_build_reshape(g, in.value, grouped.rank, grouped.dim);
    const ir_value x = ir_build_convert(g, split, grouped.dtype);
    const fe_moments m = build_moments(l, x, count, dims);
    ir_value inverse = fe_spread(l, build_inverse(l, m.variance, s->epsilon), grouped, count, dims);
    if (s->scale) {
        const ir_value gamma = get_affine(l, layer, "gamma", &s->gamma, shape, grouped.dtype);
        if (gamma == IR_NONE) return false;
        inverse = ir_build_binary(g, OP_multiply, inverse, along_groups(l, gamma, grouped, axis));
    }
    const ir_value mean = fe_spread(l, m.mean, grouped, count, dims);
    ir_value rest = ir_build_unary(g, OP_negate, ir_build_binary(g, OP_multiply, mean, inverse));
    if (s->center) {
        const ir_value beta = get_affine(l, layer, "beta", &s->beta, shape, grouped.dtype);
        if (beta == IR_NONE) return false;
        rest = ir_build_binary(g, OP_add, rest, along_groups(l, beta, grouped, axis));
    }
    ir_value y = ir_build_binary(g, OP_add, ir_build_binary(g, OP_multiply, x, inverse), rest);
    y = ir_build_reshape(g, ir_build_convert(g, y, layer->compute_dtype), t.rank, t.dim);
    return fe_finish(l, y, IR_NONE, out);
}

/* ---- RMSNormalization, UnitNormalization ------------------------------------------------- */

bool fe_call_rms_normalization(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const norm_state *s = layer->state;
    const fe_weight_config ones = {.initializer = ir_record_new(l->fe->arena, "ones")};
    ir_graph *g = l->g;
    fe_tensor in;
    int64_t axes[FE_MAX_AXES];
    fe_shape shape;
    if (!fe_input_get(l, layer, args, 2, IR_MAX_RANK, &in)) return false;
    ir_type t = fe_type(l, in.value);
    if (!measure_axes(l, layer, &t, axes, &shape)) return false;
    t.dtype = statistics_dtype(t.dtype);
    ir_value scale = fe_layer_weight(l, layer, "scale", &ones, shape);
    if (scale == IR_NONE) return false;
    scale = ir_build_convert(g, scale, t.dtype);
    const ir_type scale_type = fe_type(l, scale);
    ir_type both;
    /* Keras multiplies by the scale as it is: it meets the last dims whatever the axes are. */
    if (!ir_broadcast_shapes(&t, &scale_type, &both) || !ir_type_same_shape(&both, &t)) {
        return fe_layer_error(l->fe, layer, "expected axes whose sizes fit the last dims of %s",
                              fe_shape_show(l->fe, &t));
    }
    const ir_value x = ir_build_convert(g, in.value, t.dtype);
    const ir_value mean = ir_build_mean(g, fe_square(l, x), s->axis_count, axes, false);
    const ir_value inverse = fe_spread(l, build_inverse(l, mean, s->epsilon), t, s->axis_count, axes);
    const ir_value y = ir_build_binary(g, OP_multiply, ir_build_binary(g, OP_multiply, x, inverse), scale);
    return fe_finish(l, ir_build_convert(g, y, fe_type(l, in.value).dtype), IR_NONE, out);
}

bool fe_call_unit_normalization(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const norm_state *s = layer->state;
    fe_tensor in;
    int64_t axes[FE_MAX_AXES];
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK, &in)) return false;
    const ir_type t = fe_type(l, in.value);
    memcpy(axes, s->axes, sizeof axes);
    if (!fe_axes_resolve(l, layer, t.rank, 0, s->axis_count, axes)) return false;
    const ir_value x = ir_build_convert(l->g, in.value, layer->compute_dtype);
    return fe_finish(l, fe_normalize_build(l, x, s->axis_count, axes, 1e-12), IR_NONE, out);
}
