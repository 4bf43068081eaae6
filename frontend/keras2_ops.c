/* keras2_ops.c: layers of Keras 2 that stand for a function of TensorFlow: the function by its name, and the
 * arguments of a call under the names of keras.ops. */
#include "frontend/keras2.h"

#include <stdlib.h>
#include <string.h>

static const tf_symbol symbols[] = {
#define TF(name, op, family, parameters, settings) {name, #op, tf_build_##family, parameters, settings},
#include "frontend/tf_symbols.def"
};

const tf_symbol *tf_symbol_find(const char *name)
{
    for (size_t i = 0; i < countof(symbols); i++) {
        if (strcmp(symbols[i].name, name) == 0) return &symbols[i];
    }
    static const char v1[] = "compat.v1.", second[] = "_v2";
    if (strncmp(name, v1, sizeof v1 - 1) == 0) return tf_symbol_find(name + sizeof v1 - 1);
    size_t length = strlen(name), stem = length - (sizeof second - 1);
    for (size_t i = 0; length > sizeof second && strcmp(name + stem, second) == 0 && i < countof(symbols); i++) {
        if (strlen(symbols[i].name) == stem && strncmp(symbols[i].name, name, stem) == 0) return &symbols[i];
    }
    return NULL;
}

/* ---- the layer -------------------------------------------------------------------------------------- */

static bool read_lambda(fe *f, fe_layer *layer, fe_config *c)
{
    const json_at at = fe_key(c, "function");
    const char *name;
    if (!fe_config_text_or(c, "function", NULL, &name) || !fe_config_done(c)) return false;
    if (!name) return fe_error(f, &at, "expected the name of a function of TensorFlow, found nothing");
    const tf_symbol *s = tf_symbol_find(name);
    if (s && fe_op_find(s->op) && fe_op_refusal(fe_op_find(s->op)))
        return fe_error(f, &at, "tf.%s is not supported: %s", name, fe_op_refusal(fe_op_find(s->op)));
    if (!s) {
        const char *known[countof(symbols)];
        for (size_t i = 0; i < countof(symbols); i++) known[i] = symbols[i].name;
        const char *near = fe_nearest(name, countof(known), known);
        return fe_error(f, &at, "tf.%s is not supported%s%s", name,
                        near ? "; the nearest function that is: tf." : "", near ? near : "");
    }
    layer->state = arena_copy(f->arena, &s, sizeof s);
    return true;
}

static bool call_lambda(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const tf_symbol *s = *(const tf_symbol **)layer->state;
    fe_args renamed = {.arg = {.kind = FE_LIST}, .kwarg = {.kind = FE_DICT}};
    return tf_args_rename(l, s, args, &renamed) && s->build(l, s, &renamed, out);
}

static const fe_layer_class classes[] = {
    {.name = "TFOpLambda", .read = read_lambda, .call = call_lambda},
    {.name = "SlicingOpLambda", .read = read_lambda, .call = call_lambda},
    {.name = "ClassMethod", .refusal = "it makes ragged tensors"},
    {.name = "InstanceMethod", .refusal = "it works on ragged or sparse tensors"},
    {.name = "InstanceProperty", .refusal = "it works on ragged or sparse tensors"},
    {.name = "TensorFlowOpLayer", .read = tf_node_read, .call = tf_node_call},
};

const fe_layer_class *fe_keras2_op_class(const char *class_name)
{
    for (size_t i = 0; i < countof(classes); i++) {
        if (strcmp(classes[i].name, class_name) == 0) return &classes[i];
    }
    return NULL;
}

const fe_layer_class *fe_keras2_class_at(size_t i) { return i < countof(classes) ? &classes[i] : NULL; }

bool fe_keras2_is_op(const fe_layer *layer)
{
    return layer->class->call == call_lambda || layer->class->call == tf_node_call;
}

/* ---- arguments -------------------------------------------------------------------------------------- */

enum { MOST_ARGUMENTS = 16, MOST_WORD = 64 };

/* A word of a row: name=key:how. */
typedef struct parameter {
    char name[MOST_WORD], key[MOST_WORD], how[MOST_WORD];
} parameter;

