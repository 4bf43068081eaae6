/* reduce.h: accumulators of reduce nodes, shared by reduce.c and row.c. */
#ifndef TFCC_CG_REDUCE_H
#define TFCC_CG_REDUCE_H

#include "codegen/cg.h"

/* What a reduce root accumulates. 16-bit floats are summed in f32. */
typedef struct cg_fold {
    const char *kind;
    ir_value operand;
    ir_dtype type, sum_type;
} cg_fold;
cg_fold cg_fold_of(const cg *c, ir_value root);
cg_value cg_fold_start(cg *c, const cg_fold *f, int lanes);
/* sum (any lanes) with an element (as many lanes or fewer) of the operand's dtype. */
cg_value cg_fold_add(cg *c, const cg_fold *f, cg_value sum, cg_value element);
/* `count` accumulators, `stride` apart, as one scalar of the operand's dtype; the tree is fixed. */
cg_value cg_fold_finish(cg *c, const cg_fold *f, int count, int stride, cg_value *sum);

/* Ends the function that was begun as one that writes `count` roots from `first` on. */
void cg_reduce_write(cg *c, int first, int count);

void cg_arg_reduce(cg *c); /* arg_reduce.c: a kernel whose root is arg_reduce */

#endif
