/* runtime_npz_test.c: NumPy arrays: every element type, both byte orders, Fortran order, what is written is
 * read back, and damaged files are refused without a crash. */
#include "convert.h"
#include "npy.h"
#include "npz.h"
#include "test.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static tfcc_program no_program;

/* Reads the archive at path; prints what went wrong only if `quiet` is not set. */
static bool read_file(rt *r, const char *path, npz_file *f)
{
    input in;
    if (!input_open(&in, r, path)) return false;
    bool ok = npz_read(f, &in, NULL, NULL);
    input_close(&in);
    return ok;
}

static void check_types(void)
{
    rt r;
    rt_init(&r, "test", &no_program);
    npz_array array[12];
    static const uint32_t types[12] = {TFCC_I1,  TFCC_I8,  TFCC_I16, TFCC_I32, TFCC_I64, TFCC_U8,
                                       TFCC_U16, TFCC_U32, TFCC_U64, TFCC_F16, TFCC_F32, TFCC_F64};
    const double values[6] = {0, 1, 1, 0, 1, 0};
    for (int i = 0; i < 12; i++) {
        array[i] = (npz_array){
            .name = rt_printf(&r, "a%d", i), .dtype = types[i], .rank = 2, .dim = {2, 3}, .count = 6};
        array[i].data = rt_alloc(&r, 48, "an array");
        convert_elements(array[i].data, types[i], values, TFCC_F64, 6);
    }
    npz_file f;
    TEST_CHECK(npz_write(&r, "types.npz", array, 12) && read_file(&r, "types.npz", &f),
               "cannot write and read");
    TEST_CHECK(f.count == 12, "%d arrays", (int)f.count);
    for (uint64_t i = 0; i < f.count; i++) {
        TEST_EQUAL_TEXT(f.array[i].name, array[i].name);
        TEST_CHECK(f.array[i].dtype == types[i] && f.array[i].rank == 2 && f.array[i].count == 6, "array %d",
                   (int)i);
        TEST_CHECK(convert_get(f.array[i].data, types[i], 2) == 1 &&
                       convert_get(f.array[i].data, types[i], 5) == 0,
                   "array %d: wrong elements", (int)i);
    }
    rt_done(&r);
}

/* The head of a .npy file with this dict and its data. */
static bool read_head(rt *r, const char *dict, uint64_t data, npz_array *a, npy_head *head)
{
    uint8_t bytes[512];
    size_t length = strlen(dict);
    memcpy(bytes, "\x93NUMPY\x01\x00", 8);
    bytes[8] = (uint8_t)length;
    bytes[9] = (uint8_t)(length >> 8);
    memcpy(bytes + 10, dict, length);
    *a = (npz_array){.rank = 0};
    return npy_read_head(r, "head", bytes, 10 + length + data, a, head);
}

static void check_heads(void)
{
    static const struct {
        const char *dict;
        uint64_t data;
        bool ok;
    } heads[] = {
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n", 48, true},
        {"{'descr': '>f8', 'fortran_order': True, 'shape': (3,), }\n", 24, true},
        {"{'shape': (), 'fortran_order': False, 'descr': '|u1'}", 1, true},
        {"{'descr': '|b1', 'fortran_order': False, 'shape': (0, 7)}", 0, true},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }\n", 47, false},
        {"{'descr': '<U4', 'fortran_order': False, 'shape': (3,), }\n", 48, true},
        {"{'descr': '|S5', 'fortran_order': False, 'shape': (3,), }\n", 15, true},
        {"{'descr': '<U4', 'fortran_order': False, 'shape': (3,), }\n", 47, false},
        {"{'descr': '<U99999999999', 'fortran_order': False, 'shape': (3,), }\n", 47, false},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }\n", 24, false},
        {"{'descr': '<f3', 'fortran_order': False, 'shape': (3,), }\n", 9, false},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }\n", 12, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }\n", 12, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4)}\n", 0, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}\n", 0, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (0, 4611686018427387904, 9)}\n", 0, false},
        {"{'descr': '<f4', 'shape': (3,), }\n", 12, false},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1)}", 4, false},
        {"", 0, false},
    };
    for (size_t i = 0; i < RT_COUNT(heads); i++) {
        rt r;
        npz_array a;
        npy_head head;
        rt_init(&r, "expected", &no_program);
        TEST_CHECK(read_head(&r, heads[i].dict, heads[i].data, &a, &head) == heads[i].ok, "head %d", (int)i);
        rt_done(&r);
    }
}

