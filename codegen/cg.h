/* cg.h: the private door of codegen: one context `cg`, and structured helpers over the LLVM C API so that no
 * kernel touches basic blocks, alignments or intrinsic names.
 *
 * A kernel of the graph becomes a cg_body (body.c): a small graph of its own in which values in memory are
 * `parameter` nodes. The element emitter (element.c) gives the elements of any value of it at an index; the
 * kernels (loop.c, row.c, reduce.c, nest_*.c, cpu_dot*.c) are loop nests around that emitter. */
#ifndef TFCC_CG_H
#define TFCC_CG_H

#include "base/map.h"
#include "codegen/codegen.h"

#include <llvm-c/Core.h>
#include <llvm-c/Target.h>
#include <llvm-c/TargetMachine.h>

typedef LLVMValueRef cg_value; /* a scalar, a vector of lanes, or an address */

/* ---- target.c ------------------------------------------------------------------------------- */

typedef struct cg_target { /* a row of targets.def */
    const char *name, *arch, *feature;
    int bits, registers;
    int mr, nr; /* tile of the matrix product: rows, columns (f32) */
    bool fma, f16, math, bf16;
    const char *pairs; /* intrinsic of cg_dot_pairs; "": none */
    bool blocks;       /* it multiplies 2 rows by 2 columns of two pairs each */
    int64_t l1, l2; /* bytes assumed */
} cg_target;
/* The row for a triple and LLVM's feature string ("+avx2,-avx512f,..."). */
const cg_target *cg_target_find(const char *triple, const char *features);

/* Attribute `tiles` of a product overrides what the target's row and the nest's own rules say: register tile; rows, columns
 * and positions of a block, at most, as the nest counts them. mr 0: no panels, a vector of results at a time. It changes
 * who computes a result when, never the order in which one result is summed. */
typedef struct cg_tiles {
    int64_t mr, nr, m, n, k;
} cg_tiles;
enum { CG_LINE_BYTES = 64 }; /* of memory that caches hold together */
enum { CG_TILE_ROWS = 32, CG_TILE_COLUMNS = 64, CG_TILE_VECTORS = 8 }; /* at most */
/* What a nest takes without the attribute, or something like it (winograd: the step of its tiles, or 0). */
cg_tiles cg_tiles_usual(const cg_target *t, int winograd, const ir_node *n);
/* False when n, which may be NULL, has none. */
bool cg_tiles_find(const ir_node *n, cg_tiles *out);

/* ---- the context ---------------------------------------------------------------------------- */

enum { CG_CARRIED = 80, CG_LAUNCHES = 16 };

typedef struct cg_body cg_body;
typedef struct cg_memo cg_memo;

/* Where the emitter takes a value's elements from. */
typedef enum cg_source {
    CG_COMPUTED, /* by its operation */
    CG_MEMORY,   /* row-major elements at `address` */
    CG_VALUE     /* `address` is the element itself: a scalar (all lanes) or a vector, at whatever index */
} cg_source;

typedef struct cg_binding {
    cg_source source;
    bool read_only; /* memory that this kernel does not write */
    cg_value address;
} cg_binding;

/* One function of a kernel and how its tasks are counted (tfcc_launch). */
typedef struct cg_launch {
    cg_value fn;
    ir_dim rows; /* batch: times N */
    int64_t grain, times;
} cg_launch;

/* What a kernel became; equal kernels share one. */
typedef struct cg_kernel {
    const char *name; /* symbol */
    const cg_body *body;
    int launch_count; /* run one after another */
    cg_launch launch[CG_LAUNCHES];
    int64_t scratch; /* bytes per thread */
} cg_kernel;

