/* cg_flow.c: loops, conditions and functions in matching pairs. */
#include "codegen/cg.h"
#include "tfcc_rt.h"

#include <stdio.h>
#include <string.h>

/* ---- loops and conditions ------------------------------------------------------------------- */

LLVMBasicBlockRef cg_block(cg *c, const char *name)
{
    return LLVMAppendBasicBlockInContext(c->context, c->fn, name);
}

static void add_incoming(cg_value phi, cg_value v, LLVMBasicBlockRef from)
{
    LLVMAddIncoming(phi, &v, &from, 1);
}

void cg_loop_begin(cg *c, cg_loop *l, cg_value begin, cg_value end, int64_t step, int count, cg_value *value)
{
    bug_if(count > CG_CARRIED, "%d carried values", count);
    l->from = LLVMGetInsertBlock(c->b);
    l->end = end;
    l->step = cg_i64(c, step);
    l->count = count;
    l->memo = cg_memo_mark(c);
    l->body = cg_block(c, "loop");
    l->exit = cg_block(c, "done");
    LLVMBuildCondBr(c->b, cg_icmp(c, LLVMIntSLT, begin, end), l->body, l->exit);
    LLVMPositionBuilderAtEnd(c->b, l->body);
    l->i = LLVMBuildPhi(c->b, c->i64, "i");
    add_incoming(l->i, begin, l->from);
    for (int k = 0; k < count; k++) {
        l->start[k] = value[k];
        l->phi[k] = LLVMBuildPhi(c->b, LLVMTypeOf(value[k]), "");
        add_incoming(l->phi[k], value[k], l->from);
        value[k] = l->phi[k];
    }
}

void cg_loop_end(cg *c, cg_loop *l, cg_value *value)
{
    cg_value next = LLVMBuildNSWAdd(c->b, l->i, l->step, "");
    cg_value more = LLVMBuildICmp(c->b, LLVMIntSLT, next, l->end, "");
    LLVMBasicBlockRef last = LLVMGetInsertBlock(c->b);
    add_incoming(l->i, next, last);
    LLVMBuildCondBr(c->b, more, l->body, l->exit);
    LLVMPositionBuilderAtEnd(c->b, l->exit);
    for (int k = 0; k < l->count; k++) {
        add_incoming(l->phi[k], value[k], last);
        cg_value out = LLVMBuildPhi(c->b, LLVMTypeOf(value[k]), "");
        add_incoming(out, l->start[k], l->from);
        add_incoming(out, value[k], last);
        value[k] = out;
    }
    cg_memo_release(c, l->memo);
}

void cg_if_begin(cg *c, cg_branch *br, cg_value condition, int count, const cg_value *value)
{
    bug_if(count > CG_CARRIED, "%d merged values", count);
    *br = (cg_branch){.before = LLVMGetInsertBlock(c->b), .count = count, .memo = cg_memo_mark(c)};
    for (int k = 0; k < count; k++) br->value[k] = value[k];
    LLVMBasicBlockRef then = cg_block(c, "then");
    br->other = cg_block(c, "else");
    br->after = cg_block(c, "endif");
    LLVMBuildCondBr(c->b, condition, then, br->other);
    LLVMPositionBuilderAtEnd(c->b, then);
}

void cg_if_other(cg *c, cg_branch *br, const cg_value *value)
{
    for (int k = 0; k < br->count; k++) br->value[k] = value[k];
    br->then_end = LLVMGetInsertBlock(c->b);
    br->has_other = true;
    LLVMBuildBr(c->b, br->after);
    LLVMPositionBuilderAtEnd(c->b, br->other);
    cg_memo_release(c, br->memo);
}

