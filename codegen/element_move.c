/* element_move.c: MOVE ops. An element of the result is an operand's element at another index, so a rule
 * rewrites the index. Where an element may come from several operands all are read, at indices that are safe
 * for each, and the right one is selected: the emitted code has no branches. */
#include "codegen/cg_rules.h"

static const int64_t *ints_of(const ir_node *n, ir_attr_name name)
{
    int count;
    return ir_attr_ints(n, name, &count);
}

static bool is_unit(ir_dim d) { return d.count == 1 && !d.batch; }

/* The same lanes and mask, with another rank; coordinates are to be filled in. */
static cg_index like(const cg_index *x, int rank)
{
    return (cg_index){.rank = rank, .lanes = x->lanes, .mask = x->mask};
}

cg_value cg_read_broadcast_in_dim(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    const ir_type *in = cg_type(c, n->in[0]);
    const int64_t *to = ints_of(n, ATTR_dimensions);
    cg_index x = like(index, in->rank);
    for (int d = 0; d < in->rank; d++) {
        bool expanded = is_unit(in->dim[d]) && !is_unit(n->type.dim[to[d]]);
        x.at[d] = expanded ? cg_coord_uniform(cg_i64(c, 0)) : index->at[to[d]];
    }
    return cg_element_uniform(c, n->in[0], &x);
}

cg_value cg_read_transpose(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    const int64_t *from = ints_of(n, ATTR_dimensions);
    cg_index x = like(index, n->type.rank);
    for (int d = 0; d < n->type.rank; d++) x.at[from[d]] = index->at[d];
    return cg_element_uniform(c, n->in[0], &x);
}

cg_value cg_read_slice(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    const int64_t *start = ints_of(n, ATTR_start), *stride = ints_of(n, ATTR_strides);
    cg_index x = *index;
    for (int d = 0; d < n->type.rank; d++) {
        x.at[d] = cg_coord_scale(c, &x.at[d], ir_fixed(stride[d]), x.lanes);
        x.at[d] = cg_coord_add(c, &x.at[d], cg_i64(c, start[d]));
    }
    return cg_element_uniform(c, n->in[0], &x);
}

cg_value cg_read_reverse(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    int count;
    const int64_t *dims = ir_attr_ints(n, ATTR_dimensions, &count);
    cg_index x = *index;
    for (int i = 0; i < count; i++) {
        cg_coord *at = &x.at[dims[i]];
        cg_value last = cg_sub(c, cg_dim(c, n->type.dim[dims[i]]), cg_i64(c, 1));
        if (at->lanes) {
            at->lanes = cg_sub(c, last, at->lanes);
        } else {
            *at = (cg_coord){.base = cg_sub(c, last, at->base), .step = -at->step, .align = 1};
        }
    }
    return cg_element_uniform(c, n->in[0], &x);
}

static cg_value both(cg *c, cg_value a, cg_value b) { return !a ? b : !b ? a : cg_and(c, a, b); }

/* Moves coordinate *at back by `low` and by the gaps between elements; the predicate tells which lanes meet
 * an element of the operand. */
static cg_value limit_padded(cg *c, cg_coord *at, cg_value low, int64_t interior, cg_value size, cg_index *x)
{
    *at = cg_coord_add(c, at, cg_sub(c, cg_i64(c, 0), low));
    if (interior == 0) return cg_coord_limit(c, at, size, x);
    const bool uniform = cg_coord_is_uniform(at);
    const int64_t pitch = interior + 1;
    cg_value p = uniform ? at->base : cg_coord_lanes(c, at, x->lanes);
    cg_value quotient = cg_div(c, p, cg_i64(c, pitch));
    cg_value exact = cg_icmp(c, LLVMIntEQ, cg_mul(c, quotient, cg_i64(c, pitch)), p);
    cg_value inside = cg_and(c, exact, cg_icmp(c, LLVMIntULT, quotient, size));
    cg_value safe = cg_select(c, inside, quotient, LLVMConstNull(LLVMTypeOf(quotient)));
    *at = uniform ? cg_coord_uniform(safe) : (cg_coord){.base = cg_i64(c, 0), .lanes = safe};
    return inside;
}

cg_value cg_read_pad(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    const ir_type *in = cg_type(c, n->in[0]);
    const int64_t *low = ints_of(n, ATTR_low), *high = ints_of(n, ATTR_high),
                  *gap = ints_of(n, ATTR_interior);
    const int choice = c->choice ? c->choice[v] : 0; /* about the last dim only */
    cg_index x = *index, none = like(index, 0);
    cg_value inside = NULL;
    if (choice == 2) return cg_element_uniform(c, n->in[1], &none);
    for (int d = 0; d < in->rank; d++) {
        if (!low[d] && !high[d] && !gap[d]) continue;
        cg_value size = cg_dim(c, in->dim[d]);
        if ((low[d] <= 0 && high[d] <= 0 && !gap[d]) || (choice == 1 && d == in->rank - 1)) {
            x.at[d] = cg_coord_add(c, &x.at[d], cg_i64(c, -low[d]));
        } else {
            inside = both(c, inside, limit_padded(c, &x.at[d], cg_i64(c, low[d]), gap[d], size, &x));
        }
    }
    cg_value value = cg_element_uniform(c, n->in[0], &x);
    return inside ? cg_select(c, inside, value, cg_element_uniform(c, n->in[1], &none)) : value;
}

