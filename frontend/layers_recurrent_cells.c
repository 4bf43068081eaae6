/* layers_recurrent_cells.c: what one step of SimpleRNN, GRU and LSTM computes. The products with the inputs,
 * bias included, are made for all steps at once (rnn_cell_project), so a step adds only what its state
 * contributes. Dropout masks are drawn once per call and in every phase, as Keras draws them; they are
 * applied in training only. */
#include "frontend/recurrent.h"

#include <string.h>

int rnn_cell_axis(const rnn_cell *cell)
{
    return cell->spatial == 0 || cell->channels_first ? 1 : cell->spatial + 1;
}

/* ---- reading
 * --------------------------------------------------------------------------------------------------- */

/* Keras brings rates into 0 .. 1 without a word. */
static bool read_rate(fe_config *c, const char *key, double *out)
{
    if (!fe_config_number_or(c, key, 0, out)) return false;
    *out = *out > 0 ? *out < 1 ? *out : 1 : 0;
    return true;
}

static const ir_record *make_named(fe *f, const char *name) { return ir_record_new(f->arena, name); }

static bool read_activation(fe_config *c, const char *key, const char *otherwise, const ir_record **out)
{
    if (cJSON_GetObjectItemCaseSensitive(c->object, key) != NULL) return fe_activation_read(c, key, out);
    *out = make_named(c->fe, otherwise);
    return true;
}

/* The second of an LSTM's four biases starts at one. */
static const ir_record *make_forget_bias(fe *f, const ir_record *r, int64_t units)
{
    ir_record *made = arena_copy(f->arena, r, sizeof *r);
    made->field = arena_copy(f->arena, r->field, r->count * sizeof *r->field);
    made->capacity = r->count;
    ir_record_add_number(f->arena, made, "ones_start", (double)units);
    ir_record_add_number(f->arena, made, "ones_count", (double)units);
    return made;
}

static bool read_weights(fe_config *c, rnn_cell *s)
{
    bool ok = fe_weight_config_read(c, "kernel", "glorot_uniform", &s->kernel);
    ok = fe_weight_config_read(c, "recurrent", "orthogonal", &s->recurrent) && ok;
    ok = fe_weight_config_read(c, "bias", "zeros", &s->bias) && ok;
    return fe_config_bool_or(c, "use_bias", true, &s->use_bias) && ok;
}

static bool read_dropout(fe_config *c, rnn_cell *s)
{
    int64_t implementation = 2;
    bool ok = read_rate(c, "dropout", &s->dropout);
    ok = read_rate(c, "recurrent_dropout", &s->recurrent_dropout) && ok;
    ok = fe_seed_read(c, &s->seed) && ok;
    ok = fe_config_int_or(c, "implementation", 0, 2, &implementation) && ok;
    const bool gated = s->kind->gates > 1;
    s->by_gate = s->spatial > 0 || (gated && (s->recurrent_dropout > 0 || implementation == 1));
    return ok;
}

rnn_cell *rnn_cell_read(fe *f, const rnn_cell_kind *kind, int spatial, fe_config *c)
{
    rnn_cell *s = arena_new(f->arena, rnn_cell);
    bool unit_forget_bias = false;
    s->kind = kind;
    s->spatial = spatial;
    bool ok = fe_size_read(c, s->spatial > 0 ? "filters" : "units", 0, &s->units);
    ok = read_activation(c, "activation", "tanh", &s->activation) && ok;
    if (kind->gates > 1)
        ok = read_activation(c, "recurrent_activation", "sigmoid", &s->recurrent_activation) && ok;
    ok = read_weights(c, s) && ok;
    if (kind->gates == 3) ok = fe_config_bool_or(c, "reset_after", true, &s->reset_after) && ok;
    if (kind->states == 2) ok = fe_config_bool_or(c, "unit_forget_bias", true, &unit_forget_bias) && ok;
    ok = read_dropout(c, s) && ok;
    if (ok && unit_forget_bias) s->bias.initializer = make_forget_bias(f, s->bias.initializer, s->units);
    return ok ? s : NULL;
}

/* ---- weights and masks
 * ------------------------------------------------------------------------------------------ */

static fe_shape shape_kernel(const rnn_cell *cell, int64_t channels)
{
    fe_shape shape = {.rank = cell->spatial + 2};
    for (int i = 0; i < cell->spatial; i++) shape.dim[i] = cell->window[i];
    shape.dim[cell->spatial] = channels;
    shape.dim[cell->spatial + 1] = cell->units * cell->kind->gates;
    return shape;
}

