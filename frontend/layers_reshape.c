/* layers_reshape.c: Flatten, Reshape, Permute, RepeatVector, UpSampling, ZeroPadding, Cropping. */
#include "frontend/layers.h"

#include <string.h>

/* ---- Flatten, Reshape, Permute, RepeatVector --------------------------------------------- */

typedef struct format_state {
    bool channels_first;
} format_state;

typedef struct dims_state {
    int count;
    int64_t dims[IR_MAX_RANK];
} dims_state;

bool fe_read_flatten(fe *f, fe_layer *layer, fe_config *c)
{
    format_state *s = arena_new(f->arena, format_state);
    layer->state = s;
    return fe_channels_first_read(c, &s->channels_first) && fe_config_done(c);
}

/* The fixed dims from the second on as one product. */
static bool multiply_dims(fe_lower *l, fe_layer *layer, const ir_type *t, int64_t *out)
{
    int64_t product = 1;
    if (!fe_size_check(l, layer, t)) return false;
    for (int d = 1; d < t->rank; d++) {
        int64_t size = 0;
        if (!fe_dim_get(l, layer, t, d, &size)) return false;
        product *= size;
    }
    *out = product;
    return true;
}

static ir_value move_channels_last(fe_lower *l, ir_value x)
{
    const int rank = fe_type(l, x).rank;
    int64_t permutation[IR_MAX_RANK] = {0};
    for (int d = 1; d < rank; d++) permutation[d] = d == rank - 1 ? 1 : d + 1;
    return fe_transpose_to(l, x, permutation);
}

bool fe_call_flatten(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const format_state *s = layer->state;
    fe_tensor x;
    int64_t width = 0;
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK, &x)) return false;
    const ir_type t = fe_type(l, x.value);
    if (!multiply_dims(l, layer, &t, &width)) return false;
    ir_value y = s->channels_first && t.rank > 2 ? move_channels_last(l, x.value) : x.value;
    if (t.rank != 2) y = ir_build_reshape(l->g, y, 2, (ir_dim[]){t.dim[0], ir_fixed(width)});
    return fe_finish(l, y, IR_NONE, out);
}

static bool read_dims(fe_config *c, const char *key, dims_state *s)
{
    const json_at at = fe_key(c, key);
    int64_t *items = NULL;
    if (!fe_config_int_list(c, key, &s->count, &items)) return false;
    if (s->count < 0) return fe_error(c->fe, &at, "expected a list of integers, found none");
    if (s->count >= IR_MAX_RANK) {
        return fe_error(c->fe, &at, "expected at most %d dims besides the batch, found %d", IR_MAX_RANK - 1,
                        s->count);
    }
    for (int i = 0; i < s->count; i++) s->dims[i] = items[i];
    return true;
}

bool fe_read_reshape(fe *f, fe_layer *layer, fe_config *c)
{
    dims_state *s = arena_new(f->arena, dims_state);
    const json_at at = fe_key(c, "target_shape");
    layer->state = s;
    if (!read_dims(c, "target_shape", s)) return false;
    int unknown = 0;
    for (int i = 0; i < s->count; i++) {
        unknown += s->dims[i] == -1;
        if (s->dims[i] < -1 || s->dims[i] > INT32_MAX) {
            return fe_error(f, &at, "expected sizes of 0 .. %d, or -1, found %lld", INT32_MAX,
                            (long long)s->dims[i]);
        }
    }
    if (unknown > 1) return fe_error(f, &at, "expected at most one -1, found %d", unknown);
    return fe_config_done(c);
}

bool fe_call_reshape(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const dims_state *s = layer->state;
    fe_tensor x;
    int64_t total = 0;
    if (!fe_input_get(l, layer, args, 1, IR_MAX_RANK, &x)) return false;
    const ir_type t = fe_type(l, x.value);
    if (!multiply_dims(l, layer, &t, &total)) return false;
    ir_dim dim[IR_MAX_RANK] = {t.dim[0]};
    int64_t known = 1;
    int unknown = -1;
    for (int i = 0; i < s->count; i++) {
        dim[i + 1] = ir_fixed(s->dims[i]);
        if (s->dims[i] == -1)
            unknown = i + 1;
        else if (s->dims[i] != 0 && known > INT64_MAX / s->dims[i])
            known = 0;
        else
            known *= s->dims[i];
    }
    if (unknown >= 0 && known != 0 && total % known == 0)
        dim[unknown] = ir_fixed(total / known);
    else if (unknown >= 0 || known != total) {
        return fe_layer_error(l->fe, layer,
                              "expected a target_shape of %lld elements a row, found another for %s",
                              (long long)total, fe_shape_show(l->fe, &t));
    }
    return fe_finish(l, ir_build_reshape(l->g, x.value, s->count + 1, dim), IR_NONE, out);
}

