/* tir_run.c: the runner of text tests, `tir_run [--bless] FILE.tir`.
 *
 * A file holds IR text, comments that say what to do with it, and the result that is wanted:
 *   # pass: simplify,sweep     passes to run, in this order (none: only parse and print)
 *   # memory: BYTES@ROWS       the limit of pass remat
 *   # columns: W               of the target's products
 *   # error: text              a diagnostic must contain this; then there is no `# expect`
 *   # expect                   the rest of the file is the module's print after the passes
 * --bless rewrites the part after `# expect`. Every file also checks that its print parses back. */
#include "ir/ir.h"
#include "passes/passes.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 1 << 24 };

typedef struct run {
    arena *arena;
    const char *path;
    text file;
    const char *expect;   /* the wanted print, or NULL */
    size_t source_length; /* of what comes before `# expect` */
    const char *passes;   /* or NULL */
    passes_memory memory;
    int columns;
    const char **error;
    size_t error_count, error_capacity;
} run;

static int complain(const run *r, const char *what)
{
    printf("%s: %s\n", r->path, what);
    return 1;
}

/* The rest of the line after `key`, without surrounding blanks; NULL when the line is another. */
static const char *read_comment(run *r, const char *line, size_t length, const char *key)
{
    size_t k = strlen(key);
    if (length < k || memcmp(line, key, k) != 0) return NULL;
    while (k < length && line[k] == ' ') k++;
    while (length > k && (line[length - 1] == ' ' || line[length - 1] == '\r')) length--;
    return arena_strndup(r->arena, line + k, length - k);
}

static void read_comments(run *r)
{
    const char *p = text_get(&r->file);
    r->source_length = r->file.length;
    while (*p) {
        size_t length = strcspn(p, "\n");
        const char *next = p + length + (p[length] == '\n'), *value;
        if (length == 8 && memcmp(p, "# expect", 8) == 0) {
            r->source_length = (size_t)(p - text_get(&r->file));
            r->expect = next;
            return;
        }
        if ((value = read_comment(r, p, length, "# pass:"))) r->passes = value;
        if ((value = read_comment(r, p, length, "# memory:"))) {
            char *rows;
            r->memory.limit = strtoll(value, &rows, 10);
            r->memory.rows = *rows == '@' ? strtoll(rows + 1, NULL, 10) : 1;
        }
        if ((value = read_comment(r, p, length, "# columns:"))) r->columns = atoi(value);
        if ((value = read_comment(r, p, length, "# error:"))) {
            arena_push(r->arena, r->error, r->error_count, r->error_capacity, value);
        }
        p = next;
    }
}

static bool has_message(const diag *d, const char *part)
{
    for (size_t i = 0; i < d->count; i++) {
        if (strstr(d->message[i], part)) return true;
    }
    return false;
}

static int check_errors(const run *r, const diag *d)
{
    int failed = 0;
    for (size_t i = 0; i < r->error_count; i++) {
        if (has_message(d, r->error[i])) continue;
        printf("%s: expected the error: %s\n", r->path, r->error[i]);
        failed = 1;
    }
    if (failed || r->error_count == 0) diag_print(d, stdout);
    return failed;
}

/* parse(print(m)) must print as m does. */
static int check_round_trip(const run *r, const text *print)
{
    diag d = {.arena = r->arena, .file = r->path};
    ir_module *again = ir_module_parse(r->arena, text_get(print), print->length, &d);
    if (!again) {
        diag_print(&d, stdout);
        return complain(r, "the print does not parse");
    }
    text second = {0};
    ir_module_print(again, &second);
    bool same = strcmp(text_get(print), text_get(&second)) == 0;
    if (!same) printf("%s", text_get(&second));
    text_done(&second);
    return same ? 0 : complain(r, "the print parses back to another module (above)");
}

static int bless(run *r, const text *print)
{
    text file = {0};
    text_put(&file, text_get(&r->file), r->source_length);
    text_add(&file, "# expect\n%s", text_get(print));
    bool ok = text_write_file(&file, r->path);
    text_done(&file);
    return ok ? 0 : complain(r, "cannot be written");
}

static int run_module(run *r, ir_module *m, diag *d, bool to_bless)
{
    const passes_options options = {.verify = 1, .only = r->passes, .columns = r->columns, .memory = r->memory.limit ? &r->memory : NULL};
    if (r->passes && !passes_run(m, &options, d)) {
        return r->error_count ? check_errors(r, d)
                              : (diag_print(d, stdout), complain(r, "a pass failed"));
    }
    if (r->error_count) return complain(r, "expected errors, found none");
    text print = {0};
    ir_module_print(m, &print);
    int failed = check_round_trip(r, &print);
    if (!failed && to_bless) {
        failed = bless(r, &print);
    } else if (!r->expect) {
        failed |= complain(r, "expected a line `# expect` or `# error: text`");
    } else if (strcmp(r->expect, text_get(&print)) != 0) {
        printf("%s", text_get(&print));
        failed = complain(r, "the print differs from what is expected (above: what was found)");
    }
    text_done(&print);
    return failed;
}

int main(int argc, char **argv)
{
    bool to_bless = argc > 1 && strcmp(argv[1], "--bless") == 0;
    if (argc != 2 + to_bless) {
        fprintf(stderr, "usage: tir_run [--bless] FILE.tir\n");
        return 2;
    }
    arena a = {0};
    run r = {.arena = &a, .path = argv[1 + to_bless]};
    if (!text_read_file(&r.file, r.path, FILE_LIMIT)) return complain(&r, "cannot be read");
    read_comments(&r);
    diag d = {.arena = &a, .file = r.path};
    ir_module *m = ir_module_parse(&a, text_get(&r.file), r.source_length, &d);
    int failed;
    if (m)
        failed = run_module(&r, m, &d, to_bless);
    else if (r.error_count)
        failed = check_errors(&r, &d);
    else
        diag_print(&d, stdout), failed = complain(&r, "expected no errors");
    text_done(&r.file);
    arena_done(&a);
    return failed;
}
