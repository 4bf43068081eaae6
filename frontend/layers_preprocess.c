/* layers_preprocess.c: preprocessing of numbers (Rescaling, Normalization, Discretization, CategoryEncoding) and two layers of ConvNeXt that are no layers of keras.layers. */
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

static const double epsilon = 1e-7; /* keras.config.epsilon() */

/* ---- numbers in a config ----------------------------------------------------------------- */

/* A number, nested lists of one shape, or a NumPy array; rank -1: absent. */
typedef struct numbers {
    int rank, count;
    int64_t dim[IR_MAX_RANK];
    double *item;
} numbers;

static const cJSON *find_array(const cJSON *j)
{
    const cJSON *config = cJSON_IsObject(j) ? cJSON_GetObjectItemCaseSensitive(j, "config") : NULL;
    return config ? cJSON_GetObjectItemCaseSensitive(config, "value") : j;
}

static int count_leaves(const cJSON *j)
{
    if (!cJSON_IsArray(j)) return cJSON_IsNumber(j) ? 1 : -1;
    int count = 0;
    for (const cJSON *item = j->child; item; item = item->next) {
        const int part = count_leaves(item);
        if (part < 0) return -1;
        count += part;
    }
    return count;
}

static bool fill_numbers(numbers *n, const cJSON *j, int level)
{
    if (level == n->rank) {
        if (!cJSON_IsNumber(j)) return false;
        n->item[n->count++] = j->valuedouble;
        return true;
    }
    if (!cJSON_IsArray(j) || cJSON_GetArraySize(j) != n->dim[level]) return false;
    for (const cJSON *item = j->child; item; item = item->next) {
        if (!fill_numbers(n, item, level + 1)) return false;
    }
    return true;
}

static bool read_numbers(fe_config *c, const char *key, numbers *out)
{
    const json_at at = fe_key(c, key);
    const cJSON *j = find_array(fe_config_item(c, key));
    *out = (numbers){.rank = -1};
    if (j == NULL) return true;
    out->rank = 0;
    for (const cJSON *level = j; cJSON_IsArray(level) && out->rank < IR_MAX_RANK; level = level->child)
        out->dim[out->rank++] = cJSON_GetArraySize(level);
    const int count = count_leaves(j);
    if (count > 0) out->item = arena_array(c->fe->arena, double, (size_t)count);
    if (count > 0 && fill_numbers(out, j, 0)) return true;
    return fe_error(c->fe, &at, "expected a number or lists of numbers of one shape, found %s",
                    fe_json_show(c->fe, j));
}

/* As a constant of these dims. */
static ir_value build_numbers(fe_lower *l, const numbers *n, ir_dtype dtype, int rank, const ir_dim *dim)
{
    float *item = arena_array(l->fe->arena, float, (size_t)n->count);
    for (int i = 0; i < n->count; i++) item[i] = (float)n->item[i];
    return ir_build_convert(l->g, ir_build_constant(l->g, ir_type_make(DTYPE_f32, rank, dim), item), dtype);
}

/* The constant stretched to x's type by NumPy's rules. */
static bool stretch_numbers(fe_lower *l, fe_layer *layer, const numbers *n, const ir_type *x, ir_value *out)
{
    ir_type own = {.dtype = x->dtype, .rank = n->rank}, all;
    for (int i = 0; i < n->rank; i++) own.dim[i] = ir_fixed(n->dim[i]);
    if (!ir_broadcast_shapes(x, &own, &all) || !ir_type_same_shape(&all, x)) {
        return fe_layer_error(l->fe, layer, "expected numbers that fit %s, found %s", fe_shape_show(l->fe, x),
                              fe_shape_show(l->fe, &own));
    }
    *out = ir_build_broadcast_to(l->g, build_numbers(l, n, x->dtype, own.rank, own.dim), x);
    return true;
}

/* ---- Rescaling --------------------------------------------------------------------------- */

typedef struct rescaling {
    numbers scale, offset;
} rescaling;

bool fe_read_rescaling(fe *f, fe_layer *layer, fe_config *c)
{
    rescaling *s = arena_new(f->arena, rescaling);
    const json_at at = fe_key(c, "scale");
    layer->state = s;
    if (!read_numbers(c, "scale", &s->scale) || !read_numbers(c, "offset", &s->offset)) return false;
    if (s->scale.rank < 0) return fe_error(f, &at, "expected a number, found none");
    return fe_config_done(c);
}

