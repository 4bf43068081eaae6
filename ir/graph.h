/* graph.h: what the files of ir/ share about nodes and keep from everybody else. */
#ifndef TFCC_IR_GRAPH_H
#define TFCC_IR_GRAPH_H

#include "ir/ir.h"

/* Appends a node of a type already inferred; copies operands and attributes into the arena of g and
 * puts the attributes in order. Bodies are shared, not copied. */
ir_value ir_graph_append(ir_graph *g, ir_op op, int in_count, const ir_value *in, int attr_count,
                         const ir_attr *attr, const ir_type *type);
/* True when text can be printed as a name without quotes. */
bool ir_is_identifier(const char *name);
bool ir_graph_is_body(const ir_graph *g); /* not one of its module's own graphs */
void ir_graph_add_gradient(ir_graph *g, int variable, ir_value v);

/* One element as text that reads back to the same bits, and back. ir_element_read: false when the
 * text is no element of that type; `bytes` has room for 8. */
void ir_element_print(ir_dtype dtype, const void *bytes, text *to);
bool ir_element_read(ir_dtype dtype, const char *word, void *bytes);
void ir_double_print(double value, text *to); /* shortest that reads back */

static inline ir_attr ir_attr_of_int(ir_attr_name name, int64_t i)
{
    return (ir_attr){.name = name, .i = i};
}
static inline ir_attr ir_attr_of_ints(ir_attr_name name, int count, const int64_t *item)
{
    return (ir_attr){.name = name, .ints = {count, item}};
}
static inline ir_attr ir_attr_of_text(ir_attr_name name, const char *word)
{
    return (ir_attr){.name = name, .text = word};
}

#endif
