/* body.c: a kernel as a graph of its own. Nodes are numbered in the order in which the roots need them, so
 * that equal kernels of different layers get equal bodies. */
#include "codegen/cg.h"

static bool is_splat(const ir_node *n)
{
    const ir_attr *data = ir_attr_find(n, ATTR_data);
    ir_dim all;
    if (data && data->data.size == ir_dtype_size(n->type.dtype)) {
        return !(ir_type_elements(&n->type, &all) && all.count == 1 && !all.batch && n->type.rank > 0);
    }
    return false;
}

bool *cg_memory_map(arena *a, const ir_graph *g)
{
    bool *memory = arena_array(a, bool, g->count);
    for (size_t i = 0; i < g->kernel_count; i++) {
        for (int r = 0; r < g->kernel[i].root_count; r++) memory[g->kernel[i].root[r]] = true;
    }
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *n = &g->node[v];
        memory[v] |= n->op == OP_parameter || n->op == OP_variable || (n->op == OP_constant && !is_splat(n));
        memory[v] |= (n->op == OP_reshape || n->op == OP_get) && memory[n->in[0]];
    }
    return memory;
}

typedef struct builder {
    arena *a;
    const ir_graph *from;
    const bool *memory;
    const ir_kernel *kernel;
    ir_value *map; /* value of `from` -> value of the body, IR_NONE: not there yet */
    ir_graph *to;
    ir_value *arg;
    size_t arg_count, arg_capacity;
    ir_value *stack;
    size_t stack_count, stack_capacity;
    bool rows; /* shapes hold N */
    int values; /* the unit of the values that they hold, or 0 */
} builder;

static bool is_root(const ir_kernel *k, ir_value v)
{
    for (int r = 0; r < k->root_count; r++) {
        if (k->root[r] == v) return true;
    }
    return false;
}

static ir_attr *make_int(arena *a, ir_attr_name name, int64_t i)
{
    ir_attr *attr = arena_new(a, ir_attr);
    attr->name = name;
    attr->i = i;
    return attr;
}

/* True when v comes into the kernel as memory: not its roots, nor views of them, which other roots of the
 * kernel make. */
static bool is_argument(const builder *b, ir_value v)
{
    if (!b->memory[v]) return false;
    while (b->from->node[v].op == OP_reshape && !is_root(b->kernel, v)) v = b->from->node[v].in[0];
    return !is_root(b->kernel, v);
}

/* Kernels are written for values of whatever ragged input: which one the launch says. */
static void note_unit(builder *b, ir_dim *dim)
{
    if (dim->batch == UNIT_rows) b->rows = true;
    if (dim->batch < UNIT_values) return;
    b->values = dim->batch;
    dim->batch = UNIT_values;
}

/* The node of the body that stands for v; its operands are there already. */
static ir_node translate(builder *b, ir_value v)
{
    const ir_node *n = &b->from->node[v];
    ir_node out = *n;
    out.origin = 0;
    if (is_argument(b, v)) {
        out = (ir_node){.op = OP_parameter, .type = n->type, .attr_count = 1};
        out.attr = make_int(b->a, ATTR_index, (int64_t)b->arg_count);
        arena_push(b->a, b->arg, b->arg_count, b->arg_capacity, v);
    } else if (n->op == OP_dimension_size) {
        ir_dim d = b->from->node[n->in[0]].type.dim[ir_attr_int(n, ATTR_dimension, 0)];
        note_unit(b, &d);
        out.in_count = 0;
        out.attr_count = 1;
        out.attr = make_int(b->a, ATTR_dimension, d.count);
        if (!d.batch) {
            ir_attr *data = arena_new(b->a, ir_attr);
            data->name = ATTR_data;
            data->data.size = sizeof(d.count);
            data->data.bytes = arena_copy(b->a, &d.count, sizeof(d.count));
            out.op = OP_constant;
            out.attr = data;
        }
    } else {
        ir_value *in = arena_array(b->a, ir_value, (size_t)n->in_count);
        for (int i = 0; i < n->in_count; i++) in[i] = b->map[n->in[i]];
        out.in = in;
    }
    for (int i = 0; i < out.type.rank; i++) note_unit(b, &out.type.dim[i]);
    return out;
}

