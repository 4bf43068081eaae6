/* optimizer_rows.c: the update of a table of which a step reads few rows (an Embedding's). Its gradient is zeros to which
 * rows are added; where the optimizer leaves alone what has a gradient of zero, only those rows are computed and written. The
 * numbers are those of the whole update: repeated rows are summed first, in the same order.
 *
 * Which of several positions with one index stands for the row is found without sorting: every position writes its number
 * to the row's mark, a state of 4 bytes a row that is never cleared, and the last one wins. */
#include "passes/optimizer.h"

#include <string.h>

enum { LEAST_ELEMENTS = 1 << 18 }; /* smaller tables are updated as a whole: that is quicker and needs no marks */

static bool is_one(const ir_node *n, ir_attr_name name, int64_t number)
{
    int count;
    const int64_t *item = ir_attr_ints(n, name, &count);
    return count == 1 && item[0] == number;
}

static bool is_none(const ir_node *n, ir_attr_name name)
{
    int count;
    ir_attr_ints(n, name, &count);
    return count == 0;
}

/* v adds whole rows to zeros. */
static bool adds_rows(const ir_graph *g, ir_value v)
{
    const ir_node *n = ir_node_of(g, v);
    if (n->op != OP_scatter || strcmp(ir_attr_text(n, ATTR_kind), "add") != 0) return false;
    const ir_type *indices = ir_type_of(g, n->in[1]), *updates = ir_type_of(g, n->in[2]);
    int windows;
    const int64_t *window = ir_attr_ints(n, ATTR_update_window_dims, &windows);
    if (!is_one(n, ATTR_inserted_window_dims, 0) || !is_one(n, ATTR_scatter_dims, 0) ||
        !is_none(n, ATTR_operand_batching_dims) || ir_attr_int(n, ATTR_index_vector_dim, -1) != indices->rank)
        return false;
    for (int i = 0; i < windows; i++) {
        if (window[i] != indices->rank + i || !ir_dim_equal(updates->dim[window[i]], n->type.dim[i + 1])) return false;
    }
    return windows == n->type.rank - 1 && windows > 0 && ir_is_filled_with(g, n->in[0], 0);
}

/* A gradient of zero leaves the weight and all its slots as they are. */
static bool keeps_rows(const optimizer_step *t)
{
    const bool is_plain = strcmp(t->record->name, "sgd") == 0 && optimizer_number(t, "momentum") == 0;
    return (is_plain || strcmp(t->record->name, "adagrad") == 0) && optimizer_number(t, "use_ema") == 0 &&
           !ir_record_find(t->record, "weight_decay") && t->s->due == IR_NONE &&
           t->s->m->variable[t->variable].constraint == NULL;
}

/* x with the rows put or added at a row of index vectors. */
static ir_value scatter_rows(ir_graph *g, const char *kind, ir_value x, ir_value index, ir_value rows)
{
    int64_t window[IR_MAX_RANK];
    const int64_t zero = 0;
    const int windows = ir_type_of(g, x)->rank - 1;
    for (int i = 0; i < windows; i++) window[i] = i + 1;
    const ir_value in[] = {x, index, rows};
    const ir_attr attr[] = {{.name = ATTR_kind, .text = kind},
                            {.name = ATTR_update_window_dims, .ints = {windows, window}},
                            {.name = ATTR_inserted_window_dims, .ints = {1, &zero}},
                            {.name = ATTR_operand_batching_dims, .ints = {0, &zero}},
                            {.name = ATTR_indices_batching_dims, .ints = {0, &zero}},
                            {.name = ATTR_scatter_dims, .ints = {1, &zero}},
                            {.name = ATTR_index_vector_dim, .i = 1}};
    return ir_build(g, OP_scatter, 3, in, (int)countof(attr), attr, NULL);
}

/* The variable of marks, which no weights file holds. */
static int make_marks(optimizer_step *t, ir_dim rows)
{
    ir_module *m = t->s->m;
    const char *path = optimizer_path(t->s, t->variable, "row_marks");
    const int found = optimizer_variable_find(m, path);
    if (found >= 0) return found;
    const ir_variable v = {.name = arena_printf(m->arena, "%s_row_marks", m->variable[t->variable].name),
                           .path = path,
                           .type = ir_type_make(DTYPE_i32, 1, &rows),
                           .role = ROLE_optimizer,
                           .initializer = ir_record_new(m->arena, "zeros")};
    return ir_module_add_variable(m, v);
}

bool optimizer_rows_begin(optimizer_step *t, ir_value gradient)
{
    ir_graph *g = t->g;
    const ir_type table = t->s->m->variable[t->variable].type;
    if (ir_type_elements_at(&table, 0) < LEAST_ELEMENTS || !keeps_rows(t) || !adds_rows(g, gradient)) return false;
    if (ir_type_of(g, gradient)->dtype != table.dtype) return false;
    const ir_node n = *ir_node_of(g, gradient);
    ir_dim count;
    if (!ir_type_elements(ir_type_of(g, n.in[1]), &count)) return false;
    ir_type rows = table;
    rows.dim[0] = count;
    const ir_value index = ir_build_reshape(g, ir_build_convert(g, n.in[1], DTYPE_i64), 1, &count);
    const ir_value all = ir_build_reshape(g, n.in[2], rows.rank, rows.dim);
    const ir_type numbers = ir_type_make(DTYPE_i32, 1, &count);
    const ir_value number = ir_build_iota(g, numbers, 0), none = ir_build_scalar(g, DTYPE_i64, -1);
    const int marks = make_marks(t, table.dim[0]);
    const ir_value marked = scatter_rows(g, "replace", ir_build_variable(g, marks), index, number);
    ir_graph_add_update(g, marks, marked);
    const ir_value owner = ir_build_take_rows(g, marked, index);
    const ir_value inside = ir_build_compare(g, "EQ", ir_build_take_rows(g, index, owner), index);
    const ir_value to = ir_build_select(g, inside, ir_build_convert(g, owner, DTYPE_i64), none);
    t->gradient = scatter_rows(g, "add", ir_build_fill(g, rows, 0), to, all);
    const ir_value is_owner = ir_build_compare(g, "EQ", owner, number);
    t->row = ir_build_select(g, ir_build_binary(g, OP_and, is_owner, inside), index, none);
    t->index = index;
    t->value = ir_build_take_rows(g, optimizer_value(g, t->variable), index);
    return true;
}

ir_value optimizer_rows_take(optimizer_step *t, int variable)
{
    return ir_build_take_rows(t->g, optimizer_value(t->g, variable), t->index);
}

void optimizer_rows_assign(optimizer_step *t, int variable, ir_value rows)
{
    ir_graph_add_update(t->g, variable, scatter_rows(t->g, "replace", optimizer_value(t->g, variable), t->row, rows));
}