static void copy_part(char *to, const char *from, size_t length)
{
    bug_if(length >= MOST_WORD, "a name in tf_symbols.def is too long: %s", from);
    memcpy(to, from, length);
    to[length] = '\0';
}

/* The word at *at, which moves on; false at the end. */
static bool next_parameter(const char **at, parameter *out)
{
    *at += strspn(*at, " ");
    const char *word = *at;
    size_t length = strcspn(word, " "), name = strcspn(word, " =:"), key = strcspn(word, " :");
    if (length == 0) return false;
    copy_part(out->name, word, name);
    copy_part(out->key, word[name] == '=' ? word + name + 1 : word,
              word[name] == '=' ? key - name - 1 : name);
    copy_part(out->how, word + key + (key < length), length - key - (key < length));
    *at += length;
    return true;
}

/* format has one %s. */
static bool fail(fe_lower *l, const char *format, const char *name)
{
    return fe_layer_error(l->fe, l->layer, format, name);
}

/* Elements of tf.shape in a list of sizes: numbers, or -1 for the batch. */
static bool resolve_sizes(fe_lower *l, const char *name, fe_value *v)
{
    if (v->kind == FE_TENSOR) {
        const ir_type *t = ir_type_of(l->g, v->tensor.value);
        bool fits = t->rank == 1 && !t->dim[0].batch && t->dim[0].count <= IR_MAX_RANK;
        if (!fits) return fail(l, "expected a list of sizes as \"%s\"", name);
        fe_value tensor = *v;
        *v = (fe_value){.kind = FE_LIST, .count = (int)t->dim[0].count};
        v->item = arena_array(l->fe->arena, fe_value, (size_t)v->count + 1);
        for (int i = 0; i < v->count; i++) {
            ir_dim dim;
            if (!tf_size_find(l, tensor.tensor.value, i, &dim))
                return fail(l, "expected sizes that are known as \"%s\"", name);
            v->item[i] = fe_value_int(dim.batch ? -1 : dim.count);
        }
        return true;
    }
    if (v->kind != FE_LIST) return true;
    v->item = arena_copy(l->fe->arena, v->item, (size_t)v->count * sizeof *v->item);
    for (int i = 0; i < v->count; i++) {
        ir_dim dim;
        if (v->item[i].kind != FE_TENSOR) continue;
        if (!tf_size_find(l, v->item[i].tensor.value, 0, &dim))
            return fail(l, "expected sizes that are known as \"%s\"", name);
        v->item[i] = fe_value_int(dim.batch ? -1 : dim.count);
    }
    return true;
}

static const char *make_lower(arena *a, const char *word)
{
    char *copy = arena_strdup(a, word);
    for (char *c = copy; *c; c++) *c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
    return copy;
}

static bool is_zero(const fe_value *v)
{
    return v->kind == FE_NULL || ((v->kind == FE_BOOL || v->kind == FE_NUMBER) && v->number == 0);
}

/* "NHWC" and its kin. */
static bool is_last(const fe_value *v)
{
    return v->kind == FE_NULL || (v->kind == FE_TEXT && v->text[0] && v->text[strlen(v->text) - 1] == 'C');
}

static bool is_euclidean(const fe_value *v)
{
    return v->kind == FE_NULL || (v->kind == FE_TEXT && strcmp(v->text, "euclidean") == 0) ||
           (v->kind == FE_NUMBER && v->number == 2);
}

static bool is_ones(const fe_value *v)
{
    if (v->kind == FE_LIST) {
        for (int i = 0; i < v->count; i++) {
            if (!is_ones(&v->item[i])) return false;
        }
        return true;
    }
    return v->kind == FE_NULL || (v->kind == FE_NUMBER && v->number == 1);
}

/* [1, 2, 2, 1] -> [2, 2] */
static void keep_spatial(fe_value *v)
{
    const fe_value *last = v->kind == FE_LIST && v->count > 2 ? &v->item[v->count - 1] : NULL;
    if (!last || v->item[0].number != 1 || last->number != 1) return;
    v->item++;
    v->count -= 2;
}

