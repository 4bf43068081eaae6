/* file.h: output files that are never half written, and input read at any offset from a file or memory. */
#ifndef RT_FILE_H
#define RT_FILE_H

#include "rt.h"

#include <stdio.h>

/* An output file. It is written under a temporary name in the target's folder and renamed when it is
 * complete; devices and pipes are written directly. */
typedef struct output {
    rt *r;
    const char *path; /* as the user named it */
    char *target;     /* symbolic links resolved */
    char *temporary;  /* NULL: written directly */
    FILE *stream;
    uint64_t written;
    bool ok;
} output;

bool output_open(output *o, rt *r, const char *path);
/* Errors are kept and reported by output_close. */
void output_write(output *o, const void *bytes, uint64_t size);
void output_printf(output *o, const char *format, ...) RT_PRINTF(2, 3);
/* Completes the file; false after rt_failed, and then nothing is left behind. */
bool output_close(output *o);
void output_abandon(output *o);

/* Where an input's bytes are: a file (memory NULL) or memory. */
typedef struct input {
    rt *r;
    const char *name;
    int file;
    const uint8_t *memory;
    uint64_t size;
} input;

bool input_open(input *in, rt *r, const char *path);
input input_of_memory(rt *r, const char *name, const void *bytes, uint64_t size);
/* Reads exactly `size` bytes at `offset`; false after a message when they are not there. */
bool input_read(const input *in, uint64_t offset, void *out_bytes, uint64_t size);
void input_close(input *in);

#endif
