/* program.c: the constant tfcc_program and its tables, laid out as runtime/include/tfcc_rt.h declares them.
 */
#include "codegen/plan.h"
#include "tfcc_rt.h"

#include <stdio.h>
#include <string.h>

typedef struct row {
    cg *c;
    cg_value field[28];
    unsigned count;
} row;

static void put(row *r, cg_value v)
{
    bug_if(r->count == countof(r->field), "a table row of more than %u fields", r->count);
    r->field[r->count++] = v;
}
static void put_i32(row *r, int64_t x) { put(r, cg_i32(r->c, x)); }
static void put_i64(row *r, int64_t x) { put(r, cg_i64(r->c, x)); }
static cg_value finish(row *r) { return LLVMConstStructInContext(r->c->context, r->field, r->count, 0); }

/* A private constant; its address. */
static cg_value add_constant(cg *c, cg_value v, unsigned align)
{
    cg_value g = LLVMAddGlobal(c->module, LLVMTypeOf(v), "");
    LLVMSetInitializer(g, v);
    LLVMSetGlobalConstant(g, 1);
    LLVMSetLinkage(g, LLVMPrivateLinkage);
    LLVMSetUnnamedAddress(g, LLVMGlobalUnnamedAddr);
    if (align) LLVMSetAlignment(g, align);
    return g;
}

static cg_value null_pointer(const cg *c) { return LLVMConstNull(c->ptr); }

static cg_value add_bytes(cg *c, const void *bytes, size_t size, unsigned align)
{
    if (!bytes) return null_pointer(c);
    return add_constant(c, LLVMConstStringInContext2(c->context, bytes, size, 1), align);
}

static void put_text(row *r, const char *word)
{
    put(r, add_bytes(r->c, word, word ? strlen(word) + 1 : 0, 1));
}

/* A table of rows of one type; NULL when empty. */
static cg_value add_table(cg *c, size_t count, cg_value *item)
{
    if (!count) return null_pointer(c);
    return add_constant(c, LLVMConstArray2(LLVMTypeOf(item[0]), item, count), 16);
}

/* 1 + the ragged input whose values the unit counts, 0: none. */
static int ragged_of(int unit) { return unit >= UNIT_values ? 1 + unit - UNIT_values : 0; }

static cg_value make_shape(cg *c, const ir_type *t)
{
    row r = {.c = c};
    cg_value dim[8];
    uint32_t batch = 0;
    int ragged = 0;
    for (int i = 0; i < 8; i++) {
        dim[i] = cg_i64(c, i < t->rank ? t->dim[i].count : 0);
        if (i >= t->rank || !t->dim[i].batch) continue;
        batch |= 1u << i;
        ragged = ragged_of(t->dim[i].batch);
    }
    put_i32(&r, t->dtype);
    put_i32(&r, t->rank);
    put_i32(&r, batch);
    put_i32(&r, ragged);
    put(&r, LLVMConstArray2(c->i64, dim, 8));
    return finish(&r);
}

/* A scan and the graph it stands in, while the places of its body are written. */
typedef struct scan_place {
    const ir_graph *around;
    const ir_node *node;
} scan_place;

/* Bytes from one turn's slice of v to the next one's, per row if it has rows; 0: all turns find it at one
 * place. */
static int64_t step_of(const scan_place *scan, const ir_graph *body, ir_value v)
{
    const ir_type *t = &body->node[v].type;
    ir_dim elements = ir_fixed(0);
    if (!scan || !ir_scan_slices(scan->around, scan->node, v)) return 0;
    if (!ir_scan_unit(scan->node) && ir_attr_int(scan->node, ATTR_length, 0) < 2) return 0;
    ir_type_elements(t, &elements);
    return elements.count * (int64_t)ir_dtype_size(t->dtype);
}

