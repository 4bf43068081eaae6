/* saved.c: see saved.h. */
#include "frontend/saved.h"

#include "frontend/train.h"

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

static void add_object(text *t, const char *class_name)
{
    add_key(t, "module");
    text_add_quoted(t, "keras.optimizers");
    add_text(t, "class_name", class_name);
    add_key(t, "registered_name");
    text_add(t, "null");
    add_key(t, "config");
}

/* An optimizer of the configuration, or by the name of its record. */
static void add_inner(fe *f, const cJSON *item, const ir_record *r, text *t)
{
    if (cJSON_IsObject(item)) {
        fe_json_print(item, t);
        return;
    }
    text_add(t, "{");
    add_object(t, fe_optimizer_class(f, r));
    text_add(t, "{}}");
}

/* The optimizer in use: what the options made of its loss scale, Keras has to know, too, or it drops the optimizer's state. */
static void add_optimizer(fe *f, const cJSON *training, text *t)
{
    const char *name = f->options->optimizer;
    const cJSON *item = name ? NULL : cJSON_GetObjectItemCaseSensitive(training, "optimizer");
    const cJSON *class_name = cJSON_GetObjectItemCaseSensitive(item, "class_name");
    const ir_record *r = f->module->optimizer, *scale = r ? ir_record_record(r, "loss_scale") : NULL;
    const bool is_wrapped = cJSON_IsString(class_name) && fe_loss_scale_is(class_name->valuestring);
    if (!f->keras2 && scale && !is_wrapped) {
        add_key(t, "optimizer");
        text_add(t, "{");
        add_object(t, "LossScaleOptimizer");
        text_add(t, "{");
        add_text(t, "name", ir_record_text(scale, "name", scale->name));
        add_key(t, "inner_optimizer");
        add_inner(f, item, r, t);
        add_key(t, "initial_scale");
        text_add(t, "%.1f", ir_record_number(scale, "initial_scale", 0));
        add_key(t, "dynamic_growth_steps");
        text_add(t, "%.0f}}", ir_record_number(scale, "dynamic_growth_steps", 0));
    } else if (!f->keras2 && !scale && is_wrapped) {
        const cJSON *config = cJSON_GetObjectItemCaseSensitive(item, "config");
        add_key(t, "optimizer");
        add_inner(f, cJSON_GetObjectItemCaseSensitive(config, "inner_optimizer"), r, t);
    } else if (name) {
        add_text(t, "optimizer", name);
    } else if (item) {
        add_member(t, item);
    }
}

static void add_training(fe *f, const cJSON *training, text *t)
{
    const frontend_options *o = f->options;
    add_key(t, "compile_config");
    text_add(t, "{");
    for (const cJSON *item = training ? training->child : NULL; item; item = item->next) {
        bool replaced = strcmp(item->string, "optimizer") == 0 ||
                        (o->loss && strcmp(item->string, "loss") == 0) ||
                        (o->metrics && strcmp(item->string, "metrics") == 0) ||
                        strcmp(item->string, "lazy_embeddings") == 0 ||
                        strncmp(item->string, "gradient_", 9) == 0; /* Keras knows none of these */
        if (!replaced) add_member(t, item);
    }
    add_optimizer(f, training, t);
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
