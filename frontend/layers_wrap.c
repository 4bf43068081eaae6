/* layers_wrap.c: layers around another layer: SpectralNormalization, TimeDistributed. */
#include "frontend/layers.h"
#include "frontend/model.h"

#include <string.h>

typedef struct wrap_state {
    int64_t power_iterations;
} wrap_state;

static bool read_inner(fe *f, fe_layer *layer, fe_config *c)
{
    const json_at at = fe_key(c, "layer");
    const cJSON *object = fe_config_item(c, "layer");
    if (object == NULL) return fe_error(f, &at, "expected a layer, found none");
    fe_layer *inner = fe_layer_read(f, object, &at, NULL, arena_printf(f->arena, "%s/layer", layer->h5));
    if (inner == NULL) return false;
    layer->child = arena_new(f->arena, fe_layer *);
    layer->child[0] = inner;
    layer->child_count = 1;
    return true;
}

/* ---- SpectralNormalization --------------------------------------------------------------- */

bool fe_read_spectral_normalization(fe *f, fe_layer *layer, fe_config *c)
{
    enum { MAX_ITERATIONS = 1000 };
    wrap_state *s = arena_new(f->arena, wrap_state);
    const json_at at = fe_key(c, "power_iterations");
    layer->state = s;
    bool ok = fe_config_int_or(c, "power_iterations", 1, 1, &s->power_iterations);
    if (ok && s->power_iterations > MAX_ITERATIONS) {
        ok = fe_error(f, &at, "expected at most %d, found %lld", MAX_ITERATIONS,
                      (long long)s->power_iterations);
    }
    ok = read_inner(f, layer, c) && ok;
    return fe_config_done(c) && ok;
}

static const char *find_kernel_name(const fe_layer *inner)
{
    if (fe_weight_variable(inner, "kernel") >= 0) return "kernel";
    return fe_weight_variable(inner, "embeddings") >= 0 ? "embeddings" : NULL;
}

/* The left singular vector's estimate, [1, columns]; made after the inner layer's weights. */
static ir_value get_vector(fe_lower *l, fe_layer *layer, int kernel)
{
    const ir_type t = l->fe->module->variable[kernel].type;
    fe_weight_config c = {0};
    ir_record *normal = ir_record_new(l->fe->arena, "truncated_normal");
    ir_record_add_number(l->fe->arena, normal, "mean", 0);
    ir_record_add_number(l->fe->arena, normal, "stddev", 0.02);
    c.initializer = normal;
    const fe_shape shape = {2, {1, t.dim[t.rank - 1].count}};
    const ir_dtype own = layer->variable_dtype;
    layer->variable_dtype = t.dtype; /* the kernel's, which is of the layer inside */
    const ir_value u = fe_layer_weight_kept(l, layer, "vector_u", &c, shape, false);
    layer->variable_dtype = own;
    return u;
}

/* Divides the kernel by its largest singular value, estimated by power iterations, and stores both: the layer
 * inside then reads the new kernel, and the optimizer changes that. */
static bool normalize_kernel(fe_lower *l, fe_layer *layer, int kernel)
{
    const wrap_state *s = layer->state;
    const int64_t both[2] = {0, 1};
    const ir_dot by_columns = {.contracting_count = 1, .lhs_contracting = {1}, .rhs_contracting = {1}};
    ir_graph *g = l->g;
    const ir_value whole = fe_variable_read(l, kernel);
    const ir_type t = fe_type(l, whole);
    int64_t rows = 1;
    for (int d = 0; d < t.rank - 1; d++) rows *= t.dim[d].count;
    const ir_value weights = ir_build_reshape(g, whole, 2, (ir_dim[]){ir_fixed(rows), t.dim[t.rank - 1]});
    const ir_value first = get_vector(l, layer, kernel);
    if (first == IR_NONE) return false;
    ir_value u = first, v = IR_NONE;
    for (int64_t i = 0; i < s->power_iterations; i++) {
        v = fe_normalize_build(l, ir_build_dot_general(g, u, weights, &by_columns), 2, both, 1e-7);
        u = fe_normalize_build(l, ir_build_dot(g, v, weights), 2, both, 1e-7);
    }
    ir_value sigma = ir_build_dot_general(g, ir_build_dot(g, v, weights), u, &by_columns);
    sigma = ir_build_reshape(g, sigma, 0, NULL);
    const ir_value zero = ir_build_compare(g, "EQ", weights, ir_build_scalar(g, t.dtype, 0));
    const ir_value all_zero = ir_build_reduce(g, "and", zero, 2, both, false);
    const ir_value divided = ir_build_binary(g, OP_divide, whole, sigma);
    const int variable = fe_weight_variable(layer, "vector_u");
    fe_variable_assign(l, variable, ir_build_select(g, all_zero, first, u));
    fe_variable_assign(l, kernel, ir_build_select(g, all_zero, whole, divided));
    return true;
}

