/* vocabulary.c: the words of a lookup layer, from its config, a file or an archive, and the hash table that is made of
 * them at compile time. */
#include "frontend/archive.h"
#include "frontend/layers.h"
#include "words/words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WORDS = 1 << 28, MOST_FILE_BYTES = 1 << 30, MOST_PROBES = 64, MOST_SEEDS = 64 };

/* ---- words ------------------------------------------------------------------------------------ */

static bool add_word(fe *f, const json_at *at, fe_vocabulary *v, const char *word)
{
    char *end;
    errno = 0;
    if (v->is_text) {
        v->text[v->count++] = word;
        return true;
    }
    v->integer[v->count++] = strtoll(word, &end, 10);
    return (end > word && *end == 0 && errno == 0) ||
           fe_error(f, at, "expected integers, found \"%s\" in the vocabulary", word);
}

static void make_room(fe *f, fe_vocabulary *v, size_t count)
{
    if (v->is_text)
        v->text = arena_array(f->arena, const char *, count + 1);
    else
        v->integer = arena_array(f->arena, int64_t, count + 1);
}

/* Bytes of the line break at p; 0: none is there. As Python's str.splitlines, or at newlines alone. */
static size_t break_at(const unsigned char *p, bool newlines)
{
    if (*p == '\n') return 1;
    if (newlines) return 0;
    if (*p == '\r') return p[1] == '\n' ? 2 : 1;
    if (*p == '\v' || *p == '\f' || (*p >= 0x1c && *p <= 0x1e)) return 1;
    if (*p == 0xc2) return p[1] == 0x85 ? 2 : 0;
    return *p == 0xe2 && p[1] == 0x80 && (p[2] == 0xa8 || p[2] == 0xa9) ? 3 : 0;
}

/* Cuts `bytes`, which end with a zero, into lines: the words. */
static bool read_lines(fe *f, const json_at *at, char *bytes, bool newlines, fe_vocabulary *v)
{
    size_t lines = 1, skip;
    bool ok = true;
    for (const char *p = bytes; *p; p++) lines += break_at((const unsigned char *)p, newlines) > 0;
    if (lines > MOST_WORDS) return fe_error(f, at, "expected at most %d words", MOST_WORDS);
    make_room(f, v, lines);
    for (char *p = bytes, *line = bytes; *line && ok; line = p) {
        while (*p && !break_at((const unsigned char *)p, newlines)) p++;
        skip = *p ? break_at((const unsigned char *)p, newlines) : 0;
        *p = 0;
        p += skip;
        ok = add_word(f, at, v, line);
    }
    return ok;
}

static bool read_file(fe *f, const json_at *at, const char *path, fe_vocabulary *v)
{
    text t = {0};
    if (!text_read_file(&t, path, MOST_FILE_BYTES))
        return fe_error(f, at, "the vocabulary \"%s\" cannot be read: %s", path, strerror(errno));
    map_set(&f->files, path, f);
    char *bytes = arena_strndup(f->arena, text_get(&t), t.length), *to = bytes;
    text_done(&t);
    for (const char *p = bytes; *p; p++) {
        if (*p != '\r') *to++ = *p; /* TensorFlow reads lines without them */
    }
    *to = 0;
    return read_lines(f, at, bytes, true, v);
}

/* Makes a field of the config that is null a list of v's words, or, v NULL, of zeros. */
static void set_list(fe *f, const fe_config *c, const char *key, const fe_vocabulary *v, int count)
{
    cJSON *field = cJSON_GetObjectItemCaseSensitive(c->object, key), *last = NULL;
    if (!field || !cJSON_IsNull(field) || count == 0) return;
    field->type = cJSON_Array;
    for (int i = 0; i < count; i++) {
        cJSON *item = arena_new(f->arena, cJSON);
        const bool is_text = v && v->is_text;
        item->type = is_text ? cJSON_String : cJSON_Number;
        item->valuedouble = v && !is_text ? (double)v->integer[i] : 0;
        item->valuestring = is_text ? arena_strdup(f->arena, v->text[i])
                                    : arena_printf(f->arena, "%lld", v ? (long long)v->integer[i] : 0LL);
        item->prev = last;
        if (last)
            last->next = item;
        else
            field->child = item;
        last = item;
    }
    field->child->prev = last;
}

