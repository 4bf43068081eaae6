/* tune.c: see tune.h. */
#include "tune.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* [SECONDS][@BATCH] */
static bool read_limits(const char *given, tune *out)
{
    enum { MOST_SECONDS = 1000000, MOST_ROWS = 1 << 24 };
    const char *at = given;
    char *end;
    out->seconds = 60;
    out->rows = 32;
    if (*at >= '0' && *at <= '9') {
        out->seconds = strtod(at, &end);
        at = end;
    }
    if (at[0] == '@' && at[1] >= '1' && at[1] <= '9') {
        errno = 0;
        out->rows = strtoll(at + 1, &end, 10);
        at = errno ? at : end;
    }
    if (!*at && out->seconds <= MOST_SECONDS && out->rows <= MOST_ROWS) return true;
    fprintf(stderr, "tfcc: --tune: expected [SECONDS][@BATCH], as 120 or 120@64, found \"%s\"\n", given);
    return false;
}

/* Makes the folder of a file, with all around it. */
static void make_folder(arena *a, const char *file)
{
    char *path = arena_strdup(a, file);
    for (char *at = path + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        mkdir(path, 0777);
        *at = '/';
    }
}

static const char *usual_cache(arena *a)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && *cache == '/') return arena_printf(a, "%s/tfcc/tuning", cache);
    return home && *home == '/' ? arena_printf(a, "%s/.cache/tfcc/tuning", home) : NULL;
}

bool tune_read(arena *a, const options *o, tune *out)
{
    *out = (tune){.cache = o->tune_cache};
    if (!o->tune && !o->tune_cache) return true;
    if (!read_limits(o->tune ? o->tune : "0", out)) return false;
    if (!out->cache) {
        out->cache = usual_cache(a);
        if (out->cache) make_folder(a, out->cache);
    }
    if (out->cache) return true;
    fprintf(stderr, "tfcc: --tune: expected --tune-cache FILE, since neither XDG_CACHE_HOME nor HOME names a folder; found none\n");
    return false;
}

static int find_steps(const ir_graph *g, const ir_node *n, const void *context, int *out_step)
{
    const tune *t = context;
    return passes_winograd_steps(g, n, t->when, out_step);
}

bool tune_module(arena *a, tune *t, ir_module *m, const codegen_options *target, diag *d)
{
    const int64_t rows = m->rows > 0 ? base_min(t->rows, m->rows) : t->rows;
    const codegen_tune_options how = {.cache = t->cache, .seconds = t->seconds, .rows = rows, .winograd = find_steps, .context = t};
    return codegen_tune(m, target, &how, a, &t->report, d);
}
