/* policy.c: dtype policies: what a layer computes in and what its variables are kept in. A layer's policy is one name, or
 * a map from the paths of layers (or patterns of paths) to names, which the layers that it makes inherit. */
#include "frontend/layers.h"
#include "frontend/model.h"
#include "frontend/pattern.h"

#include <string.h>

typedef struct policy {
    const char *name;
    ir_dtype compute, variable;
} policy;

static const policy policies[] = {
    {"float32", DTYPE_f32, DTYPE_f32},         {"mixed_float16", DTYPE_f16, DTYPE_f32},
    {"mixed_bfloat16", DTYPE_bf16, DTYPE_f32}, {"float16", DTYPE_f16, DTYPE_f16},
    {"bfloat16", DTYPE_bf16, DTYPE_bf16},      {"float64", DTYPE_f64, DTYPE_f64},
};

/* Of layers without arithmetic that needs real numbers: what they give is integers. */
static const policy integer_policies[] = {
    {"int8", DTYPE_i8, DTYPE_i8},    {"int16", DTYPE_i16, DTYPE_i16},  {"int32", DTYPE_i32, DTYPE_i32},
    {"int64", DTYPE_i64, DTYPE_i64}, {"uint8", DTYPE_u8, DTYPE_u8},    {"uint16", DTYPE_u16, DTYPE_u16},
    {"uint32", DTYPE_u32, DTYPE_u32},
};
static const char *const integer_layers[] = {"Discretization", "CategoryEncoding", "Rescaling", "Identity",
                                             "Flatten",        "Reshape",          "Permute",   "RepeatVector"};

typedef struct entry {
    const char *path; /* or a pattern */
    const policy *policy;
} entry;

struct fe_policy {
    const policy *policy; /* of layers that no entry names */
    entry *entry;
    size_t count, capacity;
};

static const policy *find_policy(const char *name)
{
    for (size_t i = 0; i < countof(policies); i++) {
        if (strcmp(policies[i].name, name) == 0) return &policies[i];
    }
    return NULL;
}

/* Gives the layer the integers that `name` says, if it may have any. */
static bool apply_integers(fe_layer *layer, const char *name)
{
    bool takes = false;
    for (size_t i = 0; i < countof(integer_layers); i++) takes |= strcmp(integer_layers[i], layer->class->name) == 0;
    for (size_t i = 0; takes && i < countof(integer_policies); i++) {
        if (strcmp(integer_policies[i].name, name) != 0) continue;
        layer->compute_dtype = integer_policies[i].compute;
        layer->variable_dtype = integer_policies[i].variable;
        return true;
    }
    return false;
}

const char *fe_policy_name(ir_dtype compute, ir_dtype variable)
{
    for (size_t i = 0; i < countof(policies); i++) {
        if (policies[i].compute == compute && policies[i].variable == variable) return policies[i].name;
    }
    return "float32";
}

static bool is_quantized(const char *name)
{
    static const char *const modes[] = {"int8", "float8", "int4", "gptq", "awq"};
    bool found = false;
    for (size_t i = 0; i < countof(modes); i++) {
        found |= strncmp(name, modes[i], strlen(modes[i])) == 0 && strstr(name + strlen(modes[i]), "_from_");
    }
    return found;
}

/* NULL after a diagnostic; each name is reported once. */
static const policy *get_policy(fe *f, const char *name, const json_at *at)
{
    const char *known[countof(policies)];
    const policy *found = find_policy(name);
    if (found || map_has(&f->refused_policy, name)) return found;
    map_set(&f->refused_policy, name, f);
    for (size_t i = 0; i < countof(policies); i++) known[i] = policies[i].name;
    const char *near = fe_nearest(name, countof(policies), known);
    if (is_quantized(name)) {
        fe_error(f, at,
                 "dtype policy \"%s\" is not supported: quantized layers keep integers and scales in place of their weights; "
                 "use the model as it was before quantize(), or --policy float32 with its weights",
                 name);
    } else if (near) {
        fe_error(f, at, "unknown dtype policy \"%s\"; did you mean \"%s\"?", name, near);
    } else {
        fe_error(f, at,
                 "expected a dtype policy of mixed_float16, mixed_bfloat16, float16, bfloat16, float32 and float64, found "
                 "\"%s\"; --policy float32 overrides it",
                 name);
    }
    return NULL;
}

