/* precision.c: the layers with their dtype policies, for who explains what runs in which type. */
#include "frontend/model.h"

static void add_layer(fe *f, const fe_layer *layer, map *done, frontend_model *out)
{
    const char *key = arena_printf(f->arena, "%p", (const void *)layer);
    if (map_has(done, key)) return;
    map_set(done, key, f);
    if (!layer->model && layer->policy) {
        const frontend_layer made = {.name = layer->path,
                                     .class_name = layer->class->name,
                                     .policy = fe_policy_name(layer->compute_dtype, layer->variable_dtype),
                                     .compute = layer->compute_dtype,
                                     .variable = layer->variable_dtype,
                                     .keeps_inputs = layer->class->keeps_inputs,
                                     .origin = layer->origin};
        arena_push(f->arena, out->layer, out->layer_count, out->layer_capacity, made);
    }
    for (int i = 0; i < layer->child_count; i++) add_layer(f, layer->child[i], done, out);
    for (size_t i = 0; layer->model && i < layer->model->layer_count; i++)
        add_layer(f, layer->model->layer[i], done, out);
}

void fe_precision_list(fe *f, const fe_model *m, frontend_model *out)
{
    map done = {.arena = f->arena};
    for (size_t i = 0; i < m->layer_count; i++) add_layer(f, m->layer[i], &done, out);
}
