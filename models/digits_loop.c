/* digits_loop.c: a training loop of one's own around digits_cnn.json compiled with `tfcc compile --emit lib`: a cosine schedule,
 * early stopping on held-out rows, and the best weights kept.
 *   digits_loop X.f32 Y.i32 [OUT.weights.h5]: images of 8 x 8 floats and their classes, as numpy's tofile writes them. */
#include "digits_cnn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PIXELS = 64, BATCH = 32, EPOCHS = 40, PATIENCE = 4 };

static void check(const tfcc_model *m, tfcc_result result)
{
    if (result == TFCC_OK) return;
    fprintf(stderr, "digits_loop: %s\n", tfcc_error(m));
    exit(1);
}

static void *read_file(const char *path, size_t *bytes)
{
    FILE *file = fopen(path, "rb");
    char *data = NULL;
    size_t room = 0;
    *bytes = 0;
    while (file && !feof(file)) {
        if (*bytes == room) data = realloc(data, room = 2 * room + 65536);
        if (!data) exit(2);
        *bytes += fread(data + *bytes, 1, room - *bytes, file);
    }
    if (!file || fclose(file) != 0) {
        fprintf(stderr, "digits_loop: %s: cannot read\n", path);
        exit(1);
    }
    return data;
}

typedef struct rows {
    const float *x;
    const int32_t *y;
    int64_t count;
} rows;

/* The views live as long as the batch is used. */
static tfcc_batch make_batch(rows from, int64_t first, int64_t count, tfcc_view view[2])
{
    tfcc_batch batch = {sizeof batch, 1, 1, 0, 0, NULL, NULL, NULL};
    view[0].data = from.x + first * PIXELS;
    view[0].bytes = (size_t)count * PIXELS * sizeof *from.x;
    view[1].data = from.y + first;
    view[1].bytes = (size_t)count * sizeof *from.y;
    batch.rows = count;
    batch.input = &view[0];
    batch.target = &view[1];
    return batch;
}

static double train_epoch(tfcc_model *m, rows data, double rate, int64_t steps)
{
    double sum = 0, loss = 0;
    check(m, tfcc_learning_rate_set(m, rate));
    for (int64_t i = 0; i < steps; i++) {
        tfcc_view view[2];
        tfcc_batch batch = make_batch(data, i * BATCH, BATCH, view);
        check(m, tfcc_minimize(m, &batch, &loss));
        sum += loss;
    }
    return sum / (double)steps;
}

/* The loss and, in *accuracy, the share of right answers. */
static double evaluate(tfcc_model *m, rows data, double *accuracy)
{
    double value[8] = {0}, loss = 0;
    size_t count = tfcc_count(m, TFCC_METRICS);
    tfcc_view view[2];
    tfcc_batch batch = make_batch(data, 0, data.count, view);
    check(m, tfcc_evaluate(m, &batch, BATCH, value, count));
    for (size_t i = 0; i < count; i++) {
        tfcc_description d;
        check(m, tfcc_describe(m, TFCC_METRICS, i, &d));
        if (strcmp(d.name, "loss") == 0) loss = value[i];
        if (strcmp(d.name, "accuracy") == 0) *accuracy = value[i];
    }
    return loss;
}

int main(int argc, char **argv)
{
    size_t x_bytes, y_bytes;
    tfcc_options options = TFCC_OPTIONS;
    tfcc_model *m;
    if (argc < 3) return fprintf(stderr, "usage: digits_loop X.f32 Y.i32 [OUT.weights.h5]\n"), 1;
    float *x = read_file(argv[1], &x_bytes);
    int32_t *y = read_file(argv[2], &y_bytes);
    int64_t all = (int64_t)(y_bytes / sizeof *y), held = all / 5;
    rows train = {x, y, all - held}, test = {x + (all - held) * PIXELS, y + (all - held), held};
    options.rows = BATCH;
    options.seed = 7;
    tfcc_result made = tfcc_create(digits_cnn_program(), &options, &m);
    check(m, made);
    double best = INFINITY, accuracy = 0, best_accuracy = 0;
    for (int epoch = 0, waited = 0; epoch < EPOCHS && waited < PATIENCE; epoch++) {
        double rate = 1e-3 * 0.5 * (1 + cos(3.14159265358979 * epoch / EPOCHS));
        double loss = train_epoch(m, train, rate, train.count / BATCH), held_loss = evaluate(m, test, &accuracy);
        printf("epoch %2d: rate %.6f, loss %.4f, held out %.4f, accuracy %.4f\n", epoch, rate, loss, held_loss, accuracy);
        waited = held_loss < best ? 0 : waited + 1;
        if (waited > 0) continue;
        best = held_loss;
        best_accuracy = accuracy;
        if (argc > 3) check(m, tfcc_weights_save(m, argv[3]));
    }
    printf("best: held out %.4f, accuracy %.4f\n", best, best_accuracy);
    tfcc_destroy(m);
    free(x);
    free(y);
    return best_accuracy > 0.9 ? 0 : 1;
}