void cg_if_end(cg *c, cg_branch *br, cg_value *value)
{
    LLVMBasicBlockRef last = LLVMGetInsertBlock(c->b);
    LLVMBuildBr(c->b, br->after);
    if (!br->has_other) {
        /* the branch not taken keeps the values from before */
        LLVMPositionBuilderAtEnd(c->b, br->other);
        LLVMBuildBr(c->b, br->after);
        br->then_end = br->other;
    }
    LLVMPositionBuilderAtEnd(c->b, br->after);
    for (int k = 0; k < br->count; k++) {
        cg_value out = LLVMBuildPhi(c->b, LLVMTypeOf(value[k]), "");
        add_incoming(out, value[k], last);
        add_incoming(out, br->value[k], br->then_end);
        value[k] = out;
    }
    cg_memo_release(c, br->memo);
}

/* ---- spans ---------------------------------------------------------------------------------- */

/* A loop over [begin, end) in steps of lanes * unroll, which must divide it. */
static void emit_loop(cg *c, const cg_span *s, cg_value begin, cg_value end, int lanes, int unroll,
                      cg_emit *emit, void *context)
{
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, (int64_t)lanes * unroll, s->count, s->value);
    for (int u = 0; u < unroll; u++) {
        emit(c, cg_add(c, l.i, cg_i64(c, (int64_t)u * lanes)), lanes, u, s->value, context);
    }
    cg_loop_end(c, &l, s->value);
}

/* Emits without a loop: whole vectors, then ever smaller ones. */
static void emit_straight(cg *c, const cg_span *s, cg_value begin, int64_t extent, cg_emit *emit,
                          void *context)
{
    int64_t at = 0;
    for (int lanes = s->lanes; lanes >= 1; lanes /= 2) {
        for (int turn = 0; extent - at >= lanes; at += lanes, turn++) {
            emit(c, cg_add(c, begin, cg_i64(c, at)), lanes, turn % s->unroll, s->value, context);
        }
    }
}

static void emit_constant(cg *c, const cg_span *s, cg_emit *emit, void *context)
{
    enum { STRAIGHT = 4 }; /* vectors that are worth no loop */
    int64_t vectors = s->extent / s->lanes, rest = s->extent % s->lanes;
    int64_t straight = s->compact ? 1 : STRAIGHT;
    cg_value begin = s->begin;
    if (vectors > straight) {
        int unroll = s->compact ? 1 : s->unroll;
        int64_t looped = vectors / unroll * unroll * s->lanes;
        cg_value middle = cg_add(c, begin, cg_i64(c, looped));
        emit_loop(c, s, begin, middle, s->lanes, unroll, emit, context);
        begin = middle;
        rest = s->extent - looped;
    } else {
        rest = s->extent;
    }
    if (s->compact && rest % s->lanes > 1) {
        int64_t whole = rest - rest % s->lanes;
        emit_straight(c, s, begin, whole, emit, context);
        begin = cg_add(c, begin, cg_i64(c, whole));
        emit_loop(c, s, begin, s->end, 1, 1, emit, context);
    } else {
        emit_straight(c, s, begin, rest, emit, context);
    }
}

void cg_span_emit(cg *c, const cg_span *s, cg_emit *emit, void *context)
{
    if (s->extent >= 0) {
        emit_constant(c, s, emit, context);
        return;
    }
    cg_value begin = s->begin, extent = cg_sub(c, s->end, s->begin);
    for (int unroll = s->compact ? 1 : s->unroll; unroll >= 1; unroll = unroll > 1 ? 1 : 0) {
        int64_t step = (int64_t)s->lanes * unroll;
        cg_value whole = cg_and(c, extent, cg_i64(c, -step));
        cg_value middle = cg_add(c, s->begin, whole);
        emit_loop(c, s, begin, middle, s->lanes, unroll, emit, context);
        begin = middle;
    }
    if (s->lanes > 1) emit_loop(c, s, begin, s->end, 1, 1, emit, context);
}

/* ---- functions ------------------------------------------------------------------------------ */

static void add_text_attribute(cg *c, cg_value fn, const char *key, const char *value)
{
    LLVMAddAttributeAtIndex(
        fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
        LLVMCreateStringAttribute(c->context, key, (unsigned)strlen(key), value, (unsigned)strlen(value)));
}