/* How many operands a value needs first: none when it is in memory. */
static int operand_count(const builder *b, ir_value v)
{
    const ir_node *n = &b->from->node[v];
    bool leaf = is_argument(b, v) || n->op == OP_dimension_size;
    return leaf ? 0 : n->in_count;
}

/* Adds v and what it needs, operands first. */
static void add_value(builder *b, ir_value root)
{
    arena_push(b->a, b->stack, b->stack_count, b->stack_capacity, root);
    while (b->stack_count) {
        ir_value v = b->stack[b->stack_count - 1];
        bool ready = true;
        for (int i = operand_count(b, v) - 1; i >= 0 && b->map[v] == IR_NONE; i--) {
            ir_value in = b->from->node[v].in[i];
            if (b->map[in] != IR_NONE) continue;
            arena_push(b->a, b->stack, b->stack_count, b->stack_capacity, in);
            ready = false;
        }
        if (!ready) continue;
        b->stack_count--;
        if (b->map[v] != IR_NONE) continue;
        ir_node n = translate(b, v);
        b->map[v] = (ir_value)b->to->count;
        arena_push(b->a, b->to->node, b->to->count, b->to->capacity, n);
    }
}

/* The memory behind a value: the same number means the same bytes. */
static ir_place place_of(const ir_graph *g, ir_value v)
{
    while (g->node[v].op == OP_reshape && (!g->place || g->place[v].space == SPACE_none))
        v = g->node[v].in[0];
    if (!g->place) return (ir_place){SPACE_none, v, 0};
    return g->place[v];
}

/* True when argument i, a value that is read, may overlap what the kernel writes. In-place updates are
 * planned at equal places; slab memory may also overlap in part, hence compared by range. */
static bool overlaps_root(const ir_graph *g, ir_value v, const ir_kernel *k)
{
    ir_place at = place_of(g, v);
    for (int r = 0; r < k->root_count; r++) {
        ir_place root = place_of(g, k->root[r]);
        if (root.space != at.space) continue;
        if (root.ragged != at.ragged) continue;
        if (at.space != SPACE_fixed && at.space != SPACE_batch) {
            if (root.offset == at.offset) return true;
            continue;
        }
        int64_t size =
            ir_type_elements_at(&g->node[v].type, 1) * (int64_t)ir_dtype_size(g->node[v].type.dtype);
        const ir_type *t = &g->node[k->root[r]].type;
        int64_t root_size = ir_type_elements_at(t, 1) * (int64_t)ir_dtype_size(t->dtype);
        if (at.offset < root.offset + root_size && root.offset < at.offset + size) return true;
    }
    return false;
}

static const bool *find_shared(builder *b)
{
    bool *shared = arena_array(b->a, bool, b->arg_count);
    for (size_t i = 0; i < b->arg_count; i++) {
        shared[i] = is_root(b->kernel, b->arg[i]) || overlaps_root(b->from, b->arg[i], b->kernel);
    }
    return shared;
}

/* row: the first value of the full shape. */
static ir_value find_full(const cg_body *b)
{
    for (int r = 0; r < b->root_count; r++) {
        const ir_node *n = &b->graph->node[b->root[r]];
        if (ir_op_class(n->op) == CLASS_REDUCE) return n->in[0];
    }
    return b->root_count ? b->root[0] : IR_NONE;
}

/* What codegen cannot write of a root's operation; NULL: nothing. */
static const char *find_refusal(const ir_graph *g, const ir_node *n)
{
    if (n->op == OP_while) return "operation while";
    if ((n->op == OP_attention || n->op == OP_attention_back) && g->node[n->in[0]].type.dtype != DTYPE_f32)
        return "operation attention of other numbers than f32";
    if (n->op != OP_sort) return NULL;
    const ir_dim length = g->node[n->in[0]].type.dim[ir_attr_int(n, ATTR_dimension, 0)];
    if (length.batch) return "operation sort along the batch";
    return length.count > INT32_MAX ? "operation sort of more than 2^31 - 1 elements" : NULL;
}

