/* node.c: the calls of a Functional: linked by layer name and call number, then ordered as Keras runs them.
 */
#include "frontend/keras2.h"

#include <string.h>

/* ---- reading calls
 * ------------------------------------------------------------------------------------------ */

static const char *find_layer_name(const cJSON *layer)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(layer, "name");
    if (!cJSON_IsString(name)) {
        name = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(layer, "config"), "name");
    }
    return cJSON_IsString(name) ? name->valuestring : NULL;
}

static bool is_class(const cJSON *layer, const char *class_name)
{
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(layer, "class_name");
    return cJSON_IsString(name) && strcmp(name->valuestring, class_name) == 0;
}

typedef struct linker {
    fe *fe;
    fe_model *model;
    map index;
    int *first_call;
    bool *counts_itself;
    const cJSON *layers;
    const json_at *at;
} linker;

static bool index_layers(linker *k)
{
    size_t count = k->model->layer_count, i = 0;
    int calls = 0;
    bool ok = true;
    k->first_call = arena_array(k->fe->arena, int, count + 1);
    k->counts_itself = arena_array(k->fe->arena, bool, count + 1);
    for (const cJSON *j = k->layers->child; j && i < count; j = j->next, i++) {
        const char *name = find_layer_name(j);
        const json_at layer_at = {.up = k->at, .index = (int)i}, name_at = {.up = &layer_at, .key = "name"};
        int *index = arena_new(k->fe->arena, int);
        *index = (int)i;
        if (name && map_has(&k->index, name)) {
            ok = fe_error(k->fe, &name_at, "expected a name of its own, found \"%s\" again", name);
        } else if (name) {
            map_set(&k->index, name, index);
        }
        const cJSON *nodes = cJSON_GetObjectItemCaseSensitive(j, "inbound_nodes");
        k->first_call[i] = calls;
        if (k->fe->keras2)
            k->counts_itself[i] = fe_keras2_counts_itself(j);
        else
            k->counts_itself[i] = !fe_is_op_object(j) && (is_class(j, "Functional") || is_class(j, "Model"));
        calls += is_class(j, "InputLayer") ? 1 : cJSON_IsArray(nodes) ? cJSON_GetArraySize(nodes) : 0;
    }
    k->first_call[count] = calls;
    k->model->call = arena_array(k->fe->arena, fe_node, (size_t)calls + 1);
    k->model->call_count = (size_t)calls;
    return ok;
}

static bool read_call(fe_arg_reader *r, const cJSON *j, const json_at *at, fe_args *out)
{
    const cJSON *args = cJSON_GetObjectItemCaseSensitive(j, "args");
    const cJSON *kwargs = cJSON_GetObjectItemCaseSensitive(j, "kwargs");
    const json_at args_at = {.up = at, .key = "args"}, kwargs_at = {.up = at, .key = "kwargs"};
    if (cJSON_IsArray(j)) {
        return fe_error(r->fe, at, "expected a call as Keras 3 writes it, found a list as Keras 2 writes it");
    }
    if (!cJSON_IsArray(args)) {
        return fe_error(r->fe, &args_at, "expected a list of arguments, found %s", fe_json_show(r->fe, args));
    }
    if (!cJSON_IsObject(kwargs)) {
        return fe_error(r->fe, &kwargs_at, "expected an object of arguments, found %s",
                        fe_json_show(r->fe, kwargs));
    }
    bool ok = fe_arg_read(r, args, &args_at, &out->arg);
    return fe_arg_read(r, kwargs, &kwargs_at, &out->kwarg) && ok;
}

