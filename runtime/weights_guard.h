/* weights_guard.h: reading files that may make the HDF5 library fail. */
#ifndef RT_WEIGHTS_GUARD_H
#define RT_WEIGHTS_GUARD_H

#include "model.h"

/* Runs read(m, context), which fills variables, in a process of its own: the HDF5 library can crash on a damaged file,
 * which then is an error like any other. The variables are those read on success, else as they were. */
bool weights_guard(model *m, const char *name, bool (*read)(model *m, const void *context), const void *context);

#endif
