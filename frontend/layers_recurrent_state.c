/* layers_recurrent_state.c: states that a stateful layer keeps from batch to batch. The variable has the model's fixed
 * number of rows, a batch has N: rows are taken by number, and what a smaller batch lacks repeats its last row. Keras
 * keeps these states out of weights files. */
#include "frontend/recurrent.h"

#include <string.h>

bool rnn_rows_read(fe_config *c, rnn_state *s)
{
    const json_at at = fe_key(c, "stateful");
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(c->fe->layer->build_config, "input_shape");
    const bool known = cJSON_IsArray(shape) && shape->child != NULL && fe_json_int(shape->child, &s->rows);
    if (known && s->rows > 0 && s->rows <= INT32_MAX) {
        ir_module *m = c->fe->module;
        m->rows = m->rows > 0 ? base_min(m->rows, s->rows) : s->rows;
        return true;
    }
    return fe_error(c->fe, &at, "expected a model built for a fixed batch size: the layer keeps states for it");
}

static int find_variable(fe_lower *l, fe_layer *layer, int index, ir_type type)
{
    fe *f = l->fe;
    const char *name = arena_printf(f->arena, "rnn_state_%d", index);
    for (size_t i = 0; i < layer->generator_count; i++) {
        if (strcmp(layer->generator[i].name, name) == 0) return layer->generator[i].variable;
    }
    ir_variable v = {.type = type, .role = ROLE_weight};
    v.path = arena_printf(f->arena, "%s/%s", layer->path, name);
    v.name = v.path;
    v.initializer = ir_record_new(f->arena, "zeros");
    const fe_generator made = {name, ir_module_add_variable(f->module, v)};
    arena_push(f->arena, layer->generator, layer->generator_count, layer->generator_capacity, made);
    return made.variable;
}

static ir_type keep_rows(const fe_layer *layer, ir_type state)
{
    const rnn_state *s = layer->state;
    state.dtype = layer->variable_dtype;
    state.dim[0] = ir_fixed(s->rows);
    return state;
}

static ir_value number_rows(fe_lower *l, ir_dim rows)
{
    return ir_build_iota(l->g, ir_type_make(DTYPE_i32, 1, &rows), 0);
}

ir_value rnn_state_get(fe_lower *l, fe_layer *layer, int index, const ir_type *state)
{
    const int variable = find_variable(l, layer, index, keep_rows(layer, *state));
    const ir_value kept = fe_variable_read(l, variable);
    return ir_build_convert(l->g, ir_build_take_rows(l->g, kept, number_rows(l, state->dim[0])), state->dtype);
}

void rnn_state_keep(fe_lower *l, fe_layer *layer, int index, ir_value value)
{
    const ir_type kept = keep_rows(layer, fe_type(l, value));
    const ir_value rows = ir_build_take_rows(l->g, value, number_rows(l, kept.dim[0]));
    fe_variable_assign(l, find_variable(l, layer, index, kept), ir_build_convert(l->g, rows, kept.dtype));
}
