/* shape.c: ir_infer, what the rules share, and the rules of operations that keep their operand's
 * shape. */
#include "ir/shape.h"

#include <stdarg.h>
#include <string.h>

/* Attribute numbers and dims beyond these are nonsense, and within them sums of a few cannot
 * overflow. */
static const int64_t largest_number = (int64_t)1 << 46;

typedef bool shape_rule(shape_call *c);

static shape_rule *const rules[OP_COUNT] = {
#define OP(name, class, in, shape, ...) [OP_##name] = shape_rule_##shape,
#include "ir/ops.def"
};

bool shape_problem(shape_call *c, const char *format, ...)
{
    text t = {0};
    va_list args;
    va_start(args, format);
    text_add_args(&t, format, args);
    va_end(args);
    c->problem = arena_strdup(c->g->arena, text_get(&t));
    text_done(&t);
    return false;
}

const char *shape_show(const shape_call *c, const ir_type *t)
{
    text shown = {0};
    ir_type_print(t, &shown);
    const char *copy = arena_strdup(c->g->arena, text_get(&shown));
    text_done(&shown);
    return copy;
}

const char *shape_show_dim(const shape_call *c, ir_dim d)
{
    const char *unit = d.batch >= UNIT_values ? arena_printf(c->g->arena, "V%d", d.batch - UNIT_values) : "N";
    if (d.batch && d.count == 1) return unit;
    return arena_printf(c->g->arena, d.batch ? "%lld*%s" : "%lld", (long long)d.count, unit);
}

bool shape_need_given(shape_call *c)
{
    return c->given || shape_problem(c, "expected a stated type");
}

bool shape_need_same_dtype(shape_call *c, int i, int k)
{
    ir_dtype a = shape_in(c, i)->dtype, b = shape_in(c, k)->dtype;
    if (a == b) return true;
    return shape_problem(c, "expected operands of one element type, found %s and %s",
                         ir_dtype_name(a), ir_dtype_name(b));
}

bool shape_need_integer(shape_call *c, int i, bool scalar)
{
    const ir_type *t = shape_in(c, i);
    ir_dtype_class k = ir_dtype_class_of(t->dtype);
    bool whole = k == DTYPE_SIGNED || k == DTYPE_UNSIGNED;
    if (whole && (!scalar || t->rank == 0)) return true;
    return shape_problem(c, "expected %s as operand %d, found %s",
                         scalar ? "an integer scalar" : "integers", i, shape_show(c, t));
}

bool shape_need_range(shape_call *c, const char *what, int64_t i, int64_t low, int64_t high)
{
    if (i >= low && i < high) return true;
    if (low >= high)
        return shape_problem(c, "%s: none is possible here, found %lld", what, (long long)i);
    return shape_problem(c, "%s: expected %lld to %lld, found %lld", what, (long long)low,
                         (long long)high - 1, (long long)i);
}

bool shape_need_word(shape_call *c, ir_attr_name name, const char *words)
{
    const char *word = ir_attr_text(&c->n, name);
    size_t length = strlen(word);
    for (const char *p = words; *p;) {
        size_t n = strcspn(p, " ");
        if (n == length && memcmp(p, word, n) == 0) return true;
        p += n;
        p += strspn(p, " ");
    }
    return shape_problem(c, "%s: expected one of %s, found \"%s\"", ir_attr_name_text(name), words,
                         word);
}

bool shape_read_ints(shape_call *c, ir_attr_name name, int count, const int64_t **out_items)
{
    int found;
    const int64_t *items = ir_attr_ints(&c->n, name, &found);
    if (found != count) {
        return shape_problem(c, "%s: expected %d numbers, found %d", ir_attr_name_text(name), count,
                             found);
    }
    *out_items = items;
    return true;
}

bool shape_read_dims(shape_call *c, ir_attr_name name, int rank, enum shape_order order,
                     unsigned *out_set)
{
    int count;
    const int64_t *d = ir_attr_ints(&c->n, name, &count);
    const char *what = ir_attr_name_text(name);
    unsigned set = 0;
    for (int i = 0; i < count; i++) {
        if (!shape_need_range(c, what, d[i], 0, rank)) return false;
        if (set >> d[i] & 1)
            return shape_problem(c, "%s: dimension %d occurs twice", what, (int)d[i]);
        if (order == SHAPE_ASCENDING && i > 0 && d[i] < d[i - 1]) {
            return shape_problem(c, "%s: expected ascending dimensions", what);
        }
        set |= 1u << d[i];
    }
    *out_set = set;
    return true;
}

bool shape_push_dim(shape_call *c, ir_dim d)
{
    if (c->n.type.rank == IR_MAX_RANK) {
        return shape_problem(c, "the result has more than %d dimensions", (int)IR_MAX_RANK);
    }
    c->n.type.dim[c->n.type.rank++] = d;
    return true;
}

bool shape_push_splits(shape_call *c)
{
    if (!ir_attr_find(&c->n, ATTR_splits)) return true;
    int64_t splits = ir_attr_int(&c->n, ATTR_splits, 0);
    return shape_need_range(c, "splits", splits, 1, largest_number) &&
           shape_push_dim(c, ir_fixed(splits));
}