static bool has(const fe_value *dict, const char *key)
{
    for (int i = 0; i < dict->count; i++) {
        if (strcmp(dict->key[i], key) == 0) return true;
    }
    return false;
}

static void put(fe_value *dict, const char *key, fe_value value)
{
    if (has(dict, key)) return;
    bug_if(dict->count == MOST_ARGUMENTS, "a row of tf_symbols.def has too many parameters");
    dict->key[dict->count] = key;
    dict->item[dict->count++] = value;
}

static bool take(fe_lower *l, const parameter *p, const fe_value *v, fe_value *dict)
{
    fe_value value = *v;
    if (strcmp(p->how, "unused") == 0) return true;
    if (strcmp(p->how, "false") == 0)
        return is_zero(v) || fail(l, "argument \"%s\" is not supported", p->name);
    if (strcmp(p->how, "lower") == 0 && v->kind == FE_TEXT) value.text = make_lower(l->fe->arena, v->text);
    if (strcmp(p->how, "last") == 0) return is_last(v) || fail(l, "only channels last is supported as \"%s\"", p->name);
    if (strcmp(p->how, "euclidean") == 0)
        return is_euclidean(v) || fail(l, "only the euclidean norm is supported as \"%s\"", p->name);
    if (strcmp(p->how, "ones") == 0) return is_ones(v) || fail(l, "only ones are supported as \"%s\"", p->name);
    if (strcmp(p->how, "spatial") == 0) keep_spatial(&value);
    if (strcmp(p->how, "sizes") == 0 && !resolve_sizes(l, p->name, &value)) return false;
    if (value.kind != FE_NULL) put(dict, arena_strdup(l->fe->arena, p->key), value);
    return true;
}

/* "axis=-1 lower=true": what the call leaves open. */
static void put_settings(fe_lower *l, const char *settings, fe_value *dict)
{
    parameter p;
    while (next_parameter(&settings, &p)) {
        fe_value v = {.kind = FE_NUMBER, .number = strtod(p.key, NULL), .integer = strtoll(p.key, NULL, 10)};
        v.is_float = strpbrk(p.key, ".e") != NULL;
        const bool yes = strcmp(p.key, "true") == 0;
        if (yes || strcmp(p.key, "false") == 0) v = fe_value_bool(yes);
        put(dict, arena_strdup(l->fe->arena, p.name), v);
    }
}

static bool check_names(fe_lower *l, const tf_symbol *s, const fe_args *args)
{
    for (int i = 0; i < args->kwarg.count; i++) {
        const char *name = args->kwarg.key[i], *at = s->parameters;
        bool known = strcmp(name, "name") == 0;
        parameter p;
        while (!known && next_parameter(&at, &p)) known = strcmp(p.name, name) == 0;
        if (!known) return fail(l, "unknown argument \"%s\"", name);
    }
    return true;
}

/* Operands have no default. */
static bool is_operand(const char *key)
{
    static const char *const operands[] = {"x", "x1", "x2", "xs", "variable", "indices", "inputs", "images"};
    for (size_t i = 0; i < countof(operands); i++) {
        if (strcmp(operands[i], key) == 0) return true;
    }
    return false;
}

bool tf_args_rename(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_args *out)
{
    fe_value *dict = &out->kwarg;
    dict->key = arena_array(l->fe->arena, const char *, MOST_ARGUMENTS);
    dict->item = arena_array(l->fe->arena, fe_value, MOST_ARGUMENTS);
    const char *at = s->parameters;
    parameter p;
    if (!check_names(l, s, args)) return false;
    for (int i = 0; next_parameter(&at, &p); i++) {
        const fe_value *v = fe_args_find(args, i, p.name);
        if (v && !take(l, &p, v, dict)) return false;
    }
    at = s->parameters;
    while (next_parameter(&at, &p)) {
        if (is_operand(p.key) && !has(dict, p.key))
            return fail(l, "expected an argument \"%s\", found none", p.name);
    }
    if (s->build != tf_build_formula) put_settings(l, s->settings, dict);
    return true;
}
