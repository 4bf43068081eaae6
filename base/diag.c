/* diag.c: see diag.h. */
#include "base/diag.h"
#include "base/text.h"

#include <stdarg.h>

static void add(diag *d, const char *place, const char *format, va_list args)
{
    text t = {0};
    if (d->file) text_add(&t, "%s: ", d->file);
    if (place && *place) text_add(&t, "%s: ", place);
    text_add_args(&t, format, args);
    const char *message = arena_strdup(d->arena, text_get(&t));
    text_done(&t);
    arena_push(d->arena, d->message, d->count, d->capacity, message);
}

static void count(diag *d, const char *place, const char *format, va_list args)
{
    if (d->errors++ < DIAG_LIMIT) add(d, place, format, args);
}

bool diag_error(diag *d, const char *place, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    count(d, place, format, args);
    va_end(args);
    return false;
}

bool diag_failed(diag *d, const char *place, const char *format, ...)
{
    d->machine_failed = true;
    va_list args;
    va_start(args, format);
    count(d, place, format, args);
    va_end(args);
    return false;
}

bool diag_has_errors(const diag *d) { return d->errors > 0; }

void diag_print(const diag *d, FILE *to)
{
    for (size_t i = 0; i < d->count; i++) fprintf(to, "%s\n", d->message[i]);
    if (d->errors > DIAG_LIMIT) {
        fprintf(to, "%s%s%zu more errors\n", d->file ? d->file : "", d->file ? ": " : "",
                d->errors - DIAG_LIMIT);
    }
}
