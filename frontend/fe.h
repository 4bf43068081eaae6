/* fe.h: private to frontend/. How a Keras model is held while it is read (fe_model, fe_layer) and while a
 * graph is made of it (fe_lower, fe_tensor, fe_value).
 *
 * Reading happens once: every layer object becomes an fe_layer whose `state` is what its class read from the
 * config; all problems are collected. Lowering happens once per graph (predict, eval_step, train_step) and
 * calls each layer's `call`, which builds IR. Weights are module variables, made at the first lowering. */
#ifndef TFCC_FE_H
#define TFCC_FE_H

#include "base/map.h"
#include "frontend/frontend.h"

#include <cjson/cJSON.h>

/* ---- JSON with addresses (json.c) ------------------------------------------------------------------ */

/* A step of a JSON path. Steps live on the reader's stack; NULL `up` is the root "$". */
typedef struct json_at {
    const struct json_at *up;
    const char *key; /* NULL for an array element */
    int index;       /* -1 without a key: the root */
} json_at;

typedef struct fe_layer fe_layer;
typedef struct fe_model fe_model;
typedef struct fe_policy fe_policy;

/* The reader: one per frontend_read. */
typedef struct fe {
    arena *arena;
    diag *diag;
    ir_module *module;
    const frontend_options *options;
    const fe_layer *layer; /* being read or called: named in messages; may be NULL */
    fe_model *model;       /* the outermost model */
    map refused_policy;    /* dtype policies that were refused: each is reported once */
    bool keras2;           /* the model was written by Keras 2 */
    const char *archive;   /* path of the .keras archive that is read, or NULL */
    map files;             /* vocabularies and models read: their paths, for -MD */
    bool no_auto_scale;    /* the compile configuration says auto_scale_loss=false */
} fe;

/* Parses JSON as Python writes it: bare NaN, Infinity and -Infinity are numbers; a number keeps its own text in
 * valuestring, for integers beyond 2^53; nesting and size are limited. NULL with a diagnostic that has line and
 * column. The tree lives in f->arena (never cJSON_Delete), so its strings may be kept. */
cJSON *fe_json_parse(fe *f, const char *file, const char *source, size_t length);

/* Adds `file: path: Class "name": text` and returns false. The layer is f->layer, at may be NULL. */
bool fe_error(fe *f, const json_at *at, const char *format, ...) BASE_PRINTF(3, 4);
/* As fe_error, but for the place of a layer (its JSON path), not of a field: shape problems while lowering. */
bool fe_layer_error(fe *f, const fe_layer *layer, const char *format, ...) BASE_PRINTF(3, 4);
/* A short rendering of a JSON value with its type for messages: `"128" (string)`. In the arena. */
const char *fe_json_show(fe *f, const cJSON *j);
/* The tree as text; numbers as they were written. */
void fe_json_print(const cJSON *j, text *to);
bool fe_json_int(const cJSON *j, int64_t *out); /* false unless j is a whole number in range */
bool fe_json_has_float(const cJSON *j);         /* a number, or one in nested lists, is written as a float */
const char *fe_at_show(fe *f, const json_at *at); /* "$.config.layers[3].name" */
const char *fe_shape_show(fe *f, const ir_type *t); /* f32[N,64] */

/* A config object being read. Getters remember which keys were asked for; fe_config_done reports the rest as
 * unknown fields with the nearest known name. Every getter returns false after a diagnostic; an absent or null
 * field gives `otherwise` where there is such a parameter, and is an error where there is none. */
