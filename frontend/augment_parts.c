/* augment_parts.c: RandomColorJitter and RandAugment, which are made of other classes and let them draw from
 * their own seeds. */
#include "frontend/augment.h"

enum { MOST_PARTS = 11, DRAWS_OF_PART = 2 };

/* ---- RandomColorJitter ------------------------------------------------------------------- */

static const struct {
    const char *key, *name;
    double least, most;
    bool plane; /* goes by which dim the channels are */
} jitters[] = {{"brightness_factor", "RandomBrightness", -1, 1, false},
               {"contrast_factor", "RandomContrast", 0, 1, true},
               {"saturation_factor", "RandomSaturation", -1, 1, true},
               {"hue_factor", "RandomHue", 0, 1, true}};

bool augment_read_jitter(fe_config *c, augment_state *s)
{
    augment_state *part = arena_array(c->fe->arena, augment_state, countof(jitters));
    const json_at at = fe_key(c, "data_format");
    s->part = part;
    for (size_t i = 0; i < countof(jitters); i++) {
        const augment_factor row = {jitters[i].key,
                                    jitters[i].least,
                                    jitters[i].most,
                                    jitters[i].least < 0 ? AUGMENT_BOTH_WAYS : AUGMENT_FROM_ZERO,
                                    true,
                                    0};
        double factor[2];
        bool has;
        if (!augment_factor_read(c, &row, factor, &has)) return false;
        if (!has) continue;
        if (s->channels_first && jitters[i].plane)
            return fe_error(c->fe, &at,
                            "\"channels_first\" is not supported: Keras takes the last dimension for the "
                            "channels whatever the layer is told; permute the images");
        part[s->part_count++] = augment_part_make(jitters[i].name, s, factor[0], factor[1]);
    }
    return true;
}

bool augment_draw_jitter(augment *a, const augment_state *s, ir_value *draw)
{
    for (int i = 0; i < s->part_count; i++) {
        if (!s->part[i].kind->draw(a, &s->part[i], draw + i * DRAWS_OF_PART)) return false;
    }
    return true;
}

bool augment_apply_jitter(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out)
{
    for (int i = 0; i < s->part_count; i++) {
        if (!s->part[i].kind->apply(a, &s->part[i], x, draw + i * DRAWS_OF_PART, &x)) return false;
    }
    *out = x;
    return true;
}

/* ---- RandAugment ------------------------------------------------------------------------- */

static const char *const choices[MOST_PARTS] = {"RandomShear",
                                                "RandomTranslation",
                                                "RandomRotation",
                                                "RandomBrightness",
                                                "RandomColorDegeneration",
                                                "RandomContrast",
                                                "RandomSharpness",
                                                "RandomPosterization",
                                                "Solarization",
                                                "AutoContrast",
                                                "Equalization"};

bool augment_read_rand(fe_config *c, augment_state *s)
{
    enum { MOST_OPERATIONS = 64 };
    static const char *const interpolations[] = {"bilinear", "nearest", NULL};
    const json_at at = fe_key(c, "num_ops");
    int which = 0;
    augment_state *part = arena_array(c->fe->arena, augment_state, MOST_PARTS);
    if (!fe_config_choice(c, "interpolation", interpolations, &which)) return false;
    if (!fe_config_int_or(c, "num_ops", 0, 2, &s->count)) return false;
    if (s->count > MOST_OPERATIONS)
        return fe_error(c->fe, &at, "expected at most %d operations", MOST_OPERATIONS);
    s->bilinear = which == 0;
    for (int i = 0; i < MOST_PARTS; i++) {
        part[i] = augment_part_make(choices[i], s, s->factor[0][0], s->factor[0][1]);
        if (i != 7) continue;
        part[i].factor[0][0] = 1;
        part[i].factor[0][1] = (double)base_max(1, (int64_t)(8 * s->factor[0][1]));
    }
    s->part = part;
    s->part_count = MOST_PARTS;
    return true;
}

bool augment_read_aug_mix(fe_config *c, augment_state *s)
{
    (void)s;
    fe_config_ignore(c, "num_chains chain_depth alpha all_ops interpolation");
    return true;
}

/* draw[0]: which operations, i32 [num_ops]. */
bool augment_draw_rand(augment *a, const augment_state *s, ir_value *draw)
{
    const ir_dim dim = ir_fixed(base_max(s->count, 1));
    const ir_value words = ir_build_random_words(a->l->g, augment_seed(a), ir_type_make(DTYPE_u32, 1, &dim));
    draw[0] = ir_build_convert(a->l->g, op_map_number(&a->u, OP_remainder, words, MOST_PARTS), DTYPE_i32);
    for (int i = 0; i < s->part_count; i++) {
        const augment_state *part = &s->part[i];
        if (part->kind->draw && !part->kind->draw(a, part, draw + 1 + i * DRAWS_OF_PART)) return false;
    }
    return true;
}

bool augment_apply_rand(augment *a, const augment_state *s, ir_value x, const ir_value *draw, ir_value *out)
{
    for (int64_t i = 0; i < s->count; i++) {
        const ir_value which = op_drop_dim(&a->u, op_slice_dim(&a->u, draw[0], 0, i, i + 1), 0);
        for (int k = 0; k < s->part_count; k++) {
            ir_value y;
            if (!s->part[k].kind->apply(a, &s->part[k], x, draw + 1 + k * DRAWS_OF_PART, &y)) return false;
            x = op_choose(&a->u, op_compare_number(&a->u, "EQ", which, k), y, x);
        }
    }
    *out = x;
    return true;
}
