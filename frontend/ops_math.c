/* ops_math.c: elementwise operations, reductions and products of keras.ops. */
#include "frontend/ops.h"

#include <math.h>
#include <string.h>

/* ---- one operand
 * ------------------------------------------------------------------------------------------------------ */

/* The operand's own dtype; bools become integers where the operation has no meaning for them. */
bool op_build_same(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_tensor(u, strcmp(u->op->name, "StopGradient") == 0 ? "variable" : "x", &x)) return false;
    if (op_type(u, x).dtype == DTYPE_i1) return op_finish(u, x, out);
    return op_finish(u, ir_build_unary(u->l->g, u->op->op, x), out);
}

static bool find_real(op_use *u, ir_value *out)
{
    if (!op_find_tensor(u, "x", out)) return false;
    *out = ir_build_convert(u->l->g, *out, op_real(op_type(u, *out).dtype));
    return true;
}

bool op_build_real(op_use *u, fe_value *out)
{
    ir_value x;
    return find_real(u, &x) && op_finish(u, ir_build_unary(u->l->g, u->op->op, x), out);
}

bool op_build_log_base(op_use *u, fe_value *out)
{
    ir_value x;
    if (!find_real(u, &x)) return false;
    double base = strcmp(u->op->word, "2") == 0 ? 2.0 : 10.0;
    x = ir_build_unary(u->l->g, OP_log, x);
    return op_finish(u, ir_build_binary_scalar(u->l->g, OP_multiply, x, 1.0 / log(base)), out);
}

bool op_build_reciprocal(op_use *u, fe_value *out)
{
    ir_value x;
    if (!find_real(u, &x)) return false;
    return op_finish(u, ir_build_binary(u->l->g, OP_divide, ir_build_fill(u->l->g, op_type(u, x), 1.0), x),
                     out);
}

bool op_build_square(op_use *u, fe_value *out)
{
    ir_value x;
    if (!op_find_tensor(u, "x", &x)) return false;
    if (op_type(u, x).dtype == DTYPE_i1) x = ir_build_convert(u->l->g, x, DTYPE_i32);
    return op_finish(u, ir_build_binary(u->l->g, OP_multiply, x, x), out);
}

static ir_value build_truth(op_use *u, ir_value x)
{
    ir_dtype dtype = op_type(u, x).dtype;
    if (dtype == DTYPE_i1) return x;
    return ir_build_compare(u->l->g, "NE", x, ir_build_scalar(u->l->g, dtype, 0.0));
}

bool op_build_not(op_use *u, fe_value *out)
{
    ir_value x;
    return op_find_tensor(u, "x", &x) &&
           op_finish(u, ir_build_unary(u->l->g, OP_not, build_truth(u, x)), out);
}

bool op_build_cast(op_use *u, fe_value *out)
{
    ir_value x;
    ir_dtype dtype;
    const fe_value *name = op_find(u, "dtype");
    if (!op_find_tensor(u, "x", &x)) return false;
    if (!name || name->kind != FE_TEXT || !ir_dtype_find_keras(name->text, &dtype)) {
        return op_error(u, "expected the name of a dtype as \"dtype\"");
    }
    if (dtype == DTYPE_i1) return op_finish(u, build_truth(u, x), out);
    return op_finish(u, ir_build_convert(u->l->g, x, dtype), out);
}

bool op_build_activation(op_use *u, fe_value *out)
{
    ir_value x;
    fe *f = u->l->fe;
    if (!find_real(u, &x)) return false;
    ir_record *r = ir_record_new(f->arena, fe_snake_case(f, u->op->name));
    if (u->op->word[0] && !op_find(u, u->op->word)) ir_record_add_number(f->arena, r, u->op->word, 1.0);
    for (int i = 0; u->config->kind == FE_DICT && i < u->config->count; i++) {
        const fe_value *v = &u->config->item[i];
        const char *key = u->config->key[i];
        if (strcmp(key, "name") == 0 || v->kind == FE_NULL) continue;
        if (v->kind != FE_NUMBER && v->kind != FE_BOOL)
            return op_error(u, "expected a number as \"%s\"", key);
        ir_record_add_number(f->arena, r, key, v->number);
    }
    if (!fe_activation_check(f, r, u->l->layer->at)) return false;
    return op_finish(u, fe_activation_build(u->l, r, x), out);
}

/* ---- two operands
 * ------------------------------------------------------------------------------------------------------ */

bool op_build_arithmetic(op_use *u, fe_value *out)
{
    ir_value a, b;
    if (!op_find_pair(u, "x1", "x2", strcmp(u->op->word, "real") == 0, &a, &b)) return false;
    if (op_type(u, a).dtype == DTYPE_i1) {
        ir_op op = u->op->op == OP_multiply || u->op->op == OP_minimum ? OP_and : OP_or;
        if (u->op->op == OP_subtract || u->op->op == OP_power)
            return op_error(u, "expected numbers, found bools");
        return op_finish(u, ir_build_binary(u->l->g, op, a, b), out);
    }
    return op_finish(u, ir_build_binary(u->l->g, u->op->op, a, b), out);
}

