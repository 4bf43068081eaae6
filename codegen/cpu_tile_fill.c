/* cpu_tile_fill.c: the register tile that packs on its way. A tile that sums stores nothing, so writing an operand's panel
 * while it is read for the first time costs next to nothing, where packing before would wait for memory. */
#include "codegen/contraction.h"

/* Multiply-adds of vectors from what is read to what is asked for. */
enum { AHEAD = 448 };

typedef struct filling {
    const tile_fill *form;
    tile_shape shape;
    cg_value arg[FILL_ARGUMENTS], row[CG_TILE_ROWS];
} filling;

/* From what is read at a position to what is asked for: some positions further on, or, at the end, from the start of the next
 * panel on, which is `width` elements away. Into the second cache: positions far apart fall on few sets of the first. */
static cg_value find_ahead(cg *c, const filling *t, cg_value position, cg_value step, int width)
{
    cg_value ahead = cg_i64(c, AHEAD * c->lanes / (c->target->mr * c->target->nr)), all = t->arg[FILL_K];
    if (t->form->pointers) all = cg_mul(c, all, t->arg[FILL_RUNS]);
    cg_value next = cg_add(c, cg_mul(c, cg_sub(c, ahead, all), step), cg_i64(c, width));
    cg_value inside = cg_icmp(c, LLVMIntSLT, cg_add(c, position, ahead), all);
    return cg_select(c, inside, cg_mul(c, ahead, step), next);
}

/* Position number `position` of b: its vectors, into their panel too. */
static void read_columns(cg *c, const filling *t, cg_value position, cg_value *out)
{
    const int64_t nr = c->target->nr;
    const tile_shape *s = &t->shape;
    cg_value step = t->form->b ? t->arg[FILL_B_STEP] : cg_i64(c, nr);
    cg_value from = cg_at(c, c->f32, t->arg[FILL_B], cg_mul(c, position, step));
    cg_value to = cg_at(c, c->f32, t->arg[FILL_B_PANEL], cg_mul(c, position, cg_i64(c, nr)));
    cg_value ahead = t->form->b ? find_ahead(c, t, position, step, (int)nr) : NULL;
    for (int j = 0; j < s->vectors; j++) {
        cg_value first = cg_i64(c, s->first[j]);
        out[j] = cg_load(c, cg_vector(c->f32, s->lanes[j]), cg_at(c, c->f32, from, first), 4);
        if (!t->form->b) continue;
        cg_store(c, out[j], cg_at(c, c->f32, to, first), 4);
        cg_prefetch(c, c->f32, from, cg_add(c, ahead, first), 2);
    }
}

/* The rows of a at a position into their panel. */
static void copy_rows(cg *c, const filling *t, cg_value position)
{
    const int mr = c->target->mr;
    cg_value step = t->arg[FILL_A_STEP], from = cg_at(c, c->f32, t->arg[FILL_A], cg_mul(c, position, step));
    cg_value to = cg_at(c, c->f32, t->arg[FILL_A_PANEL], cg_mul(c, position, cg_i64(c, mr)));
    cg_value ahead = find_ahead(c, t, position, step, mr);
    LLVMTypeRef vector = cg_vector(c->f32, c->lanes);
    for (int i = 0; i < mr; i += c->lanes) {
        cg_value at = cg_at(c, c->f32, from, cg_i64(c, i));
        cg_value v = mr - i < c->lanes ? cg_load_masked(c, vector, at, 4, cg_mask_first(c, c->lanes, cg_i64(c, mr - i)))
                                       : cg_load(c, vector, at, 4);
        cg_store(c, v, cg_at(c, c->f32, to, cg_i64(c, i)), 4);
    }
    cg_prefetch(c, c->f32, from, ahead, 2);
    cg_prefetch(c, c->f32, from, cg_add(c, ahead, cg_i64(c, mr - 1)), 2);
}

