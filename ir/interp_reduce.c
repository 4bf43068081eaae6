/* interp_reduce.c: reduce and arg_reduce, and the combining functions that other loops share.
 * Floats are combined in double and rounded once, at the end. */
#include "ir/interp.h"

#include <math.h>
#include <string.h>

bool interp_less(ir_dtype dtype, interp_cell a, interp_cell b)
{
    switch (ir_dtype_class_of(dtype)) {
    case DTYPE_FLOAT:
        return a.f < b.f;
    case DTYPE_SIGNED:
        return (int64_t)a.u < (int64_t)b.u;
    case DTYPE_BOOL:
    case DTYPE_TEXT:
    case DTYPE_UNSIGNED:
        return a.u < b.u;
    }
    bug("no such class of dtype");
}

static bool is_nan(ir_dtype dtype, interp_cell x)
{
    return ir_dtype_is_float(dtype) && isnan(x.f);
}

static interp_cell combine_add(ir_dtype dtype, interp_cell a, interp_cell b)
{
    if (ir_dtype_is_float(dtype)) return interp_float(a.f + b.f);
    return (interp_cell){.u = a.u + b.u};
}

static interp_cell combine_multiply(ir_dtype dtype, interp_cell a, interp_cell b)
{
    if (ir_dtype_is_float(dtype)) return interp_float(a.f * b.f);
    return (interp_cell){.u = a.u * b.u};
}

/* NaN wins; +0 is above -0. */
static interp_cell combine_maximum(ir_dtype dtype, interp_cell a, interp_cell b)
{
    if (is_nan(dtype, a) || is_nan(dtype, b)) return is_nan(dtype, a) ? a : b;
    if (ir_dtype_is_float(dtype) && a.f == b.f) return signbit(a.f) ? b : a;
    return interp_less(dtype, a, b) ? b : a;
}

static interp_cell combine_minimum(ir_dtype dtype, interp_cell a, interp_cell b)
{
    if (is_nan(dtype, a) || is_nan(dtype, b)) return is_nan(dtype, a) ? a : b;
    if (ir_dtype_is_float(dtype) && a.f == b.f) return signbit(a.f) ? a : b;
    return interp_less(dtype, b, a) ? b : a;
}

static interp_cell combine_and(ir_dtype dtype, interp_cell a, interp_cell b)
{
    (void)dtype;
    return (interp_cell){.u = a.u & b.u};
}

static interp_cell combine_or(ir_dtype dtype, interp_cell a, interp_cell b)
{
    (void)dtype;
    return (interp_cell){.u = a.u | b.u};
}

/* The smallest or largest value of the dtype. */
static interp_cell extreme(ir_dtype dtype, bool largest)
{
    const int bits = (int)ir_dtype_size(dtype) * 8;
    const uint64_t high = UINT64_MAX >> (65 - bits);
    switch (ir_dtype_class_of(dtype)) {
    case DTYPE_FLOAT:
        return interp_float(largest ? INFINITY : -INFINITY);
    case DTYPE_SIGNED:
        return (interp_cell){.u = largest ? high : ~high};
    case DTYPE_TEXT:
    case DTYPE_UNSIGNED:
        return (interp_cell){.u = largest ? UINT64_MAX >> (64 - bits) : 0};
    case DTYPE_BOOL:
        return interp_int(largest);
    }
    bug("no such class of dtype");
}

static interp_cell identity_add(ir_dtype dtype)
{
    return ir_dtype_is_float(dtype) ? interp_float(0) : interp_int(0);
}

static interp_cell identity_multiply(ir_dtype dtype)
{
    return ir_dtype_is_float(dtype) ? interp_float(1) : interp_int(1);
}

static interp_cell identity_maximum(ir_dtype dtype)
{
    return extreme(dtype, false);
}

static interp_cell identity_minimum(ir_dtype dtype)
{
    return extreme(dtype, true);
}

static interp_cell identity_and(ir_dtype dtype)
{
    (void)dtype;
    return interp_int(-1);
}

static const struct {
    const char *name;
    interp_combine combine;
    interp_cell (*identity)(ir_dtype);
} kinds[] = {
    {"add", combine_add, identity_add},
    {"multiply", combine_multiply, identity_multiply},
    {"maximum", combine_maximum, identity_maximum},
    {"minimum", combine_minimum, identity_minimum},
    {"and", combine_and, identity_and},
    {"or", combine_or, identity_add},
};

static size_t find_kind(const char *name)
{
    for (size_t i = 0; i < countof(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) return i;
    }
    bug("no reduction is called \"%s\"", name);
}

interp_combine interp_combine_get(const char *kind)
{
    return kinds[find_kind(kind)].combine;
}

