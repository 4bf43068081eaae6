/* pattern.c: see pattern.h. A part of a pattern maps the set of places where it may start to the set of places where it
 * may end, so nothing is tried twice and a repeat ends when its set no longer grows. */
#include "frontend/pattern.h"

#include <string.h>

enum { MOST_STEPS = 200000, MOST_DEPTH = 32, MOST_LENGTH = 1024 };

typedef struct matcher {
    arena *arena;
    const char *at; /* what is read next of the pattern */
    const char *text;
    size_t length;
    int steps, depth;
    const char *problem;
} matcher;

typedef bool *places; /* length + 1 flags */

static void read_choice(matcher *m, const bool *from, places to);

static bool refuse(matcher *m, const char *problem)
{
    if (!m->problem) m->problem = problem;
    return false;
}

static places new_places(matcher *m) { return arena_array(m->arena, bool, m->length + 1); }

static bool is_in_class(char class, char c)
{
    const bool digit = c >= '0' && c <= '9';
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    switch (class) {
    case 'd': return digit;
    case 'D': return !digit;
    case 'w': return digit || letter;
    case 'W': return !digit && !letter;
    case 's': return c == ' ' || (c >= '\t' && c <= '\r');
    default: return !(c == ' ' || (c >= '\t' && c <= '\r'));
    }
}

/* What stands for one character: a literal, a dot, an escape or a set; whether c is one of it. Advances `at` past it. */
static bool read_escape(matcher *m, char c)
{
    const char e = *m->at;
    if (e == 0) return refuse(m, "it ends in a backslash");
    m->at++;
    if (strchr("dDwWsS", e)) return is_in_class(e, c);
    if (is_in_class('w', e)) return refuse(m, "escapes other than \\d, \\w, \\s and of signs are not read");
    return c == e;
}

static bool read_set(matcher *m, char c)
{
    const bool inverted = *m->at == '^';
    bool found = false, first = true;
    if (inverted) m->at++;
    for (; *m->at && (first || *m->at != ']'); first = false) {
        const char low = *m->at++;
        if (low == '\\') {
            found |= read_escape(m, c);
            continue;
        }
        char high = low;
        if (*m->at == '-' && m->at[1] && m->at[1] != ']') {
            high = m->at[1];
            m->at += 2;
        }
        found |= c >= low && c <= high;
    }
    if (*m->at != ']') return refuse(m, "a [ is not closed");
    m->at++;
    return found != inverted;
}

static bool read_character(matcher *m, char c)
{
    const char p = *m->at++;
    if (p == '.') return c != '\n';
    if (p == '\\') return read_escape(m, c);
    return p == '[' ? read_set(m, c) : c == p;
}

static void read_atom(matcher *m, const bool *from, places to)
{
    const char *start = m->at;
    if (*start == '(') {
        m->at += strncmp(start, "(?:", 3) == 0 ? 3 : 1;
        if (*m->at == '?') refuse(m, "groups that begin with (? are not read, but for (?:");
        if (++m->depth > MOST_DEPTH) refuse(m, "it is nested too deep");
        if (!m->problem) read_choice(m, from, to);
        m->depth--;
        if (*m->at != ')') refuse(m, "a ( is not closed");
        if (*m->at) m->at++;
        return;
    }
    for (size_t i = 0; i <= m->length && !m->problem; i++) {
        m->at = start;
        const bool fits = read_character(m, m->text[i]);
        if (++m->steps > MOST_STEPS) refuse(m, "it takes too long to match");
        if (i < m->length && from[i] && fits) to[i + 1] = true;
    }
}

static bool add_places(const matcher *m, const bool *from, places to)
{
    bool grown = false;
    for (size_t i = 0; i <= m->length; i++) {
        grown |= from[i] && !to[i];
        to[i] |= from[i];
    }
    return grown;
}

/* An atom and the repeat behind it: at least `least` and, without `many`, at most one time. */
static void read_repeat(matcher *m, const bool *from, places to)
{
    const char *start = m->at;
    places once = new_places(m);
    read_atom(m, from, once);
    const char repeat = *m->at, *end = m->at + 1;
    const bool is_repeat = repeat && strchr("*+?", repeat);
    if (repeat == '{') refuse(m, "repeats with a count are not read");
    if (is_repeat && *end && strchr("*+?{", *end)) refuse(m, "lazy and double repeats are not read");
    add_places(m, once, to);
    if (!is_repeat || m->problem) return;
    if (repeat != '+') add_places(m, from, to);
    for (bool grown = repeat != '?'; grown && !m->problem;) {
        places next = new_places(m);
        m->at = start;
        read_atom(m, to, next);
        grown = add_places(m, next, to);
    }
    m->at = end;
}

static void read_sequence(matcher *m, const bool *from, places to)
{
    places here = new_places(m);
    add_places(m, from, here);
    while (*m->at && *m->at != '|' && *m->at != ')' && !m->problem) {
        if (strchr("*+?{", *m->at)) refuse(m, "there is nothing to repeat");
        if (strchr("^$", *m->at)) refuse(m, "anchors are not read: the whole path is matched anyway");
        places next = new_places(m);
        if (!m->problem) read_repeat(m, here, next);
        here = next;
    }
    add_places(m, here, to);
}

static void read_choice(matcher *m, const bool *from, places to)
{
    read_sequence(m, from, to);
    while (*m->at == '|' && !m->problem) {
        m->at++;
        read_sequence(m, from, to);
    }
}

fe_match fe_pattern_match(const char *pattern, const char *text, const char **out_problem)
{
    arena scratch = {0};
    matcher m = {.arena = &scratch, .at = pattern, .text = text, .length = strlen(text)};
    bool whole = false;
    if (m.length > MOST_LENGTH || strlen(pattern) > MOST_LENGTH) {
        refuse(&m, "it is too long");
    } else {
        places from = new_places(&m), to = new_places(&m);
        from[0] = true;
        read_choice(&m, from, to);
        if (*m.at && !m.problem) refuse(&m, "a ) has no (");
        whole = to[m.length];
    }
    arena_done(&scratch);
    if (m.problem) *out_problem = m.problem;
    return m.problem ? MATCH_refused : whole ? MATCH_yes : MATCH_no;
}
