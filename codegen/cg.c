/* cg.c: types, constants and arithmetic on scalars and vectors alike. Floating-point instructions carry
 * `contract` and nothing more: a * b + c may be rounded once, sums are never reordered. */
#include "codegen/cg.h"

#include <string.h>

/* ---- types ---------------------------------------------------------------------------------- */

LLVMTypeRef cg_vector(LLVMTypeRef element, int lanes)
{
    return lanes == 1 ? element : LLVMVectorType(element, (unsigned)lanes);
}

static LLVMTypeRef dtype_type(const cg *c, ir_dtype t, bool memory)
{
    switch (t) {
    case DTYPE_i1:
        return memory ? c->i8 : c->i1;
    case DTYPE_i8:
    case DTYPE_u8:
        return c->i8;
    case DTYPE_i16:
    case DTYPE_u16:
    case DTYPE_bf16:
        return c->i16;
    case DTYPE_i32:
    case DTYPE_u32:
        return c->i32;
    case DTYPE_i64:
    case DTYPE_u64:
    case DTYPE_str:
    case DTYPE_row:
        return c->i64;
    case DTYPE_f16:
        return c->f16;
    case DTYPE_f32:
        return c->f32;
    case DTYPE_f64:
        return c->f64;
    case DTYPE_COUNT:
        break;
    }
    bug("no such dtype: %d", (int)t);
}

LLVMTypeRef cg_memory_type(const cg *c, ir_dtype t) { return dtype_type(c, t, true); }
LLVMTypeRef cg_register_type(const cg *c, ir_dtype t) { return dtype_type(c, t, false); }

static bool is_vector(LLVMTypeRef t) { return LLVMGetTypeKind(t) == LLVMVectorTypeKind; }

int cg_lanes_of(cg_value v)
{
    LLVMTypeRef t = LLVMTypeOf(v);
    return is_vector(t) ? (int)LLVMGetVectorSize(t) : 1;
}

/* ---- constants ------------------------------------------------------------------------------ */

cg_value cg_i64(const cg *c, int64_t x) { return LLVMConstInt(c->i64, (unsigned long long)x, 1); }
cg_value cg_i32(const cg *c, int64_t x) { return LLVMConstInt(c->i32, (unsigned long long)x, 1); }

bool cg_is_i64(cg_value v, int64_t *out_value)
{
    if (!LLVMIsAConstantInt(v)) return false;
    *out_value = LLVMConstIntGetSExtValue(v);
    return true;
}

static cg_value repeat(cg_value scalar, int lanes)
{
    cg_value all[64];
    bug_if(lanes > (int)countof(all), "%d lanes", lanes);
    for (int i = 0; i < lanes; i++) all[i] = scalar;
    return LLVMConstVector(all, (unsigned)lanes);
}

cg_value cg_splat(cg *c, cg_value v, int lanes)
{
    int have = cg_lanes_of(v);
    if (have == lanes) return v;
    bug_if(have != 1, "a vector of %d lanes where %d are needed", have, lanes);
    if (LLVMIsConstant(v)) return repeat(v, lanes);
    LLVMTypeRef t = LLVMVectorType(LLVMTypeOf(v), (unsigned)lanes);
    cg_value one = LLVMBuildInsertElement(c->b, LLVMGetPoison(t), v, cg_i32(c, 0), "");
    LLVMTypeRef lane = LLVMVectorType(c->i32, (unsigned)lanes);
    return LLVMBuildShuffleVector(c->b, one, LLVMGetPoison(t), LLVMConstNull(lane), "");
}

cg_value cg_fill(const cg *c, LLVMTypeRef like, double x)
{
    (void)c;
    LLVMTypeRef e = is_vector(like) ? LLVMGetElementType(like) : like;
    bool whole = LLVMGetTypeKind(e) == LLVMIntegerTypeKind;
    /* above 2^63 only unsigned types have values, and doubles there convert as unsigned */
    unsigned long long bits = !whole ? 0 : x < 0 ? (unsigned long long)(long long)x : (unsigned long long)x;
    cg_value v = whole ? LLVMConstInt(e, bits, 1) : LLVMConstReal(e, x);
    return is_vector(like) ? repeat(v, (int)LLVMGetVectorSize(like)) : v;
}

cg_value cg_number(const cg *c, ir_dtype t, double x, int lanes)
{
    if (t == DTYPE_bf16) x = ir_f32_to_bf16((float)x);
    if (t == DTYPE_i1) x = x != 0;
    return cg_fill(c, cg_vector(cg_register_type(c, t), lanes), x);
}

cg_value cg_iota(const cg *c, LLVMTypeRef element, int lanes, int64_t step)
{
    (void)c;
    cg_value all[64];
    bug_if(lanes > (int)countof(all), "%d lanes", lanes);
    for (int i = 0; i < lanes; i++) all[i] = LLVMConstInt(element, (unsigned long long)(i * step), 1);
    return lanes == 1 ? all[0] : LLVMConstVector(all, (unsigned)lanes);
}

