/* explain_tune.c: `compile --explain tune`: every distinct product, what the model of caches and registers chose for it, what
 * was measured to be better, and by how much. */
#include "explain.h"

void explain_tune(FILE *to, const codegen_tune_report *report, const char *cache)
{
    double planned = 0, chosen = 0;
    fprintf(to, "%zu distinct products; choices in %s for\n%s\n", report->count, cache, report->machine);
    for (size_t i = 0; i < report->count; i++) {
        const codegen_tuned *k = &report->item[i];
        fprintf(to, "%s %s, in %zu places: %s", k->id, k->name, k->uses, k->planned);
        if (k->trouble) {
            fprintf(to, "; not measured: %s\n", k->trouble);
        } else if (k->planned_us == 0) {
            fputs("; not measured\n", to);
        } else if (k->chosen_us < k->planned_us) {
            fprintf(to, " -> %s: %.1f us -> %.1f us, %.2f times\n", k->chosen, k->planned_us, k->chosen_us, k->planned_us / k->chosen_us);
        } else {
            fprintf(to, ": stays, %.1f us\n", k->planned_us);
        }
        planned += k->planned_us * (double)k->uses;
        chosen += k->chosen_us * (double)k->uses;
    }
    if (chosen > 0) fprintf(to, "all once: %.1f us -> %.1f us, %.2f times\n", planned, chosen, planned / chosen);
}
