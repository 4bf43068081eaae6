/* object.c: the target machine, and the way from a module to bytes. The kernels are explicit vector code: a
 * light pass list is as fast as -O3 and compiles ten times sooner (common subexpressions, then loop
 * invariants). */
#include "codegen/plan.h"

#include <errno.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Transforms/PassBuilder.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const pass_list =
    "function(early-cse<memssa>,simplifycfg,loop-mssa(licm),early-cse<memssa>)";

static LLVMTargetMachineRef make_machine(const cg_platform *p)
{
    LLVMTargetMachineOptionsRef o = LLVMCreateTargetMachineOptions();
    LLVMTargetMachineOptionsSetCPU(o, p->cpu);
    LLVMTargetMachineOptionsSetFeatures(o, p->features);
    LLVMTargetMachineOptionsSetCodeGenOptLevel(o, p->level > 0 ? LLVMCodeGenLevelDefault : LLVMCodeGenLevelLess);
    LLVMTargetMachineOptionsSetRelocMode(o, LLVMRelocPIC);
    LLVMTargetMachineRef machine = LLVMCreateTargetMachineWithOptions(p->llvm, p->triple, o);
    LLVMDisposeTargetMachineOptions(o);
    return machine;
}

static void make_types(cg *c)
{
    c->i1 = LLVMInt1TypeInContext(c->context);
    c->i8 = LLVMInt8TypeInContext(c->context);
    c->i16 = LLVMInt16TypeInContext(c->context);
    c->i32 = LLVMInt32TypeInContext(c->context);
    c->i64 = LLVMInt64TypeInContext(c->context);
    c->f16 = LLVMHalfTypeInContext(c->context);
    c->f32 = LLVMFloatTypeInContext(c->context);
    c->f64 = LLVMDoubleTypeInContext(c->context);
    c->ptr = LLVMPointerTypeInContext(c->context, 0);
    c->none = LLVMVoidTypeInContext(c->context);
}

/* Some line has the instruction with the operand. */
static bool has(const char *assembly, const char *instruction, const char *operand)
{
    for (const char *at = assembly; (at = strstr(at, instruction)) != NULL; at++) {
        const char *found = strstr(at, operand);
        if (found && found < at + strcspn(at, "\n")) return true;
    }
    return false;
}

static const char *features_of(const char *assembly)
{
    if (has(assembly, "vfm", "%ymm")) return "+avx2";
    if (has(assembly, "vfm", "%zmm")) {
        if (!has(assembly, "vcvtneps2bf16", "%zmm")) return "+avx512vl";
        return has(assembly, "vmulph", "mm") ? "+avx512fp16" : "+avx512bf16";
    }
    if (!has(assembly, "fmul", ".8h")) return "";
    return has(assembly, "bfcvtn", ".4s") ? "+bf16" : "+fullfp16";
}

/* Which vector unit a processor has, and what it does with 16-bit floats, whatever its name: asked of LLVM, by the assembly of
 * a vector fma, of a conversion to bfloat16 and of a product of float16. */
static const char *probe_features(LLVMTargetMachineRef machine, const char *triple)
{
    cg c = {.context = LLVMContextCreate()};
    make_types(&c);
    c.module = LLVMModuleCreateWithNameInContext("probe", c.context);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(machine);
    LLVMSetTarget(c.module, triple);
    LLVMSetModuleDataLayout(c.module, layout);
    c.b = LLVMCreateBuilderInContext(c.context);
    LLVMTypeRef v = cg_vector(c.f32, 16), param[] = {c.ptr, v, v};
    c.fn = LLVMAddFunction(c.module, "probe", LLVMFunctionType(c.none, param, 3, 0));
    LLVMPositionBuilderAtEnd(c.b, cg_block(&c, "entry"));
    cg_value at = LLVMGetParam(c.fn, 0);
    cg_value arg[] = {LLVMGetParam(c.fn, 1), LLVMGetParam(c.fn, 2), cg_load(&c, v, at, 4)};
    cg_value sum = cg_intrinsic(&c, "llvm.fma", 3, arg);
    cg_store(&c, sum, at, 4);
    LLVMTypeRef half = cg_vector(c.f16, 8);
    cg_value next = cg_at(&c, v, at, cg_i64(&c, 1)), x = cg_load(&c, half, next, 2);
    cg_store(&c, LLVMBuildFMul(c.b, x, x, ""), next, 2);
    cg_store(&c, LLVMBuildFPTrunc(c.b, sum, cg_vector(LLVMBFloatTypeInContext(c.context), 16), ""), at, 2);
    LLVMBuildRetVoid(c.b);
    LLVMMemoryBufferRef out = NULL;
    char *message = NULL;
    const char *found = "";
    if (!LLVMTargetMachineEmitToMemoryBuffer(machine, c.module, LLVMAssemblyFile, &message, &out)) {
        char *copy = strndup(LLVMGetBufferStart(out), LLVMGetBufferSize(out));
        if (copy) found = features_of(copy);
        free(copy);
        LLVMDisposeMemoryBuffer(out);
    }
    LLVMDisposeMessage(message);
    LLVMDisposeBuilder(c.b);
    LLVMDisposeModule(c.module);
    LLVMContextDispose(c.context);
    LLVMDisposeTargetData(layout);
    return found;
}

