/* type.c: element types, dimensions and shapes. */
#include "ir/ir.h"

#include <string.h>

typedef struct dtype_row {
    const char *name, *keras;
    size_t size;
    ir_dtype_class dtype_class;
} dtype_row;

static const dtype_row dtype_rows[DTYPE_COUNT] = {
#define DTYPE(name, bytes, class, keras) [DTYPE_##name] = {#name, keras, bytes, DTYPE_##class},
#include "ir/dtypes.def"
};

const char *ir_dtype_name(ir_dtype t) { return dtype_rows[t].name; }
const char *ir_dtype_keras_name(ir_dtype t) { return dtype_rows[t].keras; }
size_t ir_dtype_size(ir_dtype t) { return dtype_rows[t].size; }
ir_dtype_class ir_dtype_class_of(ir_dtype t) { return dtype_rows[t].dtype_class; }

bool ir_dtype_find(const char *name, ir_dtype *out_dtype)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (strcmp(dtype_rows[i].name, name) == 0) {
            *out_dtype = (ir_dtype)i;
            return true;
        }
    }
    return false;
}

bool ir_dtype_find_keras(const char *name, ir_dtype *out_dtype)
{
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (strcmp(dtype_rows[i].keras, name) == 0) {
            *out_dtype = (ir_dtype)i;
            return true;
        }
    }
    return false;
}

ir_type ir_type_make(ir_dtype dtype, int rank, const ir_dim *dim)
{
    bug_if(rank < 0 || rank > IR_MAX_RANK, "a type of rank %d", rank);
    ir_type t = {.dtype = dtype, .rank = rank};
    for (int i = 0; i < rank; i++) t.dim[i] = dim[i];
    return t;
}

ir_type ir_type_scalar(ir_dtype dtype) { return (ir_type){.dtype = dtype}; }

ir_type ir_type_with_dtype(ir_type type, ir_dtype dtype)
{
    type.dtype = dtype;
    return type;
}

ir_type ir_type_tuple(arena *a, int count, const ir_type *element)
{
    ir_type t = {.rank = -1, .element_count = count};
    t.element = arena_copy(a, element, (size_t)count * sizeof *element);
    return t;
}

bool ir_type_same_shape(const ir_type *a, const ir_type *b)
{
    if (a->rank != b->rank || a->element_count != b->element_count) return false;
    for (int i = 0; i < a->rank; i++) {
        if (!ir_dim_equal(a->dim[i], b->dim[i])) return false;
    }
    for (int i = 0; i < a->element_count; i++) {
        if (!ir_type_same_shape(&a->element[i], &b->element[i])) return false;
    }
    return true;
}

bool ir_type_equal(const ir_type *a, const ir_type *b)
{
    if (!ir_type_same_shape(a, b)) return false;
    for (int i = 0; i < a->element_count; i++) {
        if (!ir_type_equal(&a->element[i], &b->element[i])) return false;
    }
    return a->rank < 0 || a->dtype == b->dtype;
}

bool ir_type_elements(const ir_type *t, ir_dim *out_elements)
{
    if (t->rank < 0) return false;
    ir_dim product = ir_fixed(1);
    for (int i = 0; i < t->rank; i++) {
        ir_dim d = t->dim[i];
        if (d.batch && product.batch) return false;
        if (d.count < 0 || (d.count > 0 && product.count > INT64_MAX / d.count)) return false;
        product.count *= d.count;
        product.batch |= d.batch;
    }
    *out_elements = product;
    return true;
}

int64_t ir_type_elements_at(const ir_type *t, int64_t n)
{
    int64_t product = 1;
    for (int i = 0; i < t->rank; i++) product *= t->dim[i].count * (t->dim[i].batch ? n : 1);
    return product;
}

static void print_tuple(const ir_type *t, text *to)
{
    text_add(to, "(");
    for (int i = 0; i < t->element_count; i++) {
        if (i) text_add(to, ", ");
        ir_type_print(&t->element[i], to);
    }
    text_add(to, ")");
}

void ir_type_print(const ir_type *t, text *to)
{
    if (t->rank < 0) {
        print_tuple(t, to);
        return;
    }
    text_add(to, "%s[", ir_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++) {
        ir_dim d = t->dim[i];
        if (i) text_add(to, ",");
        if (!d.batch || d.count != 1) text_add(to, "%lld", (long long)d.count);
        if (d.batch && d.count != 1) text_add(to, "*");
        if (d.batch == UNIT_rows) text_add(to, "N");
        if (d.batch >= UNIT_values) text_add(to, "V%d", d.batch - UNIT_values);
    }
    text_add(to, "]");
}
