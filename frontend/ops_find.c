/* ops_find.c: how an operation of keras.ops finds its parameters: arguments of the call and settings of its
 * constructor, with Keras's weak Python numbers. */
#include "frontend/ops.h"

#include <string.h>

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

/* ---- plain settings ---------------------------------------------------------------------- */

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

bool op_find_number_or(op_use *u, const char *name, double otherwise, double *out)
{
    *out = otherwise;
    return !op_find(u, name) || op_find_number(u, name, out);
}

bool op_find_int(op_use *u, const char *name, int64_t otherwise, int64_t *out)
{
    int count;
    int64_t item[IR_MAX_RANK];
    if (!op_find_ints(u, name, &count, item)) return false;
    if (count > 1) return op_error(u, "expected one integer as \"%s\"", name);
    *out = count == 1 ? item[0] : otherwise;
    return true;
}

bool op_constant_ints(op_use *u, ir_value v, int most, int *out_count, int64_t *out)
{
    const ir_node *n = ir_node_of(u->l->g, v);
    const ir_attr *data = ir_attr_find(n, ATTR_data);
    if (n->op != OP_constant || !data || ir_dtype_is_float(n->type.dtype)) return false;
    ir_array array = {n->type, NULL};
    array.data = arena_copy(u->l->fe->arena, data->data.bytes, data->data.size);
    int64_t count = ir_array_count(&array),
            stored = (int64_t)(data->data.size / ir_dtype_size(n->type.dtype));
    if (count > most) return false;
    for (int64_t i = 0; i < count; i++) out[i] = (int64_t)ir_array_get(&array, stored == count ? i : 0);
    *out_count = (int)count;
    return true;
}

static bool read_int(op_use *u, const char *name, const fe_value *item, int64_t *out)
{
    int count = 0;
    *out = item->kind == FE_NULL ? -1 : item->integer;
    if (item->kind == FE_NULL || (item->kind == FE_NUMBER && !item->is_float) || item->kind == FE_BOOL)
        return true;
    if (item->kind == FE_TENSOR && op_constant_ints(u, item->tensor.value, 1, &count, out) && count == 1)
        return true;
    return op_error(u, "expected an integer or a list of integers as \"%s\"", name);
}

bool op_find_int_list(op_use *u, const char *name, int *out_count, int64_t **out)
{
    const fe_value *v = op_find(u, name);
    *out_count = -1;
    *out = NULL;
    if (!v) return true;
    if (v->kind == FE_TENSOR) {
        enum { MOST = 1 << 16 };
        *out = arena_array(u->l->fe->arena, int64_t, MOST);
        return op_constant_ints(u, v->tensor.value, MOST, out_count, *out) ||
               op_error(u, "expected integers that are known when the model is compiled as \"%s\"", name);
    }
    int count = v->kind == FE_LIST ? v->count : 1;
    *out = arena_array(u->l->fe->arena, int64_t, (size_t)count + 1);
    for (int i = 0; i < count; i++) {
        if (!read_int(u, name, v->kind == FE_LIST ? &v->item[i] : v, *out + i)) return false;
    }
    *out_count = count;
    return true;
}

bool op_find_ints(op_use *u, const char *name, int *out_count, int64_t *out)
{
    int64_t *item;
    if (!op_find_int_list(u, name, out_count, &item)) return false;
    if (*out_count > IR_MAX_RANK) {
        return op_error(u, "expected at most %d integers as \"%s\", found %d", IR_MAX_RANK, name, *out_count);
    }
    for (int i = 0; i < *out_count; i++) out[i] = item[i];
    return true;
}

bool op_find_sizes(op_use *u, const char *name, int count, int64_t otherwise, int64_t *out)
{
    int found;
    int64_t item[IR_MAX_RANK];
    if (!op_find_ints(u, name, &found, item)) return false;
    if (found > 1 && found != count)
        return op_error(u, "expected one integer or %d as \"%s\", found %d", count, name, found);
    for (int i = 0; i < count; i++) {
        out[i] = found < 1 ? otherwise : found == 1 ? item[0] : item[i];
        if (out[i] < 0 || out[i] > INT32_MAX)
            return op_error(u, "expected a size as \"%s\", found %lld", name, (long long)out[i]);
    }
    return true;
}

