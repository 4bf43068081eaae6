/* pattern.h: Python's re.fullmatch for the patterns that name layers in a DTypePolicyMap. */
#ifndef TFCC_PATTERN_H
#define TFCC_PATTERN_H

#include "base/arena.h"

typedef enum fe_match { MATCH_no, MATCH_yes, MATCH_refused } fe_match;

/* MATCH_refused with a text: the pattern is malformed, or of a kind that is not read here (look-around, back references,
 * lazy and counted repeats). Takes bounded time whatever the pattern. */
fe_match fe_pattern_match(const char *pattern, const char *text, const char **out_problem);

#endif
