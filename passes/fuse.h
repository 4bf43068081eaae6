/* fuse.h: private to fuse*.c, but for the questions about values, which remat*.c asks too. A `group` is a kernel in
 * the making; a `leaf` is where the chain that a root computes ends: a value in memory, a view of one included. */
#ifndef TFCC_FUSE_H
#define TFCC_FUSE_H

#include "passes/passes_private.h"

typedef struct fuse_leaf {
    ir_value value; /* in memory: a source, a root, or a view of such */
    ir_value base;  /* the source or root behind the views */
    bool aligned;   /* read at the root's own index, through MAP nodes only; of a concatenation in parts: at its parts' */
    bool moved;     /* read at other indices (too) */
} fuse_leaf;

typedef struct fuse_leaves {
    fuse_leaf *leaf;
    size_t count, capacity;
    bool known;
} fuse_leaves;

typedef struct fuse_group {
    ir_kernel_kind kind;
    ir_value main;
    int columns;
    ir_value *root; /* unordered until the kernels are written; a main that is not a root is not here */
    size_t root_count, root_capacity;
    int *after; /* groups that must run before it though it reads nothing of theirs */
    size_t after_count, after_capacity;
    bool gone; /* joined another group */
    bool writes_variable;
} fuse_group;

typedef struct fuse {
    ir_graph *g;
    bool is_body; /* of a scan: its first `carried` outputs are written over the parameters of those numbers */
    int carried;
    arena *scratch;
    size_t capacity; /* of the tables: the nodes, and a copy per update */
    bool *live;
    bool *memory;        /* in memory, views included */
    bool *required;      /* an output or an update */
    int *uses;           /* nodes that use the value, those behind a view included */
    int *demand;         /* DEMAND_* bits */
    bool *outside;       /* used by others than the chains of an attention */
    int64_t *scores;     /* rows x keys of the smallest attention that needs it in a chain; 0: none */
    bool *chained;       /* computed inside attentions, whatever it costs: as large as their scores */
    int *cost;           /* of computing one element, down to memory */
    ir_value *array;     /* the one value in memory, no smaller than the result, that computing it reads; FUSE_ARRAYS:
                          * several, or functions */
    ir_value *carries;   /* what takes an epilogue and whose result only this chain of maps uses, or IR_NONE */
    int *group;          /* the group that writes the value, or -1 */
    ir_value *waits_for; /* per root: what must be computed before it though it reads nothing of it, or IR_NONE */
    fuse_leaves *leaves; /* per root or main */
    int *stamp[2];       /* per value: last walk that reached it moved, aligned */
    ir_value *stack;
    size_t stack_count, stack_capacity;
    int walk;
    int *pending; /* the same for searches among groups */
    size_t pending_count, pending_capacity;
    fuse_group *groups;
    size_t group_count, group_capacity;
    int *group_stamp;
    size_t group_stamp_count;
    int search;
} fuse;

enum {
    DEMAND_MEMORY = 1, /* an operand of a nest, a gathered table */
    DEMAND_REPEAT = 2, /* each element is needed many times */
    DEMAND_CHEAP = 4,  /* computed and thrown away where another operand is chosen */
    DEMAND_OPERAND = 8, /* an operand of a contraction */
    DEMAND_IMAGE = 16   /* the image of a convolution of every channel by itself: each element is needed a few times */
};

enum { FUSE_ARRAYS = IR_NONE - 1 };

/* fuse_memory.c: fills live, memory, required, uses, demand, cost, array and carries. */
void fuse_choose_memory(fuse *f);
int fuse_chain_cost(const fuse *f, ir_value v); /* of computing one element of v, down to what is in memory */
ir_value fuse_base(const ir_graph *g, ir_value v); /* the value behind the views */
bool fuse_is_source_memory(const ir_node *n);      /* parameter, variable or dense constant */
/* A kernel knows one open number only: with ragged inputs N and the numbers of values come from memory. */
bool fuse_is_foreign_size(const fuse *f, const ir_node *n);

/* fuse_group.c */
void fuse_form_groups(fuse *f);
int fuse_add_group(fuse *f, ir_kernel_kind kind, ir_value main, ir_value root);
const fuse_leaves *fuse_leaves_of(fuse *f, ir_value root);
int fuse_awaited_group(const fuse *f, ir_value item); /* that writes what item waits for, or -1 */
/* True when `from` needs results of `to`; `through`: by way of at least one other group. */
bool fuse_depends(fuse *f, int from, int to, bool through);
bool fuse_can_merge(fuse *f, int a, int b); /* no cycle would arise, and one open number is enough */
void fuse_merge(fuse *f, int into, int gone);
/* Everything that group `reader` reads of what `writer` writes, it reads at the root's own index. */
bool fuse_reads_aligned(fuse *f, int reader, int writer);
/* The nodes of a group whose leaves are what it reads: roots and main. Index 0 .. ; IR_NONE at the end. */
ir_value fuse_group_item(const fuse_group *k, size_t index);
void fuse_sort_values(ir_value *value, size_t count); /* ascending */

/* fuse_merge.c */
void fuse_join_epilogues(fuse *f);
void fuse_merge_reduces(fuse *f);
void fuse_join_sums(fuse *f); /* fuse_sums.c: sums over the rows of what a contraction computes */
void fuse_merge_loops(fuse *f);
/* fuse_scatter.c: loops over the rows that a scatter sums up, in its kernel. */
void fuse_join_scatters(fuse *f);
/* A kernel that computes an element of all its roots before it stores them. */
bool fuse_is_loop(const fuse *f, const fuse_group *k);
void fuse_drop_inner_roots(fuse *f); /* roots that only their own kernel reads need no memory */

/* fuse_row.c */
void fuse_form_rows(fuse *f);

/* fuse_update.c: orders kernels such that updates can be written in place; adds copies where they cannot. */
void fuse_place_updates(fuse *f);

#endif