typedef struct fe_config {
    fe *fe;
    const cJSON *object;
    json_at at;
    map seen;
    const char *keras2_class; /* of a layer that Keras 2 wrote: getters take Keras 3's field names; else NULL */
} fe_config;
void fe_config_init(fe_config *c, fe *f, const cJSON *object, const json_at *up, const char *key);
bool fe_config_done(fe_config *c);
json_at fe_key(const fe_config *c, const char *key); /* the place of a field, as the file names it */
bool fe_config_has(fe_config *c, const char *key); /* present and not null; marks it as seen */
const cJSON *fe_config_item(fe_config *c, const char *key); /* raw, or NULL when absent or null; marks it */
void fe_config_ignore(fe_config *c, const char *keys); /* space-separated keys that are knowingly not used */
bool fe_config_int(fe_config *c, const char *key, int64_t least, int64_t *out);
bool fe_config_int_or(fe_config *c, const char *key, int64_t least, int64_t otherwise, int64_t *out);
bool fe_config_number(fe_config *c, const char *key, double *out);
bool fe_config_number_or(fe_config *c, const char *key, double otherwise, double *out);
bool fe_config_bool_or(fe_config *c, const char *key, bool otherwise, bool *out);
bool fe_config_text_or(fe_config *c, const char *key, const char *otherwise, const char **out); /* otherwise may be NULL */
/* The index of the text in the NULL-terminated `choices`; choice 0 when absent. */
bool fe_config_choice(fe_config *c, const char *key, const char *const *choices, int *out);
/* One integer for all, or a list of exactly `count`. */
bool fe_config_ints(fe_config *c, const char *key, int count, int64_t least, int64_t otherwise, int64_t *out);
/* A list of any length, or one integer (a list of one). out_items in the arena. Absent: count -1. */
bool fe_config_int_list(fe_config *c, const char *key, int *out_count, int64_t **out_items);
/* A Keras object `{"class_name": ..., "config": {...}}`, a bare name "glorot_uniform", or null: a record with the
 * snake_case class name and every scalar, list or object field of its config; *out NULL when null or absent. */
bool fe_config_object(fe_config *c, const char *key, const ir_record **out);
bool fe_record_read(fe *f, const cJSON *j, const json_at *at, const ir_record **out);
const char *fe_snake_case(fe *f, const char *class_name); /* "GlorotUniform" -> "glorot_uniform", as Keras's to_snake_case */
const char *fe_nearest(const char *name, size_t count, const char *const *known); /* for "did you mean"; NULL: none near */

/* ---- tensors and arguments while lowering ------------------------------------------------------------ */

typedef struct fe_tensor {
    ir_value value;
    ir_value mask; /* i1, [N] or [N, steps, ...] as Keras keeps it; IR_NONE: no mask */
} fe_tensor;

typedef enum fe_kind {
    FE_NULL, FE_TENSOR, FE_NUMBER, FE_BOOL, FE_TEXT, FE_LIST, FE_DICT, FE_SLICE, FE_ELLIPSIS,
    FE_NODE, FE_CONSTANT /* inside a node's arguments as read; a call sees FE_TENSOR instead */
} fe_kind;

/* An argument or result of a call: tensors, plain values and structures of them. Constant arrays
 * (__numpy__, __tensor__) arrive as tensors. */
typedef struct fe_value {
    fe_kind kind;
    fe_tensor tensor;             /* FE_TENSOR */
    double number;                /* FE_NUMBER, FE_BOOL (0 or 1) */
    int64_t integer;              /* FE_NUMBER that is not is_float: exact; FE_BOOL: 0 or 1 */
    bool is_float;                /* FE_NUMBER: written with a point or exponent, as Python's float */
    const char *text;             /* FE_TEXT */
    int count;                    /* FE_LIST, FE_DICT; FE_SLICE: 3 items start, stop, step, each a number or null */
    struct fe_value *item;
    const char **key;             /* FE_DICT */
    int node, output;             /* FE_NODE: index in fe_model.call, and which of its tensors (-1: all its result) */
    const ir_type *type;          /* FE_CONSTANT: dense elements */
    const void *bytes;
} fe_value;

typedef struct fe_args {
    fe_value arg;  /* FE_LIST: positional */
    fe_value kwarg; /* FE_DICT */
} fe_args;
/* Positional `position`, or keyword `name`; NULL when absent or null. */
const fe_value *fe_args_find(const fe_args *a, int position, const char *name);
/* The tensors in v, depth first; at most `most`. Returns how many there are. */
int fe_value_tensors(const fe_value *v, int most, fe_tensor *out);
fe_value fe_value_tensor(ir_value value, ir_value mask);
fe_value fe_value_int(int64_t number);
fe_value fe_value_bool(bool truth);

/* ---- layers ---------------------------------------------------------------------------------------------- */

