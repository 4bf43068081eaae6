/* cpu_depthwise.c: see depthwise.h. The sums of a block of positions and a line of channels stay in registers over all taps; an
 * image element is loaded once per row of taps for all positions of the block that it meets. Blocks read memory in short
 * pieces, which processors do not fetch ahead by themselves, so each asks for what the row below it reads. Of a dilated
 * image (the gradient of a strided convolution) the positions of one phase meet the same taps, and no zero is multiplied.
 * With two spatial dims the taps of a row of results are known at compile time too: rows at the borders and phases of
 * rows have code of their own. */
#include "codegen/depthwise.h"
#include "codegen/row_sums.h"

#include <string.h>

enum { MOST_POSITIONS = 8, MOST_SUMS = 32, FLOATS_PER_LINE = CG_LINE_BYTES / 4, MOST_TAPS = 32, MOST_PHASES = 4, PREFETCH = 2 };

/* The phases of a spatial dim: result position of line position i is i * pitch + phase. */
typedef struct phases {
    int64_t pitch;
    depthwise_line line[MOST_PHASES];
} phases;

typedef struct taps {
    depthwise base;
    row_sums sums; /* over all positions */
    phases columns, rows;
    const depthwise_line *row; /* taps of this row of results; NULL: looped over */
    cg_value row_at;           /* its line position, */
    int64_t row_border;        /* which is this when it lies at the border; else -1 */
    const depthwise_line *line; /* taps of a block of results: */
    int64_t phase;
    cg_value first;            /* line position of the first one, */
    int64_t border;            /* which is this when some lie at the border; else -1 */
    int positions, count;      /* of a block, at most; of this one */
    int lanes, width;
    cg_value channel;
} taps;

/* ---- description, shared with the weights ----------------------------------------------------------- */

static bool runs_along_channels(const contraction_side *s)
{
    const contraction_dim *last = NULL;
    for (int d = 0; d < s->rank; d++) {
        for (int i = 0; i < s->dim[d].count; i++) {
            if (s->dim[d].term[i].role == ROLE_B) last = &s->dim[d];
        }
    }
    return last && last->term[0].factor == 1 && !last->offset && !last->checked;
}

const contraction_dim *depthwise_spatial(const contraction *x, int s)
{
    for (int d = 0; d < x->lhs.rank; d++) {
        const contraction_dim *q = &x->lhs.dim[d];
        if (q->count == 2 && q->term[0].role == ROLE_M && q->term[0].dim == s + 1 && q->term[1].role == ROLE_K) return q;
    }
    return NULL;
}

int64_t depthwise_factor(const contraction_dim *d, role r) { return d->term[d->term[1].role == r].factor; }

static int64_t image_size(const cg *c, const contraction *x, const contraction_dim *d)
{
    return cg_type(c, x->lhs.value)->dim[d - x->lhs.dim].count;
}

bool cg_depthwise_has_channels_last(const cg *c, const contraction *x)
{
    const ir_node *n = cg_node(c, x->main);
    if (n->op != OP_convolution || n->type.dtype != DTYPE_f32 || x->count[ROLE_B] != 1) return false;
    if (contraction_size(x, ROLE_N).count != 1 || x->size[ROLE_B][0].batch) return false;
    if (cg_type(c, x->lhs.value)->dtype != DTYPE_f32 || cg_type(c, x->rhs.value)->dtype != DTYPE_f32) return false;
    const contraction_side *side[] = {&x->lhs, &x->out};
    for (int i = 0; i < 2; i++) {
        const contraction_dim *last = &side[i]->dim[side[i]->rank - 1];
        if (last->term[0].role != ROLE_B || !runs_along_channels(side[i])) return false;
    }
    for (int s = 0; s < x->lhs.rank - 2; s++) {
        const contraction_dim *d = depthwise_spatial(x, s);
        if (!d || cg_type(c, x->lhs.value)->dim[d - x->lhs.dim].batch) return false;
        if (x->size[ROLE_M][s + 1].batch || x->size[ROLE_K][s].batch) return false;
    }
    return runs_along_channels(&x->rhs) && x->lhs.rank > 2;
}

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

