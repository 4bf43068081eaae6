/* ops.c: the table of keras.ops, and how a call's parameters are found. */
#include "frontend/ops.h"

#include <string.h>

static const fe_op ops[] = {
#define OP(class, family, parameters, op, word) {#class, op_build_##family, parameters, op, word},
#include "frontend/ops.def"
};

const fe_op *fe_op_find(const char *class_name)
{
    for (size_t i = 0; i < countof(ops); i++) {
        if (strcmp(ops[i].name, class_name) == 0) return &ops[i];
    }
    return NULL;
}

const char *fe_op_name(const fe_op *op) { return op->name; }
size_t fe_op_count(void) { return countof(ops); }
const fe_op *fe_op_at(size_t index) { return &ops[index]; }

bool fe_op_call(fe_lower *l, const fe_op *op, const fe_args *args, const fe_value *config, fe_value *out)
{
    op_use u = {.l = l, .op = op, .args = args, .config = config};
    return op->build(&u, out);
}

/* ---- dtypes
 * -------------------------------------------------------------------------------------------------------- */

ir_dtype op_real(ir_dtype dtype) { return ir_dtype_is_float(dtype) ? dtype : DTYPE_f32; }

static ir_dtype mix_integers(ir_dtype a, ir_dtype b)
{
    static const ir_dtype wider[] = {DTYPE_i16, DTYPE_i32, DTYPE_i64, DTYPE_f32};
    bool a_signed = ir_dtype_class_of(a) == DTYPE_SIGNED;
    if (a_signed == (ir_dtype_class_of(b) == DTYPE_SIGNED))
        return ir_dtype_size(a) >= ir_dtype_size(b) ? a : b;
    ir_dtype s = a_signed ? a : b, u = a_signed ? b : a;
    if (ir_dtype_size(s) > ir_dtype_size(u)) return s;
    return wider[u - DTYPE_u8];
}

ir_dtype fe_result_type(ir_dtype a, ir_dtype b)
{
    if (a == b) return a;
    if (ir_dtype_is_float(a) && ir_dtype_is_float(b)) {
        if (ir_dtype_size(a) == ir_dtype_size(b)) return DTYPE_f32; /* f16 and bf16 */
        return ir_dtype_size(a) > ir_dtype_size(b) ? a : b;
    }
    if (ir_dtype_is_float(a)) return a;
    if (ir_dtype_is_float(b)) return b;
    if (a == DTYPE_i1) return b;
    if (b == DTYPE_i1) return a;
    return mix_integers(a, b);
}

/* ---- parameters
 * ----------------------------------------------------------------------------------------------------- */

bool op_error(op_use *u, const char *format, ...)
{
    text t = {0};
    va_list args;
    va_start(args, format);
    text_add_args(&t, format, args);
    va_end(args);
    fe_layer_error(u->l->fe, u->l->layer, "%s", text_get(&t));
    text_done(&t);
    return false;
}

static int find_position(const char *parameters, const char *name)
{
    size_t length = strlen(name);
    for (int i = 0; *parameters; i++) {
        size_t word = strcspn(parameters, " ");
        if (word == length && memcmp(parameters, name, length) == 0) return i;
        parameters += word + (parameters[word] == ' ');
    }
    return -1;
}

const fe_value *op_find(op_use *u, const char *name)
{
    const fe_value *found = fe_args_find(u->args, find_position(u->op->parameters, name), name);
    for (int i = 0; !found && u->config->kind == FE_DICT && i < u->config->count; i++) {
        if (strcmp(u->config->key[i], name) == 0) found = &u->config->item[i];
    }
    return found && found->kind != FE_NULL ? found : NULL;
}

bool op_find_bool(op_use *u, const char *name, bool otherwise, bool *out)
{
    const fe_value *v = op_find(u, name);
    if (v && v->kind != FE_BOOL) return op_error(u, "expected true or false as \"%s\"", name);
    *out = v ? v->number != 0 : otherwise;
    return true;
}

bool op_find_number(op_use *u, const char *name, double *out)
{
    const fe_value *v = op_find(u, name);
    if (!v || (v->kind != FE_NUMBER && v->kind != FE_BOOL))
        return op_error(u, "expected a number as \"%s\"", name);
    *out = v->number;
    return true;
}

