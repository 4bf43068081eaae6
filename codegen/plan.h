/* plan.h: what codegen.c gathers for program.c: which kernel function runs when, on which memory. */
#ifndef TFCC_CG_PLAN_H
#define TFCC_CG_PLAN_H

#include "codegen/cg.h"

/* A kernel of a graph: the functions it became and the values behind their arguments. */
typedef struct cg_run {
    const cg_kernel *kernel; /* NULL: a scan, whose turns run the kernels of its body */
    const ir_node *scan;
    const struct cg_run *inner; /* per kernel of the body */
    const ir_value *arg;
    int arg_count;
    const char *name; /* for profiles */
    int64_t flops, bytes, batch_flops, batch_bytes;
} cg_run;

typedef struct cg_plan {
    const ir_module *module;
    const codegen_options *options;
    const cg_run **run; /* per graph of the module, per kernel of the graph */
    int64_t scratch; /* bytes per thread, of the neediest kernel */
} cg_plan;

/* object.c: the LLVM side of a compilation. */
bool cg_open(cg *c, const codegen_options *options, diag *d);
void cg_close(cg *c);
void cg_verify(cg *c, cg_value fn); /* a function just written; a mistake in it is a bug of tfcc */
bool cg_write(cg *c, codegen_kind kind, const char *path, diag *d);

void cg_program_emit(cg *c, const cg_plan *p);       /* program.c: the constant tables */
void cg_run_estimate(const cg_body *b, cg_run *run); /* cost.c: flops and bytes */

#endif
