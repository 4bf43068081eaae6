/* explain.c: `compile --explain precision`: per layer what runs in which type and why, read off the planned graphs. */
#include "explain.h"

#include <math.h>
#include <string.h>

/* Estimates in simple vector operations per element: of arithmetic and of moving values; the longer one counts. */
typedef struct cost {
    double work, moves;
} cost;

typedef struct facts {
    int64_t nodes[DTYPE_COUNT];  /* results of arithmetic, by type */
    int64_t sums[DTYPE_COUNT];   /* of which reductions */
    int64_t products[DTYPE_COUNT];
    int64_t casts;               /* between floating types */
    int64_t saved, saved_rows;   /* bytes that 16-bit values in memory would take more in float32: fixed, and per row */
    cost own, in_float32;        /* as it is, and if all were float32 */
    double largest;              /* elements of its largest value */
    double spared;               /* work that Winograd's form of convolutions spares */
} facts;

static bool is_short(ir_dtype t) { return t == DTYPE_f16 || t == DTYPE_bf16; }

/* What was measured for large values: a multiply-add of a matrix product, a byte of a value written and read, a function as
 * exp, a random number, and, for a result of 16 bits, the way to float32 and back, by instructions or (f16) without. ROWS
 * stands for N. */
static const double COST_PRODUCT = 0.5, COST_BYTE = 2, COST_FUNCTION = 8, COST_RANDOM = 30, COST_ROUND = 1.5, COST_ROUND_SLOW = 8;
enum { ROWS = 32 };

static double count_of(const ir_type *t)
{
    ir_dim all;
    if (t->rank < 0 || !ir_type_elements(t, &all)) return 0;
    return (double)all.count * (all.batch ? ROWS : 1);
}

static bool is_widened(const ir_graph *g, ir_value v)
{
    const ir_node *n = &g->node[v];
    return n->op == OP_convert && is_short(g->node[n->in[0]].type.dtype);
}

static void add_products(const ir_graph *g, const ir_node *n, const codegen_family *target, facts *f)
{
    const ir_dim k = codegen_products(g, n);
    const double splits = (double)ir_attr_int(n, ATTR_splits, 1);
    const double each = (double)k.count * (k.batch ? ROWS : 1), all = COST_PRODUCT * each * count_of(&n->type) / splits;
    const bool widened = is_widened(g, n->in[0]) && is_widened(g, n->in[1]);
    const ir_dtype t = widened ? g->node[g->node[n->in[0]].in[0]].type.dtype : n->type.dtype;
    if (ir_attr_int(n, ATTR_winograd, 0)) f->spared += all / 2;
    f->in_float32.work += all;
    f->own.work += t == DTYPE_bf16 && target->pairs ? all / 2 : all;
}

static double work_of(ir_op op)
{
    if (op == OP_rng_philox) return COST_RANDOM;
    return ir_op_precision(op) == PRECISION_WIDEN ? COST_FUNCTION : 1;
}

/* Adds to the estimates. */
static void add_cost(const ir_graph *g, ir_value v, const codegen_family *target, bool in_memory, facts *f)
{
    const ir_node *n = &g->node[v];
    const ir_class class = ir_op_class(n->op);
    const ir_dtype t = n->type.dtype;
    const double count = count_of(&n->type);
    f->largest = fmax(f->largest, count);
    if (in_memory) {
        f->own.moves += COST_BYTE * count * (double)ir_dtype_size(t);
        f->in_float32.moves += COST_BYTE * count * (is_short(t) ? 4 : (double)ir_dtype_size(t));
    }
    if (class == CLASS_CONTRACT) add_products(g, n, target, f);
    if (class != CLASS_MAP && n->op != OP_rng_philox) return;
    const bool converts = n->op == OP_convert && (is_short(t) || is_widened(g, v));
    const double work = converts ? 0 : work_of(n->op);
    const double slow = t == DTYPE_f16 && !target->f16 ? COST_ROUND_SLOW : COST_ROUND;
    f->in_float32.work += count * work;
    f->own.work += count * (work + (is_short(t) && n->op != OP_select && n->op != OP_copy ? slow : 0));
}

