/* linalg.h: what compiled programs call for custom_call. One function per target of ir/calls.def and dtype, for one
 * matrix. arg: addresses of the operands, then of the results, row-major. m, n: rows and columns of the first operand;
 * k: columns of the second. scratch: aligned to 64, as large as calls.def says and 4 * 64 bytes. */
#ifndef TFCC_LINALG_H
#define TFCC_LINALG_H

#include <stdint.h>

enum { TFCC_LOWER = 1, TFCC_TRANSPOSE = 2, TFCC_FULL = 4 }; /* flags */

typedef void tfcc_linalg(void *const *arg, int64_t m, int64_t n, int64_t k, int64_t flags, void *scratch);

#endif
