/* h5.h: whole models in HDF5, as Keras 2's and Keras 3's model.save("model.h5") write them. */
#ifndef TFCC_FRONTEND_H5_H
#define TFCC_FRONTEND_H5_H

#include "frontend/archive.h"

/* True when the file starts as an HDF5 file does. */
bool fe_h5_is(const char *path);
/* The model as the JSON that a .keras archive would hold; the weights are the whole file. The file is opened in a process of
 * its own, since the HDF5 library may crash on a damaged one. False after a diagnostic. */
bool fe_h5_read(fe *f, const char *path, fe_archive *out);
/* The form of "compile_config" for a "training_config": the optimizer under its own key, metrics that name a function as
 * objects of their class. Changes the tree. */
void fe_h5_training_adapt(fe *f, cJSON *root);

#endif
