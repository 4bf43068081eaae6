/* inputs.c: the model's inputs become ports, with sizes that are all known but the batch.
 *
 * A size that the file leaves open (Input((None, 4))) is given with --dim. When there is only one such size, it may
 * follow from the model: a reshape to fixed sizes below it fits one size only. Shapes are computed forwards, so
 * instead of solving for it the model is read and lowered on trial with every small size, and all but the answer is
 * thrown away. Where several sizes fit, as below a recurrent layer, the second that fits ends the search. */
#include "frontend/model.h"

#include <stdlib.h>
#include <string.h>

enum {
    MOST_SIZE = 256,    /* sizes 1 .. are tried */
    MOST_WORK = 4000000 /* calls and nodes in all trials together: no file may keep the compiler busy for long */
};

/* Size `axis` of an input of the model. */
typedef struct size_place {
    size_t input;
    int axis;
    int64_t size;
} size_place;

/* The size that --dim gives to dim `axis` of an input: by "name.axis=size", else by "name=size". -1: none. */
static int64_t find_dim(fe *f, const char *input, int axis)
{
    const char *at = f->options->dim;
    const char *exact = arena_printf(f->arena, "%s.%d", input, axis);
    int64_t found = -1;
    while (at && *at) {
        size_t length = strcspn(at, ","), key = strcspn(at, "=,");
        bool is_exact = key == strlen(exact) && memcmp(at, exact, key) == 0;
        bool is_whole = key == strlen(input) && memcmp(at, input, key) == 0;
        if (at[key] == '=' && (is_exact || (is_whole && found < 0))) {
            char *end;
            long long size = strtoll(at + key + 1, &end, 10);
            if (end == at + length && size > 0 && size <= INT32_MAX) found = size;
            if (found > 0 && is_exact) return found;
        }
        at += length + (at[length] == ',');
    }
    return found;
}

/* [N, None, ...] becomes [V, ...]. */
static bool take_ragged(fe *f, const fe_layer *layer, ir_port *port)
{
    if (f->module->ragged_count == IR_MAX_RAGGED)
        return fe_layer_error(f, layer, "expected at most %d ragged inputs", (int)IR_MAX_RAGGED);
    port->ragged = f->module->ragged_count + 1;
    port->type.dim[0].batch = (uint8_t)(UNIT_values + port->ragged - 1);
    for (int i = 2; i < port->type.rank; i++) port->type.dim[i - 1] = port->type.dim[i];
    port->type.rank--;
    return true;
}

/* guess: a size to take where --dim gives none, or NULL. */
static bool add_input(fe *f, const fe_layer *top, size_t index, const size_place *guess)
{
    fe_layer *layer = top->model->input[index];
    fe_input *input = layer->state;
    ir_port port = {.name = layer->name, .kind = PORT_x, .type = input->type};
    if (input->any) {
        return fe_layer_error(f, top,
                              "expected a model whose input shape is known: add an InputLayer, or build it");
    }
    port.type.dim[0] = ir_batch(1);
    for (int i = 1; i < port.type.rank; i++) {
        if (port.type.dim[i].count > 0 || input->ragged) continue;
        int64_t size = find_dim(f, layer->name, i);
        if (size < 0 && guess && guess->input == index && guess->axis == i) size = guess->size;
        if (size < 0) {
            return fe_layer_error(f, layer, "size %d of this input is open; give it with --dim %s.%d=SIZE", i,
                                  layer->name, i);
        }
        port.type.dim[i] = ir_fixed(size);
    }
    if (input->ragged && !take_ragged(f, layer, &port)) return false;
    ir_dim elements;
    if (!ir_type_elements(&port.type, &elements)) return fe_layer_error(f, layer, "the input is too large");
    if (!input->ragged) input->type = port.type;
    if (input->sparse) {
        port.classes = port.type.dim[1].count;
        port.type = ir_type_make(DTYPE_row, 1, port.type.dim);
    }
    input->type.dim[0] = ir_fixed(-1);
    input->port = ir_module_add_port(f->module, port);
    if (port.ragged > 0) {
        const ir_dim rows = ir_batch(1);
        const char *name = arena_printf(f->arena, "%s_row_ends", layer->name);
        const ir_port ends = {.name = name, .kind = PORT_made, .type = ir_type_make(DTYPE_i64, 1, &rows),
                              .ragged = port.ragged, .part = RAGGED_ends};
        ir_module_add_port(f->module, ends);
    }
    return true;
}