static bool get_bias(rnn_cell_call *c, fe_layer *layer)
{
    fe_lower *l = c->loop->l;
    const rnn_cell *cell = c->cell;
    const int64_t width = cell->units * cell->kind->gates;
    c->bias = c->recurrent_bias = IR_NONE;
    if (!cell->use_bias) return true;
    const bool two = cell->kind->gates == 3 && cell->reset_after, pair = two || cell->cudnn;
    const fe_shape shape = cell->cudnn ? (fe_shape){1, {2 * width}}
                           : two       ? (fe_shape){2, {2, width}}
                                       : (fe_shape){1, {width}};
    c->bias = fe_layer_weight(l, layer, "bias", &cell->bias, shape);
    if (c->bias == IR_NONE || !pair) return c->bias != IR_NONE;
    const ir_dim row = ir_fixed(width), rows[2] = {ir_fixed(2), row};
    const ir_value both = ir_build_reshape(l->g, c->bias, 2, rows);
    c->bias = ir_build_reshape(l->g, ir_build_slice_dim(l->g, both, 0, 0, 1), 1, &row);
    c->recurrent_bias = ir_build_reshape(l->g, ir_build_slice_dim(l->g, both, 0, 1, 2), 1, &row);
    if (two) return true;
    c->bias = ir_build_binary(l->g, OP_add, c->bias, c->recurrent_bias);
    c->recurrent_bias = IR_NONE;
    return true;
}

/* The elements of each gate's part of the kernel are those of its transpose. */
static ir_value turn_gates(rnn_cell_call *c, ir_value kernel)
{
    static const int64_t turn[2] = {1, 0};
    fe_lower *l = c->loop->l;
    const int64_t units = c->cell->units;
    const ir_dim dim[2] = {ir_fixed(units), fe_type(l, kernel).dim[0]};
    ir_value part[RNN_MAX_GATES];
    for (int i = 0; i < c->cell->kind->gates; i++) {
        const ir_value gate = ir_build_slice_dim(l->g, kernel, 1, i * units, (i + 1) * units);
        part[i] = ir_build_transpose(l->g, ir_build_reshape(l->g, gate, 2, dim), turn);
    }
    return ir_build_concatenate(l->g, c->cell->kind->gates, part, 1);
}

static bool get_weights(rnn_cell_call *c, fe_layer *layer, const ir_type *input)
{
    fe_lower *l = c->loop->l;
    const rnn_cell *cell = c->cell;
    int64_t channels = 0;
    if (!fe_dim_get(l, layer, input, rnn_cell_axis(cell), &channels)) return false;
    c->kernel = fe_layer_weight(l, layer, "kernel", &cell->kernel, shape_kernel(cell, channels));
    if (c->kernel == IR_NONE) return false;
    c->recurrent =
        fe_layer_weight(l, layer, "recurrent_kernel", &cell->recurrent, shape_kernel(cell, cell->units));
    if (c->recurrent == IR_NONE || !get_bias(c, layer)) return false;
    if (!cell->cudnn) return true;
    c->kernel = turn_gates(c, c->kernel);
    c->recurrent = turn_gates(c, c->recurrent);
    return true;
}

/* Draws masks for values of type t; *out_count is 0 where they are not applied. */
static bool draw_masks(rnn_cell_call *c, double rate, ir_type t, int *out_count, ir_value *out)
{
    fe_lower *l = c->loop->l;
    const rnn_cell *cell = c->cell;
    const int count = cell->by_gate ? cell->kind->gates : 1;
    const bool applied = l->training && (rate < 1 || cell->kind->gates == 1);
    *out_count = 0;
    if (rate == 0) return true;
    for (int i = 0; i < count; i++) {
        const ir_value ones = ir_build_fill(l->g, t, 1);
        out[i] = fe_dropout_build(l, ones, rate, NULL, &cell->seed);
        if (out[i] == IR_NONE) return false;
    }
    if (applied) *out_count = count;
    return true;
}

static ir_value slice_weight(const rnn_cell_call *c, ir_value w, int first, int count)
{
    fe_lower *l = c->loop->l;
    const int64_t units = c->cell->units;
    return ir_build_slice_dim(l->g, w, fe_type(l, w).rank - 1, first * units, (first + count) * units);
}

static void split_weights(rnn_cell_call *c)
{
    const int gates = c->cell->kind->gates;
    const bool late = gates == 3 && !c->cell->reset_after;
    for (int i = 0; i < gates && c->masks > 1; i++) c->part[i] = slice_weight(c, c->kernel, i, 1);
    for (int i = 0; i < gates && (c->recurrent_masks > 1 || late); i++) {
        c->recurrent_part[i] = slice_weight(c, c->recurrent, i, 1);
    }
    if (late) c->two_gates = slice_weight(c, c->recurrent, 0, 2);
}

