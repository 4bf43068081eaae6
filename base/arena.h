/* arena.h: memory that is given back all at once. Blocks are zeroed and aligned to 16; an allocation
 * never fails (out of memory ends the compiler). There is no free, only save and release. */
#ifndef TFCC_ARENA_H
#define TFCC_ARENA_H

#include "base/base.h"

typedef struct arena_block arena_block;

typedef struct arena {
    arena_block *block; /* newest; older ones are linked behind it */
} arena;

typedef struct arena_mark {
    arena_block *block;
    size_t used;
} arena_mark;

void *arena_alloc(arena *a, size_t size);
void *arena_alloc_many(arena *a, size_t count, size_t size); /* checks count * size */
#define arena_new(a, T) ((T *)arena_alloc((a), sizeof(T)))
#define arena_array(a, T, n) ((T *)arena_alloc_many((a), (n), sizeof(T)))

void *arena_copy(arena *a, const void *data, size_t size);
char *arena_strdup(arena *a, const char *text);
char *arena_strndup(arena *a, const char *text, size_t length);
char *arena_printf(arena *a, const char *format, ...) BASE_PRINTF(2, 3);

arena_mark arena_save(const arena *a);
void arena_release(arena *a, arena_mark mark); /* frees all that was allocated after the mark */
void arena_done(arena *a);                     /* frees all; accepts a zeroed arena */

/* Appends to an array kept in an arena: grows `array` (T*, count, capacity) by doubling. The old array
 * stays in the arena until release, so growth costs at most twice the memory. */
#define arena_push(a, array, count, capacity, item)                                                \
    do {                                                                                           \
        (array) = arena_grow((a), (array), (count), &(capacity), sizeof(*(array)));                \
        (array)[(count)++] = (item);                                                               \
    } while (0)
void *arena_grow(arena *a, void *array, size_t count, size_t *capacity, size_t size);

#endif
