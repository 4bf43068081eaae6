/* layers_read.c: config fields that many layer classes share. */
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

enum { MAX_WINDOW = 1 << 24 };

static const char *join_key(fe_config *c, const char *weight, const char *part)
{
    return arena_printf(c->fe->arena, "%s_%s", weight, part);
}

bool fe_weight_config_read(fe_config *c, const char *weight, const char *initializer, fe_weight_config *out)
{
    const char *i_key = join_key(c, weight, "initializer");
    const char *r_key = join_key(c, weight, "regularizer");
    const char *c_key = join_key(c, weight, "constraint");
    const ir_record *i = NULL, *r = NULL, *limit = NULL;
    const json_at i_at = fe_key(c, i_key), r_at = fe_key(c, r_key), c_at = fe_key(c, c_key);
    bool ok = fe_config_object(c, i_key, &i);
    ok = fe_config_object(c, r_key, &r) && ok;
    ok = fe_config_object(c, c_key, &limit) && ok;
    if (!ok) return false;
    if (i == NULL) i = ir_record_new(c->fe->arena, initializer);
    i = fe_initializer_canonical(c->fe, i);
    ok = fe_initializer_check(c->fe, i, &i_at);
    ok = (r == NULL || fe_regularizer_check(c->fe, r, &r_at)) && ok;
    ok = (limit == NULL || fe_constraint_check(c->fe, limit, &c_at)) && ok;
    *out = (fe_weight_config){i, r, limit};
    return ok;
}

/* Softmax over several axes is no function of an activation's name. */
static bool is_layer(fe *f, const cJSON *j)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(j, "class_name");
    const cJSON *axis = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(j, "config"), "axis");
    if (!cJSON_IsObject(j) || !cJSON_IsString(name) || fe_layer_class_find(name->valuestring) == NULL) return false;
    return cJSON_IsArray(axis) || !fe_activation_is_known(fe_snake_case(f, name->valuestring));
}

bool fe_activation_read(fe_config *c, const char *key, const ir_record **out)
{
    const json_at at = fe_key(c, key);
    const ir_record *r = NULL;
    *out = NULL;
    if (!fe_config_object(c, key, &r)) return false;
    if (r == NULL || strcmp(r->name, "linear") == 0) return true;
    if (is_layer(c->fe, fe_config_item(c, key)))
        return fe_error(c->fe, &at, "expected a function, found the layer %s, which is supported as an activation of "
                                    "Dense, EinsumDense and convolutions alone; use one without weights, as LeakyReLU",
                        cJSON_GetObjectItemCaseSensitive(fe_config_item(c, key), "class_name")->valuestring);
    if (!fe_activation_check(c->fe, r, &at)) return false;
    *out = r;
    return true;
}

bool fe_activation_or_layer_read(fe_config *c, fe_layer *layer, const ir_record **out)
{
    fe *f = c->fe;
    const json_at at = fe_key(c, "activation");
    const cJSON *j = fe_config_item(c, "activation");
    if (!is_layer(f, j)) return fe_activation_read(c, "activation", out);
    /* One that Keras builds where it reads it has a path of its own. */
    const bool built = cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(j, "build_config"));
    const char *h5 = arena_printf(f->arena, "%s/activation", layer->h5);
    *out = NULL;
    layer->child = arena_new(f->arena, fe_layer *);
    layer->child[0] = fe_layer_read(f, j, &at, built ? NULL : layer->path, h5);
    layer->child_count = 1;
    return layer->child[0] != NULL;
}

bool fe_size_read(fe_config *c, const char *key, int64_t otherwise, int64_t *out)
{
    const json_at at = fe_key(c, key);
    int64_t v = 0;
    if (otherwise > 0 ? !fe_config_int_or(c, key, 1, otherwise, &v) : !fe_config_int(c, key, 1, &v))
        return false;
    if (v > INT32_MAX)
        return fe_error(c->fe, &at, "expected at most %d, found %lld", INT32_MAX, (long long)v);
    *out = v;
    return true;
}

