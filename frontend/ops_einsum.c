/* ops_einsum.c: keras.ops.einsum of any number of operands, taken two at a time from the left. */
#include "frontend/layers.h"
#include "frontend/ops.h"

#include <ctype.h>
#include <string.h>

enum { MOST_OPERANDS = 8 };

typedef struct einsum {
    op_use *u;
    const char *equation;
    int count;
    char part[MOST_OPERANDS + 1][IR_MAX_RANK + 2]; /* letters; the result's behind the operands' */
    ir_value value[MOST_OPERANDS];
    ir_dim size[256];            /* of each letter; count 0: not seen */
    int elided;                  /* most dims that an ellipsis stands for */
    char extra[IR_MAX_RANK + 1]; /* their letters */
} einsum;

static bool fail(einsum *e, const char *why)
{
    return op_error(e->u, "expected an equation that fits the operands, found \"%s\": %s", e->equation, why);
}

/* Letters for the dims of ellipses: none that the equation has. */
static void choose_letters(einsum *e)
{
    int n = 0;
    for (int c = 'A'; c <= 'z' && n < e->elided; c++) {
        bool free_letter = isalpha(c) != 0;
        for (int i = 0; i <= e->count; i++) free_letter = free_letter && strchr(e->part[i], c) == NULL;
        if (free_letter) e->extra[n++] = (char)c;
    }
    e->extra[n] = '\0';
}

/* Writes the ellipsis of `letters` out as the last `count` of the extra letters. */
static bool expand(einsum *e, char *letters, int count)
{
    char *dots = strchr(letters, '.'), rest[IR_MAX_RANK + 2];
    const size_t given = strlen(letters) - (dots != NULL);
    if (!dots) return given <= IR_MAX_RANK;
    if (given + (size_t)count > IR_MAX_RANK) return false;
    strcpy(rest, dots + 1);
    strcpy(dots, e->extra + strlen(e->extra) - count);
    strcat(letters, rest);
    return true;
}

static bool expand_operands(einsum *e)
{
    int elided[MOST_OPERANDS];
    for (int i = 0; i < e->count; i++) {
        const bool dots = strchr(e->part[i], '.') != NULL;
        elided[i] = op_type(e->u, e->value[i]).rank - ((int)strlen(e->part[i]) - dots);
        if (elided[i] < 0 || (!dots && elided[i] > 0)) return fail(e, "an operand has another rank");
        if (elided[i] > e->elided) e->elided = elided[i];
    }
    choose_letters(e);
    for (int i = 0; i < e->count; i++) {
        if (!expand(e, e->part[i], elided[i])) return fail(e, "too many dimensions");
    }
    return expand(e, e->part[e->count], e->elided) || fail(e, "too many dimensions");
}

/* Without an arrow: the dims of the ellipsis, then the letters that stand once, in the alphabet's order. */
static void imply_result(einsum *e)
{
    size_t n = 0;
    char *result = e->part[e->count];
    for (int i = 0; i < e->count && n == 0; i++) {
        if (strchr(e->part[i], '.')) result[n++] = '.';
    }
    for (int c = 'A'; c <= 'z' && n <= IR_MAX_RANK; c++) {
        int times = 0;
        for (int i = 0; i < e->count && isalpha(c); i++) {
            for (const char *at = e->part[i]; *at; at++) times += *at == c;
        }
        if (times == 1) result[n++] = (char)c;
    }
    result[n] = '\0';
}

static bool has_twice(const char *letters)
{
    for (; *letters; letters++) {
        if (strchr(letters + 1, *letters)) return true;
    }
    return false;
}

/* The diagonal of x over two equal dims, in the place of the first. */
static ir_value take_diagonal(op_use *u, ir_value x, int64_t first, int64_t second)
{
    const ir_type t = op_type(u, x);
    const ir_value same =
        op_compare(u, "EQ", op_iota(u, DTYPE_i32, &t, first), op_iota(u, DTYPE_i32, &t, second));
    return op_reduce(u, "add", op_choose(u, same, x, op_number(u, x, 0)), second, false);
}

