/* layers_merge.c: Add, Subtract, Multiply, Average, Maximum, Minimum, Concatenate, Dot, with Keras's rules
 * for masks: an element that its own input's mask hides does not take part where another input has one to
 * show. */
#include "frontend/layers.h"

#include <string.h>

enum { MAX_INPUTS = 4096 };

typedef struct merge_state {
    int axes_count;
    int64_t axes[FE_MAX_AXES];
    bool normalize;
} merge_state;

bool fe_read_merge(fe *f, fe_layer *layer, fe_config *c)
{
    (void)f, (void)layer;
    return fe_config_done(c);
}

/* ---- elementwise ------------------------------------------------------------------------- */

static ir_value insert_dims(fe_lower *l, ir_value x, int rank)
{
    const ir_type t = fe_type(l, x);
    ir_dim dim[IR_MAX_RANK];
    if (t.rank == rank || t.rank == 0) return x;
    bug_if(rank > IR_MAX_RANK, "a rank of %d", rank);
    for (int d = 0; d < rank; d++)
        dim[d] = d == 0 ? t.dim[0] : d <= rank - t.rank ? ir_fixed(1) : t.dim[d - (rank - t.rank)];
    return ir_build_reshape(l->g, x, rank, dim);
}

/* Inputs of one dtype and one rank (new dims follow the batch), which broadcast together. */
static bool prepare_inputs(fe_lower *l, fe_layer *layer, int count, fe_tensor *in)
{
    ir_dtype dtype = fe_type(l, in[0].value).dtype;
    int rank = 0;
    for (int i = 0; i < count; i++) {
        const ir_type t = fe_type(l, in[i].value);
        dtype = fe_result_type(dtype, t.dtype);
        rank = t.rank > rank ? t.rank : rank;
    }
    ir_type all = {.rank = -1};
    for (int i = 0; i < count; i++) {
        const ir_type was = fe_type(l, in[i].value);
        in[i].value = insert_dims(l, ir_build_convert(l->g, in[i].value, dtype), rank);
        if (was.rank != rank) in[i].mask = IR_NONE;
        const ir_type t = fe_type(l, in[i].value);
        if (i == 0) {
            all = t;
        } else if (!ir_broadcast_shapes(&all, &t, &all)) {
            const ir_type first = fe_type(l, in[0].value);
            return fe_layer_error(l->fe, layer, "expected inputs whose shapes fit together, found %s and %s",
                                  fe_shape_show(l->fe, &first), fe_shape_show(l->fe, &was));
        }
    }
    return fe_size_check(l, layer, &all);
}

/* The logical or of all masks; IR_NONE when an input has none. */
static ir_value unite_masks(fe_lower *l, fe_layer *layer, int count, const fe_tensor *in)
{
    ir_value all = in[0].mask;
    (void)layer;
    for (int i = 1; i < count && all != IR_NONE; i++) {
        if (in[i].mask == IR_NONE) return IR_NONE;
        const ir_type a = fe_type(l, all), b = fe_type(l, in[i].mask);
        ir_type both;
        if (!ir_broadcast_shapes(&a, &b, &both)) return IR_NONE;
        all = ir_build_binary(l->g, OP_or, all, in[i].mask);
    }
    return all;
}

/* A mask with a last dim added, in the shape of x. IR_NONE: no mask, or one that does not fit. */
static ir_value spread_mask(fe_lower *l, fe_tensor x)
{
    ir_type t = fe_type(l, x.value);
    int64_t dims[IR_MAX_RANK];
    if (x.mask == IR_NONE) return IR_NONE;
    const ir_type m = fe_type(l, x.mask);
    bool fits = m.rank == t.rank - 1;
    for (int d = 0; fits && d < m.rank; d++) {
        fits = ir_dim_equal(m.dim[d], t.dim[d]);
        dims[d] = d;
    }
    t.dtype = DTYPE_i1;
    return fits ? ir_build_broadcast_in_dim(l->g, x.mask, &t, dims) : IR_NONE;
}

static ir_value any_last(fe_lower *l, ir_value mask)
{
    const int64_t last = fe_type(l, mask).rank - 1;
    return ir_build_reduce(l->g, "or", mask, 1, &last, false);
}

/* Maximum and Minimum: a hidden element takes the other side's value. */
static fe_tensor merge_extremes(fe_lower *l, ir_op op, int count, const fe_tensor *in)
{
    ir_graph *g = l->g;
    ir_value out = in[0].value, out_mask = spread_mask(l, in[0]);
    for (int i = 1; i < count; i++) {
        const ir_value mask = spread_mask(l, in[i]);
        ir_value x = in[i].value;
        if (mask != IR_NONE) x = ir_build_select(g, mask, x, out);
        if (out_mask != IR_NONE) out = ir_build_select(g, out_mask, out, x);
        out_mask =
            mask != IR_NONE && out_mask != IR_NONE ? ir_build_binary(g, OP_or, out_mask, mask) : IR_NONE;
        out = ir_build_binary(g, op, out, x);
    }
    return (fe_tensor){out, out_mask == IR_NONE ? IR_NONE : any_last(l, out_mask)};
}

