/* contraction.c: see contraction.h. */
#include "codegen/contraction.h"

#include <string.h>

static contraction_dim dim_of(role r, int d)
{
    return (contraction_dim){.count = 1, .term = {{r, d, 1}}, .dilation = 1};
}

static void add_term(contraction_dim *x, role r, int d, int64_t factor)
{
    x->term[x->count++] = (contraction_term){r, d, factor};
}

static int add_size(contraction *x, role r, ir_dim size)
{
    x->size[r][x->count[r]] = size;
    return x->count[r]++;
}

static int find(const int64_t *list, int count, int64_t d)
{
    for (int i = 0; i < count; i++) {
        if (list[i] == d) return i;
    }
    return -1;
}

/* One operand of dot_general: its batch and contracting dims are shared, the rest is role `own`. */
static void build_dot_side(contraction *x, contraction_side *s, const ir_type *t, const ir_attr *batch,
                           const ir_attr *contracting, role own)
{
    s->rank = t->rank;
    for (int d = 0; d < t->rank; d++) {
        int b = find(batch->ints.item, batch->ints.count, d);
        int k = find(contracting->ints.item, contracting->ints.count, d);
        if (b >= 0)
            s->dim[d] = dim_of(ROLE_B, b);
        else if (k >= 0)
            s->dim[d] = dim_of(ROLE_K, k);
        else
            s->dim[d] = dim_of(own, add_size(x, own, t->dim[d]));
    }
}

static void build_dot(const cg *c, const ir_node *n, contraction *x)
{
    const ir_type *a = cg_type(c, n->in[0]), *b = cg_type(c, n->in[1]);
    const ir_attr *batch = ir_attr_find(n, ATTR_lhs_batch), *k = ir_attr_find(n, ATTR_lhs_contracting);
    for (int i = 0; i < batch->ints.count; i++) add_size(x, ROLE_B, a->dim[batch->ints.item[i]]);
    for (int i = 0; i < k->ints.count; i++) add_size(x, ROLE_K, a->dim[k->ints.item[i]]);
    build_dot_side(x, &x->lhs, a, batch, k, ROLE_M);
    const ir_attr *panels = ir_attr_find(n, ATTR_panels);
    if (panels) {
        add_size(x, ROLE_N, ir_fixed(panels->i));
        x->panels = b->dim[2].count;
    } else {
        build_dot_side(x, &x->rhs, b, ir_attr_find(n, ATTR_rhs_batch), ir_attr_find(n, ATTR_rhs_contracting), ROLE_N);
    }
    for (int r = ROLE_B; r <= ROLE_N; r++) {
        for (int d = 0; d < x->count[r]; d++) x->out.dim[x->out.rank++] = dim_of((role)r, d);
    }
}

static int at_letter(const char *layout, char letter) { return (int)(strchr(layout, letter) - layout); }

/* Spatial dim s: out position o (role m) and kernel position r (role k) meet at o * stride + r * dilation - low of
 * the image dilated by base_dilation. */
static void build_spatial(const cg *c, const ir_node *n, contraction *x, int s, const int at[3])
{
    const ir_type *kernel = cg_type(c, n->in[1]), *out = cg_type(c, x->main);
    int skip = x->splits > 0;
    int64_t stride = ir_attr_ints(n, ATTR_window_strides, &(int){0})[s];
    int64_t low = ir_attr_ints(n, ATTR_padding_low, &(int){0})[s];
    int64_t high = ir_attr_ints(n, ATTR_padding_high, &(int){0})[s];
    int64_t base = ir_attr_ints(n, ATTR_base_dilation, &(int){0})[s];
    int64_t dilation = ir_attr_ints(n, ATTR_window_dilation, &(int){0})[s];
    bool reversal = ir_attr_int(n, ATTR_window_reversal, 0) != 0;
    int m = add_size(x, ROLE_M, out->dim[at[2] + skip]), k = add_size(x, ROLE_K, kernel->dim[at[1]]);
    contraction_dim *i = &x->lhs.dim[at[0]], *w = &x->rhs.dim[at[1]];
    *i = (contraction_dim){.offset = -low, .dilation = base, .checked = low > 0 || high > 0 || base > 1};
    add_term(i, ROLE_M, m, stride);
    add_term(i, ROLE_K, k, dilation);
    *w = (contraction_dim){.dilation = 1, .offset = reversal ? kernel->dim[at[1]].count - 1 : 0};
    add_term(w, ROLE_K, k, reversal ? -1 : 1);
    x->out.dim[at[2]] = dim_of(ROLE_M, m);
}

