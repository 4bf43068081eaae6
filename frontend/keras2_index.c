/* keras2_index.c: functions of TensorFlow that pick or put elements by vectors of indices, and ranges and unit matrices
 * whose size is an element of tf.shape. */
#include "frontend/keras2.h"
#include "frontend/layers.h"
#include "frontend/ops.h"

#include <string.h>

/* format has one %s. */
static bool fail(fe_lower *l, const char *format, const char *name)
{
    return fe_layer_error(l->fe, l->layer, format, name);
}

static const fe_value *find(const fe_args *args, const char *name) { return fe_args_find(args, -1, name); }

static int64_t get_int(const fe_args *args, const char *name, int64_t otherwise)
{
    const fe_value *v = find(args, name);
    return v && (v->kind == FE_NUMBER || v->kind == FE_BOOL) ? v->integer : otherwise;
}

/* Lists of numbers become constants. */
static bool get_tensor(fe_lower *l, const fe_args *args, const char *name, ir_value *out)
{
    op_use u = {.l = l, .op = fe_op_find("Take"), .args = args};
    const fe_value *v = find(args, name);
    if (!v) return fail(l, "expected an argument \"%s\", found none", name);
    return op_value_tensor(&u, v, name, out);
}

static bool get_indices(fe_lower *l, const fe_args *args, ir_value *out)
{
    if (!get_tensor(l, args, "indices", out)) return false;
    const ir_type t = fe_type(l, *out);
    if (t.rank < 1 || t.dim[t.rank - 1].batch || ir_dtype_is_float(t.dtype) || t.dtype == DTYPE_i1)
        return fail(l, "expected vectors of integers as \"indices\", found %s", fe_shape_show(l->fe, &t));
    *out = ir_build_convert(l->g, *out, DTYPE_i32);
    return true;
}

/* ---- gather_nd ------------------------------------------------------------------------------------------ */

bool tf_build_gather_nd(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    ir_value x, indices;
    const int64_t shared = get_int(args, "batch_dims", 0);
    (void)s;
    if (!get_tensor(l, args, "x", &x) || !get_indices(l, args, &indices)) return false;
    const ir_type t = fe_type(l, x), n = fe_type(l, indices);
    const int rows = n.rank - 1;
    bool fits = shared >= 0 && shared <= rows && n.dim[rows].count >= 1 && n.dim[rows].count <= t.rank - shared &&
                rows + t.rank - shared - n.dim[rows].count <= IR_MAX_RANK;
    for (int i = 0; fits && i < shared; i++) fits = ir_dim_equal(t.dim[i], n.dim[i]);
    if (!fits)
        return fe_layer_error(l->fe, l->layer, "expected index vectors that fit %s, found %s", fe_shape_show(l->fe, &t),
                              fe_shape_show(l->fe, &n));
    op_use u = {.l = l};
    *out = fe_value_tensor(op_gather_nd(&u, x, indices, (int)shared), IR_NONE);
    return true;
}

/* ---- scatter_nd ----------------------------------------------------------------------------------------- */

static bool check_scatter(fe_lower *l, ir_value x, ir_value indices, ir_value updates)
{
    const ir_type t = fe_type(l, x), n = fe_type(l, indices), v = fe_type(l, updates);
    const int rows = n.rank - 1;
    const int64_t width = n.dim[rows].count;
    bool fits = width >= 1 && width <= t.rank && v.rank == rows + t.rank - width;
    for (int i = 0; fits && i < v.rank; i++)
        fits = ir_dim_equal(v.dim[i], i < rows ? n.dim[i] : t.dim[width + i - rows]);
    if (fits) return true;
    return fe_layer_error(l->fe, l->layer, "expected index vectors and values that fit %s, found %s and %s",
                          fe_shape_show(l->fe, &t), fe_shape_show(l->fe, &n), fe_shape_show(l->fe, &v));
}

