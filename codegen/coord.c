/* coord.c: arithmetic on coordinates that keeps them affine where it can, because affine coordinates become
 * plain vector loads and explicit ones become gathers. */
#include "codegen/cg_rules.h"

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t r = a % b;
        a = b;
        b = r;
    }
    return a < 0 ? -a : a;
}

/* What v is known to be a multiple of; 0 for zero. */
static int64_t divisor_of(cg_value v)
{
    int64_t x;
    if (!cg_is_i64(v, &x)) return 1;
    return x < 0 ? -x : x;
}

cg_coord cg_coord_uniform(cg_value base) { return (cg_coord){.base = base, .align = divisor_of(base)}; }

bool cg_coord_is_uniform(const cg_coord *x) { return !x->lanes && x->step == 0; }

bool cg_coord_equal(const cg_coord *x, const cg_coord *y)
{
    return x->lanes == y->lanes && (x->lanes || (x->base == y->base && x->step == y->step));
}

cg_value cg_coord_lanes(cg *c, const cg_coord *x, int lanes)
{
    if (x->lanes) return x->lanes;
    return cg_add(c, cg_splat(c, x->base, lanes), cg_iota(c, c->i64, lanes, x->step));
}

cg_coord cg_coord_add(cg *c, const cg_coord *x, cg_value y)
{
    cg_coord out = *x;
    if (x->lanes || cg_lanes_of(y) > 1) {
        int lanes = x->lanes ? cg_lanes_of(x->lanes) : cg_lanes_of(y);
        out.lanes = cg_add(c, cg_coord_lanes(c, x, lanes), y);
        return out;
    }
    out.base = cg_add(c, x->base, y);
    out.align = gcd(x->align, divisor_of(y));
    return out;
}

cg_coord cg_coord_scale(cg *c, const cg_coord *x, ir_dim by, int lanes)
{
    cg_coord out = *x;
    if (x->lanes || (by.batch && x->step)) {
        out.lanes = cg_mul(c, cg_coord_lanes(c, x, lanes), cg_dim(c, by));
        return out;
    }
    out.base = cg_mul(c, x->base, cg_dim(c, by));
    out.step = x->step * by.count;
    const int64_t most = INT64_C(1) << 20;
    out.align = x->align < most && by.count < most ? x->align * by.count : 1;
    return out;
}

cg_coord cg_coord_sum(cg *c, const cg_coord *x, const cg_coord *y, int lanes)
{
    cg_coord out = *x;
    if (x->lanes || y->lanes) {
        out.lanes = cg_add(c, cg_coord_lanes(c, x, lanes), cg_coord_lanes(c, y, lanes));
        return out;
    }
    out.base = cg_add(c, x->base, y->base);
    out.step = x->step + y->step;
    out.align = gcd(x->align, y->align);
    return out;
}

/* Lane by lane; in 32 bits where the caller knows that it fits, for 64-bit vector division is slow. */
static void divide_lanes(cg *c, const cg_coord *x, ir_dim by, const cg_index *index, cg_coord *out_quotient,
                         cg_coord *out_remainder)
{
    cg_value at = cg_coord_lanes(c, x, index->lanes), size = cg_dim(c, by);
    if (index->mask && !x->lanes) at = cg_select(c, index->mask, at, LLVMConstNull(LLVMTypeOf(at)));
    *out_quotient = *out_remainder = *x;
    out_quotient->lanes = cg_div(c, at, size);
    out_remainder->lanes = cg_sub(c, at, cg_mul(c, out_quotient->lanes, size));
}

void cg_coord_divide(cg *c, const cg_coord *x, ir_dim by, const cg_index *index, cg_coord *out_quotient,
                     cg_coord *out_remainder)
{
    int64_t span = x->step * (index->lanes - 1);
    bool affine = !x->lanes && !by.batch && by.count > 0 && !index->mask;
    bool inside = affine && x->step > 0 && x->align % by.count == 0 && span < by.count;
    /* all lanes lie in one block: the base is at a multiple of the lanes, and so is the size */
    inside |= affine && x->step == 1 && by.count % index->lanes == 0 && x->align % index->lanes == 0;
    bool whole = affine && x->step && x->step % by.count == 0;
    if (!inside && !whole && !cg_coord_is_uniform(x)) {
        divide_lanes(c, x, by, index, out_quotient, out_remainder);
        return;
    }
    cg_value size = cg_dim(c, by);
    *out_quotient = cg_coord_uniform(cg_div(c, x->base, size));
    *out_remainder = cg_coord_uniform(cg_rem(c, x->base, size));
    if (inside && !whole) {
        out_remainder->step = x->step;
        out_remainder->align = gcd(x->align, by.count);
    } else if (whole) {
        out_quotient->step = x->step / by.count;
        out_quotient->align = 1;
    }
}

cg_value cg_coord_limit(cg *c, cg_coord *x, cg_value size, cg_index *out_index)
{
    const bool uniform = cg_coord_is_uniform(x);
    cg_value at = uniform ? x->base : cg_coord_lanes(c, x, out_index->lanes);
    cg_value inside = cg_icmp(c, LLVMIntULT, at, size);
    if (uniform) {
        *x = cg_coord_uniform(cg_select(c, inside, x->base, cg_i64(c, 0)));
    } else if (x->lanes) {
        x->lanes = cg_select(c, inside, at, LLVMConstNull(LLVMTypeOf(at)));
    } else {
        out_index->mask = out_index->mask ? cg_and(c, out_index->mask, inside) : inside;
    }
    return inside;
}

cg_coord cg_index_linear(cg *c, const ir_type *t, const cg_index *index)
{
    cg_coord all = cg_coord_uniform(cg_i64(c, 0));
    for (int d = 0; d < t->rank; d++) {
        if (d) all = cg_coord_scale(c, &all, t->dim[d], index->lanes);
        all = cg_coord_sum(c, &all, &index->at[d], index->lanes);
    }
    return all;
}

cg_index cg_index_make(int lanes, int rank, const cg_value *coordinate)
{
    cg_index x = {.rank = rank, .lanes = lanes};
    for (int d = 0; d < rank; d++) x.at[d] = cg_coord_uniform(coordinate[d]);
    return x;
}

void cg_index_run(cg_index *x, int d, int64_t align)
{
    x->at[d].step = x->lanes > 1;
    x->at[d].align = align > 0 ? align : 1;
}

void cg_index_split(cg *c, const ir_type *t, int from, int count, cg_value linear, cg_value *out_coordinate)
{
    for (int d = from + count - 1; d > from; d--) {
        cg_value size = cg_dim(c, t->dim[d]), quotient = cg_div(c, linear, size);
        out_coordinate[d - from] = cg_sub(c, linear, cg_mul(c, quotient, size));
        linear = quotient;
    }
    if (count > 0) out_coordinate[0] = linear;
}
