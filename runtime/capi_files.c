/* capi_files.c: the part of the C interface that reads and writes files of weights. */
#include "capi.h"
#include "weights.h"

#include <pthread.h>

static pthread_mutex_t one_writer =
    PTHREAD_MUTEX_INITIALIZER; /* the HDF5 library serves one thread at a time */

tfcc_result tfcc_weights_load(tfcc_model *m, const char *path)
{
    tfcc_result result = capi_begin(m);
    if (result != TFCC_OK) return result;
    return capi_end(m, path ? weights_read_file(&m->model, path)
                            : rt_wrong(&m->r, "expected a path, found none"));
}

tfcc_result tfcc_weights_save(tfcc_model *m, const char *path)
{
    tfcc_result result = capi_begin(m);
    if (result != TFCC_OK) return result;
    if (!path) return capi_end(m, rt_wrong(&m->r, "expected a path, found none"));
    pthread_mutex_lock(&one_writer);
    bool ok = weights_check_name(&m->r, path) && weights_write(&m->model, path);
    pthread_mutex_unlock(&one_writer);
    return capi_end(m, ok);
}