/* The metadata that tells loads from read-only arguments apart from what kernels store to. */
static void make_scope(cg *c)
{
    LLVMMetadataRef domain_name = LLVMMDStringInContext2(c->context, "tfcc", 4);
    LLVMMetadataRef domain = LLVMMDNodeInContext2(c->context, &domain_name, 1);
    LLVMMetadataRef pair[] = {LLVMMDStringInContext2(c->context, "read only", 9), domain};
    LLVMMetadataRef scope = LLVMMDNodeInContext2(c->context, pair, 2);
    c->read_scope = LLVMMetadataAsValue(c->context, LLVMMDNodeInContext2(c->context, &scope, 1));
}

/* LLVM takes any processor name and only grumbles on standard error about those it does not know, so that is where to
 * look: NULL when it said something. */
static LLVMTargetMachineRef make_known_machine(const cg_platform *p)
{
    FILE *said = tmpfile();
    int kept = said ? dup(STDERR_FILENO) : -1;
    if (kept < 0) {
        if (said) fclose(said);
        return make_machine(p);
    }
    fflush(stderr);
    dup2(fileno(said), STDERR_FILENO);
    LLVMTargetMachineRef machine = make_machine(p);
    dup2(kept, STDERR_FILENO);
    close(kept);
    const bool quiet = lseek(fileno(said), 0, SEEK_END) == 0;
    fclose(said);
    if (quiet) return machine;
    LLVMDisposeTargetMachine(machine);
    return NULL;
}

/* Processors by name that a machine with such a feature is one of. */
static bool is_known_to_run(const char *cpu, const char *host, const char *features)
{
    static const struct { const char *cpu, *feature; } levels[] = {
        {"x86-64", "+sse2,"}, {"x86-64-v2", "+sse4.2,"}, {"x86-64-v3", "+avx2,"}, {"x86-64-v4", "+avx512vl,"}};
    bool runs = strcmp(cpu, host) == 0;
    for (size_t i = 0; i < countof(levels); i++)
        runs = runs || (strcmp(cpu, levels[i].cpu) == 0 && strstr(features, levels[i].feature));
    return runs;
}

static void choose_cpu(cg_platform *p, const codegen_options *options, bool host)
{
    const bool native = !options->cpu || strcmp(options->cpu, "native") == 0;
    p->cpu = native ? "generic" : options->cpu;
    p->features = strncmp(p->triple, "aarch64", 7) == 0 ? "+neon" : "";
    if (!host) return;
    char *cpu = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
    p->runs_here = native || is_known_to_run(p->cpu, cpu, features);
    if (native) {
        p->cpu = arena_strdup(p->arena, cpu);
        p->features = arena_strdup(p->arena, features);
    }
    LLVMDisposeMessage(cpu);
    LLVMDisposeMessage(features);
}

bool cg_platform_open(cg_platform *p, arena *a, const codegen_options *options, diag *d)
{
    LLVMInitializeAllTargetInfos();
    LLVMInitializeAllTargets();
    LLVMInitializeAllTargetMCs();
    LLVMInitializeAllAsmPrinters();
    char *host = LLVMGetDefaultTargetTriple(), *problem = NULL;
    *p = (cg_platform){.arena = a, .level = options->level, .prefix = options->prefix ? options->prefix : "tfcc"};
    p->triple = arena_strdup(a, options->triple ? options->triple : host);
    const bool is_host = strncmp(p->triple, host, strcspn(host, "-") + 1) == 0;
    LLVMDisposeMessage(host);
    if (LLVMGetTargetFromTriple(p->triple, &p->llvm, &problem)) {
        diag_error(d, NULL, "expected a triple of a known target, found \"%s\" (%s)", p->triple, problem);
        LLVMDisposeMessage(problem);
        return false;
    }
    choose_cpu(p, options, is_host);
    LLVMTargetMachineRef machine = make_known_machine(p);
    if (!machine) {
        return diag_error(d, NULL, "expected a processor of target %s, found \"%s\"", p->triple, p->cpu);
    }
    p->target = cg_target_find(p->triple, probe_features(machine, p->triple));
    LLVMDisposeTargetMachine(machine);
    return true;
}

