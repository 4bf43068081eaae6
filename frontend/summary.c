/* summary.c: the table that keras.Model.summary() prints, at its full width, and the layer graph for
 * Graphviz. The layout follows what Keras asks of the table printer and how that shrinks columns that do not
 * fit. */
#include "frontend/model.h"

#include <string.h>

enum { MOST_COLUMNS = 4, CHAIN_WIDTH = 88, GRAPH_WIDTH = 108 };

typedef struct table {
    fe *fe;
    const fe_model *model;
    bool is_chain; /* no column "Connected to" */
    int columns;
    int width[MOST_COLUMNS]; /* with one space on both sides */
    text out;
} table;

typedef struct cells {
    const char *text[MOST_COLUMNS];
} cells;

/* ---- facts about layers
 * ----------------------------------------------------------------------------------------------- */

static int count_inputs(const fe_value *v)
{
    int count = v->kind == FE_NODE;
    for (int i = 0; i < v->count; i++) count += count_inputs(&v->item[i]);
    return count;
}

/* As Keras decides it: one call at each depth, each with one input, and no layer called twice. */
static bool is_chain(fe *f, const fe_model *m)
{
    if (strcmp(m->class_name, "Sequential") == 0) return true;
    bool *used = arena_array(f->arena, bool, m->call_count + 1);
    for (size_t i = 0; i < m->call_count; i++) {
        const fe_node *call = &m->call[i];
        if (m->depth[i] < 0) continue;
        if (used[m->depth[i]] || call->index > 0) return false;
        used[m->depth[i]] = true;
        if (count_inputs(&call->args.arg) + count_inputs(&call->args.kwarg) > 1) return false;
    }
    return true;
}

typedef struct counts {
    int64_t trainable, trainable_bytes, other, other_bytes;
} counts;

static void count_layer(const fe *f, const fe_layer *layer, bool *seen, counts *c)
{
    for (size_t i = 0; i < layer->weight_count; i++) {
        if (layer->weight[i].dataset) continue;
        int variable = layer->weight[i].variable;
        const ir_variable *v = &f->module->variable[variable];
        int64_t elements = ir_type_elements_at(&v->type, 1);
        int64_t bytes = elements * (int64_t)ir_dtype_size(v->type.dtype);
        if (seen[variable]) continue;
        seen[variable] = true;
        *(v->trainable ? &c->trainable : &c->other) += elements;
        *(v->trainable ? &c->trainable_bytes : &c->other_bytes) += bytes;
    }
    for (int i = 0; i < layer->child_count; i++) count_layer(f, layer->child[i], seen, c);
    for (size_t i = 0; layer->model && i < layer->model->layer_count; i++) {
        count_layer(f, layer->model->layer[i], seen, c);
    }
}

static counts count_one(fe *f, const fe_layer *layer)
{
    counts c = {0};
    bool *seen = arena_array(f->arena, bool, f->module->variable_count + 1);
    count_layer(f, layer, seen, &c);
    return c;
}

static const char *show_count(fe *f, int64_t n)
{
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)n);
    char *out = arena_alloc(f->arena, 64), *to = out;
    for (int i = 0; i < length; i++) {
        *to++ = digits[i];
        if (i + 1 < length && (length - 1 - i) % 3 == 0) *to++ = ',';
    }
    return out;
}

static const char *show_bytes(fe *f, int64_t bytes)
{
    static const char *const unit[] = {"B", "KB", "MB", "GB", "TB", "PB"};
    double size = (double)bytes;
    size_t i = 0;
    for (; i + 1 < countof(unit) && size / 1024.0 >= 1.0; i++) size /= 1024.0;
    return arena_printf(f->arena, "%.2f %s", size, unit[i]);
}

static void put_shape(text *t, const ir_type *type)
{
    text_put(t, "(", 1);
    for (int i = 0; i < type->rank; i++) {
        if (i) text_put(t, ", ", 2);
        if (type->dim[i].batch >= UNIT_values)
            text_put(t, "None, None", 10);
        else if (type->dim[i].batch || type->dim[i].count < 0)
            text_put(t, "None", 4);
        else
            text_add(t, "%lld", (long long)type->dim[i].count);
    }
    text_put(t, ")", 1);
}