void depthwise_line_finish(depthwise_line *l)
{
    l->from = 0;
    l->to = l->count;
    for (int t = 0; t < l->taps; t++) {
        l->from = base_max(l->from, -floor_div(l->at[t], l->step));
        l->to = base_min(l->to, floor_div(l->size - 1 - l->at[t], l->step) + 1);
    }
    l->from = base_min(l->from, l->count);
    l->to = base_max(l->to, l->from);
}

void depthwise_describe(const cg *c, const contraction *x, depthwise *out)
{
    *out = (depthwise){.x = x, .image = x->lhs, .spatial = x->lhs.rank - 2, .channels = x->size[ROLE_B][0].count};
    for (int s = 0; s < out->spatial; s++) {
        contraction_dim *d = &out->image.dim[depthwise_spatial(x, s) - x->lhs.dim];
        *d = (contraction_dim){.count = 1, .term = {{ROLE_M, s + 1, 1}}, .dilation = 1};
    }
    out->vectors = (int)base_max(1, FLOATS_PER_LINE / c->lanes);
    for (int r = 0; r < ROLE_COUNT; r++) {
        for (int d = 0; d < x->count[r]; d++) {
            out->place.at[r][d] = out->at.at[r][d] = (cg_coord){.base = cg_i64(c, 0), .align = 1};
        }
    }
}

void depthwise_set_channels(cg *c, depthwise *q, cg_value channel, int lanes)
{
    (void)c;
    q->place.lanes = q->at.lanes = lanes;
    q->place.at[ROLE_B][0] = q->at.at[ROLE_B][0] = (cg_coord){.base = channel, .step = lanes > 1, .align = lanes};
}

void depthwise_split(cg *c, const ir_dim *size, int count, cg_value linear, cg_value *out_coordinate)
{
    for (int d = count - 1; d > 0; d--) {
        cg_value whole = cg_dim(c, size[d]);
        out_coordinate[d] = cg_rem(c, linear, whole);
        linear = cg_div(c, linear, whole);
    }
    out_coordinate[0] = linear;
}

cg_value depthwise_load(cg *c, const contraction_side *s, contraction_point *p, int lanes)
{
    return cg_splat(c, contraction_element(c, s, p, NULL), lanes);
}

cg_value depthwise_row(cg *c, const contraction_dim *d, cg_value m, cg_value k)
{
    cg_value row = cg_mul(c, m, cg_i64(c, depthwise_factor(d, ROLE_M)));
    row = cg_add(c, row, cg_mul(c, k, cg_i64(c, depthwise_factor(d, ROLE_K))));
    return cg_add(c, row, cg_i64(c, d->offset));
}

void depthwise_line_walk(cg *c, const depthwise_line *l, int block, int sums, cg_value *sum, depthwise_step *step,
                         void *context)
{
    const int64_t inner = l->to - l->from, middle = l->to - inner % block;
    for (int64_t i = 0; i < l->from; i++) step(c, cg_i64(c, i), 1, i, sum, context);
    if (inner >= block) {
        cg_loop blocks;
        cg_loop_begin(c, &blocks, cg_i64(c, l->from), cg_i64(c, middle), block, sums, sum);
        step(c, blocks.i, block, -1, sum, context);
        cg_loop_end(c, &blocks, sum);
    }
    if (l->to > middle) step(c, cg_i64(c, middle), (int)(l->to - middle), -1, sum, context);
    for (int64_t i = l->to; i < l->count; i++) step(c, cg_i64(c, i), 1, i, sum, context);
}

/* ---- taps ------------------------------------------------------------------------------------------- */

