/* ops_move.c: operations of keras.ops that move, repeat and pad elements. */
#include "frontend/ops.h"

#include <string.h>

/* ---- turning and rolling ----------------------------------------------------------------- */

static bool flip(op_use *u, ir_value *x, int count, const int64_t *axis)
{
    const ir_type t = op_type(u, *x);
    for (int i = 0; i < count; i++) {
        if (!op_check_fixed(u, &t, axis[i], "flipping")) return false;
    }
    *x = ir_build_reverse(u->l->g, *x, count, axis);
    return true;
}

/* `word`: the axis, or "" for the parameter. */
bool op_build_flip(op_use *u, fe_value *out)
{
    ir_value x;
    int count = 1;
    int64_t axis[IR_MAX_RANK] = {0};
    if (!op_find_tensor(u, "x", &x)) return false;
    const int rank = op_type(u, x).rank;
    if (u->op->word[0])
        axis[0] = u->op->word[0] - '0';
    else if (!op_find_ints(u, "axis", &count, axis))
        return false;
    if (count < 0) {
        count = rank;
        for (int i = 0; i < count; i++) axis[i] = i;
    }
    return op_resolve_axes(u, rank, count, axis) && flip(u, &x, count, axis) && op_finish(u, x, out);
}

bool op_build_rot90(op_use *u, fe_value *out)
{
    ir_value x;
    int count;
    int64_t k, axis[IR_MAX_RANK], order[IR_MAX_RANK];
    if (!op_find_tensor(u, "array", &x) || !op_find_int(u, "k", 1, &k)) return false;
    if (!op_find_ints(u, "axes", &count, axis)) return false;
    const int rank = op_type(u, x).rank;
    if (count < 0) count = 2, axis[0] = 0, axis[1] = 1;
    if (count != 2) return op_error(u, "expected two axes, found %d", count);
    if (!op_resolve_axes(u, rank, 2, axis)) return false;
    for (int i = 0; i < rank; i++) order[i] = i == axis[0] ? axis[1] : i == axis[1] ? axis[0] : i;
    k = (k % 4 + 4) % 4;
    if (k == 2) return flip(u, &x, 2, axis) && op_finish(u, x, out);
    if (k == 1 && !flip(u, &x, 1, &axis[1])) return false;
    if (k != 0) x = ir_build_transpose(u->l->g, x, order);
    if (k == 3 && !flip(u, &x, 1, &axis[1])) return false;
    return op_finish(u, x, out);
}

static bool roll(op_use *u, ir_value *x, int64_t axis, int64_t shift)
{
    const ir_type t = op_type(u, *x);
    if (!op_check_fixed(u, &t, axis, "rolling")) return false;
    const int64_t size = t.dim[axis].count, first = ((-shift) % size + size) % size;
    if (first == 0) return true;
    const ir_value part[] = {op_slice_dim(u, *x, axis, first, size), op_slice_dim(u, *x, axis, 0, first)};
    *x = ir_build_concatenate(u->l->g, 2, part, (int)axis);
    return true;
}

bool op_build_roll(op_use *u, fe_value *out)
{
    ir_value x;
    int count, shifts;
    int64_t axis[IR_MAX_RANK], shift[IR_MAX_RANK];
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "axis", &count, axis)) return false;
    if (!op_find_ints(u, "shift", &shifts, shift)) return false;
    const ir_type t = op_type(u, x);
    if (shifts < 1 || !op_check_type(u, &t)) return shifts < 1 ? op_error(u, "expected a shift") : false;
    if (count < 0) {
        x = op_flatten(u, x);
        if (shifts != 1 || !roll(u, &x, 0, shift[0])) return false;
        return op_finish(u, ir_build_reshape(u->l->g, x, t.rank, t.dim), out);
    }
    if (count != shifts && shifts != 1) return op_error(u, "expected one shift an axis");
    for (int i = 0; i < count; i++) {
        if (!op_resolve_axes(u, t.rank, 1, &axis[i]) || !roll(u, &x, axis[i], shift[shifts == 1 ? 0 : i]))
            return false;
    }
    return op_finish(u, x, out);
}

/* ---- repeating --------------------------------------------------------------------------- */

