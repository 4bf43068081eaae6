/* panels.c: what a loop multiplies by again and again is packed once, before the loop. A product of a scan's body whose
 * right operand is the same in every step reads it from panels, [columns / w, contracted, w] with zeros behind the last
 * column, as the target's register tile wants them; the scan gets them as one more operand. Computations that
 * only the operand needs (slices, transposes, maps of weights) move out with it. For f32: shorter types are widened, or
 * paired, as they are packed. */
#include "passes/passes_private.h"

enum { LEAST_TERMS = 8 }; /* shorter sums do not earn a value in memory */

typedef struct hoist {
    rewrite *around; /* the graph of the scan, with its operands mapped */
    const ir_node *scan;
    const ir_graph *body;
    bool *fixed;     /* per value of the body: the same in every step */
    ir_value *outer; /* per value of the body: its copy around the scan, or IR_NONE */
} hoist;

static bool has_open_dim(const ir_type *t)
{
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i].batch) return true;
    return t->rank < 0;
}

static bool is_fixed(const hoist *h, ir_value v)
{
    const ir_node *n = &h->body->node[v];
    const ir_class class = ir_op_class(n->op);
    if (has_open_dim(&n->type)) return false;
    if (n->op == OP_parameter) {
        const int i = (int)ir_attr_int(n, ATTR_index, 0);
        const ir_value in = h->scan->in[i];
        return i >= ir_attr_int(h->scan, ATTR_carried, 0) &&
               !ir_scan_is_sliced(h->scan, ir_type_of(h->around->from, in), &n->type);
    }
    if (n->op == OP_constant) return true;
    if (class != CLASS_MAP && class != CLASS_MOVE && n->op != OP_reshape) return false;
    bool all = n->in_count > 0;
    for (int i = 0; i < n->in_count; i++) all = all && h->fixed[n->in[i]];
    return all;
}

/* A plain product of f32 matrices whose right one alone is fixed. */
static bool is_hoisted(const hoist *h, const ir_node *n)
{
    int count, batch;
    if (n->op != OP_dot_general || ir_attr_find(n, ATTR_splits) || ir_attr_find(n, ATTR_panels)) return false;
    const ir_type *b = ir_type_of(h->body, n->in[1]);
    ir_attr_ints(n, ATTR_lhs_batch, &batch);
    const int64_t *contracted = ir_attr_ints(n, ATTR_rhs_contracting, &count);
    return n->type.dtype == DTYPE_f32 && batch == 0 && count == 1 && b->rank == 2 && h->fixed[n->in[1]] &&
           !h->fixed[n->in[0]] && b->dim[contracted[0]].count >= LEAST_TERMS;
}

/* The body's value v, computed around the scan. */
static ir_value move_out(hoist *h, ir_value v)
{
    const ir_node *n = &h->body->node[v];
    if (h->outer[v] != IR_NONE) return h->outer[v];
    if (n->op == OP_parameter) return h->outer[v] = h->around->map[h->scan->in[ir_attr_int(n, ATTR_index, 0)]];
    for (int i = 0; i < n->in_count; i++) move_out(h, n->in[i]);
    return h->outer[v] = ir_graph_copy_node(h->around->to, h->body, v, h->outer);
}

/* Panels of `width` columns of matrix x, whose dim `contracted` is summed over. */
static ir_value build_panels(ir_graph *g, ir_value x, int contracted, int64_t width)
{
    const int64_t columns = ir_type_of(g, x)->dim[1 - contracted].count, count = base_ceil_div(columns, width);
    const ir_dim terms = ir_type_of(g, x)->dim[contracted], panels = ir_fixed(count), inner = ir_fixed(width);
    if (count * width > columns) {
        const int64_t none[2] = {0, 0};
        int64_t high[2] = {0, 0};
        high[1 - contracted] = count * width - columns;
        x = ir_build_pad(g, x, ir_build_scalar(g, DTYPE_f32, 0), none, high, none);
    }
    const ir_dim by_row[] = {terms, panels, inner}, by_column[] = {panels, inner, terms};
    const int64_t from_rows[] = {1, 0, 2}, from_columns[] = {0, 2, 1};
    x = ir_build_reshape(g, x, 3, contracted == 0 ? by_row : by_column);
    return ir_build_transpose(g, x, contracted == 0 ? from_rows : from_columns);
}

/* The product with panels, which are operand number `operand` of the scan. */
static ir_value build_product(ir_graph *g, const ir_node *n, ir_value left, int operand, const ir_type *panels,
                              int64_t columns)
{
    const int64_t one = 1;
    const ir_attr index = {.name = ATTR_index, .i = operand};
    ir_attr attr[IR_MAX_RANK];
    int count = 0;
    for (int i = 0; i < n->attr_count; i++) {
        attr[count] = n->attr[i];
        if (attr[count].name == ATTR_rhs_contracting) attr[count].ints.item = &one;
        count++;
    }
    attr[count++] = (ir_attr){.name = ATTR_panels, .i = columns};
    const ir_value in[] = {left, ir_build(g, OP_parameter, 0, NULL, 1, &index, panels)};
    return ir_build(g, OP_dot_general, 2, in, count, attr, NULL);
}

int passes_hoist_panels(rewrite *around, const ir_node *scan, ir_graph *body, int width, arena *scratch,
                        ir_value *out_panels)
{
    hoist h = {.around = around, .scan = scan, .body = body};
    rewrite r;
    int made = 0;
    h.fixed = arena_array(scratch, bool, body->count + 1);
    h.outer = arena_array(scratch, ir_value, body->count + 1);
    rewrite_begin(&r, body, scratch);
    for (ir_value v = 0; v < (ir_value)body->count; v++) {
        const ir_node n = body->node[v];
        h.outer[v] = IR_NONE;
        h.fixed[v] = is_fixed(&h, v);
        if (!is_hoisted(&h, &n)) {
            rewrite_copy(&r, v);
            continue;
        }
        int count;
        const int contracted = (int)ir_attr_ints(&n, ATTR_rhs_contracting, &count)[0];
        around->to->origin = r.to->origin = n.origin;
        out_panels[made] = build_panels(around->to, move_out(&h, n.in[1]), contracted, width);
        const ir_type panels = *ir_type_of(around->to, out_panels[made]);
        const int64_t columns = ir_type_of(body, n.in[1])->dim[1 - contracted].count;
        r.map[v] = build_product(r.to, &n, r.map[n.in[0]], scan->in_count + made, &panels, columns);
        made++;
    }
    if (made > 0) rewrite_end(&r);
    return made;
}
