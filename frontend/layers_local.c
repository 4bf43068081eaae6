/* layers_local.c: LocallyConnected1D and 2D of Keras 2: convolutions that have a kernel of their own at each
 * position. The kernel is kept as Keras keeps it: implementation 1 [positions, window, filters], a product for each
 * position; implementation 2 [input, output], of which what is outside of the windows counts as zero; implementation 3
 * only the elements of that matrix that are inside, in its order. */
#include "frontend/layers.h"
#include "frontend/ops.h"

enum { MOST_WINDOW = 4096 }; /* each element of a window is a slice of the input */

typedef struct local_state {
    int spatial;
    int64_t filters, kernel[2], strides[2], implementation;
    bool same, channels_first, use_bias;
    const ir_record *activation;
    fe_weight_config weight, bias;
} local_state;

/* One call: sizes of the input and of the result. */
typedef struct local {
    const local_state *s;
    ir_type type;
    int64_t channels, in[2], out[2];
} local;

static bool check_implementation(fe_config *c, const local_state *s)
{
    const json_at at = fe_key(c, "implementation"), padding_at = fe_key(c, "padding");
    if (s->implementation > 3)
        return fe_error(c->fe, &at, "expected 1, 2 or 3, found %lld", (long long)s->implementation);
    if (s->same && s->implementation == 1)
        return fe_error(c->fe, &padding_at, "expected \"valid\" with implementation 1, found \"same\"");
    return true;
}

bool fe_read_locally_connected(fe *f, fe_layer *layer, fe_config *c)
{
    static const char *const paddings[] = {"valid", "same", NULL};
    local_state *s = arena_new(f->arena, local_state);
    int choice = 0;
    layer->state = s;
    s->spatial = fe_spatial_rank(layer);
    bool ok = fe_size_read(c, "filters", 0, &s->filters);
    ok = fe_sizes_read(c, "kernel_size", s->spatial, 1, 1, s->kernel) && ok;
    ok = fe_sizes_read(c, "strides", s->spatial, 1, 1, s->strides) && ok;
    ok = fe_config_choice(c, "padding", paddings, &choice) && ok;
    s->same = choice == 1;
    ok = fe_channels_first_read(c, &s->channels_first) && ok;
    ok = fe_config_int_or(c, "implementation", 1, 1, &s->implementation) && ok;
    ok = fe_activation_or_layer_read(c, layer, &s->activation) && ok;
    ok = fe_config_bool_or(c, "use_bias", true, &s->use_bias) && ok;
    ok = fe_weight_config_read(c, "kernel", "glorot_uniform", &s->weight) && ok;
    ok = fe_weight_config_read(c, "bias", "zeros", &s->bias) && ok;
    ok = ok && check_implementation(c, s);
    return fe_config_done(c) && ok;
}

static bool measure(fe_lower *l, fe_layer *layer, local *a)
{
    const local_state *s = a->s;
    int64_t window = 1;
    if (!fe_size_check(l, layer, &a->type) ||
        !fe_dim_get(l, layer, &a->type, s->channels_first ? 1 : s->spatial + 1, &a->channels))
        return false;
    for (int i = 0; i < s->spatial; i++) {
        if (!fe_dim_get(l, layer, &a->type, i + (s->channels_first ? 2 : 1), &a->in[i])) return false;
        if (s->kernel[i] > a->in[i])
            return fe_layer_error(l->fe, layer, "expected an input that the kernel fits in (%lld wide), found %s",
                                  (long long)s->kernel[i], fe_shape_show(l->fe, &a->type));
        a->out[i] = base_ceil_div(a->in[i] - (s->same ? 0 : s->kernel[i] - 1), s->strides[i]);
        window = base_min(window * s->kernel[i], MOST_WINDOW + 1);
    }
    if (s->implementation == 1 && window > MOST_WINDOW)
        return fe_layer_error(l->fe, layer, "expected a kernel of at most %d elements", MOST_WINDOW);
    return true;
}

/* x, channels last: [N, positions, window, channels]. */
static ir_value build_windows(fe_lower *l, const local *a, ir_value x)
{
    const local_state *s = a->s;
    const bool flat = s->spatial == 1;
    const int64_t columns = flat ? 1 : s->kernel[1], places = a->out[0] * (flat ? 1 : a->out[1]);
    const int count = (int)(s->kernel[0] * columns);
    const ir_dim dim[4] = {a->type.dim[0], ir_fixed(places), ir_fixed(1), ir_fixed(a->channels)};
    ir_value *part = arena_array(l->fe->arena, ir_value, (size_t)count);
    for (int i = 0; i < count; i++) {
        const int64_t at[2] = {i / columns, i % columns};
        int64_t start[4] = {0}, limit[4] = {-1}, strides[4] = {1};
        for (int d = 0; d < s->spatial; d++) {
            start[d + 1] = at[d];
            limit[d + 1] = at[d] + (a->out[d] - 1) * s->strides[d] + 1;
            strides[d + 1] = s->strides[d];
        }
        limit[s->spatial + 1] = a->channels;
        strides[s->spatial + 1] = 1;
        part[i] = ir_build_reshape(l->g, ir_build_slice(l->g, x, start, limit, strides), 4, dim);
    }
    return ir_build_concatenate(l->g, count, part, 2);
}

