/* interp_words.c: operations on strings, by the functions that compiled programs call. */
#include "ir/interp.h"
#include "words/words.h"

static void run_words(const interp *c, int64_t count)
{
    const char *symbol;
    const words_kind kind = c->in[0].type.dtype == DTYPE_str ? WORDS_TEXT : WORDS_INTEGER;
    const words_call call = words_find(ir_op_name(c->node->op), kind, &symbol);
    bug_if(!call, "no function for %s", ir_op_name(c->node->op));
    const int operands = c->node->in_count;
    call(c->in[0].data, operands > 1 ? c->in[1].data : NULL, operands > 2 ? c->in[2].data : NULL, c->out->data, 0,
         count);
}

void interp_nest_lookup(const interp *c) { run_words(c, ir_array_count(c->out)); }
void interp_nest_hash(const interp *c) { run_words(c, ir_array_count(c->out)); }

void interp_nest_tokens(const interp *c)
{
    const int64_t columns = c->out->type.dim[c->out->type.rank - 1].count;
    run_words(c, columns > 0 ? ir_array_count(c->out) / columns : 0);
}