typedef struct cg {
    arena *arena; /* of the whole compilation */
    char *problem; /* why this module could not be written, from malloc; NULL: none */
    map *helpers;  /* of all modules, by name: the functions that define them; NULL: there is only this module */
    const cg_target *target;
    const char *cpu, *features;
    const char *prefix; /* of the names of functions */
    int level; /* -O */
    int lanes; /* of the widest f32 vector: target->bits / 32; the W of most loops */

    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef b;
    LLVMTargetMachineRef machine;
    LLVMTargetDataRef layout;
    LLVMTypeRef i1, i8, i16, i32, i64, f16, f32, f64, ptr, none;
    cg_value read_scope; /* metadata: alias scope of loads from read-only arguments */

    /* the kernel being written */
    const cg_body *body;
    cg_kernel *kernel;
    arena scratch;                    /* memo and bindings; released with the kernel */
    cg_value fn;                      /* current function */
    cg_value n, task, scratch_memory; /* its parameters */
    cg_value *arg;                    /* addresses, body->arg_count of them */
    cg_binding *binding;              /* per value of the body */
    const int
        *choice; /* NULL, or per value: concatenate, pad: 1 + the operand that all elements come from here */
    cg_value past_caches; /* i1: results go past the caches; NULL: never. Kernels that can ask cg_past_caches */
    cg_memo *memo; /* what was emitted at which index, see element.c */
    int64_t scratch_used;
} cg;

/* ---- the body of a kernel (body.c, collapse.c) ---------------------------------------------- */

/* The kernel as a graph of its own. Nodes: those that the roots need, operands first; each value in memory
 * (that is no root) is a `parameter` whose `index` is its argument. `dimension_size` has no operand there:
 * its attribute `dimension` is c of c * N. Arguments: first the values read, in order of first use, then one
 * per root. Dims of size 1 are dropped and adjacent dims merged where no operation tells them apart, so a
 * chain of maps is one-dimensional; kernels of kind dot, convolution and nest keep their dims. */
struct cg_body {
    const ir_graph *graph; /* node, count, arena; nothing else */
    ir_kernel_kind kind;
    ir_value main; /* or IR_NONE */
    int root_count;
    const ir_value *root; /* ascending, but that sums come last */
    int sum_count;        /* roots that are sums over the rows of the others or of what is computed of them (ir_sums_rows) */
    int columns;          /* row: trailing dims of the full shape that are columns, after merging */
    ir_value full;        /* row: the first root, or operand of the first reduce, that has the full shape */
    int arg_count;
    const ir_value *arg; /* values of the kernel's graph, in the order of the arguments */
    const bool
        *arg_shared; /* the argument's memory is also written by this kernel (in place), or is a root */
    const char *key; /* canonical text: kernels with equal keys are one function */
    int unit; /* ir_unit: what the kernel's n counts */
};
/* Per value of g: it lies in memory (views included). */
bool *cg_memory_map(arena *a, const ir_graph *g);
/* memory: of cg_memory_map. False with an error in d when the kernel holds what codegen cannot write yet. */
bool cg_body_build(arena *a, const ir_graph *g, const bool *memory, const ir_kernel *k, diag *d,
                   cg_body *out_body);
void cg_body_collapse(arena *a, cg_body *b);         /* collapse.c: drops and merges dims, in place */
const char *cg_body_key(arena *a, const cg_body *b); /* kernel_key.c */
static inline int cg_body_results(const cg_body *b) { return b->root_count - b->sum_count; }
static inline int cg_body_root_arg(const cg_body *b, int root) { return b->arg_count - b->root_count + root; }
static inline const ir_node *cg_node(const cg *c, ir_value v);
static inline const ir_type *cg_type(const cg *c, ir_value v);

/* ---- kernels: each writes one or more functions with cg_kernel_begin/end -------------------- */

void cg_kernel_loop(cg *c);        /* loop.c */
void cg_kernel_row(cg *c);         /* row.c */
void cg_kernel_reduce(cg *c);      /* reduce.c */
void cg_kernel_nest(cg *c);        /* nest.c */
void cg_kernel_dot(cg *c);         /* cpu_dot.c */
void cg_kernel_convolution(cg *c); /* cpu_convolution.c */

/* Starts the next function of the kernel: void f(ptr args, i64 n, i64 task, ptr scratch). Loads the argument
 * addresses to c->arg and binds parameters to memory. */
void cg_kernel_begin(cg *c);
/* Ends it. Tasks: ceil(rows * (batch ? N : 1) / grain) * times. */
void cg_kernel_end(cg *c, ir_dim rows, int64_t grain, int64_t times);
/* Sets the processor's attributes on a new function. */
void cg_function_prepare(cg *c, cg_value fn);
/* Asks for scratch memory; returns the address of `bytes` bytes of this thread's, aligned to 64. Every call
 * gets memory of its own until cg_kernel_end. */
