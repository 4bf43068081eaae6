/* contraction_point.c: points in role coordinates, and the elements of operands and results there. */
#include "codegen/contraction.h"

static cg_coord uniform(cg_value base) { return (cg_coord){.base = base, .align = 1}; }

static void split_linear(cg *c, const contraction *x, role r, cg_value linear, cg_value *out)
{
    for (int d = x->count[r] - 1; d > 0; d--) {
        cg_value size = cg_dim(c, x->size[r][d]);
        out[d] = cg_rem(c, linear, size);
        linear = cg_div(c, linear, size);
    }
    if (x->count[r]) out[0] = linear;
}

void contraction_point_set(cg *c, const contraction *x, contraction_point *p, role r, cg_value linear, bool flat)
{
    cg_value coordinate[IR_MAX_RANK];
    int last = x->count[r] - 1;
    if (flat) {
        for (int d = 0; d < last; d++) p->at[r][d] = uniform(cg_i64(c, 0));
        if (last >= 0) p->at[r][last] = uniform(linear);
        return;
    }
    split_linear(c, x, r, linear, coordinate);
    for (int d = 0; d <= last; d++) p->at[r][d] = uniform(coordinate[d]);
}

/* True when lanes that start at a multiple of `align` never leave the innermost dim of role r. */
static bool covers(const contraction *x, role r, int64_t align, int lanes)
{
    ir_dim inner = x->size[r][x->count[r] - 1];
    return x->count[r] == 1 || (!inner.batch && inner.count % lanes == 0 && align % lanes == 0);
}

void contraction_point_run(cg *c, const contraction *x, contraction_point *p, role r, cg_value linear, int64_t align,
                           bool flat)
{
    int last = x->count[r] - 1;
    if (last < 0) return;
    if (flat || covers(x, r, align, p->lanes)) {
        contraction_point_set(c, x, p, r, linear, flat);
        p->at[r][last].step = 1;
        return;
    }
    cg_value lanes = cg_add(c, cg_splat(c, linear, p->lanes), cg_iota(c, c->i64, p->lanes, 1));
    for (int d = last; d >= 0; d--) {
        cg_value size = cg_splat(c, cg_dim(c, x->size[r][d]), p->lanes);
        cg_value here = d ? cg_rem(c, lanes, size) : lanes;
        p->at[r][d] = (cg_coord){.base = cg_lane(c, here, 0), .align = 1, .lanes = here};
        lanes = d ? cg_div(c, lanes, size) : lanes;
    }
}

void contraction_next(cg *c, const contraction *x, role r, cg_value *coordinate)
{
    cg_value carry = cg_i64(c, 1);
    for (int d = x->count[r] - 1; d >= 0; d--) {
        cg_value next = cg_add(c, coordinate[d], carry);
        if (d == 0) {
            coordinate[d] = next;
            return;
        }
        cg_value wraps = cg_icmp(c, LLVMIntEQ, next, cg_dim(c, x->size[r][d]));
        coordinate[d] = cg_select(c, wraps, cg_i64(c, 0), next);
        carry = cg_select(c, wraps, cg_i64(c, 1), cg_i64(c, 0));
    }
}

static cg_value vector_of(cg *c, const cg_coord *q, int lanes)
{
    if (q->lanes) return q->lanes;
    cg_value base = cg_splat(c, q->base, lanes);
    return q->step ? cg_add(c, base, cg_iota(c, c->i64, lanes, q->step)) : base;
}

/* offset + sum of the terms, lanes included. */
static cg_coord sum_terms(cg *c, const contraction_dim *d, const contraction_point *p)
{
    cg_coord sum = {.base = cg_i64(c, d->offset), .align = 1};
    bool vectors = false;
    for (int i = 0; i < d->count; i++) {
        const cg_coord *q = &p->at[d->term[i].role][d->term[i].dim];
        vectors |= q->lanes != NULL;
        sum.base = cg_add(c, sum.base, cg_mul(c, q->base, cg_i64(c, d->term[i].factor)));
        sum.step += q->step * d->term[i].factor;
    }
    if (!vectors) return sum;
    sum.lanes = cg_splat(c, cg_i64(c, d->offset), p->lanes);
    for (int i = 0; i < d->count; i++) {
        cg_value q = vector_of(c, &p->at[d->term[i].role][d->term[i].dim], p->lanes);
        cg_value factor = cg_splat(c, cg_i64(c, d->term[i].factor), p->lanes);
        sum.lanes = cg_add(c, sum.lanes, cg_mul(c, q, factor));
    }
    return sum;
}

/* Restricts *inside (i1, a scalar or lanes) to coordinates that are elements of a checked dim, and turns the
 * coordinate of the dilated image into that of the image. Coordinates outside become 0: safe to read. */
