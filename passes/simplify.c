/* simplify.c: replaces nodes by simpler ones of the same value, bit for bit (simplify.h says what that
 * takes), and brings equal things to one form so that cse and fuse see them. Requires a graph without
 * kernels, after `gradient` (stop_gradient goes away here); leaves dead nodes. Values are simplified as they
 * are copied to a fresh graph; what rules build inside is seen by a second round. */
#include "passes/simplify.h"

enum { ROUNDS = 3, STEPS = 32 /* replacements of one node: rules make progress, this is a fuse */ };

typedef struct rule_row {
    ir_op op;
    simplify_rule rule;
} rule_row;

static const rule_row rule_rows[] = {
    {OP_constant, simplify_constant},
    {OP_dimension_size, simplify_dimension_size},
    {OP_add, simplify_add},
    {OP_subtract, simplify_subtract},
    {OP_multiply, simplify_multiply},
    {OP_divide, simplify_divide},
    {OP_power, simplify_power},
    {OP_negate, simplify_twice},
    {OP_not, simplify_twice},
    {OP_maximum, simplify_same},
    {OP_minimum, simplify_same},
    {OP_and, simplify_same},
    {OP_or, simplify_same},
    {OP_select, simplify_select},
    {OP_convert, simplify_convert},
    {OP_stop_gradient, simplify_operand},
    {OP_broadcast_in_dim, simplify_broadcast},
    {OP_reshape, simplify_move_of_scalar},
    {OP_reshape, simplify_reshape},
    {OP_transpose, simplify_move_of_scalar},
    {OP_transpose, simplify_transpose},
    {OP_slice, simplify_move_of_scalar},
    {OP_slice, simplify_whole},
    {OP_reverse, simplify_move_of_scalar},
    {OP_reverse, simplify_whole},
    {OP_pad, simplify_whole},
    {OP_concatenate, simplify_concatenate},
    {OP_reduce, simplify_reduce},
    {OP_dot_general, simplify_dot},
    {OP_convolution, simplify_convolution},
    {OP_attention_back, simplify_attention_back},
};

bool simplify_is_number(const ir_graph *g, ir_value v, double number)
{
    double found;
    if (!ir_is_filled(g, v, &found) || found != number) return false;
    return number != 0 || (1 / found > 0) == (1 / number > 0);
}

ir_value simplify_scalar_of(const ir_graph *g, ir_value v)
{
    const ir_node *n = &g->node[v];
    if (n->type.rank == 0) return v;
    return n->op == OP_broadcast_in_dim && ir_type_of(g, n->in[0])->rank == 0 ? n->in[0] : IR_NONE;
}

int64_t simplify_fixed_elements(const ir_type *t)
{
    ir_unit batch;
    const int64_t count = t->rank < 0 ? INT64_MAX : passes_elements(t, &batch);
    return t->rank < 0 || batch ? INT64_MAX : count;
}

static ir_value apply_rules(simplify *s, ir_value v)
{
    const ir_node n = s->g->node[v]; /* a copy: rules build nodes */
    ir_value better = simplify_fold(s, &n);
    if (better == IR_NONE) better = simplify_hoist(s, &n);
    if (better == IR_NONE) better = simplify_map_of_reshape(s, &n);
    for (size_t i = 0; better == IR_NONE && i < countof(rule_rows); i++)
        if (rule_rows[i].op == n.op) better = rule_rows[i].rule(s, &n);
    return better;
}

static void run_round(ir_graph *g)
{
    arena scratch = {0};
    rewrite r;
    rewrite_begin(&r, g, &scratch);
    simplify s = {r.to, &scratch};
    for (size_t i = 0; i < g->count; i++) {
        ir_value v = rewrite_copy(&r, (ir_value)i), better = v;
        const ir_type type = *ir_type_of(r.to, v);
        for (int step = 0; step < STEPS && better != IR_NONE; step++) {
            v = better;
            better = apply_rules(&s, v);
            bug_if(better != IR_NONE && !ir_type_equal(&type, ir_type_of(r.to, better)),
                   "simplify changed the type of %s", ir_op_name(g->node[i].op));
        }
        r.map[i] = v;
    }
    rewrite_end(&r);
    arena_done(&scratch);
}

bool pass_simplify(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)m, (void)o, (void)d;
    for (int i = 0; i < ROUNDS; i++) run_round(g);
    return true;
}
