/* keras2_node.c: TensorFlowOpLayer, a node of TensorFlow's graph as TensorFlow 2.3 and older wrote it: its
 * definition (NodeDef in JSON, or that as a string) and the inputs that are constants. It is read as the
 * function of the same meaning in tf_symbols.def. */
#include "frontend/keras2.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_INPUTS = 64, MOST_NAMED = 16 };

typedef struct node_row {
    const char *op, *symbol, *inputs, *attributes;
} node_row;

static const node_row rows[] = {
#define NODE(op, symbol, inputs, attributes) {#op, symbol, inputs, attributes},
#include "frontend/keras2_nodes.def"
};

typedef struct node {
    const node_row *row;
    const tf_symbol *symbol;
    fe_value constant[MOST_INPUTS]; /* FE_NULL: a tensor of the call */
    fe_value attribute;             /* FE_DICT under the symbol's names */
} node;

/* ---- reading
 * ------------------------------------------------------------------------------------------------ */

static bool read_constants(fe *f, const cJSON *constants, const json_at *at, node *n)
{
    fe_arg_reader r = {.fe = f};
    for (const cJSON *j = cJSON_IsObject(constants) ? constants->child : NULL; j; j = j->next) {
        const json_at item_at = {.up = at, .key = j->string};
        const long index = strtol(j->string, NULL, 10);
        if (index < 0 || index >= MOST_INPUTS)
            return fe_error(f, &item_at, "expected the number of an input below %d", MOST_INPUTS);
        /* Integers stay a list, which sizes and axes are read from; other arrays become tensors. */
        const cJSON *value =
            cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(j, "config"), "value");
        const cJSON *from = cJSON_IsArray(value) && !fe_json_has_float(value) ? value : j;
        fe_value *to = &n->constant[index];
        bool ok = cJSON_IsArray(from) && fe_json_has_float(from)
                      ? fe_arg_read_array(&r, from, DTYPE_f32, &item_at, to)
                      : fe_arg_read(&r, from, &item_at, to);
        if (!ok) return false;
    }
    return true;
}

/* Base64, as JSON holds bytes. */
static const char *decode_text(fe *f, const char *packed)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *out = arena_alloc(f->arena, strlen(packed) + 1), *to = out;
    unsigned bits = 0, held = 0;
    for (const char *c = packed; *c && *c != '='; c++) {
        const char *digit = strchr(digits, *c);
        if (!digit) return packed;
        bits = bits << 6 | (unsigned)(digit - digits);
        held += 6;
        if (held < 8) continue;
        held -= 8;
        *to++ = (char)(bits >> held & 255);
    }
    return out;
}

/* Integers of 64 bits are strings in JSON. */
static int64_t whole(const cJSON *j)
{
    return cJSON_IsString(j)   ? strtoll(j->valuestring, NULL, 10)
           : cJSON_IsNumber(j) ? (int64_t)j->valuedouble
                               : 0;
}

static const char *type_name(fe *f, const char *dt)
{
    static const char *const names[][2] = {
        {"DT_FLOAT", "float32"}, {"DT_HALF", "float16"}, {"DT_DOUBLE", "float64"}};
    for (size_t i = 0; i < countof(names); i++) {
        if (strcmp(names[i][0], dt) == 0) return names[i][1];
    }
    char *name = arena_strdup(f->arena, strncmp(dt, "DT_", 3) == 0 ? dt + 3 : dt);
    for (char *c = name; *c; c++) *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    return name;
}

/* {"b": true}, {"i": "3"}, {"f": 0.2}, {"s": "U0FNRQ=="}, {"type": "DT_FLOAT"}, {"list": {"i": ["1", "2"]}}
 */