cg_value cg_read_concatenate(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    const int dim = (int)ir_attr_int(n, ATTR_dimension, 0);
    cg_value out = NULL, low = cg_i64(c, 0);
    for (int i = 0; i < n->in_count; i++) {
        cg_value size = cg_dim(c, cg_type(c, n->in[i])->dim[dim]);
        cg_index x = *index;
        const int choice = c->choice ? c->choice[v] : 0;
        if (choice && choice != 1 + i) {
            low = cg_add(c, low, size);
            continue;
        }
        x.at[dim] = cg_coord_add(c, &x.at[dim], cg_sub(c, cg_i64(c, 0), low));
        if (choice) return cg_element_uniform(c, n->in[i], &x);
        cg_value inside = cg_coord_limit(c, &x.at[dim], size, &x);
        low = cg_add(c, low, size);
        if (LLVMIsAConstantInt(inside) && !LLVMConstIntGetZExtValue(inside)) continue;
        cg_value value = cg_element_uniform(c, n->in[i], &x);
        out = out ? cg_select(c, inside, value, out) : value;
    }
    bug_if(!out, "a concatenation without operands");
    return out;
}

/* An integer scalar as i64. */
static cg_value read_start(cg *c, ir_value v)
{
    const cg_index none = {.lanes = 1};
    bool is_signed = ir_dtype_class_of(cg_type(c, v)->dtype) == DTYPE_SIGNED;
    return LLVMBuildIntCast2(c->b, cg_element(c, v, &none), c->i64, is_signed, "");
}

/* Start of a slice of `size` in a dim, moved into range. */
static cg_value clamp_start(cg *c, cg_value start, ir_dim dim, ir_dim size)
{
    cg_value last = cg_sub(c, cg_dim(c, dim), cg_dim(c, size));
    return cg_max(c, cg_min(c, start, last), cg_i64(c, 0));
}

cg_value cg_read_dynamic_slice(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    const ir_type *in = cg_type(c, n->in[0]);
    cg_index x = *index;
    for (int d = 0; d < in->rank; d++) {
        if (ir_dim_equal(in->dim[d], n->type.dim[d])) continue;
        cg_value start = clamp_start(c, read_start(c, n->in[1 + d]), in->dim[d], n->type.dim[d]);
        x.at[d] = cg_coord_add(c, &x.at[d], start);
    }
    return cg_element_uniform(c, n->in[0], &x);
}

cg_value cg_read_dynamic_update_slice(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    const ir_type *update = cg_type(c, n->in[1]);
    cg_index x = *index;
    cg_value inside = NULL;
    for (int d = 0; d < update->rank; d++) {
        if (ir_dim_equal(update->dim[d], n->type.dim[d])) continue;
        cg_value start = clamp_start(c, read_start(c, n->in[2 + d]), n->type.dim[d], update->dim[d]);
        inside = both(c, inside, limit_padded(c, &x.at[d], start, 0, cg_dim(c, update->dim[d]), &x));
    }
    cg_value value = cg_element_uniform(c, n->in[1], &x);
    return inside ? cg_select(c, inside, value, cg_element_uniform(c, n->in[0], index)) : value;
}

/* ---- reshape of what is not in memory ------------------------------------------------------- */

static ir_dim product(ir_dim a, ir_dim b) { return (ir_dim){a.count * b.count, a.batch | b.batch}; }

/* One group of dims of both shapes with equal products: dims [i, i_end) of the result, [j, j_end) of the
 * operand. */
typedef struct group {
    int i, i_end, j, j_end;
} group;

/* The next group after g; false at the end. */
static bool next_group(const ir_type *x, const ir_type *y, group *g)
{
    g->i = g->i_end;
    g->j = g->j_end;
    if (g->i >= x->rank && g->j >= y->rank) return false;
    ir_dim a = ir_fixed(1), b = ir_fixed(1);
    do {
        bool left = a.batch == b.batch ? a.count < b.count : !a.batch;
        if (ir_dim_equal(a, b)) left = g->i_end < x->rank;
        left = g->i_end >= x->rank ? false : g->j_end >= y->rank ? true : left;
        if (left) {
            a = product(a, x->dim[g->i_end++]);
        } else {
            b = product(b, y->dim[g->j_end++]);
        }
    } while (!ir_dim_equal(a, b) && (g->i_end < x->rank || g->j_end < y->rank));
    return true;
}

/* Splits a position within a group into coordinates of the operand. */
static void split_group(cg *c, const ir_type *y, const group *g, cg_coord at, cg_index *out_index)
{
    int outer = g->j;
    while (outer < g->j_end - 1 && is_unit(y->dim[outer])) outer++;
    for (int d = g->j_end - 1; d >= g->j; d--) {
        if (is_unit(y->dim[d]) || d < outer) {
            out_index->at[d] = cg_coord_uniform(cg_i64(c, 0));
        } else if (d == outer) {
            out_index->at[d] = at;
        } else {
            cg_coord rest;
            cg_coord_divide(c, &at, y->dim[d], out_index, &rest, &out_index->at[d]);
            at = rest;
        }
    }
}

cg_value cg_read_reshape(cg *c, ir_value v, const cg_index *index)
{
    const ir_node *n = cg_node(c, v);
    const ir_type *y = cg_type(c, n->in[0]);
    cg_index x = like(index, y->rank);
    group g = {0};
    while (next_group(&n->type, y, &g)) {
        cg_coord at = cg_coord_uniform(cg_i64(c, 0));
        for (int d = g.i; d < g.i_end; d++) {
            if (is_unit(n->type.dim[d])) continue;
            at = cg_coord_scale(c, &at, n->type.dim[d], x.lanes);
            at = cg_coord_sum(c, &at, &index->at[d], x.lanes);
        }
        split_group(c, y, &g, at, &x);
    }
    return cg_element_uniform(c, n->in[0], &x);
}
