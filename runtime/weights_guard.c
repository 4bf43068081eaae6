/* weights_guard.c: see weights_guard.h. The child writes to memory shared with its parent; its messages go to the same
 * standard error. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "weights_guard.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Bytes of all variables that reading may change, each on a line of its own: factors of low-rank terms, which stand in no
 * file, are among them. */
static uint64_t place_variables(const model *m, char *base, void **out_address)
{
    uint64_t used = 0;
    for (uint64_t i = 0; i < m->program->variable_count; i++) {
        const tfcc_variable *v = &m->program->variable[i];
        if (!v->h5 && v->role != TFCC_WEIGHT) continue;
        if (base) out_address[i] = base + used;
        used += (model_variable_bytes(m, i) + 63) / 64 * 64;
    }
    return used;
}

/* Exchanges the contents of the variables and of `shared`, in one direction. */
static void copy_variables(const model *m, void *const *shared, bool to_shared)
{
    for (uint64_t i = 0; i < m->program->variable_count; i++) {
        if (!shared[i]) continue;
        void *from = to_shared ? m->variable[i] : shared[i];
        memcpy(to_shared ? shared[i] : m->variable[i], from, (size_t)model_variable_bytes(m, i));
    }
}

static int run_child(model *m, void *const *shared, char *said, bool (*read)(model *m, const void *context), const void *context)
{
    const struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    if (m->r->said) m->r->said = said;
    for (uint64_t i = 0; i < m->program->variable_count; i++) {
        if (shared[i]) m->variable[i] = shared[i];
    }
    bool ok = read(m, context);
    if (!m->r->said) fflush(stderr);
    return ok ? 0 : m->r->status;
}

/* The child's end as that of the parent. */
static bool take_status(model *m, const char *name, int status)
{
    if (WIFSIGNALED(status)) {
        return rt_wrong(m->r, "%s: damaged: expected a weights file, found one on which the HDF5 library fails", name);
    }
    m->r->status = WEXITSTATUS(status);
    return m->r->status == 0;
}

bool weights_guard(model *m, const char *name, bool (*read)(model *m, const void *context), const void *context)
{
    void **shared = rt_alloc_many(m->r, m->program->variable_count, sizeof *shared, "a weights file");
    if (!shared) return false;
    const uint64_t size = place_variables(m, NULL, NULL) + 64 + m->r->said_room;
    char *memory = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return rt_failed(m->r, "out of memory (%llu bytes for weights)", (unsigned long long)size);
    char *said = memory + place_variables(m, memory, shared);
    copy_variables(m, shared, true);
    if (!m->r->said) fflush(stdout);
    pid_t child = fork();
    if (child == 0) _exit(run_child(m, shared, said, read, context));
    int status = 0;
    bool ok = child > 0;
    if (!ok) rt_failed(m->r, "cannot start a process to read %s: %s", name, strerror(errno));
    while (ok && waitpid(child, &status, 0) < 0) {
        if (errno != EINTR) ok = rt_failed(m->r, "cannot wait for the reading of %s: %s", name, strerror(errno));
    }
    if (ok && m->r->said) memcpy(m->r->said, said, m->r->said_room);
    ok = ok && take_status(m, name, status);
    if (ok) copy_variables(m, shared, false);
    munmap(memory, (size_t)size);
    rt_free(m->r, shared);
    return ok;
}
