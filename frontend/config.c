/* config.c: reading the fields of a Keras config with their types checked. A config remembers which keys were
 * asked for, so that fe_config_done can name the ones nobody knows. */
#include "frontend/keras2.h"

#include <string.h>

void fe_config_init(fe_config *c, fe *f, const cJSON *object, const json_at *up, const char *key)
{
    *c = (fe_config){.fe = f, .object = object, .at = {.up = up, .key = key}, .seen = {.arena = f->arena}};
    if (object && !cJSON_IsObject(object) && !cJSON_IsNull(object)) {
        fe_error(f, &c->at, "expected an object, found %s", fe_json_show(f, object));
    }
    if (!cJSON_IsObject(object)) c->object = NULL;
}

static void mark_seen(fe_config *c, const char *key)
{
    if (!map_has(&c->seen, key)) map_set(&c->seen, key, c);
}

json_at fe_key(const fe_config *c, const char *key)
{
    return (json_at){.up = &c->at, .key = c->keras2_class ? fe_keras2_field(c->keras2_class, key) : key};
}

const cJSON *fe_config_item(fe_config *c, const char *key)
{
    const char *written = fe_key(c, key).key;
    mark_seen(c, written);
    const cJSON *j = cJSON_GetObjectItemCaseSensitive(c->object, written);
    return cJSON_IsNull(j) ? NULL : j;
}

bool fe_config_has(fe_config *c, const char *key) { return fe_config_item(c, key) != NULL; }

void fe_config_ignore(fe_config *c, const char *keys)
{
    while (*keys) {
        size_t length = strcspn(keys, " ");
        if (length) mark_seen(c, arena_strndup(c->fe->arena, keys, length));
        keys += length + (keys[length] == ' ');
    }
}

bool fe_config_done(fe_config *c)
{
    const char **known = arena_array(c->fe->arena, const char *, c->seen.count + 1);
    for (size_t i = 0; i < c->seen.count; i++) known[i] = c->seen.entry[i].key;
    bool ok = true;
    const cJSON *j = c->object ? c->object->child : NULL;
    for (; j; j = j->next) {
        if (!j->string || map_has(&c->seen, j->string)) continue;
        const json_at at = {.up = &c->at, .key = j->string};
        const char *near = fe_nearest(j->string, c->seen.count, known);
        if (near)
            fe_error(c->fe, &at, "unknown field; did you mean \"%s\"?", near);
        else
            fe_error(c->fe, &at, "unknown field");
        ok = false;
    }
    return ok;
}

static bool expect(fe_config *c, const json_at *at, const char *expected, const cJSON *found)
{
    return fe_error(c->fe, at, "expected %s, found %s", expected, fe_json_show(c->fe, found));
}

static const char *name_integer(fe *f, int64_t least)
{
    if (least == INT64_MIN) return "an integer";
    if (least == 0) return "a non-negative integer";
    if (least == 1) return "a positive integer";
    return arena_printf(f->arena, "an integer of at least %lld", (long long)least);
}

static bool read_int(fe_config *c, const cJSON *j, const json_at *at, int64_t least, int64_t *out)
{
    int64_t value;
    if (!fe_json_int(j, &value) || value < least) return expect(c, at, name_integer(c->fe, least), j);
    *out = value;
    return true;
}

bool fe_config_int(fe_config *c, const char *key, int64_t least, int64_t *out)
{
    const json_at at = fe_key(c, key);
    return read_int(c, fe_config_item(c, key), &at, least, out);
}

bool fe_config_int_or(fe_config *c, const char *key, int64_t least, int64_t otherwise, int64_t *out)
{
    if (fe_config_has(c, key)) return fe_config_int(c, key, least, out);
    *out = otherwise;
    return true;
}

bool fe_config_number(fe_config *c, const char *key, double *out)
{
    const json_at at = fe_key(c, key);
    const cJSON *j = fe_config_item(c, key);
    if (!cJSON_IsNumber(j)) return expect(c, &at, "a number", j);
    *out = j->valuedouble;
    return true;
}

