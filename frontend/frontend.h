/* frontend.h: a Keras model as Keras wrote it becomes an ir_module with the graphs predict and, when it can
 * be trained, eval_step, train_step (forward and loss only; the passes add the rest) and metrics. */
#ifndef TFCC_FRONTEND_H
#define TFCC_FRONTEND_H

#include "ir/ir.h"

typedef struct frontend_options {
    const char *compile_config; /* path of a JSON file, or NULL */
    const char *optimizer, *loss, *metrics; /* by name; metrics comma-separated; or NULL */
    const char *gradient_transforms; /* in order, one a line; or NULL */
    const char *gradient_aggregator; /* by name, or NULL */
    bool lazy_embeddings;       /* as the key of the compile configuration */
    bool library;               /* graphs `gradients` and `apply_gradients` too */
    bool predict_only;          /* graph `predict` alone, whatever the model's compile configuration */
    const char *policy;         /* dtype policy for every layer, or NULL: the model's own */
    const char *loss_scale;     /* "auto", "dynamic", "none", a number, or NULL: auto */
    const char *dim;            /* "name=size,...": binds free dims of inputs other than the batch, or NULL */
} frontend_options;

/* A layer and its dtype policy. */
typedef struct frontend_layer {
    const char *name, *class_name, *policy;
    ir_dtype compute, variable;
    bool keeps_inputs; /* they are not cast to the compute dtype */
    ir_origin_id origin;
} frontend_layer;

typedef struct frontend_model {
    ir_module *module;
    const char *summary;   /* the table of keras.Model.summary(), in the module's arena */
    const char *dot;       /* the layer graph as Graphviz text */
    const void *weights;   /* .weights.h5 bytes from a .keras archive, or NULL */
    size_t weights_size;
    const char *config;    /* config.json of a .keras archive of this model, with the compile configuration in use */
    const char *metadata;  /* its metadata.json */
    const char **dependency; /* files read, for -MD */
    size_t dependency_count;
    frontend_layer *layer;   /* those that have a policy */
    size_t layer_count, layer_capacity;
} frontend_model;

/* Reads model.json, a .keras archive or a whole model in HDF5. All problems found go to d; NULL when there is one. Everything lives
 * in `a`. */
frontend_model *frontend_read(arena *a, const char *path, const frontend_options *options, diag *d);

/* The same for a model.json in memory; `name` stands for the file in messages. */
frontend_model *frontend_read_text(arena *a, const char *name, const char *source, size_t length,
                                   const frontend_options *options, diag *d);

/* Writes a line for every name that the tables know of a kind (layers, ops, losses ...): "supported", or the reason why it
 * is refused. False when there is no such kind. */
bool frontend_list(const char *kind, FILE *to);

#endif
