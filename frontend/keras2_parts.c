/* keras2_parts.c: functions of TensorFlow that take parts of tensors or bring them in order, in another form
 * than keras.ops. */
#include "frontend/keras2.h"

#include <string.h>

/* format has one %s. */
static bool fail(fe_lower *l, const char *format, const char *name)
{
    return fe_layer_error(l->fe, l->layer, format, name);
}

static const fe_value *find(const fe_args *args, const char *name) { return fe_args_find(args, -1, name); }

static bool is_set(const fe_args *args, const char *name)
{
    const fe_value *v = find(args, name);
    return v && v->number != 0;
}

static bool build_x(fe_lower *l, const char *op, fe_value x, const char *key, fe_value value, fe_value *out)
{
    const tf_arg arg[] = {{"x", x}, {key, value}};
    return tf_op_build(l, op, 2, arg, out);
}

static bool get_tensor(fe_lower *l, const fe_args *args, const char *name, fe_value *out, ir_type *out_type)
{
    const fe_value *v = find(args, name);
    if (!v || v->kind != FE_TENSOR) return fail(l, "expected a tensor as \"%s\"", name);
    *out = *v;
    *out_type = *ir_type_of(l->g, v->tensor.value);
    return true;
}

static bool get_axis(fe_lower *l, const fe_args *args, const ir_type *t, int64_t otherwise, int64_t *out)
{
    const fe_value *v = find(args, "axis");
    int64_t axis = v && v->kind == FE_NUMBER ? v->integer : otherwise;
    if (v && v->kind != FE_NUMBER) return fail(l, "expected an integer as \"%s\"", "axis");
    *out = axis < 0 ? axis + t->rank : axis;
    return (*out >= 0 && *out < t->rank) || fail(l, "expected an axis of %s", fe_shape_show(l->fe, t));
}

/* ---- order ----------------------------------------------------------------------------------------------
 */

/* sort and argsort; equal elements keep their order in both directions. */
bool tf_build_sort(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    const fe_value *direction = find(args, "direction"), *axis = find(args, "axis");
    fe_value x;
    ir_type t;
    if (!get_tensor(l, args, "x", &x, &t)) return false;
    const bool down = direction && direction->kind == FE_TEXT && strcmp(direction->text, "DESCENDING") == 0;
    const tf_arg negative = {"x", x};
    if (down && !tf_op_build(l, "Negative", 1, &negative, &x)) return false;
    if (!build_x(l, s->op, x, "axis", axis ? *axis : fe_value_int(-1), out)) return false;
    if (!down || strcmp(s->op, "Argsort") == 0) return true;
    const tf_arg back = {"x", *out};
    return tf_op_build(l, "Negative", 1, &back, out);
}

/* The first slice along the axis becomes `start`, the others move on by one, the last one is left out. */
static bool shift(fe_lower *l, fe_value x, int64_t axis, double start, fe_value *out)
{
    const ir_type t = *ir_type_of(l->g, x.tensor.value);
    ir_type first = t;
    if (t.dim[axis].batch) return fail(l, "expected an axis other than the batch%s", "");
    first.dim[axis] = ir_fixed(1);
    ir_value part[2] = {ir_build_fill(l->g, first, start), IR_NONE};
    if (t.dim[axis].count > 1)
        part[1] = ir_build_slice_dim(l->g, x.tensor.value, (int)axis, 0, t.dim[axis].count - 1);
    *out = fe_value_tensor(part[0], IR_NONE);
    if (part[1] == IR_NONE) return true;
    *out = fe_value_tensor(ir_build_concatenate(l->g, 2, part, (int)axis), IR_NONE);
    return true;
}

/* cumsum and cumprod from either end, each element with itself or without. */
bool tf_build_cumulative(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x, list = {.kind = FE_LIST, .count = 1};
    ir_type t;
    int64_t axis;
    if (!get_tensor(l, args, "x", &x, &t) || !get_axis(l, args, &t, 0, &axis)) return false;
    const bool reverse = is_set(args, "reverse");
    fe_value axis_value = fe_value_int(axis);
    list.item = &axis_value;
    if (reverse && !build_x(l, "Flip", x, "axis", list, &x)) return false;
    if (!build_x(l, s->op, x, "axis", axis_value, out)) return false;
    if (is_set(args, "exclusive") && !shift(l, *out, axis, strcmp(s->op, "Cumprod") == 0, out)) return false;
    return !reverse || build_x(l, "Flip", *out, "axis", list, out);
}

/* ---- parts ----------------------------------------------------------------------------------------------
 */

