/* lower.c: calling a layer while a graph is made: its place in messages and origins, autocast, masks,
 * activity penalties, and limits that stop hostile models. */
#include "frontend/keras2.h"
#include "frontend/layers.h"
#include "frontend/ragged.h"

/* A model of shared models can ask for exponentially many calls; real ones stay far below. */
enum { MOST_CALLS = 1 << 20, MOST_NODES = 1 << 22 };

/* ---- arguments
 * ------------------------------------------------------------------------------------------------ */

static ir_value cast_float(fe_lower *l, ir_value x, ir_dtype dtype)
{
    const bool keeps = l->fe->keras2 && !ir_dtype_is_float(dtype); /* Keras 2 casts to floating types alone */
    return ir_dtype_is_float(ir_type_of(l->g, x)->dtype) && !keeps ? ir_build_convert(l->g, x, dtype) : x;
}

static fe_value cast_value(fe_lower *l, const fe_value *v, ir_dtype dtype)
{
    fe_value cast = *v;
    if (v->kind == FE_TENSOR) cast.tensor.value = cast_float(l, v->tensor.value, dtype);
    if (v->count == 0) return cast;
    cast.item = arena_array(l->fe->arena, fe_value, (size_t)v->count);
    for (int i = 0; i < v->count; i++) cast.item[i] = cast_value(l, &v->item[i], dtype);
    return cast;
}

void fe_mask_clear(fe_lower *l, ir_value value)
{
    arena_push(l->fe->arena, l->unmasked, l->unmasked_count, l->unmasked_capacity, value);
}

static bool is_unmasked(const fe_lower *l, ir_value value)
{
    for (size_t i = 0; i < l->unmasked_count; i++) {
        if (l->unmasked[i] == value) return true;
    }
    return false;
}

static fe_value strip_masks(fe_lower *l, const fe_value *v)
{
    fe_value out = *v;
    if (v->kind == FE_TENSOR && v->tensor.mask != IR_NONE && is_unmasked(l, v->tensor.value))
        out.tensor.mask = IR_NONE;
    if (v->count == 0) return out;
    out.item = arena_array(l->fe->arena, fe_value, (size_t)v->count);
    for (int i = 0; i < v->count; i++) out.item[i] = strip_masks(l, &v->item[i]);
    return out;
}

static ir_value make_mask(fe_lower *l, ir_value mask)
{
    const ir_type t = *ir_type_of(l->g, mask);
    if (t.dtype == DTYPE_i1) return mask;
    return ir_build_compare(l->g, "NE", mask, ir_build_scalar(l->g, t.dtype, 0.0));
}

/* The keyword "mask" goes to the first argument's tensors: one for all, or a list like theirs. */
static void attach_mask(fe_lower *l, fe_value *v, const fe_value *mask)
{
    if (mask->kind == FE_TENSOR && v->kind == FE_TENSOR) v->tensor.mask = make_mask(l, mask->tensor.value);
    if (mask->kind != FE_LIST) return;
    for (int i = 0; i < v->count && i < mask->count; i++) attach_mask(l, &v->item[i], &mask->item[i]);
}

static void prepare_args(fe_lower *l, const fe_layer *layer, const fe_args *given, fe_args *out)
{
    *out = *given;
    if (l->unmasked_count > 0) {
        out->arg = strip_masks(l, &given->arg);
        out->kwarg = strip_masks(l, &given->kwarg);
    }
    if (!fe_layer_op(layer) && !fe_keras2_is_op(layer) && !layer->model && !layer->class->keeps_inputs) {
        out->arg = cast_value(l, &out->arg, layer->compute_dtype);
        out->kwarg = cast_value(l, &out->kwarg, layer->compute_dtype);
    }
    const fe_value *mask = fe_args_find(out, -1, "mask");
    if (!mask || out->arg.count == 0) return;
    fe_value *item = arena_copy(l->fe->arena, out->arg.item, (size_t)out->arg.count * sizeof *item);
    attach_mask(l, &item[0], mask);
    out->arg.item = item;
}

/* ---- results
 * ---------------------------------------------------------------------------------------------------- */

static fe_value *find_first_tensor(fe_value *v)
{
    if (v->kind == FE_TENSOR) return v;
    for (int i = 0; i < v->count; i++) {
        fe_value *found = find_first_tensor(&v->item[i]);
        if (found) return found;
    }
    return NULL;
}

static void drop_masks(fe_value *v)
{
    if (v->kind == FE_TENSOR) v->tensor.mask = IR_NONE;
    for (int i = 0; i < v->count; i++) drop_masks(&v->item[i]);
}

