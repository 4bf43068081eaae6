/* plan_run.h: runs a planned graph as compiled code would: kernel after kernel, through simulated slabs at
 * the planned places, each root stored as soon as it is computed, those of a loop when all are. Slabs start with a pattern, so a value that
 * is read before it is written, or after its memory went to another, changes the result. For tests of passes.
 */
#ifndef TFCC_PLAN_RUN_H
#define TFCC_PLAN_RUN_H

#include "ir/ir.h"

#include <string.h>

typedef struct plan_run {
    const ir_graph *g;
    arena *arena;
    int64_t n;
    char *fixed, *batch;
    const ir_array *ports;
    ir_array *variables;
    ir_array *out;
    bool *known; /* per value, in the root being computed */
    ir_array *value;
    const ir_kernel *kernel;
    size_t kernel_number;
    int problems;
    const ir_graph *around; /* of a body: the graph that its scan stands in */
    const ir_node *scan;
    int64_t turn;
} plan_run;

static inline ir_type plan_type_at(const ir_type *t, int64_t n)
{
    ir_type at = *t;
    for (int i = 0; i < at.rank; i++)
        if (at.dim[i].batch) at.dim[i] = ir_fixed(at.dim[i].count * n);
    return at;
}

static inline size_t plan_bytes(const ir_type *t, int64_t n)
{
    return (size_t)ir_type_elements_at(t, n) * ir_dtype_size(t->dtype);
}

/* In a body: each turn has a slice of v of its own. */
static inline bool plan_is_sliced(const plan_run *r, ir_value v)
{
    while (r->g->node[v].op == OP_reshape) v = r->g->node[v].in[0];
    const int64_t carried = ir_attr_int(r->scan, ATTR_carried, 0), index = ir_attr_int(&r->g->node[v], ATTR_index, 0);
    const ir_type *t = &r->g->node[v].type;
    if (r->g->node[v].op == OP_parameter)
        return index >= carried && t->rank < ir_type_of(r->around, r->scan->in[index])->rank;
    for (size_t i = (size_t)carried; i < r->g->output_count; i++) {
        ir_value output = r->g->output[i].value;
        while (r->g->node[output].op == OP_reshape) output = r->g->node[output].in[0];
        if (output == v) return true;
    }
    return false;
}

static inline void *plan_address(const plan_run *r, ir_value v)
{
    const ir_place p = r->g->place[v];
    const int64_t moved =
        r->scan && plan_is_sliced(r, v) ? r->turn * (int64_t)plan_bytes(ir_type_of(r->g, v), r->n) : 0;
    switch (p.space) {
    case SPACE_none:
        return NULL;
    case SPACE_fixed:
        return r->fixed + p.offset + moved;
    case SPACE_batch:
        return r->batch + p.offset * r->n + moved;
    case SPACE_variable:
        return (char *)r->variables[p.offset].data + moved;
    case SPACE_input:
        return (char *)r->ports[p.offset].data + moved;
    case SPACE_output:
        return (char *)r->out[p.offset].data + moved;
    case SPACE_constant:
        return (char *)r->g->module->constants + p.offset + moved;
    }
    return NULL;
}

static inline bool plan_reads(const ir_kernel *k, ir_value v)
{
    for (int i = 0; i < k->read_count; i++)
        if (k->read[i] == v) return true;
    return false;
}

static inline bool plan_is_own_root(const ir_kernel *k, ir_value v)
{
    for (int i = 0; i < k->root_count; i++)
        if (k->root[i] == v) return true;
    return false;
}

/* A value of the kernel: loaded if it is one of its reads or earlier roots, else computed. */
static inline ir_array plan_value(plan_run *r, ir_value v, ir_value root)
{
    if (r->known[v]) return r->value[v];
    const ir_node *n = ir_node_of(r->g, v);
    ir_array x = {plan_type_at(&n->type, r->n), NULL};
    const bool own = v != root && r->kernel->kind != KERNEL_loop && plan_is_own_root(r->kernel, v) && v < root;
    if (plan_reads(r->kernel, v) || own) {
        const void *from = plan_address(r, v);
        if (!from) {
            r->problems++;
            printf("graph %s, kernel %zu: %%%d has no place\n", r->g->name, r->kernel_number, v);
        }
        const bool stays = r->g->place[v].space == SPACE_constant; /* strings are addresses in constants */
        x.data = stays ? (void *)(uintptr_t)from : arena_copy(r->arena, from, from ? plan_bytes(&x.type, 1) : 0);
    } else {
        const bool shape_only = n->op == OP_dimension_size;
        const bool source = n->op == OP_parameter || n->op == OP_variable;
        if (source) {
            r->problems++;
            printf("graph %s, kernel %zu: reads %%%d, which is not listed\n", r->g->name, r->kernel_number,
                   v);
        }
        ir_array *in = arena_array(r->arena, ir_array, (size_t)n->in_count + 1);
        for (int i = 0; i < n->in_count; i++)
            in[i] = shape_only ? (ir_array){plan_type_at(ir_type_of(r->g, n->in[i]), r->n), NULL}
                               : plan_value(r, n->in[i], root);
        x = ir_interpret_node(r->g, v, r->arena, r->n, in);
    }
    r->known[v] = true;
    r->value[v] = x;
    return x;
}

