/* winograd.h: convolutions of 3 x 3 positions with fewer products: F(2 x 2, 3 x 3) and F(4 x 4, 3 x 3) of Lavin and Gray,
 * "Fast Algorithms for Convolutional Neural Networks", 2016. A tile is step x step results and the pixels of the image
 * they depend on, two more along each side; with w a kernel of one channel, d a tile of the image and the matrices of
 * winograd_form,
 *
 *   result = A' [ (G w G') * (B' d B') ] A        gradient of w = G' [ (A dy A') * (B' d B') ] G
 *
 * where * is element by element: 16 products a tile and pair of channels instead of 36, or 36 instead of 144. Over all
 * tiles and channels these are as many matrix products, which run on the register tile of the others. Images are rows,
 * height, width, channels. Pass winograd chooses which convolutions are done so, and the step. */
#ifndef TFCC_WINOGRAD_H
#define TFCC_WINOGRAD_H

#include "codegen/contraction.h"

enum { WINOGRAD_KERNEL = 3, WINOGRAD_MOST = 36 }; /* MOST: places of a tile */

/* Results or the gradient of an image, rather than of the kernel. */
bool winograd_is_taps(const ir_node *n);
/* cg_tiles of both: tiles, results, channels of a block of taps; channels, results, tiles of weights. */
cg_tiles winograd_tiles_usual(const cg_target *t, int step, const ir_node *n);
cg_tiles winograd_tiles(const cg *c); /* of the kernel that is written */
void cg_winograd_taps(cg *c);    /* cpu_winograd.c: results, and the gradient of the image */
void cg_winograd_weights(cg *c); /* cpu_winograd_weights.c: the gradient of the kernel */

typedef struct winograd_matrix {
    int rows, columns;
    double item[WINOGRAD_MOST];
} winograd_matrix;

typedef struct winograd_form {
    int step, tile, places; /* results and pixels along a side; tile * tile */
    winograd_matrix image, kernel, result; /* B', G, A' */
} winograd_form;
const winograd_form *winograd_form_of(const ir_node *n); /* of its attribute */

winograd_matrix winograd_transposed(const winograd_matrix *m);
/* out[rows][rows] = m in[columns][columns] m'; vectors or scalars. */
void winograd_transform(cg *c, const winograd_matrix *m, const cg_value *in, cg_value *out);
/* The same to memory, element after element `distance` apart: each is stored before the next ones take its register. */
void winograd_transform_store(cg *c, const winograd_matrix *m, const cg_value *in, cg_value to, int64_t distance);

/* size x size pixels of an image; those outside are zero. */
typedef struct winograd_window {
    ir_value image;
    int size;
    cg_value zeros;        /* as many as a pixel has channels */
    bool addressed, known; /* the image lies in memory; the window is known to be inside */
    cg_value at[3];        /* row of the batch, line, column */
    cg_value pixel[WINOGRAD_MOST]; /* addresses; if the image is computed, i1: it is inside */
} winograd_window;

/* Readies scratch memory; once a kernel. */
void winograd_window_begin(cg *c, winograd_window *w, ir_value image, int size);
/* Moves it. `known`: it is inside. */
void winograd_window_set(cg *c, winograd_window *w, const cg_value at[3], bool known);
/* i1: it is inside when moved there. */
cg_value winograd_window_fits(cg *c, const winograd_window *w, const cg_value at[3]);
/* A vector of channels of every pixel; lanes past `left` (NULL: all are there) are zero. */
void winograd_window_read(cg *c, const winograd_window *w, cg_value channel, cg_value left, cg_value *out);

/* Tile number `linear` of an image of lines x columns tiles a row: row of the batch, line, column. */
void winograd_tile_split(cg *c, const int64_t tiles[2], cg_value linear, cg_value out[3]);

/* step(channel, left) for the vectors of channels begin .. end - 1. `size`: channels there are in all; left: how many of
 * the vector's lanes they reach into (0: none), NULL when into all. */
typedef void winograd_step(cg *c, cg_value channel, cg_value left, void *context);
void winograd_vectors(cg *c, cg_value begin, cg_value end, int64_t size, winograd_step *step, void *context);

/* The products of all places: [places][columns / nr][rows / mr] register tiles. _load: columns n, .. of row m of each. */
typedef struct winograd_products {
    int places;
    int64_t rows, columns; /* multiples of mr, nr */
    cg_value address;
} winograd_products;
void winograd_products_begin(cg *c, winograd_products *p);
cg_value winograd_products_tile(cg *c, const winograd_products *p, cg_value place, cg_value m, cg_value n);
void winograd_products_load(cg *c, const winograd_products *p, cg_value m, cg_value n, cg_value *out);

static inline int64_t winograd_round_up(int64_t x, int64_t to) { return base_ceil_div(x, to) * to; }
/* Floats between rows of `count`: an odd number of cache lines, so that rows do not fall on the same sets. */
static inline int64_t winograd_stride(int64_t count) { return (base_ceil_div(count, 16) | 1) * 16; }
/* About `most` of `size`, in equal parts that are multiples of `unit`. */
static inline int64_t winograd_block(int64_t size, int64_t most, int64_t unit)
{
    return winograd_round_up(base_ceil_div(size, base_ceil_div(size, most)), unit);
}

#endif
