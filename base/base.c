/* base.c: the two ways in which the compiler gives up, and its clock. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void base_bug(const char *file, int line, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "tfcc: bug in tfcc at %s:%d: ", file, line);
    vfprintf(stderr, format, args);
    fprintf(stderr, "\nplease report this, with the model, to the tfcc project\n");
    va_end(args);
    exit(70);
}

void base_fatal(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fprintf(stderr, "tfcc: ");
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(2);
}

double base_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}
