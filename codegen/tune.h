/* tune.h: the choice of a product's nest by measuring (`--tune`). tune.c finds the kernels of a planned module that there is
 * a choice for and puts what was chosen into its nodes as attributes `tiles` and `winograd`; tune_candidates.c says what
 * there is to choose from; tune_measure.c runs it; tune_cache.c keeps what was found in a file. */
#ifndef TFCC_TUNE_H
#define TFCC_TUNE_H

#include "codegen/plan.h"

typedef struct tune_choice {
    int winograd; /* attribute; 0: none */
    bool tiled;   /* false: by the model */
    cg_tiles tiles;
} tune_choice;

/* Kernels of equal text, the choice aside. */
typedef struct tune_kernel {
    cg_body body;           /* of the first one */
    const char *key, *name; /* text without the choice; for people */
    uint64_t id;            /* of key, rows and what is allowed */
    int step[3], steps;     /* that attribute winograd may have */
    tune_choice planned, chosen;
    double planned_us, chosen_us; /* 0: not measured, not in the cache */
    bool cached;            /* found in the file */
    const char *trouble;    /* why it cannot be measured, or NULL */
    int64_t work;           /* of all uses: operations */
    struct tune_use { ir_graph *graph; ir_value main; } *use;
    size_t use_count, use_capacity;
} tune_kernel;

/* ---- tune_candidates.c ---------------------------------------------------------------------- */

enum { TUNE_CANDIDATES = 24 };
/* The planned choice, `around`, and what is one change away from that; around the planned one also other algorithms. */
int tune_candidates(const cg_platform *p, const tune_kernel *k, const tune_choice *around, tune_choice *out);
/* That there may be such a choice for the kernel. */
bool tune_is_valid(const cg_platform *p, const tune_kernel *k, const tune_choice *choice);
/* n with the attributes of a choice, the array made in a. */
ir_node tune_apply(arena *a, const ir_node *n, const tune_choice *choice);
bool tune_equal(const tune_choice *x, const tune_choice *y);

/* ---- tune_measure.c ------------------------------------------------------------------------- */

typedef struct tune_code tune_code; /* machine code of some choices for one kernel */
/* Writes the kernel for each choice; not for two threads at once. */
tune_code *tune_code_build(const cg_platform *p, const tune_kernel *k, int count, const tune_choice *choice);
/* Makes it machine code; for several threads at once. */
void tune_code_emit(tune_code *c);
/* Seconds of the fastest of several runs in turn per choice, INFINITY for those given up early or equal to an earlier one.
 * False with k->trouble when it cannot run. */
bool tune_code_measure(tune_code *c, tune_kernel *k, int64_t rows, int threads, double *out_seconds);
void tune_code_free(tune_code *c);

/* ---- tune_cache.c --------------------------------------------------------------------------- */

/* What the file has for one kernel on one machine. */
typedef struct tune_entry {
    uint64_t machine, kernel;
    tune_choice choice;
    double planned_us, chosen_us;
    const char *name;
    int line;
} tune_entry;

typedef struct tune_cache {
    arena *arena;
    const char *path;
    const char **machine; /* texts */
    size_t machine_count, machine_capacity;
    tune_entry *entry;
    size_t entry_count, entry_capacity;
} tune_cache;

/* Reads the file, which need not be there. Lines that are none of its own are left out, `warn`: with a warning on standard error; a
 * file that is something else is an error. */
bool tune_cache_read(tune_cache *c, arena *a, const char *path, bool warn, diag *d);
/* The last entry of the kernel on that machine; where `whole` is false, on any with the same text before " | ". */
const tune_entry *tune_cache_find(const tune_cache *c, const char *machine, bool whole, uint64_t kernel);
void tune_cache_add(tune_cache *c, const char *machine, const tune_entry *e);
/* Adds what the file has got since and replaces it. */
bool tune_cache_write(const tune_cache *c, size_t from, diag *d);
uint64_t tune_cache_id(const char *of); /* fingerprint */

#endif
