/* pad_images.c: convolutions of an image with few channels, and the gradients of their kernels, get the zeros around it in
 * memory: columns of a window and their channels are then one run (codegen/contraction.h), where single columns would be read
 * a few numbers at a time. Requires a graph without kernels. */
#include "passes/passes_private.h"

#include <string.h>

enum { MOST_CHANNELS = 15, BATCH = 64 }; /* runs of more channels are long enough; rows that N is taken for */

static bool is_fixed(const ir_type *t, int from)
{
    for (int d = from; d < t->rank; d++) {
        if (t->dim[d].batch || t->dim[d].count == 0) return false;
    }
    return true;
}

static bool are_all(const ir_node *n, ir_attr_name name, int64_t value)
{
    int count;
    const int64_t *item = ir_attr_ints(n, name, &count);
    for (int i = 0; i < count; i++) {
        if (item[i] != value) return false;
    }
    return true;
}

static bool has_padding(const ir_node *n)
{
    int count;
    const int64_t *low = ir_attr_ints(n, ATTR_padding_low, &count), *high = ir_attr_ints(n, ATTR_padding_high, NULL);
    for (int i = 0; i < count; i++) {
        if (low[i] > 0 || high[i] > 0) return true;
    }
    return false;
}

/* Columns of the kernel, whose channels lie next to them; 0: they do not. */
static int64_t count_columns(const ir_graph *g, const ir_node *n, bool of_kernel)
{
    const char *layout = ir_attr_text(n, of_kernel ? ATTR_out_layout : ATTR_rhs_layout);
    const ir_type *kernel = of_kernel ? &n->type : ir_type_of(g, n->in[1]);
    const int letters = (int)strlen(layout);
    if (strcmp(layout + letters - 2, of_kernel ? "bf" : "io") != 0 || layout[letters - 3] != '0' + letters - 3) return 0;
    return kernel->dim[kernel->rank - 3].count;
}

/* The image with the zeros, and the array that is so much larger that these cost next to nothing beside it. */
static bool is_small_beside(const ir_graph *g, const ir_node *n, bool of_kernel)
{
    ir_type image = *ir_type_of(g, n->in[0]);
    const ir_type *large = of_kernel ? ir_type_of(g, n->in[1]) : &n->type;
    const int64_t *low = ir_attr_ints(n, ATTR_padding_low, NULL), *high = ir_attr_ints(n, ATTR_padding_high, NULL);
    for (int s = 0; s < image.rank - 2; s++) image.dim[s + 1].count += base_max(low[s], 0) + base_max(high[s], 0);
    return is_fixed(large, 1) && 2 * ir_type_elements_at(&image, BATCH) <= ir_type_elements_at(large, BATCH);
}

static bool gains(const ir_graph *g, const ir_node *n)
{
    if (n->op != OP_convolution || n->type.dtype != DTYPE_f32 || ir_attr_find(n, ATTR_winograd)) return false;
    const ir_node *image = ir_node_of(g, n->in[0]);
    const int rank = image->type.rank;
    const char *layout = ir_attr_text(n, ATTR_lhs_layout);
    const bool of_kernel = layout[0] == 'f' && layout[rank - 1] == 'b', forward = layout[0] == 'b' && layout[rank - 1] == 'f';
    if ((!of_kernel && !forward) || rank < 3 || image->type.dtype != DTYPE_f32 || image->op == OP_convert) return false;
    if (!is_fixed(&image->type, 1) || image->type.dim[rank - 1].count > MOST_CHANNELS || !has_padding(n)) return false;
    if (ir_attr_int(n, ATTR_feature_group_count, 1) != 1 || ir_attr_int(n, ATTR_batch_group_count, 1) != 1) return false;
    if (!are_all(n, ATTR_base_dilation, 1) || !are_all(n, of_kernel ? ATTR_window_strides : ATTR_window_dilation, 1)) return false;
    if (ir_attr_int(n, ATTR_window_reversal, 0)) return false;
    return count_columns(g, n, of_kernel) > 1 && is_small_beside(g, n, of_kernel);
}

/* Columns and channels as one dim, so that the zeros are long runs too. */
static ir_value pad_image(rewrite *r, const ir_node *n)
{
    const ir_value image = r->map[n->in[0]];
    ir_type t = *ir_type_of(r->to, image);
    const int last = t.rank - 2;
    const int64_t channels = t.dim[last + 1].count;
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0}, interior[IR_MAX_RANK] = {0};
    ir_dim flat[IR_MAX_RANK];
    for (int d = 0; d < t.rank; d++) flat[d] = t.dim[d];
    flat[last].count *= channels;
    for (int s = 0; s < last; s++) {
        low[s + 1] = base_max(ir_attr_ints(n, ATTR_padding_low, NULL)[s], 0);
        high[s + 1] = base_max(ir_attr_ints(n, ATTR_padding_high, NULL)[s], 0);
        t.dim[s + 1].count += low[s + 1] + high[s + 1];
    }
    low[last] *= channels;
    high[last] *= channels;
    const ir_value rows = ir_build_reshape(r->to, image, t.rank - 1, flat);
    const ir_value padded = ir_build_pad(r->to, rows, ir_build_scalar(r->to, DTYPE_f32, 0), low, high, interior);
    return ir_build_reshape(r->to, padded, t.rank, t.dim);
}

/* What is cut off the image stays with the convolution. */
static ir_value replace(rewrite *r, const ir_node *n, arena *scratch)
{
    const ir_value in[] = {pad_image(r, n), r->map[n->in[1]]};
    ir_attr *attr = arena_array(scratch, ir_attr, (size_t)n->attr_count);
    memcpy(attr, n->attr, (size_t)n->attr_count * sizeof *attr);
    for (int i = 0; i < n->attr_count; i++) {
        if (attr[i].name != ATTR_padding_low && attr[i].name != ATTR_padding_high) continue;
        int64_t *rest = arena_array(scratch, int64_t, (size_t)attr[i].ints.count);
        for (int s = 0; s < attr[i].ints.count; s++) rest[s] = base_min(attr[i].ints.item[s], 0);
        attr[i].ints.item = rest;
    }
    return ir_build(r->to, n->op, 2, in, n->attr_count, attr, NULL);
}

bool pass_pad_images(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)m, (void)o, (void)d;
    rewrite_where(g, gains, replace);
    return true;
}
