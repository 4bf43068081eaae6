/* dataset.c: keys of an .npz file are matched with ports; see dataset.h. */
#include "dataset.h"

#include "columns.h"
#include "convert.h"
#include "philox.h"
#include "ragged.h"
#include "ragged_data.h"
#include "sparse_data.h"
#include "strings.h"

#include <stdlib.h>
#include <string.h>

static const char *const kind_keys[] = {
    [TFCC_PORT_X] = "x",
    [TFCC_PORT_Y] = "y",
    [TFCC_PORT_SAMPLE_WEIGHT] = "sample_weight",
};

/* Plain "x" stands for the one input; plain "y" and "sample_weight" for the one output. A plain sample_weight
 * is also allowed with several outputs: it holds for each. */
static bool is_plain(const tfcc_program *p, uint32_t kind)
{
    return kind == TFCC_PORT_X ? p->single_input : p->single_output;
}

/* The key of a port, as messages name it. */
static const char *show_key(rt *r, const tfcc_port *port)
{
    const char *key = kind_keys[port->kind];
    const char *text = is_plain(r->program, port->kind) ? key : rt_printf(r, "%s.%s", key, port->name);
    return text ? text : key;
}

static bool key_names_port(const tfcc_program *p, const char *key, const tfcc_port *port)
{
    const char *kind = kind_keys[port->kind];
    size_t length = strlen(kind);
    if (strncmp(key, kind, length) != 0) return false;
    if (key[length] == '.') return strcmp(key + length + 1, port->name) == 0;
    return key[length] == 0 && (is_plain(p, port->kind) || port->kind == TFCC_PORT_SAMPLE_WEIGHT);
}

static bool is_ragged_key(const tfcc_program *p, const tfcc_port *port, const char *key, ragged_member *out_member)
{
    return port->kind != TFCC_PORT_MADE && ragged_key(port, kind_keys[port->kind], is_plain(p, port->kind), key, out_member);
}

typedef struct selection {
    const rt *r;
    dataset_use use;
} selection;

static bool is_used(const tfcc_port *port, dataset_use use)
{
    return port->kind == TFCC_PORT_X || (use == DATASET_ALL && port->kind != TFCC_PORT_MADE);
}

static bool is_wanted(const void *context, const char *name)
{
    const selection *s = context;
    const tfcc_program *p = s->r->program;
    for (uint64_t i = 0; i < p->port_count; i++) {
        sparse_member member;
        ragged_member part;
        if (!is_used(&p->port[i], s->use)) continue;
        if (is_ragged_key(p, &p->port[i], name, &part)) return true;
        if (key_names_port(p, name, &p->port[i]) || sparse_key(p, &p->port[i], name, &member)) return true;
    }
    return false;
}

/* Arrays that predict may find beside its inputs. */
static bool is_target_key(const char *name)
{
    return strncmp(name, "y.", 2) == 0 || strcmp(name, "y") == 0 || strncmp(name, "sample_weight", 13) == 0;
}

/* Labels and weights of an output that has no loss and no metric: Keras takes them and does not use them. */
static bool is_idle_output(const rt *r, const char *name)
{
    const tfcc_graph *predict = rt_find_graph(r, "predict");
    const char *dot = strchr(name, '.');
    for (uint64_t i = 0; predict && dot && is_target_key(name) && i < predict->output_count; i++) {
        if (strcmp(predict->output[i].name, dot + 1) == 0) return true;
    }
    return !dot && is_target_key(name) && r->program->single_output;
}

static bool refuse_key(rt *r, const char *path, const char *name)
{
    const tfcc_program *p = r->program;
    for (uint64_t i = 0; i < p->port_count; i++) {
        if (p->port[i].ragged == 0 || p->port[i].kind == TFCC_PORT_MADE || !key_names_port(p, name, &p->port[i])) continue;
        return rt_wrong(r, "%s: array \"%s\": expected ragged rows, \"%s.values\" and \"%s.row_splits\", found one array", path, name,
                        name, name);
    }
    const char **known = rt_alloc_many(r, p->port_count, sizeof *known, "port names");
    if (!known) return false;
    char *list = rt_printf(r, "%s", "");
    for (uint64_t i = 0; list && i < p->port_count; i++) {
        known[i] = show_key(r, &p->port[i]);
        list = rt_printf(r, "%s%s%s", list, i > 0 ? ", " : "", known[i]);
    }
    const char *near = rt_nearest(name, known, (size_t)p->port_count);
    if (near) return rt_wrong(r, "%s: unknown array \"%s\"; did you mean \"%s\"?", path, name, near);
    return rt_wrong(r, "%s: unknown array \"%s\"; expected %s", path, name, list ? list : "");
}

