/* plan_apart.c: scans whose rows of the batch need nothing of each other, so that some of the rows may go through all turns before
 * others begin (attribute `apart`). Each operation of such a body makes row i of its result of rows i of its operands and of
 * what has no rows, and what one row's values lie over is never another row's. */
#include "passes/plan_memory.h"

#include <string.h>

/* What a value of a body is: the same for all rows, or a row of its own for each along dim 0, or anything else. */
typedef enum row_kind { ROWS_NONE, ROWS_FIRST, ROWS_OTHER } row_kind;

static row_kind kind_of(const ir_type *t)
{
    if (t->rank < 0) return ROWS_OTHER;
    for (int i = 0; i < t->rank; i++) {
        if (!t->dim[i].batch) continue;
        if (i > 0 || !ir_dim_equal(t->dim[0], ir_batch(1))) return ROWS_OTHER;
    }
    return t->rank > 0 && t->dim[0].batch ? ROWS_FIRST : ROWS_NONE;
}

/* True when row i of the result, which has rows, is made of rows i. A result with dim 0 = N leaves most operations no other way;
 * those that take long in each turn gain nothing from going alone and are not looked at. */
static bool keeps_rows(const ir_node *n)
{
    if (ir_op_class(n->op) == CLASS_MAP) return true;
    switch ((int)n->op) {
    case OP_parameter:
    case OP_broadcast_in_dim:
    case OP_reshape:
    case OP_transpose:
    case OP_slice:
    case OP_concatenate:
    case OP_dot_general:
    case OP_reduce:
        return true;
    case OP_iota:
        return ir_attr_int(n, ATTR_dimension, 0) != 0;
    case OP_reverse:
        return !ir_attr_lists(n, ATTR_dimensions, 0);
    case OP_pad:
        return ir_attr_ints(n, ATTR_low, NULL)[0] == 0 && ir_attr_ints(n, ATTR_high, NULL)[0] == 0;
    default:
        return false;
    }
}

static bool is_row_by_row(const ir_graph *body, ir_value v)
{
    const ir_node *n = &body->node[v];
    const row_kind kind = kind_of(&n->type);
    if (kind == ROWS_FIRST) return keeps_rows(n);
    for (int i = 0; i < n->in_count; i++)
        if (kind_of(&body->node[n->in[i]].type) != ROWS_NONE) return false;
    return kind == ROWS_NONE;
}

bool plan_rows_are_apart(const ir_node *scan)
{
    const ir_graph *body = ir_attr_find(scan, ATTR_body)->graph;
    if (ir_attr_int(scan, ATTR_by_rows, 0)) return false;
    for (size_t v = 0; v < body->count; v++)
        if (!is_row_by_row(body, (ir_value)v)) return false;
    for (size_t k = 0; k < body->kernel_count; k++)
        for (int i = 0; i < body->kernel[k].root_count; i++)
            if (kind_of(&body->node[body->kernel[k].root[i]].type) != ROWS_FIRST) return false;
    return body->kernel_count > 0;
}

/* ---- memory --------------------------------------------------------------------------------------------- */

/* Where a value's rows lie in one of the slabs that grow: from `start` on, `size` bytes per row in all turns. */
typedef struct region {
    int ragged;
    int64_t start, size, row;
    bool sliced, written;
} region;

typedef struct regions {
    arena *scratch;
    region *item;
    size_t count, capacity;
} regions;

static void add_region(regions *to, const ir_graph *g, const ir_node *scan, ir_value v, bool written)
{
    const ir_graph *body = ir_attr_find(scan, ATTR_body)->graph;
    v = plan_base(body, v);
    const ir_type *t = &body->node[v].type;
    const ir_place place = body->place[v];
    ir_unit unit;
    if (place.space != SPACE_batch) return;
    region r = {.ragged = place.ragged, .start = place.offset, .written = written};
    r.row = passes_elements(t, &unit) * (int64_t)ir_dtype_size(t->dtype);
    r.sliced = ir_scan_slices(g, scan, v);
    r.size = r.row * (r.sliced && !ir_scan_unit(scan) ? ir_attr_int(scan, ATTR_length, 0) : 1);
    arena_push(to->scratch, to->item, to->count, to->capacity, r);
}

/* Two values that share memory are written row over row. */
static bool fit(const region *a, const region *b)
{
    if (a->ragged != b->ragged || (!a->written && !b->written)) return true;
    if (a->start + a->size <= b->start || b->start + b->size <= a->start) return true;
    return a->start == b->start && a->row == b->row && a->sliced == b->sliced;
}

static bool is_memory_apart(const plan *p, const ir_node *scan)
{
    const ir_graph *body = ir_attr_find(scan, ATTR_body)->graph;
    regions all = {.scratch = p->scratch};
    for (size_t k = 0; k < body->kernel_count; k++) {
        const ir_kernel *kernel = &body->kernel[k];
        for (int i = 0; i < kernel->read_count; i++) add_region(&all, p->g, scan, kernel->read[i], false);
        for (int i = 0; i < kernel->root_count; i++) {
            if (body->place[plan_base(body, kernel->root[i])].space != SPACE_batch) return false;
            add_region(&all, p->g, scan, kernel->root[i], true);
        }
    }
    for (size_t i = 0; i < all.count; i++)
        for (size_t j = 0; j < i; j++)
            if (!fit(&all.item[i], &all.item[j])) return false;
    return true;
}

static void add_mark(ir_graph *g, ir_node *n)
{
    ir_attr *attr = arena_array(g->arena, ir_attr, (size_t)n->attr_count + 1);
    int at = 0;
    while (at < n->attr_count && n->attr[at].name < ATTR_apart) at++;
    memcpy(attr, n->attr, (size_t)at * sizeof *attr);
    attr[at] = (ir_attr){.name = ATTR_apart, .i = 1};
    memcpy(attr + at + 1, n->attr + at, (size_t)(n->attr_count - at) * sizeof *attr);
    n->attr = attr;
    n->attr_count++;
}

void plan_mark_apart(const plan *p)
{
    for (size_t k = 0; k < p->g->kernel_count; k++) {
        if (!p->inner[k] || !p->inner[k]->apart) continue;
        ir_node *scan = &p->g->node[p->g->kernel[k].main];
        if (!ir_attr_find(scan, ATTR_apart) && is_memory_apart(p, scan)) add_mark(p->g, scan);
    }
}
