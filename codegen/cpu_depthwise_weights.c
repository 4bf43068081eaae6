/* cpu_depthwise_weights.c: the gradient of a depthwise convolution's kernel, see depthwise.h. A task owns some channels
 * and a part of the rows (batch and outer spatial dims) of the result's gradient; per row, the sums of one row of taps
 * are in registers, or of all taps where the row meets them all, in several chains that are folded in a fixed order. */
#include "codegen/depthwise.h"

enum { MOST_CHAINS = 4, BLOCK = 4, PREFETCH = 2, MOST_SUMS = 64, MOST_CHANNELS = 256, FLOATS_PER_LINE = CG_LINE_BYTES / 4 };

typedef struct weights {
    depthwise base;
    depthwise_line line;
    int64_t chunk;          /* channels of a task */
    cg_value channel, sums; /* first channel; float sums[taps][chunk] */
    cg_value row;           /* of taps that is being summed: number of its first tap */
    cg_value split;
    int chains, whole_chains; /* the latter of sums of all taps; 0: they are too many for the registers */
    bool whole;               /* all taps are being summed */
    int lanes, width;
    cg_value position; /* in the chunk */
} weights;

static const contraction_dim *last_dim(const contraction *x) { return depthwise_spatial(x, x->lhs.rank - 3); }

/* Positions of the gradient, and the taps as they meet the image. */
static void make_line(const cg *c, const contraction *x, depthwise_line *out)
{
    const int last = x->lhs.rank - 3;
    const contraction_dim *d = last_dim(x);
    *out = (depthwise_line){.count = x->size[ROLE_K][last].count, .step = depthwise_factor(d, ROLE_K)};
    out->size = cg_type(c, x->lhs.value)->dim[d - x->lhs.dim].count;
    out->taps = (int)x->size[ROLE_M][last + 1].count;
    for (int t = 0; t < out->taps; t++) {
        out->tap[t] = t;
        out->at[t] = t * depthwise_factor(d, ROLE_M) + d->offset;
    }
    depthwise_line_finish(out);
}

bool cg_depthwise_is_weights(const cg *c, const contraction *x)
{
    if (!cg_depthwise_has_channels_last(c, x) || x->size[ROLE_M][0].batch || x->size[ROLE_M][0].count != 1) return false;
    const int last = x->lhs.rank - 3;
    if (x->size[ROLE_M][last + 1].count > DEPTHWISE_TAPS) return false;
    for (int s = 0; s <= last; s++) {
        if (depthwise_spatial(x, s)->dilation > 1) return false;
    }
    depthwise_line l;
    make_line(c, x, &l);
    return l.from + l.count - l.to <= DEPTHWISE_BORDER;
}

static int64_t all_taps(const contraction *x) { return contraction_size(x, ROLE_M).count; }

static cg_value sum_address(cg *c, const weights *q, int t, int v)
{
    cg_value tap = cg_mul(c, cg_add(c, q->row, cg_i64(c, t)), cg_i64(c, q->chunk));
    cg_value at = cg_add(c, tap, cg_add(c, q->position, cg_i64(c, (int64_t)v * q->lanes)));
    return cg_at(c, c->f32, q->sums, at);
}

static int taps_of(const weights *q) { return q->whole ? (int)all_taps(q->base.x) : q->line.taps; }

static int chains_of(const weights *q) { return q->whole ? q->whole_chains : q->chains; }

static cg_value *chain(const weights *q, cg_value *sum, int t, int v, int p)
{
    return &sum[(t * q->width + v) * chains_of(q) + p % chains_of(q)];
}

/* The rows of the image that tap t meets, which are given when one row of taps is summed. */
static void set_rows(cg *c, weights *q, int t)
{
    depthwise *b = &q->base;
    if (!q->whole) return;
    int64_t outer = t / q->line.taps;
    for (int s = b->spatial - 2; s >= 0; s--) {
        const int64_t size = b->x->size[ROLE_M][s + 1].count;
        cg_value tap = cg_i64(c, outer % size);
        b->place.at[ROLE_M][s + 1].base = depthwise_row(c, depthwise_spatial(b->x, s), tap, b->at.at[ROLE_K][s].base);
        outer /= size;
    }
}