static bool check_rows(rt *r, const char *path, const npz_array *a, dataset *d, const char **first)
{
    int64_t rows = a->rank > 0 ? a->dim[0] : 0;
    if (a->rank > 0 && !*first) {
        d->rows = rows;
        *first = a->name;
    }
    if (rows == d->rows) return true;
    return rt_wrong(r, "%s: array \"%s\": expected %lld rows as in \"%s\", found %lld", path, a->name,
                    (long long)d->rows, *first ? *first : "", (long long)rows);
}

/* A second port that the same plain sample_weight serves gets a copy. */
static bool keep_copy(rt *r, const npz_array *a, npz_array *out_copy)
{
    uint64_t bytes = a->count * rt_dtype_size(a->dtype);
    *out_copy = *a;
    out_copy->data = out_copy->block = rt_alloc(r, bytes, "sample weights");
    if (!out_copy->data) return false;
    if (bytes > 0) memcpy(out_copy->data, a->data, (size_t)bytes);
    return true;
}

static bool read_columns(dataset *d, rt *r, const char *path, npz_file *f, dataset_use use)
{
    const tfcc_program *p = r->program;
    const char *first = NULL;
    sparse_parts *parts = rt_alloc_many(r, p->port_count, sizeof *parts, "a data set");
    ragged_parts *ragged = rt_alloc_many(r, p->port_count, sizeof *ragged, "a data set");
    if (!parts || !ragged) return false;
    for (uint64_t k = 0; k < f->count; k++) {
        npz_array *a = &f->array[k];
        bool known = (use == DATASET_INPUTS && is_target_key(a->name)) || is_idle_output(r, a->name);
        bool plain_weight = strcmp(a->name, "sample_weight") == 0;
        for (uint64_t i = 0; i < p->port_count; i++) {
            sparse_member member;
            ragged_member part;
            if (!is_used(&p->port[i], use)) continue;
            if (is_ragged_key(p, &p->port[i], a->name, &part)) {
                ragged[i].member[part] = a;
                known = true;
            }
            if (p->port[i].ragged > 0) continue;
            if (sparse_key(p, &p->port[i], a->name, &member)) {
                parts[i].member[member] = a;
                known = true;
            }
            if (!key_names_port(p, a->name, &p->port[i])) continue;
            if (d->column[i].data) return rt_wrong(r, "%s: array \"%s\" is given twice", path, a->name);
            npz_array copy = *a;
            if (plain_weight && !p->single_output && !keep_copy(r, a, &copy)) return false;
            if (!check_rows(r, path, a, d, &first)) return false;
            if (!column_read(r, path, &p->port[i], &copy, &d->column[i])) return false;
            known = true;
        }
        if (!known) return refuse_key(r, path, a->name);
    }
    for (uint64_t i = 0; i < p->port_count; i++) {
        int64_t rows;
        const bool is_ragged = p->port[i].ragged > 0 && is_used(&p->port[i], use);
        if (!is_ragged && !sparse_has_parts(&parts[i])) continue;
        const char *key = show_key(r, &p->port[i]);
        if (d->column[i].data) return rt_wrong(r, "%s: array \"%s\" is given twice", path, key);
        if (is_ragged ? !ragged_read(r, path, key, &p->port[i], &ragged[i], &rows, &d->column[i])
                      : !sparse_read(r, path, key, &p->port[i], &parts[i], &rows, &d->column[i]))
            return false;
        const npz_array all = {.name = (char *)(uintptr_t)key, .rank = 1, .dim = {rows}};
        if (!check_rows(r, path, &all, d, &first)) return false;
    }
    return true;
}

static bool complete_columns(dataset *d, rt *r, const char *path, dataset_use use)
{
    const tfcc_program *p = r->program;
    for (uint64_t i = 0; i < p->port_count; i++) {
        const tfcc_port *port = &p->port[i];
        if (d->column[i].data || !is_used(port, use)) continue;
        if (port->kind != TFCC_PORT_SAMPLE_WEIGHT) {
            return rt_wrong(r, "%s: array \"%s\" is missing: expected shape %s", path, show_key(r, port),
                            rt_shape_show(r, port->shape.rank, port->shape.dim, port->shape.batch));
        }
        if (!column_fill_ones(r, port, d->rows, &d->column[i])) return false;
    }
    return true;
}

/* The port whose rows those of a ragged port must be: of inputs that are combined, and of labels; its own number: any. */
static uint64_t port_alike(const tfcc_program *p, uint64_t number)
{
    const tfcc_port *port = &p->port[number];
    if (port->ragged == 0 || port->part != TFCC_VALUES) return number;
    return ragged_port(p, (port->kind == TFCC_PORT_X && port->like > 0 ? port->like : port->ragged) - 1);
}

