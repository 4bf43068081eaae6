/* layers_recurrent.c: SimpleRNN, GRU, LSTM, RNN and its cells: masks, initial states, direction, and what is
 * returned. Where a step is masked, states keep their values and the output repeats the one before (zeros at
 * first), or is zero. */
#include "frontend/recurrent.h"

#include <string.h>

/* ---- reading
 * -------------------------------------------------------------------------------------------------------- */

bool rnn_read_flags(fe_config *c, rnn_state *s)
{
    const json_at major_at = fe_key(c, "time_major");
    bool ok = fe_config_bool_or(c, "return_sequences", false, &s->return_sequences);
    ok = fe_config_bool_or(c, "return_state", false, &s->return_state) && ok;
    ok = fe_config_bool_or(c, "go_backwards", false, &s->go_backwards) && ok;
    ok = fe_config_bool_or(c, "stateful", false, &s->stateful) && ok;
    ok = fe_config_bool_or(c, "zero_output_for_mask", false, &s->zero_output) && ok;
    ok = fe_config_bool_or(c, "time_major", false, &s->time_major) && ok;
    fe_config_ignore(c, "unroll use_cudnn");
    if (s->time_major && !c->fe->keras2)
        ok = fe_error(c->fe, &major_at, "expected false, found true: only Keras 2 has layers that take steps before rows");
    if (ok && s->stateful) ok = rnn_rows_read(c, s);
    return ok;
}

void rnn_layer_add_cell(fe *f, fe_layer *layer, const fe_layer_class *class, rnn_cell *cell)
{
    const char *known = rnn_cell_kind_find(cell->kind->name) != NULL ? cell->kind->name : "LSTMCell";
    fe_layer *made = fe_layer_make(f, known, layer, cell->kind->prefix, "cell");
    if (class != NULL) made->class = class;
    if (cell->spatial > 0 && !f->keras2) made->trainable = true; /* Keras's ConvLSTM does not hand it on, others do */
    made->state = cell;
    layer->child = arena_new(f->arena, fe_layer *);
    layer->child[0] = made;
    layer->child_count = 1;
}

/* SimpleRNN, GRU, LSTM, and Keras 2's CuDNNLSTM and CuDNNGRU: the fields of the layer and of its cell in one config. */
bool fe_read_recurrent(fe *f, fe_layer *layer, fe_config *c)
{
    rnn_state *s = arena_new(f->arena, rnn_state);
    static const char prefix[] = "CuDNN";
    const bool cudnn = strncmp(layer->class->name, prefix, sizeof prefix - 1) == 0;
    const char *plain = layer->class->name + (cudnn ? sizeof prefix - 1 : 0);
    const rnn_cell_kind *kind = rnn_cell_kind_find(arena_printf(f->arena, "%sCell", plain));
    layer->state = s;
    s->rank = 3;
    bool ok = rnn_read_flags(c, s);
    rnn_cell *cell = rnn_cell_read(f, kind, 0, c);
    if (cell != NULL) rnn_layer_add_cell(f, layer, NULL, cell);
    if (cell != NULL && cudnn) { /* such a layer holds its weights itself */
        cell->cudnn = true;
        layer->child[0]->path = layer->path;
        layer->child[0]->h5 = layer->h5;
    }
    return fe_config_done(c) && ok && cell != NULL;
}

bool fe_read_rnn_cell(fe *f, fe_layer *layer, fe_config *c)
{
    layer->state = rnn_cell_read(f, rnn_cell_kind_find(layer->class->name), 0, c);
    return fe_config_done(c) && layer->state != NULL;
}

static bool is_cell(const fe_layer *layer) { return rnn_cell_kind_find(layer->class->name) != NULL; }
static bool is_stack(const fe_layer *layer) { return strcmp(layer->class->name, "StackedRNNCells") == 0; }

/* Keras counts cells of one class in the weights file: lstm_cell, lstm_cell_1. */
static const char *name_group(fe *f, const fe_layer *layer, const char *snake)
{
    int same = 0;
    for (int i = 0; i < layer->child_count; i++) {
        same += strcmp(fe_snake_case(f, layer->child[i]->class->name), snake) == 0;
    }
    return same == 0 ? snake : arena_printf(f->arena, "%s_%d", snake, same);
}