bool rnn_cell_begin(rnn_cell_call *c, fe_layer *layer, rnn_loop *p, const ir_type *input, ir_type *out_state)
{
    fe_lower *l = p->l;
    *c = (rnn_cell_call){.cell = layer->state, .layer = layer, .loop = p};
    fe_layer *outer = l->layer;
    l->layer = layer;
    *out_state = *input;
    if (c->cell->spatial == 0) out_state->dim[1] = ir_fixed(c->cell->units);
    bool ok = c->cell->spatial == 0 || rnn_cell_place(c, input, out_state);
    ok = ok && fe_size_check(l, layer, out_state) && get_weights(c, layer, input);
    ok = ok && draw_masks(c, c->cell->dropout, *input, &c->masks, c->mask);
    ok = ok && draw_masks(c, c->cell->recurrent_dropout, *out_state, &c->recurrent_masks, c->recurrent_mask);
    if (ok) split_weights(c);
    layer->built = true;
    l->layer = outer;
    return ok;
}

/* ---- products
 * ------------------------------------------------------------------------------------------------------- */

static ir_value bring(const rnn_cell_call *c, ir_value outer) { return rnn_loop_bring(c->loop, outer); }

static ir_value multiply(rnn_cell_call *c, ir_value x, ir_value weights, bool recurrent)
{
    if (c->cell->spatial > 0) return rnn_cell_convolve(c, x, bring(c, weights), recurrent);
    return ir_build_dot(c->loop->l->g, x, bring(c, weights));
}

static ir_value apply_mask(rnn_cell_call *c, ir_value x, ir_value mask)
{
    fe_lower *l = c->loop->l;
    const ir_value rows = c->loop->rows;
    if (rows != IR_NONE && l->g == c->loop->outer) { /* the packed values of all steps */
        const ir_value index = fe_ragged_part(l, rows, RAGGED_unpack), inverse = fe_ragged_part(l, rows, RAGGED_pack);
        mask = fe_ragged_permute(l, fe_ragged_spread(l, mask, rows), index, inverse);
    }
    return ir_build_binary(l->g, OP_multiply, x, bring(c, mask));
}

static int channel_axis(const rnn_cell_call *c, ir_value x)
{
    const ir_type t = fe_type(c->loop->l, x);
    return rnn_cell_axis(c->cell) + (t.rank > c->cell->spatial + 2);
}

static ir_value add_bias(rnn_cell_call *c, ir_value x, ir_value bias)
{
    return bias == IR_NONE ? x : fe_bias_add(c->loop->l, x, bring(c, bias), channel_axis(c, x));
}

ir_value rnn_cell_project(rnn_cell_call *c, ir_value x)
{
    ir_value part[RNN_MAX_GATES];
    if (c->masks <= 1) {
        if (c->masks == 1) x = apply_mask(c, x, c->mask[0]);
        return add_bias(c, multiply(c, x, c->kernel, false), c->bias);
    }
    for (int i = 0; i < c->masks; i++) part[i] = multiply(c, apply_mask(c, x, c->mask[i]), c->part[i], false);
    const ir_value all = ir_build_concatenate(c->loop->l->g, c->masks, part, channel_axis(c, part[0]));
    return add_bias(c, all, c->bias);
}

ir_value rnn_cell_slice(const rnn_cell_call *c, ir_value x, int first, int count)
{
    const int64_t units = c->cell->units;
    return ir_build_slice_dim(c->loop->l->g, x, channel_axis(c, x), first * units, (first + count) * units);
}

/* The state's part of gate `gate`, under its mask. */
static ir_value multiply_part(rnn_cell_call *c, ir_value h, int gate)
{
    if (c->recurrent_masks > 1) h = apply_mask(c, h, c->recurrent_mask[gate]);
    return multiply(c, h, c->recurrent_part[gate], true);
}

void rnn_cell_gates(rnn_cell_call *c, ir_value input, ir_value h, ir_value *out_gate)
{
    ir_graph *g = c->loop->l->g;
    const int gates = c->cell->kind->gates;
    if (c->recurrent_masks > 1) {
        for (int i = 0; i < gates; i++) {
            out_gate[i] = ir_build_binary(g, OP_add, rnn_cell_slice(c, input, i, 1), multiply_part(c, h, i));
        }
        return;
    }
    if (c->recurrent_masks == 1) h = apply_mask(c, h, c->recurrent_mask[0]);
    const ir_value all = ir_build_binary(g, OP_add, input, multiply(c, h, c->recurrent, true));
    for (int i = 0; i < gates; i++) out_gate[i] = gates == 1 ? all : rnn_cell_slice(c, all, i, 1);
}

