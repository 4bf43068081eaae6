/* model.c: Functional and Sequential as layers: reading their layers, and calling them. Linking the calls of
 * a Functional is in node.c. */
#include "frontend/keras2.h"
#include "frontend/layers.h"

#include <string.h>

/* ---- InputLayer -----------------------------------------------------------------------------------------
 */

static bool read_shape(fe *f, const cJSON *j, const json_at *at, ir_type *type)
{
    int rank = cJSON_GetArraySize(j), i = 0;
    if (!cJSON_IsArray(j) || rank < 1 || rank > IR_MAX_RANK) {
        return fe_error(f, at, "expected a list of 1 to %d sizes, the batch first, found %s", IR_MAX_RANK,
                        fe_json_show(f, j));
    }
    type->rank = rank;
    for (const cJSON *item = j->child; item; item = item->next, i++) {
        const json_at item_at = {.up = at, .index = i};
        int64_t size = -1;
        if (!cJSON_IsNull(item) && (!fe_json_int(item, &size) || size < 1 || size > INT32_MAX)) {
            return fe_error(f, &item_at, "expected null or a size of 1 to 2^31 - 1, found %s",
                            fe_json_show(f, item));
        }
        type->dim[i] = ir_fixed(i == 0 ? -1 : size);
    }
    return true;
}

bool fe_read_input_layer(fe *f, fe_layer *layer, fe_config *config)
{
    fe_input *input = arena_new(f->arena, fe_input);
    input->port = -1;
    layer->state = input;
    const char *dtype;
    bool sparse = false, ragged = false, ok = true;
    const cJSON *shape = fe_config_item(config, "batch_shape");
    const json_at shape_at = fe_key(config, "batch_shape"), dtype_at = fe_key(config, "dtype");
    ok = fe_config_text_or(config, "dtype", "float32", &dtype) && ok;
    if (ok && (!ir_dtype_find_keras(dtype, &input->type.dtype) || input->type.dtype == DTYPE_row)) {
        ok = fe_error(f, &dtype_at, "expected a dtype, found \"%s\"", dtype);
    }
    ok = read_shape(f, shape, &shape_at, &input->type) && ok;
    ok = fe_config_bool_or(config, "sparse", false, &sparse) &&
         fe_config_bool_or(config, "ragged", false, &ragged) && ok;
    input->sparse = sparse;
    input->ragged = ragged;
    if (ok && sparse && ragged) ok = fe_error(f, &config->at, "expected an input that is sparse or ragged, not both");
    if (ok && ragged && (input->type.rank < 2 || input->type.dim[1].count >= 0))
        ok = fe_error(f, &config->at, "expected a ragged input to have an open size behind the batch: shape=(None, ...)");
    for (int i = 2; ok && ragged && i < input->type.rank; i++) {
        if (input->type.dim[i].count < 0)
            ok = fe_error(f, &config->at, "ragged inputs with more than one open size are not supported");
    }
    if (ok && sparse && (input->type.rank != 2 || input->type.dtype != DTYPE_f32))
        ok = fe_error(f, &config->at, "expected sparse inputs to be matrices of float32");
    fe_config_ignore(config, "optional input_tensor");
    return fe_config_done(config) && ok;
}

bool fe_call_input_layer(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    (void)args, (void)out;
    return fe_layer_error(l->fe, layer, "an InputLayer stands for an input and cannot be called");
}

fe_input *fe_layer_input(const fe_layer *layer)
{
    return layer->class->call == fe_call_input_layer ? layer->state : NULL;
}

/* ---- reading ----------------------------------------------------------------------------------------------
 */

static fe_model *begin_model(fe *f, fe_layer *layer)
{
    fe_model *m = arena_new(f->arena, fe_model);
    m->class_name = layer->class->name;
    m->name = layer->name;
    m->trainable = layer->trainable;
    layer->model = m;
    if (!f->model) f->model = m;
    return m;
}

/* Layers that could not be read are NULL, so that calls can still be linked and their problems found. */
static bool read_layers(fe *f, fe_model *m, const fe_layer *owner, const cJSON *layers, const json_at *at)
{
    fe_names names = {.fe = f, .used = {.arena = f->arena}};
    bool ok = true;
    int i = 0;
    if (!cJSON_IsArray(layers))
        return fe_error(f, at, "expected a list of layers, found %s", fe_json_show(f, layers));
    const char *prefix = owner->h5[0] ? arena_printf(f->arena, "%s/", owner->h5) : "";
    for (const cJSON *j = layers->child; j; j = j->next, i++) {
        const json_at layer_at = {.up = at, .index = i};
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(j, "class_name");
        const char *h5 = "";
        if (cJSON_IsString(name) && !fe_is_op_object(j)) {
            h5 = arena_printf(f->arena, "%slayers/%s", prefix, fe_names_next(&names, name->valuestring));
        }
        fe_layer *layer = fe_layer_read(f, j, &layer_at, NULL, h5);
        arena_push(f->arena, m->layer, m->layer_count, m->layer_capacity, layer);
        ok = ok && layer;
    }
    return ok;
}

