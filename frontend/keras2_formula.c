/* keras2_formula.c: functions of TensorFlow that are a formula of keras.ops: rows of family `formula` in
 * tf_symbols.def. value := number | 'text' | true | false | null | [value, ...] | name | name?value |
 * Operation(argument, ...) argument := value | key=value A name is an argument of the call, null when it is
 * absent; name?value has a default. */
#include "frontend/keras2.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_ITEMS = 12 };

typedef struct formula {
    fe_lower *l;
    const fe_args *args;
    const char *at;
} formula;

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool take(formula *f, char c)
{
    f->at += strspn(f->at, " ");
    if (*f->at != c) return false;
    f->at++;
    return true;
}

static void expect(formula *f, char c)
{
    bug_if(!take(f, c), "expected '%c' in a formula of tf_symbols.def: %s", c, f->at);
}

static const char *take_word(formula *f)
{
    f->at += strspn(f->at, " ");
    const char *start = f->at;
    while (is_word(*f->at)) f->at++;
    bug_if(f->at == start, "expected a word in a formula of tf_symbols.def: %s", start);
    return arena_strndup(f->l->fe->arena, start, (size_t)(f->at - start));
}

static bool take_value(formula *f, bool run, fe_value *out);

static bool take_number(formula *f, fe_value *out)
{
    char *end;
    *out = (fe_value){.kind = FE_NUMBER, .number = strtod(f->at, &end)};
    out->is_float = memchr(f->at, '.', (size_t)(end - f->at)) || memchr(f->at, 'e', (size_t)(end - f->at));
    out->integer = (int64_t)out->number;
    f->at = end;
    return true;
}

static bool take_list(formula *f, bool run, fe_value *out)
{
    fe_value item[MOST_ITEMS];
    int count = 0;
    while (!take(f, ']')) {
        bug_if(count == MOST_ITEMS, "a list in tf_symbols.def is too long");
        if (!take_value(f, run, &item[count++])) return false;
        take(f, ',');
    }
    *out = (fe_value){.kind = FE_LIST, .count = count};
    out->item = arena_copy(f->l->fe->arena, item, (size_t)(count ? count : 1) * sizeof *item);
    return true;
}

static bool take_call(formula *f, const char *name, bool run, fe_value *out)
{
    fe_value positional[MOST_ITEMS], keyword[MOST_ITEMS];
    const char *key[MOST_ITEMS];
    fe_args args = {.arg = {.kind = FE_LIST, .item = positional},
                    .kwarg = {.kind = FE_DICT, .item = keyword, .key = key}};
    while (!take(f, ')')) {
        bug_if(args.arg.count + args.kwarg.count == MOST_ITEMS, "a call in tf_symbols.def is too long");
        const char *start = f->at += strspn(f->at, " ");
        while (is_word(*f->at)) f->at++;
        const bool named = *f->at == '=' && f->at > start;
        if (named) key[args.kwarg.count] = arena_strndup(f->l->fe->arena, start, (size_t)(f->at - start));
        f->at = named ? f->at + 1 : start;
        if (!take_value(f, run, named ? &keyword[args.kwarg.count] : &positional[args.arg.count]))
            return false;
        args.kwarg.count += named;
        args.arg.count += !named;
        take(f, ',');
    }
    const fe_op *op = fe_op_find(name);
    const fe_value config = {.kind = FE_DICT};
    bug_if(!op, "tf_symbols.def names operation %s, which is unknown", name);
    *out = (fe_value){.kind = FE_NULL};
    return !run || fe_op_call(f->l, op, &args, &config, out);
}

/* Without `run` a value is only read over: the default of an argument that is there. */
static bool take_name(formula *f, const char *name, bool run, fe_value *out)
{
    const fe_value *given = fe_args_find(f->args, -1, name);
    fe_value otherwise = {.kind = FE_NULL};
    if (take(f, '?') && !take_value(f, run && !given, &otherwise)) return false;
    *out = given ? *given : otherwise;
    return true;
}

static bool take_value(formula *f, bool run, fe_value *out)
{
    *out = (fe_value){.kind = FE_NULL};
    f->at += strspn(f->at, " ");
    if (*f->at == '-' || (*f->at >= '0' && *f->at <= '9')) return take_number(f, out);
    if (take(f, '[')) return take_list(f, run, out);
    if (take(f, '\'')) {
        *out = (fe_value){.kind = FE_TEXT, .text = *f->at == '\'' ? "" : take_word(f)};
        expect(f, '\'');
        return true;
    }
    const char *word = take_word(f);
    if (take(f, '(')) return take_call(f, word, run, out);
    if (strcmp(word, "null") == 0) return true;
    const bool yes = strcmp(word, "true") == 0;
    if (!yes && strcmp(word, "false") != 0) return take_name(f, word, run, out);
    *out = fe_value_bool(yes);
    return true;
}

bool tf_build_formula(fe_lower *l, const tf_symbol *s, const fe_args *args, fe_value *out)
{
    formula f = {.l = l, .args = args, .at = s->settings};
    if (!take_value(&f, true, out)) return false;
    bug_if(*f.at, "a formula of tf_symbols.def goes on: %s", f.at);
    return true;
}
