/* ops_nn.c: windows and rearrangements of keras.ops.nn: convolutions, pooling, blocks of pixels. */
#include "frontend/layers.h"
#include "frontend/ops.h"

#include <string.h>

/* ---- convolutions ------------------------------------------------------------------------ */

static bool find_geometry(op_use *u, ir_value x, ir_value kernel, fe_conv *c, int64_t *out_channels)
{
    const ir_type t = op_type(u, x), k = op_type(u, kernel);
    const char *padding;
    c->spatial = t.rank - 2;
    c->groups = 1;
    if (c->spatial < 1 || c->spatial > 3) return op_fail_shape(u, "a tensor of rank 3 .. 5", &t);
    if (k.rank != t.rank) return op_fail_shape(u, "a kernel of the rank of the tensor", &k);
    for (int i = 0; i < k.rank; i++) {
        if (k.dim[i].batch) return op_fail_shape(u, "a kernel of a fixed size", &k);
        if (i < c->spatial) c->kernel[i] = k.dim[i].count;
    }
    if (!op_find_sizes(u, "strides", c->spatial, 1, c->strides)) return false;
    if (!op_find_sizes(u, "dilation_rate", c->spatial, 1, c->dilation)) return false;
    if (!op_find_channels_first(u, &c->channels_first) || !op_find_text(u, "padding", &padding)) return false;
    for (int i = 0; i < c->spatial; i++) {
        if (c->strides[i] < 1 || c->dilation[i] < 1)
            return op_error(u, "expected positive strides and dilations");
    }
    c->padding = strcmp(padding, "same") == 0 ? FE_PADDING_same : FE_PADDING_valid;
    if (padding[0] && strcmp(padding, "same") != 0 && strcmp(padding, "valid") != 0)
        return op_error(u, "expected \"valid\" or \"same\" as \"padding\", found \"%s\"", padding);
    const ir_dim channels = t.dim[c->channels_first ? 1 : t.rank - 1];
    if (channels.batch) return op_fail_shape(u, "fixed channels", &t);
    *out_channels = channels.count;
    return op_check_type(u, &t);
}

static bool find_operands(op_use *u, const char *kernel_name, ir_value *x, ir_value *kernel, fe_conv *c,
                          int64_t *out_channels)
{
    if (!op_find_tensor(u, "inputs", x) || !op_find_tensor(u, kernel_name, kernel)) return false;
    const ir_dtype dtype = op_real(fe_result_type(op_type(u, *x).dtype, op_type(u, *kernel).dtype));
    *x = ir_build_convert(u->l->g, *x, dtype);
    *kernel = ir_build_convert(u->l->g, *kernel, dtype);
    return find_geometry(u, *x, *kernel, c, out_channels);
}

static bool fail_kernel(op_use *u, ir_value kernel, int64_t channels)
{
    return op_error(u, "expected a kernel for %lld channels, found %s", (long long)channels,
                    fe_shape_show(u->l->fe, ir_type_of(u->l->g, kernel)));
}

bool op_build_conv(op_use *u, fe_value *out)
{
    fe_conv c = {0};
    ir_value x, kernel;
    int64_t channels;
    if (!find_operands(u, "kernel", &x, &kernel, &c, &channels)) return false;
    const ir_type k = op_type(u, kernel);
    const int64_t taken = k.dim[c.spatial].count, filters = k.dim[c.spatial + 1].count;
    if (channels % taken != 0 || filters % (channels / taken) != 0) return fail_kernel(u, kernel, channels);
    c.groups = channels / taken;
    return op_finish(u, fe_conv_build(u->l, u->l->layer, &c, x, kernel), out);
}

