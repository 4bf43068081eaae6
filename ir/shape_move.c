/* shape_move.c: shape rules of operations that move elements. */
#include "ir/shape.h"

#include <string.h>

bool shape_rule_broadcast(shape_call *c)
{
    if (!shape_need_given(c)) return false;
    const ir_type *x = shape_in(c, 0), *to = c->given;
    const int64_t *d;
    unsigned set;
    if (!shape_read_ints(c, ATTR_dimensions, x->rank, &d)) return false;
    if (!shape_read_dims(c, ATTR_dimensions, to->rank, SHAPE_ASCENDING, &set)) return false;
    for (int i = 0; i < x->rank; i++) {
        if (!ir_dim_equal(x->dim[i], to->dim[d[i]]) && !ir_dim_equal(x->dim[i], ir_fixed(1))) {
            return shape_problem(c, "%s does not broadcast to %s (dimension %d)", shape_show(c, x),
                                 shape_show(c, to), i);
        }
    }
    c->n.type = ir_type_with_dtype(*to, x->dtype);
    return to->dtype == x->dtype ||
           shape_problem(c, "cannot change %s to %s", ir_dtype_name(x->dtype),
                         ir_dtype_name(to->dtype));
}

bool shape_rule_reshape(shape_call *c)
{
    if (!shape_need_given(c)) return false;
    const ir_type *x = shape_in(c, 0);
    ir_dim a, b;
    if (c->given->rank < 0) return shape_problem(c, "cannot be a tuple");
    const bool counted = ir_type_elements(x, &a) && ir_type_elements(c->given, &b);
    if (counted && a.batch >= UNIT_values && b.batch >= UNIT_values) a.batch = b.batch; /* ports that are `like` others */
    if (!counted || !ir_dim_equal(a, b) ||
        x->dtype != c->given->dtype) {
        return shape_problem(c, "%s is not as many elements as %s", shape_show(c, c->given),
                             shape_show(c, x));
    }
    c->n.type = *c->given;
    return true;
}

bool shape_rule_transpose(shape_call *c)
{
    const ir_type *x = shape_in(c, 0);
    const int64_t *d;
    unsigned set;
    if (!shape_read_ints(c, ATTR_dimensions, x->rank, &d)) return false;
    if (!shape_read_dims(c, ATTR_dimensions, x->rank, SHAPE_ANY_ORDER, &set)) return false;
    c->n.type = *x;
    for (int i = 0; i < x->rank; i++) c->n.type.dim[i] = x->dim[d[i]];
    return true;
}

static bool slice_dim(shape_call *c, int i, int64_t start, int64_t limit, int64_t stride)
{
    ir_dim d = shape_in(c, 0)->dim[i];
    if (d.batch) {
        if (start == 0 && limit == -1 && stride == 1) return shape_push_dim(c, d);
        return shape_problem(
            c, "dimension %d is the batch: only the whole of it (0 to -1) can be taken", i);
    }
    if (start < 0 || start > limit || limit > d.count || stride < 1) {
        return shape_problem(c, "dimension %d: %lld to %lld by %lld is not within %lld elements", i,
                             (long long)start, (long long)limit, (long long)stride,
                             (long long)d.count);
    }
    return shape_push_dim(c, ir_fixed(base_ceil_div(limit - start, stride)));
}

bool shape_rule_slice(shape_call *c)
{
    const ir_type *x = shape_in(c, 0);
    const int64_t *start, *limit, *strides;
    if (!shape_read_ints(c, ATTR_start, x->rank, &start) ||
        !shape_read_ints(c, ATTR_limit, x->rank, &limit) ||
        !shape_read_ints(c, ATTR_strides, x->rank, &strides)) {
        return false;
    }
    c->n.type.dtype = x->dtype;
    for (int i = 0; i < x->rank; i++) {
        if (!slice_dim(c, i, start[i], limit[i], strides[i])) return false;
    }
    return true;
}