static bool read_asset(fe *f, const fe_layer *layer, fe_config *c, const json_at *at, fe_vocabulary *v)
{
    const char *name = arena_printf(f->arena, "assets/%s/vocabulary.txt", layer->h5);
    char *bytes = NULL;
    size_t size;
    if (!f->archive)
        return fe_error(f, at,
                        "expected the words: a vocabulary that the layer learned with adapt() is not in this JSON; "
                        "save the model as .keras");
    if (!fe_archive_asset(f, name, &bytes, &size)) return false;
    if (!bytes) return fe_error(f, at, "expected the archive to hold \"%s\"", name);
    if (!read_lines(f, at, bytes, false, v)) return false;
    while (v->is_text && v->count > 0 && v->text[v->count - 1][0] == 0) v->count--;
    /* archives that the program writes have no assets: their config holds the words, and zeros for the weights beside it */
    const char *mode = "";
    set_list(f, c, "vocabulary", v, v->count);
    if (fe_config_text_or(c, "output_mode", "", &mode) && (strcmp(mode, "tf_idf") == 0 || strcmp(mode, "tf-idf") == 0))
        set_list(f, c, "idf_weights", NULL, v->count);
    return true;
}

static const cJSON *find_member(const cJSON *j, const char *key)
{
    const cJSON *config = cJSON_IsObject(j) ? cJSON_GetObjectItemCaseSensitive(j, "config") : NULL;
    const cJSON *found = config ? cJSON_GetObjectItemCaseSensitive(config, key) : NULL;
    return found ? found : j;
}

static bool read_list(fe *f, const json_at *at, const cJSON *list, fe_vocabulary *v)
{
    if (!cJSON_IsArray(list)) return fe_error(f, at, "expected a list of words, found %s", fe_json_show(f, list));
    make_room(f, v, (size_t)cJSON_GetArraySize(list));
    int i = 0;
    for (const cJSON *item = list->child; item; item = item->next, i++) {
        const cJSON *word = find_member(item, "value");
        const json_at item_at = {.up = at, .index = i};
        if (v->is_text && cJSON_IsString(word))
            v->text[v->count++] = word->valuestring;
        else if (!v->is_text && fe_json_int(word, &v->integer[v->count]))
            v->count++;
        else
            return fe_error(f, &item_at, "expected %s, found %s", v->is_text ? "a string" : "an integer",
                            fe_json_show(f, item));
    }
    return true;
}

bool fe_vocabulary_read(fe *f, const fe_layer *layer, fe_config *c, bool is_text, fe_vocabulary *out, bool *out_is_file)
{
    const json_at at = fe_key(c, "vocabulary");
    const cJSON *j = find_member(fe_config_item(c, "vocabulary"), "value");
    *out = (fe_vocabulary){.is_text = is_text};
    *out_is_file = cJSON_IsString(j);
    if (cJSON_IsString(j)) return read_file(f, &at, j->valuestring, out);
    return j ? read_list(f, &at, j, out) : read_asset(f, layer, c, &at, out);
}

/* ---- table ------------------------------------------------------------------------------------ */

typedef struct block {
    words_table *head;
    words_slot *slot;
    uint64_t used; /* bytes of the block */
} block;

static uint64_t text_bytes(const fe_vocabulary *v)
{
    uint64_t bytes = 0;
    for (int i = 0; v->is_text && i < v->count; i++) bytes += WORDS_RECORD_HEAD + strlen(v->text[i]);
    return bytes;
}

