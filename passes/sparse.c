/* sparse.c: products and sums of sparse matrices are taken from their non-zero entries. The frontend makes every sparse input
 * dense (`sparse_dense`) and the gradient follows that; here contractions and sums of such a matrix, of concatenations of
 * its columns and of sums with others become `sparse_dot` and `sparse_dot_back`, and `sweep` drops the dense one where
 * nothing else reads it. */
#include "passes/passes_private.h"

#include <string.h>

enum { MOST_PARTS = 1024 };

/* What is behind v: whole numbers of an encoding that were made integers and floating again are what they were. */
static ir_value behind(const ir_graph *g, ir_value v)
{
    ir_value x = v;
    for (const ir_node *n = ir_node_of(g, x); n->op == OP_convert; n = ir_node_of(g, x)) {
        const ir_dtype to = n->type.dtype;
        if (to != DTYPE_f32 && to != DTYPE_f64 && to != DTYPE_i64 && to != DTYPE_i32) return v;
        x = n->in[0];
    }
    const ir_node *n = ir_node_of(g, x);
    return n->op == OP_sparse_dense && ir_node_of(g, n->in[0])->op == OP_sparse_encode ? x : v;
}

/* Visits every part; *left runs out where there are too many. */
static bool find_sparse(const ir_graph *g, ir_value v, int *left)
{
    const ir_node *n = ir_node_of(g, behind(g, v));
    if (--*left < 0 || ir_type_of(g, v)->dtype != DTYPE_f32) return false;
    if (n->op == OP_sparse_dense) return true;
    const bool adds = n->op == OP_add, joins = n->op == OP_concatenate && ir_attr_int(n, ATTR_dimension, 0) == 1;
    if (n->type.rank != 2 || n->type.dtype != DTYPE_f32 || (!adds && !joins)) return false;
    int found = 0;
    for (int i = 0; i < n->in_count; i++) found += find_sparse(g, n->in[i], left);
    return adds ? found == n->in_count : found > 0;
}

static bool holds_sparse(const ir_graph *g, ir_value v)
{
    int left = MOST_PARTS;
    return find_sparse(g, v, &left) && left >= 0;
}

/* A matrix x dense, or transposed x dense: parts of the matrix for parts of the other. */
typedef ir_value (*product)(ir_graph *g, ir_value x, ir_value dense);

static ir_value build_sparse(ir_graph *g, ir_op op, ir_value rows, ir_value dense, ir_dim first)
{
    const ir_value in[] = {rows, dense};
    const ir_type type = ir_type_make(DTYPE_f32, 2, (ir_dim[]){first, ir_type_of(g, dense)->dim[1]});
    return ir_build(g, op, 2, in, 0, NULL, &type);
}

static ir_value multiply(ir_graph *g, ir_value x, ir_value dense)
{
    x = behind(g, x);
    const ir_node n = *ir_node_of(g, x);
    if (!holds_sparse(g, x)) return ir_build_dot(g, x, dense);
    if (n.op == OP_sparse_dense) return build_sparse(g, OP_sparse_dot, n.in[0], dense, n.type.dim[0]);
    ir_value sum = IR_NONE;
    int64_t from = 0;
    for (int i = 0; i < n.in_count; i++) {
        const int64_t count = ir_type_of(g, n.in[i])->dim[1].count;
        const ir_value own = n.op == OP_add ? dense : ir_build_slice_dim(g, dense, 0, from, from + count);
        const ir_value part = multiply(g, n.in[i], own);
        sum = sum == IR_NONE ? part : ir_build_binary(g, OP_add, sum, part);
        from += count;
    }
    return sum;
}

static ir_value multiply_back(ir_graph *g, ir_value x, ir_value dense)
{
    x = behind(g, x);
    const ir_node n = *ir_node_of(g, x);
    if (!holds_sparse(g, x)) {
        const ir_dot dot = {.contracting_count = 1};
        return ir_build_dot_general(g, x, dense, &dot);
    }
    if (n.op == OP_sparse_dense) return build_sparse(g, OP_sparse_dot_back, n.in[0], dense, n.type.dim[1]);
    ir_value *part = arena_array(g->arena, ir_value, (size_t)n.in_count);
    for (int i = 0; i < n.in_count; i++) part[i] = multiply_back(g, n.in[i], dense);
    return n.op == OP_add ? ir_build_binary(g, OP_add, part[0], part[1]) : ir_build_concatenate(g, n.in_count, part, 0);
}