/* Lists of known sizes; -1 for the batch or what is open. */
static bool get_sizes(fe_lower *l, const fe_args *args, const char *name, int count, int64_t *out)
{
    const fe_value *v = find(args, name);
    bool fits = v && v->kind == FE_LIST && v->count == count;
    for (int i = 0; fits && i < count; i++) {
        fits = v->item[i].kind == FE_NUMBER;
        out[i] = v->item[i].integer;
    }
    return fits || fail(l, "expected a known integer for each dim as \"%s\"", name);
}

/* Without a key: x[None]. */
bool tf_build_item(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x = {.kind = FE_NULL}, none = x, list = {.kind = FE_LIST, .count = 1, .item = &none};
    const fe_value *key = find(args, "key");
    ir_type t;
    return get_tensor(l, args, "x", &x, &t) && build_x(l, s->op, x, "key", key ? *key : list, out);
}

bool tf_build_slice(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value x, *key, *bound;
    ir_type t;
    int64_t begin[IR_MAX_RANK], size[IR_MAX_RANK];
    if (!get_tensor(l, args, "x", &x, &t) || !get_sizes(l, args, "begin", t.rank, begin) ||
        !get_sizes(l, args, "size", t.rank, size))
        return false;
    key = arena_array(l->fe->arena, fe_value, (size_t)t.rank + 1);
    bound = arena_array(l->fe->arena, fe_value, 3 * (size_t)t.rank + 1);
    for (int i = 0; i < t.rank; i++) {
        key[i] = (fe_value){.kind = FE_SLICE, .count = 3, .item = bound + 3 * (size_t)i};
        if (begin[i] != 0) key[i].item[0] = fe_value_int(begin[i]);
        if (size[i] >= 0) key[i].item[1] = fe_value_int(begin[i] + size[i]);
    }
    return build_x(l, s->op, x, "key", (fe_value){.kind = FE_LIST, .count = t.rank, .item = key}, out);
}

static bool has_bit(const fe_args *args, const char *mask, int bit)
{
    const fe_value *v = find(args, mask);
    return v && v->kind == FE_NUMBER && (v->integer >> bit & 1) != 0;
}

static const fe_value *find_bound(const fe_args *args, const char *name, int count, int index)
{
    const fe_value *v = find(args, name);
    return v && v->kind == FE_LIST && v->count == count && v->item[index].kind == FE_NUMBER ? &v->item[index] : NULL;
}

/* As an index in brackets: each bit of the masks stands for one entry. */
bool tf_build_strided_slice(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    const fe_value *begins = find(args, "begin");
    const int count = begins && begins->kind == FE_LIST ? begins->count : -1;
    fe_value x, *key, *part;
    ir_type t;
    if (!get_tensor(l, args, "x", &x, &t)) return false;
    if (count < 0 || count > 2 * IR_MAX_RANK) return fail(l, "expected a list of known integers as \"%s\"", "begin");
    key = arena_array(l->fe->arena, fe_value, (size_t)count + 1);
    part = arena_array(l->fe->arena, fe_value, 3 * (size_t)count + 1);
    for (int i = 0; i < count; i++) {
        const fe_value *begin = find_bound(args, "begin", count, i), *end = find_bound(args, "end", count, i);
        const fe_value *stride = find_bound(args, "strides", count, i);
        if (!begin || !end || (find(args, "strides") && !stride))
            return fail(l, "expected as many known integers as \"begin\", \"end\" and \"%s\"", "strides");
        key[i] = (fe_value){.kind = FE_SLICE, .count = 3, .item = part + 3 * (size_t)i};
        if (!has_bit(args, "begin_mask", i)) key[i].item[0] = *begin;
        if (!has_bit(args, "end_mask", i)) key[i].item[1] = *end;
        if (stride) key[i].item[2] = *stride;
        if (has_bit(args, "shrink_axis_mask", i)) key[i] = *begin;
        if (has_bit(args, "new_axis_mask", i)) key[i] = (fe_value){.kind = FE_NULL};
        if (has_bit(args, "ellipsis_mask", i)) key[i] = (fe_value){.kind = FE_ELLIPSIS};
    }
    return build_x(l, s->op, x, "key", (fe_value){.kind = FE_LIST, .count = count, .item = key}, out);
}