static fe_value read_attribute(fe *f, const cJSON *j)
{
    const cJSON *kind = cJSON_IsObject(j) ? j->child : NULL;
    if (!kind) return (fe_value){.kind = FE_NULL};
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(kind, "i");
    if (strcmp(kind->string, "b") == 0)
        return fe_value_bool(cJSON_IsTrue(kind));
    if (strcmp(kind->string, "i") == 0) return fe_value_int(whole(kind));
    if (strcmp(kind->string, "f") == 0)
        return (fe_value){.kind = FE_NUMBER, .number = kind->valuedouble, .is_float = true};
    if (strcmp(kind->string, "s") == 0 && cJSON_IsString(kind))
        return (fe_value){.kind = FE_TEXT, .text = decode_text(f, kind->valuestring)};
    if (strcmp(kind->string, "type") == 0 && cJSON_IsString(kind))
        return (fe_value){.kind = FE_TEXT, .text = type_name(f, kind->valuestring)};
    if (strcmp(kind->string, "list") != 0 || !cJSON_IsArray(list)) return (fe_value){.kind = FE_NULL};
    fe_value out = {.kind = FE_LIST,
                    .item = arena_array(f->arena, fe_value, (size_t)cJSON_GetArraySize(list) + 1)};
    for (const cJSON *item = list->child; item; item = item->next)
        out.item[out.count++] = fe_value_int(whole(item));
    return out;
}

static const char *take_word(fe *f, const char **at)
{
    *at += strspn(*at, " ");
    size_t length = strcspn(*at, " ");
    const char *word = length ? arena_strndup(f->arena, *at, length) : NULL;
    *at += length;
    return word;
}

static void read_attributes(fe *f, const cJSON *attr, node *n)
{
    n->attribute = (fe_value){.kind = FE_DICT,
                              .item = arena_array(f->arena, fe_value, MOST_NAMED),
                              .key = arena_array(f->arena, const char *, MOST_NAMED)};
    const char *at = n->row->attributes, *word;
    while ((word = take_word(f, &at)) != NULL) {
        const char *equals = strchr(word, '=');
        const char *name = equals ? arena_strndup(f->arena, word, (size_t)(equals - word)) : word;
        const fe_value value = read_attribute(f, cJSON_GetObjectItemCaseSensitive(attr, name));
        if (value.kind == FE_NULL) continue;
        n->attribute.key[n->attribute.count] = equals ? equals + 1 : word;
        n->attribute.item[n->attribute.count++] = value;
    }
}

bool tf_node_read(fe *f, fe_layer *layer, fe_config *c)
{
    node *n = arena_new(f->arena, node);
    const json_at at = fe_key(c, "node_def"), constants_at = fe_key(c, "constants");
    const cJSON *def = fe_config_item(c, "node_def"), *constants = fe_config_item(c, "constants");
    if (!fe_config_done(c)) return false;
    if (cJSON_IsString(def) && def->valuestring[0] == '{')
        def = fe_json_parse(f, f->diag->file, def->valuestring, strlen(def->valuestring));
    const cJSON *op = cJSON_GetObjectItemCaseSensitive(def, "op");
    if (!cJSON_IsString(op)) {
        return fe_error(f, &at,
                        "expected the definition of a node in JSON, found %s; load the model in TensorFlow "
                        "2.4 or newer and write it again",
                        fe_json_show(f, def));
    }
    for (size_t i = 0; i < countof(rows); i++) {
        if (strcmp(rows[i].op, op->valuestring) == 0) n->row = &rows[i];
    }
    if (!n->row)
        return fe_error(f, &at, "operation %s of TensorFlow's graphs is not supported", fe_json_show(f, op));
    n->symbol = tf_symbol_find(n->row->symbol);
    bug_if(!n->symbol, "keras2_nodes.def names %s, which is unknown", n->row->symbol);
    read_attributes(f, cJSON_GetObjectItemCaseSensitive(def, "attr"), n);
    layer->state = n;
    return read_constants(f, constants, &constants_at, n);
}

/* ---- calling
 * ------------------------------------------------------------------------------------------------- */

/* The node's inputs in order: tensors of the call, and constants between them. */
static int gather_inputs(fe_lower *l, const node *n, const fe_args *args, fe_value *out)
{
    fe_tensor tensor[MOST_INPUTS];
    int count = fe_value_tensors(&args->arg, MOST_INPUTS, tensor), used = 0, total = 0;
    if (count > MOST_INPUTS) return -1;
    for (; total < MOST_INPUTS; total++) {
        const fe_value *constant = &n->constant[total];
        if (constant->kind == FE_NULL && used == count) break;
        out[total] = *constant;
        if (constant->kind == FE_NULL) out[total] = (fe_value){.kind = FE_TENSOR, .tensor = tensor[used++]};
        if (constant->kind == FE_CONSTANT)
            out[total] = fe_value_tensor(ir_build_constant(l->g, *constant->type, constant->bytes), IR_NONE);
    }
    return used == count ? total : -1;
}

