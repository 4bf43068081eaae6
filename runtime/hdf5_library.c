/* hdf5_library.c: see hdf5_library.h. */
#include "hdf5_library.h"

#include <dlfcn.h>
#include <string.h>

/* The table's prototypes are those of the header this was built with. */
#define HDF5_FUNCTION(result, name, parameters)                                                              \
    _Static_assert(_Generic(&name, result(*) parameters : 1, default : 0), #name);
#define HDF5_CONSTANT(name) _Static_assert(_Generic(&name, hid_t * : 1, default : 0), #name);
#include "hdf5_symbols.def"

static const char *const library_names[] = {
#ifdef TFCC_HDF5_LIBRARY
    TFCC_HDF5_LIBRARY, /* what the build found */
#endif
    "libhdf5_serial.so.103", "libhdf5.so.103",    "libhdf5.so.200", "libhdf5.so.310",
    "libhdf5_serial.so.310", "libhdf5_serial.so", "libhdf5.so",
};

/* dlsym's result as what it points to; C has no cast from an object to a function pointer. */
static bool find_symbol(void *library, const char *name, void *out_address)
{
    void *address = dlsym(library, name);
    memcpy(out_address, &address, sizeof address);
    return address != NULL;
}

/* The first symbol that the library lacks, or NULL. */
static const char *find_symbols(hdf5 *h)
{
#define HDF5_FUNCTION(result, name, parameters)                                                              \
    if (!find_symbol(h->library, #name, &h->name)) return #name;
#define HDF5_CONSTANT(name)                                                                                  \
    if (!find_symbol(h->library, #name, &h->name)) return #name;
#include "hdf5_symbols.def"
    return NULL;
}

bool hdf5_open(hdf5 *h, rt *r)
{
    *h = (hdf5){.library = NULL};
    for (size_t i = 0; !h->library && i < RT_COUNT(library_names); i++) {
        h->library = dlopen(library_names[i], RTLD_NOW | RTLD_LOCAL);
    }
    if (!h->library) {
        return rt_failed(
            r, "weights files need the HDF5 library, which is not on this machine: install Debian's "
               "libhdf5-103 (or hdf5, libhdf5) and try again");
    }
    const char *missing = find_symbols(h);
    if (missing)
        return rt_failed(r, "the HDF5 library on this machine lacks %s: expected version 1.10 or newer",
                         missing);
    /* Files are closed one by one; the library's own clean-up at exit costs time and has nothing left to do.
     */
    h->H5dont_atexit();
    if (h->H5open() < 0) return rt_failed(r, "the HDF5 library on this machine does not start");
    h->H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    /* A weights file has no business reading other files. */
    h->H5Lunregister(H5L_TYPE_EXTERNAL);
    return true;
}

/* IEEE half precision, made from float as h5py does. */
static hid_t make_half_type(const hdf5 *h)
{
    hid_t type = h->H5Tcopy(*h->H5T_NATIVE_FLOAT_g);
    h->H5Tset_fields(type, 15, 10, 5, 0, 10);
    h->H5Tset_size(type, 2);
    h->H5Tset_ebias(type, 15);
    return type;
}

static hid_t make_bool_type(const hdf5 *h)
{
    hid_t type = h->H5Tenum_create(*h->H5T_NATIVE_SCHAR_g);
    const signed char values[] = {0, 1};
    h->H5Tenum_insert(type, "FALSE", &values[0]);
    h->H5Tenum_insert(type, "TRUE", &values[1]);
    return type;
}

static hid_t make_bfloat_type(const hdf5 *h)
{
    hid_t type = h->H5Tcreate(H5T_OPAQUE, 2);
    h->H5Tset_tag(type, "");
    return type;
}

hid_t hdf5_memory_type(const hdf5 *h, uint32_t dtype)
{
    switch ((tfcc_dtype)dtype) {
    case TFCC_I1:
        return make_bool_type(h);
    case TFCC_I8:
        return h->H5Tcopy(*h->H5T_NATIVE_SCHAR_g);
    case TFCC_I16:
        return h->H5Tcopy(*h->H5T_NATIVE_INT16_g);
    case TFCC_I32:
        return h->H5Tcopy(*h->H5T_NATIVE_INT32_g);
    case TFCC_I64:
        return h->H5Tcopy(*h->H5T_NATIVE_INT64_g);
    case TFCC_U8:
        return h->H5Tcopy(*h->H5T_NATIVE_UINT8_g);
    case TFCC_U16:
        return h->H5Tcopy(*h->H5T_NATIVE_UINT16_g);
    case TFCC_U32:
        return h->H5Tcopy(*h->H5T_NATIVE_UINT32_g);
    case TFCC_STR: /* no variable is text */
    case TFCC_ROW:
        break;
    case TFCC_U64:
        return h->H5Tcopy(*h->H5T_NATIVE_UINT64_g);
    case TFCC_F16:
        return make_half_type(h);
    case TFCC_BF16:
        return make_bfloat_type(h);
    case TFCC_F32:
        return h->H5Tcopy(*h->H5T_NATIVE_FLOAT_g);
    case TFCC_F64:
        return h->H5Tcopy(*h->H5T_NATIVE_DOUBLE_g);
    }
    return H5I_INVALID_HID;
}
