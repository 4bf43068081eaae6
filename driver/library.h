/* library.h: a compiled model as a library with the C interface of tfcc.h: names and the header. */
#ifndef TFCC_LIBRARY_H
#define TFCC_LIBRARY_H

#include "base/diag.h"
#include "ir/ir.h"

typedef struct library {
    const char *name;   /* a C identifier: "digits" for -o digits, libdigits.a, libdigits.so */
    const char *symbol; /* of the function that returns the program: "digits_program" */
    const char *file;   /* the library to write */
    const char *header; /* beside it: "digits.h" */
    bool shared;
} library;

/* output: the path after -o, with or without "lib" and an extension. */
library library_name(arena *a, const char *output, bool shared);
/* Writes the header: what the model takes and gives, then the interface. False with an error in d. */
bool library_write_header(arena *a, const library *l, const ir_module *m, bool predict_only, diag *d);

#endif