static void check_conversion(void)
{
    static const double numbers[] = {0, -1, 1.5, 65504, 65520, 6e-8, 1e-8, INFINITY, 3.14159265};
    static const double halves[] = {0, -1, 1.5, 65504, INFINITY, 0x1p-24, 0, INFINITY, 3.140625};
    static const double bfloats[] = {0, -1, 1.5, 65536, 65536, 0x1.02p-24, 0x1.58p-27, INFINITY, 3.140625};
    uint16_t narrow[9];
    double back[9];
    convert_elements(narrow, TFCC_F16, numbers, TFCC_F64, 9);
    convert_elements(back, TFCC_F64, narrow, TFCC_F16, 9);
    for (int i = 0; i < 9; i++) TEST_CHECK(back[i] == halves[i], "half of %g: %g", numbers[i], back[i]);
    convert_elements(narrow, TFCC_BF16, numbers, TFCC_F64, 9);
    convert_elements(back, TFCC_F64, narrow, TFCC_BF16, 9);
    for (int i = 0; i < 9; i++) TEST_CHECK(back[i] == bfloats[i], "bfloat of %g: %g", numbers[i], back[i]);
    int8_t small[3];
    const double misfits[3] = {1, 2, 128}, fractions[2] = {1, 0.5};
    const uint64_t wide[2] = {1, UINT64_MAX};
    int64_t integers[2];
    TEST_CHECK(convert_elements(small, TFCC_I8, misfits, TFCC_F64, 3) == 2, "128 fits no int8");
    TEST_CHECK(convert_elements(small, TFCC_I8, fractions, TFCC_F64, 2) == 1, "0.5 is not whole");
    TEST_CHECK(convert_elements(integers, TFCC_I64, wide, TFCC_U64, 2) == 1, "2^64 - 1 fits no int64");
}

/* Every prefix of a good file, and every byte of it changed, ends in an error or in arrays, never in a crash.
 */
static void check_damage(void)
{
    rt r;
    rt_init(&r, "test", &no_program);
    float data[4] = {1, 2, 3, 4};
    npz_array a = {
        .name = rt_printf(&r, "x"), .dtype = TFCC_F32, .rank = 2, .dim = {2, 2}, .count = 4, .data = data};
    input in;
    npz_file f;
    TEST_CHECK(npz_write(&r, "good.npz", &a, 1) && input_open(&in, &r, "good.npz"), "cannot write");
    uint64_t size = in.size;
    uint8_t *bytes = rt_alloc(&r, size, "a file");
    input_read(&in, 0, bytes, size);
    input_close(&in);
    int accepted = 0;
    for (uint64_t i = 0; i < 2 * size; i++) {
        rt each;
        rt_init(&each, "expected", &no_program);
        if (i >= size) bytes[i - size] ^= 0x41;
        input damaged = input_of_memory(&each, "damaged", bytes, i < size ? i : size);
        accepted += i < size && npz_read(&f, &damaged, NULL, NULL);
        if (i >= size) npz_read(&f, &damaged, NULL, NULL);
        if (i >= size) bytes[i - size] ^= 0x41;
        rt_done(&each);
    }
    TEST_CHECK(accepted == 0, "%d cut files were accepted", accepted);
    rt_done(&r);
}

int main(void)
{
    char folder[] = "runtime_npz_XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0 || !freopen("errors", "wb", stderr)) return 99;
    check_types();
    check_heads();
    check_conversion();
    check_damage();
    remove("types.npz");
    remove("good.npz");
    remove("errors");
    if (chdir("..") == 0) rmdir(folder);
    return test_report();
}
