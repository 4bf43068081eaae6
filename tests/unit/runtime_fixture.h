/* runtime_fixture.h: a compiled model written by hand, for tests of the runtime: Dense(2) on 3 inputs, mean
 * squared error, SGD; and a way to run the program's verbs as a process of their own. */
#ifndef RUNTIME_FIXTURE_H
#define RUNTIME_FIXTURE_H

#include "tfcc_rt.h"
#include "verbs.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { INPUTS = 3, OUTPUTS = 2, GRAIN = 4 };
enum { V_KERNEL, V_BIAS, V_ITERATION, V_RATE, V_TOTAL, V_COUNT, V_SEED, V_COUNT_ALL };
enum { P_X, P_Y, P_WEIGHT };

/* x, kernel, bias -> out; tasks are GRAIN rows */
static void run_forward(void *const *arg, int64_t n, int64_t task, void *scratch)
{
    const float *x = arg[0], *kernel = arg[1], *bias = arg[2];
    float *out = arg[3];
    int64_t end = (task + 1) * GRAIN < n ? (task + 1) * GRAIN : n;
    (void)scratch;
    for (int64_t i = task * GRAIN; i < end; i++) {
        for (int j = 0; j < OUTPUTS; j++) {
            float sum = bias[j];
            for (int k = 0; k < INPUTS; k++) sum += x[i * INPUTS + k] * kernel[k * OUTPUTS + j];
            out[i * OUTPUTS + j] = sum;
        }
    }
}

/* out, y, sample weight, total, count -> loss */
static void run_loss(void *const *arg, int64_t n, int64_t task, void *scratch)
{
    const float *out = arg[0], *y = arg[1], *weight = arg[2];
    float *total = arg[3], *count = arg[4], *loss = arg[5], sum = 0;
    (void)task, (void)scratch;
    for (int64_t i = 0; i < n; i++) {
        float row = 0;
        for (int j = 0; j < OUTPUTS; j++) {
            float d = out[i * OUTPUTS + j] - y[i * OUTPUTS + j];
            row += d * d;
        }
        sum += weight[i] * row / OUTPUTS;
    }
    *loss = sum / (float)n;
    *total += sum;
    *count += (float)n;
}

/* x, out, y, sample weight, rate, kernel, bias, iteration */
static void run_update(void *const *arg, int64_t n, int64_t task, void *scratch)
{
    const float *x = arg[0], *out = arg[1], *y = arg[2], *weight = arg[3], *rate = arg[4];
    float *kernel = arg[5], *bias = arg[6], dk[INPUTS * OUTPUTS] = {0}, db[OUTPUTS] = {0};
    (void)task, (void)scratch;
    for (int64_t i = 0; i < n; i++) {
        for (int j = 0; j < OUTPUTS; j++) {
            float d = 2 * weight[i] * (out[i * OUTPUTS + j] - y[i * OUTPUTS + j]) / (float)(OUTPUTS * n);
            db[j] += d;
            for (int k = 0; k < INPUTS; k++) dk[k * OUTPUTS + j] += d * x[i * INPUTS + k];
        }
    }
    for (int j = 0; j < OUTPUTS; j++) bias[j] -= *rate * db[j];
    for (int j = 0; j < INPUTS * OUTPUTS; j++) kernel[j] -= *rate * dk[j];
    ++*(int64_t *)arg[7];
}

static void run_mean(void *const *arg, int64_t n, int64_t task, void *scratch)
{
    (void)n, (void)task, (void)scratch;
    *(float *)arg[2] = *(const float *)arg[0] / *(const float *)arg[1];
}

#define AT(at_space, at)                                                                                     \
    {                                                                                                        \
        .space = TFCC_##at_space, .offset = (at)                                                             \
    }
static const tfcc_place forward_args[] = {AT(INPUT, P_X), AT(VARIABLE, V_KERNEL), AT(VARIABLE, V_BIAS),
                                          AT(BATCH, 0)};