/* The elements of a tuple lie one after another, each a multiple of 64 bytes, per row in the batch slab. */
static inline void plan_store_tuple(const plan_run *r, ir_value v, const ir_array *element)
{
    const ir_type *t = ir_type_of(r->g, v);
    char *to = plan_address(r, v);
    const bool batch = r->g->place[v].space == SPACE_batch;
    for (int i = 0; i < t->element_count; i++) {
        ir_dim count;
        const ir_type at = plan_type_at(&t->element[i], r->n);
        ir_type_elements(&t->element[i], &count);
        memcpy(to, element[i].data, plan_bytes(&at, 1));
        const int64_t size = count.count * (int64_t)ir_dtype_size(at.dtype);
        to += (size + 63) / 64 * 64 * (batch ? r->n : 1);
    }
}

static inline void plan_run_kernel(plan_run *r, const ir_kernel *k);

static inline void plan_run_scan(plan_run *r, const ir_node *scan)
{
    const arena_mark mark = arena_save(r->arena);
    const int64_t length = ir_attr_int(scan, ATTR_length, 0) * (ir_attr_int(scan, ATTR_by_rows, 0) ? r->n : 1);
    plan_run body = *r;
    body.g = ir_attr_find(scan, ATTR_body)->graph;
    body.around = r->g;
    body.scan = scan;
    body.known = arena_array(r->arena, bool, body.g->count + 1);
    body.value = arena_array(r->arena, ir_array, body.g->count + 1);
    for (int64_t k = 0; k < length; k++) {
        body.turn = ir_attr_int(scan, ATTR_reverse, 0) ? length - 1 - k : k;
        for (size_t i = 0; i < body.g->kernel_count; i++) plan_run_kernel(&body, &body.g->kernel[i]);
    }
    r->problems = body.problems;
    arena_release(r->arena, mark);
}

static inline void plan_store_root(plan_run *r, ir_value root, const ir_array *x)
{
    void *to = plan_address(r, root);
    if (!to) {
        r->problems++;
        printf("graph %s, kernel %zu: root %%%d has no place\n", r->g->name, r->kernel_number, root);
    } else if (x->type.rank < 0) {
        plan_store_tuple(r, root, x->data);
    } else {
        memcpy(to, x->data, plan_bytes(&x->type, 1));
    }
}

static inline void plan_run_kernel(plan_run *r, const ir_kernel *k)
{
    r->kernel = k;
    if (k->main != IR_NONE && ir_node_of(r->g, k->main)->op == OP_scan) {
        plan_run_scan(r, ir_node_of(r->g, k->main));
        return;
    }
    const arena_mark mark = arena_save(r->arena);
    ir_array *x = arena_array(r->arena, ir_array, (size_t)k->root_count + 1);
    const bool together = k->kind == KERNEL_loop;
    memset(r->known, 0, r->g->count);
    for (int i = 0; together && i < k->root_count; i++) x[i] = plan_value(r, k->root[i], k->root[i]);
    for (int i = 0; i < k->root_count; i++) {
        if (!together) {
            memset(r->known, 0, r->g->count);
            x[i] = plan_value(r, k->root[i], k->root[i]);
        }
        plan_store_root(r, k->root[i], &x[i]);
    }
    arena_release(r->arena, mark);
}

/* As ir_interpret, but by kernels. Returns how many problems were printed. */
static inline int plan_interpret(const ir_graph *g, arena *a, int64_t n, const ir_array *ports,
                                 ir_array *variables, ir_array *out)
{
    plan_run r = {.g = g, .arena = a, .n = n, .ports = ports, .variables = variables, .out = out};
    r.fixed = arena_alloc(a, (size_t)g->fixed_bytes + 64);
    r.batch = arena_alloc(a, (size_t)(g->batch_bytes * n) + 64);
    memset(r.fixed, 0xa5, (size_t)g->fixed_bytes);
    memset(r.batch, 0xa5, (size_t)(g->batch_bytes * n));
    r.known = arena_array(a, bool, g->count + 1);
    r.value = arena_array(a, ir_array, g->count + 1);
    for (size_t i = 0; i < g->output_count; i++) {
        out[i].type = plan_type_at(ir_type_of(g, g->output[i].value), n);
        out[i].data = arena_alloc(a, plan_bytes(&out[i].type, 1) + 8);
    }
    for (r.kernel_number = 0; r.kernel_number < g->kernel_count; r.kernel_number++)
        plan_run_kernel(&r, &g->kernel[r.kernel_number]);
    return r.problems;
}

#endif