/* A letter that stands twice in an operand means its diagonal. */
static bool take_diagonals(einsum *e, int operand)
{
    char *letters = e->part[operand];
    for (int d = 0; letters[d]; d++) {
        const char *again;
        while ((again = strchr(letters + d + 1, letters[d])) != NULL) {
            const int64_t other = again - letters;
            const ir_type t = op_type(e->u, e->value[operand]);
            if (t.dim[d].batch || !ir_dim_equal(t.dim[d], t.dim[other]))
                return fail(e, "a letter that stands twice in an operand needs two dimensions of one fixed size");
            e->value[operand] = take_diagonal(e->u, e->value[operand], d, other);
            memmove(letters + other, again + 1, strlen(again));
        }
    }
    return true;
}

/* Sizes of the letters; dims of size 1 that stretch are dropped from their operand. */
static bool measure(einsum *e)
{
    for (int i = 0; i < e->count; i++) {
        if (!take_diagonals(e, i)) return false;
        const ir_type t = op_type(e->u, e->value[i]);
        for (int d = 0; d < t.rank; d++) {
            ir_dim *size = &e->size[(unsigned char)e->part[i][d]];
            if (size->count == 0 || ir_dim_equal(*size, ir_fixed(1))) *size = t.dim[d];
        }
    }
    for (int i = 0; i < e->count; i++) {
        for (int d = (int)strlen(e->part[i]) - 1; d >= 0; d--) {
            const ir_dim dim = op_type(e->u, e->value[i]).dim[d],
                         want = e->size[(unsigned char)e->part[i][d]];
            if (ir_dim_equal(dim, want)) continue;
            if (!ir_dim_equal(dim, ir_fixed(1))) return fail(e, "a letter has two sizes");
            e->value[i] = op_drop_dim(e->u, e->value[i], d);
            memmove(e->part[i] + d, e->part[i] + d + 1, strlen(e->part[i] + d));
        }
    }
    return true;
}

static bool check_result(einsum *e)
{
    const char *result = e->part[e->count];
    if (has_twice(result)) return fail(e, "a letter stands twice in the result");
    for (const char *c = result; *c; c++) {
        if (e->size[(unsigned char)*c].count == 0) return fail(e, "a letter of the result is in no operand");
    }
    return true;
}

/* The letters of operands `first` and the next that later operands or the result need. */
static bool choose_kept(einsum *e, const char *a, int next, char *kept)
{
    ir_type t = {.dtype = DTYPE_f32};
    char needed[(MOST_OPERANDS + 1) * (IR_MAX_RANK + 2)] = "", both[2 * (IR_MAX_RANK + 2)];
    if (next + 1 >= e->count) {
        strcpy(kept, e->part[e->count]);
        return true;
    }
    for (int i = next + 1; i <= e->count; i++) strcat(needed, e->part[i]);
    strcat(strcpy(both, a), e->part[next]);
    size_t n = 0;
    for (const char *c = both; *c; c++) {
        if (!strchr(needed, *c) || memchr(kept, *c, n)) continue;
        if (n == IR_MAX_RANK) return fail(e, "too many dimensions");
        t.dim[t.rank++] = e->size[(unsigned char)*c];
        kept[n++] = *c;
    }
    kept[n] = '\0';
    return op_check_type(e->u, &t);
}

