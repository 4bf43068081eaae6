/* layers_augment.c: the layers of image augmentation: their table, their fields, and how one is called. */
#include "frontend/augment.h"

#include <string.h>

#define IMAGES AUGMENT_RANGE | AUGMENT_SEED
#define WARPS AUGMENT_SEED | AUGMENT_WARP | AUGMENT_FILL
#define BUILD(name) .draw = augment_draw_##name, .apply = augment_apply_##name
#define FIXED(name) .apply = augment_apply_##name, .always = true

/* The row of a factor: key, bounds, what one number means, its default unless it must be there. */
#define NEEDED(key, least, most, mirror)                                                                     \
    {                                                                                                        \
        key, least, most, AUGMENT_##mirror, false, 0                                                         \
    }
#define OPTIONAL(key, least, most, mirror, otherwise)                                                        \
    {                                                                                                        \
        key, least, most, AUGMENT_##mirror, true, otherwise                                                  \
    }

static const augment_kind kinds[] = {
    {"RandomBrightness", IMAGES, AUGMENT_CAST_NEVER, .factor = {NEEDED("factor", -1, 1, BOTH_WAYS)},
     BUILD(brightness)},
    {"RandomContrast", IMAGES, AUGMENT_CAST_TRAINING, .factor = {NEEDED("factor", 0, 1, FROM_ZERO)},
     BUILD(contrast)},
    {"RandomColorDegeneration", IMAGES, AUGMENT_CAST_TRAINING, .idle = 1,
     .factor = {NEEDED("factor", -1, 1, BOTH_WAYS)}, BUILD(degeneration)},
    {"RandomSaturation", IMAGES, AUGMENT_CAST_NEVER, .idle = 1,
     .factor = {NEEDED("factor", -1, 1, BOTH_WAYS)}, BUILD(saturation)},
    {"RandomHue", IMAGES, AUGMENT_CAST_TRAINING, .idle = 2, .factor = {NEEDED("factor", 0, 1, FROM_ZERO)},
     BUILD(hue)},
    {"RandomGrayscale", AUGMENT_SEED, AUGMENT_CAST_NEVER, .idle = 1,
     .factor = {OPTIONAL("factor", 0, 1, ALONE, 0.5)}, BUILD(grayscale)},
    {"RandomInvert", IMAGES, AUGMENT_CAST_TRAINING, .factor = {OPTIONAL("factor", 0, 1, FROM_ZERO, 1)},
     BUILD(invert)},
    {"RandomPosterization", IMAGES, AUGMENT_CAST_TRAINING, .idle = 1,
     .factor = {NEEDED("factor", 1, 8, FROM_ZERO)}, BUILD(posterization)},
    {"RandomSharpness", IMAGES, AUGMENT_CAST_ALWAYS, .idle = 1, .factor = {NEEDED("factor", 0, 1, FROM_ZERO)},
     BUILD(sharpness)},
    {"RandomGaussianBlur", IMAGES, AUGMENT_CAST_ALWAYS,
     .factor = {OPTIONAL("factor", 0, 1, FROM_ZERO, 1), OPTIONAL("sigma", 0, 1, FROM_ZERO, 1)},
     .read = augment_read_blur, BUILD(blur)},
    {"Solarization", IMAGES, AUGMENT_CAST_ALWAYS,
     .factor = {OPTIONAL("addition_factor", 0, 1, FROM_ZERO, 0),
                OPTIONAL("threshold_factor", 0, 1, FROM_ZERO, 0)},
     BUILD(solarization)},
    {"RandomFlip", AUGMENT_SEED, AUGMENT_CAST_ALWAYS, .read = augment_read_flip, BUILD(flip)},
    {"RandomCrop", AUGMENT_SEED | AUGMENT_SIZE, AUGMENT_CAST_TRAINING, BUILD(crop)},
    {"RandomRotation", WARPS | AUGMENT_FILL_MODE, AUGMENT_CAST_ALWAYS,
     .factor = {NEEDED("factor", -1, 1, BOTH_WAYS)}, BUILD(rotation)},
    {"RandomTranslation", WARPS | AUGMENT_FILL_MODE, AUGMENT_CAST_ALWAYS,
     .factor = {NEEDED("height_factor", -1, 1, BOTH_WAYS), NEEDED("width_factor", -1, 1, BOTH_WAYS)},
     BUILD(translation)},
    {"RandomZoom", WARPS | AUGMENT_FILL_MODE, AUGMENT_CAST_ALWAYS,
     .factor = {NEEDED("height_factor", -1, 1, BOTH_WAYS), OPTIONAL("width_factor", -1, 1, BOTH_WAYS, 0)},
     BUILD(zoom)},
    {"RandomShear", WARPS | AUGMENT_FILL_MODE, AUGMENT_CAST_ALWAYS,
     .factor = {OPTIONAL("x_factor", 0, 1, BOTH_WAYS, 0), OPTIONAL("y_factor", 0, 1, BOTH_WAYS, 0)},
     BUILD(shear)},
    {"RandomPerspective", WARPS, AUGMENT_CAST_ALWAYS, .factor = {OPTIONAL("factor", 0, 1, FROM_ZERO, 1)},
     .read = augment_read_perspective, BUILD(perspective)},
    {"RandomElasticTransform", WARPS | AUGMENT_FILL_MODE | AUGMENT_RANGE, AUGMENT_CAST_ALWAYS,
     .factor = {OPTIONAL("factor", 0, 1, FROM_ZERO, 1), OPTIONAL("scale", 0, 1, FROM_ZERO, 1)},
     BUILD(elastic)},
    {"RandomErasing", IMAGES, AUGMENT_CAST_ALWAYS,
     .factor = {OPTIONAL("factor", 0, 1, FROM_ZERO, 1), OPTIONAL("scale", 0, 1, FROM_ZERO, 0)},
     .read = augment_read_fill, BUILD(erasing)},
    {"MixUp", AUGMENT_SEED, AUGMENT_CAST_TRAINING, .idle = 2, .read = augment_read_alpha, BUILD(mix_up)},
    {"CutMix", AUGMENT_SEED, AUGMENT_CAST_ALWAYS, .factor = {OPTIONAL("factor", 0, 1, FROM_ZERO, 1)},
     BUILD(cut_mix)},
    {"RandomColorJitter", IMAGES, AUGMENT_CAST_TRAINING, .read = augment_read_jitter, BUILD(jitter)},
    {"RandAugment", IMAGES, AUGMENT_CAST_ALWAYS, .factor = {OPTIONAL("factor", 0, 1, FROM_ZERO, 0.5)},
     .read = augment_read_rand, BUILD(rand)},
    {"AutoContrast", AUGMENT_RANGE, AUGMENT_CAST_ALWAYS, FIXED(auto_contrast)},
    {"Equalization", AUGMENT_RANGE, AUGMENT_CAST_TRAINING, .read = augment_read_bins,
     .apply = augment_apply_equalization},
    {"ContrastLimitedAdaptiveHistogramEqualization", AUGMENT_RANGE, AUGMENT_CAST_NEVER,
     .read = augment_read_tiles, FIXED(tiles)},
    {"AugMix", IMAGES, AUGMENT_CAST_ALWAYS, .factor = {OPTIONAL("factor", 0, 1, FROM_ZERO, 0.3)},
     .read = augment_read_aug_mix,
     .refusal =
         "it chooses its operations with Python's random numbers, whatever its seed; RandAugment has seeds"},
};

