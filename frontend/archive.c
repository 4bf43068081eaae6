/* archive.c: see archive.h. The bounds are Keras's own: a member that claims more than 4 GiB, or more than
 * 100 times its packed size once it is large, is not unpacked. */
#include "frontend/archive.h"

#include <stdio.h>
#include <string.h>
#include <zip.h>

enum { MOST_CONFIG_BYTES = 64 << 20, MOST_ASSET_BYTES = 1 << 30, SMALL_BYTES = 16 << 20, MOST_EXPANSION = 100 };
static const uint64_t most_weight_bytes = (uint64_t)4 << 30;

bool fe_archive_is(const char *path) { return text_file_starts(path, "PK\3\4", 4); }

static bool read_bytes(zip_file_t *file, char *to, uint64_t size)
{
    while (size > 0) {
        zip_int64_t got = zip_fread(file, to, size);
        if (got <= 0) return false;
        to += got;
        size -= (uint64_t)got;
    }
    char more;
    return zip_fread(file, &more, 1) == 0; /* the end: its checksum was right, too */
}

/* *out_bytes NULL when the member is absent. */
static bool read_member(fe *f, zip_t *zip, const char *name, uint64_t most, char **out_bytes,
                        size_t *out_size)
{
    zip_stat_t about;
    *out_bytes = NULL;
    *out_size = 0;
    if (zip_stat(zip, name, 0, &about) != 0) return true;
    if (!(about.valid & ZIP_STAT_SIZE) || !(about.valid & ZIP_STAT_COMP_SIZE) || about.size > most) {
        return diag_error(f->diag, name, "expected at most %llu bytes, found %llu", (unsigned long long)most,
                          (unsigned long long)about.size);
    }
    if (about.size > SMALL_BYTES && about.size / MOST_EXPANSION > about.comp_size) {
        return diag_error(f->diag, name, "expected a member that unpacks to at most %d times its size",
                          MOST_EXPANSION);
    }
    zip_file_t *file = zip_fopen(zip, name, 0);
    if (!file) return diag_error(f->diag, name, "cannot be read: %s", zip_strerror(zip));
    char *bytes = arena_alloc(f->arena, (size_t)about.size + 1);
    bool ok = read_bytes(file, bytes, about.size);
    zip_fclose(file);
    if (!ok) return diag_error(f->diag, name, "the archive is damaged");
    *out_bytes = bytes;
    *out_size = (size_t)about.size;
    return true;
}

static zip_t *open_archive(fe *f, const char *path)
{
    int problem = 0;
    zip_t *zip = zip_open(path, ZIP_RDONLY, &problem);
    if (zip) return zip;
    zip_error_t error;
    zip_error_init_with_code(&error, problem);
    diag_error(f->diag, NULL, "cannot be read as an archive: %s", zip_error_strerror(&error));
    zip_error_fini(&error);
    return NULL;
}

bool fe_archive_read(fe *f, const char *path, fe_archive *out)
{
    char *config = NULL, *weights = NULL;
    zip_t *zip = open_archive(f, path);
    if (!zip) return false;
    *out = (fe_archive){0};
    bool ok = read_member(f, zip, "config.json", MOST_CONFIG_BYTES, &config, &out->config_size);
    ok = read_member(f, zip, "model.weights.h5", most_weight_bytes, &weights, &out->weights_size) && ok;
    if (ok && !config)
        ok = diag_error(f->diag, NULL, "expected a .keras archive, found one without \"config.json\"");
    out->config = config;
    out->weights = weights;
    zip_discard(zip);
    return ok;
}

bool fe_archive_asset(fe *f, const char *name, char **out_bytes, size_t *out_size)
{
    zip_t *zip = open_archive(f, f->archive);
    bool ok = zip && read_member(f, zip, name, MOST_ASSET_BYTES, out_bytes, out_size);
    if (zip) zip_discard(zip);
    return ok;
}