bool fe_read_stacked_cells(fe *f, fe_layer *layer, fe_config *c)
{
    const json_at at = fe_key(c, "cells");
    const cJSON *list = fe_config_item(c, "cells");
    int index = 0;
    bool ok = true;
    if (!cJSON_IsArray(list) || list->child == NULL || cJSON_GetArraySize(list) > RNN_MAX_CELLS) {
        return fe_error(f, &at, "expected 1 .. %d cells, found %s", RNN_MAX_CELLS, fe_json_show(f, list));
    }
    layer->child = arena_array(f->arena, fe_layer *, RNN_MAX_CELLS);
    for (const cJSON *item = list->child; item != NULL; item = item->next, index++) {
        const json_at item_at = {.up = &at, .key = NULL, .index = index};
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(item, "class_name");
        const char *snake = fe_snake_case(f, cJSON_IsString(name) ? name->valuestring : "");
        const char *group = arena_printf(f->arena, "%s/cells/%s", layer->h5, name_group(f, layer, snake));
        fe_layer *cell = fe_layer_read(f, item, &item_at, layer->path, group);
        if (cell != NULL && !is_cell(cell))
            ok = fe_error(f, &item_at, "expected a recurrent cell, found %s", cell->class->name);
        if (cell == NULL || !is_cell(cell))
            ok = false;
        else
            layer->child[layer->child_count++] = cell;
    }
    return fe_config_done(c) && ok;
}

bool fe_read_rnn(fe *f, fe_layer *layer, fe_config *c)
{
    rnn_state *s = arena_new(f->arena, rnn_state);
    const json_at at = fe_key(c, "cell");
    const cJSON *object = fe_config_item(c, "cell");
    layer->state = s;
    s->rank = 3;
    bool ok = rnn_read_flags(c, s);
    if (object == NULL) return fe_error(f, &at, "expected a recurrent cell, found none");
    fe_layer *cell = fe_layer_read(f, object, &at, layer->path, arena_printf(f->arena, "%s/cell", layer->h5));
    if (cell == NULL) return false;
    if (!is_cell(cell) && !is_stack(cell))
        return fe_error(f, &at, "expected a recurrent cell, found %s", cell->class->name);
    layer->child = arena_new(f->arena, fe_layer *);
    layer->child[0] = cell;
    layer->child_count = 1;
    return fe_config_done(c) && ok;
}

/* ---- one run
 * ------------------------------------------------------------------------------------------------------------
 */

typedef struct rnn_run {
    fe_lower *l;
    fe_layer *layer;
    const rnn_state *s;
    rnn_loop loop;
    int64_t length;
    ir_value ragged;      /* the values of ragged rows, or IR_NONE */
    ir_value x;           /* [steps, N, ...], of ragged rows their packed values */
    ir_value mask;        /* [steps, N], or IR_NONE */
    ir_value result_mask; /* [N, steps], what Keras says the result's mask is, or IR_NONE */
    int cells, states;
    rnn_cell_call *cell;
    ir_type *type;                     /* per state */
    ir_value *initial, *inside, *next; /* per state: before the loop, in the body, after a step */
    bool given;                        /* initial states are not zeros */
    ir_value before;  /* in the body: the output before, where it is not the first state of the last cell; or
                         IR_NONE */
    ir_value mask_in; /* in the body: this step's mask */
    ir_value tuple;
} rnn_run;

/* x is rows of a table, one for each element of a matrix of indices. */
static bool is_table_rows(const ir_graph *g, ir_value x)
{
    const ir_node *n = &g->node[x];
    if (n->op != OP_gather || n->type.rank < 3 || ir_type_of(g, n->in[1])->rank != 2) return false;
    const ir_type *table = ir_type_of(g, n->in[0]);
    int count, collapsed;
    const int64_t *offset = ir_attr_ints(n, ATTR_offset_dims, &count);
    const int64_t *dim = ir_attr_ints(n, ATTR_collapsed_slice_dims, &collapsed);
    if (table->rank + 1 != n->type.rank || count != table->rank - 1 || offset[0] != 2 || collapsed != 1 || dim[0] != 0) return false;
    for (int i = 1; i < table->rank; i++)
        if (!ir_dim_equal(table->dim[i], n->type.dim[1 + i])) return false;
    return ir_attr_int(n, ATTR_index_vector_dim, 0) == 2;
}

/* An embedding is looked up step by step, so that it need not be turned, nor its gradient. */
static ir_value swap_first_dims(fe_lower *l, ir_value x)
{
    if (is_table_rows(l->g, x)) {
        const ir_node n = l->g->node[x];
        return ir_build_take_rows(l->g, n.in[0], swap_first_dims(l, n.in[1]));
    }
    int64_t order[IR_MAX_RANK] = {1, 0, 2, 3, 4, 5, 6, 7};
    return ir_build_transpose(l->g, x, order);
}

