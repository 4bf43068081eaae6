/* loss_scale.c: see loss_scale.h. The compiled step writes the variable ".../first_nonfinite": -1 when all was finite, -2 when
 * the loss was not, else the number of the variable nearest to the loss whose gradient was not. */
#include "loss_scale.h"

#include <string.h>

enum { ALL_FINITE = -1 };

void loss_scale_open(loss_scale *s, const model *m)
{
    static const char name[] = "/first_nonfinite";
    *s = (loss_scale){.m = m};
    for (uint64_t i = 0; i < m->program->variable_count; i++) {
        const tfcc_variable *v = &m->program->variable[i];
        const char *last = strrchr(v->path, '/');
        if (v->role == TFCC_OPTIMIZER && !v->h5 && last && strcmp(last, name) == 0) s->nonfinite = m->variable[i];
    }
}

void loss_scale_look(loss_scale *s)
{
    s->step++;
    if (!s->nonfinite || *s->nonfinite == ALL_FINITE || s->skipped++ > 0) return;
    const tfcc_program *p = s->m->program;
    if (*s->nonfinite < 0 || (uint64_t)*s->nonfinite >= p->variable_count) {
        rt_note(s->m->r, "note: step %lld is skipped: its loss is not finite; the loss scale is halved", (long long)s->step);
        return;
    }
    const char *path = p->variable[*s->nonfinite].path, *last = strrchr(path, '/');
    rt_note(s->m->r,
            "note: step %lld is skipped: the gradient of \"%s\" of layer \"%.*s\" is not finite; the loss scale is halved",
            (long long)s->step, path, last ? (int)(last - path) : (int)strlen(path), path);
}
