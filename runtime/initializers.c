/* initializers.c: see initializers.h; the kinds are the rows of initializers.def. Values are made in float32,
 * as Keras does for float32 variables, and rounded to the variable's type. */
#include "initializers.h"

#include "convert.h"
#include "philox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct request request;

typedef struct kind {
    const char *name;
    bool (*make)(request *q);
    double number;
    const char *mode, *distribution;
} kind;

/* One variable's initialization. */
struct request {
    rt *r;
    pool *pool;
    const kind *kind;
    const tfcc_variable *variable;
    int64_t seed;
    float *out;
    uint64_t count;
};

static const tfcc_setting *find_setting(const request *q, const char *key)
{
    for (uint64_t i = 0; i < q->variable->setting_count; i++) {
        if (strcmp(q->variable->setting[i].key, key) == 0) return &q->variable->setting[i];
    }
    return NULL;
}

static double get_number(const request *q, const char *key, double otherwise)
{
    const tfcc_setting *s = find_setting(q, key);
    return s && !s->text ? s->number : otherwise;
}

static const char *get_text(const request *q, const char *key, const char *otherwise)
{
    const tfcc_setting *s = find_setting(q, key);
    return s && s->text ? s->text : otherwise;
}

typedef void (*draw)(const philox *p, uint64_t first, uint64_t count, float *out);

/* A draw of the whole variable, in pieces that threads share: draw() * scale + shift. */
typedef struct drawing {
    const request *q;
    philox stream;
    draw draw;
    float scale, shift;
} drawing;

enum { PIECE = 1 << 14 }; /* elements; a multiple of 4 */

static void draw_piece(const void *context, int64_t task, void *scratch)
{
    const drawing *d = context;
    uint64_t first = (uint64_t)task * PIECE, left = d->q->count - first;
    uint64_t n = left < PIECE ? left : PIECE;
    float *out = d->q->out + first;
    (void)scratch;
    d->draw(&d->stream, first, n, out);
    for (uint64_t i = 0; i < n; i++) {
        float scaled = out[i] * d->scale;
        out[i] = scaled + d->shift;
    }
}

static bool draw_all(const request *q, draw how, double scale, double shift)
{
    const drawing d = {
        .q = q, .stream = philox_of_seed(q->seed), .draw = how, .scale = (float)scale, .shift = (float)shift};
    pool_run(q->pool, draw_piece, &d, (int64_t)((q->count + PIECE - 1) / PIECE));
    return true;
}

static bool draw_uniform(const request *q, double low, double high)
{
    float width = (float)high - (float)low;
    return draw_all(q, philox_uniform, (double)width, low);
}

static bool make_fill(request *q)
{
    float value = (float)get_number(q, "value", q->kind->number);
    for (uint64_t i = 0; i < q->count; i++) q->out[i] = value;
    return true;
}

static bool make_uniform(request *q)
{
    return draw_uniform(q, get_number(q, "minval", -q->kind->number),
                        get_number(q, "maxval", q->kind->number));
}

static bool make_normal(request *q)
{
    return draw_all(q, philox_normal, get_number(q, "stddev", q->kind->number), get_number(q, "mean", 0));
}

static bool make_truncated(request *q)
{
    return draw_all(q, philox_truncated_normal, get_number(q, "stddev", q->kind->number),
                    get_number(q, "mean", 0));
}

/* Inputs and outputs of the kernel's unit, from its shape. */
static void find_fans(const tfcc_shape *s, double *out_in, double *out_out)
{
    double field = 1;
    for (uint32_t i = 0; i + 2 < s->rank; i++) field *= (double)s->dim[i];
    if (s->rank < 2) {
        *out_in = *out_out = s->rank == 1 ? (double)s->dim[0] : 1;
        return;
    }
    *out_in = field * (double)s->dim[s->rank - 2];
    *out_out = field * (double)s->dim[s->rank - 1];
}

static bool make_scaling(request *q)
{
    double in, out;
    find_fans(&q->variable->shape, &in, &out);
    const char *mode = get_text(q, "mode", q->kind->mode);
    const char *distribution = get_text(q, "distribution", q->kind->distribution);
    double fan = strcmp(mode, "fan_in") == 0 ? in : strcmp(mode, "fan_out") == 0 ? out : (in + out) / 2;
    double variance = get_number(q, "scale", q->kind->number) / fmax(1, fan);
    if (strcmp(distribution, "uniform") == 0) {
        double limit = sqrt(3 * variance);
        return draw_uniform(q, -limit, limit);
    }
    if (strcmp(distribution, "untruncated_normal") == 0) return draw_all(q, philox_normal, sqrt(variance), 0);
    const double truncated_deviation = 0.87962566103423978; /* of a normal cut off at two deviations */
    return draw_all(q, philox_truncated_normal, sqrt(variance) / truncated_deviation, 0);
}

