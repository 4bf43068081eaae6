/* save.c: the trained model as a file: see weights.h. */
#include "file.h"
#include "weights.h"
#include "zip.h"

#include <string.h>
#include <sys/stat.h>

static bool ends_in(const char *s, const char *end)
{
    size_t length = strlen(s), tail = strlen(end);
    return length >= tail && strcmp(s + length - tail, end) == 0;
}

static bool is_special(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && !S_ISREG(s.st_mode);
}

bool weights_check_name(rt *r, const char *path)
{
    if (!path || is_special(path) || ends_in(path, ".weights.h5")) return true;
    if (!ends_in(path, ".keras"))
        return rt_wrong(r, "%s: expected a name that ends in .weights.h5 or .keras", path);
    return r->program->config ||
           rt_wrong(r,
                    "%s: this program was made without the model's configuration, which a "
                    ".keras archive holds; save to a name that ends in .weights.h5",
                    path);
}

static bool write_bytes(rt *r, const char *path, const void *bytes, uint64_t size)
{
    output out;
    if (!output_open(&out, r, path)) return false;
    output_write(&out, bytes, size);
    return output_close(&out);
}

static bool write_archive(rt *r, const char *path, const void *weights, uint64_t size)
{
    static char names[][20] = {"metadata.json", "config.json", "model.weights.h5"};
    const tfcc_program *p = r->program;
    output out;
    zip_writer w;
    if (!output_open(&out, r, path)) return false;
    if (!zip_writer_init(&w, &out, RT_COUNT(names))) {
        output_abandon(&out);
        return false;
    }
    zip_writer_add(&w, names[0], p->metadata, strlen(p->metadata), NULL, 0);
    zip_writer_add(&w, names[1], p->config, strlen(p->config), NULL, 0);
    zip_writer_add(&w, names[2], weights, size, NULL, 0);
    zip_writer_finish(&w);
    return output_close(&out);
}

bool weights_write(const model *m, const char *path)
{
    void *bytes;
    uint64_t size;
    if (!weights_make_image(m, path, &bytes, &size)) return false;
    bool ok = ends_in(path, ".keras") && !is_special(path) ? write_archive(m->r, path, bytes, size)
                                                           : write_bytes(m->r, path, bytes, size);
    rt_free(m->r, bytes);
    return ok;
}
