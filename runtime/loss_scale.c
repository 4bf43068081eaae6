/* loss_scale.c: see loss_scale.h. The compiled step writes the variable ".../first_nonfinite": -1 when all was finite, -2 when
 * the loss was not, else the number of the variable nearest to the loss whose gradient was not.
 *
 * A skipped step has changed neither weights nor slots, so the same batch gives the same values again: the step is repeated with
 * the states from before it, and each launch's results are looked at as soon as they are there, before their memory is used
 * for something else. Steps that are not skipped pay nothing for it. */
#include "loss_scale.h"

#include "convert.h"
#include "ragged.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ALL_FINITE = -1 };

typedef struct finding {
    const model *m;
    const char *kind, *what; /* what NULL: nothing found yet */
    const tfcc_shape *shape;
    int64_t n;
    uint64_t index;
    double value;
} finding;

static bool ends_with(const char *path, const char *name)
{
    const char *last = strrchr(path, '/');
    return last && strcmp(last + 1, name) == 0;
}

/* A repetition changes it, or might: slots alone stay as they are for certain. */
static bool must_keep(const tfcc_variable *v) { return v->role != TFCC_OPTIMIZER || v->shape.rank == 0; }

bool loss_scale_open(loss_scale *s, step *train)
{
    model *m = train->m;
    const tfcc_program *p = m->program;
    *s = (loss_scale){.train = train};
    for (uint64_t i = 0; i < p->variable_count; i++) {
        const tfcc_variable *v = &p->variable[i];
        if (v->role != TFCC_OPTIMIZER || v->shape.rank > 0) continue;
        if (!v->h5 && ends_with(v->path, "first_nonfinite")) s->nonfinite = m->variable[i];
        if (v->h5 && ends_with(v->path, "dynamic_scale")) s->scale = m->variable[i];
    }
    if (!s->nonfinite || !s->scale) return true;
    s->before = *s->scale;
    s->kept = rt_alloc_many(m->r, p->variable_count, sizeof *s->kept, "the report of skipped steps");
    for (uint64_t i = 0; s->kept && i < p->variable_count; i++) {
        if (!must_keep(&p->variable[i])) continue;
        s->kept[i] = rt_alloc(m->r, model_variable_bytes(m, i), "the report of skipped steps");
        if (!s->kept[i]) return false;
    }
    return s->kept;
}

/* ---- repeating a step ------------------------------------------------------------------------------------ */

static void keep(loss_scale *s)
{
    model *m = s->train->m;
    for (uint64_t i = 0; i < m->program->variable_count; i++)
        if (s->kept[i]) memcpy(s->kept[i], m->variable[i], model_variable_bytes(m, i));
}

static void restore(const loss_scale *s)
{
    model *m = s->train->m;
    for (uint64_t i = 0; i < m->program->variable_count; i++)
        if (s->kept[i]) memcpy(m->variable[i], s->kept[i], model_variable_bytes(m, i));
}

/* Puts back the loss scale and the states of random generators from before the step: each step adds the same to those. */
static void wind_back(const loss_scale *s, void *const *ports)
{
    model *m = s->train->m;
    step_run(s->train, s->train->n, ports);
    for (uint64_t i = 0; i < m->program->variable_count; i++) {
        if (!s->kept[i]) continue;
        const bool is_seed = m->program->variable[i].role == TFCC_SEED;
        const uint64_t *kept = s->kept[i];
        uint64_t *state = m->variable[i], words = is_seed ? model_variable_bytes(m, i) / sizeof *state : 0;
        for (uint64_t k = 0; k < words; k++) state[k] = 2 * kept[k] - state[k];
        if (!is_seed) memcpy(state, kept, model_variable_bytes(m, i));
    }
    *s->scale = s->before;
}

/* ---- looking ------------------------------------------------------------------------------------------------ */

