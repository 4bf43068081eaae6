/* keras2.h: private to frontend/. What differs when a model was written by Keras 2 (tf.keras, tf_keras):
 * names of config fields, the list form of calls, and layers that stand for functions of TensorFlow. All else
 * is read as Keras 3's. */
#ifndef TFCC_FRONTEND_KERAS2_H
#define TFCC_FRONTEND_KERAS2_H

#include "frontend/model.h"

/* True for a model written by Keras 2: its keras_version says so or, without one, the form of its layers. */
bool fe_keras2_is_model(const cJSON *root);

/* Sequential models of the first versions of Keras 2 have a list of layers as their config: it becomes the object that
 * newer ones write. */
void fe_keras2_lists_wrap(fe *f, cJSON *model);

/* ---- fields (keras2_fields.c, keras2_fields.def) ---------------------------------------------------- */

/* The name under which Keras 2 writes field `key` of a layer class; `key` itself where they agree. */
const char *fe_keras2_field(const char *class_name, const char *key);
/* Marks the fields that only Keras 2 knows; those that would change what the layer computes are refused. */
bool fe_keras2_fields_read(fe_config *c);
/* Keras 3's name of a layer class; the name itself where they agree. */
const char *fe_keras2_class(const char *class_name);

/* ---- calls (keras2.c) --------------------------------------------------------------------------------- */

/* One entry of "inbound_nodes": nested lists of ["layer", call, tensor, {arguments}]. `layer` may be NULL. */
bool fe_keras2_call_read(fe_arg_reader *r, const fe_layer *layer, const cJSON *j, const json_at *at,
                         fe_args *out);
/* The "batch_input_shape" of a model's first layer, which may be a model itself; NULL: it has none. */
const cJSON *fe_keras2_first_shape(const cJSON *model_config);
/* True when calls of this nested model are numbered from 1. */
bool fe_keras2_counts_itself(const cJSON *layer);

/* ---- functions of TensorFlow as layers (keras2_ops.c, tf_symbols.def) ------------------------------ */

/* The class of TFOpLambda and its kin; NULL for other names. */
const fe_layer_class *fe_keras2_op_class(const char *class_name);
const fe_layer_class *fe_keras2_class_at(size_t i); /* NULL behind the last */
bool fe_keras2_is_op(const fe_layer *layer);

/* A row of tf_symbols.def. */
typedef struct tf_symbol tf_symbol;
typedef bool (*tf_build)(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out);
struct tf_symbol {
    const char *name; /* below tf: "math.add" */
    const char *op;   /* of keras.ops */
    tf_build build;
    const char *parameters; /* see tf_symbols.def */
    const char *settings;
};
const tf_symbol *tf_symbol_find(const char *name); /* NULL: unknown */
/* The arguments of a call under the names of keras.ops: all in out->kwarg. */
bool tf_args_rename(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_args *out);

/* TensorFlowOpLayer (keras2_node.c, keras2_nodes.def). */
bool tf_node_read(fe *f, fe_layer *layer, fe_config *c);
bool tf_node_call(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out);

/* keras.ops by name on arguments that are made here (keras2_build.c). */
typedef struct tf_arg {
    const char *name;
    fe_value value;
} tf_arg;
bool tf_op_build(fe_lower *l, const char *op, int count, const tf_arg *arg, fe_value *out);
/* Element `index` of a vector of integers that is known up to the batch: tf.shape(x)[1], a constant. */
bool tf_size_find(fe_lower *l, ir_value v, int64_t index, ir_dim *out);
/* Argument "shape": known sizes, of which -1 is the batch. Sets the dims of *t. */
bool tf_shape_get(fe_lower *l, const fe_args *args, ir_type *t);

#define TF(name, op, family, parameters, settings)                                                           \
    bool tf_build_##family(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out);
#include "frontend/tf_symbols.def"

#endif