/* The taps of a phase of spatial dim s: those that meet an element of the dilated image. */
static void make_line(const cg *c, const contraction *x, int s, int64_t phase, depthwise_line *out)
{
    const contraction_dim *d = depthwise_spatial(x, s);
    *out = (depthwise_line){.step = depthwise_factor(d, ROLE_M), .size = image_size(c, x, d)};
    out->count = base_max(0, base_ceil_div(x->size[ROLE_M][s + 1].count - phase, d->dilation));
    for (int64_t k = 0; k < x->size[ROLE_K][s].count; k++) {
        int64_t at = phase * out->step + k * depthwise_factor(d, ROLE_K) + d->offset;
        if (at - floor_div(at, d->dilation) * d->dilation) continue;
        out->tap[out->taps] = (int)k;
        out->at[out->taps++] = floor_div(at, d->dilation);
    }
    depthwise_line_finish(out);
}

/* False when the dim has too many taps, phases or positions at borders. */
static bool make_phases(const cg *c, const contraction *x, int s, phases *out)
{
    const contraction_dim *d = depthwise_spatial(x, s);
    out->pitch = d->dilation;
    if (x->size[ROLE_K][s].count > DEPTHWISE_TAPS || d->dilation > MOST_PHASES) return false;
    if (d->dilation > 1 && depthwise_factor(d, ROLE_M) > 1) return false;
    int64_t border = 0;
    for (int64_t phase = 0; phase < d->dilation; phase++) {
        depthwise_line *l = &out->line[phase];
        make_line(c, x, s, phase, l);
        border += l->from + l->count - l->to;
    }
    return border <= DEPTHWISE_BORDER;
}

bool cg_depthwise_is_taps(const cg *c, const contraction *x)
{
    if (x->splits || !cg_depthwise_has_channels_last(c, x)) return false;
    const int last = x->lhs.rank - 3;
    phases columns;
    if (x->size[ROLE_K][last + 1].batch || x->size[ROLE_K][last + 1].count != 1) return false;
    return make_phases(c, x, last, &columns);
}

/* Position p of the block and tap t meet a column of the image that is inside. */
static bool meets(const taps *q, int p, int t, int64_t column)
{
    const depthwise_line *l = q->line;
    if (p * l->step + l->at[t] != column) return false;
    return q->border < 0 || depthwise_is_inside(l, q->border + p, t);
}

/* Adds the taps of one row of the kernel, columns of the image ascending. */
static void add_row(cg *c, taps *q, cg_value *sum)
{
    depthwise *b = &q->base;
    const depthwise_line *l = q->line;
    if (l->taps == 0) return;
    cg_value weight[DEPTHWISE_TAPS], start = cg_mul(c, q->first, cg_i64(c, l->step));
    cg_coord *tap = &b->at.at[ROLE_K][b->spatial - 1], *image = &b->place.at[ROLE_M][b->spatial];
    for (int v = 0; v < q->width; v++) {
        depthwise_set_channels(c, b, cg_add(c, q->channel, cg_i64(c, (int64_t)v * q->lanes)), q->lanes);
        for (int t = 0; t < l->taps; t++) {
            tap->base = cg_i64(c, l->tap[t]);
            weight[t] = depthwise_load(c, &b->x->rhs, &b->at, q->lanes);
        }
        const int64_t end = (q->count - 1) * l->step + l->at[l->taps - 1];
        for (int64_t column = l->at[0]; column <= end; column++) {
            cg_value x = NULL;
            image->base = cg_add(c, start, cg_i64(c, column));
            for (int i = 0; i < l->taps * q->count; i++) {
                const int t = i / q->count, p = i % q->count;
                if (!meets(q, p, t, column)) continue;
                if (!x) x = depthwise_load(c, &b->image, &b->place, q->lanes);
                cg_value *to = &sum[p * q->width + v];
                *to = cg_fma(c, x, weight[t], *to);
            }
        }
    }
}