cg_value cg_scratch(cg *c, int64_t bytes);
/* How many threads share the kernel's tasks (i64, at least 1). For the size of tasks alone: results must not depend on it. */
cg_value cg_threads(cg *c);

/* The rows [begin, end) of the current task, for the same rows, grain and times as given to cg_kernel_end;
 * part (may be NULL): 0 .. times - 1. Consecutive tasks share a row block: task = block * times + part. */
void cg_task_rows(cg *c, ir_dim rows, int64_t grain, int64_t times, cg_value *out_begin, cg_value *out_end,
                  cg_value *out_part);
/* A grain for rows of `bytes` bytes moved and `work` operations each: about 32 KiB or 20 us a task. */
int64_t cg_grain(int64_t bytes, int64_t work);

/* A helper function (for micro-kernels) of `count` parameters; its name says all about it. Several kernels, of any
 * module, may use it: cg_helper_find first. begin moves the builder into it, end (after a `ret` was built)
 * puts it back. While it is open c->fn is the helper; bindings and memo must not be used. */
typedef struct cg_helper {
    cg_value fn, outer_fn;
    LLVMBasicBlockRef outer_block;
} cg_helper;
cg_value cg_helper_find(cg *c, const char *name); /* NULL when not written yet */
/* The function of another module of the program, for use in this one. */
cg_value cg_function_import(cg *c, cg_value fn);
cg_helper cg_helper_begin(cg *c, const char *name, LLVMTypeRef result, int count, const LLVMTypeRef *param);
void cg_helper_end(cg *c, const cg_helper *h);
cg_value cg_helper_call(cg *c, cg_value fn, int count, cg_value *arg);

/* ---- the element emitter (element.c, element_move.c) ---------------------------------------- */

/* One coordinate, for all lanes of a vector. */
typedef struct cg_coord {
    cg_value base;  /* i64: coordinate of lane 0 */
    int64_t step;   /* lane l has base + l * step */
    int64_t align;  /* base is known to be a multiple of this; 0: base is 0 */
    cg_value lanes; /* <W x i64> when it is not affine (then base and step say nothing); else NULL */
} cg_coord;

/* Where in a value: one coordinate per dim. A uniform index (no lane differs) gives scalars. */
typedef struct cg_index {
    int rank;
    int lanes; /* W */
    cg_coord at[IR_MAX_RANK];
    cg_value
        mask; /* <W x i1>: lanes that lie inside; others may be out of range and are not loaded; or NULL */
} cg_index;

/* All coordinates uniform. */
cg_index cg_index_make(int lanes, int rank, const cg_value *coordinate);
/* Makes dim d run with the lanes; its base is known to be a multiple of `align`. */
void cg_index_run(cg_index *x, int d, int64_t align);
/* The index of row-major element `linear` (i64, uniform) of a shape; dims count dims from `from` on only. */
void cg_index_split(cg *c, const ir_type *t, int from, int count, cg_value linear, cg_value *out_coordinate);

/* Elements of v at an index of v's rank: a vector of index->lanes lanes (a scalar when lanes is 1), in
 * register form (cg_register_type). Emits straight-line code at the builder's position. */
cg_value cg_element(cg *c, ir_value v, const cg_index *index);
/* Asks for the lines that cg_element would read there, of values of v's shape, in the cache of a level. */
void cg_element_prefetch(cg *c, ir_value v, const cg_index *index, int level);
/* The same, but a scalar when no lane differs: what MAP rules and reductions over scalars want. */
cg_value cg_element_uniform(cg *c, ir_value v, const cg_index *index);
/* Stores register-form lanes of a value of v's type at an index into row-major memory. */
void cg_element_store(cg *c, ir_value v, cg_value address, const cg_index *index, cg_value lanes);
/* The same for the memory of the kernel's root number r. */
void cg_root_store(cg *c, int r, const cg_index *index, cg_value lanes);
/* past_caches.c: whether the roots' memory is larger than caches and had better be written past them (i1; NULL: never). */
cg_value cg_past_caches(cg *c);
/* Vectors of results, all of which are computed: stored together, past the caches when the kernel's `past_caches` says so;
 * then the positions of whole vectors are multiples of their lanes. */
