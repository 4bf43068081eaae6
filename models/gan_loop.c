/* gan_loop.c: two models trained against each other, each with its own optimizer: a generator (gan_generator.json, whose frozen
 * copy of the discriminator judges what it makes) and a discriminator (gan_discriminator.json). The points are to lie on a circle.
 *   gan_loop [STEPS] */
#include "gan_discriminator.h"
#include "gan_generator.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 64, NOISE = 4, MOST_WEIGHT = 4096 };

static void check(const tfcc_model *m, tfcc_result result)
{
    if (result == TFCC_OK) return;
    fprintf(stderr, "gan_loop: %s\n", tfcc_error(m));
    exit(1);
}

static uint64_t state = 1;

/* Uniform in [0, 1). */
static double draw(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 40) / 16777216.0;
}

static void draw_noise(float *noise)
{
    for (int i = 0; i < ROWS * NOISE; i++) noise[i] = (float)(2 * draw() - 1);
}

static void draw_circle(float *point)
{
    for (int i = 0; i < ROWS; i++) {
        double angle = 6.283185307179586 * draw(), radius = 1 + 0.02 * (draw() - 0.5);
        point[2 * i] = (float)(radius * cos(angle));
        point[2 * i + 1] = (float)(radius * sin(angle));
    }
}

static void generate(tfcc_model *g, const float *noise, float *point)
{
    float verdict[ROWS];
    tfcc_view in = {noise, ROWS * NOISE * sizeof *noise};
    tfcc_span out[2] = {{NULL, 0}, {NULL, 0}};
    out[0].data = point;
    out[0].bytes = ROWS * 2 * sizeof *point;
    out[1].data = verdict;
    out[1].bytes = sizeof verdict;
    check(g, tfcc_predict(g, ROWS, &in, 1, out, 2));
}

/* One step of m towards `answer` for all rows. */
static double train(tfcc_model *m, const float *x, size_t bytes, float answer)
{
    float y[ROWS];
    double loss = 0;
    tfcc_view in, target = {y, sizeof y};
    tfcc_batch batch = {sizeof batch, 1, 1, 0, ROWS, NULL, NULL, NULL};
    for (int i = 0; i < ROWS; i++) y[i] = answer;
    in.data = x;
    in.bytes = bytes;
    batch.input = &in;
    batch.target = &target;
    check(m, tfcc_train_step(m, &batch, &loss));
    return loss;
}

/* The generator's frozen judge becomes what the discriminator has learnt. */
static void copy_judge(tfcc_model *d, tfcc_model *g)
{
    static float weight[MOST_WEIGHT];
    for (size_t i = 0; i < tfcc_count(d, TFCC_VARIABLES); i++) {
        tfcc_description w;
        check(d, tfcc_describe(d, TFCC_VARIABLES, i, &w));
        if (w.role != TFCC_ROLE_WEIGHT || w.bytes > sizeof weight) continue;
        check(d, tfcc_variable_get(d, w.name, weight, w.bytes));
        check(g, tfcc_variable_set(g, w.name, weight, w.bytes));
    }
}

/* Mean distance of generated points from the circle. */
static double measure(tfcc_model *g)
{
    float noise[ROWS * NOISE], point[ROWS * 2];
    double sum = 0;
    draw_noise(noise);
    generate(g, noise, point);
    for (int i = 0; i < ROWS; i++) sum += fabs(sqrt(point[2 * i] * point[2 * i] + point[2 * i + 1] * point[2 * i + 1]) - 1);
    return sum / ROWS;
}

int main(int argc, char **argv)
{
    const int steps = argc > 1 ? atoi(argv[1]) : 3000;
    float noise[ROWS * NOISE], made[ROWS * 2], real[ROWS * 2];
    tfcc_options options = TFCC_OPTIONS;
    tfcc_model *g, *d;
    options.threads = 1; /* such small steps are not worth sharing */
    options.rows = ROWS;
    tfcc_result g_made = tfcc_create(gan_generator_program(), &options, &g);
    check(g, g_made);
    tfcc_result d_made = tfcc_create(gan_discriminator_program(), &options, &d);
    check(d, d_made);
    copy_judge(d, g);
    const double start = measure(g);
    for (int i = 0; i < steps; i++) {
        draw_noise(noise);
        draw_circle(real);
        generate(g, noise, made);
        double right = train(d, real, sizeof real, 1) + train(d, made, sizeof made, 0);
        copy_judge(d, g);
        draw_noise(noise);
        double fooled = train(g, noise, sizeof noise, 1);
        if ((i + 1) % 500 == 0) printf("step %d: discriminator %.4f, generator %.4f\n", i + 1, right, fooled);
    }
    const double end = measure(g);
    printf("distance from the circle: %.4f before, %.4f after\n", start, end);
    tfcc_destroy(g);
    tfcc_destroy(d);
    return end < start && end < 0.2 ? 0 : 1;
}