/* ---- ir_infer ------------------------------------------------------------------------------- */

static bool check_operands(shape_call *c)
{
    int arity = ir_op_arity(c->n.op);
    if (arity >= 0 && c->n.in_count != arity) {
        return shape_problem(c, "expected %d operands, found %d", arity, c->n.in_count);
    }
    for (int i = 0; i < c->n.in_count; i++) {
        if (c->n.in[i] < 0 || (size_t)c->n.in[i] >= c->g->count) {
            return shape_problem(c, "operand %d is no value: %d", i, (int)c->n.in[i]);
        }
        if (shape_in(c, i)->rank < 0 && c->n.op != OP_get) {
            return shape_problem(c, "operand %d is a tuple; only get takes one", i);
        }
    }
    return true;
}

static bool check_numbers(shape_call *c, const ir_attr *a)
{
    ir_attr_kind kind = ir_attr_kind_of(a->name);
    int count = kind == ATTR_INTS ? a->ints.count : kind == ATTR_INT ? 1 : 0;
    const int64_t *item = kind == ATTR_INTS ? a->ints.item : &a->i;
    for (int i = 0; i < count; i++) {
        if (item[i] < -largest_number || item[i] > largest_number) {
            return shape_problem(c, "%s: %lld is out of range", ir_attr_name_text(a->name),
                                 (long long)item[i]);
        }
    }
    return true;
}

static bool check_attrs(shape_call *c)
{
    bool seen[ATTR_COUNT] = {false};
    const char *op = ir_op_name(c->n.op);
    for (int i = 0; i < c->n.attr_count; i++) {
        const ir_attr *a = &c->n.attr[i];
        if ((int)a->name < 0 || a->name >= ATTR_COUNT)
            return shape_problem(c, "an attribute without a name");
        const char *name = ir_attr_name_text(a->name);
        if (!ir_op_has_attr(c->n.op, (int)a->name, NULL)) {
            return shape_problem(c, "%s has no attribute %s", op, name);
        }
        if (seen[a->name]) return shape_problem(c, "attribute %s occurs twice", name);
        seen[a->name] = true;
        if (!check_numbers(c, a)) return false;
    }
    for (int i = 0; i < ATTR_COUNT; i++) {
        bool required;
        if (!seen[i] && ir_op_has_attr(c->n.op, i, &required) && required) {
            return shape_problem(c, "attribute %s is missing", ir_attr_name_text((ir_attr_name)i));
        }
    }
    return true;
}

static bool check_size(shape_call *c, const ir_type *t)
{
    for (int i = 0; i < t->element_count; i++) {
        if (t->element[i].rank < 0) return shape_problem(c, "a tuple in a tuple");
        if (!check_size(c, &t->element[i])) return false;
    }
    int batches = 0;
    for (int i = 0; i < t->rank; i++) {
        batches += t->dim[i].batch != 0;
        if (t->dim[i].count < 0 || t->dim[i].count > largest_number) {
            return shape_problem(c, "%s has a dimension out of range", shape_show(c, t));
        }
    }
    if (batches > 1)
        return shape_problem(c, "%s has the batch size N as a factor twice", shape_show(c, t));
    ir_dim elements;
    if (t->rank >= 0 && (!ir_type_elements(t, &elements) || elements.count > largest_number)) {
        return shape_problem(c, "%s has too many elements", shape_show(c, t));
    }
    return true;
}

bool ir_infer(const ir_graph *g, ir_op op, int in_count, const ir_value *in, int attr_count,
              const ir_attr *attr, const ir_type *given, ir_type *out_type,
              const char **out_problem)
{
    shape_call c = {.g = g, .given = given};
    c.n =
        (ir_node){.op = op, .in_count = in_count, .in = in, .attr_count = attr_count, .attr = attr};
    bool ok = check_operands(&c) && check_attrs(&c) && (!given || check_size(&c, given)) &&
              rules[op](&c) && check_size(&c, &c.n.type);
    if (ok)
        *out_type = c.n.type;
    else
        *out_problem = c.problem;
    return ok;
}

/* ---- rules: stated types -------------------------------------------------------------------- */

static bool check_variable(shape_call *c)
{
    const ir_module *m = c->g->module;
    int64_t i = ir_attr_int(&c->n, ATTR_index, -1);
    if (!m) return shape_problem(c, "a body without a module cannot read variables");
    if (!shape_need_range(c, "index", i, 0, (int64_t)m->variable_count)) return false;
    if (ir_type_equal(&m->variable[i].type, c->given)) return true;
    return shape_problem(c, "variable @%s is %s, found %s", m->variable[i].name,
                         shape_show(c, &m->variable[i].type), shape_show(c, c->given));
}

static bool check_constant(shape_call *c)
{
    size_t size = ir_attr_find(&c->n, ATTR_data)->data.size, one = ir_dtype_size(c->given->dtype);
    ir_dim elements = ir_fixed(0);
    ir_type_elements(c->given, &elements);
    if (size == one) return true;
    if (elements.batch)
        return shape_problem(c, "only a splat may have the batch size in its shape");
    if (size == (uint64_t)elements.count * one) return true;
    return shape_problem(c, "expected %lld elements of data or one, found %zu bytes",
                         (long long)elements.count, size);
}