/* The part of a dim that one group sees: coordinate = group * part + position. */
static void build_grouped(contraction_dim *x, int64_t groups, ir_dim whole, role r, int d)
{
    *x = (contraction_dim){.dilation = 1};
    if (groups > 1) add_term(x, ROLE_B, 0, whole.count / groups);
    add_term(x, r, d, 1);
}

static void build_convolution(const cg *c, const ir_node *n, contraction *x)
{
    const char *image = ir_attr_text(n, ATTR_lhs_layout), *kernel = ir_attr_text(n, ATTR_rhs_layout);
    const char *out = ir_attr_text(n, ATTR_out_layout);
    const ir_type *a = cg_type(c, n->in[0]), *w = cg_type(c, n->in[1]);
    int64_t features = ir_attr_int(n, ATTR_feature_group_count, 1), batches = ir_attr_int(n, ATTR_batch_group_count, 1);
    int64_t groups = features * batches;
    x->lhs.rank = a->rank;
    x->rhs.rank = w->rank;
    x->out.rank = a->rank;
    if (groups > 1) add_size(x, ROLE_B, ir_fixed(groups));
    ir_dim rows = a->dim[at_letter(image, 'b')], inner = w->dim[at_letter(kernel, 'i')];
    ir_dim outer = w->dim[at_letter(kernel, 'o')];
    int m = add_size(x, ROLE_M, (ir_dim){rows.count / batches, rows.batch});
    for (int s = 0; s < a->rank - 2; s++) {
        char letter = (char)('0' + s);
        int at[3] = {at_letter(image, letter), at_letter(kernel, letter), at_letter(out, letter)};
        build_spatial(c, n, x, s, at);
    }
    int k = add_size(x, ROLE_K, inner);
    int f = add_size(x, ROLE_N, (ir_dim){outer.count / groups, outer.batch});
    build_grouped(&x->lhs.dim[at_letter(image, 'b')], batches, rows, ROLE_M, m);
    build_grouped(&x->lhs.dim[at_letter(image, 'f')], features, a->dim[at_letter(image, 'f')], ROLE_K, k);
    x->rhs.dim[at_letter(kernel, 'i')] = dim_of(ROLE_K, k);
    build_grouped(&x->rhs.dim[at_letter(kernel, 'o')], groups, outer, ROLE_N, f);
    x->out.dim[at_letter(out, 'b')] = dim_of(ROLE_M, m);
    build_grouped(&x->out.dim[at_letter(out, 'f')], groups, outer, ROLE_N, f);
}

void contraction_build(const cg *c, contraction *out)
{
    const ir_node *n = cg_node(c, c->body->main);
    *out = (contraction){.main = c->body->main, .splits = ir_attr_int(n, ATTR_splits, 0)};
    out->lhs.value = n->in[0];
    out->rhs.value = n->in[1];
    out->out.value = out->main;
    if (n->op == OP_dot_general)
        build_dot(c, n, out);
    else
        build_convolution(c, n, out);
}

int contraction_phases(const contraction *x)
{
    int64_t phases = 1;
    for (int d = 0; d < x->lhs.rank; d++) {
        if (x->lhs.dim[d].count == 2 && phases <= INT16_MAX) phases *= x->lhs.dim[d].dilation;
    }
    return (int)base_min(phases, INT16_MAX);
}

static contraction_term *find_term(contraction_side *s, role r, int dim, contraction_dim **out_of)
{
    for (int d = 0; d < s->rank; d++) {
        for (int i = 0; i < s->dim[d].count; i++) {
            contraction_term *t = &s->dim[d].term[i];
            *out_of = &s->dim[d];
            if (t->role == r && t->dim == dim) return t;
        }
    }
    bug("role %d has no dim %d", (int)r, dim);
}

/* Results phase, phase + dilation, .. along m: element (m * image.m + k * image.k + offset) / dilation exists for kernel
 * positions first, first + period, .. only. */