static const char *show_shapes(fe *f, const fe_layer *layer)
{
    text t = {0};
    const fe_input *input = fe_layer_input(layer);
    const ir_type *type = input ? &input->type : layer->out_type;
    int count = input ? 1 : layer->out_count;
    if (count == 0) return "?";
    if (count > 1) text_put(&t, "[", 1);
    for (int i = 0; i < count; i++) {
        if (i) text_put(&t, ", ", 2);
        put_shape(&t, &type[i]);
    }
    if (count > 1) text_put(&t, "]", 1);
    const char *shown = arena_strdup(f->arena, text_get(&t));
    text_done(&t);
    return shown;
}

static void put_sources(const fe_model *m, const fe_value *v, text *t)
{
    for (int i = 0; i < v->count; i++) put_sources(m, &v->item[i], t);
    if (v->kind != FE_NODE) return;
    const fe_node *from = &m->call[v->node];
    text_add(t, "%s%s[%d][%d]", t->length ? ", " : "", from->layer->name, from->index,
             v->output < 0 ? 0 : v->output);
}

static const char *show_sources(fe *f, const fe_model *m, const fe_layer *layer)
{
    text t = {0};
    for (size_t i = 0; i < m->call_count; i++) {
        if (m->call[i].layer != layer || m->depth[i] < 0) continue;
        put_sources(m, &m->call[i].args.arg, &t);
        put_sources(m, &m->call[i].args.kwarg, &t);
    }
    const char *shown = t.length ? arena_strdup(f->arena, text_get(&t)) : "-";
    text_done(&t);
    return shown;
}

/* ---- the table
 * -------------------------------------------------------------------------------------------------------- */

static int round_half_even(int a, int b)
{
    int twice = 2 * (a % b);
    return a / b + (twice > b || (twice == b && a / b % 2 == 1));
}

/* Keras gives positions of a line; a column's width comes without its padding, so the table is too wide by
 * twice the number of columns and the printer takes the excess from all columns evenly. */
static void set_widths(table *t)
{
    static const double chain[] = {0.45, 0.80, 1.0}, graph[] = {0.3, 0.56, 0.74, 1.0};
    int line = t->is_chain ? CHAIN_WIDTH : GRAPH_WIDTH, current = 0, total = 0;
    t->columns = t->is_chain ? 3 : 4;
    for (int i = 0; i < t->columns; i++) {
        int end = (int)((t->is_chain ? chain[i] : graph[i]) * line);
        t->width[i] = end - current + 2;
        current = end;
        total += t->width[i];
    }
    int excess = total - (line - t->columns - 1);
    for (int i = 0; i < t->columns; i++) {
        int taken = round_half_even(excess, t->columns - i);
        t->width[i] -= taken;
        excess -= taken;
    }
}

static size_t count_letters(const char *s, size_t bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) count += ((unsigned char)s[i] & 0xc0) != 0x80;
    return count;
}

static void put_repeated(text *t, const char *s, int count)
{
    for (int i = 0; i < count; i++) text_put(t, s, strlen(s));
}

/* One line of a cell: the words that fit; a word that is too long is cut. Returns what is left. */
static const char *put_line(table *t, const char *s, int column)
{
    size_t room = (size_t)t->width[column] - 2, bytes = 0, next = 0;
    while (s[next]) {
        size_t end = next + strcspn(s + next, " ");
        if (next > 0 && count_letters(s, end) > room) break;
        bytes = end;
        next = end + strspn(s + end, " ");
        if (count_letters(s, next) > room) break;
    }
    bool cut = count_letters(s, bytes) > room;
    size_t shown = bytes;
    while (cut && count_letters(s, shown) > room - 1) shown--;
    int pad = (int)(room - (cut ? room : count_letters(s, bytes)));
    bool right = column == 2;
    text_put(&t->out, " ", 1);
    if (right) put_repeated(&t->out, " ", pad);
    text_put(&t->out, s, shown);
    if (cut) text_add(&t->out, "…");
    if (!right) put_repeated(&t->out, " ", pad);
    text_put(&t->out, " ", 1);
    return s + next;
}

static void put_row(table *t, cells row, const char *bar)
{
    bool more = true;
    while (more) {
        more = false;
        for (int i = 0; i < t->columns; i++) {
            text_put(&t->out, bar, strlen(bar));
            row.text[i] = put_line(t, row.text[i], i);
            more = more || *row.text[i];
        }
        text_add(&t->out, "%s\n", bar);
    }
}

