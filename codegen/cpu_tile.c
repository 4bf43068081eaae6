/* cpu_tile.c: the register tile, helper functions that all products of a program share. */
#include "codegen/blocking.h"

/* FAR: cells ahead at which operands that lie in memory are asked for, and elements of a row ahead of what is copied. */
enum { MOST_VECTORS = CG_TILE_VECTORS, MOST_ROWS = CG_TILE_ROWS, SMALLEST = 4, FAR = 32 };

int cg_tile_unit(const cg *c) { return (int)base_min(c->lanes, SMALLEST); }

tile_shape cg_tile_shape(const cg *c, int rows, int columns)
{
    tile_shape s = {.rows = rows, .columns = columns ? columns : c->target->nr};
    int lanes = c->lanes;
    for (int at = 0; at < s.columns; at += lanes) {
        while (lanes > s.columns - at) lanes /= 2;
        s.lanes[s.vectors] = lanes;
        s.first[s.vectors++] = at;
    }
    return s;
}

/* One cell of k: a broadcast from each row times the vectors of columns. Vectors of another width take broadcasts of their
 * own from memory: as part of a wider one they would be an instruction more. */
static void tile_step(cg *c, bool pairs, const tile_shape *s, const cg_value *row, cg_value b, cg_value *acc)
{
    cg_value column[MOST_VECTORS];
    for (int j = 0; j < s->vectors; j++) {
        column[j] = cg_load(c, cg_vector(c->f32, s->lanes[j]), cg_at(c, c->f32, b, cg_i64(c, s->first[j])), 4);
    }
    for (int from = 0, to = 0; from < s->vectors; from = to) {
        while (to < s->vectors && s->lanes[to] == s->lanes[from]) to++;
        /* No code: keeps the loads apart. */
        if (from) LLVMBuildFence(c->b, LLVMAtomicOrderingAcquireRelease, 1, "");
        for (int i = 0; i < s->rows; i++) {
            cg_value x = cg_splat(c, cg_load(c, c->f32, row[i], pairs ? 2 : 4), s->lanes[from]);
            for (int j = from; j < to; j++) {
                cg_value *sum = &acc[i * s->vectors + j];
                *sum = pairs ? cg_dot_pairs(c, x, column[j], *sum) : cg_fma(c, x, column[j], *sum);
            }
        }
    }
}

/* Address of vector j of row i. */
static cg_value place(cg *c, const tile_shape *s, cg_value tile, cg_value distance, int i, int j)
{
    cg_value row = distance ? cg_mul(c, distance, cg_i64(c, i)) : cg_i64(c, (int64_t)i * c->target->nr);
    return cg_at(c, c->f32, tile, cg_add(c, row, cg_i64(c, s->first[j])));
}

void cg_tile_begin(cg *c, const tile_shape *s, cg_value tile, cg_value distance, cg_value accumulate, cg_value *acc)
{
    const int count = s->rows * s->vectors;
    for (int i = 0; i < count; i++) acc[i] = LLVMConstNull(cg_vector(c->f32, s->lanes[i % s->vectors]));
    cg_branch more;
    cg_if_begin(c, &more, cg_icmp(c, LLVMIntNE, accumulate, cg_i64(c, 0)), count, acc);
    for (int i = 0; i < count; i++) {
        const int row = i / s->vectors, j = i % s->vectors;
        acc[i] = cg_load(c, cg_vector(c->f32, s->lanes[j]), place(c, s, tile, distance, row, j), 4);
    }
    cg_if_end(c, &more, acc);
}

void cg_tile_add(cg *c, const tile_shape *s, cg_value addend, cg_value distance, cg_value *acc)
{
    cg_branch some;
    cg_if_begin(c, &some, LLVMBuildIsNotNull(c->b, addend, ""), s->rows * s->vectors, acc);
    for (int i = 0; i < s->rows * s->vectors; i++) {
        const int row = i / s->vectors, j = i % s->vectors;
        acc[i] = cg_fadd(c, acc[i], cg_load(c, cg_vector(c->f32, s->lanes[j]), place(c, s, addend, distance, row, j), 4));
    }
    cg_if_end(c, &some, acc);
}

