/* sparse_data.c: see sparse_data.h. */
#include "sparse_data.h"

#include "convert.h"
#include "philox.h"
#include "sparse/sparse.h"

#include <string.h>

static const char *const members[SPARSE_MEMBERS] = {"indices", "values", "shape", "data", "indptr", "row", "col", "format"};

bool sparse_key(const tfcc_program *p, const tfcc_port *port, const char *key, sparse_member *out_member)
{
    const size_t length = strlen(port->name);
    if (port->shape.dtype != TFCC_ROW) return false;
    if (strncmp(key, "x.", 2) == 0) {
        key += 2;
        if (strncmp(key, port->name, length) == 0 && key[length] == '.')
            key += length + 1;
        else if (!p->single_input)
            return false;
    } else if (!p->single_input) {
        return false;
    }
    for (int i = 0; i < SPARSE_MEMBERS; i++) {
        if (strcmp(key, members[i]) != 0) continue;
        *out_member = (sparse_member)i;
        return true;
    }
    return false;
}

bool sparse_has_parts(const sparse_parts *s)
{
    for (int i = 0; i < SPARSE_MEMBERS; i++) {
        if (s->member[i]) return true;
    }
    return false;
}

/* ---- checks ----------------------------------------------------------------------------------- */

typedef struct reading {
    rt *r;
    const char *path, *key;
    const sparse_parts *s;
    int64_t rows, columns;
    uint64_t entries;
    int64_t *row, *column; /* per entry */
    float *value;
} reading;

static bool refuse(const reading *x, const char *what)
{
    return rt_wrong(x->r, "%s: sparse array \"%s\": %s", x->path, x->key, what);
}

/* The member's elements in another type; NULL after a message. */
static void *get_member(reading *x, sparse_member which, uint32_t rank, uint32_t dtype)
{
    npz_array *a = x->s->member[which];
    const bool is_float = a && rt_dtype_is_float(a->dtype);
    if (!a) {
        rt_wrong(x->r, "%s: sparse array \"%s\": \"%s\" is missing", x->path, x->key, members[which]);
        return NULL;
    }
    if (a->rank != rank || a->dtype == TFCC_STR || (dtype == TFCC_I64 && is_float)) {
        rt_wrong(x->r, "%s: array \"%s\": expected %s of %u dimensions, found %s of %u", x->path, a->name,
                 dtype == TFCC_I64 ? "integers" : "numbers", (unsigned)rank, rt_dtype_name(a->dtype), (unsigned)a->rank);
        return NULL;
    }
    void *to = rt_alloc_many(x->r, a->count, rt_dtype_size(dtype), "a sparse array");
    if (!to || convert_elements(to, dtype, a->data, a->dtype, a->count) == UINT64_MAX) return to;
    rt_wrong(x->r, "%s: array \"%s\": expected numbers that fit %s", x->path, a->name, rt_dtype_name(dtype));
    return NULL;
}

static int64_t *get_integers(reading *x, sparse_member which, uint32_t rank)
{
    return get_member(x, which, rank, TFCC_I64);
}

/* Memory for x->entries entries. */
static bool make_entries(reading *x)
{
    x->row = rt_alloc_many(x->r, x->entries, sizeof *x->row, "a sparse array");
    x->column = rt_alloc_many(x->r, x->entries, sizeof *x->column, "a sparse array");
    x->value = rt_alloc_many(x->r, x->entries, sizeof *x->value, "a sparse array");
    return x->row && x->column && x->value;
}

static bool read_shape(reading *x)
{
    const int64_t *shape = get_integers(x, SPARSE_shape, 1);
    if (!shape) return false;
    if (x->s->member[SPARSE_shape]->count != 2 || shape[0] < 0 || shape[1] != x->columns)
        return rt_wrong(x->r, "%s: sparse array \"%s\": expected shape [N,%lld], found another", x->path, x->key,
                        (long long)x->columns);
    x->rows = shape[0];
    return true;
}

