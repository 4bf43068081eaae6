/* simplify_arith.c: rules of elementwise operations, and folding of constants. */
#include "passes/simplify.h"

#include <math.h>
#include <string.h>

/* ---- constants --------------------------------------------------------------------------------------------
 */

enum { FOLD_ELEMENTS = 1024 }; /* larger results would bloat the program more than they save */

static bool read_constant(const simplify *s, ir_value v, ir_array *out)
{
    const ir_node *n = &s->g->node[v];
    if (n->op != OP_constant || simplify_fixed_elements(&n->type) > FOLD_ELEMENTS) return false;
    const ir_attr *data = ir_attr_find(n, ATTR_data);
    const size_t size = ir_dtype_size(n->type.dtype), count = (size_t)simplify_fixed_elements(&n->type);
    char *bytes = arena_alloc(s->scratch, size * count + 8);
    for (size_t i = 0; i < count; i++)
        memcpy(bytes + i * size, (const char *)data->data.bytes + (data->data.size == size ? 0 : i * size),
               size);
    *out = (ir_array){n->type, bytes};
    return true;
}

/* A broadcast of a constant is left alone: one element says it all. */
ir_value simplify_fold(simplify *s, const ir_node *n)
{
    const ir_class class = ir_op_class(n->op);
    const bool can =
        class == CLASS_MAP || class == CLASS_MOVE || class == CLASS_VIEW || class == CLASS_REDUCE;
    if (!can || n->op == OP_copy || n->op == OP_broadcast_in_dim || n->in_count == 0) return IR_NONE;
    if (simplify_fixed_elements(&n->type) > FOLD_ELEMENTS) return IR_NONE;
    ir_array *in = arena_array(s->scratch, ir_array, (size_t)n->in_count);
    for (int i = 0; i < n->in_count; i++)
        if (!read_constant(s, n->in[i], &in[i])) return IR_NONE;
    const ir_value v = ir_build(s->g, n->op, n->in_count, n->in, n->attr_count, n->attr, &n->type);
    const ir_array result = ir_interpret_node(s->g, v, s->scratch, 1, in);
    return ir_build_constant(s->g, n->type, result.data);
}

/* ---- maps of broadcasts
 * -------------------------------------------------------------------------------------- */

static bool same_broadcast(const ir_graph *g, const ir_node *a, const ir_node *b)
{
    int count, other;
    const int64_t *p = ir_attr_ints(a, ATTR_dimensions, &count),
                  *q = ir_attr_ints(b, ATTR_dimensions, &other);
    return count == other && (count == 0 || memcmp(p, q, (size_t)count * sizeof *p) == 0) &&
           ir_type_same_shape(ir_type_of(g, a->in[0]), ir_type_of(g, b->in[0]));
}

/* The broadcast that all operands share (those that repeat a scalar go along with any), or IR_NONE. */
static ir_value find_shared_broadcast(const ir_graph *g, const ir_node *n)
{
    ir_value shared = IR_NONE;
    for (int i = 0; i < n->in_count; i++) {
        const ir_node *in = &g->node[n->in[i]];
        if (in->op != OP_broadcast_in_dim) return IR_NONE;
        if (ir_type_of(g, in->in[0])->rank == 0 && shared != IR_NONE) continue;
        const bool scalar_so_far = shared == IR_NONE || ir_type_of(g, g->node[shared].in[0])->rank == 0;
        if (!scalar_so_far && !same_broadcast(g, in, &g->node[shared])) return IR_NONE;
        if (scalar_so_far) shared = n->in[i];
    }
    return shared;
}

/* map(broadcast x, broadcast y) is broadcast map(x, y): done once instead of for every copy. */
ir_value simplify_hoist(simplify *s, const ir_node *n)
{
    if (ir_op_class(n->op) != CLASS_MAP || n->op == OP_copy || n->in_count == 0) return IR_NONE;
    const ir_value shared = find_shared_broadcast(s->g, n);
    if (shared == IR_NONE) return IR_NONE;
    const ir_node spread = s->g->node[shared];
    const ir_type small = *ir_type_of(s->g, spread.in[0]);
    ir_unit many, few;
    if (passes_elements(&small, &few) == passes_elements(&n->type, &many) && few == many) return IR_NONE;
    ir_value in[3] = {0};
    bug_if(n->in_count > (int)countof(in), "%s has %d operands", ir_op_name(n->op), n->in_count);
    for (int i = 0; i < n->in_count; i++)
        in[i] = ir_build_broadcast_to(s->g, s->g->node[n->in[i]].in[0], &small);
    const ir_type type = ir_type_with_dtype(small, n->type.dtype);
    const ir_value once = ir_build(s->g, n->op, n->in_count, in, n->attr_count, n->attr, &type);
    return ir_build_broadcast_in_dim(s->g, once, &n->type, ir_attr_ints(&spread, ATTR_dimensions, NULL));
}

/* ---- identities
 * ------------------------------------------------------------------------------------------------ */

/* What added to anything changes nothing: -0.0, since -0.0 + 0.0 is 0.0. */
static bool adds_nothing(const ir_graph *g, ir_value v)
{
    return simplify_is_number(g, v, ir_dtype_is_float(ir_type_of(g, v)->dtype) ? -0.0 : 0.0);
}

static bool is_op(const ir_graph *g, ir_value v, ir_op op) { return g->node[v].op == op; }

ir_value simplify_add(simplify *s, const ir_node *n)
{
    const ir_value a = n->in[0], b = n->in[1];
    if (adds_nothing(s->g, b)) return a;
    if (adds_nothing(s->g, a)) return b;
    if (is_op(s->g, b, OP_negate)) return ir_build_binary(s->g, OP_subtract, a, s->g->node[b].in[0]);
    return is_op(s->g, a, OP_negate) ? ir_build_binary(s->g, OP_subtract, b, s->g->node[a].in[0]) : IR_NONE;
}

