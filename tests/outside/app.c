/* app.c: a program around a model that was compiled as a library. */
#include "net.h"

int main(void)
{
    static float image[64], answer[10];
    tfcc_view in = {image, sizeof image};
    tfcc_span out = {answer, sizeof answer};
    tfcc_model *m;
    if (tfcc_create(net_program(), NULL, &m) != TFCC_OK) return 1;
    int failed = tfcc_predict(m, 1, &in, 1, &out, 1) != TFCC_OK || !(answer[0] > 0);
    tfcc_destroy(m);
    return failed;
}
