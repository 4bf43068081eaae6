/* test.h: checks for the unit tests. A failed check is printed and counted; the test goes on. */
#ifndef TFCC_TEST_H
#define TFCC_TEST_H

#include <stdio.h>
#include <string.h>

static int test_failed, test_checked;

#define TEST_CHECK(condition, ...)                                                                 \
    do {                                                                                           \
        test_checked++;                                                                            \
        if (!(condition)) {                                                                        \
            test_failed++;                                                                         \
            printf("%s:%d: ", __FILE__, __LINE__);                                                 \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
        }                                                                                          \
    } while (0)
#define TEST_EQUAL_TEXT(got, want)                                                                 \
    TEST_CHECK(strcmp((got), (want)) == 0, "got:\n%s\nwant:\n%s", (got), (want))

/* The exit status of main. A test that checked nothing has failed. */
static inline int test_report(void)
{
    printf("%d checks, %d failed\n", test_checked, test_failed);
    return test_failed > 0 || test_checked == 0;
}

#endif