static void add_node(const ir_graph *g, ir_value v, const codegen_family *target, facts *f)
{
    const ir_node *n = &g->node[v];
    const ir_dtype t = n->type.dtype;
    ir_dim elements;
    const ir_class class = ir_op_class(n->op);
    const bool is_view = class == CLASS_VIEW || class == CLASS_TUPLE;
    const ir_space space = g->place ? g->place[v].space : SPACE_none;
    const bool in_slab = !is_view && (space == SPACE_fixed || space == SPACE_batch);
    add_cost(g, v, target, in_slab || (!is_view && space == SPACE_output), f);
    if (n->type.rank < 0 || !ir_dtype_is_float(t)) return;
    if (n->op == OP_convert) {
        f->casts += ir_dtype_is_float(ir_type_of(g, n->in[0])->dtype);
    } else if (class == CLASS_MAP || class == CLASS_REDUCE || class == CLASS_CONTRACT || class == CLASS_NEST) {
        f->nodes[t]++;
        f->sums[t] += class == CLASS_REDUCE;
        f->products[t] += class == CLASS_CONTRACT;
    }
    if (!is_short(t) || !in_slab) return;
    if (!ir_type_elements(&n->type, &elements)) return;
    if (elements.batch)
        f->saved_rows += 2 * elements.count;
    else
        f->saved += 2 * elements.count;
}

static facts *gather(arena *a, const ir_module *m, const ir_graph *g, const codegen_family *target)
{
    facts *all = arena_array(a, facts, m->origin_count + 1);
    for (size_t v = 0; v < g->count; v++) {
        const ir_origin_id origin = g->node[v].origin;
        if (origin >= 0 && (size_t)origin < m->origin_count) add_node(g, (ir_value)v, target, &all[origin]);
    }
    return all;
}

/* "float16, sums float32": the types of a layer's arithmetic, its own first. */
static const char *show_types(arena *a, const frontend_layer *l, const facts *f, const codegen_family *target)
{
    const char *shown = "";
    for (int round = 0; round < 2; round++) {
        for (int t = DTYPE_f16; t < DTYPE_COUNT; t++) {
            if (!f->nodes[t] || (t == (int)l->compute) != (round == 0)) continue;
            const bool pairs = t == DTYPE_bf16 && target->pairs;
            const char *part = !f->products[t] || !is_short((ir_dtype)t) ? ""
                               : pairs ? " (products of pairs, summed in float32)" : " (products summed in float32)";
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

/* A layer that is part of its neighbours' loops hides little work behind what they move. */
static double longer(cost c, const facts *f)
{
    const double moves = fmax(c.moves, 2 * COST_BYTE * f->largest);
    return fmax(c.work, moves);
}

static void print_layer(FILE *to, arena *a, const frontend_layer *l, const facts *f, double spared,
                        const codegen_family *target)
{
    fprintf(to, "%s (%s): %s: %s", l->name, l->class_name, show_types(a, l, f, target), show_reason(a, l, f));
    if (f->casts) fprintf(to, "; %lld casts", (long long)f->casts);
    if (f->saved || f->saved_rows) print_bytes(to, "; saves ", f->saved, f->saved_rows);
    fprintf(to, "\n");
    const cost float32 = {f->in_float32.work - spared, f->in_float32.moves};
    const double here = longer(f->own, f), in_float32 = longer(float32, f);
    if (!is_short(l->compute) || here <= 0 || here < 1.15 * in_float32) return;
    const bool slowly = l->compute == DTYPE_f16 && !target->f16;
    fprintf(to, "%s: warning: %s is expected to be slower than float32 here (%.1f times the time): %s%s%s%s\n",
            l->name, ir_dtype_keras_name(l->compute), here / in_float32,
            spared > 0 ? "float32's convolutions have Winograd's form" : "each result is rounded", slowly ? ", and " : "",
            slowly ? target->name : "", slowly ? " has no instructions for that" : "");
}

static const ir_graph *find_graph(const ir_module *m)
{
    const ir_graph *g = ir_module_find_graph(m, "train_step");
    return g ? g : ir_module_find_graph(m, "predict");
}

void explain_precision(FILE *to, const frontend_model *model, const ir_module *in_float32, const codegen_family *target)
{
    arena a = {0};
    const ir_module *m = model->module;
    const ir_graph *g = find_graph(m), *other = in_float32 ? find_graph(in_float32) : NULL;
    const facts *all = gather(&a, m, g, target), *beside = other ? gather(&a, in_float32, other, target) : NULL;
    const bool same = beside && in_float32->origin_count == m->origin_count;
    fprintf(to, "precision of %s on %s (16-bit values are kept as 16 bits and computed in float32)\n", g->name, target->name);
    for (size_t i = 0; i < model->layer_count; i++)
        print_layer(to, &a, &model->layer[i], &all[model->layer[i].origin],
                    same ? beside[model->layer[i].origin].spared : 0, target);
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
