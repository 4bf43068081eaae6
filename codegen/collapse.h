/* collapse.h: what collapse.c, which decides on dims, and collapse_rewrite.c, which rewrites the nodes,
 * share. */
#ifndef TFCC_CG_COLLAPSE_H
#define TFCC_CG_COLLAPSE_H

#include "codegen/cg.h"

typedef struct collapse {
    arena *a;
    ir_graph *g;
    int *first; /* per value: number of its first dim */
    int *up;    /* union-find over dims, or in the second round over seams */
    bool *mark; /* per class */
    bool *drop; /* per dim, after the first round */
} collapse;

bool collapse_is_rigid(const ir_node *n); /* its dims stay as they are */
int collapse_find(collapse *k, int x);    /* representative of x's class */
/* Number of the merged dim that dim d of v goes to. */
int collapse_group_of(collapse *k, ir_value v, int d);
void collapse_rewrite(collapse *k); /* all nodes: types and attributes */

#endif
