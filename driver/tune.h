/* tune.h: `compile --tune` and `--tune-cache`: the options read, and codegen_tune called with them. */
#ifndef TFCC_TUNE_DRIVER_H
#define TFCC_TUNE_DRIVER_H

#include "codegen/codegen.h"
#include "options.h"
#include "passes/passes.h"

typedef struct tune {
    const char *cache; /* NULL: nothing is asked for */
    double seconds;
    int64_t rows;
    passes_winograd when;
    codegen_tune_report report;
} tune;

/* False after a message on standard error. */
bool tune_read(arena *a, const options *o, tune *out);
bool tune_module(arena *a, tune *t, ir_module *m, const codegen_options *target, diag *d);

#endif
