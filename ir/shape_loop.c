/* shape_loop.c: shape rules of reductions, contractions and windows. */
#include "ir/shape.h"

#include <string.h>

static const char reductions[] = "add multiply maximum minimum and or";

/* ---- reductions ----------------------------------------------------------------------------- */

bool shape_rule_reduce(shape_call *c)
{
    const ir_type *x = shape_in(c, 0);
    unsigned set;
    if (!shape_need_word(c, ATTR_kind, reductions)) return false;
    if (!shape_read_dims(c, ATTR_dimensions, x->rank, SHAPE_ASCENDING, &set)) return false;
    const char *kind = ir_attr_text(&c->n, ATTR_kind);
    if (ir_dtype_is_float(x->dtype) && (strcmp(kind, "and") == 0 || strcmp(kind, "or") == 0)) {
        return shape_problem(c, "kind %s of %s", kind, ir_dtype_name(x->dtype));
    }
    c->n.type.dtype = x->dtype;
    if (!shape_push_splits(c)) return false;
    for (int i = 0; i < x->rank; i++) {
        if (!(set >> i & 1) && !shape_push_dim(c, x->dim[i])) return false;
    }
    return true;
}

bool shape_rule_arg_reduce(shape_call *c)
{
    const ir_type *x = shape_in(c, 0);
    int64_t d = ir_attr_int(&c->n, ATTR_dimension, -1);
    if (!shape_need_word(c, ATTR_kind, "maximum minimum")) return false;
    if (!shape_need_range(c, "dimension", d, 0, x->rank)) return false;
    c->n.type.dtype = DTYPE_i32;
    for (int i = 0; i < x->rank; i++) {
        if (i != d && !shape_push_dim(c, x->dim[i])) return false;
    }
    return true;
}

bool shape_rule_moments(shape_call *c)
{
    const ir_type *x = shape_in(c, 0);
    if (x->rank != 2 || !ir_dtype_is_float(x->dtype) || x->dtype == DTYPE_f64) {
        return shape_problem(c, "expected a matrix of f32 or shorter floats, found %s", shape_show(c, x));
    }
    c->n.type.dtype = DTYPE_f32;
    return shape_push_splits(c) && shape_push_dim(c, ir_fixed(MOMENTS_COUNT)) && shape_push_dim(c, x->dim[1]);
}

/* ---- contractions --------------------------------------------------------------------------- */

/* Reads the paired dims of both operands and checks that they are equal. */
static bool read_pairs(shape_call *c, ir_attr_name lhs, ir_attr_name rhs, unsigned *out_lhs,
                       unsigned *out_rhs)
{
    const ir_type *a = shape_in(c, 0), *b = shape_in(c, 1);
    int count;
    const int64_t *left = ir_attr_ints(&c->n, lhs, &count), *right;
    if (!shape_read_ints(c, rhs, count, &right)) return false;
    if (!shape_read_dims(c, lhs, a->rank, SHAPE_ANY_ORDER, out_lhs) ||
        !shape_read_dims(c, rhs, b->rank, SHAPE_ANY_ORDER, out_rhs)) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (!ir_dim_equal(a->dim[left[i]], b->dim[right[i]])) {
            return shape_problem(c, "dimension %d of %s and dimension %d of %s differ",
                                 (int)left[i], shape_show(c, a), (int)right[i], shape_show(c, b));
        }
    }
    return true;
}

static bool push_free(shape_call *c, const ir_type *t, unsigned bound)
{
    for (int i = 0; i < t->rank; i++) {
        if (!(bound >> i & 1) && !shape_push_dim(c, t->dim[i])) return false;
    }
    return true;
}

/* The right operand of a product in panels: its columns are one dim of the result. */
static bool push_panels(shape_call *c, const ir_type *b, unsigned batch, unsigned contracted)
{
    const int64_t columns = ir_attr_int(&c->n, ATTR_panels, 0), most = INT64_MAX / 2;
    if (b->dtype != DTYPE_f32 || ir_attr_find(&c->n, ATTR_splits))
        return shape_problem(c, "panels: expected f32 without splits, found %s", shape_show(c, b));
    if (b->rank != 3 || batch || contracted != 2u || b->dim[0].batch || b->dim[2].batch)
        return shape_problem(c, "panels: expected [panels, contracted, columns], found %s", shape_show(c, b));
    const int64_t count = b->dim[0].count, width = b->dim[2].count;
    if (columns < 1 || width < 1 || count < 1 || count > most / width || columns > count * width ||
        columns <= (count - 1) * width)
        return shape_problem(c, "panels: %lld columns do not fill %s", (long long)columns, shape_show(c, b));
    return shape_push_dim(c, ir_fixed(columns));
}

