/* ops_sort.c: operations of keras.ops that order elements: sort, top k, quantiles, sparsemax. */
#include "frontend/ops.h"

#include <math.h>
#include <string.h>

/* The tensor and the axis to sort along; without an axis all elements are one row. */
static bool find_row(op_use *u, int64_t otherwise, ir_value *out, int64_t *out_axis)
{
    int count;
    int64_t axis[IR_MAX_RANK] = {otherwise};
    if (!op_find_tensor(u, "x", out) || !op_find_ints(u, "axis", &count, axis)) return false;
    ir_type t = op_type(u, *out);
    bool flat = t.rank == 0;
    for (int i = 0; u->config->kind == FE_DICT && i < u->config->count; i++)
        flat = flat || (strcmp(u->config->key[i], "axis") == 0 && u->config->item[i].kind == FE_NULL);
    if (flat) {
        if (!op_check_type(u, &t)) return false;
        *out = op_flatten(u, *out);
        t = op_type(u, *out);
        axis[0] = 0;
    }
    *out_axis = axis[0];
    return op_resolve_axes(u, t.rank, 1, out_axis) && op_check_fixed(u, &t, *out_axis, "sorting along");
}

bool op_build_sort(op_use *u, fe_value *out)
{
    ir_value x, order = IR_NONE;
    int64_t axis;
    if (!find_row(u, -1, &x, &axis)) return false;
    const bool positions = strcmp(u->op->word, "positions") == 0;
    const bool is_bool = op_type(u, x).dtype == DTYPE_i1;
    if (is_bool) x = ir_build_convert(u->l->g, x, DTYPE_u8);
    ir_value sorted = op_sort(u, x, axis, false, positions ? &order : NULL);
    if (is_bool) sorted = op_truth(u, sorted);
    return op_finish(u, positions ? order : sorted, out);
}

bool op_build_top_k(op_use *u, fe_value *out)
{
    ir_value x, order;
    int64_t k;
    if (!op_find_tensor(u, "x", &x) || !op_find_int(u, "k", 1, &k)) return false;
    const ir_type t = op_type(u, x);
    const int last = t.rank - 1;
    if (t.rank < 1 || !op_check_fixed(u, &t, last, "sorting along"))
        return t.rank > 0 ? false : op_fail_shape(u, "a tensor with dimensions", &t);
    if (k < 1 || k > t.dim[last].count)
        return op_error(u, "expected k in 1 .. %lld, found %lld", (long long)t.dim[last].count, (long long)k);
    ir_value sorted = op_sort(u, x, last, true, &order);
    const ir_value result[] = {op_slice_dim(u, sorted, last, 0, k), op_slice_dim(u, order, last, 0, k)};
    return op_finish_list(u, 2, result, out);
}

/* True when fewer than k predictions of the row are larger than the target's. */
bool op_build_in_top_k(op_use *u, fe_value *out)
{
    ir_value targets, x;
    int64_t k;
    if (!op_find_tensor(u, "targets", &targets) || !op_find_tensor(u, "predictions", &x)) return false;
    if (!op_find_int(u, "k", 1, &k)) return false;
    const ir_type t = op_type(u, x), n = op_type(u, targets);
    if (t.rank != 2 || n.rank != 1 || !ir_dim_equal(t.dim[0], n.dim[0]) || ir_dtype_is_float(n.dtype))
        return op_fail_shape(u, "predictions [rows, classes] and one class number a row", &t);
    const ir_type classes = ir_type_with_dtype(t, n.dtype);
    ir_value spread = ir_build_broadcast_in_dim(u->l->g, targets, &classes, (int64_t[]){0});
    ir_value hit = op_compare(u, "EQ", op_iota(u, n.dtype, &t, 1), spread);
    ir_value own = op_reduce(u, "add", op_choose(u, hit, x, op_number(u, x, 0)), 1, true);
    ir_value larger = ir_build_convert(u->l->g, op_compare(u, "GT", x, own), DTYPE_i32);
    ir_value few = op_compare_number(u, "LT", op_reduce(u, "add", larger, 1, false), (double)k);
    ir_value valid = op_map2(u, OP_and, op_reduce(u, "or", hit, 1, false),
                             op_reduce(u, "and", op_map1(u, OP_is_finite, own), 1, false));
    return op_finish(u, op_map2(u, OP_and, few, valid), out);
}

/* ---- quantiles --------------------------------------------------------------------------- */