typedef struct fe_lower fe_lower;

/* A row of layers.def. */
typedef struct fe_layer_class {
    const char *name; /* Keras class name */
    /* Reads layer->config into layer->state (allocated in the arena). Must end in fe_config_done. */
    bool (*read)(fe *f, fe_layer *layer, fe_config *config);
    /* Builds the layer on args. False after a diagnostic. */
    bool (*call)(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out);
    bool passes_mask;      /* supports_masking: the first input's mask goes to the output when `call` leaves it unset */
    bool own_mask;         /* `call` says which masks its results have: none is added or dropped */
    bool keeps_inputs;     /* floating inputs are not cast to the compute dtype (Keras's autocast is off) */
    const char *refusal;   /* not NULL: refused, with this reason */
} fe_layer_class;

typedef struct fe_weight {
    const char *name;
    int variable;
    bool trainable;        /* as created; a frozen layer's weights are trainable here and not in the module */
    const ir_record *regularizer;
    bool unstored;         /* not in weights files */
    bool shared;           /* another layer's variable that Keras stores here a second time */
    const char *dataset, *dataset_copy; /* no Keras variable but stored in weights files, under these names; or NULL */
} fe_weight;

/* A random generator of a layer. */
typedef struct fe_generator {
    const char *name;
    int variable;
} fe_generator;

struct fe_layer {
    const fe_layer_class *class;
    const char *name;
    const cJSON *config;   /* its "config" object */
    const cJSON *build_config; /* or NULL */
    const char *json_path; /* "$.config.layers[3]" */
    const json_at *at;     /* the same, to name fields below it; lives as long as the layer */
    const char *path;      /* prefix of Keras variable paths, "encoder/dense" or "dense" */
    const char *h5;        /* group in a weights file, "layers/dense_1" */
    bool trainable;
    const fe_policy *policy; /* what its JSON says, for layers that it makes; or NULL */
    ir_dtype compute_dtype, variable_dtype; /* from its dtype policy */
    void *state;           /* what class->read made */
    fe_layer **child;      /* wrapped or own layers (Bidirectional, MultiHeadAttention's projections) */
    int child_count;
    fe_model *model;       /* a nested Functional or Sequential, else NULL */
    fe_weight *weight;     /* in order of creation */
    size_t weight_count, weight_capacity;
    fe_generator *generator;
    size_t generator_count, generator_capacity;
    const ir_record *activity_regularizer;
    ir_origin_id origin;
    bool built;            /* has been called once */
    ir_type *out_type;     /* tensors of the last call, for the summary */
    int out_count;
};

extern const fe_layer_class fe_layer_classes[]; /* layers.c, from layers.def */
extern const size_t fe_layer_class_count;
const fe_layer_class *fe_layer_class_find(const char *class_name); /* NULL: unknown */

/* Makes a layer from a Keras object {"class_name", "config", ...}: finds the class (unknown: error with the nearest
 * name), reads common fields (name, trainable, dtype policy, activity_regularizer) and the class's own. Used by models
 * and by wrapper layers. `parent_path`: prefix of its variable paths, NULL at the top (a wrapper passes its own `path`);
 * the layer's path is parent_path/name. `h5`: the layer's own group ("layers/bidirectional/forward_layer"). NULL after a
 * diagnostic. */
fe_layer *fe_layer_read(fe *f, const cJSON *object, const json_at *at, const char *parent_path, const char *h5);
/* A layer that a layer makes itself (MultiHeadAttention's EinsumDense): no JSON; state is set by the caller, who also
 * puts it among parent's children (as after fe_layer_read), in the order in which Keras tracks them. path: parent's/name;
 * h5: parent's/h5_part. */
fe_layer *fe_layer_make(fe *f, const char *class_name, const fe_layer *parent, const char *name, const char *h5_part);

/* ---- lowering ----------------------------------------------------------------------------------------------- */

