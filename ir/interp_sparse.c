/* interp_sparse.c: products of sparse rows, by the functions that compiled programs call. */
#include "ir/interp.h"
#include "sparse/sparse.h"

#include <string.h>

static void run_sparse(const interp *c, sparse_call call)
{
    const ir_type *out = &c->out->type, *rows = &c->in[0].type;
    call(c->in[0].data, c->node->in_count > 1 ? c->in[1].data : NULL, c->out->data, 0, out->dim[0].count,
         c->in[0].type.dim[0].count, out->dim[1].count, rows->rank == 2 ? rows->dim[1].count : 0);
}

void interp_nest_sparse_encode(const interp *c)
{
    const ir_type *out = &c->out->type;
    const int64_t rows = out->dim[0].count, columns = ir_attr_int(c->node, ATTR_length, 0);
    const bool counts = strcmp(ir_attr_text(c->node, ATTR_kind), "count") == 0;
    (counts ? tfcc_sparse_encode_count : tfcc_sparse_encode_multi_hot)(c->in[0].data, NULL, c->out->data, 0, rows, rows,
                                                                        out->dim[1].count, columns);
}

void interp_nest_sparse_dot(const interp *c) { run_sparse(c, tfcc_sparse_dot); }
void interp_nest_sparse_dot_back(const interp *c) { run_sparse(c, tfcc_sparse_dot_back); }
void interp_nest_sparse_dense(const interp *c) { run_sparse(c, tfcc_sparse_dense); }