/* ---- steps
 * -----------------------------------------------------------------------------------------------------------
 */

static ir_value activate(rnn_cell_call *c, ir_value x)
{
    return fe_activation_build(c->loop->l, c->cell->activation, x);
}
static ir_value gate(rnn_cell_call *c, ir_value x)
{
    return fe_activation_build(c->loop->l, c->cell->recurrent_activation, x);
}

static bool step_simple(rnn_cell_call *c, ir_value input, const ir_value *state, ir_value *out_state)
{
    ir_value sum;
    rnn_cell_gates(c, input, state[0], &sum);
    out_state[0] = activate(c, sum);
    return out_state[0] != IR_NONE;
}

bool rnn_lstm_step(rnn_cell_call *c, ir_value input, const ir_value *state, ir_value *out_state)
{
    ir_graph *g = c->loop->l->g;
    ir_value z[RNN_MAX_GATES];
    rnn_cell_gates(c, input, state[0], z);
    const ir_value i = gate(c, z[0]), f = gate(c, z[1]), candidate = activate(c, z[2]);
    if (i == IR_NONE || f == IR_NONE || candidate == IR_NONE) return false;
    const ir_value kept = ir_build_binary(g, OP_multiply, f, state[1]);
    const ir_value carry = ir_build_binary(g, OP_add, kept, ir_build_binary(g, OP_multiply, i, candidate));
    const ir_value o = gate(c, z[3]), shown = activate(c, carry);
    if (o == IR_NONE || shown == IR_NONE) return false;
    out_state[0] = ir_build_binary(g, OP_multiply, o, shown);
    out_state[1] = carry;
    return true;
}

/* The state's part of all three gates, to be added (two) or to pass the reset gate (the last). */
static void multiply_gru(rnn_cell_call *c, ir_value h, ir_value *out)
{
    if (c->recurrent_masks > 1) {
        for (int i = 0; i < (c->cell->reset_after ? 3 : 2); i++) {
            out[i] = multiply_part(c, h, i);
            if (c->recurrent_bias == IR_NONE) continue;
            const ir_value bias = bring(c, c->recurrent_bias);
            out[i] = fe_bias_add(c->loop->l, out[i], slice_weight(c, bias, i, 1), 1);
        }
        return;
    }
    const ir_value weights = c->cell->reset_after ? c->recurrent : c->two_gates;
    const ir_value all = add_bias(c, multiply(c, h, weights, true), c->recurrent_bias);
    for (int i = 0; i < (c->cell->reset_after ? 3 : 2); i++) out[i] = rnn_cell_slice(c, all, i, 1);
}

static bool step_gru(rnn_cell_call *c, ir_value input, const ir_value *state, ir_value *out_state)
{
    ir_graph *g = c->loop->l->g;
    const ir_value h = state[0];
    ir_value part[3];
    multiply_gru(c, h, part);
    const ir_value z = gate(c, ir_build_binary(g, OP_add, rnn_cell_slice(c, input, 0, 1), part[0]));
    const ir_value r = gate(c, ir_build_binary(g, OP_add, rnn_cell_slice(c, input, 1, 1), part[1]));
    if (z == IR_NONE || r == IR_NONE) return false;
    if (c->cell->reset_after) {
        part[2] = ir_build_binary(g, OP_multiply, r, part[2]);
    } else {
        const ir_value masked = c->recurrent_masks > 1 ? apply_mask(c, h, c->recurrent_mask[2]) : h;
        part[2] = multiply(c, ir_build_binary(g, OP_multiply, r, masked), c->recurrent_part[2], true);
    }
    const ir_value candidate =
        activate(c, ir_build_binary(g, OP_add, rnn_cell_slice(c, input, 2, 1), part[2]));
    if (candidate == IR_NONE) return false;
    const ir_value one = ir_build_scalar(g, fe_type(c->loop->l, z).dtype, 1);
    const ir_value taken =
        ir_build_binary(g, OP_multiply, ir_build_binary(g, OP_subtract, one, z), candidate);
    out_state[0] = ir_build_binary(g, OP_add, ir_build_binary(g, OP_multiply, z, h), taken);
    return true;
}

static const rnn_cell_kind kinds[] = {
    {"SimpleRNNCell", "simple_rnn_cell", 1, 1, step_simple},
    {"GRUCell", "gru_cell", 3, 1, step_gru},
    {"LSTMCell", "lstm_cell", 4, 2, rnn_lstm_step},
};

const rnn_cell_kind *rnn_cell_kind_find(const char *class_name)
{
    for (size_t i = 0; i < countof(kinds); i++) {
        if (strcmp(kinds[i].name, class_name) == 0) return &kinds[i];
    }
    return NULL;
}
