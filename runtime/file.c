/* file.c: see file.h. */
#define _XOPEN_SOURCE 700 /* realpath */
#include "file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Opens the temporary file next to the target. */
static bool open_temporary(output *o)
{
    char *real = realpath(o->path, NULL);
    o->target = rt_printf(o->r, "%s", real ? real : o->path);
    free(real);
    o->temporary = o->target ? rt_printf(o->r, "%s.%ld.tmp", o->target, (long)getpid()) : NULL;
    if (!o->temporary) return false;
    o->stream = fopen(o->temporary, "wb");
    if (o->stream) return true;
    int error = errno;
    o->temporary = NULL;
    return rt_failed(o->r, "%s: cannot write: %s", o->path, strerror(error));
}

bool output_open(output *o, rt *r, const char *path)
{
    *o = (output){.r = r, .path = path, .ok = true};
    struct stat s;
    if (stat(path, &s) == 0 && S_ISDIR(s.st_mode)) {
        return rt_wrong(r, "%s: cannot write: it is a directory", path);
    }
    if (stat(path, &s) != 0 || S_ISREG(s.st_mode)) return open_temporary(o);
    o->stream = fopen(path, "wb");
    return o->stream || rt_failed(r, "%s: cannot write: %s", path, strerror(errno));
}

void output_write(output *o, const void *bytes, uint64_t size)
{
    if (!o->ok || size == 0) return;
    errno = 0;
    if (fwrite(bytes, 1, (size_t)size, o->stream) != size) {
        o->ok = rt_failed(o->r, "%s: cannot write: %s", o->path, strerror(errno));
    }
    o->written += size;
}

void output_printf(output *o, const char *format, ...)
{
    if (!o->ok) return;
    va_list args;
    va_start(args, format);
    errno = 0;
    int n = vfprintf(o->stream, format, args);
    va_end(args);
    if (n < 0)
        o->ok = rt_failed(o->r, "%s: cannot write: %s", o->path, strerror(errno));
    else
        o->written += (uint64_t)n;
}

bool output_close(output *o)
{
    if (!o->stream) return false;
    errno = 0;
    bool flushed = fflush(o->stream) == 0 && (!o->temporary || fsync(fileno(o->stream)) == 0);
    int error = errno;
    bool closed = fclose(o->stream) == 0;
    o->stream = NULL;
    if (o->ok && !(flushed && closed)) {
        o->ok = rt_failed(o->r, "%s: cannot write: %s", o->path, strerror(flushed ? errno : error));
    }
    if (o->ok && o->temporary && rename(o->temporary, o->target) != 0) {
        o->ok = rt_failed(o->r, "%s: cannot write: %s", o->path, strerror(errno));
    }
    if (!o->ok && o->temporary) remove(o->temporary);
    return o->ok;
}

void output_abandon(output *o)
{
    if (!o->stream) return;
    fclose(o->stream);
    o->stream = NULL;
    if (o->temporary) remove(o->temporary);
}

bool input_open(input *in, rt *r, const char *path)
{
    *in = (input){.r = r, .name = path, .file = open(path, O_RDONLY | O_CLOEXEC)};
    if (in->file < 0) return rt_wrong(r, "%s: cannot read: %s", path, strerror(errno));
    struct stat s;
    if (fstat(in->file, &s) == 0 && S_ISREG(s.st_mode)) {
        in->size = (uint64_t)s.st_size;
        return true;
    }
    input_close(in);
    return rt_wrong(r, "%s: cannot read: expected a regular file", path);
}

input input_of_memory(rt *r, const char *name, const void *bytes, uint64_t size)
{
    return (input){.r = r, .name = name, .file = -1, .memory = bytes, .size = size};
}

bool input_read(const input *in, uint64_t offset, void *out_bytes, uint64_t size)
{
    if (offset > in->size || size > in->size - offset) {
        return rt_wrong(in->r, "%s: the file is cut short", in->name);
    }
    if (in->memory) {
        if (size > 0) memcpy(out_bytes, in->memory + offset, (size_t)size);
        return true;
    }
    char *to = out_bytes;
    while (size > 0) {
        size_t most = size < (1u << 30) ? (size_t)size : 1u << 30;
        ssize_t got = pread(in->file, to, most, (off_t)offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return rt_failed(in->r, "%s: cannot read: %s", in->name, strerror(errno));
        if (got == 0) return rt_wrong(in->r, "%s: the file is cut short", in->name);
        to += got;
        offset += (uint64_t)got;
        size -= (uint64_t)got;
    }
    return true;
}

void input_close(input *in)
{
    if (in->file >= 0) close(in->file);
    in->file = -1;
}
