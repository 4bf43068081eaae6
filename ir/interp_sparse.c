/* interp_sparse.c: products of sparse rows, by the functions that compiled programs call. */
#include "ir/interp.h"
#include "sparse/sparse.h"

static void run_sparse(const interp *c, sparse_call call)
{
    const ir_type *out = &c->out->type;
    call(c->in[0].data, c->node->in_count > 1 ? c->in[1].data : NULL, c->out->data, 0, out->dim[0].count,
         c->in[0].type.dim[0].count, out->dim[1].count);
}

void interp_nest_sparse_dot(const interp *c) { run_sparse(c, tfcc_sparse_dot); }
void interp_nest_sparse_dot_back(const interp *c) { run_sparse(c, tfcc_sparse_dot_back); }
void interp_nest_sparse_dense(const interp *c) { run_sparse(c, tfcc_sparse_dense); }
