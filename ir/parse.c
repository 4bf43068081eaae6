/* parse.c: reading the text form: words, numbers, types, data and records. */
#include "ir/parse.h"
#include "ir/graph.h"

#include <stdarg.h>
#include <string.h>

enum { NUMBER_LIMIT = 64 }; /* characters of a number */

static bool report(parser *p, const lexer *where, const char *format, va_list args)
    BASE_PRINTF(3, 0);
static bool report(parser *p, const lexer *where, const char *format, va_list args)
{
    int line, column;
    lex_position(where, &line, &column);
    text message = {0};
    text_add_args(&message, format, args);
    diag *d = p->diag;
    const char *file = d->file;
    const char *place = file ? arena_printf(p->arena, "%s:%d:%d", file, line, column)
                             : arena_printf(p->arena, "%d:%d", line, column);
    d->file = NULL; /* the place names it already, without a blank before the line */
    diag_error(d, place, "%s", text_get(&message));
    d->file = file;
    text_done(&message);
    return false;
}

bool parse_error_at(parser *p, const lexer *where, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(p, where, format, args);
    va_end(args);
    return false;
}

bool parse_error(parser *p, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    report(p, &p->lex, format, args);
    va_end(args);
    return false;
}

static bool expect(parser *p, const char *what)
{
    const lex_token *t = &p->lex.token;
    if (t->kind == LEX_end) return parse_error(p, "expected %s, found the end", what);
    int shown = t->length > 40 ? 40 : (int)t->length;
    return parse_error(p, "expected %s, found \"%.*s\"", what, shown, t->start);
}

bool parse_accept(parser *p, char mark)
{
    bool is = lex_is_mark(&p->lex, mark);
    if (is) lex_next(&p->lex);
    return is;
}

bool parse_mark(parser *p, char mark)
{
    const char what[] = {'"', mark, '"', 0};
    return parse_accept(p, mark) || expect(p, what);
}

bool parse_word(parser *p, const char *word)
{
    if (!lex_is_word(&p->lex, word)) return expect(p, word);
    lex_next(&p->lex);
    return true;
}

bool parse_string(parser *p, const char **out_text)
{
    if (p->lex.token.kind != LEX_string) return expect(p, "a string");
    const char *word = lex_unquote(p->arena, &p->lex.token);
    if (!word) return parse_error(p, "bad escape in a string");
    lex_next(&p->lex);
    *out_text = word;
    return true;
}

bool parse_name(parser *p, const char **out_name)
{
    if (p->lex.token.kind == LEX_string) return parse_string(p, out_name);
    if (p->lex.token.kind != LEX_word) return expect(p, "a name");
    *out_name = lex_copy(p->arena, &p->lex.token);
    lex_next(&p->lex);
    return true;
}

/* ---- numbers -------------------------------------------------------------------------------- */

static bool parse_element(parser *p, ir_dtype dtype, void *out_bytes)
{
    const lex_token *t = &p->lex.token;
    char word[NUMBER_LIMIT];
    bool ok = (t->kind == LEX_number || t->kind == LEX_word) && t->length < sizeof word;
    if (ok) {
        memcpy(word, t->start, t->length);
        word[t->length] = 0;
        ok = ir_element_read(dtype, word, out_bytes);
    }
    if (!ok) {
        const char *what = arena_printf(p->arena, "a number (%s)", ir_dtype_name(dtype));
        return expect(p, what);
    }
    lex_next(&p->lex);
    return true;
}

bool parse_int(parser *p, int64_t *out_number) { return parse_element(p, DTYPE_i64, out_number); }
bool parse_double(parser *p, double *out_number) { return parse_element(p, DTYPE_f64, out_number); }

bool parse_int_within(parser *p, int64_t low, int64_t high, int64_t *out_number)
{
    const lexer here = p->lex;
    int64_t i = 0;
    if (!parse_int(p, &i)) return false;
    if (i < low || i > high) return parse_error_at(p, &here, "%lld is out of range", (long long)i);
    *out_number = i;
    return true;
}

/* ---- types ---------------------------------------------------------------------------------- */

/* N, or V and the number of a ragged input. */
bool parse_unit(parser *p, uint8_t *out_unit)
{
    static const char *const names[] = {"N",  "V0", "V1", "V2",  "V3",  "V4",  "V5",  "V6", "V7",
                                        "V8", "V9", "V10", "V11", "V12", "V13", "V14", "V15"};
    for (size_t i = 0; i < countof(names); i++) {
        if (!lex_is_word(&p->lex, names[i])) continue;
        *out_unit = (uint8_t)(UNIT_rows + i);
        lex_next(&p->lex);
        return true;
    }
    return false;
}

static bool parse_dim(parser *p, ir_dim *out_dim)
{
    *out_dim = ir_fixed(1);
    if (parse_unit(p, &out_dim->batch)) return true;
    int64_t count = 0;
    if (!parse_int_within(p, 0, INT64_MAX, &count)) return false;
    *out_dim = ir_fixed(count);
    if (!parse_accept(p, '*')) return true;
    return parse_unit(p, &out_dim->batch) || expect(p, "N");
}

