/* ir.h: the graph that everything between the frontend and the code generators speaks of.
 *
 * An ir_module is a set of variables, data ports and graphs (predict, eval_step, train_step, metrics).
 * An ir_graph is one array of nodes; an ir_value is an index into it; a node has one result, and its
 * operands come before it. Nodes are made by the builders below only, which type them with the shape rule
 * of their row in ops.def, so an untyped node cannot exist. A builder that is given operands that do not
 * fit calls bug(): whoever reads user input checks shapes first and reports them as diagnostics.
 *
 * The text form (print.c, parse.c, docs/ir.md) parses back to the same module. */
#ifndef TFCC_IR_H
#define TFCC_IR_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/text.h"

#include <stdio.h>

/* ---- types ----------------------------------------------------------------------------------- */

typedef enum ir_dtype {
#define DTYPE(name, ...) DTYPE_##name,
#include "ir/dtypes.def"
    DTYPE_COUNT
} ir_dtype;

typedef enum ir_dtype_class { DTYPE_BOOL, DTYPE_SIGNED, DTYPE_UNSIGNED, DTYPE_FLOAT, DTYPE_TEXT } ir_dtype_class;

const char *ir_dtype_name(ir_dtype t);
const char *ir_dtype_keras_name(ir_dtype t);
size_t ir_dtype_size(ir_dtype t); /* bytes */
ir_dtype_class ir_dtype_class_of(ir_dtype t);
bool ir_dtype_find(const char *name, ir_dtype *out_dtype);       /* by IR name */
bool ir_dtype_find_keras(const char *name, ir_dtype *out_dtype); /* by Keras name */
static inline bool ir_dtype_is_float(ir_dtype t) { return t >= DTYPE_f16 && t <= DTYPE_f64; }

enum { IR_MAX_RANK = 8 };

/* A dimension: `count` elements, or a multiple of a number that stays unknown until the program runs: N, the rows of the
 * batch, or V0, V1 ..., the values that a ragged input has in the batch. */
typedef enum ir_unit { UNIT_one, UNIT_rows, UNIT_values } ir_unit; /* UNIT_values + k: of ragged input k */
enum { IR_MAX_RAGGED = 16 };
typedef struct ir_dim {
    int64_t count;
    uint8_t batch; /* ir_unit */
} ir_dim;

typedef struct ir_type {
    ir_dtype dtype;
    int rank;                     /* -1: a tuple, see `element` */
    ir_dim dim[IR_MAX_RANK];
    const struct ir_type *element; /* tuple only */
    int element_count;
} ir_type;

static inline ir_dim ir_fixed(int64_t count) { return (ir_dim){count, false}; }
static inline ir_dim ir_batch(int64_t count) { return (ir_dim){count, UNIT_rows}; }
static inline bool ir_dim_equal(ir_dim a, ir_dim b) { return a.count == b.count && a.batch == b.batch; }
ir_type ir_type_make(ir_dtype dtype, int rank, const ir_dim *dim);
ir_type ir_type_scalar(ir_dtype dtype);
ir_type ir_type_with_dtype(ir_type type, ir_dtype dtype);
ir_type ir_type_tuple(arena *a, int count, const ir_type *element);
bool ir_type_equal(const ir_type *a, const ir_type *b);       /* dtype and shape */
bool ir_type_same_shape(const ir_type *a, const ir_type *b);  /* shape only */
/* Product of the dims as one ir_dim. False when open numbers occur twice or int64 overflows. */
bool ir_type_elements(const ir_type *t, ir_dim *out_elements);
int64_t ir_type_elements_at(const ir_type *t, int64_t n); /* with a given N */
void ir_type_print(const ir_type *t, text *to);           /* f32[N,784] */

/* ---- operations and attributes ----------------------------------------------------------------- */

typedef enum ir_op {
#define OP(name, ...) OP_##name,
#include "ir/ops.def"
    OP_COUNT
} ir_op;

