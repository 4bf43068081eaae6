/* lex.c: see lex.h. */
#include "ir/lex.h"

#include <string.h>

static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || is_digit(c);
}

static void skip_blanks(lexer *l)
{
    while (l->at < l->end) {
        char c = *l->at;
        if (c == '#') {
            while (l->at < l->end && *l->at != '\n') l->at++;
        } else if (c == ' ' || c == '\n' || c == '\t' || c == '\r') {
            l->at++;
        } else {
            return;
        }
    }
}

static void skip_names(lexer *l)
{
    while (l->at < l->end && is_name(*l->at)) l->at++;
}

/* Takes what can belong to a number: its digits and letters, one point, and signs after an
 * exponent's e. */
static void skip_number(lexer *l)
{
    const char *start = l->at++;
    bool hex = l->at < l->end && *start == '0' && (*l->at == 'x' || *l->at == 'X');
    while (l->at < l->end) {
        char c = *l->at, before = l->at[-1];
        bool sign = (c == '-' || c == '+') && (before == 'e' || before == 'E') && !hex;
        if (!is_name(c) && c != '.' && !sign) return;
        l->at++;
    }
}

static lex_kind skip_string(lexer *l)
{
    for (l->at++; l->at < l->end && *l->at != '\n'; l->at++) {
        if (*l->at == '"') {
            l->at++;
            return LEX_string;
        }
        if (*l->at == '\\' && l->at + 1 < l->end) l->at++;
    }
    return LEX_bad;
}

static lex_kind skip_named(lexer *l, lex_kind kind)
{
    const char *start = ++l->at;
    skip_names(l);
    l->token.start = start;
    return l->at > start ? kind : LEX_bad;
}

void lex_next(lexer *l)
{
    skip_blanks(l);
    lex_token *t = &l->token;
    *t = (lex_token){LEX_end, l->at, 0};
    if (l->at == l->end) return;
    char c = *l->at;
    if (is_digit(c) || c == '-' || c == '+') {
        t->kind = LEX_number;
        skip_number(l);
    } else if (is_name(c)) {
        t->kind = LEX_word;
        skip_names(l);
    } else if (c == '"') {
        t->kind = skip_string(l);
    } else if (c == '%' || c == '@') {
        t->kind = skip_named(l, c == '%' ? LEX_value : LEX_at);
    } else {
        t->kind = c && strchr("{}[]()=,:*", c) ? LEX_mark : LEX_bad;
        l->at++;
    }
    t->length = (size_t)(l->at - t->start);
}

void lex_begin(lexer *l, const char *source, size_t length)
{
    *l = (lexer){.source = source, .at = source, .end = source + length};
    lex_next(l);
}

bool lex_is_mark(const lexer *l, char mark)
{
    return l->token.kind == LEX_mark && *l->token.start == mark;
}

bool lex_is_word(const lexer *l, const char *word)
{
    return l->token.kind == LEX_word && strlen(word) == l->token.length &&
           memcmp(word, l->token.start, l->token.length) == 0;
}

char *lex_copy(arena *a, const lex_token *t) { return arena_strndup(a, t->start, t->length); }

static int hex_digit(char c)
{
    if (is_digit(c)) return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The byte that the four digits after \u stand for; 0: none that text_add_quoted writes. */
static char read_code(const char *p, const char *end)
{
    int code = 0;
    for (int i = 0; i < 4; i++) {
        if (p + i >= end || hex_digit(p[i]) < 0) return 0;
        code = code * 16 + hex_digit(p[i]);
    }
    return code < 128 ? (char)code : 0;
}

char *lex_unquote(arena *a, const lex_token *t)
{
    char *out = arena_alloc(a, t->length), *o = out;
    const char *end = t->start + t->length - 1;
    for (const char *p = t->start + 1; p < end; p++) {
        char c = *p;
        if (c == '\\') {
            c = *++p;
            if (c == 'n') {
                c = '\n';
            } else if (c == 'u') {
                c = read_code(p + 1, end);
                p += 4;
            } else if (c != '"' && c != '\\') {
                return NULL;
            }
        }
        if (c == 0) return NULL;
        *o++ = c;
    }
    *o = 0;
    return out;
}

void lex_position(const lexer *l, int *out_line, int *out_column)
{
    bool named = l->token.kind == LEX_value || l->token.kind == LEX_at;
    const char *p = l->source, *start = l->token.start - named;
    *out_line = *out_column = 1;
    for (; p < start; p++) {
        bool end = *p == '\n';
        *out_line += end;
        *out_column = end ? 1 : *out_column + 1;
    }
}
