/* shape_words.c: the rule of the operations on strings. */
#include "ir/shape.h"

#include <string.h>

/* Operand i is one row of this element type. */
static bool need_row(shape_call *c, int i, ir_dtype dtype)
{
    const ir_type *t = shape_in(c, i);
    if (t->dtype == dtype && t->rank == 1 && !t->dim[0].batch) return true;
    return shape_problem(c, "expected a row of %s as operand %d, found %s", ir_dtype_name(dtype), i, shape_show(c, t));
}

static bool check_lookup(shape_call *c)
{
    if (c->given->dtype != DTYPE_i64 && c->given->dtype != DTYPE_str)
        return shape_problem(c, "gives i64 or str, not %s", ir_dtype_name(c->given->dtype));
    return need_row(c, 1, DTYPE_u8);
}

static bool check_hash(shape_call *c)
{
    if (c->given->dtype != DTYPE_u64) return shape_problem(c, "gives u64, not %s", ir_dtype_name(c->given->dtype));
    if (c->n.in_count == 1) return true;
    if (c->n.in_count != 2) return shape_problem(c, "expected 1 or 2 operands, found %d", c->n.in_count);
    if (!need_row(c, 1, DTYPE_u64)) return false;
    return shape_in(c, 1)->dim[0].count == 2 || shape_problem(c, "expected a key of two words");
}

static bool check_tokens(shape_call *c)
{
    ir_type rows = *shape_in(c, 0);
    if (rows.rank < 1 || c->given->rank != rows.rank || c->given->dtype != DTYPE_i64 || rows.dtype != DTYPE_str)
        return shape_problem(c, "expected rows of str that become rows of i64, found %s and %s", shape_show(c, &rows),
                             shape_show(c, c->given));
    rows.dim[rows.rank - 1] = c->given->dim[rows.rank - 1];
    if (!ir_type_same_shape(&rows, c->given))
        return shape_problem(c, "expected as many rows as the result has, found %s", shape_show(c, shape_in(c, 0)));
    return need_row(c, 1, DTYPE_u8) && need_row(c, 2, DTYPE_i64);
}

bool shape_rule_words(shape_call *c)
{
    if (!shape_need_given(c)) return false;
    if (c->given->rank < 0 || c->n.in_count < 1) return shape_problem(c, "expected operands and a plain result");
    const ir_type *x = shape_in(c, 0);
    c->n.type = *c->given;
    if (x->dtype != DTYPE_str && x->dtype != DTYPE_i64)
        return shape_problem(c, "expected str or i64, found %s", ir_dtype_name(x->dtype));
    if (c->n.op == OP_tokens) return check_tokens(c);
    if (!ir_type_same_shape(x, c->given))
        return shape_problem(c, "%s to %s changes the shape", shape_show(c, x), shape_show(c, c->given));
    return c->n.op == OP_lookup ? check_lookup(c) : check_hash(c);
}
