/* api.c: the C interface under test, on digits_cnn.json compiled as library digits_cnn (its dropout removed) and as digits_infer
 * (--predict-only). Prints a line for each check that fails, and the count; library_test.py builds and runs it. */
#include "digits_cnn.h"
#include "digits_infer.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 24, PIXELS = 64, CLASSES = 10, KERNEL = 3 * 3 * 32 };
#define KERNEL_PATH "conv2d/kernel"

static int checked, failed;

static void check(int good, const char *what, const tfcc_model *m)
{
    checked++;
    if (good) return;
    failed++;
    printf("failed: %s: %s\n", what, tfcc_error(m));
}

static float images[ROWS * PIXELS];
static int32_t labels[ROWS];

static void make_data(void)
{
    uint64_t state = 5;
    for (int i = 0; i < ROWS * PIXELS; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        images[i] = (float)(state >> 40) / 16777216.0f;
    }
    for (int i = 0; i < ROWS; i++) labels[i] = i % CLASSES;
}

static tfcc_view view[2];

static tfcc_batch make_batch(int64_t rows)
{
    tfcc_batch b = {sizeof b, 1, 1, 0, 0, NULL, NULL, NULL};
    view[0].data = images;
    view[0].bytes = (size_t)rows * PIXELS * sizeof *images;
    view[1].data = labels;
    view[1].bytes = (size_t)rows * sizeof *labels;
    b.rows = rows;
    b.input = &view[0];
    b.target = &view[1];
    return b;
}

static tfcc_model *make(int threads)
{
    tfcc_options o = TFCC_OPTIONS;
    tfcc_model *m;
    o.threads = threads;
    o.seed = 3;
    o.debug = 1;
    check(tfcc_create(digits_cnn_program(), &o, &m) == TFCC_OK, "create", m);
    return m;
}

static void get_kernel(tfcc_model *m, float *to)
{
    check(tfcc_variable_get(m, KERNEL_PATH, to, KERNEL * sizeof *to) == TFCC_OK, "get", m);
}

