/* ops_warp.c: operations of keras.ops.image that read images at computed places. */
#include "frontend/ops.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* ---- MapCoordinates ---------------------------------------------------------------------- */

typedef struct lookup {
    op_use *u;
    const char *mode;
    ir_value x;   /* all its elements as one row */
    ir_type type; /* of the tensor */
    ir_value fill;
} lookup;

/* A whole coordinate brought into 0 .. size - 1; *valid: where it lay there, for the mode "constant". */
static ir_value fold(lookup *k, ir_value at, int64_t size, ir_value *valid)
{
    op_use *u = k->u;
    ir_value here =
        op_map2(u, OP_and, op_compare_number(u, "GE", at, 0), op_compare_number(u, "LT", at, (double)size));
    *valid = *valid == IR_NONE ? here : op_map2(u, OP_and, *valid, here);
    if (strcmp(k->mode, "wrap") == 0) at = op_floor_mod(u, at, op_number(u, at, (double)size));
    if (strcmp(k->mode, "mirror") == 0 || strcmp(k->mode, "reflect") == 0) {
        const bool reflect = k->mode[0] == 'r';
        ir_value turn =
            op_map2(u, OP_remainder, op_map1(u, OP_abs, at), op_number(u, at, 2.0 * (double)size));
        ir_value back = op_map2(u, OP_subtract, op_number(u, at, 2.0 * (double)size - reflect), turn);
        at = op_choose(u, op_compare_number(u, "LT", turn, (double)size), turn, back);
    }
    return op_map_number(u, OP_minimum, op_map_number(u, OP_maximum, at, 0), (double)(size - 1));
}

/* The elements at one corner: bit i of `corner` says that coordinate i is the next one up. */
static ir_value read_corner(lookup *k, const ir_value *low, int corner)
{
    op_use *u = k->u;
    ir_value place = IR_NONE, valid = IR_NONE;
    for (int i = 0; i < k->type.rank; i++) {
        ir_value at = ir_build_convert(u->l->g, low[i], DTYPE_i32);
        if (corner >> i & 1) at = op_map_number(u, OP_add, at, 1);
        at = fold(k, at, k->type.dim[i].count, &valid);
        if (i > 0) place = op_map_number(u, OP_multiply, place, (double)k->type.dim[i].count);
        place = i == 0 ? at : op_map2(u, OP_add, place, at);
    }
    ir_value y = op_take(u, k->x, place, 0);
    if (y == IR_NONE || strcmp(k->mode, "constant") != 0) return y;
    return op_choose(u, valid, y, k->fill);
}

static ir_value interpolate(lookup *k, ir_value coordinates, int64_t order)
{
    op_use *u = k->u;
    ir_value low[IR_MAX_RANK], part[IR_MAX_RANK], sum = IR_NONE;
    const int rank = k->type.rank;
    for (int i = 0; i < rank; i++) {
        ir_value at = op_drop_dim(u, op_slice_dim(u, coordinates, 0, i, i + 1), 0);
        low[i] = op_map1(u, order == 0 ? OP_round_nearest_even : OP_floor, at);
        part[i] = op_map2(u, OP_subtract, at, low[i]);
    }
    for (int corner = 0; corner < (order == 0 ? 1 : 1 << rank); corner++) {
        ir_value y = read_corner(k, low, corner);
        if (y == IR_NONE) return IR_NONE;
        for (int i = 0; i < rank && order == 1; i++) {
            ir_value rest = op_map2(u, OP_subtract, op_number(u, part[i], 1), part[i]);
            y = op_map2(u, OP_multiply, y, corner >> i & 1 ? part[i] : rest);
        }
        sum = sum == IR_NONE ? y : op_map2(u, OP_add, sum, y);
    }
    return sum;
}

