/* tfcc_rt.h: the whole contract between a compiled model and the runtime library; includes only libc.
 *
 * The compiler writes one constant `tfcc_program` (see tfcc_get_program). All memory a step uses is planned
 * at compile time: per graph a fixed slab and a slab that grows with the rows of the batch; the runtime
 * allocates both once, for the largest batch. A graph is a list of launches; a launch is one kernel function
 * run for tasks 0 .. count-1, in any order and on any thread: tasks write disjoint memory and the split
 * depends on shapes only, so results do not depend on the number of threads. Launches run one after another.
 *
 * Fields are only ever added, at the end of a struct, with a new TFCC_ABI. */
#ifndef TFCC_RT_H
#define TFCC_RT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TFCC_ABI 7u

typedef enum tfcc_dtype {
    TFCC_I1, TFCC_I8, TFCC_I16, TFCC_I32, TFCC_I64, TFCC_U8, TFCC_U16, TFCC_U32, TFCC_U64,
    TFCC_F16, TFCC_BF16, TFCC_F32, TFCC_F64,
    TFCC_STR, /* address of a word record, see words/words.h; 0: the empty text */
    TFCC_ROW  /* address of a row of a sparse matrix, see sparse/sparse.h; 0: no entries. The order of ir/dtypes.def */
} tfcc_dtype;

/* A shape; `batch` has bit i set when dim i is dim[i] * N (N: rows of the batch, or values of a ragged input in it). */
typedef struct tfcc_shape {
    uint32_t dtype; /* tfcc_dtype */
    uint32_t rank;
    uint32_t batch;
    uint32_t ragged; /* 1 + the ragged input whose values N counts; 0: rows */
    int64_t dim[8];
} tfcc_shape;

typedef enum tfcc_space {
    TFCC_FIXED,    /* offset bytes into the graph's fixed slab */
    TFCC_BATCH,    /* offset * N bytes into the graph's batch slab */
    TFCC_VARIABLE, /* offset: number of the variable */
    TFCC_INPUT,    /* offset: number of the port */
    TFCC_OUTPUT,   /* offset: number of the graph's output */
    TFCC_CONSTANT, /* offset bytes into tfcc_program.constants */
    TFCC_RAGGED    /* + k: offset * values bytes into the slab of ragged input k */
} tfcc_space;

enum { TFCC_STEP_VALUES = 2 };

typedef struct tfcc_place {
    uint32_t space;      /* tfcc_space */
    uint32_t step_batch; /* 1: step is per row of the batch; TFCC_STEP_VALUES: per value of the turns before */
    uint64_t offset;
    int64_t step;        /* in a loop: bytes between this turn's place and the next turn's */
    int64_t row;         /* in a loop with loop_rows: bytes between a row's place and the next row's */
} tfcc_place;

/* One task of a kernel. arg: addresses of the launch's places, in their order. n: rows of the batch.
 * scratch: tfcc_program.scratch_bytes of memory of this thread's own, aligned to 64, contents undefined but for the first
 * int64_t: how many threads share the tasks. Kernels only read the first TFCC_SCRATCH_HEAD bytes, and no result depends on them. */
enum { TFCC_SCRATCH_HEAD = 64 };
typedef void (*tfcc_kernel)(void *const *arg, int64_t n, int64_t task, void *scratch);

/* A result that a launch has written when it is done. */
typedef struct tfcc_watch {
    const char *what; /* the operation and the layer: `dot_general in the gradient of Dense "dense_1"` */
    tfcc_shape shape;
    uint64_t arg; /* of the launch */
} tfcc_watch;

/* The number of tasks is ceil(rows * (rows_batch ? N : 1) / grain) * times.
 * A launch with `loop_launches` runs nothing itself: the next that many launches, none of which is a loop, run
 * loop_count times, turn t with their places `t * step` further on; last turn first when loop_reverse. With loop_batch
 * that many times for each row of the batch. With loop_ragged there are as many turns as the longest row has values; turn t
 * has n = the rows that are longer than t. With loop_rows a block of rows, with n = its rows and places `first row * row`
 * further on, may go through all turns before others do, or beside them. */
typedef struct tfcc_launch {
    tfcc_kernel run;
    const tfcc_place *arg;
    uint32_t arg_count;
    uint32_t rows_batch;
    int64_t rows, grain, times;
    int64_t flops, bytes;             /* estimates per run, without the part below */
    int64_t batch_flops, batch_bytes; /* and per row of the batch */
    const char *name;                 /* the layer and kind, for profiles: `Dense "dense_1": dot` */
    uint32_t loop_launches, loop_reverse;
    int64_t loop_count;
    uint32_t ragged;      /* 1 + the ragged input whose values are its n and N; 0: the rows */
    uint32_t loop_ragged; /* 1 + the ragged input over whose steps it loops; 0: none */
    const tfcc_watch *watch; /* its results of floating types, where the loss scale is dynamic */
    uint64_t watch_count;
    uint32_t loop_batch;
    uint32_t loop_rows; /* some rows of the batch may go through all turns before others; rows of a tile of its products. 0: not so */
} tfcc_launch;

typedef struct tfcc_output {
    const char *name;
    tfcc_shape shape;
    tfcc_place place;
} tfcc_output;

