/* window.h: windows that slide over an operand, shared by nest_window.c and nest_select.c. */
#ifndef TFCC_CG_WINDOW_H
#define TFCC_CG_WINDOW_H

#include "codegen/reduce.h"

/* One dim of the window. */
typedef struct cg_slide {
    int64_t window, stride, low, base_dilation, dilation;
    ir_dim size; /* of the operand */
    bool plain;  /* window of 1, passed through */
    bool clips;  /* some window position may lie outside, or between elements */
} cg_slide;

typedef struct cg_windows {
    const ir_type *in, *out; /* what the windows cover; one element per window */
    cg_slide dim[IR_MAX_RANK];
    cg_fold fold;
    bool vectors;             /* the innermost dim is plain */
    cg_value at[IR_MAX_RANK]; /* of the window being written */
} cg_windows;
/* The windows of the kernel's main operation. */
cg_windows cg_windows_describe(cg *c);

/* What to do at one element under the window: its coordinates and the number of its place in the window. */
typedef void cg_window_step(cg *c, const cg_windows *w, const cg_value *at, cg_value place, cg_value *value,
                            void *context);

typedef struct cg_visit {
    cg_window_step *step;
    void *context;
    int count; /* carried values */
    cg_value *value;
} cg_visit;
/* Every element under the window at w->at, in row-major order. */
void cg_window_visit(cg *c, const cg_windows *w, const cg_visit *v);

/* Index of vector number j from coordinates whose last one is the vectors' first. */
cg_index cg_window_index(cg *c, const ir_type *t, const cg_value *at, int lanes, int j);

#endif