/* Implementation 1: one product for each position. */
static ir_value build_by_position(fe_lower *l, fe_layer *layer, const local *a, ir_value x)
{
    static const int64_t last[2][4] = {{0, 2, 1}, {0, 2, 3, 1}}, first[2][4] = {{0, 2, 1}, {0, 3, 1, 2}};
    static const int64_t channels_before[4] = {0, 1, 3, 2}, batch_first[3] = {1, 0, 2};
    const ir_dot dot = {.batch_count = 1, .lhs_batch = {1}, .contracting_count = 1, .lhs_contracting = {2},
                        .rhs_contracting = {1}};
    const local_state *s = a->s;
    if (s->channels_first) x = ir_build_transpose(l->g, x, last[s->spatial - 1]);
    ir_value windows = build_windows(l, a, x);
    if (s->channels_first) windows = ir_build_transpose(l->g, windows, channels_before);
    ir_type t = fe_type(l, windows);
    const fe_shape shape = {3, {t.dim[1].count, t.dim[2].count * t.dim[3].count, s->filters}};
    t.dim[2] = ir_fixed(shape.dim[1]);
    const ir_value kernel = fe_layer_weight(l, layer, "kernel", &s->weight, shape);
    if (kernel == IR_NONE) return IR_NONE;
    ir_value y = ir_build_dot_general(l->g, ir_build_reshape(l->g, windows, 3, t.dim), kernel, &dot);
    ir_type result = a->type;
    for (int d = 0; d < s->spatial; d++) result.dim[d + 1] = ir_fixed(a->out[d]);
    result.dim[s->spatial + 1] = ir_fixed(s->filters);
    y = ir_build_reshape(l->g, ir_build_transpose(l->g, y, batch_first), result.rank, result.dim);
    return s->channels_first ? ir_build_transpose(l->g, y, first[s->spatial - 1]) : y;
}

/* Which elements of the matrix lie in windows; dims: the input's without the batch, then the result's. */
static ir_value build_inside(fe_lower *l, const local *a, ir_type t)
{
    const local_state *s = a->s;
    const int skip = s->channels_first ? 1 : 0;
    ir_value inside = IR_NONE;
    t.dtype = DTYPE_i32;
    for (int d = 0; d < s->spatial; d++) {
        const int64_t before = s->same ? s->kernel[d] / 2 : 0;
        ir_value start = ir_build_iota(l->g, t, s->spatial + 1 + skip + d);
        start = ir_build_binary_scalar(l->g, OP_multiply, start, (double)s->strides[d]);
        ir_value place = ir_build_binary(l->g, OP_subtract, ir_build_iota(l->g, t, skip + d), start);
        place = ir_build_binary_scalar(l->g, OP_add, place, (double)before);
        const ir_value end = ir_build_fill(l->g, t, (double)s->kernel[d]);
        ir_value fits = ir_build_binary(l->g, OP_and,
                                        ir_build_compare(l->g, "GE", place, ir_build_fill(l->g, t, 0)),
                                        ir_build_compare(l->g, "LT", place, end));
        inside = inside == IR_NONE ? fits : ir_build_binary(l->g, OP_and, inside, fits);
    }
    return inside;
}

/* The places [input, output] that lie in windows, as Keras orders them: by the element of the result, then of the
 * input. Their number. */
static int64_t list_inside(const local *a, const fe_shape *shape, const ir_dim *sizes, int32_t *out)
{
    const local_state *s = a->s;
    const int half = s->spatial + 1, skip = s->channels_first ? 1 : 0;
    int64_t at[IR_MAX_RANK] = {0}, count = 0;
    for (int64_t i = 0; i < sizes[0].count * sizes[1].count; i++) {
        const int64_t to = i / sizes[0].count, from = i % sizes[0].count;
        bool inside = true;
        int64_t rest = from * sizes[1].count + to;
        const int64_t place = rest;
        for (int d = shape->rank; d-- > 0; rest /= shape->dim[d]) at[d] = rest % shape->dim[d];
        for (int d = 0; d < s->spatial; d++) {
            const int64_t start = at[half + skip + d] * s->strides[d] - (s->same ? s->kernel[d] / 2 : 0);
            inside = inside && at[skip + d] >= start && at[skip + d] < start + s->kernel[d];
        }
        if (inside) out[count++] = (int32_t)place;
    }
    return count;
}

