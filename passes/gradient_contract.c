/* gradient_contract.c: rules of dot_general and convolution. Both gradients of a contraction are
 * contractions; they are written such that the gradient of a weight comes out in the weight's own layout. */
#include "passes/gradient.h"

#include <string.h>

#define RULE(name) void grad_##name(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)

/* ---- dot_general
 * --------------------------------------------------------------------------------------------- */

typedef struct side {
    int rank, free_count;
    int64_t batch[IR_MAX_RANK], contracting[IR_MAX_RANK], free[IR_MAX_RANK];
} side;

typedef struct product {
    int batch_count, contracting_count;
    side side[2];
} product;

static void read_side(const ir_node *n, ir_attr_name batch, ir_attr_name contracting, int rank, product *p,
                      side *s)
{
    bool bound[IR_MAX_RANK] = {false};
    const int64_t *b = ir_attr_ints(n, batch, &p->batch_count);
    const int64_t *k = ir_attr_ints(n, contracting, &p->contracting_count);
    s->rank = rank;
    for (int i = 0; i < p->batch_count; i++) bound[s->batch[i] = b[i]] = true;
    for (int i = 0; i < p->contracting_count; i++) bound[s->contracting[i] = k[i]] = true;
    for (int i = 0; i < rank; i++)
        if (!bound[i]) s->free[s->free_count++] = i;
}

/* Where each dim of side s is in [batch, first dims, second dims]; the contracting dims come in the order of
 * their numbers, as a dot_general leaves them. */
static void order_dims(const product *p, const side *s, bool free_first, int64_t *out_permutation)
{
    int place = p->batch_count;
    for (int i = 0; i < p->batch_count; i++) out_permutation[s->batch[i]] = i;
    for (int i = 0; free_first && i < s->free_count; i++) out_permutation[s->free[i]] = place++;
    for (int d = 0; d < s->rank; d++)
        for (int i = 0; i < p->contracting_count; i++)
            if (s->contracting[i] == d) out_permutation[d] = place++;
    for (int i = 0; !free_first && i < s->free_count; i++) out_permutation[s->free[i]] = place++;
}

static ir_value transpose_unless_identity(grad_ctx *c, ir_value x, int rank, const int64_t *permutation)
{
    for (int i = 0; i < rank; i++)
        if (permutation[i] != i) return ir_build_transpose(c->g, x, permutation);
    return x;
}

/* dy has dims [batch, free of lhs, free of rhs]. */
static ir_value dot_for_lhs(grad_ctx *c, const ir_node *n, const product *p, ir_value dy)
{
    const side *l = &p->side[0], *r = &p->side[1];
    ir_dot dot = {.batch_count = p->batch_count, .contracting_count = r->free_count};
    int64_t permutation[IR_MAX_RANK];
    for (int i = 0; i < p->batch_count; i++) {
        dot.lhs_batch[i] = i;
        dot.rhs_batch[i] = r->batch[i];
    }
    for (int i = 0; i < r->free_count; i++) {
        dot.lhs_contracting[i] = p->batch_count + l->free_count + i;
        dot.rhs_contracting[i] = r->free[i];
    }
    const ir_value product_value = ir_build_dot_general(c->g, dy, n->in[1], &dot);
    /* The contracted dims come in the order of rhs; lhs may have them in another. */
    int place = p->batch_count + l->free_count;
    order_dims(p, l, true, permutation);
    for (int d = 0; d < r->rank; d++)
        for (int i = 0; i < p->contracting_count; i++)
            if (r->contracting[i] == d) permutation[l->contracting[i]] = place++;
    return transpose_unless_identity(c, product_value, l->rank, permutation);
}

