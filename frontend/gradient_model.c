/* gradient_model.c: a functional Keras model as a transform of gradients: its input is the gradient, a second one the
 * variable, its output the new gradient.
 *
 * An input whose shape, batch dim included, is the variable's (None fits any size) takes it as it is, rows as the batch.
 * An input [None] or [None, 1] takes the elements of a variable of any shape, each as a row. */
#include "frontend/archive.h"
#include "frontend/gradient_transforms.h"
#include "frontend/model.h"

#include <errno.h>
#include <string.h>

enum { MOST_BYTES = 16 << 20 };

typedef struct job {
    fe *fe;          /* of the transform's model */
    fe_layer *top;
    const json_at *at;
    int number;
} job;

static bool shapes_match(const ir_type *input, const ir_type *variable)
{
    if (input->rank != variable->rank) return false;
    for (int i = 0; i < input->rank; i++) {
        if (input->dim[i].count >= 0 && input->dim[i].count != variable->dim[i].count) return false;
    }
    return true;
}

static const char *show_shape(fe *f, ir_type t)
{
    if (t.rank > 0) t.dim[0] = ir_batch(1);
    return fe_shape_show(f, &t);
}

/* The shape in which an input takes the variable; rank -1: in none. */
static ir_type find_shape(const fe_input *input, const ir_type *variable)
{
    ir_dim elements;
    ir_type t = *variable;
    if (input->any || shapes_match(&input->type, variable)) return t;
    const bool by_element = input->type.rank == 1 || (input->type.rank == 2 && input->type.dim[1].count == 1);
    if (!by_element || !ir_type_elements(variable, &elements)) return (ir_type){.rank = -1};
    t.rank = input->type.rank;
    t.dim[0] = elements;
    t.dim[1] = ir_fixed(1);
    return t;
}

static bool give_inputs(const job *j, fe_lower *l, const ir_variable *v, fe_tensor *in, ir_type *out_shape)
{
    const fe_model *m = j->top->model;
    for (size_t i = 0; i < m->input_count; i++) {
        const fe_input *input = m->input[i]->state;
        const ir_type t = find_shape(input, &v->type);
        if (t.rank < 0)
            return fe_error(j->fe, j->at,
                            "expected input \"%s\" to take variable \"%s\" of %s, found %s; an input [None, 1] takes any",
                            m->input[i]->name, v->path, fe_shape_show(j->fe, &v->type),
                            show_shape(j->fe, input->type));
        const ir_value given = ir_build_reshape(l->g, i == 0 ? 1 : 0, t.rank, t.dim);
        in[i] = (fe_tensor){given, IR_NONE};
        if (i == 0) *out_shape = t;
    }
    return true;
}

static bool take_output(const job *j, fe_lower *l, const ir_variable *v, const fe_value *result, const ir_type *shape)
{
    fe_tensor out;
    if (fe_value_tensors(result, 1, &out) != 1)
        return fe_error(j->fe, j->at, "expected a model with one output, the new gradient");
    const ir_type t = *ir_type_of(l->g, out.value);
    if (!ir_type_same_shape(&t, shape) || !ir_dtype_is_float(t.dtype))
        return fe_error(j->fe, j->at, "expected a gradient of %s for variable \"%s\", found %s",
                        fe_shape_show(j->fe, shape), v->path, fe_shape_show(j->fe, &t));
    if (l->g->update_count > 0)
        return fe_error(j->fe, j->at, "expected a model without layers that keep state or draw random numbers");
    ir_value gradient = ir_build_convert(l->g, out.value, v->type.dtype);
    gradient = ir_build_reshape(l->g, gradient, v->type.rank, v->type.dim);
    ir_graph_add_output(l->g, "gradient", gradient);
    return true;
}

