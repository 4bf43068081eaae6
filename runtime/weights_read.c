/* weights_read.c: reading, see weights.h. Files come from anywhere: every shape and type is compared with the
 * model's before data is read, external files and virtual datasets are refused, walks are bounded. */
#include "convert.h"
#include "weights.h"
#include "weights_guard.h"
#include "weights_reader.h"
#include "zip.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { MOST_DEPTH = 64, MOST_OBJECTS = 200000, LONGEST_PATH = 1024 };

/* H5Lexists fails on a missing middle. */
bool weights_reader_has(const weights_reader *w, const char *path)
{
    char part[LONGEST_PATH];
    size_t length = strlen(path);
    if (length >= sizeof part) return false;
    if (strcmp(path, "/") == 0) return true;
    for (size_t i = 1; i <= length; i++) {
        if (path[i] != '/' && path[i] != 0) continue;
        memcpy(part, path, i);
        part[i] = 0;
        if (w->h.H5Lexists(w->file, part, H5P_DEFAULT) <= 0) return false;
    }
    return true;
}

/* The dataset's dims; false when it is no dataset of numbers in this file. */
static bool read_shape(const weights_reader *w, hid_t dataset, uint32_t *out_rank, int64_t *out_dim)
{
    hid_t space = w->h.H5Dget_space(dataset);
    if (space < 0) return false;
    hsize_t dim[32] = {0};
    int rank = w->h.H5Sget_simple_extent_ndims(space);
    bool ok = rank >= 0 && rank <= 8 && w->h.H5Sget_simple_extent_dims(space, dim, NULL) >= 0;
    for (int i = 0; ok && i < rank; i++) out_dim[i] = dim[i] > INT64_MAX ? INT64_MAX : (int64_t)dim[i];
    if (ok) *out_rank = (uint32_t)rank;
    w->h.H5Sclose(space);
    return ok;
}

static bool is_inside(const weights_reader *w, hid_t dataset)
{
    hid_t list = w->h.H5Dget_create_plist(dataset);
    if (list < 0) return false;
    bool inside = w->h.H5Pget_external_count(list) == 0 && w->h.H5Pget_layout(list) != H5D_VIRTUAL;
    w->h.H5Pclose(list);
    return inside;
}

/* Whether the file's elements can become the variable's: numbers of the same sort. They are read as *out_dtype: the variable's
 * but for bfloat16, which h5py keeps as 2 opaque bytes. */
static bool types_match(const weights_reader *w, hid_t dataset, uint32_t dtype, uint32_t *out_dtype)
{
    hid_t type = w->h.H5Dget_type(dataset);
    if (type < 0) return false;
    H5T_class_t class = w->h.H5Tget_class(type);
    size_t size = w->h.H5Tget_size(type);
    w->h.H5Tclose(type);
    const bool is_brain = class == H5T_OPAQUE && size == 2;
    *out_dtype = is_brain ? TFCC_BF16 : dtype == TFCC_BF16 ? TFCC_F32 : dtype;
    if (dtype == TFCC_I1) return class == H5T_ENUM && size == 1;
    if (rt_dtype_is_float(dtype)) return class == H5T_FLOAT || is_brain;
    return class == H5T_INTEGER;
}

static bool shape_matches(const tfcc_shape *shape, uint32_t rank, const int64_t *dim)
{
    if (shape->rank != rank) return false;
    for (uint32_t i = 0; i < rank; i++) {
        if (shape->dim[i] != dim[i]) return false;
    }
    return true;
}

static bool check_dataset(const weights_reader *w, hid_t dataset, const tfcc_variable *v, const char *path, uint32_t *out_dtype)
{
    int64_t dim[8];
    uint32_t rank;
    if (w->h.H5Iget_type(dataset) != H5I_DATASET || !is_inside(w, dataset) ||
        !read_shape(w, dataset, &rank, dim)) {
        return rt_wrong(w->r, "%s: %s: expected a plain array of numbers for \"%s\"", w->name, path,
                        v->path);
    }
    if (!shape_matches(&v->shape, rank, dim)) {
        return rt_wrong(w->r, "%s: %s: expected shape %s for \"%s\", found %s", w->name, path,
                        rt_shape_show(w->r, v->shape.rank, v->shape.dim, 0), v->path,
                        rt_shape_show(w->r, rank, dim, 0));
    }
    return types_match(w, dataset, v->shape.dtype, out_dtype) ||
           rt_wrong(w->r, "%s: %s: expected %s for \"%s\", found another type", w->name, path,
                    rt_dtype_name(v->shape.dtype), v->path);
}