static bool parse_array_type(parser *p, ir_type *out_type)
{
    const lexer here = p->lex;
    ir_type t = {0};
    const char *name = p->lex.token.kind == LEX_word ? lex_copy(p->arena, &p->lex.token) : "";
    if (!ir_dtype_find(name, &t.dtype)) return expect(p, "a type");
    lex_next(&p->lex);
    if (!parse_mark(p, '[')) return false;
    while (!parse_accept(p, ']')) {
        if (t.rank == IR_MAX_RANK)
            return parse_error(p, "more than %d dimensions", (int)IR_MAX_RANK);
        if (t.rank && !parse_mark(p, ',')) return false;
        if (!parse_dim(p, &t.dim[t.rank++])) return false;
    }
    ir_dim elements;
    if (!ir_type_elements(&t, &elements) || elements.count > (int64_t)1 << 46) {
        return parse_error_at(p, &here, "the type has too many elements, or N twice");
    }
    *out_type = t;
    return true;
}

bool parse_type(parser *p, ir_type *out_type)
{
    if (!parse_accept(p, '(')) return parse_array_type(p, out_type);
    ir_type *element = NULL;
    size_t count = 0, capacity = 0;
    while (!parse_accept(p, ')')) {
        ir_type t = {0};
        if (count && !parse_mark(p, ',')) return false;
        if (!parse_array_type(p, &t)) return false;
        arena_push(p->arena, element, count, capacity, t);
    }
    *out_type = ir_type_tuple(p->arena, (int)count, element);
    return true;
}

/* ---- data ----------------------------------------------------------------------------------- */

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool parse_hex(parser *p, const void **out_bytes, size_t *out_size)
{
    const lex_token t = p->lex.token;
    if (t.kind != LEX_string) return expect(p, "a string of hex digits");
    bool ok = t.length >= 4 && t.length % 2 == 0 && memcmp(t.start, "\"0x", 3) == 0;
    size_t size = ok ? (t.length - 4) / 2 : 0;
    unsigned char *bytes = arena_alloc(p->arena, size);
    for (size_t i = 0; ok && i < size; i++) {
        int high = hex_digit(t.start[3 + 2 * i]), low = hex_digit(t.start[4 + 2 * i]);
        ok = high >= 0 && low >= 0;
        bytes[i] = (unsigned char)(ok ? high * 16 + low : 0);
    }
    if (!ok) return expect(p, "\"0x\" and pairs of hex digits");
    lex_next(&p->lex);
    *out_bytes = bytes;
    *out_size = size;
    return true;
}

bool parse_data(parser *p, ir_dtype dtype, const void **out_bytes, size_t *out_size)
{
    if (p->lex.token.kind == LEX_string) return parse_hex(p, out_bytes, out_size);
    size_t one = ir_dtype_size(dtype), length = 0, capacity = 64;
    char *bytes = arena_alloc(p->arena, capacity);
    bool list = parse_accept(p, '[');
    while (!list || !parse_accept(p, ']')) {
        if (length && !parse_mark(p, ',')) return false;
        if (length + one > capacity) {
            char *larger = arena_alloc_many(p->arena, 2, capacity);
            memcpy(larger, bytes, length);
            bytes = larger;
            capacity *= 2;
        }
        if (!parse_element(p, dtype, bytes + length)) return false;
        length += one;
        if (!list) break;
    }
    *out_bytes = bytes;
    *out_size = length;
    return true;
}

bool parse_skip_data(parser *p)
{
    bool list = parse_accept(p, '[');
    while (p->lex.token.kind != LEX_end && !lex_is_mark(&p->lex, '}')) {
        if (list && parse_accept(p, ']')) return true;
        lex_next(&p->lex);
        if (!list) return true;
    }
    return expect(p, list ? "\"]\"" : "data");
}

/* ---- records -------------------------------------------------------------------------------- */

static bool parse_numbers(parser *p, ir_record *r, const char *key)
{
    double *number = NULL;
    size_t count = 0, capacity = 0;
    while (!parse_accept(p, ']')) {
        double x = 0;
        if (count && !parse_mark(p, ',')) return false;
        if (!parse_double(p, &x)) return false;
        arena_push(p->arena, number, count, capacity, x);
    }
    ir_record_add_numbers(p->arena, r, key, (int)count, number);
    return true;
}

/* A name that a { follows is a record's; a string alone is text. */
static bool parse_field(parser *p, ir_record *r)
{
    const char *key = NULL, *word = NULL;
    if (!parse_name(p, &key) || !parse_mark(p, '=')) return false;
    if (parse_accept(p, '[')) return parse_numbers(p, r, key);
    lexer ahead = p->lex;
    lex_next(&ahead);
    if (lex_is_mark(&ahead, '{')) {
        const ir_record *inner = NULL;
        if (!parse_record(p, &inner)) return false;
        ir_record_add_record(p->arena, r, key, inner);
    } else if (p->lex.token.kind == LEX_string) {
        if (!parse_string(p, &word)) return false;
        ir_record_add_text(p->arena, r, key, word);
    } else {
        double x = 0;
        if (!parse_double(p, &x)) return false;
        ir_record_add_number(p->arena, r, key, x);
    }
    return true;
}

bool parse_record(parser *p, const ir_record **out_record)
{
    const char *name = NULL;
    if (p->depth == PARSE_DEPTH_LIMIT)
        return parse_error(p, "more than %d deep", (int)PARSE_DEPTH_LIMIT);
    if (!parse_name(p, &name) || !parse_mark(p, '{')) return false;
    ir_record *r = ir_record_new(p->arena, name);
    p->depth++;
    while (!parse_accept(p, '}')) {
        if (r->count && !parse_mark(p, ',')) return false;
        if (!parse_field(p, r)) return false;
    }
    p->depth--;
    *out_record = r;
    return true;
}
