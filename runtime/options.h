/* options.h: the command line of generated programs. */
#ifndef RT_OPTIONS_H
#define RT_OPTIONS_H

#include "rt.h"

typedef enum verb_set { FIT = 1, EVALUATE = 2, PREDICT = 4, BENCH = 8, SUMMARY = 16 } verb_set;

#define OPTION_TEXT const char *
#define OPTION_WHOLE int64_t
#define OPTION_REAL double
#define OPTION_FLAG bool

typedef struct options {
#define OPTION(field, kind, name, argument, verbs, least, most, otherwise, help) OPTION_##kind field;
#include "options.def"
} options;

/* Reads the words after the verb. False after a message. */
bool options_read(options *o, rt *r, verb_set verb, int count, char **word);
/* Prints the rows of a verb. */
void options_print_help(verb_set verb);
/* False after a message that TEXT option `name` must be given. */
bool options_require(rt *r, const char *value, const char *name);

#endif
