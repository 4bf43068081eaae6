/* model.h: what the files of frontend/ that read and lower models share with each other, and nobody else. */
#ifndef TFCC_FRONTEND_MODEL_H
#define TFCC_FRONTEND_MODEL_H

#include "frontend/fe.h"

/* The layer's dtypes from its config's "dtype", or --policy. */
bool fe_policy_read(fe *f, fe_layer *layer, fe_config *config);
/* Gives the layer what p says about its path. */
bool fe_policy_apply(fe *f, fe_layer *layer, const fe_policy *p, const json_at *at);
void fe_precision_list(fe *f, const fe_model *m, frontend_model *out); /* fills out->layer (precision.c) */
bool fe_policy_check(fe *f); /* the name given with --policy */
const char *fe_policy_name(ir_dtype compute, ir_dtype variable);

/* True for the module of an operation of keras.ops ("keras.src.ops.numpy"). */
bool fe_is_op_object(const cJSON *object);
/* The operation that an op layer calls; NULL for other layers. */
const fe_op *fe_layer_op(const fe_layer *layer);

/* Names of groups in a weights file, counted per class: "dense", "dense_1". One per container. */
typedef struct fe_names {
    fe *fe;
    map used;
} fe_names;
const char *fe_names_next(fe_names *names, const char *class_name);

/* Reads all calls ("inbound_nodes") of a Functional's layers, then its input and output structures, and
 * orders the calls. Dangling references and cycles are reported with the names of the layers. Layers that
 * could not be read are NULL in m->layer. */
bool fe_model_link(fe *f, fe_model *m, const cJSON *layers, fe_config *config);
/* Fills m->order from the calls and the output structure. False with a message when there is a cycle. */
bool fe_model_order_calls(fe *f, fe_model *m, const json_at *at);
/* Names the outputs after their layers. */
void fe_model_name_outputs(fe *f, fe_model *m);

/* One argument tree of a call: tensors become FE_NODE through `find`. */
typedef struct fe_arg_reader {
    fe *fe;
    const map *layer_index;    /* layer name -> int: its index; NULL where no tensors may stand */
    const int *first_call;     /* per layer: its first call; one more entry at the end */
    const bool *counts_itself; /* per layer: its calls are numbered from 1; NULL: none is */
} fe_arg_reader;
bool fe_arg_read(fe_arg_reader *r, const cJSON *j, const json_at *at, fe_value *out);
/* ["layer", call, tensor], or its parts. */
bool fe_arg_link(fe_arg_reader *r, const cJSON *history, const json_at *at, fe_value *out);
bool fe_arg_is_history(const cJSON *j);
/* Lists and dicts of arguments, and slices (objects with start, stop and step): `each` reads what is in them. */
typedef bool (*fe_arg_each)(fe_arg_reader *r, const void *context, const cJSON *j, const json_at *at, fe_value *out);
bool fe_arg_read_items(fe_arg_reader *r, fe_arg_each each, const void *context, const cJSON *j, const json_at *at, fe_value *out);
bool fe_arg_read_slice(fe_arg_reader *r, fe_arg_each each, const void *context, const cJSON *j, const json_at *at, fe_value *out);
/* Nested lists of numbers: FE_CONSTANT. */
bool fe_arg_read_array(fe_arg_reader *reader, const cJSON *value, ir_dtype dtype, const json_at *at, fe_value *out);

/* InputLayer's state. Dims that the JSON leaves open have a count of -1; so has the first, the batch. */
typedef struct fe_input {
    ir_type type;
    bool any; /* a Sequential without InputLayer: takes what comes */
    bool sparse; /* its port takes sparse rows */
    bool ragged; /* dim 1 is of different sizes: its port takes the values of all rows */
    int port; /* module port of an input of the outermost model, else -1 */
} fe_input;
fe_input *fe_layer_input(const fe_layer *layer); /* NULL: not an InputLayer */

/* The input as a value of a graph. */
ir_value fe_input_value(ir_graph *g, const fe_input *input);

/* FE_DICT keys are read in sorted order, as Keras flattens them. */
void fe_value_sort_keys(fe *f, fe_value *dict);

/* Makes a port of every input of the model `top` (read from root) and sets the sizes that were open: by --dim, or, for a
 * single one, to the only size that the model allows (inputs.c). */
bool fe_inputs_add(fe *f, const fe_layer *top, const cJSON *root);

#endif