static const tfcc_place predict_args[] = {AT(INPUT, P_X), AT(VARIABLE, V_KERNEL), AT(VARIABLE, V_BIAS),
                                          AT(OUTPUT, 0)};
static const tfcc_place loss_args[] = {AT(BATCH, 0),          AT(INPUT, P_Y),        AT(INPUT, P_WEIGHT),
                                       AT(VARIABLE, V_TOTAL), AT(VARIABLE, V_COUNT), AT(FIXED, 0)};
static const tfcc_place update_args[] = {
    AT(INPUT, P_X),       AT(BATCH, 0),           AT(INPUT, P_Y),       AT(INPUT, P_WEIGHT),
    AT(VARIABLE, V_RATE), AT(VARIABLE, V_KERNEL), AT(VARIABLE, V_BIAS), AT(VARIABLE, V_ITERATION)};
static const tfcc_place mean_args[] = {AT(VARIABLE, V_TOTAL), AT(VARIABLE, V_COUNT), AT(OUTPUT, 0)};

/* batch_flops large enough that forward is shared out among threads */
#define FORWARD(args)                                                                                        \
    {                                                                                                        \
        .run = run_forward, .arg = args, .arg_count = 4, .rows_batch = 1, .rows = 1, .grain = GRAIN,         \
        .times = 1, .batch_flops = 100000, .name = "Dense \"dense\": dot"                                    \
    }
#define ONCE(function, args, args_count)                                                                     \
    {                                                                                                        \
        .run = function, .arg = args, .arg_count = args_count, .rows = 1, .grain = 1, .times = 1,            \
        .name = #function                                                                                    \
    }
static const tfcc_launch predict_launches[] = {FORWARD(predict_args)};
static const tfcc_launch eval_launches[] = {FORWARD(forward_args), ONCE(run_loss, loss_args, 6)};
static const tfcc_launch train_launches[] = {FORWARD(forward_args), ONCE(run_loss, loss_args, 6),
                                             ONCE(run_update, update_args, 8)};
static const tfcc_launch metrics_launches[] = {ONCE(run_mean, mean_args, 3)};

#define SCALAR                                                                                               \
    {                                                                                                        \
        .dtype = TFCC_F32                                                                                    \
    }
#define ROWS(columns)                                                                                        \
    {                                                                                                        \
        .dtype = TFCC_F32, .rank = 2, .batch = 1, .dim = { 1, columns }                                      \
    }
static const tfcc_output predict_outputs[] = {
    {.name = "dense", .shape = ROWS(OUTPUTS), .place = AT(OUTPUT, 0)}};
static const tfcc_output loss_outputs[] = {{.name = "loss", .shape = SCALAR, .place = AT(FIXED, 0)}};
static const tfcc_output metrics_outputs[] = {{.name = "loss", .shape = SCALAR, .place = AT(OUTPUT, 0)}};

