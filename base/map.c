/* map.c: see map.h. FNV-1a and linear probing; at most half of the slots are in use. */
#include "base/map.h"

#include <string.h>

static uint64_t hash(const char *key)
{
    uint64_t h = 1469598103934665603u;
    for (; *key; key++) h = (h ^ (unsigned char)*key) * 1099511628211u;
    return h;
}

static size_t probe(const map *m, const char *key)
{
    size_t i = hash(key) & (m->slot_count - 1);
    while (m->slot[i] && strcmp(m->entry[m->slot[i] - 1].key, key) != 0) {
        i = (i + 1) & (m->slot_count - 1);
    }
    return i;
}

static map_entry *find(const map *m, const char *key)
{
    if (!m->slot_count) return NULL;
    uint32_t s = m->slot[probe(m, key)];
    return s ? &m->entry[s - 1] : NULL;
}

void *map_find(const map *m, const char *key)
{
    map_entry *e = find(m, key);
    return e ? e->value : NULL;
}

bool map_has(const map *m, const char *key) { return find(m, key) != NULL; }

void map_set(map *m, const char *key, void *value)
{
    map_entry *e = find(m, key);
    if (e) {
        e->value = value;
        return;
    }
    map_entry fresh = {arena_strdup(m->arena, key), value};
    arena_push(m->arena, m->entry, m->count, m->entry_capacity, fresh);
    if (m->count * 2 > m->slot_count) {
        m->slot_count = m->slot_count ? m->slot_count * 2 : 16;
        m->slot = arena_array(m->arena, uint32_t, m->slot_count);
        for (size_t i = 0; i < m->count; i++) m->slot[probe(m, m->entry[i].key)] = (uint32_t)i + 1;
    } else {
        m->slot[probe(m, key)] = (uint32_t)m->count;
    }
}
