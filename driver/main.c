/* main.c: the tfcc command. */
#include "compile.h"

#include <string.h>

typedef struct verb {
    const char *name;
    char letter; /* in options.def */
    int (*run)(const options *o);
    const char *usage, *help;
} verb;

static const verb verbs[] = {
    {"compile", 'c', compile_model, "compile MODEL -o OUT [options]", "write a native program that trains, evaluates and predicts"},
    {"check", 'k', check_model, "check MODEL", "read and verify only: diagnostics, no output"},
    {"summary", 's', summarize_model, "summary MODEL", "print the table of layers, as keras.Model.summary()"},
    {"plot", 'p', plot_model, "plot MODEL -o FILE.svg", "draw the graph of layers (.svg, or .dot text)"},
};

static int print_help(FILE *to)
{
    fprintf(to, "usage: tfcc VERB ... | --list-WHAT | --version | --help | help VERB\n"
                "MODEL is model.json (Keras 3 or 2 model.to_json()), a .keras archive or a whole model in .h5\n\n");
    for (size_t i = 0; i < countof(verbs); i++) fprintf(to, "  %-32s %s\n", verbs[i].usage, verbs[i].help);
    return to == stdout ? 0 : 1;
}

static const verb *find(const char *name)
{
    for (size_t i = 0; i < countof(verbs); i++) {
        if (strcmp(verbs[i].name, name) == 0) return &verbs[i];
    }
    fprintf(stderr, "tfcc: expected compile, check, summary, plot or help, found \"%s\"\n", name);
    return NULL;
}

static int print_verb_help(const char *name)
{
    const verb *v = find(name);
    if (!v) return 1;
    printf("usage: tfcc %s\n%s\n\n", v->usage, v->help);
    options_print(v->letter, stdout);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) return print_help(stderr);
    if (strcmp(argv[1], "--help") == 0) return print_help(stdout);
    if (strcmp(argv[1], "--version") == 0) {
        printf("tfcc %s\n", TFCC_VERSION);
        return 0;
    }
    if (strcmp(argv[1], "help") == 0) return argc < 3 ? print_help(stdout) : print_verb_help(argv[2]);
    const bool lists = strncmp(argv[1], "--list-", 7) == 0; /* of compile, and known without it too */
    const verb *v = lists ? &verbs[0] : find(argv[1]);
    if (!v) return 1;
    if (argc == 3 && strcmp(argv[2], "--help") == 0) return print_verb_help(argv[1]);
    options o;
    if (!options_read(&o, v->letter, lists ? 1 : 2, argc, argv)) return 1;
    return v->run(&o);
}
