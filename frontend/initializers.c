/* initializers.c: which initializers and constraints there are, and their fields. The runtime runs
 * initializers; the optimizer pass builds constraints. */
#include "frontend/layers.h"

#include <math.h>
#include <string.h>

typedef enum field_rule {
    RULE_any,
    RULE_seed,
    RULE_positive,
    RULE_not_negative,
    RULE_axes,
    RULE_mode,
    RULE_distribution
} field_rule;

typedef struct field_row {
    const char *owner, *key;
    field_rule rule;
} field_row;

/* "*": every initializer that draws numbers. */
static const field_row fields[] = {
    {"constant", "value", RULE_any},
    {"identity", "gain", RULE_any},
    {"orthogonal", "gain", RULE_any},
    {"random_normal", "mean", RULE_any},
    {"random_normal", "stddev", RULE_not_negative},
    {"truncated_normal", "mean", RULE_any},
    {"truncated_normal", "stddev", RULE_not_negative},
    {"random_uniform", "minval", RULE_any},
    {"random_uniform", "maxval", RULE_any},
    {"variance_scaling", "scale", RULE_positive},
    {"variance_scaling", "mode", RULE_mode},
    {"variance_scaling", "distribution", RULE_distribution},
    {"max_norm", "max_value", RULE_not_negative},
    {"max_norm", "axis", RULE_axes},
    {"unit_norm", "axis", RULE_axes},
    {"min_max_norm", "min_value", RULE_not_negative},
    {"min_max_norm", "max_value", RULE_not_negative},
    {"min_max_norm", "rate", RULE_not_negative},
    {"min_max_norm", "axis", RULE_axes},
};

typedef struct initializer {
    const char *name, *alias;
    bool draws, scales;
    const char *refusal; /* not NULL: known, and refused with this reason */
} initializer;

static const initializer initializers[] = {
    {"zeros",            "zeros",                  false, false, NULL},
    {"ones",             "ones",                   false, false, NULL},
    {"constant",         "constant",               false, false, NULL},
    {"identity",         "identity_initializer",   false, false, NULL},
    {"random_normal",    "normal",                 true,  false, NULL},
    {"random_uniform",   "uniform",                true,  false, NULL},
    {"truncated_normal", "truncated_normal",       true,  false, NULL},
    {"orthogonal",       "orthogonal_initializer", true,  false, NULL},
    {"variance_scaling", "variance_scaling",       true,  true, NULL},
    {"glorot_uniform",   "glorot_uniform",         true,  true, NULL},
    {"glorot_normal",    "glorot_normal",          true,  true, NULL},
    {"lecun_uniform",    "lecun_uniform",          true,  true, NULL},
    {"lecun_normal",     "lecun_normal",           true,  true, NULL},
    {"he_uniform",       "he_uniform",             true,  true, NULL},
    {"he_normal",        "he_normal",              true,  true, NULL},
    {"stft",             "stft_initializer",       false, false, "it is for the kernels of a spectrogram; STFTSpectrogram makes them by itself"},
};

static const char *const constraints[] = {"max_norm", "non_neg", "unit_norm", "min_max_norm"};

static const initializer *find_initializer(const char *name)
{
    for (size_t i = 0; i < countof(initializers); i++) {
        if (strcmp(name, initializers[i].name) == 0 || strcmp(name, initializers[i].alias) == 0)
            return &initializers[i];
    }
    return NULL;
}

const ir_record *fe_initializer_canonical(fe *f, const ir_record *r)
{
    const initializer *known = find_initializer(r->name);
    if (known == NULL || strcmp(known->name, r->name) == 0) return r;
    ir_record *made = arena_copy(f->arena, r, sizeof *r);
    made->name = known->name;
    return made;
}

static bool is_one_of(const ir_field *field, const char *spaced, fe *f)
{
    return field->kind == FIELD_TEXT && strstr(spaced, arena_printf(f->arena, " %s ", field->text)) != NULL;
}

static bool is_axis(double v) { return v == floor(v) && fabs(v) <= IR_MAX_RANK; }

static bool follows(fe *f, const ir_field *field, field_rule rule)
{
    const bool number = field->kind == FIELD_NUMBER && isfinite(field->number);
    switch (rule) {
    case RULE_any:
        return number;
    case RULE_seed:
        return number || field->kind == FIELD_RECORD;
    case RULE_positive:
        return number && field->number > 0;
    case RULE_not_negative:
        return number && field->number >= 0;
    case RULE_mode:
        return is_one_of(field, " fan_in fan_out fan_avg ", f);
    case RULE_distribution:
        return is_one_of(field, " truncated_normal untruncated_normal uniform normal ", f);
    case RULE_axes:
        break;
    }
    if (field->kind == FIELD_NUMBER) return is_axis(field->number);
    if (field->kind != FIELD_NUMBERS || field->count > IR_MAX_RANK) return false;
    for (int i = 0; i < field->count; i++) {
        if (!is_axis(field->numbers[i])) return false;
    }
    return true;
}

static bool check_fields(fe *f, const ir_record *r, bool draws, bool scales, const json_at *at)
{
    for (size_t i = 0; i < r->count; i++) {
        const ir_field *field = &r->field[i];
        const bool is_seed = draws && strcmp(field->key, "seed") == 0;
        const bool is_axes =
            scales && (strcmp(field->key, "input_axes") == 0 || strcmp(field->key, "output_axes") == 0);
        bool known = is_seed || is_axes,
             ok = is_seed ? follows(f, field, RULE_seed) : is_axes && follows(f, field, RULE_axes);
        for (size_t k = 0; !known && k < countof(fields); k++) {
            if (strcmp(fields[k].owner, r->name) != 0 || strcmp(fields[k].key, field->key) != 0) continue;
            known = true;
            ok = follows(f, field, fields[k].rule);
        }
        if (!known) return fe_error(f, at, "expected fields of %s, found \"%s\"", r->name, field->key);
        if (!ok) return fe_error(f, at, "expected another value of \"%s\" of %s", field->key, r->name);
    }
    return true;
}

bool fe_initializer_check(fe *f, const ir_record *r, const json_at *at)
{
    const initializer *known = find_initializer(r->name);
    if (known != NULL && known->refusal != NULL)
        return fe_error(f, at, "initializer \"%s\" is not supported: %s", r->name, known->refusal);
    if (known != NULL) return check_fields(f, r, known->draws, known->scales, at);
    const char *names[countof(initializers)];
    for (size_t i = 0; i < countof(initializers); i++) names[i] = initializers[i].name;
    const char *near = fe_nearest(r->name, countof(initializers), names);
    return fe_error(f, at, "expected an initializer of Keras, found \"%s\"%s%s%s", r->name,
                    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
}

bool fe_constraint_check(fe *f, const ir_record *r, const json_at *at)
{
    for (size_t i = 0; i < countof(constraints); i++) {
        if (strcmp(constraints[i], r->name) == 0) return check_fields(f, r, false, false, at);
    }
    return fe_error(
        f, at, "expected a constraint of Keras (max_norm, non_neg, unit_norm, min_max_norm), found \"%s\"",
        r->name);
}

const char *fe_initializer_at(size_t i, const char **out_refusal)
{
    if (i >= countof(initializers)) return NULL;
    *out_refusal = initializers[i].refusal;
    return initializers[i].name;
}

const char *fe_constraint_at(size_t i) { return i < countof(constraints) ? constraints[i] : NULL; }
