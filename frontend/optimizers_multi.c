/* optimizers_multi.c: optimizers that treat variables by their paths: Muon, which trains some as Adam does, and
 * MultiOptimizer, which has an optimizer for each pattern of an OptimizerMap. Which variables those are is
 * decided here: the records list their numbers in the module. */
#include "frontend/pattern.h"
#include "frontend/train.h"

#include <ctype.h>
#include <string.h>

static bool is_trained(const ir_variable *v)
{
    return v->role == ROLE_weight && v->trainable && ir_dtype_is_float(v->type.dtype);
}

bool fe_pattern_matches(fe *f, const json_at *at, const char *pattern, const char *path, bool whole, bool *out)
{
    const char *problem = NULL, *inner = pattern;
    const size_t length = strlen(pattern);
    if (!whole) { /* Python's search: anything may stand around it, but where it is anchored */
        const bool from_start = *pattern == '^';
        const bool to_end = length > 1 && pattern[length - 1] == '$' && pattern[length - 2] != '\\';
        inner = arena_strndup(f->arena, pattern + from_start, length - from_start - to_end);
        inner = arena_printf(f->arena, "%s(?:%s)%s", from_start ? "" : ".*", inner, to_end ? "" : ".*");
    }
    const fe_match match = fe_pattern_match(inner, path, &problem);
    if (match == MATCH_refused)
        return fe_error(f, at, "expected a regular expression, found \"%s\": %s", pattern, problem);
    *out = match == MATCH_yes;
    return true;
}

typedef struct numbers {
    double *item;
    size_t count, capacity;
} numbers;

static void add_list(fe *f, ir_record *r, const char *key, const numbers *n)
{
    ir_record_add_numbers(f->arena, r, key, (int)n->count, n->item);
}

/* ---- Muon ------------------------------------------------------------------------------------------- */

static const char *make_lower(arena *a, const char *path)
{
    char *lower = arena_strdup(a, path);
    for (char *c = lower; *c != '\0'; c++) *c = (char)tolower((unsigned char)*c);
    return lower;
}

static bool is_excluded(fe *f, const cJSON *layers, const json_at *at, const ir_variable *v, bool *out)
{
    *out = false;
    int i = 0;
    for (const cJSON *item = layers != NULL ? layers->child : NULL; item != NULL && !*out; item = item->next, i++) {
        const json_at item_at = {.up = at, .index = i};
        if (!cJSON_IsString(item)) return fe_error(f, &item_at, "expected text, found %s", fe_json_show(f, item));
        if (!fe_pattern_matches(f, &item_at, item->valuestring, v->path, false, out)) return false;
    }
    return true;
}

bool fe_muon_read(fe_config *c, ir_record *r)
{
    fe *f = c->fe;
    static const struct {
        const char *key;
        double otherwise;
    } nullable[] = {{"weight_decay", 0.004}, {"adam_weight_decay", 0.004}, {"rms_rate", 0.2}};
    for (size_t i = 0; i < countof(nullable); i++) {
        if (cJSON_GetObjectItemCaseSensitive(c->object, nullable[i].key) == NULL)
            ir_record_add_number(f->arena, r, nullable[i].key, nullable[i].otherwise);
    }
    const cJSON *layers = fe_config_item(c, "exclude_layers");
    const json_at at = {.up = &c->at, .key = "exclude_layers"};
    if (layers != NULL && !cJSON_IsArray(layers))
        return fe_error(f, &at, "expected a list of text, found %s", fe_json_show(f, layers));
    numbers as_adam = {0};
    for (size_t i = 0; i < f->module->variable_count; i++) {
        const ir_variable *v = &f->module->variable[i];
        bool excluded;
        if (!is_trained(v)) continue;
        if (!is_excluded(f, layers, &at, v, &excluded)) return false;
        excluded |= v->type.rank != 2;
        excluded |= ir_record_number(r, "exclude_embeddings", 1) != 0 &&
                    strstr(make_lower(f->arena, v->path), "embedding") != NULL;
        if (excluded) arena_push(f->arena, as_adam.item, as_adam.count, as_adam.capacity, (double)i);
    }
    add_list(f, r, "adam", &as_adam);
    return true;
}

/* ---- MultiOptimizer --------------------------------------------------------------------------------- */

enum { MOST_OPTIMIZERS = 64 };

typedef struct part {
    const char *pattern; /* NULL: the default */
    const json_at *at;
    ir_record *record;
    numbers variables;
} part;

typedef struct parts {
    part item[MOST_OPTIMIZERS + 1];
    int count;
} parts;

/* Paths of variables start with the optimizer's name, which another part may have too. */
static void make_name_unique(fe *f, const parts *all, ir_record *r, const char *common)
{
    const char *base = ir_record_text(r, "name", r->name), *name = base;
    bool taken = strcmp(base, common) == 0;
    for (int n = 1;; n++) {
        for (int i = 0; i < all->count && !taken; i++)
            taken = strcmp(ir_record_text(all->item[i].record, "name", ""), name) == 0;
        if (!taken) break;
        name = arena_printf(f->arena, "%s_%d", base, n);
        taken = false;
    }
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->field[i].key, "name") == 0) r->field[i].text = name;
    }
}

static void drop_field(ir_record *r, const char *key)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->count; i++) {
        if (strcmp(r->field[i].key, key) != 0) r->field[kept++] = r->field[i];
    }
    r->count = kept;
}