/* Row numbers of compressed rows. */
static bool expand_rows(reading *x)
{
    const int64_t *start = get_integers(x, SPARSE_indptr, 1);
    if (!start) return false;
    if (x->s->member[SPARSE_indptr]->count != (uint64_t)x->rows + 1 || start[0] != 0 || start[x->rows] != (int64_t)x->entries)
        return refuse(x, "expected indptr of one number more than rows, from 0 to the number of entries");
    x->row = rt_alloc_many(x->r, x->entries, sizeof *x->row, "a sparse array");
    if (!x->row) return false;
    for (int64_t i = 0; i < x->rows; i++) {
        if (start[i + 1] < start[i] || start[i + 1] > (int64_t)x->entries)
            return refuse(x, "expected indptr that never decreases");
        for (int64_t k = start[i]; k < start[i + 1]; k++) x->row[k] = i;
    }
    return true;
}

static bool split_pairs(reading *x)
{
    const npz_array *a = x->s->member[SPARSE_indices];
    const int64_t *pair = get_integers(x, SPARSE_indices, 2);
    if (!pair) return false;
    if (a->dim[1] != 2) return refuse(x, "expected indices of two numbers each");
    x->row = rt_alloc_many(x->r, a->count / 2, sizeof *x->row, "a sparse array");
    x->column = rt_alloc_many(x->r, a->count / 2, sizeof *x->column, "a sparse array");
    if (!x->row || !x->column) return false;
    for (uint64_t i = 0; i < a->count / 2; i++) {
        x->row[i] = pair[2 * i];
        x->column[i] = pair[2 * i + 1];
    }
    return x->entries == a->count / 2 || refuse(x, "expected as many values as indices");
}

static bool read_entries(reading *x)
{
    const sparse_parts *s = x->s;
    const sparse_member values = s->member[SPARSE_values] ? SPARSE_values : SPARSE_data;
    if (!(x->value = get_member(x, values, 1, TFCC_F32))) return false;
    x->entries = s->member[values]->count;
    if (s->member[SPARSE_indptr]) {
        if (!(x->column = get_integers(x, SPARSE_indices, 1))) return false;
        return s->member[SPARSE_indices]->count == x->entries ? expand_rows(x)
                                                               : refuse(x, "expected as many indices as entries");
    }
    if (!s->member[SPARSE_row]) return split_pairs(x);
    if (!(x->row = get_integers(x, SPARSE_row, 1)) || !(x->column = get_integers(x, SPARSE_col, 1))) return false;
    return (s->member[SPARSE_row]->count == x->entries && s->member[SPARSE_col]->count == x->entries) ||
           refuse(x, "expected as many rows and columns as entries");
}

/* In range, in row-major order, each place once. */
static bool check_entries(const reading *x)
{
    for (uint64_t i = 0; i < x->entries; i++) {
        if (x->row[i] < 0 || x->row[i] >= x->rows || x->column[i] < 0 || x->column[i] >= x->columns)
            return rt_wrong(x->r, "%s: sparse array \"%s\": entry %llu lies at [%lld,%lld], outside of [%lld,%lld]", x->path,
                            x->key, (unsigned long long)i, (long long)x->row[i], (long long)x->column[i],
                            (long long)x->rows, (long long)x->columns);
        if (i == 0) continue;
        const bool same_row = x->row[i] == x->row[i - 1];
        if (x->row[i] > x->row[i - 1] || (same_row && x->column[i] > x->column[i - 1])) continue;
        return rt_wrong(x->r, "%s: sparse array \"%s\": entry %llu at [%lld,%lld] %s", x->path, x->key,
                        (unsigned long long)i, (long long)x->row[i], (long long)x->column[i],
                        same_row && x->column[i] == x->column[i - 1]
                            ? "is there twice; sum_duplicates() adds such entries"
                            : "is out of order: expected rows, and columns within them, ascending (sort_indices())");
    }
    return true;
}

/* ---- records ---------------------------------------------------------------------------------- */

