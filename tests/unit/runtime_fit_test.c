/* runtime_fit_test.c: the verbs of a program, run on a model compiled by hand: results, files, errors and
 * exit statuses. */
#include "convert.h"
#include "npz.h"
#include "runtime_fixture.h"
#include "test.h"

#include <math.h>

enum { ROW_COUNT = 37 };

static double number_of(int i) { return (double)((i * 7919 + 13) % 1000) / 500 - 1; }

/* Arrays x [rows, 3] as `x_type`, y [rows, columns], and sample weights. */
static void write_data(const char *path, int64_t rows, uint32_t x_type, int64_t columns, bool weights)
{
    rt r;
    rt_init(&r, "test", &fixture);
    npz_array a[3] = {
        {.name = rt_printf(&r, "x"),
         .dtype = x_type,
         .rank = 2,
         .dim = {rows, INPUTS},
         .count = (uint64_t)rows * INPUTS},
        {.name = rt_printf(&r, "y"),
         .dtype = TFCC_F64,
         .rank = 2,
         .dim = {rows, columns},
         .count = (uint64_t)(rows * columns)},
        {.name = rt_printf(&r, "sample_weight"),
         .dtype = TFCC_F32,
         .rank = 1,
         .dim = {rows},
         .count = (uint64_t)rows},
    };
    for (int i = 0; i < 3; i++) {
        a[i].data = rt_alloc(&r, a[i].count * 8, "an array");
        for (uint64_t k = 0; k < a[i].count; k++) {
            double value = number_of((int)k + i * 31);
            if (i == 2) value = fabs(value);
            char *to = (char *)a[i].data + k * rt_dtype_size(a[i].dtype);
            if (!rt_dtype_is_float(a[i].dtype)) value = floor(value * 10);
            convert_elements(to, a[i].dtype, &value, TFCC_F64, 1);
        }
    }
    TEST_CHECK(npz_write(&r, path, a, weights ? 3 : 2), "cannot write %s", path);
    rt_done(&r);
}

static bool same_files(const char *a, const char *b)
{
    char first[8192], second[8192];
    FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
    size_t n = f ? fread(first, 1, sizeof first, f) : 0, m = g ? fread(second, 1, sizeof second, g) : 1;
    if (f) fclose(f);
    if (g) fclose(g);
    return n == m && n > 0 && memcmp(first, second, n) == 0;
}

static void expect(const char *line, int status, const char *error)
{
    outcome o = run_program(line, 0);
    TEST_CHECK(o.status == status && strstr(o.error, error), "%s: status %d: %s", line, o.status, o.error);
    if (status != 0) TEST_CHECK(strncmp(o.error, "trainer: ", 9) == 0, "%s: %s", line, o.error);
}

static void check_training(void)
{
    char text[8192];
    expect(
        "fit --data d.npz --epochs 30 --batch-size 8 --no-shuffle --save a.weights.h5 --history a.json --threads 1",
        0, "");
    expect(
        "fit --data d.npz --epochs 30 --batch-size 8 --no-shuffle --save b.weights.h5 --history b.json --threads 4",
        0, "");
    TEST_CHECK(same_files("a.weights.h5", "b.weights.h5") && same_files("a.json", "b.json"), "threads change the result");
    expect("fit --data d.npz --epochs 2 --batch-size 8 --seed 1 --history a.json --csv-log a.csv", 0, "");
    expect("fit --data d.npz --epochs 2 --batch-size 8 --seed 1 --history b.json", 0, "");
    TEST_CHECK(same_files("a.json", "b.json"), "one seed gives two orders");
    expect("fit --data d.npz --epochs 2 --batch-size 8 --seed 2 --history b.json", 0, "");
    TEST_CHECK(!same_files("a.json", "b.json"), "two seeds give one order");
    read_text("a.csv", text, sizeof text);
    TEST_CHECK(strncmp(text, "epoch,loss\n0,", 13) == 0, "csv: %s", text);
    outcome before = run_program("evaluate --data d.npz --json", 0);
    outcome after = run_program("evaluate --data d.npz --json --weights a.weights.h5", 0);
    TEST_CHECK(after.status == 0 && strtod(after.out + 9, NULL) < 0.8 * strtod(before.out + 9, NULL),
               "before %s after %s", before.out, after.out);
    expect("fit --data d.npz --validation-split 0.25 --history v.json --steps-per-epoch 7 --epochs 3 "
           "--batch-size 4",
           0, "");
    read_text("v.json", text, sizeof text);
    TEST_CHECK(strstr(text, "\"val_loss\": [") && strstr(text, "\"batch_loss\": ["), "history: %s", text);
    int commas = 0;
    for (const char *p = text; *p; p++) commas += *p == ',';
    TEST_CHECK(commas == 2 + 1 + 2 + 1 + 20, "history: %s", text);
}

