/* npz_fuzz.c: any bytes as a data set: an error or arrays, never a crash or more memory than the bytes allow.
 */
#include "npz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const tfcc_program program = {.name = "fuzz", .compiler = ""};
    rt r;
    npz_file f;
    rt_init(&r, "fuzz", &program);
    input in = input_of_memory(&r, "fuzz.npz", data, size);
    npz_read(&f, &in, NULL, NULL);
    rt_done(&r);
    return 0;
}
