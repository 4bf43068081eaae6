/* layers_attention.c: MultiHeadAttention and GroupQueryAttention (projections, scaled scores, softmax,
 * combination) over any attention axes. One letter stands for each dim, as in Keras's einsum equations. */
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

typedef struct attention_state {
    int64_t heads, key_heads, key_dim, value_dim; /* key_heads = heads but for grouped queries */
    double dropout;
    bool use_bias, use_gate, grouped;
    int output_count, axes_count; /* 0: the query's width; 0: all axes between batch and width */
    int64_t output[IR_MAX_RANK], axes[FE_MAX_AXES];
    int64_t window; /* 0: none */
    fe_seed seed;
    fe_weight_config kernel, bias;
    fe_layer *query, *key, *value, *gate, *project;
} attention_state;

/* ---- reading ----------------------------------------------------------------------------- */

static bool read_common(fe_config *c, attention_state *s)
{
    bool ok = fe_config_number_or(c, "dropout", 0, &s->dropout);
    const json_at at = fe_key(c, "dropout"), window_at = fe_key(c, "sliding_window");
    if (ok && !(s->dropout >= 0 && s->dropout <= 1))
        ok = fe_error(c->fe, &at, "expected a number in 0 .. 1, found %g", s->dropout);
    ok = fe_config_bool_or(c, "use_bias", true, &s->use_bias) && ok;
    ok = fe_config_bool_or(c, "use_gate", false, &s->use_gate) && ok;
    ok = fe_config_int_or(c, "sliding_window", 1, 0, &s->window) && ok;
    if (ok && s->window > INT32_MAX) ok = fe_error(c->fe, &window_at, "expected at most %d", INT32_MAX);
    ok = fe_seed_read(c, &s->seed) && ok;
    ok = fe_weight_config_read(c, "kernel", "glorot_uniform", &s->kernel) && ok;
    ok = fe_weight_config_read(c, "bias", "zeros", &s->bias) && ok;
    fe_config_ignore(c, "flash_attention query_shape key_shape value_shape");
    return ok;
}

/* Files name a projection after the attribute that holds it: plain MultiHeadAttention of Keras 3 has aliases
 * without the underscore. */
static fe_layer *make_projection(fe *f, fe_layer *layer, const char *name, const char *attribute)
{
    const attention_state *s = layer->state;
    const bool alias = !s->grouped && !f->keras2 && strcmp(attribute, "_gate_dense") != 0;
    fe_layer *made = fe_layer_make(f, "EinsumDense", layer, name, alias ? attribute + 1 : attribute);
    fe_einsum_dense *e = arena_new(f->arena, fe_einsum_dense);
    e->kernel = s->kernel;
    e->bias = s->bias;
    made->state = e;
    if (!f->keras2) made->trainable = true; /* trainable=false stays with the layer that it was given to */
    made->activity_regularizer = layer->activity_regularizer;
    layer->child[layer->child_count++] = made;
    return made;
}

/* In the order in which Keras tracks them: the gate stands before the value. */
static void make_projections(fe *f, fe_layer *layer, attention_state *s)
{
    layer->child = arena_array(f->arena, fe_layer *, 5);
    s->query = make_projection(f, layer, "query", "_query_dense");
    s->key = make_projection(f, layer, "key", "_key_dense");
    if (s->use_gate) s->gate = make_projection(f, layer, "gate", "_gate_dense");
    s->value = make_projection(f, layer, "value", "_value_dense");
    s->project = make_projection(f, layer, "attention_output", "_output_dense");
    if (s->use_gate) ((fe_einsum_dense *)s->gate->state)->activation = ir_record_new(f->arena, "sigmoid");
}

static bool read_axes(fe_config *c, const char *key, int64_t least, int *out_count, int64_t *out)
{
    const json_at at = fe_key(c, key);
    int64_t *items = NULL;
    if (!fe_config_int_list(c, key, out_count, &items)) return false;
    if (*out_count < 0) *out_count = 0;
    if (*out_count >= IR_MAX_RANK) return fe_error(c->fe, &at, "expected less than %d numbers", IR_MAX_RANK);
    for (int i = 0; i < *out_count; i++) {
        if (items[i] < least || items[i] > INT32_MAX)
            return fe_error(c->fe, &at, "found the number %lld", (long long)items[i]);
        out[i] = items[i];
    }
    return true;
}

