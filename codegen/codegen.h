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

/* The family of processors (a row of targets.def) that would be compiled for, and which 16-bit floats they convert to by
 * themselves. False with an error in d. */
bool codegen_describe(const codegen_options *options, arena *a, const char **out_family, bool *out_f16, bool *out_bf16,
                      diag *d);

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
