/* weights_legacy.c: where Keras 2's layout keeps the variables; see weights_reader.h. Layers and their
 * weights belong to the model's by their order, not by their names; within a layer trainable weights come
 * first. */
#include "weights_reader.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_NAMES = 100000, LONGEST_NAME = 4096, MOST_CHUNKS = 1000 };

typedef struct name_list {
    char **name;
    uint64_t count;
} name_list;

/* ---- attributes --------------------------------------------------------------------------------------- */

static bool damaged(const weights_reader *w, const char *what)
{
    return rt_wrong(w->r, "%s: damaged: \"%s\" is not a list of names", w->name, what);
}

/* The number of names in an attribute of text; -1: it is none. Keras writes an empty list as one of numbers.
 */
static int64_t count_names(const weights_reader *w, hid_t attribute, hid_t type)
{
    hid_t space = w->h.H5Aget_space(attribute);
    hssize_t count = space < 0 ? -1 : w->h.H5Sget_simple_extent_npoints(space);
    if (space >= 0) w->h.H5Sclose(space);
    if (count < 0 || count > MOST_NAMES) return -1;
    return count == 0 || w->h.H5Tget_class(type) == H5T_STRING ? count : -1;
}

static bool add_name(const weights_reader *w, name_list *to, const char *name, size_t most)
{
    size_t length = strnlen(name, most);
    char *copy = length < LONGEST_NAME ? rt_printf(w->r, "%.*s", (int)length, name) : NULL;
    if (!copy) return false;
    to->name[to->count++] = copy;
    return true;
}

static bool read_names(const weights_reader *w, hid_t attribute, hid_t type, uint64_t count, name_list *to)
{
    const bool pointers = w->h.H5Tis_variable_str(type) > 0;
    const size_t size = pointers ? sizeof(char *) : w->h.H5Tget_size(type);
    char *bytes = size > LONGEST_NAME ? NULL : rt_alloc_many(w->r, count, size, "a weights file");
    char **name = rt_alloc_many(w->r, to->count + count, sizeof *name, "a weights file");
    if (!bytes || !name || w->h.H5Aread(attribute, type, bytes) < 0) return false;
    if (to->count > 0) memcpy(name, to->name, (size_t)to->count * sizeof *name);
    to->name = name;
    for (uint64_t i = 0; i < count; i++) {
        const char *at = bytes + i * size;
        if (pointers) memcpy(&at, bytes + i * size, sizeof at);
        if (!at || !add_name(w, to, at, pointers ? LONGEST_NAME : size)) return false;
    }
    return true;
}

/* Adds the names of one attribute; *out_found false when it is absent. */
static bool take_attribute(const weights_reader *w, hid_t group, const char *key, name_list *to,
                           bool *out_found)
{
    *out_found = w->h.H5Aexists(group, key) > 0;
    if (!*out_found) return true;
    hid_t attribute = w->h.H5Aopen(group, key, H5P_DEFAULT);
    hid_t type = attribute < 0 ? H5I_INVALID_HID : w->h.H5Aget_type(attribute);
    int64_t count = type < 0 ? -1 : count_names(w, attribute, type);
    bool ok = count >= 0 && (count == 0 || read_names(w, attribute, type, (uint64_t)count, to));
    if (type >= 0) w->h.H5Tclose(type);
    if (attribute >= 0) w->h.H5Aclose(attribute);
    return ok || damaged(w, key);
}

/* The list that attribute `key` of a group holds, or its parts key0, key1, ... of a long one. */
static bool list_names(const weights_reader *w, const char *path, const char *key, name_list *out)
{
    *out = (name_list){.count = 0};
    hid_t group = weights_reader_has(w, path) ? w->h.H5Oopen(w->file, path, H5P_DEFAULT) : H5I_INVALID_HID;
    if (group < 0 || w->h.H5Iget_type(group) != H5I_GROUP)
        return rt_wrong(w->r, "%s: expected a group \"%s\", found none", w->name, path);
    bool found, ok = take_attribute(w, group, key, out, &found);
    for (int i = 0; ok && !found && i < MOST_CHUNKS; i++) {
        const char *part = rt_printf(w->r, "%s%d", key, i);
        ok = part && take_attribute(w, group, part, out, &found);
        if (!found) break;
        found = false;
    }
    w->h.H5Oclose(group);
    return ok;
}

