/* ragged.c: which layers take rows of different lengths, and how; see ragged.h. */
#include "frontend/ragged.h"

#include "frontend/keras2.h"
#include "frontend/layers.h"
#include "frontend/ops.h"

#include <string.h>

static uint8_t unit_of(const fe_lower *l, ir_value v)
{
    const ir_type *t = ir_type_of(l->g, v);
    return t->rank > 0 && t->dim[0].batch >= UNIT_values ? t->dim[0].batch : 0;
}

bool fe_ragged_is(const fe_lower *l, ir_value v) { return !l->values_are_rows && unit_of(l, v); }

bool fe_ragged_any(fe_lower *l, const fe_args *args)
{
    if (l->fe->module->ragged_count == 0 || l->values_are_rows) return false;
    const fe_value *const from[] = {&args->arg, &args->kwarg};
    for (size_t k = 0; k < countof(from); k++) {
        const int count = fe_value_tensors(from[k], 0, NULL);
        fe_tensor *in = arena_array(l->fe->arena, fe_tensor, (size_t)count + 1);
        fe_value_tensors(from[k], count, in);
        for (int i = 0; i < count; i++) {
            if (unit_of(l, in[i].value)) return true;
        }
    }
    return false;
}

/* ---- building ------------------------------------------------------------------------------------ */

ir_value fe_ragged_part(fe_lower *l, ir_value x, ir_ragged_part part)
{
    ir_module *m = l->fe->module;
    const uint8_t unit = unit_of(l, x);
    const int ragged = 1 + unit - UNIT_values;
    bug_if(!unit, "parts of rows that are not ragged");
    int port = -1, values = -1;
    for (size_t i = 0; i < m->port_count; i++) {
        if (m->port[i].ragged != ragged) continue;
        if (m->port[i].part == part) port = (int)i;
        if (m->port[i].part == RAGGED_values) values = (int)i;
    }
    if (port < 0) {
        const ir_dim dim = {1, part >= RAGGED_pack ? unit : UNIT_rows};
        const ir_port made = {.name = m->port[values].name, .kind = PORT_made, .type = ir_type_make(DTYPE_i64, 1, &dim),
                              .ragged = ragged, .part = part};
        port = ir_module_add_port(m, made);
    }
    return ir_build_parameter(l->g, port);
}

static ir_value build(fe_lower *l, ir_op op, ir_value x, ir_value ends, ir_dim first)
{
    ir_type type = fe_type(l, x);
    const ir_value in[] = {x, ends};
    type.dim[0] = first;
    return ir_build(l->g, op, 2, in, 0, NULL, &type);
}

/* Sums and maxima are taken in 32 bits at least. */
static ir_dtype wide(ir_dtype t) { return t == DTYPE_f64 ? t : DTYPE_f32; }

ir_value fe_ragged_reduce(fe_lower *l, const char *kind, ir_value x)
{
    const ir_dtype dtype = fe_type(l, x).dtype;
    const ir_value ends = fe_ragged_part(l, x, RAGGED_ends);
    const ir_op op = strcmp(kind, "maximum") == 0 ? OP_ragged_max : OP_ragged_sum;
    x = ir_build_convert(l->g, x, wide(dtype));
    ir_value y = build(l, op, x, ends, ir_batch(1));
    if (strcmp(kind, "mean") == 0) {
        const ir_type one = ir_type_make(wide(dtype), 1, fe_type(l, x).dim), t = fe_type(l, y);
        const ir_value counts = build(l, OP_ragged_sum, ir_build_fill(l->g, one, 1), ends, ir_batch(1));
        const int64_t rows = 0;
        y = ir_build_binary(l->g, OP_divide, y, ir_build_broadcast_in_dim(l->g, counts, &t, &rows));
    }
    return ir_build_convert(l->g, y, dtype);
}