static bool read_dataset(const weights_reader *w, const tfcc_variable *v, const char *path, void *to)
{
    hid_t dataset = w->h.H5Oopen(w->file, path, H5P_DEFAULT);
    if (dataset < 0) return rt_wrong(w->r, "%s: %s: cannot read", w->name, path);
    const uint64_t count = rt_shape_elements(&v->shape, 1);
    uint32_t dtype = v->shape.dtype;
    bool ok = check_dataset(w, dataset, v, path, &dtype);
    const bool same = dtype == v->shape.dtype;
    hid_t type = ok ? hdf5_memory_type(&w->h, dtype) : H5I_INVALID_HID;
    void *stored = same || !ok ? to : rt_alloc_many(w->r, count, rt_dtype_size(dtype), "a weight");
    if (ok && stored && count > 0 && w->h.H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, stored) < 0)
        ok = rt_wrong(w->r, "%s: %s: the data is damaged", w->name, path);
    if (ok && !same && stored) convert_elements(to, v->shape.dtype, stored, dtype, count);
    if (!same && stored != to) rt_free(w->r, stored);
    if (type >= 0) w->h.H5Tclose(type);
    w->h.H5Oclose(dataset);
    return ok && stored;
}

/* Names of children, one after another; false at the end. */
static bool child_name(const weights_reader *w, hid_t group, hsize_t index, char *name, size_t room)
{
    ssize_t length =
        w->h.H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, index, name, room, H5P_DEFAULT);
    return length > 0 && (size_t)length < room;
}

static uint64_t count_children(const weights_reader *w, const char *path)
{
    H5G_info_t info = {.nlinks = 0};
    hid_t group = weights_reader_has(w, path) ? w->h.H5Oopen(w->file, path, H5P_DEFAULT) : H5I_INVALID_HID;
    if (group < 0) return 0;
    if (w->h.H5Iget_type(group) != H5I_GROUP || w->h.H5Gget_info(group, &info) < 0) info.nlinks = 0;
    w->h.H5Oclose(group);
    return info.nlinks;
}

/* Whether variable v is there with the model's shape. */
static bool fits(const weights_reader *w, const tfcc_variable *v, const char *path)
{
    int64_t dim[8];
    uint32_t rank, dtype;
    hid_t dataset = path && weights_reader_has(w, path) ? w->h.H5Oopen(w->file, path, H5P_DEFAULT) : H5I_INVALID_HID;
    if (dataset < 0) return false;
    bool ok = w->h.H5Iget_type(dataset) == H5I_DATASET && read_shape(w, dataset, &rank, dim) &&
              shape_matches(&v->shape, rank, dim) && types_match(w, dataset, v->shape.dtype, &dtype);
    w->h.H5Oclose(dataset);
    return ok;
}

/* State of a gradient transform, which files of Keras do not have. */
static bool is_of_transform(const tfcc_variable *v) { return strncmp(v->h5, "gradient_transforms/", 20) == 0; }

/* Decides whether the optimizer's state is read: all of it or none. */
static void choose_optimizer(weights_reader *w)
{
    const tfcc_program *p = w->m->program;
    static const char inner[] = "optimizer/inner_optimizer/";
    uint64_t wanted = 0, fitting = 0;
    for (uint64_t i = 0; i < p->variable_count; i++) {
        const tfcc_variable *v = &p->variable[i];
        if (v->role != TFCC_OPTIMIZER || !v->h5 || is_of_transform(v)) continue;
        const uint64_t times = strncmp(v->h5, inner, sizeof inner - 1) == 0 ? 2 : 1; /* see passes/optimizer_state.c */
        wanted += times;
        fitting += fits(w, v, w->path[i]) ? times : 0;
    }
    const uint64_t found = w->optimizer_found;
    w->keep_optimizer = found != wanted || fitting != wanted;
    if (!w->keep_optimizer || found == 0 || wanted == 0) return;
    rt_note(
        w->r,
        "%s: note: the optimizer's state is left out: expected %llu variables, found %llu, %llu of which fit",
        w->name, (unsigned long long)wanted, (unsigned long long)found, (unsigned long long)fitting);
}

/* What was read is a merged weight: Keras then starts its factors from 0. */
static void clear_lora(const model *m, const tfcc_variable *v)
{
    if (!v->lora) return;
    for (uint64_t i = v->lora - 1; i <= v->lora; i++) {
        const tfcc_shape *shape = &m->program->variable[i].shape;
        memset(m->variable[i], 0, (size_t)rt_shape_bytes(shape, 1));
    }
}

