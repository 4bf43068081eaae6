/* saved.h: what a .keras archive of the model says about it. */
#ifndef TFCC_FRONTEND_SAVED_H
#define TFCC_FRONTEND_SAVED_H

#include "frontend/fe.h"

/* Fills out->config and out->metadata: the model `root` with the compile configuration in use, that of `training` (may be
 * NULL) changed by the options. */
void fe_saved_make(fe *f, const cJSON *root, const cJSON *training, bool trained, frontend_model *out);

#endif