struct fe_lower {
    fe *fe;
    ir_graph *g;
    bool training;
    bool discard;           /* the graph is thrown away: what is refused only in training may pass */
    fe_layer *layer;        /* being called */
    ir_value *variable;     /* current value of each module variable in this graph, IR_NONE: not read yet */
    size_t variable_count;
    ir_value *loss;         /* scalars that layers add (regularizers, activity) */
    size_t loss_count, loss_capacity;
    struct fe_logits *logits; /* what fe_logits_set was told */
    size_t logits_count, logits_capacity;
    ir_value *unmasked;     /* values whose mask fe_mask_clear took away */
    size_t unmasked_count, unmasked_capacity;
    size_t calls;           /* so far: hostile models are stopped by it */
    bool values_are_rows;   /* ragged rows are taken as a batch of values: ragged.h */
};

/* Calls a layer: sets l->layer and the origin, checks `refusal`, passes masks on, applies the activity regularizer, casts
 * floating inputs to the compute dtype (Keras's autocast). */
bool fe_call(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out);
bool fe_call_tensor(fe_lower *l, fe_layer *layer, fe_tensor in, fe_tensor *out); /* one in, one out */

typedef struct fe_weight_spec {
    const char *name;
    int rank;
    const int64_t *shape;
    const ir_record *initializer; /* NULL: zeros */
    const ir_record *regularizer, *constraint;
    bool trainable;      /* as add_weight(trainable=) */
    bool unstored;       /* weights files do not hold it */
    bool keep_dtype;     /* in the variable dtype, not cast to the compute dtype when read */
    bool integer;        /* i64 instead of the variable dtype */
    const float *data;   /* f32: first values, or NULL */
    const char *dataset, *dataset_copy; /* as in fe_weight */
} fe_weight_spec;
/* The weight's current value in this graph, cast to the layer's compute dtype; makes the variable at the first call. Sizes
 * were checked by the caller; absurd totals (2^40 elements) are refused here. IR_NONE after a diagnostic. */
ir_value fe_weight_get(fe_lower *l, fe_layer *layer, const fe_weight_spec *spec);
/* `layer` also holds `owner`'s weight `name` (SpectralNormalization's kernel): in Keras's order and in weights files it
 * takes the next place among layer's own weights. The weight must exist. */
void fe_weight_share(fe_lower *l, fe_layer *layer, const fe_layer *owner, const char *name);
int fe_weight_variable(const fe_layer *layer, const char *name); /* module variable number, -1: not made yet */
ir_value fe_variable_read(fe_lower *l, int variable);
void fe_variable_assign(fe_lower *l, int variable, ir_value value); /* later reads see it; becomes an update of the graph */
void fe_add_loss(fe_lower *l, ir_value scalar);
/* From now on calls see `value` without its mask: Keras's MultiHeadAttention takes the masks off the tensors it is given. */
void fe_mask_clear(fe_lower *l, ir_value value);

/* A draw from the layer's SeedGenerator: its state i64[2] before the draw; the counter is advanced. Without has_seed: unseeded
 * (state is derived from --seed at run time). `h5_part`: e.g. "seed_generator". */
ir_value fe_seed_draw(fe_lower *l, fe_layer *layer, const char *name, bool has_seed, int64_t seed);
/* keras.random.beta with both parameters alpha, f32[N], from a stateless seed (random_gamma.c). */
ir_value fe_random_beta(fe_lower *l, ir_value seed, ir_value alpha);

/* value = softmax(logits) or sigmoid(logits): Keras on TensorFlow computes crossentropies of such a value from its
 * logits. Told by activations.c, ops.c and the Softmax layer; asked by losses and metrics (logits.c). */
void fe_logits_set(fe_lower *l, ir_value value, ir_value logits);
ir_value fe_logits_find(const fe_lower *l, ir_value value); /* IR_NONE: not such a value */

/* Activations by Keras name or object (activations.c): a record, or NULL for linear. */
bool fe_activation_check(fe *f, const ir_record *activation, const json_at *at);
bool fe_activation_is_known(const char *name);
ir_value fe_activation_build(fe_lower *l, const ir_record *activation, ir_value x);
/* Regularizers (regularizers.c): the scalar penalty of w. */
bool fe_regularizer_check(fe *f, const ir_record *r, const json_at *at);
ir_value fe_regularizer_build(fe_lower *l, const ir_record *r, ir_value w);
bool fe_initializer_check(fe *f, const ir_record *r, const json_at *at);
bool fe_constraint_check(fe *f, const ir_record *r, const json_at *at);
/* The names that the tables know, in order; NULL behind the last. */
const char *fe_activation_at(size_t i);
const char *fe_regularizer_at(size_t i);
const char *fe_initializer_at(size_t i, const char **out_refusal);
const char *fe_constraint_at(size_t i);