/* Asks for what the next row reads at a position: the gradient, and of the image what is new then. */
static void prefetch_next(cg *c, weights *q, cg_value position)
{
    depthwise *b = &q->base;
    if (b->spatial < 2) return;
    const int outer = b->spatial - 2;
    const contraction_dim *d = depthwise_spatial(b->x, outer);
    contraction_point at = b->at, place = b->place;
    at.at[ROLE_K][b->spatial - 1].base = position;
    at.at[ROLE_K][outer].base = cg_add(c, at.at[ROLE_K][outer].base, cg_i64(c, 1));
    contraction_prefetch(c, &b->x->rhs, &at, PREFETCH);
    const int64_t last = b->x->size[ROLE_M][outer + 1].count - 1, rows = base_min(depthwise_factor(d, ROLE_K), last + 1);
    cg_value row = depthwise_row(c, d, cg_i64(c, last), at.at[ROLE_K][outer].base);
    for (int64_t i = 0; i < rows * q->line.step; i++) {
        cg_value column = cg_add(c, cg_mul(c, position, cg_i64(c, q->line.step)), cg_i64(c, i / rows));
        place.at[ROLE_M][b->spatial].base = column;
        place.at[ROLE_M][outer + 1].base = cg_sub(c, row, cg_i64(c, i % rows));
        contraction_prefetch(c, &b->image, &place, PREFETCH);
    }
}

static void add_positions(cg *c, cg_value first, int count, int64_t border, cg_value *sum, void *context)
{
    weights *q = context;
    depthwise *b = &q->base;
    const depthwise_line *l = &q->line;
    cg_coord *position = &b->at.at[ROLE_K][b->spatial - 1], *image = &b->place.at[ROLE_M][b->spatial];
    cg_value start = cg_mul(c, first, cg_i64(c, l->step));
    for (int v = 0; v < q->width; v++) {
        cg_value channel = cg_add(c, q->channel, cg_add(c, q->position, cg_i64(c, (int64_t)v * q->lanes)));
        depthwise_set_channels(c, b, channel, q->lanes);
        for (int p = 0; p < count; p++) {
            position->base = cg_add(c, first, cg_i64(c, p));
            if (v * q->lanes % FLOATS_PER_LINE == 0 && q->whole == (q->whole_chains > 0)) prefetch_next(c, q, position->base);
            cg_value gradient = depthwise_load(c, &b->x->rhs, &b->at, q->lanes);
            for (int t = 0; t < taps_of(q); t++) {
                if (border >= 0 && !depthwise_is_inside(l, border, t % l->taps)) continue;
                set_rows(c, q, t);
                image->base = cg_add(c, start, cg_i64(c, p * l->step + l->at[t % l->taps]));
                cg_value x = depthwise_load(c, &b->image, &b->place, q->lanes), *to = chain(q, sum, t, v, p);
                *to = cg_fma(c, x, gradient, *to);
            }
        }
    }
}

/* One row of positions and one row of taps, or all, for some channels of the chunk. */
static void add_channels(cg *c, cg_value position, int lanes, int width, void *context)
{
    weights *q = context;
    cg_value sum[MOST_SUMS];
    q->position = position;
    q->lanes = lanes;
    q->width = width;
    const int sums = taps_of(q) * width * chains_of(q);
    for (int i = 0; i < sums; i++) sum[i] = cg_number(c, DTYPE_f32, 0, lanes);
    depthwise_line_walk(c, &q->line, (int)base_max(BLOCK, chains_of(q)), sums, sum, add_positions, q);
    for (int t = 0; t < taps_of(q); t++) {
        for (int v = 0; v < width; v++) {
            cg_value address = sum_address(c, q, t, v), all = *chain(q, sum, t, v, 0);
            for (int p = 1; p < chains_of(q); p++) all = cg_fadd(c, all, *chain(q, sum, t, v, p));
            cg_value before = cg_load(c, cg_vector(c->f32, lanes), address, 4);
            cg_store(c, cg_fadd(c, before, all), address, 4);
        }
    }
}

