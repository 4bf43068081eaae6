/* op.c: the tables of operations, attributes and the small enums, with their names. */
#include "ir/ir.h"

#include <string.h>

typedef struct op_row {
    const char *name, *attrs;
    ir_class op_class;
    int arity;
    ir_precision precision;
} op_row;

enum { ANY = -1 };

static const op_row op_rows[OP_COUNT] = {
#define OP(name, class, in, shape, attrs, grad, prec, cpu)                                         \
    [OP_##name] = {#name, attrs, CLASS_##class, in, PRECISION_##prec},
#include "ir/ops.def"
};

typedef struct attr_row {
    const char *name;
    ir_attr_kind kind;
} attr_row;

static const attr_row attr_rows[ATTR_COUNT] = {
#define ATTR(name, kind) [ATTR_##name] = {#name, ATTR_##kind},
#include "ir/attrs.def"
};

static const char *const kernel_kind_names[] = {"loop", "row",         "reduce",
                                                "dot",  "convolution", "nest"};
static const char *const space_names[] = {"none",  "fixed",  "batch",   "variable",
                                          "input", "output", "constant"};
static const char *const role_names[] = {"weight", "seed", "optimizer", "metric", "gradient"};

const char *ir_op_name(ir_op op) { return op_rows[op].name; }
ir_class ir_op_class(ir_op op) { return op_rows[op].op_class; }
int ir_op_arity(ir_op op) { return op_rows[op].arity; }
ir_precision ir_op_precision(ir_op op) { return op_rows[op].precision; }

bool ir_op_find(const char *name, ir_op *out_op)
{
    for (int i = 0; i < OP_COUNT; i++) {
        if (strcmp(op_rows[i].name, name) == 0) {
            *out_op = (ir_op)i;
            return true;
        }
    }
    return false;
}

bool ir_op_has_attr(ir_op op, int attr, bool *out_required)
{
    if (attr < 0 || attr >= ATTR_COUNT) return false;
    const char *name = attr_rows[attr].name;
    size_t length = strlen(name);
    for (const char *p = op_rows[op].attrs; *p;) {
        bool optional = *p == '?';
        p += optional;
        size_t word = strcspn(p, " ");
        if (word == length && memcmp(p, name, length) == 0) {
            if (out_required) *out_required = !optional;
            return true;
        }
        p += word;
        p += strspn(p, " ");
    }
    return false;
}

const char *ir_attr_name_text(ir_attr_name name) { return attr_rows[name].name; }
ir_attr_kind ir_attr_kind_of(ir_attr_name name) { return attr_rows[name].kind; }
const char *ir_kernel_kind_name(ir_kernel_kind kind) { return kernel_kind_names[kind]; }
const char *ir_space_name(ir_space space) { return space_names[space]; }
const char *ir_role_name(ir_role role) { return role_names[role]; }