bool fe_call_rescaling(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const rescaling *s = layer->state;
    fe_tensor x;
    ir_value scale, offset;
    if (!fe_input_get(l, layer, args, 0, IR_MAX_RANK, &x)) return false;
    x.value = ir_build_convert(l->g, x.value, layer->compute_dtype);
    const ir_type t = fe_type(l, x.value);
    if (!stretch_numbers(l, layer, &s->scale, &t, &scale)) return false;
    ir_value y = ir_build_binary(l->g, OP_multiply, x.value, scale);
    if (s->offset.rank >= 0) {
        if (!stretch_numbers(l, layer, &s->offset, &t, &offset)) return false;
        y = ir_build_binary(l->g, OP_add, y, offset);
    }
    return fe_finish(l, y, IR_NONE, out);
}

/* ---- Normalization ----------------------------------------------------------------------- */

typedef struct normalization {
    int axis_count;
    int64_t axes[FE_MAX_AXES];
    numbers mean, variance;
    bool invert;
} normalization;

bool fe_read_normalization(fe *f, fe_layer *layer, fe_config *c)
{
    normalization *s = arena_new(f->arena, normalization);
    const json_at at = fe_key(c, "mean");
    layer->state = s;
    const cJSON *axis = cJSON_GetObjectItemCaseSensitive(c->object, "axis");
    if (cJSON_IsNull(axis) || (cJSON_IsArray(axis) && cJSON_GetArraySize(axis) == 0))
        fe_config_ignore(c, "axis");
    else if (!fe_axes_read(c, "axis", &s->axis_count, s->axes))
        return false;
    if (!read_numbers(c, "mean", &s->mean) || !read_numbers(c, "variance", &s->variance)) return false;
    if (s->mean.rank != s->variance.rank || s->mean.count != s->variance.count)
        return fe_error(f, &at, "expected a mean and a variance of one shape");
    return fe_config_bool_or(c, "invert", false, &s->invert) && fe_config_done(c);
}

/* What add_weight or the config gives, along the kept axes of t. */
static bool get_statistics(fe_lower *l, fe_layer *layer, const ir_type *t, int count, const int64_t *axes,
                           ir_value *out_mean, ir_value *out_variance)
{
    const normalization *s = layer->state;
    fe_shape shape = {.rank = count};
    for (int i = 0; i < count; i++) {
        if (!fe_dim_get(l, layer, t, (int)axes[i], &shape.dim[i])) return false;
    }
    if (s->mean.rank < 0) {
        const fe_weight_config zeros = {0}, ones = {.initializer = ir_record_new(l->fe->arena, "ones")};
        const fe_weight_spec steps = {.name = "count", .integer = true};
        *out_mean = fe_layer_weight_kept(l, layer, "mean", &zeros, shape, false);
        *out_variance = fe_layer_weight_kept(l, layer, "variance", &ones, shape, false);
        return *out_mean != IR_NONE && *out_variance != IR_NONE && fe_weight_get(l, layer, &steps) != IR_NONE;
    }
    ir_dim dim[IR_MAX_RANK];
    bool fits = s->mean.rank <= count;
    for (int i = 0; fits && i < s->mean.rank; i++) {
        const int64_t own = s->mean.dim[i], want = shape.dim[count - s->mean.rank + i];
        fits = (own == want || own == 1) && s->variance.dim[i] == own;
        dim[i] = ir_fixed(own);
    }
    if (!fits)
        return fe_layer_error(l->fe, layer, "expected a mean and a variance that fit %s",
                              fe_shape_show(l->fe, t));
    *out_mean = build_numbers(l, &s->mean, DTYPE_f32, s->mean.rank, dim);
    *out_variance = build_numbers(l, &s->variance, DTYPE_f32, s->variance.rank, dim);
    ir_type kept = {.dtype = DTYPE_f32, .rank = count};
    for (int i = 0; i < count; i++) kept.dim[i] = ir_fixed(shape.dim[i]);
    *out_mean = ir_build_broadcast_to(l->g, *out_mean, &kept);
    *out_variance = ir_build_broadcast_to(l->g, *out_variance, &kept);
    return true;
}

