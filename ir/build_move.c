/* build_move.c: builders of operations that move elements. */
#include "ir/graph.h"

#include <string.h>

ir_value ir_build_reshape(ir_graph *g, ir_value x, int rank, const ir_dim *dim)
{
    const ir_type to = ir_type_make(ir_type_of(g, x)->dtype, rank, dim);
    return ir_type_equal(&to, ir_type_of(g, x)) ? x : ir_build(g, OP_reshape, 1, &x, 0, NULL, &to);
}

ir_value ir_build_transpose(ir_graph *g, ir_value x, const int64_t *permutation)
{
    int rank = ir_type_of(g, x)->rank;
    bool same = true;
    for (int i = 0; i < rank; i++) same &= permutation[i] == i;
    const ir_attr attr = ir_attr_of_ints(ATTR_dimensions, rank, permutation);
    return same ? x : ir_build(g, OP_transpose, 1, &x, 1, &attr, NULL);
}

ir_value ir_build_slice(ir_graph *g, ir_value x, const int64_t *start, const int64_t *limit,
                        const int64_t *strides)
{
    const ir_type *t = ir_type_of(g, x);
    int64_t end[IR_MAX_RANK], step[IR_MAX_RANK];
    bool whole = true;
    for (int i = 0; i < t->rank; i++) {
        ir_dim d = t->dim[i];
        end[i] = d.batch ? limit[i] : limit[i] == -1 ? d.count : limit[i];
        step[i] = strides ? strides[i] : 1;
        whole &= start[i] == 0 && step[i] == 1 && end[i] == (d.batch ? -1 : d.count);
    }
    const ir_attr attr[] = {ir_attr_of_ints(ATTR_start, t->rank, start),
                            ir_attr_of_ints(ATTR_limit, t->rank, end),
                            ir_attr_of_ints(ATTR_strides, t->rank, step)};
    return whole ? x : ir_build(g, OP_slice, 1, &x, 3, attr, NULL);
}

ir_value ir_build_slice_dim(ir_graph *g, ir_value x, int dimension, int64_t start, int64_t limit)
{
    int64_t first[IR_MAX_RANK] = {0}, end[IR_MAX_RANK];
    for (int i = 0; i < IR_MAX_RANK; i++) end[i] = -1;
    first[dimension] = start;
    end[dimension] = limit;
    return ir_build_slice(g, x, first, end, NULL);
}

ir_value ir_build_reverse(ir_graph *g, ir_value x, int count, const int64_t *dimensions)
{
    const ir_attr attr = ir_attr_of_ints(ATTR_dimensions, count, dimensions);
    return count == 0 ? x : ir_build(g, OP_reverse, 1, &x, 1, &attr, NULL);
}

ir_value ir_build_pad(ir_graph *g, ir_value x, ir_value value, const int64_t *low,
                      const int64_t *high, const int64_t *interior)
{
    int rank = ir_type_of(g, x)->rank;
    const int64_t none[IR_MAX_RANK] = {0};
    const ir_value in[] = {x, value};
    const ir_attr attr[] = {ir_attr_of_ints(ATTR_low, rank, low),
                            ir_attr_of_ints(ATTR_high, rank, high),
                            ir_attr_of_ints(ATTR_interior, rank, interior ? interior : none)};
    return ir_build(g, OP_pad, 2, in, 3, attr, NULL);
}

ir_value ir_build_concatenate(ir_graph *g, int count, const ir_value *in, int dimension)
{
    const ir_attr attr = ir_attr_of_int(ATTR_dimension, dimension);
    return count == 1 ? in[0] : ir_build(g, OP_concatenate, count, in, 1, &attr, NULL);
}

ir_value ir_build_take_rows(ir_graph *g, ir_value table, ir_value indices)
{
    const ir_type *t = ir_type_of(g, table);
    int rank = ir_type_of(g, indices)->rank;
    bug_if(t->rank < 1, "take_rows of a scalar");
    int64_t offset[IR_MAX_RANK], sizes[IR_MAX_RANK] = {1}, zero = 0;
    for (int i = 1; i < t->rank; i++) {
        offset[i - 1] = rank + i - 1;
        sizes[i] = t->dim[i].batch ? -1 : t->dim[i].count;
    }
    const ir_value in[] = {table, indices};
    const ir_attr attr[] = {
        ir_attr_of_ints(ATTR_offset_dims, t->rank - 1, offset),
        ir_attr_of_ints(ATTR_collapsed_slice_dims, 1, &zero),
        ir_attr_of_ints(ATTR_operand_batching_dims, 0, &zero),
        ir_attr_of_ints(ATTR_indices_batching_dims, 0, &zero),
        ir_attr_of_ints(ATTR_start_index_map, 1, &zero),
        ir_attr_of_int(ATTR_index_vector_dim, rank),
        ir_attr_of_ints(ATTR_sizes, t->rank, sizes),
    };
    return ir_build(g, OP_gather, 2, in, (int)countof(attr), attr, NULL);
}

ir_value ir_build_get(ir_graph *g, ir_value tuple, int index)
{
    const ir_attr attr = ir_attr_of_int(ATTR_index, index);
    return ir_build(g, OP_get, 1, &tuple, 1, &attr, NULL);
}