bool op_find_text(op_use *u, const char *name, const char **out)
{
    const fe_value *v = op_find(u, name);
    if (v && v->kind != FE_TEXT) return op_error(u, "expected a string as \"%s\"", name);
    *out = v ? v->text : "";
    return true;
}

bool op_find_dtype(op_use *u, const char *name, ir_dtype otherwise, ir_dtype *out)
{
    const fe_value *v = op_find(u, name);
    *out = otherwise;
    if (v && (v->kind != FE_TEXT || !ir_dtype_find_keras(v->text, out) || *out == DTYPE_str))
        return op_error(u, "expected the name of a dtype as \"%s\"", name);
    return true;
}

bool op_find_channels_first(op_use *u, bool *out)
{
    const char *format = "";
    if (!op_find_text(u, "data_format", &format)) return false;
    *out = strcmp(format, "channels_first") == 0;
    return *out || format[0] == '\0' || strcmp(format, "channels_last") == 0 ||
           op_error(u, "expected \"channels_last\" or \"channels_first\" as \"data_format\", found \"%s\"",
                    format);
}

/* ---- axes -------------------------------------------------------------------------------- */

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

bool op_find_axis(op_use *u, const char *name, int rank, int64_t otherwise, int64_t *out)
{
    return op_find_int(u, name, otherwise, out) && op_resolve_axes(u, rank, 1, out);
}

bool op_find_reduction(op_use *u, const char *name, const char *axes, op_reduction *out)
{
    if (!op_find_tensor(u, name, &out->x)) return false;
    if (!op_find_ints(u, axes, &out->count, out->axis)) return false;
    if (!op_find_bool(u, "keepdims", false, &out->keep_dims)) return false;
    int rank = op_type(u, out->x).rank;
    if (out->count < 0) {
        out->count = rank;
        for (int i = 0; i < rank; i++) out->axis[i] = i;
    }
    if (!op_resolve_axes(u, rank, out->count, out->axis)) return false;
    for (int i = 1; i < out->count; i++) {
        for (int k = i; k > 0 && out->axis[k - 1] > out->axis[k]; k--) {
            int64_t axis = out->axis[k];
            out->axis[k] = out->axis[k - 1];
            out->axis[k - 1] = axis;
        }
    }
    return true;
}

/* ---- tensors ----------------------------------------------------------------------------- */

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

/* A list of numbers, or of such lists of one shape, as NumPy makes an array of it. */
typedef struct constant_list {
    ir_type type;
    ir_array array;
    int64_t next;
} constant_list;

static bool measure_list(constant_list *c, const fe_value *v)
{
    const fe_value *level = v;
    for (; level->kind == FE_LIST; level = &level->item[0]) {
        if (c->type.rank == IR_MAX_RANK || level->count < 1) return false;
        c->type.dim[c->type.rank++] = ir_fixed(level->count);
    }
    c->type.dtype = DTYPE_i1;
    return is_number(level);
}

/* Checks the shape and finds the dtype; counts the leaves. */
static bool check_list(constant_list *c, const fe_value *v, int level)
{
    if (level == c->type.rank) {
        if (!is_number(v)) return false;
        if (number_dtype(v) > c->type.dtype) c->type.dtype = number_dtype(v);
        c->next++;
        return true;
    }
    if (v->kind != FE_LIST || v->count != c->type.dim[level].count) return false;
    for (int i = 0; i < v->count; i++) {
        if (!check_list(c, &v->item[i], level + 1)) return false;
    }
    return true;
}

static void fill_list(constant_list *c, const fe_value *v, int level)
{
    if (level == c->type.rank) {
        ir_array_set(&c->array, c->next++, v->number);
        return;
    }
    for (int i = 0; i < v->count; i++) fill_list(c, &v->item[i], level + 1);
}

static bool build_list(op_use *u, const fe_value *v, ir_value *out)
{
    constant_list c = {0};
    if (!measure_list(&c, v) || !check_list(&c, v, 0)) return false;
    c.array.type = c.type;
    c.array.data = arena_alloc_many(u->l->fe->arena, (size_t)c.next, ir_dtype_size(c.type.dtype));
    c.next = 0;
    fill_list(&c, v, 0);
    *out = ir_build_constant(u->l->g, c.type, c.array.data);
    return true;
}