/* Bytes from one row's part of v to the next one's, where rows go through a loop apart; 0: they have none. */
static int64_t row_of(const scan_place *scan, const ir_graph *body, ir_value v)
{
    const ir_type *t = &body->node[v].type;
    ir_dim elements;
    if (!scan || !ir_attr_find(scan->node, ATTR_apart) || t->rank < 1 || !t->dim[0].batch || !ir_type_elements(t, &elements)) return 0;
    return elements.count * (int64_t)ir_dtype_size(t->dtype);
}

static cg_value make_place(cg *c, const ir_graph *g, ir_value v, const scan_place *scan)
{
    const int64_t step = step_of(scan, g, v);
    bool step_batch = false;
    for (int i = 0; i < g->node[v].type.rank; i++) step_batch |= g->node[v].type.dim[i].batch != 0;
    static const uint32_t spaces[] = {
        [SPACE_fixed] = TFCC_FIXED, [SPACE_batch] = TFCC_BATCH,   [SPACE_variable] = TFCC_VARIABLE,
        [SPACE_input] = TFCC_INPUT, [SPACE_output] = TFCC_OUTPUT, [SPACE_constant] = TFCC_CONSTANT};
    while (g->place[v].space == SPACE_none && g->node[v].op == OP_reshape) v = g->node[v].in[0];
    ir_place at = g->place[v];
    const ir_node *n = &g->node[v];
    if (at.space == SPACE_none && n->op == OP_variable)
        at = (ir_place){SPACE_variable, ir_attr_int(n, ATTR_index, 0), 0};
    if (at.space == SPACE_none && n->op == OP_parameter)
        at = (ir_place){SPACE_input, ir_attr_int(n, ATTR_index, 0), 0};
    bug_if(at.space == SPACE_none, "value %%%d (%s) of graph %s has no place in memory", (int)v,
           ir_op_name(n->op), g->name);
    row r = {.c = c};
    bug_if(step && at.space == SPACE_input, "a loop goes through input %lld by steps", (long long)at.offset);
    put_i32(&r, at.space == SPACE_batch && at.ragged > 0 ? TFCC_RAGGED + (uint32_t)at.ragged - 1 : spaces[at.space]);
    put_i32(&r, scan && ir_scan_unit(scan->node) ? TFCC_STEP_VALUES : step_batch);
    put_i64(&r, at.offset);
    put_i64(&r, step);
    put_i64(&r, row_of(scan, g, v));
    return finish(&r);
}

static void put_loop(row *r, size_t launches, const ir_node *scan, int ragged)
{
    put_i32(r, (int64_t)launches);
    put_i32(r, scan ? ir_attr_int(scan, ATTR_reverse, 0) : 0);
    put_i64(r, scan ? ir_attr_int(scan, ATTR_length, 0) : 0);
    put_i32(r, ragged);
    put_i32(r, scan ? ragged_of(ir_scan_unit(scan)) : 0);
}

/* What a kernel has written when its last launch is done. */
static cg_value add_watch(cg *c, const ir_graph *g, const cg_run *run, int64_t *out_count)
{
    cg_value *item = arena_array(c->arena, cg_value, (size_t)run->arg_count + 1);
    size_t count = 0;
    for (int i = 0; run->watch && i < run->arg_count; i++) {
        row r = {.c = c};
        if (!run->watch[i]) continue;
        put_text(&r, run->watch[i]);
        put(&r, make_shape(c, &g->node[run->arg[i]].type));
        put_i64(&r, i);
        item[count++] = finish(&r);
    }
    *out_count = (int64_t)count;
    return add_table(c, count, item);
}

