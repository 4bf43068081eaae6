/* interp_attention.c: attention and its gradient in the interpreter, point by point of the batch and in double precision. */
#include "ir/interp.h"

#include <math.h>

/* The matrices of one point of the batch. */
typedef struct attention {
    const interp *c;
    ir_attention of;
    int rank;
    int64_t rows, keys, width, value_width;
    int64_t at[IR_MAX_RANK]; /* the batch dims */
    double *query, *key, *value, *result, *gradient;
    double *score, *weight; /* of one row */
} attention;

static double *matrix(const attention *a, int64_t rows, int64_t columns)
{
    return arena_array(a->c->arena, double, (size_t)(rows * columns) + 1);
}

static attention begin(const interp *c)
{
    attention a = {.c = c, .of = ir_attention_of(c->graph, c->node)};
    a.rank = a.of.query.rank;
    a.rows = a.of.query.dim[a.rank - 2].count;
    a.keys = a.of.key.dim[a.rank - 2].count;
    a.width = a.of.query.dim[a.rank - 1].count;
    a.value_width = a.of.value.dim[a.rank - 1].count;
    a.query = matrix(&a, a.rows, a.width);
    a.key = matrix(&a, a.keys, a.width);
    a.value = matrix(&a, a.keys, a.value_width);
    a.result = matrix(&a, a.rows, a.value_width);
    a.gradient = matrix(&a, a.rows, a.value_width);
    a.score = matrix(&a, a.keys, 1);
    a.weight = matrix(&a, a.keys, 1);
    return a;
}

/* Where element [row][column] of this point lies; dims NULL: in order. */
static int64_t place(const attention *a, const ir_type *given, const int64_t *dims, int64_t row, int64_t column)
{
    int64_t index[IR_MAX_RANK];
    for (int d = 0; d < given->rank; d++) {
        const int64_t at = d == a->rank - 2 ? row : d == a->rank - 1 ? column : a->at[d];
        index[dims ? dims[d] : d] = at;
    }
    return interp_offset(given, index);
}

static void load(const attention *a, int in, const int64_t *dims, int64_t rows, int64_t columns, double *to)
{
    const ir_array *x = &a->c->in[in];
    for (int64_t i = 0; i < rows * columns; i++)
        to[i] = interp_load(x, place(a, &x->type, dims, i / columns, i % columns)).f;
}

static void store(const attention *a, int out, const int64_t *dims, int64_t rows, int64_t columns, const double *from)
{
    ir_array *x = (ir_array *)a->c->out->data + out;
    for (int64_t i = 0; i < rows * columns; i++)
        interp_store(x, place(a, &x->type, dims, i / columns, i % columns), interp_float(from[i]));
}

static void load_operands(const attention *a)
{
    load(a, ATTENTION_QUERY, a->of.query_dims, a->rows, a->width, a->query);
    load(a, ATTENTION_KEY, a->of.key_dims, a->keys, a->width, a->key);
    load(a, ATTENTION_VALUE, a->of.value_dims, a->keys, a->value_width, a->value);
}

static interp_cell at_score(const attention *a, int in, int64_t row, int64_t key)
{
    const ir_array *x = &a->c->in[in];
    return interp_load(x, place(a, &x->type, NULL, row, key));
}

/* score[] of a row, and their maximum. */
static double find_scores(const attention *a, int64_t row)
{
    double top = -INFINITY;
    for (int64_t k = 0; k < a->keys; k++) {
        double sum = 0;
        for (int64_t d = 0; d < a->width; d++) sum += a->query[row * a->width + d] * a->key[k * a->width + d];
        sum = sum * a->of.scale + at_score(a, ATTENTION_BIAS, row, k).f;
        a->score[k] = at_score(a, ATTENTION_MASK, row, k).u ? sum : a->of.fill;
        if (a->score[k] > top || isnan(a->score[k])) top = a->score[k];
    }
    return top;
}

/* Counts up over the points of the batch; false after the last. */
static bool next_point(attention *a)
{
    ir_type points = interp_resolve(a->c->arena, &a->of.query, a->c->unit);
    points.rank -= 2;
    return interp_next(&points, a->at);
}