bool fe_call_normalization(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const normalization *s = layer->state;
    ir_graph *g = l->g;
    fe_tensor x;
    ir_value mean = IR_NONE, variance = IR_NONE;
    int64_t axes[FE_MAX_AXES];
    if (!fe_input_get(l, layer, args, 0, IR_MAX_RANK, &x)) return false;
    x.value = ir_build_convert(g, x.value, layer->compute_dtype);
    const ir_type t = fe_type(l, x.value);
    memcpy(axes, s->axes, sizeof axes);
    if (!fe_axes_resolve(l, layer, t.rank, 0, s->axis_count, axes)) return false;
    if (!get_statistics(l, layer, &t, s->axis_count, axes, &mean, &variance)) return false;
    ir_value deviation = ir_build_unary(g, OP_sqrt, ir_build_convert(g, variance, t.dtype));
    deviation = ir_build_binary_scalar(g, OP_maximum, deviation, epsilon);
    deviation = ir_build_broadcast_in_dim(g, deviation, &t, axes);
    mean = ir_build_broadcast_in_dim(g, ir_build_convert(g, mean, t.dtype), &t, axes);
    const ir_value y =
        s->invert ? ir_build_binary(g, OP_add, mean, ir_build_binary(g, OP_multiply, x.value, deviation))
                  : ir_build_binary(g, OP_divide, ir_build_binary(g, OP_subtract, x.value, mean), deviation);
    return fe_finish(l, y, IR_NONE, out);
}

/* ---- categories -------------------------------------------------------------------------- */

static const char *const encodings[] = {"int", "one_hot", "multi_hot", "count", "tf_idf", NULL};

bool fe_encoding_read(fe_config *c, fe_encoding otherwise, bool with_weights, fe_encode *out)
{
    const json_at at = fe_key(c, "output_mode");
    const char *mode;
    int which = 0;
    if (!fe_config_text_or(c, "output_mode", encodings[otherwise], &mode)) return false;
    if (!fe_config_bool_or(c, "sparse", false, &out->sparse)) return false;
    if (strcmp(mode, "binary") == 0) mode = "multi_hot";
    if (strcmp(mode, "tf-idf") == 0) mode = "tf_idf";
    while (encodings[which] && strcmp(encodings[which], mode) != 0) which++;
    if (!encodings[which] || (which == FE_ENCODE_tf_idf && !with_weights))
        return fe_error(c->fe, &at, "expected %s, found \"%s\"",
                        with_weights ? "int, one_hot, multi_hot, count or tf_idf" : "int, one_hot, multi_hot or count",
                        mode);
    out->mode = (fe_encoding)which;
    return true;
}

typedef struct categories {
    fe_encode encode;
    numbers table; /* bin boundaries */
} categories;

bool fe_read_category_encoding(fe *f, fe_layer *layer, fe_config *c)
{
    categories *s = arena_new(f->arena, categories);
    layer->state = s;
    s->encode.dtype = layer->compute_dtype;
    return fe_size_read(c, "num_tokens", 0, &s->encode.depth) &&
           fe_encoding_read(c, FE_ENCODE_multi_hot, false, &s->encode) && fe_config_done(c);
}

bool fe_read_discretization(fe *f, fe_layer *layer, fe_config *c)
{
    categories *s = arena_new(f->arena, categories);
    const json_at at = fe_key(c, "bin_boundaries");
    layer->state = s;
    fe_config_ignore(c, "num_bins epsilon");
    if (!read_numbers(c, "bin_boundaries", &s->table) || !fe_encoding_read(c, FE_ENCODE_int, false, &s->encode))
        return false;
    if (s->table.rank != 1)
        return fe_error(f, &at, "expected a list of boundaries: the layer must have been adapted");
    s->encode.depth = s->table.count + 1;
    s->encode.dtype = layer->compute_dtype;
    return fe_config_done(c);
}

/* i1 [..., table]: x compared with each number of the table. */
static bool compare_table(fe_lower *l, fe_layer *layer, const char *direction, ir_value x,
                          const numbers *table, ir_value *out)
{
    ir_type t = fe_type(l, x);
    if (t.rank == IR_MAX_RANK) return fe_refuse(l, layer, "an input of so many dimensions");
    const ir_dim dim = ir_fixed(table->count);
    t.dim[t.rank++] = dim;
    if (!fe_size_check(l, layer, &t)) return false;
    const ir_value row = build_numbers(l, table, t.dtype, 1, &dim);
    *out = ir_build_compare(l->g, direction, fe_insert_dim(l, x, t.rank - 1), row);
    return true;
}

static ir_value sum_last(fe_lower *l, ir_value x, ir_dtype dtype)
{
    const int64_t last = fe_type(l, x).rank - 1;
    return ir_build_reduce(l->g, "add", ir_build_convert(l->g, x, dtype), 1, &last, false);
}

/* Rows of indices as a matrix that is made from its entries where something takes it so (passes/sparse.c); its elements are whole
 * numbers, so that those of an integer type are the same. */