typedef enum ir_class {
    CLASS_MAP, CLASS_SOURCE, CLASS_MOVE, CLASS_VIEW, CLASS_REDUCE, CLASS_CONTRACT, CLASS_NEST, CLASS_TUPLE
} ir_class;

typedef enum ir_precision { PRECISION_KEEP, PRECISION_NARROW, PRECISION_WIDEN } ir_precision;

const char *ir_op_name(ir_op op);
ir_class ir_op_class(ir_op op);
int ir_op_arity(ir_op op); /* -1: any */
ir_precision ir_op_precision(ir_op op);
bool ir_op_find(const char *name, ir_op *out_op);
bool ir_op_has_attr(ir_op op, int attr, bool *out_required);

/* Targets of custom_call. */
typedef enum ir_call {
#define CALL(name, ...) CALL_##name,
#include "ir/calls.def"
    CALL_COUNT
} ir_call;
const char *ir_call_name(ir_call call);
int ir_call_arity(ir_call call);
bool ir_call_find(const char *name, ir_call *out_call);

typedef enum ir_attr_name {
#define ATTR(name, kind) ATTR_##name,
#include "ir/attrs.def"
    ATTR_COUNT
} ir_attr_name;

typedef enum ir_attr_kind { ATTR_INT, ATTR_INTS, ATTR_FLOAT, ATTR_TEXT, ATTR_DATA, ATTR_GRAPH } ir_attr_kind;

const char *ir_attr_name_text(ir_attr_name name);
ir_attr_kind ir_attr_kind_of(ir_attr_name name);

typedef struct ir_attr {
    ir_attr_name name;
    union {
        int64_t i;
        double f;
        const char *text;
        struct { int count; const int64_t *item; } ints;
        struct { size_t size; const void *bytes; } data;
        struct ir_graph *graph;
    };
} ir_attr;

/* ---- graphs -------------------------------------------------------------------------------------- */

typedef int32_t ir_value;
enum { IR_NONE = -1 };

/* Where in the user's model a node comes from; index into ir_module.origin, 0 is "nowhere". */
typedef int32_t ir_origin_id;
typedef struct ir_origin {
    const char *path;  /* JSON path, "$.config.layers[3]" */
    const char *layer; /* `Dense "dense_1"`; for made nodes the pass, as "gradient" */
} ir_origin;

typedef struct ir_node {
    ir_op op;
    int in_count, attr_count;
    const ir_value *in;
    const ir_attr *attr; /* in the order of attrs.def */
    ir_type type;
    ir_origin_id origin;
} ir_node;

/* Of a scan: whose values it steps through (0: its steps are counted by `length`); whether an operand behind the carried
 * ones is taken apart by step; and the type of what a step gives, for all steps. */
uint8_t ir_scan_unit(const ir_node *scan);
bool ir_scan_is_sliced(const ir_node *scan, const ir_type *operand, const ir_type *parameter);
bool ir_scan_stack_type(const ir_node *scan, const ir_type *t, ir_type *out); /* false: there is none */

/* A named result of a graph: a prediction, the loss, a metric. */
typedef struct ir_output {
    const char *name;
    ir_value value;
} ir_output;

/* variable `variable` becomes `value` when the graph has run (also used for gradient lists). */
typedef struct ir_binding {
    int variable;
    ir_value value;
} ir_binding;

/* Kernels: made by passes/fuse.c, read by codegen. A kernel writes its roots to memory; a value that is no
 * root of any kernel is computed inside each kernel that needs it, or is a view of one that is in memory. */
