/* cpu_winograd.c: results of a convolution, and the gradient of its image, see winograd.h. A task owns a block of tiles
 * and of results: for block after block of channels it transforms the kernel and the image into scratch memory, as other
 * products pack their operands, multiplies them place by place, and at the end transforms the products back, straight
 * into the epilogue. No array of tiles goes through memory, and what a task does depends on shapes only. */
#include "codegen/winograd.h"

typedef struct taps {
    const winograd_form *form;
    ir_value kernel;
    bool reversal;
    int64_t channels, results;  /* of the convolution */
    int64_t low[2], tiles[2];   /* padding; tiles of an image */
    int in_at, out_at;          /* dims of the kernel */
    winograd_window window;
    winograd_products products; /* rows: tiles */
    int64_t kc, row;            /* channels of a block; floats between its tiles */
    cg_value u, v;              /* transformed: kernel [places][results / nr][kc][nr], image [places][tiles][row] */
    cg_value line;              /* see load_line */
    cg_value begin[2], end[2];  /* tiles and results of the task */
    cg_value k, length;         /* channels of this turn */
    cg_value tile, column;      /* the tile of the block; of the kernel, the first result */
    cg_value y, place;          /* results of a tile, and the one that is written */
} taps;

static void describe(const cg *c, taps *q)
{
    const ir_node *n = cg_node(c, c->body->main);
    const char *layout = ir_attr_text(n, ATTR_rhs_layout);
    const int64_t *low = ir_attr_ints(n, ATTR_padding_low, &(int){0});
    *q = (taps){.form = winograd_form_of(n), .kernel = n->in[1], .reversal = ir_attr_int(n, ATTR_window_reversal, 0) != 0};
    q->in_at = layout[2] == 'i' ? 2 : 3;
    q->out_at = 5 - q->in_at;
    q->channels = cg_type(c, q->kernel)->dim[q->in_at].count;
    q->results = cg_type(c, q->kernel)->dim[q->out_at].count;
    for (int d = 0; d < 2; d++) {
        q->low[d] = low[d];
        q->tiles[d] = base_ceil_div(n->type.dim[d + 1].count, q->form->step);
    }
}

/* ---- the kernel --------------------------------------------------------------------------------------- */

/* Lanes of kernel position p, `lanes` along `along` from there on, at channel k and result n. */
static cg_value read_kernel(cg *c, const taps *q, int p, cg_value k, cg_value n, int along, cg_value left)
{
    const int place = q->reversal ? WINOGRAD_KERNEL * WINOGRAD_KERNEL - 1 - p : p;
    cg_value at[4] = {cg_i64(c, place / WINOGRAD_KERNEL), cg_i64(c, place % WINOGRAD_KERNEL)};
    at[q->in_at] = k;
    at[q->out_at] = n;
    cg_index index = cg_index_make(c->lanes, 4, at);
    cg_index_run(&index, along, 1);
    if (left) index.mask = cg_mask_first(c, c->lanes, left);
    return cg_element(c, q->kernel, &index);
}

/* Writes a vector of results at position k of the turn. */
static void store_kernel(cg *c, const taps *q, const cg_value *w, cg_value k, cg_value n)
{
    const int64_t nr = c->target->nr;
    cg_value offset = cg_sub(c, n, q->begin[1]);
    cg_value at = cg_mul(c, cg_div(c, offset, cg_i64(c, nr)), cg_i64(c, q->kc * nr));
    at = cg_add(c, at, cg_add(c, cg_mul(c, k, cg_i64(c, nr)), cg_rem(c, offset, cg_i64(c, nr))));
    winograd_transform_store(c, &q->form->kernel, w, cg_at(c, c->f32, q->u, at), q->products.columns * q->kc);
}

