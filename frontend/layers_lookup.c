/* layers_lookup.c: StringLookup, IntegerLookup, and TextVectorization, which looks up what it cuts a text into. */
#include "frontend/layers.h"
#include "words/words.h"

#include <string.h>

enum { MOST_NGRAMS = 64, MOST_NGRAM = 1 << 16 };

typedef struct lookup {
    fe_encode encode;       /* mode tf_idf: of the counts */
    bool is_text, invert, has_mask, is_hashed, has_salt;
    int64_t salt[2];
    int64_t first_unknown;  /* number of the first bucket for words that are not in the vocabulary */
    int64_t unknown;        /* how many there are */
    const float *idf;       /* NULL: not known here; depth of them */
    fe_table table;         /* to the numbers, or, inverted, from them; what is missing is -1 or a last resort */
} lookup;

typedef struct vectorization {
    lookup lookup; /* first: both are read by the same functions */
    int64_t standardize, length; /* length -1: that of the longest */
    words_split split;
    int ngram_count;
    int64_t ngram[MOST_NGRAMS];
} vectorization;

/* ---- special words ---------------------------------------------------------------------------- */

typedef struct specials {
    fe_vocabulary mask, unknown; /* of one item, or none */
} specials;

static bool read_special(fe_config *c, bool is_text, const char *key, const char *otherwise, int64_t number,
                         fe_vocabulary *out)
{
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(c->object, key);
    *out = (fe_vocabulary){.is_text = is_text};
    if (fe_config_item(c, key) == NULL && (given || (is_text ? otherwise == NULL : number == INT64_MIN))) return true;
    out->count = 1;
    if (is_text) {
        out->text = arena_array(c->fe->arena, const char *, 1);
        return fe_config_text_or(c, key, otherwise, &out->text[0]);
    }
    out->integer = arena_array(c->fe->arena, int64_t, 1);
    return fe_config_int_or(c, key, INT64_MIN, number, &out->integer[0]);
}

static bool is_item(const fe_vocabulary *v, int i, const fe_vocabulary *one)
{
    if (one->count == 0) return false;
    return v->is_text ? strcmp(v->text[i], one->text[0]) == 0 : v->integer[i] == one->integer[0];
}

/* The vocabulary begins with exactly the special words. */
static bool begins_with(const fe_vocabulary *v, const specials *s, int64_t masks, int64_t unknown)
{
    if (v->count < masks + unknown) return false;
    for (int i = 0; i < masks + unknown; i++) {
        if (!is_item(v, i, i < masks ? &s->mask : &s->unknown)) return false;
    }
    return true;
}

static fe_vocabulary skip_words(const fe_vocabulary *v, int64_t count)
{
    fe_vocabulary rest = *v;
    if (v->is_text)
        rest.text += count;
    else
        rest.integer += count;
    rest.count -= (int)count;
    return rest;
}

static const char *show_item(fe *f, const fe_vocabulary *v, int i)
{
    return v->is_text ? arena_printf(f->arena, "\"%s\"", v->text[i])
                      : arena_printf(f->arena, "%lld", (long long)v->integer[i]);
}

static bool check_words(fe *f, const json_at *at, const fe_vocabulary *v, const specials *s, bool invert)
{
    map seen = {.arena = f->arena};
    for (int i = 0; i < v->count; i++) {
        const char *key = show_item(f, v, i);
        if (map_has(&seen, key)) return fe_error(f, at, "expected each word once, found %s twice", key);
        map_set(&seen, key, f);
        if (is_item(v, i, &s->mask) || (invert && is_item(v, i, &s->unknown)))
            return fe_error(f, at, "expected %s, which has a meaning of its own, only in its place before all words",
                            key);
    }
    return true;
}

/* ---- the table -------------------------------------------------------------------------------- */

static fe_vocabulary make_integers(fe *f, int64_t first, int count)
{
    fe_vocabulary v = {.count = count, .integer = arena_array(f->arena, int64_t, (size_t)count + 1)};
    for (int i = 0; i < count; i++) v.integer[i] = first + i;
    return v;
}

/* The words with the mask behind them. */
static const fe_vocabulary *append(fe *f, const fe_vocabulary *v, const fe_vocabulary *one)
{
    fe_vocabulary *all = arena_new(f->arena, fe_vocabulary);
    *all = (fe_vocabulary){.is_text = v->is_text, .count = v->count + one->count};
    const size_t count = (size_t)all->count + 1;
    if (v->is_text)
        all->text = arena_array(f->arena, const char *, count);
    else
        all->integer = arena_array(f->arena, int64_t, count);
    for (int i = 0; i < all->count; i++) {
        const fe_vocabulary *from = i < v->count ? v : one;
        const int at = i < v->count ? i : 0;
        if (v->is_text)
            all->text[i] = from->text[at];
        else
            all->integer[i] = from->integer[at];
    }
    return all;
}