/* Between what the layer takes or gives and [steps, rows, ...]. */
static ir_value by_time(const rnn_run *r, ir_value x) { return r->s->time_major ? x : swap_first_dims(r->l, x); }

static ir_value reorder(const rnn_run *r, ir_value x, ir_ragged_part index, ir_ragged_part inverse)
{
    fe_lower *l = r->l;
    return fe_ragged_permute(l, x, fe_ragged_part(l, r->ragged, index), fe_ragged_part(l, r->ragged, inverse));
}

static bool get_ragged(rnn_run *r, fe_tensor x)
{
    fe_lower *l = r->l;
    const ir_type t = fe_type(l, x.value);
    if (r->s->rank != 3 || r->s->stateful) return fe_refuse(l, r->layer, "stateful with ragged rows");
    if (t.rank != 2)
        return fe_layer_error(l->fe, r->layer, "expected ragged rows of vectors, found %s", fe_shape_show(l->fe, &t));
    if (x.mask != IR_NONE)
        return fe_layer_error(l->fe, r->layer, "masks of ragged rows are not supported: they have no padding to be hidden");
    r->ragged = x.value;
    r->x = ir_build_convert(l->g, x.value, r->layer->compute_dtype);
    r->x = r->s->go_backwards ? reorder(r, r->x, RAGGED_unpack_back, RAGGED_pack_back)
                              : reorder(r, r->x, RAGGED_unpack, RAGGED_pack);
    r->mask = r->result_mask = IR_NONE;
    return true;
}

static bool get_sequence(rnn_run *r, const fe_args *args)
{
    fe_lower *l = r->l;
    const fe_value *v = fe_args_find(args, 0, "sequences");
    if (v == NULL) v = fe_args_find(args, 0, "inputs");
    if (v != NULL && v->kind == FE_LIST && v->count > 0) v = &v->item[0];
    if (v == NULL || v->kind != FE_TENSOR)
        return fe_layer_error(l->fe, r->layer, "expected one sequence as input");
    r->ragged = IR_NONE;
    if (fe_ragged_is(l, v->tensor.value)) return get_ragged(r, v->tensor);
    const int rows = r->s->time_major, steps = !rows;
    const ir_type t = fe_type(l, v->tensor.value);
    if (t.rank != r->s->rank) {
        return fe_layer_error(l->fe, r->layer, "expected an input of rank %d, found %s", r->s->rank,
                              fe_shape_show(l->fe, &t));
    }
    if (!fe_size_check(l, r->layer, &t) || !fe_dim_get(l, r->layer, &t, steps, &r->length)) return false;
    if (!t.dim[rows].batch || r->length < 1) {
        return fe_layer_error(l->fe, r->layer, "expected a batch of sequences of at least one step, found %s",
                              fe_shape_show(l->fe, &t));
    }
    const ir_value x = ir_build_convert(l->g, v->tensor.value, r->layer->compute_dtype);
    r->x = by_time(r, x);
    r->mask = r->result_mask = IR_NONE;
    if (v->tensor.mask == IR_NONE) return true;
    const ir_type m = fe_type(l, v->tensor.mask);
    if (m.rank != 2 || !ir_dim_equal(m.dim[0], t.dim[0]) || !ir_dim_equal(m.dim[1], t.dim[1])) {
        return fe_layer_error(l->fe, r->layer, "expected a mask for each step, found %s",
                              fe_shape_show(l->fe, &m));
    }
    r->result_mask = r->s->return_sequences ? v->tensor.mask : IR_NONE;
    /* Keras hands the input's mask on to calls with one tensor argument only; else it must be given by name.
     */
    fe_tensor other;
    const fe_value *initial = fe_args_find(args, 1, "initial_state");
    const bool alone = initial == NULL || fe_value_tensors(initial, 1, &other) == 0;
    if (alone || fe_args_find(args, -1, "mask") != NULL) r->mask = by_time(r, v->tensor.mask);
    return true;
}

/* What the inputs of all steps give to the gates is in memory at once. */
static bool check_steps(rnn_run *r, const rnn_cell_call *c, ir_type state)
{
    ir_type all = {.dtype = state.dtype, .rank = state.rank + 1, .dim = {ir_fixed(r->length)}};
    if (r->ragged != IR_NONE) return true;
    state.dim[rnn_cell_axis(c->cell)].count *= c->cell->kind->gates;
    for (int i = 0; i < state.rank; i++) all.dim[i + 1] = state.dim[i];
    return fe_size_check(r->l, r->layer, &all);
}

