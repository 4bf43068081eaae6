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
    int unit; /* ir_unit: what its n counts */
    const char *name; /* for profiles */
    int64_t flops, bytes, batch_flops, batch_bytes;
    const char **watch; /* per argument: what is written there, in words, or NULL; NULL: nobody asks */
} cg_run;

typedef struct cg_plan {
    const ir_module *module;
    const codegen_options *options;
    const cg_run **run; /* per graph of the module, per kernel of the graph */
    int64_t scratch; /* bytes per thread, of the neediest kernel */
} cg_plan;

/* object.c: what is compiled for, found once. */
typedef struct cg_platform {
    const char *triple, *cpu, *features, *prefix;
    bool runs_here; /* this machine can run the code, for all that is known */
    int level;
    LLVMTargetRef llvm;
    const cg_target *target;
    arena *arena;
} cg_platform;
bool cg_platform_open(cg_platform *p, arena *a, const codegen_options *options, diag *d);

/* A module, with a context of its own. helpers: those of all modules of the program, or NULL when it has only this
 * one. */
void cg_open(cg *c, const cg_platform *p, map *helpers);
void cg_release(cg *c); /* all of LLVM's; problem stays */
void cg_close(cg *c);
void cg_verify(cg *c, cg_value fn); /* a function just written; a mistake in it is a bug of tfcc */
/* Modules may be written at the same time. On failure c->problem says why. */
void cg_write(cg *c, codegen_kind kind, const char *path);
bool cg_write_object(cg *c, text *out); /* the same to memory */

/* codegen.c: `Dense "dense_1": dot f32[N,10]`; a nest by its operation's name. In arena a. */
char *cg_kernel_describe(arena *a, const ir_graph *g, const ir_kernel *k);
/* codegen.c: writes the functions of k->body. */
void cg_kernel_build(cg *c, cg_kernel *k);
void cg_program_emit(cg *c, const cg_plan *p);       /* program.c: the constant tables */
void cg_run_estimate(const cg_body *b, cg_run *run); /* cost.c: flops and bytes */
/* watch.c: per value of g, whether it is forward of the loss (in a body: that its scan is); NULL: nothing is watched. */
bool *cg_watch_begin(arena *a, const ir_graph *g);
void cg_run_watch(arena *a, const ir_graph *g, const ir_kernel *k, const bool *forward, cg_run *run);

#endif
