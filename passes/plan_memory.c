/* plan_memory.c: gives every value in memory its place. Requires kernels in execution order.
 *   sources    variables, ports; dense constants go to the module's constants, equal bytes once
 *   updates    the variable's own memory: fuse has made sure that nobody needs the old value any more
 *   outputs    the caller's buffer
 *   the rest   a block of one of two slabs, shared by values that are not alive at the same time
 * Views have the place of what they show. A block begins at a multiple of 64 bytes; in the batch slab all
 * sizes are per row of the batch, so that the block of a value lies at offset * N for every N. */
#include "passes/passes_private.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

typedef struct block {
    ir_value value;
    int64_t size, offset;
    int first, last; /* kernels: written by, last read by */
    bool batch;
    int reuses; /* the block whose memory it takes over, or -1 */
} block;

typedef struct plan {
    ir_module *m;
    ir_graph *g;
    arena *scratch;
    block *blocks;
    size_t count, capacity;
    int *block_of; /* per value: of the base; -1 */
} plan;

static ir_value find_base(const ir_graph *g, ir_value v)
{
    while (passes_is_view(&g->node[v])) v = g->node[v].in[0];
    return v;
}

static int64_t align_up(int64_t size) { return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

/* Bytes of a value, per row when out_batch. False when they cannot be counted. */
static bool count_bytes(const ir_type *t, int64_t *out_size, bool *out_batch)
{
    const int64_t size = (int64_t)ir_dtype_size(t->dtype), most = INT64_MAX / 64 / size;
    const int64_t elements = passes_elements(t, out_batch);
    if (elements > most) return false;
    *out_size = elements * size;
    return true;
}

/* The elements of a tuple lie one after another, each aligned; in the batch slab when one grows with N (then
 * those that do not have room for N times what they need). */
static bool count_tuple_bytes(const ir_type *t, int element, int64_t *out_size, bool *out_batch)
{
    int64_t total = 0;
    *out_batch = false;
    for (int i = 0; i < element; i++) {
        int64_t size;
        bool batch;
        if (!count_bytes(&t->element[i], &size, &batch) || total > INT64_MAX / 64 - size) return false;
        total += align_up(size);
        *out_batch = *out_batch || batch;
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
            (ir_place){SPACE_constant, add_constant(&blob, p->scratch, g->count, ir_attr_find(n, ATTR_data))};
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
        if (n->op == OP_parameter) g->place[v] = (ir_place){SPACE_input, index};
        if (n->op == OP_variable) g->place[v] = (ir_place){SPACE_variable, index};
    }
    place_constants(p);
}

/* ---- blocks ----------------------------------------------------------------------------------------------
 */

static bool add_block(plan *p, ir_value v, int kernel, diag *d)
{
    const ir_type *t = &p->g->node[v].type;
    block b = {.value = v, .first = kernel, .last = kernel, .reuses = -1};
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
    p->block_of[v] = (int)p->count;
    arena_push(p->scratch, p->blocks, p->count, p->capacity, b);
    return true;
}

static bool find_blocks(plan *p, diag *d)
{
    const ir_graph *g = p->g;
    bool good = true;
    for (size_t k = 0; k < g->kernel_count; k++) {
        const ir_kernel *kernel = &g->kernel[k];
        for (int i = 0; i < kernel->root_count; i++)
            if (g->place[kernel->root[i]].space == SPACE_none)
                good = add_block(p, kernel->root[i], (int)k, d) && good;
        for (int i = 0; i < kernel->read_count; i++) {
            const int b = p->block_of[find_base(g, kernel->read[i])];
            if (b >= 0) p->blocks[b].last = (int)k;
        }
    }
    return good;
}

/* ---- writing over a dying operand
 * --------------------------------------------------------------------------- */

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
            if (p->block_of[find_base(p->g, read)] != over || !mark[read]) continue;
            if ((mark[read] & AT_OTHER) || i > root) return false;
        }
    }
    return true;
}

static bool is_written_over(const plan *p, int over)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->blocks[i].reuses == over) return true;
    return false;
}

