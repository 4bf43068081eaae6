/* interp_window.c: loops over windows. A window position that falls between the elements
 * (dilation) or beside them (padding) counts as the identity: it is skipped. */
#include "ir/interp.h"

#include <string.h>

typedef struct window {
    ir_type size; /* the window itself, as a shape to count over */
    int64_t strides[IR_MAX_RANK], low[IR_MAX_RANK];
    int64_t base_dilation[IR_MAX_RANK], window_dilation[IR_MAX_RANK];
} window;

static window read_window(const interp *c)
{
    const int rank = c->in[0].type.rank;
    window w = {.size = {.dtype = DTYPE_i1, .rank = rank}};
    int64_t size[IR_MAX_RANK];
    interp_attr_fill(c->node, ATTR_window_dimensions, rank, 1, size);
    interp_attr_fill(c->node, ATTR_window_strides, rank, 1, w.strides);
    interp_attr_fill(c->node, ATTR_padding_low, rank, 0, w.low);
    interp_attr_fill(c->node, ATTR_base_dilation, rank, 1, w.base_dilation);
    interp_attr_fill(c->node, ATTR_window_dilation, rank, 1, w.window_dilation);
    for (int i = 0; i < rank; i++) {
        w.size.dim[i] = ir_fixed(size[i]);
    }
    return w;
}

/* The element of x that window position `inside` of result `at` covers; false when it covers
 * none. */
static bool find_element(const window *w, const ir_type *x, const int64_t *at,
                         const int64_t *inside, int64_t *out_offset)
{
    int64_t index[IR_MAX_RANK];
    for (int i = 0; i < x->rank; i++) {
        const int64_t place =
            at[i] * w->strides[i] + inside[i] * w->window_dilation[i] - w->low[i];
        index[i] = place / w->base_dilation[i];
        if (place < 0 || place % w->base_dilation[i] != 0 || index[i] >= x->dim[i].count)
            return false;
    }
    *out_offset = interp_offset(x, index);
    return true;
}

void interp_nest_reduce_window(const interp *c)
{
    const window w = read_window(c);
    const ir_array *x = &c->in[0];
    const char *kind = ir_attr_text(c->node, ATTR_kind);
    const interp_combine combine = interp_combine_get(kind);
    int64_t at[IR_MAX_RANK] = {0};
    if (!interp_has_elements(&c->out->type)) return;
    do {
        interp_cell sum = interp_identity(kind, x->type.dtype);
        int64_t inside[IR_MAX_RANK] = {0}, offset;
        if (interp_has_elements(&w.size)) {
            do {
                if (find_element(&w, &x->type, at, inside, &offset))
                    sum = combine(x->type.dtype, sum, interp_load(x, offset));
            } while (interp_next(&w.size, inside));
        }
        interp_store(c->out, interp_offset(&c->out->type, at), sum);
    } while (interp_next(&c->out->type, at));
}

/* The first best element of a window; -1 when the window covers none. A NaN is never better
 * than what stands before it, nor worse than what comes after. */
static int64_t find_winner(const interp *c, const window *w, const int64_t *at)
{
    const ir_array *x = &c->in[0];
    const bool largest = strcmp(ir_attr_text(c->node, ATTR_kind), "maximum") == 0;
    int64_t inside[IR_MAX_RANK] = {0}, offset, best = -1;
    do {
        if (!find_element(w, &x->type, at, inside, &offset)) continue;
        const interp_cell next = interp_load(x, offset);
        const interp_cell held = best < 0 ? next : interp_load(x, best);
        const bool better = largest ? interp_less(x->type.dtype, held, next)
                                    : interp_less(x->type.dtype, next, held);
        if (best < 0 || better) best = offset;
    } while (interp_next(&w->size, inside));
    return best;
}

void interp_nest_select_and_scatter(const interp *c)
{
    const window w = read_window(c);
    const ir_array *source = &c->in[1];
    const ir_dtype dtype = source->type.dtype;
    const int64_t count = ir_array_count(c->out);
    interp_cell *sum =
        arena_array(c->arena, interp_cell, (size_t)count); /* zero bits are 0 of any dtype */
    int64_t at[IR_MAX_RANK] = {0};
    if (interp_has_elements(&source->type) && interp_has_elements(&w.size)) {
        do {
            const int64_t winner = find_winner(c, &w, at);
            if (winner < 0) continue;
            const interp_cell more = interp_load(source, interp_offset(&source->type, at));
            sum[winner] = interp_combine_get("add")(dtype, sum[winner], more);
        } while (interp_next(&source->type, at));
    }
    for (int64_t i = 0; i < count; i++) {
        interp_store(c->out, i, sum[i]);
    }
}