bool fe_read_functional(fe *f, fe_layer *layer, fe_config *config)
{
    fe_model *m = begin_model(f, layer);
    const cJSON *layers = fe_config_item(config, "layers");
    const json_at at = fe_key(config, "layers");
    bool ok = read_layers(f, m, layer, layers, &at);
    if (cJSON_IsArray(layers)) ok = fe_model_link(f, m, layers, config) && ok;
    fe_config_ignore(config, "layers input_layers output_layers");
    return fe_config_done(config) && ok;
}

/* What a Sequential without InputLayer takes: known when it was built, or from Keras 2's first layer. */
static bool make_input(fe *f, fe_layer *owner, fe_config *config, fe_layer **out)
{
    const cJSON *shape = fe_config_item(config, "build_input_shape");
    json_at at = fe_key(config, "build_input_shape");
    const json_at build_at = {.up = owner->at, .key = "build_config"};
    const json_at layers_at = {.up = &config->at, .key = "layers"}, first_at = {.up = &layers_at};
    const cJSON *first = f->keras2 ? fe_keras2_first_shape(config->object) : NULL;
    if (first) {
        shape = first;
        at = first_at;
    } else if (!shape) {
        shape = cJSON_GetObjectItemCaseSensitive(owner->build_config, "input_shape");
        at = (json_at){.up = &build_at, .key = "input_shape"};
    }
    fe_layer *layer = fe_layer_make(f, "InputLayer", owner, "input_layer", "input_layer");
    fe_input *input = arena_new(f->arena, fe_input);
    *input = (fe_input){.any = !shape || cJSON_IsNull(shape), .port = -1, .type.dtype = DTYPE_f32};
    layer->state = input;
    *out = layer;
    return input->any || read_shape(f, shape, &at, &input->type);
}

static void link_chain(fe *f, fe_model *m)
{
    m->call = arena_array(f->arena, fe_node, m->layer_count);
    m->call_count = m->layer_count;
    m->order = arena_array(f->arena, int, m->layer_count);
    m->depth = arena_array(f->arena, int, m->layer_count);
    for (size_t i = 0; i < m->layer_count; i++) {
        m->depth[i] = (int)(m->layer_count - 1 - i);
        fe_node *node = &m->call[i];
        *node = (fe_node){.layer = m->layer[i], .json_path = m->layer[i]->json_path};
        node->args.arg.kind = FE_LIST;
        node->args.kwarg.kind = FE_DICT;
        if (i == 0) continue;
        node->args.arg.item = arena_new(f->arena, fe_value);
        node->args.arg.item[0] = (fe_value){.kind = FE_NODE, .node = (int)i - 1, .output = -1};
        node->args.arg.count = 1;
        m->order[m->order_count++] = (int)i;
    }
    m->output_struct = (fe_value){.kind = FE_NODE, .node = (int)m->call_count - 1, .output = -1};
}

bool fe_read_sequential(fe *f, fe_layer *layer, fe_config *config)
{
    fe_model *m = begin_model(f, layer);
    const json_at at = fe_key(config, "layers");
    bool ok = read_layers(f, m, layer, fe_config_item(config, "layers"), &at);
    fe_config_ignore(config, "build_input_shape");
    ok = fe_config_done(config) && ok;
    if (!ok) return false;
    if (m->layer_count == 0) return fe_error(f, &at, "expected at least one layer, found none");
    if (!fe_layer_input(m->layer[0])) {
        fe_layer *input;
        if (!make_input(f, layer, config, &input)) return false;
        arena_push(f->arena, m->layer, m->layer_count, m->layer_capacity, input);
        memmove(m->layer + 1, m->layer, (m->layer_count - 1) * sizeof *m->layer);
        m->layer[0] = input;
    }
    m->input = arena_new(f->arena, fe_layer *);
    m->input[0] = m->layer[0];
    m->input_count = 1;
    link_chain(f, m);
    fe_model_name_outputs(f, m);
    return true;
}

/* ---- calling
 * ------------------------------------------------------------------------------------------------ */

static bool substitute(fe_lower *l, const fe_model *m, const fe_value *result, const fe_value *from,
                       fe_value *to);

static bool substitute_node(fe_lower *l, const fe_model *m, const fe_value *result, const fe_value *from,
                            fe_value *to)
{
    const fe_value *made = &result[from->node];
    if (from->output < 0) {
        *to = *made;
        return true;
    }
    int count = fe_value_tensors(made, 0, NULL);
    if (from->output >= count) {
        return fe_layer_error(l->fe, m->call[from->node].layer,
                              "a later layer asks for its tensor %d, but it has %d", from->output, count);
    }
    fe_tensor *tensor = arena_array(l->fe->arena, fe_tensor, (size_t)count);
    fe_value_tensors(made, count, tensor);
    *to = (fe_value){.kind = FE_TENSOR, .tensor = tensor[from->output]};
    return true;
}

