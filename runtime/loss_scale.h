/* loss_scale.h: what a dynamic loss scale did in the last training step. The first step that is skipped is run once more to find
 * where the first value that is not finite arose. */
#ifndef RT_LOSS_SCALE_H
#define RT_LOSS_SCALE_H

#include "step.h"

typedef struct loss_scale {
    step *train;
    const int64_t *nonfinite; /* the variable that says what was not finite; NULL: the loss is not scaled */
    float *scale, before;     /* the variable, and what it was before this step */
    void **kept;              /* per variable: room for what a repetition would change, or NULL */
    int64_t steps, skipped;
} loss_scale;

/* Reserves the memory that a report needs; it is touched at the report only. */
bool loss_scale_open(loss_scale *s, step *train);
/* After each training step: reports the first one that was skipped. ports: of its batch. */
void loss_scale_look(loss_scale *s, void *const *ports);

#endif