static bool add_part(fe *f, parts *all, const char *pattern, const cJSON *j, const json_at *at, const ir_record *whole)
{
    fe_named named;
    if (all->count > MOST_OPTIMIZERS)
        return fe_error(f, at, "expected at most %d optimizers", MOST_OPTIMIZERS);
    if (!fe_named_read(f, j, at, &named)) return false;
    if (strcmp(named.name, "LossScaleOptimizer") == 0 || strcmp(named.name, "MultiOptimizer") == 0)
        return fe_error(f, at, "expected an optimizer that is not %s itself, as Keras does", named.name);
    const ir_record *read = fe_optimizer_read(f, j, at);
    if (read == NULL) return false;
    ir_record *r = arena_copy(f->arena, read, sizeof *read);
    r->field = arena_copy(f->arena, read->field, read->count * sizeof *read->field);
    r->capacity = r->count;
    drop_field(r, "loss_scale_factor");
    make_name_unique(f, all, r, ir_record_text(whole, "name", ""));
    const ir_field *scale = ir_record_find(whole, "loss_scale_factor");
    if (scale != NULL) ir_record_add_number(f->arena, r, "loss_scale_factor", scale->number);
    all->item[all->count++] = (part){.pattern = pattern, .at = fe_at_keep(f, at), .record = r};
    return true;
}

/* The part whose pattern is the path, else the only one whose pattern matches it, else the default. */
static bool find_part(fe *f, parts *all, const char *path, part **out)
{
    *out = NULL;
    for (int i = 0; i + 1 < all->count; i++) {
        if (strcmp(all->item[i].pattern, path) == 0) {
            *out = &all->item[i];
            return true;
        }
    }
    for (int i = 0; i + 1 < all->count; i++) {
        bool hit;
        if (!fe_pattern_matches(f, all->item[i].at, all->item[i].pattern, path, true, &hit)) return false;
        if (hit && *out != NULL)
            return fe_error(f, all->item[i].at, "expected one pattern for variable \"%s\", found also \"%s\"", path,
                            (*out)->pattern);
        if (hit) *out = &all->item[i];
    }
    if (*out == NULL) *out = &all->item[all->count - 1];
    return true;
}

static bool assign_variables(fe *f, parts *all)
{
    for (size_t i = 0; i < f->module->variable_count; i++) {
        part *owner;
        if (!is_trained(&f->module->variable[i])) continue;
        if (!find_part(f, all, f->module->variable[i].path, &owner)) return false;
        arena_push(f->arena, owner->variables.item, owner->variables.count, owner->variables.capacity, (double)i);
    }
    return true;
}

static bool read_parts(fe *f, const cJSON *j, const json_at *at, ir_record *r, parts *all)
{
    fe_named named;
    fe_config c;
    if (!fe_named_read(f, j, at, &named)) return false;
    if (strcmp(named.name, "OptimizerMap") != 0)
        return fe_error(f, at, "expected an OptimizerMap, found \"%s\": a Python function cannot be compiled", named.name);
    fe_config_init(&c, f, named.config, named.at, "config");
    const cJSON *rows = fe_config_item(&c, "optimizer_map"), *otherwise = fe_config_item(&c, "default_optimizer");
    const json_at map_at = {.up = &c.at, .key = "optimizer_map"}, otherwise_at = {.up = &c.at, .key = "default_optimizer"};
    if (rows != NULL && !cJSON_IsObject(rows))
        return fe_error(f, &map_at, "expected optimizers by patterns, found %s", fe_json_show(f, rows));
    if (otherwise == NULL) return fe_error(f, &otherwise_at, "expected an optimizer, found nothing");
    for (const cJSON *item = rows != NULL ? rows->child : NULL; item != NULL; item = item->next) {
        const json_at item_at = {.up = &map_at, .key = item->string};
        if (!add_part(f, all, item->string, item, &item_at, r)) return false;
    }
    return add_part(f, all, NULL, otherwise, &otherwise_at, r) && fe_config_done(&c) && assign_variables(f, all);
}

ir_record *fe_multi_optimizer_read(fe *f, const fe_named *named)
{
    ir_record *r = ir_record_new(f->arena, "multi_optimizer");
    parts *all = arena_new(f->arena, parts);
    fe_config c;
    const char *name;
    fe_config_init(&c, f, named->config, named->at, "config");
    if (!fe_config_text_or(&c, "name", "multi_optimizer", &name)) return NULL;
    ir_record_add_text(f->arena, r, "name", name);
    if (!fe_fields_read(&c, "f:loss_scale_factor[1e-30,1e30]", r)) return NULL;
    const json_at map_at = {.up = &c.at, .key = "optimizer_map"};
    const cJSON *rows = fe_config_item(&c, "optimizer_map");
    if (rows == NULL) {
        fe_error(f, &map_at, "expected an OptimizerMap, found nothing");
        return NULL;
    }
    if (!read_parts(f, rows, &map_at, r, all) || !fe_config_done(&c)) return NULL;
    bool averages = false;
    for (int i = 0; i < all->count; i++) {
        add_list(f, all->item[i].record, "variables", &all->item[i].variables);
        averages |= ir_record_number(all->item[i].record, "use_ema", 0) != 0 && all->item[i].variables.count > 0;
        ir_record_add_record(f->arena, r, arena_printf(f->arena, "optimizer_%d", i), all->item[i].record);
    }
    if (averages) ir_record_add_number(f->arena, r, "use_ema", 1);
    return r;
}
