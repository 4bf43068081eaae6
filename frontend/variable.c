/* variable.c: the module's variables as layers see them: weights and generator states, read and assigned
 * while a graph is made; and Keras's order of them. */
#include "frontend/model.h"

#include <string.h>

enum { MOST_ELEMENTS_LOG2 = 40 };

/* ---- reading and assigning
 * -------------------------------------------------------------------------------------- */

static void make_room(fe_lower *l)
{
    size_t count = l->fe->module->variable_count;
    if (count <= l->variable_count) return;
    size_t room = 2 * count;
    ir_value *grown = arena_array(l->fe->arena, ir_value, room);
    for (size_t i = 0; i < room; i++) grown[i] = i < l->variable_count ? l->variable[i] : IR_NONE;
    l->variable = grown;
    l->variable_count = room;
}

ir_value fe_variable_read(fe_lower *l, int variable)
{
    make_room(l);
    if (l->variable[variable] == IR_NONE) l->variable[variable] = ir_build_variable(l->g, variable);
    return l->variable[variable];
}

void fe_variable_assign(fe_lower *l, int variable, ir_value value)
{
    const ir_variable *v = &l->fe->module->variable[variable];
    const ir_attr set = {.name = ATTR_index, .i = variable};
    make_room(l);
    value = ir_build_convert(l->g, value, v->type.dtype);
    if (v->trainable) value = ir_build(l->g, OP_stop_gradient, 1, &value, 1, &set, NULL);
    l->variable[variable] = value;
    ir_graph_add_update(l->g, variable, l->variable[variable]);
}

/* ---- weights
 * ------------------------------------------------------------------------------------------------------ */

static const fe_weight *find_weight(const fe_layer *layer, const char *name)
{
    for (size_t i = 0; i < layer->weight_count; i++) {
        if (!layer->weight[i].shared && strcmp(layer->weight[i].name, name) == 0) return &layer->weight[i];
    }
    return NULL;
}

int fe_weight_variable(const fe_layer *layer, const char *name)
{
    const fe_weight *w = find_weight(layer, name);
    return w ? w->variable : -1;
}

static bool check_size(fe_lower *l, const fe_layer *layer, const fe_weight_spec *spec, ir_type *out)
{
    int64_t elements = 1;
    *out = ir_type_scalar(spec->integer ? DTYPE_i64 : layer->variable_dtype);
    if (spec->rank > IR_MAX_RANK)
        return fe_layer_error(l->fe, layer, "weight \"%s\" has too many dimensions", spec->name);
    out->rank = spec->rank;
    for (int i = 0; i < spec->rank; i++) {
        int64_t size = spec->shape[i];
        if (size < 1) return fe_layer_error(l->fe, layer, "weight \"%s\" would have no elements", spec->name);
        if (size > ((int64_t)1 << MOST_ELEMENTS_LOG2) / elements) {
            return fe_layer_error(l->fe, layer, "weight \"%s\" would have more than 2^%d elements",
                                  spec->name, MOST_ELEMENTS_LOG2);
        }
        elements *= size;
        out->dim[i] = ir_fixed(size);
    }
    return true;
}

static const char *make_identifier(fe *f, const char *path)
{
    char *name = arena_printf(f->arena, "%s%s", path[0] >= '0' && path[0] <= '9' ? "_" : "", path);
    for (char *c = name; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!plain) *c = '_';
    }
    return name;
}

static fe_weight *make_weight(fe_lower *l, fe_layer *layer, const fe_weight_spec *spec, ir_type type)
{
    fe *f = l->fe;
    ir_variable v = {.type = type, .role = ROLE_weight, .trainable = spec->trainable && layer->trainable};
    v.path = arena_printf(f->arena, "%s/%s", layer->path, spec->name);
    v.name = make_identifier(f, v.path);
    v.initializer = spec->initializer ? spec->initializer : ir_record_new(f->arena, "zeros");
    v.constraint = spec->constraint;
    v.data = spec->data;
    fe_weight w = {.name = arena_strdup(f->arena, spec->name), .trainable = spec->trainable};
    w.unstored = spec->unstored;
    w.regularizer = spec->regularizer;
    w.dataset = spec->dataset;
    w.dataset_copy = spec->dataset_copy;
    w.variable = ir_module_add_variable(f->module, v);
    arena_push(f->arena, layer->weight, layer->weight_count, layer->weight_capacity, w);
    return &layer->weight[layer->weight_count - 1];
}