/* Implementation 3: the matrix, flat, from its elements. */
static ir_value spread_kernel(fe_lower *l, fe_layer *layer, const local *a, const fe_shape *shape, const ir_dim *sizes)
{
    const ir_dim all = ir_fixed(sizes[0].count * sizes[1].count);
    int32_t *place = arena_array(l->fe->arena, int32_t, (size_t)all.count);
    const int64_t count = list_inside(a, shape, sizes, place);
    const ir_value kernel = fe_layer_weight(l, layer, "kernel", &a->s->weight, (fe_shape){1, {count}});
    if (kernel == IR_NONE) return IR_NONE;
    op_use u = {.l = l};
    const ir_dim column[2] = {ir_fixed(count), ir_fixed(1)};
    const ir_value indices = ir_build_constant(l->g, ir_type_make(DTYPE_i32, 2, column), place);
    const ir_value zeros = ir_build_fill(l->g, ir_type_make(fe_type(l, kernel).dtype, 1, &all), 0);
    return op_scatter(&u, "add", zeros, indices, kernel);
}

/* Implementations 2 and 3: one matrix from all of the input to all of the result. */
static ir_value build_by_matrix(fe_lower *l, fe_layer *layer, const local *a, ir_value x)
{
    const local_state *s = a->s;
    const int half = s->spatial + 1, skip = s->channels_first ? 1 : 0, channel = s->channels_first ? 0 : s->spatial;
    fe_shape shape = {.rank = 2 * half};
    ir_type t = {.dtype = layer->compute_dtype, .rank = 2 * half}, result = a->type;
    shape.dim[channel] = a->channels;
    shape.dim[half + channel] = s->filters;
    for (int d = 0; d < s->spatial; d++) {
        shape.dim[skip + d] = a->in[d];
        shape.dim[half + skip + d] = a->out[d];
    }
    ir_dim sizes[2] = {ir_fixed(1), ir_fixed(1)};
    for (int d = 0; d < 2 * half; d++) t.dim[d] = ir_fixed(shape.dim[d]);
    if (!fe_size_check(l, layer, &t)) return IR_NONE;
    for (int d = 0; d < 2 * half; d++) sizes[d / half].count *= shape.dim[d];
    for (int d = 0; d < half; d++) result.dim[d + 1] = t.dim[half + d];
    const bool flat_kernel = s->implementation == 3;
    ir_value kernel = flat_kernel ? spread_kernel(l, layer, a, &shape, sizes)
                                  : fe_layer_weight(l, layer, "kernel", &s->weight, shape);
    if (kernel == IR_NONE) return IR_NONE;
    if (!flat_kernel) kernel = ir_build_select(l->g, build_inside(l, a, t), kernel, ir_build_fill(l->g, t, 0));
    const ir_dim flat[2] = {a->type.dim[0], sizes[0]};
    const ir_value y =
        ir_build_dot(l->g, ir_build_reshape(l->g, x, 2, flat), ir_build_reshape(l->g, kernel, 2, sizes));
    return ir_build_reshape(l->g, y, result.rank, result.dim);
}

/* Each position has its own bias, kept channels last; for channels first Keras reads its numbers in another shape. */
static ir_value add_bias(fe_lower *l, fe_layer *layer, const local *a, ir_value y)
{
    static const int64_t places[3] = {1, 2, 3};
    const local_state *s = a->s;
    fe_shape shape = {.rank = s->spatial + 1};
    for (int d = 0; d < s->spatial; d++) shape.dim[d] = a->out[d];
    shape.dim[s->spatial] = s->filters;
    ir_value bias = fe_layer_weight(l, layer, "bias", &s->bias, shape);
    if (bias == IR_NONE) return IR_NONE;
    const ir_type t = fe_type(l, y);
    bias = ir_build_reshape(l->g, bias, shape.rank, &t.dim[1]);
    return ir_build_binary(l->g, OP_add, y, ir_build_broadcast_in_dim(l->g, bias, &t, places));
}

bool fe_call_locally_connected(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const local_state *s = layer->state;
    local a = {.s = s};
    fe_tensor x;
    if (!fe_input_get(l, layer, args, s->spatial + 2, s->spatial + 2, &x)) return false;
    a.type = fe_type(l, x.value);
    if (!measure(l, layer, &a)) return false;
    const ir_value in = ir_build_convert(l->g, x.value, layer->compute_dtype);
    ir_value y = s->implementation == 1 ? build_by_position(l, layer, &a, in) : build_by_matrix(l, layer, &a, in);
    if (y == IR_NONE) return false;
    if (s->use_bias) y = add_bias(l, layer, &a, y);
    if (y == IR_NONE) return false;
    return fe_activation_finish(l, layer, s->activation, y, out);
}
