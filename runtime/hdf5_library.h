/* hdf5_library.h: the HDF5 library, loaded when it is first needed: it and what it pulls in cost more
 * start-up time than a small model's first step, and programs that neither read nor write weights need none
 * of it. */
#ifndef RT_HDF5_LIBRARY_H
#define RT_HDF5_LIBRARY_H

#include "rt.h"

#include <hdf5.h>

typedef struct hdf5 {
#define HDF5_FUNCTION(result, name, parameters) result(*name) parameters;
#define HDF5_CONSTANT(name) hid_t *name;
#include "hdf5_symbols.def"
    void *library;
} hdf5;

/* H5F_ACC_RDONLY and H5F_ACC_TRUNC without the library calls that these macros hide. */
enum { HDF5_READ_ONLY = 0, HDF5_TRUNCATE = 2 };

/* False after rt_failed, which says what to install. */
bool hdf5_open(hdf5 *h, rt *r);
/* The library stays loaded: it cannot be unloaded safely. */

/* The type in memory of elements of a dtype; a new one, to be closed. bfloat16 is 2 opaque bytes, as h5py
 * stores it. */
hid_t hdf5_memory_type(const hdf5 *h, uint32_t dtype);

#endif
