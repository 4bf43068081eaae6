/* gradient_join.c: a value that is cut into slices gets its gradient as a sum of their gradients, each padded
 * with zeros to the whole. Where the slices cover it side by side, the sum is a concatenation. */
#include "passes/gradient.h"

enum { MOST_PARTS = 32 };

typedef struct part {
    ir_value value;
    int64_t low, size;
} part;

typedef struct parts {
    const ir_graph *g;
    part item[MOST_PARTS];
    int count, dimension;
} parts;

/* The dim along which n pads, with zeros and on the outside only; -1: it does not do that. */
static int padded_dim(const ir_graph *g, const ir_node *n)
{
    const int64_t *low = ir_attr_ints(n, ATTR_low, NULL), *high = ir_attr_ints(n, ATTR_high, NULL);
    const int64_t *interior = ir_attr_ints(n, ATTR_interior, NULL);
    double filler;
    int found = -1;
    if (!ir_is_filled(g, n->in[1], &filler) || filler != 0) return -1;
    for (int i = 0; i < n->type.rank; i++) {
        if (low[i] < 0 || high[i] < 0 || interior[i] != 0) return -1;
        if (low[i] == 0 && high[i] == 0) continue;
        if (found >= 0) return -1;
        found = i;
    }
    return found;
}

static bool insert_part(parts *p, const ir_node *n)
{
    const int d = padded_dim(p->g, n);
    if (d < 0 || (p->count > 0 && d != p->dimension) || p->count == MOST_PARTS) return false;
    const part made = {n->in[0], ir_attr_ints(n, ATTR_low, NULL)[d],
                       ir_type_of(p->g, n->in[0])->dim[d].count};
    int at = p->count++;
    for (; at > 0 && p->item[at - 1].low > made.low; at--) p->item[at] = p->item[at - 1];
    p->item[at] = made;
    p->dimension = d;
    return true;
}

/* The left operand of a sum holds what was added before. */
static bool find_parts(parts *p, ir_value v)
{
    const ir_node *n = &p->g->node[v];
    for (; n->op == OP_add; n = &p->g->node[n->in[0]])
        if (p->g->node[n->in[1]].op != OP_pad || !insert_part(p, &p->g->node[n->in[1]])) return false;
    return n->op == OP_pad && insert_part(p, n);
}

ir_value gradient_join_pads(grad_ctx *c, ir_value sum)
{
    ir_graph *g = c->g;
    parts p = {.g = g};
    ir_value in[MOST_PARTS];
    int64_t end = 0;
    if (g->node[sum].op != OP_add || !find_parts(&p, sum)) return sum;
    for (int i = 0; i < p.count; i++) {
        if (p.item[i].low != end) return sum;
        end += p.item[i].size;
        in[i] = p.item[i].value;
    }
    return end == g->node[sum].type.dim[p.dimension].count ? ir_build_concatenate(g, p.count, in, p.dimension)
                                                           : sum;
}