ir_value simplify_subtract(simplify *s, const ir_node *n)
{
    const ir_value a = n->in[0], b = n->in[1];
    if (simplify_is_number(s->g, b, 0)) return a;
    return is_op(s->g, b, OP_negate) ? ir_build_binary(s->g, OP_add, a, s->g->node[b].in[0]) : IR_NONE;
}

/* A product or quotient of negated operands is negated itself: the sign is computed apart. The operation on what is
 * not negated is often there already, and sums take the sign in. */
static ir_value sink_negate(simplify *s, const ir_node *n)
{
    const ir_node a = s->g->node[n->in[0]], b = s->g->node[n->in[1]];
    const bool both = a.op == OP_negate && b.op == OP_negate;
    const ir_value x = a.op == OP_negate ? a.in[0] : n->in[0], y = b.op == OP_negate ? b.in[0] : n->in[1];
    const ir_value plain = ir_build_binary(s->g, n->op, x, y);
    return both ? plain : ir_build_unary(s->g, OP_negate, plain);
}

ir_value simplify_multiply(simplify *s, const ir_node *n)
{
    const ir_value a = n->in[0], b = n->in[1];
    const bool is_signed = ir_dtype_class_of(n->type.dtype) != DTYPE_UNSIGNED && n->type.dtype != DTYPE_i1;
    if (simplify_is_number(s->g, b, 1)) return a;
    if (simplify_is_number(s->g, a, 1)) return b;
    if (is_op(s->g, a, OP_negate) || is_op(s->g, b, OP_negate)) return sink_negate(s, n);
    if (is_signed && simplify_is_number(s->g, b, -1)) return ir_build_unary(s->g, OP_negate, a);
    return is_signed && simplify_is_number(s->g, a, -1) ? ir_build_unary(s->g, OP_negate, b) : IR_NONE;
}

/* Multiplying by the inverse is exact when divisor and inverse are powers of two within the normal range. */
ir_value simplify_divide(simplify *s, const ir_node *n)
{
    double by;
    int exponent;
    if (simplify_is_number(s->g, n->in[1], 1)) return n->in[0];
    if (!ir_dtype_is_float(n->type.dtype)) return IR_NONE;
    if (is_op(s->g, n->in[0], OP_negate) || is_op(s->g, n->in[1], OP_negate)) return sink_negate(s, n);
    if (!ir_is_filled(s->g, n->in[1], &by)) return IR_NONE;
    const int most = n->type.dtype == DTYPE_f16 ? 12 : 100;
    if (fabs(frexp(by, &exponent)) != 0.5 || exponent > most || exponent < -most) return IR_NONE;
    return ir_build_binary_scalar(s->g, OP_multiply, n->in[0], 1 / by);
}

/* x * x is what a correctly rounded power gives. */
ir_value simplify_power(simplify *s, const ir_node *n)
{
    if (simplify_is_number(s->g, n->in[1], 1)) return n->in[0];
    return simplify_is_number(s->g, n->in[1], 2) ? ir_build_binary(s->g, OP_multiply, n->in[0], n->in[0])
                                                 : IR_NONE;
}

ir_value simplify_twice(simplify *s, const ir_node *n)
{
    const ir_node *in = &s->g->node[n->in[0]];
    return in->op == n->op ? in->in[0] : IR_NONE;
}

ir_value simplify_same(simplify *s, const ir_node *n)
{
    (void)s;
    return n->in[0] == n->in[1] ? n->in[0] : IR_NONE;
}

ir_value simplify_select(simplify *s, const ir_node *n)
{
    double condition;
    const ir_node test = s->g->node[n->in[0]];
    if (n->in[1] == n->in[2]) return n->in[1];
    if (ir_is_filled(s->g, n->in[0], &condition)) return condition != 0 ? n->in[1] : n->in[2];
    return test.op == OP_not ? ir_build_select(s->g, test.in[0], n->in[2], n->in[1]) : IR_NONE;
}

/* ---- convert
 * --------------------------------------------------------------------------------------------------- */

/* Every value of `from` is a value of `to`. */
static bool holds_all(ir_dtype from, ir_dtype to)
{
    const ir_dtype_class a = ir_dtype_class_of(from), b = ir_dtype_class_of(to);
    const size_t bits = 8 * ir_dtype_size(from);
    if (from == DTYPE_i1) return true;
    if (a == DTYPE_FLOAT) return to == DTYPE_f64 || (to == DTYPE_f32 && bits == 16);
    if (b == DTYPE_FLOAT)
        return bits <= (to == DTYPE_f64 ? 32u : to == DTYPE_f32 ? 16u : 8u) && to != DTYPE_bf16;
    if (b == DTYPE_BOOL) return false;
    if (a == b) return ir_dtype_size(to) >= ir_dtype_size(from);
    return a == DTYPE_UNSIGNED && ir_dtype_size(to) > ir_dtype_size(from);
}

ir_value simplify_convert(simplify *s, const ir_node *n)
{
    const ir_node in = s->g->node[n->in[0]];
    if (in.type.dtype == n->type.dtype) return n->in[0];
    if (in.op != OP_convert) return IR_NONE;
    const ir_dtype first = ir_type_of(s->g, in.in[0])->dtype;
    return holds_all(first, in.type.dtype) ? ir_build_convert(s->g, in.in[0], n->type.dtype) : IR_NONE;
}

ir_value simplify_operand(simplify *s, const ir_node *n)
{
    (void)s;
    return n->in[0];
}