static cg_value make_launch(cg *c, const ir_graph *g, const cg_run *run, int which, cg_value places)
{
    const cg_launch *l = &run->kernel->launch[which];
    const int64_t all = run->kernel->launch_count;
    row r = {.c = c};
    put(&r, cg_function_import(c, l->fn));
    put(&r, places);
    put_i32(&r, run->arg_count);
    put_i32(&r, l->rows.batch != 0);
    put_i64(&r, l->rows.count);
    put_i64(&r, l->grain);
    put_i64(&r, l->times);
    put_i64(&r, run->flops / all);
    put_i64(&r, run->bytes / all);
    put_i64(&r, run->batch_flops / all);
    put_i64(&r, run->batch_bytes / all);
    put_text(&r, run->name);
    put_loop(&r, 0, NULL, ragged_of(run->unit));
    int64_t watched = 0;
    put(&r, which + 1 < all ? null_pointer(c) : add_watch(c, g, run, &watched));
    put_i64(&r, watched);
    put_i32(&r, 0);
    put_i32(&r, 0);
    return finish(&r);
}

/* Whether the rows of the tasks of each kernel are the batch's. */
static bool has_batch_tasks(const ir_graph *body, const cg_run *run)
{
    for (size_t i = 0; i < body->kernel_count; i++)
        for (int k = 0; k < run[i].kernel->launch_count; k++)
            if (!run[i].kernel->launch[k].rows.batch) return false;
    return true;
}

/* Rows of a tile of its products, where some rows may go through the loop before others; else 0. */
static int64_t loop_rows(const cg *c, const cg_run *run)
{
    const ir_graph *body = ir_attr_find(run->scan, ATTR_body)->graph;
    return ir_attr_find(run->scan, ATTR_apart) && has_batch_tasks(body, run->inner) ? c->target->mr : 0;
}

static cg_value make_loop(cg *c, const cg_run *run, size_t launches)
{
    row r = {.c = c};
    put(&r, null_pointer(c));
    put(&r, null_pointer(c));
    put_i32(&r, 0);
    put_i32(&r, 0);
    put_i64(&r, 0);
    put_i64(&r, 1);
    for (int i = 0; i < 5; i++) put_i64(&r, 0);
    put_text(&r, run->name);
    put_loop(&r, launches, run->scan, 0);
    put(&r, null_pointer(c));
    put_i64(&r, 0);
    put_i32(&r, ir_attr_int(run->scan, ATTR_by_rows, 0));
    put_i32(&r, loop_rows(c, run));
    return finish(&r);
}

typedef struct launch_list {
    cg_value *item;
    size_t count, capacity;
} launch_list;

static void add_launch(cg *c, launch_list *to, cg_value launch)
{
    arena_push(c->arena, to->item, to->count, to->capacity, launch);
}

/* The launches of a graph; scan: whose body it is, or NULL. */
static void add_launches(cg *c, const ir_graph *g, const cg_run *run, const scan_place *scan, launch_list *to)
{
    for (size_t i = 0; i < g->kernel_count; i++) {
        if (run[i].scan) {
            const scan_place inner = {g, run[i].scan};
            launch_list body = {0};
            add_launches(c, ir_attr_find(run[i].scan, ATTR_body)->graph, run[i].inner, &inner, &body);
            add_launch(c, to, make_loop(c, &run[i], body.count));
            for (size_t k = 0; k < body.count; k++) add_launch(c, to, body.item[k]);
            continue;
        }
        cg_value *place = arena_array(c->arena, cg_value, (size_t)run[i].arg_count);
        for (int k = 0; k < run[i].arg_count; k++) place[k] = make_place(c, g, run[i].arg[k], scan);
        cg_value places = add_table(c, (size_t)run[i].arg_count, place);
        for (int k = 0; k < run[i].kernel->launch_count; k++)
            add_launch(c, to, make_launch(c, g, &run[i], k, places));
    }
}

