/* cases_words.c: strings, made of numbers by a vocabulary first, since no test has strings as operands. */
#include "ops/cases.h"
#include "words/words.h"

#include <string.h>

enum { SLOTS = 16, ROOM = 1024 };

/* A vocabulary in the making; a text is given by its record's offset. */
typedef struct table {
    words_table head;
    words_slot slot[SLOTS];
    uint8_t records[ROOM];
} table;

static int64_t add_record(table *t, const char *word)
{
    const int64_t offset = (int64_t)t->head.bytes;
    words_record_write((uint8_t *)t + offset, word, (uint32_t)strlen(word));
    t->head.bytes += WORDS_RECORD_HEAD + strlen(word);
    return offset;
}

static void add_slot(table *t, uint64_t hash, int64_t key, int64_t value)
{
    uint64_t at = hash & (SLOTS - 1);
    while (t->slot[at].hash) at = (at + 1) & (SLOTS - 1);
    t->slot[at] = (words_slot){hash, key, value};
}

/* Words to numbers from 1 on; or, inverted, back. What is missing is 0 or "?". */
static ir_value build_table(ir_graph *g, bool inverted)
{
    static const char *const words[] = {"b", "Hello, World", "a b", "", "\xc3\xa9t\xc3\xa9", "hello", "a"};
    table *t = arena_new(g->arena, table);
    t->head = (words_table){.bytes = offsetof(table, records), .slots = SLOTS, .seed = 3};
    t->head.key = inverted ? WORDS_INTEGER : WORDS_TEXT;
    t->head.value = inverted ? WORDS_TEXT : WORDS_INTEGER;
    for (size_t i = 0; i < countof(words); i++) {
        const int64_t record = add_record(t, words[i]), number = (int64_t)i + 1;
        uint64_t hash = words_hash_begin(t->head.seed);
        for (const char *p = words[i]; *p; p++) hash = words_hash_add(hash, (uint8_t)*p);
        if (inverted)
            add_slot(t, words_hash_integer(t->head.seed, number), number, record);
        else
            add_slot(t, words_hash_end(hash), record, number);
    }
    t->head.missing = inverted ? add_record(t, "?") : 0;
    t->head.layer = (uint32_t)add_record(t, "layer");
    const ir_dim size = ir_fixed((int64_t)t->head.bytes);
    return ir_build_constant(g, ir_type_make(DTYPE_u8, 1, &size), t);
}

static ir_value build_lookup(ir_graph *g, ir_value x, bool inverted)
{
    const ir_value in[] = {x, build_table(g, inverted)};
    const ir_type type = ir_type_with_dtype(*ir_type_of(g, x), inverted ? DTYPE_str : DTYPE_i64);
    return ir_build(g, OP_lookup, 2, in, 0, NULL, &type);
}

static ir_value build_back(ir_graph *g, const ir_value *in)
{
    return build_lookup(g, ir_build_reverse(g, build_lookup(g, in[0], true), 1, (const int64_t[]){1}), false);
}

/* The hashes modulo 1000, which doubles hold. */
static ir_value build_hash(ir_graph *g, ir_value x, bool with_key)
{
    static const uint64_t key[] = {5, UINT64_MAX - 6}, bins = 1000;
    const ir_dim two = ir_fixed(2);
    ir_value in[2] = {x, IR_NONE};
    if (with_key) in[1] = ir_build_constant(g, ir_type_make(DTYPE_u64, 1, &two), key);
    const ir_type type = ir_type_with_dtype(*ir_type_of(g, x), DTYPE_u64);
    const ir_value hash = ir_build(g, OP_hash, with_key ? 2 : 1, in, 0, NULL, &type);
    const ir_value last = ir_build_constant(g, ir_type_scalar(DTYPE_u64), &bins);
    return ir_build_convert(g, ir_build_binary(g, OP_remainder, hash, last), DTYPE_i32);
}