bool fe_call_spectral_normalization(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    fe_layer *inner = layer->child[0];
    fe_tensor x, y;
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK, &x)) return false;
    const char *name = find_kernel_name(inner);
    if (l->training && name != NULL && !normalize_kernel(l, layer, fe_weight_variable(inner, name)))
        return false;
    if (!fe_call_tensor(l, inner, x, &y)) return false;
    name = find_kernel_name(inner);
    if (name != NULL && l->fe->module->variable[fe_weight_variable(inner, name)].lora != NULL)
        return fe_layer_error(l->fe, layer, "expected a weight that it can assign, found one with a low-rank term; "
                                            "leave lora_rank out of the layer inside");
    if (name == NULL)
        return fe_layer_error(l->fe, layer, "expected a layer with a kernel or embeddings, found %s",
                              inner->class->name);
    fe_weight_share(l, layer, inner, name);
    if (get_vector(l, layer, fe_weight_variable(inner, name)) == IR_NONE) return false;
    const ir_dtype dtype = fe_type(l, x.value).dtype;
    const ir_dtype inner_dtype = fe_type(l, y.value).dtype;
    /* What the layer inside returns keeps its mask unless it has to be converted. To an integer it loses its
     * fractions, and layers behind see the type that Keras infers for the wrapper. */
    const bool same = inner_dtype == dtype;
    if (!same) y.value = ir_build_convert(l->g, y.value, dtype);
    if (!ir_dtype_is_float(dtype)) y.value = ir_build_convert(l->g, y.value, inner_dtype);
    return fe_finish(l, y.value, same ? y.mask : IR_NONE, out);
}

/* ---- TimeDistributed --------------------------------------------------------------------- */

bool fe_read_time_distributed(fe *f, fe_layer *layer, fe_config *c)
{
    layer->state = arena_new(f->arena, wrap_state);
    if (!read_inner(f, layer, c)) return false;
    /* Keras runs the inner layer's own code only: no penalty on its activity. */
    layer->child[0]->activity_regularizer = NULL;
    return fe_config_done(c);
}

/* Steps must be run one by one when they are not independent (statistics, random draws). */
static bool has_state(const fe_layer *layer)
{
    static const char *const parts[] = {"BatchNormalization", "Dropout", "Noise", "SpectralNormalization",
                                        "Attention",          "LSTM",    "GRU",   "RNN"};
    for (size_t i = 0; i < countof(parts); i++) {
        if (strstr(layer->class->name, parts[i]) != NULL) return true;
    }
    for (int i = 0; i < layer->child_count; i++) {
        if (has_state(layer->child[i])) return true;
    }
    for (size_t i = 0; layer->model != NULL && i < layer->model->layer_count; i++) {
        if (layer->model->layer[i] == NULL || has_state(layer->model->layer[i])) return true;
    }
    return false;
}

/* All steps as rows of one large batch: [N, steps, ...] as [N * steps, ...]. */
static bool call_as_rows(fe_lower *l, fe_layer *inner, fe_tensor x, ir_value *out)
{
    const ir_type t = fe_type(l, x.value);
    ir_dim dim[IR_MAX_RANK];
    fe_tensor y;
    const ir_dim rows = {t.dim[0].count * t.dim[1].count, t.dim[0].batch};
    for (int d = 2; d < t.rank; d++) dim[d - 1] = t.dim[d];
    dim[0] = rows;
    fe_tensor in = {ir_build_reshape(l->g, x.value, t.rank - 1, dim), IR_NONE};
    if (x.mask != IR_NONE) in.mask = ir_build_reshape(l->g, x.mask, t.rank - 2, dim);
    if (!fe_call_tensor(l, inner, in, &y)) return false;
    const ir_type r = fe_type(l, y.value);
    if (r.rank < 1 || r.rank >= IR_MAX_RANK || !ir_dim_equal(r.dim[0], rows)) {
        return fe_layer_error(l->fe, l->layer, "expected a layer that keeps the batch, found %s",
                              fe_shape_show(l->fe, &r));
    }
    dim[0] = t.dim[0];
    dim[1] = t.dim[1];
    for (int d = 1; d < r.rank; d++) dim[d + 1] = r.dim[d];
    *out = ir_build_reshape(l->g, y.value, r.rank + 1, dim);
    return true;
}

