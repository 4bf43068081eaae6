/* plan_reuse.c: blocks of plan_memory.c that take over the memory of others: the states of scans, what is computed over a
 * dying operand, and the results of a scan's steps over an input of the steps. */
#include "passes/plan_memory.h"

#include <string.h>

/* What walk_index marks of the values below a root. */
enum { AT_INDEX = 1, AT_OTHER = 2 };

static void walk_index(const plan *p, ir_value root, uint8_t *mark)
{
    const ir_graph *g = p->g;
    memset(mark, 0, g->count);
    mark[root] = AT_INDEX;
    for (ir_value v = root; v >= 0; v--) {
        const ir_node *n = &g->node[v];
        if (!mark[v] || n->op == OP_dimension_size || (v != root && g->place[v].space != SPACE_none))
            continue;
        if (v != root && p->block_of[v] >= 0) continue;
        const bool map = ir_op_class(n->op) == CLASS_MAP;
        for (int i = 0; i < n->in_count; i++) mark[n->in[i]] |= map ? mark[v] : AT_OTHER;
    }
}

/* True when root i of a loop may lie where `block` lies: the loop reads it at its own index only, and no
 * later root reads it. Views count as what they show. */
static bool can_write_over(const plan *p, const ir_kernel *k, int root, int over, uint8_t *mark)
{
    for (int i = 0; i < k->root_count; i++) {
        walk_index(p, k->root[i], mark);
        for (int j = 0; j < k->read_count; j++) {
            const ir_value read = k->read[j];
            if (plan_block(p, read) != over || !mark[read]) continue;
            if ((mark[read] & AT_OTHER) || i > root) return false;
        }
    }
    return true;
}

/* The rows x columns of a row kernel: the operand of one of its reduces. */
static const ir_type *find_full(const ir_graph *g, const ir_kernel *k)
{
    for (int i = 0; i < k->root_count; i++)
        if (g->node[k->root[i]].op == OP_reduce) return ir_type_of(g, g->node[k->root[i]].in[0]);
    return NULL;
}

/* The same for a row: until its own pass ends, all roots read the block at the row and column being written. */
static bool can_write_row_over(const plan *p, const ir_kernel *k, int root, int over, uint8_t *mark)
{
    const ir_graph *g = p->g;
    const ir_type *full = find_full(g, k);
    if (!full || !ir_type_same_shape(&g->node[k->root[root]].type, full)) return false;
    bool *outside = arena_array(p->scratch, bool, g->count);
    ir_row_part *part = arena_array(p->scratch, ir_row_part, (size_t)k->root_count);
    int *pass = arena_array(p->scratch, int, (size_t)k->root_count);
    for (int j = 0; j < k->read_count; j++) outside[k->read[j]] = true;
    ir_row_passes(g, full, k->root_count, k->root, outside, p->scratch, part, pass);
    for (int i = 0; i < k->root_count; i++) {
        const ir_node *n = &g->node[k->root[i]];
        walk_index(p, part[i] == ROW_PART_fold ? n->in[0] : k->root[i], mark);
        for (int j = 0; j < k->read_count; j++) {
            const ir_value read = k->read[j];
            if (plan_block(p, read) != over || !mark[read]) continue;
            const bool own = mark[read] == AT_INDEX && ir_type_same_shape(&g->node[read].type, full);
            if (!own || part[i] == ROW_PART_scalar || pass[i] > pass[root]) return false;
        }
    }
    return true;
}

static bool is_written_over(const plan *p, int over)
{
    for (size_t i = 0; i < p->pool->count; i++)
        if (p->pool->blocks[i].reuses == over) return true;
    return false;
}

static void take_states(const plan *p, size_t k)
{
    const ir_node *n = plan_scan(p->g, &p->g->kernel[k]);
    const int first = p->block_of[p->g->kernel[k].main];
    for (int i = 0; i < (int)ir_attr_int(n, ATTR_carried, 0); i++) {
        const int start = plan_block(p, n->in[i]);
        bug_if(start < 0 || p->g->node[n->in[i]].op != OP_copy,
               "a state of a scan does not start in memory of its own");
        p->pool->blocks[first + i].reuses = start;
    }
}

void plan_take_states(const plan *p)
{
    for (size_t k = 0; k < p->g->kernel_count; k++)
        if (p->inner[k]) take_states(p, k);
}

/* ---- the results of a scan's steps over their inputs ---------------------------------------------------- */

static bool is_operand(const ir_graph *body, ir_value v, int operand)
{
    const ir_node *n = &body->node[v];
    return n->op == OP_parameter && ir_attr_int(n, ATTR_index, -1) == operand;
}

/* n is one of the parts of `part`'s shape that an array consists of. */
static bool is_part(const ir_node *n, const ir_type *part)
{
    const int last = part->rank - 1;
    return n->op == OP_slice && ir_type_same_shape(&n->type, part) && ir_attr_ints(n, ATTR_strides, NULL)[last] == 1 &&
           ir_attr_ints(n, ATTR_start, NULL)[last] % part->dim[last].count == 0;
}

/* True when a loop over `part` reads the operand by its parts at its own index only: it then knows all it needs of the element
 * that it writes in parts. */