typedef enum ir_kernel_kind {
    KERNEL_loop,   /* roots: MAP, MOVE or SOURCE chains, all over one iteration space (equal shapes) */
    KERNEL_row,    /* rows x columns: roots are maps over all of it, or reduces over the last `columns` dims, or
                      maps of such reduces over the rows; a row is done by one task, stage by stage in root order */
    KERNEL_reduce, /* roots: reduces of one shape over the same dims, any dims */
    KERNEL_dot,    /* main: dot_general; roots: main, or elementwise chains on it (its epilogue), or ir_sums_rows of such */
    KERNEL_convolution, /* the same for convolution */
    KERNEL_nest    /* main: an op of class NEST, gather of large slices, ...: its own nest; roots: main, or, where
                      ir_takes_epilogue says so, elementwise chains on it */
} ir_kernel_kind;
const char *ir_kernel_kind_name(ir_kernel_kind kind);

typedef struct ir_kernel {
    ir_kernel_kind kind;
    ir_value main;    /* IR_NONE for loop, row and reduce */
    int columns;      /* row: how many trailing dims are columns */
    int root_count;
    ir_value *root;   /* written to memory, ascending */
    int read_count;
    ir_value *read;   /* values in memory that it reads, ascending */
} ir_kernel;

/* Where a value lies: made by passes/plan_memory.c. */
typedef enum ir_space {
    SPACE_none,     /* nowhere: computed inside kernels */
    SPACE_fixed,    /* byte `offset` of the slab whose size does not depend on N */
    SPACE_batch,    /* byte `offset` * N of the slab that grows with N; with `ragged` of one that grows with V0, V1 ... */
    SPACE_variable, /* the memory of variable `offset` */
    SPACE_input,    /* the caller's buffer of input port `offset` */
    SPACE_output,   /* the caller's buffer of output `offset` */
    SPACE_constant  /* byte `offset` of the program's constants */
} ir_space;
const char *ir_space_name(ir_space space);

typedef struct ir_place {
    ir_space space;
    int64_t offset;
    int ragged; /* SPACE_batch: 1 + the ragged input with whose values it grows; 0: with the rows */
} ir_place;

/* `value`, when a kernel of its own computes it, waits for `after`: made by passes/remat.c. */
typedef struct ir_order {
    ir_value value, after;
} ir_order;

typedef struct ir_graph {
    const char *name;
    arena *arena;
    struct ir_module *module; /* NULL for bodies parsed alone */
    ir_node *node;
    size_t count, capacity;

    ir_output *output;
    size_t output_count, output_capacity;
    ir_binding *update;
    size_t update_count, update_capacity;
    ir_value loss;            /* train_step: what is differentiated, a scalar; else IR_NONE */
    ir_binding *gradient;     /* train_step: per trainable variable, from pass `gradient` on */
    size_t gradient_count, gradient_capacity;
    ir_order *order;
    size_t order_count, order_capacity;

    ir_origin_id origin;      /* given to new nodes */

    ir_kernel *kernel;        /* in execution order; from pass `fuse` on */
    size_t kernel_count, kernel_capacity;
    ir_place *place;          /* per value; from pass `plan_memory` on */
    int64_t fixed_bytes, batch_bytes; /* slab sizes: fixed, and per row of the batch */
    int64_t ragged_bytes[IR_MAX_RAGGED]; /* and per value of the ragged inputs */
} ir_graph;

/* How a row kernel makes its roots: the columns of a row are walked in passes; a root belongs to the first pass in which
 * all that it needs is there. */
typedef enum ir_row_part {
    ROW_PART_fold,   /* a reduce over the row */
    ROW_PART_scalar, /* one element a row: made before the pass of its number */
    ROW_PART_full    /* one element a column */
} ir_row_part;
/* root: ascending, of a kernel whose rows x columns are `full`. outside: per value, that it is in memory and no root; NULL:
 * such values have no operands. Gives the part and pass of every root, and returns the number of passes. */
int ir_row_passes(const ir_graph *g, const ir_type *full, int count, const ir_value *root, const bool *outside,
                  arena *scratch, ir_row_part *out_part, int *out_pass);

/* ---- modules ---------------------------------------------------------------------------------------- */

