/* shape_sparse.c: the rule of the operations on sparse rows. */
#include "ir/shape.h"

#include <string.h>

/* A row is a record: a count, columns, values. */
static bool holds_records(const ir_type *t)
{
    return t->dtype == DTYPE_u32 && t->rank == 2 && !t->dim[1].batch && t->dim[1].count % 2 == 1;
}

static bool need_matrix(shape_call *c, const ir_type *t, const char *what)
{
    return (t->rank == 2 && t->dtype == DTYPE_f32 && !t->dim[1].batch) ||
           shape_problem(c, "expected %s f32 of two dimensions, found %s", what, shape_show(c, t));
}

bool shape_rule_sparse(shape_call *c)
{
    if (!shape_need_given(c) || !need_matrix(c, c->given, "a result")) return false;
    c->n.type = *c->given;
    if (c->n.in_count != (c->n.op == OP_sparse_dense ? 1 : 2)) return shape_problem(c, "expected other operands");
    const ir_type *rows = shape_in(c, 0);
    if (!(rows->dtype == DTYPE_row && rows->rank == 1) && !holds_records(rows))
        return shape_problem(c, "expected sparse rows, found %s", shape_show(c, rows));
    const ir_dim out_rows = c->given->dim[0], columns = c->given->dim[1];
    if (c->n.op != OP_sparse_dot_back && !ir_dim_equal(out_rows, rows->dim[0]))
        return shape_problem(c, "expected a result of as many rows, found %s", shape_show(c, c->given));
    if (c->n.op == OP_sparse_dense) return true;
    const ir_type *x = shape_in(c, 1);
    if (!need_matrix(c, x, "an operand")) return false;
    bool fits = ir_dim_equal(x->dim[1], columns);
    if (c->n.op == OP_sparse_dot_back) fits = fits && ir_dim_equal(x->dim[0], rows->dim[0]) && !out_rows.batch;
    return fits || shape_problem(c, "%s does not fit %s", shape_show(c, x), shape_show(c, c->given));
}

bool shape_rule_sparse_encode(shape_call *c)
{
    const ir_type *x = shape_in(c, 0);
    const int64_t columns = ir_attr_int(&c->n, ATTR_length, 0);
    const char *kind = ir_attr_text(&c->n, ATTR_kind);
    if (x->dtype != DTYPE_i64 || x->rank != 2 || x->dim[1].batch || x->dim[1].count < 1 || x->dim[1].count > INT32_MAX / 16)
        return shape_problem(c, "expected rows of i64, found %s", shape_show(c, x));
    if (columns < 1 || columns > INT32_MAX) return shape_problem(c, "expected a length of 1 to 2^31 - 1");
    if (strcmp(kind, "multi_hot") != 0 && strcmp(kind, "count") != 0) return shape_problem(c, "expected kind multi_hot or count");
    c->n.type = ir_type_with_dtype(*x, DTYPE_u32);
    c->n.type.dim[1].count = 1 + 2 * x->dim[1].count;
    return true;
}