static cg_value make_graph(cg *c, const ir_graph *g, const cg_run *run)
{
    row r = {.c = c};
    launch_list launch = {0};
    cg_value *output = arena_array(c->arena, cg_value, g->output_count), ragged[IR_MAX_RAGGED];
    const int count = g->module ? g->module->ragged_count : 0;
    for (int i = 0; i < count; i++) ragged[i] = cg_i64(c, g->ragged_bytes[i]);
    for (size_t i = 0; i < g->output_count; i++) {
        row o = {.c = c};
        put_text(&o, g->output[i].name);
        put(&o, make_shape(c, ir_type_of(g, g->output[i].value)));
        put(&o, make_place(c, g, g->output[i].value, NULL));
        output[i] = finish(&o);
    }
    put_text(&r, g->name);
    add_launches(c, g, run, NULL, &launch);
    put(&r, add_table(c, launch.count, launch.item));
    put_i64(&r, (int64_t)launch.count);
    put(&r, add_table(c, g->output_count, output));
    put_i64(&r, (int64_t)g->output_count);
    put_i64(&r, g->fixed_bytes);
    put_i64(&r, g->batch_bytes);
    put(&r, add_table(c, (size_t)count, ragged));
    return finish(&r);
}

/* ---- variables ------------------------------------------------------------------------------ */

typedef struct settings {
    cg *c;
    cg_value *item;
    size_t count, capacity;
} settings;

static void add_setting(settings *s, const char *key, double number, const char *word)
{
    row r = {.c = s->c};
    put_text(&r, key);
    put(&r, LLVMConstReal(s->c->f64, number));
    put_text(&r, word);
    arena_push(s->c->arena, s->item, s->count, s->capacity, finish(&r));
}

/* Lists become key.0, key.1 ...; records key = its name, and key.field. */
static void add_record(settings *s, const ir_record *record, const char *prefix)
{
    for (size_t i = 0; i < record->count; i++) {
        const ir_field *f = &record->field[i];
        const char *key = arena_printf(s->c->arena, "%s%s", prefix, f->key);
        switch (f->kind) {
        case FIELD_NUMBER:
            add_setting(s, key, f->number, NULL);
            break;
        case FIELD_TEXT:
            add_setting(s, key, 0, f->text);
            break;
        case FIELD_NUMBERS:
            for (int k = 0; k < f->count; k++) {
                add_setting(s, arena_printf(s->c->arena, "%s.%d", key, k), f->numbers[k], NULL);
            }
            break;
        case FIELD_RECORD:
            add_setting(s, key, 0, f->record->name);
            add_record(s, f->record, arena_printf(s->c->arena, "%s.", key));
            break;
        }
    }
}

/* The number of the variable that is B of v's low-rank term, which follows A; 0: v has none. */
static int64_t find_factor(const ir_module *m, const ir_variable *v)
{
    const char *path = v->lora ? ir_record_text(v->lora, "factor", NULL) : NULL;
    for (size_t i = 0; path && i + 1 < m->variable_count; i++) {
        if (strcmp(m->variable[i].path, path) == 0) return (int64_t)i + 1;
    }
    return 0;
}

static cg_value make_variable(cg *c, const ir_module *m, const ir_variable *v)
{
    static const uint32_t roles[] = {[ROLE_weight] = TFCC_WEIGHT,
                                     [ROLE_seed] = TFCC_SEED,
                                     [ROLE_optimizer] = TFCC_OPTIMIZER,
                                     [ROLE_metric] = TFCC_METRIC,
                                     [ROLE_gradient] = TFCC_GRADIENT};
    row r = {.c = c};
    settings s = {.c = c};
    size_t bytes = (size_t)ir_type_elements_at(&v->type, 1) * ir_dtype_size(v->type.dtype);
    if (v->initializer) add_record(&s, v->initializer, "");
    put_text(&r, v->path);
    put_text(&r, v->h5);
    put_text(&r, v->h5_copy);
    put(&r, make_shape(c, &v->type));
    put_i32(&r, roles[v->role]);
    put_i32(&r, v->trainable);
    put_text(&r, v->initializer ? v->initializer->name : NULL);
    put(&r, add_table(c, s.count, s.item));
    put_i64(&r, (int64_t)s.count);
    put(&r, add_bytes(c, v->data, bytes, 16));
    put_i64(&r, find_factor(m, v));
    put(&r, LLVMConstReal(c->f64, v->lora ? ir_record_number(v->lora, "scale", 1) : 0));
    return finish(&r);
}

