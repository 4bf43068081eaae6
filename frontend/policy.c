/* policy.c: dtype policies: what a layer computes in and what its variables are kept in. */
#include "frontend/fe.h"
#include "frontend/model.h"

#include <string.h>

typedef struct policy {
    const char *name;
    ir_dtype compute, variable;
} policy;

/* Only policies that the rest of the compiler can do. */
static const policy policies[] = {
    {"float32", DTYPE_f32, DTYPE_f32},
};

static const policy *find_policy(const char *name)
{
    for (size_t i = 0; i < countof(policies); i++) {
        if (strcmp(policies[i].name, name) == 0) return &policies[i];
    }
    return NULL;
}

/* The policy's name: a string, or DTypePolicy's config.name (Keras 3), or Policy's (Keras 2). */
static const char *read_name(fe *f, const cJSON *j, const json_at *at)
{
    if (!j) return "float32";
    if (cJSON_IsString(j)) return j->valuestring;
    const cJSON *class_name = cJSON_GetObjectItemCaseSensitive(j, "class_name");
    const cJSON *name =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(j, "config"), "name");
    bool known = cJSON_IsString(class_name) && (strcmp(class_name->valuestring, "DTypePolicy") == 0 ||
                                                strcmp(class_name->valuestring, "Policy") == 0);
    if (known && cJSON_IsString(name)) return name->valuestring;
    fe_error(f, at, "expected a dtype policy such as \"float32\", found %s", fe_json_show(f, j));
    return NULL;
}

bool fe_policy_read(fe *f, fe_layer *layer, fe_config *config)
{
    const json_at at = {.up = &config->at, .key = "dtype"};
    const char *name = read_name(f, fe_config_item(config, "dtype"), &at);
    if (!name) return false;
    if (f->options->policy) name = f->options->policy;
    const policy *p = find_policy(name);
    if (p) {
        layer->compute_dtype = p->compute;
        layer->variable_dtype = p->variable;
        return true;
    }
    if (map_has(&f->refused_policy, name)) return false;
    map_set(&f->refused_policy, name, f);
    return fe_error(f, &at, "dtype policy \"%s\" is not supported; --policy float32 overrides it", name);
}
