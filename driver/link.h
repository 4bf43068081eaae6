/* link.h: from an object file to an executable or a library, by the system's compiler and archiver. */
#ifndef TFCC_LINK_H
#define TFCC_LINK_H

#include "base/diag.h"

/* Links the objects with the runtime library into executable `output`. `cc` NULL: "cc". Nothing is left
 * behind on failure. False with an error in d. */
bool link_executable(arena *a, const char *cc, size_t count, char **object, const char *output, diag *d);

/* Writes a static library of the objects and the runtime, and the header of the ABI beside it (the same name
 * with .h). */
bool link_library(arena *a, size_t count, char **object, const char *output, diag *d);

/* Draws Graphviz text `dot` as SVG with the program `dot`. */
bool link_run_dot(arena *a, const char *dot, const char *output, diag *d);

/* A name for a temporary file beside `output`. */
char *link_temporary(arena *a, const char *output, const char *suffix);

#endif