static int64_t add_item(block *b, const fe_vocabulary *v, int i)
{
    if (!v->is_text) return v->integer[i];
    const uint32_t length = (uint32_t)strlen(v->text[i]);
    const int64_t offset = (int64_t)b->used;
    words_record_write((uint8_t *)b->head + offset, v->text[i], length);
    b->used += WORDS_RECORD_HEAD + length;
    return offset;
}

static bool is_same_key(const block *b, const words_slot *s, const fe_vocabulary *v, int i)
{
    if (!v->is_text) return s->key == v->integer[i];
    const words_text own = words_table_text(b->head, s->key);
    return own.length == strlen(v->text[i]) && memcmp(own.bytes, v->text[i], own.length) == 0;
}

static uint64_t hash_key(const block *b, const fe_vocabulary *v, int i)
{
    if (!v->is_text) return words_hash_integer(b->head->seed, v->integer[i]);
    uint64_t hash = words_hash_begin(b->head->seed);
    for (const char *p = v->text[i]; *p; p++) hash = words_hash_add(hash, (uint8_t)*p);
    return words_hash_end(hash);
}

/* False when some key lies far from its place: another seed is tried then. */
static bool fill_slots(block *b, const fe_table *t)
{
    const uint64_t mask = b->head->slots - 1;
    memset(b->slot, 0, b->head->slots * sizeof *b->slot);
    b->used = sizeof *b->head + b->head->slots * sizeof *b->slot;
    for (int i = 0; i < t->key->count; i++) {
        const uint64_t hash = hash_key(b, t->key, i);
        uint64_t at = hash & mask;
        int probes = 0;
        for (; b->slot[at].hash; at = (at + 1) & mask) {
            if (b->slot[at].hash == hash && is_same_key(b, &b->slot[at], t->key, i)) break;
            if (++probes > MOST_PROBES) return false;
        }
        if (!b->slot[at].hash) b->slot[at] = (words_slot){.hash = hash, .key = add_item(b, t->key, i)};
        b->slot[at].value = add_item(b, t->value, i);
    }
    return true;
}

static bool make_block(fe_lower *l, fe_layer *layer, fe_table *t)
{
    const fe_vocabulary name = {.is_text = true, .count = 1, .text = (const char *[]){layer->name}};
    uint64_t slots = 8;
    while (slots < 2 * (uint64_t)t->key->count) slots *= 2;
    const uint64_t most = sizeof(words_table) + slots * sizeof(words_slot) + text_bytes(t->key) + text_bytes(t->value) +
                          text_bytes(t->missing) + text_bytes(&name);
    if (most > INT32_MAX) return fe_layer_error(l->fe, layer, "expected a vocabulary of less than 2 GiB");
    block b = {.head = arena_alloc(l->fe->arena, (size_t)most)};
    b.slot = (words_slot *)(void *)(b.head + 1);
    *b.head = (words_table){.slots = slots, .is_closed = t->is_closed};
    b.head->key = t->key->is_text ? WORDS_TEXT : WORDS_INTEGER;
    b.head->value = t->value->is_text ? WORDS_TEXT : WORDS_INTEGER;
    while (!fill_slots(&b, t)) {
        if (++b.head->seed == MOST_SEEDS) return fe_layer_error(l->fe, layer, "this vocabulary cannot be hashed");
    }
    b.head->missing = add_item(&b, t->missing, 0);
    b.head->layer = (uint32_t)add_item(&b, &name, 0);
    b.head->bytes = b.used;
    t->block = b.head;
    t->size = (size_t)b.used;
    return true;
}

ir_value fe_table_build(fe_lower *l, fe_layer *layer, fe_table *t)
{
    if (!t->block && !make_block(l, layer, t)) return IR_NONE;
    const ir_dim size = ir_fixed((int64_t)t->size);
    return ir_build_constant(l->g, ir_type_make(DTYPE_u8, 1, &size), t->block);
}

ir_value fe_words_build(fe_lower *l, ir_op op, int count, const ir_value *in, ir_type type)
{
    return ir_build(l->g, op, count, in, 0, NULL, &type);
}
