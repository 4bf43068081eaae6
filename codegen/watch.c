/* watch.c: what a training step with a dynamic loss scale writes, in words: the runtime looks for the first value that is not
 * finite and says where it arose (runtime/loss_scale.c). */
#include "codegen/plan.h"

bool *cg_watch_begin(arena *a, const ir_graph *g)
{
    const ir_module *m = g->module;
    if (!m || !m->optimizer || !ir_record_record(m->optimizer, "loss_scale") || g->loss == IR_NONE) return NULL;
    bool *forward = arena_array(a, bool, g->count + 1);
    forward[g->loss] = true;
    for (size_t i = 0; i < g->output_count; i++) forward[g->output[i].value] = true;
    for (size_t i = g->count; i-- > 0;) {
        const ir_node *n = &g->node[i];
        for (int k = 0; forward[i] && k < n->in_count; k++) forward[n->in[k]] = true;
    }
    return forward;
}

static bool is_root(const ir_kernel *k, ir_value v)
{
    for (int i = 0; i < k->root_count; i++) {
        if (k->root[i] == v) return true;
    }
    return false;
}

void cg_run_watch(arena *a, const ir_graph *g, const ir_kernel *k, const bool *forward, cg_run *run)
{
    run->watch = arena_array(a, const char *, (size_t)run->arg_count + 1);
    for (int i = 0; i < run->arg_count; i++) {
        const ir_value v = run->arg[i];
        const ir_node *n = &g->node[v];
        if (n->type.rank < 0 || !ir_dtype_is_float(n->type.dtype) || !is_root(k, v)) continue;
        if (g->place[v].space == SPACE_variable) continue; /* a state's next value */
        const char *layer = g->module && n->origin ? g->module->origin[n->origin].layer : g->name;
        run->watch[i] = arena_printf(a, "%s in %s%s", ir_op_name(n->op), forward[v] ? "" : "the gradient of ", layer);
    }
}
