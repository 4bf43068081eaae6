/* plan_memory.h: private to plan_memory.c, plan_reuse.c and plan_apart.c. */
#ifndef TFCC_PLAN_MEMORY_H
#define TFCC_PLAN_MEMORY_H

#include "passes/passes_private.h"

typedef struct block {
    ir_value value;
    ir_graph *graph; /* of `value` */
    int64_t size, offset;
    int first, last; /* times at which it is written and last read */
    ir_unit batch;
    ir_dtype dtype;
    int reuses; /* the block whose memory it takes over, or -1 */
    int apart;  /* blocks of one number, which is not 0, share no memory: rows write them at different times */
} block;

/* Shared by a graph and the bodies in it. A kernel takes one unit of time, a scan one for its beginning,
 * those of its body, and one for its end. */
typedef struct pool {
    block *blocks;
    size_t count, capacity;
    int time;
} pool;

typedef struct plan plan;
struct plan {
    ir_module *m;
    ir_graph *g;
    arena *scratch;
    pool *pool;
    int *block_of; /* per value: of the base; of a scan: its first element's; -1 */
    int *start;    /* per kernel: when it runs */
    plan **inner;  /* per kernel: of the body of its scan, else NULL */
    int apart;     /* of a scan's body: a number of its own when rows may go through it one without the other, else 0 */
};

/* The scan that a kernel is, or NULL. */
const ir_node *plan_scan(const ir_graph *g, const ir_kernel *k);
ir_value plan_base(const ir_graph *g, ir_value v); /* what v is a view of */
/* The block that v lies in, -1: none of this plan. */
int plan_block(const plan *p, ir_value v);

/* plan_reuse.c: blocks that take over the memory of others */
void plan_take_states(const plan *p); /* states begin in the memory of the copies that pass_loop made for them */
void plan_reuse_operands(const plan *p);

/* plan_apart.c */
bool plan_rows_are_apart(const ir_node *scan); /* as far as its operations go */
void plan_mark_apart(const plan *p);           /* scans of planned bodies with `apart`, where their memory allows it too */

#endif