static bool read_variables(const weights_reader *w)
{
    const tfcc_program *p = w->m->program;
    for (uint64_t i = 0; i < p->variable_count; i++) {
        const tfcc_variable *v = &p->variable[i];
        const char *path = w->path[i];
        if (!v->h5) continue;
        if (is_of_transform(v) ? !fits(w, v, path) : v->role == TFCC_OPTIMIZER && w->keep_optimizer) continue;
        if (!path || !weights_reader_has(w, path)) {
            if (v->role != TFCC_WEIGHT) continue; /* fresh state will do */
            return rt_wrong(w->r, "%s: %s is missing: expected shape %s for \"%s\" of model \"%s\"", w->name,
                            path ? path : v->h5, rt_shape_show(w->r, v->shape.rank, v->shape.dim, 0), v->path, p->name);
        }
        if (!read_dataset(w, v, path, w->m->variable[i])) return false;
        clear_lora(w->m, v);
    }
    return true;
}

static bool is_known(const weights_reader *w, const char *path)
{
    const tfcc_program *p = w->m->program;
    if (strncmp(path, "optimizer/", 10) == 0 || strstr(path, "seed_generator")) return true;
    if (strncmp(path, "gradient_transforms/", 20) == 0) return true;
    if (strncmp(path, "metrics/", 8) == 0) return true; /* Keras 2's counters */
    for (uint64_t i = 0; i < p->variable_count; i++) {
        const tfcc_variable *v = &p->variable[i];
        if ((w->path[i] && strcmp(w->path[i], path) == 0) || (v->h5_copy && strcmp(v->h5_copy, path) == 0)) return true;
    }
    return false;
}

static bool walk_group(weights_reader *w, hid_t group, char *path, size_t used, int depth);

/* `path` names a child of the group. */
static bool walk_child(weights_reader *w, hid_t group, const char *name, char *path, size_t used, int depth)
{
    if (++w->objects > MOST_OBJECTS || depth > MOST_DEPTH) {
        return rt_wrong(w->r, "%s: expected a weights file, found too many or too deep groups", w->name);
    }
    hid_t object = w->h.H5Oopen(group, name, H5P_DEFAULT);
    if (object < 0) return rt_wrong(w->r, "%s: %s: cannot read", w->name, path);
    bool ok = true;
    if (w->h.H5Iget_type(object) == H5I_GROUP)
        ok = walk_group(w, object, path, used, depth + 1);
    else if (!is_known(w, path)) {
        ok = rt_wrong(w->r, "%s: %s: model \"%s\" has no such weight", w->name, path, w->m->program->name);
    }
    w->h.H5Oclose(object);
    return ok;
}

/* Looks for datasets that the model does not have. */
static bool walk_group(weights_reader *w, hid_t group, char *path, size_t used, int depth)
{
    H5G_info_t info;
    if (w->h.H5Gget_info(group, &info) < 0) return rt_wrong(w->r, "%s: cannot read", w->name);
    for (hsize_t i = 0; i < info.nlinks; i++) {
        char name[256];
        if (!child_name(w, group, i, name, sizeof name)) return rt_wrong(w->r, "%s: cannot read", w->name);
        size_t length = strlen(name);
        if (used + length + 2 > LONGEST_PATH) return rt_wrong(w->r, "%s: too deep groups", w->name);
        if (used > 0) path[used] = '/';
        size_t at = used + (used > 0);
        memcpy(path + at, name, length + 1);
        if (!walk_child(w, group, name, path, at + length, depth)) return false;
    }
    return true;
}

/* Keras 2.12 kept layers under another name. */
static const char *old_path(const weights_reader *w, const char *h5)
{
    static const char old[] = "_layer_checkpoint_dependencies";
    if (strncmp(h5, "layers/", 7) != 0 || !weights_reader_has(w, old)) return h5;
    const char *made = rt_printf(w->r, "%s/%s", old, h5 + 7), *inner;
    while (made && (inner = strstr(made, "/layers/")))
        made = rt_printf(w->r, "%.*s/%s/%s", (int)(inner - made), made, old, inner + 8);
    return made;
}

