/* words.h: text in a running model: strings, hashes of them, vocabularies and tokens. The compiler builds vocabularies and
 * its interpreter calls these functions; compiled kernels call the same ones in the runtime. Only libc is used.
 *
 * An element of type `str` is the address of a word record: its length in bytes, then the bytes (UTF-8, or whatever the
 * data held). Address 0 is the empty text. Records live as long as the data set or the program. */
#ifndef TFCC_WORDS_H
#define TFCC_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct words_text {
    const uint8_t *bytes;
    uint32_t length;
} words_text;

enum { WORDS_RECORD_HEAD = 4 };
words_text words_text_of(uint64_t element);
/* Writes a record to `to`, which has room for WORDS_RECORD_HEAD + length bytes. */
void words_record_write(void *to, const void *bytes, uint32_t length);

/* TensorFlow's hashes: FarmHash's Fingerprint64 and SipHash-2-4 with a key of two words. */
uint64_t words_fingerprint(const void *bytes, size_t length);
uint64_t words_siphash(const uint64_t key[2], const void *bytes, size_t length);

/* ---- vocabularies ---------------------------------------------------------------------------- */

typedef enum words_kind { WORDS_INTEGER, WORDS_TEXT } words_kind;

/* The head of a vocabulary: an open-addressed table in one block of bytes without addresses in it. A text is given by
 * the offset of its record in the block. */
typedef struct words_table {
    uint64_t bytes;       /* of the whole block */
    uint32_t key, value;  /* words_kind */
    uint64_t seed, slots; /* slots: a power of two; at offset sizeof(words_table) */
    int64_t missing;      /* what keys that are not in it become */
    uint32_t is_closed;   /* 1: a key that is not in it is a fault */
    uint32_t layer;       /* offset of the layer's name, for that message */
} words_table;

typedef struct words_slot {
    uint64_t hash; /* 0: free */
    int64_t key, value;
} words_slot;

/* Hash of the bytes in a table; never 0. Text can be given piece by piece. */
uint64_t words_hash_begin(uint64_t seed);
static inline uint64_t words_hash_add(uint64_t hash, uint8_t byte) { return (hash ^ byte) * 0x100000001b3u; }
uint64_t words_hash_end(uint64_t hash);
uint64_t words_hash_integer(uint64_t seed, int64_t key);

/* ---- what kernels call ------------------------------------------------------------------------ */

/* Elements [begin, end) of an operation's result; operands that it does not have are NULL. */
typedef void (*words_call)(const void *a, const void *b, const void *c, void *out, int64_t begin, int64_t end);

/* out[i] = the value of key a[i] in the table b. */
void tfcc_words_lookup(const void *a, const void *b, const void *c, void *out, int64_t begin, int64_t end);
/* out[i] = hash of the text a[i], or of the integer a[i] in decimal: the fingerprint, or, with two key words at b, SipHash. */
void tfcc_words_hash_text(const void *a, const void *b, const void *c, void *out, int64_t begin, int64_t end);
void tfcc_words_hash_integer(const void *a, const void *b, const void *c, void *out, int64_t begin, int64_t end);

/* How rows of strings become rows of word numbers. */
typedef enum words_split { WORDS_WHOLE, WORDS_SPACES, WORDS_CHARACTERS } words_split;
enum { WORDS_LOWER = 1, WORDS_STRIP = 2 };
typedef struct words_plan { /* i64[]: the operation's third operand */
    int64_t strings;        /* in a row; 1 unless split is WORDS_WHOLE */
    int64_t columns;        /* of a row of the result */
    int64_t counts;         /* 1: the result counts each word; 0: words' numbers in order, then zeros */
    int64_t standardize;    /* WORDS_LOWER | WORDS_STRIP */
    int64_t split;          /* words_split */
    int64_t ngrams;         /* how many widths follow; 0: single words */
    int64_t width[];
} words_plan;
/* Rows [begin, end): strings a, table b, plan c. */
void tfcc_words_tokens(const void *a, const void *b, const void *c, void *out, int64_t begin, int64_t end);

/* The first fault of any thread since the last clear, as a sentence: what was looked up in a closed vocabulary and is not
 * there. NULL: none. */
const char *words_fault_find(void);
void words_fault_clear(void);

/* The function of an operation ("lookup", "hash", "tokens") on operands of this kind, and its symbol. */
words_call words_find(const char *operation, words_kind kind, const char **out_symbol);

/* ---- private to the folder ---------------------------------------------------------------------- */

void words_fault_set(const words_table *t, words_text key);
/* The slot of the text's hash whose key `is_key` accepts; NULL: none. */
const words_slot *words_table_find(const words_table *t, uint64_t hash,
                                   bool (*is_key)(const void *context, const words_table *t, int64_t key),
                                   const void *context);
static inline words_text words_table_text(const words_table *t, int64_t offset)
{
    return words_text_of((uint64_t)(uintptr_t)((const uint8_t *)t + offset));
}

#endif
