/* interp_attention.c: attention and its gradient in the interpreter, row by row and in double precision. */
#include "ir/interp.h"

#include <math.h>

typedef struct attention {
    const interp *c;
    ir_attention of;
    ir_type query, key, value, result, scores; /* as ordered, with N put in */
    int rank;
    int64_t rows, keys, width, value_width;
    int64_t *at; /* the batch dims, then row and column */
    double *score, *weight;
} attention;

static attention begin(const interp *c)
{
    attention a = {.c = c, .of = ir_attention_of(c->graph, c->node)};
    a.query = interp_resolve(c->arena, &a.of.query, c->n);
    a.key = interp_resolve(c->arena, &a.of.key, c->n);
    a.value = interp_resolve(c->arena, &a.of.value, c->n);
    a.rank = a.query.rank;
    a.rows = a.query.dim[a.rank - 2].count;
    a.keys = a.key.dim[a.rank - 2].count;
    a.width = a.query.dim[a.rank - 1].count;
    a.value_width = a.value.dim[a.rank - 1].count;
    a.scores = a.result = a.query;
    a.scores.dim[a.rank - 1].count = a.keys;
    a.result.dim[a.rank - 1].count = a.value_width;
    a.at = arena_array(c->arena, int64_t, IR_MAX_RANK);
    a.score = arena_array(c->arena, double, (size_t)a.keys + 1);
    a.weight = arena_array(c->arena, double, (size_t)a.keys + 1);
    return a;
}

/* Where element [batch, row, column] of an operand lies; dims NULL: as ordered. */
static int64_t place(const attention *a, const ir_type *given, const int64_t *dims, int64_t row, int64_t column)
{
    int64_t index[IR_MAX_RANK];
    for (int d = 0; d < given->rank; d++) {
        const int64_t at = d == a->rank - 2 ? row : d == a->rank - 1 ? column : a->at[d];
        index[dims ? dims[d] : d] = at;
    }
    return interp_offset(given, index);
}

static double load(const attention *a, int in, const int64_t *dims, int64_t row, int64_t column)
{
    const ir_array *x = &a->c->in[in];
    return interp_load(x, place(a, &x->type, dims, row, column)).f;
}

static bool shows(const attention *a, int64_t row, int64_t key)
{
    const ir_array *mask = &a->c->in[ATTENTION_MASK];
    return interp_load(mask, place(a, &mask->type, NULL, row, key)).u != 0;
}

/* score[] of a row, and their maximum. */
static double find_scores(attention *a, int64_t row)
{
    double top = -INFINITY;
    for (int64_t k = 0; k < a->keys; k++) {
        double sum = 0;
        for (int64_t d = 0; d < a->width; d++)
            sum += load(a, ATTENTION_QUERY, a->of.query_dims, row, d) * load(a, ATTENTION_KEY, a->of.key_dims, k, d);
        sum = sum * a->of.scale + load(a, ATTENTION_BIAS, NULL, row, k);
        a->score[k] = shows(a, row, k) ? sum : a->of.fill;
        if (a->score[k] > top || isnan(a->score[k])) top = a->score[k];
    }
    return top;
}

static bool next_row(const attention *a)
{
    ir_type lead = a->query;
    lead.rank--;
    return interp_next(&lead, a->at);
}

void interp_nest_attention(const interp *c)
{
    attention a = begin(c);
    ir_array *out = c->out->data;
    ir_type rows = a.query;
    rows.rank--;
    if (!interp_has_elements(&rows)) return;
    do {
        const int64_t row = a.at[a.rank - 2], number = interp_offset(&rows, a.at);
        const double top = find_scores(&a, row);
        double total = 0;
        for (int64_t k = 0; k < a.keys; k++) total += a.weight[k] = exp(a.score[k] - top);
        for (int64_t d = 0; d < a.value_width; d++) {
            double sum = 0;
            for (int64_t k = 0; k < a.keys; k++)
                sum += a.weight[k] * load(&a, ATTENTION_KEEP, NULL, row, k) * load(&a, ATTENTION_VALUE, a.of.value_dims, k, d);
            interp_store(&out[0], place(&a, &a.result, NULL, row, d), interp_float(sum / total));
        }
        interp_store(&out[1], number, interp_float(top));
        interp_store(&out[2], number, interp_float(total));
    } while (next_row(&a));
}

static void add_to(ir_array *x, int64_t at, double more)
{
    interp_store(x, at, interp_float(interp_load(x, at).f + more));
}

/* The share of one row in all gradients. */
static void add_row(attention *a, int64_t row, double total)
{
    ir_array *out = a->c->out->data;
    const double top = find_scores(a, row);
    double dot = 0;
    for (int64_t d = 0; d < a->value_width; d++)
        dot += load(a, ATTENTION_GRADIENT, a->of.result_dims, row, d) * load(a, ATTENTION_RESULT, NULL, row, d);
    for (int64_t k = 0; k < a->keys; k++) {
        const double keep = load(a, ATTENTION_KEEP, NULL, row, k), p = exp(a->score[k] - top) / total;
        double dp = 0;
        for (int64_t d = 0; d < a->value_width; d++) {
            const double dy = load(a, ATTENTION_GRADIENT, a->of.result_dims, row, d);
            dp += dy * load(a, ATTENTION_VALUE, a->of.value_dims, k, d);
            add_to(&out[2], place(a, &out[2].type, a->of.value_dims, k, d), p * keep * dy);
        }
        const double ds = shows(a, row, k) ? p * (dp * keep - dot) * a->of.scale : 0;
        for (int64_t d = 0; d < a->width; d++) {
            const double q = load(a, ATTENTION_QUERY, a->of.query_dims, row, d);
            const double of_key = load(a, ATTENTION_KEY, a->of.key_dims, k, d);
            add_to(&out[0], place(a, &out[0].type, a->of.query_dims, row, d), ds * of_key);
            add_to(&out[1], place(a, &out[1].type, a->of.key_dims, k, d), ds * q);
        }
    }
}

void interp_nest_attention_back(const interp *c)
{
    attention a = begin(c);
    ir_type rows = a.query;
    rows.rank--;
    if (!interp_has_elements(&rows)) return;
    do {
        add_row(&a, a.at[a.rank - 2], interp_load(&c->in[ATTENTION_TOTAL], interp_offset(&rows, a.at)).f);
    } while (next_row(&a));
}