/* The taps of spatial dims s and up; those of the last one are known, the others are looped over. */
static void loop_taps(cg *c, taps *q, int s, cg_value *sum)
{
    depthwise *b = &q->base;
    if (s == b->spatial - 1) {
        add_row(c, q, sum);
        return;
    }
    const contraction_dim *d = depthwise_spatial(b->x, s);
    const int sums = q->count * q->width;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_dim(c, b->x->size[ROLE_K][s]), 1, sums, sum);
    b->at.at[ROLE_K][s].base = l.i;
    cg_value row = depthwise_row(c, d, b->at.at[ROLE_M][s + 1].base, l.i), inside = NULL;
    if (d->dilation > 1) {
        cg_value pitch = cg_i64(c, d->dilation), quotient = LLVMBuildSDiv(c->b, row, pitch, "");
        inside = cg_icmp(c, LLVMIntEQ, cg_mul(c, quotient, pitch), row);
        row = quotient;
    }
    cg_branch br;
    if (d->checked) {
        cg_value ok = cg_icmp(c, LLVMIntULT, row, cg_i64(c, image_size(c, b->x, d)));
        cg_if_begin(c, &br, inside ? cg_and(c, inside, ok) : ok, sums, sum);
    }
    b->place.at[ROLE_M][s + 1].base = row;
    loop_taps(c, q, s + 1, sum);
    if (d->checked) cg_if_end(c, &br, sum);
    cg_loop_end(c, &l, sum);
}

static void add_taps(cg *c, taps *q, cg_value *sum)
{
    if (!q->row) {
        loop_taps(c, q, 0, sum);
        return;
    }
    for (int t = 0; t < q->row->taps; t++) {
        if (q->row_border >= 0 && !depthwise_is_inside(q->row, q->row_border, t)) continue;
        q->base.at.at[ROLE_K][0].base = cg_i64(c, q->row->tap[t]);
        cg_value row = cg_mul(c, q->row_at, cg_i64(c, q->row->step));
        q->base.place.at[ROLE_M][1].base = cg_add(c, row, cg_i64(c, q->row->at[t]));
        add_row(c, q, sum);
    }
}

static void set_position(cg *c, taps *q, int i)
{
    cg_value position = cg_mul(c, cg_add(c, q->first, cg_i64(c, i)), cg_i64(c, q->columns.pitch));
    q->base.at.at[ROLE_M][q->base.spatial].base = cg_add(c, position, cg_i64(c, q->phase));
}

static void store(cg *c, taps *q, const cg_value *sum)
{
    const int roots = c->body->root_count, results = cg_body_results(c->body), count = q->count * q->width;
    cg_result *result = arena_array(&c->scratch, cg_result, (size_t)(count * results));
    cg_result *all = arena_array(&c->scratch, cg_result, (size_t)roots);
    cg_value rows[MOST_SUMS][ROW_SUMS_VALUES];
    for (int i = 0; i < count; i++) {
        const int v = i % q->width;
        set_position(c, q, i / q->width);
        cg_value channel = cg_add(c, q->channel, cg_i64(c, (int64_t)v * q->lanes));
        depthwise_set_channels(c, &q->base, channel, q->lanes);
        cg_index index = contraction_out_index(c, q->base.x, &q->base.at, NULL);
        cg_main_results(c, &index, sum[i], all);
        memcpy(result + i * results, all, (size_t)results * sizeof *all);
        if (i < q->width) row_sums_start(c, &q->sums, all, rows[v]);
        row_sums_add(c, &q->sums, all, rows[v]);
    }
    cg_results_store(c, count * results, result);
    for (int v = 0; v < q->width; v++) {
        cg_value channel = cg_add(c, q->channel, cg_i64(c, (int64_t)v * q->lanes));
        row_sums_merge(c, &q->sums, channel, cg_i64(c, q->count), rows[v]);
    }
}