ir_value fe_ragged_spread(fe_lower *l, ir_value rows, ir_value like)
{
    const ir_dtype dtype = fe_type(l, rows).dtype;
    if (ir_dtype_is_float(dtype)) rows = ir_build_convert(l->g, rows, wide(dtype));
    const ir_value ends = fe_ragged_part(l, like, RAGGED_ends);
    return ir_build_convert(l->g, build(l, OP_ragged_spread, rows, ends, fe_type(l, like).dim[0]), dtype);
}

ir_value fe_ragged_permute(fe_lower *l, ir_value x, ir_value index, ir_value inverse)
{
    const ir_value in[] = {x, index, inverse};
    return ir_build(l->g, OP_ragged_permute, 3, in, 0, NULL, NULL);
}

/* ---- one step a value ------------------------------------------------------------------------------ */

static ir_value insert_step(fe_lower *l, ir_value x)
{
    const ir_type t = fe_type(l, x);
    ir_dim dim[IR_MAX_RANK] = {t.dim[0], ir_fixed(1)};
    for (int i = 1; i < t.rank; i++) dim[i + 1] = t.dim[i];
    return ir_build_reshape(l->g, x, t.rank + 1, dim);
}

static ir_value drop_step(fe_lower *l, ir_value x)
{
    const ir_type t = fe_type(l, x);
    ir_dim dim[IR_MAX_RANK] = {t.dim[0]};
    for (int i = 2; i < t.rank; i++) dim[i - 1] = t.dim[i];
    return ir_build_reshape(l->g, x, t.rank - 1, dim);
}

/* The number of the ragged input that this one's rows are known to be those of, or its own. */
static int first_like(const ir_module *m, int ragged)
{
    for (size_t i = 0; i < m->port_count; i++) {
        const ir_port *p = &m->port[i];
        if (p->ragged == ragged && p->part == RAGGED_values && p->like) return first_like(m, p->like);
    }
    return ragged;
}

/* Values of another ragged input as values of this one: from then on both must be given the same row splits. */
static ir_value take_unit(fe_lower *l, ir_value x, uint8_t unit)
{
    ir_module *m = l->fe->module;
    ir_type t = fe_type(l, x);
    if (t.dim[0].batch == unit) return x;
    const int a = first_like(m, 1 + t.dim[0].batch - UNIT_values), b = first_like(m, 1 + unit - UNIT_values);
    for (size_t i = 0; i < m->port_count && a != b; i++) {
        ir_port *p = &m->port[i];
        if (p->ragged == base_max(a, b) && p->part == RAGGED_values) p->like = base_min(a, b);
    }
    t.dim[0].batch = unit;
    return ir_build_reshape(l->g, x, t.rank, t.dim);
}

/* Values get a step dim; rows that are the same for all steps, [N,1,...], are spread over the values of `like`. */
static bool expand_value(fe_lower *l, fe_layer *layer, ir_value like, const fe_value *v, fe_value *out)
{
    *out = *v;
    if (v->count > 0) out->item = arena_array(l->fe->arena, fe_value, (size_t)v->count);
    for (int i = 0; i < v->count; i++) {
        if (!expand_value(l, layer, like, &v->item[i], &out->item[i])) return false;
    }
    if (v->kind != FE_TENSOR) return true;
    const ir_type t = fe_type(l, v->tensor.value);
    if (v->tensor.mask != IR_NONE && unit_of(l, v->tensor.mask)) out->tensor.mask = insert_step(l, v->tensor.mask);
    if (unit_of(l, v->tensor.value)) {
        if (t.rank == IR_MAX_RANK) return fe_refuse(l, layer, "so many dims of ragged rows");
        out->tensor.value = insert_step(l, take_unit(l, v->tensor.value, unit_of(l, like)));
    } else if (t.rank > 0 && t.dim[0].batch) {
        if (t.rank < 2 || !ir_dim_equal(t.dim[1], ir_fixed(1)))
            return fe_layer_error(l->fe, layer, "expected all inputs to be ragged, or rows [N,1,...], found %s",
                                  fe_shape_show(l->fe, &t));
        out->tensor.value = insert_step(l, fe_ragged_spread(l, drop_step(l, v->tensor.value), like));
    }
    return true;
}

