/* layers_hashing.c: Hashing and HashedCrossing: TensorFlow's hashes of strings and integers; and where strings may go. */
#include "frontend/layers.h"

#include <string.h>

/* ---- strings ---------------------------------------------------------------------------------- */

/* Layers and operations that take strings; all but the last five only move them. */
static const char *const string_layers[] = {
    "Functional",  "Sequential", "Model",   "Identity",      "Flatten",      "Reshape",      "Permute",
    "RepeatVector", "Concatenate", "Squeeze", "ExpandDims",   "GetItem",      "Stack",        "Transpose",
    "Tile",        "Flip",       "Split",   "Take",          "BroadcastTo",  "Moveaxis",     "Swapaxes",
    "Ravel",       "Copy",       "Hashing", "HashedCrossing", "StringLookup", "TextVectorization"};

static bool is_string_layer(const char *name)
{
    for (size_t i = 0; i < countof(string_layers); i++) {
        if (strcmp(string_layers[i], name) == 0) return true;
    }
    return false;
}

bool fe_strings_check(fe_lower *l, fe_layer *layer, const fe_args *args)
{
    const int count = fe_value_tensors(&args->arg, 0, NULL);
    fe_tensor *in = arena_array(l->fe->arena, fe_tensor, (size_t)count + 1);
    int strings = 0;
    fe_value_tensors(&args->arg, count, in);
    for (int i = 0; i < count; i++) strings += ir_type_of(l->g, in[i].value)->dtype == DTYPE_str;
    if (strings == 0) return true;
    if (!is_string_layer(layer->class->name))
        return fe_layer_error(l->fe, layer,
                              "expected numbers, found strings: StringLookup, TextVectorization or Hashing make numbers "
                              "of them");
    if (strings == count || layer->model || strcmp(layer->class->name, "HashedCrossing") == 0) return true;
    return fe_layer_error(l->fe, layer, "expected all inputs to be strings, or none");
}

bool fe_words_policy(fe_layer *layer, const char *name)
{
    if (layer->class->call == fe_call_lookup || layer->class->call == fe_call_text_vectorization) return true;
    if (layer->class->call != fe_call_hashing && layer->class->call != fe_call_hashed_crossing &&
        layer->class->call != fe_call_discretization)
        return false;
    const bool is_long = strcmp(name, "int64") == 0;
    if (!is_long && strcmp(name, "int32") != 0) return false;
    layer->compute_dtype = layer->variable_dtype = is_long ? DTYPE_i64 : DTYPE_i32;
    return true;
}

/* ---- hashes ----------------------------------------------------------------------------------- */

static ir_value build_u64(fe_lower *l, uint64_t number)
{
    return ir_build_constant(l->g, ir_type_scalar(DTYPE_u64), &number);
}

static ir_value build_hash(fe_lower *l, ir_value x, const int64_t *key)
{
    const ir_dim two = ir_fixed(2);
    ir_value in[2] = {x, IR_NONE};
    if (key) in[1] = ir_build_constant(l->g, ir_type_make(DTYPE_u64, 1, &two), key);
    return fe_words_build(l, OP_hash, key ? 2 : 1, in, ir_type_with_dtype(fe_type(l, x), DTYPE_u64));
}

static ir_value reduce_to_bins(fe_lower *l, ir_value hash, int64_t bins)
{
    const ir_value rest = ir_build_binary(l->g, OP_remainder, hash, build_u64(l, (uint64_t)bins));
    return ir_build_convert(l->g, rest, DTYPE_i64);
}

ir_value fe_hash_build(fe_lower *l, ir_value x, const int64_t *key, int64_t bins)
{
    return reduce_to_bins(l, build_hash(l, x, key), bins);
}

bool fe_salt_read(fe_config *c, bool *out_has_salt, int64_t out_salt[2])
{
    *out_has_salt = fe_config_has(c, "salt");
    return !*out_has_salt || fe_config_ints(c, "salt", 2, INT64_MIN, 0, out_salt);
}

/* ---- Hashing ---------------------------------------------------------------------------------- */

typedef struct hashing {
    fe_encode encode;
    bool has_salt, has_mask;
    int64_t salt[2];
    double mask;
    const char *mask_text; /* NULL: the mask is a number */
} hashing;

static bool read_mask(fe_config *c, hashing *s)
{
    const cJSON *j = fe_config_item(c, "mask_value");
    s->has_mask = j != NULL;
    if (cJSON_IsString(j)) s->mask_text = j->valuestring;
    return !j || s->mask_text || fe_config_number(c, "mask_value", &s->mask);
}

bool fe_read_hashing(fe *f, fe_layer *layer, fe_config *c)
{
    hashing *s = arena_new(f->arena, hashing);
    layer->state = s;
    s->encode.dtype = layer->compute_dtype;
    return fe_size_read(c, "num_bins", 0, &s->encode.depth) && fe_salt_read(c, &s->has_salt, s->salt) &&
           read_mask(c, s) && fe_encoding_read(c, FE_ENCODE_int, false, &s->encode) && fe_config_done(c);
}

