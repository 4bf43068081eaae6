/* train_fields.c: reading the settings of optimizers, schedules, losses and metrics by a list of fields, and
 * the three ways in which Keras writes an object. */
#include "frontend/train.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A word of a spec: "kind:key=default[least,most]". */
typedef struct field_spec {
    char kind;
    const char *key;
    bool has_default, has_range;
    double otherwise, least, most;
} field_spec;

static field_spec parse_field(fe *f, const char *word, size_t length)
{
    const char *copy = arena_strndup(f->arena, word, length);
    bug_if(length < 3 || copy[1] != ':', "bad field \"%s\"", copy);
    size_t key = strcspn(copy + 2, "=[");
    field_spec out = {.kind = copy[0], .key = arena_strndup(f->arena, copy + 2, key)};
    const char *p = copy + 2 + key;
    char *end;
    if (*p == '=') {
        out.has_default = true;
        out.otherwise = strtod(p + 1, &end);
        p = end;
    }
    if (*p == '[') {
        out.has_range = true;
        out.least = strtod(p + 1, &end);
        out.most = strtod(end + 1, &end);
    }
    return out;
}

static bool check_range(fe *f, const field_spec *field, double x, const json_at *at)
{
    if (isnan(x) || (field->has_range && (x < field->least || x > field->most)))
        return field->has_range
                   ? fe_error(f, at, "expected a number in %g .. %g, found %g", field->least, field->most, x)
                   : fe_error(f, at, "expected a number, found NaN");
    return true;
}

static bool read_number(fe_config *c, const field_spec *field, const cJSON *j, const json_at *at,
                        ir_record *r)
{
    double x;
    int64_t whole;
    if (field->kind == 'b') {
        if (!cJSON_IsBool(j))
            return fe_error(c->fe, at, "expected true or false, found %s", fe_json_show(c->fe, j));
        x = cJSON_IsTrue(j);
    } else if (field->kind == 'i') {
        if (!fe_json_int(j, &whole))
            return fe_error(c->fe, at, "expected an integer, found %s", fe_json_show(c->fe, j));
        x = (double)whole;
    } else {
        if (!cJSON_IsNumber(j))
            return fe_error(c->fe, at, "expected a number, found %s", fe_json_show(c->fe, j));
        x = j->valuedouble;
    }
    if (!check_range(c->fe, field, x, at)) return false;
    ir_record_add_number(c->fe->arena, r, field->key, x);
    return true;
}

/* The list inside {"class_name": "__numpy__" or "__tensor__", "config": {"value": [...]}}; else j. */
static const cJSON *unwrap_array(const cJSON *j)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(j, "class_name");
    if (!cJSON_IsString(name) ||
        (strcmp(name->valuestring, "__numpy__") != 0 && strcmp(name->valuestring, "__tensor__") != 0))
        return j;
    return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(j, "config"), "value");
}

/* A number is a list of one. */
static bool read_list(fe_config *c, const field_spec *field, const cJSON *j, const json_at *at, ir_record *r)
{
    j = unwrap_array(j);
    if (!cJSON_IsNumber(j) && !cJSON_IsArray(j))
        return fe_error(c->fe, at, "expected a number or a list of numbers, found %s",
                        fe_json_show(c->fe, j));
    int count = cJSON_IsNumber(j) ? 1 : cJSON_GetArraySize(j), i = 0;
    double *items = arena_array(c->fe->arena, double, (size_t)count + 1);
    for (const cJSON *item = cJSON_IsNumber(j) ? j : j->child; i < count; item = item->next, i++) {
        const json_at item_at = {.up = at, .index = i};
        if (!cJSON_IsNumber(item))
            return fe_error(c->fe, &item_at, "expected a number, found %s", fe_json_show(c->fe, item));
        if (!check_range(c->fe, field, item->valuedouble, &item_at)) return false;
        items[i] = item->valuedouble;
    }
    ir_record_add_numbers(c->fe->arena, r, field->key, count, items);
    return true;
}

static bool read_field(fe_config *c, const field_spec *field, ir_record *r)
{
    const json_at at = {.up = &c->at, .key = field->key};
    const cJSON *j = fe_config_item(c, field->key);
    if (j == NULL) {
        if (field->has_default) ir_record_add_number(c->fe->arena, r, field->key, field->otherwise);
        return true;
    }
    if (field->kind == 'l') return read_list(c, field, j, &at, r);
    if (field->kind != 't') return read_number(c, field, j, &at, r);
    if (!cJSON_IsString(j)) return fe_error(c->fe, &at, "expected text, found %s", fe_json_show(c->fe, j));
    ir_record_add_text(c->fe->arena, r, field->key, j->valuestring);
    return true;
}

bool fe_fields_read(fe_config *c, const char *spec, ir_record *r)
{
    bool good = true;
    while (*spec != '\0') {
        size_t length = strcspn(spec, " ");
        if (length > 0) {
            field_spec one = parse_field(c->fe, spec, length);
            good = read_field(c, &one, r) && good;
        }
        spec += length + (spec[length] == ' ');
    }
    return good;
}

const json_at *fe_at_keep(fe *f, const json_at *at)
{
    if (at == NULL) return NULL;
    json_at *copy = arena_new(f->arena, json_at);
    *copy = (json_at){.up = fe_at_keep(f, at->up), .key = at->key, .index = at->index};
    return copy;
}

bool fe_named_read(fe *f, const cJSON *j, const json_at *at, fe_named *out)
{
    *out = (fe_named){.at = fe_at_keep(f, at)};
    const json_at config_at = {.up = out->at, .key = "config"};
    out->config_at = fe_at_keep(f, &config_at);
    if (cJSON_IsString(j)) {
        out->name = j->valuestring;
        out->is_text = true;
        return true;
    }
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(j, "class_name");
    if (!cJSON_IsObject(j) || !cJSON_IsString(name))
        return fe_error(f, at, "expected a name or an object with \"class_name\" and \"config\", found %s",
                        fe_json_show(f, j));
    const cJSON *registered = cJSON_GetObjectItemCaseSensitive(j, "registered_name");
    if (cJSON_IsString(registered) && strchr(registered->valuestring, '>') != NULL)
        return fe_error(f, at, "expected a class of Keras, found the custom class %s",
                        fe_json_show(f, registered));
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(j, "config");
    out->name = name->valuestring;
    if (strcmp(out->name, "function") == 0) {
        if (!cJSON_IsString(config))
            return fe_error(f, &config_at, "expected the name of a function, found %s",
                            fe_json_show(f, config));
        out->name = config->valuestring;
        out->is_function = true;
        return true;
    }
    if (strcmp(out->name, "__lambda__") == 0)
        return fe_error(f, at,
                        "expected a function of Keras, found a Python lambda, which only Python can run");
    if (config != NULL && !cJSON_IsNull(config) && !cJSON_IsObject(config))
        return fe_error(f, &config_at, "expected an object, found %s", fe_json_show(f, config));
    out->config = cJSON_IsObject(config) ? config : NULL;
    return true;
}