/* gather: along one axis, or from each row of the batch what its own indices say. */
bool tf_build_gather(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    const fe_value *batch = find(args, "batch_dims"), *indices = find(args, "indices");
    fe_value x, taken;
    ir_type t;
    int64_t axis, shared = batch && batch->kind == FE_NUMBER ? batch->integer : 0;
    if (!get_tensor(l, args, "x", &x, &t) || !get_axis(l, args, &t, shared, &axis)) return false;
    if (!indices) return fail(l, "expected an argument \"%s\", found none", "indices");
    const tf_arg plain[] = {{"x", x}, {"indices", *indices}, {"axis", fe_value_int(axis)}};
    if (shared == 0) return tf_op_build(l, s->op, 3, plain, out);
    const ir_type *it = indices->kind == FE_TENSOR ? ir_type_of(l->g, indices->tensor.value) : NULL;
    bool fits =
        it && shared == 1 && axis == 1 && (it->rank == 1 || it->rank == 2) && t.rank >= 2 && !t.dim[1].batch;
    if (!fits)
        return fail(l, "only batch_dims of 1 along axis 1 with indices of one or two dims is supported%s",
                    "");
    const bool one = it->rank == 1;
    ir_type wide = ir_type_make(it->dtype, t.rank, t.dim);
    wide.dim[1] = one ? ir_fixed(1) : it->dim[1];
    const ir_dim column[2] = {it->dim[0], wide.dim[1]};
    ir_value flat = one ? ir_build_reshape(l->g, indices->tensor.value, 2, column) : indices->tensor.value;
    const int64_t places[2] = {0, 1};
    taken = fe_value_tensor(ir_build_broadcast_in_dim(l->g, flat, &wide, places), IR_NONE);
    const tf_arg along[] = {{"x", x}, {"indices", taken}, {"axis", fe_value_int(1)}};
    if (!tf_op_build(l, "TakeAlongAxis", 3, along, out)) return false;
    fe_value first = fe_value_int(1);
    return !one || build_x(l, "Squeeze", *out, "axis", first, out);
}

/* The band of a matrix around its diagonal; a negative width leaves all. */
bool tf_build_band_part(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    const fe_value *lower = find(args, "num_lower"), *upper = find(args, "num_upper");
    ir_type t;
    (void)s;
    if (!get_tensor(l, args, "x", out, &t)) return false;
    bool fits = lower && upper && lower->kind == FE_NUMBER && upper->kind == FE_NUMBER;
    if (!fits) return fail(l, "expected integers as \"%s\"", "num_lower and num_upper");
    if (lower->integer >= 0 && !build_x(l, "Triu", *out, "k", fe_value_int(-lower->integer), out)) return false;
    return upper->integer < 0 || build_x(l, "Tril", *out, "k", fe_value_int(upper->integer), out);
}

/* ---- whole tensors ----------------------------------------------------------------------------------------
 */

bool tf_shape_get(fe_lower *l, const fe_args *args, ir_type *t)
{
    const fe_value *shape = find(args, "shape");
    bool fits = shape && shape->kind == FE_LIST && shape->count <= IR_MAX_RANK;
    t->rank = 0;
    for (int i = 0; fits && i < shape->count; i++) {
        const int64_t size = shape->item[i].integer;
        fits = shape->item[i].kind == FE_NUMBER && size >= -1 && size != 0 && size <= INT32_MAX;
        if (fits) t->dim[t->rank++] = size < 0 ? ir_batch(1) : ir_fixed(size);
    }
    ir_dim all;
    return (fits && ir_type_elements(t, &all)) || fail(l, "expected known sizes as \"%s\"", "shape");
}

/* A number or tensor brought to a shape in which -1 stands for the batch. */
bool tf_build_stretch(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    const fe_value *x = find(args, "x"), *dtype = find(args, "dtype");
    ir_type t = ir_type_scalar(DTYPE_f32), both;
    (void)s;
    if (!tf_shape_get(l, args, &t)) return false;
    if (x && x->kind == FE_TENSOR) {
        const ir_type own = *ir_type_of(l->g, x->tensor.value);
        t.dtype = own.dtype;
        if (!ir_broadcast_shapes(&own, &t, &both) || !ir_type_same_shape(&both, &t))
            return fail(l, "expected a tensor that stretches to the shape, found %s",
                        fe_shape_show(l->fe, &own));
        *out = fe_value_tensor(ir_build_broadcast_to(l->g, x->tensor.value, &t), IR_NONE);
    } else {
        if (dtype && (dtype->kind != FE_TEXT || !ir_dtype_find_keras(dtype->text, &t.dtype)))
            return fail(l, "expected the name of a type as \"%s\"", "dtype");
        if (!dtype && x && !x->is_float && strcmp(s->name, "fill") == 0) t.dtype = DTYPE_i32;
        *out = fe_value_tensor(ir_build_fill(l->g, t, x ? x->number : 0), IR_NONE);
    }
    return true;
}