bool fe_read_multi_head_attention(fe *f, fe_layer *layer, fe_config *c)
{
    attention_state *s = arena_new(f->arena, attention_state);
    layer->state = s;
    bool ok = fe_size_read(c, "num_heads", 0, &s->heads);
    ok = fe_size_read(c, "key_dim", 0, &s->key_dim) && ok;
    ok = ok && fe_size_read(c, "value_dim", s->key_dim, &s->value_dim);
    ok = read_axes(c, "output_shape", 1, &s->output_count, s->output) && ok;
    ok = read_axes(c, "attention_axes", -IR_MAX_RANK, &s->axes_count, s->axes) && ok;
    ok = read_common(c, s) && ok;
    if (!fe_config_done(c) || !ok) return false;
    s->key_heads = s->heads;
    make_projections(f, layer, s);
    layer->activity_regularizer = NULL; /* Keras gives it to the projections only */
    return true;
}

bool fe_read_group_query_attention(fe *f, fe_layer *layer, fe_config *c)
{
    attention_state *s = arena_new(f->arena, attention_state);
    const json_at at = fe_key(c, "num_key_value_heads");
    layer->state = s;
    s->grouped = true;
    bool ok = fe_size_read(c, "head_dim", 0, &s->key_dim);
    ok = fe_size_read(c, "num_query_heads", 0, &s->heads) && ok;
    ok = fe_size_read(c, "num_key_value_heads", 0, &s->key_heads) && ok;
    ok = read_common(c, s) && ok;
    if (ok && s->heads % s->key_heads != 0) {
        ok = fe_error(f, &at, "expected a divisor of the %lld query heads, found %lld", (long long)s->heads,
                      (long long)s->key_heads);
    }
    if (!fe_config_done(c) || !ok) return false;
    s->value_dim = s->key_dim;
    make_projections(f, layer, s);
    return true;
}

/* ---- projections ------------------------------------------------------------------------- */

/* "abc,cde->abde" for a rank, `bound` contracted last dims and `made` new ones. */
static void set_equation(fe *f, fe_layer *projection, int rank, int bound, int made, bool use_bias,
                         const int64_t *sizes)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    fe_einsum_dense *e = projection->state;
    const int free_count = rank - bound;
    e->input = arena_strndup(f->arena, letters, (size_t)rank);
    e->weight = arena_strndup(f->arena, letters + free_count, (size_t)(bound + made));
    e->output = arena_printf(f->arena, "%.*s%.*s", free_count, letters, made, letters + rank);
    e->bias_axes = use_bias ? arena_strndup(f->arena, letters + rank, (size_t)made) : NULL;
    e->partial_count = made;
    memcpy(e->partial, sizes, (size_t)made * sizeof *sizes);
}

static bool project(fe_lower *l, fe_layer *projection, ir_value x, int64_t heads, int64_t width,
                    ir_value *out)
{
    const attention_state *s = l->layer->state;
    fe_tensor y;
    set_equation(l->fe, projection, fe_type(l, x).rank, 1, 2, s->use_bias, (int64_t[]){heads, width});
    if (!fe_call_tensor(l, projection, (fe_tensor){x, IR_NONE}, &y)) return false;
    *out = y.value;
    return true;
}

/* [N, steps, key heads, width]: each head as often as there are queries to a group. */
static ir_value repeat_heads(fe_lower *l, ir_value x, int64_t times)
{
    ir_type t = fe_type(l, x);
    if (times == 1) return x;
    ir_type spread = {
        .dtype = t.dtype, .rank = 5, .dim = {t.dim[0], t.dim[1], t.dim[2], ir_fixed(times), t.dim[3]}};
    t.dim[2].count *= times;
    return ir_build_reshape(l->g, ir_build_broadcast_in_dim(l->g, x, &spread, (int64_t[]){0, 1, 2, 4}),
                            t.rank, t.dim);
}

/* ---- masks ------------------------------------------------------------------------------- */

