/* sweep.c: drops the nodes that no output, update, loss or gradient needs and renumbers the rest.
 * Requires a graph without kernels. */
#include "passes/passes_private.h"

bool pass_sweep(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)m, (void)o, (void)d;
    ir_graph_sweep(g);
    return true;
}
