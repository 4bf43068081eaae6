/* malloc_count.c: preloaded into a program, prints at its end how many blocks it asked the C library for. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

static atomic_ulong count;

void *malloc(size_t size)
{
    static void *(*next)(size_t);
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "malloc");
    atomic_fetch_add(&count, 1);
    return next(size);
}

void *realloc(void *block, size_t size)
{
    static void *(*next)(void *, size_t);
    if (!next) *(void **)&next = dlsym(RTLD_NEXT, "realloc");
    atomic_fetch_add(&count, 1);
    return next(block, size);
}

__attribute__((destructor)) static void report(void)
{
    fprintf(stderr, "blocks %lu\n", atomic_load(&count));
}