/* DepthwiseConv and, with word "separable", SeparableConv. */
bool op_build_depthwise_conv(op_use *u, fe_value *out)
{
    fe_conv c = {0};
    ir_value x, kernel, pointwise;
    int64_t channels;
    const bool separable = strcmp(u->op->word, "separable") == 0;
    if (!find_operands(u, separable ? "depthwise_kernel" : "kernel", &x, &kernel, &c, &channels))
        return false;
    const ir_type k = op_type(u, kernel);
    if (k.dim[c.spatial].count != channels || k.dim[c.spatial + 1].count > INT32_MAX / channels)
        return fail_kernel(u, kernel, channels);
    x = fe_conv_depthwise_build(u->l, u->l->layer, &c, x, kernel);
    if (x == IR_NONE || !separable) return op_finish(u, x, out);
    if (!op_find_tensor(u, "pointwise_kernel", &pointwise)) return false;
    pointwise = ir_build_convert(u->l->g, pointwise, op_type(u, x).dtype);
    const ir_type p = op_type(u, pointwise);
    bool fits = p.rank == k.rank && !p.dim[p.rank - 1].batch;
    for (int i = 0; fits && i < p.rank - 1; i++)
        fits = ir_dim_equal(p.dim[i], ir_fixed(i < c.spatial ? 1 : channels * k.dim[c.spatial + 1].count));
    if (!fits) return fail_kernel(u, pointwise, channels * k.dim[c.spatial + 1].count);
    return op_finish(u, fe_conv_pointwise_build(u->l, u->l->layer, &c, x, pointwise), out);
}

bool op_build_conv_transpose(op_use *u, fe_value *out)
{
    fe_conv c = {0};
    ir_value x, kernel;
    int64_t channels;
    if (!find_operands(u, "kernel", &x, &kernel, &c, &channels)) return false;
    if (op_type(u, kernel).dim[c.spatial + 1].count != channels) return fail_kernel(u, kernel, channels);
    c.has_output_padding = op_find(u, "output_padding") != NULL;
    if (!op_find_sizes(u, "output_padding", c.spatial, 0, c.output_padding)) return false;
    return op_finish(u, fe_conv_transpose_build(u->l, u->l->layer, &c, x, kernel), out);
}

/* ---- pooling ----------------------------------------------------------------------------- */

bool op_build_pool(op_use *u, fe_value *out)
{
    fe_pool p = {.maximum = strcmp(u->op->word, "maximum") == 0};
    ir_value x;
    const char *padding;
    if (!op_find_tensor(u, "inputs", &x) || !op_find_text(u, "padding", &padding)) return false;
    const ir_type t = op_type(u, x);
    p.spatial = t.rank - 2;
    if (p.spatial < 1 || p.spatial > 3) return op_fail_shape(u, "a tensor of rank 3 .. 5", &t);
    if (!op_find_sizes(u, "pool_size", p.spatial, 1, p.size)) return false;
    if (!op_find_sizes(u, "strides", p.spatial, 0, p.strides) ||
        !op_find_channels_first(u, &p.channels_first))
        return false;
    for (int i = 0; i < p.spatial; i++) {
        if (!op_find(u, "strides")) p.strides[i] = p.size[i];
        if (p.size[i] < 1 || p.strides[i] < 1) return op_error(u, "expected positive sizes and strides");
    }
    p.same = strcmp(padding, "same") == 0;
    return op_finish(u, fe_pool_build(u->l, u->l->layer, &p, x), out);
}

bool op_build_adaptive_pool(op_use *u, fe_value *out)
{
    ir_value x;
    bool channels_first;
    int64_t size[3];
    if (!op_find_tensor(u, "inputs", &x) || !op_find_channels_first(u, &channels_first)) return false;
    const ir_type t = op_type(u, x);
    const int spatial = t.rank - 2;
    if (spatial < 1 || spatial > 3) return op_fail_shape(u, "a tensor of rank 3 .. 5", &t);
    if (!op_find_sizes(u, "output_size", spatial, 0, size)) return false;
    for (int i = 0; i < spatial && x != IR_NONE; i++)
        x = fe_pool_adaptive_build(u->l, u->l->layer, x, i + (channels_first ? 2 : 1), size[i],
                                   strcmp(u->op->word, "maximum") == 0);
    return op_finish(u, x, out);
}

/* ---- blocks of pixels -------------------------------------------------------------------- */