static ir_value transpose(ir_graph *g, ir_value x) { return ir_build_transpose(g, x, (const int64_t[]){1, 0}); }

/* One operand contracted over its columns with fixed numbers, or over its rows with numbers for each. IR_NONE: not so. */
static ir_value build_contraction(ir_graph *g, const ir_node *n, int side)
{
    int count, batches;
    const int64_t *lhs = ir_attr_ints(n, ATTR_lhs_contracting, &count), *rhs = ir_attr_ints(n, ATTR_rhs_contracting, &count);
    ir_attr_ints(n, ATTR_lhs_batch, &batches);
    const ir_value x = n->in[side];
    ir_value y = n->in[1 - side];
    if (batches != 0 || count != 1 || n->type.rank != 2 || n->type.dtype != DTYPE_f32) return IR_NONE;
    if (ir_type_of(g, x)->rank != 2 || ir_type_of(g, y)->rank != 2 || !holds_sparse(g, x)) return IR_NONE;
    const int64_t own = side == 0 ? lhs[0] : rhs[0], other = side == 0 ? rhs[0] : lhs[0];
    const ir_type t = *ir_type_of(g, y);
    if (t.dim[1 - other].batch || t.dim[other].batch != (own == 0)) return IR_NONE;
    if (other == 1) y = transpose(g, y);
    const product build = own == 1 ? multiply : multiply_back;
    const ir_value z = build(g, x, y);
    return side == 0 ? z : transpose(g, z);
}

static ir_value build_sum(ir_graph *g, const ir_node *n)
{
    int count;
    const int64_t *dims = ir_attr_ints(n, ATTR_dimensions, &count);
    const ir_type t = *ir_type_of(g, n->in[0]);
    if (count != 1 || t.rank != 2 || strcmp(ir_attr_text(n, ATTR_kind), "add") != 0 || ir_attr_find(n, ATTR_splits) ||
        !holds_sparse(g, n->in[0]))
        return IR_NONE;
    const ir_type ones = ir_type_make(DTYPE_f32, 2, (ir_dim[]){t.dim[dims[0]], ir_fixed(1)});
    const product build = dims[0] == 1 ? multiply : multiply_back;
    const ir_value z = build(g, n->in[0], ir_build_fill(g, ones, 1));
    return ir_build_reshape(g, z, 1, n->type.dim);
}

/* Encodings side by side as integers, made floating: the other way round, so that they are seen. */
static ir_value build_joined(ir_graph *g, const ir_node *n)
{
    const ir_node joined = *ir_node_of(g, n->in[0]);
    bool any = false;
    if (n->type.dtype != DTYPE_f32 || joined.op != OP_concatenate || joined.type.rank != 2) return IR_NONE;
    if (joined.type.dtype != DTYPE_i64 && joined.type.dtype != DTYPE_i32) return IR_NONE;
    for (int i = 0; i < joined.in_count; i++) any = any || behind(g, joined.in[i]) != joined.in[i];
    if (!any) return IR_NONE;
    ir_value *part = arena_array(g->arena, ir_value, (size_t)joined.in_count);
    for (int i = 0; i < joined.in_count; i++) part[i] = ir_build_convert(g, joined.in[i], DTYPE_f32);
    return ir_build_concatenate(g, joined.in_count, part, (int)ir_attr_int(&joined, ATTR_dimension, 0));
}

bool pass_sparse(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)m, (void)o, (void)d;
    arena scratch = {0};
    rewrite r;
    bool any = false;
    for (size_t i = 0; i < g->count; i++) any = any || g->node[i].op == OP_sparse_dense;
    if (!any) return true;
    rewrite_begin(&r, g, &scratch);
    for (size_t i = 0; i < g->count; i++) {
        const ir_value v = rewrite_copy(&r, (ir_value)i);
        const ir_node n = *ir_node_of(r.to, v);
        ir_value better = IR_NONE;
        if (n.op == OP_reduce) better = build_sum(r.to, &n);
        if (n.op == OP_convert) better = build_joined(r.to, &n);
        for (int side = 0; side < 2 && n.op == OP_dot_general && better == IR_NONE; side++)
            better = build_contraction(r.to, &n, side);
        if (better != IR_NONE) r.map[i] = better;
    }
    rewrite_end(&r);
    arena_done(&scratch);
    return true;
}
