/* keras2.c: what tells a model of Keras 2, and its calls: the first argument is a structure of leaves
 * ["layer", call, tensor, {the other arguments}], each with a copy of the others. */
#include "frontend/keras2.h"

#include <string.h>

/* ---- which Keras ------------------------------------------------------------------------------------ */

static bool starts(const cJSON *j, const char *prefix)
{
    return cJSON_IsString(j) && strncmp(j->valuestring, prefix, strlen(prefix)) == 0;
}

static bool has_keras2_form(const cJSON *object)
{
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(object, "config");
    const cJSON *nodes = cJSON_GetObjectItemCaseSensitive(object, "inbound_nodes");
    const cJSON *module = cJSON_GetObjectItemCaseSensitive(object, "module");
    if (starts(module, "tf_keras") || starts(module, "keras.src.engine") || starts(module, "keras.engine"))
        return true;
    if (cJSON_IsArray(nodes) && cJSON_IsArray(nodes->child)) return true;
    return cJSON_GetObjectItemCaseSensitive(config, "batch_input_shape") &&
           !cJSON_GetObjectItemCaseSensitive(config, "batch_shape");
}

static bool has_keras2_layers(const cJSON *model, int depth)
{
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(model, "config");
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(config, "layers");
    if (has_keras2_form(model)) return true;
    for (const cJSON *j = cJSON_IsArray(layers) && depth < 8 ? layers->child : NULL; j; j = j->next) {
        if (has_keras2_layers(j, depth + 1)) return true;
    }
    return false;
}

bool fe_keras2_is_model(const cJSON *root)
{
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(root, "keras_version");
    if (cJSON_IsString(version)) return version->valuestring[0] < '3';
    return has_keras2_layers(root, 0);
}

static void wrap_list(fe *f, cJSON *config)
{
    cJSON *layers = arena_copy(f->arena, config, sizeof *config), *name = arena_new(f->arena, cJSON);
    layers->string = arena_strdup(f->arena, "layers");
    name->string = arena_strdup(f->arena, "name");
    name->valuestring = arena_strdup(f->arena, "sequential");
    name->type = cJSON_String;
    name->next = layers;
    name->prev = layers;
    layers->prev = name;
    layers->next = NULL;
    config->type = cJSON_Object;
    config->child = name;
}

static void wrap_lists(fe *f, cJSON *model, int depth)
{
    const cJSON *class_name = cJSON_GetObjectItemCaseSensitive(model, "class_name");
    cJSON *config = cJSON_GetObjectItemCaseSensitive(model, "config");
    if (starts(class_name, "Sequential") && cJSON_IsArray(config)) wrap_list(f, config);
    cJSON *layers = cJSON_GetObjectItemCaseSensitive(config, "layers");
    cJSON *inner = cJSON_GetObjectItemCaseSensitive(config, "layer");
    if (depth == 0) return;
    if (inner) wrap_lists(f, inner, depth - 1);
    for (cJSON *j = cJSON_IsArray(layers) ? layers->child : NULL; j; j = j->next) wrap_lists(f, j, depth - 1);
}

void fe_keras2_lists_wrap(fe *f, cJSON *model) { wrap_lists(f, model, 8); }

const cJSON *fe_keras2_first_shape(const cJSON *model_config)
{
    const cJSON *config = model_config;
    for (int depth = 0; depth < 8; depth++) {
        const cJSON *shape = cJSON_GetObjectItemCaseSensitive(config, "batch_input_shape");
        if (cJSON_IsArray(shape)) return shape;
        const cJSON *layers = cJSON_GetObjectItemCaseSensitive(config, "layers");
        config = cJSON_GetObjectItemCaseSensitive(cJSON_IsArray(layers) ? layers->child : NULL, "config");
    }
    return NULL;
}

/* A model that was made with its inputs has had a call of its own: a Functional, or a Sequential whose input
 * shape is known. */
bool fe_keras2_counts_itself(const cJSON *layer)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(layer, "class_name");
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(layer, "config");
    if (!cJSON_IsString(name)) return false;
    if (strcmp(name->valuestring, "Functional") == 0 || strcmp(name->valuestring, "Model") == 0) return true;
    if (strcmp(name->valuestring, "Sequential") != 0) return false;
    const cJSON *layers = cJSON_GetObjectItemCaseSensitive(config, "layers");
    const cJSON *first =
        cJSON_GetObjectItemCaseSensitive(cJSON_IsArray(layers) ? layers->child : NULL, "config");
    return cJSON_GetObjectItemCaseSensitive(first, "batch_input_shape");
}

/* ---- calls ----------------------------------------------------------------------------------------------
 */

static bool is_leaf(const cJSON *j)
{
    int count = cJSON_IsArray(j) ? cJSON_GetArraySize(j) : 0;
    return (count == 3 || count == 4) && cJSON_IsString(j->child) && cJSON_IsNumber(j->child->next);
}

/* Nested lists of numbers, which were a tensor or an array; not lists with other tensors among the numbers. */
static bool is_array(const cJSON *j)
{
    if (!cJSON_IsArray(j) || !j->child) return false;
    for (const cJSON *item = j->child; item; item = item->next) {
        if (!cJSON_IsNumber(item) && !cJSON_IsBool(item) && !is_array(item)) return false;
    }
    return true;
}

