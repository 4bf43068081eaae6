/* passes.h: the pipeline that turns the frontend's graphs into planned kernels. passes.def lists the passes
 * in order; pipeline.c runs them over every graph of a module. */
#ifndef TFCC_PASSES_H
#define TFCC_PASSES_H

#include "ir/ir.h"

/* Which convolutions are done with fewer products: those that it makes faster; these with tiles of 2 x 2 results only, whose
 * rounding errors are below those of direct sums; all that can be; none. */
typedef enum passes_winograd {
    PASSES_WINOGRAD_AUTO, PASSES_WINOGRAD_SMALL, PASSES_WINOGRAD_ON, PASSES_WINOGRAD_OFF
} passes_winograd;

/* What a training step may take: state (variables), dense constants, and the two slabs for a batch of so many rows. */
typedef struct passes_memory {
    int64_t limit; /* bytes; 0: any */
    int64_t rows;
    text *report;  /* what the steps take and what is computed again is added to it; NULL: not wanted */
} passes_memory;

typedef struct passes_options {
    int level;               /* 0, 1, 2: -O */
    int verify;              /* 0 never; 1 after each pass; 2 also print, parse and compare */
    const char *print_after; /* a pass, "all", or NULL: the module's text to stderr */
    const char *stop_after;  /* a pass or NULL */
    const char *only;        /* tests: comma-separated passes to run, in that order, instead of the pipeline */
    passes_winograd winograd;
    int columns; /* of the target's products: what loops multiply by again and again is put in panels of so many; 0: not */
    const passes_memory *memory; /* NULL: no limit, no report */
    bool time;               /* print milliseconds per pass to stderr */
    FILE *log;               /* where print_after and time go; NULL: stderr */
} passes_options;

/* False when a pass reported an error in d; the module is then not to be used. */
bool passes_run(ir_module *m, const passes_options *options, diag *d);
bool passes_is_known(const char *name);
void passes_list(FILE *to); /* a line per pass: name, level, what it does */

/* The steps of tiles that `when` allows for n (0: done as always), the pass's own choice aside: at most 3; their number. */
int passes_winograd_steps(const ir_graph *g, const ir_node *n, passes_winograd when, int *out_step);

/* Gradients of a scalar `loss` with respect to `count` values of g, appended to g (IR_NONE: no path). */
void passes_gradient(ir_graph *g, ir_value loss, int count, const ir_value *of, ir_value *out_gradient);

#endif
