/* args.c: trees of call arguments: read from JSON, compared, taken apart. */
#include "frontend/model.h"

#include <stdlib.h>
#include <string.h>

bool fe_arg_is_history(const cJSON *j)
{
    return cJSON_IsArray(j) && cJSON_GetArraySize(j) >= 3 && cJSON_IsString(j->child) &&
           cJSON_IsNumber(j->child->next) && cJSON_IsNumber(j->child->next->next);
}

bool fe_arg_link(fe_arg_reader *r, const cJSON *history, const json_at *at, fe_value *out)
{
    int64_t call, tensor;
    const char *name = fe_arg_is_history(history) ? history->child->valuestring : NULL;
    if (!name || !r->layer_index || !fe_json_int(history->child->next, &call) ||
        !fe_json_int(history->child->next->next, &tensor)) {
        return fe_error(r->fe, at, "expected [\"layer\", call, tensor], found %s",
                        fe_json_show(r->fe, history));
    }
    int *index = map_find(r->layer_index, name);
    if (!index) {
        const char **known = arena_array(r->fe->arena, const char *, r->layer_index->count + 1);
        for (size_t i = 0; i < r->layer_index->count; i++) known[i] = r->layer_index->entry[i].key;
        const char *near = fe_nearest(name, r->layer_index->count, known);
        return fe_error(r->fe, at, "expected a layer of this model, found \"%s\"%s%s%s", name,
                        near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
    int calls = r->first_call[*index + 1] - r->first_call[*index];
    if (r->counts_itself && r->counts_itself[*index]) call--;
    if (call < 0 || call >= calls) {
        return fe_error(r->fe, at, "expected a call of \"%s\" (it has %d), found call number %s", name, calls,
                        fe_json_show(r->fe, history->child->next));
    }
    if (tensor < 0 || tensor > 4096) {
        return fe_error(r->fe, at, "expected a tensor number of \"%s\", found %lld", name, (long long)tensor);
    }
    *out = (fe_value){.kind = FE_NODE, .node = r->first_call[*index] + (int)call, .output = (int)tensor};
    return true;
}

/* ---- constants -------------------------------------------------------------------------------------- */

typedef struct constant_reader {
    fe *fe;
    ir_type type;
    ir_array array;
    int64_t next;
} constant_reader;

static bool measure_constant(fe *f, const cJSON *j, const json_at *at, ir_type *type)
{
    for (const cJSON *level = j; cJSON_IsArray(level); level = level->child) {
        if (type->rank == IR_MAX_RANK)
            return fe_error(f, at, "expected an array of at most %d dimensions", IR_MAX_RANK);
        type->dim[type->rank++] = ir_fixed(cJSON_GetArraySize(level));
    }
    return true;
}

static int64_t count_leaves(const cJSON *j)
{
    if (!cJSON_IsArray(j)) return 1;
    int64_t count = 0;
    for (const cJSON *item = j->child; item; item = item->next) count += count_leaves(item);
    return count;
}

static bool fill_constant(constant_reader *r, const cJSON *j, const json_at *at, int level)
{
    if (level == r->type.rank) {
        if (!cJSON_IsNumber(j) && !cJSON_IsBool(j)) {
            return fe_error(r->fe, at, "expected a number in an array, found %s", fe_json_show(r->fe, j));
        }
        ir_array_set(&r->array, r->next++, cJSON_IsNumber(j) ? j->valuedouble : cJSON_IsTrue(j));
        return true;
    }
    if (!cJSON_IsArray(j) || cJSON_GetArraySize(j) != r->type.dim[level].count) {
        return fe_error(r->fe, at, "expected lists of one length in an array, found %s",
                        fe_json_show(r->fe, j));
    }
    for (const cJSON *item = j->child; item; item = item->next) {
        if (!fill_constant(r, item, at, level + 1)) return false;
    }
    return true;
}

bool fe_arg_read_array(fe_arg_reader *reader, const cJSON *value, ir_dtype dtype, const json_at *at,
                       fe_value *out)
{
    fe *f = reader->fe;
    constant_reader r = {.fe = f, .type = {.dtype = dtype}};
    if (!measure_constant(f, value, at, &r.type)) return false;
    /* The number of leaves is bounded by the text; the product of the first branch's lengths is not. */
    ir_dim elements;
    int64_t leaves = count_leaves(value);
    if (!ir_type_elements(&r.type, &elements) || elements.count != leaves || leaves == 0) {
        return fe_error(f, at, "expected a full array of numbers, found %s", fe_json_show(f, value));
    }
    ir_type *type = arena_copy(f->arena, &r.type, sizeof r.type);
    r.array = (ir_array){r.type, arena_alloc_many(f->arena, (size_t)leaves, ir_dtype_size(r.type.dtype))};
    if (!fill_constant(&r, value, at, 0)) return false;
    *out = (fe_value){.kind = FE_CONSTANT, .type = type, .bytes = r.array.data};
    return true;
}

static bool read_constant(fe_arg_reader *r, const cJSON *config, const json_at *at, fe_value *out)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(config, "dtype");
    const json_at value_at = {.up = at, .key = "value"}, dtype_at = {.up = at, .key = "dtype"};
    ir_dtype dtype;
    if (!cJSON_IsString(name) || !ir_dtype_find_keras(name->valuestring, &dtype) || dtype == DTYPE_str) {
        return fe_error(r->fe, &dtype_at, "expected a dtype, found %s", fe_json_show(r->fe, name));
    }
    return fe_arg_read_array(r, cJSON_GetObjectItemCaseSensitive(config, "value"), dtype, &value_at, out);
}

/* ---- values -------------------------------------------------------------------------------------------- */

bool fe_arg_read_items(fe_arg_reader *r, fe_arg_each each, const void *context, const cJSON *j,
                       const json_at *at, fe_value *out)
{
    int count = cJSON_GetArraySize(j), i = 0;
    bool ok = true, keyed = cJSON_IsObject(j);
    *out = (fe_value){.kind = keyed ? FE_DICT : FE_LIST, .count = count};
    out->item = arena_array(r->fe->arena, fe_value, (size_t)count + 1);
    if (keyed) out->key = arena_array(r->fe->arena, const char *, (size_t)count + 1);
    for (const cJSON *item = j->child; item; item = item->next, i++) {
        const json_at item_at = {.up = at, .key = keyed ? item->string : NULL, .index = i};
        if (keyed) out->key[i] = item->string;
        ok = each(r, context, item, &item_at, &out->item[i]) && ok;
    }
    if (keyed) fe_value_sort_keys(r->fe, out);
    return ok;
}

bool fe_arg_read_slice(fe_arg_reader *r, fe_arg_each each, const void *context, const cJSON *j,
                       const json_at *at, fe_value *out)
{
    static const char *const part[3] = {"start", "stop", "step"};
    *out = (fe_value){.kind = FE_SLICE, .count = 3, .item = arena_array(r->fe->arena, fe_value, 3)};
    for (int i = 0; i < 3; i++) {
        const json_at part_at = {.up = at, .key = part[i]};
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(j, part[i]);
        if (item && !each(r, context, item, &part_at, &out->item[i])) return false;
    }
    return true;
}

static bool read_each(fe_arg_reader *r, const void *context, const cJSON *j, const json_at *at, fe_value *out)
{
    (void)context;
    return fe_arg_read(r, j, at, out);
}

static bool read_object(fe_arg_reader *r, const char *name, const cJSON *j, const json_at *at, fe_value *out)
{
    const cJSON *config = cJSON_GetObjectItemCaseSensitive(j, "config");
    const json_at config_at = {.up = at, .key = "config"};
    const json_at history_at = {.up = &config_at, .key = "keras_history"};
    if (strcmp(name, "__keras_tensor__") == 0) {
        return fe_arg_link(r, cJSON_GetObjectItemCaseSensitive(config, "keras_history"), &history_at, out);
    }
    if (strcmp(name, "__numpy__") == 0 || strcmp(name, "__tensor__") == 0) {
        return read_constant(r, config, &config_at, out);
    }
    if (strcmp(name, "__slice__") == 0) return fe_arg_read_slice(r, read_each, NULL, config, &config_at, out);
    if (strcmp(name, "__ellipsis__") == 0) {
        *out = (fe_value){.kind = FE_ELLIPSIS};
        return true;
    }
    if (strcmp(name, "DTypePolicy") == 0) {
        const cJSON *policy = cJSON_GetObjectItemCaseSensitive(config, "name");
        if (cJSON_IsString(policy)) {
            *out = (fe_value){.kind = FE_TEXT, .text = policy->valuestring};
            return true;
        }
    }
    return fe_error(r->fe, at, "expected a tensor, a number, a string or a list as argument, found %s",
                    fe_json_show(r->fe, j));
}

bool fe_arg_read(fe_arg_reader *r, const cJSON *j, const json_at *at, fe_value *out)
{
    *out = (fe_value){.kind = FE_NULL};
    if (cJSON_IsNull(j)) return true;
    if (cJSON_IsBool(j)) {
        *out = fe_value_bool(cJSON_IsTrue(j));
        return true;
    }
    if (cJSON_IsNumber(j)) {
        *out = (fe_value){.kind = FE_NUMBER, .number = j->valuedouble};
        out->is_float = strpbrk(j->valuestring, ".eENI") != NULL;
        if (!out->is_float && !fe_json_int(j, &out->integer)) {
            return fe_error(r->fe, at, "expected an integer of 64 bits, found %s", fe_json_show(r->fe, j));
        }
        return true;
    }
    if (cJSON_IsString(j)) {
        *out = (fe_value){.kind = FE_TEXT, .text = j->valuestring};
        return true;
    }
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(j, "class_name");
    if (cJSON_IsObject(j) && cJSON_IsString(name)) return read_object(r, name->valuestring, j, at, out);
    return fe_arg_read_items(r, read_each, NULL, j, at, out);
}

/* ---- taking apart ----------------------------------------------------------------------------------------
 */

typedef struct dict_entry {
    const char *key;
    fe_value item;
} dict_entry;

static int compare_keys(const void *a, const void *b)
{
    return strcmp(((const dict_entry *)a)->key, ((const dict_entry *)b)->key);
}

void fe_value_sort_keys(fe *f, fe_value *dict)
{
    size_t count = (size_t)dict->count;
    if (count < 2) return;
    dict_entry *entry = arena_array(f->arena, dict_entry, count);
    for (size_t i = 0; i < count; i++) entry[i] = (dict_entry){dict->key[i], dict->item[i]};
    qsort(entry, count, sizeof *entry, compare_keys);
    for (size_t i = 0; i < count; i++) {
        dict->key[i] = entry[i].key;
        dict->item[i] = entry[i].item;
    }
}

const fe_value *fe_args_find(const fe_args *a, int position, const char *name)
{
    const fe_value *found = NULL;
    if (position >= 0 && position < a->arg.count) found = &a->arg.item[position];
    for (int i = 0; !found && i < a->kwarg.count; i++) {
        if (strcmp(a->kwarg.key[i], name) == 0) found = &a->kwarg.item[i];
    }
    return found && found->kind != FE_NULL ? found : NULL;
}

int fe_value_tensors(const fe_value *v, int most, fe_tensor *out)
{
    if (v->kind == FE_TENSOR) {
        if (most > 0) out[0] = v->tensor;
        return 1;
    }
    int count = 0;
    if (v->kind != FE_LIST && v->kind != FE_DICT) return 0;
    for (int i = 0; i < v->count; i++) {
        int room = most > count ? most - count : 0;
        count += fe_value_tensors(&v->item[i], room, room ? out + count : NULL);
    }
    return count;
}

fe_value fe_value_tensor(ir_value value, ir_value mask)
{
    return (fe_value){.kind = FE_TENSOR, .tensor = {.value = value, .mask = mask}};
}

fe_value fe_value_int(int64_t number)
{
    return (fe_value){.kind = FE_NUMBER, .number = (double)number, .integer = number};
}

fe_value fe_value_bool(bool truth)
{
    return (fe_value){.kind = FE_BOOL, .number = truth, .integer = truth};
}