static void make_table(fe *f, lookup *s, const fe_vocabulary *words, const specials *special)
{
    const int64_t first = s->first_unknown + s->unknown;
    const fe_vocabulary numbers = make_integers(f, first, words->count);
    fe_vocabulary mask_number = {0}, *missing = arena_new(f->arena, fe_vocabulary);
    if (special->mask.count)
        mask_number = make_integers(f, s->encode.mode == FE_ENCODE_int ? 0 : INT64_MAX, 1);
    const fe_vocabulary *word = append(f, words, &special->mask), *number = append(f, &numbers, &mask_number);
    *missing = make_integers(f, s->unknown == 1 ? s->first_unknown : -1, 1);
    if (s->invert) *missing = special->unknown;
    s->table = (fe_table){.key = s->invert ? number : word, .value = s->invert ? word : number, .missing = missing};
    s->table.is_closed = s->unknown == 0 && !s->invert;
}

/* ---- reading ---------------------------------------------------------------------------------- */

/* idf_weights as the layer keeps them: the special words have the mean, what pads the vocabulary has 0. */
static bool read_weights(fe *f, fe_config *c, lookup *s, int64_t words, int64_t special)
{
    const json_at at = fe_key(c, "idf_weights");
    const cJSON *list = fe_config_item(c, "idf_weights"), *item;
    int64_t count = cJSON_GetArraySize(list), at_front = special, i = 0;
    double sum = 0;
    if (!list) return true;
    if (s->encode.mode != FE_ENCODE_tf_idf)
        return fe_error(f, &at, "expected none but with output_mode \"tf_idf\"");
    if (count == words + special) at_front = 0;
    if (!cJSON_IsArray(list) || count + at_front != words + special)
        return fe_error(f, &at, "expected %lld numbers, found %s", (long long)words, fe_json_show(f, list));
    float *idf = arena_array(f->arena, float, (size_t)s->encode.depth + 1);
    for (item = list->child; item; item = item->next, i++) {
        if (!cJSON_IsNumber(item)) return fe_error(f, &at, "expected numbers, found %s", fe_json_show(f, item));
        idf[at_front + i] = (float)item->valuedouble;
        sum += item->valuedouble;
    }
    for (i = 0; i < at_front; i++) idf[i] = (float)(sum / (double)count);
    s->idf = idf;
    return true;
}

static bool read_depth(fe *f, fe_config *c, lookup *s, int64_t size)
{
    const json_at at = fe_key(c, "max_tokens");
    bool pads;
    int64_t most;
    if (!fe_config_int_or(c, "max_tokens", 2, INT64_MAX, &most)) return false;
    if (!fe_config_bool_or(c, "pad_to_max_tokens", false, &pads)) return false;
    if (size > most)
        return fe_error(f, &at, "expected room for the %lld words of the vocabulary, found %lld", (long long)size,
                        (long long)most);
    if (pads && most == INT64_MAX) return fe_error(f, &at, "expected a number: pad_to_max_tokens is set");
    s->encode.depth = pads ? most : size;
    return s->encode.depth <= INT32_MAX || fe_error(f, &at, "expected at most 2^31 - 1");
}

static bool read_words(fe *f, const fe_layer *layer, fe_config *c, lookup *s, const specials *special)
{
    const json_at at = fe_key(c, "vocabulary");
    fe_vocabulary words;
    bool is_file, is_whole = false;
    if (!fe_vocabulary_read(f, layer, c, s->is_text, &words, &is_file)) return false;
    if (is_file && s->encode.mode == FE_ENCODE_tf_idf)
        return fe_error(f, &at, "expected a list: mode tf_idf takes no vocabulary from a file");
    const int64_t own = s->first_unknown + s->unknown;
    if (!is_file && begins_with(&words, special, s->first_unknown, s->unknown)) {
        words = skip_words(&words, own);
        is_whole = true;
    }
    if (!is_whole && words.count == 0) return fe_error(f, &at, "expected words, found none");
    if (!check_words(f, &at, &words, special, s->invert) || !read_depth(f, c, s, own + words.count)) return false;
    make_table(f, s, &words, special);
    return read_weights(f, c, s, words.count, own);
}

