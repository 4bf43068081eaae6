/* layers_recurrent_loop.c: a scan in the making. Layer code that builds into l->g builds the body while it is
 * open. */
#include "frontend/recurrent.h"

void rnn_loop_begin(rnn_loop *p, fe_lower *l, int64_t length, ir_value rows)
{
    *p = (rnn_loop){.l = l, .outer = l->g, .length = length, .rows = rows};
    p->body = ir_graph_new(l->g->arena, "step", l->g->module);
    p->body->origin = l->g->origin;
}

static ir_value add_operand(rnn_loop *p, ir_value outer, ir_type inside)
{
    const ir_attr index = {.name = ATTR_index, .i = (int64_t)p->count};
    const rnn_operand made = {outer, ir_build(p->body, OP_parameter, 0, NULL, 1, &index, &inside)};
    arena_push(p->l->fe->arena, p->operand, p->count, p->capacity, made);
    return made.inside;
}

ir_value rnn_loop_state(rnn_loop *p, ir_value initial)
{
    bug_if((size_t)p->carried != p->count, "a state of a loop after other operands");
    p->carried++;
    return add_operand(p, initial, *ir_type_of(p->outer, initial));
}

ir_value rnn_loop_input(rnn_loop *p, ir_value stacked)
{
    ir_type t = *ir_type_of(p->outer, stacked);
    if (p->rows != IR_NONE) {
        t.dim[0] = ir_batch(1);
        return add_operand(p, stacked, t);
    }
    return add_operand(p, stacked, ir_type_make(t.dtype, t.rank - 1, t.dim + 1));
}

ir_value rnn_loop_bring(rnn_loop *p, ir_value outer)
{
    if (p->l->g == p->outer) return outer;
    for (size_t i = (size_t)p->carried; i < p->count; i++) {
        const ir_type *t = ir_type_of(p->body, p->operand[i].inside);
        if (p->operand[i].outer == outer && ir_type_equal(t, ir_type_of(p->outer, outer)))
            return p->operand[i].inside;
    }
    return add_operand(p, outer, *ir_type_of(p->outer, outer));
}

void rnn_loop_open(rnn_loop *p)
{
    p->l->g = p->body;
    p->logits = p->l->logits_count;
}

/* What is known of logits names values of the body: it must not be taken for the outer graph's. */
void rnn_loop_close(rnn_loop *p)
{
    p->l->g = p->outer;
    p->l->logits_count = p->logits;
}

ir_value rnn_loop_end(rnn_loop *p, bool reverse)
{
    ir_value *in = arena_array(p->l->fe->arena, ir_value, p->count + 1);
    int count = (int)p->count, attrs = 3;
    for (int i = 0; i < count; i++) in[i] = p->operand[i].outer;
    ir_attr attr[5] = {{.name = ATTR_body, .graph = p->body},
                       {.name = ATTR_length, .i = p->length},
                       {.name = ATTR_carried, .i = p->carried}};
    if (p->rows != IR_NONE) {
        const int ragged = 1 + ir_type_of(p->outer, p->rows)->dim[0].batch - UNIT_values;
        in[count++] = fe_ragged_part(p->l, p->rows, RAGGED_ends);
        attr[attrs++] = (ir_attr){.name = ATTR_ragged, .i = ragged};
    }
    if (reverse) attr[attrs++] = (ir_attr){.name = ATTR_reverse, .i = 1};
    if (p->by_rows) attr[attrs++] = (ir_attr){.name = ATTR_by_rows, .i = 1};
    return ir_build(p->outer, OP_scan, count, in, attrs, attr, NULL);
}