void cg_tile_end(cg *c, const tile_shape *s, bool streams, cg_value tile, cg_value distance, const cg_value *acc)
{
    for (int i = 0; i < s->rows * s->vectors; i++) {
        cg_value at = place(c, s, tile, distance, i / s->vectors, i % s->vectors);
        if (streams)
            cg_store_past_caches(c, acc[i], at);
        else
            cg_store(c, acc[i], at, 4);
    }
}

/* What a tile is called with. */
typedef struct tile_call {
    cg_value a, b, k, tile, accumulate, runs, ahead, step, distance, position, column, addend, addend_distance, from, from_step, to;
} tile_call;

/* Vector number `cell` of the panel that is copied, row after row; at the end the last ones again. */
static void copy_vector(cg *c, const tile_form *f, const tile_call *t, cg_value cell)
{
    const int lanes = c->lanes;
    cg_value mr = cg_i64(c, c->target->mr), row = cg_rem(c, cell, mr);
    cg_value last = cg_sub(c, t->k, cg_i64(c, lanes)), first = cg_min(c, cg_mul(c, cg_div(c, cell, mr), cg_i64(c, lanes)), last);
    cg_value from = cg_at(c, c->f32, t->from, cg_add(c, cg_mul(c, row, t->from_step), first));
    cg_value v = cg_load(c, cg_vector(c->f32, lanes), from, 4);
    cg_prefetch(c, c->f32, from, cg_i64(c, FAR), 2);
    cg_store(c, v, cg_at(c, c->f32, t->to, cg_add(c, cg_mul(c, row, cg_i64(c, f->row)), first)), 4);
}

/* At cell number `cell` of all. */
static void look_ahead(cg *c, const tile_form *f, const tile_shape *s, const tile_call *t, cg_value cell)
{
    if (f->ahead) cg_prefetch(c, c->i8, t->ahead, cg_mul(c, cell, t->step), 2);
    if (f->copies) copy_vector(c, f, t, cell);
    if (!f->strides) return;
    cg_value far = cg_add(c, cell, cg_i64(c, FAR));
    cg_prefetch(c, c->f32, t->a, cg_add(c, cg_mul(c, far, t->position), cg_i64(c, s->rows - 1)), 1);
    for (int j = s->columns - 1; j >= 0; j -= FLOATS_PER_LINE) {
        cg_prefetch(c, c->f32, t->b, cg_add(c, cg_mul(c, far, t->column), cg_i64(c, j)), 1);
    }
}

static void run_cells(cg *c, const tile_form *f, const tile_shape *s, const tile_call *t, cg_value *acc)
{
    cg_value at[MOST_ROWS];
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), t->k, 1, s->rows * s->vectors, acc);
    look_ahead(c, f, s, t, l.i);
    cg_value row = cg_at(c, c->f32, t->a, cg_mul(c, l.i, t->position));
    for (int i = 0; i < s->rows; i++) at[i] = cg_at(c, c->f32, row, cg_i64(c, i * f->row));
    tile_step(c, f->pairs, s, at, cg_at(c, c->f32, t->b, cg_mul(c, l.i, t->column)), acc);
    cg_loop_end(c, &l, acc);
}

static void run_pointers(cg *c, const tile_form *f, const tile_shape *s, const tile_call *t, cg_value *acc)
{
    cg_value row[MOST_ROWS], at[MOST_ROWS];
    cg_loop runs, l;
    cg_loop_begin(c, &runs, cg_i64(c, 0), t->runs, 1, s->rows * s->vectors, acc);
    for (int i = 0; i < s->rows; i++) {
        cg_value number = cg_add(c, cg_mul(c, runs.i, cg_i64(c, c->target->mr)), cg_i64(c, i));
        row[i] = cg_load(c, c->ptr, cg_at(c, c->ptr, t->a, number), 8);
    }
    cg_loop_begin(c, &l, cg_i64(c, 0), t->k, 1, s->rows * s->vectors, acc);
    cg_value cell = cg_add(c, cg_mul(c, runs.i, t->k), l.i), column = cg_mul(c, cell, t->column);
    look_ahead(c, f, s, t, cell);
    cg_value offset = cg_mul(c, l.i, t->position);
    for (int i = 0; i < s->rows; i++) at[i] = cg_at(c, c->f32, row[i], offset);
    tile_step(c, f->pairs, s, at, cg_at(c, c->f32, t->b, column), acc);
    cg_loop_end(c, &l, acc);
    cg_loop_end(c, &runs, acc);
}