ir_value fe_weight_get(fe_lower *l, fe_layer *layer, const fe_weight_spec *spec)
{
    ir_type type;
    if (!check_size(l, layer, spec, &type)) return IR_NONE;
    const fe_weight *w = find_weight(layer, spec->name);
    if (!w) w = make_weight(l, layer, spec, type);
    const ir_type *made = &l->fe->module->variable[w->variable].type;
    if (!ir_type_equal(made, &type)) {
        fe_layer_error(
            l->fe, layer,
            "expected inputs like those of its first call: weight \"%s\" is %s there and would be %s here",
            spec->name, fe_shape_show(l->fe, made), fe_shape_show(l->fe, &type));
        return IR_NONE;
    }
    ir_value value = fe_variable_read(l, w->variable);
    if (spec->keep_dtype || spec->integer) return value;
    return ir_build_convert(l->g, value, layer->compute_dtype);
}

void fe_weight_share(fe_lower *l, fe_layer *layer, const fe_layer *owner, const char *name)
{
    const fe_weight *w = find_weight(owner, name);
    bug_if(!w, "a layer shares weight %s that was not made", name);
    for (size_t i = 0; i < layer->weight_count; i++) {
        if (layer->weight[i].shared && layer->weight[i].variable == w->variable) return;
    }
    fe_weight shared = *w;
    shared.shared = true;
    arena_push(l->fe->arena, layer->weight, layer->weight_count, layer->weight_capacity, shared);
}

/* ---- generators
 * ---------------------------------------------------------------------------------------------------- */

static int make_generator(fe_lower *l, fe_layer *layer, const char *name, bool has_seed, int64_t seed)
{
    fe *f = l->fe;
    const ir_dim two = ir_fixed(2);
    ir_variable v = {.type = ir_type_make(DTYPE_i64, 1, &two), .role = ROLE_seed};
    v.path = arena_printf(f->arena, "%s/%s/seed_generator_state", layer->path, name);
    v.name = make_identifier(f, arena_printf(f->arena, "%s/%s", layer->path, name));
    const int64_t state[2] = {seed, 0};
    if (has_seed) v.data = arena_copy(f->arena, state, sizeof state);
    v.initializer = ir_record_new(f->arena, "seed");
    fe_generator made = {.name = arena_strdup(f->arena, name),
                         .variable = ir_module_add_variable(f->module, v)};
    arena_push(f->arena, layer->generator, layer->generator_count, layer->generator_capacity, made);
    return made.variable;
}

ir_value fe_seed_draw(fe_lower *l, fe_layer *layer, const char *name, bool has_seed, int64_t seed)
{
    int variable = -1;
    for (size_t i = 0; i < layer->generator_count; i++) {
        if (strcmp(layer->generator[i].name, name) == 0) variable = layer->generator[i].variable;
    }
    if (variable < 0) variable = make_generator(l, layer, name, has_seed, seed);
    ir_value state = fe_variable_read(l, variable);
    const int64_t step[2] = {0, 1};
    ir_value advance = ir_build_constant(l->g, l->fe->module->variable[variable].type, step);
    fe_variable_assign(l, variable, ir_build_binary(l->g, OP_add, state, advance));
    return state;
}

/* ---- penalties
 * ------------------------------------------------------------------------------------------------------- */

static void add_penalties(fe_lower *l, const fe_layer *layer, bool *done)
{
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < layer->weight_count; i++) {
            const fe_weight *w = &layer->weight[i];
            if (w->trainable != (pass == 0) || done[w->variable]) continue;
            done[w->variable] = true;
            if (!w->regularizer || !l->fe->module->variable[w->variable].trainable) continue;
            ir_value penalty = fe_regularizer_build(l, w->regularizer, fe_variable_read(l, w->variable));
            if (penalty != IR_NONE) fe_add_loss(l, penalty);
        }
    }
    for (int i = 0; i < layer->child_count; i++) add_penalties(l, layer->child[i], done);
    for (size_t i = 0; layer->model && i < layer->model->layer_count; i++) {
        add_penalties(l, layer->model->layer[i], done);
    }
}

