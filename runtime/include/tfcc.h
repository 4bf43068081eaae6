/* tfcc.h: the C interface of a compiled model (`tfcc compile --emit lib`). C99, and C++.
 *
 * A model is made by tfcc_create from a program, which the header NAME.h of a compiled model declares as
 * NAME_program(). Several
 * models may be made of one program and of several programs; they share nothing. Calls on one model must not overlap;
 * calls on different ones may. Nothing here prints or ends the process. A function returns TFCC_OK or what went wrong,
 * and tfcc_error(model) then says it in words.
 *
 * Arrays are dense, in C order, in the type and shape that tfcc_describe gives; the batch is the first dimension and
 * free: its rows are told with every call. Sizes in bytes are told too and checked. */
#ifndef TFCC_H
#define TFCC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TFCC_API_VERSION 1

typedef struct tfcc_program tfcc_program; /* a compiled model: constant, shared by all its instances */
typedef struct tfcc_model tfcc_model;     /* an instance: weights, optimizer state, memory, threads */

typedef enum tfcc_result {
    TFCC_OK = 0,
    TFCC_INVALID = 1,    /* an argument or a file is wrong: sizes, values, names, shapes */
    TFCC_FAILED = 2,     /* the machine failed: memory, disk, a missing library */
    TFCC_MISUSE = 3,     /* no model, one that was destroyed or never became ready, a struct of another version */
    TFCC_UNSUPPORTED = 4 /* the program cannot do it: compiled without a loss, or with --predict-only */
} tfcc_result;

typedef enum tfcc_type {
    TFCC_TYPE_BOOL, TFCC_TYPE_INT8, TFCC_TYPE_INT16, TFCC_TYPE_INT32, TFCC_TYPE_INT64, TFCC_TYPE_UINT8,
    TFCC_TYPE_UINT16, TFCC_TYPE_UINT32, TFCC_TYPE_UINT64, TFCC_TYPE_FLOAT16, TFCC_TYPE_BFLOAT16, TFCC_TYPE_FLOAT32,
    TFCC_TYPE_FLOAT64,
    TFCC_TYPE_STRING, /* an address: of a uint32_t, the length in bytes, with the bytes behind it; NULL is the empty
                        string. Inputs must live during the call; those of results are in the program or the inputs */
    TFCC_TYPE_SPARSE_ROW /* an address: of a uint32_t, the number of entries, with that many uint32_t columns,
                            ascending, and floats behind it; NULL is a row of zeros */
} tfcc_type;

/* ---- making and ending models ----------------------------------------------------------------------------------- */

/* Where a model's memory comes from. `allocate` gives `size` bytes at a multiple of `alignment` (a power of two, at
 * most 64), or NULL. Both are called during calls on the model only, on the calling thread. Loading and saving files
 * uses the HDF5 library, which has its own. */
typedef struct tfcc_allocator {
    void *(*allocate)(void *context, size_t size, size_t alignment);
    void (*release)(void *context, void *memory, size_t size);
    void *context;
} tfcc_allocator;

/* The caller's threads. `run` calls work(argument, i) for i = 0 .. workers - 1, as far as possible at the same time,
 * and returns when all have returned. Results do not depend on how many run at once. */
typedef struct tfcc_executor {
    void (*run)(void *context, void (*work)(void *argument, int32_t worker), void *argument, int32_t workers);
    void *context;
    int32_t workers; /* 1 to 1024 */
} tfcc_executor;

typedef struct tfcc_options {
    uint32_t struct_size;            /* sizeof(tfcc_options) */
    int32_t threads;                 /* of the model's own pool; 0: one per processor; 1: the calling thread alone */
    int64_t seed;                    /* for initializers and layers that have none of their own */
    int64_t rows;                    /* memory for batches of so many rows is taken at once; more take more later */
    const tfcc_allocator *allocator; /* NULL: the system's */
    const tfcc_executor *executor;   /* NULL: the model's own threads */
    int32_t debug;                   /* not 0: calls on a destroyed model return TFCC_MISUSE; costs a few bytes each */
} tfcc_options;

#ifdef NDEBUG
#define TFCC_OPTIONS {sizeof(tfcc_options), 0, 0, 1, NULL, NULL, 0}
#else
#define TFCC_OPTIONS {sizeof(tfcc_options), 0, 0, 1, NULL, NULL, 1}
#endif

uint32_t tfcc_api_version(void); /* TFCC_API_VERSION of the library; a program for another one gives TFCC_MISUSE */
/* options NULL: TFCC_OPTIONS. On failure *out is NULL or a model that only knows tfcc_error; destroy it all the
 * same. */
tfcc_result tfcc_create(const tfcc_program *program, const tfcc_options *options, tfcc_model **out);
void tfcc_destroy(tfcc_model *model); /* NULL is allowed */
/* What the last call on this model that did not return TFCC_OK had to say, until the next call. Never NULL. */
const char *tfcc_error(const tfcc_model *model);

/* ---- what a model is made of ------------------------------------------------------------------------------------ */

