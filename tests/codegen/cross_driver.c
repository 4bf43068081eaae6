/* cross_driver.c: runs graph `predict` of a compiled model without the runtime library, for processors that the tests
 * emulate. Standard input: int64 N, then the bytes of each x port and of each variable; standard output: those of each
 * output. */
#include "tfcc_rt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t sizes[] = {1, 1, 2, 4, 8, 1, 2, 4, 8, 2, 2, 4, 8}; /* bytes, by tfcc_dtype */

static size_t bytes_of(const tfcc_shape *s, int64_t n)
{
    size_t bytes = sizes[s->dtype];
    for (uint32_t d = 0; d < s->rank; d++) bytes *= (size_t)(s->dim[d] * (s->batch >> d & 1 ? n : 1));
    return bytes;
}

static void *read_array(size_t bytes)
{
    void *data = calloc(1, bytes + 64);
    if (!data || fread(data, 1, bytes, stdin) != bytes) exit(2);
    return data;
}

static char *aligned(size_t bytes)
{
    char *memory = aligned_alloc(64, (bytes + 191) / 64 * 64);
    if (!memory) exit(2);
    return memory;
}

static void run_launch(const tfcc_program *p, const tfcc_launch *l, int64_t n, char *const *base, void *scratch)
{
    void *arg[64];
    if (l->arg_count > 64 || l->loop_launches) exit(3);
    for (uint32_t i = 0; i < l->arg_count; i++) {
        const tfcc_place *at = &l->arg[i];
        const uint64_t step = at->space == TFCC_BATCH ? at->offset * (uint64_t)n : at->offset;
        switch (at->space) {
        case TFCC_FIXED: arg[i] = base[0] + step; break;
        case TFCC_BATCH: arg[i] = base[1] + step; break;
        case TFCC_CONSTANT: arg[i] = (char *)p->constants + step; break;
        case TFCC_VARIABLE: arg[i] = base[2 + at->offset]; break;
        case TFCC_INPUT: arg[i] = base[2 + p->variable_count + at->offset]; break;
        default: arg[i] = base[2 + p->variable_count + p->port_count + at->offset]; break;
        }
    }
    int64_t rows = l->rows * (l->rows_batch ? n : 1), tasks = (rows + l->grain - 1) / l->grain * l->times;
    for (int64_t t = 0; t < tasks; t++) l->run(arg, n, t, scratch);
}

int main(void)
{
    const tfcc_program *p = tfcc_get_program();
    const tfcc_graph *g = p->graph;
    int64_t n;
    if (strcmp(g->name, "predict") != 0 || fread(&n, sizeof n, 1, stdin) != 1) return 2;
    char **base = calloc(2 + p->variable_count + p->port_count + g->output_count, sizeof *base);
    if (!base) return 2;
    base[0] = aligned(g->fixed_bytes);
    base[1] = aligned(g->batch_bytes * (uint64_t)n);
    char **variable = base + 2, **port = variable + p->variable_count, **output = port + p->port_count;
    for (uint64_t i = 0; i < p->port_count; i++) {
        if (p->port[i].kind == TFCC_PORT_X) port[i] = read_array(bytes_of(&p->port[i].shape, n));
    }
    for (uint64_t i = 0; i < p->variable_count; i++) {
        if (p->variable[i].role == TFCC_WEIGHT) variable[i] = read_array(bytes_of(&p->variable[i].shape, n));
    }
    for (uint64_t i = 0; i < g->output_count; i++) output[i] = aligned(bytes_of(&g->output[i].shape, n));
    void *scratch = aligned(p->scratch_bytes);
    *(int64_t *)scratch = 1;
    for (uint64_t i = 0; i < g->launch_count; i++) run_launch(p, &g->launch[i], n, base, scratch);
    for (uint64_t i = 0; i < g->output_count; i++) fwrite(output[i], 1, bytes_of(&g->output[i].shape, n), stdout);
    return 0;
}