static void collapse_value(fe_lower *l, fe_value *v)
{
    for (int i = 0; i < v->count; i++) collapse_value(l, &v->item[i]);
    if (v->kind != FE_TENSOR || !unit_of(l, v->tensor.value)) return;
    v->tensor.value = drop_step(l, v->tensor.value);
    if (v->tensor.mask != IR_NONE && unit_of(l, v->tensor.mask)) v->tensor.mask = drop_step(l, v->tensor.mask);
}

static ir_value find_ragged(fe_lower *l, const fe_value *v)
{
    if (v->kind == FE_TENSOR) return unit_of(l, v->tensor.value) ? v->tensor.value : IR_NONE;
    for (int i = 0; i < v->count; i++) {
        const ir_value found = find_ragged(l, &v->item[i]);
        if (found != IR_NONE) return found;
    }
    return IR_NONE;
}

static bool call_by_value(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    fe_args expanded;
    ir_value like = find_ragged(l, &args->arg);
    if (like == IR_NONE) like = find_ragged(l, &args->kwarg);
    if (!expand_value(l, layer, like, &args->arg, &expanded.arg) ||
        !expand_value(l, layer, like, &args->kwarg, &expanded.kwarg))
        return false;
    if (!layer->class->call(l, layer, &expanded, out)) return false;
    collapse_value(l, out);
    return true;
}

/* ---- layers ------------------------------------------------------------------------------------------ */

static bool get_values(fe_lower *l, fe_layer *layer, const fe_args *args, int rank, fe_tensor *out)
{
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK, out)) return false;
    const ir_type t = fe_type(l, out->value);
    return rank < 0 || t.rank == rank ||
           fe_layer_error(l->fe, layer, "expected ragged rows of values of rank %d, found %s", rank - 1,
                          fe_shape_show(l->fe, &t));
}

/* The mean of the values that are not hidden, no number where all are. */
static ir_value build_masked_mean(fe_lower *l, fe_tensor x)
{
    const ir_type t = fe_type(l, x.value);
    const int64_t first = 0;
    const ir_value flags = ir_build_convert(l->g, x.mask, t.dtype);
    const ir_value wide = ir_build_broadcast_in_dim(l->g, flags, &t, &first);
    const ir_value sum = fe_ragged_reduce(l, "add", ir_build_binary(l->g, OP_multiply, x.value, wide));
    const ir_type rows = fe_type(l, sum);
    const ir_value count = ir_build_broadcast_in_dim(l->g, fe_ragged_reduce(l, "add", flags), &rows, &first);
    return ir_build_binary(l->g, OP_divide, sum, count);
}

static bool call_pool(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const fe_pool *s = layer->state;
    fe_tensor x;
    if (!get_values(l, layer, args, 2, &x)) return false;
    if (s->channels_first) return fe_refuse(l, layer, "ragged rows with the channels first");
    const bool is_masked = x.mask != IR_NONE && !s->maximum; /* Keras's maximum does not look at it */
    const ir_value y = is_masked ? build_masked_mean(l, x) : fe_ragged_reduce(l, s->maximum ? "maximum" : "mean", x.value);
    return fe_finish(l, s->keep_dims ? insert_step(l, y) : y, IR_NONE, out);
}

bool fe_ragged_call_inner(fe_lower *l, fe_layer *inner, ir_value x, fe_value *out)
{
    fe_value item = fe_value_tensor(x, IR_NONE);
    const fe_args args = {.arg = {.kind = FE_LIST, .count = 1, .item = &item}, .kwarg = {.kind = FE_DICT}};
    const bool outer = l->values_are_rows;
    l->values_are_rows = true;
    const bool ok = fe_call(l, inner, &args, out);
    l->values_are_rows = outer;
    return ok;
}

static bool call_time_distributed(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    fe_tensor x;
    return get_values(l, layer, args, -1, &x) && fe_ragged_call_inner(l, layer->child[0], x.value, out);
}