static bool read_calls(linker *k, fe_arg_reader *r)
{
    bool ok = true;
    size_t i = 0;
    for (const cJSON *j = k->layers->child; j && i < k->model->layer_count; j = j->next, i++) {
        const json_at layer_at = {.up = k->at, .index = (int)i},
                      nodes_at = {.up = &layer_at, .key = "inbound_nodes"};
        const cJSON *nodes = cJSON_GetObjectItemCaseSensitive(j, "inbound_nodes");
        const cJSON *node = cJSON_IsArray(nodes) ? nodes->child : NULL;
        fe_layer *layer = k->model->layer[i];
        const fe_layer *outer = k->fe->layer;
        if (!cJSON_IsArray(nodes))
            ok = fe_error(k->fe, &nodes_at, "expected a list of calls, found %s", fe_json_show(k->fe, nodes));
        k->fe->layer = layer ? layer : outer;
        for (int n = k->first_call[i]; n < k->first_call[i + 1]; n++) {
            const json_at node_at = {.up = &nodes_at, .index = n - k->first_call[i]};
            fe_node *call = &k->model->call[n];
            *call = (fe_node){
                .layer = layer, .index = n - k->first_call[i], .json_path = fe_at_show(k->fe, &node_at)};
            call->args.arg.kind = FE_LIST;
            call->args.kwarg.kind = FE_DICT;
            if (!is_class(j, "InputLayer"))
                ok = (k->fe->keras2 ? fe_keras2_call_read(r, layer, node, &node_at, &call->args)
                                    : read_call(r, node, &node_at, &call->args)) &&
                     ok;
            node = node ? node->next : NULL;
        }
        k->fe->layer = outer;
    }
    return ok;
}

/* "input_layers" and "output_layers": a leaf ["layer", call, tensor], or lists and dicts of leaves. */
static bool read_struct(fe_arg_reader *r, const cJSON *j, const json_at *at, fe_value *out)
{
    if (fe_arg_is_history(j)) return fe_arg_link(r, j, at, out);
    if (!cJSON_IsArray(j) && !cJSON_IsObject(j)) {
        return fe_error(r->fe, at,
                        "expected [\"layer\", call, tensor], or a list or an object of them, found %s",
                        fe_json_show(r->fe, j));
    }
    bool keyed = cJSON_IsObject(j), ok = true;
    int count = cJSON_GetArraySize(j), i = 0;
    *out = (fe_value){.kind = keyed ? FE_DICT : FE_LIST, .count = count};
    out->item = arena_array(r->fe->arena, fe_value, (size_t)count + 1);
    if (keyed) out->key = arena_array(r->fe->arena, const char *, (size_t)count + 1);
    for (const cJSON *item = j->child; item; item = item->next, i++) {
        const json_at item_at = {.up = at, .key = item->string, .index = i};
        if (keyed) out->key[i] = item->string;
        ok = read_struct(r, item, &item_at, &out->item[i]) && ok;
    }
    if (keyed) fe_value_sort_keys(r->fe, out);
    return ok;
}

static bool collect_inputs(fe *f, fe_model *m, const fe_value *v, const json_at *at)
{
    bool ok = true;
    for (int i = 0; i < v->count; i++) ok = collect_inputs(f, m, &v->item[i], at) && ok;
    if (v->kind != FE_NODE) return ok;
    fe_layer *layer = m->call[v->node].layer;
    if (!layer) return false;
    if (!fe_layer_input(layer)) {
        return fe_error(f, at, "expected an InputLayer, found %s \"%s\"", layer->class->name, layer->name);
    }
    for (size_t i = 0; i < m->input_count; i++) {
        if (m->input[i] == layer)
            return fe_error(f, at, "expected each input once, found \"%s\" again", layer->name);
    }
    m->input[m->input_count++] = layer;
    return true;
}

static bool check_connected(fe *f, const fe_model *m)
{
    bool ok = true;
    for (size_t i = 0; i < m->order_count; i++) {
        const fe_node *call = &m->call[m->order[i]];
        bool found = !call->layer || !fe_layer_input(call->layer);
        for (size_t k = 0; k < m->input_count; k++) found = found || m->input[k] == call->layer;
        if (!found) {
            ok = fe_layer_error(f, call->layer,
                                "the outputs need this input, but it is not one of \"input_layers\"");
        }
    }
    return ok;
}

static void drop_inputs(fe_model *m)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->order_count; i++) {
        if (!fe_layer_input(m->call[m->order[i]].layer)) m->order[kept++] = m->order[i];
    }
    m->order_count = kept;
}

