/* train.h: private to the files of the frontend that read a compile configuration and build losses and
 * metrics.
 *
 * A loss or mean metric is a row of losses.def or metrics.def whose function builds values per sample from
 * labels and predictions; losses.c reduces them with masks and sample weights, metrics.c accumulates them.
 * What the types of outputs decide ("accuracy", the shapes of labels) is resolved at the first lowering. */
#ifndef TFCC_TRAIN_H
#define TFCC_TRAIN_H

#include "frontend/fe.h"

/* What labels look like beside predictions p. */
typedef enum fe_labels {
    LABELS_any,     /* either of the next two */
    LABELS_same,    /* floats, p's shape */
    LABELS_sparse,  /* class indices, p's shape without the last dim */
    LABELS_either,  /* as `same`, but the data may be class indices, of which the runtime makes such rows */
    LABELS_group,   /* integers, p's shape without the last dim */
    LABELS_sequence /* class indices [N,steps] of p [N,steps,classes], filled up with 0 */
} fe_labels;

/* ---- settings (train_fields.c) ---------------------------------------------------------------------- */

/* Reads the fields that `spec` lists into r, with their defaults. spec: words "kind:key=default[least,most]";
 * kinds: b flag, i integer, f number, t text, l number or list of numbers. Without a default an absent field
 * stays out of r. */
bool fe_fields_read(fe_config *c, const char *spec, ir_record *r);
/* A deep copy of at, for messages after the reader has returned. */
const json_at *fe_at_keep(fe *f, const json_at *at);

/* A Keras object or name: "mse", {"class_name": ..., "config": {...}}, {"class_name": "function", "config":
 * "name"}. */
typedef struct fe_named {
    const char *name;
    bool is_text, is_function;
    const cJSON *config;           /* or NULL */
    const json_at *at, *config_at; /* kept */
} fe_named;
bool fe_named_read(fe *f, const cJSON *j, const json_at *at, fe_named *out);

/* module->optimizer (optimizers.c). The module has all its weights by then. */
ir_record *fe_optimizer_read(fe *f, const cJSON *j, const json_at *at);
ir_record *fe_multi_optimizer_read(fe *f, const fe_named *named); /* optimizers_multi.c */
bool fe_muon_read(fe_config *c, ir_record *r);                          /* what its table row cannot say */

/* Does Python's regular expression match the path, all of it or somewhere (optimizers_multi.c)? False after a diagnostic. */
bool fe_pattern_matches(fe *f, const json_at *at, const char *pattern, const char *path, bool whole, bool *out);
const char *fe_optimizer_class(fe *f, const ir_record *optimizer); /* Keras's name of it */
/* LossScaleOptimizer and what is in it (loss_scale.c). */
bool fe_loss_scale_is(const char *class_name);
ir_record *fe_loss_scale_read(fe *f, const fe_named *named);
/* Puts one around the optimizer, or takes it away, as compile() would or --loss-scale says. */
bool fe_loss_scale_choose(fe *f, ir_record *optimizer);

/* ---- values per sample ------------------------------------------------------------------------------ */

typedef struct fe_values fe_values;
struct fe_values {
    fe_lower *l;
    ir_graph *g;
    const ir_record *settings;
    ir_value y;      /* LABELS_same: f32 of p's shape; LABELS_sparse, _group: i32 */
    ir_value p;      /* f32 */
    ir_value logits; /* p is their softmax or sigmoid; or IR_NONE */
    ir_value mask;   /* set by the function: i1 like its result, which values count; IR_NONE: all */
    /* Set by a function whose values have no gradient: gives the loss the one that it has by p. share: f32 like the
     * values, what a unit of each adds to the loss. */
    ir_value (*add_gradient)(const fe_values *v, ir_value loss, ir_value share);
};
typedef ir_value (*fe_values_build)(fe_values *v);

/* Connectionist temporal classification (values_ctc.c): a value for each row. */
typedef struct fe_ctc {
    ir_value labels;       /* i32[N,L] */
    ir_value logits;       /* f32[N,T,C] */
    ir_value label_length; /* i32[N] */
    ir_value logit_length; /* i32[N], or IR_NONE: T */
    int64_t blank;         /* the class that stands for none */
} fe_ctc;
ir_value fe_ctc_build(ir_graph *g, const fe_ctc *in);