/* Other modules of the program, if any, may call it. */
static void share_function(const cg *c, cg_value fn)
{
    LLVMSetLinkage(fn, c->helpers ? LLVMExternalLinkage : LLVMInternalLinkage);
    if (c->helpers) LLVMSetVisibility(fn, LLVMHiddenVisibility);
}

void cg_function_prepare(cg *c, cg_value fn)
{
    unsigned kind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateEnumAttribute(c->context, kind, 0));
    add_text_attribute(c, fn, "target-cpu", c->cpu);
    add_text_attribute(c, fn, "target-features", c->features);
    if (c->target->bits == 512) add_text_attribute(c, fn, "prefer-vector-width", "512");
    share_function(c, fn);
}

void cg_kernel_begin(cg *c)
{
    LLVMTypeRef param[] = {c->ptr, c->i64, c->i64, c->ptr};
    LLVMTypeRef type = LLVMFunctionType(c->none, param, 4, 0);
    const int number = c->kernel->launch_count;
    const char *name = arena_printf(&c->scratch, "%s_%s", c->prefix, c->kernel->name);
    if (number) name = arena_printf(&c->scratch, "%s_%d", name, number);
    c->fn = LLVMAddFunction(c->module, name, type);
    cg_function_prepare(c, c->fn);
    c->n = LLVMGetParam(c->fn, 1);
    c->task = LLVMGetParam(c->fn, 2);
    c->scratch_memory = LLVMGetParam(c->fn, 3);
    c->scratch_used = TFCC_SCRATCH_HEAD;
    c->past_caches = NULL;
    LLVMPositionBuilderAtEnd(c->b, cg_block(c, "entry"));
    const cg_body *body = c->body;
    c->arg = arena_array(&c->scratch, cg_value, (size_t)body->arg_count);
    for (int i = 0; i < body->arg_count; i++) {
        cg_value at = cg_at(c, c->ptr, LLVMGetParam(c->fn, 0), cg_i64(c, i));
        c->arg[i] = cg_load(c, c->ptr, at, 8);
        cg_mark_read_only(c, c->arg[i]);
    }
    cg_memo_clear(c);
    for (ir_value v = 0; v < (ir_value)body->graph->count; v++) {
        cg_unbind(c, v);
        if (cg_node(c, v)->op != OP_parameter) continue;
        int64_t i = ir_attr_int(cg_node(c, v), ATTR_index, 0);
        cg_bind_memory(c, v, c->arg[i], !body->arg_shared[i]);
    }
}

void cg_kernel_end(cg *c, ir_dim rows, int64_t grain, int64_t times)
{
    LLVMBuildRetVoid(c->b);
    cg_kernel *k = c->kernel;
    bug_if(k->launch_count == CG_LAUNCHES, "a kernel of more than %d launches", CG_LAUNCHES);
    k->launch[k->launch_count++] = (cg_launch){c->fn, rows, grain, times};
    k->scratch = base_max(k->scratch, c->scratch_used);
}

cg_value cg_scratch(cg *c, int64_t bytes)
{
    cg_value at = cg_at(c, c->i8, c->scratch_memory, cg_i64(c, c->scratch_used));
    c->scratch_used += (bytes + 63) / 64 * 64;
    return at;
}

cg_value cg_threads(cg *c)
{
    enum { MOST_THREADS = 1024 };
    cg_value threads = cg_load(c, c->i64, c->scratch_memory, 8);
    return cg_max(c, cg_min(c, threads, cg_i64(c, MOST_THREADS)), cg_i64(c, 1));
}

void cg_task_rows(cg *c, ir_dim rows, int64_t grain, int64_t times, cg_value *out_begin, cg_value *out_end,
                  cg_value *out_part)
{
    cg_value block = cg_div(c, c->task, cg_i64(c, times));
    if (out_part) *out_part = cg_rem(c, c->task, cg_i64(c, times));
    cg_value begin = cg_mul(c, block, cg_i64(c, grain));
    *out_begin = begin;
    *out_end = cg_min(c, cg_add(c, begin, cg_i64(c, grain)), cg_dim(c, rows));
}

