/* explain.h: `compile --explain TOPIC`. */
#ifndef TFCC_EXPLAIN_H
#define TFCC_EXPLAIN_H

#include "codegen/codegen.h"
#include "frontend/frontend.h"

/* The planned model; in_float32: the same planned with --policy float32, or NULL. */
void explain_precision(FILE *to, const frontend_model *model, const ir_module *in_float32, const codegen_family *target);
/* The planned model: sparse matrices and tables updated by rows. */
void explain_layout(FILE *to, const ir_module *m);
/* Which convolutions of 3 x 3 positions are done with fewer products. */
void explain_winograd(FILE *to, const ir_module *m);
/* What codegen_tune found; cache: its file. */
void explain_tune(FILE *to, const codegen_tune_report *report, const char *cache);

#endif