#define LOSS(function, class, labels, build, fields) ir_value fe_values_##build(fe_values *v);
#define REFUSED(function, class, reason)
#include "frontend/losses.def"
#define METRIC(class, labels, kind, build, detail, fields) ir_value fe_values_##build(fe_values *v);
#define REFUSED(class, reason)
#include "frontend/metrics.def"

/* ---- losses (losses.c) ------------------------------------------------------------------------------ */

typedef struct fe_loss_class {
    const char *function, *class;
    fe_labels labels;
    const char *fields;
    fe_values_build build;
    const char *refusal;
} fe_loss_class;

typedef enum fe_reduction {
    REDUCTION_mean,
    REDUCTION_sum,
    REDUCTION_weighted_mean,
    REDUCTION_none
} fe_reduction;

typedef struct fe_loss {
    const fe_loss_class *class; /* NULL: "crossentropy", by the output's shape */
    const ir_record *settings;
    fe_reduction reduction;
    double weight; /* of the total; 1 when not given */
    bool by_data;  /* "crossentropy" of several classes: the data decide what labels look like */
    const json_at *at;
} fe_loss;

const fe_loss_class *fe_loss_class_find(const char *name, bool function_only); /* NULL: unknown */
bool fe_loss_read(fe *f, const cJSON *j, const json_at *at, fe_loss *out);
/* What depends on p's type: the class of "crossentropy", whether axes and ranks fit. */
bool fe_loss_resolve(fe *f, fe_loss *loss, const ir_type *p);
bool fe_values_check(fe *f, const ir_record *settings, const ir_type *p, const json_at *at);
/* Reduces values to the scalar loss. weight: of the values' shape, or IR_NONE; mask: the output's, or
 * IR_NONE. */
bool fe_loss_reduce(fe_lower *l, const fe_loss *loss, const fe_values *v, ir_value values, ir_value mask,
                    ir_value weight, ir_value *out);

/* ---- metrics (metrics.c) ---------------------------------------------------------------------------- */

typedef struct fe_metric fe_metric;

/* One use of a metric: an update with labels and predictions, or the result (then l and the values are not
 * set). */
typedef struct fe_metric_call {
    fe *fe;
    fe_lower *l; /* NULL: result */
    ir_graph *g;
    const fe_metric *metric;
    const ir_record *settings;
    fe_values values;
    ir_value p_mask; /* the output's, or IR_NONE */
    ir_value weight; /* sample weights, or IR_NONE */
} fe_metric_call;

typedef struct fe_metric_class {
    const char *name;
    fe_labels labels;
    const char *fields;
    const char *detail; /* for `update` and `result`: what distinguishes classes that share them */
    fe_values_build build;
    bool (*check)(fe *f, const fe_metric *metric, const ir_type *p); /* may be NULL */
    bool (*update)(fe_metric_call *c);
    ir_value (*result)(fe_metric_call *c);
    const char *refusal; /* not NULL: known, and refused with this reason */
} fe_metric_class;

struct fe_metric {
    const fe_metric_class *class; /* NULL: "accuracy", by the output's shape */
    const ir_record *settings;
    const char *name, *key; /* key: in the log, unique */
    bool weighted;
    ir_type p; /* type of the predictions; set when resolved */
    const json_at *at;
};

#define KIND(name)                                                                                           \
    bool fe_metric_check_##name(fe *f, const fe_metric *metric, const ir_type *p);                           \
    bool fe_metric_update_##name(fe_metric_call *c);                                                         \
    ir_value fe_metric_result_##name(fe_metric_call *c);
KIND(mean)
KIND(root)
KIND(count)
KIND(ratio)
KIND(operating_point)
KIND(auc)
KIND(fbeta)
KIND(iou)
KIND(r2)
#undef KIND