bool shape_rule_dot_general(shape_call *c)
{
    const ir_type *a = shape_in(c, 0), *b = shape_in(c, 1);
    unsigned lhs_batch, rhs_batch, lhs, rhs;
    if (!shape_need_same_dtype(c, 0, 1)) return false;
    if (!read_pairs(c, ATTR_lhs_batch, ATTR_rhs_batch, &lhs_batch, &rhs_batch) ||
        !read_pairs(c, ATTR_lhs_contracting, ATTR_rhs_contracting, &lhs, &rhs)) {
        return false;
    }
    if ((lhs & lhs_batch) || (rhs & rhs_batch)) {
        return shape_problem(c, "a dimension is both a batch and a contracting one");
    }
    c->n.type.dtype = a->dtype;
    if (!shape_push_splits(c)) return false;
    int count;
    const int64_t *batch = ir_attr_ints(&c->n, ATTR_lhs_batch, &count);
    for (int i = 0; i < count; i++) {
        if (!shape_push_dim(c, a->dim[batch[i]])) return false;
    }
    if (!push_free(c, a, lhs | lhs_batch)) return false;
    return ir_attr_find(&c->n, ATTR_panels) ? push_panels(c, b, rhs_batch, rhs) : push_free(c, b, rhs | rhs_batch);
}

/* Where a layout text puts its two letters and the spatial dims. */
typedef struct layout {
    int first, second;
    int space[IR_MAX_RANK];
} layout;

static bool read_layout(shape_call *c, ir_attr_name name, const char *letters, int rank,
                        layout *out)
{
    const char *word = ir_attr_text(&c->n, name);
    if (strlen(word) != (size_t)rank || rank < 2) {
        return shape_problem(c, "%s: expected %d letters, found \"%s\"", ir_attr_name_text(name),
                             rank, word);
    }
    unsigned seen = 0;
    for (int i = 0; i < rank; i++) {
        bool space = word[i] >= '0' && word[i] < '0' + rank - 2;
        int slot = word[i] == letters[0]   ? 0
                   : word[i] == letters[1] ? 1
                   : space                 ? word[i] - '0' + 2
                                           : -1;
        if (slot < 0 || seen >> slot & 1) {
            return shape_problem(c,
                                 "%s: expected each of %s and the spatial dims once, found \"%s\"",
                                 ir_attr_name_text(name), letters, word);
        }
        seen |= 1u << slot;
        if (slot == 0) out->first = i;
        if (slot == 1) out->second = i;
        if (space) out->space[slot - 2] = i;
    }
    return true;
}

bool shape_slide_dim(shape_call *c, ir_dim in, shape_slide s, ir_dim *out)
{
    if (s.window < 1 || s.stride < 1 || s.base_dilation < 1 || s.window_dilation < 1) {
        return shape_problem(c, "a window, stride or dilation is less than 1");
    }
    if (in.batch) {
        bool trivial =
            s.window == 1 && s.stride == 1 && s.low == 0 && s.high == 0 && s.base_dilation == 1;
        *out = in;
        return trivial || shape_problem(c, "a window cannot slide over the batch");
    }
    const int64_t most = INT64_MAX / 8;
    if (s.base_dilation > most / (in.count + 1) || s.window_dilation > most / s.window) {
        return shape_problem(c, "a dilation is out of range");
    }
    int64_t padded = s.low + s.high + (in.count == 0 ? 0 : (in.count - 1) * s.base_dilation + 1);
    int64_t reach = (s.window - 1) * s.window_dilation + 1;
    if (padded < 0) return shape_problem(c, "padding leaves less than nothing");
    *out = ir_fixed(reach > padded ? 0 : (padded - reach) / s.stride + 1);
    return true;
}

typedef struct convolution {
    layout lhs, rhs, out;
    int64_t feature_groups, batch_groups;
    const int64_t *strides, *low, *high, *base_dilation, *window_dilation;
} convolution;

static bool read_convolution(shape_call *c, int rank, convolution *v)
{
    if (!read_layout(c, ATTR_lhs_layout, "bf", rank, &v->lhs) ||
        !read_layout(c, ATTR_rhs_layout, "io", rank, &v->rhs) ||
        !read_layout(c, ATTR_out_layout, "bf", rank, &v->out) ||
        !shape_read_ints(c, ATTR_window_strides, rank - 2, &v->strides) ||
        !shape_read_ints(c, ATTR_padding_low, rank - 2, &v->low) ||
        !shape_read_ints(c, ATTR_padding_high, rank - 2, &v->high) ||
        !shape_read_ints(c, ATTR_base_dilation, rank - 2, &v->base_dilation) ||
        !shape_read_ints(c, ATTR_window_dilation, rank - 2, &v->window_dilation)) {
        return false;
    }
    v->feature_groups = ir_attr_int(&c->n, ATTR_feature_group_count, 0);
    v->batch_groups = ir_attr_int(&c->n, ATTR_batch_group_count, 0);
    bool fits = v->feature_groups >= 1 && v->batch_groups >= 1 &&
                (v->feature_groups == 1 || v->batch_groups == 1);
    return fits || shape_problem(c, "%lld feature groups and %lld batch groups",
                                 (long long)v->feature_groups, (long long)v->batch_groups);
}

