/* plan_memory.c: gives every value in memory its place. Requires kernels in execution order.
 *   sources    variables, ports; dense constants go to the module's constants, equal bytes once
 *   updates    the variable's own memory: fuse has made sure that nobody needs the old value any more
 *   outputs    the caller's buffer
 *   the rest   a block of one of the slabs, shared by values that are not alive at the same time
 * Views have the place of what they show. A block begins at a multiple of 64 bytes; in the batch slab all
 * sizes are per row of the batch, so that the block of a value lies at offset * N for every N.
 *
 * A scan has a block per element of its tuple. Its body is planned with it, in the same slabs: what the body
 * reads and its states and stacks lie where the graph around it has them (stacks and per-step inputs: where
 * their first slice is), and its own values are alive within one step. */
#include "passes/plan_memory.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

const ir_node *plan_scan(const ir_graph *g, const ir_kernel *k)
{
    const bool is_scan = k->main != IR_NONE && g->node[k->main].op == OP_scan;
    return is_scan ? &g->node[k->main] : NULL;
}

ir_value plan_base(const ir_graph *g, ir_value v)
{
    while (passes_is_view(&g->node[v])) v = g->node[v].in[0];
    return v;
}

int plan_block(const plan *p, ir_value v)
{
    while (passes_is_view(&p->g->node[v])) {
        const ir_node *n = &p->g->node[v];
        v = n->in[0];
        if (n->op == OP_get && p->g->node[v].op == OP_scan && p->block_of[v] >= 0)
            return p->block_of[v] + (int)ir_attr_int(n, ATTR_index, 0);
    }
    return p->block_of[v];
}

static int64_t align_up(int64_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

/* Bytes of a value, per row or value by out_batch. False when they cannot be counted. */
static bool count_bytes(const ir_type *t, int64_t *out_size, ir_unit *out_batch)
{
    const int64_t size = (int64_t)ir_dtype_size(t->dtype), most = INT64_MAX / 64 / size;
    const int64_t elements = passes_elements(t, out_batch);
    if (elements > most) return false;
    *out_size = elements * size;
    return true;
}

/* The elements of a tuple lie one after another, each aligned; in the batch slab when one grows with N (then
 * those that do not have room for N times what they need). */
static bool count_tuple_bytes(const ir_type *t, int element, int64_t *out_size, ir_unit *out_batch)
{
    int64_t total = 0;
    *out_batch = UNIT_one;
    for (int i = 0; i < element; i++) {
        int64_t size;
        ir_unit batch;
        if (!count_bytes(&t->element[i], &size, &batch) || total > INT64_MAX / 64 - size) return false;
        total += align_up(size);
        if (batch) *out_batch = batch;
    }
    *out_size = total;
    return true;
}

/* ---- sources ------------------------------------------------------------------------------------------- */

typedef struct constant_blob {
    text bytes;
    const void **item; /* data of what is in it already */
    size_t *offset, *size;
    size_t count;
} constant_blob;

static int64_t add_constant(constant_blob *b, arena *scratch, size_t most, const ir_attr *data)
{
    if (!b->item) {
        b->item = arena_array(scratch, const void *, most);
        b->offset = arena_array(scratch, size_t, most);
        b->size = arena_array(scratch, size_t, most);
    }
    for (size_t i = 0; i < b->count; i++)
        if (b->size[i] == data->data.size && memcmp(b->item[i], data->data.bytes, data->data.size) == 0)
            return (int64_t)b->offset[i];
    static const char zeros[ALIGNMENT];
    text_put(&b->bytes, zeros, (size_t)align_up((int64_t)b->bytes.length) - b->bytes.length);
    b->item[b->count] = data->data.bytes;
    b->size[b->count] = data->data.size;
    b->offset[b->count] = b->bytes.length;
    text_put(&b->bytes, data->data.bytes, data->data.size);
    return (int64_t)b->offset[b->count++];
}

/* Constants are added behind those of the graphs planned before. */
static void place_constants(const plan *p)
{
    ir_graph *g = p->g;
    constant_blob blob = {0};
    text_put(&blob.bytes, p->m->constants, p->m->constants_size);
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *n = &g->node[v];
        if (n->op != OP_constant || passes_is_splat(n)) continue;
        g->place[v] =
            (ir_place){SPACE_constant, add_constant(&blob, p->scratch, g->count, ir_attr_find(n, ATTR_data)), 0};
    }
    if (blob.count > 0) {
        p->m->constants = arena_copy(p->m->arena, blob.bytes.data, blob.bytes.length);
        p->m->constants_size = blob.bytes.length;
    }
    text_done(&blob.bytes);
}

static void place_sources(const plan *p)
{
    ir_graph *g = p->g;
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *n = &g->node[v];
        const int64_t index = ir_attr_int(n, ATTR_index, 0);
        if (n->op == OP_parameter) g->place[v] = (ir_place){SPACE_input, index, 0};
        if (n->op == OP_variable) g->place[v] = (ir_place){SPACE_variable, index, 0};
    }
    place_constants(p);
}

