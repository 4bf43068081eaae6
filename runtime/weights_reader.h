/* weights_reader.h: what the files that read weights share: an open file, and where it keeps each variable. */
#ifndef RT_WEIGHTS_READER_H
#define RT_WEIGHTS_READER_H

#include "hdf5_library.h"
#include "model.h"

typedef struct weights_reader {
    hdf5 h;
    rt *r;
    model *m;
    const char *name; /* of the file */
    hid_t file;
    const char **path;        /* per variable: its dataset, NULL: not in files */
    uint64_t optimizer_found; /* variables of an optimizer in the file */
    bool keep_optimizer;      /* the file holds no optimizer state that fits */
    int64_t objects;
} weights_reader;

/* True when every link of the path is there. */
bool weights_reader_has(const weights_reader *w, const char *path);

/* Files in the layout of Keras 2, which Keras 3's model.save("x.h5") writes too: layers in order, each with the names of its
 * weights as attributes. weights_legacy_find fills w->path and w->optimizer_found; false after a message. */
bool weights_legacy_is(const weights_reader *w);
bool weights_legacy_find(weights_reader *w);

#endif