typedef struct attention_inputs {
    fe_tensor query, value, key, mask; /* key.value IR_NONE: not given; mask: the argument attention_mask */
    bool causal, return_scores;
} attention_inputs;

static ir_value unite(fe_lower *l, ir_value a, ir_value b)
{
    if (a == IR_NONE || b == IR_NONE) return a == IR_NONE ? b : a;
    return ir_build_binary(l->g, OP_and, a, b);
}

static bool check_mask_rank(fe_lower *l, fe_layer *layer, ir_value mask)
{
    const ir_type t = fe_type(l, mask);
    if (t.rank >= 1 && t.rank < IR_MAX_RANK) return true;
    return fe_layer_error(l->fe, layer, "expected a mask of one bool a step, found %s",
                          fe_shape_show(l->fe, &t));
}

/* The mask [N, query steps, key steps], or with dims of size 1; IR_NONE in *out: none. */
static bool build_mask(fe_lower *l, fe_layer *layer, const attention_inputs *in, ir_value *out)
{
    const attention_state *s = layer->state;
    const ir_type q = fe_type(l, in->query.value), v = fe_type(l, in->value.value);
    const ir_value masks[3] = {in->query.mask, in->value.mask,
                               in->key.value == IR_NONE ? IR_NONE : in->key.mask};
    ir_value all = IR_NONE;
    for (int i = 0; i < 3; i++) {
        if (masks[i] == IR_NONE) continue;
        if (!check_mask_rank(l, layer, masks[i])) return false;
        const int rank = fe_type(l, masks[i]).rank;
        const ir_value part = fe_insert_dim(l, masks[i], i == 0 ? rank : rank - 1);
        const ir_type a = all == IR_NONE ? fe_type(l, part) : fe_type(l, all), b = fe_type(l, part);
        ir_type both;
        if (!ir_broadcast_shapes(&a, &b, &both)) {
            return fe_layer_error(l->fe, layer, "expected masks that fit together, found %s and %s",
                                  fe_shape_show(l->fe, &a), fe_shape_show(l->fe, &b));
        }
        all = unite(l, all, part);
    }
    for (int windowed = 0; windowed < 2; windowed++) {
        if (windowed ? s->window == 0 : !in->causal) continue;
        const ir_value steps = fe_causal_mask_build(l, q.dim[1], v.dim[1], windowed ? s->window : 0);
        const ir_type a = fe_type(l, steps), b = all == IR_NONE ? a : fe_type(l, all);
        ir_type both;
        if (!ir_broadcast_shapes(&b, &a, &both))
            return fe_refuse(l, layer, "a causal mask besides masks of this shape");
        all = unite(l, all, steps);
    }
    if (in->mask.value != IR_NONE) {
        ir_value given = in->mask.value;
        const ir_type g = fe_type(l, given), a = all == IR_NONE ? g : fe_type(l, all);
        ir_type both;
        if (g.dtype != DTYPE_i1)
            given = ir_build_compare(l->g, "NE", given, ir_build_scalar(l->g, g.dtype, 0));
        if (!ir_broadcast_shapes(&a, &g, &both))
            return fe_refuse(l, layer, "an attention_mask of this shape");
        all = unite(l, given, all);
    }
    *out = all;
    return true;
}

/* A mask in the shape of the scores: dims for heads and the like are put before its last 2 * `axes` dims. */
static bool spread_mask(fe_lower *l, fe_layer *layer, ir_value mask, ir_type scores, int axes, ir_value *out)
{
    ir_type t = fe_type(l, mask), both;
    while (t.rank >= 2 * axes && t.rank < scores.rank) {
        mask = fe_insert_dim(l, mask, t.rank == 2 * axes ? 0 : t.rank - 2 * axes);
        t = fe_type(l, mask);
    }
    scores.dtype = DTYPE_i1;
    if (t.rank > scores.rank || !ir_broadcast_shapes(&scores, &t, &both) ||
        !ir_type_same_shape(&both, &scores)) {
        return fe_layer_error(l->fe, layer, "expected a mask that fits the scores %s, found %s",
                              fe_shape_show(l->fe, &scores), fe_shape_show(l->fe, &t));
    }
    *out = ir_build_broadcast_to(l->g, mask, &scores);
    return true;
}