/* Each element (or, `whole`, all of them) `times` times along an axis. */
static bool repeat(op_use *u, ir_value *x, int64_t axis, int64_t times, bool whole)
{
    const ir_type t = op_type(u, *x);
    ir_type merged = t, wide = t;
    int64_t at[IR_MAX_RANK];
    if (times == 1) return true;
    if (times < 1 || times > INT32_MAX)
        return op_error(u, "expected a positive number of repeats, found %lld", (long long)times);
    if (t.rank == IR_MAX_RANK) return op_fail_shape(u, "a tensor with fewer dimensions", &t);
    merged.dim[axis].count *= times;
    if (!op_check_type(u, &merged)) return false;
    const int64_t added = whole ? axis : axis + 1;
    wide.rank++;
    for (int i = 0; i < t.rank; i++) {
        at[i] = i < added ? i : i + 1;
        wide.dim[at[i]] = t.dim[i];
    }
    wide.dim[added] = ir_fixed(times);
    *x = ir_build_reshape(u->l->g, ir_build_broadcast_in_dim(u->l->g, *x, &wide, at), t.rank, merged.dim);
    return true;
}

bool op_build_tile(op_use *u, fe_value *out)
{
    ir_value x;
    int count;
    int64_t times[IR_MAX_RANK];
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "repeats", &count, times)) return false;
    if (count < 1) return op_error(u, "expected \"repeats\"");
    while (op_type(u, x).rank < count) x = op_insert_dim(u, x, 0);
    const int rank = op_type(u, x).rank;
    for (int i = 0; i < count; i++) {
        if (!repeat(u, &x, rank - count + i, times[i], true)) return false;
    }
    return op_finish(u, x, out);
}

/* A count of its own for each element. */
static bool repeat_each(op_use *u, ir_value *x, int64_t axis, int count, const int64_t *times)
{
    const ir_type t = op_type(u, *x);
    int64_t total = 0, n = 0;
    if (!op_check_fixed(u, &t, axis, "repeating")) return false;
    if (t.dim[axis].count != count) return op_error(u, "expected one count an element, found %d", count);
    for (int i = 0; i < count; i++) {
        if (times[i] < 0 || times[i] > 1 << 20)
            return op_error(u, "expected a count, found %lld", (long long)times[i]);
        total += times[i];
    }
    if (total < 1 || total > 1 << 24) return op_error(u, "expected fewer elements, and more than none");
    int32_t *index = arena_array(u->l->fe->arena, int32_t, (size_t)total);
    for (int i = 0; i < count; i++) {
        for (int64_t k = 0; k < times[i]; k++) index[n++] = i;
    }
    *x = op_take(u, *x, op_constant_i32(u, total, index), axis);
    return *x != IR_NONE;
}

bool op_build_repeat(op_use *u, fe_value *out)
{
    ir_value x;
    int count, times;
    int64_t axis[IR_MAX_RANK] = {0}, *time;
    if (!op_find_tensor(u, "x", &x) || !op_find_ints(u, "axis", &count, axis)) return false;
    if (!op_find_int_list(u, "repeats", &times, &time)) return false;
    const ir_type t = op_type(u, x);
    if (times < 1 || count > 1) return op_error(u, "expected \"repeats\" and one axis");
    if (count < 0 && !op_check_type(u, &t)) return false;
    if (count < 0) x = op_flatten(u, x);
    if (!op_resolve_axes(u, op_type(u, x).rank, 1, axis)) return false;
    if (!(times == 1 ? repeat(u, &x, axis[0], time[0], false) : repeat_each(u, &x, axis[0], times, time)))
        return false;
    return op_finish(u, x, out);
}

/* ---- padding ----------------------------------------------------------------------------- */

static bool read_pair(op_use *u, const fe_value *v, int64_t *low, int64_t *high)
{
    const fe_value *first = v->kind == FE_LIST && v->count == 2 ? &v->item[0] : v;
    const fe_value *second = first == v ? v : &v->item[1];
    if (first->kind != FE_NUMBER || second->kind != FE_NUMBER || first->is_float || second->is_float ||
        first->integer < 0 || second->integer < 0 || first->integer > INT32_MAX ||
        second->integer > INT32_MAX)
        return op_error(u, "expected a size, or two, for each dimension as \"pad_width\"");
    *low = first->integer;
    *high = second->integer;
    return true;
}

static bool find_widths(op_use *u, int rank, int64_t *low, int64_t *high)
{
    const fe_value *v = op_find(u, "pad_width");
    int64_t flat[2 * IR_MAX_RANK];
    int count = 0;
    if (v && v->kind == FE_TENSOR && op_constant_ints(u, v->tensor.value, 2 * rank, &count, flat) &&
        count == 2 * rank) {
        for (int i = 0; i < rank; i++) low[i] = flat[2 * i], high[i] = flat[2 * i + 1];
        return true;
    }
    if (!v || (v->kind != FE_NUMBER && v->kind != FE_LIST)) return op_error(u, "expected \"pad_width\"");
    const bool each = v->kind == FE_LIST && v->count > 0 && v->item[0].kind == FE_LIST;
    if (each && v->count != 1 && v->count != rank)
        return op_error(u, "expected %d pairs as \"pad_width\", found %d", rank, v->count);
    for (int i = 0; i < rank; i++) {
        if (!read_pair(u, each ? &v->item[v->count == 1 ? 0 : i] : v, &low[i], &high[i])) return false;
    }
    return true;
}