typedef struct cg_result {
    int root; /* its number */
    cg_index index;
    cg_value lanes;
} cg_result;
void cg_results_store(cg *c, int count, const cg_result *result);
/* The elements of every root at an index, with the kernel's main operation bound to `lanes`: to out_result[root_count]; of
 * sums over rows those that are summed, which nobody stores. */
void cg_main_results(cg *c, const cg_index *index, cg_value lanes, cg_result *out_result);
/* Stores the elements of every root at an index, with the kernel's main operation bound to `lanes`, its own ones. */
void cg_main_store(cg *c, const cg_index *index, cg_value lanes);

/* Bindings override where v's elements come from, from now on. They forget the memo. */
void cg_bind_value(cg *c, ir_value v, cg_value lanes_or_scalar);
void cg_bind_memory(cg *c, ir_value v, cg_value address, bool read_only);
void cg_unbind(cg *c, ir_value v); /* computed again */
/* Binds a value that nothing emitted so far has asked for: the memo stays. */
void cg_bind_result(cg *c, ir_value v, cg_value scalar);
/* Forgets what was emitted. Loops and conditions do it for what was emitted inside; a kernel does it when
 * memory that it has read has changed. */
void cg_memo_clear(cg *c);
size_t cg_memo_mark(const cg *c);
void cg_memo_release(cg *c, size_t mark); /* forgets what was emitted since */

/* ---- types and constants (cg.c) ------------------------------------------------------------- */

LLVMTypeRef cg_vector(LLVMTypeRef element, int lanes); /* element itself when lanes is 1 */
LLVMTypeRef cg_memory_type(const cg *c, ir_dtype t);   /* i1: i8; bf16: i16 */
LLVMTypeRef cg_register_type(const cg *c, ir_dtype t); /* i1: i1; bf16: i16 */
int cg_lanes_of(cg_value v);                           /* 1 for scalars */
cg_value cg_i64(const cg *c, int64_t x);
cg_value cg_i32(const cg *c, int64_t x);
bool cg_is_i64(cg_value v, int64_t *out_value);                   /* a constant */
cg_value cg_splat(cg *c, cg_value v, int lanes);                  /* v itself when it has the lanes */
cg_value cg_number(const cg *c, ir_dtype t, double x, int lanes); /* register form */
cg_value cg_fill(const cg *c, LLVMTypeRef like, double x); /* float or integer, scalar or vector type */
cg_value cg_iota(const cg *c, LLVMTypeRef element, int lanes, int64_t step); /* 0, step, 2*step .. */
cg_value cg_dim(cg *c, ir_dim d);                                            /* i64: count or count * N */
cg_value cg_elements(cg *c, const ir_type *t, int from, int to); /* i64: product of dims from .. to - 1 */

/* ---- arithmetic (cg.c, cg_combine.c): scalars or vectors; constants fold -------------------- */

cg_value cg_add(cg *c, cg_value a, cg_value b); /* integers; they wrap */
cg_value cg_sub(cg *c, cg_value a, cg_value b);
cg_value cg_mul(cg *c, cg_value a, cg_value b);
cg_value cg_div(cg *c, cg_value a, cg_value b); /* unsigned: indices */
cg_value cg_rem(cg *c, cg_value a, cg_value b);
cg_value cg_min(cg *c, cg_value a, cg_value b); /* signed */
cg_value cg_max(cg *c, cg_value a, cg_value b);
cg_value cg_icmp(cg *c, LLVMIntPredicate p, cg_value a, cg_value b);
cg_value cg_fcmp(cg *c, LLVMRealPredicate p, cg_value a, cg_value b);
cg_value cg_select(cg *c, cg_value condition, cg_value a, cg_value b); /* a scalar condition is fine */
cg_value cg_and(cg *c, cg_value a, cg_value b);
cg_value cg_or(cg *c, cg_value a, cg_value b);
cg_value cg_fadd(cg *c, cg_value a, cg_value b);
cg_value cg_fsub(cg *c, cg_value a, cg_value b);
cg_value cg_fmul(cg *c, cg_value a, cg_value b);
cg_value cg_fdiv(cg *c, cg_value a, cg_value b);
cg_value cg_fma(cg *c, cg_value a, cg_value b, cg_value d); /* a * b + d; one rounding where the target can */
/* Vectors of pairs of bf16, each pair as one f32's bits: d + a0 * b0 + a1 * b1 in each lane, d and the result f32. The
 * products are exact; sums are rounded by the target's own rules. For targets that have `pairs`. With `blocks` a and b
 * are 2 rows and 2 columns of two pairs each, d and the result 2 x 2 sums. */
