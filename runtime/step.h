/* step.h: running one graph of the program: addresses of its launches, worked out once per number of rows. */
#ifndef RT_STEP_H
#define RT_STEP_H

#include "model.h"

typedef struct step_launch step_launch;

typedef struct step {
    model *m;
    const tfcc_graph *graph;
    int64_t n; /* rows the addresses are for; 0: none yet */
    step_launch *launch;
    void **address; /* of all launches' arguments, one after another */
    int64_t *row;   /* per address: bytes from a row to the next, in loops whose rows are apart */
    struct step_input {
        void **slot; /* in address */
        uint64_t port;
    } * input;
    uint64_t input_count;
    struct step_moving { /* arguments of launches in loops that are elsewhere at each turn */
        void **slot;
        char *start;
        int64_t step;
    } * moving;
    void **output;      /* buffers that outputs of space TFCC_OUTPUT are written to */
    void *const *ports; /* of the last run */
    /* Called after each launch, with its addresses; NULL: not. */
    void (*watch)(void *context, const tfcc_launch *l, void *const *arg);
    void *watch_context;
    double *seconds;    /* per launch: added to at each run; NULL: not timed */
} step;

/* For batches of up to m->rows rows. */
bool step_open(step *s, model *m, const char *graph);
/* Later runs add each launch's time to s->seconds, which starts at 0. */
bool step_time(step *s);
void step_close(step *s); /* gives its memory back */
/* Runs the graph over n rows; ports[i] is where the rows of port i begin. Allocates nothing. False after a
 * message: a word was looked up that a closed vocabulary does not have. */
bool step_run(step *s, int64_t n, void *const *ports);
/* Where output `index` of the last run lies. */
const void *step_output(const step *s, uint64_t index);
double step_scalar(const step *s, uint64_t index);
/* The number of an output, -1 when absent. */
int64_t step_find_output(const step *s, const char *name);

#endif
