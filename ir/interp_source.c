/* interp_source.c: operations that make their elements from nothing but indices and attributes.
 */
#include "ir/interp.h"

#include <string.h>

/* ir_interpret puts the inputs of a graph in place; alone they have no value. */
static void run_parameter(const interp *c)
{
    bug("parameter %d has no value outside of a graph that runs",
        (int)ir_attr_int(c->node, ATTR_index, 0));
}

static void run_variable(const interp *c)
{
    bug("variable %d has no value outside of a graph that runs",
        (int)ir_attr_int(c->node, ATTR_index, 0));
}

static void run_constant(const interp *c)
{
    const ir_attr *data = ir_attr_find(c->node, ATTR_data);
    const size_t size = ir_dtype_size(c->out->type.dtype);
    const size_t count = (size_t)ir_array_count(c->out);
    if (data->data.size == size * count) {
        if (count > 0) memcpy(c->out->data, data->data.bytes, size * count);
        return;
    }
    bug_if(data->data.size != size, "a constant has %zu bytes", data->data.size);
    for (size_t i = 0; i < count; i++) {
        memcpy((char *)c->out->data + i * size, data->data.bytes, size);
    }
}

static void run_iota(const interp *c)
{
    const int64_t dimension = ir_attr_int(c->node, ATTR_dimension, 0);
    int64_t index[IR_MAX_RANK] = {0};
    if (!interp_has_elements(&c->out->type)) return;
    do {
        const interp_cell i = interp_int(index[dimension]);
        interp_store(c->out, interp_offset(&c->out->type, index),
                     interp_convert(i, DTYPE_i64, c->out->type.dtype));
    } while (interp_next(&c->out->type, index));
}

static void run_dimension_size(const interp *c)
{
    const int64_t dimension = ir_attr_int(c->node, ATTR_dimension, 0);
    interp_store(c->out, 0, interp_int(c->in[0].type.dim[dimension].count));
}

static void run_rng_philox(const interp *c)
{
    const int64_t seed = (int64_t)interp_load(&c->in[0], 0).u;
    const int64_t counter = (int64_t)interp_load(&c->in[0], 1).u;
    for (int64_t i = 0; i < ir_array_count(c->out); i++) {
        interp_store(c->out, i, (interp_cell){.u = ir_philox_word(seed, counter, (uint64_t)i)});
    }
}

#define ROW_SOURCE(name) [OP_##name] = run_##name,
#define ROW_MAP(name)
#define ROW_MOVE(name)
#define ROW_VIEW(name)
#define ROW_REDUCE(name)
#define ROW_CONTRACT(name)
#define ROW_NEST(name)
#define ROW_TUPLE(name)
static void (*const source_rules[OP_COUNT])(const interp *) = {
#define OP(name, class, ...) ROW_##class(name)
#include "ir/ops.def"
};

void interp_run_source(const interp *c)
{
    source_rules[c->node->op](c);
}
