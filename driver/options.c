/* options.c: see options.h. */
#include "options.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

typedef enum option_kind { OPTION_TEXT, OPTION_MAYBE, OPTION_LINES, OPTION_FLAG, OPTION_INT, OPTION_LEVEL, OPTION_LIST } option_kind;

typedef struct option {
    const char *name;
    option_kind kind;
    size_t field; /* offset in `options` */
    const char *verbs, *argument, *help;
} option;

static const option table[] = {
#define OPTION(name, kind, field, verbs, argument, help)                                           \
    {name, OPTION_##kind, offsetof(options, field), verbs, argument, help},
#include "options.def"
};

/* Edit distance, for "did you mean"; names longer than the row count as far apart. */
static int distance(const char *a, const char *b)
{
    int row[64];
    int n = (int)strlen(b);
    if (n >= (int)countof(row)) return INT_MAX;
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 0; a[i]; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 1; j <= n; j++) {
            int change = diagonal + (a[i] != b[j - 1]);
            diagonal = row[j];
            int shift = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            row[j] = change < shift ? change : shift;
        }
    }
    return row[n];
}

static const option *find(char verb, const char *name)
{
    for (size_t i = 0; i < countof(table); i++) {
        if (strcmp(table[i].name, name) == 0 && strchr(table[i].verbs, verb)) return &table[i];
    }
    return NULL;
}

static bool refuse_unknown(char verb, const char *name)
{
    const option *best = NULL;
    int least = 4;
    for (size_t i = 0; i < countof(table); i++) {
        int d = strchr(table[i].verbs, verb) ? distance(name, table[i].name) : INT_MAX;
        if (d < least) least = d, best = &table[i];
    }
    fprintf(stderr, "tfcc: unknown option \"%s\"", name);
    if (best) fprintf(stderr, "; did you mean \"%s\"?", best->name);
    fputc('\n', stderr);
    return false;
}

/* One more line; the lines live as long as the program. */
static bool append(char *field, const char *value)
{
    const char *old;
    memcpy(&old, field, sizeof old);
    const size_t used = old ? strlen(old) + 1 : 0, length = strlen(value);
    char *lines = malloc(used + length + 1);
    if (!lines) return false;
    if (old) {
        memcpy(lines, old, used);
        lines[used - 1] = '\n';
    }
    memcpy(lines + used, value, length + 1);
    memcpy(field, &(const char *){lines}, sizeof(const char *));
    return true;
}

static bool set(options *o, const option *p, const char *value)
{
    char *field = (char *)o + p->field;
    switch (p->kind) {
    case OPTION_TEXT: memcpy(field, &value, sizeof value); return true;
    case OPTION_MAYBE: memcpy(field, &(const char *){value ? value : ""}, sizeof value); return true;
    case OPTION_LINES: return append(field, value);
    case OPTION_FLAG: memcpy(field, &(bool){true}, sizeof(bool)); return true;
    case OPTION_LEVEL: memcpy(field, &(int){p->name[2] - '0'}, sizeof(int)); return true;
    case OPTION_LIST: memcpy(field, &(const char *){p->name + strlen("--list-")}, sizeof value); return true;
    case OPTION_INT: {
        char *end;
        errno = 0;
        long number = strtol(value, &end, 10);
        if (errno || end == value || *end || number < 0 || number > INT_MAX) {
            fprintf(stderr, "tfcc: %s: expected a number, found \"%s\"\n", p->name, value);
            return false;
        }
        memcpy(field, &(int){(int)number}, sizeof(int));
        return true;
    }
    }
    return false;
}

/* One option at argv[i]; --name=value and --name value are both taken. Advances *i past its argument. */
static bool read_one(options *o, char verb, int argc, char **argv, int *i)
{
    char name[64];
    const char *value = strchr(argv[*i], '=');
    size_t length = value ? (size_t)(value - argv[*i]) : strlen(argv[*i]);
    if (strncmp(argv[*i], "--", 2) != 0 || !value) length = strlen(argv[*i]), value = NULL;
    if (length >= sizeof name) return refuse_unknown(verb, argv[*i]);
    memcpy(name, argv[*i], length);
    name[length] = 0;
    const option *p = find(verb, name);
    if (!p) return refuse_unknown(verb, name);
    bool takes = p->kind == OPTION_TEXT || p->kind == OPTION_LINES || p->kind == OPTION_INT;
    if (value && !takes && p->kind != OPTION_MAYBE) {
        fprintf(stderr, "tfcc: %s: expected no argument, found \"%s\"\n", name, value + 1);
        return false;
    }
    if (value) return set(o, p, value + 1);
    if (takes && ++*i >= argc) {
        fprintf(stderr, "tfcc: %s: expected %s, found nothing\n", name, p->argument);
        return false;
    }
    return set(o, p, takes ? argv[*i] : NULL);
}

bool options_read(options *o, char verb, int first, int argc, char **argv)
{
    *o = (options){.level = 2, .verify = 1, .emit = "exe", .cpu = "native", .winograd = "auto"};
    for (int i = first; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1]) {
            if (!read_one(o, verb, argc, argv, &i)) return false;
        } else if (o->model) {
            fprintf(stderr, "tfcc: expected one model, found \"%s\" and \"%s\"\n", o->model, argv[i]);
            return false;
        } else {
            o->model = argv[i];
        }
    }
    return true;
}

void options_print(char verb, FILE *to)
{
    for (size_t i = 0; i < countof(table); i++) {
        if (!strchr(table[i].verbs, verb)) continue;
        char left[64];
        const char *gap = table[i].kind == OPTION_MAYBE ? "" : " ";
        snprintf(left, sizeof left, "%s%s%s", table[i].name, gap, table[i].argument ? table[i].argument : "");
        fprintf(to, "  %-24s %s\n", left, table[i].help);
    }
}
