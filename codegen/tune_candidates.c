/* tune_candidates.c: what there is to choose from for a product, see tune.h. */
#include "codegen/contraction.h"
#include "codegen/tune.h"

#include <string.h>

enum { LEAST = 16, MOST = 4096, MOST_CELLS = 1 << 20, MOST_PLACES = 1 << 17 }; /* of a block; each place of a tile */

static const ir_node *main_of(const tune_kernel *k) { return &k->body.graph->node[k->body.main]; }

/* Panels are of floats, shorter ones as f32. */
static bool has_panels(const tune_kernel *k)
{
    const ir_dtype t = main_of(k)->type.dtype;
    return ir_dtype_is_float(t) && t != DTYPE_f64;
}

/* The right operand lies in panels of so many columns; 0: in none. */
static int64_t panels_of(const tune_kernel *k)
{
    const ir_node *n = main_of(k);
    return ir_attr_find(n, ATTR_panels) ? k->body.graph->node[n->in[1]].type.dim[2].count : 0;
}

static int registers_of(int64_t rows, int64_t vectors) { return (int)(rows * vectors + vectors + 1); }

static bool is_valid_tile(const cg_target *t, int64_t mr, int64_t nr)
{
    const int64_t lanes = t->bits / 32;
    if (mr == t->mr && nr == t->nr) return true;
    if (t->blocks || mr < 1 || mr > CG_TILE_ROWS || nr < lanes || nr > base_min(CG_TILE_COLUMNS, CG_TILE_VECTORS * lanes)) return false;
    return nr % lanes == 0 && registers_of(mr, nr / lanes) <= t->registers;
}

bool tune_is_valid(const cg_platform *p, const tune_kernel *k, const tune_choice *choice)
{
    bool allowed = false;
    for (int i = 0; i < k->steps; i++) allowed = allowed || k->step[i] == choice->winograd;
    if (!allowed || !choice->tiled) return allowed;
    const cg_tiles *t = &choice->tiles;
    if (!has_panels(k)) return false;
    if (!t->mr) return !choice->winograd && !panels_of(k) && !t->nr && !t->m && !t->n && !t->k;
    const int64_t cells = choice->winograd ? MOST_PLACES : MOST_CELLS;
    const int64_t least = base_min(t->m, base_min(t->n, t->k)), most = base_max(t->m, base_max(t->n, t->k));
    return is_valid_tile(p->target, t->mr, t->nr) && panels_of(k) % t->nr == 0 && least >= LEAST && most <= MOST && t->m * t->n <= cells &&
           t->k * base_max(t->m, t->n) <= cells;
}

bool tune_equal(const tune_choice *x, const tune_choice *y)
{
    if (x->winograd != y->winograd || x->tiled != y->tiled) return false;
    const cg_tiles *a = &x->tiles, *b = &y->tiles;
    return !x->tiled || (a->mr == b->mr && a->nr == b->nr && a->m == b->m && a->n == b->n && a->k == b->k);
}

typedef struct list {
    const cg_platform *platform;
    const tune_kernel *kernel;
    tune_choice *item;
    int count;
} list;

static void add(list *l, const tune_choice *choice)
{
    if (l->count == TUNE_CANDIDATES || !tune_is_valid(l->platform, l->kernel, choice)) return;
    for (int i = 0; i < l->count; i++) {
        if (tune_equal(&l->item[i], choice)) return;
    }
    l->item[l->count++] = *choice;
}

static void add_tiled(list *l, int winograd, cg_tiles tiles)
{
    const tune_choice choice = {.winograd = winograd, .tiled = true, .tiles = tiles};
    add(l, &choice);
}

/* Rows of a tile that cut `rows` into parts nearly as large as each other. */
static int64_t even_rows(int64_t rows, int64_t mr) { return base_ceil_div(rows, base_ceil_div(rows, mr)); }

/* The tallest tile of every width, and the one that fits the rows there are. */
static void add_register_tiles(list *l, int winograd, cg_tiles from)
{
    const cg_target *t = l->platform->target;
    const int64_t lanes = t->bits / 32;
    cg c = {.body = &l->kernel->body};
    contraction x;
    contraction_build(&c, &x);
    const ir_dim m = contraction_size(&x, ROLE_M);
    for (int vectors = 1; vectors <= 4; vectors++) {
        cg_tiles to = from;
        to.nr = vectors * lanes;
        to.mr = base_min((t->registers - 1 - vectors) / vectors, CG_TILE_ROWS);
        if (to.mr > 1) add_tiled(l, winograd, to);
        if (to.mr <= 1 || m.batch || winograd) continue;
        to.mr = even_rows(m.count, to.mr);
        add_tiled(l, winograd, to);
    }
}

static void add_blocks(list *l, int winograd, cg_tiles from)
{
    for (int shrinks = 0; shrinks < 2; shrinks++) {
        cg_tiles m = from, n = from, k = from, task = from;
        m.m = shrinks ? m.m / 2 : m.m * 2;
        n.n = shrinks ? n.n / 2 : n.n * 2;
        k.k = shrinks ? k.k / 2 : k.k * 2;
        task.m = shrinks ? task.m / 2 : task.m * 2;
        task.n = shrinks ? task.n / 2 : task.n * 2;
        add_tiled(l, winograd, m);
        add_tiled(l, winograd, n);
        add_tiled(l, winograd, k);
        add_tiled(l, winograd, task);
    }
}

int tune_candidates(const cg_platform *p, const tune_kernel *k, const tune_choice *around, tune_choice *out)
{
    list l = {p, k, out, 0};
    const bool first = tune_equal(around, &k->planned);
    add(&l, &k->planned);
    add(&l, around);
    for (int i = 0; first && i < k->steps; i++) add(&l, &(tune_choice){.winograd = k->step[i]});
    if (!has_panels(k)) return l.count;
    if (first && !around->winograd) add_tiled(&l, 0, (cg_tiles){0});
    if (around->tiled && !around->tiles.mr) return l.count;
    const cg_tiles from = around->tiled ? around->tiles : cg_tiles_usual(p->target, around->winograd, main_of(k));
    add_register_tiles(&l, around->winograd, from);
    add_blocks(&l, around->winograd, from);
    return l.count;
}

ir_node tune_apply(arena *a, const ir_node *n, const tune_choice *choice)
{
    ir_node out = *n;
    ir_attr *attr = arena_array(a, ir_attr, (size_t)n->attr_count + 2);
    int count = 0;
    for (int name = 0; name < ATTR_COUNT; name++) {
        const ir_attr *old = ir_attr_find(n, (ir_attr_name)name);
        if (name == ATTR_winograd) {
            if (choice->winograd) attr[count++] = (ir_attr){.name = ATTR_winograd, .i = choice->winograd};
        } else if (name == ATTR_tiles) {
            const cg_tiles *t = &choice->tiles;
            const int64_t item[] = {t->mr, t->nr, t->m, t->n, t->k};
            ir_attr tiles = {.name = ATTR_tiles};
            tiles.ints.count = countof(item);
            tiles.ints.item = arena_copy(a, item, sizeof item);
            if (choice->tiled) attr[count++] = tiles;
        } else if (old) {
            attr[count++] = *old;
        }
    }
    out.attr = attr;
    out.attr_count = count;
    return out;
}