typedef struct tfcc_graph {
    const char *name; /* "predict", "eval_step", "train_step", "metrics"; libraries: "gradients", "apply_gradients" */
    const tfcc_launch *launch;
    uint64_t launch_count;
    const tfcc_output *output;
    uint64_t output_count;
    uint64_t fixed_bytes, batch_bytes; /* slab sizes; the batch slab holds batch_bytes * N */
    const uint64_t *ragged_bytes;      /* per ragged input: its slab holds ragged_bytes * values */
} tfcc_graph;

/* Settings of initializers, by key; see runtime/initializers.c for the kinds and their keys. */
typedef struct tfcc_setting {
    const char *key;
    double number;
    const char *text; /* NULL: a number */
} tfcc_setting;

/* TFCC_GRADIENT: of the weight of the same path; graph `gradients` fills it, graph `apply_gradients` takes it. */
typedef enum tfcc_role { TFCC_WEIGHT, TFCC_SEED, TFCC_OPTIMIZER, TFCC_METRIC, TFCC_GRADIENT } tfcc_role;

typedef struct tfcc_variable {
    const char *path;    /* Keras's variable path, "dense/kernel" */
    const char *h5;      /* dataset in .weights.h5, or NULL: not stored there */
    const char *h5_copy; /* a second dataset that holds the same, or NULL */
    tfcc_shape shape;
    uint32_t role; /* tfcc_role */
    uint32_t trainable;
    const char *initializer;
    const tfcc_setting *setting;
    uint64_t setting_count;
    const void *data; /* initial elements, or NULL: made by the initializer */
    uint64_t lora;    /* number of B (A is the one before): weights files hold this + lora_scale * A . B; 0: none */
    double lora_scale;
} tfcc_variable;

typedef enum tfcc_port_kind {
    TFCC_PORT_X, TFCC_PORT_Y, TFCC_PORT_SAMPLE_WEIGHT,
    TFCC_PORT_MADE /* by the runtime: a part of a ragged input behind its values */
} tfcc_port_kind;

/* sparse/ragged.h says what they hold; ends, order and rank have an i64 per row, the others per value. */
typedef enum tfcc_ragged_part {
    TFCC_VALUES, TFCC_ENDS, TFCC_ORDER, TFCC_RANK, TFCC_PACK, TFCC_UNPACK, TFCC_PACK_BACK, TFCC_UNPACK_BACK, TFCC_PARTS
} tfcc_ragged_part;

typedef struct tfcc_port {
    const char *name;
    uint32_t kind; /* tfcc_port_kind */
    uint32_t has_ignored;
    tfcc_shape shape;
    int64_t classes; /* > 0: integers that must lie in 0 .. classes - 1 (or be `ignored`); of TFCC_ROW: columns */
    int64_t ignored;
    uint32_t padded;  /* 1: data may be narrower in the last dim: it is filled up with 0 */
    uint32_t indexed; /* 1: data may be class indices without the last dim: each becomes a row with one 1 */
    uint32_t ragged;  /* 1 + the ragged input that it is a part of; 0: none */
    uint32_t part;    /* tfcc_ragged_part */
    uint32_t like;    /* 1 + the ragged input whose row splits it must share; 0: none */
    uint32_t reserved;
} tfcc_port;

typedef struct tfcc_program {
    uint32_t abi; /* TFCC_ABI of the compiler that wrote it */
    uint32_t single_input, single_output; /* data keys are plain "x", "y" */
    uint32_t rows; /* most rows of a batch: of states that the model keeps from batch to batch; 0: any */
    const char *name;
    const char *compiler; /* "tfcc 0.1.0" */
    const tfcc_variable *variable;
    uint64_t variable_count;
    const tfcc_port *port;
    uint64_t port_count;
    const tfcc_graph *graph;
    uint64_t graph_count;
    const void *constants;
    uint64_t scratch_bytes; /* per thread */
    const void *weights;    /* an embedded .weights.h5 file image, or NULL */
    uint64_t weights_bytes;
    const char *summary;    /* the table of `summary` */
    uint64_t use_ema;       /* 1: ends of fit copy the averages over the weights; see optimizer variables */
    const char *config;     /* config.json and metadata.json of a .keras archive, or NULL: none can be written */
    const char *metadata;
    uint64_t ragged_count; /* ragged inputs */
} tfcc_program;

/* The compiled model. */
const tfcc_program *tfcc_get_program(void);

#ifdef __cplusplus
}
#endif

#ifdef __STDC_VERSION__
#if __STDC_VERSION__ >= 201112L
_Static_assert(sizeof(tfcc_shape) == 80, "codegen/program.c writes this layout");
_Static_assert(sizeof(tfcc_place) == 32, "codegen/program.c writes this layout");
_Static_assert(sizeof(tfcc_launch) == 136, "codegen/program.c writes this layout");
_Static_assert(sizeof(tfcc_watch) == 96, "codegen/program.c writes this layout");
_Static_assert(sizeof(tfcc_output) == 120, "codegen/program.c writes this layout");
_Static_assert(sizeof(tfcc_graph) == 64, "codegen/program.c writes this layout");
_Static_assert(sizeof(tfcc_variable) == 160, "codegen/program.c writes this layout");
_Static_assert(sizeof(tfcc_port) == 136, "codegen/program.c writes this layout");
#endif
#endif

#endif
