/* json.c: JSON text to a cJSON tree in the arena. Not cJSON's own parser, because Python's JSON has bare NaN
 * and Infinity, seeds need all digits of large integers, syntax errors need line and column, and strings of
 * the tree must live as long as the model. cJSON's accessors work on the result. */
#include "frontend/fe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_MAX_DEPTH = 400, JSON_MAX_BYTES = 64 << 20 };

typedef struct json_reader {
    fe *fe;
    const char *file;
    const char *start, *next, *end;
    int depth;
} json_reader;

static cJSON *read_value(json_reader *r);

static bool fail_at(json_reader *r, const char *where, const char *expected)
{
    int line = 1, column = 1;
    for (const char *c = r->start; c < where; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n';
    }
    const char *found = "the end of the file";
    if (where < r->end) {
        unsigned char c = (unsigned char)*where;
        found = c >= ' ' && c < 127 ? arena_printf(r->fe->arena, "'%c'", c)
                                    : arena_printf(r->fe->arena, "byte 0x%02x", c);
    }
    diag *d = r->fe->diag;
    const char *file = d->file;
    d->file = NULL;
    diag_error(d, arena_printf(r->fe->arena, "%s:%d:%d", r->file, line, column), "expected %s, found %s",
               expected, found);
    d->file = file;
    return false;
}

static void skip_space(json_reader *r)
{
    while (r->next < r->end && (*r->next == ' ' || *r->next == '\t' || *r->next == '\n' || *r->next == '\r'))
        r->next++;
}

static bool take(json_reader *r, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(r->end - r->next) < length || memcmp(r->next, word, length) != 0) return false;
    r->next += length;
    return true;
}

static cJSON *make_item(json_reader *r, int type)
{
    cJSON *item = arena_new(r->fe->arena, cJSON);
    item->type = type;
    return item;
}

static bool read_hex4(json_reader *r, unsigned *out)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++, r->next++) {
        char c = r->next < r->end ? *r->next : '\0';
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 16u;
        if (digit > 15) return fail_at(r, r->next, "a hexadecimal digit");
        value = value * 16 + digit;
    }
    *out = value;
    return true;
}

static char *put_utf8(char *to, unsigned code)
{
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    int rest = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const unsigned lead[] = {0, 0xc0, 0xe0, 0xf0};
    *to++ = (char)(lead[rest] | code >> (6 * rest));
    while (rest-- > 0) *to++ = (char)(0x80 | (code >> (6 * rest) & 0x3f));
    return to;
}

static bool read_unicode_escape(json_reader *r, char **to)
{
    const char *where = r->next;
    unsigned code = 0, low = 0;
    if (!read_hex4(r, &code)) return false;
    if (code >= 0xd800 && code < 0xdc00 && take(r, "\\u")) {
        if (!read_hex4(r, &low)) return false;
        if (low < 0xdc00 || low > 0xdfff) return fail_at(r, where, "a surrogate pair");
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    if (code == 0 || (code >= 0xd800 && code < 0xe000)) return fail_at(r, where, "a character");
    *to = put_utf8(*to, code);
    return true;
}

static bool read_escape(json_reader *r, char **to)
{
    static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
    char c = r->next < r->end ? *r->next : '\0';
    const char *found = c ? strchr(from, c) : NULL;
    if (c != 'u' && !found) return fail_at(r, r->next, "an escape sequence");
    r->next++;
    if (c == 'u') return read_unicode_escape(r, to);
    *(*to)++ = into[found - from];
    return true;
}

static char *read_string(json_reader *r)
{
    const char *close = r->next;
    while (close < r->end && *close != '"') close += *close == '\\' && close + 1 < r->end ? 2 : 1;
    if (close >= r->end) {
        fail_at(r, r->end, "a closing quote");
        return NULL;
    }
    char *string = arena_alloc(r->fe->arena, (size_t)(close - r->next) + 1), *to = string;
    while (r->next < close) {
        char c = *r->next;
        if ((unsigned char)c < ' ') {
            fail_at(r, r->next, "an escaped control character");
            return NULL;
        }
        r->next++;
        if (c != '\\')
            *to++ = c;
        else if (!read_escape(r, &to))
            return NULL;
    }
    r->next = close + 1;
    return string;
}

static size_t count_digits(const char *from, const char *end)
{
    size_t n = 0;
    while (from + n < end && from[n] >= '0' && from[n] <= '9') n++;
    return n;
}

static cJSON *read_number(json_reader *r)
{
    const char *at = r->next;
    if (at < r->end && *at == '-') at++;
    size_t digits = count_digits(at, r->end);
    if (digits == 0 || (digits > 1 && *at == '0')) {
        fail_at(r, at, digits ? "a number without leading zeros" : "a value");
        return NULL;
    }
    at += digits;
    if (at < r->end && *at == '.') {
        digits = count_digits(at + 1, r->end);
        if (digits == 0) {
            fail_at(r, at + 1, "a digit");
            return NULL;
        }
        at += 1 + digits;
    }
    if (at < r->end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < r->end && (*at == '+' || *at == '-')) at++;
        digits = count_digits(at, r->end);
        if (digits == 0) {
            fail_at(r, at, "a digit");
            return NULL;
        }
        at += digits;
    }
    cJSON *item = make_item(r, cJSON_Number);
    item->valuestring = arena_strndup(r->fe->arena, r->next, (size_t)(at - r->next));
    item->valuedouble = strtod(item->valuestring, NULL);
    r->next = at;
    return item;
}