static void look_at(finding *f, const char *kind, const char *what, const tfcc_shape *shape, const void *elements)
{
    if (f->what || !elements || !rt_dtype_is_float(shape->dtype)) return;
    const int64_t n = ragged_count(f->m, shape->ragged, f->n);
    const uint64_t count = rt_shape_elements(shape, n);
    for (uint64_t i = 0; i < count; i++) {
        const double value = convert_get(elements, shape->dtype, i);
        if (isfinite(value)) continue;
        *f = (finding){.m = f->m, .kind = kind, .what = what, .shape = shape, .n = n, .index = i, .value = value};
        return;
    }
}

static void watch(void *context, const tfcc_launch *l, void *const *arg)
{
    for (uint64_t i = 0; i < l->watch_count; i++)
        look_at(context, "", l->watch[i].what, &l->watch[i].shape, arg[l->watch[i].arg]);
}

/* Data and weights that are not finite themselves. */
static void look_before(const loss_scale *s, finding *f, void *const *ports)
{
    const model *m = s->train->m;
    const tfcc_program *p = m->program;
    for (uint64_t i = 0; i < p->port_count; i++) look_at(f, "data of ", p->port[i].name, &p->port[i].shape, ports[i]);
    for (uint64_t i = 0; i < p->variable_count; i++) {
        if (p->variable[i].role == TFCC_WEIGHT) look_at(f, "weight ", p->variable[i].path, &p->variable[i].shape, m->variable[i]);
    }
}

static finding find(loss_scale *s, void *const *ports)
{
    finding f = {.m = s->train->m, .n = s->train->n};
    look_before(s, &f, ports);
    if (f.what) return f;
    keep(s);
    wind_back(s, ports);
    s->train->watch = watch;
    s->train->watch_context = &f;
    step_run(s->train, s->train->n, ports);
    s->train->watch = NULL;
    restore(s);
    return f;
}

/* " f16[32,10] at [3,7]" */
static void show_place(const finding *f, size_t room, char *to)
{
    int64_t at[8] = {0}, size[8];
    uint64_t rest = f->index;
    int used = snprintf(to, room, " %s[", rt_dtype_name(f->shape->dtype));
    for (uint32_t i = 0; i < f->shape->rank; i++) size[i] = f->shape->dim[i] * ((f->shape->batch >> i & 1) ? f->n : 1);
    for (uint32_t i = f->shape->rank; i-- > 0; rest /= (uint64_t)size[i]) at[i] = (int64_t)(rest % (uint64_t)size[i]);
    for (int pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < f->shape->rank && used > 0 && (size_t)used < room; i++)
            used += snprintf(to + used, room - (size_t)used, i ? ",%lld" : "%lld", (long long)(pass ? at : size)[i]);
        if (used > 0 && (size_t)used < room) used += snprintf(to + used, room - (size_t)used, pass ? "]" : "] at [");
    }
}

static void report(const loss_scale *s, const finding *f)
{
    const tfcc_program *p = s->train->m->program;
    const rt *r = s->train->m->r;
    const long long number = (long long)s->steps;
    const int64_t v = *s->nonfinite;
    char place[256];
    if (f->what) {
        show_place(f, sizeof place, place);
        rt_note(r, "note: step %lld is skipped and the loss scale halved to %g: the first value that is not finite, %g, arose in %s%s,%s",
                number, (double)*s->scale, f->value, f->kind, f->what, place);
    } else if (v < 0 || (uint64_t)v >= p->variable_count) {
        rt_note(r, "note: step %lld is skipped and the loss scale halved to %g: its loss is not finite", number, (double)*s->scale);
    } else {
        rt_note(r, "note: step %lld is skipped and the loss scale halved to %g: the gradient of \"%s\" is not finite", number,
                (double)*s->scale, p->variable[v].path);
    }
}

void loss_scale_look(loss_scale *s, void *const *ports)
{
    s->steps++;
    if (!s->kept) return;
    if (*s->nonfinite != ALL_FINITE && s->skipped++ == 0) {
        const finding f = find(s, ports);
        report(s, &f);
    }
    s->before = *s->scale;
}
