/* layers_image.c: preprocessing of images: Resizing and CenterCrop. */
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

bool fe_read_resizing(fe *f, fe_layer *layer, fe_config *c)
{
    fe_resize *s = arena_new(f->arena, fe_resize);
    const json_at at = fe_key(c, "pad_to_aspect_ratio");
    int interpolation = 0;
    layer->state = s;
    fe_config_ignore(c, "fill_mode bounding_box_format factor");
    bool ok = fe_size_read(c, "height", 0, &s->size[0]) && fe_size_read(c, "width", 0, &s->size[1]);
    if (!fe_config_has(c, "interpolation"))
        interpolation = FE_INTERPOLATION_bilinear;
    else
        ok = fe_config_choice(c, "interpolation", fe_interpolation_names, &interpolation) && ok;
    s->interpolation = (fe_interpolation)interpolation;
    ok = fe_config_bool_or(c, "crop_to_aspect_ratio", false, &s->crop) && ok;
    ok = fe_config_bool_or(c, "pad_to_aspect_ratio", false, &s->pad) && ok;
    ok = fe_config_bool_or(c, "antialias", false, &s->antialias) && ok;
    ok = fe_config_number_or(c, "fill_value", 0, &s->fill) && ok;
    ok = fe_channels_first_read(c, &s->channels_first) && ok;
    if (ok && s->crop && s->pad) ok = fe_error(f, &at, "expected false where images are cropped, found true");
    return fe_config_done(c) && ok;
}

/* Integers are rounded and kept within their range. */
static ir_value cast_image(fe_lower *l, ir_value y, ir_dtype dtype)
{
    if (fe_type(l, y).dtype == dtype || ir_dtype_is_float(dtype)) return ir_build_convert(l->g, y, dtype);
    const int bits = 8 * (int)ir_dtype_size(dtype);
    const bool is_signed = ir_dtype_class_of(dtype) == DTYPE_SIGNED;
    y = ir_build_unary(l->g, OP_round_nearest_even, y);
    y = ir_build_binary_scalar(l->g, OP_maximum, y, is_signed ? -ldexp(1, bits - 1) : 0);
    y = ir_build_binary_scalar(l->g, OP_minimum, y, ldexp(1, is_signed ? bits - 1 : bits) - 1);
    return ir_build_convert(l->g, y, dtype);
}

bool fe_call_resizing(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 3, 4, &x)) return false;
    const ir_value y = fe_resize_build(l, layer, layer->state, x.value);
    return y != IR_NONE && fe_finish(l, cast_image(l, y, fe_type(l, x.value).dtype), IR_NONE, out);
}

bool fe_read_center_crop(fe *f, fe_layer *layer, fe_config *c)
{
    fe_resize *s = arena_new(f->arena, fe_resize);
    layer->state = s;
    s->interpolation = FE_INTERPOLATION_bilinear;
    s->crop = true;
    fe_config_ignore(c, "bounding_box_format factor");
    return fe_size_read(c, "height", 0, &s->size[0]) && fe_size_read(c, "width", 0, &s->size[1]) &&
           fe_channels_first_read(c, &s->channels_first) && fe_config_done(c);
}

/* An image smaller than the crop is cut to its ratio and resized. */
bool fe_call_center_crop(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const fe_resize *s = layer->state;
    fe_tensor x;
    int64_t size[2], start[2];
    if (!fe_input_get(l, layer, args, 3, 4, &x)) return false;
    x.value = ir_build_convert(l->g, x.value, layer->compute_dtype);
    const ir_type t = fe_type(l, x.value);
    const int first = t.rank - 3 + s->channels_first;
    bool fits = true;
    for (int i = 0; i < 2; i++) {
        if (!fe_dim_get(l, layer, &t, first + i, &size[i])) return false;
        fits = fits && size[i] >= s->size[i];
        start[i] = (size[i] - s->size[i]) / 2;
    }
    if (!fits) {
        const ir_value y = fe_resize_build(l, layer, s, x.value);
        return y != IR_NONE && fe_finish(l, ir_build_convert(l->g, y, t.dtype), IR_NONE, out);
    }
    for (int i = 0; i < 2; i++)
        x.value = ir_build_slice_dim(l->g, x.value, first + i, start[i], start[i] + s->size[i]);
    return fe_finish(l, x.value, IR_NONE, out);
}