/* Position `position` of the run whose rows t->row holds, number `number` of all. */
static void fill_step(cg *c, const filling *t, cg_value position, cg_value number, cg_value *acc)
{
    const tile_shape *s = &t->shape;
    cg_value column[CG_TILE_VECTORS];
    read_columns(c, t, number, column);
    for (int i = 0; i < s->rows; i++) {
        cg_value step = t->form->a ? t->arg[FILL_A_STEP] : cg_i64(c, t->form->position);
        cg_value x = cg_load(c, c->f32, cg_at(c, c->f32, t->row[i], cg_mul(c, position, step)), 4);
        for (int j = 0; j < s->vectors; j++) {
            cg_value *sum = &acc[i * s->vectors + j];
            *sum = cg_fma(c, cg_splat(c, x, s->lanes[j]), column[j], *sum);
        }
    }
    if (t->form->a) copy_rows(c, t, position);
}

static void fill_run(cg *c, filling *t, cg_value begun, cg_value *acc)
{
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), t->arg[FILL_K], 1, t->shape.rows * t->shape.vectors, acc);
    fill_step(c, t, l.i, cg_add(c, begun, l.i), acc);
    cg_loop_end(c, &l, acc);
}

static void fill_pointers(cg *c, filling *t, cg_value *acc)
{
    cg_loop runs;
    cg_loop_begin(c, &runs, cg_i64(c, 0), t->arg[FILL_RUNS], 1, t->shape.rows * t->shape.vectors, acc);
    for (int i = 0; i < t->shape.rows; i++) {
        cg_value number = cg_add(c, cg_mul(c, runs.i, cg_i64(c, c->target->mr)), cg_i64(c, i));
        t->row[i] = cg_load(c, c->ptr, cg_at(c, c->ptr, t->arg[FILL_A], number), 8);
    }
    fill_run(c, t, cg_mul(c, runs.i, t->arg[FILL_K]), acc);
    cg_loop_end(c, &runs, acc);
}

static const char *name_of(cg *c, const tile_fill *f)
{
    const char *form = arena_printf(&c->scratch, "%s%s%s%s_%dx%d", f->a ? "a" : "", f->b ? "b" : "", f->apart ? "_apart" : "", f->adds ? "_adds" : "",
                                    c->target->mr, c->target->nr);
    if (f->a) return arena_printf(&c->scratch, "tile_fill_%s", form);
    if (f->pointers) return arena_printf(&c->scratch, "tile_fill_pointers_%lld_%s", (long long)f->position, form);
    return arena_printf(&c->scratch, "tile_fill_%lld_%lld_%s", (long long)f->row, (long long)f->position, form);
}

cg_value cg_tile_fill(cg *c, const tile_fill *f)
{
    const char *name = name_of(c, f);
    cg_value found = cg_helper_find(c, name), acc[CG_CARRIED];
    if (found) return found;
    LLVMTypeRef param[FILL_ARGUMENTS];
    for (int i = 0; i < FILL_ARGUMENTS; i++) param[i] = c->i64;
    param[FILL_A] = param[FILL_B] = param[FILL_TILE] = param[FILL_ADDEND] = param[FILL_A_PANEL] = param[FILL_B_PANEL] = c->ptr;
    cg_helper h = cg_helper_begin(c, name, c->none, FILL_ARGUMENTS, param);
    filling t = {.form = f, .shape = cg_tile_shape(c, c->target->mr, 0)};
    for (int i = 0; i < FILL_ARGUMENTS; i++) t.arg[i] = LLVMGetParam(h.fn, (unsigned)i);
    cg_value distance = f->apart ? t.arg[FILL_DISTANCE] : NULL;
    cg_tile_begin(c, &t.shape, t.arg[FILL_TILE], distance, t.arg[FILL_ACCUMULATE], acc);
    if (f->pointers) {
        fill_pointers(c, &t, acc);
    } else {
        for (int i = 0; i < t.shape.rows; i++) t.row[i] = cg_at(c, c->f32, t.arg[FILL_A], cg_i64(c, f->a ? i : i * f->row));
        fill_run(c, &t, cg_i64(c, 0), acc);
    }
    if (f->adds) cg_tile_add(c, &t.shape, t.arg[FILL_ADDEND], t.arg[FILL_ADDEND_DISTANCE], acc);
    cg_tile_end(c, &t.shape, false, t.arg[FILL_TILE], distance, acc);
    LLVMBuildRetVoid(c->b);
    cg_helper_end(c, &h);
    return h.fn;
}