bool op_build_map_coordinates(op_use *u, fe_value *out)
{
    static const char *const names[] = {"constant", "nearest", "wrap", "mirror", "reflect"};
    lookup k = {.u = u};
    ir_value x, coordinates;
    int64_t order;
    double fill;
    bool known = false;
    if (!op_find_tensor(u, "inputs", &x) || !op_find_tensor(u, "coordinates", &coordinates) ||
        !op_find_int(u, "order", 0, &order) || !op_find_text(u, "fill_mode", &k.mode) ||
        !op_find_number_or(u, "fill_value", 0, &fill))
        return false;
    if (k.mode[0] == '\0') k.mode = "constant";
    for (size_t i = 0; i < countof(names); i++) known = known || strcmp(names[i], k.mode) == 0;
    k.type = op_type(u, x);
    const ir_type t = op_type(u, coordinates);
    if (!known || order < 0 || order > 1)
        return op_error(u, "expected an order of 0 or 1 and a mode of filling that Keras has");
    if (k.type.rank < 1 || k.type.rank > 4 || t.rank < 2 || !ir_dim_equal(t.dim[0], ir_fixed(k.type.rank)))
        return op_fail_shape(u, "a tensor of 1 to 4 dimensions and a coordinate for each", &t);
    for (int i = 0; i < k.type.rank; i++) {
        if (!op_check_fixed(u, &k.type, i, "picking by coordinates from")) return false;
    }
    if (!ir_dtype_is_float(t.dtype)) return op_error(u, "expected floating coordinates");
    k.x = ir_build_convert(u->l->g, op_flatten(u, x), t.dtype);
    k.fill = op_number(u, coordinates, fill);
    ir_value y = interpolate(&k, coordinates, order);
    if (y != IR_NONE && !ir_dtype_is_float(k.type.dtype)) y = op_map1(u, OP_round_nearest_even, y);
    return y != IR_NONE && op_finish(u, ir_build_convert(u->l->g, y, k.type.dtype), out);
}

/* ---- ScaleAndTranslate ------------------------------------------------------------------- */

static ir_value number_minus(op_use *u, double a, ir_value b)
{
    return op_map2(u, OP_subtract, op_number(u, b, a), b);
}

static ir_value cubic_kernel(op_use *u, ir_value x)
{
    ir_value near = op_map_number(u, OP_add, op_map_number(u, OP_multiply, x, 1.5), -2.5);
    near = op_map_number(u, OP_add, op_map2(u, OP_multiply, op_map2(u, OP_multiply, near, x), x), 1);
    ir_value far = op_map_number(u, OP_add, op_map_number(u, OP_multiply, x, -0.5), 2.5);
    far = op_map_number(u, OP_add, op_map2(u, OP_multiply, far, x), -4);
    far = op_map_number(u, OP_add, op_map2(u, OP_multiply, far, x), 2);
    ir_value y = op_choose(u, op_compare_number(u, "GE", x, 1), far, near);
    return op_choose(u, op_compare_number(u, "GE", x, 2), op_number(u, x, 0), y);
}

static ir_value lanczos_kernel(op_use *u, ir_value x, double radius)
{
    const double pi = 3.14159265358979323846;
    ir_value angle = op_map_number(u, OP_multiply, x, pi), slow = op_map_number(u, OP_divide, angle, radius);
    ir_value y = op_map2(u, OP_multiply, op_map1(u, OP_sine, angle), op_map1(u, OP_sine, slow));
    ir_value square = op_map_number(u, OP_multiply, op_map2(u, OP_multiply, x, x), pi * pi);
    square = op_choose(u, op_compare_number(u, "NE", x, 0), square, op_number(u, x, 1));
    y = op_map2(u, OP_divide, op_map_number(u, OP_multiply, y, radius), square);
    y = op_choose(u, op_compare_number(u, "GT", x, 1e-3), y, op_number(u, x, 1));
    return op_choose(u, op_compare_number(u, "GT", x, radius), op_number(u, x, 0), y);
}

static ir_value apply_kernel(op_use *u, const char *method, ir_value x)
{
    if (strstr(method, "lin") || strcmp(method, "triangle") == 0)
        return op_map_number(u, OP_maximum, number_minus(u, 1, x), 0);
    if (strstr(method, "cubic")) return cubic_kernel(u, x);
    if (strcmp(method, "lanczos3") == 0 || strcmp(method, "lanczos5") == 0)
        return lanczos_kernel(u, x, method[7] - '0');
    op_error(u, "the method \"%s\" is not known", method);
    return IR_NONE;
}

