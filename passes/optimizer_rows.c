/* optimizer_rows.c: the update of a table of which a step reads few rows (an Embedding's). Its gradient is zeros to which
 * rows are added; where the optimizer leaves alone what has a gradient of zero, only those rows are computed and written. The
 * numbers are those of the whole update: repeated rows are summed first, in the same order. With "lazy_embeddings" the rules
 * that are elementwise, but change what has a gradient of zero, work on those rows only, too; then the numbers are others.
 *
 * Which of several positions with one index stands for the row is found without sorting: every position writes its number
 * to the row's mark, a state of 4 bytes a row that is never cleared, and the last one wins. */
#include "passes/optimizer.h"

#include <string.h>

enum {
    LEAST_ELEMENTS = 1 << 18, /* smaller tables are updated as a whole, unless lazily: that is quicker and needs no marks */
    MOST_DEPTH = 16,          /* of what is done to the gradient after the sum */
    MOST_PARTS = 16           /* uses of one table */
};

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

/* ---- what a gradient is made of ---------------------------------------------------------------------- */

typedef struct row_parts {
    ir_value index[MOST_PARTS], rows[MOST_PARTS]; /* i64[count]; [count, columns ...] */
    int count;
} row_parts;

/* v is the sum of rows that several uses of a table add to zeros. */
static bool collect_parts(const ir_graph *g, ir_value v, row_parts *p)
{
    const ir_node *n = ir_node_of(g, v);
    if (n->op == OP_add && p->count < MOST_PARTS)
        return collect_parts(g, n->in[0], p) && collect_parts(g, n->in[1], p);
    if (p->count == MOST_PARTS || !adds_rows(g, v)) return false;
    p->index[p->count] = n->in[1];
    p->rows[p->count++] = n->in[2];
    return true;
}

/* What makes of an operand of a table's shape another one, and of zero zero: with scalars beside it. */
static bool keeps_zero(const ir_graph *g, const ir_node *n)
{
    double limit;
    if (n->op == OP_negate || (n->op == OP_convert && ir_dtype_is_float(n->type.dtype))) return true;
    if (n->op == OP_multiply || n->op == OP_divide) {
        const ir_node *by = ir_node_of(g, n->in[1]);
        return ir_is_filled(g, n->in[1], &limit) ||
               (by->op == OP_broadcast_in_dim && ir_type_of(g, by->in[0])->rank == 0);
    }
    if ((n->op != OP_maximum && n->op != OP_minimum) || !ir_is_filled(g, n->in[1], &limit)) return false;
    return n->op == OP_maximum ? limit <= 0 : limit >= 0;
}

/* The sum of rows that `gradient` is made of, or IR_NONE. */
static ir_value find_base(const ir_graph *g, ir_value gradient, row_parts *out)
{
    ir_value v = gradient;
    for (int depth = 0; depth < MOST_DEPTH; depth++) {
        *out = (row_parts){.count = 0};
        if (collect_parts(g, v, out)) break;
        const ir_node *n = ir_node_of(g, v);
        if (!keeps_zero(g, n)) return IR_NONE;
        v = n->in[0];
    }
    for (int i = 0; i < out->count; i++) {
        const ir_type *t = ir_type_of(g, out->index[i]);
        ir_dim count;
        if (!ir_type_elements(t, &count) || count.batch != ir_type_of(g, out->index[0])->dim[0].batch) return IR_NONE;
    }
    return out->count > 0 ? v : IR_NONE;
}

/* What is done to `base` on the way to v, done to the rows. */
static ir_value redo(ir_graph *g, ir_value v, ir_value base, ir_value rows)
{
    if (v == base) return rows;
    const ir_node n = *ir_node_of(g, v);
    const ir_value x = redo(g, n.in[0], base, rows);
    if (n.op == OP_negate) return ir_build_unary(g, n.op, x);
    if (n.op == OP_convert) return ir_build_convert(g, x, n.type.dtype);
    double number;
    if (ir_is_filled(g, n.in[1], &number)) return ir_build_binary_scalar(g, n.op, x, number);
    return ir_build_binary(g, n.op, x, ir_node_of(g, n.in[1])->in[0]);
}

ir_value optimizer_rows_entries(const ir_graph *g, ir_value v)
{
    return adds_rows(g, v) && ir_type_of(g, v)->dtype == DTYPE_f32 ? ir_node_of(g, v)->in[2] : v;
}

/* ---- which weights ------------------------------------------------------------------------------------- */

bool optimizer_is_lazy(const ir_module *m) { return ir_record_number(m->optimizer, "lazy_embeddings", 0) != 0; }

/* The optimizer may leave alone what the batch does not name, and gains by it. */
static bool keeps_rows(const optimizer_state *s, int variable)
{
    const ir_variable *v = &s->m->variable[variable];
    const optimizer_rows rule = optimizer_rows_rule(s->record);
    if (s->due != IR_NONE || rule == ROWS_none) return false;
    if (optimizer_is_lazy(s->m)) return true;
    return rule == ROWS_kept && ir_record_number(s->record, "momentum", 0) == 0 &&
           ir_record_number(s->record, "use_ema", 0) == 0 && !ir_record_find(s->record, "weight_decay") &&
           !v->constraint && ir_type_elements_at(&v->type, 0) >= LEAST_ELEMENTS;
}