/* Penalties of all trainable weights of m, by fe_add_loss, in Keras's order. frontend.c does it between fe_model_call and
 * fe_train_lower: fe_train_lower only adds up l->loss. */
void fe_model_penalties(fe_lower *l, const fe_model *m);

/* keras.ops as functions on tensors (ops.c, ops.def). */
typedef struct fe_op fe_op;
const fe_op *fe_op_find(const char *class_name); /* NULL: unknown */
const char *fe_op_name(const fe_op *op);
const char *fe_op_refusal(const fe_op *op); /* not NULL: refused, with this reason */
size_t fe_op_count(void);
const fe_op *fe_op_at(size_t index);
/* config: FE_DICT of the operation's constructor arguments. */
bool fe_op_call(fe_lower *l, const fe_op *op, const fe_args *args, const fe_value *config, fe_value *out);
/* The type that Keras gives to a result of both. */
ir_dtype fe_result_type(ir_dtype a, ir_dtype b);

/* ---- models ----------------------------------------------------------------------------------------------------- */

/* One call of a layer in a model. */
typedef struct fe_node {
    fe_layer *layer;
    int index;            /* of this layer's calls in this model */
    fe_args args;         /* tensors as FE_NODE and FE_CONSTANT */
    const char *json_path;
} fe_node;

struct fe_model {
    const char *class_name, *name;
    fe_layer **layer;     /* in model.layers order, InputLayers and operations included */
    size_t layer_count, layer_capacity;
    fe_node *call;        /* as listed in the JSON; InputLayers' first */
    size_t call_count, call_capacity;
    int *order;           /* calls that outputs need, in the order in which Keras makes them */
    size_t order_count;
    int *depth;           /* per call: how many calls lie between it and the outputs; -1: they do not need it */
    fe_layer **input;     /* InputLayers, as Keras flattens model.inputs */
    size_t input_count;
    fe_kind input_struct_kind; /* FE_TENSOR, FE_LIST or FE_DICT */
    fe_value output_struct; /* FE_NODE leaves */
    const char **output_name; /* as Keras names model.output_names; made unique */
    size_t output_count;
    bool trainable;
};

/* Runs the model on its inputs (one tensor per input layer, in order); the outputs in the model's structure. */
bool fe_model_call(fe_lower *l, fe_model *m, size_t input_count, const fe_tensor *in, fe_value *out);
/* Gives the module's variables Keras's order (model.variables) and their places in a weights file. Called once, after
 * lowerings that met every weight. */
void fe_model_order_variables(fe *f, fe_model *m);

/* ---- training (train.c, losses.c, metrics.c) ---------------------------------------------------------------- */

typedef struct fe_train fe_train;
/* Reads the compile configuration (or --optimizer, --loss, --metrics), sets module->optimizer. *out NULL when the model has
 * none. Called after the first lowering, when output types are known. own_losses: layers add losses (l->loss). */
bool fe_train_read(fe *f, fe_model *m, const cJSON *compile_config, const json_at *at, bool own_losses, fe_train **out);
/* Adds y and sample-weight ports (once), the loss (outputs "loss"), metric updates and, for train_step, g->loss. Outputs of
 * eval_step and train_step: "loss" (this batch's own). */
bool fe_train_lower(fe_lower *l, fe_train *t, fe_model *m, const fe_tensor *output);
/* Builds graph `metrics`: one scalar output per log key, in Keras's order ("loss", ...), from the accumulators. */
bool fe_train_metrics(fe *f, fe_train *t, fe_model *m);

/* ---- summary.c ------------------------------------------------------------------------------------------------ */

const char *fe_summary(fe *f, const fe_model *m);
const char *fe_dot(fe *f, const fe_model *m);

#endif
