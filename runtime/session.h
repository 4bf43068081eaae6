/* session.h: passes over data sets, as fit and evaluate share them. */
#ifndef RT_SESSION_H
#define RT_SESSION_H

#include "batches.h"
#include "log.h"
#include "options.h"
#include "step.h"

/* The graph "metrics": the numbers of the log. */
typedef struct session_log {
    step step;
    uint64_t count;
    log_key *key;
    uint64_t values;
    double *value; /* of the last session_log_read, key after key */
} session_log;

/* Opens the model for the graphs that will run on up to `rows` rows of data, as the command line says. */
bool session_model_open(model *m, rt *r, const options *o, int64_t rows, int graph_count, const char *const *graph);

bool session_log_open(session_log *l, model *m);
void session_log_read(session_log *l);

/* The number of the output "loss" of a step that must have one. */
bool session_find_loss(const step *s, int64_t *out_output);
/* Resets the metrics, runs eval_step over all batches, reads the log. Ends early when a signal came. */
void session_evaluate(step *eval, batches *b, session_log *l);

/* SIGINT and SIGTERM are remembered instead of ending the program; a second one ends it. */
void session_catch_signals(void);
int session_signal(void); /* 0: none came */

/* Fails early when a file that is only written at the end could not be written. */
bool session_check_output(rt *r, const char *path);

#endif