static bool read_array(fe_arg_reader *r, const cJSON *j, const json_at *at, fe_value *out)
{
    const cJSON *leaf = j;
    while (cJSON_IsArray(leaf)) leaf = leaf->child;
    ir_dtype dtype = fe_json_has_float(j) ? DTYPE_f32 : cJSON_IsBool(leaf) ? DTYPE_i1 : DTYPE_i32;
    return fe_arg_read_array(r, j, dtype, at, out);
}

/* A leaf is a tensor and, when `context` points to true, a list of numbers a constant. */
static bool read_argument(fe_arg_reader *r, const void *context, const cJSON *j, const json_at *at, fe_value *out)
{
    static const bool yes = true, no = false;
    const bool arrays = *(const bool *)context;
    if (is_leaf(j) && strcmp(j->child->valuestring, "_CONSTANT_VALUE") == 0) {
        const json_at value_at = {.up = at, .index = 2};
        return read_argument(r, &yes, j->child->next->next, &value_at, out);
    }
    if (is_leaf(j) && fe_arg_is_history(j)) return fe_arg_link(r, j, at, out);
    if (arrays && is_array(j)) return read_array(r, j, at, out);
    if (cJSON_IsObject(j) && cJSON_GetArraySize(j) == 3 && cJSON_GetObjectItemCaseSensitive(j, "start") &&
        cJSON_GetObjectItemCaseSensitive(j, "stop") && cJSON_GetObjectItemCaseSensitive(j, "step")) {
        return fe_arg_read_slice(r, read_argument, &no, j, at, out);
    }
    bool plain =
        !cJSON_IsArray(j) && (!cJSON_IsObject(j) || cJSON_GetObjectItemCaseSensitive(j, "class_name"));
    if (plain) return fe_arg_read(r, j, at, out);
    return fe_arg_read_items(r, read_argument, context, j, at, out);
}

/* The first leaf of the structure; NULL when it has none. */
static const cJSON *find_leaf(const cJSON *j)
{
    if (is_leaf(j)) return j;
    const cJSON *found = NULL;
    for (const cJSON *item = j->child; item && !found; item = item->next) found = find_leaf(item);
    return found;
}

/* In place of one of this name: a null that was written with each tensor. */
static fe_value *add_argument(fe *f, fe_args *a, const char *name, fe_value value)
{
    size_t count = (size_t)a->kwarg.count;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(a->kwarg.key[i], name) != 0) continue;
        a->kwarg.item[i] = value;
        return &a->kwarg.item[i];
    }
    const char **key = arena_array(f->arena, const char *, count + 1);
    fe_value *item = arena_array(f->arena, fe_value, count + 1);
    if (count > 0) memcpy(key, a->kwarg.key, count * sizeof *key);
    if (count > 0) memcpy(item, a->kwarg.item, count * sizeof *item);
    key[count] = name;
    item[count] = value;
    a->kwarg = (fe_value){.kind = FE_DICT, .count = (int)count + 1, .item = item, .key = key};
    return &item[count];
}

/* Keras 2 puts the initial states of a recurrent layer behind its input, in one list. */
static void split_states(fe *f, const fe_layer *layer, fe_args *a)
{
    static const char *const recurrent[] = {"SimpleRNN",  "GRU",        "LSTM",       "RNN",
                                            "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D", "Bidirectional",
                                            "CuDNNLSTM",  "CuDNNGRU"};
    bool found = false;
    for (size_t i = 0; i < countof(recurrent); i++)
        found = found || strcmp(layer->class->name, recurrent[i]) == 0;
    fe_value *all = a->arg.item;
    if (!found || all->kind != FE_LIST || all->count < 2) return;
    fe_value states = {.kind = FE_LIST, .count = all->count - 1, .item = all->item + 1};
    add_argument(f, a, "initial_state", states);
    *all = all->item[0];
}

bool fe_keras2_call_read(fe_arg_reader *r, const fe_layer *layer, const cJSON *j, const json_at *at,
                         fe_args *out)
{
    fe *f = r->fe;
    const cJSON *leaf = cJSON_IsArray(j) || cJSON_IsObject(j) ? find_leaf(j) : NULL;
    if (!leaf) {
        return fe_error(f, at,
                        "expected [[\"layer\", call, tensor, {}], ...] as Keras 2 writes a call, found %s",
                        fe_json_show(f, j));
    }
    const cJSON *rest = leaf->child->next->next->next;
    const json_at rest_at = {.up = at, .key = "arguments"};
    bool op = layer && fe_keras2_is_op(layer);
    out->arg = (fe_value){.kind = FE_LIST, .count = 1, .item = arena_new(f->arena, fe_value)};
    if (rest && !cJSON_IsObject(rest))
        return fe_error(f, at, "expected an object of arguments, found %s", fe_json_show(f, rest));
    const bool arrays = true, keyword_arrays = !op;
    bool ok = read_argument(r, &arrays, j, at, &out->arg.item[0]);
    if (rest) ok = fe_arg_read_items(r, read_argument, &keyword_arrays, rest, &rest_at, &out->kwarg) && ok;
    fe_value *first = out->arg.item;
    if (ok && !op && first->kind == FE_LIST && first->count == 1) *first = first->item[0];
    if (ok && layer) split_states(f, layer, out);
    return ok;
}