static ir_value dot_for_rhs(grad_ctx *c, const ir_node *n, const product *p, ir_value dy)
{
    const side *l = &p->side[0], *r = &p->side[1];
    ir_dot dot = {.batch_count = p->batch_count, .contracting_count = l->free_count};
    int64_t permutation[IR_MAX_RANK];
    for (int i = 0; i < p->batch_count; i++) {
        dot.lhs_batch[i] = l->batch[i];
        dot.rhs_batch[i] = i;
    }
    for (int i = 0; i < l->free_count; i++) {
        dot.lhs_contracting[i] = l->free[i];
        dot.rhs_contracting[i] = p->batch_count + i;
    }
    const ir_value product_value = ir_build_dot_general(c->g, n->in[0], dy, &dot);
    int place = p->batch_count;
    order_dims(p, r, false, permutation);
    for (int d = 0; d < l->rank; d++)
        for (int i = 0; i < p->contracting_count; i++)
            if (l->contracting[i] == d) permutation[r->contracting[i]] = place++;
    return transpose_unless_identity(c, product_value, r->rank, permutation);
}

RULE(dot_general)
{
    (void)v;
    product p = {0};
    if (ir_attr_find(n, ATTR_splits)) {
        adj_refuse(c, n, "it was split before it was differentiated");
        return;
    }
    read_side(n, ATTR_lhs_batch, ATTR_lhs_contracting, adj_type(c, n->in[0]).rank, &p, &p.side[0]);
    read_side(n, ATTR_rhs_batch, ATTR_rhs_contracting, adj_type(c, n->in[1]).rank, &p, &p.side[1]);
    if (adj_wants(c, n, 0)) adj_add(c, n->in[0], dot_for_lhs(c, n, &p, dy));
    if (adj_wants(c, n, 1)) adj_add(c, n->in[1], dot_for_rhs(c, n, &p, dy));
}

/* ---- convolution
 * ------------------------------------------------------------------------------------------------ */

static void read_ints(const ir_node *n, ir_attr_name name, int64_t *out)
{
    int count;
    const int64_t *item = ir_attr_ints(n, name, &count);
    if (count > 0) memcpy(out, item, (size_t)count * sizeof *out);
}

static ir_window read_window(const ir_node *n)
{
    ir_window w = {.spatial = n->type.rank - 2,
                   .reversal = ir_attr_int(n, ATTR_window_reversal, 0) != 0,
                   .lhs_layout = ir_attr_text(n, ATTR_lhs_layout),
                   .rhs_layout = ir_attr_text(n, ATTR_rhs_layout),
                   .out_layout = ir_attr_text(n, ATTR_out_layout),
                   .feature_groups = ir_attr_int(n, ATTR_feature_group_count, 1),
                   .batch_groups = ir_attr_int(n, ATTR_batch_group_count, 1)};
    read_ints(n, ATTR_window_strides, w.strides);
    read_ints(n, ATTR_padding_low, w.low);
    read_ints(n, ATTR_padding_high, w.high);
    read_ints(n, ATTR_base_dilation, w.base_dilation);
    read_ints(n, ATTR_window_dilation, w.window_dilation);
    return w;
}

static int find_letter(const char *layout, int letter) { return (int)(strchr(layout, letter) - layout); }

/* The layout with letters changed: each pair in `change` is from, to. */
static const char *relabel(grad_ctx *c, const char *layout, const char *change)
{
    char *copy = arena_strdup(c->scratch, layout);
    for (char *at = copy; *at; at++)
        for (const char *pair = change; *pair; pair += 2)
            if (*at == pair[0]) {
                *at = pair[1];
                break;
            }
    return copy;
}

/* Sizes along spatial dim i: of the spread input, of the reach of the kernel, of the spread output. */
typedef struct extent {
    int64_t in, reach, out, kernel;
} extent;

static extent measure(const grad_ctx *c, const ir_node *n, const ir_window *w, int i)
{
    const ir_type *x = ir_type_of(c->g, n->in[0]), *k = ir_type_of(c->g, n->in[1]);
    const int64_t kernel = k->dim[find_letter(w->rhs_layout, '0' + i)].count;
    return (extent){(x->dim[find_letter(w->lhs_layout, '0' + i)].count - 1) * w->base_dilation[i] + 1,
                    (kernel - 1) * w->window_dilation[i] + 1,
                    (n->type.dim[find_letter(w->out_layout, '0' + i)].count - 1) * w->strides[i] + 1, kernel};
}