/* A kernel whose results lie side by side: channel after channel. */
static void transform_along_results(cg *c, cg_value n, cg_value left, void *context)
{
    taps *q = context;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), q->length, 1, 0, NULL);
    cg_value w[WINOGRAD_KERNEL * WINOGRAD_KERNEL];
    for (int p = 0; p < (int)countof(w); p++) w[p] = read_kernel(c, q, p, cg_add(c, q->k, l.i), n, q->out_at, left);
    store_kernel(c, q, w, l.i, n);
    cg_loop_end(c, &l, NULL);
}

/* The vectors of results of `lanes` channels from k on, [9][lanes][lanes], when channels lie side by side. */
static void load_line(cg *c, const taps *q, cg_value k, cg_value n, cg_value left)
{
    const int lanes = c->lanes;
    for (int p = 0; p < WINOGRAD_KERNEL * WINOGRAD_KERNEL; p++) {
        cg_value v[16];
        for (int i = 0; i < lanes; i++) {
            cg_value row = cg_min(c, cg_add(c, n, cg_i64(c, i)), cg_i64(c, q->results - 1));
            v[i] = read_kernel(c, q, p, k, row, q->in_at, left);
        }
        cg_transpose(c, lanes, v);
        for (int i = 0; i < lanes; i++) {
            cg_store(c, v[i], cg_at(c, c->f32, q->line, cg_i64(c, ((int64_t)p * lanes + i) * lanes)), 4);
        }
    }
}

static void transform_channels(cg *c, cg_value k, cg_value left, void *context)
{
    const taps *q = context;
    const int lanes = c->lanes;
    load_line(c, q, k, q->column, left);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), left ? left : cg_i64(c, lanes), 1, 0, NULL);
    cg_value w[WINOGRAD_KERNEL * WINOGRAD_KERNEL];
    for (int p = 0; p < (int)countof(w); p++) {
        cg_value at = cg_mul(c, cg_add(c, l.i, cg_i64(c, (int64_t)p * lanes)), cg_i64(c, lanes));
        w[p] = cg_load(c, cg_vector(c->f32, lanes), cg_at(c, c->f32, q->line, at), 4);
    }
    store_kernel(c, q, w, cg_add(c, cg_sub(c, k, q->k), l.i), q->column);
    cg_loop_end(c, &l, NULL);
}

static void transform_along_channels(cg *c, cg_value n, cg_value left, void *context)
{
    taps *q = context;
    (void)left;
    q->column = n;
    winograd_vectors(c, q->k, cg_add(c, q->k, q->length), q->channels, transform_channels, q);
}

static void transform_kernel(cg *c, taps *q)
{
    winograd_step *step = q->in_at == 3 ? transform_along_channels : transform_along_results;
    winograd_vectors(c, q->begin[1], q->end[1], q->results, step, q);
}

/* ---- the image ---------------------------------------------------------------------------------------- */

static void transform_pixels(cg *c, cg_value channel, cg_value left, void *context)
{
    taps *q = context;
    cg_value d[WINOGRAD_MOST];
    winograd_window_read(c, &q->window, channel, left, d);
    cg_value at = cg_add(c, cg_mul(c, q->tile, cg_i64(c, q->row)), cg_sub(c, channel, q->k));
    winograd_transform_store(c, &q->form->image, d, cg_at(c, c->f32, q->v, at), q->products.rows * q->row);
}

static void transform_tile(cg *c, taps *q, const cg_value at[3], bool known)
{
    winograd_window_set(c, &q->window, at, known);
    winograd_vectors(c, q->k, cg_add(c, q->k, q->length), q->channels, transform_pixels, q);
}

