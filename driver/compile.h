/* compile.h: the verbs that work on a model. */
#ifndef TFCC_COMPILE_H
#define TFCC_COMPILE_H

#include "options.h"

/* Each returns the exit status of tfcc: 0 done, 1 the model or the options are wrong, 2 the machine failed. */
int compile_model(const options *o);
int check_model(const options *o);
int summarize_model(const options *o);
int plot_model(const options *o);

#endif
