/* rt.c: see rt.h. */
#define _DEFAULT_SOURCE /* madvise */
#include "rt.h"
#include "tfcc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

struct rt_block {
    rt_block *next, *previous;
    size_t size; /* with this head */
};

enum { HEAD_BYTES = 64, LARGE_BYTES = 4 << 20 };

/* Zeroed memory of `size` bytes, or NULL. Large blocks are mapped: the system hands them out zeroed, page by
 * page at first use, in huge pages where it can. */
static void *take_memory(const rt *r, size_t size)
{
    void *memory = NULL;
    if (r->allocator) {
        memory = r->allocator->allocate(r->allocator->context, size, HEAD_BYTES);
        return memory ? memset(memory, 0, size) : NULL;
    }
    if (size >= LARGE_BYTES) {
        memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) return NULL;
        madvise(memory, size, MADV_HUGEPAGE);
        return memory;
    }
    if (posix_memalign(&memory, 64, size) != 0) return NULL;
    return memset(memory, 0, size);
}

static void give_memory(const rt *r, rt_block *block)
{
    if (r->allocator)
        r->allocator->release(r->allocator->context, block, block->size);
    else if (block->size >= LARGE_BYTES)
        munmap(block, block->size);
    else
        free(block);
}

void rt_init(rt *r, const char *name, const tfcc_program *program)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    /* What the loader did before main counts as the program's time too; it never waits, so its processor
     * time is its time. */
    double before = (double)used.tv_sec + (double)used.tv_nsec * 1e-9;
    *r = (rt){.name = name, .program = program, .started = rt_seconds() - before};
}

void rt_done(rt *r)
{
    while (r->blocks) {
        rt_block *next = r->blocks->next;
        give_memory(r, r->blocks);
        r->blocks = next;
    }
}

static void print_line(const rt *r, const char *format, va_list args)
{
    if (r->said) {
        vsnprintf(r->said, r->said_room, format, args);
        return;
    }
    fflush(stdout);
    fprintf(stderr, "%s: ", r->name);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
}

bool rt_wrong(rt *r, const char *format, ...)
{
    if (r->status) return false;
    r->status = RT_EXIT_WRONG;
    va_list args;
    va_start(args, format);
    print_line(r, format, args);
    va_end(args);
    return false;
}

bool rt_failed(rt *r, const char *format, ...)
{
    if (r->status) return false;
    r->status = RT_EXIT_FAILED;
    va_list args;
    va_start(args, format);
    print_line(r, format, args);
    va_end(args);
    return false;
}

void rt_note(const rt *r, const char *format, ...)
{
    if (r->said) return;
    va_list args;
    va_start(args, format);
    print_line(r, format, args);
    va_end(args);
}

void *rt_alloc(rt *r, uint64_t size, const char *what)
{
    rt_block *block = size > UINT64_MAX / 4 ? NULL : take_memory(r, (size_t)size + HEAD_BYTES);
    if (!block) {
        rt_failed(r, "not enough memory for %s: %.1f MB", what, (double)size / 1e6);
        return NULL;
    }
    *block = (rt_block){.next = r->blocks, .size = (size_t)size + HEAD_BYTES};
    if (r->blocks) r->blocks->previous = block;
    r->blocks = block;
    return (char *)block + HEAD_BYTES;
}

void *rt_alloc_many(rt *r, uint64_t count, uint64_t size, const char *what)
{
    return rt_alloc(r, rt_multiply(count, size), what);
}

void rt_free(rt *r, void *memory)
{
    if (!memory) return;
    rt_block *block = (rt_block *)(void *)((char *)memory - HEAD_BYTES);
    if (block->next) block->next->previous = block->previous;
    if (block->previous)
        block->previous->next = block->next;
    else
        r->blocks = block->next;
    give_memory(r, block);
}