static bool pad_dim(shape_call *c, int i, int64_t low, int64_t high, int64_t interior)
{
    ir_dim d = shape_in(c, 0)->dim[i];
    if (d.batch) {
        if (low == 0 && high == 0 && interior == 0) return shape_push_dim(c, d);
        return shape_problem(c, "dimension %d is the batch: it cannot be padded", i);
    }
    int64_t gaps = d.count > 0 ? d.count - 1 : 0;
    if (interior < 0 || (gaps > 0 && interior > INT64_MAX / 4 / gaps)) {
        return shape_problem(c, "dimension %d: interior padding of %lld", i, (long long)interior);
    }
    int64_t size = low + high + d.count + gaps * interior;
    if (size < 0) return shape_problem(c, "dimension %d: padding leaves less than nothing", i);
    return shape_push_dim(c, ir_fixed(size));
}

bool shape_rule_pad(shape_call *c)
{
    const ir_type *x = shape_in(c, 0);
    const int64_t *low, *high, *interior;
    if (!shape_need_same_dtype(c, 0, 1)) return false;
    if (shape_in(c, 1)->rank != 0) return shape_problem(c, "expected a scalar to pad with");
    if (!shape_read_ints(c, ATTR_low, x->rank, &low) ||
        !shape_read_ints(c, ATTR_high, x->rank, &high) ||
        !shape_read_ints(c, ATTR_interior, x->rank, &interior)) {
        return false;
    }
    c->n.type.dtype = x->dtype;
    for (int i = 0; i < x->rank; i++) {
        if (!pad_dim(c, i, low[i], high[i], interior[i])) return false;
    }
    return true;
}

bool shape_rule_concatenate(shape_call *c)
{
    if (c->n.in_count < 1) return shape_problem(c, "expected operands");
    const ir_type *x = shape_in(c, 0);
    int64_t d = ir_attr_int(&c->n, ATTR_dimension, -1);
    if (!shape_need_range(c, "dimension", d, 0, x->rank)) return false;
    ir_type sum = *x;
    for (int i = 1; i < c->n.in_count; i++) {
        ir_type other = *shape_in(c, i);
        bool fits = other.rank == x->rank && other.dim[d].batch == x->dim[d].batch;
        int64_t more = fits ? other.dim[d].count : 0;
        if (fits) other.dim[d] = x->dim[d];
        if (!fits || !ir_type_equal(&other, x) || more > INT64_MAX - sum.dim[d].count) {
            return shape_problem(c, "%s and %s do not fit along dimension %d", shape_show(c, x),
                                 shape_show(c, shape_in(c, i)), (int)d);
        }
        sum.dim[d].count += more;
    }
    c->n.type = sum;
    return true;
}

static bool check_starts(shape_call *c, int from)
{
    int rank = shape_in(c, 0)->rank;
    if (c->n.in_count != from + rank) {
        return shape_problem(c, "expected %d operands, found %d", from + rank, c->n.in_count);
    }
    for (int i = from; i < c->n.in_count; i++) {
        if (!shape_need_integer(c, i, true)) return false;
    }
    return true;
}

/* The dim of a slice of `size` elements of d; -1 stands for the whole of a batch dim. */
static bool push_size(shape_call *c, int i, ir_dim d, int64_t size)
{
    if (d.batch && size == -1) return shape_push_dim(c, d);
    if (size >= 0 && (d.batch ? size <= 1 : size <= d.count))
        return shape_push_dim(c, ir_fixed(size));
    return shape_problem(c, "sizes: %lld elements of dimension %d, which has %s", (long long)size,
                         i, shape_show_dim(c, d));
}

bool shape_rule_dynamic_slice(shape_call *c)
{
    if (c->n.in_count < 1) return shape_problem(c, "expected operands");
    const ir_type *x = shape_in(c, 0);
    const int64_t *sizes;
    if (!check_starts(c, 1) || !shape_read_ints(c, ATTR_sizes, x->rank, &sizes)) return false;
    c->n.type.dtype = x->dtype;
    for (int i = 0; i < x->rank; i++) {
        if (!push_size(c, i, x->dim[i], sizes[i])) return false;
    }
    return true;
}

