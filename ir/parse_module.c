/* parse_module.c: reading modules: the statements outside of graphs. */
#include "base/map.h"
#include "ir/graph.h"
#include "ir/parse.h"

#include <string.h>

static bool parse_module_name(parser *p) { return parse_name(p, &p->module->name); }

static bool parse_origin(parser *p)
{
    const char *path = NULL, *layer = NULL,
               *number = arena_printf(p->arena, "%zu", p->module->origin_count);
    const lex_token *t = &p->lex.token;
    if (t->kind != LEX_at || strlen(number) != t->length ||
        memcmp(number, t->start, t->length) != 0) {
        return parse_error(p, "expected @%s: origins are numbered in order", number);
    }
    lex_next(&p->lex);
    if (!parse_string(p, &path) || !parse_string(p, &layer)) return false;
    ir_module_add_origin(p->module, path, layer);
    return true;
}

/* ---- variables ------------------------------------------------------------------------------ */

static bool parse_role(parser *p, ir_role *out_role)
{
    for (int i = ROLE_weight; i <= ROLE_gradient; i++) {
        if (!lex_is_word(&p->lex, ir_role_name((ir_role)i))) continue;
        lex_next(&p->lex);
        *out_role = (ir_role)i;
        return true;
    }
    return parse_error(p, "expected a role, as weight");
}

static bool parse_initial_data(parser *p, ir_variable *v)
{
    const lexer here = p->lex;
    const void *bytes = NULL;
    size_t size = 0;
    if (!parse_data(p, v->type.dtype, &bytes, &size)) return false;
    if (size != (uint64_t)ir_type_elements_at(&v->type, 1) * ir_dtype_size(v->type.dtype)) {
        return parse_error_at(p, &here, "the data is not of the variable's size");
    }
    v->data = bytes;
    return true;
}

static bool parse_trainable(parser *p, ir_variable *v)
{
    int64_t flag = 0;
    if (!parse_int_within(p, 0, 1, &flag)) return false;
    v->trainable = flag;
    return true;
}

static bool parse_variable_field(parser *p, ir_variable *v)
{
    const lexer here = p->lex;
    const char *key = NULL;
    if (!parse_name(p, &key) || !parse_mark(p, '=')) return false;
    if (strcmp(key, "role") == 0) return parse_role(p, &v->role);
    if (strcmp(key, "trainable") == 0) return parse_trainable(p, v);
    if (strcmp(key, "path") == 0) return parse_string(p, &v->path);
    if (strcmp(key, "h5") == 0) return parse_string(p, &v->h5);
    if (strcmp(key, "h5_copy") == 0) return parse_string(p, &v->h5_copy);
    if (strcmp(key, "initializer") == 0) return parse_record(p, &v->initializer);
    if (strcmp(key, "constraint") == 0) return parse_record(p, &v->constraint);
    if (strcmp(key, "lora") == 0) return parse_record(p, &v->lora);
    if (strcmp(key, "data") == 0) return parse_initial_data(p, v);
    return parse_error_at(p, &here, "a variable has no field \"%s\"", key);
}

static bool is_fixed(const ir_type *t)
{
    for (int i = 0; i < t->rank; i++) {
        if (t->dim[i].batch) return false;
    }
    return t->rank >= 0;
}

static bool parse_variable_line(parser *p)
{
    const lexer here = p->lex;
    ir_variable v = {0};
    if (p->lex.token.kind != LEX_at) return parse_error(p, "expected a variable, as @kernel");
    v.name = lex_copy(p->arena, &p->lex.token);
    lex_next(&p->lex);
    if (!ir_is_identifier(v.name)) return parse_error_at(p, &here, "@%s is no name", v.name);
    if (map_has(p->module->variable_names, v.name))
        return parse_error_at(p, &here, "two variables @%s", v.name);
    if (!parse_mark(p, ':') || !parse_type(p, &v.type)) return false;
    if (!is_fixed(&v.type))
        return parse_error_at(p, &here, "a variable cannot have the batch size in its shape");
    if (parse_accept(p, '{')) {
        for (bool first = true; !parse_accept(p, '}'); first = false) {
            if (!first && !parse_mark(p, ',')) return false;
            if (!parse_variable_field(p, &v)) return false;
        }
    }
    ir_module_add_variable(p->module, v);
    return true;
}

/* ---- ports ---------------------------------------------------------------------------------- */

