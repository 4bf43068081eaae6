/* cg_combine.c: reductions of values in registers, and 16-bit floats. */
#include "codegen/cg.h"

#include <math.h>
#include <string.h>

/* NaN of either operand wins; the plain comparison becomes one machine instruction. */
static cg_value float_extreme(cg *c, LLVMRealPredicate p, cg_value a, cg_value b)
{
    cg_value best = cg_select(c, cg_fcmp(c, p, a, b), a, b);
    return cg_select(c, cg_fcmp(c, LLVMRealUNO, a, a), a, best);
}

static cg_value combine_float(cg *c, const char *kind, ir_dtype t, cg_value a, cg_value b)
{
    bool narrow = t == DTYPE_f16 || t == DTYPE_bf16;
    if (narrow) a = cg_widen(c, t, a), b = cg_widen(c, t, b);
    cg_value r = NULL;
    if (strcmp(kind, "add") == 0) r = cg_fadd(c, a, b);
    if (strcmp(kind, "multiply") == 0) r = cg_fmul(c, a, b);
    if (strcmp(kind, "maximum") == 0) r = float_extreme(c, LLVMRealOGT, a, b);
    if (strcmp(kind, "minimum") == 0) r = float_extreme(c, LLVMRealOLT, a, b);
    bug_if(!r, "reduction %s of floats", kind);
    return narrow ? cg_narrow(c, t, r) : r;
}

cg_value cg_combine(cg *c, const char *kind, ir_dtype t, cg_value a, cg_value b)
{
    if (ir_dtype_is_float(t)) return combine_float(c, kind, t, a, b);
    bool is_signed = ir_dtype_class_of(t) == DTYPE_SIGNED;
    if (strcmp(kind, "and") == 0) return cg_and(c, a, b);
    if (strcmp(kind, "or") == 0) return cg_or(c, a, b);
    if (strcmp(kind, "maximum") == 0) {
        return cg_select(c, cg_icmp(c, is_signed ? LLVMIntSGT : LLVMIntUGT, a, b), a, b);
    }
    if (strcmp(kind, "minimum") == 0) {
        return cg_select(c, cg_icmp(c, is_signed ? LLVMIntSLT : LLVMIntULT, a, b), a, b);
    }
    if (t == DTYPE_i1) return strcmp(kind, "add") == 0 ? cg_or(c, a, b) : cg_and(c, a, b);
    if (strcmp(kind, "add") == 0) return cg_add(c, a, b);
    bug_if(strcmp(kind, "multiply") != 0, "reduction %s", kind);
    return cg_mul(c, a, b);
}

cg_value cg_combine_start(const cg *c, const char *kind, ir_dtype t, int lanes)
{
    bool lowest = strcmp(kind, "maximum") == 0, highest = strcmp(kind, "minimum") == 0;
    if (strcmp(kind, "multiply") == 0) return cg_number(c, t, 1, lanes);
    if (!lowest && !highest && strcmp(kind, "and") != 0) return cg_number(c, t, 0, lanes);
    if (ir_dtype_is_float(t)) {
        uint16_t bits = ir_f32_to_bf16(lowest ? -(float)HUGE_VAL : (float)HUGE_VAL);
        if (t == DTYPE_bf16) return cg_fill(c, cg_vector(c->i16, lanes), bits);
        return cg_fill(c, cg_vector(cg_register_type(c, t), lanes), lowest ? -HUGE_VAL : HUGE_VAL);
    }
    LLVMTypeRef type = cg_vector(cg_register_type(c, t), lanes);
    cg_value ones = LLVMConstAllOnes(type);
    if (strcmp(kind, "and") == 0) return ones;
    if (ir_dtype_class_of(t) != DTYPE_SIGNED) return lowest ? LLVMConstNull(type) : ones;
    unsigned bits = (unsigned)ir_dtype_size(t) * 8;
    uint64_t least = UINT64_C(1) << (bits - 1);
    cg_value e = LLVMConstInt(cg_register_type(c, t), lowest ? least : least - 1, 0);
    cg_value all[64];
    for (int i = 0; i < lanes; i++) all[i] = e;
    return lanes == 1 ? e : LLVMConstVector(all, (unsigned)lanes);
}