/* Multiply: a hidden element counts as 1, and what all inputs hide is 0. */
static fe_tensor merge_products(fe_lower *l, int count, const fe_tensor *in)
{
    ir_graph *g = l->g;
    const ir_dtype dtype = fe_type(l, in[0].value).dtype;
    ir_value out = IR_NONE, out_mask = IR_NONE;
    bool all_masked = true;
    for (int i = 0; i < count; i++) {
        const ir_value mask = spread_mask(l, in[i]);
        ir_value x = in[i].value;
        if (mask != IR_NONE) x = ir_build_select(g, mask, x, ir_build_scalar(g, dtype, 1));
        all_masked = all_masked && mask != IR_NONE;
        if (all_masked) out_mask = i == 0 ? mask : ir_build_binary(g, OP_or, out_mask, mask);
        out = i == 0 ? x : ir_build_binary(g, OP_multiply, out, x);
    }
    if (!all_masked) return (fe_tensor){out, IR_NONE};
    out = ir_build_select(g, out_mask, out, ir_build_scalar(g, dtype, 0));
    return (fe_tensor){out, any_last(l, out_mask)};
}

static bool call_elementwise(fe_lower *l, fe_layer *layer, const fe_args *args, ir_op op, fe_value *out)
{
    const bool average = strcmp(layer->class->name, "Average") == 0;
    const int most = op == OP_subtract ? 2 : MAX_INPUTS;
    fe_tensor *in, y = {IR_NONE, IR_NONE};
    int count = 0;
    if (!fe_inputs_get(l, layer, args, op == OP_subtract ? 2 : 1, most, &count, &in)) return false;
    const ir_value mask = unite_masks(l, layer, count, in);
    if (!prepare_inputs(l, layer, count, in)) return false;
    if (op == OP_maximum || op == OP_minimum)
        y = merge_extremes(l, op, count, in);
    else if (op == OP_multiply)
        y = merge_products(l, count, in);
    else {
        y.value = in[0].value;
        for (int i = 1; i < count; i++) y.value = ir_build_binary(l->g, op, y.value, in[i].value);
    }
    if (average) {
        if (!ir_dtype_is_float(fe_type(l, y.value).dtype))
            y.value = ir_build_convert(l->g, y.value, layer->compute_dtype);
        y.value = ir_build_binary_scalar(l->g, OP_divide, y.value, count);
    }
    return fe_finish(l, y.value, y.mask != IR_NONE ? y.mask : mask, out);
}

bool fe_call_merge(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    static const struct {
        const char *name;
        ir_op op;
    } ops[] = {{"Add", OP_add},           {"Average", OP_add},     {"Subtract", OP_subtract},
               {"Multiply", OP_multiply}, {"Maximum", OP_maximum}, {"Minimum", OP_minimum}};
    for (size_t i = 0; i < countof(ops); i++) {
        if (strcmp(ops[i].name, layer->class->name) == 0)
            return call_elementwise(l, layer, args, ops[i].op, out);
    }
    bug("no operation for merge layer %s", layer->class->name);
}

/* ---- Concatenate ------------------------------------------------------------------------- */

bool fe_read_concatenate(fe *f, fe_layer *layer, fe_config *c)
{
    merge_state *s = arena_new(f->arena, merge_state);
    const json_at at = fe_key(c, "axis");
    layer->state = s;
    if (!fe_axes_read(c, "axis", &s->axes_count, s->axes)) return false;
    if (s->axes_count != 1) return fe_error(f, &at, "expected one axis, found %d", s->axes_count);
    return fe_config_done(c);
}

static bool check_concatenation(fe_lower *l, fe_layer *layer, int count, const fe_tensor *in, int64_t axis)
{
    ir_type all = fe_type(l, in[0].value);
    for (int i = 0; i < count; i++) {
        const ir_type t = fe_type(l, in[i].value);
        bool fits = t.rank == all.rank && t.dim[axis].batch == all.dim[axis].batch;
        for (int d = 0; fits && d < t.rank; d++) fits = d == axis || ir_dim_equal(t.dim[d], all.dim[d]);
        if (!fits) {
            const ir_type first = fe_type(l, in[0].value);
            return fe_layer_error(l->fe, layer,
                                  "expected inputs of one shape but for axis %lld, found %s and %s",
                                  (long long)axis, fe_shape_show(l->fe, &first), fe_shape_show(l->fe, &t));
        }
        if (i > 0) all.dim[axis].count += t.dim[axis].count;
        if (!fe_size_check(l, layer, &all)) return false;
    }
    return true;
}

