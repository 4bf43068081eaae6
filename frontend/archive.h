/* archive.h: .keras archives (ZIP). */
#ifndef TFCC_FRONTEND_ARCHIVE_H
#define TFCC_FRONTEND_ARCHIVE_H

#include "frontend/fe.h"

typedef struct fe_archive {
    const char *config; /* text of config.json */
    size_t config_size;
    const void *weights; /* model.weights.h5, or NULL */
    size_t weights_size;
} fe_archive;

/* True when the file starts as a ZIP archive does. */
bool fe_archive_is(const char *path);
/* Members are bounded in size and in how far they unpack. False after a diagnostic. */
bool fe_archive_read(fe *f, const char *path, fe_archive *out);
/* A member of the archive that is being read, with a zero behind it; *out_bytes NULL when it is absent. */
bool fe_archive_asset(fe *f, const char *name, char **out_bytes, size_t *out_size);

#endif
