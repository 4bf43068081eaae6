/* inputs.c: strings and sparse matrices through the C interface: model "bag" is a Dense layer on a sparse input of 10 columns,
 * model "words" looks words up and gives their numbers and the words of these numbers. */
#include "bag.h"
#include "words.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 3, COLUMNS = 10, UNITS = 2, ENTRIES = 3 };

typedef struct row {
    uint32_t count, column[ENTRIES];
    float value[ENTRIES]; /* whole rows only: the values lie behind `count` columns */
} row;

typedef struct word {
    uint32_t length;
    char bytes[12];
} word;

static int checked, failed;

static void check(int good, const char *what, tfcc_model *m)
{
    checked++;
    if (good) return;
    failed++;
    printf("failed: %s: %s\n", what, tfcc_error(m));
}

static void test_sparse(void)
{
    static row one = {ENTRIES, {0, 4, 9}, {1.5f, -2, 3}};
    static row other = {ENTRIES, {1, 4, 8}, {1, 1, 1}};
    const void *rows[ROWS] = {&one, NULL, &other};
    float y[ROWS][UNITS], kernel[COLUMNS][UNITS], target[ROWS][UNITS] = {{0}}, after[COLUMNS][UNITS];
    tfcc_view in = {rows, sizeof rows}, to = {target, sizeof target};
    tfcc_span out = {y, sizeof y};
    tfcc_batch batch = {sizeof batch, 1, 1, 0, ROWS, &in, &to, NULL};
    tfcc_description d;
    tfcc_model *m;
    double loss;
    check(tfcc_create(bag_program(), NULL, &m) == TFCC_OK, "create", m);
    check(tfcc_describe(m, TFCC_INPUTS, 0, &d) == TFCC_OK && d.type == TFCC_TYPE_SPARSE_ROW && d.bytes == sizeof rows[0], "describe", m);
    check(tfcc_predict(m, ROWS, &in, 1, &out, 1) == TFCC_OK, "predict", m);
    check(tfcc_variable_get(m, "dense/kernel", kernel, sizeof kernel) == TFCC_OK, "kernel", m);
    for (int j = 0; j < UNITS; j++) {
        check(fabsf(y[0][j] - (1.5f * kernel[0][j] - 2 * kernel[4][j] + 3 * kernel[9][j])) < 1e-5f, "a row", m);
        check(y[1][j] == 0, "a row of zeros", m);
        check(fabsf(y[2][j] - (kernel[1][j] + kernel[4][j] + kernel[8][j])) < 1e-5f, "another row", m);
    }
    check(tfcc_train_step(m, &batch, &loss) == TFCC_OK && loss > 0, "train", m);
    check(tfcc_minimize(m, &batch, &loss) == TFCC_OK, "minimize", m);
    check(tfcc_variable_get(m, "dense/kernel", after, sizeof after) == TFCC_OK, "kernel", m);
    for (int i = 0; i < COLUMNS; i++) {
        const int is_named = i == 0 || i == 1 || i == 4 || i == 8 || i == 9;
        check((memcmp(after[i], kernel[i], sizeof after[i]) != 0) == is_named, "which rows of the kernel change", m);
    }
    one.column[2] = COLUMNS;
    check(tfcc_predict(m, ROWS, &in, 1, &out, 1) == TFCC_INVALID && strstr(tfcc_error(m), "row 0: expected columns of 0 to 9"), "a column too many", m);
    one.column[2] = 4;
    check(tfcc_train_step(m, &batch, &loss) == TFCC_INVALID && strstr(tfcc_error(m), "ascending"), "a column twice", m);
    one.column[2] = 2;
    check(tfcc_minimize(m, &batch, &loss) == TFCC_INVALID && strstr(tfcc_error(m), "ascending"), "columns out of order", m);
    one.column[2] = 9;
    one.count = COLUMNS + 1;
    check(tfcc_predict(m, ROWS, &in, 1, &out, 1) == TFCC_INVALID && strstr(tfcc_error(m), "at most 10 entries"), "too many entries", m);
    one.count = ENTRIES;
    rows[1] = (const char *)&one + 1;
    check(tfcc_predict(m, ROWS, &in, 1, &out, 1) == TFCC_INVALID && strstr(tfcc_error(m), "row 1"), "a row's address", m);
    in.bytes--;
    check(tfcc_predict(m, ROWS, &in, 1, &out, 1) == TFCC_INVALID && strstr(tfcc_error(m), "expected 24 bytes"), "bytes", m);
    tfcc_destroy(m);
}

static int is_word(const word *w, const char *text)
{
    return w && w->length == strlen(text) && memcmp(w->bytes, text, w->length) == 0;
}

static void test_strings(void)
{
    static const word tea = {3, "tea"}, milk = {4, "milk"}, wine = {4, "wine"};
    const word *given[ROWS] = {&milk, &tea, &milk}, *got[ROWS];
    int64_t number[ROWS];
    tfcc_view in = {given, sizeof given};
    tfcc_span out[2];
    tfcc_description d;
    tfcc_model *m;
    out[0].data = number, out[0].bytes = sizeof number;
    out[1].data = (void *)got, out[1].bytes = sizeof got;
    check(tfcc_create(words_program(), NULL, &m) == TFCC_OK, "create", m);
    check(tfcc_describe(m, TFCC_INPUTS, 0, &d) == TFCC_OK && d.type == TFCC_TYPE_STRING, "describe", m);
    check(tfcc_predict(m, ROWS, &in, 1, out, 2) == TFCC_OK, "predict", m);
    check(number[0] == 1 && number[1] == 0 && number[2] == 1, "numbers", m);
    check(is_word(got[0], "milk") && is_word(got[1], "tea") && is_word(got[2], "milk"), "words", m);
    given[1] = &wine;
    check(tfcc_predict(m, ROWS, &in, 1, out, 2) == TFCC_INVALID && strstr(tfcc_error(m), "\"wine\" is not in the vocabulary"), "an unknown word", m);
    given[1] = NULL;
    check(tfcc_predict(m, ROWS, &in, 1, out, 2) == TFCC_INVALID && strstr(tfcc_error(m), "\"\" is not in the vocabulary"), "the empty word", m);
    given[1] = (const word *)(const void *)((const char *)&wine + 1);
    check(tfcc_predict(m, ROWS, &in, 1, out, 2) == TFCC_INVALID && strstr(tfcc_error(m), "element 1"), "a word's address", m);
    given[1] = &tea;
    check(tfcc_predict(m, ROWS, &in, 1, out, 2) == TFCC_OK, "and goes on", m);
    in.bytes = 3;
    check(tfcc_predict(m, ROWS, &in, 1, out, 2) == TFCC_INVALID && strstr(tfcc_error(m), "expected 24 bytes"), "bytes", m);
    tfcc_destroy(m);
}

int main(void)
{
    test_sparse();
    test_strings();
    printf("%d checks, %d failed\n", checked, failed);
    return failed > 0;
}