static void keep_phase(contraction *x, contraction_dim *image, int64_t phase)
{
    const int64_t dilation = image->dilation;
    contraction_term *m = &image->term[image->term[0].role == ROLE_K], *k = &image->term[image->term[0].role != ROLE_K];
    const int64_t start = phase * m->factor + image->offset;
    ir_dim *rows = &x->size[ROLE_M][m->dim], *taps = &x->size[ROLE_K][k->dim];
    int64_t first = 0, period = 1;
    while (first < dilation && (start + first * k->factor) % dilation != 0) first++;
    while (period * k->factor % dilation != 0) period++;
    contraction_dim *of;
    contraction_term *kernel = find_term(&x->rhs, ROLE_K, k->dim, &of);
    of->offset += kernel->factor * first;
    kernel->factor *= period;
    find_term(&x->out, ROLE_M, m->dim, &of)->factor = dilation;
    of->offset = phase;
    const bool some = first < dilation && first < taps->count;
    taps->count = some ? base_ceil_div(taps->count - first, period) : 0;
    rows->count = base_max(0, base_ceil_div(rows->count - phase, dilation));
    image->offset = some ? (start + first * k->factor) / dilation : 0;
    k->factor = period * k->factor / dilation;
    image->dilation = 1;
}

void contraction_keep_phase(contraction *x, int phase)
{
    for (int d = 0; d < x->lhs.rank; d++) {
        contraction_dim *q = &x->lhs.dim[d];
        if (q->count != 2 || q->dilation == 1) continue;
        const int64_t dilation = q->dilation;
        keep_phase(x, q, phase % dilation);
        phase /= (int)dilation;
    }
}

static void rename_roles(contraction_side *s, const role *to)
{
    for (int d = 0; d < s->rank; d++) {
        for (int i = 0; i < s->dim[d].count; i++) s->dim[d].term[i].role = to[s->dim[d].term[i].role];
    }
}

void contraction_swap(contraction *x)
{
    static const role to[ROLE_COUNT] = {ROLE_B, ROLE_N, ROLE_M, ROLE_K};
    contraction_side lhs = x->lhs;
    x->lhs = x->rhs;
    x->rhs = lhs;
    rename_roles(&x->lhs, to);
    rename_roles(&x->rhs, to);
    rename_roles(&x->out, to);
    contraction was = *x;
    x->count[ROLE_M] = was.count[ROLE_N];
    x->count[ROLE_N] = was.count[ROLE_M];
    memcpy(x->size[ROLE_M], was.size[ROLE_N], sizeof was.size[ROLE_N]);
    memcpy(x->size[ROLE_N], was.size[ROLE_M], sizeof was.size[ROLE_M]);
}

int contraction_contiguous(const contraction_side *s, role r)
{
    if (!s->rank) return -1;
    const contraction_dim *last = &s->dim[s->rank - 1];
    if (last->dilation > 1 || last->checked) return -1;
    for (int i = 0; i < last->count; i++) {
        if (last->term[i].role == r && last->term[i].factor == 1) return last->term[i].dim;
    }
    return -1;
}

static void swap_dims(contraction *x, role r, int a, int b)
{
    ir_dim size = x->size[r][a];
    x->size[r][a] = x->size[r][b];
    x->size[r][b] = size;
    contraction_side *side[] = {&x->lhs, &x->rhs, &x->out};
    for (int i = 0; i < 3 * IR_MAX_RANK; i++) {
        contraction_dim *q = &side[i / IR_MAX_RANK]->dim[i % IR_MAX_RANK];
        for (int t = 0; t < q->count; t++) {
            if (q->term[t].role != r) continue;
            int d = q->term[t].dim;
            q->term[t].dim = d == a ? b : d == b ? a : d;
        }
    }
}

/* Moves dim d of role r to place `to` among the role's dims. */
static void move_dim(contraction *x, role r, int d, int to)
{
    if (d < 0 || d == to) return;
    int step = d < to ? 1 : -1;
    for (; d != to; d += step) swap_dims(x, r, d, d + step);
}
void contraction_order(contraction *x)
{
    int k = contraction_contiguous(&x->lhs, ROLE_K), n = contraction_contiguous(&x->out, ROLE_N);
    if (k < 0) k = contraction_contiguous(&x->rhs, ROLE_K);
    if (n < 0) n = contraction_contiguous(&x->rhs, ROLE_N);
    const int inner[ROLE_COUNT] = {-1, contraction_contiguous(&x->lhs, ROLE_M), n, k};
    for (int r = 0; r < ROLE_COUNT; r++) {
        move_dim(x, (role)r, inner[r], x->count[r] - 1);
        /* Rows stay in the order in which results lie. */
        for (int d = 1; d < x->count[r] - (r != ROLE_K || inner[r] >= 0); d++) {
            if (x->size[r][d].batch) move_dim(x, (role)r, d, 0);
        }
    }
}