static ir_value build_entries(fe_lower *l, const fe_encode *s, ir_value x, const ir_type *result)
{
    const ir_attr attr[] = {{.name = ATTR_kind, .text = s->mode == FE_ENCODE_count ? "count" : "multi_hot"},
                            {.name = ATTR_length, .i = s->depth}};
    const ir_type dense = ir_type_with_dtype(*result, DTYPE_f32);
    const ir_value records = ir_build(l->g, OP_sparse_encode, 1, &x, (int)countof(attr), attr, NULL);
    return ir_build_convert(l->g, ir_build(l->g, OP_sparse_dense, 1, &records, 0, NULL, &dense), s->dtype);
}

bool fe_encode_build(fe_lower *l, fe_layer *layer, const fe_encode *s, ir_value x, ir_value weights, fe_value *out)
{
    ir_graph *g = l->g;
    ir_type t = fe_type(l, x);
    if (s->mode == FE_ENCODE_int) return fe_finish(l, x, IR_NONE, out);
    if (s->mode == FE_ENCODE_one_hot && t.rank > 1 && ir_dim_equal(t.dim[t.rank - 1], ir_fixed(1))) {
        x = ir_build_reshape(g, x, t.rank - 1, t.dim);
        t.rank--;
    }
    if (t.rank == 0) x = ir_build_reshape(g, x, 1, (ir_dim[]){ir_fixed(1)}), t = fe_type(l, x);
    if (t.rank == IR_MAX_RANK) return fe_refuse(l, layer, "an input of so many dimensions");
    t.dim[t.rank++] = ir_fixed(s->depth);
    if (!fe_size_check(l, layer, &t)) return false;
    x = ir_build_convert(g, x, DTYPE_i64);
    const ir_type rows = fe_type(l, x);
    if (s->sparse && s->mode != FE_ENCODE_tf_idf && weights == IR_NONE && s->depth <= INT32_MAX && rows.dim[0].batch) {
        const bool is_column = rows.rank == 1 && s->mode == FE_ENCODE_one_hot;
        if (is_column) x = ir_build_reshape(g, x, 2, (ir_dim[]){rows.dim[0], ir_fixed(1)});
        const ir_type out_type = ir_type_make(s->dtype, 2, (ir_dim[]){rows.dim[0], ir_fixed(s->depth)});
        if (is_column || (rows.rank == 2 && s->mode != FE_ENCODE_one_hot && !rows.dim[1].batch))
            return fe_finish(l, build_entries(l, s, x, &out_type), IR_NONE, out);
    }
    x = fe_insert_dim(l, x, t.rank - 1);
    const ir_value hit =
        ir_build_compare(g, "EQ", ir_build_iota(g, ir_type_with_dtype(t, DTYPE_i64), t.rank - 1), x);
    ir_value y = ir_build_convert(g, hit, s->dtype);
    if (s->mode == FE_ENCODE_one_hot) return fe_finish(l, y, IR_NONE, out);
    if (weights != IR_NONE)
        y = ir_build_binary(g, OP_multiply, y,
                            fe_insert_dim(l, ir_build_convert(g, weights, s->dtype), t.rank - 1));
    const int64_t axis = t.rank > 2 ? 1 : 0;
    const char *kind = s->mode == FE_ENCODE_multi_hot ? "maximum" : "add";
    return fe_finish(l, ir_build_reduce(g, kind, y, 1, &axis, false), IR_NONE, out);
}

bool fe_call_category_encoding(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const categories *s = layer->state;
    fe_tensor x, weights;
    if (!fe_input_get(l, layer, args, 0, IR_MAX_RANK, &x)) return false;
    if (!fe_tensor_find(l, layer, args, 1, "count_weights", &weights)) return false;
    const ir_type t = fe_type(l, x.value);
    if (weights.value != IR_NONE) {
        const ir_type w = fe_type(l, weights.value);
        if (!ir_type_same_shape(&t, &w))
            return fe_layer_error(l->fe, layer, "expected weights like the input, found %s",
                                  fe_shape_show(l->fe, &w));
    }
    return fe_encode_build(l, layer, &s->encode, x.value, weights.value, out);
}

bool fe_call_discretization(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const categories *s = layer->state;
    fe_tensor x;
    ir_value above = IR_NONE;
    if (!fe_input_get(l, layer, args, 0, IR_MAX_RANK, &x)) return false;
    if (!compare_table(l, layer, "GE", ir_build_convert(l->g, x.value, DTYPE_f32), &s->table, &above))
        return false;
    const bool is_integer = s->encode.mode == FE_ENCODE_int && !ir_dtype_is_float(layer->compute_dtype);
    const ir_dtype bin = is_integer ? layer->compute_dtype : DTYPE_i32;
    return fe_encode_build(l, layer, &s->encode, sum_last(l, above, bin), IR_NONE, out);
}

