/* shape.h: what the shape rules share. A rule types one node from its operands, attributes and the
 * type that the builder stated; it trusts nothing, because the parser calls it on hostile text.
 * Before a rule runs, ir_infer has checked the operands' range and count, and that exactly the
 * attributes of the op's row are there. */
#ifndef TFCC_IR_SHAPE_H
#define TFCC_IR_SHAPE_H

#include "ir/ir.h"

typedef struct shape_call {
    const ir_graph *g;
    ir_node n;            /* op, operands, attributes; the rule fills in the type */
    const ir_type *given; /* may be NULL */
    const char *problem;
} shape_call;

/* Notes what is wrong; returns false. */
bool shape_problem(shape_call *c, const char *format, ...) BASE_PRINTF(2, 3);
const char *shape_show(const shape_call *c, const ir_type *t); /* text of a type, for problems */
const char *shape_show_dim(const shape_call *c, ir_dim d);
static inline const ir_type *shape_in(const shape_call *c, int i)
{
    return ir_type_of(c->g, c->n.in[i]);
}

bool shape_need_given(shape_call *c);                       /* a type is stated */
bool shape_need_same_dtype(shape_call *c, int i, int k);    /* operands i and k */
bool shape_need_integer(shape_call *c, int i, bool scalar); /* operand i */
bool shape_need_range(shape_call *c, const char *what, int64_t i, int64_t low,
                      int64_t high); /* low <= i < high */
bool shape_need_word(shape_call *c, ir_attr_name name,
                     const char *words); /* one of words "add multiply" */
/* An INTS attribute of exactly `count` items. */
bool shape_read_ints(shape_call *c, ir_attr_name name, int count, const int64_t **out_items);
/* An INTS attribute of distinct dims of `rank`, as a bit set; ascending when asked. */
enum shape_order { SHAPE_ANY_ORDER, SHAPE_ASCENDING };
bool shape_read_dims(shape_call *c, ir_attr_name name, int rank, enum shape_order order,
                     unsigned *out_set);
bool shape_push_dim(shape_call *c, ir_dim d); /* appends to the result's dims */
bool shape_push_splits(shape_call *c);        /* the leading dim of partial sums, if asked for */

/* One dim of a window that slides over padded, dilated elements. */
typedef struct shape_slide {
    int64_t window, stride, low, high, base_dilation, window_dilation;
} shape_slide;
bool shape_slide_dim(shape_call *c, ir_dim in, shape_slide s, ir_dim *out);

/* One rule per name in the shape column. */
#define OP(name, class, in, shape, ...) bool shape_rule_##shape(shape_call *c);
#include "ir/ops.def"

#endif
