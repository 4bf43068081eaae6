/* tune_cache.c: the file of measured choices, see tune.h. It begins with `tfcc tuning 1`; then, in any order,
 *   machine ID TEXT                  ID: 16 hexadecimal digits, the fingerprint of the text
 *   kernel MACHINE ID winograd STEP tiles WORD us PLANNED CHOSEN NAME
 *                                    WORD: model, direct, or MRxNR/M,N,K; microseconds of the planned choice and of this
 * and lines that begin with #. The last line of a kernel counts. */
#include "codegen/tune.h"
#include "words/words.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char header[] = "tfcc tuning 1";
enum { MOST_BYTES = 64 << 20, MOST_LINE = 4096, MOST_WARNINGS = 5 };

uint64_t tune_cache_id(const char *of) { return words_fingerprint(of, strlen(of)); }

static const char *find_machine(const tune_cache *c, uint64_t id)
{
    for (size_t i = 0; i < c->machine_count; i++) {
        if (tune_cache_id(c->machine[i]) == id) return c->machine[i];
    }
    return NULL;
}

static void add_machine(tune_cache *c, const char *machine)
{
    if (find_machine(c, tune_cache_id(machine))) return;
    arena_push(c->arena, c->machine, c->machine_count, c->machine_capacity, machine);
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool skip(const char **at, const char *word)
{
    const size_t length = strlen(word);
    if (strncmp(*at, word, length) != 0) return false;
    *at += length;
    return true;
}

static bool read_id(const char **at, uint64_t *out)
{
    char *end;
    const char *digits = "0123456789abcdef";
    if (strspn(*at, digits) != 16) return false;
    *out = strtoull(*at, &end, 16);
    *at = end;
    return true;
}

/* A number below `most`, then `after`. */
static bool read_number(const char **at, int64_t most, const char *after, int64_t *out)
{
    char *end;
    if (**at < '0' || **at > '9') return false;
    errno = 0;
    *out = strtoll(*at, &end, 10);
    *at = end;
    return !errno && *out < most && skip(at, after);
}

static bool read_time(const char **at, double *out)
{
    char *end;
    if (**at < '0' || **at > '9') return false;
    *out = strtod(*at, &end);
    *at = end;
    return *out > 0 && *out < 1e12 && skip(at, " ");
}

static bool read_tiles(const char **at, tune_choice *out)
{
    enum { MOST = 1 << 20 };
    cg_tiles *t = &out->tiles;
    if (skip(at, "model ")) return true;
    out->tiled = true;
    if (skip(at, "direct ")) return true;
    return read_number(at, MOST, "x", &t->mr) && read_number(at, MOST, "/", &t->nr) && read_number(at, MOST, ",", &t->m) &&
           read_number(at, MOST, ",", &t->n) && read_number(at, MOST, " ", &t->k) && t->mr > 0;
}

/* NULL, or what is wrong. */
static const char *read_kernel(tune_cache *c, const char *at, int line)
{
    tune_entry e = {.line = line};
    int64_t step;
    if (!read_id(&at, &e.machine) || !skip(&at, " ") || !read_id(&at, &e.kernel) || !skip(&at, " winograd "))
        return "expected kernel MACHINE ID winograd ..., both of 16 hexadecimal digits";
    if (!read_number(&at, 100, " tiles ", &step)) return "expected winograd STEP tiles ...";
    e.choice.winograd = (int)step;
    if (!read_tiles(&at, &e.choice)) return "expected tiles model, direct or MRxNR/M,N,K";
    if (!skip(&at, "us ") || !read_time(&at, &e.planned_us) || !read_time(&at, &e.chosen_us))
        return "expected us PLANNED CHOSEN NAME, the two in microseconds";
    if (!find_machine(c, e.machine)) return "expected a machine of an earlier line";
    e.name = arena_strdup(c->arena, at);
    arena_push(c->arena, c->entry, c->entry_count, c->entry_capacity, e);
    return NULL;
}

static const char *read_line(tune_cache *c, const char *at, int line)
{
    uint64_t id;
    if (!*at || *at == '#') return NULL;
    for (const char *p = at; *p; p++) {
        if ((unsigned char)*p < ' ') return "expected text, found a control character";
    }
    if (skip(&at, "kernel ")) return read_kernel(c, at, line);
    if (!skip(&at, "machine ")) return "expected a line that begins with machine, kernel or #";
    if (!read_id(&at, &id) || !skip(&at, " ") || tune_cache_id(at) != id) return "expected machine ID TEXT, ID of that text";
    add_machine(c, arena_strdup(c->arena, at));
    return NULL;
}

static void read_lines(tune_cache *c, const text *t, bool warn)
{
    const char *at = t->data, *end = t->data + t->length;
    int warnings = 0;
    for (int line = 1; at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        const size_t length = (size_t)((stop ? stop : end) - at);
        char *copy = length <= MOST_LINE ? arena_strndup(c->arena, at, length) : NULL;
        const char *wrong = !copy ? "expected a shorter line" : strlen(copy) != length ? "expected text, found a zero byte" : NULL;
        if (!wrong && line > 1) wrong = read_line(c, copy, line);
        if (wrong && warn && ++warnings <= MOST_WARNINGS) fprintf(stderr, "%s:%d: warning: %s; the line is ignored\n", c->path, line, wrong);
        at += length + 1;
    }
    if (warnings > MOST_WARNINGS) fprintf(stderr, "%s: warning: %d more lines are ignored\n", c->path, warnings - MOST_WARNINGS);
}

bool tune_cache_read(tune_cache *c, arena *a, const char *path, bool warn, diag *d)
{
    text t = {0};
    *c = (tune_cache){.arena = a, .path = path};
    bool ok = text_read_file(&t, path, MOST_BYTES);
    if (!ok && errno == ENOENT) {
        text_done(&t);
        return true;
    }
    if (!ok) {
        d->file = path;
        diag_error(d, NULL, "cannot read: %s", strerror(errno));
    } else if (t.length > 0 && (t.length < sizeof header || memcmp(t.data, header, sizeof header - 1) != 0 ||
                                t.data[sizeof header - 1] != '\n')) {
        d->file = path;
        ok = diag_error(d, NULL, "expected a file whose first line is \"%s\", found something else", header);
    } else if (t.length > 0) {
        read_lines(c, &t, warn);
    }
    text_done(&t);
    return ok;
}

/* ---- looking up and writing ----------------------------------------------------------------- */

static bool is_like(const char *other, const char *machine)
{
    const char *end = strstr(machine, " | ");
    return other && end && strncmp(other, machine, (size_t)(end - machine) + 3) == 0;
}

const tune_entry *tune_cache_find(const tune_cache *c, const char *machine, bool whole, uint64_t kernel)
{
    const uint64_t id = tune_cache_id(machine);
    for (size_t i = c->entry_count; i-- > 0;) {
        const tune_entry *e = &c->entry[i];
        if (e->kernel != kernel) continue;
        if (e->machine == id || (!whole && is_like(find_machine(c, e->machine), machine))) return e;
    }
    return NULL;
}

void tune_cache_add(tune_cache *c, const char *machine, const tune_entry *e)
{
    add_machine(c, machine);
    tune_entry own = *e;
    own.machine = tune_cache_id(machine);
    arena_push(c->arena, c->entry, c->entry_count, c->entry_capacity, own);
}

static void print_entry(text *t, const tune_entry *e)
{
    const cg_tiles *s = &e->choice.tiles;
    text_add(t, "kernel %016" PRIx64 " %016" PRIx64 " winograd %d tiles ", e->machine, e->kernel, e->choice.winograd);
    if (!e->choice.tiled)
        text_add(t, "model");
    else if (!s->mr)
        text_add(t, "direct");
    else
        text_add(t, "%lldx%lld/%lld,%lld,%lld", (long long)s->mr, (long long)s->nr, (long long)s->m, (long long)s->n,
                 (long long)s->k);
    text_add(t, " us %.3f %.3f %s\n", e->planned_us, e->chosen_us, e->name);
}

/* One line per machine, then one per kernel: the last one of each, in the order of the first ones. */
static void print_all(text *t, const tune_cache *c, arena *scratch)
{
    map last = {.arena = scratch};
    text_add(t, "%s\n# What tfcc compile --tune has measured: a line may be removed, and is then measured again.\n", header);
    for (size_t i = 0; i < c->machine_count; i++)
        text_add(t, "machine %016" PRIx64 " %s\n", tune_cache_id(c->machine[i]), c->machine[i]);
    for (size_t i = 0; i < c->entry_count; i++) {
        const tune_entry *e = &c->entry[i];
        map_set(&last, arena_printf(scratch, "%016" PRIx64 "%016" PRIx64, e->machine, e->kernel), &c->entry[i]);
    }
    for (size_t i = 0; i < last.count; i++) print_entry(t, last.entry[i].value);
}

bool tune_cache_write(const tune_cache *c, size_t from, diag *d)
{
    arena scratch = {0};
    text t = {0};
    tune_cache now;
    bool ok = tune_cache_read(&now, &scratch, c->path, false, d);
    for (size_t i = from; ok && i < c->entry_count; i++)
        tune_cache_add(&now, find_machine(c, c->entry[i].machine), &c->entry[i]);
    if (ok) print_all(&t, &now, &scratch);
    if (ok && !text_write_file(&t, c->path)) {
        d->file = c->path;
        ok = diag_failed(d, NULL, "cannot write: %s", strerror(errno));
    }
    text_done(&t);
    arena_done(&scratch);
    return ok;
}
