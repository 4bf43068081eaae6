/* npz.h: NumPy's arrays: .npz archives of .npy files, read from any numeric type and order, written in C
 * order. */
#ifndef RT_NPZ_H
#define RT_NPZ_H

#include "zip.h"

enum { NPZ_MOST_DIMS = 8 };

typedef struct npz_array {
    char *name; /* key: the member's name without ".npy" */
    uint32_t dtype, rank;
    int64_t dim[NPZ_MOST_DIMS];
    uint64_t count; /* elements */
    void *data;     /* C order, this machine's byte order */
    void *block;    /* what rt_free gets to give data back */
    uint64_t item;  /* TFCC_STR, to be written: bytes of each element at data; read: data holds addresses of word records */
} npz_array;

typedef struct npz_file {
    npz_array *array;
    uint64_t count;
} npz_file;

/* `in` is only needed during the call. With `wanted`, arrays for which it is false keep data NULL and only
 * name and rank are certain; their contents are not read. */
typedef bool (*npz_wanted)(const void *context, const char *name);
bool npz_read(npz_file *f, const input *in, npz_wanted wanted, const void *context);

/* Names, types, dims and data of the arrays; bfloat16 has no NumPy type and must not occur. */
bool npz_write(rt *r, const char *path, npz_array *array, uint64_t count);

#endif