/* Loops are short chains over few values, so trying each read for each root is cheap. */
static void reuse_operands(plan *p)
{
    const ir_graph *g = p->g;
    uint8_t *mark = arena_array(p->scratch, uint8_t, g->count);
    for (size_t k = 0; k < g->kernel_count; k++) {
        const ir_kernel *kernel = &g->kernel[k];
        if (kernel->kind != KERNEL_loop) continue;
        for (int i = 0; i < kernel->root_count; i++) {
            const int own = p->block_of[kernel->root[i]];
            for (int j = 0; own >= 0 && j < kernel->read_count && p->blocks[own].reuses < 0; j++) {
                const int over = p->block_of[find_base(g, kernel->read[j])];
                if (over < 0 || over == own || p->blocks[over].last != (int)k) continue;
                if (ir_dtype_size(g->node[p->blocks[over].value].type.dtype) !=
                    ir_dtype_size(g->node[kernel->root[i]].type.dtype))
                    continue;
                if (p->blocks[over].size != p->blocks[own].size ||
                    p->blocks[over].batch != p->blocks[own].batch)
                    continue;
                if (!is_written_over(p, over) && can_write_over(p, kernel, i, over, mark))
                    p->blocks[own].reuses = over;
            }
        }
    }
}

/* ---- offsets
 * --------------------------------------------------------------------------------------------------- */

static int compare_blocks(const void *a, const void *b)
{
    const block *x = *(block *const *)a, *y = *(block *const *)b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return (x->value > y->value) - (x->value < y->value);
}

/* `placed` is ascending by offset; b goes into the lowest gap that is free for its whole life. */
static void insert_block(block **placed, size_t count, block *b)
{
    int64_t end = 0;
    for (size_t i = 0; i < count; i++) {
        if (placed[i]->first > b->last || b->first > placed[i]->last) continue;
        if (placed[i]->offset - end >= b->size) break;
        end = base_max(end, placed[i]->offset + placed[i]->size);
    }
    b->offset = end;
    size_t at = count;
    for (; at > 0 && placed[at - 1]->offset > end; at--) placed[at] = placed[at - 1];
    placed[at] = b;
}

/* Largest first: small blocks then fill the gaps. Returns the size of the slab. */
static int64_t pack_blocks(const plan *p, bool batch)
{
    block **sorted = arena_array(p->scratch, block *, p->count + 1),
          **placed = arena_array(p->scratch, block *, p->count + 1);
    size_t count = 0;
    int64_t bytes = 0;
    for (size_t i = 0; i < p->count; i++)
        if (p->blocks[i].batch == batch && p->blocks[i].reuses < 0) sorted[count++] = &p->blocks[i];
    if (count > 0) qsort(sorted, count, sizeof *sorted, compare_blocks);
    for (size_t i = 0; i < count; i++) {
        insert_block(placed, i, sorted[i]);
        bytes = base_max(bytes, sorted[i]->offset + sorted[i]->size);
    }
    return bytes;
}

static block *find_owner(const plan *p, block *b)
{
    while (b->reuses >= 0) b = &p->blocks[b->reuses];
    return b;
}

static void place_blocks(const plan *p)
{
    ir_graph *g = p->g;
    for (size_t i = 0; i < p->count; i++) {
        block *owner = find_owner(p, &p->blocks[i]);
        owner->last = (int)base_max(owner->last, p->blocks[i].last);
    }
    g->fixed_bytes = pack_blocks(p, false);
    g->batch_bytes = pack_blocks(p, true);
    for (size_t i = 0; i < p->count; i++) {
        const block *owner = find_owner(p, &p->blocks[i]);
        g->place[p->blocks[i].value] = (ir_place){owner->batch ? SPACE_batch : SPACE_fixed, owner->offset};
    }
}

static void place_views(ir_graph *g)
{
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *n = &g->node[v];
        if (!passes_is_view(n)) continue;
        g->place[v] = g->place[n->in[0]];
        int64_t skipped = 0;
        bool batch;
        if (n->op == OP_get && g->place[v].space != SPACE_none &&
            count_tuple_bytes(&g->node[n->in[0]].type, (int)ir_attr_int(n, ATTR_index, 0), &skipped, &batch))
            g->place[v].offset += skipped;
    }
}

bool pass_plan_memory(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    arena scratch = {0};
    plan p = {.m = m, .g = g, .scratch = &scratch, .block_of = arena_array(&scratch, int, g->count + 1)};
    for (size_t i = 0; i < g->count; i++) p.block_of[i] = -1;
    g->place = arena_array(g->arena, ir_place, g->count + 1);
    place_sources(&p);
    for (size_t i = 0; i < g->update_count; i++)
        g->place[find_base(g, g->update[i].value)] = (ir_place){SPACE_variable, g->update[i].variable};
    for (size_t i = 0; i < g->output_count; i++)
        g->place[find_base(g, g->output[i].value)] = (ir_place){SPACE_output, (int64_t)i};
    const bool good = find_blocks(&p, d);
    if (good) {
        if (o->level > 0) reuse_operands(&p);
        place_blocks(&p);
        place_views(g);
    }
    arena_done(&scratch);
    return good;
}
