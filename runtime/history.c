/* history.c: see history.h. */
#include "history.h"

#include "file.h"
#include "number.h"

#include <stdlib.h>
#include <string.h>

void history_init(history *h, rt *r, const log_key *key, uint64_t keys)
{
    *h = (history){.r = r, .keys = keys, .key = key};
    for (uint64_t i = 0; i < keys; i++) h->values += key[i].size;
}

/* At least `wanted` numbers of room at *array, which holds `used`. */
static bool grow(rt *r, double **array, uint64_t used, uint64_t *capacity, uint64_t wanted)
{
    if (wanted <= *capacity) return true;
    uint64_t room = wanted > 2 * *capacity ? wanted : 2 * *capacity;
    double *bigger = rt_alloc_many(r, room, sizeof *bigger, "the history");
    if (!bigger) return false;
    if (used > 0) memcpy(bigger, *array, (size_t)used * sizeof *bigger);
    rt_free(r, *array);
    *array = bigger;
    *capacity = room;
    return true;
}

bool history_reserve(history *h, uint64_t batches)
{
    return grow(h->r, &h->batch_loss, h->batches, &h->batch_capacity, h->batches + batches);
}

void history_add_batch(history *h, double loss) { h->batch_loss[h->batches++] = loss; }

bool history_add_epoch(history *h, const double *value)
{
    uint64_t used = h->epochs * h->values;
    if (!grow(h->r, &h->value, used, &h->capacity, used + h->values)) return false;
    memcpy(h->value + used, value, (size_t)h->values * sizeof *value);
    h->epochs++;
    return true;
}

/* A number, or a list of them. */
static void write_value(output *out, const log_key *key, const double *value)
{
    char text[NUMBER_ROOM];
    if (key->is_list) output_printf(out, "[");
    for (uint64_t i = 0; i < key->size; i++)
        output_printf(out, "%s%s", i > 0 ? ", " : "", number_show(value[key->first + i], text));
    if (key->is_list) output_printf(out, "]");
}

/* `count` values, `step` numbers apart. */
static void write_list(output *out, const log_key *key, const double *value, uint64_t count, uint64_t step)
{
    output_printf(out, "\"%s\": [", key->name);
    for (uint64_t i = 0; i < count; i++) {
        output_printf(out, "%s", i > 0 ? ", " : "");
        write_value(out, key, value + i * step);
    }
    output_printf(out, "]");
}

bool history_write(const history *h, const char *path)
{
    static const log_key batch_loss = {.name = "batch_loss", .size = 1};
    output out;
    if (!output_open(&out, h->r, path)) return false;
    output_printf(&out, "{");
    for (uint64_t i = 0; i < h->keys; i++) {
        write_list(&out, &h->key[i], h->value, h->epochs, h->values);
        output_printf(&out, ", ");
    }
    write_list(&out, &batch_loss, h->batch_loss, h->batches, 1);
    output_printf(&out, "}\n");
    return output_close(&out);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const log_key *const *)a)->name, (*(const log_key *const *)b)->name);
}

bool history_write_csv(const history *h, const char *path)
{
    output out;
    const log_key **sorted = rt_alloc_many(h->r, h->keys, sizeof *sorted, "the CSV log");
    if (!sorted || !output_open(&out, h->r, path)) return false;
    for (uint64_t i = 0; i < h->keys; i++) sorted[i] = &h->key[i];
    if (h->keys > 0) qsort(sorted, (size_t)h->keys, sizeof *sorted, compare_names);
    output_printf(&out, "epoch");
    for (uint64_t i = 0; i < h->keys; i++) output_printf(&out, ",%s", sorted[i]->name);
    output_printf(&out, "\n");
    for (uint64_t e = 0; e < h->epochs; e++) {
        output_printf(&out, "%llu", (unsigned long long)e);
        for (uint64_t i = 0; i < h->keys; i++) {
            output_printf(&out, sorted[i]->is_list ? ",\"\"\"" : ",");
            write_value(&out, sorted[i], h->value + e * h->values);
            output_printf(&out, "%s", sorted[i]->is_list ? "\"\"\"" : "");
        }
        output_printf(&out, "\n");
    }
    rt_free(h->r, sorted);
    return output_close(&out);
}