bool fe_read_permute(fe *f, fe_layer *layer, fe_config *c)
{
    dims_state *s = arena_new(f->arena, dims_state);
    const json_at at = fe_key(c, "dims");
    layer->state = s;
    if (!read_dims(c, "dims", s)) return false;
    bool seen[IR_MAX_RANK] = {false};
    for (int i = 0; i < s->count; i++) {
        if (s->dims[i] < 1 || s->dims[i] > s->count || seen[s->dims[i]]) {
            return fe_error(f, &at, "expected each of 1 .. %d once, found %lld", s->count,
                            (long long)s->dims[i]);
        }
        seen[s->dims[i]] = true;
    }
    return fe_config_done(c);
}

bool fe_call_permute(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const dims_state *s = layer->state;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, s->count + 1, s->count + 1, &x)) return false;
    int64_t permutation[IR_MAX_RANK] = {0};
    for (int i = 0; i < s->count; i++) permutation[i + 1] = s->dims[i];
    return fe_finish(l, fe_transpose_to(l, x.value, permutation), IR_NONE, out);
}

bool fe_read_repeat_vector(fe *f, fe_layer *layer, fe_config *c)
{
    dims_state *s = arena_new(f->arena, dims_state);
    layer->state = s;
    return fe_size_read(c, "n", 0, &s->dims[0]) && fe_config_done(c);
}

bool fe_call_repeat_vector(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const dims_state *s = layer->state;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 2, 2, &x)) return false;
    ir_type t = fe_type(l, x.value);
    t = ir_type_make(t.dtype, 3, (ir_dim[]){t.dim[0], ir_fixed(s->dims[0]), t.dim[1]});
    if (!fe_size_check(l, layer, &t)) return false;
    return fe_finish(l, ir_build_broadcast_in_dim(l->g, x.value, &t, (int64_t[]){0, 2}), IR_NONE, out);
}

/* ---- UpSampling -------------------------------------------------------------------------- */

typedef struct upsampling_state {
    int spatial;
    bool channels_first;
    fe_interpolation interpolation;
    int64_t size[3];
} upsampling_state;

bool fe_read_up_sampling(fe *f, fe_layer *layer, fe_config *c)
{
    upsampling_state *s = arena_new(f->arena, upsampling_state);
    int interpolation = 0;
    layer->state = s;
    s->spatial = fe_spatial_rank(layer);
    if (!fe_sizes_read(c, "size", s->spatial, 1, 2, s->size)) return false;
    if (s->spatial > 1 && !fe_channels_first_read(c, &s->channels_first)) return false;
    if (s->spatial == 2 && !fe_config_choice(c, "interpolation", fe_interpolation_names, &interpolation))
        return false;
    s->interpolation = (fe_interpolation)interpolation;
    return fe_config_done(c);
}

static ir_value repeat_nearest(fe_lower *l, ir_value x, const upsampling_state *s, const ir_type *result)
{
    const ir_type t = fe_type(l, x);
    const int first = s->channels_first ? 2 : 1;
    ir_type spread = {.dtype = t.dtype};
    int64_t at[IR_MAX_RANK];
    for (int d = 0; d < t.rank; d++) {
        const int axis = d - first;
        at[d] = spread.rank;
        spread.dim[spread.rank++] = t.dim[d];
        if (axis >= 0 && axis < s->spatial && s->size[axis] > 1)
            spread.dim[spread.rank++] = ir_fixed(s->size[axis]);
    }
    if (spread.rank == t.rank) return x;
    return ir_build_reshape(l->g, ir_build_broadcast_in_dim(l->g, x, &spread, at), result->rank, result->dim);
}

