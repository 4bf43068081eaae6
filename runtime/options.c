/* options.c: see options.h. */
#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum kind { KIND_TEXT, KIND_WHOLE, KIND_REAL, KIND_FLAG } kind;

static const struct row {
    size_t offset;
    kind kind;
    const char *name, *argument;
    unsigned verbs;
    double least, most, otherwise;
    const char *help;
} rows[] = {
#define OPTION(field, kind, name, argument, verbs, least, most, otherwise, help)                             \
    {offsetof(options, field), KIND_##kind, name, argument, verbs, least, most, otherwise, help},
#include "options.def"
};

static bool read_number(rt *r, const struct row *row, const char *text, double *out_number)
{
    char *end;
    errno = 0;
    double number = strtod(text, &end);
    const char *sort = row->kind == KIND_WHOLE ? "a whole number" : "a number";
    bool whole = row->kind != KIND_WHOLE || number == floor(number);
    if (end == text || *end || errno || !whole || !(number >= row->least && number <= row->most)) {
        return rt_wrong(r, "%s: expected %s from %.0f to %.0f, found \"%s\"", row->name, sort, row->least,
                        row->most, text);
    }
    *out_number = number;
    return true;
}

static bool set_option(options *o, rt *r, const struct row *row, const char *text)
{
    char *field = (char *)o + row->offset;
    const bool is_batch = row->offset == offsetof(options, batch_size);
    const double most = is_batch ? (double)r->program->rows : 0;
    double number = most > 0 ? most : row->otherwise;
    if (text && row->kind != KIND_TEXT && row->kind != KIND_FLAG && !read_number(r, row, text, &number))
        return false;
    if (most > 0 && number > most)
        return rt_wrong(r, "%s: expected at most %.0f, found %s: the model keeps states for so many rows", row->name,
                        most, text);
    switch (row->kind) {
    case KIND_TEXT:
        *(const char **)(void *)field = text;
        return true;
    case KIND_WHOLE:
        *(int64_t *)(void *)field = (int64_t)number;
        return true;
    case KIND_REAL:
        *(double *)(void *)field = number;
        return true;
    case KIND_FLAG:
        *(bool *)(void *)field = text != NULL;
        return true;
    }
    return false;
}

static bool refuse_option(rt *r, const char *word, verb_set verb)
{
    const char *known[RT_COUNT(rows)];
    size_t count = 0;
    for (size_t i = 0; i < RT_COUNT(rows); i++) {
        if (rows[i].verbs & (unsigned)verb) known[count++] = rows[i].name;
    }
    if (word[0] != '-') return rt_wrong(r, "expected an option, found \"%s\"", word);
    const char *near = rt_nearest(word, known, count);
    if (near) return rt_wrong(r, "unknown option \"%s\"; did you mean \"%s\"?", word, near);
    return rt_wrong(r, "unknown option \"%s\"; --help lists them", word);
}

static const struct row *find_row(const char *word, size_t length, verb_set verb)
{
    for (size_t i = 0; i < RT_COUNT(rows); i++) {
        bool same = strncmp(rows[i].name, word, length) == 0 && rows[i].name[length] == 0;
        if (same && rows[i].verbs & (unsigned)verb) return &rows[i];
    }
    return NULL;
}

bool options_read(options *o, rt *r, verb_set verb, int count, char **word)
{
    for (size_t i = 0; i < RT_COUNT(rows); i++) set_option(o, r, &rows[i], NULL);
    for (int i = 0; i < count; i++) {
        const char *equals = strchr(word[i], '=');
        size_t length = equals ? (size_t)(equals - word[i]) : strlen(word[i]);
        const struct row *row = find_row(word[i], length, verb);
        if (!row) return refuse_option(r, rt_printf(r, "%.*s", (int)length, word[i]), verb);
        const char *text = equals ? equals + 1 : NULL;
        if (row->kind == KIND_FLAG) {
            if (equals) return rt_wrong(r, "%s: expected no argument, found \"%s\"", row->name, text);
            text = "";
        } else if (!text) {
            if (i + 1 == count) return rt_wrong(r, "%s: expected %s after it", row->name, row->argument);
            text = word[++i];
        }
        if (!set_option(o, r, row, text)) return false;
    }
    return true;
}

void options_print_help(verb_set verb)
{
    for (size_t i = 0; i < RT_COUNT(rows); i++) {
        const struct row *row = &rows[i];
        if (!(row->verbs & (unsigned)verb)) continue;
        int used = printf("  %s %s", row->name, row->argument);
        printf("%*s%s", used < 34 ? 34 - used : 1, "", row->help);
        bool number = row->kind == KIND_WHOLE || row->kind == KIND_REAL;
        if (number && row->otherwise != 0) printf(" (%g)", row->otherwise);
        printf("\n");
    }
}

bool options_require(rt *r, const char *value, const char *name)
{
    return value != NULL || rt_wrong(r, "expected option %s", name);
}
