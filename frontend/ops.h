/* ops.h: private to the files ops*.c: how an operation of keras.ops finds its parameters. */
#ifndef TFCC_FRONTEND_OPS_H
#define TFCC_FRONTEND_OPS_H

#include "frontend/fe.h"

/* One call of an operation. */
typedef struct op_use op_use;
struct op_use {
    fe_lower *l;
    const fe_op *op;
    const fe_args *args;
    const fe_value *config;
};

typedef bool (*op_build)(op_use *u, fe_value *out);

struct fe_op {
    const char *name;
    op_build build;
    const char *parameters; /* of call, in order, separated by spaces */
    ir_op op;
    const char *word;
    const char *refusal; /* not NULL: refused, with this reason */
};

/* ---- parameters (ops.c, ops_find.c) ------------------------------------------------------ */

bool op_error(op_use *u, const char *format, ...) BASE_PRINTF(2, 3);
/* By position or keyword of the call, or by name from the constructor; NULL when absent or null. */
const fe_value *op_find(op_use *u, const char *name);
bool op_find_bool(op_use *u, const char *name, bool otherwise, bool *out);
bool op_find_number(op_use *u, const char *name, double *out);
bool op_find_number_or(op_use *u, const char *name, double otherwise, double *out);
bool op_find_int(op_use *u, const char *name, int64_t otherwise, int64_t *out);
/* An integer or a list of them, or a constant; *out_count -1 when absent. At most IR_MAX_RANK. */
bool op_find_ints(op_use *u, const char *name, int *out_count, int64_t *out);
/* The same, of any length; null items are -1. In the arena. */
bool op_find_int_list(op_use *u, const char *name, int *out_count, int64_t **out);
/* An integer for all `count`, or that many; `otherwise` when absent. */
bool op_find_sizes(op_use *u, const char *name, int count, int64_t otherwise, int64_t *out);
/* "" when absent. */
bool op_find_text(op_use *u, const char *name, const char **out);
bool op_find_dtype(op_use *u, const char *name, ir_dtype otherwise, ir_dtype *out);
bool op_find_channels_first(op_use *u, bool *out);
/* One axis of a tensor of this rank; `otherwise` when absent. */
bool op_find_axis(op_use *u, const char *name, int rank, int64_t otherwise, int64_t *out);
/* Brings axes (negative: from the end) to 0 .. rank - 1; each once. */
bool op_resolve_axes(op_use *u, int rank, int count, int64_t *axes);
/* The tensor `name`; numbers and lists of them become constants. */
bool op_find_tensor(op_use *u, const char *name, ir_value *out);
bool op_find_tensor_or_none(op_use *u, const char *name, ir_value *out); /* IR_NONE when absent */
bool op_value_tensor(op_use *u, const fe_value *v, const char *name, ir_value *out);
bool op_find_real(op_use *u, const char *name, ir_value *out); /* converted by op_real */
/* The tensors of the list `name`, in one dtype. */
bool op_find_list(op_use *u, const char *name, int *out_count, ir_value **out);
/* Two operands in the dtype that Keras gives their result; a Python number takes the other's dtype. */
bool op_find_pair(op_use *u, const char *first, const char *second, bool real, ir_value *out_a,
                  ir_value *out_b);
/* The same where Keras makes tensors of Python numbers first: they are i32 and f32 as any other. */
bool op_find_strong_pair(op_use *u, const char *first, const char *second, bool real, ir_value *out_a,
                         ir_value *out_b);

/* Which axes are reduced, ascending, and whether they stay with size 1. */
typedef struct op_reduction {
    ir_value x;
    int count;
    int64_t axis[IR_MAX_RANK];
    bool keep_dims;
} op_reduction;
bool op_find_reduction(op_use *u, const char *name, const char *axes, op_reduction *out);

/* ---- results and checks ------------------------------------------------------------------ */

bool op_finish(op_use *u, ir_value value, fe_value *out); /* false when value is IR_NONE */
bool op_finish_list(op_use *u, int count, const ir_value *value, fe_value *out);
ir_type op_type(op_use *u, ir_value x); /* a copy, for builders that add nodes */
ir_dtype op_real(ir_dtype dtype);       /* the dtype itself when it is floating, else f32 */
ir_dtype op_sum_dtype(ir_dtype dtype);  /* sums and products of small integers are taken in 32 bits */
bool op_fail_shape(op_use *u, const char *what, const ir_type *found); /* "expected <what>, found <type>" */
/* Dim `axis` must be a fixed number: `doing` says what would be done along it. */
bool op_check_fixed(op_use *u, const ir_type *t, int64_t axis, const char *doing);
/* The shape must be representable: one batch dim, few enough elements. */
bool op_check_type(op_use *u, const ir_type *t);
bool op_check_broadcast(op_use *u, ir_value a, ir_value b);
/* The elements of a constant of integers; false when it is none. */
bool op_constant_ints(op_use *u, ir_value v, int most, int *out_count, int64_t *out);