/* ---- blocks ----------------------------------------------------------------------------------------------
 */

static bool add_block(plan *p, ir_value v, const ir_type *t, int time, diag *d)
{
    block b = {.value = v, .first = time, .last = time, .reuses = -1, .graph = p->g, .dtype = t->dtype, .apart = p->apart};
    const bool counted = t->rank < 0 ? count_tuple_bytes(t, t->element_count, &b.size, &b.batch)
                                     : count_bytes(t, &b.size, &b.batch);
    if (!counted) {
        text shape = {0};
        ir_type_print(t, &shape);
        const ir_origin *origin = &p->m->origin[p->g->node[v].origin];
        diag_error(d, p->m->origin_count > 0 ? origin->layer : NULL,
                   "expected a value of at most 2^57 bytes that grows with N at most once, found %s",
                   text_get(&shape));
        text_done(&shape);
        return false;
    }
    b.size = base_max(align_up(b.size), ALIGNMENT);
    if (p->block_of[v] < 0) p->block_of[v] = (int)p->pool->count;
    arena_push(p->scratch, p->pool->blocks, p->pool->count, p->pool->capacity, b);
    return true;
}

static plan *make_plan(ir_module *m, ir_graph *g, arena *scratch, pool *blocks)
{
    plan *p = arena_new(scratch, plan);
    *p = (plan){.m = m, .g = g, .scratch = scratch, .pool = blocks};
    p->block_of = arena_array(scratch, int, g->count + 1);
    p->start = arena_array(scratch, int, g->kernel_count + 1);
    p->inner = arena_array(scratch, plan *, g->kernel_count + 1);
    for (size_t i = 0; i < g->count; i++) p->block_of[i] = -1;
    g->place = arena_array(g->arena, ir_place, g->count + 1);
    return p;
}

static bool find_blocks(plan *p, diag *d);

/* Blocks for the elements of a scan, then for its body, whose outputs lie in them. */
static bool find_scan_blocks(plan *p, size_t k, diag *d)
{
    const ir_kernel *kernel = &p->g->kernel[k];
    const ir_node *n = plan_scan(p->g, kernel);
    ir_graph *body = ir_attr_find(n, ATTR_body)->graph;
    const size_t first = p->pool->count, elements = (size_t)n->type.element_count;
    bool good = true;
    p->inner[k] = make_plan(p->m, body, p->scratch, p->pool);
    p->inner[k]->apart = plan_rows_are_apart(n) ? (int)k + 1 : 0;
    for (size_t i = 0; i < elements && good; i++)
        good = add_block(p, kernel->main, &n->type.element[i], p->pool->time, d);
    p->pool->time++;
    for (size_t i = 0; i < body->output_count; i++)
        body->place[plan_base(body, body->output[i].value)] = (ir_place){SPACE_output, (int64_t)i, 0};
    good = good && find_blocks(p->inner[k], d);
    for (size_t i = first; good && i < first + elements; i++) p->pool->blocks[i].last = p->pool->time;
    return good;
}

static bool find_blocks(plan *p, diag *d)
{
    const ir_graph *g = p->g;
    bool good = true;
    for (size_t k = 0; k < g->kernel_count && good; k++) {
        const ir_kernel *kernel = &g->kernel[k];
        const bool is_scan = plan_scan(g, kernel) != NULL;
        p->start[k] = p->pool->time;
        if (is_scan) good = find_scan_blocks(p, k, d);
        for (int i = 0; i < kernel->root_count && !is_scan; i++) {
            const ir_value root = kernel->root[i];
            if (g->place[root].space != SPACE_none) continue;
            good = add_block(p, root, &g->node[root].type, p->pool->time, d) && good;
        }
        for (int i = 0; i < kernel->read_count && good; i++) {
            const int b = plan_block(p, kernel->read[i]);
            if (b >= 0) p->pool->blocks[b].last = p->pool->time;
        }
        p->pool->time++;
    }
    return good;
}

/* ---- offsets
 * --------------------------------------------------------------------------------------------------- */

static int compare_blocks(const void *a, const void *b)
{
    const block *x = *(block *const *)a, *y = *(block *const *)b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return (x > y) - (x < y);
}

/* `placed` is ascending by offset; b goes into the lowest gap that is free for its whole life (that of
 * its scan when rows go through it apart). */
static void insert_block(block **placed, size_t count, block *b)
{
    int64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        const bool apart = b->apart > 0 && placed[i]->apart == b->apart;
        if (!apart && (placed[i]->first > b->last || b->first > placed[i]->last)) continue;
        if (placed[i]->offset - end >= b->size) break;
        end = base_max(end, placed[i]->offset + placed[i]->size);
    }
    b->offset = end;
    size_t at = count;
    for (; at > 0 && placed[at - 1]->offset > end; at--) placed[at] = placed[at - 1];
    placed[at] = b;
}