static bool has_attribute(const weights_reader *w, const char *path, const char *key)
{
    hid_t group = weights_reader_has(w, path) ? w->h.H5Oopen(w->file, path, H5P_DEFAULT) : H5I_INVALID_HID;
    if (group < 0) return false;
    bool found = w->h.H5Aexists(group, key) > 0;
    w->h.H5Oclose(group);
    return found;
}

static bool has_layers(const weights_reader *w, const char *path)
{
    return has_attribute(w, path, "layer_names") || has_attribute(w, path, "layer_names0");
}

bool weights_legacy_is(const weights_reader *w)
{
    return has_layers(w, "/") || has_layers(w, "model_weights");
}

/* ---- weights ------------------------------------------------------------------------------------------ */

/* The part of a dataset's path that names its layer, "layers/dense". */
static size_t layer_length(const char *h5)
{
    const char *slash = strchr(h5, '/');
    const char *end = slash ? strchr(slash + 1, '/') : NULL;
    return end ? (size_t)(end - h5) : strlen(h5);
}

static bool is_weight(const tfcc_variable *v) { return v->role == TFCC_WEIGHT && v->h5; }

static bool same_layer(const tfcc_variable *a, const tfcc_variable *b)
{
    size_t length = layer_length(a->h5);
    return length == layer_length(b->h5) && memcmp(a->h5, b->h5, length) == 0;
}

/* The first weight of the next layer after variable `from`. */
static uint64_t next_layer(const tfcc_program *p, uint64_t from)
{
    for (uint64_t i = from; i < p->variable_count; i++) {
        bool first = is_weight(&p->variable[i]);
        for (uint64_t k = 0; first && k < i; k++) {
            first = !is_weight(&p->variable[k]) || !same_layer(&p->variable[k], &p->variable[i]);
        }
        if (first) return i;
    }
    return p->variable_count;
}

static bool place_layer(weights_reader *w, uint64_t first, const char *layer, const char *group,
                        const name_list *names)
{
    const tfcc_program *p = w->m->program;
    uint64_t used = 0;
    for (uint32_t pass = 0; pass < 2; pass++) {
        for (uint64_t i = first; i < p->variable_count; i++) {
            const tfcc_variable *v = &p->variable[i];
            if (!is_weight(v) || !same_layer(v, &p->variable[first]) || (v->trainable != 0) != (pass == 0))
                continue;
            if (used < names->count) w->path[i] = rt_printf(w->r, "%s/%s", group, names->name[used]);
            used++;
        }
    }
    return used == names->count ||
           rt_wrong(w->r,
                    "%s: layer \"%s\": expected %llu weights, as \"%s\" of model \"%s\" has, found %llu",
                    w->name, layer, (unsigned long long)used, p->variable[first].path, p->name,
                    (unsigned long long)names->count);
}

static bool find_weights(weights_reader *w, const char *base)
{
    const tfcc_program *p = w->m->program;
    name_list layers, names;
    uint64_t at = next_layer(p, 0), found = 0, expected = 0;
    if (!list_names(w, base, "layer_names", &layers)) return false;
    for (uint64_t i = at; i < p->variable_count; i = next_layer(p, i + 1)) expected++;
    for (uint64_t i = 0; i < layers.count; i++) {
        const char *group = rt_printf(w->r, "%s/%s", base[0] == '/' ? "" : base, layers.name[i]);
        if (!group) return false;
        group += group[0] == '/';
        if (!list_names(w, group, "weight_names", &names)) return false;
        if (names.count == 0) continue;
        found++;
        if (at == p->variable_count) continue;
        if (!place_layer(w, at, layers.name[i], group, &names)) return false;
        at = next_layer(p, at + 1);
    }
    return found == expected ||
           rt_wrong(w->r, "%s: expected %llu layers with weights, as model \"%s\" has, found %llu", w->name,
                    (unsigned long long)expected, p->name, (unsigned long long)found);
}