cg_value cg_dot_pairs(cg *c, cg_value a, cg_value b, cg_value d);
/* An intrinsic overloaded on the type of its first operand only ("llvm.sqrt"). */
cg_value cg_intrinsic(cg *c, const char *name, int count, cg_value *arg);
/* An external function of libm, lane by lane; arguments and result of one type (f32 or f64). */
cg_value cg_libm(cg *c, const char *name, int count, cg_value *arg);
/* max, min ... of register-form values as ops.def defines them (NaN propagates). kind: of reduce. */
cg_value cg_combine(cg *c, const char *kind, ir_dtype t, cg_value a, cg_value b);
cg_value cg_combine_start(const cg *c, const char *kind, ir_dtype t, int lanes); /* neutral element */
/* The lanes of v combined in a fixed tree (halves). */
cg_value cg_combine_lanes(cg *c, const char *kind, ir_dtype t, cg_value v);
/* `all` (W lanes) combined with a vector of W or fewer lanes. */
cg_value cg_combine_part(cg *c, const char *kind, ir_dtype t, cg_value all, cg_value part);
/* f16 and bf16 are computed in f32 (or as if): register form -> f32, and back with round to nearest even. */
cg_value cg_widen(cg *c, ir_dtype t, cg_value v);
cg_value cg_narrow(cg *c, ir_dtype t, cg_value v);
/* Pairs (low, high) of 16-bit elements, bit by bit as f32. */
cg_value cg_pair(cg *c, cg_value low, cg_value high);
/* lanes [from, from + count) of v */
cg_value cg_extract(cg *c, cg_value v, int from, int count);
cg_value cg_lane(cg *c, cg_value v, int lane);
cg_value cg_set_lane(cg *c, cg_value v, int lane, cg_value x);
/* result lane i = lane[i] of a and b side by side; -1: any */
cg_value cg_shuffle(cg *c, cg_value a, cg_value b, int count, const int *lane);

/* ---- memory (cg_memory.c): alignment is that of the element type ---------------------------- */

/* Address of element `index` (i64) of an array of `element`. */
cg_value cg_at(cg *c, LLVMTypeRef element, cg_value address, cg_value index);
cg_value cg_load(cg *c, LLVMTypeRef type, cg_value address, int align); /* any type, plain */
cg_value cg_store(cg *c, cg_value v, cg_value address, int align);      /* the instruction */
/* The same past the caches; pays for whole lines that nobody reads soon. The address is a multiple of the vector's size. */
void cg_store_past_caches(cg *c, cg_value v, cg_value address);
cg_value cg_load_masked(cg *c, LLVMTypeRef type, cg_value address, int align, cg_value mask); /* others: 0 */
void cg_store_masked(cg *c, cg_value v, cg_value address, int align, cg_value mask);
/* Asks for the line of element `index` of an array, which need not exist, in the cache of a level, 1 or 2. */
void cg_prefetch(cg *c, LLVMTypeRef element, cg_value address, cg_value index, int level);
/* Elements of an array at <W x i64> indices; lanes outside `mask` (NULL: all inside) are not read and give 0.
 */
cg_value cg_gather(cg *c, LLVMTypeRef element, cg_value address, cg_value index, cg_value mask);
/* The other way round: writes the lanes of v that are inside `mask`. */
void cg_scatter(cg *c, cg_value v, cg_value address, cg_value index, cg_value mask);
/* Elements in memory form <-> register form of a dtype. */
cg_value cg_from_memory(cg *c, ir_dtype t, cg_value v);
cg_value cg_to_memory(cg *c, ir_dtype t, cg_value v);
/* Mask of the first `count` (i64) of W lanes. */
cg_value cg_mask_first(cg *c, int lanes, cg_value count);
/* Marks a load as one from memory that this kernel does not write, a store as one that spares such memory. */
void cg_mark_read_only(cg *c, cg_value load);

/* ---- control flow (cg_flow.c) --------------------------------------------------------------- */

