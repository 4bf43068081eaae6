/* ops.h: private to the files ops*.c: how an operation of keras.ops finds its parameters. */
#ifndef TFCC_FRONTEND_OPS_H
#define TFCC_FRONTEND_OPS_H

#include "frontend/fe.h"

/* One call of an operation. */
typedef struct op_use {
    fe_lower *l;
    const fe_op *op;
    const fe_args *args;
    const fe_value *config;
} op_use;

typedef bool (*op_build)(op_use *u, fe_value *out);

struct fe_op {
    const char *name;
    op_build build;
    const char *parameters; /* of call, in order, separated by spaces */
    ir_op op;
    const char *word;
};

bool op_error(op_use *u, const char *format, ...) BASE_PRINTF(2, 3);
/* By position or keyword of the call, or by name from the constructor; NULL when absent or null. */
const fe_value *op_find(op_use *u, const char *name);
bool op_find_bool(op_use *u, const char *name, bool otherwise, bool *out);
bool op_find_number(op_use *u, const char *name, double *out);
/* An integer or a list of them; *out_count -1 when absent. At most IR_MAX_RANK. */
bool op_find_ints(op_use *u, const char *name, int *out_count, int64_t *out);
/* Brings axes (negative: from the end) to 0 .. rank - 1; each once. */
bool op_resolve_axes(op_use *u, int rank, int count, int64_t *axes);
/* The tensor `name`; numbers become scalars. */
bool op_find_tensor(op_use *u, const char *name, ir_value *out);
/* Two operands in the dtype that Keras gives their result; a Python number takes the other's dtype. */
bool op_find_pair(op_use *u, const char *first, const char *second, bool real, ir_value *out_a,
                  ir_value *out_b);
bool op_finish(op_use *u, ir_value value, fe_value *out); /* false when value is IR_NONE */
ir_type op_type(op_use *u, ir_value x);                   /* a copy, for builders that add nodes */
ir_dtype op_real(ir_dtype dtype);                         /* the dtype itself when it is floating, else f32 */

#define OP(class, family, ...) bool op_build_##family(op_use *u, fe_value *out);
#include "frontend/ops.def"

#endif