static bool begin_cells(rnn_run *r)
{
    fe_lower *l = r->l;
    fe_layer *top = r->layer->child[0], **cell = is_stack(top) ? top->child : &r->layer->child[0];
    r->x = ir_build_convert(l->g, r->x, cell[0]->compute_dtype); /* a cell casts what its layer has cast */
    const ir_type x = fe_type(l, r->x);
    ir_type input = ir_type_make(x.dtype, x.rank - 1, x.dim + 1), state;
    if (r->ragged != IR_NONE) {
        input = x;
        input.dim[0] = ir_batch(1);
    }
    r->cells = is_stack(top) ? top->child_count : 1;
    r->cell = arena_array(l->fe->arena, rnn_cell_call, (size_t)r->cells);
    r->type = arena_array(l->fe->arena, ir_type, (size_t)r->cells * RNN_MAX_CELL_STATES);
    rnn_loop_begin(&r->loop, l, r->length, r->ragged);
    for (int i = 0; i < r->cells; i++) {
        if (cell[i]->compute_dtype != cell[0]->compute_dtype)
            return fe_refuse(l, r->layer, "stacked cells that compute in several types");
        if (!rnn_cell_begin(&r->cell[i], cell[i], &r->loop, &input, &state)) return false;
        if (!check_steps(r, &r->cell[i], state)) return false;
        for (int k = 0; k < r->cell[i].cell->kind->states; k++) r->type[r->states++] = state;
        input = state;
    }
    return true;
}

/* Argument initial_state, or what comes after the sequence in a list of inputs; else zeros. */
static bool get_initial(rnn_run *r, const fe_args *args)
{
    fe_lower *l = r->l;
    const fe_value *v = fe_args_find(args, 1, "initial_state"), *first = fe_args_find(args, 0, "sequences");
    fe_tensor *tensor = arena_array(l->fe->arena, fe_tensor, (size_t)r->states + 2);
    int count = v != NULL ? fe_value_tensors(v, r->states + 1, tensor) : 0;
    if (v == NULL && first != NULL && first->kind == FE_LIST && first->count > 1) {
        count = fe_value_tensors(first, r->states + 2, tensor) - 1;
        tensor++;
    }
    r->initial = arena_array(l->fe->arena, ir_value, (size_t)r->states);
    r->given = count > 0;
    if (count != 0 && count != r->states) {
        return fe_layer_error(l->fe, r->layer, "expected %d initial states, found %d", r->states, count);
    }
    for (int i = 0; i < r->states; i++) {
        r->initial[i] = r->given         ? tensor[i].value
                        : r->s->stateful ? rnn_state_get(l, r->layer, i, &r->type[i])
                                         : ir_build_fill(l->g, r->type[i], 0);
        r->initial[i] = ir_build_convert(l->g, r->initial[i], r->type[i].dtype);
        const ir_type t = fe_type(l, r->initial[i]);
        if (ir_type_equal(&t, &r->type[i])) {
            if (r->given && r->ragged != IR_NONE) r->initial[i] = reorder(r, r->initial[i], RAGGED_order, RAGGED_rank);
            continue;
        }
        return fe_layer_error(l->fe, r->layer, "expected an initial state %s, found %s",
                              fe_shape_show(l->fe, &r->type[i]), fe_shape_show(l->fe, &t));
    }
    return true;
}

/* First of the last cell's states: the output. */
static int output_state(const rnn_run *r) { return r->states - r->cell[r->cells - 1].cell->kind->states; }

static ir_value choose(rnn_run *r, ir_value value, ir_value otherwise)
{
    const ir_type t = fe_type(r->l, value);
    const int64_t rows = 0;
    ir_graph *g = r->l->g;
    return ir_build_select(g, ir_build_broadcast_in_dim(g, r->mask_in, &t, &rows), value, otherwise);
}

static bool build_step(rnn_run *r, ir_value input)
{
    for (int i = 0, at = 0; i < r->cells; i++) {
        rnn_cell_call *c = &r->cell[i];
        if (i > 0) input = rnn_cell_project(c, r->next[at - r->cell[i - 1].cell->kind->states]);
        if (!c->cell->kind->step(c, input, &r->inside[at], &r->next[at])) return false;
        at += c->cell->kind->states;
    }
    return true;
}