static cJSON *make_number(json_reader *r, double value, const char *digits)
{
    cJSON *item = make_item(r, cJSON_Number);
    item->valuedouble = value;
    item->valuestring = arena_strdup(r->fe->arena, digits);
    return item;
}

static void append_child(cJSON *parent, cJSON *child)
{
    if (!parent->child) {
        parent->child = child->prev = child;
    } else {
        child->prev = parent->child->prev;
        child->prev->next = child;
        parent->child->prev = child;
    }
}

static cJSON *read_member(json_reader *r, bool keyed)
{
    char *key = NULL;
    skip_space(r);
    if (keyed) {
        if (!take(r, "\"")) {
            fail_at(r, r->next, "a quoted key");
            return NULL;
        }
        if (!(key = read_string(r))) return NULL;
        skip_space(r);
        if (!take(r, ":")) {
            fail_at(r, r->next, "':'");
            return NULL;
        }
    }
    cJSON *item = read_value(r);
    if (item) item->string = key;
    return item;
}

/* The opening bracket has been read. */
static cJSON *read_members(json_reader *r, bool keyed)
{
    const char *close = keyed ? "}" : "]";
    cJSON *parent = make_item(r, keyed ? cJSON_Object : cJSON_Array);
    if (++r->depth > JSON_MAX_DEPTH) {
        fail_at(r, r->next, "a nesting of at most 400 levels");
        return NULL;
    }
    skip_space(r);
    if (!take(r, close)) {
        do {
            cJSON *child = read_member(r, keyed);
            if (!child) return NULL;
            append_child(parent, child);
            skip_space(r);
        } while (take(r, ","));
        if (!take(r, close)) {
            fail_at(r, r->next, keyed ? "',' or '}'" : "',' or ']'");
            return NULL;
        }
    }
    r->depth--;
    return parent;
}

static cJSON *read_value(json_reader *r)
{
    skip_space(r);
    if (take(r, "{")) return read_members(r, true);
    if (take(r, "[")) return read_members(r, false);
    if (take(r, "\"")) {
        char *string = read_string(r);
        if (!string) return NULL;
        cJSON *item = make_item(r, cJSON_String);
        item->valuestring = string;
        return item;
    }
    if (take(r, "null")) return make_item(r, cJSON_NULL);
    if (take(r, "true")) return make_item(r, cJSON_True);
    if (take(r, "false")) return make_item(r, cJSON_False);
    if (take(r, "NaN")) return make_number(r, (double)NAN, "NaN");
    if (take(r, "Infinity")) return make_number(r, (double)INFINITY, "Infinity");
    if (take(r, "-Infinity")) return make_number(r, -(double)INFINITY, "-Infinity");
    return read_number(r);
}

cJSON *fe_json_parse(fe *f, const char *file, const char *source, size_t length)
{
    json_reader r = {.fe = f, .file = file, .start = source, .next = source, .end = source + length};
    if (length > JSON_MAX_BYTES) {
        diag_error(f->diag, NULL, "expected at most %d bytes of JSON, found %zu", JSON_MAX_BYTES, length);
        return NULL;
    }
    cJSON *root = read_value(&r);
    if (!root) return NULL;
    skip_space(&r);
    if (r.next != r.end) {
        fail_at(&r, r.next, "the end of the file");
        return NULL;
    }
    return root;
}

bool fe_json_has_float(const cJSON *j)
{
    bool found = cJSON_IsNumber(j) && strpbrk(j->valuestring, ".eENI");
    for (const cJSON *item = cJSON_IsArray(j) ? j->child : NULL; item && !found; item = item->next)
        found = fe_json_has_float(item);
    return found;
}

