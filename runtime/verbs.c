/* verbs.c: the table of verbs; see verbs.h. */
#include "verbs.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct verb {
    const char *name;
    verb_set set;
    bool (*run)(rt *r, const options *o);
    const char *help;
} verbs[] = {
    {"fit", FIT, verb_fit, "train the model"},
    {"evaluate", EVALUATE, verb_evaluate, "print the loss and metrics on a data set"},
    {"predict", PREDICT, verb_predict, "write the model's outputs for a data set"},
    {"bench", BENCH, verb_bench, "measure the time of a step on made-up data"},
    {"summary", SUMMARY, verb_summary, "print the table of layers"},
};

static const struct verb *find_verb(const char *name)
{
    for (size_t i = 0; i < RT_COUNT(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0) return &verbs[i];
    }
    return NULL;
}

static void print_verb_help(const rt *r, const struct verb *v)
{
    printf("usage: %s %s [options]: %s\n", r->name, v->name, v->help);
    options_print_help(v->set);
}

static void print_help(const rt *r)
{
    printf("%s: model \"%s\", compiled by %s\n\nusage: %s VERB [options]\n", r->name, r->program->name,
           r->program->compiler, r->name);
    for (size_t i = 0; i < RT_COUNT(verbs); i++) printf("  %-10s %s\n", verbs[i].name, verbs[i].help);
    printf("%s VERB --help lists the options of a verb.\n", r->name);
}

bool verb_summary(rt *r, const options *o)
{
    (void)o;
    fputs(r->program->summary ? r->program->summary : "", stdout);
    return true;
}

static bool refuse_verb(rt *r, const char *word)
{
    const char *known[RT_COUNT(verbs)];
    for (size_t i = 0; i < RT_COUNT(verbs); i++) known[i] = verbs[i].name;
    const char *near = rt_nearest(word, known, RT_COUNT(verbs));
    if (near) return rt_wrong(r, "unknown verb \"%s\"; did you mean \"%s\"?", word, near);
    return rt_wrong(r, "unknown verb \"%s\"; expected fit, evaluate, predict, bench or summary", word);
}

static bool run_words(rt *r, int argc, char **argv)
{
    options o;
    const char *word = argc > 1 ? argv[1] : "--help";
    if (strcmp(word, "--help") == 0 || strcmp(word, "help") == 0) {
        const struct verb *v = argc > 2 ? find_verb(argv[2]) : NULL;
        if (v)
            print_verb_help(r, v);
        else
            print_help(r);
        return argc > 1 || rt_wrong(r, "expected a verb");
    }
    if (strcmp(word, "--version") == 0) {
        printf("%s (%s)\n", r->program->name, r->program->compiler);
        return true;
    }
    const struct verb *v = find_verb(word);
    if (!v) return refuse_verb(r, word);
    if (!options_read(&o, r, v->set, argc - 2, argv + 2)) return false;
    if (!o.help) return v->run(r, &o);
    print_verb_help(r, v);
    return true;
}

int verbs_run(const tfcc_program *program, int argc, char **argv)
{
    rt r;
    const char *slash = argc > 0 ? strrchr(argv[0], '/') : NULL;
    rt_init(&r, slash ? slash + 1 : argc > 0 ? argv[0] : "trainer", program);
    if (program->abi != TFCC_ABI) {
        rt_failed(&r, "compiled by %s for runtime %u, linked with runtime %u", program->compiler,
                  (unsigned)program->abi, (unsigned)TFCC_ABI);
    } else if (run_words(&r, argc, argv)) {
        errno = 0;
        if (fflush(stdout) != 0 || ferror(stdout))
            rt_failed(&r, "cannot write to standard output: %s", strerror(errno));
    }
    rt_done(&r);
    return r.status;
}