/* Asks for what the block below reads: of the image what is new then, and what the epilogue reads. */
static void prefetch_below(cg *c, taps *q)
{
    depthwise *b = &q->base;
    if (b->spatial < 2 || q->lanes * q->width < FLOATS_PER_LINE) return;
    const int outer = b->spatial - 2;
    const contraction_dim *d = depthwise_spatial(b->x, outer);
    const cg_coord here = b->at.at[ROLE_M][outer + 1];
    const int64_t last = b->x->size[ROLE_K][outer].count - 1, step = q->line->step;
    const int64_t rows = base_min(depthwise_factor(d, ROLE_M), last + 1);
    depthwise_set_channels(c, b, q->channel, q->lanes);
    b->at.at[ROLE_M][outer + 1].base = cg_add(c, here.base, cg_i64(c, 1));
    cg_value row = depthwise_row(c, d, b->at.at[ROLE_M][outer + 1].base, cg_i64(c, last));
    if (d->dilation > 1) row = cg_div(c, row, cg_i64(c, d->dilation));
    for (int64_t i = 0; i < (q->phase ? 0 : rows * q->count * step); i++) {
        cg_value column = cg_add(c, cg_mul(c, q->first, cg_i64(c, step)), cg_i64(c, i / rows));
        b->place.at[ROLE_M][outer + 1].base = cg_sub(c, row, cg_i64(c, i % rows));
        b->place.at[ROLE_M][b->spatial].base = column;
        contraction_prefetch(c, &b->image, &b->place, PREFETCH);
    }
    for (int p = 0; p < q->count; p++) {
        set_position(c, q, p);
        cg_index index = contraction_out_index(c, b->x, &b->at, NULL);
        for (int r = 0; r < cg_body_results(c->body); r++) cg_element_prefetch(c, c->body->root[r], &index, PREFETCH);
    }
    b->at.at[ROLE_M][outer + 1] = here;
}

static void write_channels(cg *c, cg_value channel, int lanes, int width, void *context)
{
    taps *q = context;
    cg_value sum[MOST_SUMS];
    q->channel = channel;
    q->lanes = lanes;
    q->width = width;
    for (int i = 0; i < q->count * width; i++) sum[i] = cg_number(c, DTYPE_f32, 0, lanes);
    prefetch_below(c, q);
    add_taps(c, q, sum);
    store(c, q, sum);
}

/* All channels of `count` line positions, of all phases that have them. */
static void write_block(cg *c, taps *q, cg_value first, int64_t count, int64_t border)
{
    for (q->phase = 0; q->phase < q->columns.pitch; q->phase++) {
        q->line = &q->columns.line[q->phase];
        q->first = first;
        q->count = (int)(border < 0 ? count : base_min(count, q->line->count - border));
        q->border = border;
        if (q->count <= 0) continue;
        cg_blocks_emit(c, cg_i64(c, 0), cg_i64(c, q->base.channels), q->base.vectors, write_channels, q);
        if (q->sums.count) row_sums_advance(c, &q->sums, cg_i64(c, q->count));
    }
}

/* Line positions from .. to - 1, some of them at borders, in blocks of about one size. */
static void write_known(cg *c, taps *q, int64_t from, int64_t to)
{
    if (from >= to) return;
    const int64_t blocks = base_ceil_div(to - from, q->positions), size = base_ceil_div(to - from, blocks);
    for (int64_t at = from; at < to; at += size) write_block(c, q, cg_i64(c, at), base_min(size, to - at), at);
}

static void write_row(cg *c, taps *q)
{
    int64_t from = 0, to = INT64_MAX, count = 0;
    for (int64_t phase = 0; phase < q->columns.pitch; phase++) {
        const depthwise_line *l = &q->columns.line[phase];
        from = base_max(from, l->from);
        to = base_min(to, l->to);
        count = base_max(count, l->count);
    }
    from = base_ceil_div(from, q->positions) * q->positions;
    const int64_t blocks = to > from ? (to - from) / q->positions : 0, middle = from + blocks * q->positions;
    if (blocks < 2) {
        write_known(c, q, 0, count);
        return;
    }
    cg_loop l;
    write_known(c, q, 0, from);
    cg_loop_begin(c, &l, cg_i64(c, from), cg_i64(c, middle), q->positions, 0, NULL);
    write_block(c, q, l.i, q->positions, -1);
    cg_loop_end(c, &l, NULL);
    write_known(c, q, middle, count);
}

