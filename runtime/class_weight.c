/* class_weight.c: weights by class, multiplied into the sample weights, as Keras's class_weight: the class of
 * a row is its integer, or the largest element of its one-hot target. */
#include "convert.h"
#include "dataset.h"

#include <stdlib.h>

typedef struct class_weight {
    double class, weight;
} class_weight;

static bool refuse_text(rt *r, const char *text)
{
    return rt_wrong(r, "--class-weight: expected CLASS:WEIGHT,... such as 0:1.0,1:2.5, found \"%s\"", text);
}

static bool read_pairs(rt *r, const char *text, class_weight **out_pairs, size_t *out_count)
{
    size_t count = 1;
    for (const char *p = text; *p; p++) count += *p == ',';
    class_weight *pair = rt_alloc_many(r, count, sizeof *pair, "class weights");
    if (!pair) return false;
    const char *at = text;
    for (size_t i = 0; i < count; i++) {
        char *end;
        pair[i].class = (double)strtoll(at, &end, 10);
        if (end == at || *end != ':') return refuse_text(r, text);
        at = end + 1;
        pair[i].weight = strtod(at, &end);
        if (end == at || (*end != ',' && *end != 0) || !(pair[i].weight >= 0)) return refuse_text(r, text);
        at = end + 1;
    }
    *out_pairs = pair;
    *out_count = count;
    return true;
}

/* The class of the element of `width` numbers from `first` on. */
static double find_class(const void *targets, uint32_t dtype, uint64_t first, uint64_t width)
{
    if (width == 1) return convert_get(targets, dtype, first);
    uint64_t best = 0;
    for (uint64_t i = 1; i < width; i++) {
        if (convert_get(targets, dtype, first + i) > convert_get(targets, dtype, first + best)) best = i;
    }
    return (double)best;
}

static int find_port(const tfcc_program *p, uint32_t kind)
{
    for (uint64_t i = 0; i < p->port_count; i++) {
        if (p->port[i].kind == kind) return (int)i;
    }
    return -1;
}

bool dataset_weigh_classes(dataset *d, rt *r, const char *weights)
{
    const tfcc_program *p = r->program;
    class_weight *pair = NULL;
    size_t pairs = 0;
    int y = find_port(p, TFCC_PORT_Y), w = find_port(p, TFCC_PORT_SAMPLE_WEIGHT);
    if (!read_pairs(r, weights, &pair, &pairs)) return false;
    if (!p->single_output || y < 0 || w < 0) {
        return rt_wrong(r, "--class-weight: expected a model with one output, found several");
    }
    if (p->port[y].ragged > 0) return rt_wrong(r, "--class-weight: expected targets of whole rows, found ragged ones");
    uint64_t targets = rt_shape_row_elements(&p->port[y].shape),
             steps = rt_shape_row_elements(&p->port[w].shape);
    if (steps == 0 || targets % steps != 0) {
        return rt_wrong(r, "--class-weight: expected targets that are class numbers or one-hot");
    }
    uint32_t y_type = p->port[y].shape.dtype, w_type = p->port[w].shape.dtype;
    for (uint64_t i = 0; i < (uint64_t)d->rows * steps; i++) {
        double class = find_class(d->column[y].data, y_type, i * (targets / steps), targets / steps);
        for (size_t k = 0; k < pairs; k++) {
            if (pair[k].class != class) continue;
            char *at = d->column[w].data + i * rt_dtype_size(w_type);
            double weight = convert_get(at, w_type, 0) * pair[k].weight;
            convert_elements(at, w_type, &weight, TFCC_F64, 1);
        }
    }
    return true;
}
