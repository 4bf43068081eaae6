/* attention.c: see attention.h. */
#include "codegen/attention.h"

#include <math.h>

attend attend_of(cg *c)
{
    const ir_node *n = cg_node(c, c->body->main);
    const ir_graph *g = c->body->graph;
    attend a = {.node = n, .of = ir_attention_of(g, n), .mr = c->target->mr, .nr = c->target->nr};
    a.batches = a.of.query.rank - 2;
    a.rows = a.of.query.dim[a.batches].count;
    a.keys = a.of.key.dim[a.batches].count;
    a.width = a.of.query.dim[a.batches + 1].count;
    a.value_width = a.of.value.dim[a.batches + 1].count;
    a.has_bias = !ir_is_filled_with(g, n->in[ATTENTION_BIAS], 0);
    a.has_mask = !ir_is_filled_with(g, n->in[ATTENTION_MASK], 1);
    a.has_keep = !ir_is_filled_with(g, n->in[ATTENTION_KEEP], 1);
    return a;
}

int64_t attend_block(int64_t whole, int64_t most, int64_t unit)
{
    const int64_t parts = base_ceil_div(whole, most + most / 4);
    return attend_round_up(base_ceil_div(whole, parts), unit);
}

attend_matrix attend_operand(cg *c, ir_attention_in in, const attend *a, const int64_t *dims)
{
    const ir_value v = a->node->in[in];
    return (attend_matrix){.value = v, .type = *cg_type(c, v), .dims = dims, .address = c->binding[v].address};
}

/* The elements of a tuple lie one after another, each a multiple of 64 bytes (times N when they grow with N). */
attend_matrix attend_result(cg *c, const attend *a, int element, const int64_t *dims)
{
    ir_dim skipped = ir_fixed(0);
    const ir_type *t = a->node->type.element;
    for (int e = 0; e < element; e++) {
        ir_dim all = ir_fixed(0);
        bug_if(!ir_type_elements(&t[e], &all), "a result of attention that cannot be counted");
        skipped.batch = all.batch;
        skipped.count += attend_round_up(all.count * (int64_t)sizeof(float), 64);
    }
    const cg_value address = cg_at(c, c->i8, c->arg[cg_body_root_arg(c->body, 0)], cg_dim(c, skipped));
    return (attend_matrix){.value = IR_NONE, .type = t[element], .dims = dims, .address = address};
}

ir_dim attend_points(const attend *a)
{
    ir_dim all = ir_fixed(1);
    for (int d = 0; d < a->batches; d++) {
        all.count *= a->of.query.dim[d].count;
        all.batch |= a->of.query.dim[d].batch;
    }
    return all;
}

void attend_point(cg *c, attend *a, cg_value batch, int count, attend_matrix *const *matrix)
{
    a->batch = batch;
    if (a->batches) cg_index_split(c, &a->of.query, 0, a->batches, batch, a->at);
    for (int i = 0; i < count; i++) {
        attend_matrix *m = matrix[i];
        m->base = cg_i64(c, 0);
        for (int d = 0; d <= a->batches && d < m->type.rank; d++) {
            const int dim = m->dims ? (int)m->dims[d] : d;
            const cg_value stride = cg_elements(c, &m->type, dim + 1, m->type.rank);
            if (d == a->batches)
                m->stride = stride;
            else
                m->base = cg_add(c, m->base, cg_mul(c, a->at[d], stride));
        }
    }
}

cg_value attend_address(cg *c, const attend_matrix *m, cg_value row, cg_value column)
{
    return cg_at(c, c->f32, m->address, cg_add(c, m->base, cg_add(c, cg_mul(c, row, m->stride), column)));
}

/* ---- packing --------------------------------------------------------------------------------------------------- */

static contraction_dim along(role r, int d) { return (contraction_dim){.count = 1, .term = {{r, d, 1}}, .dilation = 1}; }