static void check_dim(cg *c, const contraction_dim *d, cg_value size, int lanes, cg_coord *q, cg_value *inside)
{
    bool one = !q->lanes && q->step == 0;
    cg_value at = one ? q->base : vector_of(c, q, lanes);
    int width = one ? 1 : lanes;
    cg_value zero = cg_splat(c, cg_i64(c, 0), width), ok = cg_icmp(c, LLVMIntSGE, at, zero);
    if (d->dilation > 1) {
        cg_value step = cg_splat(c, cg_i64(c, d->dilation), width);
        ok = cg_and(c, ok, cg_icmp(c, LLVMIntEQ, cg_rem(c, at, step), zero));
        at = cg_div(c, at, step);
    }
    ok = cg_and(c, ok, cg_icmp(c, LLVMIntULT, at, cg_splat(c, size, width)));
    if (one || d->dilation > 1) at = cg_select(c, ok, at, zero);
    if (one)
        q->base = at;
    else if (d->dilation > 1 || q->lanes)
        *q = (cg_coord){.base = cg_lane(c, at, 0), .align = 1, .lanes = cg_select(c, ok, at, zero)};
    if (!*inside)
        *inside = ok;
    else if (cg_lanes_of(*inside) == cg_lanes_of(ok))
        *inside = cg_and(c, *inside, ok);
    else
        *inside = cg_and(c, cg_splat(c, *inside, lanes), cg_splat(c, ok, lanes));
}

cg_value contraction_stored(cg *c, const contraction_side *s, const contraction_point *p, cg_value left)
{
    cg_index index = {.rank = s->rank, .lanes = p->lanes};
    cg_value inside = NULL;
    for (int d = 0; d < s->rank; d++) {
        index.at[d] = sum_terms(c, &s->dim[d], p);
        if (s->dim[d].checked) {
            cg_value size = cg_dim(c, cg_type(c, s->value)->dim[d]);
            check_dim(c, &s->dim[d], size, p->lanes, &index.at[d], &inside);
        }
    }
    if (left) index.mask = cg_mask_first(c, p->lanes, left);
    if (inside && cg_lanes_of(inside) > 1) index.mask = index.mask ? cg_and(c, index.mask, inside) : inside;
    cg_value v = cg_element(c, s->value, &index);
    if (!inside) return v;
    if (cg_lanes_of(inside) > 1) v = cg_splat(c, v, p->lanes);
    return cg_select(c, inside, v, cg_fill(c, LLVMTypeOf(v), 0));
}

cg_value contraction_element(cg *c, const contraction_side *s, const contraction_point *p, cg_value left)
{
    return cg_widen(c, cg_type(c, s->value)->dtype, contraction_stored(c, s, p, left));
}

void contraction_prefetch(cg *c, const contraction_side *s, const contraction_point *p, int level)
{
    cg_index index = {.rank = s->rank, .lanes = p->lanes};
    for (int d = 0; d < s->rank; d++) index.at[d] = sum_terms(c, &s->dim[d], p);
    cg_element_prefetch(c, s->value, &index, level);
}

contraction_share contraction_share_of(cg *c, const contraction_side *s, const contraction_point *p, bool of_k)
{
    const ir_type *t = cg_type(c, s->value);
    contraction_share out = {.linear = cg_i64(c, 0)};
    for (int d = 0; d < s->rank; d++) {
        const contraction_dim *q = &s->dim[d];
        cg_value sum = cg_i64(c, of_k ? 0 : q->offset);
        for (int i = 0; i < q->count; i++) {
            if ((q->term[i].role == ROLE_K) != of_k) continue;
            cg_value at = p->at[q->term[i].role][q->term[i].dim].base;
            sum = cg_add(c, sum, cg_mul(c, at, cg_i64(c, q->term[i].factor)));
        }
        out.coordinate[d] = sum;
        out.linear = cg_add(c, cg_mul(c, out.linear, cg_dim(c, t->dim[d])), sum);
    }
    return out;
}

cg_value contraction_is_inside(cg *c, const contraction_side *s, const contraction_share *a, const contraction_share *b)
{
    cg_value inside = NULL;
    for (int d = 0; d < s->rank; d++) {
        if (!s->dim[d].checked) continue;
        cg_value at = cg_add(c, a->coordinate[d], b->coordinate[d]);
        cg_value ok = cg_icmp(c, LLVMIntULT, at, cg_dim(c, cg_type(c, s->value)->dim[d]));
        inside = inside ? cg_and(c, inside, ok) : ok;
    }
    return inside;
}

cg_index contraction_out_index(cg *c, const contraction *x, const contraction_point *p, cg_value split)
{
    int skip = x->splits > 0;
    cg_index index = {.rank = x->out.rank + skip, .lanes = p->lanes};
    if (skip) index.at[0] = uniform(split);
    for (int d = 0; d < x->out.rank; d++) index.at[d + skip] = sum_terms(c, &x->out.dim[d], p);
    return index;
}
