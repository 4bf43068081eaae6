/* layers_recurrent_step.c: recurrent cells that a model calls by themselves, one step a call. */
#include "frontend/recurrent.h"

static const fe_value *find_input(const fe_args *args)
{
    const fe_value *v = fe_args_find(args, 0, "inputs");
    return v ? v : fe_args_find(args, 0, "sequence");
}

/* (output, states): both as Keras gives them, the states in a list where they were given in one. */
static void finish_step(fe_lower *l, int count, const ir_value *next, bool listed, fe_value *out)
{
    fe_value *item = arena_array(l->fe->arena, fe_value, (size_t)count + 2);
    for (int i = 0; i < count; i++) item[i + 2] = fe_value_tensor(next[i], IR_NONE);
    item[0] = item[2];
    item[1] = listed ? (fe_value){.kind = FE_LIST, .count = count, .item = item + 2} : item[2];
    *out = (fe_value){.kind = FE_LIST, .count = 2, .item = item};
}

bool fe_call_rnn_cell(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const rnn_cell *cell = layer->state;
    const int count = cell->kind->states;
    const fe_value *given = fe_args_find(args, 1, "states");
    fe_tensor x, state[RNN_MAX_CELL_STATES];
    ir_value before[RNN_MAX_CELL_STATES], next[RNN_MAX_CELL_STATES];
    rnn_loop none;
    rnn_cell_call c;
    ir_type type;
    if (!fe_input_get(l, layer, args, 2, 2, &x)) return false;
    if (!given || fe_value_tensors(given, count, state) != count)
        return fe_layer_error(l->fe, layer, "expected %d states", count);
    if (l->training && (cell->dropout > 0 || cell->recurrent_dropout > 0))
        return fe_refuse(l, layer, "dropout in a cell outside an RNN layer");
    const ir_type t = fe_type(l, x.value);
    rnn_loop_begin(&none, l, 1, IR_NONE);
    if (!rnn_cell_begin(&c, layer, &none, &t, &type)) return false;
    for (int i = 0; i < count; i++) {
        before[i] = ir_build_convert(l->g, state[i].value, type.dtype);
        const ir_type found = fe_type(l, before[i]);
        if (!ir_type_equal(&found, &type))
            return fe_layer_error(l->fe, layer, "expected a state %s, found %s", fe_shape_show(l->fe, &type),
                                  fe_shape_show(l->fe, &found));
    }
    if (!cell->kind->step(&c, rnn_cell_project(&c, x.value), before, next)) return false;
    finish_step(l, count, next, given->kind == FE_LIST, out);
    return true;
}

bool fe_call_stacked_cells(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const fe_value *given = fe_args_find(args, 1, "states"), *first = find_input(args);
    const int count = layer->child_count;
    if (!first || !given || given->kind != FE_LIST || given->count != count)
        return fe_layer_error(l->fe, layer, "expected an input and a list of the states of %d cells", count);
    fe_value *item = arena_array(l->fe->arena, fe_value, (size_t)count + 2), x = *first;
    for (int i = 0; i < count; i++) {
        fe_value pair[2] = {x, given->item[i]}, result;
        const fe_args step = {.arg = {.kind = FE_LIST, .count = 2, .item = pair}, .kwarg = {.kind = FE_DICT}};
        if (!fe_call(l, layer->child[i], &step, &result)) return false;
        x = result.item[0];
        item[i + 2] = result.item[1];
    }
    item[0] = x;
    item[1] = count == 1 ? item[2] : (fe_value){.kind = FE_LIST, .count = count, .item = item + 2};
    *out = (fe_value){.kind = FE_LIST, .count = 2, .item = item};
    return true;
}
