/* arg_reduce.c: the first index of the largest or smallest element; a NaN is better than any number. */
#include "codegen/reduce.h"

#include <string.h>

void cg_arg_reduce(cg *c)
{
    const ir_value root = c->body->root[0];
    const ir_node *n = cg_node(c, root);
    const ir_type *full = cg_type(c, n->in[0]);
    const int dim = (int)ir_attr_int(n, ATTR_dimension, 0);
    const char *kind = ir_attr_text(n, ATTR_kind);
    int all[IR_MAX_RANK];
    for (int d = 0; d < n->type.rank; d++) all[d] = d;
    const ir_dim rows = cg_dims_product(&n->type, n->type.rank, all);
    const int64_t count = full->dim[dim].batch ? 1024 : full->dim[dim].count;
    const int64_t grain = cg_grain(count * 4, count * 4);
    cg_value begin, end, at[IR_MAX_RANK + 1], where[IR_MAX_RANK];
    cg_kernel_begin(c);
    cg_task_rows(c, rows, grain, 1, &begin, &end, NULL);
    cg_loop l, scan;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    cg_index_split(c, &n->type, 0, n->type.rank, l.i, at);
    for (int d = 0; d < full->rank; d++) where[d] = d < dim ? at[d] : d == dim ? cg_i64(c, 0) : at[d - 1];
    cg_index x = cg_index_make(1, full->rank, where);
    cg_value best[2] = {cg_element(c, n->in[0], &x), cg_i64(c, 0)};
    cg_loop_begin(c, &scan, cg_i64(c, 1), cg_dim(c, full->dim[dim]), 1, 2, best);
    x.at[dim].base = scan.i;
    x.at[dim].align = 1;
    cg_value next = cg_element(c, n->in[0], &x);
    /* the combination of both differs from the held one only when the next one is better */
    cg_value better;
    if (ir_dtype_is_float(full->dtype)) {
        cg_value a = cg_widen(c, full->dtype, next), b = cg_widen(c, full->dtype, best[0]);
        better = cg_fcmp(c, strcmp(kind, "maximum") == 0 ? LLVMRealUGT : LLVMRealULT, a, b);
        better = cg_and(c, better, cg_fcmp(c, LLVMRealORD, b, b));
    } else {
        cg_value both = cg_combine(c, kind, full->dtype, best[0], next);
        better = cg_icmp(c, LLVMIntNE, both, best[0]);
    }
    best[0] = cg_select(c, better, next, best[0]);
    best[1] = cg_select(c, better, scan.i, best[1]);
    cg_loop_end(c, &scan, best);
    cg_index out = cg_index_make(1, n->type.rank, at);
    cg_value index = LLVMBuildIntCast2(c->b, best[1], cg_register_type(c, n->type.dtype), 1, "");
    cg_root_store(c, 0, &out, index);
    cg_loop_end(c, &l, NULL);
    cg_kernel_end(c, rows, grain, 1);
}