void attend_pack_run(cg *c, const attend *a, const attend_pack *p)
{
    const attend_matrix *m = p->matrix;
    const int rank = a->batches + 2;
    contraction x = {.main = IR_NONE, .lhs = {.value = m->value, .rank = rank}};
    const role rows = p->turned ? ROLE_K : ROLE_M, columns = p->turned ? ROLE_M : ROLE_K;
    const ir_dim row_count = m->type.dim[m->dims ? m->dims[rank - 2] : rank - 2], column_count = m->type.dim[rank - 1];
    for (int d = 0; d < rank; d++) {
        const int64_t dim = m->dims ? m->dims[d] : d;
        const role r = d < a->batches ? ROLE_B : d == a->batches ? rows : columns;
        x.lhs.dim[dim] = along(r, x.count[r]);
        x.size[r][x.count[r]++] = m->type.dim[dim];
    }
    const cg_value zero = cg_i64(c, 0);
    const pack how = {.x = &x, .side = &x.lhs, .role = ROLE_M, .width = (int)p->width, .room = p->room, .batch = a->batch,
                      .address = p->address, .row = p->turned ? zero : p->row,
                      .row_end = p->turned ? cg_dim(c, column_count) : cg_add(c, p->row, p->count),
                      .limit = cg_dim(c, p->turned ? column_count : row_count), .k = p->turned ? p->row : zero,
                      .length = p->turned ? p->count : cg_dim(c, column_count)};
    cg_pack(c, &how);
}

/* ---- tiles ------------------------------------------------------------------------------------------------------ */

attend_tiles attend_tiles_of(cg *c, const attend *a, int64_t rows, bool pointers)
{
    attend_tiles t = {0};
    const int64_t unit = cg_tile_unit(c), rest = attend_round_up(a->keys % a->nr, unit);
    for (int cut = 0; cut <= (rest && rest < a->nr); cut++) {
        const tile_form form = {.row = 1, .position = pointers ? 1 : a->mr, .column = a->nr, .pointers = pointers,
                                .columns = cut ? (int)rest : 0};
        t.fn[0][cut] = cg_tile(c, &form, (int)a->mr);
        if (rows % a->mr) t.fn[1][cut] = cg_tile(c, &form, (int)(rows % a->mr));
    }
    return t;
}

static void call_strip(cg *c, const attend *a, const attend_tiles *tiles, int cut, cg_value left, int count, cg_value *arg)
{
    if (!tiles->fn[1][cut]) {
        cg_helper_call(c, tiles->fn[0][cut], count, arg);
        return;
    }
    cg_branch whole;
    cg_if_begin(c, &whole, cg_icmp(c, LLVMIntSGE, left, cg_i64(c, a->mr)), 0, NULL);
    cg_helper_call(c, tiles->fn[0][cut], count, arg);
    cg_if_other(c, &whole, NULL);
    cg_helper_call(c, tiles->fn[1][cut], count, arg);
    cg_if_end(c, &whole, NULL);
}

void attend_tile(cg *c, const attend *a, const attend_tiles *tiles, cg_value left, cg_value cut, int count, cg_value *arg)
{
    if (!cut || !tiles->fn[0][1]) {
        call_strip(c, a, tiles, 0, left, count, arg);
        return;
    }
    cg_branch last;
    cg_if_begin(c, &last, cut, 0, NULL);
    call_strip(c, a, tiles, 1, left, count, arg);
    cg_if_other(c, &last, NULL);
    call_strip(c, a, tiles, 0, left, count, arg);
    cg_if_end(c, &last, NULL);
}

cg_value attend_is_cut(cg *c, const attend *a, cg_value key)
{
    return a->keys % a->nr ? cg_icmp(c, LLVMIntSGT, key, cg_i64(c, a->keys - a->nr)) : NULL;
}

void attend_sum_run(cg *c, const attend *a, const attend_sum *s, cg_value left)
{
    const cg_value one = cg_i64(c, 1), end = cg_add(c, s->key, cg_mul(c, s->panels, cg_i64(c, a->nr)));
    const cg_value cut = attend_is_cut(c, a, cg_sub(c, end, cg_i64(c, a->nr)));
    const cg_value whole = cut ? cg_sub(c, s->panels, LLVMBuildZExt(c->b, cut, c->i64, "")) : s->panels;
    cg_value arg[] = {s->table, s->right, cg_i64(c, a->nr), s->tile, s->more, whole};
    attend_tile(c, a, &a->tile, left, NULL, 6, arg);
    if (!cut) return;
    cg_branch some;
    cg_if_begin(c, &some, cut, 0, NULL);
    cg_value rest[] = {cg_at(c, c->ptr, s->table, cg_mul(c, whole, cg_i64(c, a->mr))),
                       attend_at(c, s->right, cg_mul(c, whole, cg_i64(c, a->nr * a->nr))), cg_i64(c, a->keys % a->nr),
                       s->tile, one, one};
    attend_tile(c, a, &a->tile, left, NULL, 6, rest);
    cg_if_end(c, &some, NULL);
}

