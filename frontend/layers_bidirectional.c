/* layers_bidirectional.c: a recurrent layer run in both directions over the same sequence. */
#include "frontend/recurrent.h"

#include <string.h>

typedef enum merge_mode { MERGE_concat, MERGE_sum, MERGE_mul, MERGE_ave, MERGE_none } merge_mode;

typedef struct both_state {
    merge_mode merge;
} both_state;

/* ---- reading
 * -------------------------------------------------------------------------------------------------------- */

/* Copies an object and, to `depth`, those inside; what lies deeper is shared. */
static cJSON *copy_object(fe *f, const cJSON *object, int depth)
{
    cJSON *copy = arena_copy(f->arena, object, sizeof *object), *last = NULL;
    copy->child = NULL;
    for (const cJSON *j = object->child; j != NULL; j = j->next) {
        cJSON *member = cJSON_IsObject(j) && depth > 1 ? copy_object(f, j, depth - 1)
                                                       : arena_copy(f->arena, j, sizeof *j);
        if (last == NULL)
            copy->child = member;
        else
            last->next = member;
        last = member;
    }
    return copy;
}

/* The layer under the name that Keras gives to this direction of it, turned round when `turn`. */
static const cJSON *derive_object(fe *f, const cJSON *object, const char *prefix, bool turn)
{
    cJSON *copy = copy_object(f, object, 2);
    cJSON *config = cJSON_GetObjectItemCaseSensitive(copy, "config");
    cJSON *name = cJSON_GetObjectItemCaseSensitive(config, "name");
    cJSON *backwards = cJSON_GetObjectItemCaseSensitive(config, "go_backwards");
    if (cJSON_IsString(name)) {
        const size_t length = strlen(prefix);
        const char *plain =
            strncmp(name->valuestring, prefix, length) == 0 ? name->valuestring + length : name->valuestring;
        name->valuestring = arena_printf(f->arena, "%s%s", prefix, plain);
    }
    const bool back = f->keras2 && cJSON_IsTrue(backwards); /* Keras 3 refuses to turn such a layer */
    if (turn && backwards != NULL) backwards->type = back ? cJSON_False : cJSON_True;
    return copy;
}

static bool read_direction(fe *f, fe_layer *layer, const cJSON *object, const json_at *at, const char *part)
{
    if (!cJSON_IsObject(object))
        return fe_error(f, at, "expected a layer, found %s", fe_json_show(f, object));
    fe_layer *made = fe_layer_read(f, object, at, NULL, arena_printf(f->arena, "%s/%s", layer->h5, part));
    if (made == NULL) return false;
    const bool recurrent = made->class->call == fe_call_recurrent || made->class->call == fe_call_rnn ||
                           made->class->call == fe_call_conv_lstm;
    if (!recurrent) return fe_error(f, at, "expected a recurrent layer, found %s", made->class->name);
    rnn_state *s = made->state;
    s->zero_output = s->return_sequences;
    layer->child[layer->child_count++] = made;
    return true;
}

static bool read_merge(fe_config *c, both_state *s)
{
    static const char *const modes[] = {"concat", "sum", "mul", "ave", NULL};
    const cJSON *j = cJSON_GetObjectItemCaseSensitive(c->object, "merge_mode");
    int choice = 0;
    const bool ok = fe_config_choice(c, "merge_mode", modes, &choice);
    s->merge = cJSON_IsNull(j) ? MERGE_none : (merge_mode)choice;
    return ok;
}

bool fe_read_bidirectional(fe *f, fe_layer *layer, fe_config *c)
{
    both_state *s = arena_new(f->arena, both_state);
    const json_at at = fe_key(c, "layer"), backward_at = fe_key(c, "backward_layer");
    const cJSON *object = fe_config_item(c, "layer"), *backward = fe_config_item(c, "backward_layer");
    layer->state = s;
    layer->child = arena_array(f->arena, fe_layer *, 2);
    bool ok = read_merge(c, s);
    if (!cJSON_IsObject(object))
        return fe_error(f, &at, "expected a layer, found %s", fe_json_show(f, object));
    ok = read_direction(f, layer, derive_object(f, object, "forward_", false), &at, "forward_layer") && ok;
    if (backward == NULL) {
        const cJSON *turned = derive_object(f, object, "backward_", true);
        ok = ok && read_direction(f, layer, turned, &at, "backward_layer");
    } else {
        ok = read_direction(f, layer, backward, &backward_at, "backward_layer") && ok;
    }
    if (!ok || !fe_config_done(c)) return false;
    const rnn_state *a = layer->child[0]->state;
    rnn_state *b = layer->child[1]->state;
    if (a->go_backwards == b->go_backwards || a->return_sequences != b->return_sequences ||
        a->return_state != b->return_state) {
        return fe_error(f, &backward_at,
                        "expected a layer that runs the other way and returns the same, found another");
    }
    b->in_place = b->go_backwards;
    return true;
}

