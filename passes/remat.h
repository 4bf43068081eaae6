/* remat.h: private to remat*.c. Rematerialisation: a value that the backward graph needs long after the forward graph
 * has read it for the last time need not stay in memory until then; it can be computed again just before.
 *
 * Time is the number of a kernel in a trial run of fuse and plan_memory. A round looks at the kernel at which the batch
 * slab is fullest, the peak: kernels up to it are early, those behind it late. Values that only wait there are
 * candidates; the chosen ones get a second node that late kernels read. */
#ifndef TFCC_REMAT_H
#define TFCC_REMAT_H

#include "passes/fuse.h"

#include <limits.h>

enum { REMAT_NEVER = INT_MAX }; /* a time */

typedef struct remat_value {
    bool memory;            /* a source in memory or a root of a kernel */
    bool pinned;            /* an output or an update shows it */
    bool read_at_peak;
    int written;            /* -1: by no kernel */
    int from, last;         /* its block is taken; `from` is `written` + 1 when it begins in the memory of an operand */
    int last_early, first_late; /* reads around the peak: at least `written`; REMAT_NEVER when there are none */
    int64_t row_bytes;      /* of its block in the batch slab; 0: it has none */
} remat_value;

typedef struct remat_leaves {
    ir_value *value; /* in memory, that computing a root reads */
    size_t count, capacity;
    double operations;
    double work;     /* of computing the root and of its way to memory, as operations */
    bool known, bad; /* bad: it cannot be computed again */
} remat_leaves;

typedef struct remat {
    const ir_graph *g;
    arena *scratch;
    int64_t rows;
    int kernel_count;
    ir_value *kernel_root; /* per kernel: one that g has, or IR_NONE */
    remat_value *value;
    ir_value *root;        /* of all kernels, ascending */
    size_t root_count;
    remat_leaves *leaves;  /* per root */
    int peak;
    bool *chosen;
    int *again_at;         /* per root: the kernel before which it is computed again, or REMAT_NEVER */
    int *until;            /* per value: the last time that what is computed again reads it */
    ir_value *seen;        /* per value: 1 + the last root whose chain was walked through it */
    int64_t *change;       /* per kernel: for sums of bytes over time */
} remat;

/* remat_plan.c: g as the trial, a copy of it that has been planned, has it. */
remat *remat_look(const ir_graph *g, const ir_graph *trial, int64_t rows, arena *scratch);
const remat_leaves *remat_leaves_of(remat *r, ir_value root);
bool remat_is_remade(const remat *r, ir_value leaf); /* when what reads it is computed again, so is it */
/* Fills again_at for what is chosen; returns the most bytes a row that are then in memory; `at_peak`: at r->peak. */
int64_t remat_simulate(remat *r, int64_t *at_peak);

/* remat_choose.c: chooses until no more than `row_bytes` a row are in memory, or nothing helps. Returns how many. */
size_t remat_choose(remat *r, int64_t row_bytes);
/* Chooses what lowers the peak and costs next to nothing: zeros written once more around values that are in memory anyway. */
size_t remat_choose_pads(remat *r);
bool remat_has_pads(const ir_graph *g); /* that might be chosen */

/* remat_rewrite.c: gives the chosen values of g their second node. */
void remat_rewrite(const remat *r, ir_graph *g);

#endif
