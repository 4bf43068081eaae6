/* library.c: see library.h. */
#include "library.h"
#include "link.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>

static bool ends_in(const char *s, const char *end)
{
    size_t a = strlen(s), b = strlen(end);
    return a >= b && strcmp(s + a - b, end) == 0;
}

static char *make_identifier(arena *a, const char *word)
{
    char *name = arena_printf(a, "%s%s", *word >= '0' && *word <= '9' ? "_" : "", word);
    for (char *c = name; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!plain) *c = '_';
    }
    return name;
}

static const char *make_upper(arena *a, const char *word)
{
    char *name = make_identifier(a, word);
    for (char *c = name; *c; c++) *c = (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c);
    return name;
}

library library_name(arena *a, const char *output, bool shared)
{
    const char *slash = strrchr(output, '/'), *base = slash ? slash + 1 : output;
    const char *folder = arena_strndup(a, output, (size_t)(base - output));
    const bool so = ends_in(base, ".so"), named = so || ends_in(base, ".a");
    const char *stem = named ? arena_strndup(a, base, strlen(base) - (so ? 3 : 2)) : base;
    if (strncmp(stem, "lib", 3) == 0 && stem[3]) stem += 3;
    library l = {.name = make_identifier(a, stem), .shared = shared || so};
    l.symbol = arena_printf(a, "%s_program", l.name);
    l.file = named ? output : arena_printf(a, "%slib%s.%s", folder, stem, l.shared ? "so" : "a");
    l.header = arena_printf(a, "%s%s.h", folder, stem);
    return l;
}

/* ---- the header ------------------------------------------------------------------------------------------
 */

/* Text of the model inside a comment. */
static void add_safe(text *t, const char *word)
{
    for (const char *c = word; *c; c++) {
        bool plain = *c >= ' ' && *c < 127 && !(c[0] == '*' && c[1] == '/');
        text_put(t, plain ? c : "?", 1);
    }
}

/* float32 [rows][28][28][1] */
static void add_shape(text *t, const ir_type *type)
{
    text_add(t, "%s ", ir_dtype_keras_name(type->dtype));
    for (int i = 0; i < type->rank; i++) {
        if (!type->dim[i].batch)
            text_add(t, "[%lld]", (long long)type->dim[i].count);
        else if (type->dim[i].batch >= UNIT_values)
            text_add(t, "[values]");
        else if (type->dim[i].count == 1)
            text_add(t, "[rows]");
        else
            text_add(t, "[%lld rows]", (long long)type->dim[i].count);
    }
    if (type->rank == 0) text_add(t, "(one number)");
}

static void add_line(text *t, size_t index, const char *name, const ir_type *type, const char *note)
{
    text_add(t, " *   %zu  ", index);
    add_safe(t, name);
    text_add(t, ": ");
    add_shape(t, type);
    text_add(t, "%s\n", note);
}

/* Arrays that callers give: of a ragged input its values, and where its rows end. */
static bool is_given(const ir_port *p, ir_port_kind kind)
{
    return p->kind == kind || (kind == PORT_x && p->kind == PORT_made && p->part == RAGGED_ends);
}

static void add_ports(text *t, const ir_module *m, ir_port_kind kind, const char *title)
{
    size_t count = 0;
    for (size_t i = 0; i < m->port_count; i++) {
        const ir_port *p = &m->port[i];
        if (!is_given(p, kind)) continue;
        if (count == 0) text_add(t, " * %s\n", title);
        const char *note = p->kind == PORT_made ? ", row splits without the first 0" : p->classes > 0 ? ", class indices" : "";
        add_line(t, count++, p->name, &p->type, note);
    }
}

static void add_outputs(text *t, const ir_module *m, const char *graph, const char *title)
{
    const ir_graph *g = ir_module_find_graph(m, graph);
    for (size_t i = 0; g && i < g->output_count; i++) {
        if (i == 0) text_add(t, " * %s\n", title);
        add_line(t, i, g->output[i].name, ir_type_of(g, g->output[i].value), "");
    }
}

static void add_variables(text *t, const ir_module *m)
{
    size_t count = 0;
    text_add(t, " * Weights (TFCC_VARIABLES), after which come states of generators and of the optimizer\n");
    for (size_t i = 0; i < m->variable_count; i++) {
        const ir_variable *v = &m->variable[i];
        if (v->role == ROLE_metric || v->role == ROLE_gradient) continue;
        if (v->role == ROLE_weight)
            add_line(t, count, v->path, &v->type, v->trainable ? "" : ", not trainable");
        count++;
    }
}

static bool is_taken(const ir_module *m, const ir_port *p, const char *upper, arena *a)
{
    for (const ir_port *q = m->port; q < p; q++) {
        if (q->kind == p->kind && strcmp(make_upper(a, q->name), upper) == 0) return true;
    }
    return false;
}

/* enum constants for the indices of ports */
static void add_numbers(arena *a, text *t, const library *l, const ir_module *m)
{
    static const char *const kinds[] = {
        [PORT_x] = "INPUT", [PORT_y] = "TARGET", [PORT_sample_weight] = "SAMPLE_WEIGHT"};
    size_t count[3] = {0};
    text_add(t, "enum {\n");
    for (size_t i = 0; i < m->port_count; i++) {
        const ir_port *p = &m->port[i];
        const char *upper = make_upper(a, p->name);
        const ir_port_kind kind = p->kind == PORT_made ? PORT_x : p->kind;
        if (!is_given(p, kind)) continue;
        const size_t index = count[kind]++;
        if (!is_taken(m, p, upper, a))
            text_add(t, "    %s_%s_%s = %zu,\n", make_upper(a, l->name), kinds[kind], upper, index);
    }
    text_add(t, "    %s_API = 1 /* TFCC_API_VERSION it was made for */\n};\n\n", make_upper(a, l->name));
}

bool library_write_header(arena *a, const library *l, const ir_module *m, bool predict_only, diag *d)
{
    text t = {0}, api = {0};
    const char *upper = make_upper(a, l->name);
    const char *path = link_runtime_file(a, "tfcc.h", d);
    if (!path) return false;
    if (!text_read_file(&api, path, 1 << 20)) return diag_failed(d, path, "cannot read: %s", strerror(errno));
    text_add(&t, "/* Model \"");
    add_safe(&t, m->name);
    text_add(&t, "\", compiled by tfcc " TFCC_VERSION "%s. %s_program() below goes to tfcc_create.\n",
             predict_only ? " for prediction only" : "", l->name);
    add_ports(&t, m, PORT_x, "Inputs (TFCC_INPUTS)");
    add_outputs(&t, m, "predict", "Outputs (TFCC_OUTPUTS)");
    add_ports(&t, m, PORT_y, "Targets (TFCC_TARGETS)");
    add_ports(&t, m, PORT_sample_weight, "Sample weights (TFCC_SAMPLE_WEIGHTS), optional");
    add_outputs(&t, m, "metrics", "Metrics (TFCC_METRICS)");
    add_variables(&t, m);
    text_add(&t, " */\n#ifndef %s_MODEL_H\n#define %s_MODEL_H\n\n", upper, upper);
    text_put(&t, text_get(&api), api.length);
    text_add(&t,
             "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n/* The compiled model. */\nconst tfcc_program "
             "*%s(void);\n\n",
             l->symbol);
    add_numbers(a, &t, l, m);
    text_add(&t, "#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
    bool ok = text_write_file(&t, l->header);
    if (!ok) diag_failed(d, l->header, "cannot write: %s", strerror(errno));
    text_done(&t);
    text_done(&api);
    return ok;
}
