/* saved.c: see saved.h. */
#include "frontend/saved.h"

#include <string.h>

/* The version that a Keras 3 model is said to be of: the JSON does not have it. */
static const char keras3_version[] = "3.15.1", keras2_version[] = "2.15.0";

static void add_key(text *t, const char *key)
{
    if (t->data[t->length - 1] != '{') text_add(t, ", ");
    text_add_quoted(t, key);
    text_add(t, ": ");
}

static void add_member(text *t, const cJSON *item)
{
    add_key(t, item->string);
    fe_json_print(item, t);
}

static void add_text(text *t, const char *key, const char *word)
{
    if (!word) return;
    add_key(t, key);
    text_add_quoted(t, word);
}

/* Comma-separated names as a list. */
static void add_names(text *t, const char *key, const char *names)
{
    if (!names) return;
    add_key(t, key);
    text_add(t, "[");
    for (const char *at = names; *at;) {
        size_t length = strcspn(at, ",");
        text_add(t, "%s\"%.*s\"", at == names ? "" : ", ", (int)length, at);
        at += length + (at[length] == ',');
    }
    text_add(t, "]");
}

static void add_training(const fe *f, const cJSON *training, text *t)
{
    const frontend_options *o = f->options;
    add_key(t, "compile_config");
    text_add(t, "{");
    for (const cJSON *item = training ? training->child : NULL; item; item = item->next) {
        bool replaced = (o->optimizer && strcmp(item->string, "optimizer") == 0) ||
                        (o->loss && strcmp(item->string, "loss") == 0) ||
                        (o->metrics && strcmp(item->string, "metrics") == 0) ||
                        strcmp(item->string, "lazy_embeddings") == 0 ||
                        strncmp(item->string, "gradient_", 9) == 0; /* Keras knows none of these */
        if (!replaced) add_member(t, item);
    }
    add_text(t, "optimizer", o->optimizer);
    add_text(t, "loss", o->loss);
    add_names(t, "metrics", o->metrics);
    text_add(t, "}");
}

/* The module that Keras finds the class of a model in. */
static const char *module_of(const fe *f, const char *class_name)
{
    if (strcmp(class_name, "Sequential") == 0) return "keras";
    return f->keras2 ? "tf_keras.src.engine.functional" : "keras.src.models.functional";
}

void fe_saved_make(fe *f, const cJSON *root, const cJSON *training, bool trained, frontend_model *out)
{
    static const char *const own[] = {"module", "registered_name", "compile_config", "keras_version",
                                      "backend"};
    const cJSON *class_name = cJSON_GetObjectItemCaseSensitive(root, "class_name");
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(root, "keras_version");
    const cJSON *module = cJSON_GetObjectItemCaseSensitive(root, "module");
    const cJSON *registered = cJSON_GetObjectItemCaseSensitive(root, "registered_name");
    text t = {0};
    text_add(&t, "{");
    add_text(&t, "module",
             cJSON_IsString(module) ? module->valuestring : module_of(f, class_name->valuestring));
    for (const cJSON *item = root->child; item; item = item->next) {
        bool done = false;
        for (size_t i = 0; i < countof(own); i++) done = done || strcmp(item->string, own[i]) == 0;
        if (!done) add_member(&t, item);
    }
    if (registered)
        add_member(&t, registered);
    else
        add_text(&t, "registered_name", class_name->valuestring);
    if (trained) add_training(f, training, &t);
    text_add(&t, "}");
    out->config = arena_strndup(f->arena, text_get(&t), t.length);
    text_clear(&t);
    text_add(&t, "{");
    const char *default_version = f->keras2 ? keras2_version : keras3_version;
    add_text(&t, "keras_version", cJSON_IsString(version) ? version->valuestring : default_version);
    text_add(&t, "}");
    out->metadata = arena_strndup(f->arena, text_get(&t), t.length);
    text_done(&t);
}