static bool find_blocks(op_use *u, ir_value *x, int64_t *size, bool *channels_first)
{
    if (!op_find_tensor(u, "x", x) || !op_find_int(u, "block_size", 0, size)) return false;
    if (!op_find_channels_first(u, channels_first)) return false;
    if (*channels_first) *x = op_move_axis(u, *x, 1, op_type(u, *x).rank - 1);
    const ir_type t = op_type(u, *x);
    if (t.rank != 4 || t.dim[1].batch || t.dim[2].batch || t.dim[3].batch)
        return op_fail_shape(u, "images", &t);
    return *size > 1 && *size <= INT32_MAX
               ? true
               : op_error(u, "expected a block size above 1, found %lld", (long long)*size);
}

static bool finish_blocks(op_use *u, ir_value x, bool channels_first, fe_value *out)
{
    return op_finish(u, channels_first ? op_move_axis(u, x, 3, 1) : x, out);
}

bool op_build_depth_to_space(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t b;
    bool channels_first;
    if (!find_blocks(u, &x, &b, &channels_first)) return false;
    const ir_type t = op_type(u, x);
    const int64_t rows = t.dim[1].count, columns = t.dim[2].count, channels = t.dim[3].count / (b * b);
    if (t.dim[3].count % (b * b) != 0) return op_fail_shape(u, "channels that the block divides", &t);
    const ir_dim wide[] = {t.dim[0], t.dim[1], t.dim[2], ir_fixed(b), ir_fixed(b), ir_fixed(channels)};
    const ir_dim dim[] = {t.dim[0], ir_fixed(rows * b), ir_fixed(columns * b), ir_fixed(channels)};
    x = ir_build_transpose(u->l->g, ir_build_reshape(u->l->g, x, 6, wide), (int64_t[]){0, 1, 3, 2, 4, 5});
    return finish_blocks(u, ir_build_reshape(u->l->g, x, 4, dim), channels_first, out);
}

bool op_build_space_to_depth(op_use *u, fe_value *out)
{
    ir_value x;
    int64_t b;
    bool channels_first;
    if (!find_blocks(u, &x, &b, &channels_first)) return false;
    const ir_type t = op_type(u, x);
    const int64_t rows = t.dim[1].count / b, columns = t.dim[2].count / b;
    if (t.dim[1].count % b != 0 || t.dim[2].count % b != 0)
        return op_fail_shape(u, "sizes that the block divides", &t);
    const ir_dim wide[] = {t.dim[0], ir_fixed(rows), ir_fixed(b), ir_fixed(columns), ir_fixed(b), t.dim[3]};
    const ir_dim dim[] = {t.dim[0], ir_fixed(rows), ir_fixed(columns), ir_fixed(b * b * t.dim[3].count)};
    x = ir_build_transpose(u->l->g, ir_build_reshape(u->l->g, x, 6, wide), (int64_t[]){0, 1, 3, 2, 4, 5});
    return finish_blocks(u, ir_build_reshape(u->l->g, x, 4, dim), channels_first, out);
}

/* ---- columns of windows ------------------------------------------------------------------ */

/* Windows over images [N, channels, rows, columns]; places: how many windows fit. */
typedef struct columns {
    int64_t kernel[2], dilation[2], padding[2], stride[2], size[2], places[2];
} columns;

static bool find_columns(op_use *u, columns *c)
{
    if (!op_find_sizes(u, "kernel_size", 2, 1, c->kernel) || !op_find_sizes(u, "dilation", 2, 1, c->dilation))
        return false;
    if (!op_find_sizes(u, "padding", 2, 0, c->padding) || !op_find_sizes(u, "stride", 2, 1, c->stride))
        return false;
    for (int i = 0; i < 2; i++) {
        if (c->kernel[i] < 1 || c->dilation[i] < 1 || c->stride[i] < 1 || c->kernel[i] > 1 << 10)
            return op_error(u, "expected positive sizes of windows");
        const int64_t reach = (c->kernel[i] - 1) * c->dilation[i] + 1, size = c->size[i] + 2 * c->padding[i];
        if (size < reach) return op_error(u, "expected a window that fits the image");
        c->places[i] = (size - reach) / c->stride[i] + 1;
    }
    return true;
}