bool fe_config_number_or(fe_config *c, const char *key, double otherwise, double *out)
{
    if (fe_config_has(c, key)) return fe_config_number(c, key, out);
    *out = otherwise;
    return true;
}

bool fe_config_bool_or(fe_config *c, const char *key, bool otherwise, bool *out)
{
    const json_at at = fe_key(c, key);
    const cJSON *j = fe_config_item(c, key);
    if (j && !cJSON_IsBool(j)) return expect(c, &at, "true or false", j);
    *out = j ? cJSON_IsTrue(j) : otherwise;
    return true;
}

bool fe_config_text_or(fe_config *c, const char *key, const char *otherwise, const char **out)
{
    const json_at at = fe_key(c, key);
    const cJSON *j = fe_config_item(c, key);
    if (j && !cJSON_IsString(j)) return expect(c, &at, "a string", j);
    *out = j ? j->valuestring : otherwise;
    return true;
}

bool fe_config_choice(fe_config *c, const char *key, const char *const *choices, int *out)
{
    const json_at at = fe_key(c, key);
    const cJSON *j = fe_config_item(c, key);
    if (!j) {
        *out = 0;
        return true;
    }
    text list = {0};
    for (int i = 0; choices[i]; i++) {
        if (cJSON_IsString(j) && strcmp(j->valuestring, choices[i]) == 0) {
            text_done(&list);
            *out = i;
            return true;
        }
        text_add(&list, "%s\"%s\"", i == 0 ? "" : choices[i + 1] ? ", " : " or ", choices[i]);
    }
    expect(c, &at, text_get(&list), j);
    text_done(&list);
    return false;
}

bool fe_config_ints(fe_config *c, const char *key, int count, int64_t least, int64_t otherwise, int64_t *out)
{
    const json_at at = fe_key(c, key);
    const cJSON *j = fe_config_item(c, key);
    if (!cJSON_IsArray(j)) {
        int64_t value = otherwise;
        if (j && !read_int(c, j, &at, least, &value)) return false;
        for (int i = 0; i < count; i++) out[i] = value;
        return true;
    }
    if (cJSON_GetArraySize(j) != count) {
        return expect(c, &at, arena_printf(c->fe->arena, "an integer or a list of %d", count), j);
    }
    int i = 0;
    bool ok = true;
    for (const cJSON *item = j->child; item; item = item->next, i++) {
        const json_at item_at = {.up = &at, .index = i};
        ok = read_int(c, item, &item_at, least, &out[i]) && ok;
    }
    return ok;
}

bool fe_config_int_list(fe_config *c, const char *key, int *out_count, int64_t **out_items)
{
    const json_at at = fe_key(c, key);
    const cJSON *j = fe_config_item(c, key);
    *out_count = -1;
    *out_items = NULL;
    if (!j) return true;
    bool many = cJSON_IsArray(j);
    int count = many ? cJSON_GetArraySize(j) : 1, i = 0;
    int64_t *items = arena_array(c->fe->arena, int64_t, (size_t)count + 1);
    for (const cJSON *item = many ? j->child : j; item && i < count; item = item->next, i++) {
        const json_at item_at = {.up = &at, .index = i};
        if (!read_int(c, item, many ? &item_at : &at, INT64_MIN, &items[i])) return false;
    }
    *out_count = count;
    *out_items = items;
    return true;
}

/* ---- records ---------------------------------------------------------------------------------------- */

static bool add_field(fe *f, ir_record *r, const char *key, const cJSON *j, const json_at *at);

static bool is_number_list(const cJSON *j)
{
    for (j = j->child; j; j = j->next) {
        if (!cJSON_IsNumber(j) && !cJSON_IsBool(j)) return false;
    }
    return true;
}