/* Keras holds them in 32 bits. */
static bool read_quantiles(op_use *u, float whole, int most, int *out_count, int *out_rank, double *out)
{
    const fe_value *v = op_find(u, "q");
    *out_count = v && v->kind == FE_LIST ? v->count : 1;
    *out_rank = v && v->kind == FE_LIST;
    if (v && v->kind == FE_TENSOR) {
        const ir_node *n = ir_node_of(u->l->g, v->tensor.value);
        const ir_attr *data = ir_attr_find(n, ATTR_data);
        if (n->op != OP_constant || n->type.rank > 1)
            return op_error(u, "expected quantiles known at compile time");
        ir_array array = {n->type, arena_copy(u->l->fe->arena, data->data.bytes, data->data.size)};
        const bool splat = data->data.size == ir_dtype_size(n->type.dtype);
        *out_rank = n->type.rank;
        *out_count = (int)base_min(ir_array_count(&array), most + 1);
        for (int i = 0; i < *out_count && i < most; i++) out[i] = ir_array_get(&array, splat ? 0 : i);
    } else if (!v) {
        out[0] = 0.5 * whole;
    } else {
        for (int i = 0; i < *out_count && i < most; i++) {
            const fe_value *item = v->kind == FE_LIST ? &v->item[i] : v;
            if (item->kind != FE_NUMBER) return op_error(u, "expected numbers as \"q\"");
            out[i] = item->number;
        }
    }
    if (*out_count > most) return op_error(u, "expected at most %d quantiles", most);
    for (int i = 0; i < *out_count; i++) {
        out[i] = (float)out[i] / whole;
        if (!(out[i] >= 0 && out[i] <= 1))
            return op_error(u, "expected a quantile in 0 .. 1, found %g", out[i]);
    }
    return true;
}

/* The reduced axes as one last one. */
static bool flatten_axes(op_use *u, const op_reduction *r, ir_value *x)
{
    const ir_type t = op_type(u, *x);
    int64_t order[IR_MAX_RANK], size = 1;
    ir_dim dim[IR_MAX_RANK];
    int kept = 0, next = 0;
    for (int i = 0; i < t.rank; i++) {
        if (next < r->count && r->axis[next] == i) {
            if (!op_check_fixed(u, &t, i, "sorting along")) return false;
            size *= t.dim[i].count;
            next++;
            continue;
        }
        dim[kept] = t.dim[i];
        order[kept++] = i;
    }
    for (int i = 0; i < r->count; i++) order[kept + i] = r->axis[i];
    dim[kept] = ir_fixed(size);
    *x = ir_build_reshape(u->l->g, ir_build_transpose(u->l->g, *x, order), kept + 1, dim);
    return true;
}

static ir_value pick(op_use *u, ir_value sorted, double at)
{
    const int last = op_type(u, sorted).rank - 1;
    const int64_t index = base_max(0, base_min((int64_t)at, op_type(u, sorted).dim[last].count - 1));
    return op_drop_dim(u, op_slice_dim(u, sorted, last, index, index + 1), last);
}

static ir_value build_quantile(op_use *u, ir_value sorted, double q, const char *method)
{
    const double last = (double)op_type(u, sorted).dim[op_type(u, sorted).rank - 1].count - 1, at = last * q;
    if (strcmp(method, "lower") == 0) return pick(u, sorted, floor(at));
    if (strcmp(method, "higher") == 0) return pick(u, sorted, ceil(at));
    if (strcmp(method, "nearest") == 0) return pick(u, sorted, nearbyint(at));
    if (strcmp(method, "midpoint") == 0) {
        ir_value sum = op_map2(u, OP_add, pick(u, sorted, floor(at)), pick(u, sorted, ceil(at)));
        return op_map_number(u, OP_multiply, sum, 0.5);
    }
    const double low = fmax(ceil(at) - 1, 0), high = fmin(low + 1, last), part = high - at;
    return op_map2(u, OP_add, op_map_number(u, OP_multiply, pick(u, sorted, high), 1 - part),
                   op_map_number(u, OP_multiply, pick(u, sorted, low), part));
}

/* The element of each row at a place of its own, f64. */
static ir_value pick_at(op_use *u, ir_value sorted, ir_value at, ir_value last)
{
    const int axis = op_type(u, sorted).rank - 1;
    at = op_map_number(u, OP_maximum, op_map2(u, OP_minimum, at, last), 0);
    ir_value index = op_insert_dim(u, ir_build_convert(u->l->g, at, DTYPE_i32), axis);
    return op_drop_dim(u, op_take_along(u, sorted, index, axis), axis);
}

/* The same of the first numbers of each row, whose positions end at `last`; behind them are NaN. */
static ir_value build_own_quantile(op_use *u, ir_value sorted, ir_value last, double q, const char *method)
{
    ir_value at = op_map_number(u, OP_multiply, last, q);
    ir_value low = op_map1(u, OP_floor, at), high = op_map1(u, OP_ceil, at);
    if (strcmp(method, "lower") == 0) return pick_at(u, sorted, low, last);
    if (strcmp(method, "higher") == 0) return pick_at(u, sorted, high, last);
    if (strcmp(method, "nearest") == 0) return pick_at(u, sorted, op_map1(u, OP_round_nearest_even, at), last);
    if (strcmp(method, "midpoint") == 0) {
        ir_value sum = op_map2(u, OP_add, pick_at(u, sorted, low, last), pick_at(u, sorted, high, last));
        return op_map_number(u, OP_multiply, sum, 0.5);
    }
    low = op_map_number(u, OP_maximum, op_map_number(u, OP_subtract, high, 1), 0);
    high = op_map2(u, OP_minimum, op_map_number(u, OP_add, low, 1), last);
    ir_value part = ir_build_convert(u->l->g, op_map2(u, OP_subtract, high, at), op_type(u, sorted).dtype);
    ir_value rest = op_map2(u, OP_subtract, op_number(u, part, 1), part);
    return op_map2(u, OP_add, op_map2(u, OP_multiply, pick_at(u, sorted, high, last), rest),
                   op_map2(u, OP_multiply, pick_at(u, sorted, low, last), part));
}

