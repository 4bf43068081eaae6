/* cpu_winograd_weights.c: the gradient of a kernel, see winograd.h. The transformed image and gradient are summed over
 * tiles: a task owns a block of channels and of results, and with partial sums a range of tiles. It transforms both for
 * block after block of tiles into scratch memory, adds up the products of every place, and transforms these back at
 * the end. */
#include "codegen/winograd.h"

typedef struct weights {
    const winograd_form *form;
    winograd_matrix matrix[2], back; /* of image and gradient; of the sums */
    int64_t block;               /* tiles of a block */
    int64_t splits, size[2];     /* partial sums or 0; channels, results */
    int64_t low[2], tiles[2];    /* padding; tiles of an image */
    ir_dim all;                  /* tiles in all */
    winograd_window window[2];   /* image, gradient */
    winograd_products products;  /* rows: channels; columns: results */
    int64_t width[2];            /* floats between the tiles of v */
    cg_value v[2];               /* transformed: [places][tiles of a block][width] */
    cg_value begin[2], end[2];   /* channels and results of the task */
    cg_value split, from, to;    /* its tiles */
    cg_value tile;               /* of the block */
    int which;
    int64_t rest;                /* channels in the last panel of all when that is cut, else 0 */
    cg_value tile_fn, rest_fn;
    cg_value row;                /* channel that is written */
} weights;

static void describe(const cg *c, weights *q)
{
    const ir_node *n = cg_node(c, c->body->main);
    const ir_type *image = cg_type(c, n->in[0]), *gradient = cg_type(c, n->in[1]);
    const int64_t *low = ir_attr_ints(n, ATTR_padding_low, &(int){0});
    const winograd_form *form = winograd_form_of(n);
    *q = (weights){.form = form, .matrix = {form->image, winograd_transposed(&form->result)},
                   .back = winograd_transposed(&form->kernel), .splits = ir_attr_int(n, ATTR_splits, 0),
                   .size = {image->dim[3].count, gradient->dim[3].count}};
    for (int d = 0; d < 2; d++) {
        q->low[d] = low[d];
        q->tiles[d] = base_ceil_div(gradient->dim[d + 1].count, form->step);
    }
    q->all = (ir_dim){gradient->dim[0].count * q->tiles[0] * q->tiles[1], gradient->dim[0].batch};
}

/* ---- operands ----------------------------------------------------------------------------------------- */

static void transform_pixels(cg *c, cg_value channel, cg_value left, void *context)
{
    weights *q = context;
    const int64_t width = q->width[q->which];
    cg_value d[WINOGRAD_MOST];
    winograd_window_read(c, &q->window[q->which], channel, left, d);
    cg_value at = cg_add(c, cg_mul(c, q->tile, cg_i64(c, width)), cg_sub(c, channel, q->begin[q->which]));
    winograd_transform_store(c, &q->matrix[q->which], d, cg_at(c, c->f32, q->v[q->which], at), q->block * width);
}

static void transform_window(cg *c, weights *q, const cg_value at[3], bool known)
{
    winograd_window_set(c, &q->window[q->which], at, known);
    winograd_vectors(c, q->begin[q->which], q->end[q->which], q->size[q->which], transform_pixels, q);
}

/* Tiles first .. first + count - 1. */
static void transform(cg *c, weights *q, cg_value first, cg_value count)
{
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), count, 1, 0, NULL);
    q->tile = l.i;
    for (q->which = 0; q->which < 2; q->which++) {
        cg_value at[3];
        winograd_tile_split(c, q->tiles, cg_add(c, first, l.i), at);
        for (int d = 0; d < 2; d++) {
            at[d + 1] = cg_mul(c, at[d + 1], cg_i64(c, q->form->step));
            if (!q->which) at[d + 1] = cg_sub(c, at[d + 1], cg_i64(c, q->low[d]));
        }
        cg_branch inside;
        cg_if_begin(c, &inside, winograd_window_fits(c, &q->window[q->which], at), 0, NULL);
        transform_window(c, q, at, true);
        cg_if_other(c, &inside, NULL);
        transform_window(c, q, at, false);
        cg_if_end(c, &inside, NULL);
    }
    cg_loop_end(c, &l, NULL);
}

/* ---- products ----------------------------------------------------------------------------------------- */

static void call_tile(cg *c, const weights *q, cg_value left, cg_value *arg)
{
    if (!q->rest) {
        cg_helper_call(c, q->tile_fn, 5, arg);
        return;
    }
    cg_branch whole;
    cg_if_begin(c, &whole, cg_icmp(c, LLVMIntSGE, left, cg_i64(c, c->target->mr)), 0, NULL);
    cg_helper_call(c, q->tile_fn, 5, arg);
    cg_if_other(c, &whole, NULL);
    cg_helper_call(c, q->rest_fn, 5, arg);
    cg_if_end(c, &whole, NULL);
}

