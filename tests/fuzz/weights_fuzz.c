/* weights_fuzz.c: weights files of any content: the bytes are instructions that build a sound HDF5 file of
 * wrong names, shapes and types, which the runtime then reads. Damaged HDF5 is not tried: the HDF5 library
 * itself crashes on some of it. */
#include "hdf5_library.h"
#include "weights.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const tfcc_variable variables[] = {
    {.path = "dense/kernel",
     .h5 = "layers/dense/vars/0",
     .h5_copy = "layers/dense_1/vars/0",
     .role = TFCC_WEIGHT,
     .shape = {.dtype = TFCC_F32, .rank = 2, .dim = {3, 2}}},
    {.path = "dense/bias",
     .h5 = "layers/dense/vars/1",
     .role = TFCC_WEIGHT,
     .shape = {.dtype = TFCC_BF16, .rank = 1, .dim = {2}}},
    {.path = "SGD/iteration", .h5 = "optimizer/vars/0", .role = TFCC_OPTIMIZER, .shape = {.dtype = TFCC_I64}},
};
static const tfcc_program program = {
    .name = "fuzz", .compiler = "", .variable = variables, .variable_count = RT_COUNT(variables)};

/* One dataset: a path of the table, type, rank and dims from the bytes at p. */
static void add_dataset(const hdf5 *h, hid_t file, hid_t link, const uint8_t *p)
{
    static const char *const paths[] = {"layers/dense/vars/0",
                                        "layers/dense/vars/1",
                                        "layers/dense_1/vars/0",
                                        "layers/dense/vars/2",
                                        "optimizer/vars/0",
                                        "optimizer/vars/1",
                                        "layers/dense/vars",
                                        "layers",
                                        "a/seed_generator/vars/0",
                                        "vars/0",
                                        "layers/dense",
                                        "a/b/c/d/e/f/g/h/i/j"};
    const char *path = paths[p[0] % RT_COUNT(paths)];
    hsize_t dim[12];
    int rank = p[2] % 12;
    for (int i = 0; i < 12; i++) dim[i] = (hsize_t)(p[3] >> i % 8 & 3);
    hid_t type = hdf5_memory_type(h, p[1] % (TFCC_F64 + 1u));
    hid_t space =
        rank == 0 ? h->H5Screate(p[3] & 1 ? H5S_SCALAR : H5S_NULL) : h->H5Screate_simple(rank, dim, NULL);
    hid_t set = h->H5Dcreate2(file, path, type, space, link, H5P_DEFAULT, H5P_DEFAULT);
    if (set >= 0) h->H5Dclose(set);
    h->H5Sclose(space);
    h->H5Tclose(type);
}

/* The file image in memory of r, NULL when it could not be made. */
static void *build_image(rt *r, const hdf5 *h, const uint8_t *data, size_t size, ssize_t *out_size)
{
    hid_t access = h->H5Pcreate(*h->H5P_CLS_FILE_ACCESS_ID_g),
          link = h->H5Pcreate(*h->H5P_CLS_LINK_CREATE_ID_g);
    h->H5Pset_fapl_core(access, 1 << 16, 0);
    h->H5Pset_create_intermediate_group(link, 1);
    hid_t file = h->H5Fcreate("built", HDF5_TRUNCATE, H5P_DEFAULT, access);
    for (size_t i = 0; i + 4 <= size && i < 256; i += 4) add_dataset(h, file, link, data + i);
    h->H5Fflush(file, H5F_SCOPE_GLOBAL);
    *out_size = h->H5Fget_file_image(file, NULL, 0);
    void *image = *out_size < 0 ? NULL : rt_alloc(r, (uint64_t)*out_size, "an image");
    if (image) h->H5Fget_file_image(file, image, (size_t)*out_size);
    h->H5Fclose(file);
    h->H5Pclose(link);
    h->H5Pclose(access);
    return image;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    float kernel[6];
    uint16_t bias[2];
    int64_t iteration;
    void *address[] = {kernel, bias, &iteration};
    rt r;
    hdf5 h;
    rt_init(&r, "fuzz", &program);
    model m = {.r = &r, .program = &program, .variable = address};
    ssize_t image_size = 0;
    void *image = hdf5_open(&h, &r) ? build_image(&r, &h, data, size, &image_size) : NULL;
    if (image) weights_read_image_here(&m, "fuzz.weights.h5", image, (uint64_t)image_size);
    rt_done(&r);
    return 0;
}
