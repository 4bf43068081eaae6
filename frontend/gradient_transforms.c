/* gradient_transforms.c: the user's transforms of gradients, of the key "gradient_transform" of a compile configuration or
 * of --gradient-transform, become records of the optimizer (see passes/gradient_transforms.h for their form). */
#include "frontend/gradient_transforms.h"

#include <stdlib.h>
#include <string.h>

static const struct row {
    const char *name, *settings;
} rows[] = {
#define TRANSFORM(name, rule, settings, does) {#name, settings},
#include "ir/gradient_transforms.def"
};

enum { MOST_TRANSFORMS = 64 };

/* ---- the short form: NAME[:key=value,...][@PATTERN], model:FILE[@PATTERN] ---------------------------------- */

static cJSON *add_item(fe *f, cJSON *to, const char *key, int type, const char *value)
{
    cJSON *item = arena_new(f->arena, cJSON), *last = to->child;
    item->type = type;
    item->string = arena_strdup(f->arena, key);
    item->valuestring = arena_strdup(f->arena, value);
    if (type == cJSON_Number) item->valuedouble = strtod(value, NULL);
    while (last != NULL && last->next != NULL) last = last->next;
    if (last != NULL)
        last->next = item;
    else
        to->child = item;
    return item;
}

static int find_type(const char *value)
{
    char *end;
    strtod(value, &end);
    if (strcmp(value, "true") == 0) return cJSON_True;
    if (strcmp(value, "false") == 0) return cJSON_False;
    return *value != '\0' && *end == '\0' ? cJSON_Number : cJSON_String;
}

static bool parse_settings(fe *f, const char *words, const json_at *at, cJSON *to)
{
    while (*words != '\0') {
        const size_t length = strcspn(words, ",");
        const char *word = arena_strndup(f->arena, words, length), *equal = strchr(word, '=');
        if (equal == NULL || equal == word) return fe_error(f, at, "expected settings KEY=VALUE, found \"%s\"", word);
        add_item(f, to, arena_strndup(f->arena, word, (size_t)(equal - word)), find_type(equal + 1), equal + 1);
        words += length + (words[length] == ',');
    }
    return true;
}

static const cJSON *parse_short(fe *f, const char *spec, const json_at *at)
{
    const size_t length = strcspn(spec, "@"), name = strcspn(spec, ":@");
    cJSON *object = arena_new(f->arena, cJSON);
    object->type = cJSON_Object;
    add_item(f, object, "name", cJSON_String, arena_strndup(f->arena, spec, name));
    if (spec[length] == '@') add_item(f, object, "variables", cJSON_String, spec + length + 1);
    if (spec[name] != ':') return object;
    const char *rest = arena_strndup(f->arena, spec + name + 1, length - name - 1);
    if (name == 5 && strncmp(spec, "model", 5) == 0)
        add_item(f, object, "file", cJSON_String, rest);
    else if (!parse_settings(f, rest, at, object))
        return NULL;
    return object;
}

/* ---- variables ---------------------------------------------------------------------------------------------- */

static bool match_any(fe *f, const cJSON *patterns, const json_at *at, const char *path, bool *out)
{
    int i = 0;
    *out = patterns == NULL;
    if (cJSON_IsString(patterns)) return fe_pattern_matches(f, at, patterns->valuestring, path, true, out);
    for (const cJSON *item = patterns != NULL ? patterns->child : NULL; item != NULL && !*out; item = item->next, i++) {
        const json_at item_at = {.up = at, .index = i};
        if (!cJSON_IsString(item)) return fe_error(f, &item_at, "expected text, found %s", fe_json_show(f, item));
        if (!fe_pattern_matches(f, &item_at, item->valuestring, path, true, out)) return false;
    }
    return true;
}

