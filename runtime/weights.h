/* weights.h: files of weights: Keras 3's .weights.h5, .keras archives, Keras 2's .h5. */
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

/* Whether weights_write can write a file of this name; false after a message. */
bool weights_check_name(rt *r, const char *path);
/* Writes the variables, optimizer's included, in the format that the name asks for: .weights.h5, or a .keras archive, which
 * holds the model too. Devices and pipes take .weights.h5 whatever their name. */
bool weights_write(const model *m, const char *path);
/* The bytes of a .weights.h5 file, to be given back by rt_free; false after a message that names `path`. */
bool weights_make_image(const model *m, const char *path, void **out_bytes, uint64_t *out_size);

#endif