static void multiply(cg *c, const weights *q, cg_value count, cg_value more)
{
    const int64_t mr = c->target->mr, nr = c->target->nr;
    cg_value zero = cg_i64(c, 0), channels = cg_sub(c, q->end[0], q->begin[0]);
    cg_loop place, n, m;
    cg_loop_begin(c, &place, zero, cg_i64(c, q->form->places), 1, 0, NULL);
    cg_value a = cg_at(c, c->f32, q->v[0], cg_mul(c, place.i, cg_i64(c, q->block * q->width[0])));
    cg_value b = cg_at(c, c->f32, q->v[1], cg_mul(c, place.i, cg_i64(c, q->block * q->width[1])));
    cg_loop_begin(c, &n, zero, cg_sub(c, q->end[1], q->begin[1]), nr, 0, NULL);
    cg_loop_begin(c, &m, zero, channels, mr, 0, NULL);
    cg_value arg[] = {cg_at(c, c->f32, a, m.i), cg_at(c, c->f32, b, n.i), count,
                      winograd_products_tile(c, &q->products, place.i, m.i, n.i), more};
    call_tile(c, q, cg_sub(c, channels, m.i), arg);
    cg_loop_end(c, &m, NULL);
    cg_loop_end(c, &n, NULL);
    cg_loop_end(c, &place, NULL);
}

/* At least one turn: without tiles the sums are zero. */
static void sum_tiles(cg *c, weights *q)
{
    cg_loop l;
    cg_loop_begin(c, &l, q->from, cg_max(c, q->to, cg_add(c, q->from, cg_i64(c, 1))), q->block, 0, NULL);
    cg_value count = cg_min(c, cg_i64(c, q->block), cg_sub(c, q->to, l.i));
    transform(c, q, l.i, count);
    multiply(c, q, count, LLVMBuildZExt(c->b, cg_icmp(c, LLVMIntSGT, l.i, q->from), c->i64, ""));
    cg_loop_end(c, &l, NULL);
}

/* ---- the result --------------------------------------------------------------------------------------- */

static void finish_vector(cg *c, cg_value n, cg_value left, void *context)
{
    const weights *q = context;
    const int skip = q->splits > 0;
    cg_value m[WINOGRAD_MOST], w[WINOGRAD_KERNEL * WINOGRAD_KERNEL];
    winograd_products_load(c, &q->products, cg_sub(c, q->row, q->begin[0]), cg_sub(c, n, q->begin[1]), m);
    winograd_transform(c, &q->back, m, w);
    for (int p = 0; p < (int)countof(w); p++) {
        cg_value at[] = {q->split, cg_i64(c, p / WINOGRAD_KERNEL), cg_i64(c, p % WINOGRAD_KERNEL), q->row, n};
        cg_index index = cg_index_make(c->lanes, 4 + skip, at + 1 - skip);
        cg_index_run(&index, 3 + skip, 1);
        if (left) index.mask = cg_mask_first(c, c->lanes, left);
        cg_main_store(c, &index, w[p]);
    }
}

static void finish_block(cg *c, weights *q)
{
    cg_loop l;
    cg_loop_begin(c, &l, q->begin[0], q->end[0], 1, 0, NULL);
    q->row = l.i;
    winograd_vectors(c, q->begin[1], q->end[1], q->size[1], finish_vector, q);
    cg_loop_end(c, &l, NULL);
}

/* The task's channels, results and tiles. */
static void find_block(cg *c, weights *q, int64_t blocks)
{
    const int64_t splits = base_max(q->splits, 1);
    cg_value part, all = cg_dim(c, q->all);
    cg_task_rows(c, ir_fixed(q->size[0]), q->products.rows, blocks * splits, &q->begin[0], &q->end[0], &part);
    q->begin[1] = cg_mul(c, cg_rem(c, part, cg_i64(c, blocks)), cg_i64(c, q->products.columns));
    q->end[1] = cg_min(c, cg_add(c, q->begin[1], cg_i64(c, q->products.columns)), cg_i64(c, q->size[1]));
    q->split = cg_div(c, part, cg_i64(c, blocks));
    q->from = cg_div(c, cg_mul(c, q->split, all), cg_i64(c, splits));
    q->to = cg_div(c, cg_mul(c, cg_add(c, q->split, cg_i64(c, 1)), all), cg_i64(c, splits));
}

void cg_winograd_weights(cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    const int64_t mr = c->target->mr, nr = c->target->nr;
    weights q;
    describe(c, &q);
    cg_kernel_begin(c);
    q.products.places = q.form->places;
    const cg_tiles most = winograd_tiles(c);
    q.block = most.k;
    q.products.rows = winograd_block(q.size[0], most.m, mr);
    q.products.columns = winograd_block(q.size[1], most.n, nr);
    q.rest = q.size[0] % mr;
    for (int i = 0; i < 2; i++) {
        q.width[i] = winograd_stride(i ? q.products.columns : q.products.rows);
        q.v[i] = cg_scratch(c, 4 * q.form->places * q.block * q.width[i]);
        winograd_window_begin(c, &q.window[i], n->in[i], i ? q.form->step : q.form->tile);
    }
    winograd_products_begin(c, &q.products);
    const tile_form form = {.row = 1, .position = q.width[0], .column = q.width[1]};
    q.tile_fn = cg_tile(c, &form, (int)mr);
    if (q.rest) q.rest_fn = cg_tile(c, &form, (int)q.rest);
    const int64_t blocks = base_ceil_div(q.size[1], q.products.columns);
    find_block(c, &q, blocks);
    sum_tiles(c, &q);
    finish_block(c, &q);
    cg_kernel_end(c, ir_fixed(q.size[0]), q.products.rows, blocks * base_max(q.splits, 1));
}
