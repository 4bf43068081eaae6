/* layers_regularize.c: dropout, noise and activity regularization. Draws are TensorFlow's, bit by bit. */
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

typedef struct noise_state {
    double rate; /* or the standard deviation */
    fe_seed seed;
    int noise_rank;             /* 0: as the input */
    int64_t noise[IR_MAX_RANK]; /* -1: the input's dim */
    int spatial;
    bool channels_first;
} noise_state;

static noise_state *make_state(fe *f, fe_layer *layer)
{
    noise_state *s = arena_new(f->arena, noise_state);
    layer->state = s;
    return s;
}

/* A list of sizes and nulls. */
static bool read_noise_shape(fe_config *c, noise_state *s)
{
    const json_at at = fe_key(c, "noise_shape");
    const cJSON *j = fe_config_item(c, "noise_shape");
    if (j == NULL) return true;
    if (!cJSON_IsArray(j) || cJSON_GetArraySize(j) < 1 || cJSON_GetArraySize(j) > IR_MAX_RANK) {
        return fe_error(c->fe, &at, "expected a list of sizes, found %s", fe_json_show(c->fe, j));
    }
    for (const cJSON *item = j->child; item != NULL; item = item->next) {
        int64_t size = -1;
        if (!cJSON_IsNull(item) && (!fe_json_int(item, &size) || size < 1)) {
            return fe_error(c->fe, &at, "expected positive integers or null, found %s",
                            fe_json_show(c->fe, item));
        }
        s->noise[s->noise_rank++] = size;
    }
    return true;
}

bool fe_read_dropout(fe *f, fe_layer *layer, fe_config *c)
{
    noise_state *s = make_state(f, layer);
    bool ok = fe_rate_read(c, "rate", &s->rate);
    ok = fe_seed_read(c, &s->seed) && ok;
    ok = read_noise_shape(c, s) && ok;
    return fe_config_done(c) && ok;
}

bool fe_read_spatial_dropout(fe *f, fe_layer *layer, fe_config *c)
{
    noise_state *s = make_state(f, layer);
    s->spatial = fe_spatial_rank(layer);
    bool ok = fe_rate_read(c, "rate", &s->rate);
    ok = fe_seed_read(c, &s->seed) && ok;
    ok = read_noise_shape(c, s) && ok;
    ok = fe_channels_first_read(c, &s->channels_first) && ok;
    return fe_config_done(c) && ok;
}

bool fe_read_gaussian_dropout(fe *f, fe_layer *layer, fe_config *c)
{
    noise_state *s = make_state(f, layer);
    const json_at at = fe_key(c, "rate");
    bool ok = fe_rate_read(c, "rate", &s->rate);
    if (ok && s->rate == 1) ok = fe_error(f, &at, "expected a number below 1, found 1");
    ok = fe_seed_read(c, &s->seed) && ok;
    return fe_config_done(c) && ok;
}

bool fe_read_alpha_dropout(fe *f, fe_layer *layer, fe_config *c)
{
    const noise_state *s;
    const json_at at = fe_key(c, "rate");
    if (!fe_read_dropout(f, layer, c)) return false;
    s = layer->state;
    return s->rate < 1 || fe_error(f, &at, "expected a number below 1, found 1");
}

bool fe_read_gaussian_noise(fe *f, fe_layer *layer, fe_config *c)
{
    noise_state *s = make_state(f, layer);
    bool ok = fe_rate_read(c, "stddev", &s->rate);
    ok = fe_seed_read(c, &s->seed) && ok;
    return fe_config_done(c) && ok;
}

/* ---- calls ------------------------------------------------------------------------------- */

/* The input; *out_done when the layer passes it on as it is: *out holds it. */
static bool get_input(fe_lower *l, fe_layer *layer, const fe_args *args, fe_tensor *x, bool *out_done)
{
    const noise_state *s = layer->state;
    const int rank = s->spatial == 0 ? 0 : s->spatial + 2;
    *out_done = !l->training || s->rate == 0;
    if (!fe_input_get(l, layer, args, rank, rank == 0 ? IR_MAX_RANK : rank, x)) return false;
    const ir_type t = fe_type(l, x->value);
    if (*out_done || ir_dtype_is_float(t.dtype)) return true;
    return fe_layer_error(l->fe, layer, "expected floating numbers, found %s", fe_shape_show(l->fe, &t));
}

static bool shape_noise(fe_lower *l, fe_layer *layer, const ir_type *t, ir_type *out)
{
    const noise_state *s = layer->state;
    *out = *t;
    for (int d = 1; s->spatial > 0 && d < t->rank; d++) {
        const bool channels = d == (s->channels_first ? 1 : t->rank - 1);
        if (!channels) out->dim[d] = ir_fixed(1);
    }
    if (s->spatial > 0 || s->noise_rank == 0) return true;
    bool fits = s->noise_rank == t->rank;
    for (int d = 0; fits && d < t->rank; d++) {
        if (s->noise[d] >= 0) out->dim[d] = ir_fixed(s->noise[d]);
        fits = ir_dim_equal(out->dim[d], t->dim[d]) || ir_dim_equal(out->dim[d], ir_fixed(1));
    }
    return fits ||
           fe_layer_error(l->fe, layer, "expected a noise_shape that fits %s", fe_shape_show(l->fe, t));
}

