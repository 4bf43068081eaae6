/* loss_scale.h: what a dynamic loss scale did in the last training step. */
#ifndef RT_LOSS_SCALE_H
#define RT_LOSS_SCALE_H

#include "model.h"

typedef struct loss_scale {
    const model *m;
    const int64_t *nonfinite; /* the variable that says what was not finite; NULL: the loss is not scaled */
    int64_t step, skipped;
} loss_scale;

void loss_scale_open(loss_scale *s, const model *m);
/* After each training step: reports the first one that was skipped. */
void loss_scale_look(loss_scale *s);

#endif
