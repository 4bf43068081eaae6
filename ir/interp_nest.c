/* interp_nest.c: operations with loops of their own: running reductions, scatter, sort, and
 * those that run a body graph. */
#include "ir/interp.h"
#include "sparse/ragged.h"

#include <math.h>
#include <string.h>

/* ---- cumulative --------------------------------------------------------------------------- */

/* The lines of x along one dim: line i has `length` elements, `step` apart. */
typedef struct lines {
    int64_t count, length, step;
} lines;

static lines lines_along(const ir_type *x, int64_t dimension)
{
    lines l = {.count = 1, .length = x->dim[dimension].count, .step = 1};
    for (int i = 0; i < x->rank; i++) {
        if (i != dimension) l.count *= x->dim[i].count;
        if (i > dimension) l.step *= x->dim[i].count;
    }
    return l;
}

static int64_t line_start(const lines *l, int64_t i)
{
    return i / l->step * l->step * l->length + i % l->step;
}

void interp_nest_cumulative(const interp *c)
{
    const ir_array *x = &c->in[0];
    const char *kind = ir_attr_text(c->node, ATTR_kind);
    const bool reverse = ir_attr_int(c->node, ATTR_reverse, 0) != 0;
    const bool exclusive = ir_attr_int(c->node, ATTR_exclusive, 0) != 0;
    const lines l = lines_along(&x->type, ir_attr_int(c->node, ATTR_dimension, 0));
    for (int64_t i = 0; i < l.count; i++) {
        interp_cell sum = interp_identity(kind, x->type.dtype);
        for (int64_t k = 0; k < l.length; k++) {
            const int64_t at = line_start(&l, i) + (reverse ? l.length - 1 - k : k) * l.step;
            const interp_cell next =
                interp_combine_get(kind)(x->type.dtype, sum, interp_load(x, at));
            interp_store(c->out, at, exclusive ? sum : next);
            sum = next;
        }
    }
}

/* ---- moments ------------------------------------------------------------------------------ */

void interp_nest_moments(const interp *c)
{
    const ir_array *x = &c->in[0];
    const int64_t rows = x->type.dim[0].count, columns = x->type.dim[1].count;
    const int64_t parts = ir_attr_int(c->node, ATTR_splits, 1);
    for (int64_t i = 0; i < parts * columns; i++) {
        const int64_t part = i / columns, column = i % columns, begin = part * rows / parts, end = (part + 1) * rows / parts;
        double sum = 0, squares = 0;
        for (int64_t r = begin; r < end; r++) sum += interp_load(x, r * columns + column).f;
        for (int64_t r = begin; r < end; r++) {
            const double d = interp_load(x, r * columns + column).f - sum / (double)(end - begin);
            squares += d * d;
        }
        const double value[MOMENTS_COUNT] = {[MOMENTS_ROWS] = (double)(end - begin), [MOMENTS_SUM] = sum,
                                             [MOMENTS_SQUARES] = squares};
        for (int k = 0; k < MOMENTS_COUNT; k++) {
            interp_store(c->out, (part * MOMENTS_COUNT + k) * columns + column, interp_float(value[k]));
        }
    }
}

/* ---- scatter ------------------------------------------------------------------------------ */

static bool is_among(const int64_t *item, int count, int64_t value)
{
    for (int i = 0; i < count; i++) {
        if (item[i] == value) return true;
    }
    return false;
}

/* The operand index where the slice starts that the scatter dims of `at` (an index into
 * updates) address. */
static void scatter_start(const interp *c, const int64_t *at, int64_t *out_start)
{
    const ir_type *type = &c->in[1].type;
    const int64_t vector = ir_attr_int(c->node, ATTR_index_vector_dim, type->rank);
    int windows = 0, mapped = 0, batching = 0;
    const int64_t *window = ir_attr_ints(c->node, ATTR_update_window_dims, &windows);
    const int64_t *addressed = ir_attr_ints(c->node, ATTR_scatter_dims, &mapped);
    const int64_t *to = ir_attr_ints(c->node, ATTR_operand_batching_dims, &batching);
    const int64_t *from = ir_attr_ints(c->node, ATTR_indices_batching_dims, &batching);
    int64_t index[IR_MAX_RANK + 1] = {0};
    for (int i = 0, k = 0; i < c->in[2].type.rank; i++) {
        if (is_among(window, windows, i)) continue;
        if (k == vector) k++;
        index[k++] = at[i];
    }
    for (int i = 0; i < mapped; i++) {
        index[vector] = i;
        out_start[addressed[i]] = (int64_t)interp_load(&c->in[1], interp_offset(type, index)).u;
    }
    for (int i = 0; i < batching; i++) {
        out_start[to[i]] = index[from[i]];
    }
}

