/* passes_private.h: what the files of passes/ share. A pass changes one graph; it reports the user's problems
 * in d and returns false, and leaves dead nodes to `sweep` unless it says otherwise. */
#ifndef TFCC_PASSES_PRIVATE_H
#define TFCC_PASSES_PRIVATE_H

#include "passes/passes.h"

#define PASS(name, from, does) bool pass_##name(ir_module *m, ir_graph *g, const passes_options *o, diag *d);
#include "passes/passes.def"

/* ---- rewriting a graph front to back (rewrite.c) ------------------------------------------------ */

/* Nodes of `from` are visited in order and each gets its value in `to`, a graph that starts empty. So
 * operands are already in their final form when a node is looked at. */
typedef struct rewrite {
    ir_graph *from, *to;
    ir_value *map; /* value of from -> value of to */
} rewrite;

void rewrite_begin(rewrite *r, ir_graph *g, arena *scratch);
ir_value rewrite_copy(rewrite *r, ir_value v); /* v as it is, on the new operands; sets map[v] */
void rewrite_end(rewrite *r);                  /* g becomes `to` */
/* The whole of it where nodes are replaced one by one: those that `wants` by what `build` makes of them, the rest as they are. */
void rewrite_where(ir_graph *g, bool (*wants)(const ir_graph *g, const ir_node *n),
                   ir_value (*build)(rewrite *r, const ir_node *n, arena *scratch));

/* Moves what products of a scan's body multiply by in every step out of it, in panels of `width` columns (panels.c). body: of
 * its copy; `around` has the scan's operands mapped. Returns how many operands the scan gets, into out_panels, which has
 * room for one per node of the body. */
int passes_hoist_panels(rewrite *around, const ir_node *scan, ir_graph *body, int width, arena *scratch,
                        ir_value *out_panels);

/* ---- small questions (rewrite.c) ------------------------------------------------------------------ */

bool passes_is_splat(const ir_node *n);                     /* a constant stored as one element */
bool passes_is_view(const ir_node *n);                      /* reshape or get: the operand's bytes */
int64_t passes_elements(const ir_type *t, ir_unit *out_batch); /* of the shape; INT64_MAX when not countable */

/* What v is the softmax of: exp(x - maximum) / sum, as written; the dims that it goes over as a bit set. Else IR_NONE. */
ir_value passes_softmax_of(const ir_graph *g, ir_value v, unsigned *out_dims); /* softmax.c */

/* As passes_gradient, but operations without a gradient become errors in d. */
bool gradient_build(ir_graph *g, ir_value loss, int count, const ir_value *of, ir_value *out_gradient,
                    diag *d);

#endif
