/* train_read.c: the structure of a compile configuration: which losses, loss weights and metrics belong to
 * which output, by position, by output name, or the same for all. */
#include "frontend/gradient_transforms.h"

#include <stdlib.h>
#include <string.h>

typedef struct reader {
    fe *fe;
    const fe_model *model;
    fe_train *train;
} reader;

static bool is_object(const cJSON *j)
{
    return cJSON_IsObject(j) && cJSON_GetObjectItemCaseSensitive(j, "class_name") != NULL;
}

static bool is_dict(const cJSON *j) { return cJSON_IsObject(j) && !is_object(j); }

static bool report_output(const reader *r, const cJSON *j, const json_at *at)
{
    const char **known = arena_array(r->fe->arena, const char *, r->train->target_count + 1);
    for (size_t i = 0; i < r->train->target_count; i++) known[i] = r->train->target[i].name;
    const char *near = fe_nearest(j->string, r->train->target_count, known);
    if (near != NULL)
        return fe_error(r->fe, at, "unknown output \"%s\"; did you mean \"%s\"?", j->string, near);
    return fe_error(r->fe, at, "expected the name of an output, as \"%s\", found \"%s\"",
                    r->train->target_count > 0 ? known[0] : "", j->string);
}

/* Calls `each` with the entry of an output. */
typedef bool (*entry_reader)(reader *r, fe_target *target, const cJSON *j, const json_at *at);

/* A part of the structure of the outputs, and which of them are in it. */
typedef struct part {
    const fe_value *value;
    size_t first, count;
} part;

static bool is_structure(const fe_value *v) { return v->kind == FE_LIST || v->kind == FE_DICT; }

static size_t count_leaves(const fe_value *v)
{
    size_t count = !is_structure(v);
    for (int i = 0; is_structure(v) && i < v->count; i++) count += count_leaves(&v->item[i]);
    return count;
}

static part get_child(const part *whole, int index)
{
    part child = {.value = &whole->value->item[index], .first = whole->first};
    for (int i = 0; i < index; i++) child.first += count_leaves(&whole->value->item[i]);
    child.count = count_leaves(child.value);
    return child;
}

static bool has_name(const fe_target *target, const char *key)
{
    return strcmp(target->name, key) == 0 || (target->prefix && strcmp(target->prefix, key) == 0);
}

/* The part under a key, or the output of that name. Its count says how many outputs have it: in Keras 3 those of one layer do. */
static bool find_part(const reader *r, const part *whole, const char *key, part *out)
{
    for (int i = 0; whole->value->kind == FE_DICT && i < whole->value->count; i++) {
        if (strcmp(whole->value->key[i], key) != 0) continue;
        *out = get_child(whole, i);
        return true;
    }
    *out = (part){.value = NULL, .first = whole->first, .count = 0};
    for (size_t i = whole->first; i < whole->first + whole->count; i++) {
        if (!has_name(&r->train->target[i], key)) continue;
        if (out->count++ == 0) out->first = i;
    }
    return out->count > 0;
}

/* A list with an entry for each output or each part, or a dict by names, of parts' parts and so on. */
static bool read_part(reader *r, const part *whole, const cJSON *j, const json_at *at, entry_reader each)
{
    bool good = true;
    int i = 0;
    const int size = cJSON_GetArraySize(j);
    const bool by_parts = whole->value->kind == FE_LIST && size == whole->value->count;
    if (cJSON_IsArray(j) && !by_parts && size != (int)whole->count)
        return fe_error(r->fe, at, "expected an entry for each of %zu outputs, found %d", whole->count, size);
    for (const cJSON *item = j->child; item != NULL; item = item->next, i++) {
        const json_at item_at = {.up = at, .key = is_dict(j) ? item->string : NULL, .index = i};
        part child = {.first = whole->first + (size_t)i, .count = 1};
        if (!is_dict(j) && by_parts) child = get_child(whole, i);
        if (is_dict(j) && !find_part(r, whole, item->string, &child))
            good = report_output(r, item, &item_at);
        else if (child.value == NULL && child.count > 1)
            good = fe_error(r->fe, &item_at, "expected the name of one output, found one that %zu outputs have: give a list",
                            child.count);
        else if (cJSON_IsNull(item))
            continue;
        else if (child.value == NULL || !is_structure(child.value))
            good = each(r, &r->train->target[child.first], item, &item_at) && good;
        else if (cJSON_IsArray(item) || is_dict(item))
            good = read_part(r, &child, item, &item_at, each) && good;
        else
            good = fe_error(r->fe, &item_at, "expected entries for %zu outputs, found %s", child.count,
                            fe_json_show(r->fe, item));
    }
    return good;
}