typedef enum ir_role {
    ROLE_weight,     /* a layer's weight, trainable or not */
    ROLE_seed,       /* state of a random generator: i64[2] */
    ROLE_optimizer,  /* iteration, learning rate, slots */
    ROLE_metric,     /* accumulators; reset at the start of every epoch and evaluation */
    ROLE_gradient    /* of the weight of the same path, between graphs `gradients` and `apply_gradients` */
} ir_role;
const char *ir_role_name(ir_role role);

/* A small tree of named settings: initializers, optimizer, schedules. Numbers are doubles, or lists of
 * them, or text, or records. Printed as name {key=value, ...}. */
typedef struct ir_record ir_record;
typedef struct ir_field {
    const char *key;
    enum { FIELD_NUMBER, FIELD_NUMBERS, FIELD_TEXT, FIELD_RECORD } kind;
    double number;
    int count;
    const double *numbers;
    const char *text;
    const ir_record *record;
} ir_field;
struct ir_record {
    const char *name; /* snake_case of the Keras class: "adam", "glorot_uniform", "exponential_decay" */
    ir_field *field;
    size_t count, capacity;
};
ir_record *ir_record_new(arena *a, const char *name);
void ir_record_add_number(arena *a, ir_record *r, const char *key, double number);
void ir_record_add_numbers(arena *a, ir_record *r, const char *key, int count, const double *numbers);
void ir_record_add_text(arena *a, ir_record *r, const char *key, const char *text);
void ir_record_add_record(arena *a, ir_record *r, const char *key, const ir_record *record);
void ir_record_remove(ir_record *r, const char *key); /* nothing when absent */
const ir_field *ir_record_find(const ir_record *r, const char *key); /* NULL when absent */
double ir_record_number(const ir_record *r, const char *key, double otherwise);
const char *ir_record_text(const ir_record *r, const char *key, const char *otherwise);
const ir_record *ir_record_record(const ir_record *r, const char *key); /* NULL when absent */

typedef struct ir_variable {
    const char *name;    /* unique in the module, an identifier: printed as @name */
    const char *path;    /* Keras's variable path, "dense/kernel"; for own state anything unique */
    const char *h5;      /* dataset in a .weights.h5 file, "layers/dense/vars/0"; NULL: not in it */
    const char *h5_copy; /* a second dataset that Keras insists on and that holds the same, or NULL */
    ir_type type;        /* no batch dims */
    ir_role role;
    bool trainable;
    const ir_record *initializer; /* kinds in runtime/initializers.def: zeros, constant {value}, glorot_uniform ... */
    const ir_record *constraint;  /* NULL: none */
    const ir_record *lora; /* `lora` {factor = path of A, scale}: weights files hold this + scale * A . B, B being the
                            * variable after A, and reading one sets A and B to 0; NULL: none */
    const void *data;    /* initial bytes known at compile time, or NULL (then the initializer holds) */
} ir_variable;

typedef enum ir_port_kind {
    PORT_x, PORT_y, PORT_sample_weight,
    PORT_made /* by the runtime: a part of a ragged input behind its values */
} ir_port_kind;

/* What the program is given of a ragged input: sparse/ragged.h. */
typedef enum ir_ragged_part {
    RAGGED_values, RAGGED_ends, RAGGED_order, RAGGED_rank, RAGGED_pack, RAGGED_unpack, RAGGED_pack_back, RAGGED_unpack_back
} ir_ragged_part;

/* An array that the program takes in: model inputs, targets, sample weights (always present: the runtime
 * fills in ones). The first dim is N, of a ragged input's parts
 * the rows or the values. */
typedef struct ir_port {
    const char *name;  /* input layer, or output for y and sample weights */
    ir_port_kind kind;
    ir_type type;
    int64_t classes;   /* > 0: integers that must lie in 0 .. classes - 1 */
    bool has_ignored;  /* class index `ignored` is allowed besides */
    int64_t ignored;
    bool padded;       /* data may be narrower in the last dim: it is filled up with 0 */
    bool indexed;      /* data may be class indices without the last dim: each becomes a row with one 1 */
    int ragged;        /* 1 + the ragged input that this is a part of; 0: rows like any others */
    ir_ragged_part part;
    int like;          /* 1 + the ragged input that must have the same rows: some value is made of both; 0: none */
} ir_port;