bool op_value_tensor(op_use *u, const fe_value *v, const char *name, ir_value *out)
{
    if (v && v->kind == FE_TENSOR)
        *out = v->tensor.value;
    else if (v && is_number(v))
        *out = build_number(u, v, number_dtype(v));
    else if (!v || v->kind != FE_LIST || !build_list(u, v, out))
        return op_error(u, "expected a tensor as \"%s\"", name);
    return true;
}

bool op_find_tensor(op_use *u, const char *name, ir_value *out)
{
    return op_value_tensor(u, op_find(u, name), name, out);
}

bool op_find_tensor_or_none(op_use *u, const char *name, ir_value *out)
{
    *out = IR_NONE;
    return !op_find(u, name) || op_find_tensor(u, name, out);
}

bool op_find_real(op_use *u, const char *name, ir_value *out)
{
    if (!op_find_tensor(u, name, out)) return false;
    *out = ir_build_convert(u->l->g, *out, op_real(op_type(u, *out).dtype));
    return true;
}

bool op_find_list(op_use *u, const char *name, int *out_count, ir_value **out)
{
    const fe_value *v = op_find(u, name);
    if (!v || v->kind != FE_LIST || v->count < 1)
        return op_error(u, "expected a list of tensors as \"%s\"", name);
    *out = arena_array(u->l->fe->arena, ir_value, (size_t)v->count);
    ir_dtype dtype = DTYPE_i1;
    for (int i = 0; i < v->count; i++) {
        if (!op_value_tensor(u, &v->item[i], name, *out + i)) return false;
        ir_dtype own = op_type(u, (*out)[i]).dtype;
        dtype = i == 0 ? own : fe_result_type(dtype, own);
    }
    for (int i = 0; i < v->count; i++) (*out)[i] = ir_build_convert(u->l->g, (*out)[i], dtype);
    *out_count = v->count;
    return true;
}

/* A Python number is weak: it only makes integers out of bools, and floats out of integers. */
static ir_dtype weak_type(ir_dtype tensor, const fe_value *number)
{
    ir_dtype own = number_dtype(number);
    if (tensor == DTYPE_i1) return own;
    return own == DTYPE_f32 ? op_real(tensor) : tensor;
}

static bool find_pair(op_use *u, const char *first, const char *second, bool real, bool weak, ir_value *out_a,
                      ir_value *out_b)
{
    const fe_value *v[2] = {op_find(u, first), op_find(u, second)};
    ir_value x[2] = {IR_NONE, IR_NONE};
    ir_dtype dtype[2];
    for (int i = 0; i < 2; i++) {
        if (!v[i] || !is_number(v[i])) {
            if (!op_value_tensor(u, v[i], i == 0 ? first : second, &x[i])) return false;
        }
        dtype[i] = x[i] != IR_NONE ? ir_type_of(u->l->g, x[i])->dtype : number_dtype(v[i]);
    }
    ir_dtype result = fe_result_type(dtype[0], dtype[1]);
    if (weak && x[0] != IR_NONE && x[1] == IR_NONE) result = weak_type(dtype[0], v[1]);
    if (weak && x[0] == IR_NONE && x[1] != IR_NONE) result = weak_type(dtype[1], v[0]);
    if (real) result = op_real(result);
    for (int i = 0; i < 2; i++) {
        x[i] = x[i] == IR_NONE ? build_number(u, v[i], result) : ir_build_convert(u->l->g, x[i], result);
    }
    *out_a = x[0];
    *out_b = x[1];
    return op_check_broadcast(u, x[0], x[1]);
}

bool op_find_pair(op_use *u, const char *first, const char *second, bool real, ir_value *out_a,
                  ir_value *out_b)
{
    return find_pair(u, first, second, real, true, out_a, out_b);
}

bool op_find_strong_pair(op_use *u, const char *first, const char *second, bool real, ir_value *out_a,
                         ir_value *out_b)
{
    return find_pair(u, first, second, real, false, out_a, out_b);
}
