/* gradient_scan_join.c: residuals that have the shape of one gate become the parts of one array as wide as what the step
 * reads for all its gates, x W of a recurrent layer. It can then be written over that (plan_reuse.c), and the gradients of
 * the gates over it. */
#include "passes/gradient_scan.h"

/* How many parts of `type` make the type of a sliced operand, 0: none do. */
static int count_parts(const scan_grad *s, const ir_type *type)
{
    const int last = type->rank - 1;
    for (int i = s->carried; i < s->n->in_count; i++) {
        if (!s->sliced[i]) continue;
        const ir_type *whole = ir_type_of(s->work, s->param[i]);
        if (whole->rank != type->rank || whole->dtype != type->dtype || whole->dim[last].batch) continue;
        const int64_t parts = whole->dim[last].count / base_max(type->dim[last].count, 1);
        ir_type joined = *type;
        joined.dim[last].count *= parts;
        if (parts > 1 && parts <= SCAN_GRAD_PARTS && ir_type_equal(&joined, whole)) return (int)parts;
    }
    return 0;
}

static bool is_part(const scan_grad *s, ir_value v)
{
    return s->residual[v] && ir_op_class(s->work->node[v].op) == CLASS_MAP;
}

/* The first residuals of one type that are enough. */
void scan_grad_join(scan_grad *s)
{
    for (ir_value first = 0; first < s->forward; first++) {
        if (!is_part(s, first)) continue;
        const ir_type *type = ir_type_of(s->work, first);
        const int wanted = type->rank > 1 && !type->dim[type->rank - 1].batch ? count_parts(s, type) : 0;
        int found = 0;
        for (ir_value v = first; v < s->forward && found < wanted; v++) {
            if (is_part(s, v) && ir_type_equal(type, ir_type_of(s->work, v))) s->joined[found++] = v;
        }
        if (wanted == 0 || found < wanted) continue;
        s->joined_count = found;
        return;
    }
}

int scan_grad_part(const scan_grad *s, ir_value v)
{
    for (int i = 0; i < s->joined_count; i++)
        if (s->joined[i] == v) return i;
    return -1;
}

ir_value scan_grad_join_parts(const scan_grad *s, ir_graph *g, const ir_value *map)
{
    ir_value part[SCAN_GRAD_PARTS];
    for (int i = 0; i < s->joined_count; i++) part[i] = map[s->joined[i]];
    return ir_build_concatenate(g, s->joined_count, part, ir_type_of(g, part[0])->rank - 1);
}

ir_value scan_grad_take_part(ir_graph *g, ir_value joined, int part, int64_t columns)
{
    return ir_build_slice_dim(g, joined, ir_type_of(g, joined)->rank - 1, part * columns, (part + 1) * columns);
}
