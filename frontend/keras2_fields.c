/* keras2_fields.c: the names and fields of layer configs that Keras 2 writes otherwise than Keras 3. */
#include "frontend/keras2.h"

#include <stdlib.h>
#include <string.h>

typedef struct field {
    const char *class_name, *written;
    const char *key;      /* Keras 3's name; NULL: Keras 2 only */
    const char *expected; /* NULL: any value */
} field;

static const field fields[] = {
#define CLASS(written, name)
#define RENAMED(class, written, key) {class, written, key, NULL},
#define UNUSED(class, written) {class, written, NULL, NULL},
#define EXPECTED(class, written, value) {class, written, NULL, value},
#include "frontend/keras2_fields.def"
};

static const struct {
    const char *written, *name;
} classes[] = {
#define CLASS(written, name) {#written, #name},
#define RENAMED(class, written, key)
#define UNUSED(class, written)
#define EXPECTED(class, written, value)
#include "frontend/keras2_fields.def"
};

const char *fe_keras2_class(const char *class_name)
{
    for (size_t i = 0; i < countof(classes); i++) {
        if (strcmp(classes[i].written, class_name) == 0) return classes[i].name;
    }
    return class_name;
}

static bool concerns(const field *row, const char *class_name)
{
    return strcmp(row->class_name, "*") == 0 || strcmp(row->class_name, class_name) == 0;
}

const char *fe_keras2_field(const char *class_name, const char *key)
{
    for (size_t i = 0; i < countof(fields); i++) {
        if (fields[i].key && strcmp(fields[i].key, key) == 0 && concerns(&fields[i], class_name))
            return fields[i].written;
    }
    return key;
}

static bool is_expected(const cJSON *j, const char *expected)
{
    if (strcmp(expected, "false") == 0) return cJSON_IsFalse(j);
    return cJSON_IsNumber(j) && j->valuedouble == strtod(expected, NULL);
}

bool fe_keras2_fields_read(fe_config *c)
{
    bool ok = true;
    for (size_t i = 0; i < countof(fields); i++) {
        const field *row = &fields[i];
        if (row->key || !concerns(row, c->keras2_class) ||
            !cJSON_GetObjectItemCaseSensitive(c->object, row->written))
            continue;
        const json_at at = {.up = &c->at, .key = row->written};
        const cJSON *j = fe_config_item(c, row->written);
        if (j && row->expected && !is_expected(j, row->expected))
            ok = fe_error(c->fe, &at, "expected %s, found %s", row->expected, fe_json_show(c->fe, j));
    }
    return ok;
}