static bool substitute(fe_lower *l, const fe_model *m, const fe_value *result, const fe_value *from,
                       fe_value *to)
{
    if (from->kind == FE_NODE) return substitute_node(l, m, result, from, to);
    *to = *from;
    if (from->kind == FE_CONSTANT) {
        *to = fe_value_tensor(ir_build_constant(l->g, *from->type, from->bytes), IR_NONE);
    }
    if (from->count == 0) return true;
    to->item = arena_array(l->fe->arena, fe_value, (size_t)from->count);
    for (int i = 0; i < from->count; i++) {
        if (!substitute(l, m, result, &from->item[i], &to->item[i])) return false;
    }
    return true;
}

/* As Functional takes its inputs: the InputLayer's dtype, and a last dim of 1 more or less is no matter. */
static bool adapt_input(fe_lower *l, const fe_layer *layer, fe_tensor in, fe_value *out)
{
    const fe_input *input = layer->state;
    if (input->any || (input->ragged && ir_type_of(l->g, in.value)->dim[0].batch >= UNIT_values)) {
        *out = (fe_value){.kind = FE_TENSOR, .tensor = in};
        return true;
    }
    ir_value x = ir_build_convert(l->g, in.value, input->type.dtype);
    ir_type t = *ir_type_of(l->g, x);
    int rank = input->type.rank;
    if (t.rank == rank + 1 && ir_dim_equal(t.dim[rank], ir_fixed(1))) {
        x = ir_build_reshape(l->g, x, rank, t.dim);
    } else if (t.rank == rank - 1 && input->type.dim[rank - 1].count == 1) {
        t.dim[rank - 1] = ir_fixed(1);
        x = ir_build_reshape(l->g, x, rank, t.dim);
    }
    t = *ir_type_of(l->g, x);
    bool fits = t.rank == rank;
    for (int i = 1; fits && i < rank; i++) {
        int64_t expected = input->type.dim[i].count;
        fits = expected < 0 || ir_dim_equal(t.dim[i], ir_fixed(expected));
    }
    if (!fits) {
        ir_type expected = input->type;
        for (int i = 0; i < expected.rank; i++) {
            if (expected.dim[i].count < 0)
                expected.dim[i] = i == 0 ? ir_batch(1) : t.rank > i ? t.dim[i] : ir_fixed(1);
        }
        return fe_layer_error(l->fe, layer, "expected %s, found %s", fe_shape_show(l->fe, &expected),
                              fe_shape_show(l->fe, ir_type_of(l->g, in.value)));
    }
    *out = fe_value_tensor(x, in.mask);
    return true;
}

bool fe_model_call(fe_lower *l, fe_model *m, size_t input_count, const fe_tensor *in, fe_value *out)
{
    bug_if(input_count != m->input_count, "model called with a wrong number of inputs");
    fe_value *result = arena_array(l->fe->arena, fe_value, m->call_count + 1);
    for (size_t i = 0; i < m->call_count; i++) {
        for (size_t k = 0; k < m->input_count; k++) {
            if (m->call[i].layer == m->input[k] && !adapt_input(l, m->input[k], in[k], &result[i]))
                return false;
        }
    }
    for (size_t i = 0; i < m->order_count; i++) {
        const fe_node *node = &m->call[m->order[i]];
        fe_args args;
        if (!substitute(l, m, result, &node->args.arg, &args.arg)) return false;
        if (!substitute(l, m, result, &node->args.kwarg, &args.kwarg)) return false;
        if (!fe_call(l, node->layer, &args, &result[m->order[i]])) return false;
    }
    return substitute(l, m, result, &m->output_struct, out);
}

/* A dict given for a list of inputs is taken by name. */
static int find_input(const fe_value *v, const char *name)
{
    for (int i = 0; i < v->count; i++) {
        if (strcmp(v->key[i], name) == 0) return i;
    }
    return -1;
}

bool fe_call_functional(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    fe_model *m = layer->model;
    const fe_value *v = fe_args_find(args, 0, "inputs");
    fe_tensor *in = arena_array(l->fe->arena, fe_tensor, m->input_count + 1);
    int count = v ? fe_value_tensors(v, (int)m->input_count, in) : 0;
    if (count != (int)m->input_count) {
        return fe_layer_error(l->fe, layer, "expected %zu inputs, found %d", m->input_count, count);
    }
    if (v->kind == FE_DICT && m->input_struct_kind != FE_DICT) {
        for (size_t i = 0; i < m->input_count; i++) {
            int k = find_input(v, m->input[i]->name);
            if (k < 0 || v->item[k].kind != FE_TENSOR) {
                return fe_layer_error(l->fe, layer, "expected an input named \"%s\"", m->input[i]->name);
            }
            in[i] = v->item[k].tensor;
        }
    }
    return fe_model_call(l, m, m->input_count, in, out);
}

bool fe_call_sequential(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return fe_call_functional(l, layer, args, out);
}
