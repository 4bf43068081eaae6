/* list.c: every name of Keras that the tables know, by kind, with the reason where it is refused. */
#include "frontend/fe.h"
#include "frontend/frontend.h"
#include "frontend/keras2.h"

#include <string.h>

typedef struct entry {
    const char *name, *refusal;
} entry;

/* The i-th entry of a kind; its name is NULL behind the last. */
typedef entry (*entry_at)(size_t i);

static const entry losses[] = {
#define LOSS(function, class, ...) {#class, NULL},
#define REFUSED(function, class, reason) {#class, reason},
#include "frontend/losses.def"
};
static const entry metrics[] = {
#define METRIC(class, ...) {#class, NULL},
#define REFUSED(class, reason) {#class, reason},
#include "frontend/metrics.def"
    {"MeanMetricWrapper", NULL},
};
static const entry optimizers[] = {
#define OPTIMIZER(class, ...) {#class, NULL},
#define SCHEDULE(class, ...)
#define REFUSED(class, reason) {#class, reason},
#include "frontend/optimizers.def"
};
static const entry schedules[] = {
#define OPTIMIZER(class, ...)
#define SCHEDULE(class, ...) {#class, NULL},
#define REFUSED(class, reason)
#include "frontend/optimizers.def"
};
static const entry symbols[] = {
#define TF(name, ...) {name, NULL},
#include "frontend/tf_symbols.def"
};

static entry layer_at(size_t i)
{
    if (i >= fe_layer_class_count) return (entry){0};
    return (entry){fe_layer_classes[i].name, fe_layer_classes[i].refusal};
}

static entry op_at(size_t i)
{
    if (i >= fe_op_count()) return (entry){0};
    return (entry){fe_op_name(fe_op_at(i)), fe_op_refusal(fe_op_at(i))};
}

static entry keras2_layer_at(size_t i)
{
    const fe_layer_class *c = fe_keras2_class_at(i);
    return c ? (entry){c->name, c->refusal} : (entry){0};
}

static entry initializer_at(size_t i)
{
    entry e = {0};
    e.name = fe_initializer_at(i, &e.refusal);
    return e;
}

static entry activation_at(size_t i) { return (entry){fe_activation_at(i), NULL}; }
static entry constraint_at(size_t i) { return (entry){fe_constraint_at(i), NULL}; }
static entry regularizer_at(size_t i) { return (entry){fe_regularizer_at(i), NULL}; }

static const struct kind {
    const char *name;
    entry_at at;         /* NULL: `table` */
    const entry *table;
    size_t count;
} kinds[] = {
#define TABLE(t) {.name = #t, .table = t, .count = countof(t)}
    {.name = "layers", .at = layer_at},
    {.name = "ops", .at = op_at},
    TABLE(optimizers),
    TABLE(schedules),
    TABLE(losses),
    TABLE(metrics),
    {.name = "activations", .at = activation_at},
    {.name = "initializers", .at = initializer_at},
    {.name = "regularizers", .at = regularizer_at},
    {.name = "constraints", .at = constraint_at},
    {.name = "keras2-layers", .at = keras2_layer_at},
    {.name = "tf-symbols", .table = symbols, .count = countof(symbols)},
#undef TABLE
};

bool frontend_list(const char *kind, FILE *to)
{
    for (size_t k = 0; k < countof(kinds); k++) {
        if (strcmp(kinds[k].name, kind) != 0) continue;
        for (size_t i = 0; kinds[k].at || i < kinds[k].count; i++) {
            const entry e = kinds[k].at ? kinds[k].at(i) : kinds[k].table[i];
            if (!e.name) break;
            fprintf(to, "%-32s %s%s\n", e.name, e.refusal ? "refused: " : "supported", e.refusal ? e.refusal : "");
        }
        return true;
    }
    return false;
}
