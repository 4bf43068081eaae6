/* ragged.h: private to frontend/: rows of different lengths. Keras's [N, None, ...] is here [V, ...], the values of all rows
 * one after another, and the batch unit of its first dim says which input's rows they are. */
#ifndef TFCC_FRONTEND_RAGGED_H
#define TFCC_FRONTEND_RAGGED_H

#include "frontend/fe.h"

/* The values of ragged rows, and not inside a layer that takes them as rows of a batch (TimeDistributed). */
bool fe_ragged_is(const fe_lower *l, ir_value v);
/* A part (ir_ragged_part) of the rows that x is the values of, as made by the runtime. */
ir_value fe_ragged_part(fe_lower *l, ir_value x, ir_ragged_part part);
/* Sums or maxima of each row's values ("add", "maximum"), or their mean ("mean"): [V,...] to [N,...]. */
ir_value fe_ragged_reduce(fe_lower *l, const char *kind, ir_value x);
ir_value fe_ragged_spread(fe_lower *l, ir_value rows, ir_value like); /* each row's element for its values: as `like` */
/* x with its elements in another order: the two parts are inverse to each other. */
ir_value fe_ragged_permute(fe_lower *l, ir_value x, ir_value index, ir_value inverse);
/* Calls a layer that has been given ragged rows. Most work on values, whose step dim is then of size 1. */
bool fe_ragged_call(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out);
/* The same for an operation of keras.ops. */
typedef struct op_use op_use;
bool fe_ragged_op(op_use *u, fe_value *out);
bool fe_ragged_any(fe_lower *l, const fe_args *args); /* a tensor among them is ragged */
/* The layer that `layer` wraps is called on values as on rows of a batch. */
bool fe_ragged_call_inner(fe_lower *l, fe_layer *inner, ir_value x, fe_value *out);

#endif