static bool reads_own_parts(const plan *p, const ir_kernel *k, const ir_type *part, int operand, uint8_t *mark)
{
    const ir_graph *g = p->g;
    for (int i = 0; i < k->root_count; i++) {
        const ir_value root = k->root[i];
        memset(mark, 0, g->count);
        mark[root] = AT_INDEX;
        for (ir_value v = root; v >= 0; v--) {
            const ir_node *n = &g->node[v];
            const bool known = v != root && (g->place[v].space != SPACE_none || p->block_of[v] >= 0);
            if (!mark[v] || known || n->op == OP_dimension_size) continue;
            const bool own = ir_op_class(n->op) == CLASS_MAP || (v == root && ir_concatenate_part(g, n));
            for (int j = 0; j < n->in_count; j++) {
                mark[n->in[j]] |= own ? mark[v] : AT_OTHER;
                if (is_operand(g, n->in[j], operand) && (mark[v] != AT_INDEX || !is_part(n, part))) return false;
            }
        }
    }
    return true;
}

/* True when a step may write its result `out` over its slice of an operand: nothing reads that later. */
static bool can_write_slice_over(const plan *p, ir_value out, int operand, uint8_t *mark)
{
    const ir_graph *g = p->g;
    const ir_type *part = ir_concatenate_part(g, &g->node[out]);
    bool written = false;
    for (size_t k = 0; k < g->kernel_count; k++) {
        const ir_kernel *kernel = &g->kernel[k];
        bool writes = false, reads = false;
        for (int i = 0; i < kernel->root_count; i++) writes = writes || kernel->root[i] == out;
        for (int i = 0; i < kernel->read_count; i++)
            reads = reads || is_operand(g, plan_base(g, kernel->read[i]), operand);
        if (reads && written) return false;
        if (reads && writes &&
            (kernel->kind != KERNEL_loop || !part || !reads_own_parts(p, kernel, part, operand, mark)))
            return false;
        written = written || writes;
    }
    return written;
}

/* True when nobody but operand number i of the scan reads the block from then on. */
static bool is_last_reader(const plan *p, const ir_node *n, int i, int over, int end)
{
    for (int j = 0; j < n->in_count; j++)
        if (j != i && plan_block(p, n->in[j]) == over) return false;
    return p->pool->blocks[over].last == end && !is_written_over(p, over);
}

/* Step by step, a slice of the operand is read, and one of the result written in its place. */
static void reuse_slices(const plan *p, size_t k)
{
    const ir_node *n = plan_scan(p->g, &p->g->kernel[k]);
    const plan *inner = p->inner[k];
    const ir_graph *body = inner->g;
    const int first = p->block_of[p->g->kernel[k].main], carried = (int)ir_attr_int(n, ATTR_carried, 0);
    const int end = (k + 1 < p->g->kernel_count ? p->start[k + 1] : p->pool->time) - 1;
    block *blocks = p->pool->blocks;
    uint8_t *mark = arena_array(p->scratch, uint8_t, body->count);
    for (ir_value v = 0; v < (ir_value)body->count; v++) {
        const int i = (int)ir_attr_int(&body->node[v], ATTR_index, -1);
        if (i < carried || !is_operand(body, v, i)) continue;
        if (!ir_scan_is_sliced(n, ir_type_of(p->g, n->in[i]), ir_type_of(body, v))) continue;
        const int over = plan_block(p, n->in[i]);
        if (over < 0) continue;
        for (int o = carried; o < (int)body->output_count; o++) {
            const ir_value out = body->output[o].value;
            if (blocks[first + o].reuses >= 0 || !ir_type_equal(ir_type_of(body, out), ir_type_of(body, v))) continue;
            if (blocks[first + o].size != blocks[over].size || blocks[first + o].batch != blocks[over].batch) continue;
            if (is_last_reader(p, n, i, over, end) && can_write_slice_over(inner, out, i, mark)) blocks[first + o].reuses = over;
        }
    }
}

/* Loops are short chains over few values, so trying each read for each root is cheap. */
void plan_reuse_operands(const plan *p)
{
    const ir_graph *g = p->g;
    block *blocks = p->pool->blocks;
    uint8_t *mark = arena_array(p->scratch, uint8_t, g->count);
    for (size_t k = 0; k < g->kernel_count; k++) {
        const ir_kernel *kernel = &g->kernel[k];
        if (p->inner[k]) {
            plan_reuse_operands(p->inner[k]);
            reuse_slices(p, k);
        }
        if (kernel->kind != KERNEL_loop && kernel->kind != KERNEL_row) continue;
        for (int i = 0; i < kernel->root_count; i++) {
            const int own = p->block_of[kernel->root[i]];
            for (int j = 0; own >= 0 && j < kernel->read_count && blocks[own].reuses < 0; j++) {
                const int over = plan_block(p, kernel->read[j]);
                if (over < 0 || over == own || blocks[over].last != p->start[k]) continue;
                if (ir_dtype_size(blocks[over].dtype) != ir_dtype_size(blocks[own].dtype)) continue;
                if (blocks[over].size != blocks[own].size || blocks[over].batch != blocks[own].batch) continue;
                const bool row = kernel->kind == KERNEL_row;
                if (is_written_over(p, over)) continue;
                if ((row ? can_write_row_over : can_write_over)(p, kernel, i, over, mark)) blocks[own].reuses = over;
            }
        }
    }
}