static bool is_supported(const ir_graph *g, const ir_kernel *k, diag *d)
{
    for (int r = 0; r < k->root_count; r++) {
        const ir_node *n = &g->node[k->root[r]];
        const char *refusal = find_refusal(g, n);
        if (!refusal) continue;
        const ir_origin *o = g->module && n->origin ? &g->module->origin[n->origin] : NULL;
        return diag_error(d, o ? o->path : NULL, "%s is not supported yet by the code generator", refusal);
    }
    return true;
}

/* The open number that a kernel's shapes are multiples of: the `n` it is given. Operations on ragged rows have two, and are
 * given the rows. */
static int find_unit(const builder *b, const cg_body *body)
{
    const ir_op op = body->main != IR_NONE ? body->graph->node[body->main].op : OP_COUNT;
    if (op == OP_ragged_sum || op == OP_ragged_max || op == OP_ragged_spread) return UNIT_rows;
    bug_if(b->rows && b->values, "a kernel over both rows and values");
    return b->values ? b->values : b->rows ? UNIT_rows : UNIT_one;
}

/* The roots as a body has them: contractions' sums over rows last. Returns the number of those. */
static int order_roots(const ir_graph *g, const ir_kernel *k, ir_value *out)
{
    const bool contracts = k->kind == KERNEL_dot || k->kind == KERNEL_convolution;
    int count = 0, sums = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int r = 0; r < k->root_count; r++) {
            ir_value operand;
            const bool is_sum = contracts && k->root[r] != k->main && ir_sums_rows(g, k->root[r], &operand);
            if (is_sum != (pass == 1)) continue;
            out[count++] = k->root[r];
            sums += is_sum;
        }
    }
    return sums;
}

bool cg_body_build(arena *a, const ir_graph *g, const bool *memory, const ir_kernel *k, diag *d,
                   cg_body *out_body)
{
    if (!is_supported(g, k, d)) return false;
    arena scratch = {0}; /* the map is as long as the graph, and there are thousands of bodies */
    builder b = {.a = a, .from = g, .memory = memory, .kernel = k, .map = arena_array(&scratch, ir_value, g->count)};
    for (size_t v = 0; v < g->count; v++) b.map[v] = IR_NONE;
    b.to = arena_new(a, ir_graph);
    b.to->arena = a;
    ir_value *root = arena_array(a, ir_value, (size_t)k->root_count), *from = arena_array(a, ir_value, (size_t)k->root_count);
    const int sums = order_roots(g, k, from);
    for (int r = 0; r < k->root_count; r++) {
        add_value(&b, from[r]);
        root[r] = b.map[from[r]];
    }
    for (int r = 0; r < k->root_count; r++) arena_push(a, b.arg, b.arg_count, b.arg_capacity, from[r]);
    *out_body = (cg_body){.graph = b.to,
                          .kind = k->kind,
                          .root_count = k->root_count,
                          .root = root,
                          .sum_count = sums,
                          .columns = k->columns,
                          .arg = b.arg,
                          .arg_count = (int)b.arg_count};
    out_body->main = k->main == IR_NONE ? IR_NONE : b.map[k->main];
    arena_done(&scratch);
    out_body->arg_shared = find_shared(&b);
    out_body->full = k->kind == KERNEL_row ? find_full(out_body) : IR_NONE;
    /* a MOVE op that was given a kernel of its own is a loop like any other */
    if (k->kind == KERNEL_nest && ir_op_class(g->node[k->main].op) != CLASS_NEST)
        out_body->kind = KERNEL_loop;
    if (out_body->kind == KERNEL_loop || k->kind == KERNEL_row || k->kind == KERNEL_reduce) {
        cg_body_collapse(a, out_body);
    }
    out_body->unit = find_unit(&b, out_body);
    out_body->key = cg_body_key(a, out_body);
    return true;
}
