/* optimizer_state.c: the optimizer's variables in the module, and how a step reads and assigns them. */
#include "passes/optimizer.h"

#include <string.h>

size_t optimizer_part_count(const ir_module *m)
{
    size_t count = 0;
    if (m->optimizer == NULL) return 0;
    if (strcmp(m->optimizer->name, "multi_optimizer") != 0) return 1;
    while (ir_record_record(m->optimizer, arena_printf(m->arena, "optimizer_%zu", count)) != NULL) count++;
    return count;
}

const ir_record *optimizer_part(const ir_module *m, size_t part)
{
    const ir_record *r =
        ir_record_record(m->optimizer, arena_printf(m->arena, "optimizer_%zu", part));
    return r != NULL ? r : m->optimizer;
}

bool optimizer_lists(const ir_record *r, const char *key, size_t variable)
{
    const ir_field *list = ir_record_find(r, key);
    for (int i = 0; list != NULL && list->kind == FIELD_NUMBERS && i < list->count; i++) {
        if (list->numbers[i] == (double)variable) return true;
    }
    return false;
}

bool optimizer_owns(const optimizer_state *s, size_t variable)
{
    const ir_variable *v = &s->m->variable[variable];
    if (v->role != ROLE_weight || !v->trainable || !ir_dtype_is_float(v->type.dtype)) return false;
    return s->record == s->m->optimizer || optimizer_lists(s->record, "variables", variable);
}

static char *make_flat(arena *a, const char *path, const char *suffix)
{
    char *flat = arena_printf(a, "%s%s%s", path, *suffix != '\0' ? "_" : "", suffix);
    for (char *c = flat; *c != '\0'; c++) {
        if (*c == '/') *c = '_';
    }
    return flat;
}

const char *optimizer_path(const optimizer_state *s, int weight, const char *suffix)
{
    arena *a = s->m->arena;
    return arena_printf(a, "%s/%s", s->name, make_flat(a, s->m->variable[weight].path, suffix));
}

int optimizer_variable_find(const ir_module *m, const char *path)
{
    for (size_t i = 0; i < m->variable_count; i++) {
        const ir_variable *v = &m->variable[i];
        if (v->role == ROLE_optimizer && strcmp(v->path, path) == 0) return (int)i;
    }
    return -1;
}