/* The layout of .weights.h5: every variable under its own path. */
static bool find_variables(weights_reader *w)
{
    const tfcc_program *p = w->m->program;
    for (uint64_t i = 0; i < p->variable_count; i++) {
        if (p->variable[i].h5 && !(w->path[i] = old_path(w, p->variable[i].h5))) return false;
    }
    w->optimizer_found = count_children(w, "optimizer/vars") + count_children(w, "optimizer/inner_optimizer/vars");
    return true;
}

static bool read_all(weights_reader *w)
{
    char path[LONGEST_PATH] = "";
    hid_t root = w->h.H5Oopen(w->file, "/", H5P_DEFAULT);
    if (root < 0) return rt_wrong(w->r, "%s: not a readable weights file", w->name);
    const bool legacy = weights_legacy_is(w);
    bool ok = legacy ? weights_legacy_find(w) : find_variables(w);
    if (ok) choose_optimizer(w);
    ok = ok && (legacy || walk_group(w, root, path, 0, 0)) && read_variables(w);
    w->h.H5Oclose(root);
    return ok;
}

static bool read_opened(weights_reader *w, hid_t access)
{
    if (access >= 0) w->h.H5Pclose(access);
    if (w->file < 0) return rt_wrong(w->r, "%s: not a readable HDF5 file", w->name);
    w->path = rt_alloc_many(w->r, w->m->program->variable_count, sizeof *w->path, "a weights file");
    bool ok = w->path && read_all(w);
    w->h.H5Fclose(w->file);
    return ok;
}

/* The member of a .keras archive that holds the weights. */
static bool read_archive(model *m, const input *in)
{
    zip_archive z;
    const zip_member *found = NULL;
    if (!zip_open(&z, in)) return false;
    for (uint64_t i = 0; i < z.count; i++) {
        if (strcmp(z.member[i].name, "model.weights.h5") == 0) found = &z.member[i];
    }
    if (!found)
        return rt_wrong(m->r, "%s: expected a .keras archive, found one without \"model.weights.h5\"", in->name);
    void *bytes = rt_alloc(m->r, found->size, "a weights file");
    const bool ok = bytes && zip_read(&z, found, bytes) && weights_read_image_here(m, in->name, bytes, found->size);
    rt_free(m->r, bytes);
    return ok;
}

static bool read_hdf5(model *m, const char *path)
{
    weights_reader w = {.r = m->r, .m = m, .name = path};
    if (!hdf5_open(&w.h, m->r)) return false;
    w.file = w.h.H5Fopen(path, HDF5_READ_ONLY, H5P_DEFAULT);
    return read_opened(&w, H5I_INVALID_HID);
}

static bool read_file(model *m, const void *path)
{
    input in;
    char magic[4] = "";
    if (!input_open(&in, m->r, path)) return false;
    bool ok = in.size < sizeof magic || input_read(&in, 0, magic, sizeof magic);
    const bool is_archive = memcmp(magic, "PK\3\4", sizeof magic) == 0;
    if (ok && is_archive) ok = read_archive(m, &in);
    input_close(&in);
    return is_archive ? ok : ok && read_hdf5(m, path);
}

bool weights_read_file(model *m, const char *path)
{
    if (access(path, R_OK) != 0) return rt_wrong(m->r, "%s: cannot read: %s", path, strerror(errno));
    return weights_guard(m, path, read_file, path);
}

typedef struct file_image {
    const char *name;
    const void *bytes;
    uint64_t size;
} file_image;

bool weights_read_image_here(model *m, const char *name, const void *bytes, uint64_t size)
{
    weights_reader w = {.r = m->r, .m = m, .name = name};
    if (!hdf5_open(&w.h, m->r)) return false;
    hid_t access = w.h.H5Pcreate(*w.h.H5P_CLS_FILE_ACCESS_ID_g);
    void *image = rt_alloc(m->r, size, "a weights file");
    if (!image) return false;
    if (size > 0) memcpy(image, bytes, (size_t)size); /* HDF5 asks for a pointer it could write through */
    w.h.H5Pset_fapl_core(access, 1 << 16, 0);
    w.h.H5Pset_file_image(access, image, (size_t)size);
    w.file = w.h.H5Fopen("image", HDF5_READ_ONLY, access);
    bool ok = read_opened(&w, access);
    rt_free(m->r, image);
    return ok;
}

static bool read_image(model *m, const void *context)
{
    const file_image *f = context;
    return weights_read_image_here(m, f->name, f->bytes, f->size);
}

bool weights_read_image(model *m, const char *name, const void *bytes, uint64_t size)
{
    const file_image image = {name, bytes, size};
    return weights_guard(m, name, read_image, &image);
}