/* ---- the optimizer's state --------------------------------------------------------------------------------
 */

/* Optimizers of TensorFlow 2.10 and older keep slot after slot instead of weight after weight, under these
 * names. */
static const struct {
    const char *written, *name;
} slots[] = {
    {"m", "momentum"},
    {"v", "velocity"},
    {"vhat", "velocity_hat"},
    {"rms", "velocity"},
    {"mg", "average_gradient"},
    {"momentum", "momentum"},
    {"accumulator", "accumulator"},
    {"accum_grad", "accumulated_grad"},
    {"accum_var", "accumulated_delta_var"},
    {"linear", "linear"},
};

static bool ends_in(const char *s, const char *end, char before)
{
    size_t length = strlen(s), tail = strlen(end);
    return length > tail && s[length - tail - 1] == before && strcmp(s + length - tail, end) == 0;
}

/* "Adam/dense/kernel/m:0" -> the name of slot "m" here; "" for others. */
static const char *slot_of(const weights_reader *w, const char *written)
{
    char *name = rt_printf(w->r, "%s", written);
    char *colon = name ? strrchr(name, ':') : NULL;
    if (colon) *colon = 0;
    for (size_t i = 0; name && i < RT_COUNT(slots); i++) {
        if (ends_in(name, slots[i].written, '/')) return slots[i].name;
    }
    return "";
}

/* The number in "optimizer/vars/7"; -1 for other paths. */
static int64_t number_of(const char *h5)
{
    static const char head[] = "optimizer/vars/";
    if (strncmp(h5, head, sizeof head - 1) != 0) return -1;
    return strtoll(h5 + sizeof head - 1, NULL, 10);
}

/* The place of variable k among the names: the same slot, and as many of this slot before it. */
static int64_t find_slot(const weights_reader *w, uint64_t k, const name_list *names)
{
    const tfcc_variable *v = w->m->program->variable;
    for (size_t s = 0; s < RT_COUNT(slots); s++) {
        if (!ends_in(v[k].path, slots[s].name, '_')) continue;
        int64_t skip = 0;
        for (uint64_t i = 0; i < k; i++)
            skip += v[i].role == TFCC_OPTIMIZER && v[i].h5 && ends_in(v[i].path, slots[s].name, '_');
        for (uint64_t i = 0; i < names->count; i++) {
            if (strcmp(slot_of(w, names->name[i]), slots[s].name) == 0 && skip-- == 0) return (int64_t)i;
        }
    }
    return -1;
}

static bool find_optimizer(weights_reader *w)
{
    static const char group[] = "optimizer_weights";
    const tfcc_program *p = w->m->program;
    name_list names;
    if (!weights_reader_has(w, group)) return true;
    if (!list_names(w, group, "weight_names", &names)) return false;
    w->optimizer_found = names.count;
    bool old = names.count > 0 && strstr(names.name[0], "iter:0") != NULL;
    for (uint64_t i = 0; i < p->variable_count; i++) {
        const tfcc_variable *v = &p->variable[i];
        if (v->role != TFCC_OPTIMIZER || !v->h5) continue;
        int64_t number = number_of(v->h5);
        if (old && number > 0) number = find_slot(w, i, &names);
        if (number >= 0 && (uint64_t)number < names.count)
            w->path[i] = rt_printf(w->r, "%s/%s", group, names.name[number]);
    }
    return true;
}

bool weights_legacy_find(weights_reader *w)
{
    return find_weights(w, has_layers(w, "model_weights") ? "model_weights" : "/") && find_optimizer(w);
}