static void put_rule(table *t, const char *left, const char *line, const char *middle, const char *right)
{
    for (int i = 0; i < t->columns; i++) {
        text_add(&t->out, "%s", i == 0 ? left : middle);
        put_repeated(&t->out, line, t->width[i]);
    }
    text_add(&t->out, "%s\n", right);
}

static void put_layers(table *t)
{
    fe *f = t->fe;
    const fe_model *m = t->model;
    bool sequential = strcmp(m->class_name, "Sequential") == 0;
    bool first = true;
    for (size_t i = 0; i < m->layer_count; i++) {
        const fe_layer *layer = m->layer[i];
        if (sequential && i == 0 && fe_layer_input(layer)) continue;
        if (!first) put_rule(t, "├", "─", "┼", "┤");
        first = false;
        counts c = count_one(f, layer);
        cells row = {{arena_printf(f->arena, "%s (%s)", layer->name, layer->class->name),
                      show_shapes(f, layer), show_count(f, c.trainable + c.other),
                      t->is_chain ? "" : show_sources(f, m, layer)}};
        put_row(t, row, "│");
    }
}

static void put_totals(table *t)
{
    fe *f = t->fe;
    counts c = {0};
    bool *seen = arena_array(f->arena, bool, f->module->variable_count + 1);
    for (size_t i = 0; i < t->model->layer_count; i++) count_layer(f, t->model->layer[i], seen, &c);
    text_add(&t->out, " Total params: %s (%s)\n", show_count(f, c.trainable + c.other),
             show_bytes(f, c.trainable_bytes + c.other_bytes));
    text_add(&t->out, " Trainable params: %s (%s)\n", show_count(f, c.trainable),
             show_bytes(f, c.trainable_bytes));
    text_add(&t->out, " Non-trainable params: %s (%s)\n", show_count(f, c.other),
             show_bytes(f, c.other_bytes));
}

const char *fe_summary(fe *f, const fe_model *m)
{
    table t = {.fe = f, .model = m, .is_chain = is_chain(f, m)};
    cells header = {{"Layer (type)", "Output Shape", "Param #", "Connected to"}};
    set_widths(&t);
    text_add(&t.out, "Model: \"%s\"\n", m->name);
    put_rule(&t, "┏", "━", "┳", "┓");
    put_row(&t, header, "┃");
    put_rule(&t, "┡", "━", "╇", "┩");
    put_layers(&t);
    put_rule(&t, "└", "─", "┴", "┘");
    put_totals(&t);
    const char *summary = arena_strdup(f->arena, text_get(&t.out));
    text_done(&t.out);
    return summary;
}

/* ---- Graphviz
 * ----------------------------------------------------------------------------------------------------------
 */

static void put_edges(const fe_model *m, const fe_value *v, const fe_layer *to, text *t)
{
    for (int i = 0; i < v->count; i++) put_edges(m, &v->item[i], to, t);
    if (v->kind != FE_NODE) return;
    text_add(t, "  ");
    text_add_quoted(t, m->call[v->node].layer->name);
    text_add(t, " -> ");
    text_add_quoted(t, to->name);
    text_add(t, ";\n");
}

const char *fe_dot(fe *f, const fe_model *m)
{
    text t = {0};
    text_add(&t, "digraph ");
    text_add_quoted(&t, m->name);
    text_add(&t, " {\n  node [shape=box, fontname=\"Helvetica\"];\n");
    for (size_t i = 0; i < m->layer_count; i++) {
        const fe_layer *layer = m->layer[i];
        text_add(&t, "  ");
        text_add_quoted(&t, layer->name);
        text_add(&t, " [label=");
        text_add_quoted(&t, arena_printf(f->arena, "%s (%s)\n%s", layer->name, layer->class->name,
                                         show_shapes(f, layer)));
        text_add(&t, "];\n");
    }
    for (size_t i = 0; i < m->call_count; i++) {
        put_edges(m, &m->call[i].args.arg, m->call[i].layer, &t);
        put_edges(m, &m->call[i].args.kwarg, m->call[i].layer, &t);
    }
    text_add(&t, "}\n");
    const char *dot = arena_strdup(f->arena, text_get(&t));
    text_done(&t);
    return dot;
}
