/* nest_cumulative.c: running reductions along one dim; vectors run along the innermost other dim. */
#include "codegen/cg_rules.h"
#include "codegen/reduce.h"

typedef struct line {
    const ir_type *type;
    int dim; /* the dim that is run along */
    bool reverse, exclusive;
    cg_fold fold;
    cg_value at[IR_MAX_RANK];
} line;

static void emit_lines(cg *c, cg_value position, int lanes, int width, void *context)
{
    line *x = context;
    const int last = x->type->rank - 1;
    cg_value sum[16], length = cg_dim(c, x->type->dim[x->dim]);
    cg_loop l;
    for (int j = 0; j < width; j++) sum[j] = cg_fold_start(c, &x->fold, lanes);
    cg_loop_begin(c, &l, cg_i64(c, 0), length, 1, width, sum);
    cg_value at[IR_MAX_RANK];
    for (int d = 0; d < last; d++) at[d] = x->at[d];
    at[x->dim] = x->reverse ? cg_sub(c, cg_sub(c, length, cg_i64(c, 1)), l.i) : l.i;
    for (int j = 0; j < width; j++) {
        if (x->dim != last) at[last] = cg_add(c, position, cg_i64(c, (int64_t)j * lanes));
        cg_index index = cg_index_make(lanes, x->type->rank, at);
        if (lanes > 1) cg_index_run(&index, last, lanes);
        cg_value next = cg_fold_add(c, &x->fold, sum[j], cg_element(c, x->fold.operand, &index));
        cg_value out = cg_narrow(c, x->fold.type, x->exclusive ? sum[j] : next);
        cg_root_store(c, 0, &index, out);
        sum[j] = next;
    }
    cg_loop_end(c, &l, sum);
}

void cg_nest_cumulative(cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    line x = {.type = &n->type,
              .dim = (int)ir_attr_int(n, ATTR_dimension, 0),
              .fold = cg_fold_of(c, c->body->main)};
    x.reverse = ir_attr_int(n, ATTR_reverse, 0) != 0;
    x.exclusive = ir_attr_int(n, ATTR_exclusive, 0) != 0;
    bug_if(c->body->root[0] != c->body->main, "cumulative with an epilogue");
    const int last = x.type->rank - 1;
    int dims[IR_MAX_RANK], count = 0;
    for (int d = 0; d < last; d++) {
        if (d != x.dim) dims[count++] = d;
    }
    const ir_dim rows = cg_dims_product(x.type, count, dims);
    cg_kernel_begin(c);
    cg_value begin, end;
    cg_task_rows(c, rows, 1, 1, &begin, &end, NULL);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    cg_value linear = l.i;
    for (int i = count - 1; i >= 0; i--) {
        cg_value dim = cg_dim(c, x.type->dim[dims[i]]), quotient = i ? cg_div(c, linear, dim) : cg_i64(c, 0);
        x.at[dims[i]] = cg_sub(c, linear, cg_mul(c, quotient, dim));
        linear = quotient;
    }
    if (x.dim == last) {
        emit_lines(c, cg_i64(c, 0), 1, 1, &x);
    } else {
        cg_blocks_emit(c, cg_i64(c, 0), cg_dim(c, x.type->dim[last]), 4, emit_lines, &x);
    }
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, 1, 1);
}