/* The element that the update at `at` changes; false when it lies outside. */
static bool scatter_target(const interp *c, const int64_t *at, int64_t *out_offset)
{
    const ir_type *x = &c->out->type;
    int windows = 0, inserted = 0, batching = 0;
    const int64_t *window = ir_attr_ints(c->node, ATTR_update_window_dims, &windows);
    const int64_t *insert = ir_attr_ints(c->node, ATTR_inserted_window_dims, &inserted);
    const int64_t *batch = ir_attr_ints(c->node, ATTR_operand_batching_dims, &batching);
    int64_t index[IR_MAX_RANK] = {0};
    scatter_start(c, at, index);
    for (int i = 0, k = 0; i < x->rank; i++) {
        if (!is_among(insert, inserted, i) && !is_among(batch, batching, i))
            index[i] += at[window[k++]];
        if (index[i] < 0 || index[i] >= x->dim[i].count) return false;
    }
    *out_offset = interp_offset(x, index);
    return true;
}

/* Updates are taken in row-major order; kind "replace" keeps the last. */
void interp_nest_scatter(const interp *c)
{
    const ir_array *updates = &c->in[2];
    const char *kind = ir_attr_text(c->node, ATTR_kind);
    const interp_combine combine =
        strcmp(kind, "replace") == 0 ? NULL : interp_combine_get(kind);
    const int64_t count = ir_array_count(c->out);
    interp_cell *cell = arena_array(c->arena, interp_cell, (size_t)count);
    int64_t at[IR_MAX_RANK] = {0}, target;
    for (int64_t i = 0; i < count; i++) {
        cell[i] = interp_load(&c->in[0], i);
    }
    if (interp_has_elements(&updates->type)) {
        do {
            if (!scatter_target(c, at, &target)) continue;
            const interp_cell update = interp_load(updates, interp_offset(&updates->type, at));
            cell[target] = combine ? combine(c->out->type.dtype, cell[target], update) : update;
        } while (interp_next(&updates->type, at));
    }
    for (int64_t i = 0; i < count; i++) {
        interp_store(c->out, i, cell[i]);
    }
}

/* ---- sort --------------------------------------------------------------------------------- */

/* True when b must stand before a; equal elements keep their order, and NaN stands last either
 * way. */
static bool is_out_of_order(ir_dtype dtype, bool descending, interp_cell a, interp_cell b)
{
    if (ir_dtype_is_float(dtype) && (isnan(a.f) || isnan(b.f)))
        return isnan(a.f) && !isnan(b.f);
    return descending ? interp_less(dtype, a, b) : interp_less(dtype, b, a);
}

/* Sorts order[0 .. count) by the keys that it numbers; `spare` is as long. */
static void merge_sort(ir_dtype dtype, bool descending, const interp_cell *key, int64_t count,
                       int64_t *order, int64_t *spare)
{
    const int64_t half = count / 2;
    if (count < 2) return;
    merge_sort(dtype, descending, key, half, order, spare);
    merge_sort(dtype, descending, key, count - half, order + half, spare);
    for (int64_t i = 0, a = 0, b = half; i < count; i++) {
        const bool take_b =
            a == half ||
            (b < count && is_out_of_order(dtype, descending, key[order[a]], key[order[b]]));
        spare[i] = order[take_b ? b++ : a++];
    }
    memcpy(order, spare, (size_t)count * sizeof *order);
}