static bool read_entries(reader *r, const cJSON *j, const json_at *at, entry_reader each)
{
    const part whole = {.value = &r->model->output_struct, .count = r->train->target_count};
    return read_part(r, &whole, j, at, each);
}

/* Keras names losses by the path to their output, metrics by the keys of a dict that is not nested. */
static void name_targets(reader *r, const fe_value *v, const char *path, bool flat, size_t *next)
{
    arena *a = r->fe->arena;
    for (int i = 0; i < v->count; i++) {
        const fe_value *item = &v->item[i];
        const char *step = v->kind == FE_DICT ? v->key[i] : arena_printf(a, "%d", i);
        if (is_structure(item)) {
            name_targets(r, item, arena_printf(a, "%s%s/", path, step), false, next);
            continue;
        }
        fe_target *target = &r->train->target[(*next)++];
        if (v->kind == FE_LIST && !r->fe->keras2) step = r->model->call[item->node].layer->name;
        if (v->kind == FE_LIST && r->fe->keras2) step = target->name;
        target->loss_name = arena_printf(a, "%s%s", path, step);
        if (flat) target->prefix = step;
    }
}

static bool is_flat_structure(const fe_value *v)
{
    for (int i = 0; i < v->count; i++) {
        if (is_structure(&v->item[i])) return false;
    }
    return true;
}

/* ---- losses ----------------------------------------------------------------------------------------- */

enum { MOST_LOSSES = 64 };

static bool add_loss(reader *r, fe_target *target, const cJSON *j, const json_at *at)
{
    fe_loss loss;
    if (target->loss_count == MOST_LOSSES)
        return fe_error(r->fe, at, "expected at most %d losses of one output", MOST_LOSSES);
    if (!fe_loss_read(r->fe, j, at, &loss)) return false;
    arena_push(r->fe->arena, target->loss, target->loss_count, target->loss_capacity, loss);
    return true;
}

static bool add_losses(reader *r, fe_target *target, const cJSON *j, const json_at *at)
{
    if (!cJSON_IsArray(j)) return add_loss(r, target, j, at);
    if (r->train->target_count == 1 && cJSON_GetArraySize(j) != 1)
        return fe_error(r->fe, at, "expected one loss for the only output, found %d", cJSON_GetArraySize(j));
    bool good = true;
    int i = 0;
    for (const cJSON *item = j->child; item != NULL; item = item->next, i++) {
        const json_at item_at = {.up = at, .index = i};
        good = (cJSON_IsNull(item) || add_loss(r, target, item, &item_at)) && good;
    }
    return good;
}

static bool read_losses(reader *r, const cJSON *j, const json_at *at)
{
    bool single = r->train->target_count == 1;
    if (is_dict(j) || (cJSON_IsArray(j) && !single)) return read_entries(r, j, at, add_losses);
    if (single) return add_losses(r, &r->train->target[0], j, at);
    bool good = true;
    for (size_t i = 0; good && i < r->train->target_count; i++)
        good = add_loss(r, &r->train->target[i], j, at);
    return good;
}

static bool set_weight(reader *r, fe_target *target, const cJSON *j, const json_at *at)
{
    if (!cJSON_IsNumber(j)) return fe_error(r->fe, at, "expected a number, found %s", fe_json_show(r->fe, j));
    if (target->loss_count != 1)
        return fe_error(r->fe, at, "expected an output with one loss, found one with %zu",
                        target->loss_count);
    target->loss[0].weight = j->valuedouble;
    return true;
}

static bool read_loss_weights(reader *r, const cJSON *losses, const cJSON *j, const json_at *at)
{
    if (cJSON_IsNumber(j) && r->train->target_count == 1) return set_weight(r, &r->train->target[0], j, at);
    if (!cJSON_IsArray(j) && !is_dict(j))
        return fe_error(r->fe, at, "expected a number for each output, found %s", fe_json_show(r->fe, j));
    if (is_dict(j) && cJSON_IsArray(losses) && !r->fe->keras2)
        return fe_error(r->fe, at, "expected a list, as of the losses, found %s", fe_json_show(r->fe, j));
    return read_entries(r, j, at, set_weight);
}

/* ---- metrics ---------------------------------------------------------------------------------------- */

enum { MOST_METRICS = 256 };

static bool add_metric(reader *r, fe_target *target, const cJSON *j, const json_at *at, bool weighted)
{
    fe_metric metric;
    if (target->metric_count == MOST_METRICS)
        return fe_error(r->fe, at, "expected at most %d metrics of one output", MOST_METRICS);
    if (!fe_metric_read(r->fe, j, at, &metric)) return false;
    metric.weighted = weighted;
    arena_push(r->fe->arena, target->metric, target->metric_count, target->metric_capacity, metric);
    return true;
}