/* Values into zeros of a shape, or into a tensor. */
bool tf_build_scatter_nd(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    ir_value x, indices, updates;
    if (!get_indices(l, args, &indices) || !get_tensor(l, args, "updates", &updates)) return false;
    if (find(args, "shape")) {
        ir_type t = {.dtype = fe_type(l, updates).dtype};
        if (!tf_shape_get(l, args, &t)) return false;
        x = ir_build_fill(l->g, t, 0);
    } else if (!get_tensor(l, args, "x", &x)) {
        return false;
    }
    if (!check_scatter(l, x, indices, updates)) return false;
    updates = ir_build_convert(l->g, updates, fe_type(l, x).dtype);
    const char *last = strrchr(s->name, '_'), *kind = "add";
    static const char *const kinds[][2] = {{"_update", "replace"}, {"_max", "maximum"}, {"_min", "minimum"}};
    for (size_t i = 0; i < countof(kinds); i++) {
        if (strcmp(last, kinds[i][0]) == 0) kind = kinds[i][1];
    }
    if (strcmp(last, "_sub") == 0) updates = ir_build_unary(l->g, OP_negate, updates);
    op_use u = {.l = l};
    *out = fe_value_tensor(op_scatter(&u, kind, x, indices, updates), IR_NONE);
    return true;
}

/* ---- masks and sequences -------------------------------------------------------------------------------- */

enum { MOST_PICKED = 1 << 16 };

/* boolean_mask with a mask that is known: what it leaves of one axis. */
bool tf_build_boolean_mask(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    ir_value x, mask;
    int64_t axis = get_int(args, "axis", 0), size;
    int32_t *place, count = 0;
    (void)s;
    if (!get_tensor(l, args, "x", &x) || !get_tensor(l, args, "mask", &mask)) return false;
    const ir_type t = fe_type(l, x), m = fe_type(l, mask);
    if (axis < 0) axis += t.rank;
    bool fits = m.rank == 1 && axis >= 0 && axis < t.rank && ir_dim_equal(m.dim[0], t.dim[axis]) && !m.dim[0].batch &&
                m.dim[0].count <= MOST_PICKED;
    size = fits ? m.dim[0].count : 1;
    place = arena_array(l->fe->arena, int32_t, (size_t)size);
    for (int64_t i = 0; fits && i < size; i++) {
        ir_dim set;
        fits = tf_size_find(l, mask, i, &set);
        if (fits && set.count != 0) place[count++] = (int32_t)i;
    }
    if (!fits || count == 0)
        return fail(l, "expected a mask of constants for one axis of %s: the shape of the result depends on it",
                    fe_shape_show(l->fe, &t));
    op_use u = {.l = l};
    const ir_value taken = op_take(&u, x, op_constant_i32(&u, count, place), axis);
    *out = fe_value_tensor(taken, IR_NONE);
    return taken != IR_NONE;
}

/* The first elements of each row in the reverse order, the others as they are. */
bool tf_build_reverse_sequence(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    ir_value x, lengths;
    int64_t axis = get_int(args, "seq_axis", 0), batch = get_int(args, "batch_axis", 0);
    (void)s;
    if (!get_tensor(l, args, "x", &x) || !get_tensor(l, args, "lengths", &lengths)) return false;
    const ir_type t = fe_type(l, x), n = fe_type(l, lengths);
    if (axis < 0) axis += t.rank;
    if (batch < 0) batch += t.rank;
    if (axis < 0 || axis >= t.rank || batch < 0 || batch >= t.rank || axis == batch || t.dim[axis].batch ||
        n.rank != 1 || !ir_dim_equal(n.dim[0], t.dim[batch]) || ir_dtype_is_float(n.dtype))
        return fail(l, "expected lengths for one axis of %s and another one to reverse", fe_shape_show(l->fe, &t));
    const ir_type place = ir_type_with_dtype(t, DTYPE_i32);
    const ir_value at = ir_build_iota(l->g, place, (int)axis);
    const ir_value end = ir_build_broadcast_in_dim(l->g, ir_build_convert(l->g, lengths, DTYPE_i32), &place, &batch);
    const ir_value back = ir_build_binary(l->g, OP_subtract, ir_build_binary_scalar(l->g, OP_add, end, -1), at);
    const ir_value from = ir_build_select(l->g, ir_build_compare(l->g, "LT", at, end), back, at);
    op_use u = {.l = l};
    *out = fe_value_tensor(op_take_along(&u, x, from, axis), IR_NONE);
    return true;
}