/* ---- own layers of keras.applications ---------------------------------------------------- */

typedef struct convnext_layer {
    double value; /* first value of the scale, or the rate of dropping */
    int64_t width;
} convnext_layer;

bool fe_read_custom_scale(fe *f, fe_layer *layer, fe_config *c)
{
    double *scale = arena_new(f->arena, double);
    layer->state = scale;
    return fe_config_number(c, "scale", scale) && fe_config_done(c);
}

/* inputs[0] + inputs[1] * scale, of one shape as InceptionResNetV2 has them */
bool fe_call_custom_scale(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const double *scale = layer->state;
    int count;
    fe_tensor *in;
    if (!fe_inputs_get(l, layer, args, 2, 2, &count, &in)) return false;
    const ir_type first = fe_type(l, in[0].value), second = fe_type(l, in[1].value);
    if (!ir_type_equal(&first, &second))
        return fe_layer_error(l->fe, layer, "expected inputs of one shape, found %s and %s",
                              fe_shape_show(l->fe, &first), fe_shape_show(l->fe, &second));
    const ir_value scaled = ir_build_binary_scalar(l->g, OP_multiply, in[1].value, *scale);
    return fe_finish(l, ir_build_binary(l->g, OP_add, in[0].value, scaled), IR_NONE, out);
}

bool fe_read_layer_scale(fe *f, fe_layer *layer, fe_config *c)
{
    convnext_layer *s = arena_new(f->arena, convnext_layer);
    layer->state = s;
    return fe_config_number(c, "init_values", &s->value) && fe_size_read(c, "projection_dim", 0, &s->width) &&
           fe_config_done(c);
}

bool fe_call_layer_scale(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const convnext_layer *s = layer->state;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK, &x)) return false;
    const ir_type t = fe_type(l, x.value);
    if (!ir_dim_equal(t.dim[t.rank - 1], ir_fixed(s->width)))
        return fe_layer_error(l->fe, layer, "expected %lld channels, found %s", (long long)s->width,
                              fe_shape_show(l->fe, &t));
    ir_record *constant = ir_record_new(l->fe->arena, "constant");
    ir_record_add_number(l->fe->arena, constant, "value", s->value);
    const fe_weight_config weight = {.initializer = constant};
    const ir_value gamma = fe_layer_weight(l, layer, "variable", &weight, (fe_shape){1, {s->width}});
    if (gamma == IR_NONE) return false;
    x.value = ir_build_convert(l->g, x.value, layer->compute_dtype);
    return fe_finish(l, ir_build_binary(l->g, OP_multiply, x.value, gamma), IR_NONE, out);
}

bool fe_read_stochastic_depth(fe *f, fe_layer *layer, fe_config *c)
{
    convnext_layer *s = arena_new(f->arena, convnext_layer);
    layer->state = s;
    return fe_rate_read(c, "drop_path_rate", &s->value) && fe_config_done(c);
}

/* Keras draws from its global generator here: a model cannot name the seed, --seed does. */
bool fe_call_stochastic_depth(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const convnext_layer *s = layer->state;
    ir_graph *g = l->g;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK, &x)) return false;
    /* Keras gives back the input itself, with its mask, unless it trains. */
    if (!l->training || s->value == 0) return fe_finish(l, x.value, l->training ? IR_NONE : x.mask, out);
    const ir_type t = fe_type(l, x.value);
    if (s->value == 1) return fe_layer_error(l->fe, layer, "expected a drop_path_rate below 1 for training, found 1");
    const ir_value state = fe_seed_draw(l, layer, "seed_generator", false, 0);
    if (state == IR_NONE) return false;
    const ir_value draw = ir_build_random_uniform(l->g, state, ir_type_make(DTYPE_f32, 1, t.dim));
    const ir_value keep = ir_build_unary(g, OP_floor, ir_build_binary_scalar(g, OP_add, draw, 1 - s->value));
    int64_t rest[IR_MAX_RANK];
    for (int d = 1; d < t.rank; d++) rest[d - 1] = d;
    const ir_value scaled = ir_build_binary_scalar(g, OP_divide, x.value, 1 - s->value);
    const ir_value all = fe_spread(l, ir_build_convert(g, keep, t.dtype), t, t.rank - 1, rest);
    return fe_finish(l, ir_build_binary(g, OP_multiply, scaled, all), IR_NONE, out);
}