bool fe_metric_read(fe *f, const cJSON *j, const json_at *at, fe_metric *out);
bool fe_metric_resolve(fe *f, fe_metric *metric, const ir_type *p, fe_labels labels);
/* The accumulator `part` of the metric, made when it is first asked for, zero at the start of an epoch. */
ir_value fe_metric_state(fe_metric_call *c, const char *part, ir_type type);
void fe_metric_add(fe_metric_call *c, const char *part, ir_value delta); /* of delta's type */
/* Mean over samples of values that have `weight` (left-aligned, or IR_NONE): adds to "total" and "count". */
void fe_metric_add_mean(fe_metric_call *c, ir_value values, ir_value weight);
bool fe_metric_error(fe *f, const fe_metric *metric, const char *format, ...) BASE_PRINTF(3, 4);

/* ---- the whole (train_read.c, train.c) -------------------------------------------------------------- */

/* What is trained and measured at one output. */
typedef struct fe_target {
    const char *name;      /* of the output layer */
    const char *loss_name; /* in the log, before "_loss" */
    const char *prefix;    /* of metrics in the log */
    fe_loss *loss;
    size_t loss_count, loss_capacity;
    fe_metric *metric; /* unweighted ones first */
    size_t metric_count, metric_capacity;
    fe_labels labels;
    bool ragged;             /* the output keeps ragged rows */
    int y_port, weight_port; /* -1: none yet */
    ir_type p;
} fe_target;

struct fe_train {
    fe_target *target; /* one per output */
    size_t target_count;
    const char *file; /* of the configuration, for messages */
    bool resolved, has_trackers;
    bool own_losses; /* layers add losses: none is needed for an output */
    bool eager;      /* Keras runs batches one by one and sees their sizes */
};

/* ---- outputs that keep ragged rows (train_ragged.c) --------------------------------------------------- */

bool fe_train_ragged_check(fe *f, const fe_target *t); /* its losses and metrics are resolved. False after a diagnostic */
void fe_train_ragged_port(const fe_target *t, ir_port *port); /* of labels: a value for each of the output's */

/* ---- arithmetic (train_math.c) ---------------------------------------------------------------------- */

extern const double fe_epsilon; /* keras.config.epsilon() */

ir_value fe_math_reduce(ir_graph *g, const char *kind, ir_value x, int axis,
                        bool keep); /* axis may be negative */
ir_value fe_math_mean(ir_graph *g, ir_value x, int axis, bool keep);
ir_value fe_math_sum_all(ir_graph *g, ir_value x);
ir_value fe_math_count(ir_graph *g, ir_value x); /* f32[]: number of elements */
ir_value fe_math_square(ir_graph *g, ir_value x);
ir_value fe_math_clip(ir_graph *g, ir_value x, double low,
                      double high);                                  /* the gradient passes at the borders */
ir_value fe_math_divide_no_nan(ir_graph *g, ir_value a, ir_value b); /* 0 where b is 0 */
ir_value fe_math_from(ir_graph *g, double a, ir_value x);            /* a - x */
ir_value fe_math_softplus(ir_graph *g, ir_value x);
ir_value fe_math_log_softmax(ir_graph *g, ir_value x, int axis);
ir_value fe_math_log_sum_exp(ir_graph *g, ir_value x, int axis); /* the axis is dropped */
ir_value fe_math_normalize(ir_graph *g, ir_value x, int axis);   /* to unit length */
/* f32: the indices' shape with a last dim of `classes`. */
ir_value fe_math_one_hot(ir_graph *g, ir_value indices, int64_t classes);
ir_value fe_math_flatten(ir_graph *g, ir_value x); /* rank 1 */
/* x's dims are the first dims of shape. Keeps x's dtype. */
ir_value fe_math_spread(ir_graph *g, ir_value x, const ir_type *shape);
ir_value fe_math_flag(ir_graph *g, ir_value condition); /* i1 to f32 */
ir_value fe_math_compare(ir_graph *g, const char *direction, ir_value x, double number);
/* i32: where the first largest ("maximum") or smallest ("minimum") element is, as keras.ops.argmax has it: -0.0 is below 0.0. */
ir_value fe_math_position(ir_graph *g, const char *kind, ir_value x, int axis);
int fe_math_axis(const ir_type *t, double axis); /* 0 .. rank - 1, of a checked axis */

#endif
