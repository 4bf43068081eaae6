/* optimizer.c: gradients become updates: weight decay, the optimizer's rule, moving averages, constraints, in
 * the order of Keras. At steps that only accumulate gradients, weights and slots keep what they have;
 * averages and constraints are done all the same. */
#include "passes/optimizer.h"

#include <string.h>

typedef struct optimizer_class {
    const char *name, *slots;
    optimizer_rows rows;
    optimizer_update update;
    void (*prepare)(optimizer_state *s, const char *slots);
} optimizer_class;

/* ---- variables -------------------------------------------------------------------------------------- */

/* Makes one group: "a=key,b?key" up to `end`. */
static void make_group(optimizer_state *s, const char *group, const char *end)
{
    arena *a = s->m->arena;
    const char *condition = memchr(group, '?', (size_t)(end - group));
    if (condition != NULL) {
        const char *key = arena_strndup(a, condition + 1, (size_t)(end - condition - 1));
        if (ir_record_number(s->record, key, 0) == 0) return;
        end = condition;
    }
    size_t count = s->m->variable_count;
    for (size_t i = 0; i < count; i++) {
        for (const char *p = group; optimizer_owns(s, i) && p < end; p++) {
            const char *comma = memchr(p, ',', (size_t)(end - p));
            const char *stop = comma != NULL ? comma : end;
            char *name = arena_strndup(a, p, (size_t)(stop - p));
            char *key = strchr(name, '=');
            if (key != NULL) *key = '\0';
            double initial = key != NULL ? ir_record_number(s->record, key + 1, 0) : 0;
            optimizer_variable_get(s, optimizer_path(s, (int)i, name), s->m->variable[i].type, initial);
            p = stop;
        }
    }
}

static void prepare_slots(optimizer_state *s, const char *slots)
{
    for (const char *p = slots; *p != '\0';) {
        const char *end = p + strcspn(p, ";");
        make_group(s, p, end);
        p = *end == ';' ? end + 1 : end;
    }
}

/* The running product of nadam's momentum schedule is one number for all weights. */
static void prepare_nadam(optimizer_state *s, const char *slots)
{
    prepare_slots(s, slots);
    optimizer_variable_get(s, arena_printf(s->m->arena, "%s/variable", s->name), ir_type_scalar(DTYPE_f32), 1);
}

/* Weights that are trained as Adam does have a velocity besides. */
static void prepare_muon(optimizer_state *s, const char *slots)
{
    (void)slots;
    for (size_t i = 0, count = s->m->variable_count; i < count; i++) {
        if (!optimizer_owns(s, i)) continue;
        const ir_type type = s->m->variable[i].type;
        optimizer_variable_get(s, optimizer_path(s, (int)i, "momentum"), type, 0);
        if (optimizer_lists(s->record, "adam", i))
            optimizer_variable_get(s, optimizer_path(s, (int)i, "velocity"), type, 0);
    }
}

/* Weights with rows and columns keep a mean of each; others hold places for them that are never used. */
static void prepare_adafactor(optimizer_state *s, const char *slots)
{
    (void)slots;
    size_t count = s->m->variable_count;
    for (size_t i = 0; i < count; i++) {
        if (!optimizer_owns(s, i)) continue;
        ir_type type = s->m->variable[i].type, row = ir_type_scalar(DTYPE_i32), column = row;
        if (type.rank >= 2) {
            row = ir_type_make(type.dtype, type.rank - 1, type.dim);
            column = row;
            column.dim[type.rank - 2] = type.dim[type.rank - 1];
        }
        optimizer_variable_get(s, optimizer_path(s, (int)i, "row"), row, 0);
        optimizer_variable_get(s, optimizer_path(s, (int)i, "column"), column, 0);
        optimizer_variable_get(s, optimizer_path(s, (int)i, "velocity"), type, 0);
    }
}

