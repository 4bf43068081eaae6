/* jobs.h: the same function for many numbers, on several threads. */
#ifndef TFCC_CG_JOBS_H
#define TFCC_CG_JOBS_H

#include "base/base.h"

/* Runs job(context, i) for every i below count, in any order, on up to `threads` threads, and waits for all. */
typedef void cg_job(void *context, size_t i);
void cg_jobs_run(int threads, size_t count, cg_job *job, void *context);

#endif