static bool call_by_step(fe_lower *l, fe_layer *inner, fe_tensor x, ir_value *out)
{
    const ir_type t = fe_type(l, x.value);
    const int steps = (int)t.dim[1].count;
    ir_value *part = arena_array(l->fe->arena, ir_value, (size_t)steps);
    ir_dim dim[IR_MAX_RANK] = {t.dim[0]};
    for (int d = 2; d < t.rank; d++) dim[d - 1] = t.dim[d];
    for (int i = 0; i < steps; i++) {
        const ir_value step = ir_build_slice_dim(l->g, x.value, 1, i, i + 1);
        fe_tensor in = {ir_build_reshape(l->g, step, t.rank - 1, dim), IR_NONE}, y;
        if (x.mask != IR_NONE) {
            const ir_value mask = ir_build_slice_dim(l->g, x.mask, 1, i, i + 1);
            in.mask = ir_build_reshape(l->g, mask, t.rank - 2, dim);
        }
        if (!fe_call_tensor(l, inner, in, &y)) return false;
        if (fe_type(l, y.value).rank >= IR_MAX_RANK)
            return fe_refuse(l, l->layer, "a result of so many dims");
        part[i] = fe_insert_dim(l, y.value, 1);
    }
    *out = ir_build_concatenate(l->g, steps, part, 1);
    return true;
}

bool fe_call_time_distributed(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    enum { MAX_STEPS = 256 };
    fe_layer *inner = layer->child[0];
    fe_tensor x;
    ir_value y = IR_NONE;
    int64_t steps = 0;
    if (!fe_input_get(l, layer, args, 3, IR_MAX_RANK, &x)) return false;
    const ir_type t = fe_type(l, x.value);
    if (!fe_dim_get(l, layer, &t, 1, &steps) || !fe_size_check(l, layer, &t)) return false;
    const bool at_once = l->fe->keras2 || !has_state(inner); /* Keras 2 calls the layer once, on all steps */
    /* The layer inside takes its step's part of a mask of all dims but the last. */
    const bool takes_mask = !l->fe->keras2 && x.mask != IR_NONE && fe_type(l, x.mask).rank == t.rank - 1;
    const fe_tensor in = {x.value, takes_mask ? x.mask : IR_NONE};
    if (at_once) return call_as_rows(l, inner, in, &y) && fe_finish(l, y, x.mask, out);
    if (steps > MAX_STEPS) {
        return fe_layer_error(l->fe, layer, "expected at most %d steps for %s, found %lld", MAX_STEPS,
                              inner->class->name, (long long)steps);
    }
    return call_by_step(l, inner, in, &y) && fe_finish(l, y, x.mask, out);
}

/* ---- Pipeline ---------------------------------------------------------------------------- */

bool fe_read_pipeline(fe *f, fe_layer *layer, fe_config *c)
{
    const json_at at = fe_key(c, "layers");
    const cJSON *list = fe_config_item(c, "layers");
    if (!cJSON_IsArray(list)) return fe_error(f, &at, "expected a list of layers, found %s", fe_json_show(f, list));
    fe_names names = {.fe = f, .used = {.arena = f->arena}};
    layer->child = arena_array(f->arena, fe_layer *, (size_t)cJSON_GetArraySize(list) + 1);
    bool ok = true;
    int i = 0;
    for (const cJSON *j = list->child; j; j = j->next, i++) {
        const json_at item = {.up = &at, .index = i};
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(j, "class_name");
        const char *part = fe_names_next(&names, cJSON_IsString(name) ? name->valuestring : "layer");
        fe_layer *inner =
            fe_layer_read(f, j, &item, NULL, arena_printf(f->arena, "%s/layers/%s", layer->h5, part));
        ok = inner && ok;
        if (inner) layer->child[layer->child_count++] = inner;
    }
    return fe_config_done(c) && ok;
}

bool fe_call_pipeline(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const fe_value *first = fe_args_find(args, 0, "inputs");
    if (!first) return fe_layer_error(l->fe, layer, "expected an input, found none");
    fe_value x = *first;
    for (int i = 0; i < layer->child_count; i++) {
        const fe_args one = {.arg = {.kind = FE_LIST, .count = 1, .item = &x}, .kwarg = {.kind = FE_DICT}};
        fe_value y;
        if (!fe_call(l, layer->child[i], &one, &y)) return false;
        x = y;
    }
    *out = x;
    return true;
}
