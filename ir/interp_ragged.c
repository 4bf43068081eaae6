/* interp_ragged.c: operations on ragged rows, by the functions that compiled programs call. */
#include "ir/interp.h"
#include "sparse/ragged.h"

static void run_ragged(const interp *c, ragged_call call)
{
    const ir_type *out = &c->out->type;
    int64_t width = 1;
    for (int i = 1; i < out->rank; i++) width *= out->dim[i].count;
    call(c->in[0].data, c->in[1].data, c->out->data, 0, c->in[1].type.dim[0].count, width,
         (int64_t)ir_dtype_size(out->dtype));
}

void interp_nest_ragged_sum(const interp *c) { run_ragged(c, tfcc_ragged_sum); }
void interp_nest_ragged_max(const interp *c) { run_ragged(c, tfcc_ragged_max); }
void interp_nest_ragged_spread(const interp *c) { run_ragged(c, tfcc_ragged_spread); }
void interp_nest_ragged_permute(const interp *c) { run_ragged(c, tfcc_ragged_permute); }
