/* augment_build.c: what the classes of image augmentation are made of. */
#include "frontend/augment.h"

#include <string.h>

/* ---- draws ------------------------------------------------------------------------------- */

ir_value augment_seed(augment *a)
{
    return fe_seed_draw(a->l, a->layer, "seed_generator", a->seed.has_seed, a->seed.seed);
}

ir_type augment_rows(const augment *a, ir_dtype dtype) { return ir_type_make(dtype, 1, a->type.dim); }

ir_value augment_uniform(augment *a, ir_type shape, double low, double high)
{
    return ir_build_random_between(a->l->g, augment_seed(a), shape, low, high);
}

ir_value augment_uniform_rows(augment *a, double low, double high)
{
    return augment_uniform(a, augment_rows(a, DTYPE_f32), low, high);
}

/* ---- arithmetic -------------------------------------------------------------------------- */

ir_value augment_spread(augment *a, ir_value rows, ir_value x)
{
    ir_type t = op_type(&a->u, x);
    if (op_type(&a->u, rows).dtype == DTYPE_i1)
        t.dtype = DTYPE_i1;
    else
        rows = ir_build_convert(a->l->g, rows, t.dtype);
    return ir_build_broadcast_in_dim(a->l->g, rows, &t, (int64_t[]){0});
}

ir_value augment_add(augment *a, ir_value x, ir_value y) { return op_map2(&a->u, OP_add, x, y); }
ir_value augment_subtract(augment *a, ir_value x, ir_value y) { return op_map2(&a->u, OP_subtract, x, y); }
ir_value augment_multiply(augment *a, ir_value x, ir_value y) { return op_map2(&a->u, OP_multiply, x, y); }

ir_value augment_clip(augment *a, ir_value x, double low, double high)
{
    return op_map_number(&a->u, OP_maximum, op_map_number(&a->u, OP_minimum, x, high), low);
}

ir_value augment_range(augment *a, ir_value x, const double from[2], const double to[2])
{
    if (from[0] == to[0] && from[1] == to[1]) return x;
    x = op_map_number(&a->u, OP_subtract, x, from[0]);
    x = op_map_number(&a->u, OP_divide, x, (float)from[1] - (float)from[0]);
    x = op_map_number(&a->u, OP_multiply, x, (float)to[1] - (float)to[0]);
    return op_map_number(&a->u, OP_add, x, to[0]);
}

ir_value augment_blend(augment *a, ir_value x, ir_value y, ir_value factor)
{
    const ir_value step = augment_multiply(a, augment_spread(a, factor, x), augment_subtract(a, y, x));
    return augment_add(a, x, step);
}

ir_value augment_choose(augment *a, ir_value condition, ir_value y, ir_value x)
{
    return op_choose(&a->u, augment_spread(a, condition, x), y, x);
}

/* ---- colours ----------------------------------------------------------------------------- */

bool augment_colours_check(augment *a)
{
    return (!a->type.dim[3].batch && a->type.dim[3].count == 3) ||
           op_fail_shape(&a->u, "images of three channels", &a->type);
}

ir_value augment_grayscale(augment *a, ir_value x)
{
    static const float weight[] = {0.2989f, 0.5870f, 0.1140f};
    if (a->type.dim[3].count == 1) return x;
    return augment_colours_check(a) ? fe_matrix_apply(a->l, x, 3, 1, weight) : IR_NONE;
}

/* ---- picking ----------------------------------------------------------------------------- */

ir_value augment_pick(augment *a, ir_value x, ir_value indices)
{
    const int64_t first[] = {0}, second[] = {1}, kept[] = {2, 3, 4, 5, 6, 7};
    const ir_type t = op_type(&a->u, x);
    int64_t sizes[IR_MAX_RANK] = {1, 1};
    for (int d = 2; d < t.rank; d++) sizes[d] = t.dim[d].count;
    const ir_value in[] = {x, indices};
    const ir_attr attr[] = {{.name = ATTR_offset_dims, .ints = {t.rank - 2, kept}},
                            {.name = ATTR_collapsed_slice_dims, .ints = {1, second}},
                            {.name = ATTR_operand_batching_dims, .ints = {1, first}},
                            {.name = ATTR_indices_batching_dims, .ints = {1, first}},
                            {.name = ATTR_start_index_map, .ints = {1, second}},
                            {.name = ATTR_index_vector_dim, .i = 2},
                            {.name = ATTR_sizes, .ints = {t.rank, sizes}}};
    return ir_build(a->l->g, OP_gather, 2, in, (int)countof(attr), attr, NULL);
}

/* ---- gradients --------------------------------------------------------------------------- */

static bool reads_trained(const augment *a, const ir_node *n)
{
    return n->op == OP_variable && a->l->fe->module->variable[ir_attr_int(n, ATTR_index, 0)].trainable;
}

bool augment_untrained_check(augment *a, ir_value x)
{
    const ir_graph *g = a->l->g;
    if (a->l->discard) return true;
    bool *needed = arena_array(a->l->fe->arena, bool, (size_t)x + 1);
    needed[x] = true;
    for (ir_value v = x; v >= 0; v--) {
        const ir_node *n = ir_node_of(g, v);
        if (!needed[v] || n->op == OP_stop_gradient) continue;
        if (reads_trained(a, n))
            return op_error(
                &a->u, "training layers before this one is not supported: TensorFlow's gradient of warped "
                       "images is no gradient; put it before the trained layers");
        for (int i = 0; i < n->in_count; i++) needed[n->in[i]] = true;
    }
    return true;
}
