/* cases.c: what the tests of operations share: types from text, graphs and elements from cases.
 */
#include "ops/cases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const ops_list *const lists[] = {&ops_cases_map,      &ops_cases_move, &ops_cases_loop,
                                        &ops_cases_contract, &ops_cases_nest, &ops_cases_build,
                                        &ops_cases_scan,     &ops_cases_words, &ops_cases_call, &ops_cases_sparse,
                                        &ops_cases_pairs,    &ops_cases_attention, &ops_cases_ragged,
                                        &ops_cases_winograd, &ops_cases_sums};

size_t ops_case_count(void)
{
    size_t count = 0;
    for (size_t i = 0; i < countof(lists); i++) {
        count += lists[i]->count;
    }
    return count;
}

const ops_case *ops_case_at(size_t i)
{
    size_t list = 0;
    while (i >= lists[list]->count) {
        i -= lists[list++]->count;
    }
    return &lists[list]->item[i];
}

int64_t ops_case_rows(const ops_case *c) { return c->n > 0 ? c->n : 2; }

int ops_case_in_count(const ops_case *c)
{
    int count = 0;
    while (count < OPS_MAX_IN && c->in[count].type) {
        count++;
    }
    return count;
}

ir_type ops_type_read(const char *type, bool wide)
{
    char name[8] = "";
    const char *at = strchr(type, '[');
    ir_type t = {0};
    bug_if(!at || (size_t)(at - type) >= sizeof name, "no type: %s", type);
    memcpy(name, type, (size_t)(at - type));
    bug_if(!ir_dtype_find(name, &t.dtype), "no type: %s", type);
    if (wide && t.dtype == DTYPE_f32) t.dtype = DTYPE_f64;
    for (at++; *at && *at != ']'; at += *at == ',') {
        char *end = NULL;
        const bool plain = *at != 'N';
        int64_t count = plain ? strtoll(at, &end, 10) : 1;
        at = plain ? end : at;
        if (plain && *at == '*') at++;
        const bool batch = *at == 'N';
        at += batch;
        bug_if(*at != ',' && *at != ']', "no type: %s", type);
        t.dim[t.rank++] = batch ? ir_batch(count) : ir_fixed(count);
    }
    return t;
}

static ir_value add_operand(ir_graph *g, const char *name, const ir_type *type)
{
    if (type->rank > 0 && type->dim[0].batch)
        return ir_build_parameter(g, ir_module_add_port(g->module, (ir_port){.name = name, .type = *type}));
    const ir_variable v = {.name = name,
                           .path = name,
                           .type = *type,
                           .role = ROLE_weight,
                           .initializer = ir_record_new(g->arena, "zeros")};
    return ir_build_variable(g, ir_module_add_variable(g->module, v));
}

ir_value ops_case_build(ir_graph *g, const ops_case *c, bool wide, ir_value *out_in)
{
    const int count = ops_case_in_count(c);
    for (int i = 0; i < count; i++) {
        const ir_type type = ops_type_read(c->in[i].type, wide);
        out_in[i] = add_operand(g, arena_printf(g->arena, "%s_%d", c->name, i), &type);
    }
    if (c->build) return c->build(g, out_in);
    const ir_type given = c->given ? ops_type_read(c->given, wide) : ir_type_scalar(DTYPE_f32);
    ir_value in[OPS_MAX_IN];
    for (int i = 0; i < count; i++) {
        const bool widen = c->widen && ir_type_of(g, out_in[i])->dtype == DTYPE_bf16;
        in[i] = widen ? ir_build_convert(g, out_in[i], DTYPE_f32) : out_in[i];
    }
    const ir_value v = ir_build(g, c->op, count, in, c->attr_count, c->attrs, c->given ? &given : NULL);
    return ir_type_of(g, v)->rank < 0 ? ir_build_get(g, v, c->get) : v;
}

/* A number in [0, 1) that depends on nothing but the operation and its place. */
static double random_unit(const ops_case *c, int operand, int64_t i)
{
    uint64_t hash = (uint64_t)operand * 7919u + (uint64_t)i + 1;
    for (const char *p = ir_op_name(c->op); *p; p++) hash = hash * 31 + (unsigned char)*p;
    for (int round = 0; round < 3; round++) {
        hash ^= hash >> 31;
        hash *= 0x9e3779b97f4a7c15u;
    }
    return (double)(hash >> 11) * 0x1p-53;
}

ir_array ops_case_fill(const ops_case *c, int i, arena *a, int64_t n, bool wide, bool random)
{
    const ops_operand *o = &c->in[i];
    ir_array x = {.type = ops_type_read(o->type, wide)};
    for (int d = 0; d < x.type.rank; d++) {
        if (x.type.dim[d].batch) x.type.dim[d] = ir_fixed(x.type.dim[d].count * n);
    }
    const int64_t count = ir_array_count(&x);
    const bool whole = !ir_dtype_is_float(x.type.dtype);
    const bool known = o->value && count == o->count && (whole || !random);
    x.data = arena_alloc_many(a, (size_t)count + 1, ir_dtype_size(x.type.dtype));
    for (int64_t k = 0; k < count; k++) {
        const double u = random_unit(c, i, k);
        const double made = o->low + u * (o->high - o->low + whole);
        ir_array_set(&x, k, known ? o->value[k] : whole ? floor(made) : made);
    }
    return x;
}