/* for (i = begin; i < end; i += step), with `count` carried values: begin replaces value[] by the values at
 * the start of a turn; the body computes the next ones; end takes those and replaces them by the values after
 * the loop. Zero turns when begin >= end (signed). */
typedef struct cg_loop {
    LLVMBasicBlockRef from, body, exit;
    cg_value i, end, step;
    int count;
    cg_value phi[CG_CARRIED], start[CG_CARRIED];
    size_t memo;
} cg_loop;
void cg_loop_begin(cg *c, cg_loop *l, cg_value begin, cg_value end, int64_t step, int count, cg_value *value);
void cg_loop_end(cg *c, cg_loop *l, cg_value *value);

/* if (condition) { ... } else { ... }; end merges `count` values: those of the first branch given to `other`
 * (or to `end` when there is no other branch: then `value` before the branch counts as the other). */
typedef struct cg_branch {
    LLVMBasicBlockRef before, then_end, other, after;
    int count;
    cg_value value[CG_CARRIED];
    size_t memo;
    bool has_other;
} cg_branch;
void cg_if_begin(cg *c, cg_branch *br, cg_value condition, int count, const cg_value *value);
void cg_if_other(cg *c, cg_branch *br, const cg_value *value);
void cg_if_end(cg *c, cg_branch *br, cg_value *value);

LLVMBasicBlockRef cg_block(cg *c, const char *name); /* appended to the current function */

/* Runs emit(c, position, lanes, context) over positions begin .. end - 1 of a dim: a loop of whole vectors of
 * `lanes`, each `unroll` times, then the rest: smaller vectors when end - begin is constant, else lane by
 * lane. The first position must be a multiple of lanes for index alignment to hold. `count` carried values as
 * in cg_loop: `emit` replaces value[]; they are the same for every vector width (keep them at W lanes, and
 * fold smaller vectors in; see cg_combine_part). */
typedef void cg_emit(cg *c, cg_value position, int lanes, int turn, cg_value *value, void *context);
typedef struct cg_span {
    cg_value begin, end;
    int64_t extent;    /* end - begin when constant, else -1 */
    int lanes, unroll; /* powers of two */
    bool compact;      /* large body: keep the number of copies down */
    int count;         /* carried values; turn u of an unrolled loop may use those of its own */
    cg_value *value;
} cg_span;
void cg_span_emit(cg *c, const cg_span *s, cg_emit *emit, void *context);

/* ---- walks (walk.c): loops over some dims of a shape, vectors along the last of them -------- */

typedef void cg_walk_step(cg *c, const cg_index *at, int turn, cg_value *value, void *context);
typedef struct cg_walk {
    const ir_type *shape;
    int count, dim[IR_MAX_RANK]; /* dims walked, outer first; none: one scalar step */
    cg_value at[IR_MAX_RANK];    /* coordinates of the other dims */
    cg_value begin, end; /* part of the walk: of the outer dims' product when there are several dims (any
                            numbers), else of the one dim (begin a multiple of CG_ALIGN); NULL: all */
    int lanes, unroll;
    bool compact, unaligned; /* unaligned: one dim, and begin is any number */
    int value_count;         /* carried values, as in cg_span */
    cg_value *value;
} cg_walk;
enum { CG_ALIGN = 64 };
void cg_walk_emit(cg *c, const cg_walk *w, cg_walk_step *step, void *context);
/* How far to unroll a body, and whether it is too large for several copies. */
void cg_walk_size(const cg *c, cg_walk *w);
/* Positions begin .. end - 1 in blocks of `width` vectors of `lanes`, then in ever smaller ones. The step
 * keeps its own values per vector: a loop inside a block then has several independent chains. */
typedef void cg_block_step(cg *c, cg_value position, int lanes, int width, void *context);
void cg_blocks_emit(cg *c, cg_value begin, cg_value end, int width, cg_block_step *step, void *context);
ir_dim cg_dims_product(const ir_type *t, int count, const int *dim);

/* Bytes that one element of the full shape reads and writes, and its simple operations: for cg_grain. */
void cg_body_cost(const cg_body *b, int64_t *out_bytes, int64_t *out_work);

static inline const ir_node *cg_node(const cg *c, ir_value v) { return &c->body->graph->node[v]; }
static inline const ir_type *cg_type(const cg *c, ir_value v) { return &c->body->graph->node[v].type; }

#endif
