/* ir_text_fuzz.c: hostile IR text must be refused with diagnostics, and what parses must print to
 * text that parses back to the same print. */
#include "ir/ir.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static ir_module *parse(arena *a, const char *source, size_t length)
{
    diag d = {.arena = a, .file = "fuzz"};
    return ir_module_parse(a, source, length, &d);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    arena a = {0};
    ir_module *m = parse(&a, (const char *)bytes, size);
    if (m) {
        text first = {0}, second = {0};
        ir_module_print(m, &first);
        ir_module *again = parse(&a, text_get(&first), first.length);
        bug_if(!again, "the print does not parse:\n%s", text_get(&first));
        ir_module_print(again, &second);
        bug_if(strcmp(text_get(&first), text_get(&second)) != 0, "prints differ:\n%s\n%s",
               text_get(&first), text_get(&second));
        text_done(&first);
        text_done(&second);
    }
    arena_done(&a);
    return 0;
}