/* True when a block of `part` always lies within `whole`. */
static bool is_within(ir_dim part, ir_dim whole)
{
    return part.batch == whole.batch && part.count <= whole.count;
}

bool shape_rule_dynamic_update_slice(shape_call *c)
{
    if (c->n.in_count < 2) return shape_problem(c, "expected operands");
    const ir_type *x = shape_in(c, 0), *update = shape_in(c, 1);
    if (!check_starts(c, 2) || !shape_need_same_dtype(c, 0, 1)) return false;
    bool fits = x->rank == update->rank;
    for (int i = 0; fits && i < x->rank; i++) fits = is_within(update->dim[i], x->dim[i]);
    if (!fits) {
        return shape_problem(c, "%s does not lie within %s", shape_show(c, update),
                             shape_show(c, x));
    }
    c->n.type = *x;
    return true;
}

/* ---- gather and scatter --------------------------------------------------------------------- */

/* The dims of the indices, in their two parts. */
typedef struct index_space {
    int rank; /* of the rows: all dims but the index vector */
    ir_dim row[IR_MAX_RANK];
    unsigned batching; /* operand dims that go along with the indices */
} index_space;

static bool check_batching(shape_call *c, index_space *s)
{
    const ir_type *x = shape_in(c, 0), *indices = shape_in(c, 1);
    int count;
    const int64_t *mine = ir_attr_ints(&c->n, ATTR_operand_batching_dims, &count), *theirs;
    unsigned set;
    if (!shape_read_dims(c, ATTR_operand_batching_dims, x->rank, SHAPE_ASCENDING, &s->batching) ||
        !shape_read_dims(c, ATTR_indices_batching_dims, indices->rank, SHAPE_ANY_ORDER, &set) ||
        !shape_read_ints(c, ATTR_indices_batching_dims, count, &theirs)) {
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (theirs[i] == ir_attr_int(&c->n, ATTR_index_vector_dim, 0)) {
            return shape_problem(c, "indices_batching_dims: holds the index vector");
        }
        if (!ir_dim_equal(x->dim[mine[i]], indices->dim[theirs[i]])) {
            return shape_problem(c, "batching dimensions of %s and %s differ", shape_show(c, x),
                                 shape_show(c, indices));
        }
    }
    return true;
}

/* `map`: the attribute that names the operand dim of each index component. */
static bool read_indices(shape_call *c, ir_attr_name map, index_space *s)
{
    const ir_type *x = shape_in(c, 0), *indices = shape_in(c, 1);
    int64_t vector = ir_attr_int(&c->n, ATTR_index_vector_dim, -1);
    if (!shape_need_integer(c, 1, false)) return false;
    if (!shape_need_range(c, "index_vector_dim", vector, 0, indices->rank + 1)) return false;
    ir_dim components = vector < indices->rank ? indices->dim[vector] : ir_fixed(1);
    int count;
    unsigned set;
    ir_attr_ints(&c->n, map, &count);
    if (!ir_dim_equal(components, ir_fixed(count))) {
        return shape_problem(c, "%s: expected %s numbers, found %d", ir_attr_name_text(map),
                             shape_show_dim(c, components), count);
    }
    if (!shape_read_dims(c, map, x->rank, SHAPE_ANY_ORDER, &set) || !check_batching(c, s))
        return false;
    if (set & s->batching) return shape_problem(c, "a batching dimension is also indexed");
    for (int i = 0; i < indices->rank; i++) {
        if (i != vector) s->row[s->rank++] = indices->dim[i];
    }
    return true;
}

/* Reads the operand dims that windows lack (`absent`), and checks that they and the window dims
 * make up the operand. */
