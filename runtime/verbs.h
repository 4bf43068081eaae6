/* verbs.h: what a generated program can do. Each takes checked options and returns false after a message. */
#ifndef RT_VERBS_H
#define RT_VERBS_H

#include "options.h"

bool verb_fit(rt *r, const options *o);
bool verb_evaluate(rt *r, const options *o);
bool verb_predict(rt *r, const options *o);
bool verb_bench(rt *r, const options *o);
bool verb_summary(rt *r, const options *o);

/* The whole program, for main and for tests: the exit status. */
int verbs_run(const tfcc_program *program, int argc, char **argv);

#endif