/* All tiles of the block; the last panel is filled up with the last tile. */
static void transform_image(cg *c, taps *q)
{
    cg_value mr = cg_i64(c, c->target->mr), count = cg_sub(c, q->end[0], q->begin[0]), at[3];
    cg_value filled = cg_mul(c, cg_div(c, cg_add(c, count, cg_sub(c, mr, cg_i64(c, 1))), mr), mr);
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), filled, 1, 0, NULL);
    q->tile = l.i;
    winograd_tile_split(c, q->tiles, cg_min(c, cg_add(c, q->begin[0], l.i), cg_sub(c, q->end[0], cg_i64(c, 1))), at);
    for (int d = 0; d < 2; d++)
        at[d + 1] = cg_sub(c, cg_mul(c, at[d + 1], cg_i64(c, q->form->step)), cg_i64(c, q->low[d]));
    cg_branch inside;
    cg_if_begin(c, &inside, winograd_window_fits(c, &q->window, at), 0, NULL);
    transform_tile(c, q, at, true);
    cg_if_other(c, &inside, NULL);
    transform_tile(c, q, at, false);
    cg_if_end(c, &inside, NULL);
    cg_loop_end(c, &l, NULL);
}

/* ---- products and results ----------------------------------------------------------------------------- */

static void multiply(cg *c, taps *q, cg_value tile_fn)
{
    const int64_t mr = c->target->mr, nr = c->target->nr;
    cg_value zero = cg_i64(c, 0), more = LLVMBuildZExt(c->b, cg_icmp(c, LLVMIntSGT, q->k, zero), c->i64, "");
    cg_loop place, n, m;
    cg_loop_begin(c, &place, zero, cg_i64(c, q->form->places), 1, 0, NULL);
    cg_loop_begin(c, &n, zero, cg_sub(c, q->end[1], q->begin[1]), nr, 0, NULL);
    cg_value b = cg_mul(c, cg_add(c, cg_mul(c, place.i, cg_i64(c, q->products.columns)), n.i), cg_i64(c, q->kc));
    cg_loop_begin(c, &m, zero, cg_sub(c, q->end[0], q->begin[0]), mr, 0, NULL);
    cg_value a = cg_mul(c, cg_add(c, cg_mul(c, place.i, cg_i64(c, q->products.rows)), m.i), cg_i64(c, q->row));
    cg_value arg[] = {cg_at(c, c->f32, q->v, a), cg_at(c, c->f32, q->u, b), q->length,
                      winograd_products_tile(c, &q->products, place.i, m.i, n.i), more};
    cg_helper_call(c, tile_fn, countof(arg), arg);
    cg_loop_end(c, &m, NULL);
    cg_loop_end(c, &n, NULL);
    cg_loop_end(c, &place, NULL);
}

/* A vector of results of the tile, one after another to `y`, [step * step][results of the block]. */
static void transform_products(cg *c, cg_value n, cg_value left, void *context)
{
    const taps *q = context;
    cg_value m[WINOGRAD_MOST], y[WINOGRAD_MOST], column = cg_sub(c, n, q->begin[1]);
    (void)left;
    winograd_products_load(c, &q->products, q->tile, column, m);
    winograd_transform(c, &q->form->result, m, y);
    for (int i = 0; i < q->form->step * q->form->step; i++) {
        cg_store(c, y[i], cg_at(c, c->f32, q->y, cg_add(c, column, cg_i64(c, i * q->products.columns))), 4);
    }
}

/* The epilogue of a vector of results at window.at. */
static void finish_vector(cg *c, cg_value n, cg_value left, void *context)
{
    const taps *q = context;
    const cg_value at[] = {q->window.at[0], q->window.at[1], q->window.at[2], n};
    cg_index index = cg_index_make(c->lanes, 4, at);
    cg_index_run(&index, 3, 1);
    if (left) index.mask = cg_mask_first(c, c->lanes, left);
    cg_value from = cg_mul(c, q->place, cg_i64(c, q->products.columns));
    from = cg_at(c, c->f32, q->y, cg_add(c, from, cg_sub(c, n, q->begin[1])));
    cg_main_store(c, &index, cg_load(c, cg_vector(c->f32, c->lanes), from, 4));
}