static cg_value make_port(cg *c, const ir_port *p)
{
    static const uint32_t kinds[] = {
        [PORT_x] = TFCC_PORT_X, [PORT_y] = TFCC_PORT_Y, [PORT_sample_weight] = TFCC_PORT_SAMPLE_WEIGHT,
        [PORT_made] = TFCC_PORT_MADE};
    row r = {.c = c};
    put_text(&r, p->name);
    put_i32(&r, kinds[p->kind]);
    put_i32(&r, p->has_ignored);
    put(&r, make_shape(c, &p->type));
    put_i64(&r, p->classes);
    put_i64(&r, p->ignored);
    put_i32(&r, p->padded);
    put_i32(&r, p->indexed);
    put_i32(&r, p->ragged);
    put_i32(&r, p->part);
    put_i32(&r, p->like);
    put_i32(&r, 0);
    return finish(&r);
}

/* ---- the program ---------------------------------------------------------------------------- */

static void put_tables(row *r, const cg_plan *p)
{
    cg *c = r->c;
    const ir_module *m = p->module;
    cg_value *variable = arena_array(c->arena, cg_value, m->variable_count);
    cg_value *port = arena_array(c->arena, cg_value, m->port_count);
    cg_value *graph = arena_array(c->arena, cg_value, m->graph_count);
    for (size_t i = 0; i < m->variable_count; i++) variable[i] = make_variable(c, m, &m->variable[i]);
    for (size_t i = 0; i < m->port_count; i++) port[i] = make_port(c, &m->port[i]);
    for (size_t i = 0; i < m->graph_count; i++) graph[i] = make_graph(c, m->graph[i], p->run[i]);
    put(r, add_table(c, m->variable_count, variable));
    put_i64(r, (int64_t)m->variable_count);
    put(r, add_table(c, m->port_count, port));
    put_i64(r, (int64_t)m->port_count);
    put(r, add_table(c, m->graph_count, graph));
    put_i64(r, (int64_t)m->graph_count);
}

void cg_program_emit(cg *c, const cg_plan *p)
{
    const ir_module *m = p->module;
    const codegen_options *o = p->options;
    row r = {.c = c};
    put_i32(&r, TFCC_ABI);
    put_i32(&r, o->single_input);
    put_i32(&r, o->single_output);
    put_i32(&r, m->rows);
    put_text(&r, m->name);
    put_text(&r, "tfcc " TFCC_VERSION);
    put_tables(&r, p);
    put(&r, add_bytes(c, m->constants_size ? m->constants : NULL, m->constants_size, 64));
    put_i64(&r, p->scratch);
    put(&r, add_bytes(c, o->weights_size ? o->weights : NULL, o->weights_size, 16));
    put_i64(&r, (int64_t)o->weights_size);
    put_text(&r, o->summary ? o->summary : "");
    put_i64(&r, m->optimizer && ir_record_number(m->optimizer, "use_ema", 0) != 0);
    put_text(&r, o->config);
    put_text(&r, o->metadata);
    put_i64(&r, m->ragged_count);
    cg_value value = finish(&r);
    cg_value program = LLVMAddGlobal(c->module, LLVMTypeOf(value), "tfcc_program_data");
    LLVMSetInitializer(program, value);
    LLVMSetGlobalConstant(program, 1);
    LLVMSetLinkage(program, LLVMInternalLinkage);
    c->fn = LLVMAddFunction(c->module, o->prefix ? arena_printf(c->arena, "%s_program", o->prefix) : "tfcc_get_program", LLVMFunctionType(c->ptr, NULL, 0, 0));
    LLVMPositionBuilderAtEnd(c->b, cg_block(c, "entry"));
    LLVMBuildRet(c->b, program);
}