/* ---- scores ------------------------------------------------------------------------------ */

/* Letters of the projected query ("abcd"), key and value ("aecd") and scores ("acbe"): attention axes get
 * letters of their own in the key, and stand last in the scores. */
typedef struct equation {
    char query[IR_MAX_RANK + 1], key[IR_MAX_RANK + 1], scores[2 * IR_MAX_RANK + 1];
    int axes;
} equation;

/* Attention axes count in the projected query, so the last but one is that of the heads. The fused operation knows
 * no axes: it always attends over the steps. */
static bool make_equation(fe_lower *l, fe_layer *layer, int rank, bool fused, equation *e)
{
    const attention_state *s = layer->state;
    int64_t axes[FE_MAX_AXES], sorted[FE_MAX_AXES];
    const bool given = s->axes_count > 0 && !fused;
    e->axes = given ? s->axes_count : rank - 3;
    for (int i = 0; i < e->axes; i++) {
        axes[i] = !given ? i + 1 : s->axes[i] < 0 ? s->axes[i] + rank - 1 : s->axes[i];
        if (axes[i] < 1 || axes[i] > rank - 2) {
            return fe_layer_error(l->fe, layer, "expected attention axes in 1 .. %d, found %lld", rank - 2,
                                  (long long)s->axes[i]);
        }
        sorted[i] = axes[i];
    }
    if (!fe_axes_resolve(l, layer, rank, 1, e->axes, sorted)) return false;
    if (rank + e->axes - 1 > IR_MAX_RANK) return fe_refuse(l, layer, "attention over so many axes");
    int batch = 0, at = 0, next = 0;
    for (int d = 0; d < rank; d++) {
        const bool attends = next < e->axes && sorted[next] == d;
        if (attends) next++;
        e->query[d] = (char)('a' + d);
        e->key[d] = (char)(attends ? 'a' + rank + next - 1 : 'a' + d);
        if (!attends && d < rank - 1) e->scores[batch++] = e->query[d];
    }
    at = batch;
    for (int i = 0; i < e->axes; i++) e->scores[at++] = e->query[axes[i]];
    for (int i = 0; i < e->axes; i++) e->scores[at++] = e->key[axes[i]];
    e->query[rank] = e->key[rank] = e->scores[at] = '\0';
    return true;
}

static bool check_shapes(fe_lower *l, fe_layer *layer, const ir_value qkv[3], const equation *e)
{
    const ir_type q = fe_type(l, qkv[0]), k = fe_type(l, qkv[1]), v = fe_type(l, qkv[2]);
    bool fits = q.rank == k.rank && k.rank == v.rank;
    for (int d = 0; fits && d < q.rank - 1; d++) {
        fits = ir_dim_equal(k.dim[d], v.dim[d]) &&
               (e->query[d] != e->key[d] || ir_dim_equal(q.dim[d], k.dim[d]));
    }
    if (!fits) {
        return fe_layer_error(
            l->fe, layer, "expected query, key and value that fit together, found %s, %s and %s projected",
            fe_shape_show(l->fe, &q), fe_shape_show(l->fe, &k), fe_shape_show(l->fe, &v));
    }
    ir_type scores = {.dtype = q.dtype};
    for (const char *c = e->scores; *c != '\0'; c++) {
        const char *at = strchr(e->query, *c);
        scores.dim[scores.rank++] = at != NULL ? q.dim[at - e->query] : k.dim[strchr(e->key, *c) - e->key];
    }
    return fe_size_check(l, layer, &scores);
}

/* Hides scores: at the far end of the range, at -1e9, or as Keras 2 does by adding that to them. */
static ir_value hide_scores(fe_lower *l, ir_value scores, ir_value mask, bool fused)
{
    ir_graph *g = l->g;
    const ir_dtype dtype = fe_type(l, scores).dtype;
    const double hidden = fused ? -0.7 * 3.38953e38 : dtype == DTYPE_f16 ? -3e4 : -1e9;
    if (!l->fe->keras2) return ir_build_select(g, mask, scores, ir_build_scalar(g, dtype, hidden));
    const ir_value adder =
        ir_build_select(g, mask, ir_build_scalar(g, dtype, 0), ir_build_scalar(g, dtype, hidden));
    return ir_build_binary(g, OP_add, scores, adder);
}

