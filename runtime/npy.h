/* npy.h: the head of one .npy file. */
#ifndef RT_NPY_H
#define RT_NPY_H

#include "npz.h"

typedef struct npy_head {
    uint64_t bytes; /* of the head */
    bool fortran, swapped;
    char text;         /* strings: 'S' bytes or 'U' code points of 4 bytes; else 0 */
    uint64_t item;     /* bytes of an element in the file */
} npy_head;

/* Reads the head of the .npy file of `size` bytes; fills in type and dims of a, and checks that the data
 * fills the rest of the file exactly. `where` names the file and array in messages. */
bool npy_read_head(rt *r, const char *where, const uint8_t *bytes, uint64_t size, npz_array *a,
                   npy_head *out_head);

/* Writes the head for a to `text` (of NPY_MOST_HEAD bytes), returns its length, a multiple of 64. */
enum { NPY_MOST_HEAD = 512 };
size_t npy_make_head(const npz_array *a, char *text);

#endif
