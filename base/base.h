/* base.h: what every file of the compiler may use. Links nothing but libc.
 * The compiler's own mistakes end in bug(); the user's go to diag (base/diag.h). */
#ifndef TFCC_BASE_H
#define TFCC_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define countof(array) (sizeof(array) / sizeof((array)[0]))

#if defined(__GNUC__)
#define BASE_PRINTF(text, rest) __attribute__((format(printf, text, rest)))
#define BASE_NORETURN __attribute__((noreturn))
#define BASE_WEAK __attribute__((weak)) /* a function that need not be there: its address is then NULL */
#else
#define BASE_PRINTF(text, rest)
#define BASE_NORETURN
#define BASE_WEAK
#endif

/* Ends the program: a bug in tfcc. Prints the position, the text, and asks for a report; exit status 70. */
#define bug(...) base_bug(__FILE__, __LINE__, __VA_ARGS__)
#define bug_if(condition, ...)                                                                     \
    do {                                                                                           \
        if (condition) bug(__VA_ARGS__);                                                           \
    } while (0)
BASE_NORETURN void base_bug(const char *file, int line, const char *format, ...) BASE_PRINTF(3, 4);

/* Ends the program: the machine failed (out of memory); exit status 2. */
BASE_NORETURN void base_fatal(const char *format, ...) BASE_PRINTF(1, 2);

static inline int64_t base_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t base_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t base_max(int64_t a, int64_t b) { return a > b ? a : b; }

/* Of a clock that only goes forward; the difference of two counts. */
double base_seconds(void);

#endif