static bool check_convert(shape_call *c)
{
    const ir_type *x = shape_in(c, 0);
    if (!ir_type_same_shape(x, c->given)) {
        return shape_problem(c, "%s to %s changes the shape", shape_show(c, x),
                             shape_show(c, c->given));
    }
    if (c->n.op == OP_convert || ir_dtype_size(x->dtype) == ir_dtype_size(c->given->dtype))
        return true;
    return shape_problem(c, "%s and %s differ in size", ir_dtype_name(x->dtype),
                         ir_dtype_name(c->given->dtype));
}

static bool check_rng(shape_call *c)
{
    const ir_dim two = ir_fixed(2);
    const ir_type state = ir_type_make(DTYPE_i64, 1, &two);
    if (!ir_type_equal(shape_in(c, 0), &state)) {
        return shape_problem(c, "expected a state i64[2], found %s", shape_show(c, shape_in(c, 0)));
    }
    return c->given->dtype == DTYPE_u32 ||
           shape_problem(c, "gives u32, not %s", ir_dtype_name(c->given->dtype));
}

bool shape_rule_given(shape_call *c)
{
    if (!shape_need_given(c)) return false;
    if (c->given->rank < 0) return shape_problem(c, "cannot be a tuple");
    c->n.type = *c->given;
    switch (c->n.op) {
    case OP_parameter:
        return shape_need_range(c, "index", ir_attr_int(&c->n, ATTR_index, -1), 0, INT32_MAX);
    case OP_variable: return check_variable(c);
    case OP_constant: return check_constant(c);
    case OP_iota:
        return shape_need_range(c, "dimension", ir_attr_int(&c->n, ATTR_dimension, -1), 0,
                                c->given->rank);
    case OP_rng_philox: return check_rng(c);
    default: return check_convert(c);
    }
}

/* ---- rules: one shape ----------------------------------------------------------------------- */

static bool check_one_type(shape_call *c, int from)
{
    const ir_type *a = shape_in(c, from);
    for (int i = from + 1; i < c->n.in_count; i++) {
        if (!ir_type_equal(a, shape_in(c, i))) {
            return shape_problem(c, "expected operands of one type, found %s and %s",
                                 shape_show(c, a), shape_show(c, shape_in(c, i)));
        }
    }
    return true;
}

static bool check_element_type(shape_call *c)
{
    ir_dtype t = shape_in(c, 0)->dtype;
    switch (c->n.op) {
    case OP_not:
    case OP_and:
    case OP_or:
    case OP_xor:
        return !ir_dtype_is_float(t) ||
               shape_problem(c, "expected integers or i1, found %s", ir_dtype_name(t));
    case OP_shift_left:
    case OP_shift_right_logical:
    case OP_shift_right_arithmetic: return shape_need_integer(c, 0, false);
    default: break;
    }
    bool floats = ir_op_class(c->n.op) == CLASS_MAP && ir_op_precision(c->n.op) == PRECISION_WIDEN;
    if (!floats || c->n.op == OP_power || ir_dtype_is_float(t)) return true;
    return shape_problem(c, "expected floating point, found %s", ir_dtype_name(t));
}

bool shape_rule_same(shape_call *c)
{
    if (!check_one_type(c, 0) || !check_element_type(c)) return false;
    const ir_type *x = shape_in(c, 0);
    c->n.type = *x;
    unsigned set;
    if (c->n.op == OP_reverse)
        return shape_read_dims(c, ATTR_dimensions, x->rank, SHAPE_ANY_ORDER, &set);
    if (c->n.op != OP_cumulative) return true;
    return shape_need_word(c, ATTR_kind, "add multiply maximum minimum") &&
           shape_need_range(c, "dimension", ir_attr_int(&c->n, ATTR_dimension, -1), 0, x->rank);
}

bool shape_rule_predicate(shape_call *c)
{
    if (!check_one_type(c, 0)) return false;
    if (c->n.op == OP_compare && !shape_need_word(c, ATTR_direction, "EQ NE LT LE GT GE"))
        return false;
    c->n.type = ir_type_with_dtype(*shape_in(c, 0), DTYPE_i1);
    return true;
}

bool shape_rule_select(shape_call *c)
{
    const ir_type *condition = shape_in(c, 0), *x = shape_in(c, 1);
    if (!check_one_type(c, 1)) return false;
    if (condition->dtype != DTYPE_i1 || !ir_type_same_shape(condition, x)) {
        return shape_problem(c, "expected a condition i1 of the shape of %s, found %s",
                             shape_show(c, x), shape_show(c, condition));
    }
    c->n.type = *x;
    return true;
}

bool shape_rule_dimension_size(shape_call *c)
{
    c->n.type = ir_type_scalar(DTYPE_i64);
    int64_t d = ir_attr_int(&c->n, ATTR_dimension, -1);
    return shape_need_range(c, "dimension", d, 0, shape_in(c, 0)->rank);
}
