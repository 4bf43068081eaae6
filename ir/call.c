/* call.c: the table of targets of custom_call, and how such nodes are built and read. */
#include "ir/ir.h"

#include <string.h>

static const struct {
    const char *name;
    int arity;
} call_rows[CALL_COUNT] = {
#define CALL(name, operands, ...) [CALL_##name] = {#name, operands},
#include "ir/calls.def"
};

const char *ir_call_name(ir_call call) { return call_rows[call].name; }
int ir_call_arity(ir_call call) { return call_rows[call].arity; }

bool ir_call_find(const char *name, ir_call *out_call)
{
    for (int i = 0; i < CALL_COUNT; i++) {
        if (strcmp(call_rows[i].name, name) != 0) continue;
        *out_call = (ir_call)i;
        return true;
    }
    return false;
}

ir_value ir_build_call(ir_graph *g, ir_call_sizes s, const ir_value *in)
{
    ir_attr attr[4] = {{.name = ATTR_target, .text = ir_call_name(s.call)}};
    const bool set[] = {s.lower, s.transpose, s.full};
    static const ir_attr_name name[] = {ATTR_lower, ATTR_transpose, ATTR_full};
    int count = 1;
    for (int i = 0; i < 3; i++) {
        if (set[i]) attr[count++] = (ir_attr){.name = name[i], .i = 1};
    }
    return ir_build(g, OP_custom_call, ir_call_arity(s.call), in, count, attr, NULL);
}

ir_call_sizes ir_call_sizes_of(const ir_graph *g, const ir_node *n)
{
    const ir_type *a = ir_type_of(g, n->in[0]), *b = n->in_count > 1 ? ir_type_of(g, n->in[1]) : NULL;
    ir_call_sizes s = {.m = a->dim[a->rank - 2].count,
                       .n = a->dim[a->rank - 1].count,
                       .k = b ? b->dim[b->rank - 1].count : 0,
                       .lower = ir_attr_int(n, ATTR_lower, 0) != 0,
                       .transpose = ir_attr_int(n, ATTR_transpose, 0) != 0,
                       .full = ir_attr_int(n, ATTR_full, 0) != 0};
    bug_if(!ir_call_find(ir_attr_text(n, ATTR_target), &s.call), "a custom_call without a target");
    return s;
}

int64_t ir_call_scratch(const ir_call_sizes *s)
{
    const int64_t m = s->m, n = s->n, k = s->k;
    const int64_t scratch[CALL_COUNT] = {
#define CALL(name, operands, scratch) [CALL_##name] = scratch,
#include "ir/calls.def"
    };
    (void)m, (void)k;
    return scratch[s->call];
}
