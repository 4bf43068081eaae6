/* loss_scale.c: Keras's LossScaleOptimizer around the optimizer, and the fixed loss_scale_factor. The loss that is
 * differentiated is multiplied; the gradients are divided before they are accumulated and clipped. With the dynamic
 * scale a step whose gradients are not all finite changes nothing but the scale, which is halved; after enough finite
 * steps it is doubled.
 *
 * The variable `first_nonfinite`, which no weights file holds, tells the runtime and the optimizer pass about the last
 * step: ALL_FINITE, LOSS_NONFINITE, or the number of the variable nearest to the loss whose gradient was not finite. */
#include "passes/optimizer.h"

enum { ALL_FINITE = -1, LOSS_NONFINITE = -2 };

static const ir_record *find_dynamic(const ir_module *m)
{
    return m->optimizer ? ir_record_record(m->optimizer, "loss_scale") : NULL;
}

static const char *make_path(const ir_module *m, const char *name)
{
    const ir_record *scale = find_dynamic(m);
    return arena_printf(m->arena, "%s/%s", ir_record_text(scale, "name", scale->name), name);
}

static int get_variable(ir_module *m, const char *name, ir_dtype dtype, double initial, bool stored)
{
    const char *path = make_path(m, name);
    const int found = optimizer_variable_find(m, path);
    return found >= 0 ? found : optimizer_variable_make(m, path, ir_type_scalar(dtype), initial, stored);
}

/* LossScaleOptimizer is an optimizer itself: its first two variables are never used. */
static void make_variables(ir_module *m)
{
    const ir_record *scale = find_dynamic(m);
    get_variable(m, "iteration", DTYPE_i64, 0, true);
    get_variable(m, "learning_rate", DTYPE_f32, 0, true);
    get_variable(m, "step_counter", DTYPE_i64, 0, true);
    get_variable(m, "dynamic_scale", DTYPE_f32, ir_record_number(scale, "initial_scale", 32768), true);
    get_variable(m, "first_nonfinite", DTYPE_i64, ALL_FINITE, false);
}

static int find_variable(const ir_module *m, const char *name)
{
    const int found = optimizer_variable_find(m, make_path(m, name));
    bug_if(found < 0, "no variable %s", name);
    return found;
}

static ir_value whole(ir_graph *g, double number) { return ir_build_scalar(g, DTYPE_i64, number); }

ir_value loss_scale_apply(ir_module *m, ir_graph *g, ir_value loss)
{
    const ir_dtype dtype = ir_type_of(g, loss)->dtype;
    const double factor = ir_record_number(m->optimizer, "loss_scale_factor", 1);
    const bool is_dynamic = find_dynamic(m) != NULL;
    if (!is_dynamic && factor == 1) return loss;
    const ir_origin_id origin = g->origin;
    g->origin = ir_module_add_origin(m, "", "loss_scale");
    ir_value scale = IR_NONE;
    if (is_dynamic) {
        make_variables(m);
        scale = ir_build_convert(g, ir_build_variable(g, find_variable(m, "dynamic_scale")), dtype);
    }
    const ir_value scaled = is_dynamic ? opt_mul(g, loss, scale) : opt_scale(g, loss, factor);
    g->origin = origin;
    return scaled;
}

static ir_value all_finite(ir_graph *g, ir_value gradient)
{
    int64_t all[IR_MAX_RANK];
    const ir_value x = optimizer_rows_entries(g, gradient);
    const ir_value finite = ir_build_unary(g, OP_is_finite, x);
    const int rank = ir_type_of(g, x)->rank;
    for (int i = 0; i < rank; i++) all[i] = i;
    return rank == 0 ? finite : ir_build_reduce(g, "and", finite, rank, all, false);
}

/* Gradients come into being from the loss backwards: the variable with the highest number is met first. */
static ir_value find_first(ir_graph *g, ir_value loss)
{
    const ir_value none = whole(g, ALL_FINITE);
    ir_value first = none;
    for (int below = -1, next = -1;; below = next) {
        next = -1;
        const ir_binding *b = NULL;
        for (size_t i = 0; i < g->gradient_count; i++) {
            const int v = g->gradient[i].variable;
            if (v <= below || (b && v > next)) continue;
            b = &g->gradient[i];
            next = v;
        }
        if (!b) break;
        first = ir_build_select(g, all_finite(g, b->value), first, whole(g, next));
    }
    const ir_value good = ir_build_compare(g, "EQ", first, none);
    const ir_value bad = ir_build_select(g, ir_build_unary(g, OP_is_finite, loss), first, whole(g, LOSS_NONFINITE));
    return ir_build_select(g, good, none, bad);
}

