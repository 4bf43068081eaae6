/* layers.h: private to frontend/. The layer builders of layers.def and what they share: reading common config
 * fields, checking inputs before IR is built, making weights, and the small graph idioms (softmax, bias,
 * einsum) that several families use. Every function that can fail returns false or IR_NONE after a
 * diagnostic. */
#ifndef TFCC_LAYERS_H
#define TFCC_LAYERS_H

#include "frontend/fe.h"

#define LAYER(name, prefix, mask)                                                                            \
    bool fe_read_##prefix(fe *f, fe_layer *layer, fe_config *config);                                        \
    bool fe_call_##prefix(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out);
#define REFUSED(name, reason)
#include "frontend/layers.def"

enum { FE_MAX_AXES = IR_MAX_RANK };

/* ---- reading (layers_read.c) ------------------------------------------------------------- */

typedef struct fe_weight_config {
    const ir_record *initializer, *regularizer, *constraint;
} fe_weight_config;

/* Fields <weight>_initializer, _regularizer and _constraint; `initializer` names the default. */
bool fe_weight_config_read(fe_config *c, const char *weight, const char *initializer, fe_weight_config *out);
bool fe_activation_read(fe_config *c, const char *key, const ir_record **out); /* NULL: linear */
/* The same of a layer without inner layers, field "activation". A layer that is no function of an activation's name, as one
 * with weights, becomes its only child, and *out is NULL. */
bool fe_activation_or_layer_read(fe_config *c, fe_layer *layer, const ir_record **out);
/* A count of units, filters, steps: 1 .. 2^31 - 1. `otherwise` 0: the field must be there. */
bool fe_size_read(fe_config *c, const char *key, int64_t otherwise, int64_t *out);
/* One for all or `count` numbers, least .. 2^24. */
bool fe_sizes_read(fe_config *c, const char *key, int count, int64_t least, int64_t otherwise, int64_t *out);
/* [[low, high], ...] for `count` dims, or one number a dim, or one number (count 1: also [low, high]). */
bool fe_pairs_read(fe_config *c, const char *key, int count, int64_t otherwise, int64_t (*out)[2]);
bool fe_channels_first_read(fe_config *c, bool *out);
bool fe_rate_read(fe_config *c, const char *key, double *out); /* 0 .. 1, must be there */
typedef struct fe_seed {
    bool has_seed;
    int64_t seed;
} fe_seed;
bool fe_seed_read(fe_config *c, fe_seed *out);
bool fe_axes_read(fe_config *c, const char *key, int *out_count,
                  int64_t *out_axes);       /* default -1; at most FE_MAX_AXES */
int fe_spatial_rank(const fe_layer *layer); /* the digit in the class name: Conv2DTranspose has 2 */
/* The name as Keras writes the class in a config: snake case, with its aliases brought to one spelling. */
const ir_record *fe_initializer_canonical(fe *f, const ir_record *r);

/* ---- inputs and shapes (layers_shape.c) -------------------------------------------------- */

/* The only input, of a rank in least .. most. */
bool fe_input_get(fe_lower *l, fe_layer *layer, const fe_args *args, int least, int most, fe_tensor *out);
/* A list of tensors; its length is in least .. most. In the arena. */
bool fe_inputs_get(fe_lower *l, fe_layer *layer, const fe_args *args, int least, int most, int *out_count,
                   fe_tensor **out);
/* The tensor at `position` or `name`: absent: IR_NONE in *out. */
bool fe_tensor_find(fe_lower *l, fe_layer *layer, const fe_args *args, int position, const char *name,
                    fe_tensor *out);
/* Brings axes (negative: from the end) to 0 .. rank - 1, sorted; `least` 1 keeps the batch dim out. */
bool fe_axes_resolve(fe_lower *l, fe_layer *layer, int rank, int least, int count, int64_t *axes);
/* Dim `axis` of t must be a fixed number. */
bool fe_dim_get(fe_lower *l, fe_layer *layer, const ir_type *t, int axis, int64_t *out);
/* False with a message when a value of this type would be absurdly large. */
bool fe_size_check(fe_lower *l, fe_layer *layer, const ir_type *t);
bool fe_refuse(fe_lower *l, fe_layer *layer, const char *what); /* "<what> is not supported" */
ir_type fe_type(fe_lower *l, ir_value v);                       /* a copy, for builders that add nodes */

/* ---- graph idioms (layers_build.c) ------------------------------------------------------- */

/* fe_finish of what fe_activation_or_layer_read read, on y (IR_NONE: false). */
bool fe_activation_finish(fe_lower *l, fe_layer *layer, const ir_record *activation, ir_value y, fe_value *out);

/* ---- low-rank adaptation (layers_lora.c) -------------------------------------------------- */

typedef struct fe_lora {
    int64_t rank; /* 0: none */
    double scale; /* of the product of the factors */
} fe_lora;
/* Fields lora_rank and lora_alpha. Classes that build the term with their rank alone have no use for lora_alpha
 * (has_alpha false). */