static bool name_inputs(fe_lower *l, const node *n, int count, fe_value *input, fe_value *dict)
{
    const char *word[MOST_NAMED], *at = n->row->inputs;
    int words = 0, used = 0;
    while ((word[words] = take_word(l->fe, &at)) != NULL) words++;
    for (int i = 0; i < words && used < count; i++) {
        const bool many = word[i][0] == '*';
        const int part = many ? count - (words - 1) : 1;
        if (part < 1) break;
        dict->key[dict->count] = word[i] + many;
        dict->item[dict->count++] =
            many ? (fe_value){.kind = FE_LIST,
                              .count = part,
                              .item = arena_copy(l->fe->arena, input + used, (size_t)part * sizeof *input)}
                 : input[used];
        used += part;
    }
    return used == count ||
           fe_layer_error(l->fe, l->layer, "expected inputs as those of %s, found %d", n->row->op, count);
}

static fe_value *find(fe_value *dict, const char *name)
{
    for (int i = 0; i < dict->count; i++) {
        if (strcmp(dict->key[i], name) == 0) return &dict->item[i];
    }
    return NULL;
}

static int64_t mask_of(fe_value *dict, const char *name)
{
    const fe_value *v = find(dict, name);
    return v && v->kind == FE_NUMBER ? v->integer : 0;
}

/* begin, end, strides and their masks as a key of indices and slices. */
static bool make_key(fe_lower *l, fe_value *dict)
{
    static const char *const part[3] = {"begin", "end", "strides"};
    const fe_value *list[3];
    for (int i = 0; i < 3; i++) {
        list[i] = find(dict, part[i]);
        if (!list[i] || list[i]->kind != FE_LIST || list[i]->count != list[0]->count)
            return fe_layer_error(l->fe, l->layer,
                                  "expected constants of one length as begin, end and strides");
    }
    const int count = list[0]->count;
    fe_value *key = arena_array(l->fe->arena, fe_value, (size_t)count + 1),
             *bound = arena_array(l->fe->arena, fe_value, 3 * (size_t)count + 1);
    for (int i = 0; i < count && i < 32; i++) {
        const int64_t bit = (int64_t)1 << i;
        key[i] = (fe_value){.kind = FE_SLICE, .count = 3, .item = bound + 3 * (size_t)i};
        if (!(mask_of(dict, "begin_mask") & bit)) key[i].item[0] = list[0]->item[i];
        if (!(mask_of(dict, "end_mask") & bit)) key[i].item[1] = list[1]->item[i];
        key[i].item[2] = list[2]->item[i];
        if (mask_of(dict, "shrink_axis_mask") & bit) key[i] = list[0]->item[i];
        if (mask_of(dict, "new_axis_mask") & bit) key[i] = (fe_value){.kind = FE_NULL};
        if (mask_of(dict, "ellipsis_mask") & bit) key[i] = (fe_value){.kind = FE_ELLIPSIS};
    }
    const fe_value tensor = *find(dict, "tensor");
    dict->count = 2;
    dict->key[0] = "tensor", dict->item[0] = tensor;
    dict->key[1] = "slice_spec", dict->item[1] = (fe_value){.kind = FE_LIST, .count = count, .item = key};
    return true;
}

bool tf_node_call(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const node *n = layer->state;
    fe_value input[MOST_INPUTS], item[2 * MOST_NAMED];
    const char *key[2 * MOST_NAMED];
    fe_args named = {.arg = {.kind = FE_LIST}, .kwarg = {.kind = FE_DICT, .item = item, .key = key}};
    fe_args renamed = {.arg = {.kind = FE_LIST}, .kwarg = {.kind = FE_DICT}};
    int count = gather_inputs(l, n, args, input);
    if (count < 1 || !name_inputs(l, n, count, input, &named.kwarg))
        return count >= 1 ? false
                          : fe_layer_error(l->fe, layer, "expected inputs and constants that fit the node %s",
                                           n->row->op);
    for (int i = 0; i < n->attribute.count; i++) {
        key[named.kwarg.count] = n->attribute.key[i];
        item[named.kwarg.count++] = n->attribute.item[i];
    }
    if (strcmp(n->row->op, "StridedSlice") == 0 && !make_key(l, &named.kwarg)) return false;
    return tf_args_rename(l, n->symbol, &named, &renamed) && n->symbol->build(l, n->symbol, &renamed, out);
}