/* Largest first: small blocks then fill the gaps. Returns the size of the slab. */
static int64_t pack_blocks(const plan *p, ir_unit batch)
{
    const pool *all = p->pool;
    block **sorted = arena_array(p->scratch, block *, all->count + 1);
    block **placed = arena_array(p->scratch, block *, all->count + 1);
    size_t count = 0;
    int64_t bytes = 0;
    for (size_t i = 0; i < all->count; i++)
        if (all->blocks[i].batch == batch && all->blocks[i].reuses < 0) sorted[count++] = &all->blocks[i];
    if (count > 0) qsort(sorted, count, sizeof *sorted, compare_blocks);
    for (size_t i = 0; i < count; i++) {
        insert_block(placed, i, sorted[i]);
        bytes = base_max(bytes, sorted[i]->offset + sorted[i]->size);
    }
    return bytes;
}

static block *find_owner(const plan *p, block *b)
{
    while (b->reuses >= 0) b = &p->pool->blocks[b->reuses];
    return b;
}

static ir_place place_of_block(const plan *p, int index)
{
    const block *owner = find_owner(p, &p->pool->blocks[index]);
    return (ir_place){owner->batch ? SPACE_batch : SPACE_fixed, owner->offset, base_max((int)owner->batch - UNIT_rows, 0)};
}

static void place_blocks(const plan *p)
{
    block *blocks = p->pool->blocks;
    for (size_t i = 0; i < p->pool->count; i++) {
        block *owner = find_owner(p, &blocks[i]);
        owner->last = (int)base_max(owner->last, blocks[i].last);
    }
    p->g->fixed_bytes = pack_blocks(p, UNIT_one);
    p->g->batch_bytes = pack_blocks(p, UNIT_rows);
    for (int i = 0; i < p->m->ragged_count; i++) p->g->ragged_bytes[i] = pack_blocks(p, (ir_unit)(UNIT_values + i));
    for (size_t i = 0; i < p->pool->count; i++)
        if (blocks[i].graph->node[blocks[i].value].op != OP_scan)
            blocks[i].graph->place[blocks[i].value] = place_of_block(p, (int)i);
}

static void place_views(const plan *p)
{
    ir_graph *g = p->g;
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *n = &g->node[v];
        if (!passes_is_view(n)) continue;
        int64_t skipped = 0;
        ir_unit batch;
        g->place[v] = g->place[n->in[0]];
        if (n->op != OP_get) continue;
        if (g->node[n->in[0]].op == OP_scan) {
            const int b = plan_block(p, (ir_value)v);
            if (b >= 0) g->place[v] = place_of_block(p, b);
        } else if (g->place[v].space != SPACE_none &&
                   count_tuple_bytes(&g->node[n->in[0]].type, (int)ir_attr_int(n, ATTR_index, 0), &skipped,
                                     &batch)) {
            g->place[v].offset += skipped;
        }
    }
}

/* Operands lie where the graph around the body has them, outputs in the elements of the scan. */
static void place_body(const plan *p, size_t k)
{
    const ir_node *n = plan_scan(p->g, &p->g->kernel[k]);
    const plan *inner = p->inner[k];
    ir_graph *body = inner->g;
    const int first = p->block_of[p->g->kernel[k].main], carried = (int)ir_attr_int(n, ATTR_carried, 0);
    for (size_t v = 0; v < body->count; v++) {
        if (body->node[v].op != OP_parameter) continue;
        const int i = (int)ir_attr_int(&body->node[v], ATTR_index, 0);
        body->place[v] = i < carried ? place_of_block(p, first + i) : p->g->place[n->in[i]];
    }
    for (size_t i = 0; i < body->output_count; i++)
        body->place[plan_base(body, body->output[i].value)] = place_of_block(p, first + (int)i);
    place_views(inner);
    body->fixed_bytes = p->g->fixed_bytes;
    body->batch_bytes = p->g->batch_bytes;
    memcpy(body->ragged_bytes, p->g->ragged_bytes, sizeof body->ragged_bytes);
}

static void place_all(const plan *p)
{
    place_blocks(p);
    place_views(p);
    for (size_t k = 0; k < p->g->kernel_count; k++) {
        if (!p->inner[k]) continue;
        place_constants(p->inner[k]);
        place_body(p, k);
    }
}

bool pass_plan_memory(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    arena scratch = {0};
    pool blocks = {0};
    plan *p = make_plan(m, g, &scratch, &blocks);
    place_sources(p);
    for (size_t i = 0; i < g->update_count; i++)
        g->place[plan_base(g, g->update[i].value)] = (ir_place){SPACE_variable, g->update[i].variable, 0};
    for (size_t i = 0; i < g->output_count; i++)
        g->place[plan_base(g, g->output[i].value)] = (ir_place){SPACE_output, (int64_t)i, 0};
    const bool good = find_blocks(p, d);
    if (good) {
        plan_take_states(p);
        if (o->level > 0) plan_reuse_operands(p);
        place_all(p);
        plan_mark_apart(p);
    }
    arena_done(&scratch);
    return good;
}