/* The variables that the transform is for: those with a path that a pattern matches, or all. */
static bool choose_variables(fe_config *c, ir_record *r)
{
    fe *f = c->fe;
    const json_at at = {.up = &c->at, .key = "variables"};
    const cJSON *patterns = fe_config_item(c, at.key);
    const char *example = "";
    if (patterns != NULL && !cJSON_IsString(patterns) && !cJSON_IsArray(patterns))
        return fe_error(f, &at, "expected a pattern or a list of patterns, found %s", fe_json_show(f, patterns));
    double *chosen = arena_array(f->arena, double, f->module->variable_count + 1);
    int count = 0;
    for (size_t i = 0; i < f->module->variable_count; i++) {
        const ir_variable *v = &f->module->variable[i];
        bool hit;
        if (v->role != ROLE_weight || !v->trainable || !ir_dtype_is_float(v->type.dtype)) continue;
        if (*example == '\0') example = v->path;
        if (!match_any(f, patterns, &at, v->path, &hit)) return false;
        if (hit) chosen[count++] = (double)i;
    }
    if (count == 0)
        return fe_error(f, &at, "expected a pattern of a trained variable's whole path, as \"%s\", found %s", example,
                        fe_json_show(f, patterns));
    ir_record_add_numbers(f->arena, r, "variables", count, chosen);
    return true;
}

/* ---- one transform ------------------------------------------------------------------------------------------ */

static const struct row *find_row(fe *f, const char *name, const json_at *at)
{
    const char *known[countof(rows)];
    for (size_t i = 0; i < countof(rows); i++) {
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
        known[i] = rows[i].name;
    }
    const char *near = fe_nearest(name, countof(rows), known);
    fe_error(f, at, near != NULL ? "unknown gradient transform \"%s\"; did you mean \"%s\"?"
                                 : "unknown gradient transform \"%s\"; docs/gradient_pipeline.md lists them",
             name, near);
    return NULL;
}

static bool check_needed(fe_config *c, const struct row *row, const ir_record *r)
{
    for (const char *p = row->settings; *p != '\0';) {
        const size_t length = strcspn(p, " ");
        const char *word = arena_strndup(c->fe->arena, p, length);
        const char *key = arena_strndup(c->fe->arena, word + 2, strcspn(word + 2, "=["));
        const json_at at = {.up = &c->at, .key = key};
        if (strchr(word, '=') == NULL && ir_record_find(r, key) == NULL)
            return fe_error(c->fe, &at, "expected a number for gradient transform %s, found nothing", row->name);
        p += length + (p[length] == ' ');
    }
    return true;
}

static const ir_record *read_transform(fe *f, const cJSON *j, const json_at *at, int number)
{
    fe_config c;
    const char *name, *file = NULL;
    if (cJSON_IsString(j)) j = parse_short(f, j->valuestring, at);
    if (j == NULL) return NULL;
    if (!cJSON_IsObject(j)) {
        fe_error(f, at, "expected a name or an object with \"name\", found %s", fe_json_show(f, j));
        return NULL;
    }
    fe_config_init(&c, f, j, at->up, at->key);
    c.at.index = at->index;
    if (!fe_config_text_or(&c, "name", "", &name)) return NULL;
    const struct row *row = find_row(f, name, at);
    if (row == NULL) return NULL;
    ir_record *r = ir_record_new(f->arena, row->name);
    const bool is_model = strcmp(name, "model") == 0;
    if (!fe_fields_read(&c, row->settings, r) || !check_needed(&c, row, r)) return NULL;
    if (is_model && !fe_config_text_or(&c, "file", NULL, &file)) return NULL;
    if (!choose_variables(&c, r) || !fe_config_done(&c)) return NULL;
    const json_at file_at = {.up = &c.at, .key = "file"};
    if (is_model && file == NULL) {
        fe_error(f, &file_at, "expected the file of a model, found nothing");
        return NULL;
    }
    const ir_field *variables = ir_record_find(r, "variables");
    return !is_model || fe_gradient_model_add(f, file, &file_at, number, variables) ? r : NULL;
}

/* ---- all ---------------------------------------------------------------------------------------------------- */