cg_value cg_combine_lanes(cg *c, const char *kind, ir_dtype t, cg_value v)
{
    for (int lanes = cg_lanes_of(v); lanes > 1; lanes /= 2) {
        v = cg_combine(c, kind, t, cg_extract(c, v, 0, lanes / 2), cg_extract(c, v, lanes / 2, lanes / 2));
    }
    return v;
}

cg_value cg_combine_part(cg *c, const char *kind, ir_dtype t, cg_value all, cg_value part)
{
    int lanes = cg_lanes_of(all), have = cg_lanes_of(part), lane[64];
    if (have < lanes) {
        cg_value wide = cg_combine_start(c, kind, t, lanes);
        if (have == 1) {
            part = cg_set_lane(c, wide, 0, part);
        } else {
            for (int i = 0; i < lanes; i++) lane[i] = i < have ? i : -1;
            part = cg_shuffle(c, part, LLVMGetPoison(LLVMTypeOf(part)), lanes, lane);
            for (int i = 0; i < lanes; i++) lane[i] = i < have ? i : lanes + i;
            part = cg_shuffle(c, part, wide, lanes, lane);
        }
    }
    return cg_combine(c, kind, t, all, part);
}

/* ---- 16-bit floats -------------------------------------------------------------------------- */

static cg_value shift_left(cg *c, cg_value v, int64_t by)
{
    return LLVMBuildShl(c->b, v, cg_fill(c, LLVMTypeOf(v), (double)by), "");
}

static cg_value shift_right(cg *c, cg_value v, int64_t by)
{
    return LLVMBuildLShr(c->b, v, cg_fill(c, LLVMTypeOf(v), (double)by), "");
}

/* By integers, as narrow_f16 is: LLVM would call a library function per element where the processor cannot. A number too
 * small for an f16's exponent is made by a multiplication. */
static cg_value widen_f16(cg *c, cg_value v)
{
    const int lanes = cg_lanes_of(v);
    LLVMTypeRef wide = cg_vector(c->i32, lanes), real = cg_vector(c->f32, lanes);
    cg_value bits = LLVMBuildZExt(c->b, LLVMBuildBitCast(c->b, v, cg_vector(c->i16, lanes), ""), wide, "");
    cg_value sign = shift_left(c, cg_and(c, bits, cg_fill(c, wide, 0x8000)), 16);
    cg_value size = shift_left(c, cg_and(c, bits, cg_fill(c, wide, 0x7fff)), 13);
    cg_value scaled = cg_fmul(c, LLVMBuildBitCast(c->b, size, real, ""), cg_fill(c, real, 0x1p112));
    cg_value finite = LLVMBuildBitCast(c->b, scaled, wide, ""), infinite = cg_or(c, size, cg_fill(c, wide, 0x7f800000));
    cg_value ends = cg_icmp(c, LLVMIntUGE, size, cg_fill(c, wide, 0x7c00 << 13));
    return LLVMBuildBitCast(c->b, cg_or(c, cg_select(c, ends, infinite, finite), sign), real, "");
}

/* Round to nearest even: of normal numbers by an addition to the bits, of small ones by adding 0.5, whose last place is an
 * f16's smallest step. */
static cg_value narrow_f16(cg *c, cg_value v)
{
    const int lanes = cg_lanes_of(v);
    LLVMTypeRef wide = cg_vector(c->i32, lanes), real = cg_vector(c->f32, lanes);
    cg_value bits = LLVMBuildBitCast(c->b, v, wide, ""), size = cg_and(c, bits, cg_fill(c, wide, 0x7fffffff));
    cg_value sign = shift_right(c, cg_sub(c, bits, size), 16);
    cg_value odd = cg_and(c, shift_right(c, size, 13), cg_fill(c, wide, 1));
    cg_value normal = cg_add(c, cg_add(c, size, odd), cg_fill(c, wide, 0xfff));
    normal = shift_right(c, cg_sub(c, normal, cg_fill(c, wide, 112 << 23)), 13);
    cg_value sum = cg_fadd(c, LLVMBuildBitCast(c->b, size, real, ""), cg_fill(c, real, 0.5));
    cg_value small = cg_sub(c, LLVMBuildBitCast(c->b, sum, wide, ""), cg_fill(c, wide, 0x3f000000));
    cg_value out = cg_select(c, cg_icmp(c, LLVMIntULT, size, cg_fill(c, wide, 113 << 23)), small, normal);
    cg_value is_nan = cg_icmp(c, LLVMIntUGT, size, cg_fill(c, wide, 0x7f800000));
    cg_value ends = cg_select(c, is_nan, cg_fill(c, wide, 0x7e00), cg_fill(c, wide, 0x7c00));
    out = cg_select(c, cg_icmp(c, LLVMIntUGE, size, cg_fill(c, wide, 0x477ff000)), ends, out);
    cg_value narrow = LLVMBuildTrunc(c->b, cg_or(c, out, sign), cg_vector(c->i16, lanes), "");
    return LLVMBuildBitCast(c->b, narrow, cg_vector(c->f16, lanes), "");
}

