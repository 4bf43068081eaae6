/* layers_conv_lstm.c: ConvLSTM1D .. 3D: an LSTM whose products are convolutions. Those of the inputs are one
 * convolution over all steps, which are rows of one large batch. */
#include "frontend/recurrent.h"

static ir_window make_window(const rnn_cell *cell)
{
    static const char *const layout[2][3] = {{"b0f", "b01f", "b012f"}, {"bf0", "bf01", "bf012"}};
    static const char *const kernel[] = {"0io", "01io", "012io"};
    ir_window w = {.spatial = cell->spatial, .feature_groups = 1, .batch_groups = 1};
    w.lhs_layout = w.out_layout = layout[cell->channels_first ? 1 : 0][cell->spatial - 1];
    w.rhs_layout = kernel[cell->spatial - 1];
    for (int i = 0; i < cell->spatial; i++) w.base_dilation[i] = 1;
    return w;
}

static int spatial_axis(const rnn_cell *cell, int i) { return i + (cell->channels_first ? 2 : 1); }

static int64_t reach_of(const rnn_cell *cell, int i, bool recurrent)
{
    return (cell->window[i] - 1) * (recurrent ? 1 : cell->dilation[i]) + 1;
}

/* The window's steps along dim i of `size`, padding included. The state's convolution keeps the shape. */
static int64_t place_dim(const rnn_cell *cell, int i, int64_t size, bool recurrent, ir_window *w)
{
    const int64_t reach = reach_of(cell, i, recurrent);
    w->strides[i] = recurrent ? 1 : cell->strides[i];
    w->window_dilation[i] = recurrent ? 1 : cell->dilation[i];
    w->low[i] = w->high[i] = 0;
    if (!recurrent && !cell->same) return (size - reach) / w->strides[i] + 1;
    const int64_t result = base_ceil_div(size, w->strides[i]);
    const int64_t total = base_max((result - 1) * w->strides[i] + reach - size, 0);
    w->low[i] = total / 2;
    w->high[i] = total - w->low[i];
    return result;
}

bool rnn_cell_place(rnn_cell_call *c, const ir_type *input, ir_type *out_state)
{
    fe_lower *l = c->loop->l;
    const rnn_cell *cell = c->cell;
    ir_window w = make_window(cell);
    for (int i = 0; i < cell->spatial; i++) {
        const int axis = spatial_axis(cell, i);
        int64_t size = 0;
        if (!fe_dim_get(l, c->layer, input, axis, &size)) return false;
        if (!cell->same && size < reach_of(cell, i, false)) {
            return fe_layer_error(l->fe, c->layer,
                                  "expected an input that the kernel fits in (%lld wide), found %s",
                                  (long long)reach_of(cell, i, false), fe_shape_show(l->fe, input));
        }
        out_state->dim[axis] = ir_fixed(place_dim(cell, i, size, false, &w));
    }
    out_state->dim[rnn_cell_axis(cell)] = ir_fixed(cell->units);
    return true;
}

ir_value rnn_cell_convolve(rnn_cell_call *c, ir_value x, ir_value kernel, bool recurrent)
{
    fe_lower *l = c->loop->l;
    const rnn_cell *cell = c->cell;
    const ir_type t = fe_type(l, x);
    const bool all_steps = t.rank > cell->spatial + 2;
    ir_window w = make_window(cell);
    ir_type rows = t;
    if (all_steps) {
        rows = ir_type_make(t.dtype, t.rank - 1, t.dim + 1);
        rows.dim[0].count *= t.dim[0].count;
        x = ir_build_reshape(l->g, x, rows.rank, rows.dim);
    }
    for (int i = 0; i < cell->spatial; i++) {
        place_dim(cell, i, rows.dim[spatial_axis(cell, i)].count, recurrent, &w);
    }
    const ir_value y = ir_build_convolution(l->g, x, kernel, &w);
    if (!all_steps) return y;
    ir_type out = fe_type(l, y);
    ir_dim dim[IR_MAX_RANK] = {t.dim[0], t.dim[1]};
    for (int i = 1; i < out.rank; i++) dim[i + 1] = out.dim[i];
    return ir_build_reshape(l->g, y, out.rank + 1, dim);
}

/* ---- reading
 * -------------------------------------------------------------------------------------------------------- */

static const rnn_cell_kind conv_kind = {"ConvLSTMCell", "conv_lstm_cell", 4, 2, rnn_lstm_step};

static bool read_window(fe *f, fe_config *c, rnn_cell *s)
{
    static const char *const paddings[] = {"valid", "same", NULL};
    const json_at kernel_at = fe_key(c, "kernel_size"), at = fe_key(c, "dilation_rate");
    int choice = 0;
    bool ok = true, strided = false, dilated = false;
    if (!fe_config_has(c, "kernel_size"))
        ok = fe_error(f, &kernel_at, "expected the size of the kernel, found none");
    ok = fe_sizes_read(c, "kernel_size", s->spatial, 1, 1, s->window) && ok;
    ok = fe_sizes_read(c, "strides", s->spatial, 1, 1, s->strides) && ok;
    ok = fe_sizes_read(c, "dilation_rate", s->spatial, 1, 1, s->dilation) && ok;
    ok = fe_config_choice(c, "padding", paddings, &choice) && ok;
    ok = fe_channels_first_read(c, &s->channels_first) && ok;
    s->same = choice == 1;
    for (int i = 0; ok && i < s->spatial; i++) {
        strided = strided || s->strides[i] > 1;
        dilated = dilated || s->dilation[i] > 1;
    }
    if (strided && dilated) return fe_error(f, &at, "expected 1 where strides are larger than 1, found more");
    return ok;
}

bool fe_read_conv_lstm(fe *f, fe_layer *layer, fe_config *c)
{
    static const fe_layer_class class = {.name = "ConvLSTMCell"};
    rnn_state *s = arena_new(f->arena, rnn_state);
    layer->state = s;
    bool ok = rnn_read_flags(c, s);
    rnn_cell *cell = rnn_cell_read(f, &conv_kind, fe_spatial_rank(layer), c);
    if (cell == NULL) return fe_config_done(c) && false;
    ok = read_window(f, c, cell) && ok;
    s->rank = cell->spatial + 3;
    rnn_layer_add_cell(f, layer, &class, cell);
    return fe_config_done(c) && ok;
}
