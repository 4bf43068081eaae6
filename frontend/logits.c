/* logits.c: remembers which values are a softmax or sigmoid of which logits, for the crossentropies. */
#include "frontend/fe.h"

typedef struct fe_logits {
    ir_value value, logits;
} fe_logits;

void fe_logits_set(fe_lower *l, ir_value value, ir_value logits)
{
    fe_logits pair = {.value = value, .logits = logits};
    arena_push(l->fe->arena, l->logits, l->logits_count, l->logits_capacity, pair);
}

ir_value fe_logits_find(const fe_lower *l, ir_value value)
{
    for (size_t i = l->logits_count; i > 0; i--) {
        if (l->logits[i - 1].value == value) return l->logits[i - 1].logits;
    }
    return IR_NONE;
}
