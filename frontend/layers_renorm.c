/* layers_renorm.c: batch renormalization: the batch's statistics are brought near long-term ones by a factor
 * and a shift that no gradient goes through. */
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

bool fe_renorm_read(fe_config *c, fe_renorm *s)
{
    static const char *const keys[] = {"rmin", "rmax", "dmax"};
    fe_config clip;
    bool ok = fe_config_bool_or(c, "renorm", false, &s->on);
    ok = fe_config_number_or(c, "renorm_momentum", 0.99, &s->momentum) && ok;
    const cJSON *object = fe_config_item(c, "renorm_clipping");
    if (!object || !s->on) return ok;
    fe_config_init(&clip, c->fe, object, &c->at, "renorm_clipping");
    for (size_t i = 0; i < countof(keys); i++) {
        s->has_clip[i] = fe_config_has(&clip, keys[i]);
        ok = fe_config_number_or(&clip, keys[i], 0, &s->clip[i]) && ok;
    }
    return fe_config_done(&clip) && ok;
}

/* The weights that only renormalization has. The deviations begin as the root of the variance's first value.
 */
bool fe_renorm_weights_get(fe_lower *l, fe_layer *layer, const fe_renorm *s, fe_shape shape, ir_dtype dtype,
                           ir_value out[3])
{
    static const char *const names[] = {"moving_stddev", "renorm_mean", "renorm_stddev"};
    const ir_record *variance = s->variance.initializer;
    fe_weight_config deviation = {.initializer = variance};
    if (variance && strcmp(variance->name, "constant") == 0) {
        ir_record *root = ir_record_new(l->fe->arena, "constant");
        ir_record_add_number(l->fe->arena, root, "value", sqrt(ir_record_number(variance, "value", 0)));
        deviation.initializer = root;
    } else if (variance && strcmp(variance->name, "ones") != 0 && strcmp(variance->name, "zeros") != 0) {
        return fe_refuse(l, layer, "batch renormalization with a moving variance of random numbers");
    }
    for (int i = 0; i < 3; i++) {
        const fe_weight_config *c = i == 1 ? &s->mean : &deviation;
        out[i] = fe_layer_weight_kept(l, layer, names[i], c, shape, false);
        if (out[i] == IR_NONE) return false;
        out[i] = ir_build_convert(l->g, out[i], dtype);
    }
    return true;
}

static void assign_weight(fe_lower *l, fe_layer *layer, const char *name, ir_value value)
{
    fe_variable_assign(l, fe_weight_variable(layer, name),
                       ir_build_convert(l->g, value, layer->variable_dtype));
}

static ir_value mix_moving(fe_lower *l, ir_value old, ir_value batch, double momentum)
{
    const ir_value kept = ir_build_binary_scalar(l->g, OP_multiply, old, momentum);
    return ir_build_binary(l->g, OP_add, kept,
                           ir_build_binary_scalar(l->g, OP_multiply, batch, 1 - momentum));
}

fe_moments fe_renorm_build(fe_lower *l, fe_layer *layer, const fe_renorm *s, ir_value moving_mean,
                           const fe_moments *batch, const ir_value weight[3])
{
    ir_graph *g = l->g;
    const ir_value deviation =
        ir_build_unary(g, OP_sqrt, ir_build_binary_scalar(g, OP_add, batch->variance, s->epsilon));
    const ir_value floor = ir_build_binary_scalar(g, OP_maximum, weight[2], sqrt(s->epsilon));
    ir_value r = ir_build_binary(g, OP_divide, deviation, floor);
    ir_value d =
        ir_build_binary(g, OP_divide, ir_build_binary(g, OP_subtract, batch->mean, weight[1]), floor);
    if (s->has_clip[0]) r = ir_build_binary_scalar(g, OP_maximum, r, s->clip[0]);
    if (s->has_clip[1]) r = ir_build_binary_scalar(g, OP_minimum, r, s->clip[1]);
    if (s->has_clip[2]) {
        d = ir_build_binary_scalar(g, OP_minimum, d, s->clip[2]);
        d = ir_build_binary_scalar(g, OP_maximum, d, -s->clip[2]);
    }
    assign_weight(l, layer, "renorm_mean", mix_moving(l, weight[1], batch->mean, s->momentum));
    assign_weight(l, layer, "renorm_stddev", mix_moving(l, weight[2], deviation, s->momentum));
    assign_weight(l, layer, "moving_mean", mix_moving(l, moving_mean, batch->mean, s->moving_momentum));
    const ir_value next = mix_moving(l, weight[0], deviation, s->moving_momentum);
    assign_weight(l, layer, "moving_stddev", next);
    const ir_value variance = ir_build_binary_scalar(g, OP_add, fe_square(l, next), -s->epsilon);
    assign_weight(l, layer, "moving_variance", fe_relu_build(l, variance));
    return (fe_moments){ir_build_unary(g, OP_stop_gradient, d), ir_build_unary(g, OP_stop_gradient, r)};
}