/* Taps of spatial dims s and up, at one row of the gradient. */
static void add_rows(cg *c, weights *q, int s)
{
    depthwise *b = &q->base;
    if (s == b->spatial - 1) {
        cg_blocks_emit(c, cg_i64(c, 0), cg_i64(c, q->chunk), b->vectors, add_channels, q);
        return;
    }
    const contraction_dim *d = depthwise_spatial(b->x, s);
    cg_value outer = q->row;
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_dim(c, b->x->size[ROLE_M][s + 1]), 1, 0, NULL);
    const cg_value row = depthwise_row(c, d, l.i, b->at.at[ROLE_K][s].base);
    int64_t taps = 1;
    for (int i = s + 1; i < b->spatial; i++) taps *= b->x->size[ROLE_M][i + 1].count;
    q->row = cg_add(c, outer, cg_mul(c, l.i, cg_i64(c, taps)));
    b->place.at[ROLE_M][s + 1].base = row;
    cg_branch br;
    if (d->checked) {
        cg_value size = cg_dim(c, cg_type(c, b->x->lhs.value)->dim[d - b->x->lhs.dim]);
        cg_if_begin(c, &br, cg_icmp(c, LLVMIntULT, row, size), 0, NULL);
    }
    add_rows(c, q, s + 1);
    if (d->checked) cg_if_end(c, &br, NULL);
    cg_loop_end(c, &l, NULL);
    q->row = outer;
}

/* At one row of the gradient; NULL: every row meets all rows of taps. */
static cg_value meets_all_rows(cg *c, const weights *q)
{
    const depthwise *b = &q->base;
    cg_value inside = NULL;
    for (int s = 0; s < b->spatial - 1; s++) {
        const contraction_dim *d = depthwise_spatial(b->x, s);
        if (!d->checked) continue;
        const cg_value size = cg_dim(c, cg_type(c, b->x->lhs.value)->dim[d - b->x->lhs.dim]);
        for (int end = 0; end < 2; end++) {
            cg_value tap = cg_i64(c, end ? b->x->size[ROLE_M][s + 1].count - 1 : 0);
            cg_value ok = cg_icmp(c, LLVMIntULT, depthwise_row(c, d, tap, b->at.at[ROLE_K][s].base), size);
            inside = inside ? cg_and(c, inside, ok) : ok;
        }
    }
    return inside;
}

static void add_all_taps(cg *c, weights *q)
{
    q->whole = true;
    cg_blocks_emit(c, cg_i64(c, 0), cg_i64(c, q->chunk), q->base.vectors, add_channels, q);
    q->whole = false;
}

static void add_row(cg *c, weights *q)
{
    cg_value all = meets_all_rows(c, q);
    if (q->whole_chains && !all) {
        add_all_taps(c, q);
        return;
    }
    cg_branch br;
    if (q->whole_chains) {
        cg_if_begin(c, &br, all, 0, NULL);
        add_all_taps(c, q);
        cg_if_other(c, &br, NULL);
    }
    add_rows(c, q, 0);
    if (q->whole_chains) cg_if_end(c, &br, NULL);
}

static void store_channels(cg *c, cg_value position, int lanes, int width, void *context)
{
    weights *q = context;
    q->position = position;
    q->lanes = lanes;
    for (int v = 0; v < width; v++) {
        cg_value channel = cg_add(c, q->channel, cg_add(c, position, cg_i64(c, (int64_t)v * lanes)));
        depthwise_set_channels(c, &q->base, channel, lanes);
        cg_index index = contraction_out_index(c, q->base.x, &q->base.at, q->split);
        cg_main_store(c, &index, cg_load(c, cg_vector(c->f32, lanes), sum_address(c, q, 0, v), 4));
    }
}

static void store_sums(cg *c, weights *q)
{
    const contraction *x = q->base.x;
    cg_value coordinate[IR_MAX_RANK];
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, all_taps(x)), 1, 0, NULL);
    depthwise_split(c, x->size[ROLE_M], x->count[ROLE_M], l.i, coordinate);
    for (int d = 0; d < x->count[ROLE_M]; d++) q->base.at.at[ROLE_M][d].base = d ? coordinate[d] : cg_i64(c, 0);
    q->row = l.i;
    cg_blocks_emit(c, cg_i64(c, 0), cg_i64(c, q->chunk), q->base.vectors, store_channels, q);
    cg_loop_end(c, &l, NULL);
}