cg_value cg_dim(cg *c, ir_dim d)
{
    return d.batch ? cg_mul(c, c->n, cg_i64(c, d.count)) : cg_i64(c, d.count);
}

cg_value cg_elements(cg *c, const ir_type *t, int from, int to)
{
    int64_t count = 1;
    cg_value all = NULL;
    for (int i = from; i < to; i++) {
        count *= t->dim[i].count;
        if (t->dim[i].batch) all = all ? cg_mul(c, all, c->n) : c->n;
    }
    return all ? cg_mul(c, all, cg_i64(c, count)) : cg_i64(c, count);
}

/* ---- arithmetic ----------------------------------------------------------------------------- */

/* Gives a and b the same number of lanes. */
static void match(cg *c, cg_value *a, cg_value *b)
{
    int lanes = cg_lanes_of(*a) > cg_lanes_of(*b) ? cg_lanes_of(*a) : cg_lanes_of(*b);
    *a = cg_splat(c, *a, lanes);
    *b = cg_splat(c, *b, lanes);
}

static bool is_int(cg_value v, int64_t x)
{
    return LLVMIsAConstantInt(v) && LLVMConstIntGetSExtValue(v) == x;
}

cg_value cg_add(cg *c, cg_value a, cg_value b)
{
    match(c, &a, &b);
    if (is_int(a, 0)) return b;
    return is_int(b, 0) ? a : LLVMBuildAdd(c->b, a, b, "");
}

cg_value cg_sub(cg *c, cg_value a, cg_value b)
{
    match(c, &a, &b);
    return is_int(b, 0) ? a : LLVMBuildSub(c->b, a, b, "");
}

cg_value cg_mul(cg *c, cg_value a, cg_value b)
{
    match(c, &a, &b);
    if (is_int(a, 1)) return b;
    return is_int(b, 1) ? a : LLVMBuildMul(c->b, a, b, "");
}

cg_value cg_div(cg *c, cg_value a, cg_value b)
{
    match(c, &a, &b);
    return is_int(b, 1) ? a : LLVMBuildUDiv(c->b, a, b, "");
}

cg_value cg_rem(cg *c, cg_value a, cg_value b)
{
    match(c, &a, &b);
    return is_int(b, 1) ? LLVMConstNull(LLVMTypeOf(a)) : LLVMBuildURem(c->b, a, b, "");
}

cg_value cg_min(cg *c, cg_value a, cg_value b) { return cg_select(c, cg_icmp(c, LLVMIntSLT, a, b), a, b); }
cg_value cg_max(cg *c, cg_value a, cg_value b) { return cg_select(c, cg_icmp(c, LLVMIntSGT, a, b), a, b); }

cg_value cg_icmp(cg *c, LLVMIntPredicate p, cg_value a, cg_value b)
{
    match(c, &a, &b);
    return LLVMBuildICmp(c->b, p, a, b, "");
}

cg_value cg_fcmp(cg *c, LLVMRealPredicate p, cg_value a, cg_value b)
{
    match(c, &a, &b);
    return LLVMBuildFCmp(c->b, p, a, b, "");
}

cg_value cg_select(cg *c, cg_value condition, cg_value a, cg_value b)
{
    match(c, &a, &b);
    if (cg_lanes_of(condition) > cg_lanes_of(a)) {
        a = cg_splat(c, a, cg_lanes_of(condition));
        b = cg_splat(c, b, cg_lanes_of(condition));
    }
    if (LLVMIsAConstantInt(condition)) return LLVMConstIntGetZExtValue(condition) ? a : b;
    return LLVMBuildSelect(c->b, condition, a, b, "");
}

cg_value cg_and(cg *c, cg_value a, cg_value b)
{
    match(c, &a, &b);
    return LLVMBuildAnd(c->b, a, b, "");
}

cg_value cg_or(cg *c, cg_value a, cg_value b)
{
    match(c, &a, &b);
    return LLVMBuildOr(c->b, a, b, "");
}

/* Lets a product and a sum become one operation; not those of f16, whose results are as if each were rounded. */
static cg_value contract(cg_value v)
{
    LLVMTypeRef type = LLVMTypeOf(v);
    if (LLVMGetTypeKind(type) == LLVMVectorTypeKind) type = LLVMGetElementType(type);
    if (LLVMGetTypeKind(type) != LLVMHalfTypeKind && LLVMIsAInstruction(v) && LLVMCanValueUseFastMathFlags(v)) {
        LLVMSetFastMathFlags(v, LLVMFastMathAllowContract);
    }
    return v;
}