static bool make_records(reading *x, dataset_column *out)
{
    uint64_t *element = rt_alloc_many(x->r, (uint64_t)x->rows, sizeof *element, "a sparse array");
    char *to = rt_alloc(x->r, x->entries * 8 + (uint64_t)x->rows * sizeof(sparse_row), "a sparse array");
    if (!element || !to) return false;
    uint64_t at = 0;
    for (int64_t i = 0; i < x->rows; i++) {
        sparse_row *row = (sparse_row *)(void *)to;
        const uint64_t first = at;
        while (at < x->entries && x->row[at] == i) at++;
        if (at == first) continue;
        row->count = (uint32_t)(at - first);
        float *value = (float *)(void *)(row->column + row->count);
        for (uint64_t k = first; k < at; k++) {
            row->column[k - first] = (uint32_t)x->column[k];
            value[k - first] = x->value[k];
        }
        element[i] = (uint64_t)(uintptr_t)row;
        to += sparse_row_bytes(row->count);
    }
    *out = (dataset_column){.data = (char *)element, .row_bytes = sizeof *element};
    return true;
}

static void release(reading *x)
{
    rt_free(x->r, x->row);
    rt_free(x->r, x->column);
    rt_free(x->r, x->value);
}

bool sparse_read(rt *r, const char *path, const char *key, const tfcc_port *port, const sparse_parts *s, int64_t *out_rows,
                 dataset_column *out_column)
{
    reading x = {.r = r, .path = path, .key = key, .s = s, .columns = port->classes};
    const npz_array *format = s->member[SPARSE_format];
    if (format && !s->member[SPARSE_indptr] && !s->member[SPARSE_row] && !s->member[SPARSE_values])
        return refuse(&x, "expected the layout of csr_matrix or coo_matrix: use tocsr()");
    if (!read_shape(&x) || !read_entries(&x) || !check_entries(&x) || !make_records(&x, out_column)) return false;
    *out_rows = x.rows;
    release(&x);
    return true;
}

bool sparse_read_dense(rt *r, const char *path, const tfcc_port *port, npz_array *a, dataset_column *out_column)
{
    reading x = {.r = r, .path = path, .key = a->name, .rows = a->rank ? a->dim[0] : 0, .columns = port->classes};
    if (a->rank != 2 || a->dim[1] != port->classes || a->dtype == TFCC_STR)
        return rt_wrong(r, "%s: array \"%s\": expected shape [N,%lld], or a sparse matrix, found %s", path, a->name,
                        (long long)port->classes, rt_shape_show(r, a->rank, a->dim, 0));
    float *all = rt_alloc_many(r, a->count, sizeof *all, "a sparse array");
    if (!all || convert_elements(all, TFCC_F32, a->data, a->dtype, a->count) != UINT64_MAX) return false;
    for (uint64_t i = 0; i < a->count; i++) x.entries += all[i] != 0;
    if (!make_entries(&x)) return false;
    uint64_t at = 0;
    for (uint64_t i = 0; i < a->count; i++) {
        if (all[i] == 0) continue;
        x.row[at] = (int64_t)(i / (uint64_t)x.columns);
        x.column[at] = (int64_t)(i % (uint64_t)x.columns);
        x.value[at++] = all[i];
    }
    rt_free(r, a->block);
    rt_free(r, all);
    if (!make_records(&x, out_column)) return false;
    release(&x);
    return true;
}

bool sparse_make(rt *r, const tfcc_port *port, int64_t rows, dataset_column *out_column)
{
    enum { ENTRIES = 32 };
    const int64_t each = port->classes < ENTRIES ? port->classes : ENTRIES, step = port->classes / each;
    reading x = {.r = r, .rows = rows, .columns = port->classes, .entries = (uint64_t)(rows * each)};
    if (!make_entries(&x)) return false;
    for (uint64_t i = 0; i < x.entries; i++) {
        const int64_t within = (int64_t)(i % (uint64_t)each);
        x.row[i] = (int64_t)(i / (uint64_t)each);
        x.column[i] = within * step + (int64_t)(philox_mix(i) % (uint64_t)step);
        x.value[i] = 1;
    }
    if (!make_records(&x, out_column)) return false;
    release(&x);
    return true;
}
