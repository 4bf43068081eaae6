/* link.c: see link.h. The runtime lies at ../lib/tfcc relative to the tfcc program, in the build tree as after
 * installation: libtfcc_rt.a, tfcc_rt.h, and link.txt, the libraries that a trainer needs; libtfcc_linalg.a and
 * link_linalg.txt the same for programs that decompose matrices. */
#include "link.h"
#include "base/text.h"

#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MOST_ARGUMENTS = 128 };

char *link_temporary(arena *a, const char *output, const char *suffix)
{
    return arena_printf(a, "%s.%ld%s", output, (long)getpid(), suffix);
}

char *link_runtime_file(arena *a, const char *name, diag *d)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0) {
        diag_failed(d, NULL, "cannot find the tfcc program itself: %s", strerror(errno));
        return NULL;
    }
    self[n] = 0;
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(self, '/');
        if (slash) *slash = 0;
    }
    char *path = arena_printf(a, "%s/lib/tfcc/%s", self, name);
    if (access(path, R_OK) != 0) {
        diag_failed(d, NULL, "cannot read the runtime's %s: %s", path, strerror(errno));
        return NULL;
    }
    return path;
}

/* Runs a program and waits for it; standard input comes from `input` when that is not NULL. */
static bool run(const char *what, char **argv, const char *input, diag *d)
{
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    if (input) posix_spawn_file_actions_addopen(&actions, 0, input, 0, 0);
    pid_t pid;
    int error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) return diag_failed(d, NULL, "cannot run %s \"%s\": %s", what, argv[0], strerror(error));
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) return diag_failed(d, NULL, "cannot wait for %s: %s", what, strerror(errno));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return true;
    return diag_failed(d, NULL, "the %s \"%s\" failed", what, argv[0]);
}

/* Splits `words` at white space onto argv. */
static int add_words(char **argv, int count, char *words)
{
    for (char *word = strtok(words, " \t\n"); word && count < MOST_ARGUMENTS - 1; word = strtok(NULL, " \t\n")) {
        argv[count++] = word;
    }
    return count;
}

static bool move(const char *from, const char *to, diag *d)
{
    if (!text_may_replace(to)) {
        diag_failed(d, to, "cannot write: expected a regular file, found a device or folder");
    } else if (rename(from, to) == 0) {
        return true;
    } else {
        diag_failed(d, to, "cannot write: %s", strerror(errno));
    }
    remove(from);
    return false;
}

/* The words of a file of the runtime. NULL with an error. */
static char *read_words(arena *a, const char *name, diag *d)
{
    char *list = link_runtime_file(a, name, d);
    if (!list) return NULL;
    text t = {0};
    char *words = text_read_file(&t, list, 1 << 16) ? arena_strdup(a, text_get(&t)) : NULL;
    text_done(&t);
    if (!words) diag_failed(d, list, "cannot read: %s", strerror(errno));
    return words;
}

char *link_linalg_words(arena *a, diag *d)
{
    char *library = link_runtime_file(a, "libtfcc_linalg.a", d), *words = read_words(a, "link_linalg.txt", d);
    return library && words ? arena_printf(a, "%s %.*s", library, (int)strcspn(words, "\n"), words) : NULL;
}

bool link_executable(arena *a, const char *cc, const link_inputs *o, const char *output, diag *d)
{
    char *library = link_runtime_file(a, "libtfcc_rt.a", d), *words = read_words(a, "link.txt", d);
    char *linalg = o->linalg ? link_linalg_words(a, d) : arena_strdup(a, "");
    if (!library || !words || !linalg) return false;
    char *temporary = link_temporary(a, output, ".tmp");
    char *argv[MOST_ARGUMENTS] = {arena_strdup(a, cc ? cc : "cc"), arena_strdup(a, "-o"), temporary};
    int count = 3;
    bug_if(o->count > MOST_ARGUMENTS / 2, "%zu objects", o->count);
    for (size_t i = 0; i < o->count; i++) argv[count++] = o->object[i];
    argv[count++] = library;
    count = add_words(argv, count, linalg);
    count = add_words(argv, count, words);
    argv[count] = NULL;
    if (!run("linker", argv, NULL, d)) {
        remove(temporary);
        return false;
    }
    return move(temporary, output, d);
}