/* Where both operands lack letters of the result (a dropped size 1), it gets them back by a broadcast. */
static ir_value shape_result(einsum *e, ir_value y, const char *letters)
{
    const char *result = e->part[e->count];
    ir_type t = {.dtype = op_type(e->u, y).dtype, .rank = (int)strlen(result)};
    int64_t order[IR_MAX_RANK], at[IR_MAX_RANK];
    int n = 0;
    for (int d = 0; d < t.rank; d++) {
        const char *found = strchr(letters, result[d]);
        t.dim[d] = e->size[(unsigned char)result[d]];
        if (found) {
            order[n] = found - letters;
            at[n++] = d;
        }
    }
    y = ir_build_transpose(e->u->l->g, y, order);
    return n == t.rank ? y : ir_build_broadcast_in_dim(e->u->l->g, y, &t, at);
}

static ir_value sum_others(einsum *e, ir_value x, char *letters, const char *kept)
{
    int64_t dims[IR_MAX_RANK];
    int count = 0, n = 0;
    for (int d = 0; letters[d]; d++) {
        if (strchr(kept, letters[d]))
            letters[n++] = letters[d];
        else
            dims[count++] = d;
    }
    letters[n] = '\0';
    return count ? ir_build_reduce(e->u->l->g, "add", x, count, dims, false) : x;
}

static bool contract(einsum *e, ir_value *out)
{
    char letters[IR_MAX_RANK + 2], kept[IR_MAX_RANK + 2];
    ir_value y = e->value[0];
    strcpy(letters, e->part[0]);
    for (int next = 1; next < e->count; next++) {
        const ir_value operand[2] = {y, e->value[next]};
        if (!choose_kept(e, letters, next, kept)) return false;
        char present[IR_MAX_RANK + 2];
        size_t n = 0;
        for (const char *c = kept; *c; c++) {
            if (strchr(letters, *c) || strchr(e->part[next], *c)) present[n++] = *c;
        }
        present[n] = '\0';
        y = fe_einsum_build(e->u->l, letters, e->part[next], present, operand);
        strcpy(letters, present);
    }
    y = sum_others(e, y, letters, e->part[e->count]);
    *out = shape_result(e, y, letters);
    return true;
}

static bool read_operands(einsum *e)
{
    op_use *u = e->u;
    int operands;
    bool arrow;
    ir_dtype dtype = DTYPE_i1;
    if (u->args->arg.count < 1 || u->args->arg.count > MOST_OPERANDS)
        return op_error(u, "expected 1 .. %d operands, found %d", MOST_OPERANDS, u->args->arg.count);
    e->count = u->args->arg.count;
    for (int i = 0; i < e->count; i++) {
        if (!op_value_tensor(u, &u->args->arg.item[i], "operands", &e->value[i])) return false;
        const ir_dtype own = op_type(u, e->value[i]).dtype;
        dtype = i == 0 ? own : fe_result_type(dtype, own);
    }
    for (int i = 0; i < e->count; i++) e->value[i] = ir_build_convert(u->l->g, e->value[i], dtype);
    if (!op_find_text(u, "subscripts", &e->equation)) return false;
    if (!fe_einsum_split(e->equation, MOST_OPERANDS, e->part, &operands, &arrow) || operands != e->count)
        return fail(e, "its form is not known");
    if (!arrow) imply_result(e);
    return true;
}

/* Integers are multiplied as floating numbers, as Keras does. */
bool op_build_einsum(op_use *u, fe_value *out)
{
    einsum e = {.u = u};
    ir_value y = IR_NONE;
    if (!read_operands(&e)) return false;
    const ir_dtype dtype = op_type(u, e.value[0]).dtype;
    for (int i = 0; i < e.count; i++) e.value[i] = ir_build_convert(u->l->g, e.value[i], op_real(dtype));
    if (!expand_operands(&e) || !measure(&e) || !check_result(&e)) return false;
    ir_type t = {.dtype = dtype, .rank = (int)strlen(e.part[e.count])};
    for (int d = 0; d < t.rank; d++) t.dim[d] = e.size[(unsigned char)e.part[e.count][d]];
    if (!op_check_type(u, &t) || !contract(&e, &y)) return false;
    return op_finish(u, ir_build_convert(u->l->g, y, dtype), out);
}
