/* interp_contract.c: sums of products. Floats are summed in double and rounded once. With
 * splits = P the result has a leading dim: part p holds the terms p * R / P to (p + 1) * R / P
 * of the R terms, counted row-major over the contracted dims in the order in which the
 * attributes list them; for a convolution over the kernel's positions, then its input features.
 */
#include "ir/interp.h"

static interp_cell multiply_add(ir_dtype dtype, interp_cell sum, interp_cell a, interp_cell b)
{
    if (ir_dtype_is_float(dtype)) return interp_float(sum.f + a.f * b.f);
    return (interp_cell){.u = sum.u + a.u * b.u};
}

static interp_cell zero_of(ir_dtype dtype)
{
    return ir_dtype_is_float(dtype) ? interp_float(0) : interp_int(0);
}

/* ---- dot_general -------------------------------------------------------------------------- */

typedef struct dot_side {
    const ir_array *x;
    const int64_t *batch, *contracting;
    int batch_count, contracting_count;
    int64_t index[IR_MAX_RANK];
} dot_side;

static dot_side read_side(const interp *c, int operand, ir_attr_name batch,
                          ir_attr_name contracting)
{
    dot_side s = {.x = &c->in[operand]};
    s.batch = ir_attr_ints(c->node, batch, &s.batch_count);
    s.contracting = ir_attr_ints(c->node, contracting, &s.contracting_count);
    return s;
}

/* Sets the batch and free dims from an index of the result; the free dims start at dim
 * `first_free` there. Returns the result's dim after this side's. */
static int set_kept(dot_side *s, const int64_t *at, int first_free)
{
    bool taken[IR_MAX_RANK] = {false};
    for (int i = 0; i < s->batch_count; i++) {
        s->index[s->batch[i]] = at[i];
        taken[s->batch[i]] = true;
    }
    for (int i = 0; i < s->contracting_count; i++) {
        taken[s->contracting[i]] = true;
    }
    for (int i = 0; i < s->x->type.rank; i++) {
        if (!taken[i]) s->index[i] = at[first_free++];
    }
    return first_free;
}

/* Sets the contracted dims to term number `term`. */
static void set_term(dot_side *s, int64_t term)
{
    for (int i = s->contracting_count - 1; i >= 0; i--) {
        const int64_t count = s->x->type.dim[s->contracting[i]].count;
        s->index[s->contracting[i]] = term % count;
        term /= count;
    }
}

/* Column `column` of an operand in panels of `width` columns. */
static void set_column(dot_side *s, int64_t column)
{
    const int64_t width = s->x->type.dim[2].count;
    s->index[0] = column / width;
    s->index[2] = column % width;
}

static void contract_dot_general(const interp *c)
{
    const ir_type *out = &c->out->type;
    const ir_dtype dtype = c->in[0].type.dtype;
    const int64_t parts = ir_attr_int(c->node, ATTR_splits, 0);
    const int lead = parts > 0;
    dot_side a = read_side(c, 0, ATTR_lhs_batch, ATTR_lhs_contracting);
    dot_side b = read_side(c, 1, ATTR_rhs_batch, ATTR_rhs_contracting);
    int64_t at[IR_MAX_RANK + 1] = {0}, terms = 1;
    for (int i = 0; i < a.contracting_count; i++) {
        terms *= a.x->type.dim[a.contracting[i]].count;
    }
    if (!interp_has_elements(out)) return;
    do {
        const int64_t part = lead ? at[0] : 0, of = lead ? parts : 1;
        const int middle = set_kept(&a, at + lead, a.batch_count);
        if (ir_attr_find(c->node, ATTR_panels))
            set_column(&b, at[lead + middle]);
        else
            set_kept(&b, at + lead, middle);
        interp_cell sum = zero_of(dtype);
        for (int64_t term = part * terms / of; term < (part + 1) * terms / of; term++) {
            set_term(&a, term);
            set_term(&b, term);
            sum = multiply_add(dtype, sum, interp_load(a.x, interp_offset(&a.x->type, a.index)),
                               interp_load(b.x, interp_offset(&b.x->type, b.index)));
        }
        interp_store(c->out, interp_offset(out, at), sum);
    } while (interp_next(out, at));
}

/* ---- convolution -------------------------------------------------------------------------- */

/* Where the letters of a layout lie: of the image b, f; of the kernel o, i; and the spatial
 * dims. */
typedef struct conv_layout {
    int first, second, space[IR_MAX_RANK];
} conv_layout;

typedef struct conv {
    const interp *c;
    int spatial;
    conv_layout image, kernel, out;
    int64_t strides[IR_MAX_RANK], low[IR_MAX_RANK];
    int64_t base_dilation[IR_MAX_RANK], window_dilation[IR_MAX_RANK];
    bool reversal;
    int64_t feature_groups, batch_groups;
} conv;

static conv_layout read_layout(const interp *c, ir_attr_name name, char first, char second)
{
    const char *layout = ir_attr_text(c->node, name);
    conv_layout l = {0};
    for (int i = 0; layout[i]; i++) {
        if (layout[i] == first)
            l.first = i;
        else if (layout[i] == second)
            l.second = i;
        else
            l.space[layout[i] - '0'] = i;
    }
    return l;
}

