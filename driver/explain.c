/* explain.c: `compile --explain precision`: per layer what runs in which type and why, read off the planned graphs. */
#include "explain.h"

#include <string.h>

typedef struct facts {
    int64_t nodes[DTYPE_COUNT];  /* results of arithmetic, by type */
    int64_t sums[DTYPE_COUNT];   /* of which reductions */
    int64_t products[DTYPE_COUNT];
    int64_t casts;               /* between floating types */
    int64_t saved, saved_rows;   /* bytes that 16-bit values in memory would take more in float32: fixed, and per row */
} facts;

static bool is_short(ir_dtype t) { return t == DTYPE_f16 || t == DTYPE_bf16; }

static void add_node(const ir_graph *g, ir_value v, facts *f)
{
    const ir_node *n = &g->node[v];
    const ir_dtype t = n->type.dtype;
    ir_dim elements;
    if (n->type.rank < 0 || !ir_dtype_is_float(t)) return;
    const ir_class class = ir_op_class(n->op);
    if (n->op == OP_convert) {
        f->casts += ir_dtype_is_float(ir_type_of(g, n->in[0])->dtype);
    } else if (class == CLASS_MAP || class == CLASS_REDUCE || class == CLASS_CONTRACT || class == CLASS_NEST) {
        f->nodes[t]++;
        f->sums[t] += class == CLASS_REDUCE;
        f->products[t] += class == CLASS_CONTRACT;
    }
    const bool is_view = class == CLASS_VIEW || class == CLASS_TUPLE;
    const ir_space space = g->place ? g->place[v].space : SPACE_none;
    if (!is_short(t) || is_view || (space != SPACE_fixed && space != SPACE_batch)) return;
    if (!ir_type_elements(&n->type, &elements)) return;
    if (elements.batch)
        f->saved_rows += 2 * elements.count;
    else
        f->saved += 2 * elements.count;
}

static facts *gather(arena *a, const ir_module *m, const ir_graph *g)
{
    facts *all = arena_array(a, facts, m->origin_count + 1);
    for (size_t v = 0; v < g->count; v++) {
        const ir_origin_id origin = g->node[v].origin;
        if (origin >= 0 && (size_t)origin < m->origin_count) add_node(g, (ir_value)v, &all[origin]);
    }
    return all;
}

/* "float16, sums float32": the types of a layer's arithmetic, its own first. */
static const char *show_types(arena *a, const frontend_layer *l, const facts *f)
{
    const char *shown = "";
    for (int round = 0; round < 2; round++) {
        for (int t = DTYPE_f16; t < DTYPE_COUNT; t++) {
            if (!f->nodes[t] || (t == (int)l->compute) != (round == 0)) continue;
            const char *part = f->products[t] && is_short((ir_dtype)t) ? " (products summed in float32)" : "";
            shown = arena_printf(a, "%s%s%s%s", shown, *shown ? ", " : "", ir_dtype_keras_name((ir_dtype)t), part);
        }
    }
    return *shown ? shown : "moves only";
}

static const char *show_reason(arena *a, const frontend_layer *l, const facts *f)
{
    const char *why = arena_printf(a, "policy %s", l->policy);
    if (is_short(l->compute) && f->sums[DTYPE_f32])
        why = arena_printf(a, "%s; its statistics stay in float32, as in Keras", why);
    else if (is_short(l->compute) && f->nodes[DTYPE_f32])
        why = arena_printf(a, "%s; part stays in float32, as in Keras", why);
    if (l->variable != l->compute) why = arena_printf(a, "%s; weights in %s", why, ir_dtype_keras_name(l->variable));
    return l->keeps_inputs ? arena_printf(a, "%s; inputs are taken as they are", why) : why;
}

static void print_bytes(FILE *to, const char *what, int64_t fixed, int64_t rows)
{
    fprintf(to, "%s%lld bytes per row", what, (long long)rows);
    if (fixed) fprintf(to, " and %lld bytes", (long long)fixed);
}

static void print_layer(FILE *to, arena *a, const frontend_layer *l, const facts *f, const explain_target *target)
{
    fprintf(to, "%s (%s): %s: %s", l->name, l->class_name, show_types(a, l, f), show_reason(a, l, f));
    if (f->casts) fprintf(to, "; %lld casts", (long long)f->casts);
    if (f->saved || f->saved_rows) print_bytes(to, "; saves ", f->saved, f->saved_rows);
    fprintf(to, "\n");
    const bool converts = l->compute == DTYPE_f16 ? target->has_f16 : target->has_bf16;
    if (is_short(l->compute) && !converts && f->nodes[l->compute])
        fprintf(to,
                "%s: warning: %s is expected to be slower than float32 here: %s has no instructions that convert to it\n",
                l->name, ir_dtype_keras_name(l->compute), target->name);
}

static const ir_graph *find_graph(const ir_module *m)
{
    const ir_graph *g = ir_module_find_graph(m, "train_step");
    return g ? g : ir_module_find_graph(m, "predict");
}

void explain_precision(FILE *to, const frontend_model *model, const ir_module *in_float32, const explain_target *target)
{
    arena a = {0};
    const ir_module *m = model->module;
    const ir_graph *g = find_graph(m), *other = in_float32 ? find_graph(in_float32) : NULL;
    const facts *all = gather(&a, m, g);
    fprintf(to, "precision of %s on %s (16-bit values are kept as 16 bits and computed in float32)\n", g->name, target->name);
    for (size_t i = 0; i < model->layer_count; i++)
        print_layer(to, &a, &model->layer[i], &all[model->layer[i].origin], target);
    const ir_record *scale = m->optimizer ? ir_record_record(m->optimizer, "loss_scale") : NULL;
    const double factor = m->optimizer ? ir_record_number(m->optimizer, "loss_scale_factor", 1) : 1;
    if (scale)
        fprintf(to, "loss scale: dynamic, from %g\n", ir_record_number(scale, "initial_scale", 32768));
    else
        fprintf(to, "loss scale: %g%s\n", factor, factor == 1 ? " (none; --loss-scale dynamic would scale)" : "");
    print_bytes(to, "memory of values: ", g->fixed_bytes, g->batch_bytes);
    if (other) {
        print_bytes(to, "; all in float32: ", other->fixed_bytes, other->batch_bytes);
        if (other->batch_bytes) fprintf(to, "; %.2f of it per row", (double)g->batch_bytes / (double)other->batch_bytes);
    }
    fprintf(to, "\n");
    arena_done(&a);
}