bool fe_model_link(fe *f, fe_model *m, const cJSON *layers, fe_config *config)
{
    const json_at at = {.up = &config->at, .key = "layers"};
    const json_at input_at = {.up = &config->at, .key = "input_layers"};
    const json_at output_at = {.up = &config->at, .key = "output_layers"};
    linker k = {.fe = f, .model = m, .index = {.arena = f->arena}, .layers = layers, .at = &at};
    bool ok = index_layers(&k);
    fe_arg_reader r = {.fe = f, .layer_index = &k.index, .first_call = k.first_call};
    if (f->keras2) r.counts_itself = k.counts_itself;
    ok = read_calls(&k, &r) && ok;
    r.counts_itself = k.counts_itself; /* so Keras 3 numbers nested Functionals here, but not in arguments */
    fe_value inputs = {0};
    ok = read_struct(&r, fe_config_item(config, "input_layers"), &input_at, &inputs) && ok;
    ok = read_struct(&r, fe_config_item(config, "output_layers"), &output_at, &m->output_struct) && ok;
    if (!ok) return false;
    m->input_struct_kind = inputs.kind == FE_NODE ? FE_TENSOR : inputs.kind;
    m->input = arena_array(f->arena, fe_layer *, m->layer_count + 1);
    ok = collect_inputs(f, m, &inputs, &input_at);
    ok = fe_model_order_calls(f, m, &at) && ok;
    for (size_t i = 0; i < m->layer_count; i++) ok = ok && m->layer[i];
    if (!ok || !check_connected(f, m)) return false;
    drop_inputs(m);
    fe_model_name_outputs(f, m);
    return m->output_count > 0 || fe_error(f, &output_at, "expected at least one output, found none");
}

/* ---- order
 * ------------------------------------------------------------------------------------------------------ */

/* Keras's order: a depth-first walk from the outputs gives depths (how many calls lie between a call and the
 * outputs); calls run by falling depth, equal depths in the order in which they got one. */
typedef struct sorter {
    fe *fe;
    const fe_model *model;
    int **parents; /* per call: -1 terminated */
    char *mark;    /* 0 new, 1 being walked, 2 done */
    int *stack, *progress;
    int *done; /* calls, parents first */
    size_t done_count;
    int *depth; /* -1: none yet */
    int *met;   /* calls in the order in which they got a depth */
    size_t met_count;
} sorter;

static size_t count_nodes(const fe_value *v)
{
    size_t count = v->kind == FE_NODE;
    for (int i = 0; i < v->count; i++) count += count_nodes(&v->item[i]);
    return count;
}

static int *put_nodes(const fe_value *v, int *to)
{
    if (v->kind == FE_NODE) *to++ = v->node;
    for (int i = 0; i < v->count; i++) to = put_nodes(&v->item[i], to);
    return to;
}

static int *list_nodes(fe *f, const fe_value *a, const fe_value *b)
{
    size_t count = count_nodes(a) + count_nodes(b);
    int *list = arena_array(f->arena, int, count + 1);
    *put_nodes(b, put_nodes(a, list)) = -1;
    return list;
}

static const char *show_call(fe *f, const fe_model *m, int call)
{
    const fe_layer *layer = m->call[call].layer;
    return layer ? arena_printf(f->arena, "%s \"%s\"", layer->class->name, layer->name)
                 : "a layer that could not be read";
}

static bool report_cycle(sorter *s, int top, int again, const json_at *at)
{
    text t = {0};
    text_add(&t, "%s", show_call(s->fe, s->model, again));
    for (int i = top; i >= 0; i--) {
        text_add(&t, " <- %s", show_call(s->fe, s->model, s->stack[i]));
        if (s->stack[i] == again || t.length > 400) break;
    }
    fe_error(s->fe, at, "expected calls without a cycle, found %s", text_get(&t));
    text_done(&t);
    return false;
}