cg_value cg_widen(cg *c, ir_dtype t, cg_value v)
{
    int lanes = cg_lanes_of(v);
    if (t == DTYPE_f16 && !c->target->f16) return widen_f16(c, v);
    if (t == DTYPE_f16) return LLVMBuildFPExt(c->b, v, cg_vector(c->f32, lanes), "");
    if (t != DTYPE_bf16) return v;
    LLVMTypeRef wide = cg_vector(c->i32, lanes);
    cg_value bits = LLVMBuildShl(c->b, LLVMBuildZExt(c->b, v, wide, ""), cg_fill(c, wide, 16), "");
    return LLVMBuildBitCast(c->b, bits, cg_vector(c->f32, lanes), "");
}

/* Rounds by integers: LLVM would call a library function per element where the processor cannot. */
static cg_value narrow_bf16(cg *c, cg_value v)
{
    int lanes = cg_lanes_of(v);
    LLVMTypeRef wide = cg_vector(c->i32, lanes);
    cg_value bits = LLVMBuildBitCast(c->b, v, wide, ""), sixteen = cg_fill(c, wide, 16);
    cg_value odd = cg_and(c, LLVMBuildLShr(c->b, bits, sixteen, ""), cg_fill(c, wide, 1));
    cg_value rounded = cg_add(c, cg_add(c, bits, odd), cg_fill(c, wide, 0x7fff));
    cg_value quiet = cg_or(c, bits, cg_fill(c, wide, 0x400000));
    cg_value best = cg_select(c, cg_fcmp(c, LLVMRealUNO, v, v), quiet, rounded);
    return LLVMBuildTrunc(c->b, LLVMBuildLShr(c->b, best, sixteen, ""), cg_vector(c->i16, lanes), "");
}

cg_value cg_narrow(cg *c, ir_dtype t, cg_value v)
{
    const int lanes = cg_lanes_of(v);
    if (t == DTYPE_f16 && !c->target->f16) return narrow_f16(c, v);
    if (t == DTYPE_f16) return LLVMBuildFPTrunc(c->b, v, cg_vector(c->f16, lanes), "");
    if (t != DTYPE_bf16) return v;
    if (!c->target->bf16) return narrow_bf16(c, v);
    cg_value narrow = LLVMBuildFPTrunc(c->b, v, cg_vector(LLVMBFloatTypeInContext(c->context), lanes), "");
    return LLVMBuildBitCast(c->b, narrow, cg_vector(c->i16, lanes), "");
}

cg_value cg_pair(cg *c, cg_value low, cg_value high)
{
    const int lanes = cg_lanes_of(low);
    LLVMTypeRef wide = cg_vector(c->i32, lanes);
    cg_value first = LLVMBuildZExt(c->b, low, wide, ""), second = LLVMBuildZExt(c->b, high, wide, "");
    return LLVMBuildBitCast(c->b, cg_or(c, first, shift_left(c, second, 16)), cg_vector(c->f32, lanes), "");
}

cg_value cg_dot_pairs(cg *c, cg_value a, cg_value b, cg_value d)
{
    const char *name = c->target->pairs;
    LLVMTypeRef pairs = cg_vector(LLVMBFloatTypeInContext(c->context), 2 * cg_lanes_of(d));
    LLVMTypeRef type[] = {LLVMTypeOf(d), pairs};
    const unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    const size_t types = LLVMIntrinsicIsOverloaded(id) ? countof(type) : 0;
    cg_value arg[] = {d, LLVMBuildBitCast(c->b, a, pairs, ""), LLVMBuildBitCast(c->b, b, pairs, "")};
    return LLVMBuildCall2(c->b, LLVMIntrinsicGetType(c->context, id, type, types),
                          LLVMGetIntrinsicDeclaration(c->module, id, type, types), arg, countof(arg), "");
}