static bool has_points(const attention *a)
{
    const ir_type whole = interp_resolve(a->c->arena, &a->of.query, a->c->unit);
    return interp_has_elements(&whole);
}

void interp_nest_attention(const interp *c)
{
    attention a = begin(c);
    double *top = matrix(&a, a.rows, 1), *total = matrix(&a, a.rows, 1);
    if (!has_points(&a)) return;
    do {
        load_operands(&a);
        for (int64_t row = 0; row < a.rows; row++) {
            double *result = a.result + row * a.value_width;
            top[row] = find_scores(&a, row);
            total[row] = 0;
            for (int64_t k = 0; k < a.keys; k++) {
                const double weight = exp(a.score[k] - top[row]);
                total[row] += weight;
                a.weight[k] = weight * at_score(&a, ATTENTION_KEEP, row, k).f;
            }
            for (int64_t d = 0; d < a.value_width; d++) {
                double sum = 0;
                for (int64_t k = 0; k < a.keys; k++) sum += a.weight[k] * a.value[k * a.value_width + d];
                result[d] = sum / total[row];
            }
        }
        store(&a, 0, NULL, a.rows, a.value_width, a.result);
        for (int64_t row = 0; row < a.rows; row++) {
            ir_array *out = c->out->data;
            interp_store(&out[1], place(&a, &out[1].type, NULL, row, 0), interp_float(top[row]));
            interp_store(&out[2], place(&a, &out[2].type, NULL, row, 0), interp_float(total[row]));
        }
    } while (next_point(&a));
}

/* The share of one row in the gradients of query, key and value. */
static void add_row(const attention *a, int64_t row, double total, double *const gradient[3])
{
    const double *dy = a->gradient + row * a->value_width, *y = a->result + row * a->value_width;
    const double *q = a->query + row * a->width, top = find_scores(a, row);
    double *dq = gradient[0] + row * a->width, dot = 0;
    for (int64_t d = 0; d < a->width; d++) dq[d] = 0;
    for (int64_t d = 0; d < a->value_width; d++) dot += dy[d] * y[d];
    for (int64_t k = 0; k < a->keys; k++) {
        const double keep = at_score(a, ATTENTION_KEEP, row, k).f, p = exp(a->score[k] - top) / total;
        double dp = 0;
        for (int64_t d = 0; d < a->value_width; d++) {
            dp += dy[d] * a->value[k * a->value_width + d];
            gradient[2][k * a->value_width + d] += p * keep * dy[d];
        }
        const double ds = at_score(a, ATTENTION_MASK, row, k).u ? p * (dp * keep - dot) * a->of.scale : 0;
        for (int64_t d = 0; d < a->width; d++) {
            dq[d] += ds * a->key[k * a->width + d];
            gradient[1][k * a->width + d] += ds * q[d];
        }
    }
}

void interp_nest_attention_back(const interp *c)
{
    attention a = begin(c);
    double *const gradient[] = {matrix(&a, a.rows, a.width), matrix(&a, a.keys, a.width), matrix(&a, a.keys, a.value_width)};
    const ir_array *total = &c->in[ATTENTION_TOTAL];
    if (!has_points(&a)) return;
    do {
        load_operands(&a);
        load(&a, ATTENTION_RESULT, NULL, a.rows, a.value_width, a.result);
        load(&a, ATTENTION_GRADIENT, a.of.result_dims, a.rows, a.value_width, a.gradient);
        for (int64_t i = 0; i < a.keys * a.width; i++) gradient[1][i] = 0;
        for (int64_t i = 0; i < a.keys * a.value_width; i++) gradient[2][i] = 0;
        for (int64_t row = 0; row < a.rows; row++)
            add_row(&a, row, interp_load(total, place(&a, &total->type, NULL, row, 0)).f, gradient);
        store(&a, 0, a.of.query_dims, a.rows, a.width, gradient[0]);
        store(&a, 1, a.of.key_dims, a.keys, a.width, gradient[1]);
        store(&a, 2, a.of.value_dims, a.keys, a.value_width, gradient[2]);
    } while (next_point(&a));
}