/* The dim of a side that is dim d of role k and nothing else; -1: none. */
static int find_alone(const contraction_side *s, int d)
{
    for (int i = 0; i < s->rank; i++) {
        const contraction_dim *q = &s->dim[i];
        const bool plain = q->count == 1 && !q->offset && !q->checked && q->dilation == 1;
        if (plain && q->term[0].role == ROLE_K && q->term[0].dim == d && q->term[0].factor == 1) return i;
    }
    return -1;
}

/* The term of role k and factor 1, if any. */
static const contraction_term *find_step(const contraction_dim *q)
{
    for (int i = 0; i < q->count; i++) {
        if (q->term[i].role == ROLE_K && q->term[i].factor == 1) return &q->term[i];
    }
    return NULL;
}

/* Takes dim `gone` of role r, whose coordinate is always zero, or that another dim of the role runs through. */
static void remove_dim(const cg *c, contraction *x, role r, int gone)
{
    const bool unit = x->size[r][gone].count == 1;
    contraction_side *side[] = {&x->lhs, &x->rhs, &x->out};
    for (int i = 0; i < 3 * IR_MAX_RANK; i++) {
        const int d = i % IR_MAX_RANK, skip = i / IR_MAX_RANK == 2 && x->splits > 0;
        contraction_dim *q = &side[i / IR_MAX_RANK]->dim[d];
        const int count = q->count;
        q->count = 0;
        for (int t = 0; t < count; t++) {
            const contraction_term term = q->term[t];
            if (term.role == r && term.dim == gone) continue;
            q->term[q->count++] = (contraction_term){term.role, term.dim - (term.role == r && term.dim > gone), term.factor};
        }
        if (count == q->count || d >= side[i / IR_MAX_RANK]->rank) continue;
        const ir_dim whole = cg_type(c, side[i / IR_MAX_RANK]->value)->dim[d + skip];
        q->merged = !q->count && (!unit || (whole.count == 1 && !whole.batch));
        if (!q->count) continue;
        const contraction_term *left = &q->term[0];
        const ir_dim runs = x->size[left->role][left->dim + (left->role == r && left->dim >= gone)];
        q->partial |= !unit || !ir_dim_equal(whole, runs);
    }
    for (int d = gone; d < x->count[r] - 1; d++) x->size[r][d] = x->size[r][d + 1];
    x->count[r]--;
}

/* Makes dim `to` of role k run through dim `from` of it too, which is no more. */
static void merge_dims(const cg *c, contraction *x, int from, int to)
{
    x->size[ROLE_K][to].count *= x->size[ROLE_K][from].count;
    remove_dim(c, x, ROLE_K, from);
}

/* Dim d of role k is all of a dim of a side that lies in memory: its number; -1: it is not. */
static int find_whole(const cg *c, const contraction *x, const contraction_side *s, int d)
{
    const int at = find_alone(s, d);
    return at >= 0 && ir_dim_equal(cg_type(c, s->value)->dim[at], x->size[ROLE_K][d]) ? at : -1;
}

/* Sums over steps and rows go through both in the order in which both operands have them: rows outermost, they would go back
 * and forth in memory. */
static void merge_rows(const cg *c, contraction *x)
{
    for (int to = 0; to < x->count[ROLE_K]; to++) {
        if (!x->size[ROLE_K][to].batch) continue;
        const int left = find_whole(c, x, &x->lhs, to), right = find_whole(c, x, &x->rhs, to);
        for (int from = 0; left > 0 && right > 0 && from < x->count[ROLE_K]; from++) {
            if (find_whole(c, x, &x->lhs, from) != left - 1 || find_whole(c, x, &x->rhs, from) != right - 1) continue;
            merge_dims(c, x, from, to);
            return;
        }
        return;
    }
}