bool fe_call_up_sampling(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const upsampling_state *s = layer->state;
    const int first = s->channels_first ? 2 : 1;
    fe_tensor x;
    fe_resize resize = {.interpolation = s->interpolation, .channels_first = s->channels_first};
    if (!fe_input_get(l, layer, args, s->spatial + 2, s->spatial + 2, &x)) return false;
    ir_type t = fe_type(l, x.value);
    for (int i = 0; i < s->spatial; i++) {
        int64_t size = 0;
        if (!fe_dim_get(l, layer, &t, first + i, &size)) return false;
        t.dim[first + i] = ir_fixed(size > INT64_MAX / s->size[i] ? INT64_MAX : size * s->size[i]);
        if (i < 2) resize.size[i] = t.dim[first + i].count;
    }
    if (!fe_size_check(l, layer, &t)) return false;
    if (s->interpolation == FE_INTERPOLATION_nearest)
        return fe_finish(l, repeat_nearest(l, x.value, s, &t), IR_NONE, out);
    const ir_value y = fe_resize_build(l, layer, &resize, x.value);
    return y != IR_NONE && fe_finish(l, ir_build_convert(l->g, y, t.dtype), IR_NONE, out);
}

/* ---- ZeroPadding, Cropping --------------------------------------------------------------- */

typedef struct edge_state {
    int spatial;
    bool channels_first;
    int64_t edge[3][2];
} edge_state;

static bool read_edges(fe *f, fe_layer *layer, fe_config *c, const char *key, int64_t otherwise)
{
    edge_state *s = arena_new(f->arena, edge_state);
    layer->state = s;
    s->spatial = fe_spatial_rank(layer);
    return fe_pairs_read(c, key, s->spatial, otherwise, s->edge) &&
           fe_channels_first_read(c, &s->channels_first) && fe_config_done(c);
}

bool fe_read_zero_padding(fe *f, fe_layer *layer, fe_config *c)
{
    return read_edges(f, layer, c, "padding", 1);
}

bool fe_call_zero_padding(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const edge_state *s = layer->state;
    const int first = s->channels_first ? 2 : 1;
    int64_t low[IR_MAX_RANK] = {0}, high[IR_MAX_RANK] = {0}, interior[IR_MAX_RANK] = {0};
    fe_tensor x;
    if (!fe_input_get(l, layer, args, s->spatial + 2, s->spatial + 2, &x)) return false;
    ir_type t = fe_type(l, x.value);
    for (int i = 0; i < s->spatial; i++) {
        int64_t size = 0;
        if (!fe_dim_get(l, layer, &t, first + i, &size)) return false;
        low[first + i] = s->edge[i][0], high[first + i] = s->edge[i][1];
        t.dim[first + i] = ir_fixed(size + low[first + i] + high[first + i]);
    }
    if (!fe_size_check(l, layer, &t)) return false;
    const ir_value zero = ir_build_scalar(l->g, t.dtype, 0);
    return fe_finish(l, ir_build_pad(l->g, x.value, zero, low, high, interior), IR_NONE, out);
}

bool fe_read_cropping(fe *f, fe_layer *layer, fe_config *c)
{
    return read_edges(f, layer, c, "cropping", fe_spatial_rank(layer) == 2 ? 0 : 1);
}

bool fe_call_cropping(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const edge_state *s = layer->state;
    const int first = s->channels_first ? 2 : 1;
    int64_t start[IR_MAX_RANK] = {0}, limit[IR_MAX_RANK];
    fe_tensor x;
    if (!fe_input_get(l, layer, args, s->spatial + 2, s->spatial + 2, &x)) return false;
    const ir_type t = fe_type(l, x.value);
    for (int d = 0; d < t.rank; d++) limit[d] = t.dim[d].batch ? -1 : t.dim[d].count;
    for (int i = 0; i < s->spatial; i++) {
        const int d = first + i;
        int64_t size = 0;
        if (!fe_dim_get(l, layer, &t, d, &size)) return false;
        start[d] = s->edge[i][0];
        limit[d] = size - s->edge[i][1];
        if (start[d] >= limit[d]) {
            return fe_layer_error(l->fe, layer,
                                  "expected a cropping smaller than %lld on axis %d, found %lld + %lld",
                                  (long long)size, d, (long long)s->edge[i][0], (long long)s->edge[i][1]);
        }
    }
    return fe_finish(l, ir_build_slice(l->g, x.value, start, limit, NULL), IR_NONE, out);
}