static bool check_channels(shape_call *c, const convolution *v)
{
    const ir_type *x = shape_in(c, 0), *k = shape_in(c, 1);
    ir_dim b = x->dim[v->lhs.first], f = x->dim[v->lhs.second];
    ir_dim i = k->dim[v->rhs.first], o = k->dim[v->rhs.second];
    bool fits = f.count % v->feature_groups == 0 && o.count % v->feature_groups == 0 &&
                b.count % v->batch_groups == 0 && o.count % v->batch_groups == 0;
    f.count /= v->feature_groups;
    if (fits && ir_dim_equal(f, i)) return true;
    return shape_problem(
        c, "channels of %s and of the kernel %s do not fit in %lld feature and %lld batch groups",
        shape_show(c, x), shape_show(c, k), (long long)v->feature_groups,
        (long long)v->batch_groups);
}

static bool slide_kernel(shape_call *c, const convolution *v, int i, ir_dim *out)
{
    ir_dim in = shape_in(c, 0)->dim[v->lhs.space[i]], window = shape_in(c, 1)->dim[v->rhs.space[i]];
    if (in.batch || window.batch) return shape_problem(c, "spatial dimension %d is the batch", i);
    const shape_slide s = {window.count, v->strides[i],       v->low[i],
                           v->high[i],   v->base_dilation[i], v->window_dilation[i]};
    return shape_slide_dim(c, in, s, out);
}

bool shape_rule_convolution(shape_call *c)
{
    const ir_type *x = shape_in(c, 0), *k = shape_in(c, 1);
    convolution v = {0};
    if (!shape_need_same_dtype(c, 0, 1)) return false;
    if (x->rank != k->rank || x->rank < 2) {
        return shape_problem(c, "expected an image and a kernel of one rank, found %s and %s",
                             shape_show(c, x), shape_show(c, k));
    }
    if (!read_convolution(c, x->rank, &v) || !check_channels(c, &v)) return false;
    ir_dim dim[IR_MAX_RANK];
    dim[v.out.first] = x->dim[v.lhs.first];
    dim[v.out.first].count /= v.batch_groups;
    dim[v.out.second] = k->dim[v.rhs.second];
    for (int i = 0; i < x->rank - 2; i++) {
        if (!slide_kernel(c, &v, i, &dim[v.out.space[i]])) return false;
    }
    c->n.type.dtype = x->dtype;
    if (!shape_push_splits(c)) return false;
    for (int i = 0; i < x->rank; i++) {
        if (!shape_push_dim(c, dim[i])) return false;
    }
    return true;
}

/* ---- windows -------------------------------------------------------------------------------- */

/* The shape that windows over operand 0 leave. The dilations are read only when the op has them. */
static bool slide_windows(shape_call *c, ir_type *out)
{
    static const ir_attr_name names[] = {ATTR_window_dimensions, ATTR_window_strides,
                                         ATTR_padding_low,       ATTR_padding_high,
                                         ATTR_base_dilation,     ATTR_window_dilation};
    const ir_type *x = shape_in(c, 0);
    const int64_t *item[countof(names)] = {NULL};
    for (size_t i = 0; i < countof(names); i++) {
        bool has = ir_op_has_attr(c->n.op, (int)names[i], NULL);
        if (has && !shape_read_ints(c, names[i], x->rank, &item[i])) return false;
    }
    *out = *x;
    for (int i = 0; i < x->rank; i++) {
        shape_slide s = {item[0][i], item[1][i], item[2][i], item[3][i], 1, 1};
        if (item[4]) s.base_dilation = item[4][i];
        if (item[5]) s.window_dilation = item[5][i];
        if (!shape_slide_dim(c, x->dim[i], s, &out->dim[i])) return false;
    }
    return true;
}

bool shape_rule_reduce_window(shape_call *c)
{
    return shape_need_word(c, ATTR_kind, "add multiply maximum minimum") &&
           slide_windows(c, &c->n.type);
}

bool shape_rule_select_and_scatter(shape_call *c)
{
    const ir_type *x = shape_in(c, 0), *source = shape_in(c, 1);
    ir_type windows;
    if (!shape_need_word(c, ATTR_kind, "maximum minimum") || !slide_windows(c, &windows))
        return false;
    if (!ir_type_equal(&windows, source)) {
        return shape_problem(c, "expected a source %s, found %s", shape_show(c, &windows),
                             shape_show(c, source));
    }
    c->n.type = *x;
    return true;
}