static bool check_modes(fe *f, fe_config *c, const lookup *s, const specials *special)
{
    const json_at at = fe_key(c, "output_mode"), oov_at = fe_key(c, "oov_token");
    if (s->invert && s->encode.mode != FE_ENCODE_int)
        return fe_error(f, &at, "expected int where invert is set");
    return !s->invert || special->unknown.count || fe_error(f, &oov_at, "expected a word: invert is set");
}

bool fe_read_lookup(fe *f, fe_layer *layer, fe_config *c)
{
    lookup *s = arena_new(f->arena, lookup);
    specials special = {0};
    static const char *const methods[] = {"floormod", "farmhash", NULL};
    int method;
    layer->state = s;
    s->is_text = strcmp(layer->class->name, "StringLookup") == 0;
    s->encode.dtype = DTYPE_i64;
    fe_config_ignore(c, "vocabulary_dtype vocabulary_size encoding has_input_vocabulary");
    if (!read_special(c, s->is_text, "mask_token", NULL, INT64_MIN, &special.mask) ||
        !read_special(c, s->is_text, "oov_token", "[UNK]", -1, &special.unknown))
        return false;
    if (!fe_config_int_or(c, "num_oov_indices", 0, 1, &s->unknown) || !fe_config_bool_or(c, "invert", false, &s->invert) ||
        !fe_encoding_read(c, FE_ENCODE_int, true, &s->encode) || !fe_salt_read(c, &s->has_salt, s->salt) ||
        !fe_config_choice(c, "oov_method", methods, &method) || !check_modes(f, c, s, &special))
        return false;
    s->has_mask = special.mask.count > 0;
    s->is_hashed = s->is_text || method == 1;
    s->first_unknown = s->has_mask && s->encode.mode == FE_ENCODE_int;
    const json_at oov_at = fe_key(c, "num_oov_indices");
    if (s->unknown > 1 << 24) return fe_error(f, &oov_at, "expected at most 2^24");
    return read_words(f, layer, c, s, &special) && fe_config_done(c);
}

/* ---- StringLookup and IntegerLookup ----------------------------------------------------------- */

/* The bucket of each element, as if it were not in the vocabulary. */
static ir_value choose_bucket(fe_lower *l, const lookup *s, ir_value x)
{
    if (s->is_hashed) return fe_hash_build(l, x, s->has_salt ? s->salt : NULL, s->unknown);
    const ir_value rest = ir_build_binary_scalar(l->g, OP_remainder, x, (double)s->unknown);
    const ir_value negative = ir_build_compare(l->g, "LT", rest, ir_build_scalar(l->g, DTYPE_i64, 0));
    return ir_build_select(l->g, negative, ir_build_binary_scalar(l->g, OP_add, rest, (double)s->unknown), rest);
}

/* counts f32 or i64, their last dim one per word: times the weights. */
static bool weigh(fe_lower *l, fe_layer *layer, const lookup *s, fe_value *out)
{
    arena *a = l->fe->arena;
    const fe_weight_spec spec = {.name = "idf_weights", .rank = 1, .shape = &s->encode.depth, .data = s->idf,
                                 .keep_dtype = true, .dataset = arena_printf(a, "%s/vars/idf_weights", layer->h5),
                                 .dataset_copy = layer->class->call == fe_call_lookup
                                                     ? NULL
                                                     : arena_printf(a, "%s/_lookup_layer/vars/idf_weights", layer->h5)};
    const ir_value idf = fe_weight_get(l, layer, &spec);
    if (idf == IR_NONE) return false;
    const ir_value counts = ir_build_convert(l->g, out->tensor.value, ir_type_of(l->g, idf)->dtype);
    return fe_finish(l, ir_build_binary(l->g, OP_multiply, counts, idf), IR_NONE, out);
}

static bool encode_numbers(fe_lower *l, fe_layer *layer, const lookup *s, ir_value numbers, fe_value *out)
{
    if (!fe_encode_build(l, layer, &s->encode, numbers, IR_NONE, out)) return false;
    return s->encode.mode != FE_ENCODE_tf_idf || weigh(l, layer, s, out);
}

