/* cse.c: of equal nodes (op, operands, attributes, type; x + y is y + x) the first stays, the others become it. Every
 * operation is a function of its operands, random words too, so equal nodes have equal values. `copy` is the
 * exception: it stands for memory of its own. Requires a graph without kernels; leaves dead nodes. */
#include "passes/passes_private.h"

#include <string.h>

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t size)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < size; i++) h = (h ^ b[i]) * 1099511628211u;
    return h;
}

static uint64_t hash_attr(uint64_t h, const ir_attr *a)
{
    h = hash_bytes(h, &a->name, sizeof a->name);
    switch (ir_attr_kind_of(a->name)) {
    case ATTR_INT:
        return hash_bytes(h, &a->i, sizeof a->i);
    case ATTR_INTS:
        return hash_bytes(h, a->ints.item, (size_t)a->ints.count * sizeof *a->ints.item);
    case ATTR_FLOAT:
        return hash_bytes(h, &a->f, sizeof a->f);
    case ATTR_TEXT:
        return hash_bytes(h, a->text, strlen(a->text));
    case ATTR_DATA:
        return hash_bytes(h, a->data.bytes, a->data.size);
    case ATTR_GRAPH:
        return hash_bytes(h, &a->graph, sizeof(void *));
    }
    return h;
}

static bool equal_bytes(const void *a, const void *b, size_t size)
{
    return size == 0 || memcmp(a, b, size) == 0;
}

static bool equal_attr(const ir_attr *a, const ir_attr *b)
{
    if (a->name != b->name) return false;
    switch (ir_attr_kind_of(a->name)) {
    case ATTR_INT:
        return a->i == b->i;
    case ATTR_INTS:
        return a->ints.count == b->ints.count &&
               equal_bytes(a->ints.item, b->ints.item, (size_t)a->ints.count * sizeof *a->ints.item);
    case ATTR_FLOAT:
        return equal_bytes(&a->f, &b->f, sizeof a->f);
    case ATTR_TEXT:
        return strcmp(a->text, b->text) == 0;
    case ATTR_DATA:
        return a->data.size == b->data.size && equal_bytes(a->data.bytes, b->data.bytes, a->data.size);
    case ATTR_GRAPH:
        return a->graph == b->graph;
    }
    return false;
}

/* Operands that may change places are compared in the order of their numbers. */
static bool is_swapped(const ir_node *n)
{
    return (n->op == OP_add || n->op == OP_multiply) && n->in[0] > n->in[1];
}

static uint64_t hash_node(const ir_node *n)
{
    uint64_t h = hash_bytes(14695981039346656037u, &n->op, sizeof n->op);
    const bool swapped = is_swapped(n);
    for (int i = 0; i < n->in_count; i++)
        h = hash_bytes(h, &n->in[swapped ? 1 - i : i], sizeof n->in[i]);
    for (int i = 0; i < n->attr_count; i++) h = hash_attr(h, &n->attr[i]);
    h = hash_bytes(h, &n->type.dtype, sizeof n->type.dtype);
    for (int i = 0; i < n->type.rank; i++)
        h = hash_bytes(h, &n->type.dim[i].count, sizeof n->type.dim[i].count);
    return h;
}

static bool equal_node(const ir_node *a, const ir_node *b)
{
    if (a->op != b->op || a->in_count != b->in_count || a->attr_count != b->attr_count) return false;
    const bool swapped = is_swapped(a) != is_swapped(b);
    for (int i = 0; i < a->in_count; i++)
        if (a->in[swapped ? 1 - i : i] != b->in[i]) return false;
    for (int i = 0; i < a->attr_count; i++)
        if (!equal_attr(&a->attr[i], &b->attr[i])) return false;
    return ir_type_equal(&a->type, &b->type);
}

bool pass_cse(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)m, (void)o, (void)d;
    arena scratch = {0};
    rewrite r;
    rewrite_begin(&r, g, &scratch);
    size_t slots = 16;
    while (slots < g->count * 2) slots *= 2;
    ir_value *slot = arena_array(&scratch, ir_value, slots); /* value + 1 of `to`; 0: free */
    for (size_t i = 0; i < g->count; i++) {
        ir_value v = rewrite_copy(&r, (ir_value)i);
        const ir_node *n = ir_node_of(r.to, v);
        if (n->op == OP_copy) continue;
        size_t at = (size_t)hash_node(n) & (slots - 1);
        while (slot[at] && !equal_node(ir_node_of(r.to, slot[at] - 1), n)) at = (at + 1) & (slots - 1);
        if (!slot[at])
            slot[at] = v + 1;
        else
            r.map[i] = slot[at] - 1;
    }
    rewrite_end(&r);
    arena_done(&scratch);
    return true;
}
