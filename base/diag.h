/* diag.h: what is wrong with the user's input, collected. Whoever decides that it is an error writes the
 * message; callers pass `false` on, silently. Form: `file: path: layer: expected E, found F`, lower case,
 * no full stop. After DIAG_LIMIT errors only a count is kept. */
#ifndef TFCC_DIAG_H
#define TFCC_DIAG_H

#include "base/arena.h"

#include <stdio.h>

enum { DIAG_LIMIT = 20 };

typedef struct diag {
    arena *arena;
    const char *file; /* prefix of every message; may be NULL */
    const char **message;
    size_t count, capacity; /* messages kept */
    size_t errors;          /* all errors, also those not kept */
    bool machine_failed;    /* one of them is the machine's: disk, linker */
} diag;

/* Adds an error. `place` is the part between the file and the text, such as
 * `$.config.layers[3]: Dense "dense_1"`; it may be NULL. Always returns false. */
bool diag_error(diag *d, const char *place, const char *format, ...) BASE_PRINTF(3, 4);
/* The same for what the machine could not do, which is not the user's mistake. */
bool diag_failed(diag *d, const char *place, const char *format, ...) BASE_PRINTF(3, 4);
bool diag_has_errors(const diag *d);
void diag_print(const diag *d, FILE *to); /* one message a line */

#endif