bool fe_call_lookup(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    lookup *s = layer->state;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 0, IR_MAX_RANK, &x)) return false;
    const ir_type t = fe_type(l, x.value);
    const bool wants_text = s->is_text && !s->invert;
    if (wants_text != (t.dtype == DTYPE_str))
        return fe_layer_error(l->fe, layer, "expected %s, found %s", wants_text ? "strings" : "integers",
                              fe_shape_show(l->fe, &t));
    if (!wants_text) x.value = ir_build_convert(l->g, x.value, DTYPE_i64);
    const ir_value in[] = {x.value, fe_table_build(l, layer, &s->table)};
    if (in[1] == IR_NONE) return false;
    ir_value y = fe_words_build(l, OP_lookup, 2, in,
                                ir_type_with_dtype(t, s->table.value->is_text ? DTYPE_str : DTYPE_i64));
    if (s->unknown > 1 && !s->invert) {
        const ir_value is_missing = ir_build_compare(l->g, "EQ", y, ir_build_scalar(l->g, DTYPE_i64, -1));
        const ir_value bucket = ir_build_binary_scalar(l->g, OP_add, choose_bucket(l, s, x.value), (double)s->first_unknown);
        y = ir_build_select(l->g, is_missing, bucket, y);
    }
    return encode_numbers(l, layer, s, y, out);
}

/* ---- TextVectorization ------------------------------------------------------------------------ */

static bool read_ngrams(fe *f, fe_config *c, vectorization *s)
{
    const json_at at = fe_key(c, "ngrams");
    const bool is_number = cJSON_IsNumber(fe_config_item(c, "ngrams"));
    int count;
    int64_t *width;
    if (!fe_config_int_list(c, "ngrams", &count, &width)) return false;
    if (count < 0) return true;
    s->ngram_count = is_number ? (int)(width[0] < 0 || width[0] > MOST_NGRAMS ? MOST_NGRAMS + 1 : width[0]) : count;
    if (s->ngram_count < 1 || s->ngram_count > MOST_NGRAMS)
        return fe_error(f, &at, "expected 1 to %d widths", MOST_NGRAMS);
    for (int i = 0; i < s->ngram_count; i++) {
        s->ngram[i] = is_number ? i + 1 : width[i];
        if (s->ngram[i] < 1 || s->ngram[i] > MOST_NGRAM) return fe_error(f, &at, "expected widths of at least 1");
    }
    return true;
}

/* A field with a word of the list, or null, or Python code. */
static bool read_word(fe *f, fe_config *c, const char *key, const char *const *known, int otherwise, int *out)
{
    const json_at at = fe_key(c, key);
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(c->object, key), *j = fe_config_item(c, key);
    *out = given ? 0 : otherwise;
    if (!j) return true;
    if (!cJSON_IsString(j)) return fe_error(f, &at, "a Python function is not supported, found %s", fe_json_show(f, j));
    for (*out = 1; known[*out]; ++*out) {
        if (strcmp(known[*out], j->valuestring) == 0) return true;
    }
    return fe_error(f, &at, "expected null or one of the words that Keras knows, found %s", fe_json_show(f, j));
}

bool fe_read_text_vectorization(fe *f, fe_layer *layer, fe_config *c)
{
    static const char *const standards[] = {"", "lower", "strip_punctuation", "lower_and_strip_punctuation", NULL};
    static const char *const splits[] = {"", "whitespace", "character", NULL};
    vectorization *s = arena_new(f->arena, vectorization);
    const json_at ragged_at = fe_key(c, "ragged"), length_at = fe_key(c, "output_sequence_length");
    int standard, split;
    bool ragged;
    layer->state = s;
    s->lookup = (lookup){.is_text = true, .has_mask = true, .is_hashed = true, .unknown = 1, .encode.dtype = DTYPE_i64};
    const specials special = {.mask = {.is_text = true, .count = 1, .text = (const char *[]){""}},
                             .unknown = {.is_text = true, .count = 1, .text = (const char *[]){"[UNK]"}}};
    fe_config_ignore(c, "vocabulary_size encoding has_input_vocabulary");
    if (!read_word(f, c, "standardize", standards, 3, &standard) || !read_word(f, c, "split", splits, 1, &split) ||
        !read_ngrams(f, c, s) || !fe_encoding_read(c, FE_ENCODE_int, true, &s->lookup.encode) ||
        !fe_config_int_or(c, "output_sequence_length", 1, -1, &s->length) ||
        !fe_config_bool_or(c, "ragged", false, &ragged))
        return false;
    s->standardize = standard; /* the bits WORDS_LOWER and WORDS_STRIP */
    s->split = (words_split)split;
    if (ragged) return fe_error(f, &ragged_at, "ragged results are not supported; set output_sequence_length instead");
    if (s->length > INT32_MAX) return fe_error(f, &length_at, "expected at most 2^31 - 1");
    if (s->length > 0 && s->lookup.encode.mode != FE_ENCODE_int)
        return fe_error(f, &length_at, "expected none but with output_mode \"int\"");
    s->lookup.first_unknown = s->lookup.encode.mode == FE_ENCODE_int;
    return read_words(f, layer, c, &s->lookup, &special) && fe_config_done(c);
}