bool link_library(arena *a, const link_inputs *o, const char *output, diag *d)
{
    char *library = link_runtime_file(a, "libtfcc_rt.a", d);
    char *linalg = o->linalg ? link_runtime_file(a, "libtfcc_linalg.a", d) : NULL;
    if (!library || (o->linalg && !linalg)) return false;
    char *temporary = link_temporary(a, output, ".tmp");
    char *script = link_temporary(a, output, ".mri");
    text t = {0};
    text_add(&t, "create %s\naddlib %s\n", temporary, library);
    if (linalg) text_add(&t, "addlib %s\n", linalg);
    for (size_t i = 0; i < o->count; i++) text_add(&t, "addmod %s\n", o->object[i]);
    text_add(&t, "delete main.c.o\nsave\nend\n"); /* the caller has a main of its own */
    bool ok = text_write_file(&t, script);
    text_done(&t);
    if (!ok) return diag_failed(d, script, "cannot write: %s", strerror(errno));
    char *argv[] = {arena_strdup(a, "ar"), arena_strdup(a, "-M"), NULL};
    ok = run("archiver", argv, script, d);
    remove(script);
    if (!ok) {
        remove(temporary);
        return false;
    }
    return move(temporary, output, d);
}

/* The functions of tfcc.h; those after the mark are for training. */
static const char *const interface[] = {
    "tfcc_api_version", "tfcc_create", "tfcc_destroy", "tfcc_error", "tfcc_count", "tfcc_describe", "tfcc_variable_get",
    "tfcc_variable_set", "tfcc_weights_load", "tfcc_predict", NULL, "tfcc_weights_save", "tfcc_loss", "tfcc_train_step",
    "tfcc_gradients", "tfcc_gradient_get", "tfcc_gradient_set", "tfcc_apply_gradients", "tfcc_minimize",
    "tfcc_learning_rate_get", "tfcc_learning_rate_set", "tfcc_use_averages", "tfcc_metrics_reset", "tfcc_metrics_get",
    "tfcc_evaluate",
};

/* Only the interface is visible: what a library has of the runtime does not meet what another one has. */
static bool write_exports(const char *path, const char *symbol, bool predict_only, diag *d)
{
    text t = {0};
    text_add(&t, "{ global: %s;", symbol);
    for (size_t i = 0; i < countof(interface); i++) {
        if (!interface[i] && predict_only) break;
        if (interface[i]) text_add(&t, " %s;", interface[i]);
    }
    text_add(&t, " local: *; };\n");
    bool ok = text_write_file(&t, path) || diag_failed(d, path, "cannot write: %s", strerror(errno));
    text_done(&t);
    return ok;
}

bool link_shared(arena *a, const link_shared_options *o, const link_inputs *in, diag *d)
{
    char *library = link_runtime_file(a, "libtfcc_rt.a", d), *words = read_words(a, "link.txt", d);
    char *linalg = in->linalg ? link_linalg_words(a, d) : arena_strdup(a, "");
    char *temporary = link_temporary(a, o->output, ".tmp"), *exports = link_temporary(a, o->output, ".map");
    char *argv[MOST_ARGUMENTS] = {arena_strdup(a, o->cc ? o->cc : "cc"), arena_strdup(a, "-shared"), arena_strdup(a, "-o"), temporary,
                                  arena_strdup(a, "-Wl,--gc-sections,-Bsymbolic,-s,-z,noseparate-code,--hash-style=gnu,--build-id=none")};
    int count = 5;
    if (!library || !words || !linalg || !write_exports(exports, o->symbol, o->predict_only, d)) return false;
    argv[count++] = arena_printf(a, "-Wl,--version-script=%s", exports);
    for (size_t i = 0; i < countof(interface); i++) {
        if (!interface[i] && o->predict_only) break;
        if (interface[i]) argv[count++] = arena_printf(a, "-Wl,-u,%s", interface[i]);
    }
    for (size_t i = 0; i < in->count; i++) argv[count++] = in->object[i];
    argv[count++] = library;
    count = add_words(argv, count, linalg);
    count = add_words(argv, count, words);
    const bool ok = run("linker", argv, NULL, d);
    remove(exports);
    if (ok) return move(temporary, o->output, d);
    remove(temporary);
    return false;
}

bool link_run_dot(arena *a, const char *dot, const char *output, diag *d)
{
    char *temporary = link_temporary(a, output, ".tmp");
    char *argv[] = {arena_strdup(a, "dot"), arena_strdup(a, "-Tsvg"), arena_strdup(a, "-o"), temporary,
                    arena_strdup(a, dot), NULL};
    if (!run("graph drawer (Debian package graphviz)", argv, NULL, d)) {
        remove(temporary);
        return false;
    }
    return move(temporary, output, d);
}