/* Masks stand for all elements of their step, joined along the axis like the values; then any element shows
 * the step. */
static ir_value join_masks(fe_lower *l, int count, const fe_tensor *in, int64_t axis)
{
    ir_value *part = arena_array(l->fe->arena, ir_value, (size_t)count);
    bool any = false;
    for (int i = 0; i < count; i++) {
        any = any || in[i].mask != IR_NONE;
        part[i] = spread_mask(l, in[i]);
        if (part[i] == IR_NONE)
            part[i] = ir_build_fill(l->g, ir_type_with_dtype(fe_type(l, in[i].value), DTYPE_i1), 1);
    }
    return any ? any_last(l, ir_build_concatenate(l->g, count, part, (int)axis)) : IR_NONE;
}

bool fe_call_concatenate(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const merge_state *s = layer->state;
    fe_tensor *in;
    int count = 0;
    int64_t axis = s->axes[0];
    if (!fe_inputs_get(l, layer, args, 1, MAX_INPUTS, &count, &in)) return false;
    const int rank = fe_type(l, in[0].value).rank;
    if (!fe_axes_resolve(l, layer, rank, 0, 1, &axis) || !check_concatenation(l, layer, count, in, axis))
        return false;
    ir_dtype dtype = fe_type(l, in[0].value).dtype;
    for (int i = 1; i < count; i++) dtype = fe_result_type(dtype, fe_type(l, in[i].value).dtype);
    ir_value *part = arena_array(l->fe->arena, ir_value, (size_t)count);
    for (int i = 0; i < count; i++) part[i] = ir_build_convert(l->g, in[i].value, dtype);
    const ir_value mask = rank > 1 ? join_masks(l, count, in, axis) : IR_NONE;
    const ir_value y = count == 1 ? part[0] : ir_build_concatenate(l->g, count, part, (int)axis);
    return fe_finish(l, y, mask, out);
}

/* ---- Dot --------------------------------------------------------------------------------- */

bool fe_read_dot(fe *f, fe_layer *layer, fe_config *c)
{
    merge_state *s = arena_new(f->arena, merge_state);
    const json_at at = fe_key(c, "axes");
    layer->state = s;
    if (!fe_axes_read(c, "axes", &s->axes_count, s->axes)) return false;
    if (s->axes_count > 2) return fe_error(f, &at, "expected one axis or two, found %d", s->axes_count);
    if (s->axes_count == 1) s->axes[1] = s->axes[0];
    return fe_config_bool_or(c, "normalize", false, &s->normalize) && fe_config_done(c);
}

bool fe_call_dot(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const merge_state *s = layer->state;
    fe_tensor *in;
    int count = 0;
    ir_type t[2];
    ir_value x[2];
    int64_t axis[2] = {s->axes[0], s->axes[1]};
    if (!fe_inputs_get(l, layer, args, 2, 2, &count, &in)) return false;
    for (int i = 0; i < 2; i++) {
        t[i] = fe_type(l, in[i].value);
        x[i] = ir_build_convert(l->g, in[i].value, layer->compute_dtype);
        if (t[i].rank < 2)
            return fe_layer_error(l->fe, layer, "expected inputs of rank 2 or more, found %s",
                                  fe_shape_show(l->fe, &t[i]));
        if (!fe_axes_resolve(l, layer, t[i].rank, 1, 1, &axis[i])) return false;
    }
    if (!ir_dim_equal(t[0].dim[0], t[1].dim[0]) || !ir_dim_equal(t[0].dim[axis[0]], t[1].dim[axis[1]])) {
        return fe_layer_error(l->fe, layer, "expected equal sizes of axes %lld and %lld, found %s and %s",
                              (long long)axis[0], (long long)axis[1], fe_shape_show(l->fe, &t[0]),
                              fe_shape_show(l->fe, &t[1]));
    }
    ir_type result = {.dtype = t[0].dtype, .rank = 1, .dim = {t[0].dim[0]}};
    if (t[0].rank + t[1].rank - 3 > IR_MAX_RANK) return fe_refuse(l, layer, "a result of so many dims");
    for (int i = 0; i < 2; i++) {
        for (int d = 1; d < t[i].rank; d++) {
            if (d != axis[i]) result.dim[result.rank++] = t[i].dim[d];
        }
        if (s->normalize) x[i] = fe_normalize_build(l, x[i], 1, &axis[i], 1e-7);
    }
    if (!fe_size_check(l, layer, &result)) return false;
    ir_dot dot = {.batch_count = 1, .contracting_count = 1};
    dot.lhs_contracting[0] = axis[0];
    dot.rhs_contracting[0] = axis[1];
    ir_value y = ir_build_dot_general(l->g, x[0], x[1], &dot);
    if (result.rank == 1) y = fe_insert_dim(l, y, 1);
    return fe_finish(l, y, IR_NONE, out);
}