typedef struct ir_module {
    arena *arena;
    const char *name;
    ir_variable *variable;
    size_t variable_count, variable_capacity;
    struct map *variable_names; /* names in use: for the suffixes */
    ir_port *port;
    size_t port_count, port_capacity;
    int ragged_count;           /* ragged inputs */
    ir_origin *origin;
    size_t origin_count, origin_capacity;
    const ir_record *optimizer; /* NULL: not trained; read by passes/gradient_pipeline.c and optimizer.c */
    ir_graph **graph;           /* predict; eval_step, train_step and metrics when there is a loss */
    size_t graph_count, graph_capacity;
    const void *constants;      /* made by plan_memory: bytes of all constants in memory */
    size_t constants_size;
    int64_t rows;               /* most rows of a batch: of states kept from batch to batch; 0: any */
} ir_module;

ir_module *ir_module_new(arena *a, const char *name);
ir_graph *ir_module_add_graph(ir_module *m, const char *name);
ir_graph *ir_module_find_graph(const ir_module *m, const char *name); /* NULL when absent */
bool ir_module_has_op(const ir_module *m, ir_op op); /* in a graph or a body */
/* Adds a copy of v; its name is made unique by a suffix. Returns its number. */
int ir_module_add_variable(ir_module *m, ir_variable v);
int ir_module_add_port(ir_module *m, ir_port p);
ir_origin_id ir_module_add_origin(ir_module *m, const char *path, const char *layer);

ir_graph *ir_graph_new(arena *a, const char *name, ir_module *m);
void ir_graph_add_output(ir_graph *g, const char *name, ir_value v);
void ir_graph_add_update(ir_graph *g, int variable, ir_value v); /* replaces an earlier update of it */

static inline const ir_node *ir_node_of(const ir_graph *g, ir_value v) { return &g->node[v]; }
static inline const ir_type *ir_type_of(const ir_graph *g, ir_value v) { return &g->node[v].type; }

const ir_attr *ir_attr_find(const ir_node *n, ir_attr_name name);           /* NULL when absent */
int64_t ir_attr_int(const ir_node *n, ir_attr_name name, int64_t otherwise);
const int64_t *ir_attr_ints(const ir_node *n, ir_attr_name name, int *out_count); /* NULL when absent */
bool ir_attr_lists(const ir_node *n, ir_attr_name name, int64_t item);      /* a list with this item */
const char *ir_attr_text(const ir_node *n, ir_attr_name name);              /* "" when absent */
/* The windows of a select_and_scatter lie side by side: no gaps between them, no overlap, no padding. */
bool ir_windows_tile(const ir_graph *g, const ir_node *n);
/* The shape of every operand of a concatenation that a loop over that shape may write part by part; else NULL. */
const ir_type *ir_concatenate_part(const ir_graph *g, const ir_node *n);
/* Each turn of a scan, which stands in graph `around`, has a slice of its own of what value v of its body is a view of. */
bool ir_scan_slices(const ir_graph *around, const ir_node *scan, ir_value v);
/* A scatter of whole rows of f32 onto one number in all elements, which may sum up a block of rows at a time: then it is the
 * main value of a nest whose roots are a loop over its result. */
bool ir_scatters_rows(const ir_graph *g, const ir_node *n);
/* What a kernel with main n may have as roots besides n: maps of it (an epilogue). */
bool ir_takes_epilogue(const ir_graph *g, const ir_node *n);
/* v sums all rows of the matrix that *out_operand is when its dims but the last are one: a reduce with `splits`, or moments.
 * Kernels of contractions may have such roots, of main or of maps of it. */
bool ir_sums_rows(const ir_graph *g, ir_value v, ir_value *out_operand);

