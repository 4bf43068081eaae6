/* interp.c: the reference interpreter: runs a graph node by node, each by the function of its
 * class. Slow and plain: what it computes is by definition what a graph means. */
#include "ir/interp.h"

#include <math.h>
#include <string.h>

/* ---- arrays ------------------------------------------------------------------------------- */

interp_cell interp_load(const ir_array *x, int64_t at)
{
    switch (x->type.dtype) {
    case DTYPE_i1:
        return (interp_cell){.u = ((const uint8_t *)x->data)[at] != 0};
    case DTYPE_i8:
        return interp_int(((const int8_t *)x->data)[at]);
    case DTYPE_i16:
        return interp_int(((const int16_t *)x->data)[at]);
    case DTYPE_i32:
        return interp_int(((const int32_t *)x->data)[at]);
    case DTYPE_i64:
        return interp_int(((const int64_t *)x->data)[at]);
    case DTYPE_u8:
        return (interp_cell){.u = ((const uint8_t *)x->data)[at]};
    case DTYPE_u16:
        return (interp_cell){.u = ((const uint16_t *)x->data)[at]};
    case DTYPE_u32:
        return (interp_cell){.u = ((const uint32_t *)x->data)[at]};
    case DTYPE_u64:
    case DTYPE_str:
    case DTYPE_row:
        return (interp_cell){.u = ((const uint64_t *)x->data)[at]};
    case DTYPE_f16:
        return interp_float((double)ir_f16_to_f32(((const uint16_t *)x->data)[at]));
    case DTYPE_bf16:
        return interp_float((double)ir_bf16_to_f32(((const uint16_t *)x->data)[at]));
    case DTYPE_f32:
        return interp_float((double)((const float *)x->data)[at]);
    case DTYPE_f64:
        return interp_float(((const double *)x->data)[at]);
    case DTYPE_COUNT:
        break;
    }
    bug("an array without a dtype");
}

void interp_store(ir_array *x, int64_t at, interp_cell value)
{
    switch (x->type.dtype) {
    case DTYPE_i1:
        ((uint8_t *)x->data)[at] = value.u != 0;
        return;
    case DTYPE_i8:
    case DTYPE_u8:
        ((uint8_t *)x->data)[at] = (uint8_t)value.u;
        return;
    case DTYPE_i16:
    case DTYPE_u16:
        ((uint16_t *)x->data)[at] = (uint16_t)value.u;
        return;
    case DTYPE_i32:
    case DTYPE_u32:
        ((uint32_t *)x->data)[at] = (uint32_t)value.u;
        return;
    case DTYPE_i64:
    case DTYPE_u64:
    case DTYPE_str:
    case DTYPE_row:
        ((uint64_t *)x->data)[at] = value.u;
        return;
    case DTYPE_f16:
        ((uint16_t *)x->data)[at] = ir_f32_to_f16((float)value.f);
        return;
    case DTYPE_bf16:
        ((uint16_t *)x->data)[at] = ir_f32_to_bf16((float)value.f);
        return;
    case DTYPE_f32:
        ((float *)x->data)[at] = (float)value.f;
        return;
    case DTYPE_f64:
        ((double *)x->data)[at] = value.f;
        return;
    case DTYPE_COUNT:
        break;
    }
    bug("an array without a dtype");
}

/* The whole number next to f towards zero, clamped to `bits` bits. */
static interp_cell clamp_signed(double f, int bits)
{
    const int64_t high = (int64_t)(UINT64_MAX >> (65 - bits));
    if (isnan(f)) return interp_int(0);
    if (f >= ldexp(1.0, bits - 1)) return interp_int(high);
    if (f <= -ldexp(1.0, bits - 1)) return interp_int(-high - 1);
    return interp_int((int64_t)f);
}

static interp_cell clamp_unsigned(double f, int bits)
{
    if (isnan(f) || f <= 0) return interp_int(0);
    if (f >= ldexp(1.0, bits)) return (interp_cell){.u = UINT64_MAX >> (64 - bits)};
    return (interp_cell){.u = (uint64_t)f};
}