void attend_fill_table(cg *c, const attend *a, const attend_matrix *m, cg_value row, cg_value table)
{
    for (int64_t i = 0; i < a->mr; i++) {
        const cg_value at = cg_min(c, cg_add(c, row, cg_i64(c, i)), cg_i64(c, a->rows - 1));
        cg_store(c, attend_address(c, m, at, cg_i64(c, 0)), cg_at(c, c->ptr, table, cg_i64(c, i)), 8);
    }
}

void attend_store_row(cg *c, const attend *a, const attend_matrix *m, cg_value row, int64_t width, cg_value tiles_at,
                      cg_value place, cg_value by)
{
    const LLVMTypeRef vector = cg_vector(c->f32, c->lanes);
    const int64_t panels = base_ceil_div(width, a->nr), tile = a->mr * a->nr;
    const cg_value strip = cg_div(c, place, cg_i64(c, a->mr)), inner = cg_rem(c, place, cg_i64(c, a->mr));
    const cg_value base = cg_add(c, cg_mul(c, strip, cg_i64(c, panels * tile)), cg_mul(c, inner, cg_i64(c, a->nr)));
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, panels), 1, 0, NULL);
    for (int64_t u = 0; u < a->nr; u += c->lanes) {
        const cg_value column = cg_add(c, cg_mul(c, l.i, cg_i64(c, a->nr)), cg_i64(c, u));
        const cg_value from = cg_add(c, base, cg_add(c, cg_mul(c, l.i, cg_i64(c, tile)), cg_i64(c, u)));
        const cg_value sum = cg_load(c, vector, attend_at(c, tiles_at, from), 4);
        const cg_value x = by ? cg_fmul(c, sum, cg_splat(c, by, c->lanes)) : sum;
        const cg_value to = attend_address(c, m, row, column);
        if (width % a->nr == 0)
            cg_store(c, x, to, 4);
        else
            cg_store_masked(c, x, to, 4, cg_mask_first(c, c->lanes, cg_sub(c, cg_i64(c, width), column)));
    }
    cg_loop_end(c, &l, NULL);
}

/* ---- scores ----------------------------------------------------------------------------------------------------- */

attend_lanes attend_lanes_at(cg *c, const attend *a, cg_value row, cg_value key)
{
    cg_value at[IR_MAX_RANK];
    for (int d = 0; d < a->batches; d++) at[d] = a->at[d];
    at[a->batches] = row;
    at[a->batches + 1] = key;
    attend_lanes out = {.index = cg_index_make(c->lanes, a->batches + 2, at)};
    cg_index_run(&out.index, a->batches + 1, c->lanes);
    if (a->keys % a->nr != 0)
        out.index.mask = out.inside = cg_mask_first(c, c->lanes, cg_sub(c, cg_i64(c, a->keys), key));
    return out;
}

cg_value attend_shown(cg *c, const attend *a, const attend_lanes *at)
{
    return a->has_mask ? cg_element(c, a->node->in[ATTENTION_MASK], &at->index) : NULL;
}

cg_value attend_score(cg *c, const attend *a, const attend_lanes *at, cg_value shown, cg_value product)
{
    const LLVMTypeRef t = LLVMTypeOf(product);
    cg_value x = a->of.scale == 1 ? product : cg_fmul(c, product, cg_fill(c, t, a->of.scale));
    if (a->has_bias) x = cg_fadd(c, x, cg_element(c, a->node->in[ATTENTION_BIAS], &at->index));
    if (shown) x = cg_select(c, shown, x, cg_fill(c, t, a->of.fill));
    return at->inside ? cg_select(c, at->inside, x, cg_fill(c, t, -INFINITY)) : x;
}

cg_value attend_keep(cg *c, const attend *a, const attend_lanes *at, cg_value x)
{
    return a->has_keep ? cg_fmul(c, x, cg_element(c, a->node->in[ATTENTION_KEEP], &at->index)) : x;
}

cg_value attend_seen(cg *c, const attend *a, cg_value first, cg_value last, cg_value panels)
{
    const cg_value keys = cg_max(c, cg_add(c, cg_sub(c, last, first), cg_i64(c, 1)), cg_i64(c, 0));
    return cg_min(c, panels, cg_div(c, cg_add(c, keys, cg_i64(c, a->nr - 1)), cg_i64(c, a->nr)));
}

cg_value attend_is_sure(cg *c, const attend *a, cg_value top)
{
    return cg_fcmp(c, LLVMRealOGT, top, cg_fill(c, LLVMTypeOf(top), a->of.fill / 2));
}

cg_value attend_larger(cg *c, cg_value a, cg_value b) { return cg_select(c, cg_fcmp(c, LLVMRealOGT, a, b), a, b); }