/* ---- builders (build.c) ---------------------------------------------------------------------------- */

/* The general one; attrs may be in any order. `given` is the type of ops whose shape rule is `given` or
 * needs a target type (broadcast_in_dim, reshape, convert, iota, constant, parameter, variable); else NULL. */
ir_value ir_build(ir_graph *g, ir_op op, int in_count, const ir_value *in, int attr_count,
                  const ir_attr *attr, const ir_type *given);

ir_value ir_build_parameter(ir_graph *g, int port);
ir_value ir_build_variable(ir_graph *g, int variable);
ir_value ir_build_constant(ir_graph *g, ir_type type, const void *bytes); /* dense, copied */
ir_value ir_build_scalar(ir_graph *g, ir_dtype dtype, double value);
ir_value ir_build_fill(ir_graph *g, ir_type type, double value); /* a scalar broadcast to type */
ir_value ir_build_iota(ir_graph *g, ir_type type, int dimension);
ir_value ir_build_dimension_size(ir_graph *g, ir_value x, int dimension); /* i64[] */
ir_value ir_build_unary(ir_graph *g, ir_op op, ir_value x);
/* Operands of one dtype; a smaller shape is broadcast as NumPy does. */
ir_value ir_build_binary(ir_graph *g, ir_op op, ir_value a, ir_value b);
ir_value ir_build_binary_scalar(ir_graph *g, ir_op op, ir_value a, double b); /* b in a's dtype */
ir_value ir_build_compare(ir_graph *g, const char *direction, ir_value a, ir_value b); /* broadcasts */
ir_value ir_build_select(ir_graph *g, ir_value condition, ir_value a, ir_value b);     /* broadcasts */
ir_value ir_build_convert(ir_graph *g, ir_value x, ir_dtype dtype); /* x itself when it has that dtype */
/* True when NumPy would broadcast a and b together; then the common shape, with a's dtype. */
bool ir_broadcast_shapes(const ir_type *a, const ir_type *b, ir_type *out_type);
ir_value ir_build_broadcast_to(ir_graph *g, ir_value x, const ir_type *shape); /* NumPy alignment; keeps x's dtype */
ir_value ir_build_broadcast_in_dim(ir_graph *g, ir_value x, const ir_type *shape, const int64_t *dimensions);
ir_value ir_build_reshape(ir_graph *g, ir_value x, int rank, const ir_dim *dim);
ir_value ir_build_transpose(ir_graph *g, ir_value x, const int64_t *permutation);
/* One limit of -1 stands for the whole dim. strides NULL: all 1. */
ir_value ir_build_slice(ir_graph *g, ir_value x, const int64_t *start, const int64_t *limit, const int64_t *strides);
ir_value ir_build_slice_dim(ir_graph *g, ir_value x, int dimension, int64_t start, int64_t limit); /* others whole */
ir_value ir_build_reverse(ir_graph *g, ir_value x, int count, const int64_t *dimensions);
ir_value ir_build_pad(ir_graph *g, ir_value x, ir_value value, const int64_t *low, const int64_t *high, const int64_t *interior);
ir_value ir_build_concatenate(ir_graph *g, int count, const ir_value *in, int dimension);
ir_value ir_build_reduce(ir_graph *g, const char *kind, ir_value x, int count, const int64_t *dimensions, bool keep_dims);
ir_value ir_build_mean(ir_graph *g, ir_value x, int count, const int64_t *dimensions, bool keep_dims); /* batch dims counted at run time */
ir_value ir_build_arg_reduce(ir_graph *g, const char *kind, ir_value x, int dimension);
/* The second dim of `moments`: how many rows, their sum, their squares around their mean. */
enum { MOMENTS_ROWS, MOMENTS_SUM, MOMENTS_SQUARES, MOMENTS_COUNT };
ir_value ir_build_moments(ir_graph *g, ir_value x, int64_t splits);
ir_value ir_build_cumulative(ir_graph *g, const char *kind, ir_value x, int dimension, bool reverse, bool exclusive);