/* Matrices with these diagonals: of zeros, or of x. */
bool tf_build_diag(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    fe_value d, x;
    ir_type t, xt;
    (void)s;
    if (!get_tensor(l, args, "diagonal", &d, &t)) return false;
    const bool whole = find(args, "x") != NULL;
    if (whole && !get_tensor(l, args, "x", &x, &xt)) return false;
    bool fits = t.rank >= 1 && t.rank < IR_MAX_RANK && !t.dim[t.rank - 1].batch;
    if (fits && !whole) {
        xt = t;
        xt.dim[xt.rank++] = t.dim[t.rank - 1];
    }
    fits = fits && xt.rank == t.rank + 1;
    for (int i = 0; fits && i < t.rank; i++) fits = ir_dim_equal(t.dim[i], xt.dim[i]);
    fits = fits && ir_dim_equal(xt.dim[xt.rank - 1], xt.dim[xt.rank - 2]);
    if (!fits) return fail(l, "expected diagonals of square matrices, found %s", fe_shape_show(l->fe, &t));
    int64_t places[IR_MAX_RANK];
    for (int i = 0; i < t.rank; i++) places[i] = i;
    const ir_type count = ir_type_with_dtype(xt, DTYPE_i32);
    ir_value on = ir_build_compare(l->g, "EQ", ir_build_iota(l->g, count, xt.rank - 1),
                                   ir_build_iota(l->g, count, xt.rank - 2));
    ir_value spread = ir_build_broadcast_in_dim(l->g, d.tensor.value, &xt, places);
    *out = fe_value_tensor(
        ir_build_select(l->g, on, spread, whole ? x.tensor.value : ir_build_fill(l->g, xt, 0)), IR_NONE);
    return true;
}

/* ---- channels -------------------------------------------------------------------------------------------
 */

static double get_number(const fe_args *args, const char *name, double otherwise)
{
    const fe_value *v = find(args, name);
    return v && v->kind == FE_NUMBER ? v->number : otherwise;
}

/* Sums of squares over neighbouring channels: of the window of 2 radius + 1 around each. */
static ir_value build_window(fe_lower *l, ir_value x, int64_t radius)
{
    ir_graph *g = l->g;
    const ir_type t = *ir_type_of(g, x);
    const int64_t channels = t.dim[t.rank - 1].count;
    ir_value sum = IR_NONE, square = ir_build_binary(g, OP_multiply, x, x);
    for (int64_t k = -radius; k <= radius; k++) {
        ir_type edge = t;
        if (k >= channels || -k >= channels) continue;
        edge.dim[t.rank - 1] = ir_fixed(k > 0 ? k : -k);
        ir_value part = k == 0 ? square
                               : ir_build_slice_dim(g, square, t.rank - 1, k > 0 ? k : 0,
                                                    k > 0 ? channels : channels + k);
        ir_value zero = k == 0 ? IR_NONE : ir_build_fill(g, edge, 0);
        ir_value joined[2] = {k > 0 ? part : zero, k > 0 ? zero : part};
        ir_value moved = k == 0 ? part : ir_build_concatenate(g, 2, joined, t.rank - 1);
        sum = sum == IR_NONE ? moved : ir_build_binary(g, OP_add, sum, moved);
    }
    return sum;
}

bool tf_build_response(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    enum { MOST_RADIUS = 64 };
    fe_value x;
    ir_type t;
    (void)s;
    const double radius = get_number(args, "depth_radius", 5);
    if (!get_tensor(l, args, "x", &x, &t)) return false;
    if (t.rank < 2 || t.dim[t.rank - 1].batch || !(radius >= 0 && radius <= MOST_RADIUS))
        return fail(l, "expected channels and a depth_radius of 0 to 64, found %s", fe_shape_show(l->fe, &t));
    ir_value sum = build_window(l, x.tensor.value, (int64_t)radius);
    sum = ir_build_binary_scalar(l->g, OP_multiply, sum, get_number(args, "alpha", 1));
    sum = ir_build_binary_scalar(l->g, OP_add, sum, get_number(args, "bias", 1));
    ir_value scale = ir_build_binary_scalar(l->g, OP_power, sum, -get_number(args, "beta", 0.5));
    *out = fe_value_tensor(ir_build_binary(l->g, OP_multiply, x.tensor.value, scale), IR_NONE);
    return true;
}