/* Mirrored at the edges; `off` 1 leaves the edge itself out. */
static bool mirror(op_use *u, ir_value *x, int64_t axis, int64_t low, int64_t high, int64_t off)
{
    const ir_type t = op_type(u, *x);
    const int64_t size = t.dim[axis].count;
    ir_value part[3] = {IR_NONE, *x, IR_NONE};
    if (low > size - off || high > size - off)
        return op_fail_shape(u, "an edge not wider than the tensor", &t);
    if (low > 0) part[0] = ir_build_reverse(u->l->g, op_slice_dim(u, *x, axis, off, off + low), 1, &axis);
    if (high > 0)
        part[2] =
            ir_build_reverse(u->l->g, op_slice_dim(u, *x, axis, size - off - high, size - off), 1, &axis);
    const int first = low > 0 ? 0 : 1;
    *x = ir_build_concatenate(u->l->g, 2 - first + (high > 0), part + first, (int)axis);
    return true;
}

bool op_build_pad(op_use *u, fe_value *out)
{
    ir_value x, value;
    const char *mode;
    int64_t low[IR_MAX_RANK], high[IR_MAX_RANK];
    if (!op_find_tensor(u, "x", &x) || !op_find_text(u, "mode", &mode)) return false;
    if (!op_find_tensor_or_none(u, "constant_values", &value)) return false;
    const ir_type t = op_type(u, x);
    if (!find_widths(u, t.rank, low, high)) return false;
    ir_type padded = t;
    for (int i = 0; i < t.rank; i++) {
        if (low[i] + high[i] > 0 && !op_check_fixed(u, &t, i, "padding")) return false;
        padded.dim[i].count += low[i] + high[i];
    }
    if (!op_check_type(u, &padded)) return false;
    if (mode[0] == '\0' || strcmp(mode, "constant") == 0) {
        value = value == IR_NONE ? op_number(u, x, 0) : op_convert(u, value, t.dtype);
        if (op_type(u, value).rank != 0) return op_error(u, "expected one number as \"constant_values\"");
        return op_finish(u, ir_build_pad(u->l->g, x, value, low, high, NULL), out);
    }
    if (strcmp(mode, "reflect") != 0 && strcmp(mode, "symmetric") != 0)
        return op_error(u, "expected \"constant\", \"reflect\" or \"symmetric\" as \"mode\", found \"%s\"",
                        mode);
    for (int i = 0; i < t.rank; i++) {
        if (low[i] + high[i] > 0 && !mirror(u, &x, i, low[i], high[i], mode[0] == 'r')) return false;
    }
    return op_finish(u, x, out);
}

/* ---- triangles and diagonals ------------------------------------------------------------- */

bool op_build_triangle(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t k;
    if (!op_find_tensor(u, "x", &x) || !op_find_int(u, "k", 0, &k)) return false;
    const ir_type t = op_type(u, x);
    if (t.rank < 2) return op_fail_shape(u, "a matrix", &t);
    if (k < -INT32_MAX || k > INT32_MAX) return op_error(u, "expected a smaller \"k\"");
    ir_value row = op_iota(u, DTYPE_i64, &t, t.rank - 2), column = op_iota(u, DTYPE_i64, &t, t.rank - 1);
    row = op_map_number(u, OP_add, row, (double)k);
    ir_value keep = op_compare(u, strcmp(u->op->word, "lower") == 0 ? "GE" : "LE", row, column);
    return op_finish(u, op_choose(u, keep, x, op_number(u, x, 0)), out);
}