static conv read_convolution(const interp *c)
{
    conv v = {.c = c, .spatial = c->in[0].type.rank - 2};
    v.image = read_layout(c, ATTR_lhs_layout, 'b', 'f');
    v.kernel = read_layout(c, ATTR_rhs_layout, 'o', 'i');
    v.out = read_layout(c, ATTR_out_layout, 'b', 'f');
    interp_attr_fill(c->node, ATTR_window_strides, v.spatial, 1, v.strides);
    interp_attr_fill(c->node, ATTR_padding_low, v.spatial, 0, v.low);
    interp_attr_fill(c->node, ATTR_base_dilation, v.spatial, 1, v.base_dilation);
    interp_attr_fill(c->node, ATTR_window_dilation, v.spatial, 1, v.window_dilation);
    v.reversal = ir_attr_int(c->node, ATTR_window_reversal, 0) != 0;
    v.feature_groups = ir_attr_int(c->node, ATTR_feature_group_count, 1);
    v.batch_groups = ir_attr_int(c->node, ATTR_batch_group_count, 1);
    return v;
}

/* The offset in the image that spatial dim `d` of the result reads at window position `w`;
 * false between or beside the pixels. */
static bool find_pixel(const conv *v, int d, int64_t at, int64_t w, int64_t *out_pixel)
{
    const int64_t place = at * v->strides[d] + w * v->window_dilation[d] - v->low[d];
    *out_pixel = place / v->base_dilation[d];
    return place >= 0 && place % v->base_dilation[d] == 0 &&
           *out_pixel < v->c->in[0].type.dim[v->image.space[d]].count;
}

/* Term number `term` (kernel position, then input feature) of the result at `at`; false: it is
 * zero. */
static bool find_term(const conv *v, const int64_t *at, int64_t term, int64_t *image,
                      int64_t *kernel)
{
    const ir_type *x = &v->c->in[0].type, *k = &v->c->in[1].type, *out = &v->c->out->type;
    const int lead = out->rank - x->rank;
    const int64_t features = k->dim[v->kernel.second].count,
                  outputs = k->dim[v->kernel.first].count;
    const int64_t batch = at[lead + v->out.first], output = at[lead + v->out.second];
    const int64_t feature_group = output / (outputs / v->feature_groups);
    const int64_t batch_group = output / (outputs / v->batch_groups);
    kernel[v->kernel.second] = term % features;
    kernel[v->kernel.first] = output;
    image[v->image.second] = feature_group * features + term % features;
    image[v->image.first] = batch_group * out->dim[lead + v->out.first].count + batch;
    term /= features;
    for (int d = v->spatial - 1; d >= 0; d--) {
        const int64_t size = k->dim[v->kernel.space[d]].count, w = term % size;
        kernel[v->kernel.space[d]] = v->reversal ? size - 1 - w : w;
        if (!find_pixel(v, d, at[lead + v->out.space[d]], w, &image[v->image.space[d]]))
            return false;
        term /= size;
    }
    return true;
}

/* How many elements lie between neighbours along dim `d`. */
static int64_t step_of(const ir_type *t, int d)
{
    int64_t step = 1;
    for (int i = d + 1; i < t->rank; i++) step *= t->dim[i].count;
    return step;
}

/* The sum of terms `term` .. `end` of the result at `at`; the features of a window position follow each other. */
static interp_cell sum_terms(const conv *v, const int64_t *at, int64_t term, int64_t end)
{
    const ir_array *x = &v->c->in[0], *k = &v->c->in[1];
    const int64_t features = k->type.dim[v->kernel.second].count;
    const int64_t x_step = step_of(&x->type, v->image.second), k_step = step_of(&k->type, v->kernel.second);
    interp_cell sum = zero_of(x->type.dtype);
    for (int64_t run; term < end; term += run) {
        int64_t image[IR_MAX_RANK], kernel[IR_MAX_RANK];
        run = features - term % features < end - term ? features - term % features : end - term;
        if (!find_term(v, at, term, image, kernel)) continue;
        const int64_t x_at = interp_offset(&x->type, image), k_at = interp_offset(&k->type, kernel);
        for (int64_t i = 0; i < run; i++)
            sum = multiply_add(x->type.dtype, sum, interp_load(x, x_at + i * x_step), interp_load(k, k_at + i * k_step));
    }
    return sum;
}

static void contract_convolution(const interp *c)
{
    const conv v = read_convolution(c);
    const ir_type *k = &c->in[1].type, *out = &c->out->type;
    const int64_t parts = ir_attr_int(c->node, ATTR_splits, 0);
    int64_t at[IR_MAX_RANK + 1] = {0};
    if (!interp_has_elements(out)) return;
    int64_t terms = k->dim[v.kernel.second].count;
    for (int d = 0; d < v.spatial; d++) {
        terms *= k->dim[v.kernel.space[d]].count;
    }
    do {
        const int64_t part = parts > 0 ? at[0] : 0, of = parts > 0 ? parts : 1;
        interp_store(c->out, interp_offset(out, at), sum_terms(&v, at, part * terms / of, (part + 1) * terms / of));
    } while (interp_next(out, at));
}

#define ROW_SOURCE(name)
#define ROW_MAP(name)
#define ROW_MOVE(name)
#define ROW_VIEW(name)
#define ROW_REDUCE(name)
#define ROW_CONTRACT(name) [OP_##name] = contract_##name,
#define ROW_NEST(name)
#define ROW_TUPLE(name)
static void (*const contract_rules[OP_COUNT])(const interp *) = {
#define OP(name, class, ...) ROW_##class(name)
#include "ir/ops.def"
};

void interp_run_contract(const interp *c)
{
    contract_rules[c->node->op](c);
}
