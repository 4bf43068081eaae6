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

static const char *const pass_list =
    "function(early-cse<memssa>,simplifycfg,loop-mssa(licm),early-cse<memssa>)";

static LLVMTargetMachineRef make_machine(LLVMTargetRef target, const char *triple, const char *cpu,
                                         const char *features, int level)
{
    LLVMTargetMachineOptionsRef o = LLVMCreateTargetMachineOptions();
    LLVMTargetMachineOptionsSetCPU(o, cpu);
    LLVMTargetMachineOptionsSetFeatures(o, features);
    LLVMTargetMachineOptionsSetCodeGenOptLevel(o, level > 0 ? LLVMCodeGenLevelDefault : LLVMCodeGenLevelLess);
    LLVMTargetMachineOptionsSetRelocMode(o, LLVMRelocPIC);
    LLVMTargetMachineRef machine = LLVMCreateTargetMachineWithOptions(target, triple, o);
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

/* Which vector unit a processor has, whatever its name: asked of LLVM, by the assembly of a vector fma. */
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
    cg_store(&c, cg_intrinsic(&c, "llvm.fma", 3, arg), at, 4);
    LLVMBuildRetVoid(c.b);
    LLVMMemoryBufferRef out = NULL;
    char *message = NULL;
    const char *found = "";
    if (!LLVMTargetMachineEmitToMemoryBuffer(machine, c.module, LLVMAssemblyFile, &message, &out)) {
        char *copy = strndup(LLVMGetBufferStart(out), LLVMGetBufferSize(out));
        if (copy && strstr(copy, "vfm"))
            found = strstr(copy, "%zmm") ? "+avx512vl" : strstr(copy, "%ymm") ? "+avx2" : "";
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

static void choose_cpu(cg *c, const codegen_options *options, const char *triple, bool host)
{
    const bool native = !options->cpu || strcmp(options->cpu, "native") == 0;
    c->cpu = native ? "generic" : options->cpu;
    c->features = strncmp(triple, "aarch64", 7) == 0 ? "+neon" : "";
    if (!native || !host) return;
    char *cpu = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
    c->cpu = arena_strdup(c->arena, cpu);
    c->features = arena_strdup(c->arena, features);
    LLVMDisposeMessage(cpu);
    LLVMDisposeMessage(features);
}

bool cg_open(cg *c, const codegen_options *options, diag *d)
{
    LLVMInitializeAllTargetInfos();
    LLVMInitializeAllTargets();
    LLVMInitializeAllTargetMCs();
    LLVMInitializeAllAsmPrinters();
    char *host = LLVMGetDefaultTargetTriple(), *problem = NULL;
    const char *triple = arena_strdup(c->arena, options->triple ? options->triple : host);
    const bool is_host = strncmp(triple, host, strcspn(host, "-") + 1) == 0;
    LLVMDisposeMessage(host);
    LLVMTargetRef target;
    if (LLVMGetTargetFromTriple(triple, &target, &problem)) {
        diag_error(d, NULL, "expected a triple of a known target, found \"%s\" (%s)", triple, problem);
        LLVMDisposeMessage(problem);
        return false;
    }
    choose_cpu(c, options, triple, is_host);
    c->machine = make_machine(target, triple, c->cpu, c->features, options->level);
    c->target = cg_target_find(triple, probe_features(c->machine, triple));
    c->lanes = c->target->bits / 32;
    c->level = options->level;
    c->d = d;
    c->context = LLVMContextCreate();
    c->module = LLVMModuleCreateWithNameInContext("tfcc", c->context);
    c->b = LLVMCreateBuilderInContext(c->context);
    c->layout = LLVMCreateTargetDataLayout(c->machine);
    LLVMSetTarget(c->module, triple);
    LLVMSetModuleDataLayout(c->module, c->layout);
    make_types(c);
    make_scope(c);
    return true;
}

void cg_close(cg *c)
{
    if (c->b) LLVMDisposeBuilder(c->b);
    if (c->module) LLVMDisposeModule(c->module);
    if (c->layout) LLVMDisposeTargetData(c->layout);
    if (c->machine) LLVMDisposeTargetMachine(c->machine);
    if (c->context) LLVMContextDispose(c->context);
    arena_done(&c->scratch);
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

static bool run_passes(cg *c, diag *d)
{
    LLVMPassBuilderOptionsRef o = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = c->level > 0 ? LLVMRunPasses(c->module, pass_list, c->machine, o) : NULL;
    LLVMDisposePassBuilderOptions(o);
    if (!error) return true;
    char *message = LLVMGetErrorMessage(error);
    diag_error(d, NULL, "LLVM passes failed: %s", message);
    LLVMDisposeErrorMessage(message);
    return false;
}

bool cg_write(cg *c, codegen_kind kind, const char *path, diag *d)
{
    text out = {0};
    char *message = NULL;
    LLVMMemoryBufferRef bytes = NULL;
    if (!run_passes(c, d)) return false;
    if (kind == CODEGEN_LLVM) {
        char *ir = LLVMPrintModuleToString(c->module);
        text_put(&out, ir, strlen(ir));
        LLVMDisposeMessage(ir);
    } else {
        LLVMCodeGenFileType type = kind == CODEGEN_OBJECT ? LLVMObjectFile : LLVMAssemblyFile;
        if (LLVMTargetMachineEmitToMemoryBuffer(c->machine, c->module, type, &message, &bytes)) {
            diag_error(d, NULL, "LLVM cannot write code for this target: %s", message);
            LLVMDisposeMessage(message);
            return false;
        }
        text_put(&out, LLVMGetBufferStart(bytes), LLVMGetBufferSize(bytes));
        LLVMDisposeMemoryBuffer(bytes);
    }
    bool ok = text_write_file(&out, path);
    if (!ok) diag_error(d, NULL, "cannot write %s: %s", path, strerror(errno));
    text_done(&out);
    return ok;
}