void fe_model_penalties(fe_lower *l, const fe_model *m)
{
    bool *done = arena_array(l->fe->arena, bool, l->fe->module->variable_count + 1);
    for (size_t i = 0; i < m->layer_count; i++) add_penalties(l, m->layer[i], done);
}

/* ---- order
 * -------------------------------------------------------------------------------------------------------------
 */

typedef struct orderer {
    fe *fe;
    bool frozen; /* the outermost model is not trainable: nothing is */
    int *place;  /* old number -> new number, -1: none yet */
    int *old;    /* new number -> old number */
    int count;
} orderer;

static void place_variable(orderer *o, int variable)
{
    if (o->place[variable] >= 0) return;
    o->old[o->count] = variable;
    o->place[variable] = o->count++;
}

static void place_weight(orderer *o, const fe_layer *layer, const fe_weight *w, int index)
{
    ir_variable *v = &o->fe->module->variable[w->variable];
    if (o->frozen) v->trainable = false;
    if (w->unstored) {
        place_variable(o, w->variable);
        return;
    }
    if (w->dataset) {
        v->h5 = w->dataset;
        v->h5_copy = w->dataset_copy;
        place_variable(o, w->variable);
        return;
    }
    const char *dataset = arena_printf(o->fe->arena, "%s/vars/%d", layer->h5, index);
    if (w->shared)
        v->h5_copy = dataset;
    else
        v->h5 = dataset;
    place_variable(o, w->variable);
}

/* Own trainable weights, own others, generators, then those of inner layers: Layer.variables. */
static void place_layer(orderer *o, fe_layer *layer)
{
    int index = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < layer->weight_count; i++) {
            const fe_weight *w = &layer->weight[i];
            if (w->trainable != (pass == 0)) continue;
            place_weight(o, layer, w, index);
            index += !w->unstored;
        }
    }
    for (size_t i = 0; i < layer->generator_count; i++) place_variable(o, layer->generator[i].variable);
    for (int i = 0; i < layer->child_count; i++) place_layer(o, layer->child[i]);
    for (size_t i = 0; layer->model && i < layer->model->layer_count; i++)
        place_layer(o, layer->model->layer[i]);
}

static void renumber_layer(const orderer *o, fe_layer *layer, map *done)
{
    const char *key = arena_printf(o->fe->arena, "%p", (void *)layer);
    if (map_has(done, key)) return;
    map_set(done, key, layer);
    for (size_t i = 0; i < layer->weight_count; i++)
        layer->weight[i].variable = o->place[layer->weight[i].variable];
    for (size_t i = 0; i < layer->generator_count; i++) {
        layer->generator[i].variable = o->place[layer->generator[i].variable];
    }
    for (int i = 0; i < layer->child_count; i++) renumber_layer(o, layer->child[i], done);
    for (size_t i = 0; layer->model && i < layer->model->layer_count; i++) {
        renumber_layer(o, layer->model->layer[i], done);
    }
}

void fe_model_order_variables(fe *f, fe_model *m)
{
    ir_module *module = f->module;
    size_t count = module->variable_count;
    if (count == 0) return;
    orderer o = {.fe = f, .frozen = !m->trainable};
    o.place = arena_array(f->arena, int, count + 1);
    o.old = arena_array(f->arena, int, count + 1);
    for (size_t i = 0; i < count; i++) o.place[i] = -1;
    for (size_t i = 0; i < m->layer_count; i++) place_layer(&o, m->layer[i]);
    bug_if((size_t)o.count != count, "a variable belongs to no layer");
    ir_variable *ordered = arena_array(f->arena, ir_variable, count + 1);
    for (size_t i = 0; i < count; i++) ordered[i] = module->variable[o.old[i]];
    memcpy(module->variable, ordered, count * sizeof *ordered);
    map done = {.arena = f->arena};
    for (size_t i = 0; i < m->layer_count; i++) renumber_layer(&o, m->layer[i], &done);
}