static const optimizer_class classes[] = {
#define OPTIMIZER(name, update, prepare, rows, slots) \
    {#name, slots, ROWS_##rows, optimizer_update_##update, prepare_##prepare},
#include "passes/optimizers.def"
};

static const optimizer_class *find_class(const ir_record *r)
{
    for (size_t i = 0; i < countof(classes); i++) {
        if (strcmp(classes[i].name, r->name) == 0) return &classes[i];
    }
    return NULL;
}

optimizer_rows optimizer_rows_rule(const ir_record *r)
{
    const optimizer_class *class = find_class(r);
    return class != NULL ? class->rows : ROWS_none;
}

bool optimizer_slots_make(optimizer_state *s)
{
    const optimizer_class *class = find_class(s->record);
    if (class != NULL) class->prepare(s, class->slots);
    return class != NULL;
}

/* ---- one weight ------------------------------------------------------------------------------------- */

static void update_weight(optimizer_state *s, const optimizer_class *class, const ir_binding *b)
{
    ir_graph *g = s->g;
    ir_dtype dtype = s->m->variable[b->variable].type.dtype;
    ir_value step = ir_build_binary_scalar(g, OP_add, s->updates, 1);
    optimizer_step t = {.s = s,
                        .g = g,
                        .record = s->record,
                        .variable = b->variable,
                        .gradient = ir_build_convert(g, b->value, dtype),
                        .value = optimizer_value(g, b->variable),
                        .rate = ir_build_convert(g, s->rate, dtype),
                        .step = ir_build_convert(g, step, dtype),
                        .index = IR_NONE,
                        .row = IR_NONE};
    const bool by_rows = optimizer_rows_begin(&t);
    const bool is_adam = optimizer_lists(s->record, "adam", (size_t)b->variable);
    const ir_field *decay = ir_record_find(s->record, is_adam ? "adam_weight_decay" : "weight_decay");
    if (decay != NULL)
        t.value = opt_sub(g, t.value, opt_mul(g, opt_scale(g, t.value, decay->number), t.rate));
    const ir_value value = class->update(&t);
    if (by_rows)
        optimizer_rows_assign(&t, b->variable, value);
    else
        optimizer_assign(s, b->variable, value);
}

/* The first average is the weight itself; in Keras 2 one that starts at the weight before the first step. */
static void update_averages(optimizer_state *s)
{
    ir_graph *g = s->g;
    double momentum = ir_record_number(s->record, "ema_momentum", 0.99);
    bool keras2 = ir_record_number(s->record, "keras2", 0) != 0;
    int64_t frequency = (int64_t)ir_record_number(s->record, "ema_overwrite_frequency", 0);
    ir_value later = ir_build_compare(g, "NE", s->updates, ir_build_scalar(g, DTYPE_i64, 0));
    ir_value overwrite = IR_NONE;
    if (frequency > 0) {
        ir_value next = ir_build_binary_scalar(g, OP_add, s->updates, 1);
        ir_value left = ir_build_binary_scalar(g, OP_remainder, next, (double)frequency);
        overwrite = ir_build_compare(g, "EQ", left, ir_build_scalar(g, DTYPE_i64, 0));
    }
    size_t count = s->m->variable_count;
    for (size_t i = 0; i < count; i++) {
        if (!optimizer_owns(s, i)) continue;
        int average = optimizer_variable_find(s->m, optimizer_path(s, (int)i, "average"));
        bug_if(average < 0, "no average of variable %zu", i);
        ir_value w = optimizer_value(g, (int)i);
        ir_value keep = opt_scale(g, ir_build_convert(g, later, ir_type_of(g, w)->dtype), momentum);
        ir_value old = ir_build_variable(g, average);
        if (keras2) {
            keep = ir_build_scalar(g, ir_type_of(g, w)->dtype, momentum);
            old = ir_build_select(g, later, old, ir_build_variable(g, (int)i));
        }
        ir_value new = opt_add(g, opt_mul(g, keep, old), opt_mul(g, opt_from(g, 1, keep), w));
        ir_graph_add_update(g, average, new);
        if (overwrite != IR_NONE) ir_graph_add_update(g, (int)i, ir_build_select(g, overwrite, new, w));
    }
}

static bool apply_constraint(ir_module *m, ir_graph *g, int variable, diag *d)
{
    const ir_record *constraint = m->variable[variable].constraint;
    if (constraint == NULL) return true;
    if (!constraint_check(&m->variable[variable], d)) return false;
    ir_graph_add_update(g, variable, constraint_build(g, constraint, optimizer_value(g, variable)));
    return true;
}

/* Whether "lazy_embeddings" means something for a part, or for the whole (NULL). */
static bool check_lazy(const ir_module *m, const ir_graph *g, const optimizer_state *part, diag *d)
{
    bool any = false;
    if (!optimizer_is_lazy(m) || strcmp(g->name, "train_step") != 0) return true;
    for (size_t i = 0; i < g->gradient_count && !any; i++)
        any = (!part || optimizer_owns(part, (size_t)g->gradient[i].variable)) && optimizer_rows_in(g, g->gradient[i].value);
    if (part && any && optimizer_rows_rule(part->record) == ROWS_none)
        return diag_error(d, NULL, "lazy embeddings: expected an optimizer with an elementwise rule (SGD, RMSprop, Adam, AdamW, "
                          "Adamax, Nadam, Adagrad, Adadelta, Ftrl, Lion), found \"%s\", whose rule looks at the table as a whole",
                          part->record->name);
    if (!part && !any)
        return diag_error(d, NULL, "lazy embeddings: expected a trained Embedding whose gradient is the rows that a batch names, found "
                          "none: accumulation, transforms and regularizers need the whole gradient");
    return true;
}

static bool apply_part(ir_module *m, ir_graph *g, size_t part, diag *d)
{
    optimizer_state s;
    bool any = false;
    optimizer_state_init(&s, m, g, part);
    const optimizer_class *class = find_class(s.record);
    if (class == NULL) return diag_error(d, NULL, "expected a known optimizer, found \"%s\"", s.record->name);
    if (!check_lazy(m, g, &s, d)) return false;
    for (size_t i = 0; i < g->gradient_count; i++) {
        if (!optimizer_owns(&s, (size_t)g->gradient[i].variable)) continue;
        update_weight(&s, class, &g->gradient[i]);
        any = true;
    }
    if (!any) return true;
    if (ir_record_number(s.record, "use_ema", 0) != 0) update_averages(&s);
    for (size_t i = 0; i < g->gradient_count; i++) {
        const int variable = g->gradient[i].variable;
        if (optimizer_owns(&s, (size_t)variable) && !apply_constraint(m, g, variable, d)) return false;
    }
    int iteration = optimizer_variable_find(m, arena_printf(m->arena, "%s/iteration", s.name));
    ir_graph_add_update(g, iteration, ir_build_binary_scalar(g, OP_add, s.iteration, 1));
    return true;
}

bool pass_optimizer(ir_module *m, ir_graph *g, const passes_options *o, diag *d)
{
    (void)o;
    if (g->gradient_count == 0) return true;
    g->origin = ir_module_add_origin(m, "", "optimizer");
    if (!check_lazy(m, g, NULL, d)) return false;
    const ir_value *before = loss_scale_begin_updates(m, g);
    for (size_t part = 0; part < optimizer_part_count(m); part++) {
        if (!apply_part(m, g, part, d)) return false;
    }
    loss_scale_end_updates(m, g, before);
    g->gradient_count = 0;
    return true;
}
