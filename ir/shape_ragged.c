/* shape_ragged.c: the rules of the operations on ragged rows. Dims may be fixed, too: then they state the numbers of values. */
#include "ir/shape.h"

static bool is_index(const ir_type *t, ir_dim count)
{
    return t->dtype == DTYPE_i64 && t->rank == 1 && ir_dim_equal(t->dim[0], count);
}

bool shape_rule_ragged(shape_call *c)
{
    if (!shape_need_given(c)) return false;
    const ir_type *x = shape_in(c, 0), *ends = shape_in(c, 1);
    const bool spread = c->n.op == OP_ragged_spread, is_float = x->dtype == DTYPE_f32 || x->dtype == DTYPE_f64;
    ir_type same = *c->given;
    c->n.type = *c->given;
    if (x->rank < 1 || same.rank != x->rank || (!spread && !is_float))
        return shape_problem(c, "expected values, found %s", shape_show(c, x));
    if (!is_index(ends, spread ? x->dim[0] : same.dim[0]))
        return shape_problem(c, "expected the ends of the rows, found %s", shape_show(c, ends));
    same.dim[0] = x->dim[0];
    return ir_type_equal(&same, x) ||
           shape_problem(c, "%s does not fit %s", shape_show(c, x), shape_show(c, c->given));
}

bool shape_rule_ragged_permute(shape_call *c)
{
    const ir_type *x = shape_in(c, 0);
    c->n.type = *x;
    return (x->rank >= 1 && is_index(shape_in(c, 1), x->dim[0]) && is_index(shape_in(c, 2), x->dim[0])) ||
           shape_problem(c, "expected values and an index for each, found %s", shape_show(c, x));
}
