/* layers.c: the table of layer classes. */
#include "frontend/layers.h"

#include <string.h>

#define MASK .passes_mask = true
#define NO_MASK .passes_mask = false
#define OWN_MASK .own_mask = true
#define AS_IS , .keeps_inputs = true

const fe_layer_class fe_layer_classes[] = {
#define LAYER(class_name, prefix, mask) {.name = #class_name, .read = fe_read_##prefix, .call = fe_call_##prefix, mask},
#define REFUSED(class_name, reason) {.name = #class_name, .refusal = reason},
#include "frontend/layers.def"
};
const size_t fe_layer_class_count = countof(fe_layer_classes);

const fe_layer_class *fe_layer_class_find(const char *class_name)
{
    for (size_t i = 0; i < countof(fe_layer_classes); i++) {
        if (strcmp(fe_layer_classes[i].name, class_name) == 0) return &fe_layer_classes[i];
    }
    return NULL;
}