/* Over each row's values: as TensorFlow, with the largest taken off first. */
static ir_value build_softmax(fe_lower *l, ir_value x)
{
    const ir_value most = ir_build_unary(l->g, OP_stop_gradient, fe_ragged_reduce(l, "maximum", x));
    const ir_value shifted = ir_build_binary(l->g, OP_subtract, x, fe_ragged_spread(l, most, x));
    const ir_value power = ir_build_unary(l->g, OP_exponential, shifted);
    return ir_build_binary(l->g, OP_divide, power, fe_ragged_spread(l, fe_ragged_reduce(l, "add", power), x));
}

/* Field "axis" (else `otherwise`) names the dim of the steps. */
static bool has_step_axis(const fe_layer *layer, int rank, int otherwise)
{
    const cJSON *axis = cJSON_GetObjectItemCaseSensitive(layer->config, "axis");
    int64_t at = otherwise;
    if (cJSON_IsNumber(axis)) {
        if (!fe_json_int(axis, &at)) return true;
    } else if (cJSON_IsArray(axis)) {
        for (const cJSON *item = axis->child; item; item = item->next) {
            if (!fe_json_int(item, &at) || at == 1 || at == 1 - rank) return true;
        }
    }
    return at == 1 || at == 1 - rank;
}

static bool call_softmax(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    fe_tensor x;
    if (!get_values(l, layer, args, -1, &x)) return false;
    if (!has_step_axis(layer, fe_type(l, x.value).rank + 1, -1)) return call_by_value(l, layer, args, out);
    if (cJSON_IsArray(cJSON_GetObjectItemCaseSensitive(layer->config, "axis")))
        return fe_refuse(l, layer, "softmax over several axes of ragged rows");
    return fe_finish(l, build_softmax(l, x.value), IR_NONE, out);
}

static bool call_activation(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    fe_tensor x;
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(layer->config, "activation");
    if (!get_values(l, layer, args, -1, &x)) return false;
    if (fe_type(l, x.value).rank > 1 || !cJSON_IsString(name) || !strstr(name->valuestring, "softmax"))
        return call_by_value(l, layer, args, out);
    if (strcmp(name->valuestring, "softmax") == 0) return fe_finish(l, build_softmax(l, x.value), IR_NONE, out);
    return fe_layer_error(l->fe, layer, "activation \"%s\" over ragged rows is not supported", name->valuestring);
}

/* Layers with an axis that must not be the steps'. */
static bool call_along_values(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const ir_value x = find_ragged(l, &args->arg);
    if (x == IR_NONE || has_step_axis(layer, fe_type(l, x).rank + 1, -1))
        return fe_refuse(l, layer, "an axis over ragged rows");
    return call_by_value(l, layer, args, out);
}

static bool call_with_features(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const ir_value x = find_ragged(l, &args->arg);
    if (x != IR_NONE && fe_type(l, x).rank < 2)
        return fe_layer_error(l->fe, layer, "expected ragged rows whose last dim is a fixed size, found numbers");
    return call_by_value(l, layer, args, out);
}

static bool call_as_is(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return layer->class->call(l, layer, args, out);
}

/* Numbers stay ragged; encodings of a row's numbers are the sums of those of its values. */
static bool call_encoding(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const cJSON *mode = cJSON_GetObjectItemCaseSensitive(layer->config, "output_mode");
    const bool is_category = strcmp(layer->class->name, "CategoryEncoding") == 0;
    const char *name = cJSON_IsString(mode) ? mode->valuestring : is_category ? "multi_hot" : "int";
    const bool flags = strcmp(name, "multi_hot") == 0 || strcmp(name, "binary") == 0;
    fe_args expanded;
    fe_tensor x;
    if (strcmp(name, "int") == 0) return call_by_value(l, layer, args, out);
    if (!get_values(l, layer, args, 1, &x)) return false;
    if (strcmp(name, "one_hot") == 0) return fe_refuse(l, layer, "output_mode \"one_hot\" with ragged rows");
    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(layer->config, "sparse")))
        return fe_refuse(l, layer, "a sparse result of ragged rows");
    if (fe_args_find(args, 1, "count_weights")) return fe_refuse(l, layer, "weights of ragged rows");
    expanded.kwarg = args->kwarg;
    if (!expand_value(l, layer, x.value, &args->arg, &expanded.arg)) return false;
    if (!layer->class->call(l, layer, &expanded, out)) return false;
    ir_value y = fe_ragged_reduce(l, "add", out->tensor.value);
    const ir_dtype dtype = fe_type(l, y).dtype;
    if (flags) y = ir_build_binary(l->g, OP_minimum, y, ir_build_scalar(l->g, dtype, 1));
    return fe_finish(l, y, IR_NONE, out);
}