/* Keras 3 computes the usual case with one fused operation: scale after the product, float32 scores, hidden
 * scores at the far end of the range. The other way scales the query, hides with -1e9 and sets hidden weights
 * to 0, which Keras 2 does not. */
static bool build_weights(fe_lower *l, fe_layer *layer, const ir_value qkv[3], const equation *e,
                          ir_value mask, bool fused, ir_value *out)
{
    const attention_state *s = layer->state;
    ir_graph *g = l->g;
    const double scale = 1 / sqrt((double)s->key_dim);
    const ir_dtype dtype = fe_type(l, qkv[0]).dtype;
    const ir_dtype high = dtype == DTYPE_f64 ? DTYPE_f64 : DTYPE_f32;
    const ir_value query = fused ? qkv[0] : ir_build_binary_scalar(g, OP_multiply, qkv[0], scale);
    ir_value scores = fe_einsum_build(l, e->query, e->key, e->scores, (ir_value[]){query, qkv[1]});
    int64_t dims[IR_MAX_RANK];
    const int rank = fe_type(l, scores).rank;
    for (int i = 0; i < e->axes; i++) dims[i] = rank - e->axes + i;
    if (fused) scores = ir_build_binary_scalar(g, OP_multiply, ir_build_convert(g, scores, high), scale);
    const ir_dtype scored = fe_type(l, scores).dtype;
    if (mask != IR_NONE) {
        if (!spread_mask(l, layer, mask, fe_type(l, scores), e->axes, &mask)) return false;
        scores = hide_scores(l, scores, mask, fused);
    }
    ir_value weights = fe_softmax_build(l, scores, e->axes, dims);
    if (mask != IR_NONE && !fused && !l->fe->keras2)
        weights = ir_build_select(g, mask, weights, ir_build_scalar(g, scored, 0));
    *out = ir_build_convert(g, weights, dtype);
    return true;
}

/* ---- calls ------------------------------------------------------------------------------- */

static bool find_flag(const fe_args *args, const char *name)
{
    const fe_value *v = fe_args_find(args, -1, name);
    return v != NULL && v->kind == FE_BOOL && v->number != 0;
}

static bool get_inputs(fe_lower *l, fe_layer *layer, const fe_args *args, attention_inputs *in)
{
    const attention_state *s = layer->state;
    fe_tensor given;
    if (!fe_tensor_find(l, layer, args, 0, "query", &in->query) ||
        !fe_tensor_find(l, layer, args, 1, "value", &in->value) ||
        !fe_tensor_find(l, layer, args, 2, "key", &in->key) ||
        !fe_tensor_find(l, layer, args, -1, "attention_mask", &in->mask))
        return false;
    if (in->query.value == IR_NONE || in->value.value == IR_NONE) {
        return fe_layer_error(l->fe, layer, "expected a query and a value, found less");
    }
    const char *const names[3] = {"query_mask", "value_mask", "key_mask"};
    fe_tensor *const tensors[3] = {&in->query, &in->value, &in->key};
    for (int i = 0; i < 3; i++) {
        if (!fe_tensor_find(l, layer, args, -1, names[i], &given)) return false;
        if (given.value == IR_NONE || (i == 0 && !s->grouped))
            continue; /* Keras's MultiHeadAttention ignores that one */
        if (fe_type(l, given.value).dtype != DTYPE_i1)
            return fe_refuse(l, layer, "a mask that is not of bools");
        tensors[i]->mask = given.value;
    }
    in->causal = find_flag(args, "use_causal_mask");
    in->return_scores = find_flag(args, "return_attention_scores");
    const ir_type q = fe_type(l, in->query.value), v = fe_type(l, in->value.value);
    const ir_type k = in->key.value == IR_NONE ? v : fe_type(l, in->key.value);
    const int most = s->grouped ? 3 : IR_MAX_RANK - 1;
    if (q.rank >= 3 && q.rank <= most && v.rank == q.rank && k.rank == q.rank) return true;
    return fe_layer_error(l->fe, layer,
                          "expected query, value and key of one rank in 3 .. %d, found %s, %s and %s", most,
                          fe_shape_show(l->fe, &q), fe_shape_show(l->fe, &v), fe_shape_show(l->fe, &k));
}

