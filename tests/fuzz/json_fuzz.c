/* json_fuzz.c: any bytes as model.json: the frontend must answer with a module or with messages, never crash, never
 * run away. */
#include "frontend/frontend.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    arena a = {0};
    diag d = {.arena = &a, .file = "fuzz.json"};
    const frontend_options options = {0};
    frontend_model *m = frontend_read_text(&a, "fuzz.json", (const char *)data, size, &options, &d);
    bug_if(!m && !diag_has_errors(&d), "refused without a message");
    for (size_t i = 0; m && i < m->module->graph_count; i++) ir_graph_verify(m->module->graph[i], "frontend");
    arena_done(&a);
    return 0;
}
