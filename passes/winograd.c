/* winograd.c: convolutions of 3 x 3 positions that take less time with fewer products get attribute `winograd`, the step
 * of their tiles (codegen/winograd.h): their results and, as convolutions of other layouts, the gradients of image and
 * kernel. The choice looks at shapes only: it is one and the same on every machine. Requires a graph without kernels. */
#include "passes/passes_private.h"

#include <math.h>
#include <string.h>

enum { KERNEL = 3, LEAST_CHANNELS = 16 }; /* narrower results leave most of a register tile unused */

/* The model: multiply-adds, or as much time, of a tile of step x step results; step 1: no tiles, over nine positions.
 * pair: of a channel and a result. channel: of packing, transforming and storing a channel of the image or a result;
 * the transforms of the kernel are in `pair`, since many tiles have them in common. Fitted to times on AVX-512; the
 * vector width changes all of them alike. */
typedef struct cost {
    int step;
    double pair, channel;
} cost;
static const cost costs[] = {{1, 9, 28}, {2, 16.8, 150}, {4, 38, 900}};

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
    if (lhs->rank != 4 || n->type.dtype != DTYPE_f32) return false;
    if (is_widened(g, n->in[0]) || is_widened(g, n->in[1])) return false;
    if (!is_all(n, ATTR_window_strides, 1) || !is_all(n, ATTR_base_dilation, 1) || !is_all(n, ATTR_window_dilation, 1))
        return false;
    if (ir_attr_int(n, ATTR_feature_group_count, 1) != 1 || ir_attr_int(n, ATTR_batch_group_count, 1) != 1) return false;
    *out = (window){.of_kernel = has_layouts(n, "f01b", "i01o", "01bf")};
    if (!out->of_kernel && !has_layouts(n, "b01f", "01io", "b01f") && !has_layouts(n, "b01f", "01oi", "b01f"))
        return false;
    if (!out->of_kernel && ir_attr_find(n, ATTR_splits)) return false;
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

/* Tiles at the border count in full. */
static double time_of(const window *w, const cost *x)
{
    const double tiles = (double)base_ceil_div(w->height, x->step) * (double)base_ceil_div(w->width, x->step);
    return tiles * (x->pair * (double)w->in * (double)w->out + x->channel * ((double)w->in + (double)w->out));
}

/* The step; 1: as always. Tiles have to gain a tenth. */
static int choose(const window *w, passes_winograd when)
{
    const bool any = when == PASSES_WINOGRAD_ON;
    double best = any ? INFINITY : 0.9 * time_of(w, &costs[0]);
    int step = 1;
    if (!any && (w->in < LEAST_CHANNELS || w->out < LEAST_CHANNELS)) return 1;
    for (size_t i = 1; i < countof(costs); i++) {
        const double time = time_of(w, &costs[i]);
        if (time >= best || (when == PASSES_WINOGRAD_SMALL && costs[i].step > 2)) continue;
        best = time;
        step = costs[i].step;
    }
    return step;
}

int passes_winograd_steps(const ir_graph *g, const ir_node *n, passes_winograd when, int *out_step)
{
    window w;
    int count = 0;
    const bool can = when != PASSES_WINOGRAD_OFF && describe(g, n, &w), any = when == PASSES_WINOGRAD_ON;
    const bool may = can && (any || (w.in >= LEAST_CHANNELS && w.out >= LEAST_CHANNELS));
    if (!may || !any) out_step[count++] = 0;
    for (size_t i = 1; may && i < countof(costs); i++) {
        if (when != PASSES_WINOGRAD_SMALL || costs[i].step == 2) out_step[count++] = costs[i].step;
    }
    return count;
}

static ir_value add_mark(rewrite *r, const ir_node *n, int64_t step, arena *scratch)
{
    const ir_value in[] = {r->map[n->in[0]], r->map[n->in[1]]};
    ir_attr *attr = arena_array(scratch, ir_attr, (size_t)n->attr_count + 1);
    memcpy(attr, n->attr, (size_t)n->attr_count * sizeof *attr);
    attr[n->attr_count] = (ir_attr){.name = ATTR_winograd, .i = step};
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
        const int step = !ir_attr_find(&n, ATTR_winograd) && describe(g, &n, &w) ? choose(&w, o->winograd) : 1;
        if (step > 1)
            r.map[i] = add_mark(&r, &n, step, &scratch);
        else
            rewrite_copy(&r, (ir_value)i);
    }
    rewrite_end(&r);
    arena_done(&scratch);
    return true;
}
