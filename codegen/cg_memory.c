/* cg_memory.c: all access to memory goes through here; alignment is always stated. */
#include "codegen/cg.h"

#include <string.h>

cg_value cg_at(cg *c, LLVMTypeRef element, cg_value address, cg_value index)
{
    return LLVMBuildInBoundsGEP2(c->b, element, address, &index, 1, "");
}

cg_value cg_load(cg *c, LLVMTypeRef type, cg_value address, int align)
{
    cg_value v = LLVMBuildLoad2(c->b, type, address, "");
    LLVMSetAlignment(v, (unsigned)align);
    return v;
}

static cg_value mark_spared(cg *c, cg_value store)
{
    if (c->read_scope) {
        LLVMSetMetadata(store, LLVMGetMDKindIDInContext(c->context, "noalias", 7), c->read_scope);
    }
    return store;
}

cg_value cg_store(cg *c, cg_value v, cg_value address, int align)
{
    cg_value s = LLVMBuildStore(c->b, v, address);
    LLVMSetAlignment(s, (unsigned)align);
    return mark_spared(c, s);
}

void cg_store_past_caches(cg *c, cg_value v, cg_value address)
{
    cg_value s = cg_store(c, v, address, 4 * cg_lanes_of(v)), one = cg_i32(c, 1);
    LLVMMetadataRef node = LLVMMDNodeInContext2(c->context, (LLVMMetadataRef[]){LLVMValueAsMetadata(one)}, 1);
    LLVMSetMetadata(s, LLVMGetMDKindIDInContext(c->context, "nontemporal", 11), LLVMMetadataAsValue(c->context, node));
}

/* A call of an intrinsic that is overloaded on `count` types. */
static cg_value call_typed(cg *c, const char *name, int types, LLVMTypeRef *type, int count, cg_value *arg)
{
    unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    bug_if(!id, "LLVM has no intrinsic %s", name);
    cg_value fn = LLVMGetIntrinsicDeclaration(c->module, id, type, (size_t)types);
    LLVMTypeRef t = LLVMIntrinsicGetType(c->context, id, type, (size_t)types);
    return LLVMBuildCall2(c->b, t, fn, arg, (unsigned)count, "");
}

cg_value cg_load_masked(cg *c, LLVMTypeRef type, cg_value address, int align, cg_value mask)
{
    LLVMTypeRef overload[] = {type, c->ptr};
    cg_value arg[] = {address, cg_i32(c, align), mask, LLVMConstNull(type)};
    return call_typed(c, "llvm.masked.load", 2, overload, 4, arg);
}

void cg_store_masked(cg *c, cg_value v, cg_value address, int align, cg_value mask)
{
    LLVMTypeRef overload[] = {LLVMTypeOf(v), c->ptr};
    cg_value arg[] = {v, address, cg_i32(c, align), mask};
    mark_spared(c, call_typed(c, "llvm.masked.store", 2, overload, 4, arg));
}

void cg_prefetch(cg *c, LLVMTypeRef element, cg_value address, cg_value index, int level)
{
    enum { READ = 0, NEAREST = 4, DATA = 1 };
    cg_value at = LLVMBuildGEP2(c->b, element, address, &index, 1, "");
    cg_value arg[] = {at, cg_i32(c, READ), cg_i32(c, NEAREST - level), cg_i32(c, DATA)};
    call_typed(c, "llvm.prefetch", 1, &c->ptr, 4, arg);
}

cg_value cg_gather(cg *c, LLVMTypeRef element, cg_value address, cg_value index, cg_value mask)
{
    int lanes = cg_lanes_of(index);
    cg_value all = LLVMConstAllOnes(cg_vector(c->i1, lanes));
    cg_value at = LLVMBuildInBoundsGEP2(c->b, element, address, &index, 1, "");
    LLVMTypeRef type = cg_vector(element, lanes), overload[] = {type, LLVMTypeOf(at)};
    cg_value arg[] = {at, cg_i32(c, 1), mask ? mask : all, LLVMConstNull(type)};
    arg[1] = cg_i32(c, (int64_t)LLVMABISizeOfType(c->layout, element));
    return call_typed(c, "llvm.masked.gather", 2, overload, 4, arg);
}

void cg_scatter(cg *c, cg_value v, cg_value address, cg_value index, cg_value mask)
{
    LLVMTypeRef element = LLVMGetElementType(LLVMTypeOf(v));
    cg_value at = LLVMBuildInBoundsGEP2(c->b, element, address, &index, 1, "");
    LLVMTypeRef overload[] = {LLVMTypeOf(v), LLVMTypeOf(at)};
    cg_value arg[] = {v, at, cg_i32(c, (int64_t)LLVMABISizeOfType(c->layout, element)), mask};
    call_typed(c, "llvm.masked.scatter", 2, overload, 4, arg);
}

cg_value cg_from_memory(cg *c, ir_dtype t, cg_value v)
{
    return t == DTYPE_i1 ? cg_icmp(c, LLVMIntNE, v, LLVMConstNull(LLVMTypeOf(v))) : v;
}

cg_value cg_to_memory(cg *c, ir_dtype t, cg_value v)
{
    return t == DTYPE_i1 ? LLVMBuildZExt(c->b, v, cg_vector(c->i8, cg_lanes_of(v)), "") : v;
}

cg_value cg_mask_first(cg *c, int lanes, cg_value count)
{
    cg_value limit = cg_splat(c, count, lanes);
    return cg_icmp(c, LLVMIntSLT, cg_iota(c, c->i64, lanes, 1), limit);
}

void cg_mark_read_only(cg *c, cg_value load)
{
    if (LLVMIsAInstruction(load) && c->read_scope) {
        LLVMSetMetadata(load, LLVMGetMDKindIDInContext(c->context, "alias.scope", 11), c->read_scope);
    }
}
