/* layers_shape.c: what a layer was called on, checked before any IR is built from it. */
#include "frontend/layers.h"

#include <string.h>

enum { MAX_ELEMENTS_LOG2 = 40 };

ir_type fe_type(fe_lower *l, ir_value v) { return *ir_type_of(l->g, v); }

bool fe_refuse(fe_lower *l, fe_layer *layer, const char *what)
{
    return fe_layer_error(l->fe, layer, "%s is not supported", what);
}

static bool check_rank(fe_lower *l, fe_layer *layer, ir_value v, int least, int most)
{
    const ir_type t = fe_type(l, v);
    if (t.rank >= least && t.rank <= most) return true;
    const char *shown = fe_shape_show(l->fe, &t);
    if (least == most)
        return fe_layer_error(l->fe, layer, "expected an input of rank %d, found %s", least, shown);
    return fe_layer_error(l->fe, layer, "expected an input of rank %d .. %d, found %s", least, most, shown);
}

bool fe_input_get(fe_lower *l, fe_layer *layer, const fe_args *args, int least, int most, fe_tensor *out)
{
    static const char *const names[] = {"inputs", "x", "input", "sequence"};
    const fe_value *v = NULL;
    for (size_t i = 0; v == NULL && i < countof(names); i++) v = fe_args_find(args, 0, names[i]);
    if (v != NULL && v->kind == FE_LIST && v->count == 1) v = &v->item[0];
    if (v == NULL || v->kind != FE_TENSOR) {
        return fe_layer_error(l->fe, layer, "expected one tensor as input, found %s",
                              v == NULL            ? "none"
                              : v->kind == FE_LIST ? "a list"
                                                   : "another value");
    }
    if (!check_rank(l, layer, v->tensor.value, least, most)) return false;
    *out = v->tensor;
    return true;
}

bool fe_inputs_get(fe_lower *l, fe_layer *layer, const fe_args *args, int least, int most, int *out_count,
                   fe_tensor **out)
{
    const fe_value *v = fe_args_find(args, 0, "inputs");
    if (v == NULL || v->kind != FE_LIST)
        return fe_layer_error(l->fe, layer, "expected a list of tensors as input");
    if (v->count < least || v->count > most) {
        if (least == most)
            return fe_layer_error(l->fe, layer, "expected %d inputs, found %d", least, v->count);
        return fe_layer_error(l->fe, layer, "expected %d or more inputs, found %d", least, v->count);
    }
    fe_tensor *tensors = arena_array(l->fe->arena, fe_tensor, (size_t)v->count);
    for (int i = 0; i < v->count; i++) {
        if (v->item[i].kind != FE_TENSOR)
            return fe_layer_error(l->fe, layer, "expected a list of tensors as input");
        tensors[i] = v->item[i].tensor;
    }
    *out_count = v->count;
    *out = tensors;
    return true;
}

bool fe_tensor_find(fe_lower *l, fe_layer *layer, const fe_args *args, int position, const char *name,
                    fe_tensor *out)
{
    const fe_value *v = fe_args_find(args, position, name);
    *out = (fe_tensor){IR_NONE, IR_NONE};
    if (v == NULL || v->kind == FE_NULL) return true;
    if (v->kind != FE_TENSOR) return fe_layer_error(l->fe, layer, "expected a tensor as argument '%s'", name);
    *out = v->tensor;
    return true;
}

bool fe_axes_resolve(fe_lower *l, fe_layer *layer, int rank, int least, int count, int64_t *axes)
{
    for (int i = 0; i < count; i++) {
        const int64_t axis = axes[i] < 0 ? axes[i] + rank : axes[i];
        if (axis < least || axis >= rank) {
            return fe_layer_error(l->fe, layer, "expected an axis in %d .. %d, found %lld", least, rank - 1,
                                  (long long)axes[i]);
        }
        int at = i;
        for (; at > 0 && axes[at - 1] > axis; at--) axes[at] = axes[at - 1];
        axes[at] = axis;
        if (at > 0 && axes[at - 1] == axis) {
            return fe_layer_error(l->fe, layer, "expected axes that differ, found %lld twice",
                                  (long long)axis);
        }
    }
    return true;
}

bool fe_dim_get(fe_lower *l, fe_layer *layer, const ir_type *t, int axis, int64_t *out)
{
    if (axis < 0 || axis >= t->rank || t->dim[axis].batch) {
        return fe_layer_error(l->fe, layer, "expected a fixed size of axis %d, found %s", axis,
                              fe_shape_show(l->fe, t));
    }
    *out = t->dim[axis].count;
    return true;
}

bool fe_size_check(fe_lower *l, fe_layer *layer, const ir_type *t)
{
    ir_dim elements;
    if (ir_type_elements(t, &elements) && elements.count <= (int64_t)1 << MAX_ELEMENTS_LOG2) return true;
    return fe_layer_error(l->fe, layer, "expected a result of at most 2^%d elements, found %s",
                          MAX_ELEMENTS_LOG2, fe_shape_show(l->fe, t));
}
