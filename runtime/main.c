/* main.c: alone in its file, so that programs with a main of their own can link the library. */
#include "verbs.h"

int main(int argc, char **argv) { return verbs_run(tfcc_get_program(), argc, argv); }
