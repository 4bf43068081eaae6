/* layer.c: a Keras layer object becomes an fe_layer. */
#include "frontend/keras2.h"
#include "frontend/layers.h"

#include <string.h>

static bool is_module(const cJSON *module, const char *prefix)
{
    return cJSON_IsString(module) && strncmp(module->valuestring, prefix, strlen(prefix)) == 0;
}

bool fe_is_op_object(const cJSON *object)
{
    const cJSON *module = cJSON_GetObjectItemCaseSensitive(object, "module");
    return is_module(module, "keras.src.ops") || is_module(module, "keras.ops");
}

/* Files and tables name the Python class; these are also written under another name. */
static const char *find_python_class(const fe *f, const char *class_name)
{
    if (strcmp(class_name, "GroupQueryAttention") == 0) return "GroupedQueryAttention";
    if (strcmp(class_name, "Model") == 0) return "Functional";
    return f->keras2 ? fe_keras2_class(class_name) : class_name;
}

/* Weights files of Keras 2 count layers by the class that wrote them: only names of older versions mean another one. */
static const char *find_group_class(const fe *f, const char *class_name)
{
    return strcmp(class_name, "SyncBatchNormalization") == 0 ? class_name : find_python_class(f, class_name);
}

const char *fe_names_next(fe_names *names, const char *class_name)
{
    arena *a = names->fe->arena;
    const char *name = fe_snake_case(names->fe, find_group_class(names->fe, class_name));
    int *count = map_find(&names->used, name);
    if (count) return arena_printf(a, "%s_%d", name, ++*count);
    map_set(&names->used, name, arena_new(a, int));
    return name;
}

/* ---- operations as layers ---------------------------------------------------------------------------- */

typedef struct op_state {
    const fe_op *op;
    fe_value config;
} op_state;

static bool read_op_layer(fe *f, fe_layer *layer, fe_config *config)
{
    op_state *state = arena_new(f->arena, op_state);
    state->op = fe_op_find(layer->class->name);
    layer->state = state;
    fe_arg_reader reader = {.fe = f};
    if (!config->object) {
        state->config.kind = FE_DICT;
        return true;
    }
    return fe_arg_read(&reader, config->object, &config->at, &state->config);
}

static bool call_op_layer(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const op_state *state = layer->state;
    return fe_op_call(l, state->op, args, &state->config, out);
}

const fe_op *fe_layer_op(const fe_layer *layer)
{
    return layer->class->call == call_op_layer ? ((const op_state *)layer->state)->op : NULL;
}

static const fe_layer_class *find_op_class(fe *f, const char *name, const json_at *at)
{
    const fe_op *op = fe_op_find(name);
    if (op && fe_op_refusal(op)) {
        fe_error(f, at, "this operation is not supported: %s", fe_op_refusal(op));
        return NULL;
    }
    if (!op) {
        const char **known = arena_array(f->arena, const char *, fe_op_count());
        for (size_t i = 0; i < fe_op_count(); i++) known[i] = fe_op_name(fe_op_at(i));
        const char *near = fe_nearest(name, fe_op_count(), known);
        fe_error(f, at, "this operation is not supported%s%s%s", near ? "; the nearest one that is: \"" : "",
                 near ? near : "", near ? "\"" : "");
        return NULL;
    }
    fe_layer_class *made = arena_new(f->arena, fe_layer_class);
    *made =
        (fe_layer_class){.name = arena_strdup(f->arena, name), .read = read_op_layer, .call = call_op_layer};
    return made;
}

/* ---- layers -------------------------------------------------------------------------------------------- */