/* With groups, kernel[.., i, G * o] becomes [.., G * i, o]: what each group maps from becomes what it maps
 * to. */
static ir_value swap_groups(grad_ctx *c, ir_value kernel, const ir_window *w)
{
    const int64_t groups = w->feature_groups;
    if (groups == 1) return kernel;
    const ir_type k = adj_type(c, kernel);
    const int in_at = find_letter(w->rhs_layout, 'i'), out_at = find_letter(w->rhs_layout, 'o');
    ir_type split = k, merged = k;
    for (int i = k.rank; i > out_at; i--) split.dim[i] = k.dim[i - 1];
    split.rank = k.rank + 1;
    split.dim[out_at] = ir_fixed(groups);
    split.dim[out_at + 1] = ir_fixed(k.dim[out_at].count / groups);
    int64_t permutation[IR_MAX_RANK];
    int at = 0;
    const int in_now = in_at < out_at ? in_at : in_at + 1;
    for (int i = 0; i < split.rank; i++) {
        if (i == out_at) continue;
        if (i == in_now) permutation[at++] = out_at;
        permutation[at++] = i;
    }
    merged.dim[in_at] = ir_fixed(k.dim[in_at].count * groups);
    merged.dim[out_at] = ir_fixed(k.dim[out_at].count / groups);
    kernel = ir_build_reshape(c->g, kernel, split.rank, split.dim);
    kernel = ir_build_transpose(c->g, kernel, permutation);
    return ir_build_reshape(c->g, kernel, merged.rank, merged.dim);
}

/* The gradient image, spread by the strides, under the mirrored kernel with its channels swapped. */
static ir_value convolution_for_image(grad_ctx *c, const ir_node *n, const ir_window *w, ir_value dy)
{
    ir_window back = *w;
    back.lhs_layout = w->out_layout;
    back.rhs_layout = relabel(c, w->rhs_layout, "iooi");
    back.out_layout = w->lhs_layout;
    back.reversal = !w->reversal;
    for (int i = 0; i < w->spatial; i++) {
        const extent e = measure(c, n, w, i);
        back.strides[i] = w->base_dilation[i];
        back.base_dilation[i] = w->strides[i];
        back.low[i] = e.reach - 1 - w->low[i];
        back.high[i] = e.in - e.out - back.low[i] + e.reach - 1;
    }
    return ir_build_convolution(c->g, dy, swap_groups(c, n->in[1], w), &back);
}

/* The image as a batch of channels, the gradient image as the kernel: the batch is what is summed over. */
static ir_value convolution_for_kernel(grad_ctx *c, const ir_node *n, const ir_window *w, ir_value dy)
{
    ir_window back = *w;
    back.lhs_layout = relabel(c, w->lhs_layout, "bffb");
    back.rhs_layout = relabel(c, w->out_layout, "bifo");
    back.out_layout = relabel(c, w->rhs_layout, "ibof");
    back.reversal = false;
    back.feature_groups = 1;
    back.batch_groups = w->feature_groups;
    int64_t mirrored[IR_MAX_RANK];
    for (int i = 0; i < w->spatial; i++) {
        const extent e = measure(c, n, w, i);
        back.strides[i] = w->window_dilation[i];
        back.window_dilation[i] = w->strides[i];
        back.high[i] = e.reach - 1 + e.out - e.in - w->low[i];
        mirrored[i] = find_letter(w->rhs_layout, '0' + i);
    }
    const ir_value kernel = ir_build_convolution(c->g, n->in[0], dy, &back);
    return w->reversal ? ir_build_reverse(c->g, kernel, w->spatial, mirrored) : kernel;
}

RULE(convolution)
{
    (void)v;
    const ir_window w = read_window(n);
    if (ir_attr_find(n, ATTR_splits) || w.batch_groups != 1) {
        adj_refuse(c, n, "batch groups and splits have none");
        return;
    }
    if (adj_wants(c, n, 0)) adj_add(c, n->in[0], convolution_for_image(c, n, &w, dy));
    if (adj_wants(c, n, 1)) adj_add(c, n->in[1], convolution_for_kernel(c, n, &w, dy));
}