/* Where the last number of each row stands, f64; -1: there is none. */
static ir_value find_last(op_use *u, ir_value x)
{
    const int axis = op_type(u, x).rank - 1;
    ir_value is = ir_build_convert(u->l->g, op_compare(u, "EQ", x, x), DTYPE_i32);
    ir_value count = ir_build_convert(u->l->g, op_reduce(u, "add", is, axis, false), DTYPE_f64);
    return op_map_number(u, OP_subtract, count, 1);
}

/* What one quantile leaves of the tensor, with the axes kept when asked for. */
static ir_value shape_quantile(op_use *u, const op_reduction *r, ir_value y)
{
    ir_type t = op_type(u, r->x);
    for (int i = 0; i < r->count; i++) t.dim[r->axis[i]] = ir_fixed(1);
    return r->keep_dims ? ir_build_reshape(u->l->g, y, t.rank, t.dim) : y;
}

/* As an operation of a model, Keras's Quantile has no method but the linear one. Word "nan": NaN does not count. */
bool op_build_quantile(op_use *u, fe_value *out)
{
    enum { MOST = 64 };
    op_reduction r;
    const char *method = "";
    const bool own = strncmp(u->op->word, "nan", 3) == 0, percent = strstr(u->op->word, "percent") != NULL;
    double q[MOST];
    int count, rank;
    if (!op_find_reduction(u, "x", "axis", &r) || ((own || percent) && !op_find_text(u, "method", &method)))
        return false;
    if (!read_quantiles(u, percent ? 100 : 1, MOST, &count, &rank, q)) return false;
    ir_value x = ir_build_convert(u->l->g, r.x, op_real(op_type(u, r.x).dtype)), y[MOST];
    ir_value nan = ir_build_reduce(u->l->g, "or", op_is_nan(u, x), r.count, r.axis, false);
    if (!flatten_axes(u, &r, &x)) return false;
    const int last = op_type(u, x).rank - 1;
    ir_value sorted = op_sort(u, x, last, false, NULL), end = own ? find_last(u, x) : IR_NONE;
    if (own) nan = op_compare_number(u, "LT", end, 0);
    for (int i = 0; i < count; i++) {
        y[i] = own ? build_own_quantile(u, sorted, end, q[i], method) : build_quantile(u, sorted, q[i], method);
        y[i] = shape_quantile(u, &r, op_choose(u, nan, op_number(u, y[i], NAN), y[i]));
        if (rank > 0 && op_type(u, y[i]).rank == IR_MAX_RANK) return op_error(u, "expected fewer dimensions");
        if (rank > 0) y[i] = op_insert_dim(u, y[i], 0);
    }
    return op_finish(u, rank > 0 ? ir_build_concatenate(u->l->g, count, y, 0) : y[0], out);
}

/* ---- sparsemax --------------------------------------------------------------------------- */

/* The Euclidean projection onto the simplex: the sorted row tells how many elements stay positive. */
bool op_build_sparsemax(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t axis;
    if (!op_find_real(u, "x", &x) || !op_find_axis(u, "axis", op_type(u, x).rank, -1, &axis)) return false;
    const ir_type t = op_type(u, x);
    if (!op_check_fixed(u, &t, axis, "sorting along")) return false;
    ir_value sorted = op_sort(u, x, axis, true, NULL);
    ir_value sums = ir_build_cumulative(u->l->g, "add", sorted, (int)axis, false, false);
    ir_value rank = op_map_number(u, OP_add, op_iota(u, t.dtype, &t, axis), 1);
    ir_value bound = op_map2(u, OP_divide, op_map_number(u, OP_subtract, sums, 1), rank);
    ir_value support = op_compare_number(u, "GT", op_map2(u, OP_subtract, sorted, bound), 0);
    ir_value count = op_reduce(u, "add", ir_build_convert(u->l->g, support, t.dtype), axis, true);
    ir_value sum = op_reduce(u, "add", op_choose(u, support, sums, op_number(u, sums, 0)), axis, true);
    ir_value tau = op_map2(u, OP_divide, op_map_number(u, OP_subtract, sum, 1), count);
    ir_value y = op_map2(u, OP_subtract, x, tau);
    return op_finish(u, op_choose(u, op_compare_number(u, "GT", y, 0), y, op_number(u, y, 0)), out);
}