/* The results of a tile that exist. */
static void finish_tile(cg *c, taps *q)
{
    const ir_type *t = cg_type(c, c->body->main);
    cg_value step = cg_i64(c, q->form->step), zero = cg_i64(c, 0), first[3], end[3];
    for (int d = 1; d < 3; d++) {
        first[d] = cg_mul(c, q->window.at[d], step);
        end[d] = cg_min(c, step, cg_sub(c, cg_i64(c, t->dim[d].count), first[d]));
    }
    cg_loop line, column;
    cg_loop_begin(c, &line, zero, end[1], 1, 0, NULL);
    q->window.at[1] = cg_add(c, first[1], line.i);
    cg_loop_begin(c, &column, zero, end[2], 1, 0, NULL);
    q->window.at[2] = cg_add(c, first[2], column.i);
    q->place = cg_add(c, cg_mul(c, line.i, step), column.i);
    winograd_vectors(c, q->begin[1], q->end[1], q->results, finish_vector, q);
    cg_loop_end(c, &column, NULL);
    cg_loop_end(c, &line, NULL);
}

static void finish_tiles(cg *c, taps *q)
{
    cg_loop l;
    cg_loop_begin(c, &l, q->begin[0], q->end[0], 1, 0, NULL);
    q->tile = cg_sub(c, l.i, q->begin[0]);
    winograd_tile_split(c, q->tiles, l.i, q->window.at);
    winograd_vectors(c, q->begin[1], q->end[1], q->results, transform_products, q);
    finish_tile(c, q);
    cg_loop_end(c, &l, NULL);
}

void cg_winograd_taps(cg *c)
{
    const int64_t mr = c->target->mr, nr = c->target->nr;
    taps q;
    describe(c, &q);
    const cg_tiles most = winograd_tiles(c);
    cg_kernel_begin(c);
    q.products.places = q.form->places;
    q.products.rows = winograd_round_up(most.m, mr);
    q.products.columns = winograd_block(q.results, most.n, nr);
    q.kc = winograd_block(q.channels, most.k, c->lanes);
    q.row = winograd_stride(q.kc);
    const int64_t blocks = base_ceil_div(q.results, q.products.columns);
    q.u = cg_scratch(c, 4 * q.form->places * q.products.columns * q.kc);
    q.v = cg_scratch(c, 4 * q.form->places * q.products.rows * q.row);
    q.line = cg_scratch(c, 4 * (int64_t)c->lanes * c->lanes * WINOGRAD_KERNEL * WINOGRAD_KERNEL);
    winograd_products_begin(c, &q.products);
    winograd_window_begin(c, &q.window, cg_node(c, c->body->main)->in[0], q.form->tile);
    q.y = cg_scratch(c, 4 * q.form->step * q.form->step * q.products.columns);
    const tile_form form = {.row = q.row, .position = 1, .column = nr};
    cg_value tile_fn = cg_tile(c, &form, (int)mr), part;
    const ir_dim rows = cg_type(c, c->body->main)->dim[0];
    const ir_dim tiles = {rows.count * q.tiles[0] * q.tiles[1], rows.batch};
    cg_task_rows(c, tiles, q.products.rows, blocks, &q.begin[0], &q.end[0], &part);
    q.begin[1] = cg_mul(c, part, cg_i64(c, q.products.columns));
    q.end[1] = cg_min(c, cg_add(c, q.begin[1], cg_i64(c, q.products.columns)), cg_i64(c, q.results));
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, q.channels), q.kc, 0, NULL);
    q.k = l.i;
    q.length = cg_min(c, cg_i64(c, q.kc), cg_sub(c, cg_i64(c, q.channels), l.i));
    transform_kernel(c, &q);
    transform_image(c, &q);
    multiply(c, &q, tile_fn);
    cg_loop_end(c, &l, NULL);
    finish_tiles(c, &q);
    cg_kernel_end(c, tiles, q.products.rows, blocks);
}
