/* weights_write.c: writing, see weights.h. HDF5 builds the file in memory and the runtime writes its bytes:
 * so a full disk is an ordinary error, and no half-written file is ever seen. No times are stored: the same
 * weights give the same bytes. */
#include "convert.h"
#include "hdf5_library.h"
#include "weights.h"

#include <string.h>

typedef struct writer {
    hdf5 h;
    const model *m;
    hid_t file, link, data; /* the file; property lists for links and datasets */
} writer;

/* A text attribute as h5py writes one: UTF-8 of variable length. */
static bool write_text(const writer *w, hid_t object, const char *name, const char *text)
{
    hid_t type = w->h.H5Tcopy(*w->h.H5T_C_S1_g), space = w->h.H5Screate(H5S_SCALAR);
    w->h.H5Tset_size(type, H5T_VARIABLE);
    w->h.H5Tset_cset(type, H5T_CSET_UTF8);
    hid_t attribute = w->h.H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool ok = attribute >= 0 && w->h.H5Awrite(attribute, type, &text) >= 0;
    if (attribute >= 0) w->h.H5Aclose(attribute);
    w->h.H5Sclose(space);
    w->h.H5Tclose(type);
    return ok;
}

/* Makes the group of a dataset, "layers/dense/vars", with the name of its owner: the part of the variable's
 * path before the last one. */
static bool make_group(const writer *w, const char *h5, const char *path)
{
    const char *end = strrchr(h5, '/');
    if (!end) return true;
    char *group_path = rt_printf(w->m->r, "%.*s", (int)(end - h5), h5);
    if (!group_path) return false;
    /* H5Lexists wants every step on the way to exist. */
    for (char *p = group_path;; p++) {
        if (*p != '/' && *p != 0) continue;
        char kept = *p;
        *p = 0;
        bool there = w->h.H5Lexists(w->file, group_path, H5P_DEFAULT) > 0;
        *p = kept;
        if (!there) break;
        if (kept == 0) return true;
    }
    hid_t group = w->h.H5Gcreate2(w->file, group_path, w->link, H5P_DEFAULT, H5P_DEFAULT);
    if (group < 0) return false;
    const char *last = strrchr(path, '/'), *first = path;
    for (const char *p = path; last && p < last; p++) {
        if (*p == '/') first = p + 1;
    }
    char *owner = last ? rt_printf(w->m->r, "%.*s", (int)(last - first), first) : NULL;
    bool ok = !owner || write_text(w, group, "name", owner);
    w->h.H5Gclose(group);
    return ok;
}

static bool write_dataset(const writer *w, const tfcc_variable *v, const char *h5, const void *data)
{
    hsize_t dim[8] = {0};
    for (uint32_t i = 0; i < v->shape.rank; i++) dim[i] = (hsize_t)v->shape.dim[i];
    if (!make_group(w, h5, v->path)) return false;
    hid_t type = hdf5_memory_type(&w->h, v->shape.dtype);
    hid_t space = v->shape.rank == 0 ? w->h.H5Screate(H5S_SCALAR)
                                     : w->h.H5Screate_simple((int)v->shape.rank, dim, NULL);
    hid_t set = w->h.H5Dcreate2(w->file, h5, type, space, w->link, w->data, H5P_DEFAULT);
    bool ok = set >= 0;
    if (ok && rt_shape_elements(&v->shape, 1) > 0) {
        ok = w->h.H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
    }
    if (ok && v->shape.dtype == TFCC_BF16) ok = write_text(w, set, "dtype", "bfloat16");
    if (set >= 0) w->h.H5Dclose(set);
    w->h.H5Sclose(space);
    w->h.H5Tclose(type);
    return ok;
}

static double round_to(uint32_t dtype, double x)
{
    uint64_t bits = 0;
    convert_elements(&bits, dtype, &x, TFCC_F64, 1);
    return convert_get(&bits, dtype, 0);
}