void interp_nest_sort(const interp *c)
{
    const ir_array *keys = &c->in[0];
    const bool descending = ir_attr_int(c->node, ATTR_descending, 0) != 0;
    const lines l = lines_along(&keys->type, ir_attr_int(c->node, ATTR_dimension, 0));
    interp_cell *key = arena_array(c->arena, interp_cell, (size_t)l.length);
    int64_t *order = arena_array(c->arena, int64_t, (size_t)l.length);
    int64_t *spare = arena_array(c->arena, int64_t, (size_t)l.length);
    ir_array *result = c->out->data;
    for (int64_t i = 0; i < l.count; i++) {
        const int64_t start = line_start(&l, i);
        for (int64_t k = 0; k < l.length; k++) {
            key[k] = interp_load(keys, start + k * l.step);
            order[k] = k;
        }
        merge_sort(keys->type.dtype, descending, key, l.length, order, spare);
        for (int e = 0; e < c->node->in_count; e++) {
            for (int64_t k = 0; k < l.length; k++) {
                interp_store(&result[e], start + k * l.step,
                             interp_load(&c->in[e], start + order[k] * l.step));
            }
        }
    }
}

/* ---- bodies ------------------------------------------------------------------------------- */

static size_t bytes_of(const ir_array *x)
{
    return (size_t)ir_array_count(x) * ir_dtype_size(x->type.dtype);
}

static void copy_elements(const ir_array *to, const ir_array *from)
{
    const size_t bytes = bytes_of(to);
    bug_if(bytes_of(from) != bytes, "a body's result does not fit its place");
    if (bytes > 0) memcpy(to->data, from->data, bytes);
}

void interp_nest_while(const interp *c)
{
    const ir_graph *condition = ir_attr_find(c->node, ATTR_condition)->graph;
    const ir_graph *body = ir_attr_find(c->node, ATTR_body)->graph;
    ir_array *state = c->out->data;
    for (int i = 0; i < c->node->in_count; i++) {
        copy_elements(&state[i], &c->in[i]);
    }
    for (;;) {
        arena scratch = {0};
        ir_array more;
        ir_array *next = arena_array(&scratch, ir_array, body->output_count);
        interp_run_graph(condition, &scratch, c->unit, state, NULL, &more);
        const bool go_on = interp_load(&more, 0).u != 0;
        if (go_on) interp_run_graph(body, &scratch, c->unit, state, NULL, next);
        for (int i = 0; go_on && i < c->node->in_count; i++) {
            copy_elements(&state[i], &next[i]);
        }
        arena_done(&scratch);
        if (!go_on) return;
    }
}

/* True when operand `i` of a scan is one element per step along dim 0, not a constant of the
 * body: then the body's parameter lacks that dim. */
static bool is_sliced(const interp *c, const ir_graph *body, int i)
{
    for (size_t v = 0; v < body->count; v++) {
        const ir_node *node = &body->node[v];
        if (node->op == OP_parameter && ir_attr_int(node, ATTR_index, -1) == i)
            return ir_scan_is_sliced(c->node, &c->graph->node[c->node->in[i]].type, &node->type);
    }
    return false;
}

/* Element `step` along dim 0, as an array of the other dims that shares the data. */
static ir_array slice_of(const ir_array *x, int64_t step)
{
    ir_array slice = {.type = {.dtype = x->type.dtype, .rank = x->type.rank - 1}};
    for (int i = 0; i < slice.type.rank; i++) {
        slice.type.dim[i] = x->type.dim[i + 1];
    }
    if (x->data) slice.data = (char *)x->data + bytes_of(&slice) * (size_t)step;
    return slice;
}

/* Values `first` .. of x, as many as `count`: shares the data. */
static ir_array rows_of(const ir_array *x, int64_t first, int64_t count)
{
    ir_array part = *x;
    part.type.dim[0] = ir_fixed(1);
    part.data = (char *)x->data + bytes_of(&part) * (size_t)first;
    part.type.dim[0] = ir_fixed(count);
    return part;
}