/* The diagonal of the last two dims, as the last one. */
static bool take_diagonal(op_use *u, ir_value x, int64_t offset, ir_value *out)
{
    const ir_type t = op_type(u, x);
    const int last = t.rank - 1;
    if (!op_check_fixed(u, &t, last, "a diagonal along") ||
        !op_check_fixed(u, &t, last - 1, "a diagonal along"))
        return false;
    const int64_t rows = t.dim[last - 1].count, columns = t.dim[last].count;
    if (offset <= -rows || offset >= columns) return op_fail_shape(u, "a diagonal within the matrix", &t);
    const int64_t row = base_max(-offset, 0), column = base_max(offset, 0);
    const int64_t count = base_min(rows - row, columns - column);
    if (rows > INT32_MAX / columns) return op_fail_shape(u, "a smaller matrix", &t);
    int32_t *index = arena_array(u->l->fe->arena, int32_t, (size_t)count);
    for (int64_t i = 0; i < count; i++) index[i] = (int32_t)((row + i) * columns + column + i);
    ir_dim dim[IR_MAX_RANK];
    memcpy(dim, t.dim, sizeof dim);
    dim[last - 1] = ir_fixed(rows * columns);
    ir_value flat = ir_build_reshape(u->l->g, x, last, dim);
    *out = op_take(u, flat, op_constant_i32(u, count, index), last - 1);
    return *out != IR_NONE;
}

static bool make_diagonal(op_use *u, ir_value x, int64_t offset, ir_value *out)
{
    const ir_type row = op_type(u, x);
    if (!op_check_fixed(u, &row, 0, "a diagonal of")) return false;
    if (offset < -(1 << 20) || offset > 1 << 20) return op_error(u, "expected a smaller offset");
    const int64_t size = row.dim[0].count + (offset < 0 ? -offset : offset);
    const int64_t low = base_max(offset, 0), high = base_max(-offset, 0), one = 1;
    const ir_type t = ir_type_make(row.dtype, 2, (ir_dim[]){ir_fixed(size), ir_fixed(size)});
    if (!op_check_type(u, &t)) return false;
    x = ir_build_pad(u->l->g, x, op_number(u, x, 0), &low, &high, NULL);
    x = ir_build_broadcast_in_dim(u->l->g, x, &t, &one);
    ir_value at = op_map_number(u, OP_add, op_iota(u, DTYPE_i32, &t, 0), (double)offset);
    ir_value keep = op_compare(u, "EQ", at, op_iota(u, DTYPE_i32, &t, 1));
    *out = op_choose(u, keep, x, op_number(u, x, 0));
    return true;
}

/* Diag and, with word "flat", Diagflat. */
bool op_build_diag(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t k;
    if (!op_find_tensor(u, "x", &x) || !op_find_int(u, "k", 0, &k)) return false;
    const ir_type t = op_type(u, x);
    const bool flat = strcmp(u->op->word, "flat") == 0;
    if (!op_check_type(u, &t) || (!flat && t.rank != 1 && t.rank != 2))
        return op_fail_shape(u, "one row or a matrix", &t);
    if (flat) x = op_flatten(u, x);
    const bool take = t.rank == 2 && !flat;
    return (take ? take_diagonal(u, x, k, &x) : make_diagonal(u, x, k, &x)) && op_finish(u, x, out);
}

/* Diagonal and, with word "sum", Trace. */
bool op_build_diagonal(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t offset, axis[2];
    if (!op_find_tensor(u, "x", &x) || !op_find_int(u, "offset", 0, &offset)) return false;
    if (!op_find_int(u, "axis1", 0, &axis[0]) || !op_find_int(u, "axis2", 1, &axis[1])) return false;
    const int rank = op_type(u, x).rank;
    if (rank < 2) return op_error(u, "expected a tensor of two dimensions or more");
    if (!op_resolve_axes(u, rank, 2, axis)) return false;
    x = op_move_axis(u, x, axis[0], rank - 1);
    x = op_move_axis(u, x, axis[1] - (axis[1] > axis[0]), rank - 1);
    if (!take_diagonal(u, x, offset, &x)) return false;
    if (strcmp(u->op->word, "sum") == 0) {
        x = ir_build_convert(u->l->g, x, op_sum_dtype(op_type(u, x).dtype));
        x = op_reduce(u, "add", x, rank - 2, false);
    }
    return op_finish(u, x, out);
}

bool op_build_diff(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t n, axis;
    if (!op_find_tensor(u, "a", &x) || !op_find_int(u, "n", 1, &n)) return false;
    if (!op_find_axis(u, "axis", op_type(u, x).rank, -1, &axis)) return false;
    const ir_type t = op_type(u, x);
    if (!op_check_fixed(u, &t, axis, "differences along")) return false;
    int64_t size = t.dim[axis].count;
    if (n < 0 || n >= size) return op_fail_shape(u, "more elements along the axis", &t);
    for (; n > 0; n--, size--) {
        ir_value after = op_slice_dim(u, x, axis, 1, size), before = op_slice_dim(u, x, axis, 0, size - 1);
        x = t.dtype == DTYPE_i1 ? op_compare(u, "NE", after, before) : op_map2(u, OP_subtract, after, before);
    }
    return op_finish(u, x, out);
}
