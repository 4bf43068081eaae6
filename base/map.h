/* map.h: names to pointers, kept in an arena. Iteration is by insertion order, so nothing that is
 * printed depends on hashing. */
#ifndef TFCC_MAP_H
#define TFCC_MAP_H

#include "base/arena.h"

typedef struct map_entry {
    const char *key; /* copied into the arena */
    void *value;
} map_entry;

typedef struct map {
    arena *arena; /* set by the owner before the first use */
    map_entry *entry;
    uint32_t *slot; /* open addressing: entry index + 1, 0 when free */
    size_t count, entry_capacity, slot_count;
} map;

void *map_find(const map *m, const char *key); /* NULL when absent */
bool map_has(const map *m, const char *key);
void map_set(map *m, const char *key, void *value); /* adds or replaces */

#endif