static const char *get_text(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

/* A policy that is no map: a string, DTypePolicy's config.name (Keras 3), or Policy's (Keras 2). Null, or without a name:
 * the global policy of the program that reads it, which is float32. */
static const policy *read_policy(fe *f, const cJSON *j, const json_at *at)
{
    if (!j || cJSON_IsNull(j)) return find_policy("float32");
    if (cJSON_IsString(j)) return get_policy(f, j->valuestring, at);
    const char *class_name = get_text(j, "class_name");
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(j, "config");
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(config, "name");
    if (strstr(class_name, "Quantized") || strncmp(class_name, "GPTQ", 4) == 0 || strncmp(class_name, "AWQ", 3) == 0 ||
        strncmp(class_name, "Int4", 4) == 0)
        return get_policy(f, arena_printf(f->arena, "%s_from_%s", get_text(config, "mode"), get_text(config, "source_name")), at);
    const bool known = strcmp(class_name, "DTypePolicy") == 0 || strcmp(class_name, "FloatDTypePolicy") == 0 ||
                       strcmp(class_name, "Policy") == 0;
    if (known && cJSON_IsString(name)) return get_policy(f, name->valuestring, at);
    if (known && cJSON_IsObject(config) && (!name || cJSON_IsNull(name))) return find_policy("float32");
    fe_error(f, at, "expected a dtype policy such as \"float32\", found %s", fe_json_show(f, j));
    return NULL;
}

static bool read_map(fe *f, const cJSON *config, const json_at *up, fe_policy *out)
{
    const json_at at = {.up = up, .key = "config"}, default_at = {.up = &at, .key = "default_policy"};
    const json_at map_at = {.up = &at, .key = "policy_map"};
    const cJSON *by_path = cJSON_GetObjectItemCaseSensitive(config, "policy_map");
    out->policy = read_policy(f, cJSON_GetObjectItemCaseSensitive(config, "default_policy"), &default_at);
    if (by_path && !cJSON_IsObject(by_path) && !cJSON_IsNull(by_path))
        return fe_error(f, &map_at, "expected an object from paths of layers to dtype policies, found %s", fe_json_show(f, by_path));
    bool ok = out->policy != NULL;
    for (const cJSON *item = by_path ? by_path->child : NULL; item; item = item->next) {
        const json_at item_at = {.up = &map_at, .key = item->string};
        const entry made = {arena_strdup(f->arena, item->string), read_policy(f, item, &item_at)};
        ok = made.policy && ok;
        arena_push(f->arena, out->entry, out->count, out->capacity, made);
    }
    return ok;
}

/* The policy of the layer at `path`: of the entry of that name, or of the one entry that matches it. NULL after a
 * diagnostic. */
static const policy *choose_policy(fe *f, const fe_policy *p, const char *path, const json_at *at)
{
    const entry *found = NULL;
    for (size_t i = 0; i < p->count; i++) {
        if (strcmp(p->entry[i].path, path) == 0) return p->entry[i].policy;
    }
    for (size_t i = 0; i < p->count; i++) {
        const char *problem;
        const fe_match match = fe_pattern_match(p->entry[i].path, path, &problem);
        if (match == MATCH_refused) {
            fe_error(f, at, "cannot match layers with the pattern \"%s\": %s", p->entry[i].path, problem);
            return NULL;
        }
        if (match == MATCH_yes && found) {
            fe_error(f, at, "expected one entry that fits the path \"%s\", found \"%s\" and \"%s\"", path, found->path,
                     p->entry[i].path);
            return NULL;
        }
        if (match == MATCH_yes) found = &p->entry[i];
    }
    return found ? found->policy : p->policy;
}

bool fe_policy_apply(fe *f, fe_layer *layer, const fe_policy *p, const json_at *at)
{
    const policy *chosen = choose_policy(f, p, layer->path, at);
    layer->policy = p;
    if (!chosen) return false;
    layer->compute_dtype = chosen->compute;
    layer->variable_dtype = chosen->variable;
    return true;
}

bool fe_policy_read(fe *f, fe_layer *layer, fe_config *config)
{
    const json_at at = {.up = &config->at, .key = "dtype"};
    const cJSON *j = fe_config_item(config, "dtype");
    fe_policy *p = arena_new(f->arena, fe_policy);
    const char *name = cJSON_IsString(j) ? j->valuestring : get_text(cJSON_GetObjectItemCaseSensitive(j, "config"), "name");
    bool ok;
    if (fe_words_policy(layer, name) || apply_integers(layer, name)) return true;
    if (f->options->policy) {
        p->policy = find_policy(f->options->policy);
        ok = p->policy != NULL; /* fe_policy_check has said so */
    } else if (strcmp(get_text(j, "class_name"), "DTypePolicyMap") == 0) {
        ok = read_map(f, cJSON_GetObjectItemCaseSensitive(j, "config"), &at, p);
    } else {
        p->policy = read_policy(f, j, &at);
        ok = p->policy != NULL;
    }
    return ok && fe_policy_apply(f, layer, p, &at);
}

bool fe_policy_check(fe *f)
{
    const char *name = f->options->policy;
    return !name || find_policy(name) ||
           diag_error(f->diag, "--policy",
                      "expected mixed_float16, mixed_bfloat16, float16, bfloat16, float32 or float64, found \"%s\"", name);
}
