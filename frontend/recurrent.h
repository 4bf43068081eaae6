/* recurrent.h: private to layers_recurrent*.c, layers_bidirectional.c and layers_conv_lstm.c. A recurrent layer is one
 * `scan`: what depends on the inputs alone is computed for all steps at once before it, the rest is its body. */
#ifndef TFCC_RECURRENT_H
#define TFCC_RECURRENT_H

#include "frontend/layers.h"
#include "frontend/ragged.h"

enum { RNN_MAX_GATES = 4, RNN_MAX_CELL_STATES = 2, RNN_MAX_CELLS = 64 };

/* ---- the loop (layers_recurrent_loop.c) ---------------------------------------------------------------------- */

typedef struct rnn_operand {
    ir_value outer, inside; /* in the graph around the scan, in its body */
} rnn_operand;

typedef struct rnn_loop {
    fe_lower *l;
    ir_graph *outer, *body;
    int64_t length;
    ir_value rows; /* ragged: values of the rows whose steps are run; length is 0. Else IR_NONE */
    bool by_rows; /* length steps for each row of the batch */
    int carried;
    rnn_operand *operand;
    size_t count, capacity;
    size_t logits;
} rnn_loop;

/* States come before all other operands; those of ragged rows are ordered by falling length, and what has a slice a step
 * is packed (sparse/ragged.h). */
void rnn_loop_begin(rnn_loop *p, fe_lower *l, int64_t length, ir_value rows);
ir_value rnn_loop_state(rnn_loop *p, ir_value initial);  /* its value in the body */
ir_value rnn_loop_input(rnn_loop *p, ir_value stacked);  /* one slice a step, along dim 0 */
/* While the body is open: a value of the graph around it, in the body. Else the value itself. */
ir_value rnn_loop_bring(rnn_loop *p, ir_value outer);
void rnn_loop_open(rnn_loop *p);  /* from here on l->g is the body */
void rnn_loop_close(rnn_loop *p);
/* The body's outputs are added by the caller: next states, then what is stacked. */
ir_value rnn_loop_end(rnn_loop *p, bool reverse);

/* ---- cells (layers_recurrent_cells.c, layers_conv_lstm.c) ------------------------------------------------------- */

typedef struct rnn_cell rnn_cell;

/* What one call of a cell's layer works with, all in the graph around the loop. */
typedef struct rnn_cell_call {
    const rnn_cell *cell;
    fe_layer *layer;
    rnn_loop *loop;
    ir_value kernel, recurrent, bias, recurrent_bias; /* IR_NONE: no bias */
    int masks, recurrent_masks;                       /* 0, 1 or one per gate */
    ir_value mask[RNN_MAX_GATES], recurrent_mask[RNN_MAX_GATES];
    ir_value part[RNN_MAX_GATES], recurrent_part[RNN_MAX_GATES]; /* weights by gate, where masks are */
    ir_value two_gates;                               /* GRU without reset_after: recurrent weights of the first two */
} rnn_cell_call;

typedef struct rnn_cell_kind {
    const char *name; /* Keras class */
    const char *prefix; /* name of the cell inside its layer */
    int gates, states;
    /* The next states; the first one is the output. `input` is what project made of this step's input. */
    bool (*step)(rnn_cell_call *c, ir_value input, const ir_value *state, ir_value *out_state);
} rnn_cell_kind;

struct rnn_cell {
    const rnn_cell_kind *kind;
    int64_t units;
    const ir_record *activation, *recurrent_activation;
    bool use_bias, reset_after, by_gate; /* by_gate: each gate has dropout masks of its own */
    bool cudnn; /* weights as cuDNN has them: each gate's kernel turned, a bias for inputs and one for states */
    double dropout, recurrent_dropout;
    fe_seed seed;
    fe_weight_config kernel, recurrent, bias;
    /* convolutional cells */
    int spatial; /* 0: dense */
    int64_t window[3], strides[3], dilation[3];
    bool same, channels_first;
};

const rnn_cell_kind *rnn_cell_kind_find(const char *class_name); /* NULL: no cell */
/* Reads a cell's fields from the config of the cell or of the layer that has them. */
rnn_cell *rnn_cell_read(fe *f, const rnn_cell_kind *kind, int spatial, fe_config *c); /* NULL after a diagnostic */
/* Makes the cell's weights for inputs `input` (without the time dim), draws its dropout masks; *out_state is the type of
 * its states. False after a diagnostic. */
bool rnn_cell_begin(rnn_cell_call *c, fe_layer *layer, rnn_loop *p, const ir_type *input, ir_type *out_state);
/* What the inputs give to the gates: x is one step's input, or has the time dim in front. */
ir_value rnn_cell_project(rnn_cell_call *c, ir_value x);
/* The state's part of the gates, by gate, added to `input`. */
void rnn_cell_gates(rnn_cell_call *c, ir_value input, ir_value h, ir_value *out_gate);
/* One gate's part of a value that holds all of them in its channels. */
ir_value rnn_cell_slice(const rnn_cell_call *c, ir_value x, int first, int count);
bool rnn_lstm_step(rnn_cell_call *c, ir_value input, const ir_value *state, ir_value *out_state);
int rnn_cell_axis(const rnn_cell *cell); /* of the channels, in one step's values */

/* layers_conv_lstm.c: the product of x and the weights of a convolutional cell, x as for rnn_cell_project. */
ir_value rnn_cell_convolve(rnn_cell_call *c, ir_value x, ir_value kernel, bool recurrent);
bool rnn_cell_place(rnn_cell_call *c, const ir_type *input, ir_type *out_state);

/* ---- layers (layers_recurrent.c) ----------------------------------------------------------------------------------- */

typedef struct rnn_state {
    bool return_sequences, return_state, go_backwards, zero_output, stateful;
    bool time_major; /* Keras 2: [steps, rows, ...] in and out */
    bool in_place; /* set by Bidirectional: outputs of a backward run stay where their inputs are */
    int rank;      /* of the input */
    int64_t rows;  /* stateful: the fixed batch size */
} rnn_state;

bool rnn_read_flags(fe_config *c, rnn_state *s);
/* layers_recurrent_state.c: what a stateful layer keeps. */
bool rnn_rows_read(fe_config *c, rnn_state *s);
ir_value rnn_state_get(fe_lower *l, fe_layer *layer, int index, const ir_type *state);
void rnn_state_keep(fe_lower *l, fe_layer *layer, int index, ir_value value);
/* Makes the cell a layer inside `layer`, as Keras does: "lstm/lstm_cell" with weights in "layers/lstm/cell". class: of a
 * cell that no model can name; else NULL. */
void rnn_layer_add_cell(fe *f, fe_layer *layer, const fe_layer_class *class, rnn_cell *cell);

#endif