/* ---- the call
 * ----------------------------------------------------------------------------------------------------------
 */

/* Half of the initial states for each direction. */
static bool call_direction(fe_lower *l, fe_layer *layer, const fe_args *args, int which, fe_value *out)
{
    const fe_value *initial = fe_args_find(args, 1, "initial_state"), *mask = fe_args_find(args, -1, "mask");
    fe_args call = {.arg = args->arg, .kwarg = {.kind = FE_DICT}};
    const char *key[2] = {"mask", "initial_state"};
    fe_value item[2] = {{.kind = FE_NULL}, {.kind = FE_LIST}}, *half = &item[1];
    if (mask != NULL) item[0] = *mask;
    call.kwarg = (fe_value){.kind = FE_DICT, .count = 1, .item = item, .key = key};
    if (args->arg.count < 1) return fe_layer_error(l->fe, layer, "expected one sequence as input");
    call.arg.count = 1;
    if (initial != NULL) {
        if (initial->kind != FE_LIST || initial->count % 2 != 0) {
            return fe_layer_error(l->fe, layer, "expected a list of initial states for both directions");
        }
        half->count = initial->count / 2;
        half->item = initial->item + which * half->count;
        call.kwarg.count = 2;
    }
    return fe_call(l, layer->child[which], &call, out);
}

static ir_value merge_outputs(fe_lower *l, merge_mode merge, ir_value a, ir_value b)
{
    const ir_value both[2] = {a, b};
    switch (merge) {
    case MERGE_concat:
        return ir_build_concatenate(l->g, 2, both, fe_type(l, a).rank - 1);
    case MERGE_sum:
        return ir_build_binary(l->g, OP_add, a, b);
    case MERGE_mul:
        return ir_build_binary(l->g, OP_multiply, a, b);
    case MERGE_ave:
        return ir_build_binary_scalar(l->g, OP_multiply, ir_build_binary(l->g, OP_add, a, b), 0.5);
    case MERGE_none:
        break;
    }
    return a;
}

static fe_tensor first_tensor(const fe_value *v)
{
    return v->kind == FE_LIST ? v->item[0].tensor : v->tensor;
}

static bool can_merge(fe_lower *l, fe_layer *layer, merge_mode merge, const ir_type *a, const ir_type *b)
{
    ir_type same = *b;
    if (merge == MERGE_none) return true;
    if (merge == MERGE_concat) same.dim[same.rank - 1] = a->dim[a->rank - 1];
    if (ir_type_equal(a, &same)) return true;
    return fe_layer_error(l->fe, layer, "expected results of one shape, found %s and %s",
                          fe_shape_show(l->fe, a), fe_shape_show(l->fe, b));
}

bool fe_call_bidirectional(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const both_state *s = layer->state;
    const rnn_state *back = layer->child[1]->state;
    fe_value result[2];
    for (int i = 0; i < 2; i++) {
        if (!call_direction(l, layer, args, i, &result[i])) return false;
    }
    fe_tensor a = first_tensor(&result[0]), b = first_tensor(&result[1]);
    const int64_t time = 1;
    if (back->return_sequences && !back->in_place && fe_ragged_is(l, b.value))
        return fe_refuse(l, layer, "a layer that goes backwards first, on ragged rows,");
    if (back->return_sequences && !back->in_place) b.value = ir_build_reverse(l->g, b.value, 1, &time);
    a.value = ir_build_convert(l->g, a.value, layer->compute_dtype);
    b.value = ir_build_convert(l->g, b.value, layer->compute_dtype);
    const ir_type left = fe_type(l, a.value), right = fe_type(l, b.value);
    if (!can_merge(l, layer, s->merge, &left, &right)) return false;
    const ir_value merged = merge_outputs(l, s->merge, a.value, b.value);
    if (s->merge != MERGE_none && !back->return_state) return fe_finish(l, merged, a.mask, out);
    const int states = back->return_state ? result[0].count - 1 : 0;
    *out = (fe_value){.kind = FE_LIST};
    out->item = arena_array(l->fe->arena, fe_value, (size_t)states * 2 + 2);
    out->item[out->count++] = fe_value_tensor(merged, a.mask);
    if (s->merge == MERGE_none) out->item[out->count++] = fe_value_tensor(b.value, a.mask);
    for (int i = 0; i < states * 2; i++) out->item[out->count++] = result[i / states].item[i % states + 1];
    return true;
}
