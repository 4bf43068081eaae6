/* layers_lora.c: low-rank adaptation (LoRA) of a weight W: the layer computes with W + alpha / rank * A . B, where A and
 * B train in W's stead. As in Keras, weights files hold the sum in W's place and neither factor. */
#include "frontend/layers.h"

#include <string.h>

bool fe_lora_read(fe_config *c, const fe_weight_config *weight, bool has_alpha, fe_lora *out)
{
    const json_at at = fe_key(c, "lora_rank");
    int64_t rank = 0;
    double alpha = 0;
    *out = (fe_lora){0};
    bool ok = fe_config_int_or(c, "lora_rank", 0, 0, &rank);
    ok = fe_config_number_or(c, "lora_alpha", (double)rank, &alpha) && ok;
    if (!ok || rank == 0) return ok;
    if (rank > INT32_MAX) return fe_error(c->fe, &at, "expected at most %d, found %lld", INT32_MAX, (long long)rank);
    if (weight->constraint != NULL)
        return fe_error(c->fe, &at, "expected no low-rank term on a weight with a constraint; leave one of them out");
    *out = (fe_lora){rank, has_alpha ? alpha / (double)rank : 1};
    return true;
}

static ir_value get_factor(fe_lower *l, fe_layer *layer, const char *name, const char *initializer,
                           const fe_weight_config *weight, fe_shape shape, bool keep_dtype)
{
    const fe_weight_spec spec = {.name = name,
                                 .rank = shape.rank,
                                 .shape = shape.dim,
                                 .initializer = ir_record_new(l->fe->arena, initializer),
                                 .regularizer = weight->regularizer,
                                 .trainable = true,
                                 .unstored = true,
                                 .keep_dtype = keep_dtype};
    return fe_weight_get(l, layer, &spec);
}

ir_value fe_lora_add(fe_lower *l, fe_layer *layer, const fe_lora *lora, const char *name, const fe_weight_config *weight,
                     ir_value value)
{
    if (lora->rank == 0 || value == IR_NONE) return value;
    fe *f = l->fe;
    const ir_type t = fe_type(l, value);
    const bool keep_dtype = t.dtype == layer->variable_dtype; /* the sum is taken in the type of W's value */
    const char *a_name = arena_printf(f->arena, "lora_%s_a", name);
    fe_shape a_shape = {.rank = t.rank};
    for (int d = 0; d < t.rank; d++) a_shape.dim[d] = d == t.rank - 1 ? lora->rank : t.dim[d].count;
    const fe_shape b_shape = {2, {lora->rank, t.dim[t.rank - 1].count}};
    const ir_value a = get_factor(l, layer, a_name, "he_uniform", weight, a_shape, keep_dtype);
    if (a == IR_NONE) return IR_NONE;
    const ir_value b = get_factor(l, layer, arena_printf(f->arena, "lora_%s_b", name), "zeros", weight, b_shape, keep_dtype);
    if (b == IR_NONE) return IR_NONE;
    ir_variable *v = &f->module->variable[fe_weight_variable(layer, name)];
    if (v->lora == NULL) {
        ir_record *r = ir_record_new(f->arena, "lora");
        ir_record_add_text(f->arena, r, "factor", f->module->variable[fe_weight_variable(layer, a_name)].path);
        ir_record_add_number(f->arena, r, "scale", lora->scale);
        v->lora = r;
        v->trainable = false;
    }
    ir_value product = ir_build_dot(l->g, a, b);
    if (lora->scale != 1) product = ir_build_binary_scalar(l->g, OP_multiply, product, lora->scale);
    return ir_build_binary(l->g, OP_add, value, product);
}