/* Step t runs over the rows that are longer than t, which come first: of states the others stay as they are. */
static void run_ragged_scan(const interp *c)
{
    const ir_graph *body = ir_attr_find(c->node, ATTR_body)->graph;
    const int carried = (int)ir_attr_int(c->node, ATTR_carried, 0), last = c->node->in_count - 1;
    const bool reverse = ir_attr_int(c->node, ATTR_reverse, 0) != 0;
    const int64_t *ends = c->in[last].data, count = c->in[last].type.dim[0].count;
    const size_t values = (size_t)c->unit[ir_scan_unit(c->node)];
    ir_array *result = c->out->data, *in = arena_array(c->arena, ir_array, (size_t)c->node->in_count);
    ragged_rows rows = {.first = arena_array(c->arena, int64_t, values + 1),
                        .order = arena_array(c->arena, int64_t, (size_t)count),
                        .rank = arena_array(c->arena, int64_t, (size_t)count)};
    tfcc_ragged_sort(&rows, ends, count);
    for (int i = 0; i < carried; i++) copy_elements(&result[i], &c->in[i]);
    for (int64_t k = 0; k < rows.longest; k++) {
        const int64_t step = reverse ? rows.longest - 1 - k : k, first = rows.first[step];
        int64_t unit[UNIT_values] = {1, rows.first[step + 1] - first};
        arena scratch = {0};
        ir_array *out = arena_array(&scratch, ir_array, body->output_count);
        for (int i = 0; i <= last; i++) {
            const ir_array from = i < carried ? result[i] : c->in[i];
            in[i] = i >= carried && is_sliced(c, body, i) ? rows_of(&from, first, unit[UNIT_rows]) : from;
        }
        interp_run_graph(body, &scratch, unit, in, NULL, out);
        for (int i = 0; i < (int)body->output_count; i++) {
            const ir_array to = rows_of(&result[i], i < carried ? 0 : first, unit[UNIT_rows]);
            copy_elements(i < carried && !body->node[body->output[i].value].type.dim[0].batch ? &result[i] : &to, &out[i]);
        }
        arena_done(&scratch);
    }
}

void interp_nest_scan(const interp *c)
{
    if (ir_scan_unit(c->node)) {
        run_ragged_scan(c);
        return;
    }
    const ir_graph *body = ir_attr_find(c->node, ATTR_body)->graph;
    const int carried = (int)ir_attr_int(c->node, ATTR_carried, 0);
    const int64_t length = ir_attr_int(c->node, ATTR_length, 0) * (ir_attr_int(c->node, ATTR_by_rows, 0) ? c->unit[UNIT_rows] : 1);
    const bool reverse = ir_attr_int(c->node, ATTR_reverse, 0) != 0;
    ir_array *result = c->out->data; /* the last state, then what each step gives, stacked */
    ir_array *in = arena_array(c->arena, ir_array, (size_t)c->node->in_count);
    for (int i = 0; i < carried; i++) {
        copy_elements(&result[i], &c->in[i]);
        in[i] = result[i];
    }
    for (int64_t k = 0; k < length; k++) {
        const int64_t step = reverse ? length - 1 - k : k;
        arena scratch = {0};
        ir_array *out = arena_array(&scratch, ir_array, body->output_count);
        for (int i = carried; i < c->node->in_count; i++) {
            in[i] = is_sliced(c, body, i) ? slice_of(&c->in[i], step) : c->in[i];
        }
        interp_run_graph(body, &scratch, c->unit, in, NULL, out);
        for (int i = 0; i < (int)body->output_count; i++) {
            const ir_array to = i < carried ? result[i] : slice_of(&result[i], step);
            copy_elements(&to, &out[i]);
        }
        arena_done(&scratch);
    }
}

/* ---- the table ---------------------------------------------------------------------------- */

#define ROW_SOURCE(name)
#define ROW_MAP(name)
#define ROW_MOVE(name)
#define ROW_VIEW(name)
#define ROW_REDUCE(name)
#define ROW_CONTRACT(name)
#define ROW_NEST(name) [OP_##name] = interp_nest_##name,
#define ROW_TUPLE(name)
static void (*const nest_rules[OP_COUNT])(const interp *) = {
#define OP(name, class, ...) ROW_##class(name)
#include "ir/ops.def"
};

void interp_run_nest(const interp *c)
{
    nest_rules[c->node->op](c);
}
