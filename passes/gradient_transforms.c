/* gradient_transforms.c: see gradient_transforms.h. */
#include "passes/gradient_transforms.h"

#include <string.h>

static const struct row {
    const char *name;
    transform_rule rule;
} rows[] = {
#define TRANSFORM(name, rule, settings, does) {#name, transform_##rule},
#include "ir/gradient_transforms.def"
};

static const ir_record *find_transforms(const ir_module *m)
{
    return m->optimizer != NULL ? ir_record_record(m->optimizer, "gradient_transforms") : NULL;
}

double transform_number(const transform *t, const char *key) { return ir_record_number(t->r, key, 0); }

/* ---- state ------------------------------------------------------------------------------------------- */

static const char *slot_path(const transform *t, const char *slot)
{
    return arena_printf(t->g->arena, "gradient_transforms/%d_%s/%s_%s", t->number, t->r->name,
                        t->s->m->variable[t->variable].name, slot);
}

static int get_variable(transform *t, const char *path, ir_type type, double initial)
{
    static const char group[] = "gradient_transforms/";
    ir_module *m = t->s->m;
    const int found = optimizer_variable_find(m, path);
    if (found >= 0) return found;
    int before = 0;
    for (size_t i = 0; i < m->variable_count; i++)
        before += m->variable[i].h5 != NULL && strncmp(m->variable[i].h5, group, strlen(group)) == 0;
    char *name = arena_strdup(m->arena, path);
    for (char *c = name; *c != '\0'; c++) {
        if (*c == '/') *c = '_';
    }
    ir_record *start = ir_record_new(m->arena, initial == 0 ? "zeros" : "constant");
    if (initial != 0) ir_record_add_number(m->arena, start, "value", initial);
    return ir_module_add_variable(m, (ir_variable){.name = name,
                                                   .path = arena_strdup(m->arena, path),
                                                   .type = type,
                                                   .role = ROLE_optimizer,
                                                   .h5 = arena_printf(m->arena, "%svars/%d", group, before),
                                                   .initializer = start});
}

ir_value transform_state(transform *t, const char *slot, double initial)
{
    return ir_build_variable(t->g, get_variable(t, slot_path(t, slot), *ir_type_of(t->g, t->x), initial));
}

void transform_state_assign(transform *t, const char *slot, ir_value value)
{
    optimizer_assign(t->s, get_variable(t, slot_path(t, slot), *ir_type_of(t->g, t->x), 0), value);
}

ir_value transform_count(transform *t)
{
    ir_graph *g = t->g;
    const char *path = arena_printf(g->arena, "gradient_transforms/%d_%s/count", t->number, t->r->name);
    const int count = get_variable(t, path, ir_type_scalar(DTYPE_i64), 0);
    const ir_value next = ir_build_binary_scalar(g, OP_add, ir_build_variable(g, count), 1);
    ir_value kept = next;
    if (t->s->due != IR_NONE) kept = ir_build_select(g, t->s->due, next, ir_build_variable(g, count));
    ir_graph_add_update(g, count, kept);
    return ir_build_convert(g, next, ir_type_of(g, t->x)->dtype);
}

/* ---- models ------------------------------------------------------------------------------------------ */

static const char *model_graph_name(const transform *t)
{
    return arena_printf(t->g->arena, "gradient_transform_%d_%d", t->number, t->variable);
}

ir_value transform_model(transform *t)
{
    const ir_graph *from = ir_module_find_graph(t->s->m, model_graph_name(t));
    bug_if(from == NULL || from->output_count != 1, "no graph %s", model_graph_name(t));
    ir_value *map = arena_array(t->g->arena, ir_value, from->count + 1);
    map[0] = t->value;
    map[1] = t->x;
    for (ir_value v = 2; v < (ir_value)from->count; v++) map[v] = ir_graph_copy_node(t->g, from, v, map);
    return map[from->output[0].value];
}

void gradient_transforms_end(ir_module *m)
{
    static const char prefix[] = "gradient_transform_";
    size_t kept = 0;
    for (size_t i = 0; i < m->graph_count; i++) {
        if (strncmp(m->graph[i]->name, prefix, strlen(prefix)) != 0) m->graph[kept++] = m->graph[i];
    }
    m->graph_count = kept;
}

/* ---- all --------------------------------------------------------------------------------------------- */

static transform_rule find_rule(const char *name)
{
    for (size_t i = 0; i < countof(rows); i++) {
        if (strcmp(rows[i].name, name) == 0) return rows[i].rule;
    }
    bug("unknown gradient transform %s", name);
}

static bool is_chosen(const transform *t, const ir_binding *b)
{
    return optimizer_owns(t->s, (size_t)b->variable) && optimizer_lists(t->r, "variables", (size_t)b->variable);
}

static ir_value find_norm(const transform *t)
{
    ir_graph *g = t->g;
    ir_value sum = IR_NONE;
    for (size_t i = 0; i < g->gradient_count; i++) {
        if (!is_chosen(t, &g->gradient[i])) continue;
        ir_value part = opt_sum(g, opt_square(g, ir_build_convert(g, g->gradient[i].value, DTYPE_f32)));
        sum = sum == IR_NONE ? part : opt_add(g, sum, part);
    }
    return sum == IR_NONE ? IR_NONE : opt_sqrt(g, sum);
}

void gradient_transforms_apply(optimizer_state *s)
{
    const ir_record *all = find_transforms(s->m);
    for (size_t k = 0; all != NULL && k < all->count; k++) {
        transform t = {.s = s, .g = s->g, .r = all->field[k].record, .number = (int)k};
        const transform_rule rule = find_rule(t.r->name);
        t.norm = find_norm(&t);
        for (size_t i = 0; i < s->g->gradient_count; i++) {
            ir_binding *b = &s->g->gradient[i];
            if (!is_chosen(&t, b)) continue;
            t.variable = b->variable;
            t.x = b->value;
            t.value = ir_build_variable(s->g, b->variable);
            s->g->gradient[i].value = rule(&t);
        }
    }
}
