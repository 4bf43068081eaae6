/* row_sums.h: sums over all rows that a product or a convolution takes of its own results, or of what is computed of
 * them, while they are in registers: what normalizations over batches ask for (ir_sums_rows says which nodes these are). A
 * task owns one of the parts that rows are cut into. It merges block after block of rows into sums in scratch memory, so
 * that sums of many rows lose no precision, and writes them when it is done. */
#ifndef TFCC_ROW_SUMS_H
#define TFCC_ROW_SUMS_H

#include "codegen/cg.h"

enum { ROW_SUMS_MOST = 3, ROW_SUMS_VALUES = 3 * ROW_SUMS_MOST };

typedef struct row_sums {
    int count;       /* 0: none */
    int values;      /* vectors that a block of rows is summed in, for each vector of columns */
    int64_t parts;
    int64_t room;    /* columns of scratch memory, whole vectors */
    cg_value part;   /* of this task, */
    cg_value first;  /* and its first column */
    cg_value sum[ROW_SUMS_MOST], squares[ROW_SUMS_MOST]; /* scratch: float [room] */
    cg_value before; /* scratch: float: rows that they are of */
} row_sums;

/* The sums of c->body. */
row_sums row_sums_describe(const cg *c);
/* Rows begin .. end - 1 of all: those of part s->part; inner borders are multiples of `unit`. */
void row_sums_range(cg *c, const row_sums *s, cg_value all, int64_t unit, cg_value *out_begin, cg_value *out_end);
/* Makes room for the sums of so many columns, and clears them. */
void row_sums_begin(cg *c, row_sums *s, int64_t columns);
/* A block of rows: start with its first row, add every row, merge. result: of cg_main_results at one vector of columns. */
void row_sums_start(cg *c, const row_sums *s, const cg_result *result, cg_value *value);
void row_sums_add(cg *c, const row_sums *s, const cg_result *result, cg_value *value);
/* rows: i64, their number. */
void row_sums_merge(cg *c, const row_sums *s, cg_value column, cg_value rows, const cg_value *value);
/* All columns have been merged with so many rows more. */
void row_sums_advance(cg *c, const row_sums *s, cg_value rows);
/* Writes the sums of columns s->first .. end - 1. */
void row_sums_store(cg *c, row_sums *s, cg_value end);

/* The same as functions of their own, which read results that are in memory already. */
void row_sums_afterwards(cg *c);

#endif