bool optimizer_rows_in(const ir_graph *g, ir_value gradient)
{
    row_parts p;
    return find_base(g, gradient, &p) != IR_NONE;
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
static int make_marks(optimizer_state *s, int variable)
{
    ir_module *m = s->m;
    const char *path = optimizer_path(s, variable, "row_marks");
    const int found = optimizer_variable_find(m, path);
    if (found >= 0) return found;
    const ir_variable v = {.name = arena_printf(m->arena, "%s_row_marks", m->variable[variable].name),
                           .path = path,
                           .type = ir_type_make(DTYPE_i32, 1, m->variable[variable].type.dim),
                           .role = ROLE_optimizer,
                           .initializer = ir_record_new(m->arena, "zeros")};
    return ir_module_add_variable(m, v);
}

/* The rows of all parts, and the index of each. */
static void join_parts(ir_graph *g, const row_parts *p, const ir_type *table, ir_value *out_index, ir_value *out_rows)
{
    ir_value index[MOST_PARTS], rows[MOST_PARTS];
    for (int i = 0; i < p->count; i++) {
        ir_type type = ir_type_with_dtype(*table, ir_type_of(g, p->rows[i])->dtype);
        ir_type_elements(ir_type_of(g, p->index[i]), &type.dim[0]);
        index[i] = ir_build_reshape(g, ir_build_convert(g, p->index[i], DTYPE_i64), 1, type.dim);
        rows[i] = ir_build_reshape(g, p->rows[i], type.rank, type.dim);
    }
    *out_index = p->count > 1 ? ir_build_concatenate(g, p->count, index, 0) : index[0];
    *out_rows = p->count > 1 ? ir_build_concatenate(g, p->count, rows, 0) : rows[0];
}

/* The rows of a gradient: where several positions name a row, one has their sum and the others have zeros. */
typedef struct row_sum {
    ir_value index, owned; /* i64[count]: which row; the same where the sum is, -1 elsewhere */
    ir_value gradient;     /* [count, columns ...] */
} row_sum;

static bool sum_rows(optimizer_state *s, int variable, ir_value gradient, row_sum *out)
{
    ir_graph *g = s->g;
    row_parts p;
    const ir_type table = s->m->variable[variable].type;
    const ir_value base = keeps_rows(s, variable) ? find_base(g, gradient, &p) : IR_NONE;
    if (base == IR_NONE) return false;
    ir_value index, all;
    join_parts(g, &p, &table, &index, &all);
    const ir_type rows = *ir_type_of(g, all);
    const ir_value number = ir_build_iota(g, ir_type_make(DTYPE_i32, 1, rows.dim), 0);
    const ir_value none = ir_build_scalar(g, DTYPE_i64, -1);
    const int marks = make_marks(s, variable);
    const ir_value marked = scatter_rows(g, "replace", ir_build_variable(g, marks), index, number);
    ir_graph_add_update(g, marks, marked);
    const ir_value owner = ir_build_take_rows(g, marked, index);
    const ir_value inside = ir_build_compare(g, "EQ", ir_build_take_rows(g, index, owner), index);
    const ir_value to = ir_build_select(g, inside, ir_build_convert(g, owner, DTYPE_i64), none);
    const ir_value sum = scatter_rows(g, "add", ir_build_fill(g, rows, 0), to, all);
    const ir_value is_owner = ir_build_compare(g, "EQ", owner, number);
    out->gradient = redo(g, gradient, base, sum);
    out->owned = ir_build_select(g, ir_build_binary(g, OP_and, is_owner, inside), index, none);
    out->index = index;
    return true;
}

ir_value optimizer_sum_squares(optimizer_state *s, int variable, ir_value gradient)
{
    row_sum sum;
    return opt_sum(s->g, opt_square(s->g, sum_rows(s, variable, gradient, &sum) ? sum.gradient : gradient));
}

bool optimizer_rows_begin(optimizer_step *t)
{
    ir_graph *g = t->g;
    row_sum sum;
    if (!sum_rows(t->s, t->variable, t->gradient, &sum)) return false;
    const ir_value finite = loss_scale_finite(t->s->m, g);
    t->row = finite == IR_NONE ? sum.owned : ir_build_select(g, finite, sum.owned, ir_build_scalar(g, DTYPE_i64, -1));
    t->gradient = sum.gradient;
    t->index = sum.index;
    t->value = ir_build_take_rows(g, optimizer_value(g, t->variable), t->index);
    return true;
}

bool optimizer_rows_updated(const ir_graph *g, const ir_binding *update)
{
    const ir_node *n = ir_node_of(g, update->value);
    if (n->op != OP_scatter || strcmp(ir_attr_text(n, ATTR_kind), "replace") != 0) return false;
    const ir_node *x = ir_node_of(g, n->in[0]);
    return x->op == OP_variable && ir_attr_int(x, ATTR_index, -1) == update->variable;
}

ir_value optimizer_rows_take(optimizer_step *t, int variable)
{
    return ir_build_take_rows(t->g, optimizer_value(t->g, variable), t->index);
}

void optimizer_rows_assign(optimizer_step *t, int variable, ir_value rows)
{
    ir_graph_add_update(t->g, variable, scatter_rows(t->g, "replace", optimizer_value(t->g, variable), t->row, rows));
}