bool fe_sizes_read(fe_config *c, const char *key, int count, int64_t least, int64_t otherwise, int64_t *out)
{
    const json_at at = fe_key(c, key);
    if (!fe_config_ints(c, key, count, least, otherwise, out)) return false;
    for (int i = 0; i < count; i++) {
        if (out[i] > MAX_WINDOW) {
            return fe_error(c->fe, &at, "expected at most %d, found %lld", MAX_WINDOW, (long long)out[i]);
        }
    }
    return true;
}

static bool read_edge(fe_config *c, const json_at *at, const cJSON *j, int64_t *out)
{
    if (!cJSON_IsNumber(j) || j->valuedouble != floor(j->valuedouble) || j->valuedouble < 0 ||
        j->valuedouble > MAX_WINDOW) {
        return fe_error(c->fe, at, "expected an integer in 0 .. %d, found %s", MAX_WINDOW,
                        fe_json_show(c->fe, j));
    }
    *out = (int64_t)j->valuedouble;
    return true;
}

/* One dim's entry: a number for both sides, or [low, high]. */
static bool read_pair(fe_config *c, const json_at *at, const cJSON *j, int64_t *out)
{
    if (!cJSON_IsArray(j)) {
        if (!read_edge(c, at, j, &out[0])) return false;
        out[1] = out[0];
        return true;
    }
    if (cJSON_GetArraySize(j) != 2) {
        return fe_error(c->fe, at, "expected two integers, found %s", fe_json_show(c->fe, j));
    }
    return read_edge(c, at, j->child, &out[0]) && read_edge(c, at, j->child->next, &out[1]);
}

bool fe_pairs_read(fe_config *c, const char *key, int count, int64_t otherwise, int64_t (*out)[2])
{
    const cJSON *j = fe_config_item(c, key);
    const json_at at = fe_key(c, key);
    if (j == NULL) {
        for (int i = 0; i < count; i++) out[i][0] = out[i][1] = otherwise;
        return true;
    }
    if (count == 1) return read_pair(c, &at, j, out[0]);
    if (!cJSON_IsArray(j)) {
        if (!read_pair(c, &at, j, out[0])) return false;
        for (int i = 1; i < count; i++) memcpy(out[i], out[0], sizeof out[0]);
        return true;
    }
    if (cJSON_GetArraySize(j) != count) {
        return fe_error(c->fe, &at, "expected %d entries, found %s", count, fe_json_show(c->fe, j));
    }
    const cJSON *entry = j->child;
    for (int i = 0; i < count; i++, entry = entry->next) {
        const json_at entry_at = {.up = &at, .key = NULL, .index = i};
        if (!read_pair(c, &entry_at, entry, out[i])) return false;
    }
    return true;
}

bool fe_channels_first_read(fe_config *c, bool *out)
{
    static const char *const formats[] = {"channels_last", "channels_first", NULL};
    int choice = 0;
    if (!fe_config_choice(c, "data_format", formats, &choice)) return false;
    *out = choice == 1;
    return true;
}

bool fe_rate_read(fe_config *c, const char *key, double *out)
{
    const json_at at = fe_key(c, key);
    if (!fe_config_number(c, key, out)) return false;
    if (!(*out >= 0 && *out <= 1)) return fe_error(c->fe, &at, "expected a number in 0 .. 1, found %g", *out);
    return true;
}

bool fe_seed_read(fe_config *c, fe_seed *out)
{
    *out = (fe_seed){.has_seed = fe_config_has(c, "seed")};
    return !out->has_seed || fe_config_int(c, "seed", INT64_MIN, &out->seed);
}

bool fe_axes_read(fe_config *c, const char *key, int *out_count, int64_t *out_axes)
{
    const json_at at = fe_key(c, key);
    int64_t *items = NULL;
    int count = 0;
    if (!fe_config_int_list(c, key, &count, &items)) return false;
    if (count == 0 || count > FE_MAX_AXES) {
        return fe_error(c->fe, &at, "expected 1 .. %d axes, found %d", FE_MAX_AXES, count);
    }
    *out_count = count < 0 ? 1 : count;
    out_axes[0] = -1;
    for (int i = 0; i < count; i++) out_axes[i] = items[i];
    return true;
}

int fe_spatial_rank(const fe_layer *layer)
{
    const char *digit = strpbrk(layer->class->name, "123");
    bug_if(digit == NULL, "layer class %s has no spatial rank", layer->class->name);
    return *digit - '0';
}
