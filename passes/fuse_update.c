/* fuse_update.c: variables, and the states of a loop in its body, are updated in place where nobody still needs the old value: then the group that
 * computes the update runs after all groups that read the variable. Where that would be a cycle, or where the
 * group itself reads the variable other than element by element, the update is a copy at the end. */
#include "passes/fuse.h"

typedef struct reader_list {
    int *group;
    size_t count, capacity;
} reader_list;

/* The number of the variable, or state, that v is; -1: none. */
static int number_of(const fuse *f, ir_value v)
{
    const ir_node *n = &f->g->node[v];
    const int64_t number = ir_attr_int(n, ATTR_index, -1);
    if (f->is_body) return n->op == OP_parameter && number < f->carried ? (int)number : -1;
    return n->op == OP_variable ? (int)number : -1;
}

static void list_readers(fuse *f, reader_list *lists)
{
    for (int i = 0; i < (int)f->group_count; i++) {
        ir_value item;
        if (f->groups[i].gone) continue;
        for (size_t j = 0; (item = fuse_group_item(&f->groups[i], j)) != IR_NONE; j++) {
            const fuse_leaves *l = fuse_leaves_of(f, item);
            for (size_t p = 0; p < l->count; p++) {
                const int number = number_of(f, l->leaf[p].base);
                if (number < 0) continue;
                reader_list *list = &lists[number];
                if (list->count == 0 || list->group[list->count - 1] != i)
                    arena_push(f->scratch, list->group, list->count, list->capacity, i);
            }
        }
    }
}

/* A scatter into the variable that reads it for nothing else: codegen then leaves all other elements alone. */
static bool is_scatter_into(const fuse *f, const fuse_group *k, ir_value root, int variable)
{
    const ir_node *n = &f->g->node[root];
    if (k->kind != KERNEL_nest || n->op != OP_scatter || number_of(f, n->in[0]) != variable) return false;
    return number_of(f, fuse_base(f->g, n->in[1])) != variable && number_of(f, fuse_base(f->g, n->in[2])) != variable;
}

/* The group that writes `root` over the variable reads the variable, if at all, element by element: a loop computes an
 * element of all roots before it stores them. */
static bool own_reads_are_safe(fuse *f, int group, ir_value root, int variable)
{
    const fuse_group *k = &f->groups[group];
    ir_value item;
    if (is_scatter_into(f, k, root, variable)) return true;
    for (size_t i = 0; (item = fuse_group_item(k, i)) != IR_NONE; i++) {
        const fuse_leaves *l = fuse_leaves_of(f, item);
        for (size_t j = 0; j < l->count; j++)
            if (number_of(f, l->leaf[j].base) == variable &&
                (!fuse_is_loop(f, k) || l->leaf[j].moved))
                return false;
    }
    return true;
}

static bool can_write_in_place(fuse *f, ir_value root, int variable, const reader_list *readers)
{
    const int group = f->group[root];
    if (group < 0 || !own_reads_are_safe(f, group, root, variable)) return false;
    for (size_t i = 0; i < readers->count; i++)
        if (readers->group[i] != group && fuse_depends(f, readers->group[i], group, false)) return false;
    return true;
}

static void run_after_readers(fuse *f, int group, const reader_list *readers)
{
    fuse_group *k = &f->groups[group];
    k->writes_variable = true;
    for (size_t i = 0; i < readers->count; i++)
        if (readers->group[i] != group)
            arena_push(f->scratch, k->after, k->after_count, k->after_capacity, readers->group[i]);
}

static ir_value add_final_copy(fuse *f, ir_value v)
{
    ir_graph *g = f->g;
    g->origin = g->node[v].origin;
    const ir_value c = ir_build_unary(g, OP_copy, v);
    f->live[c] = f->memory[c] = f->required[c] = true;
    f->uses[c] = 1;
    f->cost[c] = 1;
    f->carries[c] = IR_NONE;
    fuse_add_group(f, KERNEL_loop, IR_NONE, c);
    return c;
}

void fuse_place_updates(fuse *f)
{
    ir_graph *g = f->g;
    const size_t variables = g->module ? g->module->variable_count : 0, states = (size_t)f->carried;
    reader_list *lists = arena_array(f->scratch, reader_list, variables + states + 1);
    list_readers(f, lists);
    for (size_t i = 0; i < (f->is_body ? states : g->update_count); i++) {
        const int variable = f->is_body ? (int)i : g->update[i].variable;
        ir_value *value = f->is_body ? &g->output[i].value : &g->update[i].value;
        const ir_value root = fuse_base(g, *value);
        if (!can_write_in_place(f, root, variable, &lists[variable])) {
            f->required[root] = false;
            *value = add_final_copy(f, *value);
        }
        run_after_readers(f, f->group[fuse_base(g, *value)], &lists[variable]);
    }
}
