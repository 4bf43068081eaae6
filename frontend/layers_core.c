/* layers_core.c: Dense, Embedding, ReversibleEmbedding, Identity, Masking. */
#include "frontend/layers.h"

#include <string.h>

typedef struct dense_state {
    int64_t units;
    bool use_bias;
    const ir_record *activation;
    fe_weight_config kernel, bias;
    fe_lora lora;
} dense_state;

typedef struct embedding_state {
    int64_t rows, columns;
    bool mask_zero;
    fe_weight_config embeddings;
    fe_lora lora;
    bool untied; /* ReversibleEmbedding: the way back has weights of its own */
    double soft_cap; /* 0: none */
    bool has_reverse_dtype;
    ir_dtype reverse_dtype;
} embedding_state;

typedef struct masking_state {
    double value;
} masking_state;

bool fe_read_identity(fe *f, fe_layer *layer, fe_config *c)
{
    (void)f, (void)layer;
    return fe_config_done(c);
}

bool fe_call_identity(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const fe_value *v = fe_args_find(args, 0, "inputs");
    if (v == NULL) return fe_layer_error(l->fe, layer, "expected an input, found none");
    *out = *v;
    return true;
}

/* ---- Dense ------------------------------------------------------------------------------- */

bool fe_read_dense(fe *f, fe_layer *layer, fe_config *c)
{
    dense_state *s = arena_new(f->arena, dense_state);
    layer->state = s;
    bool ok = fe_size_read(c, "units", 0, &s->units);
    ok = fe_config_bool_or(c, "use_bias", true, &s->use_bias) && ok;
    ok = fe_activation_or_layer_read(c, layer, &s->activation) && ok;
    ok = fe_weight_config_read(c, "kernel", "glorot_uniform", &s->kernel) && ok;
    ok = fe_weight_config_read(c, "bias", "zeros", &s->bias) && ok;
    ok = ok && fe_lora_read(c, &s->kernel, false, &s->lora);
    return fe_config_done(c) && ok;
}

bool fe_call_dense(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const dense_state *s = layer->state;
    fe_tensor x;
    int64_t width = 0;
    if (!fe_input_get(l, layer, args, 2, IR_MAX_RANK, &x)) return false;
    ir_type t = fe_type(l, x.value);
    if (!fe_dim_get(l, layer, &t, t.rank - 1, &width)) return false;
    t.dim[t.rank - 1] = ir_fixed(s->units);
    if (!fe_size_check(l, layer, &t)) return false;
    ir_value y = ir_build_convert(l->g, x.value, layer->compute_dtype);
    ir_value kernel = fe_layer_weight(l, layer, "kernel", &s->kernel, (fe_shape){2, {width, s->units}}), bias = IR_NONE;
    if (kernel == IR_NONE) return false;
    if (s->use_bias) {
        bias = fe_layer_weight(l, layer, "bias", &s->bias, (fe_shape){1, {s->units}});
        if (bias == IR_NONE) return false;
    }
    kernel = fe_lora_add(l, layer, &s->lora, "kernel", &s->kernel, kernel);
    if (kernel == IR_NONE) return false;
    y = ir_build_dot(l->g, y, kernel);
    if (s->use_bias) y = fe_bias_add(l, y, bias, t.rank - 1);
    return fe_activation_finish(l, layer, s->activation, y, out);
}

/* ---- Embedding --------------------------------------------------------------------------- */

static bool read_embedding(embedding_state *s, fe_config *c)
{
    bool ok = fe_size_read(c, "input_dim", 0, &s->rows);
    ok = fe_size_read(c, "output_dim", 0, &s->columns) && ok;
    ok = fe_config_bool_or(c, "mask_zero", false, &s->mask_zero) && ok;
    ok = fe_weight_config_read(c, "embeddings", "random_uniform", &s->embeddings) && ok;
    ok = ok && fe_lora_read(c, &s->embeddings, false, &s->lora);
    fe_config_ignore(c, "input_length sparse");
    return fe_config_done(c) && ok;
}

bool fe_read_embedding(fe *f, fe_layer *layer, fe_config *c)
{
    embedding_state *s = arena_new(f->arena, embedding_state);
    layer->state = s;
    return read_embedding(s, c);
}

static ir_value embedding_table(fe_lower *l, fe_layer *layer)
{
    const embedding_state *s = layer->state;
    const ir_value table =
        fe_layer_weight_kept(l, layer, "embeddings", &s->embeddings, (fe_shape){2, {s->rows, s->columns}}, true);
    return fe_lora_add(l, layer, &s->lora, "embeddings", &s->embeddings, table);
}

bool fe_call_embedding(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const embedding_state *s = layer->state;
    ir_graph *g = l->g;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 0, IR_MAX_RANK - 1, &x)) return false;
    ir_type t = fe_type(l, x.value);
    ir_value mask = IR_NONE;
    if (s->mask_zero) mask = ir_build_compare(g, "NE", x.value, ir_build_scalar(g, t.dtype, 0));
    t.dim[t.rank++] = ir_fixed(s->columns);
    if (!fe_size_check(l, layer, &t)) return false;
    const ir_value table = embedding_table(l, layer);
    if (table == IR_NONE) return false;
    const ir_value rows = t.dtype == DTYPE_i64 ? x.value : ir_build_convert(g, x.value, DTYPE_i32);
    const ir_value y = ir_build_convert(g, ir_build_take_rows(g, table, rows), layer->compute_dtype);
    return fe_finish(l, y, mask, out);
}

