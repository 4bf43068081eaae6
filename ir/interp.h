/* interp.h: shared by the files of the reference interpreter only. A value is an ir_array
 * without batch dims; elements are read into 64-bit cells and rounded when they are stored, so
 * one operation computed on cells is rounded once: for + - * / and square roots of f32, f16 and
 * bf16 that equals computing in f32. The data of a tuple is an array of ir_array, one per
 * element. */
#ifndef TFCC_IR_INTERP_H
#define TFCC_IR_INTERP_H

#include "ir/ir.h"

/* Floats as f; integers as u, signed ones sign-extended; bools as u, 0 or 1. */
typedef union interp_cell {
    double f;
    uint64_t u;
} interp_cell;

/* One node at work: `out` has its type and zeroed data already. */
typedef struct interp {
    const ir_graph *graph;
    const ir_node *node;
    arena *arena;
    const int64_t *unit; /* by ir_unit: 1, N, numbers of values */
    const ir_array *in;
    ir_array *out;
} interp;

static inline interp_cell interp_float(double f)
{
    return (interp_cell){.f = f};
}
static inline interp_cell interp_int(int64_t i)
{
    return (interp_cell){.u = (uint64_t)i};
}

interp_cell interp_load(const ir_array *x, int64_t at);
void interp_store(ir_array *x, int64_t at, interp_cell value);
/* `value` of type `from` as type `to`: floats to integers truncate and clamp, NaN becomes 0. */
interp_cell interp_convert(interp_cell value, ir_dtype from, ir_dtype to);

ir_type interp_resolve(arena *a, const ir_type *t, const int64_t *unit); /* N put in */
/* As ir_interpret. */
void interp_run_graph(const ir_graph *g, arena *a, const int64_t *unit, const ir_array *ports, ir_array *variables,
                      ir_array *out_outputs);
ir_array interp_array_new(arena *a, const ir_type *t); /* t without batch dims; zeroed */

/* Counts `index` up over the dims of t, row-major; false after the last. The first index is all
 * zeros, and exists when interp_has_elements. */
bool interp_next(const ir_type *t, int64_t *index);
bool interp_has_elements(const ir_type *t);
int64_t interp_offset(const ir_type *t, const int64_t *index);

/* Reductions by name: add multiply maximum minimum and or. */
typedef interp_cell (*interp_combine)(ir_dtype dtype, interp_cell a, interp_cell b);
interp_combine interp_combine_get(const char *kind);
interp_cell interp_identity(const char *kind, ir_dtype dtype);
/* True when a comes before b (a < b) in the order of the dtype; false when one is NaN. */
bool interp_less(ir_dtype dtype, interp_cell a, interp_cell b);

/* One function per class; each has a table of its operations. */
void interp_run_source(const interp *c);
void interp_run_map(const interp *c);
void interp_run_move(const interp *c);
void interp_run_reduce(const interp *c);
void interp_run_contract(const interp *c);
void interp_run_nest(const interp *c);

/* The operations of class NEST, in more than one file. */
void interp_nest_reduce_window(const interp *c);
void interp_nest_select_and_scatter(const interp *c);
void interp_nest_cumulative(const interp *c);
void interp_nest_moments(const interp *c);
void interp_nest_scatter(const interp *c);
void interp_nest_sort(const interp *c);
void interp_nest_lookup(const interp *c);
void interp_nest_hash(const interp *c);
void interp_nest_tokens(const interp *c);
void interp_nest_sparse_dot(const interp *c);
void interp_nest_sparse_dot_back(const interp *c);
void interp_nest_sparse_dense(const interp *c);
void interp_nest_sparse_encode(const interp *c);
void interp_nest_ragged_sum(const interp *c);
void interp_nest_ragged_max(const interp *c);
void interp_nest_ragged_spread(const interp *c);
void interp_nest_ragged_permute(const interp *c);
void interp_nest_while(const interp *c);
void interp_nest_scan(const interp *c);
void interp_nest_custom_call(const interp *c);
void interp_nest_attention(const interp *c);
void interp_nest_attention_back(const interp *c);

/* The values of attribute `name`, one per dim; `otherwise` for each when the node has none. */
void interp_attr_fill(const ir_node *node, ir_attr_name name, int count, int64_t otherwise,
                      int64_t *out_item);

#endif