bool fe_lora_read(fe_config *c, const fe_weight_config *weight, bool has_alpha, fe_lora *out);
/* `value`, weight `name` of the layer, plus its low-rank term in factors lora_<name>_a and _b; `value` itself without
 * one. To be called after all other weights were made. The weight no longer trains. */
ir_value fe_lora_add(fe_lower *l, fe_layer *layer, const fe_lora *lora, const char *name, const fe_weight_config *weight,
                     ir_value value);

typedef struct fe_shape {
    int rank;
    int64_t dim[IR_MAX_RANK];
} fe_shape;
ir_value fe_layer_weight(fe_lower *l, fe_layer *layer, const char *name, const fe_weight_config *c,
                         fe_shape shape);
ir_value fe_layer_weight_kept(fe_lower *l, fe_layer *layer, const char *name, const fe_weight_config *c,
                              fe_shape shape, bool trainable);             /* in the variable dtype */
bool fe_finish(fe_lower *l, ir_value value, ir_value mask, fe_value *out); /* false when value is IR_NONE */
ir_value fe_bias_add(fe_lower *l, ir_value x, ir_value bias, int axis);    /* bias of rank 1 along `axis` */
/* Puts `reduced`, which lacks the dims `dims` of `shape` (sorted), back to that shape. */
ir_value fe_spread(fe_lower *l, ir_value reduced, ir_type shape, int count, const int64_t *dims);
ir_value fe_insert_dim(fe_lower *l, ir_value x, int at); /* a new dim of size 1 */
ir_value fe_softmax_build(fe_lower *l, ir_value x, int count, const int64_t *dims);
ir_value fe_relu_build(fe_lower *l, ir_value x);
ir_value fe_normalize_build(fe_lower *l, ir_value x, int count, const int64_t *dims,
                            double epsilon); /* order 2 */
ir_value fe_square(fe_lower *l, ir_value x);
ir_value fe_transpose_to(fe_lower *l, ir_value x,
                         const int64_t *permutation); /* x itself when it is the identity */
/* Two operands; letters without ellipsis, no letter twice in an operand. Shapes were checked by the caller.
 */
ir_value fe_einsum_build(fe_lower *l, const char *a_letters, const char *b_letters, const char *out_letters,
                         const ir_value operand[2]);
/* Where the last two dims are (row, column): row >= column, i1. Window > 0: |row - column| < window instead.
 */
ir_value fe_causal_mask_build(fe_lower *l, ir_dim rows, ir_dim columns, int64_t window);
/* Keras's random.dropout: NULL noise shape means that of x. `name` is the seed generator's. */
ir_value fe_dropout_build(fe_lower *l, ir_value x, double rate, const ir_type *noise, const fe_seed *seed);

/* Splits "ab,bc->ac" into the letters of at most `most` operands and, behind them, of the result; each
 * ellipsis is one '.'. Without an arrow there is no result. `part` has room for `most` + 1. */
bool fe_einsum_split(const char *equation, int most, char (*part)[IR_MAX_RANK + 2], int *out_operands,
                     bool *out_explicit);

typedef struct fe_einsum_dense {
    const char *input, *weight, *output; /* letters; '.' first or last in input and output: an ellipsis */
    const char *bias_axes;               /* NULL: no bias */
    int partial_count;
    int64_t partial[IR_MAX_RANK]; /* output shape without the batch dim; -1: from the input */
    const ir_record *activation;
    fe_weight_config kernel, bias;
    fe_lora lora;
} fe_einsum_dense;

/* ---- batch renormalization (layers_renorm.c) ------------------------------------------------ */

typedef struct fe_moments {
    ir_value mean, variance; /* without the reduced dims */
} fe_moments;
typedef struct fe_renorm {
    bool on;
    bool has_clip[3];
    double clip[3];  /* least and largest factor, largest shift */
    double momentum; /* of its own statistics */
    double epsilon, moving_momentum;
    fe_weight_config mean, variance; /* of the moving ones */
} fe_renorm;
bool fe_renorm_read(fe_config *c, fe_renorm *s);
/* moving_stddev, renorm_mean and renorm_stddev. */
bool fe_renorm_weights_get(fe_lower *l, fe_layer *layer, const fe_renorm *s, fe_shape shape, ir_dtype dtype,
                           ir_value out[3]);
/* Updates all statistics; the shift as mean and the factor as variance. */
fe_moments fe_renorm_build(fe_lower *l, fe_layer *layer, const fe_renorm *s, ir_value moving_mean,
                           const fe_moments *batch, const ir_value weight[3]);

/* ---- windows (layers_conv.c, layers_pool.c) ----------------------------------------------- */

typedef enum fe_padding { FE_PADDING_valid, FE_PADDING_same, FE_PADDING_causal } fe_padding;

/* The geometry of a convolution. */
typedef struct fe_conv {
    int spatial;
    int64_t groups;
    int64_t kernel[3], strides[3], dilation[3], output_padding[3];
    bool has_output_padding, channels_first;
    fe_padding padding;
} fe_conv;
/* True when the kernel fits x and the result is not absurdly large. */
bool fe_conv_check(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_value x, int64_t filters);
/* x: [N, space, channels] (or channels first) with fixed channels that the kernel fits: [space, channels /
 * groups, filters], depthwise [space, channels, multiplier], transposed [space, filters, channels]. IR_NONE
 * after a diagnostic. */
