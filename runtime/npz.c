/* npz.c: see npz.h. */
#include "npz.h"

#include "convert.h"
#include "npy.h"
#include "strings.h"

#include <string.h>

enum { MOST_ARRAYS = 4096 };

/* Copies elements in Fortran order to C order. */
static void copy_transposed(const npz_array *a, const char *from, char *to)
{
    size_t size = rt_dtype_size(a->dtype);
    uint64_t stride[NPZ_MOST_DIMS], step = 1;
    int64_t index[NPZ_MOST_DIMS] = {0};
    for (uint32_t i = 0; i < a->rank; i++) {
        stride[i] = step;
        step *= (uint64_t)a->dim[i];
    }
    uint64_t at = 0;
    for (uint64_t i = 0; i < a->count; i++, to += size) {
        memcpy(to, from + at * size, size);
        for (uint32_t d = a->rank; d-- > 0;) {
            at += stride[d];
            if (++index[d] < a->dim[d]) break;
            at -= stride[d] * (uint64_t)a->dim[d];
            index[d] = 0;
        }
    }
}

static bool read_array(rt *r, const char *where, const zip_archive *z, const zip_member *m, npz_array *a)
{
    uint8_t *bytes = rt_alloc(r, m->size, "an array of the data");
    npy_head head;
    if (!bytes || !zip_read(z, m, bytes) || !npy_read_head(r, where, bytes, m->size, a, &head)) return false;
    if (head.text && !strings_read(r, where, bytes, &head, a)) return false;
    size_t size = rt_dtype_size(a->dtype);
    if (head.text) {
        if (!head.fortran || a->rank < 2) return true;
        bytes = a->block;
        head = (npy_head){.fortran = true};
    }
    char *data = (char *)bytes + head.bytes;
    if (head.bytes % 8 != 0) data = memmove(bytes, data, (size_t)(a->count * size));
    if (head.swapped) convert_swap_bytes(data, a->count, size);
    a->data = data;
    a->block = bytes;
    if (!head.fortran || a->rank < 2) return true;
    a->data = rt_alloc(r, a->count * size, "an array of the data");
    if (!a->data) return false;
    copy_transposed(a, data, a->data);
    a->block = a->data;
    rt_free(r, bytes);
    return true;
}

bool npz_read(npz_file *f, const input *in, npz_wanted wanted, const void *context)
{
    zip_archive z;
    if (!zip_open(&z, in)) return false;
    if (z.count > MOST_ARRAYS)
        return rt_wrong(in->r, "%s: expected at most %d arrays", in->name, (int)MOST_ARRAYS);
    *f = (npz_file){.array = rt_alloc_many(in->r, z.count, sizeof *f->array, "the list of arrays"),
                    .count = z.count};
    if (!f->array) return false;
    for (uint64_t i = 0; i < z.count; i++) {
        npz_array *a = &f->array[i];
        a->name = rt_printf(in->r, "%s", z.member[i].name);
        if (!a->name) return false;
        size_t length = strlen(a->name);
        if (length > 4 && strcmp(a->name + length - 4, ".npy") == 0) a->name[length - 4] = 0;
        const char *where = rt_printf(in->r, "%s: array \"%s\"", in->name, a->name);
        if (!where) return false;
        for (uint64_t k = 0; k < i; k++) {
            if (strcmp(f->array[k].name, a->name) == 0) return rt_wrong(in->r, "%s is there twice", where);
        }
        if (wanted && !wanted(context, a->name)) continue;
        if (!read_array(in->r, where, &z, &z.member[i], a)) return false;
    }
    return true;
}

bool npz_write(rt *r, const char *path, npz_array *array, uint64_t count)
{
    output out;
    zip_writer w;
    if (!output_open(&out, r, path)) return false;
    if (!zip_writer_init(&w, &out, count)) {
        output_abandon(&out);
        return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        char head[NPY_MOST_HEAD];
        if (array[i].dtype == TFCC_STR && !strings_pack(out.r, &array[i])) break;
        size_t size = npy_make_head(&array[i], head);
        char *name = rt_printf(r, "%s.npy", array[i].name);
        if (name)
            zip_writer_add(&w, name, head, size, array[i].data,
                           array[i].count * (array[i].dtype == TFCC_STR ? array[i].item : rt_dtype_size(array[i].dtype)));
    }
    zip_writer_finish(&w);
    return output_close(&out);
}
