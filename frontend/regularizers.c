/* regularizers.c: penalties on weights and activities. */
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

static ir_value penalize(fe_lower *l, ir_value x, ir_op op, double factor)
{
    int64_t dims[IR_MAX_RANK];
    const int rank = fe_type(l, x).rank;
    for (int d = 0; d < rank; d++) dims[d] = d;
    const ir_value size = op == OP_abs ? ir_build_unary(l->g, OP_abs, x) : fe_square(l, x);
    const ir_value sum = rank == 0 ? size : ir_build_reduce(l->g, "add", size, rank, dims, false);
    return ir_build_binary_scalar(l->g, OP_multiply, sum, factor);
}

static ir_value build_l1(fe_lower *l, const ir_record *r, ir_value w)
{
    return penalize(l, w, OP_abs, ir_record_number(r, "l1", 0.01));
}

static ir_value build_l2(fe_lower *l, const ir_record *r, ir_value w)
{
    return penalize(l, w, OP_multiply, ir_record_number(r, "l2", 0.01));
}

static ir_value build_l1l2(fe_lower *l, const ir_record *r, ir_value w)
{
    const double l1 = ir_record_number(r, "l1", 0), l2 = ir_record_number(r, "l2", 0);
    if (l1 == 0 && l2 == 0) return ir_build_scalar(l->g, fe_type(l, w).dtype, 0);
    if (l2 == 0) return penalize(l, w, OP_abs, l1);
    if (l1 == 0) return penalize(l, w, OP_multiply, l2);
    return ir_build_binary(l->g, OP_add, penalize(l, w, OP_abs, l1), penalize(l, w, OP_multiply, l2));
}

/* The mean size of the cosines between different rows (or columns). */
static ir_value build_orthogonal(fe_lower *l, const ir_record *r, ir_value w)
{
    ir_graph *g = l->g;
    const ir_type t = fe_type(l, w);
    const bool rows = strcmp(ir_record_text(r, "mode", "rows"), "rows") == 0;
    const int64_t along = rows ? 1 : 0;
    if (t.rank != 2 || t.dim[0].batch || t.dim[1].batch) {
        fe_layer_error(l->fe, l->layer, "expected a matrix for OrthogonalRegularizer, found %s",
                       fe_shape_show(l->fe, &t));
        return IR_NONE;
    }
    const ir_value unit = fe_normalize_build(l, w, 1, &along, 1e-7);
    const ir_dot dot = {.contracting_count = 1, .lhs_contracting = {along}, .rhs_contracting = {along}};
    const ir_value product = ir_build_dot_general(g, unit, unit, &dot);
    const ir_type square = ir_type_with_dtype(fe_type(l, product), DTYPE_i32);
    const ir_value diagonal =
        ir_build_compare(g, "EQ", ir_build_iota(g, square, 0), ir_build_iota(g, square, 1));
    const ir_value others = ir_build_select(g, diagonal, ir_build_scalar(g, t.dtype, 0), product);
    const double size = (double)square.dim[0].count, pairs = size * (size - 1) / 2;
    return penalize(l, others, OP_abs, ir_record_number(r, "factor", 0.01) * 0.5 / pairs);
}

static const struct regularizer {
    const char *name;
    ir_value (*build)(fe_lower *l, const ir_record *r, ir_value w);
    const char *number, *other_number, *text; /* its fields, or "" */
} regularizers[] = {
    {"l1",                     build_l1,         "l1",     "",   ""},
    {"l2",                     build_l2,         "l2",     "",   ""},
    {"l1l2",                   build_l1l2,       "l1",     "l2", ""},
    {"l1_l2",                  build_l1l2,       "l1",     "l2", ""},
    {"orthogonal_regularizer", build_orthogonal, "factor", "",   "mode"},
};

static const struct regularizer *find_regularizer(const char *name)
{
    for (size_t i = 0; i < countof(regularizers); i++) {
        if (strcmp(regularizers[i].name, name) == 0) return &regularizers[i];
    }
    return NULL;
}

static bool check_field(fe *f, const struct regularizer *known, const ir_record *r, const ir_field *field,
                        const json_at *at)
{
    if (known->text[0] != '\0' && strcmp(field->key, known->text) == 0) {
        if (field->kind == FIELD_TEXT &&
            (strcmp(field->text, "rows") == 0 || strcmp(field->text, "columns") == 0))
            return true;
        return fe_error(f, at, "expected \"rows\" or \"columns\" as \"%s\" of %s", field->key, r->name);
    }
    if (strcmp(field->key, known->number) != 0 && strcmp(field->key, known->other_number) != 0) {
        return fe_error(f, at, "expected fields of regularizer %s, found \"%s\"", r->name, field->key);
    }
    if (field->kind == FIELD_NUMBER && field->number >= 0 && isfinite(field->number)) return true;
    return fe_error(f, at, "expected a number that is not negative as \"%s\" of %s", field->key, r->name);
}

bool fe_regularizer_check(fe *f, const ir_record *r, const json_at *at)
{
    const struct regularizer *known = find_regularizer(r->name);
    if (known == NULL)
        return fe_error(
            f, at, "expected a regularizer of Keras (l1, l2, l1l2, orthogonal_regularizer), found \"%s\"",
            r->name);
    for (size_t i = 0; i < r->count; i++) {
        if (!check_field(f, known, r, &r->field[i], at)) return false;
    }
    return true;
}

ir_value fe_regularizer_build(fe_lower *l, const ir_record *r, ir_value w)
{
    const struct regularizer *known = find_regularizer(r->name);
    bug_if(known == NULL, "unchecked regularizer \"%s\"", r->name);
    return known->build(l, r, w);
}

const char *fe_regularizer_at(size_t i) { return i < countof(regularizers) ? regularizers[i].name : NULL; }
