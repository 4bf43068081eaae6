/* parse.h: what the parser's files share. Every function returns false after it has reported an
 * error; parsing then ends. */
#ifndef TFCC_IR_PARSE_H
#define TFCC_IR_PARSE_H

#include "ir/lex.h"

enum { PARSE_DEPTH_LIMIT = 16 }; /* of bodies, and of records */

typedef struct parser {
    arena *arena;
    diag *diag;
    lexer lex;
    ir_module *module;
    int depth;
} parser;

bool parse_error(parser *p, const char *format, ...) BASE_PRINTF(2, 3); /* at the current token */
bool parse_error_at(parser *p, const lexer *where, const char *format, ...) BASE_PRINTF(3, 4);

bool parse_mark(parser *p, char mark);
bool parse_accept(parser *p, char mark); /* takes the mark if it is there; no error */
bool parse_word(parser *p, const char *word);
bool parse_name(parser *p, const char **out_name); /* a word or a string */
bool parse_string(parser *p, const char **out_text);
bool parse_int(parser *p, int64_t *out_number);
bool parse_int_within(parser *p, int64_t low, int64_t high, int64_t *out_number);
bool parse_double(parser *p, double *out_number);
bool parse_unit(parser *p, uint8_t *out_unit); /* takes N, V0 ... if it is there; no error */
bool parse_type(parser *p, ir_type *out_type);
/* "0x0011aa" to bytes. */
bool parse_hex(parser *p, const void **out_bytes, size_t *out_size);
/* One element, [list] or hex. */
bool parse_data(parser *p, ir_dtype dtype, const void **out_bytes, size_t *out_size);
bool parse_skip_data(parser *p);
bool parse_record(parser *p, const ir_record **out_record);
bool parse_variable(parser *p, int *out_variable); /* @name, or its number */

bool parse_graph(parser *p, ir_graph *g); /* from { to } */

#endif