/* Drops dims of one coordinate, which would only hide that operands are plain along the others. */
static void drop_units(const cg *c, contraction *x)
{
    for (int r = ROLE_M; r < ROLE_COUNT; r++) {
        for (int d = x->count[r] - 1; d >= 0 && x->count[r] > 1; d--) {
            if (x->size[r][d].count == 1 && !x->size[r][d].batch) remove_dim(c, x, (role)r, d);
        }
    }
}

void contraction_merge(const cg *c, contraction *x)
{
    const int last = x->lhs.rank - 1;
    drop_units(c, x);
    if (last < 1 || cg_node(c, x->lhs.value)->op != OP_parameter || cg_node(c, x->rhs.value)->op != OP_parameter) return;
    merge_rows(c, x);
    const contraction_dim *columns = &x->lhs.dim[last - 1];
    const contraction_term *to = find_step(&x->lhs.dim[last]), *from = find_step(columns);
    if (!to || !from || columns->checked || columns->dilation != 1 || find_alone(&x->lhs, to->dim) != last) return;
    const int channels = find_alone(&x->rhs, to->dim);
    if (channels < 1 || find_alone(&x->rhs, from->dim) != channels - 1 || columns->count < 2) return;
    if (x->size[ROLE_K][from->dim].batch || !ir_dim_equal(x->size[ROLE_K][to->dim], cg_type(c, x->lhs.value)->dim[last])) return;
    merge_dims(c, x, from->dim, to->dim);
}

ir_dim contraction_size(const contraction *x, role r)
{
    ir_dim size = ir_fixed(1);
    for (int d = 0; d < x->count[r]; d++) {
        size.count *= x->size[r][d].count;
        size.batch |= x->size[r][d].batch;
    }
    return size;
}

/* Chains of maps over one shape, down to memory and to broadcasts that drop dims lo .. hi - 1. */
static bool chain_is_linear(const cg *c, ir_value v, ir_value stop, int lo, int hi)
{
    const ir_node *n = cg_node(c, v);
    if (v == stop || n->op == OP_parameter || c->binding[v].source != CG_COMPUTED) return true;
    if (n->op == OP_constant) return true;
    if (n->op == OP_broadcast_in_dim) {
        int count;
        const int64_t *to = ir_attr_ints(n, ATTR_dimensions, &count);
        for (int i = 0; i < count; i++) {
            if (to[i] >= lo && to[i] < hi && !(cg_type(c, n->in[0])->dim[i].count == 1 && !cg_type(c, n->in[0])->dim[i].batch))
                return false;
            if (!ir_dim_equal(cg_type(c, n->in[0])->dim[i], n->type.dim[to[i]])) return false;
        }
        return cg_node(c, n->in[0])->op == OP_parameter || cg_node(c, n->in[0])->op == OP_constant;
    }
    if (ir_op_class(n->op) != CLASS_MAP) return false;
    for (int i = 0; i < n->in_count; i++) {
        if (!chain_is_linear(c, n->in[i], stop, lo, hi)) return false;
    }
    return true;
}

bool contraction_is_linear(const cg *c, const contraction *x, const contraction_side *s, role r)
{
    int first = -1, begin = 0, end = 0;
    for (int d = 0, next = 0; d < s->rank; d++) {
        const contraction_dim *q = &s->dim[d];
        bool uses = false;
        if (q->merged && first >= 0) first++;
        for (int i = 0; i < q->count; i++) uses |= q->term[i].role == r;
        if (!uses) continue;
        if (first < 0) begin = first = d;
        end = d + 1;
        if (q->count != 1 || q->term[0].factor != 1 || q->offset || q->dilation != 1 || q->checked || q->partial) return false;
        if (q->term[0].dim != next || d != first + next) return false;
        next++;
    }
    if (first < 0 || x->count[r] < 2) return x->count[r] < 2;
    int skip = s == &x->out && x->splits > 0;
    const int lo = begin + skip, hi = end + skip;
    if (s != &x->out) return chain_is_linear(c, s->value, IR_NONE, lo, hi);
    for (int i = 0; i < c->body->root_count; i++) {
        ir_value v = c->body->root[i];
        if (i >= cg_body_results(c->body)) ir_sums_rows(c->body->graph, v, &v);
        if (!chain_is_linear(c, v, x->main, lo, hi)) return false;
    }
    return true;
}
