/* depthwise.h: convolutions of every channel by itself, channels last, with one result per channel: forward and the
 * gradient of the image (taps), and the gradient of the kernel (weights). Vectors run along the channels; the last
 * spatial dim is cut at compile time into positions at the borders, which know their taps, and blocks in between. */
#ifndef TFCC_DEPTHWISE_H
#define TFCC_DEPTHWISE_H

#include "codegen/contraction.h"

/* The contraction, as built and not reordered, is one of these. */
bool cg_depthwise_is_taps(const cg *c, const contraction *x);
bool cg_depthwise_is_weights(const cg *c, const contraction *x);
void cg_depthwise_taps(cg *c, const contraction *x);    /* cpu_depthwise.c */
void cg_depthwise_weights(cg *c, const contraction *x); /* cpu_depthwise_weights.c */

enum { DEPTHWISE_TAPS = 16, DEPTHWISE_BORDER = 16 };

/* Positions 0 .. count - 1 of the last spatial dim that meet the same taps: position i meets, at tap[t] of the kernel,
 * image element i * step + at[t]. All taps of positions from .. to - 1 are inside the image. */
typedef struct depthwise_line {
    int64_t count, step, size; /* size: of the image */
    int taps, tap[DEPTHWISE_TAPS];
    int64_t at[DEPTHWISE_TAPS];
    int64_t from, to;
} depthwise_line;

/* Channels are the last dim of image and result, one result each; all sizes but the batch are known. */
bool cg_depthwise_has_channels_last(const cg *c, const contraction *x);
/* Finds from and to. */
void depthwise_line_finish(depthwise_line *l);
static inline bool depthwise_is_inside(const depthwise_line *l, int64_t position, int t)
{
    int64_t at = position * l->step + l->at[t];
    return at >= 0 && at < l->size;
}

/* What both kinds share. Role coordinates are those of contraction_build: m is batch, then the spatial dims; k the
 * spatial dims, then the channel within the group or the batch. */
typedef struct depthwise {
    const contraction *x;
    contraction_side image; /* lhs with its spatial dims at the coordinates of role m of `place` */
    int spatial;            /* dims; m and k of the last one: m[spatial], k[spatial - 1] */
    int64_t channels;
    int vectors;            /* of channels in a block */
    contraction_point place, at; /* of the image; of the kernel and the result */
} depthwise;

void depthwise_describe(const cg *c, const contraction *x, depthwise *out);
/* lhs dim of spatial dim s, which has the terms of roles m and k. */
const contraction_dim *depthwise_spatial(const contraction *x, int s);
int64_t depthwise_factor(const contraction_dim *d, role r);
/* Sets the channels of both points. */
void depthwise_set_channels(cg *c, depthwise *q, cg_value channel, int lanes);
/* Linear positions of the outer coordinates: linear -> coordinate[0 .. count - 1] of sizes size[], the last one fastest. */
void depthwise_split(cg *c, const ir_dim *size, int count, cg_value linear, cg_value *out_coordinate);
cg_value depthwise_load(cg *c, const contraction_side *s, contraction_point *p, int lanes);
/* The image's row that position m of the result and position k of the kernel meet along d, before dilation and checks. */
cg_value depthwise_row(cg *c, const contraction_dim *d, cg_value m, cg_value k);

/* Emits `count` positions from `first`, which is `border` when that is not negative; else all their taps are inside. */
typedef void depthwise_step(cg *c, cg_value first, int count, int64_t border, cg_value *sum, void *context);
/* All positions of a line: one by one at the borders, in blocks of `block` in between. `sums` carried values. */
void depthwise_line_walk(cg *c, const depthwise_line *l, int block, int sums, cg_value *sum, depthwise_step *step,
                         void *context);

#endif