bool op_find_ints(op_use *u, const char *name, int *out_count, int64_t *out)
{
    const fe_value *v = op_find(u, name);
    *out_count = -1;
    if (!v) return true;
    int count = v->kind == FE_LIST ? v->count : 1;
    if (count > IR_MAX_RANK)
        return op_error(u, "expected at most %d integers as \"%s\", found %d", IR_MAX_RANK, name, count);
    for (int i = 0; i < count; i++) {
        const fe_value *item = v->kind == FE_LIST ? &v->item[i] : v;
        bool open = item->kind == FE_NULL;
        if (!open && (item->kind != FE_NUMBER || item->is_float)) {
            return op_error(u, "expected an integer or a list of integers as \"%s\"", name);
        }
        out[i] = open ? -1 : item->integer;
    }
    *out_count = count;
    return true;
}

bool op_resolve_axes(op_use *u, int rank, int count, int64_t *axes)
{
    for (int i = 0; i < count; i++) {
        if (axes[i] < -rank || axes[i] >= rank) {
            return op_error(u, "expected an axis of a tensor of rank %d, found %lld", rank,
                            (long long)axes[i]);
        }
        if (axes[i] < 0) axes[i] += rank;
        for (int k = 0; k < i; k++) {
            if (axes[k] == axes[i])
                return op_error(u, "expected each axis once, found %lld again", (long long)axes[i]);
        }
    }
    return true;
}

static bool is_number(const fe_value *v) { return v->kind == FE_NUMBER || v->kind == FE_BOOL; }

static ir_dtype number_dtype(const fe_value *v)
{
    return v->kind == FE_BOOL ? DTYPE_i1 : v->is_float ? DTYPE_f32 : DTYPE_i32;
}

static ir_value build_number(op_use *u, const fe_value *v, ir_dtype dtype)
{
    if (v->kind == FE_NUMBER && !v->is_float && !ir_dtype_is_float(dtype) && ir_dtype_size(dtype) == 8) {
        return ir_build_constant(u->l->g, ir_type_scalar(dtype), &v->integer);
    }
    return ir_build_scalar(u->l->g, dtype, v->number);
}

bool op_find_tensor(op_use *u, const char *name, ir_value *out)
{
    const fe_value *v = op_find(u, name);
    if (!v || (v->kind != FE_TENSOR && !is_number(v)))
        return op_error(u, "expected a tensor as \"%s\"", name);
    *out = v->kind == FE_TENSOR ? v->tensor.value : build_number(u, v, number_dtype(v));
    return true;
}

/* A Python number is weak: it only makes integers out of bools, and floats out of integers. */
static ir_dtype weak_type(ir_dtype tensor, const fe_value *number)
{
    ir_dtype own = number_dtype(number);
    if (tensor == DTYPE_i1) return own;
    return own == DTYPE_f32 ? op_real(tensor) : tensor;
}

bool op_find_pair(op_use *u, const char *first, const char *second, bool real, ir_value *out_a,
                  ir_value *out_b)
{
    const fe_value *v[2] = {op_find(u, first), op_find(u, second)};
    ir_value x[2] = {IR_NONE, IR_NONE};
    ir_dtype dtype[2];
    for (int i = 0; i < 2; i++) {
        if (!v[i] || (v[i]->kind != FE_TENSOR && !is_number(v[i]))) {
            return op_error(u, "expected a tensor or a number as \"%s\"", i == 0 ? first : second);
        }
        if (v[i]->kind == FE_TENSOR) x[i] = v[i]->tensor.value;
        dtype[i] = x[i] != IR_NONE ? ir_type_of(u->l->g, x[i])->dtype : number_dtype(v[i]);
    }
    ir_dtype result = fe_result_type(dtype[0], dtype[1]);
    if (x[0] != IR_NONE && x[1] == IR_NONE) result = weak_type(dtype[0], v[1]);
    if (x[0] == IR_NONE && x[1] != IR_NONE) result = weak_type(dtype[1], v[0]);
    if (real) result = op_real(result);
    for (int i = 0; i < 2; i++) {
        x[i] = x[i] == IR_NONE ? build_number(u, v[i], result) : ir_build_convert(u->l->g, x[i], result);
    }
    ir_type type;
    if (!ir_broadcast_shapes(ir_type_of(u->l->g, x[0]), ir_type_of(u->l->g, x[1]), &type)) {
        return op_error(u, "expected inputs whose shapes fit, found %s and %s",
                        fe_shape_show(u->l->fe, ir_type_of(u->l->g, x[0])),
                        fe_shape_show(u->l->fe, ir_type_of(u->l->g, x[1])));
    }
    *out_a = x[0];
    *out_b = x[1];
    return true;
}

bool op_finish(op_use *u, ir_value value, fe_value *out)
{
    (void)u;
    if (value == IR_NONE) return false;
    *out = fe_value_tensor(value, IR_NONE);
    return true;
}

ir_type op_type(op_use *u, ir_value x) { return *ir_type_of(u->l->g, x); }