enum { MOST_NESTED = 8 };

/* All metrics in lists and dicts of any nesting. */
static bool add_nested(reader *r, fe_target *target, const cJSON *j, const json_at *at, bool weighted,
                       int depth)
{
    if (!cJSON_IsArray(j) && !is_dict(j)) return add_metric(r, target, j, at, weighted);
    if (depth > MOST_NESTED) return fe_error(r->fe, at, "expected at most %d nested lists", MOST_NESTED);
    bool good = true;
    int i = 0;
    for (const cJSON *item = j->child; item != NULL; item = item->next, i++) {
        const json_at item_at = {.up = at, .key = is_dict(j) ? item->string : NULL, .index = i};
        good = (cJSON_IsNull(item) || add_nested(r, target, item, &item_at, weighted, depth + 1)) && good;
    }
    return good;
}

static bool add_unweighted(reader *r, fe_target *target, const cJSON *j, const json_at *at)
{
    return add_nested(r, target, j, at, false, 0);
}

static bool add_weighted(reader *r, fe_target *target, const cJSON *j, const json_at *at)
{
    return add_nested(r, target, j, at, true, 0);
}

/* A list of metrics without lists or dicts in it, which Keras 2 takes for every output. */
static bool is_flat(const cJSON *j)
{
    bool flat = cJSON_IsArray(j);
    for (const cJSON *item = j->child; item != NULL && flat; item = item->next)
        flat = cJSON_IsString(item) || is_object(item);
    return flat;
}

static bool read_metrics(reader *r, const cJSON *j, const json_at *at, bool weighted)
{
    if (j == NULL || cJSON_IsNull(j)) return true;
    if (!cJSON_IsArray(j) && !is_dict(j))
        return fe_error(r->fe, at, "expected a list or a dict by output name, found %s",
                        fe_json_show(r->fe, j));
    if (j->child == NULL) return true;
    if (r->train->target_count == 1) return add_nested(r, &r->train->target[0], j, at, weighted, 0);
    if (r->fe->keras2 && is_flat(j)) {
        bool good = true;
        for (size_t i = 0; good && i < r->train->target_count; i++)
            good = add_nested(r, &r->train->target[i], j, at, weighted, 0);
        return good;
    }
    return read_entries(r, j, at, weighted ? add_weighted : add_unweighted);
}

/* Comma-separated names as a list of JSON strings. */
static cJSON *list_names(fe *f, const char *names)
{
    cJSON *list = arena_new(f->arena, cJSON), *last = NULL;
    list->type = cJSON_Array;
    while (*names != '\0') {
        size_t length = strcspn(names, ",");
        cJSON *item = arena_new(f->arena, cJSON);
        item->type = cJSON_String;
        item->valuestring = arena_strndup(f->arena, names, length);
        item->prev = last;
        if (last != NULL)
            last->next = item;
        else
            list->child = item;
        last = item;
        names += length + (names[length] == ',');
    }
    if (list->child != NULL) list->child->prev = last;
    return list;
}

/* ---- names in the log ------------------------------------------------------------------------------- */

static bool is_taken(const fe_train *t, const char *key)
{
    for (size_t i = 0; i < t->target_count; i++) {
        for (size_t k = 0; k < t->target[i].metric_count; k++) {
            const char *other = t->target[i].metric[k].key;
            if (other != NULL && strcmp(other, key) == 0) return true;
        }
    }
    return false;
}

/* Repeated names get a number; weighted ones the prefix "weighted_" first. */
static void name_metric(fe *f, fe_train *t, const fe_target *target, fe_metric *metric)
{
    const char *prefix = t->target_count > 1 ? arena_printf(f->arena, "%s_", target->prefix) : "";
    const char *key = arena_printf(f->arena, "%s%s", prefix, metric->name);
    if (metric->weighted && is_taken(t, key))
        key = arena_printf(f->arena, "%sweighted_%s", prefix, metric->name);
    const char *base = key;
    for (int i = 1; is_taken(t, key); i++) key = arena_printf(f->arena, "%s_%d", base, i);
    metric->key = key;
}

static void name_metrics(fe *f, fe_train *t)
{
    for (int weighted = 0; weighted < 2; weighted++) {
        for (size_t i = 0; i < t->target_count; i++) {
            for (size_t k = 0; k < t->target[i].metric_count; k++) {
                if (t->target[i].metric[k].weighted == (weighted == 1))
                    name_metric(f, t, &t->target[i], &t->target[i].metric[k]);
            }
        }
    }
}

/* ---- the whole -------------------------------------------------------------------------------------- */

