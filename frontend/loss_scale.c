/* loss_scale.c: LossScaleOptimizer: read where a compile configuration names it, and put around the optimizer where
 * Keras's compile() would or --loss-scale says so. In the module it is the record "loss_scale" of the optimizer's. */
#include "frontend/model.h"
#include "frontend/train.h"

#include <stdlib.h>
#include <string.h>

static void set_scale(fe *f, ir_record *optimizer, const char *name, double initial, int64_t steps)
{
    ir_record *scale = ir_record_new(f->arena, "loss_scale_optimizer");
    ir_record_add_text(f->arena, scale, "name", name);
    ir_record_add_number(f->arena, scale, "initial_scale", initial);
    ir_record_add_number(f->arena, scale, "dynamic_growth_steps", (double)steps);
    ir_record_add_record(f->arena, optimizer, "loss_scale", scale);
}

/* Older versions wrote the fields of every optimizer, which must say nothing. */
static bool check_plain(fe_config *c)
{
    static const char *const keys[] = {"weight_decay", "clipnorm", "global_clipnorm", "clipvalue",
                                       "ema_overwrite_frequency", "loss_scale_factor", "gradient_accumulation_steps"};
    bool ok = true;
    for (size_t i = 0; i < countof(keys); i++) {
        const json_at at = {.up = &c->at, .key = keys[i]};
        if (fe_config_has(c, keys[i]))
            ok = fe_error(c->fe, &at, "expected nothing here: LossScaleOptimizer leaves \"%s\" to its inner optimizer", keys[i]);
    }
    bool use_ema;
    const json_at at = {.up = &c->at, .key = "use_ema"};
    ok = fe_config_bool_or(c, "use_ema", false, &use_ema) && ok;
    if (use_ema) ok = fe_error(c->fe, &at, "expected false: LossScaleOptimizer leaves \"use_ema\" to its inner optimizer");
    fe_config_ignore(c, "ema_momentum learning_rate is_legacy_optimizer jit_compile");
    return ok;
}

static bool is_multi(fe *f, const ir_record *optimizer, const json_at *at)
{
    if (strcmp(optimizer->name, "multi_optimizer") != 0) return false;
    fe_error(f, at, "the loss of a MultiOptimizer cannot be scaled; --loss-scale none does without");
    return true;
}

bool fe_loss_scale_is(const char *class_name)
{
    return strcmp(class_name, "LossScaleOptimizer") == 0 || strcmp(class_name, "LossScaleOptimizerV3") == 0;
}

ir_record *fe_loss_scale_read(fe *f, const fe_named *named)
{
    fe_config c;
    const char *name;
    double initial;
    int64_t steps;
    bool dynamic;
    fe_config_init(&c, f, named->config, named->at, "config");
    const json_at inner_at = {.up = &c.at, .key = "inner_optimizer"}, scale_at = {.up = &c.at, .key = "initial_scale"};
    bool ok = fe_config_text_or(&c, "name", "loss_scale_optimizer", &name);
    ok = fe_config_number_or(&c, "initial_scale", 32768, &initial) && ok;
    ok = fe_config_int_or(&c, "dynamic_growth_steps", 1, 2000, &steps) && ok;
    ok = fe_config_bool_or(&c, "dynamic", true, &dynamic) && check_plain(&c) && ok;
    if (ok && !(initial > 0 && initial <= 1e30))
        ok = fe_error(f, &scale_at, "expected a positive scale up to 1e30, found %g", initial);
    const cJSON *inner = fe_config_item(&c, "inner_optimizer");
    if (!inner) ok = fe_error(f, &inner_at, "expected the optimizer whose loss is scaled, found nothing");
    const json_at class_at = {.up = &inner_at, .key = "class_name"};
    const cJSON *class_name = cJSON_GetObjectItemCaseSensitive(inner, "class_name");
    if (inner && cJSON_IsString(class_name) && fe_loss_scale_is(class_name->valuestring))
        ok = fe_error(f, &class_at, "expected an optimizer that does not scale the loss itself, found another LossScaleOptimizer");
    ok = fe_config_done(&c) && ok;
    ir_record *r = ok ? fe_optimizer_read(f, inner, &inner_at) : NULL;
    if (!r) return NULL;
    if (is_multi(f, r, &inner_at)) return NULL;
    if (dynamic)
        set_scale(f, r, name, initial, steps);
    else
        ir_record_add_number(f->arena, r, "loss_scale_factor", initial);
    return r;
}

/* compile() wraps the optimizer of a model whose own policy is mixed_float16. No file holds that policy: a model that is loaded
 * has the global one, which --policy stands for, whatever its layers have. */
static bool is_mixed_float16(const fe *f)
{
    return !f->no_auto_scale && f->options->policy && strcmp(f->options->policy, "mixed_float16") == 0;
}

bool fe_loss_scale_choose(fe *f, ir_record *optimizer)
{
    const char *choice = f->options->loss_scale ? f->options->loss_scale : "auto";
    const bool is_auto = strcmp(choice, "auto") == 0, is_none = strcmp(choice, "none") == 0;
    const bool is_dynamic = strcmp(choice, "dynamic") == 0;
    const bool has = ir_record_record(optimizer, "loss_scale") != NULL;
    char *end = NULL;
    const double factor = strtod(choice, &end);
    if (!is_auto && !is_none && !is_dynamic && (end == choice || *end || !(factor > 0 && factor <= 1e30)))
        return diag_error(f->diag, "--loss-scale", "expected auto, dynamic, none or a positive number, found \"%s\"", choice);
    if (is_auto && (has || !is_mixed_float16(f))) return true;
    if (is_dynamic && has) return true;
    if (is_none && !has && strcmp(optimizer->name, "multi_optimizer") == 0) return true;
    if (is_multi(f, optimizer, NULL)) return false;
    if (is_auto || is_dynamic) {
        set_scale(f, optimizer, "loss_scale_optimizer", 32768, 2000);
        return true;
    }
    ir_record_remove(optimizer, "loss_scale");
    ir_record_remove(optimizer, "loss_scale_factor");
    if (!is_none) ir_record_add_number(f->arena, optimizer, "loss_scale_factor", factor);
    return true;
}
