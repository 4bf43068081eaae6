/* text.c: see text.h. */
#include "base/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void reserve(text *t, size_t more)
{
    if (more > SIZE_MAX / 2 - t->length) base_fatal("out of memory (text of %zu bytes)", t->length);
    size_t need = t->length + more + 1;
    if (need <= t->capacity) return;
    size_t capacity = t->capacity ? t->capacity : 256;
    while (capacity < need) capacity *= 2;
    char *p = realloc(t->data, capacity);
    if (!p) base_fatal("out of memory (text of %zu bytes)", capacity);
    t->data = p;
    t->capacity = capacity;
}

void text_put(text *t, const char *bytes, size_t length)
{
    reserve(t, length);
    if (length) memcpy(t->data + t->length, bytes, length);
    t->length += length;
    t->data[t->length] = 0;
}

void text_add_args(text *t, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    reserve(t, (size_t)n);
    vsnprintf(t->data + t->length, (size_t)n + 1, format, args);
    t->length += (size_t)n;
}

void text_add(text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    text_add_args(t, format, args);
    va_end(args);
}

void text_add_quoted(text *t, const char *string)
{
    text_put(t, "\"", 1);
    for (const char *c = string; *c; c++) {
        switch (*c) {
        case '"': text_put(t, "\\\"", 2); break;
        case '\\': text_put(t, "\\\\", 2); break;
        case '\n': text_put(t, "\\n", 2); break;
        default:
            if ((unsigned char)*c < 0x20)
                text_add(t, "\\u%04x", (unsigned char)*c);
            else
                text_put(t, c, 1);
        }
    }
    text_put(t, "\"", 1);
}

void text_clear(text *t)
{
    t->length = 0;
    if (t->data) t->data[0] = 0;
}

const char *text_get(const text *t) { return t->data ? t->data : ""; }

void text_done(text *t)
{
    free(t->data);
    *t = (text){0};
}

bool text_may_replace(const char *path)
{
    struct stat s;
    return stat(path, &s) != 0 || S_ISREG(s.st_mode);
}

/* False with errno set. */
static bool write_all(const text *t, const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f) return false;
    bool ok = fwrite(text_get(t), 1, t->length, f) == t->length;
    int error = errno;
    if (fclose(f) != 0 && ok) {
        error = errno;
        ok = false;
    }
    errno = error;
    return ok;
}

bool text_write_file(const text *t, const char *path)
{
    if (!text_may_replace(path)) return write_all(t, path);
    text name = {0};
    text_add(&name, "%s.%ld.tmp", path, (long)getpid());
    bool ok = write_all(t, name.data) && rename(name.data, path) == 0;
    int error = errno;
    if (!ok) remove(name.data);
    text_done(&name);
    errno = error;
    return ok;
}

bool text_read_file(text *t, const char *path, size_t limit)
{
    text_clear(t);
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    char buffer[1 << 14];
    size_t n;
    int error = 0;
    while ((n = fread(buffer, 1, sizeof buffer, f)) > 0) {
        if (n > limit - t->length) {
            error = EFBIG;
            break;
        }
        text_put(t, buffer, n);
    }
    if (!error && ferror(f)) error = errno ? errno : EIO;
    fclose(f);
    errno = error;
    return !error;
}

bool text_file_starts(const char *path, const char *bytes, size_t size)
{
    char first[16];
    FILE *f = size <= sizeof first ? fopen(path, "rb") : NULL;
    if (!f) return false;
    const bool starts = fread(first, 1, size, f) == size && memcmp(first, bytes, size) == 0;
    fclose(f);
    return starts;
}