static void finish_masks(const fe_layer *layer, const fe_args *args, fe_value *out)
{
    if (layer->model || layer->class->own_mask) return;
    if (!layer->class->passes_mask) {
        drop_masks(out);
        return;
    }
    fe_tensor in = {IR_NONE, IR_NONE};
    fe_value *first = find_first_tensor(out);
    fe_value_tensors(&args->arg, 1, &in);
    if (first && first->tensor.mask == IR_NONE && in.value != IR_NONE) first->tensor.mask = in.mask;
}

static bool add_activity_penalty(fe_lower *l, const fe_layer *layer, const fe_value *v)
{
    for (int i = 0; i < v->count; i++) {
        if (!add_activity_penalty(l, layer, &v->item[i])) return false;
    }
    if (v->kind != FE_TENSOR) return true;
    ir_value penalty = fe_regularizer_build(l, layer->activity_regularizer, v->tensor.value);
    if (penalty == IR_NONE) return false;
    if (ir_type_of(l->g, v->tensor.value)->rank > 0) {
        const bool is_ragged = fe_ragged_is(l, v->tensor.value);
        const ir_value by_row = is_ragged ? fe_ragged_part(l, v->tensor.value, RAGGED_ends) : v->tensor.value;
        ir_value rows = ir_build_dimension_size(l->g, by_row, 0);
        rows = ir_build_convert(l->g, rows, ir_type_of(l->g, penalty)->dtype);
        penalty = ir_build_binary(l->g, OP_divide, penalty, rows);
    }
    fe_add_loss(l, penalty);
    return true;
}

static void keep_types(fe_lower *l, fe_layer *layer, const fe_value *out)
{
    int count = fe_value_tensors(out, 0, NULL);
    fe_tensor *tensor = arena_array(l->fe->arena, fe_tensor, (size_t)count + 1);
    fe_value_tensors(out, count, tensor);
    layer->out_type = arena_array(l->fe->arena, ir_type, (size_t)count + 1);
    layer->out_count = count;
    for (int i = 0; i < count; i++) layer->out_type[i] = *ir_type_of(l->g, tensor[i].value);
}

/* In Keras 2 a call's own "training" goes before the phase; in Keras 3 the phase overrides it. */
static bool find_phase(const fe_lower *l, const fe_args *args)
{
    const fe_value *training = l->fe->keras2 ? fe_args_find(args, -1, "training") : NULL;
    return training && (training->kind == FE_BOOL || training->kind == FE_NUMBER) ? training->number != 0
                                                                                  : l->training;
}

bool fe_call(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    if (++l->calls > MOST_CALLS || l->g->count > MOST_NODES) {
        if (l->calls > MOST_CALLS + 1) return false;
        l->calls = MOST_CALLS + 1;
        return fe_layer_error(l->fe, layer, "the model is too large: more than %d calls or %d operations",
                              MOST_CALLS, MOST_NODES);
    }
    fe_layer *outer = l->layer;
    const fe_layer *outer_reader = l->fe->layer;
    ir_origin_id origin = l->g->origin;
    l->layer = layer;
    l->fe->layer = layer;
    l->g->origin = layer->origin;
    const bool phase = l->training;
    l->training = find_phase(l, args);
    fe_args prepared;
    fe_value result = {.kind = FE_NULL};
    prepare_args(l, layer, args, &prepared);
    bool ok = fe_strings_check(l, layer, &prepared) &&
              (fe_ragged_any(l, &prepared) ? fe_ragged_call : layer->class->call)(l, layer, &prepared, &result);
    if (ok) {
        finish_masks(layer, &prepared, &result);
        if (layer->activity_regularizer) ok = add_activity_penalty(l, layer, &result);
        keep_types(l, layer, &result);
        layer->built = true;
        *out = result;
    }
    l->training = phase;
    l->layer = outer;
    l->fe->layer = outer_reader;
    l->g->origin = origin;
    return ok;
}

bool fe_call_tensor(fe_lower *l, fe_layer *layer, fe_tensor in, fe_tensor *out)
{
    fe_value item = fe_value_tensor(in.value, in.mask), result;
    fe_args args = {.arg = {.kind = FE_LIST, .count = 1, .item = &item}, .kwarg = {.kind = FE_DICT}};
    if (!fe_call(l, layer, &args, &result)) return false;
    if (fe_value_tensors(&result, 1, out) < 1)
        return fe_layer_error(l->fe, layer, "expected a tensor as result, found none");
    return true;
}

void fe_add_loss(fe_lower *l, ir_value scalar)
{
    arena_push(l->fe->arena, l->loss, l->loss_count, l->loss_capacity, scalar);
}
