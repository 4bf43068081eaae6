/* lookup.c: elements by their place in a vocabulary, and hashes of elements. */
#include "words/words.h"

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

words_text words_text_of(uint64_t element)
{
    const uint8_t *record = (const uint8_t *)(uintptr_t)element;
    words_text text = {0};
    if (!record) return text;
    memcpy(&text.length, record, sizeof text.length);
    text.bytes = record + WORDS_RECORD_HEAD;
    return text;
}

void words_record_write(void *to, const void *bytes, uint32_t length)
{
    memcpy(to, &length, sizeof length);
    if (length > 0) memcpy((char *)to + WORDS_RECORD_HEAD, bytes, length);
}

/* ---- faults ----------------------------------------------------------------------------------- */

static atomic_flag is_faulty = ATOMIC_FLAG_INIT;
static _Atomic(const char *) fault;

void words_fault_set(const words_table *t, words_text key)
{
    static char sentence[256];
    if (atomic_flag_test_and_set(&is_faulty)) return;
    const words_text layer = words_table_text(t, t->layer);
    snprintf(sentence, sizeof sentence, "%.*s: \"%.*s\" is not in the vocabulary, and num_oov_indices is 0",
             (int)(layer.length < 100 ? layer.length : 100), (const char *)layer.bytes,
             (int)(key.length < 60 ? key.length : 60), (const char *)(key.bytes ? key.bytes : (const uint8_t *)""));
    atomic_store(&fault, sentence);
}

const char *words_fault_find(void) { return atomic_load(&fault); }

void words_fault_clear(void)
{
    atomic_store(&fault, NULL);
    atomic_flag_clear(&is_faulty);
}

/* ---- lookup ----------------------------------------------------------------------------------- */

const words_slot *words_table_find(const words_table *t, uint64_t hash,
                                   bool (*is_key)(const void *context, const words_table *t, int64_t key),
                                   const void *context)
{
    const words_slot *slot = (const words_slot *)(const void *)(t + 1);
    for (uint64_t i = hash & (t->slots - 1); slot[i].hash; i = (i + 1) & (t->slots - 1)) {
        if (slot[i].hash == hash && is_key(context, t, slot[i].key)) return &slot[i];
    }
    return NULL;
}

static bool is_integer(const void *context, const words_table *t, int64_t key)
{
    (void)t;
    return *(const int64_t *)context == key;
}

static bool is_text(const void *context, const words_table *t, int64_t key)
{
    const words_text *text = context, own = words_table_text(t, key);
    return own.length == text->length && (own.length == 0 || memcmp(own.bytes, text->bytes, own.length) == 0);
}

static const words_slot *find_text(const words_table *t, words_text text)
{
    uint64_t hash = words_hash_begin(t->seed);
    for (uint32_t i = 0; i < text.length; i++) hash = words_hash_add(hash, text.bytes[i]);
    const words_slot *slot = words_table_find(t, words_hash_end(hash), is_text, &text);
    if (!slot && t->is_closed) words_fault_set(t, text);
    return slot;
}

static const words_slot *find_integer(const words_table *t, int64_t key)
{
    const words_slot *slot = words_table_find(t, words_hash_integer(t->seed, key), is_integer, &key);
    char word[24];
    if (!slot && t->is_closed) {
        const int length = snprintf(word, sizeof word, "%lld", (long long)key);
        words_fault_set(t, (words_text){(const uint8_t *)word, (uint32_t)length});
    }
    return slot;
}

void tfcc_words_lookup(const void *a, const void *b, const void *c, void *out, int64_t begin, int64_t end)
{
    const words_table *t = b;
    const int64_t *key = a;
    int64_t *value = out;
    (void)c;
    for (int64_t i = begin; i < end; i++) {
        const words_slot *slot =
            t->key == WORDS_TEXT ? find_text(t, words_text_of((uint64_t)key[i])) : find_integer(t, key[i]);
        const int64_t found = slot ? slot->value : t->missing;
        value[i] = t->value == WORDS_TEXT ? (int64_t)(uintptr_t)((const char *)t + found) : found;
    }
}

/* ---- hash ------------------------------------------------------------------------------------- */

static uint64_t hash_one(const void *key, const void *bytes, size_t length)
{
    uint64_t words[2];
    if (!key) return words_fingerprint(bytes, length);
    memcpy(words, key, sizeof words);
    return words_siphash(words, bytes, length);
}

void tfcc_words_hash_text(const void *a, const void *b, const void *c, void *out, int64_t begin, int64_t end)
{
    const uint64_t *x = a;
    uint64_t *hash = out;
    (void)c;
    for (int64_t i = begin; i < end; i++) {
        const words_text text = words_text_of(x[i]);
        hash[i] = hash_one(b, text.length ? (const void *)text.bytes : "", text.length);
    }
}

void tfcc_words_hash_integer(const void *a, const void *b, const void *c, void *out, int64_t begin, int64_t end)
{
    const int64_t *x = a;
    uint64_t *hash = out;
    char word[24];
    (void)c;
    for (int64_t i = begin; i < end; i++) {
        const int length = snprintf(word, sizeof word, "%lld", (long long)x[i]);
        hash[i] = hash_one(b, word, (size_t)length);
    }
}

/* ---- by name ---------------------------------------------------------------------------------- */

words_call words_find(const char *operation, words_kind kind, const char **out_symbol)
{
    static const struct {
        const char *operation, *symbol;
        words_kind kind;
        words_call call;
    } rows[] = {
        {"lookup", "tfcc_words_lookup", WORDS_TEXT, tfcc_words_lookup},
        {"lookup", "tfcc_words_lookup", WORDS_INTEGER, tfcc_words_lookup},
        {"hash", "tfcc_words_hash_text", WORDS_TEXT, tfcc_words_hash_text},
        {"hash", "tfcc_words_hash_integer", WORDS_INTEGER, tfcc_words_hash_integer},
        {"tokens", "tfcc_words_tokens", WORDS_TEXT, tfcc_words_tokens},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].kind != kind || strcmp(rows[i].operation, operation) != 0) continue;
        *out_symbol = rows[i].symbol;
        return rows[i].call;
    }
    return NULL;
}
