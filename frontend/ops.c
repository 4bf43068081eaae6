/* ops.c: the table of keras.ops, and the dtypes of results. */
#include "frontend/ops.h"
#include "frontend/ragged.h"

#include <string.h>

static const fe_op ops[] = {
#define OP(class, family, parameters, op, word) {#class, op_build_##family, parameters, op, word, NULL},
#define REFUSED(class, reason) {#class, NULL, "", OP_COUNT, "", reason},
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
const char *fe_op_refusal(const fe_op *op) { return op->refusal; }
const fe_op *fe_op_at(size_t index) { return &ops[index]; }

bool fe_op_call(fe_lower *l, const fe_op *op, const fe_args *args, const fe_value *config, fe_value *out)
{
    op_use u = {.l = l, .op = op, .args = args, .config = config};
    return fe_ragged_any(l, args) ? fe_ragged_op(&u, out) : op->build(&u, out);
}

/* ---- dtypes ------------------------------------------------------------------------------ */

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

ir_dtype op_sum_dtype(ir_dtype dtype)
{
    if (ir_dtype_is_float(dtype) || ir_dtype_size(dtype) >= 4) return dtype;
    return ir_dtype_class_of(dtype) == DTYPE_UNSIGNED ? DTYPE_u32 : DTYPE_i32;
}