static void clear_sums(cg *c, const weights *q, int64_t floats)
{
    cg_loop l;
    cg_loop_begin(c, &l, cg_i64(c, 0), cg_i64(c, floats), FLOATS_PER_LINE, 0, NULL);
    for (int i = 0; i < FLOATS_PER_LINE; i += c->lanes) {
        cg_value address = cg_at(c, c->f32, q->sums, cg_add(c, l.i, cg_i64(c, i)));
        cg_store(c, LLVMConstNull(cg_vector(c->f32, c->lanes)), address, 4);
    }
    cg_loop_end(c, &l, NULL);
}

/* Channels of a task: whole lines of memory when they can be cut so. */
static int64_t chunk_of(int64_t channels)
{
    for (int64_t parts = 1; parts <= channels / FLOATS_PER_LINE; parts++) {
        int64_t chunk = channels / parts;
        if (channels % parts == 0 && chunk % FLOATS_PER_LINE == 0 && chunk <= MOST_CHANNELS) return chunk;
    }
    return channels;
}

/* The rows of this task's part: batch (the last dim of role k) outermost, then the outer spatial dims. */
static void add_part(cg *c, weights *q)
{
    const contraction *x = q->base.x;
    const int last = q->base.spatial - 1;
    ir_dim size[IR_MAX_RANK] = {x->size[ROLE_K][last + 1]};
    cg_value rows = cg_dim(c, size[0]), splits = cg_i64(c, base_max(x->splits, 1)), coordinate[IR_MAX_RANK];
    for (int s = 0; s < last; s++) {
        size[s + 1] = x->size[ROLE_K][s];
        rows = cg_mul(c, rows, cg_dim(c, size[s + 1]));
    }
    cg_value begin = cg_div(c, cg_mul(c, q->split, rows), splits);
    cg_value end = cg_div(c, cg_mul(c, cg_add(c, q->split, cg_i64(c, 1)), rows), splits);
    cg_loop l;
    cg_loop_begin(c, &l, begin, end, 1, 0, NULL);
    depthwise_split(c, size, last + 1, l.i, coordinate);
    q->base.at.at[ROLE_K][last + 1].base = q->base.place.at[ROLE_K][last + 1].base = coordinate[0];
    for (int s = 0; s < last; s++) q->base.at.at[ROLE_K][s].base = coordinate[s + 1];
    q->row = cg_i64(c, 0);
    add_row(c, q);
    cg_loop_end(c, &l, NULL);
}

void cg_depthwise_weights(cg *c, const contraction *x)
{
    weights q = {.chunk = chunk_of(x->size[ROLE_B][0].count)};
    const int64_t floats = base_ceil_div(q.chunk * all_taps(x), FLOATS_PER_LINE) * FLOATS_PER_LINE;
    const ir_dim chunks = ir_fixed(x->size[ROLE_B][0].count / q.chunk);
    cg_kernel_begin(c);
    depthwise_describe(c, x, &q.base);
    make_line(c, x, &q.line);
    const int each = q.line.taps * q.base.vectors;
    q.chains = (int)base_max(1, base_min(MOST_CHAINS, c->target->registers * 3 / 4 / each));
    q.whole_chains = (int)base_min(MOST_CHAINS, c->target->registers * 3 / 4 / (all_taps(x) * q.base.vectors));
    if (q.base.spatial < 2) q.whole_chains = 0;
    cg_value begin;
    cg_task_rows(c, chunks, 1, base_max(x->splits, 1), &begin, &(cg_value){NULL}, &q.split);
    q.channel = cg_mul(c, begin, cg_i64(c, q.chunk));
    q.sums = cg_scratch(c, 4 * floats);
    clear_sums(c, &q, floats);
    add_part(c, &q);
    store_sums(c, &q);
    cg_kernel_end(c, chunks, 1, base_max(x->splits, 1));
}
