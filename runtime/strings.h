/* strings.h: arrays of strings: NumPy's fixed-width elements and the word records (words/words.h) that programs take. */
#ifndef RT_STRINGS_H
#define RT_STRINGS_H

#include "npy.h"

/* `bytes` is a whole .npy file of strings, given back on success: a's data becomes addresses of records, in the order of
 * the file. Elements end before their trailing zeros, as in NumPy; code points become UTF-8. */
bool strings_read(rt *r, const char *where, uint8_t *bytes, const npy_head *head, npz_array *a);
/* Makes elements of the width of the longest from a's addresses, to be written. */
bool strings_pack(rt *r, npz_array *a);
/* Numbers as words, for synthetic data: `count` elements. */
bool strings_make(rt *r, uint64_t count, void *elements);

#endif