/* A noise shape says which elements share a draw; the steps' are always drawn apart here. */
static bool call_dropout(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(layer->config, "noise_shape");
    if (shape && !cJSON_IsNull(shape)) return fe_refuse(l, layer, "noise_shape with ragged rows");
    return call_by_value(l, layer, args, out);
}

static const struct layer_rule {
    const char *name;
    bool (*call)(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out);
} layer_rules[] = {
    {"Functional", call_as_is},
    {"Model", call_as_is},
    {"Sequential", call_as_is},
    {"LSTM", call_as_is},
    {"GRU", call_as_is},
    {"SimpleRNN", call_as_is},
    {"RNN", call_as_is},
    {"Bidirectional", call_as_is},
    {"TimeDistributed", call_time_distributed},
    {"GlobalAveragePooling1D", call_pool},
    {"GlobalMaxPooling1D", call_pool},
    {"Embedding", call_by_value},
    {"StringLookup", call_encoding},
    {"IntegerLookup", call_encoding},
    {"Hashing", call_encoding},
    {"Discretization", call_encoding},
    {"CategoryEncoding", call_encoding},
    {"Dense", call_with_features},
    {"EinsumDense", call_with_features},
    {"Identity", call_by_value},
    {"Activation", call_activation},
    {"Softmax", call_softmax},
    {"ReLU", call_by_value},
    {"LeakyReLU", call_by_value},
    {"ELU", call_by_value},
    {"ThresholdedReLU", call_by_value},
    {"Dropout", call_dropout},
    {"GaussianDropout", call_by_value},
    {"GaussianNoise", call_by_value},
    {"AlphaDropout", call_dropout},
    {"Rescaling", call_by_value},
    {"LayerNormalization", call_along_values},
    {"RMSNormalization", call_along_values},
    {"UnitNormalization", call_along_values},
    {"Add", call_by_value},
    {"Subtract", call_by_value},
    {"Multiply", call_by_value},
    {"Average", call_by_value},
    {"Maximum", call_by_value},
    {"Minimum", call_by_value},
    {"Concatenate", call_along_values},
};

/* Layers whose values may have a mask: they hand it on, or use it. */
static const char *const masked_layers[] = {
    "Functional", "Model", "Sequential", "GlobalAveragePooling1D", "GlobalMaxPooling1D", "Dense", "Identity", "ReLU",
    "LeakyReLU", "ELU", "Dropout", "GaussianDropout", "GaussianNoise", "AlphaDropout", "LayerNormalization",
};

static bool takes_mask(const char *name)
{
    for (size_t i = 0; i < countof(masked_layers); i++) {
        if (strcmp(masked_layers[i], name) == 0) return true;
    }
    return false;
}

static bool has_mask(fe_lower *l, const fe_value *v)
{
    if (v->kind == FE_TENSOR) return v->tensor.mask != IR_NONE && unit_of(l, v->tensor.mask);
    for (int i = 0; i < v->count; i++) {
        if (has_mask(l, &v->item[i])) return true;
    }
    return false;
}

static bool refuse_mask(fe_lower *l, fe_layer *layer)
{
    return fe_layer_error(l->fe, layer, "%s does not take a mask of ragged rows: leave mask_zero out; rows of different lengths have no "
                          "padding to be hidden", layer->class->name);
}

