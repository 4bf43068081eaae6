/* link.h: from an object file to an executable or a library, by the system's compiler and archiver. */
#ifndef TFCC_LINK_H
#define TFCC_LINK_H

#include "base/diag.h"

typedef struct link_inputs {
    size_t count;
    char **object;
    bool linalg; /* they call libtfcc_linalg.a, which needs LAPACKE */
} link_inputs;

/* Links the objects with the runtime library into executable `output`. `cc` NULL: "cc". Nothing is left
 * behind on failure. False with an error in d. */
bool link_executable(arena *a, const char *cc, const link_inputs *o, const char *output, diag *d);

/* A file of the runtime, by name. NULL with an error in d when it is not there. */
char *link_runtime_file(arena *a, const char *name, diag *d);

/* Writes a static library of the objects and the runtime. */
bool link_library(arena *a, const link_inputs *o, const char *output, diag *d);

/* What objects that use linalg must be linked with besides the runtime: "FILE -llapacke ...". NULL with an error. */
char *link_linalg_words(arena *a, diag *d);

typedef struct link_shared_options {
    const char *cc, *output;
    const char *symbol; /* of the program, visible beside the interface */
    bool predict_only;  /* without the interface for training */
} link_shared_options;
/* Writes a shared library of the objects and what they need of the runtime. */
bool link_shared(arena *a, const link_shared_options *o, const link_inputs *in, diag *d);

/* Draws Graphviz text `dot` as SVG with the program `dot`. */
bool link_run_dot(arena *a, const char *dot, const char *output, diag *d);

/* A name for a temporary file beside `output`. */
char *link_temporary(arena *a, const char *output, const char *suffix);

#endif