bool op_build_compare(op_use *u, fe_value *out)
{
    ir_value a, b;
    if (!op_find_pair(u, "x1", "x2", false, &a, &b)) return false;
    return op_finish(u, ir_build_compare(u->l->g, u->op->word, a, b), out);
}

bool op_build_logical(op_use *u, fe_value *out)
{
    ir_value a, b;
    if (!op_find_pair(u, "x1", "x2", false, &a, &b)) return false;
    return op_finish(u, ir_build_binary(u->l->g, u->op->op, build_truth(u, a), build_truth(u, b)), out);
}

bool op_build_where(op_use *u, fe_value *out)
{
    ir_value condition, a, b;
    ir_type all, type;
    if (!op_find_tensor(u, "condition", &condition)) return false;
    if (!op_find(u, "x1") || !op_find(u, "x2"))
        return op_error(u, "expected \"x1\" and \"x2\": without them the result has no fixed shape");
    if (!op_find_pair(u, "x1", "x2", false, &a, &b)) return false;
    condition = build_truth(u, condition);
    type = op_type(u, a);
    ir_type other = op_type(u, b), test = op_type(u, condition);
    if (!ir_broadcast_shapes(&type, &other, &all) || !ir_broadcast_shapes(&all, &test, &all)) {
        return op_error(u, "expected inputs whose shapes fit, found %s and %s",
                        fe_shape_show(u->l->fe, &test), fe_shape_show(u->l->fe, &type));
    }
    return op_finish(u, ir_build_select(u->l->g, condition, a, b), out);
}

bool op_build_clip(op_use *u, fe_value *out)
{
    ir_value x;
    double low, high;
    if (!op_find_tensor(u, "x", &x) || !op_find_number(u, "x_min", &low) ||
        !op_find_number(u, "x_max", &high))
        return false;
    ir_graph *g = u->l->g;
    const ir_type t = op_type(u, x);
    x = ir_build_binary(g, OP_maximum, x, ir_build_scalar(g, t.dtype, low));
    return op_finish(u, ir_build_binary(g, OP_minimum, x, ir_build_scalar(g, t.dtype, high)), out);
}

/* ---- reductions
 * ----------------------------------------------------------------------------------------------------------
 */

typedef struct reduction {
    ir_value x;
    int count;
    int64_t axis[IR_MAX_RANK];
    bool keep_dims;
} reduction;

static int compare_axes(int64_t a, int64_t b) { return (a > b) - (a < b); }

static bool find_reduction(op_use *u, reduction *r)
{
    if (!op_find_tensor(u, "x", &r->x) || !op_find_ints(u, "axis", &r->count, r->axis)) return false;
    if (!op_find_bool(u, "keepdims", false, &r->keep_dims)) return false;
    if (op_find(u, "initial")) return op_error(u, "\"initial\" is not supported");
    int rank = op_type(u, r->x).rank;
    if (r->count < 0) {
        r->count = rank;
        for (int i = 0; i < rank; i++) r->axis[i] = i;
    }
    if (!op_resolve_axes(u, rank, r->count, r->axis)) return false;
    for (int i = 1; i < r->count; i++) {
        for (int k = i; k > 0 && compare_axes(r->axis[k - 1], r->axis[k]) > 0; k--) {
            int64_t axis = r->axis[k];
            r->axis[k] = r->axis[k - 1];
            r->axis[k - 1] = axis;
        }
    }
    return true;
}

/* Sums and products of small integers are taken in 32 bits. */
static ir_dtype sum_dtype(ir_dtype dtype)
{
    if (ir_dtype_is_float(dtype) || ir_dtype_size(dtype) >= 4) return dtype;
    return ir_dtype_class_of(dtype) == DTYPE_UNSIGNED ? DTYPE_u32 : DTYPE_i32;
}

bool op_build_reduce(op_use *u, fe_value *out)
{
    reduction r;
    ir_graph *g = u->l->g;
    if (!find_reduction(u, &r)) return false;
    const char *kind = u->op->word;
    ir_dtype dtype = op_type(u, r.x).dtype;
    if (strcmp(kind, "add") == 0 || strcmp(kind, "multiply") == 0)
        r.x = ir_build_convert(g, r.x, sum_dtype(dtype));
    else if (strcmp(kind, "or") == 0 || strcmp(kind, "and") == 0)
        r.x = build_truth(u, r.x);
    else if (dtype == DTYPE_i1)
        kind = strcmp(kind, "maximum") == 0 ? "or" : "and";
    return op_finish(u, ir_build_reduce(g, kind, r.x, r.count, r.axis, r.keep_dims), out);
}