ir_value fe_conv_build(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_value x, ir_value kernel);
ir_value fe_conv_depthwise_build(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_value x, ir_value kernel);
ir_value fe_conv_pointwise_build(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_value x, ir_value kernel);
ir_value fe_conv_transpose_build(fe_lower *l, fe_layer *layer, const fe_conv *s, ir_value x, ir_value kernel);

typedef struct fe_pool {
    int spatial;
    bool maximum, channels_first, same, keep_dims;
    int64_t size[3], strides[3];
} fe_pool;
ir_value fe_pool_build(fe_lower *l, fe_layer *layer, const fe_pool *s, ir_value x);
/* One axis of x in `results` windows that cover it evenly. */
ir_value fe_pool_adaptive_build(fe_lower *l, fe_layer *layer, ir_value x, int axis, int64_t results, bool maximum);

/* ---- categories (layers_preprocess.c) and words ------------------------------------------ */

typedef enum fe_encoding {
    FE_ENCODE_int, FE_ENCODE_one_hot, FE_ENCODE_multi_hot, FE_ENCODE_count, FE_ENCODE_tf_idf
} fe_encoding;
typedef struct fe_encode {
    fe_encoding mode; /* tf_idf counts here */
    bool sparse;      /* results are made from entries, where there is a rule */
    int64_t depth;
    ir_dtype dtype; /* of all results but those of mode int, which are x itself */
} fe_encode;
/* Fields output_mode and sparse; with_weights: tf_idf is a mode, too. */
bool fe_encoding_read(fe_config *c, fe_encoding otherwise, bool with_weights, fe_encode *out);
/* x: integers; those outside 0 .. depth - 1 count nowhere. weights: of x's shape, or IR_NONE. */
bool fe_encode_build(fe_lower *l, fe_layer *layer, const fe_encode *s, ir_value x, ir_value weights, fe_value *out);

/* Words or integers in the order of their numbers (vocabulary.c). */
typedef struct fe_vocabulary {
    bool is_text;
    int count;
    const char **text; /* is_text; UTF-8 */
    int64_t *integer;
} fe_vocabulary;
/* Field "vocabulary": a list, the path of a file with a word a line, or, null in an archive, the archive's own file.
 * out_is_file: as a path. False after a diagnostic. */
bool fe_vocabulary_read(fe *f, const fe_layer *layer, fe_config *c, bool is_text, fe_vocabulary *out, bool *out_is_file);
/* A table (words/words.h) as a constant u8[]: keys to values; what is no key becomes `missing`, or, is_closed, a fault. A
 * key that is there twice keeps its last value. IR_NONE after a diagnostic. */
typedef struct fe_table {
    const fe_vocabulary *key, *value; /* of one count */
    const fe_vocabulary *missing;     /* of one item */
    bool is_closed;
    const void *block; /* what the first build made */
    size_t size;
} fe_table;
ir_value fe_table_build(fe_lower *l, fe_layer *layer, fe_table *t);
ir_value fe_words_build(fe_lower *l, ir_op op, int count, const ir_value *in, ir_type type); /* lookup, hash, tokens */
/* Hash of text or integers below `bins`: i64. key: of SipHash, or NULL. */
ir_value fe_hash_build(fe_lower *l, ir_value x, const int64_t *key, int64_t bins);
/* Field "salt": an integer or two. */
bool fe_salt_read(fe_config *c, bool *out_has_salt, int64_t out_salt[2]);
/* True when the layer (one of those on words) has no dtype policy, or took it. */
bool fe_words_policy(fe_layer *layer, const char *name);
/* Strings go into few layers; false with a message when this one is none of them. */
bool fe_strings_check(fe_lower *l, fe_layer *layer, const fe_args *args);

/* ---- images (layers_resize.c) ------------------------------------------------------------- */

typedef enum fe_interpolation {
    FE_INTERPOLATION_nearest, FE_INTERPOLATION_bilinear, FE_INTERPOLATION_bicubic, FE_INTERPOLATION_lanczos3,
    FE_INTERPOLATION_lanczos5, FE_INTERPOLATION_gaussian, FE_INTERPOLATION_mitchellcubic, FE_INTERPOLATION_area
} fe_interpolation;
extern const char *const fe_interpolation_names[]; /* as Keras names them; ends with NULL */

typedef struct fe_resize {
    int64_t size[2]; /* rows, columns */
    fe_interpolation interpolation;
    bool antialias, channels_first;
    bool crop, pad; /* to the aspect ratio of the result */
    double fill;    /* of padding */
} fe_resize;
/* Images [N, rows, columns, channels] or one image; the result is f32 unless nothing is blended. IR_NONE
 * after a diagnostic. */
ir_value fe_resize_build(fe_lower *l, fe_layer *layer, const fe_resize *s, ir_value x);
/* x times matrix[large, size of the axis] along `axis`. */
ir_value fe_matrix_apply(fe_lower *l, ir_value x, int axis, int64_t large, const float *matrix);

#endif
