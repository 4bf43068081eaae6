/* augment.h: private to frontend/: image augmentation in training, as keras.layers does it on TensorFlow. A class is
 * a row of augment.def: it draws its numbers once for a batch and applies them to images [N, rows, columns, channels]
 * in the compute dtype. Layers made of others (RandomColorJitter, RandAugment) let these draw from their own seeds. */
#ifndef TFCC_AUGMENT_H
#define TFCC_AUGMENT_H

#include "frontend/layers.h"
#include "frontend/ops.h"

typedef struct augment_kind augment_kind;

/* What a class reads of its config; a class has no use for most of it. */
typedef struct augment_state {
    const augment_kind *kind;
    fe_seed seed;
    bool channels_first;
    double range[2];           /* of colours */
    double factor[2][2];       /* lowest and highest, as the kind's factor rows say */
    bool has_factor[2];
    bool flip[2];              /* rows, columns */
    bool bilinear;
    const char *fill_mode;
    double fill_value[3];
    int fill_count;            /* 0: RandomErasing draws what it fills in */
    double amount;             /* RandomPerspective's scale, MixUp's alpha, clip_limit */
    int64_t size[2];           /* height and width, kernel size, tiles */
    int64_t count;             /* bins, num_ops */
    const struct augment_state *part; /* what it is made of */
    int part_count;
} augment_state;

enum { AUGMENT_DRAWS = 24 };

/* One call of a layer. */
typedef struct augment {
    fe_lower *l;
    fe_layer *layer; /* owns the seeds */
    op_use u;        /* for the builders of ops.h */
    fe_seed seed;
    ir_type type;    /* of the images */
} augment;

/* A number: what Keras makes of one given for both ends. */
typedef enum augment_mirror { AUGMENT_FROM_ZERO, AUGMENT_BOTH_WAYS, AUGMENT_ALONE } augment_mirror;
typedef struct augment_factor {
    const char *key; /* NULL: no such factor */
    double least, most;
    augment_mirror mirror;
    bool optional;
    double otherwise;
} augment_factor;

/* Fields that a class has besides its factors. */
enum {
    AUGMENT_RANGE = 1, AUGMENT_SEED = 2, AUGMENT_WARP = 4, AUGMENT_FILL_MODE = 8, AUGMENT_FILL = 16, AUGMENT_SIZE = 32
};

/* When the images of a layer are cast to its compute dtype. */
typedef enum augment_cast { AUGMENT_CAST_ALWAYS, AUGMENT_CAST_TRAINING, AUGMENT_CAST_NEVER } augment_cast;

struct augment_kind {
    const char *name;
    unsigned fields;
    augment_cast cast;
    bool always; /* works at inference, too */
    int idle;    /* seeds that it uses up at inference */
    augment_factor factor[2];
    bool (*read)(fe_config *c, augment_state *s); /* further fields, or NULL */
    bool (*draw)(augment *a, const augment_state *s, ir_value *draw); /* NULL: draws nothing */
    bool (*apply)(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out);
    const char *refusal; /* of training, or NULL */
};
const augment_kind *augment_kind_find(const char *name); /* NULL: no such class */
bool augment_factor_read(fe_config *c, const augment_factor *row, double out[2], bool *out_has);
/* A part of a layer: `factor` as the layer gives it on. */
augment_state augment_part_make(const char *name, const augment_state *whole, double low, double high);

#define AUGMENT(name)                                                                                        \
    bool augment_draw_##name(augment *a, const augment_state *s, ir_value *draw);                            \
    bool augment_apply_##name(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out);
#include "frontend/augment.def"

bool augment_read_flip(fe_config *c, augment_state *s);
bool augment_read_perspective(fe_config *c, augment_state *s);
bool augment_read_blur(fe_config *c, augment_state *s);
bool augment_read_fill(fe_config *c, augment_state *s);
bool augment_read_bins(fe_config *c, augment_state *s);
bool augment_read_tiles(fe_config *c, augment_state *s);
bool augment_read_alpha(fe_config *c, augment_state *s);
bool augment_read_jitter(fe_config *c, augment_state *s);
bool augment_read_rand(fe_config *c, augment_state *s);
bool augment_read_aug_mix(fe_config *c, augment_state *s);

/* ---- building (augment_build.c) ---------------------------------------------------------- */

ir_value augment_seed(augment *a); /* the next one */
/* f32 numbers in low .. high, one an image or of any shape. */
ir_value augment_uniform(augment *a, ir_type shape, double low, double high);
ir_value augment_uniform_rows(augment *a, double low, double high);
ir_type augment_rows(const augment *a, ir_dtype dtype); /* [N] */
/* One number an image over the type of x. */
ir_value augment_spread(augment *a, ir_value rows, ir_value x);
ir_value augment_clip(augment *a, ir_value x, double low, double high);
ir_value augment_range(augment *a, ir_value x, const double from[2], const double to[2]);
ir_value augment_add(augment *a, ir_value x, ir_value y);
ir_value augment_subtract(augment *a, ir_value x, ir_value y);
ir_value augment_multiply(augment *a, ir_value x, ir_value y);
/* x + factor * (y - x), the factor one number an image. */
ir_value augment_blend(augment *a, ir_value x, ir_value y, ir_value factor);
/* y where the image's condition holds, else x. */
ir_value augment_choose(augment *a, ir_value condition, ir_value y, ir_value x);
ir_value augment_grayscale(augment *a, ir_value x); /* [N, rows, columns, 1]; IR_NONE after a diagnostic */
/* The elements of x [N, n, ...] that indices [N, m] name. */
ir_value augment_pick(augment *a, ir_value x, ir_value indices);
bool augment_colours_check(augment *a);
/* False with a diagnostic when trained weights reach x: TensorFlow's gradient of a warp is only near the true one. */
bool augment_untrained_check(augment *a, ir_value x);

/* Takes every pixel (column x, row y) of the result from where the projection
 * ((a0 x + a1 y + a2) / k, (b0 x + b1 y + b2) / k), k = c0 x + c1 y + 1, of the image's own row of eight [N]
 * numbers lies; IR_NONE stands for 0. */
typedef struct augment_projection {
    ir_value a[3], b[3], c[2];
} augment_projection;
bool augment_project(augment *a, const augment_state *s, ir_value x, const augment_projection *p, ir_value *out);
/* The same for the projection that takes the points `to` to the points `from`, each f32[N, 4, 2]. */
bool augment_project_corners(augment *a, const augment_state *s, ir_value x, ir_value from, ir_value to, ir_value *out);

#endif