bool codegen_describe(const codegen_options *options, arena *a, codegen_family *out, diag *d)
{
    cg_platform p;
    if (!cg_platform_open(&p, a, options, d)) return false;
    const cg_target *t = p.target;
    *out = (codegen_family){.name = t->name, .f16 = t->f16, .pairs = *t->pairs != '\0', .columns = t->nr};
    return true;
}

void cg_open(cg *c, const cg_platform *p, map *helpers)
{
    *c = (cg){.arena = p->arena, .helpers = helpers, .target = p->target, .cpu = p->cpu, .features = p->features, .prefix = p->prefix};
    c->machine = make_machine(p);
    c->lanes = c->target->bits / 32;
    c->level = p->level;
    c->context = LLVMContextCreate();
    c->module = LLVMModuleCreateWithNameInContext("tfcc", c->context);
    c->b = LLVMCreateBuilderInContext(c->context);
    c->layout = LLVMCreateTargetDataLayout(c->machine);
    LLVMSetTarget(c->module, p->triple);
    LLVMSetModuleDataLayout(c->module, c->layout);
    make_types(c);
    make_scope(c);
}

void cg_release(cg *c)
{
    if (c->b) LLVMDisposeBuilder(c->b);
    if (c->module) LLVMDisposeModule(c->module);
    if (c->layout) LLVMDisposeTargetData(c->layout);
    if (c->machine) LLVMDisposeTargetMachine(c->machine);
    if (c->context) LLVMContextDispose(c->context);
    c->b = NULL;
    c->module = NULL;
    c->layout = NULL;
    c->machine = NULL;
    c->context = NULL;
    arena_done(&c->scratch);
}

void cg_close(cg *c)
{
    cg_release(c);
    free(c->problem);
    c->problem = NULL;
}

void cg_verify(cg *c, cg_value fn)
{
    if (!LLVMVerifyFunction(fn, LLVMReturnStatusAction)) return;
    char *ir = LLVMPrintValueToString(fn);
    fprintf(stderr, "%s\n", ir);
    LLVMVerifyFunction(fn, LLVMPrintMessageAction);
    LLVMDisposeMessage(ir);
    bug("kernel is not valid LLVM IR:\n%s", c->body ? c->body->key : "");
}

/* Keeps the first problem. */
static bool fail(cg *c, const char *what, const char *why)
{
    text t = {0};
    text_add(&t, "%s: %s", what, why);
    if (!c->problem) c->problem = strdup(text_get(&t));
    text_done(&t);
    return false;
}

static bool run_passes(cg *c)
{
    LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = c->level > 0 ? LLVMRunPasses(c->module, pass_list, c->machine, o) : NULL;
    LLVMDisposePassBuilderOptions(o);
    if (!error) return true;
    char *message = LLVMGetErrorMessage(error);
    fail(c, "LLVM passes failed", message);
    LLVMDisposeErrorMessage(message);
    return false;
}

static bool emit_code(cg *c, LLVMCodeGenFileType type, text *out)
{
    char *message = NULL;
    LLVMMemoryBufferRef bytes = NULL;
    if (LLVMTargetMachineEmitToMemoryBuffer(c->machine, c->module, type, &message, &bytes)) {
        fail(c, "LLVM cannot write code for this target", message);
        LLVMDisposeMessage(message);
        return false;
    }
    text_put(out, LLVMGetBufferStart(bytes), LLVMGetBufferSize(bytes));
    LLVMDisposeMemoryBuffer(bytes);
    return true;
}

bool cg_write_object(cg *c, text *out) { return run_passes(c) && emit_code(c, LLVMObjectFile, out); }

void cg_write(cg *c, codegen_kind kind, const char *path)
{
    text out = {0};
    if (!run_passes(c)) return;
    if (kind == CODEGEN_LLVM) {
        char *ir = LLVMPrintModuleToString(c->module);
        text_put(&out, ir, strlen(ir));
        LLVMDisposeMessage(ir);
    } else if (!emit_code(c, kind == CODEGEN_OBJECT ? LLVMObjectFile : LLVMAssemblyFile, &out)) {
        return;
    }
    if (!text_write_file(&out, path)) fail(c, path, strerror(errno));
    text_done(&out);
}