static double distance(const float *a, const float *b, int count)
{
    double most = 0;
    for (int i = 0; i < count; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* ---- training ---------------------------------------------------------------------------------------------- */

static void test_steps(void)
{
    tfcc_model *a = make(1), *b = make(2);
    tfcc_batch batch = make_batch(ROWS);
    float ka[KERNEL], kb[KERNEL], first[KERNEL];
    get_kernel(a, first);
    for (int i = 0; i < 5; i++) {
        double la = -1, lb = -2, before = 0, again = 0;
        check(tfcc_loss(a, &batch, &before) == TFCC_OK && tfcc_loss(a, &batch, &again) == TFCC_OK && before == again, "loss", a);
        check(tfcc_train_step(a, &batch, &la) == TFCC_OK, "train_step", a);
        check(tfcc_minimize(b, &batch, &lb) == TFCC_OK, "minimize", b);
        check(fabs(la - lb) < 1e-4 && isfinite(la), "losses of train_step and minimize", a);
        check(fabs(la - before) < 1e-4, "the loss is that of the step", a);
    }
    get_kernel(a, ka);
    get_kernel(b, kb);
    check(distance(ka, first, KERNEL) > 1e-4, "the weights have moved", a);
    check(distance(ka, kb, KERNEL) < 1e-4, "minimize does what train_step does", a);
    tfcc_destroy(a);
    tfcc_destroy(b);
}

static void test_gradients(void)
{
    tfcc_model *m = make(1);
    tfcc_batch batch = make_batch(8);
    float before[KERNEL], after[KERNEL], gradient[KERNEL];
    double loss = 0, up = 0, down = 0;
    get_kernel(m, before);
    check(tfcc_gradients(m, &batch, &loss) == TFCC_OK, "gradients", m);
    check(tfcc_gradient_get(m, KERNEL_PATH, gradient, sizeof gradient) == TFCC_OK, "gradient_get", m);
    get_kernel(m, after);
    check(memcmp(before, after, sizeof before) == 0, "gradients leave weights alone", m);
    int k = 0;
    for (int i = 0; i < KERNEL; i++) k = fabsf(gradient[i]) > fabsf(gradient[k]) ? i : k;
    for (int side = 0; side < 2; side++) {
        memcpy(after, before, sizeof before);
        after[k] += side ? -0.01f : 0.01f;
        check(tfcc_variable_set(m, KERNEL_PATH, after, sizeof after) == TFCC_OK, "set", m);
        check(tfcc_loss(m, &batch, side ? &down : &up) == TFCC_OK, "loss", m);
    }
    check(fabs((up - down) / 0.02 - gradient[k]) < 0.05 * fabs(gradient[k]) + 1e-3, "the gradient is the slope of the loss", m);
    check(tfcc_variable_set(m, KERNEL_PATH, before, sizeof before) == TFCC_OK, "set", m);
    memset(gradient, 0, sizeof gradient);
    check(tfcc_gradient_set(m, KERNEL_PATH, gradient, sizeof gradient) == TFCC_OK, "gradient_set", m);
    check(tfcc_apply_gradients(m) == TFCC_OK, "apply_gradients", m);
    get_kernel(m, after);
    check(memcmp(before, after, sizeof before) == 0, "a gradient of zeros moves nothing", m);
    check(tfcc_count(m, TFCC_GRADIENTS) == 8, "gradients of all trainable weights", m);
    tfcc_destroy(m);
}

static void test_rate(void)
{
    tfcc_model *m = make(1);
    tfcc_batch batch = make_batch(8);
    float before[KERNEL], after[KERNEL];
    double rate = 0;
    int64_t iteration = -1;
    check(tfcc_learning_rate_get(m, &rate) == TFCC_OK && rate > 0, "learning_rate_get", m);
    check(tfcc_learning_rate_set(m, 0) == TFCC_OK, "learning_rate_set", m);
    get_kernel(m, before);
    check(tfcc_train_step(m, &batch, NULL) == TFCC_OK, "train_step", m);
    get_kernel(m, after);
    check(memcmp(before, after, sizeof before) == 0, "a rate of 0 moves nothing", m);
    check(tfcc_variable_get(m, "adam/iteration", &iteration, sizeof iteration) == TFCC_OK && iteration == 1, "optimizer state", m);
    check(tfcc_use_averages(m) == TFCC_UNSUPPORTED, "no averages", m);
    tfcc_destroy(m);
}

static void test_metrics(void)
{
    tfcc_model *m = make(1);
    tfcc_batch all = make_batch(ROWS);
    double value[2] = {0}, other[2] = {0}, loss = 0;
    check(tfcc_count(m, TFCC_METRICS) == 2, "two metrics", m);
    check(tfcc_evaluate(m, &all, 5, value, 2) == TFCC_OK, "evaluate", m);
    check(tfcc_evaluate(m, &all, 1000, other, 2) == TFCC_OK, "evaluate at once", m);
    check(fabs(value[0] - other[0]) < 1e-6 && fabs(value[1] - other[1]) < 1e-5, "the batch size does not change it", m);
    check(tfcc_loss(m, &all, &loss) == TFCC_OK && fabs(loss - value[1]) < 1e-5, "the loss is among the metrics", m);
    check(tfcc_metrics_get(m, other, 2) == TFCC_OK && fabs(other[1] - value[1]) < 1e-5, "loss counts in no metric", m);
    check(tfcc_metrics_reset(m) == TFCC_OK && tfcc_metrics_get(m, other, 2) == TFCC_OK && other[1] == 0, "reset", m);
    tfcc_destroy(m);
}

static void test_files(const char *path)
{
    tfcc_model *a = make(1), *b = make(1);
    tfcc_batch batch = make_batch(ROWS);
    float ka[KERNEL], kb[KERNEL];
    double la = 0, lb = 1;
    for (int i = 0; i < 3; i++) check(tfcc_train_step(a, &batch, NULL) == TFCC_OK, "train_step", a);
    check(tfcc_weights_save(a, path) == TFCC_OK, "save", a);
    check(tfcc_weights_load(b, path) == TFCC_OK, "load", b);
    get_kernel(a, ka);
    get_kernel(b, kb);
    check(memcmp(ka, kb, sizeof ka) == 0, "the weights come back", b);
    check(tfcc_train_step(a, &batch, &la) == TFCC_OK && tfcc_train_step(b, &batch, &lb) == TFCC_OK && la == lb, "and training goes on", b);
    get_kernel(a, ka);
    get_kernel(b, kb);
    check(memcmp(ka, kb, sizeof ka) == 0, "with the optimizer's state", b);
    check(tfcc_weights_load(b, "none.weights.h5") == TFCC_INVALID && strstr(tfcc_error(b), "none.weights.h5"), "no file", b);
    check(tfcc_weights_load(b, __FILE__) == TFCC_INVALID && strlen(tfcc_error(b)) > 10, "not a file of weights", b);
    check(tfcc_weights_save(b, "x.pb") == TFCC_INVALID && strstr(tfcc_error(b), ".weights.h5"), "unknown extension", b);
    check(tfcc_weights_save(b, "none/x.weights.h5") == TFCC_FAILED, "no folder", b);
    tfcc_destroy(a);
    tfcc_destroy(b);
}

/* ---- what the caller provides --------------------------------------------------------------------------------- */

typedef struct counts {
    int64_t blocks, bytes;
} counts;

static void *allocate(void *context, size_t size, size_t alignment)
{
    counts *c = context;
    void *memory = NULL;
    if (posix_memalign(&memory, alignment, size) != 0) return NULL;
    c->blocks++;
    c->bytes += (int64_t)size;
    return memory;
}

static void release(void *context, void *memory, size_t size)
{
    counts *c = context;
    c->blocks--;
    c->bytes -= (int64_t)size;
    free(memory);
}

static void *allocate_little(void *context, size_t size, size_t alignment)
{
    return size > 4096 ? NULL : allocate(context, size, alignment);
}

typedef struct job {
    void (*work)(void *argument, int32_t worker);
    void *argument;
    int32_t worker;
} job;

static void *run_job(void *context)
{
    job *j = context;
    j->work(j->argument, j->worker);
    return NULL;
}

static void run_workers(void *context, void (*work)(void *argument, int32_t worker), void *argument, int32_t workers)
{
    pthread_t thread[8];
    job j[8];
    ++*(int *)context;
    for (int32_t i = 0; i < workers; i++) {
        j[i].work = work;
        j[i].argument = argument;
        j[i].worker = i;
        pthread_create(&thread[i], NULL, run_job, &j[i]);
    }
    for (int32_t i = 0; i < workers; i++) pthread_join(thread[i], NULL);
}

static void test_provided(void)
{
    counts c = {0, 0};
    int runs = 0;
    const tfcc_allocator own = {allocate, release, &c}, little = {allocate_little, release, &c};
    const tfcc_executor threads = {run_workers, &runs, 3};
    tfcc_options o = TFCC_OPTIONS;
    tfcc_model *m, *plain = make(1);
    static float output[2][ROWS * CLASSES];
    tfcc_view in = {images, sizeof images};
    o.debug = 0;
    o.seed = 3;
    o.allocator = &own;
    o.executor = &threads;
    check(tfcc_create(digits_cnn_program(), &o, &m) == TFCC_OK, "create with an allocator and threads", m);
    for (int i = 0; i < 2; i++) {
        tfcc_span out;
        out.data = output[i];
        out.bytes = sizeof output[i];
        check(tfcc_predict(i ? m : plain, ROWS, &in, 1, &out, 1) == TFCC_OK, "predict", i ? m : plain);
    }
    check(memcmp(output[0], output[1], sizeof output[0]) == 0, "threads and memory change nothing", m);
    check(c.blocks > 10 && c.bytes > 300000, "the allocator is used", m);
    tfcc_destroy(m);
    check(c.blocks == 0 && c.bytes == 0, "all memory came back", plain);
    o.allocator = &little;
    check(tfcc_create(digits_cnn_program(), &o, &m) == TFCC_FAILED && strstr(tfcc_error(m), "memory"), "not enough memory", m);
    tfcc_destroy(m);
    check(c.blocks == 0, "and nothing is kept", plain);
    tfcc_destroy(plain);
}

static void *train_alone(void *context)
{
    tfcc_batch b = {sizeof b, 1, 1, 0, ROWS, NULL, NULL, NULL};
    tfcc_view x = {images, sizeof images}, y = {labels, sizeof labels};
    b.input = &x;
    b.target = &y;
    for (int i = 0; i < 20; i++) {
        if (tfcc_train_step(context, &b, NULL) != TFCC_OK) return context;
    }
    return NULL;
}

static void test_instances(void)
{
    tfcc_model *m[3];
    pthread_t thread[3];
    float kernel[3][KERNEL];
    for (int i = 0; i < 3; i++) m[i] = make(1 + i % 2);
    for (int i = 0; i < 3; i++) pthread_create(&thread[i], NULL, train_alone, m[i]);
    for (int i = 0; i < 3; i++) {
        void *bad;
        pthread_join(thread[i], &bad);
        check(!bad, "training side by side", m[i]);
        get_kernel(m[i], kernel[i]);
    }
    check(memcmp(kernel[0], kernel[1], sizeof kernel[0]) == 0 && memcmp(kernel[0], kernel[2], sizeof kernel[0]) == 0,
          "instances do not see each other", m[0]);
    for (int i = 0; i < 3; i++) tfcc_destroy(m[i]);
}

/* ---- misuse ------------------------------------------------------------------------------------------------------ */

static void test_misuse(void)
{
    tfcc_model *m = make(1), *none = NULL;
    tfcc_batch b = make_batch(8);
    tfcc_view in = {images, 8 * PIXELS * sizeof *images};
    float output[8 * CLASSES];
    tfcc_span out;
    tfcc_description d;
    tfcc_options old = TFCC_OPTIONS;
    double x;
    out.data = output;
    out.bytes = sizeof output;
    check(tfcc_predict(m, 8, &in, 1, &out, 1) == TFCC_OK, "predict", m);
    check(tfcc_predict(m, 9, &in, 1, &out, 1) == TFCC_INVALID && strstr(tfcc_error(m), "image"), "too few bytes", m);
    check(tfcc_predict(m, 0, &in, 1, &out, 1) == TFCC_INVALID, "no rows", m);
    check(tfcc_predict(m, -5, &in, 1, &out, 1) == TFCC_INVALID, "rows below 0", m);
    check(tfcc_predict(m, INT64_MAX, &in, 1, &out, 1) == TFCC_INVALID, "rows beyond measure", m);
    check(tfcc_predict(m, 8, &in, 2, &out, 1) == TFCC_INVALID, "two inputs", m);
    check(tfcc_predict(m, 8, NULL, 1, &out, 1) == TFCC_INVALID, "no input", m);
    check(tfcc_predict(m, 8, &in, 1, NULL, 1) == TFCC_INVALID, "no output", m);
    out.bytes--;
    check(tfcc_predict(m, 8, &in, 1, &out, 1) == TFCC_INVALID, "a byte too few", m);
    in.data = (const char *)images + 1;
    check(tfcc_predict(m, 8, &in, 1, &out, 1) == TFCC_INVALID && strstr(tfcc_error(m), "aligned"), "not aligned", m);
    b.struct_size = 8;
    check(tfcc_train_step(m, &b, &x) == TFCC_INVALID && strstr(tfcc_error(m), "tfcc_batch"), "an old struct", m);
    check(tfcc_train_step(m, NULL, &x) == TFCC_INVALID, "no batch", m);
    b = make_batch(8);
    labels[3] = CLASSES;
    check(tfcc_train_step(m, &b, &x) == TFCC_INVALID && strstr(tfcc_error(m), "element 3"), "a class that is not there", m);
    labels[3] = 3;
    check(tfcc_train_step(m, &b, &x) == TFCC_OK, "and goes on", m);
    check(tfcc_variable_get(m, "conv2d/kernle", output, 4) == TFCC_INVALID && strstr(tfcc_error(m), "conv2d/kernle"), "unknown path", m);
    check(tfcc_variable_set(m, KERNEL_PATH, output, 4) == TFCC_INVALID && strstr(tfcc_error(m), "1152"), "size of a variable", m);
    check(tfcc_variable_get(m, NULL, output, 4) == TFCC_INVALID, "no path", m);
    check(tfcc_describe(m, TFCC_INPUTS, 1, &d) == TFCC_INVALID, "no such input", m);
    check(tfcc_metrics_get(m, &x, 1) == TFCC_INVALID, "room for one metric of two", m);
    check(tfcc_evaluate(m, &b, 0, &x, 1) == TFCC_INVALID, "batches of no rows", m);
    check(tfcc_train_step(none, &b, &x) == TFCC_MISUSE && tfcc_error(none)[0], "no model", none);
    check(tfcc_create(digits_cnn_program(), NULL, NULL) == TFCC_MISUSE, "nowhere to put it", m);
    old.struct_size = 8;
    check(tfcc_create(digits_cnn_program(), &old, &none) == TFCC_MISUSE && strstr(tfcc_error(none), "tfcc_options"), "old options", none);
    check(tfcc_predict(none, 8, &in, 1, &out, 1) == TFCC_MISUSE, "a model that is not ready", none);
    tfcc_destroy(none);
    check(tfcc_create(NULL, NULL, &none) == TFCC_MISUSE, "no program", none);
    tfcc_destroy(none);
    tfcc_destroy(m);
    check(tfcc_train_step(m, &b, &x) == TFCC_MISUSE && strstr(tfcc_error(m), "destroyed"), "use after destroy", m);
    check(tfcc_count(m, TFCC_INPUTS) == 0, "count after destroy", m);
    tfcc_destroy(m);
    tfcc_destroy(NULL);
}

static void test_predict_only(void)
{
    tfcc_model *m, *whole = make(1);
    static float kernel[1024 * 1024], a[ROWS * CLASSES], b[ROWS * CLASSES];
    tfcc_view in = {images, sizeof images};
    tfcc_span out;
    tfcc_batch batch = make_batch(4);
    check(tfcc_create(digits_infer_program(), NULL, &m) == TFCC_OK, "create", m);
    for (size_t i = 0; i < tfcc_count(m, TFCC_VARIABLES); i++) {
        tfcc_description d;
        check(tfcc_describe(m, TFCC_VARIABLES, i, &d) == TFCC_OK && d.bytes <= sizeof kernel, "describe", m);
        check(tfcc_variable_get(whole, d.name, kernel, d.bytes) == TFCC_OK, "get", whole);
        check(tfcc_variable_set(m, d.name, kernel, d.bytes) == TFCC_OK, "set", m);
    }
    out.bytes = sizeof a;
    out.data = a;
    check(tfcc_predict(m, ROWS, &in, 1, &out, 1) == TFCC_OK, "predict", m);
    out.data = b;
    check(tfcc_predict(whole, ROWS, &in, 1, &out, 1) == TFCC_OK, "predict", whole);
    check(distance(a, b, ROWS * CLASSES) < 1e-6, "the same predictions", m);
    check(tfcc_train_step(m, &batch, NULL) == TFCC_UNSUPPORTED && strstr(tfcc_error(m), "without a loss"), "cannot train", m);
    check(tfcc_learning_rate_set(m, 1) == TFCC_UNSUPPORTED, "has no rate", m);
    check(tfcc_count(m, TFCC_TARGETS) == 0 && tfcc_count(m, TFCC_METRICS) == 0 && tfcc_count(m, TFCC_GRADIENTS) == 0, "nor targets", m);
    tfcc_destroy(m);
    tfcc_destroy(whole);
}

int main(int argc, char **argv)
{
    make_data();
    test_steps();
    test_gradients();
    test_rate();
    test_metrics();
    test_files(argc > 1 ? argv[1] : "api.weights.h5");
    test_provided();
    test_instances();
    test_misuse();
    test_predict_only();
    if (tfcc_api_version() != TFCC_API_VERSION || DIGITS_CNN_INPUT_IMAGE != 0 || DIGITS_CNN_API != 1) return 1;
    printf("%d checks, %d failed\n", checked, failed);
    return failed > 0;
}