static void update_scale(const ir_module *m, ir_graph *g, ir_value finite)
{
    const double steps = ir_record_number(find_dynamic(m), "dynamic_growth_steps", 2000);
    const double least = ir_record_number(m->optimizer, "keras2", 0) != 0 ? 1 : 0;
    const int counter = find_variable(m, "step_counter"), scale = find_variable(m, "dynamic_scale");
    const ir_value count = ir_build_variable(g, counter), old = ir_build_variable(g, scale);
    const ir_value full = ir_build_compare(g, "EQ", count, whole(g, steps - 1));
    const ir_value next = ir_build_select(g, full, whole(g, 0), opt_plus(g, count, 1));
    const ir_value grown = ir_build_select(g, full, opt_scale(g, old, 2), old);
    ir_value halved = opt_scale(g, old, 0.5);
    if (least > 0) halved = ir_build_binary_scalar(g, OP_maximum, halved, least);
    ir_graph_add_update(g, counter, ir_build_select(g, finite, next, whole(g, 0)));
    ir_graph_add_update(g, scale, ir_build_select(g, finite, grown, halved));
}

void loss_scale_check(ir_module *m, ir_graph *g)
{
    if (!find_dynamic(m)) return;
    const ir_value first = find_first(g, g->loss);
    ir_graph_add_update(g, find_variable(m, "first_nonfinite"), first);
    update_scale(m, g, ir_build_compare(g, "EQ", first, whole(g, ALL_FINITE)));
    const ir_value scale = ir_build_variable(g, find_variable(m, "dynamic_scale"));
    for (size_t i = 0; i < g->gradient_count; i++) {
        ir_binding *b = &g->gradient[i];
        const ir_dtype wide = ir_type_of(g, b->value)->dtype == DTYPE_f64 ? DTYPE_f64 : DTYPE_f32;
        b->value = opt_div(g, ir_build_convert(g, b->value, wide), ir_build_convert(g, scale, wide));
    }
}

void loss_scale_remove(optimizer_state *s)
{
    const double factor = ir_record_number(s->record, "loss_scale_factor", 0);
    if (find_dynamic(s->m) || factor == 0) return;
    for (size_t i = 0; i < s->g->gradient_count; i++) {
        ir_binding *b = &s->g->gradient[i];
        if (optimizer_owns(s, (size_t)b->variable))
            b->value = ir_build_binary_scalar(s->g, OP_divide, b->value, factor);
    }
}

/* ---- skipped steps ---------------------------------------------------------------------------------- */

ir_value *loss_scale_begin_updates(const ir_module *m, const ir_graph *g)
{
    if (!find_dynamic(m)) return NULL;
    ir_value *before = arena_array(g->arena, ir_value, m->variable_count + 1);
    for (size_t i = 0; i < m->variable_count; i++) before[i] = IR_NONE;
    for (size_t i = 0; i < g->update_count; i++) before[g->update[i].variable] = g->update[i].value;
    return before;
}

ir_value loss_scale_finite(const ir_module *m, ir_graph *g)
{
    if (!find_dynamic(m)) return IR_NONE;
    const ir_value first = optimizer_value(g, find_variable(m, "first_nonfinite"));
    return ir_build_compare(g, "EQ", first, whole(g, ALL_FINITE));
}

void loss_scale_end_updates(const ir_module *m, ir_graph *g, const ir_value *before)
{
    if (!before) return;
    const ir_value finite = loss_scale_finite(m, g);
    const int own[] = {find_variable(m, "step_counter"), find_variable(m, "dynamic_scale"),
                       find_variable(m, "first_nonfinite")};
    for (size_t i = 0; i < g->update_count; i++) {
        const int v = g->update[i].variable;
        const bool is_optimizer = m->variable[v].role == ROLE_optimizer;
        if (v == own[0] || v == own[1] || v == own[2] || optimizer_rows_updated(g, &g->update[i])) continue;
        if (!is_optimizer && g->update[i].value == before[v]) continue;
        const ir_value old = !is_optimizer && before[v] != IR_NONE ? before[v] : ir_build_variable(g, v);
        const ir_value kept = ir_build_select(g, finite, g->update[i].value, old);
        g->update[i].value = kept;
    }
}