interp_cell interp_identity(const char *kind, ir_dtype dtype)
{
    return kinds[find_kind(kind)].identity(dtype);
}

/* ---- the operations ----------------------------------------------------------------------- */

/* The dims of `x` as two types: those reduced and those kept, and where each lies in x. */
typedef struct reduce_dims {
    ir_type reduced, kept;
    int reduced_dim[IR_MAX_RANK], kept_dim[IR_MAX_RANK];
} reduce_dims;

static reduce_dims divide_dims(const ir_type *x, const int64_t *dimensions, int count)
{
    reduce_dims d = {0};
    for (int i = 0; i < x->rank; i++) {
        bool reduced = false;
        for (int k = 0; k < count; k++) {
            reduced = reduced || dimensions[k] == i;
        }
        ir_type *t = reduced ? &d.reduced : &d.kept;
        (reduced ? d.reduced_dim : d.kept_dim)[t->rank] = i;
        t->dim[t->rank++] = x->dim[i];
    }
    return d;
}

static void index_of(const ir_type *t, int64_t offset, int64_t *out_index)
{
    for (int i = t->rank - 1; i >= 0; i--) {
        out_index[i] = offset % t->dim[i].count;
        offset /= t->dim[i].count;
    }
}

/* Offset in x of the element that is number `kept` of the kept dims and `reduced` of the
 * reduced ones. */
static int64_t element_of(const ir_type *x, const reduce_dims *d, int64_t kept, int64_t reduced)
{
    int64_t index[IR_MAX_RANK], part[IR_MAX_RANK];
    index_of(&d->kept, kept, part);
    for (int i = 0; i < d->kept.rank; i++) {
        index[d->kept_dim[i]] = part[i];
    }
    index_of(&d->reduced, reduced, part);
    for (int i = 0; i < d->reduced.rank; i++) {
        index[d->reduced_dim[i]] = part[i];
    }
    return interp_offset(x, index);
}

/* With splits, part p of the result holds the elements p * R / P to (p + 1) * R / P of each
 * reduced range. */
static void reduce_reduce(const interp *c)
{
    const ir_array *x = &c->in[0];
    const char *kind = ir_attr_text(c->node, ATTR_kind);
    const interp_combine combine = interp_combine_get(kind);
    const int64_t parts = ir_attr_int(c->node, ATTR_splits, 1);
    int count = 0;
    const int64_t *dimensions = ir_attr_ints(c->node, ATTR_dimensions, &count);
    const reduce_dims d = divide_dims(&x->type, dimensions, count);
    const int64_t range = ir_type_elements_at(&d.reduced, 0),
                  results = ir_type_elements_at(&d.kept, 0);
    for (int64_t part = 0; part < parts; part++) {
        for (int64_t r = 0; r < results; r++) {
            interp_cell sum = interp_identity(kind, x->type.dtype);
            for (int64_t i = part * range / parts; i < (part + 1) * range / parts; i++) {
                sum =
                    combine(x->type.dtype, sum, interp_load(x, element_of(&x->type, &d, r, i)));
            }
            interp_store(c->out, part * results + r, sum);
        }
    }
}

/* The first of the best; a NaN is better than any number. */
static void reduce_arg_reduce(const interp *c)
{
    const ir_array *x = &c->in[0];
    const ir_dtype dtype = x->type.dtype;
    const bool largest = strcmp(ir_attr_text(c->node, ATTR_kind), "maximum") == 0;
    const int64_t dimension = ir_attr_int(c->node, ATTR_dimension, 0);
    const reduce_dims d = divide_dims(&x->type, &dimension, 1);
    for (int64_t r = 0; r < ir_array_count(c->out); r++) {
        int64_t best = 0;
        for (int64_t i = 1; i < d.reduced.dim[0].count; i++) {
            const interp_cell held = interp_load(x, element_of(&x->type, &d, r, best));
            const interp_cell next = interp_load(x, element_of(&x->type, &d, r, i));
            const bool better =
                largest ? interp_less(dtype, held, next) : interp_less(dtype, next, held);
            if (!is_nan(dtype, held) && (better || is_nan(dtype, next))) best = i;
        }
        interp_store(c->out, r, interp_int(best));
    }
}

#define ROW_SOURCE(name)
#define ROW_MAP(name)
#define ROW_MOVE(name)
#define ROW_VIEW(name)
#define ROW_REDUCE(name) [OP_##name] = reduce_##name,
#define ROW_CONTRACT(name)
#define ROW_NEST(name)
#define ROW_TUPLE(name)
static void (*const reduce_rules[OP_COUNT])(const interp *) = {
#define OP(name, class, ...) ROW_##class(name)
#include "ir/ops.def"
};

void interp_run_reduce(const interp *c)
{
    reduce_rules[c->node->op](c);
}
