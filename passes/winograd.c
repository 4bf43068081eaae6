/* winograd.c: convolutions of 3 x 3 positions that take less time with fewer products get attribute `winograd`
 * (codegen/winograd.h): their results and, as convolutions of other layouts, the gradients of image and kernel. The
 * choice looks at shapes only: it is one and the same on every machine. Requires a graph without kernels. */
#include "passes/passes_private.h"

#include <string.h>

enum { STEP = 2, KERNEL = 3 };

/* The model, in multiply-adds per tile: 16 a pair of channels and the share of a tile in transforming the kernel, which
 * a block of 112 tiles has in common; and the transforms of a channel of the image and of a result, less what products
 * over nine positions spend on packing and storing. Narrow results leave most of a register tile unused. */
enum { PAIR_COST = 17, CHANNEL_COST = 60, LEAST_CHANNELS = 16 };

typedef struct window {
    bool of_kernel;        /* the gradient of a kernel */
    int64_t in, out;       /* channels, results */
    int64_t height, width; /* of what is cut into tiles: the result, or the gradient of a result */
} window;

static bool is_all(const ir_node *n, ir_attr_name name, int64_t value)
{
    int count;
    const int64_t *item = ir_attr_ints(n, name, &count);
    return count == 2 && item[0] == value && item[1] == value;
}

static bool has_layouts(const ir_node *n, const char *lhs, const char *rhs, const char *out)
{
    return strcmp(ir_attr_text(n, ATTR_lhs_layout), lhs) == 0 && strcmp(ir_attr_text(n, ATTR_rhs_layout), rhs) == 0 &&
           strcmp(ir_attr_text(n, ATTR_out_layout), out) == 0;
}

static bool is_fixed(const ir_type *t, int from)
{
    for (int d = from; d < t->rank; d++) {
        if (t->dim[d].batch || t->dim[d].count == 0) return false;
    }
    return true;
}

/* Operands in 16 bits are multiplied by instructions of their own where there are such. */
static bool is_widened(const ir_graph *g, ir_value v)
{
    const ir_node *n = ir_node_of(g, v);
    return n->op == OP_convert && ir_dtype_size(ir_type_of(g, n->in[0])->dtype) < 4;
}

/* False when codegen has no way to do it with fewer products. */
static bool describe(const ir_graph *g, const ir_node *n, window *out)
{
    if (n->op != OP_convolution) return false;
    const ir_type *lhs = ir_type_of(g, n->in[0]), *rhs = ir_type_of(g, n->in[1]);
    if (lhs->rank != 4 || n->type.dtype != DTYPE_f32 || ir_attr_find(n, ATTR_winograd)) return false;
    if (is_widened(g, n->in[0]) || is_widened(g, n->in[1])) return false;
    if (!is_all(n, ATTR_window_strides, 1) || !is_all(n, ATTR_base_dilation, 1) || !is_all(n, ATTR_window_dilation, 1))
        return false;
    if (ir_attr_int(n, ATTR_feature_group_count, 1) != 1 || ir_attr_int(n, ATTR_batch_group_count, 1) != 1) return false;
    *out = (window){.of_kernel = has_layouts(n, "f01b", "i01o", "01bf")};
    if (!out->of_kernel && !has_layouts(n, "b01f", "01io", "b01f") && !has_layouts(n, "b01f", "01oi", "b01f"))
        return false;
    const ir_type *kernel = out->of_kernel ? &n->type : rhs, *tiled = out->of_kernel ? rhs : &n->type;
    const int first = kernel->rank - 4; /* after the dim of partial sums */
    if (kernel->dim[first].count != KERNEL || kernel->dim[first + 1].count != KERNEL) return false;
    if (!is_fixed(lhs, 1) || !is_fixed(tiled, 1) || !is_fixed(kernel, 0)) return false;
    if (out->of_kernel && ir_attr_int(n, ATTR_window_reversal, 0)) return false;
    out->in = lhs->dim[3].count;
    out->out = tiled->dim[3].count;
    out->height = tiled->dim[1].count;
    out->width = tiled->dim[2].count;
    return true;
}

/* Tiles at the border of odd images are not full. It has to gain a tenth. */
static bool is_faster(const window *w)
{
    const double in = (double)w->in, out = (double)w->out, height = (double)w->height, width = (double)w->width;
    const double tiles = (double)base_ceil_div(w->height, STEP) * (double)base_ceil_div(w->width, STEP);
    const double direct = KERNEL * KERNEL * height * width * in * out;
    const double cost = tiles * (PAIR_COST * in * out + CHANNEL_COST * (in + out));
    return w->in >= LEAST_CHANNELS && w->out >= LEAST_CHANNELS && cost < 0.9 * direct;
}

static ir_value add_mark(rewrite *r, const ir_node *n, arena *scratch)
{
    const ir_value in[] = {r->map[n->in[0]], r->map[n->in[1]]};
    ir_attr *attr = arena_array(scratch, ir_attr, (size_t)n->attr_count + 1);
    memcpy(attr, n->attr, (size_t)n->attr_count * sizeof *attr);
    attr[n->attr_count] = (ir_attr){.name = ATTR_winograd, .i = 1};
    r->to->origin = n->origin;
    return ir_build(r->to, n->op, 2, in, n->attr_count + 1, attr, NULL);
}

bool pass_winograd(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)m, (void)d;
    if (o->winograd == PASSES_WINOGRAD_OFF) return true;
    arena scratch = {0};
    rewrite r;
    rewrite_begin(&r, g, &scratch);
    for (size_t i = 0; i < g->count; i++) {
        const ir_node n = g->node[i];
        window w;
        if (describe(g, &n, &w) && (o->winograd == PASSES_WINOGRAD_ON || is_faster(&w)))
            r.map[i] = add_mark(&r, &n, &scratch);
        else
            rewrite_copy(&r, (ir_value)i);
    }
    rewrite_end(&r);
    arena_done(&scratch);
    return true;
}
