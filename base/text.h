/* text.h: growable text on the heap, always NUL-terminated once something was added. */
#ifndef TFCC_TEXT_H
#define TFCC_TEXT_H

#include "base/base.h"

#include <stdarg.h>

typedef struct text {
    char *data; /* NULL while empty */
    size_t length, capacity;
} text;

void text_add(text *t, const char *format, ...) BASE_PRINTF(2, 3);
void text_add_args(text *t, const char *format, va_list args) BASE_PRINTF(2, 0);
void text_put(text *t, const char *bytes, size_t length);
void text_clear(text *t);               /* keeps the memory */
const char *text_get(const text *t);    /* "" while empty */
void text_done(text *t);

/* Adds "quoted" with \" \\ \n and \u00XX escapes: valid both as JSON and as IR text. */
void text_add_quoted(text *t, const char *string);

/* True when the path names a regular file or nothing yet: a device or pipe must not be replaced by a file. */
bool text_may_replace(const char *path);

/* Writes the text to a file through a temporary name in the same folder and a rename, so that a reader
 * never sees half of it; straight to what is no regular file. False with errno set on failure, and then no file
 * is left behind. */
bool text_write_file(const text *t, const char *path);

/* Reads a whole file into t (replacing it). False with errno set; EFBIG above `limit` bytes. */
bool text_read_file(text *t, const char *path, size_t limit);

/* The file's first bytes are these; false also where it cannot be read. */
bool text_file_starts(const char *path, const char *bytes, size_t size);

#endif