/* What each element of the input adds to each of the output, [from, to]. */
static ir_value build_weights(op_use *u, int64_t from, int64_t to, ir_value factor, ir_value shift,
                              const char *method, bool antialias)
{
    const ir_type t = ir_type_make(op_type(u, factor).dtype, 2, (ir_dim[]){ir_fixed(from), ir_fixed(to)});
    ir_value inverse = op_map2(u, OP_divide, op_number(u, factor, 1), factor);
    ir_value target = ir_build_convert(u->l->g, op_iota(u, DTYPE_i32, &t, 1), t.dtype);
    ir_value source = ir_build_convert(u->l->g, op_iota(u, DTYPE_i32, &t, 0), t.dtype);
    ir_value sample = op_map2(u, OP_multiply, op_map_number(u, OP_add, target, 0.5), inverse);
    sample = op_map2(u, OP_subtract, sample, op_map2(u, OP_multiply, shift, inverse));
    sample = op_map_number(u, OP_add, sample, -0.5);
    ir_value x = op_map1(u, OP_abs, op_map2(u, OP_subtract, sample, source));
    if (antialias) x = op_map2(u, OP_divide, x, op_map_number(u, OP_maximum, inverse, 1));
    ir_value weight = apply_kernel(u, method, x);
    if (weight == IR_NONE) return IR_NONE;
    ir_value sum = op_reduce(u, "add", weight, 0, true), zero = op_number(u, sum, 0);
    ir_value some = op_compare_number(u, "NE", sum, 0),
             divisor = op_choose(u, some, sum, op_number(u, sum, 1));
    ir_value enough = op_compare_number(u, "GT", op_map1(u, OP_abs, sum), 1000.0 * FLT_EPSILON);
    weight = op_choose(u, enough, op_map2(u, OP_divide, weight, divisor), zero);
    ir_value inside = op_map2(u, OP_and, op_compare_number(u, "GE", sample, -0.5),
                              op_compare_number(u, "LE", sample, (double)from - 0.5));
    return op_choose(u, inside, weight, zero);
}

bool op_build_scale_and_translate(op_use *u, fe_value *out)
{
    ir_value x, factor, shift;
    int count, rank;
    int64_t axis[IR_MAX_RANK], *size;
    const char *method;
    bool antialias;
    if (!op_find_tensor(u, "images", &x) || !op_find_int_list(u, "output_shape", &rank, &size) ||
        !op_find_pair(u, "scale", "translation", true, &factor, &shift) ||
        !op_find_ints(u, "spatial_dims", &count, axis) || !op_find_text(u, "method", &method) ||
        !op_find_bool(u, "antialias", true, &antialias))
        return false;
    const ir_type given = op_type(u, x), numbers = op_type(u, factor), more = op_type(u, shift);
    if (rank != given.rank) return op_error(u, "expected a size for each dimension as \"output_shape\"");
    if (count < 0 || !op_resolve_axes(u, given.rank, count, axis))
        return op_error(u, "expected \"spatial_dims\"");
    if (numbers.rank != 1 || !ir_type_equal(&numbers, &more) || numbers.dim[0].count != count)
        return op_fail_shape(u, "one scale and one translation a spatial dimension", &numbers);
    if (!ir_dtype_is_float(given.dtype)) return op_error(u, "expected floating images");
    for (int i = 0; i < count; i++) {
        const ir_type t = op_type(u, x);
        if (!op_check_fixed(u, &t, axis[i], "scaling along") || size[axis[i]] < 1)
            return op_fail_shape(u, "sizes", &t);
        ir_type next = t;
        next.dim[axis[i]] = ir_fixed(size[axis[i]]);
        if (!op_check_type(u, &next)) return false;
        ir_value by = op_drop_dim(u, op_slice_dim(u, factor, 0, i, i + 1), 0);
        ir_value move = op_drop_dim(u, op_slice_dim(u, shift, 0, i, i + 1), 0);
        ir_value weight =
            build_weights(u, t.dim[axis[i]].count, next.dim[axis[i]].count, by, move, method, antialias);
        if (weight == IR_NONE) return false;
        weight = ir_build_convert(u->l->g, weight, given.dtype);
        x = op_contract(u, x, weight, 1, &axis[i], (int64_t[]){0});
        if (x == IR_NONE) return false;
        x = op_move_axis(u, x, given.rank - 1, axis[i]);
    }
    return op_finish(u, x, out);
}