/* ---- ranges --------------------------------------------------------------------------------------------- */

/* A number, or an element of tf.shape. */
static bool get_size(fe_lower *l, const fe_args *args, const char *name, int64_t otherwise, ir_dim *out)
{
    const fe_value *v = find(args, name);
    *out = ir_fixed(otherwise);
    if (!v) return true;
    if (v->kind == FE_NUMBER && !v->is_float) {
        *out = ir_fixed(v->integer);
        return true;
    }
    const bool is_scalar = v->kind == FE_TENSOR && fe_type(l, v->tensor.value).rank == 0;
    return (is_scalar && tf_size_find(l, v->tensor.value, 0, out)) || fail(l, "expected a known integer as \"%s\"", name);
}

static bool get_dtype(fe_lower *l, const fe_args *args, ir_dtype *out)
{
    const fe_value *v = find(args, "dtype");
    return !v || (v->kind == FE_TEXT && ir_dtype_find_keras(v->text, out)) ||
           fail(l, "expected the name of a type as \"%s\"", "dtype");
}

bool tf_build_range(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    ir_dim start, limit, step;
    ir_dtype dtype = DTYPE_i32;
    const bool both = find(args, "limit") != NULL;
    (void)s;
    if (!get_size(l, args, both ? "start" : "limit", 0, &start) ||
        !get_size(l, args, both ? "limit" : "start", 0, &limit) || !get_size(l, args, "delta", 1, &step) || !get_dtype(l, args, &dtype))
        return false;
    const bool plain = start.count == 0 && step.count == 1 && limit.count > 0;
    if (start.batch || step.batch || step.count == 0 || (limit.batch && !plain))
        return fail(l, "expected a range from 0 in steps of 1, or of known numbers%s", "");
    ir_dim count = limit;
    const int64_t sign = step.count < 0 ? -1 : 1;
    if (!limit.batch)
        count = ir_fixed(base_ceil_div(base_max((limit.count - start.count) * sign, 0), step.count * sign));
    if (count.count < 1 || count.count > INT32_MAX) return fail(l, "expected a range with elements, found none%s", "");
    ir_value x = ir_build_iota(l->g, ir_type_make(dtype, 1, &count), 0);
    if (step.count != 1) x = ir_build_binary_scalar(l->g, OP_multiply, x, (double)step.count);
    if (start.count != 0) x = ir_build_binary_scalar(l->g, OP_add, x, (double)start.count);
    *out = fe_value_tensor(x, IR_NONE);
    return true;
}

bool tf_build_eye(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    ir_dim dim[2];
    ir_type t = {.dtype = DTYPE_f32, .rank = 2}, whole;
    (void)s;
    if (!get_size(l, args, "num_rows", 0, &dim[0]) || !get_dtype(l, args, &t.dtype)) return false;
    dim[1] = dim[0];
    if (find(args, "num_columns") && !get_size(l, args, "num_columns", 0, &dim[1])) return false;
    for (int i = 0; i < 2; i++) {
        if (dim[i].batch || dim[i].count < 1 || dim[i].count > INT32_MAX)
            return fail(l, "expected known sizes as \"%s\"", "num_rows");
        t.dim[i] = dim[i];
    }
    whole = ir_type_with_dtype(t, DTYPE_i32);
    if (!fe_size_check(l, l->layer, &t)) return false;
    const ir_value on = ir_build_compare(l->g, "EQ", ir_build_iota(l->g, whole, 0), ir_build_iota(l->g, whole, 1));
    *out = fe_value_tensor(ir_build_convert(l->g, on, t.dtype), IR_NONE);
    return true;
}