typedef struct ir_dot {
    int batch_count, contracting_count;
    int64_t lhs_batch[IR_MAX_RANK], rhs_batch[IR_MAX_RANK];
    int64_t lhs_contracting[IR_MAX_RANK], rhs_contracting[IR_MAX_RANK];
} ir_dot;
ir_value ir_build_dot_general(ir_graph *g, ir_value a, ir_value b, const ir_dot *dot);
/* a[..., k] x b[k, n...]: the last dim of a with the first of b. */
ir_value ir_build_dot(ir_graph *g, ir_value a, ir_value b);

typedef struct ir_window {
    int spatial; /* number of spatial dims */
    int64_t strides[IR_MAX_RANK], low[IR_MAX_RANK], high[IR_MAX_RANK];
    int64_t base_dilation[IR_MAX_RANK], window_dilation[IR_MAX_RANK];
    bool reversal;
    const char *lhs_layout, *rhs_layout, *out_layout; /* "b01f" "01io" "b01f" */
    int64_t feature_groups, batch_groups;
} ir_window;
ir_value ir_build_convolution(ir_graph *g, ir_value x, ir_value kernel, const ir_window *w);

/* Arrays have one entry per dim of x. base_dilation and window_dilation may be NULL (all 1). */
ir_value ir_build_reduce_window(ir_graph *g, const char *kind, ir_value x, const int64_t *dimensions, const int64_t *strides,
                                const int64_t *low, const int64_t *high, const int64_t *base_dilation, const int64_t *window_dilation);
ir_value ir_build_select_and_scatter(ir_graph *g, const char *kind, ir_value x, ir_value source, const int64_t *dimensions,
                                     const int64_t *strides, const int64_t *low, const int64_t *high);
/* table[rows, ...] at integer indices of any shape: result shape = indices' shape + table's other dims. */
ir_value ir_build_take_rows(ir_graph *g, ir_value table, ir_value indices);
ir_value ir_build_get(ir_graph *g, ir_value tuple, int index);
/* Uniform in [0, 1) or in low .. high, and standard normal, from a stateless seed i64[2], as TensorFlow computes them for the
 * shape's floating type (random.c); and the u32 words under all of them. */
ir_value ir_build_random_words(ir_graph *g, ir_value seed, ir_type shape);
ir_value ir_build_random_between(ir_graph *g, ir_value seed, ir_type shape, double low, double high);
ir_value ir_build_random_uniform(ir_graph *g, ir_value seed, ir_type shape);
ir_value ir_build_random_normal(ir_graph *g, ir_value seed, ir_type shape);

/* A custom_call: rows, columns and flags of one of its matrices. */
typedef struct ir_call_sizes {
    ir_call call;
    int64_t m, n, k; /* of operand 0, columns of operand 1 or 0 */
    bool lower, transpose, full;
} ir_call_sizes;
ir_value ir_build_call(ir_graph *g, ir_call_sizes s, const ir_value *in); /* m, n and k are found */
ir_call_sizes ir_call_sizes_of(const ir_graph *g, const ir_node *n);
int64_t ir_call_scratch(const ir_call_sizes *s); /* elements of working memory for one matrix */

/* Operands of attention and attention_back, the numbers of the node, and the types that its operands would have after
 * transposes by *_dims: [batch, rows, columns]. */
typedef enum ir_attention_in {
    ATTENTION_QUERY, ATTENTION_KEY, ATTENTION_VALUE, ATTENTION_BIAS, ATTENTION_MASK, ATTENTION_KEEP,
    ATTENTION_RESULT, ATTENTION_TOP, ATTENTION_TOTAL, ATTENTION_GRADIENT
} ir_attention_in;
typedef struct ir_attention {
    double scale, fill;
    bool causal;
    ir_type query, key, value;
    const int64_t *query_dims, *key_dims, *value_dims, *result_dims; /* result_dims: NULL in attention */
} ir_attention;
ir_attention ir_attention_of(const ir_graph *g, const ir_node *n);
ir_type ir_type_transposed(const ir_type *t, const int64_t *permutation);