interp_cell interp_convert(interp_cell value, ir_dtype from, ir_dtype to)
{
    const bool is_signed = ir_dtype_class_of(from) == DTYPE_SIGNED;
    const int bits = (int)ir_dtype_size(to) * 8;
    switch (ir_dtype_class_of(to)) {
    case DTYPE_BOOL:
        return interp_int(ir_dtype_is_float(from) ? value.f != 0 : value.u != 0);
    case DTYPE_SIGNED:
        return ir_dtype_is_float(from) ? clamp_signed(value.f, bits) : value;
    case DTYPE_UNSIGNED:
        return ir_dtype_is_float(from) ? clamp_unsigned(value.f, bits) : value;
    case DTYPE_TEXT:
        return value;
    case DTYPE_FLOAT:
        if (ir_dtype_is_float(from)) return value;
        if (to == DTYPE_f64)
            return interp_float(is_signed ? (double)(int64_t)value.u : (double)value.u);
        return interp_float((double)(is_signed ? (float)(int64_t)value.u : (float)value.u));
    }
    bug("no such class of dtype");
}

double ir_array_get(const ir_array *x, int64_t index)
{
    return interp_convert(interp_load(x, index), x->type.dtype, DTYPE_f64).f;
}

void ir_array_set(ir_array *x, int64_t index, double value)
{
    interp_store(x, index, interp_convert(interp_float(value), DTYPE_f64, x->type.dtype));
}

int64_t ir_array_count(const ir_array *x)
{
    return ir_type_elements_at(&x->type, 0);
}

ir_type interp_resolve(arena *a, const ir_type *t, const int64_t *unit)
{
    ir_type r = *t;
    for (int i = 0; i < r.rank; i++) {
        if (r.dim[i].batch) r.dim[i] = ir_fixed(r.dim[i].count * unit[r.dim[i].batch]);
    }
    if (r.rank >= 0) return r;
    ir_type *element = arena_array(a, ir_type, (size_t)r.element_count);
    for (int i = 0; i < r.element_count; i++) {
        element[i] = interp_resolve(a, &t->element[i], unit);
    }
    r.element = element;
    return r;
}

ir_array interp_array_new(arena *a, const ir_type *t)
{
    ir_array x = {.type = *t};
    if (t->rank >= 0) {
        x.data =
            arena_alloc_many(a, (size_t)ir_type_elements_at(t, 0), ir_dtype_size(t->dtype));
        return x;
    }
    ir_array *element = arena_array(a, ir_array, (size_t)t->element_count);
    for (int i = 0; i < t->element_count; i++) {
        element[i] = interp_array_new(a, &t->element[i]);
    }
    x.data = element;
    return x;
}

bool interp_next(const ir_type *t, int64_t *index)
{
    for (int i = t->rank - 1; i >= 0; i--) {
        if (++index[i] < t->dim[i].count) return true;
        index[i] = 0;
    }
    return false;
}

bool interp_has_elements(const ir_type *t)
{
    return ir_type_elements_at(t, 0) > 0;
}

int64_t interp_offset(const ir_type *t, const int64_t *index)
{
    int64_t offset = 0;
    for (int i = 0; i < t->rank; i++) {
        offset = offset * t->dim[i].count + index[i];
    }
    return offset;
}

void interp_attr_fill(const ir_node *node, ir_attr_name name, int count, int64_t otherwise,
                      int64_t *out_item)
{
    int have = 0;
    const int64_t *item = ir_attr_ints(node, name, &have);
    bug_if(item && have != count, "%s: %s has %d items, not %d", ir_op_name(node->op),
           ir_attr_name_text(name), have, count);
    for (int i = 0; i < count; i++) {
        out_item[i] = item ? item[i] : otherwise;
    }
}

/* ---- graphs ------------------------------------------------------------------------------- */

static void run_get(const interp *c)
{
    const ir_array *element = c->in[0].data;
    *c->out = element[ir_attr_int(c->node, ATTR_index, 0)];
}