static ir_value build_hash_integer(ir_graph *g, const ir_value *in) { return build_hash(g, in[0], false); }
static ir_value build_hash_key(ir_graph *g, const ir_value *in) { return build_hash(g, in[0], true); }
static ir_value build_hash_text(ir_graph *g, const ir_value *in)
{
    return build_hash(g, build_lookup(g, in[0], true), false);
}
static ir_value build_hash_text_key(ir_graph *g, const ir_value *in)
{
    return build_hash(g, build_lookup(g, in[0], true), true);
}

static ir_value build_tokens(ir_graph *g, ir_value x, const int64_t *plan, int count)
{
    const ir_dim size = ir_fixed(count);
    const ir_value in[] = {build_lookup(g, x, true), build_table(g, false),
                           ir_build_constant(g, ir_type_make(DTYPE_i64, 1, &size), plan)};
    const ir_dim dim[] = {ir_type_of(g, x)->dim[0], ir_fixed(plan[1])};
    const ir_type type = ir_type_make(DTYPE_i64, 2, dim);
    return ir_build(g, OP_tokens, 3, in, 0, NULL, &type);
}

static ir_value build_spaces(ir_graph *g, const ir_value *in)
{
    static const int64_t plan[] = {1, 4, 0, WORDS_LOWER | WORDS_STRIP, WORDS_SPACES, 2, 1, 2};
    return build_tokens(g, in[0], plan, countof(plan));
}

static ir_value build_characters(ir_graph *g, const ir_value *in)
{
    static const int64_t plan[] = {1, 8, 1, 0, WORDS_CHARACTERS, 0};
    return build_tokens(g, in[0], plan, countof(plan));
}

static ir_value build_whole(ir_graph *g, const ir_value *in)
{
    static const int64_t plan[] = {3, 4, 0, 0, WORDS_WHOLE, 1, 2};
    return build_tokens(g, in[0], plan, countof(plan));
}

static const ops_case cases[] = {
    {.name = "lookup_text", .op = OP_lookup, .build = build_back,
     .in = {{"i64[N,4]", 0, 9, VALUES(1, 2, 3, 4, 5, 6, 7, 8)}},
     .expect = EXPECT(4, 3, 2, 1, 0, 7, 6, 5)},
    {.name = "hash_integer", .op = OP_hash, .build = build_hash_integer,
     .in = {{"i64[N,2]", -1e6, 1e6, VALUES(0, -17, 123456789, 7)}},
     .expect = EXPECT(735, 845, 306, 88)},
    {.name = "hash_integer_key", .op = OP_hash, .build = build_hash_key,
     .in = {{"i64[N,2]", -1e6, 1e6, VALUES(0, -17, 123456789, 7)}},
     .expect = EXPECT(325, 804, 672, 115)},
    {.name = "hash_text", .op = OP_hash, .build = build_hash_text,
     .in = {{"i64[N,2]", 0, 9, VALUES(1, 2, 4, 5)}},
     .expect = EXPECT(822, 385, 263, 534)},
    {.name = "hash_text_key", .op = OP_hash, .build = build_hash_text_key,
     .in = {{"i64[N,2]", 0, 9, VALUES(1, 2, 4, 5)}},
     .expect = EXPECT(832, 993, 111, 164)},
    {.name = "tokens_spaces", .op = OP_tokens, .build = build_spaces,
     .in = {{"i64[N,1]", 0, 9, VALUES(2, 3)}},
     .expect = EXPECT(6, 0, 0, 0, 7, 1, 3, 0)},
    {.name = "tokens_characters", .op = OP_tokens, .build = build_characters,
     .in = {{"i64[N,1]", 0, 9, VALUES(3, 5)}},
     .expect = EXPECT(1, 1, 0, 0, 0, 0, 0, 1, 3, 0, 0, 0, 0, 0, 0, 0)},
    {.name = "tokens_whole", .op = OP_tokens, .build = build_whole,
     .in = {{"i64[N,3]", 0, 9, VALUES(7, 1, 4, 1, 7, 1)}},
     .expect = EXPECT(3, 0, 0, 0, 0, 3, 0, 0)},
};

const ops_list ops_cases_words = {countof(cases), cases};