static const char *name_of(cg *c, const tile_form *f, int rows)
{
    const char *columns = f->columns ? arena_printf(&c->scratch, "_of_%d", f->columns) : "";
    const char *form = arena_printf(&c->scratch, "_%dx%d%s%s%s%s%s%s_%d", c->target->mr, c->target->nr, f->apart ? "_apart" : "",
                                    f->adds ? "_adds" : "", f->streams ? "_streams" : "",
                                    f->ahead ? "_ahead" : f->strides ? "_strides" : f->copies ? "_copies" : "", columns,
                                    f->pairs ? "_pairs" : "", rows);
    if (f->pointers)
        return arena_printf(&c->scratch, "tile_pointers_%lld_%lld%s", (long long)f->position, (long long)f->column, form);
    return arena_printf(&c->scratch, "tile_%lld_%lld_%lld%s", (long long)f->row, (long long)f->position, (long long)f->column, form);
}

cg_value cg_tile(cg *c, const tile_form *f, int rows)
{
    const char *name = name_of(c, f, rows);
    cg_value found = cg_helper_find(c, name);
    if (found) return found;
    if (f->pairs && c->target->blocks) return f->pointers ? cg_tile_blocks_pointers(c, name, rows) : cg_tile_blocks(c, name, f, rows);
    const tile_shape s = cg_tile_shape(c, rows, f->columns);
    LLVMTypeRef param[TILE_ARGUMENTS] = {c->ptr, c->ptr, c->i64, c->ptr, c->i64};
    int count = 5;
    const int runs = count, ahead = runs + f->pointers, strides = ahead + 2 * f->ahead, distance = strides + 2 * f->strides;
    const int addend = distance + f->apart, copies = addend + 2 * f->adds;
    for (count = runs; count < copies; count++) {
        param[count] = (f->ahead && count == ahead) || (f->adds && count == addend) ? c->ptr : c->i64;
    }
    for (; count < copies + 3 * f->copies; count++) param[count] = count == copies + 1 ? c->i64 : c->ptr;
    cg_helper h = cg_helper_begin(c, name, c->none, count, param);
    cg_value given[TILE_ARGUMENTS] = {0}, acc[CG_CARRIED];
    LLVMGetParams(h.fn, given);
    const tile_call t = {.a = given[0], .b = given[1], .k = given[2], .tile = given[3], .accumulate = given[4],
                         .runs = given[runs], .ahead = given[ahead], .step = given[ahead + 1],
                         .position = f->strides ? given[strides] : cg_i64(c, f->position),
                         .column = f->strides ? given[strides + 1] : cg_i64(c, f->column),
                         .distance = f->apart ? given[distance] : NULL,
                         .addend = given[addend], .addend_distance = given[addend + 1],
                         .from = given[copies], .from_step = given[copies + 1], .to = given[copies + 2]};
    cg_tile_begin(c, &s, t.tile, t.distance, t.accumulate, acc);
    if (f->pointers)
        run_pointers(c, f, &s, &t, acc);
    else
        run_cells(c, f, &s, &t, acc);
    if (f->adds) cg_tile_add(c, &s, t.addend, t.addend_distance, acc);
    cg_tile_end(c, &s, f->streams, t.tile, t.distance, acc);
    LLVMBuildRetVoid(c->b);
    cg_helper_end(c, &h);
    return h.fn;
}