static bool call_dropout(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const noise_state *s = layer->state;
    fe_tensor x;
    bool done;
    ir_type noise;
    if (!get_input(l, layer, args, &x, &done)) return false;
    if (done) return fe_finish(l, x.value, IR_NONE, out);
    const ir_type t = fe_type(l, x.value);
    if (!shape_noise(l, layer, &t, &noise)) return false;
    return fe_finish(l, fe_dropout_build(l, x.value, s->rate, &noise, &s->seed), IR_NONE, out);
}

bool fe_call_dropout(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return call_dropout(l, layer, args, out);
}

bool fe_call_spatial_dropout(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return call_dropout(l, layer, args, out);
}

/* Normal numbers of x's shape and dtype. */
static ir_value draw_normal(fe_lower *l, fe_layer *layer, ir_type t)
{
    const noise_state *s = layer->state;
    const ir_value state = fe_seed_draw(l, layer, "seed_generator", s->seed.has_seed, s->seed.seed);
    if (state == IR_NONE) return IR_NONE;
    return ir_build_random_normal(l->g, state, t);
}

bool fe_call_gaussian_noise(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const noise_state *s = layer->state;
    fe_tensor x;
    bool done;
    if (!get_input(l, layer, args, &x, &done)) return false;
    if (done) return fe_finish(l, x.value, IR_NONE, out);
    const ir_value normal = draw_normal(l, layer, fe_type(l, x.value));
    if (normal == IR_NONE) return false;
    const ir_value noise = ir_build_binary_scalar(l->g, OP_multiply, normal, s->rate);
    return fe_finish(l, ir_build_binary(l->g, OP_add, x.value, noise), IR_NONE, out);
}

bool fe_call_gaussian_dropout(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const noise_state *s = layer->state;
    fe_tensor x;
    bool done;
    if (!get_input(l, layer, args, &x, &done)) return false;
    if (done) return fe_finish(l, x.value, IR_NONE, out);
    const ir_value normal = draw_normal(l, layer, fe_type(l, x.value));
    if (normal == IR_NONE) return false;
    ir_value noise = ir_build_binary_scalar(l->g, OP_multiply, normal, sqrt(s->rate / (1 - s->rate)));
    noise = ir_build_binary_scalar(l->g, OP_add, noise, 1);
    return fe_finish(l, ir_build_binary(l->g, OP_multiply, x.value, noise), IR_NONE, out);
}

/* Dropped elements get SELU's low end, and the result is scaled and shifted back to the input's mean and
 * variance. */
bool fe_call_alpha_dropout(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const double low = -1.6732632423543772848170429916717 * 1.0507009873554804934193349852946;
    const noise_state *s = layer->state;
    ir_graph *g = l->g;
    fe_tensor x;
    bool done;
    ir_type noise;
    if (!get_input(l, layer, args, &x, &done)) return false;
    if (done) return fe_finish(l, x.value, IR_NONE, out);
    const ir_type t = fe_type(l, x.value);
    if (!shape_noise(l, layer, &t, &noise)) return false;
    const ir_value state = fe_seed_draw(l, layer, "seed_generator", s->seed.has_seed, s->seed.seed);
    if (state == IR_NONE) return false;
    const ir_value u = ir_build_random_uniform(l->g, state, ir_type_with_dtype(noise, DTYPE_f32));
    const ir_value keep = ir_build_compare(g, "GE", u, ir_build_scalar(g, DTYPE_f32, s->rate));
    const double a = 1 / sqrt((1 - s->rate) * (1 + s->rate * low * low)), b = -a * low * s->rate;
    ir_value y = ir_build_select(g, keep, x.value, ir_build_scalar(g, t.dtype, low));
    y = ir_build_binary_scalar(g, OP_multiply, y, a);
    return fe_finish(l, ir_build_binary_scalar(g, OP_add, y, b), IR_NONE, out);
}

/* ---- ActivityRegularization -------------------------------------------------------------- */

bool fe_read_activity_regularization(fe *f, fe_layer *layer, fe_config *c)
{
    ir_record *r = ir_record_new(f->arena, "l1l2");
    double l1 = 0, l2 = 0;
    bool ok = fe_config_number_or(c, "l1", 0, &l1);
    ok = fe_config_number_or(c, "l2", 0, &l2) && ok;
    ir_record_add_number(f->arena, r, "l1", l1);
    ir_record_add_number(f->arena, r, "l2", l2);
    if (ok && !fe_regularizer_check(f, r, &c->at)) return false;
    layer->activity_regularizer = r;
    return fe_config_done(c) && ok;
}

bool fe_call_activity_regularization(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    fe_tensor x;
    return fe_input_get(l, layer, args, 0, IR_MAX_RANK, &x) && fe_finish(l, x.value, IR_NONE, out);
}