const augment_kind *augment_kind_find(const char *name)
{
    for (size_t i = 0; i < countof(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
    }
    return NULL;
}

/* ---- fields ------------------------------------------------------------------------------ */

static bool read_pair(fe_config *c, const char *key, double *low, double *high)
{
    const json_at at = fe_key(c, key);
    const cJSON *j = fe_config_item(c, key);
    if (!cJSON_IsArray(j) || cJSON_GetArraySize(j) != 2 || !cJSON_IsNumber(j->child) ||
        !cJSON_IsNumber(j->child->next))
        return fe_error(c->fe, &at, "expected a list of two numbers, found %s", fe_json_show(c->fe, j));
    const double first = j->child->valuedouble, second = j->child->next->valuedouble;
    *low = first < second ? first : second;
    *high = first < second ? second : first;
    return true;
}

bool augment_factor_read(fe_config *c, const augment_factor *row, double out[2], bool *out_has)
{
    const json_at at = fe_key(c, row->key);
    const cJSON *j = fe_config_item(c, row->key);
    double number = row->otherwise;
    *out_has = j != NULL;
    if (cJSON_IsArray(j)) {
        if (!read_pair(c, row->key, &out[0], &out[1])) return false;
    } else {
        if ((j || !row->optional) && !fe_config_number(c, row->key, &number)) return false;
        out[0] = out[1] = number;
        if (row->mirror != AUGMENT_ALONE) {
            out[1] = number < 0 ? -number : number;
            out[0] = row->mirror == AUGMENT_BOTH_WAYS ? -out[1] : row->least;
        }
    }
    const double low = cJSON_IsArray(j) ? out[0] : number, high = cJSON_IsArray(j) ? out[1] : number;
    if (low >= row->least && high <= row->most) return true;
    return fe_error(c->fe, &at, "expected a number or a list of two in %g .. %g, found %s", row->least,
                    row->most, fe_json_show(c->fe, j));
}

static bool read_warp(fe_config *c, augment_state *s)
{
    static const char *const interpolations[] = {"bilinear", "nearest", NULL};
    int which = 0;
    if (!fe_config_choice(c, "interpolation", interpolations, &which)) return false;
    s->bilinear = which == 0;
    return true;
}

static bool read_fill_mode(fe_config *c, augment_state *s)
{
    static const char *const modes[] = {"reflect", "wrap", "constant", "nearest", "mirror", NULL};
    const json_at at = fe_key(c, "fill_mode");
    int which = 0;
    if (!fe_config_choice(c, "fill_mode", modes, &which)) return false;
    s->fill_mode = modes[which];
    return which < 4 || strcmp(s->kind->name, "RandomElasticTransform") == 0 ||
           fe_error(c->fe, &at,
                    "expected \"reflect\", \"wrap\", \"constant\" or \"nearest\", found \"mirror\"");
}

static bool read_fields(fe_config *c, augment_state *s)
{
    const unsigned fields = s->kind->fields;
    s->range[1] = 255;
    s->fill_mode = "constant";
    fe_config_ignore(c, "bounding_box_format");
    bool ok = fe_channels_first_read(c, &s->channels_first);
    if ((fields & AUGMENT_SEED) != 0) ok = fe_seed_read(c, &s->seed) && ok;
    if ((fields & AUGMENT_RANGE) != 0 && fe_config_has(c, "value_range"))
        ok = read_pair(c, "value_range", &s->range[0], &s->range[1]) && ok;
    if ((fields & AUGMENT_WARP) != 0) ok = read_warp(c, s) && ok;
    if ((fields & AUGMENT_FILL_MODE) != 0) ok = read_fill_mode(c, s) && ok;
    if ((fields & AUGMENT_FILL) != 0) ok = fe_config_number_or(c, "fill_value", 0, &s->fill_value[0]) && ok;
    if ((fields & AUGMENT_SIZE) != 0)
        ok = fe_size_read(c, "height", 0, &s->size[0]) && fe_size_read(c, "width", 0, &s->size[1]) && ok;
    for (int i = 0; i < 2; i++) {
        const augment_factor *row = &s->kind->factor[i];
        if (row->key) ok = augment_factor_read(c, row, s->factor[i], &s->has_factor[i]) && ok;
    }
    return ok && (!s->kind->read || s->kind->read(c, s));
}

augment_state augment_part_make(const char *name, const augment_state *outer, double low, double high)
{
    augment_state part = *outer;
    part.kind = augment_kind_find(name);
    bug_if(!part.kind, "no augmentation is called %s", name);
    for (int i = 0; i < 2; i++) {
        part.factor[i][0] = low;
        part.factor[i][1] = high;
        part.has_factor[i] = true;
    }
    part.fill_mode = "reflect";
    part.count = 256;
    return part;
}

/* The layers of Keras 2 draw otherwise: they work at inference, where nothing of their settings matters. */
bool fe_read_augmentation(fe *f, fe_layer *layer, fe_config *c)
{
    augment_state *s = arena_new(f->arena, augment_state);
    s->kind = augment_kind_find(layer->class->name);
    bug_if(!s->kind, "no augmentation is called %s", layer->class->name);
    layer->state = s;
    if (!f->keras2) return read_fields(c, s) && fe_config_done(c);
    for (const cJSON *j = c->object ? c->object->child : NULL; j; j = j->next) fe_config_ignore(c, j->string);
    return fe_config_done(c);
}

/* ---- calls ------------------------------------------------------------------------------- */

static const int64_t to_last[] = {0, 2, 3, 1}, to_first[] = {0, 3, 1, 2};

/* Why the layer cannot be trained with on images of this type; NULL when it can. */
static const char *find_problem(const fe_lower *l, const augment_state *s, const ir_type *t)
{
    if (l->fe->keras2)
        return "training with image augmentation of Keras 2 is not supported: its random numbers depend on "
               "all layers "
               "before; write the model with Keras 3";
    if (s->kind->refusal)
        return arena_printf(l->fe->arena, "training with it is not supported: %s", s->kind->refusal);
    bool fits = t->rank == 4 && (s->kind->cast != AUGMENT_CAST_NEVER || ir_dtype_is_float(t->dtype));
    for (int d = 1; fits && d < 4; d++) fits = !t->dim[d].batch;
    if (fits) return NULL;
    return arena_printf(l->fe->arena,
                        "expected a batch of images of floating numbers and a fixed size, found %s",
                        fe_shape_show(l->fe, t));
}

/* What a class that draws at inference, too, leaves of its seeds. */
static void skip_seeds(fe_lower *l, fe_layer *layer, const augment_state *s)
{
    for (int i = 0; i < s->kind->idle; i++)
        fe_seed_draw(l, layer, "seed_generator", s->seed.has_seed, s->seed.seed);
}

static bool build_images(fe_lower *l, fe_layer *layer, ir_value x, ir_value *out)
{
    const augment_state *s = layer->state;
    ir_value draw[AUGMENT_DRAWS];
    if (s->channels_first) x = ir_build_transpose(l->g, x, to_last);
    augment a = {.l = l, .layer = layer, .u = {.l = l}, .seed = s->seed, .type = fe_type(l, x)};
    if (s->kind->draw && l->training && !s->kind->draw(&a, s, draw)) return false;
    if (!s->kind->apply(&a, s, x, draw, &x)) return false;
    *out = s->channels_first ? ir_build_transpose(l->g, x, to_first) : x;
    return true;
}

bool fe_call_augmentation(fe_lower *l, fe_layer *layer, const fe_args *args, fe_value *out)
{
    const augment_state *s = layer->state;
    fe_tensor x;
    if (!fe_input_get(l, layer, args, 3, 4, &x)) return false;
    const ir_type given = fe_type(l, x.value);
    bool works = l->training || (s->kind->always && !l->fe->keras2);
    const char *problem = works ? find_problem(l, s, &given) : NULL;
    if (problem && l->discard) works = false;
    if (problem && works) return fe_layer_error(l->fe, layer, "%s", problem);
    if (works || s->kind->cast == AUGMENT_CAST_ALWAYS || l->fe->keras2)
        x.value = ir_build_convert(l->g, x.value, layer->compute_dtype);
    if (works && !build_images(l, layer, x.value, &x.value)) return false;
    if (!works && !l->training) skip_seeds(l, layer, s);
    return fe_finish(l, works ? ir_build_convert(l->g, x.value, layer->compute_dtype) : x.value, IR_NONE,
                     out);
}