static bool parse_port_field(parser *p, ir_port *port)
{
    if (lex_is_word(&p->lex, "ignored")) {
        lex_next(&p->lex);
        port->has_ignored = true;
        return parse_mark(p, '=') && parse_int(p, &port->ignored);
    }
    const bool is_padded = lex_is_word(&p->lex, "padded");
    if (is_padded || lex_is_word(&p->lex, "indexed")) {
        int64_t flag = 0;
        lex_next(&p->lex);
        if (!parse_mark(p, '=') || !parse_int_within(p, 0, 1, &flag)) return false;
        *(is_padded ? &port->padded : &port->indexed) = flag;
        return true;
    }
    if (lex_is_word(&p->lex, "like")) {
        int64_t like;
        lex_next(&p->lex);
        if (!parse_mark(p, '=') || !parse_int_within(p, 1, IR_MAX_RAGGED, &like)) return false;
        port->like = (int)like;
        return true;
    }
    if (lex_is_word(&p->lex, "ragged")) {
        int64_t ragged, part;
        lex_next(&p->lex);
        if (!parse_mark(p, '=') || !parse_int_within(p, 1, IR_MAX_RAGGED, &ragged) ||
            !parse_int_within(p, 0, RAGGED_unpack_back, &part))
            return false;
        port->ragged = (int)ragged;
        port->part = (ir_ragged_part)part;
        return true;
    }
    return parse_word(p, "classes") && parse_mark(p, '=') &&
           parse_int_within(p, 1, INT64_MAX, &port->classes);
}

static bool parse_port(parser *p)
{
    static const char *const kinds[] = {"x", "y", "sample_weight", "made"};
    ir_port port = {0};
    size_t kind = 0;
    while (kind < countof(kinds) && !lex_is_word(&p->lex, kinds[kind])) kind++;
    if (kind == countof(kinds)) return parse_error(p, "expected x, y or sample_weight");
    lex_next(&p->lex);
    port.kind = (ir_port_kind)kind;
    const lexer here = p->lex;
    if (!parse_name(p, &port.name) || !parse_mark(p, ':') || !parse_type(p, &port.type))
        return false;
    if (port.type.rank < 0) return parse_error_at(p, &here, "a port cannot be a tuple");
    if (parse_accept(p, '{')) {
        for (bool first = true; !parse_accept(p, '}'); first = false) {
            if (!first && !parse_mark(p, ',')) return false;
            if (!parse_port_field(p, &port)) return false;
        }
    }
    ir_module_add_port(p->module, port);
    return true;
}

/* ---- the rest ------------------------------------------------------------------------------- */

static bool parse_optimizer(parser *p) { return parse_record(p, &p->module->optimizer); }

static bool parse_constants(parser *p)
{
    return parse_hex(p, &p->module->constants, &p->module->constants_size);
}

/* One diagnostic per problem of a graph that parsed. */
static bool check_graph(parser *p, const lexer *where, const ir_graph *g)
{
    text problems = {0};
    bool ok = ir_graph_check(g, &problems);
    for (char *line = problems.data; line && *line;) {
        size_t length = strcspn(line, "\n");
        parse_error_at(p, where, "%.*s", (int)base_min((int64_t)length, 400), line);
        line += length + (line[length] == '\n');
    }
    text_done(&problems);
    return ok;
}

static bool parse_graph_line(parser *p)
{
    const lexer here = p->lex;
    const char *name = NULL;
    if (!parse_name(p, &name)) return false;
    if (ir_module_find_graph(p->module, name))
        return parse_error_at(p, &here, "two graphs %s", name);
    ir_graph *g = ir_module_add_graph(p->module, name);
    return parse_graph(p, g) && check_graph(p, &here, g);
}

typedef struct statement {
    const char *word;
    bool (*parse)(parser *p);
} statement;

static const statement statements[] = {
    {"module", parse_module_name},     {"origin", parse_origin},
    {"variable", parse_variable_line}, {"port", parse_port},
    {"optimizer", parse_optimizer},    {"constants", parse_constants},
    {"graph", parse_graph_line},
};

static bool parse_statement(parser *p)
{
    for (size_t i = 0; i < countof(statements); i++) {
        if (!lex_is_word(&p->lex, statements[i].word)) continue;
        lex_next(&p->lex);
        return statements[i].parse(p);
    }
    return parse_error(p, "expected module, origin, variable, port, optimizer, constants or graph");
}

ir_module *ir_module_parse(arena *a, const char *source, size_t length, diag *d)
{
    parser p = {.arena = a, .diag = d, .module = ir_module_new(a, "module")};
    lex_begin(&p.lex, source, length);
    while (p.lex.token.kind != LEX_end) {
        if (!parse_statement(&p)) return NULL;
    }
    return p.module;
}
