/* pool.h: a fixed set of threads that share out numbered tasks. Tasks are claimed one by one and completion
 * counts tasks, not threads: a worker that the system does not let run is not waited for, so a busy machine
 * slows the program down no further than to the threads that do run. */
#ifndef RT_POOL_H
#define RT_POOL_H

#include "rt.h"
#include "tfcc.h"

typedef struct pool pool;
typedef void (*pool_task)(const void *context, int64_t task, void *scratch);

int pool_default_threads(void); /* processors this process may use */
/* The caller is one of the `threads`. Each has scratch_bytes of scratch memory, aligned to 64. */
pool *pool_open(rt *r, int threads, uint64_t scratch_bytes);
/* The same on the caller's threads. */
pool *pool_open_executor(rt *r, const tfcc_executor *executor, uint64_t scratch_bytes);
void pool_close(pool *p); /* NULL is allowed */
int pool_threads(const pool *p);

/* pool_open leaves the calling thread in a mode without denormal numbers, as workers are; a library gives its caller's mode
 * back by these around every call. */
uint64_t pool_mode_enter(void);
void pool_mode_leave(uint64_t mode);

/* Runs tasks 0 .. count-1, in any order, and returns when all are done. By one thread at a time. */
void pool_run(pool *p, pool_task run, const void *context, int64_t count);
/* The same on the calling thread alone, in order: for work too small to share. */
void pool_run_here(pool *p, pool_task run, const void *context, int64_t count);

#endif