/* What TensorFlow refuses, and steps that parts of an optimizer would count apart. */
static bool check_optimizer(fe *f, const ir_record *r, bool is_part, const json_at *at)
{
    static const char *const clips[] = {"clipnorm", "clipvalue", "global_clipnorm"};
    static const char *const names[] = {"clip_by_norm", "clip_by_value", "clip_by_global_norm"};
    for (size_t i = 0; i < countof(clips); i++) {
        if (ir_record_find(r, clips[i]) != NULL)
            return fe_error(f, at,
                            "expected an optimizer without %s beside gradient transforms: clipping has one place; "
                            "give the transform %s instead",
                            clips[i], names[i]);
    }
    if (is_part && ir_record_find(r, "gradient_accumulation_steps") != NULL)
        return fe_error(f, at, "expected no gradient accumulation in parts of a MultiOptimizer beside gradient transforms");
    for (size_t i = 0; i < r->count; i++) {
        const ir_record *part = r->field[i].kind == FIELD_RECORD ? r->field[i].record : NULL;
        if (part != NULL && strncmp(r->field[i].key, "optimizer_", 10) == 0 && !check_optimizer(f, part, true, at))
            return false;
    }
    return true;
}

/* --gradient-transform's arguments, one a line. */
static const cJSON *list_options(fe *f)
{
    const char *p = f->options->gradient_transforms;
    cJSON *list = arena_new(f->arena, cJSON);
    list->type = cJSON_Array;
    for (size_t length = 0; p != NULL; p = p[length] == '\n' ? p + length + 1 : NULL) {
        length = strcspn(p, "\n");
        add_item(f, list, "", cJSON_String, arena_strndup(f->arena, p, length));
    }
    return list;
}

static bool read_aggregator(fe *f, const cJSON *j, const json_at *at, ir_record *to)
{
    static const char *const known[] = {"sum", "mean", "none"};
    const char *name = f->options->gradient_aggregator;
    if (name == NULL && j != NULL && !cJSON_IsString(j))
        return fe_error(f, at, "expected text, found %s", fe_json_show(f, j));
    if (name == NULL && j != NULL) name = j->valuestring;
    if (name == NULL) return true;
    for (size_t i = 0; i < countof(known); i++) {
        if (strcmp(known[i], name) != 0) continue;
        ir_record_add_text(f->arena, to, "gradient_aggregator", known[i]);
        return true;
    }
    return fe_error(f, at, "expected the aggregator sum, mean or none, found \"%s\": this program has no workers that name one",
                    name);
}

const ir_record *fe_gradient_transforms_read(fe_config *c, const ir_record *optimizer)
{
    fe *f = c->fe;
    const bool by_option = f->options->gradient_transforms != NULL;
    const json_at at = {.up = &c->at, .key = by_option ? "--gradient-transform" : "gradient_transform"};
    const json_at aggregator_at = {.up = &c->at, .key = "gradient_aggregator"};
    const cJSON *list = fe_config_item(c, "gradient_transform"), *aggregator = fe_config_item(c, "gradient_aggregator");
    if (by_option) list = list_options(f);
    ir_record *r = arena_copy(f->arena, optimizer, sizeof *optimizer);
    r->field = arena_copy(f->arena, optimizer->field, optimizer->count * sizeof *optimizer->field);
    r->capacity = r->count;
    if (!read_aggregator(f, aggregator, &aggregator_at, r)) return NULL;
    if (list == NULL) return r;
    if (!cJSON_IsArray(list) || cJSON_GetArraySize(list) > MOST_TRANSFORMS) {
        fe_error(f, &at, "expected a list of at most %d transforms, found %s", MOST_TRANSFORMS, fe_json_show(f, list));
        return NULL;
    }
    if (list->child == NULL) return r;
    if (!check_optimizer(f, r, false, &at)) return NULL;
    ir_record *all = ir_record_new(f->arena, "transforms");
    int i = 0;
    for (const cJSON *item = list->child; item != NULL; item = item->next, i++) {
        const json_at item_at = {.up = fe_at_keep(f, &at), .index = i};
        const ir_record *one = read_transform(f, item, &item_at, i);
        if (one == NULL) return NULL;
        ir_record_add_record(f->arena, all, arena_printf(f->arena, "%d", i), one);
    }
    ir_record_add_record(f->arena, r, "gradient_transforms", all);
    return r;
}
