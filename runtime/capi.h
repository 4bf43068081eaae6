/* capi.h: what the files of the C interface (tfcc.h) share. Prediction, training and files are apart, so that a program that
 * only predicts holds nothing else. */
#ifndef RT_CAPI_H
#define RT_CAPI_H

#include "tfcc.h"

#include "step.h"

typedef enum capi_step { CAPI_predict, CAPI_eval_step, CAPI_train_step, CAPI_metrics, CAPI_gradients, CAPI_apply_gradients, CAPI_STEPS } capi_step;

enum { CAPI_READY = 0x7466636d, CAPI_FAILED = 0x7466636e, CAPI_DEAD = 0x64656164, CAPI_MOST_TEXT = 512 };

struct tfcc_model {
    uint32_t state; /* CAPI_READY ... */
    bool debug;
    tfcc_allocator allocator;
    tfcc_executor executor;
    rt r;
    model model;
    step step[CAPI_STEPS];
    bool open[CAPI_STEPS];
    void **ports;      /* of the current call, one per port of the program */
    const int64_t **ends; /* of the current call, per ragged input: the caller's, for all rows */
    float *ones;       /* for sample weights that are not given */
    uint64_t ones_count;
    char *kept;        /* metrics that must not change, for the time of a call */
    uint64_t floating; /* the caller's floating-point mode, for the time of a call */
    char said[CAPI_MOST_TEXT];
};

/* Every function of the interface begins and ends with these. begin: not TFCC_OK without a ready model. */
tfcc_result capi_begin(tfcc_model *m);
tfcc_result capi_end(tfcc_model *m, bool ok);
/* Sets the text and gives `result`, for what is not in capi_begin .. capi_end. */
tfcc_result capi_refuse(tfcc_model *m, tfcc_result result, const char *format, ...) RT_PRINTF(3, 4);

/* The graph, opened at its first use, for batches of n rows. NULL after a message; *out_result for what it lacks. */
step *capi_step_get(tfcc_model *m, capi_step which, int64_t n);
/* Checks the arrays of one kind of port, `count` of them, and puts their addresses into m->ports. */
bool capi_ports_set(tfcc_model *m, uint32_t kind, int64_t rows, const tfcc_view *view, size_t count);
void capi_steps_close(tfcc_model *m); /* they are bound to memory that is about to go */
bool capi_classes_check(tfcc_model *m, const tfcc_port *port, int64_t rows, const void *data);
/* The same as capi_ports_set for one array of a ragged port (capi_ragged.c): values, or the ends of the rows. */
bool capi_ragged_set(tfcc_model *m, uint64_t number, int64_t rows, const tfcc_view *view);
/* Makes `rows` rows from `first` on the batch of the ragged inputs; their values are at m->ports. Steps are to be opened after it. */
bool capi_rows_take(tfcc_model *m, int64_t first, int64_t rows);
/* The variable of a path; role TFCC_GRADIENT for gradients, others: any but gradients and metrics. -1 after a message. */
int64_t capi_variable_find(tfcc_model *m, const char *path, bool gradient);
bool capi_variable_copy(tfcc_model *m, const char *path, bool gradient, void *to, const void *from, size_t bytes);

#endif