/* ---- building (ops_build.c) -------------------------------------------------------------- */

ir_value op_map1(op_use *u, ir_op op, ir_value a);
ir_value op_map2(op_use *u, ir_op op, ir_value a, ir_value b);
ir_value op_map_number(op_use *u, ir_op op, ir_value a, double b); /* b in a's dtype */
ir_value op_compare(op_use *u, const char *direction, ir_value a, ir_value b);
ir_value op_compare_number(op_use *u, const char *direction, ir_value a, double b);
ir_value op_choose(op_use *u, ir_value condition, ir_value a, ir_value b);
ir_value op_number(op_use *u, ir_value like, double number); /* a scalar in the dtype of `like` */
ir_value op_fill(op_use *u, ir_value like, double number);   /* of the type of `like` */
ir_value op_truth(op_use *u, ir_value x);                    /* i1: x != 0 */
ir_value op_is_nan(op_use *u, ir_value x);
ir_value op_floor_mod(op_use *u, ir_value a, ir_value b);   /* the remainder has b's sign */
ir_value op_convert(op_use *u, ir_value x, ir_dtype dtype); /* as tf.cast: bool is x != 0; floats to u32 and to small integers wrap */
/* All elements as one row. The type was checked by op_check_type. */
ir_value op_flatten(op_use *u, ir_value x);
ir_value op_move_axis(op_use *u, ir_value x, int64_t from, int64_t to);
ir_value op_insert_dim(op_use *u, ir_value x, int64_t at);
ir_value op_drop_dim(op_use *u, ir_value x, int64_t at); /* of size 1 */
ir_value op_slice_dim(op_use *u, ir_value x, int64_t dim, int64_t start, int64_t limit);
ir_value op_reduce(op_use *u, const char *kind, ir_value x, int64_t axis, bool keep_dims);
ir_value op_iota(op_use *u, ir_dtype dtype, const ir_type *shape, int64_t dim);
/* One row of i32 numbers. */
ir_value op_constant_i32(op_use *u, int64_t count, const int32_t *number);
/* Indices (i32) into dim `axis` of x, of which negative ones count from its end. */
ir_value op_index_wrap(op_use *u, ir_value indices, ir_value x, int64_t axis);
/* x at `indices` (of any shape, below the size) along `axis`; their dims take its place. IR_NONE after a
 * diagnostic. */
ir_value op_take(op_use *u, ir_value x, ir_value indices, int64_t axis);
/* The element of x that each index picks along `axis`; all other dims are equal. */
ir_value op_take_along(op_use *u, ir_value x, ir_value indices, int64_t axis);
/* x at index vectors, the last dim of `indices`, behind the first `shared` dims, which both have. */
ir_value op_gather_nd(op_use *u, ir_value x, ir_value indices, int shared);
/* Adds updates to x (or puts them there) at index vectors, the last dim of `indices`. */
ir_value op_scatter(op_use *u, const char *kind, ir_value x, ir_value indices, ir_value updates);
/* x sorted along `axis`; with out_order also where each element was, i32. */
ir_value op_sort(op_use *u, ir_value x, int64_t axis, bool descending, ir_value *out_order);
/* The norm of the matrices in two axes by a reduction ("add", "maximum", "minimum") of their singular values (ops_linalg.c).
 * IR_NONE after a diagnostic. */
ir_value op_spectral_norm(op_use *u, ir_value x, const int64_t axis[2], const char *kind, bool keep_dims);
/* a and b summed over pairs of axes; the other dims of a, then of b. IR_NONE after a diagnostic. */
ir_value op_contract(op_use *u, ir_value a, ir_value b, int count, const int64_t *a_axis,
                     const int64_t *b_axis);

/* Images with three colours in the last dim (ops_image.c). */
ir_value op_rgb_to_hsv(op_use *u, ir_value x);
ir_value op_hsv_to_rgb(op_use *u, ir_value x);

#define OP(class, family, ...) bool op_build_##family(op_use *u, fe_value *out);
#define REFUSED(class, reason)
#include "frontend/ops.def"

#endif