static bool make_orthogonal(request *q)
{
    const tfcc_shape *s = &q->variable->shape;
    if (s->rank < 2 || q->count == 0) {
        return rt_wrong(q->r, "variable \"%s\": orthogonal: expected at least two dimensions",
                        q->variable->path);
    }
    uint64_t columns = (uint64_t)s->dim[s->rank - 1], rows = q->count / columns;
    double *work = rt_alloc_many(q->r, q->count, sizeof *work, "the orthogonal initializer");
    if (!work) return false;
    draw_all(q, philox_normal, 1, 0);
    float gain = (float)get_number(q, "gain", q->kind->number);
    bool wide = rows < columns;
    orthogonal_make(q->out, wide ? columns : rows, wide ? rows : columns, work);
    float *turned = (float *)(void *)work;
    for (uint64_t i = 0; i < q->count; i++) {
        turned[i] = gain * (wide ? q->out[i % columns * rows + i / columns] : q->out[i]);
    }
    memcpy(q->out, turned, (size_t)q->count * sizeof *turned);
    rt_free(q->r, work);
    return true;
}

static bool make_identity(request *q)
{
    const tfcc_shape *s = &q->variable->shape;
    if (s->rank != 2) {
        return rt_wrong(q->r, "variable \"%s\": identity: expected two dimensions", q->variable->path);
    }
    float gain = (float)get_number(q, "gain", q->kind->number);
    uint64_t columns = (uint64_t)s->dim[1];
    for (uint64_t i = 0; i < q->count; i++) q->out[i] = i / columns == i % columns ? gain : 0;
    return true;
}

/* The state of a SeedGenerator does not fit floats: it is written by initializer_run itself. */
static bool make_seed(request *q)
{
    (void)q;
    return true;
}

static const kind kinds[] = {
#define INITIALIZER(name, make, number, mode, distribution) {#name, make_##make, number, mode, distribution},
#include "initializers.def"
};

static const kind *find_kind(const char *name)
{
    for (size_t i = 0; i < RT_COUNT(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    }
    return NULL;
}

/* A part that starts at one whatever the rest does: settings ones_start and ones_count (an LSTM's forget gate). */
static void fill_ones(const request *q)
{
    uint64_t start = (uint64_t)get_number(q, "ones_start", 0), count = (uint64_t)get_number(q, "ones_count", 0);
    for (uint64_t i = start; i < start + count && i < q->count; i++) q->out[i] = 1;
}

/* The seed of the variable: its own, or one made from the run's seed and the variable's number. */
static int64_t choose_seed(const request *q, uint64_t number, int64_t seed)
{
    const tfcc_setting *s = find_setting(q, "seed");
    if (s && s->text) return (int64_t)strtoll(s->text, NULL, 10);
    if (s) return (int64_t)s->number;
    return (int64_t)(philox_mix(philox_mix((uint64_t)seed) ^ number) % (uint64_t)(INT32_MAX - 1));
}

bool initializer_run(rt *r, pool *p, uint64_t number, int64_t seed, void *out)
{
    const tfcc_variable *v = &r->program->variable[number];
    const char *name = v->initializer ? v->initializer : "zeros";
    request q = {
        .r = r, .pool = p, .variable = v, .kind = find_kind(name), .count = rt_shape_elements(&v->shape, 1)};
    if (!q.kind)
        return rt_failed(r, "variable \"%s\": this runtime has no initializer \"%s\"", v->path, name);
    q.seed = choose_seed(&q, number, seed);
    if (q.kind->make == make_seed) {
        const int64_t state[2] = {q.seed, 0};
        if (v->shape.dtype != TFCC_I64 || q.count != 2) {
            return rt_failed(r, "variable \"%s\": expected a seed state of two int64", v->path);
        }
        memcpy(out, state, sizeof state);
        return true;
    }
    bool direct = v->shape.dtype == TFCC_F32;
    q.out = direct ? out : rt_alloc_many(r, q.count, sizeof *q.out, "initial values");
    if (!q.out || !q.kind->make(&q)) return false;
    fill_ones(&q);
    if (direct) return true;
    uint64_t misfit = convert_elements(out, v->shape.dtype, q.out, TFCC_F32, q.count);
    rt_free(r, q.out);
    return misfit == UINT64_MAX || rt_wrong(r, "variable \"%s\": \"%s\" makes numbers that %s cannot hold",
                                            v->path, name, rt_dtype_name(v->shape.dtype));
}