static const tfcc_graph fixture_graphs[] = {
    {.name = "predict",
     .launch = predict_launches,
     .launch_count = 1,
     .output = predict_outputs,
     .output_count = 1},
    {.name = "eval_step",
     .launch = eval_launches,
     .launch_count = 2,
     .output = loss_outputs,
     .output_count = 1,
     .fixed_bytes = 64,
     .batch_bytes = 64},
    {.name = "train_step",
     .launch = train_launches,
     .launch_count = 3,
     .output = loss_outputs,
     .output_count = 1,
     .fixed_bytes = 64,
     .batch_bytes = 64},
    {.name = "metrics",
     .launch = metrics_launches,
     .launch_count = 1,
     .output = metrics_outputs,
     .output_count = 1},
};
static const tfcc_setting kernel_settings[] = {{.key = "seed", .number = 1}};
static const tfcc_setting rate_settings[] = {{.key = "value", .number = 0.1}};
static const tfcc_variable fixture_variables[] = {
    {.path = "dense/kernel",
     .h5 = "layers/dense/vars/0",
     .role = TFCC_WEIGHT,
     .trainable = 1,
     .shape = {.dtype = TFCC_F32, .rank = 2, .dim = {INPUTS, OUTPUTS}},
     .initializer = "glorot_uniform",
     .setting = kernel_settings,
     .setting_count = 1},
    {.path = "dense/bias",
     .h5 = "layers/dense/vars/1",
     .role = TFCC_WEIGHT,
     .trainable = 1,
     .shape = {.dtype = TFCC_F32, .rank = 1, .dim = {OUTPUTS}},
     .initializer = "zeros"},
    {.path = "SGD/iteration",
     .h5 = "optimizer/vars/0",
     .role = TFCC_OPTIMIZER,
     .shape = {.dtype = TFCC_I64},
     .initializer = "zeros"},
    {.path = "SGD/learning_rate",
     .h5 = "optimizer/vars/1",
     .role = TFCC_OPTIMIZER,
     .shape = SCALAR,
     .initializer = "constant",
     .setting = rate_settings,
     .setting_count = 1},
    {.path = "loss/total", .role = TFCC_METRIC, .shape = SCALAR, .initializer = "zeros"},
    {.path = "loss/count", .role = TFCC_METRIC, .shape = SCALAR, .initializer = "zeros"},
    {.path = "seed",
     .role = TFCC_SEED,
     .shape = {.dtype = TFCC_I64, .rank = 1, .dim = {2}},
     .initializer = "seed"},
};
static const tfcc_port fixture_ports[] = {
    {.name = "input_layer", .kind = TFCC_PORT_X, .shape = ROWS(INPUTS)},
    {.name = "dense", .kind = TFCC_PORT_Y, .shape = ROWS(OUTPUTS)},
    {.name = "dense",
     .kind = TFCC_PORT_SAMPLE_WEIGHT,
     .shape = {.dtype = TFCC_F32, .rank = 1, .batch = 1, .dim = {1}}},
};
static const tfcc_program fixture = {.abi = TFCC_ABI,
                                     .single_input = 1,
                                     .single_output = 1,
                                     .name = "fixture",
                                     .compiler = "by hand",
                                     .variable = fixture_variables,
                                     .variable_count = V_COUNT_ALL,
                                     .port = fixture_ports,
                                     .port_count = 3,
                                     .graph = fixture_graphs,
                                     .graph_count = 4,
                                     .scratch_bytes = 256,
                                     .summary = "Model: \"fixture\"\n"};

/* Text that a run wrote; the last one's only. */
typedef struct outcome {
    int status;
    char out[4096], error[4096];
} outcome;

static inline void read_text(const char *path, char *text, size_t room)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(text, 1, room - 1, f) : 0;
    text[n] = 0;
    if (f) fclose(f);
}

/* Runs the words of `line` as the program's command line in a child process; `stop_ms` > 0 sends SIGINT after
 * that time. */
static inline outcome run_program(const char *line, int stop_ms)
{
    outcome o = {.status = -1};
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char words[1024], *argv[64] = {"trainer"};
        int argc = 1;
        snprintf(words, sizeof words, "%s", line);
        for (char *w = strtok(words, " "); w && argc < 63; w = strtok(NULL, " ")) argv[argc++] = w;
        if (!freopen("run.out", "wb", stdout) || !freopen("run.err", "wb", stderr)) exit(99);
        exit(verbs_run(&fixture, argc, argv));
    }
    if (stop_ms > 0) {
        nanosleep(&(struct timespec){.tv_nsec = stop_ms * 1000000L}, NULL);
        kill(child, SIGINT);
    }
    int status;
    if (child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status)) o.status = WEXITSTATUS(status);
    read_text("run.out", o.out, sizeof o.out);
    read_text("run.err", o.error, sizeof o.error);
    return o;
}

#endif
