/* lex.h: the tokens of the text form. A lexer is a plain value: a copy of it can be read from
 * again. */
#ifndef TFCC_IR_LEX_H
#define TFCC_IR_LEX_H

#include "ir/ir.h"

typedef enum lex_kind {
    LEX_end,
    LEX_word,   /* letters, digits and _, not starting with a digit */
    LEX_number, /* starts with a digit, - or +; ir_element_read says whether it is one */
    LEX_string, /* with its quotes; lex_unquote takes them off */
    LEX_value,  /* %name */
    LEX_at,     /* @name */
    LEX_mark,   /* one of { } [ ] ( ) = , : * */
    LEX_bad
} lex_kind;

typedef struct lex_token {
    lex_kind kind;
    const char *start; /* for %name and @name: of the name */
    size_t length;
} lex_token;

typedef struct lexer {
    const char *source, *at, *end;
    lex_token token; /* the current one */
} lexer;

void lex_begin(lexer *l, const char *source,
               size_t length); /* the first token is then the current one */
void lex_next(lexer *l);
bool lex_is_mark(const lexer *l, char mark);
bool lex_is_word(const lexer *l, const char *word);
char *lex_copy(arena *a, const lex_token *t);                      /* the token's text */
char *lex_unquote(arena *a, const lex_token *t);                   /* NULL: a bad escape */
void lex_position(const lexer *l, int *out_line, int *out_column); /* of the current token */

#endif