/* i1: where x is the mask value. */
static bool find_masked(fe_lower *l, fe_layer *layer, ir_value x, ir_value *out)
{
    const hashing *s = layer->state;
    const ir_type t = fe_type(l, x);
    if ((t.dtype == DTYPE_str) != (s->mask_text != NULL))
        return fe_layer_error(l->fe, layer, "expected a mask_value like the input, which is %s",
                              fe_shape_show(l->fe, &t));
    if (!s->mask_text) {
        *out = ir_build_compare(l->g, "EQ", x, ir_build_scalar(l->g, t.dtype, s->mask));
        return true;
    }
    const fe_vocabulary word = {.is_text = true, .count = 1, .text = (const char *[]){s->mask_text}},
                        one = {.count = 1, .integer = (int64_t[]){1}}, none = {.count = 1, .integer = (int64_t[]){0}};
    fe_table table = {.key = &word, .value = &one, .missing = &none};
    const ir_value in[] = {x, fe_table_build(l, layer, &table)};
    if (in[1] == IR_NONE) return false;
    const ir_value found = fe_words_build(l, OP_lookup, 2, in, ir_type_with_dtype(t, DTYPE_i64));
    *out = ir_build_compare(l->g, "NE", found, ir_build_scalar(l->g, DTYPE_i64, 0));
    return true;
}

/* Strings, or integers as i64. */
static bool get_hashable(fe_lower *l, fe_layer *layer, ir_value *x)
{
    const ir_dtype dtype = ir_type_of(l->g, *x)->dtype;
    if (dtype == DTYPE_str) return true;
    if (dtype == DTYPE_i1 || dtype == DTYPE_u64)
        return fe_refuse(l, layer, dtype == DTYPE_i1 ? "an input of bools" : "an input of uint64");
    *x = ir_build_convert(l->g, *x, DTYPE_i64);
    return true;
}

bool fe_call_hashing(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const hashing *s = layer->state;
    int64_t bins = s->encode.depth;
    ir_value masked = IR_NONE;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 0, IR_MAX_RANK, &x)) return false;
    if (s->has_mask && bins > 1) {
        if (!find_masked(l, layer, x.value, &masked)) return false;
        bins--;
    }
    if (!get_hashable(l, layer, &x.value)) return false;
    ir_value y = fe_hash_build(l, x.value, s->has_salt ? s->salt : NULL, bins);
    if (masked != IR_NONE)
        y = ir_build_select(l->g, masked, ir_build_scalar(l->g, DTYPE_i64, 0), ir_build_binary_scalar(l->g, OP_add, y, 1));
    if (s->encode.mode == FE_ENCODE_int) y = ir_build_convert(l->g, y, s->encode.dtype);
    return fe_encode_build(l, layer, &s->encode, y, IR_NONE, out);
}

/* ---- HashedCrossing --------------------------------------------------------------------------- */

bool fe_read_hashed_crossing(fe *f, fe_layer *layer, fe_config *c)
{
    fe_encode *s = arena_new(f->arena, fe_encode);
    const json_at at = fe_key(c, "output_mode");
    layer->state = s;
    s->dtype = layer->compute_dtype;
    if (!fe_size_read(c, "num_bins", 0, &s->depth) || !fe_encoding_read(c, FE_ENCODE_int, false, s)) return false;
    if (s->mode != FE_ENCODE_int && s->mode != FE_ENCODE_one_hot)
        return fe_error(f, &at, "expected int or one_hot");
    return fe_config_done(c);
}

/* TensorFlow's FingerprintCat64. */
static ir_value join_fingerprints(fe_lower *l, ir_value first, ir_value second)
{
    ir_graph *g = l->g;
    const ir_value factor = build_u64(l, 0xc6a4a7935bd1e995u), shift = build_u64(l, 47);
    ir_value y = ir_build_binary(g, OP_multiply, second, factor);
    y = ir_build_binary(g, OP_xor, y, ir_build_binary(g, OP_shift_right_logical, y, shift));
    y = ir_build_binary(g, OP_multiply, y, factor);
    y = ir_build_binary(g, OP_xor, ir_build_binary(g, OP_xor, first, factor), y);
    y = ir_build_binary(g, OP_multiply, y, factor);
    y = ir_build_binary(g, OP_xor, y, ir_build_binary(g, OP_shift_right_logical, y, shift));
    y = ir_build_binary(g, OP_multiply, y, factor);
    return ir_build_binary(g, OP_xor, y, ir_build_binary(g, OP_shift_right_logical, y, shift));
}

bool fe_call_hashed_crossing(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const fe_encode *s = layer->state;
    fe_tensor *x;
    int count;
    if (!fe_inputs_get(l, layer, args, 2, 1 << 16, &count, &x)) return false;
    const ir_type t = fe_type(l, x[0].value);
    if (t.rank > 2 || (t.rank == 2 && !ir_dim_equal(t.dim[1], ir_fixed(1))))
        return fe_layer_error(l->fe, layer, "expected inputs of shape [N] or [N,1], found %s", fe_shape_show(l->fe, &t));
    const uint64_t key = 0xdecafcaffe;
    ir_value y = ir_build_fill(l->g, ir_type_with_dtype(t, DTYPE_u64), (double)key);
    for (int i = 0; i < count; i++) {
        const ir_type own = fe_type(l, x[i].value);
        if (!ir_type_same_shape(&own, &t))
            return fe_layer_error(l->fe, layer, "expected inputs of one shape, found %s and %s",
                                  fe_shape_show(l->fe, &t), fe_shape_show(l->fe, &own));
        if (ir_dtype_is_float(own.dtype)) return fe_refuse(l, layer, "an input that is neither integer nor string");
        if (!get_hashable(l, layer, &x[i].value)) return false;
        const ir_value word = own.dtype == DTYPE_str ? build_hash(l, x[i].value, NULL)
                                                     : ir_build_convert(l->g, x[i].value, DTYPE_u64);
        y = join_fingerprints(l, y, word);
    }
    y = reduce_to_bins(l, y, s->depth);
    if (s->mode == FE_ENCODE_int) y = ir_build_convert(l->g, y, s->dtype);
    return fe_encode_build(l, layer, s, y, IR_NONE, out);
}