/* Words in a row of `strings` whole strings. */
static int64_t count_ngrams(const vectorization *s, int64_t strings)
{
    int64_t count = s->ngram_count ? 0 : strings;
    for (int i = 0; i < s->ngram_count; i++) {
        if (strings >= s->ngram[i]) count += strings - s->ngram[i] + 1;
    }
    return count;
}

/* Rows of strings become rows of `columns` numbers, or of counts. */
static ir_value build_tokens(fe_lower *l, fe_layer *layer, ir_value x, int64_t columns, bool counts)
{
    vectorization *s = layer->state;
    ir_type t = fe_type(l, x);
    int64_t plan[sizeof(words_plan) / sizeof(int64_t) + MOST_NGRAMS];
    const words_plan head = {.strings = t.dim[t.rank - 1].count, .columns = columns, .counts = counts,
                             .standardize = s->standardize, .split = s->split, .ngrams = s->ngram_count};
    memcpy(plan, &head, sizeof head);
    memcpy(plan + sizeof head / sizeof *plan, s->ngram, (size_t)s->ngram_count * sizeof *plan);
    const ir_dim size = ir_fixed((int64_t)(sizeof head / sizeof *plan) + s->ngram_count);
    const ir_value in[] = {x, fe_table_build(l, layer, &s->lookup.table),
                           ir_build_constant(l->g, ir_type_make(DTYPE_i64, 1, &size), plan)};
    if (in[1] == IR_NONE) return IR_NONE;
    t.dtype = DTYPE_i64;
    t.dim[t.rank - 1] = ir_fixed(columns);
    return fe_size_check(l, layer, &t) ? fe_words_build(l, OP_tokens, 3, in, t) : IR_NONE;
}

/* Each string is a word. */
static bool call_whole(fe_lower *l, fe_layer *layer, ir_value x, fe_value *out)
{
    const vectorization *s = layer->state;
    ir_type t = fe_type(l, x);
    const bool is_row = t.rank == 1;
    if (is_row && (s->ngram_count || s->length > 0))
        return fe_refuse(l, layer, "ngrams or output_sequence_length along the batch");
    if (is_row) x = ir_build_reshape(l->g, x, 2, (ir_dim[]){t.dim[0], ir_fixed(1)}), t = fe_type(l, x);
    const int64_t columns = s->length > 0 ? s->length : count_ngrams(s, t.dim[t.rank - 1].count);
    if (columns < 1) return fe_refuse(l, layer, "an input of fewer strings than an n-gram has");
    ir_value y = build_tokens(l, layer, x, columns, false);
    if (y == IR_NONE) return false;
    if (is_row) y = ir_build_reshape(l->g, y, 1, t.dim);
    return encode_numbers(l, layer, &s->lookup, y, out);
}

bool fe_call_text_vectorization(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const vectorization *s = layer->state;
    const fe_encoding mode = s->lookup.encode.mode;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK, &x)) return false;
    ir_type t = fe_type(l, x.value);
    if (t.dtype != DTYPE_str)
        return fe_layer_error(l->fe, layer, "expected strings, found %s", fe_shape_show(l->fe, &t));
    if (s->split == WORDS_WHOLE) return call_whole(l, layer, x.value, out);
    if (t.rank > 1 && !ir_dim_equal(t.dim[t.rank - 1], ir_fixed(1)))
        return fe_layer_error(l->fe, layer, "expected one text in a row, found %s", fe_shape_show(l->fe, &t));
    if (t.rank == 1) x.value = ir_build_reshape(l->g, x.value, 2, (ir_dim[]){t.dim[0], ir_fixed(1)});
    if (mode == FE_ENCODE_one_hot || (mode != FE_ENCODE_int && t.rank > 2))
        return fe_layer_error(l->fe, layer, "this output_mode would give a ragged tensor, which is not supported");
    if (mode == FE_ENCODE_int && s->length < 0)
        return fe_layer_error(l->fe, layer,
                              "the length of the result depends on the data; set output_sequence_length in the model");
    ir_value y = build_tokens(l, layer, x.value, mode == FE_ENCODE_int ? s->length : s->lookup.encode.depth,
                              mode != FE_ENCODE_int);
    if (y == IR_NONE) return false;
    if (mode == FE_ENCODE_multi_hot)
        y = ir_build_binary(l->g, OP_minimum, y, ir_build_scalar(l->g, DTYPE_i64, 1));
    *out = fe_value_tensor(y, IR_NONE);
    return mode != FE_ENCODE_tf_idf || weigh(l, layer, &s->lookup, out);
}
