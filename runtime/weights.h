/* weights.h: Keras 3's .weights.h5 files. */
#ifndef RT_WEIGHTS_H
#define RT_WEIGHTS_H

#include "model.h"

/* Reads the model's variables, in a process of its own (weights_guard.h). Every weight must be there with its shape; datasets that the model lacks are
 * an error, since they show that the file belongs to another model. An optimizer's state that does not fit is
 * left out with a note, as in Keras. */
bool weights_read_file(model *m, const char *path);
/* The same from a file image; `name` is for messages. */
bool weights_read_image(model *m, const char *name, const void *bytes, uint64_t size);
/* The same in this process, which a damaged file may bring down. */
bool weights_read_image_here(model *m, const char *name, const void *bytes, uint64_t size);

/* Writes the variables, optimizer's included, so that Keras's load_weights reads them. */
bool weights_write(const model *m, const char *path);

#endif
