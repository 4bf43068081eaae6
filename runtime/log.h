/* log.h: the numbers of the log: most keys have one number, some metrics a list of them. */
#ifndef RT_LOG_H
#define RT_LOG_H

#include <stdbool.h>
#include <stdint.h>

typedef struct log_key {
    const char *name;
    uint64_t first, size; /* its numbers among all */
    bool is_list;         /* a list, even of one */
} log_key;

/* What a line has room for: the number, or the mean of the list. */
static inline double log_key_mean(const log_key *k, const double *value)
{
    double sum = 0;
    for (uint64_t i = 0; i < k->size; i++) sum += value[k->first + i];
    return k->size == 1 ? sum : sum / (double)k->size;
}

#endif
