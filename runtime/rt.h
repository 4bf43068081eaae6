/* rt.h: what every file of the runtime needs: the run's context, messages, memory, element types.
 *
 * Errors: whoever finds one says so through rt_wrong (the user's: data, options) or rt_failed (the machine's:
 * disk, memory) and returns false; callers pass the false on. Only the first message is printed, one line. */
#ifndef RT_H
#define RT_H

#include "tfcc_rt.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define RT_PRINTF(at, from) __attribute__((format(printf, at, from)))
#else
#define RT_PRINTF(at, from)
#endif

#define RT_COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { RT_EXIT_WRONG = 1, RT_EXIT_FAILED = 2 };

typedef struct rt_block rt_block;
typedef struct tfcc_allocator tfcc_allocator;

typedef struct rt {
    const char *name; /* of this program, in front of messages */
    const tfcc_program *program;
    int status;       /* exit status of the first error; 0: none */
    rt_block *blocks; /* all memory of rt_alloc */
    double started;   /* rt_seconds() when the process began */
    char *said;       /* in a library: where messages go (the first `said_room` bytes) instead of standard error; else NULL */
    size_t said_room;
    const tfcc_allocator *allocator; /* NULL: the system's */
} rt;

void rt_init(rt *r, const char *name, const tfcc_program *program);
void rt_done(rt *r); /* frees everything */

/* Both return false. */
bool rt_wrong(rt *r, const char *format, ...) RT_PRINTF(2, 3);
bool rt_failed(rt *r, const char *format, ...) RT_PRINTF(2, 3);
/* A line on standard error that changes nothing. */
void rt_note(const rt *r, const char *format, ...) RT_PRINTF(2, 3);

/* Zeroed memory aligned to 64 (large blocks straight from the system, untouched) that lives until rt_done.
 * NULL after rt_failed, which calls it `what`. A size of 0 gives a valid address. */
void *rt_alloc(rt *r, uint64_t size, const char *what);
void *rt_alloc_many(rt *r, uint64_t count, uint64_t size, const char *what);
char *rt_printf(rt *r, const char *format, ...) RT_PRINTF(2, 3);
/* Gives a block of rt_alloc back before rt_done; NULL is allowed. */
void rt_free(rt *r, void *block);

/* a * b, or UINT64_MAX when that overflows. */
uint64_t rt_multiply(uint64_t a, uint64_t b);
double rt_seconds(void); /* monotonic */

/* Element types. */
size_t rt_dtype_size(uint32_t dtype);
const char *rt_dtype_name(uint32_t dtype); /* NumPy's: "float32" */
bool rt_dtype_is_float(uint32_t dtype);

/* Shapes of the program. Rows of the batch count as n. */
uint64_t rt_shape_elements(const tfcc_shape *shape, int64_t n);
uint64_t rt_shape_bytes(const tfcc_shape *shape, int64_t n);
/* Elements of one row: all dims but the first. */
uint64_t rt_shape_row_elements(const tfcc_shape *shape);
const char *rt_shape_show(rt *r, uint32_t rank, const int64_t *dim, uint32_t batch); /* "[N,3]" */

/* Keras-like spelling help: the candidate nearest to `word`, or NULL when none is near. */
const char *rt_nearest(const char *word, const char *const *candidate, size_t count);

const tfcc_graph *rt_find_graph(const rt *r, const char *name); /* NULL when absent */

#endif