static bool read_window(shape_call *c, ir_attr_name absent, ir_attr_name window,
                        const index_space *s, int result_rank, unsigned *out_absent,
                        unsigned *out_window)
{
    const ir_type *x = shape_in(c, 0);
    unsigned dropped;
    int dropped_count, batching_count, window_count;
    if (!shape_read_dims(c, absent, x->rank, SHAPE_ASCENDING, &dropped) ||
        !shape_read_dims(c, window, result_rank, SHAPE_ASCENDING, out_window)) {
        return false;
    }
    if (dropped & s->batching)
        return shape_problem(c, "%s: holds a batching dimension", ir_attr_name_text(absent));
    ir_attr_ints(&c->n, absent, &dropped_count);
    ir_attr_ints(&c->n, window, &window_count);
    ir_attr_ints(&c->n, ATTR_operand_batching_dims, &batching_count);
    if (dropped_count + batching_count + window_count != x->rank) {
        return shape_problem(c, "%s, %s and operand_batching_dims do not make up rank %d",
                             ir_attr_name_text(window), ir_attr_name_text(absent), x->rank);
    }
    *out_absent = dropped | s->batching;
    return true;
}

/* The slice's dims that stay in the result, in order. */
static bool read_slice(shape_call *c, unsigned absent, ir_type *slice)
{
    const ir_type *x = shape_in(c, 0);
    const int64_t *sizes;
    if (!shape_read_ints(c, ATTR_sizes, x->rank, &sizes)) return false;
    for (int i = 0; i < x->rank; i++) {
        bool gone = absent >> i & 1;
        if (gone && sizes[i] != 1) return shape_problem(c, "sizes: expected 1 for dimension %d", i);
        if (!push_size(c, i, x->dim[i], sizes[i])) return false;
        if (!gone) slice->dim[slice->rank++] = c->n.type.dim[c->n.type.rank - 1];
    }
    c->n.type = (ir_type){.dtype = x->dtype};
    return true;
}

bool shape_rule_gather(shape_call *c)
{
    index_space s = {0};
    ir_type slice = {0};
    unsigned absent, offset;
    int offsets, row = 0, part = 0;
    if (!read_indices(c, ATTR_start_index_map, &s)) return false;
    ir_attr_ints(&c->n, ATTR_offset_dims, &offsets);
    int rank = s.rank + offsets;
    if (rank > IR_MAX_RANK)
        return shape_problem(c, "the result has more than %d dimensions", (int)IR_MAX_RANK);
    if (!read_window(c, ATTR_collapsed_slice_dims, ATTR_offset_dims, &s, rank, &absent, &offset) ||
        !read_slice(c, absent, &slice)) {
        return false;
    }
    for (int i = 0; i < rank; i++) {
        if (!shape_push_dim(c, offset >> i & 1 ? slice.dim[part++] : s.row[row++])) return false;
    }
    return true;
}

static bool check_updates(shape_call *c, const index_space *s, unsigned absent, unsigned window)
{
    const ir_type *x = shape_in(c, 0), *updates = shape_in(c, 2);
    int row = 0, part = 0;
    for (int i = 0; i < updates->rank; i++) {
        bool fits;
        if (window >> i & 1) {
            while (absent >> part & 1) part++;
            fits = is_within(updates->dim[i], x->dim[part++]);
        } else {
            fits = ir_dim_equal(updates->dim[i], s->row[row++]);
        }
        if (!fits) {
            return shape_problem(c, "dimension %d of updates %s does not fit into %s", i,
                                 shape_show(c, updates), shape_show(c, x));
        }
    }
    return true;
}

bool shape_rule_scatter(shape_call *c)
{
    index_space s = {0};
    unsigned absent, window;
    int windows, rank = shape_in(c, 2)->rank;
    if (!shape_need_word(c, ATTR_kind, "add replace maximum minimum multiply") ||
        !shape_need_same_dtype(c, 0, 2) ||
        !read_indices(c, ATTR_scatter_dims, &s)) {
        return false;
    }
    ir_attr_ints(&c->n, ATTR_update_window_dims, &windows);
    if (rank != s.rank + windows) {
        return shape_problem(c, "expected updates of rank %d, found %s", s.rank + windows,
                             shape_show(c, shape_in(c, 2)));
    }
    if (!read_window(c, ATTR_inserted_window_dims, ATTR_update_window_dims, &s, rank, &absent,
                     &window) ||
        !check_updates(c, &s, absent, window)) {
        return false;
    }
    c->n.type = *shape_in(c, 0);
    return true;
}