ir_value fe_input_value(ir_graph *g, const fe_input *input)
{
    const ir_value x = ir_build_parameter(g, input->port);
    if (!input->sparse) return x;
    ir_type dense = input->type;
    dense.dim[0] = ir_batch(1);
    return ir_build(g, OP_sparse_dense, 1, &x, 0, NULL, &dense);
}

static bool add_all(fe *f, const fe_layer *top, const size_place *guess)
{
    bool ok = true;
    for (size_t i = 0; i < top->model->input_count; i++) ok = add_input(f, top, i, guess) && ok;
    return ok;
}

/* ---- open sizes ----------------------------------------------------------------------------- */

/* True when exactly one size of the model's inputs is open. */
static bool find_open(fe *f, const fe_model *m, size_place *out_open)
{
    int count = 0;
    for (size_t k = 0; k < m->input_count; k++) {
        const fe_layer *layer = m->input[k];
        const fe_input *input = layer->state;
        if (input->any) return false;
        for (int i = 1; i < input->type.rank; i++) {
            if (input->type.dim[i].count > 0 || input->ragged || find_dim(f, layer->name, i) > 0) continue;
            *out_open = (size_place){k, i, -1};
            count++;
        }
    }
    return count == 1;
}

/* Reads the model anew, since layers remember the shapes of their first call, and runs it on its inputs. */
static bool fits(fe *f, const cJSON *root, const size_place *guess, size_t *work)
{
    arena scratch = {0};
    diag silent = {.arena = &scratch};
    fe trial = {.arena = &scratch,
                .diag = &silent,
                .module = ir_module_new(&scratch, "trial"),
                .options = f->options,
                .refused_policy = {.arena = &scratch},
                .keras2 = f->keras2};
    const fe_layer *top = fe_layer_read(&trial, root, NULL, NULL, "");
    bool ok = top && !diag_has_errors(&silent) && add_all(&trial, top, guess);
    if (ok) {
        fe_model *m = top->model;
        fe_lower l = {.fe = &trial, .g = ir_module_add_graph(trial.module, "predict")};
        fe_tensor *in = arena_array(&scratch, fe_tensor, m->input_count + 1);
        fe_value result;
        for (size_t i = 0; i < m->input_count; i++)
            in[i] = (fe_tensor){fe_input_value(l.g, m->input[i]->state), IR_NONE};
        ok = fe_model_call(&l, m, m->input_count, in, &result) && !diag_has_errors(&silent);
        *work += m->call_count + l.g->count;
    }
    arena_done(&scratch);
    return ok;
}

/* True when exactly one size fits. */
static bool infer_size(fe *f, const cJSON *root, size_place *open)
{
    size_place found = *open;
    size_t work = 0;
    for (int64_t size = 1; size <= MOST_SIZE; size++) {
        const size_place guess = {open->input, open->axis, size};
        if (work > MOST_WORK) return false;
        if (!fits(f, root, &guess, &work)) continue;
        if (found.size > 0) return false;
        found = guess;
    }
    *open = found;
    return found.size > 0;
}

bool fe_inputs_add(fe *f, const fe_layer *top, const cJSON *root)
{
    size_place open;
    const bool inferred = find_open(f, top->model, &open) && infer_size(f, root, &open);
    return add_all(f, top, inferred ? &open : NULL);
}
