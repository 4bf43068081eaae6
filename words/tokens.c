/* tokens.c: a row of strings is standardized, split into tokens, joined to n-grams and looked up, byte by byte as it is
 * read: no string is ever copied. */
#include "words/words.h"

#include <string.h>

/* What is left of a string, standardized as it is read. */
typedef struct reader {
    const uint8_t *at, *end;
} reader;

/* The tokens that are left of a row. */
typedef struct source {
    const words_plan *plan;
    const uint64_t *string;
    int64_t index; /* WORDS_WHOLE: the next string */
    reader text;   /* else: what is left of the only one */
} source;

/* Where a token's bytes go: into a hash, or against the text of a word. */
typedef struct sink {
    uint64_t hash;
    bool compares, differs;
    words_text word;
    uint32_t at;
} sink;

static bool is_punctuation(uint8_t b)
{
    return (b >= '!' && b <= '/') || (b >= ':' && b <= '@') || (b >= '[' && b <= '`') || (b >= '{' && b <= '~');
}

static bool is_space(int b) { return b == ' ' || (b >= '\t' && b <= '\r'); }

static int next_byte(reader *r, int64_t standardize)
{
    while (r->at < r->end) {
        const uint8_t b = *r->at++;
        if ((standardize & WORDS_LOWER) && b >= 'A' && b <= 'Z') return b + 32;
        if (!(standardize & WORDS_STRIP) || !is_punctuation(b)) return b;
    }
    return -1;
}

static void put(sink *to, uint8_t b)
{
    if (!to->compares) {
        to->hash = words_hash_add(to->hash, b);
        return;
    }
    to->differs |= to->at >= to->word.length || to->word.bytes[to->at] != b;
    to->at++;
}

/* ---- tokens ----------------------------------------------------------------------------------- */

static bool read_string(source *s, sink *to)
{
    if (s->index == s->plan->strings) return false;
    const words_text text = words_text_of(s->string[s->index++]);
    reader r = {text.bytes, text.bytes + text.length};
    for (int b = next_byte(&r, s->plan->standardize); b >= 0; b = next_byte(&r, s->plan->standardize))
        put(to, (uint8_t)b);
    return true;
}

static bool read_word(source *s, sink *to)
{
    int b;
    do b = next_byte(&s->text, s->plan->standardize);
    while (is_space(b));
    if (b < 0) return false;
    for (; b >= 0 && !is_space(b); b = next_byte(&s->text, s->plan->standardize)) put(to, (uint8_t)b);
    return true;
}

/* How many bytes follow a first byte, and which the second may be. */
static int follow_count(int first, uint8_t *out_low, uint8_t *out_high)
{
    *out_low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *out_high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first < 0xc2 || first > 0xf4) return -1;
    return first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
}

/* One code point. Each longest part of a broken one is read as U+FFFD. */
static bool read_character(source *s, sink *to)
{
    uint8_t bytes[4], low, high;
    int count = 0, first = next_byte(&s->text, s->plan->standardize);
    if (first < 0) return false;
    bytes[count++] = (uint8_t)first;
    int follow = first < 0x80 ? 0 : follow_count(first, &low, &high);
    for (; follow > 0; follow--) {
        reader ahead = s->text;
        const int b = next_byte(&ahead, s->plan->standardize);
        if (b < low || b > high) break;
        s->text = ahead;
        bytes[count++] = (uint8_t)b;
        low = 0x80;
        high = 0xbf;
    }
    if (follow != 0) {
        memcpy(bytes, "\xef\xbf\xbd", 3);
        count = 3;
    }
    for (int i = 0; i < count; i++) put(to, bytes[i]);
    return true;
}

/* Feeds the next token; false when there is none. */
static bool read_token(source *s, sink *to)
{
    switch ((words_split)s->plan->split) {
    case WORDS_WHOLE:
        return read_string(s, to);
    case WORDS_SPACES:
        return read_word(s, to);
    case WORDS_CHARACTERS:
        break;
    }
    return read_character(s, to);
}

/* `width` tokens with a space between them. out_next: behind the first. */
static bool read_ngram(source s, int64_t width, sink *to, source *out_next)
{
    for (int64_t i = 0; i < width; i++) {
        if (i > 0) put(to, ' ');
        if (!read_token(&s, to)) return false;
        if (i == 0) *out_next = s;
    }
    return true;
}

/* ---- lookup ----------------------------------------------------------------------------------- */

typedef struct ngram {
    source from;
    int64_t width;
} ngram;

static bool is_word(const void *context, const words_table *t, int64_t key)
{
    const ngram *n = context;
    sink compare = {.compares = true, .word = words_table_text(t, key)};
    source next;
    return read_ngram(n->from, n->width, &compare, &next) && !compare.differs && compare.at == compare.word.length;
}

/* The word that begins at *s, which moves on by one token. */
static bool next_number(const words_table *t, source *s, int64_t width, int64_t *out)
{
    sink hash = {.hash = words_hash_begin(t->seed)};
    const ngram n = {*s, width};
    source next = *s;
    if (!read_ngram(*s, width, &hash, &next)) return false;
    const words_slot *slot = words_table_find(t, words_hash_end(hash.hash), is_word, &n);
    *s = next;
    *out = slot ? slot->value : t->missing;
    return true;
}

static void fill_row(const words_table *t, const source *row, int64_t *out)
{
    static const int64_t single = 1;
    const words_plan *p = row->plan;
    const int64_t *width = p->ngrams > 0 ? p->width : &single, widths = p->ngrams > 0 ? p->ngrams : 1;
    int64_t number, count = 0;
    memset(out, 0, (size_t)p->columns * sizeof *out);
    for (int64_t k = 0; k < widths; k++) {
        source s = *row;
        while ((p->counts || count < p->columns) && next_number(t, &s, width[k], &number)) {
            if (!p->counts)
                out[count++] = number;
            else if (number >= 0 && number < p->columns)
                out[number]++;
        }
    }
}

void tfcc_words_tokens(const void *a, const void *b, const void *c, void *out, int64_t begin, int64_t end)
{
    const words_plan *p = c;
    for (int64_t i = begin; i < end; i++) {
        source row = {.plan = p, .string = (const uint64_t *)a + i * p->strings};
        if (p->split != WORDS_WHOLE) {
            const words_text text = words_text_of(row.string[0]);
            row.text = (reader){text.bytes, text.bytes + text.length};
        }
        fill_row(b, &row, (int64_t *)out + i * p->columns);
    }
}