/* ---- ReversibleEmbedding ----------------------------------------------------------------- */

static bool read_reverse_dtype(embedding_state *s, fe_config *c)
{
    const json_at at = fe_key(c, "reverse_dtype");
    const char *name;
    if (!fe_config_text_or(c, "reverse_dtype", NULL, &name)) return false;
    if (name == NULL) return true;
    s->has_reverse_dtype = true;
    return (ir_dtype_find_keras(name, &s->reverse_dtype) && ir_dtype_is_float(s->reverse_dtype)) ||
           fe_error(c->fe, &at, "expected a floating type, found \"%s\"", name);
}

bool fe_read_reversible_embedding(fe *f, fe_layer *layer, fe_config *c)
{
    embedding_state *s = arena_new(f->arena, embedding_state);
    const json_at at = fe_key(c, "logit_soft_cap");
    layer->state = s;
    bool tied = true;
    bool ok = fe_config_bool_or(c, "tie_weights", true, &tied);
    ok = fe_config_number_or(c, "logit_soft_cap", 0, &s->soft_cap) && ok;
    if (ok && fe_config_has(c, "logit_soft_cap") && s->soft_cap == 0)
        ok = fe_error(f, &at, "expected a number that is not 0, found 0");
    ok = read_reverse_dtype(s, c) && ok;
    s->untied = !tied;
    return read_embedding(s, c) && ok;
}

static ir_value untied_kernel(fe_lower *l, fe_layer *layer)
{
    const embedding_state *s = layer->state;
    const fe_weight_config weight = {.initializer = s->embeddings.initializer};
    return fe_layer_weight(l, layer, "reverse_embeddings", &weight, (fe_shape){2, {s->columns, s->rows}});
}

/* From columns back to rows: the product with the table's transpose, or with the weight of the way back. */
static bool call_reverse(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const embedding_state *s = layer->state;
    ir_graph *g = l->g;
    fe_tensor x;
    int64_t width;
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK, &x)) return false;
    ir_type t = fe_type(l, x.value);
    if (!fe_dim_get(l, layer, &t, t.rank - 1, &width)) return false;
    if (width != s->columns)
        return fe_layer_error(l->fe, layer, "expected vectors of %lld numbers to bring back, found %s",
                              (long long)s->columns, fe_shape_show(l->fe, &t));
    t.dim[t.rank - 1] = ir_fixed(s->rows);
    if (!fe_size_check(l, layer, &t)) return false;
    ir_value kernel;
    if (s->untied) kernel = untied_kernel(l, layer);
    else kernel = fe_transpose_to(l, ir_build_convert(g, embedding_table(l, layer), layer->compute_dtype),
                                  (const int64_t[]){1, 0});
    const ir_dtype dtype = s->has_reverse_dtype ? s->reverse_dtype : layer->compute_dtype;
    ir_value y = ir_build_dot(g, ir_build_convert(g, x.value, dtype), ir_build_convert(g, kernel, dtype));
    if (s->soft_cap != 0) {
        y = ir_build_unary(g, OP_tanh, ir_build_binary_scalar(g, OP_divide, y, s->soft_cap));
        y = ir_build_binary_scalar(g, OP_multiply, y, s->soft_cap);
    }
    return fe_finish(l, y, IR_NONE, out);
}

bool fe_call_reversible_embedding(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const embedding_state *s = layer->state;
    const fe_value *reverse = fe_args_find(args, 1, "reverse");
    /* Both weights are made at the first call, whichever way it goes. */
    if (embedding_table(l, layer) == IR_NONE) return false;
    if (s->untied && untied_kernel(l, layer) == IR_NONE) return false;
    if (reverse != NULL && reverse->kind == FE_BOOL && reverse->integer) return call_reverse(l, layer, args, out);
    return fe_call_embedding(l, layer, args, out);
}

/* ---- Masking ----------------------------------------------------------------------------- */

bool fe_read_masking(fe *f, fe_layer *layer, fe_config *c)
{
    masking_state *s = arena_new(f->arena, masking_state);
    layer->state = s;
    return fe_config_number_or(c, "mask_value", 0, &s->value) && fe_config_done(c);
}

bool fe_call_masking(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const masking_state *s = layer->state;
    ir_graph *g = l->g;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 2, IR_MAX_RANK, &x)) return false;
    const ir_type t = fe_type(l, x.value);
    const int64_t last = t.rank - 1;
    const ir_value differs = ir_build_compare(g, "NE", x.value, ir_build_scalar(g, t.dtype, s->value));
    const ir_value mask = ir_build_reduce(g, "or", differs, 1, &last, false);
    const ir_value keep = fe_spread(l, mask, t, 1, &last);
    return fe_finish(l, ir_build_select(g, keep, x.value, ir_build_scalar(g, t.dtype, 0)), mask, out);
}