/* ---- whole graphs -------------------------------------------------------------------------------------- */

/* The shape rule of op, for those that type by rule. False with a text (in the arena of g) when the operands
 * do not fit: used by ir_build (which turns it into bug()), by the parser and by the verifier. */
bool ir_infer(const ir_graph *g, ir_op op, int in_count, const ir_value *in, int attr_count, const ir_attr *attr,
              const ir_type *given, ir_type *out_type, const char **out_problem);

/* Checks operand order, arity, attributes, types (recomputed), outputs, updates, kernels and places.
 * A failure is a bug of tfcc: prints all problems and the graph, names the pass, aborts. */
void ir_graph_verify(const ir_graph *g, const char *after_pass);
/* The same without aborting: problems as text; true when there are none. For tests and the parser. */
bool ir_graph_check(const ir_graph *g, text *out_problems);

void ir_graph_print(const ir_graph *g, text *to);
void ir_module_print(const ir_module *m, text *to);
/* Errors are `file:line:column: ...` in d. NULL on error. Accepts hostile text. */
ir_module *ir_module_parse(arena *a, const char *source, size_t length, diag *d);

/* Marks the values that outputs, updates, loss and gradients need (array of g->count bools, in `a`). */
bool *ir_graph_live(const ir_graph *g, arena *a);
/* Copies the live part of g to new nodes in order (dead nodes vanish, values are renumbered). Kernels and
 * places must not exist yet. */
void ir_graph_sweep(ir_graph *g);
/* Replaces every use of `from` (operands, outputs, updates, loss, gradients) by `to`. */
void ir_replace_uses(ir_graph *g, ir_value from, ir_value to);
/* Appends a copy of node `v` of `from`, its operands renamed through map[] (value of `from` -> value of g). */
ir_value ir_graph_copy_node(ir_graph *g, const ir_graph *from, ir_value v, const ir_value *map);
/* True when v is a constant whose elements are all `number` (looks through broadcast and reshape). */
bool ir_is_filled_with(const ir_graph *g, ir_value v, double number);
/* True with the number when v is such a constant of any number. */
bool ir_is_filled(const ir_graph *g, ir_value v, double *out_number);

/* ---- reference interpreter (interp.c): slow, plain, the oracle of every code generator -------------------- */

/* Dense row-major elements; the first dim of ports is `n` rows, or the values of a ragged input. */
typedef struct ir_array {
    ir_type type; /* no batch dims: N has been put in */
    void *data;
} ir_array;

/* Runs g over n rows: ports[i] per module port (data may be NULL when g does not use it), variables[i] per module
 * variable, changed in place by the updates after the run. Results in out_outputs, one per g->output, in `a`. */
void ir_interpret(const ir_graph *g, arena *a, int64_t n, const ir_array *ports, ir_array *variables, ir_array *out_outputs);
/* One node from its operands' arrays; data of the result in `a`. */
ir_array ir_interpret_node(const ir_graph *g, ir_value v, arena *a, int64_t n, const ir_array *in);
double ir_array_get(const ir_array *x, int64_t index);               /* any dtype, as double */
void ir_array_set(ir_array *x, int64_t index, double value);         /* rounded to the dtype */
int64_t ir_array_count(const ir_array *x);

/* Half precision, both ways, round to nearest even (f16 and bf16 have no C type). */
float ir_f16_to_f32(uint16_t bits);
uint16_t ir_f32_to_f16(float value);
float ir_bf16_to_f32(uint16_t bits);
uint16_t ir_f32_to_bf16(float value);

/* TensorFlow's stateless random words (formats: Philox4x32-10): word `index` of the stream of a seed pair. */
uint32_t ir_philox_word(int64_t seed, int64_t counter, uint64_t index);

#endif
