/* arena.c: see arena.h. Blocks double in size up to 16 MiB. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK = 1 << 16, LARGEST_BLOCK = 1 << 24, ALIGN = 16 };

struct arena_block {
    arena_block *older;
    size_t used, size;
    size_t pad; /* keeps the data aligned to 16 */
};

static char *block_data(arena_block *b) { return (char *)(b + 1); }

static void block_add(arena *a, size_t at_least)
{
    size_t size = a->block ? a->block->size * 2 : FIRST_BLOCK;
    if (size > LARGEST_BLOCK) size = LARGEST_BLOCK;
    if (size < at_least) size = at_least;
    arena_block *b = size > SIZE_MAX - sizeof *b ? NULL : calloc(1, sizeof *b + size);
    if (!b) base_fatal("out of memory (%zu bytes)", size);
    b->older = a->block;
    b->size = size;
    a->block = b;
}

void *arena_alloc(arena *a, size_t size)
{
    if (size > SIZE_MAX - ALIGN) base_fatal("out of memory (%zu bytes)", size);
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (!a->block || a->block->size - a->block->used < size) block_add(a, size);
    void *p = block_data(a->block) + a->block->used;
    a->block->used += size;
    return p;
}

void *arena_alloc_many(arena *a, size_t count, size_t size)
{
    if (size && count > SIZE_MAX / size) base_fatal("out of memory (%zu x %zu bytes)", count, size);
    return arena_alloc(a, count * size);
}

void *arena_copy(arena *a, const void *data, size_t size)
{
    void *p = arena_alloc(a, size);
    if (size) memcpy(p, data, size);
    return p;
}

char *arena_strndup(arena *a, const char *text, size_t length)
{
    char *p = arena_alloc(a, length + 1);
    memcpy(p, text, length);
    return p;
}

char *arena_strdup(arena *a, const char *text) { return arena_strndup(a, text, strlen(text)); }

char *arena_printf(arena *a, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, format, again);
    va_end(again);
    return p;
}

void *arena_grow(arena *a, void *array, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return array;
    size_t wanted = *capacity ? *capacity * 2 : 8;
    void *p = arena_alloc_many(a, wanted, size);
    if (count) memcpy(p, array, count * size);
    *capacity = wanted;
    return p;
}

arena_mark arena_save(const arena *a)
{
    return (arena_mark){a->block, a->block ? a->block->used : 0};
}

void arena_release(arena *a, arena_mark mark)
{
    while (a->block != mark.block) {
        arena_block *older = a->block->older;
        free(a->block);
        a->block = older;
    }
    if (a->block) {
        memset(block_data(a->block) + mark.used, 0, a->block->used - mark.used);
        a->block->used = mark.used;
    }
}

void arena_done(arena *a) { arena_release(a, (arena_mark){0}); }