bool fe_json_int(const cJSON *j, int64_t *out)
{
    if (!cJSON_IsNumber(j)) return false;
    const char *s = j->valuestring;
    if (s && !strpbrk(s, ".eENI")) {
        size_t digits = strlen(s) - (*s == '-');
        long long value = strtoll(s, NULL, 10);
        if (digits > 19 || (digits == 19 && (value == INT64_MAX || value == INT64_MIN))) return false;
        *out = value;
        return true;
    }
    if (!(fabs(j->valuedouble) < 9e15) || floor(j->valuedouble) != j->valuedouble) return false;
    *out = (int64_t)j->valuedouble;
    return true;
}

/* ---- printing ------------------------------------------------------------------------------------ */

static void print_members(const cJSON *j, bool keyed, text *to)
{
    text_add(to, keyed ? "{" : "[");
    for (const cJSON *item = j->child; item; item = item->next) {
        if (item != j->child) text_add(to, ", ");
        if (keyed) text_add_quoted(to, item->string);
        if (keyed) text_add(to, ": ");
        fe_json_print(item, to);
    }
    text_add(to, keyed ? "}" : "]");
}

void fe_json_print(const cJSON *j, text *to)
{
    if (cJSON_IsArray(j) || cJSON_IsObject(j))
        print_members(j, cJSON_IsObject(j), to);
    else if (cJSON_IsString(j))
        text_add_quoted(to, j->valuestring);
    else if (cJSON_IsNumber(j))
        text_add(to, "%s", j->valuestring);
    else
        text_add(to, "%s", cJSON_IsNull(j) ? "null" : cJSON_IsTrue(j) ? "true" : "false");
}

/* ---- messages ------------------------------------------------------------------------------------ */

static void put_path(const json_at *at, text *to)
{
    if (!at || (!at->key && at->index < 0)) {
        text_put(to, "$", 1);
        return;
    }
    put_path(at->up, to);
    if (!at->key)
        text_add(to, "[%d]", at->index);
    else
        text_add(to, ".%s", at->key);
}

const char *fe_at_show(fe *f, const json_at *at)
{
    text t = {0};
    put_path(at, &t);
    const char *shown = arena_strdup(f->arena, text_get(&t));
    text_done(&t);
    return shown;
}

static const char *show_quoted(fe *f, const char *string, size_t most)
{
    text t = {0};
    bool longer = strlen(string) > most;
    text_add_quoted(&t, longer ? arena_strndup(f->arena, string, most) : string);
    const char *shown = arena_printf(f->arena, "%s%s", text_get(&t), longer ? "..." : "");
    text_done(&t);
    return shown;
}

const char *fe_json_show(fe *f, const cJSON *j)
{
    if (!j) return "nothing";
    if (cJSON_IsString(j)) return arena_printf(f->arena, "%s (string)", show_quoted(f, j->valuestring, 60));
    if (cJSON_IsNumber(j))
        return arena_printf(f->arena, "%.60s (number)", j->valuestring ? j->valuestring : "?");
    if (cJSON_IsBool(j)) return cJSON_IsTrue(j) ? "true (boolean)" : "false (boolean)";
    if (cJSON_IsNull(j)) return "null";
    if (cJSON_IsArray(j)) return arena_printf(f->arena, "a list of %d", cJSON_GetArraySize(j));
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(j, "class_name");
    if (cJSON_IsString(name))
        return arena_printf(f->arena, "an object of class %s", show_quoted(f, name->valuestring, 60));
    return "an object";
}

const char *fe_shape_show(fe *f, const ir_type *t)
{
    text shape = {0};
    ir_type_print(t, &shape);
    const char *shown = arena_strdup(f->arena, text_get(&shape));
    text_done(&shape);
    return shown;
}

static bool add_error(fe *f, const char *path, const fe_layer *layer, const char *format, va_list args)
{
    text t = {0};
    text_add_args(&t, format, args);
    const char *place = path;
    if (layer)
        place =
            arena_printf(f->arena, "%s: %s %s", path, layer->class->name, show_quoted(f, layer->name, 200));
    diag_error(f->diag, place, "%s", text_get(&t));
    text_done(&t);
    return false;
}

bool fe_error(fe *f, const json_at *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_error(f, fe_at_show(f, at), f->layer, format, args);
    va_end(args);
    return false;
}

bool fe_layer_error(fe *f, const fe_layer *layer, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    add_error(f, layer->json_path, layer, format, args);
    va_end(args);
    return false;
}