/* Keras 2's sums of squares do not take ragged tensors. */
static bool check_activity(fe_lower *l, fe_layer *layer)
{
    const ir_record *r = layer->activity_regularizer;
    const bool is_l1 = r && strncmp(r->name, "l1", 2) == 0 && ir_record_number(r, "l2", 0) == 0;
    return !r || is_l1 || fe_refuse(l, layer, "an activity regularizer other than L1 with ragged rows");
}

bool fe_ragged_call(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const bool masked = has_mask(l, &args->arg) || has_mask(l, &args->kwarg);
    if (!check_activity(l, layer)) return false;
    if (fe_layer_op(layer) || fe_keras2_is_op(layer))
        return masked ? refuse_mask(l, layer) : call_by_value(l, layer, args, out);
    for (size_t i = 0; i < countof(layer_rules); i++) {
        if (strcmp(layer_rules[i].name, layer->class->name) != 0) continue;
        return masked && !takes_mask(layer->class->name) ? refuse_mask(l, layer) : layer_rules[i].call(l, layer, args, out);
    }
    return fe_layer_error(l->fe, layer,
                          "%s does not take ragged rows: pool them first, run a recurrent layer over them, or leave "
                          "ragged=True out and pad the data",
                          layer->class->name);
}

/* ---- operations ------------------------------------------------------------------------------------ */

static const struct op_rule {
    const char *name, *kind; /* kind: a reduction; NULL: element by element */
} op_rules[] = {
    {"Sum", "add"}, {"Mean", "mean"}, {"Max", "maximum"}, {"Add", NULL}, {"Subtract", NULL}, {"Multiply", NULL},
    {"Divide", NULL}, {"TrueDivide", NULL}, {"Maximum", NULL}, {"Minimum", NULL}, {"Power", NULL}, {"Negative", NULL},
    {"Absolute", NULL}, {"Abs", NULL}, {"Exp", NULL}, {"Expm1", NULL}, {"Log", NULL}, {"Log1p", NULL}, {"Sqrt", NULL},
    {"Rsqrt", NULL}, {"Square", NULL}, {"Sign", NULL}, {"Sin", NULL}, {"Cos", NULL}, {"Tanh", NULL}, {"Floor", NULL},
    {"Ceil", NULL}, {"Round", NULL}, {"Reciprocal", NULL}, {"Clip", NULL}, {"Cast", NULL}, {"Relu", NULL},
    {"Relu6", NULL}, {"Sigmoid", NULL}, {"Softplus", NULL}, {"Softsign", NULL}, {"Silu", NULL}, {"Gelu", NULL},
    {"Elu", NULL}, {"Selu", NULL}, {"LeakyRelu", NULL}, {"HardSigmoid", NULL}, {"Erf", NULL}, {"Identity", NULL},
};

static bool build_reduction(op_use *u, const char *kind, fe_value *out)
{
    op_reduction r;
    fe_lower *l = u->l;
    if (!op_find_reduction(u, "x", "axis", &r)) return false;
    bool steps = false, rows = false;
    for (int i = 0; i < r.count; i++) {
        steps = steps || r.axis[i] == 1;
        rows = rows || r.axis[i] == 0;
    }
    if (rows) return op_error(u, "reductions over the batch of ragged rows are not supported");
    if (!steps) return u->op->build(u, out);
    if (r.count > 1) return op_error(u, "expected ragged rows to be reduced over axis 1 alone");
    ir_dtype dtype = fe_type(l, r.x).dtype;
    if (!ir_dtype_is_float(dtype)) return op_error(u, "reductions of ragged integers are not supported: cast them");
    const ir_value y = fe_ragged_reduce(l, kind, drop_step(l, r.x));
    return op_finish(u, r.keep_dims ? insert_step(l, y) : y, out);
}

bool fe_ragged_op(op_use *u, fe_value *out)
{
    for (size_t i = 0; i < countof(op_rules); i++) {
        if (strcmp(op_rules[i].name, fe_op_name(u->op)) != 0) continue;
        return op_rules[i].kind ? build_reduction(u, op_rules[i].kind, out) : u->op->build(u, out);
    }
    return op_error(u, "this operation does not take ragged rows: pool them first, or leave ragged=True out and pad the data");
}
