/* gradient_pipeline.c: what happens to gradients between the backward graph and the optimizer: the loss scale
 * is taken out, they are aggregated over the workers (one worker's are what they are), accumulated over steps and
 * averaged, transformed as the user asks, or clipped. The order is Keras's. */
#include "passes/gradient_transforms.h"

/* The mean over the last `steps` batches; it means something only at steps that are due. */
static void accumulate(optimizer_state *s)
{
    ir_graph *g = s->g;
    for (size_t i = 0; s->steps >= 2 && i < g->gradient_count; i++) {
        ir_binding *b = &g->gradient[i];
        if (!optimizer_owns(s, (size_t)b->variable)) continue;
        int variable = optimizer_variable_find(s->m, optimizer_path(s, b->variable, "gradient_accumulator"));
        bug_if(variable < 0, "no accumulator of variable %d", b->variable);
        ir_value sum = opt_add(g, b->value, ir_build_variable(g, variable));
        ir_value zero = ir_build_fill(g, *ir_type_of(g, sum), 0);
        ir_graph_add_update(g, variable, ir_build_select(g, s->due, zero, sum));
        b->value = ir_build_binary_scalar(g, OP_divide, sum, (double)s->steps);
    }
}

static ir_value clip_norm(optimizer_state *s, const ir_binding *b, double most)
{
    ir_graph *g = s->g;
    const ir_value x = b->value, norm = opt_sqrt(g, optimizer_sum_squares(s, b->variable, x));
    return opt_div(g, opt_scale(g, x, most), ir_build_binary_scalar(g, OP_maximum, norm, most));
}

static ir_value clip_value(ir_graph *g, ir_value x, double most)
{
    ir_value low = ir_build_binary_scalar(g, OP_maximum, x, -most);
    return ir_build_binary_scalar(g, OP_minimum, low, most);
}

/* most * min(1 / norm, 1 / most), and not finite when the norm is not. */
static ir_value find_global_scale(optimizer_state *s, double most)
{
    ir_graph *g = s->g;
    ir_value sum = IR_NONE;
    for (size_t i = 0; i < g->gradient_count; i++) {
        if (!optimizer_owns(s, (size_t)g->gradient[i].variable)) continue;
        ir_value x = ir_build_convert(g, g->gradient[i].value, DTYPE_f32);
        ir_value part = optimizer_sum_squares(s, s->g->gradient[i].variable, x);
        sum = sum == IR_NONE ? part : opt_add(g, sum, part);
    }
    if (sum == IR_NONE) return IR_NONE;
    ir_value norm = opt_sqrt(g, sum);
    ir_value least = ir_build_binary_scalar(g, OP_minimum, opt_over(g, 1, norm), 1 / most);
    return opt_add(g, opt_scale(g, least, most), opt_sub(g, norm, norm));
}

static void clip(optimizer_state *s)
{
    ir_graph *g = s->g;
    double norm = ir_record_number(s->record, "clipnorm", 0);
    double global = ir_record_number(s->record, "global_clipnorm", 0);
    double most = ir_record_number(s->record, "clipvalue", 0);
    ir_value scale = norm <= 0 && global > 0 ? find_global_scale(s, global) : IR_NONE;
    for (size_t i = 0; i < g->gradient_count; i++) {
        ir_binding *b = &g->gradient[i];
        if (!optimizer_owns(s, (size_t)b->variable)) continue;
        if (norm > 0)
            b->value = clip_norm(s, b, norm);
        else if (scale != IR_NONE)
            b->value = opt_mul(g, b->value, ir_build_convert(g, scale, ir_type_of(g, b->value)->dtype));
        else if (most > 0)
            b->value = clip_value(g, b->value, most);
    }
}

/* All parts of the optimizer together; with several parts none accumulates. */
static void apply_transforms(ir_module *m, ir_graph *g)
{
    if (optimizer_part_count(m) == 0) return;
    optimizer_state s;
    optimizer_state_init(&s, m, g, 0);
    s.record = m->optimizer;
    gradient_transforms_apply(&s);
}

bool pass_gradient_pipeline(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)o;
    (void)d;
    optimizer_state s;
    size_t kept = 0;
    for (size_t i = 0; i < g->gradient_count; i++) {
        if (g->gradient[i].value != IR_NONE) g->gradient[kept++] = g->gradient[i];
    }
    g->gradient_count = kept;
    const bool is_last = g == m->graph[m->graph_count - 1];
    if (kept == 0) {
        if (is_last) gradient_transforms_end(m);
        return true;
    }
    g->origin = ir_module_add_origin(m, "", "gradient_pipeline");
    loss_scale_check(m, g);
    for (size_t part = 0; part < optimizer_part_count(m); part++) {
        optimizer_state_init(&s, m, g, part);
        loss_scale_remove(&s);
        accumulate(&s);
        clip(&s);
    }
    apply_transforms(m, g);
    if (is_last) gradient_transforms_end(m);
    return true;
}