static bool walk(sorter *s, int from, const json_at *at)
{
    int top = -1;
    if (s->mark[from]) return true;
    s->mark[from] = 1;
    s->stack[++top] = from;
    s->progress[top] = 0;
    while (top >= 0) {
        int call = s->stack[top], parent = s->parents[call][s->progress[top]];
        if (parent < 0) {
            s->mark[call] = 2;
            s->done[s->done_count++] = call;
            top--;
            continue;
        }
        s->progress[top]++;
        if (s->mark[parent] == 1) return report_cycle(s, top, parent, at);
        if (s->mark[parent] == 2) continue;
        s->mark[parent] = 1;
        s->stack[++top] = parent;
        s->progress[top] = 0;
    }
    return true;
}

static void set_depth(sorter *s, int call, int depth)
{
    if (s->depth[call] < 0) s->met[s->met_count++] = call;
    if (s->depth[call] < depth) s->depth[call] = depth;
}

/* A shared layer's calls lie at least as deep as its deepest call met so far. */
static int spread_depths(sorter *s, size_t reached)
{
    int deepest = 0;
    int *first =
        arena_array(s->fe->arena, int, s->model->call_count + 1); /* call -> first call of its layer */
    int *layer_depth = arena_array(s->fe->arena, int, s->model->call_count + 1);
    for (size_t i = 0; i < s->model->call_count; i++) first[i] = (int)i - s->model->call[i].index;
    for (size_t i = reached; i-- > 0;) {
        int call = s->done[i];
        set_depth(s, call, 0);
        int depth = (int)base_max(s->depth[call], layer_depth[first[call]]);
        layer_depth[first[call]] = s->depth[call] = depth;
        for (const int *p = s->parents[call]; *p >= 0; p++) set_depth(s, *p, depth + 1);
        if (depth > deepest) deepest = depth;
    }
    return deepest;
}

static void order_by_depth(sorter *s, fe_model *m, int deepest)
{
    size_t *start = arena_array(s->fe->arena, size_t, (size_t)deepest + 2);
    for (size_t i = 0; i < s->met_count; i++) start[deepest - s->depth[s->met[i]] + 1]++;
    for (int d = 1; d <= deepest + 1; d++) start[d] += start[d - 1];
    m->order = arena_array(s->fe->arena, int, s->met_count + 1);
    for (size_t i = 0; i < s->met_count; i++) m->order[start[deepest - s->depth[s->met[i]]]++] = s->met[i];
    m->order_count = s->met_count;
}

bool fe_model_order_calls(fe *f, fe_model *m, const json_at *at)
{
    size_t count = m->call_count;
    sorter s = {.fe = f, .model = m};
    s.parents = arena_array(f->arena, int *, count + 1);
    s.mark = arena_array(f->arena, char, count + 1);
    s.stack = arena_array(f->arena, int, count + 1);
    s.progress = arena_array(f->arena, int, count + 1);
    s.done = arena_array(f->arena, int, count + 1);
    s.depth = arena_array(f->arena, int, count + 1);
    s.met = arena_array(f->arena, int, count + 1);
    for (size_t i = 0; i < count; i++) {
        s.parents[i] = list_nodes(f, &m->call[i].args.arg, &m->call[i].args.kwarg);
        s.depth[i] = -1;
    }
    fe_value none = {0};
    for (const int *out = list_nodes(f, &m->output_struct, &none); *out >= 0; out++) {
        if (!walk(&s, *out, at)) return false;
    }
    size_t reached = s.done_count;
    for (size_t i = 0; i < count; i++) {
        if (!walk(&s, (int)i, at)) return false;
    }
    order_by_depth(&s, m, spread_depths(&s, reached));
    m->depth = s.depth;
    return true;
}

/* ---- outputs
 * ---------------------------------------------------------------------------------------------------- */

void fe_model_name_outputs(fe *f, fe_model *m)
{
    fe_value none = {0};
    size_t count = count_nodes(&m->output_struct);
    const int *call = list_nodes(f, &m->output_struct, &none);
    map used = {.arena = f->arena};
    m->output_name = arena_array(f->arena, const char *, count + 1);
    for (size_t i = 0; i < count; i++) {
        const char *name = m->call[call[i]].layer->name;
        for (int n = 1; map_has(&used, name); n++)
            name = arena_printf(f->arena, "%s_%d", m->call[call[i]].layer->name, n);
        map_set(&used, name, m);
        m->output_name[i] = name;
    }
    m->output_count = count;
}