int64_t cg_grain(int64_t bytes, int64_t work)
{
    enum { TASK_BYTES = 65536, TASK_WORK = 200000 };
    int64_t by_bytes = TASK_BYTES / base_max(bytes, 1), by_work = TASK_WORK / base_max(work, 1);
    return base_max(1, base_min(by_bytes, by_work));
}

/* The type of another context as one of c. */
static LLVMTypeRef import_type(const cg *c, LLVMTypeRef t)
{
    switch (LLVMGetTypeKind(t)) {
    case LLVMVoidTypeKind:
        return c->none;
    case LLVMPointerTypeKind:
        return c->ptr;
    case LLVMHalfTypeKind:
        return c->f16;
    case LLVMFloatTypeKind:
        return c->f32;
    case LLVMDoubleTypeKind:
        return c->f64;
    case LLVMIntegerTypeKind:
        return LLVMIntTypeInContext(c->context, LLVMGetIntTypeWidth(t));
    case LLVMVectorTypeKind:
        return LLVMVectorType(import_type(c, LLVMGetElementType(t)), LLVMGetVectorSize(t));
    default:
        bug("a parameter of a type that modules cannot share");
    }
}

cg_value cg_function_import(cg *c, cg_value fn)
{
    if (LLVMGetGlobalParent(fn) == c->module) return fn;
    size_t length;
    const char *symbol = LLVMGetValueName2(fn, &length);
    cg_value known = LLVMGetNamedFunction(c->module, symbol);
    if (known) return known;
    LLVMTypeRef type = LLVMGlobalGetValueType(fn), param[32];
    const unsigned count = LLVMCountParamTypes(type);
    bug_if(count > countof(param), "%u parameters", count);
    LLVMGetParamTypes(type, param);
    for (unsigned i = 0; i < count; i++) param[i] = import_type(c, param[i]);
    LLVMTypeRef own = LLVMFunctionType(import_type(c, LLVMGetReturnType(type)), param, count, 0);
    cg_value import = LLVMAddFunction(c->module, symbol, own);
    share_function(c, import);
    return import;
}

static const char *helper_symbol(cg *c, const char *name) { return arena_printf(&c->scratch, "%s_%s", c->prefix, name); }

cg_value cg_helper_find(cg *c, const char *name)
{
    cg_value fn = LLVMGetNamedFunction(c->module, helper_symbol(c, name));
    if (fn || !c->helpers || !(fn = map_find(c->helpers, name))) return fn;
    return cg_function_import(c, fn);
}

cg_helper cg_helper_begin(cg *c, const char *name, LLVMTypeRef result, int count, const LLVMTypeRef *param)
{
    LLVMTypeRef copy[32];
    bug_if(count > (int)countof(copy), "%d parameters", count);
    for (int i = 0; i < count; i++) copy[i] = param[i];
    cg_helper h = {.outer_fn = c->fn, .outer_block = LLVMGetInsertBlock(c->b)};
    h.fn = LLVMAddFunction(c->module, helper_symbol(c, name), LLVMFunctionType(result, copy, (unsigned)count, 0));
    if (c->helpers) map_set(c->helpers, name, h.fn);
    cg_function_prepare(c, h.fn);
    c->fn = h.fn;
    LLVMPositionBuilderAtEnd(c->b, cg_block(c, "entry"));
    return h;
}

void cg_helper_end(cg *c, const cg_helper *h)
{
    c->fn = h->outer_fn;
    if (h->outer_block) LLVMPositionBuilderAtEnd(c->b, h->outer_block);
}

cg_value cg_helper_call(cg *c, cg_value fn, int count, cg_value *arg)
{
    return LLVMBuildCall2(c->b, LLVMGlobalGetValueType(fn), fn, arg, (unsigned)count, "");
}
