/* options.h: the command line of tfcc, read into a struct by the table options.def. */
#ifndef TFCC_OPTIONS_H
#define TFCC_OPTIONS_H

#include "base/base.h"

#include <stdio.h>

typedef struct options {
    const char *model, *output, *emit, *compile_config, *optimizer, *loss, *metrics, *weights;
    const char *gradient_transforms, *gradient_aggregator;
    const char *policy, *loss_scale, *explain, *dim, *cpu, *triple, *cc, *winograd, *print_after, *stop_after, *depend_file;
    const char *memory_limit, *tune, *tune_cache;
    const char *list; /* what to list: the option without "--list-" */
    int level, verify;
    bool shared, predict_only, lazy_embeddings;
    bool time_passes, depend;
} options;

/* Reads argv[first..] of verb `verb` (its letter in options.def). False after a message on standard error. */
bool options_read(options *o, char verb, int first, int argc, char **argv);
/* Prints the options of a verb, a line each. */
void options_print(char verb, FILE *to);

#endif
