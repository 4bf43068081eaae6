/* cases.h: one table of small uses of every operation, read by three tests: the interpreter against known
 * elements, gradients against differences, and compiled kernels against the interpreter. A new operation
 * needs a case here: the tests fail for an operation that has none. */
#ifndef TFCC_TESTS_OPS_CASES_H
#define TFCC_TESTS_OPS_CASES_H

#include "ir/ir.h"

enum { OPS_MAX_IN = 6 };

/* An operand: a data port when its first dim is N, else a variable. */
typedef struct ops_operand {
    const char *type; /* "f32[N,3]" */
    double low, high; /* random elements lie in between; whole numbers include both */
    int count;
    const double *value; /* elements for the case's own number of rows; NULL: random */
} ops_operand;

typedef struct ops_case {
    const char *name;
    ir_op op;
    int64_t n; /* rows of `value` and `expect`; 0 stands for 2 */
    ops_operand in[OPS_MAX_IN];
    int attr_count;
    const ir_attr *attrs;
    const char *given;
    /* Refused by the rule: splits, batch groups, windows of products, dilated windows and running maxima;
     * or not defined: an index out of range. */
    bool no_gradient;
    bool widen; /* bf16 operands become f32 first */
    int get; /* which element of a tuple is looked at */
    ir_value (*build)(ir_graph *g, const ir_value *in); /* instead of op and attrs, when set */
    int expect_count;
    const double *expect; /* NULL: only compared, not known */
} ops_case;

typedef struct ops_list {
    size_t count;
    const ops_case *item;
} ops_list;

extern const ops_list ops_cases_map, ops_cases_move, ops_cases_loop, ops_cases_contract, ops_cases_nest,
    ops_cases_build, ops_cases_scan, ops_cases_words, ops_cases_call, ops_cases_sparse,
    ops_cases_pairs, ops_cases_attention, ops_cases_ragged, ops_cases_winograd, ops_cases_sums;

#define OPS_COUNT(T, ...) ((int)(sizeof((const T[]){__VA_ARGS__}) / sizeof(T)))
#define VALUES(...) OPS_COUNT(double, __VA_ARGS__), (const double[]){__VA_ARGS__}
#define EXPECT(...) (const double[]){__VA_ARGS__}, .expect_count = OPS_COUNT(double, __VA_ARGS__)
#define INTS(attr, ...) {.name = ATTR_##attr, .ints = {OPS_COUNT(int64_t, __VA_ARGS__), (const int64_t[]){__VA_ARGS__}}}
#define NO_INTS(attr) {.name = ATTR_##attr, .ints = {0, NULL}}
#define INT(attr, value) {.name = ATTR_##attr, .i = (value)}
#define WORD(attr, word) {.name = ATTR_##attr, .text = (word)}
#define ATTRS(...) (const ir_attr[]){__VA_ARGS__}, .attr_count = OPS_COUNT(ir_attr, __VA_ARGS__)

/* The number of cases and the case number i, over all lists. */
size_t ops_case_count(void);
const ops_case *ops_case_at(size_t i);
int64_t ops_case_rows(const ops_case *c);
int ops_case_in_count(const ops_case *c);

/* `type`, as "f32[N,3]", as a type; with `wide`, f32 is read as f64. */
ir_type ops_type_read(const char *type, bool wide);

/* Adds the operands of c to the module of g, as ports and variables, and the operation to g. */
ir_value ops_case_build(ir_graph *g, const ops_case *c, bool wide, ir_value *out_in);

bool ops_has_gradient(ir_op op); /* a rule other than zero and none */
/* Makes y, built by ops_case_build, and the gradients of the sum of its squares outputs of g. */
void ops_case_add_outputs(ir_graph *g, const ops_case *c, const ir_value *in, ir_value y);

/* Elements for operand number i with n rows: the case's own where they are known for n and `random` is
 * false; whole numbers are the case's own with `random`, too. */
ir_array ops_case_fill(const ops_case *c, int i, arena *a, int64_t n, bool wide, bool random);

#endif