static void run_view(const interp *c)
{
    c->out->data = c->in[0].data;
}

static void (*const class_rules[])(const interp *) = {
    [CLASS_MAP] = interp_run_map,       [CLASS_SOURCE] = interp_run_source,
    [CLASS_MOVE] = interp_run_move,     [CLASS_VIEW] = run_view,
    [CLASS_REDUCE] = interp_run_reduce, [CLASS_CONTRACT] = interp_run_contract,
    [CLASS_NEST] = interp_run_nest,     [CLASS_TUPLE] = run_get,
};

static ir_array run_node(const ir_graph *g, ir_value v, arena *a, const int64_t *unit, const ir_array *in)
{
    const ir_node *node = ir_node_of(g, v);
    const ir_class class = ir_op_class(node->op);
    const ir_type type = interp_resolve(a, &node->type, unit);
    ir_array out = {.type = type};
    if (class != CLASS_VIEW && class != CLASS_TUPLE) out = interp_array_new(a, &type);
    class_rules[class](
        &(interp){.graph = g, .node = node, .arena = a, .unit = unit, .in = in, .out = &out});
    return out;
}

enum { UNITS = UNIT_values + IR_MAX_RAGGED };

ir_array ir_interpret_node(const ir_graph *g, ir_value v, arena *a, int64_t n, const ir_array *in)
{
    const int64_t unit[UNITS] = {1, n};
    return run_node(g, v, a, unit, in);
}

static ir_array copy_array(arena *a, const ir_type *type, const int64_t *unit, const ir_array *from)
{
    ir_array x = {.type = interp_resolve(a, type, unit)};
    const size_t bytes = (size_t)ir_type_elements_at(&x.type, 0) * ir_dtype_size(x.type.dtype);
    bug_if(bytes > 0 && !from->data, "an input of the interpreter has no data");
    x.data = arena_alloc(a, bytes);
    if (bytes > 0) memcpy(x.data, from->data, bytes);
    return x;
}

void interp_run_graph(const ir_graph *g, arena *a, const int64_t *unit, const ir_array *ports, ir_array *variables,
                      ir_array *out_outputs)
{
    const bool *live = ir_graph_live(g, a);
    ir_array *value = arena_array(a, ir_array, g->count);
    for (ir_value v = 0; v < (ir_value)g->count; v++) {
        const ir_node *node = ir_node_of(g, v);
        if (!live[v]) continue;
        if (node->op == OP_parameter || node->op == OP_variable) {
            const ir_array *from = node->op == OP_parameter ? ports : variables;
            bug_if(!from, "a body reads a variable");
            value[v] = copy_array(a, &node->type, unit, &from[ir_attr_int(node, ATTR_index, 0)]);
            continue;
        }
        ir_array *in = arena_array(a, ir_array, (size_t)node->in_count);
        for (int i = 0; i < node->in_count; i++) {
            in[i] = value[node->in[i]];
        }
        value[v] = run_node(g, v, a, unit, in);
    }
    for (size_t i = 0; i < g->output_count; i++) {
        out_outputs[i] = value[g->output[i].value];
    }
    for (size_t i = 0; i < g->update_count; i++) {
        const ir_array *from = &value[g->update[i].value];
        const size_t bytes = (size_t)ir_array_count(from) * ir_dtype_size(from->type.dtype);
        if (bytes > 0) memcpy(variables[g->update[i].variable].data, from->data, bytes);
    }
}

void ir_interpret(const ir_graph *g, arena *a, int64_t n, const ir_array *ports, ir_array *variables,
                  ir_array *out_outputs)
{
    int64_t unit[UNITS] = {1, n};
    for (size_t v = 0; v < g->count; v++) {
        const ir_node *node = &g->node[v];
        if (node->op != OP_parameter || node->type.rank == 0 || node->type.dim[0].batch < UNIT_values) continue;
        unit[node->type.dim[0].batch] = ports[ir_attr_int(node, ATTR_index, 0)].type.dim[0].count;
    }
    interp_run_graph(g, a, unit, ports, variables, out_outputs);
}
