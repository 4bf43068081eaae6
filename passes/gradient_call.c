/* gradient_call.c: gradients of the decompositions of matrices (ir/calls.def), as TensorFlow takes them. */
#include "passes/gradient.h"

typedef struct call_grad {
    grad_ctx *c;
    ir_graph *g;
    ir_value v; /* the call */
    const ir_node *n;
    ir_call_sizes s;
    const ir_value *d; /* per result: its gradient or IR_NONE */
} call_grad;

/* ---- small matrices of graphs ------------------------------------------------------------ */

static int rank_of(call_grad *x, ir_value a) { return adj_type(x->c, a).rank; }

static ir_value flip(call_grad *x, ir_value a)
{
    const int rank = rank_of(x, a);
    int64_t order[IR_MAX_RANK];
    for (int i = 0; i < rank; i++) order[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    return ir_build_transpose(x->g, a, order);
}

/* a b; the flags say which is transposed. */
static ir_value product(call_grad *x, ir_value a, bool flip_a, ir_value b, bool flip_b)
{
    ir_dot dot = {.contracting_count = 1};
    const int rank = rank_of(x, a);
    dot.batch_count = rank - 2;
    for (int i = 0; i < rank - 2; i++) dot.lhs_batch[i] = dot.rhs_batch[i] = i;
    dot.lhs_contracting[0] = flip_a ? rank - 2 : rank - 1;
    dot.rhs_contracting[0] = flip_b ? rank - 1 : rank - 2;
    return ir_build_dot_general(x->g, a, b, &dot);
}

static ir_value result(call_grad *x, int i) { return ir_build_get(x->g, x->v, i); }

/* i1 of a's shape: row - column compared with 0. */
static ir_value triangle(call_grad *x, const char *direction, ir_value a)
{
    const ir_type t = ir_type_with_dtype(adj_type(x->c, a), DTYPE_i32);
    return ir_build_compare(x->g, direction, ir_build_iota(x->g, t, t.rank - 2), ir_build_iota(x->g, t, t.rank - 1));
}

/* What stands where row and column compare so; 0 elsewhere. */
static ir_value keep(call_grad *x, const char *direction, ir_value a)
{
    const ir_type t = adj_type(x->c, a);
    return ir_build_select(x->g, triangle(x, direction, a), a, adj_zeros(x->c, &t));
}

static ir_value halve_diagonal(call_grad *x, ir_value a)
{
    return ir_build_select(x->g, triangle(x, "EQ", a), adj_scale(x->c, a, 0.5), a);
}

/* [..., n] along the last dim of matrices with `rows` rows: the numbers of the columns; `across`: of the rows. */
static ir_value spread(call_grad *x, ir_value w, int64_t other, bool across)
{
    ir_type t = adj_type(x->c, w);
    int64_t place[IR_MAX_RANK];
    for (int i = 0; i < t.rank; i++) place[i] = i;
    const ir_dim n = t.dim[t.rank - 1];
    t.rank++;
    t.dim[t.rank - 2] = across ? n : ir_fixed(other);
    t.dim[t.rank - 1] = across ? ir_fixed(other) : n;
    place[t.rank - 2] = across ? t.rank - 2 : t.rank - 1;
    return ir_build_broadcast_in_dim(x->g, w, &t, place);
}

static ir_value diagonal(call_grad *x, ir_value w)
{
    const ir_type t = adj_type(x->c, w);
    return keep(x, "EQ", spread(x, w, t.dim[t.rank - 1].count, false));
}

static ir_value identity_like(call_grad *x, ir_value a)
{
    const ir_type t = adj_type(x->c, a);
    return keep(x, "EQ", ir_build_fill(x->g, t, 1));
}

static ir_value solve(call_grad *x, ir_call call, ir_value a, ir_value b, bool lower, bool transpose)
{
    const ir_value in[] = {a, b};
    return ir_build_get(x->g, ir_build_call(x->g, (ir_call_sizes){.call = call, .lower = lower, .transpose = transpose}, in),
                        0);
}

static ir_value sum_with_flip(call_grad *x, ir_value a) { return adj_plus(x->c, a, flip(x, a)); }
static ir_value less_flip(call_grad *x, ir_value a) { return ir_build_binary(x->g, OP_subtract, a, flip(x, a)); }

/* x / (x * x + 1e-20): 1 / x that stays finite. */
static ir_value invert(call_grad *x, ir_value a)
{
    return adj_div(x->c, a, adj_offset(x->c, adj_mul(x->c, a, a), 1e-20));
}

/* Element (i, j) is 1 / (w[j] - w[i]), 0 on the diagonal. */
static ir_value gaps(call_grad *x, ir_value w)
{
    const ir_type t = adj_type(x->c, w);
    const int64_t n = t.dim[t.rank - 1].count;
    ir_value gap = ir_build_binary(x->g, OP_subtract, spread(x, w, n, false), spread(x, w, n, true));
    return keep(x, "NE", invert(x, gap));
}

static ir_value gradient_of(call_grad *x, int i)
{
    return x->d[i] != IR_NONE ? x->d[i] : adj_zeros(x->c, &x->n->type.element[i]);
}

/* ---- rules ------------------------------------------------------------------------------- */

static void rule_cholesky(call_grad *x)
{
    ir_value l = result(x, 0), back = solve(x, CALL_triangular_solve, l, identity_like(x, l), true, false);
    ir_value middle = keep(x, "GE", halve_diagonal(x, product(x, l, true, x->d[0], false)));
    ir_value a = product(x, product(x, back, true, middle, false), false, back, false);
    adj_add(x->c, x->n->in[0], adj_scale(x->c, sum_with_flip(x, a), 0.5));
}

/* Of a[rows]; each row goes back to where it came from. */
static void rule_lu(call_grad *x)
{
    if (x->d[0] == IR_NONE) return;
    ir_value lu = result(x, 0), rows = result(x, 1), d = x->d[0];
    ir_value l = ir_build_select(x->g, triangle(x, "EQ", lu), identity_like(x, lu), keep(x, "GT", lu));
    ir_value u = keep(x, "LE", lu);
    ir_value below = keep(x, "GT", product(x, l, true, keep(x, "GT", d), false));
    ir_value above = keep(x, "LE", product(x, keep(x, "LE", d), false, u, true));
    ir_value both = adj_plus(x->c, below, above);
    ir_value left = solve(x, CALL_triangular_solve, l, both, true, true);
    ir_value right = flip(x, solve(x, CALL_triangular_solve, u, flip(x, left), false, false));
    const ir_type t = ir_type_with_dtype(adj_type(x->c, lu), DTYPE_i32);
    ir_value hit = ir_build_compare(x->g, "EQ", spread(x, rows, x->s.n, true), ir_build_iota(x->g, t, t.rank - 1));
    ir_value moves = ir_build_convert(x->g, hit, adj_type(x->c, lu).dtype);
    adj_add(x->c, x->n->in[0], product(x, moves, true, right, false));
}

/* Numbers [...] over whole matrices. */
static ir_value over_matrix(call_grad *x, ir_value number, ir_value a)
{
    const ir_type t = adj_type(x->c, a);
    int64_t place[IR_MAX_RANK];
    for (int i = 0; i < t.rank; i++) place[i] = i;
    return ir_build_broadcast_in_dim(x->g, number, &t, place);
}

static void rule_determinant(call_grad *x)
{
    ir_value a = x->n->in[0], inverse = solve(x, CALL_solve, a, identity_like(x, a), false, true);
    adj_add(x->c, a, adj_mul(x->c, over_matrix(x, adj_mul(x->c, x->d[0], result(x, 0)), a), inverse));
}

static void rule_log_determinant(call_grad *x)
{
    if (x->d[1] == IR_NONE) return;
    ir_value a = x->n->in[0], inverse = solve(x, CALL_solve, a, identity_like(x, a), false, true);
    adj_add(x->c, a, adj_mul(x->c, over_matrix(x, x->d[1], a), inverse));
}

static void rule_solve(call_grad *x)
{
    const bool turned = x->s.transpose;
    ir_value y = result(x, 0), db = solve(x, x->s.call, x->n->in[0], x->d[0], x->s.lower, !turned);
    adj_add(x->c, x->n->in[1], db);
    if (!adj_wants(x->c, x->n, 0)) return;
    ir_value da = turned ? product(x, y, false, db, true) : product(x, db, false, y, true);
    if (x->s.call == CALL_triangular_solve) da = keep(x, x->s.lower ? "GE" : "LE", da);
    adj_add(x->c, x->n->in[0], adj_negate(x->c, da));
}

static void rule_triangular_solve(call_grad *x) { rule_solve(x); }

/* b r^-T. */
static ir_value divide_right(call_grad *x, ir_value b, ir_value r)
{
    return flip(x, solve(x, CALL_triangular_solve, r, flip(x, b), false, false));
}

static ir_value square_or_deep_qr(call_grad *x, ir_value q, ir_value r, ir_value dq, ir_value dr)
{
    ir_value qdq = product(x, q, true, dq, false), rdr = product(x, r, false, dr, true);
    ir_value below = keep(x, "GE", adj_plus(x->c, less_flip(x, qdq), less_flip(x, rdr)));
    ir_value a = product(x, q, false, adj_plus(x->c, dr, divide_right(x, below, r)), false);
    ir_value rest = ir_build_binary(x->g, OP_subtract, dq, product(x, q, false, qdq, false));
    return adj_plus(x->c, a, divide_right(x, rest, r));
}

static void rule_qr(call_grad *x)
{
    const int64_t m = x->s.m, n = x->s.n;
    if (x->s.full && m > n) {
        adj_refuse(x->c, x->n, "TensorFlow has none for the complete factors of a matrix with more rows than columns");
        return;
    }
    ir_value q = result(x, 0), r = result(x, 1), dq = gradient_of(x, 0), dr = gradient_of(x, 1), a = x->n->in[0];
    if (m >= n) {
        adj_add(x->c, a, square_or_deep_qr(x, q, r, dq, dr));
        return;
    }
    const int last = rank_of(x, a) - 1;
    ir_value y = ir_build_slice_dim(x->g, a, last, m, n), dv = ir_build_slice_dim(x->g, dr, last, m, n);
    ir_value u = ir_build_slice_dim(x->g, r, last, 0, m), du = ir_build_slice_dim(x->g, dr, last, 0, m);
    dq = adj_plus(x->c, dq, product(x, y, false, dv, true));
    const ir_value part[] = {square_or_deep_qr(x, q, u, dq, du), product(x, q, false, dv, false)};
    adj_add(x->c, a, ir_build_concatenate(x->g, 2, part, last));
}

/* What the vectors of the longer side, v [..., n, m], get outside their own space. */
static ir_value outer_part(call_grad *x, ir_value u, ir_value s, ir_value v, ir_value dv)
{
    ir_value turned = flip(x, dv);
    ir_value own = product(x, product(x, turned, false, v, false), false, v, true);
    ir_value rest = ir_build_binary(x->g, OP_subtract, turned, own);
    ir_value scaled = adj_mul(x->c, u, spread(x, invert(x, s), adj_type(x->c, u).dim[rank_of(x, u) - 2].count, false));
    return product(x, scaled, false, rest, false);
}

static void rule_svd(call_grad *x)
{
    const bool deep = x->s.m > x->s.n, square = x->s.m == x->s.n;
    if (x->s.full && !square) {
        adj_refuse(x->c, x->n, "full_matrices=False has one, for matrices that are not square");
        return;
    }
    ir_value left = result(x, 0), s = result(x, 1), right = flip(x, result(x, 2));
    ir_value dleft = gradient_of(x, 0), dright = flip(x, gradient_of(x, 2));
    ir_value u = deep ? right : left, v = deep ? left : right, du = deep ? dright : dleft, dv = deep ? dleft : dright;
    ir_value f = gaps(x, adj_mul(x->c, s, s)), scale = diagonal(x, s);
    ir_value f_u = sum_with_flip(x, adj_mul(x->c, f, product(x, u, true, du, false)));
    ir_value f_v = sum_with_flip(x, adj_mul(x->c, f, product(x, v, true, dv, false)));
    ir_value middle = adj_plus(x->c, product(x, f_u, false, scale, false), product(x, scale, false, f_v, false));
    middle = adj_plus(x->c, diagonal(x, gradient_of(x, 1)), middle);
    ir_value a = product(x, u, false, product(x, middle, false, v, true), false);
    if (!square) a = adj_plus(x->c, a, outer_part(x, u, s, v, dv));
    adj_add(x->c, x->n->in[0], deep ? flip(x, a) : a);
}

static void rule_singular_values(call_grad *x)
{
    ir_value a = x->n->in[0], all = ir_build_call(x->g, (ir_call_sizes){.call = CALL_svd}, &a);
    ir_value u = ir_build_get(x->g, all, 0), v = ir_build_get(x->g, all, 2);
    ir_value scaled = adj_mul(x->c, u, spread(x, x->d[0], x->s.m, false));
    adj_add(x->c, a, product(x, scaled, false, v, false));
}

static void rule_eigh(call_grad *x)
{
    ir_value w = result(x, 0), v = result(x, 1), a;
    if (x->d[1] != IR_NONE) {
        ir_value middle = adj_mul(x->c, gaps(x, w), product(x, v, true, x->d[1], false));
        if (x->d[0] != IR_NONE) middle = adj_plus(x->c, diagonal(x, x->d[0]), middle);
        a = product(x, v, false, product(x, middle, false, v, true), false);
    } else {
        a = product(x, adj_mul(x->c, v, spread(x, x->d[0], x->s.n, false)), false, v, true);
    }
    adj_add(x->c, x->n->in[0], halve_diagonal(x, keep(x, "GE", sum_with_flip(x, a))));
}

static void (*const call_rules[CALL_COUNT])(call_grad *x) = {
#define CALL(name, ...) [CALL_##name] = rule_##name,
#include "ir/calls.def"
};

void grad_custom_call(grad_ctx *c, ir_value v, const ir_node *n, ir_value dy)
{
    (void)dy;
    call_grad x = {.c = c, .g = c->g, .v = v, .n = n, .s = ir_call_sizes_of(c->g, n), .d = c->element_adjoint[v]};
    call_rules[x.s.call](&x);
}