bool op_build_mean(op_use *u, fe_value *out)
{
    reduction r;
    ir_graph *g = u->l->g;
    if (!find_reduction(u, &r)) return false;
    r.x = ir_build_convert(g, r.x, op_real(op_type(u, r.x).dtype));
    if (strcmp(u->op->word, "mean") == 0)
        return op_finish(u, ir_build_mean(g, r.x, r.count, r.axis, r.keep_dims), out);
    ir_value mean = ir_build_mean(g, r.x, r.count, r.axis, true);
    ir_value off = ir_build_binary(g, OP_subtract, r.x, mean);
    ir_value variance =
        ir_build_mean(g, ir_build_binary(g, OP_multiply, off, off), r.count, r.axis, r.keep_dims);
    if (strcmp(u->op->word, "deviation") == 0) variance = ir_build_unary(g, OP_sqrt, variance);
    return op_finish(u, variance, out);
}

/* ---- products
 * --------------------------------------------------------------------------------------------------------------
 */

static ir_value add_dim(op_use *u, ir_value x, bool first)
{
    ir_type t = op_type(u, x);
    ir_dim dim[IR_MAX_RANK];
    for (int i = 0; i < t.rank; i++) dim[i + first] = t.dim[i];
    dim[first ? 0 : t.rank] = ir_fixed(1);
    return ir_build_reshape(u->l->g, x, t.rank + 1, dim);
}

/* The batch dims in front brought to one shape; false when they do not fit. */
static bool align_batches(op_use *u, ir_value *a, ir_value *b)
{
    ir_type ta = op_type(u, *a), tb = op_type(u, *b), all;
    ir_type batch_a = ta, batch_b = tb;
    batch_a.rank -= 2;
    batch_b.rank -= 2;
    if (!ir_broadcast_shapes(&batch_a, &batch_b, &all)) return false;
    ir_type target = all;
    target.rank = all.rank + 2;
    target.dim[all.rank] = ta.dim[ta.rank - 2];
    target.dim[all.rank + 1] = ta.dim[ta.rank - 1];
    *a = ir_build_broadcast_to(u->l->g, *a, &target);
    target.dim[all.rank] = tb.dim[tb.rank - 2];
    target.dim[all.rank + 1] = tb.dim[tb.rank - 1];
    *b = ir_build_broadcast_to(u->l->g, *b, &target);
    return true;
}

static bool fail_matmul(op_use *u, ir_value a, ir_value b)
{
    return op_error(u, "expected matrices that fit, found %s and %s",
                    fe_shape_show(u->l->fe, ir_type_of(u->l->g, a)),
                    fe_shape_show(u->l->fe, ir_type_of(u->l->g, b)));
}

/* The last dim of a with the second last of b; a b of rank 2 serves every batch. */
static bool build_product(op_use *u, ir_value a, ir_value b, ir_value *out)
{
    ir_type ta = op_type(u, a), tb = op_type(u, b);
    if (!ir_dim_equal(ta.dim[ta.rank - 1], tb.dim[tb.rank - 2])) return fail_matmul(u, a, b);
    if (ta.dim[ta.rank - 1].batch) return op_error(u, "products over the batch are not supported");
    if (tb.rank == 2) {
        *out = ir_build_dot(u->l->g, a, b);
        return true;
    }
    if (!align_batches(u, &a, &b)) return fail_matmul(u, a, b);
    int rank = op_type(u, a).rank;
    ir_dot dot = {.batch_count = rank - 2, .contracting_count = 1};
    for (int i = 0; i < rank - 2; i++) dot.lhs_batch[i] = dot.rhs_batch[i] = i;
    dot.lhs_contracting[0] = rank - 1;
    dot.rhs_contracting[0] = rank - 2;
    *out = ir_build_dot_general(u->l->g, a, b, &dot);
    return true;
}

bool op_build_matmul(op_use *u, fe_value *out)
{
    ir_value a, b, product = IR_NONE;
    if (!op_find_tensor(u, "x1", &a) || !op_find_tensor(u, "x2", &b)) return false;
    ir_type ta = op_type(u, a), tb = op_type(u, b);
    if (ta.rank < 1 || tb.rank < 1) return fail_matmul(u, a, b);
    ir_dtype dtype = fe_result_type(ta.dtype, tb.dtype);
    a = ir_build_convert(u->l->g, a, dtype);
    b = ir_build_convert(u->l->g, b, dtype);
    if (ta.rank == 1) a = add_dim(u, a, true);
    if (tb.rank == 1) b = add_dim(u, b, false);
    if (!build_product(u, a, b, &product)) return false;
    ir_type t = op_type(u, product);
    ir_dim dim[IR_MAX_RANK];
    int rank = 0;
    for (int i = 0; i < t.rank; i++) {
        bool added = (i == t.rank - 2 && ta.rank == 1) || (i == t.rank - 1 && tb.rank == 1);
        if (!added) dim[rank++] = t.dim[i];
    }
    if (rank < t.rank) product = ir_build_reshape(u->l->g, product, rank, dim);
    return op_finish(u, product, out);
}