bool op_build_unfold(op_use *u, fe_value *out)
{
    ir_value x, part[1 << 10];
    columns c;
    if (!op_find_tensor(u, "x", &x)) return false;
    const ir_type t = op_type(u, x);
    if (t.rank != 4 || t.dim[1].batch || t.dim[2].batch || t.dim[3].batch)
        return op_fail_shape(u, "images", &t);
    c.size[0] = t.dim[2].count, c.size[1] = t.dim[3].count;
    if (!find_columns(u, &c)) return false;
    const int64_t cells = c.kernel[0] * c.kernel[1], low[] = {0, 0, c.padding[0], c.padding[1]};
    const ir_type result = ir_type_make(
        t.dtype, 3,
        (ir_dim[]){t.dim[0], ir_fixed(t.dim[1].count * cells), ir_fixed(c.places[0] * c.places[1])});
    if (cells > (int64_t)countof(part) || !op_check_type(u, &result))
        return op_error(u, "expected smaller windows");
    x = ir_build_pad(u->l->g, x, op_number(u, x, 0), low, low, NULL);
    for (int64_t i = 0; i < cells; i++) {
        const int64_t row = i / c.kernel[1] * c.dilation[0], column = i % c.kernel[1] * c.dilation[1];
        const int64_t start[] = {0, 0, row, column}, strides[] = {1, 1, c.stride[0], c.stride[1]};
        const int64_t limit[] = {-1, -1, row + (c.places[0] - 1) * c.stride[0] + 1,
                                 column + (c.places[1] - 1) * c.stride[1] + 1};
        part[i] = op_insert_dim(u, ir_build_slice(u->l->g, x, start, limit, strides), 2);
    }
    x = ir_build_concatenate(u->l->g, (int)cells, part, 2);
    return op_finish(u, ir_build_reshape(u->l->g, x, 3, result.dim), out);
}

/* The sum of the windows where they overlap. */
bool op_build_fold(op_use *u, fe_value *out)
{
    ir_value x, sum = IR_NONE;
    columns c;
    if (!op_find_tensor(u, "x", &x)) return false;
    const ir_type t = op_type(u, x);
    if (!op_find_sizes(u, "output_size", 2, 1, c.size) || !find_columns(u, &c)) return false;
    const int64_t cells = c.kernel[0] * c.kernel[1];
    if (t.rank != 3 || t.dim[1].batch || t.dim[1].count % cells != 0 || cells > 1 << 10 ||
        !ir_dim_equal(t.dim[2], ir_fixed(c.places[0] * c.places[1])))
        return op_fail_shape(u, "columns of windows that fit the image", &t);
    const ir_dim channels = ir_fixed(t.dim[1].count / cells), rows = ir_fixed(c.places[0]),
                 across = ir_fixed(c.places[1]);
    const ir_type result =
        ir_type_make(t.dtype, 4, (ir_dim[]){t.dim[0], channels, ir_fixed(c.size[0]), ir_fixed(c.size[1])});
    if (!op_check_type(u, &result)) return false;
    x = ir_build_reshape(u->l->g, x, 5, (ir_dim[]){t.dim[0], channels, ir_fixed(cells), rows, across});
    for (int64_t i = 0; i < cells; i++) {
        int64_t low[4] = {0}, high[4] = {0}, interior[4] = {0};
        for (int d = 0; d < 2; d++) {
            const int64_t at = d == 0 ? i / c.kernel[1] : i % c.kernel[1];
            low[d + 2] = at * c.dilation[d] - c.padding[d];
            interior[d + 2] = c.stride[d] - 1;
            high[d + 2] = c.size[d] - low[d + 2] - ((c.places[d] - 1) * c.stride[d] + 1);
        }
        ir_value cell = op_drop_dim(u, op_slice_dim(u, x, 2, i, i + 1), 2);
        cell = ir_build_pad(u->l->g, cell, op_number(u, cell, 0), low, high, interior);
        sum = sum == IR_NONE ? cell : op_map2(u, OP_add, sum, cell);
    }
    return op_finish(u, sum, out);
}