cg_value cg_fadd(cg *c, cg_value a, cg_value b)
{
    match(c, &a, &b);
    return contract(LLVMBuildFAdd(c->b, a, b, ""));
}

cg_value cg_fsub(cg *c, cg_value a, cg_value b)
{
    match(c, &a, &b);
    return contract(LLVMBuildFSub(c->b, a, b, ""));
}

cg_value cg_fmul(cg *c, cg_value a, cg_value b)
{
    match(c, &a, &b);
    return contract(LLVMBuildFMul(c->b, a, b, ""));
}

cg_value cg_fdiv(cg *c, cg_value a, cg_value b)
{
    match(c, &a, &b);
    return contract(LLVMBuildFDiv(c->b, a, b, ""));
}

cg_value cg_fma(cg *c, cg_value a, cg_value b, cg_value d)
{
    match(c, &a, &b);
    match(c, &a, &d);
    match(c, &a, &b);
    cg_value arg[] = {a, b, d};
    return c->target->fma ? cg_intrinsic(c, "llvm.fma", 3, arg) : cg_fadd(c, cg_fmul(c, a, b), d);
}

cg_value cg_intrinsic(cg *c, const char *name, int count, cg_value *arg)
{
    LLVMTypeRef t = LLVMTypeOf(arg[0]);
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    bug_if(!id, "LLVM has no intrinsic %s", name);
    cg_value fn = LLVMGetIntrinsicDeclaration(c->module, id, &t, 1);
    LLVMTypeRef type = LLVMIntrinsicGetType(c->context, id, &t, 1);
    return contract(LLVMBuildCall2(c->b, type, fn, arg, (unsigned)count, ""));
}

/* Declares a pure function of libm: it may be moved out of loops and dropped. */
static cg_value libm_declare(cg *c, const char *name, LLVMTypeRef type)
{
    cg_value fn = LLVMGetNamedFunction(c->module, name);
    if (fn) return fn;
    static const struct {
        const char *name;
        uint64_t value;
    } pure[] = {{"nounwind", 0}, {"willreturn", 0}, {"memory", 0}, {"speculatable", 0}};
    fn = LLVMAddFunction(c->module, name, type);
    for (size_t i = 0; i < countof(pure); i++) {
        unsigned kind = LLVMGetEnumAttributeKindForName(pure[i].name, strlen(pure[i].name));
        LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                                LLVMCreateEnumAttribute(c->context, kind, pure[i].value));
    }
    return fn;
}

cg_value cg_libm(cg *c, const char *name, int count, cg_value *arg)
{
    LLVMTypeRef t = LLVMTypeOf(arg[0]), e = is_vector(t) ? LLVMGetElementType(t) : t, param[3] = {e, e, e};
    char symbol[64];
    snprintf(symbol, sizeof(symbol), "%s%s", name, e == c->f32 ? "f" : "");
    LLVMTypeRef type = LLVMFunctionType(e, param, (unsigned)count, 0);
    cg_value fn = libm_declare(c, symbol, type);
    if (!is_vector(t)) return LLVMBuildCall2(c->b, type, fn, arg, (unsigned)count, "");
    cg_value all = LLVMGetPoison(t);
    for (int lane = 0; lane < cg_lanes_of(arg[0]); lane++) {
        cg_value one[3];
        for (int i = 0; i < count; i++) one[i] = cg_lane(c, arg[i], lane);
        all = cg_set_lane(c, all, lane, LLVMBuildCall2(c->b, type, fn, one, (unsigned)count, ""));
    }
    return all;
}

/* ---- lanes ---------------------------------------------------------------------------------- */

cg_value cg_lane(cg *c, cg_value v, int lane)
{
    return cg_lanes_of(v) == 1 ? v : LLVMBuildExtractElement(c->b, v, cg_i32(c, lane), "");
}

cg_value cg_set_lane(cg *c, cg_value v, int lane, cg_value x)
{
    if (!is_vector(LLVMTypeOf(v))) return x;
    return LLVMBuildInsertElement(c->b, v, x, cg_i32(c, lane), "");
}

cg_value cg_shuffle(cg *c, cg_value a, cg_value b, int count, const int *lane)
{
    cg_value mask[64];
    bug_if(count > (int)countof(mask), "%d lanes", count);
    for (int i = 0; i < count; i++) mask[i] = lane[i] < 0 ? LLVMGetPoison(c->i32) : cg_i32(c, lane[i]);
    return LLVMBuildShuffleVector(c->b, a, b, LLVMConstVector(mask, (unsigned)count), "");
}

cg_value cg_extract(cg *c, cg_value v, int from, int count)
{
    int lane[64];
    if (count == 1) return cg_lane(c, v, from);
    for (int i = 0; i < count; i++) lane[i] = from + i;
    return cg_shuffle(c, v, LLVMGetPoison(LLVMTypeOf(v)), count, lane);
}