/* Adds the body's outputs: states, then the step's output where all are wanted. */
static void add_outputs(rnn_run *r)
{
    ir_graph *body = r->loop.body;
    const ir_value fresh = r->next[output_state(r)];
    ir_value shown = fresh;
    for (int i = 0; i < r->states; i++) {
        if (r->mask != IR_NONE) r->next[i] = choose(r, r->next[i], r->inside[i]);
        ir_graph_add_output(body, "state", r->next[i]);
    }
    if (r->mask != IR_NONE) {
        const ir_value zero = ir_build_scalar(body, fe_type(r->l, fresh).dtype, 0);
        shown = r->s->zero_output ? choose(r, fresh, zero) : r->next[output_state(r)];
    }
    if (r->before != IR_NONE) {
        shown = choose(r, fresh, r->before);
        ir_graph_add_output(body, "output_before", shown);
    }
    if (r->s->return_sequences) ir_graph_add_output(body, "output", shown);
}

static bool run_loop(rnn_run *r)
{
    fe_lower *l = r->l;
    r->inside = arena_array(l->fe->arena, ir_value, (size_t)r->states);
    r->next = arena_array(l->fe->arena, ir_value, (size_t)r->states);
    const ir_value projected = rnn_cell_project(&r->cell[0], r->x);
    for (int i = 0; i < r->states; i++) r->inside[i] = rnn_loop_state(&r->loop, r->initial[i]);
    r->before = IR_NONE;
    if (r->mask != IR_NONE && (r->given || r->s->stateful) && !r->s->zero_output) {
        r->before = rnn_loop_state(&r->loop, ir_build_fill(l->g, r->type[output_state(r)], 0));
    }
    const ir_value input = rnn_loop_input(&r->loop, projected);
    if (r->mask != IR_NONE) r->mask_in = rnn_loop_input(&r->loop, r->mask);
    rnn_loop_open(&r->loop);
    const bool ok = build_step(r, input);
    if (ok) add_outputs(r);
    rnn_loop_close(&r->loop);
    if (ok) r->tuple = rnn_loop_end(&r->loop, r->s->go_backwards && r->ragged == IR_NONE);
    return ok;
}

/* ---- results
 * ------------------------------------------------------------------------------------------------------------------
 */

static ir_value get_state(const rnn_run *r, int index)
{
    const ir_value state = ir_build_get(r->l->g, r->tuple, index);
    return r->ragged == IR_NONE ? state : reorder(r, state, RAGGED_rank, RAGGED_order);
}

static ir_value make_last(rnn_run *r)
{
    ir_graph *g = r->l->g;
    if (r->before != IR_NONE) return ir_build_get(g, r->tuple, r->states);
    const ir_value last = get_state(r, output_state(r));
    if (r->mask == IR_NONE || !r->s->zero_output) return last;
    const int64_t at = r->s->go_backwards ? 0 : r->length - 1;
    const ir_type t = fe_type(r->l, r->mask);
    r->mask_in = ir_build_reshape(g, ir_build_slice_dim(g, r->mask, 0, at, at + 1), 1, &t.dim[1]);
    return choose(r, last, ir_build_scalar(g, fe_type(r->l, last).dtype, 0));
}

static ir_value make_sequence(rnn_run *r)
{
    ir_graph *g = r->l->g;
    const int64_t time = 0;
    ir_value all = ir_build_get(g, r->tuple, r->states + (r->before != IR_NONE));
    if (r->ragged != IR_NONE) {
        return r->s->go_backwards && r->s->in_place ? reorder(r, all, RAGGED_pack_back, RAGGED_unpack_back)
                                                    : reorder(r, all, RAGGED_pack, RAGGED_unpack);
    }
    if (r->s->go_backwards && !r->s->in_place) all = ir_build_reverse(g, all, 1, &time);
    return by_time(r, all);
}

bool fe_call_recurrent(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    rnn_run r = {.l = l, .layer = layer, .s = layer->state};
    if (!get_sequence(&r, args) || !begin_cells(&r) || !get_initial(&r, args) || !run_loop(&r)) return false;
    const ir_value y = r.s->return_sequences ? make_sequence(&r) : make_last(&r);
    for (int i = 0; r.s->stateful && i < r.states; i++) {
        rnn_state_keep(l, layer, i, ir_build_get(l->g, r.tuple, i));
    }
    if (!r.s->return_state) return fe_finish(l, y, r.result_mask, out);
    *out = (fe_value){.kind = FE_LIST, .count = r.states + 1};
    out->item = arena_array(l->fe->arena, fe_value, (size_t)r.states + 1);
    out->item[0] = fe_value_tensor(y, r.result_mask);
    for (int i = 0; i < r.states; i++)
        out->item[i + 1] = fe_value_tensor(get_state(&r, i), IR_NONE);
    return true;
}

bool fe_call_rnn(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return fe_call_recurrent(l, layer, args, out);
}

bool fe_call_conv_lstm(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return fe_call_recurrent(l, layer, args, out);
}