static cJSON *make_name(fe *f, const char *name)
{
    cJSON *j = arena_new(f->arena, cJSON);
    j->type = cJSON_String;
    j->valuestring = arena_strdup(f->arena, name);
    return j;
}

/* The field, or what the command line says instead. */
static const cJSON *get_item(fe_config *c, const char *key, const char *option)
{
    const cJSON *j = fe_config_item(c, key);
    return option != NULL ? make_name(c->fe, option) : j;
}

/* Whether tables are updated by the rows that a batch names, whatever the optimizer's rule. */
static bool read_lazy(fe_config *c, ir_record *optimizer)
{
    bool lazy;
    if (!fe_config_bool_or(c, "lazy_embeddings", false, &lazy)) return false;
    if (optimizer && (lazy || c->fe->options->lazy_embeddings))
        ir_record_add_number(c->fe->arena, optimizer, "lazy_embeddings", 1);
    return true;
}

static bool read_all(reader *r, fe_config *c, const cJSON *losses)
{
    fe *f = r->fe;
    const json_at at_optimizer = {.up = &c->at, .key = "optimizer"}, at_loss = {.up = &c->at, .key = "loss"};
    const json_at at_weights = {.up = &c->at, .key = "loss_weights"},
                  at_metrics = {.up = &c->at, .key = "metrics"};
    const json_at at_weighted = {.up = &c->at, .key = "weighted_metrics"};
    const cJSON *optimizer = get_item(c, "optimizer", f->options->optimizer),
                *weights = fe_config_item(c, "loss_weights");
    const cJSON *metrics = fe_config_item(c, "metrics"), *weighted = fe_config_item(c, "weighted_metrics");
    if (f->options->metrics != NULL) metrics = list_names(f, f->options->metrics);
    ir_record *read = fe_optimizer_read(f, optimizer != NULL ? optimizer : make_name(f, "rmsprop"), &at_optimizer);
    bool good = read != NULL && fe_loss_scale_choose(f, read);
    good = read_lazy(c, read) && good;
    f->module->optimizer = read;
    if (read != NULL) f->module->optimizer = fe_gradient_transforms_read(c, read);
    good = good && f->module->optimizer != NULL;
    bool has_losses = losses == NULL || read_losses(r, losses, &at_loss);
    if (has_losses && losses != NULL && weights != NULL) good = read_loss_weights(r, losses, weights, &at_weights) && good;
    good = read_metrics(r, metrics, &at_metrics, false) && good;
    good = read_metrics(r, weighted, &at_weighted, true) && good;
    return good && has_losses;
}

bool fe_train_read(fe *f, fe_model *m, const cJSON *compile_config, const json_at *at, bool own_losses, fe_train **out)
{
    *out = NULL;
    fe_config c;
    f->layer = NULL;
    if (at != NULL)
        fe_config_init(&c, f, compile_config, at->up, at->key);
    else
        fe_config_init(&c, f, compile_config, NULL, NULL);
    c.at.index = at != NULL ? at->index : -1;
    if (compile_config != NULL && c.object == NULL) return false;
    const cJSON *losses = get_item(&c, "loss", f->options->loss);
    const bool is_compiled = compile_config != NULL || f->options->optimizer != NULL;
    if (losses == NULL && !(is_compiled && own_losses)) return true;
    fe_train *t = arena_new(f->arena, fe_train);
    *t = (fe_train){.target = arena_array(f->arena, fe_target, m->output_count + 1),
                    .target_count = m->output_count,
                    .own_losses = own_losses,
                    .file = f->diag->file};
    for (size_t i = 0; i < m->output_count; i++)
        t->target[i] = (fe_target){.name = m->output_name[i],
                                   .loss_name = m->output_name[i],
                                   .prefix = m->output_name[i],
                                   .y_port = -1,
                                   .weight_port = -1};
    reader r = {.fe = f, .model = m, .train = t};
    size_t next = 0;
    if (is_structure(&m->output_struct) && count_leaves(&m->output_struct) == m->output_count)
        name_targets(&r, &m->output_struct, "", is_flat_structure(&m->output_struct), &next);
    bool scales;
    if (!fe_config_bool_or(&c, "run_eagerly", false, &t->eager)) return false;
    if (!fe_config_bool_or(&c, "auto_scale_loss", true, &scales)) return false;
    f->no_auto_scale = !scales;
    fe_config_ignore(&c, "steps_per_execution jit_compile pss_evaluation_shards "
                         "from_serialized is_compiled");
    bool good = read_all(&r, &c, losses);
    if (!fe_config_done(&c) || !good) return false;
    name_metrics(f, t);
    *out = t;
    return true;
}