/* The weight with its low-rank term added, as Keras stores it; all three have one type. */
static void *merge_lora(const model *m, const tfcc_variable *v, const void *own)
{
    const tfcc_variable *b = &m->program->variable[v->lora];
    const void *x = m->variable[v->lora - 1], *y = m->variable[v->lora];
    const uint64_t rank = (uint64_t)b->shape.dim[0], columns = (uint64_t)b->shape.dim[1];
    const uint64_t count = (uint64_t)rt_shape_elements(&v->shape, 1);
    const uint32_t dtype = v->shape.dtype;
    char *merged = rt_alloc_many(m->r, count, rt_dtype_size(dtype), "a merged weight");
    for (uint64_t i = 0; merged && i < count; i++) {
        double sum = 0;
        for (uint64_t k = 0; k < rank; k++)
            sum += convert_get(x, dtype, i / columns * rank + k) * convert_get(y, dtype, k * columns + i % columns);
        const double term = round_to(dtype, v->lora_scale * round_to(dtype, sum)), all = convert_get(own, dtype, i) + term;
        convert_elements(merged + i * rt_dtype_size(dtype), dtype, &all, TFCC_F64, 1);
    }
    return merged;
}

static bool write_variable(const writer *w, uint64_t number)
{
    const tfcc_variable *v = &w->m->program->variable[number];
    const void *data = w->m->variable[number];
    void *merged = v->lora && v->h5 ? merge_lora(w->m, v, data) : NULL;
    if (v->lora && v->h5 && !merged) return false;
    if (merged) data = merged;
    const bool ok = (!v->h5 || write_dataset(w, v, v->h5, data)) && (!v->h5_copy || write_dataset(w, v, v->h5_copy, data));
    rt_free(w->m->r, merged);
    return ok;
}

static bool write_variables(const writer *w, const char *path)
{
    const tfcc_program *p = w->m->program;
    for (uint64_t i = 0; i < p->variable_count; i++) {
        const tfcc_variable *v = &p->variable[i];
        if (!write_variable(w, i)) return rt_failed(w->m->r, "%s: cannot store variable \"%s\" as %s", path, v->path, v->h5);
    }
    return true;
}

/* The finished file's bytes. */
static bool copy_image(const writer *w, const char *path, void **out_bytes, uint64_t *out_size)
{
    ssize_t size =
        w->h.H5Fflush(w->file, H5F_SCOPE_GLOBAL) < 0 ? -1 : w->h.H5Fget_file_image(w->file, NULL, 0);
    if (size < 0) return rt_failed(w->m->r, "%s: HDF5 could not build the weights file", path);
    void *image = rt_alloc(w->m->r, (uint64_t)size, "the weights file");
    if (!image) return false;
    if (w->h.H5Fget_file_image(w->file, image, (size_t)size) != size) {
        rt_free(w->m->r, image);
        return rt_failed(w->m->r, "%s: HDF5 could not build the weights file", path);
    }
    *out_bytes = image;
    *out_size = (uint64_t)size;
    return true;
}

bool weights_make_image(const model *m, const char *path, void **out_bytes, uint64_t *out_size)
{
    writer w = {.m = m};
    if (!hdf5_open(&w.h, m->r)) return false;
    hid_t access = w.h.H5Pcreate(*w.h.H5P_CLS_FILE_ACCESS_ID_g);
    w.link = w.h.H5Pcreate(*w.h.H5P_CLS_LINK_CREATE_ID_g);
    w.data = w.h.H5Pcreate(*w.h.H5P_CLS_DATASET_CREATE_ID_g);
    w.h.H5Pset_fapl_core(access, 1 << 20, 0);
    w.h.H5Pset_create_intermediate_group(w.link, 1);
    w.h.H5Pset_obj_track_times(w.data, 0);
    w.file = w.h.H5Fcreate("image", HDF5_TRUNCATE, H5P_DEFAULT, access);
    bool ok = w.file >= 0 || rt_failed(m->r, "%s: HDF5 could not build the weights file", path);
    /* Keras 2 opens the model's own group, which is empty. */
    if (ok && !make_group(&w, "vars/0", ""))
        ok = rt_failed(m->r, "%s: HDF5 could not build the weights file", path);
    ok = ok && write_variables(&w, path) && copy_image(&w, path, out_bytes, out_size);
    if (w.file >= 0) w.h.H5Fclose(w.file);
    w.h.H5Pclose(w.data);
    w.h.H5Pclose(w.link);
    w.h.H5Pclose(access);
    return ok;
}