char *rt_printf(rt *r, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : rt_alloc(r, (uint64_t)length + 1, "a message");
    if (text) vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

uint64_t rt_multiply(uint64_t a, uint64_t b)
{
    if (b != 0 && a > UINT64_MAX / b) return UINT64_MAX;
    return a * b;
}

double rt_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static const struct {
    const char *name;
    uint8_t size, is_float;
} dtypes[] = {
    [TFCC_I1] = {"bool", 1, 0},     [TFCC_I8] = {"int8", 1, 0},       [TFCC_I16] = {"int16", 2, 0},
    [TFCC_I32] = {"int32", 4, 0},   [TFCC_I64] = {"int64", 8, 0},     [TFCC_U8] = {"uint8", 1, 0},
    [TFCC_U16] = {"uint16", 2, 0},  [TFCC_U32] = {"uint32", 4, 0},    [TFCC_U64] = {"uint64", 8, 0},
    [TFCC_F16] = {"float16", 2, 1}, [TFCC_BF16] = {"bfloat16", 2, 1}, [TFCC_F32] = {"float32", 4, 1},
    [TFCC_F64] = {"float64", 8, 1},   [TFCC_STR] = {"string", 8, 0},
    [TFCC_ROW] = {"sparse rows", 8, 0},
};

size_t rt_dtype_size(uint32_t dtype) { return dtypes[dtype].size; }

const char *rt_dtype_name(uint32_t dtype) { return dtypes[dtype].name; }

bool rt_dtype_is_float(uint32_t dtype) { return dtypes[dtype].is_float; }

uint64_t rt_shape_elements(const tfcc_shape *shape, int64_t n)
{
    uint64_t count = 1;
    for (uint32_t i = 0; i < shape->rank; i++) {
        count = rt_multiply(count, (uint64_t)shape->dim[i]);
        if (shape->batch >> i & 1) count = rt_multiply(count, (uint64_t)n);
    }
    return count;
}

uint64_t rt_shape_bytes(const tfcc_shape *shape, int64_t n)
{
    return rt_multiply(rt_shape_elements(shape, n), rt_dtype_size(shape->dtype));
}

uint64_t rt_shape_row_elements(const tfcc_shape *shape)
{
    uint64_t count = 1;
    for (uint32_t i = 1; i < shape->rank; i++) count = rt_multiply(count, (uint64_t)shape->dim[i]);
    return count;
}

const char *rt_shape_show(rt *r, uint32_t rank, const int64_t *dim, uint32_t batch)
{
    char text[256];
    size_t used = 0;
    text[used++] = '[';
    for (uint32_t i = 0; i < rank && used < sizeof text - 40; i++) {
        if (i > 0) text[used++] = ',';
        bool rows = batch >> i & 1;
        if (!rows || dim[i] != 1) {
            used += (size_t)snprintf(text + used, sizeof text - used, "%lld", (long long)dim[i]);
        }
        if (rows) text[used++] = 'N';
    }
    text[used++] = ']';
    text[used] = 0;
    const char *kept = rt_printf(r, "%s", text);
    return kept ? kept : "";
}

enum { LONGEST_WORD = 64 };

/* Levenshtein's distance. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t n = strlen(b), row[LONGEST_WORD + 1];
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

const char *rt_nearest(const char *word, const char *const *candidate, size_t count)
{
    if (strlen(word) > LONGEST_WORD) return NULL;
    const char *nearest = NULL;
    size_t best = strlen(word) / 3 + 2;
    for (size_t i = 0; i < count; i++) {
        if (strlen(candidate[i]) > LONGEST_WORD) continue;
        size_t distance = edit_distance(word, candidate[i]);
        if (distance < best) {
            best = distance;
            nearest = candidate[i];
        }
    }
    return nearest;
}

const tfcc_graph *rt_find_graph(const rt *r, const char *name)
{
    for (uint64_t i = 0; i < r->program->graph_count; i++) {
        if (strcmp(r->program->graph[i].name, name) == 0) return &r->program->graph[i];
    }
    return NULL;
}