static bool lower_for(const job *j, int variable)
{
    ir_module *module = j->fe->module;
    const ir_variable v = module->variable[variable];
    const char *name = arena_printf(j->fe->arena, "gradient_transform_%d_%d", j->number, variable);
    fe_lower l = {.fe = j->fe, .g = ir_module_add_graph(module, name)};
    const fe_model *m = j->top->model;
    fe_tensor *in = arena_array(j->fe->arena, fe_tensor, m->input_count + 1);
    fe_value result;
    ir_type shape;
    ir_build_unary(l.g, OP_copy, ir_build_variable(l.g, variable));
    return give_inputs(j, &l, &v, in, &shape) && fe_model_call(&l, j->top->model, m->input_count, in, &result) &&
           take_output(j, &l, &v, &result, &shape);
}

/* Variables of the model are state beside the optimizer's, not weights that are trained. */
static void adopt_variables(fe *f, size_t first, int number)
{
    static const char group[] = "gradient_transforms/";
    ir_module *m = f->module;
    int before = 0;
    for (size_t i = 0; i < first; i++)
        before += m->variable[i].h5 != NULL && strncmp(m->variable[i].h5, group, strlen(group)) == 0;
    for (size_t i = first; i < m->variable_count; i++) {
        ir_variable *v = &m->variable[i];
        v->path = arena_printf(f->arena, "%s%d_model/%s", group, number, v->path);
        v->h5 = arena_printf(f->arena, "%svars/%d", group, before++);
        v->h5_copy = NULL;
        v->lora = NULL;
        v->role = ROLE_optimizer;
        v->trainable = false;
        v->constraint = NULL;
    }
}

/* The model's JSON, alone or in a .keras archive. */
static cJSON *read_config(fe *f, const char *path, const json_at *at)
{
    text t = {0};
    cJSON *root = NULL;
    if (fe_archive_is(path)) {
        const char *outer = f->diag->file;
        fe_archive archive;
        f->diag->file = path;
        const bool ok = fe_archive_read(f, path, &archive);
        f->diag->file = outer;
        if (!ok) return NULL;
        f->archive = path;
        return fe_json_parse(f, arena_printf(f->arena, "%s/config.json", path), archive.config, archive.config_size);
    }
    f->archive = NULL;
    if (text_read_file(&t, path, MOST_BYTES))
        root = fe_json_parse(f, path, text_get(&t), t.length);
    else
        fe_error(f, at, "%s cannot be read: %s", path, errno == EFBIG ? "it is too large" : strerror(errno));
    text_done(&t);
    return root;
}

static fe_layer *read_model(fe *f, const char *path, const json_at *at)
{
    const char *outer = f->diag->file;
    cJSON *root = read_config(f, path, at);
    map_set(&f->files, arena_strdup(f->arena, path), f);
    if (root == NULL) return NULL;
    f->diag->file = path;
    fe_layer *top = fe_layer_read(f, root, NULL, NULL, "");
    f->diag->file = outer;
    if (top == NULL || diag_has_errors(f->diag)) return NULL;
    if (top->model != NULL && (top->model->input_count == 1 || top->model->input_count == 2)) return top;
    fe_error(f, at, "expected a model with one input, the gradient, or two, the gradient and the variable");
    return NULL;
}

bool fe_gradient_model_add(fe *f, const char *path, const json_at *at, int number, const ir_field *variables)
{
    static const frontend_options none = {0};
    fe inner = *f;
    inner.options = &none;
    inner.keras2 = false;
    inner.model = NULL;
    inner.refused_policy = (map){.arena = f->arena};
    const job j = {.fe = &inner, .top = read_model(&inner, path, at), .at = at, .number = number};
    f->files = inner.files;
    if (j.top == NULL) return false;
    const size_t first = f->module->variable_count;
    for (int i = 0; i < variables->count; i++) {
        if (!lower_for(&j, (int)variables->numbers[i])) return false;
    }
    if (inner.archive != NULL && f->module->variable_count > first)
        return fe_error(f, at, "expected a model without weights of its own in an archive, since those of a transform start as its "
                               "initializers say, found \"%s\"; give its JSON, with Constant initializers for fixed numbers",
                        f->module->variable[first].path);
    adopt_variables(f, first, number);
    return !diag_has_errors(f->diag);
}
