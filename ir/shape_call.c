/* shape_call.c: the shape rule of custom_call: what each target of calls.def takes and gives. */
#include "ir/shape.h"

#include <string.h>

enum { MOST_RESULTS = 3 };

typedef struct call_shape {
    int64_t m, n, k;
    bool full;
    ir_type result[MOST_RESULTS];
    int count;
    ir_type leading; /* the dims before the matrix */
} call_shape;

static void give(call_shape *s, ir_dtype dtype, int rank, int64_t rows, int64_t columns)
{
    ir_type t = ir_type_with_dtype(s->leading, dtype);
    if (rank > 0) t.dim[t.rank++] = ir_fixed(rows);
    if (rank > 1) t.dim[t.rank++] = ir_fixed(columns);
    s->result[s->count++] = t;
}

static void give_factors(call_shape *s, ir_call call, ir_dtype t)
{
    const int64_t least = base_min(s->m, s->n);
    switch (call) {
    case CALL_cholesky:
        give(s, t, 2, s->n, s->n);
        return;
    case CALL_lu:
        give(s, t, 2, s->n, s->n);
        give(s, DTYPE_i32, 1, s->n, 0);
        return;
    case CALL_log_determinant:
        give(s, t, 0, 0, 0);
        give(s, t, 0, 0, 0);
        return;
    case CALL_determinant:
        give(s, t, 0, 0, 0);
        return;
    case CALL_solve:
    case CALL_triangular_solve:
        give(s, t, 2, s->m, s->k);
        return;
    case CALL_qr:
        give(s, t, 2, s->m, s->full ? s->m : least);
        give(s, t, 2, s->full ? s->m : least, s->n);
        return;
    case CALL_svd:
        give(s, t, 2, s->m, s->full ? s->m : least);
        give(s, t, 1, least, 0);
        give(s, t, 2, s->full ? s->n : least, s->n);
        return;
    case CALL_singular_values:
        give(s, t, 1, least, 0);
        return;
    case CALL_eigh:
        give(s, t, 1, s->n, 0);
        give(s, t, 2, s->n, s->n);
        return;
    case CALL_COUNT:
        break;
    }
    bug("no such call");
}

static bool check_matrix(shape_call *c, int i)
{
    enum { LARGEST = 1 << 15 };
    const ir_type *t = shape_in(c, i);
    bool fits = t->rank >= 2 && (t->dtype == DTYPE_f32 || t->dtype == DTYPE_f64);
    for (int d = t->rank - 2; fits && d < t->rank; d++)
        fits = !t->dim[d].batch && t->dim[d].count >= 1 && t->dim[d].count <= LARGEST;
    return fits || shape_problem(c, "operand %d: expected matrices of f32 or f64, found %s", i, shape_show(c, t));
}

static bool check_right_side(shape_call *c)
{
    const ir_type *a = shape_in(c, 0), *b = shape_in(c, 1);
    bool fits = a->rank == b->rank && a->dtype == b->dtype;
    for (int d = 0; fits && d + 1 < a->rank; d++) fits = ir_dim_equal(a->dim[d], b->dim[d]);
    return fits || shape_problem(c, "operands %s and %s do not fit", shape_show(c, a), shape_show(c, b));
}

bool shape_rule_custom_call(shape_call *c)
{
    ir_call call;
    const char *target = ir_attr_text(&c->n, ATTR_target);
    if (!ir_call_find(target, &call)) return shape_problem(c, "target: no call \"%s\" is known", target);
    if (c->n.in_count != ir_call_arity(call))
        return shape_problem(c, "expected %d operands, found %d", ir_call_arity(call), c->n.in_count);
    for (int i = 0; i < c->n.in_count; i++) {
        if (!check_matrix(c, i)) return false;
    }
    if (c->n.in_count == 2 && !check_right_side(c)) return false;
    const ir_type *a = shape_in(c, 0);
    call_shape s = {.m = a->dim[a->rank - 2].count, .n = a->dim[a->rank - 1].count, .leading = *a};
    const bool any = call == CALL_qr || call == CALL_svd || call == CALL_singular_values;
    if (!any && s.m != s.n) return shape_problem(c, "expected square matrices, found %s", shape_show(c, a));
    if (c->n.in_count == 2) s.k = shape_in(c, 1)->dim[a->rank - 1].count;
    s.full = ir_attr_int(&c->n, ATTR_full, 0) != 0;
    s.leading.rank -= 2;
    give_factors(&s, call, a->dtype);
    c->n.type = ir_type_tuple(c->g->arena, s.count, s.result);
    return true;
}