/* Output projection: of (heads, width) to the output shape. */
static bool project_output(fe_lower *l, fe_layer *layer, ir_value x, int64_t query_width, ir_value *out)
{
    const attention_state *s = layer->state;
    const int made = s->output_count > 0 ? s->output_count : 1, rank = fe_type(l, x).rank;
    fe_tensor y;
    if (rank - 2 + made > IR_MAX_RANK) return fe_refuse(l, layer, "an output_shape of so many dims");
    set_equation(l->fe, s->project, rank, 2, made, s->use_bias,
                 s->output_count > 0 ? s->output : &query_width);
    if (!fe_call_tensor(l, s->project, (fe_tensor){x, IR_NONE}, &y)) return false;
    *out = y.value;
    return true;
}

static bool return_both(fe_lower *l, ir_value y, ir_value mask, ir_value scores, fe_value *out)
{
    fe_value *item = arena_array(l->fe->arena, fe_value, 2);
    item[0] = fe_value_tensor(y, mask);
    item[1] = fe_value_tensor(scores, IR_NONE);
    *out = (fe_value){.kind = FE_LIST, .count = 2, .item = item};
    return true;
}

static void clear_masks(fe_lower *l, const attention_inputs *in)
{
    const fe_tensor tensors[3] = {in->query, in->value, in->key};
    for (int i = 0; i < 3; i++) {
        if (tensors[i].value != IR_NONE && tensors[i].mask != IR_NONE) fe_mask_clear(l, tensors[i].value);
    }
}

static bool call_attention(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const attention_state *s = layer->state;
    attention_inputs in;
    ir_value qkv[3], gate = IR_NONE, mask = IR_NONE, weights, y;
    equation e;
    int64_t width = 0;
    if (!get_inputs(l, layer, args, &in)) return false;
    const ir_type q = fe_type(l, in.query.value);
    const ir_value key = in.key.value == IR_NONE ? in.value.value : in.key.value;
    if (!fe_dim_get(l, layer, &q, q.rank - 1, &width) || !build_mask(l, layer, &in, &mask)) return false;
    if (!s->grouped && !l->fe->keras2) clear_masks(l, &in);
    if (!project(l, s->query, in.query.value, s->heads, s->key_dim, &qkv[0])) return false;
    if (!project(l, s->key, key, s->key_heads, s->key_dim, &qkv[1])) return false;
    if (s->use_gate && !project(l, s->gate, in.query.value, s->heads, s->value_dim, &gate)) return false;
    if (!project(l, s->value, in.value.value, s->key_heads, s->value_dim, &qkv[2])) return false;
    qkv[1] = repeat_heads(l, qkv[1], s->heads / s->key_heads);
    qkv[2] = repeat_heads(l, qkv[2], s->heads / s->key_heads);
    const int rank = fe_type(l, qkv[0]).rank;
    const bool fused = !l->fe->keras2 && s->dropout == 0 && !in.return_scores && rank == 4;
    if (!make_equation(l, layer, rank, fused, &e) || !check_shapes(l, layer, qkv, &e)) return false;
    if (!build_weights(l, layer, qkv, &e, mask, fused, &weights)) return false;
    const ir_value dropped = l->training ? fe_dropout_build(l, weights, s->dropout, NULL, &s->seed) : weights;
    if (dropped == IR_NONE) return false;
    y = fe_einsum_build(l, e.scores, e.key, e.query, (ir_value[]){dropped, qkv[2]});
    if (gate != IR_NONE) y = ir_build_binary(l->g, OP_multiply, y, gate);
    if (!project_output(l, layer, y, width, &y)) return false;
    if (in.return_scores) return return_both(l, y, in.query.mask, weights, out);
    return fe_finish(l, y, in.query.mask, out);
}

bool fe_call_multi_head_attention(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return call_attention(l, layer, args, out);
}

bool fe_call_group_query_attention(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    return call_attention(l, layer, args, out);
}