static bool add_fields(fe *f, ir_record *r, const cJSON *object, const json_at *at)
{
    bool ok = true;
    int i = 0;
    for (const cJSON *j = object->child; j; j = j->next, i++) {
        const json_at field = {.up = at, .key = j->string, .index = i};
        const char *key = j->string ? j->string : arena_printf(f->arena, "%d", i);
        ok = add_field(f, r, key, j, &field) && ok;
    }
    return ok;
}

static bool add_field(fe *f, ir_record *r, const char *key, const cJSON *j, const json_at *at)
{
    if (cJSON_IsNull(j)) return true;
    if (cJSON_IsBool(j) || cJSON_IsNumber(j)) {
        ir_record_add_number(f->arena, r, key, cJSON_IsNumber(j) ? j->valuedouble : cJSON_IsTrue(j));
        return true;
    }
    if (cJSON_IsString(j)) {
        ir_record_add_text(f->arena, r, key, j->valuestring);
        return true;
    }
    if (cJSON_IsArray(j) && is_number_list(j)) {
        int count = cJSON_GetArraySize(j), i = 0;
        double *numbers = arena_array(f->arena, double, (size_t)count + 1);
        for (const cJSON *n = j->child; n; n = n->next) {
            numbers[i++] = cJSON_IsNumber(n) ? n->valuedouble : cJSON_IsTrue(n);
        }
        ir_record_add_numbers(f->arena, r, key, count, numbers);
        return true;
    }
    const ir_record *record = NULL;
    if (cJSON_GetObjectItemCaseSensitive(j, "class_name")) {
        if (!fe_record_read(f, j, at, &record)) return false;
    } else {
        ir_record *made = ir_record_new(f->arena, cJSON_IsArray(j) ? "list" : "dict");
        if (!add_fields(f, made, j, at)) return false;
        record = made;
    }
    if (record) ir_record_add_record(f->arena, r, key, record);
    return true;
}

bool fe_record_read(fe *f, const cJSON *j, const json_at *at, const ir_record **out)
{
    *out = NULL;
    if (!j || cJSON_IsNull(j)) return true;
    if (cJSON_IsString(j)) {
        *out = ir_record_new(f->arena, fe_snake_case(f, j->valuestring));
        return true;
    }
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(j, "class_name");
    if (!cJSON_IsObject(j) || !cJSON_IsString(name)) {
        return fe_error(f, at, "expected a name or an object with \"class_name\" and \"config\", found %s",
                        fe_json_show(f, j));
    }
    if (strcmp(name->valuestring, "__lambda__") == 0) {
        return fe_error(f, at,
                        "expected a function of Keras, found a Python lambda, which only Python can run");
    }
    const cJSON *registered = cJSON_GetObjectItemCaseSensitive(j, "registered_name");
    if (cJSON_IsString(registered) && strchr(registered->valuestring, '>')) {
        return fe_error(f, at, "expected a class of Keras, found the custom class %s",
                        fe_json_show(f, registered));
    }
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(j, "config");
    if (strcmp(name->valuestring, "function") == 0) {
        const json_at config_at = {.up = at, .key = "config"};
        if (!cJSON_IsString(config)) {
            return fe_error(f, &config_at, "expected the name of a function, found %s",
                            fe_json_show(f, config));
        }
        *out = ir_record_new(f->arena, fe_snake_case(f, config->valuestring));
        return true;
    }
    ir_record *r = ir_record_new(f->arena, fe_snake_case(f, name->valuestring));
    if (config && !cJSON_IsNull(config)) {
        const json_at config_at = {.up = at, .key = "config"};
        if (!cJSON_IsObject(config)) {
            return fe_error(f, &config_at, "expected an object, found %s", fe_json_show(f, config));
        }
        if (!add_fields(f, r, config, &config_at)) return false;
    }
    *out = r;
    return true;
}

bool fe_config_object(fe_config *c, const char *key, const ir_record **out)
{
    const json_at at = fe_key(c, key);
    return fe_record_read(c->fe, fe_config_item(c, key), &at, out);
}
