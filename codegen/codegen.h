/* codegen.h: a planned module becomes an object file, assembly or LLVM text. Nothing is decided here that
 * the printed graph does not show. */
#ifndef TFCC_CODEGEN_H
#define TFCC_CODEGEN_H

#include "ir/ir.h"

typedef enum codegen_kind { CODEGEN_OBJECT, CODEGEN_ASSEMBLY, CODEGEN_LLVM } codegen_kind;

typedef struct codegen_options {
    const char *cpu;    /* "native" or an LLVM name */
    const char *triple; /* NULL: the host's */
    int level;          /* -O */
    int threads;        /* how many threads emit code */
    bool time;          /* print milliseconds per stage to stderr */
    const char *summary;
    const char *config, *metadata; /* JSON of a .keras archive, or NULL */
    const void *weights; /* embedded .weights.h5 image, or NULL */
    size_t weights_size;
    const char *prefix; /* of a library's symbols, as PREFIX_program(); NULL: an executable's, tfcc_get_program() */
    bool single_input, single_output;
} codegen_options;

/* A family of processors (a row of targets.def), and what they do by themselves: convert to f16; add up products of pairs of
 * bf16. */
typedef struct codegen_family {
    const char *name;
    bool f16, pairs;
    int columns; /* of the register tile of products of f32 */
} codegen_family;
/* The one that would be compiled for. False with an error in d. */
bool codegen_describe(const codegen_options *options, arena *a, codegen_family *out, diag *d);
/* Multiply-adds per element of a contraction's result (with splits: of all parts together). */
ir_dim codegen_products(const ir_graph *g, const ir_node *n);

/* Products and convolutions done as was measured to be fastest (docs/tuning.md). */
typedef struct codegen_tune_options {
    const char *cache; /* file of what was measured */
    double seconds;    /* to measure at most what the file lacks; 0: nothing is measured */
    int64_t rows;      /* of the batch that counts */
    /* Values of attribute `winograd` that are allowed for a convolution: at most 3 (0: none); their number. */
    int (*winograd)(const ir_graph *g, const ir_node *n, const void *context, int *out_step);
    const void *context;
} codegen_tune_options;
typedef struct codegen_tuned { /* a kernel, or all equal ones */
    const char *id, *name, *planned, *chosen, *trouble; /* id: in the cache; trouble: why it was not measured, or NULL */
    double planned_us, chosen_us; /* one run; 0: not known */
    size_t uses;
} codegen_tuned;
typedef struct codegen_tune_report {
    const char *machine; /* its line in the cache */
    codegen_tuned *item; /* the ones with most work first */
    size_t count, missing; /* missing: neither in the cache nor measured, with no trouble */
} codegen_tune_report;
/* Adds attributes to nodes of the planned module. False with an error in d. */
bool codegen_tune(ir_module *m, const codegen_options *options, const codegen_tune_options *tune, arena *a,
                  codegen_tune_report *out, diag *d);

/* Writes `path` (through a temporary name): one file with everything. False with an error in d. */
bool codegen_write(const ir_module *m, const codegen_options *options, codegen_kind kind, const char *path, diag *d);

/* The same program as several object files, made side by side by options->threads threads; how many there are and what
 * is in which depends on the module only. Their names, made in arena a, begin with `stem`. On failure none is left. */
typedef struct codegen_objects {
    size_t count;
    char **path;
} codegen_objects;
bool codegen_write_objects(const ir_module *m, const codegen_options *options, arena *a, const char *stem,
                           codegen_objects *out, diag *d);
void codegen_remove_objects(const codegen_objects *objects);

#endif