static const char *make_identifier(arena *a, const char *path)
{
    char *name = make_flat(a, path, "");
    for (char *c = name; *c != '\0'; c++) {
        bool good =
            (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_';
        if (!good) *c = '_';
    }
    return name[0] >= '0' && name[0] <= '9' ? arena_printf(a, "_%s", name) : name;
}

/* LossScaleOptimizer's own variables come first; a file holds those of the optimizer in it a second time after them. */
enum { LOSS_SCALE_VARIABLES = 4 };

static void place_in_file(const ir_module *m, ir_variable *v)
{
    int before = 0;
    for (size_t i = 0; i < m->variable_count; i++)
        before += m->variable[i].role == ROLE_optimizer && m->variable[i].h5 != NULL;
    v->h5 = arena_printf(m->arena, "optimizer/vars/%d", before);
    if (ir_record_record(m->optimizer, "loss_scale") == NULL || before < LOSS_SCALE_VARIABLES) return;
    v->h5_copy = v->h5;
    v->h5 = arena_printf(m->arena, "optimizer/inner_optimizer/vars/%d", before - LOSS_SCALE_VARIABLES);
}

int optimizer_variable_make(ir_module *m, const char *path, ir_type type, double initial, bool stored)
{
    ir_record *start = ir_record_new(m->arena, initial == 0 ? "zeros" : "constant");
    if (initial != 0) ir_record_add_number(m->arena, start, "value", initial);
    ir_variable v = {.name = make_identifier(m->arena, path),
                     .path = path,
                     .type = type,
                     .role = ROLE_optimizer,
                     .initializer = start};
    if (stored) place_in_file(m, &v);
    return ir_module_add_variable(m, v);
}

int optimizer_variable_get(optimizer_state *s, const char *path, ir_type type, double initial)
{
    int found = optimizer_variable_find(s->m, path), copied = 0;
    if (found >= 0) return found;
    for (size_t i = 0; s->h5_copy != NULL && i < s->m->variable_count; i++) {
        const char *copy = s->m->variable[i].h5_copy;
        copied += copy != NULL && strncmp(copy, s->h5_copy, strlen(s->h5_copy)) == 0;
    }
    found = optimizer_variable_make(s->m, path, type, initial, true);
    if (s->h5_copy != NULL) s->m->variable[found].h5_copy = arena_printf(s->m->arena, "%s%d", s->h5_copy, copied);
    return found;
}

ir_value optimizer_value(ir_graph *g, int variable)
{
    for (size_t i = 0; i < g->update_count; i++) {
        if (g->update[i].variable == variable) return g->update[i].value;
    }
    return ir_build_variable(g, variable);
}

void optimizer_assign(optimizer_state *s, int variable, ir_value value)
{
    if (s->due != IR_NONE) value = ir_build_select(s->g, s->due, value, optimizer_value(s->g, variable));
    ir_graph_add_update(s->g, variable, value);
}

static void make_per_weight(optimizer_state *s, const char *suffix)
{
    size_t count = s->m->variable_count;
    for (size_t i = 0; i < count; i++) {
        if (optimizer_owns(s, i))
            optimizer_variable_get(s, optimizer_path(s, (int)i, suffix), s->m->variable[i].type, 0);
    }
}

static void read_counters(optimizer_state *s, int iteration)
{
    ir_graph *g = s->g;
    s->iteration = s->updates = ir_build_variable(g, iteration);
    s->due = IR_NONE;
    if (s->steps < 2) return;
    ir_value next = ir_build_binary_scalar(g, OP_add, s->iteration, 1);
    ir_value left = ir_build_binary_scalar(g, OP_remainder, next, (double)s->steps);
    s->due = ir_build_compare(g, "EQ", left, ir_build_scalar(g, DTYPE_i64, 0));
    s->updates = ir_build_binary_scalar(g, OP_divide, s->iteration, (double)s->steps);
}

static void read_rate(optimizer_state *s)
{
    const ir_record *r = s->record, *schedule = ir_record_record(r, "learning_rate");
    const double rate = ir_record_number(r, "learning_rate", 0.001);
    s->has_schedule = schedule != NULL;
    if (s->has_schedule) {
        s->rate = schedule_build(s->g, schedule, s->iteration);
    } else if (ir_record_number(r, "keras2", 0) != 0) { /* whose files have no learning rate */
        s->rate = ir_build_scalar(s->g, DTYPE_f32, rate);
    } else {
        const char *path = arena_printf(s->m->arena, "%s/learning_rate", s->name);
        s->rate = ir_build_variable(s->g, optimizer_variable_get(s, path, ir_type_scalar(DTYPE_f32), rate));
    }
}

static int make_counter(optimizer_state *s)
{
    return optimizer_variable_get(s, arena_printf(s->m->arena, "%s/iteration", s->name), ir_type_scalar(DTYPE_i64), 0);
}

/* Several parts count together what each counts for itself; their common learning rate is never used. */
static void make_common(optimizer_state *s)
{
    optimizer_state all = *s;
    all.record = s->m->optimizer;
    all.name = ir_record_text(all.record, "name", all.record->name);
    const int counter = make_counter(&all);
    optimizer_variable_get(&all, arena_printf(s->m->arena, "%s/learning_rate", all.name), ir_type_scalar(DTYPE_f32), 0);
    ir_value next = ir_build_binary_scalar(s->g, OP_add, ir_build_variable(s->g, counter), 1);
    ir_graph_add_update(s->g, counter, next);
}

/* Keras numbers the second and further optimizers of one class. */
static const char *find_h5_copy(const ir_module *m, size_t part)
{
    const char *class = optimizer_part(m, part)->name;
    int before = 0;
    for (size_t i = 0; i < part; i++) before += strcmp(optimizer_part(m, i)->name, class) == 0;
    return before == 0 ? arena_printf(m->arena, "optimizer/optimizers/%s/vars/", class)
                       : arena_printf(m->arena, "optimizer/optimizers/%s_%d/vars/", class, before);
}

void optimizer_state_init(optimizer_state *s, ir_module *m, ir_graph *g, size_t part)
{
    const ir_record *r = optimizer_part(m, part);
    *s = (optimizer_state){.m = m,
                           .g = g,
                           .record = r,
                           .name = ir_record_text(r, "name", r->name),
                           .due = IR_NONE,
                           .u_product = IR_NONE,
                           .steps = (int64_t)ir_record_number(r, "gradient_accumulation_steps", 0)};
    if (part == 0 && r != m->optimizer) make_common(s);
    if (r != m->optimizer) s->h5_copy = find_h5_copy(m, part);
    read_counters(s, make_counter(s));
    read_rate(s);
    if (ir_record_number(r, "use_ema", 0) != 0) make_per_weight(s, "average");
    if (s->steps >= 2) make_per_weight(s, "gradient_accumulator");
    for (size_t i = 0, count = m->variable_count; i < count; i++) {
        if (!optimizer_owns(s, i)) continue;
        optimizer_slots_make(s);
        break;
    }
}

/* ---- steps ------------------------------------------------------------------------------------------------
 */

static int find_slot(optimizer_step *t, const char *suffix)
{
    int variable = optimizer_variable_find(t->s->m, optimizer_path(t->s, t->variable, suffix));
    bug_if(variable < 0, "no slot %s of variable %d", suffix, t->variable);
    return variable;
}

ir_value optimizer_slot(optimizer_step *t, const char *suffix)
{
    if (t->index != IR_NONE) return optimizer_rows_take(t, find_slot(t, suffix));
    return optimizer_value(t->g, find_slot(t, suffix));
}

void optimizer_slot_assign(optimizer_step *t, const char *suffix, ir_value value)
{
    if (t->index != IR_NONE)
        optimizer_rows_assign(t, find_slot(t, suffix), value);
    else
        optimizer_assign(t->s, find_slot(t, suffix), value);
}

double optimizer_number(const optimizer_step *t, const char *key)
{
    return ir_record_number(t->record, key, 0);
}

ir_value optimizer_scalar(optimizer_step *t, double number)
{
    return ir_build_scalar(t->g, ir_type_of(t->g, t->value)->dtype, number);
}

/* ---- arithmetic ------------------------------------------------------------------------------------- */

ir_value opt_from(ir_graph *g, double a, ir_value b)
{
    return ir_build_binary(g, OP_subtract, ir_build_scalar(g, ir_type_of(g, b)->dtype, a), b);
}

ir_value opt_over(ir_graph *g, double a, ir_value b)
{
    return ir_build_binary(g, OP_divide, ir_build_scalar(g, ir_type_of(g, b)->dtype, a), b);
}

ir_value opt_mix(ir_graph *g, ir_value old, ir_value new, double rate)
{
    return opt_add(g, opt_scale(g, old, rate), opt_scale(g, new, 1 - rate));
}

ir_value opt_approach(ir_graph *g, ir_value old, ir_value new, double rate)
{
    return opt_add(g, old, opt_scale(g, opt_sub(g, new, old), 1 - rate));
}

static ir_value reduce_all(ir_graph *g, ir_value x, bool mean)
{
    int rank = ir_type_of(g, x)->rank;
    int64_t all[IR_MAX_RANK];
    for (int i = 0; i < rank; i++) all[i] = i;
    if (rank == 0) return x;
    return mean ? ir_build_mean(g, x, rank, all, false) : ir_build_reduce(g, "add", x, rank, all, false);
}

ir_value opt_sum(ir_graph *g, ir_value x) { return reduce_all(g, x, false); }

ir_value opt_mean(ir_graph *g, ir_value x) { return reduce_all(g, x, true); }