/* The row whose number is `row`, in one of as many pieces of code as there are sets of taps that rows meet. */
static void choose_row(cg *c, taps *q, cg_value row)
{
    for (int64_t phase = 0; phase < q->rows.pitch; phase++) {
        const depthwise_line *l = &q->rows.line[phase];
        cg_value pitch = cg_i64(c, q->rows.pitch), at = cg_div(c, row, pitch);
        cg_branch br;
        q->row = l;
        for (int64_t border = 0; border < l->count; border++) {
            if (border == l->from) border = l->to;
            if (border == l->count) break;
            cg_if_begin(c, &br, cg_icmp(c, LLVMIntEQ, row, cg_i64(c, border * q->rows.pitch + phase)), 0, NULL);
            q->row_at = cg_i64(c, border);
            q->row_border = border;
            write_row(c, q);
            cg_if_end(c, &br, NULL);
        }
        if (l->from == l->to) continue;
        cg_value inside = cg_icmp(c, LLVMIntULT, cg_sub(c, at, cg_i64(c, l->from)), cg_i64(c, l->to - l->from));
        if (q->rows.pitch > 1) {
            cg_value own = cg_icmp(c, LLVMIntEQ, cg_sub(c, row, cg_mul(c, at, pitch)), cg_i64(c, phase));
            inside = cg_and(c, inside, own);
        }
        cg_if_begin(c, &br, inside, 0, NULL);
        q->row_at = at;
        q->row_border = -1;
        write_row(c, q);
        cg_if_end(c, &br, NULL);
    }
}

void cg_depthwise_taps(cg *c, const contraction *x)
{
    taps q = {0};
    const int last = x->lhs.rank - 3;
    ir_dim rows = ir_fixed(1);
    for (int d = 0; d <= last; d++) {
        rows = (ir_dim){rows.count * x->size[ROLE_M][d].count, rows.batch | x->size[ROLE_M][d].batch};
    }
    const int64_t elements = x->size[ROLE_M][last + 1].count * x->size[ROLE_B][0].count;
    const int64_t grain = cg_grain(elements * 8, 2 * elements * contraction_size(x, ROLE_K).count / c->lanes);
    cg_kernel_begin(c);
    c->past_caches = cg_past_caches(c);
    depthwise_describe(c, x, &q.base);
    q.positions = (int)base_min(MOST_POSITIONS, c->target->registers / (2 * q.base.vectors));
    make_phases(c, x, last, &q.columns);
    const bool known = last == 1 && contraction_size(x, ROLE_K).count <= MOST_TAPS && make_phases(c, x, 0, &q.rows);
    cg_value begin, end, coordinate[IR_MAX_RANK];
    q.sums = row_sums_describe(c);
    if (q.sums.count) {
        cg_task_rows(c, ir_fixed(q.sums.parts), 1, 1, &q.sums.part, &(cg_value){NULL}, NULL);
        row_sums_range(c, &q.sums, cg_dim(c, rows), 1, &begin, &end);
        q.sums.first = cg_i64(c, 0);
        row_sums_begin(c, &q.sums, q.base.channels);
    } else {
        cg_task_rows(c, rows, grain, 1, &begin, &end, NULL);
    }
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    depthwise_split(c, x->size[ROLE_M], last + 1, l.i, coordinate);
    for (int d = 0; d <= last; d++) q.base.at.at[ROLE_M][d].base = coordinate[d];
    q.base.place.at[ROLE_M][0].base = coordinate[0];
    if (known)
        choose_row(c, &q, coordinate[1]);
    else
        write_row(c, &q);
    cg_loop_end(c, &l, NULL);
    if (q.sums.count) {
        row_sums_store(c, &q.sums, cg_i64(c, q.base.channels));
        cg_kernel_end(c, ir_fixed(q.sums.parts), 1, 1);
    } else {
        cg_kernel_end(c, rows, grain, 1);
    }
}
