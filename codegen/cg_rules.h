/* cg_rules.h: the columns `class` and `cpu` of ops.def as functions; cpu_rules.c holds the table. */
#ifndef TFCC_CG_RULES_H
#define TFCC_CG_RULES_H

#include "codegen/cg.h"

/* One step of a MAP op: operands in register form, all with the same lanes. */
typedef struct cg_step {
    const ir_node *node;
    ir_dtype from, to; /* of the first operand (of the second for select), of the result */
    int lanes;
    cg_value in[3];
} cg_step;

typedef struct cg_rule {
    cg_value (*map)(cg *c, const cg_step *s);                   /* MAP */
    cg_value (*read)(cg *c, ir_value v, const cg_index *index); /* SOURCE, MOVE, VIEW; may be uniform */
    void (*nest)(cg *c);                                        /* NEST: the kernel of c->body->main */
} cg_rule;
const cg_rule *cg_rule_of(ir_op op);
cg_value cg_map_emit(cg *c, const cg_step *s); /* the step of a MAP op */

/* element_source.c */
cg_value cg_read_memory(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_constant(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_iota(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_dimension_size(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_rng_philox(cg *c, ir_value v, const cg_index *index);
/* element_move.c, element_gather.c, element_view.c */
cg_value cg_read_broadcast_in_dim(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_transpose(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_slice(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_reverse(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_pad(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_concatenate(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_dynamic_slice(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_dynamic_update_slice(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_gather(cg *c, ir_value v, const cg_index *index);
cg_value cg_read_reshape(cg *c, ir_value v, const cg_index *index);

/* coord.c: arithmetic on coordinates. Lanes outside the index's mask may hold anything afterwards, except
 * that explicit lanes are always in range of the dim they come from. */
cg_coord cg_coord_uniform(cg_value base);
bool cg_coord_is_uniform(const cg_coord *x);
cg_value cg_coord_lanes(cg *c, const cg_coord *x, int lanes); /* <W x i64> */
cg_coord cg_coord_add(cg *c, const cg_coord *x, cg_value y);  /* y: i64, uniform or lanes */
cg_coord cg_coord_scale(cg *c, const cg_coord *x, ir_dim by, int lanes);
cg_coord cg_coord_sum(cg *c, const cg_coord *x, const cg_coord *y, int lanes);
/* Quotient and remainder by the size of a dim; mask as in the index (NULL: all lanes inside). */
void cg_coord_divide(cg *c, const cg_coord *x, ir_dim by, const cg_index *index, cg_coord *out_quotient,
                     cg_coord *out_remainder);
/* Is x (possibly out of range) in 0 .. size - 1? Gives a coordinate that is safe to use: uniform ones and
 * explicit lanes are moved into range, affine ones get a lane mask in out_index. Returns the predicate. */
cg_value cg_coord_limit(cg *c, cg_coord *x, cg_value size, cg_index *out_index);
bool cg_coord_equal(const cg_coord *x, const cg_coord *y);
/* Row-major position of an index in a value of a type. */
cg_coord cg_index_linear(cg *c, const ir_type *t, const cg_index *index);

/* cpu_math*.c: f32 polynomials with the stated error, f64 by libm; any lanes. */
cg_value cg_math_exp(cg *c, cg_value x);
cg_value cg_math_exp_falling(cg *c, cg_value x); /* of x <= 0; results below the normal range are 0 or such */
cg_value cg_math_expm1(cg *c, cg_value x);
cg_value cg_math_log(cg *c, cg_value x);
cg_value cg_math_log1p(cg *c, cg_value x);
cg_value cg_math_tanh(cg *c, cg_value x);
cg_value cg_math_logistic(cg *c, cg_value x);
cg_value cg_math_erf(cg *c, cg_value x);
cg_value cg_math_erf_inv(cg *c, cg_value x);
cg_value cg_math_sin(cg *c, cg_value x);
cg_value cg_math_cos(cg *c, cg_value x);
cg_value cg_math_tan(cg *c, cg_value x);
cg_value cg_math_digamma(cg *c, cg_value x);
cg_value cg_math_trigamma(cg *c, cg_value x);

/* nest_*.c */
void cg_nest_reduce_window(cg *c);
void cg_nest_select_and_scatter(cg *c);
void cg_nest_cumulative(cg *c);
void cg_nest_moments(cg *c);
void cg_moments_write(cg *c, int root); /* ends the function that was begun as one that writes this root */
void cg_nest_scatter(cg *c);
void cg_scatter_rows(cg *c); /* nest_scatter_rows.c: those with an epilogue */
void cg_nest_sort(cg *c);
void cg_nest_words(cg *c);
void cg_nest_custom_call(cg *c);
void cg_nest_sparse(cg *c);
void cg_nest_attention(cg *c);
void cg_nest_ragged(cg *c);

#endif