static void check_predict(void)
{
    rt r;
    input in;
    npz_file f = {.count = 0};
    expect("predict --data d.npz --weights a.weights.h5 --output p.npz --batch-size 5", 0, "");
    rt_init(&r, "test", &fixture);
    bool read = input_open(&in, &r, "p.npz") && npz_read(&f, &in, NULL, NULL);
    TEST_CHECK(read && f.count == 1 && strcmp(f.array[0].name, "y") == 0, "no predictions");
    TEST_CHECK(read && f.array[0].dim[0] == ROW_COUNT && f.array[0].dim[1] == OUTPUTS, "wrong shape");
    if (read) input_close(&in);
    rt_done(&r);
    expect("predict --data d.npz --weights a.weights.h5 --output q.npz --batch-size 37 --threads 3", 0, "");
    TEST_CHECK(same_files("p.npz", "q.npz"), "the batch size changes predictions");
}

static void check_errors(void)
{
    expect("fit --dat d.npz", 1, "did you mean \"--data\"");
    expect("fut --data d.npz", 1, "did you mean \"fit\"");
    expect("fit", 1, "--data");
    expect("fit --data d.npz --epochs 0", 1, "found \"0\"");
    expect("fit --data none.npz", 1, "none.npz");
    expect("fit --data wide.npz", 1, "array \"y\": expected shape [N,2], found [37,5]");
    expect("fit --data d.npz --validation-data wide.npz", 1, "wide.npz");
    expect("fit --data d.npz --weights d.npz", 1, "model.weights.h5");
    expect("fit --data d.npz --save s.pb", 1, "s.pb: expected a name that ends in .weights.h5");
    expect("fit --data d.npz --save s.h5", 1, "s.h5: expected a name that ends in .weights.h5");
    expect("fit --data d.npz --save s.keras", 1, "s.keras: this program was made without");
    expect("fit --data d.npz --save none/s.weights.h5", 2, "none/s.weights.h5");
    expect("fit --data d.npz --save /dev/full", 2, "/dev/full: cannot write");
    expect("fit --data d.npz --history /dev/full", 2, "/dev/full: cannot write");
    expect("predict --data d.npz --output /dev/full", 2, "/dev/full: cannot write");
    expect("fit --data d.npz --class-weight 0:x", 1, "--class-weight");
    expect("fit --data d.npz --validation-split 0.001", 0, "");
    expect("fit --data d.npz --validation-split 0.999", 1, "--validation-split");
    expect("bench --mode x", 1, "expected train or infer");
}

static void check_interrupt(void)
{
    outcome o =
        run_program("fit --data d.npz --epochs 100000000 --verbose 0 --save i.weights.h5 --history i.json", 300);
    TEST_CHECK(o.status == 130, "status %d: %s", o.status, o.error);
    TEST_CHECK(access("i.weights.h5", R_OK) == 0 && access("i.json", R_OK) == 0, "nothing was saved");
    expect("evaluate --data d.npz --weights i.weights.h5", 0, "");
}

static void check_bench(void)
{
    outcome o = run_program("bench --json --seconds 0.05 --batch-size 64", 0);
    TEST_CHECK(o.status == 0 && strstr(o.out, "\"batch_size\": 64") && strstr(o.out, "\"first_step_ms\""),
               "%s", o.out);
    o = run_program("bench --json --seconds 0.05 --mode infer", 0);
    TEST_CHECK(o.status == 0 && strstr(o.out, "\"mode\": \"infer\""), "%s", o.out);
}

int main(void)
{
    static const char *const files[] = {"d.npz", "int.npz", "wide.npz", "a.weights.h5",    "b.weights.h5",
                                        "i.weights.h5",  "a.json",  "b.json",   "v.json",  "i.json",
                                        "a.csv", "p.npz",   "q.npz",    "run.out", "run.err"};
    char folder[] = "runtime_fit_XXXXXX";
    if (!mkdtemp(folder) || chdir(folder) != 0) return 99;
    write_data("d.npz", ROW_COUNT, TFCC_F64, OUTPUTS, true);
    write_data("int.npz", ROW_COUNT, TFCC_I16, OUTPUTS, false);
    write_data("wide.npz", ROW_COUNT, TFCC_F32, 5, false);
    check_training();
    check_predict();
    expect("fit --data int.npz --verbose 2", 0, "");
    check_errors();
    check_interrupt();
    check_bench();
    for (size_t i = 0; i < RT_COUNT(files); i++) remove(files[i]);
    if (chdir("..") == 0) rmdir(folder);
    return test_report();
}