typedef enum tfcc_kind {
    TFCC_INPUTS,         /* what predict takes */
    TFCC_OUTPUTS,        /* what predict gives */
    TFCC_TARGETS,        /* what the loss compares outputs with */
    TFCC_SAMPLE_WEIGHTS, /* optional factors of the loss */
    TFCC_VARIABLES,      /* weights, generator states, optimizer state; named by Keras's paths ("dense/kernel") */
    TFCC_GRADIENTS,      /* of the weights that the loss depends on; named as these */
    TFCC_METRICS         /* the numbers of Keras's log, "loss" among them */
} tfcc_kind;

typedef enum tfcc_variable_role { TFCC_ROLE_WEIGHT, TFCC_ROLE_SEED, TFCC_ROLE_OPTIMIZER } tfcc_variable_role;

typedef struct tfcc_description {
    const char *name;
    tfcc_type type;
    tfcc_variable_role role; /* of variables */
    int32_t trainable;       /* of variables */
    int32_t rank;
    int64_t dim[8];          /* -k: k times the rows of the batch */
    size_t bytes;            /* of all elements; of one row of the batch where there is one */
} tfcc_description;

size_t tfcc_count(const tfcc_model *model, tfcc_kind kind); /* 0 without a ready model */
tfcc_result tfcc_describe(tfcc_model *model, tfcc_kind kind, size_t index, tfcc_description *out);

/* ---- variables -------------------------------------------------------------------------------------------------- */

/* By path: a weight, a generator state or a variable of the optimizer. bytes must be the size of the whole variable. */
tfcc_result tfcc_variable_get(tfcc_model *model, const char *path, void *to, size_t bytes);
tfcc_result tfcc_variable_set(tfcc_model *model, const char *path, const void *from, size_t bytes);
/* .weights.h5, Keras 2's .h5, .keras. Optimizer state is read and written with them. */
tfcc_result tfcc_weights_load(tfcc_model *model, const char *path);
tfcc_result tfcc_weights_save(tfcc_model *model, const char *path);

/* ---- running ---------------------------------------------------------------------------------------------------- */

typedef struct tfcc_view {
    const void *data;
    size_t bytes;
} tfcc_view;

typedef struct tfcc_span {
    void *data;
    size_t bytes;
} tfcc_span;

/* One entry per input and per output, in the order of tfcc_describe. */
tfcc_result tfcc_predict(tfcc_model *model, int64_t rows, const tfcc_view *input, size_t inputs,
                         const tfcc_span *output, size_t outputs);

/* Rows to train on or to evaluate: one entry per input, per target and, unless sample_weight is NULL, per sample
 * weight (data NULL: ones). */
typedef struct tfcc_batch {
    uint32_t struct_size; /* sizeof(tfcc_batch) */
    uint32_t inputs, targets, sample_weights;
    int64_t rows;
    const tfcc_view *input, *target, *sample_weight;
} tfcc_batch;

/* In what follows `loss` may be NULL. */

/* The loss of the batch as in evaluation (no dropout); changes nothing. */
tfcc_result tfcc_loss(tfcc_model *model, const tfcc_batch *batch, double *loss);
/* One step of Keras's fit: forward, backward, optimizer; counts in the metrics. */
tfcc_result tfcc_train_step(tfcc_model *model, const tfcc_batch *batch, double *loss);
/* The first half: forward and backward; states of layers move on, weights do not. The gradients are kept for
 * tfcc_apply_gradients and can be read and changed in between; with a loss scale they are those of the scaled loss. */
tfcc_result tfcc_gradients(tfcc_model *model, const tfcc_batch *batch, double *loss);
tfcc_result tfcc_gradient_get(tfcc_model *model, const char *path, void *to, size_t bytes);
tfcc_result tfcc_gradient_set(tfcc_model *model, const char *path, const void *from, size_t bytes);
/* The second half: clipping, weight decay, the optimizer's rule, constraints, averages, on the gradients as they
 * are. */
tfcc_result tfcc_apply_gradients(tfcc_model *model);
/* Both halves. */
tfcc_result tfcc_minimize(tfcc_model *model, const tfcc_batch *batch, double *loss);
/* Of an optimizer whose rate is not a schedule; Keras 2's cannot be changed. */
tfcc_result tfcc_learning_rate_get(tfcc_model *model, double *rate);
tfcc_result tfcc_learning_rate_set(tfcc_model *model, double rate);
/* Moving averages of the weights (use_ema) become the weights, as at the end of Keras's fit. */
tfcc_result tfcc_use_averages(tfcc_model *model);

/* Metrics accumulate over steps since they were reset. values: one per metric, in the order of tfcc_describe. */
tfcc_result tfcc_metrics_reset(tfcc_model *model);
tfcc_result tfcc_metrics_get(tfcc_model *model, double *values, size_t count);
/* Keras's evaluate on all rows of `data`, in batches of batch_rows: resets the metrics before and leaves them as
 * they are after. */
tfcc_result tfcc_evaluate(tfcc_model *model, const tfcc_batch *data, int64_t batch_rows, double *values, size_t count);

#ifdef __cplusplus
}
#endif

#endif
