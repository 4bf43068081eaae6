/* nest.c: kernels of one operation with loops of its own. */
#include "codegen/cg_rules.h"

void cg_kernel_nest(cg *c)
{
    const cg_rule *rule = cg_rule_of(cg_node(c, c->body->main)->op);
    bug_if(!rule->nest, "%s is no nest", ir_op_name(cg_node(c, c->body->main)->op));
    rule->nest(c);
}