static const fe_layer_class *find_class(fe *f, const cJSON *object, const json_at *at)
{
    const json_at name_at = {.up = at, .key = "class_name"};
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(object, "class_name");
    const cJSON *registered = cJSON_GetObjectItemCaseSensitive(object, "registered_name");
    if (!cJSON_IsObject(object)) {
        fe_error(f, at, "expected a layer, found %s", fe_json_show(f, object));
        return NULL;
    }
    if (!cJSON_IsString(name)) {
        fe_error(f, &name_at, "expected the name of a class, found %s", fe_json_show(f, name));
        return NULL;
    }
    if (fe_is_op_object(object)) return find_op_class(f, name->valuestring, &name_at);
    const fe_layer_class *class = f->keras2 ? fe_keras2_op_class(name->valuestring) : NULL;
    if (!class) class = fe_layer_class_find(find_python_class(f, name->valuestring));
    if (cJSON_IsString(registered) && strchr(registered->valuestring, '>')) {
        fe_error(f, &name_at, "expected a layer of Keras, found the custom class %s",
                 fe_json_show(f, registered));
        return NULL;
    }
    if (!class) {
        const char **known = arena_array(f->arena, const char *, fe_layer_class_count);
        for (size_t i = 0; i < fe_layer_class_count; i++) known[i] = fe_layer_classes[i].name;
        const char *near = fe_nearest(name->valuestring, fe_layer_class_count, known);
        fe_error(f, &name_at, "expected a layer of Keras, found %s%s%s%s", fe_json_show(f, name),
                 near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
        return NULL;
    }
    if (class->refusal) {
        fe_error(f, &name_at, "this layer is not supported: %s", class->refusal);
        return NULL;
    }
    return class;
}

/* A copy of the path whose steps live as long as the layer. */
static const json_at *keep_path(fe *f, const json_at *at)
{
    if (!at) return NULL;
    json_at *kept = arena_new(f->arena, json_at);
    *kept = (json_at){.up = keep_path(f, at->up), .key = at->key, .index = at->index};
    return kept;
}

static const char *read_name(fe *f, const cJSON *object, const json_at *at)
{
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(object, "config");
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(config, "name");
    if (!name) name = cJSON_GetObjectItemCaseSensitive(object, "name");
    if (cJSON_IsString(name) && name->valuestring[0]) return name->valuestring;
    const json_at config_at = {.up = at, .key = "config"}, name_at = {.up = &config_at, .key = "name"};
    fe_error(f, &name_at, "expected the name of the layer, found %s", fe_json_show(f, name));
    return NULL;
}

static void set_origin(fe *f, fe_layer *layer)
{
    const char *shown = arena_printf(f->arena, "%s \"%s\"", layer->class->name, layer->name);
    layer->origin = ir_module_add_origin(f->module, layer->json_path, shown);
}

static bool read_fields(fe *f, fe_layer *layer, const cJSON *object)
{
    fe_config config;
    fe_config_init(&config, f, cJSON_GetObjectItemCaseSensitive(object, "config"), layer->at, "config");
    fe_config_ignore(&config, "name");
    layer->config = config.object;
    layer->build_config = cJSON_GetObjectItemCaseSensitive(object, "build_config");
    layer->trainable = true;
    layer->compute_dtype = layer->variable_dtype = DTYPE_f32;
    if (layer->class->call == call_op_layer) return layer->class->read(f, layer, &config);
    const cJSON *written = cJSON_GetObjectItemCaseSensitive(object, "class_name");
    if (f->keras2) config.keras2_class = written->valuestring;
    bool ok = !f->keras2 || fe_keras2_fields_read(&config);
    ok = fe_config_bool_or(&config, "trainable", true, &layer->trainable) && ok;
    if (layer->class->call != fe_call_input_layer) {
        fe_config_ignore(&config, "quantization_config batch_input_shape");
        ok = fe_policy_read(f, layer, &config) && ok;
    }
    const json_at regularizer_at = {.up = &config.at, .key = "activity_regularizer"};
    ok = fe_config_object(&config, "activity_regularizer", &layer->activity_regularizer) && ok;
    if (ok && layer->activity_regularizer) {
        ok = fe_regularizer_check(f, layer->activity_regularizer, &regularizer_at);
    }
    return layer->class->read(f, layer, &config) && ok;
}

/* While its class is not known, messages name a layer as the JSON does. */
static const fe_layer_class *find_named_class(fe *f, const cJSON *object, const json_at *at)
{
    const cJSON *class_name = cJSON_GetObjectItemCaseSensitive(object, "class_name");
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(object, "config");
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(config, "name");
    const fe_layer *outer = f->layer;
    fe_layer_class found = {.name = cJSON_IsString(class_name) ? class_name->valuestring : ""};
    fe_layer named = {.class = &found, .name = cJSON_IsString(name) ? name->valuestring : ""};
    if (cJSON_IsString(class_name) && cJSON_IsString(name)) f->layer = &named;
    const fe_layer_class *class = find_class(f, object, at);
    f->layer = outer;
    return class;
}

fe_layer *fe_layer_read(fe *f, const cJSON *object, const json_at *at, const char *parent_path,
                        const char *h5)
{
    const fe_layer_class *class = find_named_class(f, object, at);
    const char *name = class ? read_name(f, object, at) : NULL;
    if (!name) return NULL;
    fe_layer *layer = arena_new(f->arena, fe_layer);
    layer->class = class;
    layer->name = name;
    layer->at = keep_path(f, at);
    layer->json_path = fe_at_show(f, at);
    layer->path = parent_path ? arena_printf(f->arena, "%s/%s", parent_path, name) : name;
    layer->h5 = h5;
    set_origin(f, layer);
    const fe_layer *outer = f->layer;
    f->layer = layer;
    bool ok = read_fields(f, layer, object);
    f->layer = outer;
    return ok ? layer : NULL;
}

fe_layer *fe_layer_make(fe *f, const char *class_name, const fe_layer *parent, const char *name,
                        const char *h5_part)
{
    const fe_layer_class *class = fe_layer_class_find(class_name);
    bug_if(!class, "a layer makes an unknown layer %s", class_name);
    fe_layer *layer = arena_new(f->arena, fe_layer);
    layer->class = class;
    layer->name = name;
    layer->at = parent->at;
    layer->json_path = parent->json_path;
    layer->path = arena_printf(f->arena, "%s/%s", parent->path, name);
    layer->h5 = arena_printf(f->arena, "%s/%s", parent->h5, h5_part);
    layer->trainable = parent->trainable;
    layer->compute_dtype = parent->compute_dtype;
    layer->variable_dtype = parent->variable_dtype;
    if (parent->policy) fe_policy_apply(f, layer, parent->policy, parent->at);
    set_origin(f, layer);
    return layer;
}