static bool check_alike(const dataset *d, rt *r, const char *path)
{
    const tfcc_program *p = r->program;
    for (uint64_t i = 0; i < p->port_count; i++) {
        const uint64_t other = port_alike(p, i);
        const int64_t *a = d->column[i].ends, *b = d->column[other].ends;
        for (int64_t k = 0; other != i && a && k < d->rows; k++) {
            if (a[k] == b[k]) continue;
            return rt_wrong(r, "%s: arrays \"%s.row_splits\" and \"%s.row_splits\": expected the same, since the model combines these %s; "
                               "found %lld and %lld at %lld", path, show_key(r, &p->port[other]), show_key(r, &p->port[i]),
                            p->port[i].kind == TFCC_PORT_X ? "inputs" : "rows", (long long)b[k], (long long)a[k], (long long)k + 1);
        }
    }
    return true;
}

bool dataset_read(dataset *d, rt *r, const char *path, dataset_use use)
{
    input in;
    npz_file f;
    selection s = {.r = r, .use = use};
    *d = (dataset){.column = rt_alloc_many(r, r->program->port_count, sizeof *d->column, "a data set")};
    if (!d->column || !input_open(&in, r, path)) return false;
    bool read = npz_read(&f, &in, is_wanted, &s);
    input_close(&in);
    if (!read || !read_columns(d, r, path, &f, use) || !complete_columns(d, r, path, use)) return false;
    if (!check_alike(d, r, path)) return false;
    return d->rows > 0 || rt_wrong(r, "%s: expected at least one row, found none", path);
}

/* Random elements in the port's range for `rows` rows or values. */
static void fill_random(const tfcc_port *port, uint64_t number, int64_t rows, char *to)
{
    const uint64_t count = rt_shape_row_elements(&port->shape) * (uint64_t)rows;
    const bool is_float = rt_dtype_is_float(port->shape.dtype);
    for (uint64_t k = 0; k < count; k++, to += rt_dtype_size(port->shape.dtype)) {
        const double u = (double)(philox_mix(number << 40 | k) >> 11) * 0x1p-53;
        const double value = port->classes > 0 ? (double)(int64_t)(u * (double)port->classes)
                             : is_float        ? u
                                               : u < 0.5;
        convert_elements(to, port->shape.dtype, &value, TFCC_F64, 1);
    }
}

bool dataset_make(dataset *d, rt *r, int64_t rows, dataset_use use)
{
    const tfcc_program *p = r->program;
    *d = (dataset){.rows = rows, .column = rt_alloc_many(r, p->port_count, sizeof *d->column, "a data set")};
    if (!d->column) return false;
    for (uint64_t i = 0; i < p->port_count; i++) {
        const tfcc_port *port = &p->port[i];
        if (!is_used(port, use)) continue;
        if (port->ragged > 0) {
            if (!ragged_make(r, port, rows, &d->column[i])) return false;
            const int64_t values = d->column[i].ends[rows - 1];
            if (port->shape.dtype != TFCC_STR)
                fill_random(port, i, values, d->column[i].data);
            else if (!strings_make(r, rt_shape_elements(&port->shape, values), d->column[i].data))
                return false;
            continue;
        }
        if (port->shape.dtype == TFCC_ROW) {
            if (!sparse_make(r, port, rows, &d->column[i])) return false;
            continue;
        }
        if (!column_fill_ones(r, port, rows, &d->column[i])) return false;
        if (port->kind == TFCC_PORT_SAMPLE_WEIGHT) continue;
        uint64_t count = rt_shape_row_elements(&port->shape) * (uint64_t)rows;
        if (port->shape.dtype == TFCC_STR) {
            if (!strings_make(r, count, d->column[i].data)) return false;
            continue;
        }
        fill_random(port, i, rows, d->column[i].data);
    }
    return true;
}

bool dataset_slice(const dataset *d, rt *r, int64_t first, int64_t rows, dataset *out_part)
{
    uint64_t count = r->program->port_count;
    *out_part = (dataset){.rows = rows, .column = rt_alloc_many(r, count, sizeof *d->column, "a data set")};
    if (!out_part->column) return false;
    for (uint64_t i = 0; i < count; i++) {
        out_part->column[i] = d->column[i];
        dataset_column *to = &out_part->column[i];
        if (to->ends) {
            if (first > 0) to->first = to->ends[first - 1];
            to->ends += first;
        } else if (to->data) {
            to->data += (uint64_t)first * to->row_bytes;
        }
    }
    return true;
}

static int compare_lengths(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

bool dataset_most_values(rt *r, const dataset *d, uint64_t port, int64_t rows, int64_t *out_values)
{
    const dataset_column *c = &d->column[port];
    int64_t *length = rt_alloc_many(r, (uint64_t)d->rows, sizeof *length, "the lengths of rows");
    if (!length) return false;
    for (int64_t i = 0; i < d->rows; i++) length[i] = c->ends[i] - (i > 0 ? c->ends[i - 1] : c->first);
    qsort(length, (size_t)d->rows, sizeof *length, compare_lengths);
    *out_values = 0;
    for (int64_t i = 0; i < rows && i < d->rows; i++) *out_values += length[i];
    rt_free(r, length);
    return true;
}
