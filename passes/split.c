/* split.c: a reduction or contraction whose result is small and whose reduced range is long keeps few tasks
 * busy. It gets `splits`: SPLIT_PARTS partial results in a new leading dim, and a reduce that adds them.
 * The criterion looks at shapes only, so the order of additions is the same on every machine and for any
 * number of threads. N counts as SPLIT_BATCH rows. Partial results of 16-bit floats are f32: they are rounded once, as a
 * whole. Requires a graph without kernels, swept. */
#include "passes/passes_private.h"

#include <string.h>

enum {
    SPLIT_PARTS = 16,
    SPLIT_BATCH = 64,             /* rows that N is taken for */
    SPLIT_REDUCE_RESULT = 16384,  /* reduce: results with more elements have enough tasks */
    SPLIT_REDUCE_LENGTH = 4096,   /* reduce: elements per result, at least */
    SPLIT_REDUCE_WORK = 1 << 18,  /* reduce: elements in all, at least */
    SPLIT_TILE = 96 * 256,        /* contraction: result elements of one task */
    SPLIT_TILES = 8,              /* contraction: results with more tiles have enough tasks */
    SPLIT_CONTRACT_LENGTH = 2048, /* contraction: products per result element, at least */
    SPLIT_CONTRACT_WORK = 1 << 22 /* contraction: products in all, at least */
};

static int64_t dim_size(ir_dim d) { return d.batch ? d.count * SPLIT_BATCH : d.count; }

static int64_t type_size(const ir_type *t)
{
    int64_t size = 1;
    for (int i = 0; i < t->rank; i++)
        size = base_min(size * base_min(dim_size(t->dim[i]), INT32_MAX), INT32_MAX);
    return size;
}

static bool is_narrow(const ir_type *t) { return ir_dtype_is_float(t->dtype) && ir_dtype_size(t->dtype) < 4; }

static bool has_batch(const ir_type *t)
{
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i].batch) return true;
    return false;
}

static bool splits_reduce(const ir_graph *g, const ir_node *n)
{
    const int64_t from = type_size(ir_type_of(g, n->in[0])), to = type_size(&n->type);
    return !has_batch(&n->type) && to <= SPLIT_REDUCE_RESULT && from >= SPLIT_REDUCE_WORK &&
           from / base_max(to, 1) >= SPLIT_REDUCE_LENGTH;
}

static bool splits_contraction(const ir_node *n, int64_t length)
{
    const int64_t to = type_size(&n->type);
    return !has_batch(&n->type) && to <= SPLIT_TILE * SPLIT_TILES && length >= SPLIT_CONTRACT_LENGTH &&
           base_min(to, INT32_MAX) * length >= SPLIT_CONTRACT_WORK;
}

static int64_t dot_length(const ir_graph *g, const ir_node *n)
{
    int count;
    const int64_t *dimension = ir_attr_ints(n, ATTR_lhs_contracting, &count);
    ir_type contracted = {.rank = count};
    for (int i = 0; i < count; i++) contracted.dim[i] = ir_type_of(g, n->in[0])->dim[dimension[i]];
    return type_size(&contracted);
}

/* Products per result: all of the kernel but its output channels. */
static int64_t convolution_length(const ir_graph *g, const ir_node *n)
{
    ir_type kernel = *ir_type_of(g, n->in[1]);
    kernel.dim[strchr(ir_attr_text(n, ATTR_rhs_layout), 'o') - ir_attr_text(n, ATTR_rhs_layout)] =
        ir_fixed(1);
    return type_size(&kernel);
}

static bool is_split(const ir_graph *g, const ir_node *n)
{
    if (n->type.rank >= IR_MAX_RANK || ir_attr_find(n, ATTR_splits)) return false;
    switch (n->op) {
    case OP_reduce:
        return splits_reduce(g, n);
    case OP_dot_general:
        return splits_contraction(n, dot_length(g, n));
    case OP_convolution:
        return splits_contraction(n, convolution_length(g, n));
    default:
        return false;
    }
}

static ir_value split_node(rewrite *r, const ir_node *n, arena *scratch)
{
    ir_value in[2];
    for (int i = 0; i < n->in_count; i++) {
        in[i] = r->map[n->in[i]];
        if (is_narrow(&n->type)) in[i] = ir_build_convert(r->to, in[i], DTYPE_f32);
    }
    ir_attr *attr = arena_array(scratch, ir_attr, (size_t)n->attr_count + 1);
    memcpy(attr, n->attr, (size_t)n->attr_count * sizeof *attr);
    attr[n->attr_count] = (ir_attr){.name = ATTR_splits, .i = SPLIT_PARTS};
    const ir_value parts = ir_build(r->to, n->op, n->in_count, in, n->attr_count + 1, attr, NULL);
    const int64_t leading = 0;
    const char *kind = n->op == OP_reduce ? ir_attr_text(n, ATTR_kind) : "add";
    const ir_value whole = ir_build_reduce(r->to, kind, parts, 1, &leading, false);
    return ir_build_convert(r->to, whole, n->type.dtype);
}

bool pass_split(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)m, (void)o, (void)d;
    rewrite_where(g, is_split, split_node);
    return true;
}
